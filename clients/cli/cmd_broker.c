/* fanq status and fanq ping: the broker itself. */
#include "cli.h"

#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void json_broker(struct json *json, const struct cli *cli)
{
    const struct fanq_broker_info *info = fanq_broker_info(cli->client);
    char epoch[TEXT_NUMBER_BYTES];

    snprintf(epoch, sizeof(epoch), "%" PRIx64, info->epoch); /* too long for JSON numbers elsewhere */
    json_text(json, "url", fanq_current_url(cli->client));
    json_text(json, "server", info->server);
    json_text(json, "storage", info->storage);
    json_text(json, "epoch", epoch);
}

static void put_status_json(struct cli *cli, const struct fanq_stat_list *stats)
{
    const struct fanq_broker_info *info = fanq_broker_info(cli->client);
    struct json json = {.out = stdout};

    json_object_begin(&json, NULL);
    json_broker(&json, cli);
    json_number(&json, "frame_bytes_max", info->frame_bytes_max);
    json_number(&json, "message_bytes_max", info->message_bytes_max);
    json_bool(&json, "auto_create", info->auto_create);
    json_object_begin(&json, "stats");
    for (size_t i = 0; i < stats->count; i++)
        json_number(&json, stats->entries[i].name, stats->entries[i].value);
    json_object_end(&json);
    json_object_end(&json);
    json_line_end(&json);
}

static void put_status(struct cli *cli, const struct fanq_stat_list *stats)
{
    const struct fanq_broker_info *info = fanq_broker_info(cli->client);
    char number[TEXT_NUMBER_BYTES];

    printf("%-28s %s\n", "url", fanq_current_url(cli->client));
    printf("%-28s %s\n", "server", info->server);
    printf("%-28s %s\n", "storage", info->storage);
    printf("%-28s %" PRIx64 "\n", "epoch", info->epoch); /* as in the ids of messages */
    printf("%-28s %s\n", "frame_bytes_max", text_grouped(info->frame_bytes_max, number));
    printf("%-28s %s\n", "message_bytes_max", text_grouped(info->message_bytes_max, number));
    printf("%-28s %s\n", "auto_create", info->auto_create ? "yes" : "no");
    for (size_t i = 0; i < stats->count; i++)
        if (strcmp(stats->entries[i].name, "epoch") != 0)
            printf("%-28s %s\n", stats->entries[i].name, text_grouped(stats->entries[i].value, number));
}

int cmd_status(struct cli *cli)
{
    struct fanq_stat_list *stats;
    struct fanq_error error;
    int code = cli_connect(cli, CLI_CONNECT_ONCE);

    if (code != 0)
        return code;
    if (fanq_stats_sync(cli->client, cli_timeout_ms(cli), &stats, &error) != 0)
        return cli_report(cli, &error, NULL, "no status from %s", fanq_current_url(cli->client));
    if (cli->options.json)
        put_status_json(cli, stats);
    else
        put_status(cli, stats);
    fanq_stat_list_free(cli->client, stats);
    return cli_flush();
}

static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1000 + (double)now.tv_nsec / 1000000;
}

static int put_pong(struct cli *cli, double took_ms)
{
    struct json json = {.out = stdout};

    if (!cli->options.json) {
        printf("%s at %s answered in %.2f ms\n", fanq_broker_info(cli->client)->server,
               fanq_current_url(cli->client), took_ms);
        return cli_flush();
    }
    json_object_begin(&json, NULL);
    json_broker(&json, cli);
    json_decimal(&json, "ms", took_ms);
    json_object_end(&json);
    json_line_end(&json);
    return cli_flush();
}

int cmd_ping(struct cli *cli)
{
    struct fanq_error error;
    double start_ms;
    int code = 0;

    if (cli->options.wait_ms < 0)
        code = cli_connect(cli, CLI_CONNECT_ONCE);
    else if (!cli_connect_wait(cli, cli->options.wait_ms))
        code = cli_report_unconnected(cli);
    if (code != 0)
        return code;
    start_ms = now_ms();
    if (fanq_ping_sync(cli->client, cli_timeout_ms(cli), &error) != 0) {
        cli_report(cli, &error, NULL, "no answer from %s", fanq_current_url(cli->client));
        return EXIT_CONNECTION;
    }
    return put_pong(cli, now_ms() - start_ms);
}
