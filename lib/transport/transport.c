/* The transports section: the options that every transport has, and the way into a delivery. */
#include "appendfile.h"
#include "limits.h"

#include <stdlib.h>

#define T struct transport
const struct conf_option transport_generic_options[] = {
    OPT_BOOL(T, body_only, "no", "deliver the body only"),
    OPT_EXPAND(T, current_directory, NULL, "current directory of the delivery"),
    OPT_EXPAND(T, debug_print, NULL, "text for -d and control = debug"),
    OPT_BOOL(T, delivery_date_add, "no", "add Delivery-date:"),
    OPT_BOOL(T, disable_logging, "no", "do not log deliveries"),
    OPT_BOOL(T, envelope_to_add, "no", "add Envelope-to:"),
    OPT_LATER(T, event_action, const struct expansion *, &conf_expansion, NULL, "events come later"),
    OPT_EXPAND(T, group, NULL, "group of the delivery"),
    CONF_ROW(T, headers_add, struct slice, &conf_expanded_items, NULL, "headers to add", OPTION_REPEATABLE),
    OPT_BOOL(T, headers_only, "no", "deliver the header only"),
    CONF_ROW(T, headers_remove, struct slice, &conf_expanded_items, NULL, "names of headers to remove",
	     OPTION_REPEATABLE),
    OPT_STRING(T, headers_rewrite, NULL, "rewriting rules for the header"),
    OPT_EXPAND(T, home_directory, NULL, "home directory of the delivery"),
    OPT_BOOL(T, initgroups, "no", "the user's further groups too"),
    OPT_EXPAND(T, max_parallel, NULL, "deliveries at a time"),
    OPT_EXPAND(T, message_size_limit, "0", "larger messages fail; 0: no limit"),
    OPT_BOOL(T, rcpt_include_affixes, "no", "RCPT names prefix and suffix"),
    OPT_BOOL(T, retry_use_local_part, "no", "retry times are kept per local part"),
    OPT_EXPAND(T, return_path, NULL, "the sender of the delivery"),
    OPT_BOOL(T, return_path_add, "no", "add Return-path:"),
    OPT_EXPAND(T, shadow_condition, NULL, "when to use the shadow transport"),
    OPT_STRING(T, shadow_transport, NULL, "gets a copy"),
    OPT_EXPAND(T, transport_filter, NULL, "a program that changes the message"),
    OPT_TIME(T, transport_filter_timeout, "5m", "for each of its pieces"),
    OPT_EXPAND(T, user, NULL, "user of the delivery"),
};
const unsigned transport_generic_option_count = ARRAY_COUNT(transport_generic_options);

static bool generic_was_set(const T *transport, const char *name)
{
	for (unsigned i = 0; i < transport_generic_option_count; i++)
		if (strcmp(transport_generic_options[i].name, name) == 0)
			return transport->instance.was_set && transport->instance.was_set[i];
	return false;
}

bool transport_option_was_set(const T *transport, const char *name)
{
	const struct conf_driver *driver = transport->instance.driver;

	for (unsigned i = 0; i < driver->option_count; i++)
		if (strcmp(driver->options[i].name, name) == 0)
			return transport->instance.was_set &&
			       transport->instance.was_set[transport_generic_option_count + i];
	return false;
}

/* The transports may stand in any order in the file, so all are known by now. */
static enum rc check_shadow(struct conf *conf, T *transport, struct err *err)
{
	const T *shadow;
	const struct transport_ops *ops;

	if (!transport->shadow_transport.ptr)
		return OK;
	if (!transport->is_local)
		return err_set(err, FAIL, "shadow transport not allowed on a remote transport");
	shadow = conf_instance_find(conf, CONF_SECTION_TRANSPORTS, transport->shadow_transport);
	if (!shadow)
		return err_set(err, FAIL, "shadow transport \"%.*s\" not found",
			       SLICE_ARG(transport->shadow_transport));
	ops = shadow->instance.driver->ops;
	if (!ops->local)
		return err_set(err, FAIL, "shadow transport \"%.*s\" is not a local transport",
			       SLICE_ARG(transport->shadow_transport));
	transport->shadow = shadow;
	return OK;
}

static enum rc transport_check(struct conf *conf, void *instance, struct err *err)
{
	T *transport = instance;
	const struct transport_ops *ops = transport->instance.driver->ops;

	transport->is_local = ops->local;
	transport->batch_max = 1;
	if (!generic_was_set(transport, "retry_use_local_part"))
		transport->retry_use_local_part = transport->is_local;
	if (transport->body_only && transport->headers_only)
		return err_set(err, FAIL, "\"body_only\" and \"headers_only\" are mutually exclusive");
	if (transport->headers_rewrite.ptr) {
		transport->rewrite = rewrite_rules_parse(conf, transport->headers_rewrite, err);
		if (!transport->rewrite)
			return FAIL;
	}
	return check_shadow(conf, transport, err);
}

