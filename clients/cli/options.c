#include "options.h"

#include "text.h"

#include <stdlib.h>
#include <string.h>

const struct option options_global[] = {
    {0, "url", OPTION_TEXT, OPTION(url), 0, "URL",
     "the broker: fanq://HOST:9320 or unix:/PATH (FANQ_URL; default: this machine)"},
    {0, "timeout", OPTION_DURATION, OPTION(timeout_ms), 0, "30s",
     "how long an answer of the broker may take (FANQ_TIMEOUT)"},
    {0, "json", OPTION_FLAG, OPTION(json), 0, NULL, "results as JSON, one object a line"},
    {'v', "verbose", OPTION_FLAG, OPTION(verbose), 0, NULL, "say more; with messages: a header line each"},
    {'h', "help", OPTION_FLAG, OPTION(help), 0, NULL, "what the command does and its options"},
    OPTION_END,
};

void options_init(struct options *options)
{
    *options = (struct options){.wait_ms = -1,
                                .visibility_ms = -1,
                                .early_delivery = -1,
                                .delay_ms = -1,
                                .interval_ms = -1,
                                .duration_ms = -1,
                                .timeout_ms = -1};
}

static bool takes_value(const struct option *option)
{
    return option->kind != OPTION_FLAG && option->kind != OPTION_SETTLE;
}

static const struct option *find_name(const struct option *table, const char *name, size_t name_bytes)
{
    for (; table != NULL && table->name != NULL; table++)
        if (strlen(table->name) == name_bytes && memcmp(table->name, name, name_bytes) == 0)
            return table;
    return NULL;
}

static const struct option *find_letter(const struct option *table, char letter)
{
    for (; table != NULL && table->name != NULL; table++)
        if (table->letter == letter)
            return table;
    return NULL;
}

static bool list_add(struct option_list *list, const char *item)
{
    if (list->count == OPTIONS_LIST_MAX)
        return false;
    list->items[list->count++] = item;
    return true;
}

/* Sets the option's field. False: the value is not of its kind, and error says so. */
static bool store(const struct option *option, const char *value, struct options *options, char *error)
{
    void *field = (char *)options + option->offset;
    const char *wanted = "";
    char most[TEXT_NUMBER_BYTES];
    bool good = true;

    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        break;
    case OPTION_SETTLE:
        *(int *)field = option->value;
        break;
    case OPTION_SWITCH:
        good = strcmp(value, "on") == 0 || strcmp(value, "off") == 0;
        *(int *)field = strcmp(value, "on") == 0;
        wanted = "on or off";
        break;
    case OPTION_TEXT:
        *(const char **)field = value;
        break;
    case OPTION_LIST:
        good = list_add(field, value);
        wanted = "given fewer times";
        break;
    case OPTION_COUNT:
        good = text_parse_count(value, field) && *(uint64_t *)field > 0;
        wanted = "a number from 1 up";
        break;
    case OPTION_DURATION:
        good = text_parse_duration(value, field);
        if (good && option->value > 0 && *(int64_t *)field > option->value) {
            snprintf(error, OPTIONS_ERROR_BYTES, "--%s %.80s: must be at most %s", option->name, value,
                     text_duration((uint64_t)option->value, most));
            return false;
        }
        wanted = "a duration with its unit, such as 500ms, 30s, 5m, 2h or 3d";
        break;
    case OPTION_BYTES:
        good = text_parse_bytes(value, field);
        wanted = "a size, such as 512, 64k or 1M";
        break;
    }
    if (!good)
        snprintf(error, OPTIONS_ERROR_BYTES, "--%s %.80s: must be %s", option->name, value, wanted);
    return good;
}

static enum option_result unknown(const struct option *own, const char *word, int word_bytes, char *error)
{
    char name[64];
    struct text_nearest nearest = {.word = name};
    int length;

