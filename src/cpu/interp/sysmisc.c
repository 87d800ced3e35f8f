// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is left of the system instructions: HLT, CLI and STI, the registers of the descriptor tables,
 * caches that are not there, and hypercalls. Virtualization instructions other than the hypercall are
 * undefined: there are no nested guests.
 *
 * Sources: Intel SDM volume 2; volume 3, 20.3 and 20.4 (virtual interrupt flag); Linux,
 * Documentation/virt/kvm/x86/hypercalls.rst.
 */
#include <errno.h>

#include "cpu/interp/vcpu_sys.h"
#include "cpu/pv/pv.h"

static _Noreturn void raise_gp(struct cpu *c)
{
	cpu_raise_err(c, VEC_GP, 0);
}

static void need_cpl0(struct cpu *c)
{
	if (cpl(c))
		raise_gp(c);
}

static void hlt(struct cpu *c, const struct insn *i)
{
	need_cpl0(c);
	event_halt(c);
}

/* --- interrupt flag ----------------------------------------------------------------------------- */

/* Which flag CLI and STI change: IF, or its virtual copy. Raises #GP when neither may be. */
static uint64_t interrupt_flag(struct cpu *c)
{
	bool is_v86 = c->st.rflags & RFLAGS_VM;

	if (!(c->st.cr0 & CR0_PE) || cpl(c) <= (c->st.rflags & RFLAGS_IOPL) >> 12)
		return RFLAGS_IF;
	if (is_v86 ? c->st.cr4 & CR4_VME : cpl(c) == 3 && (c->st.cr4 & CR4_PVI))
		return RFLAGS_VIF;
	raise_gp(c);
}

static void cli(struct cpu *c, const struct insn *i)
{
	c->st.rflags &= ~interrupt_flag(c);
}

static void sti(struct cpu *c, const struct insn *i)
{
	uint64_t flag = interrupt_flag(c);
	bool was_off = !(c->st.rflags & flag);

	if (flag == RFLAGS_VIF && (c->st.rflags & RFLAGS_VIP))
		raise_gp(c);
	c->st.rflags |= flag;
	if (flag == RFLAGS_IF && was_off)
		event_sti(c);
}

/* --- descriptor tables -------------------------------------------------------------------------- */

enum { TABLE_LIMIT_SIZE = 2 };

static unsigned int base_size(const struct cpu *c)
{
	return c->mode == CPU_MODE_64 ? 8 : 4;
}

static void load_table(struct cpu *c, const struct insn *i, struct cpu_dtable *ret)
{
	unsigned int how = i->flags & INSN_SS, size = base_size(c);
	uint64_t lin, base;
	uint16_t limit;

	need_cpl0(c);
	lin = insn_lin(c, i, TABLE_LIMIT_SIZE + size, false);
	limit = ld16(c, lin, how);
	base = ld_size(c, lin + TABLE_LIMIT_SIZE, size, how);
	if (size == 4 && i->opsize == 2)
		base &= 0xffffff;
	if (size == 8 && !mmu_is_canonical_base(c, base))
		raise_gp(c);
	*ret = (struct cpu_dtable){ .base = base, .limit = limit };
}

static void store_table(struct cpu *c, const struct insn *i, const struct cpu_dtable *t)
{
	unsigned int how = i->flags & INSN_SS, size = base_size(c);
	uint64_t lin;

	if (cpl(c) && (c->st.cr4 & CR4_UMIP))
		raise_gp(c);
	lin = insn_lin(c, i, TABLE_LIMIT_SIZE + size, true);
	mem_probe(c, lin, TABLE_LIMIT_SIZE + size, how | MEM_RMW);
	st16(c, lin, t->limit, how);
	st_size(c, lin + TABLE_LIMIT_SIZE, size, t->base, how);
}

static void lgdt(struct cpu *c, const struct insn *i)
{
	load_table(c, i, &c->st.gdtr);
}

static void lidt(struct cpu *c, const struct insn *i)
{
	load_table(c, i, &c->st.idtr);
}

static void sgdt(struct cpu *c, const struct insn *i)
{
	store_table(c, i, &c->st.gdtr);
}

static void sidt(struct cpu *c, const struct insn *i)
{
	store_table(c, i, &c->st.idtr);
}

/* --- nothing to do ------------------------------------------------------------------------------ */

/* INVD, WBINVD: guest memory is always what was stored last. */
static void flush_caches(struct cpu *c, const struct insn *i)
{
	need_cpl0(c);
}

/* --- hypercalls --------------------------------------------------------------------------------- */

enum { KVM_EPERM = 1 };

