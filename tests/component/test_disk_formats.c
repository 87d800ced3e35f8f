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
#include <sys/stat.h>
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
	bool has_files;		  /* more than one */
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
	{ .name = "vmdk", .format = "vmdk", .qemu = "vmdk", .size = 35 * MIB + 1536, .qemu_options = "",
	  .has_check = true, .tool = "vmdkinfo" },
	{ .name = "vmdk-zeroed", .format = "vmdk", .qemu = "vmdk", .size = 35 * MIB + 1536,
	  .options = { { "zeroed_grain", "on" } }, .qemu_options = "-o zeroed_grain=on", .has_check = true },
	{ .name = "vmdk-flat", .format = "vmdk", .qemu = "vmdk", .size = 9 * MIB + 512,
	  .options = { { "subformat", "monolithicFlat" } }, .qemu_options = "-o subformat=monolithicFlat",
	  .tool = "vmdkinfo", .has_files = true },
	{ .name = "vmdk-split", .format = "vmdk", .qemu = "vmdk", .size = 9 * MIB + 512,
	  .options = { { "subformat", "twoGbMaxExtentSparse" } },
	  .qemu_options = "-o subformat=twoGbMaxExtentSparse", .tool = "vmdkinfo", .has_files = true },
	{ .name = "vmdk-split-flat", .format = "vmdk", .qemu = "vmdk", .size = 9 * MIB + 512,
	  .options = { { "subformat", "twoGbMaxExtentFlat" } },
	  .qemu_options = "-o subformat=twoGbMaxExtentFlat", .has_files = true },
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
	uint8_t *m;
	struct disk_open_opts o = {
		.flags = DISK_RDWR | DISK_UNMAP | DISK_NO_FLUSH,
		.format = k->format,
	};
	struct err err = ERR_INIT;
	struct disk *d = NULL;

	if (k->has_files)
		return; /* what is recorded is one file */
	m = mem_new(k->size);
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
}

/* --- what only some formats have -------------------------------------------------------------- */

static void copy_all(const char *from, const char *from_format, const char *to,
		     const char *to_format)
{
	const struct disk_copy_opts o = { .dst_is_zero = true, .nr_threads = 2 };
	struct disk *src = open_as(from, from_format, 0);
	struct disk *dst = open_as(to, to_format, DISK_RDWR | DISK_NO_FLUSH);
	struct err err = ERR_INIT;

	must(disk_copy(src, dst, &o, &err), &err);
	close_ok(dst);
	disk_closep(&src);
}

/* Streams: grains are compressed and written in one go. Half of the disk cannot be compressed. */
static void test_stream(void **state)
{
	static const struct kind k = {
		.format = "vmdk",
		.qemu = "vmdk",
		.size = 9 * MIB + 512,
		.options = { { "subformat", "streamOptimized" } },
		.has_check = true,
		.tool = "vmdkinfo",
	};
	uint8_t *m = make_model(k.size, "model.raw"), *buf = mem_new(64 * KIB);
	struct disk *d;

	for (uint64_t i = 4 * MIB; i < 8 * MIB; i++)
		m[i] = (uint8_t)rnd(256);
	save(m, k.size, "model.raw");
	run("qemu-img convert -f raw -O vmdk -o subformat=streamOptimized model.raw theirs");
	d = open_as("theirs", "vmdk", 0);
	same(d, m, k.size);
	disk_closep(&d);
	sound("theirs", &k, false);

	create("ours", &k, NULL);
	sound("ours", &k, true);
	run("qemu-img info -f vmdk ours");
	copy_all("model.raw", "raw", "ours", "vmdk");
	d = open_as("ours", "vmdk", 0);
	same(d, m, k.size);
	disk_closep(&d);
	sound("ours", &k, true);
	check_by_others("ours", &k, m, k.size);

	/* A hole of it can be filled later; what is there stays, and plain writes are refused. */
	create("more", &k, NULL);
	for (unsigned int i = 0; i < 3; i++) {
		size_t n;

		d = open_as("more", "vmdk", DISK_RDWR | DISK_NO_FLUSH);
		memset(buf, (int)i + 1, 64 * KIB);
		assert_int_equal(disk_pack(d, buf, m, &n), 0);
		assert_int_equal(disk_write_packed(d, i * MIB, m, n), 0);
		assert_int_equal(disk_write_packed(d, i * MIB, m, n), -EEXIST);
		assert_int_equal(disk_write(d, 5 * MIB, buf, 512), -EOPNOTSUPP);
		close_ok(d);
		sound("more", &k, true);
	}
	memset(m, 0, k.size);
	for (unsigned int i = 0; i < 3; i++)
		memset(m + i * MIB, (int)i + 1, 64 * KIB);
	check_by_others("more", &k, m, k.size);
	free(m);
	free(buf);
}

