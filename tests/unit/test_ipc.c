/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets by name: the runtime folder, two with one name, and what a killed process leaves behind. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/fd.h"
#include "sys/ipc.h"
#include "unit.h"

static int make_dir(void **state)
{
	char *dir = mem_strdup("/tmp/atoll-test-XXXXXX");

	*state = dir;
	return mkdtemp(dir) && setenv("ATOLL_RUNTIME_DIR", dir, 1) == 0 ? 0 : -1;
}

static int remove_dir(void **state)
{
	rmdir(*state);
	free(*state);
	return 0;
}

static int open_dir(void)
{
	struct err err = ERR_INIT;
	int fd = -EBADF;

	if (runtime_dir_open(&fd, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	return fd;
}

static bool exists(int dir_fd, const char *file)
{
	struct stat st;

	return fstatat(dir_fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void test_folder(void **state)
{
	char path[64], other[64];
	struct err err = ERR_INIT;
	struct stat st;
	int fd = -EBADF;

	/* Made with the right mode; refused when open to others, or a link. */
	snprintf(path, sizeof(path), "%s/new", (const char *)*state);
	snprintf(other, sizeof(other), "%s/link", (const char *)*state);
	setenv("ATOLL_RUNTIME_DIR", path, 1);
	fd = open_dir();
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	fd_closep(&fd);
	assert_int_equal(chmod(path, 0750), 0);
	assert_int_equal(runtime_dir_open(&fd, &err), -EPERM);
	assert_non_null(strstr(err_text(&err), "0700"));
	assert_int_equal(chmod(path, 0700), 0);
	assert_int_equal(symlink(path, other), 0);
	setenv("ATOLL_RUNTIME_DIR", other, 1);
	assert_true(runtime_dir_open(&fd, &err) < 0);
	unlink(other);
	rmdir(path);
	/* Without it: in the user's own run-time folder. */
	unsetenv("ATOLL_RUNTIME_DIR");
	setenv("XDG_RUNTIME_DIR", *state, 1);
	fd = open_dir();
	fd_closep(&fd);
	snprintf(path, sizeof(path), "%s/atoll", (const char *)*state);
	assert_int_equal(rmdir(path), 0);
	setenv("ATOLL_RUNTIME_DIR", *state, 1);
}

static void test_names(void **state)
{
	char longest[IPC_NAME_MAX + 2];

	memset(longest, 'a', sizeof(longest));
	longest[IPC_NAME_MAX] = 0;
	assert_true(ipc_name_ok(longest));
	longest[IPC_NAME_MAX] = 'a';
	longest[IPC_NAME_MAX + 1] = 0;
	assert_false(ipc_name_ok(longest));
	assert_true(ipc_name_ok("web-1.test_2"));
	assert_true(ipc_name_ok("7"));
	assert_false(ipc_name_ok(""));
	assert_false(ipc_name_ok("."));
	assert_false(ipc_name_ok("-x"));
	assert_false(ipc_name_ok("a/b"));
	assert_false(ipc_name_ok("a b"));
	assert_false(ipc_name_ok("a\n"));
}

/* Open files travel with bytes; more than fit are an error, and none stays open. */
static void test_descriptors(void **state)
{
	int pair[2], pipe_fd[2], many[IPC_FDS_MAX], copies[2];
	struct ipc_fds got = { .nr = 0 };
	char text[8] = { 0 };

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
	assert_int_equal(ipc_send(pair[0], "abc", 3, pipe_fd, 2), 0);
	assert_int_equal(ipc_recv(pair[1], text, sizeof(text), &got), 3);
	assert_string_equal(text, "abc");
	assert_int_equal(got.nr, 2);
	assert_int_equal(fcntl(got.fd[1], F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(got.fd[1], "x", 1), 1);
	assert_int_equal(read(pipe_fd[0], text, 1), 1);
	assert_int_equal(text[0], 'x');
	/* 16 more have no room beside those two. */
	for (int k = 0; k < IPC_FDS_MAX; k++)
		many[k] = pipe_fd[1];
	assert_int_equal(ipc_send(pair[0], "d", 1, many, IPC_FDS_MAX + 1), -E2BIG);
	assert_int_equal(ipc_send(pair[0], "d", 1, many, IPC_FDS_MAX), 0);
	copies[0] = got.fd[0];
	assert_int_equal(ipc_recv(pair[1], text, sizeof(text), &got), -E2BIG);
	assert_int_equal(got.nr, IPC_FDS_MAX);
	ipc_fds_done(&got);
	copies[1] = dup(pair[0]);
	assert_int_equal(copies[1], copies[0]); /* the lowest number is free again */
	close(copies[1]);
	for (int k = 0; k < 2; k++) {
		close(pair[k]);
		close(pipe_fd[k]);
	}
}

static bool count_names(void *arg, const char *name)
{
	unsigned int *n = arg;

	assert_string_equal(name, "a");
	return ++*n < 5;
}

static void test_listen(void **state)
{
	int dir_fd = open_dir(), fd = -EBADF, second = -EBADF, client = -EBADF, peer;
	struct err err = ERR_INIT;
	unsigned int n = 0;

	assert_int_equal(ipc_connect(dir_fd, "a", &client, &err), -ENOENT);
	assert_int_equal(ipc_connect(dir_fd, "../a", &client, &err), -EINVAL);
	assert_int_equal(ipc_listen(dir_fd, "a/b", &fd, &err), -EINVAL);
	assert_int_equal(ipc_listen(dir_fd, "a", &fd, &err), 0);
	assert_int_equal(ipc_listen(dir_fd, "a", &second, &err), -EADDRINUSE);
	assert_string_equal(err_text(&err), "'a' is running already");
	close(openat(dir_fd, "x y.sock", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)); /* not a name */
	assert_int_equal(ipc_each(dir_fd, count_names, &n, &err), 0);
	assert_int_equal(n, 1);
	unlinkat(dir_fd, "x y.sock", 0);
	assert_int_equal(ipc_connect(dir_fd, "a", &client, &err), 0);
	/* remove_dead() has knocked, too, when the second was refused. */
	peer = accept(fd, NULL, NULL);
	assert_true(peer >= 0);
	assert_true(ipc_peer_allowed(peer));
	assert_int_equal(ipc_peer_pid(peer), getpid());
	assert_int_equal(ipc_peer_pid(client), getpid());
	assert_int_equal(ipc_peer_pid(-1), 0);
	close(peer);
	close(client);
	ipc_remove(dir_fd, "a");
	assert_false(exists(dir_fd, "a.sock"));
	close(fd);
	close(dir_fd);
}

/* A process that listens and is killed. */
static void leave_behind(int dir_fd)
{
	int fd = -EBADF;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (ipc_listen(dir_fd, "dead", &fd, NULL) < 0)
			_exit(1);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(exists(dir_fd, "dead.sock"));
}

static void test_dead(void **state)
{
	int dir_fd = open_dir(), fd = -EBADF;
	struct err err = ERR_INIT;

	leave_behind(dir_fd);
	assert_int_equal(ipc_connect(dir_fd, "dead", &fd, &err), -ENOENT);
	assert_false(exists(dir_fd, "dead.sock"));
	leave_behind(dir_fd);
	assert_int_equal(ipc_listen(dir_fd, "dead", &fd, &err), 0);
	ipc_remove(dir_fd, "dead");
	close(fd);
	close(dir_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_folder),	    cmocka_unit_test(test_names),
		cmocka_unit_test(test_descriptors), cmocka_unit_test(test_listen),
		cmocka_unit_test(test_dead),
	};

	return cmocka_run_group_tests_name("ipc", tests, make_dir, remove_dir);
}
