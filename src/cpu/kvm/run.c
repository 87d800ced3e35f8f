// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine on the host's KVM: its run loop.
 *
 *	         put state                 an event, a request, an instruction that KVM does not do
 *	at home ----------> away, in KVM_RUN --------------------------------------------> at home
 *	  |  events.c: exceptions, NMI, INIT, SIPI, sleeping     |  devices, MSRs, HLT, interrupts
 *	  |  interp: `steps` instructions, modes without KVM     |
 *
 * Where the local APIC is ours, as under the other engines, KVM is told an interrupt when it can take one
 * (KVM_INTERRUPT), and tells us when it can (interrupt window). Where it is the kernel's (lapic.c), that is left for the
 * 8259s' interrupts, and HLT, INIT and SIPI do not get here. What is rare is done at home by the interpreter's code, which has it
 * all: that leaves a small loop here, and the same behaviour.
 *
 * To be woken: a waker sets a pending bit first and looks for `kvm_tid` second, we publish kvm_tid first and look at
 * the bits second; the signal it then sends is blocked outside of KVM_RUN, so it is never lost and interrupts no
 * device. No handler runs.
 *
 * A debugger's wishes are the interpreter's: KVM has four breakpoints where we offer 64, and a single step that not every
 * back end keeps from the guest.
 *
 * Rejected: fetching registers by KVM_CAP_SYNC_REGS (saves three system calls where a dozen are made, rarely).
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "cpu/apic.h"
#include "cpu/exclusive.h"
#include "cpu/interp/block.h"
#include "cpu/interp/vcpu_sys.h"
#include "cpu/kvm/kvm_priv.h"
#include "cpu/pv/pv.h"
#include "sys/thread.h"

enum { NO_VECTOR = -1, KERNEL_SIGSET_BYTES = 8 };

/* --- at home --------------------------------------------------------------------------------------- */

/* What has been decoded may have been written since, by code that ran away from here: compare it. */
static void distrust_code(struct cpu *c)
{
	uint64_t gpa, lin = block_lin(c);
	_Atomic uint8_t *flags;
	const uint8_t *host;

	if ((lin & GUEST_PAGE_MASK) + INSN_MAX_LEN > GUEST_PAGE_SIZE) {
		block_cache_drop(c);
		return;
	}
	host = mem_fetch(c, lin, &gpa, &flags);
	if (host)
		atomic_fetch_add(&code_page_get(c->grp->code, host)->generation, 1);
}

static void step(struct cpu *c)
{
	distrust_code(c);
	event_step_begin(c);
	interp_step(c);
	event_step_end(c);
	if (c->mode != CPU_MODE_64)
		c->st.rip = (uint32_t)c->st.rip;
}

/* In a mode that KVM does not have; until it is left. */
static void run_blocks(struct kvm_cpu *k)
{
	struct cpu *c = k->c;

	if (k->is_stale)
		block_cache_drop(c);
	k->is_stale = false;
	interp_run_blocks(c);
}

/*
 * Events, `steps` instructions, and modes that are the interpreter's; faults come back here. Returns true to go away;
 * false to leave cpu_run().
 */
static _noinline_ bool at_home(struct kvm_cpu *k, enum cpu_exit *ret, struct err *err)
{
	struct cpu *c = k->c;

	if (setjmp(c->fault_jmp))
		interp_account_fault(c);
	for (;;) {
		if (k->injected != NO_VECTOR) {
			unsigned int vector = (unsigned int)k->injected;

			k->injected = NO_VECTOR;
			event_inject(c, vector);
		}
		if (atomic_load_explicit(&c->hot.pending, memory_order_relaxed) | c->hot.due)
			if (!event_deliver_pending(c, ret, err))
				return false;
		if (k->steps) {
			k->steps--;
			step(c);
		} else if (c->hot.key) {
			return true;
		} else if (c->hot.due & DUE_STEP) {
			step(c);
		} else {
			run_blocks(k);
		}
	}
}

/* Returns 0, or negative when the vCPU cannot go on. */
static int go_away(struct kvm_cpu *k, struct err *err)
{
	int r = kvm_vm_sync_memory(k->vm, err);

	if (r == 0)
		r = kvm_state_put(k, err);
	if (r < 0)
		return r;
	k->c->stats.kvm_entries++;
	k->is_home = k->go_home = k->can_inject = false;
	k->intr_waiting = k->is_stale = true;
	return 0;
}

/* The mode or the address space changed: whose is it? */
static void on_mode(struct cpu *c)
{
	c->hot.key = c->grp->kvm->has_all_modes || c->long_mode;
}

/* --- away ------------------------------------------------------------------------------------------ */

