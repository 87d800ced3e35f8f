// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Control and debug registers, XCR0 and invalidation: what each value does, and which ones fault.
 */
#include "guest_insn.h"

enum { UD = 6, GP = 13, DB = 1 };

/* mov crN, rax with @value from the state that @g has now, which stays. */
static int write_cr(struct guest *g, unsigned int n, uint64_t value, struct cpu_state *ret)
{
	uint8_t code[] = { 0x0f, 0x22, (uint8_t)(0xc0 | n << 3) };
	uint8_t code8[] = { 0x44, 0x0f, 0x22, 0xc0 };
	struct cpu_state before = g->st;
	int vector;

	g->st.gpr[CPU_RAX] = value;
	vector = n == 8 ? step(g, code8, sizeof(code8)) : step(g, code, sizeof(code));
	*ret = g->st;
	g->st = before;
	return vector;
}

static void test_cr0_values(void **state)
{
	struct guest *g = start_long(G_CS64, NULL);
	const uint64_t cr0 = g->st.cr0;
	const struct {
		uint64_t value;
		int vector;
	} cases[] = {
		{ cr0, NO_FAULT },
		{ cr0 & ~(uint64_t)CR0_WP, NO_FAULT },
		{ cr0 | CR0_CD, NO_FAULT },
		{ cr0 | CR0_CD | CR0_NW, NO_FAULT },
		{ cr0 | CR0_NW, GP },
		{ cr0 | UINT64_C(1) << 32, GP },
		{ cr0 & ~(uint64_t)CR0_PE, GP },
		{ cr0 & ~CR0_PG, GP }, /* in 64-bit mode */
		{ cr0 | 1 << 7 | 1 << 20, NO_FAULT },
		{ cr0 & ~(uint64_t)CR0_ET, NO_FAULT },
	};

	for (unsigned int k = 0; k < ARRAY_SIZE(cases); k++) {
		struct cpu_state after;

		assert_int_equal(write_cr(g, 0, cases[k].value, &after), cases[k].vector);
		if (cases[k].vector == NO_FAULT)
			assert_int_equal(after.cr0,
					 (cases[k].value & ~UINT64_C(0x100080)) | CR0_ET);
		else
			assert_int_equal(after.cr0, cr0);
	}
	guest_free(g);
}

static void test_cr3_values(void **state)
{
	struct guest *g = start_long(G_CS64, "+pcid,phys-bits=40");
	struct cpu_state after;

	assert_int_equal(write_cr(g, 3, G_PT | 0x18, &after), NO_FAULT);
	assert_int_equal(after.cr3, G_PT | 0x18);
	assert_int_equal(write_cr(g, 3, UINT64_C(1) << 40 | G_PT, &after), GP);
	assert_int_equal(write_cr(g, 3, UINT64_C(1) << 63 | G_PT, &after), GP);
	g->st.cr4 |= CR4_PCIDE;
	assert_int_equal(write_cr(g, 3, UINT64_C(1) << 63 | G_PT | 5, &after), NO_FAULT);
	assert_int_equal(after.cr3, G_PT | 5);
	assert_int_equal(write_cr(g, 3, UINT64_C(1) << 62 | G_PT, &after), GP);
	/* Paging cannot be switched off under it. */
	assert_int_equal(write_cr(g, 0, g->st.cr0 & ~CR0_PG, &after), GP);
	guest_free(g);
}

static void test_cr4_values(void **state)
{
	struct guest *g = start_long(G_CS64, "+pcid,+la57");
	const uint64_t cr4 = g->st.cr4;
	struct cpu_state after;

	assert_int_equal(write_cr(g, 4, cr4 | CR4_TSD | CR4_DE | CR4_PSE | CR4_MCE, &after),
			 NO_FAULT);
	assert_int_equal(after.cr4, cr4 | CR4_TSD | CR4_DE | CR4_PSE | CR4_MCE);
	assert_int_equal(write_cr(g, 4, cr4 | UINT64_C(1) << 63, &after), GP);
	assert_int_equal(write_cr(g, 4, cr4 | 1 << 13, &after), GP); /* VMXE */
	assert_int_equal(write_cr(g, 4, cr4 & ~(uint64_t)CR4_PAE, &after), GP);
	assert_int_equal(write_cr(g, 4, cr4 | CR4_LA57, &after), GP);
	assert_int_equal(write_cr(g, 4, cr4 | CR4_PCIDE, &after), NO_FAULT);
	g->st.cr3 |= 8;
	assert_int_equal(write_cr(g, 4, cr4 | CR4_PCIDE, &after), GP);
	assert_int_equal(after.cr4, cr4);
	guest_free(g);

	g = start_protected(G_CS32);
	assert_int_equal(write_cr(g, 4, CR4_PCIDE | CR4_PAE, &after), GP);
	guest_free(g);
}

