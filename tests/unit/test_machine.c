/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine around made-up CPUs: what the guest does is a C function that uses the ports as a guest would.
 * Real boards, real kernel loading; the ends, resets, refusals, statistics and the debugger's hold.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "vm/machine.h"

/* --- CPUs --- */

struct cpu {
	struct cpu_group *grp;
	unsigned int index, runs;
	_Atomic bool kicked, is_running;
	struct cpu_state st;
	struct cpu_stats stats;
};

struct cpu_group {
	struct cpu_group_config cfg;
	unsigned int resets, flushes;
	enum cpu_engine_kind engine;
	_Atomic unsigned int nr_changes;
	struct cpu_stats stats;
	struct cpu_code_stats code;
	struct cpu cpu[4];
};

static struct cpu_group *group;
static enum cpu_exit (*script)(struct cpu *c, struct err *err);

int cpu_group_new(const struct cpu_group_config *cfg, struct cpu_group **ret, struct err *err)
{
	if (cfg->nr_cpus > 4)
		return err_set(err, -EINVAL, "made-up group");
	if (posix_memalign((void **)&group, 64, sizeof(*group)))
		abort();
	memset(group, 0, sizeof(*group));
	group->cfg = *cfg;
	for (unsigned int i = 0; i < 4; i++) {
		group->cpu[i].grp = group;
		group->cpu[i].index = i;
	}
	*ret = group;
	return 0;
}

void cpu_group_free(struct cpu_group *grp)
{
	free(grp);
}

struct cpu *cpu_group_cpu(struct cpu_group *grp, unsigned int index)
{
	return &grp->cpu[index];
}

void cpu_group_power_on(struct cpu_group *grp, unsigned int index)
{
	memset(&grp->cpu[index].st, 0, sizeof(struct cpu_state));
}

void cpu_group_reset(struct cpu_group *grp)
{
	grp->resets++;
	for (unsigned int i = 0; i < 4; i++)
		memset(&grp->cpu[i].st, 0, sizeof(struct cpu_state));
}

void cpu_group_flush(struct cpu_group *grp)
{
	grp->flushes++;
}

uint64_t cpu_group_now(const struct cpu_group *grp)
{
	return 0;
}

void cpu_group_get_time(const struct cpu_group *grp, struct cpu_group_time *ret)
{
	*ret = (struct cpu_group_time){ .tsc_khz = 1000 };
}

void cpu_group_set_time(struct cpu_group *grp, const struct cpu_group_time *time)
{
}

void cpu_group_hold_user(struct cpu_group *grp, uint64_t gpa)
{
}

uint32_t cpu_group_model_sum(const struct cpu_group *grp)
{
	return 0;
}

void cpu_group_model_text(const struct cpu_group *grp, struct strbuf *out)
{
}

int cpu_fits(const struct cpu *c, const struct cpu_state *state, struct err *err)
{
	return 0;
}

int cpu_group_msi(struct cpu_group *grp, uint64_t addr, uint32_t data)
{
	return 0;
}

void cpu_group_extint(struct cpu_group *grp, bool level)
{
}

void cpu_kick(struct cpu *c)
{
	c->kicked = true;
}

unsigned int cpu_index(const struct cpu *c)
{
	return c->index;
}

void cpu_get_state(struct cpu *c, struct cpu_state *ret)
{
	*ret = c->st;
}

void cpu_set_state(struct cpu *c, const struct cpu_state *state)
{
	c->st = *state;
}

int cpu_state_check(const struct cpu_state *state, struct err *err)
{
	return 0;
}

const struct cpu_stats *cpu_stats(const struct cpu *c)
{
	return &c->stats;
}

const struct cpu_stats *cpu_group_stats(const struct cpu_group *grp)
{
	return &grp->stats;
}

const char *cpu_group_engine(const struct cpu_group *grp)
{
	return grp->engine == CPU_ENGINE_DBT ? "dbt" : "interp";
}

int cpu_group_set_engine(struct cpu_group *grp, enum cpu_engine_kind kind, struct err *err)
{
	for (unsigned int i = 0; i < 4; i++)
		assert_false(grp->cpu[i].is_running);
	grp->engine = kind;
	grp->nr_changes++;
	return kind == CPU_ENGINE_KVM ? err_set(err, -EOPNOTSUPP, "made-up group") : 0;
}

enum cpu_place cpu_place(const struct cpu *c)
{
	return CPU_AT_CODE;
}

void cpu_group_code_stats(struct cpu_group *grp, struct cpu_code_stats *ret)
{
	*ret = grp->code;
}

