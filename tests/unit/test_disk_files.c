/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that consist of several files, opened by a process that can open none: the folder has another name by then, so that
 * every path leads nowhere, and what was noted before must be enough.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "disk/disk.h"
#include "sys/fd.h"
#include "unit.h"

enum { SIZE = 1 << 20, WHERE = 70000 };

static char here[64], away[80]; /* the folder's names */

static int make_dir(void **state)
{
	snprintf(here, sizeof(here), "/tmp/atoll-test-XXXXXX");
	if (!mkdtemp(here))
		return -1;
	snprintf(away, sizeof(away), "%s.away", here);
	return chdir(here);
}

static int remove_dir(void **state)
{
	static const char *const names[] = { "base.raw", "mid.qcow2",	"top.qcow2",
					     "a.vmdk",	 "a-s001.vmdk", "a-f001.vmdk" };

	for (size_t k = 0; k < ARRAY_SIZE(names); k++)
		unlink(names[k]);
	ignore_result(chdir("/")); /* the folder is gone either way */
	return rmdir(here);
}

static void create(const char *path, const char *format, const char *backing,
		   const char *backing_format, const char *subformat)
{
	const struct disk_option option = { "subformat", subformat };
	const struct disk_create_opts o = { .size = backing ? 0 : SIZE,
					    .backing = backing,
					    .backing_format = backing_format,
					    .options = &option,
					    .nr_options = subformat ? 1 : 0 };
	struct err err = ERR_INIT;

	if (disk_create(path, format, &o, &err) < 0)
		fail_msg("%s", err_text(&err));
}

static void whole(const char *name, char *out, size_t size)
{
	snprintf(out, size, "%s/%s", here, name);
}

static int open_image(const char *name)
{
	int fd = open(name, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* Noted here, opened away. */
static int open_away(const char *name, const char *format, struct disk_files *files,
		     struct disk **ret, struct err *err)
{
	struct disk_open_opts o = { .flags = DISK_RDWR | DISK_UNMAP, .format = format };
	int fd = open_image(name), r;
	char path[128];

	whole(name, path, sizeof(path));
	if (disk_files_note(fd, path, &o, files, err) < 0)
		fail_msg("%s", err_text(err));
	assert_int_equal(rename(here, away), 0);
	assert_int_equal(chdir("/"), 0);
	o.files = files;
	r = disk_open_fd(fd, path, &o, ret, err);
	assert_int_equal(rename(away, here), 0);
	assert_int_equal(chdir(here), 0);
	return r;
}

static void test_chain(void **state)
{
	struct disk_files files = { .nr = 0 };
	struct err err = ERR_INIT;
	struct disk *d = NULL;
	char path[128], c = 0;
	int fd;

	create("base.raw", "raw", NULL, NULL, NULL);
	fd = open_image("base.raw");
	assert_int_equal(pwrite(fd, "b", 1, WHERE), 1);
	close(fd);
	create("mid.qcow2", "qcow2", "base.raw", "raw", NULL);
	create("top.qcow2", "qcow2", "mid.qcow2", "qcow2", NULL);
	assert_int_equal(open_away("top.qcow2", "qcow2", &files, &d, &err), 0);
	assert_int_equal(files.nr, 2);
	whole("mid.qcow2", path, sizeof(path));
	assert_string_equal(files.path[0], path);
	assert_int_equal(disk_read(d, WHERE, &c, 1), 0);
	assert_int_equal(c, 'b');
	assert_int_equal(disk_write(d, WHERE, "t", 1), 0);
	assert_int_equal(disk_close(d, &err), 0);
	disk_files_done(&files);
}

/* What was not handed over cannot be had, although it is there. */
static void test_missing(void **state)
{
	struct disk_open_opts o = { .format = "qcow2" };
	struct disk_files files = { .nr = 0 };
	struct err err = ERR_INIT;
	struct disk *d = NULL;

	o.files = &files;
	assert_int_equal(disk_open_fd(open_image("top.qcow2"), "top.qcow2", &o, &d, &err), -EACCES);
	assert_non_null(strstr(err_text(&err), "'mid.qcow2' was not handed over with the image"));
	/* Nor by its name. */
	assert_int_equal(disk_open("top.qcow2", &o, &d, &err), -EACCES);
}

static void test_served(void **state)
{
	struct disk_open_opts o = { .format = "qcow2" };
	struct disk_files files = { .nr = 0 };
	struct err err = ERR_INIT;

	o.files = &files;
	assert_int_equal(disk_open("nbd://127.0.0.1:1/x", &o, &(struct disk *){ NULL }, &err),
			 -EOPNOTSUPP);
	assert_non_null(strstr(err_text(&err), "reaches no servers"));
}

static void test_many(void **state)
{
	struct disk_files files = { .nr = 0 };
	struct err err = ERR_INIT;

	for (int k = 0; k < DISK_FILES_MAX; k++)
		assert_int_equal(disk_files_add(&files, "x", open_image("base.raw"), &err), 0);
	assert_int_equal(disk_files_add(&files, "x", open_image("base.raw"), &err), -E2BIG);
	disk_files_done(&files);
	assert_int_equal(files.nr, 0);
}

/* Parts of the image itself are written. */
static void parts(const char *subformat, const char *part)
{
	struct disk_files files = { .nr = 0 };
	struct err err = ERR_INIT;
	struct disk *d = NULL;
	char path[128], c = 0;

	create("a.vmdk", "vmdk", NULL, NULL, subformat);
	assert_int_equal(open_away("a.vmdk", "vmdk", &files, &d, &err), 0);
	assert_int_equal(files.nr, 1);
	whole(part, path, sizeof(path));
	assert_string_equal(files.path[0], path);
	assert_int_equal(disk_write(d, WHERE, "v", 1), 0);
	assert_int_equal(disk_read(d, WHERE, &c, 1), 0);
	assert_int_equal(c, 'v');
	assert_int_equal(disk_close(d, &err), 0);
	disk_files_done(&files);
}

static void test_parts(void **state)
{
	parts("twoGbMaxExtentSparse", "a-s001.vmdk");
	parts("twoGbMaxExtentFlat", "a-f001.vmdk");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chain),  cmocka_unit_test(test_missing),
		cmocka_unit_test(test_served), cmocka_unit_test(test_many),
		cmocka_unit_test(test_parts),
	};

	return cmocka_run_group_tests_name("disk_files", tests, make_dir, remove_dir);
}
