/* Many messages from one input: every line, or NUL-terminated piece, is one. */
#pragma once

#include "content.h"

/* Connects and sends until the input ends. Counts on standard error; gives the exit code: 0, EXIT_PARTIAL
 * when some were not taken, the failure's own code when none was, or that of a signal. */
int lines_send(struct cli *cli, struct content *content);
