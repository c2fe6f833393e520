/* control: the modifier that changes how the message or the session is treated. */
#include "list.h"

#define NOT_LOCAL      (AT(NOT_SMTP) | AT(NOT_SMTP_START))
#define ONLY(places)   (~(uint32_t)(places))
#define MESSAGE_PLACES (AT(MAIL) | AT(RCPT) | AT(PREDATA) | AT(DATA) | AT(MIME) | AT(NOT_SMTP))

static const struct control {
	const char *name;
	uint32_t sets;
	uint32_t not_at;
	enum {
		NO_OPTIONS,
		FREE_TEXT,
		SUBMISSION,
		QUEUE,
		FREEZE,
		CUTTHROUGH,
		DEBUGGING,
		NEEDED,
		DSCP,
		DOWNCONVERT,
		WELLKNOWN,
		MISSING
	} options;
} controls[] = {
    {"allow_auth_unadvertised", ACL_CONTROL_ALLOW_AUTH_UNADVERTISED, ONLY(AT(CONNECT) | AT(HELO)),
     NO_OPTIONS},
    {"authres_remove", 0, ~(AT(MAIL) | AT(RCPT) | AT(PREDATA) | AT(DATA) | AT(DKIM) | AT(MIME)), NEEDED},
    {"bmi_run", 0, 0, MISSING},
    {"caseful_local_part", ACL_CONTROL_CASEFUL, ONLY(AT(RCPT)), NO_OPTIONS},
    {"caselower_local_part", ACL_CONTROL_CASELOWER, ONLY(AT(RCPT)), NO_OPTIONS},
    {"cutthrough_delivery", ACL_CONTROL_CUTTHROUGH, 0, CUTTHROUGH},
    {"debug", 0, 0, DEBUGGING},
    {"dkim_disable_verify", ACL_CONTROL_DKIM_OFF, AT(DATA) | AT(PRDR) | NOT_LOCAL, NO_OPTIONS},
    {"dmarc_disable_verify", ACL_CONTROL_DMARC_OFF, AT(DATA) | NOT_LOCAL, NO_OPTIONS},
    {"dmarc_enable_forensic", ACL_CONTROL_DMARC_FORENSIC, AT(DATA) | NOT_LOCAL, NO_OPTIONS},
    {"dmarc_forensic_enable", ACL_CONTROL_DMARC_FORENSIC, AT(DATA) | NOT_LOCAL, NO_OPTIONS},
    {"dscp", 0, NOT_LOCAL | AT(NOTQUIT), DSCP},
    {"enforce_sync", ACL_CONTROL_ENFORCE_SYNC, NOT_LOCAL, NO_OPTIONS},
    {"fakedefer", ACL_CONTROL_FAKEDEFER,
     ONLY(AT(MAIL) | AT(RCPT) | AT(PREDATA) | AT(DATA) | AT(PRDR) | AT(MIME)), FREE_TEXT},
    {"fakereject", ACL_CONTROL_FAKEREJECT,
     ONLY(AT(MAIL) | AT(RCPT) | AT(PREDATA) | AT(DATA) | AT(PRDR) | AT(MIME)), FREE_TEXT},
    {"freeze", ACL_CONTROL_FREEZE, ONLY(MESSAGE_PLACES), FREEZE},
    {"no_callout_flush", ACL_CONTROL_NO_CALLOUT_FLUSH, NOT_LOCAL, NO_OPTIONS},
    {"no_delay_flush", ACL_CONTROL_NO_DELAY_FLUSH, NOT_LOCAL, NO_OPTIONS},
    {"no_enforce_sync", ACL_CONTROL_NO_ENFORCE_SYNC, NOT_LOCAL, NO_OPTIONS},
    {"no_mbox_unspool", ACL_CONTROL_NO_MBOX_UNSPOOL,
     ONLY(AT(MAIL) | AT(RCPT) | AT(PREDATA) | AT(DATA) | AT(MIME)), NO_OPTIONS},
    {"no_multiline_responses", ACL_CONTROL_NO_MULTILINE, NOT_LOCAL, NO_OPTIONS},
    {"no_pipelining", ACL_CONTROL_NO_PIPELINING, NOT_LOCAL, NO_OPTIONS},
    {"queue", ACL_CONTROL_QUEUE, ONLY(MESSAGE_PLACES), QUEUE},
    {"queue_only", ACL_CONTROL_QUEUE, ONLY(MESSAGE_PLACES), QUEUE},
    {"submission", ACL_CONTROL_SUBMISSION, ONLY(AT(MAIL) | AT(RCPT) | AT(PREDATA)), SUBMISSION},
    {"suppress_local_fixups", ACL_CONTROL_SUPPRESS_FIXUPS,
     ONLY(AT(MAIL) | AT(RCPT) | AT(PREDATA) | AT(NOT_SMTP_START)), NO_OPTIONS},
    {"utf8_downconvert", 0, ONLY(AT(RCPT) | AT(VRFY)), DOWNCONVERT},
    {"wellknown", 0, ONLY(AT(WELLKNOWN)), WELLKNOWN},
};

