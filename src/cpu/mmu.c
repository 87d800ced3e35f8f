// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Page walks. One loop for all formats: a format is a number of levels, the width of an entry, which
 * levels may hold a leaf, and which bits are reserved. Accessed and dirty bits are set at the end, when
 * the access is known to be allowed, by compare-and-swap against the entry that was read; when another
 * CPU changed one meanwhile the walk starts again.
 */
#include "cpu/mmu.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

enum pte_bits {
	PTE_P = 1 << 0,
	PTE_W = 1 << 1,
	PTE_U = 1 << 2,
	PTE_A = 1 << 5,
	PTE_D = 1 << 6,
	PTE_PS = 1 << 7,
	PTE_G = 1 << 8,
};
#define PTE_NX	 UINT64_C(0x8000000000000000)
#define PTE_ADDR UINT64_C(0x000ffffffffff000)

enum { MAX_LEVELS = 5 };

static uint64_t bits(unsigned int hi, unsigned int lo)
{
	return hi < lo ? 0 : (UINT64_MAX >> (63 - hi)) & (UINT64_MAX << lo);
}

/* An entry in guest memory. Outside RAM there is nothing to read: all ones, which faults. */
struct entry {
	uint64_t value;
	uint8_t *host; /* NULL: cannot be written */
	const struct physmem_region *region;
	uint64_t off;
};

static void entry_read(const struct cpu *c, uint64_t gpa, bool is_wide, struct entry *e)
{
	const struct physmem_region *r = physmem_find(c->grp->mem, gpa);

	if (!r) {
		e->value = is_wide ? UINT64_MAX : UINT32_MAX;
		e->host = NULL;
		return;
	}
	e->off = gpa - r->gpa;
	e->region = r;
	e->host = r->is_rom ? NULL : r->hva + e->off;
	/* Tables are aligned to their size, so this is one load on the host. */
	e->value =
		is_wide ? __atomic_load_n((uint64_t *)(void *)(r->hva + e->off), __ATOMIC_RELAXED)
			: __atomic_load_n((uint32_t *)(void *)(r->hva + e->off), __ATOMIC_RELAXED);
}

/* Returns false when the entry is no longer what was read. */
static bool entry_set(const struct cpu *c, struct entry *e, bool is_wide, uint64_t set)
{
	bool ok;

	if ((e->value & set) == set || !e->host)
		return true;
	if (is_wide) {
		ok = __atomic_compare_exchange_n((uint64_t *)(void *)e->host, &e->value,
						 e->value | set, false, __ATOMIC_SEQ_CST,
						 __ATOMIC_RELAXED);
	} else {
		uint32_t old = (uint32_t)e->value;

		ok = __atomic_compare_exchange_n((uint32_t *)(void *)e->host, &old,
						 old | (uint32_t)set, false, __ATOMIC_SEQ_CST,
						 __ATOMIC_RELAXED);
	}
	if (ok)
		physmem_wrote(c->grp->mem, e->region, e->off, is_wide ? 8 : 4);
	return ok;
}

/* What the present paging mode looks like. */
struct format {
	unsigned int levels;
	bool is_wide; /* 8-byte entries */
	bool is_long;
	uint64_t root;
	uint64_t rsvd_all; /* reserved at every level */
};

static void format_get(const struct cpu *c, struct format *f)
{
	unsigned int phys = c->grp->cpuid.phys_bits;

	f->is_wide = c->st.cr4 & CR4_PAE;
	f->is_long = c->st.efer & EFER_LMA;
	f->rsvd_all = 0;
	if (!f->is_wide) {
		f->levels = 2;
		f->root = c->st.cr3 & 0xfffff000;
		return;
	}
	f->rsvd_all = bits(f->is_long ? 51 : 62, phys);
	if (!(c->st.efer & EFER_NXE))
		f->rsvd_all |= PTE_NX;
	if (f->is_long) {
		f->levels = c->st.cr4 & CR4_LA57 ? 5 : 4;
		f->root = c->st.cr3 & PTE_ADDR;
	} else {
		f->levels = 2; /* the third is in pdpte[] */
		f->root = 0;
	}
}

