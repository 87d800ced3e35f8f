// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dbt_pair [--worlds N] [--seed S] [--first N] [--engine dbt|interp]
 *               [--keep-going] [--verbose]
 *
 * Two machines, one on the interpreter and one on the translation engine, from the same state on copies of the same
 * memory. A world is a random life: programs at both privilege levels in two address spaces that have other
 * code at the same addresses, page tables and code changed by the kernel, by the programs themselves and by
 * devices, system calls, faults, interrupts. At everything that the test can see (each entry to the kernel, each end
 * of a list of commands) the whole states must be equal: registers, memory, page tables, what devices have seen.
 *
 * `--seed S --first N --worlds 1 --verbose` repeats a world.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vm.h"

enum { NR_SNIPS = 10, EVENTS = 120 };

struct snip {
	bool valid;
	unsigned int as;
	struct diff_case k;
};

struct world {
	struct rng r;
	struct vm *v[2];
	unsigned int as; /* the current address space */
	bool is_user;	 /* of the program that runs */
	uint64_t cr4;
	struct snip snip[NR_SNIPS];
	unsigned int nr_cmds;
	bool verbose;
	uint64_t number;
	uint64_t events, programs, endless, by_event[4], by_vector[257];
};

static void cmd(struct world *w, enum vm_op op, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	static const char *const names[] = { "end",    "iret",	 "sysret", "sysret32", "cr3",
					     "invlpg", "store",	 "copy",   "cr4",      "cr0",
					     "xrstor", "enable", "out" };

	if (w->verbose)
		printf("#   %s %llx %llx %llx %llx\n", names[op], (unsigned long long)a,
		       (unsigned long long)b, (unsigned long long)c, (unsigned long long)d);
	for (unsigned int k = 0; k < 2; k++)
		vm_cmd(w->v[k], w->nr_cmds, op, a, b, c, d);
	w->nr_cmds++;
}

static bool room(const struct world *w, unsigned int n)
{
	return w->nr_cmds + n < VM_MAX_CMDS;
}

/* Written behind the engines' back: only what is no code. */
static void poke(struct world *w, uint32_t gpa, const void *p, uint32_t n)
{
	for (unsigned int k = 0; k < 2; k++)
		memcpy(w->v[k]->ram + gpa, p, n);
}

/* --- page tables ------------------------------------------------------------------------------------------ */

static uint32_t pte_at(unsigned int as, uint32_t lin)
{
	uint32_t table = lin < DIFF_DATA ? VM_PT_CODE : VM_PT_DATA;

	return table + as * 0x1000 + 8 * (lin >> 12 & 511);
}

/* Where a page of the window lies, whatever its rights; 0: not present. */
static uint32_t gpa_of(const struct world *w, unsigned int as, uint32_t lin)
{
	uint64_t pte = get_le64(w->v[0]->ram + pte_at(as, lin));

	return pte & 1 ? (uint32_t)(pte & 0xfffff000) | (lin & 0xfff) : 0;
}

static void change_page(struct world *w)
{
	bool code = rng_one_in(&w->r, 2);
	uint32_t page = rng_below(&w->r, code ? VM_WINDOW : 6);
	uint32_t lin = (code ? DIFF_CODE : DIFF_DATA) + page * 0x1000;
	unsigned int as = rng_one_in(&w->r, 3) ? 1 - w->as : w->as;
	uint64_t pte = code || rng_one_in(&w->r, 8)
			       ? VM_CODE + rng_below(&w->r, VM_NR_CODE) * 0x1000
			       : VM_DATA + rng_below(&w->r, VM_NR_DATA) * 0x1000;

	if (rng_one_in(&w->r, 2)) /* only the rights */
		pte = get_le64(w->v[0]->ram + pte_at(as, lin)) & 0xff000;
	if (!pte)
		return;
	if (rng_one_in(&w->r, 2)) { /* as it was */
		pte &= 0xff000;
		pte |= 7 | (code ? 0 : UINT64_C(1) << 63);
	}
	pte |= rng_one_in(&w->r, 10) ? 0 : 1;
	pte |= rng_one_in(&w->r, 4) ? 0 : 2;
	pte |= rng_one_in(&w->r, 10) ? 0 : 4;
	pte |= rng_one_in(&w->r, 2) ? 0x20 : 0;
	pte |= rng_one_in(&w->r, 2) ? 0x40 : 0;
	if (code ? rng_one_in(&w->r, 20) : !rng_one_in(&w->r, 8))
		pte |= UINT64_C(1) << 63;
	cmd(w, OP_STORE, VM_LIN + pte_at(as, lin), pte, 3, 0);
	if (as != w->as)
		return; /* the next load of CR3 forgets what was there */
	switch (rng_below(&w->r, 8)) {
	case 0:
		cmd(w, OP_CR3, VM_PML4 + w->as * 0x1000, 0, 0, 0);
		break;
	case 1:
		cmd(w, OP_CR4, w->cr4 & ~(uint64_t)CR4_PGE, 0, 0, 0);
		cmd(w, OP_CR4, w->cr4, 0, 0, 0);
		break;
	default:
		cmd(w, OP_INVLPG, lin, 0, 0, 0);
	}
}

