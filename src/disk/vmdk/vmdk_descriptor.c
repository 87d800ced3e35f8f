/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text that describes a VMDK image: identifiers, extents, and a data base of properties for VMware,
 * which we write and do not read. It comes from outside and names files, so that names that leave the
 * folder are refused here, before anybody opens them. Changes keep every line but one as it
 * stands, because other programs put lines there that we know nothing of.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "disk/vmdk/vmdk_priv.h"

static const struct str magic_line = { "# Disk DescriptorFile", 21 };

static bool eq_nocase(struct str a, const char *b)
{
	return a.n == strlen(b) && !strncasecmp(a.p, b, a.n);
}

bool vmdk_is_descriptor(const uint8_t *p, size_t n)
{
	struct str rest = { (const char *)p, n }, line;

	while (str_cut(&rest, '\n', &line)) {
		line = str_trim(line);
		if (!line.n)
			continue;
		if (line.n >= magic_line.n && !strncasecmp(line.p, magic_line.p, magic_line.n))
			return true;
		if (line.p[0] != '#')
			return eq_nocase(line, "version=1") || eq_nocase(line, "version=2") ||
			       eq_nocase(line, "version=3");
	}
	return false;
}

void vmdk_descriptor_done(struct vmdk_descriptor *d)
{
	for (size_t i = 0; i < d->nr_extents; i++)
		free(d->extents[i].name);
	free(d->extents);
	free(d->create_type);
	free(d->parent_hint);
	free(d->adapter);
	*d = (struct vmdk_descriptor){ 0 };
}

static char *text_dup(struct str s)
{
	struct strbuf b = { 0 };

	strbuf_add(&b, s.p, s.n);
	return strbuf_take(&b);
}

static struct str unquoted(struct str s)
{
	s = str_trim(s);
	if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
		return (struct str){ s.p + 1, s.n - 2 };
	return s;
}

static bool has_control(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20)
			return true;
	return false;
}

/* A relative name no component of which is "..". */
static bool name_stays(struct str name)
{
	struct str rest = name, part;

	if (!name.n || name.p[0] == '/' || has_control(name))
		return false;
	while (str_cut(&rest, '/', &part))
		if (str_eq(part, STR("..")))
			return false;
	return true;
}

/* The next word of a line, up to a blank. */
static struct str word(struct str *line)
{
	struct str w;
	size_t n = 0;

	*line = str_trim(*line);
	while (n < line->n && line->p[n] != ' ' && line->p[n] != '\t')
		n++;
	w = (struct str){ line->p, n };
	*line = str_trim(str_skip(*line, n));
	return w;
}

static int extent_kind(struct str kind, enum vmdk_extent_kind *ret, struct err *err)
{
	static const char *const esx[] = { "VMFS",    "VMFSSPARSE", "VMFSRDM",
					   "VMFSRAW", "SESPARSE",   "VSANSPARSE" };

	if (eq_nocase(kind, "FLAT")) {
		*ret = VMDK_EXTENT_FLAT;
		return 0;
	}
	if (eq_nocase(kind, "SPARSE")) {
		*ret = VMDK_EXTENT_SPARSE;
		return 0;
	}
	if (eq_nocase(kind, "ZERO")) {
		*ret = VMDK_EXTENT_ZERO;
		return 0;
	}
	/* A flat file of ESX is one like another, once it was copied from there. */
	if (eq_nocase(kind, "VMFS")) {
		*ret = VMDK_EXTENT_FLAT;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(esx); i++)
		if (eq_nocase(kind, esx[i]))
			return err_set(err, -EOPNOTSUPP,
				       "VMDK extent of kind %s, which only ESX reads", esx[i]);
	return err_set(err, -EILSEQ, "VMDK extent of unknown kind '%.*s'",
		       (int)MIN(kind.n, (size_t)40), kind.p);
}

