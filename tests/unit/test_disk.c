/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks: the layers that all formats share, seen through raw images. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "disk/disk.h"
#include "sys/fd.h"
#include "sys/thread.h"
#include "unit.h"

static int make_dir(void **state)
{
	char *dir = mem_strdup("/tmp/atoll-test-XXXXXX");

	*state = dir;
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int remove_dir(void **state)
{
	static const char *const names[] = { "a.raw", "b.raw" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)remove(names[i]);
	ignore_result(chdir("/")); /* the folder is gone either way */
	(void)rmdir(*state);
	free(*state);
	return 0;
}

static struct disk *must_open(const char *path, const struct disk_open_opts *o)
{
	struct err err = ERR_INIT;
	struct disk *d = NULL;

	if (disk_open(path, o, &d, &err) < 0)
		fail_msg("%s", err_text(&err));
	return d;
}

static void must_create(const char *path, uint64_t size)
{
	const struct disk_create_opts o = { .size = size };
	struct err err = ERR_INIT;

	if (disk_create(path, "raw", &o, &err) < 0)
		fail_msg("%s", err_text(&err));
}

static const struct disk_open_opts rw = { .flags = DISK_RDWR | DISK_UNMAP, .format = "raw" };
static const struct disk_open_opts ro = { .format = "raw" };

static bool is_filled(const uint8_t *p, size_t n, uint8_t with)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != with)
			return false;
	return true;
}

static void test_raw(void **state)
{
	static uint8_t buf[300000];
	struct disk_extent e;
	struct disk *d;

	must_create("a.raw", 1 << 20);
	d = must_open("a.raw", &rw);
	assert_int_equal(disk_size(d), 1 << 20);
	assert_int_equal(disk_map(d, 0, 1 << 20, &e), 0);
	assert_int_equal(e.kind, DISK_ZERO);
	assert_int_equal(e.len, 1 << 20);
	memset(buf, 7, sizeof(buf));
	assert_int_equal(disk_write(d, 4096, buf, 200001), 0);
	assert_int_equal(disk_read(d, 4095, buf, 200003), 0);
	assert_int_equal(buf[0], 0);
	assert_true(is_filled(buf + 1, 200001, 7));
	assert_int_equal(buf[200002], 0);
	assert_int_equal(disk_map(d, 4096, 8192, &e), 0);
	assert_int_equal(e.kind, DISK_DATA);
	assert_int_equal(e.host_off, 4096);
	assert_int_equal(disk_zero(d, 8192 + 1, 4096, true), 0);
	assert_int_equal(disk_discard(d, 65536, 65536), 0);
	assert_int_equal(disk_read(d, 8192, buf, 131072), 0);
	assert_int_equal(buf[0], 7);
	assert_true(is_filled(buf + 1, 4096, 0));
	assert_true(is_filled(buf + 4097, 65536 - 8192 - 4097, 7));
	assert_true(is_filled(buf + 65536 - 8192, 65536, 0));
	assert_int_equal(disk_read(d, (1 << 20) - 1, buf, 2), -ERANGE);
	assert_int_equal(disk_write(d, UINT64_MAX, buf, 2), -ERANGE);
	assert_int_equal(disk_map(d, UINT64_MAX, 1, &e), -ERANGE);
	assert_int_equal(disk_flush(d), 0);
	assert_int_equal(disk_resize(d, 4096, false, NULL), -EINVAL);
	assert_int_equal(disk_resize(d, 8000, true, NULL), 0);
	assert_int_equal(disk_size(d), 8192);
	assert_int_equal(disk_close(d, NULL), 0);
	d = must_open("a.raw", &ro);
	assert_int_equal(disk_size(d), 8192);
	assert_int_equal(disk_write(d, 0, buf, 1), -EROFS);
	assert_int_equal(disk_zero(d, 0, 1, false), -EROFS);
	assert_int_equal(disk_discard(d, 0, 1), -EROFS);
	assert_int_equal(disk_snapshot_create(d, "x", 0, NULL), -EOPNOTSUPP);
	disk_closep(&d);
}

