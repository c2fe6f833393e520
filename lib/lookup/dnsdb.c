/* dnsdb: the DNS as a database: "[>outer[,field]] [modifier,]... [type=] name : name ...". */

#include "types.h"

enum pseudo { PLAIN, PSEUDO_MXH, PSEUDO_ZNS, PSEUDO_CSA, PSEUDO_A_PLUS };
struct dnsdb_type {
	const char *name;
	enum dns_type type;
	enum pseudo pseudo;
};
static const struct dnsdb_type dnsdb_types[] = {
    {"a", DNS_A, PLAIN},         {"a+", DNS_A, PSEUDO_A_PLUS}, {"aaaa", DNS_AAAA, PLAIN},
    {"cname", DNS_CNAME, PLAIN}, {"csa", DNS_SRV, PSEUDO_CSA}, {"mx", DNS_MX, PLAIN},
    {"mxh", DNS_MX, PSEUDO_MXH}, {"ns", DNS_NS, PLAIN},        {"ptr", DNS_PTR, PLAIN},
    {"soa", DNS_SOA, PLAIN},     {"spf", DNS_SPF, PLAIN},      {"srv", DNS_SRV, PLAIN},
    {"tlsa", DNS_TLSA, PLAIN},   {"txt", DNS_TXT, PLAIN},      {"zns", DNS_NS, PSEUDO_ZNS},
};

enum strictness { STRICT, LAX, NEVER };

struct query {
	struct scope *sc;
	struct err *err;
	struct slice rest; /* not yet read */
	char separator;    /* between records */
	char field;        /* between fields; 0: none was given */
	bool concatenate;  /* ";": strings are joined without any */
	enum strictness defer, dnssec;
	int64_t retrans_s, retry; /* 0: as configured */
	const struct dnsdb_type *type;
	struct str out;
	bool found, deferred;
	bool no_read; /* the resolvers are asked, whatever is known */
};

/* ---- The query's text ------------------------------------------------------------------- */

static void parse_separators(struct query *q)
{
	q->separator = '\n';
	q->rest = slice_ltrim(q->rest);
	if (q->rest.len < 2 || q->rest.ptr[0] != '>')
		return;
	q->separator = q->rest.ptr[1];
	q->rest = slice_from(q->rest, 2);
	if (q->rest.len >= 2 && q->rest.ptr[0] == ',') {
		q->field = q->rest.ptr[1];
		q->rest = slice_from(q->rest, 2);
	} else if (q->rest.len && q->rest.ptr[0] == ';') {
		q->concatenate = true;
		q->rest = slice_from(q->rest, 1);
	}
	q->rest = slice_ltrim(q->rest);
}

static bool parse_strictness(struct slice word, struct slice prefix, enum strictness *ret)
{
	if (!slice_starts_nocase(word, prefix))
		return false;
	word = slice_from(word, prefix.len);
	if (slice_eq_nocase(word, SLICE("strict")))
		*ret = STRICT;
	else if (slice_eq_nocase(word, SLICE("lax")))
		*ret = LAX;
	else if (slice_eq_nocase(word, SLICE("never")))
		*ret = NEVER;
	else
		return false;
	return true;
}

static bool modifier_like(struct slice s)
{
	return slice_starts_nocase(s, SLICE("defer_")) || slice_starts_nocase(s, SLICE("dnssec_")) ||
	       slice_starts_nocase(s, SLICE("retrans_")) || slice_starts_nocase(s, SLICE("retry_"));
}

static bool parse_modifier(struct query *q, struct slice word)
{
	if (parse_strictness(word, SLICE("defer_"), &q->defer) ||
	    parse_strictness(word, SLICE("dnssec_"), &q->dnssec))
		return true;
	if (slice_starts_nocase(word, SLICE("retrans_")))
		return conf_parse_time(slice_from(word, strlen("retrans_")), &q->retrans_s) &&
		       q->retrans_s > 0;
	if (slice_starts_nocase(word, SLICE("retry_")))
		return conf_parse_int(slice_from(word, strlen("retry_")), &q->retry) && q->retry >= 0;
	return false;
}

static enum rc parse_modifiers(struct query *q)
{
	while (modifier_like(q->rest)) {
		ptrdiff_t comma = slice_find(q->rest, ',');
		struct slice word =
		    slice_trim(slice_sub(q->rest, 0, comma < 0 ? q->rest.len : (size_t)comma));

		if (comma < 0)
			return err_set(q->err, DEFER, "dnsdb modifier syntax error");
		if (!parse_modifier(q, word))
			return err_set(q->err, DEFER, "unsupported dnsdb modifier \"%.*s\"", SLICE_ARG(word));
		q->rest = slice_ltrim(slice_from(q->rest, (size_t)comma + 1));
	}
	return OK;
}

