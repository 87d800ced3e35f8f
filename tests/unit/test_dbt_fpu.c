// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The translation engine's vector and x87 state between memory and the host's registers, and the signals that
 * translated code raises. Blocks are written by hand.
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
#include "cpu/dbt/cache.h"
#include "cpu/dbt/emit.h"
#include "cpu/dbt/signals.h"
#include "cpu/interp/fpu.h"
#include "cpu/interp/vcpu_sys.h"

static struct {
	struct cpu *c;
	struct cpu_group grp;
	struct interp_sys sys;
	struct dbt_cpu dc;
	struct dbt dbt;
	struct sigaction fpe, segv;
} t;

static const uint64_t was_lin = 0x7000;
enum { WORD_DONE = DBT_EXIT_NEXT | DBT_AT_RIP };

/* A block of @body and an exit. The instruction at @pc of it belongs to @off of @page. */
static const uint8_t *make_block(const void *body, unsigned int n, unsigned int pc, uint16_t off,
				 const uint8_t *page)
{
	struct tpc at = { .code = (uint16_t)pc, .off = off };
	struct tblock b = {
		.page = page, .lin = was_lin, .key = DBT_KEY_64, .pcs = &at, .nr_pcs = 1
	};
	struct tspace s;
	struct emit e;

	/* cmocka puts its own handlers over ours for each test. */
	sigaction(SIGFPE, &t.fpe, NULL);
	sigaction(SIGSEGV, &t.segv, NULL);
	dbt_lock(&t.dbt);
	assert_int_equal(tspace_get(&t.dbt, &s), 0);
	e = (struct emit){ .p = s.rw, .end = s.rw + s.room, .to_rx = s.rx - s.rw };
	e_bytes(&e, body, n);
	e_movi32(&e, H_S2, WORD_DONE);
	e_jmp(&e, t.dbt.tramp.exit);
	b.code = b.fcode = b.stale = s.rx;
	b.code_size = (uint32_t)(e_rx(&e) - s.rx);
	tblock_commit(&t.dbt, &b, b.code_size);
	dbt_unlock(&t.dbt);
	return b.code;
}

static uint32_t run(const uint8_t *code)
{
	return t.dbt.tramp.enter(t.c, code);
}

static uint64_t seed = 1;

static uint64_t rnd(void)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return seed >> 32 | seed << 32;
}

static void fill(void *p, size_t n)
{
	uint8_t *b = p;

	while (n-- > 0)
		*b++ = (uint8_t)(rnd() >> 7);
}

static void random_state(struct cpu_fpu *f)
{
	memset(f, 0, sizeof(*f));
	fill(f->xmm, sizeof(f->xmm));
	fill(f->ymm_hi, sizeof(f->ymm_hi));
	for (unsigned int k = 0; k < 8; k++)
		fill(f->st[k], 10);
	f->mxcsr = rnd() & 0xffff;
	f->mxcsr_mask = 0xffff;
	f->fcw = (rnd() & 0x1f7f) | 0x40;
	f->fsw = rnd() & 0x7f7f;
	f->ftw = (uint8_t)rnd();
	if (rnd() & 1)
		f->ftw = rnd() & 1 ? 0xff : 0;
	fpu_update_es(f);
	f->fop = rnd() & 0x7ff;
	f->fip = rnd() & 0x7fffffffffff;
	f->fdp = rnd() & 0x7fffffffffff;
	f->fcs = 0x33;
	f->fds = 0x2b;
}

static void assert_host_is_ours(void)
{
	uint32_t env[7], mxcsr;

	__asm__ volatile("fnstenv %0; fldcw %0; stmxcsr %1" : "=m"(env), "=m"(mxcsr));
	assert_int_equal(env[0] & 0xffff, 0x37f);
	assert_int_equal(env[1] & 0x80, 0);
	assert_int_equal(env[2] & 0xffff, 0xffff);
	assert_int_equal(mxcsr, 0x1f80);
}

static void assert_same(const struct cpu_fpu *a, const struct cpu_fpu *b)
{
	assert_int_equal(a->fcw, b->fcw);
	assert_int_equal(a->fsw, b->fsw);
	assert_int_equal(a->ftw, b->ftw);
	assert_int_equal(a->mxcsr, b->mxcsr);
	assert_int_equal(a->mxcsr_mask, b->mxcsr_mask);
	assert_memory_equal(a->st, b->st, sizeof(a->st));
	assert_memory_equal(a->xmm, b->xmm, sizeof(a->xmm));
	if (__builtin_cpu_supports("avx"))
		assert_memory_equal(a->ymm_hi, b->ymm_hi, sizeof(a->ymm_hi));
}

