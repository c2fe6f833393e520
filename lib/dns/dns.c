/* dns: questions, and those who wait for their answers. Whoever asks first sends the question; whoever asks
 * the same meanwhile waits for the same answer, each up to its own deadline. The question itself is nobody's:
 * it goes on when the last of them has left, and its answer is there for the next. */

#include "dns.h"

#include <ares.h>
#include <stdio.h>
#include <stdlib.h>

#include "answer.h"
#include "cache.h"
#include "packed.h"

#define TIMEOUT_MS_DEFAULT  5000
#define TRIES_DEFAULT       3
#define CACHE_COUNT_DEFAULT 20000
/* c-ares keeps its UDP socket while anything is under way, which on a busy shard is always, and a stranger
 * who knows the port has only the id to guess. A new channel has new ports. (From 1.20 on c-ares can do this
 * itself.) */
#define CHANNEL_SENT_MAX 200
/* An answer has at most 64 KiB; records and names need a few times that. */
#define SCRATCH_SIZE_MAX (4u << 20)

struct dns {
	struct shard *shard;
	struct link channels;    /* the present one, and retired ones that still wait for answers */
	struct channel *channel; /* made with the first question under the present options */
	unsigned channel_sent;   /* questions */
	struct cache cache;
	struct arena scratch; /* for a look at an answer that comes in */
	char *servers;
	unsigned timeout_ms, tries, cname_loops;
	uint64_t generation;
	bool edns, dnssec_ok;
};

static struct shard_slot dns_slot;

static struct dns *dns_of(struct shard *shard)
{
	struct dns *dns = shard_slot(shard, &dns_slot);

	if (dns)
		return dns;
	dns = calloc(1, sizeof(*dns));
	if (!dns)
		return NULL;
	dns->shard = shard;
	dns->timeout_ms = TIMEOUT_MS_DEFAULT;
	dns->tries = TRIES_DEFAULT;
	dns->edns = true;
	list_init(&dns->channels);
	arena_init(&dns->scratch, SCRATCH_SIZE_MAX);
	cache_init(&dns->cache, CACHE_COUNT_DEFAULT);
	shard_slot_set(shard, &dns_slot, dns);
	return dns;
}

static bool servers_eq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

void dns_configure(struct shard *shard, const struct dns_options *options)
{
	struct dns *dns = dns_of(shard);
	bool edns = options->edns0 != 0, dnssec_ok = options->dnssec_ok > 0;

	if (!dns)
		return;
	/* What another resolver said, or one that was asked differently, is no answer any more. */
	if (!servers_eq(dns->servers, options->servers) || dns->edns != edns || dns->dnssec_ok != dnssec_ok) {
		cache_clear(&dns->cache);
		dns->generation++;
	}
	if (dns->channel)
		channel_retire(dns->channel);
	dns->channel = NULL;
	free(dns->servers);
	dns->servers = options->servers ? strdup(options->servers) : NULL;
	dns->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS_DEFAULT;
	dns->tries = options->tries ? options->tries : TRIES_DEFAULT;
	dns->edns = edns;
	dns->dnssec_ok = dnssec_ok;
	dns->cname_loops = options->cname_loops;
	dns->cache.count_max = options->cache_count_max ? options->cache_count_max : CACHE_COUNT_DEFAULT;
}

void dns_done(struct shard *shard)
{
	struct dns *dns = shard_slot(shard, &dns_slot);

	if (!dns)
		return;
	channel_free_all(&dns->channels);
	cache_clear(&dns->cache);
	map_done(&dns->cache.map);
	arena_done(&dns->scratch);
	free(dns->servers);
	free(dns);
	shard_slot_set(shard, &dns_slot, NULL);
}

/* The channel for the next question; NULL: err says why not. */
static struct channel *dns_channel(struct dns *dns, struct err *err)
{
	if (dns->channel && dns->channel_sent >= CHANNEL_SENT_MAX) {
		channel_retire(dns->channel);
		dns->channel = NULL;
	}
	if (!dns->channel) {
		if (channel_new(dns->shard, dns->servers, dns->timeout_ms, dns->tries, dns->edns,
				&dns->channels, &dns->channel, err) != OK)
			return NULL;
		dns->channel_sent = 0;
	}
	dns->channel_sent++;
	return dns->channel;
}

