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

/* Legacy prefixes that are looked at, and how far beyond them anything can be read: REX, opcode 3, ModRM, SIB,
 * displacement 4, and 8 for the immediate, however short it is. */
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

/* What has been read so far. Kept in registers: nothing that is not inlined gets its address. */
struct scan {
	const uint8_t *p;
	const struct opdesc *row;
	uint8_t seg_prefix; /* 0: none */
	uint8_t pfx, rex;
	bool is_64;
};

/* Where the prefixes end (NULL: they are not known here), and what they were. */
struct scan_prefix {
	const uint8_t *p;
	uint8_t pfx, seg_prefix;
};

/* All but REX. */
static _noinline_ struct scan_prefix scan_prefixes(const uint8_t *p)
{
	const uint8_t *start = p;
	unsigned int pfx = 0;
	uint8_t seg = 0, b;

	for (;; p++) {
		b = *p;
		switch (prefixes[b]) {
		case P_NONE:
			return (struct scan_prefix){ p, (uint8_t)pfx, seg };
		case P_SEG:
			if (seg && seg != b)
				return (struct scan_prefix){ 0 };
			seg = b;
			break;
		case P_66:
			pfx |= DPFX_66;
			break;
		case P_67:
			pfx |= DPFX_67;
			break;
		case P_LOCK:
			pfx |= DPFX_LOCK;
			break;
		case P_REPNE:
			pfx |= DPFX_F2;
			break;
		default:
			pfx |= DPFX_F3;
		}
		if (p - start == MAX_PREFIXES)
			return (struct scan_prefix){ 0 };
	}
}

/* Row of the tables for the mandatory prefix. */
static inline unsigned int dpp(unsigned int pfx)
{
	return pfx & DPFX_F2 ? DPP_F2 : pfx & DPFX_F3 ? DPP_F3 : pfx & DPFX_66 ? DPP_66 : DPP_NONE;
}

/* The opcode, of which @b has been read, up to ModRM. */
static inline void scan_legacy(struct scan *s, struct dinsn *d, uint8_t b)
{
	unsigned int pp;

	if (b != 0x0f) {
		s->row = &dmap0[b];
	} else {
		pp = dpp(s->pfx);
		b = *s->p++;
		if (unlikely(b == 0x38)) {
			d->map = 2;
			b = *s->p++;
			s->row = &dmaps[1][pp][b];
		} else if (unlikely(b == 0x3a)) {
			d->map = 3;
			b = *s->p++;
			s->row = &dmaps[2][pp][b];
		} else {
			d->map = 1;
			s->row = &dmaps[0][pp][b];
		}
	}
	d->op = b;
}

/* The same for VEX encodings; @p: behind C4 or C5. Returns where ModRM is; NULL: not known here. */
static _noinline_ const uint8_t *scan_vex(const uint8_t *p, bool is_64, unsigned int pfx,
					  struct dinsn *d)
{
	static const uint8_t pfx_of[NR_DPP] = { 0, DPFX_66, DPFX_F3, DPFX_F2 };
	uint8_t b = p[-1], b1 = *p++, last = b1;
	unsigned int map = 1, rex = ~b1 >> 5 & 4;

	/* LDS and LES; prefixes that are #UD */
	if ((!is_64 && (b1 & 0xc0) != 0xc0) || d->has_rex || (pfx & ~DPFX_67))
		return NULL;
	if (b == 0xc4) {
		map = b1 & 31;
		last = *p++;
		rex |= (~b1 >> 5 & 3) | (last >> 4 & 8);
	}
	if (map < 1 || map > 3)
		return NULL;
	d->vex = true;
	d->rex = (uint8_t)rex;
	d->vvvv = ~last >> 3 & 15;
	d->vex_l = last >> 2 & 1;
	/* 32-bit code ignores B and the upper bit of vvvv. */
	if (!is_64 && ((rex & 1) || d->vvvv > 7))
		return NULL;
	d->pfx = (uint8_t)(pfx | pfx_of[last & 3]);
	d->map = (uint8_t)map;
	d->op = *p++;
	return p;
}

/* The signed number of @n bytes at @p, of which 4 or 8 can be read; 0 when n is 0. */
static inline int32_t signed32(const uint8_t *p, unsigned int n)
{
	unsigned int shift = (32 - 8 * n) & 31;

	return n ? (int32_t)(get_le32(p) << shift) >> shift : 0;
}

static inline int64_t signed64(const uint8_t *p, unsigned int n)
{
	unsigned int shift = (64 - 8 * n) & 63;

	return n ? (int64_t)(get_le64(p) << shift) >> shift : 0;
}

