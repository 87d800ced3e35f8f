/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks and network devices that come and go while the guest runs. A device is taken off the board only when its slot was
 * let go of, so that the driver's memory is nobody's before anything of it ends:
 *
 *	attached --machine_detach()--> leaving --the guest's _EJ0, or a reset--> taken out, released
 *
 * _EJ0 comes on a vCPU's thread, which may not wait for requests in flight: it parks, and the main loop does the work. A
 * guest that never lets go keeps its device, and its owner sees that.
 *
 * Rejected: tearing a device out of a guest that does not answer, for which Linux's virtio drivers wait for ever, and with
 * them everything that its ACPI has to do;
 * PCI Express' own hot plug, which wants a port with a bus of its own for each slot, made before it is needed, and
 * five seconds of blinking before a card goes.
 */
#include "vm/machine_plug.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sys/fd.h"
#include "vm/machine_priv.h"
#include "vm/virtio/blk.h"
#include "vm/virtio/net.h"

static const char *const kinds[] = { [UNIT_DISK] = "disk", [UNIT_NET] = "net" };

/* --- they come ----------------------------------------------------------------------------------- */

/* What a device is called by those who attach and detach: what it is and its number. */
struct unit_name {
	char text[16];
};

static struct unit_name name_of(const struct machine_unit *u)
{
	struct unit_name n;

	snprintf(n.text, sizeof(n.text), "%s%u", kinds[u->kind], u->number);
	return n;
}

/* The device is on the board: tell the guest, and who asked for it. */
static void announce(struct machine *m, struct machine_unit *u, struct strbuf *out)
{
	u->is_late = true;
	acpi_plug_in(&m->hot_slots, u->slot);
	acpi_pm_gpe(&m->pm, ACPI_PLUG_SLOTS_GPE);
	strbuf_addf(out, "{\"name\":\"%s\",\"slot\":\"00:%02x.0\"}", name_of(u).text, u->slot);
}

static int no_slots(struct err *err)
{
	return err_set(err, -EOPNOTSUPP, "the mini board has no slots: nothing comes or goes");
}

int machine_attach_disk(struct machine *m, const char *spec, int fd, struct disk_files *files,
			struct strbuf *out, struct err *err)
{
	_cleanup_(fd_closep) int image = fd;
	struct machine_unit *u;
	struct machine_disk disk;
	int r;

	if (m->is_mini)
		return no_slots(err);
	if (!m->open_disk)
		return err_set(err, -EOPNOTSUPP, "this machine opens no disks while it runs");
	r = m->open_disk(m->open_arg, spec, &image, files, &disk, err);
	if (r < 0)
		return r;
	mutex_lock(&m->control);
	r = machine_virtio_add_disk(&m->virtio, &disk, &u, err);
	if (r == 0)
		announce(m, u, out);
	mutex_unlock(&m->control);
	if (r < 0)
		machine_release(&disk.release);
	return r;
}

static void free_end(void *owner)
{
	struct net_end *end = owner;

	net_end_close(end);
	free(end);
}

int machine_attach_net(struct machine *m, const struct machine_net *net, struct strbuf *out,
		       struct err *err)
{
	struct net_end *end = mem_new(sizeof(*end));
	struct machine_net own = *net;
	struct machine_unit *u;
	int r;

	*end = *net->end;
	if (m->is_mini) {
		free_end(end);
		return no_slots(err);
	}
	own.end = end;
	own.release = (struct machine_release){ .fn = free_end, .owner = end };
	mutex_lock(&m->control);
	r = machine_virtio_add_net(&m->virtio, &own, &u, err);
	if (r == 0)
		announce(m, u, out);
	mutex_unlock(&m->control);
	if (r < 0)
		free_end(end);
	return r;
}

/* --- they go ------------------------------------------------------------------------------------- */

static void ejected(void *arg, unsigned int slot)
{
	struct machine *m = arg;

	atomic_fetch_or(&m->ejected, UINT64_C(1) << slot);
	machine_kick(m);
}

int machine_plug_init(struct machine *m, struct err *err)
{
	const struct acpi_plug_config cfg = {
		.name = "acpi-slots",
		.base = ACPI_PLUG_SLOTS_BASE,
		.present = machine_virtio_slots(&m->virtio),
		.fixed = machine_virtio_fixed(&m->virtio),
		.ejected = ejected,
		.arg = m,
	};

	return acpi_plug_init(&m->hot_slots, &m->board, &cfg, err);
}

