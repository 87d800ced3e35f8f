// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Port I/O. Repeated string forms are what disk drivers without DMA live on, so elements that lie in one
 * page of RAM are moved in a run: one translation, then a device access and a host access each. A run
 * ends early when somebody wants the CPU; registers then tell how far it came, and the instruction starts
 * again.
 *
 * A port read has side effects, so the memory that takes the value is checked before it.
 * Sources: Intel SDM volume 1, chapter 19 (I/O permission); volume 2 (IN, INS, OUT, OUTS).
 */
#include <errno.h>
#include <string.h>

#include "cpu/interp/vcpu_sys.h"

enum { TSS_IO_MAP = 102, TSS_MIN_LIMIT = 103 };

void io_check(struct cpu *c, uint16_t port, unsigned int size)
{
	const struct cpu_seg *tr = &c->st.tr;
	uint64_t off, map;

	if (!(c->st.cr0 & CR0_PE))
		return;
	if (!(c->st.rflags & RFLAGS_VM) && cpl(c) <= (c->st.rflags & RFLAGS_IOPL) >> 12)
		return;
	if (!(tr->attr & SEG_P) || (tr->attr & SEG_TYPE) < SYS_TSS || tr->limit < TSS_MIN_LIMIT)
		cpu_raise_err(c, VEC_GP, 0);
	off = sys_ld(c, tr->base + TSS_IO_MAP, 2) + port / 8;
	/* Always two bytes, because the ports may go on in the second. */
	if (off + 1 > tr->limit)
		cpu_raise_err(c, VEC_GP, 0);
	map = sys_ld(c, tr->base + off, 2) >> (port % 8);
	if (map & ((1u << size) - 1))
		cpu_raise_err(c, VEC_GP, 0);
}

static uint32_t port_in(struct cpu *c, uint16_t port, unsigned int size)
{
	c->stats.pio_in++;
	if (unlikely(c->sys->io_breaks))
		watch_io(c, port, size);
	return c->grp->ops->pio_in(c->grp->arg, port, size);
}

static void port_out(struct cpu *c, uint16_t port, unsigned int size, uint64_t v)
{
	if (size < 4)
		v &= (1u << (size * 8)) - 1;
	c->stats.pio_out++;
	if (unlikely(c->sys->io_breaks))
		watch_io(c, port, size);
	c->grp->ops->pio_out(c->grp->arg, port, size, (uint32_t)v);
	interp_leave(c); /* its DMA may have written the rest of this block */
}

static bool is_wanted(const struct cpu *c)
{
	return atomic_load_explicit(&c->hot.pending, memory_order_relaxed) || event_trap_pending(c);
}

/* A device may have raised an interrupt or changed the memory map: look before the next instruction. */
static void leave_if_wanted(struct cpu *c)
{
	if (unlikely(is_wanted(c)))
		interp_leave(c);
}

/* --- IN and OUT --------------------------------------------------------------------------------- */

static void in(struct cpu *c, const struct insn *i, uint16_t port)
{
	io_check(c, port, i->opsize);
	reg_set(c, CPU_RAX * 8, i->opsize, port_in(c, port, i->opsize));
	leave_if_wanted(c);
}

static void out(struct cpu *c, const struct insn *i, uint16_t port)
{
	io_check(c, port, i->opsize);
	port_out(c, port, i->opsize, c->st.gpr[CPU_RAX]);
	leave_if_wanted(c);
}

static void in_imm(struct cpu *c, const struct insn *i)
{
	in(c, i, (uint8_t)i->imm);
}

static void in_dx(struct cpu *c, const struct insn *i)
{
	in(c, i, (uint16_t)c->st.gpr[CPU_RDX]);
}

static void out_imm(struct cpu *c, const struct insn *i)
{
	out(c, i, (uint8_t)i->imm);
}

static void out_dx(struct cpu *c, const struct insn *i)
{
	out(c, i, (uint16_t)c->st.gpr[CPU_RDX]);
}

