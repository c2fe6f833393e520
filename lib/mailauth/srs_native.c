/* srs_native: ${srs_encode and the condition inbound_srs: SRS0 with one secret, four hexadecimal digits of an HMAC-MD5 and
 * a stamp that is good for ten days. */
#include <stdio.h>

#include "srs.h"

#define AGE_MAX_DAYS 10
#define HASH_LEN     4

/* The hash of an address, in lower case, as hexadecimal digits. false: no memory. */
static bool hash_of(struct arena *arena, struct slice secret, struct slice address, char out[HASH_LEN + 1])
{
	uint8_t mac[20];

	if (!srs_hmac(false, secret, arena, address, mac))
		return false;
	snprintf(out, HASH_LEN + 1, "%02x%02x", mac[0], mac[1]);
	return true;
}

/* The parts of an address as it was written: the local part with its quotes. */
static void split(struct slice address, struct slice *local_part, struct slice *domain)
{
	ptrdiff_t at = slice_rfind(address, '@');

	/* A local part alone may be quoted, with an "@" inside. */
	if (at >= 0 && address.ptr[address.len - 1] == '"')
		at = -1;
	*local_part = at < 0 ? address : slice_sub(address, 0, (size_t)at);
	*domain = at < 0 ? SLICE_EMPTY : slice_from(address, (size_t)at + 1);
}

static enum rc encode(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err)
{
	struct slice args[3], local_part, domain;
	struct address_parts parts;
	struct arena *arena = sc->task->arena;
	char hash[HASH_LEN + 1], stamp[2];
	bool quoted;

	for (unsigned i = 0; i < 3; i++) {
		enum rc rc = expand(sc, call->args[i], &args[i], err);
		if (rc != OK)
			return rc;
	}
	args[1] = slice_trim(args[1]);
	*ret = SLICE_EMPTY;
	if (!args[1].len)
		return OK; /* bounces stay bounces */
	if (!sc->task->shard)
		return err_set(err, FAIL, "srs_encode cannot be used while the configuration is read");
	if (address_parse(arena, args[1],
			  ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | ADDRESS_ALLOW_UTF8, &parts,
			  err) != OK)
		return FAIL;
	if (slice_find(args[1], '<') >= 0 || slice_find(args[1], '(') >= 0)
		args[1] = parts.full;
	split(args[1], &local_part, &domain);
	if (!hash_of(arena, args[0], args[1], hash))
		return err_memory(err);
	srs_stamp(srs_today(sc), false, stamp);
	quoted = local_part.len >= 2 && local_part.ptr[0] == '"';
	if (quoted)
		local_part = slice_sub(local_part, 1, local_part.len - 2);
	*ret = arena_printf(arena, "%sSRS0=%s=%.2s=%.*s=%.*s%s@%.*s", quoted ? "\"" : "", hash, stamp,
			    SLICE_ARG(domain), SLICE_ARG(local_part), quoted ? "\"" : "", SLICE_ARG(args[2]));
	if (!ret->ptr)
		return err_memory(err);
	ret->taint = args[0].taint | args[1].taint | args[2].taint;
	return OK;
}

static const struct expand_item item_srs_encode = {
    .name = "srs_encode", .arg_min = 3, .arg_max = 3, .eval = encode};

struct inbound {
	struct slice hash, domain, local_part;
	int stamp;
};

/* "SRS0=" hash "=" stamp "=" domain "=" local part. */
static bool inbound_parse(struct slice text, struct inbound *ret)
{
	struct slice rest, stamp;

	if (!slice_starts_nocase(text, SLICE("SRS0=")))
		return false;
	rest = slice_from(text, 5);
	if (!slice_split(&rest, '=', &ret->hash) || !ret->hash.len || !rest.ptr)
		return false;
	if (!slice_split(&rest, '=', &stamp) || !rest.ptr || (ret->stamp = srs_stamp_read(stamp)) < 0)
		return false;
	if (!slice_split(&rest, '=', &ret->domain) || !rest.ptr)
		return false;
	ret->local_part = rest;
	return true;
}

static struct slice lower(struct arena *arena, struct slice text)
{
	struct slice copy = arena_copy(arena, text);

	for (uint32_t i = 0; copy.ptr && i < copy.len; i++)
		((char *)copy.ptr)[i] = ascii_lower(copy.ptr[i]);
	return copy;
}

/* The hash may be that of the address as it is, or of one whose local part came in quotes that it does not need. */
static bool hash_good(struct arena *arena, struct slice secret, const struct inbound *in,
		      struct slice address, bool *good_ret)
{
	struct slice quoted =
	    arena_printf(arena, "\"%.*s\"@%.*s", SLICE_ARG(in->local_part), SLICE_ARG(in->domain));
	char hash[HASH_LEN + 1];

	if (!hash_of(arena, secret, address, hash))
		return false;
	*good_ret = srs_hash_eq(in->hash, slice_of(hash), true);
	if (!quoted.ptr || !hash_of(arena, secret, quoted, hash))
		return false;
	*good_ret |= srs_hash_eq(in->hash, slice_of(hash), true);
	return true;
}

static enum rc inbound_srs(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	struct arena *arena = sc->task->arena;
	struct slice text, secret, local_part, address;
	struct inbound in;
	enum rc rc = expand(sc, call->args[0], &text, err);

	if (rc == OK)
		rc = expand(sc, call->args[1], &secret, err);
	if (rc != OK)
		return rc;
	*ret = false;
	if (!inbound_parse(text, &in) || !sc->task->shard)
		return OK;
	local_part = lower(arena, in.local_part);
	in.domain = lower(arena, in.domain);
	if (!local_part.ptr || !in.domain.ptr)
		return err_memory(err);
	in.local_part = local_part;
	local_part = local_part_quote(arena, local_part);
	address = arena_printf(arena, "%.*s@%.*s", SLICE_ARG(local_part), SLICE_ARG(in.domain));
	if (!local_part.ptr || !address.ptr)
		return err_memory(err);
	sc->srs_recipient = slice_tainted(address);
	if (!secret.len) {
		*ret = true; /* it looks like one: that was the question */
		return OK;
	}
	if (srs_age(srs_today(sc), in.stamp) > AGE_MAX_DAYS)
		return OK;
	return hash_good(arena, secret, &in, address, ret) ? OK : err_memory(err);
}

static const struct expand_condition condition_inbound_srs = {
    .name = "inbound_srs", .arg_min = 2, .arg_max = 2, .eval = inbound_srs};

const struct expand_item *const srs_items[] = {&item_srs_encode, NULL};
const struct expand_condition *const srs_conditions[] = {&condition_inbound_srs, NULL};
