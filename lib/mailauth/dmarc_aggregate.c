/* dmarc_aggregate: what was counted, taken up again as reports. A report is deleted when the spool has it: who is killed in between
 * sends the same again, with the same Report-ID, by which its reader knows that. */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>

#include "dmarc.h"
#include "dmarc_aggregate.h"
#include "dmarc_state.h"

#define DAY_S        86400
#define AGE_MAX_DAYS 7 /* of what could not be sent, as its destination's DNS did not answer */
#define ASKED_MAX    5 /* addresses of one record that are looked at */

/* ---- Who reports ---------------------------------------------------------------------------------------- */

static enum rc text_option(struct scope *sc, const struct expansion *option, struct slice otherwise,
			   struct slice *ret, struct err *err)
{
	struct slice text = SLICE_EMPTY;
	enum rc rc = option ? expand_option(sc, option, &text, err) : OK;

	*ret = text.len ? text : otherwise;
	return rc;
}

enum rc dmarc_reporter_of(struct scope *sc, struct dmarc_reporter *ret, struct err *err)
{
	const struct mailauth_options *o = mailauth_options(sc->conf);
	struct address_parts parts;
	enum rc rc = text_option(sc, o->dmarc_report_sender, SLICE_EMPTY, &ret->from, err);

	if (rc != OK)
		return rc;
	if (!ret->from.len)
		return err_set(err, FAIL, "dmarc_report_sender is not set: there are no reports");
	rc = address_parse(sc->task->arena, ret->from, 0, &parts, err);
	if (rc != OK) {
		err_prefix(err, "dmarc_report_sender");
		return rc;
	}
	ret->address = parts.full;
	ret->domain = parts.domain;
	rc = text_option(sc, o->dmarc_report_organization, parts.domain, &ret->organization, err);
	if (rc == OK)
		rc = text_option(sc, o->dmarc_report_contact, parts.full, &ret->contact, err);
	if (rc == OK)
		rc = text_option(sc, o->dmarc_report_extra_contact, SLICE_EMPTY, &ret->extra, err);
	return rc;
}

/* ---- Gathering the buckets of a report ------------------------------------------------------------------- */

/* Everything of a key but its bucket. */
static struct slice group_of(struct slice key)
{
	return slice_sub(key, 0, key.len > 3 ? key.len - 3 : 0);
}

struct collected {
	struct dmarc_key key;
	struct slice keys[DMARC_BUCKETS], values[DMARC_BUCKETS];
	unsigned count;
};

static enum rc next_key(struct scope *sc, struct dmarc_reporting *at, struct slice *key, struct slice *value,
			struct err *err)
{
	return hints_next(sc->task->shard, HINTS_DMARC, slice_make(at->behind, at->behind_len, CLEAN),
			  sc->task->arena, key, value, err);
}

static void step(struct dmarc_reporting *at, struct slice key)
{
	ASSERT(key.len <= sizeof(at->behind));
	memcpy(at->behind, key.ptr, key.len);
	at->behind_len = key.len;
}

/* The next that is as old as it has to be. What is no key of ours is deleted. FAIL: there is none. */
static enum rc gather(struct scope *sc, struct dmarc_reporting *at, uint64_t day_limit, struct collected *g,
		      struct err *err)
{
	struct slice key, value;
	enum rc rc;

	g->count = 0;
	while ((rc = next_key(sc, at, &key, &value, err)) == OK) {
		struct dmarc_key parsed;

		if (!dmarc_key_read(key, &parsed)) {
			hints_delete(sc->task->shard, HINTS_DMARC, key);
			step(at, key);
			continue;
		}
		if (g->count && !slice_eq(group_of(key), group_of(g->keys[0])))
			return OK;
		if (parsed.day >= day_limit)
			break; /* days come in order */
		step(at, key);
		if (g->count == DMARC_BUCKETS)
			continue;
		g->key = parsed;
		g->keys[g->count] = key;
		g->values[g->count++] = value;
	}
	return rc == DEFER ? rc : g->count ? OK : FAIL;
}

