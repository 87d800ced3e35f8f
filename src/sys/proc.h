/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_SYS_PROC_H
#define ATOLL_SYS_PROC_H

#include <stdint.h>

#include "base/attr.h"

/*
 * proc_kib - the sum of the lines of a text of /proc (meminfo, smaps_rollup, status) that begin with a word and give kB.
 *
 * @text: terminated. @word: with its colon: "MemAvailable:". Returns bytes; 0 when there is no such line. Source: proc(5).
 * Thread: any.
 */
_pure_ uint64_t proc_kib(const char *text, const char *word);

#endif
