/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI machine language, written directly.
 *
 * The alternative, compiling ASL at build time and patching bytes at run time, needs a compiler on every
 * build machine and offsets that nobody can read. What a virtual board says in AML is names, numbers,
 * packages and resource lists: a few hundred lines here, and checked against the reference compiler in
 * the tests.
 */
#include "vm/acpi/aml.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

enum {
	OP_ZERO = 0x00,
	OP_ONE = 0x01,
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_STORE = 0x70,
	OP_NOTIFY = 0x86,
	OP_IF = 0xa0,
	OP_RETURN = 0xa4,
	OP_EXT = 0x5b,
	OP_EXT_REGION = 0x80,
	OP_EXT_FIELD = 0x81,
	OP_EXT_DEVICE = 0x82,
	REGION_IO = 1,
	FIELD_BYTES = 0x01,
	FIELD_OTHERS_ZERO = 0x40,
	PREFIX_DUAL = 0x2e,
	PREFIX_MULTI = 0x2f,
};

static void add_le(struct strbuf *b, uint64_t v, unsigned int n)
{
	uint8_t bytes[8];

	put_le(bytes, v, n);
	strbuf_add(b, bytes, n);
}

void aml_done(struct aml *a)
{
	strbuf_done(&a->out);
	a->depth = 0;
}

static void open_term(struct aml *a)
{
	assert(a->depth < AML_MAX_DEPTH);
	a->open[a->depth++] = a->out.n;
}

/*
 * PkgLength (20.2.4) counts itself and what follows: up to 63 in one byte; else the first byte holds the
 * number of further bytes and the low four bits.
 */
void aml_close(struct aml *a)
{
	uint8_t enc[4];
	size_t at, body, extra = 0, len;

	assert(a->depth > 0);
	at = a->open[--a->depth];
	body = a->out.n - at;
	len = body + 1;
	if (len > 63) {
		extra = 1;
		while (body + 1 + extra >= (size_t)1 << (4 + 8 * extra))
			extra++;
		assert(extra <= 3);
		len = body + 1 + extra;
		enc[0] = (uint8_t)(extra << 6 | (len & 0xf));
		put_le(enc + 1, len >> 4, (unsigned int)extra);
	} else {
		enc[0] = (uint8_t)len;
	}
	strbuf_add(&a->out, enc, 1 + extra);
	memmove(a->out.p + at + 1 + extra, a->out.p + at, body);
	memcpy(a->out.p + at, enc, 1 + extra);
}

/* NameString (20.2.2): segments are padded with '_' to four characters. */
static void add_path(struct aml *a, const char *path)
{
	struct str rest, seg;
	unsigned int n = 1;

	if (*path == '\\') {
		strbuf_addc(&a->out, '\\');
		path++;
	}
	for (const char *p = path; *p; p++)
		n += *p == '.';
	if (n == 2) {
		strbuf_addc(&a->out, PREFIX_DUAL);
	} else if (n > 2) {
		strbuf_addc(&a->out, PREFIX_MULTI);
		strbuf_addc(&a->out, (char)n);
	}
	rest = str_of(path);
	while (str_cut(&rest, '.', &seg)) {
		assert(seg.n >= 1 && seg.n <= 4);
		strbuf_add(&a->out, seg.p, seg.n);
		strbuf_add(&a->out, "____", 4 - seg.n);
	}
}

void aml_scope(struct aml *a, const char *path)
{
	strbuf_addc(&a->out, OP_SCOPE);
	open_term(a);
	add_path(a, path);
}

void aml_device(struct aml *a, const char *path)
{
	strbuf_addc(&a->out, OP_EXT);
	strbuf_addc(&a->out, (char)OP_EXT_DEVICE);
	open_term(a);
	add_path(a, path);
}

void aml_package(struct aml *a, unsigned int n)
{
	assert(n < 256);
	strbuf_addc(&a->out, OP_PACKAGE);
	open_term(a);
	strbuf_addc(&a->out, (char)n);
}

void aml_name(struct aml *a, const char *path)
{
	strbuf_addc(&a->out, OP_NAME);
	add_path(a, path);
}

struct aml_seg aml_numbered(char letter, unsigned int n)
{
	struct aml_seg s;

