#include "draft.h"

#include <stdlib.h>
#include <string.h>

#include "unit.h"

size_t draft_write_record(uint8_t *at, uint64_t stream, uint64_t seq, uint32_t body_bytes)
{
    uint32_t rest = body_bytes + 1;
    const uint8_t header[] = {
        0xc6, (uint8_t)(rest >> 24), (uint8_t)(rest >> 16), (uint8_t)(rest >> 8), (uint8_t)rest, 0};

    memcpy(at, header, sizeof header);
    memset(at + sizeof header, (int)((stream * 131 + seq * 7) % 251), body_bytes);
    if (body_bytes >= sizeof seq)
        memcpy(at + sizeof header, &seq, sizeof seq);
    return sizeof header + body_bytes;
}

void draft_begin(struct draft *d)
{
    uint64_t number = d->commit.number;

    d->used = 0;
    d->piece_count = 0;
    d->commit = (struct commit){.number = number + 1, .time_ms = 1000 + number, .streams = d->streams};
}

void draft_init(struct draft *d)
{
    *d = (struct draft){.buffer = malloc(DRAFT_BUFFER_BYTES)};
    assert_non_null(d->buffer);
    draft_begin(d);
}

void draft_close(struct draft *d)
{
    free(d->buffer);
}

struct commit_stream *draft_stream(struct draft *d, uint64_t stream, uint64_t first_seq)
{
    struct commit_stream *s = &d->streams[d->commit.stream_count++];

    assert_true(d->commit.stream_count <= DRAFT_PIECES_MAX);
    *s = (struct commit_stream){
        .stream = stream, .first_seq = first_seq, .pieces = &d->pieces[d->piece_count]};
    return s;
}

void draft_piece(struct draft *d, struct commit_stream *s)
{
    assert_true(d->piece_count < DRAFT_PIECES_MAX);
    d->pieces[d->piece_count++] = (struct commit_piece){{.data = d->buffer + d->used}};
    s->piece_count++;
}

void draft_record(struct draft *d, struct commit_stream *s, uint32_t body_bytes)
{
    struct fanq_records *records = &d->pieces[d->piece_count - 1].records;

    assert_true(d->used + body_bytes + 6 <= DRAFT_BUFFER_BYTES);
    size_t length = draft_write_record(d->buffer + d->used, s->stream, s->first_seq + s->count, body_bytes);
    d->used += length;
    records->length += length;
    records->count++;
    s->bytes += length;
    s->count++;
}

void draft_plain(struct draft *d, uint64_t stream, uint64_t first_seq, uint32_t count, uint32_t body_bytes)
{
    struct commit_stream *s = draft_stream(d, stream, first_seq);

    draft_piece(d, s);
    while (count-- > 0)
        draft_record(d, s, body_bytes);
}