/* Where one file ends and the next begins. */
static void test_split(void **state)
{
	static const char *const subformats[] = { "twoGbMaxExtentSparse", "twoGbMaxExtentFlat" };
	const uint64_t end = 2048 * MIB - 64 * KIB;
	uint8_t *buf = mem_new(3 * MIB);

	for (size_t i = 0; i < ARRAY_SIZE(subformats); i++) {
		const struct kind k = {
			.format = "vmdk",
			.size = 4500 * MIB,
			.options = { { "subformat", subformats[i] } },
		};
		struct disk *d;

		create("ours.vmdk", &k, NULL);
		d = open_as("ours.vmdk", "vmdk", DISK_RDWR | DISK_NO_FLUSH);
		memset(buf, 7, 3 * MIB);
		assert_int_equal(disk_write(d, end - MIB - 100, buf, 3 * MIB), 0);
		assert_int_equal(disk_write(d, k.size - 512, buf, 512), 0);
		close_ok(d);
		run("qemu-io -f vmdk -r -c 'read -P 7 2146369436 3M' -c 'read -P 0 2144M 100k' "
		    "-c 'read -P 7 4718591488 512' ours.vmdk | grep -c 'verification failed' | grep -qx 0");
		d = open_as("ours.vmdk", "vmdk", 0);
		assert_int_equal(disk_read(d, end - MIB - 101, buf, 3 * MIB), 0);
		assert_int_equal(buf[0], 0);
		assert_int_equal(buf[1], 7);
		assert_int_equal(buf[3 * MIB - 1], 7);
		disk_closep(&d);
		run("rm ours*");
	}
	free(buf);
}

static int opens(const char *path, const char *format, struct err *err)
{
	const struct disk_open_opts o = { .format = format };
	struct disk *d = NULL;
	int r = disk_open(path, &o, &d, err);

	disk_closep(&d);
	return r;
}

