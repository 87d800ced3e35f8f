// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Instructions of kernels that are short when nothing is unusual: interrupt flag, SWAPGS, STAC, flags on the stack, the
 * time-stamp counter, control and segment registers read. What is unusual (another privilege level, an
 * interrupt that waits for IF) is found when they run, and then the interpreter's handler executes the
 * instruction.
 *
 * decode() does not know them: they are found by their bytes, and only where the interpreter's decoder has found an
 * instruction that the guest is offered.
 */
#include "cpu/dbt/translate.h"
#include "cpu/interp/vcpu_sys.h"

/* rflags and attr by byte */
#define RFLAGS_BYTE(n) (CPU_DISP(st.rflags) + (n))
#define SEG_DISP(n, field)                                                                         \
	(CPU_DISP(st.seg) + (int32_t)((n) * sizeof(struct cpu_seg)) +                              \
	 (int32_t)offsetof(struct cpu_seg, field))

enum { BYTE1_IF = RFLAGS_IF >> 8, BYTE1_DF = RFLAGS_DF >> 8 };

/* test, and, or of a byte of struct cpu with an immediate */
static void test_byte(struct emit *e, int32_t disp, unsigned int imm)
{
	E(e, 0x41, 0xf6);
	e_mem(e, 0, H_CPU, disp);
	e8(e, imm);
}

static void and_byte(struct emit *e, int32_t disp, unsigned int imm)
{
	E(e, 0x41, 0x80);
	e_mem(e, 4, H_CPU, disp);
	e8(e, imm);
}

static void or_byte(struct emit *e, int32_t disp, unsigned int imm)
{
	E(e, 0x41, 0x80);
	e_mem(e, 1, H_CPU, disp);
	e8(e, imm);
}

static void cold_handler(struct tctx *t, struct tcold *x)
{
	t->flags = TF_MEM;
	t_handler(t);
	e_jmp(&t->e, x->again);
}

/* Begin: flags are in memory from here on. Ends in done(), which fills in where the handler comes back to. */
static struct tcold *begin(struct tctx *t)
{
	t_flags_spill(t);
	return t_cold(t, cold_handler);
}

static bool done(struct tctx *t, struct tcold *x)
{
	x->again = e_rx(&t->e);
	t->fpu_ready = 0; /* the handler may have been called */
	return true;
}

/* jcc to the handler; there may be several */
static void to_handler(struct tctx *t, unsigned int cc, struct tcold *x)
{
	E(&t->e, 0x0f, (uint8_t)(0x80 | cc));
	if (x->site)
		x->site2 = t->e.p;
	else
		x->site = t->e.p;
	e32(&t->e, 0);
}

static void need_cpl0(struct tctx *t, struct tcold *x)
{
	test_byte(&t->e, SEG_DISP(CPU_SS, attr), SEG_DPL);
	to_handler(t, 5, x);
}

static bool cli(struct tctx *t)
{
	struct tcold *x = begin(t);

	need_cpl0(t, x);
	and_byte(&t->e, RFLAGS_BYTE(1), (uint8_t)~BYTE1_IF);
	return done(t, x);
}

/* Interrupts are looked for at the entries of blocks, so the shadow holds when the next instruction is in this one. */
static bool sti(struct tctx *t)
{
	struct emit *e = &t->e;
	struct tcold *x;

	_Static_assert(offsetof(struct interp_sys, nmi_waiting) ==
			       offsetof(struct interp_sys, intr_waiting) + 1,
		       "looked at together");
	if (t->cur + 1 == t->nr || t->insn[t->cur + 1].loop)
		return false;
	x = begin(t);
	need_cpl0(t, x);
	e_load64(e, H_S2, H_CPU, CPU_DISP(sys));
	E(e, 0x66, 0x41, 0x83); /* cmpw $0,intr_waiting(%r10) */
	e_mem(e, 7, H_S2, (int32_t)offsetof(struct interp_sys, intr_waiting));
	e8(e, 0);
	to_handler(t, 5, x);
	or_byte(e, RFLAGS_BYTE(1), BYTE1_IF);
	return done(t, x);
}

static bool direction(struct tctx *t, bool down)
{
	t_flags_spill(t);
	if (down)
		or_byte(&t->e, RFLAGS_BYTE(1), BYTE1_DF);
	else
		and_byte(&t->e, RFLAGS_BYTE(1), (uint8_t)~BYTE1_DF);
	return true;
}