static void eat_signal(void)
{
	static const struct timespec now = { 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, CPU_KICK_SIGNAL);
	(void)sigtimedwait(&set, NULL, &now); /* there may be none */
}

/* Enter the kernel, unless somebody wants something and it is not to be @forced. Returns 0; 1: it was interrupted;
 * negative. */
static int enter(struct kvm_cpu *k, bool forced, struct err *err)
{
	struct cpu *c = k->c;
	int r = -EINTR;

	k->run->cr8 = c->st.apic.tpr >> 4; /* the kernel's own APIC does not look at it */
	atomic_store(&c->kvm_tid, (int32_t)gettid());
	if (forced || !atomic_load(&c->hot.pending)) {
		cpu_at(c, CPU_AT_CODE);
		r = kvm_ioctl(k->fd, KVM_RUN, NULL);
		cpu_at(c, CPU_AT_MONITOR);
	}
	atomic_store(&c->kvm_tid, 0);
	if (!k->vm->has_lapic && ((k->run->cr8 ^ c->st.apic.tpr >> 4) & 15))
		apic_set_cr8(c, k->run->cr8 & 15);
	if (r == -EINTR || r == -EAGAIN) {
		eat_signal();
		return 1;
	}
	if (r < 0)
		return err_set(err, r, "KVM: run the guest: %s", strerror(-r));
	return 0;
}

static int complete_access(struct kvm_cpu *k, struct err *err)
{
	int r = 0;

	k->run->immediate_exit = 1;
	while (r >= 0 && k->is_incomplete) {
		k->is_incomplete = false;
		r = enter(k, true, err);
		if (r == 0)
			r = kvm_exit(k, err);
	}
	k->run->immediate_exit = 0;
	return r < 0 ? r : 0;
}

/*
 * Let the kernel complete the instruction whose access was served. And what it would have told when it is entered the
 * next time: the end of an interrupt is in no state that can be fetched. A signal keeps it from executing the guest.
 */
static int complete(struct kvm_cpu *k, struct err *err)
{
	int r = complete_access(k, err);

	while (r == 0 && k->vm->has_lapic) {
		syscall(SYS_tgkill, getpid(), gettid(), CPU_KICK_SIGNAL);
		r = enter(k, true, err);
		if (r)
			return r < 0 ? r : 0;
		r = kvm_exit(k, err);
		if (r == 0)
			r = complete_access(k, err);
	}
	return r;
}

static int come_home(struct kvm_cpu *k, struct err *err)
{
	uint8_t mp_state;
	int r = complete(k, err);

	if (r < 0)
		return r;
	mp_state = k->c->st.ev.mp_state;
	r = kvm_state_get(k, err);
	if (r < 0)
		return r;
	k->is_home = true;
	k->go_home = false;
	ignore_result(
		pv_awake(k->c)); /* the TLB here is made anew, and the kernel empties its own */
	/* What it tried first is not to be seen. */
	if (k->steps && k->c->st.ev.exc_vector == VEC_UD)
		k->c->st.ev.exc_pending = false;
	event_mp_state(k->c, mp_state);
	interp_engine.state_loaded(k->c);
	return 0;
}

/* Is there one that we would give it? With the APIC in the kernel only the 8259s are ours. */
static bool has_interrupt(const struct kvm_cpu *k)
{
	if (k->vm->has_lapic)
		return __atomic_load_n(&k->c->st.ev.extint, __ATOMIC_RELAXED);
	return apic_has_interrupt(k->c);
}

/* Tell KVM an interrupt, or ask it to say when it can take one. */
static int offer_interrupt(struct kvm_cpu *k, struct err *err)
{
	struct cpu *c = k->c;
	struct kvm_interrupt irq;
	int vector, r;

	k->run->request_interrupt_window = 0;
	if (k->intr_waiting && k->can_inject && has_interrupt(k)) {
		vector = k->vm->has_lapic ? c->grp->ops->extint_ack(c->grp->arg) : apic_accept(c);
		if (vector >= 0) {
			c->stats.interrupts++;
			irq.irq = (uint32_t)vector;
			k->can_inject = false;
			r = kvm_ioctl(k->fd, KVM_INTERRUPT, &irq);
			if (r < 0)
				return err_set(err, r, "KVM: interrupt %d: %s", vector,
					       strerror(-r));
		}
	}
	k->intr_waiting = k->intr_waiting && has_interrupt(k);
	k->run->request_interrupt_window = k->intr_waiting;
	return 0;
}

