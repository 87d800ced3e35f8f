/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mounts of a config.json. Options are words of mount(8); what is none of them belongs to the file system and is handed to it.
 * A word means a flag of mount(2) for a new file system, and an attribute of mount_setattr(2) for a bind, which has no file
 * system of its own to set anything of; the table has both.
 */
#include <errno.h>
#include <string.h>
#include <sys/mount.h>

#include "container/reader_priv.h"

struct option {
	const char *word;
	const char *recursive; /* for what is mounted below, too; NULL: no attribute of a mount */
	uint64_t flag;	       /* MS_* */
	uint64_t attr;	       /* MOUNT_ATTR_* */
	bool clears;	       /* they are taken away */
};

static const struct option options[] = {
	{ "ro", "rro", MS_RDONLY, MOUNT_ATTR_RDONLY, false },
	{ "rw", "rrw", MS_RDONLY, MOUNT_ATTR_RDONLY, true },
	{ "nosuid", "rnosuid", MS_NOSUID, MOUNT_ATTR_NOSUID, false },
	{ "suid", "rsuid", MS_NOSUID, MOUNT_ATTR_NOSUID, true },
	{ "nodev", "rnodev", MS_NODEV, MOUNT_ATTR_NODEV, false },
	{ "dev", "rdev", MS_NODEV, MOUNT_ATTR_NODEV, true },
	{ "noexec", "rnoexec", MS_NOEXEC, MOUNT_ATTR_NOEXEC, false },
	{ "exec", "rexec", MS_NOEXEC, MOUNT_ATTR_NOEXEC, true },
	{ "nodiratime", "rnodiratime", MS_NODIRATIME, MOUNT_ATTR_NODIRATIME, false },
	{ "diratime", "rdiratime", MS_NODIRATIME, MOUNT_ATTR_NODIRATIME, true },
	{ "nosymfollow", "rnosymfollow", MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW, false },
	{ "symfollow", "rsymfollow", MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW, true },
	{ "noatime", "rnoatime", MS_NOATIME, MOUNT_ATTR_NOATIME, false },
	{ "atime", "ratime", MS_NOATIME, MOUNT_ATTR_NOATIME, true },
	{ "relatime", "rrelatime", MS_RELATIME, MOUNT_ATTR_RELATIME, false },
	{ "norelatime", "rnorelatime", MS_RELATIME, MOUNT_ATTR_RELATIME, true },
	{ "strictatime", "rstrictatime", MS_STRICTATIME, MOUNT_ATTR_STRICTATIME, false },
	{ "nostrictatime", "rnostrictatime", MS_STRICTATIME, MOUNT_ATTR_STRICTATIME, true },
	{ "sync", NULL, MS_SYNCHRONOUS, 0, false },
	{ "async", NULL, MS_SYNCHRONOUS, 0, true },
	{ "dirsync", NULL, MS_DIRSYNC, 0, false },
	{ "silent", NULL, MS_SILENT, 0, false },
	{ "loud", NULL, MS_SILENT, 0, true },
	{ "iversion", NULL, MS_I_VERSION, 0, false },
	{ "noiversion", NULL, MS_I_VERSION, 0, true },
	{ "lazytime", NULL, MS_LAZYTIME, 0, false },
	{ "nolazytime", NULL, MS_LAZYTIME, 0, true },
	{ "defaults", NULL, 0, 0, false },
};

static const struct {
	const char *word;
	unsigned long flags;
} propagations[] = {
	{ "private", MS_PRIVATE },	 { "rprivate", MS_PRIVATE | MS_REC },
	{ "slave", MS_SLAVE },		 { "rslave", MS_SLAVE | MS_REC },
	{ "shared", MS_SHARED },	 { "rshared", MS_SHARED | MS_REC },
	{ "unbindable", MS_UNBINDABLE }, { "runbindable", MS_UNBINDABLE | MS_REC },
};

unsigned long mount_propagation(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(propagations); i++)
		if (strcmp(propagations[i].word, word) == 0)
			return propagations[i].flags;
	return 0;
}

