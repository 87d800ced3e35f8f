/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs build.sh, listens to what it says, and makes of its raw image what was asked for. The image grows in a hidden
 * file beside its name, which is locked: a second build of the same name is refused, a file that a killed build left is
 * recognized by having no lock, and taken over.
 */
#include "image/build.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "disk/disk.h"
#include "image/build_script.h"
#include "sys/child.h"
#include "sys/fd.h"

enum { IMAGE_FD = 3, SCRIPT_FD = 4, MIB = 1 << 20 };

/* A system that boots, can be reached and configured, and lets one look around. */
static const char packages[] =
	"systemd-sysv,udev,dbus,libpam-systemd,systemd-resolved,linux-image-cloud-amd64,"
	"initramfs-tools,zstd,kmod,grub2-common,grub-pc-bin,grub-efi-amd64-bin,openssh-server,"
	"sudo,cloud-init,cloud-guest-utils,e2fsprogs,dosfstools,iproute2,iputils-ping,procps,"
	"netbase,ca-certificates,less,nano";

/* What is said when, and how far that is: shares of time. */
static const struct stage {
	const char *said, *stage;
	unsigned int permille;
} stages[] = {
	{ "I: running apt-get update", "package lists", 10 },
	{ "I: downloading packages", "downloading packages", 60 },
	{ "I: extracting archives", "unpacking the base system", 150 },
	{ "I: installing essential packages", "essential packages", 220 },
	{ "I: installing remaining packages", "installing packages", 320 },
	{ "atoll: stage configuring", "configuring", 850 },
	{ "atoll: stage boot loaders", "boot loaders", 860 },
	{ "atoll: stage partitions", "partitions", 880 },
	{ "atoll: stage root file system", "root file system", 900 },
};
enum { COPYING = 950, DONE = 1000 };

static void progress(const struct image_build *b, const char *stage, unsigned int permille)
{
	if (b->progress)
		b->progress(b->arg, stage, permille);
}

/* --- listening ------------------------------------------------------------------------------------ */

struct listener {
	const struct image_build *b;
	unsigned int next; /* stage that has not begun */
	char line[512];	   /* what has come of the current line; longer ones are cut */
	size_t n;
	char complaint[200]; /* what failed first */
};

static void keep(struct listener *l, const char *text)
{
	if (!l->complaint[0])
		snprintf(l->complaint, sizeof(l->complaint), "%.*s", (int)sizeof(l->complaint) - 1,
			 text);
}

static void hear(struct listener *l, const char *line)
{
	for (unsigned int k = l->next; k < ARRAY_SIZE(stages); k++) {
		if (strncmp(line, stages[k].said, strlen(stages[k].said)) == 0) {
			progress(l->b, stages[k].stage, stages[k].permille);
			l->next = k + 1;
			return;
		}
	}
	if (strncmp(line, "atoll: error ", 13) == 0)
		keep(l, line + 13);
	else if (strncmp(line, "E: ", 3) == 0 || strstr(line, ": command not found"))
		keep(l, line + 3);
}

static void listen_to(struct listener *l, int fd)
{
	char buf[1024];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR)) {
		for (ssize_t k = 0; k < n; k++) {
			if (buf[k] != '\n') {
				if (l->n + 1 < sizeof(l->line))
					l->line[l->n++] = buf[k];
				continue;
			}
			l->line[l->n] = 0;
			l->n = 0;
			hear(l, l->line);
		}
	}
}

/* --- running -------------------------------------------------------------------------------------- */

static int check(const struct image_build *b, struct err *err)
{
	if (b->size_bytes % MIB || b->size_bytes < UINT64_C(1) << 30)
		return err_set(err, -EINVAL,
			       "a Debian disk has a multiple of 1 MiB, and 1 GiB at least");
	for (size_t k = 0; k < b->nr_packages; k++) {
		const char *p = b->packages[k];

		/* What dpkg takes as a name; nothing here may become an option or a second word. */
		if (!*p || *p == '-' ||
		    strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != strlen(p))
			return err_set(err, -EINVAL, "'%.60s' is no name of a package", p);
	}
	return 0;
}

static char *vset(const char *fmt, ...) _printf_(1, 2);
static char *vset(const char *fmt, ...)
{
	struct strbuf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&b, fmt, ap);
	va_end(ap);
	return strbuf_take(&b);
}

enum { NR_ENV = 9 };

/* Everything that the image's identifiers are made of. */
static void make_env(const struct image_build *b, char *env[NR_ENV + 1])
{
	struct strbuf all = { 0 };
	unsigned int n = 0;

	strbuf_adds(&all, packages);
	for (size_t k = 0; k < b->nr_packages; k++)
		strbuf_addf(&all, ",%s", b->packages[k]);
	env[n++] = vset("IMAGE=/proc/self/fd/%d", IMAGE_FD);
	env[n++] = vset("SELF=/proc/self/fd/%d", SCRIPT_FD);
	env[n++] = vset("SIZE_MIB=%" PRIu64, b->size_bytes / MIB);
	env[n++] = vset("SOURCE_DATE_EPOCH=%" PRIu64, b->epoch_s);
	env[n++] = vset("PACKAGES=%s", strbuf_cstr(&all));
	env[n++] = vset("SEED=%" PRIu64 "-%" PRIu64, b->epoch_s, b->size_bytes);
	env[n++] = vset("SUITE=%s", b->release ? b->release : "");
	env[n++] = vset("MIRROR=%s", b->mirror ? b->mirror : "");
	env[n++] = vset("DEBIAN_FRONTEND=noninteractive");
	env[n] = NULL;
	strbuf_done(&all);
}

