/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Back ends of serial ports: bytes in both directions through each kind, a reader that does not read, a
 * port that has no room, the escape keys, and the terminal given back on every way out.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "vm/chardev_host.h"
#include "sys/term.h"

/* A port that keeps what it gets, up to a limit. */
struct port {
	pthread_mutex_t lock;
	pthread_cond_t more;
	char got[64];
	size_t n, limit;
	_Atomic unsigned int writable;
	struct chardev *cd;
};

static size_t port_receive(void *arg, const uint8_t *buf, size_t n)
{
	struct port *p = arg;

	pthread_mutex_lock(&p->lock);
	if (n > p->limit - p->n)
		n = p->limit - p->n;
	memcpy(p->got + p->n, buf, n);
	p->n += n;
	pthread_cond_signal(&p->more);
	pthread_mutex_unlock(&p->lock);
	return n;
}

static void port_writable(void *arg)
{
	((struct port *)arg)->writable++;
}

static void port_attach(struct port *p, struct chardev *cd)
{
	*p = (struct port){ .limit = sizeof(p->got), .cd = cd };
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->more, NULL);
	chardev_set_receiver(cd, port_receive, p);
	chardev_set_writable(cd, port_writable);
}

static void port_wait(struct port *p, const char *want)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 10;
	pthread_mutex_lock(&p->lock);
	while (p->n < strlen(want))
		assert_int_equal(pthread_cond_timedwait(&p->more, &p->lock, &ts), 0);
	assert_memory_equal(p->got, want, p->n);
	pthread_mutex_unlock(&p->lock);
}

static void read_exactly(int fd, const char *want)
{
	char buf[64];
	size_t n = 0;

	while (n < strlen(want)) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t r;

		assert_int_equal(poll(&p, 1, 10000), 1);
		r = read(fd, buf + n, strlen(want) - n);
		assert_true(r > 0);
		n += (size_t)r;
	}
	assert_memory_equal(buf, want, n);
}

/* A back end that has no peer yet swallows bytes: write until the peer sees them. */
static void greet(struct chardev *cd, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	for (int i = 0; i < 100; i++) {
		assert_int_equal(chardev_write(cd, "!", 1), 1);
		if (poll(&p, 1, 100) == 1)
			break;
	}
	while (poll(&p, 1, 100) == 1)
		assert_int_equal(read(fd, &c, 1), 1);
}

static void test_specs(void **state)
{
	static const char *const bad[] = { "", "stdin", "file", "file:", "unix:", "pty:x", "null:" };
	struct chardev_host *host;
	struct err err = ERR_INIT;
	struct chardev *cd;
	char path[200] = "unix:/";

	assert_int_equal(chardev_host_new(NULL, NULL, &host, NULL), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(chardev_host_open(host, bad[i], &cd, &err), -EINVAL);
		assert_non_null(strstr(err.text, "stdio, file:PATH"));
	}
	memset(path + 6, 'x', sizeof(path) - 7);
	assert_int_equal(chardev_host_open(host, path, &cd, &err), -ENAMETOOLONG);
	assert_int_equal(chardev_host_open(host, "file:/nonexistent/x", &cd, &err), -ENOENT);
	assert_int_equal(chardev_host_open(host, "unix:/etc/passwd", &cd, &err), -EEXIST);
	assert_int_equal(chardev_host_open(host, "null", &cd, &err), 0);
	assert_int_equal(chardev_write(cd, "abc", 3), 3);
	assert_string_equal(chardev_host_where(cd), "");
	chardev_host_free(host);
}

static void test_file(void **state)
{
	char path[] = "/tmp/test_chardev_XXXXXX", spec[64], buf[100000], back[100001];
	struct chardev_host *host;
	struct chardev *cd;
	size_t n = 0;
	FILE *f;

	close(mkstemp(path));
	snprintf(spec, sizeof(spec), "file:%s", path);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (char)i;
	assert_int_equal(chardev_host_new(NULL, NULL, &host, NULL), 0);
	assert_int_equal(chardev_host_open(host, spec, &cd, NULL), 0);
	assert_string_equal(chardev_host_where(cd), path);
	assert_int_equal(chardev_host_start(host, NULL), 0);
	while (n < sizeof(buf)) {
		ssize_t r = chardev_write(cd, buf + n, sizeof(buf) - n);

		if (r > 0)
			n += (size_t)r;
	}
	chardev_host_free(host);
	f = fopen(path, "r");
	assert_int_equal(fread(back, 1, sizeof(back), f), sizeof(buf));
	assert_memory_equal(back, buf, sizeof(buf));
	fclose(f);
	unlink(path);
}

