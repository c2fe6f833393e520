/* From OpenSSL's cipher lists and GnuTLS's priority strings to the library's list. Both choose from one table of what there is: a
 * set of suites with an order. OpenSSL's language is one of edits ("ECDHE+AESGCM:!aNULL:@STRENGTH"); GnuTLS's one of properties
 * ("NORMAL:-VERS-ALL:+VERS-TLS1.2:-AES-128-CBC"), where a suite is there when all its parts are. What words mean is what OpenSSL 3
 * and GnuTLS 3.7 make of them (tests/unit/tls/data/ciphers.txt). */
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
};
/* Best first: the order of the default. Nothing anonymous, without encryption, or with RC4 or 3DES; nothing without forward
 * secrecy is built into the library. */
static const struct suite suites[] = {
    {"TLS13-AES256-GCM-SHA384", "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", KX_ANY, AUTH_ANY,
     BULK_AES256_GCM, MAC_AEAD},
    {"TLS13-CHACHA20-POLY1305-SHA256", "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", KX_ANY,
     AUTH_ANY, BULK_CHACHA, MAC_AEAD},
    {"TLS13-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", KX_ANY, AUTH_ANY,
     BULK_AES128_GCM, MAC_AEAD},
#define ROW(kx, auth, bulk, mac, name, openssl, registered)    \
	{                                                      \
		name, openssl, registered, kx, auth, bulk, mac \
	}
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES256_GCM, MAC_AEAD, "ECDHE-ECDSA-AES256-GCM-SHA384",
	"ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ROW(KX_ECDHE, AUTH_RSA, BULK_AES256_GCM, MAC_AEAD, "ECDHE-RSA-AES256-GCM-SHA384",
	"ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_CHACHA, MAC_AEAD, "ECDHE-ECDSA-CHACHA20-POLY1305",
	"ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ROW(KX_ECDHE, AUTH_RSA, BULK_CHACHA, MAC_AEAD, "ECDHE-RSA-CHACHA20-POLY1305",
	"ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES128_GCM, MAC_AEAD, "ECDHE-ECDSA-AES128-GCM-SHA256",
	"ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ROW(KX_ECDHE, AUTH_RSA, BULK_AES128_GCM, MAC_AEAD, "ECDHE-RSA-AES128-GCM-SHA256",
	"ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ROW(KX_DHE, AUTH_RSA, BULK_AES256_GCM, MAC_AEAD, "DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-AES256-GCM-SHA384",
	"TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"),
    ROW(KX_DHE, AUTH_RSA, BULK_CHACHA, MAC_AEAD, "DHE-RSA-CHACHA20-POLY1305", "DHE-RSA-CHACHA20-POLY1305",
	"TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ROW(KX_DHE, AUTH_RSA, BULK_AES128_GCM, MAC_AEAD, "DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256",
	"TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES128_CCM, MAC_AEAD, "ECDHE-ECDSA-AES128-CCM", "ECDHE-ECDSA-AES128-CCM",
	"TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES256_CCM8, MAC_AEAD, "ECDHE-ECDSA-AES256-CCM-8",
	"ECDHE-ECDSA-AES256-CCM8", "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES128_CCM8, MAC_AEAD, "ECDHE-ECDSA-AES128-CCM-8",
	"ECDHE-ECDSA-AES128-CCM8", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES256_CBC, MAC_SHA384, "ECDHE-ECDSA-AES256-SHA384",
	"ECDHE-ECDSA-AES256-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    ROW(KX_ECDHE, AUTH_RSA, BULK_AES256_CBC, MAC_SHA384, "ECDHE-RSA-AES256-SHA384", "ECDHE-RSA-AES256-SHA384",
	"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES128_CBC, MAC_SHA256, "ECDHE-ECDSA-AES128-SHA256",
	"ECDHE-ECDSA-AES128-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    ROW(KX_ECDHE, AUTH_RSA, BULK_AES128_CBC, MAC_SHA256, "ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA256",
	"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    ROW(KX_DHE, AUTH_RSA, BULK_AES256_CBC, MAC_SHA256, "DHE-RSA-AES256-SHA256", "DHE-RSA-AES256-SHA256",
	"TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
    ROW(KX_DHE, AUTH_RSA, BULK_AES128_CBC, MAC_SHA256, "DHE-RSA-AES128-SHA256", "DHE-RSA-AES128-SHA256",
	"TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES256_CBC, MAC_SHA1, "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES256-SHA",
	"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    ROW(KX_ECDHE, AUTH_RSA, BULK_AES256_CBC, MAC_SHA1, "ECDHE-RSA-AES256-SHA", "ECDHE-RSA-AES256-SHA",
	"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    ROW(KX_ECDHE, AUTH_ECDSA, BULK_AES128_CBC, MAC_SHA1, "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA",
	"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    ROW(KX_ECDHE, AUTH_RSA, BULK_AES128_CBC, MAC_SHA1, "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES128-SHA",
	"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    ROW(KX_DHE, AUTH_RSA, BULK_AES256_CBC, MAC_SHA1, "DHE-RSA-AES256-SHA", "DHE-RSA-AES256-SHA",
	"TLS_DHE_RSA_WITH_AES_256_CBC_SHA"),
    ROW(KX_DHE, AUTH_RSA, BULK_AES128_CBC, MAC_SHA1, "DHE-RSA-AES128-SHA", "DHE-RSA-AES128-SHA",
	"TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
    ROW(KX_DHE, AUTH_RSA, BULK_CAMELLIA256, MAC_SHA256, "DHE-RSA-CAMELLIA256-SHA256",
	"DHE-RSA-CAMELLIA256-SHA256", "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA256"),
    ROW(KX_DHE, AUTH_RSA, BULK_CAMELLIA128, MAC_SHA256, "DHE-RSA-CAMELLIA128-SHA256",
	"DHE-RSA-CAMELLIA128-SHA256", "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA256"),
#undef ROW
};
#define SUITE_COUNT (sizeof(suites) / sizeof(suites[0]))
#define TLS13_COUNT 3 /* the first rows */

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
	bool tls13;
	struct err *err;
};

