// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Instructions that read what the processor is and has: model-specific registers, the time stamp
 * counter, CPUID, random numbers, protection keys. Sources: Intel SDM volume 2; AMD APM volume 3.
 */
#include <cpuid.h>
#include <errno.h>
#include <sys/random.h>

#include "cpu/interp/block.h"
#include "cpu/interp/vcpu_sys.h"
#include "cpu/msr.h"

static _Noreturn void raise_gp(struct cpu *c)
{
	cpu_raise_err(c, VEC_GP, 0);
}

/* A 64-bit value in EDX:EAX. */
static void set_edx_eax(struct cpu *c, uint64_t v)
{
	c->st.gpr[CPU_RAX] = (uint32_t)v;
	c->st.gpr[CPU_RDX] = v >> 32;
}

static uint64_t get_edx_eax(const struct cpu *c)
{
	return (uint32_t)c->st.gpr[CPU_RAX] | c->st.gpr[CPU_RDX] << 32;
}

static void rdmsr(struct cpu *c, const struct insn *i)
{
	uint64_t v;

	if (cpl(c))
		raise_gp(c);
	c->stats.msr_read++;
	if (msr_read(c, (uint32_t)c->st.gpr[CPU_RCX], &v) < 0)
		raise_gp(c);
	set_edx_eax(c, v);
}

static void wrmsr(struct cpu *c, const struct insn *i)
{
	uint32_t index = (uint32_t)c->st.gpr[CPU_RCX];
	int r;

	if (cpl(c))
		raise_gp(c);
	c->stats.msr_write++;
	r = msr_write(c, index, get_edx_eax(c));
	if (r < 0)
		raise_gp(c);
	/* The APIC's page is kept out of the TLB, wherever it is. */
	if (r == MSR_CHANGED_EFER || r == MSR_CHANGED_KEYS || index == MSR_APIC_BASE) {
		c->stats.tlb_flushes_mode++;
		tlb_flush_all(c);
	}
	if (r == MSR_CHANGED_EFER)
		interp_mode_changed(c);
	/* End of interrupt and messages to oneself take effect at once. */
	if (atomic_load_explicit(&c->hot.pending, memory_order_relaxed))
		interp_leave(c);
}

/* --- time and counters -------------------------------------------------------------------------- */

static void need_tsc(struct cpu *c)
{
	if ((c->st.cr4 & CR4_TSD) && cpl(c))
		raise_gp(c);
}

static void rdtsc(struct cpu *c, const struct insn *i)
{
	need_tsc(c);
	set_edx_eax(c, cpu_read_tsc(c));
}

static void rdtscp(struct cpu *c, const struct insn *i)
{
	need_tsc(c);
	set_edx_eax(c, cpu_read_tsc(c));
	c->st.gpr[CPU_RCX] = (uint32_t)c->st.tsc_aux;
}

static void rdpid(struct cpu *c, const struct insn *i)
{
	reg_set(c, i->dst, c->mode == CPU_MODE_64 ? 8 : 4, (uint32_t)c->st.tsc_aux);
}

/* There are no performance counters. */
static void rdpmc(struct cpu *c, const struct insn *i)
{
	raise_gp(c);
}

/* --- what the processor is ---------------------------------------------------------------------- */

static void cpuid(struct cpu *c, const struct insn *i)
{
	uint32_t r[4];

	code_serialize(c);
	cpuid_exec(c, (uint32_t)c->st.gpr[CPU_RAX], (uint32_t)c->st.gpr[CPU_RCX], r);
	c->st.gpr[CPU_RAX] = r[0];
	c->st.gpr[CPU_RBX] = r[1];
	c->st.gpr[CPU_RCX] = r[2];
	c->st.gpr[CPU_RDX] = r[3];
}

/* --- random numbers ----------------------------------------------------------------------------- */

enum { RANDOM_TRIES = 10, LEAF_EXTENDED_FEATURES = 7 };

static bool host_has_rdrand, host_has_rdseed;
static pthread_once_t host_once = PTHREAD_ONCE_INIT;

