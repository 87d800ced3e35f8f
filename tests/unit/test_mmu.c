// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Page walks against a second opinion: a model with one plain function a paging mode, written from the
 * tables of the manual and sharing nothing with mmu.c, on random page tables, registers and accesses.
 * Compared are the outcome, the error code, the address, and every byte of memory (accessed and dirty
 * bits). MMU_SEED=n repeats a run.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "cpu/mmu.h"
#include "unit.h"

enum { RAM_PAGES = 48, RAM_SIZE = RAM_PAGES * 4096, ROUNDS = 60000, PHYS_BITS = 40 };

static uint64_t rng_state;

static uint64_t rnd(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state * UINT64_C(0x2545f4914f6cdd1d);
}

static bool one_in(unsigned int n)
{
	return rnd() % n == 0;
}

/* --- the model ---------------------------------------------------------------------------------- */

struct model {
	uint8_t *ram;
	uint64_t cr0, cr3, cr4, efer, pdpte[4];
	uint32_t pkru, pkrs;
	bool has_1g;
	/* Result. */
	bool fault;
	uint32_t error;
	uint64_t gpa;
	/* Entries used: address and width. */
	uint64_t used[5];
	unsigned int nr_used;
};

struct want {
	bool write, exec, user, no_user_data; /* the last: SMAP */
};

static uint64_t ent(struct model *m, uint64_t gpa, unsigned int width)
{
	m->used[m->nr_used++] = gpa;
	if (gpa + width > RAM_SIZE)
		return width == 8 ? UINT64_MAX : UINT32_MAX;
	return width == 8 ? get_le64(m->ram + gpa) : get_le32(m->ram + gpa);
}

static void set_bits(struct model *m, uint64_t gpa, uint8_t set)
{
	if (gpa < RAM_SIZE)
		m->ram[gpa] |= set;
}

static bool bit(uint64_t v, unsigned int n)
{
	return v >> n & 1;
}

static bool any(uint64_t v, unsigned int hi, unsigned int lo)
{
	for (unsigned int n = lo; n <= hi; n++)
		if (bit(v, n))
			return true;
	return false;
}

static void model_fault(struct model *m, const struct want *w, bool present, bool rsvd, bool key)
{
	bool nx_on = bit(m->efer, 11) && bit(m->cr4, 5);

	m->fault = true;
	m->error = present | w->write << 1 | w->user << 2 | rsvd << 3 |
		   (uint32_t)(w->exec && (nx_on || bit(m->cr4, 20))) << 4 | (uint32_t)key << 5;
}

/* Everything is present and well-formed: rights. */
static void model_rights(struct model *m, const struct want *w, bool user, bool writable, bool nx,
			 uint64_t leaf, bool is_long)
{
	bool ok = true, key = false;

	if (w->exec) {
		if (nx)
			ok = false;
		if (w->user && !user)
			ok = false;
		if (!w->user && user && bit(m->cr4, 20))
			ok = false;
	} else {
		if (w->user && !user)
			ok = false;
		if (!w->user && user && w->no_user_data)
			ok = false;
		if (w->write && !writable && (w->user || bit(m->cr0, 16)))
			ok = false;
		if (is_long && bit(m->cr4, user ? 22 : 24)) {
			uint32_t r = (user ? m->pkru : m->pkrs) >> (leaf >> 59 & 15) * 2 & 3;

			if (r & 1)
				key = true;
			if ((r & 2) && w->write && (w->user || bit(m->cr0, 16)))
				key = true;
		}
	}
	if (!ok || key)
		model_fault(m, w, true, false, key);
}

static void model_used(struct model *m, const struct want *w)
{
	if (m->fault)
		return;
	for (unsigned int k = 0; k < m->nr_used; k++)
		set_bits(m, m->used[k], k == m->nr_used - 1 && w->write ? 0x60 : 0x20);
}

