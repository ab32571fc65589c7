/* Kills a broker again and again while publishers, consumers and others use it, and says whether it kept its promises.
 *
 *     crash [OPTION...] FANQD [-- FLAG...]      flags are fanqd's
 *
 * Kills:  SIGKILL at a random moment after the broker began to answer; some while it starts, that is, recovers; some after
 *         a SIGTERM, while it stops. What was written survives the end of a process whatever was synced, so each run has
 *         its --fsync mode by chance.
 * End:    publishers stop, all queues are emptied, the broker is killed once more, and nothing may come back.
 * Output: one line, "acknowledged, lost, ..."; what was wrong is told as it is found. Exit code 1 unless all is well.
 *         The directory is kept then. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "server.h"

enum {
    QUEUES = 4,
    TARGETS = 5,
    VISIBILITY_MS = 400,
    RUN_MS = 250, /* until a kill, at most */
    START_MS = 60,
    FINDINGS_MAX = 1000,
    PATIENCE_MS = 60000, /* for anything that must come */
    LAST_LOOK_MS = 1000  /* for what should not come: more than the visibility timeout */
};

enum { Q_FIRST, Q_SECOND, Q_THIRD, Q_PURGED };

static const char *const queue_names[QUEUES] = {"first", "second", "third", "purged"};

static const struct account_target targets[TARGETS] = {
    {"all", true, 3, {Q_FIRST, Q_SECOND, Q_THIRD}},
    {"some", true, 2, {Q_SECOND, Q_PURGED}},
    {"first", false, 1, {Q_FIRST}},
    {"third", false, 1, {Q_THIRD}},
    {"purged", false, 1, {Q_PURGED}},
};

struct options {
    uint64_t kills, seed, backlog_max, lazy_ms, rate_max;
    uint32_t body_bytes_max, terminate_percent, start_percent, run_ms;
    bool keep, any_fsync, expect_loss, memory;
};

struct test {
    struct options options;
    struct harness harness;
    struct server server;
    struct random random; /* of the kills: apart, since how often actors ask is not ours to say */
    uint32_t runs;
    uint64_t started_ms;
    bool terminating;    /* it was asked to end */
    uint64_t read_bytes; /* that the last run had to read back */
    bool broken;         /* the broker does not run as it should: no use in going on */
};

static uint64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- runs ---- */

static void start(struct test *t)
{
    static const char *const modes[] = {"group", "group", "async:20ms", "none"};

    t->harness.ready = t->terminating = false;
    account_run(t->harness.account, ++t->runs);
    server_start(&t->server, t->options.any_fsync ? modes[random_below(&t->random, 4)] : NULL);
    t->started_ms = clock_ms();
}

static void give_up(struct test *t, const char *why)
{
    fprintf(stderr, "crash: run %" PRIu32 ": %s\n", t->runs, why);
    server_tell_log(&t->server);
    t->broken = true;
}

/* A broker that ended by itself is a finding; one that was asked to is not, if it says that all is well. */
static void watch(struct test *t)
{
    int code;

    if (account_findings(t->harness.account) > FINDINGS_MAX)
        give_up(t, "too much is wrong");
    if (server_has_ended(&t->server, &code) && (!t->terminating || code != 0)) {
        fprintf(stderr, "crash: fanqd ended with %d\n", code);
        give_up(t, t->terminating ? "it did not stop well" : "it ended by itself");
    }
}

/* Rounds for some time, or until the broker is gone. */
static void run_for(struct test *t, uint64_t ms)
{
    uint64_t end = clock_ms() + ms;

    for (uint64_t now; !t->broken && t->server.pid != 0 && (now = clock_ms()) < end; watch(t))
        harness_round(&t->harness, (int)(end - now < 10 ? end - now : 10));
}

static bool is_ready(struct test *t)
{
    return t->harness.ready;
}

static bool is_gone(struct test *t)
{
    return t->server.pid == 0;
}

static bool is_idle(struct test *t)
{
    return harness_is_idle(&t->harness);
}

