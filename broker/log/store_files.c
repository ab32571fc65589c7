#include "store_files.h"

void store_files_init(struct store_files *files, const struct directory *directory)
{
    *files = (struct store_files){.directory = directory};
}

static void drop(struct store_files *files, struct store_file *item)
{
    if (item->used != 0)
        files->directory->io.close(files->directory->io.context, item->file);
    item->used = 0;
}

void store_files_close(struct store_files *files)
{
    for (int i = 0; i < STORE_FILES_MAX; i++)
        drop(files, &files->items[i]);
}

static struct store_file *find(struct store_files *files, enum directory_kind kind, uint64_t number)
{
    for (int i = 0; i < STORE_FILES_MAX; i++) {
        struct store_file *item = &files->items[i];
        if (item->used != 0 && item->kind == kind && item->number == number)
            return item;
    }
    return NULL;
}

static struct store_file *oldest(struct store_files *files)
{
    struct store_file *found = &files->items[0];

    for (int i = 1; i < STORE_FILES_MAX; i++) {
        if (files->items[i].used < found->used)
            found = &files->items[i];
    }
    return found;
}

int store_files_open(struct store_files *files, enum directory_kind kind, uint64_t number, bool make,
                     int *ret_file)
{
    const struct io *io = &files->directory->io;
    struct store_file *item = find(files, kind, number);
    char name[DIRECTORY_NAME_BYTES_MAX];
    int file, err;

    if (item == NULL) {
        directory_segment_name(name, kind, number);
        err = io->open(io->context, name,
                       kind != DIRECTORY_COLD ? IO_READ
                       : make                 ? IO_READ | IO_WRITE | IO_CREATE
                                              : IO_READ | IO_WRITE,
                       &file);
        if (err != 0)
            return err;
        item = oldest(files);
        drop(files, item);
        *item = (struct store_file){.kind = kind, .number = number, .file = file};
    }
    item->used = ++files->clock;
    *ret_file = item->file;
    return 0;
}

void store_files_forget(struct store_files *files, enum directory_kind kind, uint64_t number)
{
    struct store_file *item = find(files, kind, number);

    if (item != NULL)
        drop(files, item);
}
