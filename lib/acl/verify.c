/* verify: the condition that checks addresses, names and header syntax. */
#include "list.h"

struct verify_words {
	struct verify_options options;
	struct callout_options callout;
	bool defer_ok, callout_wanted, callout_defer_ok, quota_wanted;
	struct quota_options quota;
	bool case_insensitive;
};

/* "name = value", with or without white space. */
static bool with_value(struct slice word, const char *name, struct slice *value_ret)
{
	struct slice rest;

	if (!slice_starts(word, slice_of(name)))
		return false;
	rest = slice_ltrim(slice_from(word, (uint32_t)strlen(name)));
	if (!rest.len || rest.ptr[0] != '=')
		return false;
	*value_ret = slice_trim(slice_from(rest, 1));
	return true;
}

static bool callout_word(struct slice word, struct callout_options *c, bool *defer_ok)
{
	static const struct {
		const char *name;
		size_t offset;
	} flags[] = {
	    {"fullpostmaster", offsetof(struct callout_options, fullpostmaster)},
	    {"postmaster", offsetof(struct callout_options, postmaster)},
	    {"random", offsetof(struct callout_options, random)},
	    {"no_cache", offsetof(struct callout_options, no_cache)},
	    {"use_sender", offsetof(struct callout_options, use_sender)},
	    {"use_postmaster", offsetof(struct callout_options, use_postmaster)},
	    {"use_tptsender", offsetof(struct callout_options, use_tptsender)},
	    {"hold", offsetof(struct callout_options, hold)},
	};
	static const struct {
		const char *name;
		size_t offset;
	} times[] = {
	    {"connect", offsetof(struct callout_options, connect_timeout_s)},
	    {"maxwait", offsetof(struct callout_options, maxwait_s)},
	};
	static const struct {
		const char *name;
		size_t offset;
	} texts[] = {
	    {"mailfrom", offsetof(struct callout_options, mailfrom)},
	    {"postmaster_mailfrom", offsetof(struct callout_options, postmaster_mailfrom)},
	};

	struct slice value;

	if (slice_eq(word, SLICE("defer_ok"))) {
		*defer_ok = c->defer_ok = true;
		return true;
	}
	if (slice_eq(word, SLICE("fullpostmaster")))
		c->postmaster = true;
	for (unsigned i = 0; i < ARRAY_COUNT(flags); i++)
		if (slice_eq(word, slice_of(flags[i].name))) {
			*(bool *)((char *)c + flags[i].offset) = true;
			return true;
		}
	for (unsigned i = 0; i < ARRAY_COUNT(texts); i++)
		if (with_value(word, texts[i].name, &value)) {
			*(struct slice *)((char *)c + texts[i].offset) = value;
			if (i == 1)
				c->postmaster = true;
			return true;
		}
	for (unsigned i = 0; i < ARRAY_COUNT(times); i++)
		if (with_value(word, times[i].name, &value))
			return conf_parse_time(value, (int64_t *)((char *)c + times[i].offset));
	return conf_parse_time(word, &c->timeout_s);
}

/* quota = cachepos=1h,cacheneg=1d,no_cache */
static bool quota_words(struct slice rest, struct quota_options *quota)
{
	struct slice word, value;

	while (slice_split(&rest, ',', &word)) {
		word = slice_trim(word);
		if (slice_eq(word, SLICE("no_cache")))
			*quota = (struct quota_options){0};
		else if (with_value(word, "cachepos", &value)) {
			if (!conf_parse_time(value, &quota->room_s) || quota->room_s < 0)
				return false;
		} else if (with_value(word, "cacheneg", &value)) {
			if (!conf_parse_time(value, &quota->refused_s) || quota->refused_s < 0)
				return false;
		} else {
			return false;
		}
	}
	return true;
}

