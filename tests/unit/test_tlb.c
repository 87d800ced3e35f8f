// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The software TLB and the records of code pages, as an engine uses them that does not look after a store: which
 * invalidations concern executed pages, when a page has a write tag, and what happens when one vCPU decodes what
 * another one is storing into. The engine is the interpreter's, with a translation engine pretended.
 */
#include <pthread.h>
#include <time.h>

#include "cpu/exclusive.h"
#include "cpu/interp/block.h"
#include "cpu/interp/vcpu_sys.h"
#include "guest.h"
#include "unit.h"

enum {
	NR = 3,
	DATA = 0x100000,
	BIG = 0x200000, /* the guest's 2 MiB page */
	PIECE = 64,
};

#define FAR (UINT64_C(1) << 39) /* so far apart share a slot */

struct fixture {
	struct guest g;
	unsigned int gone_pages, gone_all;
	uint64_t gone_lin;
	struct tlb_set *gone_set;
	unsigned int code_gone;
	uint64_t code_pieces;
	const uint8_t *code_page;
};

static struct fixture *the;

static void on_exec_gone(struct cpu *c, struct tlb_set *set, uint64_t lin, bool all)
{
	the->gone_set = set;
	the->gone_lin = lin;
	if (all)
		the->gone_all++;
	else
		the->gone_pages++;
}

static void on_code_gone(struct cpu_group *grp, const uint8_t *page, uint64_t pieces)
{
	the->code_gone++;
	the->code_page = page;
	the->code_pieces |= pieces;
}

static struct cpu *cpu(unsigned int k)
{
	return cpu_group_cpu(the->g.grp, k);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct guest *g = &f->g;
	struct cpu_group_config cfg = { .nr_cpus = NR,
					.engine = CPU_ENGINE_INTERP,
					.mem = &g->mem,
					.timers = &g->timers,
					.clock = clock_real(),
					.ops = &guest_ops,
					.arg = g };

	the = f;
	g->ram = aligned_alloc(4096, G_RAM);
	memset(g->ram, 0, G_RAM);
	g->mem.nr = 1;
	g->mem.region[0] = (struct physmem_region){ .size = G_RAM,
						    .hva = g->ram,
						    .page_flags = calloc(G_RAM / 4096, 1) };
	timerq_init(&g->timers, clock_real());
	assert_int_equal(cpu_group_new(&cfg, &g->grp, &g->err), 0);
	g->grp->dbt = (struct dbt *)(void *)f;
	g->grp->code_gone = on_code_gone;
	g->cpu = cpu(0);
	cpu_get_state(g->cpu, &g->st);
	g->st.ev.mp_state = CPU_MP_RUNNING;
	guest_tables(g);
	guest_long(g, G_CS64);
	/* All of it again at FAR. */
	put_le64(g->ram + G_PT + 8, (G_PT + 0x1000) | 7);
	for (unsigned int k = 0; k < NR; k++) {
		cpu_set_state(cpu(k), &g->st);
		cpu(k)->sys->exec_gone = on_exec_gone;
	}
	f->gone_all = f->gone_pages = 0;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->g.grp->dbt = NULL;
	cpu_group_free(f->g.grp);
	timerq_done(&f->g.timers);
	free((void *)f->g.mem.region[0].page_flags);
	free(f->g.ram);
	free(f);
	return 0;
}

static const struct tlb_entry *entry(struct cpu *c, uint64_t lin)
{
	return tlb_slot(c->hot.tlb, lin);
}

static _Atomic uint8_t *flags_of(uint64_t gpa)
{
	return &the->g.mem.region[0].page_flags[gpa / 4096];
}

static void execute(struct cpu *c, uint64_t lin)
{
	_Atomic uint8_t *flags;
	uint64_t gpa;

	assert_non_null(mem_fetch(c, lin, &gpa, &flags));
	assert_true(entry(c, lin)->x == lin);
}

static void cover(struct cpu *c, uint64_t gpa, unsigned int len)
{
	struct code_page *p = code_page_get(c->grp->code, the->g.ram + gpa);

	code_page_cover(c, p, gpa & 4095, len, flags_of(gpa));
}

/* --- tags ------------------------------------------------------------------------------------------- */

