#include "many.h"

#include <stdio.h>
#include <stdlib.h>

/* Which name the error is about: a subscription has two. */
static const char *name_of(const struct cli *cli, int first, const char *name, const struct fanq_error *error)
{
    return first > 0 && error->code == FANQ_ERR_TOPIC_NOT_FOUND ? cli->arguments[0] : name;
}

static void report_one(struct cli *cli, int first, const char *what, const char *name,
                       const struct fanq_error *error)
{
    const char *about = name_of(cli, first, name, error);

    if (first > 0)
        (void)cli_report(cli, error, about, "cannot %s %s and %s", what, cli->arguments[0], name);
    else
        (void)cli_report(cli, error, about, "cannot %s %s", what, name);
}

/* People at a terminal see what was done; --json tells programs. */
static void put_results(struct cli *cli, int first, const bool *failed, int count)
{
    struct json json = {.out = stdout};

    json_object_begin(&json, NULL);
    json_array_begin(&json, "done");
    for (int i = 0; i < count; i++)
        if (!failed[i])
            json_text(&json, NULL, cli->arguments[first + i]);
    json_array_end(&json);
    json_array_begin(&json, "failed");
    for (int i = 0; i < count; i++)
        if (failed[i])
            json_text(&json, NULL, cli->arguments[first + i]);
    json_array_end(&json);
    json_object_end(&json);
    json_line_end(&json);
}

int many_run(struct cli *cli, int first, const char *what, const char *done, many_fn fn)
{
    int count = cli->argument_count - first;
    bool *failed = calloc((size_t)count, sizeof(*failed));
    int failed_count = 0, code = failed != NULL ? cli_connect(cli, CLI_CONNECT_ONCE) : EXIT_FAILED;

    if (code != 0) {
        free(failed);
        return code;
    }
    for (int i = 0; i < count; i++) {
        const char *name = cli->arguments[first + i];
        struct fanq_error error;

        failed[i] = fn(cli, name, &error) != 0;
        if (failed[i]) {
            report_one(cli, first, what, name, &error);
            code = (int)cli_exit_code(&error);
            failed_count++;
        } else if (first > 0) {
            cli_say("%s %s %s", done, cli->arguments[0], name);
        } else {
            cli_say("%s %s", done, name);
        }
    }
    if (cli->options.json)
        put_results(cli, first, failed, count);
    free(failed);
    if (failed_count > 0)
        return failed_count < count ? EXIT_PARTIAL : code;
    return cli_flush();
}

int many_confirm(struct cli *cli, const char *what)
{
    char names[256] = "";
    size_t used = 0;

    for (int i = 0; i < cli->argument_count && used < sizeof(names) - 1; i++)
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", i > 0 ? ", " : " ",
                                 cli->arguments[i]);
    return cli_confirm(cli, "%s%s", what, names);
}

int names_each(struct cli *cli, names_page_fn page, const char *prefix, const char *of, names_fn fn,
               void *user)
{
    struct fanq_list_options options = FANQ_LIST_OPTIONS_INIT;
    char after[512];
    bool more = true;
    int code = 0;

    options.prefix = prefix;
    while (more && code == 0) {
        struct fanq_name_list *list;
        struct fanq_error error;

        if (page(cli, &options, of, &list, &error) != 0)
            return of != NULL ? cli_report(cli, &error, of, "topic %s", of)
                              : cli_report(cli, &error, NULL, "cannot list");
        for (size_t i = 0; i < list->count && code == 0; i++)
            code = fn(user, list->names[i]);
        more = list->more && list->count > 0;
        if (more)
            snprintf(after, sizeof(after), "%s", list->names[list->count - 1]);
        options.after = after;
        fanq_name_list_free(cli->client, list);
    }
    return code;
}
