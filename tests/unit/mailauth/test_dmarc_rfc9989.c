/* RFC 9989 section by section: what each says of records, the walk up the tree, alignment and policies, as cases over a table of
 * records; RFC 9990, section 4, on destinations. Written from the text of the RFCs of May 2026, whose section numbers these are.
 * They contradict themselves once: of a record without any p= and rua= section 4.7 says "none", section 4.10.1 that DMARC is
 * not applied. Here it is none, so that sp= and np= beside it count; nothing is asked to be done to a message in either case. */
#include "dmarc_case.h"

static const struct zone_row zone_rows[] = {
    /* 4.10.2: its examples, under names of their own */
    {"_dmarc.mail.one.com", "TXT", "v=DMARC1; p=quarantine"},
    {"_dmarc.one.com", "TXT", "v=DMARC1; p=reject"},
    {"_dmarc.mail.two.com", "TXT", "v=DMARC1; p=quarantine; psd=n"},
    {"_dmarc.two.com", "TXT", "v=DMARC1; p=reject"},
    {"_dmarc.registry", "TXT", "v=DMARC1; p=reject; sp=quarantine; np=none; psd=y"},
    {"www.shop.registry", "A", "192.0.2.1"},
    {"_dmarc.member.registry", "TXT", "v=DMARC1; p=none"},
    {"_dmarc.top", "TXT", "v=DMARC1; p=reject; psd=y"},
    {"_dmarc.second.top", "TXT", "v=DMARC1; p=quarantine; psd=y"},
    {"_dmarc.host.below.second.top", "TXT", "v=DMARC1; p=none"},
    /* 4.4.1, 4.4.2 */
    {"_dmarc.relaxed.com", "TXT", "v=DMARC1; p=reject; adkim=r; aspf=r"},
    {"_dmarc.strict.com", "TXT", "v=DMARC1; p=reject; adkim=s; aspf=s"},
    {"_dmarc.strictspf.com", "TXT", "v=DMARC1; p=reject; aspf=s"},
    /* 4.5: strings are joined */
    {"_dmarc.joined.com", "TXT", "v=DMAR|C1; p=rej|ect"},
    /* 4.7: tags */
    {"_dmarc.test.com", "TXT", "v=DMARC1; p=reject; sp=quarantine; np=none; t=y"},
    {"there.test.com", "A", "192.0.2.1"},
    {"_dmarc.testq.com", "TXT", "v=DMARC1; p=quarantine; t=y"},
    {"_dmarc.testn.com", "TXT", "v=DMARC1; p=none; t=y"},
    {"_dmarc.testno.com", "TXT", "v=DMARC1; p=reject; t=n"},
    {"_dmarc.testodd.com", "TXT", "v=DMARC1; p=reject; t=yes"},
    {"_dmarc.nponly.com", "TXT", "v=DMARC1; p=quarantine; np=reject"},
    {"a.nponly.com", "TXT", "anything"},
    {"x.ent.nponly.com", "A", "192.0.2.1"},
    {"trouble.nponly.com", "DEFER-A", ""},
    {"_dmarc.npsp.com", "TXT", "v=DMARC1; p=reject; sp=none; np=quarantine"},
    {"a.npsp.com", "MX", "10 a.npsp.com"},
    {"_dmarc.nosp.com", "TXT", "v=DMARC1; p=reject"},
    {"_dmarc.low.deepsp.com", "TXT", "v=DMARC1; p=quarantine; sp=none; np=none"},
    {"_dmarc.deepsp.com", "TXT", "v=DMARC1; p=reject"},
    {"_dmarc.pct.com", "TXT", "v=DMARC1; p=reject; pct=0; rf=afrf; ri=1"},
    {"_dmarc.unknown.com", "TXT", "v=DMARC1; x-new=what; p=reject; another=one"},
    {"_dmarc.order.com", "TXT", "v=DMARC1; rua=mailto:a@order.com; p=reject"},
    /* 4.7, v: first, exact; else the record is ignored */
    {"_dmarc.vlate.com", "TXT", "p=reject; v=DMARC1"},
    {"_dmarc.vlower.com", "TXT", "v=dmarc1; p=reject"},
    {"_dmarc.vother.com", "TXT", "v=DMARC2; p=reject"},
    {"_dmarc.vnone.com", "TXT", "p=reject"},
    /* 4.8: what cannot be read is as if it were not given */
    {"_dmarc.broken.com", "TXT", "v=DMARC1; p=reject; adkim=strict; aspf=; psd=maybe; fo=9; =; ;;"},
    {"_dmarc.twice.com", "TXT", "v=DMARC1; p=quarantine; p=reject"},
    {"_dmarc.case.com", "TXT", "v=DMARC1; P=REJECT"},
    {"_dmarc.spaces.com", "TXT", "v = DMARC1 ;  p  =  reject ; "},
    /* 4.10 step 2: several are none */
    {"_dmarc.several.com", "TXT", "v=DMARC1; p=reject"},
    {"_dmarc.several.com", "TXT", "v=DMARC1; p=reject"},
    {"_dmarc.low.several2.com", "TXT", "v=DMARC1; p=none"},
    {"_dmarc.low.several2.com", "TXT", "v=DMARC1; p=none"},
    {"_dmarc.several2.com", "TXT", "v=DMARC1; p=reject"},
    {"_dmarc.mixed.com", "TXT", "v=spf1 -all"},
    {"_dmarc.mixed.com", "TXT", "v=DMARC1; p=reject"},
    /* 4.10.1: p, sp or np that cannot be read */
    {"_dmarc.nop.com", "TXT", "v=DMARC1; adkim=s"},
    {"_dmarc.nopsp.com", "TXT", "v=DMARC1; sp=reject"},
    {"www.nopsp.com", "A", "192.0.2.1"},
    {"_dmarc.badp.com", "TXT", "v=DMARC1; p=rejekt"},
    {"_dmarc.badprua.com", "TXT", "v=DMARC1; p=rejekt; rua=mailto:a@badprua.com"},
    {"_dmarc.badpbadrua.com", "TXT", "v=DMARC1; p=rejekt; rua=nothing"},
    {"_dmarc.badsp.com", "TXT", "v=DMARC1; p=reject; sp=sometimes"},
    {"_dmarc.badsprua.com", "TXT", "v=DMARC1; p=reject; sp=sometimes; rua=mailto:a@badsprua.com"},
    {"_dmarc.badnp.com", "TXT", "v=DMARC1; p=reject; np=nope"},
    /* 4.10: at most eight questions; this is under the names that are asked, and one above that is not */
    {"_dmarc.g.h.i.j.mail.long.com", "TXT", "v=DMARC1; p=quarantine"},
    {"_dmarc.f.g.h.i.j.mail.skipped.com", "TXT", "v=DMARC1; p=reject"},
    {"_dmarc.b.c.d.e.f.eight.com", "TXT", "v=DMARC1; p=quarantine"},
    /* 5.1.8: its example, a record that is never asked for */
    {"_dmarc.apex.com", "TXT", "v=DMARC1; p=quarantine"},
    {"_dmarc.b.c.d.e.f.g.apex.com", "TXT", "v=DMARC1; p=reject; psd=n"},
    {"_dmarc.c.d.e.f.g.apex.com", "TXT", "v=spf1 -all"},
    /* 4.8: a value may have an equals sign, a tag no digit; exclamation marks, sizes */
    {"_dmarc.equals.com", "TXT", "v=DMARC1; x=y=z; p=reject"},
    {"_dmarc.sized.com", "TXT", "v=DMARC1; p=rejekt; rua=mailto:a@sized.com!10m"},
    {"_dmarc.control.com", "TXT",
     "v=DMARC1; p=rej\x01"
     "ect"},
    /* 5.3.6 */
    {"_dmarc.trouble.com", "DEFER", ""},
    {"_dmarc.sub.trouble.com", "TXT", "v=DMARC1; p=reject"},
};

