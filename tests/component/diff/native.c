/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's side. The instruction is entered by IRET with all registers set and left by a signal: the bytes
 * behind it are INT3, so that also one without a fault ends in SIGTRAP. The handler copies the interrupted
 * state out of the signal frame and jumps back (signals are not blocked: SA_NODEFER); this costs one signal
 * delivery a case and no process.
 *
 * The handler serves hostop, too, whose SIGFPE arrives while no test is running: it is passed on.
 */
#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "diff.h"

/* Offsets are known to native_entry.c. */
struct native_frame {
	uint64_t gpr[16]; /* 0 */
	uint64_t rip;	  /* 128 */
	uint64_t rflags;  /* 136 */
	uint64_t fs_base; /* 144 */
	uint64_t gs_base; /* 152 */
	uint64_t cs;	  /* 160 */
	uint64_t unused;  /* 168 */
	void *xsave;	  /* 176 */
};
_Static_assert(offsetof(struct native_frame, xsave) == 176, "native_entry.c");

void native_enter(struct native_frame *f);
void native_signal(int sig, siginfo_t *info, void *uc);
void native_caught(int sig, siginfo_t *info, void *uc);
void native_foreign(int sig, siginfo_t *info, void *uc);
extern uint64_t native_test_fs, native_test_gs;
extern uint8_t native_running;

void (*native_alarm)(void);
static struct diff_result *result;
static struct sigaction before[NSIG];
static struct cpu_fpu image __attribute__((aligned(64)));

static void *map_at(uint64_t at, size_t size, int prot, int fd, off_t off)
{
	return mmap((void *)at, size, prot, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, fd,
		    off);
}

static int map_memory(struct native *n)
{
	size_t total = DIFF_CODE_SIZE + DIFF_DATA_SIZE;
	int fd = memfd_create("diff", MFD_CLOEXEC);
	uint8_t *alias;

	if (fd < 0 || ftruncate(fd, (off_t)total) < 0)
		return -errno;
	alias = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (alias == MAP_FAILED)
		return -errno;
	memset(alias, 0xcc, total);
	n->code = alias;
	n->data = alias + DIFF_CODE_SIZE;
	if (map_at(DIFF_CODE, DIFF_CODE_SIZE, PROT_READ | PROT_EXEC, fd, 0) == MAP_FAILED ||
	    map_at(DIFF_DATA, DIFF_RW_SIZE, PROT_READ | PROT_WRITE, fd, DIFF_CODE_SIZE) ==
		    MAP_FAILED ||
	    map_at(DIFF_RO, 0x1000, PROT_READ, fd, DIFF_CODE_SIZE + DIFF_RW_SIZE) == MAP_FAILED ||
	    map_at(DIFF_RW2, 0x1000, PROT_READ | PROT_WRITE, fd,
		   DIFF_CODE_SIZE + DIFF_RW_SIZE + 0x1000) == MAP_FAILED)
		return -errno;
	close(fd);
	return 0;
}

bool native_usable(void)
{
	enum { HWCAP2_FSGSBASE_BIT = 1 << 1 };

	return (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT) && __builtin_cpu_supports("avx2");
}

int native_start(struct native *n)
{
	static const int signals[] = { SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGBUS, SIGALRM };
	static uint8_t stack[256 * 1024] __attribute__((aligned(64)));
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_sigaction = native_signal,
				.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	int r = map_memory(n);

	if (r < 0)
		return r;
	if (sigaltstack(&ss, NULL) < 0)
		return -errno;
	for (unsigned int k = 0; k < sizeof(signals) / sizeof(signals[0]); k++)
		if (sigaction(signals[k], &sa, &before[signals[k]]) < 0)
			return -errno;
	return 0;
}

void native_foreign(int sig, siginfo_t *info, void *uc)
{
	static const char text[] = "diff: a signal outside of a test\n";

	if (before[sig].sa_flags & SA_SIGINFO) {
		before[sig].sa_sigaction(sig, info, uc);
		return;
	}
	if (sig == SIGALRM) {
		if (native_alarm)
			native_alarm();
		return;
	}
	(void)!write(2, text, sizeof(text) - 1);
	signal(sig, SIG_DFL);
}

/* A component whose bit is clear is in its initial state, whatever its bytes are. */
static void copy_fpu(struct cpu_fpu *f, const uint8_t *fp)
{
	uint32_t magic;
	uint64_t bv;

	memcpy(&magic, fp + 464, 4);
	memcpy(f, fp, 512);
	memset(f->ymm_hi, 0, sizeof(f->ymm_hi));
	if (magic != 0x46505853)
		return;
	memcpy(&bv, fp + 512, 8);
	if (bv & 4)
		memcpy(f->ymm_hi, fp + 576, 256);
	if (!(bv & 2))
		memset(f->xmm, 0, sizeof(f->xmm));
	if (!(bv & 1)) {
		f->fcw = 0x37f;
		f->fsw = 0;
		f->ftw = 0;
		memset(f->st, 0, sizeof(f->st));
	}
}

void native_caught(int sig, siginfo_t *info, void *context)
{
	static const uint8_t order[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
					   REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
					   REG_R12, REG_R13, REG_R14, REG_R15 };
	ucontext_t *uc = context;
	const greg_t *g = uc->uc_mcontext.gregs;

	for (unsigned int k = 0; k < 16; k++)
		result->gpr[k] = (uint64_t)g[order[k]];
	result->rip = (uint64_t)g[REG_RIP];
	result->rflags = (uint64_t)g[REG_EFL];
	result->cs = (uint16_t)((uint64_t)g[REG_CSGSFS] & 0xffff);
	result->ss = (uint16_t)((uint64_t)g[REG_CSGSFS] >> 48);
	result->vector = sig == SIGALRM ? DIFF_VEC_TIMEOUT : (unsigned int)g[REG_TRAPNO];
	result->error = (uint32_t)g[REG_ERR];
	result->cr2 = (uint64_t)g[REG_CR2];
	result->fs_base = native_test_fs;
	result->gs_base = native_test_gs;
	copy_fpu(&result->fpu, (const uint8_t *)uc->uc_mcontext.fpregs);
}

void native_run(const struct diff_case *k, struct diff_result *ret)
{
	struct native_frame f = { .rip = k->rip,
				  .rflags = k->rflags,
				  .fs_base = k->fs_base,
				  .gs_base = k->gs_base,
				  .cs = k->is32 ? DIFF_CS32 : DIFF_CS64,
				  .xsave = &image };
	static const struct itimerval limit = { .it_value = { .tv_usec = 500000 },
						.it_interval = { .tv_usec = 500000 } };
	static unsigned int armed;

	memcpy(f.gpr, k->gpr, sizeof(f.gpr));
	image = k->fpu;
	image.xstate_bv = 7;
	image.xcomp_bv = 0;
	result = ret;
	/* Arming the watchdog is a system call: once for many cases. A case that it hits is run again. */
	if (armed++ % 1024 == 0)
		setitimer(ITIMER_REAL, &limit, NULL);
	native_enter(&f);
}
