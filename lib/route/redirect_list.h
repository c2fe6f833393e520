/* The items of redirection data that is not a filter: addresses, files, pipes, special words. No side effects, never parks. */
#ifndef ROUTE_REDIRECT_LIST_H
#define ROUTE_REDIRECT_LIST_H

#include "message/message.h"

enum redirect_kind {
	REDIRECT_ADDRESS, /* text is local_part@domain, or a local part with unqualified set */
	REDIRECT_FILE,    /* "/path" */
	REDIRECT_PIPE,    /* "|command" */
	REDIRECT_INCLUDE, /* text is the file's name */
	REDIRECT_BLACKHOLE,
	REDIRECT_UNKNOWN,
	REDIRECT_DEFER,
	REDIRECT_FAIL,    /* text is what stood behind it on the line */
	REDIRECT_NOTHING, /* well-formed, but empty: "()" */
	REDIRECT_ERROR,   /* malformed: text is the item, error says why */
};
struct redirect_item {
	enum redirect_kind kind;
	struct slice text;
	struct slice error;
	bool unqualified;
	bool backslash; /* qualify with the incoming domain */
};

/* Takes the next item off the front of *rest. false: there is none left. Strings point into the text or the arena. */
bool redirect_next(struct arena *arena, struct slice *rest, struct redirect_item *item_ret);
/* The reply code and extended code at the start of a :fail: or :defer: text, if its first digit is the one given: then
 * *text is left as it is and true returned. Otherwise a code is taken off. */
bool redirect_code(struct slice *text, char first_digit);

#endif
