/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISPLAY_KEYS_H
#define ATOLL_DISPLAY_KEYS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * keys_scancode - the key of a PC keyboard (US layout) that an X11 keysym is on, as a code of scan code set 1.
 *
 * @ret_extended: whether the code has the prefix e0
 * Returns 0 when there is none. Shifted signs give the key they are on: who types them presses Shift, too. Thread: any.
 */
uint8_t keys_scancode(uint32_t keysym, bool *ret_extended);

#endif
