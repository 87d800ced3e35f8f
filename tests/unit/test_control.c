/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of the control socket, without a socket: answers, refusals, one at a time. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control_fake.h"
#include "unit.h"
#include "vm/control_priv.h"

static struct cpu_hot_query last;
static bool counting;

static void info(void *arg, struct strbuf *out)
{
	strbuf_adds(out, "{\"name\":\"n\"}");
}

static void stats(void *arg, struct stats_totals *before, bool json, struct strbuf *out)
{
	strbuf_addf(out, json ? "{\"look\":%u}\n" : "look \"%u\"\n", (unsigned int)before->now_ns);
	before->now_ns++;
}

static int count(void *arg, bool on, struct err *err)
{
	if (arg)
		return err_set(err, -EOPNOTSUPP, "cannot");
	counting = on;
	return 0;
}

static int trace(void *arg, const struct cpu_hot_query *query, struct strbuf *out, struct err *err)
{
	last = *query;
	strbuf_adds(out, query->json ? "{}\n" : "listing\n");
	return 0;
}

static void disks(void *arg, struct strbuf *out)
{
	strbuf_adds(out, "[{\"disk\":0}]");
}

static struct disk_request_spec asked;
static char asked_file[16];

static int disk(void *arg, const struct disk_request_spec *request, struct err *err)
{
	asked = *request;
	snprintf(asked_file, sizeof(asked_file), "%s", request->file ? request->file : "");
	return request->disk > 1 ? err_set(err, -ENODEV, "no disk") : 0;
}

static int console(void *arg, unsigned int port, struct err *err)
{
	return port == 0 ? 0 : err_set(err, -ENODEV, "no port %u", port);
}

static const struct control_ops ops = { .info = info,
					.stats = stats,
					.count = count,
					.trace = trace,
					.screen = screen,
					.balloon = balloon,
					.power = power,
					.disks = disks,
					.disk = disk,
					.cpus = cpus,
					.devices = devices,
					.attach = attach,
					.detach = detach,
					.snapshot = snapshot,
					.console = console };

static void put(struct control_session *s, const char *text)
{
	size_t n = strlen(text);

	assert_true(n <= sizeof(s->in) - s->in_n);
	memcpy(s->in + s->in_n, text, n);
	s->in_n += n;
}

static void expect(struct control_session *s, const char *request, const char *answer)
{
	put(s, request);
	assert_int_equal(control_session_serve(s), 1);
	assert_string_equal(strbuf_cstr(&s->out), answer);
	strbuf_reset(&s->out);
	assert_int_equal(control_session_serve(s), 0);
}

static void test_answers(void **state)
{
	static struct control_session s;

	control_session_init(&s, &ops, NULL);
	expect(&s, "{\"do\":\"info\"}\n", "{\"ok\":{\"name\":\"n\"}}\n");
	expect(&s, "{\"do\":\"stats\"}\n", "{\"ok\":{\"look\":0}}\n");
	expect(&s, "{\"do\":\"stats\",\"text\":true}\n", "{\"ok\":\"look \\\"1\\\"\\n\"}\n");
	expect(&s, "{\"do\":\"trace\"}\n", "{\"ok\":{}}\n");
	assert_true(last.top == 20 && last.json && !last.has_address);
	expect(&s,
	       "{\"do\":\"trace\",\"text\":true,\"top\":3,\"address\":\"0xffffffff81000000\"}\n",
	       "{\"ok\":\"listing\\n\"}\n");
	assert_true(last.top == 3 && !last.json && last.has_address &&
		    last.address == UINT64_C(0xffffffff81000000));
	expect(&s, "{\"do\":\"balloon\"}\n", "{\"ok\":{\"keeps\":-1}}\n");
	expect(&s, "{\"do\":\"balloon\",\"text\":true,\"bytes\":7}\n", "{\"ok\":\"keeps 7\\n\"}\n");
	expect(&s, "{\"do\":\"cpus\",\"n\":3}\n", "{\"ok\":{\"vcpus\":3}}\n");
	expect(&s, "{\"do\":\"snapshot\",\"what\":\"save\"}\n",
	       "{\"error\":\"'snapshot' needs the descriptor of a file\",\"code\":\"EINVAL\"}\n");
	expect(&s, "{\"do\":\"snapshot\",\"what\":\"x\"}\n",
	       "{\"error\":\"'snapshot' needs \\\"what\\\": save\",\"code\":\"EINVAL\"}\n");
	expect(&s, "{\"do\":\"cpus\"}\n", "{\"ok\":{\"vcpus\":1}}\n");
	expect(&s, "{\"do\":\"cpus\",\"n\":5}\n", "{\"error\":\"too many\",\"code\":\"ERANGE\"}\n");
	expect(&s, "{\"do\":\"cpus\",\"n\":\"x\"}\n",
	       "{\"error\":\"\\\"n\\\" is a number of vCPUs\",\"code\":\"EINVAL\"}\n");
	expect(&s, "{\"do\":\"power\",\"what\":\"button\"}\n", "{\"ok\":{\"state\":\"0\"}}\n");
	expect(&s, "{\"do\":\"power\",\"what\":\"pause\"}\n", "{\"ok\":{\"state\":\"3\"}}\n");
	control_session_done(&s);
	control_session_done(&s);
}

