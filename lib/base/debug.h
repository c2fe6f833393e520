/* debug: telling what is done while it is done, for somebody who asked for it: -d, -bh, control = debug.
 *
 * Whoever works for a session, a delivery or a command may have a struct debug, which belongs to its owner and says
 * where lines go and which topics are told. The fiber that does the work has it at hand (fiber_debug() in
 * reactor/reactor.h), so that no function has to be given it and no room has to know who listens. When nobody does,
 * which is nearly always, DEBUG() is one load and one branch: its arguments are not even evaluated. */
#ifndef BASE_DEBUG_H
#define BASE_DEBUG_H

#include <stdarg.h>

#include "base/err.h"

/* Exim's selectors, with the numbers that -d= and the -debug_selector of spool files have. */
#define DEBUG_V            (1ull << 0) /* -v */
#define DEBUG_LOCAL_SCAN   (1ull << 1)
#define DEBUG_ACL          (1ull << 2)
#define DEBUG_AUTH         (1ull << 3)
#define DEBUG_DELIVER      (1ull << 4)
#define DEBUG_DNS          (1ull << 5)
#define DEBUG_DNSBL        (1ull << 6)
#define DEBUG_EXEC         (1ull << 7)
#define DEBUG_EXPAND       (1ull << 8)
#define DEBUG_FILTER       (1ull << 9)
#define DEBUG_HINTS_LOOKUP (1ull << 10)
#define DEBUG_HOST_LOOKUP  (1ull << 11)
#define DEBUG_IDENT        (1ull << 12)
#define DEBUG_INTERFACE    (1ull << 13)
#define DEBUG_LISTS        (1ull << 14)
#define DEBUG_LOAD         (1ull << 15)
#define DEBUG_LOOKUP       (1ull << 16)
#define DEBUG_MEMORY       (1ull << 17)
#define DEBUG_NOUTF8       (1ull << 18) /* lines are drawn with ASCII anyway */
#define DEBUG_PID          (1ull << 19)
#define DEBUG_PROCESS_INFO (1ull << 20)
#define DEBUG_QUEUE_RUN    (1ull << 21)
#define DEBUG_RECEIVE      (1ull << 22)
#define DEBUG_RESOLVER     (1ull << 23)
#define DEBUG_RETRY        (1ull << 24)
#define DEBUG_REWRITE      (1ull << 25)
#define DEBUG_ROUTE        (1ull << 26)
#define DEBUG_TIMESTAMP    (1ull << 27)
#define DEBUG_TLS          (1ull << 28)
#define DEBUG_TRANSPORT    (1ull << 29)
#define DEBUG_UID          (1ull << 30)
#define DEBUG_VERIFY       (1ull << 31)
#define DEBUG_ALL          0xffffffffull
/* Not one of Exim's: what -bh tells without -d. */
#define DEBUG_CHECKS        (1ull << 32)
#define DEBUG_CHECK(topics) ((topics) | DEBUG_CHECKS)
/* Those that do not say what is told, but how. */
#define DEBUG_MODIFIERS (DEBUG_NOUTF8 | DEBUG_PID | DEBUG_TIMESTAMP)
/* Whatever is told at all. */
#define DEBUG_ANY (DEBUG_ALL & ~DEBUG_MODIFIERS)
#define DEBUG_DEFAULT                                                                                  \
	(DEBUG_ANY & ~(DEBUG_LOCAL_SCAN | DEBUG_EXPAND | DEBUG_FILTER | DEBUG_INTERFACE | DEBUG_LOAD | \
		       DEBUG_MEMORY | DEBUG_RESOLVER))

struct debug {
	uint64_t topics;
	uint64_t
	    number; /* of those of this process: behind the pid, which is the same for all sessions (DEBUG_PID) */
	unsigned
	    indent; /* columns; those who go deeper (ACLs, lists, expansions) add to it and take it back */
	/* One line, without its end; what is unprintable in it is escaped. Never parks. */
	void (*line)(struct debug *debug, struct slice text);
	/* Something went to the log, too; where: its bits. NULL: nobody wants to know. */
	void (*logged)(struct debug *debug, unsigned where, struct slice text);
};

/* Of the fiber that runs on this thread; NULL: nobody listens. Set by the reactor, at each switch. */
extern _Thread_local struct debug *debug_here;

static inline bool debug_on(uint64_t topics)
{
	struct debug *debug = debug_here;

	return __builtin_expect(debug != NULL, 0) && (debug->topics & topics);
}

/* Only behind debug_on(), which DEBUG() is. Longer lines than DEBUG_LINE_MAX are cut. */
#define DEBUG_LINE_MAX (32u * 1024)
void debug_say(const char *format, ...) PRINTF_LIKE(1, 2) __attribute__((cold));
#define DEBUG(topics, ...)                      \
	do {                                    \
		if (debug_on(topics))           \
			debug_say(__VA_ARGS__); \
	} while (0)
/* Lines from here on stand so many columns further in, or out again: never further than the margin, since who began to
 * listen in between has not seen the way in. */
static inline void debug_indent(int columns)
{
	struct debug *debug = debug_here;

	if (__builtin_expect(debug != NULL, 0))
		debug->indent =
		    columns < 0 && debug->indent < (unsigned)-columns ? 0 : debug->indent + (unsigned)columns;
}

/* "+acl-dns", "-all+expand", "=0x4": changes *topics. A word that there is not: FAIL, and err has Exim's words. */
NODISCARD enum rc debug_topics_parse(struct slice text, uint64_t *topics, struct err *err);

#endif
