/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `atoll-vm` program: one machine, from its options to its exit status.
 *
 * Signals end the machine in an orderly way (the terminal is given back, statistics are printed); a second
 * one does not wait for that.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/log.h"
#include "base/mem.h"
#include "cmd/commands.h"
#include "vm/chardev_host.h"
#include "vm/chardev_term.h"
#include "vm/machine.h"

static struct machine *the_machine; /* set before the handlers are installed, cleared after */
static _Atomic int stop_signal;	    /* the first that came */

static void on_stop_signal(int sig)
{
	int none = 0;

	if (!atomic_compare_exchange_strong(&stop_signal, &none, sig)) {
		term_restore();
		_exit(128 + sig);
	}
	machine_stop(the_machine);
}

/* Ctrl-A x. */
static void on_leave(void *arg)
{
	struct machine **m = arg;

	machine_stop(*m);
}

static void catch_signals(void (*handler)(int))
{
	static const int signals[] = { SIGHUP, SIGINT, SIGTERM, SIGQUIT };
	struct sigaction sa = { .sa_handler = handler };

	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &sa, NULL);
}

static int open_serial_ports(struct chardev_host *host, const struct run_opts *o,
			     struct machine_config *cfg, struct err *err)
{
	static const char *const stdio_only[] = { "stdio" };
	const char *const *spec = o->serial.n ? o->serial.v : stdio_only;
	size_t n = o->serial.n ? o->serial.n : 1;
	int r;

	if (n > ARRAY_SIZE(cfg->serial))
		return err_set(err, -EINVAL, "%zu serial ports: a machine has at most %zu", n,
			       ARRAY_SIZE(cfg->serial));
	for (size_t i = 0; i < n; i++) {
		const char *where;

		if (!strcmp(spec[i], "none"))
			continue;
		r = chardev_host_open(host, spec[i], &cfg->serial[i], err);
		if (r < 0)
			return err_wrap(err, r, "COM%zu", i + 1);
		where = chardev_host_where(cfg->serial[i]);
		if (!strcmp(spec[i], "pty"))
			fprintf(stderr, "atoll-vm: COM%zu is at %s\n", i + 1, where);
	}
	return 0;
}

/* "v2,+x2apic,-pcid" into the model and the changes; @cpu is cut in two. */
static void split_cpu(char *cpu, struct machine_config *cfg)
{
	char *comma = strchr(cpu, ',');

	if (*cpu == '+' || *cpu == '-') {
		cfg->cpu_features = cpu;
		return;
	}
	cfg->cpu_model = cpu;
	if (comma) {
		*comma = 0;
		cfg->cpu_features = comma + 1;
	}
}

static int exit_status(enum machine_end end, int status)
{
	if (end != MACHINE_STOPPED)
		return status;
	return stop_signal ? 128 + stop_signal : 0; /* by the user's own keys */
}

/* Run a machine that is built; the terminal is raw meanwhile. */
static int run_machine(struct machine *m, struct chardev_host *host, const struct run_opts *o,
		       bool *ret_has_run, struct err *err)
{
	enum machine_end end;
	int status = 1;

	the_machine = m;
	catch_signals(on_stop_signal);
	if (chardev_host_start(host, err) < 0)
		return 1;
	if (o->gdb_port)
		fprintf(stderr, "atoll-vm: waiting for gdb: target remote :%llu\r\n",
			(unsigned long long)o->gdb_port);
	end = machine_run(m, &status, err);
	*ret_has_run = true;
	/* What the guest printed comes before what we have to say about it. */
	chardev_host_stop(host);
	catch_signals(SIG_DFL);
	return exit_status(end, status);
}

static int vm_run(const struct cmd_call *call)
{
	const struct run_opts *o = call->opts;
	_cleanup_(mem_freep) char *cpu = mem_strdup(o->cpu);
	struct machine_config cfg = {
		.kernel = o->kernel,
		.initrd = o->initrd,
		.cmdline = o->append,
		.memory_bytes = o->memory_bytes & ~UINT64_C(4095),
		.nr_cpus = (unsigned int)o->nr_cpus,
		.engine = (enum cpu_engine_kind)o->engine,
		.debug_exit = o->debug_exit,
		.no_reboot = o->no_reboot,
		.gdb_port = (uint16_t)o->gdb_port,
	};
	struct chardev_host *host = NULL;
	struct machine *m = NULL;
	struct err err = ERR_INIT;
	bool has_run = false;
	int status = 1;

	log_setup(STDERR_FILENO, LOG_AUTO, (enum log_level)o->log_level, NULL);
	signal(SIGPIPE, SIG_IGN);
	split_cpu(cpu, &cfg);
	if (chardev_host_new(on_leave, &m, &host, &err) == 0 &&
	    open_serial_ports(host, o, &cfg, &err) == 0 && machine_new(&cfg, &m, &err) == 0)
		status = run_machine(m, host, o, &has_run, &err);
	if (has_run && (o->stats || o->stats_json))
		machine_print_stats(m, STDERR_FILENO, o->stats_json);
	machine_free(m);
	chardev_host_free(host);
	if (err.code)
		fprintf(stderr, "atoll-vm: %s\n", err_text(&err));
	return status;
}

int main(int argc, char **argv)
{
	static const struct cmd_binding sole = { &cmd_run, vm_run };
	static const struct cmd_program program = {
		.name = "atoll-vm",
		.summary = "Run one virtual machine",
		.sole = &sole,
	};

	return cmd_main(&program, argc, argv);
}
