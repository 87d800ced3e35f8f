/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of the control socket: from a line to an answer. An answer is made when the one before it has been sent,
 * so a client that asks and does not read costs one answer's memory.
 */
#include <errno.h>
#include <string.h>

#include "json/json.h"
#include "vm/control_priv.h"
#include "vm/snapshot/file.h"

static void add_error(struct control_session *s, const struct err *err)
{
	const char *code = strerrorname_np(-err->code);

	strbuf_adds(&s->out, "{\"error\":");
	strbuf_add_json(&s->out, str_of(err_text(err)));
	strbuf_adds(&s->out, ",\"code\":");
	strbuf_add_json(&s->out, str_of(code ? code : "EIO"));
	strbuf_adds(&s->out, "}\n");
}

/* @value: JSON, or text that is still to become a JSON string. */
static void add_ok(struct control_session *s, struct str value, bool is_text)
{
	strbuf_adds(&s->out, "{\"ok\":");
	if (is_text)
		strbuf_add_json(&s->out, value);
	else
		strbuf_add(&s->out, value.p, value.n);
	strbuf_adds(&s->out, "}\n");
}

static int do_info(struct control_session *s, const struct json *j, bool is_text,
		   struct strbuf *value, struct err *err)
{
	s->ops->info(s->arg, value);
	return 0;
}

static int do_stats(struct control_session *s, const struct json *j, bool is_text,
		    struct strbuf *value, struct err *err)
{
	s->ops->stats(s->arg, &s->before, !is_text, value);
	return 0;
}

static int do_count(struct control_session *s, const struct json *j, bool is_text,
		    struct strbuf *value, struct err *err)
{
	bool on;
	int r;

	strbuf_adds(value, "true");
	if (!json_bool(json_get(j, "on"), &on))
		return err_set(err, -EINVAL, "'count' needs \"on\": true or false");
	if (on == s->is_counting)
		return 0;
	r = s->ops->count(s->arg, on, err);
	if (r == 0)
		s->is_counting = on;
	return r;
}

static int do_trace(struct control_session *s, const struct json *j, bool is_text,
		    struct strbuf *value, struct err *err)
{
	struct cpu_hot_query q = { .top = 20, .json = !is_text };
	const struct json *top = json_get(j, "top"), *address = json_get(j, "address");
	uint64_t n = q.top;
	int r;

	if (top && (!json_u64(top, &n) || n < 1 || n > CPU_HOT_MAX))
		return err_set(err, -EINVAL, "\"top\" is a number from 1 to %d", CPU_HOT_MAX);
	q.top = (unsigned int)n;
	if (address) {
		if (!json_str(address))
			return err_set(err, -EINVAL, "\"address\" is a string: \"0x...\"");
		r = str_parse_u64(str_of(json_str(address)), 0, UINT64_MAX, &q.address, err);
		if (r < 0)
			return err_wrap(err, r, "\"address\"");
		q.has_address = true;
	}
	return s->ops->trace(s->arg, &q, value, err);
}

static int do_balloon(struct control_session *s, const struct json *j, bool is_text,
		      struct strbuf *value, struct err *err)
{
	const struct json *bytes = json_get(j, "bytes"), *automatic = json_get(j, "auto");
	uint64_t n = MACHINE_BALLOON_BY_HOST;
	bool on = true;

	if (bytes && !json_u64(bytes, &n))
		return err_set(err, -EINVAL, "\"bytes\" is a number of bytes");
	if (automatic && (bytes || !json_bool(automatic, &on) || !on))
		return err_set(err, -EINVAL, "\"auto\" is true, and without \"bytes\"");
	return s->ops->balloon(s->arg, bytes || automatic ? &n : NULL, is_text, value, err);
}

static int do_screen(struct control_session *s, const struct json *j, bool is_text,
		     struct strbuf *value, struct err *err)
{
	return s->ops->screen(s->arg, is_text, value, err);
}

static int do_cpus(struct control_session *s, const struct json *j, bool is_text,
		   struct strbuf *value, struct err *err)
{
	const struct json *n = json_get(j, "n");
	uint64_t v;

