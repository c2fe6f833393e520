/* One address and the rules: in turn, each on what those before have made of it. */
#include <stdarg.h>

#include "rules.h"

#define REPEAT_MAX 10 /* of a rule with R, behind its first time */

/* What a log line calls the place. */
static const char *place_name(unsigned where)
{
	static const char *const names[] = {
	    "sender:", "from:", "to:", "cc:", "bcc:", "reply-to:", "env-from", "env-to"};

	if (where & REWRITE_SMTP)
		return where & SMTP_ANY ? "smtp sender" : "smtp recipient";
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
		if (where == 1u << i)
			return names[i];
	return "?";
}

static void say(struct rewriting *r, unsigned targets, const char *format, ...) PRINTF_LIKE(3, 4);
static void say(struct rewriting *r, unsigned targets, const char *format, ...)
{
	struct scope *sc = r->sc;
	struct str text = str_make(sc->task->arena);
	va_list args;

	va_start(args, format);
	str_vprintf(&text, format, args);
	va_end(args);
	if (str_slice(&text).ptr)
		log_write(sc->task->shard, sc->conf, targets, sc->message ? &sc->message->id : NULL,
			  str_slice(&text));
}

static bool may_be_empty(const struct rewriting *r)
{
	return r->where & (REWRITE_ENV_FROM | SMTP_ANY);
}

/* The whole text of the command against the regular expression of an S rule. */
static enum rc match_smtp(struct rewriting *r, const struct rewrite_rule *rule)
{
	const struct regex *regex = rule->smtp_regex;
	struct slice text, numbers[ARRAY_COUNT(r->sc->numeric)];
	unsigned count = 0;
	enum rc rc;

	if (!regex) {
		rc = expand(r->sc, rule->smtp_pattern, &text, r->err);
		if (rc == OK)
			rc = regex_cached(r->sc->task->shard, text, 0, &regex, r->err);
		if (rc != OK) {
			if (rc != CANCELLED && !r->err->forced)
				say(r, LOG_TO_MAIN | LOG_TO_PANIC,
				    "failed to expand \"%.*s\" while checking for SMTP rewriting: %.*s",
				    SLICE_ARG(expansion_text(rule->smtp_pattern)), SLICE_ARG(r->err->text));
			return rc == CANCELLED ? rc : FAIL;
		}
	}
	rc = regex_match(regex, r->address, numbers, ARRAY_COUNT(numbers), &count, r->err);
	if (rc != OK)
		return rc == CANCELLED ? rc : FAIL;
	for (unsigned i = 0; i < count; i++)
		r->sc->numeric[i] = numbers[i].ptr ? numbers[i] : SLICE_EMPTY;
	r->sc->numeric_count = count;
	return OK;
}

static enum rc match_rule(struct rewriting *r, const struct rewrite_rule *rule)
{
	enum rc rc;

	if (r->where & REWRITE_SMTP)
		return match_smtp(r, rule);
	rc = match_item(r->sc, rule->pattern, r->address, r->err);
	if (rc == DEFER) {
		say(r, LOG_TO_MAIN | LOG_TO_PANIC, "%.*s", SLICE_ARG(r->err->text));
		return r->sc->task->cancelled ? CANCELLED : FAIL;
	}
	return rc;
}

/* OK: *ret is the address, with its place in the text; FAIL: it is none, and the log says so. */
static enum rc parse_result(struct rewriting *r, const struct rewrite_rule *rule, struct slice *text,
			    struct address_parts *ret)
{
	struct arena *arena = r->sc->task->arena;
	unsigned flags = ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | address_flags(r->sc->conf) |
			 (may_be_empty(r) && text->len ? ADDRESS_ALLOW_EMPTY : 0);
	struct str whole = str_make(arena);
	enum rc rc = address_parse(arena, *text, flags, ret, r->err);

