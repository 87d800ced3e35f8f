/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_GUEST_INSN_H
#define ATOLL_TESTS_GUEST_INSN_H

/* One instruction at a time, in a guest whose every exception has a handler. */
#include "unit.h"

#include "guest.h"

enum { NO_FAULT = -1, UNFINISHED = -2 };

/*
 * Returns the vector of the instruction's fault; NO_FAULT when the next one is due; UNFINISHED when it is
 * due again, as a repeated one after each step.
 */
static inline int step(struct guest *g, const uint8_t *code, size_t n)
{
	int vector;

	guest_code(g, G_CODE, code, n);
	cpu_group_flush(g->grp);
	g->st.rip = G_CODE;
	assert_int_equal(guest_step(g), CPU_EXIT_DEBUG);
	if (g->st.rip == G_CODE + n)
		return NO_FAULT;
	if (g->st.rip == G_CODE)
		return UNFINISHED;
	vector = (int)(g->st.rip - G_HANDLER) / 16;
	assert_int_equal(g->st.rip, G_HANDLER + vector * 16);
	return vector;
}
#define STEP(g, ...)                                                                               \
	({                                                                                         \
		static const uint8_t code_[] = { __VA_ARGS__ };                                    \
		step(g, code_, sizeof(code_));                                                     \
	})

static inline struct guest *start_long(unsigned int cs, const char *features)
{
	struct guest *g = guest_new(1, features);

	guest_long(g, cs);
	for (unsigned int v = 0; v < 32; v++)
		guest_gate64(g, v, G_CS64, 14, 0, 0);
	return g;
}

static inline struct guest *start_protected(unsigned int cs)
{
	struct guest *g = guest_new(1, NULL);

	guest_protected(g, cs);
	for (unsigned int v = 0; v < 32; v++)
		guest_gate32(g, v, G_CS32, 14, 0);
	return g;
}

#endif