static enum rc parse_type(struct query *q)
{
	ptrdiff_t equals = slice_find(q->rest, '=');
	struct slice name = SLICE("txt");

	if (equals >= 0) {
		name = slice_trim(slice_sub(q->rest, 0, (size_t)equals));
		q->rest = slice_trim(slice_from(q->rest, (size_t)equals + 1));
	}
	for (unsigned i = 0; i < sizeof(dnsdb_types) / sizeof(dnsdb_types[0]); i++) {
		if (slice_eq_nocase(slice_of(dnsdb_types[i].name), name))
			q->type = &dnsdb_types[i];
	}
	return q->type ? OK : err_set(q->err, DEFER, "unsupported DNS record type");
}

/* ---- Records as text -------------------------------------------------------------------- */

static void add_field_separator(struct query *q)
{
	if (!q->concatenate)
		str_addc(&q->out, q->field ? q->field : ' ');
}

static void add_number(struct query *q, uint64_t number)
{
	str_addu(&q->out, number);
	add_field_separator(q);
}

/* TXT: the first string, or all of them with the field separator, or with none; SPF: all. */
static void add_strings(struct query *q, const struct dns_record *r, bool all)
{
	for (unsigned i = 0; i < r->string_count; i++) {
		if (i > 0 && !all && !q->field && !q->concatenate)
			return;
		if (i > 0 && q->field)
			str_addc(&q->out, q->field);
		str_add(&q->out, r->strings[i]);
	}
}

static void add_soa(struct query *q, const struct dns_record *r)
{
	str_add(&q->out, r->name);
	if (!q->field)
		return;
	str_addc(&q->out, q->field);
	str_add(&q->out, r->soa_mailbox);
	for (unsigned i = 0; i < 5; i++) {
		str_addc(&q->out, q->field);
		str_addu(&q->out, r->soa[i]);
	}
}

static void add_record(struct query *q, enum dns_type type, const struct dns_record *r)
{
	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		str_add_ip(&q->out, &r->ip);
		break;
	case DNS_TXT:
		add_strings(q, r, false);
		break;
	case DNS_SPF:
		add_strings(q, r, true);
		break;
	case DNS_SOA:
		add_soa(q, r);
		break;
	case DNS_TLSA:
		add_number(q, r->usage);
		add_number(q, r->selector);
		add_number(q, r->matching);
		hex_encode(&q->out, r->text, false);
		break;
	case DNS_SRV:
		add_number(q, r->preference);
		add_number(q, r->weight);
		add_number(q, r->port);
		str_add(&q->out, r->name);
		break;
	case DNS_MX:
		if (q->type->pseudo != PSEUDO_MXH)
			add_number(q, r->preference);
		str_add(&q->out, r->name);
		break;
	case DNS_NS:
	case DNS_CNAME:
	case DNS_PTR:
		str_add(&q->out, r->name);
		break;
	}
}

static void add_answer(struct query *q, enum dns_type type, const struct dns_answer *answer)
{
	for (unsigned i = 0; i < answer->count; i++) {
		if (q->found)
			str_addc(&q->out, q->separator);
		q->found = true;
		add_record(q, type, &answer->records[i]);
	}
}

/* ---- Asking ----------------------------------------------------------------------------- */

static enum rc ask(struct query *q, struct slice name, enum dns_type type, struct dns_answer *answer)
{
	struct task *task = q->sc->task;
	uint64_t saved = task->until;
	enum rc rc;

	if (q->retrans_s)
		task->until =
		    task_until(task, (uint64_t)q->retrans_s * 1000 * (uint64_t)(q->retry > 0 ? q->retry : 1));
	if (q->no_read)
		dns_forget(task->shard, name, type);
	rc = lookup_dns_query(q->sc, name, type, answer, q->err);
	task->until = saved;
	if (rc == OK && q->dnssec != NEVER)
		q->sc->lookup_dnssec_authenticated = answer->authentic ? SLICE("yes") : SLICE("no");
	if (rc == OK && q->dnssec == STRICT && !answer->authentic)
		return err_set(q->err, DEFER, "the answer is not authenticated by DNSSEC");
	return rc;
}

/* SOA and ZNS: the name, then with leading components dropped, never the root. */
static enum rc ask_upwards(struct query *q, struct slice name, enum dns_type type, struct dns_answer *answer)
{
	for (;;) {
		enum rc rc = ask(q, name, type, answer);
		ptrdiff_t dot = slice_find(name, '.');

		if (rc != FAIL || dot < 0)
			return rc;
		name = slice_from(name, (size_t)dot + 1);
		if (!name.len)
			return FAIL;
	}
}

