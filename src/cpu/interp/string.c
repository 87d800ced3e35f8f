// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MOVS, STOS, LODS, SCAS, CMPS, alone and repeated.
 *
 * A repeated instruction is a loop of steps; after each of them rcx, rsi, rdi say exactly what is left, so a
 * fault needs nothing undone. A step is one element, or, for MOVS and STOS upwards within one page of plain
 * memory, as many as fit: then it is a memmove or a fill on the host. Between steps the loop looks whether
 * somebody wants the CPU; if so the instruction pointer goes back and the rest is done later.
 */
#include <errno.h>
#include <string.h>

#include "cpu/interp/events.h"
#include "cpu/interp/hostalu.h"

/* --- pieces ------------------------------------------------------------------------------------- */

static inline bool is_rep(const struct insn *i)
{
	return i->flags & (INSN_REP | INSN_REPNE);
}

static inline uint64_t count_get(const struct cpu *c, const struct insn *i)
{
	return zext(c->st.gpr[CPU_RCX], i->asize);
}

/* Move an index register by @bytes (which may be negative) within the address size. */
static inline void index_add(struct cpu *c, const struct insn *i, unsigned int reg, uint64_t bytes)
{
	reg_set(c, reg * 8, i->asize, c->st.gpr[reg] + bytes);
}

static inline uint64_t step_bytes(const struct cpu *c, unsigned int size)
{
	return c->st.rflags & RFLAGS_DF ? 0 - (uint64_t)size : size;
}

static inline uint64_t src_lin(struct cpu *c, const struct insn *i, unsigned int size)
{
	return seg_lin(c, i->seg, zext(c->st.gpr[CPU_RSI], i->asize), size, false);
}

static inline uint64_t dst_lin(struct cpu *c, const struct insn *i, unsigned int size, bool write)
{
	return seg_lin(c, c->mode == CPU_MODE_64 ? SEG_FLAT : CPU_ES,
		       zext(c->st.gpr[CPU_RDI], i->asize), size, write);
}

/*
 * After a step of a repeated instruction that is not finished: go on at once? Else the instruction is
 * begun again later, with what is left.
 */
static inline bool may_go_on(struct cpu *c, const struct insn *i)
{
	if (likely(!atomic_load_explicit(&c->hot.pending, memory_order_relaxed) && !c->hot.due &&
		   c->end && !event_trap_pending(c)))
		return true;
	c->st.rip -= i->len;
	event_rep_interrupted(c);
	interp_leave(c);
	return false;
}

/* Bytes from @off to the end of what can be reached through a segment without a check for each element. */
static uint64_t seg_room(const struct cpu *c, unsigned int seg, uint64_t off, unsigned int asize,
			 bool write)
{
	uint64_t end = asize == 2 ? 0xffff : asize == 4 ? UINT32_MAX : UINT64_MAX;

	if (c->mode != CPU_MODE_64 && seg != SEG_FLAT &&
	    !(c->seg_ok[seg] & (write ? SEG_OK_W : SEG_OK_R))) {
		if (c->protected_mode)
			return 0;
		end = MIN(end, (uint64_t)c->st.seg[seg].limit);
	}
	if (off > end)
		return 0;
	return MIN(end - off, UINT64_MAX - 1) + 1;
}

static inline uint64_t page_room(uint64_t lin)
{
	return GUEST_PAGE_SIZE - (lin & GUEST_PAGE_MASK);
}

/* --- MOVS --------------------------------------------------------------------------------------- */

/* Copy upwards element by element, also where the target runs into what is still to be copied. */
static void copy_up(uint8_t *dst, const uint8_t *src, uint64_t len, unsigned int size)
{
	if (dst <= src || dst >= src + len) {
		memmove(dst, src, len);
		return;
	}
	for (uint64_t k = 0; k < len; k += size) {
		uint64_t v;

		memcpy(&v, src + k, size);
		memcpy(dst + k, &v, size);
	}
}

