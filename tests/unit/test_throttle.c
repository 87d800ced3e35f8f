/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lets requests of a disk wait, on a clock that is moved by hand: limits (rates, bursts, turns, changes), and a host
 * without space. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "disk/graph_priv.h"
#include "disk/throttle_priv.h"
#include "unit.h"

#define MS NS_PER_MS

/* How many operations of @bytes begin in @ms, when there are always more. */
static unsigned begun(struct buckets *b, bool is_write, uint64_t bytes, uint64_t from, uint64_t ms)
{
	unsigned n = 0;

	for (uint64_t now = from;; n++) {
		now = buckets_when(b, is_write, now);
		if (now >= from + ms * MS)
			return n;
		buckets_charge(b, is_write, bytes, now);
	}
}

static void test_rates(void **state)
{
	struct disk_limits l = { .iops = 100 };
	struct buckets b;

	buckets_init(&b, &l);
	/* 100 ms of burst are 10 more, and one goes while there is any room. */
	assert_in_range(begun(&b, false, 4096, 5 * NS_PER_S, 1000), 110, 111);
	assert_in_range(begun(&b, false, 4096, 6 * NS_PER_S, 1000), 100, 101);
	/* What was not used is not saved up longer than a burst. */
	assert_in_range(begun(&b, true, 4096, 100 * NS_PER_S, 1000), 110, 111);

	l = (struct disk_limits){ .bps = 1 << 20, .burst_ns = 2 * NS_PER_S };
	buckets_init(&b, &l);
	assert_in_range(begun(&b, true, 65536, 0, 1000), 48, 49);
	assert_in_range(begun(&b, true, 65536, NS_PER_S, 1000), 16, 17);

	/* The tightest one counts. */
	l = (struct disk_limits){ .bps = 1 << 20, .iops = 1000, .iops_wr = 4, .burst_ns = MS };
	buckets_init(&b, &l);
	assert_in_range(begun(&b, true, 512, 0, 1000), 4, 5);
	buckets_init(&b, &l);
	assert_in_range(begun(&b, false, 65536, 0, 1000), 16, 17);
	l = (struct disk_limits){ .iops_rd = 4, .bps_wr = 1024 };
	buckets_init(&b, &l);
	assert_in_range(begun(&b, true, 512, 0, 10000), 20, 21);
}

/* One that is larger than the bucket comes to its turn, and is paid for afterwards. */
static void test_large(void **state)
{
	struct disk_limits l = { .bps = 1000, .burst_ns = 100 * MS };
	struct buckets b;

	buckets_init(&b, &l);
	assert_int_equal(buckets_when(&b, false, 7), 7);
	buckets_charge(&b, false, 1000000, 7);
	assert_int_equal(buckets_when(&b, false, 7), 7 + 1000 * NS_PER_S - 100 * MS);
	buckets_charge(&b, false, UINT64_MAX, 7); /* no overflow */
	assert_true(buckets_when(&b, false, 7) > 1000 * NS_PER_S);
	/* No limit, no waiting. */
	buckets_init(&b, &(struct disk_limits){ 0 });
	buckets_charge(&b, true, UINT64_MAX, 7);
	assert_int_equal(buckets_when(&b, true, 7), 7);
}

static void test_parse(void **state)
{
	struct disk_limits l = { .iops = 3 };
	struct err err = ERR_INIT;

	assert_int_equal(disk_limits_parse_list(&l, STR("iops-rd=10,bps=10M,bps-wr=1G,burst=5s"),
						&err),
			 0);
	assert_true(l.iops == 3 && l.iops_rd == 10 && l.bps == 10 << 20 && l.bps_wr == 1 << 30 &&
		    l.burst_ns == 5 * NS_PER_S);
	assert_int_equal(disk_limits_parse_list(&l, STR("iops=0"), &err), 0);
	assert_int_equal(l.iops, 0);
	assert_int_equal(disk_limits_parse_list(&l, STR("iops"), &err), -EINVAL);
	assert_int_equal(disk_limits_parse_list(&l, STR("ops=1"), &err), -EINVAL);
	assert_non_null(strstr(err_text(&err), "none of iops, iops-rd"));
	assert_true(disk_limits_parse_list(&l, STR("iops=x"), &err) < 0);
	assert_non_null(strstr(err_text(&err), "iops"));
	assert_int_equal(disk_limits_parse(&l, STR("color"), STR("1"), &err), -ENOENT);
	assert_true(disk_limits_parse(&l, STR("burst"), STR("0"), &err) < 0);
}

