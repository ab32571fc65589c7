#include "checkpoint.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/fanq_error.h"

enum { CHECKPOINT_MAGIC = 0x504b4346 /* "FCKP" */, CHECKPOINT_VERSION = 1 };

struct checkpoint_header {
    uint32_t magic;
    uint16_t version;
    uint16_t unused;
    uint64_t directory_id;
    uint64_t number;
    uint64_t lsn;
    uint64_t next_commit;
    uint64_t time_ms;
    uint64_t fact_count;
    uint64_t fact_bytes;
    uint64_t accepted_lsn;
    uint64_t accepted_cold;
} __attribute__((packed));

_Static_assert(sizeof(struct checkpoint_header) == 80, "the format is fixed");

_Static_assert(CHECKPOINT_FRAME_BYTES == sizeof(struct checkpoint_header) + sizeof(uint64_t),
               "what stands around the facts");

/* Far more than any state that fits into memory; a file beyond it is not ours. */
#define CHECKPOINT_BYTES_MAX (UINT64_C(1) << 36)

static uint64_t checkpoint_hash(const struct directory *d, const uint8_t *data, size_t length)
{
    return XXH3_64bits_withSeed(data, length, d->secret.commit_seed);
}

const char *checkpoint_name(uint64_t number)
{
    return number % 2 == 1 ? "checkpoint-a" : "checkpoint-b";
}

/* ---- writing ---- */

int checkpoint_encode(const struct directory *d, const struct checkpoint *checkpoint, uint8_t **ret_data,
                      size_t *ret_length)
{
    const struct checkpoint_header header = {.magic = CHECKPOINT_MAGIC,
                                             .version = CHECKPOINT_VERSION,
                                             .directory_id = d->id,
                                             .number = checkpoint->number,
                                             .lsn = checkpoint->lsn,
                                             .next_commit = checkpoint->next_commit,
                                             .time_ms = checkpoint->time_ms,
                                             .fact_count = checkpoint->fact_count,
                                             .fact_bytes = checkpoint->fact_bytes,
                                             .accepted_lsn = checkpoint->accepted_lsn,
                                             .accepted_cold = checkpoint->accepted_cold};
    size_t hashed = sizeof(header) + checkpoint->fact_bytes;
    uint8_t *data = malloc(hashed + sizeof(uint64_t));
    uint64_t hash;

    if (data == NULL)
        return FANQ_ERR_NOMEM;
    memcpy(data, &header, sizeof(header));
    if (checkpoint->fact_bytes > 0)
        memcpy(data + sizeof(header), checkpoint->facts, checkpoint->fact_bytes);
    hash = checkpoint_hash(d, data, hashed);
    memcpy(data + hashed, &hash, sizeof(hash));
    *ret_data = data;
    *ret_length = hashed + sizeof(hash);
    return 0;
}

/* ---- reading ---- */

/* Whether the bytes are a checkpoint of this directory that belongs into the file of this name. */
static bool checkpoint_decode(const struct directory *d, const char *name, const uint8_t *data, size_t length,
                              struct checkpoint *ret_checkpoint)
{
    struct checkpoint_header header;
    size_t hashed;
    uint64_t hash;

    if (length < CHECKPOINT_FRAME_BYTES)
        return false;
    memcpy(&header, data, sizeof(header));
    if (header.magic != CHECKPOINT_MAGIC || header.version != CHECKPOINT_VERSION ||
        header.directory_id != d->id || header.fact_bytes > length - CHECKPOINT_FRAME_BYTES)
        return false;
    hashed = sizeof(header) + (size_t)header.fact_bytes;
    memcpy(&hash, data + hashed, sizeof(hash));
    if (hash != checkpoint_hash(d, data, hashed) || strcmp(checkpoint_name(header.number), name) != 0)
        return false;
    *ret_checkpoint = (struct checkpoint){.number = header.number,
                                          .lsn = header.lsn,
                                          .next_commit = header.next_commit,
                                          .time_ms = header.time_ms,
                                          .fact_count = header.fact_count,
                                          .facts = data + sizeof(header),
                                          .fact_bytes = header.fact_bytes,
                                          .accepted_lsn = header.accepted_lsn,
                                          .accepted_cold = header.accepted_cold};
    return true;
}

static int read_one(const struct directory *d, const char *name, struct checkpoints *c)
{
    uint8_t *data;
    size_t length;
    int err = io_get(&d->io, name, CHECKPOINT_BYTES_MAX, &data, &length);

    if (err == -ENOENT)
        return 0;
    if (err == -ENOMEM)
        return FANQ_ERR_NOMEM;
    if (err != 0 && err != -EFBIG)
        return FANQ_ERR_IO;
    if (err == 0 && checkpoint_decode(d, name, data, length, &c->items[c->count])) {
        c->data[c->count++] = data;
        return 0;
    }
    if (err == 0)
        free(data);
    c->damaged[c->damaged_count++] = name;
    return 0;
}

static void newest_first(struct checkpoints *c)
{
    struct checkpoint item = c->items[0];
    uint8_t *data = c->data[0];

    if (c->count < 2 || c->items[0].number > c->items[1].number)
        return;
    c->items[0] = c->items[1];
    c->data[0] = c->data[1];
    c->items[1] = item;
    c->data[1] = data;
}

int checkpoints_read(const struct directory *d, struct checkpoints *ret_checkpoints)
{
    struct checkpoints c = {.count = 0};
    int err = read_one(d, checkpoint_name(1), &c);

    if (err == 0)
        err = read_one(d, checkpoint_name(2), &c);
    if (err != 0) {
        checkpoints_free(&c);
        return err;
    }
    newest_first(&c);
    *ret_checkpoints = c;
    return 0;
}

void checkpoints_free(struct checkpoints *c)
{
    for (int i = 0; i < c->count; i++)
        free(c->data[i]);
    c->count = 0;
}