static bool parse_words(struct slice rest, struct verify_words *words)
{
	struct slice word, more;

	*words =
	    (struct verify_words){.callout = {.timeout_s = 30}, .quota = {.room_s = 300, .refused_s = 3600}};
	while (slice_split(&rest, '/', &word)) {
		word = slice_trim(word);
		if (slice_eq(word, SLICE("defer_ok"))) {
			words->defer_ok = true;
		} else if (slice_eq(word, SLICE("no_details"))) {
			words->options.no_details = true;
		} else if (slice_eq(word, SLICE("success_on_redirect"))) {
			words->options.success_on_redirect = true;
		} else if (slice_eq(word, SLICE("case_insensitive"))) {
			words->case_insensitive = true;
		} else if (slice_eq(word, SLICE("callout_defer_ok"))) {
			words->callout_wanted = words->callout_defer_ok = words->callout.defer_ok = true;
		} else if (slice_eq(word, SLICE("check_postmaster"))) {
			words->callout_wanted = words->callout.postmaster = true;
		} else if (slice_eq(word, SLICE("quota"))) {
			words->quota_wanted = true;
		} else if (with_value(word, "quota", &more)) {
			words->quota_wanted = true;
			if (!quota_words(more, &words->quota))
				return false;
		} else if (slice_starts(word, SLICE("callout"))) {
			struct slice part;
			more = slice_ltrim(slice_from(word, 7));
			words->callout_wanted = true;
			if (!more.len)
				continue;
			if (more.ptr[0] != '=')
				return false;
			more = slice_from(more, 1);
			while (slice_split(&more, ',', &part))
				if (!callout_word(slice_trim(part), &words->callout,
						  &words->callout_defer_ok))
					return false;
		} else {
			return false;
		}
	}
	return true;
}

/* What a host said, for the client who asks us: as it is about a recipient, with how it came about of a sender. */
static struct slice callout_text(struct acl_run *run, const struct callout_answer *answer, bool sender)
{
	struct arena *arena = run->sc->task->arena;
	char ip[IP_TEXT_MAX];

	if (!answer->reply.code)
		return run->err->text;
	if (!sender)
		return arena_printf(arena, "Callout verification failed:\n%.*s",
				    SLICE_ARG(answer->reply.text));
	return arena_printf(arena, "Called:   %.*s\nSent:     %.*s\nResponse: %.*s",
			    SLICE_ARG(ip_format(&answer->host, ip)), SLICE_ARG(answer->reply.command),
			    SLICE_ARG(answer->reply.text));
}

static struct slice untainted(struct scope *sc, struct slice text)
{
	struct slice copy = arena_copy(sc->task->arena, text);

	copy.taint = CLEAN;
	return copy.ptr ? copy : SLICE_EMPTY;
}

/* What a router says to the client of an address that it defers (":defer: text"), in the place of a failure's name. */
static const struct slice told_by_router = SLICE_INIT("told");
/* The failure of an address that a router takes and is to refuse (fail_verify): of a sender no details are told. */
static const char forced_word[] = "route"; /* known by its place */
static const struct slice forced_by_router = {forced_word, sizeof(forced_word) - 1, CLEAN};

/* May the connection of this callout stay, with what it has said, for the rest of the message? Where only that is wanted, an
 * answer from memory will do; cutthrough delivery has to tell the host of each recipient. */
static void callout_keeps(struct acl_run *run, bool sender, const struct route_output *out,
			  struct callout_options *callout)
{
	bool wanted = run->where == ACL_WHERE_RCPT && cutthrough_wanted(run->sc->message);

	callout->keep = !sender && run->where == ACL_WHERE_RCPT && run->sc->message &&
			(callout->hold || wanted) && (callout->use_sender || callout->use_tptsender) &&
			!callout->random && !callout->postmaster && !callout->use_postmaster && !out->unseen;
	if (callout->keep && wanted)
		callout->no_cache = true;
}

/* An address routed, and asked for at the host it was routed to where that is wanted. */
static enum rc check_address(struct acl_run *run, struct slice address, bool sender,
			     const struct verify_words *words, struct slice *user_ret,
			     struct slice *failure_ret)
{
	struct scope *sc = run->sc;
	struct route_output out = {0};
	struct address *result = NULL, *saved = sc->address;
	struct callout_answer answer = {0};
	struct callout_options how = words->callout;
	enum rc rc;