/* The table's words twice, for those of them that are recursive. */
const char *mount_word(size_t i)
{
	static const char *const others[] = { "bind", "rbind", "tmpcopyup" };

	if (i < ARRAY_SIZE(options))
		return options[i].word;
	i -= ARRAY_SIZE(options);
	for (size_t k = 0; k < ARRAY_SIZE(options); k++)
		if (options[k].recursive && i-- == 0)
			return options[k].recursive;
	if (i < ARRAY_SIZE(propagations))
		return propagations[i].word;
	i -= ARRAY_SIZE(propagations);
	return i < ARRAY_SIZE(others) ? others[i] : NULL;
}

/* The three ways to count accesses exclude each other: setting one takes the others away. */
static void set_attr(uint64_t *set, uint64_t *clear, uint64_t flag, uint64_t attr, bool clears)
{
	bool is_atime = flag & (MS_NOATIME | MS_RELATIME | MS_STRICTATIME);

	if (is_atime) {
		*clear |= MOUNT_ATTR__ATIME;
		*set &= ~(uint64_t)MOUNT_ATTR__ATIME;
		*set |= clears ? 0 : attr;
	} else if (clears) {
		*clear |= attr;
		*set &= ~attr;
	} else {
		*set |= attr;
		*clear &= ~attr;
	}
}

/* Returns whether the word is one of the table. */
static bool take_option(struct ct_mount *m, const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option *o = &options[i];

		if (strcmp(word, o->word) == 0) {
			m->flags = o->clears ? m->flags & ~o->flag : m->flags | o->flag;
			set_attr(&m->set, &m->clear, o->flag, o->attr, o->clears);
			return true;
		}
		if (o->recursive && strcmp(word, o->recursive) == 0) {
			set_attr(&m->set_all, &m->clear_all, o->flag, o->attr, o->clears);
			return true;
		}
	}
	return false;
}

static void read_option(struct reader *rd, struct ct_mount *m, const char *word,
			struct strbuf *data)
{
	unsigned long propagation = mount_propagation(word);

	if (propagation) {
		m->propagation = propagation;
	} else if (strcmp(word, "bind") == 0 || strcmp(word, "rbind") == 0) {
		m->is_bind = true;
		m->is_recursive |= word[0] == 'r';
	} else if (strcmp(word, "tmpcopyup") == 0) {
		m->copies_up = true;
	} else if (strcmp(word, "idmap") == 0 || strcmp(word, "ridmap") == 0 ||
		   strcmp(word, "remount") == 0) {
		rd_fail(rd, -EOPNOTSUPP, "options", "'%s' is not supported yet", word);
	} else if (!take_option(m, word)) {
		strbuf_addf(data, "%s%s", data->n ? "," : "", word);
	}
}

void rd_mount(struct reader *rd, const struct json *j, void *element)
{
	_cleanup_(strbuf_done) struct strbuf data = { 0 };
	struct ct_mount *m = element;
	struct ct_strs words = { 0 };

	rd_need(rd, j, "destination", &m->destination);
	rd_str(rd, j, "source", &m->source);
	rd_str(rd, j, "type", &m->type);
	rd_strs(rd, j, "options", &words);
	if (m->type && strcmp(m->type, "bind") == 0)
		m->is_bind = true;
	for (size_t i = 0; rd->r == 0 && i < words.n; i++)
		read_option(rd, m, words.v[i], &data);
	if (m->is_bind && !(m->source && m->source[0]))
		rd_fail(rd, -EINVAL, "source", "a bind needs one");
	if (!m->is_bind && !(m->type && m->type[0]))
		rd_fail(rd, -EINVAL, "type", "is missing, and the mount is no bind");
	if (m->copies_up && (m->is_bind || strcmp(m->type, "tmpfs") != 0))
		rd_fail(rd, -EINVAL, "options", "'tmpcopyup' is for tmpfs");
	if (json_kind(json_get(j, "uidMappings")) != JSON_IS_NONE ||
	    json_kind(json_get(j, "gidMappings")) != JSON_IS_NONE)
		rd_fail(rd, -EOPNOTSUPP, "uidMappings",
			"mounts with own ids are not supported yet");
	m->data = rd->r == 0 ? arena_strndup(rd->arena, strbuf_cstr(&data), data.n) : "";
}
