/* Commits for tests of the log, built record by record. The bytes of a record follow from its stream, seq and
 * length, so that a test can tell what it must find without keeping it. */
#pragma once

#include "core/core.h"

enum { DRAFT_BUFFER_BYTES = 8 * 1024 * 1024, DRAFT_PIECES_MAX = 4096 };

/* A commit under construction; streams must be finished one after the other. */
struct draft {
    uint8_t *buffer;
    size_t used;
    struct commit_piece pieces[DRAFT_PIECES_MAX];
    struct commit_stream streams[DRAFT_PIECES_MAX];
    struct commit commit;
    uint32_t piece_count;
};

void draft_init(struct draft *d);
void draft_close(struct draft *d);

/* Empties it for the next commit. */
void draft_begin(struct draft *d);

struct commit_stream *draft_stream(struct draft *d, uint64_t stream, uint64_t first_seq);
void draft_piece(struct draft *d, struct commit_stream *s);                       /* a new, empty one */
void draft_record(struct draft *d, struct commit_stream *s, uint32_t body_bytes); /* in the newest piece */

/* One stream, one piece. */
void draft_plain(struct draft *d, uint64_t stream, uint64_t first_seq, uint32_t count, uint32_t body_bytes);

/* Writes the record that a draft has there; gives its length, body_bytes + 6. */
size_t draft_write_record(uint8_t *at, uint64_t stream, uint64_t seq, uint32_t body_bytes);
