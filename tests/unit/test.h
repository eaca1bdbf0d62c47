/* SPDX-License-Identifier: MIT */
#ifndef _UNIT_TEST_H
#define _UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif /* _UNIT_TEST_H */
