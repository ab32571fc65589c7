#include "content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_type(const char *type, size_t bytes)
{
    static const char *const types[] = {"String", "Number", "Binary"};

    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        size_t length = strlen(types[i]);

        if (bytes >= length && memcmp(type, types[i], length) == 0 &&
            (bytes == length || type[length] == '.'))
            return true;
    }
    return false;
}

/* "name=value", "name:Number=5". */
static int parse_attribute(const char *text, struct fanq_message_attribute *ret_attribute)
{
    const char *equals = strchr(text, '=');
    size_t left = equals != NULL ? (size_t)(equals - text) : 0;
    const char *colon = left > 0 ? memchr(text, ':', left) : NULL;

    if (left == 0 || colon == text) {
        cli_fail(EXIT_USAGE, "--attr %.80s: must be NAME=VALUE or NAME:TYPE=VALUE", text);
        cli_hint("such as:  --attr type=order.created --attr count:Number=5");
        return EXIT_USAGE;
    }
    *ret_attribute = (struct fanq_message_attribute){
        .name = text,
        .name_bytes = colon != NULL ? (size_t)(colon - text) : left,
        .type = colon != NULL ? colon + 1 : NULL,
        .type_bytes = colon != NULL ? (size_t)(equals - colon - 1) : 0,
        .value = equals + 1,
        .value_bytes = strlen(equals + 1),
    };
    if (colon != NULL && !is_type(ret_attribute->type, ret_attribute->type_bytes))
        return cli_fail(EXIT_USAGE,
                        "--attr %.80s: the type must be String, Number or Binary, perhaps with .SOMETHING",
                        text);
    return 0;
}

static int parse_attributes(struct content *content, const struct options *options)
{
    int code = 0;

    for (size_t i = 0; i < options->attributes.count && code == 0; i++)
        code = parse_attribute(options->attributes.items[i], &content->attributes[i]);
    content->like.attributes = content->attributes;
    content->like.attribute_count = (uint32_t)options->attributes.count;
    content->like.subject = options->subject;
    content->like.trace = options->trace;
    return code;
}

static int open_input(struct content *content, struct cli *cli)
{
    const struct options *options = &cli->options;
    const char *body = cli->argument_count > 1 ? cli->arguments[1] : NULL;
    const char *verb = cli->command->name;

    content->input_fd = -1;
    if (options->file != NULL && body != NULL)
        return cli_fail(EXIT_USAGE, "either a body or --file, not both");
    if (options->file != NULL && strcmp(options->file, "-") != 0) {
        content->input_fd = open(options->file, O_RDONLY | O_CLOEXEC);
        return content->input_fd >= 0
                   ? 0
                   : cli_fail(EXIT_FAILED, "cannot open %s: %s", options->file, strerror(errno));
    }
    if (body != NULL && strcmp(body, "-") != 0) {
        if (!options->line && !options->null)
            return 0;
        cli_fail(EXIT_USAGE, "--line and --null read standard input or a --file, not an argument");
        cli_hint("such as:  fanq %s --line %s < FILE", verb, content->name);
        return EXIT_USAGE;
    }
    if (body == NULL && options->file == NULL && !options->line && !options->null && isatty(STDIN_FILENO)) {
        cli_fail(EXIT_USAGE, "what is the message?");
        cli_hint("such as:  fanq %s %s \"some text\"        or - to type it here", verb, content->name);
        return EXIT_USAGE;
    }
    content->input_fd = STDIN_FILENO;
    return 0;
}

int content_init(struct content *content, struct cli *cli, bool topic)
{
    int code;

    *content = (struct content){.topic = topic, .name = cli->arguments[0], .input_fd = -1};
    code = parse_attributes(content, &cli->options);
    return code != 0 ? code : open_input(content, cli);
}

void content_close(struct content *content)
{
    if (content->input_fd > STDIN_FILENO)
        close(content->input_fd);
    content->input_fd = -1;
}

static int read_all(int fd, char **ret_body, size_t *ret_bytes)
{
    size_t used = 0, size = 64 * 1024;
    char *body = malloc(size);

    while (body != NULL) {
        ssize_t got = read(fd, body + used, size - used);
        char *more;

        if (got == 0) {
            *ret_body = body;
            *ret_bytes = used;
            return 0;
        }
        if (got < 0) {
            free(body);
            return cli_fail(EXIT_FAILED, "cannot read the message: %s", strerror(errno));
        }
        used += (size_t)got;
        if (used < size)
            continue;
        size *= 2;
        more = realloc(body, size);
        if (more == NULL)
            free(body);
        body = more;
    }
    return cli_fail(EXIT_FAILED, "the message does not fit in memory");
}

int content_body(struct content *content, struct cli *cli, char **ret_body, size_t *ret_bytes)
{
    char *body;

    if (content->input_fd >= 0)
        return read_all(content->input_fd, ret_body, ret_bytes);
    body = strdup(cli->arguments[1]);
    if (body == NULL)
        return cli_fail(EXIT_FAILED, "out of memory");
    *ret_body = body;
    *ret_bytes = strlen(body);
    return 0;
}

bool content_creates(const struct content *content, struct cli *cli)
{
    int timeout_ms = cli_timeout_ms(cli);
    struct fanq_queue_info queue;
    struct fanq_topic_info topic;

    if (!fanq_broker_info(cli->client)->auto_create)
        return false;
    if (content->topic)
        return fanq_topic_get_sync(cli->client, content->name, timeout_ms, &topic, NULL) ==
               FANQ_ERR_TOPIC_NOT_FOUND;
    return fanq_queue_get_sync(cli->client, content->name, timeout_ms, &queue, NULL) ==
           FANQ_ERR_QUEUE_NOT_FOUND;
}
