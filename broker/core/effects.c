/* What the core wants done: a row of effects, and the arena that all they point to lives in. */
#include "state.h"

void effects_init(struct effects *out)
{
    *out = (struct effects){0};
    arena_init(&out->arena);
}

void effects_close(struct effects *out)
{
    free(out->items);
    arena_close(&out->arena);
    *out = (struct effects){0};
}

void effects_clear(struct effects *out)
{
    out->count = 0;
    out->generation++;
    arena_reset(&out->arena);
}

int effects_reserve(struct effects *out, size_t count)
{
    size_t capacity = out->capacity;
    struct effect *items;

    if (out->count + count <= capacity)
        return 0;
    while (capacity < out->count + count)
        capacity = capacity == 0 ? 64 : capacity * 2;
    items = realloc(out->items, capacity * sizeof(*items));
    if (items == NULL)
        return FANQ_ERR_NOMEM;
    out->items = items;
    out->capacity = capacity;
    return 0;
}

struct effect *effect_add(struct effects *out, enum effect_kind kind)
{
    struct effect *e = &out->items[out->count];

    assert(out->count < out->capacity);
    out->count++;
    memset(e, 0, sizeof(*e));
    e->kind = kind;
    return e;
}

struct fanq_reply *reply_add(struct effects *out, uint32_t connection, enum fanq_reply_op op, uint64_t id)
{
    struct effect *e = effect_add(out, EFFECT_REPLY);

    e->connection = connection;
    e->reply.op = op;
    e->reply.id = id;
    return &e->reply;
}

void reply_error(struct effects *out, uint32_t connection, uint64_t id, int err)
{
    struct fanq_reply *reply = reply_add(out, connection, FANQ_REPLY_ERROR, id);
    const char *text = fanq_strerror(err);

    reply->error.err = err;
    reply->error.text = (struct fanq_bytes){(const uint8_t *)text, strlen(text)};
}

/* Neighbouring requests of a connection share one answer as long as it has not been sent. */
void reply_ok(struct core *c, struct effects *out, uint32_t connection, uint64_t id, uint64_t count)
{
    struct session *s = session_of(c, connection);

    if (s->ok_generation == out->generation && s->ok_index < out->count) {
        struct fanq_reply *last = &out->items[s->ok_index].reply;

        if (last->op == FANQ_REPLY_OK_RANGE && last->id + last->ok_range.count == id) {
            last->ok_range.count += count;
            return;
        }
    }
    s->ok_generation = out->generation;
    s->ok_index = out->count;
    reply_add(out, connection, FANQ_REPLY_OK_RANGE, id)->ok_range.count = count;
}
