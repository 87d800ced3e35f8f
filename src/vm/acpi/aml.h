/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_ACPI_AML_H
#define VM_ACPI_AML_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/*
 * A writer of ACPI machine language: the few objects that a machine's description needs. Terms are
 * appended; what encloses others (scope, device, package) is opened and closed, and the length that AML
 * puts in front is filled in on closing. Misuse (closing what is not open) is our bug and asserts.
 * Source: ACPI 6.4, chapter 20. Thread: owner.
 */
enum { AML_MAX_DEPTH = 16 };

struct aml {
	struct strbuf out;
	size_t open[AML_MAX_DEPTH]; /* where the length of each open term goes */
	unsigned int depth;
};

/* aml_done - free. Thread: owner. */
void aml_done(struct aml *a);

/* aml_scope, aml_device - open a named term; @path as in ASL ("\\_SB", "PCI0"), segments of up to four
 * characters. Thread: owner. */
void aml_scope(struct aml *a, const char *path);
void aml_device(struct aml *a, const char *path);

/* aml_package - open a package of @n elements (below 256). Thread: owner. */
void aml_package(struct aml *a, unsigned int n);

/* aml_close - end the innermost open term. Thread: owner. */
void aml_close(struct aml *a);

/* aml_name - a named object; its value is the next term appended. Thread: owner. */
void aml_name(struct aml *a, const char *path);

/* Values. aml_eisaid: "PNP0A08" as the compressed number that _HID takes. Thread: owner. */
void aml_int(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
void aml_eisaid(struct aml *a, const char *id);
void aml_buffer(struct aml *a, const void *p, size_t n);

/*
 * Code. aml_method: open a method; aml_if: open a block that is run when the object @path is not zero; aml_return_int,
 * aml_store_int, aml_notify: one statement. Thread: owner.
 */
void aml_method(struct aml *a, const char *path, unsigned int nr_args);
void aml_if(struct aml *a, const char *path);
void aml_return_int(struct aml *a, uint64_t v);
void aml_store_int(struct aml *a, uint64_t v, const char *path);
void aml_notify(struct aml *a, const char *path, uint8_t v);

/*
 * aml_io_region - name a range of ports. aml_bits - names for single bits of it: @nr of them from byte @off on, called as
 * aml_numbered() says; read and written as bytes, and zeros are written for the other bits. Thread: owner.
 */
void aml_io_region(struct aml *a, const char *path, uint16_t base, uint8_t len);
void aml_bits(struct aml *a, const char *region, unsigned int off, char letter, unsigned int nr);

/* aml_numbered - the name of one of many: @letter and three hexadecimal digits. Thread: any. */
struct aml_seg {
	char name[5];
};
struct aml_seg aml_numbered(char letter, unsigned int n);

/* aml_name_int, aml_name_string, aml_name_eisaid - a named object with its value. Thread: owner. */
void aml_name_int(struct aml *a, const char *path, uint64_t v);
void aml_name_string(struct aml *a, const char *path, const char *s);
void aml_name_eisaid(struct aml *a, const char *path, const char *id);

/*
 * Resource descriptors (ACPI 6.4, 6.4.2 and 6.4.3), appended to a buffer that aml_crs() makes a _CRS of.
 * Ranges are given by first and last address. Thread: owner.
 */
void crs_io(struct strbuf *b, uint16_t first, uint8_t len);
void crs_irq(struct strbuf *b, unsigned int irq);
void crs_gsi(struct strbuf *b, unsigned int gsi); /* level-triggered, active high, not shared */
void crs_mem32_fixed(struct strbuf *b, uint32_t base, uint32_t len);
void crs_bus_range(struct strbuf *b, uint16_t first, uint16_t last);
void crs_io_window(struct strbuf *b, uint16_t first, uint16_t last);
void crs_mem32_window(struct strbuf *b, uint32_t first, uint32_t last);
void crs_mem64_window(struct strbuf *b, uint64_t first, uint64_t last);

/* aml_crs - name _CRS with the descriptors of @b and an end tag; empties @b. Thread: owner. */
void aml_crs(struct aml *a, struct strbuf *b);

#endif
