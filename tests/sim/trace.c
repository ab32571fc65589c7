#include "trace.h"

static void begin(FILE *out, const struct sim *s, const char *arrow, uint32_t connection, uint64_t id)
{
    fprintf(out, "%6lu turn %lu  %u %s %lx ", s->now_ms, s->turn, connection, arrow, id);
}

static void bytes(FILE *out, struct fanq_bytes b)
{
    fprintf(out, " %.*s", (int)b.length, (const char *)b.data);
}

static void ranges(FILE *out, struct fanq_ranges r)
{
    struct fanq_range range;

    while (fanq_range_next(&r, &range))
        fprintf(out, " %lu:%lu+%lu", range.stream, range.first, range.count);
}

static void duration(FILE *out, const char *what, uint64_t ms)
{
    if (ms == FANQ_QUEUE_DEFAULT)
        fprintf(out, " %s default", what);
    else
        fprintf(out, " %s %lu", what, ms);
}

static void receive(FILE *out, const struct fanq_receive *r)
{
    for (uint32_t i = 0; i < r->queue_count; i++)
        bytes(out, r->queues[i]);
    fprintf(out, " max %u/%u", r->messages_max, r->bytes_max);
    duration(out, "wait", r->wait_ms);
    duration(out, "visibility", r->visibility_ms);
    fputs(r->flags & FANQ_RECEIVE_AUTO_DELETE ? " auto" : "", out);
}

static void push(FILE *out, const struct fanq_push *p)
{
    bytes(out, p->target);
    fprintf(out, " %s credit %lu/%lu", p->mode == FANQ_PUSH_AUTO ? "auto" : "ack", p->messages, p->bytes);
    duration(out, "visibility", p->visibility_ms);
}

void trace_request(FILE *out, const struct sim *s, uint32_t connection, const struct fanq_request *r)
{
    begin(out, s, "->", connection, r->id);
    fputs(fanq_op_name(r->op), out);
    switch (r->op) {
    case FANQ_OP_PUBLISH:
    case FANQ_OP_SEND:
        bytes(out, r->publish.target);
        fprintf(out, " %u records, %u bytes", r->publish.records.count, r->publish.records.length);
        break;
    case FANQ_OP_RECEIVE:
        receive(out, &r->receive);
        break;
    case FANQ_OP_PUSH:
        push(out, &r->push);
        break;
    case FANQ_OP_ACK:
    case FANQ_OP_NACK:
    case FANQ_OP_EXTEND:
        fprintf(out, " queue %lu batch %lu time %lu", r->change.queue_id, r->change.batch, r->change.time_ms);
        ranges(out, r->change.ranges);
        break;
    case FANQ_OP_CREDIT:
        fprintf(out, " push %lx +%lu/%lu", r->credit.push, r->credit.messages, r->credit.bytes);
        break;
    case FANQ_OP_PUSH_STOP:
        fprintf(out, " %lx", r->push_stop);
        break;
    case FANQ_OP_PEEK:
        bytes(out, r->peek.queue);
        break;
    case FANQ_OP_SUBSCRIBE:
    case FANQ_OP_UNSUBSCRIBE:
        bytes(out, r->subscription.topic);
        bytes(out, r->subscription.queue);
        break;
    case FANQ_OP_QUEUE_CREATE:
    case FANQ_OP_QUEUE_SET:
        bytes(out, r->queue.name);
        break;
    case FANQ_OP_PING:
    case FANQ_OP_STATS:
    case FANQ_OP_QUEUE_LIST:
    case FANQ_OP_TOPIC_LIST:
    case FANQ_OP_SUBSCRIPTION_LIST:
    case FANQ_OP_HELLO:
        break;
    default:
        bytes(out, r->name);
        break;
    }
    fputc('\n', out);
}

void trace_connection(FILE *out, const struct sim *s, uint32_t connection, enum event_kind kind)
{
    fprintf(out, "%6lu turn %lu  %u %s\n", s->now_ms, s->turn, connection,
            kind == EVENT_DISCONNECT ? "disconnects"
            : kind == EVENT_BLOCKED  ? "blocks"
                                     : "is writable");
}

static void delivery(FILE *out, const struct fanq_delivery *d)
{
    fprintf(out, " queue %lu batch %lu", d->queue_id, d->batch);
    for (uint32_t i = 0; i < d->slice_count; i++)
        fprintf(out, " %lu:%lu+%u*%u", d->slices[i].stream, d->slices[i].first_seq,
                d->slices[i].records.count, d->slices[i].deliveries);
    if (d->dropped > 0)
        fprintf(out, " dropped %lu", d->dropped);
}

static void reply(FILE *out, const struct sim *s, const struct effect *e)
{
    const struct fanq_reply *r = &e->reply;

    begin(out, s, "<-", e->connection, r->id);
    fputs(fanq_reply_name(r->op), out);
    switch (r->op) {
    case FANQ_REPLY_DELIVER:
        delivery(out, &r->deliver);
        break;
    case FANQ_REPLY_ERROR:
    case FANQ_REPLY_PUSH_END:
        fprintf(out, " %s", fanq_error_name(r->error.err));
        break;
    case FANQ_REPLY_OK_RANGE:
        fprintf(out, " %lu", r->ok_range.count);
        break;
    case FANQ_REPLY_PUBLISHED:
        fprintf(out, " %lu:%lu+%lu", r->published.stream, r->published.first_seq, r->published.count);
        break;
    case FANQ_REPLY_CHANGED:
        fprintf(out, " %lu", r->changed);
        break;
    case FANQ_REPLY_QUEUE:
        bytes(out, r->queue.name);
        fprintf(out, " id %lu visible %lu in flight %lu delayed %lu", r->queue.queue_id, r->queue.visible,
                r->queue.in_flight, r->queue.delayed);
        break;
    default:
        break;
    }
    fputc('\n', out);
}

void trace_effect(FILE *out, const struct sim *s, const struct effect *e)
{
    switch (e->kind) {
    case EFFECT_REPLY:
    case EFFECT_DELIVER:
        reply(out, s, e);
        break;
    case EFFECT_COMMIT:
        fprintf(out, "%6lu turn %lu  commit %lu:", s->now_ms, s->turn, e->commit.number);
        for (uint32_t i = 0; i < e->commit.stream_count; i++)
            fprintf(out, " %lu:%lu+%lu", e->commit.streams[i].stream, e->commit.streams[i].first_seq,
                    e->commit.streams[i].count);
        fputc('\n', out);
        break;
    case EFFECT_TRIM:
    case EFFECT_STREAM_END:
        fprintf(out, "%6lu turn %lu  %s %lu:%lu\n", s->now_ms, s->turn,
                e->kind == EFFECT_TRIM ? "trim" : "end", e->trim.stream, e->trim.seq);
        break;
    case EFFECT_FETCH:
        fprintf(out, "%6lu turn %lu  fetch %lu:%lu+%lu\n", s->now_ms, s->turn, e->fetch.stream,
                e->fetch.first_seq, e->fetch.count);
        break;
    case EFFECT_CLOSE:
        fprintf(out, "%6lu turn %lu  close %u\n", s->now_ms, s->turn, e->connection);
        break;
    }
}
