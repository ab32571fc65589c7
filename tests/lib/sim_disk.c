/* The table over the files of sim_platter.c: counts, strikes, and writes down what happened. */
#include "sim_disk.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim_platter.h"

/* Handles are not given twice, so that one from before a crash is not taken for a new one. */
struct handle {
    int number;
    uint32_t file;
    unsigned how;
    char name[SIM_DISK_NAME_BYTES_MAX]; /* when it was opened */
};

struct entry {
    enum sim_disk_operation operation;
    char name[SIM_DISK_NAME_BYTES_MAX];
    uint64_t offset, length;
    int64_t result;
};

struct sim_disk {
    struct sim_platter platter;
    struct random random;
    struct handle *handles;
    uint32_t handle_count;
    int next_handle;
    bool locked;
    uint64_t capacity;

    struct sim_disk_fault fault;
    uint64_t strikes;
    bool interrupted; /* by a sticky EINTR, the last time */
    uint64_t stop_at;

    struct entry *entries; /* one for each operation */
    uint64_t entry_count, entry_capacity;
};

struct sim_disk *sim_disk_new(uint64_t seed)
{
    struct sim_disk *d = sim_memory(NULL, sizeof *d);

    *d = (struct sim_disk){.random = {seed}, .capacity = UINT64_MAX, .next_handle = 1};
    return d;
}

void sim_disk_free(struct sim_disk *d)
{
    if (d == NULL)
        return;
    sim_platter_close(&d->platter);
    free(d->handles);
    free(d->entries);
    free(d);
}

struct sim_disk *sim_disk_clone(const struct sim_disk *disk, uint64_t seed)
{
    struct sim_disk *d = sim_disk_new(seed);

    sim_platter_copy(&d->platter, &disk->platter);
    d->capacity = disk->capacity;
    return d;
}

/* ---- the log of operations ---- */

/* How one operation goes. */
struct turn {
    int error;   /* it fails with this */
    bool halved; /* it reads or writes half */
    bool last;   /* it does what it does to the files, and the power goes */
};

static bool interrupts(struct sim_disk *d)
{
    d->interrupted = !(d->fault.sticky && d->interrupted);
    return d->interrupted;
}

static bool strikes(struct sim_disk *d, enum sim_disk_operation operation, uint64_t number)
{
    const struct sim_disk_fault *fault = &d->fault;

    if (fault->at == 0 || (fault->sticky ? number < fault->at : number != fault->at) ||
        (fault->operations & SIM_DISK_SET(operation)) == 0)
        return false;
    if (fault->error == EINTR && !interrupts(d))
        return false;
    d->strikes++;
    return true;
}

/* Begins an operation: writes it down, and says how it goes. */
static struct turn begin(struct sim_disk *d, enum sim_disk_operation operation, const char *name,
                         uint64_t offset, uint64_t length)
{
    struct entry *entry;
    uint64_t number = d->entry_count + 1;

    if (d->entry_count == d->entry_capacity) {
        d->entry_capacity = d->entry_capacity > 0 ? 2 * d->entry_capacity : 64;
        d->entries = sim_memory(d->entries, d->entry_capacity * sizeof *d->entries);
    }
    entry = &d->entries[d->entry_count++];
    *entry = (struct entry){.operation = operation, .offset = offset, .length = length};
    strncpy(entry->name, name, sizeof entry->name - 1);
    if (d->stop_at != 0 && number >= d->stop_at)
        return (struct turn){.error = -EIO, .last = number == d->stop_at};
    if (strikes(d, operation, number))
        return (struct turn){.error = -d->fault.error, .halved = d->fault.error == 0};
    return (struct turn){0};
}

static int64_t end(struct sim_disk *d, int64_t result)
{
    d->entries[d->entry_count - 1].result = result;
    return result;
}

uint64_t sim_disk_operations(const struct sim_disk *d)
{
    return d->entry_count;
}

