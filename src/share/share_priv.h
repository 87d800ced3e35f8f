/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_SHARE_SHARE_PRIV_H
#define ATOLL_SHARE_SHARE_PRIV_H

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/stat.h>

#include "share/share.h"

/* clang-format off */
enum {
	SHARE_NODES_MAX = 1 << 20, SHARE_BUCKETS = 1 << 14,
	SHARE_HANDLES_MAX = 4096,
	SHARE_DEPTH_MAX = 256,	/* folders that a closed node is opened through */
	SHARE_PATH = 40,	/* "/proc/self/fd/N" */
	SHARE_TTL_S = 1,	/* how long the guest may believe what it was told */
};
/* clang-format on */

/* A file that the guest knows. */
struct node {
	uint32_t index, generation;
	dev_t dev;
	ino_t ino;
	mode_t type;
	uint64_t nr_lookups;	  /* how often the guest was told, less what it forgot */
	uint32_t nr_children;	  /* nodes that are opened through this one */
	struct node *parent;	  /* NULL: the root */
	char *name;		  /* in it */
	int fd;			  /* O_PATH; negative: closed to make room */
	bool is_pinned;		  /* no name leads to it: fd must stay */
	uint64_t last_used;	  /* request */
	struct node *next_hashed; /* of the same bucket */
};

struct handle {
	int fd; /* negative: free */
	bool is_folder;
};

struct share {
	struct share_config cfg;
	int proc_fd; /* /proc/self/fd */
	bool is_root;
	uid_t own_uid;
	gid_t own_gid;
	bool is_started; /* FUSE_INIT came */
	uint64_t now;	 /* requests so far */

	struct node **node; /* by index; [1] is the root */
	uint32_t nr_node, room_node;
	uint32_t *generation; /* by index */
	uint32_t *free_node, nr_free;
	uint32_t hand; /* of the clock that closes descriptors */
	size_t nr_fds;
	struct node *bucket[SHARE_BUCKETS];

	struct handle *handle;
	uint32_t nr_handle;
};

/* One message being served. */
struct request {
	struct share *s;
	struct fuse_in_header h;
	const uint8_t *arg; /* behind the header */
	size_t n;
	uint8_t *out;	   /* room for SHARE_DATA_MAX bytes */
	struct node *node; /* h.nodeid's */
	int fd;		   /* its descriptor */
};

/* --- nodes.c ---------------------------------------------------------------------------------------------------- */

/* nodes_reset - forget all but the root, close all handles. nodes_done - forget the root, too. */
void nodes_reset(struct share *s);
void nodes_done(struct share *s);
/* nodes_add_root - the first node. Returns 0 or negative. */
_nodiscard_ int nodes_add_root(struct share *s);

/* node_of - the node of a number that a guest said, and its descriptor. Returns 0; -ESTALE (no such node, or not the same
 * file any more), -ENFILE. The descriptor stays for this request. */
_nodiscard_ int node_of(struct share *s, uint64_t id, struct node **ret, int *ret_fd);

/*
 * node_look_up - find or make the node of @name in @parent, and count that the guest was told.
 *
 * @ret_st: its attributes
 * Returns 0; those of openat(2), -ENFILE, -ENOMEM.
 */
_nodiscard_ int node_look_up(struct share *s, struct node *parent, int parent_fd, const char *name,
			     struct node **ret, struct stat *ret_st);
/* node_forget - the guest forgot what it was told @n times. */
void node_forget(struct share *s, uint64_t id, uint64_t n);
/* node_id - the guest's number of a node. */
uint64_t node_id(const struct node *n);

/* node_losing_name - @name is about to be removed: whoever it leads to keeps a descriptor. Returns that node or NULL. */
struct node *node_losing_name(struct share *s, struct node *parent, int parent_fd,
			      const char *name);
/* node_moved - @name in @parent is the node's name now. */
void node_moved(struct share *s, struct node *parent, int parent_fd, const char *name);

/* node_reopen - a descriptor for reading or writing of an O_PATH one that is a regular file or a folder. Returns it, or
 * negative: -EACCES and so on, -ENXIO (something else). */
_nodiscard_ int node_reopen(struct share *s, int fd, int flags);
/* fd_path - the name of an O_PATH descriptor that system calls take that do not take the descriptor. */
void fd_path(int fd, char path[SHARE_PATH]);

/* handle_add - keep an open file. Returns its number, or -ENFILE, with @fd closed. handle_of - Returns it, or NULL. */
_nodiscard_ int64_t handle_add(struct share *s, int fd, bool is_folder);
struct handle *handle_of(struct share *s, uint64_t fh, bool is_folder);
void handle_free(struct share *s, uint64_t fh);

/* --- operations: bytes of the answer, or a negative errno --------------------------------------------------------- */

int64_t op_lookup(struct request *q);
int64_t op_mknod(struct request *q);
int64_t op_mkdir(struct request *q);
int64_t op_symlink(struct request *q);
int64_t op_link(struct request *q);
int64_t op_unlink(struct request *q);
int64_t op_rmdir(struct request *q);
int64_t op_rename(struct request *q);
int64_t op_rename2(struct request *q);
int64_t op_create(struct request *q);

int64_t op_getattr(struct request *q);
int64_t op_setattr(struct request *q);
int64_t op_readlink(struct request *q);
int64_t op_statfs(struct request *q);
int64_t op_setxattr(struct request *q);
int64_t op_getxattr(struct request *q);
int64_t op_listxattr(struct request *q);
int64_t op_removexattr(struct request *q);

int64_t op_open(struct request *q);
int64_t op_opendir(struct request *q);
int64_t op_release(struct request *q);
int64_t op_read(struct request *q);
int64_t op_write(struct request *q);
int64_t op_flush(struct request *q);
int64_t op_fsync(struct request *q);
int64_t op_fsyncdir(struct request *q);
int64_t op_fallocate(struct request *q);
int64_t op_lseek(struct request *q);
int64_t op_copy(struct request *q);
int64_t op_syncfs(struct request *q);
int64_t op_readdir(struct request *q);
int64_t op_readdirplus(struct request *q);

/* fill_attr - attributes as the guest sees them. fill_entry - with the node's number. */
void fill_attr(const struct share *s, const struct stat *st, struct fuse_attr *ret);
void fill_entry(const struct share *s, const struct node *n, const struct stat *st,
		struct fuse_entry_out *ret);
/* open_flags - what an open of a regular file may ask for. */
_nodiscard_ int open_flags(uint32_t wanted);
/* drop_suid - as a write by somebody without privileges does. Errors are the write's own. */
void drop_suid(int fd, const struct stat *st);

/* --- arguments --------------------------------------------------------------------------------------------------- */

/* take - copy the next @size bytes of the message's arguments. Returns 0 or -EINVAL. */
_nodiscard_ static inline int take(struct request *q, void *ret, size_t size)
{
	if (q->n < size)
		return -EINVAL;
	memcpy(ret, q->arg, size);
	q->arg += size;
	q->n -= size;
	return 0;
}

/* take_text - the next text with its end. Returns 0; -EINVAL (no end); -ENAMETOOLONG (longer than @max). */
_nodiscard_ int take_text(struct request *q, size_t max, const char **ret);
/* take_name - the same for one component of a path. Returns 0; -EINVAL; -ENAMETOOLONG. */
_nodiscard_ int take_name(struct request *q, const char **ret);

/* give - the answer is these bytes. */
static inline int64_t give(struct request *q, const void *p, size_t size)
{
	memcpy(q->out, p, size);
	return (int64_t)size;
}

#endif
