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

	.section .rodata
	.balign 8
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
gdt_pointer:
	.word . - gdt - 1
	.long gdt
idt_empty:
	.word 0
	.long 0

	.bss
	.balign 16
	.skip 16384
stack_top:

	.section .note.GNU-stack, "", @progbits
