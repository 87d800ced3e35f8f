/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket's thread: connections, their bytes, and what the machine answers.
 *
 * Nothing here waits for a client: sockets do not block, a client that does not read is not read from, and
 * connections beyond the limit wait in the socket's queue. Only processes of the machine's own user get an answer.
 */
#include "vm/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/fd.h"
#include "sys/ipc.h"
#include "vm/chardev_host.h"
#include "vm/control_priv.h"
#include "vm/machine_plug.h"
#include "vm/machine_priv.h"
#include "vm/net/net.h"

enum { MAX_CLIENTS = 8 };

struct client {
	int fd;	     /* negative: free */
	size_t sent; /* of session.out */
	struct control_session session;
};

struct control {
	struct machine *m;
	char *name;
	int listen_fd, wake_fd;
	struct client client[MAX_CLIENTS];
	unsigned int nr_counting; /* clients that want executions to be counted */
	struct thread thread;
	_Atomic bool stop;
};

/* --- what the machine answers -------------------------------------------------------------------- */

static void info(void *arg, struct strbuf *out)
{
	const struct control *c = arg;
	struct machine *m = c->m;
	uint64_t started_ns = atomic_load(&m->started_ns);
	unsigned int max;

	strbuf_adds(out, "{\"name\":");
	strbuf_add_json(out, str_of(c->name));
	strbuf_addf(out, ",\"pid\":%d,\"engine\":\"%s\",\"vcpus\":%u,\"memory_bytes\":%llu",
		    (int)getpid(), cpu_group_engine(m->cpus), machine_nr_cpus(m, &max),
		    (unsigned long long)m->memory_bytes);
	strbuf_addf(out, ",\"vcpus_max\":%u,\"state\":\"%s\"", max, machine_state(m));
	strbuf_addf(out, ",\"watchdogs\":%llu,\"panics\":%llu,\"crash_kernels\":%llu",
		    (unsigned long long)atomic_load(&m->nr_guest_events[GUEST_WATCHDOG]),
		    (unsigned long long)atomic_load(&m->nr_guest_events[GUEST_PANICKED]),
		    (unsigned long long)atomic_load(&m->nr_guest_events[GUEST_CRASH_KERNEL]));
	strbuf_addf(out, ",\"up_ns\":%llu,\"resets\":%llu,\"kernel\":",
		    (unsigned long long)(started_ns ? clock_now(clock_real()) - started_ns : 0),
		    (unsigned long long)atomic_load(&m->nr_resets));
	strbuf_add_json(out, str_of(m->kernel.path ? m->kernel.path : m->firmware.path));
	strbuf_addc(out, '}');
}

static void stats(void *arg, struct stats_totals *before, bool json, struct strbuf *out)
{
	const struct control *c = arg;

	machine_sample(c->m);
	machine_stats(c->m, before, json, out);
}

static int count(void *arg, bool on, struct err *err)
{
	struct control *c = arg;
	int r = 0;

	/* The first one switches it on, the last one off, unless the machine was started so. */
	if (!c->m->count_blocks && c->nr_counting == (on ? 0 : 1))
		r = machine_count_blocks(c->m, on, err);
	if (r == 0)
		c->nr_counting += on ? 1u : -1u;
	return r;
}

static int trace(void *arg, const struct cpu_hot_query *query, struct strbuf *out, struct err *err)
{
	const struct control *c = arg;

	return machine_trace(c->m, query, out, err);
}

static int screen(void *arg, bool is_text, struct strbuf *out, struct err *err)
{
	const struct control *c = arg;

	return is_text ? machine_screen_text(c->m, out, err) : machine_screenshot(c->m, out, err);
}

static int balloon(void *arg, const uint64_t *keep_bytes, bool is_text, struct strbuf *out,
		   struct err *err)
{
	const struct control *c = arg;

	return machine_balloon(c->m, keep_bytes, is_text, out, err);
}

