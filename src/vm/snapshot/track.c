/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was written since a save. Each set gets every page that the log is found to have, from the save on whose set it is; so
 * each is complete by itself, and one can be forgotten without the others. What the log has and nobody has fetched yet was
 * written after the last save, and so after all of them.
 *
 * Rejected: an option to begin with it. The log costs a guest one slow write to each page that it writes to (on KVM a fault, and
 * there the memory is mapped in small pages from then on), after a save, which has read all of the memory anyway.
 */
#include "vm/snapshot/track.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static bool keeps_any(const struct snapshot_track *t)
{
	for (unsigned int k = 0; k < SNAPSHOT_KEPT; k++)
		if (t->kept[k].set)
			return true;
	return false;
}

static int begin(struct snapshot_track *t, struct err *err)
{
	int r = 0;

	if (!t->is_logging)
		r = memory_log_start(t->m);
	if (r < 0)
		return err_set(err, r, "logging what the guest writes: %s", strerror(-r));
	t->is_logging = true;
	r = mem_try(&t->spare, t->m->dirty_words * sizeof(*t->spare), SIZE_MAX);
	return r < 0 ? err_set(err, r, "no memory for a log of what the guest writes") : 0;
}

int snapshot_track_begin(struct snapshot_track *t, struct memory *m, struct err *err)
{
	int r;

	if (atomic_exchange(&t->is_saving, true))
		return err_set(err, -EBUSY, "the machine is being saved already");
	t->m = m;
	r = begin(t, err);
	if (r < 0)
		atomic_store(&t->is_saving, false);
	return r;
}

uint64_t snapshot_track_fetch(struct snapshot_track *t, uint64_t *ret)
{
	uint64_t n = memory_log_fetch(t->m, ret);

	for (unsigned int k = 0; k < SNAPSHOT_KEPT; k++)
		for (uint64_t w = 0; t->kept[k].set && w < t->m->dirty_words; w++)
			t->kept[k].set[w] |= ret[w];
	return n;
}

const uint64_t *snapshot_track_since(const struct snapshot_track *t, const struct snapshot_ref *ref)
{
	for (unsigned int k = 0; k < SNAPSHOT_KEPT; k++)
		if (t->kept[k].set && snapshot_ref_same(&t->kept[k].ref, ref))
			return t->kept[k].set;
	return NULL;
}

void snapshot_track_stop(struct snapshot_track *t)
{
	if (keeps_any(t))
		return;
	memory_log_stop(t->m);
	t->is_logging = false;
}

void snapshot_track_end(struct snapshot_track *t, const struct snapshot_ref *saved)
{
	if (saved) {
		free(t->kept[t->next].set);
		t->kept[t->next].set = take_ptr(&t->spare);
		t->kept[t->next].ref = *saved;
		t->next = (t->next + 1) % SNAPSHOT_KEPT;
	}
	free(take_ptr(&t->spare));
	atomic_store(&t->is_saving, false);
}

void snapshot_track_done(struct snapshot_track *t)
{
	for (unsigned int k = 0; k < SNAPSHOT_KEPT; k++)
		free(take_ptr(&t->kept[k].set));
	free(take_ptr(&t->spare));
}
