// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guests that move between the host's KVM and the other engines: the state is the same on both sides, and a computation
 * that is interrupted and moved ends as one that was not. And what KVM's guests write is in the dirty log.
 */
#include "unit.h"

#include <errno.h>

#include "cpu/apic.h"
#include "cpu/msr.h"
#include "kvm_guest.h"
#include "vm/memory.h"

enum { DATA = 0x9000, ROUNDS = 40, LONG_HANDLER = 0xc000 };

/* --- state ------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return *seed ^ *seed >> 29;
}

/* A state with something else in every field that the engines share. */
static void fill_state(struct guest *g, uint64_t seed)
{
	struct cpu_state *s = &g->st;

	for (unsigned int k = 0; k < 16; k++)
		s->gpr[k] = mix(&seed);
	s->rip = UINT64_C(0xffff800000000000) | (mix(&seed) & 0xffffffff);
	s->rflags = (mix(&seed) & (RFLAGS_STATUS | RFLAGS_IF | RFLAGS_DF | RFLAGS_AC)) |
		    RFLAGS_FIXED1;
	s->seg[CPU_FS].base = UINT64_C(0xffff888000000000) | (mix(&seed) & 0xfffffff);
	s->seg[CPU_GS].base = mix(&seed) & 0x7fffffffffff;
	s->cr2 = mix(&seed) & 0x7fffffffffff;
	for (unsigned int k = 0; k < 4; k++)
		s->dr[k] = mix(&seed) & 0x7fffffffffff;
	s->dr6 = 0xffff0ff0 | (mix(&seed) & 0xf);
	s->star = mix(&seed);
	s->lstar = mix(&seed) & 0x7fffffffffff;
	s->cstar = mix(&seed) & 0x7fffffffffff;
	s->sfmask = mix(&seed) & 0x3fffff;
	s->kernel_gs_base = mix(&seed) & 0x7fffffffffff;
	s->sysenter_cs = mix(&seed) & 0xffff;
	s->sysenter_esp = mix(&seed) & 0x7fffffffffff;
	s->sysenter_eip = mix(&seed) & 0x7fffffffffff;
	s->pat = UINT64_C(0x0007010600070406);
	s->tsc_aux = cpuid_has(&g->grp->cpuid, CPUID_RDTSCP) ? mix(&seed) & 0xffffffff : 0;
	s->tsc_offset = mix(&seed) & 0xffffffff;
	s->fpu.fcw = 0x27f;
	s->fpu.fsw = (uint16_t)(mix(&seed) & 0x4700);
	s->fpu.ftw = (uint8_t)mix(&seed);
	s->fpu.mxcsr = 0x1f80 | (mix(&seed) & 0x6000);
	for (unsigned int k = 0; k < 8; k++)
		for (unsigned int n = 0; n < 10; n++)
			s->fpu.st[k][n] = (uint8_t)mix(&seed);
	for (unsigned int k = 0; k < 16; k++)
		for (unsigned int n = 0; n < 16; n++) {
			s->fpu.xmm[k][n] = (uint8_t)mix(&seed);
			if (cpuid_has(&g->grp->cpuid, CPUID_AVX))
				s->fpu.ymm_hi[k][n] = (uint8_t)mix(&seed);
		}
	s->xcr0 = g->grp->cpuid.xcr0_allowed;
	if (cpuid_has(&g->grp->cpuid, CPUID_XSAVE))
		s->cr4 |= CR4_OSXSAVE;
	s->ev.nmi_masked = mix(&seed) & 1;
	s->ev.nmi_pending = mix(&seed) & 1;
	s->ev.sti_shadow = mix(&seed) & 1;
}

