// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The I/O memory management unit. All of its state is a file of registers, kept as the bytes that a
 * guest reads: a write goes through a table of writable bits, and then the few registers that do
 * something are looked at. Translation walks the guest's tables anew for every access; a cache would
 * need invalidation to be right, and nothing on this board moves enough data to pay for that.
 *
 * A fault has one recording register. As the specification wants, the first fault stays until software
 * clears it and later ones only set the overflow bit, so a device that faults for ever costs nothing.
 */
#include "vm/dev/vtd.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "cpu/physmem.h"
#include "sys/thread.h"

/* clang-format off */
enum {
	REG_VER = 0x00, REG_CAP = 0x08, REG_ECAP = 0x10, REG_GCMD = 0x18, REG_GSTS = 0x1c,
	REG_RTADDR = 0x20, REG_CCMD = 0x28, REG_FSTS = 0x34, REG_FECTL = 0x38, REG_FEDATA = 0x3c,
	REG_FEADDR = 0x40, REG_FEUADDR = 0x44, REG_IQH = 0x80, REG_IQT = 0x88, REG_IQA = 0x90,
	REG_ICS = 0x9c, REG_IECTL = 0xa0, REG_IEDATA = 0xa4, REG_IEADDR = 0xa8, REG_IEUADDR = 0xac,
	REG_IRTA = 0xb8, REG_IVA = 0x200, REG_IOTLB = 0x208, REG_FRCD = 0x220,
	RANGE_LEN = 0x1000,

	VERSION = 0x10,
	IRTA_SIZE = 15,
	ICS_IWC = 1,
	FSTS_OVERFLOW = 1, FSTS_PENDING = 2, FSTS_QUEUE_ERROR = 16,
};
/* clang-format on */

/* Of FECTL and IECTL. */
#define EVENT_MASKED	 (UINT32_C(1) << 31)
#define EVENT_IS_PENDING (UINT32_C(1) << 30)

#define GCMD_TRANSLATE	 (UINT32_C(1) << 31)
#define GCMD_ROOT	 (UINT32_C(1) << 30)
#define GCMD_QUEUE	 (UINT32_C(1) << 26)
#define GCMD_REMAP	 (UINT32_C(1) << 25)
#define GCMD_REMAP_TABLE (UINT32_C(1) << 24)
#define GCMD_COMPATIBLE	 (UINT32_C(1) << 23)
#define GCMD_LASTING	 (GCMD_TRANSLATE | GCMD_QUEUE | GCMD_REMAP | GCMD_COMPATIBLE)

/* 64K domains; tables of 3 and 4 levels; 48 address bits; pages of 2 MiB and 1 GiB; one fault register. */
#define MGAW UINT64_C(47)
#define CAP_VALUE                                                                                  \
	(UINT64_C(6) | UINT64_C(6) << 8 | MGAW << 16 | (uint64_t)(REG_FRCD / 16) << 24 |           \
	 UINT64_C(3) << 34 | UINT64_C(3) << 54)
/* Coherent walks, queued invalidation, interrupt remapping, pass-through. */
#define ECAP_VALUE                                                                                 \
	(UINT64_C(1) | UINT64_C(2) | UINT64_C(8) | UINT64_C(0x40) |                                \
	 (uint64_t)(REG_IVA / 16) << 8 | UINT64_C(15) << 20)

#define ADDR_MASK    UINT64_C(0x000ffffffffff000)
#define BIT63	     (UINT64_C(1) << 63)
#define FRCD_IS_READ (UINT64_C(1) << 62)
#define MSI_BASE     UINT64_C(0xfee00000)
#define MSI_MASK     UINT64_C(0xfff00000)

enum fault {
	FAULT_NONE = 0,
	FAULT_ROOT_NOT_PRESENT = 1,
	FAULT_CONTEXT_NOT_PRESENT = 2,
	FAULT_CONTEXT_INVALID = 3,
	FAULT_ADDRESS_WIDTH = 4,
	FAULT_WRITE = 5,
	FAULT_READ = 6,
	FAULT_TABLE_ACCESS = 7,
	FAULT_ROOT_ACCESS = 8,
	FAULT_CONTEXT_ACCESS = 9,
	FAULT_INDEX = 0x21,
	FAULT_IRTE_NOT_PRESENT = 0x22,
	FAULT_IRTE_ACCESS = 0x23,
	FAULT_IRTE_RESERVED = 0x24,
	FAULT_COMPATIBLE = 0x25,
	FAULT_SOURCE = 0x26,
};

