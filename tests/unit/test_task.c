// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hardware task switches: what is saved and loaded, busy bits, links and flags, and whose fault it is when
 * something is wrong.
 */
#include "unit.h"

#include "guest.h"

enum { DB = 1, TS = 10, NP = 11, SS = 12, GP = 13 };
/* The second task: its TSS, code, stack, and selector (G_FREE) in the GDT. */
enum { TSS2 = 0x3800, CODE2 = 0x9000, STACK2 = 0x28000 };
enum { TSS3 = 0x3a00, CODE3 = 0x9800, STACK3 = 0x29000, SEL_TSS3 = G_FREE + 8 };
enum {
	T32_LINK = 0,
	T32_CR3 = 0x1c,
	T32_EIP = 0x20,
	T32_FLAGS = 0x24,
	T32_GPRS = 0x28,
	T32_SEGS = 0x48,
	T32_LDT = 0x60,
	T32_TRAP = 0x64
};
enum { T16_IP = 0x0e, T16_FLAGS = 0x10, T16_GPRS = 0x12, T16_SEGS = 0x22 };
enum { AVAILABLE = 9, BUSY = 11, AVAILABLE16 = 1, BUSY16 = 3 };

static uint8_t *tss2(struct guest *g)
{
	return g->ram + TSS2;
}

static unsigned int type_of(struct guest *g, unsigned int sel)
{
	return g->ram[G_GDT + (sel & ~7u) + 5] & 15;
}

static void tss32_make(struct guest *g, uint32_t cs, uint32_t ds)
{
	uint8_t *t = tss2(g);

	memset(t, 0, 0x80);
	put_le32(t + T32_EIP, CODE2);
	put_le32(t + T32_FLAGS, 2);
	for (unsigned int k = 0; k < 8; k++)
		put_le32(t + T32_GPRS + k * 4, 0x1000 + k);
	put_le32(t + T32_GPRS + CPU_RSP * 4, STACK2);
	for (unsigned int k = 0; k < CPU_NR_SEGS; k++)
		put_le32(t + T32_SEGS + k * 4, k == CPU_CS ? cs : ds);
	guest_desc(g, G_FREE, TSS2, 0x67, 0x080 | AVAILABLE);
}

static struct guest *start(void)
{
	struct guest *g = guest_new(1, NULL);

	guest_protected(g, G_CS32);
	for (unsigned int v = 0; v < 32; v++)
		guest_gate32(g, v, G_CS32, 14, 0);
	tss32_make(g, G_CS32, G_DS);
	for (unsigned int k = 0; k < 8; k++)
		if (k != CPU_RSP)
			g->st.gpr[k] = 0x2000 + k;
	g->st.rflags = 2 | RFLAGS_CF;
	guest_code(g, CODE2, "\xcf\x90", 2); /* iret */
	return g;
}

/* jmp or call far to the second task */
static void code_to_task2(struct guest *g, bool is_call)
{
	GUEST_CODE(g, G_CODE, 0xea, 0, 0, 0, 0, G_FREE, 0, 0x90);
	if (is_call)
		g->ram[G_CODE] = 0x9a;
}

static void test_jmp(void **state)
{
	struct guest *g = start();
	const uint8_t *old = g->ram + G_TSS;

	code_to_task2(g, false);
	assert_int_equal(guest_run(g, CODE2), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.rip, CODE2);
	/* The new task. */
	assert_int_equal(g->st.tr.sel, G_FREE);
	assert_int_equal(g->st.tr.attr & 15, BUSY);
	assert_int_equal(g->st.gpr[CPU_RAX], 0x1000);
	assert_int_equal(g->st.gpr[CPU_RDI], 0x1007);
	assert_int_equal(g->st.gpr[CPU_RSP], STACK2);
	assert_int_equal(g->st.rflags, 2);
	assert_true(g->st.cr0 & CR0_TS);
	/* The old one. */
	assert_int_equal(get_le32(old + T32_EIP), G_CODE + 7);
	assert_int_equal(get_le32(old + T32_FLAGS), 3);
	assert_int_equal(get_le32(old + T32_GPRS), 0x2000);
	assert_int_equal(get_le32(old + T32_GPRS + 28), 0x2007);
	assert_int_equal(get_le16(old + T32_SEGS + CPU_CS * 4), G_CS32);
	assert_int_equal(get_le16(old + T32_SEGS + CPU_GS * 4), G_DS);
	assert_int_equal(type_of(g, G_TR), AVAILABLE);
	assert_int_equal(type_of(g, G_FREE), BUSY);
	guest_free(g);
}

