/* What is remembered for aggregate reports: rows there and back, buckets that are full, damaged or foreign, keys, and the XML that comes
 * of them, hostile names included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "mailauth/dmarc_aggregate.h"

static char value[2][HINTS_VALUE_MAX];

static struct dmarc_published usual(void)
{
	return (struct dmarc_published){.p = 'r', .adkim = 'r', .aspf = 's', .rua = SLICE("mailto:a@b.test")};
}

static struct dmarc_row row_of(const char *ip, uint64_t count)
{
	return (struct dmarc_row){.count = count,
				  .ip = slice_of(ip),
				  .disposition = 'p',
				  .dkim = true,
				  .from = SLICE("www.b.test"),
				  .mail_from = SLICE_EMPTY,
				  .spf_result = {.domain = SLICE("h.test"),
						 .selector = SLICE_EMPTY,
						 .result = SLICE("softfail"),
						 .problem = SLICE("it said so")}};
}

static struct slice addition(struct arena *arena, const struct dmarc_published *published,
			     const struct dmarc_row *row)
{
	struct str out = str_make(arena);

	dmarc_published_write(&out, published);
	str_addc(&out, '\n');
	dmarc_row_write(&out, row);
	str_addc(&out, '\n');
	return str_slice(&out);
}

static void test_there_and_back(void **state)
{
	struct dmarc_published published = usual();
	struct dmarc_row row = row_of("2001:db8::1", 7), back;
	struct dmarc_bucket bucket;
	struct arena arena;
	ptrdiff_t len;

	(void)state;
	arena_init(&arena, 0);
	published.psl = true;
	published.sp = 'n';
	published.testing = true;
	published.fo = 5;
	row.reasons[0] = (struct dmarc_reason){SLICE("policy_test_mode"), SLICE_EMPTY};
	row.reasons[1] = (struct dmarc_reason){SLICE("local_policy"), SLICE("arc=pass as[1].d=x")};
	row.reason_count = 2;
	row.dkim_results[0] =
	    (struct dmarc_row_result){SLICE("b.test"), SLICE("s"), SLICE("pass"), SLICE_EMPTY};
	row.dkim_results[1] =
	    (struct dmarc_row_result){SLICE("c.test"), SLICE_EMPTY, SLICE("fail"), SLICE("bad\tbody\n\x80")};
	row.dkim_count = 2;
	len =
	    dmarc_bucket_merge((struct slice){NULL, 0, CLEAN}, addition(&arena, &published, &row), value[0]);
	assert_true(len > 0);
	assert_true(dmarc_bucket_read(slice_make(value[0], (size_t)len, TAINTED), &bucket));
	assert_int_equal(bucket.lost, 0);
	assert_true(bucket.published.psl && bucket.published.testing);
	assert_int_equal(bucket.published.p, 'r');
	assert_int_equal(bucket.published.sp, 'n');
	assert_int_equal(bucket.published.np, 0);
	assert_int_equal(bucket.published.aspf, 's');
	assert_int_equal(bucket.published.fo, 5);
	assert_true(slice_eq(bucket.published.rua, SLICE("mailto:a@b.test")));
	assert_true(dmarc_bucket_next(&bucket, &back));
	assert_int_equal(back.count, 7);
	assert_true(slice_eq(back.ip, row.ip) && back.disposition == 'p' && back.dkim && !back.spf);
	assert_int_equal(back.reason_count, 2);
	assert_int_equal(back.reasons[0].comment.len, 0);
	assert_true(slice_eq(back.reasons[1].comment, row.reasons[1].comment));
	assert_true(slice_eq(back.from, row.from) && !back.mail_from.len);
	assert_true(slice_eq(back.spf_result.problem, row.spf_result.problem));
	assert_int_equal(back.dkim_count, 2);
	assert_true(slice_eq(back.dkim_results[0].selector, SLICE("s")));
	assert_true(slice_eq(back.dkim_results[1].problem, SLICE("bad?body??")));
	assert_false(dmarc_bucket_next(&bucket, &back));
	arena_done(&arena);
}

static void test_counting(void **state)
{
	struct dmarc_published published = usual();
	struct slice now = {NULL, 0, CLEAN};
	uint64_t counted = 0, all = 0;
	struct dmarc_bucket bucket;
	struct dmarc_row row;
	struct arena arena;
	unsigned rows = 0;

	(void)state;
	arena_init(&arena, 0);
	/* More different ones than there is room for, each three times. */
	for (unsigned i = 0; i < 900; i++) {
		char ip[20];
		ptrdiff_t len;

		snprintf(ip, sizeof(ip), "10.0.%u.%u", i / 3 / 256, i / 3 % 256);
		row = row_of(ip, 1 + i % 3);
		all += row.count;
		len = dmarc_bucket_merge(now, addition(&arena, &published, &row), value[i % 2]);
		assert_true(len > 0 && len <= DMARC_BUCKET_MAX);
		now = slice_make(value[i % 2], (size_t)len, TAINTED);
	}
	assert_true(dmarc_bucket_read(now, &bucket));
	assert_true(bucket.lost > 0);
	while (dmarc_bucket_next(&bucket, &row)) {
		assert_int_equal(row.count, 6);
		counted += row.count;
		rows++;
	}
	assert_true(rows > 100 && rows < 300);
	assert_int_equal(counted + bucket.lost, all);
	/* A count ends at its limit. */
	row = row_of("1.1.1.1", 9999999998u);
	now.ptr = NULL;
	for (unsigned i = 0; i < 3; i++) {
		ptrdiff_t len = dmarc_bucket_merge(now, addition(&arena, &published, &row), value[i % 2]);
		now = slice_make(value[i % 2], (size_t)len, TAINTED);
	}
	assert_true(dmarc_bucket_read(now, &bucket) && dmarc_bucket_next(&bucket, &row));
	assert_true(row.count == 9999999999u);
	arena_done(&arena);
}

