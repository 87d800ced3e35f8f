/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Into the instruction under test and back out by a signal. While it runs, every register belongs to it,
 * FS and GS bases too, so nothing here may use thread-local storage or the stack of the C code.
 */
	.text

/* void native_enter(struct native_frame *f): returns when a signal has arrived. Offsets: native.c */
	.globl native_enter
	.type native_enter, @function
native_enter:
	endbr64
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, native_host_rsp(%rip)
	rdfsbase %rax
	mov %rax, native_host_fs(%rip)
	rdgsbase %rax
	mov %rax, native_host_gs(%rip)
	mov $0x2b, %eax
	mov %eax, %ds
	mov %eax, %es
	movb $1, native_running(%rip)
	/* xsave image */
	mov 176(%rdi), %rbx
	mov $7, %eax
	xor %edx, %edx
	xrstor64 (%rbx)
	mov 144(%rdi), %rax
	wrfsbase %rax
	mov 152(%rdi), %rax
	wrgsbase %rax
	/* iret frame */
	pushq $0x2b
	push 32(%rdi)
	push 136(%rdi)
	push 160(%rdi)
	push 128(%rdi)
	mov 0(%rdi), %rax
	mov 8(%rdi), %rcx
	mov 16(%rdi), %rdx
	mov 24(%rdi), %rbx
	mov 40(%rdi), %rbp
	mov 48(%rdi), %rsi
	mov 64(%rdi), %r8
	mov 72(%rdi), %r9
	mov 80(%rdi), %r10
	mov 88(%rdi), %r11
	mov 96(%rdi), %r12
	mov 104(%rdi), %r13
	mov 112(%rdi), %r14
	mov 120(%rdi), %r15
	mov 56(%rdi), %rdi
	iretq

/* Signal handler: (int, siginfo_t *, void *), on the alternate stack. */
	.globl native_signal
	.type native_signal, @function
native_signal:
	endbr64
	/* AC, NT, TF and ID may be the test's; first of all no alignment checks. */
	pushq $0x202
	popfq
	cmpb $0, native_running(%rip)
	je 1f
	rdfsbase %rax
	mov %rax, native_test_fs(%rip)
	rdgsbase %rax
	mov %rax, native_test_gs(%rip)
	mov native_host_fs(%rip), %rax
	wrfsbase %rax
	mov native_host_gs(%rip), %rax
	wrgsbase %rax
	movb $0, native_running(%rip)
	sub $8, %rsp
	call native_caught
	mov native_host_rsp(%rip), %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret
1:	jmp native_foreign

	.bss
	.balign 8
	.globl native_host_rsp, native_host_fs, native_host_gs, native_test_fs, native_test_gs
native_host_rsp: .skip 8
native_host_fs:	.skip 8
native_host_gs:	.skip 8
native_test_fs: .skip 8
native_test_gs: .skip 8
	.globl native_running
native_running: .skip 1

	.section .note.GNU-stack, "", @progbits