/* --- programs --------------------------------------------------------------------------------------------- */

/* Bytes of a page that some address space maps, in one of the ways that bytes come into memory. */
static void write_code(struct world *w, uint32_t gpa, const uint8_t *p, uint32_t n)
{
	uint32_t done = 0;

	switch (room(w, n / 4 + 8) ? rng_below(&w->r, 4) : 0) {
	case 0: /* a device */
		if (w->verbose)
			printf("#   device writes %x, %u bytes\n", gpa, n);
		for (unsigned int k = 0; k < 2; k++)
			vm_write(w->v[k], gpa, p, n);
		break;
	case 1: /* piece by piece */
		while (done < n) {
			unsigned int log2 = rng_below(&w->r, 4);
			uint8_t b[8] = { 0 };

			while (done + (1u << log2) > n)
				log2--;
			if (!room(w, 6)) {
				log2 = 0;
				cmd(w, OP_COPY, VM_LIN + VM_STAGING, VM_LIN + gpa + done, n - done,
				    2);
				poke(w, VM_STAGING, p + done, n - done);
				break;
			}
			memcpy(b, p + done, 1u << log2);
			cmd(w, OP_STORE, VM_LIN + gpa + done, get_le64(b), log2, 0);
			done += 1u << log2;
		}
		break;
	default:
		poke(w, VM_STAGING + (gpa & 0xfff), p, n);
		cmd(w, OP_COPY, VM_LIN + VM_STAGING + (gpa & 0xfff), VM_LIN + gpa, n,
		    rng_below(&w->r, 3));
	}
}

static void write_snip(struct world *w, const struct snip *s)
{
	uint32_t done = 0;

	while (done < s->k.len) {
		uint32_t lin = (uint32_t)s->k.rip + done, gpa = gpa_of(w, s->as, lin);
		uint32_t n = 0x1000 - (lin & 0xfff);

		if (n > s->k.len - done)
			n = s->k.len - done;
		if (gpa >= VM_CODE && gpa < VM_CODE + VM_NR_CODE * 0x1000)
			write_code(w, gpa, s->k.code + done, n);
		done += n;
	}
}

static bool is_in_place(const struct world *w, const struct snip *s)
{
	for (uint32_t k = 0; k < s->k.len; k++) {
		uint32_t gpa = gpa_of(w, s->as, (uint32_t)s->k.rip + k);

		if (!gpa || w->v[0]->ram[gpa] != s->k.code[k])
			return false;
	}
	return true;
}

static void new_snip(struct world *w, struct snip *s)
{
	struct gen_options o = { .seq = true,
				 .cpl0 = true,
				 .smc = rng_one_in(&w->r, 2),
				 .io = true,
				 .code_off = rng_below(&w->r, VM_WINDOW - 1) * 0x1000,
				 .offers = guest_offers };

	memset(s, 0, sizeof(*s));
	gen_case(rng_next(&w->r), rng_next(&w->r), &o, &s->k);
	s->as = rng_below(&w->r, 2);
	s->valid = true;
	write_snip(w, s);
}

