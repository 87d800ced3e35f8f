/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks and network devices of a running machine that come and go. What is behind them is opened here and handed over,
 * because a machine can open nothing, and start no programs; atoll-usernet then ends with the machine's end of its socket.
 *
 * A device goes when the guest lets it go, and a guest may not: who detaches waits for a while, and is told how it is.
 */
#include "cmd/attach.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cmd/commands.h"
#include "cmd/control_client.h"
#include "cmd/vm_disks.h"
#include "cmd/vm_nets.h"
#include "disk/disk.h"
#include "sys/fd.h"

enum { STILL_THERE = 2 };
#define LOOK_NS (20 * NS_PER_MS)

/* --- attach -------------------------------------------------------------------------------------- */

static void add_net(struct strbuf *out, const struct machine_net *net)
{
	strbuf_addf(out,
		    "{\"do\":\"attach\",\"net\":{\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\","
		    "\"queues\":%u,\"packed\":%s,\"tap\":%s,\"pcap\":%s}}",
		    net->mac[0], net->mac[1], net->mac[2], net->mac[3], net->mac[4], net->mac[5],
		    net->nr_pairs, net->packed ? "true" : "false",
		    net->end->is_tap ? "true" : "false", net->end->pcap_fd >= 0 ? "true" : "false");
}

static int attach_disk(struct control_client *c, const char *spec, struct json **ret,
		       struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf request = { 0 }, disk = { 0 };
	_cleanup_(disk_files_done) struct disk_files files = { .nr = 0 };
	_cleanup_(fd_closep) int image = -EBADF;
	int fd[1 + DISK_FILES_MAX], r = vm_disks_hand_over(spec, &disk, &image, &files, err);

	if (r < 0)
		return r;
	strbuf_adds(&request, "{\"do\":\"attach\",\"disk\":");
	strbuf_add_json(&request, strbuf_str(&disk));
	strbuf_adds(&request, ",\"files\":[");
	fd[0] = image;
	for (unsigned k = 0; k < files.nr; k++) {
		strbuf_adds(&request, k ? "," : "");
		strbuf_add_json(&request, str_of(files.path[k]));
		fd[1 + k] = files.fd[k];
	}
	strbuf_adds(&request, "]}");
	return control_ask_fds(c, strbuf_cstr(&request), fd, image >= 0 ? 1 + files.nr : 0, ret,
			       err);
}

static int attach(struct control_client *c, const struct attach_opts *o, struct json **ret,
		  struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf request = { 0 };
	_cleanup_(vm_nets_close) struct vm_nets nets = { .outlive_us = true };
	const char *spec = o->net;
	const struct opt_list specs = { .v = &spec, .n = 1 };
	int r;

	if (o->disk)
		return attach_disk(c, o->disk, ret, err);
	r = vm_nets_open(&nets, &specs, err);
	if (r == 0) {
		const struct net_end *end = nets.net[0].end;
		const int fd[] = { end->fd, end->pcap_fd };

		add_net(&request, &nets.net[0]);
		r = control_ask_fds(c, strbuf_cstr(&request), fd, end->pcap_fd >= 0 ? 2 : 1, ret,
				    err);
	}
	if (r == 0)
		vm_nets_hand_over(&nets);
	return r;
}

static int print_attached(const struct json *ok, bool json, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };

	strbuf_addf(&out, json ? "{\"name\":\"%s\",\"slot\":\"%s\"}\n" : "%s\n",
		    control_word(ok, "name"), control_word(ok, "slot"));
	return control_print(strbuf_str(&out), err);
}

int cmd_attach_exec(const struct cmd_call *call)
{
	const struct attach_opts *o = call->opts;
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	_cleanup_(json_freep) struct json *answer = NULL;
	struct err err = ERR_INIT;
	int r = 0;

	if (!o->disk == !o->net)
		r = err_set(&err, -EINVAL, "either --disk or --net says what is attached");
	if (r == 0)
		r = control_dial(call, &c, &err);
	if (r == 0)
		r = attach(&c, o, &answer, &err);
	if (r == 0)
		r = print_attached(json_get(answer, "ok"), o->json, &err);
	return r < 0 ? control_complain(call, r, &err) : 0;
}

/* --- detach -------------------------------------------------------------------------------------- */

/* Returns 1 when a device of this name waits for the guest, 0 when not, or negative. */
static int is_leaving(struct control_client *c, const char *name, struct err *err)
{
	_cleanup_(json_freep) struct json *answer = NULL;
	const struct json *d;
	int r = control_ask(c, "{\"do\":\"devices\"}", &answer, err);

	for (size_t i = 0; r == 0 && (d = json_at(json_get(answer, "ok"), i)); i++)
		if (!strcmp(control_word(d, "name"), name))
			return !strcmp(control_word(d, "state"), "leaving");
	return r;
}

/* Returns as is_leaving(), at the latest after the time. */
static int wait_for(struct control_client *c, const char *name, uint64_t timeout_ns,
		    struct err *err)
{
	const struct timespec nap = { .tv_nsec = LOOK_NS };
	struct clock *clock = clock_real();
	uint64_t end = clock_now(clock) + timeout_ns;
	int r;

	while ((r = is_leaving(c, name, err)) > 0 && clock_now(clock) < end)
		nanosleep(&nap, NULL);
	return r;
}

static int detach(struct control_client *c, const char *name, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf request = { 0 };
	_cleanup_(json_freep) struct json *answer = NULL;

	strbuf_adds(&request, "{\"do\":\"detach\",\"name\":");
	strbuf_add_json(&request, str_of(name));
	strbuf_addc(&request, '}');
	return control_ask(c, strbuf_cstr(&request), &answer, err);
}

int cmd_detach_exec(const struct cmd_call *call)
{
	const struct detach_opts *o = call->opts;
	const char *name = control_operand(call, 0);
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	_cleanup_(strbuf_done) struct strbuf out = { 0 };
	struct err err = ERR_INIT;
	int r = control_dial(call, &c, &err);

	if (r == 0)
		r = detach(&c, name, &err);
	if (r == 0)
		r = wait_for(&c, name, o->timeout_ns, &err);
	if (r > 0) {
		err_set(&err, -ETIMEDOUT,
			"the guest has not let '%s' go after %llu s; it goes when the guest does, or "
			"is reset",
			name, (unsigned long long)(o->timeout_ns / NS_PER_S));
		return control_complain(call, STILL_THERE, &err);
	}
	if (r == 0 && o->json) {
		strbuf_adds(&out, "{\"name\":");
		strbuf_add_json(&out, str_of(name));
		strbuf_adds(&out, ",\"state\":\"gone\"}\n");
		r = control_print(strbuf_str(&out), &err);
	}
	return r < 0 ? control_complain(call, r, &err) : 0;
}

/* --- devices ------------------------------------------------------------------------------------- */

static void add_device(struct strbuf *out, const struct json *d)
{
	const char *file = json_str(json_get(d, "file"));
	size_t start = out->n;

	control_plain(out, control_word(d, "name"));
	strbuf_pad(out, start, 8);
	strbuf_addf(out, " %-8.8s %-9.9s ", control_word(d, "slot"), control_word(d, "state"));
	control_plain(out, file ? file : control_word(d, "mac"));
	strbuf_addc(out, '\n');
}

int cmd_devices_exec(const struct cmd_call *call)
{
	const struct devices_opts *o = call->opts;
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	struct err err = ERR_INIT;
	int r = control_dial(call, &c, &err);

	if (r == 0)
		r = control_show_list(&c, "{\"do\":\"devices\"}", o->json, add_device, &err);
	return r < 0 ? control_complain(call, r, &err) : 0;
}
