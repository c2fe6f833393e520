/* route: what to do with an address. The routers section, run in order for one address; the result is a transport with
 * hosts, new addresses, or a verdict. Used by delivery, by verification and by -bt. */
#ifndef ROUTE_ROUTE_H
#define ROUTE_ROUTE_H

#include "filter/filter.h"
#include "rewrite/rewrite.h"

/* A host to try, in the order to be tried. */
struct host_item {
	struct host_item *next;
	struct slice name;
	struct ip_addr ip;     /* family 0: not looked up yet */
	uint16_t port;         /* 0: the transport's */
	int32_t mx;            /* preference; MX_NONE: not from MX records */
	int32_t sort_key;      /* hosts of equal preference are in random order */
	bool dnssec_authentic; /* name and address were found securely */
};
#define MX_NONE (-1)
struct host_list {
	struct host_item *first;
	unsigned count;
	bool from_mx;
	bool dnssec_mx; /* the MX records were secure */
};

/* A boolean that is expanded at each use ("unseen", "no_more", "more = ${if ...}"): const struct expansion *, to be read
 * with expand_option_bool(). */
extern const struct conf_type conf_expand_bool;
#define OPT_EXPAND_BOOL(st, f, d, h) CONF_ROW(st, f, const struct expansion *, &conf_expand_bool, d, h, 0)

/* What the "self" option says to do when the first host is this one. */
enum router_self {
	SELF_FREEZE,
	SELF_DEFER,
	SELF_PASS,
	SELF_FAIL,
	SELF_SEND,
	SELF_REROUTE,
	SELF_REROUTE_REWRITE
};

/* What every router has; a driver's struct begins with it. */
struct router {
	struct conf_instance instance;
	const struct transport *transport_fixed; /* when transport's name has no $ */
	const struct expansion *transport;
	const struct match_list *domains, *local_parts, *senders, *ignore_target_hosts;
	const struct match_list *dnssec_request_domains, *dnssec_require_domains;
	const struct expansion *condition, *address_data, *require_files, *errors_to;
	const struct expansion *router_home_directory, *transport_home_directory,
	    *transport_current_directory;
	const struct expansion *cannot_route_message, *translate_ip_address, *debug_print, *more, *unseen,
	    *group, *user;
	struct slice headers_add, headers_remove; /* lists; each item is expanded by itself */
	struct slice local_part_prefix, local_part_suffix, set;
	struct slice fallback_hosts, redirect_router, pass_router, self;
	bool local_part_prefix_optional, local_part_suffix_optional;
	bool address_test, caseful_local_part, check_local_user, disable_logging, dsn_lasthop, expn,
	    initgroups;
	bool log_as_local, pass_on_timeout, repeat_use, verify_only;
	bool verify_recipient, verify_sender;           /* side by side: "verify" sets both */
	bool fail_verify_recipient, fail_verify_sender; /* "fail_verify" */
	bool retry_use_local_part;
	const struct router *pass_to, *redirect_to, *next; /* resolved after loading */
	enum router_self self_action;
	struct slice self_domain;        /* of reroute */
	struct host_list *fallback_list; /* parsed, without addresses; NULL: none */
	unsigned number;                 /* in the order of the file */
};

enum route_result {
	ROUTE_ACCEPT,  /* addr->transport (and hosts) are set, or, in verification, the router takes it */
	ROUTE_DECLINE, /* not mine: on to the next */
	ROUTE_PASS,    /* like decline, but "no_more" does not count; goes to pass_router */
	ROUTE_FAIL,    /* the address fails for good */
	ROUTE_DEFER,
	ROUTE_REROUTED,  /* replaced by new addresses in out->children */
	ROUTE_DISCARDED, /* :blackhole: */
	ROUTE_FREEZE,    /* defer, and freeze the message (self = freeze, filter's freeze) */
};
/* What the log shows for deferrals that no system call caused, as administrators know it. */
enum { ROUTE_SHOW_REDIRECT = -17, ROUTE_SHOW_TRANSPORT = -30, ROUTE_SHOW_HOST = -32 };
/* Where a router leaves its results. */
struct route_output {
	/* struct address by link: new ones, to be routed (child->start_router says from where), or, with child->transport set,
	 * to be delivered at once (files, pipes, replies). May hold something with every result: an accepted or discarded
	 * address with "unseen" leaves a clone here, which goes on at the next router, and what a filter sets up as "unseen"
	 * is done whatever becomes of the address itself. */
	struct link children;
	struct slice message; /* for the log and the bounce: why it failed or defers */
	struct slice
	    user_message; /* for the SMTP client, if it may see one; ptr NULL: none. May begin with a reply code */
	struct slice
	    bounce_message; /* what a filter's "fail" has to say to the sender, beside the message; empty: nothing */
	bool forced;        /* with FAIL: by fail_verify, and not because there is no such address */
	bool unseen;        /* the router took a copy: children holds the clone that goes on */
	const struct router *router; /* that gave the verdict; NULL: none ("Unrouteable address") */
	int os;                      /* errno behind it, or a ROUTE_SHOW_; 0: nothing to tell */
	bool
	    one_time; /* the children become recipients in their own right when they do not get through at once */
	bool hide_child_in_errors;
	bool disable_logging;
	/* What skip_syntax_errors left out, for the log (and for a message to syntax_errors_to); empty: nothing. */
	struct slice syntax_errors, syntax_errors_to, syntax_errors_text;
};
void route_output_init(struct route_output *out);

