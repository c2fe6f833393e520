/* opendmarc_cases: policies as libopendmarc judges them and as we do, with a suffix list (RFC 7489), over generated records and messages.
 * Each difference belongs to a class that is known and explained in tests/differences.md, or the program fails and shows it.
 *
 *	opendmarc_cases [SEED [COUNT]]
 */
#include <netinet/in.h>
#include <opendmarc/dmarc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mailauth/mailauth.h"

/* Of dmarc.h of our room: it cannot be included beside libopendmarc's, whose guard has the same name. */
bool dmarc_record_parse(struct slice text, bool legacy, struct dmarc_record *ret);

static uint64_t random_state;

static unsigned pick(unsigned limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state % limit);
}
#define ONE(words) (words)[pick(ARRAY_COUNT(words))]

/* ---- Generated cases ------------------------------------------------------------------------------------ */

struct generated {
	char record[400];
	const char *from, *org, *spf, *dkim[2];
	int spf_result, dkim_result[2]; /* DMARC_POLICY_..._OUTCOME_ */
	unsigned dkim_count;
	bool at_org; /* the record is at the organisational domain, and not at the author's */
};

/* None of one letter: of x.com, libopendmarc takes the organisational domain to be com. */
static const char *const names[] = {"xray.com",   "a.xray.com",   "b.a.xray.com", "yard.com",    "a.yard.com",
				    "xray.co.uk", "a.xray.co.uk", "Xray.Com",     "notxray.com", "com"};

static void add_tag(char *record, size_t size)
{
	static const char *const tags[] = {"p",  "p",  "sp", "adkim", "aspf", "pct", "rua", "ruf",
					   "fo", "rf", "ri", "np",    "t",    "psd", "x"};
	static const char *const requests[] = {"none", "quarantine", "reject", "Reject",
					       "NONE", "rejekt",     ""};
	static const char *const modes[] = {"r", "s", "S", "x", ""};
	static const char *const numbers[] = {"0", "50", "100", "101", "-1", "x", ""};
	static const char *const uris[] = {"mailto:a@xray.com", "mailto:a@xray.com!10m,mailto:b@yard.com",
					   "https://x.com/", "nothing"};
	static const char *const options[] = {"0", "1", "d", "1:d:s", "9"};
	static const char *const separators[] = {"; ", ";", " ; ", ";;"};
	static const char *const equals[] = {"=", "=", "=", " = "};
	const char *tag = ONE(tags), *value;
	size_t len = strlen(record);

	value = *tag == 'p' && tag[1] == 'c'                ? ONE(numbers)
		: *tag == 'p' || *tag == 's' || *tag == 'n' ? ONE(requests)
		: *tag == 'a'                               ? ONE(modes)
		: strncmp(tag, "ru", 2) == 0                ? ONE(uris)
							    : ONE(options);
	snprintf(record + len, size - len, "%s%s%s%s", ONE(separators), tag, ONE(equals), value);
}

static const char *org_name(const char *name)
{
	const char *at = name + strlen(name);
	unsigned labels = strlen(name) > 6 && strcmp(name + strlen(name) - 6, ".co.uk") == 0 ? 3 : 2;

	while (at > name) {
		at--;
		if (*at == '.' && --labels == 0)
			return at + 1;
	}
	return name;
}

static void generate(struct generated *g)
{
	static const char *const versions[] = {"v=DMARC1", "v=DMARC1", "v=DMARC1", "v = DMARC1", "v=DMARC1 ",
					       "V=DMARC1", "v=DMARC2", "v=dmarc1", "DMARC1"};
	static const char *const froms[] = {"xray.com", "a.xray.com", "b.a.xray.com", "xray.co.uk",
					    "a.xray.co.uk"};

	memset(g, 0, sizeof(*g));
	strcpy(g->record, ONE(versions));
	if (pick(4)) /* most have a policy, and where it is expected */
		strcat(g->record, pick(3) ? "; p=reject" : pick(2) ? "; p=quarantine" : "; p=none");
	for (unsigned i = pick(5); i > 0; i--)
		add_tag(g->record, sizeof(g->record));
	g->from = ONE(froms);
	g->org = org_name(g->from);
	g->at_org = strcmp(g->from, g->org) != 0 && pick(2);
	g->spf = ONE(names);
	g->spf_result = (int)pick(4);
	for (g->dkim_count = pick(3); g->dkim[0] == NULL && g->dkim_count;)
		for (unsigned i = 0; i < g->dkim_count; i++) {
			g->dkim[i] = ONE(names);
			g->dkim_result[i] = (int)pick(4);
		}
}

