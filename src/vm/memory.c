// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest memory. One memfd holds RAM and ROMs, so that another process (a device back end, the receiving
 * side of a live update) can map the same bytes, and a snapshot is a file already. Pages are reserved,
 * not allocated: a machine costs what its guest touches.
 *
 * Dirty logging must not cost running guests anything while it is off, and little while it is on: a
 * page's flag byte, which every writer looks at anyway, sends the first write after a fetch here.
 *
 *	flag set  --guest writes--> flag cleared, then bit set  --fetch: bit taken, flag set--> ...
 *
 * The flag is cleared before the bit is set. The other way round, a fetch in between would take the bit
 * and set the flag, and our late clearing would hide all later writes.
 */
#include "vm/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/checked.h"
#include "sys/fd.h"

#define VIDEO_HOLE     UINT64_C(0xa0000)
#define VIDEO_HOLE_END UINT64_C(0xc0000)
#define ROM_MAX	       (UINT64_C(256) << 20)
#define PHYS_LIMIT     (UINT64_C(1) << 46) /* no region ends beyond what a CPU model can address */

/* Flags for one region; pages of zeros until they are used. */
static _Atomic uint8_t *flags_new(uint64_t size)
{
	void *p = mmap(NULL, size >> GUEST_PAGE_SHIFT, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int region_add(struct memory *m, uint64_t gpa, uint64_t size, uint8_t *hva, bool is_rom,
		      struct err *err)
{
	struct physmem *p = &m->phys;
	_Atomic uint8_t *flags;
	unsigned int at;

	for (at = 0; at < p->nr && p->region[at].gpa < gpa; at++)
		;
	for (unsigned int k = 0; k < p->nr; k++)
		if (range_overlap(p->region[k].gpa, p->region[k].size, gpa, size))
			return err_set(err, -EEXIST, "memory at 0x%llx is there already",
				       (unsigned long long)gpa);
	if (p->nr + p->nr_windows == PHYSMEM_MAX_REGIONS)
		return err_set(err, -ENOSPC, "more than %d memory regions", PHYSMEM_MAX_REGIONS);
	flags = flags_new(size);
	if (!flags)
		return err_set(err, -ENOMEM, "no memory for the page flags of guest memory");
	memmove(&p->region[at + 1], &p->region[at],
		(p->nr + p->nr_windows - at) * sizeof(p->region[0]));
	p->region[at] = (struct physmem_region){
		.gpa = gpa, .size = size, .hva = hva, .is_rom = is_rom, .page_flags = flags
	};
	p->nr++;
	return 0;
}

/* What a flagged page's write does: the log's part, then the engine's. */
static void written(void *arg, const struct physmem_region *r, uint64_t off, uint64_t len,
		    uint8_t flags)
{
	struct memory *m = arg;
	_Atomic uint64_t *dirty = m->dirty;

	if ((flags & PAGE_F_LOG) && dirty && !r->is_rom) {
		uint64_t first = off >> GUEST_PAGE_SHIFT,
			 last = (off + len - 1) >> GUEST_PAGE_SHIFT;
		uint64_t base = (uint64_t)(r->hva - m->map) >> GUEST_PAGE_SHIFT;

		for (uint64_t p = first; p <= last; p++) {
			if (!(atomic_fetch_and(&r->page_flags[p], (uint8_t)~PAGE_F_LOG) &
			      PAGE_F_LOG))
				continue;
			atomic_fetch_or(&dirty[(base + p) / 64], UINT64_C(1) << ((base + p) & 63));
		}
	}
	if ((flags & ~PAGE_F_LOG) && m->engine_written)
		m->engine_written(m->engine_arg, r, off, len, flags);
}

int memory_init(struct memory *m, uint64_t ram_bytes, struct err *err)
{
	uint64_t low = MIN(ram_bytes, MEMORY_LOW_LIMIT), high = ram_bytes - low;
	uint64_t all = ram_bytes + MEMORY_WINDOW_SPACE;
	void *map;
	int r = 0;

	*m = (struct memory){ .fd = -1 };
	if (ram_bytes < MEMORY_MIN || ram_bytes > MEMORY_MAX || (ram_bytes & GUEST_PAGE_MASK))
		return err_set(
			err, -EINVAL,
			"%llu bytes of memory: whole 4 KiB pages from 2 MiB to 512 GiB are possible",
			(unsigned long long)ram_bytes);
	m->fd = memfd_create("guest-ram", MFD_CLOEXEC);
	if (m->fd < 0)
		return err_set_errno(err, "guest memory");
	if (ftruncate(m->fd, (off_t)all) < 0) {
		r = err_set_errno(err, "guest memory of %llu bytes", (unsigned long long)ram_bytes);
		goto fail;
	}
	map = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->fd, 0);
	if (map == MAP_FAILED) {
		r = err_set_errno(err, "map guest memory of %llu bytes",
				  (unsigned long long)ram_bytes);
		goto fail;
	}
	m->map = map;
	m->ram_bytes = ram_bytes;
	m->low_end = low;
	m->high_end = MEMORY_HIGH_BASE + high;
	m->phys.written = written;
	m->phys.written_arg = m;
	/* The kernel merges what it can into huge pages where it is configured to; no matter if not. */
	(void)madvise(map, all, MADV_HUGEPAGE);
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);

	r = region_add(m, 0, VIDEO_HOLE, m->map, false, err);
	if (r == 0)
		r = region_add(m, VIDEO_HOLE_END, low - VIDEO_HOLE_END, m->map + VIDEO_HOLE_END,
			       false, err);
	if (r == 0 && high)
		r = region_add(m, MEMORY_HIGH_BASE, high, m->map + low, false, err);
	if (r == 0)
		return 0;
fail:
	memory_done(m);
	return r;
}

