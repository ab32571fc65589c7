/* The files of a simulated disk: the world that is seen, the world that is kept, and the changes between them
 * (sim_disk.h). No faults and no counting here. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "random.h"
#include "sim_disk.h"

struct sim_bytes {
    uint8_t *data;
    uint64_t length, capacity;
};

struct sim_file {
    struct sim_bytes seen, kept;
};

/* Which name is which file. A file keeps its number until a crash. */
struct sim_name {
    char text[SIM_DISK_NAME_BYTES_MAX];
    uint32_t file;
};

struct sim_names {
    struct sim_name *items;
    uint32_t count;
};

enum sim_change_kind {
    SIM_CHANGE_WRITE,
    SIM_CHANGE_TRUNCATE,
    SIM_CHANGE_MAKE, /* from here on of the directory */
    SIM_CHANGE_RENAME,
    SIM_CHANGE_REMOVE
};

/* Seen, and not kept yet. */
struct sim_change {
    enum sim_change_kind kind;
    uint32_t file;                       /* WRITE, TRUNCATE, MAKE */
    uint64_t offset, length;             /* WRITE; TRUNCATE: to this length */
    uint8_t *data;                       /* WRITE */
    char name[SIM_DISK_NAME_BYTES_MAX];  /* MAKE, REMOVE; RENAME: from */
    char other[SIM_DISK_NAME_BYTES_MAX]; /* RENAME: to */
};

struct sim_platter {
    struct sim_file *files;
    uint32_t file_count;
    struct sim_names seen, kept;
    struct sim_change *changes; /* in the order in which they were made */
    size_t change_count, change_capacity;
};

/* realloc() that asks twice, then gives up the test. */
void *sim_memory(void *old, size_t bytes);

void sim_platter_close(struct sim_platter *p);
void sim_platter_copy(struct sim_platter *to, const struct sim_platter *from);

enum { SIM_NO_FILE = UINT32_MAX };
uint32_t sim_names_find(const struct sim_names *names, const char *text); /* the file, or SIM_NO_FILE */
uint64_t sim_platter_bytes(const struct sim_platter *p);                  /* of all that is seen */

/* Changes: seen at once. */
uint32_t sim_platter_make(struct sim_platter *p, const char *name);
void sim_platter_write(struct sim_platter *p, uint32_t file, uint64_t offset, const void *data,
                       uint64_t length);
void sim_platter_truncate(struct sim_platter *p, uint32_t file, uint64_t length);
void sim_platter_rename(struct sim_platter *p, const char *from, const char *to);
void sim_platter_remove(struct sim_platter *p, const char *name);

void sim_platter_sync(struct sim_platter *p, uint32_t file);
void sim_platter_give_up(struct sim_platter *p, uint32_t file); /* a failed sync */
void sim_platter_sync_directory(struct sim_platter *p);
void sim_platter_crash(struct sim_platter *p, enum sim_disk_crash crash, struct random *random);

/* Takes back the memory of files that have no name in either world, unless `open` says that they are in use. */
void sim_platter_collect(struct sim_platter *p, bool (*open)(const void *context, uint32_t file),
                         const void *context);

/* Makes both worlds the same. */
void sim_platter_settle(struct sim_platter *p);
