/* imapfolder: ${imapfolder: a folder's name as Maildir has it on the disk: levels joined by dots, the rest in
 * the UTF-7 of RFC 3501 section 5.1.3. */

#include "items.h"
#include "tree.h"

/* UTF-16 units of a run that cannot stand as it is, on their way to modified base64. */
struct utf7 {
	struct str *out;
	uint32_t bits;
	unsigned bit_count;
	bool shifted;
};

static const char utf7_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static void utf7_unit(struct utf7 *u, uint32_t unit)
{
	if (!u->shifted)
		str_addc(u->out, '&');
	u->shifted = true;
	u->bits = u->bits << 16 | unit;
	for (u->bit_count += 16; u->bit_count >= 6; u->bit_count -= 6)
		str_addc(u->out, utf7_digits[u->bits >> (u->bit_count - 6) & 63]);
}

static void utf7_end(struct utf7 *u)
{
	if (!u->shifted)
		return;
	if (u->bit_count)
		str_addc(u->out, utf7_digits[u->bits << (6 - u->bit_count) & 63]);
	str_addc(u->out, '-');
	u->shifted = false;
	u->bits = u->bit_count = 0;
}

static void utf7_character(struct utf7 *u, uint32_t c)
{
	if (c < 0x10000) {
		utf7_unit(u, c);
		return;
	}
	utf7_unit(u, 0xd800 + ((c - 0x10000) >> 10));
	utf7_unit(u, 0xdc00 + ((c - 0x10000) & 0x3ff));
}

/* Separators lead from one level to the next; more of them, and those at the ends, lead nowhere. */
static struct slice levels_trim(struct slice name, char separator)
{
	while (name.len && name.ptr[0] == separator)
		name = slice_from(name, 1);
	while (name.len && name.ptr[name.len - 1] == separator)
		name.len--;
	return name;
}

static enum rc imap_utf7(struct slice name, char separator, struct slice specials, struct str *out,
			 struct err *err)
{
	struct utf7 u = {.out = out};

	while (name.len) {
		unsigned len = utf8_sequence(name);
		char c = name.ptr[0];

		if (!len)
			return err_set(err, FAIL, "imapfolder: illegal UTF-8 in the folder name");
		/* The separator becomes the dot of Maildir; what would look like it, or like a folder of the
		 * file system, has to be asked for. */
		if (c != separator && (c == '.' || c == '/') && slice_find(specials, c) < 0)
			return err_set(err, FAIL, "imapfolder: illegal character '%c'", c);
		if (c == separator && name.len > 1 && name.ptr[1] == separator) {
			name = slice_from(name, 1);
			continue;
		}
		if (c == separator ||
		    (len == 1 && c >= ' ' && c < 127 && c != '&' && slice_find(specials, c) < 0)) {
			utf7_end(&u);
			str_addc(out, c == separator ? '.' : c);
		} else if (c == '&') {
			utf7_end(&u);
			str_addz(out, "&-");
		} else {
			utf7_character(&u, utf8_character(name, len));
		}
		name = slice_from(name, len);
	}
	utf7_end(&u);
	return OK;
}

static enum rc imapfolder_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
			       struct err *err)
{
	struct str out = str_make(sc->task->arena);
	struct slice args[3] = {SLICE_EMPTY, SLICE("/"), SLICE_EMPTY};
	enum rc rc = OK;

	for (unsigned i = 0; i < call->arg_count && rc == OK; i++)
		rc = expand(sc, call->args[i], &args[i], err);
	if (rc != OK)
		return rc;
	if (args[1].len != 1)
		return err_set(err, FAIL, "IMAP folder separator must be one character, found \"%.*s\"",
			       SLICE_ARG(args[1]));
	out.taint = args[0].taint;
	rc = imap_utf7(levels_trim(args[0], args[1].ptr[0]), args[1].ptr[0], args[2], &out, err);
	return rc == OK ? str_result(&out, ret, err) : rc;
}

const struct expand_item item_imapfolder = {"imapfolder", 1, 3, 0, imapfolder_eval, NULL};