/* What translated code compares: page numbers only. */
static bool hits(uint64_t tag, uint64_t lin, unsigned int size)
{
	return (tag ^ lin) <= 4096 - size;
}

static void test_empty_tags(void **state)
{
	struct cpu *c = cpu(0);

	for (unsigned int k = 0; k < TLB_SIZE; k++)
		for (unsigned int n = 0; n < 4; n++) {
			uint64_t lin = ((uint64_t)k << 12) + (n & 1 ? 0xff8 : 0) +
				       (n & 2 ? UINT64_C(0xffff800000000000) : 0);

			assert_false(hits(entry(c, lin)->r, lin, 8));
			assert_false(hits(entry(c, lin)->w, lin, 8));
			assert_true(tlb_is_none(entry(c, lin)->x));
		}
	assert_false(hits(c->hot.stk_tag, 0, 1));
}

static void test_fill(void **state)
{
	struct cpu *c = cpu(0);

	assert_true(mem_fill(c, DATA + 8, 8, 0));
	assert_true(entry(c, DATA)->r == DATA);
	/* Not dirty yet. */
	assert_true(tlb_is_none(entry(c, DATA)->w));
	assert_true(mem_fill(c, DATA + 8, 8, MEM_RMW));
	assert_true(entry(c, DATA)->w == DATA);
	assert_ptr_equal(tlb_host(entry(c, DATA), DATA + 5), the->g.ram + DATA + 5);
	/* Only ld and st can do these. */
	assert_false(mem_fill(c, DATA + 0xffc, 8, 0));
	assert_false(mem_fill(c, DATA + 0x1000 - 1, 2, MEM_RMW));
	/* Another page of the slot. */
	assert_true(mem_fill(c, FAR + DATA, 1, 0));
	assert_true(entry(c, DATA)->r == FAR + DATA);
}

/* --- executed pages ----------------------------------------------------------------------------------- */

static void test_exec_page(void **state)
{
	struct fixture *f = *state;
	struct cpu *c = cpu(0);

	execute(c, G_CODE);
	assert_true(mem_fill(c, DATA, 8, MEM_RMW));
	/* Read access does not make it executable. */
	assert_true(tlb_is_none(entry(c, DATA)->x));
	tlb_flush_page(c, DATA);
	assert_int_equal(f->gone_pages + f->gone_all, 0);
	assert_true(tlb_is_none(entry(c, DATA)->w));
	/* Also when another page has its slot. */
	assert_true(mem_fill(c, FAR + G_CODE, 8, 0));
	tlb_flush_page(c, G_CODE + 0x123);
	assert_int_equal(f->gone_pages, 1);
	assert_int_equal(f->gone_all, 0);
	assert_int_equal(f->gone_lin & ~0xfffull, G_CODE);
	assert_ptr_equal(f->gone_set, &c->sys->ctx->set[c->sys->priv]);
	assert_true(entry(c, G_CODE)->r == FAR + G_CODE);
}

static void test_exec_kept(void **state)
{
	struct cpu *c = cpu(0);

	execute(c, G_CODE);
	assert_true(mem_fill(c, G_CODE, 8, MEM_RMW)); /* walks again, for the dirty bit */
	assert_true(entry(c, G_CODE)->x == G_CODE);
	assert_true(entry(c, G_CODE)->w == G_CODE);
}

static void test_exec_large(void **state)
{
	struct fixture *f = *state;
	struct cpu *c = cpu(0);

	execute(c, BIG + 0x5000);
	assert_true(mem_fill(c, BIG + 0x6000, 8, 0));
	tlb_flush_page(c, BIG + 0x1ff000);
	assert_int_equal(f->gone_all, 1);
	assert_true(tlb_is_none(entry(c, BIG + 0x5000)->x));
	assert_true(tlb_is_none(entry(c, BIG + 0x6000)->r));
}

static void test_exec_flushes(void **state)
{
	struct fixture *f = *state;
	struct cpu *c = cpu(0);

	tlb_flush_all(c);
	tlb_load_cr3(c, 0, false);
	assert_int_equal(f->gone_all, 0); /* nothing was executed */
	execute(c, G_CODE);
	tlb_load_cr3(c, 0, true);
	assert_int_equal(f->gone_all, 0);
	assert_true(entry(c, G_CODE)->x == G_CODE);
	tlb_load_cr3(c, 0, false);
	assert_int_equal(f->gone_all, 1);
	assert_true(tlb_is_none(entry(c, G_CODE)->x));
	tlb_load_cr3(c, 0, false);
	assert_int_equal(f->gone_all, 1);
	tlb_flush_page(c, G_CODE);
	assert_int_equal(f->gone_pages, 0);
	execute(c, G_CODE);
	tlb_flush_all(c);
	assert_int_equal(f->gone_all, 2);
}

