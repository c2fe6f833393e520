/* dns: typed answers to DNS questions, with a cache that honours TTLs. One channel per shard, made at first
 * use; nothing is shared. Knows nothing of mail: what a null MX or an SPF record means, those who ask decide.
 */
#ifndef DNS_DNS_H
#define DNS_DNS_H

#include "reactor/reactor.h"

enum dns_type {
	DNS_A = 1,
	DNS_NS = 2,
	DNS_CNAME = 5,
	DNS_SOA = 6,
	DNS_PTR = 12,
	DNS_MX = 15,
	DNS_TXT = 16,
	DNS_AAAA = 28,
	DNS_SRV = 33,
	DNS_TLSA = 52,
	DNS_SPF = 99,
};

/* One record of the type that was asked for. Names are without the final dot, lower-cased only for comparing.
 */
struct dns_record {
	uint32_t ttl_s;
	uint16_t preference;   /* MX; SRV: priority */
	uint16_t weight, port; /* SRV */
	struct ip_addr ip;     /* A, AAAA */
	struct slice name;     /* MX, NS, PTR, CNAME, SRV: the host; SOA: primary server */
	struct slice text;     /* TXT, SPF: the strings joined without a space; TLSA: certificate data */
	struct slice *strings; /* TXT: each string by itself, in string_count */
	unsigned string_count;
	uint8_t usage, selector, matching; /* TLSA */
	uint32_t soa[5];                   /* serial, refresh, retry, expire, minimum */
	struct slice soa_mailbox;
};
struct dns_answer {
	struct dns_record *records;
	unsigned count;
	uint32_t ttl_s;         /* the least of the chain */
	bool authentic;         /* the resolver set AD: DNSSEC-validated */
	bool nxdomain;          /* with FAIL: the name does not exist at all (else: no data of this type) */
	struct slice canonical; /* the name at the end of the CNAME chain */
};

struct dns_options {
	const char *servers;      /* "127.0.0.1:5353,[::1]:53"; NULL: as the system says (resolv.conf) */
	unsigned timeout_ms;      /* per try; 0: 5000 (option dns_retrans) */
	unsigned tries;           /* 0: 3 (option dns_retry) */
	int edns0;                /* -1 default, 0 off, 1 on */
	int dnssec_ok;            /* -1 default (off), 0, 1: ask with DO */
	unsigned cache_count_max; /* 0: 20,000 */
	unsigned
	    cname_loops; /* how many aliases are asked behind, where the resolver does not (option of that name) */
};
/* The options of the questions to come on this shard; queries under way keep the old. Does not park. */
void dns_configure(struct shard *shard, const struct dns_options *options);

/* Look up name, which is borrowed for the call. Parks. Equal questions under way at once are asked once.
 *
 * OK     *answer_ret is in task->arena; MX sorted by preference, equal ones in random order (RFC 5321
 * section 5.1); SRV by priority and weight (RFC 2782). Names and texts are tainted. FAIL   NXDOMAIN or
 * NODATA, cached as RFC 2308 allows; nxdomain, authentic, ttl_s and canonical of the answer are set. A name
 * that cannot be one (over 253 bytes, empty label): FAIL, and nobody is asked. DEFER  SERVFAIL, a malformed
 * answer (remembered for a second), or no answer by task->until. */
NODISCARD enum rc dns_query(struct task *task, struct slice name, enum dns_type type,
			    struct dns_answer *answer_ret, struct err *err);
/* "A", "MX"; "DNS" for those that have no name here. */
const char *dns_type_name(enum dns_type type);
/* The next to ask asks the resolvers, whatever is known. */
void dns_forget(struct shard *shard, struct slice name, enum dns_type type);
/* Another number when what was answered before is not to be believed any more, whatever its TTL: with other servers, and with each
 * dns_forget(). For those who keep what they made of answers. */
uint64_t dns_generation(struct shard *shard);
/* Asks without waiting, so that a later dns_query() finds the answer in the cache. */
void dns_prefetch(struct shard *shard, struct slice name, enum dns_type type);
/* The name to ask for the PTR of an address (".in-addr.arpa", ".ip6.arpa"), or, with another root, of a DNS
 * list. */
struct slice dns_reverse_name(struct arena *arena, const struct ip_addr *ip, struct slice root);
/* The endings that the system's resolver tries behind names (resolv.conf's search list), in the arena. NULL: none. */
const struct slice *dns_search_list(struct shard *shard, struct arena *arena, unsigned *count_ret);
/* The host's own idea (/etc/hosts and whatever nsswitch.conf names), through the offload pool. Addresses as A
 * and AAAA records of the answer. Parks. */
NODISCARD enum rc dns_hosts_file(struct task *task, struct slice name, struct dns_answer *answer_ret,
				 struct err *err);
/* The other way: the names of an address (the first is the official one) as PTR records. Parks. */
NODISCARD enum rc dns_hosts_by_address(struct task *task, const struct ip_addr *ip,
				       struct dns_answer *answer_ret, struct err *err);
/* At the end of the shard. */
void dns_done(struct shard *shard);

#endif
