/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_SYS_TERM_H
#define ATOLL_SYS_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * The user's terminal while it shows a guest's console. There is one a process.
 */

/*
 * term_raw - every key goes to the guest; undone by term_restore(), which also runs when the process
 * exits or dies by a signal that nobody else handles.
 *
 * @fd: a terminal that stays open
 * Returns 0, or what tcsetattr() says. Thread: the first.
 */
_nodiscard_ int term_raw(int fd, struct err *err);

/* term_restore - the terminal as it was before; harmless when it is not raw. Async-signal-safe. */
void term_restore(void);

/* The keys that are for us, not for the guest: what follows a Ctrl-A. */
enum { ESCAPE_CHAR = 0x01 };
enum escape_action {
	ESCAPE_NONE = 0,
	ESCAPE_LEAVE = 1 << 0, /* Ctrl-A x */
	ESCAPE_HELP = 1 << 1,  /* Ctrl-A h, Ctrl-A ? */
};

struct escape {
	bool seen; /* the last key was Ctrl-A */
};

/*
 * escape_filter - take our keys out of what was typed.
 *
 * Ctrl-A twice, or Ctrl-A a, is one Ctrl-A for the guest; other keys after a Ctrl-A are dropped.
 *
 * @buf: changed in place; @n: bytes, its new length is returned in *ret_n
 * Returns enum escape_action. Thread: owner of @e.
 */
unsigned int escape_filter(struct escape *e, uint8_t *buf, size_t n, size_t *ret_n);

#endif
