/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the filters of threads say to calls: asked of the programs, by a machine for them that is written here from the
 * kernel's description (Documentation/networking/filter.rst), and of the kernel, in children.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/sandbox/sandbox.h"
#include "sys/sandbox/seccomp.h"
#include "sys/thread.h"
#include "unit.h"

/* Of a machine's threads and the NBD server's; of the processes beside a machine. */
#define HELPER(name, sets)
#define KIND(name, sets)   name,
#define SERVER(name, sets) name,
static const char *const kinds[] = {
#include "sys/sandbox/kinds.def"
};
#undef HELPER
#undef KIND
#undef SERVER
#define HELPER(name, sets) name,
#define KIND(name, sets)
#define SERVER(name, sets)
static const char *const helpers[] = {
#include "sys/sandbox/kinds.def"
};

#define EVERY_KIND(kind, i)                                                                        \
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)                                             \
		for (const char *kind = kinds[i]; kind; kind = NULL)

/* --- a machine for filters --------------------------------------------------------------------------- */

static uint32_t run(const struct sock_filter *code, size_t n, const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (size_t pc = 0; pc < n; pc++) {
		const struct sock_filter *f = &code[pc];

		switch (f->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(f->k % 4 == 0 && f->k < sizeof(*data));
			memcpy(&a, (const char *)data + f->k, 4);
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= f->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == f->k ? f->jt : f->jf;
			break;
		case BPF_RET | BPF_K:
			return f->k;
		default:
			fail_msg("instruction %x", f->code);
		}
	}
	fail_msg("the program has no end");
	return 0;
}

struct call {
	int nr;
	uint64_t arg[6];
};

static uint32_t ask_host(const char *kind, enum seccomp_servers servers, const struct call *c)
{
	struct sock_filter code[SECCOMP_LENGTH_MAX];
	size_t n = seccomp_compile(kind, servers, code);
	struct seccomp_data data = { .nr = c->nr, .arch = AUDIT_ARCH_X86_64 };

	assert_true(n > 4 && n <= SECCOMP_LENGTH_MAX);
	memcpy(data.args, c->arg, sizeof(data.args));
	return run(code, n, &data);
}

static uint32_t ask(const char *kind, const struct call *c)
{
	return ask_host(kind, SECCOMP_NO_SERVERS, c);
}

/* Such a build allows each thread more. */
#ifdef IS_SANITIZED
#define SANITIZED true
#else
#define SANITIZED false
#endif

#define ASK(kind, ...) ask(kind, &(struct call){ __VA_ARGS__ })

static void test_nobody_may(void **state)
{
	static const struct call never[] = {
		{ SYS_execve },
		{ SYS_execveat },
		{ SYS_ptrace },
		{ SYS_fork },
		{ SYS_vfork },
		{ SYS_clone, { SIGCHLD } },
		{ SYS_kill },
		{ SYS_tkill },
		{ SYS_mount },
		{ SYS_bpf },
		{ SYS_unshare },
		{ SYS_setns },
		{ SYS_chroot },
		{ SYS_pivot_root },
		{ SYS_init_module },
		{ SYS_userfaultfd },
		{ SYS_process_vm_readv },
		{ SYS_process_vm_writev },
		{ SYS_perf_event_open },
		{ SYS_keyctl },
		{ SYS_open },
		{ SYS_creat },
		{ SYS_unlink },
		{ SYS_rename },
		{ SYS_bind },
		{ SYS_listen },
		{ SYS_setuid },
		{ SYS_capset },
		{ SYS_pidfd_open },
		{ SYS_pidfd_getfd },
		{ SYS_personality },
		{ SYS_modify_ldt },
		{ SYS_iopl },
		{ 0x40000000 | SYS_read },
		/* of x32 */ { 100000 },
	};

	EVERY_KIND(kind, i)
	for (size_t k = 0; k < ARRAY_SIZE(never); k++)
		if (ask(kind, &never[k]) != SECCOMP_RET_TRAP)
			fail_msg("'%s' may make the call %d", kind, never[k].nr);
}