static const struct conf_driver *const transport_drivers[] = {
    &transport_appendfile_driver,
    &transport_autoreply_driver,
    &transport_lmtp_driver,
    &transport_pipe_driver,
    &transport_queuefile_driver,
    &transport_smtp_driver,
    NULL,
};
const struct conf_section transport_conf_section = {
    .id = CONF_SECTION_TRANSPORTS,
    .name = "transports",
    .drivers = transport_drivers,
    .generic = transport_generic_options,
    .generic_count = ARRAY_COUNT(transport_generic_options),
    .head_size = sizeof(T),
    .check = transport_check,
};

static const struct conf_option transport_options[] = {
    OPT_TIME(struct transport_options, callout_domain_negative_expire, "3h",
	     "how long a refusal of all holds"),
    OPT_TIME(struct transport_options, callout_domain_positive_expire, "7d",
	     "how long a domain is known to work"),
    OPT_TIME(struct transport_options, callout_negative_expire, "2h", "how long a refused address is known"),
    OPT_TIME(struct transport_options, callout_positive_expire, "24h",
	     "how long an accepted address is known"),
    OPT_EXPAND(struct transport_options, callout_random_local_part, "$primary_hostname-$tod_epoch-testing",
	       "the address that nobody has"),
};
const struct conf_group transport_conf_group = {
    .id = CONF_TRANSPORT,
    .size = sizeof(struct transport_options),
    .options = transport_options,
    .option_count = ARRAY_COUNT(transport_options),
};

/* ---- Per shard ---------------------------------------------------------------------------------------------------- */

static struct shard_slot slot;

struct transport_shard *transport_shard(struct shard *shard)
{
	struct transport_shard *state = shard_slot(shard, &slot);

	if (!state) {
		state = calloc(1, sizeof(*state)); /* once per shard */
		if (!state)
			return NULL;
		map_init(&state->mailboxes, NULL, false);
		shard_slot_set(shard, &slot, state);
	}
	return state;
}

void transport_set_host_retry(struct shard *shard, const struct host_retry *retry)
{
	struct transport_shard *state = transport_shard(shard);

	if (state)
		state->retry = *retry;
}

void transport_set_submit(struct shard *shard, const struct transport_submit *submit)
{
	struct transport_shard *state = transport_shard(shard);

	if (state)
		state->submit = *submit;
}

enum rc transport_submit_message(struct scope *sc, const struct submission *submission, struct err *err)
{
	struct transport_shard *state = transport_shard(sc->task->shard);

	if (!state || !state->submit.submit)
		return err_set(err, DEFER, "this process cannot submit messages");
	return state->submit.submit(state->submit.arg, sc, submission, err);
}

void transport_done(struct shard *shard)
{
	struct transport_shard *state = shard_slot(shard, &slot);

	if (state)
		map_done(&state->mailboxes);
	free(state);
	shard_slot_set(shard, &slot, NULL);
}

/* ---- Delivering ------------------------------------------------------------------------------------------------------ */

/* false: every outcome says why not. */
static bool size_allowed(struct scope *sc, struct delivery *delivery)
{
	struct err err = err_make(sc->task->arena);
	int64_t limit;
	uint64_t size = message_size(sc->message);

	if (expand_option_int(sc, delivery->transport->message_size_limit, 0, &limit, &err) != OK) {
		outcome_all_err(sc, delivery, DEFER, &err, "message_size_limit");
		return false;
	}
	if (limit <= 0 || size <= (uint64_t)limit)
		return true;
	outcome_all(sc, delivery, FAIL, "message is too big (transport limit = %lld)", (long long)limit);
	for (unsigned i = 0; i < delivery->count; i++)
		delivery->outcomes[i].user_message = delivery->outcomes[i].message;
	return false;
}

static void clear_outcomes(struct delivery *delivery)
{
	for (unsigned i = 0; i < delivery->count; i++)
		delivery->outcomes[i] = (struct delivery_outcome){
		    .rc = DEFER,
		    .message = SLICE("not tried"),
		    .user_message = SLICE_EMPTY,
		    .reply_text = SLICE_EMPTY,
		    .tls_cipher = SLICE_EMPTY,
		    .special_log = SLICE_EMPTY,
		    .output = SLICE_EMPTY,
		    .host = {.name = SLICE_EMPTY, .mx = MX_NONE},
		};
}

enum rc transport_set_home(struct scope *sc, const T *transport, struct err *err)
{
	struct slice home;
	enum rc rc;

