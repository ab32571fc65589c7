/* Names: what a client says, and what the core knows it by.
 *
 * The core's name is "account:region:name". A client that says "orders" means the configured account and
 * region; colons stand in no part, so both forms can be told apart. The grammar is that of SQS and SNS. */
#include "state.h"

enum { QUEUE_NAME_MAX = 80, TOPIC_NAME_MAX = 256, ACCOUNT_MAX = 12, REGION_MAX = 64 };

static bool is_digit(char ch)
{
    return ch >= '0' && ch <= '9';
}

static bool is_letter(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z');
}

static bool local_part_valid(const char *text, size_t length, enum name_kind kind)
{
    if (length == 0 || length > (kind == NAME_QUEUE ? QUEUE_NAME_MAX : TOPIC_NAME_MAX))
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_digit(text[i]) && !is_letter(text[i]) && text[i] != '-' && text[i] != '_')
            return false;
    return true;
}

static bool account_valid(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_digit(text[i]))
            return false;
    return length > 0 && length <= ACCOUNT_MAX;
}

static bool region_valid(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_digit(text[i]) && !is_letter(text[i]) && text[i] != '-')
            return false;
    return length > 0 && length <= REGION_MAX;
}

static void append(struct full_name *name, const char *text, size_t length)
{
    memcpy(name->text + name->length, text, length);
    name->length += (uint32_t)length;
    name->text[name->length] = '\0';
}

/* Copies `given`, with account and region in front when it has none. */
static int qualify(const struct core *c, struct fanq_bytes given, struct full_name *ret_name)
{
    size_t account = strlen(c->account), region = strlen(c->region);
    bool bare = given.length == 0 || memchr(given.data, ':', given.length) == NULL;

    if ((bare ? account + region + 2 : 0) + given.length > FANQ_NAME_BYTES_MAX)
        return FANQ_ERR_NAME_INVALID;
    ret_name->length = 0;
    if (bare) {
        append(ret_name, c->account, account);
        append(ret_name, ":", 1);
        append(ret_name, c->region, region);
        append(ret_name, ":", 1);
    }
    if (given.length > 0)
        append(ret_name, (const char *)given.data, given.length);
    return 0;
}

int name_parse_prefix(const struct core *c, struct fanq_bytes given, struct full_name *ret_name)
{
    return qualify(c, given, ret_name);
}

static bool ends_in(const char *text, size_t length, const char *ending)
{
    size_t n = strlen(ending);

    return length >= n && memcmp(text + length - n, ending, n) == 0;
}

int name_parse(const struct core *c, struct fanq_bytes given, enum name_kind kind, struct full_name *ret_name)
{
    const char *region, *local;
    int err = qualify(c, given, ret_name);

    if (err != 0)
        return err;
    region = memchr(ret_name->text, ':', ret_name->length);
    local = memchr(region + 1, ':', (size_t)(ret_name->text + ret_name->length - (region + 1)));
    if (local == NULL || !account_valid(ret_name->text, (size_t)(region - ret_name->text)) ||
        !region_valid(region + 1, (size_t)(local - region - 1)))
        return FANQ_ERR_NAME_INVALID;
    local++;
    if (ends_in(local, (size_t)(ret_name->text + ret_name->length - local), ".fifo"))
        return FANQ_ERR_UNSUPPORTED;
    return local_part_valid(local, (size_t)(ret_name->text + ret_name->length - local), kind)
               ? 0
               : FANQ_ERR_NAME_INVALID;
}

struct fanq_bytes name_shown(const struct core *c, const char *text, uint32_t length)
{
    size_t account = strlen(c->account), region = strlen(c->region), skip = account + region + 2;

    if (length > skip && memcmp(text, c->account, account) == 0 && text[account] == ':' &&
        memcmp(text + account + 1, c->region, region) == 0 && text[skip - 1] == ':')
        return (struct fanq_bytes){(const uint8_t *)text + skip, length - skip};
    return (struct fanq_bytes){(const uint8_t *)text, length};
}