/* A file, and one with a name for each disk. */
static void test_snapshot(void **state)
{
	static const char *const bad[] = {
		"{\"do\":\"snapshot\",\"what\":\"save\"}\n",
		"{\"do\":\"snapshot\",\"what\":\"save\",\"disks\":[\"a\"]}\n",
		"{\"do\":\"snapshot\",\"what\":\"save\",\"disks\":[\"a\",\"../b\"]}\n",
		"{\"do\":\"snapshot\",\"what\":\"save\",\"disks\":[\"a\",\"\"]}\n",
		"{\"do\":\"snapshot\",\"what\":\"save\",\"disks\":[\"a\",1]}\n",
	};
	static struct control_session s;

	control_session_init(&s, &ops, NULL);
	for (size_t k = 0; k <= ARRAY_SIZE(bad); k++) {
		for (unsigned int i = 0; i < 3; i++) {
			s.fds.fd[s.fds.nr] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
			assert_true(s.fds.fd[s.fds.nr++] >= 0);
		}
		if (k == ARRAY_SIZE(bad))
			expect(&s,
			       "{\"do\":\"snapshot\",\"what\":\"save\",\"disks\":[\"a\",\"b\"]}\n",
			       "{\"ok\":{\"pages\":2}}\n");
		else
			expect(&s, bad[k],
			       "{\"error\":\"\\\"disks\\\" are the names of files, one for each further "
			       "descriptor\",\"code\":\"EINVAL\"}\n");
		assert_int_equal(s.fds.nr, 0);
	}
	control_session_done(&s);
}

