/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CONTAINER_CONTAINER_PRIV_H
#define ATOLL_CONTAINER_CONTAINER_PRIV_H

#include <linux/filter.h>
#include <stdint.h>
#include <sys/types.h>

#include "container/config.h"
#include "container/container.h"

/* ---- place.c: paths in a container ---- */

/*
 * place_make - open a path in a root, and make what is missing of it.
 *
 * @is_folder:  what the last part is to be, when it is missing; else an empty file
 * @ret:        O_PATH; of what is there, a folder or not
 * Returns 0 or negative errno. Thread: any.
 */
_nodiscard_ int place_make(int root_fd, const char *path, bool is_folder, int *ret,
			   struct err *err);

/* place_open - open a path in a root, O_PATH. Returns 0; -ENOENT. Thread: any. */
_nodiscard_ int place_open(int root_fd, const char *path, int *ret);

/* place_open_plain - the same, when no part of the path is a link. Returns 0; -ELOOP (one is). Thread: any. */
_nodiscard_ int place_open_plain(int root_fd, const char *path, int *ret);

/* proc_fd - "/proc/self/fd/N": the file of a descriptor, for calls that want a path. Thread: any. */
struct proc_fd {
	char path[32];
};
struct proc_fd proc_fd(int fd);

/* write_text - write a text at once to a file that exists. Returns 0 or negative errno. Thread: any. */
_nodiscard_ int write_text(const char *path, const char *text);

/* ---- seccomp.c ---- */

/* A filter as the kernel takes it; code is the caller's, free(). */
struct ct_filter {
	struct sock_filter *code;
	unsigned short nr;
	unsigned int flags; /* of seccomp(2) */
};

/* filter_build - translate a profile; system calls that are unknown here are passed over. Returns 0 or negative errno. Thread:
 * any. */
_nodiscard_ int filter_build(const struct ct_seccomp *s, struct ct_filter *ret, struct err *err);

/* filter_install - from here on it holds, for this process. Thread: the only one. */
_nodiscard_ int filter_install(const struct ct_filter *f, struct err *err);

/* ---- mounts.c, rootfs.c: the file system of a container ---- */

enum { CGROUPS_MAX = 16 };

/* The folders of a container in the hierarchies of the host. */
struct cgroups {
	struct {
		char *path;	   /* full */
		char *controllers; /* "cpu,cpuacct"; "" for v2 */
		bool is_v2;
	} dir[CGROUPS_MAX];
	size_t n;
};

/* What leads into them, for a process that enters by itself. */
struct cgroup_doors {
	int tasks_fd[CGROUPS_MAX]; /* of version 1; negative: none */
	int v2_fd;		   /* the folder; negative: none */
};

/* What stands in the memory of a container's process until it is its program. */
struct ct_init {
	const char *id;
	const struct ct_config *config;	  /* of the container */
	const struct ct_process *process; /* what it becomes */
	const struct ct_wiring *wiring;
	const char *bundle; /* absolute */
	const struct cgroups *cgroups;
	struct cgroup_doors doors;
	bool no_pivot, no_new_keyring;
	bool joins; /* a container that exists: its namespaces and mounts are there */
	struct ct_filter filter;
	int ns_fd[CT_NR_NS]; /* to join; negative: none */
	int sync_fd;	     /* packets to and from the parent */
	int parents_fd
		[3]; /* what the parent alone must have: its end of it, the folders of the state, which are locked */
	int start_fd;	   /* listening socket of `start`; negative: none */
	int console_fd;	   /* socket that gets the terminal; negative: none */
	int root_fd;	   /* of the new root file system, O_PATH */
	int terminal_fd;   /* the container's end; negative: none */
	char host_pid[16]; /* init's number where the runtime is */
};

/* rootfs_begin - a private copy of the mounts, with the root file system a mount of its own. Thread: the only one. */
_nodiscard_ int rootfs_begin(struct ct_init *in, struct err *err);

/* mounts_make - all mounts of the configuration. Thread: the only one. */
_nodiscard_ int mounts_make(struct ct_init *in, struct err *err);

/* copy_up - copy what is in a folder into an empty one (both may be O_PATH). Returns 0 or negative errno. Thread: the only one. */
_nodiscard_ int copy_up(int from_fd, int to_fd, struct err *err);

/* devices_make - the device nodes and links of /dev. Thread: the only one. */
_nodiscard_ int devices_make(struct ct_init *in, struct err *err);

/* paths_hide - masked and read-only paths. Thread: the only one. */
_nodiscard_ int paths_hide(struct ct_init *in, struct err *err);

/* rootfs_enter - the new root file system becomes /, the old one goes. Thread: the only one. */
_nodiscard_ int rootfs_enter(struct ct_init *in, struct err *err);

