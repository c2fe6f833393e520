/* dnslists: DNS black and white lists (RFC 5782). Names of one list are asked in their order; all keys of one list item
 * are asked for ahead, so that a second one usually finds its answer. */
#include "list.h"

#include <arpa/inet.h>

struct dnslist_item {
	struct slice domain;      /* that is asked: the second of "a,b" */
	struct slice main_domain; /* that is then asked too, and whose TXT is the text: the first of them */
	struct slice keys;        /* ptr NULL: the client's address */
	struct slice addresses;   /* wanted results; ptr NULL: any */
	bool mask, negate, all;   /* "&", "!=", "==" */
};

/* domain[,domain][!](=|==|&|=&)address,...][/keys] */
static bool parse_item(struct slice text, struct dnslist_item *item)
{
	ptrdiff_t slash = slice_find(text, '/'), at;
	uint32_t i;

	*item = (struct dnslist_item){.keys = {NULL, 0, 0}, .addresses = {NULL, 0, 0}};
	/* Keys come last, and may hold anything; an address list holds no slash. */
	if (slash >= 0) {
		item->keys = slice_trim(slice_from(text, (size_t)slash + 1));
		text = slice_sub(text, 0, (size_t)slash);
	}
	for (i = 0; i < text.len && text.ptr[i] != '=' && text.ptr[i] != '&'; i++)
		;
	if (i < text.len) {
		struct slice condition = slice_from(text, i);
		text = slice_sub(text, 0, i);
		if (text.len && text.ptr[text.len - 1] == '!') {
			item->negate = true;
			text.len--;
		}
		item->mask = condition.ptr[0] == '&';
		if (condition.len > 1 && condition.ptr[0] == '=' &&
		    (condition.ptr[1] == '=' || condition.ptr[1] == '&')) {
			item->all = true;
			item->mask = condition.ptr[1] == '&';
			condition = slice_from(condition, 1);
		}
		item->addresses = slice_trim(slice_from(condition, 1));
	}
	text = slice_trim(text);
	at = slice_find(text, ',');
	item->main_domain = at < 0 ? text : slice_rtrim(slice_sub(text, 0, (size_t)at));
	item->domain = at < 0 ? text : slice_ltrim(slice_from(text, (size_t)at + 1));
	return item->domain.len > 0;
}

static uint32_t ip_number(const struct ip_addr *ip)
{
	return (uint32_t)ip->bytes[0] << 24 | (uint32_t)ip->bytes[1] << 16 | (uint32_t)ip->bytes[2] << 8 |
	       ip->bytes[3];
}

static bool address_wanted(const struct dnslist_item *item, const struct ip_addr *ip)
{
	struct slice rest = item->addresses, word;
	struct ip_addr wanted;
	unsigned bits;

	while (slice_split(&rest, ',', &word)) {
		if (!cidr_parse(slice_trim(word), &wanted, &bits))
			continue;
		if (item->mask ? wanted.family == 4 && ip->family == 4 &&
				     (ip_number(ip) & ip_number(&wanted)) == ip_number(&wanted)
			       : ip_in_cidr(ip, &wanted, bits))
			return true;
	}
	return false;
}

/* Do the answers satisfy the item's condition? */
static bool answer_counts(const struct dnslist_item *item, const struct dns_answer *answer)
{
	bool any = false, all = true;

	if (!item->addresses.ptr)
		return true;
	for (unsigned i = 0; i < answer->count; i++) {
		bool wanted = address_wanted(item, &answer->records[i].ip);
		any |= wanted;
		all &= wanted;
	}
	return (item->all ? all : any) != item->negate;
}

static enum rc query(struct acl_run *run, struct slice name_start, struct slice domain, enum dns_type type,
		     struct dns_answer *answer_ret)
{
	struct slice name =
	    arena_printf(run->sc->task->arena, "%.*s.%.*s", SLICE_ARG(name_start), SLICE_ARG(domain));

	return name.ptr ? lookup_dns_query(run->sc, name, type, answer_ret, run->err) : err_memory(run->err);
}

/* Only answers within 127/8 mean anything (RFC 5782 section 2.1): others come from lists that were given up, or from
 * resolvers that answer everything. */
static void discard_foreign(struct acl_run *run, const struct dnslist_item *item, struct slice key,
			    struct dns_answer *answer)
{
	struct scope *sc = run->sc;
	unsigned kept = 0;
	char text[IP_TEXT_MAX];

	for (unsigned i = 0; i < answer->count; i++) {
		const struct ip_addr *ip = &answer->records[i].ip;

		if (ip->family == 4 && ip->bytes[0] == 127)
			answer->records[kept++] = answer->records[i];
		else
			log_printf(
			    sc->task->shard, sc->conf, LOG_TO_MAIN, sc->message ? &sc->message->id : NULL,
			    "DNS list lookup for %.*s at %.*s returned %.*s; not in 127.0/8 and discarded",
			    SLICE_ARG(key), SLICE_ARG(item->domain), SLICE_ARG(ip_format(ip, text)));
	}
	answer->count = kept;
}

