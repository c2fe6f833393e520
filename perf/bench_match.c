/* bench_match: what large lists and lookup files cost: a domain list of a million names, an address list, a
 * host list of a hundred thousand networks, an lsearch file of a million lines; time to load, memory,
 * questions per second on one core, for names that are there and names that are not. */

#include <lmdb.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "match/match.h"

#define NAMES     1000000u
#define NETS      100000u
#define LMDB_KEYS 200000u
#define QUESTIONS 2000000u

struct bench {
	struct shard *shard;
	struct arena arena, lists;
	struct task task;
	struct scope scope;
	char path[64];
	char *const *chosen; /* names of the parts to run; none: all */
};

static bool is_chosen(const struct bench *b, const char *part)
{
	for (char *const *name = b->chosen; *name; name++)
		if (strcmp(*name, part) == 0)
			return true;
	return !*b->chosen;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); /* what others do on the machine does not count */
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double heap_mib(void)
{
	struct mallinfo2 info = mallinfo2();

	return (double)(info.uordblks + info.hblkhd) / 1048576;
}

/* Spreads numbers so that names do not come in order. */
static uint32_t mix(uint32_t n)
{
	n = (n ^ (n >> 16)) * 0x45d9f3bu;
	n = (n ^ (n >> 16)) * 0x45d9f3bu;
	return n ^ (n >> 16);
}

static int name_make(char *name, uint32_t n, bool there)
{
	return sprintf(name, "host%08x.%s%u.example.%s", mix(n), there ? "d" : "q", n % 1000,
		       n & 1 ? "org" : "com");
}

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_match: %s\n", what);
	exit(1);
}

typedef enum rc question(struct bench *b, const void *list, uint32_t n, bool there);

static void ask(struct bench *b, const char *what, question *f, const void *list, bool there, uint32_t count)
{
	double start = seconds(), took;

	for (uint32_t i = 0; i < count; i++) {
		check(f(b, list, mix(i) % NAMES, there) == (there ? OK : FAIL), what);
		arena_clear(&b->arena); /* as it is behind each command */
	}
	took = seconds() - start;
	printf("%-34s %9.2f million/s  %6.0f ns\n", what, (double)count / took / 1e6,
	       took / (double)count * 1e9);
}

static enum rc ask_domain(struct bench *b, const void *list, uint32_t n, bool there)
{
	char name[100];
	int len = name_make(name, n, there);

	return match_domain(&b->scope, list, slice_make(name, (size_t)len, TAINTED), NULL, NULL);
}

static enum rc ask_address(struct bench *b, const void *list, uint32_t n, bool there)
{
	char name[100] = "user@";
	int len = name_make(name + 5, n, there) + 5;

	return match_address(&b->scope, list, slice_make(name, (size_t)len, TAINTED), NULL, NULL);
}

/* Network n is 10.x.y.0/24 or wider or narrower; the second half of the space holds none. */
static void net_make(char *text, uint32_t n)
{
	uint32_t bits = 20 + n % 13, net = mix(n) >> 1 & ~((1u << (32 - bits)) - 1);

	sprintf(text, "%u.%u.%u.%u/%u", net >> 24, net >> 16 & 255, net >> 8 & 255, net & 255, bits);
}

static enum rc ask_host(struct bench *b, const void *list, uint32_t n, bool there)
{
	uint32_t address = there ? mix(n % NETS) >> 1 : mix(n) | 1u << 31;
	struct ip_addr ip = {.family = 4};

	for (unsigned i = 0; i < 4; i++)
		ip.bytes[i] = (uint8_t)(address >> (24 - 8 * i));
	return match_host(&b->scope, list, &ip, SLICE_EMPTY, NULL, NULL);
}

static enum rc ask_file(struct bench *b, const void *list, uint32_t n, bool there)
{
	const struct lookup_spec *spec = list;
	struct slice value;
	char name[100];
	int len = name_make(name, n, there);
	enum rc rc = lookup_find(&b->scope, spec, slice_of(b->path), slice_make(name, (size_t)len, TAINTED),
				 &value, NULL, NULL, NULL);

	arena_clear(&b->arena);
	return rc;
}

static enum rc ask_lmdb(struct bench *b, const void *list, uint32_t n, bool there)
{
	return ask_file(b, list, n % LMDB_KEYS, there);
}