/* In HLT: wait for something. Returns true when the guest goes on. */
static bool halted(struct kvm_cpu *k)
{
	struct cpu *c = k->c;

	if (k->intr_waiting && k->run->if_flag && apic_has_interrupt(c)) {
		event_mp_state(c, CPU_MP_RUNNING);
		return true;
	}
	exclusive_leave(c);
	cpu_sleep(c);
	exclusive_enter(c);
	return false;
}

static int run_away(struct kvm_cpu *k, struct err *err)
{
	struct cpu *c = k->c;
	uint32_t pending = atomic_load(&c->hot.pending);
	int r;

	if (pending & CPU_PEND_INTR) {
		atomic_fetch_and(&c->hot.pending, ~(uint32_t)CPU_PEND_INTR);
		k->intr_waiting = true;
	}
	if ((pending & ~(uint32_t)CPU_PEND_INTR) || k->go_home)
		return come_home(k, err);
	if (c->st.ev.mp_state == CPU_MP_HALTED && !halted(k))
		return 0;
	r = kvm_tsc_put(k, err);
	if (r == 0 && atomic_exchange(&k->lint1, false))
		r = kvm_lapic_lint1(k, err);
	if (r == 0)
		r = offer_interrupt(k, err);
	if (r < 0)
		return r;
	k->is_incomplete = false;
	r = enter(k, false, err);
	if (r < 0)
		return r;
	k->can_inject = k->run->ready_for_interrupt_injection;
	return r == 0 ? kvm_exit(k, err) : 0;
}

/* --- the engine ------------------------------------------------------------------------------------ */

static _noinline_ enum cpu_exit loop(struct kvm_cpu *k, struct err *err)
{
	enum cpu_exit exit = CPU_EXIT_ERROR;
	int r = 0;

	while (r == 0) {
		if (!k->is_home)
			r = run_away(k, err);
		else if (at_home(k, &exit, err))
			r = go_away(k, err);
		else
			return exit;
	}
	return CPU_EXIT_ERROR;
}

/* The signal of cpu_wake() comes through in KVM_RUN only. */
static int set_signals(struct kvm_cpu *k, struct err *err)
{
	_Alignas(struct kvm_signal_mask)
		uint8_t room[sizeof(struct kvm_signal_mask) + KERNEL_SIGSET_BYTES];
	struct kvm_signal_mask *m = (struct kvm_signal_mask *)(void *)room;
	sigset_t kick, set;
	int r;

	sigemptyset(&kick);
	sigaddset(&kick, CPU_KICK_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &kick, &set);
	sigdelset(&set, CPU_KICK_SIGNAL);
	m->len = KERNEL_SIGSET_BYTES;
	memcpy(m->sigset, &set, KERNEL_SIGSET_BYTES);
	r = kvm_ioctl(k->fd, KVM_SET_SIGNAL_MASK, m);
	return r < 0 ? err_set(err, r, "KVM: signals of a vCPU: %s", strerror(-r)) : 0;
}

static enum cpu_exit kvm_run(struct cpu *c, struct err *err)
{
	struct kvm_cpu *k = kvm_cpu(c);
	enum cpu_exit exit;

	if (c->debug.single_step || c->debug.nr_breaks || c->grp->trace) {
		if (!k->vm->has_lapic)
			return interp_engine.run(c, err);
		err_set(err, -EOPNOTSUPP, "a debugger needs local APICs outside of the kernel");
		return CPU_EXIT_ERROR;
	}
	if (k->lapic_error < 0) {
		err_set(err, k->lapic_error, "KVM: set the APIC: %s", strerror(-k->lapic_error));
		return CPU_EXIT_ERROR;
	}
	/* Whether it is halted is the kernel's knowledge then. */
	if (k->vm->has_lapic && c->st.ev.mp_state != CPU_MP_SHUTDOWN)
		event_mp_state(c, CPU_MP_RUNNING);
	if (set_signals(k, err) < 0)
		return CPU_EXIT_ERROR;
	exclusive_enter(c);
	exit = loop(k, err);
	exclusive_leave(c);
	return exit;
}

/* What depends on whose the local APICs are. */
static void place_limit(const struct kvm_vm *vm, struct cpuid_limit *l)
{
	/* The kernel sends interrupts by hypercall only between APICs of its own, and those take none from Hyper-V's registers. */
	static const uint8_t for_its[] = { CPUID_KVM_IPI },
			     for_ours[] = { CPUID_HV_SYNIC, CPUID_HV_APIC };
	const uint8_t *no = vm->has_lapic ? for_ours : for_its;
	size_t nr = vm->has_lapic ? ARRAY_SIZE(for_ours) : ARRAY_SIZE(for_its);

	for (size_t k = 0; k < nr; k++)
		l->features[no[k] / 64] &= ~(UINT64_C(1) << (no[k] % 64));
}