const struct slice *dns_search_list(struct shard *shard, struct arena *arena, unsigned *count_ret)
{
	struct dns *dns = dns_of(shard);
	struct err err = err_make(NULL);
	struct channel *channel = dns ? dns_channel(dns, &err) : NULL;

	*count_ret = 0;
	return channel ? channel_endings(channel, arena, count_ret) : NULL;
}

static void entry_send(struct dns *dns, struct channel *channel, struct cache_entry *entry, bool edns)
{
	struct wire_name name = cache_entry_name(entry);
	uint8_t query[WIRE_QUERY_MAX];
	uint16_t id;
	size_t len;

	/* c-ares matches answers by id and question, and takes the id as we choose it. */
	shard_random(dns->shard, &id, sizeof(id));
	entry->edns = edns;
	len = wire_query_write(query, id, &name, cache_entry_type(entry), edns, dns->dnssec_ok);
	channel_send(channel, &entry->query, query, len);
}

static void entry_failed(struct dns *dns, struct cache_entry *entry, const char *why)
{
	cache_known(&dns->cache, entry, why, strlen(why), true, shard_now(dns->shard), CACHE_FAILURE_TTL_S);
}

static void entry_on_answer(struct channel_query *query, int ares_status, const uint8_t *bytes, size_t len)
{
	struct cache_entry *entry = CONTAINER_OF(query, struct cache_entry, query);
	struct dns *dns = entry->dns;
	struct wire_name name = cache_entry_name(entry);
	struct dns_answer answer;
	struct packed *packed = NULL;
	struct err err;
	char why[200];
	enum rc rc;

	/* A server from before EDNS0 (RFC 6891 section 7): once more without. */
	if (entry->edns && (ares_status == ARES_ENOTIMP || ares_status == ARES_EFORMERR ||
			    (ares_status == ARES_SUCCESS && len > 3 && (bytes[3] & 0x0f) == RCODE_FORMERR))) {
		struct channel *channel = dns_channel(dns, NULL);
		if (channel)
			entry_send(dns, channel, entry, false);
		else
			entry_failed(dns, entry, "no way to ask again");
		return;
	}
	if (ares_status != ARES_SUCCESS) {
		entry_failed(dns, entry, ares_strerror(ares_status));
		return;
	}
	err = err_make(&dns->scratch);
	rc = answer_parse(&dns->scratch, bytes, len, &name, cache_entry_type(entry), &answer, &err);
	if (rc != DEFER && !(packed = packed_make(&dns->scratch, &answer)))
		rc = err_memory(&err);
	if (rc == DEFER) {
		snprintf(why, sizeof(why), "%.*s", SLICE_ARG(err.text));
		entry_failed(dns, entry, why);
	} else {
		cache_known(&dns->cache, entry, packed, packed->size, false, shard_now(dns->shard),
			    answer.ttl_s);
	}
	arena_clear(&dns->scratch);
}

/* What is known or just being asked; asks if it is neither. A reference is taken, since the answer can be
 * there, and too old to be kept, when this returns. NULL: err says why not. */
static struct cache_entry *entry_of(struct dns *dns, const struct wire_name *name, uint16_t type,
				    struct err *err)
{
	struct cache_entry *entry = cache_get(&dns->cache, name, type, shard_now(dns->shard));
	struct channel *channel;

	if (entry) {
		cache_ref(entry);
		return entry;
	}
	channel = dns_channel(dns, err);
	if (!channel)
		return NULL;
	entry = cache_add(&dns->cache, name, type);
	if (!entry) {
		(void)err_set(err, DEFER, "too many DNS questions under way");
		return NULL;
	}
	cache_ref(entry);
	entry->dns = dns;
	entry->query.done = entry_on_answer;
	entry_send(dns, channel, entry, dns->edns);
	return entry;
}

