/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 images as a power cut leaves them: cut at any change of the file, with any part of what was not yet
 * synced. qemu-img must find leaks at most, what was flushed must be there, and our repair must leave nothing.
 * DISK_SEED and DISK_ROUNDS as in test_disk_random.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "disk_model.h"
#include "power_cut.h"
#include "unit.h"

#define SIZE (3 << 20)
#define CUTS 16

static struct disk *open_image(const char *path, struct disk_observer *observer)
{
	const struct disk_open_opts o = {
		.flags = DISK_RDWR | DISK_UNMAP | DISK_NO_FLUSH,
		.format = "qcow2",
		.cache_bytes = 32768,
		.observer = observer,
	};
	struct err err = ERR_INIT;
	struct disk *d = NULL;

	if (disk_open(path, &o, &d, &err) < 0)
		fail_msg("%s", err_text(&err));
	return d;
}

/* What the guest does; whole sectors, each of one value. */
static void guest(struct disk *d, struct power_cut *cut, struct rng *g, uint8_t *model,
		  unsigned steps)
{
	for (unsigned i = 0; i < steps; i++) {
		uint64_t off = rng_below(g, SIZE / 512) * 512, what = rng_below(g, 20);
		uint64_t len = (1 + rng_below(g, rng_below(g, 4) ? 40 : 1000)) * 512;

		len = MIN(len, SIZE - off);
		if (what < 12) {
			memset(model + off, (int)(i + 1), len);
			assert_int_equal(disk_write(d, off, model + off, len), 0);
			power_cut_wrote(cut, off, len, (uint8_t)(i + 1));
		} else if (what < 15) {
			memset(model + off, 0, len);
			assert_int_equal(disk_zero(d, off, len, what & 1), 0);
			power_cut_wrote(cut, off, len, 0);
		} else if (what < 17) {
			assert_int_equal(disk_discard(d, off, len), 0);
			assert_int_equal(disk_read(d, off, model + off, len), 0);
			power_cut_wrote(cut, off, len, 0);
		} else if (cut->nr_marks < 24) {
			assert_int_equal(disk_flush(d), 0);
			power_cut_mark(cut, model, SIZE);
		}
	}
}

/* Leaks at most, by qemu-img; and nothing after a repair. */
static void judge(struct power_cut *cut, uint64_t at, uint64_t seed, const char *options)
{
	struct disk_check check = { .fix_leaks = true };
	struct err err = ERR_INIT;
	struct disk *d;

	if (shell("qemu-img check -f qcow2 cut; test $? = 0 -o $? = 3"))
		fail_msg("seed %llu, options '%s', cut at %llu of %zu", (unsigned long long)seed,
			 options, (unsigned long long)at, cut->nr);
	d = open_image("cut", NULL);
	power_cut_check(cut, at, d);
	if (disk_check(d, &check, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(check.errors, 0);
	assert_int_equal(check.leaks, check.leaks_fixed);
	power_cut_check(cut, at, d);
	assert_int_equal(disk_close(d, NULL), 0);
	assert_int_equal(shell("qemu-img check -f qcow2 cut"), 0);
}

/*
 * Where to cut. Most often just before a sync: then all that it was to order is on its way, and any part of
 * it may have arrived.
 */
static uint64_t choose(struct power_cut *cut, struct rng *g)
{
	uint64_t at = rng_below(g, cut->nr + 1), k = rng_below(g, 1U << 20);

	if (rng_below(g, 4))
		while (at < cut->nr && cut->events[at].event != DISK_EVENT_SYNC)
			at++;
	return k * (cut->nr + 1) + at;
}

static void survive(const char *options, bool snapshot, uint64_t seed)
{
	struct power_cut cut = POWER_CUT_INIT;
	struct rng g = { seed * 2 + 1 };
	uint8_t *model = mem_new(SIZE);
	struct disk *d;

	assert_int_equal(shell("qemu-img create -f qcow2 -o '%s' i %d", options, SIZE), 0);
	d = open_image("i", NULL);
	/* Something old, and shared with a snapshot: the first writes have to copy. */
	memset(model, 0xaa, SIZE / 2);
	assert_int_equal(disk_write(d, 0, model, SIZE / 2), 0);
	if (snapshot)
		assert_int_equal(disk_snapshot_create(d, "old", 1, NULL), 0);
	assert_int_equal(disk_close(d, NULL), 0);

	power_cut_begin(&cut, "i");
	power_cut_mark(&cut, model, SIZE);
	d = open_image("i", &cut.observer);
	guest(d, &cut, &g, model, 80);
	assert_int_equal(disk_close(d, NULL), 0);
	power_cut_mark(&cut, model, SIZE);
	for (unsigned i = 0; i < CUTS; i++) {
		uint64_t at = power_cut_make(&cut, choose(&cut, &g), "cut");

		judge(&cut, at, seed, options);
	}
	power_cut_end(&cut);
	free(model);
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void test_power_cuts(void **state)
{
	static const char *const options[] = {
		"cluster_size=65536",
		"cluster_size=512",
		"cluster_size=4096,refcount_bits=64",
		"cluster_size=16384,extended_l2=on",
		"compat=0.10,cluster_size=1024",
	};
	uint64_t seed = number_from("DISK_SEED", 1), rounds = number_from("DISK_ROUNDS", 1);

	for (uint64_t k = 0; k < rounds; k++)
		for (size_t i = 0; i < ARRAY_SIZE(options); i++)
			survive(options[i], (seed + k + i) % 2, seed + k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_cuts),
	};

	return cmocka_run_group_tests_name("disk_crash", tests, make_dir, remove_dir);
}
