// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Control transfer. Within the page a jump is a jump. To another page it first looks whether that page is mapped where
 * it was when the jump was linked: the execute tag of the TLB, and the host address of the page behind it. Indirect
 * jumps use the jump table. Calls push {guest return address, host return address} on the return stack, which RET
 * compares and uses.
 *
 * At every edge status flags are in hot.flags, or dead.
 */
#include "cpu/dbt/translate.h"

/* --- exits ------------------------------------------------------------------------------------------ */

/* mov $word,%r10d; jmp exit */
void t_exit(struct tctx *t, uint32_t word)
{
	map_leave(t);
	e_movi32(&t->e, H_S2, word);
	e_jmp(&t->e, t->d->tramp.exit);
}

/* r9 = linear address of offset @target of the present page */
static void load_lin(struct tctx *t, int32_t target)
{
	struct emit *e = &t->e;

	e_load64(e, H_S1, H_CPU, CPU_DISP(hot.pbase));
	if (!target)
		return;
	e_rex(e, t->is_64, H_S1, 0, H_S1); /* lea target(%r9),%r9 */
	e8(e, 0x8d);
	e_mem(e, H_S1, H_S1, target);
}

static struct tlink *new_link(struct tctx *t, unsigned int kind)
{
	struct tlink *l;

	if (t->nr_links == t->max_links) { /* never, unless count_links() is wrong */
		t->e.overflow = true;
		t->nr_links--;
	}
	l = &t->links[t->nr_links++];
	memset(l, 0, sizeof(*l));
	l->kind = (uint8_t)kind;
	return l;
}

/* Distance of what is emitted next from a link's record, which is in the same memory. */
static int32_t from_link(const struct tctx *t, const struct tlink *l)
{
	return (int32_t)(t->e.p - (const uint8_t *)l);
}

/* lea link(%rip),%r10; jmp there */
static void link_exit(struct tctx *t, struct tlink *l, uint32_t word, const uint8_t *there)
{
	struct emit *e = &t->e;

	l->word = word;
	E(e, 0x4c, 0x8d, 0x15);
	e32(e, (uint32_t) - (from_link(t, l) + 4));
	e_jmp(e, there);
}

static void cold_near(struct tctx *t, struct tcold *x)
{
	x->link->stub = from_link(t, x->link);
	link_exit(t, x->link, DBT_WORD(DBT_EXIT_LINK, x->target) | DBT_FLAGS_MEM, t->d->tramp.link);
}

/*
 * The target's page is not mapped as it was, or the link is not made yet. The link belongs to one page for ever; for
 * others there is the jump table. x->a: a call (nothing else differs: the stub is called then).
 */
static void cold_cross(struct tctx *t, struct tcold *x)
{
	struct emit *e = &t->e;

	load_lin(t, x->target);
	E(e, 0x48, 0x83, 0x3d); /* cmpq $0,cell(%rip) */
	e32(e, (uint32_t) - (from_link(t, x->link) + 5));
	e8(e, 0);
	e_jcc(e, 5, t->d->tramp.indirect);
	link_exit(t, x->link, DBT_EXIT_LINK | DBT_AT_RIP | DBT_FLAGS_MEM, t->d->tramp.link_r9);
}

/* Behind the check of a linked jump: it has been unlinked in between. */
static void cold_unlinked(struct tctx *t, struct tcold *x)
{
	struct emit *e = &t->e;

	x->link->stub = from_link(t, x->link);
	/* hot.pbase is the target's page already */
	e_load64(e, H_S1, H_CPU, CPU_DISP(hot.pbase));
	e_rex(e, t->is_64, H_S1, 0, H_S1);
	e8(e, 0x8d);
	e_mem(e, H_S1, H_S1, x->target & (int32_t)GUEST_PAGE_MASK);
	link_exit(t, x->link, DBT_EXIT_LINK | DBT_AT_RIP | DBT_FLAGS_MEM, t->d->tramp.link_r9);
}