/* A control as it was written, taken to pieces. */
struct control_call {
	const struct control *control;
	bool has_options;
	struct slice options; /* behind the first slash */
	/* Of submission: */
	bool sender_retain;
	struct slice domain, name; /* ptr NULL: not given */
	unsigned tos;              /* of dscp */
	bool tos_known;
	int downconvert; /* of utf8_downconvert: 1, 0, -1 */
	struct debug_call {
		struct log_debug_wish wish;
		enum { TRIGGER_NONE, TRIGGER_NOW, TRIGGER_PANIC } trigger;
		enum { DEBUG_GO, DEBUG_STOP, DEBUG_KILL } what;
		bool more; /* than a trigger */
	} debug;
};

static bool submission_options(struct control_call *c)
{
	struct slice rest = c->options, option;

	while (slice_split(&rest, '/', &option)) {
		if (slice_eq(option, SLICE("sender_retain")))
			c->sender_retain = true;
		else if (slice_starts(option, SLICE("domain=")))
			c->domain = slice_from(option, 7);
		else if (slice_starts(option, SLICE("name="))) {
			/* A display name may hold slashes: it is the rest. */
			option = slice_from(option, 5);
			if (rest.ptr)
				option.len = (uint32_t)(rest.ptr + rest.len - option.ptr);
			c->name = option;
			return true;
		} else {
			return false;
		}
	}
	return true;
}

/* "tag=.x/opts=+acl": a slash ends each, so none can be in a tag. */
static bool debug_options(struct debug_call *c, struct slice options)
{
	struct slice option;

	while (slice_split(&options, '/', &option)) {
		if (slice_starts(option, SLICE("tag=")))
			c->wish.tag = slice_from(option, 4);
		else if (slice_starts(option, SLICE("opts="))) {
			if (debug_topics_parse(slice_from(option, 5), &c->wish.topics, NULL) != OK)
				return false;
		} else if (slice_starts(option, SLICE("pretrigger="))) {
			if (!parse_u64(slice_from(option, 11), &c->wish.pretrigger_size))
				return false;
		} else if (slice_eq(option, SLICE("trigger=now"))) {
			c->trigger = TRIGGER_NOW;
			continue;
		} else if (slice_eq(option, SLICE("trigger=paniclog"))) {
			c->trigger = TRIGGER_PANIC;
			c->wish.on_panic = true;
			continue;
		} else if (slice_eq(option, SLICE("stop"))) {
			c->what = DEBUG_STOP;
		} else if (slice_eq(option, SLICE("kill"))) {
			c->what = DEBUG_KILL;
		} else if (option.len) {
			return false;
		}
		c->more = true;
	}
	return true;
}

static bool options_fit(struct control_call *c)
{
	switch (c->control->options) {
	case NO_OPTIONS:
		return !c->has_options;
	case SUBMISSION:
		return !c->has_options || submission_options(c);
	case FREEZE:
		return !c->has_options || slice_eq(c->options, SLICE("no_tell"));
	case NEEDED:
	case WELLKNOWN:
		return c->has_options;
	case DSCP:
		c->tos_known = c->has_options && dscp_parse(c->options, &c->tos);
		return c->has_options;
	case DOWNCONVERT:
		c->downconvert = slice_eq(c->options, SLICE("0"))    ? 0
				 : slice_eq(c->options, SLICE("-1")) ? -1
								     : 1;
		return !c->has_options || c->downconvert < 1 || slice_eq(c->options, SLICE("1"));
	case DEBUGGING:
		c->debug.more = !c->has_options;
		return debug_options(&c->debug, c->options);
	case FREE_TEXT:
	case QUEUE: /* other words mean nothing, and are no mistake either */
	case CUTTHROUGH:
	case MISSING:
		break;
	}
	return true;
}

static enum rc unknown(struct slice name, struct err *err)
{
	const char *names[ARRAY_COUNT(controls)], *nearest;

