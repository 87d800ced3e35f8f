/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gdb protocol against a made-up machine: framing, registers, memory, break points, threads, and what
 * no debugger would send.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "vm/gdb_priv.h"

enum { CPUS = 2, MEM_BASE = 0x1000, MEM_SIZE = 0x2000 };

static struct fake {
	struct cpu_state st[CPUS];
	uint8_t mem[MEM_SIZE];
	_Atomic unsigned int halts, resumes;
	unsigned int kills, nr_breaks;
	enum gdb_action action[CPUS];
	struct cpu_debug_break breaks[CPU_DEBUG_MAX_BREAKS];
} fake;

static void fake_halt(void *arg)
{
	fake.halts++;
}

static void fake_resume(void *arg, const enum gdb_action *action,
			const struct cpu_debug_break *breaks, unsigned int nr_breaks)
{
	memcpy(fake.action, action, sizeof(fake.action));
	if (nr_breaks)
		memcpy(fake.breaks, breaks, nr_breaks * sizeof(*breaks));
	fake.nr_breaks = nr_breaks;
	fake.resumes++;
}

static void fake_kill(void *arg)
{
	fake.kills++;
}

static void fake_get(void *arg, unsigned int cpu, struct cpu_state *ret)
{
	*ret = fake.st[cpu];
}

static int fake_set(void *arg, unsigned int cpu, const struct cpu_state *state)
{
	if (state->cr0 == 0xbad)
		return -EINVAL;
	fake.st[cpu] = *state;
	return 0;
}

static int fake_read(void *arg, unsigned int cpu, uint64_t lin, void *buf, uint64_t len)
{
	if (lin < MEM_BASE || lin - MEM_BASE > MEM_SIZE || len > MEM_SIZE - (lin - MEM_BASE))
		return -EFAULT;
	memcpy(buf, fake.mem + (lin - MEM_BASE), len);
	return 0;
}

static int fake_write(void *arg, unsigned int cpu, uint64_t lin, const void *buf, uint64_t len)
{
	if (lin < MEM_BASE || lin - MEM_BASE > MEM_SIZE || len > MEM_SIZE - (lin - MEM_BASE))
		return -EFAULT;
	memcpy(fake.mem + (lin - MEM_BASE), buf, len);
	return 0;
}

static const struct gdb_target target = {
	.nr_cpus = CPUS,
	.halt = fake_halt,
	.resume = fake_resume,
	.kill = fake_kill,
	.get_state = fake_get,
	.set_state = fake_set,
	.read = fake_read,
	.write = fake_write,
};

static struct gdb_server server;

static int setup(void **state)
{
	memset(&fake, 0, sizeof(fake));
	gdb_server_init(&server, &target);
	return 0;
}

static int teardown(void **state)
{
	gdb_server_done(&server);
	return 0;
}

static int feed_packet(const char *body, size_t n)
{
	char tail[8];
	uint8_t sum = 0;
	int r;

	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + (uint8_t)body[i]);
	snprintf(tail, sizeof(tail), "#%02x", sum);
	r = gdb_server_feed(&server, "$", 1);
	if (r == 0)
		r = gdb_server_feed(&server, body, n);
	if (r == 0)
		r = gdb_server_feed(&server, tail, 3);
	return r;
}

/* The body of the only packet that was sent, NULL when there was none. */
static char *sent(void)
{
	static char body[GDB_PACKET_MAX * 2];
	const char *p = strbuf_cstr(&server.out), *dollar = strchr(p, '$'), *hash;

	if (!dollar) {
		strbuf_reset(&server.out);
		return NULL;
	}
	hash = strrchr(p, '#');
	assert_non_null(hash);
	assert_int_equal(strlen(hash), 3);
	memcpy(body, dollar + 1, (size_t)(hash - dollar - 1));
	body[hash - dollar - 1] = 0;
	strbuf_reset(&server.out);
	return body;
}

static char *ask(const char *body)
{
	assert_int_equal(feed_packet(body, strlen(body)), 0);
	assert_true(server.no_ack || server.out.p[0] == '+');
	return sent();
}

