/* The arithmetic of retry rules: which rule, when next, when it is over. Clock and memory are ours. */
#define HARNESS_MATCH
#include "deliver/deliver.h"

#define HARNESS_MORE_VARIABLES &route_variables, &transport_variables, &deliver_variables,
#define HARNESS_MORE_GROUPS    &route_conf_group, &transport_conf_group, &deliver_conf_group,
#define HARNESS_SECTIONS       &route_conf_section, &transport_conf_section, &retry_conf_section,
#include "../lookup/harness.h"

/* One record is all that these tests keep. */
static uint64_t clock_s = 1000000;
static char kept[512];
static uint32_t kept_len;
static char kept_key[256];

static uint64_t wall_for_test(const struct shard *shard)
{
	(void)shard;
	return clock_s * NS_PER_S;
}

static enum rc get_for_test(struct shard *shard, enum hints_db db, struct slice key, struct arena *arena,
			    struct slice *ret, struct err *err)
{
	(void)shard;
	(void)db;
	(void)err;
	if (!kept_len || !slice_eq(key, slice_of(kept_key)))
		return FAIL;
	*ret = arena_copy(arena, slice_make(kept, kept_len, CLEAN));
	return OK;
}

static void put_for_test(struct shard *shard, enum hints_db db, struct slice key, struct slice value)
{
	(void)shard;
	(void)db;
	memcpy(kept, value.ptr, value.len);
	kept_len = value.len;
	snprintf(kept_key, sizeof(kept_key), "%.*s", SLICE_ARG(key));
}

static void delete_for_test(struct shard *shard, enum hints_db db, struct slice key)
{
	(void)shard;
	(void)db;
	(void)key;
	kept_len = 0;
}

#define shard_wall   wall_for_test
#define hints_get    get_for_test
#define hints_put    put_for_test
#define hints_delete delete_for_test
#include "deliver/retry.c"
#include "deliver/retry_rules.c"