static void model_32(struct model *m, uint64_t lin, const struct want *w)
{
	uint64_t pde = ent(m, (m->cr3 & 0xfffff000) + (lin >> 22 & 0x3ff) * 4, 4), pte;

	if (!bit(pde, 0)) {
		model_fault(m, w, false, false, false);
		return;
	}
	if (bit(pde, 7) && bit(m->cr4, 4)) {
		if (bit(pde, 21)) { /* with 40 address bits, 13 to 20 are all used */
			model_fault(m, w, true, true, false);
			return;
		}
		m->gpa = (pde & 0xffc00000) | (pde >> 13 & 0xff) << 32 | (lin & 0x3fffff);
		model_rights(m, w, bit(pde, 2), bit(pde, 1), false, 0, false);
	} else {
		pte = ent(m, (pde & 0xfffff000) + (lin >> 12 & 0x3ff) * 4, 4);
		if (!bit(pte, 0)) {
			model_fault(m, w, false, false, false);
			return;
		}
		m->gpa = (pte & 0xfffff000) | (lin & 0xfff);
		model_rights(m, w, bit(pde, 2) && bit(pte, 2), bit(pde, 1) && bit(pte, 1), false, 0,
			     false);
	}
	model_used(m, w);
}

/* PDE and PTE of the formats with 8-byte entries. */
static void model_wide_tail(struct model *m, uint64_t lin, const struct want *w, uint64_t table,
			    bool user, bool writable, bool nx, bool is_long)
{
	unsigned int top = is_long ? 51 : 62;
	uint64_t pde = ent(m, table + (lin >> 21 & 0x1ff) * 8, 8), pte, leaf;

	if (!bit(pde, 0)) {
		model_fault(m, w, false, false, false);
		return;
	}
	if (any(pde, top, PHYS_BITS) || (bit(pde, 63) && !bit(m->efer, 11)) ||
	    (bit(pde, 7) && any(pde, 20, 13))) {
		model_fault(m, w, true, true, false);
		return;
	}
	user = user && bit(pde, 2);
	writable = writable && bit(pde, 1);
	nx = nx || bit(pde, 63);
	if (bit(pde, 7)) {
		m->gpa = (pde & UINT64_C(0xffffe00000)) | (lin & 0x1fffff);
		leaf = pde;
	} else {
		pte = ent(m, (pde & UINT64_C(0xfffffff000)) + (lin >> 12 & 0x1ff) * 8, 8);
		if (!bit(pte, 0)) {
			model_fault(m, w, false, false, false);
			return;
		}
		if (any(pte, top, PHYS_BITS) || (bit(pte, 63) && !bit(m->efer, 11))) {
			model_fault(m, w, true, true, false);
			return;
		}
		user = user && bit(pte, 2);
		writable = writable && bit(pte, 1);
		nx = nx || bit(pte, 63);
		m->gpa = (pte & UINT64_C(0xfffffff000)) | (lin & 0xfff);
		leaf = pte;
	}
	model_rights(m, w, user, writable, nx, leaf, is_long);
	model_used(m, w);
}

static void model_pae(struct model *m, uint64_t lin, const struct want *w)
{
	uint64_t pdpte = m->pdpte[lin >> 30 & 3];

	if (!bit(pdpte, 0)) {
		model_fault(m, w, false, false, false);
		return;
	}
	model_wide_tail(m, lin, w, pdpte & UINT64_C(0xfffffff000), true, true, false, false);
}

static void model_long(struct model *m, uint64_t lin, const struct want *w)
{
	bool user = true, writable = true, nx = false;
	uint64_t table = m->cr3 & UINT64_C(0xffffffffff000), e;

	for (unsigned int level = 4; level >= 3; level--) {
		e = ent(m, table + (lin >> (12 + 9 * (level - 1)) & 0x1ff) * 8, 8);
		if (!bit(e, 0)) {
			model_fault(m, w, false, false, false);
			return;
		}
		if (any(e, 51, PHYS_BITS) || (bit(e, 63) && !bit(m->efer, 11)) ||
		    (level == 4 && any(e, 8, 7))) {
			model_fault(m, w, true, true, false);
			return;
		}
		if (level == 3 && bit(e, 7) ? !m->has_1g || any(e, 29, 13)
					    : level == 3 && bit(e, 8)) {
			model_fault(m, w, true, true, false);
			return;
		}
		user = user && bit(e, 2);
		writable = writable && bit(e, 1);
		nx = nx || bit(e, 63);
		if (level == 3 && bit(e, 7)) {
			m->gpa = (e & UINT64_C(0xffc0000000)) | (lin & 0x3fffffff);
			model_rights(m, w, user, writable, nx, e, true);
			model_used(m, w);
			return;
		}
		table = e & UINT64_C(0xfffffff000);
	}
	model_wide_tail(m, lin, w, table, user, writable, nx, true);
}

/* --- random worlds ------------------------------------------------------------------------------ */

struct world {
	struct cpu *c;
	struct cpu_group grp;
	struct physmem mem;
	uint8_t *ram, *shadow;
};

