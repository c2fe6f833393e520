/* What became of the addresses of a batch, and faults with the numbers that the log gives them. */
#include <stdarg.h>

#include "local.h"

enum rc fault(struct err *err, int code, const char *format, ...)
{
	struct str text = str_make(err->arena);
	va_list args;

	va_start(args, format);
	str_vprintf(&text, format, args);
	va_end(args);
	(void)err_set(err, DEFER, "%.*s", SLICE_ARG(text.failed ? SLICE("out of memory") : str_slice(&text)));
	err->os = code;
	return DEFER;
}

static void set_outcome(struct scope *sc, struct delivery_outcome *outcome, enum rc rc, struct slice message)
{
	outcome->rc = rc;
	outcome->message = arena_copy(sc->task->arena, message);
	if (!outcome->message.ptr)
		outcome->message = SLICE("out of memory");
}

void outcome_all(struct scope *sc, struct delivery *delivery, enum rc rc, const char *format, ...)
{
	struct str text = str_make(sc->task->arena);
	va_list args;

	va_start(args, format);
	str_vprintf(&text, format, args);
	va_end(args);
	for (unsigned i = 0; i < delivery->count; i++)
		set_outcome(sc, &delivery->outcomes[i], rc,
			    text.failed ? SLICE("out of memory") : str_slice(&text));
}

void outcome_all_err(struct scope *sc, struct delivery *delivery, enum rc rc, const struct err *err,
		     const char *what)
{
	if (what && err->text.len)
		outcome_all(sc, delivery, rc, "%s: %.*s", what, SLICE_ARG(err->text));
	else
		outcome_all(sc, delivery, rc, "%.*s", SLICE_ARG(what ? slice_of(what) : err->text));
	for (unsigned i = 0; i < delivery->count; i++)
		delivery->outcomes[i].os = err->os;
}
