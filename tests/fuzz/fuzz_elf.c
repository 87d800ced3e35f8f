/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ELF kernels by PVH: any header, program headers and notes. */
#include "fuzz_boot.h"

static void fix(uint8_t *p, size_t n)
{
	if (n >= 24) {
		memcpy(p, "\177ELF", 4);
		p[4] = 1 + (p[4] & 1);
		p[5] = 1;
		put_le16(p + 16, 2);
		put_le16(p + 18, 62);
		put_le32(p + 20, 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	fuzz_boot(data, n, fix);
	return 0;
}