static int power(void *arg, enum control_power what, struct strbuf *out, struct err *err)
{
	const struct control *c = arg;
	int r = 0;

	switch (what) {
	case CONTROL_BUTTON:
		r = machine_power_button(c->m, err);
		break;
	case CONTROL_OFF:
		machine_stop(c->m);
		break;
	case CONTROL_RESET:
		machine_ask(c->m, MACHINE_RESET, 0);
		break;
	case CONTROL_PAUSE:
	case CONTROL_RESUME:
		r = machine_set_paused(c->m, what == CONTROL_PAUSE, err);
		break;
	case CONTROL_NR_POWER:
		break;
	}
	if (r == 0)
		strbuf_addf(out, "{\"state\":\"%s\"}",
			    what == CONTROL_OFF ? "off" : machine_state(c->m));
	return r;
}

static void disks(void *arg, struct strbuf *out)
{
	const struct control *c = arg;

	machine_disks(c->m, out);
}

static int disk(void *arg, const struct disk_request_spec *request, struct err *err)
{
	const struct control *c = arg;

	return machine_disk_ask(c->m, request, err);
}

static int cpus(void *arg, const uint64_t *n, struct strbuf *out, struct err *err)
{
	const struct control *c = arg;
	unsigned int max, now;
	int r = 0;

	if (n)
		r = *n > UINT32_MAX ? err_set(err, -ERANGE, "so many vCPUs are not possible")
				    : machine_set_cpus(c->m, (unsigned int)*n, err);
	now = machine_nr_cpus(c->m, &max);
	strbuf_addf(out, "{\"vcpus\":%u,\"vcpus_max\":%u}", now, max);
	return r;
}

static void devices(void *arg, struct strbuf *out)
{
	const struct control *c = arg;

	machine_devices(c->m, out);
}

static int attach_net(struct machine *m, const struct attach_request_spec *request,
		      struct ipc_fds *fds, struct strbuf *out, struct err *err)
{
	struct net_end end = NET_END_INIT;
	struct machine_net net = { .end = &end,
				   .nr_pairs = request->nr_pairs,
				   .packed = request->packed };
	int r;

	memcpy(net.mac, request->mac, sizeof(net.mac));
	r = net_open_fd(&fds->fd[0], request->is_tap, &end, err);
	if (r < 0)
		return r;
	if (request->has_pcap)
		end.pcap_fd = fd_take(&fds->fd[1]);
	return machine_attach_net(m, &net, out, err);
}

static int attach(void *arg, const struct attach_request_spec *request, struct ipc_fds *fds,
		  struct strbuf *out, struct err *err)
{
	_cleanup_(disk_files_done) struct disk_files files = { .nr = 0 };
	const struct control *c = arg;
	int r = 0;

	if (!request->disk)
		return attach_net(c->m, request, fds, out, err);
	for (unsigned int k = 0; r == 0 && k < request->nr_paths; k++)
		r = disk_files_add(&files, request->path[k], ipc_fds_take(fds, k + 1), err);
	if (r < 0)
		return r;
	return machine_attach_disk(c->m, request->disk, ipc_fds_take(fds, 0), &files, out, err);
}

static int detach(void *arg, const char *name, struct err *err)
{
	const struct control *c = arg;

	return machine_detach(c->m, name, err);
}

static int snapshot(void *arg, const struct machine_save *to, struct strbuf *out, struct err *err)
{
	const struct control *c = arg;

	return machine_snapshot_save(c->m, to, out, err);
}

static int console(void *arg, unsigned int port, struct err *err)
{
	const struct control *c = arg;

	if (!c->m->serial_end[port])
		return err_set(err, -ENODEV, "the machine has no serial port %u", port);
	return 0;
}

static const struct control_ops ops = {
	.info = info,
	.stats = stats,
	.count = count,
	.trace = trace,
	.screen = screen,
	.balloon = balloon,
	.power = power,
	.disks = disks,
	.disk = disk,
	.cpus = cpus,
	.snapshot = snapshot,
	.devices = devices,
	.attach = attach,
	.detach = detach,
	.console = console,
};

/* --- connections --------------------------------------------------------------------------------- */

static void drop(struct client *cl)
{
	control_session_done(&cl->session);
	fd_closep(&cl->fd);
}

