/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `atoll console`: a serial port of a running machine at the user's terminal. The machine hands the connection to the
 * port, so here bytes only go from one descriptor to the other; leaving disturbs nobody.
 */
#include "cmd/console.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/control_client.h"
#include "sys/fd.h"
#include "sys/term.h"

static const char help[] = "\r\nCtrl-A x  leave; the machine goes on\r\n"
			   "Ctrl-A a  send a Ctrl-A\r\n"
			   "Ctrl-A h  this help\r\n";

/* What the machine sends. Returns 1, 0 at its end, or negative. */
static int from_machine(int fd)
{
	char buf[2048];
	ssize_t n = read(fd, buf, sizeof(buf));
	int r;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : errno == ECONNRESET ? 0 : -errno;
	if (n == 0)
		return 0;
	r = fd_write_full(STDOUT_FILENO, buf, (size_t)n);
	return r < 0 ? r : 1;
}

/* What the user types. Returns 1, 0 when the user leaves, or negative; *ret_ended: no more will come. */
static int from_user(int fd, struct escape *escape, bool is_terminal, bool *ret_ended)
{
	uint8_t buf[1024];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));
	unsigned int actions = 0;
	size_t left;
	int r;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : -errno;
	*ret_ended = n == 0;
	left = (size_t)n;
	if (is_terminal)
		actions = escape_filter(escape, buf, left, &left);
	if (actions & ESCAPE_HELP)
		ignore_result(fd_write_full(STDOUT_FILENO, help, sizeof(help) - 1));
	r = left ? fd_write_full(fd, buf, left) : 0;
	if (r < 0)
		return r == -EPIPE || r == -ECONNRESET ? 0 : r;
	return !(actions & ESCAPE_LEAVE);
}

static int carry(int fd, bool is_terminal)
{
	struct escape escape = { 0 };
	bool ended = false;
	int r = 1;

	while (r > 0) {
		struct pollfd p[] = { { .fd = fd, .events = POLLIN },
				      { .fd = ended ? -1 : STDIN_FILENO, .events = POLLIN } };

		if (poll(p, 2, -1) < 0)
			continue; /* EINTR */
		if (p[0].revents)
			r = from_machine(fd);
		if (r > 0 && p[1].revents)
			r = from_user(fd, &escape, is_terminal, &ended);
	}
	return r;
}

static int open_port(const struct cmd_call *call, struct control_client *c, struct err *err)
{
	const struct console_opts *o = call->opts;
	_cleanup_(json_freep) struct json *answer = NULL;
	char request[64];
	int r = control_open(call->nr_args ? call->args[0] : NULL, c, err);

	if (r < 0)
		return r;
	snprintf(request, sizeof(request), "{\"do\":\"console\",\"port\":%u}",
		 (unsigned int)o->port - 1);
	return control_ask(c, request, &answer, err);
}

int cmd_console_exec(const struct cmd_call *call)
{
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	bool is_terminal = isatty(STDIN_FILENO);
	struct err err = ERR_INIT;
	int r = open_port(call, &c, &err);

	/* What came right behind the answer is the port's already. */
	if (r == 0 && c.in.n)
		r = fd_write_full(STDOUT_FILENO, c.in.p, c.in.n);
	if (r == 0 && is_terminal) {
		fputs("Ctrl-A x leaves, Ctrl-A h helps.\n", stderr);
		r = term_raw(STDIN_FILENO, &err);
	}
	if (r == 0) {
		r = carry(c.fd, is_terminal);
		term_restore();
	}
	if (r < 0) {
		if (!err.code)
			err_set(&err, r, "%s", strerror(-r));
		fprintf(stderr, "atoll %s: %s\n", call->cmd->name, err_text(&err));
	}
	return r < 0;
}
