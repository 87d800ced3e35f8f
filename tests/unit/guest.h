/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_GUEST_H
#define ATOLL_TESTS_GUEST_H

/*
 * A tiny machine for tests of the CPU: 4 MiB of RAM, descriptor tables and page tables in place, code
 * bytes put in by the test. Runs stop at a breakpoint, at an exit, or after a time limit.
 *
 * A write to port 0x99 ends the run.
 *
 * Layout: GDT 0x1000, IDT 0x2000, TSS 0x3000, code 0x8000, handlers 0xa000 + 16 * vector, stack of ring 0
 * below 0x20000, of ring 3 below 0x30000, TSS stack below 0x40000, IST1 below 0x50000, page tables 0x60000.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "cpu/cpu.h"
#include "sys/timerq.h"

#include "engine.h"

enum {
	G_RAM = 4 << 20,
	G_GDT = 0x1000,
	G_IDT = 0x2000,
	G_TSS = 0x3000,
	G_CODE = 0x8000,
	G_HANDLER = 0xa000,
	G_STACK0 = 0x20000,
	G_STACK3 = 0x30000,
	G_TSS_STACK = 0x40000,
	G_IST1 = 0x50000,
	G_PT = 0x60000,
	G_PORT_END = 0x99,
};

/* Selectors of the GDT that guest_tables() makes. */
enum {
	G_CS64 = 0x08,
	G_DS = 0x10,
	G_CS32 = 0x18,
	G_CS16 = 0x20,
	G_DS16 = 0x28,
	G_DS3 = 0x30 | 3,
	G_CS3_32 = 0x38 | 3,
	G_CS3_64 = 0x40 | 3,
	G_TR = 0x48,
	G_FREE = 0x58, /* 16 bytes each */
	G_FREE2 = 0x68,
	G_GDT_LIMIT = 0x7f,
};

struct guest {
	struct cpu_group *grp;
	struct cpu *cpu;
	struct physmem mem;
	uint8_t *ram;
	struct timerq timers;
	struct cpu_state st; /* set by the modes, loaded by guest_run() */
	struct err err;
	uint64_t mmio_reads, mmio_writes, pio_ins, pio_outs;
	uint64_t last_mmio, last_pio;
	uint64_t eois; /* of level-triggered interrupts */
};

static uint32_t guest_pio_in(void *arg, uint16_t port, unsigned int size)
{
	struct guest *g = arg;

	g->pio_ins++;
	g->last_pio = port;
	return 0xa5a5a5a5;
}

static void guest_pio_out(void *arg, uint16_t port, unsigned int size, uint32_t value)
{
	struct guest *g = arg;

	g->pio_outs++;
	g->last_pio = (uint64_t)value << 16 | port;
	if (port == G_PORT_END)
		cpu_kick(g->cpu);
}

static uint64_t guest_mmio_read(void *arg, uint64_t gpa, unsigned int size)
{
	struct guest *g = arg;

	g->mmio_reads++;
	g->last_mmio = gpa;
	return UINT64_C(0x8877665544332211) >> ((gpa & 7) * 8);
}

static void guest_mmio_write(void *arg, uint64_t gpa, unsigned int size, uint64_t value)
{
	struct guest *g = arg;

	g->mmio_writes++;
	g->last_mmio = gpa;
}

static uint8_t guest_extint_ack(void *arg)
{
	return 0x20;
}

static void guest_eoi(void *arg, uint8_t vector)
{
	struct guest *g = arg;

	g->eois++;
}

static const struct cpu_machine_ops guest_ops = {
	.pio_in = guest_pio_in,
	.pio_out = guest_pio_out,
	.mmio_read = guest_mmio_read,
	.mmio_write = guest_mmio_write,
	.extint_ack = guest_extint_ack,
	.eoi = guest_eoi,
};

static void guest_desc(struct guest *g, unsigned int sel, uint32_t base, uint32_t limit,
		       unsigned int attr)
{
	uint8_t *p = g->ram + G_GDT + (sel & ~7u);

	put_le16(p, (uint16_t)limit);
	put_le16(p + 2, (uint16_t)base);
	p[4] = (uint8_t)(base >> 16);
	p[5] = (uint8_t)attr;
	p[6] = (uint8_t)((limit >> 16 & 15) | (attr >> 8 & 15) << 4);
	p[7] = (uint8_t)(base >> 24);
}

static void guest_tables(struct guest *g)
{
	guest_desc(g, G_CS64, 0, 0xfffff, 0xa9b);
	guest_desc(g, G_DS, 0, 0xfffff, 0xc93);
	guest_desc(g, G_CS32, 0, 0xfffff, 0xc9b);
	guest_desc(g, G_CS16, 0, 0xffff, 0x09b);
	guest_desc(g, G_DS16, 0, 0xffff, 0x093);
	guest_desc(g, G_DS3, 0, 0xfffff, 0xcf3);
	guest_desc(g, G_CS3_32, 0, 0xfffff, 0xcfb);
	guest_desc(g, G_CS3_64, 0, 0xfffff, 0xafb);
	guest_desc(g, G_TR, G_TSS, 0x67, 0x08b);
}

