/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87: instructions that compute run in a stub with the guest's registers on the host's stack; those that
 * only look at or change control, status, tags and the environment are done here.
 *
 * The exception pointers (FIP, FDP, FOP and their selectors) are ours: what the host records are addresses
 * of the monitor. The 16-bit tag word is derived from the registers when it is asked for.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "cpu/interp/fpu.h"

void fpu_update_es(struct cpu_fpu *f)
{
	f->fsw &= (uint16_t) ~(FSW_ES | FSW_B);
	if (f->fsw & ~f->fcw & FSW_EXC)
		f->fsw |= FSW_ES | FSW_B;
}

void fpu_set_top(struct cpu_fpu *f, unsigned int top)
{
	unsigned int old = f->fsw >> FSW_TOP_SHIFT & 7;
	uint8_t st[8][16];

	if (top == old)
		return;
	memcpy(st, f->st, sizeof(st));
	for (unsigned int k = 0; k < 8; k++)
		memcpy(f->st[(k + old - top) & 7], st[k], 16);
	f->fsw = (uint16_t)((f->fsw & ~FSW_TOP) | top << FSW_TOP_SHIFT);
}

void fpu_init(struct cpu_fpu *f)
{
	fpu_set_top(f, 0);
	f->fcw = FCW_INIT;
	f->fsw = 0;
	f->ftw = 0;
	f->fop = 0;
	f->fip = f->fdp = 0;
	f->fcs = f->fds = 0;
}

uint16_t fpu_tag_word(const struct cpu_fpu *f)
{
	unsigned int top = f->fsw >> FSW_TOP_SHIFT & 7;
	uint16_t tags = 0;

	for (unsigned int phys = 0; phys < 8; phys++) {
		const uint8_t *st = f->st[(phys - top) & 7];
		uint64_t mant = get_le64(st);
		unsigned int exp = get_le16(st + 8) & 0x7fff, tag = 0;

		if (!(f->ftw & 1 << phys))
			tag = 3;
		else if (exp == 0 && mant == 0)
			tag = 1;
		else if (exp == 0 || exp == 0x7fff || !(mant >> 63))
			tag = 2;
		tags |= (uint16_t)(tag << 2 * phys);
	}
	return tags;
}

static void set_tags(struct cpu_fpu *f, uint16_t tags)
{
	f->ftw = 0;
	for (unsigned int phys = 0; phys < 8; phys++)
		if ((tags >> 2 * phys & 3) != 3)
			f->ftw |= (uint8_t)(1 << phys);
}

/* --- arithmetic, on the host ------------------------------------------------------------------------ */

static void run(struct cpu *c, const struct insn *i, void *mem)
{
	const struct hostop *h = i->aux;
	struct cpu_fpu *f = &c->st.fpu;
	struct cpu_fpu keep = { .fop = f->fop,
				.fip = f->fip,
				.fdp = f->fdp,
				.mxcsr = f->mxcsr,
				.mxcsr_mask = f->mxcsr_mask };
	uint16_t ignored = 0;
	uint64_t r;

	if (unlikely(f->fsw & FSW_ES)) { /* CR0.NE = 0: the host must not see it */
		ignored = f->fsw & (FSW_EXC | FSW_SF);
		f->fsw &= (uint16_t) ~(FSW_EXC | FSW_SF | FSW_ES | FSW_B);
	}
	f->mxcsr = MXCSR_INIT;
	r = h->entry(&c->st, mem, i);
	f->mxcsr = keep.mxcsr;
	f->mxcsr_mask = keep.mxcsr_mask;
	f->fdp = keep.fdp;
	f->fop = (uint16_t)i->imm;
	f->fip = c->st.rip - i->len;
	if (c->mode != CPU_MODE_64)
		f->fip = (uint32_t)f->fip;
	f->fcs = c->st.seg[CPU_CS].sel;
	if (unlikely(ignored)) {
		f->fsw |= ignored;
		fpu_update_es(f);
	}
	if (h->plan.flags_out)
		c->st.rflags = (c->st.rflags & ~(uint64_t)RFLAGS_STATUS) | (r & RFLAGS_STATUS);
}

