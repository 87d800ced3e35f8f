// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ACPI fixed hardware: the power button, the PM timer, soft-off, and general-purpose events. What makes
 * the guest notice is one level-triggered interrupt, the SCI, which is the OR of "status and enable" over
 * all of them while the OS has said that it takes ACPI events (SCI_EN).
 *
 * The PM timer is read in tight loops by firmware and by guests that calibrate against it, so a read
 * takes no lock: it needs only the time and the constant start. Its status bit (the top bit changed) is
 * found when somebody looks; a timer runs only while its interrupt is enabled.
 */
#include "vm/dev/acpi_pm.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "vm/snapshot/state.h"

enum {
	OFF_PM1_STS = 0x00,
	OFF_PM1_EN = 0x02,
	OFF_PM1_CNT = 0x04,
	OFF_TMR = 0x08,
	OFF_GPE_STS = 0x20,
	OFF_GPE_EN = 0x28,
	OFF_SMI_EN = 0x30,
	OFF_SMI_STS = 0x34,
	OFF_RESET = ACPI_PM_RESET - ACPI_PM_BASE,
	GPE_BYTES = ACPI_GPE0_LEN / 2,

	PM1_TMR = 1 << 0,
	PM1_PWRBTN = 1 << 8,
	PM1_ENABLES = 0x0721,
	CNT_SCI_EN = 1 << 0,
	CNT_KEPT = 0x1c07,
	CNT_SLP_TYP_SHIFT = 10,
	CNT_SLP_EN = 1 << 13,

	SMI_APMC_EN = 1 << 5,

	TMR_BITS = 24,
};

static uint64_t timer_ticks(const struct acpi_pm *pm)
{
	return mul_div_u64(clock_now(pm->clock) - pm->start_ns, ACPI_PM_TMR_HZ, NS_PER_S);
}

/* Has the timer's top bit changed since the last look? */
static void look_at_timer(struct acpi_pm *pm)
{
	uint64_t n = timer_ticks(pm) >> (TMR_BITS - 1);

	if (n != pm->half_turns)
		pm->pm1_sts |= PM1_TMR;
	pm->half_turns = n;
}

static void update(struct acpi_pm *pm)
{
	bool sci = (pm->pm1_sts & pm->pm1_en & PM1_ENABLES) != 0;
	uint64_t next = UINT64_MAX;

	for (unsigned int k = 0; k < GPE_BYTES; k++)
		sci = sci || (pm->gpe_sts[k] & pm->gpe_en[k]);
	irq_set(&pm->sci, sci && (pm->pm1_cnt & CNT_SCI_EN));

	if ((pm->pm1_en & PM1_TMR) && !(pm->pm1_sts & PM1_TMR))
		next = pm->start_ns + 1 +
		       mul_div_u64((pm->half_turns + 1) << (TMR_BITS - 1), NS_PER_S,
				   ACPI_PM_TMR_HZ);
	timerq_arm(pm->timers, &pm->timer, next);
}

static void fired(void *arg)
{
	struct acpi_pm *pm = arg;

	mutex_guard(&pm->lock);
	look_at_timer(pm);
	update(pm);
}

static uint8_t read_byte(const struct acpi_pm *pm, uint64_t off)
{
	switch (off) {
	case OFF_PM1_STS ... OFF_PM1_STS + 1:
		return (uint8_t)(pm->pm1_sts >> (8 * (off - OFF_PM1_STS)));
	case OFF_PM1_EN ... OFF_PM1_EN + 1:
		return (uint8_t)(pm->pm1_en >> (8 * (off - OFF_PM1_EN)));
	case OFF_PM1_CNT ... OFF_PM1_CNT + 1:
		return (uint8_t)(pm->pm1_cnt >> (8 * (off - OFF_PM1_CNT)));
	case OFF_GPE_STS ... OFF_GPE_STS + GPE_BYTES - 1:
		return pm->gpe_sts[off - OFF_GPE_STS];
	case OFF_GPE_EN ... OFF_GPE_EN + GPE_BYTES - 1:
		return pm->gpe_en[off - OFF_GPE_EN];
	case OFF_SMI_EN ... OFF_SMI_EN + 3:
		return (uint8_t)(pm->smi_en >> (8 * (off - OFF_SMI_EN)));
	case OFF_SMI_STS ... OFF_SMI_STS + 3:
		return (uint8_t)(pm->smi_sts >> (8 * (off - OFF_SMI_STS)));
	default:
		return 0;
	}
}

