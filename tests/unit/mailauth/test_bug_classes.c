/* The classes of bugs that others' verifiers had (libspf2, opendkim, opendmarc, dkimpy, Exim, and what papers found in many of them at
 * once), each with its public name and the right outcome. Of what these rows have to say more is in the other tests of this folder,
 * and in tests/e2e/test_mailauth_classes.py what needs a server; the sanitizers watch what was memory's fault.
 *
 * A text is `before`, `unit` so many times, `after`; the byte 0x1f in it stands for a NUL. */
#include "../reactor/harness.h"

#include "mailauth/dmarc.h"
#include "mailauth/spf.h"
#include "message_case.h"

#define ED_SECRET "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=" /* RFC 8463, appendix A */
#define ED_PUBLIC "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
#define HASH      "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
#define L50       "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee"

static const struct zone_row zone_rows[] = {
    {"ed._domainkey.good.test", "TXT", "v=DKIM1; k=ed25519; p=" ED_PUBLIC},
    {"exact._domainkey.good.test", "TXT", "v=DKIM1; k=ed25519; t=s; p=" ED_PUBLIC},
    {"sms._domainkey.good.test", "TXT", "v=DKIM1; k=ed25519; s=sms; p=" ED_PUBLIC},
    {"sha1._domainkey.good.test", "TXT", "v=DKIM1; k=ed25519; h=sha1; p=" ED_PUBLIC},
    {"revoked._domainkey.good.test", "TXT", "v=DKIM1; k=ed25519; p="},
    {"loop._domainkey.good.test", "CNAME", "loop._domainkey.good.test"},
    {"later._domainkey.good.test", "DEFER", ""},
    {"wide.test", "TXT",
     "v=spf1 include:wide.test include:wide.test include:wide.test include:wide.test include:wide.test "
     "include:wide.test include:wide.test include:wide.test include:wide.test include:wide.test -all"},
    {"round.test", "TXT", "v=spf1 redirect=tnuor.test"},
    {"tnuor.test", "TXT", "v=spf1 redirect=round.test"},
    {"loop.test", "CNAME", "pool.test"},
    {"pool.test", "CNAME", "loop.test"},
    {"why.test", "TXT", "%{S} %{L} %{O} %{D1R} %{I} %{H}"},
    {"long.test", "TXT", "%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}"},
    {"lines.test", "TXT", "no\r\n250 ok"},
    {"two.test", "TXT", "v=spf1 -all"},
    {"two.test", "TXT", "v=spf1 +all"},
    {"open.test", "TXT", "v=spf1 +all"},
    {"_dmarc.good.test", "TXT", "v=DMARC1; p=reject"},
    {"_dmarc.suffix", "TXT", "v=DMARC1; p=reject; psd=y"},
    {"_dmarc.twice.test", "TXT", "v=DMARC1; p=reject"},
    {"_dmarc.twice.test", "TXT", "v=DMARC1; p=none"},
    {"_dmarc.later.test", "DEFER", ""},
};

struct row {
	const char *class, *known_as;
	struct slice (*judge)(struct task *task, const struct row *row, struct slice text);
	const char *before, *unit;
	unsigned times;
	const char *after;
	const char *who; /* as the judge has it */
	const char *expected;
};

static struct zone zone_make(void)
{
	return (struct zone){.rows = zone_rows, .count = ARRAY_COUNT(zone_rows)};
}

/* ---- SPF: the text is the record of author.test; who: "ip sender helo" ------------------------------------------- */

static struct zone_row spf_rows[ARRAY_COUNT(zone_rows) + 1];

static struct slice spf(struct task *task, const struct row *row, struct slice text)
{
	struct slice who = slice_of(row->who ? row->who : "192.0.2.1 x@author.test helo.test"), word;
	struct zone zone = {.rows = spf_rows, .count = ARRAY_COUNT(spf_rows)};
	struct mailauth_resolver resolver = zone_resolver(&zone);
	struct spf_query query = {.helo = SLICE("helo.test"),
				  .receiver = SLICE("mx.test"),
				  .guess = SLICE_EMPTY,
				  .explanation = SLICE_EMPTY,
				  .now_s = 1700000000};
	struct spf_result result;

	memcpy(spf_rows, zone_rows, sizeof(zone_rows));
	spf_rows[ARRAY_COUNT(zone_rows)] =
	    (struct zone_row){"author.test", "TXT", arena_cstr(task->arena, text)};
	assert_true(slice_split(&who, ' ', &word) && ip_parse(word, &query.ip));
	assert_true(slice_split(&who, ' ', &query.sender));
	if (who.ptr)
		query.helo = who;
	assert_int_equal(spf_check(task, &resolver, &query, &result), OK);
	/* What section 4.6.4 of RFC 7208 leaves to be asked, with ten names behind an MX or PTR record. */
	assert_true(zone.questions <= 1 + SPF_TERMS_MAX * 11);
	assert_true(result.explanation.len <= 16384);
	for (uint32_t i = 0; i < result.explanation.len; i++)
		assert_true(result.explanation.ptr[i] >= ' ' && result.explanation.ptr[i] <= '~');
	return mailauth_result_word(result.result);
}

/* ---- Keys and signatures -------------------------------------------------------------------------------------------- */

static struct slice key(struct task *task, const struct row *row, struct slice text)
{
	enum dkim_reason reason = REASON_NONE;
	struct dkim_key found;