/* As memset(), which would use vector registers. */
static void wipe(void *p, size_t n)
{
	__asm__ volatile("rep stosb" : "+D"(p), "+c"(n) : "a"(0) : "memory");
}

/* From @from to the host's registers, and from there to @to. */
static void pass(struct cpu_fpu *from, struct cpu_fpu *to, bool x87)
{
	struct cpu_fpu before = *from;

	t.c->st.fpu = *from;
	if (x87)
		dbt_fpu_load_x87(t.c);
	else
		dbt_fpu_load(t.c);
	wipe(t.c->st.fpu.xmm, sizeof(t.c->st.fpu.xmm));
	wipe(t.c->st.fpu.ymm_hi, sizeof(t.c->st.fpu.ymm_hi));
	dbt_fpu_save(t.c);
	*to = t.c->st.fpu;
	assert_memory_equal(from, &before, sizeof(before));
	assert_int_equal(t.c->hot.fpu_live, 0);
	assert_host_is_ours();
}

static void test_round_trip(void **state)
{
	struct cpu_fpu in, out;

	for (unsigned int k = 0; k < 20000; k++) {
		random_state(&in);
		pass(&in, &out, k & 1);
		assert_same(&in, &out);
		assert_true(out.fip == in.fip && out.fdp == in.fdp && out.fop == in.fop);
		assert_true(out.fcs == in.fcs && out.fds == in.fds);
	}
}

/* Vectors are live already when the first x87 instruction comes. */
static void test_x87_later(void **state)
{
	struct cpu_fpu in;

	random_state(&in);
	in.mxcsr = 0x1fa0;
	in.fsw &= 0x3800;
	t.c->st.fpu = in;
	dbt_fpu_load(t.c);
	assert_int_equal(t.c->hot.fpu_live, DBT_FPU_VEC);
	__asm__ volatile("pxor %%xmm5,%%xmm5" : : : "xmm5");
	dbt_fpu_load_x87(t.c);
	assert_int_equal(t.c->hot.fpu_live, DBT_FPU_VEC | DBT_FPU_X87);
	dbt_fpu_save(t.c);
	memset(in.xmm[5], 0, 16);
	assert_same(&in, &t.c->st.fpu);
	assert_host_is_ours();
	dbt_fpu_save(t.c); /* nothing live: nothing happens */
	assert_same(&in, &t.c->st.fpu);
}

static struct tlb_entry *tlb(void)
{
	struct tlb_entry *e = calloc(TLB_SIZE, sizeof(*e));

	for (unsigned int k = 0; k < TLB_SIZE; k++)
		e[k].r = e[k].w = e[k].x = tlb_none(k);
	return e;
}

/* The guest sees its own addresses with a pending exception, or none. */
static void test_pointers(void **state)
{
	static const uint8_t insn[] = { 0x65, 0x41, 0xd8, 0x75, 0x10 }; /* fdivs %gs:0x10(%r13) */
	/* fninit; fldcw hot.spill; fld1; fdivs (%rdx) */
	static const uint8_t body[] = { 0xdb, 0xe3, 0x41,
					0xd9, 0x6b, (uint8_t)CPU_DISP(hot.spill[0]),
					0xd9, 0xe8, 0xd8,
					0x32 };
	uint8_t *page = aligned_alloc(4096, 4096), *data = aligned_alloc(4096, 4096);
	const uint64_t code_lin = UINT64_C(0xffffffff81234000), data_lin = UINT64_C(0x7fff5000);
	const uint8_t *unknown = make_block(body, sizeof(body), 0, 0x123, page);
	const uint8_t *code = make_block(body, sizeof(body), 8, 0x123 | TPC_HOST_FLAGS, page);
	struct tlb_entry *e = tlb();

	memset(data, 0, 4096);
	memcpy(page + 0x123, insn, sizeof(insn));
	t.sys.tlb_fetch = e;
	t.c->st.seg[CPU_CS].sel = 0x10;
	t.c->st.seg[CPU_GS].base = 0x1000;
	t.c->hot.spill[0] = 0x37f & ~4;
	t.c->st.gpr[CPU_R13] = data_lin - 0x1000 + 0x30; /* found without the TLB */
	t.c->st.gpr[CPU_RDX] = (uintptr_t)data + 0x40;
	for (unsigned int known = 0; known < 4; known++) {
		if (known == 2) {
			e[tlb_index(code_lin)].x = code_lin;
			e[tlb_index(code_lin)].page = (uintptr_t)page;
			e[tlb_index(data_lin)].w = data_lin;
			e[tlb_index(data_lin)].page = (uintptr_t)data;
		}
		t.c->hot.pbase = known == 3 ? code_lin : 0x5000;
		random_state(&t.c->st.fpu);
		dbt_fpu_load_x87(t.c);
		assert_int_equal(run(known ? code : unknown), WORD_DONE);
		dbt_fpu_save(t.c);
		assert_int_equal(t.c->st.fpu.fsw & 0x84, 0x84);
		assert_int_equal(t.c->st.fpu.fip, known >= 2 ? code_lin + 0x123
						  : known    ? was_lin + 0x123
							     : 0);
		assert_int_equal(t.c->st.fpu.fop, known >= 1 ? 0x075 : 0);
		assert_int_equal(t.c->st.fpu.fdp, known ? data_lin + 0x40 - 0x1000 : 0);
		assert_host_is_ours();
	}
	free(page);
	free(data);
	free(e);
}