/* Global pages stay, and other address spaces have them, too. */
static void test_exec_global(void **state)
{
	struct fixture *f = *state;
	struct cpu *c = cpu(0);
	struct tlb_set *first = &c->sys->ctx->set[c->sys->priv];

	put_le64(f->g.ram + G_PT + 0x3000 + G_CODE / 4096 * 8, G_CODE | 0x107);
	execute(c, G_CODE);
	tlb_load_cr3(c, 0, false);
	assert_int_equal(f->gone_all, 0);
	assert_true(entry(c, G_CODE)->x == G_CODE);
	tlb_load_cr3(c, 5, false);
	assert_true(tlb_is_none(entry(c, G_CODE)->x));
	execute(c, DATA);
	tlb_flush_page(c, G_CODE);
	assert_int_equal(f->gone_pages, 1);
	assert_ptr_equal(f->gone_set, first);
	assert_true(tlb_is_none(tlb_slot(first->e, G_CODE)->x));
	/* One that is not global, of another address space: not concerned. */
	tlb_load_cr3(c, 0, true);
	tlb_flush_page(c, DATA);
	assert_int_equal(f->gone_pages, 1);
	tlb_flush_pcid(c, 5, true, DATA);
	assert_int_equal(f->gone_pages, 2);
}

/* --- write tags --------------------------------------------------------------------------------------- */

static void test_write_tag(void **state)
{
	struct fixture *f = *state;
	struct cpu *c = cpu(0);

	assert_true(mem_fill(c, DATA, 8, MEM_RMW));
	assert_true(mem_fill(c, FAR + DATA + 0x1000, 8, MEM_RMW));
	put_le64(f->g.ram + G_PT + 0x3000 + 8, DATA | 7); /* a second alias */
	assert_true(mem_fill(c, 0x1000, 8, MEM_RMW));
	cover(c, DATA + 0x80, 16);
	assert_true(atomic_load(flags_of(DATA)) & PAGE_F_CODE);
	assert_true(tlb_is_none(entry(c, DATA)->w));
	assert_true(tlb_is_none(entry(c, 0x1000)->w));
	assert_true(entry(c, DATA)->r == DATA);
	assert_false(tlb_is_none(entry(c, FAR + DATA + 0x1000)->w));
	assert_true(c->hot.stk_tag == STK_NONE);
	/* Nobody gets one while the flag is set, nor does it need a walk. */
	assert_false(mem_fill(c, DATA, 8, MEM_RMW));
	c->stats.page_walks = 0;
	st64(c, DATA, 1, 0);
	assert_int_equal(c->stats.page_walks, 0);
	assert_int_equal(get_le64(f->g.ram + DATA), 1);
	assert_int_equal(f->code_gone, 0);
	assert_true(tlb_is_none(entry(c, DATA)->w));

	/* A store that hits. The flag stays until one that does not. */
	st8(c, 0x1000 + 0x8f, 1, 0);
	assert_int_equal(f->code_gone, 1);
	assert_int_equal(f->code_pieces, 4);
	assert_ptr_equal(f->code_page, f->g.ram + DATA);
	assert_false(mem_fill(c, DATA, 8, MEM_RMW));
	cover(c, DATA + 0x80, 16);
	assert_false(mem_fill(c, DATA, 8, MEM_RMW));
	st64(c, DATA + 0x80, 2, 0);
	assert_int_equal(f->code_gone, 2);
	st64(c, DATA + 0x80, 3, 0);
	assert_int_equal(f->code_gone, 2);
	assert_true(mem_fill(c, DATA, 8, MEM_RMW));
	assert_true(entry(c, DATA)->w == DATA);
	assert_true(mem_fill(c, 0x1000, 8, MEM_RMW));
}

