/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Seeds: what a guest is told at its first start, as a volume that its kernel can mount without a network. ISO 9660
 * because NoCloud and ConfigDrive both ask for it, and libarchive writes it. The volume is a memfd: nothing to clean
 * up when the process is killed.
 */
#include "image/seed.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys/fd.h"

enum { VOLUME_MAX = 16, USER_DATA_MAX = 1 << 20 };

static int refuse(struct archive *a, const char *what, struct err *err)
{
	int e = archive_errno(a);

	return err_set(err, e > 0 ? -e : -EIO, "%s: %.160s", what, archive_error_string(a));
}

static int add_file(struct archive *a, const struct seed_file *f, struct err *err)
{
	struct archive_entry *e = archive_entry_new();
	int r = 0;

	archive_entry_set_pathname(e, f->path);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0444);
	archive_entry_set_size(e, (int64_t)f->data.n);
	archive_entry_set_mtime(e, 0, 0);
	if (archive_write_header(a, e) < ARCHIVE_WARN ||
	    (f->data.n && archive_write_data(a, f->data.p, f->data.n) != (la_ssize_t)f->data.n))
		r = refuse(a, f->path, err);
	archive_entry_free(e);
	return r;
}

static int check(const char *volume, const struct seed_file *files, size_t nr_files,
		 struct err *err)
{
	size_t n = strlen(volume);

	if (!n || n > VOLUME_MAX ||
	    strspn(volume, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != n)
		return err_set(err, -EINVAL,
			       "a volume's label has 1 to %d letters and digits, not '%.40s'",
			       VOLUME_MAX, volume);
	for (size_t k = 0; k < nr_files; k++)
		if (!files[k].path[0] || files[k].path[0] == '/')
			return err_set(err, -EINVAL, "'%.80s' is no relative path", files[k].path);
	return 0;
}

static int write_all(struct archive *a, int fd, const char *volume, const struct seed_file *files,
		     size_t nr_files, struct err *err)
{
	struct strbuf opts = { 0 };
	int r;

	strbuf_addf(&opts, "iso9660:volume-id=%s", volume);
	r = archive_write_set_format_iso9660(a);
	if (r >= ARCHIVE_WARN)
		r = archive_write_set_options(a, strbuf_cstr(&opts));
	if (r >= ARCHIVE_WARN)
		r = archive_write_open_fd(a, fd);
	strbuf_done(&opts);
	if (r < ARCHIVE_WARN)
		return refuse(a, "volume", err);
	for (size_t k = 0; k < nr_files; k++) {
		r = add_file(a, &files[k], err);
		if (r < 0)
			return r;
	}
	return archive_write_close(a) < ARCHIVE_WARN ? refuse(a, "volume", err) : 0;
}

/* ISO 9660 has no small letters and no '-' in a label (ECMA-119, 8.4.6), and libarchive keeps to that; cloud-init's sources are
 * found by labels that have them, which all readers take as they are. */
static int put_label(int fd, const char *volume, struct err *err)
{
	char field[32];
	int r;

	memset(field, ' ', sizeof(field));
	memcpy(field, volume, strlen(volume));
	r = fd_pwrite_full(fd, field, sizeof(field), 16 * 2048 + 40);
	return r < 0 ? err_set(err, r, "volume") : 0;
}

int seed_write(int fd, const char *volume, const struct seed_file *files, size_t nr_files,
	       struct err *err)
{
	struct archive *a;
	int r = check(volume, files, nr_files, err);

	if (r < 0)
		return r;
	a = archive_write_new();
	if (!a)
		return err_set(err, -ENOMEM, "volume");
	r = write_all(a, fd, volume, files, nr_files, err);
	archive_write_free(a);
	return r < 0 ? r : put_label(fd, volume, err);
}

/* FNV-1a: not against forgery, it only has to differ when the text does. */
static uint64_t hash(struct str s)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t k = 0; k < s.n; k++)
		h = (h ^ (uint8_t)s.p[k]) * UINT64_C(0x100000001b3);
	return h;
}

/* cloud-init ignores what it does not know, with a line in a log that nobody can read without logging in. */
static int check_user_data(struct str s, struct err *err)
{
	static const char *const known[] = {
		"#cloud-config", "#!",		 "#include",	 "#cloud-boothook",
		"#part-handler", "## template:", "#upstart-job", "Content-Type:",
		"MIME-Version:", "\x1f\x8b"
	};

	if (s.n > USER_DATA_MAX)
		return err_set(err, -E2BIG, "user data of %zu bytes; at most 1 MiB", s.n);
	for (size_t k = 0; k < ARRAY_SIZE(known); k++)
		if (str_starts(s, str_of(known[k])))
			return 0;
	return err_set(err, -EINVAL,
		       "user data must begin with '#cloud-config', '#!' or another mark that "
		       "cloud-init knows, not with '%.*s'",
		       s.n < 20 ? (int)s.n : 20, s.n ? s.p : "");
}

int seed_nocloud(struct str user_data, const char *hostname, const char *network, int *ret_fd,
		 struct err *err)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	struct strbuf meta = { 0 };
	struct seed_file files[3];
	size_t nr = 2;
	int r = check_user_data(user_data, err);

	if (r < 0)
		return r;
	strbuf_addf(&meta, "instance-id: i-%016" PRIx64 "\n",
		    hash(user_data) ^ (network ? hash(str_of(network)) * 3 : 0));
	if (hostname) {
		strbuf_adds(&meta, "local-hostname: ");
		strbuf_add_json(&meta, str_of(hostname));
		strbuf_addc(&meta, '\n');
	}
	files[0] = (struct seed_file){ "user-data", user_data };
	files[1] = (struct seed_file){ "meta-data", strbuf_str(&meta) };
	if (network)
		files[nr++] = (struct seed_file){ "network-config", str_of(network) };
	fd = memfd_create("seed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		r = err_set_errno(err, "memory for a seed");
	else
		r = seed_write(fd, SEED_NOCLOUD_VOLUME, files, nr, err);
	strbuf_done(&meta);
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return err_set_errno(err, "seed");
	*ret_fd = fd_take(&fd);
	return 0;
}
