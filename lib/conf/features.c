/* The _HAVE_... macros and their kin: which systems a file may count on. Lookups, options, drivers and words
 * of the language tell of themselves through the tables that register them. */

#include "reader.h"

/* No _HAVE_PERL, _HAVE_DLFUNC, _HAVE_GNUTLS, _HAVE_ICONV's kin of libraries: what is not named here is not
 * there. _HAVE_OPENSSL, because cipher lists are read in OpenSSL's language. */
static const char *const features[] = {
    "_CRYPTO_HASH_SHA3",
    "_CRYPTO_SIGN_ED25519",
    "_HAVE_ARC",
    "_HAVE_CONTENT_SCANNING",
    "_HAVE_CRYPTEQ",
    "_HAVE_DANE",
    "_HAVE_DCC",
    "_HAVE_DKIM",
    "_HAVE_DMARC",
    "_HAVE_DNSSEC",
    "_HAVE_DSCP",
    "_HAVE_DSN_INFO",
    "_HAVE_ESMTP_LIMITS",
    "_HAVE_EVENT",
    "_HAVE_I18N",
    "_HAVE_ICONV",
    "_HAVE_IPV6",
    "_HAVE_LMDB",
    "_HAVE_MOVE_FROZEN_MESSAGES",
    "_HAVE_NATIVE_SRS",
    "_HAVE_OCSP",
    "_HAVE_OPENSSL",
    "_HAVE_PIPE_CONNECT",
    "_HAVE_PRDR",
    "_HAVE_PROXY",
    "_HAVE_SOCKS",
    "_HAVE_SPF",
    "_HAVE_SRS",
    "_HAVE_TCP_FASTOPEN",
    "_HAVE_TLS",
    "_HAVE_TLS1_3",
    "_HAVE_TLS_ALPN",
    "_HAVE_TLS_OCSP",
    "_HAVE_TLS_OCSP_LIST",
    "_HAVE_TLS_RESUME",
    "_HAVE_TRANSLATE_IP_ADDRESS",
    "_HAVE_TRANSPORT_APPEND_MAILDIR",
    "_HAVE_TRANSPORT_APPEND_MAILSTORE",
    "_HAVE_TRANSPORT_APPEND_MBX",
    "_HAVE_WELLKNOWN",
    "_HAVE_XCLIENT",
};

/* What RFC 6376 section 5.4.1 and its forerunner want signed. */
#define RESENT                                                                                                \
	"Resent-Date:Resent-From:Resent-Sender:Resent-To:Resent-Cc:Resent-Message-ID:In-Reply-To:References:" \
	"List-Id:List-Help:List-Unsubscribe:List-Subscribe:List-Post:List-Owner:List-Archive"
#define PLUS_RESENT                                                                                       \
	"+Resent-Date:+Resent-From:+Resent-Sender:+Resent-To:+Resent-Cc:+Resent-Message-ID:+In-Reply-To:" \
	"+References:+List-Id:+List-Help:+List-Unsubscribe:+List-Subscribe:+List-Post:+List-Owner:+List-Archive"
static const struct {
	const char *name, *text;
} texts[] = {
    {"_DKIM_SIGN_HEADERS", "From:Sender:Reply-To:Subject:Date:Message-ID:To:Cc:MIME-Version:Content-Type:"
			   "Content-Transfer-Encoding:Content-ID:Content-Description:" RESENT},
    {"_DKIM_OVERSIGN_HEADERS",
     "+From:+Sender:+Reply-To:+Subject:+Date:+Message-ID:+To:+Cc:+MIME-Version:+Content-Type:"
     "+Content-Transfer-Encoding:+Content-ID:+Content-Description:" PLUS_RESENT},
};

void conf_feature_macros(struct conf *conf)
{
	for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
		conf_macro_text(conf, texts[i].name, texts[i].text);
	for (size_t i = 0; i < ARRAY_COUNT(features); i++)
		conf_macro(conf, features[i]);
}
