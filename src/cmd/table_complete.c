/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Completion scripts for three shells out of the command tables. They are plain lists with nothing
 * asked from the program at completion time, so that pressing Tab costs no process and works where
 * the program is not installed yet. Zsh loads the bash script through its bashcompinit: a second
 * language for the same lists would be one more thing to be wrong.
 */
#include "cmd/table.h"

#include <errno.h>
#include <string.h>

#include "base/attr.h"
#include "cmd/table_priv.h"

/* Calls fn for each subcommand, the built-in ones included. */
static void each_cmd(const struct cmd_program *prog,
		     void (*fn)(const struct cmd_program *prog, const struct cmd *cmd,
				struct strbuf *out),
		     struct strbuf *out)
{
	if (prog->sole) {
		fn(prog, prog->sole->cmd, out);
		return;
	}
	for (size_t i = 0; i < prog->nr_cmds; i++)
		fn(prog, prog->cmds[i].cmd, out);
	fn(prog, &cmd_builtin_completion, out);
	fn(prog, &cmd_builtin_help, out);
}

/* The name as part of a shell function's name. */
static void add_identifier(struct strbuf *out, const char *name)
{
	for (; *name; name++)
		strbuf_addc(out, *name == '-' ? '_' : *name);
}

/* Text inside single quotes: bash takes '\'' for a quote. */
static void add_quoted(struct strbuf *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '\'')
			strbuf_adds(out, "'\\''");
		else
			strbuf_addc(out, *s);
	}
}

/* The first of its group in the table, or of no group. */
static bool is_first(const struct cmd_program *prog, const struct cmd *cmd)
{
	size_t n = cmd_group_len(cmd);

	for (size_t i = 0; n && i < prog->nr_cmds && prog->cmds[i].cmd != cmd; i++)
		if (cmd_group_len(prog->cmds[i].cmd) == n &&
		    memcmp(prog->cmds[i].cmd->name, cmd->name, n) == 0)
			return false;
	return true;
}

/* What can be the first word: a command, or a group once. */
static void add_name(const struct cmd_program *prog, const struct cmd *cmd, struct strbuf *out)
{
	size_t n = cmd_group_len(cmd);

	if (is_first(prog, cmd))
		strbuf_addf(out, " %.*s", (int)(n ? n : strlen(cmd->name)), cmd->name);
}

/* Second words of the group that @first is the first command of. */
static void add_group_names(const struct cmd_program *prog, const struct cmd *first,
			    struct strbuf *out)
{
	size_t n = cmd_group_len(first);

	for (size_t i = 0; i < prog->nr_cmds; i++) {
		const struct cmd *cmd = prog->cmds[i].cmd;

		if (cmd_group_len(cmd) == n && memcmp(cmd->name, first->name, n) == 0)
			strbuf_addf(out, " %s", cmd->name + n + 1);
	}
}

static void add_operand_words(const struct cmd_program *prog, const struct cmd *cmd,
			      struct strbuf *out)
{
	for (size_t i = 0; cmd->args_choices && cmd->args_choices[i]; i++)
		strbuf_addf(out, " %s", cmd->args_choices[i]);
	if (cmd == &cmd_builtin_help)
		each_cmd(prog, add_name, out);
}

/* What completes the value of an option: a case of bash's `case "$prev"`. */
static void bash_value(const struct opt *opt, struct strbuf *out)
{
	if (opt->type == OPT_FLAG)
		return;
	strbuf_adds(out, "\t\t");
	if (opt->letter)
		strbuf_addf(out, "-%c|", opt->letter);
	strbuf_addf(out, "--%s) ", opt->name);
	if (opt->type == OPT_PATH) {
		strbuf_adds(out, "COMPREPLY=($(compgen -f -- \"$cur\")) ; ");
	} else if (opt_nr_choices(opt)) {
		strbuf_adds(out, "COMPREPLY=($(compgen -W '");
		for (size_t i = 0; i < opt_nr_choices(opt); i++)
			strbuf_addf(out, "%s%s", i ? " " : "", opt->choices[i]);
		strbuf_adds(out, "' -- \"$cur\")) ; ");
	}
	strbuf_adds(out, "return ;;\n");
}