/* What a word stands for, as a set of suites; each part says which values it wants, 0: any. */
struct word {
	const char *text;
	unsigned kx, authentication, bulk, mac;
};
#define BULK_CCM      (BULK_AES128_CCM | BULK_AES128_CCM8 | BULK_AES256_CCM8)
#define BULK_CAMELLIA (BULK_CAMELLIA128 | BULK_CAMELLIA256)
#define BULK_CBC      (BULK_AES128_CBC | BULK_AES256_CBC | BULK_CAMELLIA)
static const struct word words[] = {
    {.text = "ALL"},
    {.text = "COMPLEMENTOFDEFAULT", .bulk = BULK_CAMELLIA | BULK_CCM},
    {.text = "HIGH"},
    {.text = "FIPS", .bulk = BULK_AES128_GCM | BULK_AES256_GCM | BULK_AES128_CBC | BULK_AES256_CBC},
    {.text = "kECDHE", .kx = KX_ECDHE},
    {.text = "kEECDH", .kx = KX_ECDHE},
    {.text = "ECDHE", .kx = KX_ECDHE},
    {.text = "EECDH", .kx = KX_ECDHE},
    {.text = "ECDH", .kx = KX_ECDHE},
    {.text = "kDHE", .kx = KX_DHE},
    {.text = "kEDH", .kx = KX_DHE},
    {.text = "DHE", .kx = KX_DHE},
    {.text = "EDH", .kx = KX_DHE},
    {.text = "DH", .kx = KX_DHE},
    {.text = "aRSA", .authentication = AUTH_RSA},
    {.text = "aECDSA", .authentication = AUTH_ECDSA},
    {.text = "ECDSA", .authentication = AUTH_ECDSA},
    {.text = "AES", .bulk = BULK_AES128 | BULK_AES256},
    {.text = "AES128", .bulk = BULK_AES128},
    {.text = "AES256", .bulk = BULK_AES256},
    {.text = "AESGCM", .bulk = BULK_AES128_GCM | BULK_AES256_GCM},
    {.text = "AESCCM", .bulk = BULK_CCM},
    {.text = "AESCCM8", .bulk = BULK_AES128_CCM8 | BULK_AES256_CCM8},
    {.text = "CHACHA20", .bulk = BULK_CHACHA},
    {.text = "CAMELLIA", .bulk = BULK_CAMELLIA},
    {.text = "CAMELLIA128", .bulk = BULK_CAMELLIA128},
    {.text = "CAMELLIA256", .bulk = BULK_CAMELLIA256},
    {.text = "SHA", .mac = MAC_SHA1},
    {.text = "SHA1", .mac = MAC_SHA1},
    /* The MAC, not the digest that AEAD suites have in their names: to exclude both is to exclude CBC. */
    {.text = "SHA256", .mac = MAC_SHA256},
    {.text = "SHA384", .mac = MAC_SHA384},
    {.text = "CBC", .bulk = BULK_CBC},
    /* Versions that have brought the suites. */
    {.text = "TLSv1.2", .mac = MAC_AEAD | MAC_SHA256 | MAC_SHA384},
    {.text = "TLSv1", .kx = KX_ECDHE, .mac = MAC_SHA1},
    {.text = "TLSv1.0", .kx = KX_ECDHE, .mac = MAC_SHA1},
    {.text = "SSLv3", .kx = KX_DHE, .mac = MAC_SHA1},
};
/* Families that OpenSSL knows and that are not to be had here. To exclude them is no mistake, and so is to ask for them beside
 * others. */
