/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMBIOS structures. Each is a formatted part of a length that its type says, and the strings that its fields count
 * from 1, ended by an empty one. Version 2.8 with the 32-bit anchor: every firmware and system reads it, and memory
 * beyond 32 GiB has its extended fields since 2.7.
 */
#include "vm/firmware/smbios.h"

#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "base/bytes.h"

enum {
	ANCHOR_SIZE = 31,
	MAX_FORMATTED = 64,
	MAX_STRINGS = 4,
	HANDLE_SYSTEM = 0x100,
	HANDLE_CHASSIS = 0x300,
	HANDLE_CPU = 0x400,
	HANDLE_ARRAY = 0x1000,
	HANDLE_DIMM = 0x1100,
	HANDLE_MAPPED = 0x1300,
	HANDLE_BOOT = 0x2000,
	HANDLE_END = 0x7f00,
};

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

struct structure {
	uint8_t p[MAX_FORMATTED];
	const char *string[MAX_STRINGS];
	unsigned int nr_strings;
};

struct out {
	struct strbuf *b;
	unsigned int nr;
	size_t largest;
};

static struct structure begin(uint8_t type, uint8_t len, uint16_t handle)
{
	struct structure s = { .p = { type, len } };

	put_le16(s.p + 2, handle);
	return s;
}

/* A string's number, for the field that refers to it. */
static uint8_t text(struct structure *s, const char *string)
{
	if (!*string)
		return 0;
	s->string[s->nr_strings++] = string;
	return (uint8_t)s->nr_strings;
}

static void end(struct out *o, const struct structure *s)
{
	size_t start = o->b->n;

	strbuf_add(o->b, s->p, s->p[1]);
	for (unsigned int k = 0; k < s->nr_strings; k++)
		strbuf_add(o->b, s->string[k], strlen(s->string[k]) + 1);
	strbuf_add(o->b, "\0", s->nr_strings ? 1 : 2);
	o->nr++;
	o->largest = MAX(o->largest, o->b->n - start);
}

static void add_system(struct out *o, const char *name)
{
	struct structure s = begin(1, 0x1b, HANDLE_SYSTEM);

	s.p[4] = text(&s, "Atoll");
	s.p[5] = text(&s, "PC (Q35)");
	s.p[7] = text(&s, name);
	s.p[0x18] = 6; /* woken by the power switch */
	end(o, &s);
}

static void add_chassis(struct out *o)
{
	struct structure s = begin(3, 0x15, HANDLE_CHASSIS);

	s.p[4] = text(&s, "Atoll");
	s.p[5] = 1;				  /* other */
	s.p[9] = s.p[10] = s.p[11] = s.p[12] = 3; /* states: safe; security none */
	end(o, &s);
}

static void add_cpu(struct out *o, unsigned int index)
{
	struct structure s = begin(4, 0x2a, (uint16_t)(HANDLE_CPU + index));
	char socket[16];

	snprintf(socket, sizeof(socket), "CPU %u", index);
	s.p[4] = text(&s, socket);
	s.p[5] = 3; /* central processor */
	s.p[6] = 1; /* family: other */
	s.p[7] = text(&s, "Atoll");
	s.p[0x18] = 0x41; /* populated, enabled */
	s.p[0x19] = 1;
	put_le16(s.p + 0x1a, 0xffff); /* no cache structures */
	put_le16(s.p + 0x1c, 0xffff);
	put_le16(s.p + 0x1e, 0xffff);
	s.p[0x23] = s.p[0x24] = s.p[0x25] = 1; /* cores, enabled, threads */
	put_le16(s.p + 0x26, 0x04);	       /* 64-bit capable */
	put_le16(s.p + 0x28, 1);
	end(o, &s);
}

static void add_memory(struct out *o, const struct smbios_config *cfg)
{
	struct structure s = begin(16, 0x17, HANDLE_ARRAY);
	uint64_t mib = cfg->memory_bytes / MIB;

	s.p[4] = 1; /* other */
	s.p[5] = 3; /* system memory */
	s.p[6] = 6; /* multi-bit ECC */
	put_le32(s.p + 7, UINT32_C(0x80000000));
	put_le16(s.p + 0x0b, 0xfffe);
	put_le16(s.p + 0x0d, 1);
	put_le64(s.p + 0x0f, cfg->memory_bytes);
	end(o, &s);

	s = begin(17, 0x28, HANDLE_DIMM);
	put_le16(s.p + 4, HANDLE_ARRAY);
	put_le16(s.p + 6, 0xfffe);
	put_le16(s.p + 8, 0xffff); /* widths unknown */
	put_le16(s.p + 0x0a, 0xffff);
	put_le16(s.p + 0x0c, (uint16_t)(mib < 0x7fff ? mib : 0x7fff));
	s.p[0x0e] = 9; /* DIMM */
	s.p[0x10] = text(&s, "DIMM 0");
	s.p[0x12] = 7;		    /* RAM */
	put_le16(s.p + 0x13, 0x02); /* other */
	s.p[0x17] = text(&s, "Atoll");
	put_le32(s.p + 0x1c, mib < 0x7fff ? 0 : (uint32_t)mib);
	end(o, &s);
}

static void add_mapped(struct out *o, unsigned int index, uint64_t gpa, uint64_t end_gpa)
{
	struct structure s = begin(19, 0x1f, (uint16_t)(HANDLE_MAPPED + index));

	/* In KiB; beyond 4 TiB the extended fields would be needed. */
	put_le32(s.p + 4, (uint32_t)(gpa >> 10));
	put_le32(s.p + 8, (uint32_t)((end_gpa - 1) >> 10));
	put_le16(s.p + 0x0c, HANDLE_ARRAY);
	s.p[0x0e] = 1;
	end(o, &s);
}

static void add_anchor(const struct out *o, size_t len, struct strbuf *anchor)
{
	uint8_t p[ANCHOR_SIZE] = "_SM_";
	char *a;

	p[5] = ANCHOR_SIZE;
	p[6] = 2;
	p[7] = 8;
	put_le16(p + 8, (uint16_t)o->largest);
	memcpy(p + 16, "_DMI_", 5);
	put_le16(p + 22, (uint16_t)len);
	put_le16(p + 28, (uint16_t)o->nr);
	p[30] = 0x28;
	strbuf_add(anchor, p, sizeof(p));
	a = anchor->p + anchor->n - ANCHOR_SIZE;
	a[21] = (char)byte_sum_complement(a + 16, 15);
	a[4] = (char)byte_sum_complement(a, ANCHOR_SIZE);
}

void smbios_build(const struct smbios_config *cfg, struct strbuf *anchor, struct strbuf *tables)
{
	struct out o = { .b = tables };
	struct structure s;
	size_t start = tables->n;

	add_system(&o, cfg->name);
	add_chassis(&o);
	for (unsigned int k = 0; k < cfg->nr_cpus; k++)
		add_cpu(&o, k);
	add_memory(&o, cfg);
	add_mapped(&o, 0, 0, cfg->low_end);
	if (cfg->memory_bytes > cfg->low_end)
		add_mapped(&o, 1, 4 * GIB, 4 * GIB + cfg->memory_bytes - cfg->low_end);
	s = begin(32, 0x0b, HANDLE_BOOT);
	end(&o, &s);
	s = begin(127, 4, HANDLE_END);
	end(&o, &s);
	add_anchor(&o, tables->n - start, anchor);
}
