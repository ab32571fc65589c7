/* fanq-demo: a small system from end to end, and the proof that nothing was lost in it.
 *
 *   fanq-demo FANQD WORKER [STATUS-FILE]
 *
 * Starts a broker on a free port, publishes each stanza of dpkg's status file to a topic with three queues,
 * lets a worker process empty each of them, kills one worker half-way and starts another. In the end the
 * messages deleted from each queue must be the stanzas, each once, byte for byte.
 *
 *   demo.c      the broker, the topology, the report, and the cleaning up
 *   play.c      what happens in between
 *   worker.c    a worker: a program of its own, which keeps notes (notes.c)
 *   proof.c     compares the notes with the stanzas (stanza.c), by hash (digest.c)
 *
 * Several may run at once: each has a folder of its own, and ends what it started by process id. */
#include "demo.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "process.h"

enum { START_MS_MAX = 20000, POLL_MS = 2 };

const char *const demo_topic = "packages";
const char *const demo_queues[QUEUE_COUNT] = {"index", "mirror", "audit"};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    interrupted = number;
}

bool demo_interrupted(void)
{
    return interrupted != 0;
}

double demo_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

bool demo_fails(const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fputs("fanq-demo: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return false;
}

void demo_path(const struct demo *demo, const char *name, char ret_path[PATH_BYTES])
{
    snprintf(ret_path, PATH_BYTES, "%s/%s", demo->folder, name);
}

void demo_notes_path(const struct demo *demo, int worker, char ret_path[PATH_BYTES])
{
    snprintf(ret_path, PATH_BYTES, "%s/notes.%d", demo->folder, worker);
}

/* ---- the broker ---- */

/* The port that the broker wrote, or 0 as long as it has not. */
static int read_port(const char *path)
{
    FILE *in = fopen(path, "re");
    int port = 0;

    if (in == NULL)
        return 0;
    if (fscanf(in, "%d", &port) != 1)
        port = 0;
    fclose(in);
    return port;
}

static bool broker_start(struct demo *demo)
{
    char port_path[PATH_BYTES], log[PATH_BYTES];
    const char *const argv[] = {demo->fanqd_path, "--memory", "--port", "0", "--port-file", port_path, NULL};
    int port = 0, status;

    demo_path(demo, "port", port_path);
    demo_path(demo, "fanqd.log", log);
    demo->broker = process_start(argv, log);
    if (demo->broker < 0) {
        demo->broker = 0;
        return demo_fails("cannot start %s", demo->fanqd_path);
    }
    for (int waited_ms = 0; port == 0 && waited_ms < START_MS_MAX && !interrupted; waited_ms += POLL_MS) {
        if (!process_runs(demo->broker, &status)) {
            demo->broker = 0;
            return demo_fails("%s did not start", demo->fanqd_path);
        }
        port = read_port(port_path);
        if (port == 0)
            sleep_ms(POLL_MS);
    }
    snprintf(demo->url, sizeof(demo->url), "fanq://127.0.0.1:%d", port);
    return port != 0 || demo_fails("%s does not listen", demo->fanqd_path);
}

/* SIGTERM: it must drain and end with 0. */
static bool broker_stop(struct demo *demo)
{
    int status;

    fanq_free(demo->client);
    demo->client = NULL;
    status = process_signal(demo->broker, SIGTERM);
    demo->broker = 0;
    return (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
           demo_fails("the broker ended with status %#x", status);
}

/* ---- the topology ---- */

static bool create(struct demo *demo)
{
    struct fanq_queue_settings settings = FANQ_QUEUE_SETTINGS_INIT;
    struct fanq_error error;
    int err = fanq_open(demo->url, NULL, &demo->client);

    if (err < 0)
        return demo_fails("%s: %s", demo->url, fanq_strerror(err));
    settings.visibility_ms = VISIBILITY_MS;
    err = fanq_topic_create_sync(demo->client, demo_topic, ANSWER_MS, &error);
    for (int i = 0; err == 0 && i < QUEUE_COUNT; i++) {
        err = fanq_queue_create_sync(demo->client, demo_queues[i], &settings, ANSWER_MS, &error);
        if (err == 0)
            err = fanq_subscribe_sync(demo->client, demo_topic, demo_queues[i], ANSWER_MS, &error);
    }
    return err == 0 || demo_fails("cannot create topic and queues: %s", error.text);
}

/* ---- the whole ---- */

static bool play(struct demo *demo)
{
    double start;

    if (!broker_start(demo) || !create(demo))
        return false;
    printf("  broker     %s, process %d, memory only\n", demo->url, (int)demo->broker);
    printf("  topology   topic %s -> queues %s, %s, %s\n", demo_topic, demo_queues[0], demo_queues[1],
           demo_queues[2]);
    for (int i = 0; i < QUEUE_COUNT; i++)
        if (!play_worker(demo, i))
            return false;
    printf("  workers    processes %d, %d and %d receive by long poll\n", (int)demo->workers[0].pid,
           (int)demo->workers[1].pid, (int)demo->workers[2].pid);
    start = demo_now();
    if (!play_publish(demo))
        return false;
    printf("  published  %zu stanzas of %s, %zu bytes, all acknowledged after %.1f ms\n", demo->stanzas.count,
           demo->status_path, demo->stanzas.bytes, 1e3 * demo->publish_s);
    if (!play_kill_half_way(demo) || !play_until_empty(demo))
        return false;
    demo->consume_s = demo_now() - start;
    printf("  emptied    all three queues after %.1f s\n", demo->consume_s);
    return play_workers_end(demo) && broker_stop(demo);
}

static void report(const struct demo *demo)
{
    double deleted = (double)(QUEUE_COUNT * demo->stanzas.count);

    printf(
        "\n"
        "Proved: from each queue exactly the %zu stanzas were deleted, each once, bodies and attributes "
        "equal\n"
        "by XXH3-128. The %zu that the killed worker held came a second time (deliveries 2), when the "
        "visibility\n"
        "timeout of %.0f s was over.\n"
        "Rates: published %.0f messages/s one by one (%.1f MB/s); deleted %.0f messages/s by three workers "
        "that\n"
        "rest after every batch.\n",
        demo->stanzas.count, demo->held_count, VISIBILITY_MS / 1e3,
        (double)demo->stanzas.count / demo->publish_s, (double)demo->stanzas.bytes / demo->publish_s / 1e6,
        deleted / demo->consume_s);
}

/* What the programs said, for whoever must find out why it failed. */
static void print_log(const struct demo *demo, const char *name)
{
    char path[PATH_BYTES], line[512];
    FILE *in;

    demo_path(demo, name, path);
    in = fopen(path, "re");
    if (in == NULL)
        return;
    while (fgets(line, sizeof(line), in) != NULL)
        fprintf(stderr, "%s: %s", name, line);
    fclose(in);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place)
{
    return remove(path);
}

static void demo_close(struct demo *demo)
{
    fanq_free(demo->client);
    for (int i = 0; i < demo->worker_count; i++)
        if (demo->workers[i].pid != 0)
            process_signal(demo->workers[i].pid, SIGKILL);
    if (demo->broker != 0)
        process_signal(demo->broker, SIGKILL);
    stanza_list_close(&demo->stanzas);
    if (demo->folder[0] != '\0')
        nftw(demo->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static bool demo_open(struct demo *demo)
{
    const struct sigaction action = {.sa_handler = on_interrupt};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (stanza_list_read(&demo->stanzas, demo->status_path) < 0)
        return demo_fails("%s: %s", demo->status_path, strerror(errno));
    if (demo->stanzas.count < STANZAS_MIN)
        return demo_fails("%s: fewer than %d stanzas", demo->status_path, STANZAS_MIN);
    strcpy(demo->folder, "/tmp/fanq-demo.XXXXXX");
    if (mkdtemp(demo->folder) != NULL)
        return true;
    demo->folder[0] = '\0';
    return demo_fails("cannot make a folder in /tmp: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    struct demo demo = {.status_path = "/var/lib/dpkg/status"};
    bool good;

    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: fanq-demo FANQD WORKER [STATUS-FILE]\n");
        return 2;
    }
    demo.fanqd_path = argv[1];
    demo.worker_path = argv[2];
    if (argc == 4)
        demo.status_path = argv[3];
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    printf("fanq demo: the packages of this machine, fanned out to three queues\n\n");
    good = demo_open(&demo) && play(&demo) && proof(&demo);
    if (good) {
        report(&demo);
    } else if (demo.folder[0] != '\0' && !interrupted) {
        print_log(&demo, "fanqd.log");
        print_log(&demo, "workers.log");
    }
    demo_close(&demo);
    return good ? 0 : 1;
}
