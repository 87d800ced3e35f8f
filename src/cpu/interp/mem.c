// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest memory by linear address: what the inline fast paths of vcpu.h do not do. Every access
 * first finds all the pages it touches (so that nothing is stored when the second one faults), then
 * moves bytes. RAM is one host access where the guest's access is one; MMIO is cut into pieces that stay
 * within aligned 8-byte words.
 *
 * Priority of faults: canonical address, then alignment, then page fault.
 */
#include <stdatomic.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "cpu/apic.h"
#include "cpu/exclusive.h"
#include "cpu/interp/block.h"
#include "cpu/interp/vcpu_sys.h"

/* Where the bytes of one page are. */
struct mem_ref {
	uint8_t *host; /* NULL: not RAM, or a write to ROM */
	uint64_t gpa;
	_Atomic uint8_t *flags;
};

static uint64_t lin_wrap(const struct cpu *c, uint64_t lin)
{
	return c->long_mode ? lin : (uint32_t)lin;
}

static void check_canonical(struct cpu *c, uint64_t lin, unsigned int len, unsigned int how)
{
	if (likely(mmu_is_canonical(c, lin) && mmu_is_canonical(c, lin + len - 1)))
		return;
	cpu_raise_err(c, how & MEM_SS ? VEC_SS : VEC_GP, 0);
}

static void check_align(struct cpu *c, uint64_t lin, unsigned int size, enum mmu_priv priv)
{
	if (unlikely(c->sys->align_check) && priv == MMU_USER && is_pow2(size) && size <= 8 &&
	    (lin & (size - 1)))
		cpu_raise_err(c, VEC_AC, 0);
}

/* The region of an address; most often the one of the access before. */
static inline const struct physmem_region *region_of(struct cpu *c, uint64_t gpa)
{
	const struct physmem_region *r = c->sys->region;

	if (likely(r && gpa - r->gpa < r->size))
		return r;
	r = physmem_find(c->grp->mem, gpa);
	if (!r)
		r = physmem_find_window(c->grp->mem, gpa);
	if (r)
		c->sys->region = r;
	return r;
}

/* Translate one page for an access, remember it, raise #PF. */
static struct mem_ref resolve(struct cpu *c, uint64_t lin, enum mmu_access access,
			      enum mmu_priv priv)
{
	const struct physmem_region *r;
	struct mem_ref ref = { 0 };
	struct mmu_page page;
	bool may_data;

	if (mmu_walk(c, lin, access, priv, &page) < 0)
		cpu_raise_pf(c, lin, page.error);
	ref.gpa = page.gpa;
	r = unlikely(apic_page_hit(c, page.gpa)) ? NULL : region_of(c, page.gpa);
	if (!r)
		return ref;
	ref.host = r->hva + (page.gpa - r->gpa);
	ref.flags = &r->page_flags[(page.gpa - r->gpa) >> GUEST_PAGE_SHIFT];
	may_data = likely(!c->sys->watch) || !watch_covers(c, lin);
	tlb_insert(c, priv, lin, access, &page, ref.host, ref.flags, !r->is_rom, may_data);
	if (r->is_rom && access == MMU_WRITE)
		ref.host = NULL;
	return ref;
}

/* The same through the TLB; for privileges other than the present one, and after a fast-path miss. */
static struct mem_ref find(struct cpu *c, uint64_t lin, enum mmu_access access, enum mmu_priv priv)
{
	struct tlb_set *t = &c->sys->ctx->set[priv];
	const struct tlb_entry *e = tlb_slot(t->e, lin);
	const struct tlb_back *back = &t->back[tlb_index(lin)];
	uint64_t tag = access == MMU_READ ? e->r : access == MMU_WRITE ? e->w : e->x;

	if (tag == (lin & ~GUEST_PAGE_MASK) || (access == MMU_WRITE && tlb_held_write(c, t, lin)))
		return (struct mem_ref){ .host = tlb_host(e, lin),
					 .gpa = (back->gpa_shift & ~GUEST_PAGE_MASK) |
						(lin & GUEST_PAGE_MASK),
					 .flags = back->flags };
	if (access == MMU_READ)
		c->stats.tlb_misses_read++;
	else if (access == MMU_WRITE)
		c->stats.tlb_misses_write++;
	else
		c->stats.tlb_misses_exec++;
	return resolve(c, lin, access, priv);
}

bool mem_fill(struct cpu *c, uint64_t lin, unsigned int size, unsigned int how)
{
	enum mmu_access access = how & MEM_RMW ? MMU_WRITE : MMU_READ;
	const struct tlb_entry *e = tlb_slot(c->hot.tlb, lin);

	if (unlikely((lin & GUEST_PAGE_MASK) + size > GUEST_PAGE_SIZE || c->sys->align_check))
		return false;
	lin = lin_wrap(c, lin);
	check_canonical(c, lin, size, how);
	(void)find(c, lin, access, c->sys->priv);
	return (access == MMU_WRITE ? e->w : e->r) == (lin & ~GUEST_PAGE_MASK);
}

