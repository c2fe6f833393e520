/* dmarc_xml: an aggregate report as XML (RFC 9990, section 3.1.1 and appendix A). */
#include "dmarc_aggregate.h"

#define NAMESPACE "urn:ietf:params:xml:ns:dmarc-2.0"

static void put(struct str *out, struct slice text)
{
	for (uint32_t i = 0; i < text.len; i++)
		switch (text.ptr[i]) {
		case '&':
			str_addz(out, "&amp;");
			break;
		case '<':
			str_addz(out, "&lt;");
			break;
		case '>':
			str_addz(out, "&gt;");
			break;
		default:
			/* XML has no way to write most control characters; others are not expected here. */
			str_addc(out, text.ptr[i] >= ' ' && text.ptr[i] <= '~' ? text.ptr[i] : '?');
		}
}

static void element(struct str *out, const char *indent, const char *name, struct slice text)
{
	str_printf(out, "%s<%s>", indent, name);
	put(out, text);
	str_printf(out, "</%s>\n", name);
}

static void element_number(struct str *out, const char *indent, const char *name, uint64_t number)
{
	str_printf(out, "%s<%s>%llu</%s>\n", indent, name, (unsigned long long)number, name);
}

static struct slice word_of(char letter)
{
	return letter == 'r'   ? SLICE("reject")
	       : letter == 'q' ? SLICE("quarantine")
	       : letter == 'p' ? SLICE("pass")
			       : SLICE("none");
}

static struct slice one_of(bool pass)
{
	return pass ? SLICE("pass") : SLICE("fail");
}

static void put_metadata(struct str *out, const struct dmarc_reporter *reporter,
			 const struct dmarc_gathered *g, uint64_t lost)
{
	str_addz(out, "  <report_metadata>\n");
	element(out, "    ", "org_name", reporter->organization);
	element(out, "    ", "email", reporter->contact);
	if (reporter->extra.len)
		element(out, "    ", "extra_contact_info", reporter->extra);
	element(out, "    ", "report_id", g->id);
	str_addz(out, "    <date_range>\n");
	element_number(out, "      ", "begin", g->begin);
	element_number(out, "      ", "end", g->end);
	str_addz(out, "    </date_range>\n");
	if (lost)
		str_printf(
		    out, "    <error>%llu more messages were too many different ones to be told of</error>\n",
		    (unsigned long long)lost);
	str_addz(out, "    <generator>sluice " SLUICE_VERSION "</generator>\n  </report_metadata>\n");
}

/* "0", "1", "d", "s" as the record has them. */
static void put_fo(struct str *out, unsigned fo)
{
	str_addz(out, "    <fo>");
	str_addc(out, fo & DMARC_FO_ANY ? '1' : '0');
	if (fo & DMARC_FO_DKIM)
		str_addz(out, ":d");
	if (fo & DMARC_FO_SPF)
		str_addz(out, ":s");
	str_addz(out, "</fo>\n");
}

static void put_published(struct str *out, struct slice domain, const struct dmarc_published *p)
{
	str_addz(out, "  <policy_published>\n");
	element(out, "    ", "domain", domain);
	element(out, "    ", "discovery_method", p->psl ? SLICE("psl") : SLICE("treewalk"));
	element(out, "    ", "p", word_of(p->p));
	if (p->sp)
		element(out, "    ", "sp", word_of(p->sp));
	if (p->np && !p->psl)
		element(out, "    ", "np", word_of(p->np));
	put_fo(out, p->fo);
	element(out, "    ", "adkim", p->adkim == 's' ? SLICE("s") : SLICE("r"));
	element(out, "    ", "aspf", p->aspf == 's' ? SLICE("s") : SLICE("r"));
	if (!p->psl)
		element(out, "    ", "testing", p->testing ? SLICE("y") : SLICE("n"));
	str_addz(out, "  </policy_published>\n");
}

static void put_row(struct str *out, const struct dmarc_row *row)
{
	str_addz(out, "    <row>\n");
	element(out, "      ", "source_ip", row->ip);
	element_number(out, "      ", "count", row->count);
	str_addz(out, "      <policy_evaluated>\n");
	element(out, "        ", "disposition", word_of(row->disposition));
	element(out, "        ", "dkim", one_of(row->dkim));
	element(out, "        ", "spf", one_of(row->spf));
	for (unsigned i = 0; i < row->reason_count; i++) {
		str_addz(out, "        <reason>\n");
		element(out, "          ", "type", row->reasons[i].type);
		if (row->reasons[i].comment.len)
			element(out, "          ", "comment", row->reasons[i].comment);
		str_addz(out, "        </reason>\n");
	}
	str_addz(out, "      </policy_evaluated>\n    </row>\n");
}

static void put_result(struct str *out, const char *name, const struct dmarc_row_result *r)
{
	bool spf = *name == 's';

	str_printf(out, "      <%s>\n", name);
	element(out, "        ", "domain", r->domain);
	element(out, "        ", spf ? "scope" : "selector", spf ? SLICE("mfrom") : r->selector);
	element(out, "        ", "result", r->result);
	if (r->problem.len)
		element(out, "        ", "human_result", r->problem);
	str_printf(out, "      </%s>\n", name);
}

static void put_record(struct str *out, const struct dmarc_row *row)
{
	str_addz(out, "  <record>\n");
	put_row(out, row);
	str_addz(out, "    <identifiers>\n");
	element(out, "      ", "header_from", row->from);
	element(out, "      ", "envelope_from", row->mail_from);
	str_addz(out, "    </identifiers>\n    <auth_results>\n");
	for (unsigned i = 0; i < row->dkim_count; i++)
		put_result(out, "dkim", &row->dkim_results[i]);
	if (row->spf_result.domain.len)
		put_result(out, "spf", &row->spf_result);
	str_addz(out, "    </auth_results>\n  </record>\n");
}

/* What all buckets have in common, and what they lost. false: none can be read. */
static bool look(const struct dmarc_gathered *g, struct dmarc_published *published, uint64_t *lost)
{
	struct dmarc_bucket bucket;
	bool any = false;

	*lost = 0;
	for (unsigned i = 0; i < g->bucket_count; i++)
		if (dmarc_bucket_read(g->buckets[i], &bucket)) {
			*published = bucket.published;
			*lost += bucket.lost;
			any = true;
		}
	return any;
}

struct slice dmarc_xml(struct arena *arena, const struct dmarc_reporter *reporter,
		       const struct dmarc_gathered *g, uint64_t *messages_ret, unsigned *rows_ret)
{
	struct str out = str_make(arena);
	struct dmarc_published published = {0};
	uint64_t lost;

	*messages_ret = 0;
	*rows_ret = 0;
	if (!look(g, &published, &lost))
		return (struct slice){NULL, 0, CLEAN};
	str_addz(&out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feedback xmlns=\"" NAMESPACE
		       "\">\n  <version>1.0</version>\n");
	put_metadata(&out, reporter, g, lost);
	put_published(&out, g->domain, &published);
	for (unsigned i = 0; i < g->bucket_count; i++) {
		struct dmarc_bucket bucket;
		struct dmarc_row row;

		if (!dmarc_bucket_read(g->buckets[i], &bucket))
			continue;
		while (dmarc_bucket_next(&bucket, &row)) {
			put_record(&out, &row);
			*messages_ret += row.count;
			++*rows_ret;
		}
	}
	str_addz(&out, "</feedback>\n");
	return *rows_ret ? str_slice(&out) : (struct slice){NULL, 0, CLEAN};
}
