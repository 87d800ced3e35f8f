/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log lines through a pipe: both formats, hostile text, levels, and the rate limit of a site. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metric.h"
#include "unit.h"

struct fixture {
	struct clock_fake clock;
	int fds[2];
	char text[8192];
};

static struct fixture fx;

static int open_pipe(void **state)
{
	if (pipe2(fx.fds, O_NONBLOCK) < 0)
		return -1;
	clock_fake_init(&fx.clock, NS_PER_S, UINT64_C(1700000000123456789));
	return 0;
}

static int close_pipe(void **state)
{
	log_setup(STDERR_FILENO, LOG_AUTO, LOG_INFO, NULL);
	close(fx.fds[0]);
	close(fx.fds[1]);
	return 0;
}

/* What was written since the last call. */
static const char *written(void)
{
	ssize_t n = read(fx.fds[0], fx.text, sizeof(fx.text) - 1);

	fx.text[n > 0 ? n : 0] = '\0';
	return fx.text;
}

static void test_json(void **state)
{
	log_setup(fx.fds[1], LOG_AUTO, LOG_INFO, &fx.clock.clock);
	log_info("vm.start", kv_str("vm", "a\"b\n\x1b[2J\xff"), kv_u64("n", UINT64_MAX),
		 kv_i64("i", -5), kv_hex("at", 0xfee00000), kv_bool("ok", true));
	assert_string_equal(written(),
			    "{\"time\":\"2023-11-14T22:13:20.123456Z\",\"level\":\"info\","
			    "\"event\":\"vm.start\",\"vm\":\"a\\\"b\\n\\u001b[2J\\ufffd\","
			    "\"n\":18446744073709551615,\"i\":-5,\"at\":\"0xfee00000\","
			    "\"ok\":true}\n");
	log_info("plain");
	assert_non_null(strstr(written(), "\"event\":\"plain\"}\n"));
}

static void test_text(void **state)
{
	log_setup(fx.fds[1], LOG_TEXT, LOG_INFO, &fx.clock.clock);
	log_warn("disk.full", kv_str("path", "/a b"), kv_str("id", "x1"), kv_str("none", NULL),
		 kv_hex("at", 255));
	assert_string_equal(written(), "warn: disk.full path=\"/a b\" id=x1 none=\"\" at=0xff\n");
}

static void test_levels(void **state)
{
	enum log_level level = LOG_INFO;
	struct err err = ERR_INIT;

	log_setup(fx.fds[1], LOG_TEXT, LOG_WARN, &fx.clock.clock);
	log_info("hidden");
	log_debug("hidden");
	assert_string_equal(written(), "");
	log_error("shown");
	assert_string_equal(written(), "error: shown\n");
	assert_int_equal(log_level_parse("debug", &level, &err), 0);
	assert_int_equal(level, LOG_DEBUG);
	assert_true(log_level_parse("loud", &level, &err) < 0);
	assert_int_equal(level, LOG_DEBUG);
}

static void noisy(int times)
{
	for (int i = 0; i < times; i++)
		log_info("guest.bad_write");
}

static size_t count_lines(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

static void test_rate_limit(void **state)
{
	uint64_t dropped = metric_read(METRIC_log_suppressed);

	log_setup(fx.fds[1], LOG_TEXT, LOG_INFO, &fx.clock.clock);
	noisy(25);
	assert_int_equal(count_lines(written()), 10);
	assert_int_equal(metric_read(METRIC_log_suppressed) - dropped, 15);
	/* Another site is not affected. */
	log_info("other");
	assert_string_equal(written(), "info: other\n");
	clock_fake_advance(&fx.clock, NS_PER_S);
	noisy(2);
	assert_string_equal(written(),
			    "info: guest.bad_write suppressed=15\ninfo: guest.bad_write\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_json, open_pipe, close_pipe),
		cmocka_unit_test_setup_teardown(test_text, open_pipe, close_pipe),
		cmocka_unit_test_setup_teardown(test_levels, open_pipe, close_pipe),
		cmocka_unit_test_setup_teardown(test_rate_limit, open_pipe, close_pipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
