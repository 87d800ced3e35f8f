/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Key files. GnuTLS reads one itself, but again for each client, when no path leads to a file any more (sys/sandbox); and it
 * says nothing of a line that it does not understand but to the client whose line that is.
 *
 * Names and keys are decoded in place: hexadecimal gets shorter.
 */
#include "nbd/psk_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct entry {
	struct str user, key; /* in the text */
};

struct nbd_psk {
	char *text;
	size_t n;
	struct entry *entry;
	size_t nr;
};

/* @p, 2 * n digits, becomes n bytes. */
static bool decode(char *p, struct str *s)
{
	if (!s->n || s->n % 2)
		return false;
	for (size_t k = 0; k < s->n / 2; k++) {
		int high = str_hex_digit(p[2 * k]), low = str_hex_digit(p[2 * k + 1]);

		if (high < 0 || low < 0)
			return false;
		p[k] = (char)(high << 4 | low);
	}
	*s = (struct str){ p, s->n / 2 };
	return true;
}

static bool parse_line(struct nbd_psk *psk, struct str line, struct entry *ret)
{
	struct str key = line, user;

	if (!str_cut(&key, ':', &user) || !user.n || key.n > 2 * NBD_PSK_KEY_MAX)
		return false;
	if (*user.p == '#') {
		user = str_skip(user, 1);
		if (!decode(psk->text + (user.p - psk->text), &user))
			return false;
	}
	if (!key.n || !decode(psk->text + (key.p - psk->text), &key))
		return false;
	*ret = (struct entry){ .user = user, .key = key };
	return true;
}

int nbd_psk_parse(const char *text, size_t n, const char *path, struct nbd_psk **ret,
		  struct err *err)
{
	struct nbd_psk *psk = mem_new(sizeof(*psk));
	struct str rest, line;
	unsigned int at = 0;
	int r = mem_try(&psk->text, n, NBD_PSK_FILE_MAX);

	if (r < 0)
		r = err_set(err, r, "key file '%s' of %zu bytes", path, n);
	if (r == 0 && n)
		memcpy(psk->text, text, n);
	psk->n = n;
	rest = (struct str){ psk->text, n };
	while (r == 0 && str_cut(&rest, '\n', &line)) {
		at++;
		line = str_trim(line);
		if (!line.n)
			continue;
		psk->entry = mem_renew(psk->entry, psk->nr + 1, sizeof(*psk->entry));
		if (parse_line(psk, line, &psk->entry[psk->nr]))
			psk->nr++;
		else
			r = err_set(err, -EINVAL, "key file '%s', line %u: not USER:HEXKEY", path,
				    at);
	}
	if (r == 0 && !psk->nr)
		r = err_set(err, -EINVAL, "key file '%s': no key in it", path);
	if (r < 0) {
		nbd_psk_free(psk);
		return r;
	}
	*ret = psk;
	return 0;
}

bool nbd_psk_find(const struct nbd_psk *psk, struct str user, struct str *ret_key)
{
	for (size_t k = 0; k < psk->nr; k++) {
		if (!str_eq(psk->entry[k].user, user))
			continue;
		*ret_key = psk->entry[k].key;
		return true;
	}
	return false;
}

void nbd_psk_free(struct nbd_psk *psk)
{
	if (!psk)
		return;
	if (psk->text)
		explicit_bzero(psk->text, psk->n);
	free(psk->text);
	free(psk->entry);
	free(psk);
}
