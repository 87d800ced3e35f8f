/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A qcow2 image made by somebody else: opened, mapped, read, checked, written, repaired. The first byte says
 * what is done with it. No other file is opened: backing files are left out, and data files stay in
 * a folder that is not there.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "disk/disk.h"
#include "sys/fd.h"

#define IMAGE_MAX (1 << 20)

enum { WRITE = 1, REPAIR = 2, SNAPSHOT = 4, RESIZE = 8, PACK = 16, BIG = 32, BITMAPS = 64 };

static uint8_t buf[1 << 16], packed[2 << 20];

/* Not more than what a small image needs, whatever size it claims. */
static void look(struct disk *d)
{
	uint64_t size = disk_size(d), off = 0;
	struct disk_extent e;

	for (int i = 0; i < 64 && off < size; i++) {
		if (disk_map(d, off, size - off, &e) < 0)
			break;
		if (!e.len || e.off != off || e.len > size - off)
			abort();
		ignore_result(disk_read(d, off, buf, MIN(e.len, sizeof(buf)))); /* may be damaged */
		off += e.len;
	}
	if (size > sizeof(buf))
		ignore_result(disk_read(d, size - sizeof(buf), buf, sizeof(buf)));
}

static void change_bitmaps(struct disk *d)
{
	struct disk_bitmap_change c = { DISK_BITMAP_ADD, "fuzz" };
	struct disk_bitmap *all = NULL;
	uint64_t len;
	bool marked;
	size_t n;

	if (disk_bitmaps(d, &all, &n, NULL) < 0)
		return;
	ignore_result(disk_bitmap_change(d, &c, NULL)); /* its room is the image's affair */
	for (size_t i = 0; i < n; i++) {
		c = (struct disk_bitmap_change){ DISK_BITMAP_MERGE, "fuzz", all[i].name };
		ignore_result(disk_bitmap_change(d, &c, NULL));
		ignore_result(disk_bitmap_look(d, all[i].name, 0, 512, &marked, &len, NULL));
		c = (struct disk_bitmap_change){ i % 2 ? DISK_BITMAP_ENABLE : DISK_BITMAP_REMOVE,
						 all[i].name };
		ignore_result(disk_bitmap_change(d, &c, NULL));
		ignore_result(disk_write(d, 0, buf, MIN(disk_size(d), UINT64_C(700))));
	}
	free(all);
}

static void change(struct disk *d, unsigned what)
{
	uint64_t size = disk_size(d), cluster = disk_cluster(d), at = size / 2 & ~UINT64_C(511);
	size_t n;

	if (what & PACK && disk_pack(d, memset(packed, 7, cluster), buf, &n) == 0 && n) {
		/* Where nothing is, twice, and where something may be. */
		ignore_result(disk_write_packed(d, (size - 1) & ~(cluster - 1), buf, n));
		ignore_result(disk_write_packed(d, (size / 3) & ~(cluster - 1), buf, n));
		ignore_result(disk_write_packed(d, 0, buf, n));
	}
	memset(buf, 0x5a, sizeof(buf));
	/* More than the first table of counts can count, with the smallest clusters. */
	for (uint64_t off = 0; what & BIG && off < MIN(size, UINT64_C(3) << 20); off += sizeof(buf))
		ignore_result(disk_write(d, off, buf, MIN(size - off, sizeof(buf))));
	/* Each may fail as the image wants; none may do harm. */
	ignore_result(disk_write(d, 0, buf, MIN(size, UINT64_C(5000))));
	ignore_result(disk_write(d, at, buf, MIN(size - at, UINT64_C(1000))));
	ignore_result(disk_zero(d, 0, MIN(size, 3 * cluster), true));
	ignore_result(disk_zero(d, at, MIN(size - at, cluster + 7), false));
	ignore_result(disk_discard(d, 0, MIN(size, UINT64_C(1) << 20)));
	ignore_result(disk_flush(d));
	if (what & BITMAPS)
		change_bitmaps(d);
	if (what & SNAPSHOT) {
		ignore_result(disk_snapshot_create(d, "fuzz", 1, NULL));
		ignore_result(disk_write(d, 0, buf, MIN(size, UINT64_C(700))));
		ignore_result(disk_snapshot_apply(d, "1", NULL));
		ignore_result(disk_snapshot_delete(d, "fuzz", NULL));
		ignore_result(disk_snapshot_delete(d, "1", NULL));
	}
	if (what & RESIZE) {
		ignore_result(disk_resize(d, size / 2 + 512, true, NULL));
		ignore_result(disk_resize(d, MIN(size, UINT64_C(1) << 24) * 2, false, NULL));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
/* Tables of megabytes are allowed, and take their time: the limits are tested by opening such an image. */
static bool is_slow(const uint8_t *image)
{
	return get_be32(image + 36) > 16384 ||
	       (uint64_t)get_be32(image + 56) << image[23] > (128U << 10);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	unsigned what = n ? data[0] : 0;
	struct disk_open_opts o = {
		.flags = DISK_TOP_ONLY | DISK_UNMAP | DISK_NO_FLUSH |
			 (what & (WRITE | REPAIR) ? DISK_RDWR : 0) |
			 (what & REPAIR ? DISK_REPAIR : 0),
		.format = "qcow2",
		.cache_bytes = 65536,
	};
	struct disk_check check = { .fix_leaks = what & REPAIR, .fix_errors = what & REPAIR };
	struct disk_info info;
	struct disk *d = NULL;
	struct stat st;
	int fd;

	if (n < 2 || n > IMAGE_MAX)
		return 0;
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0)
		abort();
	ignore_result(fd_write_full(fd, data + 1, n - 1)); /* memory */
	if (disk_open_fd(fd, "/nonexistent/fuzz.qcow2", &o, &d, NULL) < 0)
		return 0;
	if (is_slow(data + 1)) {
		disk_close(d, NULL);
		return 0;
	}
	if (disk_info(d, 0, &info, NULL) == 0)
		disk_info_done(&info);
	look(d);
	if (what & WRITE)
		change(d, what);
	/* A check takes as long as the file is, and a hole of gigabytes is quickly made. */
	if (fstat(fd, &st) == 0 && st.st_size < 64 << 20)
		ignore_result(disk_check(d, &check, NULL)); /* what it says is the image's affair */
	look(d);
	disk_close(d, NULL);
	return 0;
}
