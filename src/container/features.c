/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this runtime can do, for engines that ask before they write a config.json. Words come out of the tables that the parser
 * reads them by, so that they cannot say anything else.
 * Source: OCI runtime specification 1.1, features.md and features-linux.md.
 */
#include <linux/capability.h>
#include <string.h>

#include "container/config.h"
#include "container/container.h"
#include "container/reader_priv.h"

/* A list of words: fn(i), until it says NULL. */
static void add_list(struct strbuf *out, const char *key, const char *(*fn)(size_t i))
{
	const char *word;

	strbuf_addf(out, "\"%s\": [", key);
	for (size_t i = 0; (word = fn(i)); i++) {
		strbuf_adds(out, i ? ", " : "");
		strbuf_add_json(out, str_of(word));
	}
	strbuf_adds(out, "]");
}

static const char *ns_word(size_t i)
{
	return i < CT_NR_NS ? ct_ns_name((enum ct_ns_kind)i) : NULL;
}

void ct_features(struct strbuf *out)
{
	strbuf_adds(out, "{\"ociVersionMin\": \"1.0.0\", \"ociVersionMax\": \"1.1.0\", ");
	add_list(out, "hooks", hook_word);
	strbuf_adds(out, ", ");
	add_list(out, "mountOptions", mount_word);
	strbuf_adds(out, ", \"linux\": {");
	add_list(out, "namespaces", ns_word);
	strbuf_adds(out, ", ");
	add_list(out, "capabilities", cap_word);
	strbuf_adds(out,
		    ", \"cgroup\": {\"v1\": true, \"v2\": true, \"systemd\": false, "
		    "\"systemdUser\": false, \"rdma\": false}, \"seccomp\": {\"enabled\": true, ");
	add_list(out, "actions", seccomp_action_word);
	strbuf_adds(out, ", ");
	add_list(out, "operators", seccomp_op_word);
	strbuf_adds(out, ", ");
	add_list(out, "knownFlags", seccomp_flag_word);
	strbuf_adds(out, ", ");
	add_list(out, "supportedFlags", seccomp_flag_word);
	strbuf_adds(out,
		    "}, \"apparmor\": {\"enabled\": false}, \"selinux\": {\"enabled\": false}, "
		    "\"intelRdt\": {\"enabled\": false}, "
		    "\"mountExtensions\": {\"idmap\": {\"enabled\": false}}}}\n");
}
