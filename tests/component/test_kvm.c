// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guests on the host's KVM: modes, exits, interrupts, and the instructions that this host's KVM leaves to the
 * interpreter. What is expected is what the architecture says; where it is simpler, what the interpreter does.
 */
#include "unit.h"

#include <errno.h>

#include "cpu/apic.h"
#include "cpu/msr.h"
#include "kvm_guest.h"

enum { DATA = 0x9000, MMIO = 0x3ff000, APIC_VECTOR = 0x41 };

static const struct cpu_stats *stats(const struct guest *g)
{
	return cpu_stats(g->cpu);
}

/* --- modes ------------------------------------------------------------------------------------------ */

static void test_real(void **state)
{
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	ASM16(g, G_CODE, "mov cx, 1000; mov ax, 5; 1: add ax, 3; push ax; pop bx; loop 1b" END);
	guest_real(g);
	go_to_end(g);
	assert_int_equal(g->st.gpr[CPU_RAX], 3005);
	assert_int_equal(g->st.gpr[CPU_RBX], 3005);
	assert_int_equal(g->st.gpr[CPU_RCX], 0);
	assert_int_equal(stats(g)->insns, 0);
	guest_free(g);
}

static void test_protected(void **state)
{
	static const unsigned int cs[] = { G_CS32, G_CS16 };

	NEEDS_KVM();
	for (unsigned int k = 0; k < 2; k++) {
		struct guest *g = kvm_guest(1, NULL);

		if (cs[k] == G_CS32)
			ASM32(g, G_CODE,
			      "mov ecx, 1000; xor eax, eax; 1: add eax, ecx; mov [0x9000], eax; "
			      "loop 1b; mov ebx, [0x9000]" END);
		else
			ASM16(g, G_CODE,
			      "mov cx, 1000; xor eax, eax; movzx ecx, cx; 1: add eax, ecx; mov [0x9000], eax; "
			      "loop 1b; mov ebx, [0x9000]" END);
		guest_protected(g, cs[k]);
		go_to_end(g);
		assert_int_equal(g->st.gpr[CPU_RAX], 500500);
		assert_int_equal(g->st.gpr[CPU_RBX], 500500);
		assert_int_equal(get_le32(g->ram + DATA), 500500);
		assert_int_equal(stats(g)->insns, 0);
		guest_free(g);
	}
}

/* The KVM of a host without hardware assistance has no paging outside of long mode: then it is the interpreter's. */
static void test_legacy_paging(void **state)
{
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	g->grp->kvm->has_all_modes = g->grp->kvm->host.is_whole;
	ASM32(g, G_CODE,
	      "mov eax, 0x60000; mov cr3, eax; mov eax, cr4; or eax, 0x10; mov cr4, eax; "
	      "mov eax, cr0; or eax, 0x80000000; mov cr0, eax; jmp 1f; 1: mov dword ptr [0x9000], 7; "
	      "mov eax, [0x409000]; mov ebx, cr0" END);
	put_le32(g->ram + G_PT, 0x87);
	put_le32(g->ram + G_PT + 4, 0x87); /* the second 4 MiB are the first ones */
	guest_protected(g, G_CS32);
	go_to_end(g);
	assert_int_equal(g->st.gpr[CPU_RAX], 7);
	assert_true(g->st.gpr[CPU_RBX] & CR0_PG);
	assert_int_equal(stats(g)->insns > 0, !g->grp->kvm->host.is_whole);
	guest_free(g);
}

static void test_long(void **state)
{
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	ASM(g, G_CODE,
	    "mov r9, 1000; xor rax, rax; 1: add rax, r9; push rax; pop r15; dec r9; jnz 1b; "
	    "mov rbx, cr0; mov ecx, 0xc0000080; rdmsr; mov rdx, r15" END);
	guest_long(g, G_CS64);
	go_to_end(g);
	assert_int_equal(g->st.gpr[CPU_RDX], 500500);
	assert_int_equal(g->st.gpr[CPU_RBX], g->st.cr0);
	assert_int_equal((uint32_t)g->st.gpr[CPU_RAX], EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE);
	assert_int_equal(stats(g)->insns, 0);
	guest_free(g);
}

/* Ring 3, 64 and 32 bits, and to ring 0 by an exception. A KVM without hardware assistance emulates 32-bit programs, and knows
 * no vector instructions in them. */
