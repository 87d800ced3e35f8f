/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The generation identifier. It is a page of read-only memory and no register, because drivers map it as memory and read it
 * whenever they are told to; and not of the guest's RAM, which a snapshot would bring back with the old one in it. So a machine
 * that comes out of a snapshot has a new one without anybody writing it, and only the guest has to be told
 * (machine_snapshot.c).
 */
#include "vm/dev/vmgenid.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

#include "vm/memory.h"

int vmgenid_init(struct memory *m, struct err *err)
{
	uint8_t id[VMGENID_SIZE];

	if (getrandom(id, sizeof(id), 0) != sizeof(id))
		abort(); /* so few bytes are there as soon as the host has started */
	return memory_add_rom(m, VMGENID_BASE, id, sizeof(id), err);
}
