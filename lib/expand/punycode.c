/* punycode: local parts beyond ASCII, written in ASCII for hosts that have no SMTPUTF8: "xn--" and all of the local part
 * in the encoding of RFC 3492, letters' case and dots included. A convention between mail systems that agreed on it:
 * unlike with domains no standard says that the two are the same mailbox. */

#include "items.h"
#include "tree.h"

#define LOCAL_PART_MAX 1024 /* characters; the work grows with their square */

/* RFC 3492 section 5. */
enum { BASE = 36, TMIN = 1, TMAX = 26, SKEW = 38, DAMP = 700, BIAS_FIRST = 72, CODE_FIRST = 128 };

static uint32_t bias_adapt(uint32_t delta, uint32_t count, bool first)
{
	uint32_t k = 0;

	delta = first ? delta / DAMP : delta / 2;
	for (delta += delta / count; delta > ((BASE - TMIN) * TMAX) / 2; k += BASE)
		delta /= BASE - TMIN;
	return k + (BASE - TMIN + 1) * delta / (delta + SKEW);
}

static uint32_t threshold(uint32_t k, uint32_t bias)
{
	return k <= bias + TMIN ? TMIN : k >= bias + TMAX ? TMAX : k - bias;
}

/* len as utf8_sequence() gave it. */
uint32_t utf8_character(struct slice s, unsigned len)
{
	uint32_t c = (unsigned char)s.ptr[0];

	if (len == 1)
		return c;
	c &= 0x7fu >> len;
	for (unsigned i = 1; i < len; i++)
		c = c << 6 | ((unsigned char)s.ptr[i] & 0x3f);
	return c;
}

static enum rc not_converted(const char *what, struct slice subject, struct err *err)
{
	return err_set(err, FAIL, "error converting %s \"%.*s\"", what, SLICE_ARG(subject));
}

/* One delta as a variable-length number (section 3.3). */
static void delta_write(struct str *str, uint32_t delta, uint32_t bias)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz0123456789";

	for (uint32_t k = BASE;; k += BASE) {
		uint32_t t = threshold(k, bias);

		if (delta < t)
			break;
		str_addc(str, digits[t + (delta - t) % (BASE - t)]);
		delta = (delta - t) / (BASE - t);
	}
	str_addc(str, digits[delta]);
}

/* Section 6.3. The characters are at most LOCAL_PART_MAX: no delta exceeds 2^31. */
static void encode(struct str *str, const uint32_t *characters, uint32_t count)
{
	uint32_t code = CODE_FIRST, delta = 0, bias = BIAS_FIRST, done = 0, basic;

	for (uint32_t i = 0; i < count; i++)
		if (characters[i] < 0x80) {
			str_addc(str, (char)characters[i]);
			done++;
		}
	basic = done;
	if (basic)
		str_addc(str, '-');
	while (done < count) {
		uint32_t next = UINT32_MAX;

		for (uint32_t i = 0; i < count; i++)
			if (characters[i] >= code && characters[i] < next)
				next = characters[i];
		delta += (next - code) * (done + 1);
		code = next;
		for (uint32_t i = 0; i < count; i++) {
			if (characters[i] < code)
				delta++;
			if (characters[i] != code)
				continue;
			delta_write(str, delta, bias);
			bias = bias_adapt(delta, done + 1, done == basic);
			delta = 0;
			done++;
		}
		delta++;
		code++;
	}
}

enum rc op_localpart_to_alabel(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
			       struct err *err)
{
	struct str str = str_make(sc->task->arena);
	struct slice rest = subject;
	uint32_t *characters, count = 0;
	bool beyond_ascii = false;

	(void)arg;
	for (uint32_t i = 0; i < subject.len; i++)
		beyond_ascii |= (unsigned char)subject.ptr[i] >= 0x80;
	if (!beyond_ascii) {
		*ret = subject;
		return OK;
	}
	if (subject.len > LOCAL_PART_MAX)
		return err_set(err, FAIL, "local part is too long for an alabel");
	characters = arena_array(sc->task->arena, uint32_t, subject.len);
	if (!characters)
		return err_memory(err);
	while (rest.len) {
		unsigned len = utf8_sequence(rest);

		if (!len)
			return not_converted("bad utf8 to alabel:", subject, err);
		characters[count++] = utf8_character(rest, len);
		rest = slice_from(rest, len);
	}
	str.taint = subject.taint;
	str_addz(&str, "xn--");
	encode(&str, characters, count);
	return str_result(&str, ret, err);
}

static int digit_value(char c)
{
	if (ascii_is_digit(c))
		return c - '0' + 26;
	return ascii_is_alpha(c) ? ascii_lower(c) - 'a' : -1;
}

/* The next delta. false: the text ends in the middle of it, or is none, or it is too large. */
static bool delta_read(struct slice *rest, uint32_t bias, uint32_t *delta_ret)
{
	uint64_t delta = 0, weight = 1;

	for (uint32_t k = BASE; rest->len; k += BASE) {
		int digit = digit_value(rest->ptr[0]);
		uint32_t t = threshold(k, bias);

		*rest = slice_from(*rest, 1);
		if (digit < 0)
			return false;
		delta += (uint64_t)digit * weight;
		if (delta > UINT32_MAX)
			return false;
		if ((uint32_t)digit < t) {
			*delta_ret = (uint32_t)delta;
			return true;
		}
		weight *= BASE - t;
		if (weight > UINT32_MAX)
			return false;
	}
	return false;
}

/* Section 6.2. Returns how many; 0: malformed. characters has room for one a byte. */
static uint32_t decode(struct slice text, uint32_t *characters)
{
	ptrdiff_t basic = slice_rfind(text, '-');
	uint32_t count = 0, code = CODE_FIRST, place = 0, bias = BIAS_FIRST, delta;
	struct slice rest = text;

	if (basic > 0) {
		for (; count < (uint32_t)basic; count++) {
			if ((unsigned char)text.ptr[count] >= 0x80)
				return 0;
			characters[count] = (unsigned char)text.ptr[count];
		}
		rest = slice_from(text, (size_t)basic + 1);
	}
	while (rest.len) {
		if (!delta_read(&rest, bias, &delta) || delta > UINT32_MAX - place)
			return 0;
		bias = bias_adapt(delta, count + 1, place == 0 && code == CODE_FIRST);
		place += delta;
		if (place / (count + 1) > 0x10ffff - code)
			return 0;
		code += place / (count + 1);
		place %= count + 1;
		if (code >= 0xd800 && code < 0xe000)
			return 0;
		memmove(characters + place + 1, characters + place, (count - place) * sizeof(*characters));
		characters[place++] = code;
		count++;
	}
	return count;
}

enum rc op_localpart_from_alabel(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
				 struct err *err)
{
	struct str str = str_make(sc->task->arena);
	struct slice text;
	uint32_t *characters, count;

	(void)arg;
	if (!slice_starts_nocase(subject, SLICE("xn--")))
		return not_converted("alabel to utf8: bad alabel prefix in", subject, err);
	text = slice_from(subject, 4);
	if (text.len > LOCAL_PART_MAX)
		return err_set(err, FAIL, "alabel is too long for a local part");
	characters = arena_array(sc->task->arena, uint32_t, text.len + 1);
	if (!characters)
		return err_memory(err);
	count = decode(text, characters);
	if (!count && text.len)
		return not_converted("alabel to utf8:", subject, err);
	str.taint = subject.taint;
	for (uint32_t i = 0; i < count; i++)
		str_add_utf8(&str, characters[i]);
	return str_result(&str, ret, err);
}
