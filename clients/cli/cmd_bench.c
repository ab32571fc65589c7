/* fanq bench: picks the measurement. */
#include "bench.h"

#include "text.h"

#include <string.h>

static const struct {
    const char *name;
    int (*run)(struct cli *cli);
} cases[] = {
    {"pipe", bench_pipe},
#ifdef FANQ_BENCH
    {"fanout", bench_fan},
#endif
};

enum { CASE_COUNT = sizeof(cases) / sizeof(cases[0]) };

int cmd_bench(struct cli *cli)
{
    const char *name = cli->argument_count > 0 ? cli->arguments[0] : cases[0].name;
    struct text_nearest nearest = {.word = name};

    for (int i = 0; i < CASE_COUNT; i++) {
        if (strcmp(cases[i].name, name) == 0)
            return cases[i].run(cli);
        text_nearest_offer(&nearest, cases[i].name);
    }
    cli_fail(EXIT_USAGE, "there is no bench \"%s\"", name);
    if (nearest.best != NULL)
        cli_hint("did you mean \"fanq bench %s\"?", nearest.best);
    else
        cli_hint("see:  fanq help bench");
    return EXIT_USAGE;
}
