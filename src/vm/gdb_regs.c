/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The register file as gdb numbers it: one table in gdb's order, from which come the target description,
 * the layout of the g packet, and reading and writing.
 *
 * Always the amd64 description, whatever mode the guest is in: gdb cannot change its mind during a session,
 * and a guest in 16- or 32-bit code has the same registers. Features "core", "sse", "segments" and "avx" are
 * gdb's own (GDB manual, G.5.2); the control registers are extra.
 */
#include <string.h>

#include "base/bytes.h"
#include "vm/gdb_priv.h"

enum kind {
	K_GPR,
	K_RIP,
	K_FLAGS,
	K_SEG,
	K_ST,
	K_FPU,
	K_XMM,
	K_MXCSR,
	K_SEG_BASE,
	K_CONTROL,
	K_YMMH,
};

enum { FPU_FCTRL, FPU_FSTAT, FPU_FTAG, FPU_FISEG, FPU_FIOFF, FPU_FOSEG, FPU_FOOFF, FPU_FOP };
enum { CTL_CR0, CTL_CR2, CTL_CR3, CTL_CR4, CTL_CR8, CTL_EFER };

struct reg {
	const char *name;
	const char *type;
	uint8_t bytes, kind, index;
	const char *feature; /* set on the first register of one */
};

#define GPR(name, index)                                                                           \
	{                                                                                          \
		name, "int64", 8, K_GPR, index, NULL                                               \
	}
#define SEG(name, index)                                                                           \
	{                                                                                          \
		name, "int32", 4, K_SEG, index, NULL                                               \
	}
#define ST(n)                                                                                      \
	{                                                                                          \
		"st" #n, "i387_ext", 10, K_ST, n, NULL                                             \
	}
#define FPU(name, index)                                                                           \
	{                                                                                          \
		name, "int", 4, K_FPU, index, NULL                                                 \
	}
#define XMM(n)                                                                                     \
	{                                                                                          \
		"xmm" #n, "vec128", 16, K_XMM, n, NULL                                             \
	}
#define YMMH(n)                                                                                    \
	{                                                                                          \
		"ymm" #n "h", "uint128", 16, K_YMMH, n, NULL                                       \
	}
#define CTL(name, index)                                                                           \
	{                                                                                          \
		name, "int64", 8, K_CONTROL, index, NULL                                           \
	}

static const struct reg regs[] = {
	{ "rax", "int64", 8, K_GPR, CPU_RAX, "org.gnu.gdb.i386.core" },
	GPR("rbx", CPU_RBX),
	GPR("rcx", CPU_RCX),
	GPR("rdx", CPU_RDX),
	GPR("rsi", CPU_RSI),
	GPR("rdi", CPU_RDI),
	{ "rbp", "data_ptr", 8, K_GPR, CPU_RBP, NULL },
	{ "rsp", "data_ptr", 8, K_GPR, CPU_RSP, NULL },
	GPR("r8", CPU_R8),
	GPR("r9", CPU_R9),
	GPR("r10", CPU_R10),
	GPR("r11", CPU_R11),
	GPR("r12", CPU_R12),
	GPR("r13", CPU_R13),
	GPR("r14", CPU_R14),
	GPR("r15", CPU_R15),
	{ "rip", "code_ptr", 8, K_RIP, 0, NULL },
	{ "eflags", "i386_eflags", 4, K_FLAGS, 0, NULL },
	SEG("cs", CPU_CS),
	SEG("ss", CPU_SS),
	SEG("ds", CPU_DS),
	SEG("es", CPU_ES),
	SEG("fs", CPU_FS),
	SEG("gs", CPU_GS),
	ST(0),
	ST(1),
	ST(2),
	ST(3),
	ST(4),
	ST(5),
	ST(6),
	ST(7),
	FPU("fctrl", FPU_FCTRL),
	FPU("fstat", FPU_FSTAT),
	FPU("ftag", FPU_FTAG),
	FPU("fiseg", FPU_FISEG),
	FPU("fioff", FPU_FIOFF),
	FPU("foseg", FPU_FOSEG),
	FPU("fooff", FPU_FOOFF),
	FPU("fop", FPU_FOP),
	{ "xmm0", "vec128", 16, K_XMM, 0, "org.gnu.gdb.i386.sse" },
	XMM(1),
	XMM(2),
	XMM(3),
	XMM(4),
	XMM(5),
	XMM(6),
	XMM(7),
	XMM(8),
	XMM(9),
	XMM(10),
	XMM(11),
	XMM(12),
	XMM(13),
	XMM(14),
	XMM(15),
	{ "mxcsr", "int32", 4, K_MXCSR, 0, NULL },
	{ "fs_base", "int64", 8, K_SEG_BASE, CPU_FS, "org.gnu.gdb.i386.segments" },
	{ "gs_base", "int64", 8, K_SEG_BASE, CPU_GS, NULL },
	{ "ymm0h", "uint128", 16, K_YMMH, 0, "org.gnu.gdb.i386.avx" },
	YMMH(1),
	YMMH(2),
	YMMH(3),
	YMMH(4),
	YMMH(5),
	YMMH(6),
	YMMH(7),
	YMMH(8),
	YMMH(9),
	YMMH(10),
	YMMH(11),
	YMMH(12),
	YMMH(13),
	YMMH(14),
	YMMH(15),
	{ "cr0", "int64", 8, K_CONTROL, CTL_CR0, "org.atoll.control" },
	CTL("cr2", CTL_CR2),
	CTL("cr3", CTL_CR3),
	CTL("cr4", CTL_CR4),
	CTL("cr8", CTL_CR8),
	CTL("efer", CTL_EFER),
};

