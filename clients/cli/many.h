/* One thing done to many names, and lists of names page by page. */
#pragma once

#include "cli.h"

/* 0 or the error's code, as the library's _sync functions. */
typedef int (*many_fn)(struct cli *cli, const char *name, struct fanq_error *ret_error);

/* Connects, and calls fn for each argument from `first` on. Says "`done` NAME" or that it cannot "`what`
 * NAME". Gives the exit code: of the failure when all failed alike, EXIT_PARTIAL when some did. */
int many_run(struct cli *cli, int first, const char *what, const char *done, many_fn fn);

/* Asks before something is destroyed: "`what` a, b and c". */
int many_confirm(struct cli *cli, const char *what);

typedef int (*names_page_fn)(struct cli *cli, const struct fanq_list_options *options, const char *of,
                             struct fanq_name_list **ret_list, struct fanq_error *ret_error);
/* Gives 0 to go on, or the exit code to end with. */
typedef int (*names_fn)(void *user, const char *name);

/* Calls fn for each name that `page` lists, however many pages that takes. `of` is handed to `page`. On an
 * error says so and gives the exit code. */
int names_each(struct cli *cli, names_page_fn page, const char *prefix, const char *of, names_fn fn,
               void *user);