/* What is to be sent once the lock is released: an event of the unit itself or a remapped message. */
struct message {
	bool is_valid;
	uint64_t addr;
	uint32_t data;
};

/* Bits that software may write, and that it clears by writing ones, by 32-bit register. */
static const struct {
	uint16_t off;
	uint32_t writable, clears;
} registers[] = {
	{ REG_RTADDR, 0xfffff000, 0 },
	{ REG_RTADDR + 4, 0xffffffff, 0 },
	{ REG_CCMD, 0xffffffff, 0 },
	{ REG_CCMD + 4, 0x60000003, 0 },
	{ REG_FSTS, 0, 0x7d },
	{ REG_FECTL, 0x80000000, 0 },
	{ REG_FEDATA, 0xffff, 0 },
	{ REG_FEADDR, 0xfffffffc, 0 },
	{ REG_FEUADDR, 0xffffffff, 0 },
	{ REG_IQT, 0x0007fff0, 0 },
	{ REG_IQA, 0xfffff007, 0 },
	{ REG_IQA + 4, 0xffffffff, 0 },
	{ REG_ICS, 0, ICS_IWC },
	{ REG_IECTL, 0x80000000, 0 },
	{ REG_IEDATA, 0xffff, 0 },
	{ REG_IEADDR, 0xfffffffc, 0 },
	{ REG_IEUADDR, 0xffffffff, 0 },
	{ REG_IRTA, 0xfffff00f, 0 },
	{ REG_IRTA + 4, 0xffffffff, 0 },
	{ REG_IVA, 0xffffffff, 0 },
	{ REG_IVA + 4, 0xffffffff, 0 },
	{ REG_IOTLB, 0xffffffff, 0 },
	{ REG_IOTLB + 4, 0x7fffffff, 0 },
	{ REG_FRCD + 12, 0, 0x80000000 },
};

static uint32_t reg32(const struct vtd *v, unsigned int off)
{
	return get_le32(v->reg + off);
}

static uint64_t reg64(const struct vtd *v, unsigned int off)
{
	return get_le64(v->reg + off);
}

static void reg32_change(struct vtd *v, unsigned int off, uint32_t clear, uint32_t set)
{
	put_le32(v->reg + off, (reg32(v, off) & ~clear) | set);
}

/* Raises the event whose control, data and address registers stand in a row from @control. */
static void raise_event(struct vtd *v, unsigned int control, struct message *out)
{
	if (reg32(v, control) & EVENT_MASKED) {
		reg32_change(v, control, 0, EVENT_IS_PENDING);
		return;
	}
	*out = (struct message){
		.is_valid = true,
		.addr = reg64(v, control + 8),
		.data = reg32(v, control + 4),
	};
}

static void record_fault(struct vtd *v, uint32_t source, uint64_t addr, bool is_read,
			 enum fault reason, struct message *out)
{
	if (reg32(v, REG_FSTS) & FSTS_PENDING) {
		reg32_change(v, REG_FSTS, 0, FSTS_OVERFLOW);
		return;
	}
	put_le64(v->reg + REG_FRCD, addr & ~UINT64_C(0xfff));
	put_le64(v->reg + REG_FRCD + 8,
		 BIT63 | (is_read ? FRCD_IS_READ : 0) | (uint64_t)reason << 32 | (source & 0xffff));
	reg32_change(v, REG_FSTS, 0, FSTS_PENDING);
	raise_event(v, REG_FECTL, out);
}

static void queue_error(struct vtd *v, struct message *out)
{
	bool is_new = !(reg32(v, REG_FSTS) & FSTS_QUEUE_ERROR);

	reg32_change(v, REG_FSTS, 0, FSTS_QUEUE_ERROR);
	if (is_new)
		raise_event(v, REG_FECTL, out);
}

