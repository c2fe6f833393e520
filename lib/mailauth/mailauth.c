/* mailauth: what the evaluators share: the words of results, the state of a message, the real resolver. */
#include "mailauth/mailauth.h"

struct slice mailauth_result_word(enum mailauth_result result)
{
	static const struct slice words[] = {
	    SLICE_INIT(""),          SLICE_INIT("none"),    SLICE_INIT("pass"),   SLICE_INIT("fail"),
	    SLICE_INIT("softfail"),  SLICE_INIT("neutral"), SLICE_INIT("policy"), SLICE_INIT("temperror"),
	    SLICE_INIT("permerror"), SLICE_INIT("invalid")};

	return words[result];
}

struct mailauth *mailauth_of(struct message *message)
{
	struct mailauth *auth = message->extra[MAILAUTH_EXTRA];

	if (!auth && (auth = arena_make(&message->arena, struct mailauth))) {
		auth->authres_removed = SLICE_EMPTY;
		message->extra[MAILAUTH_EXTRA] = auth;
	}
	return auth;
}

static enum rc dns_ask(struct task *task, void *arg, struct slice name, enum dns_type type,
		       struct dns_answer *answer_ret, struct err *err)
{
	(void)arg;
	return dns_query(task, name, type, answer_ret, err);
}

static void dns_ask_ahead(struct task *task, void *arg, struct slice name, enum dns_type type)
{
	(void)arg;
	dns_prefetch(task->shard, name, type);
}

const struct mailauth_resolver mailauth_dns = {.query = dns_ask, .prefetch = dns_ask_ahead, .timed = true};
