#include "base/base.h"

static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char b62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

void base64_encode(struct str *str, struct slice bytes)
{
	const unsigned char *p = (const unsigned char *)bytes.ptr;
	size_t len = bytes.len;
	char *out;

	str->taint |= bytes.taint;
	if (!len || !str_reserve(str, (len + 2) / 3 * 4))
		return;
	out = str->ptr + str->len;
	for (; len >= 3; len -= 3, p += 3) {
		*out++ = b64[p[0] >> 2];
		*out++ = b64[(p[0] & 3) << 4 | p[1] >> 4];
		*out++ = b64[(p[1] & 15) << 2 | p[2] >> 6];
		*out++ = b64[p[2] & 63];
	}
	if (len) {
		*out++ = b64[p[0] >> 2];
		*out++ = b64[(p[0] & 3) << 4 | (len > 1 ? p[1] >> 4 : 0)];
		*out++ = len > 1 ? b64[(p[1] & 15) << 2] : '=';
		*out++ = '=';
	}
	str->len = (uint32_t)(out - str->ptr);
}

static int b64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(struct str *str, struct slice text)
{
	uint32_t start = str->len;

	if (text.len % 4)
		return false;
	str->taint |= text.taint;
	for (uint32_t i = 0; i < text.len; i += 4) {
		bool last = i + 4 == text.len;
		int a = b64_value(text.ptr[i]), b = b64_value(text.ptr[i + 1]);
		int c = b64_value(text.ptr[i + 2]), d = b64_value(text.ptr[i + 3]);
		bool pad2 = last && text.ptr[i + 2] == '=' && text.ptr[i + 3] == '=';
		bool pad1 = last && !pad2 && text.ptr[i + 3] == '=';

		if (a < 0 || b < 0 || (c < 0 && !pad2) || (d < 0 && !pad1 && !pad2)) {
			str->len = start;
			return false;
		}
		str_addc(str, (char)(a << 2 | b >> 4));
		if (!pad2)
			str_addc(str, (char)(b << 4 | c >> 2));
		if (!pad2 && !pad1)
			str_addc(str, (char)(c << 6 | d));
	}
	return true;
}

int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void hex_encode(struct str *str, struct slice bytes, bool upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";

	str->taint |= bytes.taint;
	for (uint32_t i = 0; i < bytes.len; i++) {
		str_addc(str, digits[(unsigned char)bytes.ptr[i] >> 4]);
		str_addc(str, digits[bytes.ptr[i] & 15]);
	}
}

bool hex_decode(struct str *str, struct slice text)
{
	uint32_t start = str->len;

	if (text.len % 2)
		return false;
	str->taint |= text.taint;
	for (uint32_t i = 0; i < text.len; i += 2) {
		int high = hex_digit(text.ptr[i]), low = hex_digit(text.ptr[i + 1]);
		if (high < 0 || low < 0) {
			str->len = start;
			return false;
		}
		str_addc(str, (char)(high << 4 | low));
	}
	return true;
}

void xtext_encode(struct str *str, struct slice bytes)
{
	str->taint |= bytes.taint;
	for (uint32_t i = 0; i < bytes.len; i++) {
		unsigned char c = (unsigned char)bytes.ptr[i];
		if (c < 33 || c > 126 || c == '+' || c == '=')
			str_printf(str, "+%02X", c);
		else
			str_addc(str, (char)c);
	}
}

bool xtext_decode(struct str *str, struct slice text)
{
	uint32_t start = str->len;

	str->taint |= text.taint;
	for (uint32_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == '+') {
			int high = i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
			int low = i + 2 < text.len ? hex_digit(text.ptr[i + 2]) : -1;
			if (high < 0 || low < 0)
				goto bad;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (c < 33 || c > 126 || c == '=') {
			goto bad;
		}
		str_addc(str, c);
	}
	return true;
bad:
	str->len = start;
	return false;
}

void base62_encode(struct str *str, uint64_t number, unsigned width)
{
	char digits[64];
	unsigned at = sizeof(digits);

	do
		digits[--at] = b62[number % 62];
	while (number /= 62);
	while (sizeof(digits) - at < width && at)
		digits[--at] = '0';
	str_add(str, slice_make(digits + at, sizeof(digits) - at, CLEAN));
}

bool base62_decode(struct slice text, uint64_t *number_ret)
{
	uint64_t number = 0;

	if (!text.len)
		return false;
	for (uint32_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		unsigned value = ascii_is_digit(c)      ? (unsigned)(c - '0')
				 : c >= 'A' && c <= 'Z' ? (unsigned)(c - 'A') + 10
				 : c >= 'a' && c <= 'z' ? (unsigned)(c - 'a') + 36
							: 62;
		if (value == 62 || __builtin_mul_overflow(number, 62, &number) ||
		    __builtin_add_overflow(number, value, &number))
			return false;
	}
	*number_ret = number;
	return true;
}

unsigned utf8_sequence(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.ptr;

	if (!s.len)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		return s.len >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
	if (p[0] >= 0xe0 && p[0] <= 0xef) {
		if (s.len < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80)
			return 0;
		/* Neither overlong nor a surrogate. */
		return (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ? 0 : 3;
	}
	if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		if (s.len < 4 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 || (p[3] & 0xc0) != 0x80)
			return 0;
		return (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f) ? 0 : 4;
	}
	return 0;
}

bool utf8_valid(struct slice s)
{
	while (s.len) {
		unsigned len = utf8_sequence(s);
		if (!len)
			return false;
		s = slice_from(s, len);
	}
	return true;
}

bool ascii_only(struct slice s)
{
	for (uint32_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] >= 0x80)
			return false;
	return true;
}
