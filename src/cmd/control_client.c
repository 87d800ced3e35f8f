/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding a machine by its name and asking it. One request is under way at a time, so a line is always the answer
 * to the request before it.
 */
#include "cmd/control_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/fd.h"
#include "sys/ipc.h"

enum { MACHINES_MAX = 4096 };

struct names {
	char **v;
	size_t n;
};

static bool add_name(void *arg, const char *name)
{
	struct names *names = arg;

	names->v = mem_renew(names->v, names->n + 1, sizeof(*names->v));
	names->v[names->n++] = mem_strdup(name);
	return names->n < MACHINES_MAX;
}

static void names_done(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->v[i]);
	free(names->v);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int names_read(int dir_fd, struct names *names, struct err *err)
{
	int r = ipc_each(dir_fd, add_name, names, err);

	if (r == 0 && names->n)
		qsort(names->v, names->n, sizeof(*names->v), by_name);
	return r;
}

int control_each(void (*fn)(void *arg, const char *name), void *arg, struct err *err)
{
	_cleanup_(names_done) struct names names = { 0 };
	_cleanup_(fd_closep) int dir_fd = -EBADF;
	int r = runtime_dir_open(&dir_fd, err);

	if (r == 0)
		r = names_read(dir_fd, &names, err);
	for (size_t i = 0; r == 0 && i < names.n; i++)
		fn(arg, names.v[i]);
	return r;
}

/* Connect to the only one that is alive. */
static int open_only(int dir_fd, int *ret_fd, struct err *err)
{
	_cleanup_(names_done) struct names names = { 0 };
	_cleanup_(strbuf_done) struct strbuf alive = { 0 };
	_cleanup_(fd_closep) int found = -EBADF;
	unsigned int nr = 0;
	int r = names_read(dir_fd, &names, err);

	for (size_t i = 0; r == 0 && i < names.n; i++) {
		int fd = -EBADF;

		if (ipc_connect(dir_fd, names.v[i], &fd, NULL) < 0)
			continue; /* dead */
		fd_closep(&found);
		found = fd;
		strbuf_addf(&alive, "%s%s", nr++ ? ", " : "", names.v[i]);
	}
	if (r < 0)
		return r;
	if (!nr)
		return err_set(err, -ENOENT, "no machine is running");
	if (nr > 1)
		return err_set(err, -ENOENT, "several machines are running, name one of %s",
			       strbuf_cstr(&alive));
	*ret_fd = fd_take(&found);
	return 0;
}

int control_open(const char *name, struct control_client *ret, struct err *err)
{
	_cleanup_(fd_closep) int dir_fd = -EBADF;
	int r = runtime_dir_open(&dir_fd, err);

	*ret = (struct control_client){ .fd = -EBADF };
	if (r < 0)
		return r;
	return name ? ipc_connect(dir_fd, name, &ret->fd, err) : open_only(dir_fd, &ret->fd, err);
}

const char *control_operand(const struct cmd_call *call, size_t i)
{
	return call->args[call->nr_args - call->cmd->args_min + i];
}

int control_dial(const struct cmd_call *call, struct control_client *ret, struct err *err)
{
	return control_open(call->nr_args > call->cmd->args_min ? call->args[0] : NULL, ret, err);
}

void control_close(struct control_client *c)
{
	fd_closep(&c->fd);
	strbuf_done(&c->in);
}

