/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many requests at once against a qcow2 image, by io_uring and workers: several submitters, each with a part of
 * the disk of its own and a model of it, while all share clusters at the borders. qemu-img judges the image.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "disk_model.h"
#include "sys/thread.h"
#include "unit.h"

#define SUBMITTERS 4
#define PART	   (1 << 20)
#define DEPTH	   8
#define ROUNDS	   150

struct submitter {
	struct thread thread;
	struct disk *disk;
	struct rng rng;
	uint64_t base; /* of its part; not aligned to anything but sectors */
	uint8_t *model;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned in_flight, failed;
	bool wrong;
};

struct slot {
	struct disk_request req;
	struct submitter *s;
	struct iovec iov[2];
	uint8_t buf[40960];
	uint64_t off, len; /* in the part */
};

static void done(struct disk_request *req, int status)
{
	struct slot *slot = req->arg;
	struct submitter *s = slot->s;
	mutex_guard(&s->lock);

	if (status < 0)
		s->failed++;
	if (req->op == DISK_OP_READ && status == 0 &&
	    memcmp(slot->buf, s->model + slot->off, slot->len) != 0)
		s->wrong = true;
	s->in_flight--;
	pthread_cond_signal(&s->changed);
}

static void start(struct submitter *s, struct slot *slot, unsigned i)
{
	uint64_t what = rng_below(&s->rng, 12);
	/* Each slot has sectors of its own in a round, so that the order of a round does not matter. */
	uint64_t lane = PART / DEPTH;

	slot->s = s;
	slot->len = (1 + rng_below(&s->rng, sizeof(slot->buf) / 512)) * 512;
	slot->off = i * lane + rng_below(&s->rng, (lane - slot->len) / 512) * 512;
	slot->iov[0] = (struct iovec){ slot->buf, 512 };
	slot->iov[1] = (struct iovec){ slot->buf + 512, slot->len - 512 };
	slot->req = (struct disk_request){
		.op = what < 5	  ? DISK_OP_WRITE
		      : what < 9  ? DISK_OP_READ
		      : what < 11 ? DISK_OP_ZERO
				  : DISK_OP_FLUSH,
		.flags = what == 0   ? DISK_FUA
			 : what == 9 ? DISK_MAY_UNMAP
				     : 0,
		.off = s->base + slot->off,
		.len = slot->len,
		.iov = slot->iov,
		.nr_iov = 2,
		.done = done,
		.arg = slot,
	};
	if (slot->req.op == DISK_OP_WRITE) {
		memset(slot->buf, (int)rng_next(&s->rng), slot->len);
		memcpy(s->model + slot->off, slot->buf, slot->len);
	} else if (slot->req.op == DISK_OP_ZERO) {
		memset(s->model + slot->off, 0, slot->len);
	}
}

static void submit_all(void *arg)
{
	struct submitter *s = arg;
	struct slot *slots = mem_new_n(DEPTH, sizeof(*slots));

	for (unsigned round = 0; round < ROUNDS && !s->wrong; round++) {
		s->in_flight = DEPTH;
		for (unsigned i = 0; i < DEPTH; i++)
			start(s, &slots[i], i);
		for (unsigned i = 0; i < DEPTH; i++)
			disk_submit(s->disk, &slots[i].req);
		mutex_lock(&s->lock);
		while (s->in_flight)
			cond_wait(&s->changed, &s->lock);
		mutex_unlock(&s->lock);
	}
	free(slots);
}

static void run(const char *options, unsigned flags)
{
	const struct disk_open_opts o = {
		.flags = DISK_RDWR | DISK_UNMAP | flags,
		.format = "qcow2",
		.cache_bytes = 65536,
	};
	struct submitter all[SUBMITTERS] = { 0 };
	uint64_t size = (uint64_t)SUBMITTERS * PART + 65536;
	uint8_t *model = mem_new(size);
	struct disk *d = NULL;
	struct err err = ERR_INIT;

	assert_int_equal(shell("qemu-img create -f qcow2 -o '%s' i %llu", options,
			       (unsigned long long)size),
			 0);
	if (disk_open("i", &o, &d, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(disk_async_start(d, 3, NULL), 0);
	for (unsigned i = 0; i < SUBMITTERS; i++) {
		struct submitter *s = &all[i];

		s->disk = d;
		s->rng.s = i * 7 + 1;
		s->base = (uint64_t)i * PART + 512 * (i + 1);
		s->model = model + s->base;
		mutex_init(&s->lock);
		cond_init(&s->changed);
		assert_int_equal(thread_start(&s->thread, "submit", submit_all, s, NULL), 0);
	}
	for (unsigned i = 0; i < SUBMITTERS; i++)
		thread_join(&all[i].thread);
	disk_drain(d);
	for (unsigned i = 0; i < SUBMITTERS; i++) {
		assert_false(all[i].wrong);
		assert_int_equal(all[i].failed, 0);
	}
	assert_int_equal(disk_close(d, NULL), 0);
	assert_int_equal(write_file("model.raw", model, size), 0);
	assert_int_equal(shell("qemu-img check -f qcow2 i"), 0);
	assert_int_equal(shell("qemu-img compare -f raw -F qcow2 model.raw i"), 0);
	free(model);
}

static void test_async(void **state)
{
	run("cluster_size=65536", DISK_NO_FLUSH);
	run("cluster_size=4096", DISK_NO_FLUSH);
	run("cluster_size=16384,extended_l2=on", DISK_NO_FLUSH);
	run("cluster_size=65536", DISK_NO_FLUSH | DISK_DIRECT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_async),
	};

	return cmocka_run_group_tests_name("disk_async", tests, make_dir, remove_dir);
}