	if (rc == FAIL)
		say(r, LOG_TO_MAIN | LOG_TO_PANIC,
		    "Rewrite of %.*s yielded unparseable address: %.*s in address %.*s",
		    SLICE_ARG(r->address), SLICE_ARG(r->err->text), SLICE_ARG(*text));
	if (rc != OK || ret->domain.len || !ret->full.len)
		return rc;
	if (!(rule->flags & RULE_QUALIFY)) {
		say(r, LOG_TO_MAIN | LOG_TO_PANIC, "Rewrite of %.*s yielded unqualified address \"%.*s\"",
		    SLICE_ARG(r->address), SLICE_ARG(ret->full));
		return FAIL;
	}
	str_add(&whole, slice_sub(*text, 0, (size_t)(ret->spec.ptr + ret->spec.len - text->ptr)));
	str_printf(&whole, "@%.*s", SLICE_ARG(conf_main(r->sc->conf)->qualify_recipient));
	str_add(&whole, slice_from(*text, (size_t)(ret->spec.ptr + ret->spec.len - text->ptr)));
	*text = str_slice(&whole);
	return text->ptr ? address_parse(arena, *text, flags, ret, r->err) : err_memory(r->err);
}

/* A rule with w makes the item anew: the words in front of the address become a phrase, as a header has them. */
static bool set_item(struct rewriting *r, struct slice text, const struct address_parts *parts)
{
	const struct message_options *o = conf_group(r->sc->conf, CONF_MESSAGE);
	struct arena *arena = r->sc->task->arena;
	struct str item = str_make(arena);
	size_t front = (size_t)(parts->spec.ptr - text.ptr);
	struct slice words;

	if (!front || parts->spec.ptr[-1] != '<') {
		r->item = text;
		r->spec = parts->spec;
		return true;
	}
	item.taint = text.taint;
	words = slice_trim(slice_sub(text, 0, front - 1));
	if (words.len) {
		str_add(&item, phrase_quote(arena, words, o ? o->headers_charset : SLICE("UTF-8")));
		str_addc(&item, ' ');
	}
	str_addc(&item, '<');
	front = item.len;
	str_add(&item, slice_from(text, (size_t)(parts->spec.ptr - text.ptr)));
	r->item = str_slice(&item);
	if (!r->item.ptr)
		return false;
	r->spec = slice_sub(r->item, front, parts->spec.len);
	return true;
}

/* A rule without w changes just the address in an item that an earlier one made. */
static bool set_address(struct rewriting *r, struct slice address)
{
	struct str item = str_make(r->sc->task->arena);
	size_t front;

	if (!r->item.ptr)
		return true;
	front = (size_t)(r->spec.ptr - r->item.ptr);
	item.taint = address.taint | r->item.taint;
	str_add(&item, slice_sub(r->item, 0, front));
	str_add(&item, address);
	str_add(&item, slice_from(r->item, front + r->spec.len));
	r->item = str_slice(&item);
	if (!r->item.ptr)
		return false;
	r->spec = slice_sub(r->item, front, address.len);
	return true;
}

static enum rc take_result(struct rewriting *r, const struct rewrite_rule *rule, struct slice text)
{
	bool whole = rule->flags & RULE_WHOLE && r->where & REWRITE_HEADERS;
	struct slice before = r->item.ptr ? r->item : r->address;
	struct address_parts parts;
	enum rc rc;

	text = slice_tainted(text);
	rc = parse_result(r, rule, &text, &parts);
	if (rc != OK)
		return rc;
	DEBUG(DEBUG_REWRITE, "\"%.*s\" from %s rewritten as \"%.*s\" by rule %u", SLICE_ARG(before),
	      place_name(r->where), SLICE_ARG(text), rule->number);
	if (log_wants(r->sc->conf, LOG_ADDRESS_REWRITE))
		say(r, LOG_TO_MAIN, "\"%.*s\" from %s rewritten as \"%.*s\" by rule %u", SLICE_ARG(before),
		    place_name(r->where), SLICE_ARG(text), rule->number);
	if (r->traced && !leave_trace(r->traced, "X-rewrote-sender", r->address))
		return err_memory(r->err);
	if (whole ? !set_item(r, text, &parts) : !set_address(r, parts.full))
		return err_memory(r->err);
	r->address = parts.full;
	r->changed = true;
	return OK;
}