/* Is the entry of a level (1 = page table) a leaf, and which of its bits are reserved? */
static bool entry_is_leaf(const struct cpu *c, const struct format *f, unsigned int level,
			  uint64_t value, uint64_t *ret_rsvd)
{
	bool has_ps = value & PTE_PS;

	*ret_rsvd = f->rsvd_all;
	if (level == 1)
		return true;
	if (!f->is_wide) {
		if (!has_ps || !(c->st.cr4 & CR4_PSE))
			return false;
		/* PSE-36: bits 13-20 are address bits 32-39. */
		*ret_rsvd = bits(21, 21) | bits(20, c->grp->cpuid.phys_bits >= 40
							    ? 21
							    : c->grp->cpuid.phys_bits - 32 + 13);
		return true;
	}
	if (level == 2 && has_ps) {
		*ret_rsvd |= bits(20, 13);
		return true;
	}
	if (level == 3 && has_ps && f->is_long) {
		*ret_rsvd |= cpuid_has(&c->grp->cpuid, CPUID_PDPE1GB) ? bits(29, 13) : PTE_PS;
		return true;
	}
	if (level >= 4)
		*ret_rsvd |= PTE_PS;
	if (level >= 3)
		*ret_rsvd |= PTE_G; /* AMD: must be 0 in tables above the page directory */
	return false;
}

static uint32_t fault_code(const struct cpu *c, enum mmu_access access, enum mmu_priv priv,
			   uint32_t what)
{
	bool has_i = (c->st.cr4 & CR4_SMEP) || ((c->st.cr4 & CR4_PAE) && (c->st.efer & EFER_NXE));

	return what | (access == MMU_WRITE ? PF_W : 0) | (priv == MMU_USER ? PF_U : 0) |
	       (access == MMU_EXEC && has_i ? PF_I : 0);
}

/* The rights of a mapping whose entries ANDed are @all, NX ORed in. */
static void rights_get(const struct cpu *c, uint64_t all, bool is_nx, enum mmu_priv priv,
		       struct mmu_page *ret)
{
	bool is_user = all & PTE_U, is_writable = all & PTE_W;

	if (priv == MMU_USER) {
		ret->r = is_user;
		ret->w = is_user && is_writable;
		ret->x = is_user && !is_nx;
		return;
	}
	ret->r = priv == MMU_SUPER || !is_user;
	ret->w = ret->r && (is_writable || !(c->st.cr0 & CR0_WP));
	ret->x = !is_nx && !(is_user && (c->st.cr4 & CR4_SMEP));
}

/*
 * Protection keys take rights to data away, by the key in the leaf entry and PKRU (user pages) or PKRS
 * (supervisor pages): SDM volume 3, 4.6.2. Returns the rights they took, as bits numbered by enum
 * mmu_access.
 */
static unsigned int keys_apply(const struct cpu *c, uint64_t leaf, bool is_user_page,
			       enum mmu_priv priv, struct mmu_page *ret)
{
	unsigned int taken = 0, shift = (leaf >> 59 & 15) * 2;
	uint32_t rights;

	if (likely(!(c->st.cr4 & (is_user_page ? CR4_PKE : CR4_PKS)) || !c->long_mode))
		return 0;
	rights = (is_user_page ? c->st.pkru : c->st.pkrs) >> shift;
	if (rights & 1) /* access disabled */
		taken |= 1u << MMU_READ | 1u << MMU_WRITE;
	if ((rights & 2) && (priv == MMU_USER || (c->st.cr0 & CR0_WP))) /* write disabled */
		taken |= 1u << MMU_WRITE;
	ret->r = ret->r && !(taken & 1u << MMU_READ);
	ret->w = ret->w && !(taken & 1u << MMU_WRITE);
	return taken;
}

static int walk_fail(struct mmu_page *ret, uint32_t error)
{
	ret->error = error;
	return -EFAULT;
}

