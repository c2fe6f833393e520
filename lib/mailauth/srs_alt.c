/* srs_alt: senders rewritten as libsrs_alt did it: SRS0 and SRS1 of the Guarded scheme, HMAC-SHA1 in base64, several
 * secrets; or, with a database, a key in the place of the address.
 *
 *	SRS0=hash=TT=domain=user@alias    SRS0=hash=TT=key@alias    SRS1=hash=first=rest@alias
 *
 * TT is the day modulo 1024. The hash is over the lower-case text of what follows it, without the separators. */
#include "srs.h"

static bool is_separator(char c)
{
	return c == '=' || c == '+' || c == '-';
}

/* "SRS0=" and its kin. */
static bool tagged(struct slice local_part, const char *tag)
{
	return local_part.len > 5 && slice_starts_nocase(local_part, slice_of(tag)) &&
	       is_separator(local_part.ptr[4]);
}

static bool hash_make(struct arena *arena, struct slice secret, struct slice text, struct slice *ret)
{
	uint8_t mac[20];
	struct str out = str_make(arena);

	if (!srs_hmac(true, secret, arena, text, mac))
		return false;
	base64_encode(&out, slice_make((const char *)mac, sizeof(mac), CLEAN));
	*ret = str_slice(&out);
	return ret->ptr;
}

/* Any of the secrets; the letters of a careless relay, too. Builds of the library wrote "_." for "+/". */
static bool hash_good(struct arena *arena, const struct srs_settings *s, struct slice hash, struct slice text)
{
	struct slice copy = arena_copy(arena, hash);
	int64_t least = s->hashmin < 0 ? s->hashlength : s->hashmin;

	if (!copy.ptr || copy.len < (uint64_t)least || copy.len > 27)
		return false;
	for (uint32_t i = 0; i < copy.len; i++)
		if (copy.ptr[i] == '_' || copy.ptr[i] == '.')
			((char *)copy.ptr)[i] = copy.ptr[i] == '_' ? '+' : '/';
	for (unsigned i = 0; i < s->secret_count; i++) {
		struct slice right;
		if (hash_make(arena, s->secrets[i], text, &right) &&
		    srs_hash_eq(copy, slice_sub(right, 0, copy.len), true))
			return true;
	}
	return false;
}

static enum rc write_hashed(struct arena *arena, const struct srs_settings *s, const char *tag,
			    struct slice text, struct slice fields, struct slice alias, struct slice *ret)
{
	struct str out = str_make(arena);
	struct slice hash;

	str_addz(&out, tag);
	if (s->usehash) {
		if (!hash_make(arena, s->secrets[0], text, &hash))
			return DEFER;
		str_add(&out, slice_sub(hash, 0, (size_t)s->hashlength));
		str_addc(&out, '=');
	}
	str_add(&out, fields);
	str_addc(&out, '@');
	str_add(&out, alias);
	*ret = str_slice(&out);
	return ret->ptr ? OK : DEFER;
}

/* Takes the first field off *rest; false: there is no separator behind it. */
static bool take(struct slice *rest, struct slice *field_ret)
{
	return slice_split(rest, '=', field_ret) && rest->ptr;
}

/* The domain of the first hop and the rest of its local part. */
static bool shortcut_parts(const struct srs_settings *s, struct slice local_part, struct slice domain,
			   struct slice *hash, struct slice *first, struct slice *rest)
{
	if (tagged(local_part, "SRS0")) {
		*first = domain;
		*rest = slice_from(local_part, 4);
		return true;
	}
	*rest = slice_from(local_part, 5);
	*hash = SLICE_EMPTY;
	if (s->usehash && !take(rest, hash))
		return false;
	return take(rest, first) && first->len && rest->len && is_separator(rest->ptr[0]);
}

enum rc srs_forward(struct arena *arena, const struct srs_settings *s, uint64_t today, struct slice sender,
		    struct slice alias, struct slice key, struct slice *ret)
{
	ptrdiff_t at = slice_rfind(sender, '@');
	struct slice local_part, domain, hash, first, rest, text, fields;
	char stamp[2];

