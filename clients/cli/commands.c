/* The commands, one row each. Dispatch, help, completion and the nearest match for a typo are made from these
 * rows, so a command that works is a command that is documented. */
#include "cli.h"

#include <limits.h>

/* What the broker takes: VISIBILITY_MS_MAX, DELAY_MS_MAX and WAIT_MS_MAX of the protocol. */
enum { HIDDEN_MS_MAX = 12 * 60 * 60 * 1000, QUEUE_WAIT_MS_MAX = 10 * 60 * 1000 };

static const struct option yes_options[] = {
    {'y', "yes", OPTION_FLAG, OPTION(yes), 0, NULL, "do not ask"},
    OPTION_END,
};

static const struct option queue_settings_options[] = {
    {0, "visibility", OPTION_DURATION, OPTION(visibility_ms), HIDDEN_MS_MAX, "30s",
     "how long a received message is hidden from others (default: 30s)"},
    {0, "wait", OPTION_DURATION, OPTION(wait_ms), QUEUE_WAIT_MS_MAX, "20s",
     "how long a receive waits unless it says (default: not at all)"},
    {0, "early-delivery", OPTION_SWITCH, OPTION(early_delivery), 0, "on",
     "receive messages before they are on the disk; a power cut may take them (default: off)"},
    OPTION_END,
};

#define CONTENT_OPTIONS                                                                                      \
    {                                                                                                        \
        'f',                                                                                                 \
        "file",                                                                                              \
        OPTION_TEXT,                                                                                         \
        OPTION(file),                                                                                        \
        0,                                                                                                   \
        "FILE",                                                                                              \
        "the body, or with --line the messages, from a file"},                                               \
        {'l', "line", OPTION_FLAG, OPTION(line), 0, NULL, "every line of the input is a message"},           \
        {'0',                                                                                                \
         "null",                                                                                             \
         OPTION_FLAG,                                                                                        \
         OPTION(null),                                                                                       \
         0,                                                                                                  \
         NULL,                                                                                               \
         "messages end with a NUL byte instead of a newline"},                                               \
        {'a',                                                                                                \
         "attr",                                                                                             \
         OPTION_LIST,                                                                                        \
         OPTION(attributes),                                                                                 \
         0,                                                                                                  \
         "NAME=VALUE",                                                                                       \
         "an attribute; NAME:Number=5 says its type; may be repeated"},                                      \
        {'s', "subject", OPTION_TEXT, OPTION(subject), 0, "TEXT", "a subject line"},                         \
    {                                                                                                        \
        0, "trace", OPTION_TEXT, OPTION(trace), 0, "PARENT", "a W3C traceparent"                             \
    }

static const struct option content_options[] = {CONTENT_OPTIONS, OPTION_END};

static const struct option recv_options[] = {
    {'n', "count", OPTION_COUNT, OPTION(count), 0, "10", "so many messages at most (default: 1)"},
    {0, "all", OPTION_FLAG, OPTION(all), 0, NULL, "until there are no more"},
    {'w', "wait", OPTION_DURATION, OPTION(wait_ms), 0, "20s",
     "wait so long for a message (default: as the queue says)"},
    {0, "ack", OPTION_SETTLE, OPTION(settle), SETTLE_ACK, NULL,
     "delete them once they are printed: the default"},
    {0, "no-ack", OPTION_SETTLE, OPTION(settle), SETTLE_NOT, NULL,
     "leave them hidden until their visibility timeout"},
    {0, "nack", OPTION_SETTLE, OPTION(settle), SETTLE_NACK, NULL, "give them back"},
    {0, "delay", OPTION_DURATION, OPTION(delay_ms), HIDDEN_MS_MAX, "5s", "with --nack: hidden for so long"},
    {0, "visibility", OPTION_DURATION, OPTION(visibility_ms), HIDDEN_MS_MAX, "30s",
     "instead of the queue's visibility timeout"},
    {'l', "line", OPTION_FLAG, OPTION(line), 0, NULL, "a newline behind every message"},
    {'0', "null", OPTION_FLAG, OPTION(null), 0, NULL, "a NUL byte behind every message"},
    OPTION_END,
};