static void test_pty(void **state)
{
	struct chardev_host *host;
	struct chardev *cd;
	struct port port;
	int fd;

	assert_int_equal(chardev_host_new(NULL, NULL, &host, NULL), 0);
	assert_int_equal(chardev_host_open(host, "pty", &cd, NULL), 0);
	port_attach(&port, cd);
	assert_int_equal(chardev_host_start(host, NULL), 0);
	fd = open(chardev_host_where(cd), O_RDWR | O_NOCTTY);
	assert_true(fd >= 0);
	greet(cd, fd);
	assert_int_equal(chardev_write(cd, "login: \r\n", 9), 9);
	read_exactly(fd, "login: \r\n");
	assert_int_equal(write(fd, "\001xroot\r", 7), 7); /* no escape keys here */
	port_wait(&port, "\001xroot\r");
	close(fd);
	chardev_host_stop(host);
	chardev_host_free(host);
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void test_unix(void **state)
{
	char dir[] = "/tmp/test_chardev_XXXXXX", spec[64];
	struct chardev_host *host, *other;
	struct err err = ERR_INIT;
	struct chardev *cd, *cd2;
	struct port port;
	size_t n = 0;
	ssize_t r;
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(spec, sizeof(spec), "unix:%s/s", dir);
	assert_int_equal(chardev_host_new(NULL, NULL, &host, NULL), 0);
	assert_int_equal(chardev_host_open(host, spec, &cd, NULL), 0);
	assert_int_equal(chardev_host_new(NULL, NULL, &other, NULL), 0);
	assert_int_equal(chardev_host_open(other, spec, &cd2, &err), -EADDRINUSE);
	chardev_host_free(other);

	port_attach(&port, cd);
	port.limit = 3;
	assert_int_equal(chardev_host_start(host, NULL), 0);
	fd = connect_to(spec + 5);
	greet(cd, fd);

	/* The port takes three bytes, and the rest when it has room again. */
	assert_int_equal(write(fd, "abcdef", 6), 6);
	port_wait(&port, "abc");
	pthread_mutex_lock(&port.lock);
	port.limit = 6;
	pthread_mutex_unlock(&port.lock);
	chardev_can_receive_again(cd);
	port_wait(&port, "abcdef");

	/* A client that does not read: -EAGAIN, and a call when it reads. */
	do {
		r = chardev_write(cd, spec, sizeof(spec));
		n += r > 0 ? (size_t)r : 0;
		if (r == -EAGAIN && n < 65536)
			usleep(1000);
	} while (r != -EAGAIN || n < 65536);
	port.writable = 0;
	while (chardev_write(cd, spec, 1) != -EAGAIN)
		;
	while (!port.writable) {
		char buf[4096];

		assert_true(read(fd, buf, sizeof(buf)) > 0);
	}

	/* One that leaves without having read: the port must not wait for ever. */
	while (chardev_write(cd, spec, 1) != -EAGAIN)
		;
	port.writable = 0;
	close(fd);
	for (int i = 0; i < 10000 && !port.writable; i++)
		usleep(1000);
	assert_true(port.writable);

	/* The next client. */
	fd = connect_to(spec + 5);
	greet(cd, fd);
	assert_int_equal(chardev_write(cd, "again", 5), 5);
	read_exactly(fd, "again");
	close(fd);
	chardev_host_free(host);
	assert_int_equal(access(spec + 5, F_OK), -1);
	rmdir(dir);
}

/* Several see the same, whoever comes late too; each may type; one that does not read stops nobody for long. */
static void test_watchers(void **state)
{
	struct chardev_host *host;
	struct chardev *cd, other = { 0 };
	int a[2], b[2], c[2];
	struct port port;
	size_t n = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, c), 0);
	assert_int_equal(chardev_host_new(NULL, NULL, &host, NULL), 0);
	assert_int_equal(chardev_host_open(host, "null", &cd, NULL), 0);
	port_attach(&port, cd);
	assert_int_equal(chardev_host_start(host, NULL), 0);
	assert_int_equal(chardev_host_watch(&other, a[0]), -ENOTTY);

	assert_int_equal(chardev_write(cd, "early ", 6), 6);
	assert_int_equal(chardev_host_watch(cd, a[0]), 0);
	read_exactly(a[1], "early ");
	assert_int_equal(chardev_write(cd, "late", 4), 4);
	assert_int_equal(chardev_host_watch(cd, b[0]), 0);
	read_exactly(a[1], "late");
	read_exactly(b[1], "early late");

	assert_int_equal(write(a[1], "x", 1), 1);
	port_wait(&port, "x");
	assert_int_equal(write(b[1], "y", 1), 1);
	port_wait(&port, "xy");

	/* b goes away, a does not read: far more than all buffers hold gets out nevertheless. */
	close(b[1]);
	while (n < 4 << 20) {
		char text[512];
		ssize_t r;

		memset(text, '.', sizeof(text));
		r = chardev_write(cd, text, sizeof(text));
		if (r > 0)
			n += (size_t)r;
		else
			usleep(1000);
	}
	assert_int_equal(chardev_write(cd, "end", 3), 3);
	/* And a third one sees the end of it. */
	assert_int_equal(chardev_host_watch(cd, c[0]), 0);
	for (n = 0; n < 3;) {
		char last;

		assert_int_equal(read(c[1], &last, 1), 1);
		n = last == "end"[n] ? n + 1 : 0;
	}
	close(a[1]);
	close(c[1]);
	chardev_host_free(host);
}

