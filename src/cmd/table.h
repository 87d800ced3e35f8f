/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_TABLE_H
#define ATOLL_CMD_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

/*
 * One description of each subcommand and its options. From it come the parser, --help, the man
 * pages and the shells' completion, so that they cannot differ.
 *
 * Options land in a struct of the subcommand: each option names the member by its offset, and the
 * type of the option fixes the C type of the member.
 */
enum opt_type {
	OPT_FLAG,     /* bool: --name */
	OPT_U64,      /* uint64_t: a number from min to max, in `unit` */
	OPT_SIZE,     /* uint64_t, bytes: 512M, 2G; min and max in bytes */
	OPT_DURATION, /* uint64_t, ns: 10ms, 5s; min and max in ns */
	OPT_STR,      /* const char *: any text; `choices` are only offered by completion */
	OPT_PATH,     /* const char *: a file; completed as one */
	OPT_ENUM,     /* unsigned: index in `choices`, nothing else is accepted */
	OPT_LIST,     /* struct opt_list: text, may be given many times */
};

/* Values of an OPT_LIST in the order given. The array is owned by the cmd_call, the texts by argv. */
struct opt_list {
	const char **v;
	size_t n;
};

#define OPT_CHOICES_MAX 12

struct opt {
	const char *name; /* without the dashes; NULL ends a table */
	char letter;	  /* -x; 0: none */
	enum opt_type type;
	const char *arg;  /* what help calls the value: "FILE"; NULL for a flag */
	const char *help; /* one sentence without a full stop */
	const char *def; /* parsed when the option is not given, shown by help; NULL: zero or NULL */
	const char *unit;		      /* for OPT_U64: "vCPUs"; NULL: a bare number */
	uint64_t min, max;		      /* for numbers; max 0: no limit */
	const char *choices[OPT_CHOICES_MAX]; /* ends at the first NULL */
	size_t offset;			      /* of the member in the options struct */
	bool required;
};

/* The member of an options struct, for struct opt.offset. */
#define OPT_AT(type, member) .offset = offsetof(type, member)

struct cmd {
	const char *name;	   /* "run", or "disk info": two words make a group of commands */
	const char *summary;	   /* one line without a full stop, shown in lists */
	const char *description;   /* paragraphs separated by an empty line; for help and man */
	const char *args;	   /* what help calls the operands: "SHELL"; NULL: none taken */
	size_t args_min, args_max; /* how many operands */
	const char *const *args_choices; /* NULL-terminated, for completion; or NULL */
	bool args_are_files;		 /* operands are completed as files */
	bool stops_at_args; /* what follows the first operand is operands, too: a command line */
	const struct opt *opts;	 /* ended by .name = NULL; or NULL */
	size_t opts_size;	 /* sizeof the options struct */
	const char *exit_status; /* text of the man page's EXIT STATUS; NULL: 0 or 1 */
	const char *examples;	 /* lines of shell; NULL: none */
};

/* One parsed call of a subcommand. */
struct cmd_call {
	const struct cmd *cmd;
	const void *opts;    /* the options struct, zeroed, defaults filled in */
	const void *globals; /* that of the program; NULL: it has none */
	const char **args;   /* operands */
	size_t nr_args;
	char **argv;	/* as given: argv[0] is the subcommand (or program) name, NULL-ended */
	uint64_t given; /* bit i: option i of the table was on the command line */
};

/* A subcommand and who does it. Returns the exit status of the program. */
struct cmd_binding {
	const struct cmd *cmd;
	int (*fn)(const struct cmd_call *call);
};

struct cmd_program {
	const char *name; /* "atoll" */
	const char *summary;
	const struct cmd_binding *cmds; /* one subcommand each, shown in this order */
	size_t nr_cmds;
	const struct cmd *globals; /* options before the command, for all of them; or NULL */
	/* Set when the program is one command without a name ("atoll-vm --kernel ..."); cmds is then
	 * empty. */
	const struct cmd_binding *sole;
};

/*
 * cmd_main - what main() does: parse, answer --help, --version, `help` and `completion`, or call the
 * subcommand.
 *
 * `PROGRAM help [COMMAND]` and `PROGRAM [COMMAND] --help` print help (also for a group of commands); `PROGRAM help --man [COMMAND]`
 * a man page; `PROGRAM completion bash|zsh|fish` a completion script. A wrong command line prints
 * one line on standard error that names what is wrong and the nearest right word.
 *
 * Returns the exit status: what the subcommand returned, 0 for help, 1 for a wrong command line.
 * Thread: the first.
 */
int cmd_main(const struct cmd_program *prog, int argc, char **argv);

/*
 * cmd_parse - read the command line of one subcommand.
 *
 * @argv:      argv[0] is a name and is skipped; NULL-terminated
 * @call:      filled; ended by cmd_call_done() also after a failure
 * @ret_help:  set when --help or -h was given; then nothing else is checked
 * Returns 0; -EINVAL, -ERANGE with the story. Thread: any.
 */
_nodiscard_ int cmd_parse(const struct cmd *cmd, char **argv, struct cmd_call *call, bool *ret_help,
			  struct err *err);

/* cmd_call_done - free what cmd_parse() made. A zeroed call is left alone. Thread: owner. */
void cmd_call_done(struct cmd_call *call);

/* cmd_given - whether an option stood on the command line (and is not its default). Thread: any. */
bool cmd_given(const struct cmd_call *call, const char *opt_name);

/*
 * cmd_each_given - call fn(arg, option, text) for what stood on the command line, in the order of the table; an option that was
 * given several times, several times. @text: what the parser would take for the same value; NULL for a flag. Thread: any.
 */
void cmd_each_given(const struct cmd_call *call,
		    void (*fn)(void *arg, const struct opt *opt, const char *text), void *arg);

/* cmd_find - the binding of a subcommand by name, NULL with the nearest name in @err. Thread: any. */
const struct cmd_binding *cmd_find(const struct cmd_program *prog, const char *name,
				   struct err *err);

/* cmd_is_group - whether names of subcommands begin with this word and a space. Thread: any. */
_pure_ bool cmd_is_group(const struct cmd_program *prog, const char *word);

/* cmd_help_group - the text of `PROGRAM GROUP --help`, appended. Thread: any. */
void cmd_help_group(const struct cmd_program *prog, const char *group, struct strbuf *out);

/* cmd_help_program - the text of `PROGRAM --help`, appended. Thread: any. */
void cmd_help_program(const struct cmd_program *prog, struct strbuf *out);

/* cmd_help - the text of `PROGRAM COMMAND --help`, appended. Thread: any. */
void cmd_help(const struct cmd_program *prog, const struct cmd *cmd, struct strbuf *out);

/*
 * cmd_man - a man page (groff man(7)), appended.
 *
 * @cmd:  NULL: the page of the program with its list of subcommands
 * Thread: any.
 */
void cmd_man(const struct cmd_program *prog, const struct cmd *cmd, struct strbuf *out);

/*
 * cmd_completion - a completion script, appended.
 *
 * @shell:  "bash", "zsh" or "fish"
 * Returns 0; -EINVAL (another shell). Thread: any.
 */
_nodiscard_ int cmd_completion(const struct cmd_program *prog, const char *shell,
			       struct strbuf *out, struct err *err);

#endif
