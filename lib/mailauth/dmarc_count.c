/* dmarc_count: a message that was judged becomes one more in a row of the report that its author's domain asked for. */
#include "dmarc.h"
#include "dmarc_rows.h"
#include "dmarc_state.h"

#define DAY_S 86400

/* A name that can stand in a key: what a resolver has found a policy at is one, as a rule. */
static bool name_is_plain(struct slice name)
{
	for (uint32_t i = 0; i < name.len; i++)
		if (!ascii_is_alnum(name.ptr[i]) && !strchr("-_.", name.ptr[i]))
			return false;
	return name.len && name.len <= 253;
}

/* The words of the two sections of RFC 8601 that reports have. */
static struct slice result_word(enum mailauth_result result)
{
	return result == MAILAUTH_UNKNOWN   ? SLICE("none")
	       : result == MAILAUTH_INVALID ? SLICE("permerror")
					    : mailauth_result_word(result);
}

static void add_reason(struct dmarc_row *row, struct slice type, struct slice comment)
{
	ASSERT(row->reason_count < DMARC_REASONS_MAX);
	row->reasons[row->reason_count++] = (struct dmarc_reason){type, comment};
}

/* Why a message got in that its author's domain wanted refused. A good chain is told of as RFC 8617, section 7.2.2, has it. */
static struct slice exception(struct scope *sc)
{
	struct arc_result arc;
	struct str out = str_make(sc->task->arena);
	struct slice rest, domain;
	unsigned i = 0;

	if (!arc_result_get(sc->message, &arc) || arc.result != MAILAUTH_PASS || !arc.count)
		return SLICE("accepted all the same");
	str_addz(&out, "arc=pass");
	for (rest = arc.domains; rest.ptr && rest.len && slice_split(&rest, ':', &domain);)
		str_printf(&out, " as[%u].d=%.*s", ++i, SLICE_ARG(domain));
	return out.failed ? SLICE("arc=pass") : str_slice(&out);
}

/* What was done, and why it is not what was asked for. Of quarantine nothing is seen here: what an ACL that knows of it has let in is
 * taken to be there. */
static void dispose(struct scope *sc, const struct dmarc_result *r, bool refused, struct dmarc_row *row)
{
	bool testing = r->record.testing && (r->policy == 'r' || r->policy == 'q');

	row->disposition = 'n';
	switch (r->status) {
	case DMARC_ACCEPT:
		row->disposition = r->policy == 'n' ? 'n' : 'p';
		return;
	case DMARC_REJECT:
		row->disposition = refused ? 'r' : 'n';
		if (!refused)
			add_reason(row, SLICE("local_policy"), exception(sc));
		return;
	case DMARC_QUARANTINE:
		row->disposition = refused ? 'r' : 'q';
		if (testing)
			add_reason(row, SLICE("policy_test_mode"), SLICE_EMPTY);
		if (refused)
			add_reason(row, SLICE("local_policy"), SLICE("refused"));
		return;
	case DMARC_TEMPERROR:
		add_reason(row, SLICE("other"), SLICE("not all of the DNS could be asked"));
		return;
	default:
		if (testing)
			add_reason(row, SLICE("policy_test_mode"), SLICE_EMPTY);
	}
}

/* Section 3.1.3: aligned strictly, aligned, passed, others. */
static unsigned rank(const struct dkim_result *dkim, const struct dmarc_result *r)
{
	if (dkim->result != MAILAUTH_PASS)
		return 3;
	if (slice_eq_nocase(dkim->domain, r->from))
		return 0;
	return r->align_dkim && slice_ends_nocase(dkim->domain, r->used_domain) ? 1 : 2;
}

