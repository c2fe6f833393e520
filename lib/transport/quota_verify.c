/* verify = recipient/quota: would there be room in the mailbox? Answers are kept as hints, since a full mailbox seldom
 * becomes less full between two messages of one storm. */
#include "appendfile.h"

/* Beside the callouts' answers: "Q <address>", as no address begins. "A <seconds>": there was room; "R <seconds>": not. */
static struct slice key_of(struct scope *sc, const struct address *address)
{
	return arena_printf(sc->task->arena, "Q %.*s", SLICE_ARG(address->full));
}

/* 'A', 'R', or '-'. */
static char remembered(struct scope *sc, struct slice key, const struct quota_options *options)
{
	uint64_t when, now = shard_wall(sc->task->shard) / NS_PER_S;
	struct err err = err_make(NULL);
	struct slice value, word;
	int64_t life;
	char answer;

	if (hints_get(sc->task->shard, HINTS_CALLOUT, key, sc->task->arena, &value, &err) != OK ||
	    !slice_word(&value, &word) || word.len != 1)
		return '-';
	answer = word.ptr[0];
	if (!slice_word(&value, &word) || !parse_u64(word, &when))
		return '-';
	life = answer == 'R' ? options->refused_s : options->room_s;
	return life > 0 && when + (uint64_t)life > now ? answer : '-';
}

static void remember(struct scope *sc, struct slice key, const struct quota_options *options, bool room)
{
	struct slice text = arena_printf(sc->task->arena, "%c %llu", room ? 'A' : 'R',
					 (unsigned long long)(shard_wall(sc->task->shard) / NS_PER_S));

	if (text.ptr && (room ? options->room_s : options->refused_s) > 0)
		hints_put(sc->task->shard, HINTS_CALLOUT, key, text);
}

enum rc quota_verify(struct scope *sc, struct address *address, const struct quota_options *options,
		     struct err *err)
{
	const struct transport *saved_transport = sc->transport;
	struct address *saved_address = sc->address;
	struct slice key = key_of(sc, address);
	char known;
	enum rc rc;

	if (!address->transport || !transport_is_appendfile(address->transport))
		return OK;
	if (!key.ptr)
		return err_memory(err);
	known = remembered(sc, key, options);
	if (known != '-')
		return known == 'A' ? OK : err_set(err, FAIL, "Over quota");
	sc->transport = address->transport;
	sc->address = address;
	rc = transport_set_home(sc, address->transport, err);
	if (rc == OK)
		rc = appendfile_room(sc, (const struct appendfile *)address->transport, err);
	sc->transport = saved_transport;
	sc->address = saved_address;
	if (rc == OK || rc == FAIL)
		remember(sc, key, options, rc == OK);
	return rc == FAIL ? err_set(err, FAIL, "Over quota") : rc;
}