/* Descriptors come before the line that wants them, and are closed when it does not. */
static void test_attach(void **state)
{
	static const char net[] = "{\"do\":\"attach\",\"net\":{\"mac\":\"52:54:00:00:00:09\","
				  "\"queues\":2,\"tap\":true,\"pcap\":true}}\n";
	static struct control_session s;
	int fd[2];

	control_session_init(&s, &ops, NULL);
	expect(&s, "{\"do\":\"devices\"}\n", "{\"ok\":[{\"name\":\"disk0\"}]}\n");
	expect(&s, "{\"do\":\"attach\",\"disk\":\"/a.img\"}\n", "{\"ok\":{\"disk\":\"/a.img\"}}\n");
	expect(&s, "{\"do\":\"attach\",\"disk\":\"/a.img\",\"files\":[\"/b\"]}\n",
	       "{\"error\":\"0 descriptors came with the request: the image's and one for each of \\\"files\\\" "
	       "are wanted\",\"code\":\"EINVAL\"}\n");
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	s.fds.fd[s.fds.nr++] = fd[0];
	s.fds.fd[s.fds.nr++] = fd[1];
	expect(&s, "{\"do\":\"attach\",\"disk\":\"/a.img\",\"files\":[\"/b\"]}\n",
	       "{\"ok\":{\"disk\":\"/a.img\",\"files\":[\"/b\"]}}\n");
	assert_int_equal(fcntl(fd[0], F_GETFD), -1);
	expect(&s, "{\"do\":\"attach\",\"disk\":\"there\"}\n",
	       "{\"error\":\"there already\",\"code\":\"EEXIST\"}\n");
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	s.fds.fd[s.fds.nr++] = fd[0];
	s.fds.fd[s.fds.nr++] = fd[1];
	expect(&s, net, "{\"ok\":{\"mac\":9,\"queues\":2,\"words\":\"tap\"}}\n");
	assert_int_equal(s.fds.nr, 0);
	assert_int_equal(fcntl(fd[0], F_GETFD), -1);
	expect(&s, net,
	       "{\"error\":\"0 descriptors came with the request: the network's end and, with \\\"pcap\\\", "
	       "the capture's file are wanted\",\"code\":\"EINVAL\"}\n");
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	s.fds.fd[s.fds.nr++] = fd[0];
	s.fds.fd[s.fds.nr++] = fd[1];
	expect(&s, "{\"do\":\"detach\",\"name\":\"disk0\"}\n", "{\"ok\":true}\n");
	assert_int_equal(fcntl(fd[0], F_GETFD), -1);
	assert_int_equal(fcntl(fd[1], F_GETFD), -1);
	expect(&s, "{\"do\":\"detach\",\"name\":\"x\"}\n",
	       "{\"error\":\"no 'x'\",\"code\":\"ENODEV\"}\n");
	for (size_t k = 0; k < 7; k++) {
		static const char *const bad[] = {
			"{\"do\":\"attach\"}\n",
			"{\"do\":\"attach\",\"disk\":\"a\",\"files\":[1]}\n",
			"{\"do\":\"attach\",\"disk\":\"a\",\"files\":[\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"]}\n",
			"{\"do\":\"attach\",\"disk\":\"a\",\"net\":{}}\n",
			"{\"do\":\"attach\",\"net\":{\"mac\":\"53:54:00:00:00:09\"}}\n",
			"{\"do\":\"attach\",\"net\":{\"mac\":\"52:54:00:00:00:09\",\"queues\":9}}\n",
			"{\"do\":\"detach\"}\n",
		};

		put(&s, bad[k]);
		assert_int_equal(control_session_serve(&s), 1);
		assert_non_null(strstr(strbuf_cstr(&s.out), "\"code\":\"EINVAL\""));
		strbuf_reset(&s.out);
	}
	control_session_done(&s);
}

static void test_refusals(void **state)
{
	static struct control_session s;

	control_session_init(&s, &ops, NULL);
	expect(&s, "[]\n",
	       "{\"error\":\"a request is an object with \\\"do\\\": a string\",\"code\":\"EINVAL\"}\n");
	expect(&s, "{\"do\":\"x\"}\n",
	       "{\"error\":\"'x' is none of info, stats, count, trace, screen, balloon, power, cpus, snapshot, disks, disk, devices, attach, detach, console\",\"code\":\"EOPNOTSUPP\"}\n");
	expect(&s, "{\"do\":\"trace\",\"top\":1001}\n",
	       "{\"error\":\"\\\"top\\\" is a number from 1 to 1000\",\"code\":\"EINVAL\"}\n");
	expect(&s, "{\"do\":\"trace\",\"address\":16}\n",
	       "{\"error\":\"\\\"address\\\" is a string: \\\"0x...\\\"\",\"code\":\"EINVAL\"}\n");
	expect(&s, "{\"do\":\"count\"}\n",
	       "{\"error\":\"'count' needs \\\"on\\\": true or false\",\"code\":\"EINVAL\"}\n");
	expect(&s, "{\"do\":\"power\"}\n",
	       "{\"error\":\"'power' needs \\\"what\\\": one of button, off, reset, pause, resume\",\"code\":\"EINVAL\"}\n");
	expect(&s, "{\"do\":\"power\",\"what\":\"resume\"}\n",
	       "{\"error\":\"not paused\",\"code\":\"EALREADY\"}\n");
	expect(&s, "{\"do\":\"balloon\",\"bytes\":\"1M\"}\n",
	       "{\"error\":\"\\\"bytes\\\" is a number of bytes\",\"code\":\"EINVAL\"}\n");
	expect(&s, "{\"do\":\"balloon\",\"auto\":false}\n",
	       "{\"error\":\"\\\"auto\\\" is true, and without \\\"bytes\\\"\",\"code\":\"EINVAL\"}\n");
	expect(&s, "{\"do\":\"balloon\",\"auto\":true,\"bytes\":7}\n",
	       "{\"error\":\"\\\"auto\\\" is true, and without \\\"bytes\\\"\",\"code\":\"EINVAL\"}\n");
	expect(&s, "{\"do\":\"balloon\",\"bytes\":101}\n",
	       "{\"error\":\"too much\",\"code\":\"ERANGE\"}\n");
	put(&s, "\n");
	assert_int_equal(control_session_serve(&s), 1);
	assert_non_null(strstr(s.out.p, "\"code\":\"EINVAL\""));
	control_session_done(&s);
}

