/* What the commands of fanq share: the run's state, connecting, errors for people, exit codes, signals.
 *
 * A command prints data on standard output and everything else on standard error, and returns an exit code.
 * One thread, one client. */
#pragma once

#include "json.h"
#include "options.h"

#include "fanq.h"

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,     /* the broker said no, or something here went wrong */
    EXIT_USAGE = 2,      /* the command line is wrong */
    EXIT_NOTHING = 3,    /* nothing was received before the deadline */
    EXIT_NOT_FOUND = 4,  /* no such queue, topic or subscription */
    EXIT_CONNECTION = 5, /* cannot connect, or the connection was lost */
    EXIT_PERMISSION = 6, /* kept for brokers that ask who you are */
    EXIT_PARTIAL = 7,    /* some of many failed */
    EXIT_SIGNAL = 128    /* plus the signal's number */
};

struct command;

struct cli {
    struct options options;
    const struct command *command;
    const char **arguments;
    int argument_count;
    struct fanq *client;
    bool ready_once;        /* a connection stood at some time */
    unsigned failed_tries;  /* connections lost or not made */
    struct fanq_error lost; /* why the last connection ended, or could not be made */
};

struct command {
    const char *name;     /* "queue create" */
    const char *synopsis; /* "QUEUE..." */
    const char *summary;  /* one line */
    const char *details;  /* NULL, or paragraphs with newlines */
    const struct option *options;
    int argument_count_min;
    int argument_count_max;
    int (*run)(struct cli *cli);
};

/* Ends with {NULL}. */
extern const struct command commands[];

/* ---- words on standard error ---- */

/* "fanq: " and the text; gives the code, so that a command can return it. */
int cli_fail(enum exit_code code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* An indented line: what to type next. */
void cli_hint(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A plain line: what was done. */
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says that what `format` names failed by this error, and what can be done; looks for a queue or topic with a
 * similar name when `name` (may be NULL) was not found. Gives the exit code. */
int cli_report(struct cli *cli, const struct fanq_error *error, const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* When a queue that was received from never had a message: says so, and names one with a similar name. A
 * receive makes the queue that is missing, so a typo looks like an empty queue. */
void cli_hint_unused(struct cli *cli, const char *queue);

/* The exit code for an error of the library. */
enum exit_code cli_exit_code(const struct fanq_error *error);

/* ---- the broker ---- */

/* What cli_connect() should do beyond the usual. */
enum cli_connect { CLI_CONNECT_ONCE, CLI_CONNECT_AGAIN };

/* Connects cli->client. With CLI_CONNECT_AGAIN a connection lost later is made anew. 0, or the exit code of
 * what was said. */
int cli_connect(struct cli *cli, enum cli_connect how);

/* "cannot connect", with cli->lost, and what to do. EXIT_CONNECTION. */
int cli_report_unconnected(struct cli *cli);

/* Keeps trying for wait_ms. Says nothing; false: cli->lost has the cause. */
bool cli_connect_wait(struct cli *cli, int64_t wait_ms);

/* In milliseconds, for the _sync functions. */
int cli_timeout_ms(const struct cli *cli);

/* ---- the loop of commands that wait ---- */

/* SIGINT and SIGTERM end the program with 130 and 143. */
void cli_init_signals(void);

/* From now on SIGINT and SIGTERM do not end the program but set cli_signal() and wake cli_turn(); a second
 * one ends it. Needs a client. */
void cli_catch_signals(struct cli *cli);
/* The signal that came, or 0. */
int cli_signal(void);

/* One round of the client, waiting at most timeout_ms (-1: as long as it takes) for the broker, a signal or
 * input on input_fd (-1: none). Gives whether there is input. */
bool cli_turn(struct cli *cli, int input_fd, int64_t timeout_ms);

/* Rounds until *done or a signal; the client's own timeouts see to it that requests end. 0 or the signal. */
int cli_wait_done(struct cli *cli, const bool *done);

/* ---- output ---- */

/* Flushes standard output. 0; EXIT_FAILED when it cannot be written, which is said; or, when its reader has
 * gone, EXIT_SIGNAL + SIGPIPE. */
int cli_flush(void);

/* Whether people look at standard error, and so at progress and questions. */
bool cli_is_terminal(int fd);
/* A terminal that wants colours. */
bool cli_colors(int fd);

/* Asks on the terminal, unless --yes. 0 when agreed; else the exit code of what was said. */
int cli_confirm(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

uint64_t cli_now_ms(void); /* monotonic */

/* A counter on a terminal's standard error, a few times a second. Start from {.verb = "sent"}. */
struct progress {
    const char *verb;
    uint64_t start_ms;
    uint64_t shown_ms;
    bool shown;
};
void progress_show(struct progress *progress, uint64_t count);
void progress_end(struct progress *progress); /* takes it off the screen */

/* "made in 0.12 s (1,234/s)" for the last line of long work. */
const char *progress_rate(uint64_t count, uint64_t start_ms, char *ret_text, size_t size);

/* ---- the commands, by file ---- */

int cmd_queue_ls(struct cli *cli);
int cmd_queue_create(struct cli *cli);
int cmd_queue_rm(struct cli *cli);
int cmd_queue_info(struct cli *cli);
int cmd_queue_set(struct cli *cli);
int cmd_queue_purge(struct cli *cli);
int cmd_topic_ls(struct cli *cli);
int cmd_topic_create(struct cli *cli);
int cmd_topic_rm(struct cli *cli);
int cmd_topic_info(struct cli *cli);
int cmd_sub_add(struct cli *cli);
int cmd_sub_rm(struct cli *cli);
int cmd_sub_ls(struct cli *cli);
int cmd_send(struct cli *cli);
int cmd_pub(struct cli *cli);
int cmd_recv(struct cli *cli);
int cmd_peek(struct cli *cli);
int cmd_tail(struct cli *cli);
int cmd_status(struct cli *cli);
int cmd_ping(struct cli *cli);
int cmd_top(struct cli *cli);
int cmd_backup(struct cli *cli);
int cmd_bench(struct cli *cli);
int cmd_version(struct cli *cli);
int cmd_help(struct cli *cli);
