/* What happens in the demo, step by step: demo.h. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "demo.h"
#include "notes.h"
#include "process.h"

enum { POLL_MS = 5, WAIT_S_MAX = 90, WORKER_BATCH = 8 };

/* ---- publishing ---- */

/* What the callbacks tell. */
struct outcome {
    size_t taken_count;
    size_t refused_count;
    struct fanq_error error; /* of the last refusal */
};

static void on_published(struct fanq *client, const struct fanq_sent *sent, void *user)
{
    struct outcome *outcome = user;

    if (sent->error.code == 0 && sent->subscription_count == QUEUE_COUNT) {
        outcome->taken_count++;
    } else {
        outcome->refused_count++;
        outcome->error = sent->error;
    }
}

/* When too much is pending it is flushed first: that is all that back-pressure asks of a producer. */
static int publish(struct fanq *client, const struct fanq_content *content, struct outcome *outcome)
{
    int err = fanq_publish(client, demo_topic, content, on_published, outcome);

    if (err != FANQ_ERR_LIMIT)
        return err;
    err = fanq_flush_sync(client, ANSWER_MS, NULL);
    return err < 0 ? err : fanq_publish(client, demo_topic, content, on_published, outcome);
}

bool play_publish(struct demo *demo)
{
    struct outcome outcome = {0};
    double start = demo_now();
    int err = 0;

    for (size_t i = 0; err == 0 && i < demo->stanzas.count; i++)
        err = publish(demo->client, &demo->stanzas.stanzas[i].content, &outcome);
    if (err == 0)
        err = fanq_flush_sync(demo->client, ANSWER_MS, NULL);
    demo->publish_s = demo_now() - start;
    if (err < 0)
        return demo_fails("cannot publish: %s", fanq_strerror(err));
    if (outcome.taken_count != demo->stanzas.count)
        return demo_fails("%zu of %zu messages were not taken: %s", outcome.refused_count,
                          demo->stanzas.count, outcome.error.text);
    return true;
}

/* ---- workers ---- */

/* The pause for each batch that makes a queue take about WORK_MS. */
static long pause_ms(const struct demo *demo)
{
    size_t batch_count = (demo->stanzas.count + WORKER_BATCH - 1) / WORKER_BATCH;
    long pause = WORK_MS / (long)batch_count;

    return pause < 5 ? 5 : pause > 200 ? 200 : pause;
}

bool play_worker(struct demo *demo, int queue)
{
    struct worker *worker = &demo->workers[demo->worker_count];
    char notes[PATH_BYTES], log[PATH_BYTES], pause[16];
    const char *const argv[] = {demo->worker_path, demo->url, demo_queues[queue], notes, pause, NULL};

    demo_notes_path(demo, demo->worker_count, notes);
    demo_path(demo, "workers.log", log);
    snprintf(pause, sizeof(pause), "%ld", pause_ms(demo));
    worker->queue = queue;
    worker->pid = process_start(argv, log);
    if (worker->pid < 0) {
        worker->pid = 0;
        return demo_fails("cannot start %s", demo->worker_path);
    }
    demo->worker_count++;
    return true;
}

/* No worker has ended, and nobody wants us to. */
static bool going_on(struct demo *demo)
{
    int status;

    if (demo_interrupted())
        return demo_fails("interrupted");
    for (int i = 0; i < demo->worker_count; i++) {
        struct worker *worker = &demo->workers[i];

        if (worker->pid != 0 && !process_runs(worker->pid, &status)) {
            worker->pid = 0;
            return demo_fails("the worker of %s has ended too early", demo_queues[worker->queue]);
        }
    }
    return true;
}

/* ---- the kill ---- */

/* While the victim is stopped: can it be hit now? When it has taken messages and has not begun to delete
 * them, these are in its queue for certain, and must come again. Else it runs on. */
