/* From the text of a command to arguments: words, quotes, expansion of each by itself, taint. */
#ifndef TRANSPORT_COMMAND_LINE_H
#define TRANSPORT_COMMAND_LINE_H

#include "local.h"

#define COMMAND_ARGS_MAX 1000

/* Splits at white space; '...' is literal, "..." has backslash escapes. false: a quote is not closed. */
NODISCARD bool command_split(struct arena *arena, struct slice text, struct slice *args, unsigned *count_ret);
/* Each word expanded (unless expand_words is false); "$pipe_addresses" as a word becomes the addresses of the batch.
 * No other word may be tainted. what: "command", for errors. OK: *argv_ret is NULL-terminated. Parks. */
NODISCARD enum rc command_arguments(struct scope *sc, const struct delivery *delivery, struct slice text,
				    const char *what, bool expand_words, const char ***argv_ret,
				    struct err *err);

#endif
