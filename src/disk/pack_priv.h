/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_PACK_PRIV_H
#define ATOLL_DISK_PACK_PRIV_H

#include <stddef.h>

#include "base/attr.h"

/*
 * Compression of pieces that stand alone: one cluster or grain each. All functions may be called by
 * several threads at once; each thread keeps its compressor's memory until it ends.
 */
enum pack {
	PACK_DEFLATE, /* RFC 1951 without header, window of 4 KiB: qcow2 */
	PACK_ZLIB,    /* RFC 1950: VMDK */
	PACK_ZSTD,
};

/*
 * pack_squeeze: *ret_n = 0 when the result would not fit @cap bytes. pack_expand: exactly @n bytes have to come
 * out; bytes behind the end of the compressed data are ignored. -EILSEQ: damaged. Both: -ENOMEM.
 */
_nodiscard_ int pack_squeeze(enum pack how, const void *in, size_t n, void *out, size_t cap,
			     size_t *ret_n);
_nodiscard_ int pack_expand(enum pack how, const void *in, size_t n_in, void *out, size_t n);

#endif
