/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * diff [--cases N] [--seed S] [--mode 64|32] [--only NAME] [--first N] [--keep-going N]
 *      [--single] [--verbose]
 *
 * Runs cases in child processes of some thousands each, so that an accident with the host's registers cannot
 * spoil the counting; speaks TAP. The seed is printed; --seed S --first N --cases 1 repeats one case.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "diff.h"

enum {
	CHUNK = 8 * DIFF_DATA_EVERY,
	ENOUGH = 50000, /* cases after which every instruction should have been compared */
};

struct shared {
	uint64_t current; /* case being run, for the story of a child that died */
	uint64_t compared, different, refused, timeouts;
	uint32_t count[2][ZYDIS_MNEMONIC_MAX_VALUE + 1];
	uint32_t differ[ZYDIS_MNEMONIC_MAX_VALUE + 1];
};

struct options {
	uint64_t cases, seed, first, keep_going;
	int mode;
	const char *only;
	bool single, verbose;
};

static struct shared *shared;

struct side {
	uint8_t *code, *data;
};

static void fill(const struct side *s, const struct diff_case *k, const uint8_t *data)
{
	unsigned int off = (unsigned int)(k->rip - DIFF_CODE);
	unsigned int n = off + k->len <= DIFF_CODE_SIZE ? k->len : DIFF_CODE_SIZE - off;

	memcpy(s->code + off, k->code, n);
	if (memcmp(s->data, data, DIFF_DATA_SIZE) != 0)
		memcpy(s->data, data, DIFF_DATA_SIZE);
	for (unsigned int p = 0; p < k->nr_patches; p++)
		memcpy(s->data + k->patch[p].off, k->patch[p].bytes, k->patch[p].len);
}

static void clear(const struct side *s, const struct diff_case *k)
{
	unsigned int off = (unsigned int)(k->rip - DIFF_CODE);
	unsigned int n = off + k->len <= DIFF_CODE_SIZE ? k->len : DIFF_CODE_SIZE - off;

	memset(s->code + off, 0xcc, n);
}

static void count(const struct diff_case *k, bool same)
{
	for (unsigned int n = 0; same && n < k->nr_insns; n++)
		shared->count[k->is32][k->mnemonics[n]]++;
	if (!same)
		shared->differ[k->mnemonics[0]]++;
}

/* The address sanitizer's shadow lies where the guest has nothing: such an access must not be made. */
static bool hits_shadow(const struct diff_result *r)
{
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define HAS_SHADOW 1
#endif
#endif
#if defined(HAS_SHADOW) || defined(__SANITIZE_ADDRESS__)
	return r->vector == 14 && r->cr2 - 0x7fff0000 < UINT64_C(0x100100000000);
#else
	return false;
#endif
}

static void one_case(const struct options *o, struct native *n, struct guest *g, uint64_t number)
{
	static struct diff_case k;
	static struct diff_result host, engine;
	static uint8_t data[DIFF_DATA_SIZE];
	static uint64_t data_block = UINT64_MAX;
	static char text[16384];
	struct side hs = { n->code, n->data }, gs = { guest_code(g), guest_data(g) };
	char what[1024];
	bool same;

	if (data_block != number / DIFF_DATA_EVERY) {
		data_block = number / DIFF_DATA_EVERY;
		gen_data(o->seed, data_block, data);
	}
	gen_case(o->seed, number, o->mode, o->only, o->single, &k);
	shared->current = number;
	for (unsigned int j = 0; k.decoded && j < k.nr_insns; j++) {
		if (!guest_offers(g, k.isa[j])) {
			shared->refused++;
			return;
		}
	}
	if (o->verbose) {
		describe(&k, what, sizeof(what));
		fputs(what, stdout);
		for (unsigned int r = 0; r < 16; r++)
			printf("# %s %016llx%s", diff_gpr_names[r], (unsigned long long)k.gpr[r],
			       r % 4 == 3 ? "\n" : "");
		printf("# fs_base %llx gs_base %llx rflags %llx\n", (unsigned long long)k.fs_base,
		       (unsigned long long)k.gs_base, (unsigned long long)k.rflags);
		fflush(stdout);
	}
	for (unsigned int try = 0;; try++) {
		fill(&hs, &k, data);
		fill(&gs, &k, data);
		guest_code_changed(g);
		guest_run(g, &k, &engine);
		if (hits_shadow(&engine)) {
			clear(&hs, &k);
			clear(&gs, &k);
			guest_code_changed(g);
			return;
		}
		native_run(&k, &host);
		clear(&hs, &k);
		clear(&gs, &k);
		guest_code_changed(g);
		/* Once more after a difference: the watchdog may have hit it, and a context switch loses the x87
		 * pointers, which Linux saves only while an exception is pending. */
		same = compare(&k, &host, &engine, n->data, guest_data(g), text, sizeof(text));
		if (same && host.vector == DIFF_VEC_TIMEOUT && try == 2) {
			shared->timeouts++;
			return;
		}
		if ((same && host.vector != DIFF_VEC_TIMEOUT) || try == 2)
			break;
	}
	shared->compared++;
	if (same) {
		count(&k, true);
		return;
	}
	count(&k, false);
	if (shared->different++ < o->keep_going) {
		describe(&k, what, sizeof(what));
		printf("%s%s", what, text);
		fflush(stdout);
	}
}