	*user_ret = (struct slice){NULL, 0, 0};
	*failure_ret = SLICE("route");
	rc = verify_address(sc, address, sender, &words->options, &result, &out, run->err);
	sc->address = saved;
	if (rc == OK && words->callout_wanted && result && result->transport) {
		void (*flush)(struct scope *, enum flush_reason) = sc->flush;

		if (run->outcome->controls & ACL_CONTROL_NO_CALLOUT_FLUSH)
			sc->flush = NULL;
		sc->address = saved;
		callout_keeps(run, sender, &out, &how);
		rc = callout(sc, result, sender, &how, &answer, run->err);
		sc->flush = flush;
		*failure_ret = answer.failure ? slice_of(answer.failure) : SLICE_EMPTY;
		if (rc == FAIL)
			*user_ret = callout_text(run, &answer, sender);
		else if (rc == DEFER)
			*user_ret = sender ? SLICE("Could not complete sender verify callout")
					   : SLICE("Could not complete recipient verify callout");
		else if (rc == OK && answer.accepted && !sender && saved && !answer.failure) {
			/* The host has vouched for them. */
			saved->domain_data = sc->domain_data = untainted(sc, result->domain);
			saved->local_part_data = sc->local_part_data = untainted(sc, result->local_part);
		}
	} else if (rc == OK && words->quota_wanted && result && result->transport) {
		*failure_ret = SLICE("quota");
		rc = quota_verify(sc, result, &words->quota, run->err);
		/* How full somebody's mailbox is, no stranger need know. */
		if (rc == FAIL || rc == DEFER)
			*user_ret = SLICE_EMPTY;
	} else if (rc == FAIL || rc == DEFER) {
		*user_ret = out.user_message.len ? out.user_message
			    : out.message.len    ? out.message
						 : run->err->text;
		if (rc == DEFER && !sender && out.user_message.len)
			*failure_ret = told_by_router;
		if (rc == FAIL && out.forced)
			*failure_ret = forced_by_router;
	}
	if (rc == OK && answer.failure) /* "random": true, and yet worth to be told */
		*(sender ? &sc->sender_verify_failure : &sc->recipient_verify_failure) =
		    slice_of(answer.failure);
	if (rc == OK && result && !sender && saved) {
		/* What routing found out is for the rest of the ACL: $address_data, $domain_data ... */
		saved->address_data = result->address_data;
	}
	if (rc == OK && result && sender)
		sc->sender_address_data = result->address_data;
	if (rc == DEFER && words->defer_ok && !sc->task->cancelled)
		rc = OK;
	return rc;
}

static bool failure_of_callout(struct slice user)
{
	return user.ptr && slice_starts(user, SLICE("Could not complete"));
}

static enum acl_test verify_recipient(struct acl_run *run, const struct verify_words *words)
{
	struct scope *sc = run->sc;
	struct slice user, failure;
	enum rc rc;

	if (!sc->address) {
		(void)err_set(run->err, FAIL, "cannot verify recipient here");
		return TEST_ERROR;
	}
	rc = check_address(run, sc->address->full, false, words, &user, &failure);
	if (rc == FAIL) {
		sc->recipient_verify_failure = failure;
		if (slice_eq(failure, SLICE("quota"))) {
			run->log_text = run->err->text;
			return TEST_FALSE;
		}
		run->user_text = user.ptr && user.len ? user : SLICE("Unrouteable address");
		run->log_text = run->err->text.len && !slice_eq(failure, SLICE("route")) ? run->err->text
											 : run->user_text;
	} else if (rc == DEFER) {
		run->user_text = failure_of_callout(user) || failure.ptr == told_by_router.ptr
				     ? user
				     : SLICE("Could not complete recipient verify");
		run->log_text = failure_of_callout(user) || slice_eq(failure, SLICE("quota")) ? run->err->text
				: user.ptr                                                    ? user
					   : run->user_text;
	}
	return acl_test_of(rc);
}

/* The next statement of this message that asks need not ask again. What a callout found out is no answer to who wants none: a host
 * may know of the address less than the routers do. */
static void remember_sender(struct scope *sc, struct acl_memory *memory, enum rc rc,
			    const struct verify_words *words, struct slice user, struct slice failure)
{
	struct arena *arena = &sc->message->arena;

	if (!memory || (rc != OK && rc != FAIL) || (rc == FAIL && words->callout_wanted && failure.len))
		return;
	memory->sender_verified_done = true;
	memory->sender_verified = rc;
	memory->sender_called_out = rc == OK && words->callout_wanted && !words->callout_defer_ok;
	memory->sender_verified_text = user.ptr ? arena_copy(arena, user) : user;
	memory->sender_address_data = sc->sender_address_data.ptr ? arena_copy(arena, sc->sender_address_data)
								  : (struct slice){NULL, 0, CLEAN};
}