/* Pad so that a 4-byte field behind @op_len bytes of opcode is 4-aligned. */
static void align_rel32(struct emit *e, unsigned int op_len)
{
	static const uint8_t nops[3][3] = { { 0x90 }, { 0x66, 0x90 }, { 0x0f, 0x1f, 0x00 } };
	unsigned int n = (unsigned int)(-(uintptr_t)(e_rx(e) + op_len) & 3);

	if (n)
		e_bytes(e, nops[n - 1], n);
}

static bool is_near(int32_t target)
{
	return target >= 0 && target < (int32_t)GUEST_PAGE_SIZE;
}

static unsigned int near_kind(const struct tctx *t, int32_t target)
{
	return target > (int32_t)t_cur(t)->off ? TLINK_NEAR : TLINK_BACK;
}

/* A jump to an instruction of this block. */
static void inside_jump(struct tctx *t, unsigned int op, unsigned int to)
{
	const uint8_t *at = t->insn[to].at;
	struct emit *e = &t->e;

	if (op > 0xff)
		e8(e, op >> 8);
	e8(e, op & 0xff);
	if (at) {
		e_rel32(e, at);
		return;
	}
	t->fix[t->nr_fix++] = (struct tfix){ e->p, (uint8_t)to };
	e32(e, 0);
}

/* A linked jump or call within the page: @op 0xe9, 0xe8; or jcc: 0x0f80 | cc. */
static void near_jump(struct tctx *t, unsigned int op, int32_t target)
{
	struct emit *e = &t->e;
	struct tcold *x;

	x = t_cold(t, cold_near);
	x->link = new_link(t, near_kind(t, target));
	x->target = target;
	align_rel32(e, op > 0xff ? 2 : 1);
	if (op > 0xff)
		e8(e, op >> 8);
	e8(e, op & 0xff);
	x->link->site = from_link(t, x->link);
	x->site = e->p;
	e32(e, 0);
}

/* The check for another page, then the linked jump or call. Spoils r9, r10 and flags. Returns where it goes when the check
 * fails. */
static struct tcold *cross_jump(struct tctx *t, unsigned int op, int32_t target)
{
	struct tlink *l = new_link(t, TLINK_CROSS);
	struct tcold *x, *u;
	struct emit *e = &t->e;

	load_lin(t, target & ~(int32_t)GUEST_PAGE_MASK);
	t_tlb_slot(t);
	e_rex(e, 1, H_S1, 0, H_S2); /* cmp X(%r10),%r9 */
	e8(e, 0x3b);
	e_mem(e, H_S1, H_S2, offsetof(struct tlb_entry, x));
	x = t_cold(t, cold_cross);
	t_jcc_cold(t, 5, x);
	e_load64(e, H_S2, H_S2, offsetof(struct tlb_entry, page));
	E(e, 0x4c, 0x3b, 0x15); /* cmp cell(%rip),%r10 */
	e32(e, (uint32_t) - (from_link(t, l) + 4));
	E(e, 0x0f, 0x85); /* jne to the same cold code */
	x->site2 = e->p;
	e32(e, 0);
	e_store64(e, H_CPU, CPU_DISP(hot.pbase), H_S1);
	align_rel32(e, 1);
	e8(e, op);
	l->site = from_link(t, l);
	u = t_cold(t, cold_unlinked);
	u->site = e->p;
	e32(e, 0);
	x->link = u->link = l;
	x->target = u->target = target;
	return x;
}

void t_goto_alone(struct tctx *t, int32_t target)
{
	bool mapped = t->mapped;

	map_leave(t);
	t->mapped = false;
	near_jump(t, 0xe9, target);
	t->links[t->nr_links - 1].variant = DBT_KEY_ALONE;
	t->mapped = mapped;
}

/* By a link that an invalidation can take away. */
static void goto_outside(struct tctx *t, int32_t target)
{
	bool mapped = t->mapped;

	map_leave(t);
	t->mapped = false;
	if (is_near(target))
		near_jump(t, 0xe9, target);
	else
		cross_jump(t, 0xe9, target);
	t->mapped = mapped;
}