enum sim_disk_operation sim_disk_operation(const struct sim_disk *d, uint64_t number)
{
    assert(number >= 1 && number <= d->entry_count);
    return d->entries[number - 1].operation;
}

unsigned sim_disk_open_files(const struct sim_disk *d)
{
    return d->handle_count;
}

void sim_disk_print(const struct sim_disk *d, FILE *out, uint64_t count)
{
    static const char *const words[] = {"open",     "read",   "write",  "sync",           "size", "truncate",
                                        "allocate", "rename", "remove", "sync-directory", "list", "lock"};
    uint64_t first = d->entry_count > count ? d->entry_count - count : 0;

    for (uint64_t i = first; i < d->entry_count; i++) {
        const struct entry *e = &d->entries[i];
        fprintf(out, "%" PRIu64 " %s %s %" PRIu64 " %" PRIu64 ": %" PRId64 "\n", i + 1, words[e->operation],
                e->name, e->offset, e->length, e->result);
    }
}

/* ---- handles ---- */

static struct handle *handle_find(struct sim_disk *d, int number)
{
    for (uint32_t i = 0; i < d->handle_count; i++) {
        if (d->handles[i].number == number)
            return &d->handles[i];
    }
    return NULL;
}

static const char *name_of(struct sim_disk *d, int number)
{
    const struct handle *h = handle_find(d, number);

    return h != NULL ? h->name : "?";
}

static int handle_add(struct sim_disk *d, uint32_t file, unsigned how, const char *name)
{
    struct handle *h;

    d->handles = sim_memory(d->handles, (d->handle_count + 1) * sizeof *d->handles);
    h = &d->handles[d->handle_count++];
    *h = (struct handle){.number = d->next_handle++, .file = file, .how = how};
    strcpy(h->name, name);
    return h->number;
}

static bool file_is_open(const void *context, uint32_t file)
{
    const struct sim_disk *d = context;

    for (uint32_t i = 0; i < d->handle_count; i++) {
        if (d->handles[i].file == file)
            return true;
    }
    return false;
}

/* ---- files ---- */

static int disk_open(void *context, const char *name, unsigned how, int *ret_file)
{
    struct sim_disk *d = context;
    struct turn turn = begin(d, SIM_DISK_OPEN, name, 0, 0);
    uint32_t file = sim_names_find(&d->platter.seen, name);

    if (strlen(name) >= SIM_DISK_NAME_BYTES_MAX)
        return (int)end(d, -ENAMETOOLONG);
    if ((turn.error == 0 || turn.last) && file == SIM_NO_FILE && (how & IO_CREATE) != 0)
        file = sim_platter_make(&d->platter, name);
    if (turn.error != 0)
        return (int)end(d, turn.error);
    if (file == SIM_NO_FILE)
        return (int)end(d, -ENOENT);
    *ret_file = handle_add(d, file, how, name);
    return 0;
}

static void disk_close(void *context, int file)
{
    struct sim_disk *d = context;
    struct handle *h = handle_find(d, file);

    if (h != NULL) /* it may be from before a crash */
        *h = d->handles[--d->handle_count];
}

static int64_t disk_read_at(void *context, int file, void *data, size_t length, uint64_t offset)
{
    struct sim_disk *d = context;
    struct turn turn = begin(d, SIM_DISK_READ, name_of(d, file), offset, length);
    const struct handle *h = handle_find(d, file);
    const struct sim_bytes *seen;

    if (turn.error != 0)
        return end(d, turn.error);
    if (h == NULL || (h->how & IO_READ) == 0)
        return end(d, -EBADF);
    seen = &d->platter.files[h->file].seen;
    if (offset >= seen->length)
        return end(d, 0);
    if (length > seen->length - offset)
        length = seen->length - offset;
    if (turn.halved)
        length = (length + 1) / 2;
    memcpy(data, seen->data + offset, length);
    return end(d, (int64_t)length);
}

uint64_t sim_disk_bytes(const struct sim_disk *d)
{
    return sim_platter_bytes(&d->platter);
}

