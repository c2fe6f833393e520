/* redirect_srs: the option srs of the redirect router. A sender is rewritten into our domain, so that the next hop finds SPF
 * in order; a bounce that comes back for such an address finds its way. */
#include "mailauth/mailauth.h"

#include "redirect.h"

static bool does(const struct redirect *d, const char *what)
{
	return slice_search(d->srs, slice_of(what)) >= 0;
}

static uint64_t today(const struct scope *sc)
{
	return shard_wall(sc->task->shard) / NS_PER_S / 86400;
}

/* The address that the database has for the key of *address, in its place. */
static enum route_result select_sender(struct routing *r, const struct redirect *d, struct slice *address)
{
	struct address_parts parts;
	struct slice value;
	enum rc rc;

	r->sc->srs_db_key = *address;
	rc = expand(r->sc, d->srs_dbselect, &value, r->err);
	if (rc == FAIL && r->err->forced)
		return route_say(r, ROUTE_FAIL, "SRS: no such key");
	if (rc != OK)
		return route_say_err(r, ROUTE_DEFER, "failed to expand \"srs_dbselect\"");
	value = slice_trim(value);
	if (!value.len || address_parse(routing_arena(r), value, 0, &parts, r->err) != OK)
		return route_say(r, ROUTE_FAIL, "SRS: no such key");
	r->sc->srs_db_address = *address = parts.full;
	return ROUTE_ACCEPT;
}

/* ROUTE_DECLINE: it is no rewritten sender. */
static enum route_result reverse(struct routing *r, const struct redirect *d,
				 const struct srs_settings *settings)
{
	struct slice local_part =
	    r->address->cased_local_part.ptr ? r->address->cased_local_part : r->address->local_part;
	struct slice coded =
	    arena_printf(routing_arena(r), "%.*s@%.*s", SLICE_ARG(local_part), SLICE_ARG(r->address->domain));
	struct slice address;
	enum route_result result;

	if (!coded.ptr)
		return route_say(r, ROUTE_DEFER, "out of memory");
	switch (srs_reverse(routing_arena(r), settings, today(r->sc), coded, d->srs_dbselect, &address)) {
	case SRS_OK:
		break;
	case SRS_NOT:
		return ROUTE_DECLINE;
	case SRS_BAD:
		return route_say(r, ROUTE_FAIL, "SRS: the address is not ours, or too old");
	default:
		return route_say(r, ROUTE_DEFER, "SRS: out of memory");
	}
	/* SRS1 has no key: its first hop keeps the address. */
	if (d->srs_dbselect && slice_starts_nocase(coded, SLICE("SRS0"))) {
		result = select_sender(r, d, &address);
		if (result != ROUTE_ACCEPT)
			return result;
	}
	coded.taint = TAINTED;
	r->sc->srs_orig_recipient = coded;
	r->sc->srs_recipient = slice_tainted(address);
	return ROUTE_ACCEPT;
}

static enum route_result forward(struct routing *r, const struct redirect *d,
				 const struct srs_settings *settings, struct slice *sender_ret)
{
	struct slice sender = scope_sender(r->sc), alias = SLICE_EMPTY, key = {NULL, 0, 0}, ignored;
	enum rc rc = OK;

	if (d->srs_alias)
		rc = expand(r->sc, d->srs_alias, &alias, r->err);
	if (rc != OK)
		return route_say_err(r, ROUTE_DEFER, "failed to expand \"srs_alias\"");
	alias = slice_trim(alias);
	if (!alias.len)
		alias = r->address->domain;
	if (d->srs_dbinsert) {
		rc = srs_key(routing_arena(r), settings, sender, &key);
		if (rc != OK)
			return route_say(r, ROUTE_DEFER, "SRS: out of memory");
		r->sc->srs_db_key = key;
		r->sc->srs_db_address = slice_tainted(sender);
		rc = expand(r->sc, d->srs_dbinsert, &ignored, r->err);
		if (rc != OK)
			return route_say_err(r, ROUTE_DEFER, "failed to expand \"srs_dbinsert\"");
	}
	rc = srs_forward(routing_arena(r), settings, today(r->sc), sender, alias, key, sender_ret);
	if (rc != OK)
		return route_say(r, ROUTE_DEFER, "SRS: the sender cannot be rewritten");
	r->sc->srs_orig_sender = slice_tainted(sender);
	return ROUTE_ACCEPT;
}

enum route_result redirect_srs(struct routing *r, const struct redirect *d, struct slice *sender_ret)
{
	struct srs_settings settings;
	struct slice condition;
	enum route_result result = ROUTE_ACCEPT;

	if (d->srs_condition) {
		enum rc rc = expand(r->sc, d->srs_condition, &condition, r->err);
		if (rc == FAIL && r->err->forced)
			return ROUTE_ACCEPT;
		if (rc != OK)
			return route_say_err(r, ROUTE_DEFER, "failed to expand \"srs_condition\"");
		if (!lax_truth(slice_trim(condition)))
			return ROUTE_ACCEPT;
	}
	if (slice_eq(d->srs, SLICE("reverseandforward")) && !d->srs_dbinsert != !d->srs_dbselect)
		return route_say(r, ROUTE_DEFER, "SRS: srs_dbinsert and srs_dbselect are to be set both");
	if (srs_settings(r->sc, &settings, r->err) != OK)
		return route_say_err(r, ROUTE_DEFER, "SRS");
	if (does(d, "reverse")) {
		result = reverse(r, d, &settings);
		if (result == ROUTE_DECLINE && does(d, "forward"))
			result = ROUTE_ACCEPT; /* it is an address like others */
		if (result != ROUTE_ACCEPT)
			return result;
	}
	/* Verification sends nothing, and a bounce has no sender to rewrite. */
	if (does(d, "forward") && routing_delivers(r) && scope_sender(r->sc).len)
		result = forward(r, d, &settings, sender_ret);
	return result;
}
