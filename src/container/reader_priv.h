/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CONTAINER_READER_PRIV_H
#define ATOLL_CONTAINER_READER_PRIV_H

#include "container/config.h"
#include "json/json.h"

/*
 * Reading members of JSON objects into structs. The first thing that is wrong stays: what is read after it changes nothing, so
 * that a reader is a list of members without a check behind each. A member that is not there, or null, leaves its target as it
 * is; one of the wrong type is an error with its place.
 */
struct reader {
	struct arena *arena;
	struct strbuf *warnings;
	struct strbuf at; /* the place: "linux.devices[2]" */
	int r;		  /* 0, or the first error */
	struct err *err;
};

/* rd_fail - what is wrong with a member of the object that is being read. @key: NULL: the object itself. Thread: owner. */
void rd_fail(struct reader *rd, int code, const char *key, const char *fmt, ...) _printf_(4, 5);

/* rd_enter - go into a member; returns what rd_leave() takes. Thread: owner. */
size_t rd_enter(struct reader *rd, const char *key);

/* rd_leave - back. Thread: owner. */
void rd_leave(struct reader *rd, size_t mark);

/* rd_object, rd_array - a member that is an object (an array); NULL: not there. Thread: owner. */
const struct json *rd_object(struct reader *rd, const struct json *j, const char *key);
const struct json *rd_array(struct reader *rd, const struct json *j, const char *key);

/* rd_str - a text. Thread: owner. */
void rd_str(struct reader *rd, const struct json *j, const char *key, const char **ret);

/* rd_need - rd_str() of one that must be there and not be empty. Thread: owner. */
void rd_need(struct reader *rd, const struct json *j, const char *key, const char **ret);

/* rd_bool - true or false. Thread: owner. */
void rd_bool(struct reader *rd, const struct json *j, const char *key, bool *ret);

/* rd_i64 - a whole number. Returns whether it is there. Thread: owner. */
bool rd_i64(struct reader *rd, const struct json *j, const char *key, int64_t min, int64_t max,
	    int64_t *ret);

/* rd_u64 - a whole number up to 2^64 - 1. Returns whether it is there. Thread: owner. */
bool rd_u64(struct reader *rd, const struct json *j, const char *key, uint64_t *ret);

/* rd_u32 - rd_i64() from 0 to @max. Returns whether it is there. Thread: owner. */
bool rd_u32(struct reader *rd, const struct json *j, const char *key, uint32_t max, uint32_t *ret);

/* rd_strs - an array of texts. Thread: owner. */
void rd_strs(struct reader *rd, const struct json *j, const char *key, struct ct_strs *ret);

/* rd_pairs - an object of texts. Thread: owner. */
void rd_pairs(struct reader *rd, const struct json *j, const char *key, struct ct_pairs *ret);

/*
 * rd_list - an array of objects, each read by fn(rd, object, element).
 *
 * @size:  bytes of an element
 * @ret:   address of a pointer to elements, in the arena
 * Thread: owner.
 */
void rd_list(struct reader *rd, const struct json *j, const char *key, size_t size,
	     void (*fn)(struct reader *rd, const struct json *j, void *element), void *ret,
	     size_t *ret_n);

/* rd_word - the place of a text in a list that ends with NULL; an error that names the text when it is not there. Thread:
 * owner. */
size_t rd_word(struct reader *rd, const char *key, const char *text, const char *const *words);

/* What a config.json consists of, a file each. @j is the object itself. Thread: owner. */
void rd_process(struct reader *rd, const struct json *j, struct ct_process *p);
void rd_linux(struct reader *rd, const struct json *j, struct ct_config *c);
void rd_resources(struct reader *rd, const struct json *j, struct ct_resources *res);
void rd_mount(struct reader *rd, const struct json *j, void *element);
void rd_seccomp(struct reader *rd, const struct json *j, struct ct_seccomp *s);

/* The words that a config.json may have there; the i-th, or NULL behind the last. For features. Thread: any. */
_const_ const char *hook_word(size_t i);
_const_ const char *mount_word(size_t i);
_const_ const char *cap_word(size_t i);
_const_ const char *seccomp_action_word(size_t i);
_const_ const char *seccomp_op_word(size_t i);
_const_ const char *seccomp_flag_word(size_t i);

/* mount_propagation - MS_* of "rslave" and its like; 0: unknown. Thread: any. */
_pure_ unsigned long mount_propagation(const char *word);

#endif
