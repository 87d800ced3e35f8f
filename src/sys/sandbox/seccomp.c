/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System call filters out of two tables. A filter is a list of comparisons in the order of calls.def:
 *
 *	another architecture: kill
 *	number == futex: allow
 *	number == mmap:  argument 2 & PROT_EXEC == 0: allow; else go on
 *	...
 *	trap
 *
 * The kernel keeps a bitmap of calls that are allowed whatever their arguments are, and runs the program for the others
 * only, so that a search tree would gain nothing. Compiled when a thread begins, which takes microseconds. libseccomp
 * was not taken: the C preprocessor knows the names of calls and constants already, and what is left is this file.
 *
 * A trap becomes SIGSYS in the thread, whose handler says what happened and ends the process. It could not be made to go
 * on: the call was not carried out, and the handler cannot be replaced (rt_sigaction is not allowed but for SIGABRT, and in
 * the main thread). Where the signal is blocked, the kernel kills.
 */
#include "sys/sandbox/seccomp.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "base/str.h"
#include "sys/sandbox/syscall_names.h"
#include "sys/term.h"
#include "sys/thread.h"

enum set {
	BASE = 1 << 0,
	CODE = 1 << 1,
	DISK = 1 << 2,
	SOCKET = 1 << 3,
	ACCEPT = 1 << 4,
	EVENTS = 1 << 5,
	THREADS = 1 << 6,
	PAIR = 1 << 7,
	END = 1 << 8,
	HOST = 1 << 9,
	VIEWERS = 1 << 10,
	KVM = 1 << 11,
	PLUG = 1 << 12,
	SANITIZER = 1 << 13,
	FOLDER = 1 << 14,
	PEERS = 1 << 15,
	NAMES = 1 << 16,
	HELPERS = 1 << 17,
	SERVERS = 1 << 18,
};

enum { ANY = -1 };

/* Allowed, or refused with an errno, when (argument & mask) == value. */
struct rule {
	unsigned int set;
	uint16_t nr, refusal; /* errno; 0: allowed */
	int8_t arg;	      /* ANY: whatever the arguments are */
	bool is_self;	      /* the value is our process number */
	uint32_t mask, value;
};

#define ALLOW(s, call)		   { .set = (s), .nr = __NR_##call, .arg = ANY },
#define REFUSE(s, call, e)	   { .set = (s), .nr = __NR_##call, .arg = ANY, .refusal = (e) },
#define REFUSE_IF(s, call, e, ...) { .set = (s), .nr = __NR_##call, .refusal = (e), __VA_ARGS__ },
#define ALLOW_IF(s, call, ...)	   { .set = (s), .nr = __NR_##call, __VA_ARGS__ },
#define WHEN_(a, m, v)		   .arg = (a), .mask = (uint32_t)(m), .value = (uint32_t)(v)
#define IS(a, v)		   WHEN_(a, ~0u, v)
#define HAS(a, bits)		   WHEN_(a, bits, bits)
#define LACKS(a, bits)		   WHEN_(a, bits, 0)
#define MASKED(a, bits, v)	   WHEN_(a, bits, v)
#define SELF(a)			   .is_self = true, WHEN_(a, ~0u, 0)

static const struct rule rules[] = {
#include "sys/sandbox/calls.def"
};

#define KIND(n, s)   { .name = (n), .sets = (s) },
#define SERVER(n, s) KIND(n, s)
#define HELPER(n, s) KIND(n, s)
static const struct {
	const char *name;
	unsigned int sets;
} kinds[] = {
#include "sys/sandbox/kinds.def"
};

static const char *program; /* NULL: no filters */
static enum seccomp_servers where;

/* --- the compiler -------------------------------------------------------------------------------- */

struct code {
	struct sock_filter *at;
	size_t n;
};

static void emit(struct code *c, uint16_t op, uint32_t k, uint8_t when, uint8_t otherwise)
{
	assert(c->n < SECCOMP_LENGTH_MAX);
	c->at[c->n++] = (struct sock_filter){ .code = op, .jt = when, .jf = otherwise, .k = k };
}

static void emit_load(struct code *c, size_t off)
{
	emit(c, BPF_LD | BPF_W | BPF_ABS, (uint32_t)off, 0, 0);
}

