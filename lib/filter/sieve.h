/* Sieve scripts (RFC 5228): from text to commands, and what they do. */
#ifndef FILTER_SIEVE_H
#define FILTER_SIEVE_H

#include "tree.h"

NODISCARD enum rc sieve_run(struct run *run, struct slice text);
NODISCARD enum rc sieve_check(struct arena *arena, struct slice text, struct err *err);

#endif
