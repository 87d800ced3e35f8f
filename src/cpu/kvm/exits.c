// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What KVM_RUN comes back with, and what is done about it.
 *
 * The page that the kernel shares with us says what the guest wants: sizes, counts and offsets in it are checked, because
 * the guest has a hand in them. Device accesses go where the interpreter's go, so a device cannot tell the engines
 * apart. After an access the kernel has to be entered once more before the instruction is complete (run.c).
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "cpu/apic.h"
#include "cpu/interp/vcpu_sys.h"
#include "cpu/kvm/kvm_priv.h"
#include "cpu/msr.h"

enum { MMIO_MAX = 8 };

static int refuse(struct err *err, const char *what)
{
	return err_set(err, -EIO, "KVM asks for %s that cannot be", what);
}

static int exit_io(struct kvm_cpu *k, struct err *err)
{
	struct cpu *c = k->c;
	struct kvm_run *run = k->run;
	unsigned int size = run->io.size;
	uint64_t bytes = (uint64_t)size * run->io.count;
	uint8_t *p = (uint8_t *)run;

	if ((size != 1 && size != 2 && size != 4) ||
	    !range_ok(run->io.data_offset, bytes, k->vm->host.run_size))
		return refuse(err, "a port access");
	p += run->io.data_offset;
	for (uint32_t n = 0; n < run->io.count; n++, p += size) {
		if (run->io.direction == KVM_EXIT_IO_IN) {
			c->stats.pio_in++;
			put_le(p, c->grp->ops->pio_in(c->grp->arg, run->io.port, size), size);
		} else {
			c->stats.pio_out++;
			c->grp->ops->pio_out(c->grp->arg, run->io.port, size,
					     (uint32_t)get_le(p, size));
		}
	}
	k->is_incomplete = true;
	return 0;
}

static int exit_mmio(struct kvm_cpu *k, struct err *err)
{
	struct kvm_run *run = k->run;
	uint32_t len = run->mmio.len;

	if (!len || len > MMIO_MAX)
		return refuse(err, "a memory access");
	if (run->mmio.is_write)
		mem_io_st(k->c, run->mmio.phys_addr, len, get_le(run->mmio.data, len));
	else
		put_le(run->mmio.data, mem_io_ld(k->c, run->mmio.phys_addr, len), len);
	k->is_incomplete = true;
	return 0;
}

static void exit_rdmsr(struct kvm_cpu *k)
{
	struct kvm_run *run = k->run;
	uint64_t value = 0;

	k->c->stats.msr_read++;
	run->msr.error = kvm_msr_is_kernels(k->vm, run->msr.index) ||
			 msr_read(k->c, run->msr.index, &value) < 0;
	run->msr.data = value;
	k->is_incomplete = true;
}

static void exit_wrmsr(struct kvm_cpu *k)
{
	struct cpu *c = k->c;
	struct kvm_run *run = k->run;
	uint32_t index = run->msr.index;
	bool is_move = index ==
		       MSR_TSC; /* of what is the kernel's, the one that it may not write */

	c->stats.msr_write++;
	run->msr.error = (kvm_msr_is_kernels(k->vm, index) && !is_move) ||
			 msr_write(c, index, run->msr.data) < 0;
	/* The kernel keeps a copy, for CPUID. */
	if (index == MSR_APIC_BASE && !run->msr.error)
		k->go_home = true;
	k->is_incomplete = true;
}

/* An instruction that KVM does not do: the interpreter does. */
static int exit_internal(struct kvm_cpu *k, struct err *err)
{
	const struct kvm_run *run = k->run;

	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION)
		return err_set(err, -EIO, "KVM: internal error %u", run->internal.suberror);
	k->c->stats.kvm_emulated++;
	k->go_home = true;
	k->steps = 1;
	return 0;
}

int kvm_exit(struct kvm_cpu *k, struct err *err)
{
	const struct kvm_run *run = k->run;

	k->c->stats.kvm_exits++;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return exit_io(k, err);
	case KVM_EXIT_MMIO:
		return exit_mmio(k, err);
	case KVM_EXIT_X86_RDMSR:
		exit_rdmsr(k);
		return 0;
	case KVM_EXIT_X86_WRMSR:
		exit_wrmsr(k);
		return 0;
	case KVM_EXIT_HLT:
		event_mp_state(k->c, CPU_MP_HALTED);
		return 0;
	case KVM_EXIT_SHUTDOWN:
		event_mp_state(k->c, CPU_MP_SHUTDOWN);
		k->go_home = true;
		return 0;
	case KVM_EXIT_INTERNAL_ERROR:
		return exit_internal(k, err);
	case KVM_EXIT_IOAPIC_EOI:
		k->c->grp->ops->eoi(k->c->grp->arg, run->eoi.vector);
		return 0;
	case KVM_EXIT_IRQ_WINDOW_OPEN: /* each round looks for interrupts */
	case KVM_EXIT_SET_TPR:	       /* each round looks at CR8 */
	case KVM_EXIT_INTR:
		return 0;
	case KVM_EXIT_FAIL_ENTRY:
		return err_set(err, -EIO, "KVM: the processor refuses the guest's state: 0x%llx",
			       (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
	default:
		return err_set(err, -EIO, "KVM: exit %u is unknown", run->exit_reason);
	}
}
