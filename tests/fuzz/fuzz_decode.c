/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translator's decoder on bytes from nowhere: a flag byte, then code, looked at from every offset. What decode()
 * knows must be what Zydis says, and nothing may be read beyond the end.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../unit/decode_check.h"

enum { FLAG_64 = 1, FLAG_BASELINE = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct decode_check host, baseline;
static struct cpu_cpuid host_id, baseline_id;

static void setup(void)
{
	struct err err;

	if (cpuid_build(&host_id, "host", NULL, 1, 2000000, NULL, &err) < 0 ||
	    cpuid_build(&baseline_id, "baseline", NULL, 1, 2000000, NULL, &err) < 0)
		abort();
	decode_check_init(&host, &host_id);
	decode_check_init(&baseline, &baseline_id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct decode_check *k;
	bool known;

	if (n < 2)
		return 0;
	if (!host.table)
		setup();
	k = data[0] & FLAG_BASELINE ? &baseline : &host;
	for (size_t at = 1; at < n; at++) {
		if (decode_check(k, data + at, (unsigned int)(n - at), data[0] & FLAG_64, &known))
			continue;
		fprintf(stderr, "%s\n", k->text);
		abort();
	}
	return 0;
}