struct routing; /* the room's own: an address in a router */
struct router_ops {
	enum route_result (*route)(struct routing *routing); /* parks */
};

enum route_mode { ROUTE_DELIVER, ROUTE_VERIFY_RECIPIENT, ROUTE_VERIFY_SENDER, ROUTE_TEST, ROUTE_EXPN };

/* An address ready to be routed, from text that was parsed and qualified. Local part lower-cased for now; the cased form
 * is kept. NULL: no memory. */
struct address *address_new(struct arena *arena, struct slice full);
/* One that comes from another: inherits what redirection hands on (address_data, variables, errors_to, header changes). */
struct address *address_child(struct arena *arena, struct address *parent, struct slice full);
/* Do routers add and remove the same header fields for both? */
bool address_headers_equal(const struct address *x, const struct address *y);

/* Routes one address through the routers: until accept, failure, deferral or new addresses. Never DECLINE or PASS: an
 * address that nobody took is ROUTE_FAIL "Unrouteable address". sc->address is set for the time. Parks. */
enum route_result route_address(struct scope *sc, struct address *address, enum route_mode mode,
				struct route_output *out, struct err *err);

/* verify = recipient/sender without callout: follows a single redirection as Exim does.
 * OK deliverable; FAIL undeliverable; DEFER could not tell. *address_ret is what came out (address_data and so on). */
struct verify_options {
	bool success_on_redirect;
	bool no_details;
};
NODISCARD enum rc verify_address(struct scope *sc, struct slice address, bool sender,
				 const struct verify_options *options, struct address **address_ret,
				 struct route_output *out, struct err *err);

extern const struct conf_section route_conf_section; /* begin routers */
/* percent_hack_domains, allow_mx_to_ip, dns_again_means_nonexist, dns_ipv4_lookup, max_username_length */
extern const struct conf_feature route_features[];
extern const struct conf_group route_conf_group;
struct route_options {
	const struct match_list *percent_hack_domains, *dns_again_means_nonexist, *dns_ipv4_lookup;
	bool allow_mx_to_ip;
	int64_t max_username_length, finduser_retries;
};
void route_done(struct shard *shard); /* the shard's cache of user names */
extern const struct variable_table
    route_variables; /* $router_name, $r_..., $local_part_prefix ..., $address_data, $home */

/* -bf of a file that is no filter: the lines that tell what it would make. FAIL: malformed, or not permitted there. */
NODISCARD enum rc forward_describe(struct scope *sc, struct slice text, struct str *lines, struct err *err);

/* A user or group as routers, transports and check_local_user need them, from the system's tables through a helper thread;
 * kept for a minute per shard. */
struct user_entry {
	struct slice name, home, gecos, shell;
	uint32_t uid, gid;
};
/* OK; FAIL: there is none; DEFER: could not tell. The entry is in sc->task->arena, its strings untainted. Parks. */
NODISCARD enum rc user_find(struct scope *sc, struct slice name, struct user_entry *ret, struct err *err);
NODISCARD enum rc user_find_uid(struct scope *sc, uint32_t uid, struct user_entry *ret, struct err *err);
NODISCARD enum rc group_find(struct scope *sc, struct slice name, uint32_t *gid_ret, struct err *err);
/* initgroups(): the groups of the user with this uid, gid first, root's left out; at most max. FAIL: no such user, or he is in
 * more groups. Not kept. Parks. */
NODISCARD enum rc user_groups(struct scope *sc, uint32_t uid, uint32_t gid, unsigned max,
			      const uint32_t **groups_ret, uint32_t *count_ret, struct err *err);
/* The "user" and "group" options: expanded, a number or a name. *set_ret false when the option is unset. user_ret may be
 * NULL; its gid is the user's own. DEFER with a text for anything that does not come out. */
NODISCARD enum rc user_option(struct scope *sc, const struct expansion *option, bool *set_ret,
			      struct user_entry *user_ret, struct err *err);
NODISCARD enum rc group_option(struct scope *sc, const struct expansion *option, bool *set_ret,
			       uint32_t *gid_ret, struct err *err);

/* How to look at a file with its user's rights, as redirect does with a user's own .forward: given by the privileged helper
 * when there is one (lib/transport), once, before any shard runs. Without it files are read as ourselves. */
