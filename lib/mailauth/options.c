/* options: the main options of mail authentication. */
#include "mailauth/mailauth.h"

#define O struct mailauth_options
static const struct conf_option rows[] = {
    OPT_EXPAND(O, dkim_verify_hashes, "sha256:sha512", "hashes that a DKIM signature may use"),
    OPT_EXPAND(O, dkim_verify_keytypes, "ed25519:rsa", "key types that a DKIM signature may use"),
    OPT_EXPAND(O, dkim_verify_min_keysizes, "rsa=1024 ed25519=250", "bits that a DKIM key must have"),
    OPT_BOOL(O, dkim_verify_minimal, "no", "no more DKIM verification behind the first pass"),
    OPT_EXPAND(O, dkim_verify_signers, "$dkim_signers", "for whom the DKIM ACL runs"),
    OPT_EXPAND(O, dmarc_forensic_sender, NULL, "who sends DMARC failure reports"),
    OPT_EXPAND(O, dmarc_history_file, NULL, "what opendmarc-import reads"),
    OPT_BOOL(O, dmarc_report_automatic, "yes", "the daemon sends aggregate reports by itself"),
    OPT_EXPAND(O, dmarc_report_contact, NULL, "the address for questions in aggregate reports"),
    OPT_EXPAND(O, dmarc_report_extra_contact, NULL, "more of that: a page, a telephone number"),
    OPT_EXPAND(O, dmarc_report_organization, NULL, "who we are, in aggregate reports"),
    OPT_EXPAND(O, dmarc_report_sender, NULL, "who sends aggregate reports; unset: there are none"),
    OPT_EXPAND(O, dmarc_tld_file, NULL, "the public suffix list"),
    OPT_EXPAND(O, spf_guess, "v=spf1 a/24 mx/24 ptr ?all", "the record of those who have none"),
    OPT_EXPAND(O, spf_smtp_comment_template, "Please%_see%_http://www.open-spf.org/Why",
	       "the explanation of those who give none"),
    OPT_EXPAND(O, srs_config, NULL, "secret:maxage:hashlength:usetimestamp:usehash"),
    OPT_INT(O, srs_hashlength, "6", "characters of an SRS hash"),
    OPT_INT(O, srs_hashmin, "-1", "the shortest SRS hash that is taken"),
    OPT_INT(O, srs_maxage, "31", "days that an SRS address lives"),
    OPT_EXPAND(O, srs_secrets, NULL, "the first signs, all verify"),
    OPT_BOOL(O, srs_usehash, "yes", "SRS addresses carry a hash"),
    OPT_BOOL(O, srs_usetimestamp, "yes", "SRS addresses carry a day"),
};

/* libsrs_alt could be told to leave the hash out; whoever copies such a file is to know what it gives away. */
static enum rc check(struct conf *conf, void *group, struct err *err)
{
	const struct mailauth_options *o = group;
	struct slice rest = o->srs_config ? expansion_text(o->srs_config) : SLICE_EMPTY, field = SLICE_EMPTY;
	bool without = !o->srs_usehash;

	(void)err;
	for (unsigned i = 0; i < 5 && rest.ptr && slice_split(&rest, ':', &field); i++)
		if (i == 4 && slice_trim(field).len)
			without = slice_eq_nocase(slice_trim(field), SLICE("0")) ||
				  slice_eq_nocase(slice_trim(field), SLICE("no")) ||
				  slice_eq_nocase(slice_trim(field), SLICE("false"));
	if (without)
		conf_warn(
		    conf, conf_option_place(conf, o->srs_usehash ? "srs_config" : "srs_usehash"),
		    "SRS addresses without a hash can be made by anybody: a \"reverse\" router sends bounces to whomever they name");
	return OK;
}

const struct conf_group mailauth_conf_group = {
    .id = CONF_MAILAUTH,
    .size = sizeof(O),
    .options = rows,
    .option_count = sizeof(rows) / sizeof(*rows),
    .check = check,
};

const struct conf_feature mailauth_features[] = {
    {"_HAVE_DKIM", "DKIM"}, {"_CRYPTO_SIGN_ED25519", NULL},
    {"_HAVE_SPF", "SPF"},   {"_HAVE_ARC", "ARC"},
    {"_EXP_ARC", NULL},     {"_HAVE_DMARC", "DMARC"},
    {"_HAVE_SRS", "SRS"},   {"_HAVE_NATIVE_SRS", NULL},
    {"_EXP_SRS", NULL},     {NULL, NULL},
};
