/* What the files of this room share: one address on its way through one router. */
#ifndef ROUTE_ROUTING_H
#define ROUTE_ROUTING_H

#include "route/route.h"

struct routing {
	struct scope *sc;
	const struct router *router; /* the one that works now */
	struct address *address;
	struct route_output *out;
	enum route_mode mode;
	const struct user_entry *user; /* found by check_local_user, else NULL */
	struct slice router_home;      /* router_home_directory, expanded; ptr NULL: unset */
	struct err *err;
};

static inline struct arena *routing_arena(const struct routing *r)
{
	return r->sc->task->arena;
}
static inline bool routing_verifies(const struct routing *r)
{
	return r->mode == ROUTE_VERIFY_RECIPIENT || r->mode == ROUTE_VERIFY_SENDER;
}

/* Is the result for a delivery? It also is where the recipient's host is told of a message that still comes in (held callouts,
 * cutthrough delivery): what it is told has to be what a delivery would say. */
static inline bool routing_delivers(const struct routing *r)
{
	return !routing_verifies(r) ||
	       (r->mode == ROUTE_VERIFY_RECIPIENT && r->sc->message && r->sc->message->next_hop);
}

/* Leaves the words for log and bounce in out->message, and returns result. */
enum route_result route_say(struct routing *r, enum route_result result, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* The same from r->err, with a phrase in front. */
enum route_result route_say_err(struct routing *r, enum route_result result, const char *what);

/* precondition.c: OK run it, FAIL skip it, DEFER (r->err says why), CANCELLED. */
enum rc router_preconditions(struct routing *r);
/* affix.c: takes prefix and suffix off address->local_part, as the router asks. false: the router is skipped. */
bool affix_take(const struct router *router, struct address *address, struct arena *arena);
/* required_files.c: the require_files option, as a precondition. */
enum rc required_files_check(struct routing *r);

/* handover.c: everything that accepting means: errors_to, header changes, transport, user, directories. transport_text
 * overrides the router's own (manualroute); NULL: that one. ROUTE_ACCEPT or ROUTE_DEFER. */
enum route_result router_accept(struct routing *r, struct host_list *hosts,
				const struct transport *transport);
/* Parts of it, for redirect, which does so for each child. false: out->message tells, defer. */
bool router_set_errors_to(struct routing *r, struct slice *errors_to);
bool router_set_headers(struct routing *r, struct address *address);
bool router_set_owner(struct routing *r, struct address *address);
bool router_set_directories(struct routing *r, struct address *address);
/* The transport that an option names. false: out->message tells. *ret NULL: the option is unset. */
bool router_find_transport(struct routing *r, const struct expansion *option, const char *option_name,
			   const struct transport **ret);
bool transport_is_remote(const struct transport *transport);

/* self.c: the first host is this host. */
enum route_result router_self(struct routing *r, struct host_list *hosts, const struct transport *transport);
/* Another address, as the router's only result. Its text has no ptr: out of memory. */
enum route_result router_reroute(struct routing *r, struct slice full);
/* The address with another domain, the same way. */
enum route_result router_change_domain(struct routing *r, struct slice domain);
/* What a host search that found nothing means to a router with these words for it. */
enum route_result router_after_timeout(struct routing *r, struct slice host);

/* user_file.c: a file of redirection data, with the rights of whoever the router runs for. */
struct file_reader {
	bool switched; /* not as ourselves */
	uint32_t uid, gid;
};
NODISCARD enum rc file_reader_init(struct routing *r, struct file_reader *reader);
NODISCARD enum rc file_reader_stat(struct routing *r, const struct file_reader *reader, const char *path,
				   struct stat *ret);
/* At most size_max bytes; FAIL and DEFER as file_slurp(). */
NODISCARD enum rc file_reader_slurp(struct routing *r, const struct file_reader *reader, const char *path,
				    size_t size_max, struct slice *ret);

/* Appends the text, making the file if need be. For the logs of filters. Results as file_open() and file_writev(). */
NODISCARD enum rc file_reader_append(struct scope *sc, const struct file_reader *reader, const char *path,
				     mode_t mode, struct slice text, struct err *err);

/* An option value that means no: "", "0", "no", "false"; anything else is yes. */
bool lax_truth(struct slice value);

extern const struct conf_driver router_accept_driver, router_dnslookup_driver, router_ipliteral_driver;
extern const struct conf_driver router_iplookup_driver, router_manualroute_driver, router_queryprogram_driver;
extern const struct conf_driver router_redirect_driver;
extern const struct conf_driver *const router_drivers[];
extern const struct conf_option router_generic_options[];
extern const unsigned router_generic_option_count;
enum rc router_check(struct conf *conf, void *instance, struct err *err);

#endif