static void test_cr8_values(void **state)
{
	struct guest *g = start_long(G_CS64, NULL);
	struct cpu_state after;

	assert_int_equal(write_cr(g, 8, 5, &after), NO_FAULT);
	assert_int_equal(after.apic.tpr, 0x50);
	assert_int_equal(write_cr(g, 8, 16, &after), GP);
	g->st.apic.tpr = 0x73;
	assert_int_equal(STEP(g, 0x44, 0x0f, 0x20, 0xc0), NO_FAULT); /* mov rax, cr8 */
	assert_int_equal(g->st.gpr[CPU_RAX], 7);
	guest_free(g);

	/* LOCK MOV CR0 names it for 32-bit code. */
	g = start_protected(G_CS32);
	g->st.gpr[CPU_RAX] = 9;
	assert_int_equal(STEP(g, 0xf0, 0x0f, 0x22, 0xc0), NO_FAULT);
	assert_int_equal(g->st.apic.tpr, 0x90);
	assert_int_equal(STEP(g, 0xf0, 0x0f, 0x20, 0xc3), NO_FAULT); /* to ebx */
	assert_int_equal(g->st.gpr[CPU_RBX], 9);
	assert_int_equal(STEP(g, 0xf0, 0x0f, 0x20, 0xd8), UD); /* not with CR3 */
	guest_free(g);
	g = guest_new(1, "-cr8_legacy");
	guest_long(g, G_CS64);
	guest_gate64(g, UD, G_CS64, 14, 0, 0);
	assert_int_equal(STEP(g, 0xf0, 0x0f, 0x20, 0xc0), UD);
	guest_free(g);
}

static void test_only_ring0(void **state)
{
	static const uint8_t code[][3] = {
		{ 0x0f, 0x20, 0xc0 }, { 0x0f, 0x22, 0xd8 }, { 0x0f, 0x20, 0xe0 },
		{ 0x0f, 0x21, 0xf8 }, { 0x0f, 0x23, 0xc0 }, { 0x0f, 0x01, 0xf0 }, /* lmsw ax */
		{ 0x0f, 0x01, 0x38 },						  /* invlpg [rax] */
	};
	struct guest *g = start_long(G_CS3_64, NULL);
	struct cpu_state before = g->st;

	for (unsigned int k = 0; k < ARRAY_SIZE(code); k++) {
		g->st = before;
		assert_int_equal(step(g, code[k], sizeof(code[k])), GP);
		assert_int_equal(get_le64(g->ram + g->st.gpr[CPU_RSP]), 0); /* error code */
	}
	g->st = before;
	assert_int_equal(STEP(g, 0x0f, 0x06), GP); /* clts */
	g->st = before;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xcb), UD); /* stac */
	g->st = before;
	assert_int_equal(STEP(g, 0x0f, 0x22, 0xc8), UD); /* mov cr1, rax */
	guest_free(g);
}

