// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The code cache with blocks written by hand: finding, linking, dying by pieces, eviction and epochs; and the
 * trampolines that lead into and out of it.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "cpu/dbt/cache.h"
#include "cpu/dbt/emit.h"
#include "cpu/interp/vcpu_sys.h"

static struct {
	struct cpu_group grp;
	struct dbt dbt;
	struct dbt_cpu dc;
	struct interp_sys sys;
	struct cpu *c, *cpus[1];
	struct jumps jumps;
	uint8_t *pages; /* guest pages */
} t;

enum { NR_PAGES = 8, KEY = DBT_KEY_64, WORD_DONE = DBT_EXIT_NEXT | DBT_AT_RIP };

static uint8_t *page(unsigned int n)
{
	return t.pages + n * GUEST_PAGE_SIZE;
}

static int setup(void **state)
{
	struct err err = ERR_INIT;

	memset(&t, 0, sizeof(t));
	t.c = aligned_alloc(64, (sizeof(*t.c) + 63) & ~(size_t)63);
	memset(t.c, 0, sizeof(*t.c));
	t.cpus[0] = t.c;
	t.grp.nr = 1;
	t.grp.cpu = t.cpus;
	t.grp.dbt = &t.dbt;
	t.c->grp = &t.grp;
	t.c->sys = &t.sys;
	t.c->engine_data = &t.dc;
	t.c->mode = CPU_MODE_64;
	t.c->hot.key = KEY;
	t.c->long_mode = true;
	t.dc.c = t.c;
	t.dc.dbt = &t.dbt;
	atomic_store(&t.dc.epoch, UINT64_MAX);
	t.dbt.grp = &t.grp;
	atomic_store(&t.dbt.epoch, 1);
	for (unsigned int k = 0; k < NR_JUMPS; k++)
		t.jumps.slot[k].lin = jumps_none(k);
	t.dc.jumps = &t.jumps;
	t.c->hot.jump = t.jumps.slot;
	t.pages = aligned_alloc(GUEST_PAGE_SIZE, NR_PAGES * GUEST_PAGE_SIZE);
	return blocks_new(&t.dbt, 4 << 20, &err) < 0 || ret_stack_init(&t.dc, &err) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	ret_stack_done(&t.dc);
	blocks_free(&t.dbt);
	free(t.pages);
	free(t.c);
	return 0;
}

/* A block at @off of a page that depends on @pieces and takes @size bytes: a jump by a link, whose stub leaves. */
static struct tblock *make_kind(unsigned int pg, unsigned int off, uint64_t pieces, uint32_t size,
				unsigned int kind)
{
	struct tblock b = { .page = page(pg), .off = (uint16_t)off, .key = KEY, .pieces = pieces };
	struct tblock *kept;
	struct tspace s;
	struct tlink *l;
	struct emit e;

	dbt_lock(&t.dbt);
	if (tspace_get(&t.dbt, &s) < 0) {
		dbt_unlock(&t.dbt);
		return NULL;
	}
	assert_int_equal((uintptr_t)s.rw & 15, 0);
	l = (struct tlink *)(void *)s.rw;
	memset(l, 0, sizeof(*l));
	l->kind = (uint8_t)kind;
	l->word = DBT_WORD(DBT_EXIT_LINK, off);
	e = (struct emit){ .p = s.rw + 64, .end = s.rw + s.room, .to_rx = s.rx - s.rw };
	b.links = l;
	b.nr_links = 1;
	b.code = (uint8_t *)(uintptr_t)e_rx(&e);
	E(&e, 0x49, 0x83, 0x7b, 0x80, 0x00); /* cmpq $0,hot.pending */
	E(&e, 0x90, 0x90);
	b.fcode = (uint8_t *)(uintptr_t)e_rx(&e);
	e_movi32(&e, H_RBX, off);
	E(&e, 0x66, 0x90, 0x90); /* the rel32 is aligned */
	while ((uintptr_t)(e.p + 1) & 3)
		e8(&e, 0x90);
	e8(&e, 0xe9);
	l->site = (int32_t)(e.p - (uint8_t *)l);
	e32(&e, 0);
	l->stub = (int32_t)(e.p - (uint8_t *)l);
	E(&e, 0x4c, 0x8d, 0x15); /* lea link(%rip),%r10 */
	e32(&e, (uint32_t) - (int32_t)(e.p - (uint8_t *)l + 4));
	e_jmp(&e, t.dbt.tramp.link);
	b.stale = (uint8_t *)(uintptr_t)e_rx(&e);
	e_movi32(&e, H_S2, DBT_WORD(DBT_EXIT_STALE, off));
	e_jmp(&e, t.dbt.tramp.exit);
	assert_false(e.overflow);
	b.code_size = (uint32_t)(e_rx(&e) - b.code);
	/* The unlinked jump leads to its stub. */
	put_le32(s.rw + l->site, (uint32_t)(l->stub - (l->site + 4)));
	kept = tblock_commit(&t.dbt, &b, size ? size : (uint32_t)(e.p - s.rw));
	dbt_unlock(&t.dbt);
	return kept;
}

