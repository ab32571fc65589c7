/* An ordered map inside its elements: a treap. Keys are u64, or byte strings compared as memcmp does with the shorter
 * first (struct text_tree). The priority of a node is a mix of its key, so equal histories give equal trees on every
 * machine, and expected depth is logarithmic. Whoever chooses texts could choose priorities with them and make a tree
 * as deep as it has nodes; so that mix has a seed, which peers do not know. No allocation. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What both kinds of node begin with: a place in a tree. */
struct tree_link {
    struct tree_link *left, *right, *parent;
    uint32_t priority;
};

struct tree_node {
    struct tree_link link; /* first, so that a link is its node */
    uint64_t key;
};

struct tree {
    struct tree_link *root;
    size_t count;
};

void tree_init(struct tree *t);

/* The key must not be in the tree yet. */
void tree_insert(struct tree *t, struct tree_node *node, uint64_t key);
void tree_remove(struct tree *t, struct tree_node *node);

/* All of these give NULL when there is none. */
struct tree_node *tree_find(const struct tree *t, uint64_t key);
struct tree_node *tree_at_most(const struct tree *t, uint64_t key);  /* the greatest key <= key */
struct tree_node *tree_at_least(const struct tree *t, uint64_t key); /* the least key >= key */
struct tree_node *tree_first(const struct tree *t);
struct tree_node *tree_next(const struct tree_node *node);

/* The same for text keys, which the element keeps alive. */
struct text_node {
    struct tree_link link; /* first */
    const char *text;
    uint32_t length;
};

struct text_tree {
    struct tree_link *root;
    size_t count;
    uint64_t seed;
};

void text_tree_init(struct text_tree *t, uint64_t seed);
void text_tree_insert(struct text_tree *t, struct text_node *node, const char *text, uint32_t length);
void text_tree_remove(struct text_tree *t, struct text_node *node);
struct text_node *text_tree_find(const struct text_tree *t, const char *text, uint32_t length);
/* The least text > (after, length); the first of all with length 0. */
struct text_node *text_tree_after(const struct text_tree *t, const char *after, uint32_t length);
struct text_node *text_tree_next(const struct text_node *node);
