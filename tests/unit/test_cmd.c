/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines by table: values, ranges, complaints, and what is generated from the same table. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/commands.h"
#include "unit.h"

struct opts {
	bool verbose, quiet;
	uint64_t count, size, wait;
	const char *name, *file;
	unsigned color;
	struct opt_list item;
};

/* clang-format off */
static const struct opt options[] = {
	{ .name = "verbose", .letter = 'v', .type = OPT_FLAG, .help = "Say more",
	  OPT_AT(struct opts, verbose) },
	{ .name = "quiet", .letter = 'q', .type = OPT_FLAG, .help = "Say less",
	  OPT_AT(struct opts, quiet) },
	{ .name = "count", .letter = 'c', .type = OPT_U64, .arg = "N", .help = "How many",
	  .def = "3", .unit = "things", .min = 1, .max = 64, OPT_AT(struct opts, count) },
	{ .name = "size", .type = OPT_SIZE, .arg = "SIZE", .help = "How large", .def = "1M",
	  .min = 4096, .max = 1u << 30, OPT_AT(struct opts, size) },
	{ .name = "wait", .type = OPT_DURATION, .arg = "TIME", .help = "How long",
	  OPT_AT(struct opts, wait) },
	{ .name = "name", .type = OPT_STR, .arg = "TEXT", .help = "Who, in the guest's words",
	  OPT_AT(struct opts, name) },
	{ .name = "file", .letter = 'f', .type = OPT_PATH, .arg = "FILE", .help = "Where",
	  .required = true, OPT_AT(struct opts, file) },
	{ .name = "color", .type = OPT_ENUM, .arg = "WHEN", .help = "Colors", .def = "auto",
	  .choices = { "never", "auto", "always" }, OPT_AT(struct opts, color) },
	{ .name = "item", .type = OPT_LIST, .arg = "X", .help = "One more",
	  OPT_AT(struct opts, item) },
	{ 0 },
};
/* clang-format on */

static const struct cmd cmd = {
	.name = "try",
	.summary = "Try things",
	.description = "First paragraph.\n\nSecond - paragraph.",
	.args = "[THING]",
	.args_max = 1,
	.opts = options,
	.opts_size = sizeof(struct opts),
	.examples = "demo try -f x",
};

#define PARSE(call, err, ...) parse((call), (err), (const char *[]){ "try", __VA_ARGS__, NULL })

static int parse(struct cmd_call *call, struct err *err, const char **argv)
{
	bool help;

	cmd_call_done(call);
	return cmd_parse(&cmd, (char **)argv, call, &help, err);
}

static void test_values(void **state)
{
	struct cmd_call call = { 0 };
	const struct opts *o;

	assert_int_equal(PARSE(&call, NULL, "-f", "x"), 0);
	o = call.opts;
	assert_false(o->verbose);
	assert_int_equal(o->count, 3);
	assert_int_equal(o->size, 1 << 20);
	assert_int_equal(o->wait, 0);
	assert_null(o->name);
	assert_string_equal(o->file, "x");
	assert_int_equal(o->color, 1);
	assert_int_equal(o->item.n, 0);
	assert_false(cmd_given(&call, "count"));
	assert_true(cmd_given(&call, "file"));

	assert_int_equal(PARSE(&call, NULL, "thing", "-vqfpath", "--count=0x10", "--size", "2M",
			       "--wait=5ms", "--name=", "--color", "always", "--item", "a",
			       "--item=b", "--count", "9"),
			 0);
	o = call.opts;
	assert_true(o->verbose && o->quiet);
	assert_string_equal(o->file, "path");
	assert_int_equal(o->count, 9);
	assert_int_equal(o->size, 2 << 20);
	assert_int_equal(o->wait, 5000000);
	assert_string_equal(o->name, "");
	assert_int_equal(o->color, 2);
	assert_int_equal(o->item.n, 2);
	assert_string_equal(o->item.v[0], "a");
	assert_string_equal(o->item.v[1], "b");
	assert_int_equal(call.nr_args, 1);
	assert_string_equal(call.args[0], "thing");

	assert_int_equal(PARSE(&call, NULL, "-fx", "--", "--count"), 0);
	assert_string_equal(call.args[0], "--count");
	assert_int_equal(PARSE(&call, NULL, "-f", "-", "-"), 0);
	assert_string_equal(((const struct opts *)call.opts)->file, "-");
	assert_string_equal(call.args[0], "-");
	cmd_call_done(&call);
	cmd_call_done(&call);
}

