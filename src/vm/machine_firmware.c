/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine that starts with firmware: what is on the board for it, and what it is told. The rest of the board is the
 * same; only the work of firmware (BARs, tables, a kernel's first registers) is left to it.
 */
#include <errno.h>
#include <stdlib.h>

#include "vm/machine_priv.h"

int machine_firmware_new(struct machine *m, const struct machine_config *cfg, struct err *err)
{
	if (!cfg->firmware && (cfg->firmware_vars || cfg->firmware_log))
		return err_set(err, -EINVAL, "variables or messages of firmware, and no firmware");
	if (!cfg->firmware)
		return 0;
	m->has_firmware = true;
	return firmware_load(cfg->firmware, cfg->firmware_vars, &m->firmware, err);
}

int machine_firmware_init(struct machine *m, const struct machine_config *cfg, struct err *err)
{
	const struct firmware *fw = &m->firmware;
	int r;

	if (!m->has_firmware)
		return 0;
	r = firmware_map(fw, &m->memory, err);
	if (r == 0 && fw->vars)
		r = pflash_init(&m->vars, &m->board, firmware_vars_gpa(fw), fw->vars, fw->vars_len,
				fw->vars_fd, err);
	if (r == 0 && cfg->firmware_log) {
		r = debugcon_init(&m->debugcon, &m->board, cfg->firmware_log, err);
		m->has_debugcon = r == 0;
	}
	if (r < 0)
		machine_firmware_done(m);
	return r;
}

void machine_firmware_done(struct machine *m)
{
	pflash_done(&m->vars);
	if (m->has_debugcon)
		debugcon_done(&m->debugcon);
}

int machine_firmware_fill(struct machine *m, const char *name, struct err *err)
{
	struct acpi_config acpi;
	struct firmware_info info = {
		.name = name,
		.acpi = &acpi,
		.memory = &m->memory,
		.has_vga = m->has_vga,
		.is_uefi = m->firmware.vars != NULL,
	};
	int r;

	if (!m->has_firmware)
		return 0;
	machine_acpi_config(m, &acpi);
	r = machine_image_read(m, &m->kernel, "kernel", err);
	if (r == 0)
		r = machine_image_read(m, &m->initrd, "initrd", err);
	if (r < 0)
		return r;
	info.kernel = m->kernel.data;
	info.kernel_len = m->kernel.len;
	info.initrd = m->initrd.data;
	info.initrd_len = m->initrd.len;
	r = firmware_fill(&m->fw_cfg, &info, err);
	/* fw_cfg has copies. */
	free(take_ptr(&m->kernel.data));
	free(take_ptr(&m->initrd.data));
	return r;
}
