/* ACLs as their callers run them: what needs a name server of our own (dnslists, verify = csa), and what a run leaves
 * behind for its caller. Verbs and messages are compared with Exim's in tests/e2e/test_acl.py. */
#define HARNESS_MATCH
#include "acl/acl.h"

#define HARNESS_MORE_VARIABLES &acl_variables, &transport_variables,
#define HARNESS_MORE_GROUPS    &acl_conf_group, &transport_conf_group, &log_conf_group,
#define HARNESS_SECTIONS       &acl_conf_section,
#include "../lookup/harness.h"
#include "../match/zone.h"

#define LISTED(key) key ".bl.example", DNS_A
static const struct zone_record records[] = {
    {LISTED("4.3.2.10"), "127.0.0.2"},
    {"4.3.2.10.bl.example", DNS_TXT, "listed for |a reason"},
    {LISTED("5.3.2.10"), "127.0.0.1"},
    {LISTED("5.3.2.10"), "127.0.0.2"},
    {LISTED("6.3.2.10"), "SERVFAIL"},
    {LISTED("7.3.2.10"), "192.0.2.1"},
    {LISTED("8.3.2.10"), "192.0.2.1"},
    {LISTED("8.3.2.10"), "127.0.0.9"},
    {LISTED("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"), "127.0.0.6"},
    {LISTED("spam.test"), "127.0.0.4"},
    /* merged.example is made of part.example and another */
    {"4.3.2.10.merged.example", DNS_A, "127.0.0.10"},
    {"4.3.2.10.part.example", DNS_A, "127.0.0.77"},
    {"4.3.2.10.part.example", DNS_TXT, "the part's word"},
    {"_client._smtp.good.example", DNS_SRV, "1 2 0 mail.good.example"},
    {"mail.good.example", DNS_A, "10.2.3.4"},
    {"_client._smtp.bad.example", DNS_SRV, "1 1 0 mail.bad.example"},
    {"_client._smtp.other.example", DNS_SRV, "1 2 0 elsewhere.example"},
    {"elsewhere.example", DNS_A, "192.0.2.7"},
    {"_client._smtp.none.example", DNS_SRV, "1 2 0 nothing.example"},
    {"_client._smtp.strict.example", DNS_SRV, "1 2 1 mail.good.example"},
    {"_client._smtp.version.example", DNS_SRV, "2 1 0 mail.good.example"},
    {"_client._smtp.away.example", DNS_SRV, "SERVFAIL"},
    {"_client._smtp.4.3.2.10.in-addr.arpa", DNS_SRV, "1 1 0 x.example"},
};
static struct zone zone;

struct acl_row {
	const char *acl;
	enum acl_result result;
	const char *says; /* NULL: nothing */
};

static void rows_run(struct harness *h, const char *ip, const char *helo, const struct acl_row *rows,
		     size_t count)
{
	client_clear(&h->client);
	h->client.arena = &h->client_arena;
	h->client.helo = slice_of(helo);
	assert_true(ip_parse(slice_of(ip), &h->client.ip));
	dns_configure(
	    h->shard,
	    &(struct dns_options){
		.servers = zone.address, .timeout_ms = 500, .tries = 1, .edns0 = -1, .dnssec_ok = -1});
	for (size_t i = 0; i < count; i++) {
		const struct expansion *acl =
		    expand_compile(h->conf->language, &h->arena, slice_of(rows[i].acl));
		struct err err = err_make(&h->err_arena);
		struct acl_outcome outcome;
		enum acl_result result;

		acl_outcome_init(&outcome);
		result = acl_check(&h->scope, ACL_WHERE_RCPT, acl, &outcome, &err);
		if (result != rows[i].result || !outcome.user_message.ptr != !rows[i].says ||
		    (rows[i].says && !slice_eq(outcome.user_message, slice_of(rows[i].says)))) {
			print_error("%s:\n  %d, \"%.*s\"; error: %.*s\n", rows[i].acl, result,
				    outcome.user_message.ptr ? (int)outcome.user_message.len : 4,
				    outcome.user_message.ptr ? outcome.user_message.ptr : "NULL",
				    SLICE_ARG(err.text));
			h->wrong++;
		}
	}
}

#define SAYS       " \n message = \\$dnslist_domain,\\$dnslist_matched,\\$dnslist_value,\\$dnslist_text"
#define DENY(list) "deny dnslists = " list SAYS "\naccept"

