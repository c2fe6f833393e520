/* The lines of -bf: what a filter would do. */
#include <stdarg.h>

#include "tree.h"

void print_line(struct run *run, const char *format, ...)
{
	struct str text = str_make(run->sc->task->arena);
	va_list args;

	va_start(args, format);
	str_vprintf(&text, format, args);
	va_end(args);
	if (!text.failed)
		run->rules->print(run->rules->print_arg, str_slice(&text));
}

struct slice printable(struct run *run, struct slice text)
{
	struct str out = str_make(run->sc->task->arena);
	struct slice s;

	for (uint32_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if ((c >= ' ' && c < 127) || c == '\t')
			str_addc(&out, (char)c);
		else if (c == '\n' || c == '\r')
			str_addz(&out, c == '\n' ? "\\n" : "\\r");
		else
			str_printf(&out, "\\%03o", c);
	}
	s = str_slice(&out);
	return s.ptr ? s : SLICE_EMPTY;
}
