/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which parts of a disk have changed: one bit a grain, set by whoever changes something, before it does so and while
 * it holds the range. Plain words in memory, because a disk of 1 TiB at 64 KiB a grain takes 2 MiB; a tree of levels
 * would save looking through zeros, which is rare and quick.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/mem.h"
#include "disk/graph_priv.h"

#define WORDS_BYTES_MAX (256U << 20)

int dirty_new(uint64_t size, unsigned grain_bits, struct dirty **ret)
{
	struct dirty *d = mem_new(sizeof(*d));
	void *words;
	int r;

	d->size = size;
	d->grain_bits = grain_bits;
	d->nr_bits = (size >> grain_bits) + !!(size & ((UINT64_C(1) << grain_bits) - 1));
	list_init(&d->link);
	if (d->nr_bits / 8 > WORDS_BYTES_MAX)
		r = -E2BIG;
	else
		r = mem_try(&words, (d->nr_bits + 63) / 64 * 8 + 8, WORDS_BYTES_MAX + 16);
	if (r < 0) {
		free(d);
		return r;
	}
	d->words = words;
	*ret = d;
	return 0;
}

void dirty_free(struct dirty *d)
{
	if (!d)
		return;
	list_del(&d->link);
	free(d->words);
	free(d);
}

static bool is_set(const struct dirty *d, uint64_t bit)
{
	return atomic_load_explicit(&d->words[bit / 64], memory_order_relaxed) >> bit % 64 & 1;
}

/* Bits [first, end) that the range touches. False: none. */
static bool touched(const struct dirty *d, uint64_t off, uint64_t len, uint64_t *first,
		    uint64_t *end)
{
	if (!len || off >= d->size)
		return false;
	*first = off >> d->grain_bits;
	*end = ((off + MIN(len, d->size - off) - 1) >> d->grain_bits) + 1;
	return true;
}

/* Those of bits [bit, end) that are in the word of @bit. */
static uint64_t mask_of(uint64_t bit, uint64_t end)
{
	uint64_t mask = UINT64_MAX << bit % 64, stop = (bit | 63) + 1;

	return stop > end ? mask & UINT64_MAX >> (stop - end) : mask;
}

void dirty_mark(struct dirty *d, uint64_t off, uint64_t len)
{
	uint64_t first, end;

	if (!touched(d, off, len, &first, &end))
		return;
	for (uint64_t bit = first; bit < end; bit = (bit | 63) + 1) {
		_Atomic uint64_t *word = &d->words[bit / 64];
		uint64_t mask = mask_of(bit, end);

		/* Usually it is: then the word's cache line stays shared. */
		if ((atomic_load_explicit(word, memory_order_relaxed) & mask) != mask)
			atomic_fetch_or(word, mask);
	}
}

bool dirty_is_marked(const struct dirty *d, uint64_t off, uint64_t len)
{
	uint64_t first, end;

	if (!touched(d, off, len, &first, &end))
		return false;
	for (uint64_t bit = first; bit < end; bit = (bit | 63) + 1)
		if (atomic_load(&d->words[bit / 64]) & mask_of(bit, end))
			return true;
	return false;
}

void dirty_clear(struct dirty *d, uint64_t off, uint64_t len)
{
	uint64_t grain = UINT64_C(1) << d->grain_bits;
	uint64_t end = off + MIN(len, UINT64_MAX - off);

	for (uint64_t at = align_up(off, grain); at < end && at < d->size; at += grain)
		atomic_fetch_and(&d->words[(at >> d->grain_bits) / 64],
				 ~(UINT64_C(1) << (at >> d->grain_bits) % 64));
}

bool dirty_next(const struct dirty *d, uint64_t from, uint64_t max, uint64_t *ret_off,
		uint64_t *ret_len)
{
	uint64_t bit = from >> d->grain_bits, end;

	while (bit < d->nr_bits && !is_set(d, bit)) {
		if (bit % 64 == 0 && !d->words[bit / 64])
			bit += 64;
		else
			bit++;
	}
	if (bit >= d->nr_bits)
		return false;
	end = bit + 1;
	while (end < d->nr_bits && (end - bit + 1) << d->grain_bits <= max && is_set(d, end))
		end++;
	*ret_off = bit << d->grain_bits;
	*ret_len = MIN(end << d->grain_bits, d->size) - *ret_off;
	return true;
}

uint64_t dirty_bytes(const struct dirty *d)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < (d->nr_bits + 63) / 64; i++)
		n += (unsigned)__builtin_popcountll(d->words[i]);
	return n << d->grain_bits;
}
