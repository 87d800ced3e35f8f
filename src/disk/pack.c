/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zlib, libdeflate and zstd behind two functions. Setting up a compressor costs more than a small cluster (zlib clears
 * 256 KiB), so each thread keeps one of each kind, freed when the thread ends.
 *
 * For qcow2, zlib's own settings are changed where a window of 4 KiB makes them a waste. Measured on programs: a smaller
 * table that fits the CPU's cache and shorter chains take 30 % off the time and add 0.8 % to the size; a cluster that is
 * noise is recognized in a tenth of the time that deflate needs to find that out. libdeflate, which is faster still, cannot
 * write them: its matches reach back 32 KiB, and a reader that believes the specification keeps 4. It writes VMDK's
 * streams, and reads everything of deflate; what it refuses (a stream whose end mark was cut off) zlib reads.
 */
#include "disk/pack_priv.h"

#include <errno.h>
#include <libdeflate.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bytes.h"

enum { SEEN_BITS = 12 };

struct kept {
	z_stream deflate;    /* PACK_DEFLATE */
	z_stream inflate[2]; /* by PACK_DEFLATE, PACK_ZLIB */
	bool has_deflate, has_inflate[2];
	struct libdeflate_compressor *fast_deflate; /* PACK_ZLIB */
	struct libdeflate_decompressor *fast_inflate;
	ZSTD_CCtx *cctx;
	ZSTD_DCtx *dctx;
	uint32_t seen[1 << SEEN_BITS]; /* is_noise(): four bytes by their hash */
};

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void free_kept(void *arg)
{
	struct kept *k = arg;

	if (k->has_deflate)
		deflateEnd(&k->deflate);
	for (int i = 0; i < 2; i++)
		if (k->has_inflate[i])
			inflateEnd(&k->inflate[i]);
	libdeflate_free_compressor(k->fast_deflate);
	libdeflate_free_decompressor(k->fast_inflate);
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

/* Settings of level 6 for matches at most 4 KiB away. */
static void tune(z_stream *z)
{
	deflateTune(z, 8, 16, 128, 32);
}

/* Whether no byte is more frequent than chance has it: chi-squared, 255 +- 23 for noise. */
static bool is_flat(const uint8_t *p, size_t n)
{
	uint32_t count[256] = { 0 };
	uint64_t squares = 0;

	for (size_t i = 0; i < n; i++)
		count[p[i]]++;
	for (size_t i = 0; i < 256; i++)
		squares += (uint64_t)count[i] * count[i];
	/* sum((c - n/256)^2) / (n/256) < 512 */
	return squares * 256 < (uint64_t)n * n + UINT64_C(512) * n;
}

/*
 * Encrypted or compressed already: the bytes are evenly distributed, and hardly four of them were seen shortly
 * before. Deflate cannot make such a cluster a sector smaller.
 */
static bool is_noise(struct kept *k, const uint8_t *p, size_t n)
{
	enum { SAMPLE = 4096, MATCHES = 16 };
	uint32_t *seen = k->seen;
	unsigned matches = 0;

	if (n < 4 * SAMPLE || !is_flat(p, SAMPLE) || !is_flat(p, n))
		return false;
	memset(seen, 0, sizeof(k->seen));
	for (size_t i = 0; i + 4 <= n; i++) {
		uint32_t v = get_le32(p + i), h = (v * UINT32_C(2654435761)) >> (32 - SEEN_BITS);

		if (seen[h] == v && ++matches == MATCHES)
			return false;
		seen[h] = v;
	}
	return true;
}

static int squeeze_deflate(struct kept *k, const void *in, size_t n, void *out, size_t cap,
			   size_t *ret_n)
{
	z_stream *z = &k->deflate;
	int r;

	*ret_n = 0;
	if (cap <= n && is_noise(k, in, n))
		return 0;
	if (!k->has_deflate) {
		if (deflateInit2(z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 8,
				 Z_DEFAULT_STRATEGY) != Z_OK)
			return -ENOMEM;
		k->has_deflate = true;
	} else {
		deflateReset(z);
	}
	tune(z);
	z->next_in = (void *)in;
	z->avail_in = (uInt)n;
	z->next_out = out;
	z->avail_out = (uInt)cap;
	r = deflate(z, Z_FINISH);
	*ret_n = r == Z_STREAM_END ? cap - z->avail_out : 0;
	return 0;
}

static int squeeze_zlib(struct kept *k, const void *in, size_t n, void *out, size_t cap,
			size_t *ret_n)
{
	if (!k->fast_deflate)
		k->fast_deflate = libdeflate_alloc_compressor(6); /* zlib's default */
	if (!k->fast_deflate)
		return -ENOMEM;
	*ret_n = libdeflate_zlib_compress(k->fast_deflate, in, n, out, cap);
	return 0;
}

/* Whole streams; false: zlib may still make something of it. */
static bool expand_fast(struct kept *k, int how, const void *in, size_t n_in, void *out, size_t n)
{
	size_t used, made = 0;
	enum libdeflate_result r;

	if (!k->fast_inflate)
		k->fast_inflate = libdeflate_alloc_decompressor();
	if (!k->fast_inflate)
		return false;
	if (how == PACK_DEFLATE)
		r = libdeflate_deflate_decompress_ex(k->fast_inflate, in, n_in, out, n, &used,
						     &made);
	else
		r = libdeflate_zlib_decompress_ex(k->fast_inflate, in, n_in, out, n, &used, &made);
	return r == LIBDEFLATE_SUCCESS && made == n;
}

static int expand_zlib(struct kept *k, int how, const void *in, size_t n_in, void *out, size_t n)
{
	z_stream *z = &k->inflate[how];
	int r;

	if (expand_fast(k, how, in, n_in, out, n))
		return 0;
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
	switch (how) {
	case PACK_DEFLATE:
		return squeeze_deflate(k, in, n, out, cap, ret_n);
	case PACK_ZLIB:
		return squeeze_zlib(k, in, n, out, cap, ret_n);
	case PACK_ZSTD:
		break;
	}
	return squeeze_zstd(k, in, n, out, cap, ret_n);
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
