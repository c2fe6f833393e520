/* What all drivers do as clients: lines with base64 in them, and what the replies mean. */
#include "driver.h"

/* The reply is in client->reply: 2yz and 334 are OK, 5yz FAIL, anything else DEFER. */
static enum auth_result say(struct auth_client *client, struct slice line, struct slice shown)
{
	enum rc rc;

	client->reply = (struct auth_reply){0, SLICE_EMPTY};
	if (!line.ptr || !shown.ptr) {
		client->text = SLICE("out of memory");
		return AUTH_ERROR;
	}
	rc = client->say(client->arg, line, shown, &client->reply);
	if (rc != OK || client->reply.code == 0)
		return AUTH_DEFER;
	if (client->reply.code / 100 == 2 || client->reply.code / 100 == 3)
		return AUTH_OK;
	return client->reply.code / 100 == 5 ? AUTH_FAIL : AUTH_DEFER;
}

enum auth_result auth_say_first(struct auth_client *client, struct slice data)
{
	struct slice mechanism = client->authenticator->public_name;
	struct arena *arena = client->sc->task->arena;
	struct str line = str_make(arena);
	struct slice shown;

	str_printf(&line, "AUTH %.*s", SLICE_ARG(mechanism));
	if (data.ptr) {
		str_addc(&line, ' ');
		if (data.len)
			base64_encode(&line, data);
		else
			str_addc(&line, '=');
	}
	shown = arena_printf(arena, "AUTH %.*s%s", SLICE_ARG(mechanism), data.ptr ? " ****" : "");
	return say(client, str_slice(&line), shown);
}

enum auth_result auth_say_response(struct auth_client *client, struct slice data)
{
	struct str line = str_make(client->sc->task->arena);

	str_reserve(&line, 1);
	base64_encode(&line, data);
	return say(client, str_slice(&line), SLICE("AUTH data"));
}

void auth_say_cancel(struct auth_client *client)
{
	struct auth_reply kept = client->reply;

	(void)say(client, SLICE("*"), SLICE("AUTH cancel")); /* whatever it says, it is over */
	if (client->reply.code)
		client->reply = kept;
}

bool auth_challenge(struct auth_client *client, struct slice *challenge_ret)
{
	struct str clear = str_make(client->sc->task->arena);
	struct slice text = slice_trim(slice_from(client->reply.text, 4));

	if (!base64_decode(&clear, text) || clear.failed)
		return false;
	*challenge_ret = slice_tainted(str_slice(&clear));
	return true;
}

enum auth_result auth_client_expand(struct auth_client *client, struct slice text, struct slice *ret)
{
	struct err err = err_make(client->sc->task->arena);
	enum rc rc = expand_text(client->sc, text, ret, &err);

	if (rc == OK)
		return AUTH_OK;
	if (rc == FAIL && err.forced)
		return AUTH_SKIPPED;
	/* Neither the option nor what went wrong inside it is shown: both may hold the password. */
	client->text = arena_printf(client->sc->task->arena, "expansion failed in %.*s authenticator",
				    SLICE_ARG(client->authenticator->instance.name));
	return AUTH_ERROR;
}

bool auth_client_wanted(struct scope *sc, const struct authenticator *authenticator)
{
	struct err err = err_make(sc->task->arena);
	struct slice value;

	if (!authenticator->client_condition)
		return true;
	if (expand(sc, authenticator->client_condition, &value, &err) != OK)
		return false;
	return value.len && !slice_eq(value, SLICE("0")) && !slice_eq_nocase(value, SLICE("no")) &&
	       !slice_eq_nocase(value, SLICE("false"));
}

enum auth_result auth_client_run(struct auth_client *client)
{
	const struct auth_ops *ops = client->authenticator->instance.driver->ops;

	client->reply = (struct auth_reply){0, SLICE_EMPTY};
	client->text = SLICE_EMPTY;
	auth_strings_clear(client->sc);
	return ops->client(client);
}

struct slice auth_client_id(struct scope *sc, const struct authenticator *authenticator)
{
	struct err err = err_make(sc->task->arena);
	struct slice id;

	if (!authenticator->client_set_id || expand(sc, authenticator->client_set_id, &id, &err) != OK)
		return SLICE_EMPTY;
	return id;
}

/* ---- May the connection serve another message? ------------------------------------------------------------------ */

static bool name_fixed(struct slice name)
{
	static const struct slice names[] = {
	    SLICE_INIT("host"),
	    SLICE_INIT("host_address"),
	    SLICE_INIT("host_port"),
	    SLICE_INIT("tls_out_cipher"),
	    SLICE_INIT("tls_cipher"),
	    SLICE_INIT("tls_out_bits"),
	    SLICE_INIT("primary_hostname"),
	    SLICE_INIT("value"),
	    SLICE_INIT("item"),
	    SLICE_INIT("auth1"),
	    SLICE_INIT("auth2"),
	    SLICE_INIT("auth3"),
	    SLICE_INIT("qualify_domain"),
	    SLICE_INIT("spool_directory"),
	};

	if (name.len && ascii_is_digit(name.ptr[0]))
		return true;
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
		if (slice_eq(name, names[i]))
			return true;
	return false;
}

static struct slice name_at(struct slice text, size_t at)
{
	size_t end = at;

	while (end < text.len && (ascii_is_alnum(text.ptr[end]) || text.ptr[end] == '_'))
		end++;
	return slice_sub(text, at, end - at);
}

/* A look at the text, not at its meaning: each $name, ${name} and def:name has to be one of those that hold for the host.
 * What is an item, operator or condition depends on its arguments only, but for those that call ACLs. */
bool auth_text_fixed(struct slice text)
{
	for (uint32_t i = 0; i < text.len; i++) {
		struct slice rest = slice_from(text, i), name;
		bool braced = rest.len > 1 && rest.ptr[1] == '{';

		if (slice_starts(rest, SLICE("def:")) && !name_fixed(name_at(text, i + 4)))
			return false;
		if (rest.ptr[0] != '$')
			continue;
		name = name_at(text, i + (braced ? 2u : 1u));
		if (slice_eq(name, SLICE("acl")) || slice_eq(name, SLICE("filter")) ||
		    slice_eq(name, SLICE("run")))
			return false;
		if (braced &&
		    !(slice_from(rest, 2 + name.len).len && slice_from(rest, 2 + name.len).ptr[0] == '}'))
			continue;
		if (name.len && !name_fixed(name))
			return false;
	}
	return true;
}
