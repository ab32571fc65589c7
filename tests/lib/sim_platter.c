#include "sim_platter.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void *sim_memory(void *old, size_t bytes)
{
    void *memory = realloc(old, bytes);

    if (memory == NULL)
        memory = realloc(old, bytes);
    if (memory == NULL)
        abort();
    return memory;
}

/* ---- bytes ---- */

static void bytes_resize(struct sim_bytes *b, uint64_t length)
{
    if (length > b->capacity) {
        b->capacity = length > 2 * b->capacity ? length : 2 * b->capacity;
        b->data = sim_memory(b->data, b->capacity);
    }
    if (length > b->length)
        memset(b->data + b->length, 0, length - b->length);
    b->length = length;
}

static void bytes_write(struct sim_bytes *b, uint64_t offset, const void *data, uint64_t length)
{
    if (length == 0)
        return;
    if (offset + length > b->length)
        bytes_resize(b, offset + length);
    memcpy(b->data + offset, data, length);
}

static void bytes_set(struct sim_bytes *to, const struct sim_bytes *from)
{
    bytes_resize(to, from->length);
    if (from->length > 0)
        memcpy(to->data, from->data, from->length);
}

/* ---- names ---- */

static struct sim_name *name_at(const struct sim_names *names, const char *text)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i].text, text) == 0)
            return &names->items[i];
    }
    return NULL;
}

uint32_t sim_names_find(const struct sim_names *names, const char *text)
{
    const struct sim_name *name = name_at(names, text);

    return name != NULL ? name->file : SIM_NO_FILE;
}

static void names_put(struct sim_names *names, const char *text, uint32_t file)
{
    struct sim_name *name = name_at(names, text);

    if (name == NULL) {
        names->items = sim_memory(names->items, (names->count + 1) * sizeof *names->items);
        name = &names->items[names->count++];
        assert(strlen(text) < sizeof name->text);
        strcpy(name->text, text);
    }
    name->file = file;
}

static void names_drop(struct sim_names *names, const char *text)
{
    struct sim_name *name = name_at(names, text);

    if (name != NULL)
        *name = names->items[--names->count];
}

static void names_set(struct sim_names *to, const struct sim_names *from)
{
    if (from->count > 0) {
        to->items = sim_memory(to->items, from->count * sizeof *to->items);
        memcpy(to->items, from->items, from->count * sizeof *to->items);
    }
    to->count = from->count;
}

/* ---- life ---- */

static void change_drop(struct sim_change *change)
{
    free(change->data);
}

static void changes_clear(struct sim_platter *p)
{
    for (size_t i = 0; i < p->change_count; i++)
        change_drop(&p->changes[i]);
    p->change_count = 0;
}

void sim_platter_close(struct sim_platter *p)
{
    changes_clear(p);
    for (uint32_t i = 0; i < p->file_count; i++) {
        free(p->files[i].seen.data);
        free(p->files[i].kept.data);
    }
    free(p->files);
    free(p->seen.items);
    free(p->kept.items);
    free(p->changes);
    *p = (struct sim_platter){0};
}

static struct sim_change *change_add(struct sim_platter *p, struct sim_change change)
{
    if (p->change_count == p->change_capacity) {
        p->change_capacity = p->change_capacity > 0 ? 2 * p->change_capacity : 16;
        p->changes = sim_memory(p->changes, p->change_capacity * sizeof *p->changes);
    }
    p->changes[p->change_count] = change;
    return &p->changes[p->change_count++];
}

static uint8_t *copy_of(const void *data, uint64_t length)
{
    uint8_t *copy = sim_memory(NULL, length > 0 ? length : 1);

    if (length > 0)
        memcpy(copy, data, length);
    return copy;
}

void sim_platter_copy(struct sim_platter *to, const struct sim_platter *from)
{
    *to = (struct sim_platter){.file_count = from->file_count};
    if (from->file_count > 0)
        to->files = sim_memory(NULL, from->file_count * sizeof *to->files);
    for (uint32_t i = 0; i < from->file_count; i++) {
        to->files[i] = (struct sim_file){0};
        bytes_set(&to->files[i].seen, &from->files[i].seen);
        bytes_set(&to->files[i].kept, &from->files[i].kept);
    }
    names_set(&to->seen, &from->seen);
    names_set(&to->kept, &from->kept);
    for (size_t i = 0; i < from->change_count; i++) {
        struct sim_change *change = change_add(to, from->changes[i]);
        if (change->data != NULL)
            change->data = copy_of(change->data, change->length);
    }
}

