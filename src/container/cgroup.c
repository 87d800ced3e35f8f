/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cgroups of a container, in whatever layout the host has: version 2 alone, version 1, or both at once, each hierarchy
 * mounted somewhere. mountinfo says where and which controllers; the container gets a folder in each. Only limits that were
 * asked for are written, and one that cannot be is an error; a hierarchy without limits that refuses the folder is an error only
 * where it would matter (not for users without rights there).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "container/cgroup_priv.h"
#include "container/container_priv.h"
#include "sys/fd.h"

/* A line of /proc/self/mountinfo or cgroup. */
enum { TEXT_MAX = 4 << 20 };

void cgroups_add(struct cgroups *cg, const char *path, const char *controllers)
{
	if (cg->n == CGROUPS_MAX)
		return;
	cg->dir[cg->n].path = mem_strdup(path);
	cg->dir[cg->n].controllers = mem_strdup(controllers);
	cg->dir[cg->n++].is_v2 = !controllers[0];
}

void cgroups_done(struct cgroups *cg)
{
	for (size_t i = 0; i < cg->n; i++) {
		free(cg->dir[i].path);
		free(cg->dir[i].controllers);
	}
	cg->n = 0;
}

/* Where we are in the hierarchy with these controllers; "/" when it is not told. @text: /proc/self/cgroup. */
static struct str own_path(struct str text, struct str controllers)
{
	struct str line, number, names;

	while (str_cut(&text, '\n', &line)) {
		str_cut(&line, ':', &number);
		str_cut(&line, ':', &names);
		if (str_eq(names, controllers))
			return line;
	}
	return STR("/");
}

/* The controllers of a v1 mount: its last options but "rw" and "ro". Named hierarchies (systemd's) are left alone. */
static struct str controllers_of(struct str options)
{
	struct str word;

	while (options.n) {
		struct str rest = options;

		str_cut(&rest, ',', &word);
		if (!str_eq(word, STR("rw")) && !str_eq(word, STR("ro")))
			break;
		options = rest;
	}
	return options;
}

static bool has_dots(const char *path)
{
	struct str rest = str_of(path), part;

	while (str_cut(&rest, '/', &part))
		if (str_eq(part, STR("..")))
			return true;
	return false;
}

struct finding {
	struct cgroups *cg;
	struct str own; /* /proc/self/cgroup */
	const char *path, *id;
};

/* Leaves out what says nothing in a path: a '/' behind another, and at its end. */
static void squeeze(struct strbuf *path)
{
	size_t n = 0;

	for (size_t i = 0; i < path->n; i++)
		if (path->p[i] != '/' || (i + 1 < path->n && path->p[i + 1] != '/'))
			path->p[n++] = path->p[i];
	path->p[path->n = n] = 0;
}

/* One line: "31 23 0:28 ROOT MOUNTPOINT OPTIONS ... - TYPE SOURCE SUPER-OPTIONS". */
static void take_mount(struct finding *f, struct str line)
{
	_cleanup_(strbuf_done) struct strbuf path = { 0 }, names = { 0 };
	struct str field[5], type, source, own, controllers = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(field); i++)
		str_cut(&line, ' ', &field[i]);
	while (str_cut(&line, ' ', &source) && !str_eq(source, STR("-")))
		;
	str_cut(&line, ' ', &type);
	str_cut(&line, ' ', &source);
	if (str_eq(type, STR("cgroup")))
		controllers = controllers_of(line);
	else if (!str_eq(type, STR("cgroup2")))
		return;
	if (str_starts(controllers, STR("name=")) ||
	    (str_eq(type, STR("cgroup")) && !controllers.n))
		return;
	strbuf_addf(&path, "%.*s", STR_ARG(field[4]));
	if (!f->path || f->path[0] != '/') {
		own = own_path(f->own, controllers);
		/* What is mounted may be a part of the hierarchy. */
		if (!str_eq(field[3], STR("/")) && str_starts(own, field[3]))
			own = str_skip(own, field[3].n);
		strbuf_addf(&path, "/%.*s", STR_ARG(own));
	}
	strbuf_addf(&path, "/%s", f->path ? f->path : f->id);
	squeeze(&path);
	strbuf_add(&names, controllers.p, controllers.n);
	cgroups_add(f->cg, strbuf_cstr(&path), strbuf_cstr(&names));
}