/* What somebody who has taken over a helper would want, and each may only what it is for. */
static void test_helpers(void **state)
{
	static const struct call never[] = {
		{ SYS_execve },
		{ SYS_ptrace },
		{ SYS_fork },
		{ SYS_clone, { SIGCHLD } },
		{ SYS_kill },
		{ SYS_mount },
		{ SYS_listen },
		{ SYS_socket, { AF_NETLINK } },
		{ SYS_setuid },
		{ SYS_open },
		{ SYS_pidfd_open },
		{ SYS_io_uring_setup },
		{ SYS_mmap, { 0, 4096, PROT_WRITE | PROT_EXEC } },
	};
	const struct call inet = { SYS_socket, { AF_INET } }, local = { SYS_socket, { AF_UNIX } },
			  writing = { SYS_openat, { 0, 0, O_RDWR } };

	for (size_t i = 0; i < ARRAY_SIZE(helpers); i++)
		for (size_t k = 0; k < ARRAY_SIZE(never); k++)
			if (ask(helpers[i], &never[k]) != SECCOMP_RET_TRAP &&
			    !(SANITIZED && never[k].nr == SYS_mmap))
				fail_msg("'%s' may make the call %d", helpers[i], never[k].nr);
	assert_int_equal(ask("usernet", &inet), SECCOMP_RET_ALLOW);
	assert_int_equal(ask("usernet", &local), SECCOMP_RET_ERRNO | EACCES);
	assert_int_equal(ask("outside", &inet), SECCOMP_RET_TRAP);
	assert_int_equal(ask("outside", &local), SECCOMP_RET_ALLOW);
	assert_int_equal(ask("share", &inet), SECCOMP_RET_TRAP);
	assert_int_equal(ask("share", &local), SECCOMP_RET_TRAP);
	assert_int_equal(ask("share", &writing), SECCOMP_RET_ALLOW);
	if (!SANITIZED)
		assert_int_equal(ask("usernet", &writing), SECCOMP_RET_TRAP);
	assert_int_equal(ASK("share", SYS_unlink), SECCOMP_RET_TRAP);
	assert_int_equal(ASK("usernet", SYS_unlink), SECCOMP_RET_TRAP);
}

static void test_refused(void **state)
{
	/* A socket is nobody's but for the one that syslog(3) tries, which is told that it may not. */
	EVERY_KIND(kind, i)
	{
		const struct call udp = { SYS_socket, { AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC } };
		bool is_viewers = !strcmp(kind, "vnc");

		assert_int_equal(ASK(kind, SYS_socket, { AF_INET, SOCK_STREAM }), SECCOMP_RET_TRAP);
		assert_int_equal(ask(kind, &udp),
				 is_viewers ? SECCOMP_RET_ERRNO | EACCES : SECCOMP_RET_TRAP);
	}
	/* A path in a request is not the end of the machine. */
	assert_int_equal(ASK("control", SYS_clone3), SECCOMP_RET_ERRNO | ENOSYS);
	assert_int_equal(ASK("control", SYS_openat2), SECCOMP_RET_ERRNO | EACCES);
#ifndef IS_SANITIZED
	EVERY_KIND(kind, i)
	assert_int_equal(ASK(kind, SYS_openat),
			 !strcmp(kind, "control") ? SECCOMP_RET_ERRNO | EACCES : SECCOMP_RET_TRAP);
#endif
}

static bool begins_threads(const char *kind)
{
	return !strcmp(kind, "control") || !strcmp(kind, "nbd");
}

static void test_arguments(void **state)
{
	const uint64_t thread = CLONE_THREAD | CLONE_VM | CLONE_SIGHAND;

	EVERY_KIND(kind, i)
	{
		assert_int_equal(ASK(kind, SYS_futex), SECCOMP_RET_ALLOW);
		assert_int_equal(ASK(kind, SYS_tgkill, { (uint64_t)getpid() }), SECCOMP_RET_ALLOW);
		assert_int_equal(ASK(kind, SYS_tgkill, { (uint64_t)getppid() }), SECCOMP_RET_TRAP);
		assert_int_equal(ASK(kind, SYS_prctl, { PR_SET_DUMPABLE }), SECCOMP_RET_TRAP);
		assert_int_equal(ASK(kind, SYS_mmap, { 0, 4096, PROT_READ | PROT_WRITE }),
				 SECCOMP_RET_ALLOW);
		assert_int_equal(ASK(kind, SYS_clone, { CLONE_VM | CLONE_SIGHAND }),
				 SECCOMP_RET_TRAP);
		assert_int_equal(ASK(kind, SYS_clone, { thread }),
				 begins_threads(kind) ? SECCOMP_RET_ALLOW : SECCOMP_RET_TRAP);
#ifndef IS_SANITIZED
		assert_int_equal(ASK(kind, SYS_mmap, { 0, 4096, PROT_WRITE | PROT_EXEC }),
				 SECCOMP_RET_TRAP);
		assert_int_equal(ASK(kind, SYS_mprotect, { 0, 4096, PROT_WRITE | PROT_EXEC }),
				 SECCOMP_RET_TRAP);
#endif
	}
#ifndef IS_SANITIZED
	assert_int_equal(ASK("cpu", SYS_mmap, { 0, 4096, PROT_READ | PROT_EXEC }),
			 SECCOMP_RET_ALLOW);
	assert_int_equal(ASK("io", SYS_mmap, { 0, 4096, PROT_READ | PROT_EXEC }), SECCOMP_RET_TRAP);
#endif
}

static void test_names(void **state)
{
	/* A number at the end does not count; a stranger has the smallest set. */
	assert_int_equal(ASK("cpu12", SYS_pread64), SECCOMP_RET_ALLOW);
	assert_int_equal(ASK("cpux", SYS_pread64), SECCOMP_RET_TRAP);
	assert_int_equal(ASK("", SYS_pread64), SECCOMP_RET_TRAP);
	assert_int_equal(ASK("", SYS_read), SECCOMP_RET_ALLOW);
}

