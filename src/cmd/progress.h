/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_PROGRESS_H
#define ATOLL_CMD_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* A bar on standard error that says how far long work is. Nothing is shown where nobody looks (no terminal). */
struct progress {
	bool on;
	bool is_shown;
	uint64_t due_ns; /* not before */
};

/* progress_begin - @wanted: also without a terminal. Thread: the first. */
void progress_begin(struct progress *p, bool wanted);

/*
 * progress_show - draw the bar; a few times a second at most, but always when it is full or due.
 *
 * @text:  behind the bar, at most 40 columns are shown; or NULL
 * Thread: one at a time.
 */
void progress_show(struct progress *p, uint64_t done, uint64_t total, const char *text);

/* progress_due - let the next progress_show() draw, however soon it comes: something new begins. Thread: as that. */
void progress_due(struct progress *p);

/* progress_end - leave the bar's line. Thread: the first. */
void progress_end(struct progress *p);

#endif
