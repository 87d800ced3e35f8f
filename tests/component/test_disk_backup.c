/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backups of a disk whose guest goes on writing: full ones and increments, into images of several kinds, are the disk of the
 * moment when each began, and qemu-img says so. One that fails, is cancelled or killed loses neither the bitmap nor
 * anything of the guest's.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk_model.h"
#include "unit.h"

#define SIZE (8 << 20)

/* --- a guest ----------------------------------------------------------------------------------- */

struct guest {
	struct disk *disk;
	uint8_t *model; /* what it wrote */
	struct rng rng;
	_Atomic unsigned left; /* requests in flight */
};

static void guest_begin(struct guest *g, struct disk *d, uint64_t seed)
{
	*g = (struct guest){ .disk = d, .model = mem_new(SIZE), .rng = { seed * 2 + 1 } };
	assert_int_equal(disk_read(d, 0, g->model, SIZE), 0);
	assert_int_equal(disk_async_start(d, 2, NULL), 0);
}

static void answered(struct disk_request *req, int status)
{
	struct guest *g = req->arg;

	assert_int_equal(status, 0);
	g->left--;
}

/* A write by the path that machines use. */
static void submit(struct guest *g, uint64_t off, uint64_t len)
{
	struct iovec iov = { g->model + off, len };
	struct disk_request req = {
		.op = DISK_OP_WRITE, .off = off, .iov = &iov, .nr_iov = 1, .done = answered, .arg = g
	};

	g->left = 1;
	disk_submit(g->disk, &req);
	while (g->left)
		sched_yield();
}

static void guest_step(struct guest *g)
{
	uint64_t off = rng_below(&g->rng, SIZE / 512) * 512;
	uint64_t len = MIN(512 * (1 + rng_below(&g->rng, 200)), SIZE - off);
	uint64_t what = rng_below(&g->rng, 10);

	memset(g->model + off, what < 8 ? (int)(1 + rng_below(&g->rng, 255)) : 0, len);
	if (what < 4)
		submit(g, off, len);
	else if (what < 8)
		assert_int_equal(disk_write(g->disk, off, g->model + off, len), 0);
	else if (what == 8)
		assert_int_equal(disk_zero(g->disk, off, len, off & 512), 0);
	else
		assert_int_equal(disk_discard(g->disk, off, len), 0);
	if (what == 9) /* whatever it says now */
		assert_int_equal(disk_read(g->disk, off, g->model + off, len), 0);
}

static void guest_end(struct guest *g)
{
	uint8_t *now = mem_new(SIZE);

	assert_int_equal(disk_read(g->disk, 0, now, SIZE), 0);
	assert_memory_equal(now, g->model, SIZE);
	free(now);
	free(g->model);
	assert_int_equal(disk_close(g->disk, NULL), 0);
}

/* --- backups ------------------------------------------------------------------------------------ */

static struct disk *open_disk(const char *path, const char *format, unsigned flags,
			      struct disk_observer *observer)
{
	const struct disk_open_opts o = { .flags = DISK_RDWR | DISK_UNMAP | DISK_NO_FLUSH | flags,
					  .format = format,
					  .observer = observer };
	struct err err = ERR_INIT;
	struct disk *d = NULL;

	if (disk_open(path, &o, &d, &err) < 0)
		fail_msg("%s", err_text(&err));
	return d;
}

static int start(struct disk *d, struct disk *target, const char *bitmap, bool is_increment,
		 uint64_t bps, struct err *err)
{
	const struct disk_job_opts o = { .kind = DISK_JOB_BACKUP,
					 .target = target,
					 .bitmap = bitmap,
					 .is_increment = is_increment,
					 .bps = bps };
	int r = disk_job_start(d, &o, err);

	if (r < 0)
		assert_int_equal(disk_close(target, NULL), 0);
	return r;
}

static enum disk_job_state end(struct disk *d, char *error)
{
	struct disk_job_status st;

	assert_int_equal(disk_job_wait(d, UINT64_MAX, &st), 0);
	if (error)
		memcpy(error, st.error, sizeof(st.error));
	return st.state;
}

/* Until it has begun, and waits for its speed. */
static void wait_begun(struct disk *d)
{
	struct disk_job_status st;

	do {
		sched_yield();
		disk_job_status(d, &st);
	} while (st.state == DISK_JOB_RUNNING && !st.done);
}

static uint64_t marked(struct disk *d, const char *name)
{
	struct disk_bitmap *all;
	uint64_t ret = UINT64_MAX;
	size_t n;

	assert_int_equal(disk_bitmaps(d, &all, &n, NULL), 0);
	for (size_t i = 0; i < n; i++)
		if (!strcmp(all[i].name, name) && !all[i].is_out_of_date)
			ret = all[i].dirty_bytes;
	free(all);
	return ret;
}

