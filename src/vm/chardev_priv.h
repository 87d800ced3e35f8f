/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_CHARDEV_PRIV_H
#define VM_CHARDEV_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "sys/thread.h"
#include "vm/chardev_host.h"
#include "vm/chardev_term.h"

/*
 * A back end is a stream: at most one descriptor to read, one to write, one to accept clients from.
 * @lock guards the output ring, which the port fills and the host's thread drains. Everything else belongs
 * to the host's thread while it runs, and to the owner otherwise.
 */
enum stream_kind { STREAM_STDIO, STREAM_FILE, STREAM_PTY, STREAM_UNIX };

enum {
	STREAM_OUT = 65536,
	STREAM_IN = 4096,
	/* A pipe that polls writable takes this much without blocking (POSIX: PIPE_BUF). */
	STREAM_CHUNK = 4096,
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
	size_t out_head, out_n; /* under lock */
	bool port_waits;	/* under lock: -EAGAIN was answered */
	_Atomic bool has_peer;	/* somebody reads what we write; else output is dropped */

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

/* Opening by kind: fill the descriptors of a zeroed stream. */
_nodiscard_ int stream_open_stdio(struct stream *s, struct err *err);
_nodiscard_ int stream_open_file(struct stream *s, const char *path, struct err *err);
_nodiscard_ int stream_open_pty(struct stream *s, struct err *err);
_nodiscard_ int stream_open_unix(struct stream *s, const char *path, struct err *err);
/* stream_close_fds - close descriptors, remove a socket from the file system. */
void stream_close_fds(struct stream *s);

#endif
