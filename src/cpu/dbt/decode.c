// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Decoding for translation. One pass over the bytes: prefixes, opcode, the table's row for it, ModRM and what
 * follows. Whatever is unusual (a prefix that means nothing where it stands, a repeated segment override, an
 * encoding that 64-bit and 32-bit code read differently) is refused rather than understood: the
 * interpreter's decoder then has a look, and translated code is none the slower, because such code is rare.
 *
 * Bytes are read without asking how many there are: when a page ends soon, a copy with zeros behind is read, and
 * an instruction that needed the zeros is refused at the end.
 */
#include <string.h>

#include "base/bytes.h"
#include "cpu/dbt/decode_priv.h"
#include "cpu/state.h"

/* Legacy prefixes that are looked at, and how far beyond them anything can be read: opcode 3,
 * ModRM, SIB, displacement 4, immediate 8. */
enum { MAX_PREFIXES = 14, READ_AHEAD = MAX_PREFIXES + 1 + 3 + 2 + 4 + 8, MAX_LEN = 15 };

/* --- bytes ----------------------------------------------------------------------------------------- */

enum prefix {
	P_NONE,
	P_SEG,
	P_66,
	P_67,
	P_LOCK,
	P_REPNE,
	P_REP,
};

static const uint8_t prefixes[256] = {
	[0x26] = P_SEG,	 [0x2e] = P_SEG,   [0x36] = P_SEG, [0x3e] = P_SEG,
	[0x64] = P_SEG,	 [0x65] = P_SEG,   [0x66] = P_66,  [0x67] = P_67,
	[0xf0] = P_LOCK, [0xf2] = P_REPNE, [0xf3] = P_REP,
};

/* What has been read so far. */
struct scan {
	const uint8_t *p;
	uint8_t seg_prefix; /* 0: none */
	uint8_t pfx, rex;
	bool is_64;
	const struct opdesc *row;
};

/* All but REX. */
static bool scan_prefixes(struct scan *s)
{
	const uint8_t *start = s->p;
	uint8_t b;

	for (;; s->p++) {
		b = *s->p;
		switch (prefixes[b]) {
		case P_NONE:
			return true;
		case P_SEG:
			if (s->seg_prefix && s->seg_prefix != b)
				return false;
			s->seg_prefix = b;
			break;
		case P_66:
			s->pfx |= DPFX_66;
			break;
		case P_67:
			s->pfx |= DPFX_67;
			break;
		case P_LOCK:
			s->pfx |= DPFX_LOCK;
			break;
		case P_REPNE:
			s->pfx |= DPFX_F2;
			break;
		default:
			s->pfx |= DPFX_F3;
		}
		if (s->p - start == MAX_PREFIXES)
			return false;
	}
}

/* Row of the tables for the mandatory prefix. */
static inline unsigned int dpp(unsigned int pfx)
{
	return pfx & DPFX_F2 ? DPP_F2 : pfx & DPFX_F3 ? DPP_F3 : pfx & DPFX_66 ? DPP_66 : DPP_NONE;
}

/* The opcode, up to ModRM. */
static inline void scan_legacy(struct scan *s, struct dinsn *d)
{
	uint8_t b = *s->p++;
	unsigned int pp;

	if (b != 0x0f) {
		d->op = b;
		s->row = &dmap0[b];
	} else {
		pp = dpp(s->pfx);
		b = *s->p++;
		if (b == 0x38) {
			d->map = 2;
			d->op = b = *s->p++;
			s->row = &dmaps[1][pp][b];
		} else if (b == 0x3a) {
			d->map = 3;
			d->op = b = *s->p++;
			s->row = &dmaps[2][pp][b];
		} else {
			d->map = 1;
			d->op = b;
			s->row = &dmaps[0][pp][b];
		}
	}
}

