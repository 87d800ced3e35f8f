/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors, headers and markers of VMDK images: the first byte says which. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "disk/vmdk/vmdk_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* No name leads out of the folder, and what we write of a descriptor says the same. */
static void descriptor(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 1);
	struct vmdk_descriptor d = { 0 }, again = { 0 };
	struct strbuf out = { 0 };
	struct err err = ERR_INIT;

	memcpy(text, data, n);
	text = realloc(text, n ? n : 1);
	ignore_result(vmdk_is_descriptor((const uint8_t *)text, n)); /* reads it */
	if (vmdk_descriptor_parse((struct str){ text, n }, &d, &err) < 0) {
		assert(err.text[0]);
	} else {
		for (size_t i = 0; i < d.nr_extents; i++) {
			const char *name = d.extents[i].name;

			assert(!name || (name[0] && name[0] != '/' && strcmp(name, "..") &&
					 strncmp(name, "../", 3) && !strstr(name, "/../")));
		}
		vmdk_descriptor_put(&d, "4", &out);
		if (!vmdk_descriptor_parse(strbuf_str(&out), &again, &err)) {
			assert(again.cid == d.cid && again.nr_extents == d.nr_extents);
			assert(again.sectors == d.sectors);
		}
	}
	vmdk_descriptor_done(&d);
	vmdk_descriptor_done(&again);
	strbuf_reset(&out);
	if (vmdk_descriptor_set((struct str){ text, n }, "CID", "12345678", &out))
		assert(memmem(out.p, out.n, "CID=12345678", 12));
	strbuf_reset(&out);
	vmdk_descriptor_set_sectors((struct str){ text, n }, 99, &out);
	strbuf_done(&out);
	free(text);
}

static void header(const uint8_t *data, size_t n)
{
	uint8_t p[VMDK_HEADER_SIZE] = { 0 };
	struct err err = ERR_INIT;
	struct vmdk_header h;

	memcpy(p, data, n < sizeof(p) ? n : sizeof(p));
	if (p[0] & 1)
		memcpy(p, "KDMV", 4);
	if (vmdk_header_parse(p, &h, &err) < 0) {
		assert(err.text[0]);
		return;
	}
	assert(vmdk_nr_tables(&h) && vmdk_nr_tables(&h) <= VMDK_MAX_TABLES);
	vmdk_header_put(&h, p);
	assert(!vmdk_header_parse(p, &h, &err));
}

static void marker(const uint8_t *data, size_t n)
{
	uint8_t p[VMDK_MARKER_SIZE] = { 0 };
	struct err err = ERR_INIT;
	struct vmdk_marker m;

	memcpy(p, data, n < sizeof(p) ? n : sizeof(p));
	if (!vmdk_marker_parse(p, 65536, &m, &err)) {
		assert(m.size <= 2 * 65536);
		vmdk_marker_put(&m, p);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static void (*const parts[])(const uint8_t *, size_t) = { descriptor, header, marker };

	if (n)
		parts[data[0] % ARRAY_SIZE(parts)](data + 1, n - 1);
	return 0;
}