/* As many elements as one piece of each page allows. Returns how many were moved; 0: none can be. */
static uint64_t movs_bulk(struct cpu *c, const struct insn *i, unsigned int size, uint64_t count)
{
	unsigned int dst_seg = c->mode == CPU_MODE_64 ? (unsigned int)SEG_FLAT : CPU_ES;
	uint64_t so = zext(c->st.gpr[CPU_RSI], i->asize), dof = zext(c->st.gpr[CPU_RDI], i->asize);
	uint64_t room = MIN(seg_room(c, i->seg, so, i->asize, false),
			    seg_room(c, dst_seg, dof, i->asize, true));
	uint64_t src, dst, len;
	const uint8_t *from;
	uint8_t *to;

	if (room < size)
		return 0;
	src = src_lin(c, i, size);
	dst = dst_lin(c, i, size, true);
	room = MIN(room, MIN(page_room(src), page_room(dst)));
	len = room / size >= count ? count * size : room / size * size;
	if (!len)
		return 0;
	from = mem_host(c, src, (unsigned int)len, insn_how(i));
	to = from ? mem_host(c, dst, (unsigned int)len, MEM_RMW) : NULL;
	if (!to)
		return 0;
	/* The second look-up may have taken the first one's slot of the TLB, not its memory. */
	copy_up(to, from, len, size);
	mem_host_wrote(c, dst, to, (unsigned int)len);
	return len / size;
}

/* The same downwards: nothing that is still to be copied is overwritten unless the guest's instruction does so. */
static void copy_down(uint8_t *dst, const uint8_t *src, uint64_t len, unsigned int size)
{
	if (dst >= src || dst + len <= src) {
		memmove(dst, src, len);
		return;
	}
	for (uint64_t k = len; k; k -= size) {
		uint64_t v;

		memcpy(&v, src + k - size, size);
		memcpy(dst + k - size, &v, size);
	}
}

/* movs_bulk() with DF set: from the current elements downwards. */
static uint64_t movs_bulk_down(struct cpu *c, const struct insn *i, unsigned int size,
			       uint64_t count)
{
	unsigned int dst_seg = c->mode == CPU_MODE_64 ? (unsigned int)SEG_FLAT : CPU_ES;
	uint64_t so = zext(c->st.gpr[CPU_RSI], i->asize), dof = zext(c->st.gpr[CPU_RDI], i->asize);
	uint64_t src, dst, len, below;
	const uint8_t *from;
	uint8_t *to;

	if (MIN(seg_room(c, i->seg, so, i->asize, false),
		seg_room(c, dst_seg, dof, i->asize, true)) < size)
		return 0;
	src = src_lin(c, i, size);
	dst = dst_lin(c, i, size, true);
	if (MIN(page_room(src), page_room(dst)) < size)
		return 0;
	below = MIN(MIN(so, dof), MIN(src & GUEST_PAGE_MASK, dst & GUEST_PAGE_MASK)) / size;
	len = MIN(below + 1, count) * size;
	/* A fault is the first element's; what is below it is in the same page. */
	from = mem_host(c, src, size, insn_how(i));
	to = from ? mem_host(c, dst, size, MEM_RMW) : NULL;
	if (!to)
		return 0;
	from -= len - size;
	to -= len - size;
	copy_down(to, from, len, size);
	mem_host_wrote(c, dst + size - len, to, (unsigned int)len);
	return len / size;
}

static inline void movs_one(struct cpu *c, const struct insn *i, unsigned int size)
{
	uint64_t src = src_lin(c, i, size);
	uint64_t v = ld_size(c, src, size, insn_how(i));

	st_size(c, dst_lin(c, i, size, true), size, v, 0);
}

static void movs_rep(struct cpu *c, const struct insn *i)
{
	unsigned int size = i->opsize;
	uint64_t left = count_get(c, i), step = step_bytes(c, size);

	while (left) {
		uint64_t n = 0;

		if (left > 1 && !c->hot.due)
			n = step == size ? movs_bulk(c, i, size, left)
					 : movs_bulk_down(c, i, size, left);
		if (!n) {
			movs_one(c, i, size);
			n = 1;
		}
		left -= n;
		index_add(c, i, CPU_RSI, n * step);
		index_add(c, i, CPU_RDI, n * step);
		reg_set(c, CPU_RCX * 8, i->asize, left);
		if (left && !may_go_on(c, i))
			return;
	}
}