	if (n && !json_u64(n, &v))
		return err_set(err, -EINVAL, "\"n\" is a number of vCPUs");
	return s->ops->cpus(s->arg, n ? &v : NULL, value, err);
}

static int do_power(struct control_session *s, const struct json *j, bool is_text,
		    struct strbuf *value, struct err *err)
{
	static const char *const words[CONTROL_NR_POWER] = { "button", "off", "reset", "pause",
							     "resume" };
	const char *what = json_str(json_get(j, "what"));

	for (unsigned int k = 0; what && k < CONTROL_NR_POWER; k++)
		if (!strcmp(what, words[k]))
			return s->ops->power(s->arg, (enum control_power)k, value, err);
	return err_set(err, -EINVAL,
		       "'power' needs \"what\": one of button, off, reset, pause, resume");
}

static int do_disks(struct control_session *s, const struct json *j, bool is_text,
		    struct strbuf *value, struct err *err)
{
	s->ops->disks(s->arg, value);
	return 0;
}

static int do_disk(struct control_session *s, const struct json *j, bool is_text,
		   struct strbuf *value, struct err *err)
{
	struct disk_request_spec request;
	int r = disk_request_parse(j, &s->fds, &request, err);

	strbuf_adds(value, "true");
	return r < 0 ? r : s->ops->disk(s->arg, &request, err);
}

static int do_devices(struct control_session *s, const struct json *j, bool is_text,
		      struct strbuf *value, struct err *err)
{
	s->ops->devices(s->arg, value);
	return 0;
}

static int do_attach(struct control_session *s, const struct json *j, bool is_text,
		     struct strbuf *value, struct err *err)
{
	struct attach_request_spec request;
	int r = attach_request_parse(j, s->fds.nr, &request, err);

	return r < 0 ? r : s->ops->attach(s->arg, &request, &s->fds, value, err);
}

static int do_detach(struct control_session *s, const struct json *j, bool is_text,
		     struct strbuf *value, struct err *err)
{
	const char *name = json_str(json_get(j, "name"));

	if (!name)
		return err_set(err, -EINVAL, "'detach' needs \"name\", as 'devices' tells it");
	strbuf_adds(value, "true");
	return s->ops->detach(s->arg, name, err);
}

/* Of a file in a folder. */
static bool is_name(const char *name)
{
	return name && *name && strlen(name) <= 255 && !strchr(name, '/');
}

static int do_snapshot(struct control_session *s, const struct json *j, bool is_text,
		       struct strbuf *value, struct err *err)
{
	const char *what = json_str(json_get(j, "what")), *name[IPC_FDS_MAX];
	const char *base = json_str(json_get(j, "base"));
	struct snapshot_ref ref;
	struct machine_save to = { .disk_fd = s->fds.fd + 1, .disk_name = name };

	if (!what || strcmp(what, "save") != 0)
		return err_set(err, -EINVAL, "'snapshot' needs \"what\": save");
	if (!s->fds.nr)
		return err_set(err, -EINVAL, "'snapshot' needs the descriptor of a file");
	for (unsigned int i = 0; i + 1 < s->fds.nr; i++) {
		name[i] = json_str(json_at(json_get(j, "disks"), i));
		if (!is_name(name[i]))
			return err_set(err, -EINVAL,
				       "\"disks\" are the names of files, one for each further "
				       "descriptor");
	}
	if (base) {
		to.base_name = json_str(json_get(j, "base_name"));
		if (snapshot_ref_parse(base, &ref) < 0 || !is_name(to.base_name))
			return err_set(
				err, -EINVAL,
				"\"base\" is %d hexadecimal digits, \"base_name\" the file's name",
				SNAPSHOT_REF_TEXT - 1);
		to.base = &ref;
	}
	to.nr_disks = s->fds.nr - 1;
	to.fd = s->fds.fd[0];
	return s->ops->snapshot(s->arg, &to, value, err);
}

static int do_console(struct control_session *s, const struct json *j, bool is_text,
		      struct strbuf *value, struct err *err)
{
	const struct json *port = json_get(j, "port");
	uint64_t n = 0;
	int r;