	(void)row;
	if (dkim_key_parse(task->arena, text, &found, &reason) == OK)
		return arena_printf(task->arena, "%u bits", found.bits);
	return reason == REASON_KEY_SYNTAX    ? SLICE("syntax")
	       : reason == REASON_KEY_REVOKED ? SLICE("revoked")
	       : reason == REASON_KEY_DATA    ? SLICE("no key")
					      : SLICE("unfit");
}

/* A whole message as it comes in. */
static struct slice message(struct task *task, const struct row *row, struct slice text)
{
	struct zone zone = zone_make();

	(void)row;
	return check(task, &zone, text, 4096);
}

static const char letter[] =
    "From: a@good.test\r\nTo: b@else.test\r\nSubject: x\r\nDate: Fri, 11 Jul 2003 21:00:37 "
    "-0700\r\n\r\nHello.\r\n";

/* "sign" or "arc", by good.test. */
static struct slice signature(struct task *task, const char *what, struct slice text)
{
	char sign_word[8], domain[] = "good.test", selector[] = "ed", secret[] = ED_SECRET,
			   relaxed[] = "relaxed";
	char *words[] = {sign_word, domain, selector, secret, relaxed, relaxed};
	struct str out = str_make(task->arena);
	struct err err = err_make(task->arena);

	snprintf(sign_word, sizeof(sign_word), "%s", what);
	if (sign(task, words, text, &out, &err) != OK)
		fail_msg("cannot sign: %.*s", SLICE_ARG(err.text));
	return str_slice(&out);
}

static void replace(struct task *task, struct slice *text, const char *what, const char *with)
{
	ptrdiff_t at = slice_search(*text, slice_of(what));

	assert_true(at >= 0);
	*text = arena_printf(task->arena, "%.*s%s%.*s", SLICE_ARG(slice_sub(*text, 0, (size_t)at)), with,
			     SLICE_ARG(slice_from(*text, (size_t)at + strlen(what))));
}

/* A letter that good.test has signed, with the text put on top; who: "this>that": what is then replaced by what. */
static struct slice letter_of(struct task *task, const struct row *row, struct slice text, const char *names)
{
	struct zone zone = zone_make();
	struct slice rest = slice_of(row->who ? row->who : ""), field, whole, what;

	names_to_sign = names;
	field = signature(task, "sign", slice_of(letter));
	whole = arena_printf(task->arena, "%.*s%s", SLICE_ARG(field), letter);
	if (row->who && slice_split(&rest, '>', &what))
		replace(task, &whole, arena_cstr(task->arena, what), arena_cstr(task->arena, rest));
	whole = arena_printf(task->arena, "%.*s%.*s", SLICE_ARG(text), SLICE_ARG(whole));
	return check(task, &zone, whole, 4096);
}

static struct slice signed_letter(struct task *task, const struct row *row, struct slice text)
{
	return letter_of(task, row, text, "");
}

static struct slice oversigned_letter(struct task *task, const struct row *row, struct slice text)
{
	return letter_of(task, row, text, "+From:+To:+Subject:+Date");
}

/* A chain of two sets that good.test has sealed, with the text on top and a replacement as above. */
static struct slice sealed(struct task *task, const struct row *row, struct slice text)
{
	struct zone zone = zone_make();
	struct slice whole = arena_printf(
	    task->arena, "Authentication-Results: good.test; spf=pass smtp.mailfrom=a@b.test\r\n%s", letter);
	struct slice rest = slice_of(row->who ? row->who : ""), what;

	for (unsigned set = 0; set < 2; set++) {
		struct slice fields = signature(task, "arc", whole);
		whole = arena_printf(task->arena, "%.*s%.*s", SLICE_ARG(fields), SLICE_ARG(whole));
		if (set == 0)
			whole =
			    arena_printf(task->arena, "Authentication-Results: good.test; arc=pass\r\n%.*s",
					 SLICE_ARG(whole));
	}
	if (row->who && slice_split(&rest, '>', &what))
		replace(task, &whole, arena_cstr(task->arena, what), arena_cstr(task->arena, rest));
	whole = arena_printf(task->arena, "%.*s%.*s", SLICE_ARG(text), SLICE_ARG(whole));
	return check(task, &zone, whole, 4096);
}

/* ---- DMARC: the text is header fields -------------------------------------------------------------------------------- */

static unsigned authors(struct task *task, struct slice text, struct slice *domains)
{
	struct message message = {.refs = 1};
	struct err err = err_make(task->arena);
	unsigned count;
	uint32_t used;

	arena_init(&message.arena, 0);
	header_block_init(&message.headers);
	assert_int_equal(header_block_parse(&message.arena, text, &message.headers, &used, &err), OK);
	assert_true(dmarc_from(task->arena, &message, domains, &count));
	arena_done(&message.arena);
	return count;
}

/* Whose it is: domains, or "nobody". */
static struct slice author(struct task *task, const struct row *row, struct slice text)
{
	struct slice domains[DMARC_FROM_MAX];
	unsigned count = authors(task, text, domains);
	struct str out = str_make(task->arena);

	(void)row;
	for (unsigned i = 0; i < count; i++)
		str_printf(&out, "%s%.*s", i ? " " : "", SLICE_ARG(domains[i]));
	return count ? str_slice(&out) : SLICE("nobody");
}

