/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_CONTROL_PRIV_H
#define VM_CONTROL_PRIV_H

#include "base/str.h"
#include "disk/disk.h"
#include "sys/ipc.h"
#include "vm/control.h"
#include "vm/machine.h"
#include "vm/machine_disk.h"

/* The protocol without a socket, so that it can be tested and fuzzed. */
enum { CONTROL_LINE_MAX = 4096 };

/* What is done to a machine from outside; in the order of the words in control_request.c. */
enum control_power {
	CONTROL_BUTTON,
	CONTROL_OFF,
	CONTROL_RESET,
	CONTROL_PAUSE,
	CONTROL_RESUME,
	CONTROL_NR_POWER,
};

/* A device to be attached: a disk, whose image came as a descriptor when it is a file, and so did what the image names, or
 * a network device whose end, and perhaps capture, did. */
struct attach_request_spec {
	const char *disk;		  /* as of --disk, or NULL: a network device */
	const char *path[DISK_FILES_MAX]; /* of the descriptors behind the image's */
	unsigned int nr_paths;
	uint8_t mac[6];
	unsigned int nr_pairs;
	bool packed, is_tap, has_pcap;
};

/*
 * attach_request_parse - "attach" of vm/control.h. Sans I/O.
 *
 * @nr_fds: descriptors that came with it. Texts belong to @j. Returns 0; -EINVAL. Thread: any.
 */
_nodiscard_ int attach_request_parse(const struct json *j, unsigned int nr_fds,
				     struct attach_request_spec *ret, struct err *err);

/* What requests are answered by. Called on the control thread. All append one JSON value to @out. */
struct control_ops {
	void (*info)(void *arg, struct strbuf *out);
	void (*stats)(void *arg, struct stats_totals *before, bool json, struct strbuf *out);
	int (*count)(void *arg, bool on,
		     struct err *err); /* on and off in turns, for each session */
	int (*trace)(void *arg, const struct cpu_hot_query *query, struct strbuf *out,
		     struct err *err);
	/* Characters, or a picture in base64: in either case text. */
	int (*screen)(void *arg, bool is_text, struct strbuf *out, struct err *err);
	/* @keep_bytes: NULL: only look */
	int (*balloon)(void *arg, const uint64_t *keep_bytes, bool is_text, struct strbuf *out,
		       struct err *err);
	int (*power)(void *arg, enum control_power what, struct strbuf *out, struct err *err);
	/* What the disks are; changes of one. */
	void (*disks)(void *arg, struct strbuf *out);
	int (*disk)(void *arg, const struct disk_request_spec *request, struct err *err);
	/* @n: NULL: only look */
	int (*cpus)(void *arg, const uint64_t *n, struct strbuf *out, struct err *err);
	/* What can be detached; a new device, which takes the descriptors that it wants. */
	void (*devices)(void *arg, struct strbuf *out);
	int (*attach)(void *arg, const struct attach_request_spec *request, struct ipc_fds *fds,
		      struct strbuf *out, struct err *err);
	int (*detach)(void *arg, const char *name, struct err *err);
	/* The whole machine to a file. @fd: taken over. */
	int (*snapshot)(void *arg, const struct machine_save *to, struct strbuf *out,
			struct err *err);
	/* Whether a serial port can be watched. */
	int (*console)(void *arg, unsigned int port, struct err *err);
};

/* One connection. in, in_n: what was received and not served yet; out: what is to be sent. */
struct control_session {
	const struct control_ops *ops;
	void *arg;
	char in[CONTROL_LINE_MAX];
	size_t in_n;
	struct ipc_fds fds; /* received since the last request: the next one's */
	struct strbuf out;
	struct stats_totals before; /* of the previous "stats" */
	bool is_counting;	    /* this connection has switched counting on */
	int console; /* when out is sent, hand the connection to this serial port; negative: no */
};

/* control_session_init - begin a connection. Thread: owner. */
void control_session_init(struct control_session *s, const struct control_ops *ops, void *arg);

/* control_session_done - end it: counting stops when it was switched on here, descriptors are closed. Thread: owner. */
void control_session_done(struct control_session *s);

/*
 * control_session_serve - answer the first complete line of @in, if there is one, and if the previous answer is gone.
 *
 * Returns 1: something was answered; 0: nothing to do; -EMSGSIZE: @in is full of a line without an end. Thread:
 * owner.
 */
_nodiscard_ int control_session_serve(struct control_session *s);

#endif
