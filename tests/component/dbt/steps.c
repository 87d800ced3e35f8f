// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dbt_steps [--programs N] [--seed S] [--first N] [--engine dbt|interp] [--verbose]
 *
 * A program is run by the interpreter one instruction at a time, and every state on the way is remembered. Then it
 * runs three times more, disturbed at random moments:
 *
 *	kicks		a signal handler kicks the vCPU out of cpu_run()
 *	moves		the same, and the other engine goes on from there
 *	interrupts	another thread sends messages; the guest's handler reports each one
 *
 * Each state that is seen in between must be one that the interpreter went through, none earlier than the one
 * before, and the end must be the same. So an interrupt is taken between instructions only, with everything in its
 * place: also in loops that carry flags, with rounding modes and vector registers in use.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "vm.h"

enum { MAX_STEPS = 60000, MIN_STEPS = 300 };
enum way { KICKS, MOVES, INTERRUPTS, NR_WAYS };
static const char *const way_names[] = { "kicks", "moves", "interrupts" };

struct step {
	uint64_t hash, rip;
	uint32_t status;
};

static struct step trace[MAX_STEPS];
static unsigned int nr_steps;
static struct vm *volatile kicked;
static timer_t timer;
static _Atomic bool sending;
static uint64_t seen[NR_WAYS], total_steps;
static bool verbose;

/* --- states --------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t k = 0; k + 8 <= n; k += 8)
		h = (h ^ get_le64(b + k)) * UINT64_C(0x9fb21c651e98df25), h ^= h >> 29;
	return h;
}

static uint64_t hash_of(const struct cpu_state *s)
{
	uint64_t h = mix(s->rip, s->gpr, sizeof(s->gpr));
	uint64_t small[4] = { s->rflags & ~(uint64_t)(RFLAGS_STATUS | RFLAGS_RF), s->fpu.mxcsr,
			      (uint64_t)s->fpu.fcw << 32 | s->fpu.fsw, s->fpu.ftw };

	h = mix(h, small, sizeof(small));
	for (unsigned int k = 0; k < 8; k++)
		h = mix(h, s->fpu.st[k], 8);
	h = mix(h, s->fpu.xmm, sizeof(s->fpu.xmm));
	return mix(h, s->fpu.ymm_hi, sizeof(s->fpu.ymm_hi));
}

static bool is_rep_string(struct vm *v, const struct cpu_state *s)
{
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	uint8_t b[15];

	return cpu_debug_read(v->cpu, s->rip, b, sizeof(b)) == 0 &&
	       ZYAN_SUCCESS(
		       ZydisDecoderDecodeFull(&gen_decoder[s->seg[CPU_CS].attr & SEG_L ? 0 : 1], b,
					      sizeof(b), &zi, op)) &&
	       (zi.attributes &
		(ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE));
}

/* Is it on the way, at or behind step *@at? */
static bool is_on_the_way(struct vm *v, const struct cpu_state *s, unsigned int *at, enum way way)
{
	uint64_t h = hash_of(s), live;

	for (unsigned int k = *at; k < nr_steps; k++) {
		if (trace[k].hash != h)
			continue;
		live = vm_live(v, s->rip, !(s->seg[CPU_CS].attr & SEG_L));
		if ((trace[k].status ^ s->rflags) & live & RFLAGS_STATUS)
			continue;
		*at = k;
		seen[way]++;
		return true;
	}
	/* In the middle of a repeated string instruction, or of an exception that is to be delivered: the end will tell. */
	if (s->ev.exc_pending || is_rep_string(v, s))
		return true;
	printf("# %s: a state at %llx that the interpreter does not pass, behind step %u of %u\n",
	       way_names[way], (unsigned long long)s->rip, *at, nr_steps);
	for (unsigned int k = *at; k < nr_steps; k++) {
		if (trace[k].rip == s->rip && trace[k].hash == h) {
			printf("#   only flags differ: step %u has %x, here %llx\n", k,
			       trace[k].status, (unsigned long long)s->rflags);
			break;
		}
	}
	for (unsigned int k = 0; k < 16; k++)
		printf("# %s %016llx%s", diff_gpr_names[k], (unsigned long long)s->gpr[k],
		       k % 4 == 3 ? "\n" : "");
	printf("# rflags %llx mxcsr %x fcw %x fsw %x\n", (unsigned long long)s->rflags,
	       s->fpu.mxcsr, s->fpu.fcw, s->fpu.fsw);
	return false;
}

