/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a message to an operation and back. What every operation needs is decided here, by a table: whether it changes
 * something (refused for a folder that is shared read-only), and whether it is about a node. Messages about a node are looked
 * at only when the node is there, so no operation can forget that.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "share/share_priv.h"
#include "sys/fd.h"

/* --- arguments --------------------------------------------------------------------------------------------------- */

int take_text(struct request *q, size_t max, const char **ret)
{
	const uint8_t *end = memchr(q->arg, 0, q->n);
	size_t len;

	if (!end)
		return -EINVAL;
	len = (size_t)(end - q->arg);
	if (len > max)
		return -ENAMETOOLONG;
	*ret = (const char *)q->arg;
	q->arg += len + 1;
	q->n -= len + 1;
	return 0;
}

int take_name(struct request *q, const char **ret)
{
	int r = take_text(q, NAME_MAX, ret);

	if (r < 0)
		return r;
	if (!**ret || strchr(*ret, '/') || !strcmp(*ret, ".") || !strcmp(*ret, ".."))
		return -EINVAL;
	return 0;
}

/* --- the session --------------------------------------------------------------------------------------------------- */

static int64_t op_init(struct request *q)
{
	const uint32_t can = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_PARALLEL_DIROPS |
			     FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_MAX_PAGES |
			     FUSE_AUTO_INVAL_DATA | FUSE_HANDLE_KILLPRIV_V2;
	struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION,
				     .minor = 31,
				     .max_readahead = SHARE_DATA_MAX,
				     .max_background = 64,
				     .congestion_threshold = 48,
				     .max_write = SHARE_DATA_MAX,
				     .time_gran = 1,
				     .max_pages = SHARE_DATA_MAX >> 12 };
	struct fuse_init_in in = { 0 };
	int r = take(q, &in, 4 * sizeof(uint32_t));

	if (r < 0)
		return r;
	/* A newer kernel asks again with our version when it is told. */
	if (in.major > FUSE_KERNEL_VERSION)
		return give(q, &out, 2 * sizeof(uint32_t));
	if (in.major < FUSE_KERNEL_VERSION || in.minor < 31)
		return -EPROTO;
	nodes_reset(q->s);
	q->s->is_started = true;
	out.max_readahead = MIN(in.max_readahead, out.max_readahead);
	out.flags = in.flags & can;
	return give(q, &out, sizeof(out));
}

static int64_t op_destroy(struct request *q)
{
	nodes_reset(q->s);
	q->s->is_started = false;
	return 0;
}

static int64_t op_forget(struct request *q)
{
	struct fuse_forget_in in;

	if (take(q, &in, sizeof(in)) == 0)
		node_forget(q->s, q->h.nodeid, in.nlookup);
	return 0;
}

static int64_t op_batch_forget(struct request *q)
{
	struct fuse_batch_forget_in in;
	struct fuse_forget_one one;

	if (take(q, &in, sizeof(in)) < 0)
		return 0;
	for (uint32_t k = 0; k < in.count && take(q, &one, sizeof(one)) == 0; k++)
		node_forget(q->s, one.nodeid, one.nlookup);
	return 0;
}

static int64_t op_nothing(struct request *q)
{
	return 0;
}

/* --- the table ------------------------------------------------------------------------------------------------------- */

enum {
	NODE = 1,    /* about a node */
	CHANGES = 2, /* not for who may only read */
	SILENT = 4,  /* no answer */
};

