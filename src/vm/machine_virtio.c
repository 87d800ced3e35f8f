/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which virtio devices a machine has, and where. A guest finds the devices of one kind in the order of their slots,
 * so the order of the configuration is the order of the guest's names. One device a slot, because a function is cheap
 * and slots are what hot plugging and drivers' names go by.
 */
#include "vm/machine_virtio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "vm/board.h"
#include "vm/virtio/balloon.h"
#include "vm/virtio/blk.h"
#include "vm/virtio/console.h"
#include "vm/virtio/fs.h"
#include "vm/virtio/input.h"
#include "vm/virtio/net.h"
#include "vm/virtio/rng.h"
#include "vm/virtio/vsock.h"

enum {
	CLASS_NET = 0x020000,
	CLASS_RNG = 0x00ff00,
	CLASS_BALLOON = 0x00ff00,
	CLASS_CONSOLE = 0x078000,
	CLASS_DISK = 0x010000,
	CLASS_FS = 0x018000,
	CLASS_INPUT = 0x098000,
	CLASS_VSOCK = 0x028000,
};

static struct machine_unit *unit_new(void *device, void (*done)(void *device))
{
	struct machine_unit *u = mem_new(sizeof(*u));

	u->device = device;
	u->done = done;
	return u;
}

static void unit_reset(struct machine_unit *u)
{
	if (u->mmio.dev)
		virtio_mmio_reset(&u->mmio);
	else
		virtio_pci_reset(&u->pci);
}

static void unit_unplug(struct machine_unit *u)
{
	virtio_pci_done(&u->pci);
	virtio_mmio_done(&u->mmio);
}

static void unit_free(struct machine_unit *u)
{
	u->done(u->device);
	free(u->device);
	free(u);
}

/* Where a new device goes: @u is the board's from now on, or freed. */
static int plug(struct machine_virtio *v, struct machine_unit *u, struct virtio_dev *d,
		uint32_t class_code, struct err *err)
{
	unsigned int n = 0, max = v->bus ? MACHINE_VIRTIO_MAX : VIRTIO_MMIO_MAX;
	int r = 0;

	while (n < max && v->unit[n])
		n++;
	if (n == max)
		r = err_set(err, -ENOSPC, "more than %u virtio devices", max);
	u->slot = MACHINE_VIRTIO_SLOT + n;
	snprintf(u->name, sizeof(u->name), "%s %u", d->ops->name, u->number);
	d->name = u->name;
	u->dev = d;
	if (r == 0 && !v->bus)
		r = virtio_mmio_init(&u->mmio, d, v->board, n, err);
	else if (r == 0)
		r = virtio_pci_init(&u->pci, d, v->board, v->bus, (uint8_t)(u->slot << 3),
				    class_code, err);
	if (r < 0) {
		unit_free(u);
		return r;
	}
	v->unit[n] = u;
	return 0;
}

static unsigned int free_number(const struct machine_virtio *v, enum machine_unit_kind kind)
{
	uint64_t taken = 0;

	for (unsigned int n = 0; n < MACHINE_VIRTIO_MAX; n++)
		if (v->unit[n] && v->unit[n]->kind == kind)
			taken |= UINT64_C(1) << v->unit[n]->number;
	return (unsigned int)__builtin_ctzll(~taken);
}

static void done_rng(void *device)
{
	virtio_rng_done(device);
}

static int make_rng(struct machine_virtio *v, struct err *err)
{
	struct virtio_rng *r = mem_new(sizeof(*r));

	virtio_rng_init(r, v->board->mem, &v->io);
	return plug(v, unit_new(r, done_rng), &r->dev, CLASS_RNG, err);
}

static void done_balloon(void *device)
{
	virtio_balloon_done(device);
}

static int make_balloon(struct machine_virtio *v, bool strict, struct err *err)
{
	struct virtio_balloon *b = mem_new(sizeof(*b));
	int r;

	virtio_balloon_init(b, strict, v->board->mem, &v->io);
	r = plug(v, unit_new(b, done_balloon), &b->dev, CLASS_BALLOON, err);
	if (r == 0)
		v->balloon = b;
	return r;
}

static void done_disk(void *device)
{
	virtio_blk_done(device);
}

int machine_virtio_add_disk(struct machine_virtio *v, const struct machine_disk *disk,
			    struct machine_unit **ret, struct err *err)
{
	const struct virtio_blk_config cfg = { .disk = disk->disk,
					       .serial = disk->serial,
					       .nr_queues = disk->nr_queues,
					       .packed = disk->packed };
	struct virtio_blk *b = mem_new(sizeof(*b));
	struct machine_unit *u = unit_new(b, done_disk);
	int r;