    snprintf(name, sizeof(name), "%.*s", word_bytes - 2, word + 2);
    if (word[1] == '-' && name[0] != '\0') {
        for (const struct option *option = own; option != NULL && option->name != NULL; option++)
            text_nearest_offer(&nearest, option->name);
        for (const struct option *option = options_global; option->name != NULL; option++)
            text_nearest_offer(&nearest, option->name);
    }
    length = snprintf(error, OPTIONS_ERROR_BYTES, "unknown option \"%.*s\"",
                      word_bytes > 80 ? 80 : word_bytes, word);
    if (nearest.best != NULL)
        snprintf(error + length, OPTIONS_ERROR_BYTES - (size_t)length, "; did you mean \"--%s\"?",
                 nearest.best);
    else
        snprintf(error + length, OPTIONS_ERROR_BYTES - (size_t)length,
                 "; if it is an argument, put -- before it");
    return OPTION_RESULT_WRONG;
}

/* The value: behind "=", or the rest of a cluster of letters, or the next word. */
static const char *value_of(struct option_cursor *cursor, const char *attached)
{
    if (attached != NULL)
        return attached;
    return cursor->at < cursor->argc ? cursor->argv[cursor->at++] : NULL;
}

static enum option_result take(struct option_cursor *cursor, const struct option *option,
                               const char *attached, struct options *options, char *error)
{
    const char *value = takes_value(option) ? value_of(cursor, attached) : "";

    if (value == NULL) {
        snprintf(error, OPTIONS_ERROR_BYTES, "option --%s wants a value, such as --%s %s", option->name,
                 option->name, option->argument);
        return OPTION_RESULT_WRONG;
    }
    return store(option, value, options, error) ? OPTION_RESULT_TAKEN : OPTION_RESULT_WRONG;
}

static enum option_result take_long(struct option_cursor *cursor, const char *word, const struct option *own,
                                    struct options *options, char *error)
{
    const char *name = word + 2;
    size_t name_bytes = strcspn(name, "=");
    const char *attached = name[name_bytes] == '=' ? name + name_bytes + 1 : NULL;
    const struct option *option = find_name(own, name, name_bytes);

    if (option == NULL)
        option = find_name(options_global, name, name_bytes);
    if (option == NULL)
        return unknown(own, word, (int)(name_bytes + 2), error);
    if (attached != NULL && !takes_value(option)) {
        snprintf(error, OPTIONS_ERROR_BYTES, "option --%s takes no value", option->name);
        return OPTION_RESULT_WRONG;
    }
    return take(cursor, option, attached, options, error);
}

/* A cluster: "-vn5" is "-v -n 5". */
static enum option_result take_letters(struct option_cursor *cursor, const char *word,
                                       const struct option *own, struct options *options, char *error)
{
    for (const char *letter = word + 1; *letter != '\0'; letter++) {
        const struct option *option = find_letter(own, *letter);
        enum option_result result;

        if (option == NULL)
            option = find_letter(options_global, *letter);
        if (option == NULL)
            return unknown(own, word, (int)strlen(word), error);
        if (takes_value(option))
            return take(cursor, option, letter[1] != '\0' ? letter + 1 : NULL, options, error);
        result = take(cursor, option, NULL, options, error);
        if (result != OPTION_RESULT_TAKEN)
            return result;
    }
    return OPTION_RESULT_TAKEN;
}

enum option_result options_next(struct option_cursor *cursor, const struct option *own,
                                struct options *options, const char **ret_argument,
                                char error[OPTIONS_ERROR_BYTES])
{
    const char *word;

    if (cursor->at == cursor->argc)
        return OPTION_RESULT_DONE;
    word = cursor->argv[cursor->at++];
    if (!cursor->ended && strcmp(word, "--") == 0) {
        cursor->ended = true;
        return OPTION_RESULT_TAKEN;
    }
    if (cursor->ended || word[0] != '-' || word[1] == '\0') { /* "-" alone is standard input */
        *ret_argument = word;
        return OPTION_RESULT_ARGUMENT;
    }
    return word[1] == '-' ? take_long(cursor, word, own, options, error)
                          : take_letters(cursor, word, own, options, error);
}

void options_help(FILE *out, const struct option *table)
{
    for (; table != NULL && table->name != NULL; table++) {
        char left[40];
        char letter[4] = "  ";

        if (table->letter != 0)
            snprintf(letter, sizeof(letter), "-%c", table->letter);
        snprintf(left, sizeof(left), "%s%c --%s %s", letter, table->letter != 0 ? ',' : ' ', table->name,
                 table->argument != NULL ? table->argument : "");
        fprintf(out, "  %-26s %s\n", left, table->help);
    }
}
