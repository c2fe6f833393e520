/* Private to command_line.c and command_options.c: how the arguments are read, one after the other. */
#ifndef SERVER_COMMAND_OPTIONS_H
#define SERVER_COMMAND_OPTIONS_H

#include "server.h"

struct reading {
	struct command_line *cl;
	int argc;
	char **argv;
	int at; /* of the argument in hand */
	unsigned macro_count;
	bool mode_given; /* by an option; the program's name does not count */
};

struct option_row {
	const char *name;
	bool whole; /* the name is all of the argument; otherwise its beginning */
	bool (*f)(struct reading *r, const struct option_row *row, const char *rest);
	int value;        /* what f sets */
	size_t offset;    /* where, in the command line */
	const char *text; /* why it is refused; what is missing */
};

/* The option in hand, with what follows it. false: told on standard error. */
bool option_read(struct reading *r);
bool option_mode(struct reading *r, enum mode mode);
/* Both return false, for their caller to do the same. */
bool option_complain(const char *format, ...) PRINTF_LIKE(1, 2);
bool option_unknown(const char *arg);

#endif
