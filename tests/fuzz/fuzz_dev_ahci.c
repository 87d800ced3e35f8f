/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SATA controller: registers in any order, command lists, tables and descriptors made of the input. */
#include "fuzz_dev.h"

#include "../component/ahci_driver.h"

static const struct fuzz_window windows[] = {
	{ ABAR, 0x30, true },
	{ P0, 0x80, true },
	{ P1, 0x80, true },
	{ ABAR + 0xff8, 0x10, true },
};

static struct ahci_world w;
static struct fuzz_input *input;

/* Registers out of a snapshot that somebody has made. */
static void restore(void)
{
	uint8_t bytes[1024];
	uint64_t n = state_bytes(&ahci_state, ahci_state.version);
	struct str in = { (char *)bytes, n };

	fuzz_must(n <= sizeof(bytes));
	for (size_t k = 0; k < n; k++)
		bytes[k] = (uint8_t)fuzz_take(input, 1);
	/* Most inputs are about what comes after the first check. */
	for (unsigned int k = 0; k < AHCI_PORTS && (bytes[0] & 1); k++) {
		uint64_t at = 8 + k * (n - 8) / AHCI_PORTS;

		bytes[at] = w.a.port[k].drive.has_drive;
		bytes[at + 1] = w.a.port[k].drive.is_cd;
	}
	ata_pause(&w.a.worker);
	ata_settle(&w.a.worker);
	if (state_check(&ahci_state, &w.a, ahci_state.version, in, 0, NULL) == 0) {
		state_load(&ahci_state, &w.a, ahci_state.version, in);
		ahci_state.loaded(&w.a);
	}
	ata_resume(&w.a.worker);
	ata_work(&w.a.worker);
}

/* A command as the input has it, mostly whole, and its start; or memory that changes. */
static void event(void *arg, unsigned int what)
{
	uint64_t port = what & 1 ? P1 : P0;
	uint8_t fis[20], packet[12], bytes[16];
	uint16_t len;

	if ((what & 0x1002) == 0x1000) {
		restore();
		return;
	}
	for (size_t k = 0; k < sizeof(bytes); k++)
		bytes[k] = (uint8_t)fuzz_take(input, 1);
	if (what & 2) {
		ignore_result(physmem_write(&w.b.memory.phys, LIST + (what >> 4 & 0x3fff), bytes,
					    sizeof(bytes)));
		return;
	}
	len = get_le16(bytes + 12);
	ahci_fis(fis, what & 1 && !(what & 4) ? 0xa0 : bytes[0], get_le16(bytes + 1), bytes[3]);
	if (what & 8)
		fis[1] = 0;
	memcpy(packet, bytes, sizeof(packet));
	ahci_enable(&w, port);
	ahci_build(&w, fis, packet, get_le16(bytes + 14) | 1u, len);
	if (what & 0x8000)
		pci_config_write(&w.pci, AHCI_DEVFN, 4, 2, what & 0x4000 ? 6 : 2);
	set(&w, port + 0x34, what & 0x2000 ? UINT32_MAX : 0);
	set(&w, port + 0x38, 1);
	ata_work(&w.a.worker);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz_input in = { data, n };
	static bool is_ready;

	if (!is_ready)
		fuzz_must(ahci_world_init(&w) == 0);
	is_ready = true;
	input = &in;
	pci_config_write(&w.pci, AHCI_DEVFN, 4, 2, 6);
	ahci_reset(&w.a);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, NULL);
	ata_work(&w.a.worker);
	return 0;
}
