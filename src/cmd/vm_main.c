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
#include "cmd/confine.h"
#include "cmd/vm_disks.h"
#include "cmd/vm_nets.h"
#include "cmd/vm_restore.h"
#include "cmd/vm_drives.h"
#include "cmd/vm_shares.h"
#include "cmd/vm_vsock.h"
#include "sys/fd.h"
#include "sys/ipc.h"
#include "sys/sandbox/outside.h"
#include "vm/chardev_host.h"
#include "sys/term.h"
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

static int open_firmware_log(struct chardev_host *host, const struct run_opts *o,
			     struct machine_config *cfg, struct err *err)
{
	int r;

	if (!o->firmware_log)
		return 0;
	r = chardev_host_open(host, o->firmware_log, &cfg->firmware_log, err);
	return r < 0 ? err_wrap(err, r, "--firmware-log") : 0;
}

/* "WHERE" or "NAME=WHERE". @names: what cfg points to, MACHINE_CONSOLES of them, to be freed. */
static int open_consoles(struct chardev_host *host, const struct run_opts *o,
			 struct machine_config *cfg, char **names, struct err *err)
{
	size_t max = MACHINE_CONSOLES - (o->clipboard ? 1 : 0);

	if (o->console.n > max)
		return err_set(err, -EINVAL, "%zu ports of the virtio console: at most %zu%s",
			       o->console.n, max, o->clipboard ? " beside the clipboard's" : "");
	for (size_t i = 0; i < o->console.n; i++) {
		struct machine_console *c = &cfg->consoles[i];
		const char *spec = o->console.v[i], *equals = strchr(spec, '=');
		int r;

		if (equals && (size_t)(equals - spec) == strcspn(spec, "=:/")) {
			names[i] = mem_strdup(spec);
			names[i][equals - spec] = 0;
			if (equals == spec || equals - spec > 63)
				return err_set(err, -EINVAL,
					       "--console %s: a name has 1 to 63 bytes", spec);
			c->name = names[i];
			spec = equals + 1;
		}
		if (strcmp(spec, "none")) {
			r = chardev_host_open(host, spec, &c->cd, err);
			if (r < 0)
				return err_wrap(err, r, "--console %s", o->console.v[i]);
			if (!strcmp(spec, "pty"))
				fprintf(stderr, "atoll-vm: console %zu is at %s\n", i,
					chardev_host_where(c->cd));
		}
		cfg->nr_consoles++;
	}
	return 0;
}

/* @password: of 9 bytes, for what the file says. */
static int parse_display(const struct run_opts *o, struct machine_config *cfg, char *password,
			 struct err *err)
{
	_cleanup_(mem_freep) void *text = NULL;
	size_t n;
	int r;

	cfg->vnc_tls = o->vnc_tls;
	cfg->clipboard = o->clipboard;
	if ((o->vnc_password_file || o->vnc_tls || o->clipboard) &&
	    !str_starts(str_of(o->display), STR("vnc=")))
		return err_set(err, -EINVAL, "%s without --display vnc=ADDRESS:PORT",
			       o->vnc_tls     ? "--vnc-tls"
			       : o->clipboard ? "--clipboard on"
					      : "--vnc-password-file");
	if (!strcmp(o->display, "none"))
		return 0;
	cfg->vga = true;
	if (str_starts(str_of(o->display), STR("vnc=")))
		cfg->vnc = o->display + 4;
	else if (strcmp(o->display, "vga") != 0)
		return err_set(err, -EINVAL,
			       "--display: '%.60s' is none of none, vga, vnc=", o->display);
	cfg->tablet = cfg->vnc && !o->pointer;
	if (!o->vnc_password_file)
		return 0;
	r = file_read(o->vnc_password_file, 4096, &text, &n, err);
	if (r < 0)
		return err_wrap(err, r, "--vnc-password-file");
	snprintf(password, 9, "%.*s", (int)strcspn(text, "\r\n"), (char *)text);
	if (!*password)
		return err_set(err, -EINVAL, "'%s' has no password in its first line",
			       o->vnc_password_file);
	cfg->vnc_password = password;
	return 0;
}

