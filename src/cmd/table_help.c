/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Help and man pages out of the command tables. Both show the same facts in the same order: how to
 * call it, what it does, each option with its range and default, the exit status, examples.
 */
#include "cmd/table.h"

#include <inttypes.h>
#include <string.h>

#include "base/attr.h"
#include "cmd/table_priv.h"
#include "cmd/version.h"

#define HELP_COLUMN 26
#define HELP_WIDTH  80

/* Words of one paragraph, broken at HELP_WIDTH; all lines but the first begin at `indent`. */
static void add_wrapped(struct strbuf *out, size_t column, size_t indent, struct str text)
{
	struct str word;
	bool first = true;

	while (str_cut(&text, ' ', &word)) {
		if (!word.n)
			continue;
		if (!first && column + 1 + word.n > HELP_WIDTH) {
			strbuf_addc(out, '\n');
			strbuf_pad(out, out->n, indent);
			column = indent;
		} else if (!first) {
			strbuf_addc(out, ' ');
			column++;
		}
		strbuf_add(out, word.p, word.n);
		column += word.n;
		first = false;
	}
	strbuf_addc(out, '\n');
}

/* Bytes or nanoseconds in the largest unit that divides them. */
static void add_amount(struct strbuf *out, enum opt_type type, uint64_t v)
{
	static const struct {
		enum opt_type type;
		uint64_t factor;
		const char *name;
	} units[] = {
		{ OPT_SIZE, UINT64_C(1) << 40, "T" },
		{ OPT_SIZE, UINT64_C(1) << 30, "G" },
		{ OPT_SIZE, UINT64_C(1) << 20, "M" },
		{ OPT_SIZE, UINT64_C(1) << 10, "K" },
		{ OPT_DURATION, UINT64_C(1000000000), "s" },
		{ OPT_DURATION, UINT64_C(1000000), "ms" },
		{ OPT_DURATION, UINT64_C(1000), "us" },
		{ OPT_DURATION, 1, "ns" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (v && units[i].type == type && v % units[i].factor == 0) {
			strbuf_addf(out, "%" PRIu64 "%s", v / units[i].factor, units[i].name);
			return;
		}
	}
	strbuf_addf(out, "%" PRIu64, v);
}

/* The help sentence with range, choices and default behind it. */
static void add_facts(struct strbuf *out, const struct opt *opt)
{
	strbuf_adds(out, opt->help);
	if (opt->max) {
		strbuf_adds(out, "; ");
		add_amount(out, opt->type, opt->min);
		strbuf_adds(out, " to ");
		add_amount(out, opt->type, opt->max);
		if (opt->unit)
			strbuf_addf(out, " %s", opt->unit);
	}
	if (opt->type == OPT_ENUM) {
		for (size_t i = 0; i < opt_nr_choices(opt); i++)
			strbuf_addf(out, "%s%s", i ? ", " : "; one of ", opt->choices[i]);
	}
	if (opt->type == OPT_LIST)
		strbuf_adds(out, "; may be given several times");
	if (opt->required)
		strbuf_adds(out, " (required)");
	else if (opt->def && opt->def[0])
		strbuf_addf(out, " (default %s)", opt->def);
}

static void add_help_line(struct strbuf *out, const char *left, struct str right)
{
	size_t start = out->n;

	strbuf_addf(out, "  %s", left);
	if (out->n - start + 1 > HELP_COLUMN) {
		strbuf_addc(out, '\n');
		start = out->n;
	}
	strbuf_pad(out, start, HELP_COLUMN);
	add_wrapped(out, HELP_COLUMN, HELP_COLUMN, right);
}

static void add_help_opt(struct strbuf *out, const struct opt *opt)
{
	_cleanup_(strbuf_done) struct strbuf left = { 0 };
	_cleanup_(strbuf_done) struct strbuf right = { 0 };

	if (opt->letter)
		strbuf_addf(&left, "-%c, ", opt->letter);
	else
		strbuf_adds(&left, "    ");
	strbuf_addf(&left, "--%s", opt->name);
	if (opt->arg)
		strbuf_addf(&left, " %s", opt->arg);
	add_facts(&right, opt);
	add_help_line(out, strbuf_cstr(&left), strbuf_str(&right));
}

/* "atoll run", or "atoll-vm" for a program that is one command. */
static void add_call_name(struct strbuf *out, const struct cmd_program *prog, const struct cmd *cmd,
			  const char *separator)
{
	strbuf_adds(out, prog->name);
	if (prog->sole)
		return;
	strbuf_adds(out, separator);
	for (const char *p = cmd->name; *p; p++)
		strbuf_addc(out, *p == ' ' ? *separator : *p);
}

static void add_paragraphs(struct strbuf *out, const char *text)
{
	struct str rest = str_of(text), line;

	while (str_cut(&rest, '\n', &line))
		add_wrapped(out, 0, 0, line);
}

void cmd_help(const struct cmd_program *prog, const struct cmd *cmd, struct strbuf *out)
{
	strbuf_adds(out, "Usage: ");
	add_call_name(out, prog, cmd, " ");
	strbuf_adds(out, " [OPTIONS]");
	if (cmd->args)
		strbuf_addf(out, " %s", cmd->args);
	strbuf_addf(out, "\n\n%s.\n", cmd->summary);
	if (cmd->description) {
		strbuf_addc(out, '\n');
		add_paragraphs(out, cmd->description);
	}
	strbuf_adds(out, "\nOptions:\n");
	for (size_t i = 0; i < opt_count(cmd); i++)
		add_help_opt(out, &cmd->opts[i]);
	add_help_line(out, "-h, --help", STR("Show this text"));
	if (cmd->exit_status) {
		strbuf_adds(out, "\nExit status:\n");
		add_paragraphs(out, cmd->exit_status);
	}
	if (cmd->examples) {
		struct str rest = str_of(cmd->examples), line;

		strbuf_adds(out, "\nExamples:\n");
		while (str_cut(&rest, '\n', &line))
			strbuf_addf(out, "  %.*s\n", STR_ARG(line));
	}
}

void cmd_help_program(const struct cmd_program *prog, struct strbuf *out)
{
	strbuf_addf(out, "Usage: %s %sCOMMAND [OPTIONS]\n\n%s.\n\nCommands:\n", prog->name,
		    prog->globals ? "[OPTIONS] " : "", prog->summary);
	for (size_t i = 0; i < prog->nr_cmds; i++)
		add_help_line(out, prog->cmds[i].cmd->name, str_of(prog->cmds[i].cmd->summary));
	add_help_line(out, cmd_builtin_completion.name, str_of(cmd_builtin_completion.summary));
	add_help_line(out, cmd_builtin_help.name, str_of(cmd_builtin_help.summary));
	strbuf_adds(out, "\nOptions:\n");
	for (size_t i = 0; prog->globals && i < opt_count(prog->globals); i++)
		add_help_opt(out, &prog->globals->opts[i]);
	add_help_line(out, "-h, --help", STR("Show this text"));
	add_help_line(out, "    --version", STR("Show the version"));
	strbuf_addf(out, "\n'%s help COMMAND' explains a command.\n", prog->name);
}

void cmd_help_group(const struct cmd_program *prog, const char *group, struct strbuf *out)
{
	size_t n = strlen(group);

	strbuf_addf(out, "Usage: %s %s COMMAND [OPTIONS]\n\nCommands:\n", prog->name, group);
	for (size_t i = 0; i < prog->nr_cmds; i++) {
		const struct cmd *cmd = prog->cmds[i].cmd;

		if (cmd_group_len(cmd) == n && memcmp(cmd->name, group, n) == 0)
			add_help_line(out, cmd->name + n + 1, str_of(cmd->summary));
	}
	strbuf_addf(out, "\n'%s help %s COMMAND' explains a command.\n", prog->name, group);
}

/* Text for groff: backslashes and dashes escaped, no line that begins with a control character. */
static void add_roff(struct strbuf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool line_start = out->n && out->p[out->n - 1] == '\n';

		if (c == '\\')
			strbuf_adds(out, "\\e");
		else if (c == '-')
			strbuf_adds(out, "\\-");
		else if (c == '\'')
			strbuf_adds(out, "\\(aq");
		else if (c == '.' && line_start)
			strbuf_adds(out, "\\&.");
		else
			strbuf_addc(out, c);
	}
}

