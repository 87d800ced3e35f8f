// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The interpreter's branches, stack and string instructions, the faults of each, and self-modifying code.
 */
#include "interp_fixture.h"

#define RAX(t) ((t)->s.gpr[CPU_RAX])
#define RBX(t) ((t)->s.gpr[CPU_RBX])
#define RCX(t) ((t)->s.gpr[CPU_RCX])
#define RDX(t) ((t)->s.gpr[CPU_RDX])
#define RSI(t) ((t)->s.gpr[CPU_RSI])
#define RDI(t) ((t)->s.gpr[CPU_RDI])
#define RSP(t) ((t)->s.gpr[CPU_RSP])
#define RBP(t) ((t)->s.gpr[CPU_RBP])

/* Leave a page of the first 2 MiB out of the tables, or make it read-only; put it back with 7. */
static void page_set(struct interp_test *t, uint64_t page, uint64_t bits)
{
	put_le64(t->ram + PT_PT + 8 * (page >> 12), page | bits);
}

static void begin(struct interp_test *t)
{
	test_reset_state(t);
	for (unsigned int k = 0; k < 16; k++)
		if (k != CPU_RSP)
			t->s.gpr[k] = 0;
}

/* --- branches ----------------------------------------------------------------------------------- */

static void test_jumps(void **state)
{
	struct interp_test *t = *state;

	begin(t);
	RCX(t) = 10;
	RUN(t, "2: inc eax; dec ecx; jnz 2b; jmp 3f; mov eax, 0; 3: nop");
	assert_int_equal(RAX(t), 10);
	begin(t);
	RCX(t) = 5;
	RUN(t, "2: inc eax; loop 2b; jrcxz 3f; mov eax, 0; 3: nop");
	assert_int_equal(RAX(t), 5);
	begin(t);
	RUN(t, "call 2f; inc eax; jmp 3f; 2: add eax, 10; ret; 3: nop");
	assert_int_equal(RAX(t), 11);
	assert_int_equal(RSP(t), STACK);
	begin(t);
	RUN(t, "push 1; push 2; call 2f; jmp 3f; 2: ret 16; 3: nop");
	assert_int_equal(RSP(t), STACK);
	begin(t);
	RUN(t,
	    "lea rax, [rip + 2f]; jmp rax; ud2; 2: lea rbx, [rip + 3f]; push rbx; call qword ptr [rsp]; "
	    "jmp 4f; 3: pop rcx; mov eax, 7; jmp rcx; 4: nop");
	assert_no_fault(t);
	assert_int_equal(RAX(t), 7);
}

static void test_conditions(void **state)
{
	struct interp_test *t = *state;

	/* Each condition of SETcc against each state of the flags that matter. */
	for (unsigned int f = 0; f < 32; f++) {
		bool cf = f & 1, pf = f & 2, zf = f & 4, sf = f & 8, of = f & 16;
		bool want[8] = { of, cf, zf, cf || zf, sf, pf, sf != of, zf || sf != of };

		begin(t);
		t->s.rflags |= (cf ? RFLAGS_CF : 0) | (pf ? RFLAGS_PF : 0) | (zf ? RFLAGS_ZF : 0) |
			       (sf ? RFLAGS_SF : 0) | (of ? RFLAGS_OF : 0);
		RDI(t) = DATA;
		RUN(t, "seto [rdi]; setb [rdi+1]; setz [rdi+2]; setbe [rdi+3]; sets [rdi+4]; "
		       "setp [rdi+5]; setl [rdi+6]; setle [rdi+7]; setno [rdi+8]; setnle [rdi+9]");
		for (unsigned int k = 0; k < 8; k++)
			assert_int_equal(t->ram[DATA + k], want[k]);
		assert_int_equal(t->ram[DATA + 8], !of);
		assert_int_equal(t->ram[DATA + 9], !want[7]);
	}
	/* Each Jcc, taken and not. */
	begin(t);
	RUN(t,
	    ".macro count cc, reg; j\\cc 9f; lea \\reg, [\\reg + 1]; 9:; .endm\n"
	    "xor eax, eax; count z, rdx; count nz, rcx; count s, rcx; count ns, rdx; count p, rdx; "
	    "count np, rcx; count l, rcx; count nl, rdx; count le, rdx; count nle, rcx; count b, rcx; "
	    "count nb, rdx; count be, rdx; count nbe, rcx; count o, rcx; count no, rdx");
	assert_int_equal(RDX(t), 0);
	assert_int_equal(RCX(t), 8);
}