/* A file of an odd size: the rest of the last sector reads zero. */
static void test_odd_size(void **state)
{
	uint8_t buf[512];
	struct disk *d;
	int fd = -EBADF;

	assert_int_equal(fd_open("a.raw", O_RDWR | O_CREAT | O_TRUNC, &fd, NULL), 0);
	assert_int_equal(fd_write_full(fd, "abc", 3), 0);
	fd_closep(&fd);
	d = must_open("a.raw", &ro);
	assert_int_equal(disk_size(d), 512);
	assert_int_equal(disk_read(d, 0, buf, 512), 0);
	assert_memory_equal(buf, "abc\0", 4);
	assert_true(is_filled(buf + 3, 509, 0));
	disk_closep(&d);
}

static void test_open_refused(void **state)
{
	struct disk_open_opts o = { .flags = DISK_RDWR };
	struct disk *d = NULL, *other = NULL;
	struct err err = ERR_INIT;

	must_create("a.raw", 65536);
	assert_int_equal(disk_open("a.raw", &o, &d, &err), -EINVAL);
	assert_non_null(strstr(err_text(&err), "the format is not given"));
	o.format = "rwa";
	assert_int_equal(disk_open("a.raw", &o, &d, &err), -EINVAL);
	assert_non_null(strstr(err_text(&err), "'rwa' is none of raw"));
	o.format = "raw";
	assert_int_equal(disk_open("b.raw", &o, &d, &err), -ENOENT);
	assert_int_equal(disk_open(".", &ro, &d, &err), -EINVAL);
	o.flags = DISK_RDWR | DISK_NO_LOCK;
	assert_int_equal(disk_open("a.raw", &o, &d, &err), -EINVAL);
	/* One writer, or readers. */
	d = must_open("a.raw", &rw);
	assert_int_equal(disk_open("a.raw", &rw, &other, &err), -EBUSY);
	assert_int_equal(disk_open("a.raw", &ro, &other, &err), -EBUSY);
	disk_closep(&d);
	d = must_open("a.raw", &ro);
	assert_int_equal(disk_open("a.raw", &rw, &other, &err), -EBUSY);
	other = must_open("a.raw", &ro);
	disk_closep(&d);
	disk_closep(&other);
	assert_int_equal(disk_close(NULL, NULL), 0);
}

/* What is not aligned for O_DIRECT goes through aligned memory and gives the same bytes. */
static void test_direct(void **state)
{
	struct disk_open_opts o = rw;
	uint8_t *model, *got;
	unsigned seed = 1;
	struct stat st;
	struct disk *d;

	must_create("a.raw", 100 * 512);
	o.flags |= DISK_DIRECT;
	if (disk_open("a.raw", &o, &d, NULL) < 0)
		return; /* the file system has no O_DIRECT */
	model = mem_new(100 * 512);
	got = mem_new(100 * 512);
	for (int i = 0; i < 300; i++) {
		uint32_t off = (uint32_t)rand_r(&seed) % (100 * 512 - 1);
		uint32_t len = 1 + (uint32_t)rand_r(&seed) % (100 * 512 - off - 1);

		memset(model + off, i, len);
		assert_int_equal(disk_write(d, off, model + off, len), 0);
		assert_int_equal(disk_read(d, off / 2, got, 100 * 512 - off / 2), 0);
		assert_memory_equal(got, model + off / 2, 100 * 512 - off / 2);
	}
	assert_int_equal(disk_close(d, NULL), 0);
	assert_int_equal(stat("a.raw", &st), 0);
	assert_int_equal(st.st_size, 100 * 512);
	free(model);
	free(got);
}

/* --- requests --------------------------------------------------------------------------------- */

#define NR_REQUESTS 200

struct counter {
	pthread_mutex_t lock;
	unsigned done, failed;
};

static void count(struct disk_request *req, int status)
{
	struct counter *c = req->arg;
	mutex_guard(&c->lock);

	c->done++;
	c->failed += status < 0;
}