static int script_open(int *ret_fd, struct err *err)
{
	int fd = memfd_create("build.sh", MFD_CLOEXEC), r;

	if (fd < 0)
		return err_set_errno(err, "memory for a script");
	r = fd_write_full(fd, build_script, sizeof(build_script));
	if (r < 0) {
		close(fd);
		return err_set(err, r, "script");
	}
	*ret_fd = fd;
	return 0;
}

static int run_script(const struct image_build *b, int image_fd, struct err *err)
{
	static const char *const argv[] = { "sh", "/proc/self/fd/4", NULL };
	_cleanup_(fd_closep) int script = -EBADF, from = -EBADF, to = -EBADF;
	_cleanup_(child_done) struct child child = CHILD_INIT;
	struct listener l = { .b = b };
	char *env[NR_ENV + 1];
	int r, pipes[2], status, keep_fds[2];

	r = script_open(&script, err);
	if (r < 0)
		return r;
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return err_set_errno(err, "pipe");
	from = pipes[0];
	to = pipes[1];
	keep_fds[0] = image_fd;
	keep_fds[1] = script;
	make_env(b, env);
	r = child_start(&(struct child_opts){ .argv = argv,
					      .env = (const char *const *)env,
					      .in = -1,
					      .out = to,
					      .err = to,
					      .keep = keep_fds,
					      .nr_keep = 2,
					      .flags = CHILD_DIES_WITH_US },
			&child, err);
	for (unsigned int k = 0; k < NR_ENV; k++)
		free(env[k]);
	if (r < 0)
		return r;
	fd_closep(&to);
	listen_to(&l, from);
	r = child_wait(&child, &status);
	if (r < 0)
		return err_set(err, r, "building an image");
	if (status == 127)
		return err_set(err, -ENOENT, "building an image needs mmdebstrap: install it");
	if (status)
		return err_set(err, -EIO, "building an image: %s",
			       l.complaint[0] ? l.complaint : "a program failed without a word");
	return 0;
}

/* --- the file ------------------------------------------------------------------------------------- */

/* "dir/.name.build" for "dir/name". */
static char *part_name(const char *path)
{
	const char *base = strrchr(path, '/');

	base = base ? base + 1 : path;
	return vset("%.*s.%s.build", (int)(base - path), path, base);
}

static int part_open(const char *part, int *ret_fd, struct err *err)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	int r = fd_open(part, O_RDWR | O_CREAT | O_NOFOLLOW, &fd, err);

	if (r < 0)
		return r;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(err, -EBUSY, "'%s' is being built by another process", part);
	/* In a user namespace the image is written by somebody who is not its owner. */
	if (fchmod(fd, 0666) < 0 || ftruncate(fd, 0) < 0)
		return err_set_errno(err, "'%s'", part);
	*ret_fd = fd_take(&fd);
	return 0;
}

static int convert(const struct image_build *b, const char *raw, const char *part, struct err *err)
{
	_cleanup_(disk_closep) struct disk *src = NULL, *dst = NULL;
	struct disk_create_opts create = { .size = b->size_bytes };
	struct disk_copy_opts copy = { .nr_threads = 2, .dst_is_zero = true };
	int r = disk_open(raw, &(struct disk_open_opts){ .format = "raw" }, &src, err);

	if (r == 0)
		r = disk_create(part, b->format, &create, err);
	if (r == 0)
		r = disk_open(part,
			      &(struct disk_open_opts){ .format = b->format, .flags = DISK_RDWR },
			      &dst, err);
	if (r == 0)
		r = disk_copy(src, dst, &copy, err);
	if (r < 0)
		return err_wrap(err, r, "image of format %s", b->format);
	return disk_close(take_ptr(&dst), err);
}

/* Makes the new file the image, in one step, after it has reached the medium. */
static int publish(const char *part, const char *path, struct err *err)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	mode_t mask = umask(0);
	int r;

	umask(mask); /* there is no call that only asks */
	r = fd_open(part, O_RDWR, &fd, err);
	if (r < 0)
		return r;
	if (fchmod(fd, 0666 & ~mask) < 0 || fsync(fd) < 0 || rename(part, path) < 0)
		return err_set_errno(err, "'%s'", path);
	return 0;
}

static int build(const struct image_build *b, const char *raw, int raw_fd, struct err *err)
{
	char *part;
	int r = run_script(b, raw_fd, err);

	if (r < 0)
		return r;
	progress(b, "writing the image", COPYING);
	if (strcmp(b->format, "raw") == 0)
		return publish(raw, b->path, err);
	part = vset("%s.%s", raw, b->format);
	r = convert(b, raw, part, err);
	if (r == 0)
		r = publish(part, b->path, err);
	if (r < 0)
		(void)unlink(part);
	free(part);
	return r;
}

int image_build(const struct image_build *b, struct err *err)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	char *raw;
	int r = check(b, err);

	if (r < 0)
		return r;
	raw = part_name(b->path);
	r = part_open(raw, &fd, err);
	if (r == 0) {
		r = build(b, raw, fd, err);
		(void)unlink(raw); /* gone already when it became the image */
	}
	free(raw);
	if (r == 0)
		progress(b, "done", DONE);
	return r;
}