static void test_disks(void **state)
{
	static struct control_session s;
	static const char *const wrong[][2] = {
		{ "{\"do\":\"disk\"}\n", "is one of snapshot, commit" },
		{ "{\"do\":\"disk\",\"disk\":0,\"what\":\"burn\"}\n",
		  "is one of snapshot, commit" },
		{ "{\"do\":\"disk\",\"what\":\"cancel\"}\n", "a disk's number" },
		{ "{\"do\":\"disk\",\"disk\":-1,\"what\":\"cancel\"}\n", "a disk's number" },
		{ "{\"do\":\"disk\",\"disk\":0,\"what\":\"snapshot\"}\n", "needs" },
		{ "{\"do\":\"disk\",\"disk\":0,\"what\":\"snapshot\",\"file\":1}\n",
		  "is a string" },
		{ "{\"do\":\"disk\",\"disk\":0,\"what\":\"speed\",\"bps\":\"x\"}\n", "a second" },
		{ "{\"do\":\"disk\",\"disk\":0,\"what\":\"limit\"}\n", "is missing" },
		{ "{\"do\":\"disk\",\"disk\":0,\"what\":\"resize\"}\n", "is missing" },
		{ "{\"do\":\"disk\",\"disk\":0,\"what\":\"backup\",\"file\":\"/a\",\"format\":\"raw\"}\n",
		  "needs" },
		{ "{\"do\":\"disk\",\"disk\":0,\"what\":\"backup\",\"increment\":1}\n",
		  "true or false" },
		{ "{\"do\":\"disk\",\"disk\":0,\"what\":\"resize\",\"size\":512,\"shrink\":1}\n",
		  "true or false" },
		{ "{\"do\":\"disk\",\"disk\":2,\"what\":\"retry\"}\n", "ENODEV" },
	};

	control_session_init(&s, &ops, NULL);
	expect(&s, "{\"do\":\"disks\"}\n", "{\"ok\":[{\"disk\":0}]}\n");
	expect(&s, "{\"do\":\"disk\",\"disk\":1,\"what\":\"snapshot\",\"file\":\"/a\"}\n",
	       "{\"ok\":true}\n");
	assert_true(asked.ask == DISK_ASK_SNAPSHOT && asked.disk == 1);
	assert_string_equal(asked_file, "/a");
	expect(&s,
	       "{\"do\":\"disk\",\"disk\":0,\"what\":\"resize\",\"size\":1024,\"shrink\":true}\n",
	       "{\"ok\":true}\n");
	assert_true(asked.ask == DISK_ASK_RESIZE && asked.size == 1024 && asked.shrink);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		put(&s, wrong[i][0]);
		assert_int_equal(control_session_serve(&s), 1);
		assert_non_null(strstr(s.out.p, "\"error\""));
		assert_non_null(strstr(s.out.p, wrong[i][1]));
		strbuf_reset(&s.out);
	}
	control_session_done(&s);
}

