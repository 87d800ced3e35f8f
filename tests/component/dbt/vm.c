// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The machine: memory, tables, devices. Its devices spoil the host's vector and x87 registers on purpose: whatever
 * the engine keeps there for the guest must have been saved.
 */
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "vm.h"

extern const uint8_t dbt_kernel[], dbt_kernel_end[];

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40, PTE_G = 0x100 };
#define PTE_NX (UINT64_C(1) << 63)

static struct vm *vms[8];

/* --- devices --------------------------------------------------------------------------------------- */

static void clobber(void)
{
	static const uint32_t mxcsr = 0x1fbf;
	uint32_t kept;

	__asm__ volatile("stmxcsr %0" : "=m"(kept));
	__asm__ volatile("ldmxcsr %0\n\t"
			 "fninit\n\t"
			 "fldpi\n\tfldl2e\n\tfldz\n\t"
			 "fstp %%st(0)\n\tfstp %%st(0)\n\tfstp %%st(0)\n\t"
			 "vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n\t"
			 "vpcmpeqd %%ymm1, %%ymm1, %%ymm1\n\t"
			 "vpcmpeqd %%ymm2, %%ymm2, %%ymm2\n\t"
			 "vpcmpeqd %%ymm3, %%ymm3, %%ymm3\n\t"
			 "vpcmpeqd %%ymm4, %%ymm4, %%ymm4\n\t"
			 "vpcmpeqd %%ymm5, %%ymm5, %%ymm5\n\t"
			 "vpcmpeqd %%ymm6, %%ymm6, %%ymm6\n\t"
			 "vpcmpeqd %%ymm7, %%ymm7, %%ymm7\n\t"
			 "vpcmpeqd %%ymm8, %%ymm8, %%ymm8\n\t"
			 "vpcmpeqd %%ymm9, %%ymm9, %%ymm9\n\t"
			 "vpcmpeqd %%ymm10, %%ymm10, %%ymm10\n\t"
			 "vpcmpeqd %%ymm11, %%ymm11, %%ymm11\n\t"
			 "vpcmpeqd %%ymm12, %%ymm12, %%ymm12\n\t"
			 "vpcmpeqd %%ymm13, %%ymm13, %%ymm13\n\t"
			 "vpcmpeqd %%ymm14, %%ymm14, %%ymm14\n\t"
			 "vpcmpeqd %%ymm15, %%ymm15, %%ymm15\n\t"
			 "vzeroupper\n\t"
			 "ldmxcsr %1"
			 :
			 : "m"(mxcsr), "m"(kept)
			 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
			   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "st",
			   "st(1)", "st(2)", "memory");
}

static uint64_t note(struct vm *v, uint64_t what, uint64_t value)
{
	struct rng r = { v->io_hash ^ what * UINT64_C(0x9e3779b97f4a7c15) ^ value };

	v->nr_io++;
	v->io_hash = rng_next(&r);
	clobber();
	return rng_next(&r);
}

static uint32_t pio_in(void *arg, uint16_t port, unsigned int size)
{
	return (uint32_t)note(arg, port | size << 16, 0);
}

static void pio_out(void *arg, uint16_t port, unsigned int size, uint32_t value)
{
	struct vm *v = arg;

	if (port >= EV_ENTRY && port <= EV_INTR) {
		v->event = port;
		cpu_kick(v->cpu);
		clobber();
		return;
	}
	note(v, port | size << 16 | 1u << 24, value);
	if (port == 0x84 || port == 0x17)
		cpu_group_msi(v->grp, 0xfee00000, VM_INTR);
}

static uint64_t mmio_read(void *arg, uint64_t gpa, unsigned int size)
{
	return note(arg, gpa | (uint64_t)size << 40, 0);
}

static void mmio_write(void *arg, uint64_t gpa, unsigned int size, uint64_t value)
{
	note(arg, gpa | (uint64_t)size << 40 | UINT64_C(1) << 48, value);
}

static uint8_t extint_ack(void *arg)
{
	return 0;
}

