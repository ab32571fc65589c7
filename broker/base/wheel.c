/* Where a timer lies is a function of the wheel's time and the timer's: the level is the highest group of six
 * bits in which the two differ, the slot is the due time's digit there. What follows:
 *
 *  - All timers of one millisecond lie in one list at any moment, so appending keeps the order in which they
 *    were set, and emptying a slot into the levels below from its front keeps it again.
 *  - Every timer of a level is due before every timer of the levels above, and the slots of a level do not
 *    wrap: the lowest bit of the lowest level that has one is the next slot to come due.
 *  - Time may pass up to that slot's beginning without moving a single timer. There the slot is emptied: of
 *    level 0 into the list of due timers, of a higher level into the levels below.
 *
 * So the wheel goes from slot to slot, however long the time between them, and while a round of wheel_take()
 * is under way it stands at the millisecond that is being given out. */
#include "wheel.h"

#include <assert.h>

enum { SLOT_BITS = 6 };
_Static_assert(1 << SLOT_BITS == WHEEL_SLOTS, "a digit is a slot");
_Static_assert(WHEEL_SLOTS == 64, "a slot is a bit of a u64");

/* What lies beyond is placed at the end of time, 8,900 years from the zero of the clock. */
#define TIME_MAX ((UINT64_C(1) << (SLOT_BITS * WHEEL_LEVELS)) - 1)

struct place {
    unsigned level;
    unsigned slot;
};

static uint64_t within(uint64_t ms)
{
    return ms < TIME_MAX ? ms : TIME_MAX;
}

/* For due_ms > w->now_ms, both within TIME_MAX. */
static struct place place_of(const struct wheel *w, uint64_t due_ms)
{
    unsigned level = (63u - (unsigned)__builtin_clzll(due_ms ^ w->now_ms)) / SLOT_BITS;

    return (struct place){level, (unsigned)(due_ms >> (level * SLOT_BITS)) % WHEEL_SLOTS};
}

void wheel_init(struct wheel *w, uint64_t now_ms)
{
    *w = (struct wheel){.now_ms = within(now_ms)};
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        for (int slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&w->slots[level][slot]);
    }
    list_init(&w->due);
}

void timer_init(struct timer *t, int kind)
{
    *t = (struct timer){.kind = kind};
    list_init(&t->link);
}

static struct timer *timer_of(struct list *link)
{
    return container_of(link, struct timer, link);
}

/* Behind all that are due no later. Times that passed before they were set are rare, so the walk is almost
 * always empty. */
static void insert_due(struct wheel *w, struct timer *t)
{
    struct list *next = &w->due;

    while (next->previous != &w->due && timer_of(next->previous)->due_ms > t->due_ms)
        next = next->previous;
    list_insert_before(next, &t->link);
}

static void insert(struct wheel *w, struct timer *t)
{
    uint64_t due_ms = within(t->due_ms);

    if (due_ms <= w->now_ms) {
        insert_due(w, t);
        return;
    }
    struct place place = place_of(w, due_ms);
    list_append(&w->slots[place.level][place.slot], &t->link);
    w->occupied[place.level] |= UINT64_C(1) << place.slot;
}

void wheel_set(struct wheel *w, struct timer *t, uint64_t due_ms)
{
    wheel_stop(w, t);
    t->due_ms = due_ms;
    insert(w, t);
}

void wheel_stop(struct wheel *w, struct timer *t)
{
    uint64_t due_ms = within(t->due_ms);

    if (!timer_running(t))
        return;
    list_remove(&t->link);
    if (due_ms <= w->now_ms)
        return; /* it was in the list of due timers */
    struct place place = place_of(w, due_ms);
    if (list_empty(&w->slots[place.level][place.slot]))
        w->occupied[place.level] &= ~(UINT64_C(1) << place.slot);
}

/* The next slot to come due, and its first millisecond; false when no timer lies in a slot. */
static bool next_slot(const struct wheel *w, struct place *ret_place, uint64_t *ret_ms)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        if (w->occupied[level] == 0)
            continue;
        unsigned slot = (unsigned)__builtin_ctzll(w->occupied[level]);
        unsigned shift = level * SLOT_BITS;
        *ret_place = (struct place){level, slot};
        *ret_ms = ((w->now_ms >> (shift + SLOT_BITS) << SLOT_BITS) | slot) << shift;
        return true;
    }
    return false;
}

static void empty_slot(struct wheel *w, struct place place)
{
    struct list *slot = &w->slots[place.level][place.slot];

    w->occupied[place.level] &= ~(UINT64_C(1) << place.slot);
    while (!list_empty(slot)) {
        struct list *link = list_first(slot);
        list_remove(link);
        insert(w, timer_of(link));
    }
}

/* Goes to the next slot, or to now_ms when that comes first: false. */
static bool advance(struct wheel *w, uint64_t now_ms)
{
    struct place place;
    uint64_t slot_ms;

    if (!next_slot(w, &place, &slot_ms) || slot_ms > now_ms) {
        if (now_ms > w->now_ms)
            w->now_ms = now_ms;
        return false;
    }
    assert(slot_ms > w->now_ms);
    w->now_ms = slot_ms;
    empty_slot(w, place);
    return true;
}

struct timer *wheel_take(struct wheel *w, uint64_t now_ms)
{
    struct list *link;

    now_ms = within(now_ms);
    while (list_empty(&w->due)) {
        if (!advance(w, now_ms))
            return NULL;
    }
    link = list_first(&w->due);
    list_remove(link);
    return timer_of(link);
}

uint64_t wheel_next_ms(const struct wheel *w)
{
    struct place place;
    uint64_t slot_ms;

    if (!list_empty(&w->due))
        return w->now_ms;
    return next_slot(w, &place, &slot_ms) ? slot_ms : WHEEL_NEVER;
}
