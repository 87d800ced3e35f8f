/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_STR_H
#define ATOLL_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * `struct str` is a view of bytes that somebody else owns: to read, cut and compare. `struct strbuf`
 * owns a growing buffer: to build. A view need not be terminated and may hold zero bytes.
 */
struct str {
	const char *p;
	size_t n;
};

/* A view of a string literal. */
#define STR(lit) ((struct str){ "" lit, sizeof(lit) - 1 })

/* For printf: printf("%.*s", STR_ARG(s)). The length must fit an int. */
#define STR_ARG(s) ((int)(s).n), ((s).p)

/* str_of - view of a terminated string; NULL gives an empty view. Thread: any. */
_pure_ struct str str_of(const char *s);

/* str_eq - same length and bytes. Thread: any. */
_pure_ bool str_eq(struct str a, struct str b);

/* str_cmp - byte order, as memcmp; a prefix comes first. Returns <0, 0, >0. Thread: any. */
_pure_ int str_cmp(struct str a, struct str b);

/* str_starts - whether s begins with prefix. Thread: any. */
_pure_ bool str_starts(struct str s, struct str prefix);

/* str_ends - whether s ends with suffix. Thread: any. */
_pure_ bool str_ends(struct str s, struct str suffix);

/* str_skip - s without its first n bytes; empty when it has fewer. Thread: any. */
_pure_ struct str str_skip(struct str s, size_t n);

/* str_trim - s without white space (space, tab, CR, LF) at both ends. Thread: any. */
_pure_ struct str str_trim(struct str s);

/*
 * str_cut - split off what stands before the first `sep`.
 *
 * @rest:  in: the text; out: what follows the separator, empty (p NULL) when there was none
 * @ret:   the part before
 * Returns false when @rest was NULL on entry (everything is read), so that
 * `while (str_cut(&rest, ',', &part))` sees every field, also empty ones. Thread: any.
 */
bool str_cut(struct str *rest, char sep, struct str *ret);

/*
 * str_parse_u64 - a whole number, decimal or 0x hexadecimal, nothing around it.
 *
 * @ret:  written only on success
 * Returns 0; -EINVAL (not a number), -ERANGE (over 64 bits or outside [min, max]). Thread: any.
 */
_nodiscard_ int str_parse_u64(struct str s, uint64_t min, uint64_t max, uint64_t *ret,
			      struct err *err);

/* str_parse_i64 - as str_parse_u64(), with an optional sign. Thread: any. */
_nodiscard_ int str_parse_i64(struct str s, int64_t min, int64_t max, int64_t *ret,
			      struct err *err);

/*
 * str_parse_size - a number of bytes with an optional unit: K M G T P, also KiB, KB, k (always
 * powers of 1024, as with QEMU and docker), or B.
 *
 * Returns as str_parse_u64(). Thread: any.
 */
_nodiscard_ int str_parse_size(struct str s, uint64_t min, uint64_t max, uint64_t *ret_bytes,
			       struct err *err);

/*
 * str_parse_ns - a duration with a unit: ns, us, ms, s, m, h; a bare number is seconds.
 *
 * Returns as str_parse_u64(). Thread: any.
 */
_nodiscard_ int str_parse_ns(struct str s, uint64_t min, uint64_t max, uint64_t *ret_ns,
			     struct err *err);

/* str_hex_digit - the value of a hexadecimal digit; -1: it is none. Thread: any. */
_pure_ int str_hex_digit(char c);

/* str_parse_bool - on/off, yes/no, true/false, 1/0. Returns 0 or -EINVAL. Thread: any. */
_nodiscard_ int str_parse_bool(struct str s, bool *ret, struct err *err);

/*
 * str_distance - how many single-letter insertions, deletions and replacements make b out of a; for
 * "did you mean". Longer than 64 bytes: the larger length. Thread: any.
 */
_pure_ size_t str_distance(struct str a, struct str b);

/*
 * A string under construction. Zero-initialised is empty and valid. The text is always terminated
 * (`p` is NULL only while nothing was added: use strbuf_cstr()). Aborts when there is no memory:
 * bound what you add when it comes from outside. Thread: owner.
 */
struct strbuf {
	char *p;
	size_t n;   /* bytes, without the terminator */
	size_t cap; /* bytes allocated */
};

/* strbuf_done - free; the buffer is empty and may be used again. For _cleanup_(strbuf_done).
 * Thread: owner. */
void strbuf_done(struct strbuf *b);

/* strbuf_reset - empty it, keep the memory. Thread: owner. */
void strbuf_reset(struct strbuf *b);

/* strbuf_add - append bytes. Thread: owner. */
void strbuf_add(struct strbuf *b, const void *p, size_t n);

/* strbuf_addc - append one byte. Thread: owner. */
void strbuf_addc(struct strbuf *b, char c);

/* strbuf_adds - append a terminated string. Thread: owner. */
void strbuf_adds(struct strbuf *b, const char *s);

/* strbuf_addf - append formatted text. Thread: owner. */
void strbuf_addf(struct strbuf *b, const char *fmt, ...) _printf_(2, 3);

/* strbuf_vaddf - strbuf_addf() with a va_list. Thread: owner. */
void strbuf_vaddf(struct strbuf *b, const char *fmt, va_list ap) _printf_(2, 0);

/* strbuf_pad - append spaces until the buffer is `column` bytes past `start`; at least none.
 * Thread: owner. */
void strbuf_pad(struct strbuf *b, size_t start, size_t column);

/*
 * strbuf_add_json - append a quoted JSON string. Bytes that are not UTF-8 become U+FFFD, so that
 * the result is always valid (RFC 8259, section 7). Thread: owner.
 */
void strbuf_add_json(struct strbuf *b, struct str s);

/* strbuf_cstr - the terminated text, "" when empty; valid until the next change. Thread: owner. */
const char *strbuf_cstr(const struct strbuf *b);

/* strbuf_str - the text as a view; valid until the next change. Thread: owner. */
struct str strbuf_str(const struct strbuf *b);

/* strbuf_take - hand the text over, to be freed with free(); never NULL; the buffer is empty.
 * Thread: owner. */
_nodiscard_ char *strbuf_take(struct strbuf *b);

#endif
