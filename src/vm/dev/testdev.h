/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_TESTDEV_H
#define VM_DEV_TESTDEV_H

#include <pthread.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"

/*
 * What kvm-unit-tests expect of a test machine: a register to echo at ports 0xe0-0xe3, "flush a page" at
 * 0xe4, another echo of bytes at 0xe8, interrupt lines at 0x2000 + GSI, and 64 KiB of memory-like MMIO
 * at 0xff000000 (so that the instruction's access is emulated). Only for machines that ask for it.
 */
#define TESTDEV_MMIO_BASE UINT64_C(0xff000000)
enum { TESTDEV_MMIO_SIZE = 0x10000 };

struct testdev {
	pthread_mutex_t lock;
	struct bus *pio, *mmio;
	struct bus_range echo, flush, echo_byte, lines, window;
	struct irq_router *irqs;
	uint8_t reg[4], byte_reg;
	uint8_t mem[TESTDEV_MMIO_SIZE];
};

/* testdev_init - the ports and the window. Uses of @board: pio, mmio, irqs. Returns 0, or what bus_add()
 * says. */
_nodiscard_ int testdev_init(struct testdev *t, const struct board *board, struct err *err);
void testdev_done(struct testdev *t);
void testdev_reset(struct testdev *t);

#endif
