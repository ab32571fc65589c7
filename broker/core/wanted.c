/* Which messages of a stream are needed still, by any of its feeds: what is held and not deleted, and what is unread.
 *
 * A stream may have very many feeds, and most of them want nothing that is old. So each is asked once, and the asking ends
 * as soon as what was found covers all that was asked about. */
#include "state.h"

struct row {
    uint64_t first, end;
};

/* The first of [first, end) that is held and live, with its neighbours. */
static bool row_held(const struct feed *f, uint64_t first, uint64_t end, struct row *ret_row)
{
    struct run *r = run_reaching(f, first);
    struct row row = {0};

    for (; r != NULL && r->node.key < end; r = run_next(r)) {
        uint64_t from = r->node.key > first ? r->node.key : first;
        uint64_t stop = r->end < end ? r->end : end;
        uint64_t live = gone_next_live(&f->gone, from, stop);
        if (row.end != 0 && live != row.end)
            break; /* it does not go on from the run before */
        if (live == stop)
            continue;
        if (row.end == 0)
            row.first = live;
        row.end = gone_next_gone(&f->gone, live, stop);
        if (row.end < r->end)
            break;
    }
    *ret_row = row;
    return row.end != 0;
}

/* The first of [first, end) that is unread, with its neighbours. */
static bool row_unread(const struct feed *f, uint64_t first, uint64_t end, struct row *ret_row)
{
    uint32_t low = 0, high = f->unread_count;

    if (first < f->next)
        first = f->next;
    while (low < high) { /* the first unread run that ends above first */
        uint32_t middle = low + (high - low) / 2;
        if (f->unread[middle].end > first)
            high = middle;
        else
            low = middle + 1;
    }
    if (low == f->unread_count || first >= end || f->unread[low].first >= end)
        return false;
    ret_row->first = f->unread[low].first > first ? f->unread[low].first : first;
    ret_row->end = f->unread[low].end < end ? f->unread[low].end : end;
    return true;
}

static bool row_of(const struct feed *f, uint64_t first, uint64_t end, struct row *ret_row)
{
    struct row unread;

    if (f->floor >= end)
        return false;
    if (!row_held(f, first, end, ret_row))
        return row_unread(f, first, end, ret_row);
    if (row_unread(f, ret_row->end, end, &unread) && unread.first == ret_row->end)
        ret_row->end = unread.end;
    return true;
}

/* Both rows together where they touch, else the first of them. */
static struct row row_join(struct row a, struct row b)
{
    struct row first = a.first <= b.first ? a : b, second = a.first <= b.first ? b : a;

    if (second.first <= first.end && second.end > first.end)
        first.end = second.end;
    return first;
}

static const struct stream *stream_numbered(const struct core *c, uint64_t number)
{
    struct tree_node *node = tree_find(&c->streams, number);

    return node == NULL ? NULL : container_of(node, struct stream, node);
}

bool core_wanted(const struct core *c, uint64_t stream, uint64_t first, uint64_t end, uint64_t *ret_first,
                 uint64_t *ret_end)
{
    const struct stream *s = stream_numbered(c, stream);
    struct row all = {end, end}, row;

    if (s == NULL)
        return false;
    if (s->receivable < end)
        all.first = s->receivable > first ? s->receivable : first;
    list_for_each (link, &s->feeds) {
        if (all.first == first && all.end == end)
            break;
        if (row_of(container_of(link, struct feed, link_stream), first, end, &row))
            all = row_join(all, row);
    }
    if (all.first >= all.end)
        return false;
    *ret_first = all.first;
    *ret_end = all.end;
    return true;
}

static void mark(uint64_t *bits, uint64_t first, uint64_t end)
{
    for (; first < end && first % 64 != 0; first++)
        bits[first / 64] |= (uint64_t)1 << (first % 64);
    for (; end - first >= 64; first += 64)
        bits[first / 64] = UINT64_MAX;
    for (; first < end; first++)
        bits[first / 64] |= (uint64_t)1 << (first % 64);
}

void core_mark_wanted(const struct core *c, uint64_t stream, uint64_t first, uint64_t end, uint64_t *bits)
{
    const struct stream *s = stream_numbered(c, stream);

    if (s == NULL)
        return;
    if (s->receivable < end)
        mark(bits, (s->receivable > first ? s->receivable : first) - first, end - first);
    list_for_each (link, &s->feeds) {
        const struct feed *f = container_of(link, struct feed, link_stream);
        struct row row = {first, first};
        while (row.end < end && row_of(f, row.end, end, &row))
            mark(bits, row.first - first, row.end - first);
        if (row.first == first && row.end == end)
            return; /* it wants them all */
    }
}
