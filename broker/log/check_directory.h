/* Reads all of a log directory, and says whether it is as it was written. Changes nothing, and takes no lock: beside a broker
 * that runs, what that writes meanwhile may look like a torn end. */
#pragma once

#include <stdio.h>

enum check_result {
    CHECK_FINE = 0,
    CHECK_DAMAGED = 1, /* a line on out for each damage: what is affected */
    CHECK_FAILED = 2   /* it cannot be read; a line on out says why */
};

/* Every block is checked, and every fact is read. The last line on out is the verdict. */
enum check_result check_directory(const char *path, FILE *out);
