/* fanq queue: make, list, look at, change, empty and delete queues. */
#include "cli.h"
#include "many.h"
#include "tables.h"

#include "text.h"

#include <stdio.h>

static struct fanq_queue_settings settings(const struct cli *cli)
{
    struct fanq_queue_settings settings = FANQ_QUEUE_SETTINGS_INIT;

    if (cli->options.visibility_ms >= 0)
        settings.visibility_ms = cli->options.visibility_ms;
    if (cli->options.wait_ms >= 0)
        settings.receive_wait_ms = cli->options.wait_ms;
    if (cli->options.early_delivery >= 0)
        settings.early_delivery = cli->options.early_delivery;
    return settings;
}

static int create_one(struct cli *cli, const char *queue, struct fanq_error *ret_error)
{
    struct fanq_queue_settings wanted = settings(cli);

    return fanq_queue_create_sync(cli->client, queue, &wanted, cli_timeout_ms(cli), ret_error);
}

int cmd_queue_create(struct cli *cli)
{
    return many_run(cli, 0, "create queue", "created queue", create_one);
}

static int set_one(struct cli *cli, const char *queue, struct fanq_error *ret_error)
{
    struct fanq_queue_settings wanted = settings(cli);

    return fanq_queue_set_sync(cli->client, queue, &wanted, cli_timeout_ms(cli), ret_error);
}

int cmd_queue_set(struct cli *cli)
{
    if (cli->options.visibility_ms >= 0 || cli->options.wait_ms >= 0 || cli->options.early_delivery >= 0)
        return many_run(cli, 0, "change queue", "changed queue", set_one);
    cli_fail(EXIT_USAGE, "nothing to set");
    cli_hint("such as:  fanq queue set %s --visibility 30s --wait 20s", cli->arguments[0]);
    return EXIT_USAGE;
}

static int delete_one(struct cli *cli, const char *queue, struct fanq_error *ret_error)
{
    return fanq_queue_delete_sync(cli->client, queue, cli_timeout_ms(cli), ret_error);
}

int cmd_queue_rm(struct cli *cli)
{
    int code = many_confirm(cli, "Delete queue");

    return code != 0 ? code : many_run(cli, 0, "delete queue", "deleted queue", delete_one);
}

static int purge_one(struct cli *cli, const char *queue, struct fanq_error *ret_error)
{
    return fanq_queue_purge_sync(cli->client, queue, cli_timeout_ms(cli), ret_error);
}

int cmd_queue_purge(struct cli *cli)
{
    int code = many_confirm(cli, "Delete all messages of queue");

    return code != 0 ? code : many_run(cli, 0, "purge queue", "purged queue", purge_one);
}

static void put_info(const struct fanq_queue_info *info)
{
    char visibility[TEXT_NUMBER_BYTES], wait[TEXT_NUMBER_BYTES], age[TEXT_NUMBER_BYTES],
        time[TEXT_TIME_BYTES];

    printf("name        %s\n", info->name);
    printf("visible     %llu\n", (unsigned long long)info->visible);
    printf("in flight   %llu\n", (unsigned long long)info->in_flight);
    printf("delayed     %llu\n", (unsigned long long)info->delayed);
    printf("oldest      %s\n", text_age(info->oldest_age_ms, age));
    printf("consumers   %llu\n", (unsigned long long)info->consumers);
    printf("sent        %llu\n", (unsigned long long)info->sent);
    printf("delivered   %llu\n", (unsigned long long)info->delivered);
    printf("deleted     %llu\n", (unsigned long long)info->deleted);
    printf("visibility  %s\n", text_duration(info->visibility_ms, visibility));
    printf("wait        %s\n", text_duration(info->receive_wait_ms, wait));
    printf("early       %s\n", info->early_delivery ? "on" : "off");
    printf("created     %s\n", text_time(info->created_ms, time));
}

