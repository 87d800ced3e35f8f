/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_SHARE_SHARE_H
#define ATOLL_SHARE_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * A folder served by FUSE messages (Linux, include/uapi/linux/fuse.h; protocol 7.31 and later). See README.md.
 * Thread: one at a time.
 */
struct share;

enum {
	SHARE_DATA_MAX = 1 << 20,			/* bytes of one read or write */
	SHARE_MESSAGE_MAX = SHARE_DATA_MAX + (8 << 10), /* of one message, either way */
	SHARE_HEADER = 40,				/* the smallest message from the guest */
	SHARE_ANSWER_HEADER = 16,
};

struct share_config {
	int root_fd; /* the folder, the caller's; O_PATH is enough */
	bool is_readonly;
	bool has_owner; /* files of this process's user are shown as those of the guest's @uid and @gid */
	uid_t uid;
	gid_t gid;
	size_t max_fds; /* descriptors to be used for files; at least 16 */
};

/*
 * share_new - begin to serve a folder. Changes the process's umask to 0.
 *
 * Returns 0; negative errno (not a folder, no /proc). @ret: share_free().
 */
_nodiscard_ int share_new(const struct share_config *cfg, struct share **ret, struct err *err);
void share_free(struct share *s);

/*
 * share_serve - carry out one message.
 *
 * @in, @n:  the message; @n is what its header says it is (share_message_size())
 * @out:     room for SHARE_MESSAGE_MAX bytes
 * Returns the answer's bytes; 0: none is expected.
 */
_nodiscard_ size_t share_serve(struct share *s, const uint8_t *in, size_t n, uint8_t *out);

/*
 * share_message_size - what a message's first four bytes say of its size.
 *
 * Returns bytes; 0: no message has this size.
 */
static inline size_t share_message_size(uint32_t len)
{
	return len >= SHARE_HEADER && len <= SHARE_MESSAGE_MAX ? len : 0;
}

/* share_has_answer - whether a message with this opcode is answered. */
_nodiscard_ bool share_has_answer(uint32_t opcode);

#endif
