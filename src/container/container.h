/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CONTAINER_CONTAINER_H
#define ATOLL_CONTAINER_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

/*
 * Containers by name: made, started, looked at, ended, removed. Each has a folder ROOT/ID with its state; who it is found out
 * from the kernel (README.md).
 */

/* What connects a process of a container with its caller. Texts are the caller's. */
struct ct_wiring {
	const char *pid_file;	    /* or NULL */
	const char *console_socket; /* or NULL */
	unsigned int preserve_fds;  /* descriptors 3 ... that the process gets */
	bool needs_console; /* a terminal needs console_socket; else ret->console_fd is its other end */
};

/* What `create` and `run` are asked for. Texts are the caller's. */
struct ct_create {
	const char *root;   /* folder of states */
	const char *id;	    /* letters, digits, "_+-."; at most 255 */
	const char *bundle; /* folder with config.json */
	struct ct_wiring wiring;
	bool no_pivot, no_new_keyring;
	bool waits_for_start; /* create; else the program is started at once */
};

struct ct_created {
	pid_t pid;	/* the process, a child of the caller */
	int console_fd; /* master of its terminal, or negative */
};

/*
 * ct_create - make a container, and start its program unless it is to wait.
 *
 * Warnings are lines in @warnings. After an error nothing is left of it.
 * @ret:  written only on success
 * Returns 0; -EEXIST (there is one of that name), those of the configuration and of the system calls. Thread: the only one.
 */
_nodiscard_ int ct_create(const struct ct_create *o, struct ct_created *ret,
			  struct strbuf *warnings, struct err *err);

struct ct_process;
struct ct_state;

/* What `exec` is asked for. */
struct ct_exec {
	const struct ct_process *process; /* config.h */
	struct ct_wiring wiring;
	bool ignores_pause; /* also in a container that is paused, where it waits */
};

/*
 * ct_exec - one more process in a container that exists.
 *
 * It has the container's namespaces, cgroups and filter, and nothing of the caller but standard streams. Its program has
 * started when this returns. Warnings are lines in @warnings.
 * @ret:  written only on success
 * Returns 0; -EINVAL (it is stopped, or paused), those of the system calls. Thread: the only one.
 */
_nodiscard_ int ct_exec(struct ct_state *s, const struct ct_exec *o, struct ct_created *ret,
			struct strbuf *warnings, struct err *err);

/* ct_program - the process that its configuration describes; NULL: that is lost. Valid as long as @s. Thread: owner. */
const struct ct_process *ct_program(const struct ct_state *s);

/*
 * ct_close_inherited - close what the caller left open, but standard streams and the next @preserve descriptors.
 *
 * A path of a container such as "/proc/self/fd/7" would lead to it. Thread: the only one, before anything is opened.
 */
void ct_close_inherited(unsigned int preserve);

enum ct_status {
	CT_CREATING,
	CT_CREATED,
	CT_RUNNING,
	CT_PAUSED,
	CT_STOPPED,
};

/* ct_status_name - as the specification spells it. Thread: any. */
_const_ const char *ct_status_name(enum ct_status status);

/* A container that exists. */
struct ct_state;

/* ct_open - look at a container. @ret: ct_close(). Returns 0; -ENOENT (there is none). Thread: any. */
_nodiscard_ int ct_open(const char *root, const char *id, struct ct_state **ret, struct err *err);

/* ct_close - forget it; the container stays. NULL is accepted. ct_closep: for _cleanup_(). Thread: owner. */
void ct_close(struct ct_state *s);
void ct_closep(struct ct_state **s);

/* ct_status - how it is now. Thread: owner. */
enum ct_status ct_status(const struct ct_state *s);

/* ct_pid - of init; 0: not made yet, or stopped. Thread: owner. */
pid_t ct_pid(const struct ct_state *s);

/* ct_state_json - what `state` prints: the specification's state, appended. Thread: owner. */
void ct_state_json(const struct ct_state *s, struct strbuf *out);

/* ct_bundle, ct_made_at - where its config.json was, and when it was made (RFC 3339). Thread: owner. */
const char *ct_bundle(const struct ct_state *s);
const char *ct_made_at(const struct ct_state *s);

/* ct_start - start the program of one that was created. Returns 0; -EINVAL (it is not waiting); what kept its program from
 * starting. Thread: owner. */
_nodiscard_ int ct_start(struct ct_state *s, struct strbuf *warnings, struct err *err);

/* ct_kill - a signal for init, or for all of its processes. Returns 0; -ESRCH (it is stopped). Thread: owner. */
_nodiscard_ int ct_kill(const struct ct_state *s, int signal, bool all, struct err *err);

/* ct_pids - its processes, as the caller sees them: calls fn(arg, pid). Returns 0 or negative errno. Thread: owner. */
_nodiscard_ int ct_pids(const struct ct_state *s, void (*fn)(void *arg, pid_t pid), void *arg,
			struct err *err);

/* ct_freeze - stop all of its processes, or let them go on. Returns 0; -EOPNOTSUPP (no cgroup can). Thread: owner. */
_nodiscard_ int ct_freeze(const struct ct_state *s, bool on, struct err *err);

struct ct_resources;

/*
 * ct_update - other limits for a container that exists; those that are not given stay, as do the rules for devices.
 *
 * Returns 0; -EINVAL (it is stopped), -EOPNOTSUPP (no cgroup has such a limit), what the kernel says to a limit; those before it
 * hold then. Thread: owner.
 */
_nodiscard_ int ct_update(const struct ct_state *s, const struct ct_resources *limits,
			  struct err *err);

/*
 * ct_delete - remove what is left of a container: processes, cgroups, state.
 *
 * @force:  also one that runs (it is killed), or that a killed runtime left half made
 * Returns 0; -EBUSY (it is not stopped). Thread: owner.
 */
_nodiscard_ int ct_delete(struct ct_state *s, bool force, struct strbuf *warnings, struct err *err);

/* ct_each - call fn(arg, id) for each container of a folder, by name. Returns 0 or negative errno. Thread: any. */
_nodiscard_ int ct_each(const char *root, void (*fn)(void *arg, const char *id), void *arg,
			struct err *err);

/* ct_features - what config.json may ask of this runtime, as the specification's features.md has it: JSON, appended. Thread:
 * any. */
void ct_features(struct strbuf *out);

/*
 * ct_exe_protect - go on as a copy of this program that nobody can write to.
 *
 * A container sees the file of the process that becomes it as /proc/PID/exe, and could write to it: it is executed once more,
 * by a read-only mount that is nowhere else, or from a sealed copy. Returns 0 when it is protected; else negative errno.
 * Thread: the only one, before anything else is done.
 */
_nodiscard_ int ct_exe_protect(char **argv, struct err *err);

#endif