static void test_bad_targets(void **state)
{
	struct interp_test *t = *state;

	begin(t);
	RAX(t) = UINT64_C(1) << 60;
	RUN(t, "jmp rax");
	assert_fault(t, 13);
	assert_int_equal(t->fault_rip, CODE);
	begin(t);
	RAX(t) = UINT64_C(1) << 60;
	RUN(t, "push rax; ret");
	assert_fault(t, 13);
	assert_int_equal(t->fault_rip, CODE + 1);
	begin(t);
	RAX(t) = UINT64_C(1) << 60;
	RUN(t, "call rax");
	assert_fault(t, 13);
	begin(t);
	RAX(t) = UINT64_C(0x40000000); /* not mapped: the fault is the target's */
	RUN(t, "jmp rax");
	assert_fault(t, 14);
	assert_int_equal(t->fault_rip, 0x40000000);
	assert_int_equal(t->fault_error, 0x10);
	assert_int_equal(t->s.cr2, 0x40000000);
}

static void test_soft_ints(void **state)
{
	struct interp_test *t = *state;

	begin(t);
	RUN(t, "int3");
	assert_fault(t, 3);
	assert_int_equal(t->fault_rip, CODE + 1);
	begin(t);
	RUN(t, "int 0x15");
	assert_fault(t, 0x15);
	assert_int_equal(t->fault_rip, CODE + 2);
	begin(t);
	RUN(t, "ud2");
	assert_fault(t, 6);
	assert_int_equal(t->fault_rip, CODE);
	test_legacy_state(t, 32);
	RAX(t) = 0x7fffffff;
	RUN_BITS(t, "32", "inc eax; into");
	assert_fault(t, 4);
	test_legacy_state(t, 32);
	put_le32(t->ram + DATA, 5);
	put_le32(t->ram + DATA + 4, 10);
	RAX(t) = 11;
	RBX(t) = DATA;
	RUN_BITS(t, "32", "bound eax, [ebx]");
	assert_fault(t, 5);
	test_legacy_state(t, 32);
	RAX(t) = 10;
	RBX(t) = DATA;
	RUN_BITS(t, "32", "bound eax, [ebx]");
	assert_no_fault(t);
}

/* --- stack -------------------------------------------------------------------------------------- */

static void test_push_pop(void **state)
{
	struct interp_test *t = *state;

	begin(t);
	RAX(t) = 0x1122334455667788;
	RUN(t, "push rax; push ax; pop bx; pop rcx; push -2; pop rdx; push rsp; pop rsi");
	assert_int_equal(RBX(t), 0x7788);
	assert_int_equal(RCX(t), RAX(t));
	assert_int_equal(RDX(t), (uint64_t)-2);
	assert_int_equal(RSI(t), STACK);
	begin(t);
	RUN(t,
	    "push 0x60; push 0x50; push 0x40; pop qword ptr [rsp]; pop rax; pop rbx; push 8; mov rsp, rsp; "
	    "lea rcx, [rsp]; push rcx; pop rsp");
	assert_int_equal(RAX(t), 0x40);
	assert_int_equal(RBX(t), 0x60);
	assert_int_equal(RSP(t), STACK - 8);
	begin(t);
	RUN(t, "mov ebp, 0x1234; enter 0x20, 0; mov rax, rsp; mov rbx, [rbp]; leave");
	assert_int_equal(RAX(t), STACK - 0x28);
	assert_int_equal(RBX(t), 0x1234);
	assert_int_equal(RBP(t), 0x1234);
	assert_int_equal(RSP(t), STACK);
	begin(t);
	RUN(t,
	    "lea rbp, [rsp - 0x100]; mov dword ptr [rbp - 8], 0x77; enter 0, 2; mov rax, [rbp - 8]; "
	    "mov rbx, [rbp - 16]; mov rcx, rbp");
	assert_int_equal(RAX(t), 0x77);
	assert_int_equal(RBX(t), RCX(t));
}

