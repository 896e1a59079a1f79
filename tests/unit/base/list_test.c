#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/list.h"

struct item {
	int n;
	struct list hook;
};

static int digits(struct list *head)
{
	int all = 0;
	list_each (struct item, i, head, hook)
		all = 10 * all + i->n;
	return all;
}

Test(list, keeps_order_and_unlinks)
{
	struct list head;
	struct item a = {.n = 1}, b = {.n = 2}, c = {.n = 3};
	list_init(&head);
	cr_assert(list_empty(&head));
	cr_assert(eq(int, digits(&head), 0));
	list_append(&head, &a.hook);
	list_append(&head, &c.hook);
	list_insert_before(&c.hook, &b.hook);
	cr_assert(eq(int, digits(&head), 123));
	list_remove(&b.hook);
	list_remove(&b.hook);
	cr_assert(eq(int, digits(&head), 13));
	list_append(&head, &b.hook);
	cr_assert(eq(int, digits(&head), 132));
	cr_assert(not(list_empty(&head)));
}

Test(list, removing_an_unlinked_hook_is_nothing)
{
	struct list hook;
	list_init(&hook);
	list_remove(&hook);
	cr_assert(list_empty(&hook));
}

Test(list, the_safe_walk_may_unlink_what_it_stands_on)
{
	struct list head;
	struct item items[4] = {{.n = 1}, {.n = 2}, {.n = 3}, {.n = 4}};
	list_init(&head);
	for (int i = 0; i < 4; i++)
		list_append(&head, &items[i].hook);
	list_each_safe (struct item, i, &head, hook)
		if (i->n % 2 == 0)
			list_remove(&i->hook);
	cr_assert(eq(int, digits(&head), 13));
	list_each_safe (struct item, i, &head, hook)
		list_remove(&i->hook);
	cr_assert(list_empty(&head));
}
