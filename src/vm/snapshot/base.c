/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots that have only what has changed since another one. Which one that is, is not told by its name, which is only where
 * to look, but by its identifier and the checksum of its header, in which the checksums of all its parts are: a base that was
 * written anew, or repaired by hand, is another one. Bases are in the same folder, so that what depends on a file can be
 * found out, and a folder can be moved.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "cpu/physmem.h"
#include "vm/snapshot/file_priv.h"

enum { NAME_MAX_BYTES = 255 };

bool snapshot_ref_same(const struct snapshot_ref *a, const struct snapshot_ref *b)
{
	return a->sum == b->sum && !memcmp(a->id, b->id, SNAPSHOT_ID);
}

void snapshot_ref_text(const struct snapshot_ref *ref, char *ret)
{
	for (unsigned int i = 0; i < SNAPSHOT_ID; i++)
		snprintf(ret + 2 * (size_t)i, 3, "%02x", ref->id[i]);
	snprintf(ret + 2 * (size_t)SNAPSHOT_ID, 9, "%08x", ref->sum);
}

int snapshot_ref_parse(const char *text, struct snapshot_ref *ret)
{
	struct snapshot_ref ref = { .sum = 0 };

	if (strlen(text) != SNAPSHOT_REF_TEXT - 1)
		return -EINVAL;
	for (unsigned int i = 0; i < SNAPSHOT_REF_TEXT - 1; i++) {
		int d = str_hex_digit(text[i]);

		if (d < 0)
			return -EINVAL;
		if (i < 2 * SNAPSHOT_ID)
			ref.id[i / 2] = (uint8_t)(ref.id[i / 2] << 4 | d);
		else
			ref.sum = ref.sum << 4 | (uint32_t)d;
	}
	*ret = ref;
	return 0;
}

/* --- what a file says -------------------------------------------------------------------------------- */

static const struct snapshot_section *section(const struct snapshot *s, const char *name)
{
	for (unsigned int i = 0; i < s->nr; i++)
		if (!strcmp(s->section[i].name, name) && s->section[i].version == 1)
			return &s->section[i];
	return NULL;
}

static int parse_extents(struct snapshot *s, struct str data, struct err *err)
{
	uint64_t pages = s->memory_bytes / GUEST_PAGE_SIZE, end = 0;
	uint64_t nr = data.n / EXTENT_BYTES;

	if (data.n % EXTENT_BYTES || nr > SNAPSHOT_EXTENTS)
		return err_set(err, -EILSEQ, "the runs of its pages make no sense");
	s->extent = mem_new_n(nr + 1, sizeof(*s->extent));
	for (uint64_t i = 0; i < nr; i++) {
		const uint8_t *p = (const uint8_t *)data.p + i * EXTENT_BYTES;
		struct snapshot_extent e = { get_le32(p), get_le32(p + 4) };

		if (!e.nr || e.page < end || e.page > pages || e.nr > pages - e.page)
			return err_set(err, -EILSEQ, "run %llu of its pages makes no sense",
				       (unsigned long long)i);
		end = (uint64_t)e.page + e.nr;
		s->extent[i] = e;
	}
	s->nr_extents = (unsigned int)nr;
	return 0;
}

int snapshot_parse_base(struct snapshot *s, struct err *err)
{
	const struct snapshot_section *base = section(s, "base"), *pages = section(s, "pages");

	if (!base || !pages)
		return err_set(err, -EILSEQ, "it does not say what it is based on");
	if (!base->data.n || base->data.n > NAME_MAX_BYTES ||
	    memchr(base->data.p, 0, base->data.n) || memchr(base->data.p, '/', base->data.n))
		return err_set(err, -EILSEQ, "the name of its base is none");
	s->base_name = mem_new(base->data.n + 1);
	memcpy(s->base_name, base->data.p, base->data.n);
	return parse_extents(s, pages->data, err);
}

/* --- the files ------------------------------------------------------------------------------------------ */

static int open_base(struct snapshot *s, struct err *err)
{
	const char *slash = strrchr(s->path, '/');
	_cleanup_(strbuf_done) struct strbuf path = { 0 };
	struct snapshot base = { .fd = -EBADF };
	int r;

	strbuf_addf(&path, "%.*s%s", (int)(slash ? slash + 1 - s->path : 0), s->path, s->base_name);
	r = snapshot_open(strbuf_cstr(&path), &base, err);
	if (r == -ENOENT)
		return err_set(err, r,
			       "snapshot '%s' has only what has changed since '%s', which is not in its folder "
			       "any more",
			       s->path, s->base_name);
	if (r < 0)
		return err_wrap(err, r, "the base of snapshot '%s'", s->path);
	s->base = mem_new(sizeof(*s->base));
	*s->base = base;
	if (!snapshot_ref_same(&base.self, &s->base_ref) || base.memory_bytes != s->memory_bytes)
		return err_set(err, -ESTALE,
			       "snapshot '%s' has only what has changed since a snapshot '%s', and under that "
			       "name there is another one now",
			       s->path, s->base_name);
	return 0;
}

int snapshot_open_bases(struct snapshot *s, struct err *err)
{
	unsigned int nr = 1;

	for (struct snapshot *at = s; at->has_base; at = at->base) {
		int r = nr++ == SNAPSHOT_CHAIN
				? err_set(err, -ELOOP,
					  "snapshot '%s' is based on more than %d others, each on the next",
					  s->path, SNAPSHOT_CHAIN - 1)
				: open_base(at, err);

		if (r < 0)
			return r;
	}
	return 0;
}
