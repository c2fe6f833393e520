/* quote: strangers' text made safe for the query languages of databases. One function a language; the option
 * stands behind the type, as "dn" in ${quote_ldap_dn:...}. */

#include "quote.h"

/* The letter of a C escape for control characters that have one; 0: none. */
static char escape_letter(char c)
{
	switch (c) {
	case '\n':
		return 'n';
	case '\t':
		return 't';
	case '\r':
		return 'r';
	case '\b':
		return 'b';
	default:
		return 0;
	}
}

static enum rc finish(const struct str *out, struct slice *ret, struct err *err)
{
	*ret = str_slice(out);
	return ret->ptr ? OK : err_memory(err);
}

static enum rc refuse_option(const char *type, struct slice option, struct err *err)
{
	return err_set(err, FAIL, "\"%.*s\" unrecognized after \"${quote_%s\"", SLICE_ARG(option), type);
}

/* A backslash before each of the bytes in `slashed`, those in `doubled` twice, control characters by their
 * letters. */
static enum rc quote_sql(struct scope *sc, const char *slashed, const char *doubled, bool letters,
			 struct slice subject, struct slice *ret, struct err *err)
{
	struct str out = str_make(sc->task->arena);

	out.taint = subject.taint;
	for (uint32_t i = 0; i < subject.len; i++) {
		char c = subject.ptr[i], letter = letters ? escape_letter(c) : 0;

		if (letter || (c && strchr(slashed, c)))
			str_addc(&out, '\\');
		else if (c && strchr(doubled, c))
			str_addc(&out, c);
		str_addc(&out, letter ? letter : c);
	}
	return finish(&out, ret, err);
}

enum rc quote_mysql(struct scope *sc, struct slice option, struct slice subject, struct slice *ret,
		    struct err *err)
{
	return option.len ? refuse_option("mysql", option, err)
			  : quote_sql(sc, "'\"\\", "", true, subject, ret, err);
}

enum rc quote_pgsql(struct scope *sc, struct slice option, struct slice subject, struct slice *ret,
		    struct err *err)
{
	return option.len ? refuse_option("pgsql", option, err)
			  : quote_sql(sc, "\"\\", "'", true, subject, ret, err);
}

enum rc quote_sqlite(struct scope *sc, struct slice option, struct slice subject, struct slice *ret,
		     struct err *err)
{
	return option.len ? refuse_option("sqlite", option, err)
			  : quote_sql(sc, "", "'", false, subject, ret, err);
}

enum rc quote_oracle(struct scope *sc, struct slice option, struct slice subject, struct slice *ret,
		     struct err *err)
{
	return option.len ? refuse_option("oracle", option, err)
			  : quote_sql(sc, "'\"\\", "", true, subject, ret, err);
}

enum rc quote_nisplus(struct scope *sc, struct slice option, struct slice subject, struct slice *ret,
		      struct err *err)
{
	return option.len ? refuse_option("nisplus", option, err)
			  : quote_sql(sc, "", "\"", false, subject, ret, err);
}

/* A command's words are divided by white space. */
enum rc quote_redis(struct scope *sc, struct slice option, struct slice subject, struct slice *ret,
		    struct err *err)
{
	return option.len ? refuse_option("redis", option, err)
			  : quote_sql(sc, " \t\n\r\v\f\\", "", false, subject, ret, err);
}

/* ---- LDAP: quoted for its own language, and that for a URL (RFC 4514, 4515, 4516) ------- */

static void add_url(struct str *out, char c)
{
	static const char digits[] = "0123456789ABCDEF";

	if (ascii_is_alnum(c) || (c && strchr("!$'-._()*+", c))) {
		str_addc(out, c);
		return;
	}
	str_addc(out, '%');
	str_addc(out, digits[(uint8_t)c >> 4]);
	str_addc(out, digits[(uint8_t)c & 15]);
}

static void add_filter(struct str *out, struct slice subject)
{
	static const char special[] = "*()\\";

	for (uint32_t i = 0; i < subject.len; i++) {
		char c = subject.ptr[i];

		if (c && strchr(special, c))
			str_printf(out, "%%5C%02X", (uint8_t)c);
		else
			add_url(out, c);
	}
}

static void add_dn(struct str *out, struct slice subject)
{
	uint32_t lead = 0, tail = subject.len;

	while (lead < subject.len && (subject.ptr[lead] == ' ' || subject.ptr[lead] == '#'))
		lead++;
	while (tail > lead && subject.ptr[tail - 1] == ' ')
		tail--;
	for (uint32_t i = 0; i < subject.len; i++) {
		char c = subject.ptr[i];

		if (i < lead || i >= tail || (c && strchr(",+\"\\<>;", c)))
			str_addz(out, "%5C");
		add_url(out, c);
	}
}

enum rc quote_ldap(struct scope *sc, struct slice option, struct slice subject, struct slice *ret,
		   struct err *err)
{
	struct str out = str_make(sc->task->arena);

	out.taint = subject.taint;
	if (!option.len)
		add_filter(&out, subject);
	else if (slice_eq(option, SLICE("dn")))
		add_dn(&out, subject);
	else
		return refuse_option("ldap", option, err);
	return finish(&out, ret, err);
}
