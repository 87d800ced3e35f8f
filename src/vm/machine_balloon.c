/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The balloon, for those who look from outside. Sizes are said as people think of them: what the guest keeps, not
 * what the balloon holds. The guest's own figures come when it has time; who asks gets those of before, and asks
 * again.
 */
#include <errno.h>

#include "vm/machine_priv.h"
#include "vm/virtio/balloon.h"

#define MIB 1048576.0

static void add_json(const struct virtio_balloon_info *b, uint64_t memory_bytes, bool by_host,
		     struct strbuf *out)
{
	bool any = false;

	strbuf_addf(out, "{\"driver\":%s,\"auto\":%s,\"memory_bytes\":%llu,\"target_bytes\":%llu",
		    b->is_running ? "true" : "false", by_host ? "true" : "false",
		    (unsigned long long)memory_bytes,
		    (unsigned long long)(memory_bytes - b->target_bytes));
	strbuf_addf(out, ",\"actual_bytes\":%llu,\"released_bytes\":%llu,\"reported_bytes\":%llu",
		    (unsigned long long)(memory_bytes - MIN(b->actual_bytes, memory_bytes)),
		    (unsigned long long)b->released_bytes, (unsigned long long)b->reported_bytes);
	strbuf_addf(out, ",\"stats_updates\":%llu,\"stats\":{", (unsigned long long)b->nr_stats);
	for (unsigned int k = 0; k < VIRTIO_BALLOON_STATS; k++) {
		if (!(b->stats_known >> k & 1))
			continue;
		strbuf_addf(out, "%s\"%s\":%llu", any ? "," : "", virtio_balloon_stat_name(k),
			    (unsigned long long)b->stats_value[k]);
		any = true;
	}
	strbuf_adds(out, "}}\n");
}

static void add_text(const struct virtio_balloon_info *b, uint64_t memory_bytes, bool by_host,
		     struct strbuf *out)
{
	double memory = (double)memory_bytes / MIB;

	strbuf_addf(out, "%-24s %12.1f MiB\n", "memory", memory);
	strbuf_addf(out, "%-24s %12.1f MiB%s\n", "the guest shall keep",
		    memory - (double)b->target_bytes / MIB,
		    by_host ? ", by the host's memory" : "");
	if (!b->is_running) {
		strbuf_adds(out,
			    "The guest has no driver for the balloon, or has not started it.\n");
		return;
	}
	strbuf_addf(out, "%-24s %12.1f MiB\n", "the guest keeps",
		    memory - (double)b->actual_bytes / MIB);
	strbuf_addf(out, "%-24s %12.1f MiB\n", "given back so far",
		    (double)b->released_bytes / MIB);
	strbuf_addf(out, "%-24s %12.1f MiB\n", "  because it was free",
		    (double)b->reported_bytes / MIB);
	for (unsigned int k = 0; k < VIRTIO_BALLOON_STATS; k++)
		if (b->stats_known >> k & 1)
			strbuf_addf(out, "%-24s %12llu\n", virtio_balloon_stat_name(k),
				    (unsigned long long)b->stats_value[k]);
}

int machine_balloon(struct machine *m, const uint64_t *keep_bytes, bool is_text, struct strbuf *out,
		    struct err *err)
{
	struct virtio_balloon *b = m->virtio.balloon;
	bool by_host = keep_bytes && *keep_bytes == MACHINE_BALLOON_BY_HOST;
	struct virtio_balloon_info info;

	if (!b)
		return err_set(err, -ENODEV, "the machine has no balloon (--balloon)");
	if (keep_bytes && !by_host &&
	    (*keep_bytes % GUEST_PAGE_SIZE || *keep_bytes < MEMORY_MIN ||
	     *keep_bytes > m->memory_bytes))
		return err_set(err, -ERANGE,
			       "%llu bytes for the guest: whole 4 KiB pages from 2 MiB to its "
			       "memory's %llu bytes are possible",
			       (unsigned long long)*keep_bytes,
			       (unsigned long long)m->memory_bytes);
	if (keep_bytes)
		machine_balloon_by_host(m, by_host);
	if (keep_bytes && !by_host)
		virtio_balloon_set(b, m->memory_bytes - *keep_bytes);
	virtio_balloon_info(b, &info);
	by_host = atomic_load(&m->balloon.is_on);
	if (is_text)
		add_text(&info, m->memory_bytes, by_host, out);
	else
		add_json(&info, m->memory_bytes, by_host, out);
	return 0;
}
