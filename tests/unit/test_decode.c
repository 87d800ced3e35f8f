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

	if (cpuid_build(id, model, NULL, 1, 2000000, NULL, &err) < 0)
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

/* How many ModRM bytes: all; those with each .mod, .reg and the .rm that means SIB; each .mod and .reg; memory and
 * register with each .reg. */
enum detail { ALL, MANY, FEW, LEAST };

static bool is_wanted(enum detail detail, unsigned int modrm)
{
	unsigned int reg = modrm >> 3 & 7, rm = modrm & 7;

	if (thorough)
		return true;
	switch (detail) {
	case ALL:
		return true;
	case MANY:
		return rm == reg || rm == 4;
	case FEW:
		return rm == reg;
	default:
		return rm == 6 && (modrm < 0x40 || modrm >= 0xc0);
	}
}

static void check_modrms(struct decode_check *k, const uint8_t *opcode, unsigned int n, bool is_64,
			 enum detail detail)
{
	uint8_t b[MAX_BYTES];

	memcpy(b, opcode, n);
	for (unsigned int m = 0; m < 256; m++)
		if (is_wanted(detail, m))
			check_modrm(k, b, n, m, is_64);
}

/* One opcode of a map with all that decides its meaning. */
static void check_legacy(struct decode_check *k, unsigned int map, unsigned int op, bool is_64,
			 enum detail detail)
{
	static const uint8_t pps[] = { 0, 0x66, 0xf3, 0xf2, 0xf0 };
	static const uint8_t rexes[] = { 0, 0x4f, 0x40, 0x41, 0x44, 0x48 };
	unsigned int nr_rexes = !is_64 ? 1 : detail == LEAST ? 2 : sizeof(rexes);

	for (unsigned int p = 0; p < (detail == LEAST ? 4 : sizeof(pps)); p++) {
		for (unsigned int x = 0; x < nr_rexes; x++) {
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
			check_modrms(k, b, n, is_64,
				     detail != ALL	? detail
				     : p == 0 && x == 0 ? ALL
				     : p == 4 || x > 3	? FEW
							: MANY);
		}
	}
}

static void check_vex(struct decode_check *k, unsigned int map, unsigned int op, bool is_64,
		      enum detail detail)
{
	/* bits 0-3: pp, L, W; 4: vvvv is used; 5: REX.X and R; 6: B */
	for (unsigned int v = 0; v < (thorough && is_64 ? 128 : 32); v++) {
		unsigned int vvvv = v & 16 ? 15 : op & 15;
		uint8_t b[MAX_BYTES] = { 0xc4 };

		if (detail == LEAST && (v & 8))
			continue;
		b[1] = (uint8_t)((v & 32 ? 0 : 0xc0) | (v & 64 || (v & 4 && is_64) ? 0 : 0x20) |
				 map);
		b[2] = (uint8_t)((v & 8) << 4 | vvvv << 3 | (v & 7));
		b[3] = (uint8_t)op;
		check_modrms(k, b, 4, is_64, detail == ALL ? FEW : detail);
		if (map != 1 || (v & 8))
			continue;
		b[0] = 0xc5;
		b[1] = (uint8_t)((v & 16 && is_64 ? 0 : 0x80) | vvvv << 3 | (v & 7));
		b[2] = (uint8_t)op;
		check_modrms(k, b, 3, is_64, detail);
	}
}

static void test_opcodes(void **state)
{
	struct decode_check k;
	struct cpu_cpuid id;

	start(&k, &id, "host");
	for (unsigned int n = 0; n < 4 * 256 * 2; n++)
		check_legacy(&k, n / 512, n / 2 % 256, n & 1, ALL);
	for (unsigned int n = 0; n < 3 * 256 * 2; n++)
		check_vex(&k, 1 + n / 512, n / 2 % 256, n & 1, ALL);
	finish(&k);
}

/*
 * What is not offered is not known. Each feature is there in 4 of 9 guests, no two in the same ones: so for every two there
 * is a guest that has the first and lacks the second.
 */
enum { NR_GUESTS = 9, GUESTS_WITH = 4 };

static void choose_features(struct cpu_cpuid id[NR_GUESTS])
{
	unsigned int code = 0;

	for (unsigned int f = 0; f < CPUID_NR_FEATURES; f++) {
		do
			code++;
		while (__builtin_popcount(code) != GUESTS_WITH);
		assert_true(code < 1 << NR_GUESTS);
		for (unsigned int i = 0; i < NR_GUESTS; i++)
			if (!(code >> i & 1) && f != CPUID_LM)
				id[i].features[f / 64] &= ~(UINT64_C(1) << f % 64);
	}
}

