#include "account.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHUNK_MESSAGES = 4096, TOLD_MAX = 20 };

struct message {
    uint32_t sent_at, settled_at, run;
    uint8_t target;
    uint8_t sends; /* but for those that were refused */
    uint8_t open;
    bool taken, unknown;
    struct copy copies[ACCOUNT_QUEUES_MAX][ACCOUNT_COPIES_MAX];
};

/* Copies are pointed to, so messages do not move. */
struct producer {
    struct message **chunks;
    uint64_t chunk_count, count;
};

struct queue {
    const char *name;
    uint64_t waiting;
    uint32_t purge_began_at, purge_ended_at;   /* the newest one that was answered */
    uint32_t purging_since, purge_possible_at; /* 0: none is under way; the newest that may have been done */
};

struct account {
    const struct account_target *targets;
    struct producer producers[ACCOUNT_PRODUCERS_MAX];
    struct queue *queues;
    uint32_t queue_count;
    uint32_t now, run, told;
    struct account_sum sum;
};

static void *grown(void *memory, size_t bytes)
{
    memory = realloc(memory, bytes);
    if (memory == NULL) {
        fprintf(stderr, "crash: out of memory\n");
        exit(2);
    }
    return memory;
}

struct account *account_new(const struct account_target *targets, uint32_t queue_count,
                            const char *const *queue_names)
{
    struct account *a = grown(NULL, sizeof(*a));

    *a = (struct account){.targets = targets, .queue_count = queue_count};
    a->queues = grown(NULL, queue_count * sizeof(*a->queues));
    for (uint32_t i = 0; i < queue_count; i++)
        a->queues[i] = (struct queue){.name = queue_names[i]};
    return a;
}

void account_free(struct account *a)
{
    for (uint32_t i = 0; i < ACCOUNT_PRODUCERS_MAX; i++) {
        for (uint64_t chunk = 0; chunk < a->producers[i].chunk_count; chunk++)
            free(a->producers[i].chunks[chunk]);
        free(a->producers[i].chunks);
    }
    free(a->queues);
    free(a);
}

void account_run(struct account *a, uint32_t run)
{
    a->run = run;
}

uint32_t account_tick(struct account *a)
{
    return ++a->now;
}

