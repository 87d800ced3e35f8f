/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A graph that changes under a guest that writes: snapshots, commit and stream, over bases of several formats and
 * clusters of several sizes. qemu-img judges what comes out. Then the same with the process killed at each change of a
 * file, and with each change failing once: what was flushed must be there, under the name that should have it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "disk_model.h"
#include "sys/thread.h"
#include "unit.h"

#define SIZE   (3 << 20)
#define BLOCK  4096
#define BLOCKS (SIZE / BLOCK)

/* --- a guest ---------------------------------------------------------------------------------- */

/* Sectors hold the number of the write that put them there. Shared with a process that may die. */
struct ledger {
	uint32_t seq;
	uint32_t begun[BLOCKS], done[BLOCKS], flushed[BLOCKS];
	_Atomic unsigned acts; /* steps of the plan that were answered */
};

static void begin_block(struct ledger *l, uint32_t block, uint32_t value)
{
	l->begun[block] = value;
}

/* One random step. Returns 0, or what the disk said. */
static int step(struct disk *d, struct ledger *l, struct rng *g)
{
	uint32_t block = (uint32_t)rng_below(g, BLOCKS), n, before[BLOCKS];
	uint64_t what = rng_below(g, 10);
	uint8_t buf[8 * BLOCK];
	int r;

	n = (uint32_t)MIN(1 + rng_below(g, 8), (uint64_t)(BLOCKS - block));
	if (what == 9) {
		memcpy(before, l->done, sizeof(before));
		r = disk_flush(d);
		if (r == 0)
			memcpy(l->flushed, before, sizeof(before));
		return r;
	}
	l->seq++;
	for (uint32_t i = 0; i < n; i++)
		begin_block(l, block + i, l->seq);
	if (what < 8) {
		for (size_t i = 0; i < n * BLOCK / 4; i++)
			put_le32(buf + 4 * i, l->seq);
		r = disk_write(d, (uint64_t)block * BLOCK, buf, n * BLOCK);
	} else {
		/* Zero counts as any number; what is known is forgotten. */
		for (uint32_t i = 0; i < n; i++)
			l->flushed[block + i] = 0;
		r = disk_zero(d, (uint64_t)block * BLOCK, n * BLOCK, what & 1);
	}
	if (r == 0)
		for (uint32_t i = 0; i < n; i++)
			l->done[block + i] = what < 8 ? l->seq : 0;
	return r;
}

/* Each sector is of a write that was begun, and not older than what was flushed. */
static void judge(struct disk *d, const struct ledger *l, const char *when, bool exact)
{
	uint8_t *buf = mem_new(SIZE);

	assert_int_equal(disk_read(d, 0, buf, SIZE), 0);
	for (uint32_t s = 0; s < SIZE / 512; s++) {
		uint32_t v = get_le32(buf + s * 512), b = s * 512 / BLOCK;
		uint32_t least = exact ? l->done[b] : l->flushed[b];

		if (memcmp(buf + s * 512, buf + s * 512 + 4, 508) || v > l->begun[b] || v < least ||
		    (exact && v != least))
			fail_msg("%s: sector %u has %u, flushed %u, done %u, begun %u", when, s, v,
				 l->flushed[b], l->done[b], l->begun[b]);
	}
	free(buf);
}

struct guest {
	struct thread thread;
	struct disk *disk;
	struct ledger *ledger;
	struct rng rng;
	_Atomic bool stop, may_fail;
	_Atomic unsigned steps;
	int r;
};

static void guest_run(void *arg)
{
	struct guest *g = arg;

	while (!g->stop && (g->r == 0 || g->may_fail)) {
		g->r = step(g->disk, g->ledger, &g->rng);
		g->steps++;
	}
}

static void guest_begin(struct guest *g, struct disk *d, struct ledger *l, uint64_t seed,
			bool may_fail)
{
	*g = (struct guest){ .disk = d, .ledger = l, .rng = { seed * 2 + 1 } };
	g->may_fail = may_fail;
	assert_int_equal(thread_start(&g->thread, "guest", guest_run, g, NULL), 0);
}

/* After so many more steps. */
static void guest_end(struct guest *g, unsigned more)
{
	unsigned until = g->steps + more;

	while (g->steps < until && g->r == 0)
		sched_yield();
	g->stop = true;
	thread_join(&g->thread);
}

/* --- chains ----------------------------------------------------------------------------------- */

