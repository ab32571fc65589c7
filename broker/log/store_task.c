/* Every kind of job is: begin, as many writes or reads of 1 MiB as there are, end. A write is synced at once: what is not
 * synced would be written by the system when it likes, in front of a commit.
 *
 * What is left after a failure or a crash is harmless: half a spare is removed, or is filled again when it is used; half a
 * checkpoint is written over by the next; an index that is *.new is removed at the next start; a cold segment with a torn end is
 * not appended to again, for the end is not in its chain. */
#include "store_task.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "checkpoint_file.h"

enum { STEP_BYTES = 1024 * 1024, ZEROS_BYTES = 64 * 1024, ZEROS_PARTS = STEP_BYTES / ZEROS_BYTES };

static uint8_t zeros[ZEROS_BYTES]; /* never written: one page of the system's */

void store_task_init(struct store_task *task, const struct store_job *job)
{
    *task = (struct store_task){.job = *job, .file = -1};
}

static const struct io *io_of(const struct store_files *files)
{
    return &files->directory->io;
}

/* ---- shared by several kinds ---- */

static int write_zeros(const struct io *io, int file, size_t length, uint64_t offset)
{
    struct iovec parts[ZEROS_PARTS];
    int count = 0;

    for (; length > 0; count++) {
        size_t part = length < ZEROS_BYTES ? length : ZEROS_BYTES;
        parts[count] = (struct iovec){.iov_base = zeros, .iov_len = part};
        length -= part;
    }
    return io_write_parts(io, file, parts, count, offset);
}

/* Writes the next piece of data, which is the file's from offset on; NULL: zeros. */
static int write_step(struct store_task *task, const struct io *io, const uint8_t *data, uint64_t offset)
{
    uint64_t left = task->end - task->at;
    size_t length = left < STEP_BYTES ? (size_t)left : STEP_BYTES;
    int err = data != NULL ? io_write(io, task->file, data + task->at, length, offset + task->at)
                           : write_zeros(io, task->file, length, offset + task->at);

    if (err == 0)
        err = io->sync(io->context, task->file);
    if (err == 0)
        task->at += length;
    return err;
}

static void close_own(struct store_task *task, const struct io *io)
{
    if (task->file >= 0)
        io->close(io->context, task->file);
    task->file = -1;
}

static int remove_if_there(const struct io *io, const char *name)
{
    int err = io->remove(io->context, name);

    return err == -ENOENT ? 0 : err;
}

static int sync_names(struct store_task *task, const struct io *io)
{
    return task->named ? io->sync_directory(io->context) : 0;
}

/* ---- reading ---- */

static int read_block(struct store_task *task, struct store_files *files)
{
    const struct store_job *job = &task->job;
    const struct block_header *block = (const struct block_header *)job->read.data;
    size_t length;
    int file, err = store_files_open(files, job->read.segment_kind, job->read.number, false, &file);

    if (err == 0)
        err = io_read(io_of(files), file, job->read.data, job->read.bytes, job->read.offset, &length);
    if (err != 0)
        return err;
    return length == job->read.bytes && block_valid(job->read.data, length, &files->directory->secret) &&
                   block->bytes == length - sizeof(*block)
               ? 0
               : -EBADMSG;
}

/* ---- a segment ahead of its use ---- */

/* Gives the dead segment the spare's name. It has no index from then on. When it is gone a job before this one failed after
 * it had got so far, and the spare is there; or it is made anew. */
static int take_dead(struct store_task *task, struct store_files *files, const char *spare)
{
    char name[DIRECTORY_NAME_BYTES_MAX];
    uint64_t dead = task->job.prepare.recycle;
    int err;

    if (dead == STORE_NO_SEGMENT)
        return 0;
    store_files_forget(files, DIRECTORY_LOG, dead);
    directory_index_name(name, DIRECTORY_LOG, dead);
    err = remove_if_there(io_of(files), name);
    if (err != 0)
        return err;
    directory_segment_name(name, DIRECTORY_LOG, dead);
    err = io_of(files)->rename(io_of(files)->context, name, spare);
    return err == -ENOENT ? 0 : err;
}