	u->kind = UNIT_DISK;
	u->number = free_number(v, UNIT_DISK);
	u->release = disk->release;
	virtio_blk_init(b, &cfg, v->board->mem, &v->io);
	r = plug(v, u, &b->dev, CLASS_DISK, err);
	if (r < 0)
		return r;
	v->disk[u->number] = b;
	if (ret)
		*ret = u;
	return 0;
}

static void done_net(void *device)
{
	virtio_net_done(device);
}

int machine_virtio_add_net(struct machine_virtio *v, const struct machine_net *net,
			   struct machine_unit **ret, struct err *err)
{
	struct virtio_net_config cfg = { .end = *net->end,
					 .nr_pairs = net->nr_pairs,
					 .packed = net->packed };
	struct virtio_net *n = mem_new(sizeof(*n));
	struct machine_unit *u;
	int r;

	memcpy(cfg.mac, net->mac, 6);
	r = virtio_net_init(n, &cfg, v->board->mem, &v->io, err);
	if (r < 0) {
		free(n);
		return r;
	}
	u = unit_new(n, done_net);
	u->kind = UNIT_NET;
	u->number = free_number(v, UNIT_NET);
	u->release = net->release;
	r = plug(v, u, &n->dev, CLASS_NET, err);
	if (r == 0 && ret)
		*ret = u;
	return r;
}

static void done_fs(void *device)
{
	virtio_fs_done(device);
}

static int make_fs(struct machine_virtio *v, const struct machine_share *share, unsigned int index,
		   struct err *err)
{
	const struct virtio_fs_config cfg = { .fd = share->fd, .tag = share->tag };
	struct virtio_fs *f = mem_new(sizeof(*f));
	struct machine_unit *u;
	int r = virtio_fs_init(f, &cfg, v->board->mem, &v->io, err);

	if (r < 0) {
		free(f);
		return r;
	}
	u = unit_new(f, done_fs);
	u->number = index;
	return plug(v, u, &f->dev, CLASS_FS, err);
}

static void done_vsock(void *device)
{
	virtio_vsock_done(device);
}

static int make_vsock(struct machine_virtio *v, const struct machine_vsock *vsock, struct err *err)
{
	const struct virtio_vsock_config cfg = { .cid = vsock->cid,
						 .path = vsock->path,
						 .listen_fd = vsock->listen_fd };
	struct virtio_vsock *s = mem_new(sizeof(*s));
	int r = virtio_vsock_init(s, &cfg, v->board->mem, &v->io, err);

	if (r < 0) {
		free(s);
		return r;
	}
	return plug(v, unit_new(s, done_vsock), &s->dev, CLASS_VSOCK, err);
}

static void done_tablet(void *device)
{
	virtio_input_done(device);
}

static int make_tablet(struct machine_virtio *v, struct err *err)
{
	struct virtio_input *t = mem_new(sizeof(*t));
	int r;

	virtio_input_init(t, v->board->mem, &v->io);
	r = plug(v, unit_new(t, done_tablet), &t->dev, CLASS_INPUT, err);
	if (r == 0)
		v->tablet = t;
	return r;
}

static void done_console(void *device)
{
	virtio_console_done(device);
}

static int make_console(struct machine_virtio *v, const struct machine_config *cfg, struct err *err)
{
	struct virtio_console_config ports = { .nr_ports = cfg->nr_consoles };
	struct virtio_console *con = mem_new(sizeof(*con));

	for (unsigned int n = 0; n < cfg->nr_consoles; n++) {
		ports.port[n].cd = cfg->consoles[n].cd;
		ports.port[n].name = cfg->consoles[n].name;
	}
	if (cfg->clipboard) {
		v->clipboard = mem_new(sizeof(*v->clipboard));
		clipboard_init(v->clipboard, &v->io);
		ports.port[ports.nr_ports].cd = &v->clipboard->cd;
		ports.port[ports.nr_ports++].name = AGENT_PORT;
	}
	virtio_console_init(con, &ports, v->board->mem, &v->io);
	return plug(v, unit_new(con, done_console), &con->dev, CLASS_CONSOLE, err);
}