void machine_plug_take_out(struct machine *m, bool is_reset)
{
	struct machine_release gone[MACHINE_VIRTIO_MAX];
	unsigned int nr = 0;
	uint64_t slots;

	machine_pause(m);
	mutex_lock(&m->control);
	slots = atomic_exchange(&m->ejected, 0);
	for (unsigned int n = 0; n < MACHINE_VIRTIO_MAX; n++) {
		struct machine_unit *u = m->virtio.unit[n];

		if (u && (slots >> u->slot & 1 || (is_reset && u->is_asked)))
			gone[nr++] = machine_virtio_remove(&m->virtio, u);
	}
	machine_resume(m);
	/* Who asks what is there hears nothing before they are closed. */
	for (unsigned int n = 0; n < nr; n++)
		machine_release(&gone[n]);
	mutex_unlock(&m->control);
}

static bool is_called(const struct machine_unit *u, const char *name)
{
	return u->kind != UNIT_FIXED && !strcmp(name_of(u).text, name);
}

static struct machine_unit *find(struct machine *m, const char *name, struct err *err)
{
	for (unsigned int n = 0; n < MACHINE_VIRTIO_MAX; n++)
		if (m->virtio.unit[n] && is_called(m->virtio.unit[n], name))
			return m->virtio.unit[n];
	err_set(err, -ENODEV, "the machine has no device '%.40s' that can be detached", name);
	return NULL;
}

/* A job has the images open and knows the disk. */
static int check_job(struct machine *m, const struct machine_unit *u, struct err *err)
{
	struct disk_job_status st;

	if (u->kind != UNIT_DISK)
		return 0;
	disk_job_status(m->virtio.disk[u->number]->disk, &st);
	return st.state != DISK_JOB_RUNNING
		       ? 0
		       : err_set(err, -EBUSY, "disk %u: a %s is running; wait for it or cancel it",
				 u->number, disk_job_kind_name(st.kind));
}

int machine_detach(struct machine *m, const char *name, struct err *err)
{
	struct machine_unit *u;
	int r;

	if (m->is_mini)
		return no_slots(err);
	mutex_guard(&m->control);
	u = find(m, name, err);
	r = u ? check_job(m, u, err) : -ENODEV;
	if (r < 0)
		return r;
	u->is_asked = true;
	acpi_plug_ask(&m->hot_slots, u->slot);
	acpi_pm_gpe(&m->pm, ACPI_PLUG_SLOTS_GPE);
	return 0;
}

/* --- what is there ------------------------------------------------------------------------------- */

int machine_plug_same(const struct machine *m, struct err *err)
{
	uint32_t gone = m->hot_slots.cfg.present & ~machine_virtio_slots(&m->virtio);

	for (unsigned int n = 0; n < MACHINE_VIRTIO_MAX; n++) {
		const struct machine_unit *u = m->virtio.unit[n];

		if (u && u->is_late)
			return err_set(err, -EOPNOTSUPP,
				       "%s was attached while the machine ran, and a machine of the "
				       "snapshot would not have it: detach it first",
				       name_of(u).text);
	}
	if (gone)
		return err_set(err, -EOPNOTSUPP,
			       "the device in slot 00:%02x.0 was detached while the machine ran, and a "
			       "machine of the snapshot would have it: start the machine without it",
			       (unsigned int)__builtin_ctz(gone));
	return 0;
}

static void add_disk(const struct virtio_blk *b, struct strbuf *out)
{
	struct disk_info info;

	strbuf_adds(out, ",\"file\":");
	if (disk_info(b->disk, 0, &info, NULL) < 0) {
		strbuf_adds(out, "null");
		return;
	}
	strbuf_add_json(out, str_of(info.path));
	disk_info_done(&info);
}

static void add_net(const struct virtio_net *n, struct strbuf *out)
{
	const uint8_t *mac = n->own_mac;

	strbuf_addf(out, ",\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\"", mac[0], mac[1], mac[2],
		    mac[3], mac[4], mac[5]);
}

void machine_devices(struct machine *m, struct strbuf *out)
{
	bool first = true;

	mutex_guard(&m->control);
	strbuf_addc(out, '[');
	for (unsigned int n = 0; n < MACHINE_VIRTIO_MAX; n++) {
		const struct machine_unit *u = m->virtio.unit[n];

		if (!u || u->kind == UNIT_FIXED)
			continue;
		strbuf_addf(out,
			    "%s{\"name\":\"%s\",\"kind\":\"%s\",\"slot\":\"00:%02x.0\",\"state\":\"%s\"",
			    first ? "" : ",", name_of(u).text, kinds[u->kind], u->slot,
			    u->is_asked ? "leaving" : "attached");
		if (u->kind == UNIT_DISK)
			add_disk(u->device, out);
		else
			add_net(u->device, out);
		strbuf_addc(out, '}');
		first = false;
	}
	strbuf_addc(out, ']');
}
