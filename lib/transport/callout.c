/* Callouts: the host that would take an address is asked whether it does, up to RCPT. What was learned of domains and
 * addresses is kept as hints, so that a host is not asked the same thing again and again. */
#include <string.h>

#include "next_hop.h"

/* A remembered answer about an address: "A <seconds>" accepted, "R <seconds>" refused; about a domain one such pair for
 * each of three questions, in this order. */
enum question { ASK_MAIL_NULL, ASK_POSTMASTER, ASK_RANDOM, QUESTION_COUNT };
struct domain_record {
	char answer[QUESTION_COUNT]; /* 'A', 'R', '-' not known */
	uint64_t when[QUESTION_COUNT];
};

struct asking {
	struct scope *sc;
	struct address *address;
	const struct smtp_transport *s;
	const struct callout_options *options;
	struct callout_answer *answer;
	struct smtp_reply *reply; /* of answer */
	struct err *err;
	struct slice from; /* of MAIL */
	struct slice key;  /* of the address's record */
	struct domain_record domain;
	bool domain_changed;
	struct next_hop *hop;   /* where the connection is kept; NULL: it is not */
	struct slice recipient; /* with hop: as in the envelope */
};

/* ---- What is remembered -------------------------------------------------------------------------------------------- */

static uint64_t now_s(const struct asking *a)
{
	return shard_wall(a->sc->task->shard) / NS_PER_S;
}

static const struct transport_options *options_of(const struct asking *a)
{
	return conf_group(a->sc->conf, CONF_TRANSPORT);
}

static void domain_read(struct asking *a)
{
	struct slice value, word;
	struct err err = err_make(NULL);

	for (unsigned i = 0; i < QUESTION_COUNT; i++)
		a->domain.answer[i] = '-';
	if (a->options->no_cache || hints_get(a->sc->task->shard, HINTS_CALLOUT, a->address->domain,
					      a->sc->task->arena, &value, &err) != OK)
		return;
	for (unsigned i = 0; i < QUESTION_COUNT; i++) {
		int64_t life;
		char answer;

		if (!slice_word(&value, &word) || word.len != 1)
			return;
		answer = word.ptr[0];
		if (!slice_word(&value, &word) || !parse_u64(word, &a->domain.when[i]))
			return;
		life = answer == 'R' ? options_of(a)->callout_domain_negative_expire
				     : options_of(a)->callout_domain_positive_expire;
		if (a->domain.when[i] + (uint64_t)life > now_s(a))
			a->domain.answer[i] = answer;
	}
}

static void domain_learn(struct asking *a, enum question question, bool accepted)
{
	a->domain.answer[question] = accepted ? 'A' : 'R';
	a->domain.when[question] = now_s(a);
	a->domain_changed = true;
}

static void domain_write(struct asking *a)
{
	struct str text = str_make(a->sc->task->arena);

	if (!a->domain_changed || a->options->no_cache)
		return;
	for (unsigned i = 0; i < QUESTION_COUNT; i++)
		str_printf(&text, "%c %llu ", a->domain.answer[i], (unsigned long long)a->domain.when[i]);
	if (!text.failed)
		hints_put(a->sc->task->shard, HINTS_CALLOUT, a->address->domain, str_slice(&text));
}

/* 'A', 'R', or '-'. */
static char address_read(struct asking *a)
{
	struct slice value, word;
	struct err err = err_make(NULL);
	uint64_t when;
	int64_t life;
	char answer;

	if (a->options->no_cache ||
	    hints_get(a->sc->task->shard, HINTS_CALLOUT, a->key, a->sc->task->arena, &value, &err) != OK ||
	    !slice_word(&value, &word) || word.len != 1)
		return '-';
	answer = word.ptr[0];
	if (!slice_word(&value, &word) || !parse_u64(word, &when))
		return '-';
	life =
	    answer == 'R' ? options_of(a)->callout_negative_expire : options_of(a)->callout_positive_expire;
	return when + (uint64_t)life > now_s(a) ? answer : '-';
}

static void address_learn(struct asking *a, bool accepted)
{
	struct slice text =
	    arena_printf(a->sc->task->arena, "%c %llu", accepted ? 'A' : 'R', (unsigned long long)now_s(a));

	if (text.ptr && !a->options->no_cache)
		hints_put(a->sc->task->shard, HINTS_CALLOUT, a->key, text);
}

/* OK and FAIL: no need to ask. DEFER: nothing is known. */
static enum rc from_memory(struct asking *a)
{
	char known;

