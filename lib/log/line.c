/* What a line looks like: its time, the process, the message, and text in which nothing can break the line.
 */

#include "inside.h"

#include <stdio.h>
#include <stdlib.h>

void log_clock_set(struct log_clock *clock, uint64_t wall_ns)
{
	uint64_t second = wall_ns / NS_PER_S;
	time_t t = (time_t)second;
	long offset;

	if (second == clock->second)
		return;
	clock->second = second;
	localtime_r(&t, &clock->tm);
	snprintf(clock->stamp, sizeof(clock->stamp), "%04u-%02u-%02u %02u:%02u:%02u",
		 (unsigned)(clock->tm.tm_year + 1900) % 10000, (unsigned)(clock->tm.tm_mon + 1) % 100,
		 (unsigned)clock->tm.tm_mday % 100, (unsigned)clock->tm.tm_hour % 100,
		 (unsigned)clock->tm.tm_min % 100, (unsigned)clock->tm.tm_sec % 100);
	offset = clock->tm.tm_gmtoff / 60;
	snprintf(clock->zone, sizeof(clock->zone), " %c%02u%02u", offset < 0 ? '-' : '+',
		 (unsigned)(labs(offset) / 60) % 100, (unsigned)(labs(offset) % 60));
}

void log_timestamp(struct str *str, uint64_t wall_ns, bool millisec, bool zone)
{
	struct log_clock clock = {0};

	log_clock_set(&clock, wall_ns);
	str_addz(str, clock.stamp);
	if (millisec)
		str_printf(str, ".%03u", (unsigned)(wall_ns / NS_PER_MS % 1000));
	if (zone)
		str_addz(str, clock.zone);
}

static inline bool is_plain(unsigned char c, bool topbit)
{
	return (c >= 32 && c < 127) || (topbit && c > 127);
}

/* At most four bytes. */
static size_t escape_one(char *bytes, unsigned char c)
{
	static const char names[] = "btnvfr"; /* 8 to 13 */

	bytes[0] = '\\';
	if (c >= 8 && c <= 13) {
		bytes[1] = names[c - 8];
		return 2;
	}
	bytes[1] = (char)('0' + (c >> 6));
	bytes[2] = (char)('0' + (c >> 3 & 7));
	bytes[3] = (char)('0' + (c & 7));
	return 4;
}

size_t log_escape(char *bytes, size_t room, struct slice text, bool topbit, bool keep_lines)
{
	size_t len = 0;

	for (uint32_t i = 0; i < text.len;) {
		uint32_t start = i;

		while (i < text.len && is_plain((unsigned char)text.ptr[i], topbit))
			i++;
		if (i - start > room - len)
			i = start + (uint32_t)(room - len);
		memcpy(bytes + len, text.ptr + start, i - start);
		len += i - start;
		if (i == text.len || room - len < 4)
			break;
		if (is_plain((unsigned char)text.ptr[i], topbit) ||
		    (keep_lines && (text.ptr[i] == '\n' || text.ptr[i] == '\t')))
			bytes[len++] = text.ptr[i];
		else
			len += escape_one(bytes + len, (unsigned char)text.ptr[i]);
		i++;
	}
	return len;
}

static size_t add(char *bytes, size_t at, const char *text)
{
	size_t len = strlen(text);

	memcpy(bytes + at, text, len);
	return at + len;
}

size_t log_line_format(char *bytes, const struct conf *conf, struct log_clock *clock, uint64_t wall_ns,
		       int pid, const struct message_id *id, struct slice text, size_t *stamp_ret)
{
	const struct log_conf *group = log_conf_of(conf);
	size_t at, len;

	log_clock_set(clock, wall_ns);
	at = add(bytes, 0, clock->stamp);
	if (log_wants(conf, LOG_MILLISEC))
		at += (size_t)snprintf(bytes + at, 8, ".%03u", (unsigned)(wall_ns / NS_PER_MS % 1000));
	if (group->log_timezone)
		at = add(bytes, at, clock->zone);
	bytes[at++] = ' ';
	*stamp_ret = at;
	if (log_wants(conf, LOG_PID))
		at += (size_t)snprintf(bytes + at, 16, "[%d] ", pid);
	if (id && id->text[0]) {
		at = add(bytes, at, id->text);
		bytes[at++] = ' ';
	}
	len = log_escape(bytes + at, LOG_LINE_MAX, text, group->print_topbitchars, false);
	at += len;
	/* Full, or as good as: there was more. */
	if (len + 4 > LOG_LINE_MAX)
		at = add(bytes, at, " ...");
	bytes[at++] = '\n';
	return at;
}
