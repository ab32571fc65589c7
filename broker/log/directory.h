/* The directory of a log: who it is, who has it, what its files are called.
 *
 *     identity                what made it: format, segment size, the secret; written once
 *     lock                    held by the broker that runs on it
 *     epoch                   the number of the last run: 1, 2, 3...
 *     log-0000000000000007    a segment: commits, from its beginning on; the number is the high part of its LSNs
 *     log-….index             where the blocks of a full segment are: a shortcut that is made again when it is missing
 *     spare-0000000000000003  a segment ahead of its use: zeros, or what a dead segment left
 *     cold-0000000000000002   a segment of moved blocks, with an index of its own
 *     checkpoint-a, -b        the newest two checkpoints (checkpoint.h)
 *     checkpoint-….spare      room for the next one (checkpoint_file.h); no start reads it
 *     *.new                   being made; removed at a start
 */
#pragma once

#include "commit.h"
#include "io.h"

enum { DIRECTORY_NAME_BYTES_MAX = 40, DIRECTORY_FORMAT = 1 };

struct directory {
    struct io io;
    struct log_secret secret;
    uint64_t
        id; /* random; stands in checkpoints and indexes, so that files of another directory are not taken for its own */
    uint64_t segment_bytes;
    uint64_t epoch;   /* of this run, after directory_begin() */
    uint64_t made_ms; /* wall clock */
};

enum { DIRECTORY_ERROR_BYTES = 512 };

struct directory_options {
    struct io io;
    uint64_t segment_bytes; /* for a new one; an old one keeps its own */
    uint64_t random[4];     /* for a new one */
    uint64_t wall_ms;
    bool read_only; /* for checks and dumps: nothing is made, nothing is locked */
};

/* Takes the directory, or makes a new one in an empty one. 0 or a negative errno, with a text in error that says what
 * is wrong and what to do: another broker has it, it cannot be written, the format is newer, identity is damaged. */
int directory_open(const struct directory_options *options, struct directory *ret_directory,
                   char error[DIRECTORY_ERROR_BYTES]);

/* Whether the file of the last run's epoch can be relied on; opening to write has asked that. 0, also when there is none, or a
 * negative errno with a text: -EBADMSG when it is damaged. */
int directory_check_epoch(const struct directory *d, char error[DIRECTORY_ERROR_BYTES]);

/* Begins a new run: its epoch is on the disk before this returns. Without the file of the last one it is far above all that
 * the log's segments name. 0 or a negative errno. */
int directory_begin(struct directory *d);

/* ---- files ---- */

enum directory_kind { DIRECTORY_LOG, DIRECTORY_COLD, DIRECTORY_SPARE /* has no index */ };

void directory_segment_name(char ret_name[DIRECTORY_NAME_BYTES_MAX], enum directory_kind kind,
                            uint64_t number);
void directory_index_name(char ret_name[DIRECTORY_NAME_BYTES_MAX], enum directory_kind kind, uint64_t number);

struct directory_segment {
    enum directory_kind kind;
    uint64_t number;
    bool has_index;
};

/* Gives the segments that are there, cold ones first, then those of the log, then spares, each kind by number; the caller
 * frees. 0 or a negative errno. */
int directory_segments(const struct directory *d, struct directory_segment **ret_segments, size_t *ret_count);