/* What follows a ModRM byte that names memory. */
static inline bool scan_mem(struct scan *s, struct dinsn *d, unsigned int modrm)
{
	static const uint8_t disp_size[4] = { 0, 1, 4, 0 };
	unsigned int n = disp_size[modrm >> 6], rm = modrm & 7, base = rm | (s->rex << 3 & 8), sib;
	unsigned int index = DREG_NONE;

	d->has_mem = true;
	if (rm == 4) {
		sib = *s->p++;
		d->scale = (uint8_t)(sib >> 6);
		index = (sib >> 3 & 7) | (s->rex << 2 & 8);
		if (index == 4)
			index = DREG_NONE;
		base = (sib & 7) | (s->rex << 3 & 8);
	}
	if (unlikely((base & 7) == 5 && modrm < 0x40)) {
		n = 4;
		base = DREG_NONE;
		if (s->is_64 && rm == 5) {
			/* eip-relative: nobody writes that */
			if (s->pfx & DPFX_67)
				return false;
			base = DREG_RIP;
		}
	}
	d->base = (uint8_t)base;
	d->index = (uint8_t)index;
	d->disp = signed32(s->p, n);
	s->p += n;
	return true;
}

/* Follows splits to the row that describes the instruction. */
static inline void find_row(struct scan *s, const struct dinsn *d, unsigned int modrm)
{
	const struct opdesc *o = s->row;
	unsigned int n;

	while (unlikely(o->cls >= DSPLIT)) {
		if (likely(o->cls == DSPLIT_REG))
			n = modrm >> 3 & 7;
		else if (o->cls == DSPLIT_MOD)
			n = modrm >= 0xc0;
		else if (o->cls == DSPLIT_MOD_REG)
			n = (modrm >= 0xc0) << 3 | (modrm >> 3 & 7);
		else if (o->cls == DSPLIT_RM)
			n = modrm & 7;
		else
			n = s->rex >> 3 & 1;
		o = &dsub[o->sub + n];
	}
	s->row = o;
}

/* --- meaning ---------------------------------------------------------------------------------------- */

static inline void find_segment(uint8_t b, bool is_64, struct dinsn *d)
{
	d->uses_ss = (d->base & ~1) == CPU_RSP;
	if (likely(!b))
		return;
	if (b == 0x64 || b == 0x65) {
		d->seg = b == 0x64 ? CPU_FS : CPU_GS;
		d->uses_ss = false;
	} else if (!is_64) {
		d->uses_ss = b == 0x36;
	}
}

static inline unsigned int find_opsize(const struct scan *s)
{
	/* by 64-bit mode, REX.W, 66 */
	static const uint8_t sizes[NR_DOSZ][8] = {
		[DOSZ_V] = { 4, 2, 8, 8, 4, 2, 8, 8 },	 [DOSZ_B] = { 1, 1, 1, 1, 1, 1, 1, 1 },
		[DOSZ_Y] = { 4, 4, 8, 8, 4, 4, 8, 8 },	 [DOSZ_D64] = { 4, 2, 4, 2, 8, 2, 8, 8 },
		[DOSZ_F64] = { 4, 4, 4, 4, 8, 8, 8, 8 },
	};

	return sizes[s->row->osz][s->is_64 << 2 | (s->rex >> 2 & 2) | (s->pfx & DPFX_66)];
}

