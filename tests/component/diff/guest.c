/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine's side: a machine of one vCPU that consists of page tables, a GDT, a TSS and an IDT whose
 * handlers each write a port. A case is put in with cpu_set_state() at CPL 3 or 0; every way out of it is an
 * exception (INT3 behind the instruction), whose handler's port write ends cpu_run(). The interrupted state
 * is the frame that the exception pushed, and the rest of the registers. Only cpu.h is used, so that any
 * engine can be compared.
 *
 * Guest-physical memory (2 MiB, at 0; the same bytes are a supervisor's large page at g->kernel):
 */
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "sys/timerq.h"
#include "diff.h"

enum {
	RAM_SIZE = 0x200000,
	GPA_PML4 = 0x1000,
	GPA_PDPT = 0x2000,
	GPA_PD = 0x3000,
	GPA_PT_CODE = 0x4000,
	GPA_PT_DATA = 0x5000,
	GPA_PDPT_K = 0x6000,
	GPA_PD_K = 0x7000,
	GPA_HANDLERS = 0x8000,
	GPA_IDT = 0x9000,
	GPA_GDT = 0xa000,
	GPA_TSS = 0xb000,
	GPA_STACK_TOP = 0x10000,
	GPA_CODE = 0x100000,
	GPA_DATA = GPA_CODE + DIFF_CODE_SIZE,
	HANDLER_SIZE = 8,
	CS64_0 = 0x10,
	SS_0 = 0x18,
	CS32_0 = 0x38,
};
/* At CPL 3 right behind the hole, where random addresses try it; at CPL 0 where they do not come. */
#define KERNEL_3 UINT64_C(0xffff800000000000)
#define KERNEL_0 UINT64_C(0xffffa5a940000000)
#define PTE_NX	 (UINT64_C(1) << 63)
enum {
	PTE_P = 1,
	PTE_W = 2,
	PTE_U = 4,
	PTE_A = 0x20,
	PTE_D = 0x40,
	PTE_PS = 0x80,
	PTE_AD = PTE_A | PTE_D
};

struct guest {
	uint8_t *ram;
	_Atomic uint8_t flags[RAM_SIZE / 4096];
	struct physmem mem;
	struct timerq timers;
	struct cpu_group *grp;
	struct cpu *cpu;
	struct cpu_state start;
	bool cpl0;
	uint64_t kernel; /* linear address of the machine's memory for handlers and tables */
};

static struct guest *guests[2];

static void kick(void)
{
	for (unsigned int k = 0; k < ARRAY_SIZE(guests); k++)
		if (guests[k])
			cpu_kick(guests[k]->cpu);
}

static uint32_t pio_in(void *arg, uint16_t port, unsigned int size)
{
	return UINT32_MAX;
}

static void pio_out(void *arg, uint16_t port, unsigned int size, uint32_t value)
{
	struct guest *g = arg;

	cpu_kick(g->cpu);
}

static uint64_t mmio_read(void *arg, uint64_t gpa, unsigned int size)
{
	return UINT64_MAX;
}

static void mmio_write(void *arg, uint64_t gpa, unsigned int size, uint64_t value)
{
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

static void put_pte(struct guest *g, uint32_t table, uint64_t index, uint64_t pte)
{
	put_le64(g->ram + table + 8 * (index & 511), pte);
}

static void map_page(struct guest *g, uint32_t table, uint32_t lin, uint32_t gpa, uint64_t bits)
{
	put_pte(g, table, lin >> 12, gpa | PTE_P | PTE_U | PTE_AD | bits);
}

static void make_paging(struct guest *g)
{
	const uint64_t dir = PTE_P | PTE_W | PTE_U | PTE_A;

	put_pte(g, GPA_PML4, 0, GPA_PDPT | dir);
	put_pte(g, GPA_PDPT, 0, GPA_PD | dir);
	put_pte(g, GPA_PD, DIFF_CODE >> 21, GPA_PT_CODE | dir);
	put_pte(g, GPA_PD, DIFF_DATA >> 21, GPA_PT_DATA | dir);
	put_pte(g, GPA_PML4, g->kernel >> 39, GPA_PDPT_K | dir);
	put_pte(g, GPA_PDPT_K, g->kernel >> 30, GPA_PD_K | dir);
	put_pte(g, GPA_PD_K, g->kernel >> 21, PTE_P | PTE_W | PTE_AD | PTE_PS);
	for (uint32_t off = 0; off < DIFF_CODE_SIZE; off += 4096)
		map_page(g, GPA_PT_CODE, DIFF_CODE + off, GPA_CODE + off, 0);
	map_page(g, GPA_PT_DATA, DIFF_DATA, GPA_DATA, PTE_W | PTE_NX);
	map_page(g, GPA_PT_DATA, DIFF_DATA + 0x1000, GPA_DATA + 0x1000, PTE_W | PTE_NX);
	map_page(g, GPA_PT_DATA, DIFF_RO, GPA_DATA + 0x2000, PTE_NX);
	map_page(g, GPA_PT_DATA, DIFF_RW2, GPA_DATA + 0x3000, PTE_W | PTE_NX);
}

static void make_tables(struct guest *g)
{
	static const uint64_t gdt[] = {
		[2] = UINT64_C(0x00af9b000000ffff), [3] = UINT64_C(0x00cf93000000ffff),
		[4] = UINT64_C(0x00cffb000000ffff), [5] = UINT64_C(0x00cff3000000ffff),
		[6] = UINT64_C(0x00affb000000ffff), [7] = UINT64_C(0x00cf9b000000ffff),
	};

	for (unsigned int k = 0; k < sizeof(gdt) / sizeof(gdt[0]); k++)
		put_le64(g->ram + GPA_GDT + 8 * k, gdt[k]);
	for (unsigned int v = 0; v < 256; v++) {
		uint64_t at = g->kernel + GPA_HANDLERS + HANDLER_SIZE * v;
		uint8_t *gate = g->ram + GPA_IDT + 16 * v;
		static const uint8_t code[HANDLER_SIZE] = { 0xe6, 0x80, 0xf4, 0xeb, 0xfd };

		memcpy(g->ram + GPA_HANDLERS + HANDLER_SIZE * v, code, sizeof(code));
		put_le16(gate, (uint16_t)at);
		put_le16(gate + 2, 0x10);
		/* Linux lets programs use INT3 and INTO. */
		put_le16(gate + 4, (v == 3 || v == 4 ? 0xee00 : 0x8e00) | g->cpl0);
		put_le16(gate + 6, (uint16_t)(at >> 16));
		put_le32(gate + 8, (uint32_t)(at >> 32));
	}
	put_le64(g->ram + GPA_TSS + 4, g->kernel + GPA_STACK_TOP);
	put_le64(g->ram + GPA_TSS + 36,
		 g->kernel + GPA_STACK_TOP); /* IST1: at CPL 0 rsp is the test's */
	put_le16(g->ram + GPA_TSS + 102, 104);
}

static void make_state(struct guest *g)
{
	struct cpu_state *s = &g->start;

	cpu_get_state(g->cpu, s);
	s->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	s->cr3 = GPA_PML4;
	s->cr4 = CR4_DE | CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE |
		 CR4_FSGSBASE;
	s->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	s->xcr0 = 7;
	s->gdtr = (struct cpu_dtable){ g->kernel + GPA_GDT, 0x7f };
	s->idtr = (struct cpu_dtable){ g->kernel + GPA_IDT, 0xfff };
	s->tr = (struct cpu_seg){
		.base = g->kernel + GPA_TSS, .limit = 0x67, .sel = 0x40, .attr = 0xb | SEG_P
	};
	s->ldtr = (struct cpu_seg){ 0 };
	for (unsigned int k = 0; k < CPU_NR_SEGS; k++)
		s->seg[k] = (struct cpu_seg){ .limit = UINT32_MAX, .sel = DIFF_DS, .attr = 0xcf3 };
	if (g->cpl0)
		s->seg[CPU_SS] =
			(struct cpu_seg){ .limit = UINT32_MAX, .sel = SS_0, .attr = 0xc93 };
	s->seg[CPU_FS] = s->seg[CPU_GS] = (struct cpu_seg){ 0 };
	s->ev.mp_state = CPU_MP_RUNNING;
}

struct guest *guest_new(const struct guest_options *o, const char **why)
{
	static struct err err;
	struct guest *g = mem_new(sizeof(*g));
	struct cpu_group_config cfg = {
		.nr_cpus = 1,
		.engine = o->engine,
		.model = "host",
		.mem = &g->mem,
		.timers = &g->timers,
		.clock = clock_real(),
		.ops = &ops,
		.arg = g,
	};

	g->cpl0 = o->cpl0;
	g->kernel = o->cpl0 ? KERNEL_0 : KERNEL_3;
	g->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g->ram == MAP_FAILED) {
		*why = "mmap";
		return NULL;
	}
	g->mem.nr = 1;
	g->mem.region[0] =
		(struct physmem_region){ .size = RAM_SIZE, .hva = g->ram, .page_flags = g->flags };
	timerq_init(&g->timers, clock_real());
	if (cpu_group_new(&cfg, &g->grp, &err) < 0) {
		*why = err_text(&err);
		return NULL;
	}
	g->cpu = cpu_group_cpu(g->grp, 0);
	make_paging(g);
	make_tables(g);
	make_state(g);
	memset(g->ram + GPA_CODE, 0xcc, DIFF_CODE_SIZE);
	guests[guests[0] != NULL] = g;
	native_alarm = kick;
	return g;
}

uint8_t *guest_code(struct guest *g)
{
	return g->ram + GPA_CODE;
}

uint8_t *guest_data(struct guest *g)
{
	return g->ram + GPA_DATA;
}

void guest_code_changed(struct guest *g)
{
	physmem_wrote(&g->mem, &g->mem.region[0], GPA_CODE, DIFF_CODE_SIZE);
}

static bool has_error_code(unsigned int v)
{
	return v == 8 || (v >= 10 && v <= 14) || v == 17;
}

void guest_run(struct guest *g, const struct diff_case *k, struct diff_result *ret)
{
	static struct cpu_state s;
	struct err err = ERR_INIT;
	const uint8_t *frame;
	uint64_t handler, sp;

	s = g->start;
	memcpy(s.gpr, k->gpr, sizeof(s.gpr));
	s.rip = k->rip;
	s.rflags = k->rflags;
	if (g->cpl0) {
		s.seg[CPU_CS].sel = k->is32 ? CS32_0 : CS64_0;
		s.seg[CPU_CS].attr = k->is32 ? 0xc9b : 0xa9b;
	} else {
		s.seg[CPU_CS].sel = k->is32 ? DIFF_CS32 : DIFF_CS64;
		s.seg[CPU_CS].attr = k->is32 ? 0xcfb : 0xafb;
	}
	s.seg[CPU_FS].base = k->fs_base;
	s.seg[CPU_GS].base = k->gs_base;
	s.fpu = k->fpu;
	s.fpu.xstate_bv = 7;
	cpu_set_state(g->cpu, &s);
	if (cpu_run(g->cpu, &err) != CPU_EXIT_KICKED) {
		memset(ret, 0, sizeof(*ret));
		ret->vector = DIFF_VEC_OTHER;
		return;
	}
	cpu_get_state(g->cpu, &s);
	handler = s.rip - (g->kernel + GPA_HANDLERS);
	sp = s.gpr[CPU_RSP] - g->kernel;
	memcpy(ret->gpr, s.gpr, sizeof(s.gpr));
	ret->cr2 = s.cr2;
	ret->fs_base = s.seg[CPU_FS].base;
	ret->gs_base = s.seg[CPU_GS].base;
	ret->fpu = s.fpu;
	if (handler >= 256 * HANDLER_SIZE || sp > GPA_STACK_TOP - 40 || sp < GPA_STACK_TOP - 64) {
		ret->vector = DIFF_VEC_TIMEOUT;
		ret->rip = s.rip;
		return;
	}
	ret->vector = (unsigned int)(handler / HANDLER_SIZE);
	frame = g->ram + sp;
	ret->error = has_error_code(ret->vector) ? get_le32(frame) : 0;
	frame = g->ram + GPA_STACK_TOP - 40;
	ret->rip = get_le64(frame);
	ret->cs = get_le16(frame + 8);
	ret->rflags = get_le64(frame + 16);
	ret->gpr[CPU_RSP] = get_le64(frame + 24);
	ret->ss = get_le16(frame + 32);
	/* The host's selectors stand for those of the other level. */
	if (g->cpl0 && ret->ss == SS_0)
		ret->ss = DIFF_DS;
	if (g->cpl0 && (ret->cs == CS64_0 || ret->cs == CS32_0))
		ret->cs = ret->cs == CS64_0 ? DIFF_CS64 : DIFF_CS32;
}
