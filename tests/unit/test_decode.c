// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The translator's decoder against Zydis: every opcode with every mandatory prefix, REX and ModRM byte, and
 * random bytes, in 64-bit and 32-bit code, for guests that are offered little and much.
 *
 * ATOLL_TEST_DECODE=N in the environment: everything, and N million random instructions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "decode_check.h"

enum { MAX_REPORTS = 40, MAX_BYTES = 48 };

static bool thorough;

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

/* What follows the opcode: ModRM with a SIB, displacement and immediate that vary with it. */
static void check_modrm(struct decode_check *k, uint8_t *b, unsigned int n, unsigned int m,
			bool is_64)
{
	static const uint8_t sibs[] = { 0x24, 0x05, 0xe5, 0x7b, 0x80 };

	b[n++] = (uint8_t)m;
	if ((m & 7) == 4)
		b[n++] = sibs[(m >> 3) % sizeof(sibs)];
	for (; n < MAX_BYTES; n++)
		b[n] = (uint8_t)(0x10 * m + 0x91 * n);
	check(k, b, MAX_BYTES, is_64);
}

/* Every ModRM byte, or some of them that have each .mod, .reg and special .rm. */
static void check_modrms(struct decode_check *k, const uint8_t *opcode, unsigned int n, bool is_64,
			 bool all)
{
	uint8_t b[MAX_BYTES];

	memcpy(b, opcode, n);
	for (unsigned int m = 0; m < 256; m++)
		if (all || (m & 7) == (m >> 3 & 7) || (m & 7) == 5)
			check_modrm(k, b, n, m, is_64);
}

/* One opcode of a map with all that decides its meaning. */
static void check_legacy(struct decode_check *k, unsigned int map, unsigned int op, bool is_64)
{
	static const uint8_t pps[] = { 0, 0x66, 0xf3, 0xf2, 0xf0 };
	static const uint8_t rexes[] = { 0, 0x40, 0x41, 0x44, 0x48, 0x4f };

	for (unsigned int p = 0; p < sizeof(pps); p++) {
		for (unsigned int x = 0; x < (is_64 ? sizeof(rexes) : 1); x++) {
			uint8_t b[MAX_BYTES];
			unsigned int n = 0;

			if (pps[p])
				b[n++] = pps[p];
			if (rexes[x])
				b[n++] = rexes[x];
			if (map)
				b[n++] = 0x0f;
			if (map > 1)
				b[n++] = map == 2 ? 0x38 : 0x3a;
			b[n++] = (uint8_t)op;
			check_modrms(k, b, n, is_64, x == 0 && (is_64 || thorough));
		}
	}
}

static void check_vex(struct decode_check *k, unsigned int map, unsigned int op, bool is_64)
{
	for (unsigned int v = 0; v < 64; v++) {
		unsigned int pp = v & 3, l = v >> 2 & 1, w = v >> 3 & 1, rxb = v & 4 ? 0xe0 : 0xc0;
		unsigned int vvvv = v & 16 ? 15 : op & 15;
		uint8_t b[MAX_BYTES] = { 0xc4 };

		if (v & 32) {
			if (!is_64 || !thorough)
				break;
			rxb = v & 4 ? 0x00 : 0x40;
		}
		b[1] = (uint8_t)(rxb | map);
		b[2] = (uint8_t)(w << 7 | vvvv << 3 | l << 2 | pp);
		b[3] = (uint8_t)op;
		check_modrms(k, b, 4, is_64, thorough);
	}
	for (unsigned int v = 0; v < 16 && map == 1; v++) {
		uint8_t b[MAX_BYTES] = { 0xc5, (uint8_t)((v & 8 ? 0x80 : 0xf8) | (v & 7)),
					 (uint8_t)op };

		check_modrms(k, b, 3, is_64, thorough);
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
			check_legacy(&k, n / 512, n / 2 % 256, n & 1);
		for (unsigned int n = 0; n < 3 * 256 * 2; n++)
			check_vex(&k, 1 + n / 512, n / 2 % 256, n & 1);
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
	thorough = getenv("ATOLL_TEST_DECODE");

	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opcodes),
		cmocka_unit_test(test_random),
	};

	thorough = getenv("ATOLL_TEST_DECODE");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
