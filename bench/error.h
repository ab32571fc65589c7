/* What went wrong with a measurement: a number and a sentence with the names and numbers needed to act.
 *
 * Several threads of one measurement share one; the first failure is kept, for the others usually follow from
 * it. */
#pragma once

#include <stdatomic.h>

struct bench_error {
    atomic_int err; /* 0, or FANQ_ERR_... */
    char text[256]; /* written once, by whoever set err; read after the threads have been joined */
};

/* Records the failure unless there is one already. Gives err, so that callers can return it. Any thread. */
int bench_fail(struct bench_error *error, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static inline int bench_error_get(struct bench_error *error)
{
    return atomic_load_explicit(&error->err, memory_order_relaxed);
}