uint64_t sim_platter_bytes(const struct sim_platter *p)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < p->seen.count; i++)
        bytes += p->files[p->seen.items[i].file].seen.length;
    return bytes;
}

/* ---- a change in one world ---- */

static void names_apply(struct sim_names *names, const struct sim_change *change)
{
    uint32_t file;

    switch (change->kind) {
    case SIM_CHANGE_MAKE:
        names_put(names, change->name, change->file);
        break;
    case SIM_CHANGE_RENAME:
        file = sim_names_find(names, change->name);
        assert(file != SIM_NO_FILE); /* all that came before was applied */
        names_drop(names, change->name);
        names_put(names, change->other, file);
        break;
    case SIM_CHANGE_REMOVE:
        names_drop(names, change->name);
        break;
    default:
        assert(!"not a change of the directory");
    }
}

static bool of_directory(const struct sim_change *change)
{
    return change->kind >= SIM_CHANGE_MAKE;
}

static bool of_file(const struct sim_change *change, uint32_t file)
{
    return !of_directory(change) && change->file == file;
}

static void keep_whole(struct sim_platter *p, const struct sim_change *change)
{
    struct sim_bytes *kept = &p->files[change->file].kept;

    if (of_directory(change))
        names_apply(&p->kept, change);
    else if (change->kind == SIM_CHANGE_TRUNCATE)
        bytes_resize(kept, change->length);
    else
        bytes_write(kept, change->offset, change->data, change->length);
}

/* ---- changes ---- */

static void directory_change(struct sim_platter *p, enum sim_change_kind kind, uint32_t file,
                             const char *name, const char *other)
{
    struct sim_change change = {.kind = kind, .file = file};

    assert(strlen(name) < sizeof change.name && strlen(other) < sizeof change.other);
    strcpy(change.name, name);
    strcpy(change.other, other);
    names_apply(&p->seen, change_add(p, change));
}

uint32_t sim_platter_make(struct sim_platter *p, const char *name)
{
    p->files = sim_memory(p->files, (p->file_count + 1) * sizeof *p->files);
    p->files[p->file_count] = (struct sim_file){0};
    directory_change(p, SIM_CHANGE_MAKE, p->file_count, name, "");
    return p->file_count++;
}

void sim_platter_write(struct sim_platter *p, uint32_t file, uint64_t offset, const void *data,
                       uint64_t length)
{
    bytes_write(&p->files[file].seen, offset, data, length);
    change_add(p, (struct sim_change){.kind = SIM_CHANGE_WRITE,
                                      .file = file,
                                      .offset = offset,
                                      .length = length,
                                      .data = copy_of(data, length)});
}

void sim_platter_truncate(struct sim_platter *p, uint32_t file, uint64_t length)
{
    bytes_resize(&p->files[file].seen, length);
    change_add(p, (struct sim_change){.kind = SIM_CHANGE_TRUNCATE, .file = file, .length = length});
}

void sim_platter_rename(struct sim_platter *p, const char *from, const char *to)
{
    directory_change(p, SIM_CHANGE_RENAME, SIM_NO_FILE, from, to);
}

void sim_platter_remove(struct sim_platter *p, const char *name)
{
    directory_change(p, SIM_CHANGE_REMOVE, SIM_NO_FILE, name, "");
}

/* ---- keeping them ---- */

/* Takes the changes out that are of the file (of the directory: SIM_NO_FILE); kept, or given up. */
static void changes_settle(struct sim_platter *p, uint32_t file, bool keep)
{
    size_t left = 0;

    for (size_t i = 0; i < p->change_count; i++) {
        struct sim_change change = p->changes[i];
        if (file == SIM_NO_FILE ? !of_directory(&change) : !of_file(&change, file)) {
            p->changes[left++] = change;
            continue;
        }
        if (keep)
            keep_whole(p, &change);
        change_drop(&change);
    }
    p->change_count = left;
}

void sim_platter_sync(struct sim_platter *p, uint32_t file)
{
    changes_settle(p, file, true);
}

void sim_platter_give_up(struct sim_platter *p, uint32_t file)
{
    changes_settle(p, file, false);
}

void sim_platter_sync_directory(struct sim_platter *p)
{
    changes_settle(p, SIM_NO_FILE, true);
}

