/* What the files of this room share among themselves. */
#ifndef MESSAGE_INTERNAL_H
#define MESSAGE_INTERNAL_H

#include "message/message.h"

/* As header_make(), for text that is already in the arena and ends in LF. */
struct header *header_place(struct arena *arena, struct slice text);
struct header *header_place_named(struct arena *arena, struct slice text, uint32_t name_len);
/* $message_headers(_raw), $reply_address: as header_expand(). */
NODISCARD enum rc header_expand_all(struct scope *sc, bool raw, struct slice *ret, struct err *err);
NODISCARD enum rc header_expand_reply(struct scope *sc, struct slice *ret, struct err *err);

/* The getters of the two variable tables. */
typedef enum rc variable_getter(struct scope *sc, const struct variable *variable, struct slice *ret,
				struct err *err);
variable_getter get_message_body, get_message_sizes, get_message_times, get_recipients, get_headers;

#endif