/* One descriptor of 16 bytes. Returns whether the unit may go on with the next. */
static bool run_descriptor(struct vtd *v, const uint8_t *d, struct message *out)
{
	enum { CONTEXT = 1, IOTLB = 2, DEVICE_IOTLB = 3, IEC = 4, WAIT = 5 };
	enum { WAIT_INTERRUPT = 1 << 4, WAIT_STATUS = 1 << 5 };
	uint64_t low = get_le64(d), high = get_le64(d + 8);
	uint8_t status[4];

	switch (low & 0xf) {
	case CONTEXT:
	case IOTLB:
	case DEVICE_IOTLB:
	case IEC:
		return true;
	case WAIT:
		if (low & WAIT_STATUS) {
			put_le32(status, (uint32_t)(low >> 32));
			if (physmem_write(v->mem, high & ~UINT64_C(3), status, sizeof(status)) < 0)
				return false;
		}
		if ((low & WAIT_INTERRUPT) && !(reg32(v, REG_ICS) & ICS_IWC)) {
			reg32_change(v, REG_ICS, 0, ICS_IWC);
			raise_event(v, REG_IECTL, out);
		}
		return true;
	default:
		return false;
	}
}

/* Works the invalidation queue off. Bounded by the queue's length, since the tail does not move. */
static void run_queue(struct vtd *v, struct message *out)
{
	uint64_t iqa = reg64(v, REG_IQA), base = iqa & ADDR_MASK;
	uint32_t len = UINT32_C(4096) << (iqa & 7), tail = reg32(v, REG_IQT);
	uint32_t head = reg32(v, REG_IQH);
	uint8_t d[16];

	if (!(reg32(v, REG_GSTS) & GCMD_QUEUE) || (reg32(v, REG_FSTS) & FSTS_QUEUE_ERROR))
		return;
	if (tail >= len || head >= len) {
		queue_error(v, out);
		return;
	}
	while (head != tail) {
		if (physmem_read(v->mem, base + head, d, sizeof(d)) < 0 ||
		    !run_descriptor(v, d, out)) {
			queue_error(v, out);
			break;
		}
		head = (head + 16) % len;
	}
	put_le64(v->reg + REG_IQH, head);
}

static void global_command(struct vtd *v, uint32_t cmd, struct message *out)
{
	uint32_t was = reg32(v, REG_GSTS), now = (was & ~GCMD_LASTING) | (cmd & GCMD_LASTING);

	if (cmd & GCMD_ROOT) {
		v->root = reg64(v, REG_RTADDR) & ADDR_MASK;
		now |= GCMD_ROOT;
	}
	if (cmd & GCMD_REMAP_TABLE) {
		v->remap_table = reg64(v, REG_IRTA);
		now |= GCMD_REMAP_TABLE;
	}
	put_le32(v->reg + REG_GSTS, now);
	if (!(was & GCMD_QUEUE) && (now & GCMD_QUEUE)) {
		put_le64(v->reg + REG_IQH, 0);
		run_queue(v, out);
	}
}

/* Software unmasked an event that had been waiting. */
static void event_control_written(struct vtd *v, unsigned int control, struct message *out)
{
	uint32_t c = reg32(v, control);

	if ((c & EVENT_IS_PENDING) && !(c & EVENT_MASKED)) {
		reg32_change(v, control, EVENT_IS_PENDING, 0);
		raise_event(v, control, out);
	}
}

static void faults_written(struct vtd *v)
{
	if (!(reg32(v, REG_FRCD + 12) >> 31))
		reg32_change(v, REG_FSTS, FSTS_PENDING, 0);
	if (!(reg32(v, REG_FSTS) & (FSTS_OVERFLOW | FSTS_PENDING | FSTS_QUEUE_ERROR)))
		reg32_change(v, REG_FECTL, EVENT_IS_PENDING, 0);
}