static bool scan_vex(struct scan *s, struct dinsn *d)
{
	static const uint8_t pfx_of[NR_DPP] = { 0, DPFX_66, DPFX_F3, DPFX_F2 };
	uint8_t b = *s->p++, b1 = *s->p++, last = b1;
	unsigned int map = 1;

	/* LDS and LES */
	if (!s->is_64 && (b1 & 0xc0) != 0xc0)
		return false;
	if (s->rex || (s->pfx & ~DPFX_67))
		return false;
	s->rex = (uint8_t)(~b1 >> 5 & 4);
	if (b == 0xc4) {
		map = b1 & 31;
		last = *s->p++;
		s->rex |= (uint8_t)((~b1 >> 5 & 3) | (last >> 4 & 8));
	}
	if (map < 1 || map > 3)
		return false;
	d->vex = true;
	d->vvvv = ~last >> 3 & 15;
	d->vex_l = last >> 2 & 1;
	/* 32-bit code ignores B and the upper bit of vvvv. */
	if (!s->is_64 && ((s->rex & 1) || d->vvvv > 7))
		return false;
	s->pfx |= pfx_of[last & 3];
	d->map = (uint8_t)map;
	d->op = *s->p++;
	s->row = &dvex[map - 1][last & 3][d->op];
	return true;
}

/* What follows a ModRM byte that names memory. */
static inline bool scan_mem(struct scan *s, struct dinsn *d)
{
	unsigned int rm = d->rm & 7, sib, base = d->rm;

	d->has_mem = true;
	d->index = DREG_NONE;
	if (rm == 4) {
		sib = *s->p++;
		d->scale = (uint8_t)(sib >> 6);
		d->index = (uint8_t)((sib >> 3 & 7) | (s->rex << 2 & 8));
		if (d->index == 4)
			d->index = DREG_NONE;
		base = (sib & 7) | (s->rex << 3 & 8);
	}
	if ((base & 7) == 5 && d->mod == 0) {
		base = DREG_NONE;
		if (s->is_64 && rm == 5) {
			/* eip-relative: nobody writes that */
			if (s->pfx & DPFX_67)
				return false;
			base = DREG_RIP;
		}
		d->disp = (int32_t)get_le32(s->p);
		s->p += 4;
	} else if (d->mod == 1) {
		d->disp = (int8_t)*s->p++;
	} else if (d->mod == 2) {
		d->disp = (int32_t)get_le32(s->p);
		s->p += 4;
	}
	d->base = (uint8_t)base;
	return true;
}

/* Follows splits to the row that describes the instruction. */
static inline bool find_row(struct scan *s, const struct dinsn *d)
{
	const struct opdesc *o = s->row;
	unsigned int n;

	while (unlikely(o->cls >= DSPLIT)) {
		switch (o->cls) {
		case DSPLIT_REG:
			n = d->reg & 7;
			break;
		case DSPLIT_MOD:
			n = d->mod == 3;
			break;
		case DSPLIT_MOD_REG:
			n = (d->mod == 3) << 3 | (d->reg & 7);
			break;
		case DSPLIT_RM:
			n = d->rm & 7;
			break;
		case DSPLIT_W:
			n = s->rex >> 3 & 1;
			break;
		default:
			n = d->vex_l;
		}
		o = &dsub[o->sub + n];
	}
	s->row = o;
	return o->cls != DCLS_OTHER;
}

/* --- meaning ---------------------------------------------------------------------------------------- */

static inline void find_segment(const struct scan *s, struct dinsn *d)
{
	uint8_t b = s->seg_prefix;

	d->seg = DSEG_FLAT;
	if (likely(!b || s->is_64))
		d->uses_ss = d->base == CPU_RSP || d->base == CPU_RBP;
	if (unlikely(b)) {
		if (b == 0x64 || b == 0x65) {
			d->seg = b == 0x64 ? CPU_FS : CPU_GS;
			d->uses_ss = false;
		} else if (!s->is_64) {
			d->uses_ss = b == 0x36;
		}
	}
}

/* The operand size; returns DPFX_66 when that prefix decided it. */
static inline unsigned int find_opsize(const struct scan *s, struct dinsn *d)
{
	bool w = s->rex & 8, narrow = (s->pfx & DPFX_66) && !w;

	switch (s->row->osz) {
	case DOSZ_V:
		d->opsize = w ? 8 : narrow ? 2 : 4;
		return narrow ? DPFX_66 : 0;
	case DOSZ_B:
		d->opsize = 1;
		return 0;
	case DOSZ_D64:
		d->opsize = narrow ? 2 : s->is_64 ? 8 : 4;
		return narrow ? DPFX_66 : 0;
	case DOSZ_F64:
		d->opsize = s->is_64 ? 8 : 4;
		return 0;
	default:
		d->opsize = w ? 8 : 4;
		return 0;
	}
}

