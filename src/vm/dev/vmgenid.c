/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The generation identifier. It is not of the guest's RAM, which a snapshot would bring back with the old one in it: so a machine
 * that comes out of a snapshot has a new one without anybody writing it, and only the guest has to be told
 * (machine_snapshot.c). Drivers map it as memory; it is none, so that it is seen when they look: one that has looked when it
 * started will look again when it is told, and can be waited for (cpu_group_hold_user()).
 */
#include "vm/dev/vmgenid.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "cpu/physmem.h"

static uint64_t id_read(void *arg, uint64_t off, unsigned int size)
{
	struct vmgenid *g = arg;
	uint8_t word[8] = { 0 };

	atomic_store(&g->was_read, true);
	for (unsigned int k = 0; k < size && off + k < VMGENID_SIZE; k++)
		word[k] = g->id[off + k];
	return get_le64(word);
}

int vmgenid_init(struct vmgenid *g, struct bus *mmio, struct err *err)
{
	*g = (struct vmgenid){
		.mmio = mmio,
		.range = { .name = "vmgenid",
			   .base = VMGENID_BASE,
			   .len = GUEST_PAGE_SIZE,
			   .read = id_read,
			   .arg = g },
	};
	if (getrandom(g->id, sizeof(g->id), 0) != sizeof(g->id))
		abort(); /* so few bytes are there as soon as the host has started */
	return bus_add(mmio, &g->range, err);
}

void vmgenid_done(struct vmgenid *g)
{
	bus_del(g->mmio, &g->range);
}

void vmgenid_reset(struct vmgenid *g)
{
	atomic_store(&g->was_read, false);
}
