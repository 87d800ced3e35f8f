/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random operations on qcow2 images of every kind against a plain array; qemu-img then judges the image. The seed of
 * a run is in its failure; DISK_SEED and DISK_ROUNDS repeat or prolong it.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "disk_model.h"
#include "unit.h"

#define SIZE_MAX_MODEL (6 << 20)
#define SNAPSHOTS      4

struct world {
	struct rng rng;
	uint64_t seed;
	const char *options; /* of the image */
	bool backing, snapshots_ok, resize_ok;
	struct disk *disk;
	uint8_t *model, *got;
	uint64_t size;
	struct {
		bool used;
		uint8_t *model;
		uint64_t size;
	} snap[SNAPSHOTS];
	char trace[200];
};

#define must(w, r) must_((w), (r), #r)

static void must_(const struct world *w, int r, const char *what)
{
	if (r != 0)
		fail_msg("seed %llu, options '%s', %s: %s gives %d", (unsigned long long)w->seed,
			 w->options, w->trace, what, r);
}

static void open_it(struct world *w)
{
	const struct disk_open_opts o = {
		.flags = DISK_RDWR | DISK_UNMAP | DISK_NO_FLUSH,
		.format = "qcow2",
		/* So small that tables have to make room for each other. */
		.cache_bytes = 8192,
	};
	struct err err = ERR_INIT;

	if (disk_open("i.qcow2", &o, &w->disk, &err) < 0)
		fail_msg("seed %llu, options '%s': %s", (unsigned long long)w->seed, w->options,
			 err_text(&err));
}

static void pick(struct world *w, uint64_t *off, uint64_t *len)
{
	uint64_t cluster = disk_cluster(w->disk);

	*off = rng_below(&w->rng, w->size);
	*len = rng_below(&w->rng, 8) ? 1 + rng_below(&w->rng, 3 * cluster)
				     : 1 + rng_below(&w->rng, w->size);
	if (rng_below(&w->rng, 2)) {
		*off &= ~(cluster - 1);
		*len = (*len + cluster - 1) & ~(cluster - 1);
	}
	*len = *len < w->size - *off ? *len : w->size - *off;
}

static void op_write(struct world *w, uint64_t off, uint64_t len)
{
	uint8_t with = (uint8_t)rng_next(&w->rng);

	for (uint64_t i = 0; i < len; i++)
		w->model[off + i] = (uint8_t)(with + (i >> 9));
	must(w, disk_write(w->disk, off, w->model + off, len));
}

static void op_read(struct world *w, uint64_t off, uint64_t len)
{
	must(w, disk_read(w->disk, off, w->got, len));
	for (uint64_t i = 0; i < len; i++)
		if (w->got[i] != w->model[off + i])
			fail_msg("seed %llu, options '%s', %s: byte %llu is %u, not %u",
				 (unsigned long long)w->seed, w->options, w->trace,
				 (unsigned long long)(off + i), w->got[i], w->model[off + i]);
}

/* A discard leaves what it likes in clusters it touches in part, and either content or zeros in others. */
static void op_discard(struct world *w, uint64_t off, uint64_t len)
{
	must(w, disk_discard(w->disk, off, len));
	must(w, disk_read(w->disk, off, w->got, len));
	for (uint64_t i = 0; i < len; i++) {
		if (w->got[i] != w->model[off + i] && w->got[i])
			fail_msg("seed %llu, options '%s', %s: byte %llu after a discard",
				 (unsigned long long)w->seed, w->options, w->trace,
				 (unsigned long long)(off + i));
		w->model[off + i] = w->got[i];
	}
}

static void op_packed(struct world *w, uint64_t off)
{
	uint32_t cluster = disk_cluster(w->disk);
	uint8_t *in = mem_new(cluster), *out = mem_new(cluster);
	size_t n = 0;
	int r;

	off &= ~(uint64_t)(cluster - 1);
	memset(in, (int)rng_next(&w->rng), cluster);
	in[rng_below(&w->rng, cluster)] ^= 1;
	if (off + cluster > w->size)
		memset(in + (w->size - off), 0, cluster - (w->size - off));
	must(w, disk_pack(w->disk, in, out, &n));
	if (n) {
		r = disk_write_packed(w->disk, off, out, n);
		if (r != -EEXIST) {
			must(w, r);
			memcpy(w->model + off, in,
			       cluster < w->size - off ? cluster : w->size - off);
		}
	}
	free(in);
	free(out);
}

static void op_snapshot(struct world *w)
{
	unsigned i = (unsigned)rng_below(&w->rng, SNAPSHOTS);
	char name[16];

	snprintf(name, sizeof(name), "s%u", i);
	/* Many compressed clusters in one cluster, and counts of four bits. */
	bool narrow = strstr(w->options, "refcount_bits=4");
	int r;

	if (!w->snap[i].used) {
		r = disk_snapshot_create(w->disk, name, 1, NULL);
		if (r == -ERANGE && narrow)
			return;
		must(w, r);
		memcpy(w->snap[i].model, w->model, w->size);
		w->snap[i].size = w->size;
		w->snap[i].used = true;
	} else if (rng_below(&w->rng, 2)) {
		r = disk_snapshot_apply(w->disk, name, NULL);
		if (r == -ERANGE && narrow)
			return;
		must(w, r);
		w->size = w->snap[i].size;
		memcpy(w->model, w->snap[i].model, w->size);
		assert_int_equal(disk_size(w->disk), w->size);
	} else {
		must(w, disk_snapshot_delete(w->disk, name, NULL));
		w->snap[i].used = false;
	}
}