/* Which prefixes the instruction has for those who encode it again; @used: those known so far. False when one
 * does not belong there. */
static bool find_prefixes(const struct scan *s, struct dinsn *d, unsigned int used)
{
	uint32_t bits = s->row->bits;
	unsigned int pfx = s->pfx, rep = pfx & (DPFX_F2 | DPFX_F3);

	if ((pfx & DPFX_LOCK) && !((bits & DB_LOCK) && d->has_mem))
		return false;
	if ((pfx & DPFX_66) && (s->row->osz == DOSZ_F64 || (bits & DB_NO_66)))
		return false;
	used |= pfx & (DPFX_LOCK | DPFX_67);
	if (rep == (DPFX_F2 | DPFX_F3))
		return false;
	if (rep) {
		if (bits & DB_MANDATORY) {
			/* Where 66 is not the operand size, it means nothing. */
			if ((pfx & DPFX_66) && s->row->osz != DOSZ_V)
				return false;
			used |= rep;
		} else if (bits & DB_REP) {
			if (rep == DPFX_F2 && !(bits & DB_REPNE))
				return false;
			used |= rep;
		} else if (!(bits & DB_REP_OK)) {
			return false;
		}
	} else if (bits & DB_MANDATORY) {
		used |= pfx & DPFX_66;
	}
	d->pfx = (uint8_t)used;
	return true;
}

static bool names_general(const struct opdesc *o)
{
	return ((o->reg | o->rm | o->vvvv) & DROLE_RW) || o->impl_r;
}

static inline bool check_vex(const struct scan *s, const struct dinsn *d)
{
	uint32_t bits = s->row->bits;
	bool w = s->rex & 8;

	if (!s->row->vvvv && d->vvvv)
		return false;
	/* 32-bit code ignores W where it is the width of a general register, and bit 7 of a register's number. */
	if (!s->is_64 &&
	    ((w && names_general(s->row)) || (s->row->imm == DIMM_B_REG && d->imm < 0)))
		return false;
	return !((bits & DB_L0) && d->vex_l) && !((bits & DB_L1) && !d->vex_l) &&
	       !((bits & DB_W0) && w) && !((bits & DB_W1) && !w);
}

static inline void find_imm(struct scan *s, struct dinsn *d)
{
	unsigned int n = 0;

	switch (s->row->imm) {
	case DIMM_NONE:
		return;
	case DIMM_B:
	case DIMM_B_REG:
	case DIMM_BYTE_REL:
		n = 1;
		break;
	case DIMM_W:
		d->imm_size = 2;
		d->imm = get_le16(s->p);
		s->p += 2;
		return;
	case DIMM_LONG_REL:
		n = 4;
		break;
	case DIMM_Z:
		n = d->opsize == 2 ? 2 : 4;
		break;
	default:
		n = d->opsize;
	}
	d->imm_size = (uint8_t)n;
	if (n == 1)
		d->imm = (int8_t)*s->p;
	else if (n == 4)
		d->imm = (int32_t)get_le32(s->p);
	else if (n == 2)
		d->imm = (int16_t)get_le16(s->p);
	else
		d->imm = (int64_t)get_le64(s->p);
	s->p += n;
}

static inline unsigned int mem_size(const struct opdesc *o, const struct dinsn *d)
{
	switch (o->mem) {
	case DMEM_OP:
		return d->opsize;
	case DMEM_VL:
		return 16u << d->vex_l;
	case DMEM_VL2:
		return 8u << d->vex_l;
	case DMEM_VL4:
		return 4u << d->vex_l;
	case DMEM_VL8:
		return 2u << d->vex_l;
	case DMEM_DUP:
		return d->vex_l ? 32 : 8;
	default:
		return o->mem;
	}
}

static inline bool find_mem(const struct dtable *t, const struct scan *s, struct dinsn *d)
{
	const struct opdesc *o = s->row;

	if (o->bits & DB_NO_MEM)
		return false;
	d->mem_size = (uint8_t)mem_size(o, d);
	d->mem_access = o->access;
	if ((o->bits & DB_ALIGN) || ((o->bits & DB_ALIGN_SHA) && !t->sha_unaligned))
		d->mem_align = d->mem_size;
	return true;
}

