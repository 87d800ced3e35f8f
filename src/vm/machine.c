/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Putting a machine together: memory, buses, devices, vCPUs.
 *
 * The board is fixed (a Q35-like PC, and a small one that has a part of it), so it is written down as a list of
 * steps rather than described by data. Parts are made in one order and ended in the opposite one; `parts`
 * says how far it got, which makes every failure on the way clean up exactly what exists.
 */
#include "vm/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/fd.h"
#include "vm/machine_priv.h"

/* --- what the CPUs need from their machine --- */

static uint32_t pio_in(void *arg, uint16_t port, unsigned int size)
{
	struct machine *m = arg;

	return (uint32_t)bus_read(m->pio, port, size);
}

static void pio_out(void *arg, uint16_t port, unsigned int size, uint32_t value)
{
	struct machine *m = arg;

	bus_write(m->pio, port, size, value);
}

static uint64_t mmio_read(void *arg, uint64_t gpa, unsigned int size)
{
	struct machine *m = arg;

	return bus_read(m->mmio, gpa, size);
}

static void mmio_write(void *arg, uint64_t gpa, unsigned int size, uint64_t value)
{
	struct machine *m = arg;

	bus_write(m->mmio, gpa, size, value);
}

static uint8_t extint_ack(void *arg)
{
	struct machine *m = arg;

	return i8259_ack(&m->pic);
}

static void eoi(void *arg, uint8_t vector)
{
	struct machine *m = arg;

	ioapic_eoi(&m->ioapic, vector);
}

static const struct cpu_machine_ops cpu_ops = {
	.pio_in = pio_in,
	.pio_out = pio_out,
	.mmio_read = mmio_read,
	.mmio_write = mmio_write,
	.extint_ack = extint_ack,
	.eoi = eoi,
};

/* --- what the devices need --- */

/* Before there are CPUs nobody takes messages or interrupts; devices are quiet then, but may be reset. */
static void send_msi(void *arg, uint64_t addr, uint32_t data)
{
	struct machine *m = arg;

	if (m->cpus)
		cpu_group_msi(m->cpus, addr, data);
}

static void set_extint(void *arg, bool level)
{
	struct machine *m = arg;

	if (m->cpus)
		cpu_group_extint(m->cpus, level);
}

static void on_request(void *arg, enum machine_end what, uint32_t value)
{
	machine_ask(arg, what, value);
}

static void on_guest_event(void *arg, enum guest_event what)
{
	machine_told(arg, what);
}

static void on_windows_moved(void *arg)
{
	machine_ask_windows(arg);
}

static int make_memory(struct machine *m, const struct machine_config *cfg, struct err *err)
{
	int r = memory_init(&m->memory, cfg->memory_bytes, err);

	if (r < 0)
		return r;
	if (cfg->merge)
		r = memory_merge(&m->memory, err);
	if (r < 0)
		memory_done(&m->memory);
	return r;
}

static int make_vga(struct machine *m, const struct machine_config *cfg, struct err *err)
{
	struct memory_window *window;
	int r;

	if (!cfg->vga)
		return 0;
	r = memory_add_window(&m->memory, VGA_MEMORY, &window, err);
	if (r == 0)
		r = vga_init(&m->vga, &m->board, &m->pci, window->hva, window, err);
	m->has_vga = r == 0;
	return r;
}

/* The controller is there only for its drives: it has a thread. */
static int make_ahci(struct machine *m, const struct machine_config *cfg, struct err *err)
{
	int r = 0;

	for (unsigned int k = 0; r == 0 && k < MACHINE_SATA; k++) {
		const struct machine_drive *s = &cfg->sata[k];

		if (!s->disk)
			continue;
		if (!m->has_ahci)
			r = ahci_init(&m->ahci, &m->board, &m->pci, err);
		m->has_ahci = r == 0;
		if (r == 0)
			r = ahci_plug(&m->ahci, k, s->disk, s->is_cd, s->is_readonly, s->serial,
				      err);
		if (r < 0)
			ahci_done(&m->ahci);
	}
	return r;
}

static int make_ide(struct machine *m, const struct machine_config *cfg, struct err *err)
{
	int r = 0;

	for (unsigned int k = 0; r == 0 && k < MACHINE_IDE; k++) {
		const struct machine_drive *s = &cfg->ide[k];

		if (!s->disk)
			continue;
		if (!m->has_ide)
			r = ide_init(&m->ide, &m->board, &m->pci, err);
		m->has_ide = r == 0;
		if (r == 0)
			r = ide_plug(&m->ide, k, s->disk, s->is_cd, s->is_readonly, s->serial, err);
		if (r < 0)
			ide_done(&m->ide);
	}
	return r;
}

