/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_RT_H
#define ATOLL_CMD_RT_H

#include "cmd/table.h"
#include "container/container.h"

/*
 * The commands of `atoll-rt` as data, with the command line of runc, which container engines call: options before the command,
 * then the command, its options and operands.
 */
struct rt_globals {
	const char *root;    /* folder of the containers' states */
	const char *log;     /* or NULL: standard error */
	unsigned log_format; /* index in the choices: 1 is json */
};

struct rt_spec_opts {
	const char *bundle;
};

/* Of `create` and `run`. */
struct rt_create_opts {
	const char *bundle, *console_socket, *pid_file; /* the latter two or NULL */
	uint64_t preserve_fds;
	bool no_pivot, no_new_keyring;
	bool detach, keep, no_subreaper; /* of `run` */
};

struct rt_exec_opts {
	const char *process, *console_socket, *pid_file, *cwd, *user; /* or NULL */
	struct opt_list groups, env, caps;
	uint64_t preserve_fds;
	bool tty, detach, no_new_privs, ignore_paused;
};

struct rt_kill_opts {
	bool all;
};

struct rt_update_opts {
	const char *resources; /* or NULL, as all of them */
	const char *cpu_period, *cpu_quota, *cpu_burst, *cpu_share, *cpu_rt_period, *cpu_rt_runtime,
		*cpu_idle, *cpuset_cpus, *cpuset_mems, *memory, *memory_reservation, *memory_swap,
		*pids_limit;
};

struct rt_delete_opts {
	bool force;
};

struct rt_list_opts {
	unsigned format; /* index in the choices: 1 is json */
	bool quiet;
};

extern const struct cmd rt_globals, rt_cmd_spec, rt_cmd_create, rt_cmd_run, rt_cmd_exec,
	rt_cmd_start, rt_cmd_state, rt_cmd_kill, rt_cmd_delete, rt_cmd_list, rt_cmd_ps,
	rt_cmd_pause, rt_cmd_resume, rt_cmd_update, rt_cmd_features, rt_cmd_checkpoint,
	rt_cmd_restore;

/* Carry the commands out. Thread: the first. */
int rt_create_exec(const struct cmd_call *call);
int rt_run_exec(const struct cmd_call *call);
int rt_exec_exec(const struct cmd_call *call);
int rt_start_exec(const struct cmd_call *call);
int rt_state_exec(const struct cmd_call *call);
int rt_kill_exec(const struct cmd_call *call);
int rt_delete_exec(const struct cmd_call *call);
int rt_list_exec(const struct cmd_call *call);
int rt_ps_exec(const struct cmd_call *call);
int rt_pause_exec(const struct cmd_call *call);
int rt_resume_exec(const struct cmd_call *call);
int rt_update_exec(const struct cmd_call *call);
int rt_features_exec(const struct cmd_call *call);
int rt_absent_exec(const struct cmd_call *call);

/* A process of a container in the foreground. */
struct front {
	pid_t pid;
	int signal_fd;
	int console_fd; /* its terminal, or negative */
	bool is_stdin_open;
	int status; /* as wait(2) has it */
};

/* front_begin - before the process is made: signals are kept for it. Thread: the first. */
_nodiscard_ int front_begin(struct front *f, bool is_subreaper, struct err *err);

/* front_stay - until it has ended. Returns the exit status for us. Thread: the first. */
int front_stay(struct front *f, const struct ct_created *made);

/* rt_complain - an error of a command: on standard error, and in the file of --log. Returns the exit status 1. Thread: the
 * first. */
int rt_complain(const struct cmd_call *call, const struct err *err);

/* rt_warn - what was left out: lines for the file of --log. Thread: the first. */
void rt_warn(const struct cmd_call *call, const struct strbuf *lines);

#endif