static void test_ring3(void **state)
{
	static const unsigned int cs[] = { G_CS3_64, G_CS3_32 };

	NEEDS_KVM();
	for (unsigned int k = 0; k < 2; k++) {
		struct guest *g = kvm_guest(1, NULL);

		if (cs[k] == G_CS3_64)
			ASM(g, G_CODE,
			    "mov r9, 1000000; xor eax, eax; 1: add rax, r9; dec r9; jnz 1b; "
			    "movq xmm1, rax; paddq xmm1, xmm1; movq rbx, xmm1; ud2");
		else
			ASM32(g, G_CODE,
			      "mov ecx, 1000000; xor eax, eax; 1: add eax, ecx; loop 1b; "
			      "mov ebx, eax; add ebx, ebx; jc 2f; 2: ud2");
		guest_long(g, cs[k]);
		guest_gate64(g, 6, G_CS64, 14, 0, 0);
		ASM(g, G_HANDLER + 6 * 16, "mov rdx, [rsp+8]; mov rsi, rsp" END);
		go_to_end(g);
		assert_int_equal((uint32_t)g->st.gpr[CPU_RAX], (uint32_t)UINT64_C(500000500000));
		assert_int_equal((uint32_t)g->st.gpr[CPU_RBX], (uint32_t)g->st.gpr[CPU_RAX] * 2);
		assert_int_equal(g->st.gpr[CPU_RDX], cs[k]);
		assert_int_equal(g->st.gpr[CPU_RSI], G_TSS_STACK - 40);
		assert_int_equal(stats(g)->insns, 0);
		guest_free(g);
	}
}

/* Ring 3 and back many times, by an exception; and by SYSCALL where the processor executes guests: elsewhere it does not leave
 * ring 3. */
static void test_rings(void **state)
{
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	if (g->grp->kvm->host.is_whole)
		ASM(g, G_CODE, "mov r9, 50; 1: syscall; int3; dec r9; jnz 1b; ud2");
	else
		ASM(g, G_CODE, "mov r9, 50; 1: int3; int3; dec r9; jnz 1b; ud2");
	ASM(g, 0xc000, "inc qword ptr [0x9000]; .byte 0x48, 0x0f, 0x07");
	guest_long(g, G_CS3_64);
	guest_gate64(g, 3, G_CS64, 14, 3, 0);
	guest_gate64(g, 6, G_CS64, 14, 0, 0);
	ASM(g, G_HANDLER + 3 * 16, "inc qword ptr [0x9000]; iretq");
	ASM(g, G_HANDLER + 6 * 16, "nop" END);
	/* Selectors in the order that SYSRET takes for granted. */
	guest_desc(g, G_FREE, 0, 0xfffff, 0xcf3);
	guest_desc(g, G_FREE + 8, 0, 0xfffff, 0xafb);
	g->st.star = (uint64_t)(G_FREE - 8 + 3) << 48 | (uint64_t)G_CS64 << 32;
	g->st.lstar = 0xc000;
	g->st.sfmask = RFLAGS_IF;
	go_to_end(g);
	assert_int_equal(get_le64(g->ram + DATA), 100);
	guest_free(g);
}

/* --- exits ------------------------------------------------------------------------------------------ */

static void test_pio(void **state)
{
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	ASM(g, G_CODE,
	    "mov edx, 0x1234; in al, dx; mov ebx, eax; in ax, dx; in eax, dx; mov esi, 0x9000; "
	    "mov ecx, 16; cld; rep outsd; mov edi, 0x9800; mov ecx, 700; rep insb" END);
	guest_long(g, G_CS64);
	g->st.gpr[CPU_RAX] = 0;
	go_to_end(g);
	assert_int_equal(g->st.gpr[CPU_RBX], 0xa5);
	assert_int_equal(g->st.gpr[CPU_RAX], 0xa5a5a5a5);
	assert_int_equal(g->st.gpr[CPU_RCX], 0);
	assert_int_equal(g->pio_ins, 3 + 700);
	assert_int_equal(g->pio_outs, 16 + 1);
	assert_int_equal(g->ram[0x9800 + 699], 0xa5);
	assert_int_equal(g->ram[0x9800 + 700], 0);
	guest_free(g);
}

static void test_mmio(void **state)
{
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	guest_long(g, G_CS64);
	put_le64(g->ram + G_PT + 0x2010, 0xd0000000 | 0x87); /* at 4 MiB */
	ASM(g, G_CODE,
	    "mov rsi, 0x400000; mov rax, [rsi]; mov ebx, [rsi+8]; movzx ecx, word ptr [rsi+16]; "
	    "movzx edx, byte ptr [rsi+3]; mov [rsi], rax; mov [rsi+64], ebx; mov [rsi+66], cx; "
	    "add dword ptr [rsi+4], 1; mov rdi, [rsi+5]" END);
	go_to_end(g);
	assert_int_equal(g->st.gpr[CPU_RAX], UINT64_C(0x8877665544332211));
	assert_int_equal(g->st.gpr[CPU_RBX], 0x44332211);
	assert_int_equal(g->st.gpr[CPU_RCX], 0x2211);
	assert_int_equal(g->st.gpr[CPU_RDX], 0x44);
	/* In pieces that stay in 8 bytes: 5, 6 and 7; 8 to 12. */
	assert_int_equal(g->st.gpr[CPU_RDI], UINT64_C(0x5544332211887766));
	assert_int_equal(g->mmio_writes, 4);
	guest_free(g);
}

