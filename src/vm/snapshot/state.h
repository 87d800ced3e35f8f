/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_SNAPSHOT_STATE_H
#define VM_SNAPSHOT_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

/*
 * What of a device is its state, as a table: the members of its struct that a snapshot keeps, and which values of them are
 * possible. Saving, loading and refusing what is wrong follow from the table; see README.md.
 *
 * Everything that is kept is an integer, an array of bytes or of integers, or a struct described by a table of its own.
 * Pointers, locks and timers are not kept: @loaded makes again what follows from the rest.
 */
enum state_kind {
	STATE_UINT, /* unsigned, or bool, from min to max; @size bytes each */
	STATE_INT,  /* two's complement, from (int64_t)min to (int64_t)max */
	STATE_PAST, /* uint64_t: a time of the machine's clock that is not in the future */
	STATE_SUB,  /* structs described by @sub */
};

struct state_desc;

struct state_field {
	const char *name; /* the member's, for messages */
	enum state_kind kind;
	uint16_t since; /* first version of the table that has it; 0 counts as 1 */
	uint32_t off;	/* of the member */
	uint32_t size;	/* bytes of one element: 1, 2, 4, 8; of a struct: its sizeof */
	uint32_t nr;	/* elements */
	uint64_t min, max;
	const struct state_desc *sub; /* has no lock, no functions, and one version for ever */
};

struct state_desc {
	const char *name;
	uint16_t version; /* from 1; higher when fields are added at the end */
	uint32_t size;	  /* sizeof the struct */
	int32_t lock_off; /* of the pthread_mutex_t that guards it; negative: none */
	const struct state_field *fields;
	uint32_t nr_fields;
	/*
	 * What one field alone cannot tell: does @next, which is a copy of the present struct with all fields replaced, make
	 * sense? Every field is in its range already. @now: the machine's time. May be NULL.
	 * Returns 0 or -EINVAL with the story.
	 */
	int (*check)(const void *next, const void *present, uint64_t now_ns, struct err *err);
	/* All state of the whole machine was replaced: arm timers, map, drive lines. No vCPU runs. May be NULL. */
	void (*loaded)(void *obj);
};

#define STATE_MEMBER_(type, member) ((type *)NULL)->member
#define STATE_RANGE(type, member, min_, max_)                                                      \
	{                                                                                          \
		.name = #member, .kind = STATE_UINT, .off = offsetof(type, member),                \
		.size = sizeof(STATE_MEMBER_(type, member)), .nr = 1, .min = (min_),               \
		.max = (max_),                                                                     \
	}
#define STATE_MAX(type, member, max_) STATE_RANGE(type, member, 0, max_)
#define STATE_ANY(type, member)	      STATE_RANGE(type, member, 0, UINT64_MAX)
#define STATE_BOOL(type, member)      STATE_RANGE(type, member, 0, 1)
/* One that tables of lower versions did not have. */
#define STATE_SINCE(version_, type, member, max_)                                                  \
	{                                                                                          \
		.name = #member, .kind = STATE_UINT, .since = (version_),                          \
		.off = offsetof(type, member), .size = sizeof(STATE_MEMBER_(type, member)),        \
		.nr = 1, .max = (max_),                                                            \
	}
#define STATE_SIGNED(type, member, min_, max_)                                                     \
	{                                                                                          \
		.name = #member, .kind = STATE_INT, .off = offsetof(type, member),                 \
		.size = sizeof(STATE_MEMBER_(type, member)), .nr = 1, .min = (uint64_t)(min_),     \
		.max = (uint64_t)(max_),                                                           \
	}
#define STATE_TIME_PAST(type, member)                                                              \
	{                                                                                          \
		.name = #member, .kind = STATE_PAST, .off = offsetof(type, member), .size = 8,     \
		.nr = 1,                                                                           \
	}
/* An array of integers. */
#define STATE_ARRAY(type, member, max_)                                                            \
	{                                                                                          \
		.name = #member, .kind = STATE_UINT, .off = offsetof(type, member),                \
		.size = sizeof(STATE_MEMBER_(type, member)[0]),                                    \
		.nr = ARRAY_SIZE(STATE_MEMBER_(type, member)), .max = (max_),                      \
	}
/* An array of bytes that may be anything, of any number of dimensions. */
#define STATE_BYTES(type, member)                                                                  \
	{                                                                                          \
		.name = #member, .kind = STATE_UINT, .off = offsetof(type, member), .size = 1,     \
		.nr = sizeof(STATE_MEMBER_(type, member)), .max = 0xff,                            \
	}
/* An array of uint64_t of any number of dimensions. */
#define STATE_WORDS(type, member)                                                                  \
	{                                                                                          \
		.name = #member, .kind = STATE_UINT, .off = offsetof(type, member), .size = 8,     \
		.nr = sizeof(STATE_MEMBER_(type, member)) / 8, .max = UINT64_MAX,                  \
	}
/* A struct, or an array of structs. */
#define STATE_STRUCT(type, member, desc_) STATE_STRUCT_SINCE(1, type, member, desc_)
#define STATE_STRUCT_SINCE(version_, type, member, desc_)                                          \
	{                                                                                          \
		.name = #member, .kind = STATE_SUB, .since = (version_),                           \
		.off = offsetof(type, member), .nr = 0,                                            \
		.size = sizeof(STATE_MEMBER_(type, member)), .sub = (desc_),                       \
	}

/* What a table has from its struct and its fields, beside name, version, lock and functions. */
#define STATE_TABLE(type, fields_)                                                                 \
	.size = sizeof(type), .fields = (fields_), .nr_fields = ARRAY_SIZE(fields_)
#define STATE_LOCK(type, member) .lock_off = (int32_t)offsetof(type, member)
#define STATE_NO_LOCK		 .lock_off = -1

/*
 * state_bytes - length of what state_save() of a version of the table writes.
 *
 * Returns 0 for a version that the table does not know. Thread: any.
 */
_pure_ uint64_t state_bytes(const struct state_desc *d, uint16_t version);

/* state_save - append the state of @obj, under its lock. Thread: any. */
void state_save(const struct state_desc *d, const void *obj, struct strbuf *out);

/*
 * state_check - could this be loaded?
 *
 * @obj:     what it would be loaded into; not changed
 * @in:      what state_save() wrote, or what somebody says that it did
 * @now_ns:  the machine's time as it will be
 * Returns 0; -EINVAL, -EOPNOTSUPP (a newer version) with the field and the reason; -ENOMEM. Thread: any.
 */
_nodiscard_ int state_check(const struct state_desc *d, const void *obj, uint16_t version,
			    struct str in, uint64_t now_ns, struct err *err);

/*
 * state_load - replace the state of @obj by what state_check() has found good, under its lock. Fields that the version
 * does not have stay as they are. Thread: any; @obj is not in use.
 */
void state_load(const struct state_desc *d, void *obj, uint16_t version, struct str in);

#endif
