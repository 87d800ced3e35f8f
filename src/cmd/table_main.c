/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From argv to the function that does it. `help` and `completion` are described by tables as well,
 * so that they show up in their own output; they are carried out here because they are about the
 * table itself.
 */
#include "cmd/table.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/attr.h"
#include "cmd/table_priv.h"
#include "cmd/version.h"
#include "sys/fd.h"

struct help_opts {
	bool man;
};

static const struct opt help_options[] = {
	{
		.name = "man",
		.type = OPT_FLAG,
		.help = "Write a man page (groff source) instead of plain text",
		OPT_AT(struct help_opts, man),
	},
	{ 0 },
};

const struct cmd cmd_builtin_help = {
	.name = "help",
	.summary = "Explain the program or one of its commands",
	.description = "Without a command, lists the commands.",
	.args = "[COMMAND]",
	.args_max = 2,
	.opts = help_options,
	.opts_size = sizeof(struct help_opts),
};

static const char *const shells[] = { "bash", "zsh", "fish", NULL };

const struct cmd cmd_builtin_completion = {
	.name = "completion",
	.summary = "Write a completion script for a shell",
	.description = "Put the output where the shell looks for completions, or load it in the "
		       "running shell.",
	.args = "bash|zsh|fish",
	.args_min = 1,
	.args_max = 1,
	.args_choices = shells,
	.examples = "source <(atoll completion bash)",
};

static int complain(const struct cmd_program *prog, const struct cmd *cmd, const struct err *err)
{
	bool named = cmd && !prog->sole;

	fprintf(stderr, "%s%s%s: %s\n", prog->name, named ? " " : "", named ? cmd->name : "",
		err_text(err));
	return 1;
}

static int print(const struct strbuf *text)
{
	return fd_write_full(STDOUT_FILENO, strbuf_cstr(text), text->n) < 0 ? 1 : 0;
}

/* The command that one or two words name; NULL with the story. */
static const struct cmd *find_words(const struct cmd_program *prog, const char *first,
				    const char *second, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf name = { 0 };
	const struct cmd_binding *b;

	strbuf_adds(&name, first);
	if (second)
		strbuf_addf(&name, " %s", second);
	if (strcmp(strbuf_cstr(&name), "help") == 0)
		return &cmd_builtin_help;
	if (strcmp(strbuf_cstr(&name), "completion") == 0)
		return &cmd_builtin_completion;
	b = cmd_find(prog, strbuf_cstr(&name), err);
	return b ? b->cmd : NULL;
}

static int print_group(const struct cmd_program *prog, const char *group)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };

	cmd_help_group(prog, group, &out);
	return print(&out);
}

static int do_help(const struct cmd_program *prog, const struct cmd_call *call, struct err *err)
{
	const struct help_opts *o = call->opts;
	_cleanup_(strbuf_done) struct strbuf out = { 0 };
	const struct cmd *about = NULL;

	if (call->nr_args == 1 && !o->man && cmd_is_group(prog, call->args[0]))
		return print_group(prog, call->args[0]);
	if (call->nr_args) {
		about = find_words(prog, call->args[0], call->nr_args > 1 ? call->args[1] : NULL,
				   err);
		if (!about)
			return complain(prog, call->cmd, err);
	}
	if (o->man)
		cmd_man(prog, about, &out);
	else if (about)
		cmd_help(prog, about, &out);
	else
		cmd_help_program(prog, &out);
	return print(&out);
}

static int do_completion(const struct cmd_program *prog, const struct cmd_call *call,
			 struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };

	if (cmd_completion(prog, call->args[0], &out, err) < 0)
		return complain(prog, call->cmd, err);
	return print(&out);
}

static int run(const struct cmd_program *prog, const struct cmd *cmd,
	       int (*fn)(const struct cmd_call *call), char **argv, const void *globals)
{
	_cleanup_(cmd_call_done) struct cmd_call call = { 0 };
	struct err err = ERR_INIT;
	bool help;
	int r = cmd_parse(cmd, argv, &call, &help, &err);

	if (r < 0)
		return complain(prog, cmd, &err);
	call.globals = globals;
	if (help) {
		_cleanup_(strbuf_done) struct strbuf out = { 0 };

		cmd_help(prog, cmd, &out);
		return print(&out);
	}
	if (cmd == &cmd_builtin_help)
		return do_help(prog, &call, &err);
	if (cmd == &cmd_builtin_completion)
		return do_completion(prog, &call, &err);
	return fn(&call);
}

/* `PROGRAM GROUP COMMAND ...`: @argv is that of the group's word. */
static int run_grouped(const struct cmd_program *prog, char **argv, const void *globals)
{
	_cleanup_(strbuf_done) struct strbuf name = { 0 };
	const struct cmd_binding *b;
	struct err err = ERR_INIT;

	if (!argv[1] || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return print_group(prog, argv[0]) || !argv[1];
	strbuf_addf(&name, "%s %s", argv[0], argv[1]);
	b = cmd_find(prog, strbuf_cstr(&name), &err);
	if (!b)
		return complain(prog, NULL, &err);
	return run(prog, b->cmd, b->fn, argv + 1, globals);
}

static int print_version(const struct cmd_program *prog)
{
	printf("%s %s\n", prog->name, ATOLL_VERSION);
	return 0;
}

/* @argv is that of the command's word, or of what ends the program's own options without one. */
static int run_word(const struct cmd_program *prog, char **argv, const void *globals)
{
	const struct cmd_binding *b;
	const char *word = argv[0];
	struct err err = ERR_INIT;

	if (!word || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		_cleanup_(strbuf_done) struct strbuf out = { 0 };

		cmd_help_program(prog, &out);
		if (word)
			return print(&out);
		fputs(strbuf_cstr(&out), stderr);
		return 1;
	}
	if (strcmp(word, "help") == 0)
		return run(prog, &cmd_builtin_help, NULL, argv, globals);
	if (strcmp(word, "completion") == 0)
		return run(prog, &cmd_builtin_completion, NULL, argv, globals);
	if (cmd_is_group(prog, word))
		return run_grouped(prog, argv, globals);
	b = cmd_find(prog, word, &err);
	if (!b)
		return complain(prog, NULL, &err);
	return run(prog, b->cmd, b->fn, argv, globals);
}

/* Options of the program, then the command's word. */
static int run_with_globals(const struct cmd_program *prog, char **argv)
{
	_cleanup_(cmd_call_done) struct cmd_call call = { 0 };
	static char help_word[] = "--help";
	char *help_argv[] = { help_word, NULL };
	struct err err = ERR_INIT;
	bool help;
	int r = cmd_parse(prog->globals, argv, &call, &help, &err);

	if (r < 0)
		return complain(prog, NULL, &err);
	/* Operands are the rest of argv, as stops_at_args has it. */
	for (; *argv && call.nr_args && *argv != call.args[0]; argv++)
		;
	if (help)
		argv = help_argv;
	else if (!call.nr_args)
		argv = &help_argv[1];
	return run_word(prog, argv, call.opts);
}

int cmd_main(const struct cmd_program *prog, int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--version") == 0)
		return print_version(prog);
	if (prog->sole)
		return run(prog, prog->sole->cmd, prog->sole->fn, argv, NULL);
	if (prog->globals)
		return run_with_globals(prog, argv);
	return run_word(prog, argc > 1 ? argv + 1 : argv + argc, NULL);
}