static void drop(struct scope *sc, const struct collected *g)
{
	for (unsigned i = 0; i < g->count; i++)
		hints_delete(sc->task->shard, HINTS_DMARC, g->keys[i]);
}

/* ---- Where it goes --------------------------------------------------------------------------------------- */

static bool add_recipient(struct dmarc_aggregate *a, struct slice address)
{
	for (unsigned i = 0; i < a->recipient_count; i++)
		if (slice_eq_nocase(a->recipients[i], address))
			return true;
	if (a->recipient_count < DMARC_RECIPIENTS_MAX)
		a->recipients[a->recipient_count++] = address;
	return a->recipient_count < DMARC_RECIPIENTS_MAX;
}

/* OK, with recipients or without; DEFER: one cannot be known now; CANCELLED. */
static enum rc destinations(struct scope *sc, const struct mailauth_resolver *resolver, struct slice used,
			    struct slice rua, struct dmarc_aggregate *a, struct err *err)
{
	struct dmarc_query query;
	struct slice address, instead;
	enum rc rc = dmarc_query_of(sc, &query, err), worst = OK;

	for (unsigned i = 0; rc == OK && i < ASKED_MAX && dmarc_uri_next(sc->task->arena, &rua, &address);
	     i++) {
		struct address_parts parts;
		struct err why = err_make(sc->task->arena);

		if (address_parse(sc->task->arena, address, 0, &parts, &why) != OK)
			continue;
		rc = dmarc_destination(sc->task, resolver, &query, used, parts.full, false, &instead);
		if (rc == DEFER)
			worst = err_set(err, DEFER, "whether %.*s wants it cannot be found out now",
					SLICE_ARG(parts.full));
		if (rc == OK && !instead.ptr)
			(void)add_recipient(a, parts.full);
		while (rc == OK && instead.ptr && dmarc_uri_next(sc->task->arena, &instead, &address))
			if (address_parse(sc->task->arena, address, 0, &parts, &why) == OK &&
			    !add_recipient(a, parts.full))
				break;
		if (rc == FAIL || rc == DEFER)
			rc = OK;
	}
	return rc != OK ? rc : worst;
}

/* ---- A report -------------------------------------------------------------------------------------------- */

/* Letters and digits, the same for the same report: it is also part of the file's name, where nothing else may stand. */
static struct slice report_id(struct arena *arena, const struct dmarc_reporter *reporter,
			      const struct collected *g, uint64_t start)
{
	struct slice text = arena_printf(arena, "%.*s %.*s %08x %llu", SLICE_ARG(reporter->domain),
					 SLICE_ARG(g->key.domain), g->key.policy, (unsigned long long)start);
	struct str out = str_make(arena);
	unsigned char digest[WC_SHA256_DIGEST_SIZE];

	if (!text.ptr || wc_Sha256Hash((const unsigned char *)text.ptr, text.len, digest) != 0)
		return (struct slice){NULL, 0, CLEAN};
	hex_encode(&out, slice_make((char *)digest, 16, CLEAN), false);
	return str_slice(&out);
}

static void period(const struct dmarc_reporting *at, uint64_t day, uint64_t now_s, struct dmarc_gathered *ret)
{
	ret->begin = day * DAY_S;
	ret->end = ret->begin + DAY_S - 1;
	if (at->reported_until > ret->begin && at->reported_until <= ret->end)
		ret->begin = at->reported_until;
	if (ret->end > now_s)
		ret->end = now_s;
	if (ret->begin > ret->end)
		ret->begin = ret->end;
}

