/* What needs the DNS: hosts by name, names of clients, HELO, "@mx_any", dnsdb. */

#define HARNESS_MATCH
#include "../lookup/harness.h"

#include "zone.h"

static const struct zone_record records[] = {
    /* one.example: forward and back; two names, one of which does not lead back */
    {"1.2.0.192.in-addr.arpa", DNS_PTR, "One.Example"},
    {"1.2.0.192.in-addr.arpa", DNS_PTR, "liar.example"},
    {"1.2.0.192.in-addr.arpa", DNS_PTR, "alias.example"},
    {"one.example", DNS_A, "192.0.2.1"},
    {"alias.example", DNS_A, "192.0.2.1"},
    {"alias.example", DNS_A, "192.0.2.99"},
    {"liar.example", DNS_A, "192.0.2.2"},
    /* names that do not lead back; that cannot be names; that cannot be asked for */
    {"3.2.0.192.in-addr.arpa", DNS_PTR, "liar.example"},
    {"4.2.0.192.in-addr.arpa", DNS_PTR, "what a name.example"},
    {"5.2.0.192.in-addr.arpa", DNS_PTR, "broken.example"},
    {"broken.example", DNS_A, "SERVFAIL"},
    {"6.2.0.192.in-addr.arpa", DNS_PTR, "SERVFAIL"},
    {"five.example", DNS_A, "192.0.2.6"},
    {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", DNS_PTR, "six.example"},
    {"six.example", DNS_AAAA, "2001:db8::1"},
    {"six.example", DNS_A, "192.0.2.66"},
    {"mail.example", DNS_MX, "10 me.example"},
    {"mail.example", DNS_MX, "20 other.example"},
    {"second.example", DNS_MX, "10 other.example"},
    {"second.example", DNS_MX, "20 me.example"},
    {"foreign.example", DNS_MX, "10 other.example"},
    {"treated.example", DNS_MX, "10 cluster.example"},
    {"null.example", DNS_MX, "0 ."},
    {"failing.example", DNS_MX, "SERVFAIL"},
    {"me.example", DNS_A, "127.0.0.1"},
    {"other.example", DNS_A, "192.0.2.200"},
    {"cluster.example", DNS_A, "192.0.2.201"},
    {"text.example", DNS_TXT, "first|second"},
    {"text.example", DNS_TXT, "third"},
    {"zone.example", DNS_NS, "ns1.example"},
    {"_sip._tcp.example", DNS_SRV, "1 2 5060 sip.example"},
    {"_client._smtp.csa.example", DNS_SRV, "1 2 0 csa.example"},
    {"canonical.example", DNS_CNAME, "one.example"},
};

static struct zone zone;

#define HOLDS(h, expression)                                                                 \
	do {                                                                                 \
		if (!(expression)) {                                                         \
			print_error("%s:%d: not so: %s\n", __FILE__, __LINE__, #expression); \
			(h)->wrong++;                                                        \
		}                                                                            \
	} while (0)

#define CONF                              \
	"primary_hostname = me.example\n" \
	"host_lookup_order = bydns\n"     \
	"hosts_treat_as_local = cluster.example\n"

static void use_zone(struct harness *h)
{
	dns_configure(
	    h->shard,
	    &(struct dns_options){
		.servers = zone.address, .timeout_ms = 500, .tries = 1, .edns0 = -1, .dnssec_ok = -1});
}

static void client_be(struct harness *h, const char *ip)
{
	client_clear(&h->client);
	h->client.arena = &h->client_arena;
	if (*ip && !ip_parse(slice_of(ip), &h->client.ip))
		h->wrong++;
}

static enum rc client_in(struct harness *h, const char *list)
{
	const struct match_list *compiled = match_compile(h->conf, &h->arena, LIST_HOST, slice_of(list));
	struct err err = err_make(&h->err_arena);

	return match_client(&h->scope, compiled, NULL, &err);
}

static void check_client(struct harness *h)
{
	struct err err = err_make(&h->err_arena);

	use_zone(h);
	client_be(h, "192.0.2.1");
	HOLDS(h, client_host_name(&h->scope, &err) == OK);
	HOLDS(h, slice_eq(h->client.host_name, SLICE("one.example")));
	HOLDS(h, h->client.host_name.taint == TAINTED);
	HOLDS(h,
	      h->client.host_alias_count == 1 && slice_eq(h->client.host_aliases[0], SLICE("alias.example")));
	HOLDS(h, slice_eq(expanded(h, SLICE("$sender_host_name")), SLICE("one.example")));
	HOLDS(h, client_in(h, "*.example") == OK);
	HOLDS(h, client_in(h, "^alias") == OK);
	HOLDS(h, client_in(h, "! ^alias : *") == FAIL);
	HOLDS(h, client_in(h, "*.liar") == FAIL);
	HOLDS(h, client_in(h, "one.example") == OK);
	HOLDS(h, client_in(h, "liar.example : 192.0.2.1") == OK);
	HOLDS(h, client_in(h, "192.0.2.0/24") == OK);
	HOLDS(h, client_in(h, "!192.0.2.1 : 192.0.2.0/24") == FAIL);
	HOLDS(h, client_in(h, "localhost") == FAIL);
	client_be(h, "127.0.0.1");
	HOLDS(h, client_in(h, "localhost") == OK);
	HOLDS(h, client_in(h, "@") == OK);
	HOLDS(h, client_in(h, "@[]") == OK);
	client_be(h, "2001:db8::1");
	HOLDS(h, client_in(h, "*.example") == OK);
	HOLDS(h, client_in(h, "six.example") == OK);
	client_be(h, "");
	HOLDS(h, client_in(h, ":") == OK);
	HOLDS(h, client_in(h, "*.example") == FAIL);
	HOLDS(h, client_in(h, "! *.example") == OK);
	HOLDS(h, client_host_name(&h->scope, &err) == FAIL);
}

static void check_nameless(struct harness *h)
{
	static const struct {
		const char *ip;
		enum rc rc;
	} rows[] = {{"192.0.2.3", FAIL},
		    {"192.0.2.4", FAIL},
		    {"192.0.2.9", FAIL},
		    {"192.0.2.5", DEFER},
		    {"192.0.2.6", DEFER}};
	struct err err = err_make(&h->err_arena);

	use_zone(h);
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		client_be(h, rows[i].ip);
		HOLDS(h, client_host_name(&h->scope, &err) == rows[i].rc);
		HOLDS(h, h->client.host_lookup_done);
		HOLDS(h, h->client.host_lookup_failed == (rows[i].rc == FAIL));
		HOLDS(h, h->client.host_lookup_deferred == (rows[i].rc == DEFER));
		HOLDS(h, client_host_name(&h->scope, &err) == rows[i].rc);
		HOLDS(h, slice_eq(expanded(h, SLICE("<$sender_host_name>")), SLICE("<>")));
		/* A list that needs the name: the rest of it is not looked at. To a list, a name that cannot be
		 * found out now is no name, as to Exim's. */
		HOLDS(h, client_in(h, "*.example : 192.0.2.0/24") == FAIL);
		HOLDS(h, client_in(h, "+ignore_defer : *.example : 192.0.2.0/24") == FAIL);
		HOLDS(h, client_in(h, "192.0.2.0/24 : *.example") == OK);
		HOLDS(h, client_in(h, "+ignore_unknown : *.example : 192.0.2.0/24") == OK);
		HOLDS(h, client_in(h, "+include_unknown : *.nowhere") == OK);
	}
}

static void check_helo(struct harness *h)
{
	static const struct {
		const char *ip, *helo;
		enum rc rc;
	} rows[] = {
	    {"192.0.2.1", "one.example", OK},
	    {"192.0.2.1", "ALIAS.example", OK},
	    {"192.0.2.1", "liar.example", FAIL},
	    {"192.0.2.1", "", FAIL},
	    {"192.0.2.1", "not a name", FAIL},
	    {"192.0.2.1", "[192.0.2.1]", OK},
	    {"192.0.2.1", "[192.0.2.2]", FAIL},
	    {"192.0.2.2", "liar.example", OK}, /* no PTR at all, but the name has the address */
	    {"192.0.2.6", "five.example", OK},
	    {"192.0.2.6", "one.example", DEFER}, /* its PTR cannot be asked for: it might be that */
	    {"192.0.2.1", "broken.example", DEFER},
	    {"2001:db8::1", "[IPv6:2001:db8:0::1]", OK},
	    {"2001:db8::1", "six.example", OK},
	    {"", "anything", OK},
	};
	struct err err = err_make(&h->err_arena);

	use_zone(h);
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		enum rc rc;

		client_be(h, rows[i].ip);
		h->client.helo = slice_of(rows[i].helo);
		rc = client_helo_verify(&h->scope, &err);
		if (rc != rows[i].rc)
			print_error("%s %s: %s\n", rows[i].ip, rows[i].helo, rc_name(rc));
		HOLDS(h, rc == rows[i].rc);
	}
}