static void test_flags_on_stack(void **state)
{
	struct interp_test *t = *state;

	begin(t);
	RUN(t, "push 0x8d5; popfq; pushfq; pop rax; pushf; pop bx");
	assert_int_equal(RAX(t), 0x8d7);
	assert_int_equal(RBX(t), 0x8d7);
	test_user_state(t);
	RUN(t, "push 0; popfq; pushfq; pop rax");
	assert_int_equal(RAX(t), 0x3002); /* IOPL stays, IF may be cleared with IOPL 3 */
}

static void test_legacy_stack(void **state)
{
	struct interp_test *t = *state;

	test_legacy_state(t, 32);
	for (unsigned int k = 0; k < 8; k++)
		if (k != CPU_RSP)
			t->s.gpr[k] = 0x100 + k;
	RUN_BITS(t, "32",
		 "pushad; mov eax, [esp + 12]; mov ebx, [esp]; mov [esp + 28], ebx; popad");
	assert_int_equal(RAX(t), 0x107);
	assert_int_equal(RBX(t), 0x103);
	assert_int_equal(RSP(t), STACK);
	/* A 16-bit stack wraps within 64 KiB and keeps the upper bits. */
	test_legacy_state(t, 32);
	t->s.seg[CPU_SS].attr &= (uint16_t)~SEG_DB;
	RSP(t) = 0x12340000;
	RUN_BITS(t, "32", "push 0x55aa");
	assert_int_equal(RSP(t), 0x1234fffc);
	assert_int_equal(get_le32(t->ram + 0xfffc), 0x55aa);
	test_legacy_state(t, 16);
	RUN_BITS(t, "16", "mov eax, 0x12345; push eax; pop bx; pop cx; call 2f; 2: pop dx");
	assert_int_equal(RBX(t) & 0xffff, 0x2345);
	assert_int_equal(RCX(t) & 0xffff, 1);
}

/* --- strings ------------------------------------------------------------------------------------ */

static void test_strings(void **state)
{
	struct interp_test *t = *state;

	for (unsigned int k = 0; k < 0x3000; k++)
		t->ram[DATA + k] = (uint8_t)(k * 7 + k / 256);
	begin(t);
	RSI(t) = DATA + 1;
	RDI(t) = DATA + 0x8003;
	RCX(t) = 0x2345;
	RUN(t, "rep movsb");
	assert_memory_equal(t->ram + DATA + 1, t->ram + DATA + 0x8003, 0x2345);
	assert_int_equal(RCX(t), 0);
	assert_int_equal(RSI(t), DATA + 1 + 0x2345);
	assert_int_equal(RDI(t), DATA + 0x8003 + 0x2345);
	/* Overlap: a pattern is spread. */
	put_le64(t->ram + DATA, 0x1122334455667788);
	begin(t);
	RSI(t) = DATA;
	RDI(t) = DATA + 2;
	RCX(t) = 100;
	RUN(t, "rep movsw");
	for (unsigned int k = 0; k < 100; k++)
		assert_int_equal(get_le16(t->ram + DATA + 2 * k), 0x7788);
	/* Downwards. */
	put_le64(t->ram + DATA, 0x1122334455667788);
	begin(t);
	RSI(t) = DATA + 7;
	RDI(t) = DATA + 0x107;
	RCX(t) = 8;
	RUN(t, "std; rep movsb; cld");
	assert_int_equal(get_le64(t->ram + DATA + 0x100), 0x1122334455667788);
	assert_int_equal(RSI(t), DATA - 1);
	begin(t);
	RDI(t) = DATA + 0xffd;
	RCX(t) = 0x101;
	RAX(t) = 0xa1b2c3d4;
	RUN(t, "rep stosd");
	for (unsigned int k = 0; k < 0x101; k++)
		assert_int_equal(get_le32(t->ram + DATA + 0xffd + 4 * k), 0xa1b2c3d4);
	memcpy(t->ram + DATA, "find the end", 13);
	begin(t);
	RDI(t) = DATA;
	RCX(t) = UINT64_MAX;
	RUN(t, "repne scasb");
	assert_int_equal(RDI(t), DATA + 13);
	assert_int_equal(STATUS(t) & RFLAGS_ZF, RFLAGS_ZF);
	memcpy(t->ram + DATA + 0x100, "find thE end", 13);
	begin(t);
	RSI(t) = DATA;
	RDI(t) = DATA + 0x100;
	RCX(t) = 12;
	RUN(t, "repe cmpsb");
	assert_int_equal(RCX(t), 12 - 8);
	assert_int_equal(STATUS(t) & (RFLAGS_ZF | RFLAGS_CF), 0);
	begin(t);
	RSI(t) = DATA;
	RUN(t, "lodsb; mov bl, al; lodsw; mov cx, ax; stc; mov ecx, 0; rep lodsb");
	assert_int_equal(RBX(t), 'f');
	assert_int_equal(RAX(t), 'i' | 'n' << 8);
	begin(t);
	RSI(t) = DATA;
	RDI(t) = DATA + 0x200;
	RCX(t) = UINT64_C(0x500000000);
	RUN(t, "rep movsb [edi], [esi]");
}

