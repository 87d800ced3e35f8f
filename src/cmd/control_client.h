/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_CONTROL_CLIENT_H
#define ATOLL_CMD_CONTROL_CLIENT_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "cmd/table.h"
#include "json/json.h"

/*
 * The other end of vm/control.h: asking a running machine.
 *
 * Answers come from a process of our own user, but are limited and parsed as anything from outside.
 */
struct control_client {
	int fd;
	struct strbuf in; /* received and not used yet */
};
enum { CONTROL_ANSWER_MAX = 64 << 20 };

/*
 * control_open - connect to the machine called @name; NULL: the only one.
 *
 * @ret:  caller's memory; control_close()
 * Returns 0; -ENOENT (none, or several and no name), and as ipc_connect(). Thread: the first.
 */
_nodiscard_ int control_open(const char *name, struct control_client *ret, struct err *err);

/* control_operand - operand @i of those that a command must have, whether or not the machine is named before them.
 * control_dial - control_open() of the machine that is. Thread: the first. */
const char *control_operand(const struct cmd_call *call, size_t i);
_nodiscard_ int control_dial(const struct cmd_call *call, struct control_client *ret,
			     struct err *err);

/* control_close - end the connection; a zeroed one with fd negative is left alone. Thread: owner. */
void control_close(struct control_client *c);

/*
 * control_ask - send a request and wait for the answer.
 *
 * @request:  JSON without a line feed
 * @ret:      the answer's object, json_free(); its value is json_get(*ret, "ok")
 * Returns 0; -EIO and others: no answer; -EREMOTEIO: the machine refused, with its words. Thread: owner.
 */
_nodiscard_ int control_ask(struct control_client *c, const char *request, struct json **ret,
			    struct err *err);

/*
 * control_ask_fds - as control_ask(), and hand open files over with it.
 *
 * A machine can open nothing by itself (sys/sandbox): what a request needs is opened here, where its user's rights are,
 * and the request names it by its place ("fd": 0 ...).
 *
 * @fds, @nr_fds:  at most IPC_FDS_MAX; stay the caller's
 */
_nodiscard_ int control_ask_fds(struct control_client *c, const char *request, const int *fds,
				unsigned int nr_fds, struct json **ret, struct err *err);

/* control_ask_raw - as control_ask(), but append the answer's value as the JSON text that came. */
_nodiscard_ int control_ask_raw(struct control_client *c, const char *request, struct strbuf *out,
				struct err *err);

/*
 * control_show - ask for something that comes as text or, with @json, as JSON, and write it to standard output, after
 * @before when it is text. control_print - write.
 *
 * Return 0, or as control_ask() and write(2), with the story. Thread: owner.
 */
_nodiscard_ int control_show(struct control_client *c, const char *request, bool json,
			     const char *before, struct err *err);
_nodiscard_ int control_print(struct str text, struct err *err);

/*
 * control_show_list - ask for an array and write it to standard output: as the JSON that came, or each object by @add.
 *
 * Returns as control_show(). Thread: owner.
 */
_nodiscard_ int control_show_list(struct control_client *c, const char *request, bool json,
				  void (*add)(struct strbuf *out, const struct json *item),
				  struct err *err);

/* control_complain - say on standard error what went wrong with a command. Returns its exit status: @r when that is
 * positive, else 1. Thread: the first. */
int control_complain(const struct cmd_call *call, int r, const struct err *err);

/* control_number, control_word - a member of an answer; 0 and "?" when it is not there. control_plain - appended for
 * people: nothing that the text of somebody else's file name does to a terminal. Thread: any. */
uint64_t control_number(const struct json *j, const char *key);
const char *control_word(const struct json *j, const char *key);
void control_plain(struct strbuf *out, const char *s);

/* control_each - call fn(arg, name) with each name in the runtime folder, sorted. Returns 0 or negative. Thread: the
 * first. */
_nodiscard_ int control_each(void (*fn)(void *arg, const char *name), void *arg, struct err *err);

#endif
