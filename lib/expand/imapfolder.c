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

/* len as utf8_sequence() gave it. */
static uint32_t utf8_character(struct slice s, unsigned len)
{
	uint32_t c = (unsigned char)s.ptr[0];

	if (len == 1)
		return c;
	c &= 0x7fu >> len;
	for (unsigned i = 1; i < len; i++)
		c = c << 6 | ((unsigned char)s.ptr[i] & 0x3f);
	return c;
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
		return err_set(err, FAIL, "IMAP folder separator must be a single character, found \"%.*s\"",
			       SLICE_ARG(args[1]));
	out.taint = args[0].taint;
	rc = imap_utf7(args[0], args[1].ptr[0], args[2], &out, err);
	return rc == OK ? str_result(&out, ret, err) : rc;
}

const struct expand_item item_imapfolder = {"imapfolder", 1, 3, 0, imapfolder_eval, NULL};
