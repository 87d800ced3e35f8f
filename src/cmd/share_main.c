/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `atoll-share` program: one folder for one machine. Descriptor 3 is a stream socket to the machine's file system device;
 * its last argument is DIR[,ro][,owner=UID:GID]. It says how its start went by a text with a NUL at its end, empty when all is
 * well, and from then on answers messages, one after the other (share/share.h), until the socket ends.
 *
 * Answers are written before the next message is looked at, so a machine that does not take them stops us, and nothing
 * grows.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/str.h"
#include "share/share.h"
#include "sys/fd.h"
#include "sys/sandbox/sandbox.h"

enum { SOCKET = 3, FDS_KEPT = 32 };

static int parse_owner(struct str v, struct share_config *cfg, struct err *err)
{
	struct str user;
	uint64_t uid, gid;
	int r;

	str_cut(&v, ':', &user);
	r = str_parse_u64(user, 0, UINT32_MAX - 1, &uid, err);
	if (r == 0)
		r = str_parse_u64(v, 0, UINT32_MAX - 1, &gid, err);
	if (r < 0)
		return err_wrap(err, r, "owner=UID:GID");
	cfg->has_owner = true;
	cfg->uid = (uid_t)uid;
	cfg->gid = (gid_t)gid;
	return 0;
}

/* Words at the end, as long as they are ours; what is before them is the folder, commas and all. */
static int parse(char *spec, struct share_config *cfg, struct err *err)
{
	for (;;) {
		char *comma = strrchr(spec, ',');
		struct str word = str_of(comma ? comma + 1 : ""), key, value = word;
		int r = 0;

		str_cut(&value, '=', &key);
		if (comma && str_eq(word, STR("ro")))
			cfg->is_readonly = true;
		else if (comma && str_eq(key, STR("owner")))
			r = parse_owner(value, cfg, err);
		else
			break;
		if (r < 0)
			return r;
		*comma = 0;
	}
	return 0;
}

static size_t raise_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return 256;
	l.rlim_cur = l.rlim_max;
	ignore_result(
		setrlimit(RLIMIT_NOFILE, &l)); /* then it stays as it was, and is asked for again */
	ignore_result(getrlimit(RLIMIT_NOFILE, &l));
	return l.rlim_cur > 2 * FDS_KEPT ? (size_t)l.rlim_cur - FDS_KEPT : FDS_KEPT;
}

/* The folder is all that is left; as root, with what it takes to give files to their owners. */
static int confine(const struct share_config *cfg, bool must_hold, struct err *err)
{
	const struct sandbox_keep keep = {
		.folder_fd = cfg->root_fd,
		.may_write = !cfg->is_readonly,
		.capabilities = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE |
				1u << CAP_DAC_READ_SEARCH | 1u << CAP_FOWNER | 1u << CAP_FSETID,
	};

	return sandbox_helper("atoll-share", "share", &keep, must_hold, err);
}

static int start(char *spec, bool must_hold, struct share **ret, struct err *err)
{
	struct share_config cfg = { .root_fd = -EBADF };
	int r = parse(spec, &cfg, err);

	if (r == 0)
		r = fd_open(spec, O_PATH | O_DIRECTORY, &cfg.root_fd, err);
	if (r < 0)
		return r;
	cfg.max_fds = raise_limit();
	r = share_new(&cfg, ret, err);
	if (r == 0)
		r = confine(&cfg, must_hold, err);
	fd_closep(&cfg.root_fd);
	return r;
}

/* Reads one message. Returns its bytes, 0: the end, or nonsense. */
static size_t next(uint8_t *in)
{
	size_t n;

	if (fd_read_full(SOCKET, in, sizeof(uint32_t)) != sizeof(uint32_t))
		return 0;
	n = share_message_size(get_le32(in));
	if (!n || fd_read_full(SOCKET, in + 4, n - 4) != (ssize_t)n - 4)
		return 0;
	return n;
}

static void serve(struct share *s)
{
	uint8_t *in = mem_new(SHARE_MESSAGE_MAX), *out = mem_new(SHARE_MESSAGE_MAX);
	size_t n;

	while ((n = next(in)) > 0) {
		n = share_serve(s, in, n, out);
		if (n && fd_write_full(SOCKET, out, n) < 0)
			break;
	}
	free(in);
	free(out);
}

int main(int argc, char **argv)
{
	bool must_hold = argc == 3 && !strcmp(argv[1], SANDBOX_MUST_HOLD);
	_cleanup_(mem_freep) char *spec = argc == 2 || must_hold ? mem_strdup(argv[argc - 1])
								 : NULL;
	struct err err = ERR_INIT;
	struct share *s = NULL;
	const char *text = "";
	int r;

	signal(SIGPIPE, SIG_IGN);
	r = spec ? start(spec, must_hold, &s, &err)
		 : err_set(&err, -EINVAL, "one argument is expected");
	if (r < 0)
		text = err_text(&err);
	if (fd_write_full(SOCKET, text, strlen(text) + 1) < 0) {
		fprintf(stderr, "atoll-share: run by 'atoll run --share', not by hand\n");
		return 2;
	}
	if (r == 0)
		serve(s);
	share_free(s);
	return r < 0;
}