int cmd_queue_info(struct cli *cli)
{
    const char *queue = cli->arguments[0];
    struct json json = {.out = stdout};
    struct fanq_queue_info info;
    struct fanq_error error;
    int code = cli_connect(cli, CLI_CONNECT_ONCE);

    if (code != 0)
        return code;
    if (fanq_queue_get_sync(cli->client, queue, cli_timeout_ms(cli), &info, &error) != 0)
        return cli_report(cli, &error, queue, "queue %s", queue);
    if (cli->options.json) {
        queue_info_json(&json, NULL, &info);
        json_line_end(&json);
    } else {
        put_info(&info);
    }
    return cli_flush();
}

/* ---- the list ---- */

int list_queues(struct cli *cli, const struct fanq_list_options *options, const char *unused,
                struct fanq_name_list **ret_list, struct fanq_error *ret_error)
{
    return fanq_queue_list_sync(cli->client, options, cli_timeout_ms(cli), ret_list, ret_error);
}

void queue_info_json(struct json *json, const char *key, const struct fanq_queue_info *info)
{
    char time[TEXT_TIME_BYTES];

    json_object_begin(json, key);
    json_text(json, "name", info->name);
    json_number(json, "visible", info->visible);
    json_number(json, "in_flight", info->in_flight);
    json_number(json, "delayed", info->delayed);
    json_number(json, "oldest_age_ms", info->oldest_age_ms);
    json_number(json, "consumers", info->consumers);
    json_number(json, "sent", info->sent);
    json_number(json, "delivered", info->delivered);
    json_number(json, "deleted", info->deleted);
    json_number(json, "visibility_ms", info->visibility_ms);
    json_number(json, "receive_wait_ms", info->receive_wait_ms);
    json_bool(json, "early_delivery", info->early_delivery);
    json_text(json, "created", text_time(info->created_ms, time));
    json_object_end(json);
}

struct queue_table {
    struct cli *cli;
    struct json json;
};

static void put_row(const struct fanq_queue_info *info)
{
    char age[TEXT_NUMBER_BYTES];

    printf("%-40s %10llu %10llu %10llu %8s\n", info->name, (unsigned long long)info->visible,
           (unsigned long long)info->in_flight, (unsigned long long)info->delayed,
           text_age(info->oldest_age_ms, age));
}

static int put_queue(void *user, const char *queue)
{
    struct queue_table *table = user;
    struct cli *cli = table->cli;
    struct fanq_queue_info info;
    struct fanq_error error;

    if (!cli->options.verbose && !cli->options.json) {
        puts(queue);
        return 0;
    }
    if (!cli->options.verbose) {
        json_object_begin(&table->json, NULL);
        json_text(&table->json, "name", queue);
        json_object_end(&table->json);
        return 0;
    }
    if (fanq_queue_get_sync(cli->client, queue, cli_timeout_ms(cli), &info, &error) != 0)
        /* Deleted since it was listed: that is not an error. */
        return error.code == FANQ_ERR_QUEUE_NOT_FOUND ? 0 : cli_report(cli, &error, queue, "queue %s", queue);
    if (cli->options.json)
        queue_info_json(&table->json, NULL, &info);
    else
        put_row(&info);
    return 0;
}

int cmd_queue_ls(struct cli *cli)
{
    struct queue_table table = {.cli = cli, .json = {.out = stdout}};
    const char *prefix = cli->argument_count > 0 ? cli->arguments[0] : NULL;
    int code = cli_connect(cli, CLI_CONNECT_ONCE);

    if (code != 0)
        return code;
    if (cli->options.json) {
        json_object_begin(&table.json, NULL);
        json_array_begin(&table.json, "queues");
    } else if (cli->options.verbose) {
        printf("%-40s %10s %10s %10s %8s\n", "QUEUE", "VISIBLE", "IN-FLIGHT", "DELAYED", "OLDEST");
    }
    code = names_each(cli, list_queues, prefix, NULL, put_queue, &table);
    if (cli->options.json) {
        json_array_end(&table.json);
        json_object_end(&table.json);
        json_line_end(&table.json);
    }
    return code != 0 ? code : cli_flush();
}
