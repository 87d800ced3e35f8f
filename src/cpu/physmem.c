// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Copies between guest-physical memory and ours, for devices and loaders: the slow, always-checked way.
 * A range may cross regions; each step moves what one region holds. What the guest writes at the same
 * time may be torn, as with real DMA, so callers copy once and check the copy.
 */
#include "cpu/physmem.h"

#include <errno.h>
#include <string.h>

#include "base/attr.h"

int physmem_read(const struct physmem *m, uint64_t gpa, void *buf, uint64_t len)
{
	uint8_t *to = buf;

	while (len) {
		const struct physmem_region *r = physmem_find(m, gpa);
		uint64_t off, n;

		if (!r)
			return -EFAULT;
		off = gpa - r->gpa;
		n = MIN(len, r->size - off);
		memcpy(to, r->hva + off, n);
		to += n;
		gpa += n;
		len -= n;
	}
	return 0;
}

int physmem_write(const struct physmem *m, uint64_t gpa, const void *buf, uint64_t len)
{
	const uint8_t *from = buf;

	while (len) {
		const struct physmem_region *r = physmem_find(m, gpa);
		uint64_t off, n;

		if (!r || r->is_rom)
			return -EFAULT;
		off = gpa - r->gpa;
		n = MIN(len, r->size - off);
		memcpy(r->hva + off, from, n);
		physmem_wrote(m, r, off, n);
		from += n;
		gpa += n;
		len -= n;
	}
	return 0;
}
