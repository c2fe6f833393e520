/* The accept router: takes every address that its preconditions let through. */
#include "routing.h"

static enum route_result accept_route(struct routing *r)
{
	return router_accept(r, NULL, NULL);
}

static const struct router_ops accept_ops = {.route = accept_route};
const struct conf_driver router_accept_driver = {
    .name = "accept",
    .size = sizeof(struct router),
    .ops = &accept_ops,
};
