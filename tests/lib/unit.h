/* What every unit test includes: cmocka with the headers it wants before it, and a shorter way to begin a
 * test. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TEST(name) static void name(void **state)
