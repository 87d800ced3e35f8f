/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The MMIO transport with the simplest device behind it: steps of a byte that says which, and what each needs.
 *
 *	0 register write  1 register read  2 notify  3 run  4 start anew  5 a chain that makes sense  6 bytes into the rings
 *	7 the configuration changes
 */
#include "../component/virtio_mmio_driver.h"
#include "base/log.h"
#include "fuzz_dev.h"
#include "vm/virtio/mmio.h"
#include "vm/virtio/rng.h"

static void step(struct vd *v, struct virtio_rng *rng, struct fuzz_input *in)
{
	uint8_t op = (uint8_t)fuzz_take(in, 1);
	unsigned int size = 1u << (op >> 3 & 3);
	uint64_t off;
	struct vd_piece p;

	switch (op & 7) {
	case 0:
		off = VDM_BASE + (fuzz_take(in, 2) & 0x3ff);
		vd_out(v, off, size, fuzz_take(in, size));
		break;
	case 1:
		vd_in(v, VDM_BASE + (fuzz_take(in, 2) & 0x3ff), size);
		break;
	case 2:
		vdm_out(v, VDM_NOTIFY, fuzz_take(in, 1));
		break;
	case 3:
		for (unsigned int k = 0; k < 8; k++)
			iothread_run(&v->io);
		break;
	case 4:
		vdm_out(v, VDM_STATUS, 0);
		iothread_run(&v->io);
		ignore_result(vdm_start(v, op & 8 ? VD_F_PACKED : VD_F_INDIRECT, 1, 16));
		break;
	case 5:
		p = (struct vd_piece){ VD_DATA + fuzz_take(in, 2), (uint32_t)fuzz_take(in, 2),
				       true };
		if (v->q[0].size)
			vd_add(v, 0, &p, 1, op & 8);
		break;
	case 6:
		off = fuzz_take(in, 2) % VD_RING_STEP;
		*(uint8_t *)vd_ram(v, VD_RINGS + off) = (uint8_t)fuzz_take(in, 1);
		break;
	case 7:
		virtio_config_changed(&rng->dev);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct vd v;
	static struct virtio_rng rng;
	static struct virtio_mmio mmio;
	struct fuzz_input in = { data, n };

	log_setup(2, LOG_TEXT, LOG_ERROR, NULL);
	fuzz_must(vd_bench_init(&v) == 0);
	virtio_rng_init(&rng, &v.b.memory.phys, &v.io);
	rng.dev.features |= VD_F_PACKED;
	rng.dev.config_len = 16;
	memset(rng.dev.config_wmask, 0x5a, 16);
	fuzz_must(virtio_mmio_init(&mmio, &rng.dev, &v.b.board, 0, NULL) == 0);
	for (unsigned int steps = 0; in.n && steps < 500; steps++)
		step(&v, &rng, &in);
	/* Whatever happened, a reset helps. */
	vdm_out(&v, VDM_STATUS, 0);
	vd_run(&v);
	fuzz_must(vdm_in(&v, VDM_STATUS) == 0 && vdm_in(&v, VDM_ISR) == 0);
	fuzz_must(vdm_start(&v, 0, 1, 8));
	virtio_mmio_reset(&mmio);
	virtio_mmio_done(&mmio);
	virtio_rng_done(&rng);
	vd_bench_done(&v);
	return 0;
}
