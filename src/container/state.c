/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is kept of a container: a folder ROOT/ID. The file says what cannot be found out (which process is init, which cgroups);
 * how the container is, is asked of the kernel each time, so that a process of ours that was killed leaves nothing untrue:
 * init lives when its number still belongs to a process that began at the same moment, and it waits for `start` when somebody
 * listens on the folder's socket, which init holds and its program does not.
 *
 * Files are written beside and renamed. A lock of the folder keeps two commands from changing one container at a time.
 */
#include "container/state_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "json/json.h"
#include "sys/fd.h"

static int id_check(const char *id, struct err *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_+-.";

	if (!id[0] || strlen(id) > 255 || strspn(id, allowed) != strlen(id) ||
	    strspn(id, ".") == strlen(id))
		return err_set(err, -EINVAL,
			       "'%.80s' is no name of a container: letters, digits and _+-. are, at "
			       "most 255",
			       id);
	return 0;
}

static int make_all(const char *path)
{
	_cleanup_(mem_freep) char *part = mem_strdup(path);

	for (char *p = part + 1;; p++) {
		char was = *p;

		if (was != '/' && was)
			continue;
		*p = 0;
		if (mkdir(part, 0711) < 0 && errno != EEXIST)
			return -errno;
		*p = was;
		if (!was)
			return 0;
	}
}

static struct ct_state *state_alloc(const char *id)
{
	struct ct_state *s = mem_new(sizeof(*s));

	s->root_fd = s->dir_fd = -EBADF;
	s->id = mem_strdup(id);
	return s;
}

void ct_close(struct ct_state *s)
{
	if (!s)
		return;
	fd_closep(&s->root_fd);
	fd_closep(&s->dir_fd);
	cgroups_done(&s->cgroups);
	ct_config_free(s->config);
	free(s->id);
	free(s->bundle);
	free(s->made_at);
	free(s);
}

void ct_closep(struct ct_state **s)
{
	ct_close(*s);
	*s = NULL;
}

int state_lock(const struct ct_state *s, struct err *err)
{
	return flock(s->dir_fd, LOCK_EX) < 0 ? err_set_errno(err, "lock container '%s'", s->id) : 0;
}

