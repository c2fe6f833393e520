/* Fields of certificates as the language asks for them. */
#include "cert.h"

#include <time.h>

#include "tls/tls.h"

/* ---- Distinguished names --------------------------------------------------------------------------------------------- */

static const struct {
	struct slice oid;
	const char *label;
} labels[] = {
    {SLICE_INIT("\x55\x04\x03"), "CN"},
    {SLICE_INIT("\x55\x04\x06"), "C"},
    {SLICE_INIT("\x55\x04\x07"), "L"},
    {SLICE_INIT("\x55\x04\x08"), "ST"},
    {SLICE_INIT("\x55\x04\x0a"), "O"},
    {SLICE_INIT("\x55\x04\x0b"), "OU"},
    {SLICE_INIT("\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19"), "DC"},
    {SLICE_INIT("\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01"), "UID"},
    {SLICE_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"), "EMAIL"},
    {SLICE_INIT("\x55\x04\x04"), "surName"},
    {SLICE_INIT("\x55\x04\x05"), "serialNumber"},
    {SLICE_INIT("\x55\x04\x09"), "street"},
    {SLICE_INIT("\x55\x04\x0c"), "title"},
    {SLICE_INIT("\x55\x04\x0d"), "description"},
    {SLICE_INIT("\x55\x04\x0f"), "businessCategory"},
    {SLICE_INIT("\x55\x04\x11"), "postalCode"},
    {SLICE_INIT("\x55\x04\x12"), "postOfficeBox"},
    {SLICE_INIT("\x55\x04\x14"), "telephoneNumber"},
    {SLICE_INIT("\x55\x04\x29"), "name"},
    {SLICE_INIT("\x55\x04\x2a"), "givenName"},
    {SLICE_INIT("\x55\x04\x2b"), "initials"},
    {SLICE_INIT("\x55\x04\x2c"), "generationQualifier"},
    {SLICE_INIT("\x55\x04\x2e"), "dnQualifier"},
    {SLICE_INIT("\x55\x04\x41"), "pseudonym"},
};

static void add_label(struct str *str, struct slice oid)
{
	for (unsigned i = 0; i < ARRAY_COUNT(labels); i++)
		if (slice_eq(oid, labels[i].oid)) {
			str_addz(str, labels[i].label);
			return;
		}
	der_oid_text(str, oid);
}

static bool has_label(struct slice oid)
{
	for (unsigned i = 0; i < ARRAY_COUNT(labels); i++)
		if (slice_eq(oid, labels[i].oid))
			return true;
	return false;
}

/* RFC 4514 section 2.4. */
static void add_escaped(struct str *str, struct slice text)
{
	for (uint32_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		bool edge = (i == 0 && (c == '#' || c == ' ')) || (i + 1 == text.len && c == ' ');

		if (c == '\0')
			str_addz(str, "\\00");
		else if (edge || slice_find(SLICE(",+\"\\<>;"), c) >= 0)
			str_printf(str, "\\%c", c);
		else
			str_addc(str, c);
	}
	str->taint = TAINTED;
}

static void add_value(struct str *str, const struct x509_attribute *attribute)
{
	struct slice text;

	if (has_label(attribute->type) && x509_string(str->arena, &attribute->value, &text)) {
		add_escaped(str, text);
		return;
	}
	str_addc(str, '#');
	hex_encode(str, attribute->value.whole, false);
}

void cert_name_text(struct str *str, struct slice name)
{
	struct x509_name_walk walk;
	struct x509_attribute attribute;
	bool first = true, inside = false;

	x509_name_walk(&walk, name);
	while (x509_name_next(&walk, &attribute)) {
		if (!first)
			str_addc(str, inside ? '+' : ',');
		first = false;
		add_label(str, attribute.type);
		str_addc(str, '=');
		add_value(str, &attribute);
		inside = walk.rdn.len > 0; /* the set goes on */
	}
}

/* ---- Selectors: "subject,CN,>:" ---------------------------------------------------------------------------------------- */

struct selector {
	struct slice field;
	struct slice tag; /* the first modifier that is no separator; empty: none */
	char separator;
};

static struct selector parse_selector(struct slice text)
{
	struct selector s = {.field = SLICE_EMPTY, .tag = SLICE_EMPTY, .separator = '\n'};
	struct slice rest = text, part;

	if (slice_split(&rest, ',', &part))
		s.field = slice_trim(part);
	while (rest.ptr && slice_split(&rest, ',', &part)) {
		if (slice_starts(slice_ltrim(part), SLICE(">"))) {
			part = slice_from(slice_ltrim(part), 1);
			if (part.len == 0 && rest.ptr) /* the separator is a comma */
				s.separator = ',';
			else if (part.len)
				s.separator = part.ptr[0];
		} else if (!s.tag.len) {
			s.tag = slice_trim(part);
		}
	}
	return s;
}

/* An item of a list: separators inside are doubled. */
static void add_item(struct str *list, bool *first, char separator, struct slice prefix, struct slice item)
{
	if (!*first)
		str_addc(list, separator);
	*first = false;
	str_add(list, prefix);
	for (uint32_t i = 0; i < item.len; i++) {
		str_addc(list, item.ptr[i]);
		if (item.ptr[i] == separator)
			str_addc(list, separator);
	}
	list->taint = TAINTED;
}

/* ---- Fields -------------------------------------------------------------------------------------------------------------- */

static bool field_name(struct str *str, const struct selector *s, struct slice name)
{
	struct x509_name_walk walk;
	struct x509_attribute attribute;
	bool first = true;

	if (!s->tag.len) {
		cert_name_text(str, name);
		return true;
	}
	x509_name_walk(&walk, name);
	while (x509_name_next(&walk, &attribute)) {
		struct str label = str_make(str->arena), value = str_make(str->arena);
		struct slice text, rest;

		add_label(&label, attribute.type);
		text = str_slice(&label);
		if (!text.ptr || !slice_eq(text, s->tag))
			continue;
		add_value(&value, &attribute);
		/* A comma needs its backslash in the whole name only. */
		text = SLICE_EMPTY;
		label = str_make(str->arena);
		for (rest = str_slice(&value); rest.ptr && rest.len; rest = slice_from(rest, 1))
			if (!slice_starts(rest, SLICE("\\,")))
				str_addc(&label, rest.ptr[0]);
		text = str_slice(&label);
		if (text.ptr)
			add_item(str, &first, s->separator, SLICE_EMPTY, text);
	}
	return !first;
}

static bool field_time(struct str *str, const struct selector *s, int64_t seconds)
{
	time_t when = (time_t)seconds;
	char text[64];
	struct tm tm;
	size_t len;

	if (slice_eq(s->tag, SLICE("int"))) {
		str_printf(str, "%lld", (long long)seconds);
		return true;
	}
	if (!localtime_r(&when, &tm))
		return false;
	len = strftime(text, sizeof(text), "%b %e %T %Y %Z", &tm);
	str_add(str, slice_make(text, len, CLEAN));
	return len > 0;
}

static bool field_algorithm(struct str *str, const struct x509 *cert)
{
	static const struct {
		struct slice oid;
		const char *name;
	} names[] = {
	    {SLICE_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04"), "RSA-MD5"},
	    {SLICE_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05"), "RSA-SHA1"},
	    {SLICE_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"), "RSA-SHA256"},
	    {SLICE_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c"), "RSA-SHA384"},
	    {SLICE_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d"), "RSA-SHA512"},
	    {SLICE_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a"), "RSA-PSS"},
	    {SLICE_INIT("\x2a\x86\x48\xce\x3d\x04\x01"), "ECDSA-SHA1"},
	    {SLICE_INIT("\x2a\x86\x48\xce\x3d\x04\x03\x02"), "ECDSA-SHA256"},
	    {SLICE_INIT("\x2a\x86\x48\xce\x3d\x04\x03\x03"), "ECDSA-SHA384"},
	    {SLICE_INIT("\x2a\x86\x48\xce\x3d\x04\x03\x04"), "ECDSA-SHA512"},
	    {SLICE_INIT("\x2b\x65\x70"), "EdDSA-Ed25519"},
	    {SLICE_INIT("\x2b\x65\x71"), "EdDSA-Ed448"},
	};
	struct slice rest = cert->signature_algorithm;
	struct der_item sequence, oid;

	if (!der_expect(&rest, DER_SEQUENCE, &sequence) || !der_expect(&sequence.body, DER_OID, &oid))
		return false;
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
		if (slice_eq(oid.body, names[i].oid)) {
			str_addz(str, names[i].name);
			return true;
		}
	der_oid_text(str, oid.body);
	return true;
}

static bool field_signature(struct str *str, const struct x509 *cert)
{
	for (uint32_t i = 0; i < cert->signature.len; i++)
		str_printf(str, "%s%02x", i ? " " : "", (uint8_t)cert->signature.ptr[i]);
	return true;
}

static bool field_alt_names(struct str *str, const struct selector *s, const struct x509 *cert)
{
	static const struct {
		uint8_t tag;
		const char *modifier;
		struct slice prefix;
	} kinds[] = {
	    {DER_CONTEXT(1), "mail", SLICE_INIT("MAIL=")},
	    {DER_CONTEXT(2), "dns", SLICE_INIT("DNS=")},
	    {DER_CONTEXT(6), "uri", SLICE_INIT("URI=")},
	};
	struct der_item item;
	bool first = true, one = false;
	struct slice rest;

	if (!x509_subject_alt_names(cert, &rest))
		return false;
	for (unsigned k = 0; k < ARRAY_COUNT(kinds); k++)
		one |= slice_eq(s->tag, slice_of(kinds[k].modifier));
	while (der_next(&rest, &item))
		for (unsigned k = 0; k < ARRAY_COUNT(kinds); k++)
			if (item.tag == kinds[k].tag &&
			    (!one || slice_eq(s->tag, slice_of(kinds[k].modifier))))
				add_item(str, &first, s->separator, one ? SLICE_EMPTY : kinds[k].prefix,
					 item.body);
	return !first;
}

static bool field_ocsp(struct str *str, const struct selector *s, const struct x509 *cert)
{
	bool first = true;
	struct slice uri;

	for (unsigned n = 0; n < 32 && x509_access_uri(cert, oid_ocsp, n, &uri); n++)
		add_item(str, &first, s->separator, SLICE_EMPTY, uri);
	return !first;
}

/* CRLDistributionPoints: each may have a full name, which is a list of general names. */
static bool field_crl(struct str *str, const struct selector *s, const struct x509 *cert)
{
	struct der_item list, point, name, full, uri;
	bool first = true;
	struct slice value;

	if (!x509_extension(cert, oid_crl_points, &value) || !der_expect(&value, DER_SEQUENCE, &list))
		return false;
	while (der_expect(&list.body, DER_SEQUENCE, &point)) {
		if (!der_expect(&point.body, DER_CONTEXT_OF(0), &name) ||
		    !der_expect(&name.body, DER_CONTEXT_OF(0), &full))
			continue;
		while (der_next(&full.body, &uri))
			if (uri.tag == DER_CONTEXT(6))
				add_item(str, &first, s->separator, SLICE_EMPTY, uri.body);
	}
	return !first;
}

static bool field_serial(struct str *str, const struct x509 *cert)
{
	struct str hex = str_make(str->arena);
	struct slice text;

	hex_encode(&hex, cert->serial, false);
	text = str_slice(&hex);
	while (text.ptr && text.len > 1 && text.ptr[0] == '0')
		text = slice_from(text, 1);
	str_add(str, text.ptr ? text : SLICE_EMPTY);
	return true;
}

static enum rc extract(struct str *str, const struct selector *s, const struct x509 *cert, struct err *err)
{
	bool found;

	if (slice_eq(s->field, SLICE("version"))) {
		str_addu(str, cert->version);
		found = true;
	} else if (slice_eq(s->field, SLICE("serial_number"))) {
		found = field_serial(str, cert);
	} else if (slice_eq(s->field, SLICE("subject"))) {
		found = field_name(str, s, cert->subject);
	} else if (slice_eq(s->field, SLICE("issuer"))) {
		found = field_name(str, s, cert->issuer);
	} else if (slice_eq(s->field, SLICE("notbefore"))) {
		found = field_time(str, s, cert->not_before);
	} else if (slice_eq(s->field, SLICE("notafter"))) {
		found = field_time(str, s, cert->not_after);
	} else if (slice_eq(s->field, SLICE("sig_algorithm"))) {
		found = field_algorithm(str, cert);
	} else if (slice_eq(s->field, SLICE("signature"))) {
		found = field_signature(str, cert);
	} else if (slice_eq(s->field, SLICE("subj_altname"))) {
		found = field_alt_names(str, s, cert);
	} else if (slice_eq(s->field, SLICE("ocsp_uri"))) {
		found = field_ocsp(str, s, cert);
	} else if (slice_eq(s->field, SLICE("crl_uri"))) {
		found = field_crl(str, s, cert);
	} else {
		return err_set(err, FAIL, "bad field selector \"%.*s\" for certextract", SLICE_ARG(s->field));
	}
	return found ? OK : FAIL;
}

/* ---- The door ------------------------------------------------------------------------------------------------------------ */

enum rc tls_certificate_der(struct arena *arena, struct slice pem, struct slice *der_ret, struct err *err)
{
	struct slice label;
	enum rc rc = pem_next(arena, &pem, &label, der_ret, err);

	if (rc == OK && slice_eq(label, SLICE("CERTIFICATE")))
		return OK;
	return err_set(err, FAIL, "this is no certificate");
}

enum rc tls_certificate_field(struct arena *arena, struct slice pem, struct slice selector, struct slice *ret,
			      struct err *err)
{
	struct selector s = parse_selector(selector);
	struct str str = str_make(arena);
	struct x509 cert;
	struct slice der;
	enum rc rc = tls_certificate_der(arena, pem, &der, err);

	if (rc == OK && !x509_parse(der, &cert))
		rc = err_set(err, FAIL, "this is no certificate");
	if (rc == OK)
		rc = extract(&str, &s, &cert, err);
	if (rc != OK)
		return rc;
	*ret = str_slice(&str);
	return ret->ptr ? OK : err_memory(err);
}
