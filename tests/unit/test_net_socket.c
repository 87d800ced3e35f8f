/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cable between two machines: who waits, who comes, and who was killed while it waited. */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/thread.h"
#include "vm/net/net.h"

static char folder[] = "/tmp/atoll-net-XXXXXX", path[64];

struct waiter {
	struct thread thread;
	struct net_end end;
	int result;
};

static void wait_there(void *arg)
{
	struct waiter *w = arg;

	w->result = net_open_socket(path, true, &w->end, NULL);
}

/* Until somebody listens. */
static struct net_end come(void)
{
	struct net_end end = NET_END_INIT;
	int r;

	while ((r = net_open_socket(path, false, &end, NULL)) == -ENOENT || r == -ECONNREFUSED)
		usleep(1000);
	assert_int_equal(r, 0);
	return end;
}

/* Two ends meet, and what one sends the other gets. */
static void meet(void)
{
	struct waiter w = { .end = NET_END_INIT };
	struct net_end end;
	char got[16];

	assert_int_equal(thread_start(&w.thread, "waiter", wait_there, &w, NULL), 0);
	end = come();
	thread_join(&w.thread);
	assert_int_equal(w.result, 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(write(end.fd, "packet", 6), 6);
	assert_int_equal(read(w.end.fd, got, sizeof(got)), 6);
	net_end_close(&end);
	net_end_close(&w.end);
}

static void make_file(void)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fclose(f);
}

static void test_meet(void **state)
{
	struct net_end end = NET_END_INIT;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(net_open_socket(path, false, &end, &err), -ENOENT);
	assert_non_null(strstr(err_text(&err), "starts first"));
	meet();
}

static void test_left_behind(void **state)
{
	struct net_end end = NET_END_INIT;
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0) {
		ignore_result(net_open_socket(path, true, &end, NULL));
		_exit(1);
	}
	assert_true(pid > 0);
	while (access(path, F_OK) < 0)
		usleep(1000);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(access(path, F_OK), 0);
	meet();
}

/* Somebody else's name, or a file, is left alone. */
static void test_in_use(void **state)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct net_end end = NET_END_INIT;

	(void)state;
	memcpy(to.sun_path, path, strlen(path));
	assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(net_open_socket(path, true, &end, NULL), -EADDRINUSE);
	assert_int_equal(access(path, F_OK), 0);
	close(fd);
	unlink(path);
	make_file();
	assert_int_equal(net_open_socket(path, true, &end, NULL), -EADDRINUSE);
	assert_int_equal(unlink(path), 0);
}

/* Somebody else who wants to wait there is sent away, and is not taken for the other end. */
static void test_two_wait(void **state)
{
	struct waiter w = { .end = NET_END_INIT };
	struct net_end end = NET_END_INIT;
	char got[16];

	(void)state;
	assert_int_equal(thread_start(&w.thread, "waiter", wait_there, &w, NULL), 0);
	while (access(path, F_OK) < 0)
		usleep(1000);
	assert_int_equal(net_open_socket(path, true, &end, NULL), -EADDRINUSE);
	end = come();
	thread_join(&w.thread);
	assert_int_equal(write(end.fd, "packet", 6), 6);
	assert_int_equal(read(w.end.fd, got, sizeof(got)), 6);
	net_end_close(&end);
	net_end_close(&w.end);
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/cable", folder);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_meet),
		cmocka_unit_test(test_left_behind),
		cmocka_unit_test(test_in_use),
		cmocka_unit_test(test_two_wait),
	};

	return cmocka_run_group_tests_name("net-socket", tests, setup, teardown);
}
