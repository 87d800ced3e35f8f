/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The debugger's side of the gdb protocol. The input is split at bytes 0xff into packets, whose framing is
 * added here; what stands behind a 0xfe is fed as it is. After each, the made-up machine may stop.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vm/gdb_priv.h"

enum { CPUS = 3, MEM = 0x3000 };

static struct cpu_state state[CPUS];
static uint8_t memory[MEM];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void halt(void *arg)
{
}

static void resume(void *arg, const enum gdb_action *action, const struct cpu_debug_break *breaks,
		   unsigned int nr_breaks)
{
	assert(nr_breaks <= CPU_DEBUG_MAX_BREAKS);
	for (unsigned int i = 0; i < CPUS; i++)
		assert(action[i] <= GDB_STEP);
}

static void kill_machine(void *arg)
{
}

static void get_state(void *arg, unsigned int cpu, struct cpu_state *ret)
{
	assert(cpu < CPUS);
	*ret = state[cpu];
}

static int set_state(void *arg, unsigned int cpu, const struct cpu_state *st)
{
	assert(cpu < CPUS);
	if (st->cr0 & 2)
		return -EINVAL;
	state[cpu] = *st;
	return 0;
}

static int read_memory(void *arg, unsigned int cpu, uint64_t lin, void *buf, uint64_t len)
{
	assert(cpu < CPUS);
	if (lin > MEM || len > MEM - lin)
		return -EFAULT;
	memcpy(buf, memory + lin, len);
	return 0;
}

static int write_memory(void *arg, unsigned int cpu, uint64_t lin, const void *buf, uint64_t len)
{
	assert(cpu < CPUS);
	if (lin > MEM || len > MEM - lin)
		return -EFAULT;
	memcpy(memory + lin, buf, len);
	return 0;
}

static const struct gdb_target target = {
	.nr_cpus = CPUS,
	.halt = halt,
	.resume = resume,
	.kill = kill_machine,
	.get_state = get_state,
	.set_state = set_state,
	.read = read_memory,
	.write = write_memory,
};

static int feed(struct gdb_server *s, const uint8_t *p, size_t n)
{
	uint8_t sum = 0;
	char tail[4];
	int r;

	if (n && p[0] == 0xfe)
		return gdb_server_feed(s, p + 1, n - 1);
	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + p[i]);
	snprintf(tail, sizeof(tail), "#%02x", sum);
	r = gdb_server_feed(s, "$", 1);
	if (r == 0)
		r = gdb_server_feed(s, p, n);
	if (r == 0)
		r = gdb_server_feed(s, tail, 3);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct gdb_server s;
	unsigned int turn = 0;

	memset(state, 0, sizeof(state));
	gdb_server_init(&s, &target);
	while (n) {
		const uint8_t *end = memchr(data, 0xff, n);
		size_t len = end ? (size_t)(end - data) : n;

		if (feed(&s, data, len) < 0)
			break;
		gdb_server_stopped(&s, turn++ % CPUS);
		strbuf_reset(&s.out);
		data += len;
		n -= len;
		if (n) {
			data++;
			n--;
		}
	}
	gdb_server_ended(&s, 0);
	gdb_server_done(&s);
	return 0;
}
