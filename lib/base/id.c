#include "base/base.h"

static const char b62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static void put62(char *at, unsigned width, uint64_t number)
{
	while (width--) {
		at[width] = b62[number % 62];
		number /= 62;
	}
}

struct message_id message_id_next(struct id_source *source, uint64_t wall_ns)
{
	/* A tick is 2 us: 500,000 a second, which fit into the four digits (62^4 = 14,776,336) of the last
	 * part; a host number takes the multiples above them. */
	uint64_t tick = wall_ns / 2000, fraction;
	struct message_id id = {{0}};

	if (tick <= source->last_tick)
		tick = source->last_tick + 1;
	source->last_tick = tick;
	fraction = tick % 500000;
	if (source->host_number >= 0)
		fraction += 500000ull * (unsigned)(source->host_number % 29);
	put62(id.text, 6, tick / 500000);
	id.text[6] = '-';
	put62(id.text + 7, 11, source->unique);
	id.text[18] = '-';
	put62(id.text + 19, 4, fraction);
	return id;
}

static bool digits62(const char *p, unsigned count)
{
	while (count--)
		if (!ascii_is_alnum(*p++))
			return false;
	return true;
}

bool message_id_parse(struct slice text, struct message_id *id_ret)
{
	const char *p = text.ptr;
	bool now = text.len == MESSAGE_ID_LEN && digits62(p, 6) && p[6] == '-' && digits62(p + 7, 11) &&
		   p[18] == '-' && digits62(p + 19, 4);
	bool old = text.len == MESSAGE_ID_LEN_OLD && digits62(p, 6) && p[6] == '-' && digits62(p + 7, 6) &&
		   p[13] == '-' && digits62(p + 14, 2);

	if (!now && !old)
		return false;
	*id_ret = (struct message_id){{0}};
	memcpy(id_ret->text, p, text.len);
	return true;
}

uint64_t message_id_time(const struct message_id *id)
{
	uint64_t seconds = 0;

	(void)base62_decode(slice_make(id->text, 6, CLEAN), &seconds);
	return seconds;
}
