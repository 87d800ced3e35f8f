// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Exceptions, interrupts, privilege changes and returns, in every mode, by running real guest code: the
 * frames on the stacks and the registers afterwards are compared byte for byte with what the manuals say.
 */
#include "unit.h"

#include "guest.h"

/* Values of a frame, top of stack first. */
static void frame_is(struct guest *g, uint64_t at, unsigned int size, const uint64_t *want,
		     unsigned int n)
{
	for (unsigned int k = 0; k < n; k++) {
		uint64_t got = get_le(g->ram + at + k * size, size);

		if (got != want[k])
			fail_msg("frame word %u at 0x%llx: 0x%llx, expected 0x%llx", k,
				 (unsigned long long)(at + k * size), (unsigned long long)got,
				 (unsigned long long)want[k]);
	}
}
#define FRAME(g, at, size, ...)                                                                    \
	do {                                                                                       \
		const uint64_t want_[] = { __VA_ARGS__ };                                          \
		frame_is(g, at, size, want_, sizeof(want_) / sizeof(want_[0]));                    \
	} while (0)

static uint64_t handler(unsigned int vector)
{
	return G_HANDLER + vector * 16;
}

static struct guest *start_long(unsigned int cs)
{
	struct guest *g = guest_new(1, NULL);

	guest_long(g, cs);
	for (unsigned int v = 0; v < 256; v++)
		guest_gate64(g, v, G_CS64, 14, 0, 0);
	return g;
}

static void test_long_ud(void **state)
{
	struct guest *g = start_long(G_CS64);

	GUEST_CODE(g, G_CODE, 0x90, 0x0f, 0x0b);
	g->st.rflags = 0x202;
	g->st.gpr[CPU_RSP] = G_STACK0 - 3; /* the frame is aligned to 16 */
	assert_int_equal(guest_run(g, handler(6)), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.rip, handler(6));
	assert_int_equal(g->st.gpr[CPU_RSP], G_STACK0 - 16 - 40);
	FRAME(g, G_STACK0 - 56, 8, G_CODE + 1, G_CS64, 0x10202, G_STACK0 - 3, G_DS);
	assert_int_equal(g->st.rflags, 2);
	guest_free(g);
}

static void test_long_pf_from_ring3(void **state)
{
	struct guest *g = start_long(G_CS3_64);

	/* mov [0x5000], eax where 0x5000 is read-only for users */
	put_le64(g->ram + G_PT + 0x3000 + 5 * 8, 0x5000 | 5);
	GUEST_CODE(g, G_CODE, 0x89, 0x04, 0x25, 0x34, 0x50, 0, 0);
	g->st.rflags = 0x202;
	assert_int_equal(guest_run(g, handler(14)), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.cr2, 0x5034);
	assert_int_equal(cpu_state_cpl(&g->st), 0);
	assert_int_equal(g->st.seg[CPU_SS].sel, 0);
	FRAME(g, G_TSS_STACK - 48, 8, 7, G_CODE, G_CS3_64, 0x10202, G_STACK3, G_DS3);
	assert_int_equal(get_le64(g->ram + G_PT + 0x3000 + 5 * 8), 0x5000 | 5);
	guest_free(g);
}

static void test_long_ist(void **state)
{
	struct guest *g = start_long(G_CS64);

	guest_gate64(g, 6, G_CS64, 15, 0, 1);
	GUEST_CODE(g, G_CODE, 0x0f, 0x0b);
	g->st.rflags = 0x202;
	assert_int_equal(guest_run(g, handler(6)), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.gpr[CPU_RSP], G_IST1 - 40);
	assert_int_equal(g->st.rflags, 0x202); /* trap gate: IF stays */
	guest_free(g);
}

