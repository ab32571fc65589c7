#include "segment_index.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_BYTES = 1024 * 1024, HASH_BYTES = sizeof(uint64_t) };

void segment_index_free(struct segment_index *index)
{
    free(index->entries);
    *index = (struct segment_index){.entries = NULL};
}

/* ---- making it ---- */

int segment_scan_begin(struct segment_scan *scan, const struct directory *d, enum directory_kind kind,
                       uint64_t number)
{
    char name[DIRECTORY_NAME_BYTES_MAX];
    int file, err;

    assert(kind != DIRECTORY_SPARE);
    directory_segment_name(name, kind, number);
    err = d->io.open(d->io.context, name, IO_READ, &file);
    if (err != 0)
        return err;
    *scan = (struct segment_scan){.directory = d, .file = file};
    scan->index.header = (struct segment_index_header){.magic = SEGMENT_INDEX_MAGIC,
                                                       .version = SEGMENT_INDEX_VERSION,
                                                       .kind = (uint16_t)kind,
                                                       .directory_id = d->id,
                                                       .number = number};
    return 0;
}

void segment_scan_close(struct segment_scan *scan, struct segment_index *ret_index)
{
    scan->directory->io.close(scan->directory->io.context, scan->file);
    free(scan->buffer);
    if (ret_index != NULL)
        *ret_index = scan->index;
    else
        segment_index_free(&scan->index);
    *scan = (struct segment_scan){.file = -1};
}

static uint64_t lsn_at(const struct segment_scan *scan, uint64_t offset)
{
    return scan->index.header.number * scan->directory->segment_bytes + offset;
}

static int entries_reserve(struct segment_index *index, uint32_t count)
{
    size_t capacity = index->capacity > 0 ? index->capacity : 256;
    struct segment_index_entry *entries;

    while (capacity < index->header.entry_count + count)
        capacity *= 2;
    if (capacity == index->capacity)
        return 0;
    entries = realloc(index->entries, capacity * sizeof(*entries));
    if (entries == NULL)
        return -ENOMEM;
    index->entries = entries;
    index->capacity = capacity;
    return 0;
}

static int take_commit(struct segment_scan *scan, const struct commit_header *commit, uint64_t offset)
{
    struct segment_index_header *header = &scan->index.header;
    int err = entries_reserve(&scan->index, commit->block_count);

    if (err != 0)
        return err;
    for (const struct block_header *b = commit_next_block(commit, NULL); b != NULL;
         b = commit_next_block(commit, b))
        scan->index.entries[header->entry_count++] = (struct segment_index_entry){
            .block = *b, .offset = offset + (uint64_t)((const uint8_t *)b - (const uint8_t *)commit)};
    if (header->first_commit == 0) {
        header->first_commit = commit->number;
        header->previous_end = commit->previous_end;
        header->previous_hash = commit->previous_hash;
    }
    header->epoch = commit->epoch;
    header->last_commit = commit->number;
    header->last_hash = commit_hash(commit);
    header->synced_lsn = commit->synced_lsn;
    header->end = offset + commit_bytes_aligned(commit->bytes);
    return 0;
}

/* Moved commits have a chain within their segment, which says no place. */
static bool continues(const struct segment_scan *scan, const struct commit_header *commit)
{
    const struct segment_index_header *header = &scan->index.header;

    return header->last_commit == 0 ||
           (commit->number == header->last_commit + 1 && commit->previous_hash == header->last_hash &&
            (commit->kind == COMMIT_MOVED || commit->previous_end == lsn_at(scan, header->end)));
}

static bool of_kind(const struct segment_scan *scan, const struct commit_header *commit)
{
    return commit->kind == (scan->index.header.kind == DIRECTORY_COLD ? COMMIT_MOVED : COMMIT_LOG);
}

