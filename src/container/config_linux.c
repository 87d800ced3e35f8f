/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The member "linux" of a config.json: namespaces, ids, devices, what is hidden. What would weaken the container when it was
 * passed over (a label, a policy) is refused while there is no code for it.
 */
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "container/reader_priv.h"

static const char *const ns_names[] = {
	[CT_NS_USER] = "user", [CT_NS_PID] = "pid",	  [CT_NS_NETWORK] = "network",
	[CT_NS_IPC] = "ipc",   [CT_NS_UTS] = "uts",	  [CT_NS_MOUNT] = "mount",
	[CT_NS_TIME] = "time", [CT_NS_CGROUP] = "cgroup", [CT_NR_NS] = NULL,
};

const char *ct_ns_name(enum ct_ns_kind kind)
{
	return ns_names[kind];
}

static void read_ns(struct reader *rd, const struct json *j, void *element)
{
	struct ct_config *c = *(struct ct_config **)element;
	struct ct_ns *ns;
	const char *type;

	rd_need(rd, j, "type", &type);
	ns = &c->ns[rd_word(rd, "type", type, ns_names)];
	if (ns->is_wanted)
		rd_fail(rd, -EINVAL, "type", "'%s' stands there twice", type);
	ns->is_wanted = true;
	rd_str(rd, j, "path", &ns->path);
	if (ns->path && !ns->path[0])
		ns->path = NULL;
	if (ns->path && ns->path[0] != '/')
		rd_fail(rd, -EINVAL, "path", "'%.80s' is not absolute", ns->path);
}

static void read_namespaces(struct reader *rd, const struct json *j, struct ct_config *c)
{
	const struct json *list = rd_array(rd, j, "namespaces");

	for (size_t i = 0; rd->r == 0 && i < json_count(list); i++) {
		size_t mark = rd_enter(rd, "namespaces");

		strbuf_addf(&rd->at, "[%zu]", i);
		read_ns(rd, json_at(list, i), &c);
		rd_leave(rd, mark);
	}
}

static void read_id_map(struct reader *rd, const struct json *j, void *element)
{
	struct ct_id_map *m = element;
	uint32_t end;

	if (!rd_u32(rd, j, "containerID", UINT32_MAX - 1, &m->container_id) ||
	    !rd_u32(rd, j, "hostID", UINT32_MAX - 1, &m->host_id) ||
	    !rd_u32(rd, j, "size", UINT32_MAX, &m->size))
		rd_fail(rd, -EINVAL, NULL, "containerID, hostID and size are needed");
	else if (!m->size || !add_ok(m->container_id, m->size, &end) ||
		 !add_ok(m->host_id, m->size, &end))
		rd_fail(rd, -EINVAL, "size", "%u is 0 or reaches past the last id", m->size);
}

static void read_device(struct reader *rd, const struct json *j, void *element)
{
	struct ct_device *d = element;
	const char *type;
	uint32_t mode = 0666;

	rd_need(rd, j, "path", &d->path);
	if (d->path[0] != '/')
		rd_fail(rd, -EINVAL, "path", "'%.80s' is not absolute", d->path);
	rd_need(rd, j, "type", &type);
	if (strcmp(type, "c") == 0 || strcmp(type, "u") == 0)
		d->type = S_IFCHR;
	else if (strcmp(type, "b") == 0)
		d->type = S_IFBLK;
	else if (strcmp(type, "p") == 0)
		d->type = S_IFIFO;
	else
		rd_fail(rd, -EINVAL, "type", "'%.20s' is none of c, u, b, p", type);
	rd_u32(rd, j, "fileMode", UINT32_MAX, &mode);
	d->mode = mode & 07777; /* engines put the file's type there, too */
	if ((!rd_u32(rd, j, "major", 0xfff, &d->major) ||
	     !rd_u32(rd, j, "minor", 0xfffff, &d->minor)) &&
	    d->type != S_IFIFO)
		rd_fail(rd, -EINVAL, NULL, "major and minor are needed");
	rd_u32(rd, j, "uid", UINT32_MAX - 1, &d->uid);
	rd_u32(rd, j, "gid", UINT32_MAX - 1, &d->gid);
}

static void read_clock(struct reader *rd, const struct json *j, const char *key, int64_t *ret_s,
		       int64_t *ret_ns)
{
	const struct json *clock = rd_object(rd, j, key);
	size_t mark = rd_enter(rd, key);
	uint32_t ns;

	rd_i64(rd, clock, "secs", -INT32_MAX, INT32_MAX, ret_s);
	if (rd_u32(rd, clock, "nanosecs", 999999999, &ns))
		*ret_ns = ns;
	rd_leave(rd, mark);
}

static void read_time(struct reader *rd, const struct json *j, struct ct_config *c)
{
	const struct json *offsets = rd_object(rd, j, "timeOffsets");
	size_t mark = rd_enter(rd, "timeOffsets");

	c->has_time_offsets = json_count(offsets) > 0;
	read_clock(rd, offsets, "monotonic", &c->monotonic_s, &c->monotonic_ns);
	read_clock(rd, offsets, "boottime", &c->boottime_s, &c->boottime_ns);
	rd_leave(rd, mark);
}

