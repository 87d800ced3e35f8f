/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_MEMORY_H
#define VM_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "cpu/physmem.h"

/*
 * The memory of one machine. Guest RAM is one memfd, mapped once; struct physmem shows it to the CPUs:
 *
 *	0        - 0xa0000     RAM
 *	0xa0000  - 0xc0000     not memory: legacy video
 *	0xc0000  - low_end     RAM (BIOS area included: tables for the guest are put there)
 *	low_end  - 4 GiB       not memory: PCI (MMCONFIG from 0xb0000000), APICs, ROMs
 *	4 GiB    - high_end    the rest of the RAM
 *
 * RAM behind the legacy video hole is lost, as on a PC. ROM regions may be added, and windows: memory of a device that
 * CPUs use like RAM, wherever the guest puts it.
 *
 * Dirty logging: the bitmap has one bit a page of the memfd. A page whose PAGE_F_LOG is set is recorded
 * on its next write, and the flag is taken off so that later writes cost nothing; memory_log_fetch()
 * puts it back, and asks an engine that keeps a log of its own (physmem.log_collect). A writer stores before it looks at the flag, and flags are made visible by membarrier.
 */
#define MEMORY_LOW_LIMIT                                                                           \
	UINT64_C(0xb0000000) /* RAM below 4 GiB ends here at most: MMCONFIG follows */
#define MEMORY_HIGH_BASE UINT64_C(0x100000000)
#define MEMORY_MIN	 (UINT64_C(2) << 20)
#define MEMORY_MAX	 (UINT64_C(512) << 30) /* all of it below the CPU models' 40 address bits */

#define MEMORY_WINDOW_SPACE (UINT64_C(32) << 20) /* for all windows together */
#define MEMORY_NOWHERE	    UINT64_MAX
enum { MEMORY_MAX_WINDOWS = 2 };

/* See memory_add_window(). */
struct memory_window {
	uint8_t *hva;
	uint64_t size;		 /* bytes */
	_Atomic uint64_t wanted; /* where the guest wants it; MEMORY_NOWHERE */
};

struct memory {
	struct physmem phys; /* what CPUs and devices use */
	int fd; /* memfd; RAM first, then windows. Negative: see memory_map_file(), memory_merge() */
	bool is_merged; /* see memory_merge() */
	uint8_t *map;	/* all of it */
	uint64_t ram_bytes;
	uint64_t low_end,
		high_end; /* ends of RAM below and above 4 GiB; high_end is 4 GiB if none */

	struct memory_window window[MEMORY_MAX_WINDOWS]; /* phys.nr_windows of them */

	_Atomic uint64_t *dirty; /* one bit a RAM page; NULL: not logging */
	uint64_t dirty_words;

	/* The engine's handler, behind ours. */
	void (*engine_written)(void *arg, const struct physmem_region *r, uint64_t off,
			       uint64_t len, uint8_t flags);
	void *engine_arg;
};

/*
 * memory_init - reserve guest RAM (it costs nothing until it is touched).
 *
 * @ram_bytes: whole pages, MEMORY_MIN to MEMORY_MAX.
 * Returns 0; -EINVAL; -ENOMEM or what memfd_create() and mmap() say. memory_done() undoes it.
 */
_nodiscard_ int memory_init(struct memory *m, uint64_t ram_bytes, struct err *err);
void memory_done(struct memory *m);

/*
 * memory_bytes - RAM and the space of the windows: what memory_map_file() replaces and a snapshot holds.
 */
static inline uint64_t memory_bytes(const struct memory *m)
{
	return m->ram_bytes + MEMORY_WINDOW_SPACE;
}

/*
 * memory_map_file - let the memory have the contents of a file, which are read when they are touched and copied when they
 * are written to, at the same addresses as before.
 *
 * The dirty log must not be running. cpu_group_flush() follows. What is shared with other processes is not any more.
 * @fd:   memory_bytes() from @off on, which nobody changes from now on; may be closed afterwards
 * Returns 0, or what mmap(2) says, and nothing has changed. Thread: owner; every vCPU is paused, and no device writes.
 */
_nodiscard_ int memory_map_file(struct memory *m, int fd, uint64_t off, struct err *err);

/*
 * memory_map_part - the same for [at, at + len) of the memory, when memory_map_file() was called for all of it.
 *
 * @off, @len, @at:  whole pages, within the file and memory_bytes()
 * Returns 0, or what mmap(2) says, and the memory is of no use. Thread: the same.
 */
_nodiscard_ int memory_map_part(struct memory *m, int fd, uint64_t off, uint64_t at, uint64_t len,
				struct err *err);

