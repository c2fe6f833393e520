/* transport_filter: a command that the message goes through on its way out. */
#ifndef TRANSPORT_FILTER_H
#define TRANSPORT_FILTER_H

#include "local.h"

/* What the filter may give: more than that and the delivery is deferred, since something is wrong with it. */
#define FILTER_OUTPUT_MAX (128u * 1024 * 1024)

/* The message (header and body, LF line ends) through the transport's filter. *filtered_ret false: it has none, or it expands
 * to nothing. The text is in the task's arena. DEFER: whatever goes wrong with a filter. Parks. */
NODISCARD enum rc filter_message(struct scope *sc, const struct transport *transport,
				 const struct delivery *delivery, bool *filtered_ret, struct slice *text_ret,
				 struct err *err);
/* The same with CRLF line ends, and one at the end. */
NODISCARD enum rc filter_wire(struct scope *sc, const struct transport *transport,
			      const struct delivery *delivery, bool *filtered_ret, struct slice *text_ret,
			      struct err *err);

#endif
