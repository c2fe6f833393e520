/* Lists of all kinds through the conditions match_domain and its kin: what matches, what decides, what $value
 * becomes. */

#define HARNESS_MATCH
#include "../lookup/harness.h"

#define CONF                                                                        \
	"primary_hostname = me.example\n"                                           \
	"domainlist d1 = a.b : *.c.d : lsearch;@D/dom\n"                            \
	"domainlist d2 = +d1 : ! x.y : *.y\n"                                       \
	"domainlist neg = ! n.n\n"                                                  \
	"domainlist dollar = ${lookup{k}lsearch{@D/dlist}}\n"                       \
	"domainlist failing = ${if eq{a}{b}{x}fail}\n"                              \
	"domainlist re = \\N^r\\d+\\.e$\\N : lit.re\n"                              \
	"hostlist h1 = <; 10.0.0.0/8 ; 2001:db8::/32 ; !192.0.2.1 ; 192.0.2.0/24\n" \
	"addresslist a1 = u@x.y : *@z.w : Mixed@Case.x : @@lsearch;@D/atat\n"       \
	"localpartlist l1 = foo : ^bar.* : +caseful : Case\n"

static void prepare(struct harness *h)
{
	struct slice text = with_dir(h, "exim_user = root\nexim_group = root\nkeep_environment =\n" CONF);

	file_make(h, "oracle.conf", text.ptr, text.len);
	text_make(h, "dom", "ls.dom: data here\nother: x\n*.wild.ls: w\nempty.dom:\n");
	text_make(h, "dlist", "k: from.lookup : *.from.star\n");
	text_make(h, "file",
		  "# comment\n!x.neg\n*.neg   # c\nlit.file\n+d1\n^re\\d+\n@D/file2\n\n  sp.file  \r\n");
	text_make(h, "afile", "a#b@c.d\nq@r.s # comment\n#x@c.d\n*@all.ex\n!no@neg.ex\n*.neg.ex\n");
	text_make(
	    h, "nets",
	    "10.2.3.4: ip\n10.0.0.0/8: eight\n10.9.0.0/24: masked\n2001.0db8.0000.0000.0000.0000.0000.0001: dots\n"
	    "\"2001:db8::/32\": q\n");
	text_make(h, "netfile",
		  "# nets\n172.16.0.0/12\n3ffe:ffff:836f::/48 # six\n!192.0.2.9\n192.0.2.0/24\n");
	text_make(
	    h, "atat",
	    "bad.com: !postmaster : *mer : ^\\d+$\nchain.com: x : >more\nmore: deep : >bad.com\nloop.com: >loop.com\n");
	text_make(h, "addr", "u@x.y: known\n*@dom.x: def\nlower@x.y: low\n");
}

