// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random operations of a file system, by a seed, with a log of what each gave: two file systems that do the same give the
 * same log. A plain program without any of the project's code, built statically, for a guest and for its host.
 *
 * usage: fsops DIR SEED COUNT >LOG
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define BUF (64 << 10)
#define FDS 8

static uint64_t seed;
static char buf[BUF];
static struct {
	int fd, flags;
} open_file[FDS];

static uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 32) % n;
}

static uint32_t hash(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint32_t h = 2166136261u;

	while (n--)
		h = (h ^ *b++) * 16777619u;
	return h;
}

/* A path of up to three components, few enough that they meet. */
static const char *path(void)
{
	static char text[4][64];
	static unsigned int which;
	char *t = text[which++ & 3];
	unsigned int depth = 1 + rnd(3);
	size_t n = 0;

	for (unsigned int k = 0; k < depth; k++)
		n += (size_t)sprintf(t + n, "%s%c%s", k ? "/" : "", 'a' + (int)rnd(6),
				     rnd(20) ? "" : "-a-longer-name");
	return t;
}

static void fill(size_t n)
{
	uint32_t x = rnd(UINT32_MAX);

	for (size_t k = 0; k < n; k++)
		buf[k] = (char)(x = x * 1664525 + 1013904223, x >> 24);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list(const char *p)
{
	char *name[256];
	unsigned int n = 0;
	struct dirent *e;
	DIR *d = opendir(p);

	if (!d)
		return -1;
	while ((e = readdir(d)) && n < 256)
		name[n++] = strdup(e->d_name);
	closedir(d);
	qsort(name, n, sizeof(*name), by_name);
	for (unsigned int k = 0; k < n; k++) {
		printf(" %s", name[k]);
		free(name[k]);
	}
	return (int)n;
}

static int show(const char *p)
{
	struct stat st;

	if (lstat(p, &st) < 0)
		return -1;
	printf(" %o %lu %u %u", st.st_mode, S_ISDIR(st.st_mode) ? 0 : (unsigned long)st.st_nlink,
	       st.st_uid, st.st_gid);
	if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
		printf(" %lld", (long long)st.st_size);
	return 0;
}

static int content(int fd)
{
	uint32_t h = 0;
	off_t at = 0;
	ssize_t n;

	while ((n = pread(fd, buf, BUF, at)) > 0) {
		h = h * 31 + hash(buf, (size_t)n);
		at += n;
	}
	printf(" %lld:%08x", (long long)at, h);
	return n < 0 ? -1 : 0;
}

static int read_file(const char *p)
{
	int fd = open(p, O_RDONLY | O_NONBLOCK | O_NOFOLLOW), r;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	r = S_ISREG(st.st_mode) ? content(fd) : 0;
	close(fd);
	return r;
}

static int map_file(const char *p)
{
	int fd = open(p, O_RDWR | O_NONBLOCK | O_NOFOLLOW);
	struct stat st;
	char *m;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !st.st_size) {
		close(fd);
		return 0;
	}
	m = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (m == MAP_FAILED) {
		close(fd);
		return -1;
	}
	printf(" %08x", hash(m, (size_t)st.st_size));
	m[rnd((uint32_t)st.st_size)] ^= 0x55;
	msync(m, (size_t)st.st_size, MS_SYNC);
	munmap(m, (size_t)st.st_size);
	close(fd);
	return 0;
}

static int times(const char *p)
{
	struct timespec t[2] = { { 1000000 + rnd(1000000), rnd(1000000000) },
				 { 2000000 + rnd(1000000), rnd(1000000000) } };
	struct stat st;

	if (utimensat(AT_FDCWD, p, t, AT_SYMLINK_NOFOLLOW) < 0 || lstat(p, &st) < 0)
		return -1;
	printf(" %lld.%09ld", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	return 0;
}

static int attributes(const char *p)
{
	char name[32], value[300];
	ssize_t n;
	size_t len = rnd(sizeof(value));

	sprintf(name, "%s.%c", rnd(8) ? "user" : "trusted.no", 'a' + (int)rnd(3));
	if (strncmp(name, "user", 4) != 0)
		return 0;
	fill(len);
	if (rnd(3) && lsetxattr(p, name, buf, len, rnd(3) ? 0 : XATTR_CREATE) < 0)
		return -1;
	if (!rnd(4) && lremovexattr(p, name) < 0)
		return -1;
	n = lgetxattr(p, name, value, sizeof(value));
	printf(" %zd:%08x", n, n > 0 ? hash(value, (size_t)n) : 0);
	return n < 0 ? -1 : 0;
}

/* A file that is used after its last name has gone. */
static int orphan(const char *p)
{
	int fd = open(p, O_RDWR | O_CREAT | O_EXCL, 0640), r = -1;

	if (fd < 0)
		return -1;
	fill(5000);
	if (write(fd, buf, 5000) == 5000 && unlink(p) == 0 && ftruncate(fd, 3000) == 0 &&
	    fchmod(fd, 0600) == 0)
		r = content(fd);
	close(fd);
	return r;
}

static int lock(const char *p)
{
	struct flock l = { .l_type = F_WRLCK, .l_len = 100 };
	int fd = open(p, O_RDWR | O_NONBLOCK | O_NOFOLLOW), r;

	if (fd < 0)
		return -1;
	r = fcntl(fd, F_SETLK, &l) < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 ? -1 : 0;
	close(fd);
	return r;
}

static int open_one(unsigned int k)
{
	static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_APPEND };
	int flags = modes[rnd(4)] | (rnd(2) ? O_CREAT : 0) | (rnd(6) ? 0 : O_TRUNC) |
		    (rnd(6) ? 0 : O_EXCL);

	if (!(flags & O_CREAT))
		flags &= ~O_EXCL;
	if (open_file[k].fd > 0)
		close(open_file[k].fd);
	open_file[k].flags = flags;
	open_file[k].fd = open(path(), flags | O_NONBLOCK | O_NOFOLLOW, 0600 + rnd(0200));
	return open_file[k].fd < 0 ? -1 : 0;
}

