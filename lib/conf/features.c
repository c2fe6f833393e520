/* The _HAVE_... macros: which systems a file may count on. Lookups, options, drivers and words of the language tell of
 * themselves through the tables that register them. */

#include "reader.h"

/* No _HAVE_PERL, _HAVE_DLFUNC, _HAVE_GNUTLS, _HAVE_ICONV's kin of libraries: what is not named here is not there.
 * _HAVE_OPENSSL, because cipher lists are read in OpenSSL's language. */
static const char *const features[] = {
	"_HAVE_ARC", "_HAVE_CONTENT_SCANNING", "_HAVE_CRYPTEQ", "_HAVE_DANE", "_HAVE_DCC", "_HAVE_DKIM", "_HAVE_DMARC",
	"_HAVE_DNSSEC", "_HAVE_DSCP", "_HAVE_DSN_INFO", "_HAVE_ESMTP_LIMITS", "_HAVE_EVENT", "_HAVE_I18N", "_HAVE_ICONV",
	"_HAVE_IPV6", "_HAVE_LMDB", "_HAVE_MOVE_FROZEN_MESSAGES", "_HAVE_NATIVE_SRS", "_HAVE_OCSP", "_HAVE_OPENSSL",
	"_HAVE_PIPE_CONNECT", "_HAVE_PRDR", "_HAVE_PROXY", "_HAVE_SOCKS", "_HAVE_SPF", "_HAVE_SRS", "_HAVE_TCP_FASTOPEN",
	"_HAVE_TLS", "_HAVE_TLS1_3", "_HAVE_TLS_ALPN", "_HAVE_TLS_OCSP", "_HAVE_TLS_OCSP_LIST", "_HAVE_TLS_RESUME",
	"_HAVE_TRANSLATE_IP_ADDRESS", "_HAVE_TRANSPORT_APPEND_MAILDIR", "_HAVE_TRANSPORT_APPEND_MAILSTORE",
	"_HAVE_TRANSPORT_APPEND_MBX", "_HAVE_WELLKNOWN", "_HAVE_XCLIENT",
};

void conf_feature_macros(struct conf *conf)
{
	for (size_t i = 0; i < ARRAY_COUNT(features); i++)
		conf_macro(conf, features[i]);
}