static bool has_name(const struct sim_names *names, uint32_t file)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (names->items[i].file == file)
            return true;
    }
    return false;
}

void sim_platter_collect(struct sim_platter *p, bool (*open)(const void *context, uint32_t file),
                         const void *context)
{
    for (uint32_t i = 0; i < p->file_count; i++) {
        struct sim_file *file = &p->files[i];
        if (file->seen.data == NULL || has_name(&p->seen, i) || has_name(&p->kept, i) || open(context, i))
            continue;
        sim_platter_give_up(p, i);
        free(file->seen.data);
        free(file->kept.data);
        *file = (struct sim_file){0};
    }
}

void sim_platter_settle(struct sim_platter *p)
{
    changes_clear(p);
    names_set(&p->kept, &p->seen);
    for (uint32_t i = 0; i < p->file_count; i++)
        bytes_set(&p->files[i].kept, &p->files[i].seen);
}

/* ---- a crash ---- */

/* Each change of the directory as long as a coin says so, and then none. */
static void crash_directory(struct sim_platter *p, enum sim_disk_crash crash, struct random *random)
{
    bool ended = crash == SIM_DISK_LOSE;

    for (size_t i = 0; i < p->change_count; i++) {
        if (!of_directory(&p->changes[i]))
            continue;
        if (crash != SIM_DISK_LOSE && crash != SIM_DISK_KEEP)
            ended = ended || random_below(random, 4) == 0;
        if (!ended)
            keep_whole(p, &p->changes[i]);
    }
}

/* A sector of the disk, not of the write: both ends of the write may lie within one. */
static void keep_sectors(struct sim_bytes *kept, const struct sim_change *change, struct random *random)
{
    uint64_t at = change->offset, end = change->offset + change->length;

    while (at < end) {
        uint64_t next = (at / SIM_DISK_SECTOR_BYTES + 1) * SIM_DISK_SECTOR_BYTES;
        if (next > end)
            next = end;
        if (random_below(random, 2) == 0)
            bytes_write(kept, at, change->data + (at - change->offset), next - at);
        at = next;
    }
}

static void crash_change(struct sim_platter *p, const struct sim_change *change, enum sim_disk_crash crash,
                         struct random *random)
{
    struct sim_bytes *kept = &p->files[change->file].kept;
    bool write = change->kind == SIM_CHANGE_WRITE;

    if (write && crash == SIM_DISK_SECTORS)
        keep_sectors(kept, change, random);
    else if (write && crash == SIM_DISK_TEAR)
        bytes_write(kept, change->offset, change->data, random_below(random, change->length + 1));
    else if (crash == SIM_DISK_KEEP || (crash != SIM_DISK_LOSE && random_below(random, 2) == 0))
        keep_whole(p, change);
}

static void shuffle(struct sim_change *changes, size_t count, struct random *random)
{
    for (size_t i = count; i > 1; i--) {
        size_t other = random_below(random, i);
        struct sim_change change = changes[i - 1];
        changes[i - 1] = changes[other];
        changes[other] = change;
    }
}

/* Files without a name are gone. Nobody has any open, so the others can be numbered anew. */
static void files_compact(struct sim_platter *p)
{
    struct sim_file *files = sim_memory(NULL, (p->kept.count + 1) * sizeof *files);

    for (uint32_t i = 0; i < p->kept.count; i++) {
        struct sim_name *name = &p->kept.items[i];
        files[i] = p->files[name->file];
        p->files[name->file] = (struct sim_file){0};
        name->file = i;
    }
    for (uint32_t i = 0; i < p->file_count; i++) {
        free(p->files[i].seen.data);
        free(p->files[i].kept.data);
    }
    free(p->files);
    p->files = files;
    p->file_count = p->kept.count;
}

void sim_platter_crash(struct sim_platter *p, enum sim_disk_crash crash, struct random *random)
{
    crash_directory(p, crash, random);
    if (crash == SIM_DISK_SHUFFLE)
        shuffle(p->changes, p->change_count, random);
    for (size_t i = 0; i < p->change_count; i++) {
        if (!of_directory(&p->changes[i]))
            crash_change(p, &p->changes[i], crash, random);
    }
    changes_clear(p);
    files_compact(p);
    names_set(&p->seen, &p->kept);
    for (uint32_t i = 0; i < p->file_count; i++)
        bytes_set(&p->files[i].seen, &p->files[i].kept);
}