static void op_resize(struct world *w)
{
	uint64_t size = (4096 + rng_below(&w->rng, SIZE_MAX_MODEL - 8192)) & ~UINT64_C(511);

	must(w, disk_resize(w->disk, size, true, NULL));
	if (size > w->size)
		memset(w->model + w->size, 0, size - w->size);
	w->size = size;
}

static void judge(struct world *w)
{
	must(w, disk_close(w->disk, NULL));
	w->disk = NULL;
	must(w, write_file("model.raw", w->model, w->size));
	must(w, shell("qemu-img check -f qcow2 i.qcow2"));
	must(w, shell("qemu-img compare -f raw -F qcow2 model.raw i.qcow2"));
	for (unsigned i = 0; i < SNAPSHOTS; i++) {
		if (!w->snap[i].used)
			continue;
		/* A snapshot of another size is read with the present one by qemu-img. */
		if (w->snap[i].size != w->size || w->backing)
			continue;
		must(w, write_file("model.raw", w->snap[i].model, w->snap[i].size));
		must(w, shell("qemu-img convert -l snapshot.name=s%u -O raw i.qcow2 snap.raw && "
			      "cmp model.raw snap.raw",
			      i));
	}
	open_it(w);
}

/* With DISK_EACH=1: which step does harm. Also makes each step start with nothing in memory to write. */
static void judge_each(struct world *w)
{
	struct disk_check c = { 0 };

	if (!getenv("DISK_EACH"))
		return;
	must(w, disk_check(w->disk, &c, NULL));
	must(w, (int)c.errors);
	must(w, (int)c.leaks);
}

static void step(struct world *w, unsigned n)
{
	uint64_t off, len, what = rng_below(&w->rng, 100);

	pick(w, &off, &len);
	snprintf(w->trace, sizeof(w->trace), "step %u (%llu, 0x%llx, 0x%llx)", n,
		 (unsigned long long)what, (unsigned long long)off, (unsigned long long)len);
	if (what < 40)
		op_write(w, off, len);
	else if (what < 55)
		op_read(w, off, len);
	else if (what < 67) {
		must(w, disk_zero(w->disk, off, len, what & 1));
		memset(w->model + off, 0, len);
	} else if (what < 75)
		op_discard(w, off, len);
	else if (what < 82)
		op_packed(w, off);
	else if (what < 90 && w->snapshots_ok)
		op_snapshot(w);
	else if (what < 93 && w->resize_ok)
		op_resize(w);
	else if (what < 97)
		must(w, disk_flush(w->disk));
	else {
		must(w, disk_close(w->disk, NULL));
		open_it(w);
	}
}

static void run_world(const char *options, bool backing, uint64_t seed, unsigned steps)
{
	struct world w = { .rng = { seed * 2 + 1 }, .seed = seed, .options = options };

	w.backing = backing;
	w.snapshots_ok = !strstr(options, "refcount_bits=1,");
	w.resize_ok = !strstr(options, "compat=0.10");
	w.model = mem_new(SIZE_MAX_MODEL);
	w.got = mem_new(SIZE_MAX_MODEL);
	w.size = (SIZE_MAX_MODEL / 2 + rng_below(&w.rng, SIZE_MAX_MODEL / 2)) & ~UINT64_C(511);
	for (unsigned i = 0; i < SNAPSHOTS; i++)
		w.snap[i].model = mem_new(SIZE_MAX_MODEL);
	snprintf(w.trace, sizeof(w.trace), "start");
	if (backing) {
		/* Shorter than what lies on it. */
		uint64_t n = w.size / 2 & ~UINT64_C(511);

		for (uint64_t i = 0; i < n; i++)
			w.model[i] = (uint8_t)((i >> 9) * 7 + 1);
		must(&w, write_file("base.raw", w.model, n));
	}
	must(&w, shell("qemu-img create -f qcow2 -o '%s' %s i.qcow2 %llu", options,
		       backing ? "-b base.raw -F raw" : "", (unsigned long long)w.size));
	open_it(&w);
	for (unsigned n = 0; n < steps; n++) {
		step(&w, n);
		judge_each(&w);
		if (n % 100 == 99)
			judge(&w);
	}
	judge(&w);
	op_read(&w, 0, w.size);
	must(&w, disk_close(w.disk, NULL));
	for (unsigned i = 0; i < SNAPSHOTS; i++)
		free(w.snap[i].model);
	free(w.model);
	free(w.got);
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void test_random(void **state)
{
	static const char *const options[] = {
		"cluster_size=65536",
		"cluster_size=512",
		"cluster_size=512,refcount_bits=64",
		"cluster_size=2M",
		"compat=0.10,cluster_size=4096",
		"cluster_size=65536,extended_l2=on",
		"cluster_size=16384,extended_l2=on,refcount_bits=8",
		"refcount_bits=1,cluster_size=1024",
		"cluster_size=4096,compression_type=zstd,refcount_bits=4",
		"cluster_size=8192,lazy_refcounts=on",
	};
	uint64_t seed = number_from("DISK_SEED", 1), rounds = number_from("DISK_ROUNDS", 1);

	for (uint64_t k = 0; k < rounds; k++)
		for (size_t i = 0; i < ARRAY_SIZE(options); i++)
			run_world(options[i], (seed + k + i) % 3 == 0, seed + k, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests_name("disk_random", tests, make_dir, remove_dir);
}
