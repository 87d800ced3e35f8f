/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole machine into a file, and out of it. What is saved, and by which table, is one list, in which those that raise
 * interrupts come before those that take them: should something still arrive from outside while the list is being walked, a
 * controller has heard of an interrupt whose cause was saved without it, which is harmless, and never the other way round.
 *
 * Loading checks everything before it changes anything. Then values are put in, and only when all of them are there does each
 * device do what follows from its own (state_desc.loaded).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "vm/machine_plug.h"
#include "vm/machine_priv.h"
#include "vm/machine_snapshot_priv.h"
#include "vm/snapshot/copy.h"
#include "vm/snapshot/cpu.h"
#include "vm/snapshot/file.h"
#include "vm/snapshot/state.h"
#include "vm/virtio/blk.h"

/* One table and what it is of. */
struct part {
	const struct state_desc *desc;
	void *obj;
	char name[SNAPSHOT_NAME];
};

enum { PARTS_MAX = 32 + MACHINE_VIRTIO_MAX * (4 + VIRTIO_MAX_QUEUES) + 256 };

struct parts {
	unsigned int nr;
	struct part part[PARTS_MAX];
};

static void add(struct parts *p, const struct state_desc *desc, void *obj, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void add(struct parts *p, const struct state_desc *desc, void *obj, const char *fmt, ...)
{
	struct part *e = &p->part[p->nr++];
	va_list ap;

	e->desc = desc;
	e->obj = obj;
	va_start(ap, fmt);
	vsnprintf(e->name, sizeof(e->name), fmt, ap);
	va_end(ap);
}

static void add_unit(struct parts *p, struct machine_unit *u)
{
	struct virtio_dev *d = u->pci.dev;

	add(p, &virtio_pci_state, &u->pci, "%s pci", u->name);
	add(p, &msix_state, &u->pci.msix, "%s msix", u->name);
	for (unsigned int n = 0; n < d->nr_queues; n++)
		add(p, &virtq_state, &d->q[n], "%s queue %u", u->name, n);
	if (d->ops->state)
		add(p, d->ops->state, u->device, "%s device", u->name);
	add(p, &virtio_dev_state, d, "%s", u->name);
}

static void list_parts(struct machine *m, struct parts *p)
{
	p->nr = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(m->pci.dev); i++)
		if (m->pci.dev[i])
			add(p, &pci_dev_state, m->pci.dev[i], "pci %02x.%x", i >> 3, i & 7);
	add(p, &pci_bus_state, &m->pci, "pci");
	for (unsigned int i = 0; i < MACHINE_VIRTIO_MAX; i++)
		if (m->virtio.unit[i])
			add_unit(p, m->virtio.unit[i]);
	for (unsigned int i = 0; i < MACHINE_SERIALS; i++)
		if (m->has_serial[i])
			add(p, &serial16550_state, &m->serial[i], "serial %u", i);
	if (m->has_ahci)
		add(p, &ahci_state, &m->ahci, "ahci");
	if (m->has_ide)
		add(p, &ide_state, &m->ide, "ide");
	if (m->has_watchdog)
		add(p, &i6300esb_state, &m->watchdog, "watchdog");
	if (m->has_vga)
		add(p, &vga_state, &m->vga, "vga");
	if (m->vars.mmio)
		add(p, &pflash_state, &m->vars, "flash");
	add(p, &fw_cfg_state, &m->fw_cfg, "fw-cfg");
	add(p, &i8042_state, &m->kbd, "i8042");
	add(p, &acpi_plug_state, &m->hot_cpus, "acpi-cpus");
	add(p, &acpi_plug_state, &m->hot_slots, "acpi-slots");
	add(p, &acpi_pm_state, &m->pm, "acpi-pm");
	add(p, &hpet_state, &m->hpet, "hpet");
	add(p, &rtc_state, &m->rtc, "rtc");
	add(p, &i8254_state, &m->pit, "i8254");
	add(p, &irq_router_state, &m->irqs, "irq");
	add(p, &ioapic_state, &m->ioapic, "ioapic");
	add(p, &i8259_state, &m->pic, "i8259");
}

/* --- the machine as such ------------------------------------------------------------------------ */

struct whole {
	uint64_t memory_bytes;
	uint32_t nr_cpus, first_cpus;
	uint32_t cpu_model; /* cpu_group_model_sum() */
	uint32_t roms;	    /* a checksum of firmware's ROMs */
	bool has_firmware;
	uint64_t clock_ns, guest_ns, tsc, tsc_khz;
	uint8_t boot_id[MACHINE_BOOT_ID]; /* of the host, since when its TSC has counted so fast */
	bool knows_generation;		  /* the guest has a driver of the generation identifier */
};

