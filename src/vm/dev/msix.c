/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X. A vector that is raised while it, or the whole function, is masked or no bus master stays pending and is sent when
 * nothing is in its way any more; raising it twice before sends it once, which is what the specification wants.
 *
 * The table may be changed while vectors are raised: each message is sent under the lock with the address and
 * the data of one moment. Drivers mask a vector before they change it, but a hostile one must not make us send
 * half of each.
 */
#include "vm/dev/msix.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "sys/thread.h"
#include "vm/snapshot/state.h"

enum {
	CAP_ID = 0x11,
	CAP_LEN = 12,
	CAP_CONTROL = 2,
	CAP_TABLE = 4,
	CAP_PBA = 8,
	CONTROL_MASKED = 1 << 14,
	CONTROL_ENABLE = 1 << 15,

	ENTRY_DATA = 8,
	ENTRY_CONTROL = 12,
	ENTRY_MASKED = 1,

	PBA_OFF = 0x800,
	BAR_SIZE = 0x1000,
};

_Static_assert(MSIX_MAX_VECTORS *MSIX_ENTRY <= PBA_OFF, "the table ends before the pending bits");

/* A message is a write to memory, which the device may do only as a bus master. */
static bool must_wait(const struct msix *x, unsigned int v)
{
	return x->is_masked || !pci_dev_is_master(x->dev) ||
	       (x->table[v * MSIX_ENTRY + ENTRY_CONTROL] & ENTRY_MASKED);
}

static void send(struct msix *x, unsigned int v)
{
	const uint8_t *e = x->table + (size_t)v * MSIX_ENTRY;

	x->pending[v / 64] &= ~(UINT64_C(1) << (v & 63));
	if (x->send)
		x->send(x->send_arg, get_le64(e), get_le32(e + ENTRY_DATA));
}

static void send_pending(struct msix *x)
{
	for (unsigned int v = 0; x->is_enabled && v < x->nr; v++)
		if ((x->pending[v / 64] >> (v & 63) & 1) && !must_wait(x, v))
			send(x, v);
}

bool msix_is_enabled(struct msix *x)
{
	mutex_guard(&x->lock);
	return x->is_enabled;
}

void msix_notify(struct msix *x, unsigned int v)
{
	mutex_guard(&x->lock);
	if (v >= x->nr || !x->is_enabled)
		return;
	if (must_wait(x, v))
		x->pending[v / 64] |= UINT64_C(1) << (v & 63);
	else
		send(x, v);
}

void msix_config_written(struct msix *x, uint16_t off, unsigned int size)
{
	uint16_t control;

	if (!range_overlap(off, size, x->cap + CAP_CONTROL, 2) &&
	    !range_overlap(off, size, PCI_COMMAND, 2))
		return;
	control = get_le16(x->dev->config + x->cap + CAP_CONTROL);
	mutex_guard(&x->lock);
	x->is_enabled = control & CONTROL_ENABLE;
	x->is_masked = control & CONTROL_MASKED;
	x->dev->has_messages = x->is_enabled;
	send_pending(x);
}

static uint64_t table_read(void *arg, uint64_t off, unsigned int size)
{
	struct msix *x = arg;

	if (size < 4 || off % size)
		return UINT64_MAX;
	mutex_guard(&x->lock);
	if (range_ok(off, size, (uint64_t)x->nr * MSIX_ENTRY))
		return get_le(x->table + off, size);
	if (off >= PBA_OFF && range_ok(off - PBA_OFF, size, sizeof(x->pending)))
		return x->pending[(off - PBA_OFF) / 8] >> (8 * (off & 7));
	return 0;
}

static void table_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct msix *x = arg;

	if (size < 4 || off % size)
		return;
	mutex_guard(&x->lock);
	if (!range_ok(off, size, (uint64_t)x->nr * MSIX_ENTRY))
		return;
	put_le(x->table + off, value, size);
	if (off % MSIX_ENTRY + size > ENTRY_CONTROL) {
		uint8_t *control = x->table + align_down(off, MSIX_ENTRY) + ENTRY_CONTROL;

		put_le32(control, get_le32(control) & ENTRY_MASKED); /* the rest is reserved */
		send_pending(x);
	}
}

void msix_reset(struct msix *x)
{
	uint8_t *control = x->dev->config + x->cap + CAP_CONTROL;

	mutex_guard(&x->lock);
	put_le16(control, (uint16_t)(x->nr - 1));
	x->is_enabled = x->is_masked = x->dev->has_messages = false;
	memset(x->table, 0, sizeof(x->table));
	memset(x->pending, 0, sizeof(x->pending));
	for (unsigned int v = 0; v < x->nr; v++)
		x->table[v * MSIX_ENTRY + ENTRY_CONTROL] = ENTRY_MASKED;
}

int msix_init(struct msix *x, struct pci_dev *d, const struct board *board, unsigned int bar,
	      unsigned int nr, struct err *err)
{
	const struct bus_range range = {
		.name = "msix", .read = table_read, .write = table_write, .arg = x, .max_size = 8
	};
	int r;

	memset(x, 0, sizeof(*x));
	if (!nr || nr > MSIX_MAX_VECTORS)
		return err_set(err, -EINVAL, "%u MSI-X vectors: from 1 to %d are possible", nr,
			       MSIX_MAX_VECTORS);
	r = pci_dev_add_bar(d, bar, PCI_BAR_MEM32, false, BAR_SIZE, &range);
	if (r == 0)
		r = pci_dev_add_cap(d, CAP_ID, CAP_LEN);
	if (r < 0)
		return err_set(err, r, "MSI-X of '%s' does not fit its configuration space",
			       d->name);
	x->dev = d;
	x->cap = (uint8_t)r;
	x->nr = nr;
	x->send = board->msi;
	x->send_arg = board->msi_arg;
	mutex_init(&x->lock);
	put_le16(d->wmask + x->cap + CAP_CONTROL, CONTROL_ENABLE | CONTROL_MASKED);
	put_le32(d->config + x->cap + CAP_TABLE, bar);
	put_le32(d->config + x->cap + CAP_PBA, PBA_OFF | bar);
	msix_reset(x);
	return 0;
}

void msix_done(struct msix *x)
{
	if (x->dev)
		pthread_mutex_destroy(&x->lock);
	x->dev = NULL;
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field fields[] = {
	STATE_BYTES(struct msix, table),
	STATE_ARRAY(struct msix, pending, UINT64_MAX),
};

/* The rest is in the configuration space. */
const struct state_desc msix_state = {
	.name = "msix",
	.version = 1,
	STATE_LOCK(struct msix, lock),
	STATE_TABLE(struct msix, fields),
};