static int make_serial_ports(struct machine *m, const struct machine_config *cfg, struct err *err)
{
	static const struct {
		uint16_t port;
		unsigned int gsi;
	} com[MACHINE_SERIALS] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };

	for (unsigned int i = 0; i < MACHINE_SERIALS; i++) {
		int r;

		if (!cfg->serial[i])
			continue;
		r = serial16550_init(&m->serial[i], &m->board, com[i].port, com[i].gsi,
				     cfg->serial[i], err);
		if (r < 0)
			return r;
		m->has_serial[i] = true;
		m->serial_end[i] = cfg->serial[i];
	}
	return 0;
}

enum { EDU_DEVFN = 4 << 3 };

/* What test suites expect: their own device, and a PCI device behind an I/O memory management unit,
 * which also remaps the interrupts of the I/O APIC. */
static int make_test_devices(struct machine *m, struct err *err)
{
	int r = testdev_init(&m->testdev, &m->board, err);

	if (r < 0)
		return r;
	r = vtd_init(&m->vtd, &m->board, err);
	if (r >= 0)
		r = edu_init(&m->edu, &m->pci, EDU_DEVFN, &m->vtd, err);
	if (r < 0) {
		vtd_done(&m->vtd);
		testdev_done(&m->testdev);
		return r;
	}
	ioapic_set_msi(&m->ioapic, vtd_ioapic_msi, &m->vtd);
	return 0;
}

static void end_test_devices(struct machine *m)
{
	ioapic_set_msi(&m->ioapic, send_msi, m);
	edu_done(&m->edu);
	vtd_done(&m->vtd);
	testdev_done(&m->testdev);
}

static int make_part(struct machine *m, const struct machine_config *cfg, enum machine_part part,
		     struct err *err)
{
	const struct board *b = &m->board;

	switch (part) {
	case PART_MEMORY:
		return make_memory(m, cfg, err);
	case PART_PIC:
		return i8259_init(&m->pic, b, set_extint, m, err);
	case PART_IOAPIC:
		return ioapic_init(&m->ioapic, b, err);
	case PART_PIT:
		return i8254_init(&m->pit, b, err);
	case PART_RTC:
		return rtc_init(&m->rtc, b, err);
	case PART_HPET:
		return hpet_init(&m->hpet, b, &m->pit, &m->rtc, err);
	case PART_PM:
		return acpi_pm_init(&m->pm, b, err);
	case PART_GENERATION:
		return vmgenid_init(&m->generation, m->mmio, err);
	case PART_HOT_CPUS:
		return machine_cpus_init(m, err);
	case PART_I8042:
		return i8042_init(&m->kbd, b, err);
	case PART_PCI:
		return pci_init(&m->pci, b, err);
	case PART_FW_CFG:
		return fw_cfg_init(&m->fw_cfg, b, err);
	case PART_VGA:
		return make_vga(m, cfg, err);
	case PART_AHCI:
		return make_ahci(m, cfg, err);
	case PART_IDE:
		return make_ide(m, cfg, err);
	case PART_WATCHDOG:
		m->has_watchdog = cfg->watchdog;
		return cfg->watchdog ? i6300esb_init(&m->watchdog, b, &m->pci, err) : 0;
	case PART_PVPANIC:
		return pvpanic_init(&m->pvpanic, b, &m->pci, err);
	case PART_FIRMWARE:
		return machine_firmware_init(m, cfg, err);
	case PART_DEBUG_EXIT:
		return debug_exit_init(&m->debug_exit_dev, b, err);
	case PART_TESTDEV:
		return make_test_devices(m, err);
	case PART_VIRTIO:
		return machine_virtio_init(&m->virtio, b, m->is_mini ? NULL : &m->pci, cfg, err);
	case PART_HOT_SLOTS:
		return machine_plug_init(m, err);
	case PART_NONE:
	case PART_ALL:
		break;
	}
	return 0;
}