static void check_domains(struct harness *h)
{
	static const struct row rows[] = {
	    ROW("${if match_domain{a.b}{a.b : c}{Y $value}{N}}", "Y a.b"),
	    ROW("${if match_domain{A.B}{+d1 : a}{Y $value}{N}}", "Y a.b"),
	    ROW("${if match_domain{q.c.d}{+d1}{Y $value}{N}}", "Y *.c.d"),
	    ROW("${if match_domain{c.d}{+d1}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{ls.dom}{+d1}{Y $value}{N}}", "Y data here"),
	    ROW("${if match_domain{empty.dom}{+d1}{Y <$value>}{N}}", "Y <>"),
	    ROW("${if match_domain{q.y}{+d2}{Y $value}{N}}", "Y *.y"),
	    ROW("${if match_domain{x.y}{+d2}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{a.b}{+d2}{Y $value}{N}}", "Y a.b"),
	    ROW("${if match_domain{m.m}{+neg : z}{Y $value}{N}}", "Y "),
	    ROW("${if match_domain{n.n}{+neg : z}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{n.n}{! +neg : z}{Y $value}{N}}", "N"),
	    OURS("${if match_domain{n.n}{z : ! +neg}{Y $value}{N}}", "Y "),
	    ROW("${if match_domain{from.lookup}{+dollar}{Y $value}{N}}", "Y from.lookup"),
	    ROW("${if match_domain{q.from.star}{+dollar}{Y $value}{N}}", "Y *.from.star"),
	    ROW("${if match_domain{r12.e}{+re}{Y $value}{N}}", "Y ^r\\d+\\.e$"),
	    ROW("${if match_domain{lit.re}{+re}{Y $value}{N}}", "Y lit.re"),
	    ROW("${if match_domain{r.e}{+re}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{a}{!b : a}{Y $value}{N}}", "Y a"),
	    ROW("${if match_domain{b}{!b : a}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{c}{!b : a}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{c}{a : !b}{Y $value}{N}}", "Y "),
	    ROW("${if match_domain{a}{!b:}{Y $value}{N}}", "Y "),
	    ROW("${if match_domain{a}{!b: :}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{a.b.c}{!a.b.c : *.b.c}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{x.b.c}{!a.b.c : *.b.c}{Y $value}{N}}", "Y *.b.c"),
	    ROW("${if match_domain{x.b.c}{*.c : *.b.c}{Y $value}{N}}", "Y *.c"),
	    ROW("${if match_domain{x.b.c}{*.b.c : *.c : x.b.c}{Y $value}{N}}", "Y *.b.c"),
	    ROW("${if match_domain{x.b.c}{x.b.c : *.b.c : *.c}{Y $value}{N}}", "Y x.b.c"),
	    ROW("${if match_domain{donkey.ex}{*key.ex}{Y $value}{N}}", "Y *key.ex"),
	    ROW("${if match_domain{key.ex}{*key.ex}{Y <$1>}{N}}", "Y <>"),
	    ROW("${if match_domain{a.b.c}{*.c}{0=$0 1=$1 v=$value}{N}}", "0=a.b.c 1=a.b v=*.c"),
	    ROW("${if match_domain{a.b.c}{\\N^(a)\\.b\\N}{0=$0 1=$1 v=$value}{N}}", "0=a.b.c 1=a v=^(a)\\.b"),
	    ROW("${if match_domain{A.b}{\\N^a\\.(?-i)B\\N}{Y}{N}}", "N"),
	    ROW("${if match_domain{anything}{*}{Y $value}{N}}", "Y *"),
	    ROW("${if match_domain{}{*}{Y $value}{N}}", "Y *"),
	    ROW("${if match_domain{}{:}{Y $value}{N}}", "Y "),
	    ROW("${if match_domain{}{}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{a}{}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{me.example}{@}{Y $value}{N}}", "Y me.example"),
	    ROW("${if match_domain{ME.example}{@}{Y $value}{N}}", "Y me.example"),
	    ROW("${if match_domain{[127.0.0.1]}{@[]}{Y $value}{N}}", "Y @[]"),
	    ROW("${if match_domain{[192.0.2.77]}{@[]}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{127.0.0.1}{@[]}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{a.b}{<; x.y ; a.b}{Y $value}{N}}", "Y a.b"),
	    ROW("${if match_domain{a:b}{x : a::b}{Y $value}{N}}", "Y a:b"),
	    ROW("${if match_domain{me.example}{$primary_hostname:a.b}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{ls.dom}{lsearch,ret=key;@D/dom}{Y $value}{N}}", "Y ls.dom"),
	    ROW("${if match_domain{q.wild.ls}{partial-lsearch;@D/dom}{Y $value}{N}}", "Y w"),
	    ROW("${if match_domain{ls.dom}{! lsearch;@D/dom}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{root}{passwd;root}{Y}{N}}", "Y"),
	    ROW("${if match_domain{nope}{passwd;no-such-user}{Y}{N}}", "N"),
	    ROW("${if match_domain{x.neg}{@D/file}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{y.neg}{@D/file}{Y $value}{N}}", "Y *.neg"),
	    ROW("${if match_domain{a.b}{@D/file}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{re55}{@D/file}{Y $value}{N}}", "Y ^re\\d+"),
	    ROW("${if match_domain{LIT.file}{! @D/file}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{zz}{! @D/file}{Y $value}{N}}", "Y "),
	    ROW("${if match_domain{x.neg}{! @D/file : x}{Y}{N}}", "Y"),
	    ROW("${if match_domain{x.neg}{y : @D/file : x.neg}{Y $value}{N}}", "N"),
	    ROW("${if match_domain{zz}{@D/file : zz}{Y $value}{N}}", "Y zz"),
	    ROW("${if match_domain{sp.file}{@D/file}{Y $value}{N}}", "Y sp.file"),
	    /* Exim ends its life at these; here somebody else's mail goes on. */
	    ROW("${if match_domain{a}{lsearch;@D/none}{Y}{N}}",
		"DEFER: unable to complete match against \"lsearch;@D/none\": failed to open @D/none for linear search"),
	    ROW("${if match_domain{a}{@D/none}{Y}{N}}",
		"DEFER: unable to complete match against \"@D/none\": failed to open"),
	    ROW("${if match_domain{a}{nosuch;bar}{Y}{N}}",
		"DEFER: unable to complete match against \"nosuch;bar\": unknown lookup type"),
	    ROW("${if match_domain{a}{+nolist}{Y}{N}}",
		"DEFER: unable to complete match against \"+nolist\": unknown named domain list"),
	    ROW("${if match_domain{a}{a : +nolist}{Y $value}{N}}", "Y a"),
	    ROW("${if match_domain{a}{\\N^(\\N}{Y}{N}}", "DEFER: unable to complete match"),
	    ROW("${if match_domain{a}{+failing : a}{Y $value}{N}}", "Y a"),
	    ROW("${if match_domain{a}{! +failing : b}{Y $value}{N}}", "N"),
	};

	rows_check(h, rows, ARRAY_COUNT(rows));
}

