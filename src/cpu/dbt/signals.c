// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Signals that translated code raises.
 *
 * SIGFPE: an instruction of the guest divided by zero, or raised an unmasked SIMD or x87 exception. The side table
 * names the guest's instruction; translated code is left there as if it had asked for the interpreter, which
 * executes the instruction again and raises #DE, #XM or #MF in the guest. Everything but the scratch registers is where
 * the guest's state belongs at that point; status flags may be in the host's, then they are taken from the frame.
 *
 * SIGSEGV: the same for #GP, when an operand that must be aligned is not: pages are mapped to pages, so the host notices it
 * as the guest's processor would. Or the return stack is full: it is emptied and the instruction is done again. Returns
 * that were expected from it miss, and are found by way of the jump table.
 *
 * The handlers know a group by its code memory: a program counter inside means that the group is alive. So
 * entries of the list are looked at without a lock; they are never freed, only used again.
 */
#include "cpu/dbt/signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "cpu/dbt/emit.h"
#include "cpu/dbt/run.h"

enum { SIGNAL_STACK_SIZE = 64 << 10 };

struct area {
	_Atomic uintptr_t start, end; /* end 0: not in use */
	struct dbt *_Atomic d;
	struct area *next;
};
static struct area *_Atomic areas;
static pthread_mutex_t areas_lock = PTHREAD_MUTEX_INITIALIZER;

static struct sigaction fpe_before, segv_before;
static pthread_once_t start_once = PTHREAD_ONCE_INIT, key_once = PTHREAD_ONCE_INIT;
static pthread_key_t stack_key;
static int start_error;

/* --- the list ------------------------------------------------------------------------------------- */

static struct dbt *find(uintptr_t pc)
{
	for (struct area *a = atomic_load(&areas); a; a = a->next)
		if (pc < atomic_load(&a->end) && pc >= atomic_load(&a->start))
			return atomic_load(&a->d);
	return NULL;
}

int dbt_signals_add(struct dbt *d, const uint8_t *code, size_t size)
{
	struct area *a;
	int r = 0;

	pthread_mutex_lock(&areas_lock);
	for (a = atomic_load(&areas); a && atomic_load(&a->end); a = a->next)
		;
	if (!a) {
		a = calloc(1, sizeof(*a));
		if (a) {
			a->next = atomic_load(&areas);
			atomic_store(&areas, a);
		} else {
			r = -ENOMEM;
		}
	}
	if (a) {
		atomic_store(&a->d, d);
		atomic_store(&a->start, (uintptr_t)code);
		atomic_store(&a->end, (uintptr_t)code + size);
	}
	pthread_mutex_unlock(&areas_lock);
	return r;
}

void dbt_signals_remove(const struct dbt *d)
{
	pthread_mutex_lock(&areas_lock);
	for (struct area *a = atomic_load(&areas); a; a = a->next)
		if (atomic_load(&a->d) == d) {
			atomic_store(&a->end, 0);
			atomic_store(&a->d, NULL);
		}
	pthread_mutex_unlock(&areas_lock);
}

/* --- handlers ------------------------------------------------------------------------------------- */

static void pass_on(const struct sigaction *before, int sig, siginfo_t *info, void *context)
{
	if (before->sa_flags & SA_SIGINFO) {
		before->sa_sigaction(sig, info, context);
	} else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) {
		before->sa_handler(sig);
	} else {
		/* Not ours and nobody else's: the instruction faults again and ends the process. */
		struct sigaction dfl = { .sa_handler = SIG_DFL };

		sigaction(sig, &dfl, NULL);
	}
}

static struct cpu *cpu_of(const greg_t *regs)
{
	return (struct cpu *)((uintptr_t)regs[REG_R11] - offsetof(struct cpu, st));
}

/* As seto %al; lahf would have them. */
static uint16_t flags_of(greg_t efl)
{
	return (uint16_t)((efl & 0xff) << 8 | (efl >> 11 & 1));
}

