/* Lines for the operator: see notice.h. */
#include "notice.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SILENCE_MS = 1000, LINE_BYTES_MAX = 1024 };

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* "ts=2026-11-21T10:20:30.123Z ", or nothing under the journal, which keeps the time itself. */
static size_t write_time(char *line, size_t size)
{
    uint64_t now_ms = clock_ms(CLOCK_REALTIME);
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm parts;
    char date[32];

    if (getenv("JOURNAL_STREAM") != NULL)
        return 0;
    gmtime_r(&seconds, &parts);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &parts);
    return (size_t)snprintf(line, size, "ts=%s.%03dZ ", date, (int)(now_ms % 1000));
}

/* How much of the line is used, never more than it holds. */
static size_t bounded(size_t used, int added)
{
    size_t total = used + (added > 0 ? (size_t)added : 0);

    return total < LINE_BYTES_MAX - 1 ? total : LINE_BYTES_MAX - 2;
}

void notice_write(struct notice_site *site, const char *level, const char *message, const char *format, ...)
{
    uint64_t now_ms = clock_ms(CLOCK_MONOTONIC);
    char line[LINE_BYTES_MAX];
    size_t used;
    va_list arguments;

    if (now_ms < site->next_ms) {
        site->silenced++;
        return;
    }
    used = write_time(line, sizeof(line));
    used = bounded(used, snprintf(line + used, sizeof(line) - used, "level=%s msg=\"%s\"", level, message));
    if (format[0] != '\0') {
        line[used++] = ' ';
        va_start(arguments, format);
        used = bounded(used, vsnprintf(line + used, sizeof(line) - used, format, arguments));
        va_end(arguments);
    }
    if (site->silenced > 0)
        used =
            bounded(used, snprintf(line + used, sizeof(line) - used, " repeated=%" PRIu64, site->silenced));
    line[used++] = '\n';
    fwrite(line, 1, used, stderr);
    site->next_ms = now_ms + SILENCE_MS;
    site->silenced = 0;
}