/* Receives until there is a line; returns its length with the line feed, or negative. */
static ssize_t receive_line(struct control_client *c, struct err *err)
{
	static char buf[1 << 16];
	size_t from = 0;

	for (;;) {
		const char *end = c->in.n > from ? memchr(c->in.p + from, '\n', c->in.n - from)
						 : NULL;
		ssize_t n;

		if (end)
			return end - c->in.p + 1;
		from = c->in.n;
		if (c->in.n > CONTROL_ANSWER_MAX)
			return err_set(err, -EMSGSIZE, "the machine's answer does not end");
		n = recv(c->fd, buf, sizeof(buf), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN
				       ? err_set(err, -ETIMEDOUT, "the machine does not answer")
				       : err_set_errno(err, "receive the machine's answer");
		if (n == 0)
			return err_set(err, -ECONNRESET, "the machine has ended");
		strbuf_add(&c->in, buf, (size_t)n);
	}
}

static int ask(struct control_client *c, const char *request, const int *fds, unsigned int nr_fds,
	       struct str *ret_line, struct json **ret, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf line = { 0 };
	_cleanup_(json_freep) struct json *j = NULL;
	const char *refusal;
	ssize_t n;
	int r;

	strbuf_addf(&line, "%s\n", request);
	strbuf_reset(&c->in);
	r = ipc_send(c->fd, line.p, line.n, fds, nr_fds);
	if (r == -E2BIG)
		return err_set(err, r, "more than %d files for one request", IPC_FDS_MAX);
	if (r < 0)
		return err_set(err, -ECONNRESET, "the machine has ended");
	n = receive_line(c, err);
	if (n < 0)
		return (int)n;
	*ret_line = (struct str){ c->in.p, (size_t)n - 1 };
	r = json_parse(*ret_line, &j, err);
	if (r < 0)
		return err_wrap(err, r, "the machine's answer");
	refusal = json_str(json_get(j, "error"));
	if (refusal)
		return err_set(err, -EREMOTEIO, "%s", refusal);
	if (!json_get(j, "ok"))
		return err_set(err, -EIO, "the machine's answer says nothing");
	*ret = take_ptr(&j);
	return 0;
}

int control_ask(struct control_client *c, const char *request, struct json **ret, struct err *err)
{
	struct str line;

	return ask(c, request, NULL, 0, &line, ret, err);
}

int control_ask_fds(struct control_client *c, const char *request, const int *fds,
		    unsigned int nr_fds, struct json **ret, struct err *err)
{
	struct str line;

	return ask(c, request, fds, nr_fds, &line, ret, err);
}

int control_ask_raw(struct control_client *c, const char *request, struct strbuf *out,
		    struct err *err)
{
	static const char head[] = "{\"ok\":";
	_cleanup_(json_freep) struct json *j = NULL;
	struct str line;
	int r = ask(c, request, NULL, 0, &line, &j, err);

	if (r < 0)
		return r;
	if (!str_starts(line, STR("{\"ok\":")) || line.n < sizeof(head))
		return err_set(err, -EIO, "the machine's answer has another form");
	strbuf_add(out, line.p + sizeof(head) - 1, line.n - sizeof(head));
	return 0;
}

/* --- for people ---------------------------------------------------------------------------------- */

int control_print(struct str text, struct err *err)
{
	int r = fd_write_full(STDOUT_FILENO, text.p, text.n);

	return r < 0 ? err_set(err, r, "standard output: %s", strerror(-r)) : 0;
}

int control_show(struct control_client *c, const char *request, bool json, const char *before,
		 struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };
	_cleanup_(json_freep) struct json *answer = NULL;
	const char *text;
	int r;

	if (json) {
		r = control_ask_raw(c, request, &out, err);
		strbuf_addc(&out, '\n');
	} else {
		r = control_ask(c, request, &answer, err);
		text = r == 0 ? json_str(json_get(answer, "ok")) : NULL;
		if (r == 0 && !text)
			r = err_set(err, -EIO, "the machine's answer is no text");
		if (r == 0)
			strbuf_addf(&out, "%s%s", before, text);
	}
	return r < 0 ? r : control_print(strbuf_str(&out), err);
}

int control_show_list(struct control_client *c, const char *request, bool json,
		      void (*add)(struct strbuf *out, const struct json *item), struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };
	_cleanup_(json_freep) struct json *answer = NULL;
	const struct json *item;
	int r;

	if (json)
		return control_show(c, request, true, "", err);
	r = control_ask(c, request, &answer, err);
	for (size_t i = 0; r == 0 && (item = json_at(json_get(answer, "ok"), i)); i++)
		add(&out, item);
	return r < 0 ? r : control_print(strbuf_str(&out), err);
}

int control_complain(const struct cmd_call *call, int r, const struct err *err)
{
	fprintf(stderr, "atoll %s: %s\n", call->cmd->name,
		err->code ? err_text(err) : strerror(-r));
	return r > 0 ? r : 1;
}

uint64_t control_number(const struct json *j, const char *key)
{
	uint64_t n = 0;

	return json_u64(json_get(j, key), &n) ? n : 0;
}

const char *control_word(const struct json *j, const char *key)
{
	const char *s = json_str(json_get(j, key));

	return s ? s : "?";
}

void control_plain(struct strbuf *out, const char *s)
{
	for (; *s; s++)
		strbuf_addc(out, (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}