/* Into the kernel and out of it again. */
static void test_state(void **state)
{
	struct guest *g;
	struct kvm_cpu *k;
	struct cpu_state back;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	k = kvm_cpu(g->cpu);
	for (uint64_t seed = 1; seed < 50; seed++) {
		guest_long(g, seed & 1 ? G_CS64 : G_CS3_64);
		fill_state(g, seed);
		cpu_set_state(g->cpu, &g->st);
		assert_int_equal(kvm_state_put(k, &g->err), 0);
		/* Nothing of it is left here. */
		memset(g->cpu->st.gpr, 0x11, sizeof(g->cpu->st.gpr));
		memset(&g->cpu->st.seg, 0x11, sizeof(g->cpu->st.seg));
		memset(&g->cpu->st.fpu.xmm, 0x11, sizeof(g->cpu->st.fpu.xmm));
		memset(&g->cpu->st.fpu.st, 0x11, sizeof(g->cpu->st.fpu.st));
		g->cpu->st.lstar = g->cpu->st.star = g->cpu->st.dr[3] = g->cpu->st.cr3 = 0x1111;
		assert_int_equal(kvm_state_get(k, &g->err), 0);
		cpu_get_state(g->cpu, &back);
		assert_memory_equal(back.gpr, g->st.gpr, sizeof(back.gpr));
		assert_int_equal(back.rip, g->st.rip);
		assert_int_equal(back.rflags, g->st.rflags);
		for (unsigned int n = 0; n < CPU_NR_SEGS; n++) {
			assert_int_equal(back.seg[n].base, g->st.seg[n].base);
			assert_int_equal(back.seg[n].limit, g->st.seg[n].limit);
			assert_int_equal(back.seg[n].sel, g->st.seg[n].sel);
			assert_int_equal(back.seg[n].attr, g->st.seg[n].attr);
		}
		assert_memory_equal(&back.tr, &g->st.tr, sizeof(back.tr));
		assert_int_equal(back.gdtr.base, g->st.gdtr.base);
		assert_int_equal(back.idtr.limit, g->st.idtr.limit);
		assert_int_equal(back.cr0, g->st.cr0);
		assert_int_equal(back.cr2, g->st.cr2);
		assert_int_equal(back.cr3, g->st.cr3);
		assert_int_equal(back.cr4, g->st.cr4);
		assert_int_equal(back.efer, g->st.efer);
		assert_int_equal(back.xcr0, g->st.xcr0);
		assert_memory_equal(back.dr, g->st.dr, sizeof(back.dr));
		assert_int_equal(back.dr6, g->st.dr6);
		assert_int_equal(back.dr7, g->st.dr7);
		assert_int_equal(back.star, g->st.star);
		assert_int_equal(back.lstar, g->st.lstar);
		assert_int_equal(back.cstar, g->st.cstar);
		assert_int_equal(back.sfmask, g->st.sfmask);
		assert_int_equal(back.kernel_gs_base, g->st.kernel_gs_base);
		assert_int_equal(back.sysenter_cs, g->st.sysenter_cs);
		assert_int_equal(back.sysenter_esp, g->st.sysenter_esp);
		assert_int_equal(back.sysenter_eip, g->st.sysenter_eip);
		assert_int_equal(back.pat, g->st.pat);
		assert_int_equal(back.tsc_aux, g->st.tsc_aux);
		assert_memory_equal(&back.fpu, &g->st.fpu, offsetof(struct cpu_fpu, fcs));
		assert_memory_equal(back.fpu.ymm_hi, g->st.fpu.ymm_hi, sizeof(back.fpu.ymm_hi));
		assert_int_equal(back.ev.nmi_masked, g->st.ev.nmi_masked);
		assert_int_equal(back.ev.nmi_pending, g->st.ev.nmi_pending);
		assert_int_equal(back.ev.sti_shadow, g->st.ev.sti_shadow);
		assert_int_equal(cpu_state_check(&back, &g->err), 0);
	}
	guest_free(g);
}

/* --- moving ------------------------------------------------------------------------------------------- */

