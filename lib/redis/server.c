/* server: how configurations name a server. */
#include "redis.h"

static bool parse_port(struct slice digits, uint16_t *port)
{
	uint64_t number;

	if (!parse_u64(slice_trim(digits), &number) || number < 1 || number > UINT16_MAX)
		return false;
	*port = (uint16_t)number;
	return true;
}

/* "10.0.0.1", "10.0.0.1:6380", "2001:db8::1", "[2001:db8::1]:6380", "cache.example:6380". */
static bool parse_host(struct slice text, struct redis_server *server)
{
	ptrdiff_t colon = slice_find(text, ':'), end;

	server->host = text;
	if (text.len && text.ptr[0] == '[') {
		end = slice_find(text, ']');
		if (end < 0)
			return false;
		server->host = slice_sub(text, 1, (size_t)end - 1);
		text = slice_from(text, (size_t)end + 1);
		return !text.len || (text.ptr[0] == ':' && parse_port(slice_from(text, 1), &server->port));
	}
	if (colon < 0 || slice_rfind(text, ':') != colon)
		return text.len; /* no port, or an IPv6 address */
	server->host = slice_sub(text, 0, (size_t)colon);
	return server->host.len && parse_port(slice_from(text, (size_t)colon + 1), &server->port);
}

bool redis_server_parse(struct slice text, struct redis_server *server_ret)
{
	struct redis_server *server = server_ret;
	struct slice rest = text, host;
	ptrdiff_t end;

	*server = (struct redis_server){SLICE_EMPTY, SLICE_EMPTY, 0, SLICE_EMPTY, SLICE_EMPTY};
	if (text.len && text.ptr[0] == '(') {
		end = slice_find(text, ')');
		if (end < 2 || (size_t)end + 1 >= text.len || text.ptr[end + 1] != '/')
			return false;
		server->path = slice_sub(text, 1, (size_t)end - 1);
		rest = slice_from(text, (size_t)end + 2);
	} else if (!slice_split(&rest, '/', &host) || !rest.ptr || !parse_host(host, server)) {
		return false;
	}
	if (!slice_split(&rest, '/', &server->database) || !rest.ptr)
		return false;
	server->password = rest; /* it may hold a slash */
	return true;
}