static const struct dmarc_case sections[] = {
    {"4.4 strict alignment", "news.relaxed.com", "news.relaxed.com", "", "accept", "relaxed.com", "s"},
    {"4.4 relaxed alignment", "news.relaxed.com", "foo.relaxed.com", "", "accept", "relaxed.com", "s"},
    {"4.4 none", "news.relaxed.com", "foo.relaxed.net", "foo.example.net", "reject", "relaxed.com", ""},
    {"4.4 names are compared without case", "relaxed.com", "Mail.RELAXED.com", "RELAXED.COM", "accept",
     "relaxed.com", "sd"},
    {"4.4.1 adkim=s", "strict.com", "", "news.strict.com", "reject", "strict.com", ""},
    {"4.4.1 adkim=s", "strict.com", "", "strict.com", "accept", "strict.com", "d"},
    {"4.4.1 d= may be above From", "news.relaxed.com", "", "relaxed.com", "accept", "relaxed.com", "d"},
    {"4.4.1 but not the registry", "relaxed.com", "", "com", "reject", "relaxed.com", ""},
    {"4.4.2 aspf=s", "strict.com", "news.strict.com", "", "reject", "strict.com", ""},
    {"4.4.2 each has its own mode", "strictspf.com", "a.strictspf.com", "a.strictspf.com", "accept",
     "strictspf.com", "d"},
    {"4.5 strings are joined", "joined.com", "", "", "reject", "joined.com", ""},
    {"4.7 np: absent, sp absent: p", "a.nosp.com", "", "", "reject", "nosp.com", ""},
    {"4.7 np: the name does not exist", "x.nponly.com", "", "", "reject", "nponly.com", ""},
    {"3.2.13 a name with any record exists", "a.nponly.com", "", "", "quarantine", "nponly.com", ""},
    {"3.2.13 a name with names below exists", "ent.nponly.com", "", "", "quarantine", "nponly.com", ""},
    {"5.3.6 it cannot be known whether it exists", "trouble.nponly.com", "", "", "temperror", "nponly.com",
     ""},
    {"5.3.6 nor does it matter", "trouble.nponly.com", "nponly.com", "", "accept", "nponly.com", "s"},
    {"4.7 np: not for the domain itself", "nponly.com", "", "", "quarantine", "nponly.com", ""},
    {"4.7 sp: the name exists", "a.npsp.com", "", "", "none", "npsp.com", ""},
    {"4.7 np: before sp", "x.npsp.com", "", "", "quarantine", "npsp.com", ""},
    {"4.7 sp, np: only of the organisational domain", "low.deepsp.com", "", "", "quarantine",
     "low.deepsp.com", ""},
    {"4.7 sp, np: only of the organisational domain", "x.low.deepsp.com", "", "", "reject", "deepsp.com", ""},
    {"4.7 t=y: one step less than reject", "test.com", "", "", "quarantine", "test.com", ""},
    {"4.7 t=y: than quarantine", "testq.com", "", "", "none", "testq.com", ""},
    {"4.7 t=y: of sp, too", "there.test.com", "", "", "none", "test.com", ""},
    {"4.7 t=y: none is none", "testn.com", "", "", "none", "testn.com", ""},
    {"4.7 t=n", "testno.com", "", "", "reject", "testno.com", ""},
    {"4.8 t=yes is no value", "testodd.com", "", "", "reject", "testodd.com", ""},
    {"A.6 pct is gone", "pct.com", "", "", "reject", "pct.com", ""},
    {"4.7 unknown tags", "unknown.com", "", "", "reject", "unknown.com", ""},
    {"4.8 p may stand anywhere", "order.com", "", "", "reject", "order.com", ""},
    {"4.7 v not first", "vlate.com", "", "", "norecord", "", ""},
    {"4.7 v has a case", "vlower.com", "", "", "norecord", "", ""},
    {"4.7 another version", "vother.com", "", "", "norecord", "", ""},
    {"4.7 no version", "vnone.com", "", "", "norecord", "", ""},
    {"4.8 mistakes are as if not given", "broken.com", "a.broken.com", "a.broken.com", "accept", "broken.com",
     "sd"},
    {"4.8 the second p is a mistake", "twice.com", "", "", "quarantine", "twice.com", ""},
    {"4.8 ABNF strings have no case", "case.com", "", "", "reject", "case.com", ""},
    {"4.8 white space", "spaces.com", "", "", "reject", "spaces.com", ""},
    {"4.10 step 2: several are none", "several.com", "", "", "norecord", "", ""},
    {"4.10 step 6: and the walk goes on", "low.several2.com", "", "", "reject", "several2.com", ""},
    {"4.10 step 2: other texts are no records", "mixed.com", "", "", "reject", "mixed.com", ""},
    {"4.10 step 4: the great step", "a.b.c.d.e.f.g.h.i.j.mail.long.com", "", "", "quarantine",
     "g.h.i.j.mail.long.com", ""},
    {"4.10 step 4: over the names between", "a.b.c.d.e.f.g.h.i.j.mail.skipped.com", "", "", "norecord", "",
     ""},
    {"4.10 step 4: eight labels go one by one", "a.b.c.d.e.f.eight.com", "", "", "quarantine",
     "b.c.d.e.f.eight.com", ""},
    {"4.10.1 without p and rua: 4.7 says none", "nop.com", "", "", "none", "nop.com", ""},
    {"4.7 sp without p", "www.nopsp.com", "", "", "reject", "nopsp.com", ""},
    {"4.10.1 p is no request, nobody to tell", "badp.com", "", "", "norecord", "", ""},
    {"4.10.1 p is no request, rua", "badprua.com", "", "", "none", "badprua.com", ""},
    {"4.10.1 rua that is no URI", "badpbadrua.com", "", "", "norecord", "", ""},
    {"4.10.1 sp is no request", "badsp.com", "", "", "norecord", "", ""},
    {"4.10.1 sp is no request, rua: p is none, too", "badsprua.com", "", "", "none", "badsprua.com", ""},
    {"4.10.1 np is no request", "badnp.com", "", "", "norecord", "", ""},
    {"4.10.1 the author's record goes first", "mail.one.com", "", "", "quarantine", "mail.one.com", ""},
    {"4.10.1 then the organisation's", "a.mail.one.com", "", "", "reject", "one.com", ""},
    {"4.10.1 then the registry's", "www.shop.registry", "", "", "quarantine", "registry", ""},
    {"4.10.1 names that do not exist", "x.registry", "", "", "none", "registry", ""},
    {"4.10.1 not where the organisation has one", "x.member.registry", "", "", "none", "member.registry", ""},
    {"4.10.2 example 1", "a.mail.one.com", "b.one.com", "", "accept", "one.com", "s"},
    {"4.10.2 example 2: psd=n", "a.mail.two.com", "mail.two.com", "", "accept", "mail.two.com", "s"},
    {"4.10.2 example 2: above is others", "a.mail.two.com", "two.com", "b.two.com", "quarantine",
     "mail.two.com", ""},
    {"4.10.2 example 3: psd=y, one label below", "a.shop.registry", "b.shop.registry", "", "accept",
     "registry", "s"},
    {"4.10.2 neighbours", "a.shop.registry", "b.mart.registry", "registry", "none", "registry", ""},
    {"4.10.2 step 2: psd=y where the walk began", "registry", "registry", "", "accept", "registry", "s"},
    {"4.10.2 step 2: is not above its members", "registry", "shop.registry", "", "reject", "registry", ""},
    {"4.10 step 2: the first psd=y ends the walk", "second.top", "", "", "quarantine", "second.top", ""},
    {"4.10.2 step 2: psd=y within psd=y", "host.below.second.top", "x.below.second.top", "", "accept",
     "host.below.second.top", "s"},
    {"4.10.2 step 2: psd=y within psd=y", "host.below.second.top", "x.other.second.top", "", "none",
     "host.below.second.top", ""},
    {"4.10.2 the names are the same, there is a record", "mail.one.com", "mail.one.com", "", "accept",
     "mail.one.com", "s"},
    {"5.3.6 the policy cannot be had", "trouble.com", "trouble.com", "", "temperror", "", ""},
    {"5.3.6 nor whether there is more above", "sub.trouble.com", "", "", "temperror", "", ""},
    {"5.3.6 a key could not be had", "relaxed.com", "", "!a.relaxed.com", "temperror", "relaxed.com", ""},
    {"5.3.6 SPF could not be checked", "relaxed.com", "!relaxed.com", "", "temperror", "relaxed.com", ""},
    {"5.3.6 of others it does not matter", "relaxed.com", "!other.com", "!x.other.com", "reject",
     "relaxed.com", ""},
    {"5.3.6 strictly others", "strict.com", "!a.strict.com", "!a.strict.com", "reject", "strict.com", ""},
    {"5.3.6 one pass is enough", "relaxed.com", "!relaxed.com", "relaxed.com", "accept", "relaxed.com", "d"},
    {"5.1.8 eight labels and more: not where it is cut", "mail.a.b.c.d.e.f.g.apex.com", "", "", "quarantine",
     "apex.com", ""},
    {"5.1.8 its own it has, and is apart from the apex", "b.c.d.e.f.g.apex.com", "", "apex.com", "reject",
     "b.c.d.e.f.g.apex.com", ""},
    {"4.8 an equals sign in a value", "equals.com", "", "", "reject", "equals.com", ""},
    {"4.8 the size of old is passed over", "sized.com", "", "", "none", "sized.com", ""},
    {"4.8 what cannot be printed is no request", "control.com", "", "", "norecord", "", ""},
    {"5.3.1 no author", "", "relaxed.com", "", "nofrom", "", ""},
    {"5.3.1, 11.5 several: the strictest", "testn.com relaxed.com", "testn.com", "", "reject", "relaxed.com",
     ""},
    {"5.3.2 no record, no DMARC", "nowhere.com", "nowhere.com", "nowhere.com", "norecord", "", ""},
};

