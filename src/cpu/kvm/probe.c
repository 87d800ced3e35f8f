// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Does this KVM run whole kernels, and in every mode? Tiny ones tell. One is in 64-bit mode and ring 0, and consists of
 * instructions that every present kernel has, but that an emulator made for firmware and devices does not know. The other
 * one switches paging on in 32-bit mode. Where the processor executes guests, both come to their end in some tens of
 * microseconds.
 *
 * Rejected: looking for "vmx" or "svm" in the host's CPUID (a KVM without them may have learnt it, and one with them may
 * stand on a hypervisor that emulates).
 */
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "cpu/kvm/kvm_priv.h"

enum {
	MEMORY = 0x6000,
	ROOT = 0x1000,
	PDPT = 0x2000,
	PD = 0x3000,
	CODE = 0x4000,
	DATA = 0x5000,
	PORT_END = 0x99,
	PTE = 7, /* present, writable, user */
	PTE_LARGE = 0x87,
	TRIES = 16,
};

static const uint8_t program64[] = {
	0xf0, 0x48, 0x0f, 0xc7, 0x0f, /* lock cmpxchg16b (%rdi) */
	0xf3, 0x48, 0x0f, 0xb8, 0xc3, /* popcnt %rbx, %rax */
	0xcc,			      /* int3: the handler ends it */
};
static const uint8_t program32[] = {
	0x0f, 0x20,	0xc0,		  /* mov %cr0, %eax */
	0x0d, 0x00,	0x00, 0x00, 0x80, /* or $0x80000000, %eax */
	0x0f, 0x22,	0xc0,		  /* mov %eax, %cr0 */
	0xeb, 0x00,			  /* jmp . + 2 */
	0x0f, 0x20,	0xc0,		  /* mov %cr0, %eax */
	0xc1, 0xe8,	0x1f,		  /* shr $31, %eax */
	0xe6, PORT_END,			  /* out %al, $PORT_END */
};
static const uint8_t handler[] = {
	0xb0, 1,	/* mov $1, %al */
	0xe6, PORT_END, /* out %al, $PORT_END */
};
enum { HANDLER = CODE + 0x100, IDT = DATA + 0x100, GDT = DATA + 0x200, STACK = DATA + 0xf00 };

static void fill(uint8_t *m, bool is64)
{
	memset(m, 0, MEMORY);
	if (is64) {
		put_le64(m + ROOT, PDPT | PTE);
		put_le64(m + PDPT, PD | PTE);
		put_le64(m + PD, PTE_LARGE);
		memcpy(m + CODE, program64, sizeof(program64));
	} else {
		put_le32(m + ROOT, PTE_LARGE);
		memcpy(m + CODE, program32, sizeof(program32));
	}
	memcpy(m + HANDLER, handler, sizeof(handler));
	put_le64(m + GDT + 8, UINT64_C(0x00af9b000000ffff));
	put_le64(m + GDT + 16, UINT64_C(0x00cf93000000ffff));
	put_le16(m + IDT + 3 * 16, HANDLER);
	put_le16(m + IDT + 3 * 16 + 2, 8);
	m[IDT + 3 * 16 + 5] = 0x8e;
}

static int set_registers(int fd, bool is64)
{
	const struct kvm_segment code = { .limit = UINT32_MAX,
					  .selector = 8,
					  .type = 11,
					  .present = 1,
					  .s = 1,
					  .l = is64,
					  .db = !is64,
					  .g = 1 };
	const struct kvm_segment data = {
		.limit = UINT32_MAX, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1
	};
	struct kvm_regs r = { .rip = CODE, .rdi = DATA, .rsp = STACK, .rflags = RFLAGS_FIXED1 };
	struct kvm_sregs s;

	if (ioctl(fd, KVM_GET_SREGS, &s) < 0)
		return -1;
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cr0 = CR0_PE | CR0_ET | CR0_NE | (is64 ? CR0_WP | CR0_PG : 0);
	s.cr3 = ROOT;
	s.cr4 = is64 ? CR4_PAE | CR4_OSFXSR : CR4_PSE;
	s.efer = is64 ? EFER_LME | EFER_LMA : 0;
	s.gdt.base = GDT;
	s.gdt.limit = 23;
	s.idt.base = IDT;
	s.idt.limit = 0x3f;
	if (ioctl(fd, KVM_SET_SREGS, &s) < 0)
		return -1;
	return ioctl(fd, KVM_SET_REGS, &r);
}

/* Did the program come to its end, and say that all is well? */
static bool reaches_end(int fd, const struct kvm_run *run)
{
	/* A signal for the thread may come in between. */
	for (unsigned int k = 0; k < TRIES; k++)
		if (ioctl(fd, KVM_RUN, 0) == 0)
			return run->exit_reason == KVM_EXIT_IO && run->io.port == PORT_END &&
			       ((const uint8_t *)run)[run->io.data_offset] == 1;
	return false;
}

static bool run_program(int vm, uint8_t *memory, uint64_t run_size, struct kvm_cpuid2 *id,
			bool is64)
{
	int fd = ioctl(vm, KVM_CREATE_VCPU, is64);
	struct kvm_run *run = MAP_FAILED;
	bool ok = false;

	fill(memory, is64);
	if (fd >= 0)
		run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (run != MAP_FAILED && ioctl(fd, KVM_SET_CPUID2, id) == 0 && set_registers(fd, is64) == 0)
		ok = reaches_end(fd, run);
	if (run != MAP_FAILED)
		munmap(run, run_size);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* A CPU that was given no features: which ones does its guest see all the same? */
static void read_shown(int vm, struct kvm_cpuid2 *ret)
{
	static const uint32_t leaf[] = { 0,	     1,		 7,	     0xd,	0x80000000,
					 0x80000001, 0x80000007, 0x80000008, 0x80000021 };
	uint32_t room = ret->nent;
	int fd = ioctl(vm, KVM_CREATE_VCPU, 2);

	memset(ret->entries, 0, room * sizeof(ret->entries[0]));
	for (uint32_t k = 0; k < ARRAY_SIZE(leaf) && k < room; k++) {
		ret->entries[k].function = leaf[k];
		if (leaf[k] == 7 || leaf[k] == 0xd)
			ret->entries[k].flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	}
	ret->entries[0].eax = 0xd;
	ret->entries[4].eax = leaf[ARRAY_SIZE(leaf) - 1];
	ret->nent = ARRAY_SIZE(leaf);
	if (fd < 0 || ioctl(fd, KVM_SET_CPUID2, ret) < 0)
		room = 0;
	ret->nent = room;
	if (room && ioctl(fd, KVM_GET_CPUID2, ret) < 0)
		ret->nent = 0;
	if (fd >= 0)
		close(fd);
}

void kvm_probe(struct kvm_host *h, struct kvm_cpuid2 *id, struct kvm_cpuid2 *shown)
{
	struct kvm_userspace_memory_region slot = { .memory_size = MEMORY };
	int vm = ioctl(h->fd, KVM_CREATE_VM, 0);
	uint8_t *memory;

	h->is_whole = false;
	if (vm < 0) {
		shown->nent = 0;
		return;
	}
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	slot.userspace_addr = (uint64_t)(uintptr_t)memory;
	if (memory != MAP_FAILED && ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) == 0) {
		/* In this order: who lacks paging tells the host's log of every try. */
		h->is_whole = run_program(vm, memory, h->run_size, id, true) &&
			      run_program(vm, memory, h->run_size, id, false);
	}
	if (memory != MAP_FAILED)
		munmap(memory, MEMORY);
	read_shown(vm, shown);
	close(vm);
}
