/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All of it, in the order in which one part does not take away what the next one needs.
 *
 * What a host does not offer is reported, not fatal: of several locks, those that are there should be locked. Who
 * would rather have no machine than a half locked one looks at the report.
 */
#include "sys/sandbox/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/fd.h"
#include "sys/sandbox/sandbox_priv.h"
#include "sys/sandbox/seccomp.h"

static const char *const names[SANDBOX_NR_PARTS] = {
	[SANDBOX_NAMESPACES] = "namespaces",
	[SANDBOX_ROOT] = "empty root",
	[SANDBOX_LANDLOCK] = "Landlock",
	[SANDBOX_CAPABILITIES] = "no capabilities",
};

const char *sandbox_part_name(enum sandbox_part part)
{
	return names[part];
}

static struct {
	int *fd;
	unsigned int nr;
} inherited;

static void note_inherited(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *e;

	while (dir && (e = readdir(dir))) {
		int fd = (int)strtol(e->d_name, NULL, 10);

		if (fd <= STDERR_FILENO || fd == dirfd(dir))
			continue;
		inherited.fd = mem_renew(inherited.fd, inherited.nr + 1, sizeof(*inherited.fd));
		inherited.fd[inherited.nr++] = fd;
	}
	if (dir)
		closedir(dir);
}

/* The memory of threads other than the first: before it shrinks for the first time, glibc asks in /proc whether that makes
 * sense. Pieces that are small enough not to be mappings of their own, and more than is kept free. */
static void *shrink_heap(void *arg)
{
	enum { PIECES = 16, PIECE = 60000 };
	void *volatile piece[PIECES];

	for (int k = 0; k < PIECES; k++)
		piece[k] = malloc(PIECE);
	for (int k = PIECES; k-- > 0;)
		free(piece[k]);
	return NULL;
}

void sandbox_prepare(void)
{
	enum { ARENAS = 8 };
	pthread_t thread;

	note_inherited();
	tzset();
	/* Else glibc asks in /sys for the number of CPUs when so many threads have allocated memory that it matters. */
	mallopt(M_ARENA_MAX, ARENAS);
	if (pthread_create(&thread, NULL, shrink_heap, NULL) == 0)
		pthread_join(thread, NULL);
}

static void close_inherited(void)
{
	while (inherited.nr)
		close(inherited.fd[--inherited.nr]);
	free(inherited.fd);
	inherited.fd = NULL;
}

/* Files and the network out of reach, in two ways. */
static void leave_host(struct sandbox_report *ret)
{
	int r = sandbox_namespaces(&ret->part[SANDBOX_NAMESPACES]);

	if (r == 0)
		r = sandbox_empty_root(&ret->part[SANDBOX_ROOT]);
	else
		err_set(&ret->part[SANDBOX_ROOT], r, "it needs namespaces");
	ignore_result(sandbox_landlock(NULL, &ret->part[SANDBOX_LANDLOCK])); /* reported */
}

/* What every host can do. */
static int limit(struct err *err)
{
	const struct rlimit none = { 0, 0 };
	struct rlimit files;

	/* A core file would be the guest's memory on the host's disk. */
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return err_set_errno(err, "limit of core files");
	/* As many descriptors as now, and no way to more. */
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_set_errno(err, "limit of descriptors");
	files.rlim_max = files.rlim_cur;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_set_errno(err, "limit of descriptors");
	return sandbox_no_new_privileges(err);
}

int sandbox_helper(const char *program, const char *kind, const struct sandbox_keep *keep,
		   bool must_hold, struct err *err)
{
#ifdef IS_SANITIZED
	return 0; /* it reads /proc when it reports, and ends in ways of its own */
#else
	struct err missing = ERR_INIT;
	bool holds;
	int r = limit(err);

	if (r < 0)
		return err_wrap(err, r, "confinement");
	holds = keep->files || sandbox_landlock(keep, &missing) == 0;
	holds &= sandbox_drop_capabilities(keep->capabilities, &missing) == 0;
	holds &= seccomp_begin(program, keep->servers ? SECCOMP_SERVERS_BESIDE : SECCOMP_NO_SERVERS,
			       &missing) == 0;
	if (!holds && must_hold)
		return err_set(err, -EPERM, "--sandbox require: %s: %s", program,
			       err_text(&missing));
	seccomp_enter(kind);
	return 0;
#endif
}

int sandbox_enter(const struct sandbox_opts *o, struct sandbox_report *ret, struct err *err)
{
	int r;

	*ret = (struct sandbox_report){ 0 };
	r = limit(err);
	if (r < 0)
		return r;
	close_inherited();
	if (!o->keeps_files)
		leave_host(ret);
	for (unsigned int k = SANDBOX_NAMESPACES; o->keeps_files && k <= SANDBOX_LANDLOCK; k++)
		err_set(&ret->part[k], -ECANCELED, "%s", o->keeps_files);
	ignore_result(
		sandbox_drop_capabilities(0, &ret->part[SANDBOX_CAPABILITIES])); /* reported */
	return 0;
}

int sandbox_try(struct sandbox_report *ret, struct err *err)
{
	const struct sandbox_opts all = { .keeps_files = NULL };
	int pipe_fd[2], r = 0;
	pid_t pid;

	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		return err_set_errno(err, "pipe");
	pid = fork();
	if (pid == 0) {
		r = sandbox_enter(&all, ret, err);
		_exit(r < 0 || fd_write_full(pipe_fd[1], ret, sizeof(*ret)) < 0);
	}
	close(pipe_fd[1]);
	if (pid < 0)
		r = err_set_errno(err, "fork");
	else if (fd_read_full(pipe_fd[0], ret, sizeof(*ret)) != sizeof(*ret))
		r = err_set(err, -EIO, "the child that tried it has died");
	close(pipe_fd[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r;
}
