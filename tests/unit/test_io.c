// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Port I/O: who may, what registers say when a string instruction faults or is interrupted in the middle,
 * and that a port is not read for memory that cannot take the value. guest.h's ports read as 0xa5a5a5a5.
 */
#include "guest_insn.h"

enum { DB = 1, GP = 13, PF = 14 };
enum { PTES = G_PT + 0x3000 };

static void test_sizes(void **state)
{
	struct guest *g = start_long(G_CS64, NULL);

	g->st.gpr[CPU_RAX] = UINT64_C(0x1122334455667788);
	g->st.gpr[CPU_RDX] = 0xfff0abcd;
	assert_int_equal(STEP(g, 0xe4, 0x80), NO_FAULT); /* in al, 0x80 */
	assert_int_equal(g->last_pio, 0x80);
	assert_int_equal(g->st.gpr[CPU_RAX], UINT64_C(0x11223344556677a5));
	assert_int_equal(STEP(g, 0x66, 0xed), NO_FAULT); /* in ax, dx */
	assert_int_equal(g->last_pio, 0xabcd);
	assert_int_equal(g->st.gpr[CPU_RAX], UINT64_C(0x112233445566a5a5));
	assert_int_equal(STEP(g, 0xed), NO_FAULT);
	assert_int_equal(g->st.gpr[CPU_RAX], 0xa5a5a5a5);
	g->st.gpr[CPU_RAX] = UINT64_C(0x1122334455667788);
	assert_int_equal(STEP(g, 0xe6, 0x70), NO_FAULT); /* out 0x70, al */
	assert_int_equal(g->last_pio, 0x880070);
	assert_int_equal(STEP(g, 0x66, 0xe7, 0x70), NO_FAULT);
	assert_int_equal(g->last_pio, 0x77880070);
	assert_int_equal(STEP(g, 0xef), NO_FAULT);
	assert_int_equal(g->last_pio, UINT64_C(0x55667788abcd));
	assert_int_equal(g->pio_ins, 3);
	assert_int_equal(g->pio_outs, 3);
	guest_free(g);
}

/* in eax, dx at ring 3 with a bitmap. */
static void test_bitmap(void **state)
{
	static const struct {
		uint16_t port;
		uint8_t bits[2]; /* of the bytes of the port and behind */
		int vector;
	} cases[] = {
		{ 0x60, { 0, 0 }, NO_FAULT },	 { 0x60, { 1, 0 }, GP },
		{ 0x60, { 0x10, 0 }, NO_FAULT }, { 0x60, { 8, 0 }, GP },
		{ 0x66, { 0, 1 }, GP },		 { 0x66, { 0, 4 }, NO_FAULT },
		{ 0x66, { 0x3f, 0 }, NO_FAULT },
	};
	struct guest *g = start_long(G_CS3_64, NULL);
	struct cpu_state before;

	g->st.tr.limit = 0x68 + 0x60 / 8 + 1;
	before = g->st;
	for (unsigned int k = 0; k < ARRAY_SIZE(cases); k++) {
		g->st = before;
		g->st.gpr[CPU_RDX] = cases[k].port;
		memcpy(g->ram + G_TSS + 0x68 + cases[k].port / 8, cases[k].bits, 2);
		assert_int_equal(STEP(g, 0xed), cases[k].vector);
	}
	/* Two bytes are always read. */
	g->st = before;
	g->st.tr.limit--;
	g->st.gpr[CPU_RDX] = 0x60;
	put_le16(g->ram + G_TSS + 0x68 + 0x60 / 8, 0);
	assert_int_equal(STEP(g, 0xec), GP);
	/* IOPL opens all ports; so does ring 0. */
	g->st = before;
	g->st.rflags |= RFLAGS_IOPL;
	g->st.gpr[CPU_RDX] = 0xffff;
	assert_int_equal(STEP(g, 0xec), NO_FAULT);
	guest_free(g);
}

static void test_v86_uses_the_bitmap(void **state)
{
	struct guest *g = guest_new(1, NULL);

	guest_v86(g);
	for (unsigned int v = 0; v < 32; v++)
		guest_gate32(g, v, G_CS32, 14, 0);
	g->st.rflags |= RFLAGS_IOPL;
	g->st.gpr[CPU_RDX] = 0x60;
	g->st.tr.limit = 0x80;
	put_le16(g->ram + G_TSS + 0x68 + 0x60 / 8, 0);
	assert_int_equal(STEP(g, 0xec), NO_FAULT);
	put_le16(g->ram + G_TSS + 0x68 + 0x60 / 8, 1);
	assert_int_equal(STEP(g, 0xec), GP);
	guest_free(g);
}

/* Run to the end of a string instruction. */
static void run_string(struct guest *g, const uint8_t *code, size_t n)
{
	guest_code(g, G_CODE, code, n);
	g->st.rip = G_CODE;
	assert_int_equal(guest_run(g, G_CODE + n), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.rip, G_CODE + n);
}