/* Which prefixes the instruction has for those who encode it again. False when one does not belong there. */
static _noinline_ bool find_prefixes(unsigned int pfx, const struct opdesc *o, struct dinsn *d)
{
	uint32_t bits = o->bits;
	unsigned int rep = pfx & (DPFX_F2 | DPFX_F3), used = pfx & (DPFX_LOCK | DPFX_67);

	if (d->vex) {
		d->pfx = (uint8_t)pfx;
		return true;
	}
	if ((pfx & DPFX_LOCK) && !((bits & DB_LOCK) && d->has_mem))
		return false;
	if ((pfx & DPFX_66) && (bits & DB_NO_66))
		return false;
	/* Compilers write 66 before calls of __tls_get_addr, with a REX.W that undoes it. */
	if ((pfx & DPFX_66) && o->osz == DOSZ_F64 && !(d->rex & 8))
		return false;
	if (d->opsize == 2)
		used |= DPFX_66;
	if (rep == (DPFX_F2 | DPFX_F3))
		return false;
	if (rep) {
		if (bits & DB_MANDATORY) {
			/* Where 66 is not the operand size, it means nothing. */
			if ((pfx & DPFX_66) && o->osz != DOSZ_V)
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
	/* by operand size */
	static const uint8_t sizes[NR_DIMM][9] = {
		[DIMM_B] = { [1] = 1, [2] = 1, [4] = 1, [8] = 1 },
		[DIMM_B_REG] = { [4] = 1, [8] = 1 },
		[DIMM_W] = { [4] = 2, [8] = 2 },
		[DIMM_Z] = { [2] = 2, [4] = 4, [8] = 4 },
		[DIMM_V] = { [2] = 2, [4] = 4, [8] = 8 },
		[DIMM_LONG_REL] = { [4] = 4, [8] = 4 },
	};
	unsigned int n = sizes[s->row->imm][d->opsize];

	d->imm_size = (uint8_t)n;
	d->imm = signed64(s->p, n);
	if (unlikely(s->row->imm == DIMM_W))
		d->imm = (uint16_t)d->imm;
	s->p += n;
}

static inline unsigned int mem_size(const struct opdesc *o, const struct dinsn *d)
{
	if (likely(o->mem <= DMEM_OP))
		return o->mem == DMEM_OP ? d->opsize : o->mem;
	if (o->mem == DMEM_DUP)
		return d->vex_l ? 32 : 8;
	return (16u << d->vex_l) >> (o->mem - DMEM_VL);
}

static inline void find_mem(const struct dtable *t, const struct opdesc *o, struct dinsn *d)
{
	uint32_t aligned = DB_ALIGN | (t->sha_unaligned ? 0 : DB_ALIGN_SHA);

	d->mem_size = (uint8_t)mem_size(o, d);
	d->mem_access = o->access;
	d->mem_align = o->bits & aligned ? d->mem_size : 0;
	/* An address that is not accessed has no segment. */
	if (unlikely(!o->mem)) {
		d->seg = DSEG_FLAT;
		d->uses_ss = false;
	}
}

/* Memory operands that no ModRM byte names: rsi or rdi, and rbx + al. */
static _noinline_ void find_implicit_mem(uint8_t seg_prefix, bool is_64, const struct opdesc *o,
					 struct dinsn *d)
{
	d->base = d->index = DREG_NONE;
	find_segment(seg_prefix, is_64, d);
	d->uses_ss = false; /* also with an override of SS, which is flat */
	d->mem_size = (uint8_t)mem_size(o, d);
	d->mem_access = o->access;
	if (d->pfx & (DPFX_F2 | DPFX_F3)) {
		d->impl_r |= 1 << CPU_RCX;
		d->impl_w |= 1 << CPU_RCX;
		/* none at all with a count of 0 */
		d->fl_u = d->fl_w;
	}
}

/* 8 and 16 bits: old bits that stay are read. */
static inline void find_narrow(struct dinsn *d)
{
	if (d->reg_role == DROLE_W)
		d->reg_role = DROLE_RW;
	if (d->rm_role == DROLE_W)
		d->rm_role = DROLE_RW;
	d->impl_r |= d->impl_w;
	if (d->opsize == 1 && !d->has_rex) {
		d->reg_high = (d->reg_role & DROLE_RW) && (d->reg & 4);
		d->rm_high = (d->rm_role & DROLE_RW) && (d->rm & 4);
	}
}

/* What few instructions need. */
static _noinline_ void find_rare(uint32_t bits, struct dinsn *d)
{
	if (bits & DB_KEEP_OLD)
		d->reg_role = DROLE_RW;
	if ((bits & DB_RM8) && !d->has_rex)
		d->rm_high = d->rm_role && (d->rm & 4);
	if ((bits & DB_COUNT_CL) ||
	    ((bits & DB_COUNT_IMM) && !(d->imm & (d->opsize == 8 ? 63 : 31))))
		d->fl_u = d->fl_w;
	if (bits & DB_EIGHT) {
		if (d->reg_role == DROLE_MM)
			d->reg &= 7;
		if (d->rm_role == DROLE_MM || d->rm_role == DROLE_ST)
			d->rm &= 7;
	}
}

/* --- decode ----------------------------------------------------------------------------------------- */

/* What the row says, when all bytes up to the immediate have been read. */
static _inline_ bool decode_row(const struct dtable *t, struct scan *s, const uint8_t *bytes,
				struct dinsn *d)
{
	const struct opdesc *o = s->row;
	unsigned int isa = unlikely(d->vex_l && o->isa_l1) ? o->isa_l1 : o->isa;
	uint32_t bits = o->bits;

	if (unlikely(!(t->isa >> isa & 1) || (bits & (d->has_mem ? DB_NO_MEM : DB_NO_REG))))
		return false;
	if (unlikely(!s->is_64 && ((bits & DB_ONLY64) || (s->pfx & DPFX_67))))
		return false;
	/* The code segment is not one that can be written, and perhaps not read. */
	if (unlikely(s->seg_prefix == 0x2e) && !s->is_64 && (d->has_mem || (bits & DB_STRING)))
		return false;
	d->cls = o->cls;
	d->opsize = (uint8_t)find_opsize(s);
	d->reg_role = o->reg;
	d->vvvv_role = o->vvvv;
	d->fl_r = o->fl_r;
	d->fl_w = o->fl_w;
	d->fl_u = o->fl_u;
	d->impl_r = o->impl_r;
	d->impl_w = o->impl_w;
	d->reads_mxcsr = bits & DB_MXCSR;
	d->may_trap = bits & (DB_MXCSR | DB_TRAP);
	if (s->pfx && !find_prefixes(s->pfx, o, d))
		return false;
	if (d->has_mem)
		find_mem(t, o, d);
	else
		d->rm_role = o->rm;
	find_imm(s, d);
	if (unlikely(d->vex) && !check_vex(s, d))
		return false;
	if (unlikely(d->opsize <= 2))
		find_narrow(d);
	if (unlikely(bits & DB_RARE))
		find_rare(bits, d);
	if (unlikely(bits & DB_STRING))
		find_implicit_mem(s->seg_prefix, s->is_64, o, d);
	d->len = (uint8_t)(s->p - bytes);
	return true;
}

/* Inc, dec and moves with an absolute address in 32-bit code, described by encodings that both modes have. */
static _noinline_ bool decode_only32(const struct dtable *t, const uint8_t *bytes, const uint8_t *p,
				     uint8_t pfx, uint8_t seg_prefix, struct dinsn *d)
{
	struct scan s = { .p = p, .pfx = pfx, .seg_prefix = seg_prefix };
	static const uint8_t mov[4] = { 0x8a, 0x8b, 0x88, 0x89 };
	uint8_t b = s.p[-1];

	d->op_at = (uint32_t)(s.p - 1 - bytes);
	d->asize = 4;
	d->has_modrm = true;
	if ((b & 0xf0) == 0x40) {
		d->op = 0xff;
		d->mod = 3;
		d->reg = b >> 3 & 1;
		d->rm = b & 7;
		s.row = &dinc_dec;
	} else if ((b & 0xfc) == 0xa0) {
		d->op = mov[b & 3];
		d->rm = 5;
		d->has_mem = true;
		d->base = d->index = DREG_NONE;
		d->disp = (int32_t)get_le32(s.p);
		s.p += 4;
		find_segment(seg_prefix, false, d);
		s.row = &dmap0[d->op];
	} else {
		return false;
	}
	return decode_row(t, &s, bytes, d);
}

static _inline_ bool decode_at(const struct dtable *t, const uint8_t *bytes, bool is_64,
			       struct dinsn *d)
{
	struct scan s = { .p = bytes, .is_64 = is_64 };
	unsigned int modrm;
	uint8_t b = *s.p++;

	memset(d, 0, sizeof(*d));
	d->seg = DSEG_FLAT;
	if (prefixes[b]) {
		struct scan_prefix pre = scan_prefixes(bytes);

		if (!pre.p)
			return false;
		s.pfx = pre.pfx;
		s.seg_prefix = pre.seg_prefix;
		s.p = pre.p;
		b = *s.p++;
	}
	if ((b & 0xf0) == 0x40 && is_64) {
		s.rex = b & 15;
		d->rex = b & 15;
		d->has_rex = true;
		b = *s.p++;
		/* A REX prefix that another prefix follows means nothing. */
		if (unlikely(prefixes[b] || (b & 0xf0) == 0x40))
			return false;
	}
	if (unlikely((b & 0xfe) == 0xc4)) {
		s.p = scan_vex(s.p, is_64, s.pfx, d);
		if (!s.p)
			return false;
		s.pfx = d->pfx;
		s.rex = d->rex;
		s.row = &dvex[d->map - 1][dpp(s.pfx)][d->op];
	} else {
		scan_legacy(&s, d, b);
	}
	d->op_at = (uint32_t)(s.p - 1 - bytes);
	d->asize = s.pfx & DPFX_67 || !is_64 ? 4 : 8;
	if (s.row->bits & DB_MODRM) {
		d->has_modrm = true;
		d->modrm_at = (uint32_t)(s.p - bytes);
		modrm = *s.p++;
		d->mod = (uint8_t)(modrm >> 6);
		d->reg = (uint8_t)((modrm >> 3 & 7) | (s.rex << 1 & 8));
		d->rm = (uint8_t)((modrm & 7) | (s.rex << 3 & 8));
		find_row(&s, d, modrm);
		if (modrm < 0xc0) {
			if (!scan_mem(&s, d, modrm))
				return false;
			find_segment(s.seg_prefix, is_64, d);
		}
	} else if (s.row->bits & DB_OPREG) {
		d->mod = 3;
		d->rm = (uint8_t)((d->op & 7) | (s.rex << 3 & 8));
		/* xchg %r8,%rax, where 90 alone is no exchange */
		if (unlikely(d->op == 0x90 && (s.rex & 1)))
			s.row = &dmap0[0x91];
	} else if (unlikely(s.row->cls == DCLS_OTHER && !is_64 && !d->map)) {
		return decode_only32(t, bytes, s.p, s.pfx, s.seg_prefix, d);
	}
	return s.row->cls != DCLS_OTHER && decode_row(t, &s, bytes, d);
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
