/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs that we run: their descriptors, environment and end; that they do not outlive their owner. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/child.h"
#include "sys/fd.h"
#include "unit.h"

/* Runs a shell script; what it wrote to its standard output. Returns its status. */
static int run(const char *script, const struct child_opts *more, char *out, size_t size)
{
	const char *const argv[] = { "sh", "-c", script, NULL };
	struct child_opts o = more ? *more : (struct child_opts){ .in = -1, .err = -1 };
	_cleanup_(child_done) struct child c = CHILD_INIT;
	struct err err = ERR_INIT;
	int p[2], status = -1;
	ssize_t n;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	o.argv = argv;
	o.out = p[1];
	assert_int_equal(child_start(&o, &c, &err), 0);
	close(p[1]);
	n = fd_read_full(p[0], out, size - 1);
	assert_true(n >= 0);
	out[n] = 0;
	close(p[0]);
	assert_int_equal(child_wait(&c, &status), 0);
	assert_int_equal(child_wait(&c, &status), -ECHILD);
	return status;
}

static void test_status(void **state)
{
	char out[64];

	assert_int_equal(run("echo hello; exit 7", NULL, out, sizeof(out)), 7);
	assert_string_equal(out, "hello\n");
	assert_int_equal(run("kill -9 $$", NULL, out, sizeof(out)), 128 + SIGKILL);
}

static void test_missing(void **state)
{
	const char *const none[] = { "no-such-program-here", NULL };
	const char *const dir[] = { "/", NULL };
	struct child c = CHILD_INIT;
	struct err err = ERR_INIT;

	assert_int_equal(child_start(&(struct child_opts){ .argv = none, .in = -1 }, &c, &err),
			 -ENOENT);
	assert_string_equal(err_text(&err), "no program 'no-such-program-here' in PATH");
	assert_int_equal(child_start(&(struct child_opts){ .argv = dir, .in = -1 }, &c, &err),
			 -EACCES);
	assert_int_equal(c.pid, 0);
}

static void test_env(void **state)
{
	const char *const env[] = { "ATOLL_TEST=yes", "HOME=/nowhere", NULL };
	struct child_opts o = { .env = env, .in = -1, .err = -1 };
	char out[64];

	assert_int_equal(run("echo $ATOLL_TEST $HOME", &o, out, sizeof(out)), 0);
	assert_string_equal(out, "yes /nowhere\n");
}

/* What is kept gets the next numbers, in order, whatever numbers it had; nothing else is open. */
static void test_descriptors(void **state)
{
	int a[2], b[2], high, keep[2];
	struct child_opts o = { .in = -1, .err = -1, .keep = keep, .nr_keep = 2 };
	char out[256];

	assert_int_equal(pipe(a), 0); /* not close-on-exec */
	assert_int_equal(pipe(b), 0);
	high = fcntl(a[0], F_DUPFD, 50);
	keep[0] = b[0];
	keep[1] = a[0];
	assert_int_equal(fd_write_full(a[1], "A", 1), 0);
	assert_int_equal(fd_write_full(b[1], "B", 1), 0);
	assert_int_equal(run("head -c1 <&3; head -c1 <&4; for f in 5 6 7 8 9 50; do "
			     "[ -e /proc/$$/fd/$f ] && echo open $f; done; read x || echo eof",
			     &o, out, sizeof(out)),
			 0);
	assert_string_equal(out, "BAeof\n");
	for (int k = 0; k < 2; k++) {
		close(a[k]);
		close(b[k]);
	}
	close(high);
}

/* A child whose owner forgets it is killed; its pidfd says so. */
static void test_done(void **state)
{
	const char *const argv[] = { "sleep", "1000", NULL };
	struct child_opts o = { .argv = argv, .in = -1, .out = -1, .err = -1 };
	struct child c = CHILD_INIT;
	struct err err = ERR_INIT;
	struct pollfd p;
	pid_t pid;

	assert_int_equal(child_start(&o, &c, &err), 0);
	pid = c.pid;
	p = (struct pollfd){ .fd = c.fd, .events = POLLIN };
	assert_int_equal(poll(&p, 1, 0), 0);
	child_kill(&c, SIGTERM);
	assert_int_equal(poll(&p, 1, -1), 1);
	errno = EBUSY;
	child_done(&c);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(kill(pid, 0), -1);
	child_done(&c);
}

/* The owner is killed: so is the child, which holds the writing end of a pipe. */
/* The name stands behind the running program's own folder; a buffer that is too small is refused. */
static void test_beside_us(void **state)
{
	struct err err = ERR_INIT;
	char path[2048], self[2048];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	size_t len;

	(void)state;
	assert_true(n > 0);
	self[n] = 0;
	strrchr(self, '/')[1] = 0;
	assert_int_equal(child_beside_us("some-program", path, sizeof(path), &err), 0);
	assert_int_equal(strncmp(path, self, strlen(self)), 0);
	assert_string_equal(path + strlen(self), "some-program");
	len = strlen(path);
	assert_int_equal(child_beside_us("some-program", path, len, &err), -ENAMETOOLONG);
	assert_int_equal(child_beside_us("some-program", path, len + 1, &err), 0);
}

static void test_dies_with_us(void **state)
{
	const char *const argv[] = { "sleep", "1000", NULL };
	char byte;
	int p[2];
	pid_t owner;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	owner = fork();
	if (owner == 0) {
		struct child_opts o = {
			.argv = argv, .in = -1, .out = p[1], .err = -1, .flags = CHILD_DIES_WITH_US
		};
		struct child c = CHILD_INIT;
		struct err err = ERR_INIT;

		_exit(child_start(&o, &c, &err) < 0 ? 1 : (raise(SIGKILL), 2));
	}
	assert_true(owner > 0);
	close(p[1]);
	assert_int_equal(read(p[0], &byte, 1), 0); /* waits until nobody holds the other end */
	waitpid(owner, NULL, 0);
	close(p[0]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),	     cmocka_unit_test(test_missing),
		cmocka_unit_test(test_env),	     cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_done),	     cmocka_unit_test(test_beside_us),
		cmocka_unit_test(test_dies_with_us),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
