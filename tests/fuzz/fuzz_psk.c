/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file of keys: a user to look for (a byte says how long the name is), then the file. */
#include <assert.h>
#include <stdint.h>

#include "nbd/psk_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct nbd_psk *psk = NULL;
	struct err err = ERR_INIT;
	size_t nr_user;
	struct str key;

	if (!n)
		return 0;
	nr_user = MIN(n - 1, (size_t)data[0] % 16);
	if (nbd_psk_parse((const char *)data + 1 + nr_user, n - 1 - nr_user, "fuzz", &psk, &err) <
	    0) {
		assert(err.code && !psk);
		return 0;
	}
	if (nbd_psk_find(psk, (struct str){ (const char *)data + 1, nr_user }, &key))
		assert(nr_user && key.n && key.n <= NBD_PSK_KEY_MAX);
	nbd_psk_free(psk);
	return 0;
}