static void test_sections(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(sections); i++) {
		struct dmarc_world w;

		dmarc_world_init(&w, zone_rows, ARRAY_COUNT(zone_rows));
		dmarc_case_run(&w, &sections[i]);
		arena_done(&w.arena);
	}
}

/* Section 4.10: eight questions a walk, whatever the name is; one for a name that may not exist. */
static void test_questions(void **state)
{
	static const struct {
		const char *from;
		unsigned questions;
	} rows[] = {
	    {"com", 1},
	    {"nowhere.com", 2},
	    {"b.c.d.e.f.nowhere.com", 7},
	    {"a.b.c.d.e.f.nowhere.com", 8},
	    {"z.a.b.c.d.e.f.nowhere.com", 8},
	    {"1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22.23.24.25.26.27.28.29.30.nowhere.com",
	     8},
	    {"x.nponly.com", 4},
	    {"x.nosp.com", 3},
	    {"a.mail.two.com", 2},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		const struct dmarc_case c = {"", rows[i].from, "", "", "", "", ""};
		struct dmarc_world w;

		dmarc_world_init(&w, zone_rows, ARRAY_COUNT(zone_rows));
		(void)dmarc_case_judge(&w, &c);
		if (w.zone.questions != rows[i].questions)
			fail_msg("%s: %u questions", rows[i].from, w.zone.questions);
		arena_done(&w.arena);
	}
}

