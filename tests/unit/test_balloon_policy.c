/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Automatic balloons: one machine, and a host full of them, each of which knows only itself. */
#include "sys/proc.h"
#include "unit.h"
#include "vm/balloon_policy.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static struct balloon_view view(uint64_t host_available, uint64_t guest_available, uint64_t held)
{
	return (struct balloon_view){ .host_total = 16 * GIB,
				      .host_available = host_available,
				      .host_reserve = 2 * GIB,
				      .guest_total = 2 * GIB,
				      .guest_available = guest_available,
				      .target = held,
				      .held = held };
}

static void test_one(void **state)
{
	struct balloon_view v = view(8 * GIB, GIB, 0);

	/* Nothing is taken of who has enough, nor in between. */
	assert_int_equal(balloon_policy(&v), 0);
	v = view(5 * GIB / 2, GIB, 512 * MIB);
	assert_int_equal(balloon_policy(&v), 512 * MIB);

	/* Its eighth of what the host lacks; not more than the guest can spare; not before it gave what it was asked for. */
	v = view(GIB, GIB, 0);
	assert_int_equal(balloon_policy(&v), 128 * MIB);
	v = view(GIB, 300 * MIB, 0);
	assert_int_equal(balloon_policy(&v), 44 * MIB);
	v = view(GIB, 256 * MIB, 64 * MIB);
	assert_int_equal(balloon_policy(&v), 64 * MIB);
	v = view(GIB, GIB, 64 * MIB);
	v.held = 60 * MIB;
	assert_int_equal(balloon_policy(&v), 64 * MIB);

	/* Back in the same way, and never below nothing. */
	v = view(7 * GIB, GIB, 768 * MIB);
	assert_int_equal(balloon_policy(&v), 256 * MIB);
	v = view(7 * GIB, GIB, 10 * MIB);
	assert_int_equal(balloon_policy(&v), 0);

	/* A guest in need comes first, also on a host in need: it gets its reserve again. */
	v = view(GIB, 100 * MIB, 512 * MIB);
	assert_int_equal(balloon_policy(&v), 512 * MIB - 156 * MIB);
	v = view(GIB, 100 * MIB, 10 * MIB);
	assert_int_equal(balloon_policy(&v), 0);

	/* Figures that lie: a small machine, a host smaller than it, everything at its end. */
	v = (struct balloon_view){ .host_total = MIB,
				   .guest_total = 16 * MIB,
				   .guest_available = ~UINT64_C(0) };
	v.host_reserve = ~UINT64_C(0) / 2;
	assert_int_equal(balloon_policy(&v), 0);
	v = view(0, ~UINT64_C(0), ~UINT64_C(0) - 4095);
	assert_true(balloon_policy(&v) <= 2 * GIB - 256 * MIB);
}

enum { MACHINES = 20, GUEST_USES_MIB = 300 };

/* 20 machines of 2 GiB on a host of 16, which has @other for itself; each uses some, and keeps files in the rest. */
static void play(uint64_t *held, uint64_t other, uint64_t *ret_least, uint64_t *ret_changes)
{
	*ret_least = UINT64_MAX;
	*ret_changes = 0;
	for (unsigned round = 0; round < 200; round++) {
		uint64_t used = other, now[MACHINES];

		for (unsigned k = 0; k < MACHINES; k++)
			used += 700 * MIB - held[k];
		for (unsigned k = 0; k < MACHINES; k++) {
			struct balloon_view v = view(used > 16 * GIB ? 0 : 16 * GIB - used,
						     2 * GIB - GUEST_USES_MIB * MIB - held[k],
						     held[k]);

			now[k] = balloon_policy(&v);
		}
		for (unsigned k = 0; k < MACHINES; k++) {
			/* In this host a guest gives at most the files that it keeps. */
			uint64_t gives = MIN(now[k], 400 * MIB);

			if (round >= 100 && gives != held[k])
				++*ret_changes;
			held[k] = gives;
		}
		if (round >= 100)
			*ret_least = MIN(*ret_least, 16 * GIB - MIN(used, 16 * GIB));
	}
}

static void test_many(void **state)
{
	uint64_t held[MACHINES] = { 0 }, least, changes, sum = 0;

	/* 13.7 GiB are the guests': the host lacks 1.2 GiB of its reserve. They find it, and come to rest. */
	play(held, 1536 * MIB, &least, &changes);
	assert_int_equal(changes, 0);
	assert_true(least >= 2 * GIB && least <= 3 * GIB);
	for (unsigned k = 0; k < MACHINES; k++)
		assert_true(held[k] > 0);

	/* The host has room again, and all have theirs. */
	play(held, 0, &least, &changes);
	for (unsigned k = 0; k < MACHINES; k++)
		sum += held[k];
	assert_int_equal(changes, 0);
	assert_true(least <= 3 * GIB);
	assert_true(sum < 20 * 70 * MIB);
}

static void test_text(void **state)
{
	const char *text =
		"MemTotal:       16316412 kB\nMemFree: 1 kB\nXMemAvailable: 7 kB\nMemAvailable:   12 kB\n"
		"Pss: 3 kB\nPss_Dirty: 9 kB\nPss: 4 kB";

	assert_int_equal(proc_kib(text, "MemTotal:"), UINT64_C(16316412) << 10);
	assert_int_equal(proc_kib(text, "MemAvailable:"), 12 << 10);
	assert_int_equal(proc_kib(text, "Pss:"), 7 << 10);
	assert_int_equal(proc_kib(text, "Swap:"), 0);
	assert_int_equal(proc_kib("", "Swap:"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests_name("balloon_policy", tests, NULL, NULL);
}