static void test_damaged(void **state)
{
	static const char *const bad_values[] = {
	    "",
	    "\n",
	    "1\t0\n",
	    "1\t0000000000",
	    "2\t0000000000\nt\tr\t-\t-\tr\tr\t0\tn\tx\n",
	    "1\t000000000x\nt\tr\t-\t-\tr\tr\t0\tn\tx\n",
	    "1\t0000000000\n",
	    "1\t0000000000\nt\tx\t-\t-\tr\tr\t0\tn\tx\n",
	    "1\t0000000000\nt\t-\t-\t-\tr\tr\t0\tn\tx\n",
	    "1\t0000000000\nt\tr\t-\t-\tr\tr\t8\tn\tx\n",
	    "1\t0000000000\nt\tr\t-\t-\tr\tr\t0\tn\n",
	};
	static const char *const bad_rows[] = {
	    "",
	    "x",
	    "0000000000\t1.1.1.1\tp\ty\ty\t\ta\tb\t",
	    "0000000001\t\tp\ty\ty\t\ta\tb\t",
	    "0000000001\t1.1.1.1\tx\ty\ty\t\ta\tb\t",
	    "0000000001\t1.1.1.1\tp\tx\ty\t\ta\tb\t",
	    "0000000001\t1.1.1.1\tp\ty\ty\t\t\tb\t",
	    "0000000001\t1.1.1.1\tp\ty\ty\t\ta\tb",
	    "0000000001\t1.1.1.1\tp\ty\ty\tlocal\ta\tb\t",
	    "0000000001\t1.1.1.1\tp\ty\ty\t\ta\tb\tspf",
	    "0000000001\t1.1.1.1\tp\ty\ty\t\ta\tb\t\tdkim",
	    "-000000001\t1.1.1.1\tp\ty\ty\t\ta\tb\t",
	};
	struct dmarc_published published = usual();
	struct dmarc_row row = row_of("1.1.1.1", 1);
	struct dmarc_bucket bucket;
	struct arena arena;
	ptrdiff_t len;

	(void)state;
	arena_init(&arena, 0);
	for (unsigned i = 0; i < ARRAY_COUNT(bad_values); i++) {
		if (dmarc_bucket_read(slice_of(bad_values[i]), &bucket))
			fail_msg("%s", bad_values[i]);
		/* is begun anew */
		len =
		    dmarc_bucket_merge(slice_of(bad_values[i]), addition(&arena, &published, &row), value[0]);
		assert_true(len > 0 &&
			    dmarc_bucket_read(slice_make(value[0], (size_t)len, TAINTED), &bucket));
	}
	for (unsigned i = 0; i < ARRAY_COUNT(bad_rows); i++) {
		struct slice text = arena_printf(&arena, "1\t0000000000\nt\tr\t-\t-\tr\tr\t0\tn\tx\n%s\n%s",
						 bad_rows[i], "0000000001\t1.1.1.1\tp\ty\ty\t\ta\tb\t\n");
		assert_true(dmarc_bucket_read(text, &bucket));
		if (!dmarc_bucket_next(&bucket, &row) || row.spf_result.domain.len ||
		    dmarc_bucket_next(&bucket, &row))
			fail_msg("%s", bad_rows[i]);
	}
	assert_int_equal(dmarc_bucket_merge((struct slice){NULL, 0, CLEAN}, SLICE("x"), value[0]), -1);
	assert_int_equal(dmarc_bucket_merge((struct slice){NULL, 0, CLEAN}, SLICE("x\ny\n"), value[0]), -1);
	arena_done(&arena);
}

static void test_keys(void **state)
{
	static const char *const bad[] = {"",
					  "020778",
					  "020778 a.test 0123abcd",
					  "20778 a.test 0123abcd 00",
					  "020778  0123abcd 00",
					  "020778 a.test 0123abc 00",
					  "020778 a.test 0123abcx 00",
					  "020778 a.test 0123abcd 0",
					  "020778 a.test 0123abcd 00 "};
	struct dmarc_key key = {.day = 20778, .domain = SLICE("a.test"), .policy = 0x123abcd, .bucket = 63},
			 back;
	struct arena arena;
	struct slice text;

	(void)state;
	arena_init(&arena, 0);
	text = dmarc_key_write(&arena, &key);
	assert_true(slice_eq(text, SLICE("020778 a.test 0123abcd 3f")));
	assert_true(dmarc_key_read(text, &back));
	assert_true(back.day == 20778 && slice_eq(back.domain, key.domain) && back.policy == key.policy &&
		    back.bucket == 63);
	for (unsigned i = 0; i < ARRAY_COUNT(bad); i++)
		if (dmarc_key_read(slice_of(bad[i]), &back))
			fail_msg("%s", bad[i]);
	arena_done(&arena);
}

