/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hyper-V's interface: every register, the timers and their messages, and the hypercalls, with good and with hostile
 * values, against four vCPUs that have no engine.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "fake_cpu.h"

#include "base/bytes.h"
#include "cpu/pv/hv_priv.h"

enum { RAM_GPA = 0x10000, RAM_SIZE = 4 * 4096, ROM_GPA = 0x100000 };
enum { ENABLE = 1, PERIODIC = 2, AUTO_ENABLE = 8, DIRECT = 1 << 12, SINT_MASKED = 1 << 16 };
enum { AUTO_EOI = 1 << 17, POLLING = 1 << 18 };
enum { SIM_PAGE = 0x1000, TSC_PAGE = 0x2000, TICKS_PER_MS = 10000 };
#define NOT_RAM	 UINT64_C(0x7fff0000)
#define MSG_TYPE UINT32_C(0x80000010)

struct hv {
	struct apics apics;
	struct physmem mem;
	uint8_t ram[RAM_SIZE], rom[4096];
	_Atomic uint8_t flags[5];
	uint64_t written; /* bytes */
	struct cpu *c;
};

static void on_written(void *arg, const struct physmem_region *r, uint64_t off, uint64_t len,
		       uint8_t flags)
{
	struct hv *f = arg;

	assert_false(r->is_rom);
	assert_true(off + len <= r->size);
	f->written += len;
}

static int setup(void **state)
{
	static struct hv f;

	memset(&f, 0, sizeof(f));
	if (apics_init(&f.apics) < 0)
		return -1;
	f.mem = (struct physmem){
		.nr = 2,
		.region = { { .gpa = RAM_GPA,
			      .size = RAM_SIZE,
			      .hva = f.ram,
			      .page_flags = f.flags },
			    { .gpa = ROM_GPA,
			      .size = sizeof(f.rom),
			      .hva = f.rom,
			      .is_rom = true,
			      .page_flags = f.flags + 4 } },
		.written = on_written,
		.written_arg = &f,
	};
	memset((void *)f.flags, PAGE_F_LOG, sizeof(f.flags));
	f.apics.grp.mem = &f.mem;
	pthread_rwlock_init(&f.apics.grp.msg_lock, NULL);
	for (unsigned int k = 0; k < NR_CPUS; k++) {
		pv_init(f.apics.cpu[k]);
		f.apics.cpu[k]->st.apic.svr = 0x1ff;
		f.apics.cpu[k]->mode = CPU_MODE_64;
		f.apics.cpu[k]->st.cr0 = CR0_PE;
	}
	f.c = f.apics.cpu[0];
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct hv *f = *state;

	for (unsigned int k = 0; k < NR_CPUS; k++)
		pv_done(f->apics.cpu[k]);
	apics_done(&f->apics);
	return 0;
}

static uint64_t rd(struct cpu *c, uint32_t index)
{
	uint64_t v = 0;

	assert_int_equal(pv_msr_read(c, index, &v), 0);
	return v;
}

static void wr(struct cpu *c, uint32_t index, uint64_t value)
{
	assert_int_equal(pv_msr_write(c, index, value), 0);
}

static void refuses(struct cpu *c, uint32_t index, uint64_t value)
{
	assert_int_equal(pv_msr_write(c, index, value), -EINVAL);
}

static void pass(struct hv *f, uint64_t ns)
{
	uint64_t end = clock_now(&f->apics.clock.clock) + ns, next;

	while ((next = timerq_run_due(&f->apics.timers)) < end)
		clock_fake_advance(&f->apics.clock, next - clock_now(&f->apics.clock.clock));
	clock_fake_advance(&f->apics.clock, end - clock_now(&f->apics.clock.clock));
	timerq_run_due(&f->apics.timers);
}

static bool takes(struct cpu *c, int vector)
{
	return apic_has_interrupt(c) && apic_accept(c) == vector;
}