int cpu_group_count_blocks(struct cpu_group *grp, bool on, struct err *err)
{
	grp->code.is_counting = on;
	return 0;
}

int cpu_group_hot_blocks(struct cpu_group *grp, const struct cpu_hot_query *query,
			 struct strbuf *out, struct err *err)
{
	strbuf_addf(out, "top %u", query->top);
	return 0;
}

void cpu_set_debug(struct cpu *c, const struct cpu_debug *debug)
{
}

int cpu_debug_read(struct cpu *c, uint64_t lin, void *buf, uint64_t len)
{
	return -EFAULT;
}

int cpu_debug_write(struct cpu *c, uint64_t lin, const void *buf, uint64_t len)
{
	return -EFAULT;
}

static enum cpu_exit idle(struct cpu *c)
{
	while (!atomic_exchange(&c->kicked, false))
		usleep(200);
	return CPU_EXIT_KICKED;
}

enum cpu_exit cpu_run(struct cpu *c, struct err *err)
{
	enum cpu_exit exit;

	c->runs++;
	c->is_running = true;
	exit = script(c, err);
	c->is_running = false;
	return exit;
}

/* --- what guests do --- */

static void out(struct cpu *c, uint16_t port, unsigned int size, uint32_t v)
{
	c->grp->cfg.ops->pio_out(c->grp->cfg.arg, port, size, v);
}

static uint32_t in(struct cpu *c, uint16_t port, unsigned int size)
{
	return c->grp->cfg.ops->pio_in(c->grp->cfg.arg, port, size);
}

static enum cpu_exit power_off(struct cpu *c, struct err *err)
{
	if (c->index == 0)
		out(c, 0x604, 2, 1 << 13);
	return idle(c);
}

static enum cpu_exit debug_exit(struct cpu *c, struct err *err)
{
	if (c->index == 0)
		out(c, 0xf4, 4, 5);
	return idle(c);
}

static enum cpu_exit just_idle(struct cpu *c, struct err *err)
{
	return idle(c);
}

static enum cpu_exit triple_fault(struct cpu *c, struct err *err)
{
	if (c->index)
		return idle(c);
	err_set(err, -EFAULT, "rip 0x1234");
	return CPU_EXIT_SHUTDOWN;
}

static enum cpu_exit engine_error(struct cpu *c, struct err *err)
{
	err_set(err, -EOPNOTSUPP, "cannot do this");
	return CPU_EXIT_ERROR;
}

static void *ram(struct cpu *c, uint64_t gpa)
{
	const struct physmem_region *r = physmem_find(c->grp->cfg.mem, gpa);

	assert_non_null(r);
	return r->hva + (gpa - r->gpa);
}

/* Soils its memory, resets by one port after the other, then powers off. */
static const struct {
	uint16_t port;
	uint8_t value;
} reset_ports[] = { { 0xcf9, 6 }, { 0x64, 0xfe }, { 0x92, 1 } };

static _Atomic unsigned int nr_resets;

static enum cpu_exit resets(struct cpu *c, struct err *err)
{
	uint32_t *dirty = ram(c, 0x300000);

	if (c->index)
		return idle(c);
	if (c->kicked)
		return idle(c);
	if (c->st.rip != 0x100080 || *dirty || get_le32(ram(c, 0x100040)) != 0x1badb002) {
		out(c, 0xf4, 1, 0x11); /* not as at power-on */
		return idle(c);
	}
	*dirty = 1;
	c->st.rip = 0;
	put_le32(ram(c, 0x100040), 0);
	if (nr_resets == 3)
		out(c, 0x604, 2, 1 << 13);
	else
		out(c, reset_ports[nr_resets].port, 1, reset_ports[nr_resets].value);
	nr_resets++;
	return idle(c);
}

/* --- the tests --- */

static char kernel_path[] = "/tmp/test_machine_XXXXXX";

/* A multiboot image at 1 MiB whose entry is 0x100080. */
static int write_kernel(void **state)
{
	uint8_t p[0x200] = { 0 };
	int fd = mkstemp(kernel_path);

	put_le32(p + 0x40, 0x1badb002);
	put_le32(p + 0x44, 1 << 16);
	put_le32(p + 0x48, -(0x1badb002u + (1 << 16)));
	put_le32(p + 0x4c, 0x100040);
	put_le32(p + 0x50, 0x100000);
	put_le32(p + 0x5c, 0x100080);
	assert_int_equal(write(fd, p, sizeof(p)), sizeof(p));
	close(fd);
	return 0;
}

static int remove_kernel(void **state)
{
	unlink(kernel_path);
	return 0;
}

