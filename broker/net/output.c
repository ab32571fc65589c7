/* Writing: see output.h. */
#include "output.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "connection.h"
#include "log/tail.h"
#include "shell.h"

enum {
    CHUNK_BYTES = 4096,               /* the least that a copying chunk takes from the pool */
    SWEEP_BYTES_MAX = 8 * 1024 * 1024 /* copied by one sweep, but for its last connection */
};

/* A part of what waits for a peer that does not read. */
struct chunk {
    struct list link; /* in output.rest */
    size_t capacity;  /* of the pool's buffer that the chunk is at the start of */
    const uint8_t *data;
    size_t length;
    size_t sent;
    bool pinned; /* data lies in the tail; else in bytes */
    uint8_t bytes[];
};

int writing_init(struct writing *w)
{
    w->scratch = malloc(OUTPUT_SCRATCH_BYTES);
    w->to = NULL;
    w->piece_count = 0;
    w->held_bytes = 0;
    list_init(&w->stalled);
    list_init(&w->pinning);
    return w->scratch != NULL ? 0 : FANQ_ERR_NOMEM;
}

void writing_close(struct writing *w)
{
    assert(w->held_bytes == 0);
    free(w->scratch);
}

void output_init(struct output *out)
{
    *out = (struct output){.first_effect = OUTPUT_NO_EFFECT};
    list_init(&out->rest);
    list_init(&out->stalled);
    list_init(&out->pinning);
}

/* ---- what waits ---- */

static struct chunk *chunk_of(struct list *link)
{
    return container_of(link, struct chunk, link);
}

static void account(struct shell *s, struct output *out, size_t bytes)
{
    out->held_bytes += bytes;
    s->writing.held_bytes += bytes;
}

static void unaccount(struct shell *s, struct output *out, size_t bytes)
{
    assert(out->held_bytes >= bytes && s->writing.held_bytes >= bytes);
    out->held_bytes -= bytes;
    s->writing.held_bytes -= bytes;
}

static struct chunk *chunk_new(struct shell *s, struct output *out, size_t bytes)
{
    size_t capacity;
    struct chunk *chunk = pool_take(&s->pool, sizeof(*chunk) + bytes, &capacity);

    if (chunk == NULL)
        return NULL;
    *chunk = (struct chunk){.capacity = capacity};
    account(s, out, capacity);
    return chunk;
}

static void chunk_free(struct shell *s, struct output *out, struct chunk *chunk)
{
    if (chunk->pinned)
        tail_unpin(s->tail, chunk->data, chunk->length);
    list_remove(&chunk->link);
    unaccount(s, out, chunk->capacity);
    pool_give(&s->pool, chunk, chunk->capacity);
}

/* The last chunk, when it is a copy with room. */
static struct chunk *chunk_with_room(const struct output *out, size_t *ret_room)
{
    struct chunk *last = list_empty(&out->rest) ? NULL : chunk_of(out->rest.previous);

    if (last == NULL || last->pinned)
        return NULL;
    *ret_room = last->capacity - sizeof(*last) - last->length;
    return *ret_room > 0 ? last : NULL;
}

/* Copies behind what waits. False: out of memory. */
static bool rest_copy(struct shell *s, struct output *out, const uint8_t *data, size_t length)
{
    while (length > 0) {
        size_t room;
        struct chunk *chunk = chunk_with_room(out, &room);
        if (chunk == NULL) {
            size_t wanted = length > CHUNK_BYTES ? length : CHUNK_BYTES;
            chunk = chunk_new(s, out, wanted - sizeof(*chunk));
            if (chunk == NULL)
                return false;
            chunk->data = chunk->bytes;
            list_append(&out->rest, &chunk->link);
            continue;
        }
        size_t part = length < room ? length : room;
        memcpy(chunk->bytes + chunk->length, data, part);
        chunk->length += part;
        out->rest_bytes += part;
        data += part;
        length -= part;
    }
    return true;
}

static bool rest_pin(struct shell *s, struct output *out, const uint8_t *data, size_t length)
{
    struct chunk *chunk = chunk_new(s, out, 0);

    if (chunk == NULL)
        return false;
    chunk->data = data;
    chunk->length = length;
    chunk->pinned = true;
    out->rest_bytes += length;
    tail_pin(s->tail, data, length);
    list_append(&out->rest, &chunk->link);
    if (!list_linked(&out->pinning))
        list_append(&s->writing.pinning, &out->pinning);
    return true;
}

