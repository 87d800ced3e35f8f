/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which instruction sets the guests of these tests are offered: all that the host has.
 */
#include "cpu/cpuid.h"
#include "diff.h"

bool guest_offers(unsigned int isa)
{
	static struct cpu_cpuid id;
	static bool have;
	struct err err = ERR_INIT;

	if (!have && cpuid_build(&id, "host", NULL, 1, 1000000, NULL, &err) < 0)
		return false;
	have = true;
	return cpuid_has_isa(&id, isa);
}
