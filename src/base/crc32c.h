/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_CRC32C_H
#define ATOLL_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * crc32c - CRC-32C (Castagnoli) of some bytes.
 *
 * @crc:  0 to begin, or the result for the bytes before
 * Returns the checksum so far. Thread: any.
 * Source: RFC 3720, appendix B.4 (polynomial 0x1edc6f41, reflected, ones' complement at both ends).
 */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

#endif
