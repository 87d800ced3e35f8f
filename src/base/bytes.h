/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_BYTES_H
#define ATOLL_BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Integers at any address, aligned or not, in a stated byte order. The only way to read or write a
 * wire or disk format: no packed structs, no bit-fields, no casts of byte pointers. Each compiles
 * to one move. The caller has checked the bounds. Thread: any.
 */
#define BYTES_ACCESSOR_(bits, order)                                                               \
	static inline uint##bits##_t get_##order##bits(const void *p)                              \
	{                                                                                          \
		uint##bits##_t v;                                                                  \
                                                                                                   \
		memcpy(&v, p, sizeof(v));                                                          \
		return order##bits##toh(v);                                                        \
	}                                                                                          \
	static inline void put_##order##bits(void *p, uint##bits##_t v)                            \
	{                                                                                          \
		v = hto##order##bits(v);                                                           \
		memcpy(p, &v, sizeof(v));                                                          \
	}

BYTES_ACCESSOR_(16, le)
BYTES_ACCESSOR_(32, le)
BYTES_ACCESSOR_(64, le)
BYTES_ACCESSOR_(16, be)
BYTES_ACCESSOR_(32, be)
BYTES_ACCESSOR_(64, be)

#undef BYTES_ACCESSOR_

/* get_le - little-endian integer of `n` bytes, n in 0..8, zero-extended. Thread: any. */
static inline uint64_t get_le(const void *p, unsigned n)
{
	const uint8_t *b = p;
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)b[i] << (8 * i);
	return v;
}

/* put_le - the low `n` bytes of v, n in 0..8, little-endian. Thread: any. */
static inline void put_le(void *p, uint64_t v, unsigned n)
{
	uint8_t *b = p;

	for (unsigned i = 0; i < n; i++)
		b[i] = (uint8_t)(v >> (8 * i));
}

/* bytes_are - is each of the `n` bytes `v`? Also when there is none. Thread: any. */
static inline bool bytes_are(const void *p, size_t n, uint8_t v)
{
	const uint8_t *b = p;

	return !n || (b[0] == v && !memcmp(b, b + 1, n - 1));
}

/* byte_sum_complement - the byte with which the sum of `n` bytes and it is 0: the checksum of firmware tables. Thread: any. */
static inline uint8_t byte_sum_complement(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + b[i]);
	return (uint8_t)-sum;
}

#endif
