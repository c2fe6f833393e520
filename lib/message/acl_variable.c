/* $acl_c and $acl_m: named values that policy sets and that stay with the connection or the message. */
#include "message/message.h"

struct slice *acl_variable_get(struct acl_variable *list, struct slice name)
{
	for (; list; list = list->next)
		if (slice_eq(list->name, name))
			return &list->value;
	return NULL;
}

/* New ones go to the end, so that an envelope that is read and written again keeps their order. */
bool acl_variable_set(struct arena *arena, struct acl_variable **list, struct slice name, struct slice value)
{
	struct acl_variable *variable;

	value = arena_copy(arena, value);
	if (!value.ptr)
		return false;
	for (; *list; list = &(*list)->next)
		if (slice_eq((*list)->name, name)) {
			(*list)->value = value;
			return true;
		}
	variable = arena_make(arena, struct acl_variable);
	name = arena_copy(arena, name);
	if (!variable || !name.ptr)
		return false;
	variable->name = name;
	variable->value = value;
	*list = variable;
	return true;
}
