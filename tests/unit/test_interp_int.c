// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The interpreter's integer instructions in 64-bit mode, by values worked out from the manuals. The
 * differential tests compare many more with the host CPU; these say what is wrong without it.
 */
#include "interp_fixture.h"

#define CF RFLAGS_CF
#define PF RFLAGS_PF
#define AF RFLAGS_AF
#define ZF RFLAGS_ZF
#define SF RFLAGS_SF
#define OF RFLAGS_OF

#define RAX(t) ((t)->s.gpr[CPU_RAX])
#define RBX(t) ((t)->s.gpr[CPU_RBX])
#define RCX(t) ((t)->s.gpr[CPU_RCX])
#define RDX(t) ((t)->s.gpr[CPU_RDX])

/* Fresh state, then rax and rbx, flags cleared but @flags. */
static void begin(struct interp_test *t, uint64_t rax, uint64_t rbx, uint64_t flags)
{
	test_reset_state(t);
	RAX(t) = rax;
	RBX(t) = rbx;
	RDX(t) = 0;
	t->s.gpr[CPU_RDI] = DATA;
	t->s.rflags |= flags;
}

#define ALU(text, rax, rbx, in_flags, want, want_flags)                                            \
	do {                                                                                       \
		begin(t, rax, rbx, in_flags);                                                      \
		RUN(t, text);                                                                      \
		assert_no_fault(t);                                                                \
		assert_int_equal(RAX(t), want);                                                    \
		assert_int_equal(STATUS(t), want_flags);                                           \
	} while (0)

static void test_add_sub(void **state)
{
	struct interp_test *t = *state;

	ALU("add rax, rbx", 1, 2, 0, 3, PF);
	ALU("add eax, ebx", UINT64_C(0xffffffff80000000), 0x80000000, 0, 0, CF | PF | ZF | OF);
	ALU("add ax, bx", 0x1234ffff, 1, 0, 0x12340000, CF | PF | AF | ZF);
	ALU("add al, bl", 0x7f, 1, 0, 0x80, AF | SF | OF);
	ALU("add ah, bl", 0xff00, 1, 0, 0, CF | PF | AF | ZF);
	ALU("adc rax, rbx", 1, 2, CF, 4, 0);
	ALU("adc al, 0xff", 0, 0, CF, 0, CF | PF | AF | ZF);
	ALU("sub rax, rbx", 1, 2, 0, UINT64_MAX, CF | PF | AF | SF);
	ALU("sbb eax, ebx", 5, 4, CF, 0, PF | ZF);
	ALU("sub rax, -1", 0, 0, 0, 1, CF | AF);
	ALU("cmp rax, rbx", 7, 7, CF, 7, PF | ZF);
	ALU("inc al", 0xff, 0, CF, 0, CF | PF | AF | ZF);
	ALU("dec eax", 0, 0, 0, 0xffffffff, PF | AF | SF);
	ALU("neg rax", 1, 0, 0, UINT64_MAX, CF | PF | AF | SF);
	ALU("neg ax", 0, 0, 0, 0, PF | ZF);
	ALU("not eax", 0, 0, CF | ZF, 0xffffffff, CF | ZF);
}

static void test_logic(void **state)
{
	struct interp_test *t = *state;

	ALU("and rax, rbx", 0xff00, 0x0ff0, CF | OF, 0x0f00, PF);
	ALU("or eax, ebx", 0x80000000, 1, CF, 0x80000001, SF);
	ALU("xor eax, eax", UINT64_MAX, 0, CF, 0, PF | ZF);
	ALU("test al, 0x80", 0x80, 0, 0, 0x80, SF);
	ALU("and ax, -2", 0x1ffff, 0, 0, 0x1fffe, SF);
}

static void test_memory_forms(void **state)
{
	struct interp_test *t = *state;

	put_le64(t->ram + DATA, 0x100);
	ALU("add rax, [rdi]; add [rdi], rax; add qword ptr [rdi], 1", 1, 0, 0, 0x101, 0);
	assert_int_equal(get_le64(t->ram + DATA), 0x202);
	put_le64(t->ram + DATA, UINT64_C(0x1122334455667788));
	begin(t, 0, 0, 0);
	RUN(t, "inc byte ptr [rdi]; not word ptr [rdi+2]; neg dword ptr [rdi+4]; mov eax, [rdi]");
	assert_int_equal(get_le64(t->ram + DATA), UINT64_C(0xeeddccbcaa997789));
	assert_int_equal(RAX(t), 0xaa997789);
	begin(t, 2, 0x10, 0);
	RUN(t, "mov [rdi + rax*8 + 0x10], rbx; lea rcx, [rdi + rax*8 + 0x10]; mov rdx, [rcx]");
	assert_int_equal(RCX(t), DATA + 0x20);
	assert_int_equal(RDX(t), 0x10);
}

