/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guest knows by number. A node is a file of the host, known by device and inode; names are only ways to it.
 *
 *	          lookup                   no room for descriptors
 *	(nothing) ------> open, counted  -------------------------> closed, counted
 *	    ^                |    ^                                    |
 *	    '---- forgotten -+    '-- needed: by its folder and name --'
 *
 * Descriptors are closed by a clock's hand that passes over what was used since the last round. What this very request uses
 * is never closed, nor what has lost its name, nor the root.
 *
 * A number holds a generation, so that one that was forgotten and given again is not mistaken for the old one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "share/share_priv.h"
#include "sys/fd.h"

enum { ROOT = 1 };

/* --- the table --------------------------------------------------------------------------------------------------- */

static struct node **bucket_of(struct share *s, dev_t dev, ino_t ino)
{
	uint64_t h = ((uint64_t)ino ^ (uint64_t)dev << 40) * UINT64_C(0x9e3779b97f4a7c15);

	return &s->bucket[h >> 50 & (SHARE_BUCKETS - 1)];
}

/* The host's /proc: "self" is this process there, with memory that can be written to and links that are more than
 * texts. It is nobody's folder. */
static bool is_proc(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) < 0 || fs.f_type == PROC_SUPER_MAGIC;
}

static struct node *find(struct share *s, const struct stat *st)
{
	struct node *n = *bucket_of(s, st->st_dev, st->st_ino);

	while (n &&
	       (n->ino != st->st_ino || n->dev != st->st_dev || n->type != (st->st_mode & S_IFMT)))
		n = n->next_hashed;
	return n;
}

static int grow(struct share *s)
{
	uint32_t room = s->room_node ? 2 * s->room_node : 256;
	void *node, *generation, *free_node;

	if (s->nr_node < s->room_node)
		return 0;
	if (room > SHARE_NODES_MAX)
		return -ENFILE;
	node = realloc(s->node, room * sizeof(*s->node));
	if (node)
		s->node = node;
	generation = realloc(s->generation, room * sizeof(*s->generation));
	if (generation)
		s->generation = generation;
	free_node = realloc(s->free_node, room * sizeof(*s->free_node));
	if (free_node)
		s->free_node = free_node;
	if (!node || !generation || !free_node)
		return -ENOMEM;
	s->room_node = room;
	return 0;
}

static int new_index(struct share *s, uint32_t *ret)
{
	int r;

	if (s->nr_free) {
		*ret = s->free_node[--s->nr_free];
		return 0;
	}
	r = grow(s);
	if (r < 0)
		return r;
	*ret = s->nr_node++;
	s->node[*ret] = NULL;
	s->generation[*ret] = 0;
	return 0;
}

/* Takes over @fd. */
static int add(struct share *s, struct node *parent, const char *name, int fd,
	       const struct stat *st, struct node **ret)
{
	struct node **bucket = bucket_of(s, st->st_dev, st->st_ino), *n = calloc(1, sizeof(*n));
	uint32_t index;
	int r = n ? new_index(s, &index) : -ENOMEM;

	if (r == 0 && name && !(n->name = strdup(name))) {
		s->free_node[s->nr_free++] = index;
		r = -ENOMEM;
	}
	if (r < 0) {
		free(n);
		return r;
	}
	n->index = index;
	n->generation = s->generation[index];
	n->dev = st->st_dev;
	n->ino = st->st_ino;
	n->type = st->st_mode & S_IFMT;
	n->parent = parent;
	n->fd = fd;
	n->last_used = s->now;
	n->next_hashed = *bucket;
	*bucket = n;
	s->node[index] = n;
	s->nr_fds++;
	if (parent)
		parent->nr_children++;
	*ret = n;
	return 0;
}

static void close_node(struct share *s, struct node *n)
{
	if (n->fd < 0)
		return;
	fd_closep(&n->fd);
	s->nr_fds--;
}

static void free_node(struct share *s, struct node *n)
{
	struct node **at = bucket_of(s, n->dev, n->ino);

	while (*at != n)
		at = &(*at)->next_hashed;
	*at = n->next_hashed;
	close_node(s, n);
	s->node[n->index] = NULL;
	s->generation[n->index]++;
	s->free_node[s->nr_free++] = n->index;
	free(n->name);
	free(n);
}

