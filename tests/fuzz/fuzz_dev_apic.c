/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Four local APICs: registers by both doors, messages, interrupts taken, time. */
#include "../component/fake_cpu.h"
#include "base/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { STEP = 12 };

static void pass(struct apics *f, uint64_t ns)
{
	uint64_t end = clock_now(&f->clock.clock) + ns, next;

	while ((next = timerq_run_due(&f->timers)) < end)
		clock_fake_advance(&f->clock, next - clock_now(&f->clock.clock));
	clock_fake_advance(&f->clock, end - clock_now(&f->clock.clock));
	timerq_run_due(&f->timers);
}

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* What a CPU may rely on, whatever the guest does. */
static void check(struct cpu *c)
{
	const struct cpu_apic_state *a = &c->st.apic;
	bool has = apic_has_interrupt(c);
	int vector;

	must(a->tpr <= 0xff && c->st.ev.nmi_pending <= 2);
	must((a->base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) != APIC_BASE_X2APIC);
	if (!has)
		return;
	vector = apic_accept(c);
	must(vector == 0x33 || vector > (int)a->tpr);
}

static void step(struct apics *f, const uint8_t *p)
{
	struct cpu *c = f->cpu[p[0] >> 4 & 3];
	uint64_t value = get_le64(p + 4);
	uint32_t off = get_le16(p + 2) & 0xfff;
	struct apic_msg m;

	switch (p[0] & 15) {
	case 0:
	case 1:
		apic_mmio_write(c, off & 0xff0, 4, value);
		break;
	case 2:
		apic_mmio_write(c, off, 1u << (p[1] & 3), value);
		break;
	case 3:
		(void)apic_mmio_read(c, off, 1u << (p[1] & 3));
		break;
	case 4:
		ignore_result(apic_msr_write(c, 0x800 + (off >> 4), value)); /* may raise #GP */
		break;
	case 5:
		ignore_result(apic_msr_write(c, p[1] & 1 ? 0x1b : 0x6e0, value));
		break;
	case 6:
		ignore_result(apic_msr_read(c, p[1] & 1 ? 0x800 + (off >> 4) : 0x6e0, &value));
		break;
	case 7:
		ignore_result(apic_msr_write(c, 0x1b, APIC_BASE_DEFAULT | (value & 0xd00)));
		break;
	case 8:
		must(cpu_group_msi(&f->grp, 0xfee00000 | (value & 0xfffff),
				   (uint32_t)(value >> 32)) <= NR_CPUS);
		break;
	case 9:
		m = (struct apic_msg){ .dest = (uint32_t)value,
				       .dest_wide = p[1] & 1,
				       .logical = p[1] & 2,
				       .level = p[1] & 4,
				       .delivery = p[1] >> 4 & 7,
				       .vector = p[2] };
		must(apic_deliver(&f->grp, &m) <= NR_CPUS);
		break;
	case 10:
		c->st.ev.extint = p[1] & 1;
		c->st.ev.nmi_masked = p[1] & 2;
		break;
	case 11:
		if (p[1] & 1)
			cpu_group_nmi(&f->grp);
		c->st.ev.nmi_pending = 0;
		break;
	case 12:
		apic_set_cr8(c, p[1] & 15);
		break;
	case 13:
		apic_reset(c, p[1] & 1);
		break;
	case 14:
		c->st.tsc_offset = value;
		apic_tsc_changed(c);
		break;
	default:
		pass(f, value & 0xfffff);
		if (p[1] & 1) {
			clock_fake_advance(&f->clock, value & 0xffffffffff);
			timerq_run_due(&f->timers);
		}
	}
	check(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct apics f;

	must(apics_init(&f) == 0);
	for (unsigned int k = 0; k < NR_CPUS; k++)
		apic_mmio_write(f.cpu[k], 0xf0, 4, 0x1ff);
	for (size_t at = 0; at + STEP <= n && at < 2000 * STEP; at += STEP)
		step(&f, data + at);
	apics_done(&f);
	return 0;
}
