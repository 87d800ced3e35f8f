// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Code whose constants are written again and again (inline caches, generated code): a block that has died is used once
 * more when nothing but the constant of one MOV has changed. Its host code is still there; the constant is written
 * into it and the entry is opened. That costs an eighth of a translation.
 *
 * What died lately stands in a small table, by place. A block that is made at such a place leaves there the bytes that
 * it was made from, all pieces that it depends on, and where the constant is. Blocks that are more than their code (counters,
 * loops with what is prepared for them, second pages) are made anew.
 *
 * A vCPU that is in the dead block meanwhile executes the old constant or the new one, as a processor may that runs
 * code which another one writes; the constant lies within one aligned word.
 */
#include <string.h>

#include "cpu/dbt/cache.h"
#include "cpu/dbt/translate.h"
#include "cpu/interp/block.h"

/* --- making a block that may be used again --------------------------------------------------------- */

void t_revive_imm(struct tctx *t)
{
	const struct dinsn *d = &t_cur(t)->d;
	const uint8_t *site = t->e.p - 4;

	if (d->cls != DCLS_ALU || d->map || d->vex || d->has_mem || (d->op & 0xf8) != 0xb8 ||
	    d->imm_size != 4 || t_guest_reg(t, d->rm) == DREG_NONE || t->e.overflow ||
	    ((uintptr_t)site & 7) > 4)
		return;
	t->imm_site = t->e.p - 4;
	t->imm_off = (uint16_t)(t_next_off(t) - 4);
}

void revive_note(struct tctx *t, struct tblock *b)
{
	struct revive *v = revive_slot(t->d->blocks, b->page, b->off);
	unsigned int n = 0;

	if (!revive_is(v, b->page, b->off, b->key))
		return;
	v->b = NULL;
	if (!t->imm_site || t->crosses || t->prepared || t->has_handlers || b->loops || b->tally ||
	    __builtin_popcountll(b->pieces) > REVIVE_PIECES)
		return;
	for (uint64_t p = b->pieces; p; p &= p - 1)
		memcpy(v->bytes[n++], t->bytes + (size_t)__builtin_ctzll(p) * CODE_PIECE,
		       CODE_PIECE);
	memcpy(&v->entry, code_rw(t->d->blocks, b->code), sizeof(v->entry));
	v->site = t->imm_site;
	v->imm_off = t->imm_off;
	v->b = b;
}

/* --- using it again --------------------------------------------------------------------------------- */

/* Are the pieces as they were, but for the constant? Puts it into *@ret then. */
static bool same_but_imm(struct revive *v, uint32_t *ret)
{
	unsigned int n = 0;

	for (uint64_t p = v->b->pieces; p; p &= p - 1, n++) {
		unsigned int at = (unsigned int)__builtin_ctzll(p) * CODE_PIECE;
		uint8_t now[CODE_PIECE];

		memcpy(now, v->page + at, CODE_PIECE); /* other vCPUs may be writing it */
		for (unsigned int k = 0; k < 4; k++) {
			unsigned int in = v->imm_off + k - at;

			if (in >= CODE_PIECE)
				continue;
			((uint8_t *)ret)[k] = now[in];
			v->bytes[n][in] = now[in];
		}
		if (memcmp(now, v->bytes[n], CODE_PIECE) != 0)
			return false;
	}
	return true;
}

struct tblock *revive(struct cpu *c, const uint8_t *host, _Atomic uint8_t *flags, uint8_t key)
{
	unsigned int off = (uintptr_t)host & GUEST_PAGE_MASK;
	struct dbt *d = c->grp->dbt;
	struct revive *v = revive_slot(d->blocks, host - off, off);
	struct code_page *page;
	struct tblock *b = v->b;
	uint32_t imm = 0;

	if (!b || !revive_is(v, host - off, off, key) || !b->dead || atomic_load(&d->count))
		return NULL;
	page = code_page_get(c->grp->code, host);
	for (uint64_t p = b->pieces; p; p &= p - 1)
		code_page_cover(c, page, (unsigned int)__builtin_ctzll(p) * CODE_PIECE, CODE_PIECE,
				flags);
	if (!same_but_imm(v, &imm)) {
		v->b = NULL;
		return NULL;
	}
	memcpy(v->site, &imm, sizeof(imm));
	block_revive(d, b, v->entry);
	return b;
}
