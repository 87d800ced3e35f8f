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
	CLASS_VSOCK = 0x028000,
};

/* Where a new device goes. Its caller has made @device, which is the unit's from now on. */
static int plug(struct machine_virtio *v, const struct board *board, struct pci_bus *bus,
		struct virtio_dev *d, void *device, void (*done)(void *device), unsigned int index,
		uint32_t class_code, struct err *err)
{
	struct machine_unit *u;
	int r;

	if (v->nr == MACHINE_VIRTIO_MAX) {
		done(device);
		free(device);
		return err_set(err, -ENOSPC, "more than %d virtio devices", MACHINE_VIRTIO_MAX);
	}
	u = mem_new(sizeof(*u));
	v->unit[v->nr] = u;
	u->device = device;
	u->done = done;
	snprintf(u->name, sizeof(u->name), "%s %u", d->ops->name, index);
	d->name = u->name;
	r = virtio_pci_init(&u->pci, d, board, bus, (uint8_t)((MACHINE_VIRTIO_SLOT + v->nr) << 3),
			    class_code, err);
	v->nr++;
	return r;
}

static void done_rng(void *device)
{
	virtio_rng_done(device);
}

static int make_rng(struct machine_virtio *v, const struct board *board, struct pci_bus *bus,
		    struct err *err)
{
	struct virtio_rng *r = mem_new(sizeof(*r));

	virtio_rng_init(r, board->mem, &v->io);
	return plug(v, board, bus, &r->dev, r, done_rng, 0, CLASS_RNG, err);
}

static void done_balloon(void *device)
{
	virtio_balloon_done(device);
}

static int make_balloon(struct machine_virtio *v, const struct board *board, struct pci_bus *bus,
			bool strict, struct err *err)
{
	struct virtio_balloon *b = mem_new(sizeof(*b));
	int r;

	virtio_balloon_init(b, strict, board->mem, &v->io);
	r = plug(v, board, bus, &b->dev, b, done_balloon, 0, CLASS_BALLOON, err);
	if (r == 0)
		v->balloon = b;
	return r;
}

static void done_disk(void *device)
{
	virtio_blk_done(device);
}

static int make_disk(struct machine_virtio *v, const struct board *board, struct pci_bus *bus,
		     const struct machine_disk *disk, unsigned int index, struct err *err)
{
	const struct virtio_blk_config cfg = { .disk = disk->disk,
					       .serial = disk->serial,
					       .nr_queues = disk->nr_queues,
					       .packed = disk->packed };
	struct virtio_blk *b = mem_new(sizeof(*b));
	int r;

	virtio_blk_init(b, &cfg, board->mem, &v->io);
	r = plug(v, board, bus, &b->dev, b, done_disk, index, CLASS_DISK, err);
	if (r == 0)
		v->disk[v->nr_disks++] = b;
	return r;
}

static void done_net(void *device)
{
	virtio_net_done(device);
}

static int make_net(struct machine_virtio *v, const struct board *board, struct pci_bus *bus,
		    const struct machine_net *net, unsigned int index, struct err *err)
{
	struct virtio_net_config cfg = { .end = *net->end,
					 .nr_pairs = net->nr_pairs,
					 .packed = net->packed };
	struct virtio_net *n = mem_new(sizeof(*n));
	int r;

	memcpy(cfg.mac, net->mac, 6);
	r = virtio_net_init(n, &cfg, board->mem, &v->io, err);
	if (r < 0) {
		free(n);
		return r;
	}
	return plug(v, board, bus, &n->dev, n, done_net, index, CLASS_NET, err);
}

static void done_fs(void *device)
{
	virtio_fs_done(device);
}

