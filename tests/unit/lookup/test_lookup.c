/* Lookups through ${lookup: results, defaults, partial matching, and every way in which they can go wrong. */

#include "harness.h"

#include "lookup/lsearch.h"

static void prepare(struct harness *h)
{
	text_make(h, "oracle.conf",
		  "exim_user = root\nexim_group = root\nprimary_hostname = me.example\nkeep_environment =\n");
	text_make(h, "ls",
		  "# comment\nkey1: value one\n   cont\nkey2 : v2\nkey3 v3\nkey4\n"
		  "\"q k\\\"x\\t\" : qv\n\"unterminated: zz\nkey5 :: colon\nKEY6:v6\n: emptykey\nkey7:  \n"
		  "key8:a\r\n key9 : b\n\tt\nempty:\n  rest\ndup: first\ndup: second\n#no: x\n\"#yes\": y\n"
		  "\"a:b\": c\n  d\n\"\\x41\\102\" oct\nlast: end");
	text_make(h, "psl", "// a comment\ncom\nco.uk\nuk\n*.ck\n!www.ck\n");
	text_make(h, "notpsl", "// nothing but words in a comment\n");
	text_make(h, "comments", "k: a\n\n# not data\n  b\n");
	text_make(h, "partial",
		  "*.a.b: pab\n*: def\nx.y: exact\n.d.e: dot\nf.g: bare\n*@m.n: at\nu@m.n: full\n*.z: one\n");
	text_make(h, "nodefault", "*.a.b: pab\n");
	text_make(h, "wild",
		  "*.a.b: suffix\n^\\d+\\.x re: z\n\"^q r:s\": quoted\n!neg: not\nFOO: lit\n*: all\n");
	text_make(
	    h, "wilde",
	    "^\\N\\d+\\.x\\N re\n$primary_hostname: mine\n\"${if eq{a}{a}{yes.it}{no.it}}\": cond\nfin: end\n");
	text_make(
	    h, "nets",
	    "10.2.3.4: ip\n10.0.0.0/8: eight\n10.9.0.0/24: masked\n\"2001:db8::/32\": q\n\"2001:db8::5\" : q5\n"
	    "192.0.2.0/24 two\n192.0.2.7: hidden\nnonsense: x\n");
	text_make(h, "json",
		  "{ \"a\": { \"b\" : [1, \"two\\u0041\", {\"c\": null}] }, \"s\": \"x\\ny\", \"n\": -1.5e3, "
		  "\"pair\": \"\\ud83d\\ude00|\\ud83d|\\u00e9\" }");
	text_make(h, "badjson", "{ \"a\": { \"b\" ");
}

