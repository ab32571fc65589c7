/* A disk for tests, in memory: it loses, tears, reorders, flips and refuses as a seed says, and the same each time.
 *
 * Two worlds: what the program *sees* (as from the page cache of a system that runs), and what is *kept* on the platter when
 *             the power goes. A write or a truncation is seen at once and kept when its file is synced; a name that is
 *             made, renamed or removed is seen at once and kept when the directory is synced. What is not kept yet is a list
 *             of changes, and a crash decides about each of them.
 * Directory:  its changes reach the platter in order, as with a file system that has a journal: a crash keeps the first
 *             few of those not synced. Contents reach it in any order, and apart from names: a file may be there without
 *             what was written to it, or be written to and not be there.
 * Failed sync: what was written to the file since the last good one is given up, as Linux does: it is seen, and a later
 *             sync succeeds without it, but a crash loses it. A failed sync of the directory keeps its changes waiting.
 * Operations: every call of the table but close is one, counted from 1 since the disk was made, killed or crashed;
 *             a log of them tells what happened, and at which number a sweep can do harm.
 * Memory:     a refused request for memory (failing_malloc.h) is asked again: the disk is not what is tested. One thread. */
#pragma once

#include <stdio.h>

#include "log/io.h"

enum { SIM_DISK_SECTOR_BYTES = 512, SIM_DISK_NAME_BYTES_MAX = 64 };

struct sim_disk;

struct sim_disk *sim_disk_new(uint64_t seed);
void sim_disk_free(struct sim_disk *disk); /* accepts NULL */

/* Another disk with the same files, seen, kept and waiting; nobody has it open, no faults are set, and its count of
 * operations begins. */
struct sim_disk *sim_disk_clone(const struct sim_disk *disk, uint64_t seed);

/* The table; as often as one likes. */
struct io sim_disk_io(struct sim_disk *disk);

/* ---- operations ---- */

enum sim_disk_operation {
    SIM_DISK_OPEN,
    SIM_DISK_READ,
    SIM_DISK_WRITE,
    SIM_DISK_SYNC,
    SIM_DISK_SIZE,
    SIM_DISK_TRUNCATE,
    SIM_DISK_ALLOCATE,
    SIM_DISK_RENAME,
    SIM_DISK_REMOVE,
    SIM_DISK_SYNC_DIRECTORY,
    SIM_DISK_LIST,
    SIM_DISK_LOCK
};

/* Sets of operations. Opening counts among the changes, since it may make a file. */
#define SIM_DISK_SET(operation) (1u << (operation))
#define SIM_DISK_SYNCS (SIM_DISK_SET(SIM_DISK_SYNC) | SIM_DISK_SET(SIM_DISK_SYNC_DIRECTORY))
#define SIM_DISK_CHANGES                                                                                     \
    (SIM_DISK_SYNCS | SIM_DISK_SET(SIM_DISK_OPEN) | SIM_DISK_SET(SIM_DISK_WRITE) |                           \
     SIM_DISK_SET(SIM_DISK_TRUNCATE) | SIM_DISK_SET(SIM_DISK_ALLOCATE) | SIM_DISK_SET(SIM_DISK_RENAME) |     \
     SIM_DISK_SET(SIM_DISK_REMOVE))
#define SIM_DISK_ALL UINT32_MAX

uint64_t sim_disk_operations(const struct sim_disk *disk); /* how many there were */
enum sim_disk_operation sim_disk_operation(const struct sim_disk *disk, uint64_t number);
unsigned sim_disk_open_files(const struct sim_disk *disk);

/* The last `count` operations, a line each: "17 write log-0000000000000001 4096 512: 512". */
void sim_disk_print(const struct sim_disk *disk, FILE *out, uint64_t count);

/* ---- faults ---- */

struct sim_disk_fault {
    uint64_t at;         /* the number of the operation; 0: none */
    uint32_t operations; /* the set that it strikes: others go well, also at that number */
    bool sticky;         /* strikes all of the set from `at` on, not only the one */
    int error; /* EIO, ENOSPC, EDQUOT...: nothing is read or written; EINTR: the same, and when it is sticky, every
                            second time; 0: reads and writes are short, half of what was asked */
};

/* In place of the one before. */
void sim_disk_fault(struct sim_disk *disk, const struct sim_disk_fault *fault);
uint64_t sim_disk_strikes(const struct sim_disk *disk); /* how often it struck */

/* All files together have no more bytes than this: beyond it a write is cut short, then -ENOSPC. */
void sim_disk_set_capacity(struct sim_disk *disk, uint64_t bytes);
uint64_t sim_disk_bytes(const struct sim_disk *disk); /* what they have now */

/* ---- the end of the program, or of the power ---- */

/* The operation with this number is the last that is begun: if it changes something, a crash decides about that too, but it
 * and all later ones give -EIO. 0: none. */
void sim_disk_stop_at(struct sim_disk *disk, uint64_t number);
bool sim_disk_stopped(const struct sim_disk *disk);

/* The program ended, the system did not: its files are closed and its lock is free, what it wrote is still seen. */
void sim_disk_kill(struct sim_disk *disk);

enum sim_disk_crash {
    SIM_DISK_LOSE,    /* all that was not synced is lost */
    SIM_DISK_KEEP,    /* all of it is kept */
    SIM_DISK_SECTORS, /* each sector of each write is kept or lost */
    SIM_DISK_TEAR,    /* each write keeps a first part, in bytes */
    SIM_DISK_SHUFFLE, /* writes are kept or lost as a whole, in any order */
    SIM_DISK_CRASHES  /* how many there are */
};

/* The power went, and is back: what is kept is what is seen, nothing waits, and all of sim_disk_kill(). */
void sim_disk_crash(struct sim_disk *disk, enum sim_disk_crash crash);

/* ---- by hand: what bad hardware and bad administrators do ----
 *
 * What waits is kept first; then both worlds are changed. */

/* What is seen; NULL: no such file. Lent until the disk is used again. */
const uint8_t *sim_disk_content(const struct sim_disk *disk, const char *name, uint64_t *ret_length);
/* What would be left if all that was not synced were lost, names too. */
const uint8_t *sim_disk_kept(const struct sim_disk *disk, const char *name, uint64_t *ret_length);
void sim_disk_flip(struct sim_disk *disk, const char *name, uint64_t offset, uint8_t mask);
void sim_disk_cut(struct sim_disk *disk, const char *name, uint64_t length);
void sim_disk_put(struct sim_disk *disk, const char *name, const void *data, uint64_t length);
void sim_disk_drop(struct sim_disk *disk, const char *name);