/* ---- Theirs and ours ------------------------------------------------------------------------------------ */

struct verdict {
	bool record; /* there is one that counts */
	int p, sp, adkim, aspf, pct;
	bool spf, dkim; /* aligned */
	int policy;     /* DMARC_POLICY_..., or 0: cannot be known now */
};

static void theirs(const struct generated *g, struct verdict *v)
{
	DMARC_POLICY_T *ctx =
	    opendmarc_policy_connect_init((u_char *)(uintptr_t) "192.0.2.1", DMARC_POLICY_IP_TYPE_IPV4);
	const char *place = g->at_org ? g->org : g->from;
	int dkim = 0, spf = 0;

	memset(v, 0, sizeof(*v));
	(void)opendmarc_policy_store_from_domain(ctx, (u_char *)(uintptr_t)g->from);
	(void)opendmarc_policy_store_spf(ctx, (u_char *)(uintptr_t)g->spf, g->spf_result,
					 DMARC_POLICY_SPF_ORIGIN_MAILFROM, NULL);
	for (unsigned i = 0; i < g->dkim_count; i++)
		(void)opendmarc_policy_store_dkim(ctx, (u_char *)(uintptr_t)g->dkim[i],
						  (u_char *)(uintptr_t) "s", g->dkim_result[i], NULL);
	v->record =
	    opendmarc_policy_store_dmarc(ctx, (u_char *)(uintptr_t)g->record, (u_char *)(uintptr_t)place,
					 g->at_org ? (u_char *)(uintptr_t)g->org : NULL) == DMARC_PARSE_OKAY;
	if (v->record) {
		v->policy = opendmarc_get_policy_to_enforce(ctx);
		(void)opendmarc_policy_fetch_alignment(ctx, &dkim, &spf);
		(void)opendmarc_policy_fetch_p(ctx, &v->p);
		(void)opendmarc_policy_fetch_sp(ctx, &v->sp);
		(void)opendmarc_policy_fetch_adkim(ctx, &v->adkim);
		(void)opendmarc_policy_fetch_aspf(ctx, &v->aspf);
		(void)opendmarc_policy_fetch_pct(ctx, &v->pct);
		v->dkim = dkim == DMARC_POLICY_DKIM_ALIGNMENT_PASS;
		v->spf = spf == DMARC_POLICY_SPF_ALIGNMENT_PASS;
	}
	(void)opendmarc_policy_connect_shutdown(ctx);
}

static enum rc answer(struct task *task, void *arg, struct slice name, enum dns_type type,
		      struct dns_answer *ret, struct err *err)
{
	const struct generated *g = arg;
	struct slice place = arena_printf(task->arena, "_dmarc.%s", g->at_org ? g->org : g->from);

	*ret = (struct dns_answer){.records = arena_make(task->arena, struct dns_record),
				   .canonical = SLICE_EMPTY};
	if (type != DNS_TXT || !slice_eq_nocase(name, place))
		return err_set(err, FAIL, "nothing");
	ret->count = 1;
	ret->records->text = slice_of(g->record);
	return OK;
}

static struct slice org_of(void *arg, struct arena *arena, struct slice domain)
{
	char *name = arena_cstr(arena, domain);

	(void)arg;
	return slice_of(org_name(name));
}

static enum mailauth_result result_of(int outcome)
{
	return outcome == DMARC_POLICY_SPF_OUTCOME_PASS      ? MAILAUTH_PASS
	       : outcome == DMARC_POLICY_SPF_OUTCOME_FAIL    ? MAILAUTH_FAIL
	       : outcome == DMARC_POLICY_SPF_OUTCOME_TMPFAIL ? MAILAUTH_TEMPERROR
							     : MAILAUTH_NONE;
}