static int open_dir(struct ct_state *s)
{
	s->dir_fd = openat(s->root_fd, s->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return s->dir_fd < 0 ? -errno : 0;
}

int state_new(const char *root, const char *id, struct ct_state **ret, struct err *err)
{
	_cleanup_(ct_closep) struct ct_state *s = state_alloc(id);
	int r = id_check(id, err);

	if (r < 0)
		return r;
	r = make_all(root);
	if (r < 0)
		return err_set(err, r, "make '%.160s': %s", root, strerrordesc_np(-r));
	r = fd_open(root, O_RDONLY | O_DIRECTORY, &s->root_fd, err);
	if (r < 0)
		return r;
	if (mkdirat(s->root_fd, id, 0711) < 0)
		return errno == EEXIST
			       ? err_set(err, -EEXIST, "a container '%s' exists already", id)
			       : err_set_errno(err, "make the folder of container '%s'", id);
	r = open_dir(s);
	if (r < 0)
		return err_set(err, r, "folder of container '%s'", id);
	r = state_lock(s, err);
	if (r == 0)
		*ret = take_ptr(&s);
	return r;
}

static void add_member(struct strbuf *out, const char *name, const char *text)
{
	strbuf_addf(out, ", \"%s\": ", name);
	strbuf_add_json(out, str_of(text));
}

int state_write(const struct ct_state *s, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf text = { 0 };
	_cleanup_(fd_closep) int fd = -EBADF;
	int r;

	strbuf_addf(&text, "{\"pid\": %d, \"pidStart\": %llu", s->pid,
		    (unsigned long long)s->pid_start);
	add_member(&text, "bundle", s->bundle);
	add_member(&text, "created", s->made_at);
	strbuf_adds(&text, ", \"cgroups\": [");
	for (size_t i = 0; i < s->cgroups.n; i++) {
		strbuf_adds(&text, i ? ", {\"path\": " : "{\"path\": ");
		strbuf_add_json(&text, str_of(s->cgroups.dir[i].path));
		add_member(&text, "controllers", s->cgroups.dir[i].controllers);
		strbuf_addc(&text, '}');
	}
	strbuf_adds(&text, "]}\n");
	fd = openat(s->dir_fd, "state.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set_errno(err, "write the state of container '%s'", s->id);
	r = fd_write_full(fd, text.p, text.n);
	if (r == 0 && renameat(s->dir_fd, "state.new", s->dir_fd, "state.json") < 0)
		r = -errno;
	return r < 0 ? err_set(err, r, "write the state of container '%s': %s", s->id,
			       strerrordesc_np(-r))
		     : 0;
}

int state_remove(const struct ct_state *s, struct err *err)
{
	static const char *const files[] = { "state.json", "state.new", "config.json",
					     "start.sock" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (unlinkat(s->dir_fd, files[i], 0) < 0 && errno != ENOENT)
			return err_set_errno(err, "remove %s of container '%s'", files[i], s->id);
	if (unlinkat(s->root_fd, s->id, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_set_errno(err, "remove the folder of container '%s'", s->id);
	return 0;
}

static int read_file(int dir_fd, const char *name, void **ret, size_t *ret_n, struct err *err)
{
	_cleanup_(fd_closep) int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set_errno(err, "open %s", name);
	return file_read_fd(fd, name, CT_CONFIG_MAX, ret, ret_n, err);
}

static void read_state(struct ct_state *s, const struct json *j)
{
	const struct json *list = json_get(j, "cgroups");
	const char *bundle = json_str(json_get(j, "bundle"));
	const char *made_at = json_str(json_get(j, "created"));
	uint64_t pid = 0;

	if (json_u64(json_get(j, "pid"), &pid) && pid <= INT32_MAX)
		s->pid = (pid_t)pid;
	ignore_result(json_u64(json_get(j, "pidStart"), &s->pid_start)); /* 0: no such process */
	s->bundle = mem_strdup(bundle ? bundle : "");
	s->made_at = mem_strdup(made_at ? made_at : "");
	for (size_t i = 0; i < json_count(list); i++) {
		const char *path = json_str(json_get(json_at(list, i), "path"));
		const char *names = json_str(json_get(json_at(list, i), "controllers"));

		if (path && names)
			cgroups_add(&s->cgroups, path, names);
	}
}

int ct_open(const char *root, const char *id, struct ct_state **ret, struct err *err)
{
	_cleanup_(ct_closep) struct ct_state *s = state_alloc(id);
	_cleanup_(mem_freep) void *text = NULL, *config = NULL;
	struct json *j = NULL;
	size_t n;
	int r = id_check(id, err);

	if (r < 0)
		return r;
	s->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = s->root_fd < 0 ? -errno : open_dir(s);
	if (r == -ENOENT)
		return err_set(err, r, "there is no container '%s' (in %.120s)", id, root);
	if (r < 0)
		return err_set(err, r, "container '%s': %s", id, strerrordesc_np(-r));
	/* Both may be missing where a killed runtime had not written them yet. */
	if (read_file(s->dir_fd, "state.json", &text, &n, NULL) == 0 &&
	    json_parse((struct str){ text, n }, &j, NULL) == 0)
		read_state(s, j);
	else
		read_state(s, NULL);
	json_free(j);
	if (read_file(s->dir_fd, "config.json", &config, &n, NULL) == 0)
		ignore_result(ct_config_parse((struct str){ config, n }, &s->config, NULL));
	*ret = take_ptr(&s);
	return 0;
}

uint64_t process_start(pid_t pid)
{
	_cleanup_(mem_freep) void *text = NULL;
	struct str rest, field;
	uint64_t start = 0;
	char path[32], *end;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (file_read(path, 4096, &text, &n, NULL) < 0)
		return 0;
	/* The name, in parentheses, may hold anything: fields are counted from its end, the state is the first. */
	end = strrchr(text, ')');
	if (!end || end[1] != ' ' || end[2] == 'Z' || end[2] == 'X')
		return 0;
	rest = str_of(end + 2);
	for (size_t i = 3; i <= 22; i++)
		if (!str_cut(&rest, ' ', &field))
			return 0;
	return str_parse_u64(field, 0, UINT64_MAX, &start, NULL) == 0 ? start : 0;
}

/* Paths of sockets have 108 bytes: by the folder's descriptor. */
static struct sockaddr_un socket_address(const struct ct_state *s)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/start.sock", s->dir_fd);
	return a;
}

int state_listen(const struct ct_state *s, struct err *err)
{
	_cleanup_(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct sockaddr_un a = socket_address(s);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 16) < 0)
		return err_set_errno(err, "socket of container '%s'", s->id);
	return fd_take(&fd);
}

int state_connect(const struct ct_state *s)
{
	_cleanup_(fd_closep) int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const struct sockaddr_un a = socket_address(s);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	return fd_take(&fd);
}

enum ct_status ct_status(const struct ct_state *s)
{
	int fd;

	if (!s->pid) {
		/* Whoever makes it holds the lock; when nobody does, that was killed. */
		if (flock(s->dir_fd, LOCK_SH | LOCK_NB) < 0)
			return CT_CREATING;
		flock(s->dir_fd, LOCK_UN);
		return CT_STOPPED;
	}
	if (!ct_pid(s))
		return CT_STOPPED;
	if (cgroups_frozen(&s->cgroups))
		return CT_PAUSED;
	fd = state_connect(s);
	if (fd < 0)
		return fd == -EAGAIN ? CT_CREATED : CT_RUNNING;
	fd_closep(&fd);
	return CT_CREATED;
}

const char *ct_status_name(enum ct_status status)
{
	static const char *const names[] = {
		[CT_CREATING] = "creating", [CT_CREATED] = "created", [CT_RUNNING] = "running",
		[CT_PAUSED] = "paused",	    [CT_STOPPED] = "stopped",
	};

	return names[status];
}

pid_t ct_pid(const struct ct_state *s)
{
	return s->pid && s->pid_start && process_start(s->pid) == s->pid_start ? s->pid : 0;
}

const char *ct_bundle(const struct ct_state *s)
{
	return s->bundle;
}

const char *ct_made_at(const struct ct_state *s)
{
	return s->made_at;
}

void state_text(const struct ct_state *s, enum ct_status status, struct strbuf *out)
{
	const struct ct_config *c = s->config;

	strbuf_addf(out, "{\"ociVersion\": \"1.1.0\"");
	add_member(out, "id", s->id);
	add_member(out, "status", ct_status_name(status));
	strbuf_addf(out, ", \"pid\": %d", status == CT_STOPPED ? 0 : s->pid);
	add_member(out, "bundle", s->bundle);
	add_member(out, "created", s->made_at);
	strbuf_adds(out, ", \"annotations\": {");
	for (size_t i = 0; c && i < c->annotations.n; i++) {
		strbuf_adds(out, i ? ", " : "");
		strbuf_add_json(out, str_of(c->annotations.v[i].key));
		strbuf_adds(out, ": ");
		strbuf_add_json(out, str_of(c->annotations.v[i].value));
	}
	strbuf_adds(out, "}}\n");
}

void ct_state_json(const struct ct_state *s, struct strbuf *out)
{
	state_text(s, ct_status(s), out);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int ct_each(const char *root, void (*fn)(void *arg, const char *id), void *arg, struct err *err)
{
	DIR *dir = opendir(root);
	char **names = NULL;
	struct dirent *e;
	size_t n = 0;

	if (!dir)
		return errno == ENOENT ? 0 : err_set_errno(err, "open '%.160s'", root);
	while ((e = readdir(dir))) {
		if (e->d_type != DT_DIR || id_check(e->d_name, NULL) < 0)
			continue;
		names = mem_renew(names, n + 1, sizeof(*names));
		names[n++] = mem_strdup(e->d_name);
	}
	closedir(dir);
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	for (size_t i = 0; i < n; i++) {
		fn(arg, names[i]);
		free(names[i]);
	}
	free(names);
	return 0;
}
