// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the host's KVM can do: capabilities that the engine needs, and which CPU features a guest may have.
 *
 * KVM names the features that it supports (KVM_GET_SUPPORTED_CPUID); a guest gets those of its model that KVM names, too,
 * and what our own code serves under every engine, because it leaves KVM: the local APIC, its timer, MSRs.
 * A KVM that stands on no hardware assistance emulates kernels with a decoder that was made for firmware, and names
 * features all the same that it then refuses; whether it is such a one is found out by executing such instructions
 * (probe.c), not by names of CPUs. Such a one may run programs on the processor as they are, and then shows guests the
 * features of the processor that programs can use, whatever it was told: the guest gets those, too, and where its kernel
 * uses one, KVM leaves the instruction to us.
 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "cpu/kvm/kvm.h"
#include "cpu/kvm/kvm_priv.h"
#include "sys/fd.h"
#include "sys/thread.h"

enum { MAX_ENTRIES = 256, PHYS_BITS_LEAST = 36, XSAVE_LEAF = 0xd, PKRU_COMPONENT = 9 };

static const struct {
	int cap;
	const char *name;
} needed[] = {
	{ KVM_CAP_USER_MEMORY, "memory slots" },
	{ KVM_CAP_READONLY_MEM, "read-only memory" },
	{ KVM_CAP_IMMEDIATE_EXIT, "immediate exits" },
	{ KVM_CAP_SREGS2, "SREGS2" },
	{ KVM_CAP_XSAVE, "XSAVE state" },
	{ KVM_CAP_DEBUGREGS, "debug registers" },
	{ KVM_CAP_VCPU_EVENTS, "pending events" },
	{ KVM_CAP_X86_USER_SPACE_MSR, "MSRs in user space" },
	{ KVM_CAP_X86_MSR_FILTER, "MSR filters" },
	{ KVM_CAP_VCPU_ATTRIBUTES, "the TSC's offset" },
	{ KVM_CAP_EXIT_ON_EMULATION_FAILURE, "exits where emulation fails" },
};

/* What is served by us, whatever KVM says. */
static const enum cpu_feature ours[] = {
	CPUID_X2APIC,		CPUID_HYPERVISOR,     CPUID_ARAT,
	CPUID_TOPOEXT,		CPUID_TSC_ADJUST,     CPUID_INVARIANT_TSC,
	CPUID_KVM_CLOCK_OLD,	CPUID_KVM_CLOCK,      CPUID_KVM_CLOCK_STABLE,
	CPUID_KVM_NOP_IO_DELAY, CPUID_KVM_EOI,	      CPUID_HYPERV,
	CPUID_HV_TIME,		CPUID_HV_SYNIC,	      CPUID_HV_STIMER,
	CPUID_HV_STIMER_DIRECT, CPUID_HV_APIC,	      CPUID_HV_VPINDEX,
	CPUID_HV_REFERENCE_TSC, CPUID_HV_FREQUENCIES,
};

/* Paravirtual features that are this KVM's to give, not those of a KVM around it, which programs may see. */
static const enum cpu_feature its_own[] = {
	CPUID_KVM_STEAL_TIME, CPUID_KVM_TLB_FLUSH,    CPUID_HV_IPI,
	CPUID_KVM_IPI,	      CPUID_KVM_POLL_CONTROL,
};

/* What a KVM without hardware assistance names and does not do. */
static const enum cpu_feature lies[] = { CPUID_CX16, CPUID_CLWB };

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int r = ioctl(fd, request, arg);

	return r < 0 ? -errno : r;
}

static void allow(struct cpuid_limit *l, enum cpu_feature f, bool on)
{
	uint64_t bit = UINT64_C(1) << (f % 64);

	l->features[f / 64] = on ? l->features[f / 64] | bit : l->features[f / 64] & ~bit;
}

static const struct kvm_cpuid_entry2 *entry_of(const struct kvm_cpuid2 *id, uint32_t leaf,
					       uint32_t subleaf)
{
	for (uint32_t k = 0; k < id->nent; k++) {
		const struct kvm_cpuid_entry2 *e = &id->entries[k];

		if (e->function == leaf &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf))
			return e;
	}
	return NULL;
}

static bool is_supported(const struct kvm_cpuid2 *id, enum cpu_feature f)
{
	struct cpuid_place p = cpuid_place(f);
	const struct kvm_cpuid_entry2 *e = entry_of(id, p.leaf, p.subleaf);
	uint32_t reg[4];

	if (!e)
		return false;
	reg[0] = e->eax;
	reg[1] = e->ebx;
	reg[2] = e->ecx;
	reg[3] = e->edx;
	return reg[p.reg] >> p.bit & 1;
}

/* Intel's KVM may serve writes of the deadline on a fast path that knows of no APIC outside of it. */
static bool is_vmx(void)
{
	uint32_t a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c >> 5 & 1);
}

