/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A shared folder by FUSE messages: what leads out of it, what is not a file, numbers that are not valid, and few
 * descriptors. That it does what a file system does is tests/guest/virtio.py's matter. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "share_client.h"

struct fixture {
	char top[32], dir[48];
	struct sc c;
};

static int start(struct fixture *f, struct share_config cfg)
{
	int r;

	share_free(f->c.s);
	f->c.s = NULL;
	cfg.root_fd = open(f->dir, O_PATH | O_DIRECTORY);
	if (!cfg.max_fds)
		cfg.max_fds = 200;
	r = share_new(&cfg, &f->c.s, NULL);
	close(cfg.root_fd);
	return r < 0 ? r : sc_init(&f->c);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	if (!f)
		return -1;
	snprintf(f->top, sizeof(f->top), "/tmp/test-share-XXXXXX");
	if (!mkdtemp(f->top))
		return -1;
	snprintf(f->dir, sizeof(f->dir), "%s/dir", f->top);
	f->c.uid = geteuid();
	f->c.gid = getegid();
	return mkdir(f->dir, 0700) < 0 ? -1 : start(f, (struct share_config){ 0 });
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	share_free(f->c.s);
	nftw(f->top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static const char *in_dir(struct fixture *f, const char *name)
{
	static char path[4][512];
	static unsigned int which;
	char *p = path[which++ & 3];

	snprintf(p, sizeof(path[0]), "%s/%s", f->dir, name);
	return p;
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* Reads up to 100 bytes of an open file. */
static int reads(struct sc *c, int64_t fh, const char *text)
{
	struct fuse_read_in in = { .fh = (uint64_t)fh, .size = 100 };
	int r = SC(c, FUSE_READ, FUSE_ROOT_ID, SC_VALUE(in));

	if (r)
		return r;
	assert_int_equal(c->out_n, SHARE_ANSWER_HEADER + strlen(text));
	assert_memory_equal(sc_answer(c, 0), text, strlen(text));
	return 0;
}

static void release(struct sc *c, int64_t fh)
{
	struct fuse_release_in in = { .fh = (uint64_t)fh };

	assert_int_equal(SC(c, FUSE_RELEASE, FUSE_ROOT_ID, SC_VALUE(in)), 0);
}

static void forget(struct sc *c, uint64_t node, uint64_t n)
{
	struct fuse_forget_in in = { .nlookup = n };

	assert_int_equal(SC(c, FUSE_FORGET, node, SC_VALUE(in)), 1);
}

static void test_names(void **state)
{
	static const char *const bad[] = { "", ".", "..", "/", "a/b", "../secret", "/etc/passwd" };
	struct fixture *f = *state;
	struct sc *c = &f->c;
	struct fuse_mkdir_in mk = { .mode = 0755 };
	struct fuse_rename_in rn = { .newdir = FUSE_ROOT_ID };
	struct fuse_link_in ln;
	char path[64], longer[300];
	uint64_t file;

	snprintf(path, sizeof(path), "%s/secret", f->top);
	put(path, "secret");
	put(in_dir(f, "file"), "file");
	file = sc_look(c, FUSE_ROOT_ID, "file");
	assert_true(file > FUSE_ROOT_ID);
	ln.oldnodeid = file;
	for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
		assert_int_equal(SC(c, FUSE_LOOKUP, FUSE_ROOT_ID, SC_TEXT(bad[k])), -EINVAL);
		assert_int_equal(SC(c, FUSE_UNLINK, FUSE_ROOT_ID, SC_TEXT(bad[k])), -EINVAL);
		assert_int_equal(SC(c, FUSE_RMDIR, FUSE_ROOT_ID, SC_TEXT(bad[k])), -EINVAL);
		assert_int_equal(SC(c, FUSE_MKDIR, FUSE_ROOT_ID, SC_VALUE(mk), SC_TEXT(bad[k])),
				 -EINVAL);
		assert_int_equal(SC(c, FUSE_SYMLINK, FUSE_ROOT_ID, SC_TEXT(bad[k]), SC_TEXT("x")),
				 -EINVAL);
		assert_int_equal(SC(c, FUSE_LINK, FUSE_ROOT_ID, SC_VALUE(ln), SC_TEXT(bad[k])),
				 -EINVAL);
		assert_int_equal(SC(c, FUSE_RENAME, FUSE_ROOT_ID, SC_VALUE(rn), SC_TEXT("file"),
				    SC_TEXT(bad[k])),
				 -EINVAL);
		assert_int_equal(SC(c, FUSE_RENAME, FUSE_ROOT_ID, SC_VALUE(rn), SC_TEXT(bad[k]),
				    SC_TEXT("y")),
				 -EINVAL);
	}
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	assert_int_equal(SC(c, FUSE_LOOKUP, FUSE_ROOT_ID, SC_TEXT(longer)), -ENAMETOOLONG);
	/* A name without an end. */
	assert_int_equal(SC(c, FUSE_LOOKUP, FUSE_ROOT_ID, { "file", 4 }), -EINVAL);
	assert_int_equal(SC(c, FUSE_LOOKUP, FUSE_ROOT_ID, { "", 0 }), -EINVAL);
	assert_int_equal(SC(c, FUSE_RENAME, FUSE_ROOT_ID, SC_VALUE(rn), SC_TEXT("file"),
			    { "a", 1 }),
			 -EINVAL);
}

/* Links are told, and never followed; also not when one stands where a file or a folder was. */
static void test_links(void **state)
{
	struct fixture *f = *state;
	struct sc *c = &f->c;
	uint64_t up, folder, inside;
	char path[64];

	snprintf(path, sizeof(path), "%s/secret", f->top);
	put(path, "secret");
	assert_int_equal(symlink("../secret", in_dir(f, "up")), 0);
	up = sc_look(c, FUSE_ROOT_ID, "up");
	assert_true(up != 0);
	assert_int_equal(SC(c, FUSE_READLINK, up, { "", 0 }), 0);
	assert_int_equal(c->out_n, SHARE_ANSWER_HEADER + 9);
	assert_memory_equal(sc_answer(c, 0), "../secret", 9);
	assert_int_equal(sc_open(c, up, O_RDONLY, false), -ELOOP);
	assert_int_equal(sc_open(c, up, O_RDONLY, true), -ENOTDIR);
	assert_int_equal(SC(c, FUSE_LOOKUP, up, SC_TEXT("x")), -ENOTDIR);

	assert_int_equal(mkdir(in_dir(f, "folder"), 0755), 0);
	put(in_dir(f, "folder/inside"), "inside");
	folder = sc_look(c, FUSE_ROOT_ID, "folder");
	inside = sc_look(c, folder, "inside");
	assert_int_equal(rename(in_dir(f, "folder"), in_dir(f, "elsewhere")), 0);
	assert_int_equal(symlink(f->top, in_dir(f, "folder")), 0);
	/* The number leads to what it was for. */
	assert_int_equal(SC(c, FUSE_LOOKUP, folder, SC_TEXT("secret")), -ENOENT);
	assert_int_equal(reads(c, sc_open(c, inside, O_RDONLY, false), "inside"), 0);
}

static void test_what_is_no_file(void **state)
{
	static const mode_t devices[] = { S_IFCHR | 0600, S_IFBLK | 0600, S_IFDIR | 0700,
					  S_IFLNK | 0777, 0 };
	struct fixture *f = *state;
	struct sc *c = &f->c;
	uint64_t node;

	for (size_t k = 0; k < ARRAY_SIZE(devices); k++) {
		struct fuse_mknod_in in = { .mode = devices[k], .rdev = 0x103 };

		assert_int_equal(SC(c, FUSE_MKNOD, FUSE_ROOT_ID, SC_VALUE(in), SC_TEXT("dev")),
				 -EPERM);
	}
	assert_int_equal(mkfifo(in_dir(f, "pipe"), 0644), 0);
	node = sc_look(c, FUSE_ROOT_ID, "pipe");
	assert_int_equal(sc_open(c, node, O_RDONLY, false), -ENXIO);
	assert_int_equal(sc_open(c, node, O_RDWR, false), -ENXIO);
	assert_int_equal(sc_open(c, FUSE_ROOT_ID, O_RDONLY, false), -EISDIR);
	{
		struct fuse_create_in in = { .flags = O_RDWR, .mode = 0644 };

		assert_int_equal(SC(c, FUSE_CREATE, FUSE_ROOT_ID, SC_VALUE(in), SC_TEXT("pipe")),
				 -ENXIO);
		in.flags = 3;
		assert_int_equal(SC(c, FUSE_CREATE, FUSE_ROOT_ID, SC_VALUE(in), SC_TEXT("new")),
				 -EINVAL);
	}
}

/* Numbers that nobody gave out, that were forgotten, and that were given to somebody else since. */
static void test_numbers(void **state)
{
	static const uint64_t bad[] = { 0,	 2,	     255,	 256,
					1 << 20, UINT32_MAX, UINT64_MAX, UINT64_C(1) << 32 | 1 };
	struct fixture *f = *state;
	struct sc *c = &f->c;
	struct fuse_getattr_in ga = { 0 };
	struct fuse_write_in wr = { .fh = 3, .size = 1 };
	uint64_t a, b;

	for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
		struct fuse_read_in rd = { .fh = bad[k], .size = 1 };

		assert_int_equal(SC(c, FUSE_GETATTR, bad[k], SC_VALUE(ga)), -ESTALE);
		assert_int_equal(SC(c, FUSE_LOOKUP, bad[k], SC_TEXT("x")), -ESTALE);
		forget(c, bad[k], 1);
		assert_int_equal(SC(c, FUSE_READ, FUSE_ROOT_ID, SC_VALUE(rd)), -EBADF);
		assert_int_equal(SC(c, FUSE_READDIR, FUSE_ROOT_ID, SC_VALUE(rd)), -EBADF);
	}
	assert_int_equal(SC(c, FUSE_WRITE, FUSE_ROOT_ID, SC_VALUE(wr), { "x", 1 }), -EBADF);
	put(in_dir(f, "a"), "a");
	put(in_dir(f, "b"), "b");
	a = sc_look(c, FUSE_ROOT_ID, "a");
	assert_int_equal(sc_look(c, FUSE_ROOT_ID, "a"), a);
	forget(c, a, 1);
	assert_int_equal(SC(c, FUSE_GETATTR, a, SC_VALUE(ga)), 0);
	forget(c, a, UINT64_MAX);
	assert_int_equal(SC(c, FUSE_GETATTR, a, SC_VALUE(ga)), -ESTALE);
	b = sc_look(c, FUSE_ROOT_ID, "b");
	assert_int_equal((uint32_t)b, (uint32_t)a);
	assert_true(b != a);
	assert_int_equal(SC(c, FUSE_GETATTR, a, SC_VALUE(ga)), -ESTALE);
	/* The root is never forgotten, and a new session knows nothing but it. */
	forget(c, FUSE_ROOT_ID, UINT64_MAX);
	assert_int_equal(SC(c, FUSE_GETATTR, FUSE_ROOT_ID, SC_VALUE(ga)), 0);
	assert_int_equal(sc_init(c), 0);
	assert_int_equal(SC(c, FUSE_GETATTR, b, SC_VALUE(ga)), -ESTALE);
	assert_int_equal(SC(c, FUSE_GETATTR, FUSE_ROOT_ID, SC_VALUE(ga)), 0);
	assert_int_equal(SC(c, FUSE_DESTROY, 0, { "", 0 }), 0);
	assert_int_equal(SC(c, FUSE_GETATTR, FUSE_ROOT_ID, SC_VALUE(ga)), -ENOTCONN);
}

static void test_sizes(void **state)
{
	struct fixture *f = *state;
	struct sc *c = &f->c;
	uint64_t node;
	int64_t fh;

	put(in_dir(f, "a"), "text");
	node = sc_look(c, FUSE_ROOT_ID, "a");
	fh = sc_open(c, node, O_RDWR, false);
	assert_true(fh >= 0);
	for (uint32_t n = 0; n < 60; n++) {
		struct fuse_write_in in = { .fh = (uint64_t)fh, .size = n ? n : UINT32_MAX };

		assert_int_equal(SC(c, FUSE_WRITE, node, SC_VALUE(in), { "x", 0 }), -EINVAL);
	}
	{
		struct fuse_read_in in = { .fh = (uint64_t)fh, .size = UINT32_MAX };
		struct fuse_setattr_in sa = { .valid = FATTR_SIZE, .size = UINT64_MAX };

		assert_int_equal(SC(c, FUSE_READ, node, SC_VALUE(in)), -EINVAL);
		in = (struct fuse_read_in){ .fh = (uint64_t)fh, .size = 1, .offset = UINT64_MAX };
		assert_int_equal(SC(c, FUSE_READ, node, SC_VALUE(in)), -EINVAL);
		assert_int_equal(SC(c, FUSE_SETATTR, node, SC_VALUE(sa)), -EFBIG);
	}
	/* Every operation with every length of arguments that is too short for it. */
	for (uint32_t op = 1; op < 60; op++)
		for (size_t n = 0; n < 8; n++)
			(void)sc_send(c, op, node, &(struct sc_part){ "\0\0\0\0\0\0\0", n }, 1);
	assert_int_equal(sc_init(c), 0);
	assert_int_equal(SC(c, 4711, FUSE_ROOT_ID, { "", 0 }), -ENOSYS);
}

static void test_readonly(void **state)
{
	struct fixture *f = *state;
	struct sc *c = &f->c;
	struct fuse_mkdir_in mk = { .mode = 0755 };
	struct fuse_setattr_in sa = { .valid = FATTR_MODE, .mode = 0777 };
	uint64_t node;

	put(in_dir(f, "a"), "text");
	assert_int_equal(start(f, (struct share_config){ .is_readonly = true }), 0);
	node = sc_look(c, FUSE_ROOT_ID, "a");
	assert_int_equal(sc_open(c, node, O_RDWR, false), -EROFS);
	assert_int_equal(sc_open(c, node, O_WRONLY, false), -EROFS);
	assert_int_equal(reads(c, sc_open(c, node, O_RDONLY, false), "text"), 0);
	assert_int_equal(SC(c, FUSE_MKDIR, FUSE_ROOT_ID, SC_VALUE(mk), SC_TEXT("new")), -EROFS);
	assert_int_equal(SC(c, FUSE_UNLINK, FUSE_ROOT_ID, SC_TEXT("a")), -EROFS);
	assert_int_equal(SC(c, FUSE_SETATTR, node, SC_VALUE(sa)), -EROFS);
}

static void test_attributes_of_others(void **state)
{
	struct fixture *f = *state;
	struct sc *c = &f->c;
	struct fuse_setxattr_in in = { .size = 1 };
	const struct sc_part head = { &in, FUSE_COMPAT_SETXATTR_IN_SIZE };
	uint64_t node;

	put(in_dir(f, "a"), "text");
	node = sc_look(c, FUSE_ROOT_ID, "a");
	assert_int_equal(SC(c, FUSE_SETXATTR, node, head, SC_TEXT("security.capability"),
			    { "x", 1 }),
			 -EOPNOTSUPP);
	assert_int_equal(SC(c, FUSE_SETXATTR, node, head, SC_TEXT("trusted.x"), { "x", 1 }),
			 -EOPNOTSUPP);
	assert_int_equal(SC(c, FUSE_SETXATTR, node, head, SC_TEXT("user.x"), { "x", 0 }), -EINVAL);
}

/* Files of ours are the guest's user's. */
static void test_owner(void **state)
{
	struct fixture *f = *state;
	struct sc *c = &f->c;
	struct fuse_mkdir_in mk = { .mode = 0755 };
	struct fuse_setattr_in sa = { .valid = FATTR_UID | FATTR_GID, .uid = 4321, .gid = 1234 };
	struct fuse_entry_out e;
	struct stat st;

	assert_int_equal(start(f,
			       (struct share_config){ .has_owner = true, .uid = 4321, .gid = 1234 }),
			 0);
	c->uid = 99;
	assert_int_equal(SC(c, FUSE_MKDIR, FUSE_ROOT_ID, SC_VALUE(mk), SC_TEXT("new")), 0);
	memcpy(&e, sc_answer(c, 0), sizeof(e));
	assert_int_equal(e.attr.uid, 4321);
	assert_int_equal(e.attr.gid, 1234);
	assert_int_equal(stat(in_dir(f, "new"), &st), 0);
	assert_int_equal(st.st_uid, geteuid());
	assert_int_equal(SC(c, FUSE_SETATTR, e.nodeid, SC_VALUE(sa)), 0);
	assert_int_equal(stat(in_dir(f, "new"), &st), 0);
	assert_int_equal(st.st_uid, geteuid());
}

/* The host's /proc would be the server's own: its memory, its descriptors. */
static void test_proc(void **state)
{
	struct fixture *f = *state;

	snprintf(f->dir, sizeof(f->dir), "/proc");
	assert_int_equal(start(f, (struct share_config){ 0 }), -EACCES);
	snprintf(f->dir, sizeof(f->dir), "/");
	assert_int_equal(start(f, (struct share_config){ .is_readonly = true }), 0);
	assert_int_equal(SC(&f->c, FUSE_LOOKUP, FUSE_ROOT_ID, SC_TEXT("proc")), -EACCES);
	assert_true(sc_look(&f->c, FUSE_ROOT_ID, "tmp") != 0);
}

enum { MANY = 300 };

/* More files than descriptors: those that are closed are found again, or not when they are somebody else. */
static void test_few_descriptors(void **state)
{
	struct fixture *f = *state;
	struct sc *c = &f->c;
	struct fuse_getattr_in ga = { 0 };
	struct fuse_rename_in rn = { .newdir = FUSE_ROOT_ID };
	uint64_t folder, node[MANY];
	char name[64];
	int64_t fh;

	assert_int_equal(start(f, (struct share_config){ .max_fds = 32 }), 0);
	assert_int_equal(mkdir(in_dir(f, "folder"), 0755), 0);
	for (unsigned int k = 0; k < MANY; k++) {
		snprintf(name, sizeof(name), "folder/%u", k);
		put(in_dir(f, name), name);
	}
	folder = sc_look(c, FUSE_ROOT_ID, "folder");
	for (unsigned int k = 0; k < MANY; k++) {
		snprintf(name, sizeof(name), "%u", k);
		node[k] = sc_look(c, folder, name);
		assert_true(node[k] != 0);
	}
	for (unsigned int k = 0; k < MANY; k++) {
		snprintf(name, sizeof(name), "folder/%u", k);
		fh = sc_open(c, node[k], O_RDONLY, false);
		assert_true(fh >= 0);
		assert_int_equal(reads(c, fh, name), 0);
		release(c, fh);
	}
	/* Moved by the guest: found. Moved by the host: not found, nor is what has its name now. */
	assert_int_equal(SC(c, FUSE_RENAME, FUSE_ROOT_ID, SC_VALUE(rn), SC_TEXT("folder"),
			    SC_TEXT("other")),
			 0);
	for (unsigned int k = 0; k < MANY; k++)
		assert_int_equal(SC(c, FUSE_GETATTR, node[k], SC_VALUE(ga)), 0);
	assert_int_equal(rename(in_dir(f, "other/5"), in_dir(f, "five")), 0);
	put(in_dir(f, "other/5"), "somebody else");
	assert_int_equal(SC(c, FUSE_GETATTR, node[5], SC_VALUE(ga)), -ESTALE);
	/* A file without a name keeps its descriptor. */
	assert_int_equal(SC(c, FUSE_UNLINK, folder, SC_TEXT("7")), 0);
	for (unsigned int k = 10; k < MANY; k++)
		assert_int_equal(SC(c, FUSE_GETATTR, node[k], SC_VALUE(ga)), 0);
	assert_int_equal(SC(c, FUSE_GETATTR, node[7], SC_VALUE(ga)), 0);
	/* But not all can. */
	for (unsigned int k = 10; k < 40; k++) {
		snprintf(name, sizeof(name), "%u", k);
		assert_int_equal(SC(c, FUSE_UNLINK, folder, SC_TEXT(name)), 0);
	}
	assert_int_equal(SC(c, FUSE_GETATTR, node[12], SC_VALUE(ga)), 0);
	assert_int_equal(SC(c, FUSE_GETATTR, node[39], SC_VALUE(ga)), -ESTALE);
	assert_int_equal(SC(c, FUSE_GETATTR, node[100], SC_VALUE(ga)), 0);
	for (unsigned int k = 7; k < 40; k++)
		forget(c, node[k], 1);
	assert_int_equal(SC(c, FUSE_GETATTR, node[100], SC_VALUE(ga)), 0);
	/* Open files have a limit as well. */
	for (unsigned int k = 0; k < 8; k++)
		assert_true(sc_open(c, node[100], O_RDONLY, false) >= 0);
	assert_int_equal(sc_open(c, node[100], O_RDONLY, false), -ENFILE);
	assert_int_equal(sc_init(c), 0);
	assert_true(sc_open(c, FUSE_ROOT_ID, O_RDONLY, true) >= 0);
}

static void test_listing(void **state)
{
	struct fixture *f = *state;
	struct sc *c = &f->c;
	uint64_t off = 0;
	unsigned int found = 0, pieces = 0;
	char name[64];
	int64_t fh;

	for (unsigned int k = 0; k < MANY; k++) {
		snprintf(name, sizeof(name), "a-file-with-number-%u", k);
		put(in_dir(f, name), "");
	}
	for (unsigned int plus = 0; plus < 2; plus++) {
		size_t head = plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;

		fh = sc_open(c, FUSE_ROOT_ID, O_RDONLY, true);
		found = 0;
		for (off = 0;;) {
			struct fuse_read_in in = { .fh = (uint64_t)fh,
						   .size = 3000,
						   .offset = off };
			size_t at = 0, n;

			assert_int_equal(SC(c, plus ? FUSE_READDIRPLUS : FUSE_READDIR, FUSE_ROOT_ID,
					    SC_VALUE(in)),
					 0);
			n = c->out_n - SHARE_ANSWER_HEADER;
			assert_true(n <= 3000);
			if (!n)
				break;
			pieces++;
			while (at < n) {
				struct fuse_direntplus p;

				memcpy(plus ? (void *)&p : (void *)&p.dirent, sc_answer(c, at),
				       head);
				off = p.dirent.off;
				found++;
				at += FUSE_DIRENT_ALIGN(head + p.dirent.namelen);
				assert_true(at <= n);
			}
		}
		assert_int_equal(found, MANY + 2);
	}
	assert_true(pieces > 10);
	{
		/* Less room than an entry needs, and a place that no folder has. */
		struct fuse_read_in in = { .fh = (uint64_t)fh, .size = 8 };

		assert_int_equal(SC(c, FUSE_READDIR, FUSE_ROOT_ID, SC_VALUE(in)), -EINVAL);
		in.size = 4096;
		in.offset = UINT64_MAX;
		assert_int_equal(SC(c, FUSE_READDIR, FUSE_ROOT_ID, SC_VALUE(in)), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_no_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readonly, setup, teardown),
		cmocka_unit_test_setup_teardown(test_attributes_of_others, setup, teardown),
		cmocka_unit_test_setup_teardown(test_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(test_proc, setup, teardown),
		cmocka_unit_test_setup_teardown(test_few_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_listing, setup, teardown),
	};

	return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