static void eoi(void *arg, uint8_t vector)
{
}

static const struct cpu_machine_ops ops = {
	.pio_in = pio_in,
	.pio_out = pio_out,
	.mmio_read = mmio_read,
	.mmio_write = mmio_write,
	.extint_ack = extint_ack,
	.eoi = eoi,
};

static void on_alarm(int sig)
{
	for (unsigned int k = 0; k < ARRAY_SIZE(vms); k++)
		if (vms[k])
			cpu_kick(vms[k]->cpu);
}

void vm_watchdog(unsigned int ms)
{
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART | SA_ONSTACK };
	const struct itimerval t = { .it_value = { .tv_usec = ms * 1000 },
				     .it_interval = { .tv_usec = ms * 1000 } };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
}

/* --- life ------------------------------------------------------------------------------------------ */

struct vm *vm_new(enum cpu_engine_kind engine, uint8_t *ram, uint64_t cache_bytes)
{
	struct vm *v = calloc(1, sizeof(*v));
	struct cpu_group_config cfg = {
		.nr_cpus = 1,
		.engine = engine,
		.model = "host",
		.features = "-rdrand,-rdseed",
		.timers = NULL,
		.clock = clock_real(),
		.ops = &ops,
		.code_cache_bytes = cache_bytes,
	};

	if (!v)
		abort();
	v->owns_ram = !ram;
	v->ram = ram ? ram
		     : mmap(NULL, VM_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);
	if (v->ram == MAP_FAILED)
		abort();
	v->mem.nr = 1;
	v->mem.region[0] =
		(struct physmem_region){ .size = VM_RAM, .hva = v->ram, .page_flags = v->flags };
	timerq_init(&v->timers, clock_real());
	cfg.mem = &v->mem;
	cfg.timers = &v->timers;
	cfg.arg = v;
	if (cpu_group_new(&cfg, &v->grp, &v->err) < 0) {
		printf("# %s\n", err_text(&v->err));
		return NULL;
	}
	v->cpu = cpu_group_cpu(v->grp, 0);
	for (unsigned int k = 0; k < ARRAY_SIZE(vms); k++) {
		if (!vms[k]) {
			vms[k] = v;
			break;
		}
	}
	return v;
}

void vm_free(struct vm *v)
{
	for (unsigned int k = 0; k < ARRAY_SIZE(vms); k++)
		if (vms[k] == v)
			vms[k] = NULL;
	cpu_group_free(v->grp);
	timerq_done(&v->timers);
	if (v->owns_ram)
		munmap(v->ram, VM_RAM);
	free(v);
}

static void pte(struct vm *v, uint32_t table, uint64_t index, uint64_t value)
{
	put_le64(v->ram + table + 8 * (index & 511), value);
}

static void make_paging(struct vm *v)
{
	static const uint8_t data[] = { 0, 1, 2, 0xff, 3, 0xff };
	const uint64_t dir = PTE_P | PTE_W | PTE_U | PTE_A, page = PTE_P | PTE_U | PTE_A | PTE_D;

	for (uint32_t as = 0; as < 2; as++) {
		uint32_t at = as * 0x1000;

		pte(v, VM_PML4 + at, 0, (VM_PDPT + at) | dir);
		pte(v, VM_PML4 + at, VM_LIN >> 39, VM_PDPT_K | dir);
		pte(v, VM_PDPT + at, 0, (VM_PD + at) | dir);
		pte(v, VM_PD + at, DIFF_CODE >> 21, (VM_PT_CODE + at) | dir);
		pte(v, VM_PD + at, DIFF_DATA >> 21, (VM_PT_DATA + at) | dir);
		for (uint32_t k = 0; k < VM_WINDOW; k++)
			pte(v, VM_PT_CODE + at, k,
			    (VM_CODE + (4 * as + k) * 0x1000) | page | PTE_W);
		for (uint32_t k = 0; k < sizeof(data); k++)
			if (data[k] != 0xff)
				pte(v, VM_PT_DATA + at, k,
				    (VM_DATA + (data[k] + 2 * as) * 0x1000) | page | PTE_NX |
					    (k == 2 ? 0 : PTE_W));
		pte(v, VM_PT_DATA + at, 8, VM_MMIO | page | PTE_W | PTE_NX);
	}
	pte(v, VM_PDPT_K, VM_LIN >> 30, VM_PD_K | dir);
	pte(v, VM_PD_K, VM_LIN >> 21, VM_PT_K | dir);
	for (uint32_t k = 0; k < VM_RAM / 4096; k++)
		pte(v, VM_PT_K, k, k * 0x1000 | PTE_P | PTE_W | PTE_A | PTE_D | PTE_G);
}