static uint32_t random_next(void *arg)
{
	uint32_t number;

	shard_random(arg, &number, sizeof(number));
	return number;
}

/* The time that the answer lay in the cache is taken off what it was given to live. */
static void answer_age(struct dns_answer *answer, uint64_t age_s)
{
	answer->ttl_s -= age_s < answer->ttl_s ? (uint32_t)age_s : answer->ttl_s;
	for (unsigned i = 0; i < answer->count; i++) {
		uint32_t *ttl_s = &answer->records[i].ttl_s;
		*ttl_s -= age_s < *ttl_s ? (uint32_t)age_s : *ttl_s;
	}
}

const char *dns_type_name(enum dns_type type)
{
	switch (type) {
	case DNS_A:
		return "A";
	case DNS_NS:
		return "NS";
	case DNS_CNAME:
		return "CNAME";
	case DNS_SOA:
		return "SOA";
	case DNS_PTR:
		return "PTR";
	case DNS_MX:
		return "MX";
	case DNS_TXT:
		return "TXT";
	case DNS_AAAA:
		return "AAAA";
	case DNS_SRV:
		return "SRV";
	case DNS_TLSA:
		return "TLSA";
	case DNS_SPF:
		return "SPF";
	}
	return "?";
}

static __attribute__((cold)) void tell(struct slice name, enum dns_type type, enum rc rc,
				       const struct dns_answer *answer, const struct err *err)
{
	const char *type_name = dns_type_name(type);
	char ip[IP_TEXT_MAX];

	if (rc == FAIL)
		debug_say("DNS lookup of %.*s (%s) gave %s", SLICE_ARG(name), type_name,
			  answer->nxdomain ? "HOST_NOT_FOUND" : "NO_DATA");
	else if (rc != OK)
		debug_say("DNS lookup of %.*s (%s) gave TRY_AGAIN: %.*s", SLICE_ARG(name), type_name,
			  SLICE_ARG(err ? err->text : SLICE_EMPTY));
	else
		debug_say("DNS lookup of %.*s (%s) succeeded%s", SLICE_ARG(name), type_name,
			  answer->authentic ? ", proven by DNSSEC" : "");
	for (unsigned i = 0; rc == OK && i < answer->count; i++) {
		const struct dns_record *r = &answer->records[i];

		debug_say("  %.*s%s%.*s", SLICE_ARG(r->ip.family ? ip_format(&r->ip, ip) : r->name),
			  r->text.len ? " " : "", SLICE_ARG(r->text));
	}
}

/* One question. */
static enum rc ask(struct task *task, struct slice name, enum dns_type type, struct dns_answer *answer_ret,
		   struct err *err)
{
	struct dns *dns = dns_of(task->shard);
	struct wire_name wire;
	struct cache_entry *entry;
	enum rc rc = OK;

	if (!dns)
		return err_memory(err);
	if (!wire_name_parse(name, &wire)) {
		*answer_ret = (struct dns_answer){.nxdomain = true, .canonical = SLICE_EMPTY};
		return err_set(err, FAIL, "%.*s cannot be a domain name", SLICE_ARG(slice_sub(name, 0, 300)));
	}
	entry = entry_of(dns, &wire, (uint16_t)type, err);
	if (!entry)
		return DEFER;
	while (entry->asking && rc == OK)
		rc = waitq_wait(task, &entry->waiters);
	if (rc == DEFER)
		(void)err_set(err, DEFER, "no answer in time");
	else if (rc == OK && entry->failed)
		rc = err_set(err, DEFER, "%.*s", (int)entry->answer_len, (const char *)entry->answer);
	else if (rc == OK && !packed_copy((const struct packed *)entry->answer, task->arena, answer_ret))
		rc = err_memory(err);
	else if (rc == OK)
		rc = answer_ret->count ? OK : FAIL;
	if (rc == OK || rc == FAIL)
		answer_age(answer_ret, (shard_now(task->shard) - entry->stored_at) / NS_PER_S);
	cache_unref(entry);
	if (debug_on(DEBUG_DNS))
		tell(name, type, rc, answer_ret, err);
	switch (rc) {
	case OK:
		answer_sort(answer_ret, type, random_next, task->shard);
		break;
	case FAIL:
		return err_set(err, FAIL, "%.*s: %s", SLICE_ARG(name),
			       answer_ret->nxdomain ? "no such domain" : "no record of this type");
	case DEFER:
		err_prefix(err, "%s lookup of %.*s", dns_type_name(type), SLICE_ARG(name));
		break;
	case CANCELLED:
		break;
	}
	return rc;
}

