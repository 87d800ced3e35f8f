/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The clipboard's part of SPICE's agent protocol. spice-vdagent is in every distribution and made for other viewers than
 * ours, so this is what makes our machine look like theirs.
 *
 *	chunk:    port (4 bytes), length (4); then so many bytes of a message, or a part of them
 *	message:  protocol (4), type (4), opaque (8), length (4); then its body
 *
 * Who has something in its clipboard says GRAB with the types that it could give; when somebody pastes, the other side asks by
 * REQUEST, and CLIPBOARD is the answer, one for each. VNC has no such request (its plain form, at least), so the guest is asked at once,
 * while a viewer's text waits here until somebody in the guest wants it.
 *
 * What a guest may ask for again and again is a flag or a count with a limit, never a queue. A message that is too long or of no
 * interest is read over.
 */
#include "vm/agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "display/cut_text.h"

/* clang-format off */
enum {
	/* VDIChunkHeader; ports. */
	C_PORT = 0, C_SIZE = 4,
	PORT_CLIENT = 1,
	CHUNK_MAX = 2048, /* VD_AGENT_MAX_DATA_SIZE: of what the guest gets; its own may be of any length */

	/* VDAgentMessage. */
	M_PROTOCOL = 0, M_TYPE = 4, M_SIZE = 16,
	PROTOCOL = 1,

	CLIPBOARD = 4, ANNOUNCE = 6, GRAB = 7, REQUEST = 8, MAX_CLIPBOARD = 14,

	/* VD_AGENT_CAP_... */
	CAP_BY_DEMAND = 5, CAP_SELECTION = 6, CAP_CRLF = 9, CAP_MAX_CLIPBOARD = 10,

	/* Which of X's clipboards; the first four bytes of messages about them when both sides know it. */
	SELECTION_CLIPBOARD = 0, SELECTION_LEN = 4,

	TYPE_NONE = 0, TYPE_UTF8 = 1,

	WANTED_MAX = 16,
};
/* clang-format on */

static bool guest_can(const struct agent *a, unsigned int cap)
{
	return a->is_known && (a->caps >> cap & 1);
}

static void drop_text(char **p, size_t *n)
{
	free(*p);
	*p = NULL;
	*n = 0;
}

/* --- what the guest says -------------------------------------------------------------------------------------- */

static void free_body(struct agent *a)
{
	if (a->body != a->small)
		free(a->body);
	a->body = NULL;
	a->body_n = a->body_max = 0;
}

static void lose(struct agent *a)
{
	a->is_lost = true;
	a->nr_lost++;
	free_body(a);
}

static void heard_announce(struct agent *a, const uint8_t *p, uint32_t n)
{
	if (n < 8)
		return;
	a->says_caps = a->says_caps || get_le32(p);
	a->caps = get_le32(p + 4);
	a->is_known = true;
	a->says_max = guest_can(a, CAP_MAX_CLIPBOARD);
	a->says_grab = a->offered != NULL;
}

static void heard_grab(struct agent *a, const uint8_t *p, uint32_t n)
{
	/* What the host's side had is gone; an answer that is under way is not. */
	drop_text(&a->offered, &a->offered_n);
	a->says_grab = false;
	for (uint32_t at = 0; at + 4 <= n; at += 4)
		a->asks_text = a->asks_text || get_le32(p + at) == TYPE_UTF8;
}

static void heard_text(struct agent *a, const uint8_t *p, uint32_t n)
{
	struct strbuf plain = { 0 };

	if (!a->nr_asked)
		return; /* nobody asked */
	a->nr_asked--;
	if (n < 4 || get_le32(p) != TYPE_UTF8)
		return;
	cut_text_plain((struct str){ (const char *)p + 4, n - 4 }, &plain);
	if (plain.n > AGENT_TEXT_MAX) {
		a->nr_too_long++;
		strbuf_done(&plain);
		return;
	}
	free(a->copied);
	a->copied_n = plain.n;
	a->copied = strbuf_take(&plain);
}

/* A whole message, or its beginning if that is enough. */
static void heard(struct agent *a)
{
	uint32_t type = get_le32(a->msg + M_TYPE), n = a->body_n, skip = 0;

	if (type == ANNOUNCE) {
		heard_announce(a, a->body, n);
		return;
	}
	if (type != GRAB && type != REQUEST && type != CLIPBOARD)
		return;
	if (guest_can(a, CAP_SELECTION)) {
		/* The middle mouse button's selection is not for viewers. */
		if (n < SELECTION_LEN || a->body[0] != SELECTION_CLIPBOARD)
			return;
		skip = SELECTION_LEN;
	}
	if (type == GRAB)
		heard_grab(a, a->body + skip, n - skip);
	else if (type == CLIPBOARD)
		heard_text(a, a->body + skip, n - skip);
	else if (a->nr_wanted < WANTED_MAX)
		a->nr_wanted++;
}