struct shape {
	const char *base, *base_options; /* format; cluster_size=... */
	const char *cluster;		 /* of the images above */
};

static struct disk *open_top(const char *path, const char *format, struct disk_observer *observer)
{
	const struct disk_open_opts o = {
		.flags = DISK_RDWR | DISK_UNMAP | DISK_NO_FLUSH,
		.format = format,
		.cache_bytes = 65536,
		.observer = observer,
	};
	struct err err = ERR_INIT;
	struct disk *d = NULL;

	if (disk_open(path, &o, &d, &err) < 0)
		fail_msg("%s", err_text(&err));
	return d;
}

static int snapshot(struct disk *d, const char *path, const char *cluster, struct err *err)
{
	const struct disk_option o = { "cluster_size", cluster };

	return disk_snapshot_external(d, path, &o, 1, NULL, err);
}

/* base <- mid <- top, each with something of its own. */
static struct disk *make_chain(const struct shape *s, struct ledger *l, uint64_t seed)
{
	struct disk_option options[] = { { "cluster_size", s->base_options } };
	struct disk_create_opts c = { .size = SIZE,
				      .options = options,
				      .nr_options = s->base_options ? 1 : 0 };
	struct rng g = { seed * 2 + 1 };
	struct err err = ERR_INIT;
	struct disk *d;

	ignore_result(system("rm -f base mid top new"));
	memset(l, 0, sizeof(*l));
	if (disk_create("base", s->base, &c, &err) < 0)
		fail_msg("%s", err_text(&err));
	d = open_top("base", s->base, NULL);
	for (int i = 0; i < 40; i++)
		assert_int_equal(step(d, l, &g), 0);
	if (snapshot(d, "mid", "65536", &err) < 0)
		fail_msg("%s", err_text(&err));
	for (int i = 0; i < 40; i++)
		assert_int_equal(step(d, l, &g), 0);
	if (snapshot(d, "top", s->cluster, &err) < 0)
		fail_msg("%s", err_text(&err));
	for (int i = 0; i < 40; i++)
		assert_int_equal(step(d, l, &g), 0);
	judge(d, l, "chain", true);
	return d;
}

static int job(struct disk *d, enum disk_job_kind kind, const char *top, const char *base,
	       struct err *err)
{
	const struct disk_job_opts o = { .kind = kind, .top = top, .base = base };
	struct disk_job_status st;
	int r = disk_job_start(d, &o, err);

	if (r < 0)
		return r;
	assert_int_equal(disk_job_wait(d, UINT64_MAX, &st), 0);
	if (st.state == DISK_JOB_DONE)
		return st.done == st.total ? 0 : -EBADE;
	return err_set(err, -EIO, "%s", st.error);
}

static int act_snapshot(struct disk *d, struct err *err)
{
	return snapshot(d, "new", "65536", err);
}

static int act_commit(struct disk *d, struct err *err)
{
	return job(d, DISK_JOB_COMMIT, NULL, NULL, err);
}

static int act_commit_all(struct disk *d, struct err *err)
{
	return job(d, DISK_JOB_COMMIT, NULL, "base", err);
}

static int act_commit_mid(struct disk *d, struct err *err)
{
	return job(d, DISK_JOB_COMMIT, "mid", NULL, err);
}

static int act_stream(struct disk *d, struct err *err)
{
	return job(d, DISK_JOB_STREAM, NULL, NULL, err);
}

static int act_stream_part(struct disk *d, struct err *err)
{
	return job(d, DISK_JOB_STREAM, NULL, "base", err);
}

static const struct plan {
	const char *name;
	int (*act)(struct disk *d, struct err *err);
	const char *chain[4];  /* afterwards, from the top */
	const char *before;    /* the name that is right until the answer */
	const char *or_before; /* the same, if it can be opened */
} plans[] = {
	{ "snapshot", act_snapshot, { "new", "top", "mid", "base" }, "top", "new" },
	{ "commit", act_commit, { "mid", "base" }, "top", NULL },
	{ "commit-all", act_commit_all, { "base" }, "top", NULL },
	{ "commit-mid", act_commit_mid, { "top", "base" }, "top", NULL },
	{ "stream", act_stream, { "top" }, "top", NULL },
	{ "stream-part", act_stream_part, { "top", "base" }, "top", NULL },
};