static void limit_from(struct kvm_host *h, const struct kvm_cpuid2 *id,
		       const struct kvm_cpuid2 *shown)
{
	const struct kvm_cpuid_entry2 *e;
	struct cpuid_limit *l = &h->limit;

	l->who = "this host's KVM";
	for (unsigned int f = 0; f < CPUID_NR_FEATURES; f++)
		allow(l, f, is_supported(id, f) || is_supported(shown, f));
	for (unsigned int k = 0; k < ARRAY_SIZE(its_own); k++)
		allow(l, its_own[k], is_supported(id, its_own[k]));
	for (unsigned int k = 0; k < ARRAY_SIZE(ours); k++)
		allow(l, ours[k], true);
	allow(l, CPUID_TSC_DEADLINE, !is_vmx());
	for (unsigned int k = 0; !h->is_whole && k < ARRAY_SIZE(lies); k++)
		allow(l, lies[k], false);
	/* The guest's XSAVE stores it where the host's does. */
	e = entry_of(id, XSAVE_LEAF, PKRU_COMPONENT);
	if (!e || e->ebx != XSAVE_PKRU)
		allow(l, CPUID_PKU, false);
	allow(l, CPUID_PKS, false); /* its MSR is not virtualised */
	e = entry_of(id, 0x80000008, 0);
	l->phys_bits = e ? e->eax & 0xff : PHYS_BITS_LEAST;
}

static int read_cpuid(struct kvm_host *h, struct err *err)
{
	const size_t size =
		sizeof(struct kvm_cpuid2) + MAX_ENTRIES * sizeof(struct kvm_cpuid_entry2);
	struct kvm_cpuid2 *id = mem_new(size), *shown = mem_new(size);
	int r;

	id->nent = shown->nent = MAX_ENTRIES;
	r = kvm_ioctl(h->fd, KVM_GET_SUPPORTED_CPUID, id);
	if (r < 0)
		r = err_set(err, r, "what CPU features KVM supports: %s", strerror(-r));
	if (r == 0) {
		kvm_probe(h, id, shown);
		limit_from(h, id, shown);
	}
	free(id);
	free(shown);
	return r;
}

static int check(struct kvm_host *h, struct err *err)
{
	int r = kvm_ioctl(h->fd, KVM_GET_API_VERSION, NULL);

	if (r != KVM_API_VERSION)
		return err_set(err, -EOPNOTSUPP,
			       "/dev/kvm has version %d of the interface; %d works", r,
			       KVM_API_VERSION);
	for (unsigned int k = 0; k < ARRAY_SIZE(needed); k++)
		if (kvm_ioctl(h->fd, KVM_CHECK_EXTENSION, (void *)(uintptr_t)needed[k].cap) <= 0)
			return err_set(err, -EOPNOTSUPP,
				       "this host's KVM lacks %s; Linux 5.16 and later have it",
				       needed[k].name);
	r = kvm_ioctl(h->fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (r < (int)sizeof(struct kvm_run))
		return err_set(err, -EOPNOTSUPP, "this host's KVM shares only %d bytes a vCPU", r);
	h->run_size = (uint64_t)r;
	r = kvm_ioctl(h->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_NR_MEMSLOTS);
	h->nr_slots = r > 0 ? (uint32_t)r : 32;
	if (h->nr_slots < PHYSMEM_MAX_REGIONS)
		return err_set(err, -EOPNOTSUPP,
			       "this host's KVM has only %u memory slots; %d work", h->nr_slots,
			       PHYSMEM_MAX_REGIONS);
	return 0;
}

/* The host stays what it is: the probe is made once. */
static struct kvm_host known; /* run_size is 0: not yet */
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;

static int look(struct kvm_host *h, struct err *err)
{
	int fd = h->fd, r = 0;

	mutex_guard(&known_lock);
	if (known.run_size) {
		*h = known;
		h->fd = fd;
		return 0;
	}
	r = check(h, err);
	if (r == 0)
		r = read_cpuid(h, err);
	if (r == 0)
		known = *h;
	return r;
}

/* A machine that began on this engine may come back to it when it cannot open anything any more (sys/sandbox). */
static _Atomic int kept_fd = -1;

void kvm_host_keep(const struct kvm_host *h)
{
	if (atomic_load(&kept_fd) < 0)
		atomic_store(&kept_fd, fcntl(h->fd, F_DUPFD_CLOEXEC, 0));
}

int kvm_host_open(struct kvm_host *ret, struct err *err)
{
	int kept = atomic_load(&kept_fd), r;
	struct kvm_host h = { .fd = kept >= 0 ? fcntl(kept, F_DUPFD_CLOEXEC, 0)
					      : open("/dev/kvm", O_RDWR | O_CLOEXEC) };

	if (h.fd < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV))
		return err_set(err, -EOPNOTSUPP,
			       "this host has no /dev/kvm; engine 'dbt' needs none");
	if (h.fd < 0)
		return err_set_errno(err, "/dev/kvm");
	r = look(&h, err);
	if (r < 0) {
		close(h.fd);
		return r;
	}
	*ret = h;
	return 0;
}

void kvm_host_close(struct kvm_host *h)
{
	fd_closep(&h->fd);
}

/* Saves those the probe who have a KVM that only emulates. */
static bool is_assisted(void)
{
	uint32_t a, b, c, d;

	return is_vmx() || (__get_cpuid(0x80000001, &a, &b, &c, &d) && (c >> 2 & 1));
}

bool kvm_is_whole(void)
{
	struct kvm_host h;
	bool whole;

	if (!is_assisted() || kvm_host_open(&h, NULL) < 0)
		return false;
	whole = h.is_whole;
	kvm_host_close(&h);
	return whole;
}