	snprintf(s.name, sizeof(s.name), "%c%03X", letter, n & 0xfff);
	return s;
}

void aml_method(struct aml *a, const char *path, unsigned int nr_args)
{
	strbuf_addc(&a->out, OP_METHOD);
	open_term(a);
	add_path(a, path);
	strbuf_addc(&a->out, (char)nr_args);
}

void aml_if(struct aml *a, const char *path)
{
	strbuf_addc(&a->out, (char)OP_IF);
	open_term(a);
	add_path(a, path);
}

void aml_return_int(struct aml *a, uint64_t v)
{
	strbuf_addc(&a->out, (char)OP_RETURN);
	aml_int(a, v);
}

void aml_store_int(struct aml *a, uint64_t v, const char *path)
{
	strbuf_addc(&a->out, OP_STORE);
	aml_int(a, v);
	add_path(a, path);
}

void aml_notify(struct aml *a, const char *path, uint8_t v)
{
	strbuf_addc(&a->out, (char)OP_NOTIFY);
	add_path(a, path);
	aml_int(a, v);
}

void aml_io_region(struct aml *a, const char *path, uint16_t base, uint8_t len)
{
	strbuf_addc(&a->out, OP_EXT);
	strbuf_addc(&a->out, (char)OP_EXT_REGION);
	add_path(a, path);
	strbuf_addc(&a->out, REGION_IO);
	aml_int(a, base);
	aml_int(a, len);
}

/* The length of a field's element is in bits, and counts nothing but them. */
static void add_bits(struct aml *a, unsigned int n)
{
	if (n > 63) {
		strbuf_addc(&a->out, (char)(0x40 | (n & 15)));
		n >>= 4;
	}
	assert(n <= 255);
	strbuf_addc(&a->out, (char)n);
}

void aml_bits(struct aml *a, const char *region, unsigned int off, char letter, unsigned int nr)
{
	strbuf_addc(&a->out, OP_EXT);
	strbuf_addc(&a->out, (char)OP_EXT_FIELD);
	open_term(a);
	add_path(a, region);
	strbuf_addc(&a->out, FIELD_BYTES | FIELD_OTHERS_ZERO);
	if (off) {
		strbuf_addc(&a->out, 0); /* what lies before has no name */
		add_bits(a, 8 * off);
	}
	for (unsigned int k = 0; k < nr; k++) {
		add_path(a, aml_numbered(letter, k).name);
		add_bits(a, 1);
	}
	aml_close(a);
}

void aml_int(struct aml *a, uint64_t v)
{
	if (v <= 1) {
		strbuf_addc(&a->out, v ? OP_ONE : OP_ZERO);
	} else if (v <= UINT8_MAX) {
		strbuf_addc(&a->out, OP_BYTE);
		add_le(&a->out, v, 1);
	} else if (v <= UINT16_MAX) {
		strbuf_addc(&a->out, OP_WORD);
		add_le(&a->out, v, 2);
	} else if (v <= UINT32_MAX) {
		strbuf_addc(&a->out, OP_DWORD);
		add_le(&a->out, v, 4);
	} else {
		strbuf_addc(&a->out, OP_QWORD);
		add_le(&a->out, v, 8);
	}
}

void aml_string(struct aml *a, const char *s)
{
	strbuf_addc(&a->out, OP_STRING);
	strbuf_add(&a->out, s, strlen(s) + 1);
}

/* Three letters of five bits and four hex digits, big-endian (19.3.4, EISAID). */
void aml_eisaid(struct aml *a, const char *id)
{
	uint32_t v = 0;
	uint8_t be[4];

	assert(strlen(id) == 7);
	for (unsigned int k = 0; k < 3; k++)
		v = v << 5 | (uint32_t)(id[k] - 0x40);
	for (unsigned int k = 3; k < 7; k++)
		v = v << 4 | (uint32_t)str_hex_digit(id[k]);
	put_be32(be, v);
	strbuf_addc(&a->out, OP_DWORD);
	strbuf_add(&a->out, be, 4);
}

void aml_buffer(struct aml *a, const void *p, size_t n)
{
	strbuf_addc(&a->out, OP_BUFFER);
	open_term(a);
	aml_int(a, n);
	strbuf_add(&a->out, p, n);
	aml_close(a);
}

