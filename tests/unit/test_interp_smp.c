// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Several vCPUs at once on the interpreter: locked instructions, also across pages, and code that one vCPU
 * writes while another executes it.
 */
#include <pthread.h>
#include <time.h>

#include "interp_fixture.h"

enum { NR = 3, ROUNDS = 20000, DONE = DATA + 0x4000, CODE_B = CODE + 0x4000, FUNC = CODE + 0x8000 };

static int setup(void **state)
{
	return test_setup_n(state, NR);
}

static void *run(void *arg)
{
	struct err err = ERR_INIT;

	return (void *)(uintptr_t)cpu_run(arg, &err);
}

static bool all_done(const struct interp_test *t, unsigned int nr)
{
	for (unsigned int k = 0; k < nr; k++)
		if (!*(volatile const uint8_t *)&t->ram[DONE + k * 64])
			return false;
	return true;
}

/* Run @nr vCPUs from their @rip until each has set its mark at DONE. rsi says which one it is. */
static void run_all(struct interp_test *t, unsigned int nr, const uint64_t *rip)
{
	pthread_t thread[NR];
	bool is_done = false;

	memset(t->ram + DONE, 0, NR * 64);
	for (unsigned int k = 0; k < nr; k++) {
		struct cpu_state s = t->s;

		s.rip = rip[k];
		s.gpr[CPU_RSP] = STACK + 0x1000 * (k + 1);
		s.gpr[CPU_RSI] = DONE + k * 64;
		cpu_set_state(cpu_group_cpu(t->grp, k), &s);
	}
	for (unsigned int k = 0; k < nr; k++)
		pthread_create(&thread[k], NULL, run, cpu_group_cpu(t->grp, k));
	for (unsigned int tries = 0; tries < 20000 && !is_done; tries++) {
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		is_done = all_done(t, nr);
	}
	for (unsigned int k = 0; k < nr; k++)
		cpu_kick(cpu_group_cpu(t->grp, k));
	for (unsigned int k = 0; k < nr; k++) {
		void *exit;

		pthread_join(thread[k], &exit);
		assert_int_equal((uintptr_t)exit, CPU_EXIT_KICKED);
	}
	assert_true(is_done);
}

/* PUT(t, at, "text"): assemble to an address. */
#define PUT(t, at, text)                                                                           \
	do {                                                                                       \
		const uint8_t *code_, *code_end_;                                                  \
		__asm__(".pushsection .rodata\n\t.intel_syntax noprefix\n771: " text               \
			"\n772:\n\t.att_syntax prefix\n\t.popsection\n\t"                          \
			"lea 771b(%%rip), %0\n\tlea 772b(%%rip), %1"                               \
			: "=r"(code_), "=r"(code_end_));                                           \
		memcpy((t)->ram + (at), code_, (size_t)(code_end_ - code_));                       \
	} while (0)
#define END "; mov byte ptr [rsi], 1; 8: pause; jmp 8b"

static void test_locked(void **state)
{
	struct interp_test *t = *state;
	static const uint64_t rip[NR] = { CODE, CODE, CODE };

	test_reset_state(t);
	t->s.gpr[CPU_RDI] = DATA;
	t->s.gpr[CPU_RCX] = ROUNDS;
	PUT(t, CODE,
	    "2: lock inc dword ptr [rdi]; mov eax, 1; lock xadd [rdi + 8], rax; "
	    "3: mov eax, [rdi + 16]; lea edx, [rax + 1]; lock cmpxchg [rdi + 16], edx; jnz 3b; "
	    "lock add dword ptr [rdi + 61], 1; dec ecx; jnz 2b" END);
	run_all(t, NR, rip);
	assert_int_equal(get_le32(t->ram + DATA), NR * ROUNDS);
	assert_int_equal(get_le64(t->ram + DATA + 8), NR * ROUNDS);
	assert_int_equal(get_le32(t->ram + DATA + 16), NR * ROUNDS);
	assert_int_equal(get_le32(t->ram + DATA + 61), NR * ROUNDS);
}

static void test_locked_across_pages(void **state)
{
	struct interp_test *t = *state;
	static const uint64_t rip[NR] = { CODE, CODE, CODE };

	test_reset_state(t);
	t->s.gpr[CPU_RDI] = DATA + 0xffe;
	t->s.gpr[CPU_RCX] = 300;
	PUT(t, CODE, "2: lock add dword ptr [rdi], 0x301; dec ecx; jnz 2b" END);
	run_all(t, NR, rip);
	assert_int_equal(get_le32(t->ram + DATA + 0xffe), NR * 300 * 0x301);
}

static void test_cross_modifying(void **state)
{
	struct interp_test *t = *state;
	static const uint64_t rip[NR] = { CODE, CODE, CODE_B };

	/* Two call a function until it returns the last value; the third writes it anew each round. */
	test_reset_state(t);
	t->s.gpr[CPU_RDI] = FUNC;
	PUT(t, FUNC, "mov eax, 0; ret");
	PUT(t, CODE, "2: call rdi; cmp eax, 5000; jne 2b" END);
	PUT(t, CODE_B,
	    "xor ecx, ecx; 2: inc ecx; mov [rdi + 1], ecx; mov edx, 20; 3: dec edx; jnz 3b; "
	    "cmp ecx, 5000; jne 2b" END);
	run_all(t, NR, rip);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_locked, setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_locked_across_pages, setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_cross_modifying, setup, test_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