/* bind_fd - mount a copy of the mount that a descriptor stands in at a place. @set: MOUNT_ATTR_*. Thread: the only one. */
_nodiscard_ int bind_fd(int source_fd, int place_fd, bool recursive, uint64_t set, struct err *err);

/* ---- rights.c: who the program is ---- */

/* rights_limit - resource limits. What the host does not let us raise is a warning. Thread: the only one. */
_nodiscard_ int rights_limit(const struct ct_process *p, struct strbuf *warnings, struct err *err);

/* rights_drop - user, groups, capabilities; the filter only where it may not wait for the very last moment (without
 * noNewPrivileges). Thread: the only one. */
_nodiscard_ int rights_drop(const struct ct_process *p, const struct ct_filter *filter,
			    struct err *err);

/* ---- init.c ---- */

/* init_main - what a process of a container does before it is its program; ends by execve(2) or _exit(2). Thread: the only one. */
_noreturn_ void init_main(struct ct_init *in);

/* be_root - root of the user namespace that was joined or mapped, without the host's groups. Returns 0 or negative errno. Thread:
 * the only one. */
_nodiscard_ int be_root(struct err *err);

/* packets between init and its parent: a letter and a text */
enum { PACKET_MAX = 512 };
enum packet {
	PACKET_GO = 'G',      /* parent: go on */
	PACKET_PLACED = 'P',  /* init: mounts are made, the parent's hooks may run */
	PACKET_READY = 'R',   /* init: all but the program's start is done */
	PACKET_WARNING = 'W', /* init: a line for the user */
	PACKET_ERROR = 'E',   /* init: the end */
	PACKET_PID = 'N',     /* intermediate process: the number of init */
};

/* packet_send - returns 0 or negative errno. Thread: owner. */
_nodiscard_ int packet_send(int fd, enum packet kind, const char *text);

/* packet_next - waits for the next; its text, terminated, is in @text. Returns the kind, 0 when the other end is gone, or negative
 * errno. Thread: owner. */
_nodiscard_ int packet_next(int fd, char text[PACKET_MAX]);

/* ---- hooks.c ---- */

/* hooks_run - run them in order with the state on standard input; the first that fails is the error. Thread: the only one. */
_nodiscard_ int hooks_run(const struct ct_hooks *hooks, const char *name, struct str state,
			  struct err *err);

/* ---- cgroup.c ---- */

/* cgroups_find - where they will be. @path: of the configuration, or NULL. Thread: any. */
_nodiscard_ int cgroups_find(const char *path, const char *id, struct cgroups *ret,
			     struct err *err);

/* cgroups_check - whether they are free: absent, or without processes. Returns 0; -EBUSY. Thread: any. */
_nodiscard_ int cgroups_check(const struct cgroups *cg, struct err *err);

/* cgroups_make - make them and set their limits. Thread: any. */
_nodiscard_ int cgroups_make(struct cgroups *cg, const struct ct_resources *res, bool is_rootless,
			     struct strbuf *warnings, struct err *err);

/* cgroup_doors_init, cgroup_doors_close - none are open. Thread: owner. */
void cgroup_doors_init(struct cgroup_doors *doors);
void cgroup_doors_close(struct cgroup_doors *doors);

/* cgroups_open - @ret: cgroup_doors_close(). Returns 0 or negative errno. Thread: any. */
_nodiscard_ int cgroups_open(const struct cgroups *cg, struct cgroup_doors *ret, struct err *err);

/* cgroups_enter - this process, which has one thread, goes into those of version 1; the doors are closed. Into that of version 2
 * it is born. Returns 0 or negative errno. Thread: the only one. */
_nodiscard_ int cgroups_enter(struct cgroup_doors *doors, struct err *err);

/* cgroups_move - put a process that was not born there into the cgroup of version 2, which takes long. Thread: any. */
_nodiscard_ int cgroups_move(const struct cgroups *cg, pid_t pid, struct err *err);

/* cgroups_add - one that was written down. Thread: owner. */
void cgroups_add(struct cgroups *cg, const char *path, const char *controllers);

/* cgroups_each_pid - returns how many there are, or negative errno. Thread: any. */
_nodiscard_ int cgroups_each_pid(const struct cgroups *cg, void (*fn)(void *arg, pid_t pid),
				 void *arg);

/* cgroups_freeze - -EOPNOTSUPP when no hierarchy can. Thread: any. */
_nodiscard_ int cgroups_freeze(const struct cgroups *cg, bool on);

/* cgroups_frozen - whether its processes are stopped. Thread: any. */
bool cgroups_frozen(const struct cgroups *cg);

/* cgroups_remove - kill what is in them and remove them; what is not there is fine. Thread: any. */
_nodiscard_ int cgroups_remove(const struct cgroups *cg, struct err *err);

/* cgroups_done - free. Thread: owner. */
void cgroups_done(struct cgroups *cg);

#endif
