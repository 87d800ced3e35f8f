/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_UTF16_PRIV_H
#define ATOLL_DISK_UTF16_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

/*
 * utf16_get - UTF-8 text of UTF-16 bytes; ends before a zero character.
 *
 * @n:    bytes; an odd last one is ignored
 * @big:  byte order
 * @ret:  appended to; at most n * 3 / 2 bytes. Lone surrogates become U+FFFD.
 * Thread: owner of @ret.
 */
void utf16_get(const uint8_t *p, size_t n, bool big, struct strbuf *ret);

/*
 * utf16_put - UTF-16 bytes of UTF-8 text, without a terminator.
 *
 * @ret:  appended to. Bytes that are no UTF-8 become U+FFFD.
 * Thread: owner of @ret.
 */
void utf16_put(struct str text, bool big, struct strbuf *ret);

#endif
