/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Multiboot images: a header with the right sum at a place that the input chooses, ELF or addresses. */
#include "fuzz_boot.h"

static void fix(uint8_t *p, size_t n)
{
	size_t off;

	if (n < 16)
		return;
	off = (size_t)(p[7] * 4);
	if (off + 12 > n)
		off = 8;
	if (off + 12 > n)
		return;
	put_le32(p + off, 0x1badb002);
	put_le32(p + off + 8, -(0x1badb002u + get_le32(p + off + 4)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	fuzz_boot(data, n, fix);
	return 0;
}