static struct client *free_client(struct control *c)
{
	for (unsigned int i = 0; i < MAX_CLIENTS; i++)
		if (c->client[i].fd < 0)
			return &c->client[i];
	return NULL;
}

static void accept_client(struct control *c)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	struct client *cl = free_client(c);

	if (!cl)
		return;
	fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 || !ipc_peer_allowed(fd))
		return;
	cl->fd = fd_take(&fd);
	cl->sent = 0;
	control_session_init(&cl->session, &ops, c);
}

/* Returns false when the connection is over. */
static bool receive(struct client *cl)
{
	struct control_session *s = &cl->session;
	ssize_t n = ipc_recv(cl->fd, s->in + s->in_n, sizeof(s->in) - s->in_n, &s->fds);

	if (n < 0)
		return n == -EAGAIN || n == -EINTR;
	s->in_n += (size_t)n;
	return n > 0;
}

static bool send_some(struct client *cl)
{
	struct strbuf *out = &cl->session.out;
	ssize_t n = send(cl->fd, out->p + cl->sent, out->n - cl->sent, MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	cl->sent += (size_t)n;
	if (cl->sent == out->n) {
		strbuf_done(out); /* answers are large, and rare */
		cl->sent = 0;
	}
	return true;
}

/* The answer is out: from here on the connection is the serial port's. */
static void become_console(struct control *c, struct client *cl)
{
	unsigned int port = (unsigned int)cl->session.console;

	if (chardev_host_watch(c->m->serial_end[port], cl->fd) == 0)
		cl->fd = -EBADF;
	drop(cl);
}

static void serve_client(struct control *c, struct client *cl, short events)
{
	struct control_session *s = &cl->session;
	bool alive = true;
	int r = 1;

	if (!s->out.n && events)
		alive = receive(cl);
	/* As far as the socket takes answers without waiting. */
	while (alive && r > 0) {
		if (s->out.n)
			alive = send_some(cl);
		if (s->out.n)
			break;
		r = control_session_serve(s);
	}
	if (!alive || r < 0)
		drop(cl);
	else if (s->console >= 0 && !s->out.n)
		become_console(c, cl);
}

static void control_loop(void *arg)
{
	struct control *c = arg;

	while (!atomic_load(&c->stop)) {
		struct pollfd p[2 + MAX_CLIENTS] = {
			{ .fd = c->wake_fd, .events = POLLIN },
			{ .fd = free_client(c) ? c->listen_fd : -1, .events = POLLIN },
		};

		for (unsigned int i = 0; i < MAX_CLIENTS; i++)
			p[2 + i] = (struct pollfd){
				.fd = c->client[i].fd,
				.events = c->client[i].session.out.n ? POLLOUT : POLLIN,
			};
		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue; /* EINTR; other failures are impossible for these arguments */
		for (unsigned int i = 0; i < MAX_CLIENTS; i++)
			if (p[2 + i].fd >= 0 && p[2 + i].revents)
				serve_client(c, &c->client[i], p[2 + i].revents);
		if (p[1].revents)
			accept_client(c);
	}
}

int control_new(struct machine *m, int listen_fd, const char *name, struct control **ret,
		struct err *err)
{
	struct control *c = mem_new(sizeof(*c));
	int r;

	c->m = m;
	c->listen_fd = listen_fd;
	c->name = mem_strdup(name);
	for (unsigned int i = 0; i < MAX_CLIENTS; i++)
		c->client[i].fd = -EBADF;
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_fd < 0)
		r = err_set_errno(err, "eventfd");
	else
		r = thread_start(&c->thread, "control", control_loop, c, err);
	if (r < 0) {
		control_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void control_free(struct control *c)
{
	const uint64_t one = 1;

	if (!c)
		return;
	atomic_store(&c->stop, true);
	if (c->wake_fd >= 0)
		ignore_result(
			write(c->wake_fd, &one, sizeof(one))); /* a full counter wakes as well */
	thread_join(&c->thread);
	for (unsigned int i = 0; i < MAX_CLIENTS; i++)
		if (c->client[i].fd >= 0)
			drop(&c->client[i]);
	fd_closep(&c->wake_fd);
	free(c->name);
	free(c);
}