	if (a->from.len == 0 && a->domain.answer[ASK_MAIL_NULL] == 'R') {
		a->answer->failure = "mail";
		return err_set(a->err, FAIL, "(result of an earlier callout reused).");
	}
	if (a->options->random && a->domain.answer[ASK_RANDOM] == 'A') {
		a->answer->failure = "random";
		return OK;
	}
	if (a->options->postmaster && a->domain.answer[ASK_POSTMASTER] == 'R') {
		a->answer->failure = "postmaster";
		return err_set(a->err, FAIL, "(result of earlier verification reused).");
	}
	if (a->options->postmaster && a->domain.answer[ASK_POSTMASTER] == '-')
		return DEFER;
	known = address_read(a);
	if (known == 'A')
		return OK;
	if (known != 'R')
		return DEFER;
	a->answer->failure = "recipient";
	return err_set(a->err, FAIL, "Previous (cached) callout verification failure");
}

/* ---- Asking ----------------------------------------------------------------------------------------------------------- */

static struct hop_question question_of(struct asking *a)
{
	return (struct hop_question){.sc = a->sc,
				     .address = a->address,
				     .recipient = a->recipient,
				     .s = a->s,
				     .from = a->from,
				     .reply = a->reply,
				     .err = a->err};
}

/* One command: OK for 2yz, FAIL for 5yz, DEFER for the rest and for a lost connection. */
static enum rc command_with(struct asking *a, struct smtp_connection *connection, const char *verb,
			    struct slice address, struct slice parameters)
{
	struct slice line = address.ptr ? arena_printf(a->sc->task->arena, "%s:<%.*s>%.*s", verb,
						       SLICE_ARG(address), SLICE_ARG(parameters))
					: slice_of(verb);
	enum rc rc = line.ptr ? smtp_command(a->sc, connection, line, a->reply, a->err) : err_memory(a->err);

	if (rc != OK)
		return rc;
	if (a->reply->code / 100 == 2)
		return OK;
	return err_set(a->err, a->reply->code / 100 == 5 ? FAIL : DEFER, "response to \"%.*s\" was: %.*s",
		       SLICE_ARG(line), SLICE_ARG(a->reply->text));
}

#define NO_ADDRESS ((struct slice){NULL, 0, CLEAN})

static enum rc command(struct asking *a, struct smtp_connection *connection, const char *verb,
		       struct slice address)
{
	return command_with(a, connection, verb, address, SLICE_EMPTY);
}

static enum rc ask_mail(struct asking *a, struct smtp_connection *connection, struct slice from)
{
	struct hop_question q = question_of(a);
	struct slice parameters = SLICE_EMPTY;
	enum rc rc = OK;

	if (a->hop)
		rc = next_hop_mail_parameters(&q, smtp_extensions(connection), &parameters, a->err);
	if (rc == OK)
		rc = command_with(a, connection, "MAIL FROM", from, parameters);
	if (from.len == 0 && (rc == OK || rc == FAIL))
		domain_learn(a, ASK_MAIL_NULL, rc == OK);
	if (rc == FAIL)
		a->answer->failure = "mail";
	return rc;
}

static enum rc start_again(struct asking *a, struct smtp_connection *connection, struct slice from)
{
	enum rc rc = command(a, connection, "RSET", NO_ADDRESS);

	return rc == OK ? ask_mail(a, connection, from) : rc == FAIL ? DEFER : rc;
}

/* A host that takes an address that nobody has takes them all: then its word on ours is worth nothing. *all_ret. */
static enum rc ask_random(struct asking *a, struct smtp_connection *connection, bool *all_ret)
{
	struct slice local_part, random;
	enum rc rc;

	*all_ret = false;
	if (!a->options->random || a->domain.answer[ASK_RANDOM] == 'R')
		return OK;
	rc = expand_option(a->sc, options_of(a)->callout_random_local_part, &local_part, a->err);
	if (rc != OK || local_part.len == 0 || !smtp_path_is_safe(local_part))
		return OK; /* as without the option */
	random = arena_printf(a->sc->task->arena, "%.*s@%.*s", SLICE_ARG(local_part),
			      SLICE_ARG(a->address->domain));
	if (!random.ptr)
		return err_memory(a->err);
	rc = command(a, connection, "RCPT TO", random);
	if (rc == OK || rc == FAIL) {
		domain_learn(a, ASK_RANDOM, rc == OK);
		*all_ret = rc == OK;
		if (rc == OK)
			a->answer->failure = "random";
		return rc == OK ? OK : start_again(a, connection, a->from);
	}
	return rc;
}

static enum rc ask_postmaster(struct asking *a, struct smtp_connection *connection)
{
	struct slice postmaster =
	    arena_printf(a->sc->task->arena, "postmaster@%.*s", SLICE_ARG(a->address->domain));
	enum rc rc;