void memory_done(struct memory *m)
{
	struct physmem *p = &m->phys;

	for (unsigned int k = 0; k < p->nr_windows; k++)
		munmap((void *)p->region[p->nr + k].page_flags,
		       m->window[k].size >> GUEST_PAGE_SHIFT);
	for (unsigned int k = 0; k < p->nr; k++) {
		/* Neither fails for what we mapped ourselves. */
		munmap((void *)p->region[k].page_flags, p->region[k].size >> GUEST_PAGE_SHIFT);
		if (p->region[k].is_rom)
			munmap(p->region[k].hva, p->region[k].size);
	}
	if (m->map)
		munmap(m->map, m->ram_bytes + MEMORY_WINDOW_SPACE);
	if (m->fd >= 0)
		close(m->fd);
	free((void *)m->dirty);
	*m = (struct memory){ .fd = -1 };
}

int memory_add_rom(struct memory *m, uint64_t gpa, const void *data, uint64_t size, struct err *err)
{
	uint64_t end, whole = align_up(size, GUEST_PAGE_SIZE);
	void *hva;
	int r;

	if (!size || size > ROM_MAX || (gpa & GUEST_PAGE_MASK) || !add_ok(gpa, whole, &end) ||
	    end > PHYS_LIMIT)
		return err_set(err, -EINVAL, "a ROM of %llu bytes cannot be at 0x%llx",
			       (unsigned long long)size, (unsigned long long)gpa);
	hva = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (hva == MAP_FAILED)
		return err_set_errno(err, "memory for a ROM");
	memcpy(hva, data, size);
	r = region_add(m, gpa, whole, hva, true, err);
	if (r < 0)
		munmap(hva, whole);
	return r;
}

int memory_add_window(struct memory *m, uint64_t size, struct memory_window **ret, struct err *err)
{
	struct physmem *p = &m->phys;
	uint64_t used = m->ram_bytes;
	struct memory_window *w;
	_Atomic uint8_t *flags;

	for (unsigned int k = 0; k < p->nr_windows; k++)
		used += m->window[k].size;
	if (p->nr_windows == MEMORY_MAX_WINDOWS || p->nr + p->nr_windows == PHYSMEM_MAX_REGIONS ||
	    size > m->ram_bytes + MEMORY_WINDOW_SPACE - used)
		return err_set(err, -ENOSPC, "no room for device memory of %llu bytes",
			       (unsigned long long)size);
	flags = flags_new(size);
	if (!flags)
		return err_set(err, -ENOMEM, "no memory for the page flags of device memory");
	w = &m->window[p->nr_windows];
	*w = (struct memory_window){ .hva = m->map + used, .size = size, .wanted = MEMORY_NOWHERE };
	p->region[p->nr + p->nr_windows++] =
		(struct physmem_region){ .hva = w->hva, .page_flags = flags };
	*ret = w;
	return 0;
}

void memory_move_windows(struct memory *m)
{
	struct physmem *p = &m->phys;

	for (unsigned int k = 0; k < p->nr_windows; k++) {
		uint64_t wanted = atomic_load(&m->window[k].wanted);
		struct physmem_region *r = &p->region[p->nr + k];
		bool is_free = wanted != MEMORY_NOWHERE;

		/* RAM comes first; the guest that puts a window over it does not see the window. */
		for (unsigned int n = 0; is_free && n < p->nr; n++)
			is_free = !range_overlap(p->region[n].gpa, p->region[n].size, wanted,
						 m->window[k].size);
		r->gpa = is_free ? wanted : 0;
		r->size = is_free ? m->window[k].size : 0;
	}
}

