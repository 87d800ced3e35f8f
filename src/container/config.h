/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CONTAINER_CONFIG_H
#define ATOLL_CONTAINER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

/*
 * What a container is to be: a config.json of the OCI runtime specification 1.1 ("config.md", "config-linux.md") as plain
 * structs. Everything belongs to the struct ct_config; texts are never NULL where the specification requires them.
 */
struct json;

/* Texts; v[n] is NULL, so that it can be an argv. */
struct ct_strs {
	const char **v;
	size_t n;
};

enum ct_ns_kind {
	CT_NS_USER, /* first: the others belong to it */
	CT_NS_PID,
	CT_NS_NETWORK,
	CT_NS_IPC,
	CT_NS_UTS,
	CT_NS_MOUNT,
	CT_NS_CGROUP,
	CT_NS_TIME,
	CT_NR_NS,
};

struct ct_ns {
	bool is_wanted;
	const char *path; /* join this one; NULL: a new one */
};

struct ct_id_map {
	uint32_t container_id, host_id, size; /* size > 0, no end beyond 2^32 */
};

struct ct_id_maps {
	struct ct_id_map *v;
	size_t n;
};

struct ct_mount {
	const char *destination;     /* in the container */
	const char *source;	     /* NULL: none */
	const char *type;	     /* NULL: none, for a bind */
	const char *data;	     /* options of the file system, joined by commas; "" */
	uint64_t flags;		     /* MS_* of mount(2) */
	uint64_t set, clear;	     /* MOUNT_ATTR_* of mount_setattr(2), for binds */
	uint64_t set_all, clear_all; /* the same for what is mounted below, too (rro ...) */
	unsigned long propagation;   /* MS_PRIVATE ... with MS_REC; 0: as it is */
	bool is_bind, is_recursive;
	bool copies_up; /* a tmpfs gets what is in the folder beneath */
};

struct ct_device {
	const char *path;
	mode_t type; /* S_IFCHR, S_IFBLK, S_IFIFO */
	mode_t mode;
	uint32_t major, minor;
	uint32_t uid, gid;
};

/* A rule of the cgroup of devices; -1: all. */
struct ct_device_rule {
	bool is_allowed;
	char type; /* a, b, c */
	int64_t major, minor;
	const char *access; /* of r, w, m */
};

struct ct_rlimit {
	int resource; /* RLIMIT_NOFILE ... */
	uint64_t soft, hard;
};

struct ct_pair {
	const char *key, *value;
};

struct ct_pairs {
	struct ct_pair *v;
	size_t n;
};

struct ct_hook {
	const char *path;
	struct ct_strs args, env; /* args may be empty */
	int64_t timeout_s;	  /* 0: none */
};

enum ct_hook_kind {
	CT_HOOK_PRESTART,
	CT_HOOK_CREATE_RUNTIME,
	CT_HOOK_CREATE_CONTAINER,
	CT_HOOK_START_CONTAINER,
	CT_HOOK_POSTSTART,
	CT_HOOK_POSTSTOP,
	CT_NR_HOOKS,
};

struct ct_hooks {
	struct ct_hook *v;
	size_t n;
};

/* Bit sets: 1 << CAP_CHOWN ... */
struct ct_caps {
	uint64_t bounding, effective, inheritable, permitted, ambient;
};

struct ct_process {
	bool has_terminal;
	uint16_t rows, columns; /* 0: as it comes */
	uint32_t uid, gid;
	bool has_umask;
	mode_t umask;
	uint32_t *groups;
	size_t nr_groups;
	struct ct_strs args, env;
	const char *cwd; /* absolute */
	bool has_caps;
	struct ct_caps caps;
	struct ct_rlimit *rlimits;
	size_t nr_rlimits;
	bool no_new_privileges;
	bool has_oom_score_adj;
	int oom_score_adj;
};

enum ct_seccomp_do {
	CT_SECCOMP_KILL_THREAD,
	CT_SECCOMP_KILL_PROCESS,
	CT_SECCOMP_TRAP,
	CT_SECCOMP_ERRNO,
	CT_SECCOMP_TRACE,
	CT_SECCOMP_ALLOW,
	CT_SECCOMP_LOG,
};

struct ct_seccomp_action {
	enum ct_seccomp_do what;
	uint16_t number; /* errno, or what the tracer is told */
};

