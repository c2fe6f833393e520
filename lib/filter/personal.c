/* Is this message for this very user, and from a person? (The condition "personal" of Exim filters.) */
#include "tree.h"

#define HEADER_FLAGS (ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | ADDRESS_ALLOW_UTF8)

/* The user's own addresses: with and without prefix and suffix. */
static bool is_own(struct run *run, struct slice address, const struct alias *aliases)
{
	const struct address *me = run->sc->address;
	struct str with = str_make(run->sc->task->arena), without = with;

	for (; aliases; aliases = aliases->next)
		if (slice_eq_nocase(address, aliases->text))
			return true;
	if (!me)
		return false;
	str_printf(&without, "%.*s@%.*s", SLICE_ARG(me->local_part), SLICE_ARG(me->domain));
	str_printf(&with, "%.*s%.*s%.*s@%.*s", (int)me->prefix.len, me->prefix.len ? me->prefix.ptr : "",
		   SLICE_ARG(me->local_part), (int)me->suffix.len, me->suffix.len ? me->suffix.ptr : "",
		   SLICE_ARG(me->domain));
	return slice_eq_nocase(address, str_slice(&without)) || slice_eq_nocase(address, str_slice(&with));
}

/* Names that programs write under. */
static bool is_robot(struct slice address)
{
	static const struct slice names[] = {SLICE_INIT("server@"), SLICE_INIT("daemon@"),
					     SLICE_INIT("root@"), SLICE_INIT("listserv@"),
					     SLICE_INIT("majordomo@")};
	ptrdiff_t at = slice_find(address, '@');

	for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
		if (slice_starts_nocase(address, names[i]))
			return true;
	return at > 0 && (slice_ends_nocase(slice_sub(address, 0, (size_t)at), SLICE("-request")) ||
			  (at > 6 && slice_starts_nocase(address, SLICE("owner-"))));
}

/* Does any address in the fields of that name pass? */
static enum rc any_address(struct run *run, const char *name, const struct alias *aliases, bool robots,
			   bool *ret)
{
	const struct message *m = run->sc->message;
	struct address_parts parts;
	struct slice rest;
	enum rc rc;

	*ret = false;
	for (struct header *h = header_find(&m->headers, slice_of(name), NULL); h;
	     h = header_find(&m->headers, slice_of(name), h)) {
		rest = header_value(h);
		for (;;) {
			struct err err = err_make(run->sc->task->arena);

			rc = run_step(run);
			if (rc != OK)
				return rc;
			rc = address_next(run->sc->task->arena, &rest, HEADER_FLAGS, &parts, &err);
			if (rc == FAIL && err.text.len == 0)
				break;
			if (rc == DEFER)
				return rc;
			if (rc == OK &&
			    (is_own(run, parts.full, aliases) || (robots && is_robot(parts.full)))) {
				*ret = true;
				return OK;
			}
		}
	}
	return OK;
}

/* By the header fields that lists and programs put there. */
static bool is_bulk(const struct message *m)
{
	static const char *const list[] = {"list-id",   "list-help",  "list-subscribe", "list-unsubscribe",
					   "list-post", "list-owner", "list-archive"};
	static const struct slice words[] = {SLICE_INIT("bulk"), SLICE_INIT("list"), SLICE_INIT("junk")};
	struct header *h;

	for (unsigned i = 0; i < ARRAY_COUNT(list); i++)
		if (header_find(&m->headers, slice_of(list[i]), NULL))
			return true;
	for (h = header_find(&m->headers, SLICE("auto-submitted"), NULL); h;
	     h = header_find(&m->headers, SLICE("auto-submitted"), h))
		if (!slice_eq_nocase(header_body(h), SLICE("no")))
			return true;
	for (h = header_find(&m->headers, SLICE("precedence"), NULL); h;
	     h = header_find(&m->headers, SLICE("precedence"), h))
		for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
			for (uint32_t at = 0; at < header_body(h).len; at++)
				if (slice_starts_nocase(slice_from(header_body(h), at), words[i]))
					return true;
	return false;
}

enum rc personal_test(struct run *run, const struct alias *aliases, bool *ret)
{
	bool to_me = false, from_robot = false;
	enum rc rc;

	*ret = false;
	if (scope_sender(run->sc).len == 0 || is_bulk(run->sc->message))
		return OK;
	rc = any_address(run, "to", aliases, false, &to_me);
	if (rc == OK && to_me)
		rc = any_address(run, "from", aliases, true, &from_robot);
	*ret = to_me && !from_robot;
	return rc;
}