static const struct state_field whole_fields[] = {
	STATE_ANY(struct whole, memory_bytes),
	STATE_RANGE(struct whole, nr_cpus, 1, 64),
	STATE_RANGE(struct whole, first_cpus, 1, 64),
	STATE_ANY(struct whole, cpu_model),
	STATE_ANY(struct whole, roms),
	STATE_BOOL(struct whole, has_firmware),
	STATE_MAX(struct whole, clock_ns, INT64_MAX),
	STATE_MAX(struct whole, guest_ns, INT64_MAX),
	STATE_ANY(struct whole, tsc),
	STATE_RANGE(struct whole, tsc_khz, 1000, UINT32_MAX),
	STATE_BYTES(struct whole, boot_id),
	STATE_SINCE(2, struct whole, knows_generation, 1),
};

static const struct state_desc whole_state = {
	.name = "machine",
	.version = 2,
	STATE_NO_LOCK,
	STATE_TABLE(struct whole, whole_fields),
};

static uint32_t roms_sum(const struct machine *m)
{
	const struct physmem *p = &m->memory.phys;
	uint32_t sum = 0;

	for (unsigned int k = 0; k < p->nr; k++)
		if (p->region[k].is_rom)
			sum = crc32c(sum, p->region[k].hva, p->region[k].size);
	return sum;
}

static void fill_whole(struct machine *m, struct whole *w)
{
	*w = (struct whole){
		.memory_bytes = m->memory_bytes,
		.nr_cpus = m->nr_cpus,
		.first_cpus = m->first_cpus,
		.roms = roms_sum(m),
		.has_firmware = m->has_firmware,
		.knows_generation = atomic_load(&m->generation.was_read),
	};
	if (m->cpus)
		w->cpu_model = cpu_group_model_sum(m->cpus);
}

/* The section @name, whose contents could be loaded. Returns NULL when there is none, or it could not. */
static const struct snapshot_section *checked(struct snapshot *snap, const char *name,
					      const struct state_desc *desc, const void *obj,
					      uint64_t now_ns, struct err *err)
{
	const struct snapshot_section *s = snapshot_find(snap, name);
	int r;

	if (!s) {
		err_set(err, -EINVAL, "snapshot '%s' has no '%s', which this machine has",
			snap->path, name);
		return NULL;
	}
	r = state_check(desc, obj, s->version, s->data, now_ns, err);
	if (r < 0) {
		err_wrap(err, r, "snapshot '%s': %s", snap->path, name);
		return NULL;
	}
	return s;
}

static int read_whole(struct snapshot *snap, struct whole *w, struct err *err)
{
	const struct snapshot_section *s;

	*w = (struct whole){ 0 };
	s = checked(snap, "machine", &whole_state, w, 0, err);
	if (!s)
		return -EINVAL;
	state_load(&whole_state, w, s->version, s->data);
	return 0;
}

static int differs(const struct snapshot *snap, const char *what, unsigned long long theirs,
		   unsigned long long ours, struct err *err)
{
	return err_set(err, -EINVAL,
		       "snapshot '%s' is of a machine with %s %llu; this one has %llu", snap->path,
		       what, theirs, ours);
}

int machine_snapshot_prepare(struct machine *m, struct snapshot *snap, uint64_t *ret_tsc_khz,
			     struct err *err)
{
	struct whole w;
	uint64_t khz;
	int r = read_whole(snap, &w, err);

	if (m->is_mini)
		return err_set(err, -EOPNOTSUPP, "a snapshot is of a PC (--board q35)");
	if (r < 0)
		return r;
	if (w.memory_bytes != m->memory_bytes || snap->memory_bytes != memory_bytes(&m->memory))
		return differs(snap, "memory of bytes:", w.memory_bytes, m->memory_bytes, err);
	if (w.nr_cpus != m->nr_cpus || w.first_cpus != m->first_cpus)
		return differs(snap, "a number of vCPUs of", w.nr_cpus, m->nr_cpus, err);
	if (!memcmp(m->boot_id, w.boot_id, sizeof(w.boot_id)))
		clock_tsc_khz_known(w.tsc_khz);
	khz = clock_tsc_khz();
	/* What is measured differs by some 20 ppm; another host's TSC by more. */
	if (khz / 1000 > w.tsc_khz / 1000 + w.tsc_khz / 1000000 + 1 ||
	    w.tsc_khz / 1000 > khz / 1000 + khz / 1000000 + 1)
		return err_set(err, -EOPNOTSUPP,
			       "snapshot '%s' is of a host whose TSC counts %llu kHz; this one's counts "
			       "%llu, and its guest would have the wrong time",
			       snap->path, (unsigned long long)w.tsc_khz, (unsigned long long)khz);
	*ret_tsc_khz = w.tsc_khz;
	return 0;
}