/* Writes to ROM are a device's; a window is there once the machine has moved it. */
static void test_rom_and_window(void **state)
{
	struct guest *g;
	uint8_t *rom = aligned_alloc(4096, 8192);

	NEEDS_KVM();
	memset(rom, 0x5a, 8192);
	g = kvm_guest(1, NULL);
	guest_long(g, G_CS64);
	put_le64(g->ram + G_PT + 0x2010, 0xd0000000 | 0x87);
	g->mem.region[1] = (struct physmem_region){ .gpa = 0xd0000000,
						    .size = 4096,
						    .hva = rom,
						    .is_rom = true,
						    .page_flags = calloc(1, 1) };
	g->mem.region[2] = (struct physmem_region){ .hva = rom + 4096, .page_flags = calloc(1, 1) };
	g->mem.nr = 2;
	g->mem.nr_windows = 1;
	cpu_group_flush(g->grp);
	ASM(g, G_CODE,
	    "mov rsi, 0x400000; mov eax, [rsi]; mov [rsi], esi; mov ebx, [rsi]; "
	    "mov ecx, [rsi+4096]; mov [rsi+4096], esi; mov edx, [rsi+4096]" END);
	go_to_end(g);
	assert_int_equal(g->st.gpr[CPU_RAX], 0x5a5a5a5a);
	assert_int_equal(g->st.gpr[CPU_RBX], 0x5a5a5a5a);
	assert_int_equal(g->st.gpr[CPU_RCX], 0x44332211);
	assert_int_equal(g->mmio_writes, 2);
	assert_int_equal(g->mmio_reads, 2);

	g->mem.region[2].gpa = 0xd0001000;
	g->mem.region[2].size = 4096;
	cpu_group_flush(g->grp);
	g->st.rip = G_CODE;
	go_to_end(g);
	assert_int_equal(g->st.gpr[CPU_RCX], 0x5a5a5a5a);
	assert_int_equal(g->st.gpr[CPU_RDX], 0x400000);
	assert_int_equal(get_le32(rom + 4096), 0x400000);
	assert_int_equal(g->mmio_reads, 2);

	g->mem.region[2].size = 0;
	cpu_group_flush(g->grp);
	g->st.rip = G_CODE;
	go_to_end(g);
	assert_int_equal(g->st.gpr[CPU_RCX], 0x44332211);
	free((void *)g->mem.region[1].page_flags);
	free((void *)g->mem.region[2].page_flags);
	guest_free(g);
	free(rom);
}

/* What the guest has a hand in of what the kernel tells us. */
static void test_forged_exits(void **state)
{
	struct guest *g;
	struct kvm_cpu *k;
	struct err err = ERR_INIT;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	k = kvm_cpu(g->cpu);
	k->run->exit_reason = KVM_EXIT_IO;
	k->run->io.size = 4;
	k->run->io.count = 1;
	k->run->io.direction = KVM_EXIT_IO_OUT;
	k->run->io.data_offset = g->grp->kvm->host.run_size - 3;
	assert_int_equal(kvm_exit(k, &err), -EIO);
	k->run->io.data_offset = UINT64_MAX - 1;
	assert_int_equal(kvm_exit(k, &err), -EIO);
	k->run->io.data_offset = 4096;
	k->run->io.count = UINT32_MAX;
	assert_int_equal(kvm_exit(k, &err), -EIO);
	k->run->io.count = 1;
	k->run->io.size = 3;
	assert_int_equal(kvm_exit(k, &err), -EIO);
	k->run->io.size = 4;
	assert_int_equal(kvm_exit(k, &err), 0);
	assert_int_equal(g->pio_outs, 1);

	k->run->exit_reason = KVM_EXIT_MMIO;
	k->run->mmio.phys_addr = UINT64_MAX;
	k->run->mmio.is_write = 1;
	k->run->mmio.len = 9;
	assert_int_equal(kvm_exit(k, &err), -EIO);
	k->run->mmio.len = 0;
	assert_int_equal(kvm_exit(k, &err), -EIO);
	k->run->mmio.len = 8;
	assert_int_equal(kvm_exit(k, &err), 0);

	k->run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	k->run->internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV;
	assert_int_equal(kvm_exit(k, &err), -EIO);
	k->run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	assert_int_equal(kvm_exit(k, &err), -EIO);
	k->run->exit_reason = 9999;
	assert_int_equal(kvm_exit(k, &err), -EIO);
	assert_non_null(strstr(err.text, "9999"));
	k->is_incomplete = k->go_home = false;
	guest_free(g);
}

