/* Dates as header fields have them (RFC 5322 section 3.3). */
#include "message/message.h"

#include <time.h>

static char *put2(char *out, int number)
{
	*out++ = (char)('0' + number / 10 % 10);
	*out++ = (char)('0' + number % 10);
	return out;
}

void date_rfc5322(struct str *str, uint64_t seconds)
{
	static const char days[] = "Sun, Mon, Tue, Wed, Thu, Fri, Sat, ";
	static const char months[] = " Jan  Feb  Mar  Apr  May  Jun  Jul  Aug  Sep  Oct  Nov  Dec ";
	time_t when = (time_t)seconds;
	char text[32], *out = text; /* "Sat, 21 Nov 2026 10:00:00 +0000" */
	struct tm tm;
	int offset;

	/* Later than the year 9999, or beyond what the C library knows: the epoch. */
	if (seconds > 253402300799 || !localtime_r(&when, &tm) || tm.tm_year > 8099) {
		when = 0;
		(void)gmtime_r(&when, &tm);
	}
	offset = (int)(tm.tm_gmtoff / 60);
	memcpy(out, days + tm.tm_wday * 5, 5);
	out = put2(out + 5, tm.tm_mday);
	memcpy(out, months + tm.tm_mon * 5, 5);
	out = put2(out + 5, (tm.tm_year + 1900) / 100);
	out = put2(out, tm.tm_year % 100);
	*out++ = ' ';
	out = put2(out, tm.tm_hour);
	*out++ = ':';
	out = put2(out, tm.tm_min);
	*out++ = ':';
	out = put2(out, tm.tm_sec);
	*out++ = ' ';
	*out++ = offset < 0 ? '-' : '+';
	offset = offset < 0 ? -offset : offset;
	out = put2(out, offset / 60);
	out = put2(out, offset % 60);
	str_add(str, slice_make(text, (size_t)(out - text), CLEAN));
}