static void test_long_int_dpl(void **state)
{
	struct guest *g = start_long(G_CS3_64);

	GUEST_CODE(g, G_CODE, 0xcd, 0x40); /* gate DPL 0 */
	assert_int_equal(guest_run(g, handler(13)), CPU_EXIT_DEBUG);
	FRAME(g, G_TSS_STACK - 48, 8, 0x40 * 8 + 2, G_CODE, G_CS3_64);
	guest_gate64(g, 0x40, G_CS64, 14, 3, 0);
	guest_segs(g, G_CS3_64, G_DS3);
	assert_int_equal(guest_run(g, handler(0x40)), CPU_EXIT_DEBUG);
	FRAME(g, G_TSS_STACK - 40, 8, G_CODE + 2, G_CS3_64);
	guest_free(g);
}

static void test_double_fault(void **state)
{
	struct guest *g = start_long(G_CS64);

	/* #GP handler's code segment is null: #GP during #GP */
	guest_gate64(g, 13, 0, 14, 0, 0);
	guest_gate64(g, 8, G_CS64, 14, 0, 1);
	GUEST_CODE(g, G_CODE, 0x48, 0xa1, 0, 0, 0, 0, 0, 0, 0, 0x80); /* non-canonical load */
	assert_int_equal(guest_run(g, handler(8)), CPU_EXIT_DEBUG);
	FRAME(g, G_IST1 - 48, 8, 0, G_CODE, G_CS64);
	guest_free(g);
}

static void test_benign_then_fault(void **state)
{
	struct guest *g = start_long(G_CS64);

	/* #UD is benign: a missing handler is #NP with EXT, not a double fault */
	g->ram[G_IDT + 6 * 16 + 5] &= 0x7f;
	GUEST_CODE(g, G_CODE, 0x0f, 0x0b);
	assert_int_equal(guest_run(g, handler(11)), CPU_EXIT_DEBUG);
	FRAME(g, G_STACK0 - 48, 8, 6 * 8 + 2 + 1, G_CODE, G_CS64);
	guest_free(g);
}

static void test_triple_fault(void **state)
{
	struct guest *g = start_long(G_CS64);

	g->st.idtr.limit = 0;
	GUEST_CODE(g, G_CODE, 0x0f, 0x0b);
	assert_int_equal(guest_run(g, 0), CPU_EXIT_SHUTDOWN);
	assert_non_null(strstr(err_text(&g->err), "triple fault"));
	/* and so again */
	assert_int_equal(cpu_run(g->cpu, &g->err), CPU_EXIT_SHUTDOWN);
	guest_free(g);
}

/* Far returns read the last value first, IRET in 64-bit mode all five before it looks at them: CR2 tells. */
static void test_far_returns_read_downwards(void **state)
{
	enum { GONE = 0x5000, FRAME_AT = GONE - 32 };
	static const struct {
		uint8_t code[3];
		uint32_t rsp, cr2;
	} cases[] = {
		{ { 0x48, 0xcb }, GONE + 64, GONE + 64 + 8 },  /* retf, 64 bits */
		{ { 0xcb }, GONE + 64, GONE + 64 + 4 },	       /* 32 */
		{ { 0x66, 0xcb }, GONE + 64, GONE + 64 + 2 },  /* 16 */
		{ { 0x48, 0xcf }, GONE + 64, GONE + 64 + 16 }, /* iret, 64 bits */
		{ { 0xcf }, GONE + 64, GONE + 64 + 8 },	       /* 32 */
		{ { 0x48, 0xcf }, FRAME_AT, GONE },	       /* SS is not there, CS is null */
		{ { 0x48, 0xcf }, FRAME_AT + 8, GONE + 8 },    /* RSP is not there, either */
	};

	for (unsigned int k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		struct guest *g = start_long(G_CS64);

		guest_gate64(g, 14, G_CS64, 14, 0, 1);
		put_le64(g->ram + G_PT + 0x3000 + 5 * 8, 0);
		memset(g->ram + FRAME_AT, 0, GONE - FRAME_AT);
		memcpy(g->ram + G_CODE, cases[k].code, sizeof(cases[k].code));
		g->st.gpr[CPU_RSP] = cases[k].rsp;
		assert_int_equal(guest_run(g, handler(14)), CPU_EXIT_DEBUG);
		assert_int_equal(g->st.cr2, cases[k].cr2);
		FRAME(g, G_IST1 - 48, 8, 0, G_CODE, G_CS64);
		guest_free(g);
	}
}