/* How many of these bytes find room: what does not make the file longer always does. */
static uint64_t room_for(const struct sim_disk *d, uint32_t file, uint64_t offset, uint64_t length)
{
    uint64_t used = sim_platter_bytes(&d->platter);
    uint64_t may_end = d->platter.files[file].seen.length + (d->capacity > used ? d->capacity - used : 0);

    if (d->capacity == UINT64_MAX || offset + length <= may_end)
        return length;
    return offset < may_end ? may_end - offset : 0;
}

static uint8_t *gather(const struct iovec *parts, int part_count, uint64_t *ret_length)
{
    uint64_t length = 0, at = 0;
    uint8_t *data;

    for (int i = 0; i < part_count; i++)
        length += parts[i].iov_len;
    data = sim_memory(NULL, length + 1);
    for (int i = 0; i < part_count; i++) {
        if (parts[i].iov_len > 0)
            memcpy(data + at, parts[i].iov_base, parts[i].iov_len);
        at += parts[i].iov_len;
    }
    *ret_length = length;
    return data;
}

static int64_t write_gathered(struct sim_disk *d, int file, const uint8_t *data, uint64_t length,
                              uint64_t offset)
{
    struct turn turn = begin(d, SIM_DISK_WRITE, name_of(d, file), offset, length);
    const struct handle *h = handle_find(d, file);
    uint64_t taken;

    if (turn.error != 0 && !turn.last)
        return turn.error;
    if (h == NULL || (h->how & IO_WRITE) == 0)
        return turn.last ? turn.error : -EBADF;
    taken = room_for(d, h->file, offset, turn.halved ? (length + 1) / 2 : length);
    if (taken == 0 && length > 0)
        return turn.last ? turn.error : -ENOSPC;
    sim_platter_write(&d->platter, h->file, offset, data, taken);
    return turn.last ? turn.error : (int64_t)taken;
}

static int64_t disk_write_at(void *context, int file, const struct iovec *parts, int part_count,
                             uint64_t offset)
{
    struct sim_disk *d = context;
    uint64_t length;
    uint8_t *data = gather(parts, part_count, &length);
    int64_t result = end(d, write_gathered(d, file, data, length, offset));

    free(data);
    return result;
}

static int disk_sync(void *context, int file)
{
    struct sim_disk *d = context;
    struct turn turn = begin(d, SIM_DISK_SYNC, name_of(d, file), 0, 0);
    const struct handle *h = handle_find(d, file);

    if (h == NULL)
        return (int)end(d, turn.error != 0 ? turn.error : -EBADF);
    if (turn.error == 0)
        sim_platter_sync(&d->platter, h->file);
    else if (!sim_disk_stopped(d)) /* else a crash decides */
        sim_platter_give_up(&d->platter, h->file);
    return (int)end(d, turn.error);
}

static int disk_size(void *context, int file, uint64_t *ret_bytes)
{
    struct sim_disk *d = context;
    struct turn turn = begin(d, SIM_DISK_SIZE, name_of(d, file), 0, 0);
    const struct handle *h = handle_find(d, file);

    if (turn.error == 0 && h == NULL)
        turn.error = -EBADF;
    if (turn.error == 0)
        *ret_bytes = d->platter.files[h->file].seen.length;
    return (int)end(d, turn.error);
}

static int disk_truncate(void *context, int file, uint64_t bytes)
{
    struct sim_disk *d = context;
    struct turn turn = begin(d, SIM_DISK_TRUNCATE, name_of(d, file), 0, bytes);
    const struct handle *h = handle_find(d, file);

    if (turn.error == 0 && (h == NULL || (h->how & IO_WRITE) == 0))
        turn.error = -EBADF;
    if (turn.error == 0 || (turn.last && h != NULL))
        sim_platter_truncate(&d->platter, h->file, bytes);
    return (int)end(d, turn.error);
}

