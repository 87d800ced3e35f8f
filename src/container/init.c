/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first process of a container, from its birth in new namespaces until it becomes the program; and any other that joins it. It obeys its parent by
 * packets on a socket, and dies with it until the container is ready; what goes wrong is told as a packet, or to `start`.
 *
 * It is not dumpable: nobody in the container may look into it while it still has descriptors of the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "container/container_priv.h"
#include "container/program_priv.h"
#include "sys/fd.h"

int packet_send(int fd, enum packet kind, const char *text)
{
	char packet[PACKET_MAX];
	size_t n = MIN(strlen(text), sizeof(packet) - 1);

	packet[0] = (char)kind;
	memcpy(packet + 1, text, n);
	return send(fd, packet, n + 1, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int packet_next(int fd, char text[PACKET_MAX])
{
	char packet[PACKET_MAX];
	ssize_t n;

	do
		n = recv(fd, packet, sizeof(packet), 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 && errno != ECONNRESET ? -errno : 0;
	memcpy(text, packet + 1, (size_t)n - 1);
	text[n - 1] = 0;
	return packet[0];
}

static int wait_go(struct ct_init *in, struct err *err)
{
	char text[PACKET_MAX];

	if (packet_next(in->sync_fd, text) != PACKET_GO)
		return err_set(err, -ECANCELED, "the runtime is gone");
	if (text[0])
		snprintf(in->host_pid, sizeof(in->host_pid), "%.15s", text);
	return 0;
}

int be_root(struct err *err)
{
	/* All ids that are mapped are there now; groups of the host mean nothing any more. */
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return err_set_errno(err, "become root of the user namespace");
	if (syscall(SYS_setgroups, 0, NULL) < 0 && errno != EPERM)
		return err_set_errno(err, "leave the host's groups");
	return 0;
}

static int join_namespaces(struct ct_init *in, struct err *err)
{
	static const enum ct_ns_kind kinds[] = { CT_NS_NETWORK, CT_NS_IPC, CT_NS_UTS,
						 CT_NS_CGROUP };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (in->ns_fd[kinds[i]] >= 0 && setns(in->ns_fd[kinds[i]], 0) < 0)
			return err_set_errno(err, "linux.namespaces: join '%.120s'",
					     in->config->ns[kinds[i]].path);
	/* Not by clone(2): its root is the cgroup that we are in now. */
	if (in->config->ns[CT_NS_CGROUP].is_wanted && in->ns_fd[CT_NS_CGROUP] < 0 &&
	    unshare(CLONE_NEWCGROUP) < 0)
		return err_set_errno(err, "linux.namespaces: new cgroup namespace");
	return 0;
}

/* A new network has a loopback device that is down. */
static int raise_loopback(struct err *err)
{
	_cleanup_(fd_closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = { .ifr_name = "lo" };

	if (fd < 0)
		return err_set_errno(err, "socket for the loopback device");
	if (ioctl(fd, SIOCGIFFLAGS, &req) < 0)
		return err_set_errno(err, "loopback device");
	req.ifr_flags = (short)(req.ifr_flags | IFF_UP);
	return ioctl(fd, SIOCSIFFLAGS, &req) < 0 ? err_set_errno(err, "loopback device") : 0;
}

static int set_sysctl(const struct ct_config *c, struct err *err)
{
	for (size_t i = 0; i < c->sysctl.n; i++) {
		_cleanup_(strbuf_done) struct strbuf path = { 0 };
		int r;

		strbuf_adds(&path, "/proc/sys/");
		for (const char *p = c->sysctl.v[i].key; *p; p++)
			strbuf_addc(&path, *p == '.' ? '/' : *p == '/' ? '.' : *p);
		r = write_text(strbuf_cstr(&path), c->sysctl.v[i].value);
		if (r < 0)
			return err_set(err, r, "linux.sysctl: '%.80s': %s", c->sysctl.v[i].key,
				       strerrordesc_np(-r));
	}
	return 0;
}

static int set_names(const struct ct_config *c, struct err *err)
{
	if (c->hostname && sethostname(c->hostname, strlen(c->hostname)) < 0)
		return err_set_errno(err, "hostname");
	if (c->domainname && setdomainname(c->domainname, strlen(c->domainname)) < 0)
		return err_set_errno(err, "domainname");
	return 0;
}

static void new_keyring(const struct ct_init *in)
{
	/* 1: KEYCTL_JOIN_SESSION_KEYRING; a host without keyrings has none to keep from us. */
	if (!in->no_new_keyring)
		ignore_result(syscall(SYS_keyctl, 1, in->id));
}

static int hooks_here(struct ct_init *in, enum ct_hook_kind kind, const char *name,
		      const char *status, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf state = { 0 };

	if (!in->config->hooks[kind].n)
		return 0;
	strbuf_adds(&state, "{\"ociVersion\": \"1.1.0\", \"id\": ");
	strbuf_add_json(&state, str_of(in->id));
	strbuf_addf(&state, ", \"status\": \"%s\", \"pid\": %s, \"bundle\": ", status,
		    in->host_pid);
	strbuf_add_json(&state, str_of(in->bundle));
	strbuf_adds(&state, "}\n");
	return hooks_run(&in->config->hooks[kind], name, strbuf_str(&state), err);
}

static int make_rootfs(struct ct_init *in, struct err *err)
{
	int r = rootfs_begin(in, err);

	if (r == 0)
		r = mounts_make(in, err);
	if (r == 0)
		r = devices_make(in, err);
	if (r == 0)
		r = set_sysctl(in->config, err);
	if (r == 0 && in->process->has_terminal)
		r = terminal_make(in, err);
	if (r == 0)
		r = paths_hide(in, err);
	if (r == 0 && (in->config->hooks[CT_HOOK_PRESTART].n ||
		       in->config->hooks[CT_HOOK_CREATE_RUNTIME].n)) {
		r = packet_send(in->sync_fd, PACKET_PLACED, "");
		r = r < 0 ? err_set(err, r, "the runtime is gone") : wait_go(in, err);
	}
	if (r == 0)
		r = hooks_here(in, CT_HOOK_CREATE_CONTAINER, "createContainer", "creating", err);
	return r == 0 ? rootfs_enter(in, err) : r;
}

static int make(struct ct_init *in, struct err *err)
{
	const struct ct_config *c = in->config;
	int r;

	umask(0);
	if (setsid() < 0)
		return err_set_errno(err, "new session");
	r = cgroups_enter(&in->doors, err);
	if (r == 0)
		r = wait_go(in, err);
	if (r == 0 && c->ns[CT_NS_USER].is_wanted)
		r = be_root(err);
	/* A change of ids makes us dumpable again, and forgets that we die with our parent. */
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (r == 0)
		r = join_namespaces(in, err);
	if (r == 0 && c->ns[CT_NS_NETWORK].is_wanted && in->ns_fd[CT_NS_NETWORK] < 0)
		r = raise_loopback(err);
	if (r == 0)
		r = set_names(c, err);
	new_keyring(in);
	return r == 0 ? make_rootfs(in, err) : r;
}

/* A process more: all is there already. */
static int join(struct ct_init *in, struct err *err)
{
	int r;

	umask(0);
	if (setsid() < 0)
		return err_set_errno(err, "new session");
	r = wait_go(in, err);
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	new_keyring(in);
	if (r == 0 && in->process->has_terminal)
		r = fd_open("/", O_PATH | O_DIRECTORY, &in->root_fd, err);
	if (r == 0 && in->process->has_terminal)
		r = terminal_make(in, err);
	fd_closep(&in->root_fd);
	return r;
}

/* Waits until `start` says so; *ret is where an error is told then. */
static int wait_start(struct ct_init *in, int *ret, struct err *err)
{
	for (;;) {
		_cleanup_(fd_closep) int fd = accept4(in->start_fd, NULL, NULL, SOCK_CLOEXEC);
		char c;

		if (fd < 0 && errno != EINTR && errno != ECONNABORTED)
			return err_set_errno(err, "wait for start");
		/* Others only look whether somebody is here. */
		if (fd >= 0 && read(fd, &c, 1) == 1 && c == PACKET_GO) {
			*ret = fd_take(&fd);
			return 0;
		}
	}
}

static _noreturn_ void fail(int fd, bool is_packet, const struct err *err)
{
	const char *text = err_text(err);

	/* When nobody is there any more, nobody can be told. */
	if (is_packet)
		ignore_result(packet_send(fd, PACKET_ERROR, text));
	else
		ignore_result(fd_write_full(fd, text, strlen(text)));
	_exit(1);
}

static void warn(struct ct_init *in, struct strbuf *warnings)
{
	struct str rest = strbuf_str(warnings), line;

	while (str_cut(&rest, '\n', &line)) {
		_cleanup_(mem_freep) char *text = mem_new(line.n + 1);

		memcpy(text, line.p, line.n);
		if (line.n)
			ignore_result(packet_send(in->sync_fd, PACKET_WARNING, text));
	}
}

void init_main(struct ct_init *in)
{
	_cleanup_(strbuf_done) struct strbuf warnings = { 0 };
	const struct ct_process *p = in->process;
	struct program program = { .fd = -EBADF };
	struct err err = ERR_INIT;
	int tell = in->sync_fd, r;

	for (size_t i = 0; i < ARRAY_SIZE(in->parents_fd); i++)
		fd_closep(&in->parents_fd[i]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	r = in->joins ? join(in, &err) : make(in, &err);
	if (r == 0)
		r = rights_limit(p, &warnings, &err);
	if (r == 0)
		r = program_prepare(p, in->terminal_fd, !in->joins, &program, &err);
	warn(in, &warnings);
	/* `create` ends when it hears that we are ready, and must not take us with it. */
	if (r == 0 && in->start_fd >= 0)
		prctl(PR_SET_PDEATHSIG, 0);
	if (r == 0)
		r = packet_send(tell, PACKET_READY, "");
	if (r == 0 && in->start_fd < 0)
		r = wait_go(in, &err);
	if (r < 0)
		fail(tell, true, &err);
	prctl(PR_SET_PDEATHSIG, 0);
	if (in->start_fd >= 0) {
		fd_closep(&in->sync_fd);
		if (wait_start(in, &tell, &err) < 0)
			_exit(1);
	}
	r = in->joins ? 0
		      : hooks_here(in, CT_HOOK_START_CONTAINER, "startContainer", "created", &err);
	if (r == 0)
		r = program_start(p, &program, &in->filter, in->wiring->preserve_fds, &err);
	fail(tell, in->start_fd < 0, &err);
}