/* Rounds until it is so; false, and given up, when it does not come. */
static bool run_until(struct test *t, bool (*is_so)(struct test *t), const char *what)
{
    uint64_t end = clock_ms() + PATIENCE_MS;

    while (!t->broken && !is_so(t)) {
        harness_round(&t->harness, 5);
        watch(t);
        if (clock_ms() > end)
            give_up(t, what);
    }
    return !t->broken;
}

/* One run of the broker, to its end. */
static void run_and_kill(struct test *t)
{
    uint64_t what = random_below(&t->random, 100);

    start(t);
    if (what < t->options.start_percent) {
        run_for(t, random_below(&t->random, START_MS));
    } else if (run_until(t, is_ready, "it does not start")) {
        run_for(t, 1 + random_below(&t->random, t->options.run_ms));
        if (what >= 100 - t->options.terminate_percent && !t->broken) {
            t->terminating = true;
            server_terminate(&t->server);
            if (random_below(&t->random, 2) == 0) /* half of them are killed while they stop */
                run_for(t, random_below(&t->random, 20));
            else
                (void)run_until(t, is_gone, "it does not stop");
        }
    }
    server_kill(&t->server);
    if (t->options.kills >= 50 && t->runs % 20 == 0)
        fprintf(stderr, "crash: %" PRIu32 " kills\n", t->runs);
}

/* ---- what there is ---- */

static void set_up(struct test *t)
{
    struct fanq_queue_settings settings = FANQ_QUEUE_SETTINGS_INIT;
    struct fanq_error error = {0};
    struct fanq *client;
    int err = fanq_open(t->server.url, NULL, &client);

    settings.visibility_ms = VISIBILITY_MS;
    if (err == 0)
        err = fanq_wait_ready(client, PATIENCE_MS, &error);
    for (uint32_t i = 0; i < QUEUES && err == 0; i++)
        err = fanq_queue_create_sync(client, queue_names[i], &settings, PATIENCE_MS, &error);
    for (uint32_t i = 0; i < TARGETS; i++) {
        if (targets[i].topic && err == 0)
            err = fanq_topic_create_sync(client, targets[i].name, PATIENCE_MS, &error);
        for (uint32_t j = 0; targets[i].topic && j < targets[i].queue_count && err == 0; j++)
            err = fanq_subscribe_sync(client, targets[i].name, queue_names[targets[i].queues[j]], PATIENCE_MS,
                                      &error);
    }
    if (err != 0)
        give_up(t, error.text);
    fanq_free(client);
}

static void add_actors(struct test *t)
{
    struct harness *h = &t->harness;

    for (uint32_t i = 0; i < TARGETS; i++) {
        publisher_add(h, targets, &(struct publisher_options){2 * i, i, 1});
        publisher_add(h, targets, &(struct publisher_options){2 * i + 1, i, 40});
    }
    for (uint32_t i = 0; i < QUEUES; i++) {
        consumer_add(h, &(struct consumer_options){i, queue_names[i], false, 10});
        consumer_add(h, &(struct consumer_options){i, queue_names[i], false, 300});
        consumer_add(h, &(struct consumer_options){i, queue_names[i], true, 500});
    }
    purger_add(h, Q_PURGED, queue_names[Q_PURGED]);
    builder_add(h, 2 * TARGETS, targets, 0);
    builder_add(h, 2 * TARGETS + 1, targets, 1);
}

/* ---- the end ---- */

static void note_reads(struct test *t, struct fanq *client)
{
    struct fanq_stat_list *list;

    if (fanq_stats_sync(client, PATIENCE_MS, &list, NULL) != 0)
        return;
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->entries[i].name, "read_bytes") == 0)
            t->read_bytes = list->entries[i].value;
    fanq_stat_list_free(client, list);
}

