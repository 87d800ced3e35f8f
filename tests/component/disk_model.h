/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_DISK_MODEL_H
#define ATOLL_TESTS_DISK_MODEL_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "disk/disk.h"
#include "sys/fd.h"

/* A disk in memory beside one in an image: random operations on both, and what a judge says. */

/* xorshift64*: the same on every host, so that a seed tells a story twice. */
struct rng {
	uint64_t s;
};

static inline uint64_t rng_next(struct rng *g)
{
	g->s ^= g->s >> 12;
	g->s ^= g->s << 25;
	g->s ^= g->s >> 27;
	return g->s * UINT64_C(0x2545f4914f6cdd1d);
}

static inline uint64_t rng_below(struct rng *g, uint64_t n)
{
	return rng_next(g) % n;
}

/* For cmocka's setup and teardown: a folder of its own to work in, and its end. */
static inline int make_dir(void **state)
{
	/* In memory where there is such a place: programs that we call sync a lot. */
	char *dir = mem_strdup(access("/dev/shm", W_OK) ? "/tmp/atoll-test-XXXXXX"
							: "/dev/shm/atoll-test-XXXXXX");

	*state = dir;
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static inline int remove_dir(void **state)
{
	char cmd[100];

	ignore_result(chdir("/")); /* the folder is gone either way */
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", (char *)*state);
	free(*state);
	return system(cmd);
}

/* Runs a command; its output is shown when it fails. Returns its exit status. */
static _printf_(1, 2) inline int shell(const char *fmt, ...)
{
	char cmd[1024], quiet[1200];
	va_list ap;
	int r;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	snprintf(quiet, sizeof(quiet), "(%s) >judge.out 2>&1", cmd);
	r = system(quiet);
	if (r) {
		fprintf(stderr, "# %s\n", cmd);
		ignore_result(system("sed 's/^/# /' judge.out >&2")); /* only words */
	}
	return r;
}

static inline int write_file(const char *path, const void *p, size_t n)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	int r = fd_open(path, O_WRONLY | O_CREAT | O_TRUNC, &fd, NULL);

	return r < 0 ? r : fd_write_full(fd, p, n);
}

#endif
