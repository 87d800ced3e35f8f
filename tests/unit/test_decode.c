// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The translator's decoder against Zydis: every opcode with every mandatory prefix, REX and ModRM byte, and
 * random bytes, in 64-bit and 32-bit code, for guests that are offered little and much.
 *
 * ATOLL_TEST_DECODE=N in the environment: N million random instructions instead of the few here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "decode_check.h"

enum { MAX_REPORTS = 40 };

static unsigned int reports, known, asked;

static uint64_t rng_state = 88172645463325252;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

static void check(struct decode_check *k, const uint8_t *b, unsigned int n, bool is_64)
{
	bool is_known;

	asked++;
	if (!decode_check(k, b, n, is_64, &is_known) && reports++ < MAX_REPORTS)
		print_message("# %s\n", k->text);
	known += is_known;
}

static void start(struct decode_check *k, struct cpu_cpuid *id, const char *model)
{
	struct err err;

	if (cpuid_build(id, model, NULL, 1, 2000000, &err) < 0)
		fail_msg("%s: %s", model, err.text);
	decode_check_init(k, id);
	reports = known = asked = 0;
}

static void finish(struct decode_check *k)
{
	print_message("# %u of %u known\n", known, asked);
	assert_int_equal(reports, 0);
	decode_check_done(k);
}

/* One opcode of a map with all that decides its meaning. */
static void check_opcode(struct decode_check *k, unsigned int map, unsigned int op, bool is_64)
{
	static const uint8_t pps[] = { 0, 0x66, 0xf3, 0xf2, 0xf0 };
	static const uint8_t rexes[] = { 0, 0x40, 0x41, 0x44, 0x48, 0x4f };
	static const uint8_t sibs[] = { 0x24, 0x05, 0xe5, 0x7b, 0x80 };

	for (unsigned int p = 0; p < sizeof(pps); p++) {
		for (unsigned int x = 0; x < (is_64 ? sizeof(rexes) : 1); x++) {
			for (unsigned int m = 0; m < 256; m++) {
				uint8_t b[48];
				unsigned int n = 0;

				/* Registers and displacements vary less with the rarer prefixes. */
				if (p > 1 && x > 1 && (m & 7) > 2)
					continue;
				for (unsigned int i = 0; i < sizeof(b); i++)
					b[i] = (uint8_t)(0x10 * m + 0x91 * i + x);
				if (pps[p])
					b[n++] = pps[p];
				if (rexes[x])
					b[n++] = rexes[x];
				if (map)
					b[n++] = 0x0f;
				if (map > 1)
					b[n++] = map == 2 ? 0x38 : 0x3a;
				b[n++] = (uint8_t)op;
				b[n++] = (uint8_t)m;
				if ((m & 7) == 4)
					b[n++] = sibs[(m >> 3) % sizeof(sibs)];
				check(k, b, sizeof(b), is_64);
			}
		}
	}
}

static void test_opcodes(void **state)
{
	static const char *const models[] = { "host", "baseline" };

	for (unsigned int i = 0; i < 2; i++) {
		struct decode_check k;
		struct cpu_cpuid id;

		start(&k, &id, models[i]);
		for (unsigned int n = 0; n < 4 * 256 * 2; n++)
			check_opcode(&k, n / 512, n / 2 % 256, n & 1);
		finish(&k);
	}
}

static void test_random(void **state)
{
	const char *env = getenv("ATOLL_TEST_DECODE");
	unsigned long count = env ? strtoul(env, NULL, 10) * 1000000 : 300000;
	struct decode_check k;
	struct cpu_cpuid id;

	if (env)
		rng_state ^= strtoul(env, NULL, 10) * 0x9e3779b97f4a7c15;
	start(&k, &id, "host");
	for (unsigned long n = 0; n < count; n++) {
		uint8_t b[16];
		unsigned int len = 16, at = 0;
		uint64_t r = rng();

		put_le64(b, rng());
		put_le64(b + 8, rng());
		/* Bytes from nowhere are mostly one-byte opcodes. */
		while ((r & 7) == 0 && at < 8) {
			static const uint8_t prefix[] = { 0x66, 0x67, 0xf2, 0xf3,
							  0xf0, 0x64, 0x2e, 0x48 };

			b[at++] = prefix[r >> 3 & 7];
			r >>= 6;
		}
		switch (r >> 8 & 7) {
		case 1:
		case 2:
			b[at++] = 0x0f;
			break;
		case 3:
			b[at++] = 0x0f;
			b[at++] = r & 0x1000 ? 0x38 : 0x3a;
			break;
		case 4:
			b[at++] = 0xc4;
			b[at] = (b[at] & 0xe0) | (1 + (r >> 16) % 3);
			break;
		case 5:
			b[at++] = 0xc5;
			break;
		default:
			break;
		}
		if ((r >> 24 & 15) == 0)
			len = 1 + (r >> 28) % 15;
		check(&k, b, len, n & 1);
	}
	finish(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opcodes),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
