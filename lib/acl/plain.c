/* plain: the words that need no other system: condition, acl, set, message, logwrite, delay and their kin. */
#include "list.h"

#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#define DELAY_MAX_S 86400 /* who waits longer has left long ago */

static enum acl_test run_condition(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	bool truth;

	(void)item;
	switch (expand_truth(slice_trim(value), false, &truth, run->err)) {
	case OK:
		return truth ? TEST_TRUE : TEST_FALSE;
	case FAIL:
		(void)err_set(run->err, FAIL, "invalid \"condition\" value \"%.*s\"", SLICE_ARG(value));
		return TEST_ERROR;
	default:
		return TEST_DEFER;
	}
}

/* A nested ACL: its verdict is the condition's truth. What it has to say is said unless this statement has its own text. */
static enum acl_test run_acl(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct slice words[ACL_ARGUMENT_MAX + 1] = {SLICE_EMPTY};
	enum acl_result result;

	(void)value;
	for (unsigned i = 0; i < item->word_count; i++) {
		enum rc rc = expand(run->sc, item->words[i], &words[i], run->err);
		if (rc == FAIL && run->err->forced)
			return TEST_TRUE;
		if (rc != OK) {
			err_prefix(run->err, "failed to expand ACL string \"%.*s\"",
				   SLICE_ARG(expansion_text(item->words[i])));
			return rc == FAIL ? TEST_ERROR : TEST_DEFER;
		}
	}
	result = acl_run_named(run->sc, run->where, words[0], words + 1,
			       item->word_count ? item->word_count - 1 : 0, run->outcome, run->err);
	switch (result) {
	case ACL_ACCEPT:
		return TEST_TRUE;
	case ACL_DENY:
	case ACL_DROP:
	case ACL_DEFER:
		if (!item->negated) {
			run->user_text = run->outcome->user_message;
			run->log_text = run->outcome->log_message;
		}
		return result == ACL_DENY ? TEST_FALSE : result == ACL_DROP ? TEST_DROP : TEST_DEFER;
	case ACL_DISCARD:
		if (run->statement->verb == VERB_ACCEPT || run->statement->verb == VERB_DISCARD)
			return TEST_DISCARD;
		run->outcome->user_message = run->outcome->log_message = (struct slice){NULL, 0, 0};
		(void)err_set(
		    run->err, FAIL,
		    "nested ACL returned \"discard\" for \"%s\" command (only allowed with \"accept\" or \"discard\")",
		    acl_verb_names[run->statement->verb]);
		return TEST_ERROR;
	default:
		return TEST_ERROR;
	}
}

static enum acl_test run_set(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct scope *sc = run->sc;
	struct slice name = slice_from(item->variable, 5);
	bool of_message = item->variable.ptr[4] == 'm';
	struct arena *arena = of_message && sc->message              ? &sc->message->arena
			      : !sc->client                          ? NULL
			      : !of_message && sc->client->variables ? sc->client->variables
								     : sc->client->arena;
	struct acl_variable **list = of_message && sc->message ? &sc->message->acl_m
				     : sc->client ? (of_message ? &sc->client->acl_m : &sc->client->acl_c)
						  : NULL;

	if (slice_starts(item->variable, SLICE("dkim_")))
		return acl_set_dkim(run, slice_eq(item->variable, SLICE("dkim_verify_reason")), value);
	if (!list || !arena || !acl_variable_set(arena, list, name, value)) {
		(void)err_set(run->err, DEFER, "no memory for the ACL variable \"%.*s\"",
			      SLICE_ARG(item->variable));
		return TEST_ERROR;
	}
	return TEST_TRUE;
}

static enum acl_test run_endpass(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	(void)item;
	(void)value;
	run->endpass = true;
	return TEST_TRUE;
}

