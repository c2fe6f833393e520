/* From OpenSSL's cipher lists and GnuTLS's priority strings to the library's list. Both choose from one table of what there is: a
 * set of suites with an order. OpenSSL's language is one of edits ("ECDHE+AESGCM:!aNULL:@STRENGTH"); GnuTLS's one of properties
 * ("NORMAL:-VERS-ALL:+VERS-TLS1.2:-AES-128-CBC"), where a suite is there when all its parts are. */
#include "ciphers.h"

enum kx { KX_ANY = 1, KX_ECDHE = 2, KX_DHE = 4 };
enum authentication { AUTH_ANY = 1, AUTH_RSA = 2, AUTH_ECDSA = 4 };
enum bulk {
	BULK_AES128_GCM = 1,
	BULK_AES256_GCM = 2,
	BULK_CHACHA = 4,
	BULK_AES128_CCM = 8,
	BULK_AES128_CCM8 = 16,
	BULK_AES256_CCM8 = 32,
	BULK_AES128_CBC = 64,
	BULK_AES256_CBC = 128,
	BULK_CAMELLIA128 = 256,
	BULK_CAMELLIA256 = 512,
};
#define BULK_AES128 (BULK_AES128_GCM | BULK_AES128_CCM | BULK_AES128_CCM8 | BULK_AES128_CBC)
#define BULK_AES256 (BULK_AES256_GCM | BULK_AES256_CCM8 | BULK_AES256_CBC)
#define BULK_ALL    0x3ff
enum mac { MAC_AEAD = 1, MAC_SHA1 = 2, MAC_SHA256 = 4, MAC_SHA384 = 8 };

struct suite {
	const char *name; /* the library's */
	const char *openssl;
	const char *registered;
	enum kx kx;
	enum authentication authentication;
	enum bulk bulk;
	enum mac mac;
	unsigned digest; /* what OpenSSL counts AEAD suites among: SHA256 or SHA384 */
};
/* Best first: the order of the default. Nothing anonymous, without encryption, or with RC4 or 3DES; nothing without forward
 * secrecy is built into the library. */
