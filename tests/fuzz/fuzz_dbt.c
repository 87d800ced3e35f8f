/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a program, of a user or of the kernel, on the translation engine and on the interpreter beside each
 * other: whatever they do, the end is the same (tests/component/dbt/vm.h has the machine). The same bytes run
 * three times from different registers, so that what was translated is used again, and what they changed of
 * themselves is found.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "../component/dbt/vm.h"

enum { HEAD = 10, MAX_BYTES = 600, ROUNDS = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct vm *v[2];

static void setup(void)
{
	gen_start();
	vm_watchdog(5);
	v[0] = vm_new(CPU_ENGINE_INTERP, NULL, 0);
	v[1] = vm_new(CPU_ENGINE_DBT, NULL, 4 << 20);
	if (!v[0] || !v[1])
		abort();
}

/* Images of the x87 environment (its pointers are not kept) and XSAVE's (which parts are in use is the
 * engine's affair): the test cannot say what is right. */
static bool is_undecided(const uint8_t *p, size_t n, bool cpl0)
{
	for (size_t k = 0; k + 1 < n; k++) {
		unsigned int reg = p[k + 1] >> 3 & 7, mod = p[k + 1] >> 6;

		/* The time, and registers that are made of it. */
		if (cpl0 && p[k] == 0x0f && ((p[k + 1] & 0xfc) == 0x30 || p[k + 1] == 1))
			return true;

		if ((p[k] == 0xd9 || p[k] == 0xdd) && reg == 6 && mod != 3)
			return true;
		if (k + 2 == n || p[k] != 0x0f)
			continue;
		reg = p[k + 2] >> 3 & 7;
		mod = p[k + 2] >> 6;
		if (mod != 3 && ((p[k + 1] == 0xae && (reg < 2 || (reg >= 4 && reg < 7))) ||
				 (p[k + 1] == 0xc7 && reg >= 3 && reg < 6)))
			return true;
	}
	return false;
}

static void start(struct vm *m, const struct diff_case *k, bool cpl0)
{
	uint8_t run[VM_RUN_SIZE] = { 0 };

	vm_frame(k, !cpl0, run);
	memcpy(m->ram + VM_RUN, run, sizeof(run));
	memcpy(m->ram + VM_XSAVE, &k->fpu, sizeof(k->fpu));
	vm_cmd(m, 0, OP_XRSTOR, VM_LIN + VM_XSAVE, 0, 0, 0);
	vm_cmd(m, 1, OP_IRET, 0, 0, 0, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct diff_case k;
	static char text[16384];
	struct rng r;

	if (n < HEAD || is_undecided(data + HEAD, n - HEAD, data[0] & 16))
		return 0;
	if (!v[0])
		setup();
	memset(&k, 0, sizeof(k));
	r.s = get_le64(data + 1);
	k.is32 = data[0] & 1;
	k.rip = DIFF_CODE + (data[0] & 2 ? 0x1000 - data[9] : 0x800 + (data[9] & 63));
	k.len = n - HEAD < MAX_BYTES ? (unsigned int)(n - HEAD) : MAX_BYTES;
	memcpy(k.code, data + HEAD, k.len);
	for (unsigned int e = 0; e < 2; e++) {
		vm_reset(v[e], data[0] & 0xf0);
		memcpy(v[e]->ram + VM_CODE + (k.rip - DIFF_CODE), k.code, k.len);
	}
	for (unsigned int round = 0; round < ROUNDS; round++) {
		enum vm_event a, b;

		gen_registers(&r, &k);
		k.rflags |= data[0] & 4 ? RFLAGS_IOPL : 0;
		k.rflags &= ~(uint64_t)(data[0] & 8 ? 0 : RFLAGS_TF | RFLAGS_AC);
		/* What 64-bit code left in the upper halves is there, but 32-bit code does not see it. */
		for (unsigned int g = 0; k.is32 && round && g < 16; g++)
			k.gpr[g] |= rng_next(&r) << 32;
		k.fpu.xstate_bv = 7;
		k.fpu.xcomp_bv = 0;
		for (unsigned int e = 0; e < 2; e++)
			start(v[e], &k, data[0] & 16);
		a = vm_run(v[0]);
		b = vm_run(v[1]);
		if (a == EV_TIMEOUT || b == EV_TIMEOUT)
			return 0;
		if (a == b && vm_compare(v[0], v[1], text, sizeof(text))) {
			if (a != EV_ENTRY)
				return 0;
			continue;
		}
		describe(&k, text + sizeof(text) / 2, sizeof(text) / 2);
		fprintf(stderr, "events %#x, %#x in round %u\n%s%s", a, b, round,
			text + sizeof(text) / 2, text);
		abort();
	}
	return 0;
}
