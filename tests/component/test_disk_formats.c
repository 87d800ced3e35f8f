/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHD, VHDX, VMDK and VDI against independent programs: what qemu-img writes we read, what we write it reads
 * and finds no fault in, and the libyal tools see the same; random operations against a plain array;
 * images as a power cut leaves them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "disk/disk.h"
#include "power_cut.h"
#include "unit.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)

struct kind {
	const char *name;
	const char *format; /* ours */
	const char *qemu;   /* its name there */
	uint64_t size;
	struct disk_option options[4];
	const char *qemu_options; /* with "-o", or "" */
	const char *tool;	  /* of libyal, that reads it; NULL: none */
	bool has_check;		  /* qemu-img check knows it */
	bool is_fixed;		  /* cannot be made smaller by zeros */
};

/* clang-format off */
static const struct kind kinds[] = {
	{ .name = "vhdx", .format = "vhdx", .qemu = "vhdx", .size = 35 * MIB + 1536,
	  .qemu_options = "", .has_check = true, .tool = "vhdiinfo" },
	{ .name = "vhdx-1m", .format = "vhdx", .qemu = "vhdx", .size = 35 * MIB + 1536,
	  .options = { { "block_size", "1M" } }, .qemu_options = "-o block_size=1M", .has_check = true,
	  .tool = "vhdiinfo" },
	{ .name = "vhdx-fixed", .format = "vhdx", .qemu = "vhdx", .size = 9 * MIB,
	  .options = { { "subformat", "fixed" } }, .qemu_options = "-o subformat=fixed", .has_check = true },
	{ .name = "vhd", .format = "vhd", .qemu = "vpc", .size = 35 * MIB + 1536,
	  .qemu_options = "-o force_size=on", .tool = "vhdiinfo" },
	{ .name = "vhd-64k", .format = "vhd", .qemu = "vpc", .size = 35 * MIB + 1536,
	  .options = { { "block_size", "64K" } }, .qemu_options = "-o force_size=on" },
	{ .name = "vhd-fixed", .format = "vhd", .qemu = "vpc", .size = 9 * MIB,
	  .options = { { "subformat", "fixed" } }, .qemu_options = "-o subformat=fixed,force_size=on",
	  .tool = "vhdiinfo" },
	{ .name = "vdi", .format = "vdi", .qemu = "vdi",   .size = 35 * MIB + 1536, .qemu_options = "",
	  .has_check = true },
	{ .name = "vdi-static", .format = "vdi", .qemu = "vdi", .size = 9 * MIB + 512,
	  .options = { { "subformat", "static" } }, .qemu_options = "-o static=on", .has_check = true },
};
/* clang-format on */

/* --- helpers ---------------------------------------------------------------------------------- */

static uint64_t seed;

static uint64_t rnd(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % below;
}

static void run(const char *fmt, ...) _printf_(1, 2);