static void test_framing(void **state)
{
	/* A wrong sum is refused, and asked for again. */
	assert_int_equal(gdb_server_feed(&server, "+$qC#00", 7), 0);
	assert_string_equal(strbuf_cstr(&server.out), "-");
	strbuf_reset(&server.out);
	assert_int_equal(gdb_server_feed(&server, "$q", 2), 0);
	assert_int_equal(gdb_server_feed(&server, "C#b4", 4), 0);
	assert_string_equal(strbuf_cstr(&server.out), "+$QC1#c5");
	strbuf_reset(&server.out);
	assert_string_equal(ask("QStartNoAckMode"), "OK");
	assert_int_equal(feed_packet("qC", 2), 0);
	assert_string_equal(strbuf_cstr(&server.out), "$QC1#c5");
	strbuf_reset(&server.out);
	/* Not known: empty. */
	assert_string_equal(ask("vMustReplyEmpty"), "");
	assert_string_equal(ask("qNonsense"), "");
	assert_string_equal(ask("B1,2"), "");
	assert_string_equal(ask(""), "");
}

static void test_nonsense_closes(void **state)
{
	static char big[GDB_PACKET_MAX + 10];

	assert_int_equal(gdb_server_feed(&server, "GET / HTTP/1.1\r\n$k#6b", 21), -ECONNRESET);
	assert_int_equal(fake.kills, 0);
	gdb_server_done(&server);
	gdb_server_init(&server, &target);
	memset(big, 'm', sizeof(big));
	assert_int_equal(feed_packet(big, sizeof(big)), -ECONNRESET);
	gdb_server_done(&server);
	gdb_server_init(&server, &target);
	assert_int_equal(gdb_server_feed(&server, "$qC#zz", 6), -ECONNRESET);
}

static void test_registers(void **state)
{
	size_t digits = 0, rip_at = 16 * 16;
	char *g, *back, reg[64];

	fake.st[0].gpr[CPU_RAX] = 0x1122334455667788;
	fake.st[0].gpr[CPU_RBX] = 0xb;
	fake.st[0].rip = 0xffffffff81000000;
	fake.st[0].rflags = 0x246;
	fake.st[0].seg[CPU_CS].sel = 0x10;
	fake.st[0].seg[CPU_GS].base = 0xabcd;
	fake.st[0].fpu.mxcsr_mask = 0xffff;
	fake.st[0].fpu.fcw = 0x37f;
	fake.st[0].cr3 = 0x1000;
	for (unsigned int i = 0; i < gdb_nr_regs(); i++)
		digits += 2 * gdb_reg_size(i);
	g = ask("g");
	assert_int_equal(strlen(g), digits);
	assert_memory_equal(g,
			    "8877665544332211"
			    "0b00000000000000",
			    32);
	assert_memory_equal(g + rip_at,
			    "00000081ffffffff"
			    "46020000"
			    "10000000",
			    32);

	back = malloc(digits + 2);
	back[0] = 'G';
	memcpy(back + 1, g, digits);
	back[digits + 1] = 0;
	memcpy(back + 1, "0100000000000000", 16);
	assert_string_equal(ask(back), "OK");
	assert_int_equal(fake.st[0].gpr[CPU_RAX], 1);
	assert_int_equal(fake.st[0].gpr[CPU_RBX], 0xb);
	assert_int_equal(fake.st[0].cr3, 0x1000);
	back[digits] = 0;
	assert_string_equal(ask(back), "E16");
	free(back);

	assert_string_equal(ask("p10"), "00000081ffffffff");
	assert_string_equal(ask("P10=0010000000000000"), "OK");
	assert_int_equal(fake.st[0].rip, 0x1000);
	assert_string_equal(ask("P10=00"), "E16");
	assert_string_equal(ask("pffff"), "E16");
	assert_string_equal(ask("p"), "E16");
	/* Every register on its own: what is read can be written. */
	for (unsigned int i = 0; i < gdb_nr_regs(); i++) {
		struct cpu_state before = fake.st[0];

		snprintf(reg, sizeof(reg), "p%x", i);
		g = ask(reg);
		assert_int_equal(strlen(g), 2 * gdb_reg_size(i));
		snprintf(reg, sizeof(reg), "P%x=%s", i, g);
		assert_string_equal(ask(reg), "OK");
		before.rflags = fake.st[0].rflags;
		before.fpu = fake.st[0].fpu;
		assert_memory_equal(&before, &fake.st[0], sizeof(before));
	}
	/* A value the engine refuses: cr0. */
	for (unsigned int i = 0; i < gdb_nr_regs(); i++) {
		struct cpu_state before = fake.st[0];

		snprintf(reg, sizeof(reg), "P%x=%s", i, "ad0b000000000000");
		if (gdb_reg_size(i) == 8 && !strcmp(ask(reg), "E16"))
			before.cr0 = 0;
		fake.st[0] = before;
	}
}