static const struct option peek_options[] = {
    {'n', "count", OPTION_COUNT, OPTION(count), 0, "10", "so many messages at most"},
    {0, "all", OPTION_FLAG, OPTION(all), 0, NULL, "all of them"},
    {0, "state", OPTION_TEXT, OPTION(state), 0, "ready,delayed",
     "only messages that are ready, in-flight or delayed"},
    {'l', "line", OPTION_FLAG, OPTION(line), 0, NULL, "bodies only, a newline behind each"},
    {'0', "null", OPTION_FLAG, OPTION(null), 0, NULL, "bodies only, a NUL byte behind each"},
    OPTION_END,
};

static const struct option tail_options[] = {
    {'n', "count", OPTION_COUNT, OPTION(count), 0, "10", "end after so many messages"},
    {'w', "wait", OPTION_DURATION, OPTION(wait_ms), 0, "20s",
     "end when nothing came for so long (default: never)"},
    {0, "topic", OPTION_FLAG, OPTION(topic), 0, NULL, "the name is a topic's, where a queue has it too"},
    {0, "queue", OPTION_FLAG, OPTION(queue), 0, NULL, "the name is a queue's, where a topic has it too"},
    {'l', "line", OPTION_FLAG, OPTION(line), 0, NULL, "a newline behind every message: the default"},
    {'0', "null", OPTION_FLAG, OPTION(null), 0, NULL, "a NUL byte behind every message"},
    OPTION_END,
};

static const struct option top_options[] = {
    {0, "once", OPTION_FLAG, OPTION(once), 0, NULL, "one table, then end"},
    {'i', "interval", OPTION_DURATION, OPTION(interval_ms), 0, "1s", "between two looks"},
    OPTION_END,
};

static const struct option ping_options[] = {
    {'w', "wait", OPTION_DURATION, OPTION(wait_ms), 0, "10s", "keep trying for so long"},
    OPTION_END,
};

static const struct option backup_options[] = {
    {0, "no-check", OPTION_FLAG, OPTION(no_check), 0, NULL, "do not read the copy once more to check it"},
    OPTION_END,
};

static const struct option bench_options[] = {
    {'d', "duration", OPTION_DURATION, OPTION(duration_ms), 0, "3s", "for so long"},
    {'s', "size", OPTION_BYTES, OPTION(size_bytes), 0, "128", "bytes of a message"},
    {'b', "batch", OPTION_COUNT, OPTION(batch), 0, "256", "messages in a frame"},
    {0, "subscribers", OPTION_COUNT, OPTION(subscribers), 0, "16", "with fanout: so many"},
    OPTION_END,
};

#define CONTENT_DETAILS                                                                                      \
    "Without BODY, or with -, the body is what standard input holds. With --line or --null every\n"          \
    "line or piece is a message of its own, sent as it comes, hundreds of thousands a second; while the\n"   \
    "broker is full they wait, and end when it took none for --timeout. A lost connection is made\n"         \
    "anew, and what was under way is sent again: each is taken once.\n"                                      \
    "Nothing goes to standard output but with -v (the message's id) or --json."

