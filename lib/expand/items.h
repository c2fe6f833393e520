/* items: the rows of this room's tables that live in files of their own, and what they share. */
#ifndef EXPAND_ITEMS_H
#define EXPAND_ITEMS_H

#include "expand/expand.h"

/* From the shard's cache, or compiled for the task where there is no shard. Valid until the next park or
 * call. */
enum rc regex_for(struct scope *sc, struct slice pattern, unsigned flags, const struct regex **ret,
		  struct err *err);

/* files.c */
enum rc newlines_replace(struct scope *sc, struct slice text, struct slice eol, struct slice *ret,
			 struct err *err);

/* conditions.c */
bool string_compare(struct slice name, struct slice a, struct slice b);
bool number_compare(struct slice name, int64_t a, int64_t b);

/* files.c, password.c, sockets.c: conditions */
enum rc exists_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err);
enum rc crypteq_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err);
enum rc saslauthd_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err);

/* extract.c, list_items.c, string_items.c, files.c, run.c, sockets.c, prvs.c, digest.c: items */
extern const struct expand_item item_extract, item_listextract, item_listquote, item_map, item_reduce,
    item_sort;
extern const struct expand_item item_sg, item_tr, item_substr, item_length, item_hash, item_nhash, item_env;
extern const struct expand_item item_readfile, item_run, item_readsocket, item_prvs, item_prvscheck,
    item_hmac;
extern const struct expand_item item_imapfolder, item_certextract;

/* certificates.c */
enum {
	CERTIFICATE_IN_PEER,
	CERTIFICATE_IN_OUR,
	CERTIFICATE_OUT_PEER,
	CERTIFICATE_OUT_OUR,
	CERTIFICATE_COUNT
};
enum rc get_certificate(struct scope *sc, const struct variable *variable, struct slice *ret,
			struct err *err);
/* Is this the value of a variable that holds a certificate? */
bool certificate_in(const struct scope *sc, struct slice subject, struct slice *pem_ret);
/* If it is, *subject becomes the certificate's bytes: for what makes fingerprints. */
NODISCARD enum rc certificate_bytes(const struct scope *sc, struct slice *subject, struct err *err);

/* punycode.c: the code point of a sequence; len as utf8_sequence() gave it. */
uint32_t utf8_character(struct slice s, unsigned len);

/* Tables of operators, each NULL-terminated; operators.c puts them together. */
#define OPERATOR(name) enum rc name(struct scope *, struct slice, struct slice, struct slice *, struct err *)
OPERATOR(op_substr);
OPERATOR(op_length);
OPERATOR(op_hash);
OPERATOR(op_nhash);
OPERATOR(op_md5);
OPERATOR(op_sha1);
OPERATOR(op_sha2);
OPERATOR(op_listcount);
OPERATOR(op_listnamed);
OPERATOR(op_sha3);
OPERATOR(op_eval);
OPERATOR(op_eval10);
OPERATOR(op_base32);
OPERATOR(op_base32d);
OPERATOR(op_base62);
OPERATOR(op_base62d);
OPERATOR(op_time_eval);
OPERATOR(op_time_interval);
OPERATOR(op_randint);
OPERATOR(op_strlen);
OPERATOR(op_stat);
OPERATOR(op_address);
OPERATOR(op_addresses);
OPERATOR(op_domain);
OPERATOR(op_local_part);
OPERATOR(op_quote_local_part);
OPERATOR(op_ipv6norm);
OPERATOR(op_ipv6denorm);
OPERATOR(op_mask);
OPERATOR(op_reverse_ip);
OPERATOR(op_domain_to_alabel);
OPERATOR(op_domain_from_alabel);
OPERATOR(op_localpart_to_alabel);
OPERATOR(op_localpart_from_alabel);
OPERATOR(op_rfc2047);
OPERATOR(op_rfc2047d);
OPERATOR(op_headerwrap);
OPERATOR(op_base64);
OPERATOR(op_base64d);
OPERATOR(op_hex2b64);
OPERATOR(op_hexquote);
OPERATOR(op_xtextd);
OPERATOR(op_from_utf8);
OPERATOR(op_utf8clean);
OPERATOR(op_escape);
OPERATOR(op_escape8bit);

#endif
