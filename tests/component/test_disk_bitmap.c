/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps that QEMU made in a qcow2 image, kept up to date by us and read by QEMU: which parts are marked, also after several
 * runs, and what a crash leaves.
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
	char got[4096] = { 0 };
	FILE *f;

	assert_int_equal(
		shell("qemu-nbd --fork -r -t -k $PWD/sock --pid-file=pid -B %s -f qcow2 i && "
		      "qemu-img map --output=json --image-opts driver=nbd,server.type=unix,"
		      "server.path=$PWD/sock,x-dirty-bitmap=qemu:dirty-bitmap:%s > map; "
		      "r=$?; kill $(cat pid); while kill -0 $(cat pid); do sleep 0.01; done; rm -f pid sock; exit $r",
		      name, name),
		0);
	/* What is dirty is shown as no data. */
	assert_int_equal(
		shell("python3 -c 'import json; print(\"\".join(\"%%d+%%d \" %% (e[\"start\"] >> 16, "
		      "e[\"length\"] >> 16) for e in json.load(open(\"map\")) if not e[\"data\"]))' "
		      "> marks"),
		0);
	f = fopen("marks", "r");
	assert_non_null(f);
	assert_non_null(fgets(got, sizeof(got), f));
	fclose(f);
	got[strcspn(got, "\n")] = 0;
	assert_string_equal(got, want);
}

static void make_image(const char *options)
{
	assert_int_equal(shell("rm -f i; qemu-img create -q -f qcow2 -o '%s' i %d && "
			       "qemu-img bitmap --add -g 65536 i b0 && "
			       "qemu-img bitmap --add -g 65536 i fine && "
			       "qemu-img bitmap --add -g 65536 --disable i still",
			       options, SIZE),
			 0);
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

struct killer {
	struct disk_observer observer;
	uint64_t left;
};

static int count_down(struct disk_observer *o, enum disk_event event, const char *path,
		      uint64_t off, uint64_t len, const struct iovec *iov, unsigned nr_iov)
{
	struct killer *k = container_of(o, struct killer, observer);

	if (!--k->left)
		_exit(77);
	return 0;
}

/* Killed at each change of the file: the bitmap is complete, or says that it is not. */
static void test_kills(void **state)
{
	int status = 77;

	for (uint64_t left = 1; status == 77; left++) {
		pid_t pid;
		int w;

		make_image("cluster_size=65536");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_kills),
	};

	return cmocka_run_group_tests_name("disk_bitmap", tests, make_dir, remove_dir);
}