/* Two words are the command when the first is a group. */
static void bash_group(const struct cmd_program *prog, const struct cmd *cmd, struct strbuf *out)
{
	size_t n = cmd_group_len(cmd);

	if (!n || !is_first(prog, cmd))
		return;
	strbuf_addf(out,
		    "\t[ \"$command\" = %.*s ] && [ \"$COMP_CWORD\" -gt 2 ] &&\n"
		    "\t\tcommand=\"$command ${COMP_WORDS[2]}\"\n",
		    (int)n, cmd->name);
}

static void bash_group_words(const struct cmd_program *prog, const struct cmd *cmd,
			     struct strbuf *out)
{
	size_t n = cmd_group_len(cmd);

	if (!n || !is_first(prog, cmd))
		return;
	strbuf_addf(out, "\t%.*s) words='--help", (int)n, cmd->name);
	add_group_names(prog, cmd, out);
	strbuf_adds(out, "' ;;\n");
}

/* A case of bash's `case "$command"`. */
static void bash_cmd(const struct cmd_program *prog, const struct cmd *cmd, struct strbuf *out)
{
	if (prog->sole)
		strbuf_adds(out, "\t*)\n\t\tcase \"$prev\" in\n");
	else
		strbuf_addf(out, "\t'%s')\n\t\tcase \"$prev\" in\n", cmd->name);
	for (size_t i = 0; i < opt_count(cmd); i++)
		bash_value(&cmd->opts[i], out);
	strbuf_adds(out, "\t\tesac\n");
	if (cmd->args_are_files)
		strbuf_adds(out,
			    "\t\t[[ $cur != -* ]] && { COMPREPLY=($(compgen -f -- \"$cur\")) ; "
			    "return ; }\n");
	strbuf_adds(out, "\t\twords='--help");
	for (size_t i = 0; i < opt_count(cmd); i++)
		strbuf_addf(out, " --%s", cmd->opts[i].name);
	add_operand_words(prog, cmd, out);
	strbuf_adds(out, "'\n\t\t;;\n");
}

/* The command is the first word that is neither an option of the program nor the value of one. */
static void bash_skip_globals(const struct cmd *globals, struct strbuf *out)
{
	strbuf_adds(out, "\tlocal i\n\tcommand=\n\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
			 "\t\tcase \"${COMP_WORDS[i]}\" in\n\t\t''");
	for (size_t i = 0; i < opt_count(globals); i++)
		if (globals->opts[i].type != OPT_FLAG)
			strbuf_addf(out, "|--%s", globals->opts[i].name);
	/* bash makes three words of "--root=/x". */
	strbuf_adds(out, ")\n\t\t\ti=$((i + 1))\n"
			 "\t\t\t[ \"${COMP_WORDS[i]}\" != '=' ] || i=$((i + 1)) ;;\n"
			 "\t\t-*) ;;\n"
			 "\t\t*) command=${COMP_WORDS[i]} ; break ;;\n\t\tesac\n\tdone\n");
}

static void complete_bash(const struct cmd_program *prog, struct strbuf *out)
{
	strbuf_addf(out, "# bash completion for %s\n_", prog->name);
	add_identifier(out, prog->name);
	strbuf_adds(out, "()\n{\n"
			 "\tlocal cur prev command words\n"
			 "\tcur=${COMP_WORDS[COMP_CWORD]}\n"
			 "\tprev=${COMP_WORDS[COMP_CWORD-1]}\n"
			 "\tcommand=\n"
			 "\t[ \"$COMP_CWORD\" -gt 1 ] && command=${COMP_WORDS[1]}\n");
	if (prog->globals)
		bash_skip_globals(prog->globals, out);
	if (!prog->sole)
		each_cmd(prog, bash_group, out);
	strbuf_adds(out, "\tCOMPREPLY=()\n"
			 "\tcase \"$command\" in\n");
	if (!prog->sole) {
		strbuf_adds(out, "\t'') words='--help --version");
		for (size_t i = 0; prog->globals && i < opt_count(prog->globals); i++)
			strbuf_addf(out, " --%s", prog->globals->opts[i].name);
		each_cmd(prog, add_name, out);
		strbuf_adds(out, "' ;;\n");
		each_cmd(prog, bash_group_words, out);
	}
	each_cmd(prog, bash_cmd, out);
	strbuf_adds(out, "\tesac\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n");
	strbuf_adds(out, "complete -o filenames -F _");
	add_identifier(out, prog->name);
	strbuf_addf(out, " %s\n", prog->name);
}