static void test_offered(void **state)
{
	struct decode_check k[NR_GUESTS];
	struct cpu_cpuid id[NR_GUESTS];

	start(&k[0], &id[0], "host");
	decode_check_done(&k[0]);
	for (unsigned int i = 1; i < NR_GUESTS; i++)
		id[i] = id[0];
	choose_features(id);
	for (unsigned int i = 0; i < NR_GUESTS; i++)
		decode_check_init(&k[i], &id[i]);
	for (unsigned int i = 0; i < NR_GUESTS; i++) {
		for (unsigned int n = 0; n < 4 * 256; n++)
			check_legacy(&k[i], n / 256, n % 256, (n ^ i) & 1, LEAST);
		for (unsigned int n = 0; n < 3 * 256; n++)
			check_vex(&k[i], 1 + n / 256, n % 256, (n ^ i) & 1, LEAST);
	}
	for (unsigned int i = 1; i < NR_GUESTS; i++)
		decode_check_done(&k[i]);
	finish(&k[0]);
}

/* Nothing is read beyond what there is, and what goes on beyond it is not known. */
static void test_edge(void **state)
{
	static const uint8_t insns[][16] = {
		{ 1, 0x90 },
		{ 3, 0x48, 0x89, 0xc8 },
		{ 5, 0xe8, 1, 2, 3, 4 },
		{ 7, 0x48, 0x8b, 0x05, 1, 2, 3, 4 },
		{ 10, 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8 },
		{ 9, 0xc4, 0xe3, 0x79, 0x61, 0x44, 0x88, 0x10, 0x0d, 0 },
		{ 9, 0x66, 0x0f, 0x3a, 0x61, 0x44, 0x88, 0x10, 0x0d, 0 },
		{ 15, 0x66, 0x66, 0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0, 0x00, 0 },
		{ 15, 0xf0, 0x64, 0x67, 0x48, 0x81, 0x84, 0x88, 1, 2, 3, 4, 5, 6, 7, 8 },
	};
	struct decode_check k;
	struct cpu_cpuid id;
	struct dinsn d;

	start(&k, &id, "host");
	for (unsigned int i = 0; i < ARRAY_SIZE(insns); i++) {
		const uint8_t *insn = insns[i] + 1;
		unsigned int len;

		assert_true(decode(k.table, insn, 15, true, &d));
		len = d.len;
		for (unsigned int n = 1; n <= len; n++) {
			uint8_t *b = malloc(n);

			assert_non_null(b);
			memcpy(b, insn, n);
			assert_int_equal(decode(k.table, b, n, true, &d), n == len);
			if (n == len)
				assert_int_equal(d.len, len);
			free(b);
		}
	}
	decode_check_done(&k);
}

/* Fifteen bytes are the most that an instruction has. */
static void test_length(void **state)
{
	uint8_t b[64];
	struct decode_check k;
	struct cpu_cpuid id;
	struct dinsn d;

	start(&k, &id, "host");
	for (unsigned int n = 0; n < 40; n++) {
		memset(b, 0x66, sizeof(b));
		b[n] = 0x90;
		assert_int_equal(decode(k.table, b, sizeof(b), true, &d), n < 15);
		if (n < 15)
			assert_int_equal(d.len, n + 1);
	}
	decode_check_done(&k);
}

/* The linker's and the C library's: most of the code lies between them. */
extern const uint8_t _start[], etext[];

/* What compilers make is known nearly always: this program, as an example. */
static void test_coverage(void **state)
{
	const uint8_t *p = _start, *end = etext;
	unsigned int nr = 0;
	struct decode_check k;
	struct cpu_cpuid id;

	start(&k, &id, "host");
	while (p < end) {
		ZydisDecodedInstruction zi;
		ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
		unsigned int n = (unsigned int)MIN(end - p, 64);

		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&k.decoder[1], p, n, &zi, op)))
			break;
		check(&k, p, n, true);
		p += zi.length;
		nr++;
	}
	assert_true(nr > 1000);
	assert_true(known * 100.0 / nr >= 97);
	finish(&k);
}

static void test_random(void **state)
{
	const char *env = getenv("ATOLL_TEST_DECODE");
	unsigned long count = env ? strtoul(env, NULL, 10) * 1000000 : 200000;
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
		cmocka_unit_test(test_opcodes),	 cmocka_unit_test(test_offered),
		cmocka_unit_test(test_edge),	 cmocka_unit_test(test_length),
		cmocka_unit_test(test_coverage), cmocka_unit_test(test_random),
	};

	thorough = getenv("ATOLL_TEST_DECODE");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
