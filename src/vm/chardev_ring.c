/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a port says, and how far each reader is in it: chardev_priv.h draws it. One ring and not a buffer for each
 * reader: the last 64 KiB are there anyway, and a reader more costs a number.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "sys/fd.h"
#include "vm/chardev_priv.h"

/* The oldest byte that somebody the port waits for has not got. Locked. */
static uint64_t slowest(const struct stream *s)
{
	uint64_t min = atomic_load(&s->has_peer) ? s->pos : s->end;

	for (unsigned int k = 0; k < STREAM_WATCHERS; k++) {
		const struct watcher *w = &s->watcher[k];

		if (w->fd >= 0 && !w->is_lagging)
			min = MIN(min, w->pos);
	}
	return min;
}

size_t stream_put(struct stream *s, const uint8_t *buf, size_t n)
{
	size_t at, part;

	mutex_lock(&s->lock);
	n = MIN(n, (size_t)(STREAM_OUT - (s->end - slowest(s))));
	at = s->end % STREAM_OUT;
	part = MIN(n, STREAM_OUT - at);
	memcpy(s->out + at, buf, part);
	memcpy(s->out, buf + part, n - part);
	s->end += n;
	if (!n)
		s->port_waits = true;
	mutex_unlock(&s->lock);
	return n;
}

void stream_tell_port(struct stream *s)
{
	bool tell;

	mutex_lock(&s->lock);
	tell = s->port_waits && s->end - slowest(s) < STREAM_OUT;
	if (tell)
		s->port_waits = false;
	mutex_unlock(&s->lock);
	if (tell && s->cd.writable)
		s->cd.writable(s->cd.port_arg);
}

bool stream_has_output(struct stream *s, const struct watcher *w)
{
	bool has;

	mutex_lock(&s->lock);
	has = (w ? w->pos : s->pos) < s->end;
	mutex_unlock(&s->lock);
	return has;
}

void stream_skip(struct stream *s)
{
	mutex_lock(&s->lock);
	s->pos = s->end;
	mutex_unlock(&s->lock);
	stream_tell_port(s);
}

/*
 * What is next for a reader. A watcher that the port does not wait for may have lost some. What is copied out under the
 * lock cannot be overwritten while it is sent.
 */
static size_t next_chunk(struct stream *s, struct watcher *w, uint8_t *chunk)
{
	uint64_t *pos = w ? &w->pos : &s->pos;
	size_t n, at, part;

	mutex_lock(&s->lock);
	if (s->end - *pos > STREAM_OUT)
		*pos = s->end - STREAM_OUT;
	n = (size_t)MIN(s->end - *pos, (uint64_t)STREAM_CHUNK);
	at = *pos % STREAM_OUT;
	part = MIN(n, STREAM_OUT - at);
	memcpy(chunk, s->out + at, part);
	memcpy(chunk + part, s->out, n - part);
	if (!n && w)
		w->is_lagging = false;
	mutex_unlock(&s->lock);
	return n;
}

ssize_t stream_take(struct stream *s, struct watcher *w)
{
	uint8_t chunk[STREAM_CHUNK];
	size_t n = next_chunk(s, w, chunk);
	ssize_t r;

	if (!n)
		return 0;
	if (w)
		r = send(w->fd, chunk, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		r = write(s->out_fd, chunk, n);
	if (r < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	mutex_lock(&s->lock);
	if (w)
		w->pos += (uint64_t)r;
	else
		s->pos += (uint64_t)r;
	mutex_unlock(&s->lock);
	stream_tell_port(s);
	return r;
}

/* --- watchers -------------------------------------------------------------------------------------------- */

int watcher_add(struct stream *s, int fd)
{
	int r = -EBUSY;

	mutex_lock(&s->lock);
	for (unsigned int k = 0; k < STREAM_WATCHERS; k++) {
		struct watcher *w = &s->watcher[k];

		if (w->fd >= 0)
			continue;
		/* The port does not wait for those who read of the past. */
		*w = (struct watcher){ .fd = fd,
				       .pos = s->end > STREAM_OUT ? s->end - STREAM_OUT : 0,
				       .is_lagging = true };
		r = 0;
		break;
	}
	mutex_unlock(&s->lock);
	return r;
}

void watcher_drop(struct stream *s, struct watcher *w)
{
	int fd;

	mutex_lock(&s->lock);
	fd = w->fd;
	w->fd = -EBADF;
	mutex_unlock(&s->lock);
	fd_closep(&fd);
	stream_tell_port(s);
}

int watcher_be_patient(struct stream *s, struct watcher *w, ssize_t took)
{
	uint64_t now, limit = WATCHER_PATIENCE_MS * NS_PER_MS;

	if (took > 0 || w->is_lagging || !stream_has_output(s, w)) {
		w->blocked_ns = 0;
		return -1;
	}
	now = clock_now(clock_real());
	if (!w->blocked_ns)
		w->blocked_ns = now;
	if (now - w->blocked_ns < limit)
		return (int)((limit - (now - w->blocked_ns)) / NS_PER_MS) + 1;
	mutex_lock(&s->lock);
	w->is_lagging = true;
	mutex_unlock(&s->lock);
	w->blocked_ns = 0;
	stream_tell_port(s);
	return -1;
}
