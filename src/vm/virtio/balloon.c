/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The balloon. A page that the guest gives is taken out of its memory's file (memory_release()), so the host has it
 * again; when the guest touches it later, it finds zeros. So nothing must be done when pages are taken back, and a
 * driver need not tell before it uses one (MUST_TELL_HOST is not offered).
 *
 *	atoll balloon --target--> config space, interrupt --> driver --page numbers--> inflate queue --> released
 *	free pages of the guest --> reporting queue: the chain's writable pieces are the pages --> released
 *
 * A chain may name a million pages. They are released some at a time, so that other devices have their turn; the
 * chain is in flight meanwhile. Page numbers that are not RAM are skipped: a page is the guest's to give, and
 * memory_release() gives back nothing else.
 *
 * The queues' numbers depend on the features in the specification, and differently so in drivers: Linux counts only
 * the queues that it uses, up to 6.10 at least. As hints of free pages (queue 3) are not offered, a driver's queue for
 * reporting is 3 or 4, and 2 without statistics; each is served as what it can only be.
 */
#include "vm/virtio/balloon.h"

#include <string.h>

#include "base/bytes.h"
#include "sys/thread.h"
#include "vm/memory.h"

/* clang-format off */
enum {
	ID_BALLOON = 5, QUEUE_SIZE = 128, NR_QUEUES = 5,

	F_STATS = 1, F_DEFLATE_ON_OOM = 2, F_PAGE_POISON = 4, F_REPORTING = 5,

	Q_INFLATE = 0, Q_DEFLATE = 1, Q_STATS = 2,

	/* Configuration space (5.5.4). */
	C_NUM_PAGES = 0, C_ACTUAL = 4, C_POISON = 12, C_LEN = 16,

	PAGE_SHIFT = 12, NUMBER_SIZE = 4,
	STAT_SIZE = 10, /* tag, value */

	NUMBERS_AT_ONCE = 256,
	PAGES_A_RUN = 4096,
};
/* clang-format on */

static struct virtio_balloon *balloon_of(struct virtio_dev *d)
{
	return container_of(d, struct virtio_balloon, dev);
}

const char *virtio_balloon_stat_name(unsigned int tag)
{
	static const char *const names[VIRTIO_BALLOON_STATS] = {
		"swap_in_bytes",      "swap_out_bytes", "major_faults",
		"minor_faults",	      "free_bytes",	"total_bytes",
		"available_bytes",    "cache_bytes",	"huge_page_allocations",
		"huge_page_failures", "oom_kills",	"allocation_stalls",
		"async_scans",	      "direct_scans",	"async_reclaims",
		"direct_reclaims",
	};

	return tag < ARRAY_SIZE(names) ? names[tag] : NULL;
}

/* --- pages by number ------------------------------------------------------------------------------------------- */

/* Neighbors in either direction become one range: drivers take pages in order. */
static void release_numbers(struct virtio_balloon *b, const uint8_t *p, uint32_t n)
{
	uint64_t first = 0, count = 0;

	for (uint32_t k = 0; k < n; k++) {
		uint64_t page = get_le32(p + (size_t)k * NUMBER_SIZE);

		if (count && page == first + count) {
			count++;
		} else if (count && page + 1 == first) {
			first--;
			count++;
		} else {
			b->released_bytes +=
				memory_release(b->mem, first << PAGE_SHIFT, count << PAGE_SHIFT);
			first = page;
			count = 1;
		}
	}
	b->released_bytes += memory_release(b->mem, first << PAGE_SHIFT, count << PAGE_SHIFT);
}

/* Releases some of the list's pages. Returns whether it is done with. */
static bool work_on_list(struct virtio_balloon *b, uint32_t *budget)
{
	uint8_t numbers[NUMBERS_AT_ONCE * NUMBER_SIZE];

	while (b->list_off < b->list.out_bytes) {
		uint32_t n;

		if (!*budget)
			return false;
		n = chain_read(&b->list, b->list_off, numbers, sizeof(numbers));
		b->list_off += n;
		release_numbers(b, numbers, n / NUMBER_SIZE);
		*budget -= MIN(*budget, (uint32_t)NUMBERS_AT_ONCE);
	}
	return true;
}

static void run_inflate(struct virtio_balloon *b)
{
	struct virtio_dev *d = &b->dev;
	struct virtq *q = &d->q[Q_INFLATE];
	uint32_t budget = PAGES_A_RUN;
	unsigned int n = 0;

	for (;;) {
		if (!b->list.q) {
			if (!virtio_pop(d, q, &b->list, &n))
				break;
			b->list_off = 0;
		}
		if (!work_on_list(b, &budget)) {
			virtio_again(d, Q_INFLATE);
			break;
		}
		virtio_push(d, &b->list, 0);
	}
	virtio_signal(d, q);
}

/* Pages are there again when they are touched. */
static void run_deflate(struct virtio_balloon *b)
{
	struct virtio_dev *d = &b->dev;
	unsigned int n = 0;

	while (virtio_pop(d, &d->q[Q_DEFLATE], &b->chain, &n))
		virtio_push(d, &b->chain, 0);
	virtio_signal(d, &d->q[Q_DEFLATE]);
}

/* --- free pages -------------------------------------------------------------------------------------------------- */