struct ct_seccomp_arg {
	uint32_t index;
	const char *op; /* SCMP_CMP_EQ ... */
	uint64_t value, value_two;
};

struct ct_seccomp_rule {
	struct ct_strs names;
	struct ct_seccomp_action action;
	struct ct_seccomp_arg *args;
	size_t nr_args;
};

struct ct_seccomp {
	bool is_wanted;
	struct ct_seccomp_action by_default;
	struct ct_strs architectures, flags;
	struct ct_seccomp_rule *rules;
	size_t nr_rules;
};

/* What a cgroup limits; numbers are absent where has_... is false. */
struct ct_limit {
	bool is_given;
	int64_t value; /* -1: no limit, where that makes sense */
};

struct ct_resources {
	struct ct_device_rule *devices;
	size_t nr_devices;
	struct ct_limit memory, memory_reservation, memory_swap, swappiness;
	bool no_oom_killer;
	struct ct_limit cpu_shares, cpu_quota, cpu_period, cpu_burst, cpu_rt_runtime, cpu_rt_period,
		cpu_idle;
	const char *cpus, *mems; /* NULL: not given */
	struct ct_limit pids;
	struct ct_pairs unified; /* files of cgroup v2 */
};

struct ct_config {
	struct json *text; /* what texts point into */
	struct arena arena;
	struct strbuf warnings; /* lines: what was left out, as the specification lets us */

	const char *version;
	bool has_process;
	struct ct_process process;
	const char *rootfs; /* as written; relative to the bundle */
	bool is_root_readonly;
	const char *hostname, *domainname; /* NULL: as it is */
	struct ct_mount *mounts;
	size_t nr_mounts;
	struct ct_hooks hooks[CT_NR_HOOKS];
	struct ct_pairs annotations;

	struct ct_ns ns[CT_NR_NS];
	struct ct_id_maps uid_maps, gid_maps;
	bool has_time_offsets;
	int64_t monotonic_s, boottime_s;
	int64_t monotonic_ns, boottime_ns;
	struct ct_device *devices;
	size_t nr_devices;
	const char *cgroups_path; /* NULL: the runtime chooses */
	struct ct_resources resources;
	unsigned long root_propagation; /* MS_SLAVE ...; 0: not given */
	struct ct_seccomp seccomp;
	struct ct_pairs sysctl;
	struct ct_strs masked, readonly;
};

enum { CT_CONFIG_MAX = 4 << 20 }; /* bytes of a config.json */

/*
 * ct_config_parse - read the text of a config.json.
 *
 * What the specification says a runtime must know and this one does not is an error, as is what contradicts itself; unknown
 * members and unknown capabilities are passed over, the latter with a warning.
 *
 * @text:  bytes; at most CT_CONFIG_MAX
 * @ret:   ct_config_free()
 * Returns 0; -EINVAL, -EOPNOTSUPP, -E2BIG with the place in the text ("process.cwd: ..."). Thread: any.
 * Source: OCI runtime specification 1.1, config.md and config-linux.md.
 */
_nodiscard_ int ct_config_parse(struct str text, struct ct_config **ret, struct err *err);

/* ct_config_free - free it; NULL is accepted. ct_config_freep: for _cleanup_(). Thread: owner. */
void ct_config_free(struct ct_config *c);
void ct_config_freep(struct ct_config **c);

/*
 * ct_process_parse - read a process of its own, as `exec --process` takes it: the member "process" of a config.json.
 *
 * @ret:  a config with has_process and nothing else; ct_config_free()
 * Returns as ct_config_parse(). Thread: any.
 */
_nodiscard_ int ct_process_parse(struct str text, struct ct_config **ret, struct err *err);

/* ct_resources_parse - the same for limits alone, as `update --resources` takes them: the member "linux.resources". Returns as
 * ct_config_parse(). Thread: any. */
_nodiscard_ int ct_resources_parse(struct str text, struct ct_config **ret, struct err *err);

/* ct_spec - the text of a config.json to begin with: a shell in "rootfs". Static storage, no end mark. Thread: any. */
_const_ struct str ct_spec(void);

/* ct_cap_by_name - the number of a capability, "CAP_CHOWN"; -1: unknown. Thread: any. */
_pure_ int ct_cap_by_name(const char *name);

/* ct_ns_name - what the specification calls it: "network". Thread: any. */
_const_ const char *ct_ns_name(enum ct_ns_kind kind);

#endif