/* What the guest is not told of is not there; what is there cannot be read or written the wrong way. */
static void test_registers(void **state)
{
	static const uint32_t read_only[] = { HV_MSR_VP_INDEX, HV_MSR_TIME_REF_COUNT,
					      HV_MSR_TSC_FREQUENCY, HV_MSR_APIC_FREQUENCY,
					      HV_MSR_SVERSION };
	struct hv *f = *state;
	uint64_t v;

	for (unsigned int k = 0; k < ARRAY_SIZE(read_only); k++)
		refuses(f->c, read_only[k], 1);
	assert_int_equal(pv_msr_read(f->c, HV_MSR_EOI, &v), -EINVAL);
	assert_int_equal(rd(f->apics.cpu[3], HV_MSR_VP_INDEX), 3);
	assert_int_equal(rd(f->c, HV_MSR_TSC_FREQUENCY), NS_PER_S);
	assert_int_equal(rd(f->c, HV_MSR_APIC_FREQUENCY), APIC_TIMER_HZ);
	assert_int_equal(rd(f->c, HV_MSR_SVERSION), 1);
	assert_int_equal(rd(f->c, HV_MSR_EOM), 0);
	for (uint32_t k = HV_MSR_SINT0; k <= HV_MSR_SINT15; k++)
		assert_int_equal(rd(f->c, k), SINT_MASKED);
	memset(f->apics.grp.cpuid.features, 0, sizeof(f->apics.grp.cpuid.features));
	for (uint32_t k = PV_MSR_HV_FIRST; k <= PV_MSR_HV_LAST; k++) {
		assert_true(pv_owns_msr(k));
		assert_int_equal(pv_msr_read(f->c, k, &v), -EINVAL);
		refuses(f->c, k, 0);
	}
}

static void test_hypercall_page(void **state)
{
	static const uint8_t code[] = { 0x0f, 0x01, 0xd9, 0xc3 };
	struct hv *f = *state;
	struct cpu *other = f->apics.cpu[2];

	/* Without a name it has no effect. */
	wr(f->c, HV_MSR_HYPERCALL, RAM_GPA | 1);
	assert_int_equal(rd(f->c, HV_MSR_HYPERCALL), 0);
	assert_false(pv_hv_hypercall(f->c));
	wr(other, HV_MSR_GUEST_OS_ID, UINT64_C(0x8100000000000001));
	assert_true(rd(f->c, HV_MSR_GUEST_OS_ID) == UINT64_C(0x8100000000000001));
	refuses(f->c, HV_MSR_HYPERCALL, NOT_RAM | 1);
	refuses(f->c, HV_MSR_HYPERCALL, ROM_GPA | 1);
	refuses(f->c, HV_MSR_HYPERCALL, UINT64_MAX);
	assert_int_equal(f->written, 0);
	wr(other, HV_MSR_HYPERCALL, (RAM_GPA + 0x3000) | 1);
	assert_memory_equal(f->ram + 0x3000, code, sizeof(code));
	assert_int_equal(rd(f->c, HV_MSR_HYPERCALL), (RAM_GPA + 0x3000) | 1);
	assert_true(pv_hv_hypercall(f->c));
	/* Without its name the guest has no calls any more. */
	wr(f->c, HV_MSR_GUEST_OS_ID, 0);
	assert_int_equal(rd(f->c, HV_MSR_HYPERCALL), RAM_GPA + 0x3000);
	assert_false(pv_hv_hypercall(f->c));
	/* Locked. */
	wr(f->c, HV_MSR_GUEST_OS_ID, 1);
	wr(f->c, HV_MSR_HYPERCALL, RAM_GPA | 3);
	wr(f->c, HV_MSR_HYPERCALL, 0);
	assert_int_equal(rd(f->c, HV_MSR_HYPERCALL), RAM_GPA | 3);
}

static uint64_t page_time(const struct hv *f, uint64_t tsc)
{
	const uint8_t *p = f->ram + TSC_PAGE;

	return (uint64_t)((unsigned __int128)tsc * get_le64(p + 8) >> 64) + get_le64(p + 16);
}