static enum rc compose(struct scope *sc, const struct dmarc_reporting *at, struct collected *g,
		       uint64_t now_s, struct dmarc_aggregate *a, struct err *err)
{
	struct dmarc_gathered gathered = {
	    .domain = g->key.domain, .buckets = g->values, .bucket_count = g->count};
	struct dmarc_reporter reporter;
	struct slice xml;
	enum rc rc = dmarc_reporter_of(sc, &reporter, err);

	if (rc != OK)
		return rc;
	period(at, g->key.day, now_s, &gathered);
	gathered.id = report_id(sc->task->arena, &reporter, g, gathered.begin);
	if (!gathered.id.ptr)
		return err_memory(err);
	xml = dmarc_xml(sc->task->arena, &reporter, &gathered, &a->messages, &a->rows);
	if (!xml.ptr)
		return err_set(err, FAIL, "nothing in it can be read");
	a->sender = reporter.address;
	a->id = gathered.id;
	return dmarc_report_mail(sc->task, &reporter, &gathered, a->recipients, a->recipient_count, xml,
				 &a->text, err);
}

/* One group. FAIL: no report comes of it, err says why, and it is gone; DEFER: not now. */
static enum rc make(struct scope *sc, const struct mailauth_resolver *resolver, struct dmarc_reporting *at,
		    struct collected *g, struct dmarc_aggregate *a, struct err *err)
{
	uint64_t now_s = shard_wall(sc->task->shard) / NS_PER_S;
	struct dmarc_bucket bucket;
	enum rc rc = FAIL;

	*a = (struct dmarc_aggregate){.domain = g->key.domain, .keys = g->keys, .key_count = g->count};
	if (!dmarc_bucket_read(g->values[0], &bucket))
		rc = err_set(err, FAIL, "it cannot be read");
	else
		rc = destinations(sc, resolver, g->key.domain, bucket.published.rua, a, err);
	if (rc == OK && !a->recipient_count)
		rc = err_set(err, FAIL, "nobody wants it");
	if (rc == OK)
		rc = compose(sc, at, g, now_s, a, err);
	if (rc == DEFER && g->key.day + AGE_MAX_DAYS < now_s / DAY_S)
		rc = FAIL;
	if (rc == FAIL)
		drop(sc, g);
	return rc;
}

uint64_t dmarc_today(struct shard *shard)
{
	return shard_wall(shard) / NS_PER_S / DAY_S;
}

enum rc dmarc_reporting_begin(struct scope *sc, uint64_t day_limit, struct dmarc_reporting *ret,
			      struct err *err)
{
	struct dmarc_reporter reporter;
	struct slice text;
	enum rc rc = dmarc_reporter_of(sc, &reporter, err);
	struct err ignored = err_make(sc->task->arena);

	*ret = (struct dmarc_reporting){.day_limit = day_limit};
	if (rc != OK)
		return rc;
	if (hints_get(sc->task->shard, HINTS_MISC, SLICE("dmarc-reported-until"), sc->task->arena, &text,
		      &ignored) != OK ||
	    !parse_u64(text, &ret->reported_until))
		ret->reported_until = 0;
	return OK;
}

enum rc dmarc_reporting_next(struct scope *sc, const struct mailauth_resolver *resolver,
			     struct dmarc_reporting *at, struct dmarc_aggregate *ret, struct err *err)
{
	struct collected *g = arena_make(sc->task->arena, struct collected);
	enum rc rc;

	if (!g)
		return err_memory(err);
	rc = gather(sc, at, at->day_limit, g, err);
	if (rc != OK) {
		at->over = true;
		return rc;
	}
	return make(sc, resolver, at, g, ret, err);
}

void dmarc_reporting_sent(struct scope *sc, const struct dmarc_aggregate *aggregate)
{
	for (unsigned i = 0; i < aggregate->key_count; i++)
		hints_delete(sc->task->shard, HINTS_DMARC, aggregate->keys[i]);
}

void dmarc_reporting_end(struct scope *sc, const struct dmarc_reporting *at)
{
	struct slice text = arena_printf(sc->task->arena, "%llu",
					 (unsigned long long)(shard_wall(sc->task->shard) / NS_PER_S + 1));

	/* The next report of this day begins where this ended. */
	if (at->day_limit > dmarc_today(sc->task->shard) && text.ptr)
		hints_put(sc->task->shard, HINTS_MISC, SLICE("dmarc-reported-until"), text);
}
