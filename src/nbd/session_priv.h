/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_NBD_SESSION_PRIV_H
#define ATOLL_NBD_SESSION_PRIV_H

#include <pthread.h>
#include <sys/uio.h>

#include "base/list.h"
#include "base/str.h"
#include "nbd/proto_priv.h"
#include "nbd/server.h"

/*
 * One client without I/O: the shell around it moves bytes and knows the time. Everything but the end of a
 * request happens on one thread, the client's.
 *
 *	p = nbd_session_room(s, &n)      where received bytes go; n = 0: take none now
 *	nbd_session_received(s, n)       work on them
 *	nbd_session_output(s, iov, max)  what to send
 *	nbd_session_sent(s, n)           so much went; may make room again
 */
enum {
	NBD_SLOTS = 32,
	NBD_PAYLOAD_MAX = 32 << 20,
	NBD_BUFFERS_MAX = 64 << 20,
	NBD_KEEP_MAX = 2 << 20, /* a free slot keeps a buffer up to this size */
	NBD_IN_SIZE = 32 << 10,
	NBD_OPTION_MAX = 16 << 10,
	NBD_OPTIONS_MAX = 1000,
	NBD_OUT_MAX = 64 << 10,
	NBD_EXTENTS_MAX = 4096,
	NBD_HANDSHAKE_S = 10,
};

enum nbd_phase {
	NBD_FLAGS,    /* the client's flags are expected */
	NBD_OPTIONS,  /* ... an option */
	NBD_TLS,      /* the shell has to make a TLS session: nbd_session_secured() */
	NBD_REQUESTS, /* ... a request */
	NBD_ENDED, /* nothing more is read; when nothing is in flight and all is sent, it is over */
};

struct nbd_session;

struct nbd_slot {
	struct list link; /* free, finished, or to be sent */
	struct nbd_session *session;
	uint8_t *buf;
	size_t cap;
	/* of the request */
	uint16_t flags, cmd;
	uint64_t cookie, off;
	uint32_t len;
	uint32_t got;	/* bytes of the payload that are here */
	uint32_t error; /* enum nbd_error, known before or after the disk was asked */
	int status;	/* what the disk said */
	struct disk_request req;
	struct iovec iov;
	/* the reply: head, then body_bytes of buf */
	uint8_t head[NBD_CHUNK_SIZE + 8];
	unsigned head_bytes;
	size_t body_bytes;
};

struct nbd_session {
	const struct nbd_export *export;
	const struct nbd_context *contexts[NBD_CONTEXTS_MAX];
	struct nbd_context allocation;
	size_t nr_contexts;
	uint16_t export_flags;
	uint32_t zero_unit; /* of fast zeros; 0: none are */
	bool needs_tls, is_secure;
	bool structured, no_zeroes;
	uint32_t selected;    /* contexts, bit by bit */
	uint64_t deadline_ns; /* of the handshake */
	unsigned nr_options;

	enum nbd_phase phase;
	const char *why;  /* it ended before its time; static, NULL: it did not */
	uint64_t skip;	  /* bytes of a refused option or payload that are still to come */
	uint32_t skipped; /* option that they belong to */

	uint8_t in[NBD_IN_SIZE];
	size_t in_from, in_to;
	struct nbd_slot
		*filling; /* its payload is being received or skipped; NULL: a header is next */

	struct strbuf out; /* answers to options */
	size_t out_sent;
	struct list replies; /* slots, in order */
	size_t reply_sent;   /* of the first */

	struct nbd_slot *slots;
	struct list free;
	size_t buffers; /* bytes of all slots' */
	pthread_t owner;

	void (*wake)(void *arg); /* on another thread: something was finished */
	void *arg;

	pthread_mutex_t lock;
	struct list finished; /* under lock */
	unsigned in_flight;   /* under lock: requests that the disk has */
};

/*
 * nbd_session_new - greet a client.
 *
 * @now_ns: the handshake's time starts
 * @wake:   called under a lock, so it only makes a note
 * Thread: the client's, which is the only one to call what follows.
 */
struct nbd_session *nbd_session_new(const struct nbd_export *export, bool needs_tls,
				    uint64_t now_ns, void (*wake)(void *arg), void *arg);
/* Nothing is in flight. */
void nbd_session_free(struct nbd_session *s);

uint8_t *nbd_session_room(struct nbd_session *s, size_t *ret_n);
void nbd_session_received(struct nbd_session *s, size_t n);
/* Also takes what was finished on other threads. Returns the number of pieces. */
unsigned nbd_session_output(struct nbd_session *s, struct iovec *iov, unsigned max);
void nbd_session_sent(struct nbd_session *s, size_t n);
/* The shell's TLS session stands. */
void nbd_session_secured(struct nbd_session *s);
/* Read no more; @why: static, NULL when it is in order. */
void nbd_session_end(struct nbd_session *s, const char *why);
/* The handshake has lasted too long. */
bool nbd_session_expired(const struct nbd_session *s, uint64_t now_ns);
/* Ended, and nothing is in flight. */
bool nbd_session_idle(struct nbd_session *s);

/* --- between its files ------------------------------------------------------------------------ */

/* handshake.c: one option, complete, or what there is of a refused one. */
void nbd_option(struct nbd_session *s, uint32_t option, const uint8_t *data, uint32_t n);
void nbd_option_reply(struct nbd_session *s, uint32_t option, uint32_t type, const void *data,
		      uint32_t n);

/* requests.c: the fields of a slot are those of a header; its payload comes next, or is to be skipped. */
void nbd_request_check(struct nbd_session *s, struct nbd_slot *slot);
/* All of it is here. */
void nbd_request_start(struct nbd_session *s, struct nbd_slot *slot);
/* The disk is done: make the reply. */
void nbd_request_reply(struct nbd_session *s, struct nbd_slot *slot);
/* Bytes of memory that a request needs. */
uint32_t nbd_request_bytes(const struct nbd_session *s, const struct nbd_slot *slot);
void nbd_allocation_init(struct nbd_context *context, struct disk *disk);

#endif