/* @is_probe: no rights, no accessed bits. Returns -EAGAIN when a table changed under the walk. */
static int walk_once(struct cpu *c, uint64_t lin, enum mmu_access access, enum mmu_priv priv,
		     bool is_probe, struct mmu_page *ret)
{
	struct entry e[MAX_LEVELS + 1];
	uint64_t all = PTE_W | PTE_U, table, rsvd, size_mask;
	unsigned int level, index_bits, shift, taken;
	struct format f;
	bool is_nx = false, is_leaf = false, allowed;

	format_get(c, &f);
	index_bits = f.is_wide ? 9 : 10;
	table = f.root;
	if (f.is_wide && !f.is_long) {
		uint64_t pdpte = c->st.pdpte[(lin >> 30) & 3];

		if (!(pdpte & PTE_P))
			return walk_fail(ret, fault_code(c, access, priv, 0));
		table = pdpte & bits(c->grp->cpuid.phys_bits - 1, 12);
	}
	for (level = f.levels;; level--) {
		shift = 12 + (level - 1) * index_bits;
		entry_read(c,
			   table + ((lin >> shift) & ((1u << index_bits) - 1)) *
					   (f.is_wide ? 8 : 4),
			   f.is_wide, &e[level]);
		if (!(e[level].value & PTE_P))
			return walk_fail(ret, fault_code(c, access, priv, 0));
		is_leaf = entry_is_leaf(c, &f, level, e[level].value, &rsvd);
		if (e[level].value & rsvd)
			return walk_fail(ret, fault_code(c, access, priv, PF_P | PF_RSVD));
		all &= e[level].value;
		is_nx |= f.is_wide && (e[level].value & PTE_NX);
		if (is_leaf)
			break;
		table = e[level].value & (f.is_wide ? PTE_ADDR : UINT64_C(0xfffff000));
	}

	size_mask = (UINT64_C(1) << shift) - 1;
	ret->shift = (uint8_t)shift;
	ret->gpa = (e[level].value & PTE_ADDR & ~size_mask) | (lin & size_mask);
	if (!f.is_wide)
		ret->gpa = (ret->gpa & 0xffffffff) |
			   (level == 2 ? (e[level].value & bits(20, 13)) << 19 : 0);
	ret->global = (e[level].value & PTE_G) && (c->st.cr4 & CR4_PGE);
	if (is_probe)
		return 0;

	rights_get(c, all, is_nx, priv, ret);
	taken = keys_apply(c, e[level].value, all & PTE_U, priv, ret);
	allowed = access == MMU_READ ? ret->r : access == MMU_WRITE ? ret->w : ret->x;
	if (!allowed)
		return walk_fail(ret, fault_code(c, access, priv,
						 PF_P | (taken >> access & 1 ? PF_PK : 0)));
	for (unsigned int k = f.levels; k > level; k--)
		if (!entry_set(c, &e[k], f.is_wide, PTE_A))
			return -EAGAIN;
	if (!entry_set(c, &e[level], f.is_wide, access == MMU_WRITE ? PTE_A | PTE_D : PTE_A))
		return -EAGAIN;
	ret->w = ret->w && (access == MMU_WRITE || (e[level].value & PTE_D));
	return 0;
}

/*
 * The common case by itself, because TLB misses are frequent: 4 or 5 levels in RAM, every entry present, well-formed
 * and with the accessed (and dirty) bits it needs, access allowed. Returns false without a trace for everything else.
 */
static bool walk_quick(const struct cpu *c, uint64_t lin, enum mmu_access access,
		       enum mmu_priv priv, struct mmu_page *ret)
{
	const struct physmem *m = c->grp->mem;
	const struct physmem_region *r = &m->region[0];
	uint64_t cr4 = c->st.cr4, table = c->st.cr3 & PTE_ADDR, all = PTE_W | PTE_U, any = 0, v;
	uint64_t rsvd = (PTE_ADDR | (c->st.efer & EFER_NXE ? 0 : PTE_NX)) &
			(UINT64_MAX << c->grp->cpuid.phys_bits);
	uint64_t need = PTE_P | PTE_A, size_mask;
	unsigned int shift = cr4 & CR4_LA57 ? 48 : 39;