int cgroups_find(const char *path, const char *id, struct cgroups *ret, struct err *err)
{
	_cleanup_(mem_freep) void *mounts = NULL, *own = NULL;
	struct finding f = { .cg = ret, .path = path, .id = id };
	struct str rest, line;
	size_t n, own_n;
	int r;

	if (path && has_dots(path))
		return err_set(err, -EINVAL, "linux.cgroupsPath: '%.120s' has \"..\"", path);
	r = file_read("/proc/self/mountinfo", TEXT_MAX, &mounts, &n, err);
	if (r == 0)
		r = file_read("/proc/self/cgroup", TEXT_MAX, &own, &own_n, err);
	if (r < 0)
		return r;
	f.own = (struct str){ own, own_n };
	rest = (struct str){ mounts, n };
	while (str_cut(&rest, '\n', &line))
		take_mount(&f, line);
	return 0;
}

int cgroup_write(const char *folder, const char *file, const char *text)
{
	_cleanup_(strbuf_done) struct strbuf path = { 0 };

	strbuf_addf(&path, "%s/%s", folder, file);
	return write_text(strbuf_cstr(&path), text);
}

static int cgroup_read(const char *folder, const char *file, void **ret, size_t *ret_n)
{
	_cleanup_(strbuf_done) struct strbuf path = { 0 };

	strbuf_addf(&path, "%s/%s", folder, file);
	return file_read(strbuf_cstr(&path), TEXT_MAX, ret, ret_n, NULL);
}

/* A new cpuset of v1 has neither CPUs nor memory, and no process may enter it. */
static void inherit_cpuset(const char *folder)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_(mem_freep) char *parent = mem_strdup(folder);
		_cleanup_(mem_freep) void *text = NULL;
		size_t n;

		*strrchr(parent, '/') = 0;
		if (cgroup_read(parent, files[i], &text, &n) == 0)
			ignore_result(cgroup_write(folder, files[i], text)); /* joining tells */
	}
}

/* What lies above a v2 cgroup has to hand its controllers down; mostly it does. */
static void hand_down(const char *folder)
{
	_cleanup_(mem_freep) void *has = NULL, *given = NULL;
	_cleanup_(strbuf_done) struct strbuf more = { 0 };
	struct str rest, word;
	size_t n;

	if (cgroup_read(folder, "cgroup.controllers", &has, &n) < 0 ||
	    cgroup_read(folder, "cgroup.subtree_control", &given, &n) < 0 ||
	    strcmp(has, given) == 0)
		return;
	rest = str_trim(str_of(has));
	while (str_cut(&rest, ' ', &word)) {
		strbuf_reset(&more);
		strbuf_addf(&more, "+%.*s", STR_ARG(word));
		ignore_result(cgroup_write(folder, "cgroup.subtree_control",
					   strbuf_cstr(&more))); /* setting a limit tells */
	}
}

static int make_last(const char *path, const char *controllers)
{
	if (mkdir(path, 0755) < 0)
		return -errno;
	if (strcmp(controllers, "cpuset") == 0)
		inherit_cpuset(path);
	return 0;
}

static int make_folder(const char *path, const char *controllers, bool is_v2)
{
	_cleanup_(mem_freep) char *part = NULL;

	/* Mostly only its own is missing; above one of version 2, controllers are handed down first. */
	if (!is_v2) {
		int r = make_last(path, controllers);

		if (r != -ENOENT)
			return r == -EEXIST ? 0 : r;
	}
	part = mem_strdup(path);

	for (char *p = part + 1;; p++) {
		char was = *p;
		int r;

		if (was != '/' && was)
			continue;
		*p = 0;
		r = make_last(part, controllers);
		if (r < 0 && r != -EEXIST)
			return r;
		if (is_v2 && was && access(part, W_OK) == 0)
			hand_down(part);
		*p = was;
		if (!was)
			return 0;
	}
}