static int kvm_admit(struct cpu_group *grp, struct cpuid_limit *ret, struct err *err)
{
	int r = kvm_vm_new(grp, &grp->kvm, err);

	if (r < 0)
		return r;
	*ret = grp->kvm->host.limit;
	place_limit(grp->kvm, ret);
	/* Without hardware assistance programs read the host's TSC: let the guest's be that. */
	if (!grp->kvm->host.is_whole && !grp->cpu[0])
		grp->start_tsc = 0;
	return 0;
}

static void kvm_release(struct cpu_group *grp)
{
	kvm_vm_free(grp->kvm);
	grp->kvm = NULL;
}

static int make_vcpu(struct kvm_cpu *k, struct err *err)
{
	struct kvm_vm *vm = k->vm;
	void *run;

	k->fd = kvm_ioctl(vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)k->c->index);
	if (k->fd < 0)
		return err_set(err, k->fd, "KVM: make a vCPU: %s", strerror(-k->fd));
	run = mmap(NULL, vm->host.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
	if (run == MAP_FAILED)
		return err_set_errno(err, "KVM: map what a vCPU shares");
	k->run = run;
	return kvm_cpu_cpuid(k, err);
}

static int kvm_init(struct cpu *c, struct err *err)
{
	int r = interp_engine.init(c, err);
	struct kvm_cpu *k;

	if (r < 0)
		return r;
	k = mem_new(sizeof(*k));
	k->c = c;
	k->vm = c->grp->kvm;
	k->fd = -1;
	k->is_home = true;
	k->injected = NO_VECTOR;
	c->engine_data = k;
	c->sys->tlb_selected = on_mode;
	return make_vcpu(k, err);
}

static void kvm_done(struct cpu *c)
{
	struct kvm_cpu *k = kvm_cpu(c);

	interp_engine.done(c);
	if (!k)
		return;
	if (k->run)
		munmap(k->run, k->vm->host.run_size);
	if (k->fd >= 0)
		close(k->fd);
	free(k);
	c->engine_data = NULL;
	c->hot.key = 0;
}

static void kvm_flush(struct cpu *c)
{
	interp_engine.flush(c);
}

/* Nobody runs: the state is at home. What it had taken in hand before is not its any more. */
static void kvm_state_loaded(struct cpu *c)
{
	struct kvm_cpu *k = kvm_cpu(c);

	k->injected = NO_VECTOR;
	k->steps = 0;
	k->tsc_is_set = false;
	k->is_stale = true;
	interp_engine.state_loaded(c);
	if (atomic_load(&c->grp->apic_away))
		k->lapic_error = kvm_lapic_put(k, NULL);
}

/* What is here is not newer than what the kernel has. */
static void kvm_debug_changed(struct cpu *c)
{
	interp_engine.state_loaded(c);
}

static int kvm_adopt(struct cpu_group *grp, struct err *err)
{
	int r = 0;

	if (!grp->kvm->has_lapic)
		return 0;
	for (unsigned int n = 0; r == 0 && n < grp->nr; n++)
		r = kvm_lapic_put(kvm_cpu(grp->cpu[n]), err);
	atomic_store(&grp->apic_away, r == 0);
	for (unsigned int n = 0; n < grp->nr; n++)
		apic_state_loaded(grp->cpu[n]); /* its timer is off now */
	return r;
}

static int kvm_leave(struct cpu_group *grp, struct err *err)
{
	int r = 0;

	if (!atomic_load(&grp->apic_away))
		return 0;
	for (unsigned int n = 0; r == 0 && n < grp->nr; n++)
		r = kvm_lapic_get(kvm_cpu(grp->cpu[n]), err);
	atomic_store(&grp->apic_away, false);
	for (unsigned int n = 0; n < grp->nr; n++)
		apic_state_loaded(grp->cpu[n]);
	return r;
}

/* A vCPU that fails here fails when it runs as well. */
static void kvm_save(struct cpu *c)
{
	if (atomic_load(&c->grp->apic_away))
		ignore_result(kvm_lapic_get(kvm_cpu(c), NULL));
}

const struct cpu_engine kvm_engine = {
	.name = "kvm",
	.admit = kvm_admit,
	.release = kvm_release,
	.adopt = kvm_adopt,
	.leave = kvm_leave,
	.save = kvm_save,
	.msi = kvm_lapic_msi,
	.nmi = kvm_lapic_nmi,
	.init = kvm_init,
	.done = kvm_done,
	.run = kvm_run,
	.flush = kvm_flush,
	.state_loaded = kvm_state_loaded,
	.debug_changed = kvm_debug_changed,
};
