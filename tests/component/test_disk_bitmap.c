/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps of a qcow2 image, made by QEMU or by us, kept up to date by us and read by QEMU: which parts are marked, also after
 * several runs and after changes by name, and what a crash or a full disk leaves.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk_model.h"
#include "unit.h"

#define SIZE (16 << 20)

static struct disk *open_image(struct disk_observer *observer)
{
	const struct disk_open_opts o = { .flags = DISK_RDWR | DISK_UNMAP | DISK_NO_FLUSH,
					  .format = "qcow2",
					  .observer = observer };
	struct err err = ERR_INIT;
	struct disk *d = NULL;

	if (disk_open("i", &o, &d, &err) < 0)
		fail_msg("%s", err_text(&err));
	return d;
}

/* QEMU's view of a bitmap: "offset+length offset+length ". */
static void expect_marks(const char *name, const char *want)
{
	char got[4096] = { 0 }, line[256];
	size_t n = 0;
	FILE *f;

	assert_int_equal(
		shell("qemu-nbd --fork -r -t -k $PWD/sock --pid-file=pid -B %s -f qcow2 i && "
		      "qemu-img map --output=json --image-opts driver=nbd,server.type=unix,"
		      "server.path=$PWD/sock,x-dirty-bitmap=qemu:dirty-bitmap:%s > map; "
		      "r=$?; kill $(cat pid); while kill -0 $(cat pid); do sleep 0.01; done; rm -f pid sock; exit $r",
		      name, name),
		0);
	f = fopen("map", "r");
	assert_non_null(f);
	/* An extent a line; what is dirty is shown as no data. */
	while (fgets(line, sizeof(line), f)) {
		unsigned long long start, len;

		assert_int_equal(sscanf(line + strcspn(line, "{"),
					"{ \"start\": %llu, \"length\": %llu,", &start, &len),
				 2);
		if (strstr(line, "\"data\": false"))
			n += (size_t)snprintf(got + n, sizeof(got) - n, "%llu+%llu ", start >> 16,
					      len >> 16);
	}
	fclose(f);
	assert_string_equal(got, want);
}

static void make_image(const char *options)
{
	assert_int_equal(shell("rm -f i; qemu-img create -q -f qcow2 -o '%s' i %d && "
			       "qemu-img bitmap --add -g 65536 i b0 && "
			       "qemu-img bitmap --add -g 65536 i fine && "
			       "qemu-img bitmap --add -g 65536 --disable i still && "
			       "cp i made",
			       options, SIZE),
			 0);
}

/* The same once more, sooner. */
static void make_again(void)
{
	assert_int_equal(shell("cp made i"), 0);
}

static void test_kept(void **state)
{
	static const char *const options[] = { "cluster_size=65536", "cluster_size=512",
					       "cluster_size=16384,extended_l2=on" };
	char buf[70000];

	memset(buf, 7, sizeof(buf));
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		struct disk *d;

		make_image(options[i]);
		d = open_image(NULL);
		assert_int_equal(disk_write(d, 65536 * 3 + 100, buf, 10), 0);
		assert_int_equal(disk_write(d, 65536 * 8 - 1, buf, 2), 0);
		assert_int_equal(disk_zero(d, 65536 * 20, 65536 * 2, true), 0);
		assert_int_equal(disk_close(d, NULL), 0);
		assert_int_equal(shell("qemu-img check -f qcow2 i"), 0);
		expect_marks("b0", "3+1 7+2 20+2 ");
		expect_marks("still", "");
		/* A second run adds to it; what only reads changes nothing. */
		d = open_image(NULL);
		assert_int_equal(disk_read(d, 0, buf, 100), 0);
		assert_int_equal(disk_close(d, NULL), 0);
		d = open_image(NULL);
		assert_int_equal(disk_write(d, SIZE - 1, buf, 1), 0);
		assert_int_equal(disk_write(d, 65536 * 9, buf, 65537), 0);
		assert_int_equal(disk_discard(d, 65536 * 3, 65536), 0);
		assert_int_equal(disk_close(d, NULL), 0);
		assert_int_equal(shell("qemu-img check -f qcow2 i"), 0);
		expect_marks("fine", "3+1 7+4 20+2 255+1 ");
		/* QEMU goes on with it, and we with that. */
		assert_int_equal(
			shell("qemu-img bitmap --clear i b0 && qemu-io -f qcow2 -c 'write 1M 64k' i"),
			0);
		d = open_image(NULL);
		assert_int_equal(disk_write(d, 0, buf, 1), 0);
		assert_int_equal(disk_close(d, NULL), 0);
		expect_marks("b0", "0+1 16+1 ");
		expect_marks("fine", "0+1 3+1 7+4 16+1 20+2 255+1 ");
	}
}

