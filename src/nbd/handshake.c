/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The options of a client, one answer each (or several that end with one). An option that we do not know, or that is
 * wrong in itself, is refused and the client may go on; what cannot be refused (EXPORT_NAME) ends the session.
 *
 * Source: proto.md, "Option types", "Option reply types", "Metadata querying".
 */
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "nbd/session_priv.h"

/* What is left of an option's data. */
struct field {
	const uint8_t *p;
	uint32_t n;
	bool is_bad; /* somebody wanted more than there was */
};

static uint32_t take_be(struct field *f, unsigned bytes)
{
	uint32_t v = 0;

	if (f->n < bytes) {
		f->is_bad = true;
		return 0;
	}
	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | f->p[i];
	f->p += bytes;
	f->n -= bytes;
	return v;
}

/* A length and so many bytes. */
static struct str take_name(struct field *f)
{
	uint32_t n = take_be(f, 4);
	struct str name = { (const char *)f->p, n };

	if (f->is_bad || n > f->n || n > NBD_NAME_MAX) {
		f->is_bad = true;
		return (struct str){ 0 };
	}
	f->p += n;
	f->n -= n;
	return name;
}

/* An answer that ends with a text. */
static void reply(struct nbd_session *s, uint32_t option, uint32_t type, const void *data,
		  uint32_t n, struct str text)
{
	uint8_t head[NBD_OPTION_REPLY_SIZE];

	put_be64(head, NBD_REPLY_MAGIC);
	put_be32(head + 8, option);
	put_be32(head + 12, type);
	put_be32(head + 16, (uint32_t)(n + text.n));
	strbuf_add(&s->out, head, sizeof(head));
	if (n)
		strbuf_add(&s->out, data, n);
	if (text.n)
		strbuf_add(&s->out, text.p, text.n);
}

void nbd_option_reply(struct nbd_session *s, uint32_t option, uint32_t type, const void *data,
		      uint32_t n)
{
	reply(s, option, type, data, n, (struct str){ 0 });
}

/* A refusal with a sentence for people. */
static void refuse(struct nbd_session *s, uint32_t option, uint32_t type, const char *text)
{
	nbd_option_reply(s, option, type, text, (uint32_t)strlen(text));
}

static uint16_t flags_of(const struct nbd_session *s)
{
	uint16_t flags = NBD_HAS_FLAGS | NBD_SEND_FLUSH | NBD_CAN_MULTI_CONN;

	if (s->structured)
		flags |= NBD_SEND_DF;
	if (s->export->read_only)
		return flags | NBD_READ_ONLY;
	flags |= NBD_SEND_FUA | NBD_SEND_TRIM | NBD_SEND_WRITE_ZEROES;
	return s->zero_unit ? flags | NBD_SEND_FAST_ZERO : flags;
}

static bool is_ours(const struct nbd_session *s, struct str name)
{
	return str_eq(name, str_of(s->export->name));
}

static void export_name(struct nbd_session *s, const uint8_t *data, uint32_t n)
{
	static const uint8_t zeroes[124];
	uint8_t head[10];

	if (!is_ours(s, (struct str){ (const char *)data, n })) {
		nbd_session_end(s, "no such export");
		return;
	}
	s->export_flags = flags_of(s);
	put_be64(head, disk_size(s->export->disk));
	put_be16(head + 8, s->export_flags);
	strbuf_add(&s->out, head, sizeof(head));
	if (!s->no_zeroes)
		strbuf_add(&s->out, zeroes, sizeof(zeroes));
	s->phase = NBD_REQUESTS;
}

static void list(struct nbd_session *s, uint32_t n)
{
	struct str name = str_of(s->export->name);
	uint8_t data[4];

	if (n) {
		refuse(s, NBD_OPT_LIST, NBD_REP_ERR_INVALID, "LIST has no data");
		return;
	}
	put_be32(data, (uint32_t)name.n);
	reply(s, NBD_OPT_LIST, NBD_REP_SERVER, data, sizeof(data), name);
	nbd_option_reply(s, NBD_OPT_LIST, NBD_REP_ACK, NULL, 0);
}

static void send_info(struct nbd_session *s, uint32_t option, bool with_name)
{
	uint8_t data[14];

	put_be16(data, NBD_INFO_EXPORT);
	put_be64(data + 2, disk_size(s->export->disk));
	put_be16(data + 10, flags_of(s));
	nbd_option_reply(s, option, NBD_REP_INFO, data, 12);
	put_be16(data, NBD_INFO_BLOCK_SIZE);
	put_be32(data + 2, 1);
	put_be32(data + 6, MAX(disk_cluster(s->export->disk), 4096U));
	put_be32(data + 10, NBD_PAYLOAD_MAX);
	nbd_option_reply(s, option, NBD_REP_INFO, data, 14);
	put_be16(data, NBD_INFO_NAME);
	if (with_name)
		reply(s, option, NBD_REP_INFO, data, 2, str_of(s->export->name));
	nbd_option_reply(s, option, NBD_REP_ACK, NULL, 0);
}