	strbuf_adds(value, "true");
	if (port && (!json_u64(port, &n) || n > 3))
		return err_set(err, -EINVAL, "\"port\" is a serial port's number from 0 to 3");
	r = s->ops->console(s->arg, (unsigned int)n, err);
	if (r == 0)
		s->console = (int)n;
	return r;
}

/* What can be asked. A handler appends the answer's value, and returns 0 or negative. */
static const struct request {
	const char *word;
	int (*fn)(struct control_session *s, const struct json *j, bool is_text,
		  struct strbuf *value, struct err *err);
	enum { JSON, JSON_OR_TEXT, TEXT } value;
} requests[] = {
	{ "info", do_info, JSON },	   { "stats", do_stats, JSON_OR_TEXT },
	{ "count", do_count, JSON },	   { "trace", do_trace, JSON_OR_TEXT },
	{ "screen", do_screen, TEXT },	   { "balloon", do_balloon, JSON_OR_TEXT },
	{ "power", do_power, JSON },	   { "cpus", do_cpus, JSON },
	{ "snapshot", do_snapshot, JSON }, { "disks", do_disks, JSON },
	{ "disk", do_disk, JSON },	   { "devices", do_devices, JSON },
	{ "attach", do_attach, JSON },	   { "detach", do_detach, JSON },
	{ "console", do_console, JSON },
};

static int refuse(const char *what, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf words = { 0 };

	for (size_t k = 0; k < ARRAY_SIZE(requests); k++)
		strbuf_addf(&words, "%s%s", k ? ", " : "", requests[k].word);
	return err_set(err, -EOPNOTSUPP, "'%.40s' is none of %s", what, strbuf_cstr(&words));
}

/* Returns 0 with the value in @value, or negative. */
static int answer(struct control_session *s, const struct json *j, struct strbuf *value,
		  bool *ret_is_text, struct err *err)
{
	const char *what = json_str(json_get(j, "do"));
	const struct request *q = requests;
	bool is_text = false;

	if (!what)
		return err_set(err, -EINVAL, "a request is an object with \"do\": a string");
	while (q < requests + ARRAY_SIZE(requests) && strcmp(what, q->word) != 0)
		q++;
	if (q == requests + ARRAY_SIZE(requests))
		return refuse(what, err);
	ignore_result(json_bool(json_get(j, "text"), &is_text)); /* missing means false */
	*ret_is_text = q->value == TEXT || (q->value == JSON_OR_TEXT && is_text);
	return q->fn(s, j, is_text, value, err);
}

static void serve_line(struct control_session *s, struct str line)
{
	_cleanup_(strbuf_done) struct strbuf value = { 0 };
	_cleanup_(json_freep) struct json *j = NULL;
	struct err err = ERR_INIT;
	bool is_text = false;

	if (json_parse(line, &j, &err) < 0 || answer(s, j, &value, &is_text, &err) < 0)
		add_error(s, &err);
	else
		add_ok(s, is_text ? strbuf_str(&value) : str_trim(strbuf_str(&value)), is_text);
	ipc_fds_done(&s->fds); /* what it had no use for */
}

int control_session_serve(struct control_session *s)
{
	char *end = memchr(s->in, '\n', s->in_n);
	size_t n;

	if (s->out.n || s->console >= 0)
		return 0;
	if (!end)
		return s->in_n == CONTROL_LINE_MAX ? -EMSGSIZE : 0;
	n = (size_t)(end - s->in);
	serve_line(s, (struct str){ s->in, n });
	s->in_n -= n + 1;
	memmove(s->in, end + 1, s->in_n);
	return 1;
}

void control_session_init(struct control_session *s, const struct control_ops *ops, void *arg)
{
	memset(s, 0, sizeof(*s));
	s->ops = ops;
	s->arg = arg;
	s->console = -1;
}

void control_session_done(struct control_session *s)
{
	if (s->is_counting)
		ignore_result(s->ops->count(s->arg, false, NULL)); /* nobody is there to be told */
	s->is_counting = false;
	ipc_fds_done(&s->fds);
	strbuf_done(&s->out);
}
