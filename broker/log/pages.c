#include "pages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "proto/fanq_error.h"
#include "tail.h"

enum {
    SEGMENTS_EARLY =
        3, /* so many are mapped before one is filled to its end, to have some to go back and forth */
    SEGMENTS_MIN = 8 /* the table of segments */
};

struct page {
    struct list warm; /* in pages.warm, else linked to itself */
    uint8_t *at;
    uint32_t uses;
    uint32_t block_bytes; /* of blocks that are needed */
    bool held;
};

struct segment {
    uint8_t *base;
    uint64_t uses; /* the sum over its pages */
    struct page pages[];
};

void pages_init(struct pages *p, uint64_t segment_bytes, uint64_t memory_bytes_max)
{
    assert(segment_bytes > 0 && segment_bytes % TAIL_PAGE_BYTES == 0);
    *p = (struct pages){.segment_bytes = segment_bytes, .held_max = memory_bytes_max / TAIL_PAGE_BYTES};
    list_init(&p->warm);
}

void pages_close(struct pages *p)
{
    for (size_t i = 0; i < p->segment_count; i++) {
        munmap(p->segments[i]->base, p->segment_bytes);
        free(p->segments[i]);
    }
    free(p->segments);
    pages_init(p, p->segment_bytes, p->held_max * TAIL_PAGE_BYTES);
}

/* ---- pages ---- */

static void warm_remove(struct pages *p, struct page *page)
{
    list_remove(&page->warm);
    p->warm_count--;
}

/* Lets the system have the memory of a dead page. Its content is lost, which dead content may be: if the
 * system does not take it (nothing but a wrong argument makes it refuse) we only hold more than we say. */
static void give_back(struct pages *p, struct page *page)
{
    assert(page->held && page->uses == 0 && !list_linked(&page->warm));
    (void)madvise(page->at, TAIL_PAGE_BYTES, MADV_DONTNEED);
    page->held = false;
    p->held--;
}

static void give_back_oldest_warm(struct pages *p)
{
    struct page *page = container_of(list_first(&p->warm), struct page, warm);

    warm_remove(p, page);
    give_back(p, page);
}

/* Nothing counts on the page any more and nothing will be written to it for now. The page that has been warm
 * for the longest goes when there are too many: its segment is kept from being filled again by something that
 * lives long. */
static void retire(struct pages *p, struct page *page)
{
    list_append(&p->warm, &page->warm);
    if (++p->warm_count > PAGES_WARM_MAX)
        give_back_oldest_warm(p);
}

/* Brings the memory of a page in by one call, which takes little more than half the time of the faults that
 * writing would cause. Where the system cannot, writing does it. */
static void populate(const struct page *page)
{
#ifdef MADV_POPULATE_WRITE
    (void)madvise(page->at, TAIL_PAGE_BYTES, MADV_POPULATE_WRITE);
#endif
}

/* Comes before anything is written to the pages: a warm page among them must not be given back to make room
 * for a cold one when it already has content. */
static void hold(struct pages *p, struct page *first, struct page *last)
{
    for (struct page *page = first; page <= last; page++) {
        if (list_linked(&page->warm))
            warm_remove(p, page);
    }
    for (struct page *page = first; page <= last; page++) {
        if (page->held)
            continue;
        if (p->held >= p->held_max && p->warm_count > 0)
            give_back_oldest_warm(p);
        populate(page);
        page->held = true;
        p->held++;
    }
}

static struct page *page_at(struct segment *s, uint64_t offset)
{
    return &s->pages[offset / TAIL_PAGE_BYTES];
}

/* The page that holds the newest bytes of a head, and will get the next ones; NULL when its segment is
 * empty. */
static struct page *written_page(const struct pages_place *head)
{
    return head->segment != NULL && head->used > 0 ? page_at(head->segment, head->used - 1) : NULL;
}

static bool is_written(const struct pages *p, const struct page *page)
{
    return page == written_page(&p->heads[PAGES_NEW]) || page == written_page(&p->heads[PAGES_OLD]);
}

/* ---- segments ---- */