/* Nobody needs it, nor then perhaps its folder. */
static void free_unused(struct share *s, struct node *n)
{
	while (n && n->parent && !n->nr_lookups && !n->nr_children) {
		struct node *parent = n->parent;

		parent->nr_children--;
		free_node(s, n);
		n = parent;
	}
}

void nodes_reset(struct share *s)
{
	for (uint32_t k = 0; k < s->nr_node; k++)
		if (s->node[k] && s->node[k]->parent)
			free_node(s, s->node[k]);
	if (s->nr_node > ROOT && s->node[ROOT])
		s->node[ROOT]->nr_children = 0;
	for (uint32_t k = 0; k < s->nr_handle; k++)
		fd_closep(&s->handle[k].fd);
}

void nodes_done(struct share *s)
{
	nodes_reset(s);
	if (s->nr_node > ROOT && s->node[ROOT])
		free_node(s, s->node[ROOT]);
	free(s->node);
	free(s->generation);
	free(s->free_node);
}

int nodes_add_root(struct share *s)
{
	_cleanup_(fd_closep) int fd = fcntl(s->cfg.root_fd, F_DUPFD_CLOEXEC, 0);
	struct node *root;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if (is_proc(fd))
		return -EACCES;
	/* Number 0 is nobody's. */
	r = grow(s);
	if (r < 0)
		return r;
	s->node[0] = NULL;
	s->generation[0] = 0;
	s->nr_node = ROOT;
	r = add(s, NULL, NULL, fd, &st, &root);
	if (r == 0)
		fd_take(&fd);
	return r;
}

uint64_t node_id(const struct node *n)
{
	return (uint64_t)n->generation << 32 | n->index;
}

/* --- descriptors --------------------------------------------------------------------------------------------------- */

/* Room for one more. Returns 0 or -ENFILE. */
static int make_room(struct share *s)
{
	size_t limit = s->cfg.max_fds / 2;

	for (uint32_t k = 0; s->nr_fds >= limit && k < 2 * s->nr_node; k++) {
		struct node *n = s->node[s->hand];
		bool is_old = n && n->last_used != s->now && n->last_used + s->nr_fds / 2 < s->now;

		s->hand = (s->hand + 1) % s->nr_node;
		/* In the second round whoever this request does not need. */
		if (n && n->parent && n->fd >= 0 && !n->is_pinned && n->last_used != s->now &&
		    (is_old || k >= s->nr_node))
			close_node(s, n);
	}
	return s->nr_fds >= limit ? -ENFILE : 0;
}

static int open_name(int folder, const char *name, int flags)
{
	int fd = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC | flags);

	return fd < 0 ? -errno : fd;
}

/* By the names from the nearest folder that is open. */
static int open_again(struct share *s, struct node *n)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	const struct node *way[SHARE_DEPTH_MAX];
	unsigned int depth = 0;
	const struct node *from = n;
	struct stat st;
	int r = make_room(s), at;

	if (r < 0)
		return r;
	for (; from->fd < 0; from = from->parent) {
		if (depth == SHARE_DEPTH_MAX)
			return -ENAMETOOLONG;
		way[depth++] = from;
	}
	for (at = from->fd; depth; at = fd) {
		int next = open_name(at, way[depth - 1]->name, depth > 1 ? O_DIRECTORY : 0);

		depth--;
		fd_closep(&fd);
		if (next < 0)
			return next == -ENOENT || next == -ENOTDIR ? -ESTALE : next;
		fd = next;
	}
	if (fstat(fd, &st) < 0)
		return -errno;
	/* Somebody else has the name now. */
	if (st.st_ino != n->ino || st.st_dev != n->dev || (st.st_mode & S_IFMT) != n->type)
		return -ESTALE;
	n->fd = fd_take(&fd);
	s->nr_fds++;
	return 0;
}

static int use(struct share *s, struct node *n)
{
	int r = 0;

	n->last_used = s->now;
	if (n->fd < 0)
		r = open_again(s, n);
	return r < 0 ? r : n->fd;
}

int node_of(struct share *s, uint64_t id, struct node **ret, int *ret_fd)
{
	uint32_t index = (uint32_t)id;
	struct node *n = index < s->nr_node ? s->node[index] : NULL;
	int fd;

	/* A folder that the guest forgot, but not what is in it, is there for us alone. */
	if (!n || n->generation != id >> 32 || (n->parent && !n->nr_lookups))
		return -ESTALE;
	fd = use(s, n);
	if (fd < 0)
		return fd;
	*ret = n;
	*ret_fd = fd;
	return 0;
}

