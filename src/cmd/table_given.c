/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A command line again from what was read of it, for those who keep it: options that were given, as words that the parser
 * reads as the same values.
 */
#include <stdio.h>

#include "cmd/table.h"
#include "cmd/table_priv.h"

static void give(const struct cmd_call *call, const struct opt *opt,
		 void (*fn)(void *arg, const struct opt *opt, const char *text), void *arg)
{
	const void *member = (const char *)call->opts + opt->offset;
	const struct opt_list *list = member;
	char number[32];

	switch (opt->type) {
	case OPT_FLAG:
		fn(arg, opt, NULL);
		break;
	case OPT_U64:
	case OPT_SIZE:
	case OPT_DURATION:
		snprintf(number, sizeof(number), "%llu%s",
			 (unsigned long long)*(const uint64_t *)member,
			 opt->type == OPT_DURATION ? "ns" : "");
		fn(arg, opt, number);
		break;
	case OPT_STR:
	case OPT_PATH:
		fn(arg, opt, *(const char *const *)member);
		break;
	case OPT_ENUM:
		fn(arg, opt, opt->choices[*(const unsigned *)member]);
		break;
	case OPT_LIST:
		for (size_t i = 0; i < list->n; i++)
			fn(arg, opt, list->v[i]);
		break;
	}
}

void cmd_each_given(const struct cmd_call *call,
		    void (*fn)(void *arg, const struct opt *opt, const char *text), void *arg)
{
	for (size_t i = 0; i < opt_count(call->cmd); i++)
		if (call->given & UINT64_C(1) << i)
			give(call, &call->cmd->opts[i], fn, arg);
}
