/* fanq topic and fanq sub: topics, and which queues are subscribed to them. */
#include "cli.h"
#include "many.h"

#include "text.h"

#include <stdio.h>

static int create_one(struct cli *cli, const char *topic, struct fanq_error *ret_error)
{
    return fanq_topic_create_sync(cli->client, topic, cli_timeout_ms(cli), ret_error);
}

int cmd_topic_create(struct cli *cli)
{
    return many_run(cli, 0, "create topic", "created topic", create_one);
}

static int delete_one(struct cli *cli, const char *topic, struct fanq_error *ret_error)
{
    return fanq_topic_delete_sync(cli->client, topic, cli_timeout_ms(cli), ret_error);
}

int cmd_topic_rm(struct cli *cli)
{
    int code = many_confirm(cli, "Delete topic");

    return code != 0 ? code : many_run(cli, 0, "delete topic", "deleted topic", delete_one);
}

static void put_json(struct json *json, const char *key, const struct fanq_topic_info *info)
{
    char time[TEXT_TIME_BYTES];

    json_object_begin(json, key);
    json_text(json, "name", info->name);
    json_number(json, "stream", info->stream);
    json_number(json, "subscriptions", info->subscription_count);
    json_number(json, "published", info->published);
    json_text(json, "created", text_time(info->created_ms, time));
    json_object_end(json);
}

int cmd_topic_info(struct cli *cli)
{
    const char *topic = cli->arguments[0];
    struct json json = {.out = stdout};
    struct fanq_topic_info info;
    struct fanq_error error;
    char time[TEXT_TIME_BYTES];
    int code = cli_connect(cli, CLI_CONNECT_ONCE);

    if (code != 0)
        return code;
    if (fanq_topic_get_sync(cli->client, topic, cli_timeout_ms(cli), &info, &error) != 0)
        return cli_report(cli, &error, topic, "topic %s", topic);
    if (cli->options.json) {
        put_json(&json, NULL, &info);
        json_line_end(&json);
        return cli_flush();
    }
    printf("name           %s\nsubscriptions  %llu\npublished      %llu\ncreated        %s\n", info.name,
           (unsigned long long)info.subscription_count, (unsigned long long)info.published,
           text_time(info.created_ms, time));
    return cli_flush();
}

/* ---- lists ---- */

static int list_topics(struct cli *cli, const struct fanq_list_options *options, const char *unused,
                       struct fanq_name_list **ret_list, struct fanq_error *ret_error)
{
    return fanq_topic_list_sync(cli->client, options, cli_timeout_ms(cli), ret_list, ret_error);
}

struct topic_table {
    struct cli *cli;
    struct json json;
};

static int put_name(void *user, const char *topic)
{
    struct topic_table *table = user;
    struct cli *cli = table->cli;
    struct fanq_topic_info info;
    struct fanq_error error;

    if (cli->options.verbose) {
        if (fanq_topic_get_sync(cli->client, topic, cli_timeout_ms(cli), &info, &error) != 0)
            /* Deleted since it was listed: not there is not an error. */
            return error.code == FANQ_ERR_TOPIC_NOT_FOUND ? 0
                                                          : cli_report(cli, &error, topic, "topic %s", topic);
        if (cli->options.json)
            put_json(&table->json, NULL, &info);
        else
            printf("%-40s %13llu %12llu\n", topic, (unsigned long long)info.subscription_count,
                   (unsigned long long)info.published);
    } else if (cli->options.json) {
        json_object_begin(&table->json, NULL);
        json_text(&table->json, "name", topic);
        json_object_end(&table->json);
    } else {
        puts(topic);
    }
    return 0;
}

int cmd_topic_ls(struct cli *cli)
{
    struct topic_table table = {.cli = cli, .json = {.out = stdout}};
    const char *prefix = cli->argument_count > 0 ? cli->arguments[0] : NULL;
    int code = cli_connect(cli, CLI_CONNECT_ONCE);

    if (code != 0)
        return code;
    if (cli->options.json) {
        json_object_begin(&table.json, NULL);
        json_array_begin(&table.json, "topics");
    } else if (cli->options.verbose) {
        printf("%-40s %13s %12s\n", "TOPIC", "SUBSCRIPTIONS", "PUBLISHED");
    }
    code = names_each(cli, list_topics, prefix, NULL, put_name, &table);
    if (cli->options.json) {
        json_array_end(&table.json);
        json_object_end(&table.json);
        json_line_end(&table.json);
    }
    return code != 0 ? code : cli_flush();
}

/* ---- subscriptions ---- */

static int subscribe_one(struct cli *cli, const char *queue, struct fanq_error *ret_error)
{
    return fanq_subscribe_sync(cli->client, cli->arguments[0], queue, cli_timeout_ms(cli), ret_error);
}

static int unsubscribe_one(struct cli *cli, const char *queue, struct fanq_error *ret_error)
{
    return fanq_unsubscribe_sync(cli->client, cli->arguments[0], queue, cli_timeout_ms(cli), ret_error);
}

int cmd_sub_add(struct cli *cli)
{
    return many_run(cli, 1, "subscribe", "subscribed", subscribe_one);
}

int cmd_sub_rm(struct cli *cli)
{
    return many_run(cli, 1, "unsubscribe", "unsubscribed", unsubscribe_one);
}

struct subscription_table {
    struct cli *cli;
    struct json json;
    const char *topic;
};

static int put_subscription(void *user, const char *queue)
{
    struct subscription_table *table = user;

    if (!table->cli->options.json) {
        printf("%s\t%s\n", table->topic, queue);
        return 0;
    }
    json_object_begin(&table->json, NULL);
    json_text(&table->json, "topic", table->topic);
    json_text(&table->json, "queue", queue);
    json_object_end(&table->json);
    return 0;
}

static int list_subscriptions(struct cli *cli, const struct fanq_list_options *options, const char *topic,
                              struct fanq_name_list **ret_list, struct fanq_error *ret_error)
{
    return fanq_subscription_list_sync(cli->client, topic, options, cli_timeout_ms(cli), ret_list, ret_error);
}

static int put_topic(void *user, const char *topic)
{
    struct subscription_table *table = user;

    table->topic = topic;
    return names_each(table->cli, list_subscriptions, NULL, topic, put_subscription, table);
}

int cmd_sub_ls(struct cli *cli)
{
    struct subscription_table table = {.cli = cli, .json = {.out = stdout}};
    int code = cli_connect(cli, CLI_CONNECT_ONCE);

    if (code != 0)
        return code;
    if (cli->options.json) {
        json_object_begin(&table.json, NULL);
        json_array_begin(&table.json, "subscriptions");
    }
    code = cli->argument_count > 0 ? put_topic(&table, cli->arguments[0])
                                   : names_each(cli, list_topics, NULL, NULL, put_topic, &table);
    if (cli->options.json) {
        json_array_end(&table.json);
        json_object_end(&table.json);
        json_line_end(&table.json);
    }
    return code != 0 ? code : cli_flush();
}
