/* Backups: what the broker says of its files, and later that it has left them alone. */
#include "client.h"

#include <string.h>

/* One piece of memory for all; like->directory need not be terminated. NULL: there is none. */
static struct fanq_backup *backup_new(const struct memory *memory, const struct fanq_backup *like,
                                      size_t directory_bytes)
{
    size_t numbers_bytes = like->segment_count * sizeof(uint64_t);
    size_t cold_bytes = like->cold_segment_count * sizeof(uint64_t);
    struct fanq_backup *backup =
        memory_resize(memory, NULL, sizeof(*backup) + numbers_bytes + cold_bytes + directory_bytes + 1);

    if (backup == NULL)
        return NULL;
    uint64_t *numbers = (uint64_t *)(backup + 1);
    char *text = (char *)(numbers + like->segment_count + like->cold_segment_count);
    *backup = *like;
    backup->segments = numbers;
    backup->cold_segments = numbers + like->segment_count;
    backup->directory = text;
    if (numbers_bytes > 0)
        memcpy(numbers, like->segments, numbers_bytes);
    if (cold_bytes > 0)
        memcpy(numbers + like->segment_count, like->cold_segments, cold_bytes);
    if (directory_bytes > 0)
        memcpy(text, like->directory, directory_bytes);
    text[directory_bytes] = '\0';
    return backup;
}

struct fanq_backup *fanq_backup_copy(const struct memory *memory, const struct fanq_backup *from)
{
    return backup_new(memory, from, strlen(from->directory));
}

int fanq_backup_tell(struct fanq *client, struct request *request, const struct fanq_backup_reply *reply)
{
    const struct fanq_backup like = {.directory = (const char *)reply->directory.data,
                                     .directory_id = reply->directory_id,
                                     .end_lsn = reply->end_lsn,
                                     .segment_bytes = reply->segment_bytes,
                                     .segments = reply->segments,
                                     .segment_count = reply->segment_count,
                                     .cold_segments = reply->cold_segments,
                                     .cold_segment_count = reply->cold_segment_count};
    struct fanq_backup *backup = backup_new(&client->memory, &like, reply->directory.length);
    struct fanq_error ok;

    if (backup == NULL)
        return FANQ_ERR_NOMEM;
    fanq_error_set(&ok, 0);
    request->cb.backup(client, &ok, backup, request->user);
    memory_free(&client->memory, backup);
    return 0;
}

void fanq_backup_free(struct fanq *client, struct fanq_backup *backup)
{
    memory_free(&client->memory, backup);
}

int fanq_backup_begin(struct fanq *client, fanq_backup_cb cb, void *user)
{
    struct fanq_request wire = {.op = FANQ_OP_BACKUP};
    struct request like = {.kind = REQUEST_BACKUP, .weight = 1, .cb.backup = cb, .user = user};

    return cb != NULL ? fanq_request_submit(client, &wire, &like, 0) : FANQ_ERR_INVALID;
}

int fanq_backup_end(struct fanq *client, fanq_done_cb cb, void *user)
{
    struct fanq_request wire = {.op = FANQ_OP_BACKUP_END};
    struct request like = {.kind = REQUEST_DONE, .weight = 1, .cb.done = cb, .user = user};

    return fanq_request_submit(client, &wire, &like, 0);
}