static void test_host(void **state)
{
	const struct call call = { SYS_connect }, reading = { SYS_openat },
			  writing = { SYS_openat, { 0, 0, O_RDWR } };

	const struct call inet = { SYS_socket, { AF_INET, SOCK_STREAM } },
			  link = { SYS_socket, { AF_NETLINK } }, handed = { SYS_recvmsg };

	/* Who is handed a connection may use it; who connects, connect. */
	assert_int_equal(ask_host("disk", SECCOMP_SERVERS_BESIDE, &handed), SECCOMP_RET_ALLOW);
	assert_int_equal(ask_host("disk", SECCOMP_SERVERS_BESIDE, &call), SECCOMP_RET_TRAP);
	assert_int_equal(ask_host("disk", SECCOMP_SERVERS_BESIDE, &inet), SECCOMP_RET_TRAP);
	assert_int_equal(ask_host("disk", SECCOMP_NO_SERVERS, &handed), SECCOMP_RET_TRAP);
	assert_int_equal(ask_host("outside", SECCOMP_SERVERS_BESIDE, &inet), SECCOMP_RET_ALLOW);
	assert_int_equal(ask_host("outside", SECCOMP_SERVERS_BESIDE, &link), SECCOMP_RET_TRAP);
	assert_int_equal(ask_host("disk", SECCOMP_SERVERS_SOUGHT, &call), SECCOMP_RET_ALLOW);
	assert_int_equal(ask_host("disk", SECCOMP_SERVERS_SOUGHT, &reading), SECCOMP_RET_ALLOW);
	assert_int_equal(ask_host("serial", SECCOMP_SERVERS_SOUGHT, &call), SECCOMP_RET_TRAP);
#ifndef IS_SANITIZED
	assert_int_equal(ask_host("disk", SECCOMP_SERVERS_SOUGHT, &writing), SECCOMP_RET_TRAP);
	assert_int_equal(ask_host("serial", SECCOMP_SERVERS_SOUGHT, &reading), SECCOMP_RET_TRAP);
#else
	(void)writing;
#endif
}

static void test_architecture(void **state)
{
	struct sock_filter code[SECCOMP_LENGTH_MAX];
	size_t n = seccomp_compile("cpu", SECCOMP_NO_SERVERS, code);
	struct seccomp_data data = { .nr = 3, .arch = AUDIT_ARCH_I386 }; /* read(2) there */

	assert_int_equal(run(code, n, &data), SECCOMP_RET_KILL_PROCESS);
}

/* --- the kernel's ------------------------------------------------------------------------------------ */

/* Threads that all allocate memory at once, as many as give the C library reasons to ask the host something. */
enum { THREADS = 40 };
static pthread_barrier_t all_here;

static void allocate(void *arg)
{
	enum { PIECES = 16 };
	void *volatile piece[PIECES];

	for (int k = 0; k < PIECES; k++)
		piece[k] = malloc(60000);
	pthread_barrier_wait(&all_here);
	for (int k = PIECES; k-- > 0;)
		free(piece[k]);
}

static void many_threads(void)
{
	struct thread t[THREADS] = { 0 };

	pthread_barrier_init(&all_here, NULL, THREADS);
	for (int k = 0; k < THREADS; k++)
		if (thread_start(&t[k], "disk", allocate, NULL, NULL) < 0)
			_exit(1);
	for (int k = 0; k < THREADS; k++)
		thread_join(&t[k]);
	_exit(0);
}

static void escape(void *arg)
{
	syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
}

static void one_escapes(void)
{
	struct thread t = { 0 };

	if (thread_start(&t, "serial", escape, NULL, NULL) < 0)
		_exit(1);
	thread_join(&t);
	_exit(0);
}

/* The status of a child that runs a function with filters; what it says on standard error. */
static int child(void (*fn)(void), char *said, size_t size)
{
	int status = -1, out[2];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (pid == 0) {
		struct err err = ERR_INIT;

		dup2(out[1], STDERR_FILENO);
		sandbox_prepare();
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    seccomp_begin("test", SECCOMP_NO_SERVERS, &err) < 0)
			_exit(2);
		fn();
	}
	close(out[1]);
	assert_true(pid > 0);
	n = read(out[0], said, size - 1);
	said[MAX(n, 0)] = 0;
	close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_memory(void **state)
{
	char said[300];
	int status = child(many_threads, said, sizeof(said));

	assert_string_equal(said, "");
	assert_int_equal(status, 0);
}

static void test_escape(void **state)
{
	char said[300];

	assert_int_equal(child(one_escapes, said, sizeof(said)), SECCOMP_STATUS);
	assert_non_null(strstr(said, "test: thread 'serial' made the system call 41 (socket)"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_may),   cmocka_unit_test(test_helpers),
		cmocka_unit_test(test_refused),	     cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_names),	     cmocka_unit_test(test_host),
		cmocka_unit_test(test_architecture), cmocka_unit_test(test_memory),
		cmocka_unit_test(test_escape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
