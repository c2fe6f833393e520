/* tell: what -d+expand shows of an expansion while it is evaluated. The form is that of Exim's without UTF-8; what is a
 * constant is not told for itself, since it stands in the text around it. */

#include "tree.h"

void tell_expansion(const struct expansion *expansion)
{
	debug_indent(1);
	debug_say("/considering: %.*s", SLICE_ARG(expansion->text));
}

void tell_node(const struct node *node, enum rc rc, struct slice value)
{
	static const char *const words[] = {
	    [NODE_TEXT] = "|-------text: ",   [NODE_VARIABLE] = "|------value: ",
	    [NODE_NUMBER] = "|------value: ", [NODE_HEADER] = "|------value: ",
	    [NODE_CALL] = "|---item-res: ",   [NODE_OPERATOR] = "|-----op-res: "};

	if (rc == OK && node->kind < ARRAY_COUNT(words) && words[node->kind])
		debug_say("%s%.*s", words[node->kind], SLICE_ARG(value));
}

void tell_expanded(const struct expansion *expansion, enum rc rc, struct slice value, const struct err *err)
{
	if (rc == OK) {
		debug_say("|---expanded: %.*s", SLICE_ARG(expansion->text));
		debug_say("\\_____result: %.*s%s", SLICE_ARG(value), value.taint ? "  (tainted)" : "");
	} else {
		debug_say("|failed to expand: %.*s", SLICE_ARG(expansion->text));
		debug_say("%s---error message: %.*s", err && err->forced ? "|" : "\\",
			  SLICE_ARG(err ? err->text : SLICE_EMPTY));
		if (err && err->forced)
			debug_say("\\failure was forced");
	}
	debug_indent(-1);
}

void tell_condition(const struct condition *condition, enum rc rc, bool value)
{
	debug_say("|--condition: %s%.*s", condition->negate ? "!" : "", SLICE_ARG(condition->text));
	debug_say("|-----result: %s", rc != OK ? rc_name(rc) : value ? "true" : "false");
}

void expand_debug_print(struct scope *sc, const struct expansion *text)
{
	struct err err = err_make(sc->task->arena);
	struct slice value, line;

	if (!text || !debug_on(DEBUG_CHECK(DEBUG_ANY)))
		return;
	if (expand(sc, text, &value, &err) != OK) {
		DEBUG(DEBUG_CHECK(DEBUG_ANY), "failed to expand \"debug_print\" (%.*s): %.*s",
		      SLICE_ARG(expansion_text(text)), SLICE_ARG(err.text));
		return;
	}
	value = slice_rtrim(value);
	while (slice_split(&value, '\n', &line))
		DEBUG(DEBUG_CHECK(DEBUG_ANY), "%.*s", SLICE_ARG(line));
}