/* A message's header is there: how much of what follows is kept? */
static void begin_body(struct agent *a)
{
	uint32_t size = get_le32(a->msg + M_SIZE);
	void *text;

	a->is_read_over = false;
	if (get_le32(a->msg + M_PROTOCOL) != PROTOCOL) {
		lose(a);
		return;
	}
	a->msg_left = size;
	a->body = a->small;
	a->body_n = 0;
	a->body_max = MIN(size, (uint32_t)AGENT_SMALL);
	if (size <= AGENT_SMALL || get_le32(a->msg + M_TYPE) != CLIPBOARD || !a->nr_asked)
		return;
	if (mem_try(&text, size, AGENT_TEXT_MAX + SELECTION_LEN + 4) == 0) {
		a->body = text;
		a->body_max = size;
	} else {
		a->is_read_over = true;
		a->nr_asked--;
		a->nr_too_long++;
	}
}

static void end_body(struct agent *a)
{
	if (!a->is_read_over)
		heard(a);
	free_body(a);
	a->msg_n = 0;
}

/* Up to @want bytes of a header; returns how many bytes were used. */
static uint32_t collect(uint8_t *head, uint32_t *have, uint32_t want, const uint8_t *buf,
			uint32_t n)
{
	n = MIN(n, want - *have);
	memcpy(head + *have, buf, n);
	*have += n;
	return n;
}

/* Bytes of messages, @n > 0. Returns how many were used. */
static uint32_t heard_part(struct agent *a, const uint8_t *buf, uint32_t n)
{
	if (a->msg_n < AGENT_MSG_HEAD) {
		n = collect(a->msg, &a->msg_n, AGENT_MSG_HEAD, buf, n);
		if (a->msg_n < AGENT_MSG_HEAD)
			return n;
		begin_body(a);
	} else {
		uint32_t keep;

		n = MIN(n, a->msg_left);
		keep = MIN(n, a->body_max - a->body_n);
		memcpy(a->body + a->body_n, buf, keep);
		a->body_n += keep;
		a->msg_left -= n;
	}
	if (!a->msg_left && !a->is_lost)
		end_body(a);
	return n;
}

static void begin_chunk(struct agent *a)
{
	a->chunk_left = get_le32(a->chunk + C_SIZE);
	a->is_skipped = get_le32(a->chunk + C_PORT) != PORT_CLIENT;
	a->chunk_n = 0;
}

void agent_heard(struct agent *a, const uint8_t *buf, size_t n)
{
	while (n && a->is_open && !a->is_lost) {
		uint32_t part = (uint32_t)MIN(n, (size_t)UINT32_MAX);

		if (!a->chunk_left) {
			part = collect(a->chunk, &a->chunk_n, AGENT_CHUNK_HEAD, buf, part);
			if (a->chunk_n == AGENT_CHUNK_HEAD)
				begin_chunk(a);
		} else {
			part = MIN(part, a->chunk_left);
			if (!a->is_skipped)
				part = heard_part(a, buf, part);
			a->chunk_left -= part;
		}
		buf += part;
		n -= part;
	}
}

/* --- what the guest is told ----------------------------------------------------------------------------------- */

/* A message of @body bytes, of which @here are in a->out and the rest is a->sending. Returns where the first go. */
static uint8_t *begin_message(struct agent *a, uint32_t type, uint32_t here, size_t behind)
{
	uint8_t *p = a->out;
	size_t part = MIN(behind, (size_t)(CHUNK_MAX - AGENT_MSG_HEAD - here));

	memset(p, 0, sizeof(a->out));
	put_le32(p + C_PORT, PORT_CLIENT);
	put_le32(p + C_SIZE, AGENT_MSG_HEAD + here + (uint32_t)part);
	p += AGENT_CHUNK_HEAD;
	put_le32(p + M_PROTOCOL, PROTOCOL);
	put_le32(p + M_TYPE, type);
	put_le32(p + M_SIZE, here + (uint32_t)behind);
	a->out_off = 0;
	a->out_n = AGENT_CHUNK_HEAD + AGENT_MSG_HEAD + here;
	a->sending_part = part;
	return p + AGENT_MSG_HEAD;
}

/* As begin_message(), about the clipboard: behind its selection. */
static uint8_t *begin_clipboard(struct agent *a, uint32_t type, size_t behind)
{
	uint32_t skip = guest_can(a, CAP_SELECTION) ? SELECTION_LEN : 0;

	return begin_message(a, type, skip + 4, behind) + skip; /* the selection is 0 */
}

static void begin_caps(struct agent *a)
{
	uint8_t *p = begin_message(a, ANNOUNCE, 8, 0);

	put_le32(p, a->asks_caps);
	put_le32(p + 4, 1u << CAP_BY_DEMAND | 1u << CAP_SELECTION | 1u << CAP_MAX_CLIPBOARD);
	a->says_caps = a->asks_caps = false;
}

