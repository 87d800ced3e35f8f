/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a command line by its table. getopt_long was not taken: it prints its own messages, keeps
 * global state, knows neither types nor ranges, and cannot say which option was meant. What it gets
 * right is kept: --name=value and --name value, -x value and -xvalue, "--" ends the options,
 * options and operands may be mixed.
 */
#include "cmd/table.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/table_priv.h"

size_t opt_count(const struct cmd *cmd)
{
	size_t n = 0;

	while (cmd->opts && cmd->opts[n].name)
		n++;
	return n;
}

size_t opt_nr_choices(const struct opt *opt)
{
	size_t n = 0;

	while (n < OPT_CHOICES_MAX && opt->choices[n])
		n++;
	return n;
}

/* Near enough to be a typing error of the other: a third of the letters, or two that changed places. */
static bool is_near(struct str a, struct str b)
{
	size_t n = MAX(a.n, b.n);

	return str_distance(a, b) <= MAX(n / 3, n > 2 ? (size_t)2 : (size_t)1);
}

/* What a word was probably meant to be, of those offered to it one by one. */
struct nearest {
	struct str word;
	const char *best;
	size_t distance;
};

static void nearest_offer(struct nearest *n, const char *candidate)
{
	size_t d = str_distance(n->word, str_of(candidate));

	/* A beginning ("--mem") counts as near. */
	if (n->word.n >= 3 && str_starts(str_of(candidate), n->word))
		d = 0;
	else if (!is_near(n->word, str_of(candidate)))
		return;
	if (!n->best || d < n->distance) {
		n->best = candidate;
		n->distance = d;
	}
}

static int unknown_option(const struct cmd *cmd, struct str name, struct err *err)
{
	struct nearest n = { .word = name };

	for (size_t i = 0; i < opt_count(cmd); i++)
		nearest_offer(&n, cmd->opts[i].name);
	nearest_offer(&n, "help");
	if (n.best)
		return err_set(err, -EINVAL, "unknown option '--%.*s'; did you mean '--%s'?",
			       STR_ARG(name), n.best);
	return err_set(err, -EINVAL, "unknown option '--%.*s'", STR_ARG(name));
}

static const struct opt *find_long(const struct cmd *cmd, struct str name)
{
	for (size_t i = 0; i < opt_count(cmd); i++)
		if (str_eq(name, str_of(cmd->opts[i].name)))
			return &cmd->opts[i];
	return NULL;
}

static const struct opt *find_letter(const struct cmd *cmd, char letter)
{
	for (size_t i = 0; i < opt_count(cmd); i++)
		if (letter && cmd->opts[i].letter == letter)
			return &cmd->opts[i];
	return NULL;
}

static int parse_enum(const struct opt *opt, const char *text, unsigned *ret, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf all = { 0 };

	for (unsigned i = 0; i < opt_nr_choices(opt); i++) {
		if (str_eq(str_of(text), str_of(opt->choices[i]))) {
			*ret = i;
			return 0;
		}
		strbuf_addf(&all, "%s%s", i ? ", " : "", opt->choices[i]);
	}
	return err_set(err, -EINVAL, "'%.40s' is none of %s", text, strbuf_cstr(&all));
}

static void list_add(struct opt_list *list, const char *text)
{
	list->v = mem_renew(list->v, list->n + 1, sizeof(*list->v));
	list->v[list->n++] = text;
}

/* Stores the value of an option in the options struct. */
static int store(const struct opt *opt, void *opts, const char *text, struct err *err)
{
	void *member = (char *)opts + opt->offset;
	uint64_t max = opt->max ? opt->max : UINT64_MAX;

	switch (opt->type) {
	case OPT_FLAG:
		*(bool *)member = true;
		return 0;
	case OPT_U64:
		return str_parse_u64(str_of(text), opt->min, max, member, err);
	case OPT_SIZE:
		return str_parse_size(str_of(text), opt->min, max, member, err);
	case OPT_DURATION:
		return str_parse_ns(str_of(text), opt->min, max, member, err);
	case OPT_STR:
		*(const char **)member = text;
		return 0;
	case OPT_PATH:
		if (!text[0])
			return err_set(err, -EINVAL, "the path is empty");
		*(const char **)member = text;
		return 0;
	case OPT_ENUM:
		return parse_enum(opt, text, member, err);
	case OPT_LIST:
		list_add(member, text);
		return 0;
	}
	assert(!"unknown option type");
	return -EINVAL;
}

static int set_option(struct cmd_call *call, void *opts, const struct opt *opt, const char *text,
		      struct err *err)
{
	int r = store(opt, opts, text, err);

	if (r < 0)
		return err_wrap(err, r, "--%s", opt->name);
	call->given |= UINT64_C(1) << (opt - call->cmd->opts);
	return 0;
}

static int missing_value(const struct opt *opt, struct err *err)
{
	return err_set(err, -EINVAL, "--%s needs a value: --%s %s", opt->name, opt->name, opt->arg);
}

/* One argument that begins with "--"; *i moves when the value is the next argument. */
static int parse_long(struct cmd_call *call, void *opts, char **argv, size_t *i, bool *ret_help,
		      struct err *err)
{
	const char *equals = strchr(argv[*i] + 2, '=');
	struct str name = equals ? (struct str){ argv[*i] + 2, (size_t)(equals - argv[*i] - 2) }
				 : str_of(argv[*i] + 2);
	const struct opt *opt = find_long(call->cmd, name);

