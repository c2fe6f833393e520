/* Dates as header fields have them (RFC 5322 section 3.3). */
#include "message/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void date_rfc5322(struct str *str, uint64_t seconds)
{
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t when = (time_t)seconds;
	struct tm tm;
	char text[64];
	long offset;
	int len;

	if (!localtime_r(&when, &tm))
		memset(&tm, 0, sizeof(tm));
	offset = tm.tm_gmtoff / 60;
	len = snprintf(text, sizeof(text), "%.3s, %02d %.3s %d %02d:%02d:%02d %c%02ld%02ld", days + tm.tm_wday % 7 * 3,
		       tm.tm_mday, months + tm.tm_mon % 12 * 3, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec,
		       offset < 0 ? '-' : '+', labs(offset) / 60, labs(offset) % 60);
	str_add(str, slice_make(text, (size_t)len, CLEAN));
}