static void test_long_mode_on_and_off(void **state)
{
	struct guest *g = start_protected(G_CS32);
	struct cpu_state after;

	guest_paging_long(g);
	g->st.cr3 = G_PT;
	g->st.efer = EFER_LME;
	/* Without PAE it is a fault. */
	assert_int_equal(write_cr(g, 0, g->st.cr0 | CR0_PG, &after), GP);
	g->st.cr4 |= CR4_PAE;
	g->st.seg[CPU_CS].attr |= SEG_L;
	assert_int_equal(write_cr(g, 0, g->st.cr0 | CR0_PG, &after), GP);
	g->st.seg[CPU_CS].attr &= (uint16_t)~SEG_L;
	assert_int_equal(write_cr(g, 0, g->st.cr0 | CR0_PG, &after), NO_FAULT);
	assert_int_equal(after.efer, EFER_LME | EFER_LMA);

	/* From compatibility mode back. */
	g->st = after;
	assert_int_equal(write_cr(g, 0, g->st.cr0 & ~CR0_PG, &after), NO_FAULT);
	assert_int_equal(after.efer, EFER_LME);
	guest_free(g);
}

static void test_pdptes(void **state)
{
	struct guest *g = start_protected(G_CS32);
	struct cpu_state after;

	g->st.cr4 |= CR4_PAE;
	g->st.cr3 = 0x70000;
	put_le64(g->ram + 0x70000, (G_PT + 0x2000) | 1);
	guest_paging_long(g);
	assert_int_equal(write_cr(g, 0, g->st.cr0 | CR0_PG, &after), NO_FAULT);
	assert_int_equal(after.pdpte[0], (G_PT + 0x2000) | 1);
	put_le64(g->ram + 0x70008, 0x1000 | 2 | 1); /* bit 1 is reserved */
	assert_int_equal(write_cr(g, 0, g->st.cr0 | CR0_PG, &after), GP);
	g->st = after;
	guest_free(g);
}

static void test_lmsw_smsw(void **state)
{
	struct guest *g = guest_new(1, NULL);

	guest_real(g);
	g->st.gpr[CPU_RAX] = 0xfff0 | CR0_PE | CR0_TS;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xf0), NO_FAULT); /* lmsw ax */
	assert_int_equal(g->st.cr0, CR0_ET | CR0_PE | CR0_TS);
	guest_free(g);

	g = start_long(G_CS64, NULL);
	g->st.gpr[CPU_RAX] = 0;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xf0), NO_FAULT);
	assert_true(g->st.cr0 & CR0_PE); /* cannot be cleared this way */
	assert_false(g->st.cr0 & CR0_MP);
	g->st.gpr[CPU_RAX] = UINT64_MAX;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xe0), NO_FAULT); /* smsw eax */
	assert_int_equal(g->st.gpr[CPU_RAX], g->st.cr0);
	guest_free(g);

	g = start_long(G_CS3_64, NULL);
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xe0), NO_FAULT);
	g->st.cr4 |= CR4_UMIP;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xe0), GP);
	guest_free(g);
}

static void test_debug_registers(void **state)
{
	struct guest *g = start_long(G_CS64, NULL);
	struct cpu_state before;

	g->st.gpr[CPU_RAX] = 0xffffffff;
	before = g->st;
	assert_int_equal(STEP(g, 0x0f, 0x23, 0xf0), NO_FAULT); /* mov dr6, rax */
	assert_int_equal(g->st.dr6, 0xffffefff);
	g->st = before;
	g->st.gpr[CPU_RAX] = 0;
	assert_int_equal(STEP(g, 0x0f, 0x23, 0xe0), NO_FAULT); /* mov dr4, rax */
	assert_int_equal(g->st.dr6, 0xffff0ff0);
	assert_int_equal(STEP(g, 0x0f, 0x23, 0xf8), NO_FAULT); /* mov dr7, rax */
	assert_int_equal(g->st.dr7, 0x400);
	g->st.gpr[CPU_RAX] = UINT64_C(1) << 32;
	before = g->st;
	assert_int_equal(STEP(g, 0x0f, 0x23, 0xf8), GP);
	g->st = before;
	assert_int_equal(STEP(g, 0x0f, 0x23, 0xd8), NO_FAULT); /* mov dr3, rax */
	assert_int_equal(g->st.dr[3], UINT64_C(1) << 32);
	g->st.cr4 |= CR4_DE;
	before = g->st;
	assert_int_equal(STEP(g, 0x0f, 0x21, 0xe0), UD); /* mov rax, dr4 */

	/* General detect. */
	g->st = before;
	g->st.dr7 |= 1 << 13;
	g->st.dr6 = 0xffff0ff0;
	assert_int_equal(STEP(g, 0x0f, 0x21, 0xf8), DB);
	assert_int_equal(g->st.dr6, 0xffff2ff0);
	assert_int_equal(g->st.dr7, 0x400);
	assert_int_equal(get_le64(g->ram + g->st.gpr[CPU_RSP]), G_CODE);
	guest_free(g);
}

