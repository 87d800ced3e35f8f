/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_SNAPSHOT_FILE_PRIV_H
#define VM_SNAPSHOT_FILE_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/snapshot/file.h"

static const uint8_t SNAPSHOT_MAGIC[16] = "Atoll snapshot\n";

/* Offsets in the header and in the head of a section; see README.md. */
enum {
	H_MAGIC = 0,
	H_VERSION = 16,
	H_ID = 24,
	H_CREATED = 40,
	H_MEMORY_BYTES = 48,
	H_SUMS_OFF = 56,
	H_SECTIONS_OFF = 64,
	H_SECTIONS_BYTES = 72,
	H_SUMS_SUM = 80,
	H_SECTIONS_SUM = 84,
	H_END = 88, /* of version 1; what follows is version 2's: */
	H_BASE_ID = 88,
	H_BASE_SUM = 104,
	H_END_BASE = 108,
	H_SUM = SNAPSHOT_HEADER - 4,

	S_NAME = 0,
	S_VERSION = SNAPSHOT_NAME,
	S_ZERO = SNAPSHOT_NAME + 2,
	S_BYTES = SNAPSHOT_NAME + 4,
	S_HEADER = SNAPSHOT_NAME + 8,

	SUM_BYTES = 4,	  /* of a page */
	EXTENT_BYTES = 8, /* of a run in section "pages": its first page, how many */
};

/* snapshot_is_zero - whether a page, which is aligned, has only zeros. snapshot_page_sum - its checksum; never 0. */
bool snapshot_is_zero(const uint8_t *page);
uint32_t snapshot_page_sum(const uint8_t *page);

#endif