static void test_shifts(void **state)
{
	struct interp_test *t = *state;

	/* AF is undefined, OF too for counts other than 1. */
	begin(t, 0xc0000000, 0, 0);
	RUN(t, "shl eax, 1");
	assert_int_equal(RAX(t), 0x80000000);
	assert_int_equal(STATUS(t) & ~(uint64_t)AF, CF | PF | SF);
	begin(t, 0x81, 0, 0);
	RUN(t, "shr al, 1");
	assert_int_equal(RAX(t), 0x40);
	assert_int_equal(STATUS(t) & ~(uint64_t)AF, CF | OF);
	begin(t, UINT64_C(1) << 63, 0, 0);
	RUN(t, "sar rax, 63");
	assert_int_equal(RAX(t), UINT64_MAX);
	begin(t, 0x1234, 0, ZF | SF);
	RUN(t, "rol ax, 4");
	assert_int_equal(RAX(t), 0x2341);
	assert_int_equal(STATUS(t) & ~(uint64_t)OF, CF | ZF | SF);
	ALU("ror eax, 1", 1, 0, 0, 0x80000000, CF | OF);
	ALU("rcl rax, 1", UINT64_C(1) << 63, 0, 0, 0, CF | OF);
	ALU("rcr al, 1", 0, 0, CF, 0x80, OF);
	/* A count of 0 changes no flag, and clears the upper half of a 32-bit register. */
	begin(t, UINT64_MAX, 0, CF | ZF);
	RCX(t) = 32;
	RUN(t, "shl eax, cl");
	assert_int_equal(RAX(t), 0xffffffff);
	assert_int_equal(STATUS(t), CF | ZF);
	begin(t, UINT64_C(0x8000000000000000), UINT64_C(0xf000000000000000), 0);
	RUN(t, "shld rax, rbx, 4");
	assert_int_equal(RAX(t), 0xf);
	begin(t, 0x12345678, 0xabcdef01, 0);
	RUN(t, "shrd eax, ebx, 8");
	assert_int_equal(RAX(t), 0x01123456);
	put_le32(t->ram + DATA, 0x80000001);
	begin(t, 0, 0, 0);
	RCX(t) = 4;
	RUN(t, "rol dword ptr [rdi], cl; shr dword ptr [rdi]");
	assert_int_equal(get_le32(t->ram + DATA), 0xc);
}

static void test_mul_div(void **state)
{
	struct interp_test *t = *state;

	begin(t, UINT64_MAX, UINT64_MAX, 0);
	RUN(t, "mul rbx");
	assert_int_equal(RAX(t), 1);
	assert_int_equal(RDX(t), UINT64_MAX - 1);
	assert_int_equal(STATUS(t) & (CF | OF), CF | OF);
	begin(t, 0x10, 0x10, 0);
	RUN(t, "mul bl");
	assert_int_equal(RAX(t), 0x100);
	begin(t, 0xffffffff, 0xffffffff, 0);
	RUN(t, "imul ebx");
	assert_int_equal(RAX(t), 1);
	assert_int_equal(RDX(t), 0);
	assert_int_equal(STATUS(t) & (CF | OF), 0);
	begin(t, 0, 7, 0);
	RUN(t, "imul rax, rbx, -3; imul rbx, rax");
	assert_int_equal(RAX(t), (uint64_t)-21);
	assert_int_equal(RBX(t), (uint64_t)-147);
	begin(t, 100, 7, 0);
	RUN(t, "xor edx, edx; div rbx");
	assert_int_equal(RAX(t), 14);
	assert_int_equal(RDX(t), 2);
	begin(t, (uint64_t)-100, 7, 0);
	RUN(t, "cqo; idiv rbx");
	assert_int_equal(RAX(t), (uint64_t)-14);
	assert_int_equal(RDX(t), (uint64_t)-2);
	begin(t, 0x0203, 2, 0);
	RUN(t, "div bl");
	assert_fault(t, 0);
	begin(t, 0x0203, 0x80, 0);
	RUN(t, "idiv bl");
	assert_no_fault(t);
	assert_int_equal(RAX(t), 0x03fc); /* 515 / -128 = -4, remainder 3 */
	begin(t, 0, UINT64_MAX, 0);
	RDX(t) = UINT64_C(1) << 63;
	RUN(t, "idiv rbx");
	assert_fault(t, 0);
	begin(t, 5, 0, 0);
	RUN(t, "div rbx");
	assert_fault(t, 0);
	assert_int_equal(t->fault_rip, CODE);
	begin(t, 0x80000000, 0xffffffff, 0);
	RUN(t, "cdq; idiv ebx");
	assert_fault(t, 0);
	begin(t, 0x80000001, 0xffffffff, 0);
	RUN(t, "cdq; idiv ebx");
	assert_no_fault(t);
	assert_int_equal(RAX(t), 0x7fffffff);
}

