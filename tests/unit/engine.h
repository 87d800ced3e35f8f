/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_ENGINE_H
#define TEST_ENGINE_H

#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"

/* test_engine - which engine tests of guest code run on: the interpreter, or what $ENGINE names. */
static inline enum cpu_engine_kind test_engine(void)
{
	const char *name = getenv("ENGINE");

	return name && !strcmp(name, "dbt") ? CPU_ENGINE_DBT : CPU_ENGINE_INTERP;
}

#endif