void aml_name_int(struct aml *a, const char *path, uint64_t v)
{
	aml_name(a, path);
	aml_int(a, v);
}

void aml_name_string(struct aml *a, const char *path, const char *s)
{
	aml_name(a, path);
	aml_string(a, s);
}

void aml_name_eisaid(struct aml *a, const char *path, const char *id)
{
	aml_name(a, path);
	aml_eisaid(a, id);
}

/* Address space descriptors: what kind, and how the range behaves. */
enum {
	SPACE_MEMORY = 0,
	SPACE_IO = 1,
	SPACE_BUS = 2,
	FIXED_MIN_MAX = 0x0c, /* neither end can move; positive decode; this device produces it */
	IO_ENTIRE_RANGE = 3,
	MEM_READ_WRITE = 1,
};

void crs_io(struct strbuf *b, uint16_t first, uint8_t len)
{
	add_le(b, 0x47, 1);
	add_le(b, 1, 1); /* decodes 16 address bits */
	add_le(b, first, 2);
	add_le(b, first, 2);
	add_le(b, 1, 1);
	add_le(b, len, 1);
}

void crs_irq(struct strbuf *b, unsigned int irq)
{
	assert(irq < 16);
	add_le(b, 0x22, 1); /* no flags: edge, active high, not shared */
	add_le(b, UINT64_C(1) << irq, 2);
}

void crs_gsi(struct strbuf *b, unsigned int gsi)
{
	add_le(b, 0x89, 1);
	add_le(b, 6, 2);
	add_le(b, 1, 1); /* consumed; level, active high, exclusive */
	add_le(b, 1, 1);
	add_le(b, gsi, 4);
}

void crs_mem32_fixed(struct strbuf *b, uint32_t base, uint32_t len)
{
	add_le(b, 0x86, 1);
	add_le(b, 9, 2);
	add_le(b, MEM_READ_WRITE, 1);
	add_le(b, base, 4);
	add_le(b, len, 4);
}

static void word_space(struct strbuf *b, unsigned int type, unsigned int type_flags, uint16_t first,
		       uint16_t last)
{
	add_le(b, 0x88, 1);
	add_le(b, 13, 2);
	add_le(b, type, 1);
	add_le(b, FIXED_MIN_MAX, 1);
	add_le(b, type_flags, 1);
	add_le(b, 0, 2); /* granularity */
	add_le(b, first, 2);
	add_le(b, last, 2);
	add_le(b, 0, 2); /* translation */
	add_le(b, (uint64_t)last - first + 1, 2);
}

void crs_bus_range(struct strbuf *b, uint16_t first, uint16_t last)
{
	word_space(b, SPACE_BUS, 0, first, last);
}

void crs_io_window(struct strbuf *b, uint16_t first, uint16_t last)
{
	word_space(b, SPACE_IO, IO_ENTIRE_RANGE, first, last);
}

void crs_mem32_window(struct strbuf *b, uint32_t first, uint32_t last)
{
	add_le(b, 0x87, 1);
	add_le(b, 23, 2);
	add_le(b, SPACE_MEMORY, 1);
	add_le(b, FIXED_MIN_MAX, 1);
	add_le(b, MEM_READ_WRITE, 1); /* not cacheable */
	add_le(b, 0, 4);
	add_le(b, first, 4);
	add_le(b, last, 4);
	add_le(b, 0, 4);
	add_le(b, (uint64_t)last - first + 1, 4);
}

void crs_mem64_window(struct strbuf *b, uint64_t first, uint64_t last)
{
	add_le(b, 0x8a, 1);
	add_le(b, 43, 2);
	add_le(b, SPACE_MEMORY, 1);
	add_le(b, FIXED_MIN_MAX, 1);
	add_le(b, MEM_READ_WRITE, 1);
	add_le(b, 0, 8);
	add_le(b, first, 8);
	add_le(b, last, 8);
	add_le(b, 0, 8);
	add_le(b, last - first + 1, 8);
}

void aml_crs(struct aml *a, struct strbuf *b)
{
	add_le(b, 0x79, 1); /* end tag; checksum 0 is "not computed" */
	add_le(b, 0, 1);
	aml_name(a, "_CRS");
	aml_buffer(a, b->p, b->n);
	strbuf_reset(b);
}