static void test_xsetbv(void **state)
{
	struct guest *g = start_long(G_CS64, NULL);
	uint32_t leaf[4];
	struct cpu_state before;
	static const struct {
		uint32_t ecx, eax, edx;
		int vector;
	} cases[] = {
		{ 0, 1, 0, NO_FAULT }, { 0, 3, 0, NO_FAULT }, { 0, 2, 0, GP }, { 0, 5, 0, GP },
		{ 0, 3, 1, GP },       { 1, 3, 0, GP },	      { 0, 0, 0, GP }, { 0, 0x13, 0, GP },
	};

	assert_int_equal(STEP(g, 0x0f, 0x01, 0xd0), UD); /* xgetbv without OSXSAVE */
	guest_free(g);

	g = start_long(G_CS64, NULL);
	before = g->st;
	g->st.gpr[CPU_RAX] = 0xd;
	g->st.gpr[CPU_RCX] = 0;
	assert_int_equal(STEP(g, 0x0f, 0xa2), NO_FAULT); /* cpuid */
	leaf[0] = (uint32_t)g->st.gpr[CPU_RAX];
	g->st = before;
	if (!(leaf[0] & 3)) { /* no XSAVE on this host */
		guest_free(g);
		return;
	}
	before.cr4 |= CR4_OSXSAVE;
	for (unsigned int k = 0; k < ARRAY_SIZE(cases); k++) {
		g->st = before;
		g->st.gpr[CPU_RCX] = cases[k].ecx;
		g->st.gpr[CPU_RAX] = cases[k].eax;
		g->st.gpr[CPU_RDX] = cases[k].edx;
		assert_int_equal(STEP(g, 0x0f, 0x01, 0xd1), cases[k].vector);
		if (cases[k].vector == NO_FAULT)
			assert_int_equal(g->st.xcr0, cases[k].eax);
	}
	g->st = before;
	g->st.xcr0 = 3;
	g->st.gpr[CPU_RCX] = 0;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xd0), NO_FAULT);
	assert_int_equal(g->st.gpr[CPU_RAX], 3);
	assert_int_equal(g->st.gpr[CPU_RDX], 0);
	guest_free(g);
}

/* Page 5 is read, moved in its table by the guest, and read again behind one invalidating instruction. */
static void invalidates(const uint8_t *code, size_t n, uint64_t type, uint64_t pcid)
{
	static const uint8_t before[] = {
		0x8b, 0x1c, 0x25, 0,	0x50, 0,    0,			    /* mov ebx, [0x5000] */
		0x48, 0xc7, 0x04, 0x25, 0x28, 0x30, 0x06, 0, 7, 0x60, 0, 0, /* mov q[pte], 0x6007 */
	};
	static const uint8_t after[] = { 0x8b, 0x14, 0x25, 0, 0x50, 0, 0 }; /* mov edx, [0x5000] */
	struct guest *g = start_long(G_CS64, "+pcid,+invpcid");
	uint32_t end = G_CODE + sizeof(before) + (uint32_t)n + sizeof(after);

	put_le32(g->ram + 0x5000, 55);
	put_le32(g->ram + 0x6000, 66);
	put_le64(g->ram + 0x4000, pcid);
	put_le64(g->ram + 0x4008, 0x5000);
	guest_code(g, G_CODE, before, sizeof(before));
	guest_code(g, G_CODE + sizeof(before), code, n);
	guest_code(g, G_CODE + sizeof(before) + (uint32_t)n, after, sizeof(after));
	g->st.gpr[CPU_RAX] = type;
	g->st.gpr[CPU_RSI] = 0x5008;
	g->st.gpr[CPU_RDI] = 0x4000;
	g->st.gpr[CPU_R8] = G_PT;
	assert_int_equal(guest_run(g, end), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.rip, end);
	assert_int_equal(g->st.gpr[CPU_RBX], 55);
	assert_int_equal(g->st.gpr[CPU_RDX], 66);
	guest_free(g);
}

