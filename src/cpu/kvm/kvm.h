/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_KVM_KVM_H
#define CPU_KVM_KVM_H

#include <stdbool.h>

/* kvm_is_whole - is there a KVM on this host that we may use and that runs whole kernels? Makes a small virtual machine
 * to find out. Thread: any. */
bool kvm_is_whole(void);

#endif