static void movs(struct cpu *c, const struct insn *i)
{
	uint64_t step = step_bytes(c, i->opsize);

	movs_one(c, i, i->opsize);
	index_add(c, i, CPU_RSI, step);
	index_add(c, i, CPU_RDI, step);
}

/* --- STOS --------------------------------------------------------------------------------------- */

static uint64_t stos_bulk(struct cpu *c, const struct insn *i, unsigned int size, uint64_t count)
{
	unsigned int seg = c->mode == CPU_MODE_64 ? (unsigned int)SEG_FLAT : CPU_ES;
	uint64_t room = seg_room(c, seg, zext(c->st.gpr[CPU_RDI], i->asize), i->asize, true);
	uint64_t dst, len, v = c->st.gpr[CPU_RAX];
	uint8_t *to;

	if (room < size)
		return 0;
	dst = dst_lin(c, i, size, true);
	room = MIN(room, page_room(dst));
	len = room / size >= count ? count * size : room / size * size;
	if (!len)
		return 0;
	to = mem_host(c, dst, (unsigned int)len, MEM_RMW);
	if (!to)
		return 0;
	if (size == 1 || v == 0)
		memset(to, (int)(v & 0xff), len);
	else
		for (uint64_t k = 0; k < len; k += size)
			memcpy(to + k, &v, size);
	mem_host_wrote(c, dst, to, (unsigned int)len);
	return len / size;
}

static inline void stos_one(struct cpu *c, const struct insn *i)
{
	st_size(c, dst_lin(c, i, i->opsize, true), i->opsize, c->st.gpr[CPU_RAX], 0);
}

static void stos_rep(struct cpu *c, const struct insn *i)
{
	unsigned int size = i->opsize;
	uint64_t left = count_get(c, i), step = step_bytes(c, size);

	while (left) {
		uint64_t n = 0;

		if (step == size && left > 1 && !c->hot.due)
			n = stos_bulk(c, i, size, left);
		if (!n) {
			stos_one(c, i);
			n = 1;
		}
		left -= n;
		index_add(c, i, CPU_RDI, n * step);
		reg_set(c, CPU_RCX * 8, i->asize, left);
		if (left && !may_go_on(c, i))
			return;
	}
}

static void stos(struct cpu *c, const struct insn *i)
{
	stos_one(c, i);
	index_add(c, i, CPU_RDI, step_bytes(c, i->opsize));
}

/* --- LODS --------------------------------------------------------------------------------------- */

static void lods(struct cpu *c, const struct insn *i)
{
	uint64_t left = is_rep(i) ? count_get(c, i) : 1;

	while (left) {
		uint64_t v = ld_size(c, src_lin(c, i, i->opsize), i->opsize, insn_how(i));

		reg_set(c, CPU_RAX * 8, i->opsize, v);
		index_add(c, i, CPU_RSI, step_bytes(c, i->opsize));
		if (!is_rep(i))
			return;
		reg_set(c, CPU_RCX * 8, i->asize, --left);
		if (left && !may_go_on(c, i))
			return;
	}
}

/* --- SCAS, CMPS --------------------------------------------------------------------------------- */

HOST_BIN(cmp, "")

static inline void compare(struct cpu *c, uint64_t a, uint64_t b, unsigned int size)
{
	uint32_t ax;

	switch (size) {
	case 1:
		host_cmp8((uint8_t)a, (uint8_t)b, 0, &ax);
		break;
	case 2:
		host_cmp16((uint16_t)a, (uint16_t)b, 0, &ax);
		break;
	case 4:
		host_cmp32((uint32_t)a, (uint32_t)b, 0, &ax);
		break;
	default:
		host_cmp64(a, b, 0, &ax);
		break;
	}
	flags_put(c, ax);
}

