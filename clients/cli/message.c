#include "message.h"

#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

struct message_style message_style(const struct options *options, enum message_form otherwise)
{
    struct message_style style = {.form = otherwise, .header = options->verbose && !options->json};

    if (options->json)
        style.form = MESSAGE_JSON;
    else if (options->null)
        style.form = MESSAGE_NULL;
    else if (options->line || (style.header && otherwise == MESSAGE_RAW))
        style.form = MESSAGE_LINE;
    return style;
}

const char *message_state_text(uint32_t state)
{
    return state == FANQ_MESSAGE_IN_FLIGHT ? "in-flight"
           : state == FANQ_MESSAGE_DELAYED ? "delayed"
                                           : "ready";
}

/* What a terminal would obey or cannot show. In valid UTF-8 the C1 controls are 0xc2 and
 * a byte below 0xa0. */
static bool is_unsafe(const unsigned char *p, size_t i, bool utf8)
{
    if (p[i] < 0x80)
        return p[i] < 0x20 || p[i] == 0x7f;
    if (!utf8)
        return true;
    return p[i] == 0xc2 ? p[i + 1] < 0xa0 : p[i] < 0xa0 && p[i - 1] == 0xc2;
}

static size_t put_unsafe(unsigned char c)
{
    if (c == '\n' || c == '\t')
        return (size_t)printf("%s", c == '\n' ? "\\n" : "\\t");
    return (size_t)printf("\\x%02x", c);
}

size_t message_put_safely(const void *bytes, size_t count, size_t width)
{
    const unsigned char *p = bytes;
    bool utf8 = text_is_utf8(bytes, count);
    size_t column = 0;

    for (size_t i = 0; i < count; i++) {
        bool inside = utf8 && (p[i] & 0xc0) == 0x80; /* a character that has begun */

        if (width > 0 && column >= width && !inside) {
            fputs("...", stdout);
            return column + 3;
        }
        if (is_unsafe(p, i, utf8)) {
            column += put_unsafe(p[i]);
        } else {
            putchar(p[i]);
            column += !inside;
        }
    }
    return column;
}

/* ---- header lines ---- */

static void put_attributes(const struct fanq_message *message)
{
    struct fanq_message_attribute attribute;

    for (size_t place = 0; fanq_message_attribute_next(message, &place, &attribute);) {
        putchar(' ');
        (void)message_put_safely(attribute.name, attribute.name_bytes, 0);
        putchar('=');
        (void)message_put_safely(attribute.value, attribute.value_bytes, 0);
    }
}

static void put_header(const struct fanq_message *message, const struct message_style *style, bool peeked)
{
    char id[64], time[TEXT_TIME_BYTES];
    size_t bytes, subject_bytes;
    const char *subject = fanq_message_subject(message, &subject_bytes);

    fanq_message_id(message, id, sizeof(id));
    (void)fanq_message_body(message, &bytes);
    printf("# %s", id);
    if (style->queue != NULL || style->topic != NULL)
        printf(" %s", style->queue != NULL ? style->queue : style->topic);
    printf(" %s %zu bytes", text_time(fanq_message_time_ms(message), time), bytes);
    if (style->topic == NULL)
        printf(", delivery %" PRIu32, fanq_message_deliveries(message));
    if (peeked)
        printf(", %s", message_state_text(fanq_message_state(message)));
    put_attributes(message);
    if (subject != NULL) {
        fputs(" subject=", stdout);
        (void)message_put_safely(subject, subject_bytes, 0);
    }
    putchar('\n');
}

/* ---- JSON ---- */

static void json_attributes(struct json *json, const struct fanq_message *message)
{
    struct fanq_message_attribute attribute;

    json_object_begin(json, "attributes");
    for (size_t place = 0; fanq_message_attribute_next(message, &place, &attribute);) {
        char name[257];

        snprintf(name, sizeof(name), "%.*s", (int)attribute.name_bytes, attribute.name);
        json_object_begin(json, name);
        json_text_bytes(json, "type", attribute.type, attribute.type_bytes);
        json_body(json, "value", attribute.value, attribute.value_bytes);
        json_object_end(json);
    }
    json_object_end(json);
}

static void put_json(const struct fanq_message *message, const struct message_style *style, bool peeked)
{
    struct json json = {.out = stdout};
    char id[64], time[TEXT_TIME_BYTES];
    size_t bytes;
    const char *text;

    fanq_message_id(message, id, sizeof(id));
    json_object_begin(&json, NULL);
    json_text(&json, "id", id);
    if (style->queue != NULL)
        json_text(&json, "queue", style->queue);
    if (style->topic != NULL)
        json_text(&json, "topic", style->topic);
    json_text(&json, "time", text_time(fanq_message_time_ms(message), time));
    json_number(&json, "deliveries", fanq_message_deliveries(message));
    if (peeked) {
        json_text(&json, "state", message_state_text(fanq_message_state(message)));
        json_number(&json, "due_ms", fanq_message_due_ms(message));
    }
    text = fanq_message_subject(message, &bytes);
    if (text != NULL)
        json_body(&json, "subject", text, bytes);
    text = fanq_message_trace(message, &bytes);
    if (text != NULL)
        json_body(&json, "trace", text, bytes);
    json_attributes(&json, message);
    text = fanq_message_body(message, &bytes);
    json_body(&json, "body", text, bytes);
    json_object_end(&json);
    json_line_end(&json);
}

void message_put(const struct fanq_message *message, const struct message_style *style, bool peeked)
{
    size_t bytes;
    const char *body;

    if (style->form == MESSAGE_JSON) {
        put_json(message, style, peeked);
        return;
    }
    if (style->header)
        put_header(message, style, peeked);
    body = fanq_message_body(message, &bytes);
    fwrite(body, 1, bytes, stdout);
    if (style->form == MESSAGE_NULL)
        putchar('\0');
    /* A prompt should not stand behind a body. */
    else if (style->form == MESSAGE_LINE || (bytes > 0 && body[bytes - 1] != '\n' && isatty(STDOUT_FILENO)))
        putchar('\n');
}
