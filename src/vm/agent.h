/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_AGENT_H
#define VM_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

/*
 * The host's side of SPICE's guest agent protocol (spice-protocol 0.14, spice/vd_agent.h), as far as it is about a clipboard
 * with text. Bytes in, bytes out; no I/O, no lock. What it allocates are texts: at most one that the guest is sending, one that it
 * has sent, one to be sent and one that is being sent, of AGENT_TEXT_MAX bytes each (the last one of twice as many), and what
display/cut_text.h takes to convert one.
 */
enum { AGENT_TEXT_MAX = 1 << 20 };

/* What the guest's channel is called. */
#define AGENT_PORT "com.redhat.spice.0"

enum {
	AGENT_CHUNK_HEAD = 8,
	AGENT_MSG_HEAD = 20,
	AGENT_SMALL = 64,
};

struct agent {
	bool is_open; /* the guest has its end of the channel */
	bool is_lost; /* what it sends makes no sense: nothing is heard until it opens the channel anew */
	bool is_known; /* it has said what it can, */
	uint32_t caps; /* namely this */
	uint64_t nr_lost, nr_too_long;

	/* What comes: a chunk's header, a message's header, the part of the message that is of interest. */
	uint8_t chunk[AGENT_CHUNK_HEAD], msg[AGENT_MSG_HEAD], small[AGENT_SMALL];
	uint32_t chunk_n, msg_n;
	uint32_t chunk_left, msg_left;
	bool is_skipped;   /* this chunk is for somebody else */
	bool is_read_over; /* this message is a text that is too long */
	uint8_t *body;	   /* small, or a text's */
	uint32_t body_n, body_max;
	unsigned int nr_asked; /* texts that the guest was asked for and has not sent */

	/* What is to be said, by kind; and the message that is being said. */
	bool says_caps, asks_caps, says_max, says_grab, asks_text;
	unsigned int nr_wanted; /* answers that the guest waits for */
	uint8_t out[AGENT_CHUNK_HEAD + AGENT_MSG_HEAD + 16];
	uint32_t out_n, out_off;
	char *sending; /* text behind out */
	size_t sending_n, sending_off, sending_part;

	char *offered; /* of the host's side, for the guest; NULL: none */
	size_t offered_n;
	char *copied; /* by the guest, not taken yet; NULL: none */
	size_t copied_n;
};

/* agent_done - free what a struct agent holds, which began zeroed. */
void agent_done(struct agent *a);

/* agent_opened - the guest has opened its end of the channel, or closed it; or a new one came in the place of an old one. */
void agent_opened(struct agent *a, bool is_open);

/* agent_heard - bytes of the guest's. */
void agent_heard(struct agent *a, const uint8_t *buf, size_t n);

/* agent_say - the next bytes for the guest. Returns how many, up to @n; 0: nothing to say. */
_nodiscard_ size_t agent_say(struct agent *a, uint8_t *buf, size_t n);

/* agent_has_say - whether agent_say() would say something. */
_pure_ bool agent_has_say(const struct agent *a);

/*
 * agent_offer - the clipboard of the host's side has this text from now on, plain as of display/cut_text.h.
 *
 * Returns 0; -E2BIG (over AGENT_TEXT_MAX: the one before stays); -ENOMEM.
 */
_nodiscard_ int agent_offer(struct agent *a, struct str text);

/* agent_take - what the guest has copied last, plain. Returns NULL when that is nothing new; else to be freed with free(). */
_nodiscard_ char *agent_take(struct agent *a, size_t *ret_n);

#endif