static void test_bits(void **state)
{
	struct interp_test *t = *state;

	begin(t, 4, 67, 0);
	RUN(t, "bt rax, 2; setc cl; bts rax, rbx; btr eax, 2; btc rax, 63");
	assert_int_equal(RCX(t) & 0xff, 1);
	assert_int_equal(RAX(t), UINT64_C(0x8000000000000008));
	put_le64(t->ram + DATA - 8, 0);
	put_le64(t->ram + DATA, 0);
	begin(t, (uint64_t)-1, 0, 0);
	RUN(t, "bts [rdi], rax; bts qword ptr [rdi], 3; bts [rdi], ax");
	assert_int_equal(get_le64(t->ram + DATA - 8), UINT64_C(1) << 63);
	assert_int_equal(get_le64(t->ram + DATA), 8);
	begin(t, 0x50, 0, 0);
	RUN(t, "bsf ecx, eax; bsr edx, eax");
	assert_int_equal(RCX(t), 4);
	assert_int_equal(RDX(t), 6);
	begin(t, 0x1234, 0, 0);
	RUN(t, "bsf rax, rbx");
	assert_int_equal(RAX(t), 0x1234);
	assert_int_equal(STATUS(t) & ZF, ZF);
	begin(t, 0, 0xf0f0, 0);
	RUN(t, "popcnt rax, rbx; tzcnt rcx, rbx; lzcnt edx, ebx");
	assert_int_equal(RAX(t), 8);
	assert_int_equal(RCX(t), 4);
	assert_int_equal(RDX(t), 16);
}

static void test_moves(void **state)
{
	struct interp_test *t = *state;

	begin(t, UINT64_MAX, 0x80, 0);
	RUN(t, "mov eax, 1; movzx ecx, bl; movsx rdx, bl; movsxd rsi, ebx");
	assert_int_equal(RAX(t), 1);
	assert_int_equal(RCX(t), 0x80);
	assert_int_equal(RDX(t), (uint64_t)-128);
	assert_int_equal(t->s.gpr[CPU_RSI], 0x80);
	begin(t, 0, 0x1234, 0);
	RUN(t, "mov al, bh; mov ah, bl; mov r9b, bl; movabs rcx, 0x1122334455667788; bswap rcx");
	assert_int_equal(RAX(t), 0x3412);
	assert_int_equal(t->s.gpr[CPU_R9], 0x34);
	assert_int_equal(RCX(t), UINT64_C(0x8877665544332211));
	begin(t, 1, 2, ZF);
	RUN(t, "cmovz rax, rbx; cmovnz ecx, ebx; setle dl; xchg rax, rbx");
	assert_int_equal(RAX(t), 2);
	assert_int_equal(RBX(t), 2);
	assert_int_equal(RCX(t), 0);
	assert_int_equal(RDX(t), 1);
	begin(t, 0x80, 0, 0);
	RUN(t, "cbw; mov rbx, rax; cwde; mov rcx, rax; cdqe; cqo");
	assert_int_equal(RBX(t), 0xff80);
	assert_int_equal(RCX(t), 0xffffff80);
	assert_int_equal(RAX(t), (uint64_t)-128);
	assert_int_equal(RDX(t), UINT64_MAX);
	put_le64(t->ram + DATA, 0x0102030405060708);
	begin(t, 3, DATA, 0);
	RUN(t, "xlatb; movbe ecx, [rdi]; movbe [rdi], rcx; movabs eax, [0x30000]");
	assert_int_equal(RCX(t), 0x08070605);
	assert_int_equal(get_le64(t->ram + DATA), UINT64_C(0x0506070800000000));
	begin(t, 0xd500, 0, 0);
	RUN(t, "sahf; lahf; cmc; mov rbx, rax");
	assert_int_equal(RBX(t), 0xd700);
	assert_int_equal(STATUS(t), PF | AF | ZF | SF);
}