static const struct shape {
	const char *make; /* the disk */
	const char *target, *options;
} shapes[] = {
	{ "qemu-img create -q -f qcow2 i 8M", "qcow2", "cluster_size=65536" },
	{ "qemu-img create -q -f qcow2 -o cluster_size=4096 i 8M", "qcow2", "cluster_size=2M" },
	{ "qemu-img create -q -f raw b 8M && qemu-io -f raw -c 'write -P 9 1M 3M' b && "
	  "qemu-img create -q -f qcow2 -o extended_l2=on -b b -F raw i",
	  "qcow2", "extended_l2=on" },
	{ "qemu-img create -q -f qcow2 i 8M", "raw", NULL },
};

/* Where backup number @n goes: a new image on top of the one before, or the one that there is. */
static struct disk *make_target(const struct shape *s, unsigned n, char name[16])
{
	bool is_raw = !strcmp(s->target, "raw");

	snprintf(name, 16, "backup%u", is_raw ? 0 : n);
	if (!n)
		assert_int_equal(shell("qemu-img create -q -f %s %s%s %s 8M", s->target,
				       s->options ? "-o " : "", s->options ? s->options : "", name),
				 0);
	else if (!is_raw)
		assert_int_equal(shell("qemu-img create -q -f qcow2 -o %s -b backup%u -F qcow2 %s",
				       s->options, n - 1, name),
				 0);
	return open_disk(name, s->target, DISK_TOP_ONLY, NULL);
}

/* A chain of backups, the guest at work before, during and after each. */
static void test_chain(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct guest g;
		char name[16];

		assert_int_equal(shell("rm -f i backup*; %s", shapes[i].make), 0);
		guest_begin(&g, open_disk("i", "qcow2", 0, NULL), i);
		for (unsigned n = 0; n < 4; n++) {
			struct disk *target = make_target(&shapes[i], n, name);
			char error[240];

			for (int k = 0; k < 20; k++)
				guest_step(&g);
			assert_int_equal(write_file("want", g.model, SIZE), 0);
			assert_int_equal(start(g.disk, target, "b", n, n % 2 ? 0 : 1, NULL), 0);
			wait_begun(g.disk);
			if (!(n % 2)) {
				for (int k = 0; k < 40; k++)
					guest_step(&g);
				assert_int_equal(disk_job_set_speed(g.disk, 0, NULL), 0);
			}
			if (end(g.disk, error) != DISK_JOB_DONE)
				fail_msg("%s", error);
			assert_int_equal(shell("qemu-img compare -f %s -F raw %s want && "
					       "(test %s = raw || qemu-img check -f qcow2 %s)",
					       shapes[i].target, name, shapes[i].target, name),
					 0);
			assert_true(n % 2 || marked(g.disk, "b") > 0);
		}
		guest_end(&g);
		assert_int_equal(shell("qemu-img check -f qcow2 i && qemu-img bitmap --remove i b"),
				 0);
	}
}

/* --- what goes wrong ------------------------------------------------------------------------------ */

struct breaker {
	struct disk_observer observer;
	_Atomic uint64_t left;
	int error; /* 0: the process ends */
};

static int count_down(struct disk_observer *o, enum disk_event event, const char *path,
		      uint64_t off, uint64_t len, const struct iovec *iov, unsigned nr_iov)
{
	struct breaker *b = container_of(o, struct breaker, observer);

	if (b->left > 1) {
		b->left--;
		return 0;
	}
	if (!b->error)
		_exit(77);
	return b->error;
}

