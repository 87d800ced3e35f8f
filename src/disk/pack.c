/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zlib and zstd behind two functions. Setting up a compressor costs more than a small cluster (zlib clears
 * 256 KiB), so each thread keeps one of each kind, freed when the thread ends.
 */
#include "disk/pack_priv.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

struct kept {
	z_stream deflate[2], inflate[2]; /* by PACK_DEFLATE, PACK_ZLIB */
	bool has_deflate[2], has_inflate[2];
	ZSTD_CCtx *cctx;
	ZSTD_DCtx *dctx;
};

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void free_kept(void *arg)
{
	struct kept *k = arg;

	for (int i = 0; i < 2; i++) {
		if (k->has_deflate[i])
			deflateEnd(&k->deflate[i]);
		if (k->has_inflate[i])
			inflateEnd(&k->inflate[i]);
	}
	ZSTD_freeCCtx(k->cctx);
	ZSTD_freeDCtx(k->dctx);
	free(k);
}

/* The first thread does not end by returning from its function. */
static void free_mine(void)
{
	void *k = pthread_getspecific(key);

	if (k) {
		pthread_setspecific(key, NULL);
		free_kept(k);
	}
}

static void make_key(void)
{
	if (pthread_key_create(&key, free_kept) != 0)
		abort();
	atexit(free_mine);
}

static struct kept *kept(void)
{
	struct kept *k;

	pthread_once(&once, make_key);
	k = pthread_getspecific(key);
	if (!k) {
		k = calloc(1, sizeof(*k));
		if (k && pthread_setspecific(key, k) != 0) {
			free(k);
			k = NULL;
		}
	}
	return k;
}

static int squeeze_zlib(struct kept *k, int how, const void *in, size_t n, void *out, size_t cap,
			size_t *ret_n)
{
	z_stream *z = &k->deflate[how];
	int r;

	if (!k->has_deflate[how]) {
		if (deflateInit2(z, Z_DEFAULT_COMPRESSION, Z_DEFLATED,
				 how == PACK_DEFLATE ? -12 : 15, 9, Z_DEFAULT_STRATEGY) != Z_OK)
			return -ENOMEM;
		k->has_deflate[how] = true;
	} else {
		deflateReset(z);
	}
	z->next_in = (void *)in;
	z->avail_in = (uInt)n;
	z->next_out = out;
	z->avail_out = (uInt)cap;
	r = deflate(z, Z_FINISH);
	*ret_n = r == Z_STREAM_END ? cap - z->avail_out : 0;
	return 0;
}

static int expand_zlib(struct kept *k, int how, const void *in, size_t n_in, void *out, size_t n)
{
	z_stream *z = &k->inflate[how];
	int r;

	if (!k->has_inflate[how]) {
		if (inflateInit2(z, how == PACK_DEFLATE ? -12 : 15) != Z_OK)
			return -ENOMEM;
		k->has_inflate[how] = true;
	} else {
		inflateReset(z);
	}
	z->next_in = (void *)in;
	z->avail_in = (uInt)n_in;
	z->next_out = out;
	z->avail_out = (uInt)n;
	r = inflate(z, Z_FINISH);
	/* A stream whose end mark did not fit its sectors is complete all the same. */
	if ((r == Z_STREAM_END || r == Z_BUF_ERROR) && !z->avail_out)
		return 0;
	return r == Z_MEM_ERROR ? -ENOMEM : -EILSEQ;
}

static int squeeze_zstd(struct kept *k, const void *in, size_t n, void *out, size_t cap,
			size_t *ret_n)
{
	size_t r;

	if (!k->cctx)
		k->cctx = ZSTD_createCCtx();
	if (!k->cctx)
		return -ENOMEM;
	r = ZSTD_compress2(k->cctx, out, cap, in, n);
	*ret_n = ZSTD_isError(r) ? 0 : r;
	return 0;
}

static int expand_zstd(struct kept *k, const void *in, size_t n_in, void *out, size_t n)
{
	ZSTD_inBuffer i = { in, n_in, 0 };
	ZSTD_outBuffer o = { out, n, 0 };

	if (!k->dctx)
		k->dctx = ZSTD_createDCtx();
	if (!k->dctx)
		return -ENOMEM;
	ZSTD_DCtx_reset(k->dctx, ZSTD_reset_session_only);
	/* As a stream: the frame need not say its length, and what follows it is padding. */
	while (o.pos < n) {
		size_t before_in = i.pos, before_out = o.pos;
		size_t r = ZSTD_decompressStream(k->dctx, &o, &i);

		if (ZSTD_isError(r))
			return -EILSEQ;
		if (r == 0 || (i.pos == before_in && o.pos == before_out))
			break;
	}
	return o.pos == n ? 0 : -EILSEQ;
}

int pack_squeeze(enum pack how, const void *in, size_t n, void *out, size_t cap, size_t *ret_n)
{
	struct kept *k = kept();

	if (!k)
		return -ENOMEM;
	if (n > INT_MAX || cap > INT_MAX)
		return -E2BIG;
	return how == PACK_ZSTD ? squeeze_zstd(k, in, n, out, cap, ret_n)
				: squeeze_zlib(k, (int)how, in, n, out, cap, ret_n);
}

int pack_expand(enum pack how, const void *in, size_t n_in, void *out, size_t n)
{
	struct kept *k = kept();

	if (!k)
		return -ENOMEM;
	if (n > INT_MAX || n_in > INT_MAX)
		return -E2BIG;
	return how == PACK_ZSTD ? expand_zstd(k, in, n_in, out, n)
				: expand_zlib(k, (int)how, in, n_in, out, n);
}
