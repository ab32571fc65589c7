/* Standard output and the terminal: flushing, questions, progress. */
#include "cli.h"

#include "text.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROGRESS_FIRST_MS = 500, PROGRESS_INTERVAL_MS = 200 };

int cli_flush(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    if (errno == EPIPE)
        return EXIT_SIGNAL + SIGPIPE;
    return cli_fail(EXIT_FAILED, "cannot write to standard output: %s", strerror(errno));
}

bool cli_is_terminal(int fd)
{
    const char *kind = getenv("TERM");

    return isatty(fd) && (kind == NULL || strcmp(kind, "dumb") != 0);
}

bool cli_colors(int fd)
{
    const char *no_color = getenv("NO_COLOR");

    return cli_is_terminal(fd) && (no_color == NULL || no_color[0] == '\0');
}

int cli_confirm(struct cli *cli, const char *format, ...)
{
    char question[512];
    char answer[16];
    va_list arguments;

    if (cli->options.yes)
        return 0;
    va_start(arguments, format);
    vsnprintf(question, sizeof(question), format, arguments);
    va_end(arguments);
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        cli_fail(EXIT_USAGE, "%s? Not done: nobody to ask", question);
        cli_hint("if you mean it, add --yes");
        return EXIT_USAGE;
    }
    fprintf(stderr, "%s? [y/N] ", question);
    if (fgets(answer, sizeof(answer), stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y'))
        return 0;
    return cli_fail(EXIT_FAILED, "not done");
}

const char *progress_rate(uint64_t count, uint64_t start_ms, char *ret_text, size_t size)
{
    uint64_t took_ms = cli_now_ms() - start_ms;
    char rate[TEXT_NUMBER_BYTES];

    if (took_ms < 10) /* a rate would be noise */
        snprintf(ret_text, size, "in %u ms", (unsigned)took_ms);
    else
        snprintf(ret_text, size, "in %.2f s (%s/s)", (double)took_ms / 1000,
                 text_grouped(count * 1000 / took_ms, rate));
    return ret_text;
}

void progress_show(struct progress *progress, uint64_t count)
{
    uint64_t now_ms = cli_now_ms();
    char number[TEXT_NUMBER_BYTES], rate[80];

    if (progress->start_ms == 0)
        progress->start_ms = now_ms;
    if (now_ms - progress->start_ms < PROGRESS_FIRST_MS ||
        now_ms - progress->shown_ms < PROGRESS_INTERVAL_MS || !cli_is_terminal(STDERR_FILENO))
        return;
    progress->shown_ms = now_ms;
    progress->shown = true;
    fprintf(stderr, "\r%s %s %s\033[K", progress->verb, text_grouped(count, number),
            progress_rate(count, progress->start_ms, rate, sizeof(rate)));
}

void progress_end(struct progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
}