static enum acl_test verify_sender(struct acl_run *run, const struct verify_words *words, struct slice given)
{
	struct scope *sc = run->sc;
	struct acl_memory *memory = acl_memory(sc);
	struct slice sender = sc->sender.ptr ? sc->sender : sc->message ? sc->message->sender : SLICE_EMPTY;
	struct slice user, failure = SLICE_EMPTY, address = given.len ? given : sender;
	enum rc rc;

	/* From here on the sender is who the rules say. */
	if (!given.len && sender.len && sc->message &&
	    rewrite_wanted(rewrite_rules(sc->conf), REWRITE_ENV_FROM)) {
		rc =
		    rewrite_address(sc, rewrite_rules(sc->conf), REWRITE_ENV_FROM, sender, &sender, run->err);
		if (rc == OK && !slice_eq(sender, sc->message->sender))
			sender = arena_copy(&sc->message->arena, sender);
		if (rc != OK || !sender.ptr)
			return acl_test_of(rc != OK ? rc : DEFER);
		sc->sender = sc->message->sender = address = sender;
	}
	/* The null reverse-path is good by definition. */
	if (!address.len)
		return TEST_TRUE;
	if (!given.len && memory && memory->sender_verified_done &&
	    (memory->sender_called_out || memory->sender_verified == FAIL || !words->callout_wanted)) {
		DEBUG(DEBUG_CHECK(DEBUG_VERIFY), "using cached sender verify result");
		rc = memory->sender_verified;
		user = memory->sender_verified_text;
		sc->sender_address_data = memory->sender_address_data;
	} else {
		rc = check_address(run, address, true, words, &user, &failure);
		if (rc != OK)
			sc->sender_verify_failure = failure;
		if (!given.len)
			remember_sender(sc, memory, rc, words, user, failure);
	}
	if (rc == FAIL) {
		if (!user.ptr || !user.len)
			user = SLICE("Unrouteable address");
		/* Told once, before the first refusal that comes of it. */
		if (memory && !memory->details_told)
			memory->unverified = arena_printf(&sc->message->arena, "<%.*s>: %.*s",
							  SLICE_ARG(address), SLICE_ARG(user));
		if (!words->options.no_details && failure.ptr != forced_by_router.ptr && memory &&
		    !memory->details_told)
			memory->details =
			    arena_printf(&sc->message->arena, "Verification failed for <%.*s>\n%.*s",
					 SLICE_ARG(address), SLICE_ARG(user));
		run->user_text = run->log_text = SLICE("Sender verify failed");
	} else if (rc == DEFER) {
		if (failure_of_callout(user))
			run->user_text = user;
		run->log_text = failure_of_callout(user) ? run->err->text
				: user.ptr && user.len   ? user
							 : SLICE("Could not complete sender verify");
	}
	return acl_test_of(rc);
}

static const char *const address_headers[] = {"from", "sender", "reply-to", "to", "cc", "bcc"};

/* Something is wrong with a header field. That is for the log, and for clients only where they may have details. */
static enum acl_test header_refused(struct acl_run *run, enum acl_test test, struct slice text)
{
	run->log_text = text.ptr ? text : SLICE("malformed header");
	run->outcome->header_refused = true;
	return test;
}

/* Addresses that a client may leave to us to qualify are whole by now. */
static enum acl_test verify_header_syntax(struct acl_run *run)
{
	struct message *m = run->sc->message;

	for (unsigned i = 0; i < ARRAY_COUNT(address_headers); i++)
		for (struct header *h = NULL;
		     (h = header_find(&m->headers, slice_of(address_headers[i]), h));) {
			struct slice rest = header_body(h), item = rest;
			struct address_parts parts;
			enum rc rc;
			while (item = rest, (rc = address_next(run->sc->task->arena, &rest,
							       ADDRESS_ALLOW_LITERAL | ADDRESS_ALLOW_UTF8,
							       &parts, run->err)) == OK)
				;
			if (rc == FAIL && run->err->text.len) {
				struct slice text =
				    arena_printf(run->sc->task->arena,
						 "%.*s: failing address in \"%.*s:\" header is: %.*s",
						 SLICE_ARG(run->err->text), SLICE_ARG(header_name(h)),
						 SLICE_ARG(slice_trim(item)));
				*run->err = err_make(run->sc->task->arena);
				return header_refused(run, TEST_FALSE, text);
			}
			*run->err = err_make(run->sc->task->arena);
		}
	return TEST_TRUE;
}