static void check_files(struct harness *h)
{
	static const struct row rows[] = {
	    ROW("${lookup{key1}lsearch{@D/ls}}", "value one cont"),
	    ROW("${lookup{KEY2}lsearch{@D/ls}}", "v2"),
	    ROW("${lookup{key3}lsearch{@D/ls}}", "v3"),
	    ROW("${lookup{key4}lsearch{@D/ls}{<$value>}{none}}", "<>"),
	    ROW("${lookup{q k\"x\\t}lsearch{@D/ls}{<$value>}{none}}", "<qv>"),
	    ROW("${lookup{unterminated: zz}lsearch{@D/ls}{<$value>}{none}}", "<>"),
	    ROW("${lookup{key5}lsearch{@D/ls}}", ": colon"),
	    ROW("${lookup{key6}lsearch{@D/ls}}", "v6"),
	    ROW("${lookup{key7}lsearch{@D/ls}{<$value>}{none}}", "<>"),
	    ROW("${lookup{key8}lsearch{@D/ls}}", "a key9 : b t"),
	    ROW("${lookup{key9}lsearch{@D/ls}{yes}{none}}", "none"),
	    ROW("${lookup{empty}lsearch{@D/ls}{<$value>}}", "< rest>"),
	    ROW("${lookup{dup}lsearch{@D/ls}}", "first"),
	    ROW("${lookup{#no}lsearch{@D/ls}{yes}{none}}", "none"),
	    ROW("${lookup{#yes}lsearch{@D/ls}}", "y"),
	    ROW("${lookup{AB}lsearch{@D/ls}}", "oct"),
	    ROW("${lookup{last}lsearch{@D/ls}}", "end"),
	    ROW("${lookup{key}lsearch{@D/ls}{yes}{none}}", "none"),
	    ROW("${lookup{}lsearch{@D/ls}{yes}{none}}", "none"),
	    OURS("${lookup{key2}lsearch{@D/ls}fail}", "Failed: "),
	    ROW("${lookup{nokey}lsearch{@D/ls}{yes}fail}",
		"Failed: \"lookup\" failed and \"fail\" requested"),
	    ROW("${lookup{nokey}lsearch{@D/ls}}", ""),
	    ROW("${lookup{a:b}lsearch,ret=full{@D/ls}}", "a:b: c d"),
	    ROW("${lookup{Key2}lsearch,ret=key{@D/ls}}", "Key2"),
	    ROW("${lookup{key2}lsearch,cache=no_rd{@D/ls}}", "v2"),
	    ROW("${lookup {key2} lsearch {@D/ls} {<$value>} {no}}", "<v2>"),
	    /* As the manual says; Exim 4.98.2 ends the item at the empty line. */
	    OURS("${lookup{k}lsearch{@D/comments}}", "a b"),
	    ROW("${lookup{x}lsearch{@D/none}}",
		"DEFER: failed to open @D/none for linear search: No such file"),
	    ROW("${lookup{x}lsearch{@D}}", "DEFER: lookup of \"x\" gave DEFER: @D is not a regular file"),
	    ROW("${lookup{x}lsearch{relative}}",
		"DEFER: failed to open relative for linear search: No such file"),
	    ROW("${lookup{x}lsearch{}}", "DEFER: failed to open  for linear search: No such file"),
	    ROW("${lookup{root}dsearch{@D}{yes}{no}}", "no"),
	    ROW("${lookup{ls}dsearch{@D}}", "ls"),
	    ROW("${lookup{ls}dsearch,ret=full{@D}}", "@D/ls"),
	    ROW("${lookup{ls}dsearch,filter=file{@D}{yes}{no}}", "yes"),
	    ROW("${lookup{ls}dsearch,filter=dir{@D}{yes}{no}}", "no"),
	    ROW("${lookup{.}dsearch,filter=dir{@D}{yes}{no}}", "yes"),
	    ROW("${lookup{.}dsearch,filter=subdir{@D}{yes}{no}}", "no"),
	    ROW("${lookup{a/b}dsearch{@D}{yes}{no}}",
		"DEFER: lookup of \"a/b\" gave DEFER: key for dsearch lookup contains a slash: a/b"),
	    ROW("${lookup{a}dsearch{@D/none}{yes}{no}}",
		"DEFER: failed to open @D/none for directory search"),
	    ROW("${lookup passwd{root}{${extract{2}{:}{$value}}}}", "0"),
	    ROW("${lookup passwd{nobody-of-that-name}{yes}{no}}", "no"),
	    OURS("${lookup{a:b:1}json{@D/json}}", "twoA"),
	    OURS("${lookup{a : b : 2 : c}json{@D/json}}", "null"),
	    OURS("${lookup{a:b}json{@D/json}}", "[1, \"two\\u0041\", {\"c\": null}]"),
	    OURS("${lookup{s}json{@D/json}}", "x\ny"),
	    OURS("${lookup{n}json{@D/json}}", "-1.5e3"),
	    OURS("${lookup{pair}json{@D/json}}", "\U0001f600|\ufffd|\u00e9"),
	    OURS("${lookup{a:9}json{@D/json}{yes}{no}}", "no"),
	    OURS("${lookup{a:b:3}json{@D/json}{yes}{no}}", "no"),
	    OURS("${lookup{a:b}json{@D/badjson}{yes}{no}}",
		 "DEFER: lookup of \"a:b\" gave DEFER: @D/badjson is not JSON"),
	};

	rows_check(h, rows, ARRAY_COUNT(rows));
}

