/* The order of the "-name" lines of an -H file. Readers take them in any order; we write them in Exim's, so that a file
 * that goes through our hands unchanged stays unchanged. */
#include "message/envelope.h"

/* Indexed by enum envelope_rank. */
static const char *const names[RANK_COUNT] = {
    "received_time_usec",
    "received_time_complete",
    "helo_name",
    "host_address",
    "host_name",
    "host_auth",
    "host_auth_pubname",
    "interface_address",
    "active_hostname",
    "ident",
    "received_protocol",
    "aclc",
    "aclm",
    "debug_selector",
    "debuglog_name",
    "spool_file_wireformat",
    "body_linecount",
    "max_received_linelength",
    "body_zerocount",
    "auth_id",
    "auth_sender",
    "allow_unqualified_recipient",
    "allow_unqualified_sender",
    "deliver_firsttime",
    "frozen",
    "N",
    "host_lookup_deferred",
    "host_lookup_failed",
    "local",
    "localerror",
    "local_scan",
    "spam_bar",
    "spam_score",
    "spam_score_int",
    "manual_thaw",
    "sender_set_untrusted",
    "bmi_verdicts",
    "tls_certificate_verified",
    "tls_cipher",
    "tls_peercert",
    "tls_peerdn",
    "tls_sni",
    "tls_ourcert",
    "tls_ocsp",
    "tls_resumption",
    "tls_ver",
    "smtputf8",
    "utf8_downcvt",
    "utf8_optdowncvt",
    "dsn_envid",
    "dsn_ret",
};

int envelope_rank(struct slice name)
{
	for (int i = 0; i < RANK_COUNT; i++)
		if (names[i][0] == name.ptr[0] && strlen(names[i]) == name.len &&
		    memcmp(names[i], name.ptr, name.len) == 0)
			return i;
	return -1;
}