static bool swapgs(struct tctx *t)
{
	struct emit *e = &t->e;
	struct tcold *x = begin(t);

	need_cpl0(t, x);
	e_load64(e, H_S1, H_CPU, SEG_DISP(CPU_GS, base));
	e_load64(e, H_S2, H_CPU, CPU_DISP(st.kernel_gs_base));
	e_store64(e, H_CPU, SEG_DISP(CPU_GS, base), H_S2);
	e_store64(e, H_CPU, CPU_DISP(st.kernel_gs_base), H_S1);
	return done(t, x);
}

/* STAC and CLAC exchange the TLB's table: C, but without the rest of the state. */
static bool set_ac(struct tctx *t, void (*fn)(struct cpu *c))
{
	struct emit *e = &t->e;
	struct tcold *x = begin(t);
	uint64_t address;

	memcpy(&address, &fn, sizeof(address));
	need_cpl0(t, x);
	E(e, 0x49, 0xba); /* mov $fn,%r10 */
	e64(e, address);
	e_call(e, t->d->tramp.call_c);
	return done(t, x);
}

/* PUSHF: the status flags are put into st.rflags first. */
static bool pushf(struct tctx *t)
{
	unsigned int size = t->is_64 ? 8 : 4;
	struct emit *e = &t->e;
	struct hostmem m;

	t_flags_spill(t);
	t_stack(t, H_GSP, -(int32_t)size, size, true, &m);
	t_mem_merge(t, &m);
	e_store64(e, H_CPU, CPU_DISP(hot.spill[0]), m.base);
	E(e, 0x45, 0x0f, 0xb6); /* movzbl flags+1,%r10d: as lahf gives them */
	e_mem(e, H_S2, H_CPU, CPU_DISP(hot.flags) + 1);
	E(e, 0x41, 0x81, 0xe2); /* and $status,%r10d */
	e32(e, RFLAGS_STATUS & 0xff);
	E(e, 0x45, 0x0f, 0xb6); /* movzbl flags,%r9d: OF */
	e_mem(e, H_S1, H_CPU, CPU_DISP(hot.flags));
	E(e, 0x41, 0xc1, 0xe1, 11); /* shl $11,%r9d */
	E(e, 0x45, 0x09, 0xca);	    /* or %r9d,%r10d */
	E(e, 0x45, 0x8b);	    /* mov rflags,%r9d */
	e_mem(e, H_S1, H_CPU, CPU_DISP(st.rflags));
	E(e, 0x41, 0x81, 0xe1); /* and $~(status, RF, VM),%r9d */
	e32(e, ~(uint32_t)(RFLAGS_STATUS | RFLAGS_RF | RFLAGS_VM));
	E(e, 0x45, 0x09, 0xca); /* or %r9d,%r10d */
	e_load64(e, H_S1, H_CPU, CPU_DISP(hot.spill[0]));
	m = (struct hostmem){ .base = H_S1, .index = DREG_NONE };
	t_mov_mem(t, 0x89, H_S2, &m);
	e_rex(e, t->is_64, H_GSP, 0, H_GSP); /* lea -size(%r8),%r8 */
	e8(e, 0x8d);
	e_mem(e, H_GSP, H_GSP, -(int32_t)size);
	return true;
}

/* edx:eax = the host's counter - what it was when the group was made + the guest's offset */
static bool rdtsc(struct tctx *t, bool with_aux)
{
	struct emit *e = &t->e;
	struct tcold *x = begin(t);

	test_byte(e, CPU_DISP(st.cr4), CR4_TSD);
	to_handler(t, 5, x);
	if (with_aux)
		E(e, 0x0f, 0x01, 0xf9); /* rdtscp */
	else
		E(e, 0x0f, 0x31);
	E(e, 0x48, 0xc1, 0xe2, 32); /* shl $32,%rdx */
	E(e, 0x48, 0x09, 0xd0);	    /* or %rdx,%rax */
	E(e, 0x49, 0xba);	    /* mov $-start,%r10 */
	e64(e, 0 - t->c->grp->start_tsc);
	E(e, 0x4c, 0x01, 0xd0); /* add %r10,%rax */
	E(e, 0x49, 0x03);	/* add tsc_offset,%rax */
	e_mem(e, H_RAX, H_CPU, CPU_DISP(st.tsc_offset));
	E(e, 0x48, 0x89, 0xc2);	    /* mov %rax,%rdx */
	E(e, 0x48, 0xc1, 0xea, 32); /* shr $32,%rdx */
	e_mov32(e, H_RAX, H_RAX);
	if (with_aux) {
		E(e, 0x41, 0x8b); /* mov tsc_aux,%ecx */
		e_mem(e, H_RCX, H_CPU, CPU_DISP(st.tsc_aux));
	}
	return done(t, x);
}

