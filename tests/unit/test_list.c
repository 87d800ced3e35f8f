/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Intrusive lists and the macros that find the element around a link. */
#include "base/list.h"
#include "unit.h"

struct item {
	int n;
	struct list link;
};

static int sum(struct list *head)
{
	struct item *i;
	int digits = 0;

	list_for_each(i, head, link)
		digits = digits * 10 + i->n;
	return digits;
}

static void test_order(void **state)
{
	struct item a = { .n = 1 }, b = { .n = 2 }, c = { .n = 3 };
	struct list head;

	list_init(&head);
	assert_true(list_empty(&head));
	assert_null(list_first(&head, struct item, link));
	assert_null(list_pop(&head));
	list_push(&head, &b.link);
	list_push_front(&head, &a.link);
	list_push(&head, &c.link);
	assert_int_equal(sum(&head), 123);
	assert_ptr_equal(list_first(&head, struct item, link), &a);
	list_del(&b.link);
	list_del(&b.link);
	assert_true(list_empty(&b.link));
	assert_int_equal(sum(&head), 13);
	list_insert_before(&c.link, &b.link);
	assert_int_equal(sum(&head), 123);
	assert_ptr_equal(list_pop(&head), &a.link);
	assert_int_equal(sum(&head), 23);
}

static void test_safe_walk(void **state)
{
	struct item items[5], *i, *tmp;
	struct list head;

	list_init(&head);
	for (int n = 0; n < 5; n++) {
		items[n].n = n + 1;
		list_push(&head, &items[n].link);
	}
	list_for_each_safe(i, tmp, &head, link)
		if (i->n % 2)
			list_del(&i->link);
	assert_int_equal(sum(&head), 24);
}

static void test_macros(void **state)
{
	int a[7], n = 0, x = 3, *p = &x;

	assert_int_equal(ARRAY_SIZE(a), 7);
	assert_int_equal(MAX(MIN(4, 9), MIN(7, 5)), 5);
	assert_int_equal(MAX(n++, -1), 0);
	assert_int_equal(n, 1);
	assert_ptr_equal(take_ptr(&p), &x);
	assert_null(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_safe_walk),
		cmocka_unit_test(test_macros),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