	if (at <= 0 || (size_t)at + 1 == sender.len)
		return FAIL;
	local_part = slice_sub(sender, 0, (size_t)at);
	domain = slice_from(sender, (size_t)at + 1);
	if (!key.ptr && (tagged(local_part, "SRS0") || tagged(local_part, "SRS1")) &&
	    shortcut_parts(s, local_part, domain, &hash, &first, &rest)) {
		text = arena_printf(arena, "%.*s%.*s", SLICE_ARG(first), SLICE_ARG(rest));
		fields = arena_printf(arena, "%.*s=%.*s", SLICE_ARG(first), SLICE_ARG(rest));
		return text.ptr && fields.ptr ? write_hashed(arena, s, "SRS1=", text, fields, alias, ret)
					      : DEFER;
	}
	srs_stamp(today, true, stamp);
	if (key.ptr) {
		text = arena_printf(arena, "%.*s%.*s", s->usetimestamp ? 2 : 0, stamp, SLICE_ARG(key));
		fields = arena_printf(arena, "%.*s%s%.*s", s->usetimestamp ? 2 : 0, stamp,
				      s->usetimestamp ? "=" : "", SLICE_ARG(key));
	} else {
		text = arena_printf(arena, "%.*s%.*s%.*s", s->usetimestamp ? 2 : 0, stamp, SLICE_ARG(domain),
				    SLICE_ARG(local_part));
		fields = arena_printf(arena, "%.*s%s%.*s=%.*s", s->usetimestamp ? 2 : 0, stamp,
				      s->usetimestamp ? "=" : "", SLICE_ARG(domain), SLICE_ARG(local_part));
	}
	return text.ptr && fields.ptr ? write_hashed(arena, s, "SRS0=", text, fields, alias, ret) : DEFER;
}

enum rc srs_key(struct arena *arena, const struct srs_settings *s, struct slice sender, struct slice *ret)
{
	struct slice hash;

	if (!hash_make(arena, s->secrets[0], sender, &hash))
		return DEFER;
	*ret = slice_sub(hash, 0, 16);
	return OK;
}

static enum srs_verdict reverse_first(struct arena *arena, const struct srs_settings *s, uint64_t today,
				      struct slice local_part, bool database, struct slice *ret)
{
	struct slice rest = slice_from(local_part, 5), hash = SLICE_EMPTY, stamp = SLICE_EMPTY,
		     domain = SLICE_EMPTY;
	struct slice text;
	int day = 0;

	if (s->usehash && (!take(&rest, &hash) || !hash.len))
		return SRS_NOT;
	if (s->usetimestamp && !take(&rest, &stamp))
		return SRS_NOT;
	if (!database && (!take(&rest, &domain) || !domain.len))
		return SRS_NOT;
	if (!rest.len)
		return SRS_NOT;
	text = arena_printf(arena, "%.*s%.*s%.*s", SLICE_ARG(stamp), SLICE_ARG(domain), SLICE_ARG(rest));
	if (!text.ptr)
		return SRS_TROUBLE;
	if (s->usehash && !hash_good(arena, s, hash, text))
		return SRS_BAD;
	if (s->usetimestamp &&
	    ((day = srs_stamp_read(stamp)) < 0 || srs_age(today, day) > (uint64_t)s->maxage))
		return SRS_BAD;
	*ret = database ? rest : arena_printf(arena, "%.*s@%.*s", SLICE_ARG(rest), SLICE_ARG(domain));
	return ret->ptr ? SRS_OK : SRS_TROUBLE;
}

enum srs_verdict srs_reverse(struct arena *arena, const struct srs_settings *s, uint64_t today,
			     struct slice address, bool database, struct slice *ret)
{
	ptrdiff_t at = slice_rfind(address, '@');
	struct slice local_part = at < 0 ? address : slice_sub(address, 0, (size_t)at);
	struct slice hash, first, rest, text;

