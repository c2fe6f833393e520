/* Certificates taken apart. */
#include "x509.h"

const struct slice oid_subject_alt_name = SLICE_INIT("\x55\x1d\x11");
const struct slice oid_basic_constraints = SLICE_INIT("\x55\x1d\x13");
const struct slice oid_key_usage = SLICE_INIT("\x55\x1d\x0f");
const struct slice oid_crl_points = SLICE_INIT("\x55\x1d\x1f");
const struct slice oid_extended_key_usage = SLICE_INIT("\x55\x1d\x25");
const struct slice oid_authority_access = SLICE_INIT("\x2b\x06\x01\x05\x05\x07\x01\x01");
const struct slice oid_tls_feature = SLICE_INIT("\x2b\x06\x01\x05\x05\x07\x01\x18");
const struct slice oid_ocsp = SLICE_INIT("\x2b\x06\x01\x05\x05\x07\x30\x01");
const struct slice oid_ocsp_basic = SLICE_INIT("\x2b\x06\x01\x05\x05\x07\x30\x01\x01");
const struct slice oid_ocsp_nocheck = SLICE_INIT("\x2b\x06\x01\x05\x05\x07\x30\x01\x05");
const struct slice oid_ocsp_signing = SLICE_INIT("\x2b\x06\x01\x05\x05\x07\x03\x09");
const struct slice oid_common_name = SLICE_INIT("\x55\x04\x03");

static bool parse_validity(struct slice *tbs, struct x509 *cert)
{
	struct der_item validity, begin, end;

	return der_expect(tbs, DER_SEQUENCE, &validity) && der_next(&validity.body, &begin) &&
	       der_next(&validity.body, &end) && der_time(&begin, &cert->not_before) &&
	       der_time(&end, &cert->not_after);
}

static bool parse_key(struct slice *tbs, struct x509 *cert)
{
	struct der_item info, algorithm, bits;

	if (!der_expect(tbs, DER_SEQUENCE, &info))
		return false;
	cert->key_info = info.whole;
	return der_expect(&info.body, DER_SEQUENCE, &algorithm) &&
	       der_expect(&info.body, DER_BIT_STRING, &bits) && der_bits(bits.body, &cert->key_bits);
}

static bool parse_tbs(struct slice tbs, struct x509 *cert)
{
	struct der_item item, number;

	cert->version = 1;
	if (der_optional(&tbs, DER_CONTEXT_OF(0), &item)) {
		if (!der_expect(&item.body, DER_INTEGER, &number) || !der_small(number.body, &cert->version))
			return false;
		cert->version++;
	}
	if (!der_expect(&tbs, DER_INTEGER, &item))
		return false;
	cert->serial = item.body;
	if (!der_expect(&tbs, DER_SEQUENCE, &item)) /* the signature's algorithm, told again outside */
		return false;
	if (!der_expect(&tbs, DER_SEQUENCE, &item))
		return false;
	cert->issuer = item.whole;
	if (!parse_validity(&tbs, cert) || !der_expect(&tbs, DER_SEQUENCE, &item))
		return false;
	cert->subject = item.whole;
	if (!parse_key(&tbs, cert))
		return false;
	cert->extensions = SLICE_EMPTY;
	(void)der_optional(&tbs, DER_CONTEXT(1), &item); /* unique identifiers: nobody uses them */
	(void)der_optional(&tbs, DER_CONTEXT(2), &item);
	if (!der_optional(&tbs, DER_CONTEXT_OF(3), &item))
		return true;
	if (!der_expect(&item.body, DER_SEQUENCE, &number))
		return false;
	cert->extensions = number.body;
	return true;
}

bool x509_parse(struct slice der, struct x509 *ret)
{
	struct der_item cert, tbs, algorithm, signature;
	struct x509 x = {.version = 0};

	if (!der_expect(&der, DER_SEQUENCE, &cert) || der.len > 0)
		return false;
	x.whole = cert.whole;
	if (!der_expect(&cert.body, DER_SEQUENCE, &tbs) ||
	    !der_expect(&cert.body, DER_SEQUENCE, &algorithm) ||
	    !der_expect(&cert.body, DER_BIT_STRING, &signature) || !der_bits(signature.body, &x.signature) ||
	    !parse_tbs(tbs.body, &x))
		return false;
	x.tbs = tbs.whole;
	x.signature_algorithm = algorithm.whole;
	*ret = x;
	return true;
}

bool x509_extension(const struct x509 *cert, struct slice oid, struct slice *value_ret)
{
	struct slice rest = cert->extensions;
	struct der_item extension, type, value;

	while (der_expect(&rest, DER_SEQUENCE, &extension)) {
		struct slice body = extension.body;

		if (!der_expect(&body, DER_OID, &type))
			return false;
		if (!slice_eq(type.body, oid))
			continue;
		(void)der_optional(&body, DER_BOOLEAN, &value);
		if (!der_expect(&body, DER_OCTET_STRING, &value))
			return false;
		*value_ret = value.body;
		return true;
	}
	return false;
}

bool x509_subject_alt_names(const struct x509 *cert, struct slice *names_ret)
{
	struct der_item names;
	struct slice value;

	if (!x509_extension(cert, oid_subject_alt_name, &value) || !der_expect(&value, DER_SEQUENCE, &names))
		return false;
	*names_ret = names.body;
	return true;
}

void x509_name_walk(struct x509_name_walk *walk, struct slice name)
{
	struct der_item item;

	*walk = (struct x509_name_walk){SLICE_EMPTY, SLICE_EMPTY};
	if (der_expect(&name, DER_SEQUENCE, &item))
		walk->rest = item.body;
}