/* The names of section 4.10's example, of which each is asked for once and in that order. */
static enum rc note_name(struct task *task, void *arg, struct slice name, enum dns_type type,
			 struct dns_answer *answer_ret, struct err *err)
{
	(void)type;
	*answer_ret = (struct dns_answer){.nxdomain = true};
	str_add(arg, name);
	str_addc(arg, ' ');
	return err_set(err, task->cancelled ? CANCELLED : FAIL, "nothing");
}

static void test_names(void **state)
{
	static const struct dmarc_case c = {"4.10", "a.b.c.d.e.f.g.h.i.j.mail.example.com", "", "", "", "",
					    ""};
	struct dmarc_world w;
	struct str names;

	(void)state;
	dmarc_world_init(&w, NULL, 0);
	names = str_make(&w.arena);
	w.resolver = (struct mailauth_resolver){.query = note_name, .arg = &names};
	assert_true(slice_eq(dmarc_status_word(dmarc_case_judge(&w, &c).status), SLICE("norecord")));
	assert_true(
	    slice_eq(str_slice(&names),
		     SLICE("_dmarc.a.b.c.d.e.f.g.h.i.j.mail.example.com _dmarc.g.h.i.j.mail.example.com "
			   "_dmarc.h.i.j.mail.example.com _dmarc.i.j.mail.example.com "
			   "_dmarc.j.mail.example.com _dmarc.mail.example.com _dmarc.example.com "
			   "_dmarc.com ")));
	arena_done(&w.arena);
}