/* The variables that tell of it. The text is worth having, but no reason to doubt the listing. */
static void found(struct acl_run *run, const struct dnslist_item *item, const struct dns_answer *answer,
		  struct slice key, struct slice name_start)
{
	struct scope *sc = run->sc;
	struct str value = str_make(sc->task->arena);
	struct dns_answer text;

	for (unsigned i = 0; i < answer->count; i++) {
		if (i)
			str_addz(&value, ", ");
		str_add_ip(&value, &answer->records[i].ip);
	}
	sc->dnslist_domain = item->main_domain;
	sc->dnslist_value = slice_tainted(str_slice(&value));
	sc->dnslist_matched = key;
	sc->dnslist_text = SLICE_EMPTY;
	if (query(run, name_start, item->main_domain, DNS_TXT, &text) == OK && text.count)
		sc->dnslist_text = slice_sub(text.records[0].text, 0, 511);
	*run->err = err_make(sc->task->arena);
}

/* One key asked at one list. */
static enum rc ask(struct acl_run *run, const struct dnslist_item *item, struct slice key,
		   struct slice name_start)
{
	struct dns_answer answer, main_answer;
	enum rc rc = query(run, name_start, item->domain, DNS_A, &answer);

	if (rc != OK)
		return rc;
	discard_foreign(run, item, key, &answer);
	if (!answer.count || !answer_counts(item, &answer))
		return FAIL;
	if (item->main_domain.ptr != item->domain.ptr) {
		/* A list that is merged from others said so: it is the other's own word that counts. */
		rc = query(run, name_start, item->main_domain, DNS_A, &main_answer);
		if (rc != OK)
			return rc;
	}
	found(run, item, &answer, key, name_start);
	return OK;
}

static struct slice key_name(struct acl_run *run, struct slice key)
{
	struct ip_addr ip;
	struct slice name;

	if (!ip_parse(key, &ip))
		return key;
	name = dns_reverse_name(run->sc->task->arena, &ip, SLICE("x"));
	return name.len > 2 ? slice_sub(name, 0, name.len - 2u) : name;
}

static enum rc ask_item(struct acl_run *run, const struct dnslist_item *item)
{
	struct arena *arena = run->sc->task->arena;
	struct client *c = run->sc->client;
	struct slice rest = item->keys, key;
	char text[IP_TEXT_MAX], separator = 0;
	bool deferred = false;
	enum rc rc;

	if (!rest.ptr) {
		if (!c || !c->ip.family)
			return FAIL;
		key = arena_copy(arena, ip_format(&c->ip, text));
		return ask(run, item, key, key_name(run, key));
	}
	while (list_next(arena, &rest, &separator, &key)) {
		if (!key.len)
			continue;
		rc = ask(run, item, key, key_name(run, key));
		if (rc == OK || rc == CANCELLED)
			return rc;
		deferred |= rc == DEFER;
	}
	return deferred ? DEFER : FAIL;
}

static enum acl_test run_dnslists(struct acl_run *run, const struct acl_item *acl_item, struct slice value)
{
	enum { EXCLUDE, INCLUDE, GIVE_UP } unknown = EXCLUDE;
	struct slice rest = value, text;
	struct dnslist_item item;
	char separator = 0;
	enum rc rc;

	(void)acl_item;
	while (list_next(run->sc->task->arena, &rest, &separator, &text)) {
		if (slice_eq(text, SLICE("+include_unknown"))) {
			unknown = INCLUDE;
			continue;
		}
		if (slice_eq(text, SLICE("+exclude_unknown"))) {
			unknown = EXCLUDE;
			continue;
		}
		if (slice_eq(text, SLICE("+defer_unknown"))) {
			unknown = GIVE_UP;
			continue;
		}
		if (!text.len)
			continue;
		if (!parse_item(text, &item)) {
			(void)err_set(run->err, FAIL, "malformed DNS list item \"%.*s\"", SLICE_ARG(text));
			return TEST_ERROR;
		}
		DEBUG(DEBUG_CHECK(DEBUG_DNSBL), "dnslists check: %.*s", SLICE_ARG(text));
		rc = ask_item(run, &item);
		DEBUG(DEBUG_CHECK(DEBUG_DNSBL), "=> %s%.*s",
		      rc == OK     ? "this host is listed at "
		      : rc == FAIL ? "not listed at "
				   : "no answer from ",
		      SLICE_ARG(item.domain));
		if (rc == OK)
			return TEST_TRUE;
		if (rc == CANCELLED)
			return TEST_DEFER;
		if (rc == DEFER) {
			if (log_wants(run->sc->conf, LOG_DNSLIST_DEFER))
				log_printf(run->sc->task->shard, run->sc->conf, LOG_TO_MAIN,
					   run->sc->message ? &run->sc->message->id : NULL,
					   "DNS list lookup defer (probably timeout) for %.*s: %s",
					   SLICE_ARG(item.domain),
					   unknown == EXCLUDE   ? "assumed not in list"
					   : unknown == INCLUDE ? "assumed in list"
								: "returned DEFER");
			if (unknown == INCLUDE)
				return TEST_TRUE;
			if (unknown == GIVE_UP)
				return TEST_DEFER;
		}
	}
	return TEST_FALSE;
}

const struct acl_word acl_word_dnslists = {"dnslists", CONDITION, VALUE_EXPAND, 0, run_dnslists};