static void test_iretq_to_ring3(void **state)
{
	struct guest *g = start_long(G_CS64);
	const uint64_t frame[] = { G_CODE + 0x100, G_CS3_64, 0x203, 0x2fff0, G_DS3 };

	guest_code(g, G_STACK0 - 40, frame, sizeof(frame));
	g->st.gpr[CPU_RSP] = G_STACK0 - 40;
	GUEST_CODE(g, G_CODE, 0x48, 0xcf);
	GUEST_CODE(g, G_CODE + 0x100, 0x90, 0x90);
	assert_int_equal(guest_run(g, G_CODE + 0x101), CPU_EXIT_DEBUG);
	assert_int_equal(cpu_state_cpl(&g->st), 3);
	assert_int_equal(g->st.gpr[CPU_RSP], 0x2fff0);
	assert_int_equal(g->st.rflags, 0x203);
	/* Data segments of ring 0 are gone. */
	assert_int_equal(g->st.seg[CPU_DS].sel, 0);
	assert_int_equal(g->st.seg[CPU_DS].attr & SEG_P, 0);
	guest_free(g);
}

static void test_syscall_sysret(void **state)
{
	struct guest *g = start_long(G_CS3_64);

	g->st.star = (uint64_t)(G_CS3_32) << 48 | (uint64_t)G_CS64 << 32;
	g->st.lstar = G_CODE + 0x200;
	g->st.sfmask = RFLAGS_IF | RFLAGS_DF;
	g->st.rflags = 0x602;
	guest_desc(g, G_CS3_32 & ~3, 0, 0xfffff, 0xcfb);
	GUEST_CODE(g, G_CODE, 0x0f, 0x05, 0x90);
	GUEST_CODE(g, G_CODE + 0x200, 0x90, 0x48, 0x0f, 0x07);
	assert_int_equal(guest_run(g, G_CODE + 0x201), CPU_EXIT_DEBUG);
	assert_int_equal(cpu_state_cpl(&g->st), 0);
	assert_int_equal(g->st.gpr[CPU_RCX], G_CODE + 2);
	assert_int_equal(g->st.gpr[CPU_R11], 0x602);
	assert_int_equal(g->st.rflags, 2);
	assert_int_equal(g->st.seg[CPU_CS].sel, G_CS64);
	assert_int_equal(guest_run(g, G_CODE + 2), CPU_EXIT_DEBUG);
	assert_int_equal(cpu_state_cpl(&g->st), 3);
	assert_int_equal(g->st.rflags, 0x602);
	assert_int_equal(g->st.seg[CPU_CS].sel, (G_CS3_32 + 16) | 3);
	guest_free(g);
}

static void test_single_step(void **state)
{
	struct guest *g = start_long(G_CS64);

	/* pushfq; or dword [rsp], 0x100; popfq; nop; nop */
	GUEST_CODE(g, G_CODE, 0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x90, 0x90);
	assert_int_equal(guest_run(g, handler(1)), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.dr6 & 0xf00f, 0x4000);
	/* POPF itself is not trapped; the instruction after it is. */
	FRAME(g, G_STACK0 - 40, 8, G_CODE + 10, G_CS64, 0x102);
	guest_free(g);
}

static void test_code_breakpoint(void **state)
{
	struct guest *g = start_long(G_CS64);

	GUEST_CODE(g, G_CODE, 0x90, 0x90, 0x90);
	GUEST_CODE(g, handler(1), 0x80, 0x4c, 0x24, 0x12, 0x01, 0x48, 0xcf); /* set RF; iretq */
	g->st.dr[1] = G_CODE + 1;
	g->st.dr7 = 0x404;
	g->st.dr6 = 0xffff0ff0 | 8;
	assert_int_equal(guest_run(g, handler(1)), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.dr6, 0xffff0ff0 | 2);
	FRAME(g, G_STACK0 - 40, 8, G_CODE + 1, G_CS64, 2);
	/* RF lets the instruction run once, and is gone after it. */
	assert_int_equal(guest_run(g, G_CODE + 2), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.rflags & RFLAGS_RF, 0);
	guest_free(g);
}