	if (!opt) {
		if (!equals && str_eq(name, STR("help"))) {
			*ret_help = true;
			return 0;
		}
		return unknown_option(call->cmd, name, err);
	}
	if (opt->type == OPT_FLAG) {
		if (equals)
			return err_set(err, -EINVAL, "--%s takes no value", opt->name);
		return set_option(call, opts, opt, NULL, err);
	}
	if (equals)
		return set_option(call, opts, opt, equals + 1, err);
	if (!argv[*i + 1])
		return missing_value(opt, err);
	return set_option(call, opts, opt, argv[++*i], err);
}

/* One argument of letters: flags may be joined, the last letter may take a value. */
static int parse_letters(struct cmd_call *call, void *opts, char **argv, size_t *i, bool *ret_help,
			 struct err *err)
{
	for (const char *p = argv[*i] + 1; *p; p++) {
		const struct opt *opt = find_letter(call->cmd, *p);
		int r;

		if (!opt && *p == 'h') {
			*ret_help = true;
			return 0;
		}
		if (!opt)
			return err_set(err, -EINVAL, "unknown option '-%c' in '%.40s'", *p,
				       argv[*i]);
		if (opt->type == OPT_FLAG) {
			r = set_option(call, opts, opt, NULL, err);
			if (r < 0)
				return r;
			continue;
		}
		if (p[1])
			return set_option(call, opts, opt, p + 1, err);
		if (!argv[*i + 1])
			return missing_value(opt, err);
		return set_option(call, opts, opt, argv[++*i], err);
	}
	return 0;
}

static int parse_words(struct cmd_call *call, void *opts, char **argv, bool *ret_help,
		       struct err *err)
{
	bool only_operands = false;

	for (size_t i = 1; argv[i]; i++) {
		const char *word = argv[i];
		int r = 0;

		if (only_operands || word[0] != '-' || !word[1]) {
			call->args[call->nr_args++] = word;
			only_operands |= call->cmd->stops_at_args;
		} else if (strcmp(word, "--") == 0)
			only_operands = true;
		else if (word[1] == '-')
			r = parse_long(call, opts, argv, &i, ret_help, err);
		else
			r = parse_letters(call, opts, argv, &i, ret_help, err);
		if (r < 0 || *ret_help)
			return r;
	}
	return 0;
}

/* Defaults of what was not given, and complaints about what had to be. */
static int finish(struct cmd_call *call, void *opts, struct err *err)
{
	const struct cmd *cmd = call->cmd;

	for (size_t i = 0; i < opt_count(cmd); i++) {
		const struct opt *opt = &cmd->opts[i];
		int r;

		if (call->given & UINT64_C(1) << i)
			continue;
		if (opt->required)
			return err_set(err, -EINVAL, "--%s %s is missing", opt->name,
				       opt->arg ? opt->arg : "");
		if (!opt->def)
			continue;
		r = store(opt, opts, opt->def, err);
		if (r < 0)
			return err_wrap(err, r, "default of --%s", opt->name);
	}
	if (call->nr_args > cmd->args_max)
		return err_set(err, -EINVAL, "unexpected argument '%.60s'",
			       call->args[cmd->args_max]);
	if (call->nr_args < cmd->args_min)
		return err_set(err, -EINVAL, "%s is missing", cmd->args);
	return 0;
}

int cmd_parse(const struct cmd *cmd, char **argv, struct cmd_call *call, bool *ret_help,
	      struct err *err)
{
	size_t n = 0;
	void *opts;
	int r;

	assert(opt_count(cmd) <= 64);
	while (argv[n])
		n++;
	opts = mem_new(MAX(cmd->opts_size, (size_t)1));
	*call = (struct cmd_call){
		.cmd = cmd,
		.opts = opts,
		.args = mem_new_n(n + 1, sizeof(*call->args)),
		.argv = argv,
	};
	*ret_help = false;
	r = parse_words(call, opts, argv, ret_help, err);
	if (r < 0 || *ret_help)
		return r;
	return finish(call, opts, err);
}

void cmd_call_done(struct cmd_call *call)
{
	if (!call->cmd)
		return;
	for (size_t i = 0; i < opt_count(call->cmd); i++) {
		const struct opt *opt = &call->cmd->opts[i];
		const void *member = (const char *)call->opts + opt->offset;

		if (opt->type == OPT_LIST)
			free(((const struct opt_list *)member)->v);
	}
	free((void *)call->opts);
	free(call->args);
	*call = (struct cmd_call){ 0 };
}

bool cmd_given(const struct cmd_call *call, const char *opt_name)
{
	const struct opt *opt = find_long(call->cmd, str_of(opt_name));

	assert(opt);
	return call->given & UINT64_C(1) << (opt - call->cmd->opts);
}

size_t cmd_group_len(const struct cmd *cmd)
{
	const char *space = strchr(cmd->name, ' ');

	return space ? (size_t)(space - cmd->name) : 0;
}

bool cmd_is_group(const struct cmd_program *prog, const char *word)
{
	for (size_t i = 0; i < prog->nr_cmds; i++) {
		size_t n = cmd_group_len(prog->cmds[i].cmd);

		if (n && strlen(word) == n && memcmp(prog->cmds[i].cmd->name, word, n) == 0)
			return true;
	}
	return false;
}

const struct cmd_binding *cmd_find(const struct cmd_program *prog, const char *name,
				   struct err *err)
{
	struct nearest n = { .word = str_of(name) };

	for (size_t i = 0; i < prog->nr_cmds; i++) {
		if (strcmp(prog->cmds[i].cmd->name, name) == 0)
			return &prog->cmds[i];
		nearest_offer(&n, prog->cmds[i].cmd->name);
	}
	nearest_offer(&n, "help");
	nearest_offer(&n, "completion");
	if (n.best)
		err_set(err, -EINVAL, "unknown command '%.60s'; did you mean '%s'?", name, n.best);
	else
		err_set(err, -EINVAL, "unknown command '%.60s'; see '%s help'", name, prog->name);
	return NULL;
}