/* The first answer that waits may be longer than output_bytes_max: nothing was asked for too soon. */
static void rest_add(struct shell *s, struct connection *c, const struct piece *piece)
{
    struct output *out = &c->output;
    bool kept, enough = out->answer_bytes > s->config->output_bytes_max;

    if (c->state == CONNECTION_CLOSED)
        return;
    if (piece->kind == PIECE_TAIL && piece->length >= OUTPUT_REFER_BYTES_MIN)
        kept = rest_pin(s, out, piece->data, piece->length);
    else
        kept = rest_copy(s, out, piece->data, piece->length);
    if (piece->kind == PIECE_ANSWER)
        out->answer_bytes += piece->length;
    if (!kept)
        connection_lose(c, "out of memory");
    else if (enough && piece->kind == PIECE_ANSWER)
        connection_lose(c, "does not read its answers");
}

/* Takes `length` bytes off the front. */
static void rest_sent(struct shell *s, struct output *out, size_t length)
{
    assert(length <= out->rest_bytes);
    out->rest_bytes -= length;
    if (out->answer_bytes > out->rest_bytes)
        out->answer_bytes = out->rest_bytes;
    while (length > 0) {
        struct chunk *chunk = chunk_of(list_first(&out->rest));
        size_t left = chunk->length - chunk->sent;
        if (length < left) {
            chunk->sent += length;
            return;
        }
        length -= left;
        chunk_free(s, out, chunk);
    }
}

static void drop_rest(struct shell *s, struct output *out)
{
    struct list *at;

    while ((at = list_first(&out->rest)) != NULL)
        chunk_free(s, out, chunk_of(at));
    out->rest_bytes = out->answer_bytes = 0;
    list_remove(&out->stalled);
    list_remove(&out->pinning);
}

void output_close(struct shell *s, struct output *out)
{
    assert(out->flight_buffer == NULL);
    drop_rest(s, out);
}

/* ---- the flight: what uv_write holds ---- */

static void drop_flight(struct shell *s, struct output *out)
{
    unaccount(s, out, out->flight_capacity);
    pool_give(&s->pool, out->flight_buffer, out->flight_capacity);
    out->flight_buffer = NULL;
}

/* When the socket took it at once after all this is called before the poll, which would wait. */
static void on_flight_end(uv_write_t *request, int status)
{
    struct connection *c = request->data;

    drop_flight(c->shell, &c->output);
    if (c->closing)
        return;
    if (status != 0)
        connection_lose(c, uv_strerror(status));
    c->output.landed = true;
    connection_news(c);
    turn_hurry(c->shell);
}

/* Copies the beginning of the rest; gives how much. */
static size_t load_flight(struct output *out)
{
    size_t loaded = 0;

    list_for_each (at, &out->rest) {
        struct chunk *chunk = chunk_of(at);
        size_t part = chunk->length - chunk->sent;
        if (part > OUTPUT_FLIGHT_BYTES - loaded)
            part = OUTPUT_FLIGHT_BYTES - loaded;
        memcpy(out->flight_buffer + loaded, chunk->data + chunk->sent, part);
        loaded += part;
        if (loaded == OUTPUT_FLIGHT_BYTES)
            break;
    }
    return loaded;
}

static void start_flight(struct shell *s, struct connection *c)
{
    struct output *out = &c->output;
    uv_buf_t buffer;
    int err;

    out->flight_buffer = pool_take(&s->pool, OUTPUT_FLIGHT_BYTES, &out->flight_capacity);
    if (out->flight_buffer == NULL) {
        connection_lose(c, "out of memory");
        return;
    }
    account(s, out, out->flight_capacity);
    buffer = uv_buf_init((char *)out->flight_buffer, (unsigned)load_flight(out));
    rest_sent(s, out, buffer.len);
    out->flight.data = c;
    err = uv_write(&out->flight, &c->stream, &buffer, 1, on_flight_end);
    if (err != 0) {
        drop_flight(s, out);
        connection_lose(c, uv_strerror(err));
        return;
    }
    out->stalled_ms = s->now_ms;
    list_remove(&out->stalled);
    list_append(&s->writing.stalled, &out->stalled);
    if (list_linked(&out->pinning)) {
        list_remove(&out->pinning);
        list_append(&s->writing.pinning, &out->pinning);
    }
}