void t_goto(struct tctx *t, int32_t target)
{
	int to = t_jump_inside(t, t->cur, target);

	if (to >= 0)
		inside_jump(t, 0xe9, (unsigned int)to);
	else
		goto_outside(t, target);
}

/* --- conditional ------------------------------------------------------------------------------------ */

/* Taken, with flags to be kept or another page to go to. */
static void cold_taken(struct tctx *t, struct tcold *x)
{
	t->flags = x->a;
	t_flags_spill(t);
	t_goto(t, x->target);
}

static void jcc(struct tctx *t, const struct dinsn *d)
{
	int32_t target = (int32_t)t_next_off(t) + (int32_t)d->imm;
	int to = t_jump_inside(t, t->cur, target);
	unsigned int cc = d->op & 15;

	t_flags_before(t, d);
	if (to >= 0 && !t_cur(t)->live_taken) {
		inside_jump(t, 0x0f80 | cc, (unsigned int)to);
	} else if (is_near(target) && !t_cur(t)->live_taken && !t->mapped) {
		near_jump(t, 0x0f80 | cc, target);
	} else {
		struct tcold *x = t_cold(t, cold_taken);

		x->a = TF_HOST;
		x->target = target;
		t_jcc_cold(t, cc, x);
	}
	t->flags = t_live_after(t) ? TF_HOST : TF_MEM;
}

/* jrcxz reaches 127 bytes: it jumps over a jump. The address size says which register. */
static void jrcxz(struct tctx *t, const struct dinsn *d)
{
	int32_t target = (int32_t)t_next_off(t) + (int32_t)d->imm;
	struct emit *e = &t->e;
	struct tcold *x = t_cold(t, cold_taken);

	if (d->asize == 4)
		e8(e, 0x67);
	E(e, 0xe3, 2, 0xeb, 5); /* jrcxz 1f; jmp 2f; 1: jmp cold; 2: */
	x->a = t->flags;
	x->target = target;
	e8(e, 0xe9);
	x->site = e->p;
	e32(e, 0);
}

/* --- calls ------------------------------------------------------------------------------------------ */

/* Store the return address on the guest's stack and push it on the return stack. Spoils r9, r10. */
static void push_return(struct tctx *t)
{
	unsigned int size = t->is_64 ? 8 : 4;
	struct emit *e = &t->e;
	struct hostmem m;

	t_stack(t, H_GSP, -(int32_t)size, size, true, &m);
	if (t_uses_s2(&m))
		t_mem_merge(t, &m);
	e_load64(e, H_S2, H_CPU, CPU_DISP(hot.pbase));
	e_rex(e, t->is_64, H_S2, 0, H_S2); /* lea next(%r10),%r10 */
	e8(e, 0x8d);
	e_mem(e, H_S2, H_S2, (int32_t)t_next_off(t));
	t_mov_mem(t, 0x89, H_S2, &m);
	e_rex(e, t->is_64, H_GSP, 0, H_GSP); /* lea -size(%r8),%r8 */
	e8(e, 0x8d);
	e_mem(e, H_GSP, H_GSP, -(int32_t)size);
	E(e, 0x41, 0x52); /* push %r10 */
}

/* A called function has come back: r9 = guest return address, which is on the return stack still. */
static void return_site(struct tctx *t)
{
	int32_t next = (int32_t)t_next_off(t);
	struct emit *e = &t->e;

	E(e, 0x48, 0x8d, 0x64, 0x24, 0x08); /* lea 8(%rsp),%rsp */
	e_rex(e, t->is_64, H_S1, 0, H_S1);  /* lea -next(%r9),%r9 */
	e8(e, 0x8d);
	e_mem(e, H_S1, H_S1, -next);
	e_store64(e, H_CPU, CPU_DISP(hot.pbase), H_S1);
	/* Never inside: the block may have died meanwhile. */
	goto_outside(t, next);
}