static void check_mx(struct harness *h)
{
	static const struct row rows[] = {
	    ROW("${if match_domain{mail.example}{@mx_any}{$value}{N}}", "@mx_any"),
	    ROW("${if match_domain{mail.example}{@mx_primary}{Y}{N}}", "Y"),
	    ROW("${if match_domain{mail.example}{@mx_secondary}{Y}{N}}", "N"),
	    ROW("${if match_domain{second.example}{@mx_any}{Y}{N}}", "Y"),
	    ROW("${if match_domain{second.example}{@mx_primary}{Y}{N}}", "N"),
	    ROW("${if match_domain{second.example}{@mx_secondary}{$value}{N}}", "@mx_secondary"),
	    ROW("${if match_domain{foreign.example}{@mx_any}{Y}{N}}", "N"),
	    ROW("${if match_domain{treated.example}{@mx_any}{Y}{N}}", "Y"),
	    ROW("${if match_domain{null.example}{@mx_any}{Y}{N}}", "N"),
	    ROW("${if match_domain{nothing.example}{@mx_any}{Y}{N}}", "N"),
	    ROW("${if match_domain{nothing.example}{! @mx_any}{Y}{N}}", "Y"),
	    ROW("${if match_domain{mail.example}{@mx_any/ignore=127.0.0.1}{Y}{N}}", "N"),
	    ROW("${if match_domain{mail.example}{@mx_any/ignore=<;127.0.0.0/8;::1}{Y}{N}}", "N"),
	    ROW("${if match_domain{mail.example}{@mx_any/ignore=192.0.2.1}{Y}{N}}", "Y"),
	    ROW("${if match_domain{failing.example}{@mx_any}{Y}{N}}", "DEFER: unable to complete match"),
	    ROW("${lookup dnsdb{a=one.example}}", "192.0.2.1"),
	    ROW("${lookup dnsdb{a=none.example}{Y}{N}}", "N"),
	    ROW("${lookup dnsdb{>: a=one.example : none.example : liar.example}}", "192.0.2.1:192.0.2.2"),
	    ROW("${lookup dnsdb{text.example}}", "first\nthird"),
	    ROW("${lookup dnsdb{>+; txt=text.example}}", "firstsecond+third"),
	    ROW("${lookup dnsdb{>+,- TXT=text.example}}", "first-second+third"),
	    ROW("${lookup dnsdb{>/ mx=mail.example}}", "10 me.example/20 other.example"),
	    ROW("${lookup dnsdb{>/,_ mx=mail.example}}", "10_me.example/20_other.example"),
	    ROW("${lookup dnsdb{>/ mxh=mail.example}}", "me.example/other.example"),
	    ROW("${lookup dnsdb{ptr=192.0.2.3}}", "liar.example"),
	    ROW("${lookup dnsdb{ptr=2001:db8::1}}", "six.example"),
	    ROW("${lookup dnsdb{>/ a+=six.example}}", "2001:db8::1/192.0.2.66"),
	    ROW("${lookup dnsdb{srv=_sip._tcp.example}}", "1 2 5060 sip.example"),
	    ROW("${lookup dnsdb{csa=csa.example}}", "Y csa.example"),
	    ROW("${lookup dnsdb{zns=a.b.zone.example}}", "ns1.example"),
	    ROW("${lookup dnsdb{cname=canonical.example}}", "one.example"),
	    ROW("${lookup dnsdb{nosuch=one.example}}",
		"DEFER: lookup of \"nosuch=one.example\" gave DEFER: unsupported DNS record type"),
	    ROW("${lookup dnsdb{a=broken.example}}", "DEFER: "),
	    ROW("${lookup dnsdb{a=broken.example : one.example}}", "192.0.2.1"),
	    ROW("${lookup dnsdb{defer_strict,a=one.example : broken.example}}", "DEFER: "),
	    ROW("${lookup dnsdb{defer_never, a=broken.example}{Y}{N}}", "N"),
	    ROW("${lookup dnsdb{dnssec_strict,a=one.example}{Y}{N}}", "DEFER: "),
	    ROW("${lookup dnsdb{retrans_2s,retry_1,a=one.example}}", "192.0.2.1"),
	    ROW("${lookup dnsdb{a=}{Y}{N}}", "N"),
	};

	unsetenv("SLUICE_ORACLE"); /* it would ask other servers */
	use_zone(h);
	rows_check(h, rows, ARRAY_COUNT(rows));
}

static void run(const char *conf, void (*check)(struct harness *))
{
	zone_start(&zone, records, ARRAY_COUNT(records));
	harness_run(conf, NULL, check);
	zone_stop(&zone);
}

static void test_client(void **state)
{
	(void)state;
	run(CONF, check_client);
}

static void test_nameless(void **state)
{
	(void)state;
	run(CONF, check_nameless);
}

static void test_helo(void **state)
{
	(void)state;
	run(CONF, check_helo);
}

static void test_mx(void **state)
{
	(void)state;
	run(CONF, check_mx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_client),
	    cmocka_unit_test(test_nameless),
	    cmocka_unit_test(test_helo),
	    cmocka_unit_test(test_mx),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
