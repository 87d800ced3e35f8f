/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --net: one network device of a machine. What is said of user-mode networking is handed on to atoll-usernet, which
 * knows what it means; we only take out what every device has. A helper tells by a byte on its socket that it is
 * ready, or why not, so that a port that is taken is an error of `atoll run` and no riddle in the guest.
 */
#include "cmd/vm_nets.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "sys/fd.h"
#include "sys/sandbox/sandbox.h"

enum { WORD = 256, ARGS_MAX = 40, READY_MS = 10000 };

struct spec {
	char kind[16], target[WORD], pcap[WORD];
	char arg[ARGS_MAX][WORD]; /* for the helper */
	unsigned int nr_args;
	uint8_t mac[6];
	unsigned int pairs;
	bool packed;
};

static int copy(char *to, size_t size, struct str from, struct err *err)
{
	if (from.n >= size)
		return err_set(err, -ENAMETOOLONG, "'%.*s...' is longer than %zu bytes",
			       (int)MIN(from.n, (size_t)40), from.p, size - 1);
	memcpy(to, from.p, from.n);
	to[from.n] = 0;
	return 0;
}

static int parse_word(struct spec *s, struct str part, struct err *err)
{
	struct str key, value = part;
	uint64_t n;
	int r;

	str_cut(&value, '=', &key);
	if (str_eq(key, STR("mac")))
		return net_parse_mac(value, s->mac, err);
	if (str_eq(key, STR("pcap")) && value.n)
		return copy(s->pcap, sizeof(s->pcap), value, err);
	if (str_eq(part, STR("packed"))) {
		s->packed = true;
		return 0;
	}
	if (str_eq(key, STR("queues"))) {
		r = str_parse_u64(value, 1, 8, &n, err);
		s->pairs = (unsigned int)n;
		return r < 0 ? err_wrap(err, r, "queues") : 0;
	}
	if (strcmp(s->kind, "user"))
		return err_set(err, -EINVAL, "'%.*s' is none of mac=, queues=, pcap=, packed",
			       (int)MIN(part.n, (size_t)60), part.p);
	if (s->nr_args == ARGS_MAX)
		return err_set(err, -E2BIG, "more than %d words", ARGS_MAX);
	return copy(s->arg[s->nr_args++], WORD, part, err);
}

static int parse(struct spec *s, const char *text, struct err *err)
{
	struct str rest = str_of(text), part, kind;
	int r;

	memset(s, 0, sizeof(*s));
	s->pairs = 1;
	/* Locally administered, and so nobody's. */
	if (getrandom(s->mac, sizeof(s->mac), 0) != sizeof(s->mac))
		return err_set_errno(err, "random numbers");
	memcpy(s->mac, "\x52\x54\x00", 3);
	str_cut(&rest, ',', &part);
	str_cut(&part, '=', &kind);
	r = copy(s->kind, sizeof(s->kind), kind, err);
	if (r == 0)
		r = copy(s->target, sizeof(s->target), part, err);
	while (r == 0 && str_cut(&rest, ',', &part))
		r = parse_word(s, part, err);
	return r;
}

/* The first packet of a helper is what went wrong; empty but for one byte: nothing. */
static int wait_ready(int fd, struct err *err)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char text[WORD];
	ssize_t n;

	if (poll(&p, 1, READY_MS) <= 0)
		return err_set(err, -ETIMEDOUT, "atoll-usernet does not answer");
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return err_set(err, -EPIPE, "atoll-usernet ended");
	text[n] = 0;
	return text[0] ? err_set(err, -EINVAL, "%s", text) : 0;
}

static int open_user(const struct vm_nets *v, struct vm_net *n, const struct spec *s,
		     struct err *err)
{
	struct net_end theirs = NET_END_INIT;
	const char *argv[ARGS_MAX + 3] = { NULL };
	unsigned int nr = 0;
	char path[2048];
	struct child_opts opts = { .argv = argv,
				   .in = -1,
				   .out = -1,
				   .err = v->outlive_us ? -1 : STDERR_FILENO,
				   .keep = &theirs.fd,
				   .nr_keep = 1,
				   .flags = CHILD_OWN_GROUP |
					    (v->outlive_us ? 0 : CHILD_DIES_WITH_US) };
	int r = child_beside_us("atoll-usernet", path, sizeof(path), err);

	if (r == 0)
		r = net_pair(&n->end, &theirs, err);
	if (r < 0)
		return r;
	argv[nr++] = path;
	if (v->must_hold)
		argv[nr++] = SANDBOX_MUST_HOLD;
	for (unsigned int k = 0; k < s->nr_args; k++)
		argv[nr++] = s->arg[k];
	r = child_start(&opts, &n->helper, err);
	net_end_close(&theirs);
	return r < 0 ? r : wait_ready(n->end.fd, err);
}

static int open_end(const struct vm_nets *v, struct vm_net *n, const struct spec *s,
		    struct err *err)
{
	if (!strcmp(s->kind, "user") && !s->target[0])
		return open_user(v, n, s, err);
	if (!strcmp(s->kind, "tap"))
		return net_open_tap(s->target, &n->end, err);
	if (!strcmp(s->kind, "listen") || !strcmp(s->kind, "connect"))
		return net_open_socket(s->target, s->kind[0] == 'l', &n->end, err);
	return err_set(err, -EINVAL, "user, tap=NAME, listen=PATH and connect=PATH are possible");
}

static void close_one(void *owner)
{
	struct vm_net *n = owner;

	net_end_close(&n->end);
	child_done(&n->helper);
}

static int open_one(struct vm_nets *v, const char *text, struct err *err)
{
	_cleanup_(mem_freep) struct spec *s = mem_new(sizeof(*s));
	struct vm_net *n = &v->one[v->nr];
	int r;

	r = parse(s, text, err);
	if (r < 0)
		return r;
	*n = (struct vm_net){ .end = NET_END_INIT,
			      .helper = CHILD_INIT,
			      .net = { .end = &n->end,
				       .release = { .fn = close_one, .owner = n },
				       .nr_pairs = s->pairs,
				       .packed = s->packed } };
	memcpy(n->net.mac, s->mac, 6);
	r = open_end(v, n, s, err);
	v->net[v->nr++] = n->net;
	if (r == 0 && s->pcap[0])
		r = net_capture(&n->end, s->pcap, err);
	return r;
}

int vm_nets_open(struct vm_nets *v, const struct opt_list *specs, struct err *err)
{
	for (size_t i = 0; i < specs->n; i++) {
		int r = v->nr < VM_NETS_MAX ? open_one(v, specs->v[i], err)
					    : err_set(err, -EINVAL, "more than %d network devices",
						      VM_NETS_MAX);

		if (r < 0)
			return err_wrap(err, r, "--net %.100s", specs->v[i]);
	}
	return 0;
}

void vm_nets_hand_over(struct vm_nets *v)
{
	while (v->nr) {
		v->nr--;
		net_end_close(&v->one[v->nr].end);
		fd_closep(&v->one[v->nr].helper.fd);
	}
}

void vm_nets_close(struct vm_nets *v)
{
	while (v->nr)
		close_one(&v->one[--v->nr]);
}
