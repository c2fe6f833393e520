/* The option socks_proxy: a list of proxies, each an address and its settings: "192.0.2.1 port=1080 auth=name name=x pass=y". */
#include "smtp.h"

static bool parse_number(struct slice text, uint64_t max, uint64_t *ret)
{
	return parse_u64(text, ret) && *ret <= max;
}

static bool set_login(struct smtp_proxy *proxy, struct slice value)
{
	proxy->login = slice_eq(value, SLICE("name"));
	return proxy->login || slice_eq(value, SLICE("none"));
}

static bool set_word(struct slice *word, struct slice value)
{
	*word = value;
	return value.len <= SMTP_PROXY_WORD_MAX;
}

/* One name=value. */
static bool set(struct smtp_proxy *proxy, struct slice name, struct slice value)
{
	uint64_t number;

	if (slice_eq(name, SLICE("auth")))
		return set_login(proxy, value);
	if (slice_eq(name, SLICE("name")))
		return set_word(&proxy->name, value);
	if (slice_eq(name, SLICE("pass")))
		return set_word(&proxy->password, value);
	if (!parse_number(value, slice_eq(name, SLICE("port")) ? 65535 : 1000000, &number))
		return false;
	if (slice_eq(name, SLICE("port")))
		proxy->address.port = (uint16_t)number;
	else if (slice_eq(name, SLICE("tmo")))
		proxy->timeout_ms = (int64_t)number * 1000;
	else if (slice_eq(name, SLICE("pri")))
		proxy->priority = (unsigned)number;
	else if (slice_eq(name, SLICE("weight")))
		proxy->weight = (unsigned)number;
	else
		return false;
	return true;
}

/* The item is a list itself, with spaces between, unless it says otherwise ("<; "). */
static enum rc parse_proxy(struct arena *arena, struct slice item, struct smtp_proxy *proxy, struct err *err)
{
	struct slice word;
	char separator = ' ';
	bool first = true;

	*proxy = (struct smtp_proxy){
	    .name = SLICE_EMPTY, .password = SLICE_EMPTY, .timeout_ms = 5000, .priority = 1, .weight = 1};
	while (list_next(arena, &item, &separator, &word)) {
		ptrdiff_t equals;

		if (!word.ptr)
			return err_memory(err);
		if (word.len == 0)
			continue;
		if (first) {
			if (!ip_parse(word, &proxy->address))
				return err_set(err, DEFER, "\"%.*s\" is not an IP address in socks_proxy",
					       SLICE_ARG(word));
			proxy->address.port = 1080;
			first = false;
			continue;
		}
		equals = slice_find(word, '=');
		/* Not the value: it may be the password. */
		if (equals < 0 ||
		    !set(proxy, slice_sub(word, 0, (size_t)equals), slice_from(word, (size_t)equals + 1)))
			return err_set(err, DEFER, "unknown setting or value of \"%.*s\" in socks_proxy",
				       (int)(equals < 0 ? (ptrdiff_t)word.len : equals), word.ptr);
	}
	return OK;
}

enum rc smtp_proxies(struct scope *sc, const struct smtp_transport *s, struct smtp_connect_options *options,
		     struct err *err)
{
	struct arena *arena = sc->task->arena;
	struct smtp_proxy *proxies;
	struct slice text, item;
	char separator = 0;
	enum rc rc = expand_option(sc, s->socks_proxy, &text, err);

	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	if (slice_trim(text).len == 0)
		return OK;
	proxies = arena_array(arena, struct smtp_proxy, SMTP_PROXY_COUNT_MAX);
	options->pool_key =
	    arena_printf(arena, "%.*s via %.*s", SLICE_ARG(options->pool_key), SLICE_ARG(text));
	if (!proxies || !options->pool_key.ptr)
		return err_memory(err);
	while (list_next(arena, &text, &separator, &item)) {
		if (!item.ptr)
			return err_memory(err);
		if (slice_trim(item).len == 0)
			continue;
		if (options->proxy_count == SMTP_PROXY_COUNT_MAX)
			return err_set(err, DEFER, "more than %d proxies in socks_proxy",
				       SMTP_PROXY_COUNT_MAX);
		rc = parse_proxy(arena, item, &proxies[options->proxy_count], err);
		if (rc != OK)
			return rc;
		options->proxy_count++;
	}
	options->proxies = proxies;
	return options->proxy_count ? OK : err_set(err, DEFER, "socks_proxy names no proxy");
}
