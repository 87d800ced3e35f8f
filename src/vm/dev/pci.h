/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_PCI_H
#define VM_DEV_PCI_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * A PCI Express host like Intel's Q35: configuration space by ports 0xcf8/0xcfc and by MMCONFIG for 256
 * buses (only bus 0 has devices), a host bridge at 0:00.0, an ISA bridge at 0:1f.0, and what struct
 * pci_dev describes. Source: PCI Local Bus 3.0, PCI Express base 4.0 chapter 7, ICH9 data sheet.
 *
 * INTx: pin INTA-INTD (0-3) of slot s is wired to PIRQ pci_pirq(s, pin), which is GSI 16 + that at the I/O
 * APIC, and the ISA IRQ that the bridge's PIRQ_ROUT register names at the 8259s. The DSDT's _PRT says
 * the same.
 */
#define PCI_ECAM_BASE UINT64_C(0xb0000000)
#define PCI_ECAM_SIZE UINT64_C(0x10000000)
/* Windows for BARs that firmware, or the guest, may hand out. */
#define PCI_MMIO32_BASE UINT64_C(0xc0000000)
#define PCI_MMIO32_END	UINT64_C(0xfec00000)
/* The window above all RAM: from the next GiB to the end of what 40 address bits reach. */
#define PCI_MMIO64_ALIGN (UINT64_C(1) << 30)
#define PCI_MMIO64_LAST	 ((UINT64_C(1) << 40) - 1)
#define PCI_IO_BASE	 0xc000
#define PCI_IO_END	 0x10000

enum {
	PCI_CONFIG_SIZE = 4096,
	PCI_COMMAND = 4, /* the command register, 16 bits: what a device may do */
	PCI_NR_BARS = 6,
	PCI_PIRQ_GSI = 16,
	PCI_NR_PIRQ = 4,
	PCI_DEVFN_HOST = 0,
	PCI_DEVFN_LPC = 0x1f << 3,
};

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

/*
 * pci_pirq - PIRQ A (0) to D (3) of a slot's pin A (0) to D (3). Slots of add-in cards rotate; those of the
 * chipset itself (25 on) do not. SeaBIOS has the same rule built in for this board. Thread: any.
 */
static inline unsigned int pci_pirq(unsigned int slot, unsigned int pin)
{
	return (pin + (slot < 25 ? slot : 0)) % PCI_NR_PIRQ;
}

struct memory_window;
struct pci_bus;
struct pci_bar {
	enum pci_bar_kind kind;
	bool prefetchable;
	uint64_t size;		/* a power of two; I/O: 4 to 256; memory: at least 16 */
	struct bus_range range; /* name, read, write, arg by the device; base and len by the bus */
	bool mapped;
	struct memory_window *window; /* the same bytes as memory for the CPUs, or NULL */
};

struct pci_dev {
	struct pci_bus *bus;
	const char *name;
	uint8_t devfn;
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t wmask[PCI_CONFIG_SIZE];	  /* bits the guest may change */
	uint8_t w1cmask[PCI_CONFIG_SIZE]; /* bits that writing 1 clears */
	struct pci_bar bar[PCI_NR_BARS];
	uint16_t cap_end;	/* first free byte for capabilities */
	bool intx;		/* what the device wants its interrupt pin to be */
	bool intx_out;		/* what it is: the guest may have switched it off */
	_Atomic bool is_master; /* the guest lets it read and write memory */
	_Atomic bool has_io;	/* it answers at I/O ports; for those that are not in a BAR */
	bool has_messages; /* MSI-X is on: the pin is not used; changed in config_written() only */
	/* After the guest wrote [off, off + size) of the space; under the bus lock, so it must not call
	 * pci_config_*() or pci_dev_set_intx(). May be NULL. */
	void (*config_written)(struct pci_dev *d, uint16_t off, unsigned int size);
	/* Before a read and after a write of the space, without the bus lock: for a register that is a window to
	 * something else, which a read fills and a write goes on to. Returns whether it is one; then *value is what
	 * is read. May be NULL. */
	bool (*config_window)(struct pci_dev *d, uint16_t off, unsigned int size, bool is_write,
			      uint32_t *value);
};