static void lists_rows(struct harness *h)
{
	static const struct acl_row rows[] = {
	    {DENY("bl.example"), ACL_DENY, "bl.example,10.2.3.4,127.0.0.2,listed for a reason"},
	    {DENY("nosuch.example : bl.example"), ACL_DENY,
	     "bl.example,10.2.3.4,127.0.0.2,listed for a reason"},
	    {DENY("nosuch.example"), ACL_ACCEPT, NULL},
	    {DENY("bl.example/10.2.3.99"), ACL_ACCEPT, NULL},
	    {DENY("bl.example/10.2.3.5"), ACL_DENY, "bl.example,10.2.3.5,127.0.0.1, 127.0.0.2,"},
	    {DENY("bl.example/spam.test"), ACL_DENY, "bl.example,spam.test,127.0.0.4,"},
	    {DENY("bl.example/ham.test::spam.test"), ACL_DENY, "bl.example,spam.test,127.0.0.4,"},
	    {DENY("bl.example/<|ham.test|10.2.3.5"), ACL_DENY, "bl.example,10.2.3.5,127.0.0.1, 127.0.0.2,"},
	    {DENY("<; bl.example/<|2001:db8::1"), ACL_DENY, "bl.example,2001:db8::1,127.0.0.6,"},
	    /* which results count: one of those listed, or all; bits; and the opposite */
	    {DENY("bl.example=127.0.0.2"), ACL_DENY, "bl.example,10.2.3.4,127.0.0.2,listed for a reason"},
	    {DENY("bl.example=127.0.0.3"), ACL_ACCEPT, NULL},
	    {DENY("bl.example=127.0.0.3,127.0.0.2"), ACL_DENY,
	     "bl.example,10.2.3.4,127.0.0.2,listed for a reason"},
	    {DENY("bl.example!=127.0.0.2"), ACL_ACCEPT, NULL},
	    {DENY("bl.example!=127.0.0.3"), ACL_DENY, "bl.example,10.2.3.4,127.0.0.2,listed for a reason"},
	    {DENY("bl.example&0.0.0.2"), ACL_DENY, "bl.example,10.2.3.4,127.0.0.2,listed for a reason"},
	    {DENY("bl.example&0.0.0.3"), ACL_ACCEPT, NULL},
	    {DENY("bl.example!&0.0.0.1"), ACL_DENY, "bl.example,10.2.3.4,127.0.0.2,listed for a reason"},
	    {DENY("bl.example!&0.0.0.2"), ACL_ACCEPT, NULL},
	    {DENY("bl.example=127.0.0.1/10.2.3.5"), ACL_DENY, "bl.example,10.2.3.5,127.0.0.1, 127.0.0.2,"},
	    {DENY("bl.example==127.0.0.1/10.2.3.5"), ACL_ACCEPT, NULL},
	    {DENY("bl.example==127.0.0.1,127.0.0.2/10.2.3.5"), ACL_DENY,
	     "bl.example,10.2.3.5,127.0.0.1, 127.0.0.2,"},
	    {DENY("bl.example!==127.0.0.1/10.2.3.5"), ACL_DENY, "bl.example,10.2.3.5,127.0.0.1, 127.0.0.2,"},
	    {DENY("bl.example=&0.0.0.1/10.2.3.5"), ACL_ACCEPT, NULL},
	    {DENY("bl.example!=&0.0.0.1/10.2.3.5"), ACL_DENY, "bl.example,10.2.3.5,127.0.0.1, 127.0.0.2,"},
	    {DENY("bl.example!=&0.0.0.1,0.0.0.2/10.2.3.5"), ACL_ACCEPT, NULL},
	    /* a merged list, and the one that the listing comes from */
	    {DENY("part.example,merged.example=127.0.0.10"), ACL_DENY,
	     "part.example,10.2.3.4,127.0.0.10,the part's word"},
	    {DENY("part.example,merged.example=127.0.0.11"), ACL_ACCEPT, NULL},
	    {DENY("nosuch.example,merged.example=127.0.0.10"), ACL_ACCEPT, NULL},
	    /* nobody knows */
	    {DENY("bl.example/10.2.3.6"), ACL_ACCEPT, NULL},
	    {DENY("+exclude_unknown : bl.example/10.2.3.6"), ACL_ACCEPT, NULL},
	    {DENY("+defer_unknown : bl.example/10.2.3.6"), ACL_DEFER, NULL},
	    {"deny dnslists = +include_unknown : bl.example/10.2.3.6\naccept", ACL_DENY, NULL},
	    {DENY("+defer_unknown : bl.example/10.2.3.6::10.2.3.4"), ACL_DENY,
	     "bl.example,10.2.3.4,127.0.0.2,listed for a reason"},
	    {"accept !dnslists = bl.example\n", ACL_DENY, NULL},
	    {"accept !dnslists = nosuch.example\n", ACL_ACCEPT, NULL},
	};

	rows_run(h, "10.2.3.4", "h.example", rows, ARRAY_COUNT(rows));
}