/* A dead segment may have been cut short by a crash: what it lacks is filled, as all of a new one is. */
static int prepare_begin(struct store_task *task, struct store_files *files)
{
    const struct io *io = io_of(files);
    char spare[DIRECTORY_NAME_BYTES_MAX];
    int err;

    directory_segment_name(spare, DIRECTORY_SPARE, task->job.prepare.spare);
    err = take_dead(task, files, spare);
    if (err != 0)
        return err;
    err = io->open(io->context, spare, IO_WRITE | IO_CREATE, &task->file);
    if (err != 0)
        return err;
    task->named = true;
    err = io->size(io->context, task->file, &task->at);
    task->end = files->directory->segment_bytes;
    /* Whether there is room is better known at once than after most of it is taken. */
    return err == 0 && task->at < task->end ? io->allocate(io->context, task->file, task->end) : err;
}

/* A new spare that could not be made to its end only takes room, which there may be too little of. */
static void prepare_undo(struct store_task *task, const struct io *io)
{
    char spare[DIRECTORY_NAME_BYTES_MAX];

    if (task->job.prepare.recycle != STORE_NO_SEGMENT || !task->named)
        return;
    directory_segment_name(spare, DIRECTORY_SPARE, task->job.prepare.spare);
    (void)io->remove(io->context, spare); /* the error that led here is told */
}

static int prepare_step(struct store_task *task, struct store_files *files, bool *ret_ended)
{
    const struct io *io = io_of(files);
    int err = 0;

    if (!task->begun)
        err = prepare_begin(task, files);
    else if (task->at < task->end)
        err = write_step(task, io, NULL, 0);
    if (err == 0 && task->at < task->end)
        return 0;
    *ret_ended = true;
    close_own(task, io);
    if (err == 0)
        err = sync_names(task, io);
    if (err != 0)
        prepare_undo(task, io);
    return err;
}

/* ---- an index ---- */

static int index_end(struct store_task *task, const struct directory *d, int err)
{
    struct segment_index index = {.entries = NULL};

    segment_scan_close(&task->scan, err == 0 ? &index : NULL);
    if (err == 0)
        err = segment_index_write(d, &index);
    segment_index_free(&index);
    return err;
}

static int index_step(struct store_task *task, struct store_files *files, bool *ret_ended)
{
    bool scanned = false;
    int err;

    if (!task->begun) {
        err = segment_scan_begin(&task->scan, files->directory, task->job.segment.segment_kind,
                                 task->job.segment.number);
        *ret_ended = err != 0;
        return err;
    }
    err = segment_scan_step(&task->scan, &scanned);
    if (err == 0 && !scanned)
        return 0;
    *ret_ended = true;
    return index_end(task, files->directory, err);
}

/* ---- removing ---- */

/* The index first: one without a segment is nothing, one of another's would be a lie. What is gone already is no error, so
 * that a failed job can be tried again. */
static int remove_segment(struct store_task *task, struct store_files *files)
{
    const struct io *io = io_of(files);
    char name[DIRECTORY_NAME_BYTES_MAX];
    int err = 0;

    store_files_forget(files, task->job.segment.segment_kind, task->job.segment.number);
    if (task->job.segment.segment_kind != DIRECTORY_SPARE) {
        directory_index_name(name, task->job.segment.segment_kind, task->job.segment.number);
        err = remove_if_there(io, name);
    }
    directory_segment_name(name, task->job.segment.segment_kind, task->job.segment.number);
    if (err == 0)
        err = remove_if_there(io, name);
    return err == 0 ? io->sync_directory(io->context) : err;
}

/* ---- a checkpoint ---- */

/* They were handed over for good. */
static void free_facts(struct store_task *task)
{
    free((void *)task->job.checkpoint.facts);
    task->job.checkpoint.facts = NULL;
}

/* Makes the file's bytes of the facts: of a large one this takes too long for the loop. */
static int checkpoint_seal(struct store_task *task, const struct directory *d)
{
    size_t length;

    if (checkpoint_encode(d, &task->job.checkpoint, &task->data, &length) != 0)
        return -ENOMEM;
    task->end = length;
    free_facts(task);
    return 0;
}