/* The cold ways of a call out of the page call their code too, so that there is something to return to. */
static void cold_call(struct tctx *t, struct tcold *x)
{
	struct emit *e = &t->e;

	e_call(e, e_rx(e) + 10);
	e_jmp(e, x->again);
	cold_cross(t, x);
}

static void call(struct tctx *t, const struct dinsn *d)
{
	int32_t target = (int32_t)t_next_off(t) + (int32_t)d->imm;

	t_flags_spill(t);
	push_return(t);
	if (is_near(target)) {
		near_jump(t, 0xe8, target);
	} else {
		struct tcold *x = cross_jump(t, 0xe8, target);

		x->emit = cold_call;
		x->again = e_rx(&t->e);
	}
	return_site(t);
}

/* --- indirect --------------------------------------------------------------------------------------- */

/* r9 = target of an indirect branch; flags have been spilled */
static void load_target(struct tctx *t, const struct dinsn *d)
{
	struct emit *e = &t->e;

	if (d->has_mem) {
		struct hostmem m;

		t_mem(t, d, t->is_64 ? 8 : 4, DROLE_R, &m);
		t_mov_mem(t, 0x8b, H_S1, &m);
	} else {
		unsigned int reg = t_reg_in(t, d->rm, H_S1);

		if (!t->is_64)
			e_mov32(e, H_S1, reg);
		else if (reg != H_S1)
			e_mov64(e, H_S1, reg);
	}
}

/* Look r9 up; when it is there r10 points to the slot, else @miss is taken. */
static void jump_lookup(struct tctx *t, struct tcold *miss)
{
	struct emit *e = &t->e;

	E(e, 0x47, 0x8d, 0x14, 0x09); /* lea (%r9,%r9),%r10d */
	E(e, 0x41, 0x81, 0xe2);	      /* and $mask,%r10d */
	e32(e, (NR_JUMPS - 1) * sizeof(struct jump_slot));
	e_rex(e, 1, H_S2, 0, H_CPU); /* add hot.jump,%r10 */
	e8(e, 0x03);
	e_mem(e, H_S2, H_CPU, CPU_DISP(hot.jump));
	e_rex(e, 1, H_S1, 0, H_S2); /* cmp (%r10),%r9 */
	e8(e, 0x3b);
	e_mem(e, H_S1, H_S2, offsetof(struct jump_slot, lin));
	t_jcc_cold(t, 5, miss);
}

/* hot.pbase = page of r9 */
static void set_pbase(struct tctx *t)
{
	struct emit *e = &t->e;

	E(e, 0x49, 0x81, 0xe1); /* and $~0xfff,%r9 */
	e32(e, (uint32_t)~GUEST_PAGE_MASK);
	e_store64(e, H_CPU, CPU_DISP(hot.pbase), H_S1);
}

/* hot.exit says who is to blame for a target that is not canonical. */
static void cold_indirect(struct tctx *t, struct tcold *x)
{
	struct emit *e = &t->e;

	E(e, 0x41, 0xc7); /* mov $word,hot.exit */
	e_mem(e, 0, H_CPU, CPU_DISP(hot.exit));
	e32(e, x->word);
	e_jmp(e, t->d->tramp.indirect);
}

static void jmp_indirect(struct tctx *t, const struct dinsn *d)
{
	struct tcold *x;
	struct emit *e = &t->e;

	t_flags_spill(t);
	load_target(t, d);
	x = t_cold(t, cold_indirect);
	x->word = t_word(t, DBT_EXIT_INTERP);
	jump_lookup(t, x);
	set_pbase(t);
	E(e, 0x41, 0xff); /* jmp *code(%r10) */
	e_mem(e, 4, H_S2, offsetof(struct jump_slot, code));
}

/* The return address is pushed; the target is in hot.spill[0]. */
static void cold_call_indirect(struct tctx *t, struct tcold *x)
{
	struct emit *e = &t->e;

	e_call(e, e_rx(e) + 10);
	e_jmp(e, x->again);
	e_jmp(e, t->d->tramp.indirect);
}

