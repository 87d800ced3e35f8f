/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_GUID_PRIV_H
#define ATOLL_DISK_GUID_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

/*
 * 16-byte identifiers of disk images. Bytes are kept as they stand in the file; only text knows an
 * order. `struct guid` is mixed-endian as Microsoft writes it (VHDX): the first three groups of the
 * text are little-endian integers. VHD, VMDK and VDI identifiers are plain bytes in text order (RFC
 * 4122): the `uuid` functions.
 */
struct guid {
	uint8_t b[16];
};

enum { GUID_TEXT_LEN = 36 };

/* A constant from its text groups: GUID(0x2dc27766, 0xf623, 0x4200, 0x9d, 0x64, ...). */
#define GUID(a, w1, w2, ...)                                                                       \
	{                                                                                          \
		{                                                                                  \
			(a) & 0xff, ((a) >> 8) & 0xff, ((a) >> 16) & 0xff, ((a) >> 24) & 0xff,     \
				(w1)&0xff, (w1) >> 8, (w2)&0xff, (w2) >> 8, __VA_ARGS__            \
		}                                                                                  \
	}

/* guid_eq - same bytes. Thread: any. */
_pure_ bool guid_eq(const struct guid *a, const struct guid *b);

/* guid_is_zero - all bytes zero. Thread: any. */
_pure_ bool guid_is_zero(const struct guid *g);

/*
 * guid_new - a random identifier (RFC 4122 version 4; as mixed-endian bytes too).
 *
 * Returns 0 or negative errno (no random numbers). Thread: any.
 */
_nodiscard_ int guid_new(struct guid *ret, struct err *err);

/* guid_text - the 36 characters, lower case, terminated; @mixed: Microsoft's byte order. Thread:
 * any. */
void guid_text(const struct guid *g, bool mixed, char text[GUID_TEXT_LEN + 1]);

/*
 * guid_parse - 36 characters, either case, with or without braces.
 *
 * @mixed:  give Microsoft's byte order
 * Returns 0 or -EINVAL. Thread: any.
 */
_nodiscard_ int guid_parse(struct str text, bool mixed, struct guid *ret);

#endif
