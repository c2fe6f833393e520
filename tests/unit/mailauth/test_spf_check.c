/* check_host() over tables of records: RFC 7208's own zone and examples (appendix A), and each of its MUSTs, with the section
 * beside the row. With -check it is a filter: records and questions on the input, a result a line on the output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "zone.h"

struct row {
	const char *record;                             /* of example.com; NULL: what the zone has */
	const char *ip, *sender, *result, *explanation; /* the last: NULL: not looked at */
};

#define EXACT_63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff123"

static const struct zone_row appendix[] = {
    /* RFC 7208, appendix A */
    {"example.com", "MX", "10 mail-a.example.com"},
    {"example.com", "MX", "20 mail-b.example.com"},
    {"example.com", "A", "192.0.2.10"},
    {"example.com", "A", "192.0.2.11"},
    {"amy.example.com", "A", "192.0.2.65"},
    {"bob.example.com", "A", "192.0.2.66"},
    {"mail-a.example.com", "A", "192.0.2.129"},
    {"mail-b.example.com", "A", "192.0.2.130"},
    {"www.example.com", "CNAME", "example.com"},
    {"example.org", "MX", "10 mail-c.example.org"},
    {"mail-c.example.org", "A", "192.0.2.140"},
    {"10.2.0.192.in-addr.arpa", "PTR", "example.com"},
    {"11.2.0.192.in-addr.arpa", "PTR", "example.com"},
    {"65.2.0.192.in-addr.arpa", "PTR", "amy.example.com"},
    {"66.2.0.192.in-addr.arpa", "PTR", "bob.example.com"},
    {"129.2.0.192.in-addr.arpa", "PTR", "mail-a.example.com"},
    {"130.2.0.192.in-addr.arpa", "PTR", "mail-b.example.com"},
    {"140.2.0.192.in-addr.arpa", "PTR", "mail-c.example.org"},
    {"4.0.0.10.in-addr.arpa", "PTR", "bob.example.com"},
    /* A.2 and its kin */
    {"a2.example", "TXT", "v=spf1 include:a2-one.example include:a2-two.example -all"},
    {"a2-one.example", "TXT", "v=spf1 ip4:192.0.2.1 -all"},
    {"a2-two.example", "TXT", "v=spf1 ip4:192.0.2.2 ~all"},
    {"la.a2.example", "TXT", "v=spf1 redirect=a2.example"},
    /* A.3 */
    {"a3.example", "TXT", "v=spf1 mx include:mobile-users._spf.%{d} include:remote-users._spf.%{d} -all"},
    {"a3.example", "MX", "10 mail-c.example.org"},
    {"mobile-users._spf.a3.example", "TXT", "v=spf1 exists:%{l1r+}.%{d}"},
    {"mary.mobile-users._spf.a3.example", "A", "127.0.0.2"},
    {"remote-users._spf.a3.example", "TXT", "v=spf1 exists:%{ir}.%{l1r+}.%{d}"},
    {"15.15.168.192.joel.remote-users._spf.a3.example", "A", "127.0.0.2"},
    /* A.4 */
    {"a4.example", "TXT", "v=spf1 -include:ip4._spf.%{d} -include:ptr._spf.%{d} +all"},
    {"ip4._spf.a4.example", "TXT", "v=spf1 -ip4:192.0.2.0/24 +all"},
    {"ptr._spf.a4.example", "TXT", "v=spf1 -ptr:example.com +all"},
    /* others */
    {"six.example", "AAAA", "2001:db8::1"},
    {"six.example", "A", "192.0.2.99"},
    {"empty.example", "TXT", "v=spf1"},
    {"none.example", "TXT", "v=spf10 -all"},
    {"none.example", "TXT", "just text"},
    {"two.example", "TXT", "v=spf1 -all"},
    {"two.example", "TXT", "v=spf1 +all"},
    {"split.example", "TXT", "v=spf1 ip4:192.0|.2.1 -all"},
    {"broken.example", "TXT", "v=spf1 +all nonsense"},
    {"trouble.example", "DEFER", ""},
    {"softfail.example", "TXT", "v=spf1 ~all"},
    {"neutral.example", "TXT", "v=spf1 ?all"},
    {"fail.example", "TXT", "v=spf1 -all exp=why.example"},
    {"why.example", "TXT", "%{d} says no to %{i}"},
    {"exp1.example", "TXT", "two"},
    {"exp1.example", "TXT", "records"},
    {"exp2.example", "TXT", "bad %{x}"},
    {"exp3.example", "TXT", "%{s}|, %{c}%_%{r}%-%%: %{t} %{S} %{h}"},
    {"exp4.example", "TXT", "gr\xc3\xbc\xc3\x9f"},
    {"passall.example", "TXT", "v=spf1 +all"},
    {"self.example", "TXT", "v=spf1 include:self.example -all"},
    {"circle.example", "TXT", "v=spf1 redirect=circle.example"},
    {"mx10.example", "MX", "10 mail-a.example.com"},
    {"mx10.example", "MX", "1 nothing1.example"},
    {"mx10.example", "MX", "2 nothing2.example"},
    {"mx10.example", "MX", "3 nothing3.example"},
    {"mx10.example", "MX", "4 nothing4.example"},
    {"mx10.example", "MX", "5 nothing5.example"},
    {"mx10.example", "MX", "6 nothing6.example"},
    {"mx10.example", "MX", "7 nothing7.example"},
    {"mx10.example", "MX", "8 nothing8.example"},
    {"mx10.example", "MX", "9 nothing9.example"},
    {"mx11.example", "MX", "10 mail-a.example.com"},
    {"mx11.example", "MX", "1 nothing1.example"},
    {"mx11.example", "MX", "2 nothing2.example"},
    {"mx11.example", "MX", "3 nothing3.example"},
    {"mx11.example", "MX", "4 nothing4.example"},
    {"mx11.example", "MX", "5 nothing5.example"},
    {"mx11.example", "MX", "6 nothing6.example"},
    {"mx11.example", "MX", "7 nothing7.example"},
    {"mx11.example", "MX", "8 nothing8.example"},
    {"mx11.example", "MX", "9 nothing9.example"},
    {"mx11.example", "MX", "9 nothinga.example"},
    {"nullmx.example", "MX", "0 ."},
    {"mxtrouble.example", "MX", "10 trouble.example"},
    {"1.8.0.192.in-addr.arpa", "DEFER", ""},
    {"2.8.0.192.in-addr.arpa", "PTR", "trouble.example"},
    {"2.8.0.192.in-addr.arpa", "PTR", "p.sub.example"},
    {"p.sub.example", "A", "192.0.8.2"},
    {"3.8.0.192.in-addr.arpa", "PTR", "p01.example"},
    {"3.8.0.192.in-addr.arpa", "PTR", "p02.example"},
    {"3.8.0.192.in-addr.arpa", "PTR", "p03.example"},
    {"3.8.0.192.in-addr.arpa", "PTR", "p04.example"},
    {"3.8.0.192.in-addr.arpa", "PTR", "p05.example"},
    {"3.8.0.192.in-addr.arpa", "PTR", "p06.example"},
    {"3.8.0.192.in-addr.arpa", "PTR", "p07.example"},
    {"3.8.0.192.in-addr.arpa", "PTR", "p08.example"},
    {"3.8.0.192.in-addr.arpa", "PTR", "p09.example"},
    {"3.8.0.192.in-addr.arpa", "PTR", "p10.example"},
    {"3.8.0.192.in-addr.arpa", "PTR", "p11.example"},
    {"p10.example", "A", "192.0.8.3"},
    {"p11.example", "A", "192.0.8.3"},
    {"mx.example.org.exists.example", "A", "127.0.0.1"},
    {"1.8.8.8.exists.example", "A", "127.0.0.1"},
    {"xn--bcher-kva.example", "TXT", "v=spf1 exists:%{o}.exists.example -all"},
    {"xn--bcher-kva.example.exists.example", "A", "127.0.0.1"},
    {EXACT_63 "." EXACT_63 "." EXACT_63 ".end.example", "A", "127.0.0.1"},
    {"h.test.example.exists.example", "A", "127.0.0.1"},
    {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.exists.example", "A", "127.0.0.1"},
    {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "PTR", "six.example"},
    {"six.example.exists.example", "A", "127.0.0.1"},
    {"exp5.example", "TXT", "in two| strings: %{i}"},
    {"exp6.example", "TXT", "%{d0}"},
    {"exp7.example", "TXT", "50%"},
    {"exp8.example", "TXT", ""},
    {"joined.example", "TXT", "v=spf1 redirect=fail.example"},
    {"passing.example", "TXT", "v=spf1 redirect=passall.example"},
    {"alias.example", "CNAME", "fail.example"},
    {"mxalias.example", "MX", "10 www.example.com"},
    {"voids.example", "TXT", "v=spf1 a:n1.example a:n2.example ?all"},
};

static const struct row rows[] = {
    /* A.1 */
    {"v=spf1 +all", "203.0.113.1", "x@example.com", "pass", NULL},
    {"v=spf1 a -all", "192.0.2.10", "x@example.com", "pass", NULL},
    {"v=spf1 a -all", "192.0.2.11", "x@example.com", "pass", NULL},
    {"v=spf1 a -all", "192.0.2.12", "x@example.com", "fail", NULL},
    {"v=spf1 a:example.org -all", "192.0.2.140", "x@example.com", "fail", NULL},
    {"v=spf1 mx -all", "192.0.2.129", "x@example.com", "pass", NULL},
    {"v=spf1 mx -all", "192.0.2.130", "x@example.com", "pass", NULL},
    {"v=spf1 mx -all", "192.0.2.140", "x@example.com", "fail", NULL},
    {"v=spf1 mx:example.org -all", "192.0.2.140", "x@example.com", "pass", NULL},
    {"v=spf1 mx mx:example.org -all", "192.0.2.140", "x@example.com", "pass", NULL},
    {"v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.131", "x@example.com", "pass", NULL},
    {"v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.143", "x@example.com", "pass", NULL},
    {"v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.144", "x@example.com", "fail", NULL},
    {"v=spf1 ptr -all", "192.0.2.65", "x@example.com", "pass", NULL},
    {"v=spf1 ptr -all", "192.0.2.140", "x@example.com", "fail", NULL},
    {"v=spf1 ptr -all", "10.0.0.4", "x@example.com", "fail", NULL},
    {"v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.65", "x@example.com", "fail", NULL},
    {"v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129", "x@example.com", "pass", NULL},
    /* A.2 to A.4 */
    {NULL, "192.0.2.1", "x@a2.example", "pass", NULL},
    {NULL, "192.0.2.2", "x@la.a2.example", "pass", NULL},
    {NULL, "192.0.2.3", "x@la.a2.example", "fail", NULL},
    {NULL, "192.0.2.3", "mary+x@a3.example", "pass", NULL}, /* %{l1r+}: what is before the "+" */
    {NULL, "192.0.2.3", "x+mary@a3.example", "fail", NULL},
    {NULL, "192.0.2.3", "mary@a3.example", "pass", NULL},
    {NULL, "192.168.15.15", "joel@a3.example", "pass", NULL},
    {NULL, "192.168.15.16", "joel@a3.example", "fail", NULL},
    {NULL, "192.0.2.65", "x@a4.example", "pass", NULL},
    {NULL, "192.0.2.3", "x@a4.example", "fail", NULL},
    {NULL, "192.0.3.3", "x@a4.example", "fail", NULL},
    /* 2.4, 4.3: identities */
    {NULL, "192.0.2.1", "", "none", NULL}, /* HELO is helo.test.example */
    {NULL, "192.0.2.1", "x@localhost", "none", NULL},
    {NULL, "192.0.2.1", "x@[192.0.2.1]", "none", NULL},
    {NULL, "192.0.2.1", "x@a..example", "none", NULL},
    {NULL, "192.0.2.1", "x@" EXACT_63 "4.example", "none", NULL},
    {NULL, "192.0.2.1", "x@nosuch.example", "none", NULL},
    {NULL, "192.0.2.1", "x@1.2.3.4", "none", NULL},
    {NULL, "192.0.2.1", "x@fail.example.", "fail", NULL},
    {NULL, "192.0.2.1", "@fail.example", "fail", "fail.example says no to 192.0.2.1"},
    {NULL, "192.0.2.1", "x@xn--bcher-kva.example", "pass", NULL},
    {NULL, "192.0.2.1",
     "x@b\xc3\xbc"
     "cher.example",
     "pass", NULL},
    /* 4.4, 4.5: finding the record */
    {NULL, "192.0.2.1", "x@trouble.example", "temperror", NULL},
    {NULL, "192.0.2.1", "x@none.example", "none", NULL},
    {NULL, "192.0.2.1", "x@two.example", "permerror", NULL},
    {NULL, "192.0.2.1", "x@split.example", "pass", NULL},
    {NULL, "192.0.2.1", "x@empty.example", "neutral", NULL},
    {"v=spf1", "192.0.2.1", "x@example.com", "neutral", NULL},
    {"v=spf1   ", "192.0.2.1", "x@example.com", "neutral", NULL},
    {"V=SPF1 -ALL", "192.0.2.1", "x@example.com", "fail", NULL},
    {" v=spf1 -all", "192.0.2.1", "x@example.com", "none", NULL},
    {"v=spf1\t-all", "192.0.2.1", "x@example.com", "none", NULL},
    {"v=spf2 -all", "192.0.2.1", "x@example.com", "none", NULL},
    {"v=spf1-all", "192.0.2.1", "x@example.com", "none", NULL},
    /* 4.6: syntax, all of it before anything is evaluated */
    {"v=spf1 +all a:", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 +all\t-all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1  +all  ", "192.0.2.1", "x@example.com", "pass", NULL},
    {"v=spf1 all:foo.example", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 all.", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 all/8", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 +-all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 - all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 moo", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 moo:example.org all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 redirect:a2.example", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 include", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 include:", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 include:a2.example/24", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 exists", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 exists:", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 exists:a.example/8", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ptr:", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ptr/0", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a/", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a//", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a/24/64", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a/024", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a/33", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a//129", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a/24//64 -all", "192.0.2.77", "x@example.com", "pass", NULL},
    {"v=spf1 a/0 -all", "203.0.113.4", "x@example.com", "pass", NULL},
    {"v=spf1 a:example.com/24//64 -all", "192.0.2.77", "x@example.com", "pass", NULL},
    {"v=spf1 a:example.com:8080", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a:museum", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a:museum.", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a:example.com. -all", "192.0.2.10", "x@example.com", "pass", NULL},
    {"v=spf1 a:example.123", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a:example.-com", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a:example.com-", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a:example.1-2 -all", "192.0.2.1", "x@example.com", "fail", NULL},
    {"v=spf1 a:example.c_m", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a:_spf.example_x.com -all", "192.0.2.1", "x@example.com", "fail", NULL},
    {"v=spf1 a:foo..example.com -all", "192.0.2.1", "x@example.com", "fail", NULL}, /* 4.8: no match */
    {"v=spf1 a:" EXACT_63 "4.com -all", "192.0.2.1", "x@example.com", "fail", NULL},
    {"v=spf1 include:foo..example.com -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 redirect=foo..example.com", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a:\xc3\xbc.example", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip4:192.0.2.1 \x01", "192.0.2.1", "x@example.com", "permerror", NULL},
    /* 5.1 all; 5.6 ip4, ip6 */
    {"v=spf1 -all +all", "192.0.2.1", "x@example.com", "fail", NULL},
    {"v=spf1 ?all", "192.0.2.1", "x@example.com", "neutral", NULL},
    {"v=spf1 ~all", "192.0.2.1", "x@example.com", "softfail", NULL},
    {"v=spf1 ip4:192.0.2.1/32 -all", "192.0.2.1", "x@example.com", "pass", NULL},
    {"v=spf1 ip4:192.0.2.1/0 -all", "203.0.113.1", "x@example.com", "pass", NULL},
    {"v=spf1 ip4:192.0.2.1/33", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip4:192.0.2.1/032", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip4:192.0.2.1//32", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip4:192.0.2", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip4:192.0.2.01", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip4:192.0.2.256", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip4:192.0.2.1:8080", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip4", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip4:", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip4=192.0.2.1 +all", "192.0.2.1", "x@example.com", "pass", NULL}, /* an unknown modifier */
    {"v=spf1 ip6", "2001:db8::1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip6:2001:db8::/32 -all", "2001:db8:5::1", "x@example.com", "pass", NULL},
    {"v=spf1 ip6:2001:db8::/33 -all", "2001:db8:8000::1", "x@example.com", "fail", NULL},
    {"v=spf1 ip6:2001:db8::1 -all", "2001:db8::1", "x@example.com", "pass", NULL},
    {"v=spf1 ip6:2001:db8::1/129", "2001:db8::1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip6:2001:db8::1//33", "2001:db8::1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip6:2001:db8:::1", "2001:db8::1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip6:::1.2.3.4/0 -all", "2001:db8::1", "x@example.com", "pass", NULL},
    {"v=spf1 ip6:::/0 -all", "192.0.2.1", "x@example.com", "fail", NULL},
    {"v=spf1 ip6:::ffff:192.0.2.1 -all", "192.0.2.1", "x@example.com", "fail", NULL},
    {"v=spf1 ip4:192.0.2.1 -all", "::ffff:192.0.2.1", "x@example.com", "pass", NULL}, /* 5: mapped is IPv4 */
    {"v=spf1 IP4:192.0.2.1 -ALL", "192.0.2.1", "x@example.com", "pass", NULL},
    /* 5.2 include */
    {"v=spf1 include:a2-one.example -all", "192.0.2.1", "x@example.com", "pass", NULL},
    {"v=spf1 include:a2-one.example ~all", "192.0.2.9", "x@example.com", "softfail", NULL},
    {"v=spf1 include:softfail.example ?all", "192.0.2.9", "x@example.com", "neutral", NULL},
    {"v=spf1 include:neutral.example -all", "192.0.2.9", "x@example.com", "fail", NULL},
    {"v=spf1 include:none.example -all", "192.0.2.9", "x@example.com", "permerror", NULL},
    {"v=spf1 include:nosuch.example -all", "192.0.2.9", "x@example.com", "permerror", NULL},
    {"v=spf1 include:two.example -all", "192.0.2.9", "x@example.com", "permerror", NULL},
    {"v=spf1 include:broken.example -all", "192.0.2.9", "x@example.com", "permerror", NULL},
    {"v=spf1 include:trouble.example -all", "192.0.2.9", "x@example.com", "temperror", NULL},
    {"v=spf1 -include:passall.example +all", "192.0.2.9", "x@example.com", "fail", NULL},
    /* 5.3 a, 5.4 mx */
    {"v=spf1 a:six.example -all", "2001:db8::1", "x@example.com", "pass", NULL},
    {"v=spf1 a:six.example -all", "192.0.2.99", "x@example.com", "pass", NULL},
    {"v=spf1 a:six.example/32//64 -all", "2001:db8::ffff", "x@example.com", "pass", NULL},
    {"v=spf1 a:www.example.com -all", "192.0.2.10", "x@example.com", "pass", NULL},
    {"v=spf1 a:trouble.example -all", "192.0.2.10", "x@example.com", "temperror", NULL},
    {"v=spf1 ip4:192.0.2.10 a:trouble.example -all", "192.0.2.10", "x@example.com", "pass", NULL},
    {"v=spf1 mx:trouble.example -all", "192.0.2.10", "x@example.com", "temperror", NULL},
    {"v=spf1 mx:mxtrouble.example -all", "192.0.2.10", "x@example.com", "temperror", NULL},
    {"v=spf1 mx:amy.example.com -all", "192.0.2.65", "x@example.com", "fail", NULL}, /* no implicit MX */
    {"v=spf1 mx:nullmx.example -all", "192.0.2.65", "x@example.com", "fail", NULL},
    {"v=spf1 mx:mx10.example -all", "192.0.2.129", "x@example.com", "pass", NULL},
    {"v=spf1 mx:mx11.example -all", "192.0.2.129", "x@example.com", "permerror", NULL},
    /* 5.5 ptr: trouble is no match; ten names */
    {"v=spf1 ptr:example.com -all", "192.0.8.1", "x@example.com", "fail", NULL},
    {"v=spf1 ptr:sub.example -all", "192.0.8.2", "x@example.com", "pass", NULL},
    {"v=spf1 ptr:ub.example -all", "192.0.8.2", "x@example.com", "fail", NULL}, /* whole labels */
    {"v=spf1 ptr:P.SUB.example -all", "192.0.8.2", "x@example.com", "pass", NULL},
    {"v=spf1 ptr:p10.example -all", "192.0.8.3", "x@example.com", "pass", NULL},
    {"v=spf1 ptr:p11.example -all", "192.0.8.3", "x@example.com", "fail", NULL},
    /* 5.7 exists: A, whatever the client's family is */
    {"v=spf1 exists:six.example -all", "2001:db8::2", "x@example.com", "pass", NULL},
    {"v=spf1 exists:%{ir}.exists.example -all", "8.8.8.1", "x@example.com", "pass", NULL},
    {"v=spf1 exists:trouble.example -all", "8.8.8.1", "x@example.com", "temperror", NULL},
    /* 6: modifiers */
    {"v=spf1 redirect=a2.example", "192.0.2.1", "x@example.com", "pass", NULL},
    {"v=spf1 redirect=nosuch.example", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 redirect=trouble.example", "192.0.2.1", "x@example.com", "temperror", NULL},
    {"v=spf1 redirect=a2.example ?all", "192.0.2.1", "x@example.com", "neutral", NULL},
    {"v=spf1 redirect=a2.example redirect=a2.example", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 -all exp=a.example exp=a.example", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 redirect=", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 redirect=a2.example/8", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 exp= -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 -exp=why.example -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 unknown=%{d}%%x -all", "192.0.2.1", "x@example.com", "fail", NULL},
    {"v=spf1 unknown=%{z} -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 unknown=% -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 1unknown=x -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 un-kn_o.wn= -all", "192.0.2.1", "x@example.com", "fail", NULL},
    /* 6.2: explanations */
    {"v=spf1 -all exp=why.example", "192.0.2.1", "x@example.com", "fail", "example.com says no to 192.0.2.1"},
    {"v=spf1 exp=why.example -all", "2001:db8::1", "x@example.com", "fail",
     "example.com says no to 2.0.0.1.0.d.b.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1"},
    {"v=spf1 ~all exp=why.example", "192.0.2.1", "x@example.com", "softfail", ""},
    {"v=spf1 -all", "192.0.2.1", "x@example.com", "fail", "default for x@example.com"},
    {"v=spf1 -all exp=exp1.example", "192.0.2.1", "x@example.com", "fail", "default for x@example.com"},
    {"v=spf1 -all exp=exp2.example", "192.0.2.1", "x@example.com", "fail", "default for x@example.com"},
    {"v=spf1 -all exp=exp4.example", "192.0.2.1", "x@example.com", "fail", "default for x@example.com"},
    {"v=spf1 -all exp=nosuch.example", "192.0.2.1", "x@example.com", "fail", "default for x@example.com"},
    {"v=spf1 -all exp=trouble.example", "192.0.2.1", "x@example.com", "fail", "default for x@example.com"},
    {"v=spf1 -all exp=foo..example", "192.0.2.1", "x@example.com", "fail", "default for x@example.com"},
    {"v=spf1 -all exp=exp3.example", "2001:db8::1", "x+y@example.com", "fail",
     "x+y@example.com, 2001:db8::1 mx.test%20%: 1234567890 x%2By%40example.com helo.test.example"},
    {"v=spf1 redirect=fail.example exp=exp3.example", "192.0.2.1", "x@example.com", "fail",
     "fail.example says no to 192.0.2.1"},
    {"v=spf1 include:fail.example -all", "192.0.2.1", "x@example.com", "fail", "default for x@example.com"},
    /* 4.6.4: limits */
    {"v=spf1 include:self.example", "192.0.2.1", "x@example.com", "permerror", NULL},
    {NULL, "192.0.2.1", "x@circle.example", "permerror", NULL},
    {"v=spf1 a a a a a a a a a a -all", "192.0.2.1", "x@example.com", "fail", NULL},
    {"v=spf1 a a a a a a a a a a a -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a a a a a a a a a a a -all", "192.0.2.10", "x@example.com", "pass", NULL},
    {"v=spf1 a a a a a a a a a a redirect=fail.example", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a a a a a a a a include:a2-one.example a -all", "192.0.2.9", "x@example.com", "fail", NULL},
    {"v=spf1 a:n1.example a:n2.example -all", "192.0.2.9", "x@example.com", "fail", NULL},
    {"v=spf1 a:n1.example a:n2.example mx:n3.example -all", "192.0.2.9", "x@example.com", "permerror", NULL},
    {"v=spf1 exists:n1.example exists:n2.example exists:n3.example -all", "192.0.2.9", "x@example.com",
     "permerror", NULL},
    {"v=spf1 a:n1.example a:n2.example ip4:192.0.2.9 a:n3.example -all", "192.0.2.9", "x@example.com", "pass",
     NULL},
    {"v=spf1 a:n1.example mx:n2.example ptr -all", "192.0.9.9", "x@example.com", "permerror", NULL},
    {"v=spf1 a:n1.example include:voids.example -all", "192.0.2.9", "x@example.com", "permerror", NULL},
    {"v=spf1 a:six.example a:six.example exists:n1.example -all", "2001:db8::9", "x@example.com", "fail",
     NULL},
    {"v=spf1 mx:mx10.example a:n1.example a:n2.example -all", "192.0.2.9", "x@example.com", "fail", NULL},
    {"v=spf1 exp=nosuch.example a:n1.example a:n2.example -all", "192.0.2.9", "x@example.com", "fail", NULL},
    /* 5, 12: what stands where it may, and where it may not */
    {"v=spf1 a:/24", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 mx://64", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a/24/", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a///64", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a//64/24", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a/ 24", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a/-1", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a/00 -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a//064 -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a:six.example//0 -all", "2001:db8:ffff::1", "x@example.com", "pass", NULL},
    {"v=spf1 a:six.example//64 -all", "192.0.2.98", "x@example.com", "fail", NULL},
    {"v=spf1 a:foo:bar/baz.example.com -all", "192.0.2.1", "x@example.com", "fail", NULL},
    {"v=spf1 a:%{d}/24//64 -all", "192.0.2.77", "x@example.com", "pass", NULL},
    {"v=spf1 a:example.com%% -all", "192.0.2.10", "x@example.com", "fail", NULL},
    {"v=spf1 a:%{d}. -all", "192.0.2.10", "x@example.com", "permerror", NULL},
    {"v=spf1 a.example.com -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 a: example.com -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip4:192.0.2.1/ -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip4:192.0.2.1.5 -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip4:::ffff:192.0.2.1 -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip6:192.0.2.1 -all", "2001:db8::1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip6:2001:db8::1/ -all", "2001:db8::1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip6:2001:db8::1%eth0 -all", "2001:db8::1", "x@example.com", "permerror", NULL},
    {"v=spf1 ip6:2001:DB8::/0 -all", "ffff::1", "x@example.com", "pass", NULL},
    {"v=spf1 =x -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 v=spf1 -all", "192.0.2.1", "x@example.com", "fail", NULL},
    {"v=spf1 include=a2.example all=x -all", "192.0.2.1", "x@example.com", "fail", NULL},
    {"v=spf1 m.o-o_w=x=y:z/8 -all", "192.0.2.1", "x@example.com", "fail", NULL},
    {"v=spf1 unknown=x unknown=y -all", "192.0.2.1", "x@example.com", "fail", NULL},
    {"v=spf1 unknown=%{c} -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 Redirect=fail.example EXP=why.example", "192.0.2.1", "x@example.com", "fail", NULL},
    {"v=spf1 exp=%{c}.example -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 redirect=%{t}.example", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 mx:mxalias.example -all", "192.0.2.11", "x@example.com", "pass", NULL},
    {NULL, "192.0.2.1", "x@alias.example", "fail", NULL},
    /* 5.2: what is included may go on elsewhere; whom that fails is not failed */
    {"v=spf1 include:joined.example ?all", "192.0.2.1", "x@example.com", "neutral", NULL},
    {"v=spf1 ~include:passing.example -all", "192.0.2.1", "x@example.com", "softfail", NULL},
    {"v=spf1 -include:passall.example exp=why.example", "192.0.2.1", "x@example.com", "fail",
     "example.com says no to 192.0.2.1"},
    /* 6.2 */
    {"v=spf1 -all exp=exp5.example", "192.0.2.1", "x@example.com", "fail", "in two strings: 192.0.2.1"},
    {"v=spf1 -all exp=exp6.example", "192.0.2.1", "x@example.com", "fail", "default for x@example.com"},
    {"v=spf1 -all exp=exp7.example", "192.0.2.1", "x@example.com", "fail", "default for x@example.com"},
    {"v=spf1 -all exp=exp8.example", "192.0.2.1", "x@example.com", "fail", "default for x@example.com"},
    {"v=spf1 -a:example.com exp=why.example +all", "192.0.2.10", "x@example.com", "fail",
     "example.com says no to 192.0.2.10"},
    {NULL, "192.0.2.1", "x@joined.example", "fail", "fail.example says no to 192.0.2.1"},
    /* 7: macros in names */
    {"v=spf1 exists:%{d0}.example -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 exists:%{d00r}.example -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 exists:%{} -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 exists:%{d -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 exists:%d.example -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 exists:%{dr1}.example -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 exists:%{d-r}.example -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 exists:%{d*}.example -all", "192.0.2.1", "x@example.com", "permerror", NULL},
    {"v=spf1 exists:%{ir}.%{v}.exists.example -all", "2001:db8::1", "x@example.com", "pass", NULL},
    {"v=spf1 exists:%{p}.exists.example -all", "2001:db8::1", "x@example.com", "pass", NULL},
    {"v=spf1 exists:%{p}.exists.example -all", "2001:db8::2", "x@example.com", "fail", NULL},
    {"v=spf1 exists:%{h3}.exists.example -all", "192.0.2.1", "x@example.com", "fail", NULL},
    {"v=spf1 exists:%{l}.%{l}.%{l}.%{l}.%{l}.end.example -all", "192.0.2.1", EXACT_63 "@example.com", "pass",
     NULL},
    {"v=spf1 exists:%{l}.example -all", "192.0.2.1", EXACT_63 "4@example.com", "fail", NULL},
    {"v=spf1 exists:%{l}.example -all", "192.0.2.1", "a..b@example.com", "fail", NULL},
    {"v=spf1 exists:%{l}.example -all", "192.0.2.1", "\"a b\"@example.com", "fail", NULL},
    {"v=spf1 include:%{l}.example -all", "192.0.2.1", "a..b@example.com", "permerror", NULL},
    {"v=spf1 exists:%{o}.%{d2}.exists.example include:%{l}.example -all", "192.0.2.1", "passall@example.com",
     "pass", NULL},
    /* RFC 8616: a local part that no DNS name can have */
    {"v=spf1 exists:%{l}.example.com +all", "192.0.2.9", "j\xc3\xbcrgen@example.com", "pass", NULL},
    {"v=spf1 -exists:%{s}.exists.example -include:%{l}.example ?all", "192.0.2.9",
     "j\xc3\xbcrgen@example.com", "neutral", NULL},
    {"v=spf1 -all exp=exp3.example", "192.0.2.9", "j\xc3\xbcrgen@example.com", "fail", ""},
};

struct fixture {
	struct arena arena;
	struct task task;
	struct zone zone;
	struct zone_row rows[512];
};

static void fixture_start(struct fixture *f, const char *record)
{
	arena_init(&f->arena, 0);
	task_init(&f->task, NULL, &f->arena, UINT64_MAX);
	memcpy(f->rows, appendix, sizeof(appendix));
	f->zone = (struct zone){.rows = f->rows, .count = ARRAY_COUNT(appendix)};
	if (record)
		f->rows[f->zone.count++] = (struct zone_row){"example.com", "TXT", record};
}

static struct spf_result check(struct fixture *f, const char *ip, const char *sender)
{
	struct spf_query query = {
	    .sender = slice_of(sender),
	    .helo = SLICE("helo.test.example"),
	    .receiver = SLICE("mx.test"),
	    .guess = SLICE_EMPTY,
	    .explanation = SLICE("default%_for%_%{s}"),
	    .now_s = 1234567890,
	};
	struct mailauth_resolver resolver = zone_resolver(&f->zone);
	struct spf_result result;

	assert_true(ip_parse(slice_of(ip), &query.ip));
	assert_int_equal(spf_check(&f->task, &resolver, &query, &result), OK);
	return result;
}

static void test_rows(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		const struct row *row = &rows[i];
		struct fixture f;
		struct spf_result result;

		fixture_start(&f, row->record);
		result = check(&f, row->ip, row->sender);
		if (!slice_eq(mailauth_result_word(result.result), slice_of(row->result)) ||
		    (row->explanation && !slice_eq(result.explanation, slice_of(row->explanation))))
			fail_msg("\"%s\" %s %s: %.*s (\"%.*s\", %.*s), not %s",
				 row->record ? row->record : "", row->ip, row->sender,
				 SLICE_ARG(mailauth_result_word(result.result)),
				 SLICE_ARG(result.explanation), SLICE_ARG(result.problem), row->result);
		assert_true(result.terms <= 11 && f.zone.questions <= 130);
		arena_done(&f.arena);
	}
}

/* Section 7.4: its sender, its client, its table. Explanations show what a macro string comes to. */
static void test_macros(void **state)
{
	static const struct {
		const char *text, *expanded, *ip;
	} table[] = {
	    {"%{s}", "strong-bad@email.example.com", NULL},
	    {"%{o}", "email.example.com", NULL},
	    {"%{d}", "email.example.com", NULL},
	    {"%{d4}", "email.example.com", NULL},
	    {"%{d3}", "email.example.com", NULL},
	    {"%{d2}", "example.com", NULL},
	    {"%{d1}", "com", NULL},
	    {"%{dr}", "com.example.email", NULL},
	    {"%{d2r}", "example.email", NULL},
	    {"%{l}", "strong-bad", NULL},
	    {"%{l-}", "strong.bad", NULL},
	    {"%{lr}", "strong-bad", NULL},
	    {"%{lr-}", "bad.strong", NULL},
	    {"%{l1r-}", "strong", NULL},
	    {"%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com", NULL},
	    {"%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com", NULL},
	    {"%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com", NULL},
	    {"%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com", NULL},
	    {"%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net", NULL},
	    {"%{ir}.%{v}._spf.%{d2}",
	     "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com",
	     "2001:db8::cb01"},
	    {"%{p}", "mx.example.org", NULL},
	    {"%{p} %{p} %{p2} %{pr}", "mx.example.org mx.example.org example.org org.example.mx", NULL},
	    {"%%%_%-", "% %20", NULL},
	    /* What libspf2 counted wrongly (CVE-2023-42118, CVE-2021-20314, -33912, -33913): more than there is, delimiters alone, letters in capitals */
	    {"%{d99}", "email.example.com", NULL},
	    {"%{d128r}", "com.example.email", NULL},
	    {"%{l1r.-+,/_=}", "strong", NULL},
	    {"%{S}", "strong-bad%40email.example.com", NULL},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(table); i++) {
		struct fixture f;
		struct spf_result result;

		fixture_start(&f, NULL);
		f.rows[f.zone.count++] =
		    (struct zone_row){"email.example.com", "TXT", "v=spf1 -all exp=text.example"};
		f.rows[f.zone.count++] = (struct zone_row){"text.example", "TXT", table[i].text};
		f.rows[f.zone.count++] = (struct zone_row){"3.2.0.192.in-addr.arpa", "PTR", "mx.example.org"};
		f.rows[f.zone.count++] = (struct zone_row){"mx.example.org", "A", "192.0.2.3"};
		result = check(&f, table[i].ip ? table[i].ip : "192.0.2.3", "strong-bad@email.example.com");
		if (result.result != MAILAUTH_FAIL ||
		    !slice_eq(result.explanation, slice_of(table[i].expanded)))
			fail_msg("%s: %.*s", table[i].text, SLICE_ARG(result.explanation));
		assert_true(f.zone.questions <=
			    4); /* a name is confirmed once, however often it is mentioned */
		arena_done(&f.arena);
	}
}

/* Whoever waits may go away at any question: the check ends, and says so. */
static void test_cancelled(void **state)
{
	(void)state;
	for (unsigned n = 1; n < 12; n++) {
		struct fixture f;
		struct mailauth_resolver resolver = zone_resolver(&f.zone);
		struct spf_query query = {.sender = SLICE("x@example.com"),
					  .helo = SLICE("h.example"),
					  .receiver = SLICE("r"),
					  .guess = SLICE_EMPTY,
					  .explanation = SLICE_EMPTY};
		struct spf_result result;

		fixture_start(
		    &f, "v=spf1 a mx:example.org ptr exists:%{p}.x include:a2.example -all exp=why.example");
		assert_true(ip_parse(SLICE("192.0.2.65"), &query.ip));
		query.sender = SLICE("x@example.com");
		f.zone.cancel_at = n;
		if (spf_check(&f.task, &resolver, &query, &result) == OK)
			assert_true(f.zone.questions < n);
		else
			assert_true(f.task.cancelled);
		arena_done(&f.arena);
	}
}

/* The guess is for those without a record only. */
static void test_guess(void **state)
{
	static const struct {
		const char *sender, *guess, *result;
		bool guessed;
	} guesses[] = {
	    {"x@none.example", "v=spf1 ip4:192.0.2.1 -all", "pass", true},
	    {"x@nosuch.example", "v=spf1 ip4:192.0.2.2 ?all", "neutral", true},
	    {"x@fail.example", "v=spf1 +all", "fail", false},
	    {"x@trouble.example", "v=spf1 +all", "temperror", false},
	    {"x@none.example", "nonsense", "permerror", true},
	    {"x@none.example", "v=spf1 a mx ptr:%{d}", "neutral", true},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(guesses); i++) {
		struct fixture f;
		struct mailauth_resolver resolver = zone_resolver(&f.zone);
		struct spf_query query = {.sender = slice_of(guesses[i].sender),
					  .helo = SLICE_EMPTY,
					  .receiver = SLICE_EMPTY,
					  .guess = slice_of(guesses[i].guess),
					  .explanation = SLICE_EMPTY};
		struct spf_result result;

		fixture_start(&f, NULL);
		assert_true(ip_parse(SLICE("192.0.2.1"), &query.ip));
		assert_int_equal(spf_check(&f.task, &resolver, &query, &result), OK);
		assert_int_equal(result.guessed, guesses[i].guessed);
		if (!slice_eq(mailauth_result_word(result.result), slice_of(guesses[i].result)))
			fail_msg("%s %s: %.*s", guesses[i].sender, guesses[i].guess,
				 SLICE_ARG(mailauth_result_word(result.result)));
		arena_done(&f.arena);
	}
}

/* The HELO name is checked for the null reverse-path, as postmaster@. */
static void test_helo(void **state)
{
	struct fixture f;
	struct mailauth_resolver resolver = zone_resolver(&f.zone);
	struct spf_query query = {.sender = SLICE_EMPTY,
				  .helo = SLICE("Fail.Example"),
				  .receiver = SLICE_EMPTY,
				  .guess = SLICE_EMPTY,
				  .explanation = SLICE("%{s}")};
	struct spf_result result;

	(void)state;
	fixture_start(&f, NULL);
	f.zone.rows = (struct zone_row[]){{"fail.example", "TXT", "v=spf1 -all"}};
	f.zone.count = 1;
	assert_true(ip_parse(SLICE("192.0.2.1"), &query.ip));
	assert_int_equal(spf_check(&f.task, &resolver, &query, &result), OK);
	assert_int_equal(result.result, MAILAUTH_FAIL);
	assert_true(result.helo_identity);
	assert_true(slice_eq(result.explanation, SLICE("postmaster@Fail.Example")));
	arena_done(&f.arena);
}

/* What stands behind the first term that asks is asked at the same time, and no more than ten in all. */
static void test_ahead(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(
	    &f,
	    "v=spf1 a:n1.example mx:example.org include:a2.example ip4:192.0.2.1 a:%{p}.x -all a:y.example");
	(void)check(&f, "192.0.2.1", "x@example.com");
	assert_int_equal(f.zone.ahead,
			 2 + 0 + 1); /* mx, include; and the second include inside of a2.example */
	arena_done(&f.arena);
}

static int filter(void);

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rows),  cmocka_unit_test(test_macros), cmocka_unit_test(test_cancelled),
	    cmocka_unit_test(test_guess), cmocka_unit_test(test_helo),   cmocka_unit_test(test_ahead),
	};

	if (argc > 1 && strcmp(argv[1], "-check") == 0)
		return filter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Lines of fields between tabs: "zone NAME TYPE DATA" adds a record, "clear" drops all, "check IP SENDER HELO" answers
 * "RESULT EXPLANATION". */
static int filter(void)
{
	static struct zone_row zone_rows[4096];
	struct zone zone = {.rows = zone_rows};
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	while ((len = getline(&line, &room, stdin)) > 0) {
		char *fields[4] = {"", "", "", ""}, *rest = line;
		unsigned count = 0;

		if (line[len - 1] == '\n')
			line[len - 1] = 0;
		while (count < 4 && (fields[count] = strsep(&rest, "\t")))
			count++;
		if (strcmp(fields[0], "clear") == 0) {
			for (unsigned i = 0; i < zone.count; i++) {
				free((void *)zone_rows[i].name);
				free((void *)zone_rows[i].type);
				free((void *)zone_rows[i].data);
			}
			zone.count = 0;
		} else if (strcmp(fields[0], "zone") == 0 && count == 4 &&
			   zone.count < ARRAY_COUNT(zone_rows)) {
			zone_rows[zone.count++] =
			    (struct zone_row){strdup(fields[1]), strdup(fields[2]), strdup(fields[3])};
		} else if (strcmp(fields[0], "check") == 0 && count == 4) {
			struct arena arena;
			struct task task;
			struct mailauth_resolver resolver = zone_resolver(&zone);
			struct spf_query query = {.sender = slice_of(fields[2]),
						  .helo = slice_of(fields[3]),
						  .receiver = SLICE("mx.test"),
						  .guess = SLICE_EMPTY,
						  .explanation = SLICE_EMPTY,
						  .now_s = 1234567890};
			struct spf_result result;

			arena_init(&arena, 0);
			task_init(&task, NULL, &arena, UINT64_MAX);
			if (!ip_parse(slice_of(fields[1]), &query.ip) ||
			    spf_check(&task, &resolver, &query, &result) != OK)
				printf("error\n");
			else
				printf("%.*s\t%.*s\t%.*s\n", SLICE_ARG(mailauth_result_word(result.result)),
				       SLICE_ARG(result.explanation), SLICE_ARG(result.problem));
			fflush(stdout);
			arena_done(&arena);
		}
	}
	free(line);
	return 0;
}