bool x509_name_next(struct x509_name_walk *walk, struct x509_attribute *ret)
{
	struct der_item set, pair, type;

	while (walk->rdn.len == 0) {
		if (!der_expect(&walk->rest, DER_SET, &set))
			return false;
		walk->rdn = set.body;
	}
	if (!der_expect(&walk->rdn, DER_SEQUENCE, &pair) || !der_expect(&pair.body, DER_OID, &type) ||
	    !der_next(&pair.body, &ret->value))
		return false;
	ret->type = type.body;
	return true;
}

bool x509_string(struct arena *arena, const struct der_item *value, struct slice *ret)
{
	unsigned width = value->tag == DER_BMP ? 2 : value->tag == DER_UNIVERSAL ? 4 : 1;
	struct slice body = value->body;
	struct str str = str_make(arena);

	switch (value->tag) {
	case DER_UTF8:
	case DER_PRINTABLE:
	case DER_IA5:
		*ret = slice_tainted(body);
		return true;
	case DER_TELETEX: /* in practice ISO 8859-1 */
	case DER_BMP:
	case DER_UNIVERSAL:
		break;
	default:
		return false;
	}
	for (uint32_t i = 0; i + width <= body.len; i += width) {
		uint32_t c = 0;
		for (unsigned k = 0; k < width; k++)
			c = c << 8 | (uint8_t)body.ptr[i + k];
		str_add_utf8(&str, c);
	}
	*ret = slice_tainted(str_slice(&str));
	return ret->ptr != NULL;
}

bool x509_common_name(struct arena *arena, const struct x509 *cert, struct slice *ret)
{
	struct x509_name_walk walk;
	struct x509_attribute attribute;
	bool found = false;

	x509_name_walk(&walk, cert->subject);
	while (x509_name_next(&walk, &attribute))
		if (slice_eq(attribute.type, oid_common_name))
			found = x509_string(arena, &attribute.value, ret);
	return found;
}

bool x509_has_purpose(const struct x509 *cert, struct slice purpose, bool otherwise)
{
	struct der_item list, item;
	struct slice value;

	if (!x509_extension(cert, oid_extended_key_usage, &value))
		return otherwise;
	if (!der_expect(&value, DER_SEQUENCE, &list))
		return false;
	while (der_expect(&list.body, DER_OID, &item))
		if (slice_eq(item.body, purpose))
			return true;
	return false;
}

bool x509_access_uri(const struct x509 *cert, struct slice method, unsigned n, struct slice *uri_ret)
{
	struct der_item list, description, type, location;
	struct slice value;

	if (!x509_extension(cert, oid_authority_access, &value) || !der_expect(&value, DER_SEQUENCE, &list))
		return false;
	while (der_expect(&list.body, DER_SEQUENCE, &description)) {
		if (!der_expect(&description.body, DER_OID, &type) || !slice_eq(type.body, method) ||
		    !der_expect(&description.body, DER_CONTEXT(6), &location))
			continue;
		if (n-- == 0) {
			*uri_ret = slice_tainted(location.body);
			return true;
		}
	}
	return false;
}

/* ---- PEM (RFC 7468) ------------------------------------------------------------------------------------------------ */

/* Up to and with the next line end. */
static bool take_line(struct slice *rest, struct slice *line_ret)
{
	ptrdiff_t end;

	if (rest->len == 0)
		return false;
	end = slice_find(*rest, '\n');
	*line_ret = slice_rtrim(slice_sub(*rest, 0, end < 0 ? rest->len : (size_t)end));
	*rest = slice_from(*rest, end < 0 ? rest->len : (size_t)end + 1);
	return true;
}

enum rc pem_next(struct arena *arena, struct slice *rest, struct slice *label_ret, struct slice *der_ret,
		 struct err *err)
{
	const struct slice begin = SLICE("-----BEGIN "), end = SLICE("-----END "), dashes = SLICE("-----");
	struct str text = str_make(arena), der = str_make(arena);
	struct slice line;

	do {
		if (!take_line(rest, &line))
			return FAIL;
	} while (!slice_starts(line, begin) || !slice_ends(line, dashes) ||
		 line.len < begin.len + dashes.len);
	*label_ret = slice_sub(line, begin.len, line.len - begin.len - dashes.len);
	for (;;) {
		if (!take_line(rest, &line))
			return err_set(err, DEFER, "a PEM block has no end");
		if (slice_starts(line, end))
			break;
		if (slice_find(line, ':') < 0) /* headers of older private keys */
			str_add(&text, line);
	}
	if (text.failed)
		return err_memory(err);
	if (!base64_decode(&der, str_slice(&text)))
		return err_set(err, DEFER, "a PEM block is not valid base64");
	*der_ret = str_slice(&der);
	return der_ret->ptr ? OK : err_memory(err);
}

void pem_write(struct str *str, const char *label, struct slice der)
{
	struct str text = str_make(str->arena);
	struct slice rest;

	base64_encode(&text, der);
	rest = str_slice(&text);
	if (!rest.ptr) {
		str->failed = true;
		return;
	}
	str_printf(str, "-----BEGIN %s-----\n", label);
	while (rest.len > 0) {
		str_add(str, slice_sub(rest, 0, 64));
		str_addc(str, '\n');
		rest = slice_from(rest, 64);
	}
	str_printf(str, "-----END %s-----\n", label);
}
