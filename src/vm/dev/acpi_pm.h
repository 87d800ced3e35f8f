/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_ACPI_PM_H
#define VM_DEV_ACPI_PM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "sys/timerq.h"
#include "vm/board.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * ACPI fixed hardware (ACPI 6.4, chapter 4.8) at the ports of an ICH9 power-management block, and the SMI
 * command port 0xb2. The PM timer has 24 bits. The reset register 0xcf9 is the ISA bridge's: pci.h.
 * The DSDT must name ACPI_SLP_TYP_S5 in \_S5.
 */
#define ACPI_PM_BASE	 0x600
#define ACPI_PM1_EVT	 (ACPI_PM_BASE + 0x00) /* 2 status, 2 enable */
#define ACPI_PM1_CNT	 (ACPI_PM_BASE + 0x04) /* 2 */
#define ACPI_PM_TMR	 (ACPI_PM_BASE + 0x08) /* 4 */
#define ACPI_GPE0	 (ACPI_PM_BASE + 0x20) /* 8 status, 8 enable */
#define ACPI_GPE0_LEN	 16
#define ACPI_PM_RESET	 (ACPI_PM_BASE + 0x38) /* 1: for boards without the ISA bridge's register */
#define ACPI_PM_LEN	 0x80
#define ACPI_SMI_CMD	 0xb2
#define ACPI_RESET_PORT	 0xcf9
#define ACPI_RESET_VALUE 0x06
#define ACPI_PM_TMR_HZ	 UINT64_C(3579545)
enum {
	ACPI_SCI_GSI = 9,
	ACPI_SMI_ENABLE = 2,  /* value for FADT ACPI_ENABLE */
	ACPI_SMI_DISABLE = 3, /* value for FADT ACPI_DISABLE */
	ACPI_SLP_TYP_S5 = 0,  /* \_S5 package: first two elements */
};

struct acpi_pm {
	pthread_mutex_t lock;
	struct bus *pio;
	struct bus_range range, smi;
	struct irq_line sci;
	struct clock *clock;
	struct timerq *timers;
	const struct machine_events *events;
	struct timerq_timer timer; /* next overflow of the PM timer */
	uint64_t start_ns;	   /* when the PM timer was 0; constant */
	uint16_t pm1_sts, pm1_en, pm1_cnt;
	uint8_t gpe_sts[ACPI_GPE0_LEN / 2], gpe_en[ACPI_GPE0_LEN / 2];
	uint8_t apm_cmd, apm_sts;
	uint32_t smi_en, smi_sts;
	uint64_t half_turns; /* how often bit 23 of the timer had changed when it was last looked at */
};

/* acpi_pm_init - the registers at their ports. Uses of @board: pio, irqs, timers, clock, events.
 * Returns 0, or what bus_add() says. */
_nodiscard_ int acpi_pm_init(struct acpi_pm *pm, const struct board *board, struct err *err);
void acpi_pm_done(struct acpi_pm *pm);
void acpi_pm_reset(struct acpi_pm *pm);

/* acpi_pm_power_button - the guest is asked to shut down: PWRBTN_STS. Thread: any. */
void acpi_pm_power_button(struct acpi_pm *pm);

/* acpi_pm_gpe - raise general-purpose event @nr (0 to 63). Thread: any. */
void acpi_pm_gpe(struct acpi_pm *pm, unsigned int nr);

/* acpi_pm_state - what a snapshot keeps of it. */
extern const struct state_desc acpi_pm_state;

#endif
