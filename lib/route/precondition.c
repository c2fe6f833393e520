/* The preconditions of a router, in the order in which the language defines them: a router whose preconditions do not
 * all hold is skipped as if it were not there. */
#include "routing.h"

/* Those that depend on why the address is routed. */
static const char *mode_forbids(const struct routing *r)
{
	const struct router *router = r->router;

	if (r->mode == ROUTE_VERIFY_SENDER && !router->verify_sender)
		return "verify_sender is unset";
	if (r->mode == ROUTE_VERIFY_RECIPIENT && !router->verify_recipient)
		return "verify_recipient is unset";
	if (r->sc->address_test && !router->address_test)
		return "address_test is unset";
	if (router->verify_only && !routing_verifies(r))
		return "verify_only is set";
	return r->mode != ROUTE_EXPN || router->expn ? NULL : "expn is unset";
}

static enum rc domain(struct routing *r)
{
	struct address *address = r->address;
	struct slice data = {NULL, 0, CLEAN};
	enum rc rc;

	if (!r->router->domains)
		return OK;
	rc = match_domain(r->sc, r->router->domains, address->domain, &data, r->err);
	if (rc == OK)
		address->domain_data = data;
	return rc;
}

static enum rc local_part(struct routing *r)
{
	struct address *address = r->address;
	struct slice data = {NULL, 0, CLEAN};
	enum rc rc;

	if (!r->router->local_parts)
		return OK;
	rc = match_local_part(r->sc, r->router->local_parts, address->local_part,
			      r->router->caseful_local_part, &data, r->err);
	if (rc == OK)
		address->local_part_data = data;
	return rc;
}

static enum rc local_user(struct routing *r)
{
	struct user_entry *user;
	enum rc rc;

	if (!r->router->check_local_user)
		return OK;
	user = arena_make(routing_arena(r), struct user_entry);
	if (!user)
		return err_memory(r->err);
	rc = user_find(r->sc, r->address->local_part, user, r->err);
	if (rc == OK) {
		r->user = user;
		r->address->local_part_data = user->name;
		r->address->home = user->home;
		r->sc->local_user = true;
		r->sc->local_uid = user->uid;
		r->sc->local_gid = user->gid;
	}
	return rc;
}

static enum rc router_home(struct routing *r)
{
	struct slice home;
	enum rc rc;

	if (!r->router->router_home_directory)
		return OK;
	rc = expand(r->sc, r->router->router_home_directory, &home, r->err);
	if (rc == FAIL && r->err->forced)
		return OK;
	if (rc == OK)
		r->router_home = r->address->home = home;
	else
		err_prefix(r->err, "failed to expand \"router_home_directory\" for %.*s router",
			   SLICE_ARG(r->router->instance.name));
	return rc == FAIL ? DEFER : rc;
}

static enum rc sender(struct routing *r)
{
	struct slice address = r->sc->sender.ptr ? r->sc->sender
			       : r->sc->message  ? r->sc->message->sender
						 : SLICE_EMPTY;

	return r->router->senders ? match_address(r->sc, r->router->senders, address, NULL, r->err) : OK;
}

/* Several conditions have become one by the time they come here. */
static enum rc condition(struct routing *r)
{
	struct slice value;
	enum rc rc;

	if (!r->router->condition)
		return OK;
	rc = expand(r->sc, r->router->condition, &value, r->err);
	if (rc == OK)
		return lax_truth(value) ? OK : FAIL;
	if (rc == FAIL && r->err->forced)
		return FAIL;
	err_prefix(r->err, "failed to expand \"condition\" for %.*s router",
		   SLICE_ARG(r->router->instance.name));
	return rc == FAIL ? DEFER : rc;
}

static enum rc printed(struct routing *r)
{
	expand_debug_print(r->sc, r->router->debug_print);
	return OK;
}

enum rc router_preconditions(struct routing *r)
{
	static const struct {
		enum rc (*test)(struct routing *);
		const char *failed;
	} rows[] = {
	    {domain, "domains mismatch"},
	    {local_part, "local_parts mismatch"},
	    {local_user, "no such local user"},
	    {router_home, "router_home_directory"},
	    {printed, ""},
	    {sender, "senders mismatch"},
	    {required_files_check, "file check"},
	    {condition, "condition failure"},
	};
	const char *why = NULL;
	enum rc rc = OK;

	if (r->err->arena)
		r->err->text = SLICE_EMPTY;
	DEBUG(DEBUG_ROUTE, "--------> %.*s router <--------", SLICE_ARG(r->router->instance.name));
	DEBUG(DEBUG_ROUTE, "local_part=%.*s domain=%.*s", SLICE_ARG(r->address->local_part),
	      SLICE_ARG(r->address->domain));
	if (!affix_take(r->router, r->address, routing_arena(r)))
		why = "prefix or suffix mismatch";
	else
		why = mode_forbids(r);
	if (why)
		rc = FAIL;
	for (unsigned i = 0; rc == OK && i < ARRAY_COUNT(rows); i++) {
		rc = rows[i].test(r);
		why = rows[i].failed;
	}
	if (rc == FAIL)
		DEBUG(DEBUG_ROUTE, "%.*s router skipped: %s", SLICE_ARG(r->router->instance.name), why);
	return rc;
}
