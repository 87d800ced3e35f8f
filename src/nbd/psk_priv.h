/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_NBD_PSK_PRIV_H
#define ATOLL_NBD_PSK_PRIV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

/*
 * Keys that clients share with us, by their users' names: the lines USER:HEXKEY of a key file, as psktool makes them. A
 * user whose name begins with '#' is written in hexadecimal, too. Both in memory, because the file is out of reach when
 * the first client comes.
 */
struct nbd_psk;

enum { NBD_PSK_FILE_MAX = 1 << 20, NBD_PSK_KEY_MAX = 512 };

/*
 * nbd_psk_parse - what a key file says.
 *
 * @text:  @n bytes, of which the result has a copy
 * @path:  for errors
 * Returns 0; -EINVAL (a line that is none, no line at all), -E2BIG. @ret: nbd_psk_free(). Thread: any.
 * Source: psktool(1), gnutls_psk_set_server_credentials_file(3).
 */
_nodiscard_ int nbd_psk_parse(const char *text, size_t n, const char *path, struct nbd_psk **ret,
			      struct err *err);

/* nbd_psk_find - a user's key, of the first of their lines; false: there is no such user. Thread: any. */
bool nbd_psk_find(const struct nbd_psk *psk, struct str user, struct str *ret_key);

/* nbd_psk_free - nothing of them stays in memory; NULL is accepted. Thread: the last user. */
void nbd_psk_free(struct nbd_psk *psk);

#endif
