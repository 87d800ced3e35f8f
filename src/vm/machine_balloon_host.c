/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The balloon as the host's memory demands it: every two seconds, host and guest are looked at, and the policy
 * (balloon_policy.h) says what the balloon shall hold.
 *
 *	/proc/meminfo ──┐
 *	guest: stats ───┴─> balloon_policy() ──> the balloon's target
 *
 * The guest answers when it has time. Nothing is changed by figures that were seen before: a guest that is paused, or has no
 * driver, keeps what it has.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "sys/fd.h"
#include "sys/proc.h"
#include "vm/balloon_policy.h"
#include "vm/machine_priv.h"
#include "vm/virtio/balloon.h"

enum { TEXT_MAX = 1024 /* those that count come first */ };
#define LOOK_NS (2 * NS_PER_S)

static bool look_at_host(const struct balloon_driver *d, struct balloon_view *v)
{
	char text[TEXT_MAX];
	ssize_t n = fd_pread_full(d->meminfo_fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		return false;
	text[n] = 0;
	v->host_total = proc_kib(text, "MemTotal:");
	v->host_available = proc_kib(text, "MemAvailable:");
	v->host_reserve = d->host_reserve ? d->host_reserve : v->host_total / 10;
	return v->host_total != 0;
}

static void look(void *arg)
{
	struct machine *m = arg;
	struct balloon_driver *d = &m->balloon;
	struct balloon_view v = { .guest_total = m->memory_bytes };
	struct virtio_balloon_info info;

	if (!atomic_load(&d->is_on))
		return;
	virtio_balloon_info(m->virtio.balloon, &info);
	if (info.is_running && info.nr_stats != d->nr_stats_seen &&
	    info.stats_known >> VIRTIO_BALLOON_AVAILABLE & 1 && look_at_host(d, &v)) {
		uint64_t target;

		d->nr_stats_seen = info.nr_stats;
		v.guest_available = info.stats_value[VIRTIO_BALLOON_AVAILABLE];
		v.target = info.target_bytes;
		v.held = info.actual_bytes;
		target = balloon_policy(&v);
		if (target != info.target_bytes)
			virtio_balloon_set(m->virtio.balloon, target);
	}
	timerq_arm(&m->timers, &d->timer, clock_now(m->clock) + LOOK_NS);
}

void machine_balloon_init(struct machine *m)
{
	m->balloon.meminfo_fd = -EBADF;
	timerq_timer_init(&m->timers, &m->balloon.timer, look, m);
}

int machine_balloon_open(struct machine *m, const struct machine_config *cfg, struct err *err)
{
	struct balloon_driver *d = &m->balloon;

	if (!cfg->balloon)
		return 0;
	d->host_reserve = cfg->host_reserve_bytes;
	d->meminfo_fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	if (d->meminfo_fd < 0)
		return err_set_errno(err, "/proc/meminfo");
	if (cfg->balloon == MACHINE_AUTO_BALLOON)
		machine_balloon_by_host(m, true);
	return 0;
}

void machine_balloon_by_host(struct machine *m, bool on)
{
	struct balloon_driver *d = &m->balloon;

	if (atomic_exchange(&d->is_on, on) != on && on)
		timerq_arm(&m->timers, &d->timer, clock_now(m->clock) + LOOK_NS);
}

void machine_balloon_done(struct machine *m)
{
	timerq_timer_done(&m->timers, &m->balloon.timer);
	fd_closep(&m->balloon.meminfo_fd);
}
