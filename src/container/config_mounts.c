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
	uint64_t flag; /* MS_* */
	uint64_t attr; /* MOUNT_ATTR_* */
	bool clears;   /* they are taken away */
};

static const struct option options[] = {
	{ "ro", MS_RDONLY, MOUNT_ATTR_RDONLY, false },
	{ "rw", MS_RDONLY, MOUNT_ATTR_RDONLY, true },
	{ "nosuid", MS_NOSUID, MOUNT_ATTR_NOSUID, false },
	{ "suid", MS_NOSUID, MOUNT_ATTR_NOSUID, true },
	{ "nodev", MS_NODEV, MOUNT_ATTR_NODEV, false },
	{ "dev", MS_NODEV, MOUNT_ATTR_NODEV, true },
	{ "noexec", MS_NOEXEC, MOUNT_ATTR_NOEXEC, false },
	{ "exec", MS_NOEXEC, MOUNT_ATTR_NOEXEC, true },
	{ "nodiratime", MS_NODIRATIME, MOUNT_ATTR_NODIRATIME, false },
	{ "diratime", MS_NODIRATIME, MOUNT_ATTR_NODIRATIME, true },
	{ "nosymfollow", MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW, false },
	{ "symfollow", MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW, true },
	{ "noatime", MS_NOATIME, MOUNT_ATTR_NOATIME, false },
	{ "atime", MS_NOATIME, MOUNT_ATTR_NOATIME, true },
	{ "relatime", MS_RELATIME, MOUNT_ATTR_RELATIME, false },
	{ "norelatime", MS_RELATIME, MOUNT_ATTR_RELATIME, true },
	{ "strictatime", MS_STRICTATIME, MOUNT_ATTR_STRICTATIME, false },
	{ "nostrictatime", MS_STRICTATIME, MOUNT_ATTR_STRICTATIME, true },
	{ "sync", MS_SYNCHRONOUS, 0, false },
	{ "async", MS_SYNCHRONOUS, 0, true },
	{ "dirsync", MS_DIRSYNC, 0, false },
	{ "silent", MS_SILENT, 0, false },
	{ "loud", MS_SILENT, 0, true },
	{ "iversion", MS_I_VERSION, 0, false },
	{ "noiversion", MS_I_VERSION, 0, true },
	{ "lazytime", MS_LAZYTIME, 0, false },
	{ "nolazytime", MS_LAZYTIME, 0, true },
	{ "defaults", 0, 0, false },
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

/* Returns whether the word is one of the table, or one with an "r" in front, which means what is mounted below, too. */
static bool take_option(struct ct_mount *m, const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option *o = &options[i];

		if (strcmp(word, o->word) == 0) {
			m->flags = o->clears ? m->flags & ~o->flag : m->flags | o->flag;
			set_attr(&m->set, &m->clear, o->flag, o->attr, o->clears);
			return true;
		}
		if (word[0] == 'r' && o->attr + o->flag && strcmp(word + 1, o->word) == 0 &&
		    (o->attr || o->flag == MS_RELATIME)) {
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
	} else if (strcmp(word, "tmpcopyup") == 0 || strcmp(word, "idmap") == 0 ||
		   strcmp(word, "ridmap") == 0 || strcmp(word, "remount") == 0) {
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
	if (json_kind(json_get(j, "uidMappings")) != JSON_IS_NONE ||
	    json_kind(json_get(j, "gidMappings")) != JSON_IS_NONE)
		rd_fail(rd, -EOPNOTSUPP, "uidMappings",
			"mounts with own ids are not supported yet");
	m->data = rd->r == 0 ? arena_strndup(rd->arena, strbuf_cstr(&data), data.n) : "";
}