	if (!a->options->postmaster || a->domain.answer[ASK_POSTMASTER] == 'A')
		return OK;
	if (!postmaster.ptr)
		return err_memory(a->err);
	rc = start_again(a, connection,
			 a->options->postmaster_mailfrom.ptr ? a->options->postmaster_mailfrom : SLICE_EMPTY);
	if (rc == OK)
		rc = command(a, connection, "RCPT TO", postmaster);
	if (rc == FAIL && a->options->fullpostmaster)
		rc = command(a, connection, "RCPT TO", SLICE("postmaster"));
	if (rc == OK || rc == FAIL)
		domain_learn(a, ASK_POSTMASTER, rc == OK);
	if (rc == FAIL)
		a->answer->failure = "postmaster";
	return rc;
}

static enum rc ask_all(struct asking *a, struct smtp_connection *connection)
{
	bool takes_all;
	enum rc rc = ask_mail(a, connection, a->from);

	if (rc == OK)
		rc = ask_random(a, connection, &takes_all);
	if (rc != OK || takes_all)
		return rc;
	rc = command_with(a, connection, "RCPT TO",
			  rcpt_address(a->sc->task->arena, &a->s->transport, a->address),
			  a->hop ? smtp_rcpt_parameters(a->sc->task->arena, &a->s->transport, a->address,
							smtp_extensions(connection))
				 : SLICE_EMPTY);
	if (rc == OK || rc == FAIL)
		address_learn(a, rc == OK);
	if (rc == FAIL)
		a->answer->failure = "recipient";
	return rc == OK ? ask_postmaster(a, connection) : rc;
}

static enum rc ask_host(struct asking *a, struct host_item *host)
{
	struct smtp_connect_options options;
	struct smtp_connection *connection;
	enum rc rc;

	a->sc->host = host;
	a->answer->host = host->ip;
	rc = smtp_host_options(a->sc, a->s, host, true, &options, a->err);
	if (rc != OK)
		return rc;
	options.command_timeout_ms = a->options->timeout_s * 1000;
	options.connect_timeout_ms =
	    (a->options->connect_timeout_s ? a->options->connect_timeout_s : a->options->timeout_s) * 1000;
	if (a->hop)
		cutthrough_times(&options);
	rc = smtp_open(a->sc, &options, &connection, a->reply, a->err);
	if (rc == FAIL)
		a->answer->failure = "mail";
	if (rc != OK)
		return rc;
	smtp_note_ends(a->sc, connection);
	rc = smtp_log_in(a->sc, smtp_auth_need(a->sc, a->s, host), host, connection, a->reply, a->err);
	if (rc == OK)
		rc = ask_all(a, connection);
	a->sc->tls_out = NULL;
	/* A refused recipient leaves it as good as an accepted one does. */
	if (a->hop && !smtp_is_dead(connection) &&
	    (rc == OK ||
	     (rc == FAIL && a->answer->failure && strcmp(a->answer->failure, "recipient") == 0))) {
		struct hop_question q = question_of(a);
		next_hop_keep(a->hop, &q, host, connection, rc == OK);
	} else {
		smtp_close(connection);
	}
	return rc;
}

static enum rc ask_hosts(struct asking *a)
{
	struct host_list hosts;
	uint16_t port;
	int64_t tried = 0;
	enum rc rc = smtp_find_hosts(a->sc, a->s, a->address->hosts, &hosts, a->err);

	if (rc == OK)
		rc = smtp_port(a->sc, a->s, &port, a->err);
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	if (a->sc->flush)
		a->sc->flush(a->sc, FLUSH_FOR_CALLOUT);
	rc = err_set(a->err, DEFER, "no host could be asked");
	for (struct host_item *host = hosts.first; host && tried < a->s->hosts_max_try;
	     host = host->next, tried++) {
		host->ip.port = host->port ? host->port : port;
		rc = ask_host(a, host);
		if (rc != DEFER)
			break;
	}
	return rc;
}

/* ---- The door ------------------------------------------------------------------------------------------------------------ */

/* Whom the delivery will name. The rules for senders are applied to a message when its header is there; their result is wanted
 * now. */
static enum rc delivery_sender(struct asking *a)
{
	struct message *m = a->sc->message;
	struct slice sender = m->sender, in_scope = a->sc->sender;
	enum rc rc = OK;

	if (sender.len)
		rc = rewrite_address(a->sc, rewrite_rules(a->sc->conf), REWRITE_ENV_FROM, sender, &m->sender,
				     a->err);
	a->sc->sender = m->sender;
	if (rc == OK)
		rc = delivery_return_path(a->sc, &a->s->transport, &a->from, a->err);
	m->sender = sender;
	a->sc->sender = in_scope;
	return rc;
}

