/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors: ownership, short transfers, size limits, and paths that try to leave their folder. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/fd.h"
#include "sys/thread.h"
#include "unit.h"

static int make_dir(void **state)
{
	char *dir = mem_strdup("/tmp/atoll-test-XXXXXX");

	*state = dir;
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int remove_dir(void **state)
{
	static const char *const names[] = { "file", "link", "in/link", "in/file", "in", "big" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)remove(names[i]);
	ignore_result(chdir("/")); /* the folder is gone either way */
	(void)rmdir(*state);
	free(*state);
	return 0;
}

static void test_ownership(void **state)
{
	struct err err = ERR_INIT;
	int fd = -EBADF, taken;

	assert_int_equal(fd_open("file", O_RDWR, &fd, &err), -ENOENT);
	assert_int_equal(fd, -EBADF);
	assert_string_equal(err_text(&err), "open 'file': No such file or directory");
	assert_int_equal(fd_open("file", O_RDWR | O_CREAT, &fd, &err), 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	taken = fd_take(&fd);
	assert_int_equal(fd, -EBADF);
	errno = EBUSY;
	fd_closep(&taken);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(taken, -EBADF);
	fd_closep(&taken);
}

static void test_read_write(void **state)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	char buf[16] = { 0 };
	uint64_t size = 0;

	assert_int_equal(fd_open("file", O_RDWR | O_CREAT | O_TRUNC, &fd, NULL), 0);
	assert_int_equal(fd_write_full(fd, "hello", 5), 0);
	assert_int_equal(fd_pwrite_full(fd, "HE", 2, 8), 0);
	assert_int_equal(fd_size(fd, &size, NULL), 0);
	assert_int_equal(size, 10);
	assert_int_equal(fd_pread_full(fd, buf, sizeof(buf), 1), 9);
	assert_memory_equal(buf, "ello\0\0\0HE", 9);
	assert_int_equal(fd_read_full(fd, buf, sizeof(buf)), 5);
	assert_int_equal(fd_read_full(-EBADF, buf, 1), -EBADF);
	assert_int_equal(fd_write_full(-EBADF, buf, 1), -EBADF);
}

static void feed(void *arg)
{
	int fd = *(int *)arg;

	for (int i = 0; i < 100; i++)
		if (fd_write_full(fd, "0123456789", 10) < 0)
			break;
	close(fd);
}

static void test_pipe(void **state)
{
	struct thread writer;
	char buf[2000];
	int p[2];

	assert_int_equal(pipe(p), 0);
	/* Both ends non-blocking and the pipe one page: both sides have to wait. */
	assert_int_equal(fd_nonblock(p[0], 1), 0);
	assert_int_equal(fd_nonblock(p[1], 1), 0);
	assert_int_equal(thread_start(&writer, "feed", feed, &p[1], NULL), 0);
	assert_int_equal(fd_read_full(p[0], buf, sizeof(buf)), 1000);
	thread_join(&writer);
	thread_join(&writer);
	assert_memory_equal(buf + 990, "0123456789", 10);
	close(p[0]);
}

static void test_file_read(void **state)
{
	_cleanup_(mem_freep) char *text = NULL;
	struct err err = ERR_INIT;
	void *p = NULL;
	size_t n = 0;
	int fd;

	assert_int_equal(fd_open("file", O_WRONLY | O_CREAT | O_TRUNC, &fd, NULL), 0);
	assert_int_equal(fd_write_full(fd, "0123456789", 10), 0);
	fd_closep(&fd);
	assert_int_equal(file_read("file", 9, &p, &n, &err), -EFBIG);
	assert_null(p);
	assert_string_equal(err_text(&err), "'file' is larger than 9 bytes");
	assert_int_equal(file_read("file", 10, &p, &n, &err), 0);
	text = p;
	assert_int_equal(n, 10);
	assert_string_equal(text, "0123456789");
	assert_int_equal(file_read(".", 10, &p, &n, &err), -EISDIR);
	assert_int_equal(file_read("none", 10, &p, &n, &err), -ENOENT);
	/* No size in stat, grows beyond the first buffer. */
	assert_int_equal(file_read("/dev/zero", 100000, &p, &n, &err), -EFBIG);
	assert_int_equal(file_read("/dev/null", 100, &p, &n, &err), 0);
	assert_int_equal(n, 0);
	free(p);
}

static void test_inside(void **state)
{
	_cleanup_(fd_closep) int root = -EBADF;
	struct stat in, found;
	int fd = -EBADF;

	assert_int_equal(mkdir("in", 0700), 0);
	assert_int_equal(fd_open("in", O_PATH | O_DIRECTORY, &root, NULL), 0);
	assert_int_equal(path_open_in(root, "file", O_WRONLY | O_CREAT, 0600, &fd, NULL), 0);
	assert_int_equal(fstat(fd, &in), 0);
	fd_closep(&fd);
	/* Outside there is a file of the same name: ".." and an absolute link must not reach it. */
	assert_int_equal(symlink("/../../file", "in/link"), 0);
	assert_int_equal(path_open_in(root, "../file", O_RDONLY, 0, &fd, NULL), 0);
	assert_int_equal(fstat(fd, &found), 0);
	assert_true(found.st_ino == in.st_ino);
	fd_closep(&fd);
	assert_int_equal(path_open_in(root, "link", O_RDONLY, 0, &fd, NULL), 0);
	assert_int_equal(fstat(fd, &found), 0);
	assert_true(found.st_ino == in.st_ino);
	fd_closep(&fd);
	assert_int_equal(path_open_in(root, "/etc/passwd", O_RDONLY, 0, &fd, NULL), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ownership, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_read_write, make_dir, remove_dir),
		cmocka_unit_test(test_pipe),
		cmocka_unit_test_setup_teardown(test_file_read, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_inside, make_dir, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
