/* One segment, read whole into memory that is used for one after the other, and gone through.
 *
 * What is asked for by LSN must lie in the segment that is loaded. Commits and headers are lent until the next one is
 * loaded. One thread. */
#pragma once

#include "directory.h"

struct scan {
    const struct directory *directory;
    enum directory_kind kind;
    uint64_t number;     /* of the segment that is loaded */
    uint8_t *data;       /* room for a segment */
    uint64_t length;     /* of the file, at most a segment's */
    uint64_t bytes_read; /* of all segments so far */
};

int scan_init(struct scan *s, const struct directory *directory); /* 0 or -ENOMEM */
void scan_close(struct scan *s);

/* Loads it, unless it is loaded already. 0 or a negative errno; then nothing is loaded. */
int scan_load(struct scan *s, enum directory_kind kind, uint64_t number);

uint64_t scan_start(const struct scan *s); /* LSN of the segment's first byte */
uint64_t scan_end(const struct scan *s);   /* LSN behind the last byte that is there */

/* The commit that stands at lsn and is whole; else NULL. */
const struct commit_header *scan_commit(const struct scan *s, uint64_t lsn);

/* The header that stands at lsn and is valid, whatever is behind it; else NULL. */
const struct commit_header *scan_header(const struct scan *s, uint64_t lsn);

/* The first valid header at or behind lsn, in steps of the alignment; else NULL. */
const struct commit_header *scan_next_header(const struct scan *s, uint64_t lsn);

/* Whether all that the file has from lsn on is zero. */
bool scan_is_zero(const struct scan *s, uint64_t lsn);

/* How a segment begins. */
struct scan_opening {
    uint64_t file_bytes;
    bool valid; /* a header of its kind stands at its beginning: */
    struct commit_header header;
};

/* Looks at the beginning of a segment without loading it. 0 or a negative errno. */
int scan_open(const struct directory *d, enum directory_kind kind, uint64_t number,
              struct scan_opening *ret_opening);

/* The LSN behind a commit and its padding. */
static inline uint64_t commit_end(const struct commit_header *commit)
{
    return commit->lsn + commit_bytes_aligned(commit->bytes);
}
