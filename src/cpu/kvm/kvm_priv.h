/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_KVM_KVM_PRIV_H
#define CPU_KVM_KVM_PRIV_H

#include <linux/kvm.h>

#include "base/err.h"
#include "cpu/cpu_priv.h"

/*
 * Inside the engine on the host's KVM. What is the virtual machine's is in struct kvm_vm (group), what is the
 * vCPU's in struct kvm_cpu (cpu->engine_data).
 *
 * A vCPU's state is in one place at a time: "at home" in cpu->st, or "away" in the kernel. Everything that is rare
 * (events, INIT, debugging, instructions that KVM does not do) happens at home, by the interpreter's code.
 */

/* What the host's KVM can do. */
struct kvm_host {
	int fd;		   /* /dev/kvm */
	uint64_t run_size; /* bytes of struct kvm_run and what follows it */
	uint32_t nr_slots;
	bool is_whole; /* it executes what kernels consist of; else only parts, and only in some modes */
	struct cpuid_limit limit;
};

/*
 * kvm_host_open - open /dev/kvm and look what it can do. kvm_host_close() undoes it.
 *
 * Returns 0; -EOPNOTSUPP (no such device, or it lacks what we need: the story says what); -EACCES and others of open().
 * Thread: any.
 */
_nodiscard_ int kvm_host_open(struct kvm_host *ret, struct err *err);
void kvm_host_close(struct kvm_host *host);

/* kvm_host_keep - the device stays open for all that come later, however this one ends. Thread: one at a time. */
void kvm_host_keep(const struct kvm_host *host);

/*
 * kvm_probe - find out is_whole by a virtual machine whose CPU has the features of @id.
 *
 * @host:   open; run_size is set
 * @shown:  nent says how many there is room for; what a guest's CPUID says although nobody gave it to it
 * Thread: any.
 */
void kvm_probe(struct kvm_host *host, struct kvm_cpuid2 *id, struct kvm_cpuid2 *shown);

/* kvm_ioctl - ioctl() that returns 0, a positive answer, or negative errno. */
_nodiscard_ int kvm_ioctl(int fd, unsigned long request, void *arg);

/* A memory slot as KVM has it; size 0: none. */
struct kvm_slot {
	uint64_t gpa, size; /* bytes; whole pages */
	const uint8_t *hva;
	uint32_t flags; /* KVM_MEM_* */
};

enum { KVM_NR_ROUTES = 24 };

/* A level-triggered message whose end the kernel is to tell. addr 0: none. */
struct kvm_route {
	uint64_t addr;
	uint32_t data;
};

/* The virtual machine of a group. */
struct kvm_vm {
	struct cpu_group *grp;
	struct kvm_host host;
	int fd;
	bool has_lapic;	    /* local APICs are in the kernel */
	bool has_all_modes; /* what is outside of long mode is KVM's, too, not the interpreter's */

	pthread_mutex_t lock;			   /* guards what follows */
	struct kvm_slot slot[PHYSMEM_MAX_REGIONS]; /* as numbered in physmem.region */
	uint64_t *dirty;			   /* room for the bitmap of the largest slot */
	uint64_t dirty_bytes;
	struct kvm_route route[KVM_NR_ROUTES];
	unsigned int next_route;
};

/* kvm_vm_new - a virtual machine without vCPUs and memory. Returns 0 or negative; kvm_vm_free(); NULL is accepted. */
_nodiscard_ int kvm_vm_new(struct cpu_group *grp, struct kvm_vm **ret, struct err *err);
void kvm_vm_free(struct kvm_vm *vm);

/* kvm_vm_sync_memory - make KVM's memory slots what physmem says. No vCPU executes guest code that may see the
 * difference. Returns 0 or negative. Thread: any. */
_nodiscard_ int kvm_vm_sync_memory(struct kvm_vm *vm, struct err *err);

/* kvm_vm_collect - tell physmem of every page that KVM's guests have written since the last call, or since
 * logging began. Thread: any. */
void kvm_vm_collect(struct kvm_vm *vm);

