// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Looking at translations of a little program: counts, classes, both columns; counting switched on and off; the
 * engine changed in the middle; names for perf.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpu/dbt/inspect.h"
#include "engine.h"
#include "guest.h"
#include "json/json.h"
#include "unit.h"

enum { ROUNDS = 1000, LOOP = G_CODE + 5, PUSHF = LOOP + 4, OUT = LOOP + 18 };

/* A loop with a sensitive instruction and a store, and a privileged one behind it. */
static struct guest *program(void)
{
	struct guest *g = guest_new(1, NULL);

	guest_long(g, G_CS64);
	GUEST_CODE(g, G_CODE, 0xb9, 0xe8, 0x03, 0, 0,		   /* mov $1000,%ecx */
		   0x48, 0x83, 0xc0, 0x03,			   /* 1: add $3,%rax */
		   0x9c, 0x5a,					   /* pushf; pop %rdx */
		   0x48, 0x89, 0x04, 0x25, 0x00, 0x90, 0x00, 0x00, /* mov %rax,0x9000 */
		   0xff, 0xc9, 0x75, 0xee,			   /* dec %ecx; jnz 1b */
		   0xe6, G_PORT_END,				   /* out %al,$END */
		   0xeb, 0xe5);					   /* jmp G_CODE */
	g->st.gpr[CPU_RAX] = 0;
	g->st.gpr[CPU_RSP] = G_STACK0;
	cpu_set_state(g->cpu, &g->st);
	return g;
}

static void run(struct guest *g)
{
	assert_int_equal(cpu_run(g->cpu, &g->err), CPU_EXIT_KICKED);
	cpu_get_state(g->cpu, &g->st);
}

static struct json *listing(struct guest *g, const struct cpu_hot_query *q)
{
	struct strbuf out = { 0 };
	struct json *j = NULL;

	if (cpu_group_hot_blocks(g->grp, q, &out, &g->err) < 0 ||
	    json_parse(strbuf_str(&out), &j, &g->err) < 0)
		fail_msg("%s: %s", err_text(&g->err), strbuf_cstr(&out));
	strbuf_done(&out);
	return j;
}

/* Executions of the instruction at @addr, in all blocks that hold it. */
static uint64_t executed(const struct json *list, uint64_t addr, const char *class)
{
	const struct json *blocks = json_get(list, "blocks"), *b, *i;
	uint64_t n = 0, v, at;
	char text[32];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)addr);
	for (size_t k = 0; (b = json_at(blocks, k)); k++) {
		for (size_t m = 0; (i = json_at(json_get(b, "insns"), m)); m++) {
			assert_int_equal(str_parse_u64(str_of(json_str(json_get(i, "address"))), 0,
						       UINT64_MAX, &at, NULL),
					 0);
			if (at != addr)
				continue;
			assert_string_equal(json_str(json_get(i, "class")), class);
			assert_non_null(json_str(json_at(json_get(i, "host"), 0)));
			assert_true(json_u64(json_get(i, "executed"), &v));
			n += v;
		}
	}
	return n;
}

