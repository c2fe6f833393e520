/* The one list of all routers. */
#include "routing.h"

const struct conf_driver *const router_drivers[] = {
    &router_accept_driver,      &router_dnslookup_driver,
    &router_ipliteral_driver,   &router_iplookup_driver,
    &router_manualroute_driver, &router_queryprogram_driver,
    &router_redirect_driver,    NULL,
};