static void test_memory(void **state)
{
	memcpy(fake.mem, "\x01\x02\x03\x04", 4);
	assert_string_equal(ask("m1000,4"), "01020304");
	assert_string_equal(ask("m0,4"), "E0e");
	assert_int_equal(strlen(ask("m2f00,200")), 0x200); /* up to the end of memory */
	assert_int_equal(strlen(ask("m1000,ffffffff")), 2 * GDB_MEMORY_MAX);
	assert_string_equal(ask("mfffffffffffffff0,20"), "E0e");
	assert_string_equal(ask("m1000"), "E16");
	assert_string_equal(ask("m11111111111111111,1"), "E16");
	assert_string_equal(ask("M1002,2:aaBB"), "OK");
	assert_memory_equal(fake.mem, "\x01\x02\xaa\xbb", 4);
	assert_string_equal(ask("M1002,2:aa"), "E16");
	assert_string_equal(ask("M1002,ffffffffffffffff:aa"), "E16");
	assert_string_equal(ask("M0,1:aa"), "E0e");
	assert_string_equal(ask("X1000,0:"), "OK");
	assert_int_equal(feed_packet("X1000,3:\x00}\x03}]", 13), 0);
	assert_string_equal(sent(), "OK");
	assert_memory_equal(fake.mem, "\x00#}", 3);
	assert_string_equal(ask("X1000,2:a"), "E16");
	assert_string_equal(ask("X1000,1:}"), "E16");
}

static void test_break_and_continue(void **state)
{
	assert_string_equal(ask("Z0,1234,1"), "OK");
	assert_string_equal(ask("Z0,1234,1"), "OK");
	assert_string_equal(ask("Z2,1100,4"), "OK");
	assert_string_equal(ask("Z5,1100,4"), "");
	assert_string_equal(ask("Z0,1"), "E16");
	assert_null(ask("c"));
	assert_true(server.is_running);
	assert_int_equal(fake.nr_breaks, 2);
	assert_true(fake.breaks[0].exec && fake.breaks[0].addr == 0x1234 &&
		    fake.breaks[0].len == 1);
	assert_true(fake.breaks[1].write && !fake.breaks[1].read && fake.breaks[1].len == 4);
	assert_int_equal(fake.action[0], GDB_CONTINUE);
	assert_int_equal(fake.action[1], GDB_CONTINUE);
	/* Nothing is answered while it runs. */
	assert_null(ask("g"));

	fake.st[1].rip = 0x1234;
	gdb_server_stopped(&server, 1);
	assert_string_equal(sent(), "T05thread:2;");
	assert_false(server.is_running);
	assert_string_equal(ask("?"), "T05thread:2;");
	assert_string_equal(ask("qC"), "QC2");
	gdb_server_stopped(&server, 0); /* late news */
	assert_null(sent());

	/* A write watch point shows by its value. */
	assert_null(ask("vCont;c"));
	fake.mem[0x101] = 7;
	fake.st[0].rip = 0x5000;
	gdb_server_stopped(&server, 0);
	assert_string_equal(sent(), "T05thread:1;watch:1100;");

	assert_string_equal(ask("z2,1100,4"), "OK");
	assert_string_equal(ask("z0,1234,1"), "OK");
	assert_string_equal(ask("z0,1234,1"), "OK");
	assert_null(ask("c2000"));
	assert_int_equal(fake.nr_breaks, 0);
	assert_int_equal(fake.st[0].rip, 0x2000);
	assert_int_equal(gdb_server_feed(&server, "\003", 1), 0);
	assert_string_equal(sent(), "T02thread:1;");
	for (unsigned int i = 0; i < CPU_DEBUG_MAX_BREAKS; i++) {
		char z[32];

		snprintf(z, sizeof(z), "Z1,%x,1", i);
		assert_string_equal(ask(z), "OK");
	}
	assert_string_equal(ask("Z1,9999,1"), "E1c");
}