static void child(const struct options *o, uint64_t first, uint64_t n)
{
	struct native native;
	const char *why = "?";
	struct guest *g = guest_new(&why);
	int r = native_start(&native);

	if (!g || r < 0) {
		printf("# cannot start: %s\n", g ? strerror(-r) : why);
		fflush(stdout);
		_exit(2);
	}
	for (uint64_t k = first; k < first + n; k++)
		one_case(o, &native, g, k);
	fflush(stdout);
	_exit(0);
}

static bool run_chunk(const struct options *o, uint64_t first, uint64_t n)
{
	int status;
	pid_t pid = fork();

	if (pid < 0) {
		perror("fork");
		return false;
	}
	if (pid == 0)
		child(o, first, n);
	if (waitpid(pid, &status, 0) < 0)
		return false;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	printf("# child ended with status %#x in seed %#llx case %llu\n", (unsigned int)status,
	       (unsigned long long)o->seed, (unsigned long long)shared->current);
	return false;
}

/* Every mnemonic of the table that is offered and not skipped must have been equal at least once. */
static unsigned int never_compared(const struct options *o)
{
	unsigned int nr = 0;
	const char *why = "?";
	struct guest *g = guest_new(&why);

	for (unsigned int m = 1; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
		for (int is32 = 0; is32 < 2; is32++) {
			unsigned int isa;

			if ((o->mode == 64 && is32) || (o->mode == 32 && !is32))
				continue;
			if (!gen_covers(is32, m, &isa) || shared->count[is32][m] ||
			    !guest_offers(g, isa) || skip_mnemonic_reason(m))
				continue;
			printf("# never compared in %d-bit mode: %s\n", is32 ? 32 : 64,
			       ZydisMnemonicGetString((ZydisMnemonic)m));
			nr++;
		}
	}
	return nr;
}

static void report_different(void)
{
	for (unsigned int m = 1; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++)
		if (shared->differ[m])
			printf("# %s: %u different, %u equal\n",
			       ZydisMnemonicGetString((ZydisMnemonic)m), shared->differ[m],
			       shared->count[0][m] + shared->count[1][m]);
}

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "cases", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 's' },
		{ "mode", required_argument, NULL, 'm' },
		{ "only", required_argument, NULL, 'o' },
		{ "first", required_argument, NULL, 'f' },
		{ "keep-going", required_argument, NULL, 'k' },
		{ "single", no_argument, NULL, '1' },
		{ "verbose", no_argument, NULL, 'v' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'n':
			o->cases = strtoull(optarg, NULL, 0);
			break;
		case 's':
			o->seed = strtoull(optarg, NULL, 0);
			break;
		case 'm':
			o->mode = (int)strtol(optarg, NULL, 0);
			break;
		case 'o':
			o->only = optarg;
			break;
		case 'f':
			o->first = strtoull(optarg, NULL, 0);
			break;
		case 'k':
			o->keep_going = strtoull(optarg, NULL, 0);
			break;
		case '1':
			o->single = true;
			break;
		case 'v':
			o->verbose = true;
			break;
		default:
			return false;
		}
	}
	return optind == argc;
}

int main(int argc, char **argv)
{
	struct options o = { .cases = 50000, .keep_going = 20 };
	struct timespec a, b;
	unsigned int missing;
	bool ok = true, all;
	double s;

	clock_gettime(CLOCK_REALTIME, &a);
	o.seed = (uint64_t)a.tv_sec * 1000003 ^ (uint64_t)a.tv_nsec;
	if (!parse(argc, argv, &o)) {
		fprintf(stderr,
			"usage: diff [--cases N] [--seed S] [--first N] [--mode 64|32] [--only NAME] "
			"[--keep-going N] [--single] [--verbose]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		return 2;
	if (!native_usable()) {
		printf("1..1\nok 1 - diff # SKIP the host CPU or kernel lacks AVX2 or FSGSBASE\n");
		return 0;
	}
	all = !o.only && o.cases >= ENOUGH;
	printf("1..%d\n# seed %#llx\n", all ? 2 : 1, (unsigned long long)o.seed);
	gen_start();
	printf("# %u encodings\n", gen_encodings());
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (uint64_t k = o.first; k < o.first + o.cases; k += CHUNK)
		ok &= run_chunk(&o, k,
				o.first + o.cases - k < CHUNK ? o.first + o.cases - k : CHUNK);
	clock_gettime(CLOCK_MONOTONIC, &b);
	s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	report_different();
	printf("# %llu compared, %llu different, %llu not offered, %llu endless; %.0f cases a second\n",
	       (unsigned long long)shared->compared, (unsigned long long)shared->different,
	       (unsigned long long)shared->refused, (unsigned long long)shared->timeouts,
	       (double)shared->compared / s);
	ok &= shared->different == 0 && shared->compared > 0;
	printf("%sok 1 - the engine and the host CPU agree\n", ok ? "" : "not ");
	if (!all)
		return !ok;
	missing = never_compared(&o);
	printf("%sok 2 - every offered instruction was compared\n", missing ? "not " : "");
	return !ok || missing;
}