static void test_reference_time(void **state)
{
	struct hv *f = *state;
	const uint8_t *p = f->ram + TSC_PAGE;
	uint64_t before = rd(f->c, HV_MSR_TIME_REF_COUNT);

	clock_fake_advance(&f->apics.clock, 123 * NS_PER_S);
	assert_in_range(rd(f->c, HV_MSR_TIME_REF_COUNT) - before, 123 * 10000000 - 1,
			123 * 10000000 + 1);
	wr(f->c, HV_MSR_REFERENCE_TSC, NOT_RAM | 1);
	assert_int_equal(rd(f->c, HV_MSR_REFERENCE_TSC), NOT_RAM | 1);
	wr(f->c, HV_MSR_REFERENCE_TSC, UINT64_MAX);
	wr(f->c, HV_MSR_REFERENCE_TSC, ROM_GPA | 1);
	wr(f->c, HV_MSR_REFERENCE_TSC, RAM_GPA + TSC_PAGE); /* not enabled */
	assert_int_equal(f->written, 0);
	wr(f->apics.cpu[1], HV_MSR_REFERENCE_TSC, (RAM_GPA + TSC_PAGE) | 1);
	assert_true(get_le32(p) != 0);
	assert_int_equal(page_time(f, cpu_read_tsc(f->c)), rd(f->c, HV_MSR_TIME_REF_COUNT));
	clock_fake_advance(&f->apics.clock, 987654321);
	assert_int_equal(page_time(f, cpu_read_tsc(f->c)), rd(f->c, HV_MSR_TIME_REF_COUNT));
	/* A vCPU whose TSC was moved has its time by the register, and so have all. */
	before = rd(f->c, HV_MSR_TIME_REF_COUNT);
	f->apics.cpu[3]->st.tsc_offset = 1000;
	pv_tsc_changed(f->apics.cpu[3]);
	assert_int_equal(get_le32(p), 0);
	assert_int_equal(rd(f->apics.cpu[3], HV_MSR_TIME_REF_COUNT), before);
	f->apics.cpu[3]->st.tsc_offset = 0;
	pv_tsc_changed(f->apics.cpu[3]);
	assert_true(get_le32(p) != 0);
	/* Numbers that mean something else are left out. */
	put_le32(f->ram + TSC_PAGE, UINT32_MAX - 1);
	pv_tsc_changed(f->c);
	assert_int_equal(get_le32(p), 1);
}

static void test_direct_timer(void **state)
{
	struct hv *f = *state;
	uint64_t now = rd(f->c, HV_MSR_TIME_REF_COUNT);
	const uint32_t config = HV_MSR_STIMER0_CONFIG, count = HV_MSR_STIMER0_CONFIG + 1;

	refuses(f->c, config, UINT64_C(1) << 20);
	refuses(f->c, config, 1 << 13);
	refuses(f->c, HV_MSR_STIMER3_COUNT + 1, 0);
	wr(f->c, config, DIRECT | AUTO_ENABLE | 0x41 << 4);
	wr(f->c, count, now + 5 * TICKS_PER_MS);
	assert_int_equal(rd(f->c, config), DIRECT | AUTO_ENABLE | ENABLE | 0x41 << 4);
	pass(f, 4 * NS_PER_MS);
	assert_false(apic_has_interrupt(f->c));
	pass(f, NS_PER_MS + 200);
	assert_true(takes(f->c, 0x41));
	assert_int_equal(rd(f->c, config), DIRECT | AUTO_ENABLE | 0x41 << 4);
	pass(f, NS_PER_S);
	wr(f->c, HV_MSR_EOI, 0);
	assert_false(apic_has_interrupt(f->c));
	/* In the past: at once. */
	wr(f->c, count, 1);
	assert_true(takes(f->c, 0x41));
	wr(f->c, HV_MSR_EOI, 0);
	/* Stopped by a count of 0. */
	wr(f->c, count, UINT64_MAX);
	wr(f->c, count, 0);
	assert_int_equal(rd(f->c, config) & ENABLE, 0);
	/* Again and again; periods that were missed are one, and short ones are stretched. */
	wr(f->c, config, DIRECT | AUTO_ENABLE | PERIODIC | 0x42 << 4);
	wr(f->c, count, 10 * TICKS_PER_MS);
	for (unsigned int k = 0; k < 3; k++) {
		pass(f, 10 * NS_PER_MS + 200);
		assert_true(takes(f->c, 0x42));
		wr(f->c, HV_MSR_EOI, 0);
	}
	clock_fake_advance(&f->apics.clock, NS_PER_S);
	timerq_run_due(&f->apics.timers);
	assert_true(takes(f->c, 0x42));
	wr(f->c, HV_MSR_EOI, 0);
	assert_false(apic_has_interrupt(f->c));
	wr(f->c, count, 1);
	assert_true(timerq_run_due(&f->apics.timers) >=
		    clock_now(&f->apics.clock.clock) + 19 * NS_PER_US);
	/* A state that was put in goes on. */
	wr(f->c, count, 0);
	wr(f->c, config, DIRECT | AUTO_ENABLE | 0x43 << 4);
	wr(f->c, count, rd(f->c, HV_MSR_TIME_REF_COUNT) + TICKS_PER_MS);
	timerq_disarm(&f->apics.timers, &f->c->pv.hv_timer[0].timer);
	pv_state_loaded(f->c);
	pass(f, NS_PER_MS + 200);
	assert_true(takes(f->c, 0x43));
	/* One that the guest was not told of. */
	f->apics.grp.cpuid.features[CPUID_HV_STIMER_DIRECT / 64] &=
		~(UINT64_C(1) << (CPUID_HV_STIMER_DIRECT % 64));
	refuses(f->c, config, DIRECT);
}

