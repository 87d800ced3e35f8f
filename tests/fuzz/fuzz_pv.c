/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paravirtual interfaces of four vCPUs: registers, hypercalls, what the guest writes into shared structures, time. */
#include <string.h>

#include "../component/fake_cpu.h"
#include "base/bytes.h"
#include "cpu/pv/hv_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { STEP = 20, RAM_GPA = 0x10000, RAM_SIZE = 4 * 4096, ROM_GPA = 0x14000, ROM_SIZE = 4096 };

struct pv {
	struct apics apics;
	struct physmem mem;
	uint8_t ram[RAM_SIZE], rom[ROM_SIZE];
	_Atomic uint8_t flags[(RAM_SIZE + ROM_SIZE) / 4096];
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void on_written(void *arg, const struct physmem_region *r, uint64_t off, uint64_t len,
		       uint8_t flags)
{
	must(!r->is_rom && off <= r->size && len <= r->size - off);
}

static void init(struct pv *f)
{
	memset(f, 0, sizeof(*f));
	must(apics_init(&f->apics) == 0);
	f->mem = (struct physmem){
		.nr = 2,
		.region = { { .gpa = RAM_GPA,
			      .size = RAM_SIZE,
			      .hva = f->ram,
			      .page_flags = f->flags },
			    { .gpa = ROM_GPA,
			      .size = ROM_SIZE,
			      .hva = f->rom,
			      .is_rom = true,
			      .page_flags = f->flags + RAM_SIZE / 4096 } },
		.written = on_written,
	};
	memset((void *)f->flags, PAGE_F_LOG, sizeof(f->flags));
	f->apics.grp.mem = &f->mem;
	pthread_rwlock_init(&f->apics.grp.msg_lock, NULL);
	for (unsigned int k = 0; k < NR_CPUS; k++) {
		pv_init(f->apics.cpu[k]);
		apic_mmio_write(f->apics.cpu[k], 0xf0, 4, 0x1ff);
		f->apics.cpu[k]->st.cr0 = CR0_PE;
	}
}

/* An address as guests choose them: mostly near the RAM and its ends. */
static uint64_t address(uint64_t value, uint8_t how)
{
	return how & 1 ? value : RAM_GPA - 64 + value % (RAM_SIZE + ROM_SIZE + 128);
}

static void pass(struct pv *f, uint64_t ns)
{
	clock_fake_advance(&f->apics.clock, ns);
	timerq_run_due(&f->apics.timers);
}

static void hypercall(struct cpu *c, const uint8_t *p, uint64_t value)
{
	uint64_t arg[] = { value, get_le64(p + 12), p[2], get_le32(p + 12) };

	c->mode = p[1] & 2 ? CPU_MODE_64 : CPU_MODE_32;
	if (p[3] % 16 == 9)
		arg[0] = address(value, p[1]);
	must(pv_hypercall(c, p[3] % 16, arg) <= NR_CPUS);
}

/* Registers of Hyper-V's from all of their groups. */
static uint32_t hv_index(uint8_t n)
{
	static const uint8_t base[] = { 0x00, 0x20, 0x70, 0x80, 0x90, 0x98, 0xb0, 0xf0 };

	return PV_MSR_HV_FIRST + base[n >> 3 & 7] + (n & 7);
}

static void hv_hypercall(struct cpu *c, const uint8_t *p, uint64_t value)
{
	if (p[3] & 0x10) {
		ignore_result(pv_msr_write(c, HV_MSR_GUEST_OS_ID, 1));
		ignore_result(pv_msr_write(c, HV_MSR_HYPERCALL, RAM_GPA | 1));
	}
	c->mode = p[1] & 2 ? CPU_MODE_64 : CPU_MODE_32;
	c->st.gpr[CPU_RAX] = c->st.gpr[CPU_RCX] = p[3] % 16 | (uint64_t)(p[2] & 1) << 16;
	c->st.gpr[CPU_RDX] = address(value, p[1]) & ~UINT64_C(7);
	c->st.gpr[CPU_R8] = c->st.gpr[CPU_RSI] = get_le64(p + 12);
	if (p[2] & 2)
		c->st.gpr[CPU_RDX] = p[3];
	ignore_result(pv_hv_hypercall(c)); /* may be #UD */
}

static void hv_step(struct pv *f, struct cpu *c, const uint8_t *p)
{
	uint64_t value = get_le64(p + 4), v, now = hv_now(c);

	switch (p[1] >> 4) {
	case 0 ... 4:
		ignore_result(pv_msr_write(c, hv_index(p[2]),
					   (address(value, p[1]) & ~GUEST_PAGE_MASK) | (p[3] & 3)));
		break;
	case 5 ... 7:
		ignore_result(pv_msr_write(c, hv_index(p[2]), value));
		break;
	case 8 ... 9: /* a timer that will expire */
		ignore_result(pv_msr_write(c, HV_MSR_STIMER0_CONFIG + 2 * (p[2] & 3),
					   get_le32(p + 12) & 0xf1fff));
		ignore_result(pv_msr_write(c, HV_MSR_STIMER0_CONFIG + 2 * (p[2] & 3) + 1,
					   p[3] & 1 ? now + value % 100000 : value % 100000));
		break;
	case 10:
		ignore_result(pv_msr_write(c, HV_MSR_SCONTROL, 1));
		ignore_result(pv_msr_write(c, HV_MSR_SINT0 + p[2] % 16, value & 0x700ff));
		break;
	case 11:
		hv_hypercall(c, p, value);
		break;
	case 12:
		pv_state_loaded(c);
		break;
	default:
		ignore_result(pv_msr_read(c, hv_index(p[2]), &v));
	}
	pass(f, get_le16(p + 16) * NS_PER_US);
	must(hv_now(c) >= now);
}

static void step(struct pv *f, const uint8_t *p)
{
	struct cpu *c = f->apics.cpu[p[0] >> 4 & 3];
	uint32_t index = p[1] & 0x80 ? get_le32(p + 12) : PV_MSR_FIRST + p[2] % 8;
	uint64_t value = get_le64(p + 4), v;

	switch (p[0] & 15) {
	case 0 ... 4:
		ignore_result(
			pv_msr_write(c, index, address(value, p[1]) | (p[3] & 1))); /* may be #GP */
		break;
	case 5:
		ignore_result(pv_msr_write(c, index, value));
		break;
	case 6:
		ignore_result(pv_msr_read(c, index, &v));
		break;
	case 7:
	case 8:
		hypercall(c, p, value);
		break;
	case 9:
		f->ram[value % RAM_SIZE] = p[3];
		break;
	case 10:
		pv_sleeps(c);
		ignore_result(pv_awake(c)); /* the TLB is not here */
		break;
	case 11:
		apic_set_irq(c, p[3], p[1] & 1);
		if (apic_has_interrupt(c))
			must(apic_accept(c) >= 0);
		break;
	case 12:
		c->st.tsc_offset = value;
		pv_tsc_changed(c);
		break;
	case 13:
		pv_runs(c);
		break;
	case 14:
		hv_step(f, c, p);
		break;
	default:
		pass(f, value & 0xffffffff);
		pv_tell_steal(c);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct pv f;

	init(&f);
	for (size_t at = 0; at + STEP <= n && at < 2000 * STEP; at += STEP)
		step(&f, data + at);
	for (unsigned int k = 0; k < ROM_SIZE; k++)
		must(!f.rom[k]);
	for (unsigned int k = 0; k < NR_CPUS; k++)
		pv_done(f.apics.cpu[k]);
	apics_done(&f.apics);
	return 0;
}