/*
 * memory_merge - let the host's kernel keep pages once that are equal in this and other processes (KSM), until one of them
 * writes to its own.
 *
 * Only memory that no other process maps can be merged, so it is no memfd any more. Before the machine runs; the contents
 * are lost. The kernel merges only where /sys/kernel/mm/ksm/run is 1, and then it needs minutes.
 * Returns 0; -EOPNOTSUPP (a kernel without KSM); -ENOMEM. Source: ksm.rst of Linux' administrators' guide. Thread: owner.
 */
_nodiscard_ int memory_merge(struct memory *m, struct err *err);

/* memory_clear - all RAM is zeros, and costs nothing; the dirty log has it. Thread: as memory_map_file(). Returns 0 or
 * negative. */
_nodiscard_ int memory_clear(struct memory *m, struct err *err);

/*
 * memory_each_used - call fn(arg, off, p, len, err) for the parts of [from, end) of the memory that may have something else
 * than zeros, in order: whole pages, @p is their place, @off that in all of the memory.
 *
 * @from, @end:  bytes of memory_bytes(), whole pages
 * Ends when it returns other than 0, with that. Returns 0; others of lseek(2). Thread: any; what vCPUs begin to use
 * meanwhile may be left out.
 */
_nodiscard_ int memory_each_used(const struct memory *m, uint64_t from, uint64_t end,
				 int (*fn)(void *arg, uint64_t off, const uint8_t *p, uint64_t len,
					   struct err *err),
				 void *arg, struct err *err);

/*
 * memory_add_rom - put @size bytes of @data at @gpa, readable and not writable by the guest.
 *
 * Fills the last page with zeros. Before the machine runs.
 * Returns 0; -EINVAL (not page aligned, empty, wraps, over 256 MiB); -EEXIST (overlaps); -ENOSPC.
 */
_nodiscard_ int memory_add_rom(struct memory *m, uint64_t gpa, const void *data, uint64_t size,
			       struct err *err);

/*
 * memory_add_window - device memory that is nowhere yet. Not recorded by the dirty log.
 *
 * @size: whole pages. Before the machine runs.
 * @ret:  belongs to @m; its bytes are the device's from now on
 * Returns 0; -ENOSPC (no more windows, or no space for it); -ENOMEM.
 */
_nodiscard_ int memory_add_window(struct memory *m, uint64_t size, struct memory_window **ret,
				  struct err *err);

/* memory_move_windows - put every window where it is wanted. Every vCPU is paused; cpu_group_flush() follows. */
void memory_move_windows(struct memory *m);

/*
 * memory_attach_engine - sit between the CPUs and the write handler that cpu_group_new() installed.
 *
 * To be called after cpu_group_new(); memory_detach_engine() before cpu_group_free(). Engines must
 * report writes through physmem->written, not around it, for the dirty log to be complete.
 */
void memory_attach_engine(struct memory *m);
void memory_detach_engine(struct memory *m);

/*
 * memory_release - give the whole pages of guest RAM in [gpa, gpa + len) back to the host; they read as zeros then.
 *
 * What is not RAM (holes, ROMs, parts of pages) is left as it is. Engines and the dirty log are told.
 * Returns the bytes that were given back. Thread: any.
 */
uint64_t memory_release(const struct physmem *p, uint64_t gpa, uint64_t len);
/* memory_release_host - the same for [hva, hva + len) of one region's host memory. */
uint64_t memory_release_host(const struct physmem *p, const uint8_t *hva, uint64_t len);

/* memory_log_start - begin to record which RAM pages are written. Returns 0, -EBUSY, -ENOMEM, or
 * what the engine says. */
_nodiscard_ int memory_log_start(struct memory *m);
/* memory_log_stop - stop recording; harmless when not started. No vCPU or device may be writing. */
void memory_log_stop(struct memory *m);
/*
 * memory_log_fetch - take the set of pages written since the last call.
 *
 * @ret: m->dirty_words words; bit n is RAM page n (offset n * 4096 in the memfd).
 * What was written before the call is in the page when the call returns; what is written later shows in
 * a later fetch. Returns the number of pages. Thread: one at a time; vCPUs may run.
 */
uint64_t memory_log_fetch(struct memory *m, uint64_t *ret);

/*
 * memory_ptr - host address of guest RAM [gpa, gpa + len) for loaders, or NULL when it is not all RAM
 * of one region. Whoever writes through it while vCPUs exist calls physmem_wrote().
 */
void *memory_ptr(struct memory *m, uint64_t gpa, uint64_t len);

#endif
