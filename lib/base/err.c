#include "base/base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static void set_text(struct err *err, const char *format, va_list args)
{
	va_list again;
	char *bytes;
	int len;

	err->text = SLICE_EMPTY;
	if (!err->arena)
		return;
	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (len < 0)
		return;
	bytes = arena_bytes(err->arena, (size_t)len + 1);
	if (!bytes) {
		err->text = SLICE("out of memory");
		return;
	}
	vsnprintf(bytes, (size_t)len + 1, format, args);
	err->text = slice_make(bytes, (size_t)len, TAINTED);
}

enum rc err_set(struct err *err, enum rc rc, const char *format, ...)
{
	va_list args;

	if (err) {
		err->os = 0;
		err->forced = err->user_text = false;
		va_start(args, format);
		set_text(err, format, args);
		va_end(args);
	}
	return rc;
}

enum rc err_os(struct err *err, enum rc rc, int os, const char *format, ...)
{
	char words[128];
	va_list args;

	if (!os)
		os = errno;
	if (err) {
		err->os = os;
		err->forced = err->user_text = false;
		va_start(args, format);
		set_text(err, format, args);
		va_end(args);
		if (err->arena) {
			const char *why = strerror_r(os, words, sizeof(words));
			struct slice both = arena_printf(err->arena, "%.*s: %s", SLICE_ARG(err->text), why);
			if (both.ptr)
				err->text = slice_tainted(both);
		}
	}
	return rc;
}

enum rc err_memory(struct err *err)
{
	if (err) {
		err->text = SLICE("out of memory");
		err->os = ENOMEM;
		err->forced = err->user_text = false;
	}
	return DEFER;
}

void err_prefix(struct err *err, const char *format, ...)
{
	struct slice old;
	va_list args;

	if (!err || !err->arena)
		return;
	old = err->text;
	va_start(args, format);
	set_text(err, format, args);
	va_end(args);
	old = arena_printf(err->arena, "%.*s: %.*s", SLICE_ARG(err->text), SLICE_ARG(old));
	if (old.ptr)
		err->text = slice_tainted(old);
}

const char *rc_name(enum rc rc)
{
	static const char *const names[] = {"OK", "FAIL", "DEFER", "CANCELLED"};

	return names[rc];
}
