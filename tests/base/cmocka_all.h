/* cmocka wants these before it. */
#ifndef GN_TESTS_CMOCKA_ALL_H
#define GN_TESTS_CMOCKA_ALL_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#endif
