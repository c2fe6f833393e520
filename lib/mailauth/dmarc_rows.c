/* dmarc_rows: the rows of aggregate reports, from results to lines of text, gathered in buckets, and back. What is read back is
 * as suspect as what came from outside: a line that is not of the form is passed over. */
#include "dmarc_rows.h"

#include <stdio.h>

#define COUNT_DIGITS 10
#define UNIT         '\x1f'

/* ---- Writing ------------------------------------------------------------------------------------------- */

static void put(struct str *out, struct slice text, uint32_t max)
{
	for (uint32_t i = 0; i < text.len && i < max; i++)
		str_addc(out, text.ptr[i] >= ' ' && text.ptr[i] <= '~' ? text.ptr[i] : '?');
}

static void put_letter(struct str *out, char letter)
{
	str_addc(out, letter ? letter : '-');
	str_addc(out, '\t');
}

void dmarc_published_write(struct str *out, const struct dmarc_published *p)
{
	put_letter(out, p->psl ? 'l' : 't');
	put_letter(out, p->p);
	put_letter(out, p->sp);
	put_letter(out, p->np);
	put_letter(out, p->adkim);
	put_letter(out, p->aspf);
	put_letter(out, (char)('0' + (p->fo & 7)));
	put_letter(out, p->testing ? 'y' : 'n');
	put(out, p->rua, DMARC_RUA_MAX);
}

static void put_result(struct str *out, const struct dmarc_row_result *r, bool selector)
{
	put(out, r->domain, 253);
	str_addc(out, UNIT);
	if (selector) {
		put(out, r->selector, 253);
		str_addc(out, UNIT);
	}
	put(out, r->result, 20);
	str_addc(out, UNIT);
	put(out, r->problem, 120);
}

void dmarc_row_write(struct str *out, const struct dmarc_row *row)
{
	uint32_t start = out->len, end;

	str_printf(out, "%0*llu\t", COUNT_DIGITS, (unsigned long long)row->count);
	put(out, row->ip, IP_TEXT_MAX);
	str_addc(out, '\t');
	put_letter(out, row->disposition);
	put_letter(out, row->dkim ? 'y' : 'n');
	put_letter(out, row->spf ? 'y' : 'n');
	for (unsigned i = 0; i < row->reason_count; i++) {
		if (i)
			str_addc(out, UNIT);
		put(out, row->reasons[i].type, 30);
		str_addc(out, UNIT);
		put(out, row->reasons[i].comment, 300);
	}
	str_addc(out, '\t');
	put(out, row->from, 253);
	str_addc(out, '\t');
	put(out, row->mail_from, 253);
	str_addc(out, '\t');
	if (row->spf_result.domain.len)
		put_result(out, &row->spf_result, false);
	for (unsigned i = 0; i < row->dkim_count; i++) {
		end = out->len;
		str_addc(out, '\t');
		put_result(out, &row->dkim_results[i], true);
		if (out->len - start > DMARC_ROW_MAX) {
			out->len = end;
			return;
		}
	}
}

struct slice dmarc_key_write(struct arena *arena, const struct dmarc_key *key)
{
	return arena_printf(arena, "%06llu %.*s %08x %02x", (unsigned long long)key->day,
			    SLICE_ARG(key->domain), key->policy, key->bucket);
}

/* ---- Gathering ------------------------------------------------------------------------------------------ */

static bool digits(struct slice text, uint64_t *ret)
{
	return text.len && text.len <= 19 && ascii_is_digit(text.ptr[0]) && parse_u64(text, ret);
}

/* In place: a count at its limit stays there. */
static void count_up(char *count, uint64_t more)
{
	uint64_t number = 0;
	char text[24];

	(void)digits(slice_make(count, COUNT_DIGITS, TAINTED), &number);
	number += more;
	if (number > 9999999999u)
		number = 9999999999u;
	snprintf(text, sizeof(text), "%0*llu", COUNT_DIGITS, (unsigned long long)number);
	memcpy(count, text, COUNT_DIGITS);
}

/* The line that is the same but for its count; NULL: there is none. */
static char *find_row(char *value, size_t len, struct slice row)
{
	char *at = value, *end = value + len;

	while (at < end) {
		char *stop = memchr(at, '\n', (size_t)(end - at));
		size_t length = stop ? (size_t)(stop - at) : (size_t)(end - at);

		if (length == row.len && length > COUNT_DIGITS &&
		    memcmp(at + COUNT_DIGITS, row.ptr + COUNT_DIGITS, length - COUNT_DIGITS) == 0)
			return at;
		at += length + 1;
	}
	return NULL;
}

/* "1 LOST\n" with so many digits that counting moves nothing. */
static size_t begin(char *value, struct slice policy)
{
	int len = sprintf(value, "1\t%0*u\n%.*s\n", COUNT_DIGITS, 0u, SLICE_ARG(policy));

	return (size_t)len;
}

ptrdiff_t dmarc_bucket_merge(struct slice old, struct slice addition, char *new_value)
{
	struct slice policy, row, rest = addition;
	struct dmarc_bucket bucket;
	uint64_t more = 0;
	size_t len;
	char *found;

	if (!slice_split(&rest, '\n', &policy) || !rest.ptr || !slice_split(&rest, '\n', &row) ||
	    policy.len > 2 * DMARC_RUA_MAX || row.len <= COUNT_DIGITS || row.len > DMARC_ROW_MAX ||
	    !digits(slice_sub(row, 0, COUNT_DIGITS), &more))
		return -1;
	/* What cannot be read is begun anew. */
	if (old.ptr && old.len <= DMARC_BUCKET_MAX && dmarc_bucket_read(old, &bucket)) {
		memcpy(new_value, old.ptr, old.len);
		len = old.len;
	} else {
		len = begin(new_value, policy);
	}
	found = find_row(new_value, len, row);
	if (found) {
		count_up(found, more);
	} else if (len + row.len + 1 > DMARC_BUCKET_MAX) {
		count_up(new_value + 2, more);
	} else {
		memcpy(new_value + len, row.ptr, row.len);
		new_value[len + row.len] = '\n';
		len += row.len + 1;
	}
	return (ptrdiff_t)len;
}

