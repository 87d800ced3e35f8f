/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DISK_BUS_H
#define VM_DISK_BUS_H

#include <stdbool.h>
#include <string.h>

/* Where a machine has a disk, and what that is called. */
enum disk_bus { DISK_BUS_VIRTIO, DISK_BUS_SATA, DISK_BUS_IDE, DISK_NR_BUSES };

/* disk_bus_name - in options, requests and names of files. */
static inline const char *disk_bus_name(enum disk_bus bus)
{
	return bus == DISK_BUS_SATA ? "sata" : bus == DISK_BUS_IDE ? "ide" : "virtio";
}

/* disk_bus_label - for people, in front of the word disk. */
static inline const char *disk_bus_label(enum disk_bus bus)
{
	return bus == DISK_BUS_SATA ? "SATA " : bus == DISK_BUS_IDE ? "IDE " : "";
}

/* disk_bus_parse - the bus of that name. Returns false: there is none. */
static inline bool disk_bus_parse(const char *name, enum disk_bus *ret)
{
	for (unsigned int k = 0; k < DISK_NR_BUSES; k++) {
		if (strcmp(name, disk_bus_name((enum disk_bus)k)) != 0)
			continue;
		*ret = (enum disk_bus)k;
		return true;
	}
	return false;
}

#endif