static void test_call_and_iret(void **state)
{
	struct guest *g = start();

	code_to_task2(g, true);
	assert_int_equal(guest_run(g, CODE2), CPU_EXIT_DEBUG);
	assert_true(g->st.rflags & RFLAGS_NT);
	assert_int_equal(get_le16(tss2(g)), G_TR);
	assert_int_equal(type_of(g, G_TR), BUSY);
	assert_int_equal(type_of(g, G_FREE), BUSY);
	assert_int_equal(guest_run(g, G_CODE + 7), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.rip, G_CODE + 7);
	assert_int_equal(g->st.tr.sel, G_TR);
	assert_int_equal(g->st.gpr[CPU_RAX], 0x2000);
	assert_int_equal(g->st.rflags, 3);
	assert_int_equal(type_of(g, G_TR), BUSY);
	assert_int_equal(type_of(g, G_FREE), AVAILABLE);
	/* The second task goes on behind its IRET, without NT. */
	assert_int_equal(get_le32(tss2(g) + T32_EIP), CODE2 + 1);
	assert_int_equal(get_le32(tss2(g) + T32_FLAGS), 2);
	guest_free(g);
}

static void test_16bit(void **state)
{
	struct guest *g = start();
	uint8_t *t = tss2(g);

	memset(t, 0, 0x80);
	put_le16(t + T16_IP, CODE2);
	put_le16(t + T16_FLAGS, 0x46);
	put_le16(t + T16_GPRS, 0x1234);
	put_le16(t + T16_GPRS + CPU_RSP * 2, 0x7000);
	for (unsigned int k = 0; k < 4; k++)
		put_le16(t + T16_SEGS + k * 2, k == CPU_CS ? G_CS16 : G_DS16);
	guest_desc(g, G_FREE, TSS2, 0x2b, 0x080 | AVAILABLE16);
	code_to_task2(g, true);
	assert_int_equal(guest_run(g, CODE2), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.rip, CODE2);
	assert_int_equal(g->st.gpr[CPU_RAX], 0x1234);
	assert_int_equal(g->st.rflags, 0x46 | RFLAGS_NT);
	assert_int_equal(g->st.seg[CPU_SS].sel, G_DS16);
	assert_int_equal(type_of(g, G_FREE), BUSY16);
	/* And back, from a 16-bit task to a 32-bit one. */
	assert_int_equal(guest_run(g, G_CODE + 7), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.gpr[CPU_RAX], 0x2000);
	assert_int_equal(type_of(g, G_FREE), AVAILABLE16);
	guest_free(g);
}

static void test_gate_with_error_code(void **state)
{
	struct guest *g = start();

	/* #GP through a task gate; the fault comes from loading a selector beyond the GDT. */
	memset(g->ram + G_IDT + GP * 8, 0, 8);
	put_le16(g->ram + G_IDT + GP * 8 + 2, G_FREE);
	g->ram[G_IDT + GP * 8 + 5] = 0x85;
	GUEST_CODE(g, G_CODE, 0xb8, 0xf8, 0xff, 0, 0, 0x8e,
		   0xe0); /* mov eax, 0xfff8; mov fs, eax */
	assert_int_equal(guest_run(g, CODE2), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.gpr[CPU_RSP], STACK2 - 4);
	assert_int_equal(get_le32(g->ram + STACK2 - 4), 0xfff8);
	assert_true(g->st.rflags & RFLAGS_NT);
	assert_int_equal(get_le32(g->ram + G_TSS + T32_EIP), G_CODE + 5);
	assert_int_equal(get_le32(g->ram + G_TSS + T32_FLAGS), 3 | RFLAGS_RF);
	guest_free(g);
}

static void expect_fault(struct guest *g, unsigned int vector, uint32_t error, uint16_t tr,
			 uint32_t eip)
{
	const uint8_t *frame;

	code_to_task2(g, false);
	assert_int_equal(guest_run(g, G_HANDLER + vector * 16), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.rip, G_HANDLER + vector * 16);
	assert_int_equal(g->st.tr.sel, tr);
	frame = g->ram + g->st.gpr[CPU_RSP];
	assert_int_equal(get_le32(frame), error);
	assert_int_equal(get_le32(frame + 4), eip);
	guest_free(g);
}

static void test_faults_of_the_old_task(void **state)
{
	struct guest *g = start();

	guest_desc(g, G_FREE, TSS2, 0x67, 0x080 | BUSY);
	expect_fault(g, GP, G_FREE, G_TR, G_CODE);
	g = start();
	guest_desc(g, G_FREE, TSS2, 0x67, AVAILABLE);
	expect_fault(g, NP, G_FREE, G_TR, G_CODE);
	g = start();
	guest_desc(g, G_FREE, TSS2, 0x66, 0x080 | AVAILABLE);
	expect_fault(g, TS, G_FREE, G_TR, G_CODE);
}

