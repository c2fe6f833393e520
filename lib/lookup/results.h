/* results: what lookups found, kept while one message is worked on. */
#ifndef LOOKUP_RESULTS_H
#define LOOKUP_RESULTS_H

#include "lookup/lookup.h"

/* type->find(), or what it said to the same question before, if the type's answers are kept and the scope has a place for
 * them. Parks. */
NODISCARD enum rc lookup_find_kept(struct scope *sc, const struct lookup_type *type,
				   const struct lookup_request *request, struct slice *ret, struct err *err);

#endif
