// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Return stacks and jump tables: where a vCPU remembers host code by linear address. Unlike links, they
 * compare only the address; so they are good for one address space and one kind of translation (hot.key), and are
 * emptied when an executed page may be mapped elsewhere. Both privileges have their own; the two supervisor tables
 * of the TLB (with and without SMAP) execute the same.
 *
 * Entering the supervisor begins an empty stack, and the user's is kept for the way back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "cpu/dbt/run.h"
#include "cpu/interp/vcpu_sys.h"

#define LOW_HALF(lin) (!((lin) >> 63))

/* --- return stacks -------------------------------------------------------------------------------- */

static uint8_t *empty(const struct dbt_cpu *dc, unsigned int which)
{
	return dc->ret_stack[which] + RET_STACK_TOP;
}

/* Aligned to its size, a guard page below. A guest may return to whatever address the entries of an empty stack have:
 * to @miss. */
static uint8_t *stack_map(const uint8_t *miss)
{
	size_t size = 2 * RET_STACK_SIZE;
	uint8_t *all =
		mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *at;
	const struct ret_entry none = { miss, RET_LIN_EMPTY };

	if (all == MAP_FAILED)
		return NULL;
	/* A stack that begins where the mapping does would have no page below. */
	at = all + RET_STACK_SIZE - ((uintptr_t)all & (RET_STACK_SIZE - 1));
	if (mprotect(at, RET_STACK_SIZE, PROT_READ | PROT_WRITE) < 0) {
		munmap(all, size);
		return NULL;
	}
	if (at - GUEST_PAGE_SIZE > all)
		munmap(all, (size_t)(at - GUEST_PAGE_SIZE - all));
	if (at + RET_STACK_SIZE < all + size)
		munmap(at + RET_STACK_SIZE, (size_t)(all + size - (at + RET_STACK_SIZE)));
	for (unsigned int k = RET_STACK_TOP; k < RET_STACK_SIZE; k += sizeof(none))
		memcpy(at + k, &none, sizeof(none));
	return at;
}

int ret_stack_init(struct dbt_cpu *dc, struct err *err)
{
	for (unsigned int k = 0; k < 2; k++) {
		dc->ret_stack[k] = stack_map(dc->dbt->tramp.ret_miss);
		if (!dc->ret_stack[k])
			return err_set(err, -ENOMEM, "memory for return stacks");
		dc->ret_saved[k] = empty(dc, k);
	}
	dc->ret_current = RET_SUPER;
	dc->c->hot.ret_rsp = empty(dc, RET_SUPER);
	return 0;
}

void ret_stack_done(struct dbt_cpu *dc)
{
	for (unsigned int k = 0; k < 2; k++)
		if (dc->ret_stack[k])
			munmap(dc->ret_stack[k] - GUEST_PAGE_SIZE,
			       RET_STACK_SIZE + GUEST_PAGE_SIZE);
}

void ret_stack_reset(struct cpu *c, unsigned int which)
{
	struct dbt_cpu *dc = dbt_cpu(c);

	for (unsigned int k = 0; k < 2; k++) {
		if (which != RET_BOTH && which != k)
			continue;
		if (k == dc->ret_current)
			c->hot.ret_rsp = empty(dc, k);
		else
			dc->ret_saved[k] = empty(dc, k);
	}
}

static void stack_select(struct cpu *c, struct dbt_cpu *dc, unsigned int which)
{
	if (which == dc->ret_current)
		return;
	dc->ret_saved[dc->ret_current] = c->hot.ret_rsp;
	dc->ret_current = which;
	c->hot.ret_rsp = which == RET_USER ? dc->ret_saved[RET_USER] : empty(dc, RET_SUPER);
}

/* --- jump tables ---------------------------------------------------------------------------------- */

static uint64_t page_bit(uint64_t lin, unsigned int *ret_word)
{
	uint64_t h = (lin >> GUEST_PAGE_SHIFT) * UINT64_C(0x9e3779b97f4a7c15);

	*ret_word = h >> 62;
	return UINT64_C(1) << (h >> 56 & 63);
}

static void drop(struct jumps *j)
{
	for (unsigned int k = 0; k < j->nr_used; k++)
		j->slot[j->used[k]].lin = jumps_none(j->used[k]);
	j->nr_used = 0;
	memset(j->pages, 0, sizeof(j->pages));
}

static void drop_page(struct jumps *j, uint64_t lin)
{
	unsigned int word, kept = 0;
	uint64_t bit = page_bit(lin, &word);

	if (!(j->pages[word] & bit))
		return;
	for (unsigned int k = 0; k < j->nr_used; k++) {
		struct jump_slot *s = &j->slot[j->used[k]];

		if ((s->lin ^ lin) >> GUEST_PAGE_SHIFT == 0)
			s->lin = jumps_none(j->used[k]);
		else
			j->used[kept++] = j->used[k];
	}
	j->nr_used = kept;
}