/*
 * A sysctl that is not the container's own would change the host's: only those of its namespaces may be set.
 * Source: user_namespaces(7), ipc_namespaces(7), network_namespaces(7), uts_namespaces(7).
 */
static bool sysctl_is_own(const struct ct_config *c, const char *key)
{
	static const char *const ipc[] = { "kernel.msgmax",	 "kernel.msgmnb",
					   "kernel.msgmni",	 "kernel.sem",
					   "kernel.shmall",	 "kernel.shmmax",
					   "kernel.shmmni",	 "kernel.shm_rmid_forced",
					   "kernel.msg_next_id", "kernel.sem_next_id",
					   "kernel.shm_next_id" };
	struct str k = str_of(key);

	if (str_starts(k, STR("net.")))
		return c->ns[CT_NS_NETWORK].is_wanted;
	if (str_eq(k, STR("kernel.domainname")) || str_eq(k, STR("kernel.hostname")))
		return c->ns[CT_NS_UTS].is_wanted;
	if (str_starts(k, STR("fs.mqueue.")))
		return c->ns[CT_NS_IPC].is_wanted;
	for (size_t i = 0; i < ARRAY_SIZE(ipc); i++)
		if (strcmp(ipc[i], key) == 0)
			return c->ns[CT_NS_IPC].is_wanted;
	return false;
}

static void read_sysctl(struct reader *rd, const struct json *j, struct ct_config *c)
{
	rd_pairs(rd, j, "sysctl", &c->sysctl);
	for (size_t i = 0; rd->r == 0 && i < c->sysctl.n; i++) {
		char *key =
			arena_strndup(rd->arena, c->sysctl.v[i].key, strlen(c->sysctl.v[i].key));

		/* "net/ipv4/conf/eth0.1/..." is the other way to write one. */
		if (strchr(key, '/') && strcspn(key, "/") < strcspn(key, "."))
			for (char *p = key; *p; p++)
				*p = *p == '/' ? '.' : *p == '.' ? '/' : *p;
		if (strstr(key, "..") || strstr(key, "//") || key[0] == '.')
			rd_fail(rd, -EINVAL, "sysctl", "'%.80s' is no name", key);
		else if (!sysctl_is_own(c, key))
			rd_fail(rd, -EINVAL, "sysctl",
				"'%.80s' would change the host; the container has no namespace of "
				"its own for it",
				key);
		c->sysctl.v[i].key = key;
	}
}

static void read_propagation(struct reader *rd, const struct json *j, struct ct_config *c)
{
	const char *word = NULL;

	rd_str(rd, j, "rootfsPropagation", &word);
	if (!word || !word[0])
		return;
	c->root_propagation = mount_propagation(word);
	if (!c->root_propagation)
		rd_fail(rd, -EINVAL, "rootfsPropagation",
			"'%.40s' is none of private, slave, shared, unbindable, also with an r in "
			"front",
			word);
	if (c->root_propagation & MS_SHARED)
		rd_fail(rd, -EOPNOTSUPP, "rootfsPropagation", "'%s' is not supported yet", word);
}

static void refuse(struct reader *rd, const struct json *j)
{
	static const char *const members[] = { "mountLabel", "intelRdt", "personality",
					       "netDevices", "memoryPolicy" };

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const struct json *v = json_get(j, members[i]);

		if (json_kind(v) != JSON_IS_NONE && !(json_str(v) && !json_str(v)[0]))
			rd_fail(rd, -EOPNOTSUPP, members[i], "is not supported yet");
	}
}

void rd_linux(struct reader *rd, const struct json *j, struct ct_config *c)
{
	const struct json *part;
	size_t mark;

	read_namespaces(rd, j, c);
	rd_list(rd, j, "uidMappings", sizeof(*c->uid_maps.v), read_id_map, &c->uid_maps.v,
		&c->uid_maps.n);
	rd_list(rd, j, "gidMappings", sizeof(*c->gid_maps.v), read_id_map, &c->gid_maps.v,
		&c->gid_maps.n);
	read_time(rd, j, c);
	rd_list(rd, j, "devices", sizeof(*c->devices), read_device, &c->devices, &c->nr_devices);
	rd_str(rd, j, "cgroupsPath", &c->cgroups_path);
	if (c->cgroups_path && !c->cgroups_path[0])
		c->cgroups_path = NULL;
	part = rd_object(rd, j, "resources");
	mark = rd_enter(rd, "resources");
	rd_resources(rd, part, &c->resources);
	rd_leave(rd, mark);
	read_propagation(rd, j, c);
	part = rd_object(rd, j, "seccomp");
	mark = rd_enter(rd, "seccomp");
	c->seccomp.is_wanted = part != NULL;
	if (part)
		rd_seccomp(rd, part, &c->seccomp);
	rd_leave(rd, mark);
	read_sysctl(rd, j, c);
	rd_strs(rd, j, "maskedPaths", &c->masked);
	rd_strs(rd, j, "readonlyPaths", &c->readonly);
	refuse(rd, j);
}
