/* fanq-bench: measures the broker against what the machine can do.
 *
 * Starts a broker of its own, so that nobody else's load is in the figures, and stops it at the end. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "control.h"
#include "report.h"

struct bench_case {
    const char *name;
    int (*runs[3])(const struct case_options *options, struct bench_error *error);
};

static const struct bench_case cases[] = {
    {"fanout", {case_fanout}},
    {"queue", {case_queue, case_queue_single, case_wake}},
    {"idle", {case_idle}},
    {"latency", {case_latency}},
    {"durable", {case_durable, case_durable_latency}},
    {"recovery", {case_recovery}},
    {"ring", {case_ring}},
};

enum { CASE_COUNT = sizeof cases / sizeof cases[0] };

struct arguments {
    struct case_options options;
    const char *fanqd;
    bool wanted[CASE_COUNT];
};

static void usage(FILE *out)
{
    fputs(
        "usage: fanq-bench [options] CASE...\n"
        "\n"
        "cases:\n"
        "  fanout   publish to a topic, push to the subscribers of N queues; beside a bare relay\n"
        "  queue    receive in batches with and without deletes; one message at a time; waking a long poll\n"
        "  idle     publish to a topic with 1,000 idle queues; beside one with a single queue\n"
        "  latency  publish to receipt at a given rate; beside a bare relay\n"
        "  durable  fanout and a waiting publisher with everything on the disk; beside the disk and memory\n"
        "  recovery the time from the start of a broker that was killed to its first answer\n"
        "  ring     from thread to thread through the broker's ring; beside a queue with a mutex\n"
        "\n"
        "options:\n"
        "  --json            one JSON object a line on stdout, and nothing else there\n"
        "  --full            every cell, not only the usual ones\n"
        "  --fanqd PATH      the broker to measure; default: the one beside this program\n"
        "  --rounds N        rounds of each cell, 5 to 101; default 5\n"
        "  --seconds S       measured time of each round\n"
        "  --size BYTES      one cell only: bodies of this size,\n"
        "  --subscribers N   so many subscribers,\n"
        "  --batch N         so many messages in a publish\n",
        out);
}

static unsigned long number_of(const char *option, const char *text, unsigned long min, unsigned long max)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (*text == '\0' || *end != '\0' || number < min || number > max) {
        fprintf(stderr, "fanq-bench: --%s takes a number from %lu to %lu, not \"%s\"\n", option, min, max,
                text);
        exit(2);
    }
    return number;
}

static double seconds_of(const char *text)
{
    char *end;
    double seconds = strtod(text, &end);

    if (*text == '\0' || *end != '\0' || !(seconds >= 0.01 && seconds <= 3600)) {
        fprintf(stderr, "fanq-bench: --seconds takes a number from 0.01 to 3600, not \"%s\"\n", text);
        exit(2);
    }
    return seconds;
}

static void case_want(struct arguments *arguments, const char *name)
{
    for (size_t i = 0; i < CASE_COUNT; i++)
        if (strcmp(cases[i].name, name) == 0) {
            arguments->wanted[i] = true;
            return;
        }
    fprintf(stderr, "fanq-bench: there is no case \"%s\"; there are:", name);
    for (size_t i = 0; i < CASE_COUNT; i++)
        fprintf(stderr, " %s", cases[i].name);
    fputc('\n', stderr);
    exit(2);
}

static void option_take(struct arguments *arguments, const char *name, const char *value)
{
    struct case_options *options = &arguments->options;

    if (strcmp(name, "json") == 0)
        report_set_json(true);
    else if (strcmp(name, "full") == 0)
        options->full = true;
    else if (strcmp(name, "fanqd") == 0)
        arguments->fanqd = value;
    else if (strcmp(name, "rounds") == 0)
        options->round_count = (uint32_t)number_of(name, value, ROUNDS_MIN, ROUNDS_MAX);
    else if (strcmp(name, "seconds") == 0)
        options->seconds = seconds_of(value);
    else if (strcmp(name, "subscribers") == 0)
        options->subscriber_count = (uint32_t)number_of(name, value, 1, 1000);
    else if (strcmp(name, "rate") == 0)
        options->rate = (double)number_of(name, value, 1, 1000000000);
    else if (strcmp(name, "batch") == 0)
        options->batch = (uint32_t)number_of(name, value, 1, 100000);
    else if (strcmp(name, "size") == 0) {
        options->size = number_of(name, value, 0, 1000000);
        options->has_size = true;
    }
}

static void arguments_parse(struct arguments *arguments, int argc, char **argv)
{
    static const struct option known[] = {
        {"json", no_argument, NULL, 'o'},
        {"full", no_argument, NULL, 'o'},
        {"fanqd", required_argument, NULL, 'o'},
        {"rounds", required_argument, NULL, 'o'},
        {"size", required_argument, NULL, 'o'},
        {"subscribers", required_argument, NULL, 'o'},
        {"batch", required_argument, NULL, 'o'},
        {"rate", required_argument, NULL, 'o'},
        {"seconds", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int index, option;

    while ((option = getopt_long(argc, argv, "h", known, &index)) != -1) {
        if (option == 'o') {
            option_take(arguments, known[index].name, optarg);
            continue;
        }
        usage(option == 'h' ? stdout : stderr);
        exit(option == 'h' ? 0 : 2);
    }
    if (optind == argc) {
        usage(stderr);
        exit(2);
    }
    while (optind < argc)
        case_want(arguments, argv[optind++]);
}

/* The longest turns of the broker's loop since it was started. */
static int report_turns(const char *url, const char *after, struct bench_error *error)
{
    struct fanq_stats_reply stats = {0};
    struct control control;
    int err = control_open(&control, url, error);

    if (err == 0)
        err = control_stats(&control, &stats);
    if (err == 0) {
        const struct figure row[] = {
            {"case", "case", FIGURE_TEXT, .text = "turns"},
            {"after", "after", FIGURE_TEXT, .text = after},
            {"turn_us_max", "us", FIGURE_COUNT, .value = (double)stats_value(&stats, "turn_us_max")},
            {"turn_cpu_us_max", "CPU us", FIGURE_COUNT,
             .value = (double)stats_value(&stats, "turn_cpu_us_max")},
        };

        report_row(row, sizeof row / sizeof row[0]);
    }
    control_close(&control);
    return err;
}

