/* route: what to do with an address. The routers section, run in order for one address; the result is a transport with
 * hosts, new addresses, or a verdict. Used by delivery, by verification and by -bt. */
#ifndef ROUTE_ROUTE_H
#define ROUTE_ROUTE_H

#include "match/match.h"

/* A host to try, in the order to be tried. */
struct host_item {
	struct host_item *next;
	struct slice name;
	struct ip_addr ip;	   /* family 0: not looked up yet */
	uint16_t port;		   /* 0: the transport's */
	int32_t mx;		   /* preference; MX_NONE: not from MX records */
	int32_t sort_key;	   /* hosts of equal preference are in random order */
	bool dnssec_authentic;	   /* name and address were found securely */
};
#define MX_NONE (-1)
struct host_list {
	struct host_item *first;
	unsigned count;
	bool from_mx;
	bool dnssec_mx;		   /* the MX records were secure */
};

/* What every router has; a driver's struct begins with it. */
struct router {
	struct conf_instance instance;
	const struct transport *transport_fixed; /* transport's name had no $ */
	const struct expansion *transport;
	const struct match_list *domains, *local_parts, *senders;
	const struct expansion *condition, *address_data, *require_files, *errors_to, *headers_remove, *headers_add;
	const struct expansion *router_home_directory, *transport_home_directory, *transport_current_directory;
	const struct expansion *cannot_route_message, *local_part_prefix_list, *local_part_suffix_list;
	struct slice local_part_prefix, local_part_suffix;
	bool local_part_prefix_optional, local_part_suffix_optional;
	struct slice fallback_hosts, ignore_target_hosts_text, redirect_router, pass_router, self, translate_ip_address;
	const struct match_list *ignore_target_hosts;
	const struct expansion *set, *debug_print, *dsn_from, *event_action, *more, *unseen, *group, *user;
	bool address_test, caseful_local_part, check_local_user, disable_logging, dsn_lasthop, expn, fail_verify_recipient;
	bool fail_verify_sender, initgroups, log_as_local, repeat_use, verify_only, verify_recipient, verify_sender;
	bool retry_use_local_part, retry_use_local_part_set;
	const struct expansion *dnssec_request_domains, *dnssec_require_domains;
	const struct router *pass_to, *redirect_to; /* resolved after loading */
	unsigned number;	   /* in the order of the file */
};

enum route_result {
	ROUTE_ACCEPT,	 /* addr->transport (and hosts) are set, or, in verification, the router takes it */
	ROUTE_DECLINE,	 /* not mine: on to the next */
	ROUTE_PASS,	 /* like decline, but "no_more" does not count; goes to pass_router */
	ROUTE_FAIL,	 /* the address fails for good */
	ROUTE_DEFER,
	ROUTE_REROUTED,	 /* replaced by new addresses in out->children */
	ROUTE_DISCARDED, /* :blackhole: */
	ROUTE_FREEZE,	 /* defer, and freeze the message (self = freeze, filter's freeze) */
};
/* Where a router leaves its results. */
struct route_output {
	struct link children;	 /* struct address by link: new ones, to be routed or (files, pipes) to be delivered */
	struct slice message;	 /* for the log and the bounce: why it failed or defers */
	struct slice user_message; /* for the SMTP client, if it may see one; ptr NULL: none */
	bool unseen;		 /* the router took a copy: the address itself goes on */
	const struct router *router; /* that gave the verdict; NULL: none ("Unrouteable address") */
	int os;
	bool hide_child_in_errors;
	const struct router *next;  /* used inside the room */
};

struct router_ops {
	enum route_result (*route)(struct scope *sc, const struct router *router, struct address *address,
				   struct route_output *out, struct err *err);
};

enum route_mode { ROUTE_DELIVER, ROUTE_VERIFY_RECIPIENT, ROUTE_VERIFY_SENDER, ROUTE_TEST, ROUTE_EXPN };

/* An address ready to be routed, from text that was parsed and qualified. Local part lower-cased for now; the cased form
 * is kept. NULL: no memory. */
struct address *address_new(struct arena *arena, struct slice full);
struct address *address_child(struct arena *arena, struct address *parent, struct slice full);

/* Routes one address through the routers: until accept, failure, deferral or new addresses. Never DECLINE or PASS: an
 * address that nobody took is ROUTE_FAIL "Unrouteable address". sc->address is set for the time. Parks. */
enum route_result route_address(struct scope *sc, struct address *address, enum route_mode mode, struct route_output *out,
				struct err *err);

/* verify = recipient/sender without callout: follows a single redirection as Exim does.
 * OK deliverable; FAIL undeliverable; DEFER could not tell. *address_ret is what came out (address_data and so on). */
struct verify_options {
	bool success_on_redirect;
	bool no_details;
};
NODISCARD enum rc verify_address(struct scope *sc, struct slice address, bool sender, const struct verify_options *options,
				 struct address **address_ret, struct route_output *out, struct err *err);

extern const struct conf_section route_conf_section; /* begin routers */
extern const struct conf_group route_conf_group;     /* percent_hack_domains, ... */
extern const struct variable_table route_variables;  /* $router_name, $r_..., $local_part_prefix ..., $address_data, $home */

/* MX and address records for a domain, as dnslookup and the smtp transport need them (RFC 5321 section 5.1): */
enum {
	HOSTS_MX = 1, HOSTS_SRV = 2, HOSTS_A = 4, HOSTS_AAAA = 8,
	HOSTS_SELF_IS_ERROR = 16,
};
enum host_find { HOST_FOUND, HOST_FOUND_LOCAL, HOST_NONE, HOST_AGAIN, HOST_NULL_MX, HOST_IGNORED };
/* Fills in the list; in MX lists hosts from the local one on (by preference) are taken off. Parks. */
enum host_find hosts_find_dns(struct scope *sc, struct slice domain, unsigned flags, const struct match_list *ignore,
			      struct host_list *list_ret, struct err *err);
/* The addresses of a name (byname: system's idea; bydns). Several addresses make several items. Parks. */
enum host_find hosts_find_name(struct scope *sc, struct slice name, bool by_dns, const struct match_list *ignore,
			       struct host_list *list_ret, struct err *err);

#endif