	if (!transport->home_directory)
		return OK;
	rc = expand(sc, transport->home_directory, &home, err);
	if (rc != OK) {
		err_prefix(err, "home directory \"%.*s\" failed to expand for %.*s transport",
			   SLICE_ARG(expansion_text(transport->home_directory)),
			   SLICE_ARG(transport->instance.name));
		return rc == FAIL ? DEFER : rc;
	}
	if (home.len == 0 || home.ptr[0] != '/')
		return err_set(err, DEFER, "home directory path \"%.*s\" is not absolute", SLICE_ARG(home));
	sc->address->home = home;
	return OK;
}

/* The driver's turn, with what it may have to wait for. limited: max_parallel counts. */
static void run_driver(struct scope *sc, struct delivery *delivery, bool limited)
{
	const T *transport = delivery->transport;
	const struct transport_ops *ops = transport->instance.driver->ops;
	struct err err = err_make(sc->task->arena);
	int64_t max = 0;
	enum rc rc = OK;

	if (ops->local)
		rc = transport_set_home(sc, transport, &err);
	if (rc == OK && limited)
		rc = expand_option_int(sc, transport->max_parallel, 0, &max, &err);
	if (rc == OK && max > 0)
		rc = limit_enter(sc->task, transport->instance.name, (uint32_t)max, LIMIT_WAIT_MS,
				 "max_parallel", &err);
	if (rc != OK) {
		outcome_all_err(sc, delivery, DEFER, &err, NULL);
		return;
	}
	expand_debug_print(sc, transport->debug_print);
	if (size_allowed(sc, delivery))
		ops->deliver(sc, transport, delivery);
	if (max > 0)
		limit_leave(transport->instance.name);
}

static bool wants_shadow(struct scope *sc, const T *transport)
{
	struct err err = err_make(sc->task->arena);
	struct slice value;
	enum rc rc;

	if (!transport->shadow_condition)
		return true;
	rc = expand(sc, transport->shadow_condition, &value, &err);
	if (rc == FAIL && !err.forced)
		log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN | LOG_TO_PANIC, &sc->message->id,
			   "failed to expand shadow_condition of %.*s transport: %.*s",
			   SLICE_ARG(transport->instance.name), SLICE_ARG(err.text));
	return rc == OK && value.len && !slice_eq(value, SLICE("0")) &&
	       !slice_eq_nocase(value, SLICE("no")) && !slice_eq_nocase(value, SLICE("false"));
}

/* A copy for the shadow transport of what was delivered. Its outcome is worth a few words in the log, and no more. */
static void run_shadow(struct scope *sc, struct delivery *delivery)
{
	struct delivery copy = {.transport = delivery->transport->shadow, .count = 0};
	unsigned *from = arena_array(sc->task->arena, unsigned, delivery->count);

	copy.addresses = arena_array(sc->task->arena, struct address *, delivery->count);
	copy.outcomes = arena_array(sc->task->arena, struct delivery_outcome, delivery->count);
	if (!from || !copy.addresses || !copy.outcomes)
		return; /* a shadow is not worth more */
	for (unsigned i = 0; i < delivery->count; i++)
		if (delivery->outcomes[i].rc == OK) {
			from[copy.count] = i;
			copy.addresses[copy.count++] = delivery->addresses[i];
		}
	if (copy.count == 0)
		return;
	clear_outcomes(&copy);
	sc->transport = copy.transport;
	run_driver(sc, &copy, false);
	for (unsigned i = 0; i < copy.count; i++) {
		struct delivery_outcome *outcome = &delivery->outcomes[from[i]];
		bool fine = copy.outcomes[i].rc == OK;
		struct slice text =
		    arena_printf(sc->task->arena, "%.*s ST=%.*s%s%.*s%s", SLICE_ARG(outcome->special_log),
				 SLICE_ARG(copy.transport->instance.name), fine ? "" : " (",
				 SLICE_ARG(fine ? SLICE_EMPTY : copy.outcomes[i].message), fine ? "" : ")");
		if (text.ptr)
			outcome->special_log = text;
	}
}

void transport_deliver(struct scope *sc, struct delivery *delivery)
{
	const struct transport_ops *ops = delivery->transport->instance.driver->ops;
	const T *saved_transport = sc->transport;
	struct address *saved_address = sc->address;
	const struct host_item *saved_host = sc->host;
	const struct router *saved_router = sc->router;

	ASSERT(delivery->count > 0);
	clear_outcomes(delivery);
	sc->transport = delivery->transport;
	sc->address = delivery->addresses[0];
	sc->router = delivery->addresses[0]->router;
	if (ops->local)
		sc->host = delivery->addresses[0]->hosts ? delivery->addresses[0]->hosts->first : NULL;
	run_driver(sc, delivery, true);
	if (delivery->transport->shadow && wants_shadow(sc, delivery->transport))
		run_shadow(sc, delivery);
	sc->transport = saved_transport;
	sc->address = saved_address;
	sc->host = saved_host;
	sc->router = saved_router;
}