static void test_write_tag_many(void **state)
{
	struct fixture *f = *state;
	struct cpu *c = cpu(0);

	for (unsigned int k = 1; k <= 6; k++) {
		put_le64(f->g.ram + G_PT + 0x3000 + k * 8, DATA | 7);
		assert_true(mem_fill(c, k * 0x1000, 8, MEM_RMW));
	}
	assert_true(mem_fill(c, DATA + 0x1000, 8, MEM_RMW));
	cover(c, DATA, 1);
	for (unsigned int k = 1; k <= 6; k++)
		assert_true(tlb_is_none(entry(c, k * 0x1000)->w));
	assert_true(entry(c, DATA + 0x1000)->w == DATA + 0x1000);
}

static void test_pieces(void **state)
{
	struct fixture *f = *state;
	struct cpu *c = cpu(0);

	cover(c, DATA, 4096);
	st64(c, DATA + 0x3c, 1, 0); /* two pieces */
	assert_int_equal(f->code_pieces, 3);
	st8(c, DATA + 0xfff, 1, 0);
	assert_true(f->code_pieces == (UINT64_C(1) << 63 | 3));
	/* A device writes the rest. */
	assert_int_equal(physmem_write(&f->g.mem, DATA, (uint8_t[4096]){ 0 }, 4096), 0);
	assert_true(f->code_pieces == UINT64_MAX);
	assert_int_equal(f->code_gone, 3);
	/* Data that stands beside code, stored to for long, is data. */
	cover(c, DATA, 1);
	for (unsigned int k = 0; k < 1000 && atomic_load(flags_of(DATA)); k++)
		st8(c, DATA + 0x800, 1, 0);
	assert_int_equal(atomic_load(flags_of(DATA)), 0);
	assert_int_equal(f->code_gone, 4);
}

static void test_left_flag(void **state)
{
	struct cpu *c = cpu(0);

	atomic_store(flags_of(DATA), PAGE_F_CODE);
	assert_false(mem_fill(c, DATA, 8, MEM_RMW));
	st8(c, DATA, 1, 0);
	assert_true(mem_fill(c, DATA, 8, MEM_RMW));
}

/* --- two vCPUs ----------------------------------------------------------------------------------------- */

static bool asked(const struct cpu *c)
{
	return atomic_load(&c->hot.pending) & CPU_PEND_WRITES;
}

static void test_other_cpu(void **state)
{
	struct fixture *f = *state;
	struct cpu *a = cpu(0), *b = cpu(1);

	exclusive_enter(a);
	exclusive_enter(b);
	assert_true(mem_fill(b, DATA, 8, MEM_RMW));
	cover(a, DATA + 0x40, 8);
	assert_true(asked(b));
	assert_false(asked(cpu(2))); /* never had a tag */
	assert_true(entry(b, DATA)->w == DATA);
	/* One store goes unseen, for now. */
	f->g.ram[DATA + 0x41] = 0x99;
	assert_int_equal(f->code_gone, 0);
	code_sync(b);
	assert_false(asked(b));
	assert_true(tlb_is_none(entry(b, DATA)->w));
	assert_int_equal(f->code_gone, 1);
	assert_int_equal(f->code_pieces, 2);

	/* And when there was none. */
	cover(a, DATA + 0x80, 8);
	assert_false(asked(b));
	assert_true(mem_fill(b, DATA + 0x1000, 8, MEM_RMW));
	cover(a, DATA + 0x1000, 8);
	code_sync(b);
	assert_int_equal(f->code_gone, 1);

	/* Pieces that follow while it is still in the same block. */
	assert_true(mem_fill(b, DATA + 0x2000, 8, MEM_RMW));
	cover(a, DATA + 0x2000, 8);
	cover(a, DATA + 0x2100, 8);
	f->g.ram[DATA + 0x2107] = 1;
	f->code_pieces = 0;
	code_sync(b);
	assert_int_equal(f->code_gone, 2);
	assert_int_equal(f->code_pieces, 0x10);

	/* Who serializes sees what there is so far; what comes later is seen later. */
	cover(a, DATA + 0x2000, 0x200);
	assert_true(mem_fill(b, DATA + 0x4000, 8, MEM_RMW));
	cover(a, DATA + 0x4000, 0x80);
	code_serialize(a);
	assert_int_equal(f->code_gone, 2);
	f->g.ram[DATA + 0x4000] = 1;
	f->code_pieces = 0;
	code_serialize(a);
	assert_int_equal(f->code_gone, 3);
	assert_int_equal(f->code_pieces, 1);
	f->g.ram[DATA + 0x4040] = 1;
	code_sync(b);
	assert_int_equal(f->code_gone, 4);
	assert_int_equal(f->code_pieces, 3);
	code_serialize(a);
	assert_int_equal(f->code_gone, 4);

	/* Who is not running is not waited for, and does it before it runs. */
	assert_true(mem_fill(b, DATA + 0x3000, 8, MEM_RMW));
	exclusive_leave(b);
	cover(a, DATA + 0x3000, 8);
	assert_true(asked(b));
	f->g.ram[DATA + 0x3000] ^= 1;
	code_sync(a);
	assert_int_equal(f->code_gone, 4);
	exclusive_enter(b);
	code_sync(b);
	assert_true(tlb_is_none(entry(b, DATA + 0x3000)->w));
	exclusive_leave(b);
	exclusive_leave(a);
}