/* After the answer the connection is no longer ours: what follows in it is not read as a request. */
/* What comes with a request goes with it; what nobody took is closed. */
static void test_files(void **state)
{
	static struct control_session s;
	int pipe_fd[2], kept[2];

	control_session_init(&s, &ops, NULL);
	assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
	s.fds = (struct ipc_fds){ .fd = { pipe_fd[0], pipe_fd[1] }, .nr = 2 };
	expect(&s,
	       "{\"do\":\"disk\",\"disk\":1,\"what\":\"snapshot\",\"file\":\"/a\",\"name\":\"b\"}\n",
	       "{\"ok\":true}\n");
	assert_int_equal(asked.nr_fds, 2);
	assert_int_equal(s.fds.nr, 0);
	assert_int_equal(fcntl(pipe_fd[0], F_GETFD), -1);
	assert_int_equal(fcntl(pipe_fd[1], F_GETFD), -1);
	assert_int_equal(pipe2(kept, O_CLOEXEC), 0);
	s.fds = (struct ipc_fds){ .fd = { kept[0], kept[1] }, .nr = 2 };
	assert_int_equal(ipc_fds_take(&s.fds, 1), kept[1]);
	assert_int_equal(ipc_fds_take(&s.fds, 1), -ENOENT);
	assert_int_equal(ipc_fds_take(&s.fds, 2), -ENOENT);
	control_session_done(&s);
	assert_int_equal(fcntl(kept[0], F_GETFD), -1);
	assert_true(fcntl(kept[1], F_GETFD) >= 0);
	close(kept[1]);
}

static void test_console(void **state)
{
	static struct control_session s;

	control_session_init(&s, &ops, NULL);
	expect(&s, "{\"do\":\"console\",\"port\":4}\n",
	       "{\"error\":\"\\\"port\\\" is a serial port's number from 0 to 3\",\"code\":\"EINVAL\"}\n");
	expect(&s, "{\"do\":\"console\",\"port\":1}\n",
	       "{\"error\":\"no port 1\",\"code\":\"ENODEV\"}\n");
	assert_int_equal(s.console, -1);
	put(&s, "{\"do\":\"console\"}\n{\"do\":\"stats\"}\n");
	assert_int_equal(control_session_serve(&s), 1);
	assert_string_equal(s.out.p, "{\"ok\":true}\n");
	assert_int_equal(s.console, 0);
	strbuf_reset(&s.out);
	assert_int_equal(control_session_serve(&s), 0);
	control_session_done(&s);
}

static void test_one_at_a_time(void **state)
{
	static struct control_session s;

	control_session_init(&s, &ops, NULL);
	put(&s, "{\"do\":\"stats\"}\n{\"do\":\"stats\"}\n{\"do\"");
	assert_int_equal(control_session_serve(&s), 1);
	assert_int_equal(control_session_serve(&s), 0); /* the first answer waits */
	assert_string_equal(s.out.p, "{\"ok\":{\"look\":0}}\n");
	strbuf_reset(&s.out);
	assert_int_equal(control_session_serve(&s), 1);
	strbuf_reset(&s.out);
	assert_int_equal(control_session_serve(&s), 0);
	assert_int_equal(s.in_n, 5);
	/* A line that does not end. */
	memset(s.in + s.in_n, 'x', sizeof(s.in) - s.in_n);
	s.in_n = sizeof(s.in);
	assert_int_equal(control_session_serve(&s), -EMSGSIZE);
	control_session_done(&s);
}

/* Who has switched counting on and goes away has switched it off. */
static void test_counting(void **state)
{
	static struct control_session s;

	control_session_init(&s, &ops, NULL);
	expect(&s, "{\"do\":\"count\",\"on\":true}\n", "{\"ok\":true}\n");
	assert_true(counting);
	control_session_done(&s);
	assert_false(counting);
	control_session_init(&s, &ops, &s);
	expect(&s, "{\"do\":\"count\",\"on\":true}\n",
	       "{\"error\":\"cannot\",\"code\":\"EOPNOTSUPP\"}\n");
	assert_false(s.is_counting);
	control_session_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),	 cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_console),	 cmocka_unit_test(test_one_at_a_time),
		cmocka_unit_test(test_counting), cmocka_unit_test(test_disks),
		cmocka_unit_test(test_files),	 cmocka_unit_test(test_attach),
		cmocka_unit_test(test_snapshot),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
