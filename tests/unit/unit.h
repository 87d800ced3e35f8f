/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_UNIT_H
#define ATOLL_TESTS_UNIT_H

/* cmocka with the headers that it wants before itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
