/* Flags and environment of fanqd: see config.h.
 *
 * Every option, limit or not, is a row of one array made at compile time, and both flags and environment go
 * through option_set(), so that the two can never come to differ. */
#include "config.h"

#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum unit { UNIT_COUNT, UNIT_BYTES, UNIT_MS };

/* The options that are not limits. */
enum {
    OPTION_LISTEN,
    OPTION_UNIX,
    OPTION_PORT_FILE,
    OPTION_DIR,
    OPTION_MEMORY,
    OPTION_FSYNC,
    OPTION_ACCEPT_LOSS,
    OPTION_AUTO_CREATE,
    OPTION_CHECK, /* from here on: not from the environment */
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_WORDS, /* how many of these there are; limits are numbered behind them */
};

struct word {
    const char *name;
    const char *argument; /* NULL: takes none */
    const char *help;
};

static const struct word words[OPTION_WORDS] = {
    [OPTION_LISTEN] = {"listen", "ADDRESS[:PORT]",
                       "listen there; default 127.0.0.1, which only this machine reaches. May be given\n"
                       "      several times; 'none' for no TCP at all"},
    [OPTION_UNIX] = {"unix", "PATH", "listen on a Unix socket too"},
    [OPTION_PORT_FILE] = {"port-file", "FILE", "write the TCP port there once it listens"},
    [OPTION_DIR] = {"dir", "DIRECTORY",
                    "keep everything there; default: $STATE_DIRECTORY, else /var/lib/fanq for root, else\n"
                    "      $XDG_STATE_HOME/fanq or ~/.local/state/fanq. Also -d"},
    [OPTION_MEMORY] =
        {"memory", NULL,
         "keep everything in memory only; it vanishes on exit. Of this and --dir the last one counts"},
    [OPTION_FSYNC] =
        {"fsync", "group|async[:TIME]|none",
         "when a change is answered: group, the default: when it is on the disk; async: when it is\n"
         "      written, the disk follows within TIME (100ms); none: the disk follows as the system likes"},
    [OPTION_ACCEPT_LOSS] =
        {"accept-loss", NULL,
         "start although the log is damaged, without what is lost (which is told). Needed once: the\n"
         "      next start goes on from there"},
    [OPTION_AUTO_CREATE] =
        {"auto-create", "on|off",
         "create queues and topics when they are first used; default: off with a directory; on with\n"
         "      --memory, unless other machines can reach the broker"},
    [OPTION_CHECK] =
        {"check", "DIRECTORY",
         "read all of a directory, say what is damaged, and exit; changes nothing, also beside a\n"
         "      broker that runs. Exit code: 0 fine, 1 damaged, 2 it cannot be read"},
    [OPTION_HELP] = {"help", NULL, "show this"},
    [OPTION_VERSION] = {"version", NULL, "show the version"},
};

struct limit {
    const char *name;
    enum unit unit;
    uint64_t value, least, most;
    size_t offset; /* of its field in struct config */
    const char *help;
};