/* How many segments begin at or below an address. */
static size_t count_at_most(const struct pages *p, const uint8_t *at)
{
    size_t low = 0, high = p->segment_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (p->segments[middle]->base <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool holds(const struct pages *p, const struct segment *s, const uint8_t *at)
{
    return at >= s->base && (uint64_t)(at - s->base) < p->segment_bytes;
}

static struct segment *segment_of(struct pages *p, const uint8_t *at)
{
    if (p->found == NULL || !holds(p, p->found, at)) {
        size_t count = count_at_most(p, at);
        assert(count > 0);
        p->found = p->segments[count - 1];
        assert(holds(p, p->found, at));
    }
    return p->found;
}

static struct segment *segment_new(const struct pages *p)
{
    size_t page_count = p->segment_bytes / TAIL_PAGE_BYTES;
    struct segment *s = calloc(1, sizeof *s + page_count * sizeof s->pages[0]);

    if (s == NULL)
        return NULL;
    s->base = mmap(NULL, p->segment_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s->base == MAP_FAILED) {
        free(s);
        return NULL;
    }
    for (size_t i = 0; i < page_count; i++) {
        s->pages[i].at = s->base + i * TAIL_PAGE_BYTES;
        list_init(&s->pages[i].warm);
    }
    return s;
}

/* Gives a new segment, in the table; NULL: out of memory. */
static struct segment *segment_add(struct pages *p)
{
    struct segment *s;
    size_t place;

    if (p->segment_count == p->segment_capacity) {
        size_t capacity = p->segment_capacity > 0 ? p->segment_capacity * 2 : SEGMENTS_MIN;
        struct segment **segments = realloc(p->segments, capacity * sizeof(struct segment *));
        if (segments == NULL)
            return NULL;
        p->segments = segments;
        p->segment_capacity = capacity;
    }
    s = segment_new(p);
    if (s == NULL)
        return NULL;
    place = count_at_most(p, s->base);
    memmove(&p->segments[place + 1], &p->segments[place],
            (p->segment_count - place) * sizeof(struct segment *));
    p->segments[place] = s;
    p->segment_count++;
    return s;
}

static void segment_unmap(struct pages *p, struct segment *s)
{
    size_t place = count_at_most(p, s->base) - 1;

    assert(p->segments[place] == s);
    for (size_t i = 0; i < p->segment_bytes / TAIL_PAGE_BYTES; i++) {
        struct page *page = &s->pages[i];
        if (list_linked(&page->warm))
            warm_remove(p, page);
        p->held -= page->held;
    }
    p->segment_count--;
    memmove(&p->segments[place], &p->segments[place + 1],
            (p->segment_count - place) * sizeof(struct segment *));
    if (p->found == s)
        p->found = NULL;
    munmap(s->base, p->segment_bytes);
    free(s);
}

/* Nothing counts on a segment any more, and no head is in it. */
static void segment_spare(struct pages *p, struct segment *s)
{
    if (p->spare_count < PAGES_SPARES_MAX)
        p->spares[p->spare_count++] = s;
    else
        segment_unmap(p, s);
}

/* The head's segment is filled from its beginning again. */
static void rewind_head(struct pages *p, struct pages_place *head)
{
    struct page *written = written_page(head);

    head->used = 0;
    if (written != NULL)
        retire(p, written);
}

/* The last use of a segment has gone. */
static void segment_died(struct pages *p, struct segment *s)
{
    for (int i = 0; i < PAGES_HEADS; i++) {
        struct pages_place *head = &p->heads[i];
        if (head->segment != s)
            continue;
        rewind_head(p, head);
        return;
    }
    segment_spare(p, s);
}

/* Goes on in another segment: the spare that died last, whose pages are likeliest to be warm,
 * or a new one. */
static int next_segment(struct pages *p, struct pages_place *head)
{
    struct segment *next = p->spare_count > 0 ? p->spares[--p->spare_count] : segment_add(p);
    struct page *written = written_page(head);

    if (next == NULL)
        return FANQ_ERR_NOMEM;
    head->segment = next;
    head->used = 0;
    if (written != NULL && written->uses == 0)
        retire(p, written);
    return 0;
}

/* ---- placing ---- */

static bool fits(const struct pages *p, const struct pages_place *head, uint64_t bytes)
{
    return head->segment != NULL && bytes <= p->segment_bytes - head->used;
}

static bool wants_other_segment(const struct pages *p, const struct pages_place *head, uint64_t bytes)
{
    return head == &p->heads[PAGES_NEW] && head->used > 0 &&
           !page_at(head->segment, head->used + bytes - 1)->held &&
           (p->spare_count > 0 || p->segment_count < SEGMENTS_EARLY);
}

int pages_place(struct pages *p, enum pages_head head_kind, uint64_t bytes, uint8_t **ret_at)
{
    struct pages_place *head = &p->heads[head_kind];

    assert(p->heads[PAGES_NEW].placed == 0 && p->heads[PAGES_OLD].placed == 0);
    assert(bytes > 0 && bytes <= p->segment_bytes);
    if (head->segment != NULL && head->segment->uses == 0)
        rewind_head(p, head); /* the newest commits had no blocks */
    if (!fits(p, head, bytes)) {
        if (next_segment(p, head) != 0)
            return FANQ_ERR_NOMEM;
    } else if (wants_other_segment(p, head, bytes)) {
        (void)next_segment(p, head); /* without one the commit goes here */
    }
    hold(p, page_at(head->segment, head->used), page_at(head->segment, head->used + bytes - 1));
    head->placed = bytes;
    *ret_at = head->segment->base + head->used;
    return 0;
}

/* Of the pages from the one that was written before up to the last one held for this place, all that nothing
 * counts on retire, but for the one that is written now. */
void pages_take(struct pages *p, enum pages_head head_kind, uint64_t bytes)
{
    struct pages_place *head = &p->heads[head_kind];
    struct page *first = page_at(head->segment, head->used > 0 ? head->used - 1 : 0);
    struct page *last = page_at(head->segment, head->used + head->placed - 1);

    assert(bytes > 0 && bytes <= head->placed);
    head->used += bytes;
    head->placed = 0;
    for (struct page *page = first; page <= last; page++) {
        if (page->uses == 0 && page != written_page(head))
            retire(p, page);
    }
}

/* ---- what counts on them ---- */

static void segment_use(struct segment *s, struct page *first, struct page *last)
{
    for (struct page *page = first; page <= last; page++)
        page->uses++;
    s->uses += (uint64_t)(last - first) + 1;
}

static void segment_unuse(struct pages *p, struct segment *s, struct page *first, struct page *last)
{
    assert(p->heads[PAGES_NEW].placed == 0 && p->heads[PAGES_OLD].placed == 0);
    for (struct page *page = first; page <= last; page++) {
        assert(page->uses > 0);
        if (--page->uses == 0 && !is_written(p, page))
            retire(p, page);
    }
    s->uses -= (uint64_t)(last - first) + 1;
    if (s->uses == 0)
        segment_died(p, s);
}

void pages_use(struct pages *p, const uint8_t *at, uint64_t length)
{
    struct segment *s = segment_of(p, at);
    uint64_t offset = (uint64_t)(at - s->base);

    assert(length > 0);
    segment_use(s, page_at(s, offset), page_at(s, offset + length - 1));
}

void pages_unuse(struct pages *p, const uint8_t *at, uint64_t length)
{
    struct segment *s = segment_of(p, at);
    uint64_t offset = (uint64_t)(at - s->base);

    assert(length > 0);
    segment_unuse(p, s, page_at(s, offset), page_at(s, offset + length - 1));
}

/* Adds to, or takes from, the bytes of blocks in each of the pages under [offset, offset + length). */
static void count_bytes(struct segment *s, uint64_t offset, uint64_t length, bool add)
{
    while (length > 0) {
        uint64_t room = TAIL_PAGE_BYTES - offset % TAIL_PAGE_BYTES;
        uint32_t part = (uint32_t)(length < room ? length : room);
        struct page *page = page_at(s, offset);
        assert(add || page->block_bytes >= part);
        page->block_bytes += add ? part : -part;
        offset += part;
        length -= part;
    }
}

/* Most blocks lie in one page, and this is done for each. */
void pages_use_block(struct pages *p, const uint8_t *at, uint64_t length)
{
    struct segment *s = segment_of(p, at);
    uint64_t offset = (uint64_t)(at - s->base);
    struct page *first = page_at(s, offset), *last = page_at(s, offset + length - 1);

    if (first == last) {
        first->uses++;
        first->block_bytes += (uint32_t)length;
        s->uses++;
        return;
    }
    segment_use(s, first, last);
    count_bytes(s, offset, length, true);
}

void pages_unuse_block(struct pages *p, const uint8_t *at, uint64_t length)
{
    struct segment *s = segment_of(p, at);
    uint64_t offset = (uint64_t)(at - s->base);
    struct page *first = page_at(s, offset), *last = page_at(s, offset + length - 1);

    if (first == last) {
        assert(first->block_bytes >= length);
        first->block_bytes -= (uint32_t)length;
    } else {
        count_bytes(s, offset, length, false); /* before the segment may go */
    }
    segment_unuse(p, s, first, last);
}

bool pages_sparse(struct pages *p, const uint8_t *at, uint64_t length)
{
    struct segment *s = segment_of(p, at);
    struct page *first = page_at(s, (uint64_t)(at - s->base));
    struct page *last = page_at(s, (uint64_t)(at - s->base) + length - 1);
    uint64_t pages = (uint64_t)(last - first) + 1, bytes = 0;

    for (struct page *page = first; page <= last; page++) {
        if (is_written(p, page))
            return false;
        bytes += page->block_bytes;
    }
    return bytes * 2 <= pages * TAIL_PAGE_BYTES;
}

uint64_t pages_free_count(const struct pages *p)
{
    uint64_t in_use = pages_in_use(p);

    return in_use < p->held_max ? p->held_max - in_use : 0;
}