/* How many messages all queues have; UINT64_MAX: it cannot be told. */
static uint64_t count_left(struct test *t)
{
    struct fanq *client;
    uint64_t left = 0;

    if (fanq_open(t->server.url, NULL, &client) != 0)
        return UINT64_MAX;
    for (uint32_t i = 0; i < QUEUES && left != UINT64_MAX; i++) {
        struct fanq_queue_info info;
        if (fanq_queue_get_sync(client, queue_names[i], PATIENCE_MS, &info, NULL) != 0)
            left = UINT64_MAX;
        else
            left += info.visible + info.in_flight + info.delayed;
    }
    note_reads(t, client);
    fanq_free(client);
    return left;
}

/* The harness goes on as long as there are fewer with each look. */
static void drain(struct test *t)
{
    uint64_t end = clock_ms() + PATIENCE_MS, least = UINT64_MAX;

    t->harness.draining = true;
    for (uint64_t left; !t->broken && (left = count_left(t)) > 0;) {
        if (left < least)
            end = clock_ms() + PATIENCE_MS;
        least = left < least ? left : least;
        run_for(t, 50);
        if (clock_ms() > end) {
            fprintf(stderr, "crash: %" PRIu64 " messages are left, and do not come\n", left);
            give_up(t, "the queues cannot be emptied");
        }
    }
    (void)run_until(t, is_idle, "deletes are not answered");
}

static void finish(struct test *t)
{
    if (t->server.pid == 0)
        start(t);
    t->harness.stopping = true;
    if (run_until(t, is_ready, "it does not start") && run_until(t, is_idle, "something is not answered"))
        drain(t);
    if (t->broken)
        return;
    if (!t->server.memory) {
        server_kill(&t->server);
        start(t);
    }
    if (run_until(t, is_ready, "it does not start"))
        run_for(t, LAST_LOOK_MS);
    if (t->broken)
        return;
    t->terminating = true;
    server_terminate(&t->server);
    if (run_until(t, is_gone, "it does not stop") && !t->server.memory && server_check(&t->server) != 0)
        give_up(t, "--check finds damage");
}

/* Gives the exit code. */
static int report(struct test *t)
{
    struct account_sum sum;
    bool lossy, well;

    account_close(t->harness.account, !t->broken, &sum);
    printf("acknowledged %" PRIu64 ", lost %" PRIu64 ", duplicated %" PRIu64 ", resurrected %" PRIu64
           ", unknown %" PRIu64 ", phantoms %" PRIu64 ", wrong %" PRIu64 "; refused %" PRIu64
           ", arrivals %" PRIu64 ", deleted %" PRIu64 ", runs %" PRIu32 ", read back %" PRIu64 " MiB%s\n",
           sum.acknowledged, sum.lost, sum.duplicated, sum.resurrected, sum.unknown, sum.phantoms, sum.wrong,
           sum.refused, sum.arrivals, sum.deleted, t->runs, t->read_bytes >> 20,
           t->broken ? "; NOT FINISHED" : "");
    lossy = sum.lost > 0 || sum.resurrected > 0;
    well = !lossy && sum.duplicated == 0 && sum.phantoms == 0 && sum.wrong == 0 && !t->broken &&
           sum.acknowledged > 0;
    if (!well && !t->options.expect_loss)
        fprintf(stderr, "crash: seed %" PRIu64 "; what is left is in %s\n", t->options.seed, t->server.root);
    if (t->options.expect_loss)
        return lossy || t->broken ? 0 : 1;
    return well ? 0 : 1;
}

/* ---- options ---- */

static void usage(void)
{
    fputs("usage: crash [OPTION...] FANQD [-- FLAG...]     kill a broker under load, and see what it kept\n\n"
          "  --kills N          how often (200)\n"
          "  --seed N           of its choices (the time)\n"
          "  --backlog N        messages that a queue may have waiting (4000)\n"
          "  --lazy-ms N        consumers pause between two receives, so that a backlog grows (0)\n"
          "  --rate N           messages a second (30000)\n"
          "  --body-bytes N     the longest message (4000)\n"
          "  --terminate N      of 100 runs end by SIGTERM (20)\n"
          "  --start N          of 100 are killed while they start (15)\n"
          "  --run-ms N         a run at its longest (250)\n"
          "  --fsync-as-given   not a mode by chance\n"
          "  --memory           no kills, with a broker in memory: the harness itself is tried\n"
          "  --expect-loss      succeed only when something is lost: the harness itself is tested\n"
          "  --keep             keep the directory\n",
          stderr);
    exit(2);
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);

    if (*text == '\0' || *end != '\0')
        usage();
    return n;
}