const struct command commands[] = {
    {"send", "QUEUE [BODY|-]", "send a message to a queue", CONTENT_DETAILS, content_options, 1, 2, cmd_send},
    {"recv", "QUEUE...", "receive messages and delete them",
     "Prints the body as it is. More than one (-n, --all) are printed with a newline behind each; use\n"
     "--null or --json when bodies hold newlines themselves. A message is deleted only after it was\n"
     "written. From several queues the first that has something is served. Exit code 3: there was nothing.",
     recv_options, 1, 16, cmd_recv},
    {"pub", "TOPIC [BODY|-]", "publish a message to a topic", CONTENT_DETAILS, content_options, 1, 2,
     cmd_pub},
    {"tail", "QUEUE|TOPIC", "watch messages come, without taking them",
     "From a topic: copies of what is published from now on; what you are too slow for is dropped and\n"
     "counted. From a queue: what waits in it and what is added, looked at and left alone; a message\n"
     "that is consumed between two looks is not seen.",
     tail_options, 1, 1, cmd_tail},
    {"peek", "QUEUE", "look at the messages of a queue, without taking them", NULL, peek_options, 1, 1,
     cmd_peek},
    {"queue ls", "[PREFIX]", "list queues", "With -v: a table with the figures of each.", NULL, 0, 1,
     cmd_queue_ls},
    {"queue create", "QUEUE...", "create queues", "Creating what exists with the same settings succeeds.",
     queue_settings_options, 1, INT_MAX, cmd_queue_create},
    {"queue rm", "QUEUE...", "delete queues and what is in them", NULL, yes_options, 1, INT_MAX,
     cmd_queue_rm},
    {"queue info", "QUEUE", "settings and figures of a queue", NULL, NULL, 1, 1, cmd_queue_info},
    {"queue set", "QUEUE...", "change settings of queues", NULL, queue_settings_options, 1, INT_MAX,
     cmd_queue_set},
    {"queue purge", "QUEUE...", "delete all messages of queues", NULL, yes_options, 1, INT_MAX,
     cmd_queue_purge},
    {"topic ls", "[PREFIX]", "list topics", "With -v: a table with the figures of each.", NULL, 0, 1,
     cmd_topic_ls},
    {"topic create", "TOPIC...", "create topics", NULL, NULL, 1, INT_MAX, cmd_topic_create},
    {"topic rm", "TOPIC...", "delete topics; what queues have of them stays", NULL, yes_options, 1, INT_MAX,
     cmd_topic_rm},
    {"topic info", "TOPIC", "figures of a topic", NULL, NULL, 1, 1, cmd_topic_info},
    {"sub add", "TOPIC QUEUE...", "subscribe queues to a topic",
     "What is published from now on goes to the queue. Subscribing twice is once.", NULL, 2, INT_MAX,
     cmd_sub_add},
    {"sub rm", "TOPIC QUEUE...", "end subscriptions; what the queues have stays", NULL, NULL, 2, INT_MAX,
     cmd_sub_rm},
    {"sub ls", "[TOPIC]", "list subscriptions", "A line each: the topic, a tab, the queue.", NULL, 0, 1,
     cmd_sub_ls},
    {"status", "", "what the broker says of itself", NULL, NULL, 0, 0, cmd_status},
    {"top", "[PREFIX]", "a live table of the queues", NULL, top_options, 0, 1, cmd_top},
    {"ping", "", "ask the broker for a sign of life", "Exit code 5: there is none.", ping_options, 0, 0,
     cmd_ping},
    {"backup", "DIRECTORY", "copy the broker's directory while it runs",
     "To be run on the broker's machine, as the user that the broker runs as. The copy has all that was\n"
     "answered before it began; DIRECTORY must not exist, and is there when the copy is complete. Then\n"
     "fanqd --check, if there is a fanqd, reads it once more. To restore, start fanqd on the copy:\n"
     "fanqd --dir DIRECTORY. A copy is the same broker at an earlier time: do not run both for one set of\n"
     "clients. While a backup lasts the broker's log only grows.",
     backup_options, 1, 1, cmd_backup},
    {"bench", "[pipe|fanout]", "how fast this broker is from here",
     "pipe: one client sends to a queue, receives and deletes, and tells the latency under that load.\n"
     "fanout: a load generator publishes to a topic whose queues push to many subscribers.\n"
     "Both make what they need under a name of their own, and delete it again.",
     bench_options, 0, 1, cmd_bench},
    {"version", "", "which fanq this is", NULL, NULL, 0, 0, cmd_version},
    {"help", "[COMMAND]", "what a command does", NULL, NULL, 0, 2, cmd_help},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