unsigned int gdb_nr_regs(void)
{
	return ARRAY_SIZE(regs);
}

unsigned int gdb_reg_size(unsigned int reg)
{
	return regs[reg].bytes;
}

/* Tags of physical registers, two bits each: 0 valid, 1 zero, 2 special, 3 empty (SDM volume 1, 8.1.7). */
static uint16_t full_tags(const struct cpu_fpu *f)
{
	unsigned int top = f->fsw >> 11 & 7, tags = 0;

	for (unsigned int phys = 0; phys < 8; phys++) {
		const uint8_t *st = f->st[(phys - top) & 7];
		unsigned int exponent = get_le16(st + 8) & 0x7fff, tag = 2;
		uint64_t mantissa = get_le64(st);

		if (!(f->ftw & 1u << phys))
			tag = 3;
		else if (exponent == 0 && mantissa == 0)
			tag = 1;
		else if (exponent != 0 && exponent != 0x7fff && mantissa >> 63)
			tag = 0;
		tags |= tag << 2 * phys;
	}
	return (uint16_t)tags;
}

static uint32_t fpu_get(const struct cpu_fpu *f, unsigned int index)
{
	switch (index) {
	case FPU_FCTRL:
		return f->fcw;
	case FPU_FSTAT:
		return f->fsw;
	case FPU_FTAG:
		return full_tags(f);
	case FPU_FISEG:
		return (uint32_t)(f->fip >> 32);
	case FPU_FIOFF:
		return (uint32_t)f->fip;
	case FPU_FOSEG:
		return (uint32_t)(f->fdp >> 32);
	case FPU_FOOFF:
		return (uint32_t)f->fdp;
	default:
		return f->fop;
	}
}

static void fpu_set(struct cpu_fpu *f, unsigned int index, uint32_t v)
{
	switch (index) {
	case FPU_FCTRL:
		f->fcw = (uint16_t)v;
		break;
	case FPU_FSTAT:
		f->fsw = (uint16_t)v;
		break;
	case FPU_FTAG:
		f->ftw = 0;
		for (unsigned int i = 0; i < 8; i++)
			if ((v >> 2 * i & 3) != 3)
				f->ftw |= (uint8_t)(1u << i);
		break;
	case FPU_FISEG:
		f->fip = (f->fip & UINT32_MAX) | (uint64_t)v << 32;
		break;
	case FPU_FIOFF:
		f->fip = (f->fip & ~(uint64_t)UINT32_MAX) | v;
		break;
	case FPU_FOSEG:
		f->fdp = (f->fdp & UINT32_MAX) | (uint64_t)v << 32;
		break;
	case FPU_FOOFF:
		f->fdp = (f->fdp & ~(uint64_t)UINT32_MAX) | v;
		break;
	default:
		f->fop = v & 0x7ff;
		break;
	}
}

static uint64_t control_get(const struct cpu_state *st, unsigned int index)
{
	switch (index) {
	case CTL_CR0:
		return st->cr0;
	case CTL_CR2:
		return st->cr2;
	case CTL_CR3:
		return st->cr3;
	case CTL_CR4:
		return st->cr4;
	case CTL_CR8:
		return st->apic.tpr >> 4;
	default:
		return st->efer;
	}
}

static void control_set(struct cpu_state *st, unsigned int index, uint64_t v)
{
	switch (index) {
	case CTL_CR0:
		st->cr0 = v;
		break;
	case CTL_CR2:
		st->cr2 = v;
		break;
	case CTL_CR3:
		st->cr3 = v;
		break;
	case CTL_CR4:
		st->cr4 = v;
		break;
	case CTL_CR8:
		st->apic.tpr = (uint32_t)(v & 0xf) << 4;
		break;
	default:
		st->efer = v;
		break;
	}
}