static uint64_t host_ld(const uint8_t *host, unsigned int size)
{
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	switch (size) {
	case 1:
		return *(const volatile uint8_t *)host;
	case 2:
		__builtin_memcpy(&v16, host, sizeof(v16));
		return v16;
	case 4:
		__builtin_memcpy(&v32, host, sizeof(v32));
		return v32;
	case 8:
		__builtin_memcpy(&v64, host, sizeof(v64));
		return v64;
	default:
		return get_le(host, size);
	}
}

static void host_st(uint8_t *host, unsigned int size, uint64_t v)
{
	uint16_t v16 = (uint16_t)v;
	uint32_t v32 = (uint32_t)v;

	switch (size) {
	case 1:
		*(volatile uint8_t *)host = (uint8_t)v;
		return;
	case 2:
		__builtin_memcpy(host, &v16, sizeof(v16));
		return;
	case 4:
		__builtin_memcpy(host, &v32, sizeof(v32));
		return;
	case 8:
		__builtin_memcpy(host, &v, sizeof(v));
		return;
	default:
		put_le(host, v, size);
	}
}

/* Largest piece of an MMIO access at @gpa: a power of two that stays in its aligned 8-byte word. */
static unsigned int mmio_piece(uint64_t gpa, unsigned int left)
{
	unsigned int room = 8 - (gpa & 7), n = 8;

	while (n > room || n > left)
		n /= 2;
	return n;
}

uint64_t mem_io_ld(struct cpu *c, uint64_t gpa, unsigned int size)
{
	uint64_t v = 0;

	for (unsigned int done = 0, n; done < size; done += n) {
		uint64_t part, a = gpa + done;

		n = mmio_piece(a, size - done);
		if (apic_page_hit(c, a)) {
			part = apic_mmio_read(c, (uint32_t)(a & GUEST_PAGE_MASK), n);
		} else {
			c->stats.mmio_read++;
			part = c->grp->ops->mmio_read(c->grp->arg, a, n);
			hold_read(c, a);
		}
		v |= (n == 8 ? part : part & ((UINT64_C(1) << (n * 8)) - 1)) << (done * 8);
	}
	return v;
}

void mem_io_st(struct cpu *c, uint64_t gpa, unsigned int size, uint64_t v)
{
	for (unsigned int done = 0, n; done < size; done += n) {
		uint64_t a = gpa + done, part = v >> (done * 8);

		n = mmio_piece(a, size - done);
		if (n < 8)
			part &= (UINT64_C(1) << (n * 8)) - 1;
		if (apic_page_hit(c, a)) {
			apic_mmio_write(c, (uint32_t)(a & GUEST_PAGE_MASK), n, part);
		} else {
			c->stats.mmio_write++;
			c->grp->ops->mmio_write(c->grp->arg, a, n, part);
		}
	}
}

static uint64_t ref_ld(struct cpu *c, const struct mem_ref *ref, unsigned int size)
{
	return ref->host ? host_ld(ref->host, size) : mem_io_ld(c, ref->gpa, size);
}

static void ref_st(struct cpu *c, const struct mem_ref *ref, unsigned int size, uint64_t v)
{
	if (!ref->host) {
		mem_io_st(c, ref->gpa, size, v);
		return;
	}
	host_st(ref->host, size, v);
	atomic_signal_fence(memory_order_seq_cst);
	if (unlikely(atomic_load_explicit(ref->flags, memory_order_relaxed)))
		mem_stored_flagged(c, ref->host, size);
}

/* Bytes of [lin, lin + len) that lie in the first page. */
static unsigned int first_part(uint64_t lin, unsigned int len)
{
	uint64_t room = GUEST_PAGE_SIZE - (lin & GUEST_PAGE_MASK);

	return room < len ? (unsigned int)room : len;
}

uint64_t mem_ld(struct cpu *c, uint64_t lin, unsigned int size, unsigned int how,
		enum mmu_priv priv)
{
	enum mmu_access access = how & MEM_RMW ? MMU_WRITE : MMU_READ;
	unsigned int n = first_part(lin, size);
	struct mem_ref a, b;
	uint64_t v;

