/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power-on: the files, the RAM, the tables that a BIOS would have left there, the kernel and the first CPU's registers are
 * read and made anew at every reset.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "sys/fd.h"
#include "vm/acpi/acpi.h"
#include "vm/machine_priv.h"

#define MIB (UINT64_C(1) << 20)

static void add_range(struct machine *m, uint64_t gpa, uint64_t end, enum boot_mem_type type)
{
	if (end > gpa)
		m->map[m->nr_map++] = (struct boot_mem){ gpa, end - gpa, type };
}

/* The memory map that the guest is told; it says the same as struct memory and the PCI host. */
static void make_map(struct machine *m, uint64_t memory_bytes)
{
	uint64_t low_end = MIN(memory_bytes, MEMORY_LOW_LIMIT);

	m->nr_map = 0;
	add_range(m, 0, MACHINE_EBDA, BOOT_MEM_RAM);
	add_range(m, MACHINE_EBDA, 0xa0000, BOOT_MEM_RESERVED);
	add_range(m, MACHINE_ACPI, MIB, BOOT_MEM_RESERVED);
	add_range(m, MIB, low_end, BOOT_MEM_RAM);
	add_range(m, PCI_ECAM_BASE, PCI_ECAM_BASE + PCI_ECAM_SIZE, BOOT_MEM_RESERVED);
	add_range(m, MEMORY_HIGH_BASE, MEMORY_HIGH_BASE + (memory_bytes - low_end), BOOT_MEM_RAM);
}

/* --- images -------------------------------------------------------------------------------------- */

int machine_image_read(struct machine *m, struct machine_image *image, const char *what,
		       struct err *err)
{
	int r;

	if (!image->path || image->data)
		return 0;
	if (image->fd < 0)
		r = fd_open(image->path, O_RDONLY, &image->fd, err);
	else
		r = lseek(image->fd, 0, SEEK_SET) < 0
			    ? err_set_errno(err, "read '%s' again", image->path)
			    : 0;
	if (r == 0)
		r = file_read_fd(image->fd, image->path, m->memory_bytes, &image->data, &image->len,
				 err);
	if (r == -EFBIG)
		return err_set(err, r, "%s '%s' is larger than the guest's memory (%llu MiB)", what,
			       image->path, (unsigned long long)(m->memory_bytes / MIB));
	if (r < 0)
		return err_wrap(err, r, "%s", what);
	if (!image->len)
		return err_set(err, -EINVAL, "%s '%s' is empty", what, image->path);
	return 0;
}

void machine_image_open(struct machine_image *image)
{
	if (image->path && image->fd < 0)
		ignore_result(fd_open(image->path, O_RDONLY, &image->fd,
				      NULL)); /* the reset will say so */
}

/* Its memory would be as much again as the guest has of it. */
static void image_drop(const struct machine *m, struct machine_image *image)
{
	if (m->no_reboot || (image->fd >= 0 && lseek(image->fd, 0, SEEK_SET) == 0))
		free(take_ptr(&image->data));
}

void machine_image_done(struct machine_image *image)
{
	free(take_ptr(&image->data));
	free(take_ptr(&image->path));
	fd_closep(&image->fd);
}

int machine_load(struct machine *m, struct err *err)
{
	struct boot_input in;
	int r;

	if (m->has_firmware || (m->kernel.data && (m->initrd.data || !m->initrd.path)))
		return 0;
	boot_plan_done(&m->plan);
	r = machine_image_read(m, &m->kernel, "kernel", err);
	if (r == 0)
		r = machine_image_read(m, &m->initrd, "initrd", err);
	if (r < 0)
		return r;
	make_map(m, m->memory_bytes);
	in = (struct boot_input){
		.kernel_name = m->kernel.path,
		.kernel = m->kernel.data,
		.kernel_len = m->kernel.len,
		.initrd = m->initrd.data,
		.initrd_len = m->initrd.len,
		.cmdline = m->cmdline,
		.mem = m->map,
		.nr_mem = m->nr_map,
		.rsdp_gpa = MACHINE_ACPI,
	};
	r = boot_plan_make(&in, &m->plan, err);
	if (r < 0)
		return err_wrap(err, r, "kernel '%s'", m->kernel.path);
	return 0;
}

static int place(struct machine *m, uint64_t gpa, const void *p, size_t n)
{
	return physmem_write(&m->memory.phys, gpa, p, n);
}