/* The target fails or the job is cancelled, in the middle: the next increment has what this one would have had. */
static void test_failed(void **state)
{
	for (unsigned how = 0; how < 4; how++) {
		struct breaker full = { { count_down }, 3 + how, -ENOSPC };
		struct guest g;
		char name[16], error[240];

		assert_int_equal(shell("rm -f i backup*; %s", shapes[0].make), 0);
		guest_begin(&g, open_disk("i", "qcow2", 0, NULL), 50 + how);
		for (int k = 0; k < 30; k++)
			guest_step(&g);
		assert_int_equal(start(g.disk, make_target(&shapes[0], 0, name), "b", false, 0,
				       NULL),
				 0);
		assert_int_equal(end(g.disk, NULL), DISK_JOB_DONE);
		for (int k = 0; k < 10; k++)
			guest_step(&g);
		assert_int_equal(shell("qemu-img create -q -f qcow2 fail 8M"), 0);
		assert_int_equal(start(g.disk,
				       open_disk("fail", "qcow2", DISK_TOP_ONLY,
						 how < 3 ? &full.observer : NULL),
				       "b", how > 0, 1, NULL),
				 0);
		wait_begun(g.disk);
		for (int k = 0; k < 10; k++)
			guest_step(&g);
		if (how == 3)
			assert_int_equal(disk_job_cancel(g.disk, NULL), 0);
		else
			ignore_result(disk_job_set_speed(g.disk, 0, NULL)); /* or it has failed */
		assert_int_equal(end(g.disk, error),
				 how == 3 ? DISK_JOB_CANCELLED : DISK_JOB_FAILED);
		assert_true(how == 3 || strstr(error, "No space"));
		for (int k = 0; k < 10; k++)
			guest_step(&g);
		assert_int_equal(write_file("want", g.model, SIZE), 0);
		assert_int_equal(start(g.disk, make_target(&shapes[0], 1, name), "b", true, 0,
				       NULL),
				 0);
		assert_int_equal(end(g.disk, NULL), DISK_JOB_DONE);
		assert_int_equal(shell("qemu-img compare -f qcow2 -F raw backup1 want"), 0);
		guest_end(&g);
	}
}

/* Killed at each change of the disk's file: a bitmap that says that it is right has all that is not in a backup. */
static void test_kills(void **state)
{
	int status = 77;

	assert_int_equal(shell("rm -f i; %s && qemu-img bitmap --add i b && qemu-io -f qcow2 -c "
			       "'write 1M 100k' i && cp i made && qemu-img create -q -f raw full 8M",
			       shapes[0].make),
			 0);
	for (uint64_t left = 1; status == 77; left++) {
		uint64_t n;
		struct disk *d;
		pid_t pid;
		int w;

		assert_int_equal(shell("cp made i && cp full backup"), 0);
		pid = fork();
		if (pid == 0) {
			struct breaker k = { { count_down }, left, 0 };
			struct disk *disk = open_disk("i", "qcow2", 0, &k.observer);

			w = start(disk, open_disk("backup", "raw", 0, NULL), "b", true, 0, NULL);
			_exit(w == 0 && end(disk, NULL) == DISK_JOB_DONE && !disk_close(disk, NULL)
				      ? 0
				      : 1);
		}
		assert_int_equal(waitpid(pid, &w, 0), pid);
		status = WIFEXITED(w) ? WEXITSTATUS(w) : 1;
		assert_true(status == 77 || status == 0);
		d = open_disk("i", "qcow2", 0, NULL);
		n = marked(d, "b");
		assert_int_equal(disk_close(d, NULL), 0);
		assert_true(n == UINT64_MAX || n == 131072 || n == 0);
		if (n == 0)
			assert_int_equal(shell("qemu-img compare -f qcow2 -F raw i backup"), 0);
		if (status == 0)
			assert_int_equal(n, 0);
	}
	assert_int_equal(shell("qemu-img check -f qcow2 i"), 0);
}

static void expect_refusal(struct disk *d, const char *target, const char *format,
			   const char *bitmap, bool is_increment, const char *words)
{
	struct err err = ERR_INIT;

	assert_true(start(d, open_disk(target, format, DISK_TOP_ONLY, NULL), bitmap, is_increment,
			  0, &err) < 0);
	if (!strstr(err_text(&err), words))
		fail_msg("%s", err_text(&err));
}

static void test_refusals(void **state)
{
	const struct disk_bitmap_change still = { DISK_BITMAP_ADD, "still", .is_disabled = true };
	struct disk *d, *other;

	assert_int_equal(shell("rm -f i; %s; qemu-img create -q -f raw small 1M; "
			       "qemu-img create -q -f raw large 9M",
			       shapes[0].make),
			 0);
	d = open_disk("i", "qcow2", 0, NULL);
	assert_int_equal(disk_bitmap_change(d, &still, NULL), 0);
	expect_refusal(d, "small", "raw", NULL, false, "smaller");
	expect_refusal(d, "large", "raw", NULL, true, "needs a bitmap");
	expect_refusal(d, "large", "raw", "none", true, "has no bitmap 'none'");
	expect_refusal(d, "large", "raw", "still", true, "does not follow");
	assert_int_equal(disk_close(d, NULL), 0);
	other = open_disk("small", "raw", 0, NULL);
	expect_refusal(other, "large", "raw", "b", false, "no bitmaps");
	/* Without one, any format can be backed up. */
	assert_int_equal(start(other, open_disk("large", "raw", 0, NULL), NULL, false, 0, NULL), 0);
	assert_int_equal(end(other, NULL), DISK_JOB_DONE);
	assert_int_equal(disk_close(other, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_kills),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests_name("disk_backup", tests, make_dir, remove_dir);
}
