/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Views and builders of text. Parsing works on views, because what is parsed usually stands in the
 * middle of something longer (an option list, a protocol line) and copying it out to terminate it
 * is where overruns come from. The number parsers take the range with them: a number without its
 * range check is half read.
 */
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "base/utf8.h"

struct str str_of(const char *s)
{
	return (struct str){ s, s ? strlen(s) : 0 };
}

bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

int str_cmp(struct str a, struct str b)
{
	size_t n = MIN(a.n, b.n);
	int r = n ? memcmp(a.p, b.p, n) : 0;

	if (r)
		return r;
	return (a.n > b.n) - (a.n < b.n);
}

bool str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq((struct str){ s.p, prefix.n }, prefix);
}

bool str_ends(struct str s, struct str suffix)
{
	return s.n >= suffix.n && str_eq(str_skip(s, s.n - suffix.n), suffix);
}

struct str str_skip(struct str s, size_t n)
{
	if (n > s.n)
		n = s.n;
	return n ? (struct str){ s.p + n, s.n - n } : s;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s)
{
	while (s.n && is_blank(s.p[0]))
		s = str_skip(s, 1);
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool str_cut(struct str *rest, char sep, struct str *ret)
{
	const char *at;

	if (!rest->p)
		return false;
	at = rest->n ? memchr(rest->p, sep, rest->n) : NULL;
	if (!at) {
		*ret = *rest;
		*rest = (struct str){ NULL, 0 };
		return true;
	}
	*ret = (struct str){ rest->p, (size_t)(at - rest->p) };
	*rest = str_skip(*rest, ret->n + 1);
	return true;
}

/* What an error message shows of the text: not more than fits, whatever it was. */
static struct str shown(struct str s)
{
	return (struct str){ s.p ? s.p : "", MIN(s.n, (size_t)64) };
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 99;
}

/*
 * Reads digits from the front of *s and moves it past them. -EINVAL: no digit there; -ERANGE: over
 * 64 bits.
 */
static int take_digits(struct str *s, uint64_t *ret)
{
	unsigned base = 10;
	uint64_t v = 0;
	size_t n = 0;

	if (s->n > 2 && s->p[0] == '0' && (s->p[1] == 'x' || s->p[1] == 'X')) {
		base = 16;
		*s = str_skip(*s, 2);
	}
	for (; n < s->n; n++) {
		unsigned d = (unsigned)digit_of(s->p[n]);

		if (d >= base)
			break;
		if (!mul_ok(v, base, &v) || !add_ok(v, d, &v))
			return -ERANGE;
	}
	if (!n)
		return -EINVAL;
	*s = str_skip(*s, n);
	*ret = v;
	return 0;
}

static int in_range(struct str s, int r, uint64_t v, uint64_t min, uint64_t max, uint64_t *ret,
		    struct err *err)
{
	if (r == -EINVAL)
		return err_set(err, r, "'%.*s' is not a number", STR_ARG(shown(s)));
	if (r == -ERANGE || v < min || v > max)
		return err_set(err, -ERANGE, "%.*s is not between %" PRIu64 " and %" PRIu64,
			       STR_ARG(shown(s)), min, max);
	*ret = v;
	return 0;
}

int str_parse_u64(struct str s, uint64_t min, uint64_t max, uint64_t *ret, struct err *err)
{
	struct str rest = s;
	uint64_t v = 0;
	int r = take_digits(&rest, &v);

	if (r == 0 && rest.n)
		r = -EINVAL;
	return in_range(s, r, v, min, max, ret, err);
}

int str_parse_i64(struct str s, int64_t min, int64_t max, int64_t *ret, struct err *err)
{
	bool minus = s.n && s.p[0] == '-';
	struct str rest = str_skip(s, s.n && (minus || s.p[0] == '+'));
	uint64_t magnitude = 0;
	int64_t v = 0;
	int r = take_digits(&rest, &magnitude);

	if (r == 0 && rest.n)
		r = -EINVAL;
	if (r == 0 && !(minus ? sub_ok(0, magnitude, &v) : add_ok(0, magnitude, &v)))
		r = -ERANGE;
	if (r == -EINVAL)
		return err_set(err, r, "'%.*s' is not a number", STR_ARG(shown(s)));
	if (r < 0 || v < min || v > max)
		return err_set(err, -ERANGE, "%.*s is not between %" PRId64 " and %" PRId64,
			       STR_ARG(shown(s)), min, max);
	*ret = v;
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* A number followed by one of the units; the first entry is what a bare number means. */
static int parse_unit(struct str s, const struct unit *units, size_t nr_units, uint64_t min,
		      uint64_t max, uint64_t *ret, struct err *err)
{
	struct str rest = s;
	uint64_t v = 0;
	int r = take_digits(&rest, &v);

	if (r == 0) {
		size_t i;

		for (i = 0; i < nr_units; i++)
			if (str_eq(rest, str_of(units[i].name)))
				break;
		if (i == nr_units)
			return err_set(err, -EINVAL, "'%.*s' is not a number with a known unit",
				       STR_ARG(shown(s)));
		if (!mul_ok(v, units[i].factor, &v))
			r = -ERANGE;
	}
	return in_range(s, r, v, min, max, ret, err);
}

int str_parse_size(struct str s, uint64_t min, uint64_t max, uint64_t *ret_bytes, struct err *err)
{
	static const char letters[] = "KMGTP";
	struct str num = s;
	uint64_t factor = 1, v = 0;
	const char *letter;
	int r;

	if (str_ends(num, STR("iB")) && num.n > 2)
		num.n -= 2;
	else if (str_ends(num, STR("B")))
		num.n -= 1;
	if (num.n && num.p[num.n - 1] != '\0') {
		char last = num.p[num.n - 1];

		letter = strchr(letters, last == 'k' ? 'K' : last);
		if (letter) {
			factor = UINT64_C(1) << (10 * (letter - letters + 1));
			num.n--;
		} else if (str_ends(s, STR("iB"))) {
			num = s; /* "5iB" is nothing */
		}
	}
	r = take_digits(&num, &v);
	if (r == 0 && num.n)
		r = -EINVAL;
	if (r == 0 && !mul_ok(v, factor, &v))
		r = -ERANGE;
	if (r == -EINVAL)
		return err_set(err, r, "'%.*s' is not a size (as 512M or 2G)", STR_ARG(shown(s)));
	return in_range(s, r, v, min, max, ret_bytes, err);
}

int str_parse_ns(struct str s, uint64_t min, uint64_t max, uint64_t *ret_ns, struct err *err)
{
	static const struct unit units[] = {
		{ "", 1000000000 },
		{ "ns", 1 },
		{ "us", 1000 },
		{ "ms", 1000000 },
		{ "s", 1000000000 },
		{ "m", UINT64_C(60000000000) },
		{ "h", UINT64_C(3600000000000) },
	};

	return parse_unit(s, units, ARRAY_SIZE(units), min, max, ret_ns, err);
}

int str_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int str_parse_bool(struct str s, bool *ret, struct err *err)
{
	static const char *const yes[] = { "on", "yes", "true", "1" };
	static const char *const no[] = { "off", "no", "false", "0" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		bool is_yes = str_eq(s, str_of(yes[i]));

		if (is_yes || str_eq(s, str_of(no[i]))) {
			*ret = is_yes;
			return 0;
		}
	}
	return err_set(err, -EINVAL, "'%.*s' is neither on nor off", STR_ARG(shown(s)));
}

size_t str_distance(struct str a, struct str b)
{
	size_t row[65];

	if (a.n > 64 || b.n > 64)
		return MAX(a.n, b.n);
	for (size_t j = 0; j <= b.n; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b.n; j++) {
			size_t replace = diagonal + (a.p[i - 1] != b.p[j - 1]);
			size_t other = MIN(row[j], row[j - 1]) + 1;

			diagonal = row[j];
			row[j] = MIN(replace, other);
		}
	}
	return row[b.n];
}

void strbuf_done(struct strbuf *b)
{
	free(b->p);
	*b = (struct strbuf){ 0 };
}

void strbuf_reset(struct strbuf *b)
{
	b->n = 0;
	if (b->p)
		b->p[0] = '\0';
}

/* Makes room for `more` bytes and the terminator. */
static void strbuf_grow(struct strbuf *b, size_t more)
{
	size_t need, cap = b->cap ? b->cap : 64;

	if (!add_ok(b->n, more, &need) || !add_ok(need, 1, &need))
		abort();
	if (need <= b->cap)
		return;
	while (cap < need)
		if (!mul_ok(cap, 2, &cap))
			abort();
	b->p = mem_renew(b->p, cap, 1);
	b->cap = cap;
}

void strbuf_add(struct strbuf *b, const void *p, size_t n)
{
	strbuf_grow(b, n);
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = '\0';
}

void strbuf_addc(struct strbuf *b, char c)
{
	strbuf_add(b, &c, 1);
}

void strbuf_adds(struct strbuf *b, const char *s)
{
	strbuf_add(b, s, strlen(s));
}

void strbuf_vaddf(struct strbuf *b, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		abort();
	strbuf_grow(b, (size_t)n);
	vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
	b->n += (size_t)n;
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(b, fmt, ap);
	va_end(ap);
}

void strbuf_pad(struct strbuf *b, size_t start, size_t column)
{
	while (b->n < start + column)
		strbuf_addc(b, ' ');
}

void strbuf_add_json(struct strbuf *b, struct str s)
{
	strbuf_addc(b, '"');
	while (s.n) {
		size_t n;
		bool is_wrong = utf8_next(s, &n) == UTF8_REPLACEMENT && n == 1;
		char c = s.p[0];

		if (is_wrong) {
			strbuf_adds(b, "\\ufffd");
		} else if (c == '"' || c == '\\') {
			strbuf_addc(b, '\\');
			strbuf_addc(b, c);
		} else if (c == '\n') {
			strbuf_adds(b, "\\n");
		} else if (n == 1 && ((unsigned char)c < 0x20 || c == 0x7f)) {
			strbuf_addf(b, "\\u%04x", (unsigned char)c);
		} else {
			strbuf_add(b, s.p, n);
		}
		s = str_skip(s, n);
	}
	strbuf_addc(b, '"');
}

const char *strbuf_cstr(const struct strbuf *b)
{
	return b->p ? b->p : "";
}

struct str strbuf_str(const struct strbuf *b)
{
	return (struct str){ strbuf_cstr(b), b->n };
}

char *strbuf_take(struct strbuf *b)
{
	char *p = b->p ? b->p : mem_strdup("");

	*b = (struct strbuf){ 0 };
	return p;
}
