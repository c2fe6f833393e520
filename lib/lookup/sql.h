/* sql: what the SQL lookups share: rows as text. */
#ifndef LOOKUP_SQL_H
#define LOOKUP_SQL_H

#include "lookup/lookup.h"

/* A row of one field is its value. A row of several is name=value for each, with a space behind; a value that is
 * empty, holds white space or begins with a quote is put into quotes. Rows are divided by a line feed. */
struct sql_text {
	struct str out;
	unsigned rows;
	bool changed; /* it was no statement that gives rows */
};
void sql_row_begin(struct sql_text *text);
void sql_field(struct sql_text *text, unsigned field_count, const char *name, struct slice value);

/* Of one result; more is an error. */
#define SQL_RESULT_SIZE_MAX (16u * 1024 * 1024)

#endif
