/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_LIST_H
#define ATOLL_BASE_LIST_H

#include <stdbool.h>

#include "base/attr.h"

/*
 * Circular doubly linked list; the links live inside the elements, so that nothing is allocated.
 * A head is a `struct list` that is in no element. An element that is in no list and will be asked
 * about is initialised like a head. Thread: whoever holds the lock of the list.
 */
struct list {
	struct list *next, *prev;
};

/* list_init - an empty head, or an element that is in no list. Thread: owner. */
static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

/* list_empty - whether a head has no elements (or an element is in no list). Thread: owner. */
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

/* list_insert_ - link `n` after `prev`; use list_push(), list_push_front() or list_insert_before().
 * Thread: owner. */
static inline void list_insert_(struct list *prev, struct list *n)
{
	n->next = prev->next;
	n->prev = prev;
	prev->next->prev = n;
	prev->next = n;
}

/* list_push - add at the end. The element must be in no list. Thread: owner. */
static inline void list_push(struct list *head, struct list *n)
{
	list_insert_(head->prev, n);
}

/* list_push_front - add at the front. The element must be in no list. Thread: owner. */
static inline void list_push_front(struct list *head, struct list *n)
{
	list_insert_(head, n);
}

/* list_insert_before - add in front of `pos`, an element or the head (= at the end). Thread:
 * owner. */
static inline void list_insert_before(struct list *pos, struct list *n)
{
	list_insert_(pos->prev, n);
}

/* list_del - take an element out; afterwards list_empty() holds for it, and a second call does
 * nothing. Thread: owner. */
static inline void list_del(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

/* list_pop - take the first element out; NULL when there is none. Thread: owner. */
static inline struct list *list_pop(struct list *head)
{
	struct list *n = head->next;

	if (n == head)
		return NULL;
	list_del(n);
	return n;
}

/* The structure around a link. */
#define list_entry(ptr, type, member) container_of(ptr, type, member)

/* First element as `type *`, NULL when the list is empty. */
#define list_first(head, type, member)                                                             \
	(list_empty(head) ? NULL : list_entry((head)->next, type, member))

/* For each element, in order; the body must not take `pos` out. */
#define list_for_each(pos, head, member)                                                           \
	for (pos = list_entry((head)->next, __typeof__(*pos), member); &pos->member != (head);     \
	     pos = list_entry(pos->member.next, __typeof__(*pos), member))

/* For each element, in order; the body may take `pos` (and nothing else) out. */
#define list_for_each_safe(pos, tmp, head, member)                                                 \
	for (pos = list_entry((head)->next, __typeof__(*pos), member),                             \
	    tmp = list_entry(pos->member.next, __typeof__(*pos), member);                          \
	     &pos->member != (head);                                                               \
	     pos = tmp, tmp = list_entry(tmp->member.next, __typeof__(*pos), member))

#endif