static struct tblock *make(unsigned int pg, unsigned int off, uint64_t pieces, uint32_t size)
{
	return make_kind(pg, off, pieces, size, TLINK_NEAR);
}

static void set_link(struct tblock *from, struct tblock *to)
{
	dbt_lock(&t.dbt);
	tlink_set(&t.dbt, &from->links[0], to);
	dbt_unlock(&t.dbt);
}

/* Runs from a block until code leaves; returns the exit word. rbx says which block was last. */
static uint32_t run(const struct tblock *b)
{
	return t.dbt.tramp.enter(t.c, b->code);
}

static void test_find(void **state)
{
	struct tblock *a = make(0, 0x10, 1, 0), *b = make(0, 0x80, 4, 0), *c = make(1, 0x10, 1, 0);

	assert_ptr_equal(tblock_find(&t.dbt, page(0), 0x10, KEY), a);
	assert_ptr_equal(tblock_find(&t.dbt, page(0), 0x80, KEY), b);
	assert_ptr_equal(tblock_find(&t.dbt, page(1), 0x10, KEY), c);
	assert_null(tblock_find(&t.dbt, page(0), 0x11, KEY));
	assert_null(tblock_find(&t.dbt, page(0), 0x10, KEY | DBT_KEY_SSE));
	assert_null(tblock_find(&t.dbt, page(2), 0x10, KEY));
}

static void test_registers(void **state)
{
	struct tblock *b = make(0, 0x20, 1, 0);
	struct cpu_state before;

	for (unsigned int k = 0; k < 16; k++)
		t.c->st.gpr[k] = UINT64_C(0x1111111111111111) * k;
	before = t.c->st;
	assert_int_equal(run(b), DBT_WORD(DBT_EXIT_LINK, 0x20));
	assert_ptr_equal(code_rw(t.dbt.blocks, t.c->hot.link), b->links);
	before.gpr[CPU_RBX] = 0x20;
	assert_memory_equal(before.gpr, t.c->st.gpr, sizeof(before.gpr));
	assert_ptr_equal(t.c->hot.ret_rsp, t.dc.ret_stack[RET_SUPER] + RET_STACK_TOP);
}

