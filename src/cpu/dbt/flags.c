// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The status flags: which are live where, and moving them between the host's flags and memory.
 *
 * A memory access is checked with compare instructions, which spoil the host's flags; nearly always the guest's are
 * dead there, because the next instruction that cares writes them. To know that, the translator looks ahead: behind
 * the end of the block too, into code of the same page, a few instructions far. The pieces looked at become part of what
 * the block depends on. Whatever is not known counts as read.
 */
#include "cpu/dbt/translate.h"

enum { LOOK_INSNS = 12, LOOK_DEPTH = 3 };

static unsigned int before(const struct dinsn *d, unsigned int live)
{
	return (live & ~((unsigned int)d->fl_w & ~(unsigned int)d->fl_u)) | d->fl_r;
}

unsigned int flags_live_at(struct tctx *t, int32_t off, unsigned int depth)
{
	unsigned int read = 0, open = DF_ALL; /* read before written; not yet written */

	if (depth > LOOK_DEPTH)
		return DF_ALL;
	for (unsigned int k = 0; k < LOOK_INSNS; k++) {
		struct dinsn d;

		if (off < 0 || off >= (int32_t)GUEST_PAGE_SIZE ||
		    !t_decode(t, (unsigned int)off, &d))
			return read | open;
		read |= open & d.fl_r;
		open &= ~((unsigned int)d.fl_w & ~(unsigned int)d.fl_u);
		if (!open)
			return read;
		off += d.len;
		switch (d.cls) {
		case DCLS_JMP:
			off += (int32_t)d.imm;
			break;
		case DCLS_JCC:
		case DCLS_JRCXZ:
		case DCLS_LOOP:
			read |= open & flags_live_at(t, off + (int32_t)d.imm, depth + 1);
			break;
		case DCLS_CALL:
		case DCLS_CALL_IND:
		case DCLS_JMP_IND:
		case DCLS_RET:
			return read | open;
		default:
			break;
		}
	}
	return read | open;
}

/* Flags live where a branch of the block leads; instructions behind it have been done. */
static unsigned int live_at_target(struct tctx *t, unsigned int from)
{
	const struct tinsn *i = &t->insn[from];
	int32_t off = (int32_t)i->off + i->len + (int32_t)i->d.imm;
	int to = t_inside(t, off);

	return to > (int)from ? t->insn[to].live : flags_live_at(t, off, 0);
}

void flags_find_live(struct tctx *t)
{
	unsigned int live;

	t->insn[t->nr].live = (uint8_t)(t->insn[t->nr - 1].ends
						? DF_ALL
						: flags_live_at(t, t->insn[t->nr].off, 0));
	for (unsigned int n = t->nr; n-- > 0;) {
		struct tinsn *i = &t->insn[n];

		live = i->ends ? DF_ALL : t->insn[n + 1].live;
		switch (i->d.cls) {
		case DCLS_OTHER:
			live = DF_ALL;
			break;
		case DCLS_JMP:
		case DCLS_CALL:
			live = live_at_target(t, n);
			break;
		case DCLS_JCC:
		case DCLS_JRCXZ:
		case DCLS_LOOP:
			i->live_taken = (uint8_t)live_at_target(t, n);
			live |= i->d.fl_r | i->live_taken;
			break;
		default:
			live = before(&i->d, live);
			break;
		}
		i->live = (uint8_t)live;
	}
}

/* mov %rax,%r10; (seto %al); lahf; mov %ax,hot.flags; mov %r10,%rax */
static void store(struct tctx *t, unsigned int live)
{
	struct emit *e = &t->e;

	e_mov64(e, H_S2, H_RAX);
	E(e, 0x0f, 0x90, 0xc0, 0x9f); /* seto %al; lahf */
	E(e, 0x66, 0x41, 0x89);
	e_mem(e, H_RAX, H_CPU, CPU_DISP(hot.flags));
	e_mov64(e, H_RAX, H_S2);
}

void t_flags_copy(struct tctx *t)
{
	if (t->flags == TF_HOST)
		store(t, DF_ALL);
}

void t_flags_spill(struct tctx *t)
{
	t_flags_copy(t);
	t->flags = TF_MEM;
}

static void fill(struct tctx *t)
{
	struct emit *e = &t->e;

	if (t->s2_busy)
		e_store64(e, H_CPU, CPU_DISP(hot.spill[1]), H_RAX);
	else
		e_mov64(e, H_S2, H_RAX);
	E(e, 0x41, 0x0f, 0xb7); /* movzwl hot.flags,%eax */
	e_mem(e, H_RAX, H_CPU, CPU_DISP(hot.flags));
	E(e, 0x04, 0x7f, 0x9e); /* add $0x7f,%al: OF when al was 1; sahf */
	if (t->s2_busy)
		e_load64(e, H_RAX, H_CPU, CPU_DISP(hot.spill[1]));
	else
		e_mov64(e, H_RAX, H_S2);
	t->flags = TF_HOST;
}

void t_flags_before(struct tctx *t, const struct dinsn *d)
{
	unsigned int written = (unsigned int)d->fl_w & ~(unsigned int)d->fl_u;

	if (t->flags == TF_HOST)
		return;
	if (d->fl_r || (d->fl_w && (t_live_after(t) & ~written)))
		fill(t);
}

void t_flags_after(struct tctx *t, const struct dinsn *d)
{
	if (d->fl_w)
		t->flags = t_live_after(t) ? TF_HOST : TF_MEM;
	else if (!t_live_after(t))
		t->flags = TF_MEM;
}