static void check_defaults(struct harness *h)
{
	static const struct row rows[] = {
	    ROW("${lookup{x.y.a.b}partial-lsearch{@D/partial}{$value $1 $2}}", "pab x.y a.b"),
	    ROW("${lookup{a.b}partial-lsearch{@D/partial}{$value <$1> $2}}", "pab <> a.b"),
	    ROW("${lookup{q.x.y}partial-lsearch{@D/partial}{$value}{none}}", "none"),
	    ROW("${lookup{x.y}partial-lsearch{@D/partial}{$value <$1>}}", "exact <>"),
	    ROW("${lookup{q.z}partial-lsearch{@D/partial}{$value}{none}}", "none"),
	    ROW("${lookup{q.z}partial1-lsearch{@D/partial}{$value}{none}}", "one"),
	    ROW("${lookup{q.w}partial0-lsearch{@D/partial}{$value}{none}}", "def"),
	    ROW("${lookup{q.w}partial0-lsearch{@D/nodefault}{$value}{none}}", "none"),
	    ROW("${lookup{q.w}partial-lsearch*{@D/partial}{$value $1}{none}}", "def q.w"),
	    ROW("${lookup{c.d.e}partial(.)lsearch{@D/partial}{$value}{none}}", "dot"),
	    ROW("${lookup{e.f.g}partial1()lsearch{@D/partial}{$value}{none}}", "bare"),
	    ROW("${lookup{u@m.n}lsearch*@{@D/partial}{$value}{none}}", "full"),
	    ROW("${lookup{v@m.n}lsearch*@{@D/partial}{$value $1}{none}}", "at v"),
	    ROW("${lookup{v@w@m.n}lsearch*@{@D/partial}{$value $1}{none}}", "at v@w"),
	    ROW("${lookup{v@k.l}lsearch*@{@D/partial}{$value}{none}}", "def"),
	    ROW("${lookup{v@m.n}lsearch*{@D/partial}{$value}{none}}", "def"),
	    ROW("${lookup{}lsearch*{@D/partial}{$value}{none}}", "def"),
	    ROW("${lookup{x.a.b}partial-lsearch,ret=key{@D/partial}}", "x.a.b"),
	    ROW("${lookup{x}partial-dnsdb{a=b}}",
		"Failed: \"partial\" is not permitted for lookup type \"dnsdb\""),
	    ROW("${lookup dnsdb*{a=b}}",
		"Failed: defaults using \"*\" or \"*@\" are not permitted for lookup type \"dnsdb*\""),
	    ROW("${lookup{x}lsearch@{/a}}", "Failed: unknown lookup type \"lsearch@\""),
	    ROW("${lookup{x}net-lsearch{/a}}", "Failed: unknown lookup type \"net-lsearch\""),
	    ROW("${lookup{x}partial(lsearch{/a}}", "Failed: format error in lookup type \"partial(lsearch\""),
	    ROW("${lookup{x}partial(a)lsearch{/a}}",
		"Failed: format error in lookup type \"partial(a)lsearch\""),
	    ROW("${lookup{x}partial5lsearch{/a}}", "Failed: format error in lookup type \"partial5lsearch\""),
	    ROW("${lookup{x}nosuch{/a}}", "Failed: unknown lookup type \"nosuch\""),
	    ROW("${lookup{root}passwd{/x}}",
		"Failed: a single key was given for lookup type \"passwd\", which is not a single-key lookup type"),
	    ROW("${lookup lsearch{x}}", "Failed: missing {key} for single-key \"lsearch\" lookup"),
	    ROW("${lookup{x}{y}}", "Failed: missing lookup type"),
	    ROW("${lookup{x}lsearch", "Failed: missing '{' for lookup file-or-query arg"),
	    OURS("${lookup oracle{get x}}",
		 "DEFER: lookup of \"get x\" gave DEFER: lookup type \"oracle\" is not built into"),
	    OURS("${if eq{${lookup{x}dbm{/x}}}{}{a}{b}}",
		 "DEFER: lookup of \"x\" gave DEFER: lookup type \"dbm\" is not"),
	};

	rows_check(h, rows, ARRAY_COUNT(rows));
}

static void check_quotes(struct harness *h)
{
	static const struct row rows[] = {
	    ROW("${quote_mysql:a'b\"c\\\\d\\ne\\tf%_}", "a\\'b\\\"c\\\\d\\ne\\tf%_"),
	    ROW("${quote_pgsql:a'b\"c\\\\d\\ne\\tf%_}", "a''b\\\"c\\\\d\\ne\\tf%_"),
	    ROW("${quote_sqlite:a'b\"c\\\\d}", "a''b\"c\\d"),
	    ROW("${quote_ldap: a(bc)*, a<yz>; }", "%20a%5C28bc%5C29%5C2A%2C%20a%3Cyz%3E%3B%20"),
	    ROW("${quote_ldap_dn: a(bc)*, a<yz>; }", "%5C%20a(bc)*%5C%2C%20a%5C%3Cyz%5C%3E%5C%3B%5C%20"),
	    ROW("${quote_ldap_dn: #a b }", "%5C%20%5C%23a%20b%5C%20"),
	    ROW("${quote_ldap_dn:}", ""),
	    OURS("${quote_redis:a b\\\\c\\nd'}", "a\\ b\\\\c\\\nd'"),
	    OURS("${quote_nisplus:a\"b}", "a\"\"b"),
	    ROW("${quote_lsearch:a'b}", "a'b"),
	    ROW("${quote_mysql_x:a}", "Failed: \"x\" unrecognized after \"${quote_mysql\""),
	    ROW("${quote_nosuch:a}", "Failed: unknown lookup type \"nosuch\""),
	};

	rows_check(h, rows, ARRAY_COUNT(rows));
}