/* What a write of the aligned register at @off does beside storing. */
static void written(struct vtd *v, unsigned int off, uint32_t value, struct message *out)
{
	uint32_t granularity;

	switch (off) {
	case REG_GCMD:
		global_command(v, value, out);
		break;
	case REG_CCMD + 4: /* invalidate context cache: done, as asked for */
		if (value >> 31)
			reg32_change(v, off, 3 << 27, (value >> 29 & 3) << 27);
		break;
	case REG_IOTLB + 4: /* likewise; bits 61:60 of the register ask, 58:57 answer */
		granularity = value >> 28 & 3;
		reg32_change(v, off, 3 << 25, granularity << 25);
		break;
	case REG_FSTS:
	case REG_FRCD + 12:
		faults_written(v);
		break;
	case REG_FECTL:
	case REG_IECTL:
		event_control_written(v, off, out);
		break;
	case REG_IQT:
		run_queue(v, out);
		break;
	default:
		break;
	}
}

static void write32(struct vtd *v, unsigned int off, uint32_t value, struct message *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		uint32_t old;

		if (registers[i].off != off)
			continue;
		old = reg32(v, off) & ~(value & registers[i].clears);
		put_le32(v->reg + off,
			 (old & ~registers[i].writable) | (value & registers[i].writable));
		break;
	}
	written(v, off, value, out);
}

static uint64_t vtd_read(void *arg, uint64_t off, unsigned int size)
{
	struct vtd *v = arg;

	mutex_guard(&v->lock);
	if (!range_ok(off, size, VTD_REGS_SIZE))
		return 0;
	return get_le(v->reg + off, size);
}

static void send(struct vtd *v, const struct message *m)
{
	if (m->is_valid && v->msi)
		v->msi(v->msi_arg, m->addr, m->data);
}

static void vtd_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct vtd *v = arg;
	struct message out[2] = { { 0 } };

	/* The registers are defined for aligned accesses of 32 and 64 bits. */
	if (size < 4 || off % size || !range_ok(off, size, VTD_REGS_SIZE))
		return;
	mutex_lock(&v->lock);
	write32(v, (unsigned int)off, (uint32_t)value, &out[0]);
	if (size == 8)
		write32(v, (unsigned int)off + 4, (uint32_t)(value >> 32), &out[1]);
	mutex_unlock(&v->lock);
	send(v, &out[0]);
	send(v, &out[1]);
}

/* The second-level tables. @ret_len: how far the translation holds from @iova. */
static enum fault walk(struct vtd *v, uint64_t table, unsigned int levels, uint64_t iova,
		       bool is_write, uint64_t *ret_gpa, uint64_t *ret_len)
{
	enum { PTE_READ = 1, PTE_WRITE = 2, PTE_LARGE = 0x80 };
	uint8_t bytes[8];

	if (iova >> (12 + 9 * levels))
		return FAULT_ADDRESS_WIDTH;
	for (unsigned int level = levels; level > 0; level--) {
		unsigned int shift = 12 + 9 * (level - 1);
		uint64_t pte, page = UINT64_C(1) << shift;

		if (physmem_read(v->mem, table + (iova >> shift & 0x1ff) * 8, bytes,
				 sizeof(bytes)) < 0)
			return FAULT_TABLE_ACCESS;
		pte = get_le64(bytes);
		if (is_write && !(pte & PTE_WRITE))
			return FAULT_WRITE;
		if (!is_write && !(pte & PTE_READ))
			return FAULT_READ;
		if (level == 1 || (level <= 3 && (pte & PTE_LARGE))) {
			*ret_gpa = (pte & ADDR_MASK & ~(page - 1)) | (iova & (page - 1));
			*ret_len = page - (iova & (page - 1));
			return FAULT_NONE;
		}
		table = pte & ADDR_MASK;
	}
	return FAULT_TABLE_ACCESS;
}