struct pci_bus {
	pthread_mutex_t lock; /* guards every device's configuration space and mapping */
	struct bus *pio, *mmio;
	struct irq_router *irqs;
	struct bus_range addr_port, data_port, ecam;
	const struct machine_events *events;
	uint32_t address; /* what was written to 0xcf8 */
	uint8_t rst_cnt;  /* 0xcf9 */
	struct pci_dev *dev[256];
	unsigned int pirq_count[PCI_NR_PIRQ]; /* devices that raise each */
	struct pci_dev host, lpc;
};

/* pci_init - the host with its two bridges, and the reset control register 0xcf9, which is a byte inside
 * the address port. Uses of @board: pio, mmio, irqs, events. Returns 0, or what bus_add() says. */
_nodiscard_ int pci_init(struct pci_bus *p, const struct board *board, struct err *err);
void pci_done(struct pci_bus *p);
/* pci_reset - BARs, commands and interrupt routing of every device as after power-on. */
void pci_reset(struct pci_bus *p);

/*
 * pci_dev_setup - give a device its identity; then BARs and capabilities; then pci_dev_plug().
 *
 * @class_code: base class, subclass, interface (24 bits).
 */
void pci_dev_setup(struct pci_dev *d, const char *name, uint16_t vendor, uint16_t device,
		   uint32_t class_code, uint8_t revision);
void pci_dev_set_subsystem(struct pci_dev *d, uint16_t vendor, uint16_t device);
/* pci_dev_set_pin - interrupt pin 1 (INTA) to 4. */
void pci_dev_set_pin(struct pci_dev *d, uint8_t pin);

/*
 * pci_dev_add_bar - declare BAR @nr; @size is rounded up to a power of two.
 *
 * @range: name, read, write, arg, max_size are copied. A 64-bit BAR takes @nr + 1, too.
 * Returns 0, or -EINVAL (number taken, size).
 */
_nodiscard_ int pci_dev_add_bar(struct pci_dev *d, unsigned int nr, enum pci_bar_kind kind,
				bool prefetchable, uint64_t size, const struct bus_range *range);

/*
 * pci_dev_add_cap - append a capability of @len bytes (its header's 2 included) to the list.
 *
 * Returns its offset, or -ENOSPC. The body is zero and read-only until the caller fills it.
 */
_nodiscard_ int pci_dev_add_cap(struct pci_dev *d, uint8_t id, unsigned int len);

/* pci_dev_plug - put the device at @devfn (slot << 3 | function). Returns 0, or -EEXIST. */
_nodiscard_ int pci_dev_plug(struct pci_bus *p, struct pci_dev *d, uint8_t devfn, struct err *err);
/* pci_dev_unplug - take it away again; harmless when it is not plugged. */
void pci_dev_unplug(struct pci_dev *d);

/* pci_dev_is_master - may the device read and write memory now? Devices that do, ask for each transfer. Thread: any. */
static inline bool pci_dev_is_master(const struct pci_dev *d)
{
	return atomic_load_explicit(&d->is_master, memory_order_relaxed);
}

/* pci_dev_has_io - does the device answer at I/O ports? Thread: any. */
static inline bool pci_dev_has_io(const struct pci_dev *d)
{
	return atomic_load_explicit(&d->has_io, memory_order_relaxed);
}

/* pci_dev_set_intx - level of the device's interrupt pin; respects the command register's interrupt
 * disable bit. Thread: any; not with the bus lock held. */
void pci_dev_set_intx(struct pci_dev *d, bool level);

/* pci_config_read, pci_config_write - one access as a guest makes it (size 1, 2, 4; aligned), for
 * firmware's work in pci_assign_bars() and tests. Missing devices read as all ones. Thread: any. */
uint32_t pci_config_read(struct pci_bus *p, uint16_t bdf, uint16_t off, unsigned int size);
void pci_config_write(struct pci_bus *p, uint16_t bdf, uint16_t off, unsigned int size,
		      uint32_t value);

/* pci_assign_bars - do what firmware does: give every BAR an address in the windows, switch memory
 * and I/O decoding on, and note the GSI of each interrupt pin in the interrupt line register. Returns 0, or -ENOSPC. Before the machine runs. */
_nodiscard_ int pci_assign_bars(struct pci_bus *p, struct err *err);

/* pci_dev_state - what a snapshot keeps of it. */
extern const struct state_desc pci_dev_state;

/* pci_bus_state - what a snapshot keeps of it. */
extern const struct state_desc pci_bus_state;

#endif
