/* debug: one line, and the names of what can be told. */
#include "base/debug.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/slice.h"
#include "base/str.h"

_Thread_local struct debug *debug_here;

void debug_say(const char *format, ...)
{
	char small[512], *text;
	struct debug *debug = debug_here;
	va_list args;
	int len;

	va_start(args, format);
	text = line_vformat(small, sizeof(small), DEBUG_LINE_MAX, &len, format, args);
	va_end(args);
	if (len >= 0)
		debug->line(debug, slice_make(text, (size_t)len, CLEAN));
	if (text != small)
		free(text);
}

/* ---- Names ---- */

static const struct {
	struct slice name;
	uint64_t topics;
} names[] = {
    {SLICE_INIT("acl"), DEBUG_ACL},
    {SLICE_INIT("all"), DEBUG_ALL},
    {SLICE_INIT("auth"), DEBUG_AUTH},
    {SLICE_INIT("deliver"), DEBUG_DELIVER},
    {SLICE_INIT("dns"), DEBUG_DNS},
    {SLICE_INIT("dnsbl"), DEBUG_DNSBL},
    {SLICE_INIT("exec"), DEBUG_EXEC},
    {SLICE_INIT("expand"), DEBUG_EXPAND},
    {SLICE_INIT("filter"), DEBUG_FILTER},
    {SLICE_INIT("hints_lookup"), DEBUG_HINTS_LOOKUP},
    {SLICE_INIT("host_lookup"), DEBUG_HOST_LOOKUP},
    {SLICE_INIT("ident"), DEBUG_IDENT},
    {SLICE_INIT("interface"), DEBUG_INTERFACE},
    {SLICE_INIT("lists"), DEBUG_LISTS},
    {SLICE_INIT("load"), DEBUG_LOAD},
    {SLICE_INIT("local_scan"), DEBUG_LOCAL_SCAN},
    {SLICE_INIT("lookup"), DEBUG_LOOKUP},
    {SLICE_INIT("memory"), DEBUG_MEMORY},
    {SLICE_INIT("noutf8"), DEBUG_NOUTF8},
    {SLICE_INIT("pid"), DEBUG_PID},
    {SLICE_INIT("process_info"), DEBUG_PROCESS_INFO},
    {SLICE_INIT("queue_run"), DEBUG_QUEUE_RUN},
    {SLICE_INIT("receive"), DEBUG_RECEIVE},
    {SLICE_INIT("resolver"), DEBUG_RESOLVER},
    {SLICE_INIT("retry"), DEBUG_RETRY},
    {SLICE_INIT("rewrite"), DEBUG_REWRITE},
    {SLICE_INIT("route"), DEBUG_ROUTE},
    {SLICE_INIT("timestamp"), DEBUG_TIMESTAMP},
    {SLICE_INIT("tls"), DEBUG_TLS},
    {SLICE_INIT("transport"), DEBUG_TRANSPORT},
    {SLICE_INIT("uid"), DEBUG_UID},
    {SLICE_INIT("verify"), DEBUG_VERIFY},
};

static uint64_t topics_named(struct slice name)
{
	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		if (slice_eq(name, names[i].name))
			return names[i].topics;
	return 0;
}

enum rc debug_topics_parse(struct slice text, uint64_t *topics, struct err *err)
{
	uint64_t number, all = *topics;

	if (text.len && text.ptr[0] == '=') {
		/* A number, in decimal or as spool files have it. */
		char copy[32], *end;

		if (text.len - 1u >= sizeof(copy) || text.len == 1)
			return err_set(err, FAIL, "malformed debug_selector setting: %.*s", SLICE_ARG(text));
		memcpy(copy, text.ptr + 1, text.len - 1);
		copy[text.len - 1] = 0;
		number = strtoull(copy, &end, 0);
		if (*end || !ascii_is_digit(copy[0]))
			return err_set(err, FAIL, "malformed debug_selector setting: %.*s", SLICE_ARG(text));
		*topics = number & DEBUG_ALL;
		return OK;
	}
	while (text.len) {
		uint32_t len = 1;
		uint64_t some;

		if (text.ptr[0] != '+' && text.ptr[0] != '-')
			return err_set(err, FAIL,
				       "malformed debug_selector setting: + or - expected but found \"%.*s\"",
				       SLICE_ARG(text));
		while (len < text.len && text.ptr[len] != '+' && text.ptr[len] != '-')
			len++;
		some = topics_named(slice_sub(text, 1, len - 1));
		if (!some)
			return err_set(err, FAIL, "unknown debug_selector setting: %.*s", (int)len, text.ptr);
		/* "+all" is what people ask for when they want to see much, and none wants that. */
		if (text.ptr[0] == '+')
			all |= some == DEBUG_ALL ? DEBUG_ALL & ~(DEBUG_MEMORY | DEBUG_NOUTF8) : some;
		else
			all &= ~some;
		text = slice_from(text, len);
	}
	*topics = all;
	return OK;
}