static void host_look(void)
{
	unsigned int a, b, c, d;

	if (__get_cpuid(1, &a, &b, &c, &d))
		host_has_rdrand = c & bit_RDRND;
	if (__get_cpuid_count(LEAF_EXTENDED_FEATURES, 0, &a, &b, &c, &d))
		host_has_rdseed = b & bit_RDSEED;
}

static bool host_random(uint64_t *ret, bool want_seed)
{
	bool ok = false;

	pthread_once(&host_once, host_look);
	if (!(want_seed ? host_has_rdseed : host_has_rdrand))
		return getrandom(ret, sizeof(*ret), GRND_NONBLOCK) == (ssize_t)sizeof(*ret);
	for (unsigned int k = 0; k < RANDOM_TRIES && !ok; k++) {
		if (want_seed)
			__asm__ volatile("rdseed %0" : "=r"(*ret), "=@ccc"(ok));
		else
			__asm__ volatile("rdrand %0" : "=r"(*ret), "=@ccc"(ok));
	}
	return ok;
}

static void random_to_reg(struct cpu *c, const struct insn *i, bool want_seed)
{
	uint64_t v = 0;
	bool ok = host_random(&v, want_seed);

	reg_set(c, i->dst, i->opsize, ok ? v : 0);
	c->st.rflags = (c->st.rflags & ~(uint64_t)RFLAGS_STATUS) | (ok ? RFLAGS_CF : 0);
}

static void rdrand(struct cpu *c, const struct insn *i)
{
	random_to_reg(c, i, false);
}

static void rdseed(struct cpu *c, const struct insn *i)
{
	random_to_reg(c, i, true);
}

/* --- protection keys ---------------------------------------------------------------------------- */

static void check_pkru(struct cpu *c)
{
	if (!(c->st.cr4 & CR4_PKE))
		cpu_raise(c, VEC_UD);
	if ((uint32_t)c->st.gpr[CPU_RCX])
		raise_gp(c);
}

static void rdpkru(struct cpu *c, const struct insn *i)
{
	check_pkru(c);
	set_edx_eax(c, c->st.pkru);
}

static void wrpkru(struct cpu *c, const struct insn *i)
{
	check_pkru(c);
	if ((uint32_t)c->st.gpr[CPU_RDX])
		raise_gp(c);
	c->st.pkru = (uint32_t)c->st.gpr[CPU_RAX];
	c->stats.tlb_flushes_mode++;
	tlb_flush_all(c);
}

#define BIND(name)                                                                                 \
	static int bind_##name(const struct dec *d, struct insn *i)                                \
	{                                                                                          \
		i->fn = name;                                                                      \
		return 0;                                                                          \
	}
BIND(rdmsr)
BIND(wrmsr)
BIND(rdtsc)
BIND(rdtscp)
BIND(rdpid)
BIND(rdpmc)
BIND(cpuid)
BIND(rdrand)
BIND(rdseed)
BIND(rdpkru)
BIND(wrpkru)

const struct interp_op interp_ops_msr[] = {
	{ ZYDIS_MNEMONIC_RDMSR, bind_rdmsr },	{ ZYDIS_MNEMONIC_WRMSR, bind_wrmsr },
	{ ZYDIS_MNEMONIC_RDTSC, bind_rdtsc },	{ ZYDIS_MNEMONIC_RDTSCP, bind_rdtscp },
	{ ZYDIS_MNEMONIC_RDPID, bind_rdpid },	{ ZYDIS_MNEMONIC_RDPMC, bind_rdpmc },
	{ ZYDIS_MNEMONIC_CPUID, bind_cpuid },	{ ZYDIS_MNEMONIC_RDRAND, bind_rdrand },
	{ ZYDIS_MNEMONIC_RDSEED, bind_rdseed }, { ZYDIS_MNEMONIC_RDPKRU, bind_rdpkru },
	{ ZYDIS_MNEMONIC_WRPKRU, bind_wrpkru }, { 0, NULL },
};