static int use(unsigned int k)
{
	int fd = open_file[k].fd;
	off_t at = rnd(3 * BUF);
	size_t n = rnd(4) ? rnd(5000) : rnd(BUF);

	if (fd <= 0)
		return 0;
	switch (rnd(9)) {
	case 0:
	case 1:
		fill(n);
		return (int)pwrite(fd, buf, n, at);
	case 2:
		n = (size_t)pread(fd, buf, n, at);
		if ((ssize_t)n > 0)
			printf(" %08x", hash(buf, n));
		return (int)n;
	case 3:
		return ftruncate(fd, at);
	case 4:
		return rnd(2) ? fsync(fd) : fdatasync(fd);
	case 5:
		return fallocate(fd, rnd(2) ? FALLOC_FL_KEEP_SIZE : 0, at, 1 + (off_t)n);
	case 6:
		return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 1 + (off_t)n);
	case 7:
		fill(n);
		return (int)write(fd, buf, n);
	default:
		return content(fd);
	}
}

static int one(unsigned int what, const char **name)
{
	const char *a = path(), *b = path();

#define DO(text, call)                                                                             \
	do {                                                                                       \
		*name = (text);                                                                    \
		return (call);                                                                     \
	} while (0)

	printf(" %s %s", a, b);
	switch (what) {
	case 0 ... 3:
		DO("mkdir", mkdir(a, 0700 + rnd(0100)));
	case 4:
		DO("rmdir", rmdir(a));
	case 5 ... 6:
		DO("unlink", unlink(a));
	case 7 ... 8:
		DO("rename", rename(a, b));
	case 9:
		DO("exchange", renameat2(AT_FDCWD, a, AT_FDCWD, b,
					 rnd(2) ? RENAME_EXCHANGE : RENAME_NOREPLACE));
	case 10 ... 11:
		DO("link", link(a, b));
	case 12:
		DO("symlink", symlink(rnd(2) ? b : "/nowhere/at/all", a));
	case 13: {
		ssize_t n = readlink(a, buf, BUF);

		DO("readlink", n < 0 ? -1 : (printf(" %.*s", (int)n, buf), 0));
	}
	case 14:
		DO("chmod", fchmodat(AT_FDCWD, a, rnd(010000), 0));
	case 15:
		DO("chown", lchown(a, rnd(3), rnd(3)));
	case 16:
		DO("times", times(a));
	case 17 ... 18:
		DO("attributes", attributes(a));
	case 19 ... 21:
		DO("list", list(rnd(4) ? a : "."));
	case 22 ... 25:
		DO("stat", show(a));
	case 26 ... 28:
		DO("read", read_file(a));
	case 29 ... 30:
		DO("map", map_file(a));
	case 31:
		DO("orphan", orphan(a));
	case 32:
		DO("lock", lock(a));
	case 33:
		DO("truncate", truncate(a, rnd(BUF)));
	case 34:
		DO("fifo", rnd(4) ? 0 : mkfifo(a, 0644));
	case 35:
		DO("access", faccessat(AT_FDCWD, a, (int)rnd(8), AT_SYMLINK_NOFOLLOW));
	case 36 ... 41:
		DO("open", open_one(rnd(FDS)));
	default:
		DO("use", use(rnd(FDS)));
	}
}

int main(int argc, char **argv)
{
	unsigned int count;

	if (argc != 4 || chdir(argv[1]) < 0) {
		perror("fsops DIR SEED COUNT");
		return 1;
	}
	seed = strtoull(argv[2], NULL, 0) * 0x9e3779b97f4a7c15u + 1;
	count = (unsigned int)strtoul(argv[3], NULL, 0);
	umask(022);
	for (unsigned int k = 0; k < count; k++) {
		const char *name = "?";
		int r;

		printf("%u", k);
		errno = 0;
		r = one(rnd(56), &name);
		printf(" %s = %d %s\n", name, r, r < 0 ? strerrorname_np(errno) : "");
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