/* --- saving -------------------------------------------------------------------------------------- */

static int save_cpus(struct machine *m, struct snapshot_writer *w, struct err *err)
{
	struct cpu_state *state = aligned_alloc(64, sizeof(*state));
	char name[SNAPSHOT_NAME];

	if (!state)
		return err_set(err, -ENOMEM, "no memory for a CPU's state");
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		cpu_get_state(m->vcpu[i].cpu, state);
		snprintf(name, sizeof(name), "cpu %u", i);
		state_save(&cpu_state_desc, state, snapshot_add(w, name, cpu_state_desc.version));
	}
	free(state);
	return 0;
}

static int save_parts(struct machine *m, struct snapshot_writer *w, struct parts *p,
		      struct err *err)
{
	struct whole whole;
	struct cpu_group_time t;
	int r;

	fill_whole(m, &whole);
	list_parts(m, p);
	for (unsigned int i = 0; i < p->nr; i++)
		state_save(p->part[i].desc, p->part[i].obj,
			   snapshot_add(w, p->part[i].name, p->part[i].desc->version));
	if (m->vars.mmio)
		strbuf_add(snapshot_add(w, "flash data", 1), m->vars.data, m->vars.size);
	r = save_cpus(m, w, err);
	/* Last, so that no time that was saved is in the future. */
	whole.clock_ns = clock_now(m->clock);
	cpu_group_get_time(m->cpus, &t);
	whole.guest_ns = t.now_ns;
	whole.tsc = t.tsc;
	whole.tsc_khz = t.tsc_khz;
	memcpy(whole.boot_id, m->boot_id, sizeof(whole.boot_id));
	state_save(&whole_state, &whole, snapshot_add(w, "machine", whole_state.version));
	strbuf_adds(snapshot_add(w, "options", 1), m->options);
	cpu_group_model_text(m->cpus, snapshot_add(w, "cpu model", 1));
	return r;
}

/* What there is no table for. */
static int can_save(const struct machine *m, struct err *err)
{
	if (m->is_mini)
		return err_set(err, -EOPNOTSUPP, "machines on the mini board cannot be saved");
	if (m->debug_exit)
		return err_set(err, -EOPNOTSUPP,
			       "the test devices of --debug-exit cannot be saved");
	return machine_plug_same(m, err);
}

/* Nothing of the machine moves any more, and nothing is half done. Returns 0 or negative, also when only some devices are
 * settled: thaw() follows. */
static int freeze(struct machine *m, struct err *err)
{
	int r = 0;

	machine_stand_still(m);
	timerq_pause(&m->timers);
	if (atomic_load(&m->request) || atomic_load(&m->ejected))
		return err_set(err, -EBUSY,
			       "the machine is being reset, switched off, or taken a device out of");
	r = can_save(m, err);
	/* They would be answered with an error. */
	if (r == 0)
		r = snapshot_disks_full(m, err);
	for (unsigned int n = 0; r == 0 && n < MACHINE_VIRTIO_MAX; n++)
		if (m->virtio.unit[n])
			r = virtio_settle(m->virtio.unit[n]->pci.dev, err);
	if (r == 0 && m->has_ahci)
		ata_settle(&m->ahci.worker);
	if (r == 0 && m->has_ide)
		ata_settle(&m->ide.worker);
	return r;
}

static void thaw(struct machine *m)
{
	timerq_resume(&m->timers);
	for (unsigned int n = 0; n < MACHINE_VIRTIO_MAX; n++)
		if (m->virtio.unit[n])
			virtio_unsettle(m->virtio.unit[n]->pci.dev);
	machine_go_on(m);
}

/* What takes no time is asked before what does; the answer may be another one later. */
static int prepare(struct machine *m, const struct machine_save *to, struct snapshot_disks *disks,
		   struct err *err)
{
	int r;

	mutex_guard(&m->control);
	r = can_save(m, err);
	return r < 0 ? r : snapshot_disks_open(disks, m, to, err);
}

/* While everything stands still. */
static int save_still(struct machine *m, struct snapshot_writer *w, struct snapshot_copy *copy,
		      struct snapshot_disks *disks, struct err *err)
{
	_cleanup_(mem_freep) struct parts *parts = mem_new(sizeof(*parts));
	int r = save_parts(m, w, parts, err);

