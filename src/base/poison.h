/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_POISON_H
#define ATOLL_BASE_POISON_H

/*
 * Functions that cannot be used safely become compile errors. The build includes this header
 * before every file (meson.build), so that nobody has to remember it. The system's headers come
 * first: they declare what we forbid.
 *
 * Instead: struct strbuf (base/str.h) to build strings, snprintf for fixed buffers, str_parse_* to
 * read numbers, getrandom(2) for random numbers.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* A macro in glibc's fortified stdio.h with clang, which refuses to poison one. */
#undef sprintf

#pragma GCC poison strcpy strcat strncpy strncat stpcpy sprintf vsprintf gets strtok
#pragma GCC poison atoi atol atoll atof rand srand tmpnam mktemp

#endif