/* Before it may use what another one has decoded, a vCPU is rid of its own tags. */
static void test_covered_by_other(void **state)
{
	struct cpu *a = cpu(0), *b = cpu(1);

	assert_true(mem_fill(b, DATA, 8, MEM_RMW));
	cover(a, DATA, 8);
	assert_true(entry(b, DATA)->w == DATA);
	cover(b, DATA, 8);
	assert_true(tlb_is_none(entry(b, DATA)->w));
	assert_true(asked(b)); /* still has to say that it has come to a boundary */
}

static void test_many_pages(void **state)
{
	struct cpu *a = cpu(0), *b = cpu(1);

	for (unsigned int k = 0; k < 100; k++) {
		assert_true(mem_fill(b, DATA + k * 0x1000, 8, MEM_RMW));
		cover(a, DATA + k * 0x1000, 8);
	}
	assert_true(mem_fill(b, DATA + 100 * 0x1000, 8, MEM_RMW));
	code_sync(b);
	for (unsigned int k = 0; k < 100; k++)
		assert_true(tlb_is_none(entry(b, DATA + k * 0x1000)->w));
	/* The one that nobody asked for is found again without a walk. */
	b->stats.page_walks = 0;
	assert_true(mem_fill(b, DATA + 100 * 0x1000, 8, MEM_RMW));
	assert_int_equal(b->stats.page_walks, 0);
}

static void *poller(void *arg)
{
	struct cpu *c = arg;

	exclusive_enter(c);
	while (!asked(c))
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL);
	the->g.ram[DATA] = 7; /* the last store that was not looked after */
	code_sync(c);
	exclusive_leave(c);
	return NULL;
}

static void test_dirty_log(void **state)
{
	struct fixture *f = *state;
	pthread_t t;

	assert_true(mem_fill(cpu(1), DATA, 8, MEM_RMW));
	atomic_fetch_or(flags_of(DATA), PAGE_F_LOG);
	/* Nobody runs. */
	code_flagged(f->g.grp);
	assert_true(asked(cpu(0)) && asked(cpu(1)) && asked(cpu(2)));
	code_sync(cpu(1));
	assert_true(tlb_is_none(entry(cpu(1), DATA)->w));

	atomic_store(flags_of(DATA), 0);
	assert_true(mem_fill(cpu(1), DATA, 8, MEM_RMW));
	atomic_fetch_or(flags_of(DATA), PAGE_F_LOG);
	assert_int_equal(pthread_create(&t, NULL, poller, cpu(1)), 0);
	while (!(exclusive_inside(f->g.grp) & 2))
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	code_flagged(f->g.grp);
	assert_int_equal(f->g.ram[DATA], 7);
	pthread_join(t, NULL);
}

/* --- stress -------------------------------------------------------------------------------------------- */

/*
 * vCPUs that translate, and store without a look where their TLB lets them, a few stores a block. A translation is a
 * copy of a piece. In the end those alive must be what memory holds.
 */
enum { PAGES = 4, STRESS_MS = 700, BLOCK_STORES = 6 };

struct stress {
	pthread_mutex_t lock; /* the translation engine's */
	uint8_t copy[PAGES][4096];
	uint64_t alive[PAGES];
	uint64_t made, dropped;
	_Atomic bool stop;
};
static struct stress stress;