/* One of From:, Sender:, Reply-To: has to have an address that can be verified as a sender. */
static enum acl_test verify_header_sender(struct acl_run *run, const struct verify_words *words)
{
	static const char *const names[] = {"sender", "reply-to", "from"};
	struct arena *arena = run->sc->task->arena;
	struct message *m = run->sc->message;
	struct slice text = SLICE("there is no valid sender in any header line");
	enum acl_test worst = TEST_FALSE;

	for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
		for (struct header *h = NULL; (h = header_find(&m->headers, slice_of(names[i]), h));) {
			struct slice rest = header_body(h), user, failure;
			struct address_parts parts;
			while (address_next(arena, &rest, ADDRESS_ALLOW_LITERAL, &parts, run->err) == OK) {
				enum rc rc = check_address(run, parts.full, true, words, &user, &failure);
				if (rc == OK)
					return TEST_TRUE;
				if (rc != FAIL)
					worst = TEST_DEFER;
				text = arena_printf(arena,
						    "could not verify \"%.*s:\" header address %.*s: %.*s",
						    SLICE_ARG(header_name(h)), SLICE_ARG(parts.full),
						    SLICE_ARG(user.ptr && user.len ? user : run->err->text));
			}
		}
	return header_refused(run, worst, text);
}

static bool named_in(struct acl_run *run, const char *header_name_text, const struct recipient *r,
		     bool nocase)
{
	struct message *m = run->sc->message;

	for (struct header *h = NULL; (h = header_find(&m->headers, slice_of(header_name_text), h));) {
		struct slice rest = header_body(h);
		struct address_parts parts;
		while (address_next(run->sc->task->arena, &rest,
				    ADDRESS_ALLOW_LITERAL | ADDRESS_ALLOW_UNQUALIFIED, &parts,
				    run->err) == OK) {
			ptrdiff_t at = slice_rfind(r->original, '@');
			struct slice local = slice_sub(r->original, 0, at < 0 ? r->original.len : (size_t)at);
			struct slice domain = at < 0 ? SLICE_EMPTY : slice_from(r->original, (size_t)at + 1);
			if (slice_eq_nocase(parts.domain, domain) &&
			    (nocase ? slice_eq_nocase(parts.local_part, local)
				    : slice_eq(parts.local_part, local)))
				return true;
		}
	}
	return false;
}

static enum acl_test verify_not_blind(struct acl_run *run, const struct verify_words *words)
{
	struct message *m = run->sc->message;

	for (uint32_t i = 0; i < m->recipient_count; i++)
		if (!named_in(run, "to", &m->recipients[i], words->case_insensitive) &&
		    !named_in(run, "cc", &m->recipients[i], words->case_insensitive)) {
			struct str text = str_make(run->sc->task->arena);
			str_printf(&text, "bcc recipient detected: %.*s",
				   SLICE_ARG(m->recipients[i].original));
			run->log_text = str_slice(&text);
			return TEST_FALSE;
		}
	return TEST_TRUE;
}

static enum acl_test verify_header_names(struct acl_run *run)
{
	LIST_EACH (l, &run->sc->message->headers.list) {
		struct slice name = header_name(LIST_ITEM(l, struct header, link));
		for (uint32_t i = 0; i < name.len; i++)
			if (name.ptr[i] < 33 || name.ptr[i] > 126) {
				return header_refused(
				    run, TEST_FALSE,
				    arena_printf(run->sc->task->arena,
						 "Invalid character in header \"%.*s\" found",
						 SLICE_ARG(name)));
			}
	}
	return TEST_TRUE;
}