/* As checkpoint_file_put(), in steps. */
static int checkpoint_begin(struct store_task *task, const struct directory *d)
{
    int err = checkpoint_seal(task, d);

    return err == 0 ? checkpoint_file_open(d, task->job.checkpoint.number, task->end, &task->file) : err;
}

static int checkpoint_step(struct store_task *task, struct store_files *files, bool *ret_ended)
{
    const struct directory *d = files->directory;
    uint64_t number = task->job.checkpoint.number;
    int err = !task->begun ? checkpoint_begin(task, d) : write_step(task, &d->io, task->data, 0);

    if (err == 0 && task->at < task->end)
        return 0;
    *ret_ended = true;
    close_own(task, &d->io);
    if (err == 0)
        err = checkpoint_file_place(d, number);
    if (err == 0)
        checkpoint_file_make_room(d, number, task->end);
    return err;
}

/* ---- moved blocks ---- */

static int move_begin(struct store_task *task, struct store_files *files)
{
    const struct io *io = io_of(files);
    bool make = task->job.move.offset == 0;
    int err = store_files_open(files, DIRECTORY_COLD, task->job.move.number, make, &task->file);

    task->named = make;
    task->end = task->job.move.bytes;
    return err == 0 && make ? io->truncate(io->context, task->file, 0) : err;
}

/* With an error nobody appends to the segment any more, and one that was to be made has nothing that counts: it would only take
 * room, and the next try makes another. */
static void move_undo(struct store_task *task, struct store_files *files)
{
    const struct io *io = io_of(files);
    char name[DIRECTORY_NAME_BYTES_MAX];

    store_files_forget(files, DIRECTORY_COLD, task->job.move.number);
    if (!task->named)
        return;
    directory_segment_name(name, DIRECTORY_COLD, task->job.move.number);
    (void)io->remove(io->context, name); /* the error that led here is told */
}

/* The file is looked up each time: a read may have closed it in between. */
static int move_write(struct store_task *task, struct store_files *files)
{
    int err = store_files_open(files, DIRECTORY_COLD, task->job.move.number, false, &task->file);

    return err == 0 ? write_step(task, io_of(files), task->job.move.data, task->job.move.offset) : err;
}

static int move_step(struct store_task *task, struct store_files *files, bool *ret_ended)
{
    int err = !task->begun ? move_begin(task, files) : move_write(task, files);

    if (err == 0 && task->at < task->end)
        return 0;
    *ret_ended = true;
    if (err == 0)
        err = sync_names(task, io_of(files));
    if (err != 0)
        move_undo(task, files);
    return err;
}

/* ---- all of them ---- */

static void free_data(struct store_task *task)
{
    if (task->job.kind == STORE_CHECKPOINT)
        free_facts(task);
    free(task->data);
    task->data = NULL;
}

static int step(struct store_task *task, struct store_files *files, bool *ret_ended)
{
    switch (task->job.kind) {
    case STORE_PREPARE:
        return prepare_step(task, files, ret_ended);
    case STORE_INDEX:
        return index_step(task, files, ret_ended);
    case STORE_CHECKPOINT:
        return checkpoint_step(task, files, ret_ended);
    case STORE_MOVE:
        return move_step(task, files, ret_ended);
    case STORE_READ:
        *ret_ended = true;
        return read_block(task, files);
    case STORE_REMOVE:
        *ret_ended = true;
        return remove_segment(task, files);
    }
    assert(!"a job that nobody knows");
    return -EINVAL;
}

int store_task_step(struct store_task *task, struct store_files *files, bool *ret_ended)
{
    int err;

    *ret_ended = false;
    err = step(task, files, ret_ended);
    task->begun = true;
    assert(err == 0 || *ret_ended);
    if (*ret_ended)
        free_data(task);
    return err;
}

void store_task_abandon(struct store_task *task, struct store_files *files)
{
    if (task->begun && task->job.kind == STORE_INDEX)
        segment_scan_close(&task->scan, NULL);
    if (task->job.kind == STORE_PREPARE || task->job.kind == STORE_CHECKPOINT)
        close_own(task, io_of(files));
    free_data(task);
}
