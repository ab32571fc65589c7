/* The options of the command line, by tables.
 *
 * A command lists its options in rows; parsing, the help text and the nearest match for a typo come from
 * them. Options and arguments may stand in any order; "--" ends the options. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { OPTIONS_LIST_MAX = 64 };

struct option_list {
    const char *items[OPTIONS_LIST_MAX];
    size_t count;
};

enum settle { SETTLE_ACK, SETTLE_NOT, SETTLE_NACK };

/* Everything that any command can be told. Strings are borrowed from argv and the environment. */
struct options {
    const char *url;
    int64_t timeout_ms;
    bool json;
    bool verbose;
    bool help;
    bool version;

    bool yes;
    bool line;
    bool null;
    bool all;
    bool once;
    bool topic;
    bool queue;
    bool no_check;
    const char *file;
    const char *subject;
    const char *trace;
    const char *state;
    struct option_list attributes;
    uint64_t count;
    uint64_t batch;
    uint64_t subscribers;
    uint64_t size_bytes;
    int settle;      /* enum settle */
    int64_t wait_ms; /* -1: not given, as those below */
    int64_t visibility_ms;
    int early_delivery; /* 0, 1 */
    int64_t delay_ms;
    int64_t interval_ms;
    int64_t duration_ms;
};

enum option_kind {
    OPTION_FLAG,     /* bool */
    OPTION_SETTLE,   /* int, set to `value` */
    OPTION_SWITCH,   /* int, 0 or 1: "off" or "on" */
    OPTION_TEXT,     /* const char * */
    OPTION_LIST,     /* struct option_list */
    OPTION_COUNT,    /* uint64_t, at least 1 */
    OPTION_DURATION, /* int64_t, milliseconds */
    OPTION_BYTES     /* uint64_t */
};

struct option {
    char letter;      /* 0: none */
    const char *name; /* without "--"; NULL ends a table */
    enum option_kind kind;
    size_t offset;        /* in struct options */
    int value;            /* SETTLE: what is set; DURATION: the most in milliseconds, 0: any */
    const char *argument; /* for the help: "20s" */
    const char *help;
};

#define OPTION(field) offsetof(struct options, field)
#define OPTION_END                                                                                           \
    {                                                                                                        \
        0, NULL, OPTION_FLAG, 0, 0, NULL, NULL                                                               \
    }

/* Known before and behind every command. */
extern const struct option options_global[];

void options_init(struct options *options);

/* Where parsing is in argv. */
struct option_cursor {
    char **argv;
    int argc;
    int at;
    bool ended; /* "--" was met */
};

enum option_result {
    OPTION_RESULT_TAKEN,    /* an option and perhaps its value */
    OPTION_RESULT_ARGUMENT, /* not an option: *ret_argument is it */
    OPTION_RESULT_DONE,
    OPTION_RESULT_WRONG /* error says what */
};

/* Takes the next word. `own` may be NULL. `error` has room for OPTIONS_ERROR_BYTES. */
enum { OPTIONS_ERROR_BYTES = 512 };
enum option_result options_next(struct option_cursor *cursor, const struct option *own,
                                struct options *options, const char **ret_argument,
                                char error[OPTIONS_ERROR_BYTES]);

/* The rows as help lines. */
void options_help(FILE *out, const struct option *table);