enum verify_kind {
	VERIFY_RECIPIENT_KIND,
	VERIFY_SENDER_KIND,
	VERIFY_HEADER_SENDER,
	VERIFY_HEADER_SYNTAX,
	VERIFY_HEADER_NAMES,
	VERIFY_NOT_BLIND,
	VERIFY_HELO,
	VERIFY_REVERSE,
	VERIFY_CERTIFICATE,
	VERIFY_CSA,
	VERIFY_ARC,
};
#define HEADERS_THERE (~(AT(DATA) | AT(PRDR) | AT(MIME) | AT(DKIM) | AT(NOT_SMTP)))
static const struct kind {
	const char *name;
	enum verify_kind kind;
	uint32_t not_at;
} kinds[] = {
    {"recipient", VERIFY_RECIPIENT_KIND, ~(AT(RCPT) | AT(PRDR))},
    {"sender", VERIFY_SENDER_KIND, AT(CONNECT) | AT(HELO)},
    {"header_sender", VERIFY_HEADER_SENDER, HEADERS_THERE},
    {"header_syntax", VERIFY_HEADER_SYNTAX, HEADERS_THERE},
    {"header_names_ascii", VERIFY_HEADER_NAMES, HEADERS_THERE},
    {"not_blind", VERIFY_NOT_BLIND, HEADERS_THERE},
    {"helo", VERIFY_HELO, 0},
    {"reverse_host_lookup", VERIFY_REVERSE, 0},
    {"certificate", VERIFY_CERTIFICATE, 0},
    {"csa", VERIFY_CSA, 0},
    {"arc", VERIFY_ARC, ~AT(DATA)},
};

static const struct kind *kind_of(struct slice *value)
{
	ptrdiff_t slash = slice_find(*value, '/');
	struct slice name = slice_trim(slash < 0 ? *value : slice_sub(*value, 0, (size_t)slash));
	ptrdiff_t equal = slice_find(name, '=');
	struct slice bare_name = equal < 0 ? name : slice_rtrim(slice_sub(name, 0, (size_t)equal));

	for (unsigned i = 0; i < ARRAY_COUNT(kinds); i++)
		if (slice_eq(bare_name, slice_of(kinds[i].name))) {
			*value =
			    slash < 0 ? (struct slice){NULL, 0, 0} : slice_from(*value, (size_t)slash + 1);
			return &kinds[i];
		}
	return NULL;
}

/* Some callout options are for one kind of address. */
static bool words_fit(enum verify_kind kind, const struct verify_words *words)
{
	const struct callout_options *c = &words->callout;

	if (words->quota_wanted && kind != VERIFY_RECIPIENT_KIND)
		return false;
	if (c->mailfrom.ptr && kind != VERIFY_HEADER_SENDER)
		return false;
	return (!c->use_sender && !c->use_postmaster && !c->use_tptsender) || kind == VERIFY_RECIPIENT_KIND;
}

static enum acl_test helo_or_name(struct acl_run *run, enum verify_kind kind,
				  const struct verify_words *words)
{
	struct client *c = run->sc->client;
	enum rc rc;

	if (!c || !c->ip.family)
		return TEST_TRUE;
	if (kind == VERIFY_HELO) {
		rc = c->helo.len ? client_helo_verify(run->sc, run->err) : FAIL;
		return acl_test_of(rc);
	}
	rc = client_host_name(run->sc, run->err);
	if (rc == DEFER && words->defer_ok)
		rc = OK;
	if (rc == FAIL)
		run->log_text = SLICE("host lookup failed for reverse lookup check");
	return acl_test_of(rc);
}