static void add_roff_paragraphs(struct strbuf *out, const char *text)
{
	struct str rest = str_of(text), line;

	while (str_cut(&rest, '\n', &line)) {
		if (line.n)
			add_roff(out, line);
		else
			strbuf_adds(out, ".PP");
		strbuf_addc(out, '\n');
	}
}

static void add_roff_head(struct strbuf *out, const char *name, const char *summary)
{
	strbuf_adds(out, ".TH ");
	for (const char *p = name; *p; p++)
		strbuf_addc(out, *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p);
	strbuf_addf(out, " 1 \"\" \"Atoll %s\" \"User Commands\"\n.SH NAME\n", ATOLL_VERSION);
	add_roff(out, str_of(name));
	strbuf_adds(out, " \\- ");
	add_roff(out, str_of(summary));
	strbuf_adds(out, "\n.SH SYNOPSIS\n");
}

static void add_roff_opt(struct strbuf *out, const struct opt *opt)
{
	_cleanup_(strbuf_done) struct strbuf facts = { 0 };

	strbuf_adds(out, ".TP\n");
	if (opt->letter)
		strbuf_addf(out, "\\fB\\-%c\\fR, ", opt->letter);
	strbuf_adds(out, "\\fB\\-\\-");
	add_roff(out, str_of(opt->name));
	strbuf_adds(out, "\\fR");
	if (opt->arg) {
		strbuf_adds(out, " \\fI");
		add_roff(out, str_of(opt->arg));
		strbuf_adds(out, "\\fR");
	}
	strbuf_addc(out, '\n');
	add_facts(&facts, opt);
	add_roff(out, strbuf_str(&facts));
	strbuf_adds(out, ".\n");
}

