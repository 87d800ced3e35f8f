/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_ATTR_H
#define ATOLL_BASE_ATTR_H

#include <stddef.h>

/*
 * Names for the compiler attributes and the few macros that every file uses.
 *
 * Underscored on both sides, because `[[attr]]` is refused by gcc 12 in C17 under -Wpedantic and
 * plain names would collide with other people's headers.
 */

#define _nodiscard_    __attribute__((__warn_unused_result__))
#define _printf_(f, a) __attribute__((__format__(__printf__, f, a)))
#define _cleanup_(fn)  __attribute__((__cleanup__(fn)))
#define _noreturn_     __attribute__((__noreturn__))
#define _unused_       __attribute__((__unused__))
#define _pure_	       __attribute__((__pure__))
#define _const_	       __attribute__((__const__))
#define _cold_	       __attribute__((__cold__))
#define _hot_	       __attribute__((__hot__))
#define _noinline_     __attribute__((__noinline__))
#define _inline_       inline __attribute__((__always_inline__))
#define _aligned_(n)   __attribute__((__aligned__(n)))
#define _fallthrough_  __attribute__((__fallthrough__))

/* A distinct integer type for sparse (guest-physical address, little-endian word); a plain one for
 * the compilers. */
#ifdef __CHECKER__
#define _bitwise_ __attribute__((__bitwise__))
#define _force_	  __attribute__((__force__))
#else
#define _bitwise_
#define _force_
#endif

/* Whether this is a build with AddressSanitizer, which reads /proc and makes calls of its own. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define IS_SANITIZED 1
#endif

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Number of elements of an array; does not compile for a pointer. */
#define ARRAY_SIZE(a)                                                                              \
	(sizeof(a) / sizeof((a)[0]) +                                                              \
	 0 * sizeof(char[1 -                                                                       \
			 2 * !!__builtin_types_compatible_p(__typeof__(a), __typeof__(&(a)[0]))]))

/* The structure that holds `member` at `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Each argument is evaluated once; may be nested. */
#define MIN(a, b) PICK_(a, <, b, __COUNTER__)
#define MAX(a, b) PICK_(a, >, b, __COUNTER__)

#define PICK_(a, op, b, n) PICK__(a, op, b, n)
#define PICK__(a, op, b, n)                                                                        \
	__extension__({                                                                            \
		__typeof__(a) pick_a_##n = (a);                                                    \
		__typeof__(b) pick_b_##n = (b);                                                    \
		pick_a_##n op pick_b_##n ? pick_a_##n : pick_b_##n;                                \
	})

/*
 * Hands an owned pointer over: the value, while the variable becomes NULL, so that the cleanup
 * attribute of the variable finds nothing to free.
 */
#define take_ptr(pp)                                                                               \
	__extension__({                                                                            \
		__typeof__(pp) take_pp_ = (pp);                                                    \
		__typeof__(*take_pp_) take_p_ = *take_pp_;                                         \
		*take_pp_ = NULL;                                                                  \
		take_p_;                                                                           \
	})

/* Drops the result of a _nodiscard_ function (gcc warns at a plain cast to void). Say why beside
 * it. */
#define ignore_result(x) ((void)!(x))

#endif