static enum acl_test run_verify(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct slice rest = slice_trim(value), given = SLICE_EMPTY;
	const struct kind *kind = kind_of(&rest);
	struct verify_words words;
	ptrdiff_t equal;

	(void)item;
	if (!kind) {
		(void)err_set(
		    run->err, FAIL,
		    "expected \"sender[=address]\", \"recipient\", \"helo\", \"header_syntax\", \"header_sender\", "
		    "\"header_names_ascii\", \"not_blind\" or \"reverse_host_lookup\" at start of ACL condition \"verify %.*s\"",
		    SLICE_ARG(value));
		return TEST_ERROR;
	}
	if ((kind->not_at & 1u << run->where) || ((kind->not_at == HEADERS_THERE) && !run->sc->message)) {
		(void)err_set(run->err, FAIL, "cannot verify %s in ACL for %s", kind->name,
			      acl_where_names[run->where]);
		return TEST_ERROR;
	}
	if (kind->kind == VERIFY_HELO && rest.ptr) {
		(void)err_set(run->err, FAIL, "unexpected argument for \"verify %.*s\"", SLICE_ARG(value));
		return TEST_ERROR;
	}
	if (kind->kind == VERIFY_CSA) {
		struct client *c = run->sc->client;
		struct slice why = {NULL, 0, 0};
		enum acl_test test = acl_verify_csa(run, rest.ptr ? rest : c ? c->helo : SLICE_EMPTY, &why);
		if (test == TEST_FALSE)
			run->user_text = run->log_text = arena_printf(
			    run->sc->task->arena, "client SMTP authorization %.*s", SLICE_ARG(why));
		return test;
	}
	if (kind->kind == VERIFY_ARC)
		return acl_verify_arc(run, rest.ptr ? rest : SLICE_EMPTY);
	if (kind->kind == VERIFY_REVERSE) {
		/* Words that it does not know have never been a mistake here. */
		words = (struct verify_words){
		    .defer_ok = slice_eq(slice_trim(rest.ptr ? rest : SLICE_EMPTY), SLICE("defer_ok"))};
	} else if (!parse_words(rest, &words) || !words_fit(kind->kind, &words)) {
		(void)err_set(run->err, FAIL, "unknown option in ACL condition \"verify %.*s\"",
			      SLICE_ARG(value));
		return TEST_ERROR;
	}
	switch (kind->kind) {
	case VERIFY_RECIPIENT_KIND:
		return verify_recipient(run, &words);
	case VERIFY_SENDER_KIND:
		value = slice_sub(slice_trim(value), 0,
				  rest.ptr ? (size_t)(rest.ptr - slice_trim(value).ptr - 1) : SIZE_MAX);
		equal = slice_find(value, '=');
		if (equal >= 0)
			given = slice_trim(slice_from(value, (size_t)equal + 1));
		return verify_sender(run, &words, given);
	case VERIFY_HEADER_SENDER:
		return verify_header_sender(run, &words);
	case VERIFY_HEADER_SYNTAX:
		return verify_header_syntax(run);
	case VERIFY_HEADER_NAMES:
		return verify_header_names(run);
	case VERIFY_NOT_BLIND:
		return verify_not_blind(run, &words);
	case VERIFY_HELO:
	case VERIFY_REVERSE:
		return helo_or_name(run, kind->kind, &words);
	case VERIFY_CERTIFICATE:
		if (run->sc->client && run->sc->client->tls_certificate_verified)
			return TEST_TRUE;
		run->user_text = run->log_text = SLICE("no verified certificate");
		return TEST_FALSE;
	default:
		(void)err_set(run->err, FAIL, "verify = %s is not available in this version", kind->name);
		return TEST_ERROR;
	}
}

enum rc acl_check_verify(struct arena *arena, struct slice value, struct err *err)
{
	struct slice rest = slice_trim(value);
	const struct kind *kind = kind_of(&rest);
	const char *names[ARRAY_COUNT(kinds)], *nearest;
	struct verify_words words;

	(void)arena;
	if (!kind) {
		struct slice name = rest;
		uint32_t len = 0;
		while (len < name.len && (ascii_is_alnum(name.ptr[len]) || name.ptr[len] == '_'))
			len++;
		for (unsigned i = 0; i < ARRAY_COUNT(kinds); i++)
			names[i] = kinds[i].name;
		nearest = conf_nearest(slice_sub(name, 0, len), names, ARRAY_COUNT(kinds));
		return err_set(err, FAIL, "nothing is known to verify in \"%.*s\"%s%s%s", SLICE_ARG(value),
			       nearest ? "; did you mean \"" : "", nearest ? nearest : "",
			       nearest ? "\"?" : "");
	}
	switch (kind->kind) {
	case VERIFY_CSA:
	case VERIFY_REVERSE:
	case VERIFY_ARC:
		return OK;
	case VERIFY_HELO:
		return rest.ptr ? err_set(err, FAIL, "unexpected argument in \"%.*s\"", SLICE_ARG(value))
				: OK;
	default:
		if (parse_words(rest, &words) && words_fit(kind->kind, &words))
			return OK;
		return err_set(err, FAIL, "an option in \"%.*s\" is unknown, or not for this kind",
			       SLICE_ARG(value));
	}
}

const struct acl_word acl_word_verify = {"verify", CONDITION, VALUE_EXPAND, 0, run_verify};
