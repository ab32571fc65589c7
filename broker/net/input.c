/* Reading: see input.h. */
#include "input.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "connection.h"
#include "native.h"
#include "shell.h"

static struct connection *connection_of(struct input *in)
{
    return container_of(in, struct connection, input);
}

int reading_init(struct reading *r)
{
    r->buffer = malloc(INPUT_TURN_BYTES);
    r->used = 0;
    r->turn = r->round = 1;
    r->refused = false;
    r->kept_bytes = 0;
    list_init(&r->ready);
    list_init(&r->starved);
    list_init(&r->unfinished);
    r->next = &r->ready;
    return r->buffer != NULL ? 0 : FANQ_ERR_NOMEM;
}

void reading_close(struct reading *r)
{
    assert(r->kept_bytes == 0);
    free(r->buffer);
}

void input_init(struct input *in)
{
    *in = (struct input){0};
    list_init(&in->ready);
    list_init(&in->starved);
    list_init(&in->unfinished);
}

static void give_kept(struct shell *s, struct input *in)
{
    s->reading.kept_bytes -= in->kept_capacity;
    pool_give(&s->pool, in->kept, in->kept_capacity);
    in->kept = NULL;
    in->kept_length = in->kept_capacity = 0;
    list_remove(&in->unfinished);
    if (!list_empty(&s->reading.starved))
        turn_hurry(s); /* somebody waits for this memory */
}

void input_close(struct shell *s, struct input *in)
{
    assert(!list_linked(&in->ready));
    give_kept(s, in);
    list_remove(&in->starved);
}

/* ---- where bytes go ---- */

static bool long_frame(const struct input *in)
{
    return in->need > INPUT_SHARED_BYTES_MAX;
}

