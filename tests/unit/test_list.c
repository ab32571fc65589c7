#include "base/list.h"

#include "tests/lib/unit.h"

struct element {
    struct list link;
    int number;
};

static int number_of(const struct list *link)
{
    return container_of(link, struct element, link)->number;
}

TEST(an_element_in_no_list_is_not_linked_and_may_be_removed)
{
    struct list element;

    list_init(&element);
    assert_false(list_linked(&element));
    list_remove(&element);
    assert_false(list_linked(&element));
}

TEST(elements_stand_in_the_order_asked_for)
{
    struct element elements[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    struct list head;
    int expected = 0;

    list_init(&head);
    assert_null(list_first(&head));
    list_append(&head, &elements[2].link);
    list_prepend(&head, &elements[0].link);
    list_insert_before(&elements[2].link, &elements[1].link);
    list_append(&head, &elements[3].link);
    list_for_each (at, &head)
        assert_int_equal(number_of(at), expected++);
    assert_int_equal(expected, 4);
}

TEST(removing_twice_is_harmless)
{
    struct element elements[2] = {{.number = 0}, {.number = 1}};
    struct list head;

    list_init(&head);
    list_append(&head, &elements[0].link);
    list_append(&head, &elements[1].link);
    list_remove(&elements[0].link);
    list_remove(&elements[0].link);
    assert_int_equal(number_of(list_first(&head)), 1);
    assert_true(list_linked(&elements[1].link));
    list_remove(&elements[1].link);
    assert_true(list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_element_in_no_list_is_not_linked_and_may_be_removed),
        cmocka_unit_test(elements_stand_in_the_order_asked_for),
        cmocka_unit_test(removing_twice_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