/* --- names --------------------------------------------------------------------------------------------------------- */

static void set_name(struct share *s, struct node *n, struct node *parent, const char *name)
{
	struct node *old = n->parent;
	char *copy;

	if (!old)
		return;
	/* A folder is never put into itself; but what the host does meanwhile is not ours to know. */
	for (const struct node *p = parent; p; p = p->parent)
		if (p == n)
			return;
	copy = strdup(name);
	if (!copy)
		return; /* then it is stale one day */
	free(n->name);
	n->name = copy;
	n->parent = parent;
	parent->nr_children++;
	old->nr_children--;
	free_unused(s, old);
}

int node_look_up(struct share *s, struct node *parent, int parent_fd, const char *name,
		 struct node **ret, struct stat *ret_st)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	struct node *n;
	int r = make_room(s);

	if (r < 0)
		return r;
	fd = open_name(parent_fd, name, 0);
	if (fd < 0)
		return fd;
	if (fstat(fd, ret_st) < 0)
		return -errno;
	if (ret_st->st_dev != parent->dev && is_proc(fd))
		return -EACCES;
	n = find(s, ret_st);
	if (!n) {
		r = add(s, parent, name, fd, ret_st, &n);
		if (r < 0)
			return r;
		fd_take(&fd);
	} else {
		if (n->fd < 0) {
			n->fd = fd_take(&fd);
			s->nr_fds++;
		}
		n->last_used = s->now;
		n->is_pinned = false; /* there is a name again */
		if (n->parent != parent || strcmp(n->name, name) != 0)
			set_name(s, n, parent, name);
	}
	n->nr_lookups++;
	*ret = n;
	return 0;
}

void node_forget(struct share *s, uint64_t id, uint64_t n)
{
	uint32_t index = (uint32_t)id;
	struct node *node = index < s->nr_node ? s->node[index] : NULL;

	if (!node || node->generation != id >> 32 || !node->parent)
		return;
	node->nr_lookups -= MIN(n, node->nr_lookups);
	free_unused(s, node);
}

struct node *node_losing_name(struct share *s, struct node *parent, int parent_fd, const char *name)
{
	struct stat st;
	struct node *n;

	if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return NULL;
	n = find(s, &st);
	if (!n || !n->parent)
		return NULL;
	/* By this very name, if it is closed: it may be the last one. */
	if (n->fd < 0)
		set_name(s, n, parent, name);
	return use(s, n) < 0 ? NULL : n;
}

void node_moved(struct share *s, struct node *parent, int parent_fd, const char *name)
{
	struct stat st;
	struct node *n;

	if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	n = find(s, &st);
	if (n) {
		n->is_pinned = false;
		set_name(s, n, parent, name);
	}
}

/* --- open files ------------------------------------------------------------------------------------------------------ */

void fd_path(int fd, char path[SHARE_PATH])
{
	snprintf(path, SHARE_PATH, "/proc/self/fd/%d", fd);
}

int node_reopen(struct share *s, int fd, int flags)
{
	char name[16];
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return -ELOOP;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return -ENXIO;
	/* By the descriptor's own link, which leads to what it is, and nowhere else. */
	snprintf(name, sizeof(name), "%d", fd);
	r = openat(s->proc_fd, name, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return r < 0 ? -errno : r;
}

int64_t handle_add(struct share *s, int fd, bool is_folder)
{
	for (uint32_t k = 0; k < s->nr_handle; k++) {
		if (s->handle[k].fd >= 0)
			continue;
		s->handle[k] = (struct handle){ fd, is_folder };
		return k;
	}
	close(fd);
	return -ENFILE;
}

struct handle *handle_of(struct share *s, uint64_t fh, bool is_folder)
{
	if (fh >= s->nr_handle || s->handle[fh].fd < 0 || s->handle[fh].is_folder != is_folder)
		return NULL;
	return &s->handle[fh];
}

void handle_free(struct share *s, uint64_t fh)
{
	if (fh < s->nr_handle)
		fd_closep(&s->handle[fh].fd);
}