/* All of RAM identity-mapped with 4 KiB pages for everybody; the upper half of it in one 2 MiB page. */
static inline void guest_paging_long(struct guest *g)
{
	uint8_t *pt = g->ram + G_PT;

	put_le64(pt, (G_PT + 0x1000) | 7);
	put_le64(pt + 0x1000, (G_PT + 0x2000) | 7);
	put_le64(pt + 0x2000, (G_PT + 0x3000) | 7);
	put_le64(pt + 0x2008, 0x200000 | 0x87);
	for (unsigned int k = 0; k < 512; k++)
		put_le64(pt + 0x3000 + k * 8, k << 12 | 7);
}

/* Where the local APICs of the next guest are to be. */
static enum cpu_apic_place guest_apic;

/* Returns NULL when there is no such engine here: @err says why. */
static inline struct guest *guest_new_on(enum cpu_engine_kind engine, unsigned int nr_cpus,
					 const char *features, struct err *err)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct cpu_group_config cfg = { .nr_cpus = nr_cpus,
					.engine = engine,
					.apic = guest_apic,
					.features = features,
					.mem = &g->mem,
					.timers = &g->timers,
					.clock = clock_real(),
					.ops = &guest_ops,
					.arg = g };

	g->ram = aligned_alloc(4096, G_RAM);
	memset(g->ram, 0, G_RAM);
	g->mem.nr = 1;
	g->mem.region[0] = (struct physmem_region){ .size = G_RAM,
						    .hva = g->ram,
						    .page_flags = calloc(G_RAM / 4096, 1) };
	timerq_init(&g->timers, clock_real());
	if (cpu_group_new(&cfg, &g->grp, err) < 0) {
		timerq_done(&g->timers);
		free((void *)g->mem.region[0].page_flags);
		free(g->ram);
		free(g);
		return NULL;
	}
	g->cpu = cpu_group_cpu(g->grp, 0);
	cpu_get_state(g->cpu, &g->st);
	g->st.ev.mp_state = CPU_MP_RUNNING;
	guest_tables(g);
	return g;
}

static inline struct guest *guest_new(unsigned int nr_cpus, const char *features)
{
	struct err err = ERR_INIT;
	struct guest *g = guest_new_on(test_engine(), nr_cpus, features, &err);

	if (!g) {
		fprintf(stderr, "%s\n", err_text(&err));
		abort();
	}
	return g;
}

static inline void guest_free(struct guest *g)
{
	cpu_group_free(g->grp);
	timerq_done(&g->timers);
	free((void *)g->mem.region[0].page_flags);
	free(g->ram);
	free(g);
}

static inline struct cpu_seg guest_seg(const struct guest *g, unsigned int sel)
{
	const uint8_t *p = g->ram + G_GDT + (sel & ~7u);
	uint32_t limit = get_le16(p) | (uint32_t)(p[6] & 15) << 16;

	return (struct cpu_seg){ .base = get_le16(p + 2) | (uint64_t)p[4] << 16 |
					 (uint64_t)p[7] << 24,
				 .limit = p[6] & 0x80 ? limit << 12 | 0xfff : limit,
				 .sel = (uint16_t)sel,
				 .attr = (uint16_t)(p[5] | p[6] >> 4 << 8) };
}

static inline void guest_segs(struct guest *g, unsigned int cs, unsigned int ds)
{
	struct cpu_state *s = &g->st;

	for (unsigned int k = 0; k < CPU_NR_SEGS; k++)
		s->seg[k] = guest_seg(g, k == CPU_CS ? cs : ds);
	s->gdtr = (struct cpu_dtable){ G_GDT, G_GDT_LIMIT };
	s->idtr = (struct cpu_dtable){ G_IDT, 0xfff };
	s->tr = guest_seg(g, G_TR);
	s->rip = G_CODE;
	s->gpr[CPU_RSP] = (cs & 3) == 3 ? G_STACK3 : G_STACK0;
}

/* Long mode with everything switched on that does not forbid; @cs decides ring and 64 or 32 bits. */
static inline void guest_long(struct guest *g, unsigned int cs)
{
	struct cpu_state *s = &g->st;

	guest_paging_long(g);
	s->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	s->cr3 = G_PT;
	s->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	s->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
	guest_segs(g, cs, (cs & 3) == 3 ? G_DS3 : G_DS);
	put_le64(g->ram + G_TSS + 4, G_TSS_STACK);
	put_le64(g->ram + G_TSS + 0x24, G_IST1);
	put_le16(g->ram + G_TSS + 102, 0x68);
}