static int cases_run(const struct arguments *arguments, struct bench_error *error)
{
    int err = 0;

    for (size_t i = 0; i < CASE_COUNT && err == 0; i++) {
        if (!arguments->wanted[i])
            continue;
        for (size_t j = 0; j < 3 && cases[i].runs[j] != NULL && err == 0; j++)
            err = cases[i].runs[j](&arguments->options, error);
        if (err == 0 && arguments->options.full)
            err = report_turns(arguments->options.url, cases[i].name, error);
    }
    return err;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.options.round_count = ROUNDS_MIN, .fanqd = process_find_broker()};
    struct bench_error error = {0};
    struct process broker;
    int err;

    arguments_parse(&arguments, argc, argv);
    if (arguments.fanqd == NULL) {
        fputs("fanq-bench: there is no fanqd beside this program; say where with --fanqd PATH\n", stderr);
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* cannot fail for a signal that exists */
    err = process_start_broker(&broker, &(struct process_broker){.fanqd = arguments.fanqd}, &error);
    if (err == 0) {
        arguments.options.fanqd = arguments.fanqd;
        arguments.options.url = broker.url;
        arguments.options.broker_clock = broker.cpu_clock;
        err = cases_run(&arguments, &error);
    }
    process_stop(&broker);
    report_progress("%s", "");
    if (err != 0)
        fprintf(stderr, "fanq-bench: %s\n", error.text);
    return err == 0 ? 0 : 1;
}