static void test_links(void **state)
{
	struct tblock *a = make(0, 0x10, 1, 0), *b = make(0, 0x40, 2, 0), *c = make(0, 0x80, 4, 0);
	struct tblock *other_page = make(1, 0x40, 2, 0);

	set_link(a, b);
	set_link(b, c);
	assert_int_equal(run(a), DBT_WORD(DBT_EXIT_LINK, 0x80));
	assert_int_equal(t.c->st.gpr[CPU_RBX], 0x80);
	/* Another target takes its place; one in another page does not. */
	set_link(a, c);
	set_link(c, other_page);
	assert_int_equal(run(a), DBT_WORD(DBT_EXIT_LINK, 0x80));
	set_link(a, b);
	assert_int_equal(t.grp.stats.dbt_links, 4);

	/* The middle one dies: who leads there leaves, who was in it is led out. */
	dbt_page_written(&t.dbt, page(0), 2);
	assert_int_equal(t.grp.stats.dbt_smc, 1);
	assert_true(b->dead && !a->dead && !c->dead && !other_page->dead);
	assert_null(tblock_find(&t.dbt, page(0), 0x40, KEY));
	assert_int_equal(run(a), DBT_WORD(DBT_EXIT_LINK, 0x10));
	assert_int_equal(run(b), DBT_WORD(DBT_EXIT_STALE, 0x40));
	set_link(a, b);
	set_link(b, a);
	assert_int_equal(run(a), DBT_WORD(DBT_EXIT_LINK, 0x10));
}

static void test_cross_links(void **state)
{
	struct tblock *a = make_kind(0, 0x10, 1, 0, TLINK_CROSS), *b = make(1, 0x40, 2, 0);
	struct tblock *c = make(2, 0x40, 2, 0);

	set_link(a, b);
	assert_int_equal(a->links[0].cell, (uintptr_t)page(1));
	assert_int_equal(run(a), DBT_WORD(DBT_EXIT_LINK, 0x40));
	/* Once for one page, always for that page. */
	set_link(a, c);
	assert_int_equal(a->links[0].cell, (uintptr_t)page(1));
	dbt_page_written(&t.dbt, page(1), ~UINT64_C(0));
	assert_int_equal(run(a), DBT_WORD(DBT_EXIT_LINK, 0x10));
	set_link(a, c);
	assert_int_equal(run(a), DBT_WORD(DBT_EXIT_LINK, 0x10));
	b = make(1, 0x40, 2, 0);
	set_link(a, b);
	assert_int_equal(run(a), DBT_WORD(DBT_EXIT_LINK, 0x40));
	assert_int_equal(t.c->st.gpr[CPU_RBX], 0x40);
}

static void test_pieces(void **state)
{
	struct tblock *b[8];

	for (unsigned int k = 0; k < 8; k++)
		b[k] = make(0, k * 0x40, UINT64_C(3) << k, 0);
	dbt_page_written(&t.dbt, page(1), ~UINT64_C(0));
	dbt_page_written(&t.dbt, page(0), UINT64_C(1) << 4);
	for (unsigned int k = 0; k < 8; k++)
		assert_int_equal(b[k]->dead, k == 3 || k == 4);
	dbt_page_written(&t.dbt, page(0), UINT64_C(1) << 4);
	assert_int_equal(t.grp.stats.dbt_smc, 2);
}

/* Fill until something has been evicted; returns the number of blocks made. */
static unsigned int fill(unsigned int from)
{
	uint64_t before = t.grp.stats.dbt_evictions;
	unsigned int n = from;

	while (t.grp.stats.dbt_evictions == before && n < from + 200)
		assert_non_null(make(n / 4096 % NR_PAGES, n % 4096, 1, 40000)), n++;
	return n;
}

static void test_eviction(void **state)
{
	struct tblock *first = make(0, 0, 1, 40000), *second = make(0, 1, 1, 40000);
	unsigned int n, more = 0;

	set_link(first, second);
	atomic_store(&t.dc.epoch, 1);
	n = fill(2);
	assert_true(n > 40 && n < 100);
	assert_true(first->dead && second->dead);
	assert_null(tblock_find(&t.dbt, page(0), 0, KEY));
	assert_int_equal(atomic_load(&t.dbt.epoch), 2);
	assert_int_equal(t.c->hot.pending, CPU_PEND_EPOCH);
	assert_int_equal(first->links[0].to, 0);
	/* Its memory is not used again while a vCPU may be in it. */
	while (make(0, 2000 + more, 1, 40000))
		assert_true(more++ < 100);
	assert_int_equal(run(first), DBT_WORD(DBT_EXIT_STALE, 0));
	assert_null(make(0, 1, 1, 40000));
	/* The vCPU comes out. */
	atomic_store(&t.dc.epoch, 2);
	for (unsigned int k = 0; k < 8; k++)
		assert_non_null(make(3, k, 1, 40000));
}

