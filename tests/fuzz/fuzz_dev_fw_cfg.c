/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg: ports, and DMA blocks anywhere in a memory that the input fills. */
#include "fuzz_dev.h"
#include "vm/dev/fw_cfg.h"

enum { RAM = 2 << 20, BLOCKS = 0x1000 };

static const struct fuzz_window windows[] = {
	{ 0x510, 14, false },
	{ 0x510, 1, false },
	{ 0x511, 1, false },
	{ 0x514, 8, false },
};

struct world {
	struct bench b;
	struct fw_cfg fw;
	struct fuzz_input *in;
};

/* A block made by the guest at a place that it knows, and its address to the device. */
static void event(void *arg, unsigned int what)
{
	struct world *w = arg;
	uint8_t block[16];

	for (unsigned int k = 0; k < sizeof(block); k++)
		block[k] = (uint8_t)fuzz_take(w->in, 1);
	if (what & 1) /* mostly lengths that end soon, and addresses in RAM */
		block[4] = block[5] = block[8] = block[9] = block[10] = block[11] = block[12] = 0;
	fuzz_must(physmem_write(&w->b.memory.phys, BLOCKS, block, sizeof(block)) == 0);
	outl(&w->b, 0x518, __builtin_bswap32(BLOCKS));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct world w;
	static bool is_ready;
	struct fuzz_input in = { data, n };

	if (!is_ready) {
		fuzz_must(bench_init(&w.b, RAM) == 0);
		fuzz_must(fw_cfg_init(&w.fw, &w.b.board, NULL) == 0);
		fuzz_must(fw_cfg_add_u16(&w.fw, FW_CFG_NB_CPUS, 4) == 0);
		fuzz_must(fw_cfg_add_u32(&w.fw, FW_CFG_IRQ0_OVERRIDE, 1) == 0);
		fuzz_must(fw_cfg_add_file(&w.fw, "etc/e820", "0123456789abcdef", 16) == 0);
		fuzz_must(fw_cfg_add_file(&w.fw, "empty", NULL, 0) == 0);
		is_ready = true;
	}
	w.in = &in;
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, &w);
	fw_cfg_reset(&w.fw);
	return 0;
}
