/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests to attach devices: from JSON to a struct, without I/O. What is behind a device comes as descriptors with the request,
 * because who asks may open what the machine's process may not.
 */
#include <errno.h>

#include "vm/control_priv.h"
#include "vm/virtio/net.h"

static int parse_flag(const struct json *j, const char *key, bool *ret, struct err *err)
{
	const struct json *v = json_get(j, key);

	*ret = false;
	if (v && !json_bool(v, ret))
		return err_set(err, -EINVAL, "\"%s\" is true or false", key);
	return 0;
}

static int parse_net(const struct json *j, unsigned int nr_fds, struct attach_request_spec *s,
		     struct err *err)
{
	const char *mac = json_str(json_get(j, "mac"));
	uint64_t queues = 1;
	int r;

	if (!mac)
		return err_set(err, -EINVAL, "\"net\" needs \"mac\": \"52:54:00:12:34:56\"");
	r = net_parse_mac(str_of(mac), s->mac, err);
	if (r == 0)
		r = parse_flag(j, "tap", &s->is_tap, err);
	if (r == 0)
		r = parse_flag(j, "packed", &s->packed, err);
	if (r == 0)
		r = parse_flag(j, "pcap", &s->has_pcap, err);
	if (r < 0)
		return r;
	if (json_get(j, "queues") &&
	    (!json_u64(json_get(j, "queues"), &queues) || queues < 1 || queues > VIRTIO_NET_PAIRS))
		return err_set(err, -EINVAL, "\"queues\" is a number from 1 to %d",
			       VIRTIO_NET_PAIRS);
	s->nr_pairs = (unsigned int)queues;
	if (nr_fds != 1u + s->has_pcap)
		return err_set(err, -EINVAL,
			       "%u descriptors came with the request: the network's end and, with "
			       "\"pcap\", the capture's file are wanted",
			       nr_fds);
	return 0;
}

/* The image's descriptor, and one for each path of "files"; or none. */
static int parse_files(const struct json *j, unsigned int nr_fds, struct attach_request_spec *s,
		       struct err *err)
{
	const struct json *files = json_get(j, "files"), *path;

	for (; (path = json_at(files, s->nr_paths)); s->nr_paths++) {
		if (s->nr_paths == ARRAY_SIZE(s->path) || !json_str(path))
			return err_set(err, -EINVAL, "\"files\" is an array of at most %d paths",
				       DISK_FILES_MAX);
		s->path[s->nr_paths] = json_str(path);
	}
	if (nr_fds == 1 + s->nr_paths || (!nr_fds && !s->nr_paths))
		return 0;
	return err_set(err, -EINVAL,
		       "%u descriptors came with the request: the image's and one for each of "
		       "\"files\" are wanted",
		       nr_fds);
}

int attach_request_parse(const struct json *j, unsigned int nr_fds, struct attach_request_spec *s,
			 struct err *err)
{
	const struct json *net = json_get(j, "net");

	*s = (struct attach_request_spec){ .disk = json_str(json_get(j, "disk")) };
	if (!s->disk == !net)
		return err_set(err, -EINVAL,
			       "'attach' needs \"disk\", a string as of --disk, or \"net\", an object");
	return net ? parse_net(net, nr_fds, s, err) : parse_files(j, nr_fds, s, err);
}
