/* match: domain, host, address, local-part and string lists. A list without $ is compiled once: runs of
 * literals become hash sets, networks prefix tries, in their order and with their negation; an item that
 * needs a lookup or an expansion is evaluated in its place. A list with $ is expanded as a whole at each use,
 * as the language defines, and its compiled form is cached by its text. */
#ifndef MATCH_MATCH_H
#define MATCH_MATCH_H

#include "lookup/lookup.h"

struct match_list;
/* At the end of the shard. */
void match_done(struct shard *shard);

/* An option that is such a list: const struct match_list *, NULL when unset. */
extern const struct conf_type conf_domain_list, conf_host_list, conf_address_list, conf_local_part_list;
#define OPT_DOMAINS(st, f, d, h)   CONF_ROW(st, f, const struct match_list *, &conf_domain_list, d, h, 0)
#define OPT_HOSTS(st, f, d, h)     CONF_ROW(st, f, const struct match_list *, &conf_host_list, d, h, 0)
#define OPT_ADDRESSES(st, f, d, h) CONF_ROW(st, f, const struct match_list *, &conf_address_list, d, h, 0)
#define OPT_LOCAL_PARTS(st, f, d, h) \
	CONF_ROW(st, f, const struct match_list *, &conf_local_part_list, d, h, 0)

/* Compiles a list's text (borrowed) into the arena; mistakes in items are told when matching comes to them.
 * NULL: no memory. */
const struct match_list *match_compile(const struct conf *conf, struct arena *arena, enum conf_list_kind kind,
				       struct slice text);
struct slice match_list_text(const struct match_list *list);
/* As expansion_available(): FAIL when the list as it is written names a lookup type that is not built in. */
NODISCARD enum rc match_list_available(const struct match_list *list, struct err *err);
/* For struct conf_language. */
enum rc match_named_list(struct conf *conf, struct conf_named_list *list, struct err *err);

/* All of these: OK it is in the list (*data_ret, if not NULL, is the value of the lookup or the literal that
 * matched, for $domain_data and its kin; ptr NULL: none). FAIL it is not. DEFER could not find out. NULL
 * list: FAIL. May park. */
NODISCARD enum rc match_domain(struct scope *sc, const struct match_list *list, struct slice domain,
			       struct slice *data_ret, struct err *err);
NODISCARD enum rc match_local_part(struct scope *sc, const struct match_list *list, struct slice local_part,
				   bool caseful, struct slice *data_ret, struct err *err);
NODISCARD enum rc match_address(struct scope *sc, const struct match_list *list, struct slice address,
				struct slice *data_ret, struct err *err);
/* One item of an address list, as rewriting rules have: a colon separates nothing, an expansion gives the one
 * item, and letters count by case (the address is compared with its domain in lower case). NULL: no memory. */
const struct match_list *match_compile_item(const struct conf *conf, struct arena *arena, struct slice text);
/* Results as match_address(); OK also leaves $0, the address, and $1..., its parts, in sc->numeric. Parks. */
NODISCARD enum rc match_item(struct scope *sc, const struct match_list *item, struct slice address,
			     struct err *err);
/* The client of the scope (ip family 0, a local submission, matches the item "" and "@[]"-free lists as
 * Exim's do). Items that need the host's name look it up (client_host_name()). */
NODISCARD enum rc match_client(struct scope *sc, const struct match_list *list, struct slice *data_ret,
			       struct err *err);
/* Any host: by address, with its name if that is known (empty: looked up when an item needs it). */
NODISCARD enum rc match_host(struct scope *sc, const struct match_list *list, const struct ip_addr *ip,
			     struct slice name, struct slice *data_ret, struct err *err);
/* A plain list of words (encrypted, authenticated, control options ...): patterns as in string lists. */
NODISCARD enum rc match_string(struct scope *sc, struct slice list_text, struct slice subject, bool caseful,
			       struct slice *data_ret, struct err *err);

/* Any of the four kinds, with a list text that is known only now and not expanded, as in the conditions
 * match_domain and so on. Host lists are asked with ip, and no names are looked up. */
NODISCARD enum rc match_text(struct scope *sc, enum conf_list_kind kind, struct slice list_text,
			     struct slice subject, const struct ip_addr *ip, struct slice *data_ret,
			     struct err *err);

/* $sender_host_name: looks the client's name up once (PTR, then forward, in the order of host_lookup_order)
 * and keeps the result in the client. OK name known; FAIL there is none; DEFER. Parks. */
NODISCARD enum rc client_host_name(struct scope *sc, struct err *err);
/* Does HELO's name belong to the client (verify = helo; RFC 5321 4.1.4)? Kept in the client. Parks. */
NODISCARD enum rc client_helo_verify(struct scope *sc, struct err *err);

/* Is it one of local_interfaces or extra_local_interfaces ("@[]", "@mx_any", self detection)? Wildcards among those
 * are the interfaces that were there when the snapshot was made. Ports do not count. */
bool host_is_local(const struct conf *conf, const struct ip_addr *ip);

/* match_domain, match_address, match_local_part, match_ip, inlist, inlisti. */
extern const struct expand_condition *const match_conditions[];
extern const struct variable_table
    match_variables; /* $sender_host_name and its kin: looked up when first asked for */
/* An item of local_interfaces: "1.2.3.4", "1.2.3.4.25", "::1", "[::1]:smtp". port_ret is empty if there is none. */
NODISCARD bool interface_parse(struct slice text, struct ip_addr *ip_ret, struct slice *port_ret);

extern const struct conf_group match_conf_group;
struct match_options {
	struct slice host_lookup_order;                /* list of bydns, byaddr */
	struct slice local_interfaces;                 /* list of addresses, perhaps with ports */
	struct slice extra_local_interfaces;           /* the same */
	const struct match_list *hosts_treat_as_local; /* domains */
};

#endif