static int extent_parse(struct str line, struct vmdk_extent *ret, struct err *err)
{
	struct vmdk_extent e = { 0 };
	struct str access = word(&line), sectors = word(&line), kind = word(&line), name;
	size_t end;
	int r;

	e.is_writable = eq_nocase(access, "RW");
	e.no_access = eq_nocase(access, "NOACCESS");
	r = str_parse_u64(sectors, 1, VMDK_MAX_SECTORS, &e.sectors, err);
	if (r < 0)
		return err_wrap(err, -EILSEQ, "VMDK extent size");
	r = extent_kind(kind, &e.kind, err);
	if (r < 0)
		return r;
	if (e.kind == VMDK_EXTENT_ZERO) {
		*ret = e;
		return 0;
	}
	if (!line.n || line.p[0] != '"')
		return err_set(err, -EILSEQ, "VMDK extent without a file name in quotes");
	for (end = 1; end < line.n && line.p[end] != '"';)
		end++;
	if (end == line.n)
		return err_set(err, -EILSEQ,
			       "VMDK extent: the quotes of the file name are not closed");
	name = (struct str){ line.p + 1, end - 1 };
	line = str_trim(str_skip(line, end + 1));
	if (!name_stays(name))
		return err_set(err, -EILSEQ,
			       "VMDK extent '%.*s': must be a file in the folder of the image",
			       (int)MIN(name.n, (size_t)100), name.p);
	if (e.kind == VMDK_EXTENT_FLAT && line.n) {
		r = str_parse_u64(word(&line), 0, VMDK_MAX_SECTORS, &e.off, err);
		if (r < 0)
			return err_wrap(err, -EILSEQ, "VMDK extent offset");
	}
	e.name = text_dup(name);
	*ret = e;
	return 0;
}

static bool is_extent(struct str line)
{
	struct str access = word(&line);

	return line.n && (eq_nocase(access, "RW") || eq_nocase(access, "RDONLY") ||
			  eq_nocase(access, "NOACCESS"));
}

static int cid_parse(struct str value, const char *key, uint32_t *ret, struct err *err)
{
	uint32_t cid = 0;

	if (!value.n || value.n > 8)
		return err_set(err, -EILSEQ, "VMDK %s is no hexadecimal number of 32 bits", key);
	for (size_t i = 0; i < value.n; i++) {
		char c = (char)(value.p[i] | 0x20);
		int digit = value.p[i] >= '0' && value.p[i] <= '9' ? value.p[i] - '0'
			    : c >= 'a' && c <= 'f'		   ? c - 'a' + 10
								   : -1;

		if (digit < 0)
			return err_set(err, -EILSEQ, "VMDK %s is no hexadecimal number of 32 bits",
				       key);
		cid = cid << 4 | (uint32_t)digit;
	}
	*ret = cid;
	return 0;
}

static void replace(char **to, struct str value)
{
	free(*to);
	*to = text_dup(value);
}

static int key_take(struct vmdk_descriptor *d, struct str key, struct str value, struct err *err)
{
	uint64_t version;
	int r;

	if (eq_nocase(key, "version")) {
		r = str_parse_u64(value, 1, 3, &version, err);
		if (r < 0)
			return err_wrap(err, -EOPNOTSUPP, "VMDK version");
		d->version = (uint32_t)version;
		return 0;
	}
	if (eq_nocase(key, "CID"))
		return cid_parse(value, "CID", &d->cid, err);
	if (eq_nocase(key, "parentCID"))
		return cid_parse(value, "parentCID", &d->parent_cid, err);
	if (has_control(value))
		return err_set(err, -EILSEQ, "VMDK descriptor: control characters in a value");
	if (eq_nocase(key, "createType"))
		replace(&d->create_type, value);
	else if (eq_nocase(key, "parentFileNameHint"))
		replace(&d->parent_hint, value);
	else if (eq_nocase(key, "ddb.adapterType"))
		replace(&d->adapter, value);
	return 0;
}

static int extent_add(struct vmdk_descriptor *d, struct str line, struct err *err)
{
	struct vmdk_extent e;
	int r;

	if (d->nr_extents == VMDK_EXTENTS_MAX)
		return err_set(err, -EOPNOTSUPP, "VMDK image of more than %d extents",
			       VMDK_EXTENTS_MAX);
	r = extent_parse(line, &e, err);
	if (r < 0)
		return r;
	if (!(d->nr_extents & (d->nr_extents - 1)))
		d->extents = mem_renew(d->extents, d->nr_extents ? d->nr_extents * 2 : 1,
				       sizeof(*d->extents));
	d->extents[d->nr_extents++] = e;
	d->sectors += e.sectors;
	if (d->sectors > VMDK_MAX_SECTORS)
		return err_set(err, -EOPNOTSUPP, "VMDK disk is larger than 512 TiB");
	return 0;
}

