/* items: the one list of this room's ${name{..}..}. */

#include "items.h"
#include "tree.h"

static enum rc perl_eval(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err)
{
	(void)sc;
	(void)call;
	(void)ret;
	return err_set(err, FAIL, "\"${perl\" is not supported: there is no Perl interpreter in this server");
}

static enum rc dlfunc_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
			   struct err *err)
{
	(void)sc;
	(void)call;
	(void)ret;
	return err_set(err, FAIL,
		       "\"${dlfunc\" is not supported: Exim's local functions cannot run in this server");
}

static const struct expand_item item_perl = {"perl", 1, 9, ITEM_MISSING, perl_eval, NULL};
static const struct expand_item item_dlfunc = {"dlfunc", 2, 10, ITEM_MISSING, dlfunc_eval, NULL};

const struct expand_item *const expand_items[] = {
    &item_certextract, &item_dlfunc, &item_env,        &item_extract, &item_filter,      &item_hash,
    &item_hmac,        &item_if,     &item_imapfolder, &item_length,  &item_listextract, &item_listquote,
    &item_map,         &item_nhash,  &item_perl,       &item_prvs,    &item_prvscheck,   &item_readfile,
    &item_readsocket,  &item_reduce, &item_run,        &item_sg,      &item_sort,        &item_substr,
    &item_tr,          NULL,
};