static enum rc expand_replacement(struct rewriting *r, const struct rewrite_rule *rule, struct slice *ret)
{
	ptrdiff_t at = r->where & REWRITE_SMTP ? -1 : slice_rfind(r->address, '@');
	struct scope *sc = r->sc;
	struct address *saved = sc->address;
	struct address address = {.full = r->address,
				  .prefix = SLICE_EMPTY,
				  .prefix_v = SLICE_EMPTY,
				  .suffix = SLICE_EMPTY,
				  .suffix_v = SLICE_EMPTY,
				  .address_data = SLICE_EMPTY,
				  .self_hostname = SLICE_EMPTY};
	enum rc rc;

	address.local_part = address.cased_local_part =
	    slice_sub(r->address, 0, at < 0 ? r->address.len : (size_t)at);
	address.domain = at < 0 ? SLICE_EMPTY : slice_from(r->address, (size_t)at + 1);
	sc->address = r->where & REWRITE_SMTP ? NULL : &address;
	rc = expand(sc, rule->replacement, ret, r->err);
	sc->address = saved;
	return rc;
}

/* OK: the next rule; FAIL: no further one. */
static enum rc apply(struct rewriting *r, const struct rewrite_rule *rule)
{
	enum rc last = rule->flags & RULE_QUIT ? FAIL : OK, rc;
	struct slice text;

	for (unsigned times = 0;; times++) {
		*r->err = err_make(r->sc->task->arena);
		rc = match_rule(r, rule);
		if (rc == FAIL)
			return times ? last : OK;
		if (rc != OK)
			return rc;
		if (!rule->replacement)
			return FAIL;
		rc = expand_replacement(r, rule, &text);
		if (rc == FAIL && r->err->forced)
			return last;
		if (rc == CANCELLED || r->sc->task->cancelled)
			return CANCELLED;
		if (rc != OK) {
			say(r, LOG_TO_MAIN | LOG_TO_PANIC, "Expansion of %.*s failed while rewriting: %.*s",
			    SLICE_ARG(expansion_text(rule->replacement)), SLICE_ARG(r->err->text));
			return FAIL;
		}
		rc = take_result(r, rule, text);
		if (rc != OK)
			return rc;
		if (!(rule->flags & RULE_REPEAT))
			return last;
		if (times == REPEAT_MAX) {
			say(r, LOG_TO_MAIN, "rewrite rule repeat ignored after %d times", REPEAT_MAX);
			return last;
		}
	}
}

enum rc rewriting_run(struct rewriting *r, const struct rewrite_rules *rules)
{
	struct scope *sc = r->sc;
	struct slice numeric[ARRAY_COUNT(sc->numeric)];
	unsigned numeric_count = sc->numeric_count;
	unsigned where = r->where & ~(unsigned)SMTP_ANY;
	enum rc rc = OK;

	memcpy(numeric, sc->numeric, sizeof(numeric));
	for (const struct rewrite_rule *rule = rules ? rules->first : NULL; rule && rc == OK;
	     rule = rule->next)
		if (rule->flags & where)
			rc = apply(r, rule);
	memcpy(sc->numeric, numeric, sizeof(numeric));
	sc->numeric_count = numeric_count;
	*r->err = rc == DEFER || rc == CANCELLED ? *r->err : err_make(sc->task->arena);
	return rc == FAIL ? OK : rc;
}

enum rc rewrite_address(struct scope *sc, const struct rewrite_rules *rules, unsigned where,
			struct slice address, struct slice *ret, struct err *err)
{
	struct err own = err_make(sc->task->arena);
	struct rewriting r = {.sc = sc, .err = err ? err : &own, .where = where, .address = address};
	enum rc rc;

	*ret = address;
	if (!rewrite_wanted(rules, where))
		return OK;
	rc = rewriting_run(&r, rules);
	if (rc == OK && r.changed)
		*ret = r.address;
	return rc;
}

enum rc rewrite_smtp(struct scope *sc, struct slice path, struct slice *ret, struct err *err)
{
	return rewrite_address(sc, rewrite_rules(sc->conf), REWRITE_SMTP, path, ret, err);
}
