#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool str_grow(struct str *str, size_t more)
{
	size_t need = (size_t)str->len + more, room;
	char *bytes;

	if (str->failed)
		return false;
	if (need > UINT32_MAX / 2) {
		str->failed = true;
		return false;
	}
	room = str->room ? (size_t)str->room * 2 : 64;
	if (room < need)
		room = need;
	/* What is being built is mostly the newest piece of its arena: it stays where it is. */
	if (str->room && arena_extend(str->arena, str->ptr + str->room, room - str->room)) {
		str->room = (uint32_t)room;
		return true;
	}
	bytes = arena_bytes(str->arena, room);
	if (!bytes) {
		str->failed = true;
		return false;
	}
	if (str->len)
		memcpy(bytes, str->ptr, str->len);
	str->ptr = bytes;
	str->room = (uint32_t)room;
	return true;
}

void str_addu(struct str *str, uint64_t number)
{
	char digits[20];
	unsigned at = sizeof(digits);

	do
		digits[--at] = (char)('0' + number % 10);
	while (number /= 10);
	str_add(str, slice_make(digits + at, sizeof(digits) - at, CLEAN));
}

void str_add_utf8(struct str *str, uint32_t c)
{
	if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		c = 0xfffd;
	if (c < 0x80) {
		str_addc(str, (char)c);
		return;
	}
	if (c < 0x800) {
		str_addc(str, (char)(0xc0 | c >> 6));
	} else {
		if (c < 0x10000) {
			str_addc(str, (char)(0xe0 | c >> 12));
		} else {
			str_addc(str, (char)(0xf0 | c >> 18));
			str_addc(str, (char)(0x80 | (c >> 12 & 0x3f)));
		}
		str_addc(str, (char)(0x80 | (c >> 6 & 0x3f)));
	}
	str_addc(str, (char)(0x80 | (c & 0x3f)));
}

#define PRINTF_FIRST 64u /* most of what is printed fits there, and is printed once */

void str_vprintf(struct str *str, const char *format, va_list args)
{
	va_list again;
	size_t room;
	int len;

	if (!str_reserve(str, PRINTF_FIRST))
		return;
	room = str->room - str->len;
	va_copy(again, args);
	len = vsnprintf(str->ptr + str->len, room, format, again);
	va_end(again);
	ASSERT(len >= 0);
	if ((size_t)len >= room) {
		if (!str_reserve(str, (size_t)len + 1))
			return;
		vsnprintf(str->ptr + str->len, (size_t)len + 1, format, args);
	}
	str->len += (uint32_t)len;
}

void str_printf(struct str *str, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	str_vprintf(str, format, args);
	va_end(args);
}

void str_add_printable(struct str *str, struct slice text)
{
	str->taint |= text.taint;
	for (uint32_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c < ' ' || c >= 0x7f)
			str_printf(str, "\\%03o", c);
		else
			str_addc(str, (char)c);
	}
}

char *line_vformat(char *room, size_t size, size_t max, int *len_ret, const char *format, va_list args)
{
	va_list again;
	char *text = room;

	va_copy(again, args);
	*len_ret = vsnprintf(room, size, format, args);
	if (*len_ret >= (int)size) {
		size_t larger = ((size_t)*len_ret < max ? (size_t)*len_ret : max) + 1;

		text = malloc(larger); /* such lines are rare: those with many recipients, say */
		if (text)
			(void)vsnprintf(text, larger, format, again);
		else
			larger = size;
		*len_ret = (int)larger - 1;
	}
	va_end(again);
	return text ? text : room;
}
