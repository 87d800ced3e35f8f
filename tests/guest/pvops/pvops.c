// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What paravirtual interfaces are for, as a program in the guest: mappings that change under another CPU, interrupts
 * between CPUs, reading the clock.
 *
 *	pvops remap N      a page is remapped while CPU 1 is halted, and looked at there: N rounds must see the new one
 *	pvops munmap N     unmap a page and the page table that only it was in; CPU 1 is halted in this address space
 *	pvops munmap-busy N  ... CPU 1 runs
 *	pvops ipi N        make CPU 1, which runs, execute a memory barrier
 *	pvops ipi-all N    make all CPUs do so
 *	pvops clock N      read CLOCK_MONOTONIC
 *
 * Prints "NAME: NS ns" for one round of N.
 */
#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, MAX_CPUS = 64 };
#define FAR_AWAY ((void *)0x200000000000)

static _Atomic uint32_t round_nr, done_nr;
static _Atomic bool stop;
static volatile uint32_t *page;

static void die(const char *what)
{
	printf("pvops-failed: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("sched_setaffinity");
}

static void wait_while(_Atomic uint32_t *word, uint32_t value)
{
	while (atomic_load(word) == value)
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void advance(_Atomic uint32_t *word)
{
	atomic_fetch_add(word, 1);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Looks at the page in each round, and sleeps until the next one. */
static void *looker(void *arg)
{
	pin(1);
	for (uint32_t n = 0; !atomic_load(&stop); n++) {
		wait_while(&round_nr, n);
		if (!atomic_load(&stop) && *page != n + 1) {
			printf("pvops-failed: round %u sees %u\n", n + 1, *page);
			exit(1);
		}
		advance(&done_nr);
	}
	return arg;
}

static void *sleeper(void *arg)
{
	pin(1);
	wait_while(&round_nr, 0);
	return arg;
}

static void *spinner(void *arg)
{
	pin((unsigned int)(uintptr_t)arg);
	advance(&done_nr);
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		__builtin_ia32_pause();
	return NULL;
}

static void *new_page(void *at)
{
	void *p = mmap(at, PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | (at ? MAP_FIXED : 0), -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static void remap(uint32_t rounds)
{
	page = new_page(NULL);
	for (uint32_t n = 0; n < rounds; n++) {
		uint32_t *fresh = new_page(NULL);

		*fresh = n + 1;
		if (mremap(fresh, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)page) ==
		    MAP_FAILED)
			die("mremap");
		advance(&round_nr);
		wait_while(&done_nr, n);
	}
}

static void unmap(uint32_t rounds)
{
	for (uint32_t n = 0; n < rounds; n++)
		if (munmap(new_page(FAR_AWAY), PAGE) < 0)
			die("munmap");
}

static void barrier(uint32_t rounds)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) < 0)
		die("membarrier");
	for (uint32_t n = 0; n < rounds; n++)
		if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) < 0)
			die("membarrier");
}

static void read_clock(uint32_t rounds)
{
	uint64_t last = 0;

	for (uint32_t n = 0; n < rounds; n++) {
		uint64_t now = now_ns();

		if (now < last) {
			printf("pvops-failed: time goes back from %llu to %llu\n",
			       (unsigned long long)last, (unsigned long long)now);
			exit(1);
		}
		last = now;
	}
}

static const struct {
	const char *name;
	void (*work)(uint32_t rounds);
	void *(*other)(void *arg); /* on CPU 1, or on all others */
	bool on_all;
} works[] = {
	{ "remap", remap, looker, false },	  { "munmap", unmap, sleeper, false },
	{ "munmap-busy", unmap, spinner, false }, { "ipi", barrier, spinner, false },
	{ "ipi-all", barrier, spinner, true },	  { "clock", read_clock, NULL, false },
};

int main(int argc, char **argv)
{
	uint32_t rounds = argc == 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
	unsigned int cpus = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN), nr = 0, k = 0;
	pthread_t other[MAX_CPUS];
	uint64_t start;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (argc == 3 && k < sizeof(works) / sizeof(works[0]) && strcmp(works[k].name, argv[1]))
		k++;
	if (!rounds || k == sizeof(works) / sizeof(works[0])) {
		fprintf(stderr, "usage: pvops remap|munmap|munmap-busy|ipi|ipi-all|clock N\n");
		return 2;
	}
	pin(0);
	if (works[k].other)
		for (unsigned int n = 1; n < cpus && n < MAX_CPUS && (n == 1 || works[k].on_all);
		     n++)
			if (pthread_create(&other[nr++], NULL, works[k].other,
					   (void *)(uintptr_t)n))
				die("pthread_create");
	if (works[k].other == spinner)
		for (uint32_t n = 0; n < nr; n = atomic_load(&done_nr))
			wait_while(&done_nr, n);
	start = now_ns();
	works[k].work(rounds);
	printf("%s: %llu ns\n", works[k].name, (unsigned long long)((now_ns() - start) / rounds));
	atomic_store(&stop, true);
	advance(&round_nr);
	while (nr)
		pthread_join(other[--nr], NULL);
	return 0;
}
