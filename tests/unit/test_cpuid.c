/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's CPUID: a table that is told in words (for a snapshot) and built again from them says the same. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cpu/cpuid.h"
#include "unit.h"

static void same_again(const char *model, const char *words, const struct cpuid_limit *limit)
{
	struct cpu_cpuid *id = mem_new(sizeof(*id)), *again = mem_new(sizeof(*again));
	_cleanup_(strbuf_done) struct strbuf text = { 0 };
	struct err err = ERR_INIT;
	char *comma;

	assert_int_equal(cpuid_build(id, model, words, 2, 2000000, limit, &err), 0);
	cpuid_text(id, &text);
	comma = strchr(strbuf_cstr(&text), ',');
	assert_non_null(comma);
	*comma = 0;
	if (cpuid_build(again, text.p, comma + 1, 2, 2000000, NULL, &err) < 0)
		fail_msg("%s: %s", comma + 1, err_text(&err));
	assert_memory_equal(again->features, id->features, sizeof(id->features));
	assert_int_equal(again->phys_bits, id->phys_bits);
	assert_int_equal(again->nr, id->nr);
	for (unsigned int i = 0; i < id->nr; i++) {
		const struct cpuid_leaf *l = &id->leaf[i], *m = &again->leaf[i];

		assert_int_equal(m->leaf, l->leaf);
		assert_int_equal(m->subleaf, l->subleaf);
		assert_int_equal(m->has_subleaf, l->has_subleaf);
		assert_memory_equal(m->reg, l->reg, sizeof(l->reg));
	}
	assert_int_equal(again->cr4_allowed, id->cr4_allowed);
	free(id);
	free(again);
}

static void test_text(void **state)
{
	/* An engine that has nothing of what another register than EDX of leaf 1 tells. */
	struct cpuid_limit limit = { .who = "nobody", .phys_bits = 36 };

	same_again("baseline", NULL, NULL);
	same_again("host", NULL, NULL);
	same_again("host", "-xsave,-pat,phys-bits=46", NULL);
	same_again("host", "+hyperv", NULL);
	same_again("baseline", "-hypervisor,+x2apic,-sep", NULL);
	for (unsigned int f = 0; f < CPUID_NR_FEATURES; f++) {
		struct cpuid_place p = cpuid_place((enum cpu_feature)f);

		if (p.leaf == 1 && p.reg == 3)
			limit.features[f / 64] |= UINT64_C(1) << (f % 64);
	}
	for (unsigned int f = 0; f < CPUID_NR_FEATURES; f++)
		if (f % 3 == 0)
			limit.features[f / 64] |= UINT64_C(1) << (f % 64);
	limit.features[CPUID_ARAT / 64] |= UINT64_C(1) << (CPUID_ARAT % 64);
	limit.features[CPUID_MMXEXT / 64] |= UINT64_C(1) << (CPUID_MMXEXT % 64);
	same_again("host", NULL, &limit);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_text) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
