/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_PFLASH_H
#define VM_DEV_PFLASH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * A NOR flash chip with the Intel command set (CFI 01), 8 bits wide, blocks of 4 KiB: where UEFI firmware keeps its
 * variables. What is programmed goes to a file, if there is one.
 */
enum { PFLASH_BLOCK = 4096 };
#define PFLASH_MAX (UINT64_C(16) << 20)

struct pflash {
	pthread_mutex_t lock;
	struct bus *mmio;
	struct bus_range range;
	uint8_t *data; /* the caller's; size bytes */
	uint64_t size;
	int fd;		     /* the caller's; negative: changes are not kept */
	uint8_t cmd, status; /* 0 as command: read array */
	unsigned int cycle;  /* of a command that takes more than one write */
	/* Write to buffer. */
	uint32_t buf_left;
	uint64_t dirty_first, dirty_end; /* not in the file yet; first >= end: nothing */
	bool is_broken;			 /* the file refused a write; said once */
};

/*
 * pflash_init - the chip at @gpa.
 *
 * @data, @size: contents, in the caller's memory; whole blocks, at most PFLASH_MAX
 * @fd:          file with the same contents, open for writing; or negative
 * Uses of @board: mmio. Returns 0; -EINVAL; what bus_add() says.
 */
_nodiscard_ int pflash_init(struct pflash *f, const struct board *board, uint64_t gpa,
			    uint8_t *data, uint64_t size, int fd, struct err *err);
/* pflash_done - writes what is not in the file yet. */
void pflash_done(struct pflash *f);
/* pflash_reset - the reset pin: back to reading; contents stay. */
void pflash_reset(struct pflash *f);

/* pflash_state - what a snapshot keeps of it. */
extern const struct state_desc pflash_state;

/* pflash_replace - the chip has other contents: @data has its size. They go to the file with the next change. Thread: any
 * while the guest does not run. */
void pflash_replace(struct pflash *f, const void *data);

#endif
