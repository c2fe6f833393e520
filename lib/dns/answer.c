/* answer: from the bytes that a resolver sent to records. The whole of this file sees what strangers wrote:
 * lengths come from what arrived, names may only point backwards, and a record that is too short for its type
 * makes the answer malformed, which is DEFER, never "no such data". */

#include "answer.h"

enum { SECTION_ANSWER, SECTION_AUTHORITY };

struct rr {
	struct wire_name owner;
	uint16_t type, class;
	uint32_t ttl_s;
	size_t at, len; /* the data within the message */
};

struct reader {
	const uint8_t *bytes;
	size_t len;
	struct arena *arena;
};

static bool rr_read(const struct reader *r, size_t *at, struct rr *rr)
{
	size_t p = *at;

	if (!wire_name_read(r->bytes, r->len, p, &rr->owner, &p) || r->len - p < 10)
		return false;
	rr->type = wire_u16(r->bytes + p);
	rr->class = wire_u16(r->bytes + p + 2);
	rr->ttl_s = wire_u32(r->bytes + p + 4);
	rr->len = wire_u16(r->bytes + p + 8);
	rr->at = p + 10;
	if (rr->len > r->len - rr->at)
		return false;
	if (rr->ttl_s > INT32_MAX) /* RFC 2181 section 8 */
		rr->ttl_s = 0;
	if (rr->ttl_s > ANSWER_TTL_MAX_S)
		rr->ttl_s = ANSWER_TTL_MAX_S;
	*at = rr->at + rr->len;
	return true;
}

/* The name at so many bytes into the data; *at moves behind it. It may point back to anywhere, but its own
 * bytes end inside the data. */
static bool rr_name_at(const struct reader *r, const struct rr *rr, size_t *at, struct wire_name *name)
{
	size_t end;

	if (!wire_name_read(r->bytes, r->len, rr->at + *at, name, &end) || end > rr->at + rr->len)
		return false;
	*at = end - rr->at;
	return true;
}

static bool rr_name(const struct reader *r, const struct rr *rr, size_t skip, struct slice *text)
{
	struct wire_name name;

	if (rr->len < skip || !rr_name_at(r, rr, &skip, &name) || skip != rr->len)
		return false;
	*text = wire_name_text(r->arena, &name);
	return text->ptr != NULL;
}

static bool rr_text(const struct reader *r, const struct rr *rr, struct dns_record *record)
{
	const uint8_t *p = r->bytes + rr->at;
	unsigned count = 0;
	size_t total = 0, at;
	char *text;

	for (at = 0; at < rr->len; at += 1u + p[at], count++)
		total += p[at];
	if (at != rr->len || count == 0)
		return false;
	text = arena_bytes(r->arena, total ? total : 1);
	record->strings = arena_array(r->arena, struct slice, count);
	if (!text || !record->strings)
		return false;
	record->text = slice_make(text, total, TAINTED);
	for (at = 0; at < rr->len; at += 1u + p[at]) {
		memcpy(text, p + at + 1, p[at]);
		record->strings[record->string_count++] = slice_make(text, p[at], TAINTED);
		text += p[at];
	}
	return true;
}

static bool rr_soa(const struct reader *r, const struct rr *rr, struct dns_record *record)
{
	struct wire_name primary, mailbox;
	size_t at = 0;

	if (!rr_name_at(r, rr, &at, &primary) || !rr_name_at(r, rr, &at, &mailbox) || rr->len - at != 20)
		return false;
	for (unsigned i = 0; i < 5; i++)
		record->soa[i] = wire_u32(r->bytes + rr->at + at + i * 4);
	record->name = wire_name_text(r->arena, &primary);
	record->soa_mailbox = wire_name_text(r->arena, &mailbox);
	return record->name.ptr && record->soa_mailbox.ptr;
}

static bool rr_tlsa(const struct reader *r, const struct rr *rr, struct dns_record *record)
{
	const uint8_t *p = r->bytes + rr->at;

	if (rr->len < 4) /* RFC 6698 section 2.1: three numbers, and data that is not empty */
		return false;
	record->usage = p[0];
	record->selector = p[1];
	record->matching = p[2];
	record->text = arena_copy(r->arena, slice_make((const char *)p + 3, rr->len - 3, TAINTED));
	return record->text.ptr != NULL;
}