static void gate(struct vm *v, unsigned int vector, uint64_t at, unsigned int ist, unsigned int dpl)
{
	uint8_t *p = v->ram + VM_IDT + 16 * vector;

	put_le16(p, (uint16_t)at);
	put_le16(p + 2, VM_CS0);
	put_le16(p + 4, (uint16_t)(0x8e00 | dpl << 13 | ist));
	put_le16(p + 6, (uint16_t)(at >> 16));
	put_le64(p + 8, at >> 32);
}

static void make_tables(struct vm *v)
{
	static const uint64_t gdt[] = {
		[2] = UINT64_C(0x00af9b000000ffff), [3] = UINT64_C(0x00cf93000000ffff),
		[4] = UINT64_C(0x00cffb000000ffff), [5] = UINT64_C(0x00cff3000000ffff),
		[6] = UINT64_C(0x00affb000000ffff), [7] = UINT64_C(0x00cf9b000000ffff),
	};

	for (unsigned int k = 0; k < ARRAY_SIZE(gdt); k++)
		put_le64(v->ram + VM_GDT + 8 * k, gdt[k]);
	for (unsigned int k = 0; k < 256; k++)
		gate(v, k, VM_LIN + VM_KERNEL + 16 * k, 1, k == 3 || k == 4 || k == 0x81 ? 3 : 0);
	gate(v, VM_INTR, VM_LIN + VM_KERNEL + 0x1100, 2, 0);
	put_le64(v->ram + VM_TSS + 4, VM_LIN + VM_IST1);
	put_le64(v->ram + VM_TSS + 36, VM_LIN + VM_IST1);
	put_le64(v->ram + VM_TSS + 44, VM_LIN + VM_IST2);
	put_le16(v->ram + VM_TSS + 102, 104);
	memcpy(v->ram + VM_KERNEL, dbt_kernel, (size_t)(dbt_kernel_end - dbt_kernel));
}

static void make_state(struct vm *v)
{
	static struct cpu_state s;

	cpu_group_reset(v->grp);
	cpu_get_state(v->cpu, &s);
	s.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	s.cr3 = VM_PML4;
	s.cr4 = CR4_DE | CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE |
		CR4_FSGSBASE | CR4_TSD;
	s.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	s.xcr0 = 7;
	s.star = (uint64_t)0x23 << 48 | (uint64_t)VM_CS0 << 32;
	s.lstar = VM_LIN + VM_KERNEL + 0x1040;
	s.cstar = s.lstar;
	s.sfmask = RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_NT | RFLAGS_AC;
	s.gdtr = (struct cpu_dtable){ VM_LIN + VM_GDT, 0x7f };
	s.idtr = (struct cpu_dtable){ VM_LIN + VM_IDT, 0xfff };
	s.tr = (struct cpu_seg){
		.base = VM_LIN + VM_TSS, .limit = 0x67, .sel = 0x40, .attr = 0xb | SEG_P
	};
	s.ldtr = (struct cpu_seg){ 0 };
	for (unsigned int k = 0; k < CPU_NR_SEGS; k++)
		s.seg[k] = (struct cpu_seg){ .limit = UINT32_MAX, .sel = DIFF_DS, .attr = 0xcf3 };
	s.seg[CPU_CS] = (struct cpu_seg){ .limit = UINT32_MAX, .sel = VM_CS0, .attr = 0xa9b };
	s.seg[CPU_SS] = (struct cpu_seg){ .limit = UINT32_MAX, .sel = VM_SS0, .attr = 0xc93 };
	s.seg[CPU_FS] = (struct cpu_seg){ .base = DIFF_DATA + 0x300 };
	s.seg[CPU_GS] = (struct cpu_seg){ .base = DIFF_DATA + 0x700 };
	s.rip = VM_LIN + VM_KERNEL + 0x1000;
	s.rflags = RFLAGS_FIXED1;
	s.apic.base |= 0xd00; /* x2APIC */
	s.apic.svr = 0x1ff;
	s.ev.mp_state = CPU_MP_RUNNING;
	cpu_set_state(v->cpu, &s);
}