static const struct suite suites[] = {
    {"TLS13-AES256-GCM-SHA384", "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", KX_ANY, AUTH_ANY,
     BULK_AES256_GCM, MAC_AEAD, MAC_SHA384},
    {"TLS13-CHACHA20-POLY1305-SHA256", "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", KX_ANY,
     AUTH_ANY, BULK_CHACHA, MAC_AEAD, MAC_SHA256},
    {"TLS13-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", KX_ANY, AUTH_ANY,
     BULK_AES128_GCM, MAC_AEAD, MAC_SHA256},
#define ROW(kx, auth, bulk, mac, digest, name, openssl, registered)    \
	{                                                              \
		name, openssl, registered, kx, auth, bulk, mac, digest \
	}
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES256_GCM, MAC_AEAD, MAC_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384",
	"ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ROW(KX_ECDHE, AUTH_RSA, BULK_AES256_GCM, MAC_AEAD, MAC_SHA384, "ECDHE-RSA-AES256-GCM-SHA384",
	"ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_CHACHA, MAC_AEAD, MAC_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305",
	"ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ROW(KX_ECDHE, AUTH_RSA, BULK_CHACHA, MAC_AEAD, MAC_SHA256, "ECDHE-RSA-CHACHA20-POLY1305",
	"ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES128_GCM, MAC_AEAD, MAC_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256",
	"ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ROW(KX_ECDHE, AUTH_RSA, BULK_AES128_GCM, MAC_AEAD, MAC_SHA256, "ECDHE-RSA-AES128-GCM-SHA256",
	"ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ROW(KX_DHE, AUTH_RSA, BULK_AES256_GCM, MAC_AEAD, MAC_SHA384, "DHE-RSA-AES256-GCM-SHA384",
	"DHE-RSA-AES256-GCM-SHA384", "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"),
    ROW(KX_DHE, AUTH_RSA, BULK_CHACHA, MAC_AEAD, MAC_SHA256, "DHE-RSA-CHACHA20-POLY1305",
	"DHE-RSA-CHACHA20-POLY1305", "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ROW(KX_DHE, AUTH_RSA, BULK_AES128_GCM, MAC_AEAD, MAC_SHA256, "DHE-RSA-AES128-GCM-SHA256",
	"DHE-RSA-AES128-GCM-SHA256", "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES128_CCM, MAC_AEAD, MAC_SHA256, "ECDHE-ECDSA-AES128-CCM",
	"ECDHE-ECDSA-AES128-CCM", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES256_CCM8, MAC_AEAD, MAC_SHA256, "ECDHE-ECDSA-AES256-CCM-8",
	"ECDHE-ECDSA-AES256-CCM8", "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES128_CCM8, MAC_AEAD, MAC_SHA256, "ECDHE-ECDSA-AES128-CCM-8",
	"ECDHE-ECDSA-AES128-CCM8", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES256_CBC, MAC_SHA384, 0, "ECDHE-ECDSA-AES256-SHA384",
	"ECDHE-ECDSA-AES256-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    ROW(KX_ECDHE, AUTH_RSA, BULK_AES256_CBC, MAC_SHA384, 0, "ECDHE-RSA-AES256-SHA384",
	"ECDHE-RSA-AES256-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES128_CBC, MAC_SHA256, 0, "ECDHE-ECDSA-AES128-SHA256",
	"ECDHE-ECDSA-AES128-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    ROW(KX_ECDHE, AUTH_RSA, BULK_AES128_CBC, MAC_SHA256, 0, "ECDHE-RSA-AES128-SHA256",
	"ECDHE-RSA-AES128-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    ROW(KX_DHE, AUTH_RSA, BULK_AES256_CBC, MAC_SHA256, 0, "DHE-RSA-AES256-SHA256", "DHE-RSA-AES256-SHA256",
	"TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
    ROW(KX_DHE, AUTH_RSA, BULK_AES128_CBC, MAC_SHA256, 0, "DHE-RSA-AES128-SHA256", "DHE-RSA-AES128-SHA256",
	"TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES256_CBC, MAC_SHA1, 0, "ECDHE-ECDSA-AES256-SHA",
	"ECDHE-ECDSA-AES256-SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    ROW(KX_ECDHE, AUTH_RSA, BULK_AES256_CBC, MAC_SHA1, 0, "ECDHE-RSA-AES256-SHA", "ECDHE-RSA-AES256-SHA",
	"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES128_CBC, MAC_SHA1, 0, "ECDHE-ECDSA-AES128-SHA",
	"ECDHE-ECDSA-AES128-SHA", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    ROW(KX_ECDHE, AUTH_RSA, BULK_AES128_CBC, MAC_SHA1, 0, "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES128-SHA",
	"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    ROW(KX_DHE, AUTH_RSA, BULK_AES256_CBC, MAC_SHA1, 0, "DHE-RSA-AES256-SHA", "DHE-RSA-AES256-SHA",
	"TLS_DHE_RSA_WITH_AES_256_CBC_SHA"),
    ROW(KX_DHE, AUTH_RSA, BULK_AES128_CBC, MAC_SHA1, 0, "DHE-RSA-AES128-SHA", "DHE-RSA-AES128-SHA",
	"TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
    ROW(KX_DHE, AUTH_RSA, BULK_CAMELLIA256, MAC_SHA256, 0, "DHE-RSA-CAMELLIA256-SHA256",
	"DHE-RSA-CAMELLIA256-SHA256", "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA256"),
    ROW(KX_DHE, AUTH_RSA, BULK_CAMELLIA128, MAC_SHA256, 0, "DHE-RSA-CAMELLIA128-SHA256",
	"DHE-RSA-CAMELLIA128-SHA256", "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA256"),
#undef ROW
};
#define SUITE_COUNT   (sizeof(suites) / sizeof(suites[0]))
#define TLS13_COUNT   3  /* the first rows */
#define DEFAULT_COUNT 27 /* all but Camellia */

static bool is_word(struct slice text, const char *word)
{
	return slice_eq(text, slice_of(word));
}

/* ---- OpenSSL ----------------------------------------------------------------------------------------------------------- */

/* The list as it stands: the suites in it, in order; what was killed cannot come back. */
struct edit {
	uint8_t order[SUITE_COUNT];
	unsigned count;
	bool killed[SUITE_COUNT];
	struct err *err;
};

/* What a word stands for, as a set of suites; each part says which values it wants, 0: any. */
struct word {
	const char *text;
	unsigned kx, authentication, bulk, mac;
	bool aead_too; /* mac means the digest of AEAD suites as well */
	bool nothing;  /* known, but there are no such suites here */
};
static const struct word words[] = {
    {.text = "ALL"},
    {.text = "COMPLEMENTOFALL", .nothing = true},
    {.text = "COMPLEMENTOFDEFAULT", .bulk = BULK_CAMELLIA128 | BULK_CAMELLIA256},
    {.text = "HIGH"},
    {.text = "kECDHE", .kx = KX_ECDHE},
    {.text = "kEECDH", .kx = KX_ECDHE},
    {.text = "ECDHE", .kx = KX_ECDHE},
    {.text = "EECDH", .kx = KX_ECDHE},
    {.text = "kDHE", .kx = KX_DHE},
    {.text = "kEDH", .kx = KX_DHE},
    {.text = "DHE", .kx = KX_DHE},
    {.text = "EDH", .kx = KX_DHE},
    {.text = "aRSA", .authentication = AUTH_RSA},
    {.text = "aECDSA", .authentication = AUTH_ECDSA},
    {.text = "ECDSA", .authentication = AUTH_ECDSA},
    {.text = "AES", .bulk = BULK_AES128 | BULK_AES256},
    {.text = "AES128", .bulk = BULK_AES128},
    {.text = "AES256", .bulk = BULK_AES256},
    {.text = "AESGCM", .bulk = BULK_AES128_GCM | BULK_AES256_GCM},
    {.text = "AESCCM", .bulk = BULK_AES128_CCM | BULK_AES128_CCM8 | BULK_AES256_CCM8},
    {.text = "AESCCM8", .bulk = BULK_AES128_CCM8 | BULK_AES256_CCM8},
    {.text = "CHACHA20", .bulk = BULK_CHACHA},
    {.text = "CAMELLIA", .bulk = BULK_CAMELLIA128 | BULK_CAMELLIA256},
    {.text = "CAMELLIA128", .bulk = BULK_CAMELLIA128},
    {.text = "CAMELLIA256", .bulk = BULK_CAMELLIA256},
    {.text = "SHA", .mac = MAC_SHA1},
    {.text = "SHA1", .mac = MAC_SHA1},
    {.text = "SHA256", .mac = MAC_SHA256, .aead_too = true},
    {.text = "SHA384", .mac = MAC_SHA384, .aead_too = true},
    {.text = "TLSv1.2", .mac = MAC_AEAD | MAC_SHA256 | MAC_SHA384},
    {.text = "TLSv1", .mac = MAC_SHA1},
    {.text = "TLSv1.0", .mac = MAC_SHA1},
    {.text = "SSLv3", .mac = MAC_SHA1},
};
/* Families that OpenSSL knows and that are not to be had here. To exclude them is no mistake, and so is to ask for them beside
 * others. */
static const char *const absent[] = {
    "MEDIUM",    "LOW",     "EXP",     "EXPORT",  "EXPORT40", "EXPORT56", "eNULL", "NULL",    "aNULL",
    "kRSA",      "RSA",     "kDH",     "kDHr",    "kDHd",     "DH",       "ADH",   "AECDH",   "kECDH",
    "kECDHe",    "kECDHr",  "ECDH",    "aECDH",   "aDSS",     "DSS",      "aDH",   "PSK",     "kPSK",
    "kECDHEPSK", "kDHEPSK", "kRSAPSK", "aPSK",    "SRP",      "kSRP",     "aSRP",  "RC4",     "RC2",
    "IDEA",      "SEED",    "DES",     "3DES",    "MD5",      "kGOST",    "aGOST", "aGOST01", "GOST89MAC",
    "GOST94",    "GOST12",  "ARIA",    "ARIA128", "ARIA256",  "ARIAGCM",  "SSLv2", "aFZA",    "kFZA",
    "FZA",       "KRB5",    "kKRB5",   "aKRB5",
};

static bool suite_in(const struct suite *suite, const struct word *word)
{
	unsigned mac = suite->mac;

	if (word->nothing)
		return false;
	if (word->aead_too && mac == MAC_AEAD)
		mac = suite->digest;
	return (!word->kx || (word->kx & suite->kx)) &&
	       (!word->authentication || (word->authentication & suite->authentication)) &&
	       (!word->bulk || (word->bulk & suite->bulk)) && (!word->mac || (word->mac & mac));
}

/* Is it the name of a suite (ours or one that another library has)? Those have hyphens or the registry's prefix. */
static bool looks_like_suite(struct slice name)
{
	return slice_find(name, '-') > 0 || slice_starts(name, SLICE("TLS_"));
}

/* A set: words joined with "+". *known_ret false: one of them is no word at all. */
static void find_set(struct slice text, bool set[SUITE_COUNT], bool *known_ret)
{
	struct slice word;

	*known_ret = true;
	for (unsigned i = 0; i < SUITE_COUNT; i++)
		set[i] = i >= TLS13_COUNT; /* those of TLS 1.3 are not touched by cipher lists */
	while (slice_split(&text, '+', &word)) {
		bool known = false;

		for (unsigned i = TLS13_COUNT; i < SUITE_COUNT; i++)
			known |= is_word(word, suites[i].openssl) || is_word(word, suites[i].registered);
		if (known || looks_like_suite(word)) {
			for (unsigned i = 0; i < SUITE_COUNT; i++)
				set[i] &=
				    is_word(word, suites[i].openssl) || is_word(word, suites[i].registered);
			continue;
		}
		for (unsigned w = 0; w < sizeof(words) / sizeof(words[0]) && !known; w++)
			if (is_word(word, words[w].text)) {
				known = true;
				for (unsigned i = 0; i < SUITE_COUNT; i++)
					set[i] &= suite_in(&suites[i], &words[w]);
			}
		for (unsigned w = 0; w < sizeof(absent) / sizeof(absent[0]) && !known; w++)
			if (is_word(word, absent[w])) {
				known = true;
				memset(set, 0, SUITE_COUNT * sizeof(*set));
			}
		*known_ret &= known;
	}
}

static void edit_remove(struct edit *e, const bool set[SUITE_COUNT], uint8_t *removed,
			unsigned *removed_count)
{
	unsigned kept = 0;

	*removed_count = 0;
	for (unsigned i = 0; i < e->count; i++)
		if (set[e->order[i]])
			removed[(*removed_count)++] = e->order[i];
		else
			e->order[kept++] = e->order[i];
	e->count = kept;
}

static void edit_add(struct edit *e, const bool set[SUITE_COUNT])
{
	for (unsigned s = 0; s < SUITE_COUNT; s++) {
		bool there = e->killed[s] || !set[s];

		for (unsigned i = 0; i < e->count && !there; i++)
			there = e->order[i] == s;
		if (!there)
			e->order[e->count++] = (uint8_t)s;
	}
}

static enum rc edit_apply(struct edit *e, struct slice item)
{
	char sign = item.ptr[0];
	bool set[SUITE_COUNT], known;
	uint8_t removed[SUITE_COUNT];
	unsigned count;

	if (sign == '@') {
		if (is_word(item, "@STRENGTH") || slice_starts(item, SLICE("@SECLEVEL=")))
			return OK; /* ours are in that order, and none is below level 2 but for SHA-1 MACs */
		return err_set(e->err, FAIL, "\"%.*s\" is not supported in a cipher list", SLICE_ARG(item));
	}
	if (sign == '!' || sign == '-' || sign == '+')
		item = slice_from(item, 1);
	else
		sign = ' ';
	if (sign == ' ' && (is_word(item, "DEFAULT") || is_word(item, "OPENSSL_DEFAULT"))) {
		for (unsigned s = 0; s < SUITE_COUNT; s++)
			set[s] = s >= TLS13_COUNT && s < DEFAULT_COUNT;
		edit_add(e, set);
		return OK;
	}
	find_set(item, set, &known);
	if (!known || item.len == 0)
		return err_set(e->err, FAIL, "\"%.*s\" is no word of a cipher list", SLICE_ARG(item));
	if (sign == ' ') {
		edit_add(e, set);
		return OK;
	}
	edit_remove(e, set, removed, &count);
	for (unsigned s = 0; sign == '!' && s < SUITE_COUNT; s++)
		e->killed[s] |= set[s];
	for (unsigned i = 0; sign == '+' && i < count; i++)
		e->order[e->count++] = removed[i];
	return OK;
}

static enum rc choose_openssl(struct arena *arena, struct slice text, struct cipher_choice *ret,
			      struct err *err)
{
	struct edit e = {.err = err};
	struct str list = str_make(arena);
	struct slice rest = text;
	enum rc rc = OK;

	while (rest.len > 0 && rc == OK) {
		uint32_t n = 0;

		while (n < rest.len && slice_find(SLICE(":;, \t\n"), rest.ptr[n]) < 0)
			n++;
		if (n > 0)
			rc = edit_apply(&e, slice_sub(rest, 0, n));
		rest = slice_from(rest, n + 1ul);
	}
	if (rc != OK)
		return rc;
	if (e.count == 0)
		return err_set(err, FAIL, "no cipher of \"%.*s\" is available", SLICE_ARG(text));
	for (unsigned i = 0; i < TLS13_COUNT; i++)
		str_printf(&list, "%s%s", i ? ":" : "", suites[i].name);
	for (unsigned i = 0; i < e.count; i++)
		str_printf(&list, ":%s", suites[e.order[i]].name);
	ret->list = str_slice(&list);
	ret->tls12 = ret->tls13 = true;
	return ret->list.ptr ? OK : err_memory(err);
}

/* ---- GnuTLS ------------------------------------------------------------------------------------------------------------ */

struct priority {
	unsigned versions; /* 1: TLS 1.2, 2: TLS 1.3 */
	unsigned kx, authentication, bulk, mac;
	struct str groups;
	bool groups_chosen;
};
struct property {
	const char *text;
	unsigned versions, kx, authentication, bulk, mac;
};
static const struct property properties[] = {
    {.text = "VERS-TLS1.2", .versions = 1},
    {.text = "VERS-TLS1.3", .versions = 2},
    {.text = "VERS-TLS-ALL", .versions = 3},
    {.text = "VERS-ALL", .versions = 3},
    {.text = "ECDHE-RSA", .kx = KX_ECDHE, .authentication = AUTH_RSA},
    {.text = "ECDHE-ECDSA", .kx = KX_ECDHE, .authentication = AUTH_ECDSA},
    {.text = "DHE-RSA", .kx = KX_DHE, .authentication = AUTH_RSA},
    {.text = "KX-ALL", .kx = KX_ECDHE | KX_DHE, .authentication = AUTH_RSA | AUTH_ECDSA},
    {.text = "AES-128-GCM", .bulk = BULK_AES128_GCM},
    {.text = "AES-256-GCM", .bulk = BULK_AES256_GCM},
    {.text = "AES-128-CCM", .bulk = BULK_AES128_CCM},
    {.text = "AES-128-CCM-8", .bulk = BULK_AES128_CCM8},
    {.text = "AES-256-CCM-8", .bulk = BULK_AES256_CCM8},
    {.text = "AES-128-CBC", .bulk = BULK_AES128_CBC},
    {.text = "AES-256-CBC", .bulk = BULK_AES256_CBC},
    {.text = "CHACHA20-POLY1305", .bulk = BULK_CHACHA},
    {.text = "CAMELLIA-128-CBC", .bulk = BULK_CAMELLIA128},
    {.text = "CAMELLIA-256-CBC", .bulk = BULK_CAMELLIA256},
    {.text = "CIPHER-ALL", .bulk = BULK_ALL},
    {.text = "AEAD", .mac = MAC_AEAD},
    {.text = "SHA1", .mac = MAC_SHA1},
    {.text = "SHA256", .mac = MAC_SHA256},
    {.text = "SHA384", .mac = MAC_SHA384},
    {.text = "MAC-ALL", .mac = 15},
};
/* Known to GnuTLS, not to be had here, and so as good as excluded. */
static const char *const absent_properties[] = {
    "VERS-SSL3.0", "VERS-TLS1.0", "VERS-TLS1.1", "VERS-DTLS",  "RSA",    "DHE-DSS",   "ANON-",
    "PSK",         "ECDHE-PSK",   "DHE-PSK",     "RSA-PSK",    "SRP",    "VKO-",      "3DES-CBC",
    "ARCFOUR",     "RC2-",        "DES-CBC",     "NULL",       "MD5",    "AES-192-",  "AES-256-CCM",
    "CAMELLIA-",   "GOST",        "MAGMA",       "KUZNYECHIK", "UMAC",   "STREEBOG",  "SHA512",
    "SHA224",      "COMP-",       "CTYPE-",      "SIGN-",      "EXPORT", "RIPEMD160", "IDEA",
};
static const struct {
	const char *gnutls, *ours;
} groups[] = {
    {"SECP256R1", "P-256"}, {"SECP384R1", "P-384"},     {"SECP521R1", "P-521"},     {"X25519", "X25519"},
    {"X448", "X448"},       {"FFDHE2048", "ffdhe2048"}, {"FFDHE3072", "ffdhe3072"},
};
static const struct {
	const char *text;
	unsigned bulk, mac;
} starts[] = {
    {"NORMAL", BULK_ALL, 15},
    {"PERFORMANCE", BULK_ALL, 15},
    {"LEGACY", BULK_ALL, 15},
    {"PFS", BULK_ALL, 15},
    {"SECURE", BULK_ALL, 15},
    {"SECURE128", BULK_ALL, 15},
    {"SECURE192", BULK_AES256 | BULK_CHACHA | BULK_CAMELLIA256, 15},
    {"SECURE256", BULK_AES256 | BULK_CHACHA | BULK_CAMELLIA256, 15},
    {"SUITEB128", BULK_AES128_GCM | BULK_AES256_GCM, MAC_AEAD},
    {"SUITEB192", BULK_AES256_GCM, MAC_AEAD},
    {"SYSTEM", BULK_ALL, 15},
    {"NONE", 0, 0},
};

static bool start_priority(struct slice word, struct priority *p)
{
	if (slice_starts(word, SLICE("@")))
		word = slice_from(word, 1);
	for (unsigned i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		bool all = starts[i].mac != 0;

		if (!is_word(word, starts[i].text))
			continue;
		p->bulk = starts[i].bulk;
		p->mac = starts[i].mac;
		p->versions = all ? 3 : 0;
		p->kx = all ? KX_ECDHE | KX_DHE : 0;
		p->authentication = all ? AUTH_RSA | AUTH_ECDSA : 0;
		if (slice_starts(word, SLICE("SUITEB")))
			p->kx = KX_ECDHE;
		return true;
	}
	return false;
}

static void change(unsigned *field, unsigned bits, bool add)
{
	*field = add ? *field | bits : *field & ~bits;
}

static bool change_property(struct priority *p, struct slice word, bool add)
{
	for (unsigned i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
		const struct property *row = &properties[i];

		if (!is_word(word, row->text))
			continue;
		change(&p->versions, row->versions, add);
		/* RSA as a means to authenticate goes with the last exchange that uses it, which is left to the peer. */
		change(&p->kx, row->kx, add);
		if (add)
			change(&p->authentication, row->authentication, true);
		else if (row->kx == KX_ECDHE)
			change(&p->authentication, row->authentication & AUTH_ECDSA, false);
		if (!add && row->authentication == AUTH_ECDSA)
			p->kx |= KX_ECDHE; /* with RSA certificates it stays */
		change(&p->bulk, row->bulk, add);
		change(&p->mac, row->mac, add);
		return true;
	}
	return false;
}

static bool change_group(struct priority *p, struct slice word, bool add)
{
	if (slice_starts(word, SLICE("GROUP-")))
		word = slice_from(word, 6);
	else if (slice_starts(word, SLICE("CURVE-")))
		word = slice_from(word, 6);
	else
		return false;
	if (is_word(word, "ALL") || !add)
		return true;
	for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (is_word(word, groups[i].gnutls))
			str_printf(&p->groups, "%s%s", p->groups.len ? ":" : "", groups[i].ours);
	return true;
}

static enum rc apply_property(struct priority *p, struct slice item, struct err *err)
{
	bool add = item.ptr[0] == '+';
	struct slice word = slice_from(item, 1);

	if (item.ptr[0] == '%')
		return OK; /* tuning of GnuTLS, or what is so here anyway (%SERVER_PRECEDENCE, %SAFE_RENEGOTIATION) */
	if (!add && item.ptr[0] != '-' && item.ptr[0] != '!')
		return start_priority(item, p)
			   ? OK
			   : err_set(err, FAIL, "\"%.*s\" is no word of a priority string", SLICE_ARG(item));
	if (change_property(p, word, add) || change_group(p, word, add))
		return OK;
	for (unsigned i = 0; i < sizeof(absent_properties) / sizeof(absent_properties[0]); i++)
		if (slice_starts(word, slice_of(absent_properties[i])))
			return OK;
	return err_set(err, FAIL, "\"%.*s\" is no word of a priority string", SLICE_ARG(item));
}

static enum rc choose_gnutls(struct arena *arena, struct slice text, struct cipher_choice *ret,
			     struct err *err)
{
	struct priority p = {.groups = str_make(arena)};
	struct str list = str_make(arena);
	struct slice rest = text, item;
	enum rc rc;

	while (slice_split(&rest, ':', &item)) {
		item = slice_trim(item);
		if (item.len == 0)
			continue;
		rc = apply_property(&p, item, err);
		if (rc != OK)
			return rc;
	}
	for (unsigned i = 0; i < SUITE_COUNT; i++) {
		const struct suite *s = &suites[i];
		bool is13 = i < TLS13_COUNT;

		if ((p.versions & (is13 ? 2 : 1)) &&
		    (is13 || ((p.kx & s->kx) && (p.authentication & s->authentication))) &&
		    (p.bulk & s->bulk) && (p.mac & s->mac)) {
			str_printf(&list, "%s%s", list.len ? ":" : "", s->name);
			ret->tls13 |= is13;
			ret->tls12 |= !is13;
		}
	}
	ret->list = str_slice(&list);
	ret->groups = str_slice(&p.groups);
	if (!ret->list.ptr || !ret->groups.ptr)
		return err_memory(err);
	if (ret->list.len == 0)
		return err_set(err, FAIL, "nothing of \"%.*s\" is available (TLS 1.2 and 1.3 are)",
			       SLICE_ARG(text));
	return OK;
}

/* ---- The door ---------------------------------------------------------------------------------------------------------- */

/* GnuTLS's strings begin with one of its keywords, and those are no words of OpenSSL's. */
static bool is_priority_string(struct slice text)
{
	struct priority p = {.versions = 0};
	struct slice word;

	return slice_split(&text, ':', &word) && start_priority(slice_trim(word), &p);
}

enum rc ciphers_choose(struct arena *arena, struct slice text, struct cipher_choice *ret, struct err *err)
{
	*ret = (struct cipher_choice){.list = SLICE_EMPTY, .groups = SLICE_EMPTY};
	text = slice_trim(text);
	if (text.len == 0)
		text = SLICE("DEFAULT");
	return is_priority_string(text) ? choose_gnutls(arena, text, ret, err)
					: choose_openssl(arena, text, ret, err);
}