static bool hit(struct demo *demo, struct worker *victim, const struct notes *notes)
{
    size_t held_count = notes->count - notes->gone_count;

    if (notes->sending || held_count == 0) {
        kill(victim->pid, SIGCONT);
        return false;
    }
    printf("  killed     worker %d of %s (SIGKILL) when it had deleted %zu and held %zu\n", (int)victim->pid,
           demo_queues[victim->queue], notes->gone_count, held_count);
    process_signal(victim->pid, SIGKILL);
    victim->pid = 0;
    demo->held_count = held_count;
    return true;
}

/* Half-way: half of the stanzas are deleted, and not all. */
static bool try_hit(struct demo *demo, struct worker *victim, const char *notes_path, bool *ret_hit)
{
    struct notes notes;
    size_t gone_count;

    if (notes_load(&notes, notes_path) < 0)
        return true; /* it has not begun yet */
    gone_count = notes.gone_count;
    notes_close(&notes);
    if (gone_count < demo->stanzas.count / 2)
        return true;
    if (!WIFSTOPPED(process_signal(victim->pid, SIGSTOP))) {
        victim->pid = 0;
        return demo_fails("the worker to be killed has ended by itself");
    }
    if (notes_load(&notes, notes_path) < 0)
        return demo_fails("cannot read %s", notes_path);
    *ret_hit = hit(demo, victim, &notes);
    gone_count = notes.gone_count;
    notes_close(&notes);
    return gone_count < demo->stanzas.count || demo_fails("the worker was ready before it could be killed");
}

bool play_kill_half_way(struct demo *demo)
{
    struct worker *victim = &demo->workers[VICTIM];
    char notes_path[PATH_BYTES];
    double start = demo_now();
    bool is_hit = false;

    demo_notes_path(demo, VICTIM, notes_path);
    while (going_on(demo) && try_hit(demo, victim, notes_path, &is_hit) && !is_hit) {
        if (demo_now() - start > WAIT_S_MAX)
            return demo_fails("no worker is half-way after %d s", WAIT_S_MAX);
        sleep_ms(POLL_MS);
    }
    if (!is_hit || !play_worker(demo, VICTIM))
        return false;
    printf("  started    worker %d in its place\n", (int)demo->workers[demo->worker_count - 1].pid);
    return true;
}

/* ---- the end ---- */

static bool queue_empty(struct demo *demo, int queue, bool *ret_empty)
{
    struct fanq_queue_info info;
    struct fanq_error error;

    if (fanq_queue_get_sync(demo->client, demo_queues[queue], ANSWER_MS, &info, &error) < 0)
        return demo_fails("cannot ask about %s: %s", demo_queues[queue], error.text);
    *ret_empty = info.visible == 0 && info.in_flight == 0 && info.delayed == 0;
    return true;
}

bool play_until_empty(struct demo *demo)
{
    double start = demo_now();

    for (int queue = 0; queue < QUEUE_COUNT;) {
        bool empty = false;

        if (!going_on(demo) || !queue_empty(demo, queue, &empty))
            return false;
        if (demo_now() - start > WAIT_S_MAX)
            return demo_fails("%s is not empty after %d s", demo_queues[queue], WAIT_S_MAX);
        if (empty)
            queue++;
        else
            sleep_ms(POLL_MS);
    }
    return true;
}

bool play_workers_end(struct demo *demo)
{
    bool good = true;

    for (int i = 0; i < demo->worker_count; i++)
        if (demo->workers[i].pid != 0)
            kill(demo->workers[i].pid, SIGTERM); /* all at once; the waiting is below */
    for (int i = 0; i < demo->worker_count; i++) {
        struct worker *worker = &demo->workers[i];
        int status;

        if (worker->pid == 0)
            continue;
        status = process_signal(worker->pid, SIGTERM);
        worker->pid = 0;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            good = demo_fails("the worker of %s ended with status %#x", demo_queues[worker->queue], status);
    }
    return good;
}