static void expire(struct hv *f, unsigned int timer)
{
	wr(f->c, HV_MSR_STIMER0_CONFIG + 2 * timer + 1,
	   rd(f->c, HV_MSR_TIME_REF_COUNT) + TICKS_PER_MS);
	pass(f, NS_PER_MS + 200);
}

static void test_messages(void **state)
{
	struct hv *f = *state;
	uint8_t *slot = f->ram + SIM_PAGE + (size_t)2 * 256;
	uint64_t due;

	refuses(f->c, HV_MSR_SIMP, NOT_RAM | 1);
	refuses(f->c, HV_MSR_SIEFP, ROM_GPA | 1);
	refuses(f->c, HV_MSR_SIMP, UINT64_MAX);
	refuses(f->c, HV_MSR_SINT0 + 2, 15);
	wr(f->c, HV_MSR_SINT0 + 2, 15 | SINT_MASKED);
	/* Source 0 is nobody's: the timer is not enabled. */
	wr(f->c, HV_MSR_STIMER0_CONFIG, ENABLE);
	assert_int_equal(rd(f->c, HV_MSR_STIMER0_CONFIG), 0);
	wr(f->c, HV_MSR_STIMER0_CONFIG, AUTO_ENABLE | 2 << 16);
	wr(f->c, HV_MSR_STIMER0_CONFIG + 2, AUTO_ENABLE | 2 << 16);
	wr(f->c, HV_MSR_SINT0 + 2, 0x51);
	/* Nowhere to post to: lost, as on a controller that is off. */
	expire(f, 0);
	assert_false(apic_has_interrupt(f->c));
	memset(f->ram + SIM_PAGE, 0xff, 4096);
	wr(f->c, HV_MSR_SCONTROL, 1);
	wr(f->c, HV_MSR_SIMP, (RAM_GPA + SIM_PAGE) | 1);
	assert_int_equal(slot[255], 0);
	expire(f, 0);
	due = rd(f->c, HV_MSR_STIMER0_CONFIG + 1);
	assert_true(takes(f->c, 0x51));
	assert_int_equal(get_le32(slot), MSG_TYPE);
	assert_int_equal(slot[4], 24);
	assert_int_equal(slot[5], 0);
	assert_int_equal(get_le32(slot + 16), 0);
	assert_int_equal(get_le64(slot + 24), due);
	assert_true(get_le64(slot + 32) >= due);
	wr(f->c, HV_MSR_EOI, 0);
	/* The slot is taken: marked, and posted when the guest says that it is free. */
	expire(f, 1);
	assert_int_equal(slot[5], 1);
	assert_false(apic_has_interrupt(f->c));
	wr(f->c, HV_MSR_EOM, 0); /* it is not */
	assert_false(apic_has_interrupt(f->c));
	put_le32(slot, 0);
	wr(f->c, HV_MSR_EOM, 0);
	assert_int_equal(get_le32(slot), MSG_TYPE);
	assert_int_equal(get_le32(slot + 16), 1);
	assert_true(takes(f->c, 0x51));
	wr(f->c, HV_MSR_EOI, 0);
	put_le32(slot, 0);
	wr(f->c, HV_MSR_EOM, 0);
	assert_false(apic_has_interrupt(f->c));
	/* Masked, or looked at by the guest itself: a message without an interrupt. */
	wr(f->c, HV_MSR_SINT0 + 2, 0x51 | POLLING);
	expire(f, 0);
	assert_int_equal(get_le32(slot), MSG_TYPE);
	assert_false(apic_has_interrupt(f->c));
	put_le32(slot, 0);
	/* Ended when it begins. */
	wr(f->c, HV_MSR_SINT0 + 2, 0x51 | AUTO_EOI);
	expire(f, 0);
	assert_true(takes(f->c, 0x51));
	assert_int_equal(f->c->st.apic.isr[2], 0);
	put_le32(slot, 0);
	/* The page goes out of RAM under it. */
	f->c->st.hv.simp = NOT_RAM | 1;
	expire(f, 0);
	f->c->st.hv.simp = (RAM_GPA + RAM_SIZE - 4096 + 0xe00) | 1; /* as no write would leave it */
	expire(f, 0);
	assert_int_equal(get_le32(slot), 0);
}