static void test_drop_all(void **state)
{
	struct tblock *a = make(0, 0x10, 1, 0), *b = make(0, 0x40, 2, 0);

	set_link(a, b);
	fill(100);
	dbt_drop_all(&t.dbt);
	assert_null(tblock_find(&t.dbt, page(0), 0x10, KEY));
	for (unsigned int k = 100; k < 200; k++)
		assert_null(tblock_find(&t.dbt, page(0), k, KEY));
	atomic_store(&t.dc.epoch, atomic_load(&t.dbt.epoch));
	a = make(0, 0x10, 1, 0);
	assert_ptr_equal(tblock_find(&t.dbt, page(0), 0x10, KEY), a);
	for (unsigned int k = 0; k < 1000; k++) {
		assert_non_null(make(1, k, 1, 40000));
		atomic_store(&t.dc.epoch, atomic_load(&t.dbt.epoch));
	}
}

static void count_alive(const struct tblock *b, void *arg)
{
	++*(unsigned int *)arg;
}

static void test_each(void **state)
{
	unsigned int n = 0;

	for (unsigned int k = 0; k < 10; k++)
		make(k % 2, k, UINT64_C(1) << k, 0);
	dbt_page_written(&t.dbt, page(0), 1 | 4);
	dbt_lock(&t.dbt);
	dbt_blocks_each(&t.dbt, count_alive, &n);
	dbt_unlock(&t.dbt);
	assert_int_equal(n, 8);
}

/* --- trampolines ------------------------------------------------------------------------------------ */

/* Code without a block around it. */
static const uint8_t *code_at(struct emit *e)
{
	static struct tspace s;

	dbt_lock(&t.dbt);
	assert_int_equal(tspace_get(&t.dbt, &s), 0);
	dbt_unlock(&t.dbt);
	*e = (struct emit){ .p = s.rw, .end = s.rw + s.room, .to_rx = s.rx - s.rw };
	return s.rx;
}

static uint64_t handler_saw;

static void handler(struct cpu *c, const struct insn *i)
{
	handler_saw = c->st.rip;
	c->st.gpr[CPU_RAX] = c->st.gpr[CPU_R15] + i->imm;
	c->st.gpr[CPU_R12] = c->st.rflags & RFLAGS_CF;
	c->st.rflags ^= RFLAGS_CF;
	if (i->imm == 7)
		interp_leave(c);
}

static void test_handler(void **state)
{
	static struct insn insn = { .fn = handler, .len = 3 };
	const uint8_t *code;
	struct emit e;

	code = code_at(&e);
	E(&e, 0x49, 0xba); /* mov $insn,%r10 */
	e64(&e, (uintptr_t)&insn);
	e_movi32(&e, H_S1, DBT_WORD(DBT_EXIT_NEXT, 0x123) | DBT_FLAGS_MEM);
	e_call(&e, t.dbt.tramp.handler);
	e_movi32(&e, H_RBX, 77);
	e_movi32(&e, H_S2, WORD_DONE);
	e_jmp(&e, t.dbt.tramp.exit);

	insn.imm = 5;
	t.c->hot.pbase = 0x7000;
	t.c->hot.flags = 0x0100; /* CF */
	t.c->st.gpr[CPU_R15] = 1000;
	t.c->st.gpr[CPU_RBX] = 0;
	assert_int_equal(t.dbt.tramp.enter(t.c, code), WORD_DONE);
	assert_int_equal(handler_saw, 0x7126);
	assert_int_equal(t.c->st.gpr[CPU_RAX], 1005);
	assert_int_equal(t.c->st.gpr[CPU_RBX], 77);
	assert_int_equal(t.c->st.gpr[CPU_R12], RFLAGS_CF);
	assert_int_equal(t.c->hot.flags & 0x0100, 0);
	/* A handler that leaves. */
	insn.imm = 7;
	t.c->st.gpr[CPU_RBX] = 0;
	assert_int_equal(t.dbt.tramp.enter(t.c, code), DBT_EXIT_NEXT | DBT_AT_RIP);
	assert_int_equal(t.c->st.gpr[CPU_RAX], 1007);
	assert_int_equal(t.c->st.gpr[CPU_RBX], 0);
	assert_int_equal(t.c->st.rip, 0x7126);
	assert_ptr_equal(t.c->hot.ret_rsp, t.dc.ret_stack[RET_SUPER] + RET_STACK_TOP);
}