static void info_or_go(struct nbd_session *s, uint32_t option, struct field f)
{
	struct str name = take_name(&f);
	uint32_t nr = take_be(&f, 2);
	bool with_name = false;

	if (f.is_bad || f.n != nr * 2) {
		refuse(s, option, NBD_REP_ERR_INVALID, "lengths do not fit");
		return;
	}
	for (uint32_t i = 0; i < nr; i++)
		with_name |= take_be(&f, 2) == NBD_INFO_NAME;
	if (!is_ours(s, name)) {
		refuse(s, option, NBD_REP_ERR_UNKNOWN, "no such export");
		return;
	}
	send_info(s, option, with_name);
	if (option == NBD_OPT_GO) {
		s->export_flags = flags_of(s);
		s->phase = NBD_REQUESTS;
	}
}

/* Which contexts a query means: one by its name, in a list also all of "namespace:". */
static uint32_t match(const struct nbd_session *s, struct str query, bool is_list)
{
	uint32_t found = 0;

	for (size_t i = 0; i < s->nr_contexts; i++) {
		struct str name = str_of(s->contexts[i]->name);

		if (str_eq(name, query) ||
		    (is_list && query.n && query.p[query.n - 1] == ':' && str_starts(name, query)))
			found |= UINT32_C(1) << i;
	}
	return found;
}

static void meta_context(struct nbd_session *s, uint32_t option, struct field f)
{
	bool is_list = option == NBD_OPT_LIST_META_CONTEXT;
	struct str name = take_name(&f);
	uint32_t nr = take_be(&f, 4), found = 0;

	if (is_list && !f.is_bad && !nr)
		found = (UINT32_C(1) << s->nr_contexts) - 1;
	/* Each takes four bytes at least: a large number runs out of data. */
	for (uint32_t i = 0; i < nr && !f.is_bad; i++)
		found |= match(s, take_name(&f), is_list);
	if (f.is_bad || f.n) {
		refuse(s, option, NBD_REP_ERR_INVALID, "lengths do not fit");
		return;
	}
	if (!is_list && !s->structured) {
		refuse(s, option, NBD_REP_ERR_INVALID, "structured replies come first");
		return;
	}
	if (!is_list)
		s->selected = 0;
	if (!is_ours(s, name)) {
		refuse(s, option, NBD_REP_ERR_UNKNOWN, "no such export");
		return;
	}
	if (!is_list)
		s->selected = found;
	for (uint32_t i = 0; i < s->nr_contexts; i++) {
		uint8_t data[4];

		if (!(found & UINT32_C(1) << i))
			continue;
		put_be32(data, i + 1);
		reply(s, option, NBD_REP_META_CONTEXT, data, sizeof(data),
		      str_of(s->contexts[i]->name));
	}
	nbd_option_reply(s, option, NBD_REP_ACK, NULL, 0);
}

static void start_tls(struct nbd_session *s, uint32_t n)
{
	if (n || s->is_secure) {
		refuse(s, NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID,
		       n ? "STARTTLS has no data" : "TLS is on already");
	} else if (!s->needs_tls) {
		refuse(s, NBD_OPT_STARTTLS, NBD_REP_ERR_POLICY,
		       "this server was not given any keys");
	} else {
		nbd_option_reply(s, NBD_OPT_STARTTLS, NBD_REP_ACK, NULL, 0);
		s->phase = NBD_TLS;
	}
}

static void structured(struct nbd_session *s, uint32_t n)
{
	if (n) {
		refuse(s, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ERR_INVALID,
		       "STRUCTURED_REPLY has no data");
		return;
	}
	s->structured = true;
	nbd_option_reply(s, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK, NULL, 0);
}

void nbd_option(struct nbd_session *s, uint32_t option, const uint8_t *data, uint32_t n)
{
	struct field f = { data, n, false };

	if (s->needs_tls && !s->is_secure && option != NBD_OPT_STARTTLS &&
	    option != NBD_OPT_ABORT) {
		if (option == NBD_OPT_EXPORT_NAME)
			nbd_session_end(s, "TLS is needed");
		else
			refuse(s, option, NBD_REP_ERR_TLS_REQD, "TLS is needed");
		return;
	}
	switch (option) {
	case NBD_OPT_EXPORT_NAME:
		export_name(s, data, n);
		break;
	case NBD_OPT_ABORT:
		nbd_option_reply(s, option, NBD_REP_ACK, NULL, 0);
		nbd_session_end(s, NULL);
		break;
	case NBD_OPT_LIST:
		list(s, n);
		break;
	case NBD_OPT_STARTTLS:
		start_tls(s, n);
		break;
	case NBD_OPT_INFO:
	case NBD_OPT_GO:
		info_or_go(s, option, f);
		break;
	case NBD_OPT_STRUCTURED_REPLY:
		structured(s, n);
		break;
	case NBD_OPT_LIST_META_CONTEXT:
	case NBD_OPT_SET_META_CONTEXT:
		meta_context(s, option, f);
		break;
	default:
		nbd_option_reply(s, option, NBD_REP_ERR_UNSUP, NULL, 0);
		break;
	}
}
