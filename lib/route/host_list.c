/* Lists of hosts as people write them: "mx1 : mx2::2525 : + : [2001:db8::1]:24 : example.org/mx". */
#include "routing.h"

#define HOSTS_MAX 200 /* in one list: nobody waits for the 200th host */

void host_list_append(struct host_list *list, struct host_item *item)
{
	struct host_item **at = &list->first;

	while (*at)
		at = &(*at)->next;
	item->next = NULL;
	*at = item;
	list->count++;
}

/* "name", "name:port", "[address]:port", "address". */
static enum rc parse_item(struct arena *arena, struct slice text, struct host_item **item_ret,
			  struct err *err)
{
	struct host_item *item = arena_make(arena, struct host_item);
	struct slice name = text, port = SLICE_EMPTY;
	struct ip_addr ip;
	uint64_t number = 0;
	ptrdiff_t at;

	if (!item)
		return err_memory(err);
	if (text.ptr[0] == '[') {
		at = slice_find(text, ']');
		if (at < 0)
			return err_set(err, FAIL, "missing ] in host \"%.*s\"", SLICE_ARG(text));
		name = slice_sub(text, 1, (size_t)at - 1);
		port = slice_from(text, (size_t)at + 1);
		if (port.len && port.ptr[0] != ':')
			return err_set(err, FAIL, "malformed host \"%.*s\"", SLICE_ARG(text));
		port = slice_from(port, 1);
		if (!ip_parse(name, &ip))
			return err_set(err, FAIL, "malformed address in host \"%.*s\"", SLICE_ARG(text));
	} else if (!ip_parse(text, &ip) && (at = slice_rfind(text, ':')) >= 0) {
		name = slice_trim(slice_sub(text, 0, (size_t)at));
		port = slice_trim(slice_from(text, (size_t)at + 1));
	}
	if (port.len && (!parse_u64(port, &number) || number == 0 || number > 65535))
		return err_set(err, FAIL, "malformed port in host \"%.*s\"", SLICE_ARG(text));
	if (name.len == 0)
		return err_set(err, FAIL, "empty host name in \"%.*s\"", SLICE_ARG(text));
	*item = (struct host_item){.name = name, .port = (uint16_t)number, .mx = MX_NONE};
	if (ip_parse(name, &ip)) {
		item->ip = ip;
		item->ip.port = item->port;
	}
	*item_ret = item;
	return OK;
}

/* Puts the items from *first on, up to the end of the list, into random order. */
static void shuffle(struct shard *shard, struct host_item **first)
{
	struct host_item *items[HOSTS_MAX];
	unsigned count = 0;

	for (struct host_item *item = *first; item && count < HOSTS_MAX; item = item->next)
		items[count++] = item;
	for (unsigned left = count; left > 1; left--) {
		uint32_t pick;
		shard_random(shard, &pick, sizeof(pick));
		pick %= left;
		struct host_item *swap = items[pick];
		items[pick] = items[left - 1];
		items[left - 1] = swap;
	}
	for (unsigned i = 0; i < count; i++) {
		*first = items[i];
		first = &items[i]->next;
	}
	*first = NULL;
}

enum rc host_list_parse(struct shard *shard, struct arena *arena, struct slice text, bool randomize,
			struct host_list *list_ret, struct err *err)
{
	struct host_list list = {0};
	struct host_item **end = &list.first, **group = &list.first;
	char separator = 0;
	struct slice part;

	while (list_next(arena, &text, &separator, &part)) {
		if (!part.ptr)
			return err_memory(err);
		if (part.len == 0)
			continue;
		if (slice_eq(part, SLICE("+"))) {
			if (randomize)
				shuffle(shard, group);
			for (end = &list.first; *end; end = &(*end)->next)
				;
			group = end;
			continue;
		}
		if (list.count == HOSTS_MAX)
			return err_set(err, FAIL, "more than %d hosts in a list", HOSTS_MAX);
		enum rc rc = parse_item(arena, part, end, err);
		if (rc != OK)
			return rc;
		end = &(*end)->next;
		list.count++;
	}
	if (randomize)
		shuffle(shard, group);
	*list_ret = list;
	return OK;
}

static bool is_mx_item(struct slice *name)
{
	if (!slice_ends_nocase(*name, SLICE("/mx")))
		return false;
	name->len -= 3;
	return true;
}

enum host_find host_list_resolve(struct scope *sc, const struct host_list *names,
				 const struct hosts_query *query, bool skip_failed,
				 struct host_list *list_ret, struct slice *failed_ret, struct err *err)
{
	struct host_list list = {0};
	bool again = false, ignored = false;

	*failed_ret = SLICE_EMPTY;
	for (const struct host_item *host = names->first; host; host = host->next) {
		struct host_list found = {0};
		struct slice name = host->name;
		enum host_find result;
		struct hosts_query mx_query = *query;

		if (is_mx_item(&name)) {
			mx_query.flags = HOSTS_MX | HOSTS_A | HOSTS_AAAA |
					 (query->flags & (HOSTS_IPV4_ONLY | HOSTS_IPV4_FIRST));
			result = hosts_find_dns(sc, name, &mx_query, &found, err);
			for (struct host_item *item = found.first; item; item = item->next)
				item->port = item->ip.port = host->port;
		} else {
			result = hosts_find_name(sc, name, host->port, query, &found, err);
		}
		switch (result) {
		case HOST_FOUND:
			break;
		case HOST_FOUND_LOCAL:
			if (!list.first) {
				*list_ret = found;
				return HOST_FOUND_LOCAL;
			}
			*list_ret =
			    list; /* this host, and whatever stands behind it, is no better than we are */
			return HOST_FOUND;
		case HOST_AGAIN:
			*failed_ret = host->name;
			if (!skip_failed)
				return HOST_AGAIN;
			again = true;
			continue;
		case HOST_IGNORED:
			*failed_ret = host->name;
			ignored = true;
			continue;
		case HOST_NONE:
		case HOST_NULL_MX:
			*failed_ret = host->name;
			if (!skip_failed)
				return HOST_NONE;
			continue;
		}
		list.from_mx |= found.from_mx;
		for (struct host_item *item = found.first, *next; item; item = next) {
			next = item->next;
			host_list_append(&list, item);
		}
	}
	*list_ret = list;
	return list.first ? HOST_FOUND : again ? HOST_AGAIN : ignored ? HOST_IGNORED : HOST_NONE;
}