/* What --cpu and --hyperv say together. */
static char *cpu_words(const struct run_opts *o)
{
	static const char hyperv[] = ",+hyperv";
	size_t n = strlen(o->cpu) + sizeof(hyperv);
	char *words = mem_new(n);

	snprintf(words, n, "%s%s", o->cpu, o->hyperv ? hyperv : "");
	return words;
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

/* Where the machine can be reached while it runs. */
struct socket {
	char name[IPC_NAME_MAX + 1];
	char *path;
	int fd; /* negative: none */
};

static int socket_listen(struct socket *s, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf path = { 0 };
	_cleanup_(fd_closep) int dir_fd = -EBADF;
	int r = runtime_dir_open(&dir_fd, err);

	if (r == 0)
		r = ipc_path(dir_fd, s->name, &path, err);
	if (r == 0)
		r = ipc_listen(dir_fd, s->name, &s->fd, err);
	if (r < 0)
		return r;
	s->path = strbuf_take(&path);
	return outside_will_remove(s->path, err);
}

static int socket_open(struct socket *s, const char *name, struct err *err)
{
	int r;

	if (name && !ipc_name_ok(name))
		return err_set(err, -EINVAL,
			       "--name: '%.70s' is not made of up to %d letters, digits, '.', '_', '-'",
			       name, IPC_NAME_MAX);
	if (name)
		snprintf(s->name, sizeof(s->name), "%s", name);
	else
		snprintf(s->name, sizeof(s->name), "%d", (int)getpid());
	r = socket_listen(s, err);
	if (r == 0 || name)
		return r;
	/* Nobody asked for it by name: the machine is as good without. */
	log_warn("vm.control", kv_err("error", err));
	*err = ERR_INIT;
	return 0;
}

static void socket_close(struct socket *s)
{
	if (s->fd >= 0)
		outside_remove(s->path);
	free(s->path);
	s->path = NULL;
	fd_closep(&s->fd);
}

static int exit_status(enum machine_end end, int status)
{
	if (end != MACHINE_STOPPED)
		return status;
	return stop_signal ? 128 + stop_signal : 0; /* by the user's own keys */
}

static int give_up_rights(const struct vm_disks *disks, bool must_hold, struct err *err)
{
	struct confine_opts o = {
		.program = "atoll-vm", .kind = "main", .event = "vm.sandbox", .must_hold = must_hold
	};

	for (unsigned int k = 0; k < disks->nr; k++)
		o.servers = MAX(o.servers, disk_servers(disks->disk[k]->disk.disk));
	return confine(&o, err);
}

/* Run a machine that is built; the terminal is raw meanwhile. */
static int run_machine(struct machine *m, struct chardev_host *host, const struct vm_disks *disks,
		       const struct run_opts *o, bool *ret_has_run, struct err *err)
{
	enum machine_end end;
	int status = 1;

	the_machine = m;
	catch_signals(on_stop_signal);
	if (chardev_host_start(host, err) < 0 || machine_start(m, err) < 0 ||
	    give_up_rights(disks, o->sandbox, err) < 0) {
		chardev_host_stop(host);
		return 1;
	}
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

/* Show the hottest code at the end. */
static void print_trace(struct machine *m, const struct cpu_hot_query *query)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };
	struct err err = ERR_INIT;

	if (machine_trace(m, query, &out, &err) < 0)
		fprintf(stderr, "atoll-vm: trace: %s\n", err_text(&err));
	/* Nobody can be told that telling failed. */
	ignore_result(fd_write_full(STDERR_FILENO, strbuf_cstr(&out), out.n));
}

/* @query: NULL: no trace. @snap: NULL: from power-on. @options: for snapshots of this machine. Not inlined: its frame is
 * large enough alone. */
static _noinline_ int vm_start(const struct run_opts *o, const struct cpu_hot_query *query,
			       struct snapshot *snap, const char *options)
{
	_cleanup_(mem_freep) char *cpu = cpu_words(o);
	struct machine_config cfg = {
		.board = (enum machine_board)o->board,
		.kernel = o->kernel,
		.firmware = o->firmware || o->kernel ? o->firmware : "seabios",
		.firmware_vars = o->firmware_vars,
		.initrd = o->initrd,
		.cmdline = o->append,
		.memory_bytes = o->memory_bytes & ~UINT64_C(4095),
		.nr_cpus = (unsigned int)o->nr_cpus,
		.max_cpus = (unsigned int)o->max_cpus,
		.engine = (enum cpu_engine_kind)o->engine,
		.rng = o->rng,
		.balloon = (enum machine_balloon_kind)o->balloon,
		.host_reserve_bytes = o->host_reserve_bytes,
		.merge = o->merge,
		.watchdog = o->watchdog != 0,
		.on_watchdog = (enum machine_action)(o->watchdog ? o->watchdog - 1 : 0),
		.on_panic = (enum machine_action)o->on_panic,
		.debug_exit = o->debug_exit,
		.no_reboot = o->no_reboot,
		.gdb_port = (uint16_t)o->gdb_port,
		.code_cache_bytes = o->code_cache_bytes,
		.perf_map = o->perf_map,
		.count_blocks = o->count || query,
		.engine_switch_ns = o->engine_switch_ns,
		.sample = o->stats || o->stats_json,
		.restore = snap,
		.options = options,
	};
	_cleanup_(socket_close) struct socket s = { .fd = -EBADF };
	char *names[MACHINE_CONSOLES] = { NULL };
	struct vm_disks disks = { .nr = 0 };
	struct vm_nets nets = { .must_hold = o->sandbox };
	struct vm_shares shares = { .must_hold = o->sandbox };
	struct vm_vsock vsock = { .fd = -EBADF };
	struct chardev_host *host = NULL;
	struct machine *m = NULL;
	struct err err = ERR_INIT;
	bool has_run = false;
	char password[9];
	int status = 1;