static void run_report(struct virtio_balloon *b, unsigned int index)
{
	struct virtio_dev *d = &b->dev;
	struct virtq *q = &d->q[index];
	/* A guest that fills free pages with something relies on finding it there (5.5.6.5.2). */
	bool may = !virtio_has(d, F_PAGE_POISON) || !get_le32(d->config + C_POISON);
	unsigned int n = 0;

	while (virtio_pop(d, q, &b->chain, &n)) {
		for (unsigned int k = 0; may && k < b->chain.nr_in; k++) {
			const struct iovec *v = &b->chain.in[k];
			uint64_t bytes = memory_release_host(b->mem, v->iov_base, v->iov_len);

			b->released_bytes += bytes;
			b->reported_bytes += bytes;
		}
		virtio_push(d, &b->chain, 0);
	}
	virtio_signal(d, q);
}

/* --- statistics ---------------------------------------------------------------------------------------------------- */

static void read_stats(struct virtio_balloon *b)
{
	uint8_t s[STAT_SIZE];

	for (uint32_t off = 0; off < 4 * VIRTIO_BALLOON_STATS * STAT_SIZE; off += STAT_SIZE) {
		uint16_t tag;

		if (chain_read(&b->stats, off, s, STAT_SIZE) < STAT_SIZE)
			break;
		tag = get_le16(s);
		if (tag >= VIRTIO_BALLOON_STATS)
			continue;
		b->stats_value[tag] = get_le64(s + 2);
		b->stats_known |= 1u << tag;
	}
}

/* The first buffer comes unasked; giving it back asks for the next one (5.5.6.3). */
static void run_stats(struct virtio_balloon *b)
{
	struct virtio_dev *d = &b->dev;
	struct virtq *q = &d->q[Q_STATS];
	unsigned int n = 0;

	for (;;) {
		if (!b->stats.q) {
			if (!virtio_pop(d, q, &b->stats, &n))
				break;
			read_stats(b);
			b->nr_stats++;
		}
		if (!b->stats_wanted)
			break;
		b->stats_wanted = false;
		virtio_push(d, &b->stats, 0);
	}
	virtio_signal(d, q);
}

/* --- the device ---------------------------------------------------------------------------------------------------- */

static void run(struct virtio_dev *d, uint64_t kicked)
{
	struct virtio_balloon *b = balloon_of(d);
	bool has_stats = virtio_has(d, F_STATS);

	if (!virtio_is_running(d))
		return;
	if (kicked >> Q_INFLATE & 1)
		run_inflate(b);
	if (kicked >> Q_DEFLATE & 1)
		run_deflate(b);
	if (has_stats && (kicked >> Q_STATS & 1))
		run_stats(b);
	for (unsigned int k = has_stats ? Q_STATS + 1 : Q_STATS; k < NR_QUEUES; k++)
		if (virtio_has(d, F_REPORTING) && (kicked >> k & 1))
			run_report(b, k);
}

static void reset(struct virtio_dev *d)
{
	struct virtio_balloon *b = balloon_of(d);

	if (b->list.q)
		virtio_abandon(d, &b->list);
	if (b->stats.q)
		virtio_abandon(d, &b->stats);
	b->stats_wanted = false;
	b->stats_known = 0;
	/* What the driver said; the target stays. */
	put_le32(d->config + C_ACTUAL, 0);
	put_le32(d->config + C_POISON, 0);
}

/* A list is begun anew: what is given back once more is zeros already. */
static void settle(struct virtio_dev *d)
{
	struct virtio_balloon *b = balloon_of(d);

	virtio_unpop(d, &b->list);
	virtio_unpop(d, &b->stats);
}

static const struct virtio_ops balloon_ops = {
	.name = "virtio-balloon", .id = ID_BALLOON, .run = run, .reset = reset, .settle = settle
};

void virtio_balloon_init(struct virtio_balloon *b, bool strict, const struct physmem *mem,
			 struct iothread *io)
{
	uint64_t features = 1 << F_STATS | 1 << F_PAGE_POISON | 1 << F_REPORTING;

	memset(b, 0, sizeof(*b));
	b->mem = mem;
	virtio_init(&b->dev, &balloon_ops, mem, io, NR_QUEUES, QUEUE_SIZE,
		    features | (strict ? 0 : 1 << F_DEFLATE_ON_OOM));
	b->dev.config_len = C_LEN;
	memset(b->dev.config_wmask + C_ACTUAL, 0xff, 4);
	memset(b->dev.config_wmask + C_POISON, 0xff, 4);
}

void virtio_balloon_done(struct virtio_balloon *b)
{
	virtio_done(&b->dev);
}

void virtio_balloon_set(struct virtio_balloon *b, uint64_t bytes)
{
	struct virtio_dev *d = &b->dev;

	mutex_guard(&d->lock);
	put_le32(d->config + C_NUM_PAGES, (uint32_t)(bytes >> PAGE_SHIFT));
	virtio_config_changed(d);
}

void virtio_balloon_info(struct virtio_balloon *b, struct virtio_balloon_info *ret)
{
	struct virtio_dev *d = &b->dev;

	mutex_guard(&d->lock);
	*ret = (struct virtio_balloon_info){
		.is_running = virtio_is_running(d),
		.target_bytes = (uint64_t)get_le32(d->config + C_NUM_PAGES) << PAGE_SHIFT,
		.actual_bytes = (uint64_t)get_le32(d->config + C_ACTUAL) << PAGE_SHIFT,
		.released_bytes = b->released_bytes,
		.reported_bytes = b->reported_bytes,
		.nr_stats = b->nr_stats,
		.stats_known = b->stats_known,
	};
	memcpy(ret->stats_value, b->stats_value, sizeof(ret->stats_value));
	if (ret->is_running && virtio_has(d, F_STATS)) {
		b->stats_wanted = true;
		virtio_again(d, Q_STATS);
	}
}
