/* fanq top: the queues, busiest first, looked at again and again. */
#include "cli.h"
#include "many.h"
#include "tables.h"

#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    INTERVAL_MS_DEFAULT = 1000,
    INTERVAL_MS_MIN = 100,
    HEADER_ROWS = 4,
    FIGURES_COLUMNS = 65, /* of a row, all but the name */
    NAME_COLUMNS_MIN = 15,
    NAME_COLUMNS_MAX = 40
};

struct top;

struct entry {
    struct top *top;
    struct fanq_queue_info info;     /* name_text is filled in from the list */
    bool present;                    /* false: deleted since it was listed */
    double sent, delivered, deleted; /* each second, since the look before */
};

/* All queues at one moment, by name. */
struct look {
    struct entry *entries;
    size_t count, room;
    uint64_t taken_ms;
};

struct top {
    struct cli *cli;
    struct look before, now;
    size_t missing; /* answers still to come */
    bool done;
    struct fanq_error error;
};

/* ---- looking ---- */

static int add_name(void *user, const char *name)
{
    struct top *top = user;
    struct look *look = &top->now;
    struct entry *entry;

    if (look->count == look->room) {
        size_t room = look->room > 0 ? look->room * 2 : 64;
        struct entry *entries = realloc(look->entries, room * sizeof(*entries));

        if (entries == NULL)
            return cli_fail(EXIT_FAILED, "out of memory");
        look->entries = entries;
        look->room = room;
    }
    entry = &look->entries[look->count++];
    *entry = (struct entry){.top = top};
    snprintf(entry->info.name_text, sizeof(entry->info.name_text), "%s", name);
    return 0;
}

static void on_queue(struct fanq *client, const struct fanq_error *error, const struct fanq_queue_info *info,
                     void *user)
{
    struct entry *entry = user;
    struct top *top = entry->top;

    if (info != NULL) {
        char name[sizeof(entry->info.name_text)];

        memcpy(name, entry->info.name_text, sizeof(name));
        entry->info = *info;
        memcpy(entry->info.name_text, name, sizeof(name));
        entry->info.name = entry->info.name_text;
        entry->present = true;
    } else if (error->code != FANQ_ERR_QUEUE_NOT_FOUND) {
        top->error = *error;
    }
    top->missing--;
    top->done = top->missing == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->info.name_text, ((const struct entry *)b)->info.name_text);
}

static double per_second(uint64_t now, uint64_t before, uint64_t ms)
{
    return ms > 0 && now >= before ? (double)(now - before) * 1000 / (double)ms : 0;
}

static void count_rates(struct top *top)
{
    uint64_t ms = top->now.taken_ms - top->before.taken_ms;

    for (size_t i = 0; i < top->now.count && top->before.count > 0; i++) {
        struct entry *entry = &top->now.entries[i];
        const struct entry *old =
            bsearch(entry, top->before.entries, top->before.count, sizeof(*entry), by_name);

        if (old == NULL || old->info.queue_id != entry->info.queue_id)
            continue;
        entry->sent = per_second(entry->info.sent, old->info.sent, ms);
        entry->delivered = per_second(entry->info.delivered, old->info.delivered, ms);
        entry->deleted = per_second(entry->info.deleted, old->info.deleted, ms);
    }
}

/* Asks for all queues at once; their answers come together. */
static int ask(struct top *top)
{
    int err = 0;

    top->missing = 0;
    for (size_t i = 0; i < top->now.count && err == 0; i++) {
        struct entry *entry = &top->now.entries[i];

        err = fanq_queue_get(top->cli->client, entry->info.name_text, on_queue, entry);
        top->missing += err == 0;
    }
    top->done = top->missing == 0;
    return err;
}

static int take_look(struct top *top)
{
    struct cli *cli = top->cli;
    const char *prefix = cli->argument_count > 0 ? cli->arguments[0] : NULL;
    struct look oldest = top->before;
    int code, err;

    top->before = top->now;
    top->now = oldest;
    top->now.count = 0;
    code = names_each(cli, list_queues, prefix, NULL, add_name, top);
    if (code != 0)
        return code;
    err = ask(top);
    (void)cli_wait_done(cli, &top->done);
    top->now.taken_ms = cli_now_ms();
    if (err != 0)
        return cli_fail(EXIT_FAILED, "cannot ask for the queues: %s", fanq_strerror(err));
    if (top->error.code != 0)
        return cli_report(cli, &top->error, NULL, "cannot ask for the queues");
    count_rates(top);
    return 0;
}

/* ---- showing ---- */

static uint64_t backlog(const struct entry *entry)
{
    return entry->info.visible + entry->info.in_flight + entry->info.delayed;
}

static int by_activity(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    double a_rate = a->sent + a->delivered + a->deleted, b_rate = b->sent + b->delivered + b->deleted;

    if (a_rate != b_rate)
        return a_rate > b_rate ? -1 : 1;
    if (backlog(a) != backlog(b))
        return backlog(a) > backlog(b) ? -1 : 1;
    return by_name(a, b);
}

static void put_json(struct top *top)
{
    struct json json = {.out = stdout};

    json_object_begin(&json, NULL);
    json_array_begin(&json, "queues");
    for (size_t i = 0; i < top->now.count; i++)
        if (top->now.entries[i].present)
            queue_info_json(&json, NULL, &top->now.entries[i].info);
    json_array_end(&json);
    json_object_end(&json);
    json_line_end(&json);
}

