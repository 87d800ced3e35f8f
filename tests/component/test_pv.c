/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM's paravirtual interface: every register and hypercall with good and with hostile values, against four vCPUs that
 * have no engine.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "fake_cpu.h"

#include "base/bytes.h"
#include "cpu/pv/pv.h"

enum { RAM_GPA = 0x10000, RAM_SIZE = 4 * 4096, ROM_GPA = 0x100000 };
enum { STEAL_PREEMPTED = 16, PREEMPTED = 1, FLUSH_TLB = 2 };
enum {
	HC_CLOCK_PAIRING = 9,
	HC_SEND_IPI = 10,
	KVM_EFAULT = 14,
	KVM_EINVAL = 22,
	KVM_EOPNOTSUPP = 95
};
#define NOT_RAM UINT64_C(0x7fff0000)

struct pv {
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
	struct pv *f = arg;

	assert_false(r->is_rom);
	assert_true(off + len <= r->size);
	f->written += len;
}

static int setup(void **state)
{
	static struct pv f;

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
	f.c = f.apics.cpu[0];
	atomic_store(&f.apics.clock.real_ns, 1700000000 * NS_PER_S + 123);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct pv *f = *state;

	apics_done(&f->apics);
	return 0;
}

static uint64_t rd(struct pv *f, uint32_t index)
{
	uint64_t v = 0;

	assert_int_equal(pv_msr_read(f->c, index, &v), 0);
	return v;
}

static void wr(struct pv *f, uint32_t index, uint64_t value)
{
	assert_int_equal(pv_msr_write(f->c, index, value), 0);
}

static void drop_feature(struct pv *f, enum cpu_feature feature)
{
	f->apics.grp.cpuid.features[feature / 64] &= ~(UINT64_C(1) << (feature % 64));
}

/* What the guest is not told of is not there. */
static void test_features(void **state)
{
	static const struct {
		uint32_t index;
		enum cpu_feature feature;
	} msrs[] = {
		{ PV_MSR_WALL_CLOCK, CPUID_KVM_CLOCK_OLD },
		{ PV_MSR_SYSTEM_TIME, CPUID_KVM_CLOCK_OLD },
		{ PV_MSR_WALL_CLOCK_NEW, CPUID_KVM_CLOCK },
		{ PV_MSR_SYSTEM_TIME_NEW, CPUID_KVM_CLOCK },
		{ PV_MSR_STEAL_TIME, CPUID_KVM_STEAL_TIME },
		{ PV_MSR_EOI, CPUID_KVM_EOI },
		{ PV_MSR_POLL_CONTROL, CPUID_KVM_POLL_CONTROL },
	};
	static const uint64_t none[4];
	struct pv *f = *state;
	uint64_t v;

	for (unsigned int k = 0; k < ARRAY_SIZE(msrs); k++) {
		assert_true(pv_owns_msr(msrs[k].index));
		ignore_result(rd(f, msrs[k].index));
		wr(f, msrs[k].index, 0);
	}
	for (unsigned int k = 0; k < ARRAY_SIZE(msrs); k++) {
		drop_feature(f, msrs[k].feature);
		assert_int_equal(pv_msr_read(f->c, msrs[k].index, &v), -EINVAL);
		assert_int_equal(pv_msr_write(f->c, msrs[k].index, 0), -EINVAL);
	}
	for (uint32_t index = PV_MSR_FIRST; index <= PV_MSR_LAST; index++) {
		assert_true(pv_owns_msr(index));
		assert_int_equal(pv_msr_read(f->c, index, &v), -EINVAL);
		assert_int_equal(pv_msr_write(f->c, index, 1), -EINVAL);
	}
	drop_feature(f, CPUID_KVM_IPI);
	for (uint64_t nr = 0; nr < 20; nr++)
		assert_int_equal(pv_hypercall(f->c, nr, none), nr == 1 ? 0 : -1000);
	assert_int_equal(pv_hypercall(f->c, UINT64_MAX, none), -1000);
}