void vm_reset(struct vm *v, uint64_t seed)
{
	static uint8_t data[DIFF_DATA_SIZE];

	memset(v->ram, 0, VM_RAM);
	memset(v->ram + VM_CODE, 0xcc, VM_NR_CODE * 0x1000);
	for (unsigned int k = 0; k < 2; k++) {
		gen_data(seed, k, data);
		memcpy(v->ram + VM_DATA + k * sizeof(data), data, sizeof(data));
	}
	make_paging(v);
	make_tables(v);
	v->io_hash = v->nr_io = 0;
	make_state(v);
	cpu_group_flush(v->grp);
}

void vm_write(struct vm *v, uint32_t gpa, const void *p, uint32_t n)
{
	if (physmem_write(&v->mem, gpa, p, n) < 0)
		abort();
}

void vm_cmd(struct vm *v, unsigned int n, enum vm_op op, uint64_t a, uint64_t b, uint64_t c,
	    uint64_t d)
{
	uint8_t *p = v->ram + VM_CMD + 64 * n;

	put_le64(p, op);
	put_le64(p + 8, a);
	put_le64(p + 16, b);
	put_le64(p + 24, c);
	put_le64(p + 32, d);
}

enum vm_event vm_run(struct vm *v)
{
	memcpy(v->code_before, v->ram + VM_CODE, sizeof(v->code_before));
	v->event = EV_NONE;
	for (unsigned int try = 0; try < 2; try++) {
		switch (cpu_run(v->cpu, &v->err)) {
		case CPU_EXIT_KICKED:
			if (v->event)
				return v->event;
			break;
		case CPU_EXIT_SHUTDOWN:
			return EV_SHUTDOWN;
		default:
			return EV_ERROR;
		}
	}
	return EV_TIMEOUT;
}

void vm_frame(const struct diff_case *k, bool user, uint8_t ret[VM_RUN_SIZE])
{
	for (unsigned int n = 0; n < 16; n++)
		put_le64(ret + 8 * n, k->gpr[n]);
	put_le64(ret + 128, k->rip);
	put_le64(ret + 136, user      ? (k->is32 ? DIFF_CS32 : DIFF_CS64)
			    : k->is32 ? VM_CS0_32
				      : VM_CS0);
	put_le64(ret + 144, k->rflags);
	put_le64(ret + 152, k->gpr[CPU_RSP]);
	put_le64(ret + 160, user ? DIFF_DS : VM_SS0);
}

/* --- command line ----------------------------------------------------------------------------------------- */

bool vm_parse(int argc, char **argv, const char *runs, struct vm_options *o)
{
	const struct option longs[] = {
		{ runs, required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 's' },
		{ "first", required_argument, NULL, 'f' },
		{ "engine", required_argument, NULL, 'e' },
		{ "keep-going", no_argument, NULL, 'k' },
		{ "verbose", no_argument, NULL, 'v' },
		{ 0 },
	};
	struct timespec now;
	int c;

	clock_gettime(CLOCK_REALTIME, &now);
	o->seed = (uint64_t)now.tv_sec * 1000003 ^ (uint64_t)now.tv_nsec;
	o->engine = CPU_ENGINE_DBT;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'n':
			o->runs = strtoull(optarg, NULL, 0);
			break;
		case 's':
			o->seed = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			o->first = strtoull(optarg, NULL, 0);
			break;
		case 'e':
			o->engine = *optarg == 'i' ? CPU_ENGINE_INTERP : CPU_ENGINE_DBT;
			break;
		case 'k':
			o->keep_going = true;
			break;
		case 'v':
			o->verbose = true;
			break;
		default:
			return false;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..1\n# seed %#llx\n", (unsigned long long)o->seed);
	return true;
}