static inline void guest_protected(struct guest *g, unsigned int cs)
{
	struct cpu_state *s = &g->st;

	s->cr0 = CR0_PE | CR0_ET | CR0_NE;
	s->cr4 = s->efer = 0;
	guest_segs(g, cs, (cs & 3) == 3 ? G_DS3 : cs == G_CS16 ? G_DS16 : G_DS);
	s->idtr.limit = 0x7ff;
	put_le32(g->ram + G_TSS + 4, G_TSS_STACK);
	put_le16(g->ram + G_TSS + 8, G_DS);
	put_le16(g->ram + G_TSS + 102, 0x68);
}

static inline void guest_v86(struct guest *g)
{
	struct cpu_state *s = &g->st;

	guest_protected(g, G_CS3_32);
	s->rflags |= RFLAGS_VM;
	for (unsigned int k = 0; k < CPU_NR_SEGS; k++)
		s->seg[k] = (struct cpu_seg){ .base = 0, .limit = 0xffff, .attr = 0xf3 };
	s->gpr[CPU_RSP] = 0x7000;
}

static inline void guest_real(struct guest *g)
{
	struct cpu_state *s = &g->st;

	s->cr0 = CR0_ET;
	for (unsigned int k = 0; k < CPU_NR_SEGS; k++)
		s->seg[k] = (struct cpu_seg){ .base = 0, .limit = 0xffff, .attr = 0x93 };
	s->idtr = (struct cpu_dtable){ 0, 0x3ff };
	s->rip = G_CODE;
	s->gpr[CPU_RSP] = 0x7000;
}

/* Gates. @type: 14, 15, 6, 7 or 5; @dpl in bits 5-6 of what goes to byte 5. */
static inline void guest_gate64(struct guest *g, unsigned int vector, unsigned int sel,
				unsigned int type, unsigned int dpl, unsigned int ist)
{
	uint8_t *p = g->ram + G_IDT + vector * 16;
	uint32_t off = G_HANDLER + vector * 16;

	memset(p, 0, 16);
	put_le16(p, (uint16_t)off);
	put_le16(p + 2, (uint16_t)sel);
	p[4] = (uint8_t)ist;
	p[5] = (uint8_t)(0x80 | dpl << 5 | type);
	put_le16(p + 6, (uint16_t)(off >> 16));
}

static inline void guest_gate32(struct guest *g, unsigned int vector, unsigned int sel,
				unsigned int type, unsigned int dpl)
{
	uint8_t *p = g->ram + G_IDT + vector * 8;
	uint32_t off = G_HANDLER + vector * 16;

	put_le16(p, (uint16_t)off);
	put_le16(p + 2, (uint16_t)sel);
	p[4] = 0;
	p[5] = (uint8_t)(0x80 | dpl << 5 | type);
	put_le16(p + 6, (uint16_t)(off >> 16));
}

static inline void guest_code(struct guest *g, uint32_t at, const void *bytes, size_t n)
{
	memcpy(g->ram + at, bytes, n);
}
#define GUEST_CODE(g, at, ...)                                                                     \
	do {                                                                                       \
		static const uint8_t code_[] = { __VA_ARGS__ };                                    \
		guest_code(g, at, code_, sizeof(code_));                                           \
	} while (0)

/* Run from g->st until the instruction at @stop (or another exit); the state is in g->st again. */
static inline enum cpu_exit guest_run(struct guest *g, uint64_t stop)
{
	struct cpu_debug debug = { .nr_breaks = 1 };
	enum cpu_exit e;

	debug.breaks[0] = (struct cpu_debug_break){ .addr = stop, .len = 1, .exec = true };
	cpu_set_state(g->cpu, &g->st);
	cpu_set_debug(g->cpu, &debug);
	e = cpu_run(g->cpu, &g->err);
	cpu_get_state(g->cpu, &g->st);
	return e;
}

/* Run from g->st until the guest writes to G_PORT_END (or another exit); the state is in g->st again. */
static inline enum cpu_exit guest_go(struct guest *g)
{
	const struct cpu_debug none = { 0 };
	enum cpu_exit e;

	cpu_set_state(g->cpu, &g->st);
	cpu_set_debug(g->cpu, &none);
	e = cpu_run(g->cpu, &g->err);
	cpu_get_state(g->cpu, &g->st);
	return e;
}

/* One instruction, or one event. */
static inline enum cpu_exit guest_step(struct guest *g)
{
	struct cpu_debug debug = { .single_step = true };
	enum cpu_exit e;

	cpu_set_state(g->cpu, &g->st);
	cpu_set_debug(g->cpu, &debug);
	e = cpu_run(g->cpu, &g->err);
	cpu_get_state(g->cpu, &g->st);
	return e;
}

#endif