void machine_acpi_config(const struct machine *m, struct acpi_config *ret)
{
	*ret = (struct acpi_config){
		.nr_cpus = m->first_cpus,
		.max_cpus = m->nr_cpus,
		.base = MACHINE_ACPI,
		.mmio64_base = align_up(m->memory.high_end, PCI_MMIO64_ALIGN),
		.mmio64_last = PCI_MMIO64_LAST,
		.has_vga = m->has_vga,
		.is_mini = m->is_mini,
	};
	if (m->is_mini)
		ret->nr_virtio_mmio =
			(unsigned int)__builtin_popcount(machine_virtio_slots(&m->virtio));
	else
		ret->hot_slots = MACHINE_VIRTIO_SLOTS & ~(uint32_t)m->hot_slots.cfg.fixed;
	for (unsigned int i = 0; i < MACHINE_SERIALS; i++)
		if (m->has_serial[i])
			ret->serial_mask |= 1u << i;
}

/* What a BIOS leaves behind: tables, and where base memory ends (BIOS data area 40:0e, 40:13). */
static int place_tables(struct machine *m)
{
	struct acpi_config cfg;
	struct strbuf mp = { 0 };
	struct acpi_tables acpi;
	uint8_t word[2];
	int r;

	machine_acpi_config(m, &cfg);
	acpi_build(&cfg, &acpi);
	r = place(m, cfg.base, acpi.blob.p, acpi.blob.n);
	acpi_tables_done(&acpi);
	if (r < 0)
		return r;

	/* The older table knows of no windows, so it would tell of a machine without devices. */
	if (!m->is_mini) {
		cfg.base = MACHINE_MPTABLE;
		mptable_build(&cfg, &mp);
		r = place(m, cfg.base, mp.p, mp.n);
		strbuf_done(&mp);
	}
	if (r < 0)
		return r;

	put_le16(word, MACHINE_EBDA >> 4);
	r = place(m, 0x40e, word, 2);
	if (r < 0)
		return r;
	put_le16(word, MACHINE_EBDA >> 10);
	r = place(m, 0x413, word, 2);
	if (r < 0)
		return r;
	word[0] = 1; /* its own size in KiB */
	return place(m, MACHINE_EBDA, word, 1);
}

int machine_boot(struct machine *m, struct err *err)
{
	struct cpu_state *state;
	int r;

	if (m->has_firmware)
		return firmware_shadow(&m->firmware, &m->memory.phys, err);
	r = machine_load(m, err);
	if (r < 0)
		return r;
	r = place_tables(m);
	if (r < 0)
		return err_set(err, r, "no RAM for the machine's tables");
	r = boot_plan_place(&m->plan, &m->memory.phys, err);
	if (r < 0)
		return r;
	image_drop(m, &m->kernel);
	image_drop(m, &m->initrd);
	state = aligned_alloc(64, sizeof(*state));
	if (!state)
		return err_set(err, -ENOMEM, "CPU state");
	cpu_get_state(m->vcpu[0].cpu, state);
	boot_plan_cpu(&m->plan, state);
	cpu_set_state(m->vcpu[0].cpu, state);
	free(state);
	return 0;
}

/* What only the PC has; the rest comes after it, as interrupt controllers come last. */
static void reset_pc(struct machine *m)
{
	if (m->debug_exit) {
		testdev_reset(&m->testdev);
		edu_reset(&m->edu);
		vtd_reset(&m->vtd);
	}
	if (m->has_ahci)
		ahci_reset(&m->ahci);
	if (m->has_ide)
		ide_reset(&m->ide);
	if (m->has_watchdog)
		i6300esb_reset(&m->watchdog);
	if (m->has_vga)
		vga_reset(&m->vga);
	if (m->vars.mmio)
		pflash_reset(&m->vars);
	fw_cfg_reset(&m->fw_cfg);
	pci_reset(&m->pci);
	i8042_reset(&m->kbd);
	acpi_plug_reset(&m->hot_slots, machine_virtio_slots(&m->virtio));
	hpet_reset(&m->hpet);
}

static void reset_devices(struct machine *m)
{
	for (unsigned int i = 0; i < MACHINE_SERIALS; i++)
		if (m->has_serial[i])
			serial16550_reset(&m->serial[i]);
	machine_virtio_reset(&m->virtio);
	if (!m->is_mini)
		reset_pc(m);
	acpi_plug_reset(&m->hot_cpus, m->hot_cpus.cfg.present);
	acpi_pm_reset(&m->pm);
	vmgenid_reset(&m->generation);
	rtc_reset(&m->rtc);
	i8254_reset(&m->pit);
	irq_router_reset(&m->irqs);
	ioapic_reset(&m->ioapic);
	i8259_reset(&m->pic);
}

int machine_reset(struct machine *m, struct err *err)
{
	int r;

	reset_devices(m);
	/* Giving the pages back zeroes them, and a small guest after a large one is small again. */
	r = memory_clear(&m->memory, err);
	if (r < 0)
		return r;
	cpu_group_reset(m->cpus);
	cpu_group_flush(m->cpus);
	r = m->has_firmware || m->is_mini ? 0 : pci_assign_bars(&m->pci, err);
	if (r < 0)
		return r;
	return machine_boot(m, err);
}
