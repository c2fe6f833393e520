/* prvs: ${prvs and ${prvscheck: return addresses that prove that we made them (draft-levine-smtp-batv-01). */

#include "digest.h"
#include "items.h"
#include "tree.h"

/* A signed address is good for so many days, counted modulo 1000. */
#define PRVS_DAYS 7

static unsigned day_stamp(struct scope *sc, unsigned ahead)
{
	return (unsigned)((shard_wall(sc->task->shard) / NS_PER_S / 86400 + ahead) % 1000);
}

/* Six hexadecimal digits over key number, day and address. false: no memory. */
static bool prvs_sign(struct scope *sc, struct slice address, struct slice secret, char key, struct slice day,
		      struct str *out)
{
	struct str text = str_make(sc->task->arena);
	uint8_t mac[DIGEST_SIZE_MAX];

	str_addc(&text, key);
	str_add(&text, day);
	str_add(&text, address);
	if (text.failed || !digest_hmac(DIGEST_SHA1, secret, str_slice(&text), mac))
		return false;
	hex_encode(out, slice_make((const char *)mac, 3, CLEAN), false);
	return !out->failed;
}

static enum rc prvs_eval(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err)
{
	struct str out = str_make(sc->task->arena);
	struct slice args[3] = {SLICE_EMPTY, SLICE_EMPTY, SLICE("0")}, day;
	enum rc rc = OK;

	rc = shard_needed(sc, "prvs", err);
	for (unsigned i = 0; i < call->arg_count && rc == OK; i++)
		rc = expand(sc, call->args[i], &args[i], err);
	if (rc != OK)
		return rc;
	if (slice_rfind(args[0], '@') < 1 || slice_ends(args[0], SLICE("@")))
		return err_set(err, FAIL, "prvs first argument must be a qualified email address");
	if (args[2].len != 1 || !ascii_is_digit(args[2].ptr[0]))
		return err_set(err, FAIL, "prvs third argument must be a single digit");
	day = arena_printf(sc->task->arena, "%03u", day_stamp(sc, PRVS_DAYS));
	str_addz(&out, "prvs=");
	str_add(&out, args[2]);
	str_add(&out, day);
	if (!day.ptr || !prvs_sign(sc, args[0], args[1], args[2].ptr[0], day, &out))
		return err_memory(err);
	str_addc(&out, '=');
	str_add(&out, args[0]);
	return str_result(&out, ret, err);
}

/* "prvs=", key number, three digits of a day, six of a hash, "=", an address. */
static bool prvs_shape(struct slice text, struct slice *address_ret)
{
	if (text.len < 18 || !slice_starts_nocase(text, SLICE("prvs=")) || text.ptr[15] != '=')
		return false;
	for (unsigned i = 5; i < 15; i++)
		if (i < 9 ? !ascii_is_digit(text.ptr[i]) : hex_digit(text.ptr[i]) < 0)
			return false;
	*address_ret = slice_from(text, 16);
	return slice_rfind(*address_ret, '@') > 0;
}

static bool day_good(struct scope *sc, struct slice day)
{
	unsigned now = day_stamp(sc, 0);
	unsigned expires = (unsigned)(day.ptr[0] - '0') * 100 + (unsigned)(day.ptr[1] - '0') * 10 +
			   (unsigned)(day.ptr[2] - '0');

	/* The count went from 999 to 0 between now and then. */
	if (expires < PRVS_DAYS && now >= 1000 - PRVS_DAYS)
		now = 0;
	return expires >= now;
}

static enum rc prvscheck_signed(struct scope *sc, const struct expand_call *call, struct slice text,
				struct slice *ret, struct err *err)
{
	struct slice secret, day = slice_sub(text, 6, 3), address = sc->prvscheck_address;
	struct str mac = str_make(sc->task->arena);
	enum rc rc = expand(sc, call->args[1], &secret, err);

	if (rc != OK)
		return rc;
	if (!prvs_sign(sc, address, secret, text.ptr[5], day, &mac))
		return err_memory(err);
	sc->prvscheck_result = SLICE_EMPTY;
	if (slice_eq_nocase(str_slice(&mac), slice_sub(text, 9, 6)) && day_good(sc, day))
		sc->prvscheck_result = SLICE("1");
	*ret = SLICE_EMPTY;
	if (call->arg_count == 3)
		rc = expand(sc, call->args[2], ret, err);
	if (rc == OK && ret->len == 0)
		*ret = address;
	return rc;
}

static enum rc prvscheck_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
			      struct err *err)
{
	struct slice text;
	enum rc rc = expand(sc, call->args[0], &text, err);

	if (rc == OK)
		rc = shard_needed(sc, "prvscheck", err);
	if (rc != OK)
		return rc;
	if (!prvs_shape(text, &sc->prvscheck_address)) {
		*ret = SLICE_EMPTY;
		return OK;
	}
	sc->prvscheck_keynum = slice_sub(text, 5, 1);
	rc = prvscheck_signed(sc, call, text, ret, err);
	sc->prvscheck_address = sc->prvscheck_keynum = SLICE_EMPTY;
	return rc;
}

const struct expand_item item_prvs = {"prvs", 2, 3, 0, prvs_eval, NULL};
const struct expand_item item_prvscheck = {"prvscheck", 2, 3, 0, prvscheck_eval, NULL};
