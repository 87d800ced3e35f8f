/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open addressing with linear probing: one array, no allocation per entry, and deletion by moving
 * followers back, so that there are no tombstones to clean. The arrays are at most 3/4 full.
 *
 * Strings hash with SipHash-1-3, numbers with a seeded multiply-mix; both seeds come from the
 * kernel once a process. Two maps instead of one generic one: a number needs no copy, no length and
 * no comparison function, and it is the common case.
 */
#include "base/map.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "base/mem.h"

#define MAP_MIN_CAP 16

static uint64_t seed[2];

static void seed_fill(void)
{
	/* Without random numbers (a very early boot) maps still work, only guessable. */
	if (getrandom(seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
		seed[0] = UINT64_C(0x9e3779b97f4a7c15);
}

static void seed_once(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, seed_fill);
}

static uint64_t hash_u64(uint64_t key)
{
	unsigned __int128 p = (unsigned __int128)(key ^ seed[0]) *
			      (UINT64_C(0x9e3779b97f4a7c15) ^ (seed[1] << 1));

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

struct sip {
	uint64_t v[4];
};

static void sip_round(struct sip *s)
{
	uint64_t *v = s->v;

	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] = rotl(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] = rotl(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", section 2). */
static uint64_t hash_str(struct str s)
{
	struct sip h = { {
		seed[0] ^ UINT64_C(0x736f6d6570736575),
		seed[1] ^ UINT64_C(0x646f72616e646f6d),
		seed[0] ^ UINT64_C(0x6c7967656e657261),
		seed[1] ^ UINT64_C(0x7465646279746573),
	} };
	uint64_t last = (uint64_t)s.n << 56;

	for (; s.n >= 8; s = str_skip(s, 8)) {
		uint64_t w = get_le64(s.p);

		h.v[3] ^= w;
		sip_round(&h);
		h.v[0] ^= w;
	}
	last |= get_le(s.p, (unsigned)s.n);
	h.v[3] ^= last;
	sip_round(&h);
	h.v[0] ^= last;
	h.v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(&h);
	return h.v[0] ^ h.v[1] ^ h.v[2] ^ h.v[3];
}

/*
 * Whether an entry at slot `at` whose probing starts at `home` may move to the free slot `gap`
 * without becoming unreachable: the gap lies between home and at, cyclically.
 */
static bool may_move(size_t home, size_t gap, size_t at, size_t mask)
{
	return ((gap - home) & mask) <= ((at - home) & mask);
}

/* The slot of a key, or the free slot where it belongs. There is always one free. */
static struct map_slot *map_slot_of(struct map_slot *slots, size_t cap, uint64_t key)
{
	size_t i = hash_u64(key) & (cap - 1);

	while (slots[i].value && slots[i].key != key)
		i = (i + 1) & (cap - 1);
	return &slots[i];
}

static void map_grow(struct map *m)
{
	size_t cap = m->cap ? m->cap * 2 : MAP_MIN_CAP;
	struct map_slot *slots;

	seed_once();
	slots = mem_new_n(cap, sizeof(*slots));
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].value)
			*map_slot_of(slots, cap, m->slots[i].key) = m->slots[i];
	free(m->slots);
	m->slots = slots;
	m->cap = cap;
}

void *map_get(const struct map *m, uint64_t key)
{
	return m->n ? map_slot_of(m->slots, m->cap, key)->value : NULL;
}

void *map_put(struct map *m, uint64_t key, void *value)
{
	struct map_slot *s;
	void *old;

	assert(value);
	if (m->n + 1 > m->cap / 4 * 3)
		map_grow(m);
	s = map_slot_of(m->slots, m->cap, key);
	old = s->value;
	m->n += !old;
	*s = (struct map_slot){ key, value };
	return old;
}

void *map_del(struct map *m, uint64_t key)
{
	size_t mask = m->cap - 1, gap;
	struct map_slot *s;
	void *old;

	if (!m->n)
		return NULL;
	s = map_slot_of(m->slots, m->cap, key);
	old = s->value;
	if (!old)
		return NULL;
	gap = (size_t)(s - m->slots);
	for (size_t i = (gap + 1) & mask; m->slots[i].value; i = (i + 1) & mask) {
		if (may_move(hash_u64(m->slots[i].key) & mask, gap, i, mask)) {
			m->slots[gap] = m->slots[i];
			gap = i;
		}
	}
	m->slots[gap].value = NULL;
	m->n--;
	return old;
}

void map_done(struct map *m)
{
	free(m->slots);
	*m = (struct map){ 0 };
}

const struct map_slot *map_next(const struct map *m, size_t *pos)
{
	while (*pos < m->cap) {
		const struct map_slot *s = &m->slots[(*pos)++];

		if (s->value)
			return s;
	}
	return NULL;
}

static struct smap_entry *smap_slot_of(struct smap_entry *slots, size_t cap, struct str key,
				       uint64_t hash)
{
	size_t i = hash & (cap - 1);

	while (slots[i].value && (slots[i].hash != hash ||
				  !str_eq((struct str){ slots[i].key, slots[i].key_len }, key)))
		i = (i + 1) & (cap - 1);
	return &slots[i];
}

static void smap_grow(struct smap *m)
{
	size_t cap = m->cap ? m->cap * 2 : MAP_MIN_CAP;
	struct smap_entry *slots;

	seed_once();
	slots = mem_new_n(cap, sizeof(*slots));
	for (size_t i = 0; i < m->cap; i++) {
		struct smap_entry *e = &m->slots[i];

		if (e->value)
			*smap_slot_of(slots, cap, (struct str){ e->key, e->key_len }, e->hash) = *e;
	}
	free(m->slots);
	m->slots = slots;
	m->cap = cap;
}

void *smap_get(const struct smap *m, struct str key)
{
	return m->n ? smap_slot_of(m->slots, m->cap, key, hash_str(key))->value : NULL;
}

void *smap_put(struct smap *m, struct str key, void *value)
{
	struct smap_entry *e;
	uint64_t hash;
	void *old;

	assert(value);
	if (m->n + 1 > m->cap / 4 * 3)
		smap_grow(m);
	hash = hash_str(key);
	e = smap_slot_of(m->slots, m->cap, key, hash);
	old = e->value;
	if (!old) {
		e->key = mem_new(key.n + 1);
		if (key.n)
			memcpy(e->key, key.p, key.n);
		e->key_len = key.n;
		e->hash = hash;
		m->n++;
	}
	e->value = value;
	return old;
}

void *smap_del(struct smap *m, struct str key)
{
	size_t mask = m->cap - 1, gap;
	struct smap_entry *e;
	void *old;

	if (!m->n)
		return NULL;
	e = smap_slot_of(m->slots, m->cap, key, hash_str(key));
	old = e->value;
	if (!old)
		return NULL;
	free(e->key);
	gap = (size_t)(e - m->slots);
	for (size_t i = (gap + 1) & mask; m->slots[i].value; i = (i + 1) & mask) {
		if (may_move(m->slots[i].hash & mask, gap, i, mask)) {
			m->slots[gap] = m->slots[i];
			gap = i;
		}
	}
	m->slots[gap] = (struct smap_entry){ 0 };
	m->n--;
	return old;
}

void smap_done(struct smap *m)
{
	for (size_t i = 0; i < m->cap; i++)
		free(m->slots[i].value ? m->slots[i].key : NULL);
	free(m->slots);
	*m = (struct smap){ 0 };
}

const struct smap_entry *smap_next(const struct smap *m, size_t *pos)
{
	while (*pos < m->cap) {
		const struct smap_entry *e = &m->slots[(*pos)++];

		if (e->value)
			return e;
	}
	return NULL;
}