static void end_part(struct machine *m, enum machine_part part)
{
	switch (part) {
	case PART_MEMORY:
		snapshot_track_done(&m->track);
		memory_done(&m->memory);
		break;
	case PART_PIC:
		i8259_done(&m->pic);
		break;
	case PART_IOAPIC:
		ioapic_done(&m->ioapic);
		break;
	case PART_PIT:
		i8254_done(&m->pit);
		break;
	case PART_RTC:
		rtc_done(&m->rtc);
		break;
	case PART_HPET:
		hpet_done(&m->hpet);
		break;
	case PART_PM:
		acpi_pm_done(&m->pm);
		break;
	case PART_GENERATION:
		vmgenid_done(&m->generation);
		break;
	case PART_HOT_CPUS:
		acpi_plug_done(&m->hot_cpus);
		break;
	case PART_I8042:
		i8042_done(&m->kbd);
		break;
	case PART_PCI:
		pci_done(&m->pci);
		break;
	case PART_FW_CFG:
		fw_cfg_done(&m->fw_cfg);
		break;
	case PART_VGA:
		if (m->has_vga)
			vga_done(&m->vga);
		break;
	case PART_AHCI:
		if (m->has_ahci)
			ahci_done(&m->ahci);
		break;
	case PART_IDE:
		if (m->has_ide)
			ide_done(&m->ide);
		break;
	case PART_WATCHDOG:
		if (m->has_watchdog)
			i6300esb_done(&m->watchdog);
		break;
	case PART_PVPANIC:
		pvpanic_done(&m->pvpanic);
		break;
	case PART_FIRMWARE:
		machine_firmware_done(m);
		break;
	case PART_DEBUG_EXIT:
		debug_exit_done(&m->debug_exit_dev);
		break;
	case PART_TESTDEV:
		end_test_devices(m);
		break;
	case PART_VIRTIO:
		machine_virtio_done(&m->virtio);
		break;
	case PART_HOT_SLOTS:
		acpi_plug_done(&m->hot_slots);
		break;
	case PART_NONE:
	case PART_ALL:
		break;
	}
}

bool machine_has_part(const struct machine *m, enum machine_part part)
{
	switch (part) {
	case PART_HPET:
	case PART_I8042:
	case PART_PCI:
	case PART_FW_CFG:
	case PART_VGA:
	case PART_AHCI:
	case PART_IDE:
	case PART_WATCHDOG:
	case PART_PVPANIC:
	case PART_FIRMWARE:
	case PART_HOT_SLOTS:
		return !m->is_mini;
	case PART_DEBUG_EXIT:
		return m->debug_exit;
	case PART_TESTDEV:
		return m->debug_exit && !m->is_mini;
	default:
		return true;
	}
}

static int make_board(struct machine *m, const struct machine_config *cfg, struct err *err)
{
	int r;

	m->events = (struct machine_events){ .request = on_request,
					     .windows_moved = on_windows_moved,
					     .guest_event = on_guest_event,
					     .arg = m };
	m->pio = bus_new("pio");
	m->mmio = bus_new("mmio");
	m->irqs = (struct irq_router){ .pic = &m->pic, .ioapic = &m->ioapic };
	m->board = (struct board){
		.pio = m->pio,
		.mmio = m->mmio,
		.irqs = &m->irqs,
		.timers = &m->timers,
		.clock = m->clock,
		.mem = &m->memory.phys,
		.events = &m->events,
		.msi = send_msi,
		.msi_arg = m,
	};
	for (enum machine_part p = PART_MEMORY; p < PART_ALL; p++) {
		r = machine_has_part(m, p) ? make_part(m, cfg, p, err) : 0;
		if (r < 0)
			return r;
		m->parts = p;
	}
	r = make_serial_ports(m, cfg, err);
	if (r < 0)
		return r;
	rtc_set_memory(&m->rtc, m->memory.low_end, m->memory.high_end - MEMORY_HIGH_BASE);
	return m->has_firmware || m->is_mini ? 0 : pci_assign_bars(&m->pci, err);
}

/* What test guests and firmware ask for; fails only without memory. */
static int fill_fw_cfg(struct machine *m, uint64_t memory_bytes, struct err *err)
{
	struct fw_cfg *f = &m->fw_cfg;
	size_t n = strlen(m->cmdline) + 1;

	if (fw_cfg_add_u16(f, FW_CFG_NB_CPUS, (uint16_t)m->first_cpus) < 0 ||
	    fw_cfg_add_u16(f, FW_CFG_MAX_CPUS, (uint16_t)m->nr_cpus) < 0 ||
	    fw_cfg_add_u64(f, FW_CFG_RAM_SIZE, memory_bytes) < 0 ||
	    fw_cfg_add_u16(f, FW_CFG_NOGRAPHIC, !m->has_vga) < 0 ||
	    fw_cfg_add_u32(f, FW_CFG_CMDLINE_SIZE, (uint32_t)n) < 0 ||
	    fw_cfg_add(f, FW_CFG_CMDLINE_DATA, m->cmdline, n) < 0)
		return err_set(err, -ENOMEM, "firmware configuration");
	return 0;
}

