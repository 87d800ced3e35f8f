/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One client, without I/O: received bytes become options and requests, answers wait to be sent.
 *
 * Bytes are received into one buffer, many small requests at a time; only what of a payload is not there yet goes
 * straight to where the disk takes it from. Whatever waits for room (a slot, memory, answers that are not
 * read) stays in that buffer, which is the limit on what a client can send ahead.
 */
#include "nbd/session_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "sys/thread.h"

#define DIRECT_MIN 4096 /* a payload of which less is missing comes by way of the buffer */

static uint32_t fast_zero_unit(const struct nbd_export *e)
{
	return e->read_only ? 0 : disk_fast_zero_unit(e->disk);
}

struct nbd_session *nbd_session_new(const struct nbd_export *export, bool needs_tls,
				    uint64_t now_ns, void (*wake)(void *arg), void *arg)
{
	struct nbd_session *s = mem_new(sizeof(*s));
	uint8_t greeting[NBD_GREETING_SIZE];

	assert(export->nr_contexts < NBD_CONTEXTS_MAX);
	s->export = export;
	s->needs_tls = needs_tls;
	s->deadline_ns = now_ns + NBD_HANDSHAKE_S * NS_PER_S;
	s->wake = wake;
	s->arg = arg;
	s->owner = pthread_self();
	s->zero_unit = fast_zero_unit(export);
	nbd_allocation_init(&s->allocation, export->disk);
	s->contexts[s->nr_contexts++] = &s->allocation;
	for (size_t i = 0; i < export->nr_contexts; i++)
		s->contexts[s->nr_contexts++] = &export->contexts[i];
	mutex_init(&s->lock);
	list_init(&s->finished);
	list_init(&s->free);
	list_init(&s->replies);
	s->slots = mem_new_n(NBD_SLOTS, sizeof(*s->slots));
	for (unsigned i = 0; i < NBD_SLOTS; i++) {
		s->slots[i].session = s;
		list_push(&s->free, &s->slots[i].link);
	}
	put_be64(greeting, NBD_MAGIC);
	put_be64(greeting + 8, NBD_OPTION_MAGIC);
	put_be16(greeting + 16, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
	strbuf_add(&s->out, greeting, sizeof(greeting));
	return s;
}

void nbd_session_free(struct nbd_session *s)
{
	if (!s)
		return;
	mutex_lock(&s->lock);
	assert(!s->in_flight);
	mutex_unlock(&s->lock);
	for (unsigned i = 0; i < NBD_SLOTS; i++)
		free(s->slots[i].buf);
	free(s->slots);
	strbuf_done(&s->out);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void nbd_session_end(struct nbd_session *s, const char *why)
{
	if (s->phase == NBD_ENDED)
		return;
	s->phase = NBD_ENDED;
	s->why = why;
	if (s->filling) {
		list_push(&s->free, &s->filling->link);
		s->filling = NULL;
	}
}

bool nbd_session_expired(const struct nbd_session *s, uint64_t now_ns)
{
	return s->phase < NBD_REQUESTS && now_ns >= s->deadline_ns;
}

bool nbd_session_idle(struct nbd_session *s)
{
	mutex_guard(&s->lock);

	return s->phase == NBD_ENDED && !s->in_flight;
}

/* --- memory ----------------------------------------------------------------------------------- */

static void drop_buffer(struct nbd_session *s, struct nbd_slot *slot)
{
	free(slot->buf);
	slot->buf = NULL;
	s->buffers -= slot->cap;
	slot->cap = 0;
}

/* Room for @n bytes. False: others have to end first. A lack of memory is the request's error. */
static bool reserve(struct nbd_session *s, struct nbd_slot *slot, uint32_t n)
{
	struct nbd_slot *other;

	if (n <= slot->cap)
		return true;
	drop_buffer(s, slot);
	if (s->buffers + n > NBD_BUFFERS_MAX)
		list_for_each(other, &s->free, link)
			drop_buffer(s, other);
	if (s->buffers + n > NBD_BUFFERS_MAX)
		return false;
	slot->buf = malloc(n);
	if (!slot->buf) {
		slot->error = NBD_ENOMEM;
		return true;
	}
	slot->cap = n;
	s->buffers += n;
	return true;
}

static void free_slot(struct nbd_session *s, struct nbd_slot *slot)
{
	list_del(&slot->link);
	if (slot->cap > NBD_KEEP_MAX)
		drop_buffer(s, slot);
	/* The one that was used last has its memory in the cache. */
	list_push_front(&s->free, &slot->link);
}

/* --- input ------------------------------------------------------------------------------------ */

static size_t available(const struct nbd_session *s)
{
	return s->in_to - s->in_from;
}

static bool step_flags(struct nbd_session *s)
{
	uint32_t flags;

	if (available(s) < 4)
		return false;
	flags = get_be32(s->in + s->in_from);
	s->in_from += 4;
	s->no_zeroes = flags & NBD_NO_ZEROES;
	if (flags & ~(uint32_t)(NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES))
		nbd_session_end(s, "unknown flags");
	else
		s->phase = NBD_OPTIONS;
	return true;
}

static bool step_skip_option(struct nbd_session *s)
{
	uint64_t n = MIN(s->skip, (uint64_t)available(s));

	s->in_from += n;
	s->skip -= n;
	if (s->skip)
		return false;
	nbd_option_reply(s, s->skipped, NBD_REP_ERR_TOO_BIG, NULL, 0);
	return true;
}

static bool step_option(struct nbd_session *s)
{
	const uint8_t *p = s->in + s->in_from;
	uint32_t option, n;

	if (s->out.n - s->out_sent > NBD_OUT_MAX)
		return false;
	if (s->skip)
		return step_skip_option(s);
	if (available(s) < NBD_OPTION_SIZE)
		return false;
	option = get_be32(p + 8);
	n = get_be32(p + 12);
	if (get_be64(p) != NBD_OPTION_MAGIC || n > NBD_PAYLOAD_MAX) {
		nbd_session_end(s, "not an option");
		return true;
	}
	if (n <= NBD_OPTION_MAX && available(s) < NBD_OPTION_SIZE + n)
		return false;
	if (++s->nr_options > NBD_OPTIONS_MAX) {
		nbd_session_end(s, "too many options");
		return true;
	}
	s->in_from += NBD_OPTION_SIZE;
	if (n > NBD_OPTION_MAX) {
		s->skip = n;
		s->skipped = option;
		return true;
	}
	s->in_from += n;
	nbd_option(s, option, p + NBD_OPTION_SIZE, n);
	/* What was sent ahead came without protection, from anybody. */
	if (s->phase == NBD_TLS && available(s))
		nbd_session_end(s, "data before TLS");
	return true;
}

static void finish_filling(struct nbd_session *s)
{
	struct nbd_slot *slot = take_ptr(&s->filling);

	if (slot->error) {
		nbd_request_reply(s, slot);
		list_push(&s->replies, &slot->link);
	} else {
		nbd_request_start(s, slot);
	}
}

static bool step_request(struct nbd_session *s)
{
	const uint8_t *p = s->in + s->in_from;
	struct nbd_slot *slot;

	if (available(s) < NBD_REQUEST_SIZE || list_empty(&s->free))
		return false;
	if (get_be32(p) != NBD_REQUEST_MAGIC) {
		nbd_session_end(s, "not a request");
		return true;
	}
	slot = list_first(&s->free, struct nbd_slot, link);
	slot->flags = get_be16(p + 4);
	slot->cmd = get_be16(p + 6);
	slot->cookie = get_be64(p + 8);
	slot->off = get_be64(p + 16);
	slot->len = get_be32(p + 24);
	slot->got = 0;
	slot->error = 0;
	slot->status = 0;
	slot->head_bytes = 0;
	slot->body_bytes = 0;
	if (slot->cmd == NBD_CMD_DISC) {
		nbd_session_end(s, NULL);
		return true;
	}
	if (slot->cmd == NBD_CMD_WRITE && slot->len > NBD_PAYLOAD_MAX) {
		nbd_session_end(s, "payload too long");
		return true;
	}
	nbd_request_check(s, slot);
	/* Out of the list, so that its own buffer is not counted as spare. */
	list_del(&slot->link);
	if (!slot->error && !reserve(s, slot, nbd_request_bytes(s, slot))) {
		list_push_front(&s->free, &slot->link);
		return false;
	}
	s->in_from += NBD_REQUEST_SIZE;
	s->filling = slot;
	if (slot->cmd != NBD_CMD_WRITE || !slot->len)
		finish_filling(s);
	return true;
}

static bool step_payload(struct nbd_session *s)
{
	struct nbd_slot *slot = s->filling;
	uint32_t n = (uint32_t)MIN((size_t)(slot->len - slot->got), available(s));

	if (!n)
		return false;
	if (!slot->error)
		memcpy(slot->buf + slot->got, s->in + s->in_from, n);
	s->in_from += n;
	slot->got += n;
	if (slot->got == slot->len)
		finish_filling(s);
	return true;
}

static void run(struct nbd_session *s)
{
	bool more = true;

	while (more) {
		switch (s->phase) {
		case NBD_FLAGS:
			more = step_flags(s);
			break;
		case NBD_OPTIONS:
			more = step_option(s);
			break;
		case NBD_REQUESTS:
			more = s->filling ? step_payload(s) : step_request(s);
			break;
		case NBD_TLS:
		case NBD_ENDED:
			more = false;
			break;
		}
	}
}

/* Part of a payload that can be received where it is wanted. */
static bool is_direct(const struct nbd_session *s)
{
	return s->filling && !s->filling->error && !available(s) &&
	       s->filling->len - s->filling->got >= DIRECT_MIN;
}

uint8_t *nbd_session_room(struct nbd_session *s, size_t *ret_n)
{
	*ret_n = 0;
	if (s->phase == NBD_ENDED || s->phase == NBD_TLS)
		return s->in;
	if (is_direct(s)) {
		*ret_n = s->filling->len - s->filling->got;
		return s->filling->buf + s->filling->got;
	}
	if (s->in_from) {
		memmove(s->in, s->in + s->in_from, available(s));
		s->in_to -= s->in_from;
		s->in_from = 0;
	}
	*ret_n = sizeof(s->in) - s->in_to;
	return s->in + s->in_to;
}

void nbd_session_received(struct nbd_session *s, size_t n)
{
	if (is_direct(s)) {
		s->filling->got += (uint32_t)n;
		if (s->filling->got == s->filling->len)
			finish_filling(s);
	} else {
		s->in_to += n;
		assert(s->in_to <= sizeof(s->in));
	}
	run(s);
}

void nbd_session_secured(struct nbd_session *s)
{
	assert(s->phase == NBD_TLS);
	s->is_secure = true;
	s->structured = false;
	s->selected = 0;
	s->phase = NBD_OPTIONS;
}

/* --- output ----------------------------------------------------------------------------------- */

static void collect(struct nbd_session *s)
{
	struct list done, *l;

	list_init(&done);
	mutex_lock(&s->lock);
	while ((l = list_pop(&s->finished))) {
		list_push(&done, l);
		s->in_flight--;
	}
	mutex_unlock(&s->lock);
	while ((l = list_pop(&done))) {
		nbd_request_reply(s, list_entry(l, struct nbd_slot, link));
		list_push(&s->replies, l);
	}
}

unsigned nbd_session_output(struct nbd_session *s, struct iovec *iov, unsigned max)
{
	size_t skip = s->reply_sent;
	struct nbd_slot *slot;
	unsigned n = 0;

	collect(s);
	if (s->out.n > s->out_sent && n < max)
		iov[n++] = (struct iovec){ s->out.p + s->out_sent, s->out.n - s->out_sent };
	list_for_each(slot, &s->replies, link) {
		if (n + 2 > max)
			break;
		if (skip < slot->head_bytes)
			iov[n++] = (struct iovec){ slot->head + skip, slot->head_bytes - skip };
		skip -= MIN(skip, (size_t)slot->head_bytes);
		if (slot->body_bytes)
			iov[n++] = (struct iovec){ slot->buf + skip, slot->body_bytes - skip };
		skip = 0;
	}
	return n;
}

void nbd_session_sent(struct nbd_session *s, size_t n)
{
	size_t first = MIN(n, s->out.n - s->out_sent);

	s->out_sent += first;
	n -= first;
	if (s->out_sent == s->out.n) {
		strbuf_reset(&s->out);
		s->out_sent = 0;
	}
	s->reply_sent += n;
	while (!list_empty(&s->replies)) {
		struct nbd_slot *slot = list_first(&s->replies, struct nbd_slot, link);

		if (s->reply_sent < slot->head_bytes + slot->body_bytes)
			break;
		s->reply_sent -= slot->head_bytes + slot->body_bytes;
		free_slot(s, slot);
	}
	run(s);
}