static const struct shape shapes[] = {
	{ "raw", NULL, "65536" },  { "qcow2", "65536", "4096" }, { "qcow2", "512", "65536" },
	{ "qcow2", "2M", "4096" }, { "vhdx", NULL, "65536" },	 { "vhd", NULL, "65536" },
	{ "vmdk", NULL, "65536" },
};

static void check_chain(struct disk *d, const struct plan *p)
{
	struct disk_info info;
	unsigned depth = 0;

	for (; depth < 4 && p->chain[depth]; depth++) {
		assert_int_equal(disk_info(d, depth, &info, NULL), 0);
		assert_string_equal(info.path, p->chain[depth]);
		if (depth < 3 && p->chain[depth + 1]) {
			assert_non_null(info.backing);
			assert_string_equal(info.backing, p->chain[depth + 1]);
		} else {
			assert_null(info.backing);
		}
		disk_info_done(&info);
	}
	assert_int_equal(disk_info(d, depth, &info, NULL), -ENOENT);
}

/* By others, when nobody has it open: sound, and the same. */
static void check_by_qemu(const struct plan *p, const struct shape *s, const struct ledger *l)
{
	uint8_t *model = mem_new(SIZE);

	for (size_t i = 0; i < SIZE / 4; i++)
		put_le32(model + 4 * i, l->done[i * 4 / BLOCK]);
	assert_int_equal(write_file("model.raw", model, SIZE), 0);
	free(model);
	if (!strcmp(p->chain[0], "base")) {
		assert_int_equal(shell("qemu-img compare -f raw -F %s model.raw base",
				       !strcmp(s->base, "vhd") ? "vpc" : s->base),
				 0);
		/* The former top is empty: it shows the same. */
		assert_int_equal(shell("qemu-img compare -f raw -F qcow2 model.raw top"), 0);
		assert_int_equal(shell("qemu-img check -f qcow2 top"), 0);
		return;
	}
	assert_int_equal(shell("qemu-img check -f qcow2 %s", p->chain[0]), 0);
	assert_int_equal(shell("qemu-img compare -f raw -F qcow2 model.raw %s", p->chain[0]), 0);
	if (!strcmp(s->base, "qcow2"))
		assert_int_equal(shell("qemu-img check -f qcow2 base"), 0);
}

/* --- as it should be -------------------------------------------------------------------------- */

static void test_plans(void **state)
{
	struct ledger *l = mem_new(sizeof(*l));

	for (size_t k = 0; k < ARRAY_SIZE(shapes); k++) {
		for (size_t i = 0; i < ARRAY_SIZE(plans); i++) {
			struct disk *d = make_chain(&shapes[k], l, k * 10 + i + 1);
			struct err err = ERR_INIT;
			struct guest g;

			guest_begin(&g, d, l, i + 100, false);
			if (plans[i].act(d, &err) < 0)
				fail_msg("%s on %s: %s", plans[i].name, shapes[k].base,
					 err_text(&err));
			check_chain(d, &plans[i]);
			guest_end(&g, 30);
			assert_int_equal(g.r, 0);
			judge(d, l, plans[i].name, true);
			assert_int_equal(disk_close(d, NULL), 0);
			check_by_qemu(&plans[i], &shapes[k], l);
		}
	}
	free(l);
}

/* What an image holds when it becomes a backing file stays; and it is left as one that is not in use. */
static void test_snapshot_keeps(void **state)
{
	struct ledger *l = mem_new(sizeof(*l)), *then = mem_new(sizeof(*then));
	struct disk *d = make_chain(&shapes[1], l, 7), *old = NULL;
	const struct disk_open_opts read_only = { .format = "qcow2" };
	struct rng g = { 3 };

	*then = *l;
	assert_int_equal(snapshot(d, "new", "65536", NULL), 0);
	for (int i = 0; i < 50; i++)
		assert_int_equal(step(d, l, &g), 0);
	/* Others may read it meanwhile, and not write it. */
	assert_int_equal(shell("qemu-img check -f qcow2 top"), 0);
	assert_int_equal(disk_open("top", &read_only, &old, NULL), 0);
	judge(old, then, "old", true);
	assert_int_equal(disk_close(old, NULL), 0);
	assert_int_not_equal(shell("qemu-io -f qcow2 -c 'write 0 4k' top"), 0);
	judge(d, l, "new", true);
	assert_int_equal(disk_close(d, NULL), 0);
	free(then);
	free(l);
}

