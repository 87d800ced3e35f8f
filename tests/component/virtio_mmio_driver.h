/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_COMPONENT_VIRTIO_MMIO_DRIVER_H
#define ATOLL_TESTS_COMPONENT_VIRTIO_MMIO_DRIVER_H

/* The driver of virtio_driver.h by the registers of virtio 1.2, 4.2.2; what is in memory is the same. */
#include "virtio_driver.h"

/* clang-format off */
enum {
	VDM_BASE = 0xc0000000,
	VDM_MAGIC = 0x000, VDM_VERSION = 0x004, VDM_DEVICE = 0x008, VDM_VENDOR = 0x00c,
	VDM_FEATURES = 0x010, VDM_FEATURES_SEL = 0x014, VDM_ACCEPTED = 0x020, VDM_ACCEPTED_SEL = 0x024,
	VDM_QUEUE_SEL = 0x030, VDM_QUEUE_MAX = 0x034, VDM_QUEUE_SIZE = 0x038, VDM_READY = 0x044,
	VDM_NOTIFY = 0x050, VDM_ISR = 0x060, VDM_ACK = 0x064, VDM_STATUS = 0x070,
	VDM_DESC = 0x080, VDM_DRIVER = 0x090, VDM_DEVICE_AREA = 0x0a0, VDM_GENERATION = 0x0fc, VDM_CONFIG = 0x100,
};
/* clang-format on */

static inline uint32_t vdm_in(struct vd *v, unsigned int reg)
{
	return (uint32_t)vd_in(v, VDM_BASE + reg, 4);
}

static inline void vdm_out(struct vd *v, unsigned int reg, uint64_t value)
{
	vd_out(v, VDM_BASE + reg, 4, (uint32_t)value);
}

static inline uint64_t vdm_offered(struct vd *v)
{
	uint64_t f;

	vdm_out(v, VDM_FEATURES_SEL, 0);
	f = vdm_in(v, VDM_FEATURES);
	vdm_out(v, VDM_FEATURES_SEL, 1);
	return f | (uint64_t)vdm_in(v, VDM_FEATURES) << 32;
}

static inline void vdm_queue(struct vd *v, unsigned int n, uint16_t size)
{
	struct vd_queue *q = &v->q[n];

	memset(q, 0, sizeof(*q));
	q->size = size;
	q->desc = VD_RINGS + (uint64_t)n * VD_RING_STEP;
	q->avail = q->desc + 0x4000;
	q->used = q->desc + 0x6000;
	q->avail_wrap = q->used_wrap = true;
	memset(vd_ram(v, q->desc), 0, VD_RING_STEP);
	vdm_out(v, VDM_QUEUE_SEL, n);
	vdm_out(v, VDM_QUEUE_SIZE, size);
	vdm_out(v, VDM_DESC, q->desc);
	vdm_out(v, VDM_DESC + 4, 0);
	vdm_out(v, VDM_DRIVER, q->avail);
	vdm_out(v, VDM_DRIVER + 4, 0);
	vdm_out(v, VDM_DEVICE_AREA, q->used);
	vdm_out(v, VDM_DEVICE_AREA + 4, 0);
	vdm_out(v, VDM_READY, 1);
}

/* The whole way to DRIVER_OK. */
static inline bool vdm_start(struct vd *v, uint64_t want, unsigned int nr, uint16_t size)
{
	vdm_out(v, VDM_STATUS, 0);
	vd_run(v);
	vdm_out(v, VDM_STATUS, VD_S_ACK);
	vdm_out(v, VDM_STATUS, VD_S_ACK | VD_S_DRIVER);
	v->features = (want | VD_F_VERSION_1) & vdm_offered(v);
	vdm_out(v, VDM_ACCEPTED_SEL, 0);
	vdm_out(v, VDM_ACCEPTED, v->features);
	vdm_out(v, VDM_ACCEPTED_SEL, 1);
	vdm_out(v, VDM_ACCEPTED, v->features >> 32);
	vdm_out(v, VDM_STATUS, VD_S_ACK | VD_S_DRIVER | VD_S_FEATURES_OK);
	if (!(vdm_in(v, VDM_STATUS) & VD_S_FEATURES_OK))
		return false;
	for (unsigned int n = 0; n < nr; n++)
		vdm_queue(v, n, size);
	vdm_out(v, VDM_STATUS, VD_S_ACK | VD_S_DRIVER | VD_S_FEATURES_OK | VD_S_DRIVER_OK);
	vd_run(v);
	vdm_out(v, VDM_ACK, 3); /* it may have looked at its queues, and told */
	return vdm_in(v, VDM_STATUS) & VD_S_DRIVER_OK;
}

static inline void vdm_kick(struct vd *v, unsigned int n)
{
	vdm_out(v, VDM_NOTIFY, n);
	vd_run(v);
}

#endif