static void check_hosts(struct harness *h)
{
	static const struct row rows[] = {
	    ROW("${if match_ip{10.1.2.3}{+h1}{Y $value}{N}}", "Y "),
	    ROW("${if match_ip{192.0.2.1}{+h1}{Y $value}{N}}", "N"),
	    ROW("${if match_ip{192.0.2.2}{+h1}{Y $value}{N}}", "Y "),
	    ROW("${if match_ip{2001:db8:1::2}{+h1}{Y $value}{N}}", "Y "),
	    ROW("${if match_ip{2001:db9:1::2}{+h1}{Y $value}{N}}", "N"),
	    ROW("${if match_ip{10.1.2.3}{foo}{Y}{N}}", "N"),
	    ROW("${if match_ip{10.1.2.3}{foo : 10.1.2.3}{Y}{N}}", "N"),
	    ROW("${if match_ip{10.1.2.3}{!foo}{Y}{N}}", "N"),
	    ROW("${if match_ip{10.1.2.3}{+ignore_unknown : foo : 10.1.2.3}{Y}{N}}", "Y"),
	    ROW("${if match_ip{10.1.2.3}{+include_unknown : foo}{Y}{N}}", "Y"),
	    ROW("${if match_ip{10.1.2.3}{+include_unknown : +ignore_unknown : foo}{Y}{N}}", "N"),
	    ROW("${if match_ip{10.1.2.3}{10.1.2.3 : foo}{Y}{N}}", "Y"),
	    ROW("${if match_ip{10.1.2.3}{*}{Y}{N}}", "Y"),
	    ROW("${if match_ip{10.1.2.3}{*.foo}{Y}{N}}", "N"),
	    ROW("${if match_ip{10.1.2.3}{^foo}{Y}{N}}", "N"),
	    ROW("${if match_ip{}{:}{Y}{N}}", "Y"),
	    ROW("${if match_ip{}{*}{Y}{N}}", "Y"),
	    ROW("${if match_ip{}{10.0.0.0/8}{Y}{N}}", "N"),
	    ROW("${if match_ip{}{! 10.0.0.0/8}{Y}{N}}", "Y"),
	    ROW("${if match_ip{10.1.2.3}{:}{Y}{N}}", "N"),
	    ROW("${if match_ip{junk}{10.0.0.0/8}{Y}{N}}", "Failed: \"junk\" is not an IP address"),
	    ROW("${if match_ip{::1}{<; ::1/128}{Y}{N}}", "Y"),
	    ROW("${if match_ip{2001:db8::1}{2001::db8::::1}{Y}{N}}", "Y"),
	    ROW("${if match_ip{2001:db8:0::1}{<; 2001:db8::0001}{Y}{N}}", "Y"),
	    ROW("${if match_ip{10.1.2.3}{10.1}{Y}{N}}", "N"),
	    ROW("${if match_ip{10.1.2.3}{10.1.2.3/0}{Y}{N}}", "Y"),
	    ROW("${if match_ip{10.1.2.3}{11.0.0.0/0}{Y}{N}}", "Y"),
	    ROW("${if match_ip{10.1.2.3}{10.1.2.2/31}{Y}{N}}", "Y"),
	    ROW("${if match_ip{10.1.2.3}{10.1.2.0/31}{Y}{N}}", "N"),
	    ROW("${if match_ip{127.0.0.1}{@[]}{Y}{N}}", "Y"),
	    ROW("${if match_ip{192.0.2.1}{@[]}{Y}{N}}", "N"),
	    ROW("${if match_ip{127.0.0.1}{@}{Y}{N}}", "N"),
	    ROW("${if match_ip{::ffff:10.9.1.4}{10.9.1.4}{Y}{N}}", "Y"),
	    ROW("${if match_ip{10.2.3.4}{net-lsearch;@D/nets}{Y $value}{N}}", "Y ip"),
	    ROW("${if match_ip{10.9.0.4}{net24-lsearch;@D/nets}{Y $value}{N}}", "Y masked"),
	    ROW("${if match_ip{10.9.1.4}{net8-lsearch;@D/nets}{Y $value}{N}}", "Y eight"),
	    ROW("${if match_ip{10.9.1.4}{net-iplsearch;@D/nets}{Y $value}{N}}", "Y eight"),
	    ROW("${if match_ip{2001:db8::1}{net-lsearch;@D/nets}{Y $value}{N}}", "Y dots"),
	    ROW("${if match_ip{2001:db8::1}{<| net-iplsearch;@D/nets}{Y $value}{N}}", "Y q"),
	    ROW("${if match_ip{10.9.1.4}{iplsearch;@D/nets}{Y $value}{N}}", "Y eight"),
	    ROW("${if match_ip{10.9.1.4}{lsearch;@D/nets}{Y $value}{N}}", "N"),
	    ROW("${if match_ip{172.20.1.1}{@D/netfile}{Y}{N}}", "Y"),
	    ROW("${if match_ip{3ffe:ffff:836f:1::5}{@D/netfile}{Y}{N}}", "Y"),
	    ROW("${if match_ip{192.0.2.9}{@D/netfile}{Y}{N}}", "N"),
	    ROW("${if match_ip{192.0.2.8}{! @D/netfile : *}{Y}{N}}", "N"),
	    ROW("${if match_ip{1.1.1.1}{! @D/netfile : *}{Y}{N}}", "Y"),
	};

	rows_check(h, rows, ARRAY_COUNT(rows));
}

