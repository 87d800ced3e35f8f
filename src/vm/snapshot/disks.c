/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which disks are beside a snapshot: its section "disks", a JSON array of their numbers and names, and of
 * their bus if it is not virtio. Names are of its folder, so
 * that a snapshot can be moved with its disks, and names no other file.
 */
#include <errno.h>
#include <string.h>

#include "json/json.h"
#include "vm/snapshot/file.h"

int snapshot_each_disk(struct snapshot *s,
		       int (*fn)(void *arg, const struct snapshot_disk *d, struct err *err),
		       void *arg, struct err *err)
{
	_cleanup_(json_freep) struct json *all = NULL;
	const struct snapshot_section *e = NULL;
	const char *slash = strrchr(s->path, '/');
	const struct json *disk;
	int r = 0;

	for (unsigned int i = 0; !e && i < s->nr; i++)
		if (!strcmp(s->section[i].name, "disks"))
			e = &s->section[i];
	if (!e)
		return 0;
	if (e->version != 1 || json_parse(e->data, &all, NULL) < 0)
		return err_set(err, -EILSEQ, "snapshot '%s': its disks cannot be read", s->path);
	for (size_t i = 0; r == 0 && (disk = json_at(all, i)); i++) {
		_cleanup_(strbuf_done) struct strbuf path = { 0 };
		const char *file = json_str(json_get(disk, "file"));
		const char *bus = json_str(json_get(disk, "bus"));
		struct snapshot_disk d = { .bus = DISK_BUS_VIRTIO };

		if (!file || !*file || strchr(file, '/') ||
		    (json_get(disk, "bus") && (!bus || !disk_bus_parse(bus, &d.bus))) ||
		    !json_u64(json_get(disk, "disk"), &d.n))
			return err_set(err, -EILSEQ, "snapshot '%s': its disks make no sense",
				       s->path);
		strbuf_addf(&path, "%.*s%s", (int)(slash ? slash + 1 - s->path : 0), s->path, file);
		d.path = strbuf_cstr(&path);
		d.file = file;
		r = fn(arg, &d, err);
	}
	return r;
}
