/* Can mail to (or, for a sender, back to) this address be delivered? Asked of the routers, without delivering. */
#include "routing.h"

#define HOPS_MAX 30 /* single redirections that are followed */

static enum rc from_result(enum route_result result)
{
	switch (result) {
	case ROUTE_ACCEPT:
	case ROUTE_REROUTED:
	case ROUTE_DISCARDED:
		return OK;
	case ROUTE_FAIL:
	case ROUTE_DECLINE:
	case ROUTE_PASS:
		return FAIL;
	case ROUTE_DEFER:
	case ROUTE_FREEZE:
		break;
	}
	return DEFER;
}

/* The one child that a redirection left, if there is just one and it is an address. */
static struct address *only_child(const struct route_output *out)
{
	struct address *child;

	if (list_empty(&out->children) || out->children.next->next != &out->children)
		return NULL;
	child = LIST_ITEM(out->children.next, struct address, link);
	return child->transport || child->pipe.ptr || child->file.ptr ? NULL : child;
}

enum rc verify_address(struct scope *sc, struct slice text, bool sender, const struct verify_options *options,
		       struct address **address_ret, struct route_output *out, struct err *err)
{
	enum route_mode mode = sender ? ROUTE_VERIFY_SENDER : ROUTE_VERIFY_RECIPIENT;
	struct slice saved_sender = sc->sender;
	int saved_mode = sc->verify_mode;
	enum route_result result = ROUTE_DEFER;
	struct address *address;
	enum rc rc;

	rc = rewrite_address(sc, rewrite_rules(sc->conf), sender ? REWRITE_ENV_FROM : REWRITE_ENV_TO, text,
			     &text, err);
	if (rc != OK)
		return rc;
	address = address_new(sc->task->arena, text);
	if (!address)
		return err_memory(err);
	sc->verify_mode = sender ? VERIFY_SENDER : VERIFY_RECIPIENT;
	if (sender)
		sc->sender = SLICE_EMPTY; /* what will be sent to a sender is a bounce */
	for (unsigned hops = 0; hops < HOPS_MAX; hops++) {
		struct address *child;

		result = route_address(sc, address, mode, out, err);
		if (result != ROUTE_REROUTED || (options && options->success_on_redirect))
			break;
		child = only_child(out);
		if (!child)
			break;
		address = child;
	}
	sc->verify_mode = saved_mode;
	sc->sender = saved_sender;
	rc = sc->task->cancelled ? CANCELLED : from_result(result);
	if ((rc == FAIL || rc == DEFER) && err)
		(void)err_set(err, rc, "%.*s", SLICE_ARG(out->message));
	if (address_ret)
		*address_ret = address;
	return rc;
}
