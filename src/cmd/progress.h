/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_PROGRESS_H
#define ATOLL_CMD_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* A bar on standard error that says how far long work is. Nothing is shown where nobody looks (no terminal). */
struct progress {
	bool on;
	uint64_t last_ns;
	const char *text; /* what was shown last */
};

/* progress_begin - @wanted: also without a terminal. Thread: the first. */
void progress_begin(struct progress *p, bool wanted);

/*
 * progress_show - draw the bar; a few times a second at most, but always when it is full or the text is another.
 *
 * @text:  behind the bar, at most 40 columns are shown; or NULL. Kept until the next call
 * Thread: one at a time.
 */
void progress_show(struct progress *p, uint64_t done, uint64_t total, const char *text);

/* progress_end - leave the bar's line. Thread: the first. */
void progress_end(struct progress *p);

#endif
