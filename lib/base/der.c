/* Reading DER. */
#include "base/der.h"

#include "base/num.h"

bool der_next(struct slice *rest, struct der_item *item_ret)
{
	const uint8_t *p = (const uint8_t *)rest->ptr;
	uint32_t at = 2, len;

	if (rest->len < 2 || (p[0] & 0x1f) == 0x1f) /* long tags are used by nothing that is read here */
		return false;
	len = p[1];
	if (len >= 0x80) {
		unsigned count = len & 0x7f;

		if (count == 0 || count > 4 || rest->len < 2 + count)
			return false; /* indefinite lengths are BER, not DER */
		len = 0;
		for (unsigned i = 0; i < count; i++)
			len = len << 8 | p[at++];
		if (len < 0x80 || p[2] == 0)
			return false; /* it could have been shorter: BER again */
	}
	if (len > rest->len - at)
		return false;
	item_ret->tag = p[0];
	item_ret->whole = slice_sub(*rest, 0, at + len);
	item_ret->body = slice_sub(*rest, at, len);
	*rest = slice_from(*rest, at + len);
	return true;
}

bool der_expect(struct slice *rest, uint8_t tag, struct der_item *item_ret)
{
	return rest->len > 0 && (uint8_t)rest->ptr[0] == tag && der_next(rest, item_ret);
}

bool der_optional(struct slice *rest, uint8_t tag, struct der_item *item_ret)
{
	return der_expect(rest, tag, item_ret);
}

bool der_bits(struct slice body, struct slice *bytes_ret)
{
	if (body.len < 1 || body.ptr[0] != 0)
		return false;
	*bytes_ret = slice_from(body, 1);
	return true;
}

static bool two_digits(struct slice s, unsigned at, int *ret)
{
	if (at + 2 > s.len || !ascii_is_digit(s.ptr[at]) || !ascii_is_digit(s.ptr[at + 1]))
		return false;
	*ret = (s.ptr[at] - '0') * 10 + (s.ptr[at + 1] - '0');
	return true;
}

/* Days from the epoch to a date of the Gregorian calendar, by counting years from March on. */
static int64_t days_from_date(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year, era = y / 400, in_era = y % 400;
	int64_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

bool der_time(const struct der_item *item, int64_t *seconds_ret)
{
	int century = 0, year, part[5];
	struct slice s = item->body;
	unsigned at = 0;

	if (item->tag == DER_GENERALIZED_TIME) {
		if (!two_digits(s, 0, &century))
			return false;
		at = 2;
	} else if (item->tag != DER_UTC_TIME) {
		return false;
	}
	if (!two_digits(s, at, &year))
		return false;
	if (item->tag == DER_UTC_TIME)
		century = year < 50 ? 20 : 19;
	at += 2;
	for (unsigned i = 0; i < 5; i++, at += 2)
		if (!two_digits(s, at, &part[i]))
			return false;
	if (at < s.len && s.ptr[at] == '.') /* fractions are allowed to responders, and of no use */
		for (at++; at < s.len && ascii_is_digit(s.ptr[at]); at++)
			;
	if (at + 1 != s.len || s.ptr[at] != 'Z' || part[0] < 1 || part[0] > 12 || part[1] < 1 ||
	    part[1] > 31 || part[2] > 23 || part[3] > 59 || part[4] > 60)
		return false;
	*seconds_ret = days_from_date(century * 100 + year, part[0], part[1]) * 86400 + part[2] * 3600 +
		       part[3] * 60 + part[4];
	return true;
}

bool der_small(struct slice body, unsigned *number_ret)
{
	unsigned number = 0;

	if (body.len == 0 || body.len > 3 || (body.ptr[0] & 0x80))
		return false;
	for (uint32_t i = 0; i < body.len; i++)
		number = number << 8 | (uint8_t)body.ptr[i];
	*number_ret = number;
	return true;
}

bool der_positive(struct slice *rest, struct slice *number_ret)
{
	struct der_item item;
	struct slice number;

	if (!der_expect(rest, DER_INTEGER, &item) || !item.body.len || (item.body.ptr[0] & 0x80))
		return false;
	number = item.body;
	if (number.len > 1 && number.ptr[0] == 0 && (number.ptr[1] & 0x80))
		number = slice_from(number, 1);
	*number_ret = number;
	return number.ptr[0] != 0;
}

void der_oid_text(struct str *str, struct slice body)
{
	uint64_t arc = 0;
	bool first = true;

	for (uint32_t i = 0; i < body.len; i++) {
		uint8_t byte = (uint8_t)body.ptr[i];

		if (arc >> 56)
			return; /* no arc that anybody has assigned is so large */
		arc = arc << 7 | (byte & 0x7f);
		if (byte & 0x80)
			continue;
		if (first) {
			unsigned root = arc < 40 ? 0 : arc < 80 ? 1 : 2;
			str_addu(str, root);
			arc -= root * 40u;
			first = false;
		}
		str_addc(str, '.');
		str_addu(str, arc);
		arc = 0;
	}
}