static void test_quotes(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, prepare, check_quotes);
}

static void check_patterns(struct harness *h)
{
	static const struct row rows[] = {
	    ROW("${lookup{q.a.b}nwildlsearch{@D/wild}}", "suffix"),
	    ROW("${lookup{12.x}nwildlsearch{@D/wild}}", "re: z"),
	    ROW("${lookup{q r:s}nwildlsearch{@D/wild}}", "quoted"),
	    ROW("${lookup{neg}nwildlsearch{@D/wild}}", "all"),
	    ROW("${lookup{foo}nwildlsearch{@D/wild}}", "not"),
	    ROW("${lookup{12.x}wildlsearch{@D/wilde}{$value}{none}}", "re"),
	    ROW("${lookup{me.example}wildlsearch{@D/wilde}{$value}{none}}", "mine"),
	    ROW("${lookup{yes.it}wildlsearch{@D/wilde}{$value}{none}}", "cond"),
	    ROW("${lookup{fin}wildlsearch{@D/wilde}{$value}{none}}", "end"),
	    ROW("${lookup{10.2.3.4}iplsearch{@D/nets}}", "ip"),
	    ROW("${lookup{10.2.3.5}iplsearch{@D/nets}}", "eight"),
	    ROW("${lookup{10.9.0.5}iplsearch{@D/nets}}", "eight"),
	    ROW("${lookup{2001:db8::5}iplsearch{@D/nets}}", "q"),
	    ROW("${lookup{2001:0DB8:0:0::5}iplsearch{@D/nets}}", "q"),
	    ROW("${lookup{2001:db9::5}iplsearch{@D/nets}{yes}{no}}", "no"),
	    ROW("${lookup{192.0.2.7}iplsearch{@D/nets}}", "two"),
	    ROW("${lookup{11.0.0.1}iplsearch{@D/nets}{yes}{no}}", "no"),
	    ROW("${lookup{10.9.8.7}iplsearch,ret=full{@D/nets}}", "10.0.0.0/8: eight"),
	    ROW("${lookup{nonsense}iplsearch{@D/nets}}",
		"DEFER: lookup of \"nonsense\" gave DEFER: \"nonsense\" is not a valid iplsearch key (an IP address, with optional CIDR mask, is wanted): in a host list, use net-iplsearch as the search type"),
	};

	rows_check(h, rows, ARRAY_COUNT(rows));
}

static void check_domains(struct harness *h)
{
	static const struct row rows[] = {
	    OURS("${lookup{www.example.com}regdom{@D/psl}{<$value>}{no}}", "<example.com>"),
	    OURS("${lookup{A.B.Example.CO.UK.}regdom{@D/psl}{<$value>}{no}}", "<example.co.uk>"),
	    OURS("${lookup{co.uk}regdom{@D/psl}{<$value>}{no}}", "no"),
	    OURS("${lookup{a.b.c.ck}regdom{@D/psl}{<$value>}{no}}", "<b.c.ck>"),
	    OURS("${lookup{a.www.ck}regdom{@D/psl}{<$value>}{no}}", "<www.ck>"),
	    OURS("${lookup{www.example.com}psl{@D/psl}{<$value>}{no}}", "<com>"),
	    OURS("${lookup{example.co.uk}psl{@D/psl}{<$value>}{no}}", "<co.uk>"),
	    OURS("${lookup{a.unlisted}psl{@D/psl}{<$value>}{no}}", "<unlisted>"),
	    OURS("${lookup{}psl{@D/psl}{<$value>}{no}}", "no"),
	    OURS("${lookup{...}regdom{@D/psl}{<$value>}{no}}", "no"),
	    OURS("${lookup{a\\0b.com}regdom{@D/psl}{<$value>}{no}}", "no"),
	    OURS("${lookup{a.com}regdom{@D/notpsl}}", "DEFER: "),
	    OURS("${lookup{a.com}regdom{@D/none}}", "DEFER: failed to open"),
	    OURS("${lookup testdb{some key}{<$value>}{no}}", "<some key>"),
	    OURS("${lookup testdb{fail}{<$value>}{no}}", "no"),
	    OURS("${lookup testdb{nocache}}", "nocache"),
	    OURS("${lookup testdb{defer}}",
		 "DEFER: lookup of \"defer\" gave DEFER: testdb lookup forced DEFER"),
	    OURS("${lookup{a}dbm{@D/ls}}",
		 "DEFER: lookup of \"a\" gave DEFER: lookup type \"dbm\" is not built into this server"),
	    OURS("${lookup whoson{a}}", "DEFER: lookup of \"a\" gave DEFER: lookup type \"whoson\" is not"),
	    /* Keys that no file has, and none that ends anything. */
	    OURS("${lookup{key\\0}lsearch{@D/ls}{<$value>}{no}}", "no"),
	    ROW("${lookup{key\\nkey2}lsearch{@D/ls}{<$value>}{no}}", "no"),
	    ROW("${lookup{key\"}lsearch{@D/ls}{<$value>}{no}}", "no"),
	};

	rows_check(h, rows, ARRAY_COUNT(rows));
}