void account_wrong(struct account *a, const char *format, ...)
{
    va_list arguments;

    a->sum.wrong++;
    if (a->told++ >= TOLD_MAX)
        return;
    va_start(arguments, format);
    fprintf(stderr, "crash: run %" PRIu32 ": ", a->run);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

/* Tells of one message, and counts it. */
static void tell(struct account *a, uint64_t *counter, const char *what, uint32_t queue, uint32_t producer,
                 uint64_t number, const struct message *m)
{
    ++*counter;
    if (a->told++ >= TOLD_MAX)
        return;
    fprintf(stderr,
            "crash: run %" PRIu32 ": %s: message %" PRIu32 "/%" PRIu64 " of queue %s (sent in run %" PRIu32
            ", %s)\n",
            a->run, what, producer, number, a->queues[queue].name, m != NULL ? m->run : 0,
            m == NULL    ? "never made"
            : m->taken   ? "acknowledged"
            : m->unknown ? "outcome unknown"
            : m->open    ? "not answered yet"
                         : "refused");
}

/* ---- publishing ---- */

static struct message *find(const struct account *a, uint32_t producer, uint64_t counter)
{
    if (producer >= ACCOUNT_PRODUCERS_MAX || counter >= a->producers[producer].count)
        return NULL;
    return &a->producers[producer].chunks[counter / CHUNK_MESSAGES][counter % CHUNK_MESSAGES];
}

uint64_t account_new_message(struct account *a, uint32_t producer, uint32_t target)
{
    struct producer *p = &a->producers[producer];

    if (p->count == p->chunk_count * CHUNK_MESSAGES) {
        p->chunks = grown(p->chunks, (p->chunk_count + 1) * sizeof(*p->chunks));
        p->chunks[p->chunk_count++] = grown(NULL, CHUNK_MESSAGES * sizeof(**p->chunks));
    }
    p->count++;
    *find(a, producer, p->count - 1) =
        (struct message){.target = (uint8_t)target, .run = a->run, .sent_at = account_tick(a)};
    return p->count - 1;
}

void account_sending(struct account *a, uint32_t producer, uint64_t counter)
{
    struct message *m = find(a, producer, counter);

    m->sends++;
    m->open++;
}

static void count_waiting(struct account *a, const struct message *m)
{
    const struct account_target *target = &a->targets[m->target];

    for (uint32_t i = 0; i < target->queue_count; i++)
        a->queues[target->queues[i]].waiting++;
}

void account_sent(struct account *a, uint32_t producer, uint64_t counter, enum outcome outcome)
{
    struct message *m = find(a, producer, counter);

    m->open--;
    m->settled_at = account_tick(a);
    if (outcome == OUTCOME_TAKEN) {
        if (!m->taken)
            count_waiting(a, m);
        m->taken = true;
        a->sum.acknowledged++;
    } else if (outcome == OUTCOME_UNKNOWN) {
        m->unknown = true;
        a->sum.unknown++;
    } else {
        m->sends--;
        a->sum.refused++;
    }
}

uint32_t account_sends(const struct account *a, uint32_t producer, uint64_t counter)
{
    return find(a, producer, counter)->sends;
}

uint64_t account_waiting(const struct account *a, uint32_t target)
{
    uint64_t most = 0;

    for (uint32_t i = 0; i < a->targets[target].queue_count; i++) {
        const struct queue *q = &a->queues[a->targets[target].queues[i]];
        if (q->waiting > most)
            most = q->waiting;
    }
    return most;
}

/* ---- consuming ---- */

/* Never 0. */
static uint64_t place_of(uint64_t stream, uint64_t seq)
{
    return (stream * 0x9e3779b97f4a7c15u ^ seq) | UINT64_C(1) << 63;
}

/* Where the copy stands; NULL: there are too many of it. */
static struct copy *find_copy(struct copy copies[ACCOUNT_COPIES_MAX], uint64_t place)
{
    for (uint32_t i = 0; i < ACCOUNT_COPIES_MAX; i++) {
        if (copies[i].place == 0)
            copies[i].place = place;
        if (copies[i].place == place)
            return &copies[i];
    }
    return NULL;
}

/* Which of its target's queues it is; false: none. */
static bool queue_index(const struct account *a, const struct message *m, uint32_t queue, uint32_t *ret_index)
{
    const struct account_target *target = &a->targets[m->target];

    for (uint32_t i = 0; i < target->queue_count; i++) {
        if (target->queues[i] == queue) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

/* Whether it was surely there when the newest purge was asked for, and that purge over when this was. */
static bool was_purged(const struct queue *q, const struct message *m, uint32_t asked_at)
{
    return q->purge_ended_at != 0 && m->open == 0 && m->settled_at < q->purge_began_at &&
           q->purge_ended_at < asked_at;
}

enum verdict account_arrival(struct account *a, const struct arrival *arrival, struct copy **ret_copy)
{
    struct message *m = find(a, arrival->producer, arrival->counter);
    uint32_t index;
    struct copy *copy;

    (void)account_tick(a);
    a->sum.arrivals++;
    if (m == NULL || !queue_index(a, m, arrival->queue, &index) || m->sends == 0) {
        tell(a, &a->sum.phantoms, "was never sent there, or refused", arrival->queue, arrival->producer,
             arrival->counter, m);
        return VERDICT_WRONG;
    }
    copy = find_copy(m->copies[index], place_of(arrival->stream, arrival->seq));
    if (copy == NULL) {
        tell(a, &a->sum.duplicated, "there are more of it than were sent", arrival->queue, arrival->producer,
             arrival->counter, m);
        return VERDICT_WRONG;
    }
    if (copy->deleted && copy->settled_at >= arrival->asked_at)
        return VERDICT_DOUBTFUL;
    if (copy->deleted || was_purged(&a->queues[arrival->queue], m, arrival->asked_at)) {
        tell(a, &a->sum.resurrected, copy->deleted ? "is back after its delete" : "is back after a purge",
             arrival->queue, arrival->producer, arrival->counter, m);
    } else if (arrival->deliveries <= copy->deliveries && copy->settled_at < arrival->asked_at) {
        account_wrong(a, "message %" PRIu32 "/%" PRIu64 " has delivery %" PRIu32 " after %u that were logged",
                      arrival->producer, arrival->counter, arrival->deliveries, copy->deliveries);
    }
    *ret_copy = copy;
    return VERDICT_FINE;
}

void account_deleting(struct account *a, struct copy *copy)
{
    copy->deleting = true;
}

void account_deleted(struct account *a, uint32_t queue, struct copy *copy)
{
    if (!copy->deleted) {
        a->sum.deleted++;
        if (a->queues[queue].waiting > 0) /* one whose publish is unknown was not counted */
            a->queues[queue].waiting--;
    }
    copy->deleted = true;
    copy->settled_at = account_tick(a);
}

void account_given_back(struct account *a, struct copy *copy, uint32_t deliveries)
{
    if (copy->deleted)
        return; /* by another consumer, after its timeout */
    copy->settled_at = account_tick(a);
    if (deliveries > copy->deliveries)
        copy->deliveries = deliveries < UINT8_MAX ? (uint8_t)deliveries : UINT8_MAX - 1;
}

void account_purging(struct account *a, uint32_t queue)
{
    a->queues[queue].purging_since = account_tick(a);
}

void account_purged(struct account *a, uint32_t queue, bool known)
{
    struct queue *q = &a->queues[queue];

    q->purge_possible_at = account_tick(a);
    if (known) {
        q->purge_began_at = q->purging_since;
        q->purge_ended_at = q->purge_possible_at;
        q->waiting = 0;
    }
    q->purging_since = 0;
}

/* ---- the end ---- */

uint64_t account_findings(const struct account *a)
{
    return a->sum.lost + a->sum.duplicated + a->sum.resurrected + a->sum.phantoms + a->sum.wrong;
}

static void close_queue(struct account *a, uint32_t queue, uint32_t producer, uint64_t counter,
                        const struct message *m, const struct copy copies[ACCOUNT_COPIES_MAX])
{
    uint32_t seen = 0, gone = 0;

    for (uint32_t i = 0; i < ACCOUNT_COPIES_MAX && copies[i].place != 0; i++) {
        seen++;
        gone += copies[i].deleting;
    }
    if (seen > m->sends)
        tell(a, &a->sum.duplicated, "there are more of it than were sent", queue, producer, counter, m);
    if (m->sent_at < a->queues[queue].purge_possible_at)
        return;
    if (m->taken && seen == 0)
        tell(a, &a->sum.lost, "LOST, never delivered", queue, producer, counter, m);
    else if (gone < seen)
        tell(a, &a->sum.lost, "LOST after it was delivered, without a delete", queue, producer, counter, m);
}

void account_close(struct account *a, bool drained, struct account_sum *ret_sum)
{
    for (uint32_t producer = 0; drained && producer < ACCOUNT_PRODUCERS_MAX; producer++) {
        for (uint64_t counter = 0; counter < a->producers[producer].count; counter++) {
            const struct message *m = find(a, producer, counter);
            const struct account_target *target = &a->targets[m->target];
            for (uint32_t i = 0; i < target->queue_count; i++)
                close_queue(a, target->queues[i], producer, counter, m, m->copies[i]);
        }
    }
    *ret_sum = a->sum;
}