/* Let a device or the kernel change some bytes of a program. */
static void patch_snip(struct world *w, const struct snip *s)
{
	uint8_t b[4];
	uint32_t n = 1 + rng_below(&w->r, 4), off = rng_below(&w->r, s->k.len), gpa;

	/* Mostly what leaves it a program that ends. */
	if (s->k.nr_imms && !rng_one_in(&w->r, 8)) {
		off = s->k.imm[rng_below(&w->r, s->k.nr_imms)];
		n = 1;
	}
	gpa = gpa_of(w, s->as, (uint32_t)s->k.rip + off);

	for (unsigned int k = 0; k < n; k++)
		b[k] = (uint8_t)rng_next(&w->r);
	if (gpa >= VM_CODE && gpa < VM_CODE + VM_NR_CODE * 0x1000 - 4 && !gen_has_syscall(b, n))
		write_code(w, gpa, b, n);
}

static void enter(struct world *w)
{
	struct snip *s = &w->snip[rng_below(&w->r, NR_SNIPS)];
	struct diff_case k;
	uint8_t run[VM_RUN_SIZE] = { 0 };
	bool user = !rng_one_in(&w->r, 4), other;
	enum vm_op op = OP_IRET;

	if (!s->valid || rng_one_in(&w->r, 4))
		new_snip(w, s);
	else if (!is_in_place(w, s) && !rng_one_in(&w->r, 6))
		write_snip(w, s);
	else if (rng_one_in(&w->r, 4))
		patch_snip(w, s);
	k = s->k;
	/* Sometimes what the other address space has there. */
	other = user && rng_one_in(&w->r, 8);
	if ((s->as != w->as) != other) {
		w->as = 1 - w->as;
		cmd(w, OP_CR3, VM_PML4 + w->as * 0x1000, 0, 0, 0);
	}
	/* In kernel mode, nothing that is not known. */
	if (!user && !is_in_place(w, s)) {
		w->nr_cmds = 0;
		cmd(w, OP_CR3, VM_PML4 + w->as * 0x1000, 0, 0, 0);
		cmd(w, OP_END, 0, 0, 0, 0);
		return;
	}
	k.number = rng_next(&w->r);
	gen_round(1 + rng_below(&w->r, 3), &k);
	if (user)
		k.rflags |= RFLAGS_IOPL;
	if (user && rng_one_in(&w->r, 40))
		k.rflags |= rng_one_in(&w->r, 2) ? RFLAGS_TF : RFLAGS_AC;
	if (user && !rng_one_in(&w->r, 3) && !(k.counters & (1 << CPU_RCX | 1 << CPU_R11)))
		op = k.is32 ? OP_SYSRET32 : OP_SYSRET;
	vm_frame(&k, user, run);
	poke(w, VM_RUN, run, sizeof(run));
	if (!rng_one_in(&w->r, 3)) {
		k.fpu.xstate_bv = 7;
		k.fpu.xcomp_bv = 0;
		k.fpu.mxcsr &= 0xffff;
		memset(k.fpu.header_reserved, 0, sizeof(k.fpu.header_reserved));
		poke(w, VM_XSAVE, &k.fpu, sizeof(k.fpu));
		cmd(w, OP_XRSTOR, VM_LIN + VM_XSAVE, 0, 0, 0);
	}
	if (rng_one_in(&w->r, 8))
		cmd(w, OP_OUT, 0, 0, 0, 0); /* an interrupt, taken with the program's IF */
	if (w->verbose) {
		static char what[8192];

		describe(&k, what, sizeof(what));
		printf("%s# %s, address space %u%s\n", what, user ? "user" : "kernel", w->as,
		       other ? " (other)" : "");
		for (unsigned int n = 0; n < 16; n++)
			printf("# %s %016llx%s", diff_gpr_names[n], (unsigned long long)k.gpr[n],
			       n % 4 == 3 ? "\n" : "");
	}
	w->programs++;
	cmd(w, op, 0, 0, 0, 0);
}

static void next_commands(struct world *w)
{
	w->nr_cmds = 0;
	if (rng_one_in(&w->r, 3))
		for (unsigned int n = 1 + rng_below(&w->r, 3); n > 0; n--)
			change_page(w);
	if (rng_one_in(&w->r, 16))
		cmd(w, OP_ENABLE, 0, 0, 0, 0);
	if (rng_one_in(&w->r, 24))
		cmd(w, OP_CR0,
		    CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_PG |
			    (rng_next(&w->r) & (CR0_WP | CR0_AM)) |
			    (rng_one_in(&w->r, 8) ? CR0_TS : 0),
		    0, 0, 0);
	if (rng_one_in(&w->r, 3) && w->nr_cmds)
		cmd(w, OP_END, 0, 0, 0, 0);
	else
		enter(w);
}

