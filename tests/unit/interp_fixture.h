/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_INTERP_FIXTURE_H
#define TEST_INTERP_FIXTURE_H

/*
 * One vCPU on a bare physical memory, for tests that run snippets of machine code on the interpreter.
 *
 * Memory: page tables that map the first GiB to itself, an IDT whose handlers write their vector to a port
 * (0x80 + vector), code, a data area and a stack. A snippet ends by writing to port 0xf4, which the runner
 * appends. The state afterwards is in t->s, the vector of a fault in t->vector (-1: none).
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "cpu/cpu.h"
#include "cpu/dbt/signals.h"
#include "cpu/interp/vcpu.h"
#include "sys/timerq.h"

#include "engine.h"

#define RAM_SIZE UINT64_C(0x1000000)

enum {
	PT_PML4 = 0x1000,
	PT_PDPT = 0x2000,
	PT_PD = 0x3000,
	PT_PT = 0x4000, /* the first 2 MiB in 4 KiB pages */
	IDT = 0x5000,
	HANDLERS = 0x6000,
	GDT = 0x7000,
	TSS = 0x8000,
	CODE = 0x10000,
	DATA = 0x30000,
	STACK = 0x50000, /* grows down from here */
	KERNEL_STACK = 0x60000,
	PORT_END = 0xf4,
	PORT_FAULT = 0x80,
	NR_HANDLERS = 32,
};

enum {
	SEL_CODE64 = 0x08,
	SEL_DATA = 0x10,
	SEL_CODE32 = 0x18,
	SEL_CODE16 = 0x20,
	SEL_UCODE64 = 0x2b,
	SEL_UDATA = 0x33,
	SEL_TSS = 0x38
};

struct interp_test {
	struct clock *clock;
	struct timerq timers;
	struct physmem mem;
	uint8_t *ram;
	_Atomic uint8_t *flags;
	struct cpu_group *grp;
	struct cpu *cpu;
	struct cpu_state s;
	int vector;
	uint64_t fault_rip, fault_error, fault_rflags;
	bool ended;
	unsigned int mmio_reads, mmio_writes;
	uint64_t mmio_value;
};

/* The engine's handlers, taken before cmocka puts its own over them for each test. */
static struct sigaction engine_fpe, engine_segv;

__attribute__((constructor)) static void test_signals(void)
{
	if (hostop_start(NULL) < 0 || dbt_signals_start(NULL) < 0)
		abort();
	sigaction(SIGFPE, NULL, &engine_fpe);
	sigaction(SIGSEGV, NULL, &engine_segv);
}

static uint32_t test_pio_in(void *arg, uint16_t port, unsigned int size)
{
	return UINT32_MAX;
}

static void test_pio_out(void *arg, uint16_t port, unsigned int size, uint32_t value)
{
	struct interp_test *t = arg;

	if (port == PORT_END)
		t->ended = true;
	else if (port >= PORT_FAULT && port < PORT_FAULT + NR_HANDLERS)
		t->vector = port - PORT_FAULT;
	cpu_kick(t->cpu);
}

static uint64_t test_mmio_read(void *arg, uint64_t gpa, unsigned int size)
{
	struct interp_test *t = arg;

	t->mmio_reads++;
	return t->mmio_value;
}

static void test_mmio_write(void *arg, uint64_t gpa, unsigned int size, uint64_t value)
{
	struct interp_test *t = arg;

	t->mmio_writes++;
	t->mmio_value = value;
}

static uint8_t test_extint_ack(void *arg)
{
	return 0x20;
}

static void test_eoi(void *arg, uint8_t vector)
{
}

static const struct cpu_machine_ops test_ops = {
	.pio_in = test_pio_in,
	.pio_out = test_pio_out,
	.mmio_read = test_mmio_read,
	.mmio_write = test_mmio_write,
	.extint_ack = test_extint_ack,
	.eoi = test_eoi,
};

