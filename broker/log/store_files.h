/* The segments that the store has open: the few that were read or appended to last. The store thread's alone. */
#pragma once

#include "directory.h"

enum { STORE_FILES_MAX = 32 };

struct store_file {
    enum directory_kind kind;
    uint64_t number;
    int file;
    uint64_t used; /* when: counts up; 0: not in use */
};

struct store_files {
    const struct directory *directory;
    struct store_file items[STORE_FILES_MAX];
    uint64_t clock;
};

void store_files_init(struct store_files *files, const struct directory *directory);
void store_files_close(struct store_files *files);

/* Lends the file until the next call. Cold segments are open for appending too; make: it is made if it is not there.
 * 0 or a negative errno. */
int store_files_open(struct store_files *files, enum directory_kind kind, uint64_t number, bool make,
                     int *ret_file);

/* Closes it, if it is open: it is to be removed, to get another name, or cannot be trusted. */
void store_files_forget(struct store_files *files, enum directory_kind kind, uint64_t number);