/* @value is a host register; all 64 bits are the guest's new value. */
static void to_guest(struct tctx *t, unsigned int guest, unsigned int value)
{
	unsigned int host = t_guest_reg(t, guest);

	if (host == DREG_NONE)
		e_store64(&t->e, H_CPU, GPR_DISP(guest), value);
	else
		e_mov64(&t->e, host, value);
}

static bool from_cr(struct tctx *t, unsigned int cr, unsigned int guest)
{
	static const int32_t disp[] = { CPU_DISP(st.cr0), 0, CPU_DISP(st.cr2), CPU_DISP(st.cr3),
					CPU_DISP(st.cr4) };
	struct tcold *x;

	if (cr >= ARRAY_SIZE(disp) || cr == 1)
		return false;
	x = begin(t);
	need_cpl0(t, x);
	if (t->is_64) {
		e_load64(&t->e, H_S1, H_CPU, disp[cr]);
	} else {
		E(&t->e, 0x45, 0x8b);
		e_mem(&t->e, H_S1, H_CPU, disp[cr]);
	}
	to_guest(t, guest, H_S1);
	return done(t, x);
}

static bool from_seg(struct tctx *t, unsigned int seg, unsigned int guest)
{
	if (seg >= CPU_NR_SEGS)
		return false;
	E(&t->e, 0x45, 0x0f, 0xb7); /* movzwl sel,%r9d */
	e_mem(&t->e, H_S1, H_CPU, SEG_DISP(seg, sel));
	to_guest(t, guest, H_S1);
	return true;
}

/* 0F 01 with a register operand: by ModRM. */
static bool group_01(struct tctx *t, unsigned int modrm)
{
	const struct cpu_cpuid *id = &t->c->grp->cpuid;

	switch (modrm) {
	case 0xca:
		return cpuid_has(id, CPUID_SMAP) && set_ac(t, dbt_clac);
	case 0xcb:
		return cpuid_has(id, CPUID_SMAP) && set_ac(t, dbt_stac);
	case 0xf8:
		return t->is_64 && swapgs(t);
	case 0xf9:
		return cpuid_has(id, CPUID_RDTSCP) && rdtsc(t, true);
	default:
		return false;
	}
}

/* The instruction's bytes without a REX prefix are at @b, @n of them. */
static bool by_bytes(struct tctx *t, const uint8_t *b, unsigned int n, unsigned int rex)
{
	unsigned int reg = n > 1 ? b[n - 1] >> 3 & 7 : 0, rm = b[n - 1] & 7;

	reg |= (rex & 4) << 1;
	rm |= (rex & 1) << 3;
	if (n == 2 && b[0] == 0x8c && b[1] >= 0xc0)
		return from_seg(t, reg & 7, rm);
	if (n == 3 && b[0] == 0x0f && b[1] == 0x20 && b[2] >= 0xc0)
		return from_cr(t, reg, rm);
	if (rex)
		return false;
	if (n == 3 && b[0] == 0x0f && b[1] == 0x01)
		return group_01(t, b[2]);
	if (n == 2 && b[0] == 0x0f && b[1] == 0x31)
		return rdtsc(t, false);
	if (n != 1)
		return false;
	switch (b[0]) {
	case 0x9c:
		return pushf(t);
	case 0xfa:
		return cli(t);
	case 0xfb:
		return sti(t);
	case 0xfc:
	case 0xfd:
		return direction(t, b[0] == 0xfd);
	default:
		return false;
	}
}

bool emit_sys(struct tctx *t)
{
	const struct tinsn *i = t_cur(t);
	const uint8_t *b = t->bytes + i->off;
	unsigned int rex = 0, n = i->len;

	if (t->mapped || i->ends)
		return false;
	if (t->is_64 && n > 1 && (b[0] & 0xf0) == 0x40) {
		rex = b[0];
		b++;
		n--;
	}
	return by_bytes(t, b, n, rex);
}