/* --- runs ----------------------------------------------------------------------------------------------- */

static bool load(struct vm *v, const struct diff_case *k, uint64_t seed, bool user, bool quiet)
{
	uint8_t run[VM_RUN_SIZE] = { 0 };
	struct cpu_fpu fpu = k->fpu;

	vm_reset(v, seed);
	memcpy(v->ram + VM_CODE + (k->rip - DIFF_CODE), k->code, k->len);
	vm_frame(k, user, run);
	memcpy(v->ram + VM_RUN, run, sizeof(run));
	put_le64(v->ram + VM_QUIET, quiet);
	fpu.xstate_bv = 7;
	fpu.xcomp_bv = 0;
	fpu.mxcsr &= 0xffff;
	memcpy(v->ram + VM_XSAVE, &fpu, sizeof(fpu));
	vm_cmd(v, 0, OP_XRSTOR, VM_LIN + VM_XSAVE, 0, 0, 0);
	vm_cmd(v, 1, OP_IRET, 0, 0, 0, 0);
	return true;
}

/* false: too short or too long to be of interest. */
static bool record(struct vm *v)
{
	static struct cpu_state s;
	struct cpu_debug step = { .single_step = true }, none = { 0 };
	bool ok = true;

	nr_steps = 0;
	v->event = EV_NONE;
	cpu_set_debug(v->cpu, &step);
	while (ok && !v->event) {
		switch (cpu_run(v->cpu, &v->err)) {
		case CPU_EXIT_DEBUG:
		case CPU_EXIT_KICKED:
			cpu_get_state(v->cpu, &s);
			if (v->event || nr_steps == MAX_STEPS) {
				ok = v->event;
				break;
			}
			trace[nr_steps++] = (struct step){ hash_of(&s), s.rip, (uint32_t)s.rflags };
			break;
		default:
			ok = false;
		}
	}
	cpu_set_debug(v->cpu, &none);
	return ok && nr_steps >= MIN_STEPS;
}

static void on_timer(int sig)
{
	if (kicked)
		cpu_kick(kicked->cpu);
}

static void arm(struct rng *r)
{
	struct itimerspec t = { .it_value.tv_nsec = 2000 + rng_below(r, 60000) };

	timer_settime(timer, 0, &t, NULL);
}

static bool run_kicked(struct vm *v, struct rng *r, enum way way)
{
	static struct cpu_state s;
	unsigned int at = 0;
	bool ok = true;

	v->event = EV_NONE;
	kicked = v;
	while (ok && !v->event) {
		arm(r);
		if (cpu_run(v->cpu, &v->err) != CPU_EXIT_KICKED) {
			printf("# %s: cpu_run: %s\n", way_names[way], err_text(&v->err));
			ok = false;
			break;
		}
		if (v->event)
			break;
		cpu_get_state(v->cpu, &s);
		if (cpu_state_cpl(&s) == 0 && s.rip >= VM_LIN)
			continue; /* still, or again, in the machine's kernel */
		ok = is_on_the_way(v, &s, &at, way);
		if (way == MOVES)
			ok &= cpu_group_set_engine(v->grp,
						   strcmp(cpu_group_engine(v->grp), "interp") == 0
							   ? CPU_ENGINE_DBT
							   : CPU_ENGINE_INTERP,
						   &v->err) == 0;
	}
	kicked = NULL;
	return ok;
}

static void *send(void *arg)
{
	struct vm *v = arg;

	while (sending) {
		struct timespec t = { .tv_nsec = 3000 };

		cpu_group_msi(v->grp, 0xfee00000, VM_INTR);
		nanosleep(&t, NULL);
	}
	return NULL;
}

static bool run_interrupted(struct vm *v)
{
	static struct cpu_state s;
	unsigned int at = 0;
	pthread_t thread;
	bool ok = true;

	sending = true;
	if (pthread_create(&thread, NULL, send, v) != 0)
		return false;
	for (;;) {
		const uint8_t *f = v->ram + VM_IST2 - 40;
		enum vm_event e = vm_run(v);

		if (e != EV_INTR) {
			ok = e == EV_ENTRY;
			if (!ok)
				printf("# interrupts: ended by event %#x\n", e);
			break;
		}
		cpu_get_state(v->cpu, &s);
		s.rip = get_le64(f);
		s.rflags = get_le64(f + 16);
		s.gpr[CPU_RSP] = get_le64(f + 24);
		s.gpr[CPU_RAX] = get_le64(f - 8);
		s.gpr[CPU_RCX] = get_le64(f - 16);
		s.gpr[CPU_RDX] = get_le64(f - 24);
		s.seg[CPU_CS].attr = get_le16(f + 8) == DIFF_CS32 || get_le16(f + 8) == VM_CS0_32
					     ? 0xcfb
					     : 0xafb;
		ok = is_on_the_way(v, &s, &at, INTERRUPTS);
		if (!ok)
			break;
	}
	sending = false;
	pthread_join(thread, NULL);
	return ok;
}