/* --- comparison ------------------------------------------------------------------------------------------- */

static void diff_u64(struct text *t, const char *name, uint64_t a, uint64_t b)
{
	if (a != b)
		say(t, "#   %-8s %016llx, %016llx\n", name, (unsigned long long)a,
		    (unsigned long long)b);
}

static void diff_seg(struct text *t, const char *name, const struct cpu_seg *a,
		     const struct cpu_seg *b)
{
	if (a->base != b->base || a->limit != b->limit || a->sel != b->sel || a->attr != b->attr)
		say(t, "#   %s %04x base %llx limit %x attr %x, %04x base %llx limit %x attr %x\n",
		    name, a->sel, (unsigned long long)a->base, a->limit, a->attr, b->sel,
		    (unsigned long long)b->base, b->limit, b->attr);
}

static void diff_bytes(struct text *t, const char *name, unsigned int k, const uint8_t *a,
		       const uint8_t *b, unsigned int n)
{
	if (!memcmp(a, b, n))
		return;
	say(t, "#   %s%u ", name, k);
	for (unsigned int j = n; j-- > 0;)
		say(t, "%02x", a[j]);
	say(t, ", ");
	for (unsigned int j = n; j-- > 0;)
		say(t, "%02x", b[j]);
	say(t, "\n");
}

/* Not the x87 pointers: of what was done before an exception is pending they may be forgotten. */
static void diff_fpu(struct text *t, const struct cpu_fpu *a, const struct cpu_fpu *b)
{
	diff_u64(t, "fcw", a->fcw, b->fcw);
	diff_u64(t, "fsw", a->fsw, b->fsw);
	diff_u64(t, "ftw", a->ftw, b->ftw);
	diff_u64(t, "mxcsr", a->mxcsr, b->mxcsr);
	for (unsigned int k = 0; k < 8; k++)
		diff_bytes(t, "st", k, a->st[k], b->st[k], 10);
	for (unsigned int k = 0; k < 16; k++) {
		diff_bytes(t, "xmm", k, a->xmm[k], b->xmm[k], 16);
		diff_bytes(t, "ymm_hi", k, a->ymm_hi[k], b->ymm_hi[k], 16);
	}
}

size_t vm_state_differs(const struct cpu_state *a, const struct cpu_state *b, uint64_t flags,
			char *text, size_t size)
{
	static const char *const seg[] = { "es", "cs", "ss", "ds", "fs", "gs" };
	uint64_t ignored = RFLAGS_STATUS & ~flags;
	struct text t = { text, 0, size };

	text[0] = 0;
	for (unsigned int k = 0; k < 16; k++)
		diff_u64(&t, diff_gpr_names[k], a->gpr[k], b->gpr[k]);
	diff_u64(&t, "rip", a->rip, b->rip);
	diff_u64(&t, "rflags", a->rflags | ignored, b->rflags | ignored);
	for (unsigned int k = 0; k < CPU_NR_SEGS; k++)
		diff_seg(&t, seg[k], &a->seg[k], &b->seg[k]);
	diff_seg(&t, "ldtr", &a->ldtr, &b->ldtr);
	diff_seg(&t, "tr", &a->tr, &b->tr);
	diff_u64(&t, "gdtr", a->gdtr.base, b->gdtr.base);
	diff_u64(&t, "idtr", a->idtr.base, b->idtr.base);
	diff_u64(&t, "cr0", a->cr0, b->cr0);
	diff_u64(&t, "cr2", a->cr2, b->cr2);
	diff_u64(&t, "cr3", a->cr3, b->cr3);
	diff_u64(&t, "cr4", a->cr4, b->cr4);
	diff_u64(&t, "dr6", a->dr6, b->dr6);
	diff_u64(&t, "dr7", a->dr7, b->dr7);
	diff_u64(&t, "xcr0", a->xcr0, b->xcr0);
	diff_u64(&t, "efer", a->efer, b->efer);
	diff_u64(&t, "kernel_gs_base", a->kernel_gs_base, b->kernel_gs_base);
	diff_u64(&t, "mp_state", a->ev.mp_state, b->ev.mp_state);
	diff_u64(&t, "shadow", a->ev.sti_shadow | a->ev.movss_shadow << 1,
		 b->ev.sti_shadow | b->ev.movss_shadow << 1);
	diff_u64(&t, "exc_pending", a->ev.exc_pending, b->ev.exc_pending);
	diff_u64(&t, "apic tpr", a->apic.tpr, b->apic.tpr);
	for (unsigned int k = 0; k < 8; k++) {
		diff_u64(&t, "apic irr", a->apic.irr[k], b->apic.irr[k]);
		diff_u64(&t, "apic isr", a->apic.isr[k], b->apic.isr[k]);
	}
	diff_fpu(&t, &a->fpu, &b->fpu);
	return t.n;
}