	if (!(c->st.efer & EFER_LMA))
		return false;
	for (;; shift -= 9) {
		uint64_t at = table + (lin >> shift & 511) * 8, off = at - r->gpa;

		if (unlikely(off >= r->size)) {
			r = physmem_find(m, at);
			if (!r)
				return false;
			off = at - r->gpa;
		}
		v = __atomic_load_n((uint64_t *)(void *)(r->hva + off), __ATOMIC_RELAXED);
		if (unlikely((v & need) != need || (v & rsvd)))
			return false;
		all &= v;
		any |= v;
		if (shift == GUEST_PAGE_SHIFT || (v & PTE_PS))
			break;
		if (shift >= 30 && (v & PTE_G)) /* reserved above the page directory */
			return false;
		table = v & PTE_ADDR;
	}
	size_mask = (UINT64_C(1) << shift) - 1;
	if (shift > GUEST_PAGE_SHIFT &&
	    (shift > 30 || (shift == 30 && !cpuid_has(&c->grp->cpuid, CPUID_PDPE1GB)) ||
	     (v & size_mask & ~UINT64_C(0x1fff))))
		return false;
	rights_get(c, all, any & PTE_NX, priv, ret);
	keys_apply(c, v, all & PTE_U, priv, ret);
	if (unlikely(!(access == MMU_READ ? ret->r : access == MMU_WRITE ? ret->w : ret->x)))
		return false;
	if (!(v & PTE_D)) {
		if (access == MMU_WRITE)
			return false;
		ret->w = false;
	}
	ret->gpa = (v & PTE_ADDR & ~size_mask) | (lin & size_mask);
	ret->shift = (uint8_t)shift;
	ret->global = (v & PTE_G) && (cr4 & CR4_PGE);
	return true;
}

int mmu_walk(struct cpu *c, uint64_t lin, enum mmu_access access, enum mmu_priv priv,
	     struct mmu_page *ret)
{
	int r;

	c->stats.page_walks++;
	if (!(c->st.cr0 & CR0_PG)) {
		*ret = (struct mmu_page){
			.gpa = lin, .shift = GUEST_PAGE_SHIFT, .r = true, .w = true, .x = true
		};
		return 0;
	}
	if (likely(walk_quick(c, lin, access, priv, ret)))
		return 0;
	do {
		r = walk_once(c, lin, access, priv, false, ret);
	} while (r == -EAGAIN);
	return r;
}

int mmu_probe(struct cpu *c, uint64_t lin, struct mmu_page *ret)
{
	*ret = (struct mmu_page){ .gpa = lin, .shift = GUEST_PAGE_SHIFT };
	if (!(c->st.cr0 & CR0_PG))
		return 0;
	if (!mmu_is_canonical(c, lin))
		return -EFAULT;
	return walk_once(c, lin, MMU_READ, MMU_SUPER, true, ret);
}

int mmu_pdptes_load(struct cpu *c, uint64_t cr3, uint64_t ret[4])
{
	uint64_t rsvd = bits(2, 1) | bits(8, 5) | bits(63, c->grp->cpuid.phys_bits);
	uint64_t pdpte[4];

	for (unsigned int k = 0; k < 4; k++) {
		struct entry e;

		entry_read(c, (cr3 & 0xffffffe0) + k * 8, true, &e);
		if ((e.value & PTE_P) && (e.value & rsvd))
			return -EINVAL;
		pdpte[k] = e.value;
	}
	memcpy(ret, pdpte, sizeof(pdpte));
	return 0;
}

/* One piece of a debugger's access, within a page. */
static int debug_page(struct cpu *c, uint64_t lin, void *to, const void *from, uint64_t len)
{
	struct mmu_page page;
	const struct physmem_region *r;
	uint64_t off;

	if (mmu_probe(c, lin, &page) < 0)
		return -EFAULT;
	r = physmem_find(c->grp->mem, page.gpa);
	if (!r)
		return -EFAULT;
	off = page.gpa - r->gpa;
	if (to) {
		memcpy(to, r->hva + off, len);
		return 0;
	}
	/* Also into ROM: a breakpoint in firmware is what the user asked for. */
	memcpy(r->hva + off, from, len);
	physmem_wrote(c->grp->mem, r, off, len);
	return 0;
}

static int debug_access(struct cpu *c, uint64_t lin, uint8_t *to, const uint8_t *from, uint64_t len)
{
	while (len) {
		uint64_t n = GUEST_PAGE_SIZE - (lin & GUEST_PAGE_MASK);
		int r;

		n = n < len ? n : len;
		r = debug_page(c, lin, to, from, n);
		if (r < 0)
			return r;
		lin += n;
		len -= n;
		to = to ? to + n : NULL;
		from = from ? from + n : NULL;
	}
	return 0;
}

int cpu_debug_read(struct cpu *c, uint64_t lin, void *buf, uint64_t len)
{
	return debug_access(c, lin, buf, NULL, len);
}

int cpu_debug_write(struct cpu *c, uint64_t lin, const void *buf, uint64_t len)
{
	return debug_access(c, lin, NULL, buf, len);
}