static int make_fs(struct machine_virtio *v, const struct board *board, struct pci_bus *bus,
		   const struct machine_share *share, unsigned int index, struct err *err)
{
	const struct virtio_fs_config cfg = { .fd = share->fd, .tag = share->tag };
	struct virtio_fs *f = mem_new(sizeof(*f));
	int r = virtio_fs_init(f, &cfg, board->mem, &v->io, err);

	if (r < 0) {
		free(f);
		return r;
	}
	return plug(v, board, bus, &f->dev, f, done_fs, index, CLASS_FS, err);
}

static void done_vsock(void *device)
{
	virtio_vsock_done(device);
}

static int make_vsock(struct machine_virtio *v, const struct board *board, struct pci_bus *bus,
		      const struct machine_vsock *vsock, struct err *err)
{
	const struct virtio_vsock_config cfg = { .cid = vsock->cid,
						 .path = vsock->path,
						 .listen_fd = vsock->listen_fd };
	struct virtio_vsock *s = mem_new(sizeof(*s));
	int r = virtio_vsock_init(s, &cfg, board->mem, &v->io, err);

	if (r < 0) {
		free(s);
		return r;
	}
	return plug(v, board, bus, &s->dev, s, done_vsock, 0, CLASS_VSOCK, err);
}

static void done_console(void *device)
{
	virtio_console_done(device);
}

static int make_console(struct machine_virtio *v, const struct board *board, struct pci_bus *bus,
			const struct machine_config *cfg, struct err *err)
{
	struct virtio_console_config ports = { .nr_ports = cfg->nr_consoles };
	struct virtio_console *con = mem_new(sizeof(*con));

	for (unsigned int n = 0; n < cfg->nr_consoles; n++) {
		ports.port[n].cd = cfg->consoles[n].cd;
		ports.port[n].name = cfg->consoles[n].name;
	}
	virtio_console_init(con, &ports, board->mem, &v->io);
	return plug(v, board, bus, &con->dev, con, done_console, 0, CLASS_CONSOLE, err);
}

int machine_virtio_init(struct machine_virtio *v, const struct board *board, struct pci_bus *bus,
			const struct machine_config *cfg, struct err *err)
{
	int r = iothread_init(&v->io, err);

	if (r < 0)
		return r;
	v->is_made = true;
	for (unsigned int n = 0; r == 0 && n < cfg->nr_disks; n++)
		r = make_disk(v, board, bus, &cfg->disks[n], n, err);
	for (unsigned int n = 0; r == 0 && n < cfg->nr_nets; n++)
		r = make_net(v, board, bus, &cfg->nets[n], n, err);
	if (r == 0 && cfg->nr_consoles)
		r = make_console(v, board, bus, cfg, err);
	for (unsigned int n = 0; r == 0 && n < cfg->nr_shares; n++)
		r = make_fs(v, board, bus, &cfg->shares[n], n, err);
	if (r == 0 && cfg->vsock.cid)
		r = make_vsock(v, board, bus, &cfg->vsock, err);
	if (r == 0 && cfg->rng)
		r = make_rng(v, board, bus, err);
	if (r == 0 && cfg->balloon)
		r = make_balloon(v, board, bus, cfg->balloon == MACHINE_STRICT_BALLOON, err);
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
	while (v->nr) {
		struct machine_unit *u = v->unit[--v->nr];

		virtio_pci_done(&u->pci);
		u->done(u->device);
		free(u->device);
		free(u);
	}
	iothread_done(&v->io);
	v->is_made = false;
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
	for (unsigned int n = 0; n < v->nr; n++)
		virtio_pci_reset(&v->unit[n]->pci);
}

void machine_virtio_stats(struct machine_virtio *v, bool json, struct strbuf *out)
{
	if (!json && v->nr)
		strbuf_addf(out, "\n%-18s %14s %14s %14s %14s %14s %14s\n", "virtio", "kicks",
			    "requests", "bytes out", "bytes in", "interrupts", "bad rings");
	for (unsigned int n = 0; n < v->nr; n++) {
		if (json && n)
			strbuf_addc(out, ',');
		virtio_print_stats(v->unit[n]->pci.dev, json, out);
	}
}
