/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * diff [--cases N] [--seed S] [--mode 64|32] [--only NAME] [--first N] [--keep-going N]
 *      [--single | --seq] [--engine interp|dbt] [--cpl 3|0] [--verbose]
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
	ENOUGH = 50000, /* cases after which nearly every instruction should have been compared */
	GAP_CASES = 100,
};

struct shared {
	uint64_t current; /* case being run, for the story of a child that died */
	uint64_t compared, different, refused, timeouts;
	uint32_t count[2][ZYDIS_MNEMONIC_MAX_VALUE + 1];
	uint32_t differ[ZYDIS_MNEMONIC_MAX_VALUE + 1];
};

struct options {
	uint64_t cases, seed, first, keep_going;
	struct gen_options gen;
	struct guest_options guest;
	bool verbose;
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

static void print_state(const struct diff_case *k)
{
	static char what[4096];

	describe(k, what, sizeof(what));
	fputs(what, stdout);
	for (unsigned int r = 0; r < 16; r++)
		printf("# %s %016llx%s", diff_gpr_names[r], (unsigned long long)k->gpr[r],
		       r % 4 == 3 ? "\n" : "");
	printf("# fs_base %llx gs_base %llx rflags %llx\n", (unsigned long long)k->fs_base,
	       (unsigned long long)k->gs_base, (unsigned long long)k->rflags);
	fflush(stdout);
}

static struct diff_case the_case;

/* The status flags that must be right. */
static uint64_t flags_of(const struct options *o, const struct diff_result *host)
{
	const struct diff_case *k = &the_case;

	if (o->guest.engine != CPU_ENGINE_DBT || k->nr_insns <= 1 || host->vector == 3)
		return RFLAGS_STATUS;
	return flags_live(k->is32, k->code, k->len, (unsigned int)(host->rip - k->rip));
}

/*
 * A program that overwrites its return addresses may run into the middle of its instructions, and find there what
 * differs by privilege level. At CPL 0 the interpreter has the last word.
 */
static bool interp_agrees(const struct options *o, const struct diff_result *engine,
			  const uint8_t *engine_data, const uint8_t *data)
{
	static struct guest *g;
	static struct diff_result interp;
	static char text[16384];
	const struct guest_options go = { .engine = CPU_ENGINE_INTERP, .cpl0 = true };
	struct compare_options co = { .cpl0 = true };
	const char *why;
	struct side s;

	if (!o->guest.cpl0 || !o->gen.seq)
		return false;
	if (!g)
		g = guest_new(&go, &why);
	if (!g)
		return false;
	s = (struct side){ guest_code(g), guest_data(g) };
	fill(&s, &the_case, data);
	guest_code_changed(g);
	guest_run(g, &the_case, &interp);
	clear(&s, &the_case);
	co.flags = flags_of(o, &interp);
	return compare(&the_case, &interp, engine, guest_data(g), engine_data, &co, text,
		       sizeof(text));
}

/* INT1 (see skip.c), and HLT, which sleeps at CPL 0. */
static bool by_accident(const struct diff_result *host, const struct diff_result *engine)
{
	uint64_t off = host->rip - the_case.rip;

	return (host->vector == 1 && engine->vector == 1) ||
	       (host->vector == 13 && off < the_case.len && the_case.code[off] == 0xf4);
}

/* Run the case on both sides; false when it is not to be run again from another state. */
static bool one_state(const struct options *o, struct native *n, struct guest *g,
		      const uint8_t *data, unsigned int round)
{
	static struct diff_result host, engine;
	static char text[16384];
	struct side hs = { n->code, n->data }, gs = { guest_code(g), guest_data(g) };
	struct compare_options co = { .cpl0 = o->guest.cpl0 };
	static char what[4096];
	bool same;

	if (o->verbose)
		print_state(&the_case);
	for (unsigned int try = 0;; try++) {
		fill(&hs, &the_case, data);
		fill(&gs, &the_case, data);
		if (round == 0)
			guest_code_changed(g);
		guest_run(g, &the_case, &engine);
		if (hits_shadow(&engine))
			return false;
		native_run(&the_case, &host);
		co.flags = flags_of(o, &host);
		/* Once more after a difference: the watchdog may have hit it, and a context switch loses the x87
		 * pointers, which Linux saves only while an exception is pending. */
		same = compare(&the_case, &host, &engine, n->data, guest_data(g), &co, text,
			       sizeof(text));
		if (host.vector == DIFF_VEC_TIMEOUT && engine.vector == DIFF_VEC_TIMEOUT &&
		    (o->gen.seq || (same && try == 2))) {
			shared->timeouts++;
			return false;
		}
		if ((same && host.vector != DIFF_VEC_TIMEOUT) || try == 2)
			break;
	}
	if (!same && o->gen.seq && by_accident(&host, &engine)) {
		shared->refused++;
		return false;
	}
	if (!same && interp_agrees(o, &engine, gs.data, data)) {
		shared->refused++;
		return false;
	}
	shared->compared++;
	count(&the_case, same);
	if (same)
		return true;
	if (shared->different++ < o->keep_going) {
		describe(&the_case, what, sizeof(what));
		printf("%s# round %u, vector %u\n%s", what, round, host.vector, text);
		fflush(stdout);
	}
	return false;
}

static void one_case(const struct options *o, struct native *n, struct guest *g, uint64_t number)
{
	static uint8_t data[DIFF_DATA_SIZE];
	static uint64_t data_block = UINT64_MAX;
	struct side hs = { n->code, n->data }, gs = { guest_code(g), guest_data(g) };
	bool same = true;

	if (data_block != number / DIFF_DATA_EVERY) {
		data_block = number / DIFF_DATA_EVERY;
		gen_data(o->seed, data_block, data);
	}
	gen_case(o->seed, number, &o->gen, &the_case);
	shared->current = number;
	for (unsigned int j = 0; the_case.decoded && j < the_case.nr_insns; j++) {
		if (!guest_offers(the_case.isa[j])) {
			shared->refused++;
			return;
		}
	}
	for (unsigned int round = 0; round < (o->gen.seq ? DIFF_ROUNDS : 1) && same; round++) {
		gen_round(round, &the_case);
		same = one_state(o, n, g, data, round);
	}
	clear(&hs, &the_case);
	clear(&gs, &the_case);
	guest_code_changed(g);
}

static void child(const struct options *o, uint64_t first, uint64_t n)
{
	struct native native;
	const char *why = "?";
	struct guest *g = guest_new(&o->guest, &why);
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

/* Offered and not skipped, but never equal so far. */
static bool is_gap(const struct options *o, int is32, unsigned int m)
{
	unsigned int isa;

	return (!o->gen.mode || o->gen.mode == (is32 ? 32 : 64)) && gen_covers(is32, m, &isa) &&
	       !shared->count[is32][m] && guest_offers(isa) && !skip_mnemonic_reason(m);
}

/* Chance leaves out one of a thousand mnemonics now and then: such get cases of their own. */
static bool fill_gaps(const struct options *o)
{
	struct options one = *o;
	bool ok = true;

	one.first += o->cases;
	for (unsigned int m = 1; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
		for (int is32 = 0; is32 < 2; is32++) {
			if (!is_gap(o, is32, m))
				continue;
			one.gen.only = ZydisMnemonicGetString((ZydisMnemonic)m);
			one.gen.mode = is32 ? 32 : 64;
			printf("# %d cases more: --mode %d --only %s\n", GAP_CASES, one.gen.mode,
			       one.gen.only);
			ok &= run_chunk(&one, one.first, GAP_CASES);
		}
	}
	return ok;
}

/* Every mnemonic of the table that is offered and not skipped must have been equal at least once. */
static unsigned int never_compared(const struct options *o)
{
	unsigned int nr = 0;

	for (unsigned int m = 1; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
		for (int is32 = 0; is32 < 2; is32++) {
			if (!is_gap(o, is32, m))
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
		{ "seq", no_argument, NULL, 'q' },
		{ "engine", required_argument, NULL, 'e' },
		{ "cpl", required_argument, NULL, 'c' },
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
			o->gen.mode = (int)strtol(optarg, NULL, 0);
			break;
		case 'o':
			o->gen.only = optarg;
			break;
		case 'f':
			o->first = strtoull(optarg, NULL, 0);
			break;
		case 'k':
			o->keep_going = strtoull(optarg, NULL, 0);
			break;
		case '1':
			o->gen.single = true;
			break;
		case 'q':
			o->gen.seq = true;
			break;
		case 'e':
			if (strcmp(optarg, "interp") != 0 && strcmp(optarg, "dbt") != 0)
				return false;
			o->guest.engine = *optarg == 'd' ? CPU_ENGINE_DBT : CPU_ENGINE_INTERP;
			break;
		case 'c':
			o->gen.cpl0 = o->guest.cpl0 = strtol(optarg, NULL, 0) == 0;
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
	struct options o = { .cases = 50000,
			     .keep_going = 20,
			     .guest.engine = CPU_ENGINE_INTERP,
			     .gen.offers = guest_offers };
	struct timespec a, b;
	unsigned int missing;
	bool ok = true, all;
	double s;

	clock_gettime(CLOCK_REALTIME, &a);
	o.seed = (uint64_t)a.tv_sec * 1000003 ^ (uint64_t)a.tv_nsec;
	if (!parse(argc, argv, &o)) {
		fprintf(stderr,
			"usage: diff [--cases N] [--seed S] [--first N] [--mode 64|32] [--only NAME] "
			"[--keep-going N] [--single | --seq] [--engine interp|dbt] [--cpl 3|0] "
			"[--verbose]\n");
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
	all = !o.gen.only && !o.gen.seq && !o.gen.cpl0 && o.cases >= ENOUGH;
	printf("1..%d\n# seed %#llx\n", all ? 2 : 1, (unsigned long long)o.seed);
	gen_start();
	printf("# %u encodings\n", gen_encodings());
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (uint64_t k = o.first; k < o.first + o.cases; k += CHUNK)
		ok &= run_chunk(&o, k,
				o.first + o.cases - k < CHUNK ? o.first + o.cases - k : CHUNK);
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (all)
		ok &= fill_gaps(&o);
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