static struct machine_config config(void)
{
	return (struct machine_config){
		.kernel = kernel_path,
		.cmdline = "a=b",
		.memory_bytes = 8 << 20,
		.nr_cpus = 2,
		.debug_exit = true,
	};
}

static enum machine_end run(const struct machine_config *cfg,
			    enum cpu_exit (*what)(struct cpu *c, struct err *err), int *status,
			    struct err *err)
{
	struct machine *m = NULL;
	enum machine_end end;

	script = what;
	*err = ERR_INIT;
	if (machine_new(cfg, &m, err) < 0)
		fail_msg("%s", err->text);
	assert_int_equal(group->cpu[0].st.rip, 0x100080);
	assert_int_equal(group->cpu[0].st.gpr[CPU_RAX], 0x2badb002);
	end = machine_run(m, status, err);
	machine_free(m);
	return end;
}

static void test_ends(void **state)
{
	struct machine_config cfg = config();
	struct err err;
	int status;

	assert_int_equal(run(&cfg, power_off, &status, &err), MACHINE_POWEROFF);
	assert_int_equal(status, 0);
	assert_int_equal(run(&cfg, debug_exit, &status, &err), MACHINE_DEBUG_EXIT);
	assert_int_equal(status, 11);
	assert_int_equal(run(&cfg, engine_error, &status, &err), MACHINE_FAILED);
	assert_int_equal(status, 1);
	assert_non_null(strstr(err.text, "cannot do this"));
}

static void test_triple_fault(void **state)
{
	struct machine_config cfg = config();
	struct err err;
	int status;

	/* In a loop: tried again twice, then given up. */
	assert_int_equal(run(&cfg, triple_fault, &status, &err), MACHINE_TRIPLE_FAULT);
	assert_int_equal(status, 1);
	assert_string_equal(err.text, "triple fault in the guest: rip 0x1234");
	cfg.no_reboot = true;
	assert_int_equal(run(&cfg, triple_fault, &status, &err), MACHINE_TRIPLE_FAULT);
	assert_int_equal(status, 1);
}

static void test_reset(void **state)
{
	struct machine_config cfg = config();
	struct err err;
	int status;

	nr_resets = 0;
	assert_int_equal(run(&cfg, resets, &status, &err), MACHINE_POWEROFF);
	assert_int_equal(nr_resets, 4);
	cfg.no_reboot = true;
	nr_resets = 0;
	assert_int_equal(run(&cfg, resets, &status, &err), MACHINE_RESET);
	assert_int_equal(status, 0);
}

static struct machine *to_stop;

static void stop_it(int sig)
{
	machine_stop(to_stop);
}

static void test_stop(void **state)
{
	struct machine_config cfg = config();
	struct err err = ERR_INIT;
	int status;

	script = just_idle;
	assert_int_equal(machine_new(&cfg, &to_stop, &err), 0);
	signal(SIGALRM, stop_it);
	ualarm(20000, 0);
	assert_int_equal(machine_run(to_stop, &status, &err), MACHINE_STOPPED);
	machine_free(to_stop);
}

static enum cpu_exit look_around(struct cpu *c, struct err *err)
{
	uint8_t *bios = ram(c, 0xe0000);

	if (c->index)
		return idle(c);
	/* Tables where a BIOS leaves them, memory size in CMOS, CPUs in fw_cfg. */
	if (memcmp(bios, "RSD PTR ", 8) || memcmp(ram(c, 0xf0000), "_MP_", 4) ||
	    get_le16(ram(c, 0x40e)) != 0x9fc0)
		return CPU_EXIT_ERROR;
	out(c, 0x70, 1, 0x30);
	if (in(c, 0x71, 1) != (7 << 10 & 0xff))
		return CPU_EXIT_ERROR;
	out(c, 0x510, 2, 5);
	if (in(c, 0x511, 1) != 2)
		return CPU_EXIT_ERROR;
	if (c->grp->cfg.ops->mmio_read(c->grp->cfg.arg, 0xb0000000, 4) == 0xffffffff)
		return CPU_EXIT_ERROR;
	c->stats.insns = 1000;
	c->stats.insns_privileged = 10;
	return power_off(c, err);
}

