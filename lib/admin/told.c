/* told: what a command says of the message or session that it hands to the daemon, as words "name=value" of the request. */
#include "admin/admin.h"

#define PATIENCE "patience="
#define TEXT(word, field)                                   \
	{                                                   \
		word "=", offsetof(struct smtp_told, field) \
	}
static const struct {
	const char *name;
	size_t offset;
} texts[] = {
    TEXT("host-name", host_name),
    TEXT("protocol", protocol),
    TEXT("ident", ident),
    TEXT("authenticator", authenticator),
    TEXT("authenticated-id", authenticated_id),
    TEXT("authenticated-sender", authenticated_sender),
    TEXT("about", about),
};
static const struct {
	const char *name;
	size_t offset;
} flags[] = {
    {"suppress-fixups", offsetof(struct smtp_told, suppress_fixups)},
    {"queue-only", offsetof(struct smtp_told, queue_only)},
    {"queue-smtp", offsetof(struct smtp_told, queue_smtp)},
    {"deliver-now", offsetof(struct smtp_told, deliver_now)},
    {"dont-deliver", offsetof(struct smtp_told, dont_deliver)},
};

static bool put_ip(struct arena *arena, const char *name, const struct ip_addr *ip, struct slice *word)
{
	char text[IP_TEXT_MAX];

	if (!ip->family)
		return false;
	*word = arena_printf(arena, "%s=[%.*s]%u", name, SLICE_ARG(ip_format(ip, text)), ip->port);
	return true;
}

unsigned told_write(const struct smtp_told *told, struct arena *arena, struct slice words[TOLD_WORDS_MAX])
{
	unsigned n = 0;

	n += put_ip(arena, "host", &told->host, &words[n]);
	n += put_ip(arena, "interface", &told->interface, &words[n]);
	for (unsigned i = 0; i < ARRAY_COUNT(texts); i++) {
		const struct slice *value =
		    (const struct slice *)(const void *)((const char *)told + texts[i].offset);
		if (value->ptr)
			words[n++] = arena_printf(arena, "%s%.*s", texts[i].name, SLICE_ARG(*value));
	}
	for (unsigned i = 0; i < ARRAY_COUNT(flags); i++)
		if (*((const bool *)told + flags[i].offset))
			words[n++] = slice_of(flags[i].name);
	if (told->patience_s)
		words[n++] = arena_printf(arena, PATIENCE "%u", told->patience_s);
	return n;
}

static bool get_ip(struct slice text, struct ip_addr *ip)
{
	ptrdiff_t end = slice_find(text, ']');
	uint64_t port;

	if (!slice_starts(text, SLICE("[")) || end < 1 ||
	    !ip_parse(slice_sub(text, 1, (size_t)end - 1), ip) ||
	    !parse_u64(slice_from(text, (size_t)end + 1), &port) || port > 65535)
		return false;
	ip->port = (uint16_t)port;
	return true;
}

bool told_read(struct slice word, struct smtp_told *told)
{
	if (slice_starts(word, SLICE("host=")))
		return get_ip(slice_from(word, 5), &told->host);
	if (slice_starts(word, SLICE(PATIENCE))) {
		uint64_t seconds;
		bool good =
		    parse_u64(slice_from(word, sizeof(PATIENCE) - 1), &seconds) && seconds <= UINT32_MAX;

		told->patience_s = good ? (uint32_t)seconds : 0;
		return good;
	}
	if (slice_starts(word, SLICE("interface=")))
		return get_ip(slice_from(word, 10), &told->interface);
	for (unsigned i = 0; i < ARRAY_COUNT(texts); i++) {
		struct slice name = slice_of(texts[i].name);
		if (slice_starts(word, name)) {
			*(struct slice *)(void *)((char *)told + texts[i].offset) =
			    slice_tainted(slice_from(word, name.len));
			return true;
		}
	}
	for (unsigned i = 0; i < ARRAY_COUNT(flags); i++)
		if (slice_eq(word, slice_of(flags[i].name)))
			return *((bool *)told + flags[i].offset) = true;
	return false;
}
