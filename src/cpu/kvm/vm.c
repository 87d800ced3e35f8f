// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The virtual machine: memory slots, which are physmem's regions, and the log of what its guests write.
 *
 * KVM's guests store without a look at the flags of pages (physmem.h). So the dirty log has a second source: KVM's own
 * log, switched on by a slot's flag while physmem records, and fetched into the first one (kvm_vm_collect) before that
 * is read. The bitmap a slot, not the dirty ring: a ring has to be emptied in time by every vCPU, and its end is
 * a bitmap as well.
 *
 * Slots have the numbers of their regions. A region that has moved is deleted first and added again when all that moved
 * are gone, so that two that change places never overlap.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cpu/kvm/kvm_priv.h"
#include "sys/fd.h"
#include "sys/thread.h"

/* Three pages and one that VMX needs in the guest's address space; between the APICs and the ROMs. */
#define IDENTITY_MAP UINT64_C(0xfeffc000)
#define TSS	     UINT64_C(0xfeffd000)
#define DIRTY_MAX    (UINT64_C(1) << 30)

static struct kvm_slot wanted(const struct physmem *m, unsigned int n)
{
	const struct physmem_region *r = &m->region[n];
	bool is_window = n >= m->nr;
	struct kvm_slot s = { 0 };

	if (n >= m->nr + m->nr_windows || !r->size)
		return s;
	s.gpa = r->gpa;
	s.size = r->size;
	s.hva = r->hva;
	if (r->is_rom)
		s.flags = KVM_MEM_READONLY;
	else if (m->is_logged && !is_window)
		s.flags = KVM_MEM_LOG_DIRTY_PAGES;
	return s;
}

/* May a slot become the other one without being deleted? */
static bool is_same_place(const struct kvm_slot *a, const struct kvm_slot *b)
{
	return a->gpa == b->gpa && a->size == b->size && a->hva == b->hva &&
	       ((a->flags ^ b->flags) & KVM_MEM_READONLY) == 0;
}

static int slot_set(struct kvm_vm *vm, unsigned int n, const struct kvm_slot *s, struct err *err)
{
	struct kvm_userspace_memory_region region = {
		.slot = n,
		.flags = s->flags,
		.guest_phys_addr = s->gpa,
		.memory_size = s->size,
		.userspace_addr = (uint64_t)(uintptr_t)s->hva,
	};
	int r = kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);

	if (r < 0)
		return err_set(err, r, "KVM does not take %llu bytes of memory at 0x%llx: %s",
			       (unsigned long long)s->size, (unsigned long long)s->gpa,
			       strerror(-r));
	vm->slot[n] = *s;
	return 0;
}

static int sync_locked(struct kvm_vm *vm, struct err *err)
{
	const struct kvm_slot none = { 0 };
	int r = 0;

	for (unsigned int n = 0; r == 0 && n < PHYSMEM_MAX_REGIONS; n++) {
		struct kvm_slot want = wanted(vm->grp->mem, n);

		if (vm->slot[n].size && !is_same_place(&vm->slot[n], &want))
			r = slot_set(vm, n, &none, err);
	}
	for (unsigned int n = 0; r == 0 && n < PHYSMEM_MAX_REGIONS; n++) {
		struct kvm_slot want = wanted(vm->grp->mem, n);

		if (want.size && (!vm->slot[n].size || vm->slot[n].flags != want.flags))
			r = slot_set(vm, n, &want, err);
	}
	return r;
}

int kvm_vm_sync_memory(struct kvm_vm *vm, struct err *err)
{
	mutex_guard(&vm->lock);
	return sync_locked(vm, err);
}

/* --- dirty logging -------------------------------------------------------------------------------- */

/* Pages of one word of a bitmap. */
static void tell_written(const struct kvm_vm *vm, unsigned int n, uint64_t page, uint64_t bits)
{
	const struct physmem *m = vm->grp->mem;
	const struct physmem_region *r = &m->region[n];

	for (; bits; bits &= bits - 1) {
		uint64_t off = (page + (uint64_t)__builtin_ctzll(bits)) << GUEST_PAGE_SHIFT;

		if (off < r->size)
			physmem_wrote(m, r, off, GUEST_PAGE_SIZE);
	}
}

static bool has_room(struct kvm_vm *vm, uint64_t bytes)
{
	if (bytes <= vm->dirty_bytes)
		return true;
	free(vm->dirty);
	vm->dirty = NULL;
	vm->dirty_bytes = mem_try(&vm->dirty, bytes, DIRTY_MAX) == 0 ? bytes : 0;
	return vm->dirty_bytes;
}