static int make_cpus(struct machine *m, const struct machine_config *cfg, uint64_t tsc_khz,
		     struct err *err)
{
	const struct cpu_group_config group = {
		.tsc_khz = tsc_khz,
		.nr_cpus = m->nr_cpus,
		.engine = cfg->engine,
		.apic = cfg->gdb_port ? CPU_APIC_OURS : CPU_APIC_AUTO,
		.code_cache_bytes = cfg->code_cache_bytes,
		.count_blocks = cfg->count_blocks,
		.perf_map = cfg->perf_map,
		.model = cfg->cpu_model,
		.features = cfg->cpu_features,
		.mem = &m->memory.phys,
		.timers = &m->timers,
		.clock = m->clock,
		.ops = &cpu_ops,
		.arg = m,
	};
	int r = cpu_group_new(&group, &m->cpus, err);

	if (r < 0)
		return r;
	m->began_on_kvm = !strcmp(cpu_group_engine(m->cpus), "kvm");
	memory_attach_engine(&m->memory);
	m->vcpu = mem_new_n(m->nr_cpus, sizeof(*m->vcpu));
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		m->vcpu[i] = (struct vcpu){ .m = m,
					    .cpu = cpu_group_cpu(m->cpus, i),
					    .is_parked = true,
					    .is_absent = i >= m->first_cpus };
	return 0;
}

static int build(struct machine *m, const struct machine_config *cfg, struct err *err)
{
	uint64_t tsc_khz = 0; /* the host's */
	int r;

	m->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->wake_fd < 0)
		return err_set_errno(err, "eventfd");
	/* The cheap check of the files before the expensive making of a machine. */
	r = machine_firmware_new(m, cfg, err);
	if (r == 0 && !cfg->restore)
		r = machine_load(m, err);
	if (cfg->restore) { /* read at the next reset, when nothing can be opened any more */
		machine_image_open(&m->kernel);
		machine_image_open(&m->initrd);
	}
	if (r < 0)
		return r;
	r = make_board(m, cfg, err);
	if (r < 0)
		return r;
	r = m->is_mini ? 0 : fill_fw_cfg(m, cfg->memory_bytes, err);
	if (r == 0)
		r = machine_firmware_fill(m, cfg->name, err);
	if (r < 0)
		return r;
	if (cfg->restore)
		r = machine_snapshot_prepare(m, cfg->restore, &tsc_khz, err);
	if (r == 0)
		r = make_cpus(m, cfg, tsc_khz, err);
	if (r == 0)
		r = cfg->restore ? machine_snapshot_load(m, cfg->restore, err)
				 : machine_boot(m, err);
	if (r < 0)
		return r;
	if (m->gdb_port)
		r = machine_gdb_start(m, err);
	if (r == 0 && cfg->control_fd > 0)
		r = control_new(m, cfg->control_fd, cfg->name, &m->control_socket, err);
	if (r == 0)
		r = machine_vnc_start(m, cfg, err);
	return r;
}

/* While files can still be opened. */
static void read_boot_id(struct machine *m)
{
	_cleanup_(mem_freep) void *text = NULL;
	size_t n = 0;

	if (file_read("/proc/sys/kernel/random/boot_id", 4096, &text, &n, NULL) == 0)
		memcpy(m->boot_id, text, MIN(n, sizeof(m->boot_id)));
}

static int check_mini(const struct machine_config *cfg, struct err *err)
{
	bool has_drives = false;

	for (unsigned int k = 0; k < MACHINE_SATA; k++)
		has_drives = has_drives || cfg->sata[k].disk;
	for (unsigned int k = 0; k < MACHINE_IDE; k++)
		has_drives = has_drives || cfg->ide[k].disk;
	if (cfg->board != MACHINE_MINI ||
	    (cfg->kernel && !cfg->firmware && !cfg->vga && !cfg->watchdog && !has_drives))
		return 0;
	return err_set(err, -EINVAL, "the mini board has no %s",
		       !cfg->kernel || cfg->firmware ? "firmware: it starts a kernel"
		       : cfg->vga		     ? "display"
		       : cfg->watchdog
			       ? "watchdog"
			       : "SATA or IDE: disks are virtio, CD-ROM drives are not possible");
}