int machine_virtio_init(struct machine_virtio *v, const struct board *board, struct pci_bus *bus,
			const struct machine_config *cfg, struct err *err)
{
	int r = iothread_init(&v->io, err);

	if (r < 0)
		return r;
	v->board = board;
	v->bus = bus;
	v->is_made = true;
	for (unsigned int n = 0; r == 0 && n < cfg->nr_disks; n++)
		r = machine_virtio_add_disk(v, &cfg->disks[n], NULL, err);
	for (unsigned int n = 0; r == 0 && n < cfg->nr_nets; n++)
		r = machine_virtio_add_net(v, &cfg->nets[n], NULL, err);
	if (r == 0 && (cfg->nr_consoles || cfg->clipboard))
		r = make_console(v, cfg, err);
	for (unsigned int n = 0; r == 0 && n < cfg->nr_shares; n++)
		r = make_fs(v, &cfg->shares[n], n, err);
	if (r == 0 && cfg->vsock.cid)
		r = make_vsock(v, &cfg->vsock, err);
	if (r == 0 && cfg->rng)
		r = make_rng(v, err);
	if (r == 0 && cfg->balloon)
		r = make_balloon(v, cfg->balloon == MACHINE_STRICT_BALLOON, err);
	if (r == 0 && cfg->tablet)
		r = make_tablet(v, err);
	if (r < 0)
		machine_virtio_done(v);
	return r;
}

void machine_virtio_done(struct machine_virtio *v)
{
	if (!v->is_made)
		return;
	machine_virtio_stop(v);
	v->balloon = NULL;
	v->tablet = NULL;
	for (unsigned int n = MACHINE_VIRTIO_MAX; n-- > 0;) {
		struct machine_unit *u = take_ptr(&v->unit[n]);
		struct machine_release r;

		if (!u)
			continue;
		r = u->release;
		unit_unplug(u);
		unit_free(u);
		machine_release(&r);
	}
	if (v->clipboard)
		clipboard_done(v->clipboard);
	free(take_ptr(&v->clipboard));
	iothread_done(&v->io);
	v->is_made = false;
}

struct machine_release machine_virtio_remove(struct machine_virtio *v, struct machine_unit *u)
{
	struct machine_release r = u->release;

	unit_reset(u);
	/* The device's work may want to interrupt somebody. */
	iothread_pause(&v->io);
	unit_unplug(u);
	iothread_resume(&v->io);
	if (u->kind == UNIT_DISK)
		v->disk[u->number] = NULL;
	v->unit[u->slot - MACHINE_VIRTIO_SLOT] = NULL;
	unit_free(u);
	return r;
}

uint32_t machine_virtio_slots(const struct machine_virtio *v)
{
	uint32_t mask = 0;

	for (unsigned int n = 0; n < MACHINE_VIRTIO_MAX; n++)
		if (v->unit[n])
			mask |= UINT32_C(1) << v->unit[n]->slot;
	return mask;
}

uint32_t machine_virtio_fixed(const struct machine_virtio *v)
{
	uint32_t mask = machine_virtio_slots(v);

	for (unsigned int n = 0; n < MACHINE_VIRTIO_MAX; n++)
		if (v->unit[n] && v->unit[n]->kind != UNIT_FIXED)
			mask &= ~(UINT32_C(1) << v->unit[n]->slot);
	return mask;
}

int machine_virtio_start(struct machine_virtio *v, struct err *err)
{
	return iothread_start(&v->io, err);
}

void machine_virtio_stop(struct machine_virtio *v)
{
	/* While the thread still runs: what is in flight comes to its end, and nothing new begins. */
	if (v->io.thread.name)
		machine_virtio_reset(v);
	iothread_stop(&v->io);
}

void machine_virtio_reset(struct machine_virtio *v)
{
	for (unsigned int n = 0; n < MACHINE_VIRTIO_MAX; n++)
		if (v->unit[n])
			unit_reset(v->unit[n]);
}

void machine_virtio_stats(struct machine_virtio *v, bool json, struct strbuf *out)
{
	bool first = true;

	for (unsigned int n = 0; n < MACHINE_VIRTIO_MAX; n++) {
		if (!v->unit[n])
			continue;
		if (!json && first)
			strbuf_addf(out, "\n%-18s %14s %14s %14s %14s %14s %14s\n", "virtio",
				    "kicks", "requests", "bytes out", "bytes in", "interrupts",
				    "bad rings");
		if (json && !first)
			strbuf_addc(out, ',');
		first = false;
		virtio_print_stats(v->unit[n]->dev, json, out);
	}
}
