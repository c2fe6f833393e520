/* The preconditions of a router, in the order in which the language defines them: a router whose preconditions do not
 * all hold is skipped as if it were not there. */
#include "routing.h"

/* Those that depend on why the address is routed. */
static bool mode_allows(const struct routing *r)
{
	const struct router *router = r->router;

	if (r->mode == ROUTE_VERIFY_SENDER && !router->verify_sender)
		return false;
	if (r->mode == ROUTE_VERIFY_RECIPIENT && !router->verify_recipient)
		return false;
	if (r->sc->address_test && !router->address_test)
		return false;
	if (router->verify_only && !routing_verifies(r))
		return false;
	return r->mode != ROUTE_EXPN || router->expn;
}

static enum rc domain_and_local_part(struct routing *r)
{
	struct address *address = r->address;
	struct slice data;
	enum rc rc = OK;

	if (r->router->domains) {
		data = (struct slice){NULL, 0, CLEAN};
		rc = match_domain(r->sc, r->router->domains, address->domain, &data, r->err);
		if (rc != OK)
			return rc;
		address->domain_data = data;
	}
	if (r->router->local_parts) {
		data = (struct slice){NULL, 0, CLEAN};
		rc = match_local_part(r->sc, r->router->local_parts, address->local_part,
				      r->router->caseful_local_part, &data, r->err);
		if (rc == OK)
			address->local_part_data = data;
	}
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

static void debug_print(struct routing *r)
{
	struct slice text;

	if (!r->router->debug_print || !r->sc->trace)
		return;
	if (expand(r->sc, r->router->debug_print, &text, r->err) == OK)
		r->sc->trace(r->sc, "%.*s", SLICE_ARG(text));
}

enum rc router_preconditions(struct routing *r)
{
	static enum rc (*const early[])(struct routing *) = {domain_and_local_part, local_user, router_home};
	static enum rc (*const late[])(struct routing *) = {sender, required_files_check, condition};
	enum rc rc = OK;

	if (r->err->arena)
		r->err->text = SLICE_EMPTY;
	if (!affix_take(r->router, r->address, routing_arena(r)) || !mode_allows(r))
		return FAIL;
	for (unsigned i = 0; rc == OK && i < ARRAY_COUNT(early); i++)
		rc = early[i](r);
	if (rc == OK)
		debug_print(r);
	for (unsigned i = 0; rc == OK && i < ARRAY_COUNT(late); i++)
		rc = late[i](r);
	return rc;
}
