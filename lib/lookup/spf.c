/* spf: may a client send mail for an address? The key is the address, the "file" the client's IP address; the value is the
 * result word. */
#include "mailauth/mailauth.h"
#include "types.h"

static enum rc spf_find(struct scope *sc, const struct lookup_type *type,
			const struct lookup_request *request, struct slice *ret, struct err *err)
{
	struct spf_query query = {
	    .sender = request->key,
	    .helo = SLICE_EMPTY,
	    .receiver = sc->conf ? conf_main(sc->conf)->primary_hostname : SLICE_EMPTY,
	    .guess = SLICE_EMPTY,
	    .explanation = SLICE_EMPTY,
	    .now_s = shard_wall(sc->task->shard) / NS_PER_S,
	};
	struct spf_result result;
	enum rc rc;

	(void)type;
	if (!ip_parse(request->file, &query.ip))
		return err_set(err, FAIL, "spf lookup: \"%.*s\" is not an IP address",
			       SLICE_ARG(slice_sub(request->file, 0, 100)));
	rc = spf_check(sc->task, &mailauth_dns, &query, &result);
	if (rc == OK)
		*ret = mailauth_result_word(result.result);
	return rc;
}

const struct lookup_type lookup_spf = {.name = "spf", .kept = true, .find = spf_find};