static uint64_t clock_at(const uint8_t *p, uint64_t tsc)
{
	int8_t shift = (int8_t)p[28];
	uint64_t delta = tsc - get_le64(p + 8);

	delta = shift < 0 ? delta >> -shift : delta << shift;
	return get_le64(p + 16) + (uint64_t)((unsigned __int128)delta * get_le32(p + 24) >> 32);
}

static void test_clock(void **state)
{
	struct pv *f = *state;
	const uint8_t *p = f->ram + 0x100, *wall = f->ram + 0x200;
	uint32_t version;

	wr(f, PV_MSR_SYSTEM_TIME_NEW, (RAM_GPA + 0x100) | 1);
	assert_int_equal(rd(f, PV_MSR_SYSTEM_TIME), (RAM_GPA + 0x100) | 1);
	version = get_le32(p);
	assert_true(version && !(version & 1));
	assert_int_equal(p[29], 1); /* stable */
	clock_fake_advance(&f->apics.clock, 123456789);
	assert_in_range(clock_at(p, cpu_read_tsc(f->c)), cpu_group_now(&f->apics.grp) - 2,
			cpu_group_now(&f->apics.grp) + 2);
	/* The guest moves its TSC: the time stays what it is. */
	f->c->st.tsc_offset += 1000000;
	pv_tsc_changed(f->c);
	assert_int_equal(get_le32(p), version + 2);
	assert_in_range(clock_at(p, cpu_read_tsc(f->c)), cpu_group_now(&f->apics.grp) - 2,
			cpu_group_now(&f->apics.grp) + 2);
	/* Switched off, it is left alone. */
	wr(f, PV_MSR_SYSTEM_TIME_NEW, RAM_GPA + 0x100);
	assert_int_equal(get_le32(p), version + 2);

	wr(f, PV_MSR_WALL_CLOCK_NEW, RAM_GPA + 0x200);
	assert_true(get_le32(wall) && !(get_le32(wall) & 1));
	assert_int_equal((get_le32(wall + 4) * NS_PER_S + get_le32(wall + 8) +
			  cpu_group_now(&f->apics.grp)) /
				 NS_PER_S,
			 clock_wall(&f->apics.clock.clock) / NS_PER_S);

	/* Places that are not RAM, or not all of it. */
	f->written = 0;
	wr(f, PV_MSR_SYSTEM_TIME_NEW, NOT_RAM | 1);
	wr(f, PV_MSR_SYSTEM_TIME_NEW, ROM_GPA | 1);
	wr(f, PV_MSR_SYSTEM_TIME_NEW, UINT64_MAX);
	wr(f, PV_MSR_WALL_CLOCK_NEW, UINT64_MAX - 3);
	wr(f, PV_MSR_WALL_CLOCK_NEW, ROM_GPA);
	assert_int_equal(f->written, 0);
}