/* A computation of ROUNDS rounds in ring 0 and 3, with an exit between two of them where it can be moved. */
static void start_work(struct guest *g)
{
	guest_long(g, G_CS3_64);
	/* Ring 3: vector and integer work, then an exception, whose handler counts and leaves. */
	ASM(g, G_CODE,
	    "1: mov ecx, 2000; 2: imul rax, rbx; add rax, rcx; ror rax, 7; xor rdx, rax; paddq xmm1, xmm2; "
	    "pxor xmm3, xmm1; mulsd xmm4, xmm5; adc rsi, rdx; dec ecx; jnz 2b; mov [0x9008], rax; ud2; jmp 1b");
	guest_gate64(g, 6, G_CS64, 14, 0, 0);
	guest_gate64(g, 3, G_CS64, 14, 0, 0);
	ASM(g, G_HANDLER + 3 * 16, "inc r11; iretq");
	put_le16(g->ram + G_IDT + 6 * 16, LONG_HANDLER);
	ASM(g, LONG_HANDLER,
	    "inc qword ptr [0x9000]; add qword ptr [rsp], 2; fninit; "
	    "fld1; fadd qword ptr [0x9010]; fstp qword ptr [0x9010]; int3; push r11; popfq; pushfq; "
	    "pop r12; cvtsi2sd xmm6, rax; out 0x99, al; iretq");
	g->st.gpr[CPU_RAX] = 1;
	g->st.gpr[CPU_RBX] = UINT64_C(0x9e3779b97f4a7c15);
	memset(g->st.fpu.xmm[2], 0x5a, 16);
	put_le64(g->st.fpu.xmm[4], UINT64_C(0x3ff0000000000001));
	put_le64(g->st.fpu.xmm[5], UINT64_C(0x3ff0001000000000));
	put_le64(g->ram + DATA, 0);
	put_le64(g->ram + DATA + 16, 0);
}

static void end_work(struct guest *g, const enum cpu_engine_kind *kinds, unsigned int nr_kinds)
{
	for (unsigned int round = 0; round < ROUNDS; round++) {
		assert_int_equal(cpu_group_set_engine(g->grp, kinds[round % nr_kinds], &g->err), 0);
		if (g->grp->kvm)
			g->grp->kvm->has_all_modes = true;
		go_to_end(g);
	}
}

static void same_end(struct guest *a, struct guest *b)
{
	assert_memory_equal(a->st.gpr, b->st.gpr, sizeof(a->st.gpr));
	assert_int_equal(a->st.rip, b->st.rip);
	assert_int_equal(a->st.rflags, b->st.rflags);
	assert_memory_equal(a->st.fpu.xmm, b->st.fpu.xmm, sizeof(a->st.fpu.xmm));
	assert_int_equal(a->st.fpu.mxcsr, b->st.fpu.mxcsr);
	assert_int_equal(a->st.fpu.fcw, b->st.fpu.fcw);
	assert_int_equal(a->st.cr2, b->st.cr2);
	assert_memory_equal(a->st.seg, b->st.seg, sizeof(a->st.seg));
	assert_memory_equal(a->ram + DATA, b->ram + DATA, 4096);
}

static void test_moves(void **state)
{
	static const enum cpu_engine_kind kvm[] = { CPU_ENGINE_KVM },
					  interp[] = { CPU_ENGINE_INTERP },
					  all[] = { CPU_ENGINE_INTERP, CPU_ENGINE_KVM,
						    CPU_ENGINE_DBT,    CPU_ENGINE_KVM,
						    CPU_ENGINE_INTERP, CPU_ENGINE_DBT };
	struct guest *a, *b, *c;

	NEEDS_KVM();
	a = kvm_guest(1, NULL);
	b = kvm_guest(1, NULL);
	c = kvm_guest(1, NULL);
	start_work(a);
	start_work(b);
	start_work(c);
	end_work(a, interp, 1);
	end_work(b, kvm, 1);
	end_work(c, all, ARRAY_SIZE(all));
	assert_int_equal(get_le64(a->ram + DATA), ROUNDS);
	assert_int_equal(a->st.gpr[CPU_R11], ROUNDS);
	same_end(a, b);
	same_end(a, c);
	assert_int_equal(b->cpu->stats.insns, b->cpu->stats.kvm_emulated);
	guest_free(a);
	guest_free(b);
	guest_free(c);
}

