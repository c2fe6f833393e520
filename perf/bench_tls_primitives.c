/* bench_tls_primitives: what the cryptographic operations of a handshake cost by themselves, with the library that this build is linked
 * with: the least that a server on it can need. Counted are the operations that the protocol asks for, as a server does them for
 * OpenSSL's client (X25519, AES-256-GCM, SHA-384); not what the library does besides (parsing, copying, hashing the transcript five
 * ways, seeding a generator for each session).
 *
 *	bench_tls_primitives rsa|ec
 *
 * A line for each: name, microseconds of CPU for one; then a line "= what microseconds" for each sum. perf/tls reads those. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/curve25519.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/random.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/sha512.h>

#define RECORD 16384

static WC_RNG rng;
static RsaKey rsa;
static ecc_key ec;
static curve25519_key ours, theirs;
static Aes aes;
static byte bytes[RECORD + 64], key[48] = {1}, signature[512], digest[48];

static void must(int failed)
{
	if (failed) {
		fprintf(stderr, "bench_tls_primitives: the library failed: %d\n", failed);
		exit(1);
	}
}

static void x25519_key(void)
{
	must(wc_curve25519_make_key(&rng, CURVE25519_KEYSIZE, &ours));
}

static void x25519_shared(void)
{
	word32 len = sizeof(digest);

	must(wc_curve25519_shared_secret_ex(&ours, &theirs, digest, &len, EC25519_LITTLE_ENDIAN));
}

static void sign_rsa(void)
{
	must(wc_RsaPSS_Sign(digest, 32, signature, sizeof(signature), WC_HASH_TYPE_SHA256, WC_MGF1SHA256,
			    &rsa, &rng) < 0);
}

static void check_rsa(void)
{
	byte padded[256];

	must(wc_RsaPSS_Verify(signature, sizeof(padded), padded, sizeof(padded), WC_HASH_TYPE_SHA256,
			      WC_MGF1SHA256, &rsa) < 0);
}

static void sign_ec(void)
{
	word32 len = sizeof(signature);

	must(wc_ecc_sign_hash(digest, 32, signature, &len, &rng, &ec));
}

static void hmac(void)
{
	Hmac h;

	must(wc_HmacInit(&h, NULL, INVALID_DEVID));
	must(wc_HmacSetKey(&h, WC_SHA384, key, 48));
	must(wc_HmacUpdate(&h, bytes, 66)); /* an HkdfLabel with a hash in it */
	must(wc_HmacFinal(&h, digest));
	wc_HmacFree(&h);
}

static void sha384_block(void)
{
	wc_Sha384 h;

	must(wc_InitSha384(&h));
	must(wc_Sha384Final(&h, digest));
	wc_Sha384Free(&h);
}

static void sha384_kib(void)
{
	wc_Sha384 h;

	must(wc_InitSha384(&h));
	must(wc_Sha384Update(&h, bytes, 1024));
	must(wc_Sha384Final(&h, digest));
	wc_Sha384Free(&h);
}

static void gcm_key(void)
{
	must(wc_AesGcmSetKey(&aes, key, 32));
}

static void seal(word32 len)
{
	must(wc_AesGcmEncrypt(&aes, bytes, bytes, len, key, 12, digest, 16, key, 5));
}

static void seal_short(void)
{
	seal(100);
}

static void seal_kib(void)
{
	seal(1024);
}

/* Decrypting costs as much as encrypting, and needs no tag that fits. */
static void open_record(void)
{
	seal(RECORD);
}

static void random_32(void)
{
	must(wc_RNG_GenerateBlock(&rng, digest, 32));
}

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* The best of five times a tenth of a second: what disturbs only makes it longer. */
static double cost(void (*fn)(void))
{
	double best = 1e12;

	fn();
	for (int round = 0; round < 5; round++) {
		double began = cpu_us(), now;
		unsigned done = 0;

		do {
			fn();
			done++;
			now = cpu_us();
		} while (now - began < 1e5 || done < 8);
		if ((now - began) / done < best)
			best = (now - began) / done;
	}
	return best;
}

enum { KEY, SHARED, SIGN, CHECK, HMAC, BLOCK, KIB, GCM_KEY, SHORT, SEAL_KIB, RECORD_16K, RANDOM, OPERATIONS };