/* Did the comparison end the repetition? REPE goes on while equal, REPNE while not. */
static inline bool is_decided(const struct cpu *c, const struct insn *i)
{
	return (bool)(c->st.rflags & RFLAGS_ZF) != (bool)(i->flags & INSN_REP);
}

static void scas_or_cmps(struct cpu *c, const struct insn *i, bool is_cmps)
{
	unsigned int size = i->opsize;
	uint64_t left = is_rep(i) ? count_get(c, i) : 1, step = step_bytes(c, size);

	while (left) {
		uint64_t a, b;

		b = ld_size(c, dst_lin(c, i, size, false), size, 0); /* AMD: first */
		a = is_cmps ? ld_size(c, src_lin(c, i, size), size, insn_how(i))
			    : c->st.gpr[CPU_RAX];
		compare(c, a, b, size);
		if (is_cmps)
			index_add(c, i, CPU_RSI, step);
		index_add(c, i, CPU_RDI, step);
		if (!is_rep(i))
			return;
		reg_set(c, CPU_RCX * 8, i->asize, --left);
		if (is_decided(c, i) || (left && !may_go_on(c, i)))
			return;
	}
}

static void scas(struct cpu *c, const struct insn *i)
{
	scas_or_cmps(c, i, false);
}

static void cmps(struct cpu *c, const struct insn *i)
{
	scas_or_cmps(c, i, true);
}

/* --- binding ------------------------------------------------------------------------------------ */

static bool is_si(ZydisRegister reg)
{
	return reg == ZYDIS_REGISTER_RSI || reg == ZYDIS_REGISTER_ESI || reg == ZYDIS_REGISTER_SI;
}

/* The source's segment may be overridden, the target's is ES. */
static int bind_string(const struct dec *d, struct insn *i, interp_fn *fn)
{
	for (unsigned int k = 0; k < d->zi.operand_count; k++) {
		const ZydisDecodedOperand *op = &d->op[k];

		if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || !is_si(op->mem.base))
			continue;
		i->seg = dec_segment(d, op->mem.segment);
		if (i->seg == CPU_SS)
			i->flags |= INSN_SS;
	}
	i->fn = fn;
	return 0;
}

/* MOVSD and CMPSD are also the names of vector instructions. */
static bool is_string(const struct dec *d)
{
	return d->zi.meta.category == ZYDIS_CATEGORY_STRINGOP;
}

static int bind_movs(const struct dec *d, struct insn *i)
{
	if (!is_string(d))
		return hostop_bind(d, i);
	return bind_string(d, i, is_rep(i) ? movs_rep : movs);
}

static int bind_stos(const struct dec *d, struct insn *i)
{
	return bind_string(d, i, is_rep(i) ? stos_rep : stos);
}

static int bind_lods(const struct dec *d, struct insn *i)
{
	return bind_string(d, i, lods);
}

static int bind_scas(const struct dec *d, struct insn *i)
{
	return bind_string(d, i, scas);
}

static int bind_cmps(const struct dec *d, struct insn *i)
{
	return is_string(d) ? bind_string(d, i, cmps) : hostop_bind(d, i);
}

#define OP(mnemonic, bind)                                                                         \
	{                                                                                          \
		ZYDIS_MNEMONIC_##mnemonic, bind                                                    \
	}
/* clang-format off */
const struct interp_op interp_ops_string[] = {
	OP(MOVSB, bind_movs), OP(MOVSW, bind_movs), OP(MOVSD, bind_movs), OP(MOVSQ, bind_movs),
	OP(STOSB, bind_stos), OP(STOSW, bind_stos), OP(STOSD, bind_stos), OP(STOSQ, bind_stos),
	OP(LODSB, bind_lods), OP(LODSW, bind_lods), OP(LODSD, bind_lods), OP(LODSQ, bind_lods),
	OP(SCASB, bind_scas), OP(SCASW, bind_scas), OP(SCASD, bind_scas), OP(SCASQ, bind_scas),
	OP(CMPSB, bind_cmps), OP(CMPSW, bind_cmps), OP(CMPSD, bind_cmps), OP(CMPSQ, bind_cmps),
	{ 0, NULL },
};
/* clang-format on */