struct user_files {
	enum rc (*open)(struct task *task, uint32_t uid, uint32_t gid, const char *path, int flags,
			mode_t mode, int *fd_ret, struct err *err);
	enum rc (*stat)(struct task *task, uint32_t uid, uint32_t gid, const char *path,
			struct stat *stat_ret, struct err *err);
};
void route_use_user_files(const struct user_files *files);

/* How queryprogram runs its command: given by lib/transport, once, before any shard runs. */
struct runner_command {
	const char *const *argv; /* NULL-terminated; argv[0] absolute */
	const char *directory;
	uint32_t uid, gid;  /* who it is to be, if this process can do that; otherwise it runs as ourselves */
	int64_t timeout_ms; /* 0: none */
	size_t output_max;  /* bytes that are kept */
};
struct command_runner {
	/* Words of a command line; false: a quote is not closed, or more than max. */
	bool (*split)(struct arena *arena, struct slice text, struct slice *words, unsigned max,
		      unsigned *count_ret);
	/* OK: it has ended, as *status_ret (of waitpid()) says; *output_ret is in the arena, tainted. DEFER: it could not be run, or,
	 * with *timed_out_ret, was killed. Parks. */
	enum rc (*run)(struct scope *sc, const struct runner_command *command, struct slice *output_ret,
		       int *status_ret, bool *timed_out_ret, struct err *err);
};
void route_use_command_runner(const struct command_runner *runner);

/* MX and address records for a domain, as dnslookup and the smtp transport need them (RFC 5321 section 5.1): */
enum {
	HOSTS_MX = 1,
	HOSTS_SRV = 2,
	HOSTS_A = 4,
	HOSTS_AAAA = 8, /* A and AAAA: of the domain itself, when there is no MX */
	HOSTS_IPV4_ONLY = 16,
	HOSTS_IPV4_FIRST = 32,
	HOSTS_QUALIFY_SINGLE = 128, /* a name without a dot gets the system's first ending (RES_DEFNAMES) */
	HOSTS_SEARCH_PARENTS = 256, /* all of the system's endings are tried (RES_DNSRCH) */
	HOSTS_BY_SYSTEM = 64, /* addresses of names from the system's tables (hosts_find_name: byname) */
};
enum host_find {
	HOST_FOUND,
	HOST_FOUND_LOCAL, /* the first one is this host: the list is whole, for "self" to decide */
	HOST_NONE,
	HOST_AGAIN,   /* could not tell now */
	HOST_NULL_MX, /* RFC 7505: the domain takes no mail; the same of SRV */
	HOST_IGNORED, /* all addresses were in the list of those to be ignored */
};
/* What a search may have to know besides. */
struct hosts_query {
	unsigned flags;
	const struct match_list *ignore;             /* ignore_target_hosts */
	const struct match_list *mx_fail, *srv_fail; /* domains whose DNS errors count as "no such record" */
	const struct match_list *dnssec_require;
	struct slice srv_service; /* HOSTS_SRV: "smtp" */
	struct slice *name_ret;   /* may be NULL: the name that was found, if an ending had to be added */
	bool *local_removed_ret;  /* may be NULL: were this host, and worse ones, taken off the list? */
};
/* Fills in the list, in the order in which hosts are to be tried; from the local one on (by preference) they are taken
 * off. Parks. */
enum host_find hosts_find_dns(struct scope *sc, struct slice domain, const struct hosts_query *query,
			      struct host_list *list_ret, struct err *err);
/* The addresses of a name or address literal: by the DNS first, then as the system says, or with flags only one of them
 * (HOSTS_A: DNS only; HOSTS_BY_SYSTEM). Several addresses make several items; port is given to each. Parks. */
enum host_find hosts_find_name(struct scope *sc, struct slice name, uint16_t port,
			       const struct hosts_query *query, struct host_list *list_ret, struct err *err);
/* Parses a list of hosts ("a : b::25 : + : c/mx : [::1]::24"), without looking anything up: items without addresses, in
 * their order, or at random within the groups that + divides; "name/mx" keeps its suffix. FAIL: malformed. */
NODISCARD enum rc host_list_parse(struct shard *shard, struct arena *arena, struct slice text, bool randomize,
				  struct host_list *list_ret, struct err *err);
void host_list_append(struct host_list *list, struct host_item *item);
/* Finds the addresses of all the names of such a list (MX items included). first_local: HOST_FOUND_LOCAL if the first
 * address is ours; later ones cut the list there. failed_ret: the name that could not be found. Parks. */
enum host_find host_list_resolve(struct scope *sc, const struct host_list *names,
				 const struct hosts_query *query, bool skip_failed,
				 struct host_list *list_ret, struct slice *failed_ret, struct err *err);
/* Does the interface list or hosts_treat_as_local claim it? Parks only for lists that look things up. */
bool host_item_is_local(struct scope *sc, const struct host_item *host);

#endif
