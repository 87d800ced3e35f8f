// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Code that counts its executions, for listings of hot code. The counters lie in the code space, so they live as long as
 * the block. Between instructions the scratch registers are free, but the guest's flags may be in the host's:
 * there counting is done by mov and lea.
 */
#include <string.h>

#include "cpu/dbt/inspect.h"
#include "cpu/dbt/translate.h"

_Static_assert((int)TALLY_INSNS == (int)TB_MAX_INSNS, "every instruction of a block has its place");

static bool may_leave(const struct dinsn *d)
{
	return d->cls == DCLS_JCC || d->cls == DCLS_JRCXZ || d->cls == DCLS_LOOP;
}

size_t t_tally_make(struct tctx *t, uint8_t *p)
{
	unsigned int stretch = 0;
	size_t size;

	t->b.tally = (struct tally *)(void *)p;
	memset(t->b.tally, 0, sizeof(struct tally));
	for (unsigned int k = 0; k < t->nr; k++) {
		const struct tinsn *i = &t->insn[k];

		/* The first one has a count beside that of the entry when the block jumps back to it. */
		if (i->label || (k && may_leave(&i[-1].d)))
			stretch++;
		t->b.tally->stretch[k] = (uint8_t)stretch;
		t->b.tally->off[k] = (uint16_t)(i->off - t->b.off);
		t->b.tally->len[k] = i->len;
	}
	size = tally_size(stretch + 1);
	memset(t->b.tally->passed, 0, (stretch + 1) * sizeof(uint64_t));
	return size;
}

static void load_address(struct tctx *t, unsigned int stretch)
{
	E(&t->e, 0x49, 0xb9); /* mov $address,%r9 */
	e64(&t->e, (uintptr_t)&t->b.tally->passed[stretch]);
}

void t_tally_entry(struct tctx *t)
{
	if (!t->b.tally)
		return;
	load_address(t, 0);
	E(&t->e, 0xf0, 0x49, 0xff, 0x01); /* lock incq (%r9) */
}

void t_tally_insn(struct tctx *t)
{
	struct tally *y = t->b.tally;

	if (!y)
		return;
	y->mark[t->cur] = (uint16_t)(e_rx(&t->e) - t->b.code);
	if (y->stretch[t->cur] == (t->cur ? y->stretch[t->cur - 1] : 0))
		return;
	load_address(t, y->stretch[t->cur]);
	E(&t->e, 0x4d, 0x8b, 0x11);	  /* mov (%r9),%r10 */
	E(&t->e, 0x4d, 0x8d, 0x52, 0x01); /* lea 1(%r10),%r10 */
	E(&t->e, 0x4d, 0x89, 0x11);	  /* mov %r10,(%r9) */
}

void t_tally_end(struct tctx *t)
{
	if (t->b.tally)
		t->b.tally->mark[t->nr] = (uint16_t)(e_rx(&t->e) - t->b.code);
}

void t_tally_mem(struct tctx *t)
{
	if (t->b.tally)
		t->b.tally->mem[t->cur]++;
}
