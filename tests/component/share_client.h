/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_COMPONENT_SHARE_CLIENT_H
#define ATOLL_TESTS_COMPONENT_SHARE_CLIENT_H

/* FUSE messages to a share, without a kernel that sends them. */
#include <linux/fuse.h>
#include <stdint.h>
#include <string.h>

#include "base/attr.h"
#include "share/share.h"

struct sc {
	struct share *s;
	uint8_t in[SHARE_MESSAGE_MAX], out[SHARE_MESSAGE_MAX];
	size_t out_n;
	uint32_t uid, gid;
};

struct sc_part {
	const void *p;
	size_t n;
};

#define SC_TEXT(s)  ((struct sc_part){ (s), strlen(s) + 1 })
#define SC_VALUE(v) ((struct sc_part){ &(v), sizeof(v) })

/* Sends a message of these parts. Returns the answer's error, 0, or 1 without an answer. */
static inline int sc_send(struct sc *c, uint32_t opcode, uint64_t node, const struct sc_part *part,
			  size_t nr)
{
	struct fuse_in_header h = { .len = sizeof(h),
				    .opcode = opcode,
				    .unique = 77,
				    .nodeid = node,
				    .uid = c->uid,
				    .gid = c->gid };
	struct fuse_out_header a;

	for (size_t k = 0; k < nr; k++) {
		if (part[k].n)
			memcpy(c->in + h.len, part[k].p, part[k].n);
		h.len += (uint32_t)part[k].n;
	}
	memcpy(c->in, &h, sizeof(h));
	c->out_n = share_serve(c->s, c->in, h.len, c->out);
	if (!c->out_n)
		return 1;
	memcpy(&a, c->out, sizeof(a));
	return a.unique == 77 && a.len == c->out_n ? a.error : 2;
}

#define SC(c, opcode, node, ...)                                                                   \
	sc_send((c), (opcode), (node), (const struct sc_part[]){ __VA_ARGS__ },                    \
		sizeof((const struct sc_part[]){ __VA_ARGS__ }) / sizeof(struct sc_part))

/* What the answer has behind its header, from @off on. */
static inline const void *sc_answer(const struct sc *c, size_t off)
{
	return c->out + SHARE_ANSWER_HEADER + off;
}

static inline int sc_init(struct sc *c)
{
	struct fuse_init_in in = { .major = 7, .minor = 36, .max_readahead = 1 << 20, .flags = ~0u };

	return SC(c, FUSE_INIT, 0, SC_VALUE(in));
}

/* Looks up a name. Returns its node's number; 0: there is none, or it is an error. */
static inline uint64_t sc_look(struct sc *c, uint64_t folder, const char *name)
{
	struct fuse_entry_out e;

	if (SC(c, FUSE_LOOKUP, folder, SC_TEXT(name)) != 0)
		return 0;
	memcpy(&e, sc_answer(c, 0), sizeof(e));
	return e.nodeid;
}

static inline int64_t sc_open(struct sc *c, uint64_t node, uint32_t flags, bool is_folder)
{
	struct fuse_open_in in = { .flags = flags };
	struct fuse_open_out out;
	int r = SC(c, is_folder ? FUSE_OPENDIR : FUSE_OPEN, node, SC_VALUE(in));

	if (r)
		return r;
	memcpy(&out, sc_answer(c, 0), sizeof(out));
	return (int64_t)out.fh;
}

#endif
