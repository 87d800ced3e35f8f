/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_MAP_H
#define ATOLL_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

/*
 * Hash maps to pointers: `struct map` by number, `struct smap` by string. Zero-initialised is empty
 * and valid. Values are never NULL and stay the caller's; keys of smap are copied. Keys may come
 * from outside: the hash has a random seed, so that nobody can choose keys that collide. Aborts
 * when there is no memory. Thread: whoever holds the lock of the map.
 */
struct map_slot {
	uint64_t key;
	void *value; /* NULL: free slot */
};

struct map {
	struct map_slot *slots;
	size_t cap; /* power of two, 0 when empty */
	size_t n;   /* entries */
};

struct smap_entry {
	char *key; /* owned, terminated */
	size_t key_len;
	uint64_t hash;
	void *value; /* NULL: free slot */
};

struct smap {
	struct smap_entry *slots;
	size_t cap;
	size_t n;
};

/* map_get - the value of a key, NULL when there is none. Thread: owner. */
_pure_ void *map_get(const struct map *m, uint64_t key);

/* map_put - set the value (not NULL) of a key. Returns the old value or NULL. Thread: owner. */
void *map_put(struct map *m, uint64_t key, void *value);

/* map_del - take a key out. Returns its value or NULL. Thread: owner. */
void *map_del(struct map *m, uint64_t key);

/* map_done - free the map, not the values; it is empty and may be used again. Thread: owner. */
void map_done(struct map *m);

/*
 * map_next - walk over all entries in no particular order.
 *
 * @pos:  start with 0; the map must not change during the walk
 * Returns the next entry, NULL at the end. Thread: owner.
 */
const struct map_slot *map_next(const struct map *m, size_t *pos);

/* smap_get - the value of a key, NULL when there is none. Thread: owner. */
void *smap_get(const struct smap *m, struct str key);

/* smap_put - set the value (not NULL) of a key, which is copied. Returns the old value or NULL.
 * Thread: owner. */
void *smap_put(struct smap *m, struct str key, void *value);

/* smap_del - take a key out. Returns its value or NULL. Thread: owner. */
void *smap_del(struct smap *m, struct str key);

/* smap_done - free the map and its keys, not the values; it may be used again. Thread: owner. */
void smap_done(struct smap *m);

/* smap_next - as map_next(). Thread: owner. */
const struct smap_entry *smap_next(const struct smap *m, size_t *pos);

#endif