static const char *const absent[] = {
    "COMPLEMENTOFALL",
    "MEDIUM",
    "LOW",
    "EXP",
    "EXPORT",
    "EXPORT40",
    "EXPORT56",
    "eNULL",
    "NULL",
    "aNULL",
    "kRSA",
    "RSA",
    "kDH",
    "kDHr",
    "kDHd",
    "ADH",
    "AECDH",
    "kECDH",
    "kECDHe",
    "kECDHr",
    "aECDH",
    "aDSS",
    "DSS",
    "aDH",
    "PSK",
    "kPSK",
    "aPSK",
    "kECDHEPSK",
    "kDHEPSK",
    "kRSAPSK",
    "SRP",
    "kSRP",
    "aSRP",
    "RC4",
    "RC2",
    "IDEA",
    "SEED",
    "DES",
    "3DES",
    "MD5",
    "kGOST",
    "aGOST",
    "aGOST01",
    "GOST",
    "GOST89",
    "GOST94",
    "GOST12",
    "GOST89MAC",
    "ARIA",
    "ARIA128",
    "ARIA256",
    "ARIAGCM",
    "SSLv2",
    "TLSv1.1",
    "TLSv1.3",
    "aFZA",
    "kFZA",
    "FZA",
    "KRB5",
    "kKRB5",
    "aKRB5",
};

static bool suite_in(const struct suite *suite, const struct word *word)
{
	return (!word->kx || (word->kx & suite->kx)) &&
	       (!word->authentication || (word->authentication & suite->authentication)) &&
	       (!word->bulk || (word->bulk & suite->bulk)) && (!word->mac || (word->mac & suite->mac));
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

/* Of those that stay in their order otherwise. */
static void edit_sort(struct edit *e)
{
	const unsigned weak = BULK_AES128 | BULK_CAMELLIA128;
	uint8_t order[SUITE_COUNT];
	unsigned count = 0;

	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < e->count; i++)
			if (!!(suites[e->order[i]].bulk & weak) == (pass == 1))
				order[count++] = e->order[i];
	memcpy(e->order, order, count);
}

static void default_set(bool set[SUITE_COUNT])
{
	for (unsigned s = 0; s < SUITE_COUNT; s++)
		set[s] = s >= TLS13_COUNT && !(suites[s].bulk & (BULK_CAMELLIA | BULK_CCM));
}

static enum rc edit_apply(struct edit *e, struct slice item)
{
	char sign = item.ptr[0];
	bool set[SUITE_COUNT], known;
	uint8_t removed[SUITE_COUNT];
	unsigned count;

	if (sign == '@') {
		if (is_word(item, "@STRENGTH"))
			edit_sort(e);
		if (is_word(item, "@STRENGTH") || slice_starts(item, SLICE("@SECLEVEL=")))
			return OK; /* nothing here is below level 2 */
		return err_set(e->err, FAIL, "\"%.*s\" is not supported in a cipher list", SLICE_ARG(item));
	}
	if (sign == '!' || sign == '-' || sign == '+')
		item = slice_from(item, 1);
	else
		sign = ' ';
	if (sign == ' ' && (is_word(item, "DEFAULT") || is_word(item, "PROFILE=SYSTEM"))) {
		default_set(set);
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
	/* OpenSSL does not know the word and would go on with it; who writes this wants something else. */
	if (sign != '+' && is_word(item, "TLSv1.3"))
		e->tls13 = false;
	for (unsigned s = 0; sign == '!' && s < SUITE_COUNT; s++)
		e->killed[s] |= set[s];
	for (unsigned i = 0; sign == '+' && i < count; i++)
		e->order[e->count++] = removed[i];
	return OK;
}

static enum rc choose_openssl(struct arena *arena, struct slice text, struct cipher_choice *ret,
			      struct err *err)
{
	struct edit e = {.err = err, .tls13 = true};
	struct str list = str_make(arena);
	struct slice rest = text;
	enum rc rc = OK;

