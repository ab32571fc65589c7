/* fanq: the command line of the broker. Finds the command in the table and runs it. */
#include "cli.h"

#include "text.h"

#include <stdlib.h>
#include <string.h>

static const char help_end[] = "\nData goes to standard output, everything else to standard error. "
                               "Durations: 500ms 30s 5m 2h 3d; sizes: 64k 1M.\n"
                               "Exit codes: 0 done, 1 failed, 2 usage, 3 nothing received, 4 not found, 5 "
                               "cannot connect, 6 permission,\n"
                               "7 some of many failed, 130 and 143 ended by a signal.\n";

static size_t word_bytes(const char *name)
{
    return strcspn(name, " ");
}

static bool first_word_is(const char *name, const char *word)
{
    return strlen(word) == word_bytes(name) && memcmp(name, word, word_bytes(name)) == 0;
}

static const char *second_word(const char *name)
{
    const char *space = strchr(name, ' ');

    return space != NULL ? space + 1 : NULL;
}

static void help_command(FILE *out, const struct command *command)
{
    fprintf(out, "usage: fanq %s %s%s\n\n%s\n", command->name, command->options != NULL ? "[OPTIONS] " : "",
            command->synopsis, command->summary);
    if (command->details != NULL)
        fprintf(out, "\n%s\n", command->details);
    if (command->options != NULL) {
        fputs("\noptions:\n", out);
        options_help(out, command->options);
    }
    fputs("\neverywhere:\n", out);
    options_help(out, options_global);
}

/* The commands of one noun, or all (noun NULL). */
static void help_list(FILE *out, const char *noun)
{
    for (const struct command *command = commands; command->name != NULL; command++) {
        char left[64];

        if (noun != NULL && !first_word_is(command->name, noun))
            continue;
        snprintf(left, sizeof(left), "%s %s", command->name, command->synopsis);
        fprintf(out, "  %-26s %s\n", left, command->summary);
    }
}

static void help_all(FILE *out)
{
    fputs("usage: fanq [OPTIONS] COMMAND [ARGUMENTS]\n\ncommands:\n", out);
    help_list(out, NULL);
    fputs("\neverywhere:\n", out);
    options_help(out, options_global);
    fputs("\nfanq help COMMAND says more.\n", out);
    fputs(help_end, out);
}

static bool is_noun(const char *word)
{
    for (const struct command *command = commands; command->name != NULL; command++)
        if (second_word(command->name) != NULL && first_word_is(command->name, word))
            return true;
    return false;
}

/* verb NULL: none was given. */
static const struct command *command_find(const char *noun, const char *verb)
{
    for (const struct command *command = commands; command->name != NULL; command++) {
        const char *wanted = second_word(command->name);

        if (first_word_is(command->name, noun) &&
            (wanted == NULL || (verb != NULL && strcmp(wanted, verb) == 0)))
            return command;
    }
    return NULL;
}

static int unknown_verb(const char *noun, const char *verb)
{
    struct text_nearest nearest = {.word = verb};

    for (const struct command *command = commands; command->name != NULL; command++)
        if (first_word_is(command->name, noun))
            text_nearest_offer(&nearest, second_word(command->name));
    cli_fail(EXIT_USAGE, "unknown command \"%s %s\"", noun, verb);
    if (nearest.best != NULL)
        cli_hint("did you mean \"fanq %s %s\"?", noun, nearest.best);
    else
        cli_hint("see:  fanq help %s", noun);
    return EXIT_USAGE;
}

static int unknown_command(const char *word)
{
    struct text_nearest nearest = {.word = word};
    char nouns[64][16];
    size_t count = 0;

    for (const struct command *command = commands; command->name != NULL && count < 64; command++, count++) {
        snprintf(nouns[count], sizeof(nouns[count]), "%.*s", (int)word_bytes(command->name), command->name);
        text_nearest_offer(&nearest, nouns[count]);
    }
    cli_fail(EXIT_USAGE, "unknown command \"%s\"", word);
    if (nearest.best != NULL)
        cli_hint("did you mean \"fanq %s\"?", nearest.best);
    else
        cli_hint("see:  fanq help");
    return EXIT_USAGE;
}

static int missing_verb(const char *noun)
{
    cli_fail(EXIT_USAGE, "\"%s\" wants another word:", noun);
    help_list(stderr, noun);
    return EXIT_USAGE;
}

static int usage(const struct command *command, const char *what)
{
    cli_fail(EXIT_USAGE, "%s", what);
    if (command != NULL)
        cli_hint("usage: fanq %s %s%s        more:  fanq help %s", command->name,
                 command->options != NULL ? "[OPTIONS] " : "", command->synopsis, command->name);
    else
        cli_hint("see:  fanq help");
    return EXIT_USAGE;
}