static void test_apic(void **state)
{
	struct hv *f = *state;
	struct cpu *other = f->apics.cpu[1];
	uint8_t *assist = f->ram;

	wr(f->c, HV_MSR_TPR, 0x40);
	assert_int_equal(rd(f->c, HV_MSR_TPR), 0x40);
	assert_int_equal(f->c->st.apic.tpr, 0x40);
	wr(f->c, HV_MSR_TPR, 0);
	wr(f->c, HV_MSR_ICR, UINT64_C(1) << 56 | 0x61);
	assert_int_equal(rd(f->c, HV_MSR_ICR) >> 56, 1);
	assert_true(takes(other, 0x61));
	wr(other, HV_MSR_EOI, 0);
	assert_int_equal(other->st.apic.isr[3], 0);
	/* By an x2APIC, what its own registers refuse is refused. */
	assert_int_equal(apic_msr_write(f->c, 0x1b, APIC_BASE_DEFAULT | 0xd00), 0);
	wr(f->c, HV_MSR_ICR, UINT64_C(1) << 32 | 0x62);
	assert_true(takes(other, 0x62));
	wr(other, HV_MSR_EOI, 0);
	refuses(f->c, HV_MSR_ICR, UINT64_C(1) << 32 | 1 << 13);

	/* The assist page. */
	refuses(f->c, HV_MSR_VP_ASSIST_PAGE, NOT_RAM | 1);
	refuses(f->c, HV_MSR_VP_ASSIST_PAGE, ROM_GPA | 1);
	refuses(f->c, HV_MSR_VP_ASSIST_PAGE, UINT64_MAX);
	put_le32(assist, UINT32_MAX);
	wr(f->c, HV_MSR_VP_ASSIST_PAGE, RAM_GPA | 1);
	assert_int_equal(rd(f->c, HV_MSR_VP_ASSIST_PAGE), RAM_GPA | 1);
	assert_int_equal(get_le32(assist), 0);
	apic_set_irq(f->c, 0x63, false);
	assert_true(takes(f->c, 0x63));
	assert_int_equal(get_le32(assist), 1);
	put_le32(assist, 0); /* the guest ends it */
	apic_set_irq(f->c, 0x64, false);
	assert_true(takes(f->c, 0x64));
	assert_int_equal(f->c->stats.pv_eois, 1);
	wr(f->c, HV_MSR_EOI, 0);
	wr(f->c, HV_MSR_VP_ASSIST_PAGE, 0);
	put_le32(assist, 0);
	apic_set_irq(f->c, 0x65, false);
	assert_true(takes(f->c, 0x65));
	assert_int_equal(get_le32(assist), 0);
}