/* The header at this place of the buffer, if one stands there. */
static const struct commit_header *header_at(const struct segment_scan *scan, uint64_t at)
{
    const struct directory *d = scan->directory;
    const uint8_t *data = scan->buffer + at;

    return commit_header_valid(data, scan->length - at, lsn_at(scan, scan->place + at), d->segment_bytes,
                               &d->secret) &&
                   of_kind(scan, (const struct commit_header *)data)
               ? (const struct commit_header *)data
               : NULL;
}

/* Goes over the commits that are whole in the buffer. *ret_need: how many bytes from *ret_at on the next one has, as far as
 * is known; 0: there is none. */
static int take_commits(struct segment_scan *scan, uint64_t *ret_at, uint64_t *ret_need)
{
    const struct directory *d = scan->directory;
    uint64_t at = 0;
    int err = 0;

    *ret_need = sizeof(struct commit_header);
    while (err == 0 && scan->length - at >= sizeof(struct commit_header)) {
        const struct commit_header *commit = header_at(scan, at);
        uint64_t bytes = commit != NULL ? commit_bytes_aligned(commit->bytes) : 0;
        *ret_need = bytes;
        if (commit == NULL || bytes > scan->length - at)
            break;
        *ret_need = 0;
        if (!commit_valid((const uint8_t *)commit, scan->length - at, lsn_at(scan, scan->place + at),
                          d->segment_bytes, &d->secret) ||
            !continues(scan, commit))
            break;
        err = take_commit(scan, commit, scan->place + at);
        at += bytes;
        *ret_need = sizeof(struct commit_header);
    }
    *ret_at = at;
    return err;
}

/* Whether a commit of this segment stands in the buffer that is later than the last one that was taken. Where that one ended
 * the next may have been torn, so it does not count; those behind it were begun when it was synced. */
static bool has_later(const struct segment_scan *scan, uint64_t *ret_at)
{
    uint64_t at = 0;

    for (; scan->length - at >= sizeof(struct commit_header); at += COMMIT_ALIGNMENT) {
        const struct commit_header *commit = header_at(scan, at);
        if (commit != NULL && scan->place + at > scan->index.header.end &&
            commit->number > scan->index.header.last_commit)
            return true;
    }
    *ret_at = at;
    return false;
}

/* Makes `at` the buffer's beginning, with room for `need` bytes and a step. */
static int buffer_move(struct segment_scan *scan, uint64_t at, uint64_t need)
{
    uint64_t capacity = need + STEP_BYTES;
    uint8_t *buffer;

    if (at > 0) {
        memmove(scan->buffer, scan->buffer + at, scan->length - at);
        scan->length -= at;
        scan->place += at;
    }
    if (capacity <= scan->capacity)
        return 0;
    buffer = realloc(scan->buffer, capacity);
    if (buffer == NULL)
        return -ENOMEM;
    scan->buffer = buffer;
    scan->capacity = capacity;
    return 0;
}

static int buffer_fill(struct segment_scan *scan, bool *ret_end)
{
    const struct io *io = &scan->directory->io;
    uint64_t left = scan->directory->segment_bytes - (scan->place + scan->length);
    size_t wanted = left < STEP_BYTES ? (size_t)left : STEP_BYTES, length = 0;
    int err =
        io_read(io, scan->file, scan->buffer + scan->length, wanted, scan->place + scan->length, &length);

    if (err != 0)
        return err;
    scan->length += length;
    *ret_end = length < STEP_BYTES;
    return 0;
}

int segment_scan_step(struct segment_scan *scan, bool *ret_ended)
{
    uint64_t at = 0, need = 0;
    bool file_end = false;
    int err = scan->buffer == NULL ? buffer_move(scan, 0, sizeof(struct commit_header)) : 0;

    if (err == 0)
        err = buffer_fill(scan, &file_end);
    if (err == 0 && !scan->torn) {
        err = take_commits(scan, &at, &need);
        scan->torn = need == 0 || file_end;
    }
    if (err == 0 && scan->torn && scan->index.header.kind == DIRECTORY_COLD) {
        err = buffer_move(scan, at, 0);
        if (err == 0 && has_later(scan, &at))
            err = -EBADMSG;
    }
    if (err == 0)
        err = buffer_move(scan, at, need);
    *ret_ended = file_end || (scan->torn && scan->index.header.kind != DIRECTORY_COLD);
    return err;
}

