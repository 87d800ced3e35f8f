// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What runs in the guest's kernel mode: a dispatcher that carries out commands from memory, and ways in that save
 * the registers, tell the test by a port, and go back to the dispatcher. The test writes commands while the
 * vCPU stands at that port. So what a real kernel does (page tables, address spaces, returns to programs) is
 * done by guest code, and no state is put in from outside that would make an engine forget what it knows.
 *
 * Position independent; copied to VM_KERNEL. Offsets are known to vm.h.
 */
#define SAVE_ALL                                                                                   \
	"mov %rax, k_save(%rip)\n"                                                                 \
	"mov %rcx, k_save+8(%rip)\n"                                                               \
	"mov %rdx, k_save+16(%rip)\n"                                                              \
	"mov %rbx, k_save+24(%rip)\n"                                                              \
	"mov %rsp, k_save+32(%rip)\n"                                                              \
	"mov %rbp, k_save+40(%rip)\n"                                                              \
	"mov %rsi, k_save+48(%rip)\n"                                                              \
	"mov %rdi, k_save+56(%rip)\n"                                                              \
	"mov %r8, k_save+64(%rip)\n"                                                               \
	"mov %r9, k_save+72(%rip)\n"                                                               \
	"mov %r10, k_save+80(%rip)\n"                                                              \
	"mov %r11, k_save+88(%rip)\n"                                                              \
	"mov %r12, k_save+96(%rip)\n"                                                              \
	"mov %r13, k_save+104(%rip)\n"                                                             \
	"mov %r14, k_save+112(%rip)\n"                                                             \
	"mov %r15, k_save+120(%rip)\n"

/* All but rsp, rcx, r11 and rbx, which is the pointer. */
#define LOAD_MOST                                                                                  \
	"mov (%rbx), %rax\n"                                                                       \
	"mov 16(%rbx), %rdx\n"                                                                     \
	"mov 40(%rbx), %rbp\n"                                                                     \
	"mov 48(%rbx), %rsi\n"                                                                     \
	"mov 56(%rbx), %rdi\n"                                                                     \
	"mov 64(%rbx), %r8\n"                                                                      \
	"mov 72(%rbx), %r9\n"                                                                      \
	"mov 80(%rbx), %r10\n"                                                                     \
	"mov 96(%rbx), %r12\n"                                                                     \
	"mov 104(%rbx), %r13\n"                                                                    \
	"mov 112(%rbx), %r14\n"                                                                    \
	"mov 120(%rbx), %r15\n"

