/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_DBT_SIGNALS_H
#define CPU_DBT_SIGNALS_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

struct dbt;

/* dbt_signals_start - take SIGFPE and SIGSEGV; what is not ours goes to whoever had them. Once a process, more
 * calls do nothing. Returns 0 or what sigaction() failed with. Thread: any. */
_nodiscard_ int dbt_signals_start(struct err *err);

/* dbt_signals_thread - signals of the calling thread run on a stack of their own: while translated code
 * runs, the stack pointer is the return stack's. Freed when the thread ends. Does nothing when the thread
 * has such a stack. Returns 0, -ENOMEM, or what sigaltstack() failed with. */
_nodiscard_ int dbt_signals_thread(struct err *err);

/* dbt_signals_add - code in [code, code + size) is of @d. Returns 0 or -ENOMEM. dbt_signals_remove - it is no more;
 * no vCPU of the group runs. Thread: any. */
_nodiscard_ int dbt_signals_add(struct dbt *d, const uint8_t *code, size_t size);
void dbt_signals_remove(const struct dbt *d);

#endif