static void test_steps_and_threads(void **state)
{
	assert_null(ask("vCont;s:2;c:1"));
	assert_int_equal(fake.action[0], GDB_CONTINUE);
	assert_int_equal(fake.action[1], GDB_STEP);
	gdb_server_stopped(&server, 1);
	assert_string_equal(sent(), "T05thread:2;");
	assert_null(ask("vCont;S05:1"));
	assert_int_equal(fake.action[0], GDB_STEP);
	assert_int_equal(fake.action[1], GDB_STAY);
	gdb_server_stopped(&server, 0);
	(void)sent();
	assert_string_equal(ask("Hc2"), "OK");
	assert_null(ask("s"));
	assert_int_equal(fake.action[0], GDB_STAY);
	assert_int_equal(fake.action[1], GDB_STEP);
	gdb_server_stopped(&server, 1);
	(void)sent();
	assert_string_equal(ask("Hc-1"), "OK");
	assert_string_equal(ask("Hg1"), "OK");
	assert_string_equal(ask("qC"), "QC1");
	assert_string_equal(ask("Hg3"), "E16");
	assert_string_equal(ask("T2"), "OK");
	assert_string_equal(ask("T3"), "E16");
	assert_string_equal(ask("qfThreadInfo"), "m1,2");
	assert_string_equal(ask("qsThreadInfo"), "l");
	assert_string_equal(ask("qThreadExtraInfo,1"), "43505523302"
						       "05b72756e6e696e675d");
	assert_string_equal(ask("vCont;x"), "E16");
	assert_string_equal(ask("vCont;c:9"), "E16");
	assert_string_equal(ask("vCont;"), "E16");
	assert_string_equal(ask("vCont?"), "vCont;c;C;s;S");
}

static void test_description(void **state)
{
	struct strbuf xml = { 0 };
	char *p, q[64];
	size_t off = 0;

	assert_non_null(strstr(ask("qSupported:multiprocess+"), "PacketSize=4000"));
	do {
		snprintf(q, sizeof(q), "qXfer:features:read:target.xml:%zx,7f0", off);
		p = ask(q);
		assert_true(*p == 'm' || *p == 'l');
		strbuf_adds(&xml, p + 1);
		off = xml.n;
	} while (*p == 'm');
	assert_null(strchr(xml.p, '}'));
	assert_non_null(strstr(xml.p, "<reg name=\"rip\" bitsize=\"64\""));
	assert_non_null(strstr(xml.p, "</feature></target>"));
	strbuf_done(&xml);
	assert_string_equal(ask("qXfer:features:read:other.xml:0,10"), "E00");
	assert_string_equal(ask("qXfer:features:read:target.xml:fffff,10"), "E16");
}

static void test_endings(void **state)
{
	assert_null(ask("c"));
	gdb_server_ended(&server, 3);
	assert_string_equal(sent(), "W03");
	gdb_server_done(&server);
	gdb_server_init(&server, &target);
	assert_int_equal(feed_packet("D", 1), -ECONNRESET);
	assert_string_equal(sent(), "OK");
	gdb_server_done(&server);
	assert_int_equal(fake.action[1], GDB_CONTINUE);
	gdb_server_init(&server, &target);
	assert_int_equal(feed_packet("k", 1), -ECONNRESET);
	assert_int_equal(fake.kills, 1);
}

static int dial(const struct gdb *gdb)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons(gdb_port(gdb)),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void expect(int fd, const char *want)
{
	char buf[64];

	assert_int_equal(recv(fd, buf, strlen(want), MSG_WAITALL), strlen(want));
	assert_memory_equal(buf, want, strlen(want));
}

static void test_socket(void **state)
{
	struct err err = ERR_INIT;
	struct gdb *gdb, *other;
	char c;
	int fd;

	assert_int_equal(gdb_new(0, &target, &gdb, &err), 0);
	assert_int_equal(gdb_new(gdb_port(gdb), &target, &other, &err), -EADDRINUSE);
	fd = dial(gdb);
	assert_int_equal(write(fd, "POST /", 6), 6);
	assert_true(read(fd, &c, 1) <= 0);
	close(fd);

	fd = dial(gdb);
	assert_int_equal(write(fd, "$c#63", 5), 5);
	expect(fd, "+");
	while (!fake.resumes)
		usleep(1000);
	gdb_stopped(gdb, 1);
	expect(fd, "$T05thread:2;#d8");
	assert_int_equal(write(fd, "$c#63", 5), 5);
	expect(fd, "+");
	while (fake.resumes < 3)
		usleep(1000);
	gdb_ended(gdb, 0);
	expect(fd, "$W00#b7");
	gdb_free(gdb);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_framing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nonsense_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_break_and_continue, setup, teardown),
		cmocka_unit_test_setup_teardown(test_steps_and_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_description, setup, teardown),
		cmocka_unit_test_setup_teardown(test_endings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_socket, setup, teardown),
	};

	return cmocka_run_group_tests_name("gdb", tests, NULL, NULL);
}
