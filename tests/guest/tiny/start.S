/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entry of the tiny guest: multiboot enters in 32-bit protected mode, paging off, interrupts off.
 * Source: Multiboot Specification 0.6.96, sections 3.1 and 3.2.
 */
#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x00000003

	.section .multiboot, "a"
	.balign 4
	.long MULTIBOOT_MAGIC
	.long MULTIBOOT_FLAGS
	.long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

	.text
	.globl _start
_start:
	cld
	lgdt gdt_pointer
	ljmp $8, $1f
1:	mov $16, %ecx
	mov %ecx, %ds
	mov %ecx, %es
	mov %ecx, %fs
	mov %ecx, %gs
	mov %ecx, %ss
	mov $stack_top, %esp
	push %ebx
	push %eax
	call tiny_main
1:	cli
	hlt
	jmp 1b

	/* Whatever a device makes of the junk that it gets, an interrupt is only counted. */
	.globl interrupt_entry
interrupt_entry:
	incl nr_interrupts
	iret

	/* triple_fault: an interrupt with no room for any handler. */
	.globl triple_fault
triple_fault:
	lidt idt_empty
	int $3
	ret

	/*
	 * compute_long(struct work *, rounds): integer and vector work in 64-bit mode at privilege level 3, where any KVM lets the
	 * processor execute it; the first 4 MiB are mapped where they are. The structure is in registers meanwhile.
	 */
	.globl compute_long
compute_long:
	push %ebx
	push %esi
	push %edi
	push %ebp
	mov 20(%esp), %edi
	mov 24(%esp), %ecx
	mov %esp, %ebp
	movl $(pdpt + 7), pml4
	movl $(pages + 7), pdpt
	movl $0x87, pages
	movl $0x200087, pages + 8
	movl $stack64_top, tss + 4
	mov $tss, %eax
	mov %ax, gdt_tss + 2
	shr $16, %eax
	mov %al, gdt_tss + 4
	mov %ah, gdt_tss + 7
	mov $leave_ring3, %eax	/* #UD */
	mov %ax, idt64 + 0x60
	shr $16, %eax
	movl $0x8e000018, idt64 + 0x62
	mov %ax, idt64 + 0x66
	sidt idt_before
	lidt idt64_pointer
	mov %cr4, %eax
	or $0x620, %eax		/* PAE, OSFXSR, OSXMMEXCPT */
	mov %eax, %cr4
	mov $pml4, %eax
	mov %eax, %cr3
	mov %ecx, %esi
	mov $0xc0000080, %ecx
	rdmsr
	or $0x100, %eax		/* EFER.LME */
	wrmsr
	mov %cr0, %eax
	and $~4, %eax		/* EM */
	or $0x80000002, %eax	/* PG, MP */
	mov %eax, %cr0
	ljmp $0x18, $1f
	.code64
1:	mov %edi, %edi
	mov %ebp, %ebp
	mov %esi, %ecx
	testb $2, gdt_tss + 5(%rip)	/* busy: it is loaded */
	jnz 2f
	mov $0x30, %ax
	ltr %ax
2:	mov $0x2b, %r9d
	mov %r9d, %ds
	mov %r9d, %es
	push %r9
	push $0
	push $2
	push $0x23
	lea 3f(%rip), %r10
	push %r10
	iretq
3:	mov (%rdi), %rax
	mov 8(%rdi), %rdx
	movups 16(%rdi), %xmm0
	movups 32(%rdi), %xmm1
	movups 48(%rdi), %xmm2
	movabs $6364136223846793005, %r8
	mov %rdx, %r15
4:	imul %r8, %rax
	add %r15, %rax
	ror $23, %rax
	movq %rax, %xmm3
	paddq %xmm3, %xmm0
	pshufd $0x4e, %xmm0, %xmm4
	pxor %xmm4, %xmm1
	mulsd %xmm2, %xmm2
	sqrtsd %xmm2, %xmm2
	movq %xmm2, %r9
	xor %r9, %rdx
	rol %rdx
	adc %rax, %rdx
	dec %ecx
	jnz 4b
	mov %rax, (%rdi)
	mov %rdx, 8(%rdi)
	movups %xmm0, 16(%rdi)
	movups %xmm1, 32(%rdi)
	movups %xmm2, 48(%rdi)
	ud2
leave_ring3:
	mov $0x10, %ecx
	mov %ecx, %ss
	mov %rbp, %rsp
	push $8
	lea 5f(%rip), %r10
	push %r10
	lretq
	.code32
5:	mov %cr0, %eax
	and $0x7fffffff, %eax
	mov %eax, %cr0
	mov %ecx, %ds
	mov %ecx, %es
	mov %ecx, %fs
	mov %ecx, %gs
	lidt idt_before
	pop %ebp
	pop %edi
	pop %esi
	pop %ebx
	ret

	.data
	.balign 8
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
	.quad 0x00af9b000000ffff
	.quad 0x00affb000000ffff
	.quad 0x00cff3000000ffff
gdt_tss:
	.quad 0x0000890000000067, 0
gdt_pointer:
	.word . - gdt - 1
	.long gdt
idt64_pointer:
	.word 0x6f
	.long idt64

	.section .rodata
idt_empty:
	.word 0
	.long 0

	.bss
	.balign 4096
pml4:	.skip 4096
pdpt:	.skip 4096
pages:	.skip 4096
idt64:	.skip 0x70
tss:	.skip 104
idt_before: .skip 8
	.balign 16
	.skip 1024
stack64_top:
	.balign 16
	.skip 16384
stack_top:

	.section .note.GNU-stack, "", @progbits