static uint16_t put_byte(uint16_t reg, uint64_t n, uint8_t value)
{
	return (uint16_t)((reg & ~(0xff << (8 * n))) | value << (8 * n));
}

static void write_cnt(struct acpi_pm *pm, uint64_t n, uint8_t value)
{
	uint16_t v = put_byte(pm->pm1_cnt, n, value);

	pm->pm1_cnt = v & CNT_KEPT; /* SLP_EN reads as 0 */
	if ((v & CNT_SLP_EN) && (v >> CNT_SLP_TYP_SHIFT & 7) == ACPI_SLP_TYP_S5)
		machine_request(pm->events, MACHINE_POWEROFF, 0);
}

static void write_byte(struct acpi_pm *pm, uint64_t off, uint8_t value)
{
	switch (off) {
	case OFF_PM1_STS ... OFF_PM1_STS + 1:
		pm->pm1_sts &= (uint16_t) ~(value << (8 * (off - OFF_PM1_STS)));
		break;
	case OFF_PM1_EN ... OFF_PM1_EN + 1:
		pm->pm1_en = put_byte(pm->pm1_en, off - OFF_PM1_EN, value) & PM1_ENABLES;
		break;
	case OFF_PM1_CNT ... OFF_PM1_CNT + 1:
		write_cnt(pm, off - OFF_PM1_CNT, value);
		break;
	case OFF_GPE_STS ... OFF_GPE_STS + GPE_BYTES - 1:
		pm->gpe_sts[off - OFF_GPE_STS] &= (uint8_t)~value;
		break;
	case OFF_GPE_EN ... OFF_GPE_EN + GPE_BYTES - 1:
		pm->gpe_en[off - OFF_GPE_EN] = value;
		break;
	case OFF_SMI_EN ... OFF_SMI_EN + 3:
		pm->smi_en &= ~(UINT32_C(0xff) << (8 * (off - OFF_SMI_EN)));
		pm->smi_en |= (uint32_t)value << (8 * (off - OFF_SMI_EN));
		break;
	case OFF_SMI_STS ... OFF_SMI_STS + 3:
		pm->smi_sts &= ~((uint32_t)value << (8 * (off - OFF_SMI_STS)));
		break;
	case OFF_RESET:
		if (value == ACPI_RESET_VALUE)
			machine_request(pm->events, MACHINE_RESET, 0);
		break;
	default:
		break;
	}
}

static uint64_t pm_read(void *arg, uint64_t off, unsigned int size)
{
	struct acpi_pm *pm = arg;
	uint64_t value = 0;

	if (off >= OFF_TMR && off < OFF_TMR + 4)
		return (timer_ticks(pm) & ((1 << TMR_BITS) - 1)) >> (8 * (off - OFF_TMR));
	mutex_guard(&pm->lock);
	look_at_timer(pm);
	for (unsigned int k = 0; k < size; k++)
		value |= (uint64_t)read_byte(pm, off + k) << (8 * k);
	update(pm);
	return value;
}

static void pm_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct acpi_pm *pm = arg;

	mutex_guard(&pm->lock);
	look_at_timer(pm);
	for (unsigned int k = 0; k < size; k++)
		write_byte(pm, off + k, (uint8_t)(value >> (8 * k)));
	update(pm);
}

static uint64_t smi_read(void *arg, uint64_t off, unsigned int size)
{
	struct acpi_pm *pm = arg;

	mutex_guard(&pm->lock);
	return off ? pm->apm_sts : pm->apm_cmd;
}