/* Leave translated code for the interpreter at an instruction that may raise. False: it is none. */
static bool leave(struct dbt *d, greg_t *regs)
{
	const uint8_t *pc = (const uint8_t *)(uintptr_t)regs[REG_RIP];
	const struct tpc *at;
	const struct tblock *b = dbt_pc_find(d, pc, &at);

	if (!b)
		return false;
	if (at->off & TPC_HOST_FLAGS)
		cpu_of(regs)->hot.flags = flags_of(regs[REG_EFL]);
	regs[REG_R10] = (greg_t)(DBT_WORD(DBT_EXIT_INTERP, at->off & TPC_OFF) | DBT_FLAGS_MEM);
	regs[REG_RIP] = (greg_t)(uintptr_t)(at->stub ? b->code + at->stub : d->tramp.exit);
	return true;
}

static void on_sigfpe(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *regs = uc->uc_mcontext.gregs;
	struct dbt *d = info->si_code > 0 ? find((uintptr_t)regs[REG_RIP]) : NULL;

	if (!d || !leave(d, regs))
		pass_on(&fpe_before, sig, info, context);
}

/* Where the return stack that @addr is the guard page of begins; 0: none. */
static uintptr_t guard_hit(const struct cpu *c, uintptr_t addr)
{
	const struct dbt_cpu *dc = dbt_cpu(c);

	for (unsigned int k = 0; k < 2; k++)
		if ((uintptr_t)dc->ret_stack[k] - addr - 1 < GUEST_PAGE_SIZE)
			return (uintptr_t)dc->ret_stack[k] + RET_STACK_TOP;
	return 0;
}

static void on_sigsegv(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *regs = uc->uc_mcontext.gregs;
	struct dbt *d = info->si_code > 0 ? find((uintptr_t)regs[REG_RIP]) : NULL;
	uintptr_t top = d ? guard_hit(cpu_of(regs), (uintptr_t)info->si_addr) : 0;

	if (top)
		regs[REG_RSP] = (greg_t)top;
	else if (!d || info->si_code != SI_KERNEL || !leave(d, regs))
		pass_on(&segv_before, sig, info, context);
}

static void start(void)
{
	struct sigaction fpe = { .sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct sigaction segv = { .sa_sigaction = on_sigsegv, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	if (sigaction(SIGFPE, &fpe, &fpe_before) < 0 || sigaction(SIGSEGV, &segv, &segv_before) < 0)
		start_error = -errno;
}

int dbt_signals_start(struct err *err)
{
	pthread_once(&start_once, start);
	if (start_error < 0)
		return err_set(err, start_error, "signal handlers: %s", strerror(-start_error));
	return 0;
}

/* --- signal stacks -------------------------------------------------------------------------------- */

static void stack_free(void *stack)
{
	stack_t off = { .ss_flags = SS_DISABLE };

	sigaltstack(&off, NULL);
	munmap(stack, SIGNAL_STACK_SIZE);
}

static void key_make(void)
{
	if (pthread_key_create(&stack_key, stack_free) != 0)
		abort();
}

int dbt_signals_thread(struct err *err)
{
	stack_t now, new = { .ss_size = SIGNAL_STACK_SIZE };
	int r;

	pthread_once(&key_once, key_make);
	if (sigaltstack(NULL, &now) == 0 && !(now.ss_flags & SS_DISABLE))
		return 0;
	new.ss_sp = mmap(NULL, SIGNAL_STACK_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (new.ss_sp == MAP_FAILED)
		return err_set(err, -ENOMEM, "signal stack: %s", strerror(errno));
	if (sigaltstack(&new, NULL) < 0) {
		r = -errno;
		munmap(new.ss_sp, SIGNAL_STACK_SIZE);
		return err_set(err, r, "signal stack: %s", strerror(-r));
	}
	r = -pthread_setspecific(stack_key, new.ss_sp);
	if (r < 0)
		stack_free(new.ss_sp);
	return r < 0 ? err_set(err, r, "signal stack: %s", strerror(-r)) : 0;
}