/* What DMARC makes of it; who: the domain that SPF and DKIM have authenticated, "!domain": tried in vain for now. */
static struct slice policy(struct task *task, const struct row *row, struct slice text)
{
	struct zone zone = zone_make();
	struct mailauth_resolver resolver = zone_resolver(&zone);
	struct slice domains[DMARC_FROM_MAX];
	const char *who = row->who ? row->who : "";
	enum mailauth_result result = *who == '!' ? MAILAUTH_TEMPERROR : *who ? MAILAUTH_PASS : MAILAUTH_FAIL;
	struct dkim_result dkim = {.domain = slice_of(who + (*who == '!')), .result = result};
	struct dmarc_query query = {.from = domains,
				    .from_count = authors(task, text, domains),
				    .spf = result,
				    .spf_domain = dkim.domain,
				    .dkim = &dkim,
				    .dkim_count = 1};
	struct dmarc_result found;

	assert_int_equal(dmarc_check(task, &resolver, &query, &found), OK);
	assert_true(zone.questions <= 8 * 3 * DMARC_FROM_MAX);
	return dmarc_status_word(found.status);
}

/* A policy record: "p sp", or "none". */
static struct slice record(struct task *task, const struct row *row, struct slice text)
{
	struct dmarc_record found;

	(void)row;
	if (!dmarc_record_parse(text, false, &found))
		return SLICE("none");
	return arena_printf(task->arena, "%c%c%s", found.p, found.sp ? found.sp : '-',
			    found.unusable ? " unusable" : "");
}

/* ---- Authentication-Results: what a reader sees ------------------------------------------------------------------------ */

static struct slice results(struct task *task, const struct row *row, struct slice text)
{
	struct str out = str_make(task->arena);
	struct err err = err_make(task->arena);
	struct authres found;

	(void)row;
	if (authres_parse(task->arena, text, &found, &err) != OK)
		return SLICE("malformed");
	for (unsigned i = 0; i < found.method_count; i++)
		str_printf(&out, "%s%.*s=%.*s", i ? " " : "", SLICE_ARG(found.methods[i].method),
			   SLICE_ARG(found.methods[i].result));
	return out.len ? str_slice(&out) : SLICE("none");
}

/* What we write of a name that somebody chose, read again. */
static struct slice written(struct task *task, const struct row *row, struct slice text)
{
	struct str out = str_make(task->arena);
	struct authres_maker maker = {.out = &out};

	str_addz(&out, "mx.test");
	authres_method(&maker, SLICE("dkim"), SLICE("fail"), text);
	authres_property(&maker, SLICE("header.d"), text);
	return results(task, row, str_slice(&out));
}

/* ---- The table ----------------------------------------------------------------------------------------------------------- */

#define SIGNATURE(rest)                                                             \
	"DKIM-Signature: v=1; a=ed25519-sha256; bh=" HASH "; b=AAAA; h=from; " rest \
	"\r\nFrom: a@good.test\r\n\r\n"
#define SEAL(i, cv) "ARC-Seal: i=" i "; a=ed25519-sha256; cv=" cv "; d=good.test; s=ed; b=AAAA\r\n"
#define AMS(i) \
	"ARC-Message-Signature: i=" i "; a=ed25519-sha256; d=good.test; s=ed; h=from; bh=" HASH "; b=AAAA\r\n"
#define AAR(i) "ARC-Authentication-Results: i=" i "; good.test; none\r\n"
#define BODY   "From: a@good.test\r\n\r\n"

