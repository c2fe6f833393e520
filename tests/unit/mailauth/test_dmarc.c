/* DMARC by RFC 7489 with a suffix list, several authors, records and addresses, good and malformed. Policies up the tree are in
 * test_dmarc_rfc9989.c. */
#include "dmarc_case.h"

static const struct zone_row zone_rows[] = {
    {"_dmarc.reject.example", "TXT", "v=DMARC1; p=reject; rua=mailto:r@reject.example"},
    {"_dmarc.none.example", "TXT", "v=DMARC1; p=none"},
    {"_dmarc.sub.example", "TXT", "v=DMARC1; p=reject; sp=quarantine; np=none"},
    {"there.sub.example", "A", "192.0.2.1"},
    {"_dmarc.badnp.example", "TXT", "v=DMARC1; p=reject; np=never"},
    {"_dmarc.testing.example", "TXT", "v=DMARC1; p=reject; t=y"},
    {"_dmarc.two.example", "TXT", "v=DMARC1; p=reject"},
    {"_dmarc.two.example", "TXT", "v=DMARC1; p=none"},
    {"_dmarc.nop.example", "TXT", "v=DMARC1; rua=mailto:x@nop.example"},
    {"_dmarc.example.com", "TXT", "v=DMARC1; p=reject"},
    {"_dmarc.mail.example.com", "TXT", "v=DMARC1; p=quarantine"},
    {"_dmarc.own.example.com", "TXT", "v=DMARC1; p=none; psd=n"},
    {"_dmarc.gov.test", "TXT", "v=DMARC1; p=reject; psd=y"},
};

/* As a suffix list with "example", "com" and "gov.test" has it. */
static struct slice org_of(void *arg, struct arena *arena, struct slice domain)
{
	unsigned labels = slice_ends(domain, SLICE(".gov.test")) ? 3 : 2;

	(void)arg;
	(void)arena;
	for (;;) {
		unsigned dots = 0;
		for (uint32_t i = 0; i < domain.len; i++)
			dots += domain.ptr[i] == '.';
		if (dots < labels)
			return domain;
		domain = slice_from(domain, (size_t)slice_find(domain, '.') + 1);
	}
}

static void test_suffix_list(void **state)
{
	static const struct dmarc_case legacy[] = {
	    {"relaxed", "reject.example", "mail.reject.example", "", "accept", "reject.example", "s"},
	    {"sp", "there.sub.example", "", "", "quarantine", "sub.example", ""},
	    {"np is not of RFC 7489", "nosuch.sub.example", "", "", "quarantine", "sub.example", ""},
	    {"nor can it be wrong", "badnp.example", "", "", "reject", "badnp.example", ""},
	    {"nor is t", "testing.example", "", "", "reject", "testing.example", ""},
	    {"from the list, not up the tree", "a.mail.example.com", "", "", "reject", "example.com", ""},
	    {"nor is psd", "own.example.com", "example.com", "", "accept", "own.example.com", "s"},
	    {"rua without p", "nop.example", "", "", "none", "nop.example", ""},
	    {"two records", "two.example", "", "", "norecord", "", ""},
	    {"a registry is not asked", "x.org.gov.test", "", "", "norecord", "", ""},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(legacy); i++) {
		struct dmarc_world w;

		dmarc_world_init(&w, zone_rows, ARRAY_COUNT(zone_rows));
		w.org = org_of;
		dmarc_case_run(&w, &legacy[i]);
		arena_done(&w.arena);
	}
}

/* CVE-2019-16378 and its kin: the strictest of all that fail, whatever stands first. */
static void test_several(void **state)
{
	static const struct dmarc_case rows[] = {
	    {"the second", "none.example reject.example", "none.example", "", "reject", "reject.example", ""},
	    {"the first", "reject.example none.example", "none.example", "", "reject", "reject.example", ""},
	    {"both pass", "reject.example none.example", "reject.example", "none.example", "accept",
	     "reject.example", "s"},
	    {"no one", "", "reject.example", "", "nofrom", "", ""},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct dmarc_world w;

		dmarc_world_init(&w, zone_rows, ARRAY_COUNT(zone_rows));
		dmarc_case_run(&w, &rows[i]);
		arena_done(&w.arena);
	}
}

