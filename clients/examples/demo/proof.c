/* The proof: what the workers' notes say, compared with what was published. For each queue
 *
 *   - the digests of all deleted messages, sorted, are those of the stanzas, sorted: none is missing, none is
 *     there twice, and each has its bytes and its attributes;
 *   - what the killed worker held when it was killed was delivered a second time, and said so (deliveries 2);
 *   - nothing else was delivered twice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"
#include "notes.h"

/* What the notes of one queue's workers add up to. */
struct tally {
    struct digest *deleted;
    size_t deleted_count;
    size_t taken_count;
    size_t repeated_count; /* taken with deliveries above 1 */
    size_t held_count;     /* by a killed worker */
    size_t returned_count; /* of these: taken a second time, by another worker, and deleted */
};

static int compare_digests(const void *a, const void *b)
{
    return digest_compare(a, b);
}

static struct digest *stanza_digests(const struct stanza_list *stanzas)
{
    struct digest *digests = calloc(stanzas->count, sizeof(*digests));

    if (digests == NULL)
        return NULL;
    for (size_t i = 0; i < stanzas->count; i++)
        digest_content(&digests[i], &stanzas->stanzas[i].content);
    qsort(digests, stanzas->count, sizeof(*digests), compare_digests);
    return digests;
}

static bool tally_add(struct tally *tally, const struct notes *notes)
{
    struct digest *grown =
        reallocarray(tally->deleted, tally->deleted_count + notes->gone_count + 1, sizeof(*grown));

    if (grown == NULL)
        return false;
    tally->deleted = grown;
    for (size_t i = 0; i < notes->count; i++) {
        if (notes->notes[i].gone)
            grown[tally->deleted_count++] = notes->notes[i].digest;
        if (notes->notes[i].deliveries > 1)
            tally->repeated_count++;
    }
    tally->taken_count += notes->count;
    return true;
}

/* Whether `notes` has the message of this id as a second delivery, with the same content, deleted. */
static bool came_again(const struct notes *notes, const struct note *held)
{
    for (size_t i = 0; i < notes->count; i++) {
        const struct note *note = &notes->notes[i];

        if (note->gone && note->deliveries == 2 && strcmp(note->id, held->id) == 0 &&
            digest_compare(&note->digest, &held->digest) == 0)
            return true;
    }
    return false;
}

static void tally_held(struct tally *tally, const struct notes *killed, const struct notes *successor)
{
    for (size_t i = 0; i < killed->count; i++) {
        if (killed->notes[i].gone)
            continue;
        tally->held_count++;
        if (came_again(successor, &killed->notes[i]))
            tally->returned_count++;
    }
}

static bool tally_queue(const struct demo *demo, const struct notes all[WORKERS_MAX], int queue,
                        struct tally *tally)
{
    for (int i = 0; i < demo->worker_count; i++) {
        if (demo->workers[i].queue != queue)
            continue;
        if (!tally_add(tally, &all[i]))
            return demo_fails("no memory");
        for (int k = i + 1; k < demo->worker_count; k++)
            if (demo->workers[k].queue == queue)
                tally_held(tally, &all[i], &all[k]);
    }
    return true;
}

static bool tally_holds(const struct demo *demo, int queue, struct tally *tally,
                        const struct digest *published)
{
    size_t count = demo->stanzas.count;
    const char *name = demo_queues[queue];

    qsort(tally->deleted, tally->deleted_count, sizeof(*tally->deleted), compare_digests);
    printf("  %-8s %10zu %10zu %8zu %13zu %13zu\n", name, count, tally->taken_count, tally->deleted_count,
           tally->held_count, tally->repeated_count);
    if (tally->deleted_count != count)
        return demo_fails("%s: %zu messages were deleted, %zu published", name, tally->deleted_count, count);
    for (size_t i = 0; i < count; i++)
        if (digest_compare(&tally->deleted[i], &published[i]) != 0)
            return demo_fails("%s: what was deleted is not what was published", name);
    if (tally->returned_count != tally->held_count || tally->repeated_count != tally->held_count)
        return demo_fails(
            "%s: %zu were held by the killed worker, %zu of them came again, %zu came twice in all", name,
            tally->held_count, tally->returned_count, tally->repeated_count);
    if ((queue == VICTIM) != (tally->held_count > 0) ||
        (queue == VICTIM && tally->held_count != demo->held_count))
        return demo_fails("%s: %zu messages were held at a kill", name, tally->held_count);
    return true;
}

static bool prove_queues(const struct demo *demo, const struct notes all[WORKERS_MAX],
                         const struct digest *published)
{
    bool holds = true;

    for (int queue = 0; queue < QUEUE_COUNT; queue++) {
        struct tally tally = {0};

        holds = tally_queue(demo, all, queue, &tally) && tally_holds(demo, queue, &tally, published) && holds;
        free(tally.deleted);
    }
    return holds;
}

bool proof(const struct demo *demo)
{
    struct digest *published = stanza_digests(&demo->stanzas);
    struct notes all[WORKERS_MAX] = {{0}};
    bool holds = published != NULL;

    for (int i = 0; holds && i < demo->worker_count; i++) {
        char path[PATH_BYTES];

        demo_notes_path(demo, i, path);
        holds = notes_load(&all[i], path) == 0 || demo_fails("cannot read %s", path);
    }
    printf("\n  %-8s %10s %10s %8s %13s %13s\n", "QUEUE", "PUBLISHED", "DELIVERED", "DELETED", "HELD AT KILL",
           "SECOND TIME");
    holds = holds && prove_queues(demo, all, published);
    for (int i = 0; i < demo->worker_count; i++)
        notes_close(&all[i]);
    free(published);
    return holds;
}
