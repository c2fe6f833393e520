/* variables: what a configuration may ask about the SMTP session: $smtp_command, $rcpt_count and their kin. */
#include "session.h"

enum {
	SMTP_COMMAND,
	SMTP_COMMAND_ARGUMENT,
	SMTP_COMMAND_HISTORY,
	SMTP_NOTQUIT_REASON,
	SMTP_COUNT,
	RCPT_COUNT,
	RCPT_FAIL_COUNT,
	RCPT_DEFER_COUNT,
	SMTP_SIZE,
	CONNECTION_ID,
};

static struct slice argument_of(struct slice command)
{
	struct slice rest = command, word;

	if (!slice_word(&rest, &word))
		return SLICE_EMPTY;
	rest = slice_trim(rest);
	if (slice_starts_nocase(rest, SLICE("FROM:")))
		return slice_ltrim(slice_from(rest, 5));
	if (slice_starts_nocase(rest, SLICE("TO:")))
		return slice_ltrim(slice_from(rest, 3));
	return rest;
}

static struct slice number(struct scope *sc, uint64_t value)
{
	struct str str = str_make(sc->task->arena);

	str_addu(&str, value);
	return str.failed ? SLICE_EMPTY : str_slice(&str);
}

static enum rc get(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	struct smtp_session *s = sc->session;
	struct transaction *t = s ? s->transaction : NULL;
	struct str str;

	(void)err;
	*ret = SLICE_EMPTY;
	switch (variable->arg) {
	case SMTP_COMMAND:
		*ret = sc->smtp_command;
		break;
	case SMTP_COMMAND_ARGUMENT:
		*ret = argument_of(sc->smtp_command);
		break;
	case SMTP_COMMAND_HISTORY:
		str = str_make(sc->task->arena);
		if (s)
			log_history(&str, s);
		*ret = str.len > 2 && !str.failed ? slice_from(str_slice(&str), 2) : SLICE_EMPTY;
		break;
	case SMTP_NOTQUIT_REASON:
		*ret = slice_of(s ? s->notquit_reason : NULL);
		break;
	case SMTP_COUNT:
		*ret = number(sc, s ? s->count_at_start : 0);
		break;
	case RCPT_COUNT:
		*ret = number(sc, t ? t->rcpt_count : 0);
		break;
	case RCPT_FAIL_COUNT:
		*ret = number(sc, t ? t->rcpt_fail_count : 0);
		break;
	case RCPT_DEFER_COUNT:
		*ret = number(sc, t ? t->rcpt_defer_count : 0);
		break;
	case CONNECTION_ID:
		str = str_make(sc->task->arena);
		if (s && s->connection_id)
			base62_encode(&str, s->connection_id, 1);
		*ret = str.failed ? SLICE_EMPTY : str_slice(&str);
		break;
	}
	return OK;
}

static const struct variable rows[] = {
    {"smtp_command", get, SMTP_COMMAND},
    {"smtp_command_argument", get, SMTP_COMMAND_ARGUMENT},
    {"smtp_command_history", get, SMTP_COMMAND_HISTORY},
    {"smtp_notquit_reason", get, SMTP_NOTQUIT_REASON},
    {"smtp_count_at_connection_start", get, SMTP_COUNT},
    {"connection_id", get, CONNECTION_ID},
    {"rcpt_count", get, RCPT_COUNT},
    {"rcpt_fail_count", get, RCPT_FAIL_COUNT},
    {"rcpt_defer_count", get, RCPT_DEFER_COUNT},
};
const struct variable_table smtp_variables = {rows, ARRAY_COUNT(rows)};