int segment_index_scan(const struct directory *d, enum directory_kind kind, uint64_t number,
                       struct segment_index *ret_index)
{
    struct segment_scan scan;
    bool ended = false;
    int err = segment_scan_begin(&scan, d, kind, number);

    if (err != 0)
        return err;
    while (err == 0 && !ended)
        err = segment_scan_step(&scan, &ended);
    segment_scan_close(&scan, err == 0 ? ret_index : NULL);
    return err;
}

/* ---- the file ---- */

static uint64_t file_bytes_of(uint64_t entry_count)
{
    return sizeof(struct segment_index_header) + entry_count * sizeof(struct segment_index_entry) +
           HASH_BYTES;
}

int segment_index_write(const struct directory *d, const struct segment_index *index)
{
    const struct segment_index_header *header = &index->header;
    char name[DIRECTORY_NAME_BYTES_MAX];
    size_t length = file_bytes_of(header->entry_count);
    uint8_t *data = malloc(length);
    uint64_t hash;
    int err;

    if (data == NULL)
        return -ENOMEM;
    memcpy(data, header, sizeof(*header));
    if (header->entry_count > 0)
        memcpy(data + sizeof(*header), index->entries, header->entry_count * sizeof(*index->entries));
    hash = XXH3_64bits(data, length - HASH_BYTES);
    memcpy(data + length - HASH_BYTES, &hash, HASH_BYTES);
    directory_index_name(name, (enum directory_kind)header->kind, header->number);
    err = io_put(&d->io, name, data, length);
    free(data);
    return err;
}

static bool file_valid(const struct directory *d, enum directory_kind kind, uint64_t number,
                       const uint8_t *data, size_t length)
{
    struct segment_index_header header;
    uint64_t hash;

    if (length < file_bytes_of(0))
        return false;
    memcpy(&header, data, sizeof(header));
    memcpy(&hash, data + length - HASH_BYTES, HASH_BYTES);
    return hash == XXH3_64bits(data, length - HASH_BYTES) && header.magic == SEGMENT_INDEX_MAGIC &&
           header.version == SEGMENT_INDEX_VERSION && header.kind == kind && header.number == number &&
           header.directory_id == d->id &&
           header.entry_count == (length - file_bytes_of(0)) / sizeof(struct segment_index_entry) &&
           length == file_bytes_of(header.entry_count);
}

static int take_file(const uint8_t *data, struct segment_index *ret_index)
{
    struct segment_index index;
    size_t bytes;

    memcpy(&index.header, data, sizeof(index.header));
    bytes = index.header.entry_count * sizeof(*index.entries);
    index.entries = malloc(bytes > 0 ? bytes : 1);
    if (index.entries == NULL)
        return -ENOMEM;
    if (bytes > 0)
        memcpy(index.entries, data + sizeof(index.header), bytes);
    index.capacity = index.header.entry_count;
    *ret_index = index;
    return 0;
}

int segment_index_read(const struct directory *d, enum directory_kind kind, uint64_t number,
                       struct segment_index *ret_index)
{
    char name[DIRECTORY_NAME_BYTES_MAX];
    uint8_t *data;
    size_t length;
    int err;

    directory_index_name(name, kind, number);
    /* An entry is longer than its block's header, but no segment is full of headers alone. */
    err = io_get(&d->io, name, 2 * d->segment_bytes, &data, &length);
    if (err != 0)
        return err == -EFBIG ? -EBADMSG : err;
    err = file_valid(d, kind, number, data, length) ? take_file(data, ret_index) : -EBADMSG;
    free(data);
    return err;
}