static char *stats_of(struct machine *m, bool json)
{
	static char text[16384];
	FILE *f = tmpfile();
	size_t n;

	machine_print_stats(m, fileno(f), json);
	rewind(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	fclose(f);
	return text;
}

static void test_board_and_stats(void **state)
{
	struct machine_config cfg = config();
	struct err err = ERR_INIT;
	struct machine *m;
	const char *text;
	int status;

	script = look_around;
	assert_int_equal(machine_new(&cfg, &m, &err), 0);
	assert_int_equal(machine_run(m, &status, &err), MACHINE_POWEROFF);
	text = stats_of(m, false);
	assert_non_null(strstr(text, " 990  innocuous"));
	assert_non_null(strstr(text, " 1,000  instructions executed"));
	assert_non_null(strstr(text, "fw_cfg"));
	text = stats_of(m, true);
	assert_non_null(strstr(text, "\"insns\":1000"));
	assert_non_null(strstr(text, "\"mmio\":[{"));
	machine_free(m);
}

static void refused(const struct machine_config *cfg, const char *word)
{
	struct err err = ERR_INIT;
	struct machine *m;

	assert_true(machine_new(cfg, &m, &err) < 0);
	if (!strstr(err.text, word))
		fail_msg("'%s' does not say '%s'", err.text, word);
}

/* The engine changes again and again, only while every vCPU stands; the machine goes on. */
static enum cpu_exit until_changed(struct cpu *c, struct err *err)
{
	while (!atomic_exchange(&c->kicked, false)) {
		if (c->index == 0 && c->grp->nr_changes >= 5)
			return power_off(c, err);
		usleep(200);
	}
	return CPU_EXIT_KICKED;
}

static void test_engine_switch(void **state)
{
	struct machine_config cfg = config();
	struct err err;
	int status;

	cfg.engine_switch_ns = 1000000;
	cfg.engine = CPU_ENGINE_INTERP;
	assert_int_equal(run(&cfg, until_changed, &status, &err), MACHINE_POWEROFF);
	assert_int_equal(status, 0);
}

static void *ask_control(void *arg)
{
	static const char request[] = "{\"do\":\"info\"}\n{\"do\":\"stats\"}\n";
	const struct sockaddr_un *addr = arg;
	static char answer[65536];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t n = 0;

	assert_int_equal(connect(fd, (const struct sockaddr *)addr, sizeof(*addr)), 0);
	assert_int_equal(write(fd, request, sizeof(request) - 1), sizeof(request) - 1);
	while (n < sizeof(answer) - 1) {
		ssize_t r = read(fd, answer + n, sizeof(answer) - 1 - n);
		char *first = memchr(answer, '\n', n + (r > 0 ? (size_t)r : 0));

		if (r <= 0)
			break;
		n += (size_t)r;
		if (first && memchr(first + 1, '\n', n - (size_t)(first + 1 - answer)))
			break;
	}
	close(fd);
	atomic_fetch_add(&group->nr_changes, 5); /* the guest may end */
	return answer;
}

static void test_control(void **state)
{
	struct machine_config cfg = config();
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct machine *m = NULL;
	struct err err = ERR_INIT;
	pthread_t client;
	void *answer;
	int status;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s.sock", kernel_path);
	cfg.control_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	cfg.name = "web";
	assert_int_equal(bind(cfg.control_fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(cfg.control_fd, 1), 0);
	script = until_changed;
	if (machine_new(&cfg, &m, &err) < 0)
		fail_msg("%s", err.text);
	pthread_create(&client, NULL, ask_control, &addr);
	assert_int_equal(machine_run(m, &status, &err), MACHINE_POWEROFF);
	pthread_join(client, &answer);
	assert_non_null(strstr(answer, "{\"ok\":{\"name\":\"web\","));
	assert_non_null(strstr(answer, "\"memory_bytes\":8388608"));
	assert_non_null(strstr(answer, "\"cpu\":{\"insns\":0"));
	machine_free(m);
	close(cfg.control_fd);
	unlink(addr.sun_path);
}

static void test_refusals(void **state)
{
	struct machine_config cfg = config();

	cfg.kernel = "/nonexistent";
	refused(&cfg, "/nonexistent");
	cfg.kernel = "/";
	refused(&cfg, "kernel");
	cfg.kernel = "/dev/null";
	refused(&cfg, "empty");
	cfg = config();
	cfg.initrd = "/dev/null";
	refused(&cfg, "empty");
	cfg = config();
	cfg.nr_cpus = 65;
	refused(&cfg, "64");
	cfg.nr_cpus = 4;
	cfg.memory_bytes = 1 << 20;
	refused(&cfg, "2 MiB");
	cfg.memory_bytes = (2 << 20) + 1;
	refused(&cfg, "4 KiB");
	cfg = config();
	cfg.nr_cpus = 5;
	refused(&cfg, "made-up group");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_triple_fault),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_board_and_stats),
		cmocka_unit_test(test_engine_switch),
		cmocka_unit_test(test_control),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests_name("machine", tests, write_kernel, remove_kernel);
}