int cgroups_make(struct cgroups *cg, const struct ct_resources *res, bool is_rootless,
		 struct strbuf *warnings, struct err *err)
{
	int r;

	for (size_t i = 0; i < cg->n; i++) {
		r = make_folder(cg->dir[i].path, cg->dir[i].controllers, cg->dir[i].is_v2);

		if (r == 0)
			continue;
		if (!is_rootless || !(r == -EACCES || r == -EPERM || r == -EROFS))
			return err_set(err, r, "cgroup '%.160s': %s", cg->dir[i].path,
				       strerrordesc_np(-r));
		strbuf_addf(warnings, "cgroup '%s': no right to make it\n", cg->dir[i].path);
		free(cg->dir[i].path);
		free(cg->dir[i].controllers);
		cg->dir[i--] = cg->dir[--cg->n];
	}
	r = cgroups_limit(cg, res, err);
	return r < 0 ? r : cgroups_limit_devices(cg, res, is_rootless, warnings, err);
}

void cgroup_doors_init(struct cgroup_doors *doors)
{
	for (size_t i = 0; i < CGROUPS_MAX; i++)
		doors->tasks_fd[i] = -EBADF;
	doors->v2_fd = -EBADF;
}

void cgroup_doors_close(struct cgroup_doors *doors)
{
	for (size_t i = 0; i < CGROUPS_MAX; i++)
		fd_closep(&doors->tasks_fd[i]);
	fd_closep(&doors->v2_fd);
}

static int cannot_join(const char *path, int r, struct err *err)
{
	return err_set(err, r, "join the cgroup '%.120s': %s", path, strerrordesc_np(-r));
}

int cgroups_open(const struct cgroups *cg, struct cgroup_doors *ret, struct err *err)
{
	for (size_t i = 0; i < cg->n; i++) {
		const char *path = cg->dir[i].path;
		_cleanup_(strbuf_done) struct strbuf tasks = { 0 };
		int fd;

		if (cg->dir[i].is_v2) {
			fd = ret->v2_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		} else {
			strbuf_addf(&tasks, "%s/tasks", path);
			fd = ret->tasks_fd[i] = open(strbuf_cstr(&tasks), O_WRONLY | O_CLOEXEC);
		}
		if (fd < 0)
			return cannot_join(path, -errno, err);
	}
	return 0;
}

int cgroups_enter(struct cgroup_doors *doors, struct err *err)
{
	for (size_t i = 0; i < CGROUPS_MAX; i++)
		/* "0" is the thread that writes. */
		if (doors->tasks_fd[i] >= 0 && write(doors->tasks_fd[i], "0", 1) < 0)
			return err_set_errno(err, "join cgroups");
	cgroup_doors_close(doors);
	return 0;
}

int cgroups_move(const struct cgroups *cg, pid_t pid, struct err *err)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	for (size_t i = 0; i < cg->n; i++) {
		int r = cg->dir[i].is_v2 ? cgroup_write(cg->dir[i].path, "cgroup.procs", text) : 0;

		if (r < 0)
			return cannot_join(cg->dir[i].path, r, err);
	}
	return 0;
}

/* A cgroup and all below it, depth first: fn(arg, path). */
static void walk(const char *path, void (*fn)(void *arg, const char *path), void *arg)
{
	DIR *dir = opendir(path);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		_cleanup_(strbuf_done) struct strbuf below = { 0 };

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		strbuf_addf(&below, "%s/%s", path, e->d_name);
		walk(strbuf_cstr(&below), fn, arg);
	}
	if (dir) {
		closedir(dir);
		fn(arg, path);
	}
}

struct pids {
	void (*fn)(void *arg, pid_t pid);
	void *arg;
	int n;
};