/* The data of one record; false when it is not what its type says, or memory is out. */
static bool rr_record(const struct reader *r, const struct rr *rr, struct dns_record *record)
{
	const uint8_t *p = r->bytes + rr->at;

	record->ttl_s = rr->ttl_s;
	record->name = record->text = record->soa_mailbox = SLICE_EMPTY;
	switch (rr->type) {
	case DNS_A:
	case DNS_AAAA:
		record->ip.family = rr->type == DNS_A ? 4 : 6;
		if (rr->len != (rr->type == DNS_A ? 4u : 16u))
			return false;
		memcpy(record->ip.bytes, p, rr->len);
		return true;
	case DNS_NS:
	case DNS_CNAME:
	case DNS_PTR:
		return rr_name(r, rr, 0, &record->name);
	case DNS_MX:
		if (rr->len < 3)
			return false;
		record->preference = wire_u16(p);
		return rr_name(r, rr, 2, &record->name);
	case DNS_SRV:
		if (rr->len < 7)
			return false;
		record->preference = wire_u16(p);
		record->weight = wire_u16(p + 2);
		record->port = wire_u16(p + 4);
		return rr_name(r, rr, 6, &record->name);
	case DNS_TXT:
	case DNS_SPF:
		return rr_text(r, rr, record);
	case DNS_TLSA:
		return rr_tlsa(r, rr, record);
	case DNS_SOA:
		return rr_soa(r, rr, record);
	default:
		return false;
	}
}

/* Follows the aliases of the answer section from *name, which is left at the end of the chain. Their order in
 * the message does not matter (RFC 1034 section 3.6.2 asks for none). false: a loop, or malformed. */
static bool chain_follow(const struct reader *r, size_t answers, unsigned count, struct wire_name *name,
			 uint32_t *ttl_s)
{
	for (unsigned links = 0; links <= ANSWER_CNAME_COUNT_MAX; links++) {
		size_t at = answers, skip = 0;
		struct rr rr;
		unsigned i;

		for (i = 0; i < count; i++) {
			if (!rr_read(r, &at, &rr))
				return false;
			if (rr.type == DNS_CNAME && rr.class == WIRE_CLASS_IN &&
			    wire_name_eq(&rr.owner, name))
				break;
		}
		if (i == count)
			return true;
		if (!rr_name_at(r, &rr, &skip, name) || skip != rr.len)
			return false;
		if (rr.ttl_s < *ttl_s)
			*ttl_s = rr.ttl_s;
	}
	return false;
}

/* The records of the type that the name at the end of the chain owns. */
static bool records_collect(const struct reader *r, size_t *at, unsigned count, const struct wire_name *name,
			    enum dns_type type, struct dns_answer *answer)
{
	size_t start = *at;
	unsigned found = 0;
	struct rr rr;

	for (unsigned i = 0; i < count; i++) {
		if (!rr_read(r, at, &rr))
			return false;
		found += rr.type == type && rr.class == WIRE_CLASS_IN && wire_name_eq(&rr.owner, name);
	}
	if (found > ANSWER_RECORD_COUNT_MAX)
		return false;
	if (found == 0)
		return true;
	answer->records = arena_array(r->arena, struct dns_record, found);
	if (!answer->records)
		return false;
	*at = start;
	for (unsigned i = 0; i < count; i++) {
		if (!rr_read(r, at, &rr))
			return false;
		if (rr.type != type || rr.class != WIRE_CLASS_IN || !wire_name_eq(&rr.owner, name))
			continue;
		if (!rr_record(r, &rr, &answer->records[answer->count++]))
			return false;
		if (rr.ttl_s < answer->ttl_s)
			answer->ttl_s = rr.ttl_s;
	}
	return true;
}

/* How long a denial may be kept: the lesser of the SOA's own TTL and its last field, which must both be there
 * (RFC 2308 sections 3 and 5). 0: not at all. */
static bool denial_ttl(const struct reader *r, size_t at, unsigned count, uint32_t *ttl_s)
{
	uint32_t chain = *ttl_s;

	*ttl_s = 0;
	for (unsigned i = 0; i < count; i++) {
		struct dns_record soa = {.ttl_s = 0};
		struct rr rr;

		if (!rr_read(r, &at, &rr))
			return false;
		if (rr.type != DNS_SOA || rr.class != WIRE_CLASS_IN)
			continue;
		if (!rr_record(r, &rr, &soa))
			return false;
		*ttl_s = rr.ttl_s < soa.soa[4] ? rr.ttl_s : soa.soa[4];
		break;
	}
	if (*ttl_s > ANSWER_NEGATIVE_TTL_MAX_S)
		*ttl_s = ANSWER_NEGATIVE_TTL_MAX_S;
	if (*ttl_s > chain)
		*ttl_s = chain;
	return true;
}