/* What is allocated is made longer at once, or not at all. */
static int disk_allocate(void *context, int file, uint64_t bytes)
{
    struct sim_disk *d = context;
    struct turn turn = begin(d, SIM_DISK_ALLOCATE, name_of(d, file), 0, bytes);
    const struct handle *h = handle_find(d, file);
    uint64_t length = h != NULL ? d->platter.files[h->file].seen.length : 0;

    if (turn.error == 0 && (h == NULL || (h->how & IO_WRITE) == 0))
        turn.error = -EBADF;
    else if (turn.error == 0 && bytes > length &&
             room_for(d, h->file, length, bytes - length) < bytes - length)
        turn.error = -ENOSPC;
    if ((turn.error == 0 || (turn.last && h != NULL)) && bytes > length)
        sim_platter_truncate(&d->platter, h->file, bytes);
    return (int)end(d, turn.error);
}

/* ---- the directory ---- */

static int disk_rename(void *context, const char *from, const char *to)
{
    struct sim_disk *d = context;
    struct turn turn = begin(d, SIM_DISK_RENAME, from, 0, 0);
    bool there = sim_names_find(&d->platter.seen, from) != SIM_NO_FILE;

    if (turn.error == 0 && !there)
        turn.error = -ENOENT;
    if (turn.error == 0 || (turn.last && there))
        sim_platter_rename(&d->platter, from, to);
    return (int)end(d, turn.error);
}

static int disk_remove(void *context, const char *name)
{
    struct sim_disk *d = context;
    struct turn turn = begin(d, SIM_DISK_REMOVE, name, 0, 0);
    bool there = sim_names_find(&d->platter.seen, name) != SIM_NO_FILE;

    if (turn.error == 0 && !there)
        turn.error = -ENOENT;
    if (turn.error == 0 || (turn.last && there))
        sim_platter_remove(&d->platter, name);
    return (int)end(d, turn.error);
}

static int disk_sync_directory(void *context)
{
    struct sim_disk *d = context;
    struct turn turn = begin(d, SIM_DISK_SYNC_DIRECTORY, "", 0, 0);

    if (turn.error == 0) {
        sim_platter_sync_directory(&d->platter);
        sim_platter_collect(&d->platter, file_is_open, d);
    }
    return (int)end(d, turn.error);
}

/* `each` may use the disk: it is given copies. */
static int disk_list(void *context, int (*each)(void *context, const char *name), void *each_context)
{
    struct sim_disk *d = context;
    struct turn turn = begin(d, SIM_DISK_LIST, "", 0, 0);
    uint32_t count = d->platter.seen.count;
    struct sim_name *names;
    int result = 0;

    if (turn.error != 0)
        return (int)end(d, turn.error);
    names = sim_memory(NULL, (count + 1) * sizeof *names);
    for (uint32_t i = 0; i < count; i++)
        names[i] = d->platter.seen.items[i];
    for (uint32_t i = 0; result == 0 && i < count; i++)
        result = each(each_context, names[i].text);
    free(names);
    return result;
}

static int disk_lock(void *context, const char *name)
{
    struct sim_disk *d = context;
    struct turn turn = begin(d, SIM_DISK_LOCK, name, 0, 0);

    if (turn.error == 0 && d->locked)
        turn.error = -EWOULDBLOCK;
    if ((turn.error == 0 || turn.last) && sim_names_find(&d->platter.seen, name) == SIM_NO_FILE)
        sim_platter_make(&d->platter, name);
    d->locked = d->locked || turn.error == 0;
    return (int)end(d, turn.error);
}

struct io sim_disk_io(struct sim_disk *d)
{
    return (struct io){
        .context = d,
        .open = disk_open,
        .close = disk_close,
        .read_at = disk_read_at,
        .write_at = disk_write_at,
        .sync = disk_sync,
        .size = disk_size,
        .truncate = disk_truncate,
        .allocate = disk_allocate,
        .rename = disk_rename,
        .remove = disk_remove,
        .sync_directory = disk_sync_directory,
        .list = disk_list,
        .lock = disk_lock,
    };
}