__asm__(".pushsection .rodata\n"
	".balign 4096\n"
	".globl dbt_kernel, dbt_kernel_end\n"
	"dbt_kernel:\n"
	/* 256 ways in, 16 bytes each */
	".set v, 0\n"
	".rept 256\n"
	".balign 16, 0x90\n"
	".if (v == 8) || ((v >= 10) && (v <= 14)) || (v == 17)\n"
	".else\n"
	"pushq $0\n"
	".endif\n"
	"pushq $v\n"
	"jmp k_common\n"
	".set v, v + 1\n"
	".endr\n"
	".balign 4096\n"
	/* +0x1000: the dispatcher, for the first time */
	"jmp k_dispatch\n"
	".balign 64\n"
	/* +0x1040: SYSCALL */
	SAVE_ALL "movq $0x100, k_vector(%rip)\n"
	"out %al, $0x80\n"
	"jmp k_dispatch\n"
	".balign 64\n"
	".org dbt_kernel + 0x1100\n"
	/* +0x1100: the interrupt, which goes back to where it came from */
	"push %rax\n"
	"push %rcx\n"
	"push %rdx\n"
	"incq k_count(%rip)\n"
	"mov $0x80b, %ecx\n"
	"xor %eax, %eax\n"
	"xor %edx, %edx\n"
	"wrmsr\n"
	"cmpq $0, k_quiet(%rip)\n"
	"jne 1f\n"
	"out %al, $0x82\n"
	"1: pop %rdx\n"
	"pop %rcx\n"
	"pop %rax\n"
	"iretq\n"
	".balign 64\n"
	"k_common:\n" SAVE_ALL "pop %rax\n"
	"mov %rax, k_vector(%rip)\n"
	"out %al, $0x80\n"
	"k_dispatch:\n"
	"cld\n"
	"lea dbt_kernel+0x7000(%rip), %rsp\n"
	"lea k_cmd(%rip), %rbx\n"
	"k_next:\n"
	"mov (%rbx), %rax\n"
	"lea k_table(%rip), %rdx\n"
	"movslq (%rdx,%rax,4), %rax\n"
	"add %rdx, %rax\n"
	"jmp *%rax\n"
	"k_table:\n"
	".long c_end - k_table, c_iret - k_table, c_sysret - k_table, c_sysret32 - k_table\n"
	".long c_cr3 - k_table, c_invlpg - k_table, c_store - k_table, c_copy - k_table\n"
	".long c_cr4 - k_table, c_cr0 - k_table, c_xrstor - k_table, c_enable - k_table\n"
	".long c_out - k_table\n"
	"c_end: out %al, $0x81\n"
	"jmp k_dispatch\n"
	"c_iret:\n"
	"lea k_run(%rip), %rbx\n"
	"pushq 160(%rbx)\n"
	"pushq 152(%rbx)\n"
	"pushq 144(%rbx)\n"
	"pushq 136(%rbx)\n"
	"pushq 128(%rbx)\n" LOAD_MOST "mov 8(%rbx), %rcx\n"
	"mov 88(%rbx), %r11\n"
	"mov 24(%rbx), %rbx\n"
	"iretq\n"
	"c_sysret:\n"
	"lea k_run(%rip), %rbx\n" LOAD_MOST "mov 128(%rbx), %rcx\n"
	"mov 144(%rbx), %r11\n"
	"mov 152(%rbx), %rsp\n"
	"mov 24(%rbx), %rbx\n"
	"sysretq\n"
	"c_sysret32:\n"
	"lea k_run(%rip), %rbx\n" LOAD_MOST "mov 128(%rbx), %rcx\n"
	"mov 144(%rbx), %r11\n"
	"mov 152(%rbx), %rsp\n"
	"mov 24(%rbx), %rbx\n"
	"sysretl\n"
	"c_cr3: mov 8(%rbx), %rax\n"
	"mov %rax, %cr3\n"
	"jmp k_done\n"
	"c_invlpg: mov 8(%rbx), %rax\n"
	"invlpg (%rax)\n"
	"jmp k_done\n"
	/* address, value, log2 of the size */
	"c_store: mov 8(%rbx), %rdi\n"
	"mov 16(%rbx), %rax\n"
	"mov 24(%rbx), %rcx\n"
	"cmp $1, %rcx\n"
	"jb 1f\n"
	"je 2f\n"
	"cmp $3, %rcx\n"
	"jb 3f\n"
	"mov %rax, (%rdi)\n"
	"jmp k_done\n"
	"1: mov %al, (%rdi)\n"
	"jmp k_done\n"
	"2: mov %ax, (%rdi)\n"
	"jmp k_done\n"
	"3: mov %eax, (%rdi)\n"
	"jmp k_done\n"
	/* from, to, count, how */
	"c_copy: mov 8(%rbx), %rsi\n"
	"mov 16(%rbx), %rdi\n"
	"mov 24(%rbx), %rcx\n"
	"cmpq $1, 32(%rbx)\n"
	"je 1f\n"
	"ja 2f\n"
	"rep movsb\n"
	"jmp k_done\n"
	"1: std\n" /* from the end */
	"lea -1(%rsi,%rcx), %rsi\n"
	"lea -1(%rdi,%rcx), %rdi\n"
	"rep movsb\n"
	"cld\n"
	"jmp k_done\n"
	"2: test %rcx, %rcx\n"
	"je k_done\n"
	"3: mov (%rsi), %al\n"
	"mov %al, (%rdi)\n"
	"inc %rsi\n"
	"inc %rdi\n"
	"loop 3b\n"
	"jmp k_done\n"
	"c_cr4: mov 8(%rbx), %rax\n"
	"mov %rax, %cr4\n"
	"jmp k_done\n"
	"c_cr0: mov 8(%rbx), %rax\n"
	"mov %rax, %cr0\n"
	"jmp k_done\n"
	"c_xrstor: mov 8(%rbx), %rcx\n"
	"mov $7, %eax\n"
	"xor %edx, %edx\n"
	"xrstor64 (%rcx)\n"
	"jmp k_done\n"
	"c_enable: sti\n"
	"nop\n"
	"nop\n"
	"cli\n"
	"jmp k_done\n"
	"c_out: mov 8(%rbx), %rax\n"
	"out %al, $0x84\n"
	"k_done: add $64, %rbx\n"
	"jmp k_next\n"
	".balign 4096\n"
	/* +0x2000: data */
	"k_save: .skip 128\n"
	"k_vector: .skip 8\n"
	".org dbt_kernel + 0x2100\n"
	"k_run: .skip 168\n"
	"k_quiet: .skip 8\n"
	".org dbt_kernel + 0x2400\n"
	"k_cmd: .skip 0x800\n"
	".org dbt_kernel + 0x7000\n"
	"k_count: .skip 8\n"
	"dbt_kernel_end:\n"
	".popsection\n");
