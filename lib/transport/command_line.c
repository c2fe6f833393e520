/* Command lines of pipes. The words are split before anything is expanded, so that nothing a stranger wrote can add one. */
#include "command_line.h"

bool command_split(struct arena *arena, struct slice text, struct slice *args, unsigned *count_ret)
{
	unsigned count = 0;

	for (text = slice_ltrim(text); text.len > 0; text = slice_ltrim(text)) {
		struct str word = str_make(arena);
		char quote = 0;
		uint32_t at = 0;

		if (count == COMMAND_ARGS_MAX)
			return false;
		word.taint = text.taint;
		if (text.ptr[0] == '"' || text.ptr[0] == '\'') {
			quote = text.ptr[0];
			for (at = 1; at < text.len && text.ptr[at] != quote; at++) {
				if (quote == '"' && text.ptr[at] == '\\' && at + 1 < text.len) {
					char c = text.ptr[++at];
					str_addc(&word, c == 'n'   ? '\n'
							: c == 't' ? '\t'
							: c == 'r' ? '\r'
								   : c);
				} else {
					str_addc(&word, text.ptr[at]);
				}
			}
			if (at == text.len)
				return false;
			at++;
		} else {
			while (at < text.len && !ascii_is_space(text.ptr[at]))
				at++;
			str_add(&word, slice_sub(text, 0, at));
		}
		text = slice_from(text, at);
		args[count] = str_slice(&word);
		if (!args[count++].ptr)
			return false;
	}
	*count_ret = count;
	return true;
}

static const char *c_string(struct arena *arena, struct slice text)
{
	return memchr(text.ptr, 0, text.len) ? NULL : arena_cstr(arena, text);
}

/* Each address of the batch as an argument of its own. */
static bool add_addresses(struct arena *arena, const struct transport *transport,
			  const struct delivery *delivery, const char **argv, unsigned *count)
{
	for (unsigned i = 0; i < delivery->count; i++) {
		if (*count == COMMAND_ARGS_MAX)
			return false;
		argv[*count] = c_string(arena, rcpt_address(arena, transport, delivery->addresses[i]));
		if (!argv[(*count)++])
			return false;
	}
	return true;
}

/* One word of the command, expanded. What strangers wrote is no argument: a command may take it for an option. */
static enum rc make_word(struct scope *sc, struct slice text, struct slice word, unsigned number,
			 const char *what, bool expand_it, struct slice *ret, struct err *err)
{
	struct slice name = sc->transport->instance.name;
	enum rc rc = OK;

	*ret = word;
	if (expand_it)
		rc = expand_text(sc, word, ret, err);
	if (rc == FAIL)
		return err_set(err, DEFER,
			       "Expansion of \"%.*s\" from command \"%.*s\" in %.*s transport failed: %.*s",
			       SLICE_ARG(word), SLICE_ARG(text), SLICE_ARG(name), SLICE_ARG(err->text));
	if (rc == OK && ret->taint == TAINTED)
		return err_set(err, DEFER, "Tainted arg %u for %.*s transport %s: '%.*s'", number,
			       SLICE_ARG(name), what, SLICE_ARG(*ret));
	return rc;
}

enum rc command_arguments(struct scope *sc, const struct delivery *delivery, struct slice text,
			  const char *what, bool expand_words, const char ***argv_ret, struct err *err)
{
	struct arena *arena = sc->task->arena;
	struct slice *words = arena_array(arena, struct slice, COMMAND_ARGS_MAX), value;
	const char **argv = arena_array(arena, const char *, COMMAND_ARGS_MAX + 1);
	unsigned count, used = 0;

	if (!words || !argv)
		return err_memory(err);
	if (!command_split(arena, text, words, &count))
		return err_set(err, DEFER, "missing quote, or too many arguments, in command \"%.*s\"",
			       SLICE_ARG(text));
	if (count == 0)
		return err_set(err, DEFER, "empty command for %.*s transport",
			       SLICE_ARG(sc->transport->instance.name));
	for (unsigned i = 0; i < count; i++) {
		enum rc rc;

		if (slice_eq(words[i], SLICE("$pipe_addresses"))) {
			if (!add_addresses(arena, sc->transport, delivery, argv, &used))
				return err_set(err, DEFER, "too many arguments in command");
			continue;
		}
		rc = make_word(sc, text, words[i], used, what, expand_words, &value, err);
		if (rc != OK)
			return rc;
		if (used == COMMAND_ARGS_MAX)
			return err_set(err, DEFER, "too many arguments in command");
		argv[used] = c_string(arena, value);
		if (!argv[used++])
			return err_set(err, DEFER, "a NUL byte in command \"%.*s\"", SLICE_ARG(text));
	}
	argv[used] = NULL;
	*argv_ret = argv;
	return OK;
}