/* The OS takes ACPI over, or gives it back, by a command that firmware would serve in SMM. */
static void smi_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct acpi_pm *pm = arg;

	mutex_guard(&pm->lock);
	if (off) {
		pm->apm_sts = (uint8_t)value;
		return;
	}
	pm->apm_cmd = (uint8_t)value;
	if (pm->apm_cmd == ACPI_SMI_ENABLE)
		pm->pm1_cnt |= CNT_SCI_EN;
	else if (pm->apm_cmd == ACPI_SMI_DISABLE)
		pm->pm1_cnt &= (uint16_t)~CNT_SCI_EN;
	update(pm);
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
	mutex_guard(&pm->lock);
	pm->pm1_sts |= PM1_PWRBTN;
	update(pm);
}

void acpi_pm_gpe(struct acpi_pm *pm, unsigned int nr)
{
	if (nr >= 8 * GPE_BYTES)
		return;
	mutex_guard(&pm->lock);
	pm->gpe_sts[nr / 8] |= (uint8_t)(1 << (nr & 7));
	update(pm);
}

void acpi_pm_reset(struct acpi_pm *pm)
{
	mutex_guard(&pm->lock);
	pm->pm1_sts = pm->pm1_en = pm->pm1_cnt = 0;
	memset(pm->gpe_sts, 0, sizeof(pm->gpe_sts));
	memset(pm->gpe_en, 0, sizeof(pm->gpe_en));
	pm->apm_cmd = pm->apm_sts = 0;
	pm->smi_en = SMI_APMC_EN; /* firmware takes SMM for set up, and leaves it alone */
	pm->smi_sts = 0;
	look_at_timer(pm);
	pm->pm1_sts = 0;
	update(pm);
}

int acpi_pm_init(struct acpi_pm *pm, const struct board *board, struct err *err)
{
	int r;

	*pm = (struct acpi_pm){
		.pio = board->pio,
		.range = { .name = "acpi-pm",
			   .base = ACPI_PM_BASE,
			   .len = ACPI_PM_LEN,
			   .read = pm_read,
			   .write = pm_write,
			   .arg = pm },
		.smi = { .name = "smi-cmd",
			 .base = ACPI_SMI_CMD,
			 .len = 2,
			 .read = smi_read,
			 .write = smi_write,
			 .arg = pm,
			 .max_size = 1 },
		.sci = irq_router_line(board->irqs, ACPI_SCI_GSI, IRQ_FROM_SCI),
		.clock = board->clock,
		.timers = board->timers,
		.events = board->events,
		.start_ns = clock_now(board->clock),
	};
	mutex_init(&pm->lock);
	timerq_timer_init(pm->timers, &pm->timer, fired, pm);
	acpi_pm_reset(pm);
	r = bus_add(pm->pio, &pm->range, err);
	if (r == 0)
		r = bus_add(pm->pio, &pm->smi, err);
	if (r < 0)
		acpi_pm_done(pm);
	return r;
}

void acpi_pm_done(struct acpi_pm *pm)
{
	if (!pm->pio)
		return;
	bus_del(pm->pio, &pm->range);
	bus_del(pm->pio, &pm->smi);
	timerq_timer_done(pm->timers, &pm->timer);
	pthread_mutex_destroy(&pm->lock);
	pm->pio = NULL;
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field fields[] = {
	STATE_TIME_PAST(struct acpi_pm, start_ns),
	STATE_ANY(struct acpi_pm, pm1_sts),
	STATE_MAX(struct acpi_pm, pm1_en, PM1_ENABLES),
	STATE_MAX(struct acpi_pm, pm1_cnt, CNT_KEPT),
	STATE_BYTES(struct acpi_pm, gpe_sts),
	STATE_BYTES(struct acpi_pm, gpe_en),
	STATE_ANY(struct acpi_pm, apm_cmd),
	STATE_ANY(struct acpi_pm, apm_sts),
	STATE_ANY(struct acpi_pm, smi_en),
	STATE_ANY(struct acpi_pm, smi_sts),
	STATE_ANY(struct acpi_pm, half_turns),
};

static void loaded(void *obj)
{
	struct acpi_pm *pm = obj;

	mutex_guard(&pm->lock);
	look_at_timer(pm);
	update(pm);
}

const struct state_desc acpi_pm_state = {
	.name = "acpi-pm",
	.version = 1,
	STATE_LOCK(struct acpi_pm, lock),
	STATE_TABLE(struct acpi_pm, fields),
	.loaded = loaded,
};
