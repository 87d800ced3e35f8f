/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole images of the formats that map blocks through one table: opened, looked at, written, checked. An input is
 * what is changed in a sound image: pairs of a place and bytes. Damage is found, or the image is used; nothing else
 * may happen.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "disk/disk.h"
#include "disk/format_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct {
	const char *format;
	struct disk_option option;
	uint64_t size;
	int parent;	/* 1 + its place in this table */
	bool is_in_use; /* as a crash leaves it */
} kinds[] = {
	{ "vhdx", { "block_size", "1M" }, 9 << 20 },
	{ "vhd", { "block_size", "64K" }, 1 << 20 },
	{ "vhd", { "subformat", "fixed" }, 1 << 20 },
	{ "vdi", { "block_size", "64K" }, 1 << 20 },
	{ "vmdk", { "zeroed_grain", "on" }, 1 << 20 },
	{ "vmdk", { "subformat", "streamOptimized" }, 1 << 20 },
	{ "vhdx", { "block_size", "1M" }, 9 << 20, 1 },
	{ "vhd", { "block_size", "64K" }, 1 << 20, 2 },
	{ "vmdk", { "zeroed_grain", "on" }, 1 << 20, 5 },
	{ "vhdx", { "block_size", "1M" }, 9 << 20, 0, true },
};

/* Another descriptor with locks of its own. */
static int again(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDWR | O_CLOEXEC);
}

static int copy(int from)
{
	int to = memfd_create("image", 0);
	off_t size = lseek(from, 0, SEEK_END), data = 0;
	uint8_t *buf = malloc(1 << 16);

	assert(!ftruncate(to, size));
	while ((data = lseek(from, data, SEEK_DATA)) >= 0) {
		ssize_t n = pread(from, buf, 1 << 16, data);

		if (n <= 0)
			break;
		assert(pwrite(to, buf, (size_t)n, data) == n);
		data += n;
	}
	free(buf);
	return to;
}

/* A sound image with some data, in a memory file. */
static int template_fd(unsigned int kind)
{
	static int fds[ARRAY_SIZE(kinds)];
	struct disk_create_opts create = {
		.size = kinds[kind].size,
		.options = &kinds[kind].option,
		.nr_options = 1,
	};
	const struct disk_open_opts open = {
		.format = kinds[kind].format,
		.flags = DISK_RDWR | DISK_NO_FLUSH | DISK_TOP_ONLY,
	};
	struct err err = ERR_INIT;
	char parent[64];
	struct disk_file *f = NULL;
	struct disk *d = NULL;

	if (fds[kind])
		return fds[kind];
	if (kinds[kind].parent) {
		snprintf(parent, sizeof(parent), "/proc/self/fd/%d",
			 template_fd((unsigned int)kinds[kind].parent - 1));
		create.backing = parent;
		create.backing_format = kinds[kind].format;
	}
	fds[kind] = memfd_create("template", 0);
	assert(!disk_file_new(again(fds[kind]), "template", DISK_RDWR, NULL, &f, NULL));
	if (format_find(kinds[kind].format)->create(f, &create, &err) < 0) {
		fprintf(stderr, "%s\n", err_text(&err));
		abort();
	}
	disk_file_close(f);
	assert(!disk_open_fd(again(fds[kind]), "template", &open, &d, NULL));
	if (disk_must_pack(d)) {
		uint8_t *in = calloc(1, disk_cluster(d)), *out = malloc(disk_pack_max(d));
		size_t n;

		assert(!disk_pack(d, in, out, &n));
		assert(!disk_write_packed(d, 0, out, n));
		free(in);
		free(out);
	} else {
		assert(!disk_write(d, 4096, "data", 4));
		assert(!disk_write(d, kinds[kind].size / 2, "more", 4));
	}
	assert(!disk_flush(d));
	if (kinds[kind].is_in_use)
		fds[kind] = copy(fds[kind]);
	assert(!disk_close(d, NULL));
	return fds[kind];
}

