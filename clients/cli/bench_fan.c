/* fanq bench fanout: what the broker delivers to many subscribers. The load generator of bench/ does the
 * work, in threads of its own and over its own sockets; this is its face on the command line. */
#include "bench.h"

#include "text.h"

#include "generator.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    SIZE_DEFAULT = 128,
    BATCH_DEFAULT = 256,
    SUBSCRIBERS_DEFAULT = 16,
    MEASURED_MS_DEFAULT = 3000,
    SUBSCRIBERS_MAX = 1000,
    BATCH_MAX = 4096
};

static void put_json(const struct generator_options *options, const struct bench_fanout_result *result)
{
    struct json json = {.out = stdout};

    json_object_begin(&json, NULL);
    json_text(&json, "case", "fanout");
    json_number(&json, "size", options->size);
    json_number(&json, "subscribers", options->subscriber_count);
    json_number(&json, "batch", options->batch);
    json_number(&json, "delivered", result->delivered);
    json_decimal(&json, "published_per_s", result->published_per_s);
    json_decimal(&json, "delivered_per_s", result->delivered_per_s);
    json_decimal(&json, "bytes_per_s", result->bytes_per_s);
    json_decimal(&json, "overhead_bytes_per_message", result->overhead_bytes_per_message);
    json_object_end(&json);
    json_line_end(&json);
}

static void put_text(const struct generator_options *options, const struct bench_fanout_result *result)
{
    char published[TEXT_NUMBER_BYTES], delivered[TEXT_NUMBER_BYTES];

    printf("%s/s published, %s/s delivered to %" PRIu32 " subscribers: %.0f MB/s\n",
           text_grouped((uint64_t)result->published_per_s, published),
           text_grouped((uint64_t)result->delivered_per_s, delivered), options->subscriber_count,
           result->bytes_per_s / 1e6);
    printf("bodies of %zu bytes, %.1f bytes beside each, batch %" PRIu32 "\n", options->size,
           result->overhead_bytes_per_message, options->batch);
}

static int run(struct cli *cli, const struct generator_options *options, struct bench_fanout_result *result)
{
    int64_t duration_ms = cli->options.duration_ms > 0 ? cli->options.duration_ms : MEASURED_MS_DEFAULT;
    struct bench_error error = {.err = 0};

    /* From here a signal waits for the generator to clean up; a second one does not. */
    cli_catch_signals(cli);
    if (bench_fanout(options, (uint32_t)duration_ms, &error, result) != 0)
        return cli_fail(EXIT_FAILED, "the bench ended early: %s", error.text);
    if (cli_signal() != 0)
        return EXIT_SIGNAL + cli_signal();
    if (cli->options.json)
        put_json(options, result);
    else
        put_text(options, result);
    return cli_flush();
}

int bench_fan(struct cli *cli)
{
    const struct options *given = &cli->options;
    struct bench_fanout_result *result = calloc(1, sizeof(*result));
    char name[64];
    struct generator_options options = {
        .name = name,
        .subscriber_count = given->subscribers > 0 ? (uint32_t)given->subscribers : SUBSCRIBERS_DEFAULT,
        .batch = given->batch > 0 ? (uint32_t)given->batch : BATCH_DEFAULT,
        .size = given->size_bytes > 0 ? given->size_bytes : SIZE_DEFAULT,
    };
    int code;

    if (given->subscribers > SUBSCRIBERS_MAX || given->batch > BATCH_MAX) {
        free(result);
        return cli_fail(EXIT_USAGE, "at most %d subscribers and batches of %d", SUBSCRIBERS_MAX, BATCH_MAX);
    }
    if (result == NULL)
        return cli_fail(EXIT_FAILED, "out of memory");
    snprintf(name, sizeof(name), "fanq-bench-%ld", (long)getpid());
    options.queue_count = options.subscriber_count;
    code = cli_connect(cli, CLI_CONNECT_ONCE); /* for the errors that people know from everywhere else */
    if (code == 0) {
        options.url = fanq_current_url(cli->client);
        code = run(cli, &options, result);
    }
    free(result);
    return code;
}
