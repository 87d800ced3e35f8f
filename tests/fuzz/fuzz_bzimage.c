/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The Linux boot protocol: any setup header, any length. */
#include "fuzz_boot.h"

static void fix(uint8_t *p, size_t n)
{
	if (n >= 0x206)
		memcpy(p + 0x202, "HdrS", 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	fuzz_boot(data, n, fix);
	return 0;
}
