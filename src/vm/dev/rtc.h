/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_RTC_H
#define VM_DEV_RTC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "sys/timerq.h"
#include "vm/board.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * The MC146818 real-time clock and its 128 bytes of CMOS RAM at ports 0x70 and 0x71, IRQ 8. The time is
 * the host's wall clock (UTC) plus an offset that the guest makes by setting the clock.
 */
enum { RTC_CMOS_SIZE = 128 };

struct rtc {
	pthread_mutex_t lock;
	struct bus *pio;
	struct bus_range range;
	struct irq_line irq;
	struct clock *clock;
	struct timerq *timers;
	struct timerq_timer second_timer; /* update-ended and alarm */
	struct timerq_timer periodic_timer;
	uint8_t index;
	uint8_t cmos[RTC_CMOS_SIZE];
	int64_t offset_ns; /* guest's wall clock minus the host's */
	int64_t last_second; /* guest's wall clock when the update and alarm flags were last looked at */
	uint64_t periodic_next_ns; /* monotonic; 0: no rate is set */
	bool irq_disabled;	   /* the HPET took over IRQ 8 */
};

/* rtc_init - the clock at its ports, GSI 8. Uses of @board: pio, irqs, timers, clock. Returns 0, or
 * what bus_add() says. */
_nodiscard_ int rtc_init(struct rtc *r, const struct board *board, struct err *err);
void rtc_done(struct rtc *r);
/* rtc_reset - the reset pin: interrupts off; time and CMOS RAM stay. */
void rtc_reset(struct rtc *r);

/* rtc_set_memory - tell firmware the RAM size as PCs do: registers 15h-18h, 30h, 31h, 34h, 35h (below
 * 4 GiB) and 5bh-5dh (above). @low_end: where RAM below 4 GiB ends; @high_bytes: RAM above. */
void rtc_set_memory(struct rtc *r, uint64_t low_end, uint64_t high_bytes);

/* rtc_set_cmos - preset a byte of CMOS RAM; @reg: 0x0e to 0x7f. Before the machine runs. */
void rtc_set_cmos(struct rtc *r, uint8_t reg, uint8_t value);

/* rtc_disable_irq - cut the clock off its interrupt line (HPET legacy replacement). Thread: any. */
void rtc_disable_irq(struct rtc *r, bool disable);

/* rtc_state - what a snapshot keeps of it. */
extern const struct state_desc rtc_state;

#endif