/* @ret_quiet: the tables ask that faults of this device are not recorded. */
static enum fault translate(struct vtd *v, uint16_t source, uint64_t iova, bool is_write,
			    uint64_t *ret_gpa, uint64_t *ret_len, bool *ret_quiet)
{
	enum { PRESENT = 1, QUIET = 2, TYPE_TABLES = 0, TYPE_DEVICE_TLB = 1, TYPE_PASS = 2 };
	uint8_t entry[16];
	uint64_t context;
	unsigned int width;

	*ret_quiet = false;
	if (!(reg32(v, REG_GSTS) & GCMD_TRANSLATE)) {
		*ret_gpa = iova;
		*ret_len = UINT64_MAX - iova;
		return FAULT_NONE;
	}
	if (physmem_read(v->mem, v->root + (uint64_t)(source >> 8) * 16, entry, 16) < 0)
		return FAULT_ROOT_ACCESS;
	if (!(entry[0] & PRESENT))
		return FAULT_ROOT_NOT_PRESENT;
	if (physmem_read(v->mem, (get_le64(entry) & ADDR_MASK) + (source & 0xff) * 16, entry, 16) <
	    0)
		return FAULT_CONTEXT_ACCESS;
	context = get_le64(entry);
	*ret_quiet = context & QUIET;
	if (!(context & PRESENT))
		return FAULT_CONTEXT_NOT_PRESENT;
	width = entry[8] & 7;
	if (width != 1 && width != 2)
		return FAULT_CONTEXT_INVALID;
	switch (context >> 2 & 3) {
	case TYPE_PASS:
		*ret_gpa = iova;
		*ret_len = UINT64_MAX - iova;
		return FAULT_NONE;
	case TYPE_TABLES:
	case TYPE_DEVICE_TLB:
		return walk(v, context & ADDR_MASK, width + 2, iova, is_write, ret_gpa, ret_len);
	default:
		return FAULT_CONTEXT_INVALID;
	}
}

/* Translates one piece; records the fault if there is one. */
static int translate_or_fault(struct vtd *v, uint16_t source, uint64_t iova, bool is_write,
			      uint64_t *ret_gpa, uint64_t *ret_len)
{
	struct message out = { 0 };
	enum fault fault;
	bool quiet;

	mutex_lock(&v->lock);
	fault = translate(v, source, iova, is_write, ret_gpa, ret_len, &quiet);
	if (fault != FAULT_NONE && !quiet)
		record_fault(v, source, iova, !is_write, fault, &out);
	mutex_unlock(&v->lock);
	send(v, &out);
	return fault == FAULT_NONE ? 0 : -EFAULT;
}

/* Moves @len bytes between guest memory and one of @to and @from; the other is NULL. */
static int move(struct vtd *v, uint16_t source, uint64_t iova, uint8_t *to, const uint8_t *from,
		uint64_t len)
{
	for (uint64_t done = 0, n; done < len; done += n) {
		uint64_t gpa;
		int r = translate_or_fault(v, source, iova + done, from != NULL, &gpa, &n);

		if (r < 0)
			return r;
		n = MIN(n, len - done);
		r = from ? physmem_write(v->mem, gpa, from + done, n)
			 : physmem_read(v->mem, gpa, to + done, n);
		if (r < 0)
			return r;
	}
	return 0;
}

int vtd_dma_read(struct vtd *v, uint16_t source, uint64_t iova, void *buf, uint64_t len)
{
	return move(v, source, iova, buf, NULL, len);
}

int vtd_dma_write(struct vtd *v, uint16_t source, uint64_t iova, const void *buf, uint64_t len)
{
	return move(v, source, iova, NULL, buf, len);
}

/* Does the requester match what the entry says about it? Chapter 5.1.4: SVT and SQ. */
static bool source_matches(uint64_t high, uint32_t source)
{
	static const uint16_t ignored[] = { 0, 4, 6, 7 };
	uint16_t sid = (uint16_t)high, mask = (uint16_t)~ignored[high >> 16 & 3];

	if (source == VTD_SOURCE_ANY)
		return true;
	switch (high >> 18 & 3) {
	case 0:
		return true;
	case 1:
		return (sid & mask) == (source & mask);
	case 2: /* a range of buses */
		return source >> 8 >= (sid >> 8) && source >> 8 <= (sid & 0xff);
	default:
		return false;
	}
}

/* The entry that a message in remappable format names. Chapter 5.1.2.2. */
static uint32_t message_index(uint64_t addr, uint32_t data)
{
	enum { ADDR_SUBHANDLE = 8 };
	uint32_t index = (uint32_t)(addr >> 5 & 0x7fff) | (uint32_t)(addr >> 2 & 1) << 15;

	return addr & ADDR_SUBHANDLE ? index + (data & 0xffff) : index;
}