static struct jumps *jumps_new(void)
{
	/* Not malloc(): what points at it, the TLB, is a mapping, in which LeakSanitizer does not look. */
	struct jumps *j =
		mmap(NULL, sizeof(*j), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (j == MAP_FAILED)
		abort();
	for (unsigned int k = 0; k < NR_JUMPS; k++)
		j->slot[k].lin = jumps_none(k);
	return j;
}

void dbt_set_freed(struct tlb_set *set)
{
	if (set->jump)
		munmap(set->jump, sizeof(struct jumps));
	set->jump = NULL;
}

void jumps_add(struct cpu *c, uint64_t lin, const uint8_t *code)
{
	struct dbt_cpu *dc = dbt_cpu(c);
	struct jumps *j = dc->jumps;
	unsigned int k = lin >> 3 & (NR_JUMPS - 1), word;
	uint64_t bit = page_bit(lin, &word);

	if (j->slot[k].lin == jumps_none(k))
		j->used[j->nr_used++] = (uint16_t)k;
	j->slot[k] = (struct jump_slot){ lin, code };
	j->pages[word] |= bit;
	if (dc->ret_current == RET_SUPER && LOW_HALF(lin))
		dc->super_low = true;
}

void jumps_remove(struct cpu *c, uint64_t lin)
{
	struct jumps *j = dbt_cpu(c)->jumps;
	unsigned int k = lin >> 3 & (NR_JUMPS - 1);

	if (j->slot[k].lin != lin)
		return;
	j->slot[k].lin = jumps_none(k);
	for (unsigned int n = 0; n < j->nr_used; n++)
		if (j->used[n] == k) {
			j->used[n] = j->used[--j->nr_used];
			break;
		}
}

void jumps_drop_all(struct cpu *c)
{
	for (unsigned int k = 0; k < TLB_NR_CTX; k++) {
		struct tlb_ctx *x = c->sys->all[k];

		for (unsigned int p = 0; x && p < MMU_NR_PRIV; p++)
			if (x->set[p].jump)
				drop(x->set[p].jump);
	}
}

/* --- the TLB's hooks ------------------------------------------------------------------------------ */

static bool is_flat(const struct cpu *c, unsigned int seg, uint8_t ok)
{
	return c->st.seg[seg].base == 0 && (c->seg_ok[seg] & ok) == ok;
}

static uint8_t key_32(const struct cpu *c)
{
	const struct cpu_seg *cs = &c->st.seg[CPU_CS], *ss = &c->st.seg[CPU_SS];
	uint8_t key = DBT_KEY_SS32, rw = SEG_OK_R | SEG_OK_W;

	if (!c->protected_mode || cs->base || cs->limit != UINT32_MAX || !(ss->attr & SEG_DB) ||
	    !is_flat(c, CPU_SS, rw) || !is_flat(c, CPU_DS, rw) || !is_flat(c, CPU_ES, rw))
		return 0;
	if ((c->seg_ok[CPU_FS] & rw) == rw)
		key |= DBT_KEY_FS;
	if ((c->seg_ok[CPU_GS] & rw) == rw)
		key |= DBT_KEY_GS;
	return key;
}

uint8_t dbt_key(const struct cpu *c)
{
	uint64_t cr0 = c->st.cr0, cr4 = c->st.cr4;
	uint8_t key = 0;

	if (c->sys->align_check || c->mode == CPU_MODE_16)
		return 0;
	key = c->mode == CPU_MODE_64 ? DBT_KEY_64 | DBT_KEY_FS | DBT_KEY_GS : key_32(c);
	if (!key)
		return 0;
	if (cr0 & (CR0_EM | CR0_TS))
		return key;
	if (cr4 & CR4_OSFXSR)
		key |= DBT_KEY_SSE;
	if ((cr4 & CR4_OSFXSR) && (cr4 & CR4_OSXSAVE) &&
	    (c->st.xcr0 & (XCR0_SSE | XCR0_AVX)) == (XCR0_SSE | XCR0_AVX))
		key |= DBT_KEY_AVX;
	if (cr0 & CR0_NE)
		key |= DBT_KEY_X87;
	return key;
}

void dbt_tlb_selected(struct cpu *c)
{
	struct dbt_cpu *dc = dbt_cpu(c);
	struct tlb_ctx *x = c->sys->ctx;
	unsigned int which = cpl(c) == 3 ? RET_USER : RET_SUPER;
	struct tlb_set *set = &x->set[which == RET_USER ? MMU_USER : MMU_SUPER];
	uint8_t key = dbt_key(c);
	struct jumps *j;

	stack_select(c, dc, which);
	if (x != dc->ctx) {
		dc->ctx = x;
		ret_stack_reset(c, RET_BOTH);
	}
	if (key != c->hot.key) {
		c->hot.key = key;
		interp_leave(c);
	}
	if (!key)
		return;
	if (dc->ret_key[which] != key) {
		dc->ret_key[which] = key;
		ret_stack_reset(c, which);
	}
	if (!set->jump)
		set->jump = jumps_new();
	j = set->jump;
	if (j->key != key) {
		drop(j);
		j->key = key;
	}
	dc->jumps = j;
	c->hot.jump = j->slot;
}

static void set_gone(struct tlb_ctx *x, enum mmu_priv priv, uint64_t lin, bool all)
{
	struct jumps *j = x->set[priv].jump;

	if (j && all)
		drop(j);
	else if (j)
		drop_page(j, lin);
}

void dbt_exec_gone(struct cpu *c, struct tlb_set *set, uint64_t lin, bool all)
{
	struct dbt_cpu *dc = dbt_cpu(c);

	for (unsigned int k = 0; k < TLB_NR_CTX; k++) {
		struct tlb_ctx *x = c->sys->all[k];

		if (!x)
			continue;
		if (!set || set == &x->set[MMU_USER])
			set_gone(x, MMU_USER, lin, all);
		if (!set || set == &x->set[MMU_SUPER] || set == &x->set[MMU_SUPER_SMAP])
			set_gone(x, MMU_SUPER, lin, all);
	}
	if (!all && LOW_HALF(lin) && !dc->super_low)
		ret_stack_reset(c, RET_USER);
	else
		ret_stack_reset(c, RET_BOTH);
}
