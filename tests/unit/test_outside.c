/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process that stays outside: it does what it was told before, and nothing that it is told afterwards. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/sandbox/outside.h"
#include "unit.h"

static int make_dir(void **state)
{
	char *dir = mem_strdup("/tmp/atoll-test-XXXXXX");

	*state = dir;
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int remove_dir(void **state)
{
	int r = chdir("/");

	rmdir(*state);
	free(*state);
	return r;
}

static int listen_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 2), 0);
	return fd;
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* Both with the process and without. */
static void use(void)
{
	int at = listen_at("v_7"), other = listen_at("w_7"), fd, conn;
	struct err err = ERR_INIT;
	char c = 0;

	assert_int_equal(outside_will_remove("v_7", &err), 0);
	assert_int_equal(outside_will_remove("not there", &err), 0);
	assert_int_equal(outside_will_dial("v", &err), 0);
	outside_seal();
	fd = outside_dial("v", 7);
	assert_true(fd >= 0);
	conn = accept(at, NULL, NULL);
	assert_int_equal(write(conn, "x", 1), 1);
	assert_int_equal(read(fd, &c, 1), 1);
	assert_int_equal(c, 'x');
	close(fd);
	close(conn);
	assert_true(outside_dial("v", 8) < 0); /* nobody there */
	outside_remove("not there");
	outside_remove("v_7");
	assert_false(exists("v_7"));
	close(at);
	close(other);
}

static void test_without(void **state)
{
	use();
	outside_remove("w_7");
	assert_false(exists("w_7"));
}

static void test_with(void **state)
{
	struct err err = ERR_INIT;

	assert_int_equal(outside_start(&err), 0);
	use();
	/* Nothing that was not said before. */
	assert_int_equal(outside_dial("w", 7), -ECONNREFUSED);
	outside_remove("w_7");
	assert_true(exists("w_7"));
	/* Whoever goes on to tell it paths is not us any more. */
	assert_int_equal(outside_will_remove("w_7", &err), 0);
	outside_remove("w_7");
	assert_true(exists("w_7"));
	assert_true(outside_dial("v", 7) < 0);
	outside_stop();
	outside_stop();
	outside_remove("w_7"); /* without it again */
	assert_false(exists("w_7"));
}

static void test_limits(void **state)
{
	struct err err = ERR_INIT;
	char path[128];

	assert_int_equal(outside_start(&err), 0);
	for (int k = 0; k < OUTSIDE_PATHS_MAX; k++) {
		snprintf(path, sizeof(path), "s%d", k);
		assert_int_equal(outside_will_remove(path, &err), 0);
	}
	assert_int_equal(outside_will_remove("one more", &err), -E2BIG);
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = 0;
	assert_int_equal(outside_will_dial(path, &err), -ENAMETOOLONG);
	outside_stop();
}

/* A listener on the local host; *ret is its address. */
static int listen_tcp(struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof(*ret);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(bind(fd, (struct sockaddr *)ret, n), 0);
	assert_int_equal(listen(fd, 2), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &n), 0);
	return fd;
}

/* A connection to it comes out of the descriptor. */
static void is_connected(int fd, int listener)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int conn, error = -1;
	socklen_t n = sizeof(error);

	assert_true(fd >= 0);
	conn = accept(listener, NULL, NULL);
	assert_int_equal(poll(&p, 1, -1), 1);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n), 0);
	assert_int_equal(error, 0);
	assert_int_equal(write(conn, "x", 1), 1);
	p.events = POLLIN;
	assert_int_equal(poll(&p, 1, -1), 1);
	assert_int_equal(read(fd, &n, 1), 1);
	close(conn);
	close(fd);
}

static void test_servers(void **state)
{
	struct sockaddr_un local = { .sun_family = AF_UNIX, .sun_path = "server" },
			   nobody = { .sun_family = AF_UNIX, .sun_path = "nobody" };
	const struct sockaddr odd = { .sa_family = AF_NETLINK };
	struct sockaddr_in tcp;
	int at = listen_at("server"), at_tcp = listen_tcp(&tcp);
	struct err err = ERR_INIT;

	/* Without it, everybody connects by himself. */
	assert_int_equal(outside_will_reach((struct sockaddr *)&local, sizeof(local)), -ENOSYS);
	assert_int_equal(outside_start(&err), 0);
	assert_int_equal(outside_will_reach((struct sockaddr *)&local, sizeof(local)), 0);
	assert_int_equal(outside_will_reach((struct sockaddr *)&tcp, sizeof(tcp)), 1);
	assert_int_equal(outside_will_reach((struct sockaddr *)&nobody, sizeof(nobody)), 2);
	assert_int_equal(outside_will_reach(&odd, sizeof(odd)), -EAFNOSUPPORT);
	outside_seal();
	assert_int_equal(outside_will_reach((struct sockaddr *)&nobody, sizeof(nobody)), -ENOSYS);
	for (int k = 0; k < 2; k++) {
		is_connected(outside_reach(0), at);
		is_connected(outside_reach(1), at_tcp);
		assert_int_equal(outside_reach(2), -ENOENT);
		assert_int_equal(outside_reach(3), -EINVAL);
	}
	close(at);
	assert_int_equal(outside_reach(0), -ECONNREFUSED);
	outside_stop();
	assert_true(outside_reach(0) < 0);
	close(at_tcp);
	outside_remove("server");
	for (int k = 0; k <= OUTSIDE_SERVERS_MAX; k++) {
		if (k == 0)
			assert_int_equal(outside_start(&err), 0);
		assert_int_equal(outside_will_reach((struct sockaddr *)&tcp, sizeof(tcp)),
				 k < OUTSIDE_SERVERS_MAX ? k : -E2BIG);
	}
	outside_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without),
		cmocka_unit_test(test_with),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_servers),
	};

	return cmocka_run_group_tests_name("outside", tests, make_dir, remove_dir);
}