static void test_counts(void **state)
{
	const struct cpu_hot_query q = { .top = 100, .json = true };
	struct cpu_hot_query one = { .top = 100, .has_address = true, .address = OUT };
	struct strbuf text = { 0 };
	struct cpu_code_stats st;
	struct guest *g = program();
	const struct json *b;
	struct json *j;
	uint64_t n;

	assert_int_equal(cpu_group_count_blocks(g->grp, true, &g->err), 0);
	run(g);
	assert_int_equal(g->st.gpr[CPU_RAX], 3 * ROUNDS);
	j = listing(g, &q);
	/* The first rounds may have been the interpreter's. */
	n = executed(j, LOOP, "innocuous");
	assert_true(n >= ROUNDS - 10 && n <= ROUNDS);
	assert_true(executed(j, PUSHF, "sensitive") >= ROUNDS - 10);
	assert_true(executed(j, OUT, "privileged") <= 1);
	/* The hottest first. */
	b = json_at(json_get(j, "blocks"), 0);
	assert_true(json_u64(json_get(b, "insns_executed"), &n) && n >= 6 * (ROUNDS - 10) / 2);
	json_free(j);

	cpu_group_code_stats(g->grp, &st);
	assert_true(st.is_counting && st.nr_blocks >= 1 && st.used_bytes > 0);
	assert_int_equal(st.cache_bytes, 64 << 20);
	assert_true(st.insns >= 6 * (ROUNDS - 10) && st.insns <= 6 * ROUNDS + 8);
	assert_true(st.insns_sensitive >= ROUNDS - 10);

	/* One address: only blocks that hold it. As text. */
	assert_int_equal(cpu_group_hot_blocks(g->grp, &one, &text, &g->err), 0);
	assert_non_null(strstr(text.p, " P 0000801"));
	assert_non_null(strstr(text.p, "| "));
	strbuf_reset(&text);
	one.address = 0x123456;
	assert_int_equal(cpu_group_hot_blocks(g->grp, &one, &text, &g->err), 0);
	assert_null(strstr(text.p, "#1"));

	/* Off: translations are made anew, and count no more. */
	assert_int_equal(cpu_group_count_blocks(g->grp, false, &g->err), 0);
	run(g);
	assert_int_equal(g->st.gpr[CPU_RAX], 6 * ROUNDS);
	cpu_group_code_stats(g->grp, &st);
	assert_true(!st.is_counting && !st.insns && st.nr_blocks >= 1);
	strbuf_done(&text);
	guest_free(g);
}

/* A turn in each engine, again and again: nothing of the state is lost. */
static void test_engines(void **state)
{
	static const enum cpu_engine_kind kinds[] = { CPU_ENGINE_INTERP, CPU_ENGINE_DBT };
	struct guest *g = program();
	struct cpu_code_stats st;

	for (unsigned int k = 0; k < 20; k++) {
		run(g);
		assert_int_equal(g->st.gpr[CPU_RAX], (k + 1) * 3 * ROUNDS);
		assert_int_equal(cpu_group_set_engine(g->grp, kinds[k & 1], &g->err), 0);
		assert_string_equal(cpu_group_engine(g->grp), k & 1 ? "dbt" : "interp");
	}
	assert_int_equal(cpu_group_set_engine(g->grp, CPU_ENGINE_INTERP, &g->err), 0);
	run(g);
	cpu_group_code_stats(g->grp, &st);
	assert_int_equal(st.cache_bytes, 0);
	assert_int_equal(cpu_group_count_blocks(g->grp, true, &g->err), -EOPNOTSUPP);
	assert_int_equal(cpu_group_hot_blocks(g->grp, &(struct cpu_hot_query){ .top = 1 },
					      &(struct strbuf){ 0 }, &g->err),
			 -EOPNOTSUPP);
	guest_free(g);
}

/* What somebody put at the name is not written to. */
static void test_perf_map(void **state)
{
	struct tblock b = { .code = (uint8_t *)UINT64_C(0x7f0012345670),
			    .code_size = 0x123,
			    .lin = UINT64_C(0xffffffff81000123) };
	char path[64], trap[] = "/tmp/test_inspect_XXXXXX", text[256] = "";
	int fd = mkstemp(trap);
	struct stat st;

	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	unlink(path);
	assert_int_equal(symlink(trap, path), 0);
	perf_map_open();
	perf_map_add(&b);
	b.lin = 0x400000;
	perf_map_add(&b);
	assert_int_equal(read(fd, text, sizeof(text)), 0);
	close(fd);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode) && (st.st_mode & 0777) == 0600);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "7f0012345670 123 guest_ffffffff81000123\n"
				  "7f0012345670 123 guest_0000000000400000\n");
	close(fd);
	unlink(path);
	unlink(trap);
}

static int use_dbt(void **state)
{
	return setenv("ENGINE", "dbt", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_engines),
		cmocka_unit_test(test_perf_map),
	};

	return cmocka_run_group_tests_name("inspect", tests, use_dbt, NULL);
}