/* Client SMTP Authorization (draft-ietf-marid-csv-csa): SRV of _client._smtp.name; in the SRV's terms,
 * priority 1 is the version, weight the authorization, port 1 says that names below need records of their
 * own. */
#define CSA_SEARCH_MAX 5
static enum rc ask_csa(struct query *q, struct slice name)
{
	struct slice asked, parent = name;
	struct dns_answer answer;
	enum rc rc = FAIL;

	for (unsigned i = 0; i < CSA_SEARCH_MAX && parent.len; i++) {
		ptrdiff_t dot = slice_find(parent, '.');

		asked = arena_printf(q->sc->task->arena, "_client._smtp.%.*s", SLICE_ARG(parent));
		if (!asked.ptr)
			return err_memory(q->err);
		rc = ask(q, asked, DNS_SRV, &answer);
		if (rc != FAIL || dot < 0)
			break;
		parent = slice_from(parent, (size_t)dot + 1);
	}
	if (rc != OK)
		return rc;
	for (unsigned i = 0; i < answer.count; i++) {
		const struct dns_record *r = &answer.records[i];
		char code = r->weight == 1 ? 'N' : r->weight == 2 ? 'Y' : '?';

		if (r->preference != 1)
			continue; /* another version of the protocol */
		if (parent.len != name.len) {
			if (!(r->port & 1))
				continue;
			code = 'X';
		}
		if (q->found)
			str_addc(&q->out, q->separator);
		q->found = true;
		str_addc(&q->out, code);
		add_field_separator(q);
		str_add(&q->out, r->name);
	}
	return OK;
}

static enum rc ask_one(struct query *q, struct slice name)
{
	struct dns_answer answer;
	struct ip_addr ip;
	enum rc rc, first;

	if (q->type->pseudo == PSEUDO_CSA)
		return ask_csa(q, name);
	if (q->type->pseudo == PSEUDO_A_PLUS) {
		first = ask(q, name, DNS_AAAA, &answer);
		if (first == CANCELLED)
			return first;
		if (first == OK)
			add_answer(q, DNS_AAAA, &answer);
		q->deferred |= first == DEFER;
		if (first == DEFER && q->defer == STRICT)
			return first;
	}
	if (q->type->type == DNS_PTR && ip_parse(name, &ip)) {
		name = dns_reverse_name(q->sc->task->arena, &ip, SLICE_EMPTY);
		if (!name.ptr)
			return err_memory(q->err);
	}
	rc = q->type->type == DNS_SOA || q->type->pseudo == PSEUDO_ZNS
		 ? ask_upwards(q, name, q->type->type, &answer)
		 : ask(q, name, q->type->type, &answer);
	if (rc == OK)
		add_answer(q, q->type->type, &answer);
	return rc;
}

static enum rc ask_each(struct query *q)
{
	struct arena *arena = q->sc->task->arena;
	struct slice name;
	struct ip_addr ip;
	char separator = 0;
	bool whole;

	/* One IPv6 address is not a list of its parts. */
	whole = q->type->type == DNS_PTR && ip_parse(q->rest, &ip);
	while (whole ? (name = q->rest, q->rest.len > 0) : list_next(arena, &q->rest, &separator, &name)) {
		enum rc rc;

		if (!name.ptr)
			return err_memory(q->err);
		rc = name.len ? ask_one(q, name) : FAIL;
		if (rc == CANCELLED || (rc == DEFER && q->defer == STRICT))
			return rc;
		q->deferred |= rc == DEFER;
		if (whole)
			break;
	}
	return OK;
}

/* "cache=no_rd". */
static bool wants_new(struct slice options)
{
	struct slice option;

	while (slice_split(&options, ',', &option))
		if (slice_eq(option, SLICE("cache=no_rd")))
			return true;
	return false;
}

static enum rc dnsdb_find(struct scope *sc, const struct lookup_type *type,
			  const struct lookup_request *request, struct slice *ret, struct err *err)
{
	struct query q = {
	    .sc = sc,
	    .err = err,
	    .rest = request->key,
	    .no_read = wants_new(request->options),
	    .defer = LAX,
	    .dnssec = LAX,
	    .out = str_make(sc->task->arena),
	};
	enum rc rc;

	(void)type;
	parse_separators(&q);
	rc = parse_modifiers(&q);
	if (rc == OK)
		rc = parse_type(&q);
	if (rc == OK)
		rc = ask_each(&q);
	if (rc != OK)
		return rc;
	if (!q.found)
		return q.deferred && q.defer != NEVER ? DEFER : FAIL;
	*ret = str_slice(&q.out);
	return ret->ptr ? OK : err_memory(err);
}

const struct lookup_type lookup_dnsdb = {.name = "dnsdb", .query = true, .find = dnsdb_find};