static void stress_gone(struct cpu_group *grp, const uint8_t *page, uint64_t pieces)
{
	unsigned int p = (unsigned int)((uint64_t)(page - the->g.ram - DATA) / 4096);

	pthread_mutex_lock(&stress.lock);
	stress.alive[p] &= ~pieces;
	stress.dropped++;
	pthread_mutex_unlock(&stress.lock);
}

static void stress_translate(struct cpu *c, unsigned int p, unsigned int piece)
{
	uint64_t gpa = DATA + p * 4096 + piece * PIECE;

	pthread_mutex_lock(&stress.lock);
	if (!(stress.alive[p] >> piece & 1)) {
		cover(c, gpa, PIECE);
		for (unsigned int k = 0; k < PIECE; k++)
			stress.copy[p][piece * PIECE + k] =
				__atomic_load_n(the->g.ram + gpa + k, __ATOMIC_RELAXED);
		stress.alive[p] |= UINT64_C(1) << piece;
		stress.made++;
	}
	pthread_mutex_unlock(&stress.lock);
}

static void *stress_run(void *arg)
{
	struct cpu *c = arg;
	uint64_t rng = 88172645463325252u + c->index;

	exclusive_enter(c);
	while (!atomic_load_explicit(&stress.stop, memory_order_relaxed)) {
		if (atomic_load_explicit(&c->hot.pending, memory_order_relaxed) & CPU_PEND_WRITES)
			code_sync(c);
		rng ^= rng << 13, rng ^= rng >> 7, rng ^= rng << 17;
		if (rng % 8 == 0)
			stress_translate(c, rng / 8 % PAGES, rng / 64 % 8);
		if (rng % 512 == 1)
			tlb_flush_all(c);
		/* A block. The first vCPU writes rarely, so that pages get cold. */
		for (unsigned int k = 0; k < BLOCK_STORES && (c->index || rng % 64 == 0); k++) {
			uint64_t at = DATA + rng / 512 % PAGES * 4096 + (rng >> 20) % 512;

			if (hits(entry(c, at)->w, at, 1) || mem_fill(c, at, 1, MEM_RMW))
				__atomic_store_n(tlb_host(entry(c, at), at), (uint8_t)(rng >> 40),
						 __ATOMIC_RELAXED);
			else
				st8(c, at, (uint8_t)(rng >> 40), 0);
			rng ^= rng << 13, rng ^= rng >> 7, rng ^= rng << 17;
		}
	}
	if (asked(c))
		code_sync(c);
	exclusive_leave(c);
	return NULL;
}

static void test_stress(void **state)
{
	struct fixture *f = *state;
	pthread_t t[NR];

	pthread_mutex_init(&stress.lock, NULL);
	f->g.grp->code_gone = stress_gone;
	for (unsigned int k = 0; k < NR; k++)
		assert_int_equal(pthread_create(&t[k], NULL, stress_run, cpu(k)), 0);
	nanosleep(&(struct timespec){ .tv_nsec = STRESS_MS * 1000000 }, NULL);
	atomic_store(&stress.stop, true);
	for (unsigned int k = 0; k < NR; k++)
		pthread_join(t[k], NULL);
	/* What the last to leave has kept from being compared. */
	for (unsigned int k = 0; k < NR; k++)
		code_sync(cpu(k));
	for (unsigned int p = 0; p < PAGES; p++)
		for (unsigned int n = 0; n < 64; n++)
			if (stress.alive[p] >> n & 1)
				assert_memory_equal(stress.copy[p] + n * PIECE,
						    f->g.ram + DATA + p * 4096 + n * PIECE, PIECE);
	print_message("# %llu translations, %llu times some were dropped\n",
		      (unsigned long long)stress.made, (unsigned long long)stress.dropped);
	assert_true(stress.made > 100 && stress.dropped > 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_empty_tags),	     TEST(test_fill),	    TEST(test_exec_page),
		TEST(test_exec_kept),	     TEST(test_exec_large), TEST(test_exec_flushes),
		TEST(test_exec_global),	     TEST(test_write_tag),  TEST(test_write_tag_many),
		TEST(test_pieces),	     TEST(test_left_flag),  TEST(test_other_cpu),
		TEST(test_covered_by_other), TEST(test_many_pages), TEST(test_dirty_log),
		TEST(test_stress),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