/* --- changes by name -------------------------------------------------------------------------- */

static int change(struct disk *d, enum disk_bitmap_op op, const char *name, const char *from)
{
	const struct disk_bitmap_change c = { .op = op, .name = name, .from = from };

	return disk_bitmap_change(d, &c, NULL);
}

/* Each kind of header that QEMU makes: with and without room in the first sector, and with a name behind the extensions. */
static void test_changes(void **state)
{
	static const char *const make[] = {
		"qemu-img create -q -f qcow2 i 16M",
		"qemu-img create -q -f qcow2 -o cluster_size=1024 i 16M",
		"qemu-img create -q -f qcow2 -o data_file=d,data_file_raw=on i 16M",
		"n=a-rather-long-name-of-a-backing-file; truncate -s 16M $n && qemu-img create -q -f qcow2 -b $n -F raw i",
	};

	for (size_t i = 0; i < ARRAY_SIZE(make); i++) {
		struct disk_bitmap_change fine = { DISK_BITMAP_ADD, "fine", .granularity = 512 };
		struct disk *d;
		bool marked;
		uint64_t len;

		assert_int_equal(shell("rm -f i d && %s", make[i]), 0);
		d = open_image(NULL);
		assert_int_equal(change(d, DISK_BITMAP_ADD, "b", NULL), 0);
		assert_int_equal(change(d, DISK_BITMAP_ADD, "b", NULL), -EEXIST);
		assert_int_equal(disk_write(d, 65536 * 3, "x", 1), 0);
		assert_int_equal(disk_bitmap_change(d, &fine, NULL), 0);
		assert_int_equal(disk_write(d, 65536 * 5, "x", 1), 0);
		assert_int_equal(change(d, DISK_BITMAP_DISABLE, "b", NULL), 0);
		assert_int_equal(disk_write(d, 65536 * 7 + 512, "x", 1), 0);
		assert_int_equal(disk_bitmap_look(d, "fine", 65536 * 7, 65536, &marked, &len, NULL),
				 0);
		assert_true(!marked && len == 512);
		assert_int_equal(disk_bitmap_look(d, "fine", 65536 * 7 + 600, 65536, &marked, &len,
						  NULL),
				 0);
		assert_true(marked && len == 512 - 88);
		assert_int_equal(disk_bitmap_look(d, "c", 0, 1, &marked, &len, NULL), -ENOENT);
		assert_int_equal(disk_close(d, NULL), 0);
		assert_int_equal(shell("qemu-img check -f qcow2 i && qemu-io -f qcow2 -c "
				       "'read -P 0x78 196608 1' i"),
				 0);
		expect_marks("b", "3+1 5+1 ");
		d = open_image(NULL);
		assert_int_equal(change(d, DISK_BITMAP_ENABLE, "b", NULL), 0);
		assert_int_equal(change(d, DISK_BITMAP_CLEAR, "b", NULL), 0);
		assert_int_equal(disk_write(d, 65536 * 9, "x", 1), 0);
		assert_int_equal(change(d, DISK_BITMAP_MERGE, "b", "fine"), 0);
		assert_int_equal(change(d, DISK_BITMAP_MERGE, "b", "c"), -ENOENT);
		assert_int_equal(change(d, DISK_BITMAP_REMOVE, "fine", NULL), 0);
		assert_int_equal(change(d, DISK_BITMAP_REMOVE, "fine", NULL), -ENOENT);
		assert_int_equal(disk_close(d, NULL), 0);
		assert_int_equal(shell("qemu-img check -f qcow2 i"), 0);
		expect_marks("b", "5+1 7+1 9+1 ");
		d = open_image(NULL);
		assert_int_equal(change(d, DISK_BITMAP_REMOVE, "b", NULL), 0);
		assert_int_equal(disk_close(d, NULL), 0);
		assert_int_equal(shell("qemu-img check -f qcow2 i && ! qemu-img info i | grep -q granularity && "
				       "qemu-img bitmap --add i q && qemu-img check i"),
				 0);
	}
}