static void test_invalidation(void **state)
{
	static const uint8_t invlpg[] = { 0x0f, 0x01, 0x3e };		   /* [rsi] */
	static const uint8_t invpcid[] = { 0x66, 0x0f, 0x38, 0x82, 0x07 }; /* rax, [rdi] */
	static const uint8_t cr3[] = { 0x41, 0x0f, 0x22, 0xd8 };	   /* cr3, r8 */

	invalidates(invlpg, sizeof(invlpg), 0, 0);
	invalidates(cr3, sizeof(cr3), 0, 0);
	for (uint64_t type = 0; type < 4; type++)
		invalidates(invpcid, sizeof(invpcid), type, 0);
}

static void test_invpcid_faults(void **state)
{
	static const struct {
		uint64_t type, pcid, lin;
		int vector;
		bool pcide;
	} cases[] = {
		{ 4, 0, 0, GP, false },
		{ 0, 0x1000, 0, GP, true },
		{ 3, 0x1000, 0, GP, true },
		{ 0, 1, 0, GP, false },
		{ 1, 1, 0, GP, false },
		{ 1, 1, 0, NO_FAULT, true },
		{ 2, 1, 0, NO_FAULT, false },
		{ 0, 0, UINT64_C(0x800000000000), GP, false },
		{ 1, 0, UINT64_C(0x800000000000), NO_FAULT, false },
	};
	struct guest *g = start_long(G_CS64, "+pcid,+invpcid");
	struct cpu_state before = g->st;

	for (unsigned int k = 0; k < ARRAY_SIZE(cases); k++) {
		g->st = before;
		put_le64(g->ram + 0x4000, cases[k].pcid);
		put_le64(g->ram + 0x4008, cases[k].lin);
		g->st.gpr[CPU_RAX] = cases[k].type;
		g->st.gpr[CPU_RDI] = 0x4000;
		if (cases[k].pcide)
			g->st.cr4 |= CR4_PCIDE;
		assert_int_equal(STEP(g, 0x66, 0x0f, 0x38, 0x82, 0x07), cases[k].vector);
	}
	guest_free(g);
}

static void test_stac_clac(void **state)
{
	struct guest *g = start_long(G_CS64, NULL);

	g->st.cr4 |= CR4_SMAP;
	put_le64(g->ram + G_PT + 0x3000 + 5 * 8, 0x5000 | 7);
	/* The supervisor's own pages must not be user pages now. */
	for (unsigned int k = 0; k < 512; k++)
		if (k != 5)
			put_le64(g->ram + G_PT + 0x3000 + k * 8, k << 12 | 3);
	g->st.rflags |= RFLAGS_AC;
	assert_int_equal(STEP(g, 0x8b, 0x04, 0x25, 0, 0x50, 0, 0), NO_FAULT);
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xca), NO_FAULT); /* clac */
	assert_false(g->st.rflags & RFLAGS_AC);
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xcb), NO_FAULT); /* stac */
	assert_true(g->st.rflags & RFLAGS_AC);
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xca), NO_FAULT);
	assert_int_equal(STEP(g, 0x8b, 0x04, 0x25, 0, 0x50, 0, 0), 14);
	guest_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cr0_values),	cmocka_unit_test(test_cr3_values),
		cmocka_unit_test(test_cr4_values),	cmocka_unit_test(test_cr8_values),
		cmocka_unit_test(test_only_ring0),	cmocka_unit_test(test_long_mode_on_and_off),
		cmocka_unit_test(test_pdptes),		cmocka_unit_test(test_lmsw_smsw),
		cmocka_unit_test(test_debug_registers), cmocka_unit_test(test_xsetbv),
		cmocka_unit_test(test_invalidation),	cmocka_unit_test(test_invpcid_faults),
		cmocka_unit_test(test_stac_clac),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
