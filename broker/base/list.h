/* Intrusive doubly linked lists with a sentinel. An element that is in no list is linked to itself, so removing it twice
 * is harmless and list_linked() tells. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *previous;
};

#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* Not removing the current element; to remove, use list_first() in a while loop. */
#define list_for_each(at, head) for (struct list *at = (head)->next; at != (head); at = at->next)

static inline void list_init(struct list *l)
{
    l->next = l->previous = l;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_linked(const struct list *element)
{
    return element->next != element;
}

static inline void list_remove(struct list *element)
{
    element->previous->next = element->next;
    element->next->previous = element->previous;
    list_init(element);
}

/* Puts element, which is in no list, before `next`: before a head means at the end of its list. */
static inline void list_insert_before(struct list *next, struct list *element)
{
    element->previous = next->previous;
    element->next = next;
    next->previous->next = element;
    next->previous = element;
}

static inline void list_append(struct list *head, struct list *element)
{
    list_insert_before(head, element);
}

static inline void list_prepend(struct list *head, struct list *element)
{
    list_insert_before(head->next, element);
}

/* NULL when empty. */
static inline struct list *list_first(const struct list *head)
{
    return list_empty(head) ? NULL : head->next;
}