void gdb_reg_get(const struct cpu_state *st, unsigned int reg, uint8_t *ret)
{
	const struct reg *r = &regs[reg];

	switch ((enum kind)r->kind) {
	case K_GPR:
		put_le64(ret, st->gpr[r->index]);
		break;
	case K_RIP:
		put_le64(ret, st->rip);
		break;
	case K_FLAGS:
		put_le32(ret, (uint32_t)st->rflags);
		break;
	case K_SEG:
		put_le32(ret, st->seg[r->index].sel);
		break;
	case K_ST:
		memcpy(ret, st->fpu.st[r->index], 10);
		break;
	case K_FPU:
		put_le32(ret, fpu_get(&st->fpu, r->index));
		break;
	case K_XMM:
		memcpy(ret, st->fpu.xmm[r->index], 16);
		break;
	case K_MXCSR:
		put_le32(ret, st->fpu.mxcsr);
		break;
	case K_SEG_BASE:
		put_le64(ret, st->seg[r->index].base);
		break;
	case K_CONTROL:
		put_le64(ret, control_get(st, r->index));
		break;
	case K_YMMH:
		memcpy(ret, st->fpu.ymm_hi[r->index], 16);
		break;
	}
}

void gdb_reg_set(struct cpu_state *st, unsigned int reg, const uint8_t *val)
{
	const struct reg *r = &regs[reg];

	switch ((enum kind)r->kind) {
	case K_GPR:
		st->gpr[r->index] = get_le64(val);
		break;
	case K_RIP:
		st->rip = get_le64(val);
		break;
	case K_FLAGS:
		st->rflags = get_le32(val) | RFLAGS_FIXED1;
		break;
	case K_SEG:
		break; /* a selector without its descriptor would be half a segment */
	case K_ST:
		memcpy(st->fpu.st[r->index], val, 10);
		st->fpu.xstate_bv |= 1;
		break;
	case K_FPU:
		fpu_set(&st->fpu, r->index, get_le32(val));
		st->fpu.xstate_bv |= 1;
		break;
	case K_XMM:
		memcpy(st->fpu.xmm[r->index], val, 16);
		st->fpu.xstate_bv |= 2;
		break;
	case K_MXCSR:
		st->fpu.mxcsr = get_le32(val) & st->fpu.mxcsr_mask;
		st->fpu.xstate_bv |= 2;
		break;
	case K_SEG_BASE:
		st->seg[r->index].base = get_le64(val);
		break;
	case K_CONTROL:
		control_set(st, r->index, get_le64(val));
		break;
	case K_YMMH:
		memcpy(st->fpu.ymm_hi[r->index], val, 16);
		st->fpu.xstate_bv |= 4;
		break;
	}
}

static void add_types(struct strbuf *out, const char *feature)
{
	static const struct {
		const char *name;
		unsigned int bit;
	} flags[] = { { "CF", 0 },  { "PF", 2 },  { "AF", 4 },	{ "ZF", 6 },  { "SF", 7 },
		      { "TF", 8 },  { "IF", 9 },  { "DF", 10 }, { "OF", 11 }, { "NT", 14 },
		      { "RF", 16 }, { "VM", 17 }, { "AC", 18 }, { "ID", 21 } };

	if (!strcmp(feature, "org.gnu.gdb.i386.core")) {
		strbuf_adds(out, "<flags id=\"i386_eflags\" size=\"4\">");
		for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
			strbuf_addf(out, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>",
				    flags[i].name, flags[i].bit, flags[i].bit);
		strbuf_adds(out, "</flags>");
	} else if (!strcmp(feature, "org.gnu.gdb.i386.sse")) {
		strbuf_adds(out, "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
				 "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
				 "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
				 "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
				 "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
				 "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
				 "<union id=\"vec128\">"
				 "<field name=\"v4_float\" type=\"v4f\"/>"
				 "<field name=\"v2_double\" type=\"v2d\"/>"
				 "<field name=\"v16_int8\" type=\"v16i8\"/>"
				 "<field name=\"v8_int16\" type=\"v8i16\"/>"
				 "<field name=\"v4_int32\" type=\"v4i32\"/>"
				 "<field name=\"v2_int64\" type=\"v2i64\"/>"
				 "<field name=\"uint128\" type=\"uint128\"/>"
				 "</union>");
	}
}

void gdb_target_xml(struct strbuf *out)
{
	strbuf_adds(out, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
			 "<target><architecture>i386:x86-64</architecture>");
	for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
		if (regs[i].feature) {
			strbuf_addf(out, "%s<feature name=\"%s\">", i ? "</feature>" : "",
				    regs[i].feature);
			add_types(out, regs[i].feature);
		}
		strbuf_addf(out, "<reg name=\"%s\" bitsize=\"%d\" type=\"%s\"/>", regs[i].name,
			    regs[i].bytes * 8, regs[i].type);
	}
	strbuf_adds(out, "</feature></target>");
}