/* --- a disk with requests ---------------------------------------------------------------------- */

struct bench {
	struct clock_fake clock;
	struct disk *disk;
	struct disk_request req[16];
	struct iovec iov;
	char buf[4096];
	_Atomic unsigned nr_done, nr_failed;
	struct disk_observer observer;
	_Atomic int fail; /* what writes fail with */
	_Atomic unsigned nr_full, nr_space;
};

static void on_done(struct disk_request *req, int status)
{
	struct bench *b = req->arg;

	b->nr_failed += status == -ENOSPC;
	if (status != -ENOSPC)
		assert_int_equal(status, 0);
	b->nr_done++;
}

static int observe(struct disk_observer *o, enum disk_event event, const char *path, uint64_t off,
		   uint64_t len, const struct iovec *iov, unsigned nr_iov)
{
	struct bench *b = container_of(o, struct bench, observer);

	return event == DISK_EVENT_WRITE || event == DISK_EVENT_SYNC ? b->fail : 0;
}

static void on_full(void *arg, bool is_full)
{
	struct bench *b = arg;

	b->nr_full += is_full;
	b->nr_space += !is_full;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	char path[] = "/tmp/test-throttle-XXXXXX";
	struct disk_open_opts o = { .flags = DISK_RDWR | DISK_WAIT_SPACE, .format = "raw" };
	int fd = mkstemp(path), r;

	*state = b;
	if (!b || fd < 0 || ftruncate(fd, 1 << 20) < 0)
		return -1;
	unlink(path);
	clock_fake_init(&b->clock, NS_PER_S, 0);
	o.clock = &b->clock.clock;
	b->observer.event = observe;
	o.observer = &b->observer;
	b->iov = (struct iovec){ b->buf, sizeof(b->buf) };
	r = disk_open_fd(fd, path, &o, &b->disk, NULL);
	if (r == 0)
		r = disk_async_start(b->disk, 1, NULL);
	if (r == 0)
		disk_on_full(b->disk, on_full, b);
	return r;
}

static int teardown(void **state)
{
	struct bench *b = *state;
	int r;

	disk_drain(b->disk);
	r = disk_close(b->disk, NULL);
	free(b);
	return r;
}

static void submit(struct bench *b, unsigned i, enum disk_op op)
{
	b->req[i] = (struct disk_request){
		.op = op,
		.off = i * 4096,
		.len = 4096,
		.iov = &b->iov,
		.nr_iov = 1,
		.done = on_done,
		.arg = b,
	};
	disk_submit(b->disk, &b->req[i]);
}

static void limit(struct bench *b, const char *text)
{
	struct disk_limits l = { 0 };
	struct err err = ERR_INIT;

	assert_int_equal(disk_limits_parse_list(&l, str_of(text), &err), 0);
	assert_int_equal(disk_set_limits(b->disk, &l, &err), 0);
}

static unsigned waiting(struct bench *b)
{
	struct disk_limits l;
	unsigned n;

	disk_get_limits(b->disk, &l, &n);
	return n;
}

/* What began when @ms have gone by. */
static unsigned pass(struct bench *b, uint64_t ms)
{
	unsigned before = waiting(b);

	clock_fake_advance(&b->clock, ms * MS);
	timerq_run_due(async_timers(b->disk));
	return before - waiting(b);
}

static void test_requests(void **state)
{
	struct bench *b = *state;

	limit(b, "iops=10,burst=1ms");
	for (unsigned i = 0; i < 6; i++)
		submit(b, i, i % 2 ? DISK_OP_WRITE : DISK_OP_READ);
	submit(b, 6, DISK_OP_FLUSH); /* not limited */
	assert_int_equal(waiting(b), 5);
	assert_int_equal(pass(b, 50), 0);
	assert_int_equal(pass(b, 50), 1);
	assert_int_equal(pass(b, 100), 1);
	/* Another limit holds at once for those that wait. */
	limit(b, "iops=1000,burst=1ms");
	assert_in_range(waiting(b), 0, 2);
	pass(b, 10);
	assert_int_equal(waiting(b), 0);
	disk_drain(b->disk);
	assert_int_equal(b->nr_done, 7);
}