/* Stopped wherever it is, with an interrupt on its way: each one is taken once. */
static void *pusher(void *arg)
{
	struct guest *g = arg;

	for (unsigned int k = 0; k < ROUNDS; k++) {
		uint64_t seen =
			__atomic_load_n((uint64_t *)(void *)(g->ram + DATA), __ATOMIC_ACQUIRE);

		(void)cpu_group_msi(g->grp, 0xfee00000, 0x41);
		cpu_kick(g->cpu);
		while (__atomic_load_n((uint64_t *)(void *)(g->ram + DATA), __ATOMIC_ACQUIRE) ==
		       seen)
			sched_yield();
	}
	return NULL;
}

static void test_moves_with_interrupts(void **state)
{
	static const enum cpu_engine_kind kinds[] = { CPU_ENGINE_KVM, CPU_ENGINE_INTERP,
						      CPU_ENGINE_KVM, CPU_ENGINE_DBT };
	const struct cpu_debug none = { 0 };
	struct guest *g;
	pthread_t t;
	unsigned int n = 0;

	NEEDS_KVM();
	g = kvm_guest(1, "+x2apic");
	guest_long(g, G_CS3_64);
	guest_gate64(g, 0x41, G_CS64, 14, 0, 0);
	put_le16(g->ram + G_IDT + 0x41 * 16, LONG_HANDLER);
	ASM(g, LONG_HANDLER,
	    "push rax; push rcx; push rdx; mov ecx, 0x80b; "
	    "xor eax, eax; xor edx, edx; wrmsr; inc qword ptr [0x9000]; "
	    "cmp qword ptr [0x9000], 40; jne 1f; out 0x99, al; 1: pop rdx; pop rcx; pop rax; iretq");
	ASM(g, G_CODE, "1: inc rbx; jmp 1b");
	g->st.rflags |= RFLAGS_IF;
	g->st.apic.base |= APIC_BASE_X2APIC;
	g->st.apic.svr = 0x1ff;
	g->st.gpr[CPU_RBX] = 0;
	cpu_set_state(g->cpu, &g->st);
	cpu_set_debug(g->cpu, &none);
	pthread_create(&t, NULL, pusher, g);
	while (!g->pio_outs) {
		assert_int_equal(cpu_run(g->cpu, &g->err), CPU_EXIT_KICKED);
		assert_int_equal(cpu_group_set_engine(g->grp, kinds[n++ % 4], &g->err), 0);
	}
	pthread_join(t, NULL);
	cpu_get_state(g->cpu, &g->st);
	assert_int_equal(get_le64(g->ram + DATA), ROUNDS);
	assert_true(g->cpu->stats.interrupts == ROUNDS || guest_apic == CPU_APIC_KERNEL);
	guest_free(g);
}

/* --- what KVM cannot have -------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
	struct err err = ERR_INIT;
	struct guest *g;
	struct kvm_host host;

	NEEDS_KVM();
	assert_int_equal(kvm_host_open(&host, NULL), 0);
	g = guest_new_on(CPU_ENGINE_INTERP, 1, "+pks,phys-bits=52", &err);
	assert_int_equal(cpu_group_set_engine(g->grp, CPU_ENGINE_KVM, &g->err), -EOPNOTSUPP);
	assert_non_null(strstr(g->err.text, "-pks"));
	assert_string_equal(cpu_group_engine(g->grp), "interp");
	assert_null(g->grp->kvm);
	guest_long(g, G_CS64);
	ASM(g, G_CODE, "mov eax, 3" END);
	go_to_end(g);
	guest_free(g);
	assert_null(guest_new_on(CPU_ENGINE_KVM, 1, "+pks", &err));
	assert_non_null(strstr(err.text, "pks"));
	/* The processor's own limit is the most that a guest can have. */
	if (host.limit.phys_bits < 52) {
		assert_null(guest_new_on(CPU_ENGINE_KVM, 1, "phys-bits=52", &err));
		assert_non_null(strstr(err.text, "phys-bits"));
	}
	assert_null(guest_new_on(CPU_ENGINE_KVM, 1, "+nonsense", &err));
	kvm_host_close(&host);
}

/* --- dirty log ------------------------------------------------------------------------------------------- */