/* Cancelled at any question it says so, and nothing else. */
static void test_cancelled(void **state)
{
	struct slice from = SLICE("a.shop.registry");
	struct dkim_result signature = {.domain = SLICE("b.shop.registry"), .result = MAILAUTH_TEMPERROR};
	struct dmarc_query query = {.from = &from,
				    .from_count = 1,
				    .spf = MAILAUTH_PASS,
				    .spf_domain = SLICE("c.shop.registry"),
				    .dkim = &signature,
				    .dkim_count = 1};
	unsigned questions = 1;

	(void)state;
	for (unsigned at = 1; at <= questions; at++) {
		struct dmarc_result result;
		struct dmarc_world w;

		dmarc_world_init(&w, zone_rows, ARRAY_COUNT(zone_rows));
		assert_int_equal(dmarc_check(&w.task, &w.resolver, &query, &result), OK);
		questions = w.zone.questions;
		arena_done(&w.arena);
		dmarc_world_init(&w, zone_rows, ARRAY_COUNT(zone_rows));
		w.zone.cancel = &w.task;
		w.zone.cancel_at = at;
		assert_int_equal(dmarc_check(&w.task, &w.resolver, &query, &result), CANCELLED);
		arena_done(&w.arena);
	}
	assert_true(questions >= 6);
}

