/* The measurements of `fanq bench`, a file each. */
#pragma once

#include "cli.h"

/* Through one queue, by one client. */
int bench_pipe(struct cli *cli);

/* From publishers to subscribers, by the load generator. */
int bench_fan(struct cli *cli);