static void test_data_breakpoint(void **state)
{
	struct guest *g = start_long(G_CS64);

	/* mov al,[0x5003] (read: no match); mov [0x5002],eax; nop */
	GUEST_CODE(g, G_CODE, 0x8a, 0x04, 0x25, 3, 0x50, 0, 0, 0x89, 0x04, 0x25, 2, 0x50, 0, 0,
		   0x90);
	g->st.dr[0] = 0x5004;
	g->st.dr7 = 0x400 | 1 | 0x1 << 16 | 0x1 << 18; /* write, 2 bytes */
	assert_int_equal(guest_run(g, handler(1)), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.dr6 & 0xf, 1);
	FRAME(g, G_STACK0 - 40, 8, G_CODE + 14, G_CS64, 2);
	guest_free(g);
}

static void test_nmi_masked_until_iret(void **state)
{
	struct guest *g = start_long(G_CS64);

	GUEST_CODE(g, G_CODE, 0x90, 0x90);
	GUEST_CODE(g, handler(2), 0x90, 0x48, 0xcf);
	g->st.ev.nmi_pending = 2;
	assert_int_equal(guest_run(g, handler(2)), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.ev.nmi_pending, 1);
	assert_true(g->st.ev.nmi_masked);
	FRAME(g, G_STACK0 - 40, 8, G_CODE, G_CS64);
	assert_int_equal(guest_run(g, handler(2) + 1), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.ev.nmi_pending, 1);
	/* After IRET comes the second one. */
	assert_int_equal(guest_run(g, handler(2)), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.ev.nmi_pending, 0);
	assert_int_equal(guest_run(g, G_CODE + 1), CPU_EXIT_DEBUG);
	assert_false(g->st.ev.nmi_masked);
	guest_free(g);
}

/* --- 32 bits -------------------------------------------------------------------------------------- */

static struct guest *start_protected(unsigned int cs)
{
	struct guest *g = guest_new(1, NULL);

	guest_protected(g, cs);
	for (unsigned int v = 0; v < 256; v++)
		guest_gate32(g, v, G_CS32, 14, 3);
	return g;
}

static void test_protected_same_ring(void **state)
{
	struct guest *g = start_protected(G_CS32);

	GUEST_CODE(g, G_CODE, 0x8e, 0xd8); /* mov ds, eax */
	g->st.gpr[CPU_RAX] = 0x3ff8;
	g->st.rflags = 0x203;
	assert_int_equal(guest_run(g, handler(13)), CPU_EXIT_DEBUG);
	FRAME(g, G_STACK0 - 16, 4, 0x3ff8, G_CODE, G_CS32, 0x10203);
	guest_free(g);
}

static void test_protected_ring3_int_16bit_gate(void **state)
{
	struct guest *g = start_protected(G_CS3_32);

	guest_gate32(g, 0x80, G_CS32, 6, 3);
	put_le16(g->ram + G_IDT + 0x80 * 8, 0xb800);
	GUEST_CODE(g, G_CODE, 0xcd, 0x80);
	g->st.rflags = 0x202;
	assert_int_equal(guest_run(g, 0xb800), CPU_EXIT_DEBUG);
	FRAME(g, G_TSS_STACK - 10, 2, G_CODE + 2, G_CS3_32, 0x202, G_STACK3 & 0xffff, G_DS3);
	assert_int_equal(g->st.seg[CPU_SS].sel, G_DS);
	guest_free(g);
}