static void emit_return(struct code *c, uint32_t action)
{
	emit(c, BPF_RET | BPF_K, action, 0, 0);
}

/* The accumulator has the number of the call, before and after. */
static void emit_rule(struct code *c, const struct rule *r)
{
	uint32_t action = r->refusal ? SECCOMP_RET_ERRNO | r->refusal : SECCOMP_RET_ALLOW;

	emit(c, BPF_JMP | BPF_JEQ | BPF_K, r->nr, 0, r->arg == ANY ? 1 : 5);
	if (r->arg != ANY) {
		emit_load(c, offsetof(struct seccomp_data, args) + 8 * (size_t)r->arg);
		emit(c, BPF_ALU | BPF_AND | BPF_K, r->mask, 0, 0);
		emit(c, BPF_JMP | BPF_JEQ | BPF_K, r->is_self ? (uint32_t)getpid() : r->value, 0,
		     1);
	}
	emit_return(c, action);
	if (r->arg != ANY)
		emit_load(c, offsetof(struct seccomp_data, nr));
}

static unsigned int sets_of(const char *name)
{
	size_t n = strlen(name);

	while (n && name[n - 1] >= '0' && name[n - 1] <= '9')
		n--;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		if (strlen(kinds[k].name) == n && !memcmp(kinds[k].name, name, n))
			return kinds[k].sets;
	return BASE;
}

size_t seccomp_compile(const char *name, enum seccomp_servers servers, struct sock_filter *ret)
{
	unsigned int sets = sets_of(name);
	struct code c = { .at = ret };

	if (servers && sets & DISK)
		sets |= SOCKET;
	if (servers == SECCOMP_SERVERS_SOUGHT && sets & DISK)
		sets |= HOST;
	if (servers == SECCOMP_SERVERS_BESIDE && sets & NAMES)
		sets |= SERVERS;
	emit_load(&c, offsetof(struct seccomp_data, arch));
	emit(&c, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	emit_return(&c, SECCOMP_RET_KILL_PROCESS);
	emit_load(&c, offsetof(struct seccomp_data, nr));
	for (size_t k = 0; k < ARRAY_SIZE(rules); k++)
		if (rules[k].set & (sets | SANITIZER))
			emit_rule(&c, &rules[k]);
	emit_return(&c, SECCOMP_RET_TRAP);
	return c.n;
}

/* --- in force ------------------------------------------------------------------------------------ */

static void on_violation(int sig, siginfo_t *info, void *context)
{
	unsigned int nr = (unsigned int)info->si_syscall;
	const char *call = nr < ARRAY_SIZE(syscall_names) && syscall_names[nr] ? syscall_names[nr]
									       : "?";
	char thread[16] = "?", text[200];
	int n;

	prctl(PR_GET_NAME, thread);
	n = snprintf(text, sizeof(text),
		     "%s: thread '%s' made the system call %u (%s), which it may not: a guest has "
		     "broken out, or src/sys/sandbox/calls.def lacks it\r\n",
		     program, thread, nr, call);
	ignore_result(write(STDERR_FILENO, text, (size_t)n)); /* nobody is left to be told */
	term_restore();
	_exit(SECCOMP_STATUS);
}

int seccomp_begin(const char *name, enum seccomp_servers servers, struct err *err)
{
	struct sigaction sa = { .sa_sigaction = on_violation, .sa_flags = SA_SIGINFO };
	uint32_t action = SECCOMP_RET_TRAP;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0)
		return err_set_errno(err, "system call filters");
	sigfillset(&sa.sa_mask);
	sigaction(SIGSYS, &sa, NULL);
	program = name;
	where = servers;
	thread_on_begin(seccomp_enter);
	return 0;
}

void seccomp_enter(const char *name)
{
	struct sock_filter code[SECCOMP_LENGTH_MAX];
	struct sock_fprog prog = { .filter = code };

	if (!program)
		return;
	prog.len = (unsigned short)seccomp_compile(name, where, code);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0) {
		fprintf(stderr, "%s: thread '%s': system call filter: %s\n", program, name,
			strerror(errno));
		_exit(1);
	}
}
