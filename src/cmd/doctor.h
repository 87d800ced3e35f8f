/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_DOCTOR_H
#define ATOLL_CMD_DOCTOR_H

#include "base/str.h"
#include "cmd/table.h"

/* cmd_doctor_exec - `atoll doctor`. Returns the exit status. Thread: the first. */
int cmd_doctor_exec(const struct cmd_call *call);

enum doctor_state {
	DOCTOR_OK,
	DOCTOR_PARTLY,
	DOCTOR_MISSING,
};

/* One thing that a host may be able to do. Texts are whole sentences. */
struct doctor_finding {
	const char *name; /* one word, stable */
	const char *what; /* for people */
	/* What is there, in words appended to @detail. Thread: the first, the only one. */
	enum doctor_state (*look)(struct strbuf *detail);
	const char *cost; /* of not having all of it; NULL: none */
	const char *next; /* how to get it; NULL: no way is known */
};

/* All of them in the order in which they are shown; ends with a name of NULL. */
extern const struct doctor_finding doctor_findings[];

#endif
