/* What the files of a directory are called, and which are there. */
#include "directory.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_DIGITS = 16 };

static const char INDEX_END[] = ".index";

/* In the order in which they are listed. */
static const struct {
    enum directory_kind kind;
    const char *beginning;
} kinds[] = {{DIRECTORY_COLD, "cold-"}, {DIRECTORY_LOG, "log-"}, {DIRECTORY_SPARE, "spare-"}};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static int rank_of(enum directory_kind kind)
{
    int rank = 0;

    while (kinds[rank].kind != kind)
        rank++;
    return rank;
}

static void make_name(char ret_name[DIRECTORY_NAME_BYTES_MAX], enum directory_kind kind, uint64_t number,
                      const char *ending)
{
    int length = snprintf(ret_name, DIRECTORY_NAME_BYTES_MAX, "%s%016" PRIx64 "%s",
                          kinds[rank_of(kind)].beginning, number, ending);

    assert(length < DIRECTORY_NAME_BYTES_MAX);
    (void)length;
}

void directory_segment_name(char ret_name[DIRECTORY_NAME_BYTES_MAX], enum directory_kind kind,
                            uint64_t number)
{
    make_name(ret_name, kind, number, "");
}

void directory_index_name(char ret_name[DIRECTORY_NAME_BYTES_MAX], enum directory_kind kind, uint64_t number)
{
    assert(kind != DIRECTORY_SPARE);
    make_name(ret_name, kind, number, INDEX_END);
}

/* ---- and back ---- */

/* Digits as make_name() writes them, no others: a file has one name. */
static bool read_number(const char *text, uint64_t *ret_number)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t number = 0;

    for (int i = 0; i < NUMBER_DIGITS; i++) {
        const char *digit = text[i] != '\0' ? strchr(digits, text[i]) : NULL;
        if (digit == NULL)
            return false;
        number = number << 4 | (uint64_t)(digit - digits);
    }
    *ret_number = number;
    return true;
}

/* A segment, or with has_index set the index of one. */
static bool read_name(const char *name, struct directory_segment *ret_segment)
{
    for (int i = 0; i < KINDS; i++) {
        size_t length = strlen(kinds[i].beginning);
        if (strncmp(name, kinds[i].beginning, length) != 0 ||
            !read_number(name + length, &ret_segment->number))
            continue;
        name += length + NUMBER_DIGITS;
        ret_segment->kind = kinds[i].kind;
        ret_segment->has_index = strcmp(name, INDEX_END) == 0 && kinds[i].kind != DIRECTORY_SPARE;
        return *name == '\0' || ret_segment->has_index;
    }
    return false;
}

/* ---- which are there ---- */

struct list {
    struct directory_segment *items;
    size_t count, capacity;
};

static int list_add(void *context, const char *name)
{
    struct list *list = context;
    struct directory_segment segment;

    if (!read_name(name, &segment))
        return 0;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? 2 * list->capacity : 64;
        struct directory_segment *items = realloc(list->items, capacity * sizeof(*items));
        if (items == NULL)
            return -ENOMEM;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = segment;
    return 0;
}

/* A segment stands before its index. */
static int compare(const void *left, const void *right)
{
    const struct directory_segment *a = left, *b = right;

    if (a->kind != b->kind)
        return rank_of(a->kind) - rank_of(b->kind);
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return a->has_index - b->has_index;
}

/* Makes one of a segment and its index; an index alone is nothing. */
static size_t join(struct directory_segment *items, size_t count)
{
    size_t left = 0;

    for (size_t i = 0; i < count; i++) {
        struct directory_segment *last = left > 0 ? &items[left - 1] : NULL;
        if (!items[i].has_index)
            items[left++] = items[i];
        else if (last != NULL && last->kind == items[i].kind && last->number == items[i].number)
            last->has_index = true;
    }
    return left;
}

int directory_segments(const struct directory *d, struct directory_segment **ret_segments, size_t *ret_count)
{
    struct list list = {.items = NULL};
    int err = d->io.list(d->io.context, list_add, &list);

    if (err != 0) {
        free(list.items);
        return err;
    }
    if (list.count > 0)
        qsort(list.items, list.count, sizeof(list.items[0]), compare);
    *ret_segments = list.items;
    *ret_count = join(list.items, list.count);
    return 0;
}