static void add_results(const struct scope *sc, const struct dmarc_state *state, struct dmarc_row *row)
{
	const struct spf_result *spf = spf_result_real(sc->message);

	row->spf_result.domain = SLICE_EMPTY;
	if (spf && spf->result != MAILAUTH_UNKNOWN)
		row->spf_result = (struct dmarc_row_result){
		    .domain = spf->domain,
		    .selector = SLICE_EMPTY,
		    .result = result_word(spf->result),
		    .problem = spf->result == MAILAUTH_PASS ? SLICE_EMPTY : spf->problem};
	for (unsigned want = 0; want <= 3; want++)
		for (unsigned i = 0; i < state->dkim_count; i++) {
			const struct dkim_result *d = &state->dkim[i];

			if (rank(d, &state->result) != want || !d->domain.len)
				continue;
			row->dkim_results[row->dkim_count++] = (struct dmarc_row_result){
			    .domain = d->domain,
			    .selector = d->selector,
			    .result = result_word(d->result),
			    .problem = d->result == MAILAUTH_PASS ? SLICE_EMPTY : d->comment};
		}
}

static void fill(struct scope *sc, const struct dmarc_state *state, bool refused, char *ip_text,
		 struct dmarc_row *row)
{
	const struct dmarc_result *r = &state->result;
	struct slice sender = scope_sender(sc);
	ptrdiff_t at = slice_rfind(sender, '@');

	*row = (struct dmarc_row){.count = 1, .dkim = r->align_dkim, .spf = r->align_spf};
	row->ip = ip_format(&sc->client->ip, ip_text);
	row->from = r->from;
	row->mail_from = at >= 0 ? slice_from(sender, (size_t)at + 1) : SLICE_EMPTY;
	dispose(sc, r, refused, row);
	add_results(sc, state, row);
}

/* As many of the addresses as are used, whole. */
static struct slice rua_of(struct arena *arena, struct slice rua)
{
	struct str out = str_make(arena);
	struct slice item;

	while (rua.ptr && slice_split(&rua, ',', &item)) {
		item = slice_trim(item);
		if (!slice_starts_nocase(item, SLICE("mailto:")) || out.len + item.len >= DMARC_RUA_MAX)
			continue;
		if (out.len)
			str_addc(&out, ',');
		str_add(&out, item);
	}
	return out.failed ? SLICE_EMPTY : str_slice(&out);
}

void dmarc_count(struct scope *sc, bool refused)
{
	struct dmarc_state *state = dmarc_state_of(sc->message);
	const struct dmarc_result *r = state ? &state->result : NULL;
	struct str policy = str_make(sc->task->arena), both = str_make(sc->task->arena);
	struct dmarc_published published;
	struct dmarc_key key;
	struct dmarc_row row;
	struct slice stored;
	char ip[IP_TEXT_MAX];
	uint32_t row_start;

	if (!r || sc->dry_run || state->counted || !mailauth_options(sc->conf)->dmarc_report_sender ||
	    !r->from.len || !name_is_plain(r->used_domain))
		return;
	published = (struct dmarc_published){.psl = state->psl,
					     .p = r->record.p,
					     .sp = r->record.sp,
					     .np = r->record.np,
					     .adkim = r->record.adkim,
					     .aspf = r->record.aspf,
					     .testing = r->record.testing,
					     .fo = r->record.fo,
					     .rua = rua_of(sc->task->arena, r->record.rua)};
	if (!published.rua.len)
		return;
	state->counted = true;
	fill(sc, state, refused, ip, &row);
	dmarc_published_write(&policy, &published);
	str_add(&both, str_slice(&policy));
	str_addc(&both, '\n');
	row_start = both.len;
	dmarc_row_write(&both, &row);
	key = (struct dmarc_key){.day = shard_wall(sc->task->shard) / NS_PER_S / DAY_S,
				 .domain = r->used_domain,
				 .policy = crc32c(0, policy.ptr, policy.len),
				 .bucket =
				     crc32c(0, both.ptr + row_start, both.len - row_start) % DMARC_BUCKETS};
	str_addc(&both, '\n');
	stored = dmarc_key_write(sc->task->arena, &key);
	if (!policy.failed && !both.failed && stored.ptr)
		hints_merge(sc->task->shard, HINTS_DMARC, stored, str_slice(&both), dmarc_bucket_merge);
}
