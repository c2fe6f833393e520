/* hello: the parser of a ClientHello. Every length is checked against what there is. */
#include "tls/hello.h"

#include "tls/tls.h"

#define RECORD_HANDSHAKE 22
#define RECORD_SIZE_MAX  16384u
#define CLIENT_HELLO     1
#define RECORD_COUNT_MAX 64 /* a hello in single bytes would cost us more than it costs the client */

enum extension {
	EXT_SERVER_NAME = 0,
	EXT_STATUS_REQUEST = 5,
	EXT_SUPPORTED_GROUPS = 10,
	EXT_SIGNATURE_ALGORITHMS = 13,
	EXT_ALPN = 16,
	EXT_SESSION_TICKET = 35,
	EXT_PRE_SHARED_KEY = 41,
	EXT_SUPPORTED_VERSIONS = 43,
	EXT_PSK_MODES = 45,
};

/* Takes a number of so many bytes, or the bytes that it counts, off the front. */
static bool take_number(struct slice *in, unsigned bytes, uint32_t *number_ret)
{
	uint32_t number = 0;

	if (in->len < bytes)
		return false;
	for (unsigned i = 0; i < bytes; i++)
		number = number << 8 | (uint8_t)in->ptr[i];
	*in = slice_from(*in, bytes);
	*number_ret = number;
	return true;
}

static bool take_vector(struct slice *in, unsigned length_bytes, struct slice *vector_ret)
{
	uint32_t len;

	if (!take_number(in, length_bytes, &len) || len > in->len)
		return false;
	*vector_ret = slice_sub(*in, 0, len);
	*in = slice_from(*in, len);
	return true;
}

/* The handshake message that the records carry, without their headers. WHOLE when it is complete. */
static enum tls_hello_state gather(struct arena *arena, struct slice bytes, uint32_t *need_ret,
				   struct slice *body_ret)
{
	struct str message = str_make(arena);
	uint32_t type, version, len, want = 0, used = 0;

	for (unsigned records = 0; records < RECORD_COUNT_MAX; records++) {
		struct slice head = slice_sub(bytes, 0, 5), part;

		/* Known before the header is whole: other protocols need not send five bytes. */
		if (head.len && (uint8_t)head.ptr[0] != RECORD_HANDSHAKE)
			return TLS_HELLO_NONE;
		if (head.len > 1 && (uint8_t)head.ptr[1] != 3)
			return TLS_HELLO_NONE;
		*need_ret = used + 5;
		if (!take_number(&head, 1, &type) || !take_number(&head, 2, &version) ||
		    !take_number(&head, 2, &len))
			return TLS_HELLO_PART;
		used += 5 + len;
		*need_ret = used;
		if (!len || len > RECORD_SIZE_MAX)
			return TLS_HELLO_MALFORMED;
		part = slice_sub(bytes, 5, len);
		str_add(&message, part);
		bytes = slice_from(bytes, 5 + (size_t)part.len);
		if (message.failed)
			return TLS_HELLO_MALFORMED;
		if (message.len && message.ptr[0] != CLIENT_HELLO)
			return TLS_HELLO_NONE;
		if (message.len >= 4) {
			struct slice length = slice_make(message.ptr + 1, 3, TAINTED);

			(void)take_number(&length, 3, &want);
			if (want > TLS_HELLO_MAX)
				return TLS_HELLO_MALFORMED;
			if (message.len >= 4 + want) {
				*body_ret = slice_make(message.ptr + 4, want, TAINTED);
				return TLS_HELLO_WHOLE;
			}
		}
		if (part.len < len)
			return TLS_HELLO_PART;
	}
	return TLS_HELLO_MALFORMED;
}

/* A name that options are expanded with, into paths and queries, before anybody knows who is there: letters of names of hosts and
 * addresses only (and of U-labels, which should not come, but do no harm), and nothing that leads to the folder above. */
static bool is_host_name(struct slice name)
{
	for (uint32_t i = 0; i < name.len; i++) {
		uint8_t byte = (uint8_t)name.ptr[i];
		bool alnum = (byte >= '0' && byte <= '9') || ((byte | 32) >= 'a' && (byte | 32) <= 'z');

		if (!alnum && byte < 0x80 && slice_find(SLICE("-._:[]"), (char)byte) < 0)
			return false;
		if (byte == '.' && (i == 0 || name.ptr[i - 1] == '.'))
			return false;
	}
	return name.len > 0 && name.len <= 255;
}

/* RFC 6066 section 3: a list in which only one kind of name was ever defined. */
static bool read_server_name(struct slice body, struct tls_hello *hello)
{
	struct slice list, name;
	uint32_t type;

	if (!take_vector(&body, 2, &list))
		return false;
	while (list.len) {
		if (!take_number(&list, 1, &type) || !take_vector(&list, 2, &name))
			return false;
		if (type == 0 && !is_host_name(name))
			return false;
		if (type == 0 && !hello->sni.len)
			hello->sni = name;
	}
	return true;
}