/* Does the answer end in an alias, and say nothing of what it stands for? A resolver that follows aliases proves by a SOA that
 * there is nothing at the end (RFC 2308 section 2.2), or there would be no need to ask again. */
static bool ends_in_alias(struct slice name, enum dns_type type, const struct dns_answer *answer)
{
	if (name.len && name.ptr[name.len - 1] == '.')
		name.len--;
	return type != DNS_CNAME && !answer->nxdomain && !answer->ttl_s && answer->canonical.len &&
	       !slice_eq_nocase(answer->canonical, name);
}

enum rc dns_query(struct task *task, struct slice name, enum dns_type type, struct dns_answer *answer_ret,
		  struct err *err)
{
	struct dns *dns = dns_of(task->shard);
	enum rc rc = ask(task, name, type, answer_ret, err);
	bool authentic = true;
	unsigned links = 0;

	for (; rc == FAIL && links < dns->cname_loops && ends_in_alias(name, type, answer_ret); links++) {
		authentic &= answer_ret->authentic;
		name = answer_ret->canonical;
		rc = ask(task, name, type, answer_ret, err);
	}
	if (links && (rc == OK || rc == FAIL)) {
		answer_ret->authentic &= authentic;
		/* How long the aliases live was not kept with what denied nothing: the whole is good for this once. */
		answer_ret->ttl_s = 0;
	}
	return rc;
}

void dns_forget(struct shard *shard, struct slice name, enum dns_type type)
{
	struct dns *dns = dns_of(shard);
	struct wire_name wire;

	if (dns && wire_name_parse(name, &wire)) {
		cache_forget(&dns->cache, &wire, (uint16_t)type);
		dns->generation++;
	}
}

uint64_t dns_generation(struct shard *shard)
{
	struct dns *dns = shard_slot(shard, &dns_slot);

	return dns ? dns->generation : 0;
}

void dns_prefetch(struct shard *shard, struct slice name, enum dns_type type)
{
	struct dns *dns = dns_of(shard);
	struct wire_name wire;
	struct cache_entry *entry;

	if (!dns || !wire_name_parse(name, &wire))
		return;
	entry = entry_of(dns, &wire, (uint16_t)type, NULL);
	if (entry)
		cache_unref(entry);
}

struct slice dns_reverse_name(struct arena *arena, const struct ip_addr *ip, struct slice root)
{
	static const char hex[] = "0123456789abcdef";
	char text[64 + 1];
	unsigned len = 0;

	if (ip->family == 4)
		len = (unsigned)snprintf(text, sizeof(text), "%u.%u.%u.%u", ip->bytes[3], ip->bytes[2],
					 ip->bytes[1], ip->bytes[0]);
	for (unsigned i = 16; ip->family == 6 && i-- > 0;) {
		text[len++] = hex[ip->bytes[i] & 0x0f];
		text[len++] = '.';
		text[len++] = hex[ip->bytes[i] >> 4];
		if (i > 0)
			text[len++] = '.';
	}
	while (root.len > 0 && root.ptr[0] == '.')
		root = slice_from(root, 1);
	if (root.len == 0)
		root = ip->family == 4 ? SLICE("in-addr.arpa") : SLICE("ip6.arpa");
	struct slice name = arena_printf(arena, "%.*s.%.*s", (int)len, text, SLICE_ARG(root));
	name.taint = root.taint;
	return name;
}