/* The faults go to a third task by task gates, because the second may have no stack to push a frame on. */
static void test_faults_of_the_new_task(void **state)
{
	static const struct {
		unsigned int off;
		uint16_t sel;
		unsigned int vector;
		uint32_t error;
	} cases[] = {
		{ T32_SEGS + CPU_CS * 4, G_DS, TS, G_DS },
		{ T32_SEGS + CPU_CS * 4, G_CS32 | 3, TS, G_CS32 },
		{ T32_SEGS + CPU_CS * 4, 0, TS, 0 },
		{ T32_SEGS + CPU_SS * 4, G_CS32, TS, G_CS32 },
		{ T32_SEGS + CPU_SS * 4, G_DS | 3, TS, G_DS },
		{ T32_SEGS + CPU_SS * 4, 0, TS, 0 },
		{ T32_SEGS + CPU_SS * 4, G_FREE2, SS, G_FREE2 },
		{ T32_SEGS + CPU_ES * 4, G_FREE2, NP, G_FREE2 },
		{ T32_SEGS + CPU_FS * 4, 0xfff8, TS, 0xfff8 },
		{ T32_SEGS + CPU_GS * 4, G_TR, TS, G_TR },
		{ T32_LDT, G_DS, TS, G_DS },
		{ T32_LDT, 0xfff8, TS, 0xfff8 },
		{ T32_EIP, 0, GP, 0 },
	};

	for (unsigned int k = 0; k < ARRAY_SIZE(cases); k++) {
		struct guest *g = start();
		uint8_t *gate = g->ram + G_IDT + cases[k].vector * 8;

		memcpy(g->ram + TSS3, tss2(g), 0x68);
		put_le32(g->ram + TSS3 + T32_EIP, CODE3);
		put_le32(g->ram + TSS3 + T32_GPRS + CPU_RSP * 4, STACK3);
		guest_desc(g, SEL_TSS3, TSS3, 0x67, 0x080 | AVAILABLE);
		memset(gate, 0, 8);
		put_le16(gate + 2, SEL_TSS3);
		gate[5] = 0x85;
		guest_desc(g, G_FREE2, 0, 0xfffff, 0xc13); /* data, not present */
		if (cases[k].off == T32_EIP)
			guest_desc(g, G_CS32, 0, CODE3, 0x49b); /* eip behind the limit */
		put_le16(tss2(g) + cases[k].off, cases[k].sel);
		if (cases[k].off == T32_EIP)
			put_le32(tss2(g) + T32_EIP, CODE3 + 1);
		code_to_task2(g, false);
		assert_int_equal(guest_run(g, CODE3), CPU_EXIT_DEBUG);
		assert_int_equal(g->st.tr.sel, SEL_TSS3);
		assert_int_equal(get_le16(g->ram + TSS3), G_FREE);
		assert_int_equal(g->st.gpr[CPU_RSP], STACK3 - 4);
		assert_int_equal(get_le32(g->ram + STACK3 - 4), cases[k].error);
		/* It is at its first instruction, with its registers. */
		assert_int_equal(get_le32(tss2(g) + T32_EIP),
				 cases[k].off == T32_EIP ? CODE3 + 1 : CODE2);
		assert_int_equal(get_le32(tss2(g) + T32_GPRS), 0x1000);
		assert_int_equal(type_of(g, G_FREE), BUSY);
		guest_free(g);
	}
}

static void test_trap_flag(void **state)
{
	struct guest *g = start();

	put_le16(tss2(g) + T32_TRAP, 1);
	g->st.dr7 = 0x400 | 0x2 | 0x4; /* G0 and L1 */
	g->st.dr[0] = g->st.dr[1] = 0x100;
	code_to_task2(g, false);
	assert_int_equal(guest_run(g, G_HANDLER + DB * 16), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.dr6 & 0xe00f, 0x8000);
	assert_int_equal(g->st.dr7, 0x402); /* local breakpoints end with the task */
	assert_int_equal(get_le32(g->ram + g->st.gpr[CPU_RSP]), CODE2);
	guest_free(g);
}

static void test_to_v86(void **state)
{
	struct guest *g = start();
	uint8_t *t = tss2(g);

	put_le32(t + T32_FLAGS, 2 | RFLAGS_VM);
	put_le32(t + T32_EIP, 0x10);
	for (unsigned int k = 0; k < CPU_NR_SEGS; k++)
		put_le32(t + T32_SEGS + k * 4, k == CPU_CS ? 0x900 : 0x1230 + k);
	put_le32(t + T32_GPRS + CPU_RSP * 4, 0x100);
	code_to_task2(g, false);
	assert_int_equal(guest_run(g, 0x9010), CPU_EXIT_DEBUG);
	assert_true(g->st.rflags & RFLAGS_VM);
	assert_int_equal(cpu_state_cpl(&g->st), 3);
	assert_int_equal(g->st.seg[CPU_CS].base, 0x9000);
	assert_int_equal(g->st.seg[CPU_GS].base, 0x12350);
	guest_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jmp),
		cmocka_unit_test(test_call_and_iret),
		cmocka_unit_test(test_16bit),
		cmocka_unit_test(test_gate_with_error_code),
		cmocka_unit_test(test_faults_of_the_old_task),
		cmocka_unit_test(test_faults_of_the_new_task),
		cmocka_unit_test(test_trap_flag),
		cmocka_unit_test(test_to_v86),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
