/* Jobs wait in four rows, by priority: reads; what is short and lets segments be used again (checkpoints, indexes, removals);
 * the filling of new segments, which would not be needed without it; moves. store_work() does one step of the first job of
 * the first row that has one, so a read goes between two steps of anything else. So that consumers who read without a pause
 * do not keep the others waiting for ever, one step in sixteen begins with the last row.
 *
 * Room: no more jobs are taken than all rows and the ring of completions can hold, so nothing is ever in the way of a
 * completion. */
#include "store.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/ring.h"
#include "proto/fanq_error.h"
#include "store_task.h"

enum { ROW_READ, ROW_SHORT, ROW_PREPARE, ROW_MOVE, ROWS };
enum { STEPS_OF_LAST = 16 };

struct row {
    struct store_job jobs[STORE_JOBS_MAX]; /* a ring */
    uint32_t first, count;
    struct store_task task; /* of the job that is being done */
    bool busy;
};

struct store {
    struct store_options options;

    /* Between the threads. */
    struct ring *jobs, *completions;
    atomic_bool stopping;

    /* The loop's. */
    uint32_t outstanding;

    /* The store thread's. */
    struct row rows[ROWS];
    struct store_files files;
    uint32_t step_count;
};

int store_new(const struct store_options *options, struct store **ret_store)
{
    struct store *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return FANQ_ERR_NOMEM;
    s->options = *options;
    store_files_init(&s->files, options->directory);
    s->jobs = ring_new(sizeof(struct store_job), STORE_JOBS_MAX);
    s->completions = ring_new(sizeof(struct store_done), STORE_JOBS_MAX);
    if (s->jobs == NULL || s->completions == NULL) {
        store_free(s);
        return FANQ_ERR_NOMEM;
    }
    *ret_store = s;
    return 0;
}

/* ---- rows ---- */

static struct row *row_for(struct store *s, const struct store_job *job)
{
    static const uint32_t rows[] = {
        [STORE_READ] = ROW_READ,    [STORE_PREPARE] = ROW_PREPARE,  [STORE_INDEX] = ROW_SHORT,
        [STORE_REMOVE] = ROW_SHORT, [STORE_CHECKPOINT] = ROW_SHORT, [STORE_MOVE] = ROW_MOVE};

    return &s->rows[rows[job->kind]];
}

static void row_push(struct row *row, const struct store_job *job)
{
    assert(row->count < STORE_JOBS_MAX);
    row->jobs[(row->first + row->count++) % STORE_JOBS_MAX] = *job;
}

/* Whether there is a job at work, now if not before. */
static bool row_begin(struct row *row)
{
    if (!row->busy && row->count > 0) {
        store_task_init(&row->task, &row->jobs[row->first]);
        row->first = (row->first + 1) % STORE_JOBS_MAX;
        row->count--;
        row->busy = true;
    }
    return row->busy;
}

static void take_submitted(struct store *s)
{
    struct store_job job;

    while (ring_pop(s->jobs, &job))
        row_push(row_for(s, &job), &job);
}

void store_free(struct store *s)
{
    if (s == NULL)
        return;
    if (s->jobs != NULL)
        take_submitted(s);
    for (int i = 0; i < ROWS; i++) {
        struct row *row = &s->rows[i];
        while (row_begin(row)) {
            store_task_abandon(&row->task, &s->files);
            row->busy = false;
        }
    }
    store_files_close(&s->files);
    ring_free(s->jobs);
    ring_free(s->completions);
    free(s);
}

/* ---- the loop's side ---- */

bool store_submit(struct store *s, const struct store_job *job)
{
    if (s->outstanding == STORE_JOBS_MAX || !ring_push(s->jobs, job))
        return false;
    s->outstanding++;
    return true;
}

bool store_done(struct store *s, struct store_done *ret_done)
{
    if (!ring_pop(s->completions, ret_done))
        return false;
    assert(s->outstanding > 0);
    s->outstanding--;
    return true;
}

void store_stop(struct store *s)
{
    /* Relaxed: a word that comes alone. */
    atomic_store_explicit(&s->stopping, true, memory_order_relaxed);
}

/* ---- the store thread's side ---- */

static void complete(struct store *s, const struct store_task *task, int err)
{
    struct store_done done = {.job = task->job, .error = err};
    bool pushed = ring_push(s->completions, &done);

    assert(pushed);
    (void)pushed;
    s->options.notify(s->options.context);
}

/* The row whose turn it is; NULL: there is nothing to do. */
static struct row *row_next(struct store *s)
{
    bool last_first = ++s->step_count % STEPS_OF_LAST == 0;

    for (int i = 0; i < ROWS; i++) {
        struct row *row = &s->rows[last_first ? ROWS - 1 - i : i];
        if (row_begin(row))
            return row;
    }
    return NULL;
}

bool store_work(void *store)
{
    struct store *s = store;
    struct row *row;
    bool ended;
    int err;

    if (atomic_load_explicit(&s->stopping, memory_order_relaxed))
        return false;
    take_submitted(s);
    row = row_next(s);
    if (row == NULL)
        return false;
    err = store_task_step(&row->task, &s->files, &ended);
    if (ended) {
        row->busy = false;
        complete(s, &row->task, err);
    }
    return true;
}