static void test_refusals(void **state)
{
	struct ledger *l = mem_new(sizeof(*l));
	struct disk *d = make_chain(&shapes[0], l, 9);
	struct disk_job_opts slow = { .kind = DISK_JOB_STREAM, .bps = 1 };
	struct disk_job_status st;
	struct err err = ERR_INIT;
	struct guest g;

	assert_int_equal(snapshot(d, "mid", "65536", &err), -EEXIST);
	assert_int_equal(snapshot(d, "none/new", "65536", &err), -ENOENT);
	assert_int_equal(snapshot(d, "new", "1000", &err), -EINVAL);
	assert_int_not_equal(access("new", F_OK), 0);
	assert_int_equal(job(d, DISK_JOB_COMMIT, "base", NULL, &err), -EINVAL);
	assert_non_null(strstr(err_text(&err), "has no backing file"));
	assert_int_equal(job(d, DISK_JOB_COMMIT, "mid", "top", &err), -EINVAL);
	assert_int_equal(job(d, DISK_JOB_COMMIT, NULL, "model.raw", &err), -ENOENT);
	assert_int_equal(disk_job_cancel(d, &err), -ESRCH);
	disk_job_status(d, &st);
	assert_int_equal(st.state, DISK_JOB_NONE);

	/* One at a time; nothing else changes the graph meanwhile; it can be cancelled, and made faster. */
	assert_int_equal(disk_job_start(d, &slow, &err), 0);
	do
		disk_job_status(d, &st);
	while (!st.done); /* a piece is copied, and paid for with a day */
	guest_begin(&g, d, l, 5, false);
	assert_int_equal(disk_job_start(d, &slow, &err), -EBUSY);
	assert_non_null(strstr(err_text(&err), "a stream is going on"));
	assert_int_equal(snapshot(d, "new", "65536", &err), -EBUSY);
	assert_int_equal(disk_resize(d, SIZE * 2, false, &err), -EBUSY);
	assert_int_equal(disk_snapshot_create(d, "s", 1, &err), -EBUSY);
	guest_end(&g, 20);
	disk_job_status(d, &st);
	assert_int_equal(st.state, DISK_JOB_RUNNING);
	assert_int_equal(st.bps, 1);
	assert_in_range(st.total, SIZE, 100 * SIZE);
	assert_in_range(st.done, 0, st.total - 1);
	assert_int_equal(disk_job_cancel(d, &err), 0);
	assert_int_equal(disk_job_wait(d, UINT64_MAX, &st), 0);
	assert_int_equal(st.state, DISK_JOB_CANCELLED);
	judge(d, l, "cancelled", true);
	slow.kind = DISK_JOB_COMMIT;
	assert_int_equal(disk_job_start(d, &slow, &err), 0);
	assert_int_equal(disk_job_set_speed(d, 0, &err), 0);
	assert_int_equal(disk_job_wait(d, UINT64_MAX, &st), 0);
	assert_int_equal(st.state, DISK_JOB_DONE);
	judge(d, l, "faster", true);
	/* Closing ends a job. */
	slow.kind = DISK_JOB_STREAM;
	assert_int_equal(disk_job_start(d, &slow, &err), 0);
	assert_int_equal(disk_close(d, NULL), 0);
	assert_int_equal(shell("qemu-img check -f qcow2 mid"), 0);
	free(l);
}

/* --- as it should not be ---------------------------------------------------------------------- */

struct saboteur {
	struct disk_observer observer;
	_Atomic uint64_t left; /* changes until something happens */
	bool kill;
	_Atomic bool armed;
};

static int sabotage(struct disk_observer *o, enum disk_event event, const char *path, uint64_t off,
		    uint64_t len, const struct iovec *iov, unsigned nr_iov)
{
	struct saboteur *s = container_of(o, struct saboteur, observer);

	if (!s->armed || s->left-- != 1)
		return 0;
	if (s->kill)
		_exit(77);
	s->armed = false;
	return -EIO;
}