static void complains(const char *text, int code, const char **argv)
{
	struct cmd_call call = { 0 };
	struct err err = ERR_INIT;

	assert_int_equal(parse(&call, &err, argv), code);
	assert_string_equal(err_text(&err), text);
	cmd_call_done(&call);
}

#define COMPLAINS(text, code, ...)                                                                 \
	complains((text), (code), (const char *[]){ "try", __VA_ARGS__, NULL })

static void test_complaints(void **state)
{
	COMPLAINS("--file FILE is missing", -EINVAL, "-v");
	COMPLAINS("--file needs a value: --file FILE", -EINVAL, "--file");
	COMPLAINS("--file needs a value: --file FILE", -EINVAL, "-vf");
	COMPLAINS("--file: the path is empty", -EINVAL, "--file=");
	COMPLAINS("unknown option '--cuont'; did you mean '--count'?", -EINVAL, "--cuont=4");
	COMPLAINS("unknown option '--verb'; did you mean '--verbose'?", -EINVAL, "--verb");
	COMPLAINS("unknown option '--elephant'", -EINVAL, "--elephant");
	COMPLAINS("unknown option '-x' in '-vx'", -EINVAL, "-vx");
	COMPLAINS("--verbose takes no value", -EINVAL, "--verbose=1");
	COMPLAINS("--count: 65 is not between 1 and 64", -ERANGE, "--count", "65");
	COMPLAINS("--count: 'many' is not a number", -EINVAL, "-c", "many");
	COMPLAINS("--size: 1K is not between 4096 and 1073741824", -ERANGE, "--size=1K");
	COMPLAINS("--color: 'red' is none of never, auto, always", -EINVAL, "--color=red");
	COMPLAINS("unexpected argument 'b'", -EINVAL, "-fx", "a", "b");
}

static void test_help_wins(void **state)
{
	const char *argv[] = { "try", "--help", "--elephant", NULL };
	struct cmd_call call = { 0 };
	bool help = false;

	assert_int_equal(cmd_parse(&cmd, (char **)argv, &call, &help, NULL), 0);
	assert_true(help);
	cmd_call_done(&call);
}

static int never(const struct cmd_call *call)
{
	fail();
	return 1;
}

static const struct cmd box_open = { .name = "box open", .summary = "Open a box" };
static const struct cmd box_shut = { .name = "box shut", .summary = "Shut a box" };

static const struct cmd_binding bindings[] = {
	{ &cmd, never },
	{ &cmd_run, never },
	{ &box_open, never },
	{ &box_shut, never },
};
static const struct cmd_program demo = {
	.name = "demo", .summary = "Demonstrate", .cmds = bindings, .nr_cmds = ARRAY_SIZE(bindings)
};

static void has(const struct strbuf *text, const char *part)
{
	if (!strstr(strbuf_cstr(text), part))
		fail_msg("'%s' is not in:\n%s", part, strbuf_cstr(text));
}

static void test_find(void **state)
{
	struct err err = ERR_INIT;

	assert_ptr_equal(cmd_find(&demo, "run", &err), &bindings[1]);
	assert_null(cmd_find(&demo, "rum", &err));
	assert_string_equal(err_text(&err), "unknown command 'rum'; did you mean 'run'?");
	assert_null(cmd_find(&demo, "elephant", &err));
	assert_string_equal(err_text(&err), "unknown command 'elephant'; see 'demo help'");
}

static void test_help(void **state)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };
	struct str rest, line;

	cmd_help(&demo, &cmd, &out);
	has(&out, "Usage: demo try [OPTIONS] [THING]\n");
	has(&out, "  -c, --count N           How many; 1 to 64 things (default 3)\n");
	has(&out, "How large; 4K to 1G (default 1M)");
	has(&out, "Where (required)");
	has(&out, "Colors; one of never, auto, always (default auto)");
	has(&out, "One more; may be given several times");
	cmd_help(&demo, &cmd_run, &out);
	cmd_help_program(&demo, &out);
	has(&out, "  run ");
	has(&out, "  completion ");
	rest = strbuf_str(&out);
	while (str_cut(&rest, '\n', &line)) {
		/* Examples are commands and are not broken. */
		assert_true(line.n <= 80 || str_starts(line, STR("  atoll ")));
		assert_false(str_ends(line, STR(" ")));
	}
}

static void test_man(void **state)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };

	cmd_man(&demo, &cmd, &out);
	has(&out, ".TH DEMO-TRY 1 ");
	has(&out, "\ndemo\\-try \\- Try things\n");
	has(&out, "First paragraph.\n.PP\nSecond \\- paragraph.\n");
	has(&out, "\\fB\\-c\\fR, \\fB\\-\\-count\\fR \\fIN\\fR\n");
	has(&out, "guest\\(aqs");
	cmd_man(&demo, NULL, &out);
	has(&out, ".B try\nTry things.\n");
}