static void test_bad_stack_in_tss(void **state)
{
	struct guest *g = start_protected(G_CS3_32);

	put_le16(g->ram + G_TSS + 8,
		 G_DS3); /* DPL 3 for ring 0: #TS, which needs the stack too: #DF, shutdown */
	GUEST_CODE(g, G_CODE, 0xcd, 0x80);
	assert_int_equal(guest_run(g, 0), CPU_EXIT_SHUTDOWN);
	guest_free(g);
}

static void test_v86_interrupt_and_return(void **state)
{
	struct guest *g = guest_new(1, NULL);

	guest_v86(g);
	for (unsigned int v = 0; v < 256; v++)
		guest_gate32(g, v, G_CS32, 14, 3);
	g->st.rflags |= RFLAGS_IOPL | RFLAGS_IF;
	g->st.seg[CPU_GS].sel = 0x1234;
	g->st.seg[CPU_GS].base = 0x12340;
	GUEST_CODE(g, G_CODE, 0xcd, 0x21, 0x90);
	GUEST_CODE(g, handler(0x21), 0xcf);
	assert_int_equal(guest_run(g, handler(0x21)), CPU_EXIT_DEBUG);
	FRAME(g, G_TSS_STACK - 36, 4, G_CODE + 2, 0, 0x23202, 0x7000, 0, 0, 0, 0, 0x1234);
	assert_int_equal(g->st.rflags, 0x3002);
	assert_int_equal(g->st.seg[CPU_GS].attr & SEG_P, 0);
	assert_int_equal(guest_run(g, G_CODE + 2), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.rflags, 0x23202);
	assert_int_equal(g->st.seg[CPU_GS].base, 0x12340);
	assert_int_equal(g->st.seg[CPU_SS].attr, 0xf3);
	guest_free(g);
}

static void test_v86_redirection(void **state)
{
	struct guest *g = guest_new(1, NULL);

	/* The bitmap lies 32 bytes below the I/O map; its bit is clear: the program's own handler. */
	guest_v86(g);
	g->st.cr4 |= CR4_VME;
	g->st.tr.limit = 0x100;
	put_le16(g->ram + G_TSS + 102, 0x90);
	put_le32(g->ram + 0x21 * 4, 0x0b000040);
	g->st.rflags |= RFLAGS_VIF; /* IOPL 0 */
	GUEST_CODE(g, G_CODE, 0xcd, 0x21);
	assert_int_equal(guest_run(g, 0xb040), CPU_EXIT_DEBUG);
	FRAME(g, 0x7000 - 6, 2, G_CODE + 2, 0, 0x3202);
	assert_int_equal(g->st.rflags & (RFLAGS_VIF | RFLAGS_VM), RFLAGS_VM);
	guest_free(g);
}

static void test_call_gate_with_parameters(void **state)
{
	struct guest *g = start_protected(G_CS3_32);
	uint8_t *gate = g->ram + G_GDT + G_FREE;

	put_le32(gate, G_CS32 << 16 | (G_CODE + 0x300));
	put_le32(gate + 4, 0xec02); /* 32-bit call gate, DPL 3, two parameters */
	/* push 1; push 2; call far G_FREE|3:0 */
	GUEST_CODE(g, G_CODE, 0x6a, 1, 0x6a, 2, 0x9a, 0, 0, 0, 0, G_FREE | 3, 0, 0x90);
	GUEST_CODE(g, G_CODE + 0x300, 0x90, 0xca, 8, 0); /* retf 8 */
	assert_int_equal(guest_run(g, G_CODE + 0x301), CPU_EXIT_DEBUG);
	FRAME(g, G_TSS_STACK - 24, 4, G_CODE + 11, G_CS3_32, 2, 1, G_STACK3 - 8, G_DS3);
	assert_int_equal(cpu_state_cpl(&g->st), 0);
	assert_int_equal(guest_run(g, G_CODE + 11), CPU_EXIT_DEBUG);
	assert_int_equal(cpu_state_cpl(&g->st), 3);
	assert_int_equal(g->st.gpr[CPU_RSP], G_STACK3);
	assert_int_equal(g->st.seg[CPU_SS].sel, G_DS3);
	guest_free(g);
}