#define CSA(name)                  \
	"deny !verify = csa/" name \
	"\n  message = \\$csa_status: \\$acl_verify_message\naccept message = \\$csa_status"

static void csa_rows(struct harness *h)
{
	static const struct acl_row rows[] = {
	    {"accept verify = csa\n message = \\$csa_status", ACL_ACCEPT, "ok"},
	    {CSA("good.example"), ACL_ACCEPT, "ok"},
	    {CSA("bad.example"), ACL_DENY, "fail: client SMTP authorization fail (not authorized)"},
	    {CSA("other.example"), ACL_DENY,
	     "fail: client SMTP authorization fail (target address mismatch)"},
	    {CSA("none.example"), ACL_DENY, "fail: client SMTP authorization fail (no address)"},
	    {CSA("sub.strict.example"), ACL_DENY,
	     "fail: client SMTP authorization fail (explicit authorization required)"},
	    {CSA("a.b.c.strict.example"), ACL_DENY,
	     "fail: client SMTP authorization fail (explicit authorization required)"},
	    {CSA("1.2.3.4.5.6.strict.example"), ACL_ACCEPT, "unknown"}, /* too deep */
	    {CSA("sub.good.example"), ACL_ACCEPT, "unknown"},
	    {CSA("version.example"), ACL_ACCEPT, "unknown"},
	    {CSA("nosuch.example"), ACL_ACCEPT, "unknown"},
	    {CSA("away.example"), ACL_ACCEPT, "defer"},
	    {CSA("[10.2.3.4]"), ACL_DENY, "fail: client SMTP authorization fail (not authorized)"},
	    {CSA("10.2.3.4"), ACL_DENY, "fail: client SMTP authorization fail (not authorized)"},
	};

	rows_run(h, "10.2.3.4", "good.example", rows, ARRAY_COUNT(rows));
}

static void outcome_rows(struct harness *h)
{
	static const struct acl_row rows[] = {
	    {"sub a b", ACL_ERROR, NULL}, /* an option's value is a name, a file or statements */
	    {"sub", ACL_DENY, "[0] []"},
	    {"  sub ", ACL_DENY, "[0] []"},
	    {"warn acl = sub a b\ndeny acl = yes x\n message = \\$acl_narg", ACL_DENY, "0"},
	    {"accept acl = sub a 'b c'", ACL_DENY, "[3] [a]"},
	    {"@D", ACL_ERROR, NULL},
	    {"/nosuch/file", ACL_ERROR, NULL},
	    {"nosuch", ACL_ERROR, NULL},
	    {"", ACL_DENY, NULL},
	    {"${if eq{a}{b}{sub}fail}", ACL_DENY, NULL},
	    {"loop", ACL_ERROR, NULL},
	    {"discard", ACL_DISCARD, NULL},
	    {"drop message = 521 gone", ACL_DROP, "521 gone"},
	    {"warn control = cutthrough_delivery\naccept", ACL_ACCEPT, NULL},
	    /* no hints in this process: unknown is neither yes nor no */
	    {"deny seen = 5m / key=k\naccept", ACL_DEFER, NULL},
	    {"deny ratelimit = 1 / 1h / strict / k\naccept", ACL_DEFER, NULL},
	    {"warn seen = 5m / key=k\naccept", ACL_ACCEPT, NULL},
	};

	rows_run(h, "10.2.3.4", "h.example", rows, ARRAY_COUNT(rows));
}

#define CONF                                                                                        \
	"primary_hostname = me.example\nlog_selector = -dnslist_defer\nlog_file_path = /dev/null\n" \
	"begin acl\nsub:\n deny message = [$acl_narg] [$acl_arg1]\nyes:\n accept\nloop:\n accept acl = loop\n"

static void run(void (*rows)(struct harness *))
{
	zone_start(&zone, records, ARRAY_COUNT(records));
	harness_run(CONF, NULL, rows);
	zone_stop(&zone);
}

static void test_lists(void **state)
{
	(void)state;
	run(lists_rows);
}

static void test_csa(void **state)
{
	(void)state;
	run(csa_rows);
}

static void test_outcome(void **state)
{
	(void)state;
	run(outcome_rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_lists), cmocka_unit_test(test_csa),
					   cmocka_unit_test(test_outcome)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