static void test_shutdown(void **state)
{
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	/* It switches its APIC on; and there is no handler. */
	ASM(g, G_CODE, "mov dword ptr [0x6000f0], 0x1aa; ud2");
	guest_long(g, G_CS64);
	put_le64(g->ram + G_PT + 0x2018, 0xfee00000 | 0x87); /* at 6 MiB */
	assert_int_equal(guest_go(g), CPU_EXIT_SHUTDOWN);
	assert_int_equal(g->st.ev.mp_state, CPU_MP_SHUTDOWN);
	assert_int_equal(g->st.apic.svr, 0x1aa);
	cpu_group_reset(g->grp);
	cpu_get_state(g->cpu, &g->st);
	assert_int_equal(g->st.apic.svr, 0xff);
	ASM(g, G_CODE, "mov eax, 9" END);
	guest_long(g, G_CS64);
	go_to_end(g);
	assert_int_equal(g->st.gpr[CPU_RAX], 9);
	guest_free(g);
}

/* --- being kicked ----------------------------------------------------------------------------------- */

static void *kicker(void *arg)
{
	struct guest *g = arg;

	/* The guest says when it is there; before and after, a kick is as good. */
	while (!__atomic_load_n((uint32_t *)(void *)(g->ram + DATA), __ATOMIC_ACQUIRE))
		sched_yield();
	cpu_kick(g->cpu);
	return NULL;
}

static void kick_in(struct guest *g)
{
	pthread_t t;
	uint32_t count;

	put_le32(g->ram + DATA, 0);
	pthread_create(&t, NULL, kicker, g);
	go_to_end(g);
	pthread_join(t, NULL);
	count = get_le32(g->ram + DATA);
	assert_true(count > 0);
	assert_int_equal(g->pio_outs, 0);
}

static void test_kick(void **state)
{
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	guest_real(g);
	ASM16(g, G_CODE, "1: inc dword ptr [0x9000]; jmp 1b");
	g->st.seg[CPU_DS].base = 0;
	kick_in(g);
	guest_free(g);

	g = kvm_guest(1, NULL);
	guest_protected(g, G_CS32);
	ASM32(g, G_CODE, "1: inc dword ptr [0x9000]; jmp 1b");
	kick_in(g);
	guest_long(g, G_CS64);
	ASM(g, G_CODE, "1: inc dword ptr [0x9000]; jmp 1b");
	kick_in(g);
	guest_long(g, G_CS3_64);
	kick_in(g);
	kick_in(g); /* goes on where it was */
	guest_free(g);
}

/* --- what KVM does not do ---------------------------------------------------------------------------- */

#define ODD                                                                                                \
	"fninit; fld1; fldpi; faddp; fstp qword ptr [0x9000]; mov rax, [0x9000]; cvtsi2sd xmm0, ecx; "     \
	"mulsd xmm0, [0x9000]; movsd [0x9008], xmm0; mov rbx, [0x9008]; mov edx, 0x10; verr dx; setz cl; " \
	"lar esi, edx; lsl edi, edx; int3; int 0x80; stmxcsr [0x9010]; mov r8d, [0x9010]"

static void odd_guest(struct guest *g)
{
	guest_long(g, G_CS64);
	guest_gate64(g, 3, G_CS64, 14, 0, 0);
	guest_gate64(g, 0x80, G_CS64, 14, 0, 0);
	ASM(g, G_HANDLER + 3 * 16, "inc r14; iretq");
	ASM(g, G_HANDLER + 0x80 * 16, "inc r15; iretq");
	ASM(g, G_CODE, ODD END);
	g->st.gpr[CPU_RCX] = 42;
}

static void test_odd_instructions(void **state)
{
	struct guest *g, *o;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	o = guest_new_on(CPU_ENGINE_INTERP, 1, NULL, NULL);
	odd_guest(g);
	odd_guest(o);
	go_to_end(g);
	go_to_end(o);
	assert_memory_equal(g->st.gpr, o->st.gpr, sizeof(g->st.gpr));
	assert_int_equal(g->st.gpr[CPU_R14], 1);
	assert_int_equal(g->st.gpr[CPU_R15], 1);
	assert_int_equal(g->st.rflags, o->st.rflags);
	assert_memory_equal(g->ram + DATA, o->ram + DATA, 32);
	assert_true(stats(g)->kvm_emulated > 0 || g->grp->kvm->host.is_whole);
	assert_int_equal(stats(g)->kvm_emulated, stats(g)->insns);
	guest_free(g);
	guest_free(o);
}