/* RFC 9990, section 4. */
static void test_destinations(void **state)
{
	static const struct zone_row rows[] = {
	    {"_dmarc.one.com", "TXT", "v=DMARC1; p=reject"},
	    {"_dmarc.registry", "TXT", "v=DMARC1; p=reject; psd=y"},
	    {"blue.com._report._dmarc.red.net", "TXT", "v=DMARC1"},
	    {"blue.com._report._dmarc.bare.net", "TXT", "v=DMARC1;"},
	    {"blue.com._report._dmarc.other.net", "TXT", "anything"},
	    {"blue.com._report._dmarc.late.net", "TXT", "x; v=DMARC1"},
	    {"blue.com._report._dmarc.several.net", "TXT", "v=DMARC1"},
	    {"blue.com._report._dmarc.several.net", "TXT", "v=DMARC1; rua=mailto:new@several.net"},
	    {"blue.com._report._dmarc.moved.net", "TXT",
	     "v=DMARC1; rua=mailto:a@moved.net,mailto:b@MOVED.net!5m"},
	    {"blue.com._report._dmarc.away.net", "TXT",
	     "v=DMARC1; rua=mailto:a@away.net,mailto:b@victim.net"},
	    {"blue.com._report._dmarc.ruf.net", "TXT", "v=DMARC1; ruf=mailto:f@ruf.net"},
	    {"blue.com._report._dmarc.trouble.net", "DEFER", ""},
	};
	static const struct {
		const char *used, *address;
		bool failure;
		enum rc rc;
		const char *instead; /* NULL: as it is */
	} cases[] = {
	    {"blue.com", "a@blue.com", false, OK, NULL},
	    {"blue.com", "a@BLUE.com", false, OK, NULL},
	    {"one.com", "a@reports.one.com", false, OK, NULL},
	    {"www.one.com", "a@reports.one.com", false, OK, NULL},
	    {"shop.registry", "a@reports.shop.registry", false, OK, NULL},
	    {"shop.registry", "a@mart.registry", false, FAIL, NULL},
	    {"registry", "a@shop.registry", false, FAIL, NULL},
	    {"shop.registry", "a@registry", false, FAIL, NULL},
	    {"blue.com", "a@red.net", false, OK, NULL},
	    {"blue.com", "a@RED.net", false, OK, NULL},
	    {"blue.com", "a@bare.net", false, OK, NULL},
	    {"green.com", "a@red.net", false, FAIL, NULL},
	    {"blue.com", "a@other.net", false, FAIL, NULL},
	    {"blue.com", "a@late.net", false, FAIL, NULL},
	    {"blue.com", "a@nowhere.net", false, FAIL, NULL},
	    {"blue.com", "a@several.net", false, OK, "mailto:new@several.net"},
	    {"blue.com", "a@moved.net", false, OK, "mailto:a@moved.net,mailto:b@MOVED.net!5m"},
	    {"blue.com", "a@moved.net", true, OK, NULL},
	    {"blue.com", "a@away.net", false, FAIL, NULL},
	    {"blue.com", "a@ruf.net", true, OK, "mailto:f@ruf.net"},
	    {"blue.com", "a@ruf.net", false, OK, NULL},
	    {"blue.com", "a@trouble.net", false, DEFER, NULL},
	    {"a.very.long.name.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb."
	     "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc.com",
	     "a@red.dddddddddddddddddddddddddddddddddddddddddddddddd.net", false, FAIL, NULL},
	};
	const struct dmarc_query query = {.from = NULL};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
		struct dmarc_world w;
		struct slice instead;
		enum rc rc;

		dmarc_world_init(&w, rows, ARRAY_COUNT(rows));
		rc = dmarc_destination(&w.task, &w.resolver, &query, slice_of(cases[i].used),
				       slice_of(cases[i].address), cases[i].failure, &instead);
		if (rc != cases[i].rc ||
		    (rc == OK &&
		     (cases[i].instead ? !instead.ptr || !slice_eq(instead, slice_of(cases[i].instead))
				       : instead.ptr != NULL)))
			fail_msg("%s to %s: %d %.*s", cases[i].used, cases[i].address, rc,
				 rc == OK && instead.ptr ? (int)instead.len : 0,
				 rc == OK && instead.ptr ? instead.ptr : "");
		arena_done(&w.arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sections),     cmocka_unit_test(test_questions),
	    cmocka_unit_test(test_names),        cmocka_unit_test(test_cancelled),
	    cmocka_unit_test(test_destinations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