static void kvm_hypercall(struct cpu *c)
{
	uint64_t mask = c->mode == CPU_MODE_64 ? UINT64_MAX : UINT32_MAX;
	uint64_t nr = c->st.gpr[CPU_RAX] & mask;
	uint64_t arg[] = { c->st.gpr[CPU_RBX] & mask, c->st.gpr[CPU_RCX] & mask,
			   c->st.gpr[CPU_RDX] & mask, c->st.gpr[CPU_RSI] & mask };
	int64_t r = cpl(c) ? -KVM_EPERM : pv_hypercall(c, nr, arg);

	c->st.gpr[CPU_RAX] = (uint64_t)r & mask;
}

/* VMCALL and VMMCALL: a guest may use either, whichever vendor it was told. */
static void hypercall(struct cpu *c, const struct insn *i)
{
	c->stats.hypercalls++;
	if (!cpuid_has(&c->grp->cpuid, CPUID_HYPERV))
		kvm_hypercall(c);
	else if (cpl(c) || !pv_hv_hypercall(c))
		cpu_raise(c, VEC_UD);
	if (atomic_load_explicit(&c->hot.pending, memory_order_relaxed))
		interp_leave(c);
}

#define BIND(name)                                                                                 \
	static int bind_##name(const struct dec *d, struct insn *i)                                \
	{                                                                                          \
		i->fn = name;                                                                      \
		return 0;                                                                          \
	}
#define BIND_MEM(name)                                                                             \
	static int bind_##name(const struct dec *d, struct insn *i)                                \
	{                                                                                          \
		i->fn = name;                                                                      \
		return i->flags & INSN_MEM ? 0 : -EINVAL;                                          \
	}
BIND(hlt)
BIND(cli)
BIND(sti)
BIND_MEM(lgdt)
BIND_MEM(lidt)
BIND_MEM(sgdt)
BIND_MEM(sidt)
BIND(flush_caches)
BIND(hypercall)

static int bind_undefined(const struct dec *d, struct insn *i)
{
	return -EINVAL;
}

const struct interp_op interp_ops_sysmisc[] = {
	{ ZYDIS_MNEMONIC_HLT, bind_hlt },
	{ ZYDIS_MNEMONIC_CLI, bind_cli },
	{ ZYDIS_MNEMONIC_STI, bind_sti },
	{ ZYDIS_MNEMONIC_LGDT, bind_lgdt },
	{ ZYDIS_MNEMONIC_LIDT, bind_lidt },
	{ ZYDIS_MNEMONIC_SGDT, bind_sgdt },
	{ ZYDIS_MNEMONIC_SIDT, bind_sidt },
	{ ZYDIS_MNEMONIC_INVD, bind_flush_caches },
	{ ZYDIS_MNEMONIC_WBINVD, bind_flush_caches },
	{ ZYDIS_MNEMONIC_VMCALL, bind_hypercall },
	{ ZYDIS_MNEMONIC_VMMCALL, bind_hypercall },
	/* In instruction sets that are otherwise offered, but not there. */
	{ ZYDIS_MNEMONIC_RSM, bind_undefined },
	{ ZYDIS_MNEMONIC_VMRUN, bind_undefined },
	{ ZYDIS_MNEMONIC_VMLOAD, bind_undefined },
	{ ZYDIS_MNEMONIC_VMSAVE, bind_undefined },
	{ ZYDIS_MNEMONIC_STGI, bind_undefined },
	{ ZYDIS_MNEMONIC_CLGI, bind_undefined },
	{ ZYDIS_MNEMONIC_SKINIT, bind_undefined },
	{ ZYDIS_MNEMONIC_INVLPGA, bind_undefined },
	{ ZYDIS_MNEMONIC_VMXON, bind_undefined },
	{ ZYDIS_MNEMONIC_VMXOFF, bind_undefined },
	{ ZYDIS_MNEMONIC_VMLAUNCH, bind_undefined },
	{ ZYDIS_MNEMONIC_VMRESUME, bind_undefined },
	{ ZYDIS_MNEMONIC_VMPTRLD, bind_undefined },
	{ ZYDIS_MNEMONIC_VMPTRST, bind_undefined },
	{ ZYDIS_MNEMONIC_VMCLEAR, bind_undefined },
	{ ZYDIS_MNEMONIC_VMREAD, bind_undefined },
	{ ZYDIS_MNEMONIC_VMWRITE, bind_undefined },
	{ ZYDIS_MNEMONIC_VMFUNC, bind_undefined },
	{ ZYDIS_MNEMONIC_INVEPT, bind_undefined },
	{ ZYDIS_MNEMONIC_INVVPID, bind_undefined },
	{ 0, NULL },
};