/* ---- Reading -------------------------------------------------------------------------------------------- */

static bool field(struct slice *rest, struct slice *ret)
{
	return rest->ptr && slice_split(rest, '\t', ret);
}

/* One of the letters; *ret is 0 for "-" where that is allowed. */
static bool letter(struct slice *rest, const char *allowed, bool none, char *ret)
{
	struct slice text;

	if (!field(rest, &text) || text.len != 1)
		return false;
	*ret = none && text.ptr[0] == '-' ? 0 : text.ptr[0];
	return !*ret || strchr(allowed, *ret);
}

static bool read_published(struct slice line, struct dmarc_published *ret)
{
	char method, fo, testing;

	if (!letter(&line, "tl", false, &method) || !letter(&line, "nqr", false, &ret->p) ||
	    !letter(&line, "nqr", true, &ret->sp) || !letter(&line, "nqr", true, &ret->np) ||
	    !letter(&line, "rs", false, &ret->adkim) || !letter(&line, "rs", false, &ret->aspf) ||
	    !letter(&line, "01234567", false, &fo) || !letter(&line, "yn", false, &testing) || !line.ptr)
		return false;
	ret->psl = method == 'l';
	ret->fo = (unsigned)(fo - '0');
	ret->testing = testing == 'y';
	ret->rua = line;
	return true;
}

static bool unit(struct slice *rest, struct slice *ret)
{
	return rest->ptr && slice_split(rest, UNIT, ret);
}

static bool read_result(struct slice text, bool selector, struct dmarc_row_result *ret)
{
	ret->selector = SLICE_EMPTY;
	return unit(&text, &ret->domain) && (!selector || unit(&text, &ret->selector)) &&
	       unit(&text, &ret->result) && unit(&text, &ret->problem) && ret->domain.len && ret->result.len;
}

static bool read_reasons(struct slice text, struct dmarc_row *row)
{
	while (text.len && row->reason_count < DMARC_REASONS_MAX) {
		struct dmarc_reason *reason = &row->reasons[row->reason_count];

		if (!unit(&text, &reason->type) || !unit(&text, &reason->comment) || !reason->type.len)
			return false;
		row->reason_count++;
	}
	return true;
}

static bool read_row(struct slice line, struct dmarc_row *row)
{
	struct slice text, reasons, spf;
	char dkim, aligned;

	*row = (struct dmarc_row){.count = 0, .ip = SLICE_EMPTY};
	row->spf_result.domain = SLICE_EMPTY;
	if (!field(&line, &text) || !digits(text, &row->count) || !row->count || !field(&line, &row->ip) ||
	    !row->ip.len || !letter(&line, "npqr", false, &row->disposition) ||
	    !letter(&line, "yn", false, &dkim) || !letter(&line, "yn", false, &aligned) ||
	    !field(&line, &reasons) || !read_reasons(reasons, row) || !field(&line, &row->from) ||
	    !row->from.len || !field(&line, &row->mail_from) || !field(&line, &spf))
		return false;
	if (spf.len && !read_result(spf, false, &row->spf_result))
		return false;
	row->dkim = dkim == 'y';
	row->spf = aligned == 'y';
	while (row->dkim_count < DKIM_SIGNATURES_MAX && field(&line, &text))
		if (!read_result(text, true, &row->dkim_results[row->dkim_count++]))
			return false;
	return true;
}

bool dmarc_bucket_read(struct slice value, struct dmarc_bucket *ret)
{
	struct slice line;

	if (!slice_split(&value, '\n', &line) || line.len != 2 + COUNT_DIGITS ||
	    !slice_starts(line, SLICE("1\t")) || !digits(slice_from(line, 2), &ret->lost) || !value.ptr ||
	    !slice_split(&value, '\n', &ret->policy) || !read_published(ret->policy, &ret->published))
		return false;
	ret->rows = value;
	return true;
}

bool dmarc_bucket_next(struct dmarc_bucket *bucket, struct dmarc_row *row_ret)
{
	struct slice line;

	while (bucket->rows.ptr && slice_split(&bucket->rows, '\n', &line))
		if (read_row(line, row_ret))
			return true;
	return false;
}

static bool hexadecimal(struct slice text, uint32_t len, uint32_t *ret)
{
	*ret = 0;
	for (uint32_t i = 0; i < text.len; i++) {
		int digit = hex_digit(text.ptr[i]);
		if (digit < 0)
			return false;
		*ret = *ret << 4 | (uint32_t)digit;
	}
	return text.len == len;
}

static bool printable(struct slice text)
{
	for (uint32_t i = 0; i < text.len; i++)
		if (text.ptr[i] <= ' ' || text.ptr[i] > '~')
			return false;
	return text.len;
}

bool dmarc_key_read(struct slice text, struct dmarc_key *ret)
{
	struct slice day, policy, bucket;

	return slice_split(&text, ' ', &day) && day.len == 6 && digits(day, &ret->day) && text.ptr &&
	       slice_split(&text, ' ', &ret->domain) && printable(ret->domain) && text.ptr &&
	       slice_split(&text, ' ', &policy) && hexadecimal(policy, 8, &ret->policy) && text.ptr &&
	       slice_split(&text, ' ', &bucket) && hexadecimal(bucket, 2, &ret->bucket) && !text.ptr;
}