static enum rc choose_sender(struct asking *a, bool sender)
{
	const struct callout_options *o = a->options;
	const struct conf_main *main_options = conf_main(a->sc->conf);

	a->from = SLICE_EMPTY;
	if (o->mailfrom.ptr) {
		a->from = o->mailfrom;
	} else if (!sender && o->use_tptsender && a->sc->message) {
		return delivery_sender(a);
	} else if (!sender && o->use_sender) {
		a->from = scope_sender(a->sc);
	} else if (!sender && o->use_postmaster) {
		a->from = arena_printf(a->sc->task->arena, "postmaster@%.*s",
				       SLICE_ARG(main_options->qualify_domain));
		return a->from.ptr ? OK : err_memory(a->err);
	}
	return OK;
}

static enum rc ask(struct asking *a)
{
	enum rc rc;

	domain_read(a);
	rc = from_memory(a);
	DEBUG(DEBUG_CHECK(DEBUG_VERIFY), "callout cache: %s for %.*s",
	      rc == OK     ? "a positive record"
	      : rc == FAIL ? "a negative record"
			   : "nothing known",
	      SLICE_ARG(a->key));
	if (rc != DEFER)
		return rc;
	if (a->hop) {
		struct hop_question q = question_of(a);
		bool asked;

		rc = next_hop_ask(a->hop, &q, &asked);
		if (rc == FAIL)
			a->answer->failure = "recipient";
		if (asked && (rc == OK || rc == FAIL))
			address_learn(a, rc == OK);
		if (asked || rc == CANCELLED)
			return rc;
	}
	rc = ask_hosts(a);
	domain_write(a);
	return rc;
}

enum rc callout(struct scope *sc, struct address *address, bool sender, const struct callout_options *options,
		struct callout_answer *answer_ret, struct err *err)
{
	const struct transport *saved_transport = sc->transport;
	const struct host_item *saved_host = sc->host;
	struct address *saved_address = sc->address;
	struct asking a = {.sc = sc,
			   .address = address,
			   .options = options,
			   .answer = answer_ret,
			   .reply = &answer_ret->reply,
			   .err = err};
	uint64_t until = sc->task->until;
	int saved_mode = sc->verify_mode;
	enum rc rc;

	*answer_ret = (struct callout_answer){.reply = {.text = SLICE_EMPTY, .command = SLICE_EMPTY}};
	/* Only other hosts can be asked; what is delivered here was verified by routing it. */
	if (!address->transport || !transport_is_smtp(address->transport) || sc->no_callouts) {
		DEBUG(DEBUG_CHECK(DEBUG_VERIFY), "cannot callout: %s",
		      sc->no_callouts ? "-bh makes none (-bhc does)" : "no remote delivery");
		return OK;
	}
	if (!smtp_path_is_safe(address->full))
		return err_set(err, FAIL, "the address cannot be sent over SMTP");
	a.s = (const struct smtp_transport *)address->transport;
	sc->transport = address->transport;
	sc->address = address;
	rc = choose_sender(&a, sender);
	sc->transport = saved_transport;
	sc->address = saved_address;
	if (rc != OK)
		return rc;
	if (options->keep && !sender && sc->message && saved_address) {
		a.hop = next_hop_of(sc->message);
		a.recipient = saved_address->full;
		address->dsn_flags = saved_address->dsn_flags;
		address->orcpt = saved_address->orcpt;
		if (a.hop && options->hold)
			a.hop->hold = true;
	}
	a.key = a.from.len ? arena_printf(sc->task->arena, "%.*s/<%.*s>", SLICE_ARG(address->full),
					  SLICE_ARG(a.from))
			   : address->full;
	if (!a.key.ptr || !smtp_path_is_safe(a.from))
		return err_memory(err);
	sc->transport = address->transport;
	sc->address = address;
	sc->verify_mode = sender ? VERIFY_SENDER : VERIFY_RECIPIENT;
	/* Hosts that all let their time pass are not to keep the client waiting for their sum. */
	sc->task->until = task_until(
	    sc->task,
	    (uint64_t)(options->maxwait_s > 0 ? options->maxwait_s : 4 * options->timeout_s) * 1000);
	rc = ask(&a);
	sc->task->until = until;
	sc->transport = saved_transport;
	sc->host = saved_host;
	sc->sending = (struct ip_addr){.family = 0};
	sc->address = saved_address;
	sc->verify_mode = saved_mode;
	if (sc->task->cancelled)
		return CANCELLED;
	answer_ret->accepted = rc == OK;
	return rc == DEFER && options->defer_ok ? OK : rc;
}