static const struct row rows[] = {
    /* libspf2 and the readers of records */
    {"macros: more comes of them than the buffer holds", "libspf2 CVE-2021-20314", spf,
     "v=spf1 -all exp=long.test", "", 0, "",
     "192.0.2.1 " L50 L50 L50 L50 L50 L50 L50 L50 "@author.test helo.test", "fail"},
    {"macros: more comes of them than a name holds", "libspf2 CVE-2021-20314", spf, "v=spf1 exists:", "%{d}.",
     60, "author.test -all", NULL, "fail"},
    {"macros: percent signs of bytes above 127", "libspf2 CVE-2021-33912", spf, "v=spf1 -all exp=why.test",
     "", 0, "", "192.0.2.1 \xff\xfe\xfd@author.test \xff\xff", "fail"},
    {"macros: how long the first label is", "libspf2 CVE-2021-33913", spf,
     "v=spf1 exists:%{d1r}.%{d99}.%{dr-.+,/_=}.%{l1r-}.test -all", "", 0, "",
     "192.0.2.1 ----@author.test helo.test", "fail"},
    {"macros: they end too early", "libspf2 CVE-2023-42118", spf, "v=spf1 exists:%{d", "", 0, "", NULL,
     "permerror"},
    {"macros: nothing in them", "libspf2 CVE-2023-42118", spf, "v=spf1 exists:%{}", "", 0, "", NULL,
     "permerror"},
    {"macros: a percent sign at the end", "libspf2 CVE-2023-42118", spf, "v=spf1 exists:a.%", "", 0, "", NULL,
     "permerror"},
    {"macros: numbers that wrap", "libspf2, class of CVE-2021-33913", spf,
     "v=spf1 exists:%{d18446744073709551617}.test -all", "", 0, "", NULL, "fail"},
    {"macros: no label at all", "RFC 7208, 7.1", spf, "v=spf1 exists:%{d0}.test -all", "", 0, "", NULL,
     "permerror"},
    {"macros: a label above 63", "RFC 7208, 7.3", spf, "v=spf1 -exists:%{l}%{l}.test ?all", "", 0, "",
     "192.0.2.1 " L50 "@author.test h.test", "neutral"},
    {"records: one of 64 KiB", "libspf2 CVE-2008-2469", spf, "v=spf1 ", "ip4:203.0.113.1 ", 4000, "-all",
     NULL, "fail"},
    {"records: one word of 60 KiB", "libspf2 CVE-2008-2469", spf, "v=spf1 x=", "y", 60000, " -all", NULL,
     "fail"},
    {"records: a NUL", "libspf2, opendmarc: text behind a NUL", spf, "v=spf1 -all\x1f +all", "", 0, "", NULL,
     "permerror"},
    {"records: line ends", "class of header injection", spf, "v=spf1 -all exp=lines.test\r\n", "", 0, "",
     NULL, "permerror"},
    {"explanations: line ends", "class of reply injection", spf, "v=spf1 -all exp=lines.test", "", 0, "",
     NULL, "fail"},
    {"records: two", "RFC 7208, 4.5", spf, "v=spf1 include:two.test -all", "", 0, "", NULL, "permerror"},
    {"records: the version's name goes on", "BreakSPF and others", spf, "v=spf1+all", "", 0, "", NULL,
     "none"},
    {"lookups: each includes ten", "Scheffler et al. 2018: amplification", spf,
     "v=spf1 include:wide.test -all", "", 0, "", NULL, "permerror"},
    {"lookups: includes itself", "libspf2, pyspf: recursion", spf, "v=spf1 include:author.test -all", "", 0,
     "", NULL, "permerror"},
    {"lookups: redirects in a circle", "libspf2: recursion", spf, "v=spf1 redirect=round.test", "", 0, "",
     NULL, "permerror"},
    {"lookups: CNAMEs in a circle", "libspf2, c-ares", spf, "v=spf1 a:loop.test mx:pool.test -all", "", 0, "",
     NULL, "fail"},
    {"lookups: void ones", "RFC 7208, 4.6.4; amplification", spf, "v=spf1 ", "a:v%{t}.test ", 3, "+all", NULL,
     "permerror"},
    {"lookups: void ones", "RFC 7208, 4.6.4; amplification", spf, "v=spf1 ", "a:v.test ", 3, "+all", NULL,
     "permerror"},
    {"lookups: eleven", "RFC 7208, 4.6.4", spf, "v=spf1 ", "exists:good.test ", 11, "+all", NULL,
     "permerror"},
    {"senders: a second @", "Chen et al. 2020, A: @ in the local part", spf, "v=spf1 -all", "", 0, "",
     "192.0.2.1 x@open.test@author.test h.test", "fail"},
    {"senders: none, and the HELO name is no domain", "Chen et al. 2020, A: HELO", spf, "v=spf1 +all", "", 0,
     "", "192.0.2.1 x@localhost h.test", "none"},
    {"senders: an address for a domain", "libspf2: [ip]", spf, "v=spf1 +all", "", 0, "",
     "192.0.2.1 x@[192.0.2.1] h.test", "none"},
    {"senders: empty labels", "libspf2: dots", spf, "v=spf1 +all", "", 0, "",
     "192.0.2.1 x@..author.test h.test", "none"},
    {"senders: a NUL in the domain", "Chen et al. 2020, A: NUL", spf, "v=spf1 +all", "", 0, "",
     "192.0.2.1 x@author.test\x01.open.test h.test", "none"},

    /* Keys in the DNS */
    {"keys: a record of 60 KiB", "Exim CVE-2012-5671", key, "v=DKIM1; p=", "AAAA", 15000, "", NULL, "syntax"},
    {"keys: 512 bits and fewer", "VU#268267, opendkim 2.6.8; CVE-2012-3358 is another", key,
     "p=MAYCAQ8CAQM=", "", 0, "", NULL, "4 bits"},
    {"keys: lengths beyond the end", "class of DER readers", key, "p=MIICAQ8CAQM=", "", 0, "", NULL,
     "no key"},
    {"keys: a length of four bytes", "class of DER readers", key, "p=MIT/////AgEPAgED", "", 0, "", NULL,
     "no key"},
    {"keys: exponent 1", "class of CVE-2006-4339", key, "p=MAYCAQ8CAQE=", "", 0, "", NULL, "no key"},
    {"keys: an even exponent", "class of CVE-2006-4339", key, "p=MAYCAQ8CAQI=", "", 0, "", NULL, "no key"},
    {"keys: Ed25519 with a byte too few", "dkimpy, opendkim: Ed25519", key,
     "k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHUQ==", "", 0, "", NULL, "no key"},
    {"keys: a tag without a value", "Exim bug 3120", key, "v=DKIM1; k=; p=AAAA", "", 0, "", NULL, "unfit"},
    {"keys: tags without an end", "Exim bug 3120", key, "v=DKIM1", "; n", 100, "=", NULL, "syntax"},
    {"keys: nothing but semicolons", "Exim bug 3120", key, "", ";", 1000, "", NULL, "syntax"},
    {"keys: not base64", "Exim bug 3120", key, "p=\xff\xfe==", "", 0, "", NULL, "syntax"},
    {"keys: a NUL in it", "class of text behind a NUL", key, "k=ed25519; p=" ED_PUBLIC "\x1f; t=y", "", 0, "",
     NULL, "syntax"},
    {"keys: revoked", "RFC 6376, 6.1.2", signed_letter, "", "", 0, "", "s=ed;>s=revoked;",
     "invalid/pubkey_der_syntax"},

    /* DKIM-Signature */
    {"signatures: bh= shorter than its hash", "Exim CVE-2020-28025", message,
     "DKIM-Signature: v=1; a=ed25519-sha256; d=good.test; s=ed; h=from; bh=AA==; b=AAAA\r\n" BODY, "", 0, "",
     NULL, "invalid/signature_syntax"},
    {"signatures: bh= longer than its hash", "Exim CVE-2020-28025", message,
     "DKIM-Signature: v=1; a=ed25519-sha256; d=good.test; s=ed; h=from; b=AAAA; bh=", "AAAA", 1000,
     "\r\n" BODY, NULL, "invalid/signature_syntax"},
    {"signatures: b= of 60 KiB", "opendkim, Exim: buffers", message,
     "DKIM-Signature: v=1; a=ed25519-sha256; d=good.test; s=ed; h=from; bh=" HASH "; b=", "AAAA", 15000,
     "\r\n" BODY, NULL, "invalid/signature_syntax"},
    {"signatures: a NUL in s=", "Chen et al. 2020, A: NUL in the key's name", message,
     SIGNATURE("d=good.test; s=evil.test.\x1f.any"), "", 0, "", NULL, "invalid/signature_syntax"},
    {"signatures: a dot at the end of s=", "Chen et al. 2020, A: name of the key", message,
     SIGNATURE("d=good.test; s=ed."), "", 0, "", NULL, "invalid/signature_syntax"},
    {"signatures: a dot at the end of d=", "class of trailing dots", message, SIGNATURE("d=good.test.; s=ed"),
     "", 0, "", NULL, "invalid/signature_syntax"},
    {"signatures: a comment in d=", "Chen et al. 2020, B: d=legitimate(.attacker", message,
     SIGNATURE("d=good.test(.evil.test; s=ed"), "", 0, "", NULL, "invalid/signature_syntax"},
    {"signatures: d= broken by folding", "class of folded tags", message, SIGNATURE("d=good.\r\n test; s=ed"),
     "", 0, "", NULL, "invalid/signature_syntax"},
    {"signatures: two of a tag", "dkimpy, Mail::DKIM: which one counts", signed_letter, "", "", 0, "",
     "d=good.test;>d=good.test; d=evil.test;", "invalid/signature_syntax"},
    {"signatures: tags have a case", "class of readers that disagree", signed_letter, "", "", 0, "",
     "d=good.test;>D=evil.test; d=good.test;", "fail/signature_incorrect"},
    {"signatures: From is not signed", "RFC 6376, 5.4", message,
     "DKIM-Signature: v=1; a=ed25519-sha256; d=good.test; s=ed; h=to; bh=" HASH "; b=AAAA\r\n" BODY, "", 0,
     "", NULL, "invalid/signature_syntax"},
    {"signatures: i= of somebody else", "RFC 6376, 6.1.1", message,
     SIGNATURE("d=good.test; s=ed; i=@notgood.test"), "", 0, "", NULL, "invalid/signature_syntax"},
    {"signatures: d= of one label", "RFC 6376, class of public suffixes", message,
     SIGNATURE("d=test; s=ed.good"), "", 0, "", NULL, "invalid/signature_syntax"},
    {"signatures: expired", "replay", message, SIGNATURE("d=good.test; s=ed; t=1; x=2"), "", 0, "", NULL,
     "fail/signature_expired"},
    {"signatures: x= that wraps", "class of wrapping times", message,
     SIGNATURE("d=good.test; s=ed; t=5; x=18446744073709551617"), "", 0, "", NULL,
     "invalid/signature_syntax"},
    {"signatures: a thousand names in h=", "opendkim, Exim: time", message,
     "DKIM-Signature: v=1; a=ed25519-sha256; d=good.test; s=ed; bh=" HASH "; b=AAAA; h=from", ":x", 5000,
     "\r\n" BODY, NULL, "invalid/signature_syntax"},
    {"signatures: an unknown hash", "downgrade", message,
     "DKIM-Signature: v=1; a=rsa-md5; d=good.test; s=ed; h=from; bh=" HASH "; b=AAAA\r\n" BODY, "", 0, "",
     NULL, "invalid/signature_algorithm"},
    {"signatures: the key is for another service", "RFC 6376, 6.1.2", signed_letter, "", "", 0, "",
     "s=ed;>s=sms;", "invalid/pubkey_unfit"},
    {"signatures: the key is for another hash", "downgrade", signed_letter, "", "", 0, "", "s=ed;>s=sha1;",
     "invalid/pubkey_unfit"},
    {"signatures: the key's name is a circle of CNAMEs", "class of CNAME loops", signed_letter, "", "", 0, "",
     "s=ed;>s=loop;", "invalid/pubkey_unavailable"},
    {"signatures: the DNS does not answer", "fail open", signed_letter, "", "", 0, "", "s=ed;>s=later;",
     "invalid/pubkey_unavailable"},
    {"signatures: good ones pass", "", signed_letter, "", "", 0, "", NULL, "pass"},
    {"signatures: another Subject, oversigned", "header fields twice (RFC 6376, 8.15)", oversigned_letter,
     "Subject: another\r\n", "", 0, "", NULL, "fail/signature_incorrect"},
    {"signatures: another From, oversigned", "header fields twice (RFC 6376, 8.15)", oversigned_letter,
     "From: b@evil.test\r\n", "", 0, "", NULL, "fail/signature_incorrect"},
    {"signatures: another From, signed once: see the authors", "header fields twice (RFC 6376, 8.15)",
     signed_letter, "From: b@evil.test\r\n", "", 0, "", NULL, "pass"},
    {"signatures: a body that goes on", "l= abuse (RFC 6376, 8.2)", signed_letter, "", "", 0, "",
     "Hello.\r\n>Hello.\r\n<b>Pay here</b>\r\n", "fail/bodyhash_mismatch"},
    {"signatures: a byte of the header is another", "", signed_letter, "", "", 0, "", "Subject: x>Subject: y",
     "fail/signature_incorrect"},
    {"signatures: where it was is free", "replay to others", signed_letter,
     "Received: by somebody\r\nDelivered-To: x@y.test\r\n", "", 0, "", NULL, "pass"},

    /* ARC */
    {"chains: good ones pass", "", sealed, "", "", 0, "", NULL, "arc pass"},
    {"chains: nothing in a field", "Exim, crashes on malformed seals", message, "ARC-Seal:\r\n" BODY, "", 0,
     "", NULL, "arc fail/collecting headers: arc-seal without a good i="},
    {"chains: no value", "Exim, crashes on malformed seals", message,
     "ARC-Seal: i=; a=; cv=; d=; s=; b=\r\n" AMS("1") AAR("1") BODY, "", 0, "", NULL,
     "arc fail/collecting headers: arc-seal without a good i="},
    {"chains: tags missing", "Exim, crashes on malformed seals", message,
     "ARC-Seal: i=1\r\n" AMS("1") AAR("1") BODY, "", 0, "", NULL, "arc fail/required tag missing"},
    {"chains: semicolons", "Exim, crashes on malformed seals", message,
     "ARC-Seal: i=1;;;;\r\n" AMS("1") AAR("1") BODY, "", 0, "", NULL,
     "arc fail/collecting headers: arc-seal without a good i="},
    {"chains: results without a semicolon", "Exim, crashes on malformed seals", message,
     SEAL("1", "none") AMS("1") "ARC-Authentication-Results: i=1\r\n" BODY, "", 0, "", NULL,
     "arc fail/collecting headers: arc-authentication-results without a good i="},
    {"chains: instance 0", "RFC 8617, 4.2.1", message, SEAL("0", "none") BODY, "", 0, "", NULL,
     "arc fail/collecting headers: arc-seal without a good i="},
    {"chains: instance 51", "RFC 8617, 4.2.1", message, SEAL("51", "pass") BODY, "", 0, "", NULL,
     "arc fail/collecting headers: arc-seal without a good i="},
    {"chains: an instance that wraps", "class of wrapping numbers", message,
     SEAL("4294967297", "none") AMS("1") AAR("1") BODY, "", 0, "", NULL,
     "arc fail/collecting headers: arc-seal without a good i="},
    {"chains: two of a kind", "RFC 8617, 5.2", sealed, SEAL("1", "none"), "", 0, "", NULL,
     "arc fail/collecting headers: two of arc-seal with i=1"},
    {"chains: a gap", "RFC 8617, 5.2", sealed, SEAL("4", "pass") AMS("4") AAR("4"), "", 0, "", NULL,
     "arc fail/i=2 (sequence; expected 3)"},
    {"chains: one of three missing", "RFC 8617, 5.2", sealed, SEAL("3", "pass") AMS("3"), "", 0, "", NULL,
     "arc fail/i=3 (missing header)"},
    {"chains: cv=fail stays", "RFC 8617, 5.2: a dead chain is raised", sealed,
     SEAL("3", "fail") AMS("3") AAR("3"), "", 0, "", NULL, "arc fail/i=3 (cv)"},
    {"chains: the first says pass", "RFC 8617, 5.2", sealed, "", "", 0, "", "cv=none>cv=pass",
     "arc fail/seal cv state"},
    {"chains: the second says none", "RFC 8617, 5.2", sealed, "", "", 0, "", "cv=pass>cv=none",
     "arc fail/seal cv state"},
    {"chains: the results are others", "forged authres in a sealed set", sealed, "", "", 0, "",
     "spf=pass>spf=fail", "arc fail/seal sigverify error"},
    {"chains: h= in a seal", "RFC 8617, 4.1.3", sealed, "", "", 0, "", "cv=pass;>cv=pass; h=from;",
     "arc fail/required tag missing"},
    {"chains: the body is another", "RFC 8617, 5.2", sealed, "", "", 0, "", "Hello.>Hallo.",
     "arc fail/AMS body hash miscompare"},
    {"chains: 200 seals", "time without end", sealed, "", SEAL("9", "pass"), 200, "", NULL,
     "arc fail/collecting headers: too many"},

    /* Who is the author: Chen et al., "Composition Kills" (2020), and opendmarc */
    {"authors: two fields", "opendmarc CVE-2019-16378; Chen B: multiple From", author,
     "From: <a@good.test>\r\nFrom: <b@evil.test>\r\n\r\n", "", 0, "", NULL, "good.test evil.test"},
    {"authors: two addresses", "opendmarc CVE-2019-16378", author,
     "From: <a@good.test>, <b@evil.test>\r\n\r\n", "", 0, "", NULL, "good.test evil.test"},
    {"authors: white space before the colon", "Chen B: space-surrounded From", author,
     "From : <a@good.test>\r\nFrom: <b@evil.test>\r\n\r\n", "", 0, "", NULL, "good.test evil.test"},
    {"authors: upper case", "Chen B: alternative From", author, "fROM: <a@GOOD.test>\r\n\r\n", "", 0, "",
     NULL, "good.test"},
    {"authors: folded away", "Chen B: folding", author, "From:\r\n <a@good.test>\r\n\t,<b@evil.test>\r\n\r\n",
     "", 0, "", NULL, "good.test evil.test"},
    {"authors: folding before the first field", "Chen B: space-preceded From", author,
     "X: y\r\n From: <b@evil.test>\r\nFrom: <a@good.test>\r\n\r\n", "", 0, "", NULL, "good.test"},
    {"authors: others claim the name", "Chen B: Sender, Resent-From", author,
     "Sender: <a@good.test>\r\nResent-From: <a@good.test>\r\nFrom: b@evil.test\r\n\r\n", "", 0, "", NULL,
     "evil.test"},
    {"authors: a name that is an address", "Chen B: display name", author,
     "From: a@good.test <b@evil.test>\r\n\r\n", "", 0, "", NULL, "evil.test"},
    {"authors: a quoted name", "Chen B: display name", author, "From: \"a@good.test\" <b@evil.test>\r\n\r\n",
     "", 0, "", NULL, "evil.test"},
    {"authors: a comment", "Chen B: comments", author,
     "From: (a@good.test) b@evil.test (<c@good.test>)\r\n\r\n", "", 0, "", NULL, "evil.test"},
    {"authors: comments in it", "Chen B: comments", author, "From: <b(a@good.test)@(x)evil.test>\r\n\r\n", "",
     0, "", NULL, "evil.test"},
    {"authors: an encoded word", "Chen B: encoded addresses", author,
     "From: =?utf-8?B?PGFAZ29vZC50ZXN0Pg==?= <b@evil.test>\r\n\r\n", "", 0, "", NULL, "evil.test"},
    {"authors: a source route", "Chen B: route", author, "From: <@good.test,@other.test:b@evil.test>\r\n\r\n",
     "", 0, "", NULL, "evil.test"},
    {"authors: a group", "opendmarc: groups; RFC 6854", author,
     "From: good.test: <b@evil.test>, c@third.test;\r\n\r\n", "", 0, "", NULL, "evil.test third.test"},
    {"authors: an empty group", "opendmarc: groups; RFC 6854", author, "From: undisclosed:;\r\n\r\n", "", 0,
     "", NULL, "nobody"},
    {"authors: a second @", "Chen B: @", author, "From: <a@good.test@evil.test>\r\n\r\n", "", 0, "", NULL,
     "evil.test"},
    {"authors: a NUL", "opendmarc CVE-2020-12460, Chen B: NUL", author,
     "From: <a@good.test\x1f@evil.test>\r\n\r\n", "", 0, "", NULL, "evil.test"},
    {"authors: an address behind the address", "Chen B: truncation", author,
     "From: <b@evil.test>c@good.test\r\n\r\n", "", 0, "", NULL, "good.test"},
    {"authors: a quote that does not end", "opendmarc CVE-2021-34555", author,
     "From: \"a <b@evil.test>\r\n\r\n", "", 0, "", NULL, "evil.test"},
    {"authors: nothing", "opendmarc CVE-2021-34555, CVE-2024-25768", author, "From:\r\n\r\n", "", 0, "", NULL,
     "nobody"},
    {"authors: nothing but white space", "opendmarc CVE-2024-25768", author, "From: \t \r\n\r\n", "", 0, "",
     NULL, "nobody"},
    {"authors: commas", "opendmarc CVE-2024-25768", author, "From: ", ",", 1000, "\r\n\r\n", NULL, "nobody"},
    {"authors: no domain", "opendmarc CVE-2021-34555", author, "From: <a@>\r\n\r\n", "", 0, "", NULL,
     "nobody"},
    {"authors: an address for a domain", "opendmarc: literals", author, "From: <a@[192.0.2.1]>\r\n\r\n", "",
     0, "", NULL, "nobody"},
    {"authors: a dot at the end", "class of trailing dots", author, "From: <a@good.test.>\r\n\r\n", "", 0, "",
     NULL, "good.test"},
    {"authors: U-labels", "IDN: another form of the name", author,
     "From: <a@b\xc3\xbc"
     "cher.test>, <b@xn--bcher-kva.test>\r\n\r\n",
     "", 0, "", NULL, "xn--bcher-kva.test"},
    {"authors: wide letters", "IDN: another form of the name", author,
     "From: <a@\xef\xbd\x87ood.test>\r\n\r\n", "", 0, "", NULL, "good.test"},
    {"authors: an expansion", "Exim CVE-2014-2957", author, "From: <a@${run{x}}.test>\r\n\r\n", "", 0, "",
     NULL, "nobody"},
    {"authors: 10,000", "time without end", author, "From: a@good.test", ", <a@b.test>, c@evil.test", 5000,
     "\r\n\r\n", NULL, "good.test b.test evil.test"},
    {"authors: comments in comments", "recursion", author, "From: ", "(", 20000, " b@evil.test\r\n\r\n", NULL,
     "evil.test"},
    {"authors: quotes without end", "time without end", author, "From: ", "\"\\", 20000,
     " <b@evil.test>\r\n\r\n", NULL, "evil.test"},

    /* DMARC's decisions */
    {"policies: nothing is aligned", "KumoMTA 20e26891: falls through to pass", policy,
     "From: a@good.test\r\n\r\n", "", 0, "", "evil.test", "reject"},
    {"policies: nothing was authenticated", "Stalwart: skipped without SPF", policy,
     "From: a@good.test\r\n\r\n", "", 0, "", "", "reject"},
    {"policies: the good one first", "opendmarc CVE-2019-16378", policy,
     "From: b@evil.test, a@good.test\r\n\r\n", "", 0, "", "evil.test", "reject"},
    {"policies: the good one last", "opendmarc CVE-2019-16378", policy,
     "From: a@good.test\r\nFrom: b@evil.test\r\n\r\n", "", 0, "", "evil.test", "reject"},
    {"policies: a public suffix signs", "class of public suffixes", policy, "From: a@shop.suffix\r\n\r\n", "",
     0, "", "suffix", "reject"},
    {"policies: a neighbour signs", "class of public suffixes", policy, "From: a@shop.suffix\r\n\r\n", "", 0,
     "", "evil.suffix", "reject"},
    {"policies: the author is a public suffix", "class of public suffixes", policy, "From: a@suffix\r\n\r\n",
     "", 0, "", "evil.suffix", "reject"},
    {"policies: the name ends alike", "class of suffixes without dots", policy, "From: a@good.test\r\n\r\n",
     "", 0, "", "notgood.test", "reject"},
    {"policies: two records", "RFC 9989, 4.10", policy, "From: a@twice.test\r\n\r\n", "", 0, "", "",
     "norecord"},
    {"policies: the DNS does not answer", "fail open", policy, "From: a@later.test\r\n\r\n", "", 0, "", "",
     "temperror"},
    {"policies: the key could not be had", "fail open, fail closed", policy, "From: a@good.test\r\n\r\n", "",
     0, "", "!good.test", "temperror"},
    {"policies: a name of 100 labels", "RFC 9989, 4.10: a walk without end", policy, "From: a@", "x.", 100,
     "good.test\r\n\r\n", "", "reject"},
    {"policies: eleven authors", "time without end", policy,
     "From: a@1.test, a@2.test, a@3.test, a@4.test, a@5.test, a@6.test, a@7.test, a@8.test, a@9.test, a@10.test, a@good.test\r\n\r\n",
     "", 0, "", "", "nofrom"},
    {"policy records: 64 KiB", "opendmarc: buffers", record, "v=DMARC1; p=reject", "; x=y", 10000,
     "; sp=none", NULL, "rn"},
    {"policy records: a NUL", "opendmarc CVE-2020-12460", record, "v=DMARC1; p=reject\x1f; sp=none", "", 0,
     "", NULL, "n- unusable"},
    {"policy records: a NUL in the version", "opendmarc CVE-2020-12460", record, "v=DMARC1\x1f; p=reject", "",
     0, "", NULL, "none"},
    {"policy records: no value", "opendmarc CVE-2024-25768", record, "v=DMARC1; p", "", 0, "", NULL, "n-"},
    {"policy records: semicolons", "opendmarc CVE-2024-25768", record, "", ";", 1000, "", NULL, "none"},
    {"policy records: twice", "readers that disagree", record, "v=DMARC1; p=reject; p=none", "", 0, "", NULL,
     "r-"},

    /* Authentication-Results */
    {"results: parentheses that do not end", "opendmarc CVE-2020-12272", results,
     "mx.test; dkim=pass header.d=good.test(.evil.test", "", 0, "", NULL, "malformed"},
    {"results: parentheses that end too often", "opendmarc CVE-2020-12272", results,
     "mx.test; dkim=pass (x)) header.d=a.test", "", 0, "", NULL, "malformed"},
    {"results: comments in comments", "recursion", results, "mx.test; dkim=pass ", "(", 10000, "", NULL,
     "malformed"},
    {"results: a NUL", "class of text behind a NUL", results,
     "mx.test; dkim=pass header.d=good.test\x1f.evil.test", "", 0, "", NULL, "malformed"},
    {"results: a quote that does not end", "class of readers that disagree", results,
     "mx.test; dkim=pass header.d=\"good.test; spf=pass", "", 0, "", NULL, "malformed"},
    {"results: a comment hides a method", "opendmarc CVE-2020-12272", results,
     "mx.test; spf=fail (; dkim=pass header.d=a.test)", "", 0, "", NULL, "spf=fail"},
    {"results: 10,000 methods", "time without end", results, "mx.test", "; x=pass", 10000, "", NULL,
     "malformed"},
    {"results: ours of a name with parentheses", "opendmarc CVE-2020-12272", written,
     "good.test(.evil.test) ; dkim=pass", "", 0, "", NULL, "dkim=fail"},
    {"results: ours of a name with quotes", "opendmarc CVE-2020-12272", written,
     "good.test\"; dkim=pass header.d=\"x", "", 0, "", NULL, "dkim=fail"},
    {"results: ours of a name with line ends", "opendmarc CVE-2020-12272", written,
     "good.test\r\n\tdkim=pass; \\", "", 0, "", NULL, "dkim=fail"},
    {"results: ours of a name of 64 KiB", "line length", written, "", "xxxx", 16000, "", NULL, "dkim=fail"},
};

static struct slice text_of(struct arena *arena, const struct row *row)
{
	struct str out = str_make(arena);
	struct slice text;

	str_addz(&out, row->before);
	for (unsigned i = 0; i < row->times; i++)
		str_addz(&out, row->unit);
	str_addz(&out, row->after);
	text = str_slice(&out);
	for (uint32_t i = 0; i < text.len; i++)
		if (text.ptr[i] == '\x1f' && row->judge != spf)
			((char *)(uintptr_t)text.ptr)[i] = 0;
	return slice_tainted(text);
}

static void all_rows(struct task *task, void *arg)
{
	unsigned *wrong = arg;

	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		const struct row *row = &rows[i];
		struct slice found = row->judge(task, row, text_of(task->arena, row));

		if (!slice_eq(found, slice_of(row->expected))) {
			print_error("%s (%s): %.*s, not %s\n", row->class, row->known_as, SLICE_ARG(found),
				    row->expected);
			++*wrong;
		}
		arena_clear(task->arena);
	}
	mailauth_done(task->shard);
}

static void test_classes(void **state)
{
	unsigned wrong = 0;

	(void)state;
	run_fn(all_rows, &wrong);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_classes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
