/* What fanqd tells its operator: one line of logfmt a notice, on standard error.
 *
 * A place in the code that repeats itself writes at most once a second and then says how often it kept
 * silent, so that a flood of bad peers does not become a flood of lines. Loop thread only. */
#pragma once

#include <stdint.h>

struct notice_site {
    uint64_t next_ms;  /* silent until then */
    uint64_t silenced; /* lines kept back since the last one */
};

/* format and what follows it are the line's fields ("port=%d path=\"%s\""), or "". */
void notice_write(struct notice_site *site, const char *level, const char *message, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define NOTICE(level, message, ...)                                                                          \
    do {                                                                                                     \
        static struct notice_site notice_site_;                                                              \
        notice_write(&notice_site_, level, message, __VA_ARGS__);                                            \
    } while (0)

#define NOTICE_INFO(message, ...) NOTICE("info", message, __VA_ARGS__)
#define NOTICE_WARNING(message, ...) NOTICE("warning", message, __VA_ARGS__)
#define NOTICE_ERROR(message, ...) NOTICE("error", message, __VA_ARGS__)