static void test_tables(struct interp_test *t)
{
	uint8_t *m = t->ram;
	static const uint64_t gdt[] = {
		0,
		UINT64_C(0x00af9b000000ffff), /* 64-bit code */
		UINT64_C(0x00cf93000000ffff), /* data */
		UINT64_C(0x00cf9b000000ffff), /* 32-bit code */
		UINT64_C(0x008f9b000000ffff), /* 16-bit code, limit 4 GiB */
		UINT64_C(0x00affb000000ffff), /* user 64-bit code */
		UINT64_C(0x00cff3000000ffff), /* user data */
		UINT64_C(0x0000890000000067) | (uint64_t)TSS << 16,
		0,
	};

	put_le64(m + PT_PML4, PT_PDPT | 7);
	put_le64(m + PT_PDPT, PT_PD | 7);
	put_le64(m + PT_PD, PT_PT | 7);
	for (uint64_t k = 0; k < 512; k++)
		put_le64(m + PT_PT + 8 * k, k << 12 | 7);
	for (uint64_t k = 1; k < 512; k++)
		put_le64(m + PT_PD + 8 * k, k << 21 | 0x87);
	for (unsigned int k = 0; k < ARRAY_SIZE(gdt); k++)
		put_le64(m + GDT + 8 * k, gdt[k]);
	put_le64(m + TSS + 4, KERNEL_STACK);
	for (uint64_t k = 0; k < NR_HANDLERS; k++) {
		uint64_t at = HANDLERS + 16 * k;

		m[at] = 0xe6; /* out imm8, al */
		m[at + 1] = (uint8_t)(PORT_FAULT + k);
		m[at + 2] = 0xf4;
		put_le64(m + IDT + 16 * k, (at & 0xffff) | (uint64_t)SEL_CODE64 << 16 |
						   UINT64_C(0xee00) << 32 | (at >> 16) << 48);
	}
}

static struct cpu_seg test_seg(uint16_t sel, uint16_t attr)
{
	return (struct cpu_seg){ .sel = sel, .limit = UINT32_MAX, .attr = attr };
}

/* Flat 64-bit mode at privilege level 0 with everything of the above in place. */
static void test_reset_state(struct interp_test *t)
{
	struct cpu_state *s = &t->s;

	cpu_group_reset(t->grp);
	cpu_get_state(t->cpu, s);
	s->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	s->cr3 = PT_PML4;
	s->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	s->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
	s->rflags = RFLAGS_FIXED1;
	s->rip = CODE;
	s->gpr[CPU_RSP] = STACK;
	s->seg[CPU_CS] = test_seg(SEL_CODE64, 0xa9b);
	for (unsigned int k = 0; k < CPU_NR_SEGS; k++)
		if (k != CPU_CS)
			s->seg[k] = test_seg(SEL_DATA, 0xc93);
	s->gdtr = (struct cpu_dtable){ GDT, 0x47 };
	s->idtr = (struct cpu_dtable){ IDT, NR_HANDLERS * 16 - 1 };
	s->tr = (struct cpu_seg){ .sel = SEL_TSS, .base = TSS, .limit = 0x67, .attr = 0x8b };
}

_unused_ static void test_user_state(struct interp_test *t)
{
	test_reset_state(t);
	t->s.seg[CPU_CS] = test_seg(SEL_UCODE64, 0xafb);
	t->s.seg[CPU_SS] = test_seg(SEL_UDATA, 0xcf3);
	t->s.rflags |= RFLAGS_IOPL; /* so that the snippet can end */
}

/* Compatibility mode: 32- or 16-bit code under the same tables. */
_unused_ static void test_legacy_state(struct interp_test *t, unsigned int bits)
{
	test_reset_state(t);
	t->s.seg[CPU_CS] = bits == 32 ? test_seg(SEL_CODE32, 0xc9b) : test_seg(SEL_CODE16, 0x89b);
}