/* Code that the guest changes by KVM while the interpreter has decoded it. */
static void test_odd_instruction_changed(void **state)
{
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	guest_long(g, G_CS64);
	/* fld1 becomes fldz (d9 e8, d9 ee) in the second round. */
	ASM(g, G_CODE,
	    "fninit; xor ebx, ebx; 1: fld1; fistp dword ptr [0x9000]; add ebx, [0x9000]; "
	    "shl ebx, 4; mov byte ptr [rip+1b+1], 0xee; inc eax; cmp eax, 2; jb 1b" END);
	g->st.gpr[CPU_RAX] = 0;
	go_to_end(g);
	assert_int_equal(g->st.gpr[CPU_RBX], 0x100);
	guest_free(g);
}

/* Its fault is the guest's, as if KVM had executed it. */
static void test_odd_fault(void **state)
{
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	guest_long(g, G_CS64);
	guest_gate64(g, 14, G_CS64, 14, 0, 0);
	ASM(g, G_HANDLER + 14 * 16, "pop rbx; mov rcx, cr2; mov rdx, [rsp]" END);
	ASM(g, G_CODE, "mov rsi, 0x40000008; addps xmm0, [rsi+8]" END);
	go_to_end(g);
	assert_int_equal(g->st.gpr[CPU_RBX], 0);
	assert_int_equal(g->st.gpr[CPU_RCX], 0x40000010);
	assert_int_equal(g->st.gpr[CPU_RDX], G_CODE + 7);
	guest_free(g);
}

/* --- interrupts -------------------------------------------------------------------------------------- */

/* The APIC is on; a message is to come. */
static void irq_guest(struct guest *g, unsigned int cs)
{
	guest_long(g, cs);
	guest_gate64(g, APIC_VECTOR, G_CS64, 14, 0, 0);
	guest_gate64(g, 0x20, G_CS64, 14, 0, 0);
	guest_gate64(g, 2, G_CS64, 14, 0, 0);
	put_le64(g->ram + G_PT + 0x2018, 0xfee00000 | 0x87); /* at 6 MiB */
	ASM(g, G_HANDLER + APIC_VECTOR * 16, "inc r14; mov dword ptr [0x6000b0], 0; iretq");
	ASM(g, G_HANDLER + 0x20 * 16, "inc r13; iretq");
	ASM(g, G_HANDLER + 2 * 16, "inc r12; iretq");
	g->st.apic.svr = 0x1ff;
}

static void test_interrupts(void **state)
{
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	irq_guest(g, G_CS64);
	/* Not before IF is set and the task priority allows it; then once. */
	ASM(g, G_CODE,
	    "mov al, 1; out 0x99, al; nop; mov rbx, r14; mov eax, 8; mov cr8, rax; sti; nop; nop; "
	    "mov rdx, r14; xor eax, eax; mov cr8, rax; out 0x80, al; mov rsi, r14; cli" END);
	go_to_end(g);
	cpu_set_state(g->cpu, &g->st);
	assert_int_equal(cpu_group_msi(g->grp, 0xfee00000, APIC_VECTOR), 1);
	cpu_get_state(g->cpu, &g->st);
	go_to_end(g);
	assert_int_equal(g->st.gpr[CPU_RBX], 0);
	assert_int_equal(g->st.gpr[CPU_RDX], 0);
	assert_int_equal(g->st.gpr[CPU_RSI], 1);
	assert_int_equal(g->st.gpr[CPU_R14], 1);
	assert_int_equal(stats(g)->interrupts, guest_apic == CPU_APIC_OURS);
	for (unsigned int k = 0; k < 8; k++)
		assert_int_equal(g->st.apic.isr[k] | g->st.apic.irr[k], 0);
	guest_free(g);
}

struct sender {
	struct guest *g;
	unsigned int what;
};

static void *sender(void *arg)
{
	const struct sender *s = arg;
	struct guest *g = s->g;

	while (__atomic_load_n((uint32_t *)(void *)(g->ram + DATA), __ATOMIC_ACQUIRE) == 0)
		sched_yield();
	if (s->what == 0)
		(void)cpu_group_msi(g->grp, 0xfee00000, APIC_VECTOR);
	else if (s->what == 1)
		cpu_group_extint(g->grp, true);
	else
		cpu_group_nmi(g->grp);
	return NULL;
}

