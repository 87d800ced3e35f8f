/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_BASE64_H
#define ATOLL_BASE_BASE64_H

#include "base/str.h"

/* base64_encode - append bytes as base64 with padding (RFC 4648, section 4). Thread: any. */
void base64_encode(struct strbuf *out, const void *p, size_t n);

/*
 * base64_decode - append what such a text stands for; no white space.
 *
 * Returns 0, or -EINVAL with part of it appended. Thread: any.
 */
_nodiscard_ int base64_decode(struct strbuf *out, struct str text);

#endif