static void test_rep_ins(void **state)
{
	static const uint8_t rep_insw[] = { 0xf3, 0x66, 0x6d };
	struct guest *g = start_long(G_CS64, NULL);

	/* Two and a half pages, with an element across each page end. */
	g->st.gpr[CPU_RDI] = 0x70fff - 0x800;
	g->st.gpr[CPU_RCX] = 0x1400;
	g->st.gpr[CPU_RDX] = 0x1f0;
	run_string(g, rep_insw, sizeof(rep_insw));
	assert_int_equal(g->pio_ins, 0x1400);
	assert_int_equal(g->st.gpr[CPU_RCX], 0);
	assert_int_equal(g->st.gpr[CPU_RDI], 0x70fff - 0x800 + 0x2800);
	for (uint32_t a = 0; a < 0x2800; a++)
		assert_int_equal(g->ram[0x70fff - 0x800 + a], 0xa5);
	assert_int_equal(g->ram[0x70fff - 0x801], 0);
	assert_int_equal(g->ram[0x70fff - 0x800 + 0x2800], 0);

	/* Downwards. */
	memset(g->ram + 0x70000, 0, 0x1000);
	g->pio_ins = 0;
	g->st.rflags |= RFLAGS_DF;
	g->st.gpr[CPU_RDI] = 0x70100;
	g->st.gpr[CPU_RCX] = 0x10;
	run_string(g, rep_insw, sizeof(rep_insw));
	assert_int_equal(g->st.gpr[CPU_RDI], 0x700e0);
	assert_int_equal(g->ram[0x70101], 0xa5);
	assert_int_equal(g->ram[0x700e1], 0);
	assert_int_equal(g->ram[0x700e2], 0xa5);

	/* Nothing. */
	g->pio_ins = 0;
	g->st.gpr[CPU_RCX] = 0;
	run_string(g, rep_insw, sizeof(rep_insw));
	assert_int_equal(g->pio_ins, 0);
	guest_free(g);
}

static void test_ins_faults_before_the_port(void **state)
{
	struct guest *g = start_long(G_CS64, NULL);

	/* Page 0x71 is read-only: the run ends there. */
	put_le64(g->ram + PTES + 0x71 * 8, 0x71000 | 5);
	g->st.gpr[CPU_RDI] = 0x70f00;
	g->st.gpr[CPU_RCX] = 0x200;
	g->st.gpr[CPU_RDX] = 0x1f0;
	GUEST_CODE(g, G_CODE, 0xf3, 0x6c); /* rep insb */
	assert_int_equal(guest_run(g, G_HANDLER + PF * 16), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.cr2, 0x71000);
	assert_int_equal(g->pio_ins, 0x100);
	assert_int_equal(g->st.gpr[CPU_RCX], 0x100);
	assert_int_equal(g->st.gpr[CPU_RDI], 0x71000);
	assert_int_equal(get_le64(g->ram + g->st.gpr[CPU_RSP] + 8), G_CODE);
	guest_free(g);
}

static void test_outs_segment_limit(void **state)
{
	struct guest *g = guest_new(1, NULL);

	/* Real mode: cx elements up to the limit, then #GP with what is left. */
	guest_real(g);
	put_le32(g->ram + GP * 4, G_HANDLER); /* vector table */
	g->st.gpr[CPU_RSI] = 0xfff0;
	g->st.gpr[CPU_RCX] = 0x8000000b;
	g->st.gpr[CPU_RDX] = 0x1f0;
	g->st.seg[CPU_DS].limit = 0xfff7;
	GUEST_CODE(g, G_CODE, 0xf3, 0x6f); /* rep outsw */
	assert_int_equal(guest_run(g, G_HANDLER), CPU_EXIT_DEBUG);
	assert_int_equal(g->pio_outs, 4);
	assert_int_equal(g->st.gpr[CPU_RCX], 0x80000007);
	assert_int_equal(g->st.gpr[CPU_RSI], 0xfff8);
	guest_free(g);
}

static void test_single_step_stops_each_element(void **state)
{
	struct guest *g = start_long(G_CS64, NULL);

	memcpy(g->ram + 0x70000, "abc", 3);
	g->st.gpr[CPU_RSI] = 0x70000;
	g->st.gpr[CPU_RCX] = 3;
	g->st.gpr[CPU_RDX] = 0x3f8;
	for (unsigned int k = 1; k <= 3; k++) {
		/* rep outsb */
		assert_int_equal(STEP(g, 0xf3, 0x6e), k < 3 ? UNFINISHED : NO_FAULT);
		assert_int_equal(g->pio_outs, k);
		assert_int_equal(g->last_pio >> 16, 'a' + k - 1);
	}
	guest_free(g);
}

static void test_io_breakpoint(void **state)
{
	struct guest *g = start_long(G_CS64, NULL);

	g->st.cr4 |= CR4_DE;
	g->st.dr[1] = 0x61;
	g->st.dr7 = 0x400 | 2 << 2 | 2 << 20; /* port, one byte */
	g->st.gpr[CPU_RDX] = 0x60;
	GUEST_CODE(g, G_CODE, 0xec, 0x66, 0xed, 0x90); /* in al, dx; in ax, dx */
	assert_int_equal(guest_run(g, G_HANDLER + DB * 16), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.dr6 & 0xf, 2);
	assert_int_equal(get_le64(g->ram + g->st.gpr[CPU_RSP]), G_CODE + 3);
	guest_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_bitmap),
		cmocka_unit_test(test_v86_uses_the_bitmap),
		cmocka_unit_test(test_rep_ins),
		cmocka_unit_test(test_ins_faults_before_the_port),
		cmocka_unit_test(test_outs_segment_limit),
		cmocka_unit_test(test_single_step_stops_each_element),
		cmocka_unit_test(test_io_breakpoint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
