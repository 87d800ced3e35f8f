/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_UTF8_H
#define ATOLL_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

#define UTF8_REPLACEMENT 0xfffdu

/*
 * utf8_next - the first character of a text.
 *
 * @s:      not empty
 * @ret_n:  how many bytes it has, 1 to 4
 * Returns it; UTF8_REPLACEMENT with one byte where there is none: wrong bytes, a form that is too long, a surrogate, past U+10FFFF.
 * Thread: any. Source: RFC 3629, section 4.
 */
_nodiscard_ uint32_t utf8_next(struct str s, size_t *ret_n);

/* utf8_add - append a character, up to U+10FFFF. Thread: owner of @b. */
void utf8_add(struct strbuf *b, uint32_t c);

#endif