static void check_addresses(struct harness *h)
{
	static const struct row rows[] = {
	    ROW("${if match_address{u@x.y}{+a1}{Y $value}{N}}", "Y u@x.y"),
	    ROW("${if match_address{U@X.y}{+a1}{Y $value}{N}}", "Y u@x.y"),
	    ROW("${if match_address{mixed@case.X}{+a1}{Y $value}{N}}", "Y Mixed@Case.x"),
	    OURS("${if match_address{any@z.w}{+a1}{Y $value}{N}}", "Y *@z.w"),
	    ROW("${if match_address{v@x.y}{+a1}{Y $value}{N}}", "N"),
	    ROW("${if match_address{}{:}{Y $value}{N}}", "Y "),
	    ROW("${if match_address{}{}{Y $value}{N}}", "N"),
	    ROW("${if match_address{}{*}{Y $value}{N}}", "N"),
	    ROW("${if match_address{}{*@*}{Y $value}{N}}", "N"),
	    ROW("${if match_address{}{!x@y}{Y $value}{N}}", "Y "),
	    ROW("${if match_address{}{^}{Y $value}{N}}", "Y "),
	    ROW("${if match_address{}{^.}{Y $value}{N}}", "N"),
	    ROW("${if match_address{a@b}{:}{Y $value}{N}}", "N"),
	    ROW("${if match_address{a@b}{*}{Y}{N}}", "Y"),
	    ROW("${if match_address{foo@a.b}{a.b}{Y $value}{N}}", "Y @a.b"),
	    ROW("${if match_address{foo@a.b}{*.b}{Y $value}{N}}", "Y @*.b"),
	    OURS("${if match_address{foo@a.b}{*@*.b}{Y $value}{N}}", "Y *@*.b"),
	    ROW("${if match_address{foo@a.b}{foo@*.b}{Y $value}{N}}", "Y foo@*.b"),
	    ROW("${if match_address{foo@a.b}{*o@a.b}{Y}{N}}", "Y"),
	    ROW("${if match_address{foo@a.b}{f*@a.b}{Y}{N}}", "N"),
	    ROW("${if match_address{foo@a.b}{*@+d1}{Y}{N}}", "Y"),
	    ROW("${if match_address{foo@a.q}{*@+d1}{Y}{N}}", "N"),
	    ROW("${if match_address{foo@ls.dom}{foo@lsearch;@D/dom}{Y}{N}}", "Y"),
	    ROW("${if match_address{bar@ls.dom}{foo@lsearch;@D/dom}{Y}{N}}", "N"),
	    ROW("${if match_address{foo@a.b}{foo@*}{Y $value}{N}}", "Y foo@*"),
	    ROW("${if match_address{foo@a.b}{@a.b}{Y $value}{N}}", "N"),
	    ROW("${if match_address{foo@a.b}{foo@}{Y $value}{N}}", "N"),
	    ROW("${if match_address{foo@a.b}{! foo@a.b}{Y $value}{N}}", "N"),
	    ROW("${if match_address{foo@a.b}{! xoo@a.b}{Y $value}{N}}", "Y "),
	    ROW("${if match_address{foo@a.b}{! foo@a.b : *@a.b}{Y $value}{N}}", "N"),
	    OURS("${if match_address{bar@a.b}{! foo@a.b : *@a.b}{Y $value}{N}}", "Y *@a.b"),
	    ROW("${if match_address{Foo@A.b}{+caseful : foo@a.b}{Y}{N}}", "N"),
	    ROW("${if match_address{Foo@A.b}{+caseful : Foo@a.b}{Y $value}{N}}", "Y Foo@a.b"),
	    OURS("${if match_address{Foo@A.b}{foo@x : +caseful : *@a.b}{Y $value}{N}}", "Y *@a.b"),
	    ROW("${if match_address{Foo@A.b}{+caseful : ^foo@}{Y}{N}}", "N"),
	    ROW("${if match_address{Foo@A.b}{+caseful : ^Foo@a}{Y}{N}}", "Y"),
	    ROW("${if match_address{Foo@A.b}{^foo@}{Y <$value>}{N}}", "Y <>"),
	    ROW("${if match_address{\"a@b\"@c.d}{*@c.d}{Y}{N}}", "Y"),
	    ROW("${if match_address{a#b@c.d}{@D/afile}{Y $value}{N}}", "Y a#b@c.d"),
	    ROW("${if match_address{q@r.s}{@D/afile}{Y $value}{N}}", "Y q@r.s"),
	    ROW("${if match_address{#x@c.d}{@D/afile}{Y $value}{N}}", "N"),
	    ROW("${if match_address{z@all.ex}{@D/afile}{Y $value}{N}}", "Y *@all.ex"),
	    ROW("${if match_address{u@x.y}{lsearch;@D/addr}{Y $value}{N}}", "Y known"),
	    ROW("${if match_address{v@dom.x}{lsearch*@;@D/addr}{Y $value}{N}}", "Y def"),
	    ROW("${if match_address{}{lsearch;@D/addr}{Y $value}{N}}", "N"),
	    OURS("${if match_address{LOWER@x.y}{lsearch,ret=key;@D/addr}{Y $value}{N}}", "Y lower@x.y"),
	    ROW("${if match_address{spammer@bad.com}{@@lsearch;@D/atat}{Y}{N}}", "Y"),
	    ROW("${if match_address{postmaster@bad.com}{@@lsearch;@D/atat}{Y}{N}}", "N"),
	    ROW("${if match_address{123@bad.com}{@@lsearch;@D/atat}{Y}{N}}", "Y"),
	    ROW("${if match_address{joe@bad.com}{@@lsearch;@D/atat}{Y}{N}}", "N"),
	    ROW("${if match_address{x@chain.com}{@@lsearch;@D/atat}{Y}{N}}", "Y"),
	    ROW("${if match_address{deep@chain.com}{@@lsearch;@D/atat}{Y}{N}}", "Y"),
	    ROW("${if match_address{55@chain.com}{@@lsearch;@D/atat}{Y}{N}}", "Y"),
	    ROW("${if match_address{none@chain.com}{@@lsearch;@D/atat}{Y}{N}}", "N"),
	    ROW("${if match_address{x@loop.com}{@@lsearch;@D/atat}{Y}{N}}",
		"DEFER: unable to complete match"),
	    ROW("${if match_address{x@y}{@@lsearch;@D/none}{Y}{N}}", "DEFER: unable to complete match"),
	    ROW("${if match_address{x@y}{+none}{Y}{N}}",
		"DEFER: unable to complete match against \"+none\": unknown named address list \"+none\""),
	    ROW("${if match_local_part{FOO}{+l1}{Y $value}{N}}", "Y foo"),
	    ROW("${if match_local_part{barney}{+l1}{Y $value}{N}}", "Y ^bar.*"),
	    ROW("${if match_local_part{case}{+l1}{Y $value}{N}}", "N"),
	    ROW("${if match_local_part{Case}{+l1}{Y $value}{N}}", "Y Case"),
	    ROW("${if match_local_part{foo}{+caseful : Foo}{Y}{N}}", "N"),
	    ROW("${if match_local_part{Foo}{+caseful : Foo}{Y}{N}}", "Y"),
	    ROW("${if match_local_part{Foo}{foo}{Y}{N}}", "Y"),
	    ROW("${if match_local_part{@}{@}{Y $value}{N}}", "Y @"),
	    ROW("${if match_local_part{joe-list}{*-list}{Y $1}{N}}", "Y joe"),
	    ROW("${if inlist{a}{b:a}{Y $value}{N}}", "Y a"),
	    ROW("${if inlist{A}{b:a}{Y $value}{N}}", "N"),
	    ROW("${if inlisti{A}{b:a}{Y $value}{N}}", "Y a"),
	    ROW("${if inlisti{Ax}{b:^a}{Y $value}{N}}", "N"),
	    ROW("${if inlist{me.example}{$primary_hostname:a.b}{Y $value}{N}}", "Y me.example"),
	    ROW("${if inlist{}{a: :b}{Y}{N}}", "Y"),
	    ROW("${if inlist{!a}{!a}{Y}{N}}", "Y"),
	};

	rows_check(h, rows, ARRAY_COUNT(rows));
}