/* When the words of a command have been given. */
static void fish_seen(const struct cmd *cmd, struct strbuf *out)
{
	size_t n = cmd_group_len(cmd);

	strbuf_adds(out, " -n '__fish_seen_subcommand_from ");
	if (n)
		strbuf_addf(out, "%.*s; and __fish_seen_subcommand_from ", (int)n, cmd->name);
	strbuf_addf(out, "%s'", cmd->name + (n ? n + 1 : 0));
}

/* @cmd: NULL: an option of the program. */
static void fish_opt(const struct cmd_program *prog, const struct cmd *cmd, const struct opt *opt,
		     struct strbuf *out)
{
	strbuf_addf(out, "complete -c %s", prog->name);
	if (!cmd)
		strbuf_adds(out, " -n __fish_use_subcommand");
	else if (!prog->sole)
		fish_seen(cmd, out);
	strbuf_addf(out, " -l %s", opt->name);
	if (opt->letter)
		strbuf_addf(out, " -s %c", opt->letter);
	if (opt->type == OPT_PATH)
		strbuf_adds(out, " -r -F");
	else if (opt->type != OPT_FLAG)
		strbuf_adds(out, " -x");
	if (opt_nr_choices(opt)) {
		strbuf_adds(out, " -a '");
		for (size_t i = 0; i < opt_nr_choices(opt); i++)
			strbuf_addf(out, "%s%s", i ? " " : "", opt->choices[i]);
		strbuf_addc(out, '\'');
	}
	strbuf_adds(out, " -d '");
	/* Inside single quotes fish knows \' where bash needs '\''; both read the latter. */
	add_quoted(out, opt->help);
	strbuf_adds(out, "'\n");
}

static void fish_word(const struct cmd_program *prog, const struct cmd *cmd, struct strbuf *out)
{
	int n = (int)cmd_group_len(cmd);

	if (n && is_first(prog, cmd))
		strbuf_addf(out, "complete -c %s -n __fish_use_subcommand -f -a %.*s\n", prog->name,
			    n, cmd->name);
	strbuf_addf(out, "complete -c %s -n ", prog->name);
	if (n) {
		strbuf_addf(out,
			    "'__fish_seen_subcommand_from %.*s; and not "
			    "__fish_seen_subcommand_from",
			    n, cmd->name);
		add_group_names(prog, cmd, out);
		strbuf_addf(out, "' -f -a %s -d '", cmd->name + n + 1);
	} else {
		strbuf_addf(out, "__fish_use_subcommand -f -a %s -d '", cmd->name);
	}
	add_quoted(out, cmd->summary);
	strbuf_adds(out, "'\n");
}

static void fish_cmd(const struct cmd_program *prog, const struct cmd *cmd, struct strbuf *out)
{
	_cleanup_(strbuf_done) struct strbuf words = { 0 };

	if (!prog->sole)
		fish_word(prog, cmd, out);
	for (size_t i = 0; i < opt_count(cmd); i++)
		fish_opt(prog, cmd, &cmd->opts[i], out);
	add_operand_words(prog, cmd, &words);
	if (words.n) {
		strbuf_addf(out, "complete -c %s", prog->name);
		fish_seen(cmd, out);
		strbuf_addf(out, " -f -a '%s'\n", strbuf_cstr(&words) + 1);
	}
}

int cmd_completion(const struct cmd_program *prog, const char *shell, struct strbuf *out,
		   struct err *err)
{
	if (strcmp(shell, "bash") == 0) {
		complete_bash(prog, out);
	} else if (strcmp(shell, "zsh") == 0) {
		strbuf_addf(out, "#compdef %s\nautoload -Uz bashcompinit && bashcompinit\n",
			    prog->name);
		complete_bash(prog, out);
	} else if (strcmp(shell, "fish") == 0) {
		strbuf_addf(out, "# fish completion for %s\n", prog->name);
		for (size_t i = 0; prog->globals && i < opt_count(prog->globals); i++)
			fish_opt(prog, NULL, &prog->globals->opts[i], out);
		each_cmd(prog, fish_cmd, out);
	} else {
		return err_set(err, -EINVAL, "'%.40s' is none of bash, zsh, fish", shell);
	}
	return 0;
}