/* --- signals -------------------------------------------------------------------------------------- */

static void test_divide(void **state)
{
	/* mov $0x1234,%r10d; xor %edx,%edx; mov $1,%eax; stc; div %ecx */
	static const uint8_t body[] = { 0x41, 0xba, 0x34, 0x12, 0, 0,	 0x31, 0xd2,
					0xb8, 1,    0,	  0,	0, 0xf9, 0xf7, 0xf1 };

	for (unsigned int host_flags = 0; host_flags < 2; host_flags++) {
		const uint8_t *code =
			make_block(body, sizeof(body), 14,
				   (uint16_t)(0xabc | (host_flags ? TPC_HOST_FLAGS : 0)), NULL);

		t.c->hot.flags = 0x5555;
		t.c->st.gpr[CPU_RCX] = 0;
		t.c->st.gpr[CPU_RBX] = 0x123456789a;
		assert_int_equal(run(code), DBT_WORD(DBT_EXIT_INTERP, 0xabc) | DBT_FLAGS_MEM);
		assert_int_equal(t.c->hot.flags, host_flags ? 0x4700 : 0x5555);
		assert_int_equal(t.c->st.gpr[CPU_RBX], 0x123456789a);
		assert_int_equal(t.c->st.gpr[CPU_RAX], 1);
		t.c->st.gpr[CPU_RCX] = 1;
		assert_int_equal(run(code), WORD_DONE);
	}
}

static void test_simd(void **state)
{
	/* ldmxcsr hot.spill; divss %xmm1,%xmm0 */
	static const uint8_t body[] = { 0x41, 0x0f, 0xae, 0x53, (uint8_t)CPU_DISP(hot.spill[0]),
					0xf3, 0x0f, 0x5e, 0xc1 };
	const uint8_t *code = make_block(body, sizeof(body), 5, 0x321, NULL);

	random_state(&t.c->st.fpu);
	memset(t.c->st.fpu.xmm, 0, sizeof(t.c->st.fpu.xmm));
	put_le32(t.c->st.fpu.xmm[0], 0x3f800000);
	t.c->hot.spill[0] = 0x1f80 & ~(1u << 9);
	dbt_fpu_load(t.c);
	assert_int_equal(run(code), DBT_WORD(DBT_EXIT_INTERP, 0x321) | DBT_FLAGS_MEM);
	dbt_fpu_save(t.c);
	assert_int_equal(get_le32(t.c->st.fpu.xmm[0]), 0x3f800000);
	assert_int_equal(t.c->st.fpu.mxcsr, 0x1f84 & ~(1u << 9));
	assert_host_is_ours();
}

/* Page to page: what is misaligned for the guest is so for the host. */
static void test_misaligned(void **state)
{
	static const uint8_t body[] = { 0x0f, 0x28, 0x02 }; /* movaps (%rdx),%xmm0 */
	uint8_t data[32] __attribute__((aligned(16))) = { 0 };
	const uint8_t *code = make_block(body, sizeof(body), 0, 0x456, NULL);

	t.c->st.gpr[CPU_RDX] = (uintptr_t)data;
	assert_int_equal(run(code), WORD_DONE);
	t.c->st.gpr[CPU_RDX]++;
	assert_int_equal(run(code), DBT_WORD(DBT_EXIT_INTERP, 0x456) | DBT_FLAGS_MEM);
	assert_int_equal(t.c->st.gpr[CPU_RDX], (uintptr_t)data + 1);
}