static void test_completion(void **state)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };
	struct err err = ERR_INIT;

	assert_int_equal(cmd_completion(&demo, "tcsh", &out, &err), -EINVAL);
	assert_int_equal(cmd_completion(&demo, "bash", &out, &err), 0);
	has(&out, "--color) COMPREPLY=($(compgen -W 'never auto always' -- \"$cur\"))");
	has(&out, "complete -o filenames -F _demo demo\n");
	strbuf_reset(&out);
	assert_int_equal(cmd_completion(&demo, "zsh", &out, &err), 0);
	has(&out, "#compdef demo\n");
	strbuf_reset(&out);
	assert_int_equal(cmd_completion(&demo, "fish", &out, &err), 0);
	has(&out, "complete -c demo -n '__fish_seen_subcommand_from try' -l count -s c -x");
	has(&out, "guest'\\''s");
}

/* A list of words as a shell completes them, out of the bash script. */
static void completes(const char *typed, const char *words)
{
	_cleanup_(strbuf_done) struct strbuf script = { 0 };
	struct err err = ERR_INIT;
	char got[200] = { 0 };
	FILE *f;

	assert_int_equal(cmd_completion(&demo, "bash", &script, &err), 0);
	strbuf_addf(&script,
		    "COMP_WORDS=(demo %s ''); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _demo; "
		    "echo \"${COMPREPLY[*]}\"\n",
		    typed);
	setenv("SCRIPT", strbuf_cstr(&script), 1);
	f = popen("bash -c \"$SCRIPT\"", "r");
	assert_non_null(f);
	assert_non_null(fgets(got, sizeof(got), f));
	assert_int_equal(pclose(f), 0);
	got[strcspn(got, "\n")] = 0;
	assert_string_equal(got, words);
}

static void test_groups(void **state)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };
	struct err err = ERR_INIT;

	assert_true(cmd_is_group(&demo, "box"));
	assert_false(cmd_is_group(&demo, "bo"));
	assert_false(cmd_is_group(&demo, "box open"));
	assert_false(cmd_is_group(&demo, "run"));
	assert_ptr_equal(cmd_find(&demo, "box shut", &err)->cmd, &box_shut);
	assert_null(cmd_find(&demo, "box shot", &err));
	assert_string_equal(err_text(&err), "unknown command 'box shot'; did you mean 'box shut'?");
	cmd_help_group(&demo, "box", &out);
	has(&out, "  open ");
	has(&out, "Shut a box");
	assert_null(strstr(strbuf_cstr(&out), "Try"));
	strbuf_reset(&out);
	cmd_help(&demo, &box_open, &out);
	has(&out, "Usage: demo box open [OPTIONS]\n");
	cmd_man(&demo, &box_open, &out);
	has(&out, ".TH DEMO-BOX-OPEN 1 ");
	has(&out, ".B demo box open\n");
	completes("", "--help --version try run box completion help");
	completes("box", "--help open shut");
	completes("box open", "--help");
	strbuf_reset(&out);
	assert_int_equal(cmd_completion(&demo, "fish", &out, &err), 0);
	has(&out, "complete -c demo -n '__fish_seen_subcommand_from box; and not "
		  "__fish_seen_subcommand_from open shut' -f -a open -d 'Open a box'\n");
}

static void test_run_table(void **state)
{
	const char *argv[] = { "run", "-k", "vmlinuz", NULL };
	struct cmd_call call = { 0 };
	const struct run_opts *o;
	bool help;

	assert_int_equal(cmd_parse(&cmd_run, (char **)argv, &call, &help, NULL), 0);
	o = call.opts;
	assert_int_equal(o->memory_bytes, 512 << 20);
	assert_int_equal(o->nr_cpus, 1);
	assert_string_equal(o->append, "");
	assert_string_equal(o->cpu, "host");
	assert_int_equal(o->serial.n, 0);
	assert_int_equal(o->gdb_port, 0);
	cmd_call_done(&call);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),	   cmocka_unit_test(test_complaints),
		cmocka_unit_test(test_help_wins),  cmocka_unit_test(test_find),
		cmocka_unit_test(test_help),	   cmocka_unit_test(test_man),
		cmocka_unit_test(test_completion), cmocka_unit_test(test_groups),
		cmocka_unit_test(test_run_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