static bool read_signature_algorithms(struct slice body, struct tls_hello *hello)
{
	struct slice list;
	uint32_t algorithm;

	if (!take_vector(&body, 2, &list))
		return false;
	while (list.len) {
		if (!take_number(&list, 2, &algorithm))
			return false;
		/* RFC 8446 section 4.2.3; in TLS 1.2 the low byte is the kind of key. */
		switch (algorithm) {
		case 0x0401: /* rsa_pkcs1_sha256 */
		case 0x0804: /* rsa_pss_rsae_sha256 */
			hello->rsa_pss_last = algorithm == 0x0804;
			hello->rsa = true;
			break;
		case 0x0501:
		case 0x0601:
		case 0x0805:
		case 0x0806:
			hello->rsa = true;
			break;
		case 0x0403:
		case 0x0503:
		case 0x0603:
			hello->ecdsa = true;
			break;
		}
	}
	return true;
}

static bool read_versions(struct slice body, struct tls_hello *hello)
{
	struct slice list;
	uint32_t version;

	if (!take_vector(&body, 1, &list))
		return false;
	hello->tls12 = false; /* what stands in front of it counts no more (RFC 8446 section 4.2.1) */
	while (list.len) {
		if (!take_number(&list, 2, &version))
			return false;
		hello->tls12 |= version == 0x0303;
		hello->tls13 |= version == 0x0304;
	}
	return true;
}

static bool read_extension(uint32_t type, struct slice body, struct tls_hello *hello)
{
	switch (type) {
	case EXT_SERVER_NAME:
		return read_server_name(body, hello);
	case EXT_STATUS_REQUEST:
		hello->ocsp = body.len && body.ptr[0] == 1;
		return true;
	case EXT_SUPPORTED_GROUPS:
		return take_vector(&body, 2, &hello->groups) && hello->groups.len % 2 == 0;
	case EXT_SIGNATURE_ALGORITHMS:
		return read_signature_algorithms(body, hello);
	case EXT_ALPN:
		return take_vector(&body, 2, &hello->alpn);
	case EXT_SESSION_TICKET:
		hello->ticket = true;
		hello->offers |= body.len != 0;
		return true;
	case EXT_PRE_SHARED_KEY:
		hello->offers = true;
		return true;
	case EXT_SUPPORTED_VERSIONS:
		return read_versions(body, hello);
	case EXT_PSK_MODES:
		hello->ticket = true;
		return true;
	default:
		return true;
	}
}

/* Is an ECDHE_ECDSA suite among them? TLS 1.2 has the kind of certificate in the suite. */
static bool has_ecdsa_suite(struct slice suites)
{
	uint32_t suite;

	while (take_number(&suites, 2, &suite))
		if (suite == 0xc009 || suite == 0xc00a || suite == 0xc023 || suite == 0xc024 ||
		    suite == 0xc02b || suite == 0xc02c || suite == 0xcca9 || suite == 0xc0ac ||
		    suite == 0xc0ad || suite == 0xc0ae || suite == 0xc0af)
			return true;
	return false;
}

static bool read_body(struct slice body, struct tls_hello *hello)
{
	struct slice session_id, suites, compression, extensions, one;
	uint32_t version, type;

	if (!take_number(&body, 2, &version) || body.len < 32)
		return false;
	hello->tls12 = version >= 0x0303;
	body = slice_from(body, 32);
	if (!take_vector(&body, 1, &session_id) || session_id.len > 32 || !take_vector(&body, 2, &suites) ||
	    suites.len % 2 || !take_vector(&body, 1, &compression))
		return false;
	hello->suites = suites;
	if (!body.len)
		return true; /* no extensions: RFC 5246 allows that */
	if (!take_vector(&body, 2, &extensions) || body.len)
		return false;
	while (extensions.len)
		if (!take_number(&extensions, 2, &type) || !take_vector(&extensions, 2, &one) ||
		    !read_extension(type, one, hello))
			return false;
	if (!hello->tls13)
		hello->ecdsa &= has_ecdsa_suite(suites);
	return true;
}

static bool is_among(struct slice numbers, unsigned number)
{
	uint32_t offered;

	while (take_number(&numbers, 2, &offered))
		if (offered == number)
			return true;
	return false;
}

bool tls_hello_offers(const struct tls_hello *hello, unsigned group)
{
	return is_among(hello->groups, group);
}

bool tls_hello_has_suite(const struct tls_hello *hello, unsigned suite)
{
	return is_among(hello->suites, suite);
}

enum tls_hello_state tls_hello_parse(struct arena *arena, struct slice bytes, uint32_t *need_ret,
				     struct tls_hello *hello)
{
	struct slice body;
	enum tls_hello_state state = gather(arena, bytes, need_ret, &body);

	*hello = (struct tls_hello){
	    .sni = SLICE_EMPTY, .alpn = SLICE_EMPTY, .groups = SLICE_EMPTY, .suites = SLICE_EMPTY};
	if (state != TLS_HELLO_WHOLE)
		return state;
	return read_body(body, hello) ? TLS_HELLO_WHOLE : TLS_HELLO_MALFORMED;
}