static const struct limit limits[] = {
#define X(name, unit, value, least, most, help)                                                              \
    {#name, UNIT_##unit, value, least, most, offsetof(struct config, name), help},
    CONFIG_LIMITS(X)
#undef X
};

enum {
    LIMIT_COUNT = sizeof(limits) / sizeof(limits[0]),
    OPTION_COUNT = OPTION_WORDS + LIMIT_COUNT,
    OPTION_NAME_BYTES = 48,
    HELP_COLUMN = 40, /* where the texts of limits begin ... */
    HELP_WIDTH = 60   /* ... and how long their lines are */
};

_Static_assert(OPTION_COUNT <= ':', "getopt_long() gives the number of an option, or ':', '?' or a letter");

/* ---- values ---- */

struct suffix {
    const char *text;
    uint64_t factor;
};

static const struct suffix byte_suffixes[] = {
    {"", 1},
    {"b", 1},
    {"k", CONFIG_KIB(1)},
    {"kib", CONFIG_KIB(1)},
    {"m", CONFIG_MIB(1)},
    {"mib", CONFIG_MIB(1)},
    {"g", CONFIG_MIB(1024)},
    {"gib", CONFIG_MIB(1024)},
    {NULL, 0},
};

static const struct suffix ms_suffixes[] = {
    {"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 60 * 60 * 1000}, {"d", 86400 * 1000}, {NULL, 0},
};

static const struct suffix count_suffixes[] = {{"", 1}, {NULL, 0}};

/* Digits and one of the suffixes. */
static bool parse_scaled(const char *text, const struct suffix *suffixes, uint64_t *ret_value)
{
    uint64_t value = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return false;
    if (at == text)
        return false;
    while (suffixes->text != NULL && strcasecmp(suffixes->text, at) != 0)
        suffixes++;
    if (suffixes->text == NULL || __builtin_mul_overflow(value, suffixes->factor, &value))
        return false;
    *ret_value = value;
    return true;
}

bool config_parse_bytes(const char *text, uint64_t *ret_bytes)
{
    return parse_scaled(text, byte_suffixes, ret_bytes);
}

bool config_parse_ms(const char *text, uint64_t *ret_ms)
{
    return parse_scaled(text, ms_suffixes, ret_ms);
}

/* The end of the host within text, and the start of the port or NULL. */
static bool split_listen(const char *text, const char **ret_host, size_t *ret_length, const char **ret_port)
{
    const char *colon = strchr(text, ':');
    const char *close = strchr(text, ']');

    *ret_host = text;
    *ret_port = NULL;
    if (text[0] == '[') {
        if (close == NULL || (close[1] != '\0' && close[1] != ':'))
            return false;
        *ret_host = text + 1;
        *ret_length = (size_t)(close - text - 1);
        *ret_port = close[1] == ':' ? close + 2 : NULL;
    } else if (colon != NULL && strchr(colon + 1, ':') == NULL) {
        *ret_length = (size_t)(colon - text);
        *ret_port = colon + 1;
    } else {
        *ret_length = strlen(text); /* no port, or a bare IPv6 address */
    }
    return true;
}

bool config_parse_listen(const char *text, struct config_listen *ret_listen)
{
    const char *host, *port_text;
    size_t length;
    uint64_t port = 0;

    if (!split_listen(text, &host, &length, &port_text) || length == 0 || length >= CONFIG_HOST_BYTES_MAX)
        return false;
    if (port_text != NULL && (!parse_scaled(port_text, count_suffixes, &port) || port > 65535))
        return false;
    memcpy(ret_listen->host, host, length);
    ret_listen->host[length] = '\0';
    ret_listen->port = port_text != NULL ? (int)port : -1;
    return true;
}

/* ---- options ---- */

/* What is being read, for error texts. */
struct reader {
    struct config *config;
    char *error;
    bool listens_given;
    bool memory_given, directory_given; /* at this place: as flags, or in the environment */
};

/* "frame-bytes-max" for a flag, "FANQD_FRAME_BYTES_MAX" for the environment. */
static void option_name(int option, const char *prefix, bool as_flag, char ret_name[OPTION_NAME_BYTES])
{
    const char *name = option < OPTION_WORDS ? words[option].name : limits[option - OPTION_WORDS].name;

    snprintf(ret_name, OPTION_NAME_BYTES, "%s%s", prefix, name);
    for (char *at = ret_name + strlen(prefix); *at != '\0'; at++) {
        if (as_flag && *at == '_')
            *at = '-';
        else if (!as_flag)
            *at = *at == '-' ? '_' : (char)(*at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at);
    }
}

static void format_value(enum unit unit, uint64_t value, char ret_text[32])
{
    static const struct suffix bytes[] = {
        {"G", CONFIG_MIB(1024)}, {"M", CONFIG_MIB(1)}, {"k", CONFIG_KIB(1)}, {NULL, 0}};
    static const struct suffix ms[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000},
                                       {"s", 1000},     {"ms", 1},      {NULL, 0}};
    const struct suffix *at = unit == UNIT_BYTES ? bytes : unit == UNIT_MS ? ms : bytes + 3;

    while (at->text != NULL && (value == 0 || value % at->factor != 0))
        at++;
    if (at->text == NULL)
        snprintf(ret_text, 32, "%" PRIu64, value);
    else
        snprintf(ret_text, 32, "%" PRIu64 "%s", value / at->factor, at->text);
}

static bool parse_limit(const struct limit *limit, const char *text, uint64_t *ret_value)
{
    static const struct suffix *const suffixes[] = {
        [UNIT_COUNT] = count_suffixes, [UNIT_BYTES] = byte_suffixes, [UNIT_MS] = ms_suffixes};

    return parse_scaled(text, suffixes[limit->unit], ret_value);
}

static int set_limit(struct reader *r, const struct limit *limit, const char *said, const char *text)
{
    static const char *const forms[] = {[UNIT_COUNT] = "a whole number",
                                        [UNIT_BYTES] = "a size such as 64k, 8M or 1G",
                                        [UNIT_MS] = "a duration such as 500ms, 30s or 5m"};
    uint64_t value;
    char least[32], most[32];

    if (!parse_limit(limit, text, &value)) {
        snprintf(r->error, CONFIG_ERROR_BYTES, "%s takes %s, not '%.60s'", said, forms[limit->unit], text);
        return -1;
    }
    if (value < limit->least || value > limit->most) {
        format_value(limit->unit, limit->least, least);
        format_value(limit->unit, limit->most, most);
        snprintf(r->error, CONFIG_ERROR_BYTES, "%s must lie between %s and %s, not '%.60s'", said, least,
                 most, text);
        return -1;
    }
    memcpy((char *)r->config + limit->offset, &value, sizeof(value));
    return 0;
}

static int add_listen(struct reader *r, const char *said, const char *text)
{
    struct config *c = r->config;

    if (!r->listens_given)
        c->listen_count = 0; /* the default is replaced, not added to */
    r->listens_given = true;
    if (strcmp(text, "none") == 0)
        return 0;
    if (c->listen_count == CONFIG_LISTENS_MAX) {
        snprintf(r->error, CONFIG_ERROR_BYTES, "%s may be given at most %d times", said, CONFIG_LISTENS_MAX);
        return -1;
    }
    if (!config_parse_listen(text, &c->listens[c->listen_count])) {
        snprintf(r->error, CONFIG_ERROR_BYTES,
                 "%s takes an address such as 127.0.0.1, 0.0.0.0:9320 or [::1]:9320, not '%.60s'", said,
                 text);
        return -1;
    }
    c->listen_count++;
    return 0;
}

static int set_auto_create(struct reader *r, const char *said, const char *text)
{
    if (strcmp(text, "on") == 0) {
        r->config->auto_create = CONFIG_AUTO_CREATE_ON;
    } else if (strcmp(text, "off") == 0) {
        r->config->auto_create = CONFIG_AUTO_CREATE_OFF;
    } else {
        snprintf(r->error, CONFIG_ERROR_BYTES, "%s takes 'on' or 'off', not '%.60s'", said, text);
        return -1;
    }
    return 0;
}

/* A flag says it by being there; in the environment it has a value. */
static int set_switch(struct reader *r, const char *said, const char *text, bool *ret_value)
{
    static const char *const words_on[] = {"on", "1", "true", "yes"};
    static const char *const words_off[] = {"off", "0", "false", "no"};

    for (size_t i = 0; i < sizeof(words_on) / sizeof(words_on[0]); i++) {
        if (text == NULL || strcmp(text, words_on[i]) == 0) {
            *ret_value = true;
            return 0;
        }
        if (strcmp(text, words_off[i]) == 0) {
            *ret_value = false;
            return 0;
        }
    }
    snprintf(r->error, CONFIG_ERROR_BYTES, "%s takes 'on' or 'off', not '%.60s'", said, text);
    return -1;
}

static int set_memory(struct reader *r, const char *said, const char *text)
{
    int err = set_switch(r, said, text, &r->config->memory);

    r->memory_given = err == 0 && r->config->memory;
    return err;
}

static int set_fsync(struct reader *r, const char *said, const char *text)
{
    struct config *c = r->config;

    c->fsync_ms = CONFIG_FSYNC_MS;
    if (strcmp(text, "group") == 0) {
        c->fsync = CONFIG_FSYNC_GROUP;
    } else if (strcmp(text, "none") == 0) {
        c->fsync = CONFIG_FSYNC_NONE;
    } else if (strcmp(text, "async") == 0 || (strncmp(text, "async:", 6) == 0 &&
                                              config_parse_ms(text + 6, &c->fsync_ms) && c->fsync_ms > 0)) {
        c->fsync = CONFIG_FSYNC_ASYNC;
    } else {
        snprintf(r->error, CONFIG_ERROR_BYTES,
                 "%s takes 'group', 'async', 'async:TIME' or 'none', not '%.60s'", said, text);
        return -1;
    }
    return 0;
}

static int set_directory(struct reader *r, const char *said, const char *text)
{
    struct config *c = r->config;

    if (text[0] == '\0' || strlen(text) >= CONFIG_PATH_BYTES_MAX) {
        snprintf(r->error, CONFIG_ERROR_BYTES, "%s takes the path of a directory, not '%.60s'", said, text);
        return -1;
    }
    memcpy(c->directory, text, strlen(text) + 1);
    c->memory = false;
    return 0;
}

/* said is what the user wrote, for the error text. 0, or -1 with the text in r->error. */
static int option_set(struct reader *r, int option, const char *said, const char *text)
{
    switch (option) {
    case OPTION_LISTEN:
        return add_listen(r, said, text);
    case OPTION_UNIX:
        r->config->unix_path = text;
        return 0;
    case OPTION_PORT_FILE:
        r->config->port_file = text;
        return 0;
    case OPTION_DIR:
        r->directory_given = true;
        return set_directory(r, said, text);
    case OPTION_MEMORY:
        return set_memory(r, said, text);
    case OPTION_FSYNC:
        return set_fsync(r, said, text);
    case OPTION_ACCEPT_LOSS:
        return set_switch(r, said, text, &r->config->accept_loss);
    case OPTION_CHECK:
        r->config->action = CONFIG_CHECK;
        return set_directory(r, said, text);
    case OPTION_AUTO_CREATE:
        return set_auto_create(r, said, text);
    case OPTION_HELP:
        r->config->action = CONFIG_HELP;
        return 0;
    case OPTION_VERSION:
        r->config->action = CONFIG_VERSION;
        return 0;
    default:
        return set_limit(r, &limits[option - OPTION_WORDS], said, text);
    }
}

static bool option_takes_argument(int option)
{
    return option >= OPTION_WORDS || words[option].argument != NULL;
}

/* ---- the nearest match for a typing error ---- */

static size_t least_of(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;

    return least < c ? least : c;
}

/* Letters to insert, drop or change; both shorter than OPTION_NAME_BYTES. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[OPTION_NAME_BYTES];
    size_t length = strlen(b);

    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < length; j++) {
            size_t above = row[j + 1];
            row[j + 1] = least_of(above + 1, row[j] + 1, diagonal + (a[i] != b[j]));
            diagonal = above;
        }
    }
    return row[length];
}

/* " Did you mean X?", or nothing when nothing is near: when more than half of the letters differ. */
static void suggest(const char *typed, const char *prefix, bool as_flag, char *ret_text, size_t size)
{
    char nearest[OPTION_NAME_BYTES] = "";
    char name[OPTION_NAME_BYTES];
    size_t length = strlen(typed), distance;

    ret_text[0] = '\0';
    if (length >= OPTION_NAME_BYTES || length <= strlen(prefix))
        return;
    distance = (length - strlen(prefix)) / 2 + 1;
    for (int option = 0; option < OPTION_COUNT; option++) {
        if (!as_flag && option >= OPTION_CHECK && option < OPTION_WORDS)
            continue;
        option_name(option, prefix, as_flag, name);
        size_t d = edit_distance(typed, name);
        if (d < distance) {
            distance = d;
            memcpy(nearest, name, sizeof(nearest));
        }
    }
    if (nearest[0] != '\0')
        snprintf(ret_text, size, " Did you mean %s?", nearest);
}

/* ---- flags and environment ---- */

static bool same_name(const char *variable, const char *name)
{
    size_t length = strlen(name);

    return strncmp(variable, name, length) == 0 && variable[length] == '=';
}

static int read_variable(struct reader *r, const char *variable)
{
    char name[OPTION_NAME_BYTES], typed[OPTION_NAME_BYTES], hint[96];

    for (int option = 0; option < OPTION_CHECK; option++) {
        option_name(option, "FANQD_", false, name);
        if (same_name(variable, name))
            return option_set(r, option, name, variable + strlen(name) + 1);
    }
    for (int option = OPTION_WORDS; option < OPTION_COUNT; option++) {
        option_name(option, "FANQD_", false, name);
        if (same_name(variable, name))
            return option_set(r, option, name, variable + strlen(name) + 1);
    }
    snprintf(typed, sizeof(typed), "%.*s", (int)strcspn(variable, "="), variable);
    suggest(typed, "FANQD_", false, hint, sizeof(hint));
    snprintf(r->error, CONFIG_ERROR_BYTES, "the environment has %s, which fanqd does not know.%s", typed,
             hint);
    return -1;
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Kubernetes tells each container where the services of its namespace are. From one called fanqd it makes
 * FANQD_SERVICE_HOST, FANQD_SERVICE_PORT, FANQD_PORT=tcp://..., FANQD_PORT_9320_TCP and more, which are not
 * meant for us. */
static bool is_from_kubernetes(const char *variable)
{
    return starts_with(variable, "FANQD_SERVICE_") || starts_with(variable, "FANQD_PORT=tcp://") ||
           (starts_with(variable, "FANQD_PORT_") && variable[11] >= '0' && variable[11] <= '9');
}

/* NULL: it is not set, or empty. */
static const char *environment(char *const env[], const char *name)
{
    for (size_t i = 0; env != NULL && env[i] != NULL; i++)
        if (same_name(env[i], name) && env[i][strlen(name) + 1] != '\0')
            return env[i] + strlen(name) + 1;
    return NULL;
}

static int read_environment(struct reader *r, char *const env[])
{
    for (size_t i = 0; env != NULL && env[i] != NULL; i++)
        if (starts_with(env[i], "FANQD_") && !is_from_kubernetes(env[i]) && read_variable(r, env[i]) != 0)
            return -1;
    return 0;
}

static int unknown_flag(struct reader *r, const char *typed)
{
    char flag[OPTION_NAME_BYTES], hint[96];

    snprintf(flag, sizeof(flag), "%.*s", (int)strcspn(typed, "="), typed);
    for (int option = 0; option < OPTION_WORDS; option++)
        if (starts_with(flag, "--") && strcmp(flag + 2, words[option].name) == 0) {
            snprintf(r->error, CONFIG_ERROR_BYTES, "%s takes no value, so not '%.60s'", flag, typed);
            return -1;
        }
    suggest(flag, "--", true, hint, sizeof(hint));
    snprintf(r->error, CONFIG_ERROR_BYTES, "unknown flag %s.%s fanqd --help shows them all", flag, hint);
    return -1;
}

static int read_flags(struct reader *r, int argc, char *const argv[])
{
    char names[OPTION_COUNT][OPTION_NAME_BYTES];
    struct option table[OPTION_COUNT + 1];
    char said[OPTION_NAME_BYTES];
    int option, at;

    memset(table, 0, sizeof(table));
    for (option = 0; option < OPTION_COUNT; option++) {
        option_name(option, "", true, names[option]);
        table[option].name = names[option];
        table[option].has_arg = option_takes_argument(option) ? required_argument : no_argument;
        table[option].val = option;
    }
    opterr = 0;
    optind = 0; /* glibc: start afresh, also in a test that reads several times */
    for (;;) {
        at = optind == 0 ? 1 : optind;
        option = getopt_long(argc, argv, "+:d:h", table, NULL);
        if (option == 'd')
            option = OPTION_DIR;
        else if (option == 'h')
            option = OPTION_HELP;
        if (option == -1)
            break;
        if (option == '?')
            return unknown_flag(r, argv[at]);
        if (option == ':') {
            snprintf(r->error, CONFIG_ERROR_BYTES, "%.60s needs a value; fanqd --help shows which", argv[at]);
            return -1;
        }
        option_name(option, "--", true, said);
        if (option_set(r, option, said, optarg) != 0)
            return -1;
    }
    if (optind < argc) {
        snprintf(r->error, CONFIG_ERROR_BYTES,
                 "fanqd takes no argument '%.60s'; fanqd --help shows its flags", argv[optind]);
        return -1;
    }
    return 0;
}

/* ---- the whole ---- */

static uint64_t default_memory_bytes(void)
{
    uint64_t quarter = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 4;
    uint64_t most = CONFIG_MIB(1024);

    return quarter < most ? quarter : most;
}

static void set_defaults(struct config *c)
{
    memset(c, 0, sizeof(*c));
    for (size_t i = 0; i < LIMIT_COUNT; i++)
        memcpy((char *)c + limits[i].offset, &limits[i].value, sizeof(uint64_t));
    c->memory_bytes_max = default_memory_bytes();
    c->listen_count = 1;
    snprintf(c->listens[0].host, sizeof(c->listens[0].host), "127.0.0.1");
    c->listens[0].port = -1;
}

/* Where a service manager says, or the system's usual place. 0, or -1 with a text. */
static int default_directory(struct config *c, char *const env[], char *error)
{
    const char *state = environment(env, "STATE_DIRECTORY"), *xdg = environment(env, "XDG_STATE_HOME"),
               *home = environment(env, "HOME");
    int length;

    if (state != NULL)
        length = snprintf(c->directory, sizeof(c->directory), "%.*s", (int)strcspn(state, ":"), state);
    else if (geteuid() == 0)
        length = snprintf(c->directory, sizeof(c->directory), "/var/lib/fanq");
    else if (xdg != NULL)
        length = snprintf(c->directory, sizeof(c->directory), "%s/fanq", xdg);
    else
        length =
            snprintf(c->directory, sizeof(c->directory), "%s/.local/state/fanq", home != NULL ? home : "");
    if (length < (int)sizeof(c->directory) &&
        (state != NULL || xdg != NULL || home != NULL || geteuid() == 0))
        return 0;
    snprintf(error, CONFIG_ERROR_BYTES,
             "there is no place to keep messages: give --dir DIRECTORY, or --memory to keep nothing");
    return -1;
}

/* The cache must take what one request or delivery is about, twice, and leave half of the memory to what comes in. */
static int work_out_cache(struct config *c, char *error)
{
    uint64_t least = 2 * c->frame_bytes_max, quarter = c->memory_bytes_max / 4;

    if (c->cache_bytes_max == 0)
        c->cache_bytes_max = quarter < CONFIG_MIB(32) ? quarter : CONFIG_MIB(32);
    if (c->cache_bytes_max < least)
        c->cache_bytes_max = least;
    if (c->memory || c->cache_bytes_max <= c->memory_bytes_max / 2)
        return 0;
    if (c->cache_bytes_max == least)
        snprintf(error, CONFIG_ERROR_BYTES,
                 "frame_bytes_max (%" PRIu64 ") must be at most a quarter of memory_bytes_max (%" PRIu64
                 "): lower --frame-bytes-max or raise --memory-bytes-max",
                 c->frame_bytes_max, c->memory_bytes_max);
    else
        snprintf(error, CONFIG_ERROR_BYTES,
                 "cache_bytes_max (%" PRIu64 ") must be at most half of memory_bytes_max (%" PRIu64
                 "): lower --cache-bytes-max or raise --memory-bytes-max",
                 c->cache_bytes_max, c->memory_bytes_max);
    return -1;
}

/* Values that are each in bounds but do not fit each other. */
static int check_together(const struct config *c, char *error)
{
    if (c->message_bytes_max + CONFIG_KIB(4) > c->frame_bytes_max) {
        snprintf(error, CONFIG_ERROR_BYTES,
                 "a message of message_bytes_max (%" PRIu64
                 ") does not fit in a frame of frame_bytes_max (%" PRIu64
                 "): set --frame-bytes-max at least 4k above --message-bytes-max",
                 c->message_bytes_max, c->frame_bytes_max);
        return -1;
    }
    if (c->frame_bytes_max > c->memory_bytes_max / 2) {
        snprintf(error, CONFIG_ERROR_BYTES,
                 "frame_bytes_max (%" PRIu64 ") must be at most half of memory_bytes_max (%" PRIu64
                 "): lower --frame-bytes-max or raise --memory-bytes-max",
                 c->frame_bytes_max, c->memory_bytes_max);
        return -1;
    }
    if (c->listen_count == 0 && c->unix_path == NULL) {
        snprintf(error, CONFIG_ERROR_BYTES, "--listen none leaves no way in: give --unix PATH too");
        return -1;
    }
    return 0;
}

/* Flags replace what the environment said. */
static int check_place(struct reader *r)
{
    bool both = r->memory_given && r->directory_given;

    if (both)
        snprintf(r->error, CONFIG_ERROR_BYTES,
                 "--memory keeps nothing, and --dir says where to keep everything: give one of them");
    r->memory_given = r->directory_given = false;
    return both ? -1 : 0;
}

int config_read(struct config *ret_config, int argc, char *const argv[], char *const env[],
                char error[CONFIG_ERROR_BYTES])
{
    struct reader r = {.config = ret_config, .error = error};

    error[0] = '\0';
    set_defaults(ret_config);
    if (read_environment(&r, env) != 0 || check_place(&r) != 0)
        return CONFIG_EXIT_CONFIG;
    r.listens_given = false; /* flags replace what the environment said */
    if (read_flags(&r, argc, argv) != 0 || check_place(&r) != 0)
        return CONFIG_EXIT_USAGE;
    if (ret_config->action != CONFIG_RUN)
        return 0;
    if (!ret_config->memory && ret_config->directory[0] == '\0' &&
        default_directory(ret_config, env, error) != 0)
        return CONFIG_EXIT_CONFIG;
    if (check_together(ret_config, error) != 0 || work_out_cache(ret_config, error) != 0)
        return CONFIG_EXIT_CONFIG;
    return 0;
}

/* Words, as many as fit, in lines that begin at a column; the first goes on where it stands. */
static void put_wrapped(FILE *out, const char *text)
{
    size_t used = 0;

    while (*text != '\0') {
        size_t length = strcspn(text, " ");

        if (used > 0 && used + 1 + length > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            used = 0;
        }
        used += (size_t)fprintf(out, "%s%.*s", used > 0 ? " " : "", (int)length, text);
        text += length + (text[length] == ' ');
    }
    fputc('\n', out);
}

static void put_limit(FILE *out, const struct limit *limit, const char *name)
{
    static const char *const units[] = {[UNIT_COUNT] = "N", [UNIT_BYTES] = "SIZE", [UNIT_MS] = "TIME"};
    char value[32], text[320];

    format_value(limit->unit, limit->value, value);
    snprintf(text, sizeof(text), limit->value >= limit->least ? "%s (default: %s)" : "%s", limit->help,
             value);
    fprintf(out, "  %s %-*s ", name, HELP_COLUMN - 4 - (int)strlen(name), units[limit->unit]);
    put_wrapped(out, text);
}

void config_help(FILE *out)
{
    char name[OPTION_NAME_BYTES];

    fprintf(out, "fanqd: the fanq message broker, version " FANQ_VERSION "\n\n"
                 "usage: fanqd [FLAGS]\n\n");
    for (int i = 0; i < OPTION_WORDS; i++)
        fprintf(out, "  --%s%s%s\n      %s\n", words[i].name, words[i].argument != NULL ? " " : "",
                words[i].argument != NULL ? words[i].argument : "", words[i].help);
    fprintf(out, "\nLimits (SIZE: 64k, 8M, 1G; TIME: 500ms, 30s, 5m, 2h, 1d):\n\n");
    for (int i = 0; i < LIMIT_COUNT; i++) {
        option_name(OPTION_WORDS + i, "--", true, name);
        put_limit(out, &limits[i], name);
    }
    fprintf(
        out,
        "\nAll but --check, --help and --version can be set in the environment, too:\n"
        "FANQD_MEMORY_BYTES_MAX=2G. A flag wins. SIGTERM and SIGINT end the broker when it has answered.\n");
}