static void each_pid(void *arg, const char *path)
{
	_cleanup_(mem_freep) void *text = NULL;
	struct pids *pids = arg;
	struct str rest, line;
	uint64_t pid;
	size_t n;

	if (cgroup_read(path, "cgroup.procs", &text, &n) < 0)
		return;
	rest = (struct str){ text, n };
	while (str_cut(&rest, '\n', &line))
		if (line.n && str_parse_u64(line, 1, INT32_MAX, &pid, NULL) == 0) {
			pids->fn(pids->arg, (pid_t)pid);
			pids->n++;
		}
}

/* All hierarchies have the same processes: the first that was made tells. */
int cgroups_each_pid(const struct cgroups *cg, void (*fn)(void *arg, pid_t pid), void *arg)
{
	struct pids pids = { .fn = fn, .arg = arg };

	if (!cg->n)
		return -EOPNOTSUPP;
	walk(cg->dir[0].path, each_pid, &pids);
	return pids.n;
}

int cgroups_freeze(const struct cgroups *cg, bool on)
{
	for (size_t i = 0; i < cg->n; i++) {
		int r = -ENOENT;

		if (strcmp(cg->dir[i].controllers, "freezer") == 0)
			r = cgroup_write(cg->dir[i].path, "freezer.state",
					 on ? "FROZEN" : "THAWED");
		else if (cg->dir[i].is_v2 && cg->n == 1)
			r = cgroup_write(cg->dir[i].path, "cgroup.freeze", on ? "1" : "0");
		if (r != -ENOENT)
			return r;
	}
	return -EOPNOTSUPP;
}

bool cgroups_frozen(const struct cgroups *cg)
{
	for (size_t i = 0; i < cg->n; i++) {
		_cleanup_(mem_freep) void *text = NULL;
		bool is_v1 = strcmp(cg->dir[i].controllers, "freezer") == 0;
		size_t n;

		if (!is_v1 && !(cg->dir[i].is_v2 && cg->n == 1))
			continue;
		if (cgroup_read(cg->dir[i].path, is_v1 ? "freezer.state" : "cgroup.freeze", &text,
				&n) < 0)
			continue;
		return ((char *)text)[0] == (is_v1 ? 'F' : '1');
	}
	return false;
}

static void ignore_pid(void *arg, pid_t pid)
{
}

int cgroups_check(const struct cgroups *cg, struct err *err)
{
	for (size_t i = 0; i < cg->n; i++) {
		struct pids pids = { .fn = ignore_pid };

		walk(cg->dir[i].path, each_pid, &pids);
		if (pids.n)
			return err_set(err, -EBUSY,
				       "cgroup '%.160s' has processes of somebody else",
				       cg->dir[i].path);
	}
	return 0;
}

static void kill_pid(void *arg, pid_t pid)
{
	kill(pid, SIGKILL);
}

static void remove_folder(void *arg, const char *path)
{
	if (rmdir(path) < 0 && errno != ENOENT)
		*(int *)arg = -errno;
}

/* Most have nothing below them. */
static int remove_all(const char *path)
{
	int r = 0;

	if (rmdir(path) < 0 && errno != ENOENT)
		walk(path, remove_folder, &r);
	return r;
}

/* Killed processes leave their cgroups a moment later, and some fork meanwhile: again, until there is none. */
int cgroups_remove(const struct cgroups *cg, struct err *err)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	int r = 0;

	for (unsigned int tries = 0; tries < 10000; tries++) {
		r = 0;
		for (size_t i = 0; i < cg->n; i++) {
			int one = remove_all(cg->dir[i].path);

			r = one < 0 ? one : r;
		}
		if (r != -EBUSY)
			break;
		/* What is stopped does not die. */
		ignore_result(cgroups_freeze(cg, false));
		ignore_result(cgroups_each_pid(cg, kill_pid, NULL));
		nanosleep(&pause, NULL);
	}
	return r < 0 ? err_set(err, r, "remove the container's cgroups: %s", strerrordesc_np(-r))
		     : 0;
}