/* In HLT, and in a loop in ring 0 and 3; from another thread. */
static void interrupted(struct guest *g, unsigned int what, unsigned int reg)
{
	struct sender s = { g, what };
	pthread_t t;

	put_le32(g->ram + DATA, 0);
	g->st.gpr[CPU_R12] = g->st.gpr[CPU_R13] = g->st.gpr[CPU_R14] = 0;
	g->st.rip = G_CODE;
	pthread_create(&t, NULL, sender, &s);
	go_to_end(g);
	pthread_join(t, NULL);
	assert_int_equal(g->st.gpr[CPU_R12], reg == CPU_R12);
	assert_true(g->st.gpr[reg] > 0);
	assert_int_equal(g->st.ev.mp_state, CPU_MP_RUNNING);
	cpu_group_extint(g->grp, false);
	cpu_get_state(g->cpu, &g->st);
}

static void test_wake(void **state)
{
	static const unsigned int reg[] = { CPU_R14, CPU_R13, CPU_R12 };
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	irq_guest(g, G_CS64);
	g->st.apic.lvt_lint0 = 0x700;
	g->st.apic.lvt_lint1 = 0x400;
	for (unsigned int k = 0; k < 3; k++) {
		ASM(g, G_CODE, "mov dword ptr [0x9000], 1; sti; hlt; cli" END);
		interrupted(g, k, reg[k]);
		ASM(g, G_CODE,
		    "sti; 1: inc dword ptr [0x9000]; mov rax, r12; or rax, r13; or rax, r14; jz 1b; cli" END);
		interrupted(g, k, reg[k]);
	}
	guest_free(g);
}

/* A loop in ring 3 ends when the handler says so. */
static void test_wake_ring3(void **state)
{
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	irq_guest(g, G_CS3_64);
	g->st.rflags |= RFLAGS_IF;
	guest_gate64(g, 6, G_CS64, 14, 0, 0);
	ASM(g, G_HANDLER + 6 * 16, "nop" END);
	ASM(g, G_CODE, "1: inc dword ptr [0x9000]; test r14, r14; jz 1b; ud2");
	interrupted(g, 0, CPU_R14);
	guest_free(g);
}

/* The APIC's own timer, by its MMIO page. */
static void test_apic_timer(void **state)
{
	struct guest *g;
	struct err err = ERR_INIT;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	assert_int_equal(timerq_start(&g->timers, &err), 0);
	irq_guest(g, G_CS64);
	ASM(g, G_CODE,
	    "mov rsi, 0x600000; mov dword ptr [rsi+0x320], 0x20041; mov dword ptr [rsi+0x3e0], 11; "
	    "mov dword ptr [rsi+0x380], 10000; sti; 1: hlt; cmp r14, 3; jb 1b; cli" END);
	go_to_end(g);
	assert_true(g->st.gpr[CPU_R14] >= 3);
	guest_free(g);
}

/* By the TSC, and by MSRs. */
static void test_deadline(void **state)
{
	struct guest *g;
	struct err err = ERR_INIT;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	assert_int_equal(timerq_start(&g->timers, &err), 0);
	irq_guest(g, G_CS64);
	g->st.apic.base |= APIC_BASE_X2APIC;
	ASM(g, G_HANDLER + APIC_VECTOR * 16, "inc r14; iretq");
	ASM(g, G_CODE,
	    "mov ecx, 0x832; mov eax, 0x40041; xor edx, edx; wrmsr; rdtsc; add eax, 100000; adc edx, 0; "
	    "mov ecx, 0x6e0; wrmsr; sti; hlt; cli; rdmsr; mov ebx, eax; mov ecx, 0x80b; xor eax, eax; "
	    "xor edx, edx; wrmsr; mov ecx, 0x802; rdmsr" END);
	go_to_end(g);
	assert_int_equal(g->st.gpr[CPU_R14], 1);
	assert_int_equal(g->st.gpr[CPU_RBX], 0);
	assert_int_equal(g->st.gpr[CPU_RAX], 0);
	assert_int_equal(g->st.apic.tsc_deadline, 0);
	assert_int_equal(g->st.apic.lvt_timer, 0x40041);
	guest_free(g);
}

