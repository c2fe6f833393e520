/* The main options of this room. */
#include "message/message.h"

#define ST struct message_options
static const struct conf_option options[] = {
    OPT_BOOL(ST, allow_domain_literals, "no", "user@[192.0.2.1] is an address"),
    OPT_BOOL(ST, allow_utf8_domains, "no", "domains may have letters beyond ASCII as they are"),
    OPT_BOOL(ST, check_rfc2047_length, "yes", "encoded words longer than 75 characters are not decoded"),
    OPT_INT(ST, header_line_maxsize, "0", "bytes of one header field; 0: no limit"),
    OPT_INT(ST, header_maxsize, "1M", "bytes of the header block"),
    OPT_STRING(ST, headers_charset, "UTF-8", "character set that $h_ is translated to"),
    OPT_BOOL(ST, message_body_newlines, "no", "$message_body keeps its line ends"),
    OPT_INT(ST, message_body_visible, "500", "bytes of the body in $message_body and $message_body_end"),
    OPT_INT(ST, received_headers_max, "30", "Received: fields of a message that is taken to loop"),
    OPT_BOOL(ST, strip_excess_angle_brackets, "no", "<<user@domain>> is an address"),
    OPT_BOOL(ST, strip_trailing_dot, "no", "a dot behind a domain is dropped"),
};

static enum rc check(struct conf *conf, void *group, struct err *err)
{
	const struct message_options *o = group;

	(void)conf;
	/* They size buffers; the header block is kept in memory. */
	if (o->header_maxsize < 1 || o->header_maxsize > 1 << 30)
		return err_set(err, FAIL, "header_maxsize must be between 1 and 1G");
	if (o->message_body_visible < 0 || o->message_body_visible > 1 << 20)
		return err_set(err, FAIL, "message_body_visible must be between 0 and 1M");
	if (o->header_line_maxsize < 0 || o->received_headers_max < 0)
		return err_set(err, FAIL, "header_line_maxsize and received_headers_max cannot be negative");
	return OK;
}

const struct conf_group message_conf_group = {
    .id = CONF_MESSAGE,
    .size = sizeof(struct message_options),
    .options = options,
    .option_count = ARRAY_COUNT(options),
    .check = check,
};

unsigned address_flags(const struct conf *conf)
{
	const struct message_options *o = conf_group(conf, CONF_MESSAGE);

	return !o ? 0
		  : (o->allow_domain_literals ? ADDRESS_ALLOW_LITERAL : 0) |
			(o->allow_utf8_domains ? ADDRESS_ALLOW_UTF8 : 0) |
			(o->strip_trailing_dot ? ADDRESS_STRIP_DOT : 0) |
			(o->strip_excess_angle_brackets ? ADDRESS_STRIP_ANGLES : 0);
}

struct slice version_number(const struct conf_main *conf)
{
	return conf->exim_version.ptr && conf->exim_version.len ? conf->exim_version
								: SLICE(LANGUAGE_VERSION);
}

const struct conf_feature message_features[] = {
    {"_HAVE_ICONV", "iconv()"},
    {NULL, NULL},
};
