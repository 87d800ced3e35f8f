/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_EXCLUSIVE_H
#define CPU_EXCLUSIVE_H

#include "cpu/cpu_priv.h"

/*
 * Stop-the-world among the vCPUs of a group: one runs a locked access that the host cannot do in one
 * piece (page-crossing, MMIO) while the others stand still between two blocks.
 *
 * A vCPU is "in" while it may touch guest memory: from exclusive_enter() to exclusive_leave(). It polls
 * CPU_PEND_STOP and then calls exclusive_yield(). Sleeping and leaving cpu_run() are outside.
 */
struct exclusive;

/* exclusive_new, exclusive_free - one object a group; aborts without memory; NULL may be freed. */
_nodiscard_ struct exclusive *exclusive_new(struct cpu_group *grp);
void exclusive_free(struct exclusive *x);

/* exclusive_enter - start running guest code; waits while somebody else has the world. exclusive_leave()
 * ends it. Neither nests. Thread: the vCPU's own. */
void exclusive_enter(struct cpu *c);
void exclusive_leave(struct cpu *c);

/* exclusive_yield - answer CPU_PEND_STOP: stand still until the other is done. Thread: the vCPU's own. */
void exclusive_yield(struct cpu *c);

/* exclusive_begin - the caller, who is in, becomes the only one. Returns when all others stand still;
 * others may have had their turn before. exclusive_end() lets them go on. Thread: the vCPU's own. */
void exclusive_begin(struct cpu *c);
void exclusive_end(struct cpu *c);

/*
 * exclusive_inside - the vCPUs between exclusive_enter() and exclusive_leave(), a bit each.
 *
 * Who is not in polls its pending bits after it has come in and before it runs guest code; in one order with
 * setting such a bit. Standing still for another one counts as in. Thread: any.
 */
uint64_t exclusive_inside(const struct cpu_group *grp);

#endif