static void test_real_int(void **state)
{
	struct guest *g = guest_new(1, NULL);

	guest_real(g);
	put_le32(g->ram + 0x10 * 4, 0x0a800023);
	GUEST_CODE(g, G_CODE, 0xcd, 0x10, 0x90);
	GUEST_CODE(g, 0xa823, 0xcf);
	g->st.rflags = 0x302 & ~0x100;
	assert_int_equal(guest_run(g, 0xa823), CPU_EXIT_DEBUG);
	FRAME(g, 0x7000 - 6, 2, G_CODE + 2, 0, 0x202);
	assert_int_equal(g->st.seg[CPU_CS].sel, 0xa80);
	assert_int_equal(g->st.rflags, 2);
	assert_int_equal(guest_run(g, G_CODE + 2), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.rflags, 0x202);
	guest_free(g);
}

static void test_real_limit(void **state)
{
	struct guest *g = guest_new(1, NULL);

	/* a word at ffff is beyond the segment: #GP, which has no error code here */
	guest_real(g);
	put_le32(g->ram + 13 * 4, 0x0a800000);
	GUEST_CODE(g, G_CODE, 0xa1, 0xff, 0xff);
	assert_int_equal(guest_run(g, 0xa800), CPU_EXIT_DEBUG);
	FRAME(g, 0x7000 - 6, 2, G_CODE, 0);
	guest_free(g);
}

/* --- memory --------------------------------------------------------------------------------------- */

static void test_page_crossing_store_is_all_or_nothing(void **state)
{
	struct guest *g = start_long(G_CS64);

	put_le64(g->ram + G_PT + 0x3000 + 6 * 8, 0);
	GUEST_CODE(g, G_CODE, 0x48, 0x89, 0x04, 0x25, 0xfd, 0x5f, 0, 0); /* mov [0x5ffd], rax */
	g->st.gpr[CPU_RAX] = UINT64_MAX;
	assert_int_equal(guest_run(g, handler(14)), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.cr2, 0x6000);
	FRAME(g, G_STACK0 - 48, 8, 2, G_CODE);
	assert_int_equal(g->ram[0x5ffd], 0);
	guest_free(g);
}

static void test_mmio_pieces(void **state)
{
	struct guest *g = start_long(G_CS64);

	put_le64(g->ram + G_PT + 0x3000 + 5 * 8, UINT64_C(0xfe000000) | 3);
	GUEST_CODE(g, G_CODE, 0x48, 0x8b, 0x04, 0x25, 5, 0x50, 0, 0, 0x90); /* mov rax, [0x5005] */
	assert_int_equal(guest_run(g, G_CODE + 8), CPU_EXIT_DEBUG);
	/* bytes 5, 6-7 of the first word, then 0-3, 4 of the next */
	assert_int_equal(g->mmio_reads, 4);
	assert_true(g->st.gpr[CPU_RAX] == UINT64_C(0x5544332211887766));
	guest_free(g);
}

static void test_stack_fault_vector(void **state)
{
	struct guest *g = start_long(G_CS64);

	GUEST_CODE(g, G_CODE, 0x8a, 0x45, 0x00); /* mov al, [rbp] */
	guest_gate64(g, 12, G_CS64, 14, 0, 0);
	g->st.gpr[CPU_RBP] = UINT64_C(0x8000000000000000);
	assert_int_equal(guest_run(g, handler(12)), CPU_EXIT_DEBUG);
	guest_free(g);
}

static void test_alignment_check(void **state)
{
	struct guest *g = start_long(G_CS3_64);

	g->st.cr0 |= CR0_AM;
	g->st.rflags |= RFLAGS_AC;
	GUEST_CODE(g, G_CODE, 0x8b, 0x04, 0x25, 4, 0x50, 0, 0, 0x8b, 0x04, 0x25, 2, 0x50, 0, 0);
	assert_int_equal(guest_run(g, handler(17)), CPU_EXIT_DEBUG);
	FRAME(g, G_TSS_STACK - 48, 8, 0, G_CODE + 7, G_CS3_64);
	guest_free(g);
}

