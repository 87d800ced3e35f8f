/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest code from nowhere: any bytes, in any mode, with any registers, flags and descriptors. Whatever they
 * do, the engine neither crashes nor hangs: a timer kicks the vCPU, and cpu_run() must return soon.
 */
#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unit/guest.h"

enum { HEAD = 48, STEPS = 200, RUN_NS = 20000000, TSS2 = 0x3800 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct guest *guest;
static timer_t timer;

static void kick(int sig)
{
	cpu_kick(guest->cpu);
}

static void setup(void)
{
	struct sigaction sa = { .sa_handler = kick, .sa_flags = SA_RESTART };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };

	guest = guest_new(1, NULL);
	sigaction(SIGRTMIN, &sa, NULL);
	if (timer_create(CLOCK_MONOTONIC, &ev, &timer) < 0)
		abort();
}

static void arm(long ns)
{
	struct itimerspec t = { .it_value.tv_nsec = ns };

	timer_settime(timer, 0, &t, NULL);
}

/* A second task, with what the input changes in its state. */
static void task_make(const uint8_t *data)
{
	uint8_t *tss = guest->ram + TSS2;

	guest_desc(guest, G_FREE2, TSS2, 0x67, data[0] & 2 ? 0x81 : 0x89);
	put_le32(tss + 28, G_PT);
	put_le32(tss + 32, G_CODE + 8);
	put_le32(tss + 56, G_STACK0 - 0x1000);
	for (unsigned int k = 0; k < 6; k++)
		put_le16(tss + 72 + k * 4, k == 1 ? G_CS32 : G_DS);
	if (data[0] & 1)
		for (unsigned int k = 0; k < 16; k++)
			tss[data[1 + k % 4] % 104] ^= data[k];
	/* #UD and the last vector go there through a task gate. */
	if (!(guest->st.efer & EFER_LMA) && (data[0] & 4)) {
		guest_gate32(guest, 6, G_FREE2, 5, 3);
		guest_gate32(guest, 63, G_FREE2, 5, 3);
	}
}

static void debug_regs(const uint8_t *data)
{
	for (unsigned int k = 0; k < 4; k++)
		guest->st.dr[k] = k & 1 ? 0x5000 + data[k] : G_CODE + data[k] % 64;
	guest->st.dr7 = 0x400 | (get_le32(data) & 0xffff20ff);
}

/* Addresses near something, more often than not. */
static uint64_t reg_value(uint16_t v)
{
	static const uint64_t near[] = { 0,
					 G_GDT,
					 UINT32_C(0xc0000000), /* MSRs */
					 UINT32_C(0xc0010000),
					 G_CODE,
					 G_STACK0,
					 G_PT,
					 G_RAM - 0x800,
					 0xfee00000,
					 UINT64_C(0x7ffffffff000),
					 UINT64_C(0xffff800000000000),
					 0x7ffff000,
					 0xfffff000,
					 0x10000,
					 UINT64_MAX - 0x7ff,
					 0x4b564d00 };

	return near[v >> 12] + (v & 0xfff);
}

static void mode_set(uint8_t mode)
{
	static const uint16_t cs[] = { G_CS64, G_CS3_64, G_CS32, G_CS3_32, G_CS16 };

	switch (mode % 12) {
	case 0:
		guest_real(guest);
		return;
	case 1:
		guest_v86(guest);
		return;
	case 2:
	case 3:
	case 4:
		guest_protected(guest, cs[mode % 12]);
		return;
	default:
		guest_long(guest, cs[mode % 4]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct cpu_debug debug = { 0 };
	enum cpu_exit e = CPU_EXIT_DEBUG;
	struct cpu_state *s;
	size_t len;

	if (n < HEAD)
		return 0;
	if (!guest)
		setup();
	s = &guest->st;
	memset(guest->ram, 0, 0x80000);
	memset((void *)guest->mem.region[0].page_flags, 0, G_RAM / 4096);
	cpu_group_reset(guest->grp);
	cpu_group_flush(guest->grp);
	cpu_get_state(guest->cpu, s);
	guest_tables(guest);
	mode_set(data[0]);
	for (unsigned int v = 0; v < 64; v++) {
		if (s->efer & EFER_LMA)
			guest_gate64(guest, v, data[1] & 1 ? G_CS64 : G_CS32, 14, v % 4,
				     data[1] >> 1 & 1);
		else
			guest_gate32(guest, v, G_CS32, data[1] & 4 ? 14 : 6, v % 4);
		put_le32(guest->ram + G_HANDLER + v * 16, 0xf499e6); /* out 0x99, al; hlt */
	}
	/* One descriptor and one gate that the input makes. */
	memcpy(guest->ram + G_GDT + G_FREE, data + 40, 8);
	s->cr4 |= get_le32(data + 2) & (CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_OSXSAVE |
					CR4_FSGSBASE | CR4_UMIP | CR4_PCE);
	s->xcr0 = data[6] & 1 ? 7 : 1;
	s->rflags |= get_le32(data + 7) &
		     (RFLAGS_STATUS | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT |
		      RFLAGS_AC | RFLAGS_ID | RFLAGS_RF);
	s->cr0 |= data[11] & 1 ? CR0_TS : 0;
	s->cr0 |= data[11] & 2 ? CR0_AM : 0;
	for (unsigned int k = 0; k < 14; k++)
		if (k != CPU_RSP || (data[12] & 1))
			s->gpr[k] = reg_value(get_le16(data + 12 + k * 2));
	task_make(data + 24);
	if (data[11] & 8)
		debug_regs(data + 32);
	len = n - HEAD < 0x1000 ? n - HEAD : 0x1000;
	memcpy(guest->ram + G_CODE, data + HEAD, len);

	cpu_set_state(guest->cpu, s);
	debug.single_step = data[11] & 4;
	cpu_set_debug(guest->cpu, &debug);
	arm(RUN_NS);
	for (unsigned int k = 0; k < STEPS && e == CPU_EXIT_DEBUG; k++) {
		e = cpu_run(guest->cpu, &guest->err);
		cpu_get_state(guest->cpu, s);
	}
	arm(0);
	assert(e != CPU_EXIT_ERROR);
	assert((s->rflags & (1 << 1 | 1 << 3 | 1 << 5 | 1 << 15)) == 2);
	assert(s->zero == 0);
	return 0;
}
