/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Command lines of `run`: words separated by zero bytes. Whatever they are, each ends in a parsed
 * call or in an error with a sentence.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/commands.h"

#define WORDS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_(cmd_call_done) struct cmd_call call = { 0 };
	_cleanup_(mem_freep) char *text = mem_new(n + 1);
	char *argv[WORDS_MAX + 2] = { (char *)"run" };
	struct err err = ERR_INIT;
	size_t nr = 1;
	bool help;
	int r;

	if (n)
		memcpy(text, data, n);
	for (size_t at = 0; at < n && nr <= WORDS_MAX; at += strlen(text + at) + 1)
		argv[nr++] = text + at;
	r = cmd_parse(&cmd_run, argv, &call, &help, &err);
	if (r < 0) {
		assert(err.code == r && err.text[0]);
	} else if (!help) {
		const struct run_opts *o = call.opts;

		assert(o->nr_cpus >= 1 && o->nr_cpus <= 64 && o->append && o->cpu);
	}
	return 0;
}