/* A vCPU. */
struct kvm_cpu {
	struct cpu *c;
	struct kvm_vm *vm;
	int fd;
	struct kvm_run *run; /* shared with the kernel; host.run_size bytes */
	bool is_home;	     /* c->st is the state; else the kernel has it */
	bool go_home;	     /* fetch it at the next opportunity */
	bool is_incomplete; /* an instruction is half done: its access was served, KVM does not know yet */
	bool intr_waiting; /* the APIC or the 8259s may have an interrupt */
	bool can_inject;   /* KVM takes an interrupt now */
	int injected; /* at home: vector of an interrupt that was taken and not delivered; -1: none */
	bool is_stale;	     /* memory may have been written since code was decoded */
	uint32_t steps;	     /* at home: execute so many instructions before going away */
	uint64_t tsc_offset; /* what the kernel adds to the host's, if tsc_is_set */
	bool tsc_is_set;

	/* With the APIC in the kernel. */
	struct kvm_lapic_state lapic; /* room for lapic.c */
	_Atomic bool lint1;	      /* any: LINT1 was pulsed */
	int lapic_error; /* a state that was put in did not get there; negative errno */

	struct kvm_xsave xsave; /* room for state.c: too large for a stack */
};

static inline struct kvm_cpu *kvm_cpu(const struct cpu *c)
{
	return c->engine_data;
}

/* kvm_cpu_cpuid - tell KVM the guest's CPUID; once, before the vCPU runs. Returns 0 or negative. */
_nodiscard_ int kvm_cpu_cpuid(struct kvm_cpu *k, struct err *err);

/*
 * kvm_state_put - cpu->st goes into the kernel. Returns 0; -EINVAL: this is a state that this KVM does not hold; others.
 * kvm_state_get - the kernel's state comes into cpu->st; what only we keep stays. Returns 0 or negative.
 *
 * Both: the general registers, system registers, vector state, MSRs, debug registers and pending events; no LAPIC.
 * Thread: the vCPU's own.
 */
_nodiscard_ int kvm_state_put(struct kvm_cpu *k, struct err *err);
_nodiscard_ int kvm_state_get(struct kvm_cpu *k, struct err *err);

/* kvm_tsc_put - the kernel learns of st.tsc_offset when it has changed. Returns 0 or negative. Thread: the vCPU's own. */
_nodiscard_ int kvm_tsc_put(struct kvm_cpu *k, struct err *err);

/* kvm_enable - switch a capability of the virtual machine on; @what: for the story. Returns 0 or negative. */
_nodiscard_ int kvm_enable(int vm_fd, uint32_t cap, uint64_t arg, const char *what,
			   struct err *err);

/* kvm_lapic_wanted - are local APICs to be the kernel's? Asks what it can do. Thread: any. */
bool kvm_lapic_wanted(const struct kvm_host *host, enum cpu_apic_place place);
/* kvm_lapic_enable - make them so; before there are vCPUs. Returns 0 or negative. */
_nodiscard_ int kvm_lapic_enable(struct kvm_vm *vm, struct err *err);

/*
 * kvm_lapic_put, kvm_lapic_get - st.apic, st.ev's INIT, SIPI and mp_state, and the PV EOI register into the kernel, and out
 * of it.
 *
 * Returns 0 or negative. Thread: any while the vCPU does not run.
 */
_nodiscard_ int kvm_lapic_put(struct kvm_cpu *k, struct err *err);
_nodiscard_ int kvm_lapic_get(struct kvm_cpu *k, struct err *err);

/* kvm_lapic_msi, kvm_lapic_nmi - for struct cpu_engine. kvm_lapic_lint1 - the vCPU's part of an NMI by LINT1; returns 0 or
 * negative. Thread: the vCPU's own. */
int kvm_lapic_msi(struct cpu_group *grp, uint64_t addr, uint32_t data);
void kvm_lapic_nmi(struct cpu_group *grp);
_nodiscard_ int kvm_lapic_lint1(struct kvm_cpu *k, struct err *err);

/* kvm_msr_is_kernels - does KVM keep this register? Others leave KVM_RUN and are served by cpu/msr.c. Thread: any. */
bool kvm_msr_is_kernels(const struct kvm_vm *vm, uint32_t index);

/* kvm_msr_filter - make it so. Returns 0 or negative. */
_nodiscard_ int kvm_msr_filter(struct kvm_vm *vm, struct err *err);

/*
 * kvm_exit - serve what KVM_RUN came back with.
 *
 * Everything in struct kvm_run that the guest has a hand in is checked. Returns 0, or negative when the vCPU cannot go
 * on. Thread: the vCPU's own.
 */
_nodiscard_ int kvm_exit(struct kvm_cpu *k, struct err *err);

#endif