static void test_steal(void **state)
{
	struct pv *f = *state;
	uint8_t *p = f->ram + 0x1000;
	uint64_t stolen;

	assert_int_equal(pv_msr_write(f->c, PV_MSR_STEAL_TIME, (RAM_GPA + 0x1000) | 3), -EINVAL);
	assert_int_equal(pv_msr_write(f->c, PV_MSR_STEAL_TIME, (RAM_GPA + 0x1020) | 1), -EINVAL);
	put_le64(p, 77);
	put_le32(p + 8, 5); /* odd: left so by somebody */
	p[STEAL_PREEMPTED] = PREEMPTED | FLUSH_TLB;
	wr(f, PV_MSR_STEAL_TIME, (RAM_GPA + 0x1000) | 1);
	assert_int_equal(rd(f, PV_MSR_STEAL_TIME), (RAM_GPA + 0x1000) | 1);
	assert_int_equal(p[STEAL_PREEMPTED], 0);

	/* Ten seconds in which this thread did next to nothing. */
	clock_fake_advance(&f->apics.clock, 10 * NS_PER_S);
	pv_tell_steal(f->c);
	stolen = get_le64(p) - 77;
	assert_in_range(stolen, 5 * NS_PER_S, 10 * NS_PER_S);
	assert_int_equal(f->c->stats.pv_steal_ns, stolen);
	assert_int_equal(get_le32(p + 8), 6);
	/* Asked again too soon. */
	clock_fake_advance(&f->apics.clock, NS_PER_MS / 2);
	pv_tell_steal(f->c);
	assert_int_equal(get_le64(p), 77 + stolen);
	/* What it slept is not stolen, nor what passed outside of cpu_run(). */
	clock_fake_advance(&f->apics.clock, 10 * NS_PER_S);
	f->c->pv.slept_ns += 10 * NS_PER_S;
	pv_tell_steal(f->c);
	assert_in_range(get_le64(p) - 77 - stolen, 0, NS_PER_MS);
	stolen = get_le64(p);
	clock_fake_advance(&f->apics.clock, 10 * NS_PER_S);
	pv_runs(f->c);
	pv_tell_steal(f->c);
	assert_int_equal(get_le64(p), stolen);

	/* Off; and places that are not RAM, or leave it at their end. */
	wr(f, PV_MSR_STEAL_TIME, RAM_GPA + 0x1000);
	clock_fake_advance(&f->apics.clock, NS_PER_S);
	pv_tell_steal(f->c);
	assert_int_equal(get_le64(p), stolen);
	f->written = 0;
	wr(f, PV_MSR_STEAL_TIME, NOT_RAM | 1);
	wr(f, PV_MSR_STEAL_TIME, (UINT64_MAX & ~UINT64_C(63)) | 1);
	wr(f, PV_MSR_STEAL_TIME, ROM_GPA | 1);
	clock_fake_advance(&f->apics.clock, NS_PER_S);
	pv_tell_steal(f->c);
	pv_sleeps(f->c);
	assert_false(pv_awake(f->c));
	assert_int_equal(f->written, 0);
}

static void test_preempted(void **state)
{
	struct pv *f = *state;
	uint8_t *byte = f->ram + 0x1000 + STEAL_PREEMPTED;

	pv_sleeps(f->c);
	assert_false(pv_awake(f->c)); /* not asked for */
	assert_int_equal(f->written, 0);
	wr(f, PV_MSR_STEAL_TIME, (RAM_GPA + 0x1000) | 1);
	pv_sleeps(f->c);
	assert_int_equal(*byte, PREEMPTED);
	assert_false(pv_awake(f->c));
	assert_int_equal(*byte, 0);
	pv_sleeps(f->c);
	*byte |= FLUSH_TLB;
	assert_true(pv_awake(f->c));
	assert_int_equal(*byte, 0);
	/* On KVM the wish is the kernel's, too. */
	f->apics.grp.kvm = (void *)f;
	pv_sleeps(f->c);
	*byte |= FLUSH_TLB;
	assert_true(pv_awake(f->c));
	assert_int_equal(*byte, FLUSH_TLB);
	f->apics.grp.kvm = NULL;
	/* Nothing but these bits is ours. */
	*byte = 0xfc;
	assert_false(pv_awake(f->c));
	assert_int_equal(*byte, 0xfc);
}

static void test_poll(void **state)
{
	struct pv *f = *state;

	assert_int_equal(rd(f, PV_MSR_POLL_CONTROL), 1);
	wr(f, PV_MSR_POLL_CONTROL, 0);
	assert_true(f->c->st.pv_poll_off);
	assert_int_equal(rd(f, PV_MSR_POLL_CONTROL), 0);
	assert_int_equal(pv_msr_write(f->c, PV_MSR_POLL_CONTROL, 2), -EINVAL);
	assert_int_equal(pv_msr_write(f->c, PV_MSR_POLL_CONTROL, UINT64_MAX), -EINVAL);
	wr(f, PV_MSR_POLL_CONTROL, 1);
	assert_false(f->c->st.pv_poll_off);
}

static int64_t call(struct pv *f, uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	const uint64_t arg[] = { a, b, c, d };

	return pv_hypercall(f->c, nr, arg);
}