/* What an interrupt leaves behind is not the program's. */
static bool same_end(struct vm *a, struct vm *b, enum way way)
{
	static char text[16384];
	static struct cpu_state sa, sb;

	if (way == INTERRUPTS) {
		for (unsigned int k = 0; k < 2; k++) {
			struct vm *v = k ? b : a;

			memset(v->ram + VM_IST2 - 0x1000, 0, 0x1000);
			memset(v->ram + VM_COUNT, 0, 0x1000);
			put_le64(v->ram + VM_QUIET, 0);
		}
		cpu_get_state(a->cpu, &sa);
		cpu_get_state(b->cpu, &sb);
		memcpy(sb.apic.irr, sa.apic.irr, sizeof(sb.apic.irr));
		memcpy(sb.apic.isr, sa.apic.isr, sizeof(sb.apic.isr));
		cpu_set_state(b->cpu, &sb);
	}
	if (vm_compare(a, b, text, sizeof(text)))
		return true;
	printf("# %s: another end\n%s", way_names[way], text);
	return false;
}

static bool program(struct vm *const v[2], uint64_t seed, enum cpu_engine_kind engine)
{
	struct gen_options o = { .seq = true, .cpl0 = true, .offers = guest_offers };
	struct rng r = { seed };
	static struct diff_case k;
	struct err err = ERR_INIT;
	bool user, ok = true;

	for (;;) { /* until one runs for some time */
		rng_next(&r);
		o.smc = rng_one_in(&r, 4);
		gen_case(rng_next(&r), rng_next(&r), &o, &k);
		k.runs = 200 + rng_below(&r, 3000);
		gen_round(1, &k);
		user = !rng_one_in(&r, 4);
		if (user)
			k.rflags |= RFLAGS_IOPL;
		load(v[0], &k, seed, user, true);
		if (record(v[0]))
			break;
	}
	total_steps += nr_steps;
	if (verbose) {
		static char what[8192];

		describe(&k, what, sizeof(what));
		printf("%s# %s, %u steps\n", what, user ? "user" : "kernel", nr_steps);
	}
	for (enum way way = KICKS; way < NR_WAYS && ok; way++) {
		if (cpu_group_set_engine(v[1]->grp, engine, &err) < 0)
			return false;
		load(v[1], &k, seed, user, way != INTERRUPTS);
		ok = way == INTERRUPTS ? run_interrupted(v[1]) : run_kicked(v[1], &r, way);
		ok = ok && same_end(v[0], v[1], way);
	}
	return ok;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_timer, .sa_flags = SA_RESTART | SA_ONSTACK };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
	struct vm_options o = { .runs = 60 };
	struct vm *v[2];
	uint64_t bad = 0;

	if (!vm_parse(argc, argv, "programs", &o))
		return 2;
	verbose = o.verbose;
	gen_start();
	vm_watchdog(100);
	sigaction(SIGRTMIN, &sa, NULL);
	if (timer_create(CLOCK_MONOTONIC, &ev, &timer) < 0)
		return 2;
	v[0] = vm_new(CPU_ENGINE_INTERP, NULL, 0);
	v[1] = vm_new(o.engine, NULL, 0);
	if (!v[0] || !v[1])
		return 2;
	for (uint64_t k = o.first; k < o.first + o.runs; k++) {
		if (program(v, vm_run_seed(&o, k), o.engine))
			continue;
		printf("# in program %llu\n", (unsigned long long)k);
		bad++;
		if (!o.keep_going)
			break;
	}
	printf("# %llu steps; states found: %llu at kicks, %llu at moves, %llu at interrupts\n",
	       (unsigned long long)total_steps, (unsigned long long)seen[KICKS],
	       (unsigned long long)seen[MOVES], (unsigned long long)seen[INTERRUPTS]);
	printf("%sok 1 - disturbed programs pass through the same states\n", bad ? "not " : "");
	timer_delete(timer);
	vm_free(v[0]);
	vm_free(v[1]);
	return bad != 0;
}
