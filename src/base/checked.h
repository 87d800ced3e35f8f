/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_CHECKED_H
#define ATOLL_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

/*
 * Arithmetic on numbers that come from a guest, a file or a client. add_ok(a, b, &sum) is true and
 * stores the result when it fits the type of the result; what the result holds otherwise must not
 * be used.
 */
#define add_ok(a, b, ret) (!__builtin_add_overflow((a), (b), (ret)))
#define sub_ok(a, b, ret) (!__builtin_sub_overflow((a), (b), (ret)))
#define mul_ok(a, b, ret) (!__builtin_mul_overflow((a), (b), (ret)))

/*
 * range_ok - whether [off, off + len) lies within [0, size). All in the same unit; len 0 is in
 * range for off <= size. Thread: any.
 */
static inline bool range_ok(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

/*
 * range_overlap - whether [a, a + a_len) and [b, b + b_len) share a byte. Ranges may end at 2^64
 * but not wrap; an empty range overlaps nothing. Thread: any.
 */
static inline bool range_overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	if (!a_len || !b_len)
		return false;
	return a <= b ? b - a < a_len : a - b < b_len;
}

/* is_pow2 - whether x is a power of two; 0 is not. Thread: any. */
static inline bool is_pow2(uint64_t x)
{
	return x && !(x & (x - 1));
}

/* align_down - largest multiple of `align` (a power of two) that is <= x. Thread: any. */
static inline uint64_t align_down(uint64_t x, uint64_t align)
{
	return x & ~(align - 1);
}

/*
 * align_up - smallest multiple of `align` (a power of two) that is >= x. Wraps to 0 past 2^64: use
 * align_up_ok() on outside numbers. Thread: any.
 */
static inline uint64_t align_up(uint64_t x, uint64_t align)
{
	return (x + (align - 1)) & ~(align - 1);
}

/* align_up_ok - align_up() that is false where the result does not fit 64 bits. Thread: any. */
static inline bool align_up_ok(uint64_t x, uint64_t align, uint64_t *ret)
{
	uint64_t sum;

	if (!add_ok(x, align - 1, &sum))
		return false;
	*ret = sum & ~(align - 1);
	return true;
}

/* mul_div_u64 - a * b / c without losing the high half; c > 0, the result must fit 64 bits.
 * Thread: any. */
static inline uint64_t mul_div_u64(uint64_t a, uint64_t b, uint64_t c)
{
	return (uint64_t)((unsigned __int128)a * b / c);
}

#endif