static void test_submit(void **state)
{
	static uint8_t data[NR_REQUESTS][5000];
	static struct disk_request reqs[NR_REQUESTS];
	static struct iovec iov[NR_REQUESTS][2];
	struct counter c = { 0 };
	struct disk_request bad;
	struct disk *d;

	mutex_init(&c.lock);
	must_create("a.raw", 1 << 20);
	d = must_open("a.raw", &rw);
	disk_drain(d);
	assert_int_equal(disk_async_start(d, 4, NULL), 0);
	assert_int_equal(disk_async_start(d, 4, NULL), -EALREADY);
	for (unsigned i = 0; i < NR_REQUESTS; i++) {
		memset(data[i], (int)i, sizeof(data[i]));
		iov[i][0] = (struct iovec){ data[i], 100 };
		iov[i][1] = (struct iovec){ data[i] + 100, sizeof(data[i]) - 100 };
		reqs[i] = (struct disk_request){
			.op = DISK_OP_WRITE,
			.flags = i == 7 ? DISK_FUA : 0,
			.off = (uint64_t)i * sizeof(data[i]),
			.len = sizeof(data[i]),
			.iov = iov[i],
			.nr_iov = 2,
			.done = count,
			.arg = &c,
		};
		disk_submit(d, &reqs[i]);
	}
	disk_drain(d);
	assert_int_equal(c.done, NR_REQUESTS);
	assert_int_equal(c.failed, 0);
	memset(data, 0xff, sizeof(data));
	for (unsigned i = 0; i < NR_REQUESTS; i++) {
		reqs[i].op = DISK_OP_READ;
		disk_submit(d, &reqs[i]);
	}
	bad = reqs[0];
	bad.off = UINT64_MAX - 5;
	disk_submit(d, &bad);
	disk_drain(d);
	assert_int_equal(c.done, 2 * NR_REQUESTS + 1);
	assert_int_equal(c.failed, 1);
	for (unsigned i = 0; i < NR_REQUESTS; i++)
		assert_true(is_filled(data[i], sizeof(data[i]), (uint8_t)i));
	reqs[0] = (struct disk_request){ .op = DISK_OP_FLUSH, .done = count, .arg = &c };
	reqs[1] =
		(struct disk_request){ .op = DISK_OP_ZERO, .len = 9000, .done = count, .arg = &c };
	reqs[2] = (struct disk_request){
		.op = DISK_OP_DISCARD, .off = 65536, .len = 65536, .done = count, .arg = &c
	};
	for (unsigned i = 0; i < 3; i++)
		disk_submit(d, &reqs[i]);
	disk_drain(d);
	assert_int_equal(c.failed, 1);
	assert_int_equal(disk_read(d, 0, data, 9001), 0);
	assert_true(is_filled(data[0], 5000, 0) && is_filled(data[1], 4000, 0));
	assert_int_equal(data[1][4000], 1);
	assert_int_equal(disk_close(d, NULL), 0);
	pthread_mutex_destroy(&c.lock);
}

/* --- errors of the host ----------------------------------------------------------------------- */

struct failing {
	struct disk_observer observer;
	enum disk_event event;
	int status;
};

static int fail_event(struct disk_observer *o, enum disk_event event, const char *path,
		      uint64_t off, uint64_t len, const struct iovec *iov, unsigned nr_iov)
{
	struct failing *f = (struct failing *)(void *)o;

	return event == f->event ? f->status : 0;
}

static void test_host_errors(void **state)
{
	struct failing f = { { fail_event }, DISK_EVENT_WRITE, -ENOSPC };
	struct disk_open_opts o = rw;
	struct err err = ERR_INIT;
	struct disk *d;

	must_create("a.raw", 65536);
	o.observer = &f.observer;
	d = must_open("a.raw", &o);
	assert_int_equal(disk_write(d, 0, "x", 1), -ENOSPC);
	f.status = 0;
	assert_int_equal(disk_write(d, 0, "x", 1), 0);
	f = (struct failing){ { fail_event }, DISK_EVENT_SYNC, -EIO };
	assert_int_equal(disk_flush(d), -EIO);
	assert_int_equal(disk_close(d, &err), -EIO);
	assert_non_null(strstr(err_text(&err), "write to 'a.raw'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_raw),	     cmocka_unit_test(test_odd_size),
		cmocka_unit_test(test_open_refused), cmocka_unit_test(test_direct),
		cmocka_unit_test(test_submit),	     cmocka_unit_test(test_host_errors),
	};

	return cmocka_run_group_tests_name("disk", tests, make_dir, remove_dir);
}