/* One that somebody did not keep: it may only go. */
static void test_out_of_date(void **state)
{
	struct disk_bitmap *all;
	struct disk *d;
	size_t n;

	make_image("compat=1.1");
	d = open_image(NULL);
	assert_int_equal(disk_write(d, 0, "x", 1), 0);
	assert_int_equal(disk_flush(d), 0);
	assert_int_equal(shell("cp i j"), 0);
	assert_int_equal(disk_close(d, NULL), 0);
	assert_int_equal(rename("j", "i"), 0);
	d = open_image(NULL);
	assert_int_equal(disk_bitmaps(d, &all, &n, NULL), 0);
	assert_int_equal(n, 3);
	assert_true(all[0].is_out_of_date && all[1].is_out_of_date && !all[2].is_out_of_date);
	free(all);
	assert_int_equal(change(d, DISK_BITMAP_CLEAR, "b0", NULL), -ESTALE);
	assert_int_equal(change(d, DISK_BITMAP_ENABLE, "fine", NULL), -ESTALE);
	assert_int_equal(change(d, DISK_BITMAP_MERGE, "still", "b0"), -ESTALE);
	assert_int_equal(change(d, DISK_BITMAP_REMOVE, "b0", NULL), 0);
	assert_int_equal(change(d, DISK_BITMAP_ADD, "b0", NULL), 0);
	assert_int_equal(disk_close(d, NULL), 0);
	assert_int_equal(shell("qemu-img check -f qcow2 i"), 0);
	expect_marks("b0", "");
	assert_int_equal(shell("qemu-img create -q -f qcow2 -o compat=0.10 i 1M"), 0);
	d = open_image(NULL);
	assert_int_equal(change(d, DISK_BITMAP_ADD, "b", NULL), -EOPNOTSUPP);
	assert_int_equal(disk_bitmaps(d, &all, &n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(disk_close(d, NULL), 0);
}

struct killer {
	struct disk_observer observer;
	uint64_t left;
	int error; /* what that change fails with; 0: the process ends there */
};

static int count_down(struct disk_observer *o, enum disk_event event, const char *path,
		      uint64_t off, uint64_t len, const struct iovec *iov, unsigned nr_iov)
{
	struct killer *k = container_of(o, struct killer, observer);

	if (--k->left)
		return 0;
	if (k->error)
		return k->error;
	_exit(77);
}

/* Killed at each change of the file: the bitmap is complete, or says that it is not. */
static void test_kills(void **state)
{
	int status = 77;

	make_image("cluster_size=65536");
	for (uint64_t left = 1; status == 77; left++) {
		pid_t pid;
		int w;

		make_again();
		pid = fork();
		if (pid == 0) {
			struct killer k = { .observer = { count_down }, .left = left };
			struct disk *d = open_image(&k.observer);

			_exit(disk_write(d, 65536 * 5, "x", 1) == 0 && disk_close(d, NULL) == 0
				      ? 0
				      : 1);
		}
		assert_int_equal(waitpid(pid, &w, 0), pid);
		status = WIFEXITED(w) ? WEXITSTATUS(w) : 1;
		assert_true(status == 77 || status == 0);
		assert_int_equal(shell("qemu-img check -f qcow2 i; test $? = 0 -o $? = 3"), 0);
		if (shell("qemu-img info i | grep -q in-use"))
			expect_marks("b0",
				     shell("qemu-io -r -f qcow2 -c 'read -P 0x78 327680 1' i | "
					   "grep -q 'read failed\\|Pattern'")
					     ? "5+1 "
					     : "");
	}
}

static int add_and_remove(struct disk *d)
{
	int r = change(d, DISK_BITMAP_ADD, "new", NULL);

	if (r == 0)
		r = change(d, DISK_BITMAP_MERGE, "still", "b0");
	if (r == 0)
		r = change(d, DISK_BITMAP_REMOVE, "b0", NULL);
	return r;
}

/* No errors and the bitmaps that there may be, seen by us: QEMU looks at the end, and takes longer to start. */
static void expect_sound(bool *ret_is_new)
{
	const struct disk_open_opts o = { .format = "qcow2" };
	struct disk_check check = { 0 };
	struct disk_bitmap *all;
	struct disk *d;
	size_t n;

	assert_int_equal(disk_open("i", &o, &d, NULL), 0);
	assert_int_equal(disk_check(d, &check, NULL), 0);
	assert_int_equal(check.errors, 0);
	assert_int_equal(disk_bitmaps(d, &all, &n, NULL), 0);
	assert_true(n == 3 || n == 4);
	*ret_is_new = strcmp(all[n - 1].name, "new") == 0;
	assert_string_equal(all[n == 4 || !*ret_is_new ? 2 : 1].name, "still");
	free(all);
	assert_int_equal(disk_close(d, NULL), 0);
}

/* Killed at each change of the file while the directory changes: it is the one before or the one after. */
static void test_kills_of_changes(void **state)
{
	bool is_new, was_new = false;
	int status = 77;

	make_image("cluster_size=65536");
	assert_int_equal(shell("qemu-io -f qcow2 -c 'write 512k 1' i && cp i made"), 0);
	for (uint64_t left = 1; status == 77; left++) {
		pid_t pid;
		int w;

		make_again();
		pid = fork();
		if (pid == 0) {
			struct killer k = { .observer = { count_down }, .left = left };
			struct disk *d = open_image(&k.observer);

			_exit(add_and_remove(d) == 0 && disk_close(d, NULL) == 0 ? 0 : 1);
		}
		assert_int_equal(waitpid(pid, &w, 0), pid);
		status = WIFEXITED(w) ? WEXITSTATUS(w) : 1;
		assert_true(status == 77 || status == 0);
		expect_sound(&is_new);
		assert_true(is_new || !was_new);
		was_new = is_new;
	}
	assert_int_equal(shell("qemu-img check -f qcow2 i"), 0);
	expect_marks("still", "8+1 ");
	expect_marks("new", "");
}

/* Each change of the file refused once: what was asked for has not happened, and the rest is as it was. */
static void test_failures(void **state)
{
	struct disk_bitmap *all;
	int r = -ENOSPC;
	size_t n;

	make_image("cluster_size=65536");
	for (uint64_t after = 1; r == -ENOSPC; after++) {
		struct killer k = { .observer = { count_down },
				    .left = UINT64_MAX,
				    .error = -ENOSPC };
		struct disk *d;

		make_again();
		d = open_image(&k.observer);
		assert_int_equal(disk_write(d, 65536 * 2, "x", 1), 0);
		k.left = after;
		r = change(d, DISK_BITMAP_CLEAR, "fine", NULL);
		k.left = UINT64_MAX;
		assert_true(r == 0 || r == -ENOSPC);
		assert_int_equal(disk_bitmaps(d, &all, &n, NULL), 0);
		assert_int_equal(n, 3);
		assert_int_equal(all[0].dirty_bytes, 65536);
		assert_int_equal(all[1].dirty_bytes, r == 0 ? 0 : 65536);
		free(all);
		assert_int_equal(disk_write(d, 65536 * 4, "x", 1), 0);
		assert_int_equal(disk_close(d, NULL), 0);
		d = open_image(NULL);
		assert_int_equal(disk_bitmaps(d, &all, &n, NULL), 0);
		assert_int_equal(all[0].dirty_bytes, 2 * 65536);
		assert_int_equal(all[1].dirty_bytes, r == 0 ? 65536 : 2 * 65536);
		free(all);
		assert_int_equal(disk_close(d, NULL), 0);
	}
	assert_int_equal(shell("qemu-img check -f qcow2 i"), 0);
	expect_marks("b0", "2+1 4+1 ");
	expect_marks("fine", "4+1 ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_out_of_date),
		cmocka_unit_test(test_kills),
		cmocka_unit_test(test_kills_of_changes),
		cmocka_unit_test(test_failures),
	};

	return cmocka_run_group_tests_name("disk_bitmap", tests, make_dir, remove_dir);
}
