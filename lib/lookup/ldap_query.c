/* ldap_query: settings in front of a URL, as name=value, divided by spaces, values perhaps in quotes. */

#include "ldap_query.h"

/* A value up to white space, or in double quotes, with backslashes inside them. */
static bool value_take(struct arena *arena, struct slice *rest, struct slice *ret)
{
	struct str value = str_make(arena);
	uint32_t at = 0;

	if (!rest->len || rest->ptr[0] != '"') {
		while (at < rest->len && !ascii_is_space(rest->ptr[at]))
			at++;
		*ret = slice_sub(*rest, 0, at);
		*rest = slice_from(*rest, at);
		return true;
	}
	for (at = 1; at < rest->len && rest->ptr[at] != '"'; at++) {
		if (rest->ptr[at] == '\\' && at + 1 < rest->len)
			at++;
		str_addc(&value, rest->ptr[at]);
	}
	if (at == rest->len)
		return false;
	*rest = slice_from(*rest, at + 1);
	*ret = str_slice(&value);
	return ret->ptr;
}

/* A user's name may be quoted as if it stood in the URL. */
static struct slice url_unquoted(struct arena *arena, struct slice s)
{
	struct str out = str_make(arena);

	for (uint32_t i = 0; i < s.len; i++) {
		int high = i + 2 < s.len && s.ptr[i] == '%' ? hex_digit(s.ptr[i + 1]) : -1;
		int low = high >= 0 ? hex_digit(s.ptr[i + 2]) : -1;

		str_addc(&out, low >= 0 ? (char)(high * 16 + low) : s.ptr[i]);
		i += low >= 0 ? 2 : 0;
	}
	return str_slice(&out);
}

static bool number_set(struct slice value, int64_t *ret)
{
	uint64_t number;

	if (!parse_u64(value, &number) || number > INT32_MAX)
		return false;
	*ret = (int64_t)number;
	return true;
}

static bool dereference_set(struct slice value, int *ret)
{
	static const struct {
		struct slice word;
		int value;
	} words[] = {{SLICE_INIT("never"), LDAP_DEREF_NEVER},
		     {SLICE_INIT("searching"), LDAP_DEREF_SEARCHING},
		     {SLICE_INIT("finding"), LDAP_DEREF_FINDING},
		     {SLICE_INIT("always"), LDAP_DEREF_ALWAYS}};

	for (unsigned i = 0; i < ARRAY_COUNT(words); i++) {
		if (slice_eq_nocase(value, words[i].word)) {
			*ret = words[i].value;
			return true;
		}
	}
	return false;
}

static enum rc setting_apply(struct arena *arena, struct ldap_query *query, struct slice name,
			     struct slice value, struct err *err)
{
	bool good = true;

	if (slice_eq_nocase(name, SLICE("user"))) {
		query->user = url_unquoted(arena, value);
		good = query->user.ptr;
	} else if (slice_eq_nocase(name, SLICE("pass"))) {
		query->password = value;
	} else if (slice_eq_nocase(name, SLICE("servers"))) {
		query->servers = value;
	} else if (slice_eq_nocase(name, SLICE("size"))) {
		good = number_set(value, &query->size_max);
	} else if (slice_eq_nocase(name, SLICE("time"))) {
		good = number_set(value, &query->time_s);
	} else if (slice_eq_nocase(name, SLICE("connect")) || slice_eq_nocase(name, SLICE("nettime"))) {
		good = number_set(value, &query->network_s);
	} else if (slice_eq_nocase(name, SLICE("dereference"))) {
		good = dereference_set(value, &query->dereference);
	} else if (slice_eq_nocase(name, SLICE("referrals"))) {
		/* Either way nobody is followed: the library would wait for the other server. */
		good = slice_eq_nocase(value, SLICE("follow")) || slice_eq_nocase(value, SLICE("nofollow"));
	} else {
		return err_set(err, DEFER, "unknown parameter \"%.*s\" precedes LDAP URL", SLICE_ARG(name));
	}
	return good ? OK
		    : err_set(err, DEFER, "the value of the LDAP parameter \"%.*s\" cannot be used",
			      SLICE_ARG(name));
}

enum rc ldap_query_parse(struct arena *arena, struct slice text, struct ldap_query *query, struct err *err)
{
	struct slice rest = slice_trim(text), name, value;
	const char *url;
	ptrdiff_t equals;
	enum rc rc;

	*query = (struct ldap_query){.user = SLICE_EMPTY,
				     .password = SLICE_EMPTY,
				     .dereference = LDAP_DEREF_NEVER,
				     .servers = {NULL, 0, CLEAN},
				     .found_dn = {NULL, 0, CLEAN}};
	if (slice_find(text, '\0') >= 0)
		return err_set(err, DEFER, "a NUL in the LDAP query");
	while (!slice_starts_nocase(rest, SLICE("ldap"))) {
		equals = slice_find(rest, '=');
		if (equals <= 0)
			return err_set(err, DEFER, "malformed parameter setting precedes LDAP URL");
		name = slice_trim(slice_sub(rest, 0, (size_t)equals));
		rest = slice_from(rest, (size_t)equals + 1);
		if (!value_take(arena, &rest, &value))
			return err_set(err, DEFER, "malformed parameter setting precedes LDAP URL");
		rc = setting_apply(arena, query, name, value, err);
		if (rc != OK)
			return rc;
		rest = slice_ltrim(rest);
	}
	url = arena_cstr(arena, rest);
	if (!url)
		return err_memory(err);
	if (ldap_url_parse(url, &query->url) != LDAP_URL_SUCCESS)
		return err_set(err, DEFER, "ldap_url_parse: not a URL of a directory: \"%.*s\"",
			       SLICE_ARG(rest));
	return OK;
}

void ldap_query_done(struct ldap_query *query)
{
	if (query->url)
		ldap_free_urldesc(query->url);
	query->url = NULL;
}
