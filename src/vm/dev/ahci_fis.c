/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes between a device and the guest's memory: data by the descriptors of a command, and frames (FIS) that say
 * what became of it, in the guest's memory and in the registers.
 *
 * Without the bus master bit nothing of the guest's memory is read or written.
 *
 * Source: AHCI 1.3.1, 4.2 (memory), 10.3 (what a FIS changes); Serial ATA 3.0, 10.3 (FIS layouts).
 */
#include <errno.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "cpu/physmem.h"
#include "vm/dev/ahci_priv.h"

enum {
	PRD_SIZE = 16,
	PRD_COUNT_MASK = 0x3fffff,

	FIS_D2H = 0x34,
	FIS_PIO_SETUP = 0x5f,
	FIS_SET_BITS = 0xa1,
	FIS_INTERRUPT = 0x40,
	FIS_TO_HOST = 0x20,
	RX_PIO_SETUP = 0x20,
	RX_D2H = 0x40,
	RX_SET_BITS = 0x58,

	SIG_DISK = 0x00000101,
};
#define SIG_ATAPI UINT32_C(0xeb140101)

int ahci_prd_move(struct ata_command *c, uint8_t *buf, size_t n, bool to_guest)
{
	struct prd_cursor *p = &container_of(c, struct ahci_command, ata)->prd;
	uint8_t d[PRD_SIZE];

	while (n) {
		size_t part;
		int r;

		if (!p->left) {
			if (!p->nr || physmem_read(p->mem, p->next, d, sizeof(d)) < 0)
				return -EFAULT;
			p->nr--;
			p->next += PRD_SIZE;
			p->addr = get_le64(d) & ~UINT64_C(1);
			p->left = (get_le32(d + 12) & PRD_COUNT_MASK) + 1;
		}
		part = MIN(n, (size_t)p->left);
		r = to_guest ? physmem_write(p->mem, p->addr, buf, part)
			     : physmem_read(p->mem, p->addr, buf, part);
		if (r < 0)
			return -EFAULT;
		buf += part;
		n -= part;
		p->addr += part;
		p->left -= (uint32_t)part;
	}
	return 0;
}

/* A FIS where the guest receives them, if it does. */
static void put_fis(struct ahci *a, const struct ahci_port *p, unsigned int at, const uint8_t *f,
		    size_t n)
{
	if ((p->cmd & CMD_FRE) && pci_dev_is_master(&a->pci))
		ignore_result(physmem_write(a->mem, p->fis + at, f, n));
}

/* Registers as the device sends them. */
void ahci_send_d2h(struct ahci *a, struct ahci_port *p, const struct ata_command *c)
{
	uint8_t f[20] = { FIS_D2H, FIS_INTERRUPT, c->status, c->error };

	put_le(f + 4, c->lba, 3);
	f[7] = c->device;
	put_le(f + 8, c->lba >> 24, 3);
	put_le16(f + 12, c->count);
	put_fis(a, p, RX_D2H, f, sizeof(f));
	p->tfd = (uint32_t)c->error << 8 | c->status;
	p->is |= IS_DHRS;
}

/* A transfer without DMA is announced; its end needs nothing more. */
void ahci_send_pio_setup(struct ahci *a, struct ahci_port *p, const struct ata_command *c)
{
	uint8_t f[20] = { FIS_PIO_SETUP, FIS_INTERRUPT | FIS_TO_HOST, ATA_OK | ATA_DRQ, c->error };

	put_le(f + 4, c->lba, 3);
	f[7] = c->device;
	put_le(f + 8, c->lba >> 24, 3);
	put_le16(f + 12, c->count);
	f[15] = c->status;
	put_le16(f + 16, (uint16_t)c->moved);
	put_fis(a, p, RX_PIO_SETUP, f, sizeof(f));
	p->is |= IS_PSS;
}

/* The end of a queued command; of one that failed the guest reads the tag out of a log. */
void ahci_send_set_bits(struct ahci *a, struct ahci_port *p, const struct ata_command *c)
{
	uint32_t done = c->status & ATA_ERR ? 0 : UINT32_C(1) << ata_tag(c);
	uint8_t f[8] = { FIS_SET_BITS, FIS_INTERRUPT, c->status & 0x77, c->error };

	put_le32(f + 4, done);
	put_fis(a, p, RX_SET_BITS, f, sizeof(f));
	p->sact &= ~done;
	p->tfd = (uint32_t)c->error << 8 | c->status;
	p->is |= IS_SDBS;
}

uint32_t ahci_signature(const struct ahci_port *p)
{
	return p->drive.is_cd ? SIG_ATAPI : SIG_DISK;
}

/* The device after a reset says what it is. */
void ahci_send_signature(struct ahci *a, struct ahci_port *p)
{
	struct ata_command c = { .status = p->drive.is_cd ? 0 : ATA_OK, .error = 1, .count = 1 };

	p->sig = ahci_signature(p);
	c.lba = p->sig >> 8 & 0xffffff;
	ahci_send_d2h(a, p, &c);
}