static uint64_t call(struct hv *f, uint64_t control, uint64_t input, uint64_t output)
{
	f->c->st.gpr[CPU_RCX] = control;
	f->c->st.gpr[CPU_RDX] = input;
	f->c->st.gpr[CPU_R8] = output;
	assert_true(pv_hv_hypercall(f->c));
	return f->c->st.gpr[CPU_RAX];
}

static void test_hypercalls(void **state)
{
	enum { SPIN_WAIT = 8, SEND_IPI = 11, FAST = 1 << 16 };
	struct hv *f = *state;
	uint64_t *gpr = f->c->st.gpr;

	wr(f->c, HV_MSR_GUEST_OS_ID, 1);
	wr(f->c, HV_MSR_HYPERCALL, (RAM_GPA + 0x3000) | 1);
	assert_int_equal(call(f, SPIN_WAIT | FAST, 0, 0), 0);
	assert_int_equal(call(f, SPIN_WAIT | UINT64_C(1) << 32, 0, 0), 3);
	for (uint64_t code = 0; code < 0x200; code++)
		if (code != SPIN_WAIT && code != SEND_IPI)
			assert_int_equal(call(f, code, 0, 0), 2);
	assert_int_equal(call(f, SEND_IPI | FAST, 0x71, 6), 0);
	assert_true(takes(f->apics.cpu[1], 0x71));
	assert_true(takes(f->apics.cpu[2], 0x71));
	assert_false(apic_has_interrupt(f->apics.cpu[3]));
	put_le64(f->ram + 0x800, 0x72);
	put_le64(f->ram + 0x808, UINT64_MAX);
	assert_int_equal(call(f, SEND_IPI, RAM_GPA + 0x800, 0), 0);
	assert_true(takes(f->apics.cpu[3], 0x72));
	assert_true(takes(f->c, 0x72));
	assert_int_equal(call(f, SEND_IPI | FAST, 15, 1), 3);
	assert_int_equal(call(f, SEND_IPI | FAST, 256, 1), 3);
	assert_int_equal(call(f, SEND_IPI | FAST, UINT64_MAX, 1), 3);
	assert_int_equal(call(f, SEND_IPI | FAST | UINT64_C(1) << 32, 0x71, 1), 3);
	assert_int_equal(call(f, SEND_IPI | FAST | UINT64_C(1) << 63, 0x71, 1), 3);
	assert_int_equal(call(f, SEND_IPI, RAM_GPA + 0x801, 0), 4);
	assert_int_equal(call(f, SEND_IPI, NOT_RAM, 0), 3);
	assert_int_equal(call(f, SEND_IPI, RAM_GPA + RAM_SIZE - 8, 0), 3);
	assert_int_equal(call(f, SEND_IPI, UINT64_MAX & ~UINT64_C(7), 0), 3);
	wr(f->apics.cpu[3], HV_MSR_EOI, 0);
	/* In 32-bit mode numbers are pairs of registers. */
	f->c->mode = CPU_MODE_32;
	gpr[CPU_RDX] = 0;
	gpr[CPU_RAX] = SEND_IPI | FAST;
	gpr[CPU_RBX] = 0;
	gpr[CPU_RCX] = 0x73;
	gpr[CPU_RDI] = 0;
	gpr[CPU_RSI] = 8;
	assert_true(pv_hv_hypercall(f->c));
	assert_int_equal(gpr[CPU_RAX], 0);
	assert_int_equal(gpr[CPU_RDX], 0);
	assert_true(takes(f->apics.cpu[3], 0x73));
	/* Not in real mode. */
	f->c->st.cr0 = 0;
	assert_false(pv_hv_hypercall(f->c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hypercall_page, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reference_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_direct_timer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_apic, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hypercalls, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
