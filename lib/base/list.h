#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/slice.h"

/* A circular list through its members: each holds a struct link, and so does its owner. A link that is in
 * no list points to itself, so removing it twice is harmless. */
struct link {
	struct link *next, *prev;
};

#define LINK_INIT(name)          \
	{                        \
		&(name), &(name) \
	}

static inline void list_init(struct link *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct link *l)
{
	return l->next == l;
}

static inline void list_insert_after(struct link *at, struct link *l)
{
	l->next = at->next;
	l->prev = at;
	at->next->prev = l;
	at->next = l;
}

static inline void list_append(struct link *list, struct link *l)
{
	list_insert_after(list->prev, l);
}

static inline void list_prepend(struct link *list, struct link *l)
{
	list_insert_after(list, l);
}

static inline void list_remove(struct link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

/* Moves all members of `from` to the end of `list`. */
static inline void list_join(struct link *list, struct link *from)
{
	if (list_empty(from))
		return;
	from->next->prev = list->prev;
	list->prev->next = from->next;
	from->prev->next = list;
	list->prev = from->prev;
	list_init(from);
}

/* The first member, taken out; NULL when there is none. */
static inline struct link *list_shift(struct link *list)
{
	struct link *l = list->next;

	if (l == list)
		return NULL;
	list_remove(l);
	return l;
}

#define LIST_ITEM(l, type, member) CONTAINER_OF(l, type, member)
/* The current member may be removed inside the loop. */
#define LIST_EACH(l, list)                                                    \
	for (struct link *l = (list)->next, *l##_next = l->next; l != (list); \
	     l = l##_next, l##_next = l->next)

#endif
