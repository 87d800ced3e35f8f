/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_FIRMWARE_SMBIOS_H
#define VM_FIRMWARE_SMBIOS_H

#include <stdint.h>

#include "base/str.h"

/*
 * What `dmidecode` shows: system, chassis, processors, memory. Two files for firmware, which adds a structure about
 * itself, places the tables and corrects the anchor.
 */
#define SMBIOS_FILE_ANCHOR "etc/smbios/smbios-anchor"
#define SMBIOS_FILE_TABLES "etc/smbios/smbios-tables"

struct smbios_config {
	const char *name; /* of the machine: the serial number; "" when it has none */
	unsigned int nr_cpus;
	uint64_t memory_bytes, low_end; /* RAM in all; where RAM below 4 GiB ends */
};

/*
 * smbios_build - append the anchor (31 bytes) and the structures.
 *
 * Source: DMTF DSP0134 2.8 (structures 1, 3, 4, 16, 17, 19, 32, 127). Thread: any.
 */
void smbios_build(const struct smbios_config *cfg, struct strbuf *anchor, struct strbuf *tables);

#endif