#define HOLDS(h, expression)                                                                 \
	do {                                                                                 \
		if (!(expression)) {                                                         \
			print_error("%s:%d: not so: %s\n", __FILE__, __LINE__, #expression); \
			(h)->wrong++;                                                        \
		}                                                                            \
	} while (0)

/* The text of a clean list undoes the taint of what it matched; that of a tainted list does not, and such a
 * list opens no files. */
static void check_taint(struct harness *h)
{
	struct err err = err_make(&h->err_arena);
	struct slice subject = slice_tainted(SLICE("A.b")),
		     list = with_dir(h, "x : a.b : @D/file : lsearch;@D/dom"), value;

	HOLDS(h, match_text(&h->scope, LIST_DOMAIN, list, subject, NULL, &value, &err) == OK);
	HOLDS(h, value.taint == CLEAN && slice_eq(value, SLICE("a.b")));
	HOLDS(h, match_text(&h->scope, LIST_DOMAIN, slice_tainted(list), subject, NULL, &value, &err) == OK);
	HOLDS(h, value.taint == TAINTED);
	subject = slice_tainted(SLICE("lit.file"));
	HOLDS(h, match_text(&h->scope, LIST_DOMAIN, list, subject, NULL, &value, &err) == OK);
	HOLDS(h, value.taint == CLEAN && slice_eq(value, SLICE("lit.file")));
	HOLDS(h,
	      match_text(&h->scope, LIST_DOMAIN, slice_tainted(list), subject, NULL, &value, &err) == DEFER);
	HOLDS(h, slice_starts(err.text, SLICE("Tainted filename")));
	list = with_dir(h, "lsearch;@D/dom");
	subject = slice_tainted(SLICE("ls.dom"));
	HOLDS(h, match_text(&h->scope, LIST_DOMAIN, list, subject, NULL, &value, &err) == OK);
	HOLDS(h, value.taint == CLEAN && slice_eq(value, SLICE("data here")));
	HOLDS(h,
	      match_text(&h->scope, LIST_DOMAIN, slice_tainted(list), subject, NULL, &value, &err) == DEFER);
	HOLDS(h, match_text(&h->scope, LIST_DOMAIN, SLICE("*.b"), slice_tainted(SLICE("q.b")), NULL, &value,
			    &err) == OK);
	HOLDS(h, h->scope.numeric[1].taint == TAINTED); /* what the "*" stood for is still the stranger's */
}

static void test_taint(void **state)
{
	(void)state;
	harness_run(CONF, prepare, check_taint);
}

/* Lists in options: compiled with the snapshot, or expanded at each use; unset ones hold nothing. */
static void check_compiled(struct harness *h)
{
	static const struct {
		const char *list, *subject;
		enum rc rc;
	} rows[] = {
	    {"a.b : *.c", "a.b", OK},
	    {"a.b : *.c", "x.c", OK},
	    {"a.b : *.c", "c", FAIL},
	    {"+d1", "ls.dom", OK},
	    {"\\N^a\\d$\\N", "a5", OK},
	    {"\\N^a\\d$\\N", "ad", FAIL},
	    {"$primary_hostname", "me.example", OK},
	    {"${if eq{1}{1}{fail.me}fail}", "fail.me", OK},
	    {"${if eq{1}{2}{fail.me}fail}", "fail.me", FAIL},
	    {"! ${if eq{1}{2}{fail.me}fail}", "fail.me", FAIL},
	    {"$nosuchvariable", "a", DEFER},
	    {"${lookup{k}lsearch{@D/none}}", "a", DEFER},
	    {"", "a", FAIL},
	    {"!", "a", OK},
	    {"! : ", "a", OK},
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct slice text = with_dir(h, rows[i].list);
		const struct match_list *list = match_compile(h->conf, &h->arena, LIST_DOMAIN, text);
		struct err err = err_make(&h->err_arena);

		HOLDS(h, list && slice_eq(match_list_text(list), text));
		for (unsigned twice = 0; twice < 2; twice++) {
			enum rc rc = match_domain(&h->scope, list, slice_of(rows[i].subject), NULL, &err);

			if (rc != rows[i].rc) {
				print_error("%s, %s: %s %.*s\n", rows[i].list, rows[i].subject, rc_name(rc),
					    SLICE_ARG(err.text));
				h->wrong++;
			}
		}
	}
	HOLDS(h, match_domain(&h->scope, NULL, SLICE("a"), NULL, NULL) == FAIL);
}

static void test_compiled(void **state)
{
	(void)state;
	harness_run(CONF, prepare, check_compiled);
}

/* A named list that leads back to itself is a mistake of the file, found when it is loaded. */
static void test_circle(void **state)
{
	static const char *const texts[] = {
	    "domainlist a = x : +b\ndomainlist b = +c\ndomainlist c = y : ! +a\n", "hostlist a = +a\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
		harness_refused(texts[i], "refers to itself");
}

static void test_domains(void **state)
{
	(void)state;
	harness_run(CONF, prepare, check_domains);
}

static void test_hosts(void **state)
{
	(void)state;
	harness_run(CONF, prepare, check_hosts);
}

static void test_addresses(void **state)
{
	(void)state;
	harness_run(CONF, prepare, check_addresses);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_domains), cmocka_unit_test(test_hosts),    cmocka_unit_test(test_addresses),
	    cmocka_unit_test(test_taint),   cmocka_unit_test(test_compiled), cmocka_unit_test(test_circle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