static struct slice lower(struct arena *arena, const char *name)
{
	struct slice s = arena_copy(arena, slice_of(name));

	for (uint32_t i = 0; i < s.len; i++)
		((char *)(uintptr_t)s.ptr)[i] = ascii_lower(s.ptr[i]);
	return s;
}

static void ours(const struct generated *g, struct verdict *v, struct dmarc_result *r)
{
	struct mailauth_resolver resolver = {.query = answer, .arg = (void *)(uintptr_t)g};
	struct dkim_result signatures[2] = {{.key_bits = 0}};
	struct slice from;
	struct dmarc_query q = {
	    .from = &from, .from_count = 1, .dkim = signatures, .dkim_count = g->dkim_count, .org = org_of};
	struct arena arena;
	struct task task;

	arena_init(&arena, 0);
	task_init(&task, NULL, &arena, UINT64_MAX);
	from = lower(&arena, g->from);
	q.spf = result_of(g->spf_result);
	q.spf_domain = lower(&arena, g->spf);
	for (unsigned i = 0; i < g->dkim_count; i++) {
		signatures[i].domain = lower(&arena, g->dkim[i]);
		signatures[i].result = result_of(g->dkim_result[i]);
	}
	if (dmarc_check(&task, &resolver, &q, r) != OK)
		abort();
	*v = (struct verdict){.record = r->status != DMARC_NORECORD,
			      .p = r->record.p,
			      .sp = r->record.sp,
			      .adkim = r->record.adkim,
			      .aspf = r->record.aspf,
			      .pct = (int)r->record.pct,
			      .spf = r->align_spf,
			      .dkim = r->align_dkim};
	v->policy = r->status == DMARC_ACCEPT       ? DMARC_POLICY_PASS
		    : r->status == DMARC_REJECT     ? DMARC_POLICY_REJECT
		    : r->status == DMARC_QUARANTINE ? DMARC_POLICY_QUARANTINE
		    : r->status == DMARC_NONE       ? DMARC_POLICY_NONE
						    : 0;
	arena_done(&arena);
}

/* ---- Differences ---------------------------------------------------------------------------------------- */

enum { SAME, CLASSES_MAX = 12 };
static const char *const classes[CLASSES_MAX] = {
    "the same",
    "a tag whose value is no value: they have no record, we have no tag",
    "p= or sp= is no request: they have no record, we have p=none when there is rua=",
    "something aligned could not be checked now: they go on, we cannot tell",
    "a tag that comes twice: they take the last, we the first",
    "the version is no \"v=DMARC1\" with its case: they take it, we do not",
    "no p=: they have no record, we have p=none when there is rua=",
    "pct= is no number: they have 0, we have 100",
    "a public suffix was authenticated: they take it to be aligned with all below it, we do not",
    "several signatures: they look at one of them, we at all",
    "adkim=s, aspf=s: they align other names of the organisation all the same",
    "sp= with nothing behind it: they pass over it, to us it is no request",
};

static unsigned tag_count(const char *record, const char *name)
{
	struct slice rest = slice_of(record), part;
	unsigned count = 0;

	while (rest.ptr && slice_split(&rest, ';', &part)) {
		ptrdiff_t equal = slice_find(part, '=');
		count += equal >= 0 &&
			 slice_eq_nocase(slice_trim(slice_sub(part, 0, (size_t)equal)), slice_of(name));
	}
	return count;
}

static bool twice(const char *record)
{
	static const char *const tags[] = {"p", "sp", "adkim", "aspf", "pct", "fo", "rua"};

	for (unsigned i = 0; i < ARRAY_COUNT(tags); i++)
		if (tag_count(record, tags[i]) > 1)
			return true;
	return false;
}