/* The I/O APIC is told of the end of a level-triggered interrupt, and of no other. */
static void test_level(void **state)
{
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	irq_guest(g, G_CS64);
	ASM(g, G_CODE, "sti; nop; out 0x80, al; mov rbx, r14; cli" END);
	for (unsigned int k = 0; k < 60; k++) {
		unsigned int vector = 0x41 + k % 30;

		guest_gate64(g, vector, G_CS64, 14, 0, 0);
		put_le16(g->ram + G_IDT + vector * 16, G_HANDLER + APIC_VECTOR * 16);
		g->st.rip = G_CODE;
		g->st.gpr[CPU_R14] = 0;
		cpu_set_state(g->cpu, &g->st);
		assert_int_equal(cpu_group_msi(g->grp, 0xfee00000,
					       vector | (k & 1) << 15 | (k & 1) << 14),
				 1);
		cpu_get_state(g->cpu, &g->st);
		go_to_end(g);
		assert_int_equal(g->st.gpr[CPU_R14], 1);
		assert_int_equal(g->eois, (k + 1) / 2);
	}
	guest_free(g);
}

/* Two vCPUs: INIT, SIPI, and an interrupt back. */
static void *run_second(void *arg)
{
	struct guest *g = arg;
	struct err err = ERR_INIT;

	return (void *)(uintptr_t)cpu_run(cpu_group_cpu(g->grp, 1), &err);
}

static void test_second_cpu(void **state)
{
	struct guest *g;
	pthread_t t;
	void *exit;

	NEEDS_KVM();
	g = kvm_guest(2, NULL);
	irq_guest(g, G_CS64);
	ASM16(g, 0x7000, "mov word ptr cs:[0x100], 0x55aa; 1: hlt; jmp 1b");
	ASM(g, G_CODE,
	    "mov rsi, 0x600000; mov dword ptr [rsi+0x310], 0x1000000; mov dword ptr [rsi+0x300], 0x4500; "
	    "mov dword ptr [rsi+0x300], 0x4607; 1: pause; cmp word ptr [0x7100], 0x55aa; jne 1b" END);
	pthread_create(&t, NULL, run_second, g);
	go_to_end(g);
	cpu_kick(cpu_group_cpu(g->grp, 1));
	pthread_join(t, &exit);
	assert_int_equal((uintptr_t)exit, CPU_EXIT_KICKED);
	guest_free(g);
}

/* --- registers that we keep ----------------------------------------------------------------------------- */

static void test_msrs(void **state)
{
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	guest_long(g, G_CS64);
	guest_gate64(g, 13, G_CS64, 14, 0, 0);
	ASM(g, G_HANDLER + 13 * 16, "inc r15; add rsp, 8; add qword ptr [rsp], 2; iretq");
	ASM(g, G_CODE,
	    "mov ecx, 0x2ff; mov eax, 0xc06; xor edx, edx; wrmsr; rdmsr; mov ebx, eax; " /* MTRR */
	    "mov ecx, 0xc0000082; mov eax, 0x1234; wrmsr; "				 /* LSTAR */
	    "mov edx, 0x80000000; wrmsr; xor edx, edx; "    /* not canonical */
	    "mov ecx, 0x48; rdmsr; "			    /* SPEC_CTRL: none */
	    "mov ecx, 0x4b564d01; mov eax, 0x9001; wrmsr; " /* clock */
	    "mov ecx, 0x3b; mov eax, 0x100000; wrmsr; rdmsr; mov esi, eax" END); /* TSC_ADJUST */
	go_to_end(g);
	assert_int_equal(g->st.gpr[CPU_R15], 2);
	assert_int_equal(g->st.gpr[CPU_RBX], 0xc06);
	assert_int_equal(g->st.mtrr_def_type, 0xc06);
	assert_int_equal(g->st.lstar, 0x1234);
	assert_int_equal(g->st.gpr[CPU_RSI], 0x100000);
	assert_int_equal(g->st.tsc_offset, 0x100000);
	assert_int_equal(g->st.pv_system_time, 0x9001);
	assert_true(get_le32(g->ram + DATA) != 0 && !(get_le32(g->ram + DATA) & 1));
	guest_free(g);
}

/* The TSC goes on evenly from one engine to the next, and RDMSR reads what RDTSC does. */
static void test_tsc(void **state)
{
	static const enum cpu_engine_kind kinds[] = { CPU_ENGINE_INTERP, CPU_ENGINE_KVM,
						      CPU_ENGINE_DBT, CPU_ENGINE_KVM };
	uint64_t before, last = 0;
	struct guest *g;

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	for (unsigned int k = 0; k < 4; k++) {
		guest_long(g, G_CS64);
		ASM(g, G_CODE,
		    "rdtsc; shl rdx, 32; or rax, rdx; mov rbx, rax; mov ecx, 0x10; rdmsr; shl rdx, 32; "
		    "or rax, rdx" END);
		assert_int_equal(cpu_group_set_engine(g->grp, kinds[k], &g->err), 0);
		before = cpu_read_tsc(g->cpu);
		go_to_end(g);
		assert_true(g->st.gpr[CPU_RBX] >= before && before >= last);
		assert_true(g->st.gpr[CPU_RAX] >= g->st.gpr[CPU_RBX]);
		assert_true(cpu_read_tsc(g->cpu) >= g->st.gpr[CPU_RAX]);
		last = g->st.gpr[CPU_RAX];
	}
	guest_free(g);
}

