/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Seeds: the volume's label, its files as a reader of ISO 9660 finds them, and what is refused. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "image/seed.h"
#include "sys/fd.h"
#include "unit.h"

/* Contents of a file of the volume; "" when it is not there. */
static char *file_of(int fd, const char *path)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	char *ret = mem_new(4096);

	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(archive_read_support_format_iso9660(a), ARCHIVE_OK);
	assert_int_equal(archive_read_open_fd(a, fd, 10240), ARCHIVE_OK);
	while (archive_read_next_header(a, &e) == ARCHIVE_OK) {
		if (strcmp(archive_entry_pathname(e), path) == 0) {
			assert_true(archive_read_data(a, ret, 4095) >= 0);
			break;
		}
	}
	archive_read_free(a);
	return ret;
}

static void expect_file(int fd, const char *path, const char *content)
{
	char *got = file_of(fd, path);

	assert_string_equal(got, content);
	free(got);
}

/* Volume identifier of the primary volume descriptor: ECMA-119, 8.4. */
static void expect_label(int fd, const char *label)
{
	char got[33] = { 0 };

	assert_int_equal(fd_pread_full(fd, got, 32, 16 * 2048 + 40), 32);
	assert_int_equal(strncmp(got, label, strlen(label)), 0);
}

static void test_nocloud(void **state)
{
	struct str user = STR("#cloud-config\nhostname: x\n");
	struct err err = ERR_INIT;
	char *meta, *other;
	int fd = -EBADF, fd2 = -EBADF;

	assert_int_equal(seed_nocloud(user, "web \"1\"", NULL, &fd, &err), 0);
	expect_label(fd, "cidata");
	expect_file(fd, "user-data", user.p);
	expect_file(fd, "network-config", "");
	meta = file_of(fd, "meta-data");
	assert_non_null(strstr(meta, "instance-id: i-"));
	assert_non_null(strstr(meta, "local-hostname: \"web \\\"1\\\"\"\n"));
	assert_int_equal(write(fd, "x", 1), -1); /* sealed */

	/* Other user data are another instance. */
	assert_int_equal(seed_nocloud(STR("#!/bin/sh\n"), NULL, "version: 2\n", &fd2, &err), 0);
	other = file_of(fd2, "meta-data");
	assert_string_not_equal(meta, other);
	expect_file(fd2, "network-config", "version: 2\n");
	free(meta);
	free(other);
	close(fd);
	close(fd2);
}

static void test_refused(void **state)
{
	struct seed_file up = { "/etc/x", STR("") };
	struct err err = ERR_INIT;
	int fd = -EBADF;

	assert_int_equal(seed_nocloud(STR("hostname: x\n"), NULL, NULL, &fd, &err), -EINVAL);
	assert_string_equal(err_text(&err), "user data must begin with '#cloud-config', '#!' or "
					    "another mark that cloud-init knows, not with "
					    "'hostname: x\n'");
	assert_int_equal(seed_nocloud(STR(""), NULL, NULL, &fd, &err), -EINVAL);
	assert_int_equal(fd, -EBADF);
	assert_int_equal(seed_write(1, "a,b", NULL, 0, &err), -EINVAL);
	assert_int_equal(seed_write(1, "", NULL, 0, &err), -EINVAL);
	assert_int_equal(seed_write(1, "cidata", &up, 1, &err), -EINVAL);
}

static void test_folders(void **state)
{
	static const struct seed_file files[] = {
		{ "openstack/latest/meta_data.json", STR("{}") },
		{ "openstack/latest/user_data", STR("#!/bin/sh\n") },
	};
	char name[] = "/tmp/atoll-seed-XXXXXX";
	struct err err = ERR_INIT;
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	unlink(name);
	assert_int_equal(seed_write(fd, "config-2", files, ARRAY_SIZE(files), &err), 0);
	expect_label(fd, "config-2");
	expect_file(fd, files[0].path, files[0].data.p);
	expect_file(fd, files[1].path, files[1].data.p);
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nocloud),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_folders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