int machine_new(const struct machine_config *cfg, struct machine **ret, struct err *err)
{
	struct machine *m;
	int r;

	if (cfg->nr_cpus < 1 || cfg->nr_cpus > 64)
		return err_set(err, -EINVAL, "%u vCPUs: from 1 to 64 are possible", cfg->nr_cpus);
	if (cfg->max_cpus && (cfg->max_cpus < cfg->nr_cpus || cfg->max_cpus > 64))
		return err_set(err, -EINVAL,
			       "%u vCPUs at most: from the %u of the start to 64 are possible",
			       cfg->max_cpus, cfg->nr_cpus);
	if (cfg->memory_bytes % GUEST_PAGE_SIZE || cfg->memory_bytes < MEMORY_MIN ||
	    cfg->memory_bytes > MEMORY_MAX)
		return err_set(err, -EINVAL,
			       "guest memory must be a multiple of 4 KiB from 2 MiB to 512 GiB");
	if (!cfg->kernel && !cfg->firmware)
		return err_set(err, -EINVAL, "neither a kernel nor firmware to start");
	r = check_mini(cfg, err);
	if (r < 0)
		return r;
	m = mem_new(sizeof(*m));
	m->is_mini = cfg->board == MACHINE_MINI;
	m->nr_cpus = MAX(cfg->nr_cpus, cfg->max_cpus);
	m->first_cpus = cfg->nr_cpus;
	m->debug_exit = cfg->debug_exit;
	m->no_reboot = cfg->no_reboot;
	m->on_watchdog = cfg->on_watchdog;
	m->on_panic = cfg->on_panic;
	m->gdb_port = cfg->gdb_port;
	m->memory_bytes = cfg->memory_bytes;
	m->count_blocks = cfg->count_blocks;
	m->engine_switch_ns = cfg->engine_switch_ns;
	m->open_disk = cfg->open_disk;
	m->open_arg = cfg->open_arg;
	m->cmdline = mem_strdup(cfg->cmdline ? cfg->cmdline : "");
	m->folder = getcwd(NULL, 0);
	read_boot_id(m);
	m->options = mem_strdup(cfg->options ? cfg->options : "");
	m->kernel = (struct machine_image){ .fd = -EBADF };
	m->firmware = (struct firmware){ .vars_fd = -EBADF };
	if (cfg->kernel)
		m->kernel.path = mem_strdup(cfg->kernel);
	m->initrd = (struct machine_image){ .fd = -EBADF };
	if (cfg->initrd)
		m->initrd.path = mem_strdup(cfg->initrd);
	clock_shifted_init(&m->time);
	m->clock = &m->time.clock;
	m->wake_fd = -EBADF;
	mutex_init(&m->lock);
	mutex_init(&m->pausing);
	mutex_init(&m->control);
	cond_init(&m->changed);
	timerq_init(&m->timers, m->clock);
	machine_sampler_init(m);
	machine_balloon_init(m);

	r = build(m, cfg, err);
	if (r == 0)
		r = machine_balloon_open(m, cfg, err);
	if (r < 0) {
		machine_free(m);
		return r;
	}
	if (cfg->sample)
		machine_sample(m);
	*ret = m;
	return 0;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	machine_stop_threads(m);
	vnc_free(m->vnc);
	control_free(m->control_socket);
	gdb_free(m->gdb);
	timerq_timer_done(&m->timers, &m->sampler);
	machine_balloon_done(m);
	for (unsigned int i = 0; i < MACHINE_SERIALS; i++)
		if (m->has_serial[i])
			serial16550_done(&m->serial[i]);
	for (enum machine_part p = m->parts; p > PART_MEMORY; p--)
		if (machine_has_part(m, p))
			end_part(m, p);
	if (m->cpus) {
		memory_detach_engine(&m->memory);
		cpu_group_free(m->cpus);
		m->cpus = NULL;
	}
	if (m->parts >= PART_MEMORY)
		end_part(m, PART_MEMORY);
	timerq_done(&m->timers);
	bus_free(m->pio);
	bus_free(m->mmio);
	boot_plan_done(&m->plan);
	free(m->vcpu);
	firmware_done(&m->firmware);
	machine_image_done(&m->kernel);
	machine_image_done(&m->initrd);
	free(m->cmdline);
	free(m->folder);
	free(m->options);
	fd_closep(&m->wake_fd);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->control);
	pthread_mutex_destroy(&m->lock);
	pthread_mutex_destroy(&m->pausing);
	free(m);
}
