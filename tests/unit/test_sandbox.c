/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is left of a process's rights after sandbox_enter(). Each case is a child, which cannot come back; what the
 * host does not let a process give up is not looked at, and the report must say so.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys/sandbox/sandbox.h"
#include "unit.h"

/* In a child: no assertion of cmocka, which would go on in the parent's code. */
#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "# %s:%d: %s (%s)\n", __FILE__, __LINE__, #x,              \
				strerror(errno));                                                  \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static const struct sandbox_opts all = { .keeps_files = NULL };

static void in_child(void (*fn)(const struct sandbox_report *))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct sandbox_report report;
		struct err err = ERR_INIT;

		MUST(sandbox_enter(&all, &report, &err) == 0);
		fn(&report);
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static bool holds(const struct sandbox_report *r, enum sandbox_part part)
{
	return r->part[part].code == 0;
}

static void no_files(const struct sandbox_report *r)
{
	struct stat st;

	if (!holds(r, SANDBOX_ROOT) && !holds(r, SANDBOX_LANDLOCK))
		return;
	MUST(open("/etc/passwd", O_RDONLY) < 0);
	MUST(open("/", O_RDONLY | O_DIRECTORY) < 0);
	MUST(open("/new", O_CREAT | O_RDWR, 0600) < 0);
	MUST(open("../../../etc/passwd", O_RDONLY) < 0);
	MUST(mkdir("/new", 0700) < 0);
	if (holds(r, SANDBOX_ROOT))
		MUST(stat("/proc", &st) < 0 && errno == ENOENT);
}

static void test_no_files(void **state)
{
	in_child(no_files);
}

static void no_capabilities(const struct sandbox_report *r)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];
	struct rlimit core, files;

	MUST(holds(r, SANDBOX_CAPABILITIES));
	MUST(syscall(SYS_capget, &head, caps) == 0);
	for (int k = 0; k < 2; k++)
		MUST(!caps[k].effective && !caps[k].permitted && !caps[k].inheritable);
	MUST(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	MUST(prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) == 0 || !holds(r, SANDBOX_NAMESPACES));
	MUST(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0);
	MUST(getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max == files.rlim_cur);
}

static void test_no_capabilities(void **state)
{
	in_child(no_capabilities);
}

static void *end_late(void *arg)
{
	const struct timespec nap = { .tv_nsec = 100 * 1000000 };

	nanosleep(&nap, NULL);
	return NULL;
}

/* Whether a child has namespaces of its own; one that still has a thread that is about to end. */
static bool has_namespaces(bool with_thread)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct sandbox_report report;
		struct err err = ERR_INIT;
		pthread_t thread;

		MUST(!with_thread || pthread_create(&thread, NULL, end_late, NULL) == 0);
		MUST(sandbox_enter(&all, &report, &err) == 0);
		_exit(holds(&report, SANDBOX_NAMESPACES) ? 2 : 3);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) >= 2);
	return WEXITSTATUS(status) == 2;
}

/* pthread_join() comes back while the kernel still counts the thread, and then makes no user namespace. */
static void test_late_thread(void **state)
{
	assert_int_equal(has_namespaces(true), has_namespaces(false));
}

static int listener; /* on the loopback of the host's network */
static struct sockaddr_in listener_addr;

static void no_network(const struct sandbox_report *r)
{
	int fd;

	if (!holds(r, SANDBOX_NAMESPACES) && !holds(r, SANDBOX_LANDLOCK))
		return;
	fd = socket(AF_INET, SOCK_STREAM, 0);
	MUST(fd < 0 || connect(fd, (struct sockaddr *)&listener_addr, sizeof(listener_addr)) < 0);
}

static void test_no_network(void **state)
{
	socklen_t len = sizeof(listener_addr);

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	listener_addr = (struct sockaddr_in){ .sin_family = AF_INET,
					      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(bind(listener, (struct sockaddr *)&listener_addr, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&listener_addr, &len), 0);
	in_child(no_network);
	close(listener);
}

static int before; /* a file opened before */

static void open_files_stay(const struct sandbox_report *r)
{
	char c;

	MUST(pread(before, &c, 1, 0) == 1);
}

static void test_open_files_stay(void **state)
{
	before = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_true(before >= 0);
	in_child(open_files_stay);
	close(before);
}

/* The host has no namespaces for us: the rest holds, and the report says what does not. */
static void denied(const struct sandbox_report *unused)
{
	struct sandbox_report r;
	struct err err = ERR_INIT;

	/* We are inside already, without a capability and with nothing of /proc. */
	MUST(sandbox_enter(&all, &r, &err) == 0);
	MUST(!holds(&r, SANDBOX_NAMESPACES) || !holds(&r, SANDBOX_ROOT));
	MUST(*err_text(&r.part[SANDBOX_ROOT]));
	MUST(holds(&r, SANDBOX_CAPABILITIES));
}

static void test_denied(void **state)
{
	in_child(denied);
}

/* A helper: below its folder everything but to execute, elsewhere nothing. In a child, as the others. */
static void serve_folder(bool may_write)
{
	struct sandbox_keep keep = { .folder_fd = -EBADF, .may_write = may_write };
	char dir[] = "/tmp/atoll-test-XXXXXX";
	struct err err = ERR_INIT;
	int status;
	pid_t pid;

	assert_non_null(mkdtemp(dir));
	pid = fork();
	if (pid == 0) {
		int file;

		keep.folder_fd = open(dir, O_PATH | O_DIRECTORY);
		MUST(openat(keep.folder_fd, "old", O_CREAT | O_WRONLY | O_CLOEXEC, 0700) >= 0);
		MUST(sandbox_helper("test", "share", &keep, true, &err) == 0);
		file = openat(keep.folder_fd, "new", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
		MUST(may_write ? file >= 0 : file < 0 && errno == EACCES);
		MUST(openat(keep.folder_fd, "old", O_RDONLY | O_CLOEXEC) >= 0);
		MUST(openat(AT_FDCWD, "/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES);
		MUST(openat(keep.folder_fd, "../x", O_CREAT | O_RDWR | O_CLOEXEC, 0600) < 0);
		MUST((unlinkat(keep.folder_fd, "old", 0) == 0) == may_write);
		MUST(!may_write || unlinkat(keep.folder_fd, "new", 0) == 0);
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	if (chdir(dir) == 0)
		unlink("old");
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void test_helper(void **state)
{
#ifdef IS_SANITIZED
	skip(); /* such builds do not confine helpers */
#endif
	if (sandbox_landlock_version() < 2)
		skip();
	serve_folder(true);
	serve_folder(false);
}

static void test_try(void **state)
{
	struct sandbox_report report;
	struct err err = ERR_INIT;
	struct stat st;

	assert_int_equal(sandbox_try(&report, &err), 0);
	assert_int_equal(report.part[SANDBOX_CAPABILITIES].code, 0);
	assert_int_equal(stat("/proc/self", &st), 0); /* we are as before */
	assert_true(sandbox_landlock_version() > 0 ||
		    report.part[SANDBOX_LANDLOCK].code == sandbox_landlock_version());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_files),   cmocka_unit_test(test_no_capabilities),
		cmocka_unit_test(test_no_network), cmocka_unit_test(test_open_files_stay),
		cmocka_unit_test(test_denied),	   cmocka_unit_test(test_helper),
		cmocka_unit_test(test_try),	   cmocka_unit_test(test_late_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