static void read_options(struct options *o, int argc, char **argv)
{
    static const struct option table[] = {{"kills", 1, NULL, 'k'},   {"seed", 1, NULL, 's'},
                                          {"backlog", 1, NULL, 'b'}, {"rate", 1, NULL, 'p'},
                                          {"lazy-ms", 1, NULL, 'z'}, {"terminate", 1, NULL, 't'},
                                          {"start", 1, NULL, 'a'},   {"body-bytes", 1, NULL, 'l'},
                                          {"run-ms", 1, NULL, 'r'},  {"fsync-as-given", 0, NULL, 'f'},
                                          {"memory", 0, NULL, 'm'},  {"expect-loss", 0, NULL, 'e'},
                                          {"keep", 0, NULL, 'x'},    {0}};

    *o = (struct options){.kills = 200,
                          .seed = (uint64_t)time(NULL),
                          .backlog_max = 4000,
                          .rate_max = 30000,
                          .body_bytes_max = 4000,
                          .terminate_percent = 20,
                          .start_percent = 15,
                          .run_ms = RUN_MS,
                          .any_fsync = true};
    for (int option; (option = getopt_long(argc, argv, "+", table, NULL)) != -1;) {
        switch (option) {
        case 'k':
            o->kills = number(optarg);
            break;
        case 's':
            o->seed = number(optarg);
            break;
        case 'b':
            o->backlog_max = number(optarg);
            break;
        case 'p':
            o->rate_max = number(optarg);
            break;
        case 'z':
            o->lazy_ms = number(optarg);
            break;
        case 't':
            o->terminate_percent = (uint32_t)number(optarg);
            break;
        case 'a':
            o->start_percent = (uint32_t)number(optarg);
            break;
        case 'l':
            o->body_bytes_max = (uint32_t)number(optarg);
            break;
        case 'r':
            o->run_ms = (uint32_t)number(optarg);
            break;
        case 'f':
            o->any_fsync = false;
            break;
        case 'm':
            o->memory = true;
            break;
        case 'e':
            o->expect_loss = true;
            break;
        case 'x':
            o->keep = true;
            break;
        default:
            usage();
        }
    }
    if (o->run_ms == 0 || o->body_bytes_max > 512 * 1024)
        usage();
}

int main(int argc, char **argv)
{
    static struct test t;
    int code;

    read_options(&t.options, argc, argv);
    if (optind >= argc || argc - optind > SERVER_FLAGS_MAX)
        usage();
    server_init(&t.server, argv[optind]);
    for (int i = optind + 1, count = 0; i < argc; i++)
        if (i > optind + 1 || strcmp(argv[i], "--") != 0)
            t.server.flags[count++] = argv[i];
    t.server.memory = t.options.memory;
    t.random.state = t.options.seed;
    t.harness = (struct harness){.account = account_new(targets, QUEUES, queue_names),
                                 .random = {t.options.seed + 1},
                                 .url = t.server.url,
                                 .backlog_max = t.options.backlog_max,
                                 .lazy_ms = t.options.lazy_ms,
                                 .rate_max = t.options.rate_max,
                                 .body_bytes_max = t.options.body_bytes_max};
    start(&t);
    set_up(&t);
    add_actors(&t);
    if (t.options.memory)
        run_for(&t, t.options.kills * t.options.run_ms / 2);
    else
        server_kill(&t.server);
    while (!t.broken && !t.options.memory && t.runs <= t.options.kills)
        run_and_kill(&t);
    if (!t.broken)
        finish(&t);
    harness_free(&t.harness);
    server_kill(&t.server);
    code = report(&t);
    account_free(t.harness.account);
    if (code == 0 && !t.options.keep)
        server_remove(&t.server);
    return code;
}