static const struct match_list *load(struct bench *b, const char *what, enum conf_list_kind kind,
				     struct str *text)
{
	double before = heap_mib(), start = seconds(), took;
	const struct match_list *list = match_compile(NULL, &b->lists, kind, str_slice(text));

	took = seconds() - start;
	check(list != NULL, "out of memory");
	printf("%-34s %9.0f ms to compile   %6.1f MiB, its text %.1f MiB\n", what, took * 1e3,
	       heap_mib() - before, (double)text->len / 1048576);
	return list;
}

/* What making the names takes, which is in all figures. */
static enum rc ask_nothing(struct bench *b, const void *list, uint32_t n, bool there)
{
	char name[100];

	(void)b;
	(void)list;
	return name_make(name, n, there) > 0 ? OK : FAIL;
}

static void bench_lists(struct bench *b)
{
	struct str domains = str_make(&b->lists), addresses = str_make(&b->lists), nets = str_make(&b->lists);
	const struct match_list *list;
	char name[100];

	for (uint32_t i = 0; i < NAMES; i++) {
		name_make(name, i, true);
		str_printf(&domains, "%s%s", i ? " : " : "", name);
		str_printf(&addresses, "%s%s%s", i ? " : " : "", i & 1 ? "user@" : "*@", name);
	}
	for (uint32_t i = 0; i < NETS; i++) {
		net_make(name, i);
		str_printf(&nets, "%s%s", i ? " : " : "", name);
	}
	ask(b, "making a name", ask_nothing, NULL, true, QUESTIONS);
	list = load(b, "domain list, 1,000,000 names", LIST_DOMAIN, &domains);
	ask(b, "  names in it", ask_domain, list, true, QUESTIONS);
	ask(b, "  names not in it", ask_domain, list, false, QUESTIONS);
	list = load(b, "address list, 1,000,000 items", LIST_ADDRESS, &addresses);
	ask(b, "  addresses in it", ask_address, list, true, QUESTIONS);
	ask(b, "  addresses not in it", ask_address, list, false, QUESTIONS);
	list = load(b, "host list, 100,000 networks", LIST_HOST, &nets);
	ask(b, "  addresses in it", ask_host, list, true, QUESTIONS);
	ask(b, "  addresses not in it", ask_host, list, false, QUESTIONS);
}

/* What most lists are. */
static void bench_small(struct bench *b)
{
	struct str domains = str_make(&b->lists), nets = str_make(&b->lists);

	str_addz(&domains, "example.org : *.example.net : example.com");
	str_addz(&nets, "127.0.0.1 : 192.0.2.0/24 : ::::1");
	ask(b, "domain list, 3 items", ask_domain, load(b, "domain list, 3 items", LIST_DOMAIN, &domains),
	    false, QUESTIONS);
	ask(b, "host list, 3 items", ask_host, load(b, "host list, 3 items", LIST_HOST, &nets), false,
	    QUESTIONS);
}

/* The same items as lines of files that lists name. */
static void bench_list_file(struct bench *b, const char *what, enum conf_list_kind kind, question *f)
{
	double before = heap_mib(), start;
	const struct match_list *list;
	char line[100];
	FILE *out = fopen(b->path, "w");

	check(out != NULL, "no temporary file");
	for (uint32_t i = 0; i < (kind == LIST_HOST ? NETS : NAMES); i++) {
		if (kind == LIST_HOST)
			net_make(line, i);
		else
			name_make(line, i, true);
		fprintf(out, "%s\n", line);
	}
	check(fclose(out) == 0, "no temporary file");
	usleep(50 * 1000); /* so that its time is not that of now: then it would be read once more */
	list = match_compile(NULL, &b->lists, kind, slice_of(b->path));
	check(list != NULL, "out of memory");
	start = seconds();
	check(f(b, list, 1, true) == OK, "an item that is not found");
	printf("%-34s %9.0f ms to read      %6.1f MiB\n", what, (seconds() - start) * 1e3,
	       heap_mib() - before);
	ask(b, "  in it", f, list, true, QUESTIONS / 4);
	ask(b, "  not in it", f, list, false, QUESTIONS / 4);
	arena_clear(&b->arena);
	unlink(b->path);
}