	lin = lin_wrap(c, lin);
	check_canonical(c, lin, size, how);
	check_align(c, lin, size, priv);
	a = find(c, lin, access, priv);
	if (likely(n == size)) {
		v = ref_ld(c, &a, size);
	} else {
		b = find(c, lin_wrap(c, lin + n), access, priv);
		v = ref_ld(c, &a, n);
		v |= ref_ld(c, &b, size - n) << (n * 8);
	}
	if (unlikely(c->sys->watch))
		watch_access(c, lin, size, false);
	return v;
}

void mem_st(struct cpu *c, uint64_t lin, unsigned int size, uint64_t v, unsigned int how,
	    enum mmu_priv priv)
{
	unsigned int n = first_part(lin, size);
	struct mem_ref a, b;

	lin = lin_wrap(c, lin);
	check_canonical(c, lin, size, how);
	check_align(c, lin, size, priv);
	a = find(c, lin, MMU_WRITE, priv);
	if (likely(n == size)) {
		ref_st(c, &a, size, v);
	} else {
		b = find(c, lin_wrap(c, lin + n), MMU_WRITE, priv);
		ref_st(c, &a, n, v);
		ref_st(c, &b, size - n, v >> (n * 8));
	}
	if (unlikely(c->sys->watch))
		watch_access(c, lin, size, true);
}

static enum mmu_priv priv_of(const struct cpu *c, unsigned int how)
{
	return how & MEM_SYS ? c->sys->priv_sys : c->sys->priv;
}

uint64_t mem_ld_slow(struct cpu *c, uint64_t lin, unsigned int size, unsigned int how)
{
	return mem_ld(c, lin, size, how, priv_of(c, how));
}

void mem_st_slow(struct cpu *c, uint64_t lin, unsigned int size, uint64_t v, unsigned int how)
{
	mem_st(c, lin, size, v, how, priv_of(c, how));
}

uint64_t ld_size(struct cpu *c, uint64_t lin, unsigned int size, unsigned int how)
{
	switch (size) {
	case 1:
		return ld8(c, lin, how);
	case 2:
		return ld16(c, lin, how);
	case 4:
		return ld32(c, lin, how);
	default:
		return ld64(c, lin, how);
	}
}

void st_size(struct cpu *c, uint64_t lin, unsigned int size, uint64_t v, unsigned int how)
{
	switch (size) {
	case 1:
		st8(c, lin, (uint8_t)v, how);
		return;
	case 2:
		st16(c, lin, (uint16_t)v, how);
		return;
	case 4:
		st32(c, lin, (uint32_t)v, how);
		return;
	default:
		st64(c, lin, v, how);
	}
}

/* The pages of a longer access: at most two, as len <= 4096. Returns the bytes in the first. */
static unsigned int find_range(struct cpu *c, uint64_t lin, unsigned int len, unsigned int how,
			       enum mmu_access access, enum mmu_priv priv, struct mem_ref ref[2])
{
	unsigned int n = first_part(lin, len);

	check_canonical(c, lin, len, how);
	ref[0] = find(c, lin, access, priv);
	if (n < len)
		ref[1] = find(c, lin_wrap(c, lin + n), access, priv);
	return n;
}

static void bytes_ld(struct cpu *c, struct mem_ref ref, uint8_t *to, unsigned int len)
{
	for (unsigned int n; len; len -= n) {
		n = ref.host ? len : mmio_piece(ref.gpa, len);
		if (ref.host)
			__builtin_memcpy(to, ref.host, n);
		else
			put_le(to, mem_io_ld(c, ref.gpa, n), n);
		to += n;
		ref.gpa += n;
	}
}

static void bytes_st(struct cpu *c, struct mem_ref ref, const uint8_t *from, unsigned int len)
{
	for (unsigned int n; len; len -= n) {
		n = ref.host ? len : mmio_piece(ref.gpa, len);
		if (!ref.host) {
			mem_io_st(c, ref.gpa, n, get_le(from, n));
		} else {
			__builtin_memcpy(ref.host, from, n);
			atomic_signal_fence(memory_order_seq_cst);
			if (unlikely(atomic_load_explicit(ref.flags, memory_order_relaxed)))
				mem_stored_flagged(c, ref.host, n);
		}
		from += n;
		ref.gpa += n;
	}
}

void ld_bytes(struct cpu *c, uint64_t lin, void *buf, unsigned int len, unsigned int how)
{
	struct mem_ref ref[2];
	unsigned int n;

	if (!len)
		return;
	lin = lin_wrap(c, lin);
	n = find_range(c, lin, len, how, how & MEM_RMW ? MMU_WRITE : MMU_READ, priv_of(c, how),
		       ref);
	bytes_ld(c, ref[0], buf, n);
	if (n < len)
		bytes_ld(c, ref[1], (uint8_t *)buf + n, len - n);
	if (unlikely(c->sys->watch))
		watch_access(c, lin, len, false);
}

