/* Four fixed workloads on a simulated disk, each of some 500 operations of the disk, for sweeps that harm each of them. */
#pragma once

#include "disk_world.h"

enum { WORKLOADS = 4 };

/* A world in which some runs of the broker have ended, and the next is to begin. Always the same. */
struct disk_world *workload_new(uint32_t workload);

/* Starts, and makes turns until the disk has done so many operations, or has stopped, or the log has ended. */
int workload_run(struct disk_world *w, uint64_t operations);

/* How many operations there are to harm. */
enum { WORKLOAD_OPERATIONS = 500 };

/* After a crash: it starts, has what it must have, goes on, and starts again as it ended. */
void workload_verify(struct disk_world *w);
/* Only the first two. */
void workload_verify_content(struct disk_world *w);