static void call_indirect(struct tctx *t, const struct dinsn *d)
{
	struct tcold *x;
	struct emit *e = &t->e;

	t_flags_spill(t);
	load_target(t, d);
	if (t->is_64) /* else the branch itself faults */
		t_canonical(t);
	e_store64(e, H_CPU, CPU_DISP(hot.spill[0]), H_S1);
	push_return(t);
	e_load64(e, H_S1, H_CPU, CPU_DISP(hot.spill[0]));
	x = t_cold(t, cold_call_indirect);
	jump_lookup(t, x);
	set_pbase(t);
	E(e, 0x41, 0xff); /* call *code(%r10) */
	e_mem(e, 2, H_S2, offsetof(struct jump_slot, code));
	x->again = e_rx(e);
	return_site(t);
}

/* --- returns ---------------------------------------------------------------------------------------- */

static void release(struct tctx *t, const struct dinsn *d)
{
	struct emit *e = &t->e;

	e_rex(e, t->is_64, H_GSP, 0, H_GSP); /* lea size+imm(%r8),%r8 */
	e8(e, 0x8d);
	e_mem(e, H_GSP, H_GSP, (t->is_64 ? 8 : 4) + (int32_t)(uint16_t)d->imm);
}

static void cold_ret_miss(struct tctx *t, struct tcold *x)
{
	const struct dinsn *d = &t->insn[x->cur].d;
	struct emit *e = &t->e;
	uint8_t *bad = NULL;

	if (t->is_64) {
		t_cmp_canonical(t);
		E(e, 0x77, 0); /* ja bad */
		bad = e->p;
	}
	release(t, d);
	e_jmp(e, t->d->tramp.ret_miss);
	if (bad) {
		if (!e->overflow)
			bad[-1] = (uint8_t)(e->p - bad);
		t_exit(t, x->word);
	}
}

static void ret(struct tctx *t, const struct dinsn *d)
{
	struct tcold *x;
	struct emit *e = &t->e;
	struct hostmem m;

	t_flags_spill(t);
	t_stack(t, H_GSP, 0, t->is_64 ? 8 : 4, false, &m);
	t_mov_mem(t, 0x8b, H_S1, &m);
	E(e, 0x4c, 0x3b, 0x4c, 0x24, 0x08); /* cmp 8(%rsp),%r9 */
	x = t_cold(t, cold_ret_miss);
	x->word = t_word(t, DBT_EXIT_INTERP);
	t_jcc_cold(t, 5, x);
	release(t, d);
	e8(e, 0xc3);
}

/* --- loops ------------------------------------------------------------------------------------------ */

/* LOOP: lea -1(%rcx),%rcx; jrcxz over the jump. LOOPE and LOOPNE are the interpreter's. */
static void loop(struct tctx *t, const struct dinsn *d)
{
	struct tcold *x = t_cold(t, cold_taken);
	struct emit *e = &t->e;

	e_rex(e, d->asize == 8, H_RCX, 0, H_RCX);
	E(e, 0x8d, 0x49, 0xff); /* lea -1(%rcx),%rcx */
	if (d->asize == 4)
		e8(e, 0x67);
	E(e, 0xe3, 5); /* jrcxz over */
	x->a = t->flags;
	x->target = (int32_t)t_next_off(t) + (int32_t)d->imm;
	e8(e, 0xe9);
	x->site = e->p;
	e32(e, 0);
}

void emit_flow(struct tctx *t, const struct dinsn *d)
{
	int32_t next = (int32_t)t_next_off(t);

	switch (d->cls) {
	case DCLS_JCC:
		jcc(t, d);
		break;
	case DCLS_JMP:
		t_flags_spill(t);
		t_goto(t, next + (int32_t)d->imm);
		break;
	case DCLS_CALL:
		call(t, d);
		break;
	case DCLS_JMP_IND:
		jmp_indirect(t, d);
		break;
	case DCLS_CALL_IND:
		call_indirect(t, d);
		break;
	case DCLS_RET:
		ret(t, d);
		break;
	case DCLS_JRCXZ:
		jrcxz(t, d);
		break;
	default:
		loop(t, d);
	}
}