static int setup(void **state)
{
	const char *seed = getenv("MMU_SEED");
	struct world *w = calloc(1, sizeof(*w));

	rng_state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) * 2654435761u + 1;
	print_message("# MMU_SEED=%" PRIu64 "\n", rng_state);
	w->ram = aligned_alloc(4096, RAM_SIZE);
	w->shadow = malloc(RAM_SIZE);
	w->c = aligned_alloc(64, (sizeof(*w->c) + 63) & ~(size_t)63);
	memset(w->c, 0, sizeof(*w->c));
	w->c->grp = &w->grp;
	w->grp.mem = &w->mem;
	w->grp.cpuid.phys_bits = PHYS_BITS;
	w->mem.nr = 1;
	w->mem.region[0] = (struct physmem_region){ .size = RAM_SIZE,
						    .hva = w->ram,
						    .page_flags = calloc(RAM_PAGES, 1) };
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	free((void *)w->mem.region[0].page_flags);
	free(w->ram);
	free(w->shadow);
	free(w->c);
	free(w);
	return 0;
}

/* Entries that mostly lead somewhere: present, few reserved bits, tables within RAM. Half of the time all have been
 * used before, as in a guest that has run for a while. */
static void fill_ram(struct world *w, unsigned int width)
{
	uint64_t used = one_in(2) ? 0x20 : 0;

	for (unsigned int off = 0; off < RAM_SIZE; off += width) {
		uint64_t e = rnd() & 0xfff;

		e |= used | (one_in(12) ? 0 : 1);
		if (!one_in(4))
			e &= ~UINT64_C(0x180);
		e |= (rnd() % (RAM_PAGES + 1)) << 12;
		if (one_in(8))
			e = (e & 0xfff) |
			    (rnd() & (width == 4 ? 0xffdfe000 : UINT64_C(0xffc0000000)));
		if (width == 4 && one_in(16))
			e |= 1 << 21;
		if (one_in(16))
			e |= rnd() & (UINT64_C(1) << 51 | UINT64_C(1) << 45 | UINT64_C(1) << 62);
		e |= rnd() & UINT64_C(0x7800000000000000) & (one_in(2) ? UINT64_MAX : 0);
		if (one_in(3))
			e |= UINT64_C(1) << 63;
		put_le(w->ram + off, e, width);
	}
}

static void fill_regs(struct world *w)
{
	struct cpu_state *s = &w->c->st;
	unsigned int mode = rnd() % 3;

	s->cr0 = CR0_PE | CR0_PG | (one_in(2) ? CR0_WP : 0);
	s->cr4 = (one_in(2) ? CR4_PSE : 0) | (one_in(2) ? CR4_SMEP : 0) | (one_in(2) ? CR4_PGE : 0);
	s->efer = one_in(3) ? 0 : EFER_NXE;
	s->cr3 = rnd() % RAM_PAGES << 12;
	s->pkru = (uint32_t)rnd();
	s->pkrs = (uint32_t)rnd();
	w->c->long_mode = false;
	w->grp.cpuid.features[CPUID_PDPE1GB / 64] = one_in(2) ? UINT64_MAX : 0;
	if (mode > 0) {
		s->cr4 |= CR4_PAE;
		for (unsigned int k = 0; k < 4; k++)
			s->pdpte[k] = rnd() % RAM_PAGES << 12 | (one_in(4) ? 0 : 1);
	}
	if (mode == 2) {
		s->efer |= EFER_LMA | EFER_LME;
		w->c->long_mode = true;
		s->cr4 |= (one_in(2) ? CR4_PKE : 0) | (one_in(2) ? CR4_PKS : 0);
	}
	fill_ram(w, mode == 0 ? 4 : 8);
}