void fpu_x87_reg(struct cpu *c, const struct insn *i)
{
	hostop_check_x87(c);
	run(c, i, NULL);
}

/* By the opcode as it is kept for FOP: DF /6. */
static bool is_fbstp(const struct insn *i)
{
	return (i->imm & 0x738) == 0x730;
}

void fpu_x87_mem(struct cpu *c, const struct insn *i)
{
	const struct hostop_plan *p = &((const struct hostop *)i->aux)->plan;
	unsigned int size = p->mem_size, how = i->flags & INSN_SS;
	uint64_t lin, ea = insn_ea(c, i);
	struct cpu_fpu *f = &c->st.fpu;
	uint8_t bounce[16] __attribute__((aligned(16))) = { 0 };
	void *host;

	hostop_check_x87(c);
	/* AMD: what its first 8 bytes raise comes before the limit of all 10. */
	if (is_fbstp(i)) {
		lin = seg_lin(c, i->seg, ea, 8, true);
		mem_align(c, lin, 8, p->ac_align, how);
		mem_probe(c, lin, 8, how | MEM_RMW);
	}
	lin = seg_lin(c, i->seg, ea, size, p->mem_write);
	host = mem_host(c, lin, size, how | (p->mem_write ? MEM_RMW : 0));
	if (!host) {
		mem_align(c, lin, size, p->ac_align, how);
		if (p->mem_write)
			mem_probe(c, lin, size, how | MEM_RMW);
		else
			ld_bytes(c, lin, bounce, size, how);
	}
	run(c, i, host ? host : bounce);
	f->fdp = ea;
	f->fds = c->st.seg[i->seg == SEG_FLAT ? (how ? CPU_SS : CPU_DS) : i->seg].sel;
	if (!p->mem_write)
		return;
	if (host)
		mem_host_wrote(c, lin, host, size);
	/* An unmasked exception other than precision keeps the result back. */
	else if (!(f->fsw & FSW_ES) || !(f->fsw & ~f->fcw & FSW_EXC & ~0x20))
		st_bytes(c, lin, bounce, size, how);
}

/* --- control ---------------------------------------------------------------------------------------- */

static void check_nm(struct cpu *c)
{
	if (unlikely(c->st.cr0 & (CR0_EM | CR0_TS)))
		cpu_raise(c, VEC_NM);
}

static void do_fninit(struct cpu *c, const struct insn *i)
{
	check_nm(c);
	fpu_init(&c->st.fpu);
}

static void do_fnclex(struct cpu *c, const struct insn *i)
{
	check_nm(c);
	c->st.fpu.fsw &= (uint16_t) ~(FSW_EXC | FSW_SF | FSW_ES | FSW_B);
}