	if (tagged(local_part, "SRS0"))
		return reverse_first(arena, s, today, local_part, database, ret);
	if (!tagged(local_part, "SRS1") || !shortcut_parts(s, local_part, SLICE_EMPTY, &hash, &first, &rest))
		return SRS_NOT;
	text = arena_printf(arena, "%.*s%.*s", SLICE_ARG(first), SLICE_ARG(rest));
	if (!text.ptr)
		return SRS_TROUBLE;
	if (s->usehash && !hash_good(arena, s, hash, text))
		return SRS_BAD;
	*ret = arena_printf(arena, "SRS0%.*s@%.*s", SLICE_ARG(rest), SLICE_ARG(first));
	return ret->ptr ? SRS_OK : SRS_TROUBLE;
}

/* ---- Settings ------------------------------------------------------------------------------------------- */

static bool add_secret(struct srs_settings *s, struct slice secret)
{
	if (!secret.len || secret.len > 32 || s->secret_count == SRS_SECRETS_MAX)
		return false;
	s->secrets[s->secret_count++] = secret;
	return true;
}

static bool number_field(struct slice field, int64_t *ret)
{
	return !field.len || parse_i64(field, ret);
}

static bool bool_field(struct slice field, bool *ret)
{
	if (!field.len)
		return true;
	*ret = slice_eq_nocase(field, SLICE("1")) || slice_eq_nocase(field, SLICE("yes")) ||
	       slice_eq_nocase(field, SLICE("true"));
	return *ret || slice_eq_nocase(field, SLICE("0")) || slice_eq_nocase(field, SLICE("no")) ||
	       slice_eq_nocase(field, SLICE("false"));
}

/* secret:maxage:hashlength:usetimestamp:usehash; fields that are there win over the single options. */
static const char *read_config(struct arena *arena, struct slice list, struct srs_settings *s)
{
	struct slice field;
	char separator = 0;

	for (unsigned i = 0; list_next(arena, &list, &separator, &field); i++) {
		bool good = i == 0   ? add_secret(s, field)
			    : i == 1 ? number_field(field, &s->maxage)
			    : i == 2 ? number_field(field, &s->hashlength)
			    : i == 3 ? bool_field(field, &s->usetimestamp)
			    : i == 4 ? bool_field(field, &s->usehash)
				     : false;
		if (!good)
			return "srs_config has a malformed field";
	}
	return NULL;
}

enum rc srs_settings(struct scope *sc, struct srs_settings *ret, struct err *err)
{
	const struct mailauth_options *o = mailauth_options(sc->conf);
	struct slice config = SLICE_EMPTY, secrets = SLICE_EMPTY, secret;
	const char *why = NULL;
	char separator = 0;
	enum rc rc = expand_option(sc, o->srs_config, &config, err);

	if (rc == OK)
		rc = expand_option(sc, o->srs_secrets, &secrets, err);
	if (rc != OK)
		return rc == CANCELLED ? rc : DEFER;
	*ret = (struct srs_settings){.maxage = o->srs_maxage,
				     .hashlength = o->srs_hashlength,
				     .hashmin = o->srs_hashmin,
				     .usehash = o->srs_usehash,
				     .usetimestamp = o->srs_usetimestamp};
	if (config.len)
		why = read_config(sc->task->arena, config, ret);
	while (!why && list_next(sc->task->arena, &secrets, &separator, &secret))
		if (!add_secret(ret, secret))
			why = "a secret is to have 1 to 32 bytes, and there may be 10";
	if (!why && !ret->secret_count)
		why = "no secret is given";
	if (!why && (ret->maxage < 0 || ret->maxage > 365))
		why = "srs_maxage is to be between 0 and 365";
	if (!why && (ret->hashlength < 1 || ret->hashlength > 20))
		why = "srs_hashlength is to be between 1 and 20";
	if (!why && ret->hashmin != -1 && (ret->hashmin < 1 || ret->hashmin > 20))
		why = "srs_hashmin is to be between 1 and 20";
	if (!why)
		return OK;
	log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN | LOG_TO_PANIC, NULL, "SRS Configuration Error: %s",
		   why);
	return err_set(err, DEFER, "SRS Configuration Error: %s", why);
}