	if (o->cloud_init) {
		fprintf(stderr, "atoll-vm: --cloud-init is an option of 'atoll run', which makes a "
				"disk of it\n");
		return 1;
	}
	log_setup(STDERR_FILENO, LOG_AUTO, (enum log_level)o->log_level, NULL);
	signal(SIGPIPE, SIG_IGN);
	split_cpu(cpu, &cfg);
	if (confine_begin(&err) == 0 && chardev_host_new(on_leave, &m, &host, &err) == 0 &&
	    open_serial_ports(host, o, &cfg, &err) == 0 &&
	    open_firmware_log(host, o, &cfg, &err) == 0 &&
	    parse_display(o, &cfg, password, &err) == 0 &&
	    open_consoles(host, o, &cfg, names, &err) == 0 && socket_open(&s, o->name, &err) == 0) {
		cfg.control_fd = MAX(s.fd, 0);
		cfg.name = s.name;
		if (vm_disks_open(&disks, &o->disk, cfg.nr_cpus, &err) == 0 &&
		    vm_drives_open(&cfg, &disks, &o->cdrom, &err) == 0 &&
		    vm_nets_open(&nets, &o->net, &err) == 0 &&
		    vm_shares_open(&shares, &o->share, &cfg, &err) == 0 &&
		    vm_vsock_open(&vsock, o->vsock, &cfg.vsock, &err) == 0) {
			cfg.nets = nets.net;
			cfg.nr_nets = nets.nr;
			cfg.open_disk = vm_disks_attach;
			cfg.open_arg = &disks;
			if (machine_new(&cfg, &m, &err) == 0)
				status = run_machine(m, host, &disks, o, &has_run, &err);
		}
	}
	if (has_run && (o->stats || o->stats_json))
		machine_print_stats(m, STDERR_FILENO, o->stats_json);
	if (has_run && query)
		print_trace(m, query);
	machine_free(m);
	vm_drives_close(&cfg, &disks);
	vm_vsock_close(&vsock);
	vm_shares_close(&shares);
	vm_nets_close(&nets);
	if (vm_disks_close(&disks) < 0 && !status)
		status = 1;
	chardev_host_free(host);
	socket_close(&s);
	outside_stop();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		free(names[i]);
	if (err.code)
		fprintf(stderr, "atoll-vm: %s\n", err_text(&err));
	return status;
}

/* With the options of the machine that was saved, if there is one. @query: NULL: no trace */
static int vm_start_call(const struct cmd_call *call, const struct cpu_hot_query *query)
{
	_cleanup_(vm_restore_done) struct vm_restore restore = { .snap = { .fd = -EBADF } };
	struct err err = ERR_INIT;

	if (vm_restore_open(&restore, call, &err) < 0) {
		fprintf(stderr, "atoll-vm: %s\n", err_text(&err));
		return 1;
	}
	return vm_start(restore.call->opts, query, restore.snap.fd >= 0 ? &restore.snap : NULL,
			strbuf_cstr(&restore.options));
}

static int vm_run(const struct cmd_call *call)
{
	return vm_start_call(call, NULL);
}

static int vm_trace(const struct cmd_call *call)
{
	const struct trace_opts *o = call->opts;
	struct cpu_hot_query query = {
		.top = (unsigned int)o->top,
		.json = o->json,
		.has_address = o->address != NULL,
	};
	struct err err = ERR_INIT;

	if (o->address &&
	    str_parse_u64(str_of(o->address), 0, UINT64_MAX, &query.address, &err) < 0) {
		fprintf(stderr, "atoll-vm: --address: %s\n", err_text(&err));
		return 1;
	}
	return vm_start_call(call, &query);
}

int main(int argc, char **argv)
{
	static const struct cmd_binding run = { &cmd_run, vm_run },
					trace = { &cmd_trace, vm_trace };
	/* `atoll trace` calls us by its own name. */
	bool is_trace = argc > 0 && !strcmp(argv[0], cmd_trace.name);
	const struct cmd_program program = {
		.name = "atoll-vm",
		.summary = "Run one virtual machine",
		.sole = is_trace ? &trace : &run,
	};

	confine_prepare();
	return cmd_main(&program, argc, argv);
}