static bool has_imm(const struct dec *d)
{
	return d->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ||
	       d->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

static int bind_in(const struct dec *d, struct insn *i)
{
	i->fn = has_imm(d) ? in_imm : in_dx;
	i->opsize = (uint8_t)(d->op[0].size / 8);
	return 0;
}

static int bind_out(const struct dec *d, struct insn *i)
{
	i->fn = has_imm(d) ? out_imm : out_dx;
	i->opsize = (uint8_t)(d->op[1].size / 8);
	return 0;
}

/* --- INS and OUTS ------------------------------------------------------------------------------- */

static uint64_t asize_mask(const struct insn *i)
{
	return i->asize == 8 ? UINT64_MAX : (UINT64_C(1) << (i->asize * 8)) - 1;
}

/* Do @len bytes at @off need no check one by one? */
static bool is_inside(const struct cpu *c, const struct insn *i, uint64_t off, uint64_t len)
{
	const struct cpu_seg *s;

	if (len - 1 > asize_mask(i) - off)
		return false;
	if (i->seg == SEG_FLAT || c->mode == CPU_MODE_64)
		return true;
	s = &c->st.seg[i->seg];
	if (c->protected_mode && !(s->attr & SEG_TYPE_CODE) && (s->attr & SEG_TYPE_DOWN))
		return false;
	return off <= s->limit && len - 1 <= s->limit - off;
}

/* One element, wherever its bytes are. */
static void string_one(struct cpu *c, const struct insn *i, uint16_t port, uint64_t off, bool is_in)
{
	unsigned int how = i->flags & INSN_SS;
	uint64_t lin = seg_lin(c, i->seg, off, i->opsize, is_in);

	if (!is_in) {
		port_out(c, port, i->opsize, ld_size(c, lin, i->opsize, how));
		return;
	}
	mem_align(c, lin, i->opsize, i->opsize, how);
	mem_probe(c, lin, i->opsize, how | MEM_RMW);
	st_size(c, lin, i->opsize, port_in(c, port, i->opsize), how);
}

static void run_in(struct cpu *c, const struct insn *i, uint16_t port, uint8_t *host, uint64_t *n)
{
	uint64_t done = 0;

	do {
		uint32_t v = port_in(c, port, i->opsize);

		memcpy(host + done * i->opsize, &v, i->opsize);
	} while (++done < *n && !is_wanted(c));
	*n = done;
}

static void run_out(struct cpu *c, const struct insn *i, uint16_t port, const uint8_t *host,
		    uint64_t *n)
{
	uint64_t done = 0;

	do {
		uint32_t v = 0;

		memcpy(&v, host + done * i->opsize, i->opsize);
		port_out(c, port, i->opsize, v);
	} while (++done < *n && !is_wanted(c));
	*n = done;
}

/* At most @n elements upwards from @off, those in the first page. Returns how many; 0: not this way. */
static uint64_t string_run(struct cpu *c, const struct insn *i, uint16_t port, uint64_t off,
			   uint64_t n, bool is_in)
{
	unsigned int how = (i->flags & INSN_SS) | (is_in ? MEM_RMW : 0);
	uint64_t lin, room;
	uint8_t *host;

	if (c->sys->align_check || !is_inside(c, i, off, i->opsize))
		return 0;
	lin = seg_lin(c, i->seg, off, i->opsize, is_in);
	room = (GUEST_PAGE_SIZE - (lin & GUEST_PAGE_MASK)) / i->opsize;
	n = MIN(n, room);
	if (n < 2 || !is_inside(c, i, off, n * i->opsize))
		return 0;
	host = mem_host(c, lin, (unsigned int)(n * i->opsize), how);
	if (!host)
		return 0;
	if (is_in) {
		run_in(c, i, port, host, &n);
		mem_host_wrote(c, lin, host, (unsigned int)(n * i->opsize));
	} else {
		run_out(c, i, port, host, &n);
	}
	return n;
}

static void add_to_reg(struct cpu *c, const struct insn *i, unsigned int reg, uint64_t delta)
{
	reg_set(c, reg * 8, i->asize, c->st.gpr[reg] + delta);
}

/* insn.base is the index register. */
static void string_io(struct cpu *c, const struct insn *i, bool is_in)
{
	bool is_rep = i->flags & (INSN_REP | INSN_REPNE), is_down = c->st.rflags & RFLAGS_DF;
	bool one_by_one = c->sys->stepping && (c->sys->step_tf || c->debug.single_step);
	uint16_t port = (uint16_t)c->st.gpr[CPU_RDX];
	uint64_t left = is_rep ? c->st.gpr[CPU_RCX] & asize_mask(i) : 1;

	io_check(c, port, i->opsize);
	if (!left)
		return;
	do {
		uint64_t off = c->st.gpr[i->base] & asize_mask(i), n = 0;

		if (left > 1 && !is_down && !one_by_one)
			n = string_run(c, i, port, off, left, is_in);
		if (!n) {
			string_one(c, i, port, off, is_in);
			n = 1;
		}
		left -= n;
		add_to_reg(c, i, i->base, is_down ? -(uint64_t)i->opsize : n * i->opsize);
		if (is_rep)
			add_to_reg(c, i, CPU_RCX, -n);
	} while (left && !one_by_one && !is_wanted(c));
	if (left) {
		c->st.rip -= i->len;
		interp_leave(c);
	}
	leave_if_wanted(c);
}

static void ins(struct cpu *c, const struct insn *i)
{
	string_io(c, i, true);
}

static void outs(struct cpu *c, const struct insn *i)
{
	string_io(c, i, false);
}

static int bind_string(const struct dec *d, struct insn *i, unsigned int index, interp_fn *fn)
{
	for (unsigned int k = 0; k < d->zi.operand_count; k++) {
		if (d->op[k].type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		i->seg = dec_segment(d, d->op[k].mem.segment);
		if (d->op[k].mem.segment == ZYDIS_REGISTER_SS)
			i->flags |= INSN_SS;
		i->opsize = (uint8_t)(d->op[k].size / 8);
		i->base = (uint8_t)index;
		i->fn = fn;
		return 0;
	}
	return -EINVAL;
}

static int bind_ins(const struct dec *d, struct insn *i)
{
	return bind_string(d, i, CPU_RDI, ins);
}

static int bind_outs(const struct dec *d, struct insn *i)
{
	return bind_string(d, i, CPU_RSI, outs);
}

const struct interp_op interp_ops_io[] = {
	{ ZYDIS_MNEMONIC_IN, bind_in },
	{ ZYDIS_MNEMONIC_OUT, bind_out },
	{ ZYDIS_MNEMONIC_INSB, bind_ins },
	{ ZYDIS_MNEMONIC_INSW, bind_ins },
	{ ZYDIS_MNEMONIC_INSD, bind_ins },
	{ ZYDIS_MNEMONIC_OUTSB, bind_outs },
	{ ZYDIS_MNEMONIC_OUTSW, bind_outs },
	{ ZYDIS_MNEMONIC_OUTSD, bind_outs },
	{ 0, NULL },
};