void memory_attach_engine(struct memory *m)
{
	if (m->phys.written == written && m->phys.written_arg == m)
		return;
	m->engine_written = m->phys.written;
	m->engine_arg = m->phys.written_arg;
	m->phys.written = written;
	m->phys.written_arg = m;
}

void memory_detach_engine(struct memory *m)
{
	m->phys.flagged = NULL;
	m->engine_written = NULL;
	m->engine_arg = NULL;
	m->phys.written = written;
	m->phys.written_arg = m;
}

/* After this, every writer that runs has seen the flags set before, or its store is visible to us. */
static void flags_visible(const struct memory *m)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) < 0)
		(void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	if (m->phys.flagged)
		m->phys.flagged(m->phys.flagged_arg);
}

static void flag_page(struct memory *m, uint64_t page)
{
	const struct physmem_region *r;
	uint64_t off = page << GUEST_PAGE_SHIFT;

	for (unsigned int k = 0; k < m->phys.nr; k++) {
		r = &m->phys.region[k];
		if (r->is_rom)
			continue;
		if (off - (uint64_t)(r->hva - m->map) < r->size) {
			off -= (uint64_t)(r->hva - m->map);
			atomic_fetch_or(&r->page_flags[off >> GUEST_PAGE_SHIFT], PAGE_F_LOG);
			return;
		}
	}
}

int memory_log_start(struct memory *m)
{
	_Atomic uint64_t *dirty;
	int r;

	if (m->dirty)
		return -EBUSY;
	m->dirty_words = ((m->ram_bytes >> GUEST_PAGE_SHIFT) + 63) / 64;
	dirty = calloc(m->dirty_words, sizeof(*dirty));
	if (!dirty)
		return -ENOMEM;
	m->dirty = dirty;
	for (uint64_t p = 0; p < m->ram_bytes >> GUEST_PAGE_SHIFT; p++)
		flag_page(m, p);
	flags_visible(m);
	m->phys.is_logged = true;
	r = m->phys.log_changed ? m->phys.log_changed(m->phys.log_arg) : 0;
	if (r < 0)
		memory_log_stop(m);
	return r;
}

void memory_log_stop(struct memory *m)
{
	struct physmem *p = &m->phys;

	if (!m->dirty)
		return;
	m->phys.is_logged = false;
	if (m->phys.log_changed)
		(void)m->phys.log_changed(m->phys.log_arg); /* logging for nobody harms nobody */
	for (unsigned int k = 0; k < p->nr; k++)
		for (uint64_t n = 0; n < p->region[k].size >> GUEST_PAGE_SHIFT; n++)
			atomic_fetch_and(&p->region[k].page_flags[n], (uint8_t)~PAGE_F_LOG);
	free((void *)m->dirty);
	m->dirty = NULL;
	m->dirty_words = 0;
}

uint64_t memory_log_fetch(struct memory *m, uint64_t *ret)
{
	uint64_t n = 0;

	if (m->phys.log_collect)
		m->phys.log_collect(m->phys.log_arg);
	for (uint64_t w = 0; w < m->dirty_words; w++) {
		uint64_t bits = atomic_exchange(&m->dirty[w], 0);

		ret[w] = bits;
		n += (uint64_t)__builtin_popcountll(bits);
		for (; bits; bits &= bits - 1)
			flag_page(m, w * 64 + (uint64_t)__builtin_ctzll(bits));
	}
	flags_visible(m);
	return n;
}

/* --- contents of a file ---------------------------------------------------------------------------- */

int memory_map_file(struct memory *m, int fd, uint64_t off, struct err *err)
{
	int r = memory_map_part(m, fd, off, 0, memory_bytes(m), err);

	if (r < 0)
		return r;
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
	return 0;
}

int memory_map_part(struct memory *m, int fd, uint64_t off, uint64_t at, uint64_t len,
		    struct err *err)
{
	if (mmap(m->map + at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
		 fd, (off_t)off) == MAP_FAILED)
		return err_set_errno(err, "map guest memory from a file");
	if (m->is_merged && at < m->ram_bytes)
		ignore_result(madvise(m->map + at, MIN(len, m->ram_bytes - at),
				      MADV_MERGEABLE)); /* as before */
	return 0;
}