/* RFC 9990, section 3.1.1; what strangers chose ends no element. */
static void test_xml(void **state)
{
	static const char wanted[] =
	    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n  <version>1.0</version>\n"
	    "  <report_metadata>\n    <org_name>A &amp; B &lt;C&gt;</org_name>\n    <email>d@r.test</email>\n    <report_id>0123</report_id>\n"
	    "    <date_range>\n      <begin>86400</begin>\n      <end>172799</end>\n    </date_range>\n"
	    "    <error>3 more messages were too many different ones to be told of</error>\n    <generator>sluice " SLUICE_VERSION
	    "</generator>\n"
	    "  </report_metadata>\n  <policy_published>\n    <domain>b.test</domain>\n    <discovery_method>treewalk</discovery_method>\n    <p>reject</p>\n"
	    "    <np>quarantine</np>\n    <fo>1:s</fo>\n    <adkim>r</adkim>\n    <aspf>s</aspf>\n    <testing>n</testing>\n  </policy_published>\n"
	    "  <record>\n    <row>\n      <source_ip>192.0.2.1</source_ip>\n      <count>2</count>\n      <policy_evaluated>\n"
	    "        <disposition>none</disposition>\n        <dkim>fail</dkim>\n        <spf>pass</spf>\n        <reason>\n"
	    "          <type>local_policy</type>\n          <comment>a&lt;b</comment>\n        </reason>\n      </policy_evaluated>\n    </row>\n"
	    "    <identifiers>\n      <header_from>&lt;/header_from&gt;.b.test</header_from>\n      <envelope_from>]]&gt;&amp;lt;</envelope_from>\n"
	    "    </identifiers>\n    <auth_results>\n      <dkim>\n        <domain>x\"'.test</domain>\n        <selector>s??1</selector>\n"
	    "        <result>fail</result>\n        <human_result>the body hash is another</human_result>\n      </dkim>\n      <spf>\n"
	    "        <domain>b.test</domain>\n        <scope>mfrom</scope>\n        <result>pass</result>\n      </spf>\n    </auth_results>\n"
	    "  </record>\n</feedback>\n";
	struct dmarc_reporter reporter = {.from = SLICE("d@r.test"),
					  .organization = SLICE("A & B <C>"),
					  .contact = SLICE("d@r.test"),
					  .extra = SLICE_EMPTY};
	struct dmarc_published published = usual();
	struct dmarc_row row = row_of("192.0.2.1", 2);
	struct slice buckets[2], xml;
	struct dmarc_gathered g = {.domain = SLICE("b.test"),
				   .id = SLICE("0123"),
				   .begin = 86400,
				   .end = 172799,
				   .buckets = buckets,
				   .bucket_count = 2};
	struct arena arena;
	uint64_t messages;
	unsigned rows;
	ptrdiff_t len;

	(void)state;
	arena_init(&arena, 0);
	published.np = 'q';
	published.fo = DMARC_FO_ANY | DMARC_FO_SPF;
	row.disposition = 'n';
	row.dkim = false;
	row.spf = true;
	row.reasons[0] = (struct dmarc_reason){SLICE("local_policy"), SLICE("a<b")};
	row.reason_count = 1;
	row.from = SLICE("</header_from>.b.test");
	row.mail_from = SLICE("]]>&lt;");
	row.spf_result = (struct dmarc_row_result){SLICE("b.test"), SLICE_EMPTY, SLICE("pass"), SLICE_EMPTY};
	row.dkim_results[0] = (struct dmarc_row_result){SLICE("x\"'.test"),
							SLICE("s\x01\xff"
							      "1"),
							SLICE("fail"), SLICE("the body hash is another")};
	row.dkim_count = 1;
	len =
	    dmarc_bucket_merge((struct slice){NULL, 0, CLEAN}, addition(&arena, &published, &row), value[0]);
	memcpy(value[0] + 2, "0000000003", 10);
	buckets[0] = SLICE("damaged");
	buckets[1] = slice_make(value[0], (size_t)len, TAINTED);
	xml = dmarc_xml(&arena, &reporter, &g, &messages, &rows);
	assert_true(xml.ptr != NULL);
	assert_string_equal(arena_cstr(&arena, xml), wanted);
	assert_int_equal(messages, 2);
	assert_int_equal(rows, 1);
	g.bucket_count = 1;
	assert_null(dmarc_xml(&arena, &reporter, &g, &messages, &rows).ptr);
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_there_and_back),
	    cmocka_unit_test(test_counting),
	    cmocka_unit_test(test_damaged),
	    cmocka_unit_test(test_keys),
	    cmocka_unit_test(test_xml),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