static void test_records(void **state)
{
	static const struct {
		const char *text;
		bool good;
		char p, sp, adkim, psd;
		unsigned fo;
	} records[] = {
	    {"v=DMARC1; p=none", true, 'n', 0, 'r', 'u', 0},
	    {"v=DMARC1;p=reject;", true, 'r', 0, 'r', 'u', 0},
	    {"v = DMARC1 ; p = quarantine ; sp=NONE", true, 'q', 'n', 'r', 'u', 0},
	    {"v=DMARC1", true, 'n', 0, 'r', 'u', 0},
	    {"v=DMARC1;;;p=reject;=;x;adkim=S;psd=y;fo=1:d:s:x", true, 'r', 0, 's', 'y', 7},
	    {"v=DMARC1; p=reject; p=none", true, 'r', 0, 'r', 'u', 0},
	    {"v=DMARC1; p=reject; adkim=x; psd=zz; fo=", true, 'r', 0, 'r', 'u', 0},
	    {"v=DMARC1; p=reject; adkim=s; adkim=r; psd=n; psd=y; fo=1; fo=0", true, 'r', 0, 's', 'n', 1},
	    {"v=DMARC1; p=reject; fo=0:1:d", true, 'r', 0, 'r', 'u', 0},
	    {"v=DMARC1; p=reject; fo=0:d", true, 'r', 0, 'r', 'u', 2},
	    {"v=dmarc1; p=reject", false, 0, 0, 0, 0, 0},
	    {"v=DMARC10; p=reject", false, 0, 0, 0, 0, 0},
	    {" v=DMARC1; p=reject", false, 0, 0, 0, 0, 0},
	    {"p=reject; v=DMARC1", false, 0, 0, 0, 0, 0},
	    {"v=DMARC1 p=reject", false, 0, 0, 0, 0, 0},
	    {"", false, 0, 0, 0, 0, 0},
	    {";", false, 0, 0, 0, 0, 0},
	    {"v", false, 0, 0, 0, 0, 0},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(records); i++) {
		struct dmarc_record r;

		if (dmarc_record_parse(slice_of(records[i].text), false, &r) != records[i].good)
			fail_msg("%s", records[i].text);
		if (!records[i].good)
			continue;
		if (r.p != records[i].p || r.sp != records[i].sp || r.adkim != records[i].adkim ||
		    r.psd != records[i].psd || r.fo != records[i].fo)
			fail_msg("%s: %c %d %c %c %u", records[i].text, r.p, r.sp, r.adkim, r.psd, r.fo);
	}
}

static void test_uris(void **state)
{
	struct arena arena;
	struct slice rest = SLICE(
	    "https://x.example/, mailto:a@b.example!10m , MAILTO:c%2Bd@e.example?subject=x,mailto:nodomain,mailto:,mailto:a%0D%0AX:b@c.example,mailto:a%20b@c.example,"
	    "mailto:@a@b.example,mailto:a@b@c.example,mailto:a%00@c.example,mailto:%3Ca@c.example%3E,mailto:a@,mailto:%22a%22@c.example,"
	    "mailto:\xc3\xbc@c.example,mailto:a@c.example%2Cd@e.example");
	struct slice address;

	(void)state;
	arena_init(&arena, 0);
	assert_true(dmarc_uri_next(&arena, &rest, &address));
	assert_true(slice_eq(address, SLICE("a@b.example")));
	assert_true(dmarc_uri_next(&arena, &rest, &address));
	assert_true(slice_eq(address, SLICE("c+d@e.example")));
	assert_false(dmarc_uri_next(&arena, &rest, &address));
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_suffix_list),
	    cmocka_unit_test(test_several),
	    cmocka_unit_test(test_records),
	    cmocka_unit_test(test_uris),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
