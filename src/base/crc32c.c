/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CRC-32C. x86-64 CPUs with SSE4.2 (2008) have an instruction that does eight bytes in three cycles; whoever has none
 * gets a bit at a time. What is summed are headers of disk images and pages of guest memory, 4 KiB at a time on their
 * way to or from a file: one stream keeps up with that.
 */
#include "base/crc32c.h"

#include <stdbool.h>

#include "base/attr.h"
#include "base/bytes.h"

#define POLY_REFLECTED 0x82f63b78u

static uint32_t by_bits(uint32_t crc, const uint8_t *p, size_t n)
{
	for (; n; n--, p++) {
		crc ^= *p;
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? POLY_REFLECTED : 0);
	}
	return crc;
}

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *p,
								 size_t n)
{
	uint64_t c = crc;

	for (; n >= 8; n -= 8, p += 8)
		c = __builtin_ia32_crc32di(c, get_le64(p));
	for (; n; n--, p++)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p);
	return (uint32_t)c;
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
	if (__builtin_cpu_supports("sse4.2"))
		return ~by_instruction(~crc, p, n);
	return ~by_bits(~crc, p, n);
}
