/* Two search trees over one treap.
 *
 * The treap below knows links and priorities and never looks at a key: whoever inserts finds the empty place,
 * the treap attaches the link there and rotates it up until its parent has a higher priority. Everything
 * walks with loops and parent pointers, so no depth can overflow the stack. */
#include "tree.h"

#include <assert.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- the treap: links only ---- */

/* Puts `link` (or nothing) where `old` hangs. */
static void replace(struct tree_link **root, struct tree_link *old, struct tree_link *link)
{
    struct tree_link *parent = old->parent;

    if (parent == NULL)
        *root = link;
    else if (parent->left == old)
        parent->left = link;
    else
        parent->right = link;
    if (link != NULL)
        link->parent = parent;
}

/* Swaps the roles of a link and its parent, keeping the order. */
static void rotate_up(struct tree_link **root, struct tree_link *link)
{
    struct tree_link *parent = link->parent;
    bool was_left = parent->left == link;
    struct tree_link *inner = was_left ? link->right : link->left;

    replace(root, parent, link);
    if (was_left) {
        parent->left = inner;
        link->right = parent;
    } else {
        parent->right = inner;
        link->left = parent;
    }
    parent->parent = link;
    if (inner != NULL)
        inner->parent = parent;
}

/* Hangs a new link into the empty *place below parent. */
static void attach(struct tree_link **root, struct tree_link *parent, struct tree_link **place,
                   struct tree_link *link, uint32_t priority)
{
    *link = (struct tree_link){.parent = parent, .priority = priority};
    *place = link;
    while (link->parent != NULL && link->parent->priority < link->priority)
        rotate_up(root, link);
}

static void detach(struct tree_link **root, struct tree_link *link)
{
    while (link->left != NULL && link->right != NULL)
        rotate_up(root, link->left->priority > link->right->priority ? link->left : link->right);
    replace(root, link, link->left != NULL ? link->left : link->right);
}

static struct tree_link *leftmost(struct tree_link *link)
{
    while (link != NULL && link->left != NULL)
        link = link->left;
    return link;
}

static struct tree_link *next(const struct tree_link *link)
{
    if (link->right != NULL)
        return leftmost(link->right);
    while (link->parent != NULL && link->parent->right == link)
        link = link->parent;
    return link->parent;
}

/* ---- u64 keys ---- */

static struct tree_node *node_of(struct tree_link *link)
{
    return (struct tree_node *)link;
}

static uint64_t key_of(const struct tree_link *link)
{
    return ((const struct tree_node *)link)->key;
}

/* The finalizer of splitmix64: neighbouring keys get unrelated priorities. */
static uint32_t mix(uint64_t key)
{
    key += 0x9e3779b97f4a7c15u;
    key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9u;
    key = (key ^ (key >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)(key >> 32);
}

void tree_init(struct tree *t)
{
    *t = (struct tree){0};
}

void tree_insert(struct tree *t, struct tree_node *node, uint64_t key)
{
    struct tree_link *parent = NULL;
    struct tree_link **place = &t->root;

    while (*place != NULL) {
        parent = *place;
        assert(key_of(parent) != key);
        place = key < key_of(parent) ? &parent->left : &parent->right;
    }
    node->key = key;
    attach(&t->root, parent, place, &node->link, mix(key));
    t->count++;
}

void tree_remove(struct tree *t, struct tree_node *node)
{
    assert(t->count > 0);
    detach(&t->root, &node->link);
    t->count--;
}

struct tree_node *tree_find(const struct tree *t, uint64_t key)
{
    struct tree_link *at = t->root;

    while (at != NULL && key_of(at) != key)
        at = key < key_of(at) ? at->left : at->right;
    return node_of(at);
}

struct tree_node *tree_at_most(const struct tree *t, uint64_t key)
{
    struct tree_link *best = NULL;

    for (struct tree_link *at = t->root; at != NULL;) {
        if (key_of(at) <= key) {
            best = at;
            at = at->right;
        } else {
            at = at->left;
        }
    }
    return node_of(best);
}

struct tree_node *tree_at_least(const struct tree *t, uint64_t key)
{
    struct tree_link *best = NULL;

    for (struct tree_link *at = t->root; at != NULL;) {
        if (key_of(at) >= key) {
            best = at;
            at = at->left;
        } else {
            at = at->right;
        }
    }
    return node_of(best);
}

struct tree_node *tree_first(const struct tree *t)
{
    return node_of(leftmost(t->root));
}

struct tree_node *tree_next(const struct tree_node *node)
{
    return node_of(next(&node->link));
}

/* ---- text keys ---- */

static struct text_node *text_node_of(struct tree_link *link)
{
    return (struct text_node *)link;
}

/* The sign says whether the text comes before (< 0) the link's, is it (0), or comes behind it. */
static int compare(const char *text, uint32_t length, const struct tree_link *link)
{
    const struct text_node *node = (const struct text_node *)link;
    uint32_t common = length < node->length ? length : node->length;
    int sign = common > 0 ? memcmp(text, node->text, common) : 0;

    if (sign != 0)
        return sign;
    return (length > node->length) - (length < node->length);
}

void text_tree_init(struct text_tree *t, uint64_t seed)
{
    *t = (struct text_tree){.seed = seed};
}

void text_tree_insert(struct text_tree *t, struct text_node *node, const char *text, uint32_t length)
{
    struct tree_link *parent = NULL;
    struct tree_link **place = &t->root;

    while (*place != NULL) {
        int sign = compare(text, length, *place);
        assert(sign != 0);
        parent = *place;
        place = sign < 0 ? &parent->left : &parent->right;
    }
    node->text = text;
    node->length = length;
    attach(&t->root, parent, place, &node->link, (uint32_t)XXH3_64bits_withSeed(text, length, t->seed));
    t->count++;
}

void text_tree_remove(struct text_tree *t, struct text_node *node)
{
    assert(t->count > 0);
    detach(&t->root, &node->link);
    t->count--;
}

struct text_node *text_tree_find(const struct text_tree *t, const char *text, uint32_t length)
{
    struct tree_link *at = t->root;

    while (at != NULL) {
        int sign = compare(text, length, at);
        if (sign == 0)
            break;
        at = sign < 0 ? at->left : at->right;
    }
    return text_node_of(at);
}

struct text_node *text_tree_after(const struct text_tree *t, const char *after, uint32_t length)
{
    struct tree_link *best = NULL;

    if (length == 0)
        return text_node_of(leftmost(t->root));
    for (struct tree_link *at = t->root; at != NULL;) {
        if (compare(after, length, at) < 0) {
            best = at;
            at = at->left;
        } else {
            at = at->right;
        }
    }
    return text_node_of(best);
}

struct text_node *text_tree_next(const struct text_node *node)
{
    return text_node_of(next(&node->link));
}