/* A message in remappable format. @ret_quiet as in translate(). */
static enum fault remap(struct vtd *v, uint32_t source, uint64_t addr, uint32_t data,
			struct message *out, bool *ret_quiet)
{
	enum { IRTE_PRESENT = 1, IRTE_QUIET = 2, IRTE_POSTED = 1 << 15 };
	uint32_t index = message_index(addr, data);
	uint64_t nr = UINT64_C(2) << (v->remap_table & IRTA_SIZE), low, high;
	uint8_t entry[16];

	if (index >= nr)
		return FAULT_INDEX;
	if (physmem_read(v->mem, (v->remap_table & ADDR_MASK) + (uint64_t)index * 16, entry, 16) <
	    0)
		return FAULT_IRTE_ACCESS;
	low = get_le64(entry);
	high = get_le64(entry + 8);
	*ret_quiet = low & IRTE_QUIET;
	if (!(low & IRTE_PRESENT))
		return FAULT_IRTE_NOT_PRESENT;
	if (low & IRTE_POSTED)
		return FAULT_IRTE_RESERVED;
	if (!source_matches(high, source))
		return FAULT_SOURCE;
	/* Destination: with 8-bit APIC ids it stands in the second byte of the field. */
	out->addr = MSI_BASE | (low >> 40 & 0xff) << 12 | (low & 8) | (low & 4);
	out->data = (uint32_t)(low >> 16 & 0xff) | (uint32_t)(low >> 5 & 7) << 8;
	if (low & 16)
		out->data |= 1 << 15 | 1 << 14;
	out->is_valid = true;
	return FAULT_NONE;
}

void vtd_msi(struct vtd *v, uint32_t source, uint64_t addr, uint32_t data)
{
	enum { ADDR_REMAPPABLE = 16 };
	struct message pass = { .is_valid = true, .addr = addr, .data = data }, event = { 0 };
	enum fault fault = FAULT_NONE;
	bool quiet = false;

	mutex_lock(&v->lock);
	if ((reg32(v, REG_GSTS) & GCMD_REMAP) && (addr & ~UINT64_C(0xfffff)) == MSI_BASE) {
		pass.is_valid = false;
		if (addr & ADDR_REMAPPABLE)
			fault = remap(v, source, addr, data, &pass, &quiet);
		else if (reg32(v, REG_GSTS) & GCMD_COMPATIBLE)
			pass.is_valid = true;
		else
			fault = FAULT_COMPATIBLE;
		if (fault != FAULT_NONE && !quiet)
			record_fault(v, source, (uint64_t)message_index(addr, data) << 48, true,
				     fault, &event);
	}
	mutex_unlock(&v->lock);
	send(v, &pass);
	send(v, &event);
}

void vtd_ioapic_msi(void *arg, uint64_t addr, uint32_t data)
{
	vtd_msi(arg, VTD_SOURCE_ANY, addr, data);
}

void vtd_reset(struct vtd *v)
{
	mutex_guard(&v->lock);
	memset(v->reg, 0, sizeof(v->reg));
	v->root = v->remap_table = 0;
	put_le32(v->reg + REG_VER, VERSION);
	put_le64(v->reg + REG_CAP, CAP_VALUE);
	put_le64(v->reg + REG_ECAP, ECAP_VALUE);
	put_le32(v->reg + REG_FECTL, EVENT_MASKED);
	put_le32(v->reg + REG_IECTL, EVENT_MASKED);
}

int vtd_init(struct vtd *v, const struct board *board, struct err *err)
{
	int r;

	*v = (struct vtd){
		.mmio = board->mmio,
		.mem = board->mem,
		.msi = board->msi,
		.msi_arg = board->msi_arg,
		.range = { .name = "iommu",
			   .base = VTD_BASE,
			   .len = RANGE_LEN,
			   .read = vtd_read,
			   .write = vtd_write,
			   .arg = v,
			   .max_size = 8 },
	};
	mutex_init(&v->lock);
	vtd_reset(v);
	r = bus_add(v->mmio, &v->range, err);
	if (r < 0)
		v->mmio = NULL;
	return r;
}

void vtd_done(struct vtd *v)
{
	if (!v->mmio)
		return;
	bus_del(v->mmio, &v->range);
	pthread_mutex_destroy(&v->lock);
	v->mmio = NULL;
}