static void test_escape(void **state)
{
	struct escape e = { 0 };
	uint8_t buf[32];
	size_t n;

	memcpy(buf, "ab\001\001c\001ad\001zq", 11);
	assert_int_equal(escape_filter(&e, buf, 11, &n), ESCAPE_NONE);
	assert_int_equal(n, 7);
	assert_memory_equal(buf, "ab\001c\001dq", 7);
	memcpy(buf, "x\001", 2);
	assert_int_equal(escape_filter(&e, buf, 2, &n), ESCAPE_NONE);
	assert_int_equal(n, 1);
	memcpy(buf, "xh", 2);
	assert_int_equal(escape_filter(&e, buf, 2, &n), ESCAPE_LEAVE);
	assert_int_equal(n, 1);
	memcpy(buf, "\001h", 2);
	assert_int_equal(escape_filter(&e, buf, 2, &n), ESCAPE_HELP);
	assert_int_equal(n, 0);
}

static _Atomic bool left;

static void on_leave(void *arg)
{
	left = true;
}

/* A process whose standard input and output are a terminal. */
static _Noreturn void console_process(const char *how)
{
	struct chardev_host *host;
	struct chardev *cd;

	alarm(20);
	if (chardev_host_new(on_leave, NULL, &host, NULL) < 0 ||
	    chardev_host_open(host, "stdio", &cd, NULL) < 0 || chardev_host_start(host, NULL) < 0)
		_exit(9);
	if (chardev_write(cd, "ready", 5) != 5)
		_exit(8);
	while (!left)
		usleep(1000);
	if (!strcmp(how, "abort"))
		abort();
	if (!strcmp(how, "exit"))
		exit(0);
	chardev_host_free(host);
	_exit(0);
}

static void test_terminal(void **state)
{
	static const char *const how[] = { "free", "exit", "abort" };

	for (size_t i = 0; i < sizeof(how) / sizeof(how[0]); i++) {
		struct termios before, during, after;
		int master, slave, status;
		pid_t pid;

		assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
		assert_int_equal(tcgetattr(slave, &before), 0);
		pid = fork();
		if (pid == 0) {
			int null = open("/dev/null", O_WRONLY);

			dup2(slave, 0);
			dup2(slave, 1);
			dup2(null, 2);
			console_process(how[i]);
		}
		read_exactly(master, "ready");
		assert_int_equal(tcgetattr(slave, &during), 0);
		assert_false(during.c_lflag & (ICANON | ECHO | ISIG));
		assert_int_equal(write(master, "\001x", 2), 2);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!strcmp(how[i], "abort"))
			assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
		else
			assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		assert_int_equal(tcgetattr(slave, &after), 0);
		assert_int_equal(after.c_lflag, before.c_lflag);
		assert_int_equal(after.c_iflag, before.c_iflag);
		close(master);
		close(slave);
	}
}

/* Without a terminal: the end of input is not the end, and what was printed arrives. */
static void test_pipes(void **state)
{
	int in[2], out[2], status;
	char buf[64];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (pid == 0) {
		struct chardev_host *host;
		struct chardev *cd;
		struct port port;

		alarm(20);
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		if (chardev_host_new(NULL, NULL, &host, NULL) < 0 ||
		    chardev_host_open(host, "stdio", &cd, NULL) < 0)
			_exit(1);
		port_attach(&port, cd);
		if (chardev_host_start(host, NULL) < 0)
			_exit(2);
		port_wait(&port, "in\001x");
		if (chardev_write(cd, "printed", 7) != 7)
			_exit(3);
		chardev_host_free(host);
		_exit(0);
	}
	close(out[1]);
	assert_int_equal(write(in[1], "in\001x", 4), 4);
	close(in[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	n = read(out[0], buf, sizeof(buf));
	assert_int_equal(n, 7);
	assert_memory_equal(buf, "printed", 7);
	close(in[0]);
	close(out[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_terminal), /* forks: before the first thread */
		cmocka_unit_test(test_pipes),	 cmocka_unit_test(test_specs),
		cmocka_unit_test(test_file),	 cmocka_unit_test(test_pty),
		cmocka_unit_test(test_unix),	 cmocka_unit_test(test_watchers),
		cmocka_unit_test(test_escape),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("chardev", tests, NULL, NULL);
}
