/* What all drivers do as servers: the client's strings become $auth1 and $1, the condition is asked, the name is kept. */
#include "driver.h"

#include <stdarg.h>

void auth_strings_clear(struct scope *sc)
{
	for (unsigned i = 0; i < ARRAY_COUNT(sc->auth); i++)
		sc->auth[i] = SLICE_EMPTY;
	sc->numeric[0] = SLICE_EMPTY;
	sc->numeric_count = 1;
}

unsigned auth_string_count(const struct scope *sc)
{
	return sc->numeric_count - 1;
}

void auth_string_add(struct scope *sc, struct slice string)
{
	unsigned n = auth_string_count(sc);

	if (n >= AUTH_STRING_MAX)
		return;
	if (n < ARRAY_COUNT(sc->auth))
		sc->auth[n] = string;
	sc->numeric[n + 1] = string;
	sc->numeric_count = n + 2;
}

void auth_strings_split(struct scope *sc, struct slice response)
{
	struct slice rest = response, part;
	unsigned count = 0;

	while (slice_split(&rest, 0, &part)) {
		/* A NUL at the very end ends the last string, it does not begin another one. */
		if (count && !part.len && !rest.ptr)
			break;
		part.taint = response.taint;
		auth_string_add(sc, part);
		count++;
	}
	if (!count)
		auth_string_add(sc, SLICE_EMPTY);
}

enum auth_result auth_prompt(struct auth_server *server, struct slice challenge, struct slice *response_ret)
{
	*response_ret = SLICE_EMPTY;
	return server->prompt(server->arg, challenge, response_ret);
}

enum auth_result auth_defer(struct auth_server *server, const char *format, ...)
{
	struct str text = str_make(server->sc->task->arena);
	va_list args;

	va_start(args, format);
	str_vprintf(&text, format, args);
	va_end(args);
	server->defer_text = text.failed ? SLICE("out of memory") : str_slice(&text);
	return server->sc->task->cancelled ? AUTH_GONE : AUTH_DEFER;
}

enum auth_result auth_expand(struct auth_server *server, const struct expansion *option, struct slice *ret)
{
	struct err err = err_make(server->sc->task->arena);
	enum rc rc;

	*ret = SLICE_EMPTY;
	if (!option)
		return AUTH_OK;
	rc = expand(server->sc, option, ret, &err);
	if (rc == OK)
		return AUTH_OK;
	if (rc == FAIL && err.forced)
		return AUTH_FAIL;
	return auth_defer(server, "%.*s", SLICE_ARG(err.text));
}

static bool says_no(struct slice value)
{
	return !value.len || slice_eq(value, SLICE("0")) || slice_eq_nocase(value, SLICE("no")) ||
	       slice_eq_nocase(value, SLICE("false"));
}

static bool says_yes(struct slice value)
{
	return slice_eq(value, SLICE("1")) || slice_eq_nocase(value, SLICE("yes")) ||
	       slice_eq_nocase(value, SLICE("true"));
}

enum auth_result auth_condition(struct auth_server *server)
{
	const struct expansion *condition = server->authenticator->server_condition;
	enum auth_result result;
	struct slice value;

	expand_debug_print(server->sc, server->authenticator->server_debug_print);
	if (!condition)
		return AUTH_OK;
	result = auth_expand(server, condition, &value);
	if (result != AUTH_OK)
		return result;
	if (says_no(value))
		return AUTH_FAIL;
	if (says_yes(value))
		return AUTH_OK;
	server->client_text = value;
	return auth_defer(server, "%.*s", SLICE_ARG(value));
}

bool auth_same(struct slice a, struct slice b)
{
	unsigned char differs = 0;

	if (a.len != b.len)
		return false;
	for (uint32_t i = 0; i < a.len; i++)
		differs |= (unsigned char)(a.ptr[i] ^ b.ptr[i]);
	return differs == 0;
}

/* What goes into log lines, files and header fields of one line each. */
static struct slice printable(struct arena *arena, struct slice text)
{
	struct str out = str_make(arena);

	str_add_printable(&out, text);
	return out.failed ? SLICE_EMPTY : str_slice(&out);
}

enum auth_result auth_server_run(struct auth_server *server)
{
	const struct auth_ops *ops = server->authenticator->instance.driver->ops;
	struct scope *sc = server->sc;
	struct err err = err_make(sc->task->arena);
	enum auth_result result;
	struct slice id;
	enum rc rc;

	server->id = server->defer_text = server->client_text = SLICE_EMPTY;
	auth_strings_clear(sc);
	result = ops->server(server);
	DEBUG(DEBUG_AUTH, "%.*s authenticator (%s): %s", SLICE_ARG(server->authenticator->instance.name),
	      server->authenticator->instance.driver->name,
	      result == AUTH_OK     ? "accepted"
	      : result == AUTH_FAIL ? "rejected"
	      : result == AUTH_GONE ? "the client has gone"
				    : "could not tell");
	if (result == AUTH_GONE || !server->authenticator->server_set_id)
		return result;
	rc = expand(sc, server->authenticator->server_set_id, &id, &err);
	if (rc == OK) {
		server->id = printable(sc->task->arena, id);
		return result;
	}
	/* Who it was is not known: nothing that asks for $authenticated_id could be right. */
	return result == AUTH_OK ? auth_defer(server, "%.*s", SLICE_ARG(err.text)) : result;
}

enum rc auth_advertised(struct scope *sc, const struct authenticator *authenticator, struct err *err)
{
	struct slice value;
	enum rc rc;

	if (!authenticator->server_advertise_condition)
		return OK;
	rc = expand(sc, authenticator->server_advertise_condition, &value, err);
	if (rc != OK)
		return rc;
	return says_no(value) ? FAIL : OK;
}

bool auth_sender_trusted(struct scope *sc, const struct authenticator *authenticator)
{
	struct err err = err_make(sc->task->arena);
	struct slice value;

	if (!authenticator->server_mail_auth_condition)
		return true;
	return expand(sc, authenticator->server_mail_auth_condition, &value, &err) == OK && !says_no(value);
}
