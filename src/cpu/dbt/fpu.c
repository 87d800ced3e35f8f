// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Vector and x87 state between struct cpu_state and the host's registers.
 *
 * Moves, not XSAVE: on Zen 3 sixteen pairs of stores are 10 ns and of loads 5, where XSAVE is 40 and XRSTOR 75 to
 * 110, and FXSAVE and FXRSTOR, the faster way for x87, 28 and 55. So the two are live separately, and code without
 * x87 never pays for it. FNINIT (33 ns) is replaced by EMMS and FLDCW (2 ns), which leave C what it needs: an empty
 * stack, everything masked; status flags that stay do no harm.
 *
 * An x87 exception that is pending is kept in the image, so that whoever loads it again meets it again. C code must
 * never meet it. What the hardware recorded with it are addresses of the host: they are translated back
 * here, or dropped.
 *
 * Compiled without vector instructions: everything that touches these registers is written here.
 */
#include "cpu/dbt/run.h"
#include "cpu/dbt/x87_pointers.h"
#include "cpu/interp/fpu.h"

enum { HOST_MXCSR = 0x1f80, HOST_FCW = 0x37f };

#define EACH_16(X)                                                                                 \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

static bool has_avx(void)
{
	return __builtin_cpu_supports("avx");
}

static void set_mxcsr(uint32_t v)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(v));
}

/* Upper halves; what comes first has put or taken the lower ones. */
static void upper_save(struct cpu_fpu *f)
{
#define STORE(n) "vextractf128 $1,%%ymm" #n ",16*" #n "(%0)\n\t"
	__asm__ volatile(EACH_16(STORE) "vzeroupper" : : "r"(f->ymm_hi) : "memory");
#undef STORE
}

static void upper_load(const struct cpu_fpu *f)
{
#define LOAD(n) "vinsertf128 $1,16*" #n "(%0),%%ymm" #n ",%%ymm" #n "\n\t"
	__asm__ volatile(EACH_16(LOAD) : : "r"(f->ymm_hi) : "memory");
#undef LOAD
}

static void lower_save(struct cpu_fpu *f)
{
#define STORE(n) "movaps %%xmm" #n ",16*" #n "(%0)\n\t"
	__asm__ volatile(EACH_16(STORE) : : "r"(f->xmm) : "memory");
#undef STORE
}

static void lower_load(const struct cpu_fpu *f)
{
#define LOAD(n) "movaps 16*" #n "(%0),%%xmm" #n "\n\t"
	__asm__ volatile(EACH_16(LOAD) : : "r"(f->xmm) : "memory");
#undef LOAD
}

/* Both halves of one register together: fewer steps than one half after the other, and on processors that
 * mind it no change between encodings. */
static void vectors_save(struct cpu_fpu *f)
{
#define STORE(n)                                                                                   \
	"vmovaps %%xmm" #n ",16*" #n "(%0)\n\t"                                                    \
	"vextractf128 $1,%%ymm" #n ",16*" #n "(%1)\n\t"
	__asm__ volatile(EACH_16(STORE) "vzeroupper" : : "r"(f->xmm), "r"(f->ymm_hi) : "memory");
#undef STORE
}

static void vectors_load(const struct cpu_fpu *f)
{
#define LOAD(n)                                                                                    \
	"vmovaps 16*" #n "(%0),%%xmm" #n "\n\t"                                                    \
	"vinsertf128 $1,16*" #n "(%1),%%ymm" #n ",%%ymm" #n "\n\t"
	__asm__ volatile(EACH_16(LOAD) : : "r"(f->xmm), "r"(f->ymm_hi) : "memory");
#undef LOAD
}

/* x87, XMM registers and MXCSR. */
static void x87_save(struct cpu_fpu *f)
{
	uint32_t mask = f->mxcsr_mask;

	__asm__ volatile("fxsave64 %0" : "+m"(*f));
	f->mxcsr_mask = mask;
}

/* What FXSAVE left of the exception pointers, and the host's x87 unit for C. */
static void x87_leave(struct cpu *c, const struct x87_pointers *old)
{
	static const uint16_t fcw = HOST_FCW;
	struct cpu_fpu *f = &c->st.fpu;

	if (__builtin_expect(f->fsw & FSW_ES, 0)) {
		__asm__ volatile("fninit");
		x87_pointers_fix(c, old);
		return;
	}
	/* Processors differ in what they store now; what instructions have recorded here is lost. */
	f->fip = old->fip;
	f->fdp = old->fdp;
	f->fop = old->fop;
	f->fcs = old->fcs;
	f->fds = old->fds;
	__asm__ volatile("emms; fldcw %0" : : "m"(fcw));
}

bool dbt_fpu_pending(const struct cpu *c)
{
	uint16_t fsw;

	if (!(c->hot.fpu_live & DBT_FPU_X87))
		return false;
	__asm__ volatile("fnstsw %0" : "=a"(fsw));
	return fsw & FSW_ES;
}

void dbt_fpu_save(struct cpu *c)
{
	struct cpu_fpu *f = &c->st.fpu;
	struct x87_pointers old = { f->fip, f->fdp, f->fop, f->fcs, f->fds };
	unsigned int live = c->hot.fpu_live;

	if (!live)
		return;
	c->hot.fpu_live = 0;
	if (live & DBT_FPU_X87) {
		x87_save(f);
		if (has_avx())
			upper_save(f);
	} else {
		__asm__ volatile("stmxcsr %0" : "=m"(f->mxcsr));
		if (has_avx())
			vectors_save(f);
		else
			lower_save(f);
	}
	set_mxcsr(HOST_MXCSR);
	if (live & DBT_FPU_X87)
		x87_leave(c, &old);
}

void dbt_fpu_load(struct cpu *c)
{
	const struct cpu_fpu *f = &c->st.fpu;

	if (has_avx())
		vectors_load(f);
	else
		lower_load(f);
	set_mxcsr(f->mxcsr);
	c->hot.fpu_live = DBT_FPU_VEC;
}

void dbt_fpu_load_x87(struct cpu *c)
{
	const struct cpu_fpu *f = &c->st.fpu;

	dbt_fpu_save(c);
	__asm__ volatile("fxrstor64 %0" : : "m"(*f));
	if (has_avx())
		upper_load(f);
	c->hot.fpu_live = DBT_FPU_VEC | DBT_FPU_X87;
}