static void test_string_faults(void **state)
{
	struct interp_test *t = *state;

	page_set(t, DATA + 0x2000, 5); /* read-only */
	begin(t);
	RDI(t) = DATA + 0x1ff0;
	RCX(t) = 0x100;
	RUN(t, "rep stosb");
	assert_fault(t, 14);
	assert_int_equal(t->fault_rip, CODE);
	assert_int_equal(t->fault_error, 3);
	assert_int_equal(t->s.cr2, DATA + 0x2000);
	assert_int_equal(RCX(t), 0xf0);
	assert_int_equal(RDI(t), DATA + 0x2000);
	begin(t);
	RSI(t) = DATA;
	RDI(t) = DATA + 0x1ff4;
	RCX(t) = 4;
	RUN(t, "rep movsq");
	assert_fault(t, 14);
	assert_int_equal(RCX(t), 3);
	assert_int_equal(RSI(t), DATA + 8);
	assert_int_equal(RDI(t), DATA + 0x1ffc);
	begin(t);
	RDI(t) = DATA + 0x1ffe;
	RAX(t) = UINT64_MAX;
	put_le64(t->ram + DATA + 0x1ff8, 0);
	RUN(t, "mov [rdi], eax");
	assert_fault(t, 14);
	assert_int_equal(get_le64(t->ram + DATA + 0x1ff8), 0); /* nothing was stored */
	begin(t);
	RDI(t) = DATA + 0x2000;
	RAX(t) = 1;
	RUN(t, "add eax, 1; add [rdi], eax");
	assert_fault(t, 14);
	assert_int_equal(t->fault_error, 3);
	assert_int_equal(t->fault_rip, CODE + 3);
	page_set(t, DATA + 0x2000, 7);
}

/* --- loops -------------------------------------------------------------------------------------- */

enum { NR_NODES = 12 };

/* One of them lies in two pages. */
static uint64_t node(unsigned int k)
{
	return DATA + k * 0x1000 + (k == 7 ? 0xffc : k * 8);
}