static void test_smap(void **state)
{
	struct guest *g = start_long(G_CS64);

	/* everything is user memory except code, stack and tables */
	for (unsigned int k = 0; k < 512; k++)
		if (k != 5)
			put_le64(g->ram + G_PT + 0x3000 + k * 8, k << 12 | 3);
	g->st.cr4 |= CR4_SMAP | CR4_SMEP;
	GUEST_CODE(g, G_CODE, 0x8b, 0x04, 0x25, 0, 0x50, 0, 0, 0x90);
	g->st.rflags |= RFLAGS_AC;
	assert_int_equal(guest_run(g, G_CODE + 7), CPU_EXIT_DEBUG);
	g->st.rip = G_CODE;
	g->st.rflags &= ~(uint64_t)RFLAGS_AC;
	assert_int_equal(guest_run(g, handler(14)), CPU_EXIT_DEBUG);
	FRAME(g, G_STACK0 - 48, 8, 1, G_CODE);
	guest_free(g);
}

static void test_descriptor_accessed_bit(void **state)
{
	struct guest *g = start_protected(G_CS32);

	guest_desc(g, G_FREE, 0x1000, 0xfffff, 0xc92);
	GUEST_CODE(g, G_CODE, 0x8e, 0xd8, 0x90);
	g->st.gpr[CPU_RAX] = G_FREE;
	assert_int_equal(guest_run(g, G_CODE + 2), CPU_EXIT_DEBUG);
	assert_int_equal(g->ram[G_GDT + G_FREE + 5], 0x93);
	assert_int_equal(g->st.seg[CPU_DS].attr, 0xc93);
	assert_int_equal(g->st.seg[CPU_DS].base, 0x1000);
	guest_free(g);
}

static void test_own_code_written(void **state)
{
	struct guest *g = start_long(G_CS64);

	/* mov byte [rip+1], 0x43 changes the inc eax (ff c0) behind it to inc ebx (ff c3) */
	GUEST_CODE(g, G_CODE, 0xc6, 0x05, 1, 0, 0, 0, 0xc3, 0xff, 0xc0, 0x90);
	assert_int_equal(guest_run(g, G_CODE + 9), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.gpr[CPU_RAX], 0);
	assert_int_equal(g->st.gpr[CPU_RBX], 1);
	guest_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_long_ud),
		cmocka_unit_test(test_long_pf_from_ring3),
		cmocka_unit_test(test_long_ist),
		cmocka_unit_test(test_long_int_dpl),
		cmocka_unit_test(test_double_fault),
		cmocka_unit_test(test_benign_then_fault),
		cmocka_unit_test(test_triple_fault),
		cmocka_unit_test(test_far_returns_read_downwards),
		cmocka_unit_test(test_iretq_to_ring3),
		cmocka_unit_test(test_syscall_sysret),
		cmocka_unit_test(test_single_step),
		cmocka_unit_test(test_code_breakpoint),
		cmocka_unit_test(test_data_breakpoint),
		cmocka_unit_test(test_nmi_masked_until_iret),
		cmocka_unit_test(test_protected_same_ring),
		cmocka_unit_test(test_protected_ring3_int_16bit_gate),
		cmocka_unit_test(test_bad_stack_in_tss),
		cmocka_unit_test(test_v86_interrupt_and_return),
		cmocka_unit_test(test_v86_redirection),
		cmocka_unit_test(test_call_gate_with_parameters),
		cmocka_unit_test(test_real_int),
		cmocka_unit_test(test_real_limit),
		cmocka_unit_test(test_page_crossing_store_is_all_or_nothing),
		cmocka_unit_test(test_mmio_pieces),
		cmocka_unit_test(test_stack_fault_vector),
		cmocka_unit_test(test_alignment_check),
		cmocka_unit_test(test_smap),
		cmocka_unit_test(test_descriptor_accessed_bit),
		cmocka_unit_test(test_own_code_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