static void test_rip_relative(void **state)
{
	struct interp_test *t = *state;

	begin(t, 0, 0, 0);
	RUN(t, "mov rax, [rip + 2]; jmp 1f; .quad 0x1122334455667788; 1: lea rbx, [rip]");
	assert_int_equal(RAX(t), 0x1122334455667788);
	assert_int_equal(RBX(t), CODE + 7 + 2 + 8 + 7);
}

static void test_atomics(void **state)
{
	struct interp_test *t = *state;

	put_le64(t->ram + DATA, 10);
	begin(t, 10, 3, 0);
	RUN(t, "lock xadd [rdi], rbx; lock cmpxchg [rdi], rcx; lock inc qword ptr [rdi]");
	assert_int_equal(RBX(t), 10);
	assert_int_equal(RAX(t), 13);
	assert_int_equal(get_le64(t->ram + DATA), 14);
	begin(t, 14, 0x55, 0);
	RUN(t, "lock cmpxchg [rdi], rbx; xchg rax, [rdi]; lock bts qword ptr [rdi], 0");
	assert_int_equal(RAX(t), 0x55);
	assert_int_equal(get_le64(t->ram + DATA), 15);
	assert_int_equal(STATUS(t) & CF, 0);
	/* Across a page: in steps, with everybody else standing still. */
	put_le32(t->ram + DATA + 0xffe, 0xffff0000);
	begin(t, 0x10000, 0, 0);
	RUN(t, "lock add [rdi + 0xffe], eax");
	assert_int_equal(get_le32(t->ram + DATA + 0xffe), 0);
	assert_int_equal(STATUS(t), CF | PF | ZF);
	put_le64(t->ram + DATA, 1);
	put_le64(t->ram + DATA + 8, 2);
	begin(t, 1, 5, 0);
	RDX(t) = 2;
	RCX(t) = 6;
	RUN(t, "lock cmpxchg16b [rdi]");
	assert_int_equal(get_le64(t->ram + DATA), 5);
	assert_int_equal(get_le64(t->ram + DATA + 8), 6);
	assert_int_equal(STATUS(t) & ZF, ZF);
	begin(t, 1, 5, 0);
	RUN(t, "cmpxchg16b [rdi + 8]");
	assert_fault(t, 13);
	begin(t, 1, 5, 0);
	RUN(t, "cmpxchg8b [rdi]");
	assert_int_equal(RAX(t), 5);
	assert_int_equal(RDX(t), 0);
	begin(t, 0, 0, 0);
	RUN(t, ".byte 0xf0, 0x8b, 0x07"); /* lock mov */
	assert_fault(t, 6);
	begin(t, 0, 0, 0);
	RUN(t, ".byte 0xf0, 0x01, 0xd8"); /* lock add eax, ebx */
	assert_fault(t, 6);
}

static void test_legacy_only(void **state)
{
	struct interp_test *t = *state;

	test_legacy_state(t, 32);
	RAX(t) = 0x79;
	RBX(t) = 0x35;
	RUN_BITS(t, "32", "add al, bl; daa");
	assert_no_fault(t);
	assert_int_equal(RAX(t), 0x14);
	assert_int_equal(STATUS(t) & (CF | AF), CF | AF);
	test_legacy_state(t, 32);
	RAX(t) = 53;
	RUN_BITS(t, "32", "aam; mov ebx, eax; aad");
	assert_int_equal(RBX(t), 0x0503);
	assert_int_equal(RAX(t), 53);
	test_legacy_state(t, 32);
	RUN_BITS(t, "32", ".byte 0xd4, 0"); /* aam 0 */
	assert_fault(t, 0);
	test_legacy_state(t, 32);
	RUN_BITS(t, "32", "stc; .byte 0xd6; inc eax"); /* salc */
	assert_int_equal(RAX(t), 0x100);
	test_reset_state(t);
	RUN(t, ".byte 0x27"); /* daa does not exist here */
	assert_fault(t, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_add_sub, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_logic, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_memory_forms, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_shifts, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_mul_div, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_bits, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_moves, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_rip_relative, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_atomics, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_legacy_only, test_setup, test_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