int vmdk_descriptor_parse(struct str text, struct vmdk_descriptor *ret, struct err *err)
{
	struct str rest = { text.p, strnlen(text.p, text.n) }, line;
	unsigned int nr = 0;
	int r = 0;

	ret->parent_cid = VMDK_NO_PARENT;
	while (str_cut(&rest, '\n', &line)) {
		nr++;
		line = str_trim(line);
		if (!line.n || line.p[0] == '#')
			continue;
		if (is_extent(line)) {
			r = extent_add(ret, line, err);
		} else {
			struct str value = line, key;

			/* What is neither is left alone: newer versions may have it. */
			if (memchr(line.p, '=', line.n) && str_cut(&value, '=', &key))
				r = key_take(ret, str_trim(key), unquoted(value), err);
		}
		if (r < 0)
			return err_wrap(err, r, "line %u", nr);
	}
	if (!ret->version)
		return err_set(err, -EILSEQ, "VMDK descriptor without a version");
	if (!ret->create_type)
		return err_set(err, -EILSEQ, "VMDK descriptor without a createType");
	if (!ret->nr_extents)
		return err_set(err, -EILSEQ, "VMDK descriptor without extents");
	if (ret->parent_cid != VMDK_NO_PARENT && (!ret->parent_hint || !ret->parent_hint[0]))
		return err_set(err, -EILSEQ, "VMDK image has a parent and does not say which");
	return 0;
}

void vmdk_descriptor_put(const struct vmdk_descriptor *d, const char *hwversion, struct strbuf *ret)
{
	const char *adapter = d->adapter ? d->adapter : "ide";
	uint64_t heads = strcmp(adapter, "ide") ? 255 : 16;

	strbuf_addf(ret, "# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=%08x\n", d->cid,
		    d->parent_cid);
	strbuf_addf(ret, "createType=\"%s\"\n", d->create_type);
	if (d->parent_hint)
		strbuf_addf(ret, "parentFileNameHint=\"%s\"\n", d->parent_hint);
	strbuf_adds(ret, "\n# Extent description\n");
	for (size_t i = 0; i < d->nr_extents; i++) {
		const struct vmdk_extent *e = &d->extents[i];

		strbuf_addf(ret, "RW %llu ", (unsigned long long)e->sectors);
		if (e->kind == VMDK_EXTENT_ZERO)
			strbuf_adds(ret, "ZERO\n");
		else if (e->kind == VMDK_EXTENT_SPARSE)
			strbuf_addf(ret, "SPARSE \"%s\"\n", e->name);
		else
			strbuf_addf(ret, "FLAT \"%s\" %llu\n", e->name, (unsigned long long)e->off);
	}
	strbuf_addf(ret,
		    "\n# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"%s\"\n"
		    "ddb.geometry.cylinders = \"%llu\"\nddb.geometry.heads = \"%llu\"\n"
		    "ddb.geometry.sectors = \"63\"\nddb.adapterType = \"%s\"\n",
		    hwversion, (unsigned long long)(d->sectors / (63 * heads)),
		    (unsigned long long)heads, adapter);
}

bool vmdk_descriptor_set(struct str text, const char *key, const char *value, struct strbuf *ret)
{
	struct str rest = { text.p, strnlen(text.p, text.n) }, line;
	bool is_done = false;

	while (str_cut(&rest, '\n', &line)) {
		struct str tail = line, name;
		bool is_last = !rest.p;

		str_cut(&tail, '=', &name);
		if (!is_done && tail.p && eq_nocase(str_trim(name), key)) {
			strbuf_addf(ret, "%s=%s", key, value);
			if (line.n && line.p[line.n - 1] == '\r')
				strbuf_addc(ret, '\r');
			is_done = true;
		} else {
			strbuf_add(ret, line.p, line.n);
		}
		if (!is_last)
			strbuf_addc(ret, '\n');
	}
	return is_done;
}

bool vmdk_descriptor_set_sectors(struct str text, uint64_t sectors, struct strbuf *ret)
{
	struct str rest = { text.p, strnlen(text.p, text.n) }, line;
	unsigned int found = 0;

	while (str_cut(&rest, '\n', &line)) {
		bool is_last = !rest.p;

		if (is_extent(line)) {
			struct str tail = line, access = word(&tail);

			word(&tail);
			strbuf_addf(ret, "%.*s %llu %.*s", STR_ARG(access),
				    (unsigned long long)sectors, STR_ARG(tail));
			found++;
		} else {
			strbuf_add(ret, line.p, line.n);
		}
		if (!is_last)
			strbuf_addc(ret, '\n');
	}
	return found == 1;
}