	for (unsigned i = 0; i < ARRAY_COUNT(controls); i++)
		names[i] = controls[i].name;
	nearest = conf_nearest(name, names, ARRAY_COUNT(controls));
	return err_set(err, FAIL, "unknown control \"%.*s\"%s%s%s", SLICE_ARG(name),
		       nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

static enum rc parse(struct slice value, struct control_call *c, struct err *err)
{
	struct slice name = slice_trim(value);
	ptrdiff_t slash = slice_find(name, '/');

	*c = (struct control_call){
	    .options = SLICE_EMPTY,
	    .has_options = slash >= 0,
	    .domain = {NULL, 0, 0},
	    .name = {NULL, 0, 0},
	    .debug.wish = {.tag = SLICE_EMPTY, .topics = DEBUG_DEFAULT},
	};
	if (slash >= 0) {
		c->options = slice_from(name, (size_t)slash + 1);
		name = slice_rtrim(slice_sub(name, 0, (size_t)slash));
	}
	for (unsigned i = 0; i < ARRAY_COUNT(controls) && !c->control; i++)
		if (slice_eq(name, slice_of(controls[i].name)))
			c->control = &controls[i];
	if (!c->control)
		return unknown(name, err);
	return options_fit(c) ? OK : err_set(err, FAIL, "syntax error in \"control=%.*s\"", SLICE_ARG(value));
}

enum rc acl_check_control(struct arena *arena, struct slice value, struct err *err)
{
	struct control_call c;
	enum rc rc = parse(value, &c, err);

	(void)arena;
	/* At run time such a value is overlooked, as routers on the way may overlook a good one. */
	if (rc == OK && c.control->options == DSCP && !c.tos_known)
		return err_set(err, FAIL, "unknown DSCP value \"%.*s\"", SLICE_ARG(c.options));
	return rc;
}

const char *acl_control_no_effect(struct slice value)
{
	struct control_call c;
	struct err err = err_make(NULL);

	if (parse(value, &c, &err) != OK)
		return NULL;
	return c.control->options == MISSING
		   ? "is not available in this version: a statement that comes to it defers"
		   : NULL;
}

static void submission(struct acl_outcome *outcome, const struct control_call *c)
{
	if (c->sender_retain)
		outcome->controls |= ACL_CONTROL_SUBMISSION_SENDER_RETAIN;
	if (c->domain.ptr)
		outcome->submission_domain = c->domain;
	if (c->name.ptr)
		outcome->submission_name = c->name;
}

/* The local part is lower-cased for routing unless the ACL says that case matters; a later control takes it back. */
static void local_part_case(struct scope *sc, uint32_t sets)
{
	struct address *a = sc->address;
	char *lower;

	if (!a)
		return;
	if (sets == ACL_CONTROL_CASEFUL && a->cased_local_part.ptr)
		a->local_part = a->cased_local_part;
	if (sets != ACL_CONTROL_CASELOWER)
		return;
	lower = arena_alloc(sc->task->arena, a->local_part.len + 1u, 1);
	for (uint32_t i = 0; lower && i < a->local_part.len; i++)
		lower[i] = ascii_lower(a->local_part.ptr[i]);
	if (lower)
		a->local_part = slice_make(lower, a->local_part.len, a->local_part.taint);
}

/* Overlooked everywhere but with the first recipient, and where the message has to wait anyway. */
static void cutthrough(struct acl_run *run, struct slice options)
{
	const uint32_t hindered = ACL_CONTROL_FREEZE | ACL_CONTROL_QUEUE | ACL_CONTROL_FAKEREJECT;
	struct message *m = run->sc->message;
	struct slice option;
	bool pass = false;

	if (run->where != ACL_WHERE_RCPT || !m || m->rcpt_seen || m->queue_only ||
	    (run->outcome->controls & hindered))
		return;
	while (slice_split(&options, '/', &option))
		if (slice_starts(option, SLICE("defer=")))
			pass = slice_eq(slice_from(option, 6), SLICE("pass"));
	cutthrough_want(m, pass);
}

/* From here on the rest of the session, and what becomes of its message, is told in the debug log; or not any more. Who
 * already tells it to somebody (-d, -bh) goes on with that. */
static enum acl_test debugging(struct acl_run *run, const struct control_call *call)
{
	const struct debug_call *c = &call->debug;
	struct debug **place = run->sc->debug;
	char ip[IP_TEXT_MAX] = "";

	if (!place) /* where nobody keeps it, in a delivery */
		return TEST_TRUE;
	if (c->what != DEBUG_GO) {
		if (!log_debug_is_file(*place))
			return TEST_TRUE;
		DEBUG(DEBUG_ANY, "debug terminated by %s", c->what == DEBUG_KILL ? "kill" : "stop");
		fiber_debug(NULL);
		log_debug_end(*place, c->what == DEBUG_KILL);
		*place = NULL;
	} else if (debug_here) {
		if (c->more)
			DEBUG(DEBUG_ANY,
			      "control = debug again: tag \"%.*s\", topics 0x%llx, as it was before",
			      SLICE_ARG(c->wish.tag), (unsigned long long)c->wish.topics);
		if (c->trigger == TRIGGER_NOW)
			log_debug_trigger(*place);
	} else if (c->more) {
		if (log_debug_file(run->sc->task->shard, run->sc->conf, &c->wish, place, run->err) != OK)
			return TEST_ERROR;
		if (run->sc->client)
			(void)ip_format(&run->sc->client->ip, ip);
		fiber_debug(*place);
		DEBUG(DEBUG_ANY, "control = debug in the %s ACL, for [%s]", acl_where_names[run->where], ip);
		if (c->trigger == TRIGGER_NOW)
			log_debug_trigger(*place);
	}
	return TEST_TRUE;
}

/* The answer to WELLKNOWN is this file. One that is not there, or may not be read, makes the statement fail. */
static enum acl_test wellknown(struct acl_run *run, struct slice name)
{
	struct err why = err_make(run->sc->task->arena);
	struct slice bytes;
	const char *path;
	enum rc rc = FAIL;

	if (!name.len || name.ptr[0] != '/' || slice_find(name, 0) >= 0)
		(void)err_set(&why, FAIL, "\"%.*s\" is no absolute file name", SLICE_ARG(name));
	else if (name.taint)
		(void)err_set(&why, FAIL, "tainted file name \"%.*s\"", SLICE_ARG(name));
	else if (!(path = arena_cstr(run->sc->task->arena, name)))
		rc = err_memory(&why);
	else
		rc = file_slurp(run->sc->task, path, ACL_WELLKNOWN_SIZE_MAX, &bytes, &why);
	if (rc == OK)
		run->outcome->wellknown = bytes.ptr ? bytes : SLICE_EMPTY;
	else
		run->log_text = arena_printf(run->sc->task->arena, "wellknown: %.*s", SLICE_ARG(why.text));
	return acl_test_of(rc);
}

static enum acl_test run_control(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct acl_outcome *outcome = run->outcome;
	struct control_call c;

	(void)item;
	if (parse(value, &c, run->err) != OK)
		return TEST_ERROR;
	if (c.control->not_at & 1u << run->where) {
		(void)err_set(run->err, FAIL, "cannot use \"control=%s\" in %s ACL", c.control->name,
			      acl_where_names[run->where]);
		return TEST_ERROR;
	}
	if ((c.control->options == QUEUE || c.control->options == FREEZE) &&
	    conf_main(run->sc->conf)->mua_wrapper)
		return TEST_TRUE; /* where there is no queue it is overlooked */
	outcome->controls |= c.control->sets;
	switch (c.control->options) {
	case FREE_TEXT:
		if (c.options.len)
			outcome->control_text = c.options;
		break;
	case SUBMISSION:
		submission(outcome, &c);
		break;
	case QUEUE:
		if (slice_starts(slice_ltrim(c.options), SLICE("first_pass_route")))
			outcome->controls |= ACL_CONTROL_QUEUE_FIRST_PASS;
		break;
	case FREEZE:
		/* Whoever freezes without it wants it told. */
		if (!c.has_options)
			outcome->controls |= ACL_CONTROL_FREEZE_TELL;
		break;
	case DSCP:
		if (c.tos_known)
			outcome->tos = (int)c.tos;
		break;
	case DOWNCONVERT:
		if (run->sc->message)
			run->sc->message->utf8_downconvert = (int8_t)c.downconvert;
		break;
	case NO_OPTIONS:
		local_part_case(run->sc, c.control->sets);
		break;
	case MISSING:
		(void)err_set(run->err, FAIL, "control = %s is not available in this version",
			      c.control->name);
		return TEST_ERROR;
	case NEEDED:
		if (slice_eq(slice_of(c.control->name), SLICE("authres_remove")))
			return acl_remove_authres(run, c.options);
		break;
	case WELLKNOWN:
		return wellknown(run, c.options);
	case CUTTHROUGH:
		cutthrough(run, c.options);
		break;
	case DEBUGGING:
		return debugging(run, &c);
	}
	return TEST_TRUE;
}

const struct acl_word acl_word_control = {"control", MODIFIER, VALUE_EXPAND, 0, run_control};