	if (r == 0 && disks->nr)
		snapshot_disks_tell(disks, snapshot_add(w, "disks", 1));
	if (r == 0)
		r = snapshot_copy_rest(copy, err);
	return r < 0 ? r : snapshot_disks_begin(disks, m, err);
}

/* The memory into the file, and in the end everything else. */
static int save_all(struct machine *m, const struct machine_save *to, struct snapshot_writer *w,
		    struct snapshot_disks *disks, uint64_t *ret_stopped_ns, struct err *err)
{
	_cleanup_(snapshot_copy_done) struct snapshot_copy copy = { 0 };
	int r = to->base ? snapshot_begin_on(w, to->base, to->base_name, err) : 0, still;
	uint64_t began;

	if (r == 0)
		r = snapshot_copy_running(&copy, w, &m->track, &m->control, err);
	began = clock_now(clock_real());
	still = freeze(m, r == 0 ? err : NULL); /* and if only for the log's end */
	if (r == 0)
		r = still;
	if (r == 0)
		r = save_still(m, w, &copy, disks, err);
	if (r < 0)
		snapshot_track_stop(&m->track);
	thaw(m);
	*ret_stopped_ns = clock_now(clock_real()) - began;
	return r < 0 ? r : snapshot_copy_end(&copy, err);
}

int machine_snapshot_save(struct machine *m, const struct machine_save *to, struct strbuf *out,
			  struct err *err)
{
	_cleanup_(snapshot_writer_done) struct snapshot_writer w = { .fd = -EBADF };
	struct snapshot_disks disks = { 0 };
	uint64_t stopped_ns = 0;
	int r = prepare(m, to, &disks, err);

	if (r == 0)
		r = snapshot_begin(&w, to->fd, memory_bytes(&m->memory), err);
	if (r == 0)
		r = snapshot_track_begin(&m->track, &m->memory, err);
	if (r == 0) {
		r = save_all(m, to, &w, &disks, &stopped_ns, err);
		if (r == 0)
			r = snapshot_end(&w, err);
		snapshot_track_end(&m->track, r == 0 ? &w.self : NULL);
	}
	if (r == 0)
		strbuf_addf(out, "{\"pages\":%llu,\"stopped_ns\":%llu}",
			    (unsigned long long)snapshot_pages(&w), (unsigned long long)stopped_ns);
	snapshot_disks_done(&disks, m, r < 0);
	return r;
}

/* --- loading ------------------------------------------------------------------------------------- */

/* What was found good of each part, in the order of the parts. */
struct found {
	const struct snapshot_section **section;
	struct cpu_state *cpu; /* one for each vCPU */
	const struct snapshot_section *flash;
};

static int check_cpus(struct machine *m, struct snapshot *snap, uint64_t now_ns, struct found *f,
		      struct err *err)
{
	char name[SNAPSHOT_NAME];

	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		const struct snapshot_section *s;
		int r;

		cpu_get_state(m->vcpu[i].cpu, &f->cpu[i]);
		snprintf(name, sizeof(name), "cpu %u", i);
		s = checked(snap, name, &cpu_state_desc, &f->cpu[i], now_ns, err);
		if (!s)
			return -EINVAL;
		state_load(&cpu_state_desc, &f->cpu[i], s->version, s->data);
		r = cpu_fits(m->vcpu[i].cpu, &f->cpu[i], err);
		if (r < 0)
			return err_wrap(err, r, "snapshot '%s': %s", snap->path, name);
	}
	return 0;
}

static int check_parts(struct machine *m, struct snapshot *snap, const struct parts *p,
		       uint64_t now_ns, struct found *f, struct err *err)
{
	for (unsigned int i = 0; i < p->nr; i++) {
		f->section[i] = checked(snap, p->part[i].name, p->part[i].desc, p->part[i].obj,
					now_ns, err);
		if (!f->section[i])
			return -EINVAL;
	}
	if (m->vars.mmio) {
		f->flash = snapshot_find(snap, "flash data");
		if (!f->flash || f->flash->version != 1 || f->flash->data.n != m->vars.size)
			return err_set(err, -EINVAL,
				       "snapshot '%s' has other flash memory than this machine",
				       snap->path);
	}
	/* Of interest before. */
	ignore_result(snapshot_find(snap, "options") != NULL);
	ignore_result(snapshot_find(snap, "cpu model") != NULL);
	if (snap->has_base) {
		ignore_result(snapshot_find(snap, "base") != NULL);
		ignore_result(snapshot_find(snap, "pages") != NULL);
	}
	ignore_result(snapshot_find(snap, "disks") != NULL);
	return 0;
}