static void put_header(const struct top *top, int name_columns, bool color)
{
    const struct fanq_broker_info *info = fanq_broker_info(top->cli->client);
    uint64_t visible = 0, in_flight = 0, delayed = 0;
    char numbers[3][TEXT_NUMBER_BYTES];

    for (size_t i = 0; i < top->now.count; i++) {
        visible += top->now.entries[i].info.visible;
        in_flight += top->now.entries[i].info.in_flight;
        delayed += top->now.entries[i].info.delayed;
    }
    printf("%s at %s, storage %s\n", info->server, fanq_current_url(top->cli->client), info->storage);
    printf("%zu queue%s: %s visible, %s in flight, %s delayed\n\n", top->now.count,
           top->now.count == 1 ? "" : "s", text_grouped(visible, numbers[0]),
           text_grouped(in_flight, numbers[1]), text_grouped(delayed, numbers[2]));
    printf("%s%-*s %10s %9s %7s %6s %4s %7s %7s %7s%s\n", color ? "\033[1m" : "", name_columns, "QUEUE",
           "VISIBLE", "IN-FLIGHT", "DELAYED", "OLDEST", "CONS", "SENT/S", "DELIV/S", "DEL/S",
           color ? "\033[0m" : "");
}

static void put_entry(const struct entry *entry, int name_columns)
{
    const struct fanq_queue_info *info = &entry->info;
    char numbers[3][TEXT_NUMBER_BYTES], age[TEXT_NUMBER_BYTES];

    printf("%-*s %10s %9s %7s %6s %4llu %7.0f %7.0f %7.0f\n", name_columns, info->name,
           text_grouped(info->visible, numbers[0]), text_grouped(info->in_flight, numbers[1]),
           text_grouped(info->delayed, numbers[2]), text_age(info->oldest_age_ms, age),
           (unsigned long long)info->consumers, entry->sent, entry->delivered, entry->deleted);
}

/* The screen's size; false when nobody looks. */
static bool screen_size(struct winsize *ret_size)
{
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, ret_size) == 0 && ret_size->ws_col > 0;
}

/* The name has what the figures leave. */
static int name_columns(void)
{
    struct winsize size;
    int columns = screen_size(&size) ? size.ws_col - FIGURES_COLUMNS : NAME_COLUMNS_MAX;

    if (columns < NAME_COLUMNS_MIN)
        return NAME_COLUMNS_MIN;
    return columns < NAME_COLUMNS_MAX ? columns : NAME_COLUMNS_MAX;
}

/* Sorts a copy: the next look compares by name. */
static int put_table(struct top *top, size_t row_max, bool color)
{
    struct entry *sorted = malloc((top->now.count + 1) * sizeof(*sorted));
    int columns = name_columns();

    if (sorted == NULL)
        return cli_fail(EXIT_FAILED, "out of memory");
    if (top->now.count > 0)
        memcpy(sorted, top->now.entries, top->now.count * sizeof(*sorted));
    qsort(sorted, top->now.count, sizeof(*sorted), by_activity);
    put_header(top, columns, color);
    for (size_t i = 0; i < top->now.count && i < row_max; i++)
        if (sorted[i].present)
            put_entry(&sorted[i], columns);
    free(sorted);
    return 0;
}

static size_t screen_rows(void)
{
    struct winsize size;

    if (!screen_size(&size) || size.ws_row <= HEADER_ROWS + 1)
        return SIZE_MAX;
    return (size_t)size.ws_row - HEADER_ROWS - 1;
}

static int show(struct top *top)
{
    bool live = !top->cli->options.once && cli_is_terminal(STDOUT_FILENO);
    int code = 0;

    if (top->cli->options.json) {
        put_json(top);
    } else {
        if (live)
            fputs("\033[H\033[J", stdout);
        code = put_table(top, live ? screen_rows() : SIZE_MAX, cli_colors(STDOUT_FILENO));
    }
    return code != 0 ? code : cli_flush();
}

static void rest(struct top *top, int64_t interval_ms)
{
    uint64_t until_ms = top->now.taken_ms + (uint64_t)interval_ms, now_ms;

    while ((now_ms = cli_now_ms()) < until_ms && cli_signal() == 0)
        (void)cli_turn(top->cli, -1, (int64_t)(until_ms - now_ms));
}

int cmd_top(struct cli *cli)
{
    struct top top = {.cli = cli};
    int64_t interval_ms = cli->options.interval_ms < 0 ? INTERVAL_MS_DEFAULT : cli->options.interval_ms;
    int code = cli_connect(cli, CLI_CONNECT_ONCE);

    if (code == 0)
        cli_catch_signals(cli);
    while (code == 0 && cli_signal() == 0) {
        code = take_look(&top);
        if (code == 0)
            code = show(&top);
        if (cli->options.once)
            break;
        rest(&top, interval_ms > INTERVAL_MS_MIN ? interval_ms : INTERVAL_MS_MIN);
    }
    if (code == 0 && cli_signal() != 0)
        code = EXIT_SIGNAL + cli_signal();
    fanq_free(cli->client); /* what is under way calls back while `top` is there */
    cli->client = NULL;
    free(top.before.entries);
    free(top.now.entries);
    return code;
}