/* The log of that name; an unknown one is told of, and counts as none. */
static unsigned log_target(struct acl_run *run, struct slice name, struct slice text, const char *modifier)
{
	if (slice_eq(name, SLICE("main")))
		return LOG_TO_MAIN;
	if (slice_eq(name, SLICE("reject")))
		return LOG_TO_REJECT;
	if (slice_eq(name, SLICE("panic")))
		return LOG_TO_PANIC;
	log_printf(run->sc->task->shard, run->sc->conf, LOG_TO_MAIN | LOG_TO_PANIC, NULL,
		   "unknown log name in \"%.*s\" in \"%s\" in %s ACL", SLICE_ARG(text), modifier,
		   acl_where_names[run->where]);
	return 0;
}

static enum acl_test run_logwrite(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	unsigned where = 0;
	struct slice targets, target;

	(void)item;
	if (value.len && value.ptr[0] == ':') {
		ptrdiff_t end = slice_find(slice_from(value, 1), ':');
		if (end >= 0) {
			targets = slice_sub(value, 1, (size_t)end);
			while (slice_split(&targets, ',', &target)) {
				target = slice_trim(target);
				where |= log_target(run, target, value, "logwrite");
			}
			if (!where)
				return TEST_TRUE; /* a log that is not there was told of */
			value = slice_from(value, (size_t)end + 2);
		}
	}
	log_write(run->sc->task->shard, run->sc->conf, where ? where : LOG_TO_MAIN,
		  run->sc->message ? &run->sc->message->id : NULL, slice_ltrim(value));
	return TEST_TRUE;
}

static enum acl_test run_continue(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	(void)run;
	(void)item;
	(void)value; /* it was expanded, and that was all */
	return TEST_TRUE;
}

enum rc acl_check_delay(struct arena *arena, struct slice value, struct err *err)
{
	int64_t seconds;

	(void)arena;
	if (conf_parse_time(slice_trim(value), &seconds) && seconds >= 0 && seconds <= DELAY_MAX_S)
		return OK;
	return err_set(err, FAIL,
		       "syntax error in argument for \"delay\" modifier: \"%.*s\" is not a time value",
		       SLICE_ARG(value));
}

static enum acl_test run_delay(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct task *task = run->sc->task;
	int64_t seconds;

	(void)item;
	if (acl_check_delay(task->arena, value, run->err) != OK ||
	    !conf_parse_time(slice_trim(value), &seconds))
		return TEST_ERROR;
	DEBUG(DEBUG_CHECK(DEBUG_ACL), "delay modifier requests %lld-second delay", (long long)seconds);
	if (run->sc->dry_run) {
		DEBUG(DEBUG_CHECK(DEBUG_ACL), "delay skipped in -bh checking mode");
		return TEST_TRUE;
	}
	/* What was answered so far goes out first, or a client that pipelines would see one long silence. */
	if (run->sc->flush && !(run->outcome->controls & ACL_CONTROL_NO_DELAY_FLUSH))
		run->sc->flush(run->sc, FLUSH_FOR_DELAY);
	/* The deadline is for what this command waits for; waiting as told does not count. */
	if (task->until != UNTIL_NEVER)
		task->until += (uint64_t)seconds * NS_PER_S;
	if (task_sleep(task, shard_now(task->shard) + (uint64_t)seconds * NS_PER_S) != OK)
		return TEST_DEFER;
	return TEST_TRUE;
}

static enum acl_test run_queue(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	(void)item;
	for (uint32_t i = 0; i < value.len; i++)
		if (!ascii_is_alnum(value.ptr[i]) && value.ptr[i] != '_' && value.ptr[i] != '-') {
			(void)err_set(run->err, FAIL,
				      "directory separator or odd character in queue name \"%.*s\"",
				      SLICE_ARG(value));
			return TEST_ERROR;
		}
	run->outcome->queue_name = value;
	if (run->sc->message) {
		/* $queue_name is the new one from here on. */
		run->sc->message->queue_name = arena_copy(&run->sc->message->arena, value);
		if (!run->sc->message->queue_name.ptr) {
			run->sc->message->queue_name = SLICE_EMPTY;
			return acl_test_of(err_memory(run->err));
		}
	}
	return TEST_TRUE;
}

static enum acl_test run_log_reject_target(struct acl_run *run, const struct acl_item *item,
					   struct slice value)
{
	uint32_t targets = 0;
	char separator = 0;
	struct slice word;