/* Memory operands that no ModRM byte names: rsi or rdi, and rbx + al. */
static inline void find_implicit_mem(const struct scan *s, struct dinsn *d)
{
	d->base = d->index = DREG_NONE;
	find_segment(s, d);
	d->uses_ss = false;
	d->mem_size = (uint8_t)mem_size(s->row, d);
	d->mem_access = s->row->access;
	if (d->pfx & (DPFX_F2 | DPFX_F3)) {
		d->impl_r |= 1 << CPU_RCX;
		d->impl_w |= 1 << CPU_RCX;
		/* none at all with a count of 0 */
		d->fl_u = d->fl_w;
	}
}

static inline void find_registers(const struct scan *s, struct dinsn *d)
{
	const struct opdesc *o = s->row;
	uint32_t bits = o->bits;
	unsigned int size = d->opsize;

	d->reg_role = o->reg;
	d->vvvv_role = o->vvvv;
	if (!d->has_mem)
		d->rm_role = o->rm;
	d->impl_r = o->impl_r;
	d->impl_w = o->impl_w;
	/* There are eight of them; REX.R and REX.B mean nothing. */
	if (unlikely(d->cls == DCLS_MMX || d->cls == DCLS_X87)) {
		if (d->reg_role == DROLE_MM)
			d->reg &= 7;
		if (d->rm_role == DROLE_MM || d->rm_role == DROLE_ST)
			d->rm &= 7;
	}
	/* Old bits that stay are read. */
	if (unlikely(size <= 2)) {
		if (d->reg_role == DROLE_W)
			d->reg_role = DROLE_RW;
		if (d->rm_role == DROLE_W)
			d->rm_role = DROLE_RW;
		d->impl_r |= d->impl_w;
		if (size == 1 && !d->has_rex) {
			d->reg_high = (o->reg & DROLE_RW) && (d->reg & 4);
			d->rm_high = (d->rm_role & DROLE_RW) && (d->rm & 4);
		}
	} else if (unlikely(bits & (DB_KEEP_OLD | DB_RM8))) {
		if (bits & DB_KEEP_OLD)
			d->reg_role = DROLE_RW;
	}
	if ((bits & DB_RM8) && !d->has_rex)
		d->rm_high = d->rm_role && (d->rm & 4);
}

static inline void find_flags(const struct scan *s, struct dinsn *d)
{
	uint32_t bits = s->row->bits;

	d->fl_r = s->row->fl_r;
	d->fl_w = s->row->fl_w;
	if (unlikely(bits & (DB_COUNT_CL | DB_COUNT_IMM)) &&
	    ((bits & DB_COUNT_CL) || !(d->imm & (d->opsize == 8 ? 63 : 31))))
		d->fl_u = d->fl_w;
	d->reads_mxcsr = bits & DB_MXCSR;
	d->may_trap = bits & (DB_MXCSR | DB_TRAP);
}

/* --- decode ----------------------------------------------------------------------------------------- */

/* What the row says, when all bytes up to the immediate have been read. */
static inline bool decode_row(const struct dtable *t, struct scan *s, const uint8_t *bytes,
			      struct dinsn *d)
{
	const struct opdesc *o = s->row;
	unsigned int used, isa = d->vex_l && o->isa_l1 ? o->isa_l1 : o->isa;

	if (unlikely(!(t->isa >> isa & 1) || ((o->bits & DB_ONLY64) && !s->is_64)))
		return false;
	d->cls = o->cls;
	used = find_opsize(s, d);
	if (unlikely(s->pfx)) {
		if (unlikely(!s->is_64 && (s->pfx & DPFX_67)))
			return false;
		if (d->vex)
			d->pfx = s->pfx;
		else if (!find_prefixes(s, d, used))
			return false;
	}
	if (d->has_mem ? !find_mem(t, s, d) : !!(o->bits & DB_NO_REG))
		return false;
	find_imm(s, d);
	if (d->vex && !check_vex(s, d))
		return false;
	find_registers(s, d);
	find_flags(s, d);
	if (unlikely(d->cls == DCLS_STRING || d->cls == DCLS_XLAT))
		find_implicit_mem(s, d);
	d->len = (uint8_t)(s->p - bytes);
	return true;
}