static void bench_file(struct bench *b)
{
	FILE *f = fopen(b->path, "w");
	struct lookup_spec spec;
	double before, start;
	char name[100];

	check(f != NULL, "no temporary file");
	for (uint32_t i = 0; i < NAMES; i++) {
		name_make(name, i, true);
		fprintf(f, "%s: value %u\n", name, i);
	}
	check(fclose(f) == 0, "no temporary file");
	check(lookup_spec_parse(SLICE("lsearch"), &spec, NULL) == OK, "no lsearch");
	usleep(50 * 1000); /* so that its time is not that of now: then it would be read once more */
	before = heap_mib();
	start = seconds();
	check(ask_file(b, &spec, 1, true) == OK, "a name that is not found");
	printf("%-34s %9.0f ms to read      %6.1f MiB\n", "lsearch, 1,000,000 lines",
	       (seconds() - start) * 1e3, heap_mib() - before);
	ask(b, "  keys in it", ask_file, &spec, true, QUESTIONS / 4);
	ask(b, "  keys not in it", ask_file, &spec, false, QUESTIONS / 4);
	unlink(b->path);
}

static void bench_lmdb(struct bench *b)
{
	struct lookup_spec spec;
	char name[100], lock[80];
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi db;

	check(mdb_env_create(&env) == 0 && mdb_env_set_mapsize(env, 1ul << 30) == 0 &&
		  mdb_env_open(env, b->path, MDB_NOSUBDIR | MDB_NOSYNC, 0600) == 0 &&
		  mdb_txn_begin(env, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, NULL, 0, &db) == 0,
	      "no LMDB file");
	for (uint32_t i = 0; i < LMDB_KEYS; i++) {
		MDB_val k = {(size_t)name_make(name, i, true), name}, v = {5, "value"};

		check(mdb_put(txn, db, &k, &v, 0) == 0, "no LMDB file");
	}
	check(mdb_txn_commit(txn) == 0, "no LMDB file");
	mdb_env_close(env);
	check(lookup_spec_parse(SLICE("lmdb"), &spec, NULL) == OK, "no lmdb");
	usleep(50 * 1000);
	printf("LMDB, %u keys\n", LMDB_KEYS);
	ask(b, "  the first time", ask_lmdb, &spec, true, QUESTIONS / 20);
	ask(b, "  keys in it", ask_lmdb, &spec, true, QUESTIONS / 2);
	ask(b, "  keys not in it", ask_lmdb, &spec, false, QUESTIONS / 2);
	unlink(b->path);
	snprintf(lock, sizeof(lock), "%s-lock", b->path);
	unlink(lock);
}

static void bench_run(void *arg)
{
	struct bench *b = arg;

	if (is_chosen(b, "small"))
		bench_small(b);
	if (is_chosen(b, "lists"))
		bench_lists(b);
	if (is_chosen(b, "files")) {
		bench_list_file(b, "domain list, a file of 1,000,000", LIST_DOMAIN, ask_domain);
		bench_list_file(b, "host list, a file of 100,000", LIST_HOST, ask_host);
	}
	if (is_chosen(b, "lsearch"))
		bench_file(b);
	if (is_chosen(b, "lmdb"))
		bench_lmdb(b);
	shard_stop(b->shard);
}

static void bench_start(struct shard *shard, void *arg)
{
	struct bench *b = arg;

	task_init(&b->task, shard, &b->arena, UNTIL_NEVER);
	scope_init(&b->scope, &b->task, NULL);
	check(fiber_spawn(shard, bench_run, b) == OK, "no fiber");
}

/* Arguments: the parts to run (small, lists, files, lsearch, lmdb); none: all. */
int main(int argc, char **argv)
{
	struct bench b = {.path = "/tmp/bench_match-XXXXXX", .chosen = argv + (argc > 0)};
	struct shard_options options = {.cpu = -1, .count = 1};
	int fd = mkstemp(b.path);

	check(fd >= 0, "no temporary file");
	close(fd);
	arena_init(&b.arena, 0);
	arena_init(&b.lists, 0);
	check(shard_new(&options, &b.shard, NULL) == OK, "no shard");
	check(shard_run(b.shard, bench_start, &b, NULL) == OK, "no shard");
	match_done(b.shard);
	lookup_done(b.shard);
	expand_done(b.shard);
	shard_free(b.shard);
	arena_done(&b.arena);
	arena_done(&b.lists);
	arena_pool_done();
	return 0;
}