/* Each round loads the address of the next one's access. */
static void test_pointer_chase(void **state)
{
	struct interp_test *t = *state;

	for (unsigned int k = 0; k < NR_NODES; k++) {
		put_le64(t->ram + node(k), k + 1 < NR_NODES ? node(k + 1) : 0);
		put_le32(t->ram + DATA + 0x100 + k * 0x1000,
			 k + 1 < NR_NODES ? 64 + (k + 1) * 1024 : 0);
	}
	for (unsigned int n = 0; n < 2; n++) {
		begin(t);
		cpu_group_flush(t->grp);
		RAX(t) = node(0);
		RUN(t, "2: mov rax, [rax]; inc r9; add r9, 1; inc ecx; test rax, rax; jnz 2b");
		assert_no_fault(t);
		assert_int_equal(RCX(t), NR_NODES);
		assert_int_equal(t->s.gpr[CPU_R9], 2 * NR_NODES);
	}
	begin(t);
	RAX(t) = 64;
	RBX(t) = DATA;
	RUN(t, "2: mov eax, [rbx + rax * 4]; inc ecx; test eax, eax; jnz 2b");
	assert_no_fault(t);
	assert_int_equal(RCX(t), NR_NODES);
	/* One is gone. */
	begin(t);
	cpu_group_flush(t->grp);
	page_set(t, node(9) & ~UINT64_C(0xfff), 0);
	RAX(t) = node(0);
	RUN(t, "2: mov rax, [rax]; inc r9; add r9, 1; inc ecx; test rax, rax; jnz 2b");
	assert_fault(t, 14);
	assert_int_equal(t->s.cr2, node(9));
	assert_int_equal(RAX(t), node(9));
	assert_int_equal(RCX(t), 9);
	assert_int_equal(t->s.gpr[CPU_R9], 18);
	page_set(t, node(9) & ~UINT64_C(0xfff), 7);
}

/* --- fetching and self-modifying code ------------------------------------------------------------ */