static void run(const char *fmt, ...)
{
	char cmd[1024], line[256];
	size_t n;
	va_list ap;
	FILE *f;

	va_start(ap, fmt);
	n = (size_t)vsnprintf(cmd, sizeof(cmd) - 6, fmt, ap);
	va_end(ap);
	memcpy(cmd + n, " 2>&1", 6);
	f = popen(cmd, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (!strstr(line, "No errors") && (strstr(line, "rror") || strstr(line, "fault")))
			print_message("# %s", line);
	if (pclose(f))
		fail_msg("failed: %s", cmd);
}

static int make_dir(void **state)
{
	/* In memory where there is such a place: programs that we call sync a lot. */
	char *dir = mem_strdup(access("/dev/shm", W_OK) ? "/tmp/atoll-test-XXXXXX"
							: "/dev/shm/atoll-test-XXXXXX");

	*state = dir;
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int remove_dir(void **state)
{
	ignore_result(chdir("/")); /* the folder is gone either way */
	run("rm -r '%s'", (char *)*state);
	free(*state);
	return 0;
}

static void must(int r, struct err *err)
{
	if (r < 0)
		fail_msg("%d: %s", r, err_text(err));
}

static struct disk *open_as(const char *path, const char *format, unsigned flags)
{
	const struct disk_open_opts o = { .flags = flags, .format = format };
	struct err err = ERR_INIT;
	struct disk *d = NULL;

	must(disk_open(path, &o, &d, &err), &err);
	return d;
}

static void create(const char *path, const struct kind *k, const char *backing)
{
	struct disk_create_opts o = {
		.size = k->size,
		.options = k->options,
		.backing = backing,
		.backing_format = backing ? k->format : NULL,
	};
	struct err err = ERR_INIT;

	while (o.nr_options < ARRAY_SIZE(k->options) && k->options[o.nr_options].name)
		o.nr_options++;
	must(disk_create(path, k->format, &o, &err), &err);
}

static void close_ok(struct disk *d)
{
	struct err err = ERR_INIT;

	must(disk_close(d, &err), &err);
}

/* A disk of holes, runs, and odd ends, as an array and as a raw file. */
static uint8_t *make_model(uint64_t size, const char *path)
{
	uint8_t *m = mem_new(size);
	FILE *f = fopen(path, "w");

	for (unsigned int i = 0; i < 40; i++) {
		uint64_t off = rnd(size / 512) * 512;
		uint64_t len = MIN((1 + rnd(i % 4 ? 64 : 4096)) * 512, size - off);

		for (uint64_t b = 0; b < len; b += 8)
			memcpy(m + off + b, &(uint64_t){ rnd(UINT32_MAX) }, 8);
	}
	memcpy(m, "begin", 5);
	memcpy(m + size - 3, "end", 3);
	assert_int_equal(fwrite(m, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
	return m;
}

static void save(const uint8_t *m, uint64_t size, const char *path)
{
	FILE *f = fopen(path, "w");

	assert_int_equal(fwrite(m, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

static void same(struct disk *d, const uint8_t *m, uint64_t size)
{
	uint8_t *buf = mem_new(MIB);

	assert_int_equal(disk_size(d), size);
	for (uint64_t off = 0; off < size; off += MIB) {
		uint64_t n = MIN(MIB, size - off);

		assert_int_equal(disk_read(d, off, buf, n), 0);
		if (!memcmp(buf, m + off, n))
			continue;
		for (uint64_t i = 0; i < n; i++)
			if (buf[i] != m[off + i])
				fail_msg("byte 0x%" PRIx64 " is %02x, not %02x", off + i, buf[i],
					 m[off + i]);
	}
	/* What is said to be zero is. */
	for (uint64_t off = 0; off < size;) {
		struct disk_extent e;

		assert_int_equal(disk_map(d, off, size - off, &e), 0);
		assert_true(e.len > 0 && e.len <= size - off);
		if (e.kind == DISK_ZERO || e.kind == DISK_HOLE)
			for (uint64_t i = 0; i < e.len; i++)
				assert_int_equal(m[off + i], 0);
		off += e.len;
	}
	free(buf);
}

/* Others leave room in a file that nothing uses. */
static void sound(const char *path, const struct kind *k, bool is_ours)
{
	struct disk_check c = { 0 };
	struct err err = ERR_INIT;
	struct disk *d = open_as(path, k->format, 0);
	int r = disk_check(d, &c, &err);

	if (r != -EOPNOTSUPP)
		must(r, &err);
	assert_int_equal(c.errors, 0);
	if (is_ours)
		assert_int_equal(c.leaks, 0);
	disk_closep(&d);
}

static void check_by_others(const char *path, const struct kind *k, const uint8_t *m, uint64_t size)
{
	save(m, size, "model.raw");
	run("qemu-img compare -f raw -F %s model.raw %s", k->qemu, path);
	if (k->has_check)
		run("qemu-img check -f %s %s", k->qemu, path);
	if (k->tool)
		run("%s %s", k->tool, path);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void reads_theirs(const struct kind *k)
{
	uint8_t *m = make_model(k->size, "model.raw");
	struct disk *d;

	run("qemu-img convert -f raw -O %s %s model.raw theirs", k->qemu, k->qemu_options);
	d = open_as("theirs", k->format, 0);
	same(d, m, k->size);
	disk_closep(&d);
	sound("theirs", k, false);
	/* Recognized, too, where somebody asks. */
	d = open_as("theirs", NULL, DISK_PROBE);
	same(d, m, k->size);
	disk_closep(&d);
	free(m);
}

static void operation(struct disk *d, uint8_t *m, uint64_t size)
{
	uint64_t off = rnd(size), len = MIN(1 + rnd(rnd(4) ? 8192 : 3 * MIB), size - off);
	struct iovec iov[2];
	uint8_t *buf;

	if (rnd(2)) {
		off &= ~UINT64_C(511);
		len = MIN((len + 511) & ~UINT64_C(511), size - off);
	}
	switch (rnd(10)) {
	case 0:
		assert_int_equal(disk_zero(d, off, len, rnd(2)), 0);
		memset(m + off, 0, len);
		break;
	case 1:
		/* The content of what is discarded is whatever it is now. */
		assert_int_equal(disk_discard(d, off, len), 0);
		assert_int_equal(disk_read(d, off, m + off, len), 0);
		break;
	case 2:
		assert_int_equal(disk_flush(d), 0);
		break;
	case 3:
		off &= ~(MIB - 1);
		len = MIN(rnd(5) * MIB, size - off);
		assert_int_equal(disk_zero(d, off, len, true), 0);
		memset(m + off, 0, len);
		break;
	case 4:
	case 5:
		buf = mem_new(len);
		assert_int_equal(disk_read(d, off, buf, len), 0);
		assert_memory_equal(buf, m + off, len);
		free(buf);
		break;
	default:
		for (uint64_t i = 0; i < len; i++)
			m[off + i] = (uint8_t)(off + i / 3 + seed);
		iov[0] = (struct iovec){ m + off, len / 2 };
		iov[1] = (struct iovec){ m + off + len / 2, len - len / 2 };
		assert_int_equal(disk_writev(d, off, iov, 2), 0);
	}
}

static void random_operations(const char *path, const struct kind *k, uint8_t *m)
{
	for (unsigned int session = 0; session < 3; session++) {
		struct disk *d = open_as(path, k->format, DISK_RDWR | DISK_UNMAP | DISK_NO_FLUSH);

		for (unsigned int i = 0; i < 80; i++)
			operation(d, m, k->size);
		same(d, m, k->size);
		close_ok(d);
		d = open_as(path, k->format, 0);
		same(d, m, k->size);
		disk_closep(&d);
	}
}

static void others_read_ours(const struct kind *k)
{
	uint8_t *m = mem_new(k->size);
	struct disk *d;

	create("ours", k, NULL);
	d = open_as("ours", k->format, 0);
	same(d, m, k->size);
	disk_closep(&d);
	check_by_others("ours", k, m, k->size);
	random_operations("ours", k, m);
	check_by_others("ours", k, m, k->size);
	sound("ours", k, true);
	free(m);
}

static void writes_into_theirs(const struct kind *k)
{
	uint8_t *m = make_model(k->size, "model.raw");

	run("qemu-img convert -f raw -O %s %s model.raw theirs", k->qemu, k->qemu_options);
	random_operations("theirs", k, m);
	check_by_others("theirs", k, m, k->size);
	free(m);
}

static void survives_power_cuts(const struct kind *k)
{
	struct power_cut cut = POWER_CUT_INIT;
	uint8_t *m = mem_new(k->size), *flushed = mem_new(k->size);
	struct disk_open_opts o = {
		.flags = DISK_RDWR | DISK_UNMAP | DISK_NO_FLUSH,
		.format = k->format,
	};
	struct err err = ERR_INIT;
	struct disk *d = NULL;

	create("ours", k, NULL);
	power_cut_begin(&cut, "ours");
	o.observer = &cut.observer;
	must(disk_open("ours", &o, &d, &err), &err);
	/* Each sector is written in whole, and holds what write it was. */
	for (unsigned int i = 1; i < 60; i++) {
		uint64_t off = rnd(k->size / 512) * 512,
			 len = MIN((1 + rnd(40)) * 512, k->size - off);

		if (i % 12 == 0) {
			assert_int_equal(disk_flush(d), 0);
			power_cut_mark(&cut, m, k->size);
		} else if (i % 7 == 0) {
			off &= ~(MIB - 1);
			len = MIN(4 * MIB, k->size - off);
			assert_int_equal(disk_zero(d, off, len, true), 0);
			memset(m + off, 0, len);
			power_cut_wrote(&cut, off, len, 0);
		} else {
			memset(m + off, (int)i, len);
			assert_int_equal(disk_write(d, off, m + off, len), 0);
			power_cut_wrote(&cut, off, len, (uint8_t)i);
		}
	}
	close_ok(d);
	power_cut_mark(&cut, m, k->size);
	for (unsigned int i = 0; i < 24; i++) {
		uint64_t at = power_cut_make(&cut, rnd(UINT32_MAX), "cut");

		d = open_as("cut", k->format, i % 2 ? DISK_RDWR | DISK_NO_FLUSH : 0);
		power_cut_check(&cut, at, d);
		disk_closep(&d);
		if (i % 2)
			power_cut_check_sound("cut", k->format);
	}
	power_cut_end(&cut);
	free(m);
	free(flushed);
}

static void each(void (*test)(const struct kind *))
{
	const char *only = getenv("KIND"), *given = getenv("SEED");
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = given ? strtoull(given, NULL, 0) : (uint64_t)now.tv_nsec;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (only && strcmp(only, kinds[i].name))
			continue;
		print_message("# %s: SEED=%" PRIu64 "\n", kinds[i].name, seed);
		test(&kinds[i]);
		run("rm -f *");
	}
}

static void test_reads_theirs(void **state)
{
	each(reads_theirs);
}

static void test_others_read_ours(void **state)
{
	each(others_read_ours);
}

static void test_writes_into_theirs(void **state)
{
	each(writes_into_theirs);
}

static void test_power_cuts(void **state)
{
	each(survives_power_cuts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reads_theirs, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_others_read_ours, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_writes_into_theirs, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_power_cuts, make_dir, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
