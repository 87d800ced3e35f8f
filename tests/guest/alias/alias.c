/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program whose sole purpose is to be mistaken for another one. It is built twice, as WHICH 1 and
 * 2, static and at fixed addresses: the two have functions of the same size at the same addresses
 * that compute something else. An engine that keeps translations or predictions of one while the
 * other runs (by virtual address, or by physical page across exec and fork) computes a wrong sum.
 *
 * Each function's constants stand in its code and once more in a table, so that a check compares
 * code with data. Beside that: vector and x87 registers across a switch of tasks; and code in memory
 * that two processes share at different addresses, which one changes while both execute it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone, aligned(16)))
#define ADD(n)	 ((WHICH * UINT32_C(0x21436587)) ^ ((n)*UINT32_C(0x1e3779b1)) ^ UINT32_C(0x55667788))
#define XOR(n)	 ((WHICH * UINT32_C(0x10fedcba)) ^ ((n)*UINT32_C(0x2545f491)) ^ UINT32_C(0x66778899))
#define MUL(n)                                                                                     \
	(((WHICH * UINT32_C(0x12345678)) ^ ((n)*UINT32_C(0x1b873593))) | UINT32_C(0x40000001))

#define FUNCTION(n)                                                                                \
	static NOINLINE uint32_t f##n(uint32_t x)                                                  \
	{                                                                                          \
		x += ADD(n##u);                                                                    \
		__asm__ volatile("" : "+r"(x));                                                    \
		x ^= XOR(n##u);                                                                    \
		__asm__ volatile("" : "+r"(x));                                                    \
		return x * MUL(n##u);                                                              \
	}
#define EIGHT(a, X) X(a##0) X(a##1) X(a##2) X(a##3) X(a##4) X(a##5) X(a##6) X(a##7)
#define ALL(X)	    EIGHT(1, X) EIGHT(2, X) EIGHT(3, X) EIGHT(4, X) EIGHT(5, X) EIGHT(6, X)
#define POINTER(n)  f##n,
#define ROW(n)	    { ADD(n##u), XOR(n##u), MUL(n##u) },

ALL(FUNCTION)

typedef uint32_t (*function)(uint32_t x);

static function const functions[] = { ALL(POINTER) };
/* Not constant, or the compiler would compare code with code. */
static volatile struct {
	uint32_t add, xor, mul;
} rows[] = { ALL(ROW) };

enum { NR = sizeof(functions) / sizeof(functions[0]), PAGE = 4096 };

/* What two processes share. */
struct shared {
	_Atomic uint32_t said; /* the value in the code is this one */
	_Atomic uint32_t seen; /* the reader has called the code with that value */
	_Atomic bool stop;     /* the writer is through, or the reader has found something wrong */
};

static struct shared *shared;

static char what[96];

static _Noreturn void wrong(const char *where, uint64_t got, uint64_t want)
{
	printf("alias: %s: %s: %#llx, not %#llx\n", what, where, (unsigned long long)got,
	       (unsigned long long)want);
	fflush(stdout);
	if (shared)
		atomic_store(&shared->stop, true);
	_exit(1);
}

static _Noreturn void broken(const char *where)
{
	printf("alias: %s: %s: %s\n", what, where, strerror(errno));
	fflush(stdout);
	_exit(2);
}

static NOINLINE uint32_t deep(unsigned int n, uint32_t x)
{
	/* The sum after the call keeps it from being a jump. */
	return n ? functions[n % NR](deep(n - 1, x)) + n : x;
}

static uint32_t by_table(unsigned int n, uint32_t x)
{
	return ((x + rows[n].add) ^ rows[n].xor) * rows[n].mul;
}

#define DIRECT(n) x = f##n(x);

static void check_functions(uint32_t seed)
{
	uint32_t x = seed, want = seed;
	unsigned int n;

	for (n = 0; n < NR; n++) {
		uint32_t got = functions[n](seed);

		if (got != by_table(n, seed))
			wrong("indirect call", got, by_table(n, seed));
	}
	ALL(DIRECT)
	for (n = 0; n < NR; n++)
		want = by_table(n, want);
	if (x != want)
		wrong("direct calls", x, want);
	want = seed;
	for (n = 1; n <= 100; n++)
		want = by_table(n % NR, want) + n;
	x = deep(100, seed);
	if (x != want)
		wrong("recursion", x, want);
}

/* A system call that gives the CPU away, with registers full that the kernel must bring back. */
static void check_registers(uint32_t seed)
{
	enum { REGS = sizeof(long) == 8 ? 16 : 8 };
	static _Alignas(16) uint32_t in[REGS][4], out[REGS][4];
	uint32_t round = (WHICH & 3u) << 13 | 0x1f80, got_round = 0;
	long double ld = (long double)seed + 1 / 3.0L, got_ld = 0;

	for (unsigned int n = 0; n < REGS * 4; n++)
		in[n / 4][n % 4] = seed * (n + 1) ^ WHICH << 28;
	__asm__ volatile("ldmxcsr %[round]\n\t"
			 "fldt %[ld]\n\t"
#define LOAD(n)	 "movaps " #n "*16(%[in]), %%xmm" #n "\n\t"
#define STORE(n) "movaps %%xmm" #n ", " #n "*16(%[out])\n\t"
#ifdef __x86_64__
#define SAVED(X)                                                                                   \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
			 SAVED(LOAD) "mov %[nr], %%eax\n\t"
				     "syscall\n\t" SAVED(STORE)
#else
#define SAVED(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
			 SAVED(LOAD) "mov %[nr], %%eax\n\t"
				     "int $0x80\n\t" SAVED(STORE)
#endif
					     "fstpt %[got_ld]\n\t"
					     "stmxcsr %[got_round]\n\t"
			 : [got_ld] "=m"(got_ld), [got_round] "=m"(got_round), "=m"(out)
			 : [in] "r"(in), [out] "r"(out), [ld] "m"(ld), [round] "m"(round),
			   [nr] "i"(SYS_sched_yield), "m"(in)
			 : "eax", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
			   "memory", "cc"
#ifdef __x86_64__
			   ,
			   "rcx", "r11", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
			   "xmm14", "xmm15"
#endif
	);
	for (unsigned int n = 0; n < REGS; n++)
		for (unsigned int k = 0; k < 4; k++)
			if (in[n][k] != out[n][k])
				wrong("xmm register after a switch", out[n][k], in[n][k]);
	if (got_ld != ld)
		wrong("x87 register after a switch", (uint64_t)got_ld, seed);
	if ((got_round & ~0x3fu) != (round & ~0x3fu))
		wrong("MXCSR after a switch", got_round, round);
}

enum {
	CODE = PAGE,	     /* offset of the shared page of code in the file */
	SELF = 0x100,	     /* returns its own address */
	IMMEDIATE = 0x203,   /* returns a constant, 4-aligned behind its opcode */
	CROSSING = PAGE - 3, /* its constant goes on in the page behind, each process's own */
	CROSSING_REST = 2,
};

static void serialize(void)
{
	unsigned int a = 0, c = 0;

	__asm__ volatile("cpuid" : "+a"(a), "+c"(c) : : "ebx", "edx", "memory");
}

static uint32_t call_code(const uint8_t *code)
{
	function f;

	memcpy(&f, &code, sizeof(f));
	return f(0);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Both ends of the pair call the three pieces of shared code, each at addresses of its own. */
static void check_shared(const uint8_t *code, uint32_t value, uint32_t high)
{
	uint32_t got = call_code(code + IMMEDIATE);

	if (got != value)
		wrong("changed code", got, value);
	got = call_code(code + SELF);
	if (got != (uint32_t)(uintptr_t)(code + SELF + 5))
		wrong("address of shared code", got, (uintptr_t)(code + SELF + 5));
	got = call_code(code + CROSSING);
	if (got != (high << 16 | 0x3333))
		wrong("code across two pages", got, high << 16 | 0x3333);
}

static void *map_at(uintptr_t at, int prot, int flags, int fd, long offset)
{
	void *p = mmap((void *)at, PAGE, prot, flags | (at ? MAP_FIXED : 0), fd, offset);

	if (p == MAP_FAILED)
		broken("mmap");
	return p;
}

/* The page behind the shared one is each process's own, and changes, too. */
static void change_own(uint8_t *own, uint16_t high)
{
	memcpy(own, &high, sizeof(high));
	own[CROSSING_REST] = 0xc3;
}

static void write_code(int fd, double until)
{
	uint8_t *data = map_at(0, PROT_READ | PROT_WRITE, MAP_SHARED, fd, CODE);
	uint8_t *code = map_at(0x50000000, PROT_READ | PROT_EXEC, MAP_SHARED, fd, CODE);
	uint8_t *own = map_at(0x50000000 + PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t value = 0;

	/* call 1f; 1: pop %eax; ret */
	memcpy(data + SELF, "\xe8\0\0\0\0\x58\xc3", 7);
	/* mov $imm, %eax; ret */
	memcpy(data + IMMEDIATE, "\xb8\0\0\0\0\xc3", 6);
	/* mov $0x....3333, %eax: the upper half of the constant is in the next page */
	memcpy(data + CROSSING, "\xb8\x33\x33", 3);
	while (now() < until && !atomic_load(&shared->stop)) {
		value++;
		change_own(own, (uint16_t)(value * 3));
		atomic_store((_Atomic uint32_t *)(void *)(data + IMMEDIATE + 1), value);
		atomic_store(&shared->said, value);
		serialize();
		check_shared(code, value, (uint16_t)(value * 3));
		while (atomic_load(&shared->seen) != value && !atomic_load(&shared->stop)) {
			if (now() > until + 60)
				wrong("the reader does not answer", shared->seen, value);
			sched_yield();
		}
	}
	atomic_store(&shared->stop, true);
	printf("alias: %s: %u changes\n", what, value);
}

static void read_code(int fd)
{
	uint8_t *code = map_at(0x60003000, PROT_READ | PROT_EXEC, MAP_SHARED, fd, CODE);
	uint8_t *own = map_at(0x60003000 + PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t value = 0;

	while (!atomic_load(&shared->stop)) {
		if (atomic_load(&shared->said) == value) {
			sched_yield();
			continue;
		}
		value = atomic_load(&shared->said);
		change_own(own, (uint16_t)(value * 5));
		serialize();
		check_shared(code, value, (uint16_t)(value * 5));
		atomic_store(&shared->seen, value);
	}
	if (value < 10)
		wrong("too few changes of the code", value, 10);
}

static void wait_for(pid_t pid, const char *child)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		broken("wait");
	if (status != 0)
		wrong(child, (uint64_t)status, 0);
}

/* Turn by turn: its own sums, a forked child's, and those of the other program by exec. */
static void churn(double until, char *other)
{
	char *argv[] = { other, (char *)"once", NULL };
	uint32_t rounds = 0;

	while (now() < until) {
		pid_t pid = fork();

		if (pid < 0)
			broken("fork");
		if (pid == 0) {
			check_functions(rounds);
			if (rounds & 1)
				_exit(0);
			execv(other, argv);
			broken("exec");
		}
		check_functions(++rounds);
		wait_for(pid, "child");
	}
	printf("alias: %s: %u rounds\n", what, rounds);
}

static void spin(double until)
{
	uint32_t rounds = 0;

	while (now() < until) {
		for (int n = 0; n < 20; n++) {
			check_functions(rounds * 2654435761u);
			check_registers(++rounds);
		}
	}
	printf("alias: %s: %u rounds\n", what, rounds);
}

static void pair(double until)
{
	int fd = (int)syscall(SYS_memfd_create, "code", 0);
	pid_t pid;

	if (fd < 0 || ftruncate(fd, CODE + PAGE) < 0)
		broken("memfd");
	shared = map_at(0, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	pid = fork();
	if (pid < 0)
		broken("fork");
	if (pid == 0) {
		read_code(fd);
		_exit(0);
	}
	write_code(fd, until);
	wait_for(pid, "reader");
}

/* alias once | spin SECONDS CPU | pair SECONDS CPU | churn SECONDS CPU OTHER; CPU -1: any */
int main(int argc, char **argv)
{
	double until = now() + (argc > 2 ? atof(argv[2]) : 0);
	int cpu = argc > 3 ? (int)strtol(argv[3], NULL, 10) : -1;

	snprintf(what, sizeof(what), "%zu-bit program %d, %s on CPU %d", sizeof(long) * 8, WHICH,
		 argc > 1 ? argv[1] : "?", cpu);
	if (cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set) < 0)
			broken("affinity");
	}
	if (argc == 2 && !strcmp(argv[1], "once"))
		check_functions(WHICH);
	else if (argc == 4 && !strcmp(argv[1], "spin"))
		spin(until);
	else if (argc == 4 && !strcmp(argv[1], "pair"))
		pair(until);
	else if (argc == 5 && !strcmp(argv[1], "churn"))
		churn(until, argv[4]);
	else
		return 2;
	return 0;
}
