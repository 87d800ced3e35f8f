/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_DBT_VM_H
#define TESTS_DBT_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/cpu.h"
#include "sys/timerq.h"
#include "../diff/diff.h"
#include "../diff/gen.h"

/*
 * A small machine with a kernel (kernel.c), two address spaces, and pages of code and data at the addresses that the
 * generator of diff/ makes programs for. Programs are compared between two such machines with different
 * engines, or moved between the engines of one.
 */
enum {
	VM_RAM = 0x100000,
	VM_USED = 0x42000, /* what is compared */
	/* physical addresses */
	VM_PML4 = 0x1000, /* one for each address space, as the tables that follow */
	VM_PDPT = 0x3000,
	VM_PD = 0x5000,
	VM_PT_CODE = 0x7000,
	VM_PT_DATA = 0x9000,
	VM_PDPT_K = 0xb000,
	VM_PD_K = 0xc000,
	VM_PT_K = 0xd000,
	VM_IDT = 0xe000,
	VM_GDT = 0xf000,
	VM_TSS = 0xf800,
	VM_KERNEL = 0x10000,
	VM_SAVE = VM_KERNEL + 0x2000,
	VM_VECTOR = VM_SAVE + 128,
	VM_RUN = VM_KERNEL + 0x2100,
	VM_RUN_SIZE = 168,
	VM_QUIET = VM_RUN + VM_RUN_SIZE,
	VM_CMD = VM_KERNEL + 0x2400,
	VM_IST1 = VM_KERNEL + 0x5000, /* tops */
	VM_IST2 = VM_KERNEL + 0x6000,
	VM_COUNT = VM_KERNEL + 0x7000,
	VM_XSAVE = 0x18000,
	VM_CODE = 0x20000,
	VM_DATA = 0x30000,
	VM_STAGING = 0x40000,
	VM_MMIO = 0xd0000000,
	VM_NR_CODE = 8, /* pages */
	VM_NR_DATA = 8,
	VM_WINDOW = 4, /* pages of code in an address space */
	VM_MAX_CMDS = 32,
	VM_INTR = 0x40,	    /* vector */
	VM_SYSCALL = 0x100, /* in VM_VECTOR */
	/* selectors */
	VM_CS0 = 0x10,
	VM_SS0 = 0x18,
	VM_CS0_32 = 0x38,
};
#define VM_LIN UINT64_C(0xffffa5a940000000) /* of all RAM, for the kernel */

enum vm_op {
	OP_END,
	OP_IRET,
	OP_SYSRET,
	OP_SYSRET32,
	OP_CR3,
	OP_INVLPG,
	OP_STORE,
	OP_COPY,
	OP_CR4,
	OP_CR0,
	OP_XRSTOR,
	OP_ENABLE,
	OP_OUT,
};

enum vm_event {
	EV_NONE,
	EV_ENTRY = 0x80, /* an exception, or SYSCALL */
	EV_END,
	EV_INTR,
	EV_TIMEOUT = 0x100,
	EV_SHUTDOWN,
	EV_ERROR,
};

struct vm {
	uint8_t *ram;
	_Atomic uint8_t flags[VM_RAM / 4096];
	struct physmem mem;
	struct timerq timers;
	struct cpu_group *grp;
	struct cpu *cpu;
	struct err err;
	unsigned int event;
	uint64_t io_hash, nr_io; /* what devices have seen */
	bool owns_ram;
	uint8_t code_before[VM_NR_CODE * 0x1000]; /* when it was last run */
};

/* vm_new - a machine with an engine; @ram: another's, or NULL. Returns NULL, and says why. */
struct vm *vm_new(enum cpu_engine_kind engine, uint8_t *ram, uint64_t cache_bytes);
void vm_free(struct vm *v);

/* vm_reset - memory and registers as at the start of a world: code is INT3, data is random, the kernel will look
 * for commands. */
void vm_reset(struct vm *v, uint64_t seed);

/* vm_run - until the next event. */
enum vm_event vm_run(struct vm *v);

/* vm_write - host writes that the guest's engine must learn of, as DMA. */
void vm_write(struct vm *v, uint32_t gpa, const void *p, uint32_t n);

/* vm_cmd - put a command at place @n of the list. */
void vm_cmd(struct vm *v, unsigned int n, enum vm_op op, uint64_t a, uint64_t b, uint64_t c,
	    uint64_t d);

/* vm_frame - what VM_RUN gets, so that the kernel's IRET or SYSRET begins the program @k. */
void vm_frame(const struct diff_case *k, bool user, uint8_t ret[VM_RUN_SIZE]);

/* vm_live - status flags that matter at an address, by the code that is there now. */
uint64_t vm_live(struct vm *v, uint64_t rip, bool is32);

/* vm_watchdog - an alarm every @ms ms; vm_run() ends at the second one. Once. */
void vm_watchdog(unsigned int ms);

/* vm_compare - two machines that stand at the same event. false: they differ; @text says how. */
bool vm_compare(struct vm *a, struct vm *b, char *text, size_t size);

/* vm_state_differs - the comparison of registers in it; status flags in @flags only. */
size_t vm_state_differs(const struct cpu_state *a, const struct cpu_state *b, uint64_t flags,
			char *text, size_t size);

/* What dbt_pair and dbt_steps are told on the command line. */
struct vm_options {
	uint64_t runs, first, seed; /* runs: as the caller has set it, or as told */
	enum cpu_engine_kind engine;
	bool keep_going, verbose;
};

/* vm_parse - read the command line; @runs: name of the option for it. Prints the plan and the seed. false: wrong. */
bool vm_parse(int argc, char **argv, const char *runs, struct vm_options *o);

/* vm_run_seed - the seed of one run. */
static inline uint64_t vm_run_seed(const struct vm_options *o, uint64_t n)
{
	return o->seed + n * UINT64_C(0xd1342543de82ef95);
}

#endif
