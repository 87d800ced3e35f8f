/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A shared folder, by messages that mostly make sense: each begins with opcode, node, and a byte that says how its arguments
 * are made. The folder has links that lead out of it, to a file whose content must never appear in an answer, and must never
 * change.
 */
#include <fcntl.h>
#include <ftw.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz_dev.h"
#include "share/share.h"

static const char secret[] = "the-secret-of-the-host";
static char top[] = "/dev/shm/fuzz-share-XXXXXX";
static uint8_t in[SHARE_MESSAGE_MAX], out[SHARE_MESSAGE_MAX];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	/* What the input left may have no rights; the secret stays. */
	return ftw->level < 2 ? 0 : remove(path);
}

static void clean(void)
{
	(void)chdir("/dev/shm");
	fuzz_must(nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

static int remove_all(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void at_end(void)
{
	nftw(top, remove_all, 16, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	fuzz_must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void prepare(void)
{
	char path[64];

	fuzz_must(mkdtemp(top) != NULL);
	atexit(at_end);
	snprintf(path, sizeof(path), "%s/secret", top);
	put(path, secret);
	snprintf(path, sizeof(path), "%s/dir", top);
	fuzz_must(mkdir(path, 0700) == 0);
}

static void furnish(void)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/dir", top);
	fuzz_must(chdir(path) == 0);
	(void)chmod(path, 0700);
	fuzz_must(symlink("../secret", "u") == 0 && symlink("..", "v") == 0);
	fuzz_must(mkdir("d", 0755) == 0 && mkfifo("p", 0644) == 0);
	put("d/f", "file");
	put("g", "another");
}

static void check_secret(void)
{
	char path[64], text[64];
	int fd;

	snprintf(path, sizeof(path), "%s/secret", top);
	fd = open(path, O_RDONLY);
	fuzz_must(fd >= 0 && read(fd, text, sizeof(text)) == (ssize_t)strlen(secret));
	fuzz_must(!memcmp(text, secret, strlen(secret)));
	close(fd);
}

static size_t name(struct fuzz_input *f, uint8_t *to)
{
	static const char *const names[] = { "u",      "v",	 "d",	       "p",
					     "f",      "g",	 "h",	       "..",
					     ".",      "a/b",	 "../secret",  "",
					     "user.a", "user.b", "security.x", "a-new-one" };
	const char *n = names[fuzz_take(f, 1) & 15];

	memcpy(to, n, strlen(n) + 1);
	return strlen(n) + 1;
}

/* Arguments: words of the input, small or any, then names. */
static size_t arguments(struct fuzz_input *f, uint8_t *to)
{
	unsigned int how = (unsigned int)fuzz_take(f, 1), words = how & 15, names = how >> 4 & 3;
	size_t n = 0;

	for (unsigned int k = 0; k < words; k++, n += 4) {
		uint32_t v = (uint32_t)fuzz_take(f, 1);

		if (v == 0xff)
			v = (uint32_t)fuzz_take(f, 4);
		memcpy(to + n, &v, 4);
	}
	for (unsigned int k = 0; k < names; k++)
		n += name(f, to + n);
	if (how & 0x40)
		for (unsigned int k = (unsigned int)fuzz_take(f, 1); k; k--)
			to[n++] = (uint8_t)fuzz_take(f, 1);
	return n;
}

/* What the right arguments of an operation are is found more easily with its size. */
static size_t sized(uint32_t opcode, struct fuzz_input *f, uint8_t *to)
{
	static const struct {
		uint8_t opcode, words, names;
	} kinds[] = {
		{ FUSE_LOOKUP, 0, 1 },	     { FUSE_SETATTR, 22, 0 },
		{ FUSE_SYMLINK, 0, 2 },	     { FUSE_MKNOD, 4, 1 },
		{ FUSE_MKDIR, 2, 1 },	     { FUSE_UNLINK, 0, 1 },
		{ FUSE_RMDIR, 0, 1 },	     { FUSE_RENAME, 2, 2 },
		{ FUSE_LINK, 2, 1 },	     { FUSE_OPEN, 2, 0 },
		{ FUSE_READ, 10, 0 },	     { FUSE_WRITE, 10, 1 },
		{ FUSE_RELEASE, 6, 0 },	     { FUSE_SETXATTR, 2, 2 },
		{ FUSE_GETXATTR, 2, 1 },     { FUSE_LISTXATTR, 2, 0 },
		{ FUSE_REMOVEXATTR, 0, 1 },  { FUSE_CREATE, 4, 1 },
		{ FUSE_FALLOCATE, 8, 0 },    { FUSE_READDIR, 10, 0 },
		{ FUSE_READDIRPLUS, 10, 0 }, { FUSE_RENAME2, 4, 2 },
		{ FUSE_LSEEK, 6, 0 },	     { FUSE_COPY_FILE_RANGE, 14, 0 },
		{ FUSE_FORGET, 2, 0 },	     { FUSE_BATCH_FORGET, 10, 0 },
	};
	size_t n = 0;

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		if (kinds[k].opcode != opcode)
			continue;
		for (unsigned int w = 0; w < kinds[k].words; w++, n += 4) {
			uint32_t v = (uint32_t)fuzz_take(f, 1);

			/* Files stay small, so that nothing takes long. */
			v = v == 0xff ? UINT32_MAX : v & 0x80 ? (v & 0x7f) << 7 : v;
			memcpy(to + n, &v, 4);
		}
		for (unsigned int w = 0; w < kinds[k].names; w++)
			n += name(f, to + n);
	}
	return n;
}

static void message(struct share *s, struct fuzz_input *f)
{
	struct fuse_in_header h = { .unique = 5 };
	uint32_t choice = (uint32_t)fuzz_take(f, 1);
	struct fuse_out_header a;
	size_t n;

	h.opcode = choice & 0x7f;
	h.nodeid = fuzz_take(f, 1);
	if (h.nodeid > 0xf0)
		h.nodeid = fuzz_take(f, 8);
	h.uid = h.gid = geteuid();
	h.len = (uint32_t)(sizeof(h) + (choice & 0x80 ? arguments(f, in + sizeof(h))
						      : sized(h.opcode, f, in + sizeof(h))));
	/* Sizes of files are bytes that the host must find. */
	if (h.opcode == FUSE_FALLOCATE || h.opcode == FUSE_SYNCFS)
		return;
	/* What is made can be removed again by who is not root. */
	if (h.opcode == FUSE_MKDIR) {
		in[sizeof(h) + offsetof(struct fuse_mkdir_in, mode)] |= 0xc0;
		in[sizeof(h) + offsetof(struct fuse_mkdir_in, mode) + 1] |= 1;
	}
	if (h.opcode == FUSE_SETATTR) {
		in[sizeof(h) + offsetof(struct fuse_setattr_in, mode)] |= 0xc0;
		in[sizeof(h) + offsetof(struct fuse_setattr_in, mode) + 1] |= 1;
	}
	memcpy(in, &h, sizeof(h));
	n = share_serve(s, in, h.len, out);
	fuzz_must((n != 0) == share_has_answer(h.opcode));
	if (!n)
		return;
	memcpy(&a, out, sizeof(a));
	fuzz_must(a.len == n && n <= SHARE_MESSAGE_MAX && a.unique == 5 && a.error <= 0 &&
		  a.error > -512 && (!a.error || n == sizeof(a)));
	fuzz_must(!memmem(out, n, secret, strlen(secret)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static bool is_ready;
	struct share_config cfg = { .max_fds = 16 };
	struct fuse_init_in init = { .major = 7, .minor = 36, .flags = ~0u };
	struct fuse_in_header h = { .len = sizeof(h) + sizeof(init), .opcode = FUSE_INIT };
	struct fuzz_input f = { data, n };
	struct share *s = NULL;
	uint8_t choice;

	if (!is_ready)
		prepare();
	is_ready = true;
	clean();
	furnish();
	choice = (uint8_t)fuzz_take(&f, 1);
	cfg.is_readonly = (choice & 7) == 7;
	cfg.has_owner = choice & 8;
	cfg.uid = 1000;
	cfg.max_fds = choice & 16 ? 16 : 64;
	cfg.root_fd = open(".", O_PATH | O_DIRECTORY);
	fuzz_must(cfg.root_fd >= 0 && share_new(&cfg, &s, NULL) == 0);
	memcpy(in, &h, sizeof(h));
	memcpy(in + sizeof(h), &init, sizeof(init));
	fuzz_must(share_serve(s, in, h.len, out) ==
		  sizeof(struct fuse_out_header) + sizeof(struct fuse_init_out));
	for (unsigned int k = 0; f.n && k < 200; k++)
		message(s, &f);
	share_free(s);
	close(cfg.root_fd);
	check_secret();
	return 0;
}
