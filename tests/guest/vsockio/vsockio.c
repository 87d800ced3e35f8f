// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest's end of streams to its host.
 *
 *	vsockio echo PORT COUNT		accept COUNT connections, at once if they come so, and say back what comes
 *	vsockio send PORT BYTES		connect to the host, send so many bytes of a pattern, shut down, print what is answered
 *	vsockio refused PORT		connect to the host, which must refuse
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

static char buf[100000];

static int fail(const char *what)
{
	fprintf(stderr, "vsockio: %s: %s\n", what, strerror(errno));
	return 1;
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = write(fd, p, n);

		if (done < 0)
			return -1;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

static int echo(int fd)
{
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (write_all(fd, buf, (size_t)n) < 0)
			return fail("write");
	return n < 0 ? fail("read") : 0;
}

static int serve(unsigned int port, unsigned int count)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK,
				 .svm_cid = VMADDR_CID_ANY,
				 .svm_port = port };
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0), bad = 0, status;

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 10) < 0)
		return fail("listen");
	printf("guest-listens\n");
	fflush(stdout);
	for (unsigned int k = 0; k < count; k++) {
		int c = accept(fd, NULL, NULL);

		if (c < 0)
			return fail("accept");
		if (!fork())
			_exit(echo(c));
		close(c);
	}
	while (wait(&status) > 0)
		bad += status != 0;
	return bad;
}

static int dial(unsigned int port)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK,
				 .svm_cid = VMADDR_CID_HOST,
				 .svm_port = port };
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0)
		return -1;
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -1 : fd;
}

static int send_to(unsigned int port, size_t bytes)
{
	int fd = dial(port);
	ssize_t n;

	if (fd < 0)
		return fail("connect");
	for (size_t at = 0; at < bytes;) {
		size_t part = bytes - at < sizeof(buf) ? bytes - at : sizeof(buf);

		for (size_t k = 0; k < part; k++)
			buf[k] = (char)((at + k) * 2654435761u >> 13);
		if (write_all(fd, buf, part) < 0)
			return fail("write");
		at += part;
	}
	if (shutdown(fd, SHUT_WR) < 0)
		return fail("shutdown");
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (write_all(1, buf, (size_t)n) < 0)
			return fail("standard output");
	return n < 0 ? fail("read") : 0;
}

int main(int argc, char **argv)
{
	unsigned int port = argc > 2 ? (unsigned int)strtoul(argv[2], NULL, 0) : 0;

	if (argc == 4 && !strcmp(argv[1], "echo"))
		return serve(port, (unsigned int)strtoul(argv[3], NULL, 0));
	if (argc == 4 && !strcmp(argv[1], "send"))
		return send_to(port, strtoul(argv[3], NULL, 0));
	if (argc == 3 && !strcmp(argv[1], "refused"))
		return dial(port) < 0 && errno == ECONNRESET ? 0 : fail("not refused");
	fprintf(stderr, "vsockio echo|send|refused ...\n");
	return 2;
}
