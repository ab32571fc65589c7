/* What was accepted is appended, whole and in order, and may be received when it is synced, or at once by early queues. */
#include "oracle.h"

#include <string.h>

static struct book_stream *stream_of(const struct oracle *o, const struct commit_stream *cs)
{
    uint64_t uid;

    for (struct book_stream *s = o->book.streams; s != NULL; s = s->next)
        if (s->number == cs->stream)
            return s;
    memcpy(&uid, cs->pieces[0].records.data + FANQ_RECORD_PLAIN_BYTES, sizeof(uid));
    for (struct book_stream *s = o->book.streams; s != NULL; s = s->next)
        if (s->number == 0 && cs->first_seq < s->next_seq && s->bodies[cs->first_seq].uid == uid)
            return s;
    sim_fail("stream %lu is committed, nobody published to it", cs->stream);
}

static bool anybody_waits_for(const struct oracle *o, const struct book_stream *s, uint64_t seq)
{
    for (uint32_t i = 0; i < o->book.queue_count; i++) {
        const struct book_queue *q = o->book.queues[i];
        const struct book_feed *f = q->alive ? book_feed_find(q, s) : NULL;
        const struct book_message *m = f == NULL ? NULL : book_message(f, seq);

        if (m != NULL && m->state == MESSAGE_PENDING)
            return true;
    }
    return false;
}

static void commit_stream_check(struct oracle *o, const struct commit *commit, const struct commit_stream *cs)
{
    struct book_stream *s = stream_of(o, cs);
    uint64_t seq = cs->first_seq, bytes = 0, arrival = ++o->next_arrival;

    s->number = cs->stream;
    SIM_CHECK(cs->first_seq >= s->committed_seq && cs->first_seq + cs->count == s->next_seq,
              "stream %lu: %lu to %lu are committed, %lu to %lu were published", s->number, cs->first_seq,
              cs->first_seq + cs->count, s->committed_seq, s->next_seq);
    for (; s->committed_seq < cs->first_seq; s->committed_seq++) /* what came before a turn's first feed */
        SIM_CHECK(!anybody_waits_for(o, s, s->committed_seq), "message %lu of stream %lu is not committed",
                  s->committed_seq, s->number);
    for (uint32_t i = 0; i < cs->piece_count; i++) {
        const uint8_t *at = cs->pieces[i].records.data;

        for (uint32_t n = 0; n < cs->pieces[i].records.count; n++, seq++) {
            s->bodies[seq].arrival = arrival;
            s->bodies[seq].time_ms = commit->time_ms;
            at += oracle_record_check(at, &s->bodies[seq], "commit");
        }
        bytes += cs->pieces[i].records.length;
    }
    SIM_CHECK(seq == cs->first_seq + cs->count && bytes == cs->bytes, "a commit's counts are wrong");
    s->committed_seq = seq;
}

void oracle_commit(struct oracle *o, const struct commit *commit)
{
    struct accepteds *all = &o->accepteds;

    SIM_CHECK(commit->time_ms == o->sim->wall_ms, "a commit has another time than its turn");
    for (uint32_t i = 0; i < commit->stream_count; i++)
        commit_stream_check(o, commit, &commit->streams[i]);
    for (; all->committed < all->count; all->committed++) {
        struct accepted *a = &all->items[all->committed];

        a->commit = commit->number;
        for (uint64_t seq = a->first;
             a->stream->committed_seq < a->first + a->count && seq < a->first + a->count; seq++)
            SIM_CHECK(!anybody_waits_for(o, a->stream, seq), "publish %lx is missing in its commit", a->id);
    }
    for (uint64_t i = all->head; i < all->count; i++)
        if (all->items[i].commit == commit->number) {
            all->items[i].stream->committed_seq = all->items[i].stream->next_seq;
            book_committed(&o->book, all->items[i].stream);
        }
}

/* What the shell has said to be synced may be received. */
void oracle_note_synced(struct oracle *o)
{
    struct accepteds *all = &o->accepteds;

    for (uint64_t i = all->head; i < all->committed && all->items[i].commit <= o->sim->synced; i++) {
        struct accepted *a = &all->items[i];

        if (a->stream->synced_seq < a->first + a->count)
            book_synced(&o->book, a->stream, a->first + a->count);
    }
}
