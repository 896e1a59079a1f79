/*
 * list - a doubly linked list whose hooks live in their owners.
 *
 * A head and a hook are the same struct. list_init() makes an empty head or an
 * unlinked hook; list_remove() of an unlinked hook is a no-op.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

struct list {
	struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_before(struct list *at, struct list *hook)
{
	hook->prev = at->prev;
	hook->next = at;
	at->prev->next = hook;
	at->prev = hook;
}

static inline void list_append(struct list *head, struct list *hook)
{
	list_insert_before(head, hook);
}

static inline void list_remove(struct list *hook)
{
	hook->prev->next = hook->next;
	hook->next->prev = hook->prev;
	list_init(hook);
}

/* list_each(struct job, j, &head, hook) { ... } must not unlink j; list_each_safe may. */
#define list_each(type, var, head, hook)                                                           \
	for (type *var = MEM_OWNER((head)->next, type, hook); &var->hook != (head);                \
	     var = MEM_OWNER(var->hook.next, type, hook))
#define list_each_safe(type, var, head, hook)                                                      \
	for (type *var = MEM_OWNER((head)->next, type, hook),                                      \
		  *var##_next = MEM_OWNER(var->hook.next, type, hook);                             \
	     &var->hook != (head);                                                                 \
	     var = var##_next, var##_next = MEM_OWNER(var->hook.next, type, hook))

#endif
