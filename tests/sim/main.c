/* sim: runs seeds of the simulation.
 *
 *     sim --seeds 1-250 --ops 20000     many, one line at the end
 *     sim --seed 42 --ops 20000 --trace one, with all that happens */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workload.h"

static struct workload_options current;

/* Whatever stops the run, a broken promise or an assertion of the core, the last line tells how to see
 * it again. */
static void on_abort(int signal_number)
{
    fprintf(stderr, "repeat with: build/tests/sim/sim --seed %lu --ops %u --trace\n", current.seed,
            current.ops);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void usage(void)
{
    fputs("usage: sim [--seed N | --seeds FIRST-LAST] [--ops N] [--trace]\n", stderr);
    exit(2);
}

static void add(struct workload_result *sum, const struct workload_result *one)
{
    sum->turns += one->turns;
    sum->published += one->published;
    sum->delivered += one->delivered;
    sum->deleted += one->deleted;
    sum->virtual_ms += one->virtual_ms;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"seeds", required_argument, NULL, 'S'},
                                            {"ops", required_argument, NULL, 'o'},
                                            {"trace", no_argument, NULL, 't'},
                                            {0}};
    struct workload_result sum = {0}, one;
    unsigned long first = 1, last = 1;
    int choice;

    current.ops = 20000;
    while ((choice = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (choice == 's')
            first = last = strtoul(optarg, NULL, 0);
        else if (choice == 'S' && sscanf(optarg, "%lu-%lu", &first, &last) == 2 && first <= last)
            continue;
        else if (choice == 'o')
            current.ops = (uint32_t)strtoul(optarg, NULL, 0);
        else if (choice == 't')
            current.trace = stdout;
        else
            usage();
    }
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    for (current.seed = first; current.seed <= last; current.seed++) {
        workload_run(&current, &one);
        add(&sum, &one);
    }
    printf("%lu seeds of %u operations: %lu turns, %lu published, %lu delivered, %lu deleted, %.1f virtual "
           "hours\n",
           last - first + 1, current.ops, sum.turns, sum.published, sum.delivered, sum.deleted,
           (double)sum.virtual_ms / 3600e3);
    return 0;
}
