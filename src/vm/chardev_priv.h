/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_CHARDEV_PRIV_H
#define VM_CHARDEV_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "sys/thread.h"
#include "vm/chardev_host.h"
#include "sys/term.h"

/*
 * A back end is a stream: at most one descriptor to read, one to write, one to accept clients from; and watchers, who
 * see what it says and may type. All readers take from one ring, each from its own place, so what was said last is
 * there for who comes later.
 *
 *	port --> ring: ....|oldest that is there......|primary's place...|a watcher's place...|end
 *
 * The port waits for the slowest reader, but not for a watcher that takes nothing for WATCHER_PATIENCE_MS: that one
 * loses what it did not read, until it has caught up.
 *
 * @lock guards the ring and all places, and who has the watchers' slots. Everything else belongs to the host's thread
 * while it runs, and to the owner otherwise.
 */
enum stream_kind { STREAM_STDIO, STREAM_FILE, STREAM_PTY, STREAM_UNIX };

enum {
	STREAM_OUT = 65536,
	STREAM_IN = 4096,
	/* A pipe that polls writable takes this much without blocking (Linux: PIPE_BUF is 4096). */
	STREAM_CHUNK = 2048,
	STREAM_WATCHERS = 8,
	WATCHER_PATIENCE_MS = 1000,
};

struct watcher {
	int fd;		     /* a socket that does not block; negative: free */
	uint64_t pos;	     /* under lock: next byte of the ring for it */
	bool is_lagging;     /* under lock: the port does not wait for it */
	uint64_t blocked_ns; /* since when it takes nothing; 0: it does */
};

struct stream {
	struct chardev cd; /* first: the port knows this */
	enum stream_kind kind;
	struct chardev_host *host;
	struct stream *next;
	char where[128];
	int in_fd, out_fd, listen_fd; /* negative: none; in_fd and out_fd may be the same */

	pthread_mutex_t lock;
	uint8_t out[STREAM_OUT];
	uint64_t end,
		pos;	 /* under lock: bytes ever put into the ring; the primary reader's place */
	bool port_waits; /* under lock: -EAGAIN was answered */
	struct watcher watcher[STREAM_WATCHERS];
	_Atomic bool has_peer; /* somebody reads what we write; else output is dropped */

	uint8_t in[STREAM_IN]; /* read and not yet taken by the port */
	size_t in_off, in_n;
	_Atomic bool in_refused; /* the port had no room; it will say when it has */
	bool is_terminal;
	struct escape escape;
};

struct chardev_host {
	struct stream *streams;
	int wake_fd;
	_Atomic bool is_woken, stop;
	bool is_running;
	struct thread thread;
	void (*leave)(void *arg);
	void *leave_arg;
};

enum { HOST_MAX_STREAMS = 16 };

/* stream_put - take from the port what all readers have room for. Returns bytes, 0: the port will be told. Thread: any. */
size_t stream_put(struct stream *s, const uint8_t *buf, size_t n);

/*
 * stream_take - send a reader what follows its place, a chunk at most.
 *
 * @w: NULL: the primary reader
 * Returns bytes, 0 when there is nothing or the descriptor is full, negative when it is dead. Thread: the host's.
 */
_nodiscard_ ssize_t stream_take(struct stream *s, struct watcher *w);

/* stream_has_output - whether there is something for a reader (NULL: the primary). Thread: the host's. */
bool stream_has_output(struct stream *s, const struct watcher *w);

/* stream_skip - forget what waits for the primary reader. Thread: the host's. */
void stream_skip(struct stream *s);

/* stream_tell_port - tell a port that waits for room to try again. Thread: the host's. */
void stream_tell_port(struct stream *s);

/* watcher_add - give a socket a place at the oldest byte that is there. Returns 0; -EBUSY. Thread: any. */
_nodiscard_ int watcher_add(struct stream *s, int fd);

/* watcher_drop - close it. Thread: the host's. */
void watcher_drop(struct stream *s, struct watcher *w);

/* watcher_be_patient - note whether it takes what it gets, and no longer wait for one that does not. Returns ms until
 * the next look, -1: none is due. Thread: the host's. */
int watcher_be_patient(struct stream *s, struct watcher *w, ssize_t took);

/* Opening by kind: fill the descriptors of a zeroed stream. */
_nodiscard_ int stream_open_stdio(struct stream *s, struct err *err);
_nodiscard_ int stream_open_file(struct stream *s, const char *path, struct err *err);
_nodiscard_ int stream_open_pty(struct stream *s, struct err *err);
_nodiscard_ int stream_open_unix(struct stream *s, const char *path, struct err *err);
/* stream_close_fds - close descriptors, remove a socket from the file system. */
void stream_close_fds(struct stream *s);

#endif