static const struct cpu_machine_ops dirty_ops = {
	.pio_in = guest_pio_in,
	.pio_out = guest_pio_out,
	.mmio_read = guest_mmio_read,
	.mmio_write = guest_mmio_write,
	.extint_ack = guest_extint_ack,
	.eoi = guest_eoi,
};

static bool is_dirty(const uint64_t *set, uint64_t gpa)
{
	return set[gpa >> 18] >> (gpa >> 12 & 63) & 1;
}

static void move_to(struct guest *g, struct memory *m, enum cpu_engine_kind kind)
{
	assert_int_equal(cpu_group_set_engine(g->grp, kind, &g->err), 0);
	memory_attach_engine(m);
}

/* The guest writes a page each round; a device another; each fetch has what was written since the last one. */
static void test_dirty_log(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct memory m;
	struct cpu_group_config cfg = { .nr_cpus = 1,
					.engine = CPU_ENGINE_KVM,
					.mem = &m.phys,
					.timers = &g->timers,
					.clock = clock_real(),
					.ops = &dirty_ops,
					.arg = g };
	uint8_t byte = 1;
	uint64_t *set;

	NEEDS_KVM();
	assert_int_equal(memory_init(&m, 8 << 20, NULL), 0);
	timerq_init(&g->timers, clock_real());
	assert_int_equal(cpu_group_new(&cfg, &g->grp, &g->err), 0);
	memory_attach_engine(&m);
	g->cpu = cpu_group_cpu(g->grp, 0);
	g->ram = m.map;
	cpu_get_state(g->cpu, &g->st);
	guest_tables(g);
	guest_long(g, G_CS64);
	put_le64(g->ram + G_PT + 0x2010, 0x400000 | 0x87);
	ASM(g, G_CODE, "1: mov [rdi], rdi; add rdi, 0x1000; out 0x99, al; jmp 1b");
	g->st.gpr[CPU_RDI] = 0x400000;
	go_to_end(g);

	assert_int_equal(memory_log_start(&m), 0);
	assert_int_equal(memory_log_start(&m), -EBUSY);
	set = calloc(m.dirty_words, sizeof(*set));
	go_to_end(g);
	go_to_end(g);
	assert_int_equal(physmem_write(&m.phys, 0x500000, &byte, 1), 0);
	assert_true(memory_log_fetch(&m, set) >= 3);
	assert_false(is_dirty(set, 0x400000));
	assert_true(is_dirty(set, 0x401000));
	assert_true(is_dirty(set, 0x402000));
	assert_false(is_dirty(set, 0x403000));
	assert_true(is_dirty(set, 0x500000));
	assert_int_equal(memory_log_fetch(&m, set), 0);

	/* The same page again. */
	g->st.gpr[CPU_RDI] = 0x401000;
	go_to_end(g);
	assert_int_equal(memory_log_fetch(&m, set), 1);
	assert_true(is_dirty(set, 0x401000));

	/* Leaving KVM loses nothing, and coming back goes on. */
	go_to_end(g);
	move_to(g, &m, CPU_ENGINE_INTERP);
	go_to_end(g);
	move_to(g, &m, CPU_ENGINE_KVM);
	go_to_end(g);
	memory_log_fetch(&m, set);
	for (uint64_t gpa = 0x402000; gpa <= 0x404000; gpa += 4096)
		assert_true(is_dirty(set, gpa));
	assert_false(is_dirty(set, 0x401000));
	go_to_end(g);
	assert_int_equal(memory_log_fetch(&m, set), 1);
	assert_true(is_dirty(set, 0x405000));

	memory_log_stop(&m);
	go_to_end(g);
	assert_int_equal(memory_log_start(&m), 0);
	assert_int_equal(memory_log_fetch(&m, set), 0);
	memory_log_stop(&m);
	memory_detach_engine(&m);
	cpu_group_free(g->grp);
	timerq_done(&g->timers);
	memory_done(&m);
	free(set);
	free(g);
}

BOTH(test_state)
BOTH(test_moves)
BOTH(test_moves_with_interrupts)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH_TESTS(test_state),
		BOTH_TESTS(test_moves),
		BOTH_TESTS(test_moves_with_interrupts),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_dirty_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
