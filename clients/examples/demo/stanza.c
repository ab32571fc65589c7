#include "stanza.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const field_names[STANZA_FIELDS_MAX] = {"Package", "Section", "Priority"};

/* Gives the file's text with a NUL behind it, or NULL. */
static char *read_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    char *text = NULL;
    ssize_t got = 0;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &status) == 0 && (text = malloc((size_t)status.st_size + 1)) != NULL) {
        size_t bytes = 0;

        while (bytes < (size_t)status.st_size &&
               (got = read(fd, text + bytes, (size_t)status.st_size - bytes)) > 0)
            bytes += (size_t)got;
        text[bytes] = '\0';
    }
    close(fd);
    if (got < 0) {
        free(text);
        text = NULL;
    }
    return text;
}

/* The value of the line at `line` when the line is of this field, without what blanks surround it. */
static bool field_value(const char *line, const char *end, const char *name, const char **ret_value,
                        size_t *ret_bytes)
{
    size_t name_bytes = strlen(name);

    if ((size_t)(end - line) <= name_bytes || memcmp(line, name, name_bytes) != 0 || line[name_bytes] != ':')
        return false;
    line += name_bytes + 1;
    while (line < end && (*line == ' ' || *line == '\t'))
        line++;
    while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *ret_value = line;
    *ret_bytes = (size_t)(end - line);
    return end > line;
}

static void add_fields(struct stanza *stanza, const char *line, const char *line_end)
{
    const char *value;
    size_t bytes;

    for (int i = 0; i < STANZA_FIELDS_MAX; i++)
        if (stanza->content.attribute_count < STANZA_FIELDS_MAX &&
            field_value(line, line_end, field_names[i], &value, &bytes))
            stanza->fields[stanza->content.attribute_count++] = (struct fanq_message_attribute){
                .name = field_names[i],
                .name_bytes = strlen(field_names[i]),
                .value = value,
                .value_bytes = bytes,
            };
}

/* Reads one stanza; gives where the next one starts. */
static const char *stanza_read(struct stanza *stanza, const char *text)
{
    const char *line = text;

    while (*line != '\0' && *line != '\n') {
        const char *line_end = strchrnul(line, '\n');

        add_fields(stanza, line, line_end);
        line = *line_end != '\0' ? line_end + 1 : line_end;
    }
    stanza->content.want_id = true; /* so that the answer tells the number of subscriptions, too */
    stanza->content.body = text;
    stanza->content.body_bytes = (size_t)(line - text);
    while (*line == '\n')
        line++;
    return line;
}

/* At most one stanza begins behind each empty line, and one at the start. */
static size_t stanza_count_max(const char *text)
{
    size_t count = 1;

    while ((text = strstr(text, "\n\n")) != NULL) {
        text++;
        count++;
    }
    return count;
}

int stanza_list_read(struct stanza_list *ret_list, const char *path)
{
    struct stanza_list list = {.text = read_file(path)};
    const char *at = list.text;

    if (list.text == NULL)
        return -1;
    list.stanzas = calloc(stanza_count_max(list.text), sizeof(*list.stanzas));
    if (list.stanzas == NULL) {
        free(list.text);
        return -1;
    }
    while (*at == '\n')
        at++;
    while (*at != '\0') {
        at = stanza_read(&list.stanzas[list.count], at);
        list.bytes += list.stanzas[list.count].content.body_bytes;
        list.count++;
    }
    for (size_t i = 0; i < list.count; i++)
        list.stanzas[i].content.attributes = list.stanzas[i].fields;
    *ret_list = list;
    return 0;
}

void stanza_list_close(struct stanza_list *list)
{
    free(list->stanzas);
    free(list->text);
    *list = (struct stanza_list){0};
}
