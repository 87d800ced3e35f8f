/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISPLAY_CUT_TEXT_H
#define ATOLL_DISPLAY_CUT_TEXT_H

#include "base/str.h"

/*
 * Text of a clipboard in the forms that it travels in. In between it is plain: UTF-8 without zero bytes, with lines that
 * end in LF. Results are appended, and are at most three times as long; the caller limits what comes in. Thread: owner of
 * @ret.
 */

/* What another texts' longest is in bytes of its plain form; libvncserver takes no longer ones. */
enum { CUT_TEXT_MAX = 1 << 20 };

/* cut_text_plain - from UTF-8 of somebody else: up to a zero byte, CR LF as LF, what is no UTF-8 as U+FFFD. */
void cut_text_plain(struct str text, struct strbuf *ret);

/* cut_text_from_latin1 - from ISO 8859-1: up to a zero byte, CR LF as LF. */
void cut_text_from_latin1(struct str text, struct strbuf *ret);

/* cut_text_to_latin1 - plain text in ISO 8859-1, with '?' for each character that it lacks. */
void cut_text_to_latin1(struct str plain, struct strbuf *ret);

/* cut_text_crlf - plain text with lines that end in CR LF. */
void cut_text_crlf(struct str plain, struct strbuf *ret);

#endif