static unsigned classify(const struct generated *g, const struct verdict *t, const struct verdict *o,
			 const struct dmarc_result *r)
{
	struct dmarc_record parsed;
	bool is_record = dmarc_record_parse(slice_of(g->record), true, &parsed);

	if (t->record && !is_record)
		return 5;
	if (twice(g->record))
		return t->record == o->record && t->policy == o->policy && t->dkim == o->dkim &&
			       t->spf == o->spf
			   ? SAME
			   : 4;
	if (!t->record && o->record)
		return !tag_count(g->record, "p") ? 6 : r->record.p == 'n' && !r->record.sp ? 2 : 1;
	if (t->record != o->record)
		return is_record && parsed.unusable ? 2 : CLASSES_MAX;
	if (!t->record)
		return SAME;
	if (o->policy == 0 && r->status == DMARC_TEMPERROR)
		return 3;
	if (t->policy == o->policy && t->dkim == o->dkim && t->spf == o->spf && t->p == o->p && t->pct == 0 &&
	    o->pct == 100)
		return 7;
	if (t->spf && !o->spf && strcmp(g->spf, "com") == 0)
		return 8;
	for (unsigned i = 0; i < g->dkim_count; i++)
		if (t->dkim && !o->dkim && g->dkim_result[i] == DMARC_POLICY_DKIM_OUTCOME_PASS &&
		    strcmp(g->dkim[i], "com") == 0)
			return 8;
	if (!t->dkim && o->dkim && g->dkim_count > 1 && t->spf == o->spf)
		return 9;
	if ((t->spf && !o->spf && o->aspf == 's') || (t->dkim && !o->dkim && o->adkim == 's'))
		return 10;
	if (t->p != 'n' && o->p == 'n' && tag_count(g->record, "sp") && !t->sp && tag_count(g->record, "rua"))
		return 11;
	if (t->policy != o->policy || t->dkim != o->dkim || t->spf != o->spf || t->p != o->p ||
	    t->pct != o->pct)
		return CLASSES_MAX;
	return SAME;
}

static void show(const char *who, const struct verdict *v)
{
	printf("  %s: record %d p %c sp %c adkim %c aspf %c pct %d spf %d dkim %d policy %d\n", who,
	       v->record, v->p ? v->p : '-', v->sp ? v->sp : '-', v->adkim ? v->adkim : '-',
	       v->aspf ? v->aspf : '-', v->pct, v->spf, v->dkim, v->policy);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	unsigned count = argc > 2 ? (unsigned)atoi(argv[2]) : 20000, unexplained = 0;
	unsigned counts[CLASSES_MAX] = {0};
	OPENDMARC_LIB_T lib = {.tld_type = OPENDMARC_TLD_TYPE_MOZILLA};
	char path[] = "/tmp/suffixes-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, "com\nuk\nco.uk\n", 13) != 13)
		return 2;
	close(fd);
	strcpy((char *)lib.tld_source_file, path);
	if (opendmarc_policy_library_init(&lib) != DMARC_PARSE_OKAY)
		return 2;
	unlink(path);
	random_state = seed * 2654435761u + 88172645463325252u;
	for (unsigned i = 0; i < count; i++) {
		struct generated g;
		struct verdict t, o;
		struct dmarc_result r;
		unsigned class;

		generate(&g);
		theirs(&g, &t);
		ours(&g, &o, &r);
		class = classify(&g, &t, &o, &r);
		if (class < CLASSES_MAX) {
			counts[class]++;
		} else if (unexplained++ < 10) {
			printf("\"%s\" at %s, from %s, spf %s %d", g.record, g.at_org ? g.org : g.from,
			       g.from, g.spf, g.spf_result);
			for (unsigned k = 0; k < g.dkim_count; k++)
				printf(", dkim %s %d", g.dkim[k], g.dkim_result[k]);
			printf("\n");
			show("they", &t);
			show("we", &o);
		}
	}
	(void)opendmarc_policy_library_shutdown(&lib);
	for (unsigned i = 0; i < CLASSES_MAX && classes[i]; i++)
		printf("%6u %s\n", counts[i], classes[i]);
	printf("%6u not explained\n", unexplained);
	return unexplained ? 1 : 0;
}
