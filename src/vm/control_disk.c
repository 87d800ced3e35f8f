/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests about disks on the control socket: from JSON to a struct, without I/O. */
#include <errno.h>
#include <string.h>

#include "vm/machine_disk.h"
#include "vm/machine_virtio.h"

static int parse_texts(const struct json *j, struct disk_request_spec *s, struct err *err)
{
	const struct {
		const char *key;
		const char **to;
	} texts[] = { { "file", &s->file },    { "top", &s->top },	 { "base", &s->base },
		      { "name", &s->name },    { "format", &s->format }, { "bitmap", &s->bitmap },
		      { "limits", &s->limits } };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const struct json *v = json_get(j, texts[i].key);

		if (v && !json_str(v))
			return err_set(err, -EINVAL, "\"%s\" is a string", texts[i].key);
		*texts[i].to = json_str(v);
	}
	return 0;
}

static int parse_numbers(const struct json *j, struct disk_request_spec *s, struct err *err)
{
	const struct json *bps = json_get(j, "bps"), *size = json_get(j, "size");
	const struct json *shrink = json_get(j, "shrink"), *increment = json_get(j, "increment");
	const char *bus = json_str(json_get(j, "bus"));
	uint64_t n;

	if (!json_u64(json_get(j, "disk"), &n) || n >= MACHINE_VIRTIO_MAX)
		return err_set(err, -EINVAL, "\"disk\" is a disk's number, from 0 on");
	s->bus = DISK_BUS_VIRTIO;
	if (json_get(j, "bus") && (!bus || !disk_bus_parse(bus, &s->bus)))
		return err_set(err, -EINVAL, "\"bus\" is \"virtio\", \"sata\" or \"ide\"");
	s->disk = (unsigned int)n;
	if (bps && !json_u64(bps, &s->bps))
		return err_set(err, -EINVAL, "\"bps\" is a number of bytes a second");
	if (size && !json_u64(size, &s->size))
		return err_set(err, -EINVAL, "\"size\" is a number of bytes");
	if (shrink && !json_bool(shrink, &s->shrink))
		return err_set(err, -EINVAL, "\"shrink\" is true or false");
	if (increment && !json_bool(increment, &s->increment))
		return err_set(err, -EINVAL, "\"increment\" is true or false");
	return 0;
}

int disk_request_parse(const struct json *j, const struct ipc_fds *fds, struct disk_request_spec *s,
		       struct err *err)
{
	static const char *const names[] = {
		[DISK_ASK_SNAPSHOT] = "snapshot", [DISK_ASK_COMMIT] = "commit",
		[DISK_ASK_STREAM] = "stream",	  [DISK_ASK_CANCEL] = "cancel",
		[DISK_ASK_SPEED] = "speed",	  [DISK_ASK_LIMIT] = "limit",
		[DISK_ASK_RESIZE] = "resize",	  [DISK_ASK_RETRY] = "retry",
		[DISK_ASK_BACKUP] = "backup",
	};
	const char *what = json_str(json_get(j, "what"));
	size_t i = 0;
	int r;

	*s = (struct disk_request_spec){ .fds = fds->fd, .nr_fds = fds->nr };
	while (what && i < ARRAY_SIZE(names) && strcmp(what, names[i]) != 0)
		i++;
	if (!what || i == ARRAY_SIZE(names))
		return err_set(err, -EINVAL,
			       "\"what\" is one of snapshot, commit, stream, backup, cancel, speed, limit, "
			       "resize, retry");
	s->ask = (enum disk_ask)i;
	r = parse_numbers(j, s, err);
	if (r == 0)
		r = parse_texts(j, s, err);
	if (r < 0)
		return r;
	if (s->ask == DISK_ASK_SNAPSHOT && !s->file)
		return err_set(err, -EINVAL, "a snapshot needs \"file\", the new image");
	if (s->ask == DISK_ASK_BACKUP && (!s->file || !s->format || !s->nr_fds))
		return err_set(err, -EINVAL,
			       "a backup needs \"file\" and \"format\", of its target, and that as a "
			       "descriptor");
	if (s->ask == DISK_ASK_LIMIT && !s->limits)
		return err_set(err, -EINVAL, "\"limits\" is missing: \"iops=100,bps=10M\"");
	if (s->ask == DISK_ASK_RESIZE && !s->size)
		return err_set(err, -EINVAL, "\"size\" is missing: bytes");
	return 0;
}
