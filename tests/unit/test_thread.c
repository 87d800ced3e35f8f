/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads: which signals they take. A fault of the thread's own instruction must reach its handler, or the
 * kernel ends the process; everything else is the main thread's.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "sys/thread.h"
#include "unit.h"

static void look_at_mask(void *arg)
{
	pthread_sigmask(SIG_BLOCK, NULL, arg);
}

static void test_signals(void **state)
{
	static const int own[] = { SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP };
	static const int others[] = { SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1 };
	struct thread t = { 0 };
	sigset_t mask, before, after;

	pthread_sigmask(SIG_BLOCK, NULL, &before);
	assert_int_equal(thread_start(&t, "looker", look_at_mask, &mask, NULL), 0);
	thread_join(&t);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		assert_int_equal(sigismember(&mask, own[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(sigismember(&mask, others[i]), 1);
	pthread_sigmask(SIG_BLOCK, NULL, &after);
	for (int sig = 1; sig < SIGRTMIN; sig++)
		assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
}

static _Atomic int faults;

/* Answers by masking the exceptions, as an engine does; the instruction then goes on. */
static void on_fpe(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	faults++;
	uc->uc_mcontext.fpregs->mxcsr = 0x1f80;
}

static void divide_by_zero(void *arg)
{
	static const float one = 1, zero = 0;
	uint32_t unmasked = 0x1d80, before;

	__asm__ volatile("stmxcsr %[before]\n\t"
			 "ldmxcsr %[unmasked]\n\t"
			 "movss %[one], %%xmm0\n\t"
			 "divss %[zero], %%xmm0\n\t"
			 "ldmxcsr %[before]"
			 : [before] "=m"(before)
			 : [unmasked] "m"(unmasked), [one] "m"(one), [zero] "m"(zero)
			 : "xmm0");
}

static void test_own_fault(void **state)
{
	struct sigaction old, sa = { .sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO };
	struct thread t = { 0 };

	assert_int_equal(sigaction(SIGFPE, &sa, &old), 0);
	assert_int_equal(thread_start(&t, "divider", divide_by_zero, NULL, NULL), 0);
	thread_join(&t);
	assert_int_equal(faults, 1);
	sigaction(SIGFPE, &old, NULL);
}

static void test_join_of_nothing(void **state)
{
	struct thread t = { 0 };

	thread_join(&t);
	assert_int_equal(thread_start(&t, "looker", look_at_mask, &(sigset_t){ 0 }, NULL), 0);
	thread_join(&t);
	thread_join(&t);
}

static char order[8];
static _Atomic unsigned int nr_begun;

static void note(void *arg)
{
	order[nr_begun++] = *(const char *)arg;
}

/* Threads that are held begin at the release, but not those that were joined before. */
static void test_hold(void **state)
{
	struct thread t[4] = { 0 };
	struct err err = ERR_INIT;

	thread_hold();
	for (int k = 0; k < 4; k++)
		assert_int_equal(thread_start(&t[k], "held", note, &"abcd"[k], &err), 0);
	assert_int_equal(nr_begun, 0);
	thread_join(&t[1]); /* from the middle, and the last one */
	thread_join(&t[3]);
	assert_int_equal(thread_start(&t[3], "held", note, "e", &err), 0);
	assert_int_equal(thread_release(&err), 0);
	for (int k = 0; k < 4; k++)
		thread_join(&t[k]);
	assert_int_equal(nr_begun, 3);
	assert_true(strchr(order, 'a') && strchr(order, 'c') && strchr(order, 'e'));
	/* And as ever. */
	assert_int_equal(thread_start(&t[0], "free", note, "f", &err), 0);
	thread_join(&t[0]);
	assert_int_equal(order[3], 'f');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_own_fault),
		cmocka_unit_test(test_join_of_nothing),
	};

	return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
