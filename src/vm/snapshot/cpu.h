/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_SNAPSHOT_CPU_H
#define VM_SNAPSHOT_CPU_H

/* cpu_state_desc - the table of struct cpu_state, as cpu_get_state() gives it. */
struct state_desc;
extern const struct state_desc cpu_state_desc;

#endif