/* A child on a parent, in a folder of its own; a parent that was written to is seen. */
static void test_parents(void **state)
{
	static const struct kind all[] = {
		{ .format = "vhd", .qemu = "vpc", .size = 9 * MIB },
		{ .format = "vhdx",
		  .qemu = "vhdx",
		  .size = 9 * MIB,
		  .options = { { "block_size", "1M" } } },
		{ .format = "vmdk", .qemu = "vmdk", .size = 9 * MIB },
		{ .format = "vmdk",
		  .qemu = "vmdk",
		  .size = 9 * MIB,
		  .options = { { "zeroed_grain", "on" } } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		const struct kind *k = &all[i];
		uint8_t *m = mem_new(k->size), *parent = mem_new(k->size);
		struct err err = ERR_INIT;
		struct disk *d;

		print_message("# %s: SEED=%" PRIu64 "\n", k->format, seed);
		assert_int_equal(mkdir("sub", 0777), 0);
		create("parent", k, NULL);
		random_operations("parent", k, m);
		memcpy(parent, m, k->size);
		create("sub/child", k, "../parent");
		random_operations("sub/child", k, m);
		sound("sub/child", k, true);
		create("sub/grandchild", k, "child");
		random_operations("sub/grandchild", k, m);
		if (!strcmp(k->format, "vmdk")) {
			save(m, k->size, "model.raw");
			run("qemu-img compare -f raw -F vmdk model.raw sub/grandchild");
		}
		d = open_as("parent", k->format, 0);
		same(d, parent, k->size);
		disk_closep(&d);
		/* Somebody writes to the parent. A VHD image says nothing of that. */
		d = open_as("parent", k->format, DISK_RDWR | DISK_NO_FLUSH);
		assert_int_equal(disk_write(d, 0, "x", 1), 0);
		close_ok(d);
		if (strcmp(k->format, "vhd")) {
			assert_int_equal(opens("sub/child", k->format, &err), -EILSEQ);
			assert_non_null(strstr(err.text, "written to"));
		}
		create("parent", k, NULL);
		assert_int_equal(opens("sub/child", k->format, &err), -EILSEQ);
		run("rm -r parent sub");
		free(m);
		free(parent);
	}
}

static void test_resize(void **state)
{
	static const struct kind all[] = {
		{ .format = "vhd", .qemu = "vpc", .size = 9 * MIB + 512 },
		{ .format = "vhd",
		  .qemu = "vpc",
		  .size = 9 * MIB,
		  .options = { { "subformat", "fixed" } } },
		{ .format = "vhdx", .qemu = "vhdx", .size = 9 * MIB + 512, .has_check = true },
		{ .format = "vhdx",
		  .qemu = "vhdx",
		  .size = 9 * MIB,
		  .has_check = true,
		  .options = { { "subformat", "fixed" }, { "block_size", "1M" } } },
		{ .format = "vdi", .qemu = "vdi", .size = 9 * MIB + 512, .has_check = true },
		{ .format = "vmdk",
		  .qemu = "vmdk",
		  .size = 9 * MIB,
		  .options = { { "subformat", "monolithicFlat" } } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		const uint64_t sizes[] = { 33 * MIB, 20 * MIB - 512, 21 * MIB };
		struct kind k = all[i];
		uint8_t *m = mem_new(40 * MIB);
		struct err err = ERR_INIT;

		create("ours", &k, NULL);
		for (size_t n = 0; n < ARRAY_SIZE(sizes); n++) {
			struct disk *d;

			random_operations("ours", &k, m);
			/* Something at the very end, which must not come back. */
			d = open_as("ours", k.format, DISK_RDWR | DISK_NO_FLUSH);
			memset(m + k.size - 512, 9, 512);
			assert_int_equal(disk_write(d, k.size - 512, m + k.size - 512, 512), 0);
			if (disk_resize(d, sizes[n], true, &err) == -EOPNOTSUPP &&
			    !strcmp(k.format, "vdi")) {
				close_ok(d);
				break; /* its blocks stay */
			}
			assert_int_equal(err.code, 0);
			if (sizes[n] < k.size)
				memset(m + sizes[n], 0, k.size - sizes[n]);
			k.size = sizes[n];
			same(d, m, k.size);
			close_ok(d);
			sound("ours", &k, true);
			check_by_others("ours", &k, m, k.size);
		}
		run("rm ours*");
		free(m);
	}
}

static void patch(const char *path, long off, const void *p, size_t n)
{
	FILE *f = fopen(path, "r+");

	assert_non_null(f);
	fseek(f, off, SEEK_SET);
	assert_int_equal(fwrite(p, 1, n, f), n);
	fclose(f);
}

/* A table that a crash did not bring to its place is in the log, for us and for others. */
static void test_vhdx_log(void **state)
{
	static const struct kind k = {
		.format = "vhdx",
		.qemu = "vhdx",
		.size = 20 * MIB,
		.options = { { "block_size", "1M" } },
	};
	uint8_t *m = mem_new(k.size), *zeros = mem_new(4096);
	struct err err = ERR_INIT;
	struct disk *d;

	create("ours", &k, NULL);
	d = open_as("ours", "vhdx", DISK_RDWR);
	memset(m + 3 * MIB + 5, 1, 2 * MIB);
	assert_int_equal(disk_write(d, 3 * MIB + 5, m + 3 * MIB + 5, 2 * MIB), 0);
	assert_int_equal(disk_flush(d), 0);
	run("cp ours dirty");
	close_ok(d);
	patch("dirty", 3 << 20, zeros, 4096); /* the block table */
	run("cp dirty dirty2; cp dirty dirty3; cp dirty torn");

	d = open_as("dirty", "vhdx", 0);
	same(d, m, k.size);
	disk_closep(&d);
	run("cmp dirty dirty2");
	d = open_as("dirty", "vhdx", DISK_RDWR);
	same(d, m, k.size);
	close_ok(d);
	check_by_others("dirty", &k, m, k.size);
	run("qemu-img check -r all -f vhdx dirty2");
	check_by_others("dirty2", &k, m, k.size);

	/* What is no log is not taken for one, and can be told to go. */
	for (long off = 1 << 20; off < 2 << 20; off += 4096)
		patch("torn", off, zeros, 4096);
	assert_int_equal(opens("torn", "vhdx", &err), -EILSEQ);
	assert_non_null(strstr(err.text, "no valid sequence"));
	d = open_as("torn", "vhdx", DISK_RDWR | DISK_REPAIR);
	close_ok(d);
	assert_int_equal(opens("torn", "vhdx", &err), 0);
	/* A file that lost its end since. */
	assert_int_equal(truncate("dirty3", 4 << 20), 0);
	assert_int_equal(opens("dirty3", "vhdx", &err), -EILSEQ);
	assert_non_null(strstr(err.text, "cut off"));
	free(m);
	free(zeros);
}

/* Two entries for one place, and one for none. */
static void test_repair(void **state)
{
	static const struct {
		const char *format;
		struct disk_option option;
		long off;
		uint8_t bytes[16];
		size_t n;
	} all[] = {
		{ "vhdx",
		  { "block_size", "1M" },
		  3 << 20,
		  { 6, 0, 0x40, 0, 0, 0, 0, 0, 6, 0, 0x40 },
		  16 },
		{ "vhd", { "block_size", "64K" }, 4096, { 0, 0, 0, 135, 0, 0, 0, 136 }, 8 },
		{ "vdi", { "block_size", "64K" }, 512, { 0, 0, 0, 0, 0, 0, 0, 0, 77 }, 12 },
		{ "vmdk",
		  { "zeroed_grain", "on" },
		  27 * 512,
		  { 128, 0, 0, 0, 128, 0, 0, 0, 0, 0, 0, 8 },
		  12 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		const struct kind k = {
			.format = all[i].format,
			.size = 4 * MIB,
			.options = { all[i].option },
		};
		struct disk_check check = { 0 };
		struct err err = ERR_INIT;
		struct disk *d;

		print_message("# %s\n", k.format);
		create("ours", &k, NULL);
		d = open_as("ours", k.format, DISK_RDWR);
		assert_int_equal(disk_write(d, 0, "data", 4), 0);
		close_ok(d);
		patch("ours", all[i].off, all[i].bytes, all[i].n);
		d = open_as("ours", k.format, DISK_RDWR);
		must(disk_check(d, &check, &err), &err);
		assert_true(check.errors > 0);
		assert_int_equal(check.errors_fixed, 0);
		check = (struct disk_check){ .fix_errors = true, .fix_leaks = true };
		must(disk_check(d, &check, &err), &err);
		assert_int_equal(check.errors, check.errors_fixed);
		close_ok(d);
		sound("ours", &k, true);
		run("rm ours");
	}
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
		cmocka_unit_test_setup_teardown(test_stream, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_split, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_parents, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_resize, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_vhdx_log, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_repair, make_dir, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