/* Lets @left changes happen. Returns the status of the process: 0, 77 or a failure. */
static int run_killed(const struct plan *p, struct ledger *l, uint64_t left, uint64_t seed)
{
	struct saboteur s = { .observer = { sabotage }, .left = left, .kill = true };
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct disk *d = open_top("top", "qcow2", &s.observer);
		struct err err = ERR_INIT;
		struct guest g;
		int r;

		guest_begin(&g, d, l, seed, false);
		s.armed = true;
		r = p->act(d, &err);
		if (r == 0)
			l->acts = 1;
		else
			fprintf(stderr, "# %s: %s\n", p->name, err_text(&err));
		guest_end(&g, 3);
		s.armed = false; /* what closing does is tested elsewhere */
		_exit(r == 0 && g.r == 0 && disk_close(d, NULL) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* The disk under the name that should have it. */
static void judge_after(const struct plan *p, const struct shape *s, const struct ledger *l,
			uint64_t left)
{
	const char *name = l->acts ? p->chain[0] : p->before;
	const struct disk_open_opts o = { .format = "qcow2" };
	struct disk *d = NULL;
	char when[64];

	snprintf(when, sizeof(when), "%s on %s, killed at change %llu", p->name, s->base,
		 (unsigned long long)left);
	if (!l->acts && p->or_before && disk_open(p->or_before, &o, &d, NULL) == 0) {
		disk_closep(&d);
		name = p->or_before;
	}
	/* The former top's name stays right. */
	if (strcmp(p->before, "top") == 0 && !p->or_before)
		name = "top";
	/* It would have to write to a VHDX base before it looks. */
	if (strcmp(s->base, "vhdx") != 0)
		assert_int_equal(shell("qemu-img check -f qcow2 %s; test $? = 0 -o $? = 3", name),
				 0);
	d = open_top(name, "qcow2", NULL);
	judge(d, l, when, false);
	assert_int_equal(disk_close(d, NULL), 0);
}

static void test_kills(void **state)
{
	static const size_t some[] = { 0, 1, 4 };
	struct ledger *l =
		mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct ledger *start = mem_new(sizeof(*start));
	const char *all = getenv("DISK_KILLS");

	assert_true(l != MAP_FAILED);
	for (size_t k = 0; k < ARRAY_SIZE(some); k++) {
		const struct shape *s = &shapes[some[k]];

		for (size_t i = 0; i < ARRAY_SIZE(plans); i++) {
			uint64_t stride = all ? 1 : 23, left = 1 + (i + k) % stride;
			int status = 77;

			assert_int_equal(disk_close(make_chain(s, start, i + 1), NULL), 0);
			memcpy(start->flushed, start->done, sizeof(start->done));
			assert_int_equal(system("for f in base mid top; do cp $f $f.0; done"), 0);
			for (; status == 77; left += stride) {
				*l = *start;
				assert_int_equal(system("rm -f new; for f in base mid top; do "
							"cp $f.0 $f; done"),
						 0);
				status = run_killed(&plans[i], l, left, i + left);
				if (status != 77 && status != 0)
					fail_msg("%s: status %d", plans[i].name, status);
				judge_after(&plans[i], s, l, left);
			}
		}
	}
	munmap(l, sizeof(*l));
	free(start);
}

/* One change fails: the job or the guest is told, the disk is right, and the next attempt succeeds. */
static void test_errors(void **state)
{
	struct ledger *l = mem_new(sizeof(*l));

	for (size_t i = 0; i < ARRAY_SIZE(plans); i++) {
		bool again = true;

		for (uint64_t left = 1; again; left += 13) {
			struct saboteur s = { .observer = { sabotage }, .left = left };
			struct err err = ERR_INIT;
			struct disk *d;
			int r;

			assert_int_equal(disk_close(make_chain(&shapes[1], l, i + 1), NULL), 0);
			d = open_top("top", "qcow2", &s.observer);
			s.armed = true;
			r = plans[i].act(d, &err);
			again = !s.armed;
			s.armed = false;
			judge(d, l, plans[i].name, true);
			if (r < 0) {
				assert_non_null(strstr(err_text(&err), "error"));
				err = (struct err)ERR_INIT;
				if (plans[i].act(d, &err) < 0)
					fail_msg("%s, change %llu failed, again: %s", plans[i].name,
						 (unsigned long long)left, err_text(&err));
			}
			judge(d, l, plans[i].name, true);
			check_chain(d, &plans[i]);
			assert_int_equal(disk_close(d, NULL), 0);
			check_by_qemu(&plans[i], &shapes[1], l);
		}
	}
	free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plans),	 cmocka_unit_test(test_snapshot_keeps),
		cmocka_unit_test(test_refusals), cmocka_unit_test(test_kills),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests_name("disk_graph", tests, make_dir, remove_dir);
}