static int test_setup_n(void **state, unsigned int nr_cpus)
{
	struct interp_test *t = calloc(1, sizeof(*t));
	struct cpu_group_config cfg = { .nr_cpus = nr_cpus, .engine = test_engine() };
	struct err err = ERR_INIT;

	t->clock = clock_real();
	timerq_init(&t->timers, t->clock);
	t->ram = aligned_alloc(GUEST_PAGE_SIZE, RAM_SIZE);
	memset(t->ram, 0, RAM_SIZE);
	t->flags = calloc(RAM_SIZE / GUEST_PAGE_SIZE, 1);
	t->mem.nr = 1;
	t->mem.region[0] =
		(struct physmem_region){ .size = RAM_SIZE, .hva = t->ram, .page_flags = t->flags };
	cfg.mem = &t->mem;
	cfg.timers = &t->timers;
	cfg.clock = t->clock;
	cfg.ops = &test_ops;
	cfg.arg = t;
	if (cpu_group_new(&cfg, &t->grp, &err) < 0) {
		print_error("%s\n", err_text(&err));
		return -1;
	}
	t->cpu = cpu_group_cpu(t->grp, 0);
	test_tables(t);
	test_reset_state(t);
	*state = t;
	return 0;
}

_unused_ static int test_setup(void **state)
{
	return test_setup_n(state, 1);
}

_unused_ static int test_teardown(void **state)
{
	struct interp_test *t = *state;

	cpu_group_free(t->grp);
	timerq_done(&t->timers);
	free((void *)t->flags);
	free(t->ram);
	free(t);
	return 0;
}

/* Run from t->s until the end mark or a fault. */
_unused_ static void test_go(struct interp_test *t)
{
	struct err err = ERR_INIT;
	enum cpu_exit exit;

	sigaction(SIGFPE, &engine_fpe, NULL);
	sigaction(SIGSEGV, &engine_segv, NULL);
	t->vector = -1;
	t->ended = false;
	cpu_set_state(t->cpu, &t->s);
	exit = cpu_run(t->cpu, &err);
	cpu_get_state(t->cpu, &t->s);
	if (exit != CPU_EXIT_KICKED)
		fail_msg("cpu_run: exit %d, %s, rip %llx", (int)exit, err_text(&err),
			 (unsigned long long)t->s.rip);
	if (t->vector >= 0) {
		static const uint32_t has_error = 1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 |
						  1u << 13 | 1u << 14 | 1u << 17;
		const uint8_t *frame = t->ram + t->s.gpr[CPU_RSP];

		t->fault_error = 0;
		if (has_error >> t->vector & 1) {
			t->fault_error = get_le64(frame);
			frame += 8;
		}
		t->fault_rip = get_le64(frame);
		t->fault_rflags = get_le64(frame + 16);
	}
}

/* Put a snippet at CODE with the end mark behind it, and run it from there. */
_unused_ static void test_run(struct interp_test *t, const void *code, size_t n)
{
	static const uint8_t end[] = { 0xe6, PORT_END, 0xf4 };

	memcpy(t->ram + CODE, code, n);
	memcpy(t->ram + CODE + n, end, sizeof(end));
	cpu_group_flush(t->grp);
	t->s.rip = CODE;
	test_go(t);
}

/* RUN(t, "add rax, rbx; inc ecx"): assembled by the compiler, for a mode with RUN_BITS(t, "32", ...). */
#define RUN_BITS(t, bits, text)                                                                    \
	do {                                                                                       \
		const uint8_t *code_, *code_end_;                                                  \
		__asm__(".pushsection .rodata\n\t.code" bits                                       \
			"\n\t.intel_syntax noprefix\n771: " text                                   \
			"\n772:\n\t.att_syntax prefix\n\t.code64\n\t.popsection\n\t"               \
			"lea 771b(%%rip), %0\n\tlea 772b(%%rip), %1"                               \
			: "=r"(code_), "=r"(code_end_));                                           \
		test_run(t, code_, (size_t)(code_end_ - code_));                                   \
	} while (0)
#define RUN(t, text) RUN_BITS(t, "64", text)

#define assert_fault(t, vec)                                                                       \
	do {                                                                                       \
		assert_int_equal((t)->vector, vec);                                                \
	} while (0)
#define assert_no_fault(t) assert_int_equal((t)->vector, -1)
#define STATUS(t)	   ((t)->s.rflags & RFLAGS_STATUS)

#endif