static const struct op {
	int64_t (*fn)(struct request *q);
	unsigned int flags;
} ops[] = {
	[FUSE_LOOKUP] = { op_lookup, NODE },
	[FUSE_FORGET] = { op_forget, SILENT },
	[FUSE_GETATTR] = { op_getattr, NODE },
	[FUSE_SETATTR] = { op_setattr, NODE | CHANGES },
	[FUSE_READLINK] = { op_readlink, NODE },
	[FUSE_SYMLINK] = { op_symlink, NODE | CHANGES },
	[FUSE_MKNOD] = { op_mknod, NODE | CHANGES },
	[FUSE_MKDIR] = { op_mkdir, NODE | CHANGES },
	[FUSE_UNLINK] = { op_unlink, NODE | CHANGES },
	[FUSE_RMDIR] = { op_rmdir, NODE | CHANGES },
	[FUSE_RENAME] = { op_rename, NODE | CHANGES },
	[FUSE_LINK] = { op_link, NODE | CHANGES },
	[FUSE_OPEN] = { op_open, NODE },
	[FUSE_READ] = { op_read, 0 },
	[FUSE_WRITE] = { op_write, CHANGES },
	[FUSE_STATFS] = { op_statfs, NODE },
	[FUSE_RELEASE] = { op_release, 0 },
	[FUSE_FSYNC] = { op_fsync, 0 },
	[FUSE_SETXATTR] = { op_setxattr, NODE | CHANGES },
	[FUSE_GETXATTR] = { op_getxattr, NODE },
	[FUSE_LISTXATTR] = { op_listxattr, NODE },
	[FUSE_REMOVEXATTR] = { op_removexattr, NODE | CHANGES },
	[FUSE_FLUSH] = { op_flush, 0 },
	[FUSE_INIT] = { op_init, 0 },
	[FUSE_OPENDIR] = { op_opendir, NODE },
	[FUSE_READDIR] = { op_readdir, NODE },
	[FUSE_RELEASEDIR] = { op_release, 0 },
	[FUSE_FSYNCDIR] = { op_fsyncdir, 0 },
	[FUSE_CREATE] = { op_create, NODE | CHANGES },
	[FUSE_INTERRUPT] = { op_nothing, SILENT },
	[FUSE_DESTROY] = { op_destroy, 0 },
	[FUSE_BATCH_FORGET] = { op_batch_forget, SILENT },
	[FUSE_FALLOCATE] = { op_fallocate, CHANGES },
	[FUSE_READDIRPLUS] = { op_readdirplus, NODE },
	[FUSE_RENAME2] = { op_rename2, NODE | CHANGES },
	[FUSE_LSEEK] = { op_lseek, 0 },
	[FUSE_COPY_FILE_RANGE] = { op_copy, CHANGES },
	[FUSE_SYNCFS] = { op_syncfs, NODE },
};

static const struct op *op_of(uint32_t opcode)
{
	return opcode < ARRAY_SIZE(ops) && ops[opcode].fn ? &ops[opcode] : NULL;
}

bool share_has_answer(uint32_t opcode)
{
	const struct op *op = op_of(opcode);

	return !op || !(op->flags & SILENT);
}

static int64_t carry_out(struct request *q, const struct op *op)
{
	int r;

	if (!op)
		return -ENOSYS;
	if (!q->s->is_started && q->h.opcode != FUSE_INIT)
		return -ENOTCONN;
	if ((op->flags & CHANGES) && q->s->cfg.is_readonly)
		return -EROFS;
	if (op->flags & NODE) {
		r = node_of(q->s, q->h.nodeid, &q->node, &q->fd);
		if (r < 0)
			return r;
	}
	return op->fn(q);
}

size_t share_serve(struct share *s, const uint8_t *in, size_t n, uint8_t *out)
{
	struct request q = { .s = s, .fd = -EBADF, .out = out + SHARE_ANSWER_HEADER };
	struct fuse_out_header h = { 0 };
	const struct op *op;
	int64_t done;

	memcpy(&q.h, in, sizeof(q.h));
	q.arg = in + SHARE_HEADER;
	q.n = n - SHARE_HEADER;
	s->now++;
	op = op_of(q.h.opcode);
	done = carry_out(&q, op);
	if (op && (op->flags & SILENT))
		return 0;
	h.unique = q.h.unique;
	h.error = done < 0 ? (int32_t)done : 0;
	h.len = (uint32_t)(SHARE_ANSWER_HEADER + (done < 0 ? 0 : done));
	memcpy(out, &h, sizeof(h));
	return h.len;
}

/* --- the object ------------------------------------------------------------------------------------------------------ */

int share_new(const struct share_config *cfg, struct share **ret, struct err *err)
{
	struct share *s = mem_new(sizeof(*s));
	int r;

	_Static_assert(sizeof(struct fuse_in_header) == SHARE_HEADER, "header");
	_Static_assert(sizeof(struct fuse_out_header) == SHARE_ANSWER_HEADER, "header");
	s->cfg = *cfg;
	s->own_uid = geteuid();
	s->own_gid = getegid();
	s->is_root = !s->own_uid && !cfg->has_owner;
	s->nr_handle = (uint32_t)MIN((size_t)SHARE_HANDLES_MAX, cfg->max_fds / 4);
	s->handle = mem_new_n(s->nr_handle, sizeof(*s->handle));
	for (uint32_t k = 0; k < s->nr_handle; k++)
		s->handle[k].fd = -EBADF;
	s->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = s->proc_fd < 0 ? err_set_errno(err, "/proc/self/fd") : 0;
	if (r == 0) {
		r = nodes_add_root(s);
		if (r < 0)
			err_set(err, r, "the shared folder: %s", strerror(-r));
	}
	if (r < 0) {
		share_free(s);
		return r;
	}
	umask(0);
	*ret = s;
	return 0;
}

void share_free(struct share *s)
{
	if (!s)
		return;
	nodes_done(s);
	free(s->handle);
	fd_closep(&s->proc_fd);
	free(s);
}