/* A limit on writes does not hold reads; a common one holds both, in turns. */
static void test_rows(void **state)
{
	struct bench *b = *state;

	limit(b, "iops-wr=1,burst=1ms");
	for (unsigned i = 0; i < 3; i++)
		submit(b, i, DISK_OP_WRITE);
	for (unsigned i = 3; i < 8; i++)
		submit(b, i, DISK_OP_READ);
	assert_int_equal(waiting(b), 2);
	limit(b, "iops=0");
	disk_drain(b->disk);
	assert_int_equal(b->nr_done, 8);

	limit(b, "iops=1,burst=1ms");
	submit(b, 0, DISK_OP_READ);
	for (unsigned i = 1; i < 5; i++)
		submit(b, i, DISK_OP_READ);
	for (unsigned i = 5; i < 9; i++)
		submit(b, i, DISK_OP_WRITE);
	assert_int_equal(waiting(b), 8);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pass(b, 1000), 1);
	/* Two of each are left. */
	limit(b, "iops-rd=1,burst=1ms");
	assert_int_equal(waiting(b), 1);
	disk_drain(b->disk); /* does not wait for its second */
	assert_int_equal(b->nr_done, 17);
}

static void wait_stalled(struct bench *b, unsigned n)
{
	while (disk_nr_stalled(b->disk) != n)
		sched_yield();
}

static void wait_done(struct bench *b, unsigned n)
{
	while (b->nr_done != n)
		sched_yield();
}

static void test_full(void **state)
{
	struct bench *b = *state;

	b->fail = -ENOSPC;
	for (unsigned i = 0; i < 3; i++)
		submit(b, i, DISK_OP_WRITE);
	wait_stalled(b, 3);
	assert_int_equal(b->nr_full, 1);
	submit(b, 4, DISK_OP_READ); /* all else goes on */
	wait_done(b, 1);
	/* Each second one more attempt. */
	clock_fake_advance(&b->clock, NS_PER_S);
	timerq_run_due(async_timers(b->disk));
	wait_stalled(b, 3);
	assert_int_equal(b->nr_done, 1);
	b->fail = 0;
	clock_fake_advance(&b->clock, NS_PER_S);
	timerq_run_due(async_timers(b->disk));
	wait_done(b, 4);
	while (!b->nr_space)
		sched_yield();
	assert_int_equal(b->nr_full, 1);
	/* Or when somebody says so. */
	b->fail = -ENOSPC;
	submit(b, 0, DISK_OP_WRITE);
	wait_stalled(b, 1);
	b->fail = 0;
	disk_retry(b->disk);
	wait_done(b, 5);
	while (b->nr_space < 2)
		sched_yield();
	/* Who waits for the end gets it: a reset, or the end of the machine. */
	b->fail = -ENOSPC;
	submit(b, 0, DISK_OP_WRITE);
	wait_stalled(b, 1);
	disk_drain(b->disk);
	assert_int_equal(b->nr_failed, 1);
	/* And afterwards others wait again. */
	submit(b, 1, DISK_OP_WRITE);
	wait_stalled(b, 1);
	b->fail = 0;
	disk_retry(b->disk);
	disk_drain(b->disk);
	assert_int_equal(b->nr_done, 7);
}

static void test_no_requests(void **state)
{
	const struct disk_limits l = { .iops = 1 };
	struct disk_open_opts o = { .format = "raw" };
	struct disk_limits got;
	struct disk *d = NULL;
	unsigned n;

	assert_int_equal(disk_open("/proc/self/exe", &o, &d, NULL), 0);
	assert_int_equal(disk_set_limits(d, &l, NULL), -EINVAL);
	disk_get_limits(d, &got, &n);
	assert_true(!got.iops && !n);
	assert_int_equal(disk_close(d, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_parse),
		cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test(test_no_requests),
	};

	return cmocka_run_group_tests_name("throttle", tests, NULL, NULL);
}