/* Checks header and question; *at is left behind the question. */
static bool question_check(const struct reader *r, const struct wire_name *name, enum dns_type type,
			   size_t *at)
{
	struct wire_name asked;

	if (r->len < WIRE_HEADER_SIZE)
		return false;
	/* An answer, to a standard query, not truncated (the retry by TCP has been by now), one question. */
	if ((r->bytes[2] & 0xfa) != 0x80 || wire_u16(r->bytes + 4) != 1)
		return false;
	*at = WIRE_HEADER_SIZE;
	if (!wire_name_read(r->bytes, r->len, *at, &asked, at) || r->len - *at < 4)
		return false;
	if (!wire_name_eq(&asked, name) || wire_u16(r->bytes + *at) != type ||
	    wire_u16(r->bytes + *at + 2) != WIRE_CLASS_IN)
		return false;
	*at += 4;
	return true;
}

enum rc answer_parse(struct arena *arena, const uint8_t *bytes, size_t len, const struct wire_name *name,
		     enum dns_type type, struct dns_answer *answer_ret, struct err *err)
{
	struct reader r = {.bytes = bytes, .len = len, .arena = arena};
	struct dns_answer answer = {.ttl_s = ANSWER_TTL_MAX_S};
	struct wire_name canonical = *name;
	unsigned rcode, answers, authorities;
	size_t at;

	if (!question_check(&r, name, type, &at))
		goto malformed;
	rcode = bytes[3] & 0x0f;
	if (rcode != RCODE_NOERROR && rcode != RCODE_NXDOMAIN)
		return err_set(err, DEFER, "the name server answered with error code %u%s", rcode,
			       rcode == RCODE_SERVFAIL ? " (server failure)" : "");
	answers = wire_u16(bytes + 6);
	authorities = wire_u16(bytes + 8);
	answer.authentic = bytes[3] & 0x20;
	if (type != DNS_CNAME && !chain_follow(&r, at, answers, &canonical, &answer.ttl_s))
		goto malformed;
	if (!records_collect(&r, &at, answers, &canonical, type, &answer))
		goto malformed;
	answer.canonical = wire_name_text(arena, &canonical);
	if (!answer.canonical.ptr)
		return err_memory(err);
	if (answer.count == 0) {
		answer.nxdomain = rcode == RCODE_NXDOMAIN;
		if (!denial_ttl(&r, at, authorities, &answer.ttl_s))
			goto malformed;
	}
	*answer_ret = answer;
	return answer.count > 0 ? OK : FAIL;

malformed:
	return err_set(err, DEFER, "the name server's answer is malformed");
}

static void record_swap(struct dns_record *a, struct dns_record *b)
{
	struct dns_record kept = *a;

	*a = *b;
	*b = kept;
}

/* Shell's sort, in place: qsort() would take memory from the heap for more than a handful. */
static void sort_by_preference(struct dns_record *records, unsigned count)
{
	for (unsigned gap = count / 2; gap > 0; gap /= 2)
		for (unsigned i = gap; i < count; i++)
			for (unsigned j = i; j >= gap && records[j - gap].preference > records[j].preference;
			     j -= gap)
				record_swap(&records[j - gap], &records[j]);
}

/* RFC 2782: among records of one priority each place goes to one of those left, with a chance in proportion
 * to its weight. The records come in shuffled, so weight 0 has its small chance by standing first. */
static void weigh(struct dns_record *records, unsigned count, uint32_t (*random)(void *arg), void *arg)
{
	for (unsigned place = 0; place + 1 < count; place++) {
		uint32_t total = 0, pick, i;

		for (i = place; i < count; i++)
			total += records[i].weight;
		pick = total ? random(arg) % (total + 1) : 0;
		for (i = place; i + 1 < count && records[i].weight < pick; i++)
			pick -= records[i].weight;
		record_swap(&records[place], &records[i]);
	}
}

void answer_sort(struct dns_answer *answer, enum dns_type type, uint32_t (*random)(void *arg), void *arg)
{
	struct dns_record *records = answer->records;

	if (type != DNS_MX && type != DNS_SRV)
		return;
	for (unsigned i = answer->count; i > 1; i--)
		record_swap(&records[i - 1], &records[random(arg) % i]);
	sort_by_preference(records, answer->count);
	if (type != DNS_SRV)
		return;
	for (unsigned from = 0, to; from < answer->count; from = to) {
		for (to = from + 1; to < answer->count && records[to].preference == records[from].preference;
		     to++)
			;
		weigh(records + from, to - from, random, arg);
	}
}