void st_bytes(struct cpu *c, uint64_t lin, const void *buf, unsigned int len, unsigned int how)
{
	struct mem_ref ref[2];
	unsigned int n;

	if (!len)
		return;
	lin = lin_wrap(c, lin);
	n = find_range(c, lin, len, how, MMU_WRITE, priv_of(c, how), ref);
	bytes_st(c, ref[0], buf, n);
	if (n < len)
		bytes_st(c, ref[1], (const uint8_t *)buf + n, len - n);
	if (unlikely(c->sys->watch))
		watch_access(c, lin, len, true);
}

void mem_check(struct cpu *c, uint64_t lin, unsigned int len, unsigned int how, enum mmu_priv priv)
{
	struct mem_ref ref[2];

	if (!len)
		return;
	find_range(c, lin_wrap(c, lin), len, how, how & MEM_RMW ? MMU_WRITE : MMU_READ, priv, ref);
}

void mem_probe(struct cpu *c, uint64_t lin, unsigned int len, unsigned int how)
{
	mem_check(c, lin, len, how, priv_of(c, how));
}

void mem_align(struct cpu *c, uint64_t lin, unsigned int len, unsigned int align, unsigned int how)
{
	if (likely(!c->sys->align_check) || !(lin & (align - 1)))
		return;
	lin = lin_wrap(c, lin);
	check_canonical(c, lin, len, how);
	cpu_raise_err(c, VEC_AC, 0);
}

void *mem_host(struct cpu *c, uint64_t lin, unsigned int len, unsigned int how)
{
	struct mem_ref ref[2];

	/* mem_host_wrote() looks into the current table, which has no entry while alignment is checked; the
	 * caller's loads and stores do that. */
	if (unlikely(c->sys->align_check))
		return NULL;
	lin = lin_wrap(c, lin);
	find_range(c, lin, len, how, how & MEM_RMW ? MMU_WRITE : MMU_READ, priv_of(c, how), ref);
	if (first_part(lin, len) < len || (c->sys->watch && watch_covers(c, lin)))
		return NULL;
	return ref[0].host;
}

void mem_or8_sys(struct cpu *c, uint64_t lin, uint8_t set)
{
	struct mem_ref ref = find(c, lin_wrap(c, lin), MMU_WRITE, c->sys->priv_sys);

	if (!ref.host) {
		mem_io_st(c, ref.gpa, 1, mem_io_ld(c, ref.gpa, 1) | set);
		return;
	}
	__atomic_fetch_or(ref.host, set, __ATOMIC_SEQ_CST);
	if (unlikely(atomic_load_explicit(ref.flags, memory_order_relaxed)))
		mem_stored_flagged(c, ref.host, 1);
}

void mem_stored_flagged(struct cpu *c, uint8_t *host, unsigned int size)
{
	const struct physmem *m = c->grp->mem;

	for (unsigned int k = 0; k < m->nr + m->nr_windows; k++) {
		const struct physmem_region *r = &m->region[k];
		uint64_t off = (uintptr_t)host - (uintptr_t)r->hva;

		uint8_t flags;

		if (off >= r->size)
			continue;
		flags = atomic_load_explicit(&r->page_flags[off >> GUEST_PAGE_SHIFT],
					     memory_order_relaxed);
		if (flags & PAGE_F_CODE)
			code_written(c, r, off, size);
		if (flags & ~PAGE_F_CODE)
			m->written(m->written_arg, r, off, size, flags & ~PAGE_F_CODE);
		return;
	}
}

void mem_exclusive_begin(struct cpu *c)
{
	if (c->grp->nr == 1 || c->sys->in_exclusive)
		return;
	exclusive_begin(c);
	c->sys->in_exclusive = true;
}

void mem_exclusive_end(struct cpu *c)
{
	if (!c->sys->in_exclusive)
		return;
	c->sys->in_exclusive = false;
	exclusive_end(c);
}

const uint8_t *mem_fetch(struct cpu *c, uint64_t lin, uint64_t *ret_gpa,
			 _Atomic uint8_t **ret_flags)
{
	struct mem_ref ref;

	lin = lin_wrap(c, lin);
	if (unlikely(!mmu_is_canonical(c, lin)))
		cpu_raise_err(c, VEC_GP, 0);
	ref = find(c, lin, MMU_EXEC, c->sys->priv);
	*ret_gpa = ref.gpa;
	*ret_flags = ref.flags;
	return ref.host;
}

uint8_t mem_fetch_byte(struct cpu *c, uint64_t lin)
{
	_Atomic uint8_t *flags;
	uint64_t gpa;
	const uint8_t *host = mem_fetch(c, lin, &gpa, &flags);

	return host ? *host : (uint8_t)mem_io_ld(c, gpa, 1);
}