/* Without the bitmap every page counts as written. */
static void collect_slot(struct kvm_vm *vm, unsigned int n)
{
	uint64_t words = ((vm->slot[n].size >> GUEST_PAGE_SHIFT) + 63) / 64;
	struct kvm_dirty_log log = { .slot = n };
	bool ok = has_room(vm, words * 8);

	if (ok) {
		memset(vm->dirty, 0, words * 8);
		log.dirty_bitmap = vm->dirty;
		ok = kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) == 0;
	}
	for (uint64_t w = 0; w < words; w++)
		tell_written(vm, n, w * 64, ok ? vm->dirty[w] : ~UINT64_C(0));
}

void kvm_vm_collect(struct kvm_vm *vm)
{
	mutex_guard(&vm->lock);
	for (unsigned int n = 0; n < PHYSMEM_MAX_REGIONS; n++)
		if (vm->slot[n].size && (vm->slot[n].flags & KVM_MEM_LOG_DIRTY_PAGES))
			collect_slot(vm, n);
}

static void on_collect(void *arg)
{
	kvm_vm_collect(arg);
}

/* Logging began or ended. Flags of slots that exist always change; if not, physmem must not trust us. */
static int on_log(void *arg)
{
	return kvm_vm_sync_memory(arg, NULL);
}

/* --- life ------------------------------------------------------------------------------------------ */

int kvm_enable(int fd, uint32_t cap, uint64_t arg, const char *what, struct err *err)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { arg } };
	int r = kvm_ioctl(fd, KVM_ENABLE_CAP, &c);

	return r < 0 ? err_set(err, r, "KVM: %s: %s", what, strerror(-r)) : 0;
}

static int set_up(struct kvm_vm *vm, struct err *err)
{
	uint64_t identity = IDENTITY_MAP;
	int r;

	vm->fd = kvm_ioctl(vm->host.fd, KVM_CREATE_VM, NULL);
	if (vm->fd < 0)
		return err_set(err, vm->fd, "KVM: make a virtual machine: %s", strerror(-vm->fd));
	r = kvm_enable(vm->fd, KVM_CAP_X86_USER_SPACE_MSR,
		       KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
			       KVM_MSR_EXIT_REASON_FILTER,
		       "MSRs in user space", err);
	if (r == 0)
		r = kvm_enable(vm->fd, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1,
			       "exits where emulation fails", err);
	if (r == 0)
		r = kvm_msr_filter(vm, err);
	if (r == 0 && vm->has_lapic)
		r = kvm_lapic_enable(vm, err);
	/* Only VMX needs these; others refuse or ignore them. */
	if (r == 0) {
		ignore_result(kvm_ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity));
		ignore_result(kvm_ioctl(vm->fd, KVM_SET_TSS_ADDR, (void *)TSS));
		r = kvm_vm_sync_memory(vm, err);
	}
	return r;
}

int kvm_vm_new(struct cpu_group *grp, struct kvm_vm **ret, struct err *err)
{
	struct kvm_vm *vm = mem_new(sizeof(*vm));
	struct physmem *m = grp->mem;
	int r;

	vm->grp = grp;
	vm->fd = -1;
	vm->host.fd = -1;
	pthread_mutex_init(&vm->lock, NULL);
	r = kvm_host_open(&vm->host, err);
	if (r == 0) {
		vm->has_lapic = kvm_lapic_wanted(&vm->host, grp->apic_place);
		vm->has_all_modes = vm->host.is_whole || vm->has_lapic;
		r = grp->apic_place == CPU_APIC_KERNEL && !vm->has_lapic
			    ? err_set(err, -EOPNOTSUPP, "this host's KVM has no local APICs for us")
			    : set_up(vm, err);
	}
	if (r < 0) {
		kvm_vm_free(vm);
		return r;
	}
	kvm_host_keep(&vm->host);
	m->log_changed = on_log;
	m->log_collect = on_collect;
	m->log_arg = vm;
	*ret = vm;
	return 0;
}

void kvm_vm_free(struct kvm_vm *vm)
{
	struct physmem *m;

	if (!vm)
		return;
	m = vm->grp->mem;
	if (m->log_arg == vm) {
		kvm_vm_collect(vm);
		m->log_changed = NULL;
		m->log_collect = NULL;
		m->log_arg = NULL;
	}
	fd_closep(&vm->fd);
	kvm_host_close(&vm->host);
	pthread_mutex_destroy(&vm->lock);
	free(vm->dirty);
	free(vm);
}