static void man_cmd(const struct cmd_program *prog, const struct cmd *cmd, struct strbuf *out)
{
	_cleanup_(strbuf_done) struct strbuf page = { 0 };
	_cleanup_(strbuf_done) struct strbuf call = { 0 };

	add_call_name(&page, prog, cmd, "-");
	add_call_name(&call, prog, cmd, " ");
	add_roff_head(out, strbuf_cstr(&page), cmd->summary);
	strbuf_adds(out, ".B ");
	add_roff(out, strbuf_str(&call));
	strbuf_adds(out, "\n[OPTIONS]");
	if (cmd->args) {
		strbuf_addc(out, ' ');
		add_roff(out, str_of(cmd->args));
	}
	strbuf_adds(out, "\n.SH DESCRIPTION\n");
	add_roff_paragraphs(out, cmd->description ? cmd->description : cmd->summary);
	strbuf_adds(out, ".SH OPTIONS\n");
	for (size_t i = 0; i < opt_count(cmd); i++)
		add_roff_opt(out, &cmd->opts[i]);
	strbuf_adds(out, ".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nShow a short help.\n");
	strbuf_adds(out, ".SH EXIT STATUS\n");
	add_roff_paragraphs(out, cmd->exit_status ? cmd->exit_status
						  : "0 on success, 1 on failure, with the reason "
						    "on standard error.");
	if (cmd->examples) {
		strbuf_adds(out, ".SH EXAMPLES\n.nf\n");
		add_roff(out, str_of(cmd->examples));
		strbuf_adds(out, "\n.fi\n");
	}
}

static void man_list_entry(struct strbuf *out, const struct cmd *cmd)
{
	strbuf_addf(out, ".TP\n.B %s\n", cmd->name);
	add_roff(out, str_of(cmd->summary));
	strbuf_adds(out, ".\n");
}

void cmd_man(const struct cmd_program *prog, const struct cmd *cmd, struct strbuf *out)
{
	if (!cmd && prog->sole)
		cmd = prog->sole->cmd;
	if (cmd) {
		man_cmd(prog, cmd, out);
		return;
	}
	add_roff_head(out, prog->name, prog->summary);
	strbuf_addf(out, ".B %s\n%sCOMMAND [OPTIONS]\n", prog->name,
		    prog->globals ? "[OPTIONS] " : "");
	if (prog->globals)
		strbuf_adds(out, ".SH OPTIONS\n");
	for (size_t i = 0; prog->globals && i < opt_count(prog->globals); i++)
		add_roff_opt(out, &prog->globals->opts[i]);
	strbuf_adds(out, ".SH COMMANDS\n");
	for (size_t i = 0; i < prog->nr_cmds; i++)
		man_list_entry(out, prog->cmds[i].cmd);
	man_list_entry(out, &cmd_builtin_completion);
	man_list_entry(out, &cmd_builtin_help);
	strbuf_adds(out, ".PP\nEach command has a page of its own, for instance\n");
	strbuf_addf(out, ".BR %s\\-%s (1).\n", prog->name,
		    prog->nr_cmds ? prog->cmds[0].cmd->name : cmd_builtin_help.name);
}