/* Inc, dec and moves with an absolute address in 32-bit code, described by encodings that both modes have. */
static _noinline_ bool decode_only32(const struct dtable *t, struct scan *s, const uint8_t *bytes,
				     struct dinsn *d)
{
	static const uint8_t mov[4] = { 0x8a, 0x8b, 0x88, 0x89 };
	uint8_t b = *s->p;

	d->op_at = (uint32_t)(s->p++ - bytes);
	d->asize = 4;
	d->has_modrm = true;
	if ((b & 0xf0) == 0x40) {
		d->op = 0xff;
		d->mod = 3;
		d->reg = b >> 3 & 1;
		d->rm = b & 7;
		s->row = &dinc_dec;
	} else if ((b & 0xfc) == 0xa0) {
		d->op = mov[b & 3];
		d->rm = 5;
		d->has_mem = true;
		d->base = d->index = DREG_NONE;
		d->disp = (int32_t)get_le32(s->p);
		s->p += 4;
		find_segment(s, d);
		s->row = &dmap0[d->op];
	} else {
		return false;
	}
	return decode_row(t, s, bytes, d);
}

static inline bool decode_at(const struct dtable *t, const uint8_t *bytes, bool is_64,
			     struct dinsn *d)
{
	struct scan s = { .p = bytes, .is_64 = is_64 };
	unsigned int modrm;
	uint8_t b = *bytes;

	memset(d, 0, sizeof(*d));
	if (prefixes[b]) {
		if (!scan_prefixes(&s))
			return false;
		b = *s.p;
	}
	if ((b & 0xf0) == 0x40) {
		if (!is_64)
			return decode_only32(t, &s, bytes, d);
		s.rex = b;
		d->has_rex = true;
		b = *++s.p;
		/* A REX prefix that another prefix follows means nothing. */
		if (unlikely(prefixes[b] || (b & 0xf0) == 0x40))
			return false;
	}
	if ((b & 0xfe) == 0xc4) {
		if (!scan_vex(&s, d))
			return false;
	} else {
		scan_legacy(&s, d);
	}
	d->op_at = (uint32_t)(s.p - 1 - bytes);
	d->rex = s.rex & 15;
	d->asize = s.pfx & DPFX_67 || !is_64 ? 4 : 8;
	if (s.row->bits & DB_MODRM) {
		d->has_modrm = true;
		d->modrm_at = (uint32_t)(s.p - bytes);
		modrm = *s.p++;
		d->mod = (uint8_t)(modrm >> 6);
		d->reg = (uint8_t)((modrm >> 3 & 7) | (s.rex << 1 & 8));
		d->rm = (uint8_t)((modrm & 7) | (s.rex << 3 & 8));
		if (d->mod != 3) {
			if (!scan_mem(&s, d))
				return false;
			find_segment(&s, d);
		}
		if (!find_row(&s, d))
			return false;
	} else if (s.row->bits & DB_OPREG) {
		d->mod = 3;
		d->rm = (uint8_t)((d->op & 7) | (s.rex << 3 & 8));
		/* xchg %r8,%rax, where 90 alone is no exchange */
		if (unlikely(d->op == 0x90 && (s.rex & 1)))
			s.row = &dmap0[0x91];
	} else if (unlikely(s.row->cls == DCLS_OTHER)) {
		if (is_64 || d->map)
			return false;
		s.p--;
		return decode_only32(t, &s, bytes, d);
	}
	return decode_row(t, &s, bytes, d);
}

/* The last bytes of a page. */
static _noinline_ bool decode_edge(const struct dtable *t, const uint8_t *bytes, unsigned int n,
				   bool is_64, struct dinsn *ret)
{
	uint8_t copy[READ_AHEAD] = { 0 };

	memcpy(copy, bytes, n);
	return decode_at(t, copy, is_64, ret) && ret->len <= n;
}

bool decode(const struct dtable *t, const uint8_t *bytes, unsigned int n, bool is_64,
	    struct dinsn *ret)
{
	if (unlikely(n < READ_AHEAD))
		return decode_edge(t, bytes, n, is_64, ret) && ret->len <= MAX_LEN;
	return decode_at(t, bytes, is_64, ret) && ret->len <= MAX_LEN;
}
