/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CONTAINER_STATE_PRIV_H
#define ATOLL_CONTAINER_STATE_PRIV_H

#include "container/container_priv.h"

/* What is known of a container; its folder holds state.json, the config.json it was made of, and the socket of `start`. */
struct ct_state {
	int root_fd, dir_fd; /* folders of all, and of this one */
	char *id, *bundle, *made_at;
	pid_t pid;	    /* 0: not made yet */
	uint64_t pid_start; /* with the pid: which process it was */
	struct cgroups cgroups;
	struct ct_config *config; /* as it was made of */
};

/* state_new - make the folder of a new container, locked as long as @ret lives. Returns 0; -EEXIST. Thread: any. */
_nodiscard_ int state_new(const char *root, const char *id, struct ct_state **ret, struct err *err);

/* state_write - write what is known, whole or not at all. Thread: owner. */
_nodiscard_ int state_write(const struct ct_state *s, struct err *err);

/* state_remove - remove the folder; what is not there is fine. Thread: owner. */
_nodiscard_ int state_remove(const struct ct_state *s, struct err *err);

/* state_lock - wait until nobody else changes it. Returns 0 or negative errno. Thread: owner. */
_nodiscard_ int state_lock(const struct ct_state *s, struct err *err);

/* state_listen - the socket by which `start` reaches init. Returns it, or negative errno. Thread: owner. */
_nodiscard_ int state_listen(const struct ct_state *s, struct err *err);

/* state_connect - reach init that waits. Returns a socket; -ECONNREFUSED or -ENOENT: it does not. Thread: owner. */
_nodiscard_ int state_connect(const struct ct_state *s);

/* state_open_init - a descriptor of init, by which no process is met that took its number over. Returns it; -ESRCH. Thread:
 * owner. */
_nodiscard_ int state_open_init(const struct ct_state *s);

/* state_text - the specification's state with a status, appended. Thread: owner. */
void state_text(const struct ct_state *s, enum ct_status status, struct strbuf *out);

/* process_start - when a process began, in ticks after boot; 0: there is none. Thread: any. */
uint64_t process_start(pid_t pid);

#endif