/* A pending exception comes with the next waiting instruction, and stays pending. */
static void test_x87(void **state)
{
	/* fninit; fldcw hot.spill; fldz; fld1; fdivp; fnstsw %ax; fwait */
	static const uint8_t body[] = { 0xdb, 0xe3, 0x41,
					0xd9, 0x6b, (uint8_t)CPU_DISP(hot.spill[0]),
					0xd9, 0xe8, 0xd9,
					0xee, 0xde, 0xf9,
					0xdf, 0xe0, 0x9b };
	const uint8_t *code = make_block(body, sizeof(body), 14, 0x700, NULL);

	random_state(&t.c->st.fpu);
	t.c->hot.spill[0] = 0x37f & ~4;
	dbt_fpu_load_x87(t.c);
	assert_int_equal(run(code), DBT_WORD(DBT_EXIT_INTERP, 0x700) | DBT_FLAGS_MEM);
	assert_int_equal(t.c->st.gpr[CPU_RAX] & 0x84, 0x84);
	t.sys.tlb_fetch = tlb();
	dbt_fpu_save(t.c);
	free(t.sys.tlb_fetch);
	assert_int_equal(t.c->st.fpu.fsw & 0x84, 0x84);
	assert_host_is_ours();
}

/* 40,000 pushes go around a stack that holds 32,760. */
static void test_return_stack_full(void **state)
{
	/* mov $40000,%ecx; 1: push %rcx; dec %ecx; jnz 1b; mov %rsp,%rax */
	static const uint8_t body[] = { 0xb9, 0x40, 0x9c, 0,	0,    0x51, 0xff,
					0xc9, 0x75, 0xfb, 0x48, 0x89, 0xe0 };

	assert_int_equal(run(make_block(body, sizeof(body), 0, 0, NULL)), WORD_DONE);
	assert_int_equal((uintptr_t)t.dc.ret_stack[1] + RET_STACK_TOP - t.c->st.gpr[CPU_RAX],
			 8 * (40000 - RET_STACK_TOP / 8));
	ret_stack_reset(t.c, RET_BOTH);
}

/* A signal of somebody else's code goes to whoever had it before. */
static sigjmp_buf before_jmp;
static void before(int sig)
{
	siglongjmp(before_jmp, sig);
}

static void test_pass_on(void **state)
{
	sigaction(SIGFPE, &t.fpe, NULL);
	sigaction(SIGSEGV, &t.segv, NULL);
	if (sigsetjmp(before_jmp, 1) == 0) {
		__asm__ volatile("xor %%edx,%%edx; mov $1,%%eax; div %%edx" : : : "eax", "edx");
		fail();
	}
	if (sigsetjmp(before_jmp, 1) == 0) {
		*(volatile uint8_t *)t.dbt.blocks->rx = 1;
		fail();
	}
	if (sigsetjmp(before_jmp, 1) == 0) {
		*(volatile uint8_t *)(t.dc.ret_stack[0] - 8) = 1;
		fail();
	}
}

static int setup(void **state)
{
	struct sigaction sa = { .sa_handler = before };
	struct err err = ERR_INIT;

	t.c = aligned_alloc(64, (sizeof(*t.c) + 63) & ~(size_t)63);
	memset(t.c, 0, sizeof(*t.c));
	t.c->sys = &t.sys;
	t.c->engine_data = &t.dc;
	t.dc.c = t.c;
	t.dc.dbt = &t.dbt;
	t.dbt.grp = &t.grp;
	if (cpuid_build(&t.grp.cpuid, "host", NULL, 1, 1000000, NULL, &err) < 0)
		return -1;
	t.dbt.table = dtable_new(&t.grp.cpuid);
	if (blocks_new(&t.dbt, 4 << 20, &err) < 0 || ret_stack_init(&t.dc, &err) < 0)
		return -1;
	sigaction(SIGFPE, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	if (dbt_signals_start(&err) < 0 || dbt_signals_thread(&err) < 0 ||
	    dbt_signals_thread(&err) < 0 ||
	    dbt_signals_add(&t.dbt, t.dbt.blocks->rx, t.dbt.blocks->size) < 0)
		return -1;
	sigaction(SIGFPE, NULL, &t.fpe);
	sigaction(SIGSEGV, NULL, &t.segv);
	return 0;
}

static int teardown(void **state)
{
	dbt_signals_remove(&t.dbt);
	ret_stack_done(&t.dc);
	blocks_free(&t.dbt);
	dtable_free(t.dbt.table);
	free(t.c);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_x87_later),
		cmocka_unit_test(test_pointers),   cmocka_unit_test(test_divide),
		cmocka_unit_test(test_simd),	   cmocka_unit_test(test_x87),
		cmocka_unit_test(test_misaligned), cmocka_unit_test(test_return_stack_full),
		cmocka_unit_test(test_pass_on),
	};

	return cmocka_run_group_tests_name("dbt_fpu", tests, setup, teardown);
}