static void compare(struct world *w)
{
	static const char *const access_name[] = { "read", "write", "exec" };
	const struct cpu_state *s = &w->c->st;
	enum mmu_access access = rnd() % 3;
	enum mmu_priv priv = rnd() % 3;
	uint64_t lin = (uint64_t)((int64_t)(rnd() << 16) >> 16);
	struct want want = { .write = access == MMU_WRITE,
			     .exec = access == MMU_EXEC,
			     .user = priv == MMU_USER,
			     .no_user_data = priv == MMU_SUPER_SMAP };
	struct model m = { .ram = w->shadow,
			   .cr0 = s->cr0,
			   .cr3 = s->cr3,
			   .cr4 = s->cr4,
			   .efer = s->efer,
			   .pkru = s->pkru,
			   .pkrs = s->pkrs,
			   .has_1g = w->grp.cpuid.features[CPUID_PDPE1GB / 64] };
	struct mmu_page page;
	int r;

	if (!w->c->long_mode)
		lin = (uint32_t)lin;
	memcpy(m.pdpte, s->pdpte, sizeof(m.pdpte));
	memcpy(w->shadow, w->ram, RAM_SIZE);
	if (!(s->cr4 & CR4_PAE))
		model_32(&m, lin, &want);
	else if (!w->c->long_mode)
		model_pae(&m, lin, &want);
	else
		model_long(&m, lin, &want);
	r = mmu_walk(w->c, lin, access, priv, &page);
	if (r != (m.fault ? -EFAULT : 0) || (m.fault && page.error != m.error) ||
	    (!m.fault && page.gpa != m.gpa) || memcmp(w->ram, w->shadow, RAM_SIZE))
		fail_msg("%s priv %d lin %" PRIx64 " cr0 %" PRIx64 " cr3 %" PRIx64 " cr4 %" PRIx64
			 " efer %" PRIx64 ": walk %d error %x gpa %" PRIx64
			 ", model fault %d error %x gpa %" PRIx64 "%s",
			 access_name[access], priv, lin, s->cr0, s->cr3, s->cr4, s->efer, r,
			 page.error, page.gpa, m.fault, m.error, m.gpa,
			 memcmp(w->ram, w->shadow, RAM_SIZE) ? ", memory differs" : "");
}

static void test_random(void **state)
{
	struct world *w = *state;

	for (unsigned int k = 0; k < ROUNDS; k++) {
		if (k % 300 == 0)
			fill_regs(w);
		compare(w);
	}
}

/* What a walk says may be done without another walk must be true. */
static void test_rights_are_true(void **state)
{
	struct world *w = *state;

	for (unsigned int k = 0; k < ROUNDS / 4; k++) {
		uint64_t lin = w->c->long_mode ? (uint64_t)((int64_t)(rnd() << 16) >> 16) : 0;
		enum mmu_priv priv = rnd() % 3;
		struct mmu_page first, again;

		if (k % 300 == 0)
			fill_regs(w);
		lin = w->c->long_mode ? lin : (uint32_t)rnd();
		if (mmu_walk(w->c, lin, rnd() % 3, priv, &first) < 0)
			continue;
		memcpy(w->shadow, w->ram, RAM_SIZE);
		if (first.r)
			assert_int_equal(mmu_walk(w->c, lin, MMU_READ, priv, &again), 0);
		if (first.w)
			assert_int_equal(mmu_walk(w->c, lin, MMU_WRITE, priv, &again), 0);
		if (first.x)
			assert_int_equal(mmu_walk(w->c, lin, MMU_EXEC, priv, &again), 0);
		assert_memory_equal(w->ram, w->shadow, RAM_SIZE);
	}
}

static void test_probe_changes_nothing(void **state)
{
	struct world *w = *state;

	for (unsigned int k = 0; k < ROUNDS / 16; k++) {
		struct mmu_page page;
		uint64_t lin = rnd();

		if (k % 300 == 0)
			fill_regs(w);
		memcpy(w->shadow, w->ram, RAM_SIZE);
		ignore_result(mmu_probe(w->c, lin, &page)); /* any answer; only the traces count */
		assert_memory_equal(w->ram, w->shadow, RAM_SIZE);
	}
}

static void test_pdptes(void **state)
{
	struct world *w = *state;
	uint64_t pdpte[4] = { 7, 7, 7, 7 };

	memset(w->ram, 0, 4096);
	put_le64(w->ram + 0x20, 0x1001);
	put_le64(w->ram + 0x38,
		 UINT64_C(0x8000000000000006)); /* not present: reserved bits are free */
	assert_int_equal(mmu_pdptes_load(w->c, 0x20, pdpte), 0);
	assert_true(pdpte[0] == 0x1001 && pdpte[1] == 0);
	put_le64(w->ram + 0x28, 0x2003); /* bit 1 is reserved */
	assert_int_equal(mmu_pdptes_load(w->c, 0x20, pdpte), -EINVAL);
	assert_true(pdpte[0] == 0x1001);
	assert_int_equal(mmu_pdptes_load(w->c, RAM_SIZE, pdpte), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rights_are_true, setup, teardown),
		cmocka_unit_test_setup_teardown(test_probe_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pdptes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