static void test_domains(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, prepare, check_domains);
}

static void test_files(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, prepare, check_files);
}

static void test_defaults(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, prepare, check_defaults);
}

static void test_patterns(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, prepare, check_patterns);
}

/* A stranger may choose a key, never a file; what comes back is the administrator's. */
static void check_taint(struct harness *h)
{
	struct lookup_spec spec;
	struct slice value, file = with_dir(h, "@D/ls");
	struct err err = err_make(&h->err_arena);

	assert_int_equal(lookup_spec_parse(SLICE("lsearch,ret=key"), &spec, &err), OK);
	assert_int_equal(
	    lookup_find(&h->scope, &spec, file, slice_tainted(SLICE("key2")), &value, NULL, NULL, &err), OK);
	assert_true(slice_eq(value, SLICE("key2")));
	assert_int_equal(value.taint, CLEAN);
	assert_int_equal(
	    lookup_find(&h->scope, &spec, slice_tainted(file), SLICE("key2"), &value, NULL, NULL, &err),
	    DEFER);
	assert_true(slice_starts(err.text, SLICE("Tainted filename for search: '")));
	/* What comes back is a stranger's text: no file is named by it. */
	assert_int_equal(lookup_spec_parse(SLICE("regdom"), &spec, &err), OK);
	assert_int_equal(lookup_find(&h->scope, &spec, with_dir(h, "@D/psl"), slice_tainted(SLICE("x.a.com")),
				     &value, NULL, NULL, &err),
			 OK);
	assert_true(slice_eq(value, SLICE("a.com")));
	assert_int_equal(value.taint, TAINTED);
	assert_int_equal(lookup_spec_parse(SLICE("dsearch"), &spec, &err), OK);
	assert_int_equal(
	    lookup_find(&h->scope, &spec, slice_tainted(file), SLICE("key2"), &value, NULL, NULL, &err),
	    DEFER);
}

static void test_taint(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, prepare, check_taint);
}

/* ---- Files that change ------------------------------------------------------------------ */

static void rest(struct harness *h)
{
	/* Longer than a look at a file counts. */
	assert_int_equal(task_sleep(&h->task, shard_now(h->shard) + 2 * NS_PER_MS), OK);
}

static void check_change(struct harness *h)
{
	struct slice ask = with_dir(h, "${lookup{k}lsearch{@D/changing}{$value}{none}}");
	char from[100], to[100];

	snprintf(from, sizeof(from), "%s/new", h->dir);
	snprintf(to, sizeof(to), "%s/changing", h->dir);
	text_make(h, "changing", "k: 1\n");
	assert_true(slice_eq(expanded(h, ask), SLICE("1")));
	for (unsigned i = 0; i < 50; i++) {
		char text[20];

		/* By another file of the same size in its place, then by writing into it. */
		snprintf(text, sizeof(text), "k: %u\n", 100 + i);
		text_make(h, i & 1 ? "changing" : "new", text);
		if (!(i & 1))
			assert_int_equal(rename(from, to), 0);
		rest(h);
		text[6] = '\0';
		assert_true(slice_eq(expanded(h, ask), slice_of(text + 3)));
	}
	assert_int_equal(truncate(to, 0), 0);
	rest(h);
	assert_true(slice_eq(expanded(h, ask), SLICE("none")));
	assert_int_equal(unlink(to), 0);
	rest(h);
	assert_true(slice_starts(expanded(h, ask), SLICE("DEFER: failed to open")));
}