int main(int argc, char **argv)
{
	int is_rsa = argc > 1 && strcmp(argv[1], "rsa") == 0;
	static const struct {
		const char *name;
		void (*fn)(void);
	} operations[OPERATIONS] = {
	    [KEY] = {"x25519 key", x25519_key},
	    [SHARED] = {"x25519 shared secret", x25519_shared},
	    [SIGN] = {"signature", sign_rsa},
	    [CHECK] = {"its check (RSA)", check_rsa},
	    [HMAC] = {"hmac-sha384", hmac},
	    [BLOCK] = {"sha384, end of", sha384_block},
	    [KIB] = {"sha384, 1 KiB", sha384_kib},
	    [GCM_KEY] = {"aes-256-gcm, key", gcm_key},
	    [SHORT] = {"aes-256-gcm, 100 bytes", seal_short},
	    [SEAL_KIB] = {"aes-256-gcm, 1 KiB", seal_kib},
	    [RECORD_16K] = {"aes-256-gcm, 16 KiB", open_record},
	    [RANDOM] = {"32 random bytes", random_32},
	};
	/* How many of each. With TLS 1.3 the early, handshake and master secrets are 3 HMACs and 2 more lead from one to the
	 * next; 4 traffic secrets, a key and an IV of each (8), 2 keys and 2 MACs of Finished; the exporter's and the resumption
	 * secret, and the ticket's: 22. With a ticket 3 more (its PSK, the binder's key and MAC). With TLS 1.2 each block of
	 * the PRF is 2: master secret 2, key block 4, Finished 4. Records: the certificate's flight, ticket, two replies, three
	 * commands; a ticket is sealed (key and some 200 bytes). What RSA has signed is checked before it is sent, against faults. */
	const struct {
		const char *what;
		double count[OPERATIONS];
	} sums[] = {
	    {"full TLSv1_3",
	     {[KEY] = 1,
	      [SHARED] = 1,
	      [SIGN] = 1,
	      [CHECK] = is_rsa,
	      [HMAC] = 22,
	      [BLOCK] = 6,
	      [KIB] = 2,
	      [GCM_KEY] = 5,
	      [SHORT] = 8,
	      [SEAL_KIB] = 2,
	      [RANDOM] = 3}},
	    {"full TLSv1_2",
	     {[KEY] = 1,
	      [SHARED] = 1,
	      [SIGN] = 1,
	      [CHECK] = is_rsa,
	      [HMAC] = 10,
	      [BLOCK] = 3,
	      [KIB] = 2,
	      [GCM_KEY] = 3,
	      [SHORT] = 7,
	      [RANDOM] = 3}},
	    {"resumed TLSv1_3",
	     {[KEY] = 1,
	      [SHARED] = 1,
	      [HMAC] = 25,
	      [BLOCK] = 5,
	      [KIB] = 1,
	      [GCM_KEY] = 6,
	      [SHORT] = 10,
	      [RANDOM] = 3}},
	    {"resumed TLSv1_2",
	     {[HMAC] = 8, [BLOCK] = 3, [KIB] = 1, [GCM_KEY] = 3, [SHORT] = 8, [RANDOM] = 1}},
	    {"bulk TLSv1_3", {[RECORD_16K] = 64}},
	};
	double us[OPERATIONS];

	if (argc != 2 || (!is_rsa && strcmp(argv[1], "ec") != 0)) {
		fprintf(stderr, "usage: bench_tls_primitives rsa|ec\n");
		return 2;
	}
	must(wc_InitRng(&rng));
	must(wc_InitRsaKey(&rsa, NULL));
	must(wc_ecc_init(&ec));
	must(wc_curve25519_init(&ours));
	must(wc_curve25519_init(&theirs));
	must(wc_AesInit(&aes, NULL, INVALID_DEVID));
	must(wc_MakeRsaKey(&rsa, 2048, WC_RSA_EXPONENT, &rng));
	must(wc_RsaSetRNG(&rsa, &rng));
	must(wc_ecc_make_key_ex(&rng, 32, &ec, ECC_SECP256R1));
	must(wc_curve25519_make_key(&rng, CURVE25519_KEYSIZE, &theirs));
	x25519_key();
	gcm_key();
	for (unsigned i = 0; i < OPERATIONS; i++) {
		us[i] = cost(i == SIGN && !is_rsa ? sign_ec : operations[i].fn);
		printf("%-24s %9.2f us\n", operations[i].name, us[i]);
	}
	for (unsigned s = 0; s < sizeof(sums) / sizeof(sums[0]); s++) {
		double sum = 0;

		for (unsigned i = 0; i < OPERATIONS; i++)
			sum += sums[s].count[i] * us[i];
		printf("= %s %.2f\n", sums[s].what, sum);
	}
	return 0;
}
