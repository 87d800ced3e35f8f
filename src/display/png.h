/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISPLAY_PNG_H
#define ATOLL_DISPLAY_PNG_H

#include "display/picture.h"

/*
 * png_write - append a surface as a PNG file (8-bit RGB, not interlaced).
 *
 * Returns 0; -EINVAL (empty surface); -ENOMEM. Source: PNG specification, second edition (ISO 15948). Thread: any.
 */
_nodiscard_ int png_write(const struct surface *s, struct strbuf *out);

#endif
