#include "base/tree.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/random.h"
#include "tests/lib/unit.h"

enum { KEYS = 512, STEPS = 20000, SEEDS = 5 };

/* Checks links and priorities below a link, and that no path is long. Recursion is fine in a test. */
static size_t check_links(const struct tree_link *link, const struct tree_link *parent, int depth)
{
    if (link == NULL)
        return 0;
    assert_true(depth < 64);
    assert_ptr_equal(link->parent, parent);
    assert_true(parent == NULL || parent->priority >= link->priority);
    return 1 + check_links(link->left, link, depth + 1) + check_links(link->right, link, depth + 1);
}

/* The next key of the model from `key` on in direction `step`, or -1. */
static int model_seek(const bool *present, int key, int step)
{
    for (; key >= 0 && key < KEYS; key += step) {
        if (present[key])
            return key;
    }
    return -1;
}

static void expect_key(const struct tree_node *node, int key)
{
    if (key < 0) {
        assert_null(node);
    } else {
        assert_non_null(node);
        assert_int_equal(node->key, key);
    }
}

static void compare_with_model(const struct tree *t, const bool *present)
{
    const struct tree_node *node = tree_first(t);

    for (int key = model_seek(present, 0, 1); key >= 0; key = model_seek(present, key + 1, 1)) {
        expect_key(node, key);
        node = tree_next(node);
    }
    assert_null(node);
    assert_int_equal(check_links(t->root, NULL, 0), t->count);
}

static void run_against_model(uint64_t seed)
{
    static struct tree_node nodes[KEYS];
    bool present[KEYS] = {false};
    struct random r = {seed};
    struct tree t;

    tree_init(&t);
    for (int step = 0; step < STEPS; step++) {
        int key = (int)random_below(&r, KEYS);
        if (present[key])
            tree_remove(&t, &nodes[key]);
        else
            tree_insert(&t, &nodes[key], (uint64_t)key);
        present[key] = !present[key];
        int probe = (int)random_below(&r, KEYS);
        expect_key(tree_find(&t, (uint64_t)probe), present[probe] ? probe : -1);
        expect_key(tree_at_most(&t, (uint64_t)probe), model_seek(present, probe, -1));
        expect_key(tree_at_least(&t, (uint64_t)probe), model_seek(present, probe, 1));
        if (step % 500 == 0)
            compare_with_model(&t, present);
    }
}

TEST(a_tree_behaves_as_a_sorted_row)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_against_model(seed);
}

TEST(the_greatest_and_the_least_key_are_keys)
{
    struct tree_node least, greatest;
    struct tree t;

    tree_init(&t);
    tree_insert(&t, &greatest, UINT64_MAX);
    assert_null(tree_at_most(&t, UINT64_MAX - 1));
    assert_ptr_equal(tree_at_least(&t, 0), &greatest);
    tree_insert(&t, &least, 0);
    assert_ptr_equal(tree_at_most(&t, 0), &least);
    assert_ptr_equal(tree_at_least(&t, UINT64_MAX), &greatest);
    assert_ptr_equal(tree_next(&least), &greatest);
    assert_null(tree_next(&greatest));
}

/* The worst case of an unbalanced tree. */
TEST(rising_keys_give_short_paths)
{
    static struct tree_node nodes[100000];
    struct tree t;

    tree_init(&t);
    for (size_t i = 0; i < 100000; i++)
        tree_insert(&t, &nodes[i], i);
    assert_int_equal(check_links(t.root, NULL, 0), 100000);
}

static void text_insert(struct text_tree *t, struct text_node *node, const char *text)
{
    text_tree_insert(t, node, text, (uint32_t)strlen(text));
}

TEST(texts_stand_in_the_order_of_their_bytes_the_shorter_first)
{
    static const char *const sorted[] = {"A", "B", "a", "aa", "aab", "ab", "b", "\xc3\xa4"};
    enum { COUNT = sizeof sorted / sizeof sorted[0] };
    struct text_node nodes[COUNT];
    struct text_tree t;

    text_tree_init(&t, 1);
    for (int i = 0; i < COUNT; i++)
        text_insert(&t, &nodes[i], sorted[i * 3 % COUNT]);
    struct text_node *node = text_tree_after(&t, "", 0);
    for (int i = 0; i < COUNT; i++) {
        assert_string_equal(node->text, sorted[i]);
        assert_ptr_equal(text_tree_find(&t, sorted[i], (uint32_t)strlen(sorted[i])), node);
        assert_ptr_equal(text_tree_after(&t, sorted[i], (uint32_t)strlen(sorted[i])), text_tree_next(node));
        node = text_tree_next(node);
    }
    assert_null(node);
    assert_int_equal(check_links(t.root, NULL, 0), t.count);
}

TEST(a_text_that_is_not_there_is_not_found_but_has_a_place)
{
    struct text_node a, c;
    struct text_tree t;

    text_tree_init(&t, 1);
    assert_null(text_tree_find(&t, "a", 1));
    assert_null(text_tree_after(&t, "", 0));
    text_insert(&t, &a, "a");
    text_insert(&t, &c, "c");
    assert_null(text_tree_find(&t, "b", 1));
    assert_ptr_equal(text_tree_after(&t, "b", 1), &c);
    text_tree_remove(&t, &c);
    assert_null(text_tree_after(&t, "b", 1));
    assert_null(text_tree_find(&t, "c", 1));
    assert_int_equal(t.count, 1);
}

static uint32_t priority_of(const char *text, uint64_t seed)
{
    struct text_node node;
    struct text_tree t;

    text_tree_init(&t, seed);
    text_insert(&t, &node, text);
    return node.link.priority;
}

static int depth_of(const struct tree_link *link)
{
    int depth = 0;

    for (; link->parent != NULL; link = link->parent)
        depth++;
    return depth;
}

/* Names can be found whose priorities rise with them, so that each stands below the next: by who knows the seed. */
TEST(names_chosen_against_one_seed_make_no_deep_tree_with_another)
{
    enum { COUNT = 400 };
    static struct text_node nodes[COUNT];
    static char names[COUNT][24];
    struct text_tree known, secret;

    for (uint32_t i = 0, attempt = 0; i < COUNT; attempt++) {
        snprintf(names[i], sizeof(names[i]), "%06u-%u", (unsigned)i, (unsigned)attempt);
        if (priority_of(names[i], 1) / (UINT32_MAX / COUNT + 1) == i)
            i++;
    }
    text_tree_init(&known, 1);
    for (int i = 0; i < COUNT; i++)
        text_insert(&known, &nodes[i], names[i]);
    assert_int_equal(depth_of(&nodes[0].link), COUNT - 1);
    text_tree_init(&secret, 2);
    for (int i = 0; i < COUNT; i++)
        text_insert(&secret, &nodes[i], names[i]);
    assert_int_equal(check_links(secret.root, NULL, 0), COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_behaves_as_a_sorted_row),
        cmocka_unit_test(the_greatest_and_the_least_key_are_keys),
        cmocka_unit_test(rising_keys_give_short_paths),
        cmocka_unit_test(texts_stand_in_the_order_of_their_bytes_the_shorter_first),
        cmocka_unit_test(a_text_that_is_not_there_is_not_found_but_has_a_place),
        cmocka_unit_test(names_chosen_against_one_seed_make_no_deep_tree_with_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