/* ---- pieces to the socket ---- */

/* Writes pieces; gives how many bytes the socket took. A dead connection takes everything. */
static size_t write_pieces(struct shell *s, struct connection *c, const struct piece *pieces, unsigned count,
                           size_t total)
{
    uv_buf_t buffers[OUTPUT_PIECES_MAX];
    int taken;

    for (unsigned i = 0; i < count; i++)
        buffers[i] = uv_buf_init((char *)(uintptr_t)pieces[i].data, (unsigned)pieces[i].length);
    taken = uv_try_write(&c->stream, buffers, count);
    s->figures.writes++;
    if (taken == UV_EAGAIN)
        return 0;
    if (taken < 0) {
        connection_lose(c, uv_strerror(taken));
        return total;
    }
    s->figures.output_bytes += (size_t)taken;
    return (size_t)taken;
}

static size_t sum_of(const struct piece *pieces, unsigned count)
{
    size_t total = 0;

    for (unsigned i = 0; i < count; i++)
        total += pieces[i].length;
    return total;
}

/* Sends the pieces gathered so far, or puts them behind what waits. */
static void flush(struct shell *s)
{
    struct writing *w = &s->writing;
    struct connection *c = w->to;
    size_t total = sum_of(w->pieces, w->piece_count);
    bool behind = output_full(&c->output) || !list_empty(&c->output.rest);
    size_t taken = 0;

    if (total > 0 && c->state != CONNECTION_CLOSED && !behind)
        taken = write_pieces(s, c, w->pieces, w->piece_count, total);
    for (unsigned i = 0; i < w->piece_count; i++) {
        const struct piece *piece = &w->pieces[i];
        size_t sent = taken < piece->length ? taken : piece->length;
        taken -= sent;
        if (sent < piece->length)
            rest_add(s, c, &(struct piece){piece->data + sent, piece->length - sent, piece->kind});
    }
    w->piece_count = 0;
    w->writer = fanq_writer_over(w->scratch, OUTPUT_SCRATCH_BYTES);
}

void output_begin(struct shell *s, struct connection *c)
{
    assert(s->writing.to == NULL);
    s->writing.to = c;
    s->writing.delivering = false;
    s->writing.piece_count = 0;
    s->writing.writer = fanq_writer_over(s->writing.scratch, OUTPUT_SCRATCH_BYTES);
}

void output_end(struct shell *s)
{
    struct connection *c = s->writing.to;

    flush(s);
    s->writing.to = NULL;
    if (c->state != CONNECTION_CLOSED && !output_full(&c->output) && !list_empty(&c->output.rest)) {
        start_flight(s, c);
        connection_news(c);
    }
}

void output_delivering(struct shell *s, bool delivering)
{
    s->writing.delivering = delivering;
}

static void add_piece(struct writing *w, const uint8_t *data, size_t length, enum piece_kind kind)
{
    struct piece *last = w->piece_count > 0 ? &w->pieces[w->piece_count - 1] : NULL;

    assert(w->piece_count < OUTPUT_PIECES_MAX);
    if (last != NULL && last->kind == kind && last->data + last->length == data)
        last->length += length;
    else
        w->pieces[w->piece_count++] = (struct piece){data, length, kind};
}

struct fanq_writer *output_room(struct shell *s, size_t bytes)
{
    struct writing *w = &s->writing;

    assert(bytes <= OUTPUT_SCRATCH_BYTES);
    if ((size_t)(w->writer.end - w->writer.at) < bytes || w->piece_count == OUTPUT_PIECES_MAX)
        flush(s);
    return &w->writer;
}

void output_wrote(struct shell *s, size_t bytes)
{
    struct writing *w = &s->writing;

    assert(!w->writer.full && bytes <= fanq_writer_length(&w->writer));
    add_piece(w, w->writer.at - bytes, bytes, w->delivering ? PIECE_DELIVERY : PIECE_ANSWER);
}

