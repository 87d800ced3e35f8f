/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_PHYSMEM_H
#define CPU_PHYSMEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Guest-physical memory as a CPU (or a device doing DMA) sees it behind the MMU: RAM and ROM regions
 * that are plain host memory; everything else is MMIO and goes to the machine's callbacks.
 *
 * The machine (vm/) owns and fills it. The region table changes only while every vCPU is paused, and
 * is followed by cpu_group_flush(): readers therefore take no lock.
 *
 * Every page has one byte of flags. A writer stores first and looks at the flags second; whoever sets a
 * flag makes it visible to all running writers (membarrier) before it relies on it. So the common write
 * costs one byte load, and no write is missed.
 */
#define GUEST_PAGE_SIZE	 UINT64_C(4096)
#define GUEST_PAGE_SHIFT 12
#define GUEST_PAGE_MASK	 UINT64_C(4095)

enum physmem_page_flag {
	PAGE_F_CODE = 1, /* an engine holds decodings or translations of bytes of this page */
	PAGE_F_LOG = 2,	 /* dirty logging: the next write must be recorded */
};

enum { PHYSMEM_MAX_REGIONS = 32 };

struct physmem_region {
	uint64_t gpa;		     /* first guest-physical address; page aligned */
	uint64_t size;		     /* bytes; whole pages; > 0 */
	uint8_t *hva;		     /* host address of the first byte; mapped for all of size */
	bool is_rom;		     /* guest writes go to mmio_write, never to hva */
	_Atomic uint8_t *page_flags; /* size / GUEST_PAGE_SIZE bytes of enum physmem_page_flag */
};

/*
 * Windows are device memory that CPUs use like RAM (a frame buffer), at a place that the guest may change while the
 * machine runs. Only vCPUs look at them, which are paused then: a device's DMA, which may be under way on any thread,
 * does not reach them, nor does a page walk.
 */
struct physmem {
	unsigned int nr;	 /* RAM and ROM regions, sorted by gpa, never overlapping */
	unsigned int nr_windows; /* after them; one of size 0 is nowhere now */
	struct physmem_region region[PHYSMEM_MAX_REGIONS];

	/* Called after a write hit a page whose flags are not 0. Set by cpu_group_new() and the dirty log. */
	void (*written)(void *arg, const struct physmem_region *r, uint64_t off, uint64_t len,
			uint8_t flags);
	void *written_arg;

	/* To be called after flags were set on pages that vCPUs may be writing: returns when nobody writes any more without
	 * looking at them. Set by cpu_group_new(); NULL: no engine does that. Not from a vCPU's thread. */
	void (*flagged)(void *arg);
	void *flagged_arg;

	/*
	 * For an engine whose guests write without a look at the flags; NULL: there is none. Set by cpu_group_new() and
	 * cpu_group_set_engine(). log_changed: is_logged changed; negative errno: the engine cannot follow.
	 * log_collect: calls physmem_wrote() for all that was written since the last call. Both for the one who reads the
	 * log; vCPUs may run.
	 */
	bool is_logged; /* the dirty log wants to know of writes */
	int (*log_changed)(void *arg);
	void (*log_collect)(void *arg);
	void *log_arg;
};

/*
 * physmem_find - the region that holds a guest-physical address.
 *
 * Returns NULL when the address is not RAM or ROM. Thread: any.
 */
static inline const struct physmem_region *physmem_find(const struct physmem *m, uint64_t gpa)
{
	for (unsigned int k = 0; k < m->nr; k++)
		if (gpa - m->region[k].gpa < m->region[k].size)
			return &m->region[k];
	return NULL;
}

/* physmem_find_window - the same for the windows. Thread: a vCPU's. */
static inline const struct physmem_region *physmem_find_window(const struct physmem *m,
							       uint64_t gpa)
{
	for (unsigned int k = m->nr; k < m->nr + m->nr_windows; k++)
		if (gpa - m->region[k].gpa < m->region[k].size)
			return &m->region[k];
	return NULL;
}

/*
 * physmem_read - copy guest-physical bytes out, for devices and loaders.
 *
 * @gpa, @len: any range; may cross regions.
 * Returns 0, or -EFAULT when a byte is not RAM or ROM (then @buf is partly written).
 * Thread: any; concurrent guest writes may tear (as on hardware).
 */
int physmem_read(const struct physmem *m, uint64_t gpa, void *buf, uint64_t len);

/*
 * physmem_write - copy bytes into guest RAM as a device's DMA does, telling engines and the dirty log.
 *
 * Returns 0, or -EFAULT when a byte is not RAM (ROM counts as not RAM; bytes before it are written).
 * Thread: any.
 */
int physmem_write(const struct physmem *m, uint64_t gpa, const void *buf, uint64_t len);

/*
 * physmem_wrote - tell that [off, off + len) of a region was written through its host address.
 *
 * Called after the store; costs one byte load for pages without flags. @off + @len must lie in the
 * region. Thread: any.
 */
static inline void physmem_wrote(const struct physmem *m, const struct physmem_region *r,
				 uint64_t off, uint64_t len)
{
	uint64_t last = (off + len - 1) >> GUEST_PAGE_SHIFT;

	atomic_signal_fence(memory_order_seq_cst); /* the store comes before the look */
	for (uint64_t p = off >> GUEST_PAGE_SHIFT; p <= last; p++) {
		uint8_t f = atomic_load_explicit(&r->page_flags[p], memory_order_relaxed);

		if (__builtin_expect(f != 0, 0))
			m->written(m->written_arg, r, off, len, f);
	}
}

#endif