/* Private zeros at these addresses, whatever was there. Returns 0 or a negative errno. */
static int map_zeros(const struct memory *m, uint8_t *p, uint64_t len)
{
	if (mmap(p, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		return -errno;
	/* And with the same wishes, or each hole would stay a mapping of its own. */
	return m->is_merged && madvise(p, len, MADV_MERGEABLE) < 0 ? -errno : 0;
}

int memory_merge(struct memory *m, struct err *err)
{
	int r;

	m->is_merged = true;
	r = map_zeros(m, m->map, m->ram_bytes);
	if (r == -EINVAL)
		return err_set(err, -EOPNOTSUPP,
			       "this host's kernel cannot merge equal pages (it has no KSM)");
	if (r < 0)
		return err_set(err, r, "guest memory to be merged: %s", strerror(-r));
	fd_closep(&m->fd);
	return 0;
}

int memory_clear(struct memory *m, struct err *err)
{
	int r = 0;

	if (m->fd < 0)
		r = map_zeros(m, m->map, m->ram_bytes);
	else if (fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			   (off_t)m->ram_bytes) < 0)
		r = -errno;
	if (r < 0)
		return err_set(err, r, "clearing guest memory: %s", strerror(-r));
	for (unsigned int k = 0; m->dirty && k < m->phys.nr; k++)
		for (uint64_t off = 0; off < m->phys.region[k].size; off += GUEST_PAGE_SIZE)
			physmem_wrote(&m->phys, &m->phys.region[k], off, GUEST_PAGE_SIZE);
	return 0;
}

/* Without a memfd, what is used is what a page table or the file says, and looking at all of it is as good. */
int memory_each_used(const struct memory *m, uint64_t from, uint64_t end,
		     int (*fn)(void *arg, uint64_t off, const uint8_t *p, uint64_t len,
			       struct err *err),
		     void *arg, struct err *err)
{
	uint64_t off = from;
	int r = 0;

	if (m->fd < 0)
		return fn(arg, from, m->map + from, end - from, err);
	while (r == 0 && off < end) {
		off_t data = lseek(m->fd, (off_t)off, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			return 0; /* nothing more */
		hole = data < 0 ? data : lseek(m->fd, data, SEEK_HOLE);
		if (hole < 0)
			return err_set_errno(err, "look what guest memory is used");
		off = MIN((uint64_t)hole, end);
		if ((uint64_t)data < off)
			r = fn(arg, (uint64_t)data, m->map + data, off - (uint64_t)data, err);
	}
	return r;
}

/* --- giving back ----------------------------------------------------------------------------------- */

/* The file loses the pages; our mapping of it stays, so no address that an engine keeps becomes wrong. What is mapped from a
 * snapshot's file cannot be taken out of it: other zeros come in its place. */
static uint64_t release_part(const struct physmem *p, const struct physmem_region *r, uint64_t off,
			     uint64_t len)
{
	uint64_t first = align_up(off, GUEST_PAGE_SIZE),
		 end = align_down(off + len, GUEST_PAGE_SIZE);

	if (r->is_rom || end <= first)
		return 0;
	if (madvise(r->hva + first, end - first, MADV_REMOVE) < 0 &&
	    map_zeros(container_of(p, struct memory, phys), r->hva + first, end - first) < 0)
		return 0;
	for (uint64_t page = first; page < end; page += GUEST_PAGE_SIZE)
		physmem_wrote(p, r, page, GUEST_PAGE_SIZE);
	return end - first;
}

uint64_t memory_release(const struct physmem *p, uint64_t gpa, uint64_t len)
{
	uint64_t done = 0;

	for (unsigned int k = 0; k < p->nr; k++) {
		const struct physmem_region *r = &p->region[k];
		uint64_t from = MAX(gpa, r->gpa), to;

		if (!add_ok(gpa, len, &to))
			return 0;
		to = MIN(to, r->gpa + r->size);
		if (from < to)
			done += release_part(p, r, from - r->gpa, to - from);
	}
	return done;
}

uint64_t memory_release_host(const struct physmem *p, const uint8_t *hva, uint64_t len)
{
	for (unsigned int k = 0; k < p->nr; k++) {
		const struct physmem_region *r = &p->region[k];
		uint64_t off = (uint64_t)(hva - r->hva);

		if (off < r->size && len <= r->size - off)
			return release_part(p, r, off, len);
	}
	return 0;
}

void *memory_ptr(struct memory *m, uint64_t gpa, uint64_t len)
{
	const struct physmem_region *r = physmem_find(&m->phys, gpa);

	if (!r || r->is_rom || !range_ok(gpa - r->gpa, len, r->size))
		return NULL;
	return r->hva + (gpa - r->gpa);
}