void output_refer(struct shell *s, const uint8_t *data, size_t length)
{
    if (length < OUTPUT_REFER_BYTES_MIN) {
        struct fanq_writer *w = output_room(s, length);
        fanq_write_raw(w, data, length);
        output_wrote(s, length);
        return;
    }
    if (s->writing.piece_count == OUTPUT_PIECES_MAX)
        flush(s);
    add_piece(&s->writing, data, length, PIECE_TAIL);
}

void output_copy(struct shell *s, const uint8_t *data, size_t length)
{
    if (s->writing.piece_count == OUTPUT_PIECES_MAX)
        flush(s);
    add_piece(&s->writing, data, length, PIECE_ANSWER);
    flush(s); /* data is the caller's again */
}

/* ---- when the peer reads again ---- */

static unsigned pieces_of_rest(const struct output *out, struct piece *pieces, size_t *ret_total)
{
    unsigned count = 0;

    *ret_total = 0;
    list_for_each (at, &out->rest) {
        const struct chunk *chunk = chunk_of(at);
        if (count == OUTPUT_PIECES_MAX)
            break;
        pieces[count++] =
            (struct piece){chunk->data + chunk->sent, chunk->length - chunk->sent, PIECE_ANSWER};
        *ret_total += chunk->length - chunk->sent;
    }
    return count;
}

void output_resume(struct shell *s, struct connection *c)
{
    struct output *out = &c->output;

    assert(s->writing.to == NULL);
    out->landed = false;
    while (c->state != CONNECTION_CLOSED && !list_empty(&out->rest)) {
        size_t total;
        unsigned count = pieces_of_rest(out, s->writing.pieces, &total);
        size_t taken = write_pieces(s, c, s->writing.pieces, count, total);
        if (c->state == CONNECTION_CLOSED)
            return;
        rest_sent(s, out, taken);
        if (taken < total) {
            start_flight(s, c);
            return;
        }
    }
    list_remove(&out->stalled);
    list_remove(&out->pinning);
}

/* ---- the stalled ---- */

static struct connection *stalled_connection(struct list *link)
{
    return container_of(container_of(link, struct output, stalled), struct connection, output);
}

/* Copies what the connection pins. False: out of memory. */
static bool unpin_rest(struct shell *s, struct output *out)
{
    struct list *at, *next;

    list_remove(&out->pinning);
    for (at = out->rest.next; at != &out->rest; at = next) {
        struct chunk *chunk = chunk_of(at);
        size_t left = chunk->length - chunk->sent;
        next = at->next;
        if (!chunk->pinned)
            continue;
        struct chunk *copy = chunk_new(s, out, left);
        if (copy == NULL)
            return false;
        memcpy(copy->bytes, chunk->data + chunk->sent, left);
        copy->data = copy->bytes;
        copy->length = left;
        list_insert_before(at, &copy->link);
        chunk_free(s, out, chunk);
    }
    return true;
}

uint64_t writing_next_ms(const struct writing *w)
{
    if (list_empty(&w->pinning))
        return UINT64_MAX;
    return container_of(w->pinning.next, struct output, pinning)->stalled_ms + OUTPUT_STALL_MS;
}

static void close_longest_stalled(struct shell *s)
{
    struct writing *w = &s->writing;

    while (w->held_bytes > s->config->output_bytes_total_max && !list_empty(&w->stalled)) {
        struct connection *c = stalled_connection(w->stalled.next);
        connection_lose(c, "has not read its answers for longest, and their memory is needed");
        drop_rest(s, &c->output);
    }
}

/* Many may stall at once: the limit holds after each, and who is not reached comes in the next turn. */
void writing_sweep(struct shell *s)
{
    struct writing *w = &s->writing;
    size_t copied = 0;

    while (writing_next_ms(w) <= s->now_ms && copied < SWEEP_BYTES_MAX) {
        struct output *out = container_of(w->pinning.next, struct output, pinning);
        copied += out->rest_bytes;
        if (!unpin_rest(s, out))
            connection_lose(container_of(out, struct connection, output), "out of memory");
        close_longest_stalled(s);
    }
    close_longest_stalled(s);
}
