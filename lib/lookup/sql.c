/* sql: rows as text. */

#include "sql.h"

void sql_row_begin(struct sql_text *text)
{
	if (text->rows++)
		str_addc(&text->out, '\n');
}

static bool wants_quotes(struct slice value)
{
	if (!value.len || value.ptr[0] == '"')
		return true;
	for (uint32_t i = 0; i < value.len; i++)
		if (value.ptr[i] == ' ' || value.ptr[i] == '\t' || value.ptr[i] == '\n' ||
		    value.ptr[i] == '\r')
			return true;
	return false;
}

void sql_field(struct sql_text *text, unsigned field_count, const char *name, struct slice value)
{
	struct str *out = &text->out;

	if (field_count == 1) {
		str_add(out, value);
		return;
	}
	str_addz(out, name);
	str_addc(out, '=');
	if (!wants_quotes(value)) {
		str_add(out, value);
	} else {
		str_addc(out, '"');
		for (uint32_t i = 0; i < value.len; i++) {
			if (value.ptr[i] == '"' || value.ptr[i] == '\\')
				str_addc(out, '\\');
			str_addc(out, value.ptr[i]);
		}
		str_addc(out, '"');
	}
	str_addc(out, ' ');
}