static size_t lesser(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Makes the kept buffer hold `capacity` bytes, its content kept. False: out of memory. */
static bool resize_kept(struct shell *s, struct input *in, size_t capacity)
{
    uint8_t *kept = pool_take(&s->pool, capacity, &capacity);

    if (kept == NULL)
        return false;
    if (in->kept_length > 0)
        memcpy(kept, in->kept, in->kept_length);
    s->reading.kept_bytes += capacity - in->kept_capacity;
    pool_give(&s->pool, in->kept, in->kept_capacity);
    in->kept = kept;
    in->kept_capacity = capacity;
    if (capacity > INPUT_SMALL_BYTES && !list_linked(&in->unfinished)) {
        in->unfinished_ms = uv_now(&s->loop);
        list_append(&s->reading.unfinished, &in->unfinished);
    }
    return true;
}

/* What a long frame's buffer must grow to before more can be read; 0: there is room. */
static size_t growth_wanted(const struct input *in)
{
    return in->kept_length < in->kept_capacity ? 0 : lesser(in->need, in->kept_capacity * 2);
}

static bool may_keep(const struct shell *s, const struct input *in, size_t capacity)
{
    return s->reading.kept_bytes - in->kept_capacity + capacity <= s->config->input_bytes_total_max;
}

/* Reading stops in input_refused(): not here, for libuv is about to call back. */
static void starve(struct shell *s, struct connection *c)
{
    if (!list_linked(&c->input.starved))
        list_append(&s->reading.starved, &c->input.starved);
}

static void long_buffer(struct shell *s, struct connection *c, size_t share, uv_buf_t *ret_buffer)
{
    struct input *in = &c->input;
    size_t capacity = growth_wanted(in);

    if (list_linked(&in->ready)) /* complete: what follows is for the next turn */
        return;
    if (capacity > 0 && (!may_keep(s, in, capacity) || !resize_kept(s, in, capacity))) {
        starve(s, c);
        return;
    }
    *ret_buffer = uv_buf_init((char *)in->kept + in->kept_length,
                              (unsigned)lesser(share, lesser(in->need, in->kept_capacity) - in->kept_length));
}

/* How many bytes c may have in all of this turn's buffer. */
static size_t shared_limit(const struct shell *s, const struct connection *c)
{
    if (c->state == CONNECTION_GREETING)
        return native_greeting_bytes_max();
    if (s->reading.kept_bytes >= s->config->input_bytes_total_max)
        return INPUT_SMALL_BYTES;
    return INPUT_SHARE_BYTES;
}

static void shared_buffer(struct shell *s, struct connection *c, uv_buf_t *ret_buffer)
{
    struct reading *r = &s->reading;
    struct input *in = &c->input;
    uint8_t *free_at = r->buffer + r->used;
    size_t limit = shared_limit(s, c);
    size_t room = INPUT_TURN_BYTES - r->used;

    if (list_linked(&in->ready)) { /* more of the same read, if nobody else has read since */
        if (in->data + in->length == free_at && in->length < limit)
            *ret_buffer = uv_buf_init((char *)free_at, (unsigned)lesser(room, limit - in->length));
        return;
    }
    if (in->round == r->round)
        return;
    if (room < in->kept_length + INPUT_SMALL_BYTES) {
        r->refused = true;
        return;
    }
    if (in->kept_length >= limit) {
        starve(s, c);
        return;
    }
    if (in->kept_length > 0)
        memcpy(free_at, in->kept, in->kept_length);
    *ret_buffer =
        uv_buf_init((char *)free_at + in->kept_length, (unsigned)(lesser(room, limit) - in->kept_length));
}

void input_buffer(struct shell *s, struct connection *c, uv_buf_t *ret_buffer)
{
    struct input *in = &c->input;

    *ret_buffer = uv_buf_init(NULL, 0);
    if (in->turn != s->reading.turn) {
        in->turn = s->reading.turn;
        in->turn_bytes = 0;
    }
    if (c->state >= CONNECTION_FINISHING)
        *ret_buffer = uv_buf_init((char *)s->reading.waste, sizeof(s->reading.waste));
    else if (in->turn_bytes >= INPUT_SHARE_BYTES)
        return;
    else if (long_frame(in))
        long_buffer(s, c, INPUT_SHARE_BYTES - in->turn_bytes, ret_buffer);
    else
        shared_buffer(s, c, ret_buffer);
}

void input_refused(struct connection *c)
{
    if (list_linked(&c->input.starved))
        uv_read_stop(&c->stream);
}

/* ---- what came ---- */

static void make_ready(struct reading *r, struct input *in, uint8_t *data, size_t length)
{
    in->data = data;
    in->length = length;
    in->parsed = 0;
    list_append(&r->ready, &in->ready);
    if (r->next == &r->ready)
        r->next = &in->ready;
}

void input_received(struct shell *s, struct connection *c, size_t length)
{
    struct reading *r = &s->reading;
    struct input *in = &c->input;

    if (c->state >= CONNECTION_FINISHING)
        return;
    in->turn_bytes += length;
    s->figures.input_bytes += length;
    if (long_frame(in)) {
        in->kept_length += length;
        if (in->kept_length == in->need)
            make_ready(r, in, in->kept, in->kept_length);
        return;
    }
    if (!list_linked(&in->ready)) {
        make_ready(r, in, r->buffer + r->used, in->kept_length);
        r->used += in->kept_length;
        in->round = r->round;
    }
    in->length += length;
    r->used += length;
}

/* ---- the end of a turn ---- */

/* Keeps the unfinished frame at the end of what was parsed. */
static void keep_rest(struct shell *s, struct connection *c)
{
    struct input *in = &c->input;
    size_t rest = in->length - in->parsed;
    const uint8_t *from = in->data + in->parsed;
    size_t wanted = long_frame(in) ? lesser(in->need, rest * 2) : rest;

    assert(from >= s->reading.buffer && from + rest <= s->reading.buffer + s->reading.used);
    in->kept_length = 0;
    if ((in->kept_capacity < wanted || in->kept_capacity / 4 > wanted) && !resize_kept(s, in, wanted)) {
        connection_lose(c, "out of memory");
        return;
    }
    memcpy(in->kept, from, rest);
    in->kept_length = rest;
    if (in->kept_capacity <= INPUT_SMALL_BYTES)
        list_remove(&in->unfinished);
}

static void settle_input(struct shell *s, struct connection *c)
{
    struct input *in = &c->input;

    list_remove(&in->ready);
    if (c->state >= CONNECTION_FINISHING || in->parsed == in->length) {
        give_kept(s, in);
        in->need = 0;
    } else {
        keep_rest(s, c);
    }
}

/* What a starved connection needs to go on: room for its next growth. */
static bool may_go_on(const struct shell *s, const struct input *in)
{
    if (long_frame(in))
        return may_keep(s, in, growth_wanted(in) > 0 ? growth_wanted(in) : in->kept_capacity);
    return s->reading.kept_bytes < s->config->input_bytes_total_max;
}

static void feed_starved(struct shell *s)
{
    struct list *at, *next;

    for (at = s->reading.starved.next; at != &s->reading.starved; at = next) {
        struct connection *c = connection_of(container_of(at, struct input, starved));
        next = at->next;
        if (c->state < CONNECTION_FINISHING && !may_go_on(s, &c->input))
            continue;
        list_remove(at);
        connection_read(c);
    }
}

uint64_t reading_next_ms(const struct reading *r)
{
    if (list_empty(&r->starved) || list_empty(&r->unfinished))
        return UINT64_MAX;
    return container_of(r->unfinished.next, struct input, unfinished)->unfinished_ms +
           INPUT_UNFINISHED_MS_MAX;
}

/* Its memory goes to those who wait, at once: the next oldest may then be spared. */
static void close_oldest(struct shell *s)
{
    struct connection *c = connection_of(container_of(s->reading.unfinished.next, struct input, unfinished));

    connection_lose(c, "a large request came too slowly while others waited for its memory");
    give_kept(s, &c->input);
    feed_starved(s);
}

void reading_settle(struct shell *s)
{
    struct reading *r = &s->reading;
    struct list *at;

    while ((at = list_first(&r->ready)) != NULL)
        settle_input(s, connection_of(container_of(at, struct input, ready)));
    r->next = &r->ready;
    r->used = 0;
    r->turn++;
    if (!r->refused)
        r->round++;
    r->refused = false;
    if (!list_empty(&r->starved))
        feed_starved(s);
    while (reading_next_ms(r) <= s->now_ms)
        close_oldest(s);
}
