#include "error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

int bench_fail(struct bench_error *error, int err, const char *format, ...)
{
    int none = 0;

    assert(err < 0);
    if (atomic_compare_exchange_strong(&error->err, &none, err)) {
        va_list arguments;

        va_start(arguments, format);
        (void)vsnprintf(error->text, sizeof error->text, format, arguments); /* a long text is cut */
        va_end(arguments);
    }
    return err;
}