/* A branch may go back to any place of the page. */
uint64_t vm_live(struct vm *v, uint64_t rip, bool is32)
{
	static uint8_t code[DIFF_MAX_LOOK];
	uint64_t start = rip & ~UINT64_C(0xfff);
	uint32_t n = 0;

	while (n < sizeof(code) && cpu_debug_read(v->cpu, start + n, code + n, 0x1000) == 0)
		n += 0x1000;
	return n ? flags_live(is32, code, n, rip & 0xfff) : RFLAGS_STATUS;
}

/*
 * The flags in a frame on an interrupt stack: what nothing will read is made equal. A program that writes its own code
 * may bring into being a reader, or a fault, behind flags that the code before overwrote: no telling then
 * (src/cpu/dbt/README.md).
 */
static void frame(struct vm *a, struct vm *b, uint32_t top)
{
	uint8_t *fa = a->ram + top - 40, *fb = b->ram + top - 40;
	uint64_t live, ra = get_le64(fa + 16), rb = get_le64(fb + 16);
	uint16_t cs = get_le16(fa + 8);

	if (!((ra ^ rb) & RFLAGS_STATUS))
		return;
	live = memcmp(a->code_before, a->ram + VM_CODE, sizeof(a->code_before))
		       ? 0
		       : vm_live(a, get_le64(fa), cs == DIFF_CS32 || cs == VM_CS0_32);
	put_le64(fa + 16, ra | (RFLAGS_STATUS & ~live));
	put_le64(fb + 16, rb | (RFLAGS_STATUS & ~live));
}

bool vm_compare(struct vm *a, struct vm *b, char *text, size_t size)
{
	static struct cpu_state sa, sb;
	struct text t = { text, 0, size };
	unsigned int shown = 0;

	cpu_get_state(a->cpu, &sa);
	cpu_get_state(b->cpu, &sb);
	t.n = vm_state_differs(&sa, &sb, vm_live(a, sa.rip, false), text, size);
	diff_u64(&t, "devices", a->io_hash, b->io_hash);
	diff_u64(&t, "accesses", a->nr_io, b->nr_io);
	frame(a, b, VM_IST1);
	frame(a, b, VM_IST2);
	for (uint32_t p = 0; p < VM_USED; p += 0x1000) {
		if (!memcmp(a->ram + p, b->ram + p, 0x1000))
			continue;
		for (uint32_t k = p; k < p + 0x1000; k += 8)
			if (get_le64(a->ram + k) != get_le64(b->ram + k) && shown++ < 12)
				say(&t, "#   memory %x: %016llx, %016llx\n", k,
				    (unsigned long long)get_le64(a->ram + k),
				    (unsigned long long)get_le64(b->ram + k));
	}
	return t.n == 0;
}