#define HOLDS(h, what)                                                                 \
	do {                                                                           \
		if (!(what)) {                                                         \
			print_error("%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
			(h)->wrong++;                                                  \
		}                                                                      \
	} while (0)

#define CONF HARNESS_CONF "retry_interval_max = 1d\nretry_data_expire = 7d\n"

/* ---- Rules that are refused ------------------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
	static const struct {
		const char *rule, *says;
	} rows[] = {
	    {"*", "missing error type"},
	    {"* nonsense F,1h,1m", "unknown or malformed retry error"},
	    {"* rcpt_5xx F,1h,1m", "unknown or malformed retry error"},
	    {"* rcpt_4x2 F,1h,1m", "rcpt_4 must be followed by"},
	    {"* quota_x F,1h,1m", "bad time value"},
	    {"* refused_B F,1h,1m", "A or MX expected"},
	    {"* timeout_B F,1h,1m", "expected after \"timeout\""},
	    {"* * F,1h", "bad parameters"},
	    {"* * F,1h,1m,2", "bad parameters"},
	    {"* * G,1h,1m", "bad parameters"},
	    {"* * G,1h,1m,0.5", "bad parameters"},
	    {"* * H,1h,1m,x", "bad parameters"},
	    {"* * X,1h,1m", "bad parameters"},
	    {"* * F,1x,1m", "bad parameters"},
	    {"* * F,1h,0s", "bad parameters"},
	    {"* * F,1m,1s;F,2m,1s;F,3m,1s;F,4m,1s;F,5m,1s;F,6m,1s;F,7m,1s;F,8m,1s;F,9m,1s;F,10m,1s;F,11m,1s;F,12m,1s;"
	     "F,13m,1s;F,14m,1s;F,15m,1s;F,16m,1s;F,17m,1s",
	     "more than 16 steps"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		char *text = NULL;

		assert_true(asprintf(&text, "%sbegin retry\n%s\n", CONF, rows[i].rule) > 0);
		harness_refused(text, rows[i].says);
		free(text);
	}
}

/* ---- Which rule --------------------------------------------------------------------------------------------------------- */

/* Each rule is known by the interval of its only step. */
#define RULES                                   \
	"begin retry\n"                         \
	"a.test  quota_3d     F,1h,15s\n"       \
	"a.test  quota        F,1h,1s\n"        \
	"a.test  rcpt_45x     F,1h,2s\n"        \
	"a.test  rcpt_421     F,1h,3s\n"        \
	"a.test  rcpt_4xx     F,1h,4s\n"        \
	"a.test  refused_A    F,1h,5s\n"        \
	"a.test  timeout_connect_MX F,1h,12s\n" \
	"a.test  timeout_connect F,1h,13s\n"    \
	"a.test  timeout_A    F,1h,14s\n"       \
	"a.test  timeout      F,1h,6s\n"        \
	"U@b.test *           F,1h,7s\n"        \
	"^\\N^\\*@x+\\.test$\\N * F,1h,16s\n"   \
	"b.test   *  senders=: F,1h,8s\n"       \
	"host.test *          F,1h,9s\n"        \
	"none.test *\n"                         \
	"*.c.test lost_connection F,1h,10s\n"   \
	"!d.test  *           F,1h,11s\n"

static void which_rule(struct harness *h)
{
	static const struct {
		const char *address, *host, *sender;
		int error;
		const char *reply;
		int32_t mx;
		bool connecting;
		int64_t unread_s;
		int64_t interval_s; /* -1: no rule; 0: one without steps */
	} rows[] = {
	    {"x@a.test", "", "s@s.test", RETRY_ERROR_QUOTA, "", 0, false, 0, 1},
	    {"x@a.test", "", "s@s.test", RETRY_ERROR_QUOTA, "", 0, false, 259199, 1},
	    {"x@a.test", "", "s@s.test", RETRY_ERROR_QUOTA, "", 0, false, 259200, 15},
	    {"x@a.test", "", "s@s.test", RETRY_ERROR_RCPT_4XX, "451 later", 0, false, 0, 2},
	    {"x@a.test", "", "s@s.test", RETRY_ERROR_RCPT_4XX, "421 later", 0, false, 0, 3},
	    {"x@a.test", "", "s@s.test", RETRY_ERROR_RCPT_4XX, "432 later", 0, false, 0, 4},
	    {"x@a.test", "", "s@s.test", RETRY_ERROR_RCPT_4XX, "4", 0, false, 0,
	     4}, /* too short for its digits */
	    {"x@a.test", "", "s@s.test", RETRY_ERROR_REFUSED, "", MX_NONE, true, 0, 5},
	    {"x@a.test", "", "s@s.test", RETRY_ERROR_REFUSED, "", 10, true, 0, 11},
	    {"x@a.test", "", "s@s.test", RETRY_ERROR_TIMEOUT, "", 10, true, 0, 12},
	    {"x@a.test", "", "s@s.test", RETRY_ERROR_TIMEOUT, "", MX_NONE, true, 0, 13},
	    {"x@a.test", "", "s@s.test", RETRY_ERROR_TIMEOUT, "", MX_NONE, false, 0, 14},
	    {"x@a.test", "", "s@s.test", RETRY_ERROR_TIMEOUT, "", 10, false, 0, 6},
	    {"x@a.test", "", "s@s.test", RETRY_ERROR_TLS, "", 0, false, 0, 11},
	    {"u@b.test", "", "s@s.test", RETRY_ERROR_NONE, "", 0, false, 0, 7},
	    {"b.test", "", "s@s.test", RETRY_ERROR_NONE, "", 0, false, 0,
	     11}, /* no local part: not his rule */
	    {"v@b.test", "", "", RETRY_ERROR_NONE, "", 0, false, 0, 8},
	    {"v@b.test", "", "s@s.test", RETRY_ERROR_NONE, "", 0, false, 0, 11},
	    {"XX.test", "", "s@s.test", RETRY_ERROR_NONE, "", 0, false, 0, 16},
	    {"x@elsewhere.test", "HOST.test", "s@s.test", RETRY_ERROR_NONE, "", 0, false, 0, 9},
	    {"x@none.test", "", "s@s.test", RETRY_ERROR_NONE, "", 0, false, 0, 0},
	    {"x@y.c.test", "", "s@s.test", RETRY_ERROR_LOST, "", 0, false, 0, 10},
	    {"x@d.test", "", "s@s.test", RETRY_ERROR_NONE, "", 0, false, 0, -1},
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct delivery_outcome outcome = {.error = (unsigned)rows[i].error,
						   .host = {.mx = rows[i].mx},
						   .connecting = rows[i].connecting,
						   .unread_s = rows[i].unread_s,
						   .reply_text = slice_of(rows[i].reply)};
		const struct retry_rule *rule;
		int64_t got;

		h->scope.sender = slice_of(rows[i].sender);
		rule = retry_rule_find(&h->scope, slice_of(rows[i].host), slice_of(rows[i].address),
				       retry_cause_of(&outcome), true);
		got = !rule ? -1 : rule->step_count ? rule->steps[0].interval_s : 0;
		if (got != rows[i].interval_s) {
			print_error("row %zu (%s): rule %lld, not %lld\n", i, rows[i].address, (long long)got,
				    (long long)rows[i].interval_s);
			h->wrong++;
		}
	}
}

static void test_which_rule(void **state)
{
	(void)state;
	harness_run(CONF RULES, NULL, which_rule);
}

/* ---- When ------------------------------------------------------------------------------------------------------------------ */

#define KEY SLICE("T:x")

static struct retry_record record_now(void)
{
	struct retry_record record = {0};

	if (kept_len >= sizeof(record))
		memcpy(&record, kept, sizeof(record));
	return record;
}

/* Fails again as soon as it may, and sees the pauses grow as wanted. */
static void pauses(struct harness *h, const char *address, const uint64_t *wanted, size_t count)
{
	const struct delivery_outcome outcome = {.message = SLICE("no"), .reply_text = SLICE_EMPTY};

	kept_len = 0;
	for (size_t i = 0; i < count; i++) {
		struct retry_record record;
		bool over = retry_failed(&h->scope, KEY, slice_of(address), SLICE_EMPTY, &outcome);

		record = record_now();
		if (over != (wanted[i] == 0) || (!over && record.next_try - clock_s != wanted[i])) {
			print_error("%s: pause %zu is %llu%s, not %llu\n", address, i,
				    (unsigned long long)(record.next_try - clock_s), over ? " (over)" : "",
				    (unsigned long long)wanted[i]);
			h->wrong++;
		}
		clock_s = record.next_try;
	}
}

static void when(struct harness *h)
{
	static const uint64_t fixed[] = {600,  600,  600,
					 3600, 3600, 0}; /* up to 20 minutes, then up to 2 hours; 0: over */
	static const uint64_t grown[] = {60, 120, 240, 480, 960};
	static const uint64_t slow[] = {100, 150, 225, 337, 505}; /* one and a half times, in whole seconds */
	static const uint64_t capped[] = {43200, 86400, 86400};   /* retry_interval_max */
	const struct delivery_outcome outcome = {.message = SLICE("no"), .reply_text = SLICE_EMPTY};

	h->scope.sender = SLICE("s@s.test");
	pauses(h, "x@fixed.test", fixed, ARRAY_COUNT(fixed));
	pauses(h, "x@grown.test", grown, ARRAY_COUNT(grown));
	pauses(h, "x@slow.test", slow, ARRAY_COUNT(slow));
	pauses(h, "x@capped.test", capped, ARRAY_COUNT(capped));
	/* H: somewhere between the base and what G would give. */
	kept_len = 0;
	for (unsigned i = 0; i < 6; i++) {
		struct retry_record before = record_now(), after;
		uint64_t last = before.next_try - before.last_try, pause;
		(void)retry_failed(&h->scope, KEY, SLICE("x@random.test"), SLICE_EMPTY, &outcome);
		after = record_now();
		pause = after.next_try - clock_s;
		HOLDS(h, pause >= 60 && (i == 0 ? pause == 60 : pause <= (last > 60 ? last * 2 : 120)));
		clock_s = after.next_try;
	}
	/* No rule: nothing is kept. */
	kept_len = 0;
	HOLDS(h, !retry_failed(&h->scope, KEY, SLICE("x@unknown.test"), SLICE_EMPTY, &outcome) && !kept_len);
}

static void test_when(void **state)
{
	(void)state;
	harness_run(CONF "begin retry\n"
			 "fixed.test  * F,20m,10m; F,2h,1h\n"
			 "grown.test  * G,1d,1m,2\n"
			 "slow.test   * G,1d,100s,1.5\n"
			 "capped.test * G,30d,12h,4\n"
			 "random.test * H,1d,1m,2\n",
		    NULL, when);
}

/* ---- Keys ------------------------------------------------------------------------------------------------------------------- */

static void keys(struct harness *h)
{
	struct transport transport = {.instance = {.name = SLICE("t")}};
	struct host_item host = {.name = SLICE("Mx.Test"), .mx = MX_NONE};
	struct address *address = address_new(&h->arena, SLICE("x@A.test"));
	struct message message = {.id = {.text = "1aBcDe-0000000001-0000"}};

	HOLDS(h, address && ip_parse(SLICE("192.0.2.1"), &host.ip));
	h->scope.message = &message;
	h->scope.sender = SLICE("s@s.test");
	host.ip.port = 25;
	HOLDS(h, slice_eq(host_key(&h->scope, &transport, &host), SLICE("T:mx.test:192.0.2.1")));
	host.ip.port = 587;
	HOLDS(h, slice_eq(host_key(&h->scope, &transport, &host), SLICE("T:mx.test:192.0.2.1:587")));
	transport.retry_by_ip =
	    expand_compile(h->conf->language, &h->arena, SLICE("${if eq{a}{a}{no}{yes}}"));
	HOLDS(h, slice_eq(host_key(&h->scope, &transport, &host), SLICE("T:mx.test:587")));
	HOLDS(h, slice_eq(message_key(&h->scope, &transport, &host),
			  SLICE("T:mx.test:587:1aBcDe-0000000001-0000")));
	address->transport = &transport;
	HOLDS(h, slice_eq(delivery_key(&h->arena, address), SLICE("T:x@a.test")));
	HOLDS(h, slice_eq(sender_key(&h->scope, address), SLICE("T:x@a.test:<s@s.test>")));
	transport.is_local = true;
	HOLDS(h, slice_eq(delivery_key(&h->arena, address), SLICE("T:a.test"))); /* no retry_use_local_part */
	h->scope.message = NULL;
}

static void test_keys(void **state)
{
	(void)state;
	harness_run(CONF, NULL, keys);
}

/* ---- Whether ----------------------------------------------------------------------------------------------------------------- */

static enum retry_state look_after(struct harness *h, struct slice key, int64_t seconds)
{
	struct retry_record record;
	enum retry_state state;

	clock_s = (uint64_t)((int64_t)clock_s + seconds);
	state = retry_look_raw(h->shard, &h->arena, h->conf, key, &record, NULL);
	clock_s = (uint64_t)((int64_t)clock_s - seconds);
	return state;
}

static void whether(struct harness *h)
{
	const struct delivery_outcome outcome = {.message = SLICE("no"), .reply_text = SLICE_EMPTY};

	h->scope.sender = SLICE("s@s.test");
	kept_len = 0;
	HOLDS(h, look_after(h, KEY, 0) == RETRY_NONE);
	(void)retry_failed(&h->scope, KEY, SLICE("x@a.test"), SLICE_EMPTY, &outcome);
	HOLDS(h, look_after(h, SLICE("T:other"), 0) == RETRY_NONE);
	HOLDS(h, look_after(h, KEY, 0) == RETRY_WAIT);
	HOLDS(h, look_after(h, KEY, 599) == RETRY_WAIT);
	HOLDS(h, look_after(h, KEY, 600) == RETRY_READY);
	HOLDS(h, look_after(h, KEY, 7 * 86400) == RETRY_READY);
	HOLDS(h, look_after(h, KEY, 7 * 86400 + 1) == RETRY_NONE); /* retry_data_expire */
	HOLDS(h, look_after(h, KEY, -3601) == RETRY_NONE); /* the clock was set back: no waiting for years */
	kept_len = 10;                                     /* a record of another time */
	HOLDS(h, look_after(h, KEY, 0) == RETRY_NONE);
	retry_clear(h->shard, KEY);
	HOLDS(h, kept_len == 0);
}

static void test_whether(void **state)
{
	(void)state;
	harness_run(CONF "begin retry\n* * F,1h,10m\n", NULL, whether);
}

static void too_old(struct harness *h)
{
	static const struct {
		const char *address;
		int os;
		uint64_t age_s;
		bool over;
	} rows[] = {
	    {"x@a.test", 0, 3600, false},
	    {"x@a.test", 0, 3601, true},
	    {"x@a.test", DEFER_NOT_YET, 3601, false}, /* another attempt comes first */
	    {"x@a.test", RETRY_NOT_REACHED_HOSTS, 3601, false},
	    {"x@once.test", 0, 0, true}, /* a rule without steps: one failure is final */
	    {"x@once.test", DEFER_NOT_YET, 100000, false},
	    {"x@none.test", 0, 0, true}, /* no rule */
	    {"x@none.test", DEFER_NOT_YET_LOCAL, 100000, false},
	};

	h->scope.sender = SLICE("s@s.test");
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct delivery_outcome outcome = {
		    .os = rows[i].os, .reply_text = SLICE_EMPTY, .host = {.name = SLICE_EMPTY}};
		struct address *address = address_new(&h->arena, slice_of(rows[i].address));

		if (!address || retry_too_old(&h->scope, address, &outcome, rows[i].age_s) != rows[i].over) {
			print_error("row %zu: %s after %llu s\n", i, rows[i].address,
				    (unsigned long long)rows[i].age_s);
			h->wrong++;
		}
	}
}

static void test_too_old(void **state)
{
	(void)state;
	harness_run(CONF "begin retry\na.test * F,10m,1m; F,1h,10m\nonce.test *\n", NULL, too_old);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_refused), cmocka_unit_test(test_which_rule), cmocka_unit_test(test_when),
	    cmocka_unit_test(test_whether), cmocka_unit_test(test_too_old),    cmocka_unit_test(test_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