static int check_whole(struct machine *m, struct snapshot *snap, const struct whole *w,
		       struct err *err)
{
	struct whole ours;

	fill_whole(m, &ours);
	if (w->cpu_model != ours.cpu_model)
		return err_set(err, -EINVAL,
			       "snapshot '%s' has another CPU model: the guest knows features that "
			       "--cpu and this host do not give it in the same way",
			       snap->path);
	if (w->has_firmware != ours.has_firmware || w->roms != ours.roms)
		return err_set(err, -EINVAL, "snapshot '%s' was made with another firmware",
			       snap->path);
	for (unsigned int i = 0; i < snap->nr; i++)
		if (!snap->section[i].is_used)
			return err_set(err, -EINVAL,
				       "snapshot '%s' has '%s', which this machine has not",
				       snap->path, snap->section[i].name);
	return 0;
}

/* Who is there, as the devices say. */
static void load_vcpus(struct machine *m)
{
	uint64_t present = acpi_plug_present(&m->hot_cpus);

	mutex_lock(&m->lock);
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		m->vcpu[i].is_absent = !(present >> i & 1);
		m->vcpu[i].is_dead = false;
	}
	m->failure = ERR_INIT;
	mutex_unlock(&m->lock);
}

static void load(struct machine *m, const struct parts *p, const struct whole *w,
		 const struct found *f)
{
	const struct cpu_group_time t = { w->guest_ns, w->tsc, w->tsc_khz };

	for (unsigned int i = 0; i < p->nr; i++)
		state_load(p->part[i].desc, p->part[i].obj, f->section[i]->version,
			   f->section[i]->data);
	if (f->flash)
		pflash_replace(&m->vars, f->flash->data.p);
	clock_shifted_set(&m->time, w->clock_ns);
	cpu_group_set_time(m->cpus, &t);
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		cpu_set_state(m->vcpu[i].cpu, &f->cpu[i]);
	cpu_group_flush(m->cpus);
	load_vcpus(m);
	for (unsigned int i = 0; i < p->nr; i++)
		if (p->part[i].desc->loaded)
			p->part[i].desc->loaded(p->part[i].obj);
	if (atomic_exchange(&m->move_windows, false))
		memory_move_windows(&m->memory);
	/* It is another machine than the one that was saved, and the guest shall know before its programs do anything. */
	atomic_store(&m->generation.was_read, w->knows_generation);
	acpi_pm_gpe(&m->pm, VMGENID_GPE);
	if (w->knows_generation)
		cpu_group_hold_user(m->cpus, VMGENID_BASE);
}

/* All from the file that has everything, and over that what the later ones have. */
static int map_memory(struct machine *m, const struct snapshot *snap, struct err *err)
{
	int r;

	if (!snap->has_base)
		return memory_map_file(&m->memory, snap->fd, SNAPSHOT_HEADER, err);
	r = map_memory(m, snap->base, err); /* SNAPSHOT_CHAIN at most */
	for (unsigned int i = 0; r == 0 && i < snap->nr_extents; i++) {
		uint64_t at = (uint64_t)snap->extent[i].page * GUEST_PAGE_SIZE;

		r = memory_map_part(&m->memory, snap->fd, SNAPSHOT_HEADER + at, at,
				    (uint64_t)snap->extent[i].nr * GUEST_PAGE_SIZE, err);
	}
	return r;
}

int machine_snapshot_load(struct machine *m, struct snapshot *snap, struct err *err)
{
	_cleanup_(mem_freep) struct parts *parts = mem_new(sizeof(*parts));
	struct found f = { 0 };
	struct whole w = { 0 };
	int r;

	list_parts(m, parts);
	f.section = mem_new_n(parts->nr, sizeof(*f.section));
	f.cpu = aligned_alloc(64, m->nr_cpus * sizeof(*f.cpu));
	r = f.cpu ? 0 : err_set(err, -ENOMEM, "no memory");
	for (unsigned int i = 0; i < snap->nr; i++)
		snap->section[i].is_used = false;
	if (r == 0)
		r = read_whole(snap, &w, err);
	if (r == 0)
		r = check_parts(m, snap, parts, w.clock_ns, &f, err);
	if (r == 0)
		r = check_cpus(m, snap, w.clock_ns, &f, err);
	if (r == 0)
		r = check_whole(m, snap, &w, err);
	if (r == 0)
		r = map_memory(m, snap, err);
	if (r == 0)
		load(m, parts, &w, &f);
	free(f.section);
	free(f.cpu);
	return r;
}