static void do_fwait(struct cpu *c, const struct insn *i)
{
	if ((c->st.cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		cpu_raise(c, VEC_NM);
	if ((c->st.fpu.fsw & FSW_ES) && (c->st.cr0 & CR0_NE))
		cpu_raise(c, VEC_MF);
}

/* FENI, FDISI, FSETPM: of the 8087 and 80287, nothing since. */
static void do_nothing(struct cpu *c, const struct insn *i)
{
	check_nm(c);
}

static void do_fldcw(struct cpu *c, const struct insn *i)
{
	hostop_check_x87(c);
	/* bit 6 reads as 1, bits 7 and 13 to 15 as 0 */
	c->st.fpu.fcw = (ld16(c, insn_lin(c, i, 2, false), i->flags & INSN_SS) & 0x1f7f) | 0x40;
	fpu_update_es(&c->st.fpu);
}

static void do_fnstcw(struct cpu *c, const struct insn *i)
{
	check_nm(c);
	st16(c, insn_lin(c, i, 2, true), c->st.fpu.fcw, i->flags & INSN_SS);
}

static void do_fnstsw_mem(struct cpu *c, const struct insn *i)
{
	check_nm(c);
	st16(c, insn_lin(c, i, 2, true), c->st.fpu.fsw, i->flags & INSN_SS);
}

static void do_fnstsw_ax(struct cpu *c, const struct insn *i)
{
	check_nm(c);
	reg_set(c, 0, 2, c->st.fpu.fsw);
}

static void do_emms(struct cpu *c, const struct insn *i)
{
	hostop_check_mmx(c);
	hostop_mmx_enter(&c->st.fpu);
	c->st.fpu.ftw = 0;
}

/* --- environment ------------------------------------------------------------------------------------ */

/* SDM volume 1, figures 8-9 to 8-12. Returns the size: 14 or 28 bytes. */
static unsigned int env_store(const struct cpu *c, unsigned int opsize, uint8_t *b)
{
	const struct cpu_fpu *f = &c->st.fpu;
	bool linear = !c->protected_mode; /* real and V86 mode */
	uint32_t ip = (uint32_t)f->fip, dp = (uint32_t)f->fdp;

	if (linear) {
		ip += (uint32_t)f->fcs << 4;
		dp += (uint32_t)f->fds << 4;
	}
	if (opsize == 2) {
		put_le16(b, f->fcw);
		put_le16(b + 2, f->fsw);
		put_le16(b + 4, fpu_tag_word(f));
		put_le16(b + 6, (uint16_t)ip);
		put_le16(b + 8, linear ? (uint16_t)((ip >> 16) << 12 | f->fop) : f->fcs);
		put_le16(b + 10, (uint16_t)dp);
		put_le16(b + 12, linear ? (uint16_t)((dp >> 16) << 12) : f->fds);
		return 14;
	}
	put_le32(b, 0xffff0000 | f->fcw);
	put_le32(b + 4, 0xffff0000 | f->fsw);
	put_le32(b + 8, 0xffff0000 | fpu_tag_word(f));
	if (linear) {
		put_le32(b + 12, 0xffff0000 | (ip & 0xffff));
		put_le32(b + 16, (ip >> 16) << 12 | f->fop);
		put_le32(b + 20, 0xffff0000 | (dp & 0xffff));
		put_le32(b + 24, (dp >> 16) << 12);
	} else {
		put_le32(b + 12, ip);
		put_le32(b + 16, (uint32_t)f->fop << 16 | f->fcs);
		put_le32(b + 20, dp);
		put_le32(b + 24, 0xffff0000 | f->fds);
	}
	return 28;
}

static void env_load(struct cpu *c, unsigned int opsize, const uint8_t *b)
{
	struct cpu_fpu *f = &c->st.fpu;
	bool linear = !c->protected_mode;
	unsigned int w = opsize == 2 ? 2 : 4;
	uint32_t ip = (uint32_t)get_le(b + 3 * w, w), dp = (uint32_t)get_le(b + 5 * w, w);
	uint32_t cs = (uint32_t)get_le(b + 4 * w, w), ds = (uint32_t)get_le(b + 6 * w, w);

	f->fcw = (get_le16(b) & 0x1f7f) | 0x40;
	fpu_set_top(f, get_le16(b + w) >> FSW_TOP_SHIFT & 7);
	f->fsw = get_le16(b + w);
	set_tags(f, get_le16(b + 2 * w));
	fpu_update_es(f);
	if (linear) {
		f->fop = cs & 0x7ff;
		f->fip = (ip & 0xffff) | (cs >> 12) << 16;
		f->fdp = (dp & 0xffff) | (ds >> 12) << 16;
		f->fcs = f->fds = 0;
	} else {
		f->fop = cs >> 16 & 0x7ff; /* none in the 16-bit format */
		f->fip = ip;
		f->fdp = dp;
		f->fcs = (uint16_t)cs;
		f->fds = (uint16_t)ds;
	}
}

/* 66 chooses between 14 and 28 bytes; in 64-bit mode REX.W changes nothing. */
static unsigned int env_opsize(const struct insn *i)
{
	return i->opsize == 2 ? 2 : 4;
}

/* Linear address of an area of @n bytes. The first word and the last byte are looked at first, each for
 * itself, which decides what fault is told. */
static uint64_t area(struct cpu *c, const struct insn *i, unsigned int n, bool write)
{
	unsigned int how = (i->flags & INSN_SS) | (write ? MEM_RMW : 0);
	unsigned int word = env_opsize(i);
	uint64_t ea = insn_ea(c, i), lin = seg_lin(c, i->seg, ea, word, write);

	mem_align(c, lin, word, word, how);
	mem_probe(c, lin, word, how);
	mem_probe(c, seg_lin(c, i->seg, ea + n - 1, 1, write), 1, how);
	return lin;
}

static void do_fnstenv(struct cpu *c, const struct insn *i)
{
	uint8_t b[28];
	unsigned int n;

	check_nm(c);
	n = env_store(c, env_opsize(i), b);
	st_bytes(c, area(c, i, n, true), b, n, i->flags & INSN_SS);
	c->st.fpu.fcw |= FSW_EXC;
	fpu_update_es(&c->st.fpu);
}

static void do_fldenv(struct cpu *c, const struct insn *i)
{
	unsigned int n = env_opsize(i) == 2 ? 14 : 28;
	uint8_t b[28];

	hostop_check_x87(c);
	ld_bytes(c, area(c, i, n, false), b, n, i->flags & INSN_SS);
	env_load(c, env_opsize(i), b);
}

static void do_fnsave(struct cpu *c, const struct insn *i)
{
	struct cpu_fpu *f = &c->st.fpu;
	uint8_t b[108];
	unsigned int n;

	check_nm(c);
	n = env_store(c, env_opsize(i), b);
	for (unsigned int k = 0; k < 8; k++, n += 10)
		memcpy(b + n, f->st[k], 10);
	st_bytes(c, area(c, i, n, true), b, n, i->flags & INSN_SS);
	fpu_init(f);
}

static void do_frstor(struct cpu *c, const struct insn *i)
{
	unsigned int env = env_opsize(i) == 2 ? 14 : 28, n = env + 80;
	struct cpu_fpu *f = &c->st.fpu;
	uint8_t b[108];

	hostop_check_x87(c);
	ld_bytes(c, area(c, i, n, false), b, n, i->flags & INSN_SS);
	env_load(c, env_opsize(i), b);
	for (unsigned int k = 0; k < 8; k++) {
		memset(f->st[k], 0, 16);
		memcpy(f->st[k], b + env + 10 * k, 10);
	}
}

int fpu_bind_x87(const struct dec *d, struct insn *i)
{
	switch (d->zi.mnemonic) {
	case ZYDIS_MNEMONIC_FNINIT:
		i->fn = do_fninit;
		break;
	case ZYDIS_MNEMONIC_FNCLEX:
		i->fn = do_fnclex;
		break;
	case ZYDIS_MNEMONIC_FWAIT:
		i->fn = do_fwait;
		break;
	case ZYDIS_MNEMONIC_FENI8087_NOP:
	case ZYDIS_MNEMONIC_FDISI8087_NOP:
	case ZYDIS_MNEMONIC_FSETPM287_NOP:
		i->fn = do_nothing;
		break;
	case ZYDIS_MNEMONIC_FLDCW:
		i->fn = do_fldcw;
		break;
	case ZYDIS_MNEMONIC_FNSTCW:
		i->fn = do_fnstcw;
		break;
	case ZYDIS_MNEMONIC_FNSTSW:
		i->fn = i->flags & INSN_MEM ? do_fnstsw_mem : do_fnstsw_ax;
		break;
	case ZYDIS_MNEMONIC_FNSTENV:
		i->fn = do_fnstenv;
		break;
	case ZYDIS_MNEMONIC_FLDENV:
		i->fn = do_fldenv;
		break;
	case ZYDIS_MNEMONIC_FNSAVE:
		i->fn = do_fnsave;
		break;
	case ZYDIS_MNEMONIC_FRSTOR:
		i->fn = do_frstor;
		break;
	case ZYDIS_MNEMONIC_EMMS:
		i->fn = do_emms;
		break;
	default:
		return -EINVAL;
	}
	/* Operand size of the environment: Zydis tells the size of the mode and prefix. */
	i->opsize = d->zi.operand_width / 8;
	return 0;
}
