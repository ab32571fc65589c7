#include "residents.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/fanq_error.h"

enum { CAPACITY_MIN = 64 };

void residents_close(struct residents *r)
{
    free(r->items);
    *r = (struct residents){0};
}

static struct resident *item(const struct residents *r, size_t n)
{
    return &r->items[(r->head + n) & (r->capacity - 1)];
}

static void take_out(struct residents *r, resident_is_there *is_there, void *context)
{
    size_t to = 0;

    for (size_t n = 0; n < r->count; n++) {
        if (is_there(context, item(r, n)))
            *item(r, to++) = *item(r, n);
    }
    r->count = to;
}

/* Half of the room must be free after others were taken out, or the next time would come too soon. */
int residents_reserve(struct residents *r, size_t count, resident_is_there *is_there, void *context)
{
    size_t capacity = r->capacity > 0 ? r->capacity : CAPACITY_MIN;
    struct resident *items;

    if (r->count + count <= r->capacity)
        return 0;
    take_out(r, is_there, context);
    while (capacity / 2 < r->count + count)
        capacity *= 2;
    if (capacity == r->capacity)
        return 0;
    items = malloc(capacity * sizeof *items);
    if (items == NULL)
        return r->count + count <= r->capacity ? 0 : FANQ_ERR_NOMEM;
    for (size_t n = 0; n < r->count; n++)
        items[n] = *item(r, n);
    free(r->items);
    r->items = items;
    r->capacity = capacity;
    r->head = 0;
    return 0;
}

void residents_push(struct residents *r, struct resident resident)
{
    assert(r->count < r->capacity);
    *item(r, r->count++) = resident;
}

const struct resident *residents_first(const struct residents *r)
{
    return r->count > 0 ? item(r, 0) : NULL;
}

void residents_pop(struct residents *r)
{
    assert(r->count > 0);
    r->head = (r->head + 1) & (r->capacity - 1);
    r->count--;
}
