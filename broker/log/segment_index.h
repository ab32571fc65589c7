/* The index of a full segment: which blocks it has and where, in a file beside it, so that a start need not read the
 * segment. Only a shortcut: one that is missing or damaged is made again from the segment.
 *
 *     segment_index_header | segment_index_entry... | XXH3-64 of both
 *
 * It is made once nothing is appended to the segment any more. The header names the directory and the segment, so a file
 * that was copied or renamed is not taken for another's; and the last commit, so that the chain can go on behind it. */
#pragma once

#include "commit.h"
#include "directory.h"

enum { SEGMENT_INDEX_MAGIC = 0x58494e46 /* "FNIX" */, SEGMENT_INDEX_VERSION = 1 };

struct segment_index_header {
    uint32_t magic;
    uint16_t version;
    uint16_t kind; /* enum directory_kind: LOG or COLD */
    uint64_t directory_id;
    uint64_t number;       /* of the segment */
    uint64_t epoch;        /* of the last commit */
    uint64_t first_commit; /* the numbers of the first and the last commit; 0: there is none */
    uint64_t last_commit;
    uint64_t last_hash;     /* of the last commit's trailer */
    uint64_t previous_end;  /* of the first commit: the LSN where the commit before it ended */
    uint64_t previous_hash; /* of the first commit */
    uint64_t synced_lsn;    /* of the last commit: what it says was on the disk */
    uint64_t end;           /* the offset behind the last commit, padding included */
    uint64_t entry_count;
} __attribute__((packed));

struct segment_index_entry {
    struct block_header block;
    uint64_t offset; /* of its header in the segment */
} __attribute__((packed));

_Static_assert(sizeof(struct segment_index_header) == 96, "the format is fixed");
_Static_assert(sizeof(struct segment_index_entry) == 64, "the format is fixed");

/* The same in memory. */
struct segment_index {
    struct segment_index_header header;
    struct segment_index_entry *entries; /* in the order in which they lie */
    size_t capacity;
};

void segment_index_free(struct segment_index *index); /* leaves it empty */

/* Makes it from the segment. Goes from commit to commit while each is whole and continues the one before, so that what a
 * recycled segment holds from its life before is left out, and so is what was torn off.
 * 0; -EBADMSG: a cold segment is damaged, and an index would hide that (where a segment of the log ends, the one behind it
 * tells); another negative errno. */
int segment_index_scan(const struct directory *d, enum directory_kind kind, uint64_t number,
                       struct segment_index *ret_index);

/* The same in steps, each of which reads some 1 MiB. */
struct segment_scan {
    const struct directory *directory;
    struct segment_index index;
    int file;
    bool torn;       /* the last commit was found; what is behind it is looked through */
    uint64_t place;  /* the offset of the buffer in the segment */
    uint64_t length; /* what is in the buffer */
    uint8_t *buffer;
    size_t capacity;
};

int segment_scan_begin(struct segment_scan *scan, const struct directory *d, enum directory_kind kind,
                       uint64_t number); /* 0 or a negative errno; then nothing need be closed */
int segment_scan_step(struct segment_scan *scan, bool *ret_ended);
/* ret_index: NULL, or where the index goes when the scan has ended. */
void segment_scan_close(struct segment_scan *scan, struct segment_index *ret_index);

/* Puts it in place. 0 or a negative errno. */
int segment_index_write(const struct directory *d, const struct segment_index *index);

/* Reads and checks it. 0; -ENOENT: there is none; -EBADMSG: it is damaged, of another version, or another's (make it
 * again); another negative errno. The caller frees. */
int segment_index_read(const struct directory *d, enum directory_kind kind, uint64_t number,
                       struct segment_index *ret_index);