static void test_clock_pairing(void **state)
{
	struct pv *f = *state;
	const uint8_t *p = f->ram + 0x800;

	memset(f->ram + 0x800, 0xee, 65);
	clock_fake_advance(&f->apics.clock, 5 * NS_PER_S + 17);
	assert_int_equal(call(f, HC_CLOCK_PAIRING, RAM_GPA + 0x800, 0, 0, 0), 0);
	assert_true(get_le64(p) * NS_PER_S + get_le64(p + 8) == clock_wall(&f->apics.clock.clock));
	assert_true(get_le64(p + 16) == cpu_read_tsc(f->c));
	for (unsigned int k = 24; k < 64; k++)
		assert_int_equal(p[k], 0);
	assert_int_equal(p[64], 0xee);
	assert_int_equal(call(f, HC_CLOCK_PAIRING, RAM_GPA, 1, 0, 0), -KVM_EOPNOTSUPP);
	assert_int_equal(call(f, HC_CLOCK_PAIRING, NOT_RAM, 0, 0, 0), -KVM_EFAULT);
	assert_int_equal(call(f, HC_CLOCK_PAIRING, ROM_GPA, 0, 0, 0), -KVM_EFAULT);
	assert_int_equal(call(f, HC_CLOCK_PAIRING, UINT64_MAX - 8, 0, 0, 0), -KVM_EFAULT);
	assert_int_equal(call(f, HC_CLOCK_PAIRING, RAM_GPA + RAM_SIZE - 8, 0, 0, 0), -KVM_EFAULT);
}

static bool has_vector(const struct cpu *c, unsigned int vector)
{
	return c->st.apic.irr[vector / 32] >> (vector % 32) & 1;
}

static void test_send_ipi(void **state)
{
	struct pv *f = *state;

	for (unsigned int k = 0; k < NR_CPUS; k++)
		f->apics.cpu[k]->st.apic.svr = 0x1ff;
	f->c->mode = CPU_MODE_64;
	assert_int_equal(call(f, HC_SEND_IPI, 0xa, 0, 0, 0x41), 2);
	assert_false(has_vector(f->apics.cpu[0], 0x41));
	assert_true(has_vector(f->apics.cpu[1], 0x41));
	assert_false(has_vector(f->apics.cpu[2], 0x41));
	assert_true(has_vector(f->apics.cpu[3], 0x41));
	assert_int_equal(call(f, HC_SEND_IPI, 1, 0, 2, 0x42), 1);
	assert_true(has_vector(f->apics.cpu[2], 0x42));
	/* More bits than vCPUs, far away ones, and the number that would be everybody. */
	assert_int_equal(call(f, HC_SEND_IPI, UINT64_MAX, UINT64_MAX, 0, 0x43), NR_CPUS);
	assert_int_equal(call(f, HC_SEND_IPI, UINT64_MAX, UINT64_MAX, 1000, 0x44), 0);
	assert_int_equal(call(f, HC_SEND_IPI, 1, 1, UINT32_MAX, 0x44), 0);
	assert_int_equal(call(f, HC_SEND_IPI, 0, 0, 0, 0x44), 0);
	/* Logical destinations, shorthands. */
	assert_int_equal(call(f, HC_SEND_IPI, 1, 0, 0, 0x844), -KVM_EINVAL);
	assert_int_equal(call(f, HC_SEND_IPI, 1, 0, 0, 0x40044), -KVM_EINVAL);
	for (unsigned int k = 0; k < NR_CPUS; k++) {
		assert_true(has_vector(f->apics.cpu[k], 0x43));
		assert_false(has_vector(f->apics.cpu[k], 0x44));
	}
	/* In 32-bit mode a map has 32 bits. */
	f->c->mode = CPU_MODE_32;
	assert_int_equal(call(f, HC_SEND_IPI, 0, 1, UINT64_C(0xffffffe3), 0x45), 0);
	/* An NMI. */
	assert_int_equal(call(f, HC_SEND_IPI, 2, 0, 0, APIC_DM_NMI << 8), 1);
	assert_int_equal(f->apics.cpu[1]->st.ev.nmi_pending, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_features, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clock, setup, teardown),
		cmocka_unit_test_setup_teardown(test_steal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_preempted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_poll, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clock_pairing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_send_ipi, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
