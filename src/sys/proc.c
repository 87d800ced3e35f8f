/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Texts that the kernel shows in /proc: lines of a word and a number. */
#include "sys/proc.h"

#include <stdlib.h>
#include <string.h>

uint64_t proc_kib(const char *text, const char *word)
{
	uint64_t sum = 0;

	for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
		if (at == text || at[-1] == '\n')
			sum += strtoull(at + strlen(word), NULL, 10) << 10;
	return sum;
}