static void test_cpuid(void **state)
{
	struct guest *g;
	uint32_t want[4];

	NEEDS_KVM();
	g = kvm_guest(1, NULL);
	guest_long(g, G_CS64);
	ASM(g, G_CODE,
	    "mov eax, 1; xor ecx, ecx; cpuid; mov r8d, eax; mov r9d, ebx; mov r10d, ecx; mov r11d, edx; "
	    "mov eax, 0x40000000; cpuid; mov r12d, ebx; mov eax, 0x80000002; cpuid" END);
	go_to_end(g);
	cpuid_exec(g->cpu, 1, 0, want);
	assert_int_equal(g->st.gpr[CPU_R8], want[0]);
	assert_int_equal(g->st.gpr[CPU_R9], want[1]);
	assert_int_equal(g->st.gpr[CPU_R10], want[2]);
	if (!g->grp->kvm->host.is_whole) /* such a one shows that the host has more threads */
		g->st.gpr[CPU_R11] &= ~(UINT64_C(1) << 28);
	assert_int_equal(g->st.gpr[CPU_R11], want[3]);
	assert_int_equal(g->st.gpr[CPU_R12], 0x4b4d564b);
	assert_int_equal(g->st.gpr[CPU_RAX], 0x6c6f7441); /* "Atol" */
	guest_free(g);
}

/* A debugger sees the same as under the interpreter. With the kernel's APICs there is none. */
static void test_debugger(void **state)
{
	struct guest *g;

	NEEDS_KVM();
	guest_apic = CPU_APIC_OURS;
	g = kvm_guest(1, NULL);
	guest_long(g, G_CS64);
	ASM(g, G_CODE, "mov eax, 1; mov ebx, 2; mov ecx, 3" END);
	assert_int_equal(guest_run(g, G_CODE + 10), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.rip, G_CODE + 10);
	assert_int_equal(g->st.gpr[CPU_RBX], 2);
	assert_int_equal(guest_step(g), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.gpr[CPU_RCX], 3);
	go_to_end(g);
	assert_int_equal(g->pio_outs, 1);
	assert_true(stats(g)->kvm_exits > 0);
	guest_free(g);
	if (!has_kernel_apic())
		return;
	guest_apic = CPU_APIC_KERNEL;
	g = kvm_guest(1, NULL);
	guest_long(g, G_CS64);
	assert_int_equal(guest_run(g, G_CODE + 10), CPU_EXIT_ERROR);
	assert_non_null(strstr(g->err.text, "debugger"));
	guest_free(g);
}

BOTH(test_pio)
BOTH(test_mmio)
BOTH(test_shutdown)
BOTH(test_kick)
BOTH(test_odd_instructions)
BOTH(test_interrupts)
BOTH(test_wake)
BOTH(test_wake_ring3)
BOTH(test_apic_timer)
BOTH(test_second_cpu)
BOTH(test_msrs)
BOTH(test_cpuid)
BOTH(test_level)
BOTH(test_deadline)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real),
		cmocka_unit_test(test_protected),
		cmocka_unit_test(test_legacy_paging),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_ring3),
		cmocka_unit_test(test_rings),
		BOTH_TESTS(test_pio),
		BOTH_TESTS(test_mmio),
		cmocka_unit_test(test_rom_and_window),
		cmocka_unit_test(test_forged_exits),
		BOTH_TESTS(test_shutdown),
		BOTH_TESTS(test_kick),
		BOTH_TESTS(test_odd_instructions),
		cmocka_unit_test(test_odd_instruction_changed),
		cmocka_unit_test(test_odd_fault),
		BOTH_TESTS(test_interrupts),
		BOTH_TESTS(test_wake),
		BOTH_TESTS(test_wake_ring3),
		BOTH_TESTS(test_apic_timer),
		BOTH_TESTS(test_deadline),
		BOTH_TESTS(test_level),
		BOTH_TESTS(test_second_cpu),
		BOTH_TESTS(test_msrs),
		cmocka_unit_test(test_tsc),
		BOTH_TESTS(test_cpuid),
		cmocka_unit_test(test_debugger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