int cmd_help(struct cli *cli)
{
    const char *noun = cli->argument_count > 0 ? cli->arguments[0] : NULL;
    const char *verb = cli->argument_count > 1 ? cli->arguments[1] : NULL;
    const struct command *command = noun != NULL ? command_find(noun, verb) : NULL;

    if (noun == NULL)
        help_all(stdout);
    else if (command != NULL)
        help_command(stdout, command);
    else if (is_noun(noun) && verb != NULL)
        return unknown_verb(noun, verb);
    else if (is_noun(noun))
        help_list(stdout, noun);
    else
        return unknown_command(noun);
    return cli_flush();
}

int cmd_version(struct cli *cli)
{
    struct json json = {.out = stdout};

    if (!cli->options.json) {
        printf("fanq %s\n", fanq_version());
        return cli_flush();
    }
    json_object_begin(&json, NULL);
    json_text(&json, "version", fanq_version());
    json_object_end(&json);
    json_line_end(&json);
    return cli_flush();
}

/* The command's words, behind options that may stand before them. 0: cli->command is set, or NULL when help
 * or the version was asked for before it. */
static int parse_command(struct cli *cli, struct option_cursor *cursor)
{
    static const struct option version_option[] = {
        {0, "version", OPTION_FLAG, OPTION(version), 0, NULL, NULL},
        OPTION_END,
    };
    char error[OPTIONS_ERROR_BYTES];
    const char *noun, *verb;
    enum option_result result;

    do
        result = options_next(cursor, version_option, &cli->options, &noun, error);
    while (result == OPTION_RESULT_TAKEN);
    if (result == OPTION_RESULT_WRONG)
        return usage(NULL, error);
    if (result == OPTION_RESULT_DONE)
        return 0;
    if (!is_noun(noun)) {
        cli->command = command_find(noun, NULL);
        return cli->command != NULL ? 0 : unknown_command(noun);
    }
    do
        result = options_next(cursor, NULL, &cli->options, &verb, error);
    while (result == OPTION_RESULT_TAKEN);
    if (result == OPTION_RESULT_WRONG)
        return usage(NULL, error);
    if (result == OPTION_RESULT_DONE && cli->options.help) {
        help_list(stdout, noun);
        exit(cli_flush());
    }
    if (result == OPTION_RESULT_DONE)
        return missing_verb(noun);
    cli->command = command_find(noun, verb);
    return cli->command != NULL ? 0 : unknown_verb(noun, verb);
}

static int parse_arguments(struct cli *cli, struct option_cursor *cursor)
{
    const struct command *command = cli->command;
    char error[OPTIONS_ERROR_BYTES];
    const char *argument;
    enum option_result result;

    while ((result = options_next(cursor, command->options, &cli->options, &argument, error)) !=
           OPTION_RESULT_DONE) {
        if (result == OPTION_RESULT_WRONG)
            return usage(command, error);
        if (result == OPTION_RESULT_ARGUMENT)
            cli->arguments[cli->argument_count++] = argument;
    }
    if (cli->options.help)
        return 0;
    if (cli->argument_count < command->argument_count_min)
        return usage(command, "an argument is missing");
    if (cli->argument_count > command->argument_count_max)
        return usage(command, strstr(command->synopsis, "BODY") != NULL
                                  ? "too many arguments; put quotes around a text with spaces"
                                  : "too many arguments");
    return 0;
}

static int take_environment(struct cli *cli)
{
    const char *timeout = getenv("FANQ_TIMEOUT");

    if (cli->options.timeout_ms >= 0 || timeout == NULL || timeout[0] == '\0')
        return 0;
    if (!text_parse_duration(timeout, &cli->options.timeout_ms))
        return cli_fail(EXIT_USAGE, "FANQ_TIMEOUT=%s: must be a duration with its unit, such as 30s",
                        timeout);
    return 0;
}

static int run(struct cli *cli, struct option_cursor *cursor)
{
    int code = parse_command(cli, cursor);

    if (code == 0 && cli->command == NULL && cli->options.version)
        return cmd_version(cli);
    if (code == 0 && cli->command == NULL) {
        help_all(cli->options.help ? stdout : stderr);
        return cli->options.help ? cli_flush() : EXIT_USAGE;
    }
    if (code == 0)
        code = parse_arguments(cli, cursor);
    if (code == 0 && cli->options.help) {
        help_command(stdout, cli->command);
        return cli_flush();
    }
    if (code == 0)
        code = take_environment(cli);
    return code != 0 ? code : cli->command->run(cli);
}

int main(int argc, char **argv)
{
    struct cli cli = {.arguments = calloc((size_t)argc, sizeof(*cli.arguments))};
    struct option_cursor cursor = {.argv = argv, .argc = argc, .at = 1};
    int code;

    if (cli.arguments == NULL)
        return cli_fail(EXIT_FAILED, "out of memory");
    cli_init_signals();
    options_init(&cli.options);
    code = run(&cli, &cursor);
    fanq_free(cli.client);
    free(cli.arguments);
    return code;
}