	while (rest.len > 0 && rc == OK) {
		uint32_t n = 0;

		/* "DEFAULT@SECLEVEL=1" are two. */
		while (n < rest.len && slice_find(SLICE(":;, \t\n"), rest.ptr[n]) < 0 &&
		       (n == 0 || rest.ptr[n] != '@'))
			n++;
		if (n > 0)
			rc = edit_apply(&e, slice_sub(rest, 0, n));
		rest = slice_from(rest, n + (n == rest.len || rest.ptr[n] != '@'));
	}
	if (rc != OK)
		return rc;
	if (e.count == 0)
		return err_set(err, FAIL, "no cipher of \"%.*s\" is available", SLICE_ARG(text));
	for (unsigned i = 0; i < TLS13_COUNT && e.tls13; i++)
		str_printf(&list, "%s%s", i ? ":" : "", suites[i].name);
	for (unsigned i = 0; i < e.count; i++)
		str_printf(&list, "%s%s", list.len ? ":" : "", suites[e.order[i]].name);
	ret->list = str_slice(&list);
	ret->tls12 = true;
	ret->tls13 = e.tls13;
	return ret->list.ptr ? OK : err_memory(err);
}

/* ---- GnuTLS ------------------------------------------------------------------------------------------------------------ */

/* The key exchanges that it tells apart. */
enum exchange { EXCHANGE_ECDHE_RSA = 1, EXCHANGE_ECDHE_ECDSA = 2, EXCHANGE_DHE_RSA = 4 };
#define EXCHANGE_ALL 7

/* For the key exchange; the order is ours. */
static const struct {
	const char *gnutls, *ours;
} groups[] = {
    {"X25519", "X25519"}, {"SECP256R1", "P-256"},     {"SECP384R1", "P-384"},     {"SECP521R1", "P-521"},
    {"X448", "X448"},     {"FFDHE2048", "ffdhe2048"}, {"FFDHE3072", "ffdhe3072"},
};
#define GROUP_COUNT (sizeof(groups) / sizeof(groups[0]))
#define GROUPS_ALL  0x7fu
#define GROUPS_DH   0x60u
#define GROUP_P256  0x02u
#define GROUP_P384  0x04u
#define GROUP_P521  0x08u

struct priority {
	unsigned versions; /* 1: TLS 1.2, 2: TLS 1.3 */
	unsigned exchange, bulk, mac;
	uint8_t groups[GROUP_COUNT];
	unsigned group_count;
	bool groups_chosen; /* otherwise the library's */
	bool server_order;
};
struct property {
	const char *text;
	unsigned versions, exchange, bulk, mac, groups;
	unsigned added_bulk, added_mac; /* if that is less than what is removed */
};
#define NORMAL_BULK                                                                            \
	(BULK_AES128_GCM | BULK_AES256_GCM | BULK_CHACHA | BULK_AES128_CCM | BULK_AES128_CBC | \
	 BULK_AES256_CBC)
#define NORMAL_MAC  (MAC_AEAD | MAC_SHA1)
#define STRONG_BULK (BULK_AES256_GCM | BULK_CHACHA | BULK_AES256_CBC)
static const struct property properties[] = {
    {.text = "VERS-TLS1.2", .versions = 1},
    {.text = "VERS-TLS1.3", .versions = 2},
    {.text = "VERS-TLS-ALL", .versions = 3},
    {.text = "VERS-ALL", .versions = 3},
    {.text = "ECDHE-RSA", .exchange = EXCHANGE_ECDHE_RSA},
    {.text = "ECDHE-ECDSA", .exchange = EXCHANGE_ECDHE_ECDSA},
    {.text = "DHE-RSA", .exchange = EXCHANGE_DHE_RSA},
    {.text = "KX-ALL", .exchange = EXCHANGE_ALL},
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
    {.text = "CIPHER-ALL", .bulk = BULK_ALL, .added_bulk = NORMAL_BULK},
    {.text = "AEAD", .mac = MAC_AEAD},
    {.text = "SHA1", .mac = MAC_SHA1},
    {.text = "SHA256", .mac = MAC_SHA256},
    {.text = "SHA384", .mac = MAC_SHA384},
    {.text = "MAC-ALL", .mac = 15, .added_mac = NORMAL_MAC},
    {.text = "GROUP-ALL", .groups = GROUPS_ALL},
    {.text = "CURVE-ALL", .groups = GROUPS_ALL},
    {.text = "GROUP-EC-ALL", .groups = GROUPS_ALL & ~GROUPS_DH},
    {.text = "GROUP-DH-ALL", .groups = GROUPS_DH},
};
/* What strings begin with, and what can be added as a whole. */
static const struct property levels[] = {
    {"NORMAL", 3, EXCHANGE_ALL, NORMAL_BULK, NORMAL_MAC, GROUPS_ALL, 0, 0},
    {"PERFORMANCE", 3, EXCHANGE_ALL, NORMAL_BULK, NORMAL_MAC, GROUPS_ALL, 0, 0},
    {"LEGACY", 3, EXCHANGE_ALL, NORMAL_BULK, NORMAL_MAC, GROUPS_ALL, 0, 0},
    {"PFS", 3, EXCHANGE_ALL, NORMAL_BULK, NORMAL_MAC, GROUPS_ALL, 0, 0},
    {"SECURE", 3, EXCHANGE_ALL, NORMAL_BULK, NORMAL_MAC, GROUPS_ALL, 0, 0},
    {"SECURE128", 3, EXCHANGE_ALL, NORMAL_BULK, NORMAL_MAC, GROUPS_ALL, 0, 0},
    {"SECURE192", 3, EXCHANGE_ALL, STRONG_BULK, MAC_AEAD, GROUP_P384 | GROUP_P521, 0, 0},
    {"SECURE256", 3, EXCHANGE_ALL, STRONG_BULK, MAC_AEAD, GROUP_P384 | GROUP_P521, 0, 0},
    {"SUITEB128", 1, EXCHANGE_ECDHE_ECDSA, BULK_AES128_GCM | BULK_AES256_GCM, MAC_AEAD,
     GROUP_P256 | GROUP_P384, 0, 0},
    {"SUITEB192", 1, EXCHANGE_ECDHE_ECDSA, BULK_AES256_GCM, MAC_AEAD, GROUP_P384, 0, 0},
    {"SYSTEM", 3, EXCHANGE_ALL, NORMAL_BULK, NORMAL_MAC, GROUPS_ALL, 0, 0},
    {"NONE", 0, 0, 0, 0, 0, 0, 0},
};
/* Known to GnuTLS, not to be had here, and so as good as excluded. */
static const char *const absent_properties[] = {
    "VERS-SSL3.0", "VERS-TLS1.0", "VERS-TLS1.1", "VERS-DTLS",  "RSA",        "DHE-DSS",   "ANON-",
    "PSK",         "ECDHE-PSK",   "DHE-PSK",     "RSA-PSK",    "SRP",        "VKO-",      "3DES-CBC",
    "ARCFOUR",     "RC2-",        "DES-CBC",     "NULL",       "MD5",        "AES-192-",  "AES-256-CCM",
    "CAMELLIA-",   "GOST",        "MAGMA",       "KUZNYECHIK", "UMAC",       "STREEBOG",  "SHA512",
    "SHA224",      "COMP-",       "CTYPE-",      "SIGN-",      "EXPORT",     "RIPEMD160", "IDEA",
    "GROUP-FFDHE", "GROUP-GC",    "CURVE-GC",    "GROUP-SECP", "CURVE-SECP",
};

/* GnuTLS does not care for the case of its words. */
static bool is_property(struct slice text, const char *word)
{
	return slice_eq_nocase(text, slice_of(word));
}

static void change(unsigned *field, unsigned bits, bool add)
{
	*field = add ? *field | bits : *field & ~bits;
}

static void change_groups(struct priority *p, unsigned set, bool add)
{
	unsigned kept = 0;

	p->groups_chosen |= set != 0;
	for (unsigned i = 0; i < p->group_count; i++) {
		bool named = set >> p->groups[i] & 1;

		if (!named || add)
			p->groups[kept++] = p->groups[i];
		if (named && add)
			set &= ~(1u << p->groups[i]);
	}
	p->group_count = kept;
	for (unsigned i = 0; i < GROUP_COUNT && add; i++)
		if (set >> i & 1)
			p->groups[p->group_count++] = (uint8_t)i;
}

static void change_by(struct priority *p, const struct property *row, bool add)
{
	change(&p->exchange, row->exchange, add);
	change(&p->bulk, add && row->added_bulk ? row->added_bulk : row->bulk, add);
	change(&p->mac, add && row->added_mac ? row->added_mac : row->mac, add);
	change_groups(p, row->groups, add);
}

static const struct property *find_level(struct slice word)
{
	if (slice_starts(word, SLICE("@")))
		word = slice_from(word, 1);
	for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (is_property(word, levels[i].text))
			return &levels[i];
	return NULL;
}

/* The last one that stands alone counts. */
static bool start_priority(struct slice word, struct priority *p)
{
	const struct property *level = find_level(word);

	if (!level)
		return false;
	*p = (struct priority){.versions = level->versions};
	change_by(p, level, true);
	p->groups_chosen = level->groups && level->groups != GROUPS_ALL; /* else: as the library likes */
	return true;
}

static bool change_property(struct priority *p, struct slice word, bool add)
{
	const struct property *level = find_level(word);

	if (level) {
		change_by(p, level, add);
		return true;
	}
	for (unsigned i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
		if (is_property(word, properties[i].text)) {
			change(&p->versions, properties[i].versions, add);
			change_by(p, &properties[i], add);
			return true;
		}
	for (unsigned i = 0; i < GROUP_COUNT; i++)
		if (word.len > 6 && is_property(slice_from(word, 6), groups[i].gnutls) &&
		    (is_property(slice_sub(word, 0, 6), "GROUP-") ||
		     is_property(slice_sub(word, 0, 6), "CURVE-"))) {
			change_groups(p, 1u << i, add);
			return true;
		}
	return false;
}

static enum rc apply_property(struct priority *p, struct slice item, struct err *err)
{
	bool add = item.ptr[0] == '+';
	struct slice word = slice_from(item, 1);

	if (is_property(item, "%SERVER_PRECEDENCE"))
		p->server_order = true;
	if (item.ptr[0] == '%')
		return OK; /* tuning of GnuTLS, or what is so here anyway (%SAFE_RENEGOTIATION) */
	if (!add && item.ptr[0] != '-' && item.ptr[0] != '!')
		return start_priority(item, p)
			   ? OK
			   : err_set(err, FAIL, "\"%.*s\" is no word of a priority string", SLICE_ARG(item));
	if (change_property(p, word, add))
		return OK;
	for (unsigned i = 0; i < sizeof(absent_properties) / sizeof(absent_properties[0]); i++)
		if (slice_starts_nocase(word, slice_of(absent_properties[i])))
			return OK;
	return err_set(err, FAIL, "\"%.*s\" is no word of a priority string", SLICE_ARG(item));
}

static unsigned exchange_of(const struct suite *suite)
{
	if (suite->kx == KX_DHE)
		return EXCHANGE_DHE_RSA;
	return suite->authentication == AUTH_ECDSA ? EXCHANGE_ECDHE_ECDSA : EXCHANGE_ECDHE_RSA;
}

static enum rc choose_gnutls(struct arena *arena, struct slice text, struct cipher_choice *ret,
			     struct err *err)
{
	struct priority p = {.versions = 0};
	struct str list = str_make(arena), chosen = str_make(arena);
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

		if ((p.versions & (is13 ? 2 : 1)) && (is13 || (p.exchange & exchange_of(s))) &&
		    (p.bulk & s->bulk) && (p.mac & s->mac)) {
			str_printf(&list, "%s%s", list.len ? ":" : "", s->name);
			ret->tls13 |= is13;
			ret->tls12 |= !is13;
		}
	}
	for (unsigned i = 0; i < p.group_count && p.groups_chosen; i++)
		str_printf(&chosen, "%s%s", i ? ":" : "", groups[p.groups[i]].ours);
	if (list.failed || chosen.failed)
		return err_memory(err);
	ret->list = str_slice(&list);
	ret->groups = str_slice(&chosen);
	ret->server_order = p.server_order;
	if (p.groups_chosen && !p.group_count)
		return err_set(err, FAIL, "no group of \"%.*s\" is available", SLICE_ARG(text));
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
		text = SLICE("ALL:-CAMELLIA");
	return is_priority_string(text) ? choose_gnutls(arena, text, ret, err)
					: choose_openssl(arena, text, ret, err);
}