static void test_indirect(void **state)
{
	struct tblock *b = make(0, 0x456, 1, 0);
	const uint8_t *code;
	struct emit e;

	code = code_at(&e);
	e_mov64(&e, H_S1, H_RDI);
	E(&e, 0x56, 0x56); /* push %rsi: expected returns that do not match */
	e_jmp(&e, t.dbt.tramp.ret_miss);
	t.c->st.gpr[CPU_RDI] = 0xffff800012345456;
	assert_int_equal(t.dbt.tramp.enter(t.c, code), DBT_EXIT_MISS | DBT_AT_RIP | DBT_FLAGS_MEM);
	assert_int_equal(t.c->st.rip, t.c->st.gpr[CPU_RDI]);
	assert_ptr_equal(t.c->hot.ret_rsp, t.dc.ret_stack[RET_SUPER] + RET_STACK_TOP);

	jumps_add(t.c, t.c->st.gpr[CPU_RDI], b->code);
	assert_int_equal(t.dbt.tramp.enter(t.c, code), DBT_WORD(DBT_EXIT_LINK, 0x456));
	assert_int_equal(t.c->hot.pbase, 0xffff800012345000);
	jumps_remove(t.c, t.c->st.gpr[CPU_RDI]);
	assert_int_equal(t.dbt.tramp.enter(t.c, code), DBT_EXIT_MISS | DBT_AT_RIP | DBT_FLAGS_MEM);
}

static void test_ret_stacks(void **state)
{
	for (unsigned int k = 0; k < 2; k++) {
		uint8_t *top = t.dc.ret_stack[k] + RET_STACK_TOP;

		assert_int_equal((uintptr_t)t.dc.ret_stack[k] & (RET_STACK_SIZE - 1), 0);
		for (unsigned int n = 0; n < 64; n += 16) {
			assert_ptr_equal((void *)get_le64(top + n), t.dbt.tramp.ret_miss);
			assert_true(get_le64(top + n + 8) == RET_LIN_EMPTY);
		}
		t.dc.ret_stack[k][0] = 1;
	}
	t.c->hot.ret_rsp = NULL;
	t.dc.ret_saved[RET_USER] = NULL;
	ret_stack_reset(t.c, RET_USER);
	assert_null(t.c->hot.ret_rsp);
	assert_ptr_equal(t.dc.ret_saved[RET_USER], t.dc.ret_stack[RET_USER] + RET_STACK_TOP);
	ret_stack_reset(t.c, RET_SUPER);
	assert_ptr_equal(t.c->hot.ret_rsp, t.dc.ret_stack[RET_SUPER] + RET_STACK_TOP);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(find),     T(registers), T(links),   T(cross_links), T(pieces),     T(eviction),
		T(drop_all), T(each),	   T(handler), T(indirect),    T(ret_stacks),
	};

	return cmocka_run_group_tests_name("dbt_blocks", tests, NULL, NULL);
}