static void test_page_crossing_code(void **state)
{
	struct interp_test *t = *state;
	static const uint8_t mov[] = { 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0xe6, PORT_END, 0xf4 };

	for (unsigned int k = 1; k < 10; k++) {
		begin(t);
		memcpy(t->ram + CODE + 0x1000 - k, mov, sizeof(mov));
		t->s.rip = CODE + 0x1000 - k;
		test_go(t);
		assert_no_fault(t);
		assert_int_equal(RAX(t), 0x0807060504030201);
		/* The second page changes: another value; then it goes away: its fault. */
		t->ram[CODE + 0x1000] ^= 0x10;
		cpu_group_flush(t->grp);
		begin(t);
		t->s.rip = CODE + 0x1000 - k;
		page_set(t, CODE + 0x1000, 0);
		test_go(t);
		assert_fault(t, 14);
		assert_int_equal(t->s.cr2, CODE + 0x1000);
		assert_int_equal(t->fault_rip, CODE + 0x1000 - k);
		page_set(t, CODE + 0x1000, 7);
	}
	/* A complete instruction at the end of a page does not need the next one. */
	begin(t);
	page_set(t, CODE + 0x1000, 0);
	t->ram[CODE + 0xfff] = 0x90;
	t->s.rip = CODE + 0xfff;
	test_go(t);
	assert_fault(t, 14);
	assert_int_equal(t->fault_rip, CODE + 0x1000);
	page_set(t, CODE + 0x1000, 7);
	/* Too long. */
	begin(t);
	RUN(t,
	    ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90");
	assert_fault(t, 13);
	begin(t);
	RUN(t, ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90");
	assert_no_fault(t);
}

static void loop_begin(struct interp_test *t, uint64_t at, uint64_t rdi, unsigned int dl)
{
	begin(t);
	t->s.rip = at;
	t->s.gpr[CPU_RAX] = 0;
	t->s.gpr[CPU_RCX] = 1000;
	t->s.gpr[CPU_RDI] = rdi;
	t->s.gpr[CPU_RDX] = dl;
}

/* The branch that closes a loop lies in two pages. */
static void test_page_crossing_loop(void **state)
{
	/* inc %eax; mov %dl,(%rdi); dec %ecx; jnz; end */
	static const uint8_t loop[] = { 0xff, 0xc0, 0x88, 0x17, 0xff, 0xc9,	0x0f, 0x85,
					0xf4, 0xff, 0xff, 0xff, 0xe6, PORT_END, 0xf4 };
	struct interp_test *t = *state;

	for (unsigned int k = 1; k < 6; k++) {
		uint64_t page2 = CODE + 0x1000, at = page2 - 6 - k, other = page2 + 0x800;

		begin(t);
		memcpy(t->ram + at, loop, sizeof(loop));
		cpu_group_flush(t->grp);
		loop_begin(t, at, DATA, 0);
		test_go(t);
		assert_no_fault(t);
		assert_int_equal(RAX(t), 1000);
		/* Other bytes of the second page are written, then those there as they were. */
		loop_begin(t, at, other, 0);
		test_go(t);
		assert_no_fault(t);
		assert_int_equal(RAX(t), 1000);
		loop_begin(t, at, page2, t->ram[page2]);
		test_go(t);
		assert_no_fault(t);
		assert_int_equal(RAX(t), 1000);
		/* It goes away. */
		loop_begin(t, at, DATA, 0);
		page_set(t, page2, 0);
		test_go(t);
		assert_fault(t, 14);
		assert_int_equal(t->s.cr2, page2);
		assert_int_equal(t->fault_rip, at + 6);
		assert_int_equal(RAX(t), 1);
		page_set(t, page2, 7);
		if (k != 1)
			continue;
		/* The loop makes it the opposite branch. */
		loop_begin(t, at, page2, 0x84);
		test_go(t);
		assert_no_fault(t);
		assert_int_equal(RAX(t), 1);
	}
}

static void test_self_modifying(void **state)
{
	struct interp_test *t = *state;

	/* The very next instruction is changed: mov eax, 1 becomes mov eax, 2. */
	begin(t);
	RUN(t, "mov byte ptr [rip + 2f + 1], 2; 2: mov eax, 1");
	assert_int_equal(RAX(t), 2);
	/* A loop that increments its own immediate. */
	begin(t);
	RCX(t) = 100;
	RUN(t, "2: add eax, 1; inc byte ptr [rip + 2b + 2]; dec ecx; jnz 2b");
	assert_int_equal(RAX(t), 100 + 99 * 100 / 2);
	/* A function called before and after it is written, in another page. */
	begin(t);
	put_le32(t->ram + CODE + 0x2000, 0x0001b8);
	t->ram[CODE + 0x2000] = 0xb8;
	put_le32(t->ram + CODE + 0x2001, 1);
	t->ram[CODE + 0x2005] = 0xc3;
	RUN(t,
	    "mov edi, 0x12000; call rdi; mov ebx, eax; mov dword ptr [rdi + 1], 5; call rdi; add ebx, eax; "
	    "lock add dword ptr [rdi + 1], 3; call rdi; add ebx, eax");
	assert_int_equal(RBX(t), 1 + 5 + 8);
	/* String stores and device writes are seen as well. */
	begin(t);
	RUN(t,
	    "mov edi, 0x12000; call rdi; mov ebx, eax; inc rdi; mov ecx, 4; mov eax, 9; rep stosb; "
	    "mov edi, 0x12000; call rdi; mov edx, eax");
	assert_int_equal(RDX(t), 0x09090909);
	put_le32(t->ram + CODE + 0x2001, 0);
	assert_int_equal(physmem_write(&t->mem, CODE + 0x2001, "\x03\0\0", 4), 0);
	begin(t);
	t->s.rip = CODE;
	test_go(t);
	assert_int_equal(RBX(t), 3);
	/* A constant that changes at each call; then the register that it is for; then what follows, and the constant of
	 * what follows. */
	begin(t);
	memcpy(t->ram + CODE + 0x2000, "\xb8\0\0\0\0\x05\0\0\0\0\xc3", 11);
	RUN(t,
	    "xor ebx, ebx; mov edi, 0x12000; mov ecx, 100; 2: mov [rdi + 1], ecx; call rdi; add ebx, eax; dec ecx; "
	    "jnz 2b; mov byte ptr [rdi], 0xba; xor eax, eax; call rdi; add ebx, edx; "
	    "mov dword ptr [rdi + 1], 7000; call rdi; add ebx, edx; mov byte ptr [rdi], 0xb8; mov ecx, 20; "
	    "2: mov dword ptr [rdi + 6], ecx; call rdi; sub eax, 7000; add ebx, eax; dec ecx; jnz 2b; "
	    "mov byte ptr [rdi + 5], 0x2d; mov dword ptr [rdi + 1], 3; call rdi; add ebx, eax");
	assert_int_equal(RBX(t), 5050 + 1 + 7000 + 210 + 2);
	/* Data next to code in the same page costs nothing but a look. */
	begin(t);
	RUN(t,
	    "mov ecx, 1000; 2: add [rip + 3f], ecx; dec ecx; jnz 2b; mov eax, [rip + 3f]; jmp 4f; "
	    ".balign 256; 3: .long 0; 4: nop");
	assert_int_equal(RAX(t), 500500);
}

static void test_smc_stats(void **state)
{
	struct interp_test *t = *state;
	uint64_t before, decoded;

	if (test_engine() != CPU_ENGINE_INTERP)
		skip(); /* these are the interpreter's figures */
	begin(t);
	before = cpu_stats(t->cpu)->insns;
	RUN(t, "mov ecx, 1000; 2: dec ecx; jnz 2b");
	assert_int_equal(cpu_stats(t->cpu)->insns - before, 1 + 2000 + 1);
	decoded = cpu_stats(t->cpu)->blocks_decoded;
	begin(t);
	t->s.rip = CODE;
	test_go(t);
	assert_int_equal(cpu_stats(t->cpu)->blocks_decoded, decoded); /* all from the cache */
}

static void test_single_steps(void **state)
{
	struct interp_test *t = *state;

	/* TF traps after each iteration of a repeated instruction. */
	begin(t);
	RSI(t) = DATA;
	RDI(t) = DATA + 0x100;
	RCX(t) = 3;
	t->s.rflags |= RFLAGS_TF;
	RUN(t, "rep movsb; nop");
	assert_fault(t, 1);
	assert_int_equal(t->fault_rip, CODE);
	assert_int_equal(RCX(t), 2);
	begin(t);
	t->s.rflags |= RFLAGS_TF;
	RUN(t, "mov eax, 5; nop");
	assert_fault(t, 1);
	assert_int_equal(t->fault_rip, CODE + 5);
	assert_int_equal(RAX(t), 5);
	/* An instruction breakpoint on it matches once: with RF set it runs to its end. */
	begin(t);
	RSI(t) = DATA;
	RDI(t) = DATA + 0x100;
	RCX(t) = 300;
	t->s.dr[0] = CODE;
	t->s.dr7 = 0x401;
	RUN(t, "rep movsb; nop");
	assert_fault(t, 1);
	assert_int_equal(RCX(t), 300);
	assert_int_equal(t->fault_rip, CODE);
	begin(t);
	RSI(t) = DATA;
	RDI(t) = DATA + 0x100;
	RCX(t) = 300;
	t->s.dr[0] = CODE;
	t->s.dr7 = 0x401;
	t->s.rflags |= RFLAGS_RF;
	RUN(t, "rep movsb; nop");
	assert_no_fault(t);
	assert_int_equal(RCX(t), 0);
}

static void test_code_limit(void **state)
{
	struct interp_test *t = *state;

	test_legacy_state(t, 32);
	t->s.seg[CPU_CS].limit = CODE + 6;
	RUN_BITS(t, "32", "mov eax, 1; nop; mov ebx, 2");
	assert_fault(t, 13);
	assert_int_equal(t->fault_rip, CODE + 6);
	assert_int_equal(RAX(t), 1);
	test_legacy_state(t, 32);
	t->s.seg[CPU_DS].limit = 0xfff;
	RUN_BITS(t, "32", "mov eax, [0xffd]");
	assert_fault(t, 13);
	test_legacy_state(t, 32);
	t->s.seg[CPU_DS].limit = 0xfff;
	RUN_BITS(t, "32", "mov eax, [0xffc]");
	assert_no_fault(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_jumps, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_conditions, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_bad_targets, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_soft_ints, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_push_pop, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_flags_on_stack, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_legacy_stack, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_strings, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_string_faults, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_pointer_chase, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_page_crossing_code, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_page_crossing_loop, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_self_modifying, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_smc_stats, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_single_steps, test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_code_limit, test_setup, test_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
