/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bar of long work. It is drawn over itself, and ends with a line of its own. */
#include "cmd/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/clock.h"

#define BAR_WIDTH 32
#define BAR_NS	  (100 * NS_PER_MS)

void progress_begin(struct progress *p, bool wanted)
{
	p->on = wanted || isatty(STDERR_FILENO);
	p->is_shown = false;
	p->due_ns = 0;
}

void progress_show(struct progress *p, uint64_t done, uint64_t total, const char *text)
{
	uint64_t now = clock_now(clock_real());
	double share = total ? (double)MIN(done, total) / (double)total : 1;
	char bar[BAR_WIDTH + 1];

	if (!p->on || (now < p->due_ns && done < total))
		return;
	p->is_shown = true;
	p->due_ns = now + BAR_NS;
	for (int k = 0; k < BAR_WIDTH; k++)
		bar[k] = k < (int)(share * BAR_WIDTH) ? '#' : '.';
	bar[BAR_WIDTH] = 0;
	/* What stood there before and was longer is wiped out (ECMA-48, EL). */
	fprintf(stderr, "\r[%s] %5.1f %%  %.40s\033[K", bar, share * 100, text ? text : "");
	fflush(stderr);
}

void progress_due(struct progress *p)
{
	p->due_ns = 0;
}

void progress_end(struct progress *p)
{
	if (p->is_shown)
		fputc('\n', stderr);
}
