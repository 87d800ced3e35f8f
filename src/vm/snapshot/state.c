/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State of devices by tables. The alternatives were a save and a load function for each device, which differ from each
 * other sooner or later and check what their author thought of that day; or the struct as it is, which no other version of
 * the program could read and nobody could check.
 *
 * On disk a table is its fields one after the other, little endian, without names, padding or counts: the length follows
 * from the table and its version, so there is nothing in it that could lie about itself but the values, and these have
 * ranges.
 */
#include "vm/snapshot/state.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "sys/thread.h"

enum { STRUCT_MAX = 1 << 20 };

static bool has_field(const struct state_field *f, uint16_t version)
{
	return f->since <= version;
}

static uint32_t count(const struct state_field *f)
{
	return f->kind == STATE_SUB ? f->size / f->sub->size : f->nr;
}

static uint32_t stride(const struct state_field *f)
{
	return f->kind == STATE_SUB ? f->sub->size : f->size;
}

static uint64_t field_bytes(const struct state_field *f, uint16_t version)
{
	if (!has_field(f, version))
		return 0;
	if (f->kind != STATE_SUB)
		return (uint64_t)f->size * f->nr;
	return count(f) * state_bytes(f->sub, f->sub->version);
}

uint64_t state_bytes(const struct state_desc *d, uint16_t version)
{
	uint64_t n = 0;

	if (!version || version > d->version)
		return 0;
	for (uint32_t i = 0; i < d->nr_fields; i++)
		n += field_bytes(&d->fields[i], version);
	return n;
}

static pthread_mutex_t *lock_of(const struct state_desc *d, const void *obj)
{
	return d->lock_off < 0
		       ? NULL
		       : (pthread_mutex_t *)(uintptr_t)((uintptr_t)obj + (uintptr_t)d->lock_off);
}

static uint64_t get_host(const uint8_t *p, uint32_t size)
{
	uint64_t v = 0;

	memcpy(&v, p, size); /* the host is little endian: we run x86-64 code on it */
	return v;
}

static void save(const struct state_desc *d, const uint8_t *obj, struct strbuf *out)
{
	for (uint32_t i = 0; i < d->nr_fields; i++) {
		const struct state_field *f = &d->fields[i];
		const uint8_t *p = obj + f->off;

		for (uint32_t k = 0; k < count(f); k++, p += stride(f)) {
			uint8_t wire[8];

			if (f->kind == STATE_SUB) {
				save(f->sub, p, out);
				continue;
			}
			if (f->size == 1) { /* arrays of bytes are long */
				strbuf_add(out, p, f->nr);
				break;
			}
			put_le(wire, get_host(p, f->size), f->size);
			strbuf_add(out, wire, f->size);
		}
	}
}

void state_save(const struct state_desc *d, const void *obj, struct strbuf *out)
{
	pthread_mutex_t *lock = lock_of(d, obj);

	if (lock)
		mutex_lock(lock);
	save(d, obj, out);
	if (lock)
		mutex_unlock(lock);
}

static int wrong(const struct state_field *f, uint64_t v, struct err *err)
{
	return err_set(err, -EINVAL, "%s has the impossible value 0x%llx", f->name,
		       (unsigned long long)v);
}

static int check_value(const struct state_field *f, uint64_t v, uint64_t now_ns, struct err *err)
{
	bool ok;

	switch (f->kind) {
	case STATE_INT: {
		unsigned int shift = 64 - 8 * f->size;
		int64_t s = (int64_t)(v << shift) >> shift;

		ok = s >= (int64_t)f->min && s <= (int64_t)f->max;
		break;
	}
	case STATE_PAST:
		ok = v <= now_ns;
		break;
	default:
		ok = v >= f->min && v <= f->max;
		break;
	}
	return ok ? 0 : wrong(f, v, err);
}

/* @in: moves on. Returns 0, always when nothing is checked. */
static int load(const struct state_desc *d, uint8_t *obj, uint16_t version, const uint8_t **in,
		uint64_t now_ns, bool is_checked, struct err *err)
{
	for (uint32_t i = 0; i < d->nr_fields; i++) {
		const struct state_field *f = &d->fields[i];
		uint8_t *p = obj + f->off;
		int r = 0;

		if (!has_field(f, version))
			continue;
		for (uint32_t k = 0; k < count(f); k++, p += stride(f)) {
			uint64_t v;

			if (f->kind == STATE_SUB) {
				r = load(f->sub, p, f->sub->version, in, now_ns, is_checked, err);
				if (r < 0)
					return err_wrap(err, r, "%s %u", f->name, k);
				continue;
			}
			v = get_le(*in, f->size);
			*in += f->size;
			if (is_checked)
				r = check_value(f, v, now_ns, err);
			if (r < 0)
				return r;
			memcpy(p, &v, f->size);
		}
	}
	return 0;
}

int state_check(const struct state_desc *d, const void *obj, uint16_t version, struct str in,
		uint64_t now_ns, struct err *err)
{
	_cleanup_(mem_freep) void *next = NULL;
	pthread_mutex_t *lock = lock_of(d, obj);
	const uint8_t *p = (const uint8_t *)in.p;
	int r;

	if (!version || version > d->version)
		return err_set(err, -EOPNOTSUPP, "version %u; this program knows 1 to %u", version,
			       d->version);
	if (in.n != state_bytes(d, version))
		return err_set(err, -EINVAL, "%zu bytes; %llu would be right", in.n,
			       (unsigned long long)state_bytes(d, version));
	assert(d->size <= STRUCT_MAX);
	/* Structs of the CPU want more than what malloc aligns to. */
	next = aligned_alloc(64, align_up(d->size, 64));
	if (!next)
		return err_set(err, -ENOMEM, "no memory");
	if (lock)
		mutex_lock(lock);
	memcpy(next, obj, d->size);
	if (lock)
		mutex_unlock(lock);
	r = load(d, next, version, &p, now_ns, true, err);
	return r == 0 && d->check ? d->check(next, obj, now_ns, err) : r;
}

void state_load(const struct state_desc *d, void *obj, uint16_t version, struct str in)
{
	pthread_mutex_t *lock = lock_of(d, obj);
	const uint8_t *p = (const uint8_t *)in.p;

	if (lock)
		mutex_lock(lock);
	ignore_result(
		load(d, obj, version, &p, 0, false, NULL)); /* checks nothing, so finds nothing */
	if (lock)
		mutex_unlock(lock);
}