/* The sums of what stands where it should. */
static void put_checksums(int fd, const char *format)
{
	static const off_t vhdx[][2] = {
		{ 64 << 10, 4096 }, { 128 << 10, 4096 }, { 192 << 10, 65536 }, { 256 << 10, 65536 }
	};
	uint8_t *p = malloc(65536);
	off_t size = lseek(fd, 0, SEEK_END);

	for (size_t i = 0; !strcmp(format, "vhdx") && i < ARRAY_SIZE(vhdx); i++)
		if (pread(fd, p, (size_t)vhdx[i][1], vhdx[i][0]) == vhdx[i][1]) {
			put_le32(p + 4, 0);
			put_le32(p + 4, crc32c(0, p, (size_t)vhdx[i][1]));
			assert(pwrite(fd, p, 8, vhdx[i][0]) == 8);
		}
	for (unsigned int i = 0; !strcmp(format, "vhd") && i < 3; i++) {
		off_t off = i == 0 ? 0 : i == 1 ? 512 : size - 512;
		size_t n = i == 1 ? 1024 : 512, field = i == 1 ? 36 : 64;
		uint32_t sum = 0;

		if (off < 0 || pread(fd, p, n, off) != (ssize_t)n)
			continue;
		put_be32(p + field, 0);
		for (size_t b = 0; b < n; b++)
			sum += p[b];
		put_be32(p + field, ~sum);
		assert(pwrite(fd, p + field, 4, off + (off_t)field) == 4);
	}
	free(p);
}

/* Each change: 3 bytes of place (of 16 bytes, or from the end), one of length, bytes. */
static void change(int fd, const uint8_t *data, size_t n)
{
	off_t size = lseek(fd, 0, SEEK_END);

	while (n >= 4) {
		uint32_t place = get_le32(data) & 0xffffff;
		size_t len = data[3] < n - 4 ? data[3] : n - 4;
		off_t off = place & 0x800000 ? size - (off_t)(place & 0x7fffff) : (off_t)place * 4;

		if (off >= 0 && off < size)
			assert(pwrite(fd, data + 4, len, off) == (ssize_t)len);
		data += 4 + len;
		n -= 4 + len;
	}
}

static void use(int fd, const char *format, bool is_writable)
{
	const struct disk_open_opts o = {
		.format = format,
		.flags = (is_writable ? DISK_RDWR | DISK_UNMAP | DISK_REPAIR : 0) | DISK_NO_FLUSH |
			 DISK_TOP_ONLY,
	};
	struct disk_check check = { .fix_errors = is_writable, .fix_leaks = is_writable };
	struct disk_extent e;
	struct disk_info *info;
	struct disk *d = NULL;
	struct err err = ERR_INIT;
	uint8_t buf[700];
	uint64_t size;

	/* A place where no other file is, for descriptors that name some. */
	if (disk_open_fd(again(fd), "/nowhere/image", &o, &d, &err) < 0) {
		assert(err.text[0]);
		return;
	}
	size = disk_size(d);
	info = calloc(1, sizeof(*info));
	if (!disk_info(d, 0, info, NULL))
		disk_info_done(info);
	free(info);
	for (uint64_t off = 0, i = 0; off < size && i < 20; i++) {
		if (disk_map(d, off, size - off, &e) < 0)
			break;
		assert(e.len > 0 && e.len <= size - off);
		off += e.len;
	}
	ignore_result(disk_read(d, 4000, buf, MIN(sizeof(buf), size - MIN(size, UINT64_C(4000)))));
	/* A file that claims to be huge may become so, as a sparse one. */
	if (is_writable && size > 70000 && size < UINT64_C(1) << 26) {
		ignore_result(disk_check(d, &check, &err));
		ignore_result(disk_write(d, 65000, buf, sizeof(buf)));
		ignore_result(disk_zero(d, 0, 66000, true));
		ignore_result(disk_flush(d));
		ignore_result(disk_write(d, size - sizeof(buf), buf, sizeof(buf)));
		ignore_result(disk_resize(d, size + 65536, false, &err));
		ignore_result(disk_resize(d, size / 2, true, &err));
	} else if (!is_writable) {
		ignore_result(disk_check(d, &check, &err));
	}
	disk_closep(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	unsigned int kind;
	int fd;

	if (n < 2)
		return 0;
	kind = data[0] % ARRAY_SIZE(kinds);
	fd = copy(template_fd(kind));
	change(fd, data + 2, n - 2);
	if (data[1] & 1)
		put_checksums(fd, kinds[kind].format);
	use(fd, kinds[kind].format, false);
	use(fd, kinds[kind].format, true);
	close(fd);
	return 0;
}