/* --- worlds ----------------------------------------------------------------------------------------------- */

static bool world(struct world *w, uint64_t seed)
{
	static char text[16384];

	w->r.s = seed;
	rng_next(&w->r);
	w->as = 0;
	memset(w->snip, 0, sizeof(w->snip));
	for (unsigned int k = 0; k < 2; k++)
		vm_reset(w->v[k], seed);
	w->cr4 = CR4_DE | CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE |
		 CR4_FSGSBASE | CR4_TSD;
	next_commands(w);
	for (unsigned int n = 0; n < EVENTS; n++) {
		enum vm_event a = vm_run(w->v[0]), b;

		if (w->verbose)
			fflush(stdout);
		b = vm_run(w->v[1]);
		/* One may be slower. */
		for (unsigned int k = 0; k < 40 && a != b && (a == EV_TIMEOUT || b == EV_TIMEOUT);
		     k++) {
			if (a == EV_TIMEOUT)
				a = vm_run(w->v[0]);
			else
				b = vm_run(w->v[1]);
		}
		if (a == EV_TIMEOUT && b == EV_TIMEOUT) {
			static struct cpu_state s;

			cpu_get_state(w->v[0]->cpu, &s);
			w->endless++;
			if (w->verbose)
				printf("# endless at %llx, halted %u\n", (unsigned long long)s.rip,
				       s.ev.mp_state);
			return true;
		}
		if (a != b || !vm_compare(w->v[0], w->v[1], text, sizeof(text))) {
			printf("# world %llu: differ at event %u (%#x, %#x; vector %#llx, "
			       "%#llx)\n%s",
			       (unsigned long long)w->number, n, a, b,
			       (unsigned long long)get_le64(w->v[0]->ram + VM_VECTOR),
			       (unsigned long long)get_le64(w->v[1]->ram + VM_VECTOR), text);
			return false;
		}
		w->events++;
		if (a != EV_ENTRY && a != EV_END && a != EV_INTR)
			return true;
		w->by_event[a - EV_ENTRY]++;
		if (a == EV_ENTRY) {
			uint64_t vector = get_le64(w->v[0]->ram + VM_VECTOR);

			w->by_vector[vector <= VM_SYSCALL ? vector : 0]++;
			if (w->verbose)
				printf("# event %u: vector %llu, error %x, at %llx, cr2\n", n,
				       (unsigned long long)vector,
				       get_le32(w->v[0]->ram + VM_IST1 - 48),
				       (unsigned long long)get_le64(w->v[0]->ram + VM_IST1 - 40));
		}
		if (a != EV_INTR)
			next_commands(w);
	}
	return true;
}

int main(int argc, char **argv)
{
	struct vm_options o = { .runs = 300 };
	static struct world w;
	uint64_t bad = 0;

	if (!vm_parse(argc, argv, "worlds", &o))
		return 2;
	w.verbose = o.verbose;
	gen_start();
	vm_watchdog(100);
	w.v[0] = vm_new(CPU_ENGINE_INTERP, NULL, 0);
	w.v[1] = vm_new(o.engine, NULL, 0);
	if (!w.v[0] || !w.v[1])
		return 2;
	for (uint64_t k = o.first; k < o.first + o.runs; k++) {
		w.number = k;
		if (!world(&w, vm_run_seed(&o, k))) {
			bad++;
			if (!o.keep_going)
				break;
		}
	}
	printf("# %llu events, %llu programs, %llu endless; entries %llu, ends %llu, interrupts %llu\n#",
	       (unsigned long long)w.events, (unsigned long long)w.programs,
	       (unsigned long long)w.endless, (unsigned long long)w.by_event[0],
	       (unsigned long long)w.by_event[1], (unsigned long long)w.by_event[2]);
	for (unsigned int k = 0; k <= VM_SYSCALL; k++)
		if (w.by_vector[k])
			printf(" %u:%llu", k, (unsigned long long)w.by_vector[k]);
	printf("\n%sok 1 - two engines live the same life\n", bad ? "not " : "");
	vm_free(w.v[0]);
	vm_free(w.v[1]);
	return bad != 0;
}