	(void)item;
	while (list_next(run->sc->task->arena, &value, &separator, &word))
		if (word.len)
			targets |= log_target(run, word, word, "log_reject_target");
	if (!targets)
		targets = LOG_TO_MAIN; /* a refusal is never without a trace */
	run->outcome->reject_targets = targets;
	return TEST_TRUE;
}

/* The first address of a name, by /etc/hosts and the DNS. Parks. */
static enum rc udp_host(struct acl_run *run, struct slice host, struct ip_addr *ip_ret)
{
	struct dns_answer answer;
	enum rc rc;

	if (ip_parse(host, ip_ret))
		return OK;
	rc = dns_hosts_file(run->sc->task, host, &answer, run->err);
	if (rc == FAIL)
		rc = lookup_dns_query(run->sc, host, DNS_A, &answer, run->err);
	if (rc == FAIL)
		rc = lookup_dns_query(run->sc, host, DNS_AAAA, &answer, run->err);
	if (rc == OK && !answer.count)
		rc = FAIL;
	if (rc == OK)
		*ip_ret = answer.records[0].ip;
	return rc;
}

/* "<;host;port;data": one datagram, sent and forgotten. */
static enum acl_test run_udpsend(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct slice host, port, rest = value;
	char separator = 0;
	struct sockaddr_storage sa;
	struct ip_addr ip;
	uint64_t number;
	socklen_t len;
	int fd;

	(void)item;
	if (!list_next(run->sc->task->arena, &rest, &separator, &host) ||
	    !list_next(run->sc->task->arena, &rest, &separator, &port) || !parse_u64(port, &number) ||
	    number > 65535) {
		(void)err_set(run->err, FAIL, "missing or bad host or port in \"udpsend\"");
		return TEST_ERROR;
	}
	if (run->sc->dry_run)
		return TEST_TRUE;
	if (udp_host(run, host, &ip) != OK) {
		err_prefix(run->err, "no address for the \"udpsend\" destination \"%.*s\"", SLICE_ARG(host));
		return TEST_DEFER;
	}
	ip.port = (uint16_t)number;
	rest = slice_ltrim(rest);
	len = ip_to_sockaddr(&ip, &sa);
	fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, rest.ptr, rest.len, MSG_DONTWAIT, (struct sockaddr *)&sa, len) < 0) {
		(void)err_os(run->err, DEFER, errno, "\"udpsend\" to %.*s", SLICE_ARG(host));
		if (fd >= 0)
			close(fd);
		return TEST_DEFER;
	}
	close(fd);
	return TEST_TRUE;
}

const struct acl_word acl_word_condition = {"condition", CONDITION, VALUE_EXPAND, 0, run_condition};
const struct acl_word acl_word_acl = {"acl", CONDITION, VALUE_WORDS, 0, run_acl};
const struct acl_word acl_word_set = {"set", MODIFIER, VALUE_SET, 0, run_set};
const struct acl_word acl_word_message = {"message", MODIFIER, VALUE_EXPAND, 0, NULL};
const struct acl_word acl_word_log_message = {"log_message", MODIFIER, VALUE_EXPAND, 0, NULL};
const struct acl_word acl_word_endpass = {"endpass", MODIFIER, VALUE_NONE, 0, run_endpass};
const struct acl_word acl_word_logwrite = {"logwrite", MODIFIER, VALUE_EXPAND, 0, run_logwrite};
const struct acl_word acl_word_continue = {"continue", MODIFIER, VALUE_EXPAND, 0, run_continue};
const struct acl_word acl_word_delay = {"delay", MODIFIER, VALUE_EXPAND, AT(NOTQUIT), run_delay};
const struct acl_word acl_word_queue = {"queue", MODIFIER, VALUE_EXPAND, AT(DATA) | AT(PRDR) | AT(NOT_SMTP),
					run_queue};
const struct acl_word acl_word_log_reject_target = {"log_reject_target", MODIFIER, VALUE_EXPAND, 0,
						    run_log_reject_target};
const struct acl_word acl_word_udpsend = {"udpsend", MODIFIER, VALUE_EXPAND, 0, run_udpsend};