static void test_change(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, NULL, check_change);
}

/* A version in hand stays whole while the file goes and a new one comes. */
static void check_versions(struct harness *h)
{
	static const struct text_file_kind kind = {.name = "test"};
	struct slice path = with_dir(h, "@D/v");
	struct err err = err_make(&h->err_arena);
	struct text_file *old, *new, *same;

	text_make(h, "v", "one");
	assert_int_equal(text_file_get(&h->task, path, &kind, &old, &err), OK);
	text_make(h, "v", "two and more");
	rest(h);
	assert_int_equal(text_file_get(&h->task, path, &kind, &new, &err), OK);
	assert_true(slice_eq(old->bytes, SLICE("one")));
	assert_true(slice_eq(new->bytes, SLICE("two and more")));
	assert_true(old->serial != new->serial);
	text_file_put(h->shard, old);
	assert_int_equal(task_sleep(&h->task, shard_now(h->shard) + 30 * NS_PER_MS), OK);
	assert_int_equal(text_file_get(&h->task, path, &kind, &same, &err), OK);
	text_file_put(h->shard, new);
	new = same;
	rest(h);
	assert_int_equal(text_file_get(&h->task, path, &kind, &same, &err), OK);
	assert_ptr_equal(same, new); /* unchanged and old enough to be sure: not read again */
	text_file_put(h->shard, new);
	text_file_put(h->shard, same);
}

static void test_versions(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, NULL, check_versions);
}

/* ---- Many at once ----------------------------------------------------------------------- */

#define CHILDREN 60

struct together {
	struct harness *h;
	unsigned answers, cancelled, others;
	uint64_t serial; /* of the version that all of them get */
	unsigned versions;
};

static void together_child(struct task *task, void *arg)
{
	struct together *t = arg;
	struct err err = err_make(NULL);
	struct text_file *file;
	enum rc rc = text_file_get(task, with_dir(t->h, "@D/large"), &lsearch_file_kind, &file, &err);

	if (rc == CANCELLED)
		t->cancelled++;
	else if (rc != OK)
		t->others++;
	if (rc != OK)
		return;
	t->answers++;
	if (file->serial != t->serial) {
		t->serial = file->serial;
		t->versions++;
	}
	text_file_put(task->shard, file);
}

/* A file that takes a helper thread to index is read once for all that want it at the same time; those that
 * are cancelled meanwhile, the one that reads it among them, leave the others unharmed. */
static void check_together(struct harness *h)
{
	struct together t = {.h = h};
	struct group group;

	for (unsigned round = 0; round < 2; round++) {
		group_init(&group);
		for (unsigned i = 0; i < CHILDREN; i++)
			assert_int_equal(group_spawn(&h->task, &group, together_child, &t), OK);
		assert_int_equal(task_yield(&h->task), OK); /* they are under way */
		if (round == 0)
			group_cancel(&group);
		assert_int_equal(group_wait(&h->task, &group), OK);
	}
	assert_int_equal(t.others, 0);
	assert_int_equal(t.answers + t.cancelled, 2 * CHILDREN);
	assert_true(t.answers >= CHILDREN);
	assert_int_equal(t.versions, 1);
	assert_true(
	    slice_eq(expanded(h, with_dir(h, "${lookup{key77777}lsearch{@D/large}}")), SLICE("value 77777")));
}

static void prepare_large(struct harness *h)
{
	char path[100];
	FILE *f;

	snprintf(path, sizeof(path), "%s/large", h->dir);
	f = fopen(path, "w");
	assert_non_null(f);
	for (unsigned i = 0; i < 100000; i++)
		fprintf(f, "key%u: value %u\n", i, i);
	assert_int_equal(fclose(f), 0);
	usleep(40 * 1000); /* older than the tick of file times: else it would be read again */
}

static void test_together(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, prepare_large, check_together);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_files),    cmocka_unit_test(test_domains),  cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_patterns), cmocka_unit_test(test_quotes),   cmocka_unit_test(test_taint),
	    cmocka_unit_test(test_change),   cmocka_unit_test(test_versions), cmocka_unit_test(test_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