/* ---- faults, and ends ---- */

void sim_disk_fault(struct sim_disk *d, const struct sim_disk_fault *fault)
{
    d->fault = *fault;
    d->strikes = 0;
    d->interrupted = false;
}

uint64_t sim_disk_strikes(const struct sim_disk *d)
{
    return d->strikes;
}

void sim_disk_set_capacity(struct sim_disk *d, uint64_t bytes)
{
    d->capacity = bytes;
}

void sim_disk_stop_at(struct sim_disk *d, uint64_t number)
{
    d->stop_at = number;
}

bool sim_disk_stopped(const struct sim_disk *d)
{
    return d->stop_at != 0 && d->entry_count >= d->stop_at;
}

void sim_disk_kill(struct sim_disk *d)
{
    d->handle_count = 0;
    d->locked = false;
    d->fault = (struct sim_disk_fault){0};
    d->strikes = 0;
    d->interrupted = false;
    d->stop_at = 0;
    d->entry_count = 0;
}

void sim_disk_crash(struct sim_disk *d, enum sim_disk_crash crash)
{
    sim_disk_kill(d);
    sim_platter_crash(&d->platter, crash, &d->random);
}

/* ---- by hand ---- */

static struct sim_bytes *seen_of(struct sim_disk *d, const char *name)
{
    uint32_t file = sim_names_find(&d->platter.seen, name);

    assert(file != SIM_NO_FILE);
    return &d->platter.files[file].seen;
}

const uint8_t *sim_disk_content(const struct sim_disk *d, const char *name, uint64_t *ret_length)
{
    uint32_t file = sim_names_find(&d->platter.seen, name);

    if (file == SIM_NO_FILE)
        return NULL;
    *ret_length = d->platter.files[file].seen.length;
    return *ret_length > 0 ? d->platter.files[file].seen.data : (const uint8_t *)"";
}

const uint8_t *sim_disk_kept(const struct sim_disk *d, const char *name, uint64_t *ret_length)
{
    uint32_t file = sim_names_find(&d->platter.kept, name);

    if (file == SIM_NO_FILE)
        return NULL;
    *ret_length = d->platter.files[file].kept.length;
    return *ret_length > 0 ? d->platter.files[file].kept.data : (const uint8_t *)"";
}

/* Sweeps flip a byte, look, and flip it back, so this one is quick when nothing waits. */
void sim_disk_flip(struct sim_disk *d, const char *name, uint64_t offset, uint8_t mask)
{
    struct sim_file *file;

    if (d->platter.change_count > 0)
        sim_platter_settle(&d->platter);
    file = &d->platter.files[sim_names_find(&d->platter.seen, name)];
    assert(offset < file->seen.length);
    file->seen.data[offset] ^= mask;
    if (offset < file->kept.length) /* it is shorter where a failed sync lost something */
        file->kept.data[offset] ^= mask;
}

void sim_disk_cut(struct sim_disk *d, const char *name, uint64_t length)
{
    assert(length <= seen_of(d, name)->length);
    sim_platter_truncate(&d->platter, sim_names_find(&d->platter.seen, name), length);
    sim_platter_settle(&d->platter);
}

void sim_disk_put(struct sim_disk *d, const char *name, const void *data, uint64_t length)
{
    uint32_t file = sim_names_find(&d->platter.seen, name);

    if (file == SIM_NO_FILE)
        file = sim_platter_make(&d->platter, name);
    sim_platter_truncate(&d->platter, file, length);
    sim_platter_write(&d->platter, file, 0, data, length);
    sim_platter_settle(&d->platter);
}

void sim_disk_drop(struct sim_disk *d, const char *name)
{
    assert(sim_names_find(&d->platter.seen, name) != SIM_NO_FILE);
    sim_platter_remove(&d->platter, name);
    sim_platter_settle(&d->platter);
}
