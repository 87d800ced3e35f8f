/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_KVM_GUEST_H
#define TESTS_KVM_GUEST_H

/* The tiny machine of guest.h on the host's KVM. */
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "cpu/kvm/kvm_priv.h"

#include "guest.h"

/* has_kvm - may this process use /dev/kvm? */
static inline bool has_kvm(void)
{
	return access("/dev/kvm", R_OK | W_OK) == 0;
}

/* Every test needs it; says so where it is missing. */
#define NEEDS_KVM()                                                                                \
	do {                                                                                       \
		if (!has_kvm()) {                                                                  \
			print_message("no /dev/kvm\n");                                            \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

/* kvm_guest - a machine whose guest runs by KVM also in modes of which KVM has only the half without paging. */
static inline struct guest *kvm_guest(unsigned int nr_cpus, const char *features)
{
	struct err err = ERR_INIT;
	struct guest *g = guest_new_on(CPU_ENGINE_KVM, nr_cpus, features, &err);

	if (!g)
		fail_msg("%s", err_text(&err));
	g->grp->kvm->has_all_modes = true;
	return g;
}

/* has_kernel_apic - can local APICs be in the kernel? */
static inline bool has_kernel_apic(void)
{
	struct kvm_host host;
	bool ok;

	if (kvm_host_open(&host, NULL) < 0)
		return false;
	ok = kvm_lapic_wanted(&host, CPU_APIC_KERNEL);
	kvm_host_close(&host);
	return ok;
}

/* Two tests of one: with our local APICs, and with the kernel's. */
#define BOTH(name)                                                                                 \
	static void name##_ours(void **state)                                                      \
	{                                                                                          \
		guest_apic = CPU_APIC_OURS;                                                        \
		name(state);                                                                       \
	}                                                                                          \
	static void name##_kernel(void **state)                                                    \
	{                                                                                          \
		NEEDS_KVM();                                                                       \
		if (!has_kernel_apic()) {                                                          \
			print_message("this KVM has no local APICs for us\n");                     \
			skip();                                                                    \
		}                                                                                  \
		guest_apic = CPU_APIC_KERNEL;                                                      \
		name(state);                                                                       \
	}
#define BOTH_TESTS(name) cmocka_unit_test(name##_ours), cmocka_unit_test(name##_kernel)

/* ASM(g, at, "text"): assemble to an address; 64-bit code. ASM16, ASM32: code of other modes. */
#define ASM_(g, at, mode, text)                                                                    \
	do {                                                                                       \
		const uint8_t *code_, *code_end_;                                                  \
		__asm__(".pushsection .rodata\n\t.intel_syntax noprefix\n\t" mode "\n771: " text   \
			"\n772:\n\t.att_syntax prefix\n\t.code64\n\t.popsection\n\t"               \
			"lea 771b(%%rip), %0\n\tlea 772b(%%rip), %1"                               \
			: "=r"(code_), "=r"(code_end_));                                           \
		memcpy((g)->ram + (at), code_, (size_t)(code_end_ - code_));                       \
	} while (0)
#define ASM(g, at, text)   ASM_(g, at, ".code64", text)
#define ASM16(g, at, text) ASM_(g, at, ".code16", text)
#define ASM32(g, at, text) ASM_(g, at, ".code32", text)
#define END		   "; out 0x99, al; 9: jmp 9b"

static inline void go_to_end(struct guest *g)
{
	enum cpu_exit e = guest_go(g);

	if (e != CPU_EXIT_KICKED)
		fail_msg("exit %d at 0x%llx: %s", (int)e, (unsigned long long)g->st.rip,
			 err_text(&g->err));
}

#endif