static void begin_answer(struct agent *a)
{
	struct strbuf text = { 0 };

	a->nr_wanted--;
	if (!a->offered) {
		put_le32(begin_clipboard(a, CLIPBOARD, 0), TYPE_NONE);
		return;
	}
	if (guest_can(a, CAP_CRLF))
		cut_text_crlf((struct str){ a->offered, a->offered_n }, &text);
	else
		strbuf_add(&text, a->offered, a->offered_n);
	a->sending_n = text.n;
	a->sending_off = 0;
	a->sending = strbuf_take(&text);
	put_le32(begin_clipboard(a, CLIPBOARD, a->sending_n), TYPE_UTF8);
}

/* What is next in a->out. Returns false when there is nothing to say. */
static bool begin_next(struct agent *a)
{
	if (a->sending_off < a->sending_n) {
		/* The next chunk of a text. */
		a->sending_part = MIN(a->sending_n - a->sending_off, (size_t)CHUNK_MAX);
		put_le32(a->out + C_PORT, PORT_CLIENT);
		put_le32(a->out + C_SIZE, (uint32_t)a->sending_part);
		a->out_off = 0;
		a->out_n = AGENT_CHUNK_HEAD;
		return true;
	}
	drop_text(&a->sending, &a->sending_n);
	a->sending_off = 0;
	if (a->says_caps || a->asks_caps) {
		begin_caps(a);
	} else if (!a->is_known) {
		return false;
	} else if (a->says_max) {
		put_le32(begin_message(a, MAX_CLIPBOARD, 4, 0), AGENT_TEXT_MAX);
		a->says_max = false;
	} else if (a->says_grab && guest_can(a, CAP_BY_DEMAND)) {
		put_le32(begin_clipboard(a, GRAB, 0), TYPE_UTF8);
		a->says_grab = false;
	} else if (a->asks_text) {
		put_le32(begin_clipboard(a, REQUEST, 0), TYPE_UTF8);
		a->asks_text = false;
		a->nr_asked++;
	} else if (a->nr_wanted) {
		begin_answer(a);
	} else {
		return false;
	}
	return true;
}

bool agent_has_say(const struct agent *a)
{
	bool has_more = a->says_max || (a->says_grab && guest_can(a, CAP_BY_DEMAND)) ||
			a->asks_text || a->nr_wanted;

	return a->is_open && (a->out_off < a->out_n || a->sending_off < a->sending_n ||
			      a->says_caps || a->asks_caps || (a->is_known && has_more));
}

size_t agent_say(struct agent *a, uint8_t *buf, size_t n)
{
	size_t done = 0;

	while (a->is_open && done < n) {
		size_t part;

		if (a->out_off == a->out_n && !a->sending_part && !begin_next(a))
			break;
		if (a->out_off < a->out_n) {
			part = MIN(n - done, (size_t)(a->out_n - a->out_off));
			memcpy(buf + done, a->out + a->out_off, part);
			a->out_off += (uint32_t)part;
		} else {
			part = MIN(n - done, a->sending_part);
			memcpy(buf + done, a->sending + a->sending_off, part);
			a->sending_off += part;
			a->sending_part -= part;
		}
		done += part;
	}
	return done;
}

/* --- the host's side ------------------------------------------------------------------------------------------ */

void agent_opened(struct agent *a, bool is_open)
{
	free_body(a);
	drop_text(&a->sending, &a->sending_n);
	a->sending_off = a->sending_part = 0;
	a->out_n = a->out_off = 0;
	a->chunk_n = a->msg_n = a->chunk_left = a->msg_left = 0;
	a->nr_asked = a->nr_wanted = 0;
	a->is_lost = a->is_known = false;
	a->says_caps = a->says_max = a->says_grab = a->asks_text = false;
	a->asks_caps = a->is_open = is_open;
	a->caps = 0;
}

void agent_done(struct agent *a)
{
	agent_opened(a, false);
	drop_text(&a->offered, &a->offered_n);
	drop_text(&a->copied, &a->copied_n);
}

int agent_offer(struct agent *a, struct str text)
{
	char *copy;
	int r;

	if (text.n > AGENT_TEXT_MAX) {
		a->nr_too_long++;
		return -E2BIG;
	}
	r = mem_try(&copy, text.n + 1, AGENT_TEXT_MAX + 1);
	if (r < 0)
		return r;
	if (text.n)
		memcpy(copy, text.p, text.n);
	free(a->offered);
	a->offered = copy;
	a->offered_n = text.n;
	a->says_grab = true;
	return 0;
}

char *agent_take(struct agent *a, size_t *ret_n)
{
	*ret_n = a->copied_n;
	a->copied_n = 0;
	return take_ptr(&a->copied);
}
