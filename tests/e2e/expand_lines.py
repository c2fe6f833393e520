#!/usr/bin/python3
"""Lines for "-be", made from tables: each operator, item and condition with each class of argument, and mutilated forms
of well-formed lines. The same lines every time. differential_be.py says them to both programs; by hand:

    expand_lines.py [GROUP ...] > lines

What depends on the day, the machine or chance is not among them.
"""
import itertools
import random
import re
import sys

NUMBERS = ["", "0", "1", "-1", "+1", "5", "007", "08", "0x10", "1K", "2m", "3G", "-3k", "1.5", "1a", "a1", " 7 ", "7 K", "--1", "- 1",
           "K", "2147483647", "2147483648", "-2147483649", "4294967295", "4294967296", "9223372036854775807", "9223372036854775808",
           "-9223372036854775808", "-9223372036854775809", "18446744073709551615", "18446744073709551616", "99999999999999999999",
           "9007199254740991K", "9007199254740992K", "8796093022207M", "8796093022208M", "8589934591G", "8589934592G", "-8589934592G",
           "0777", "0xg", "1e3", "0000000000000000000000001"]
STRINGS = ["abc", "ABC Def", " a b ", "a:b:c", "a::b", ":", "\\xe9", "caf\\xc3\\xa9", "\\xc3", "\\xc3\\x28", "\\xe2\\x82", "\\xe2\\x82\\xac",
           "\\xf0\\x9f\\x98\\x80", "\\xed\\xa0\\x80", "\\xf5\\x80\\x80\\x80", "\\xc0\\x80", "\\n", "a\\nb", "a\\r\\nb", "\\t", "\\\\", "a\\\\b",
           "a\\\"b", "it's", "a\\{b\\}c", "\\N$x{\\N", "\\$x", "?", "*", "%41", "=?x?=", "a=b", "a,b;c", "#x", "~", "\\x7f", "\\x1b", "\\x01",
           "x" * 80, "ab " * 30, "caf\u00e9", "\u65e5\u672c", "yes", "true", "FALSE", "no", "$primary_hostname", "${uc:x}", "\\101\\40\\8", "\\x4",
           "\\q\\b\\f\\v", "\\N\\N", "\\N", "a\\", "_", "-", ".", "a.b", "@", "/", "|", "<", ">", "^"]
ADDRESSES = ["a@b.example", "A B <a@b.example>", "<a@b>", "a@[1.2.3.4]", "a@[IPv6:::1]", "\\\"a b\\\"@c.example", "a (x) @ b (y)", "a@b,c@d",
             "g: a@b, c@d;", "<@x,@y:a@b>", "a.@b", ".a@b", "a..b@c", "a@", "@b", "a@b.", "a@.b", "a@b..c", "<>", "<", "a@b>", "<a@b",
             "(c) a@b (d)", "a@b c@d", "\\xe9@b", "a@\\xe9.example", "f\\xc3\\xbc@b\\xc3\\xbc.example", "a\\\\@b", "a+x@b", "a%b@c", "a!b@c",
             "\\\"a\\\\\\\"b\\\"@c", "\\\"a", "a@b@c", "a <b@c> d", "a, b <c@d>", "=?utf-8?q?=C3=A9?= <a@b>", "a@b;c@d", "undisclosed:;",
             "a@b\\n", "a\\n @b", "a@-b", "a@b_c", "a@b-", "postmaster", "a@" + "b." * 60 + "c", "x" * 70 + "@y", "a@xn--bcher-kva.example"]
IPS = ["1.2.3.4", "0.0.0.0", "255.255.255.255", "256.1.1.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "001.002.003.004", "1..2.3", "1.2.3.4 ",
       " 1.2.3.4", "::", "::1", "1::", "1::2", "fe80::1", "FE80::AB", "fe80::1%eth0", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:9",
       "1:2:3:4:5:6:7", "::ffff:1.2.3.4", "::1.2.3.4", "64:ff9b::1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "1::2::3", ":1", "1:", ":::",
       "12345::", "g::", "0:0:0:0:0:0:0:0", "0:0:1:0:0:0:1:0", "1:0:0:2:0:0:0:3", "2001:db8::1.2.3.256", "[::1]", "1.2.3.4/8", "::1/64", "x"]
MASKED = ["1.2.3.4/%d" % n for n in (0, 1, 8, 23, 31, 32, 33)] + ["2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/%d" % n for n in
          (0, 1, 16, 33, 64, 127, 128, 129)] + ["1.2.3.4/", "1.2.3.4/a", "1.2.3.4/-1", "1.2.3.4/8 ", "1.2.3.4/ 8", "/8", "1.2.3.4/8/8", "::/0",
          "::ffff:1.2.3.4/100", "1.2.3.4/08", "x/8", "1.2.3/8", "1.2.3.4/99999999999999999999"]
LISTS = ["", "a", "a:b:c", " a : b : c ", "a::b", ":", "::", ": :", ":a", "a:", "<,a,b", "<, a , b , ,c", "<;1;2;3", "<|a|b", "<\\na\\nb",
         "<a", "<:a:b", "<.a.b..c", "< a b", "<\\x1fa\\x1fb", "3:1:2:10:-1", "B:a:C:b", "a:<,b,c", "a\\::b", "x:\\xe9:caf\\xc3\\xa9", "<-a-b--c",
         "<<a<b", "1K:1M:5", "\\N$a\\N:b", "<; ::1;1.2.3.4", "a:\\n:b", "<\\x7fa\\x7fb", " <, a,b", "<,,a", "<,,,a", "<\\ta\\tb"]
JSON = ["", "{}", "[]", "[1,2,3]", "[ \"a\" , \"b\" ]", "{\"a\":1}", "{\"a\":\"x\",\"b\":[1,2],\"c\":{\"d\":null}}", "{\"a\" : true , \"b\":\"\"}",
        "[[1,2],[3]]", "[{\"a\":1},{\"a\":2}]", "{\"a\":1,\"a\":2}", "[1,2", "{\"a\":1", "{a:1}", "\"x\"", "[1 2]", "[,]", "[1,]", "{\"a\"}",
         "{\"\":1}", "{\"A\":1}", "[\"\\\\u00e9\",\"x\"]", "[\"a\\\\\\\"b\",2]", "nonsense", "[\"\"]", "{\"1\":2}", " [1] ", "[null,true,1e5]"]
PATTERNS = ["", "a", "^a", "b\\$", ".", "(a)(b)?", "(?i)A", "[a-c]+", "(", "[", "*", "a{2}", "\\N^\\d+$\\N", "\\N^(\\w+)\\s(\\w+)$\\N", "x|", "(?<n>a)",
            "\\N\\bb\\b\\N", "\\N(?=b)\\N", "\\N\\x61\\N", "\\N^$\\N", "\\N^.*$\\N", "(?s).", "a.c", "\\N[^\\x00-\\x7f]\\N", "\\N\\Qa.\\E\\N", "(*UTF)\\xc3\\xa9",
            "\\N(a+)+$\\N", "\\N(\\d)|(\\w)\\N"]
BASE64 = ["YQ==", "YWI=", "YWJj", "YQ", "YWI", "YQ=", "Y", "YQ==YQ==", "YWJj\\nYWJj", " YQ==", "Y Q==", "*", "/+8=", "-_8=", "AAAA", "////", "YWJjZA==x", "="]
HEX = ["00", "61", "6162", "fF", "0g", "6", "616", "6 1", " 61", "61\\n", "ff" * 40, "x61"]
TIMES = ["1s", "1m", "1h", "1d", "1w", "1w2d3h4m5s", "5s1m", "1m1m", "1x", "s", "90", "1 s", " 1s", "1s ", "-1s", "0s", "99999w", "1w1w", "3500w1d", "1.5h",
         "1M", "7101w"]
CRYPTED = ["abgOeLfPimXQo", "\\{crypt\\}abgOeLfPimXQo", "\\{md5\\}CY9rzUYh03PK3k6DJie09g==", "\\{md5\\}098f6bcd4621d373cade4e832627b4f6",
           "\\{MD5\\}098F6BCD4621D373CADE4E832627B4F6", "\\{sha1\\}qUqP5cyxm6YcTAhz05Hph5gvu9M=", "\\{sha1\\}a94a8fe5ccb19ba61c4c0873d391e987982fbbd3",
           "\\{SHA1\\}A94A8FE5CCB19BA61C4C0873D391E987982FBBD3", "\\{md5\\}x", "\\{sha1\\}", "\\{crypt16\\}abgOeLfPimXQo", "\\{nosuch\\}x", "\\{md5", "", "x",
           "xx", "\\$1\\$abcdefgh\\$irWbblnpmw.5z7wgBnprh0", "\\$6\\$saltstring\\$x", "*", "*0", "!", "\\$", "\\$y\\$x", "\\{crypt\\}"]

OPERATORS = """address addresses base32 base32d base62 base62d base64 base64d domain escape escape8bit eval eval10 expand from_utf8 hex2b64
hexquote ipv6denorm ipv6norm lc listcount listnamed local_part mask mask_n md5 quote quote_local_part reverse_ip rfc2047 rfc2047d
rxquote sha1 sha2 sha256 sha3 str2b64 strlen time_eval time_interval uc utf8clean utf8_domain_to_alabel utf8_domain_from_alabel
utf8_localpart_to_alabel utf8_localpart_from_alabel xtextd headerwrap length_3 l_1 substr_1 substr_1_2 substr_-2 substr_-3_2 s_2
hash_3 hash_5_62 h_2 nhash_8 nhash_8_64 nh_3 sha2_256 sha2_384 sha2_512 sha3_224 sha3_512 quote_lsearch quote_mysql quote_pgsql quote_sqlite
quote_ldap quote_ldap_dn quote_nis listnamed_d listnamed_a listnamed_l headerwrap_20 headerwrap_20_60""".split()
# Which operators take which special arguments besides numbers and strings.
SPECIAL = {
    "address": ADDRESSES, "addresses": ADDRESSES + [">%s" % a for a in ADDRESSES[:12]] + [">& a@b, c@d", ">,a@b,c@d", ">", ">:"],
    "domain": ADDRESSES, "local_part": ADDRESSES, "quote_local_part": ADDRESSES, "quote": ADDRESSES[:8], "rxquote": ADDRESSES[:8] + PATTERNS,
    "base64d": BASE64, "hex2b64": HEX, "time_eval": TIMES, "time_interval": TIMES, "base62d": ["0", "z", "Z", "ZZZZZZZZZZZ", "10000000000000"],
    "base32d": ["a", "7", "zz", "A", "1", "aaaaaaaaaaaaaaaaaaaaab", "h" * 13, "b" + "a" * 12],
    "ipv6norm": IPS, "ipv6denorm": IPS, "reverse_ip": IPS, "mask": MASKED + IPS[:4], "mask_n": MASKED, "listcount": LISTS, "md5": ADDRESSES[:3],
    "listnamed": ["local_domains", "+local_domains", "other", "bad", "roles", "nosuch", "d", "a@b"], "listnamed_d": ["local_domains", "bad", "other"],
    "listnamed_a": ["bad", "roles", "local_domains"], "listnamed_l": ["roles", "bad"], "expand": ["\\$primary_hostname", "\\${lc:AB}", "\\${", "$$x",
    "\\\\x41", "\\\\N", "}", "\\}", "\\\\\\$x", "${if eq{1}{1}{\\$tod_zone}}", "\\${if eq{1}{2}{a}fail}"],
    "rfc2047": ADDRESSES[:6], "rfc2047d": ["=?utf-8?q?a=20b?=", "=?utf-8?b?w6k=?=", "=?iso-8859-1?q?=e9?=", "=?utf-8?q?a?= =?utf-8?q?b?=",
    "=?utf-8?q?a?= x =?utf-8?q?b?=", "=?utf-8?x?a?=", "=?utf-8?q?a", "=?utf-8?q??=", "=?utf-8?b?!!?=", "=?utf-8?Q?=C3=A9_x?=", "x=?utf-8?q?a?=y",
    "=?us-ascii?q?=e9?=", "=?utf-8?q?=00?=", "=?utf-8*en?q?a?=", "=?utf-8?q?=zz?=", "=?UTF-8?B?YQ==?=", "=?utf-8?b?YQ?=", "=?utf-8?q?%s?=" % ("a" * 90)],
    "xtextd": ["a+41b", "+2B+3D"], "utf8_domain_to_alabel": ["b\\xc3\\xbccher.example", "B\\xc3\\x9cCHER.example", "\\xc3\\x9f.de", "a..b", "xn--bcher-kva",
    "xn--\\xc3\\xbc", "\\xe6\\x97\\xa5\\xe6\\x9c\\xac.jp", "\\xe2\\x98\\x83.example", "-a\\xc3\\xbc", "a_\\xc3\\xbc.b", "\\xc3\\xbc" * 64],
    "utf8_domain_from_alabel": ["xn--bcher-kva.example", "XN--BCHER-KVA.example", "xn--", "xn--a", "xn--zzzzzzzz", "a.xn--bcher-kva.b", "xn--bcher-kva-"],
    "utf8_localpart_to_alabel": ["b\\xc3\\xbccher", "a.b\\xc3\\xbc"], "utf8_localpart_from_alabel": ["xn--bcher-kva"],
    "utf8clean": ["\\xc3\\xa9\\xc3", "a\\xc3b", "\\xe2\\x82b", "\\xf0\\x9f\\x98", "\\xf0\\x9f\\x98\\xc3\\xa9", "\\x80", "\\xbf\\xbf", "\\xe0\\x80\\x80", "\\xf4\\x90\\x80\\x80",
                  "\\xf8\\x88\\x80\\x80\\x80", "\\xfe\\xff", "\\xef\\xbf\\xbf", "\\xc3\\xa9\\xe9"],
    "from_utf8": ["\\xc3\\xa9\\xc3", "\\xe2\\x82\\xac", "a\\xc3\\xbfb", "\\xc4\\x80"],
}
ARITHMETIC = ["1+1", "1+2*3", "(1+2)*3", "2+42%5", "0xc&5", "0xc|5", "0xc^5", "0xc>>1", "0xc<<1", "~255&0x1234", "-(~255&0x1234)", "1/0", "1%0", "5/2", "-5/2",
              "-5%3", "5%-3", "1<<63", "1<<64", "1<<-1", "1>>64", "-1>>1", "9223372036854775807+1", "-9223372036854775807-1", "-9223372036854775807-2",
              "-9223372036854775808/-1", "-9223372036854775808%-1", "4611686018427387904*2", "1+", "+", "+1", "- -1", "--1", "-+1", "~~1", "~-1", "(1", "1)", "()",
              "((1))", "1 2", "1+2 3", "1k+1", "1K*1K", "1KK", "0x", "0xG", "08", "09+1", "010+1", "0b1", "1e3", "1.5", "a", "1+a", "1++1", "1+-1", "1*-1", "1- -1",
              "1---1", " 1 + 1 ", "1\\n+1", "\\t1", "1&2|4^8", "1|2&3", "1<2", "1==1", "!1", "1&&1", "2*3%4", "2%3*4", "2*3/4*5", "10-3-2", "100/10/2",
              "1<<2<<3", "1<<2+3", "1+2<<3", "0x7fffffffffffffff+0", "0xffffffffffffffff", "0x8000000000000000", "18446744073709551615+0", "1K+", "1M/1K",
              "8589934592G", "8589934591G+1", "1;2", "1,2", "${strlen:abc}+1", "0-0", "-0", "~0", "~0>>1", "0x1fK", "017K", "018", "1 K", "5 % 3 * 2 - 1"]
SUFFIXES = ["", "_", "_0", "_1", "_5", "_+1", "_a", "_1a", "_1_", "_1_2", "_1_-2", "_1_a", "_1_2_3", "__1", "_999", "_2147483648", "_99999999999",
             "_1_99999999999", "_ 1", "-1", "_62_10", "_3_62", "_3_63", "_3_0", "_1.5"]
SUFFIXED = ["substr", "s", "length", "l", "hash", "h", "nhash", "nh", "sha2", "sha3", "sha1", "lc", "mask", "eval", "headerwrap", "quote", "base64", "listnamed"]

COMPARISONS = ["=", "==", ">", ">=", "<", "<="]
ORDERS = ["eq", "eqi", "lt", "lti", "le", "lei", "gt", "gti", "ge", "gei"]
ORDERED = ["", "a", "A", "ab", "aB", "b", "B", "_", "[", "\\xe9", "\\xc3\\xa9", "\\xc3\\x89", " ", "a ", "10", "9", "\\x01", "~", "abc", "abd", "\\n"]


def group_operators():
    for op in OPERATORS:
        for arg in NUMBERS + STRINGS + SPECIAL.get(op, []):
            yield "${%s:%s}" % (op, arg)


def group_suffixes():
    for op in SUFFIXED:
        for suffix in SUFFIXES:
            # Both make a few columns of it, in other ways.
            for arg in ("", "ab", "abcdefghij klm") if op != "headerwrap" else ():
                yield "${%s%s:%s}" % (op, suffix, arg)


def group_arithmetic():
    for op in ("eval", "eval10"):
        for text in ARITHMETIC:
            yield "${%s:%s}" % (op, text)
        for a, o, b in itertools.product(("0", "7", "-3", "9223372036854775807", "0x10", "010"), "+-*/%&|^",
                                         ("0", "2", "-1", "9223372036854775807")):
            yield "${%s:%s%s%s}" % (op, a, o, b)
        for a, o, b in itertools.product(("1", "-1", "0x10"), ("<<", ">>"), ("0", "1", "31", "32", "63", "64", "65", "-1")):
            yield "${%s:%s%s%s}" % (op, a, o, b)


def group_numbers():
    few = ["", "0", "1", "-1", "1K", "1024", "a", " 7 ", "9223372036854775807", "-9223372036854775808"]
    for op in COMPARISONS:
        for a in NUMBERS:
            for b in few:
                yield "${if %s{%s}{%s}{y}{n}}" % (op, a, b)
        for b in NUMBERS:
            yield "${if %s {5} {%s}}" % (op, b)


def group_orders():
    for op in ORDERS:
        for a, b in itertools.product(ORDERED, ORDERED):
            yield "${if %s{%s}{%s}{y}{n}}" % (op, a, b)


def group_truth():
    for name in ("bool", "bool_lax", "!bool", "! bool_lax", "!!bool"):
        for arg in NUMBERS + STRINGS + ["Yes", "YES", " yes ", "TRUE", "t", "y", "n", "false", "False", "No", "00", "-0", "+0", "-00", "\\tno\\n", "no no", "0 ", "-"]:
            yield "${if %s{%s}{y}{n}}" % (name, arg)


def group_addresses():
    for name in ("isip", "isip4", "isip6"):
        for ip in IPS + STRINGS:
            yield "${if %s{%s}{y}{n}}" % (name, ip)
    lists = ["", "1.2.3.4", "1.2.3.4 : ::1", "<; 1.2.3.4 ; ::1", "*", "!1.2.3.4 : *", "1.2.3.0/24", "1.2.3.4/33", "1.2.3.4/0", "2001:db8::/32", "<;2001:db8::/32", ":1.2.3.4", "@[]",
             "localhost", "+relays", "!+relays", "+nosuch", "a.b", "1.2.3.*", "<; fe80::1 ; ::ffff:1.2.3.4", "1.2.3.4x", "net24-lsearch;/nonexistent"]
    for ip in IPS[:28] + ["127.0.0.1", "", "2001:db8::5"]:
        for item in lists:
            yield "${if match_ip{%s}{%s}{y}{n}}" % (ip, item)
    names = ["", "a.example", "A.EXAMPLE", "c.example", "x.a.example", "mx.example.org", "b.example.", "[1.2.3.4]", "postmaster", "POSTMASTER", "a@b", "A@b", "x@c.example",
             "x@sub.c.example", "user", "\\xe9", "a b"]
    items = ["", "*", "a.example", "*.example", "*example", "!a.example : *", "!a.example", "+local_domains", "+other", "!+local_domains : *", "@", "@[]", "^a", "\\N^.*\\.example$\\N",
             "+nosuch", "a.example : !*", "<, a.example , c.example", "A.Example", "a@b", "*@c.example", "@c.example", "+bad", "*@*.c.example", "postmaster", "+roles",
             "Postmaster", "^post", "*master", "+caseful : A@b", "user@", "a*", "<;a.example;b.example", ": a.example", "nosuchtype;x", "\\x61@b", "$primary_hostname", "!^a : *"]
    for name in ("match_domain", "match_address", "match_local_part"):
        for subject, item in itertools.product(names, items):
            yield "${if %s{%s}{%s}{y=$value}{n}}" % (name, subject, item)


def group_conditions():
    for subject in ("", "abc", "aab", "a b", "b", "ab ab", "\\xc3\\xa9", "a\\nb", "42", "A"):
        for pattern in PATTERNS:
            yield "${if match{%s}{%s}{<$0><$1><$2>}{no$1}}" % (subject, pattern)
    for name in ("inlist", "inlisti"):
        for item, items in itertools.product(("", "a", "A", "b", " a", "c", ":", "x", "10", "\\xe9"), LISTS):
            yield "${if %s{%s}{%s}{y=$value}{n=$value}}" % (name, item, items)
    for name in ("forany", "forall"):
        for items, condition in itertools.product(LISTS, ("eq{$item}{a}", "!eq{$item}{a}", ">{$item}{1}", "match{$item}{(.)}", "eq{}{}", "bool{$item}", "and{{eq{$item}{a}}{eq{1}{1}}}")):
            yield "${if %s{%s}{%s}{y$1}{n}}" % (name, items, condition)
    for name in ("forany_json", "forall_json", "forany_jsons", "forall_jsons"):
        for text, condition in itertools.product(JSON, ("eq{$item}{a}", "eq{$item}{\"a\"}", "!eq{$item}{1}", "def:item")):
            yield "${if %s{\\N%s\\N}{%s}{y}{n}}" % (name, text, condition)
    for secret, crypted in itertools.product(("test", "", "x", "test ", "password", "\\xe9"), CRYPTED):
        yield "${if crypteq{%s}{%s}{y}{n}}" % (secret, crypted)
    for a, b, c in itertools.product(("eq{1}{1}", "eq{1}{2}", "match{ab}{(.)}", "match{ab}{.(.)}", "bool{}"), repeat=3):
        yield "${if and{{%s}{%s}{%s}}{y$1}{n$1}}" % (a, b, c)
        yield "${if or{{%s}{%s}{%s}}{y$1}{n$1}}" % (a, b, c)
        yield "${if !or{{%s}{and{{%s}{!%s}}}}{y$1}{n$1}}" % (a, b, c)
    for name in ("def:sender_host_address", "def:primary_hostname", "def:nosuch", "def:", "def:h_x:", "def:h_x", "def:header_to:", "def:acl_c0", "def:acl_m_x", "def:acl_cx", "def:1", "def:r_x",
                 "def:item", "def:value", "exists{/}", "exists{/nonexistent}", "exists{}", "exists{relative}", "first_delivery", "queue_running", "eq{1}", "eq", "", "!", "nosuch", "nosuch{a}{b}",
                 "eq{1}{1}{2}", "eq {1} {1} ", "eq{1} x {1}", "= {1}{1}", "=={1}{1}", "=!{1}{2}", "!={1}{2}", "!{eq{1}{1}}", "{eq{1}{1}}", "and{}", "or{}", "and{{}}", "and", "and{eq{1}{1}}",
                 "and {{eq{1}{1}} {eq{2}{2}} } ", "acl{{x}}", "acl{x}", "acl", "bool", "bool{", "isip", "pam{x}", "pwcheck{x}", "radius{x}", "ldapauth{}", "ldapauth", "saslauthd{{a}}",
                 "saslauthd{a}{b}", "saslauthd{{a}{b}{c}{d}{e}}", "match{a}{(}", "crypteq{a}", "match_ip{a}", "match_domain{a}", "forany{a}",
                 "forany{a}{", "forall{a}{}", "forany{a}{eq{a}{a}", "inlist{a}", "EQ{1}{1}", "eq\\{1}{1}", "eq1{1}{1}", "eqi\t{a}{A}", "eq_{a}{a}", "bool_lax", "bool{1}{y}{n}"):
        for rest in ("{y}{n}", "", "{y}", "{y}fail", "{y} fail ", "fail", "{y}{n}{z}", "{y}x", " {y} {n} "):
            yield "${if %s%s}" % (name, rest)


def group_items():
    numbers = NUMBERS[:24] + ["3", "-2", "10"]
    for n, s in itertools.product(numbers, ("", "a", "abcdefghij", "caf\\xc3\\xa9 \\xe9")):
        yield "${length{%s}{%s}}" % (n, s)
        yield "${substr{%s}{%s}}" % (n, s)
        yield "${nhash{%s}{%s}}" % (n, s) if n.strip() not in ("0", "") else ""
        yield "${hash{%s}{%s}}" % (n, s)
    for n, m in itertools.product(numbers, ("", "0", "1", "3", "-1", "26", "62", "63", "a", "99999999999")):
        yield "${substr{%s}{%s}{abcdefghij}}" % (n, m)
        yield "${hash{%s}{%s}{abcdefghij}}" % (n, m)
    for n, items in itertools.product(numbers, LISTS):
        yield "${listextract{%s}{%s}{<$value>}{no}}" % (n, items)
    for n, s in itertools.product(numbers, ("", "a", "a:b:c", "::", "a;b c", " a : b ", "x:42:99:& Mailer::/bin/bash")):
        yield "${extract{%s}{:}{%s}{<$value>}{no}}" % (n, s)
        yield "${extract{%s}{: ;}{%s}}" % (n, s)
    for key, s in itertools.product(("a", "A", "b", " a ", "b b", "x-y", "a_b", "\\xe9", "1x", "a=", "\\\"a\\\""),
                                    ("", "a", "a=", "a=1", "a=1 b=2", "A = 1  b = 2", "a=\\\"x y\\\" b=\\\"q\\\\\\\"r\\\"", "b=\\\"x", "a= b=2", "a 1 b 2", "a==1", "=1", "a=\\\"\\\\n\\\\x41\\\"",
                                     "aa=1 a=2", "x-y=3 a_b=4", "a=1,b=2", "\\xe9=5", "a=1\\tb=2\\na=3", "b=1 b=2", "a=\\\"\\\" b=x", "a='x y' b=1")):
        yield "${extract{%s}{%s}{<$value>}{no}}" % (key, s)
        yield "${extract{%s}{%s}}" % (key, s)
    for form, key, text in itertools.product(("json", "jsons"), ("a", "A", "b", "c", "1", "2", "-1", "0", "", "10", " 1 ", "\\\"a\\\"", "1x"), JSON):
        yield "${extract %s{%s}{\\N%s\\N}{<$value>}{no}}" % (form, key, text)
    for items in LISTS:
        for body in ("[$item]", "$item", "", ":", "a:b", "${uc:$item}", "${if eq{$item}{a}{}{x}}", "$nosuch", "${if eq{$item}{b}{x}fail}", "${map{1:2}{$item}}", ",", "$item,$item"):
            yield "${map{%s}{%s}}" % (items, body)
        for condition in ("eq{$item}{a}", "!eq{$item}{b}", "match{$item}{a}", "eq{1}{1}", "eq{1}{2}", "bool{$item}", "nosuch", "inlist{$item}{a:c}"):
            yield "${filter{%s}{%s}}" % (items, condition)
        for start, body in (("", "$value$item"), ("0", "${eval:$value+$item}"), ("x", "$item"), (":", "<$value|$item>"), ("1", "${if >{$item}{$value}{$item}{$value}}"), ("", "")):
            yield "${reduce{%s}{%s}{%s}}" % (items, start, body)
        for comparator, key in itertools.product(("<", ">", "<=", ">=", "lt", "gt", "le", "ge", "lti", "gti", "lei", "gei", "eq", "", "=", "x"), ("$item", "${length_1:$item}", "1")):
            yield "${sort{%s}{%s}{%s}}" % (items, comparator, key)
        for separator in (":", ",", "", ";;", "\\n", " ", "x"):
            yield "${listquote{%s}{%s}}" % (separator, items)
        yield "${listcount:%s}" % items
    for subject, pattern, text in itertools.product(("", "abc", "aab b", "a\\nb", "caf\\xc3\\xa9"), PATTERNS, ("", "x", "<\\$0>", "\\$1", "\\\\n", "\\$", "\\${lc:\\$0}")):
        yield "${sg{%s}{%s}{%s}}" % (subject, pattern, text)
    for s, a, b in itertools.product(("", "abcdea", "a\\xe9b", "a b", "\\n"), ("", "a", "ac", "aa", "\\xe9", "abc", " \\n", "a-c"), ("", "1", "13", "xyz", "\\xe8", "_")):
        yield "${tr{%s}{%s}{%s}}" % (s, a, b)
    for name, secret, text in itertools.product(("md5", "sha1", "SHA1", "sha256", "sha2", "sha512", "", "x"), ("", "k", "x" * 64, "y" * 65, "\\xe9"), ("", "abc", "\\n", "z" * 100)):
        yield "${hmac{%s}{%s}{%s}}" % (name, secret, text)
    for name in STRINGS + ["INBOX", "a&b", "&-", "a/b/c", "Entw\\xc3\\xbcrfe", "a\\xc3\\xa9\\xe2\\x82\\xacb", "&AOk-", "a.b", "~x", "\\xc3\\xbc&\\xc3\\xbc"]:
        for rest in ("", "{.}", "{/}{.}"):
            yield "${imapfolder{%s}%s}" % (name, rest)
    for key in ("HOME", "NOSUCH", "", " HOME ", "home", "A=B", "HOME=", "\\xe9"):
        for rest in ("", "{<$value>}", "{<$value>}{no}", "{<$value>}fail", "{}{no}"):
            yield "${env{%s}%s}" % (key, rest)
    for address in ("a@b", "local@domain.example", "a", "", "prvs=0@b", "a@", "@b", "A+x@B"):
        for rest in ("{secret}{a}", "{secret}{10}", "{secret}{-1}", "", "{secret}{1}{2}"):
            yield "${prvs{%s}%s}" % (address, rest)
    for address in ("a@b", "prvs=0123abcdef=a@b", "prvs=3123ab=a@b", "prvs=a/0123456789@b", "prvs=0/123abcdef=a@b", "prvs=012abcdefa=a@b", "PRVS=0123abcdef=a@b", "", "prvs==a@b",
                    "prvs=0123ABCDEF=A.b@C", "prvs=0123abcdef=@b", "prvs=0123abcdef=a"):
        for rest in ("{secret}", "{secret}{}", "{secret}{$prvscheck_address,$prvscheck_keynum,$prvscheck_result}", "{${if eq{$prvscheck_keynum}{0}{x}fail}}", "", "{a}{b}{c}"):
            yield "${prvscheck{%s}%s}" % (address, rest)
    for name in ("/nonexistent", "", "/", "relative", "/etc/hostname/x", "\\n"):
        for rest in ("", "{}", "{:}", "{a}{b}"):
            yield "${readfile{%s}%s}" % (name, rest)
            yield "${if exists{%s}{y}{n}}%s" % (name, "x" if rest else "")
    for command in ("/bin/echo a b", "/bin/echo \\\"a b\\\" c", "/bin/false", "/nonexistent/x", "/bin/sh -c \\\"exit 3\\\"", "/bin/echo ${uc:x y}", "/bin/echo '$primary_hostname'", "", " ",
                    "echo a", "/bin/sh -c \\\"echo a; echo b 1>&2\\\"", "/bin/echo a\\\\ b", "/bin/echo ''", "/bin/echo \\\"\\\" x", "/bin/printf a", "/bin/echo $nosuch"):
        for rest in ("", "{<$value>}", "{<$value>}{no<$value>}", "{y}fail", "{y}{n}x", "x"):
            yield "${run{%s}%s}$runrc" % (command, rest)
        yield "${run,preexpand{%s}{<$value>}{no<$value>}}$runrc" % command
        yield "${run,preexpand {%s}}" % command
        yield "${run,nosuch{%s}}" % command
        yield "${run preexpand{%s}}" % command


def group_authentication():
    """SRS (both programs make the same of one day), Authentication-Results where nothing was checked, certificates where there are none."""
    secrets = ("secret", "", "a b", "\\xe9", "x" * 80, "{")
    addresses = ("a@b.example", "User.Name@B.example", "", "a", "a@", "@b", "\"a b\"@c.example", "a=b@c.example", "SRS0=abcd=EF=x.example=y@z.example", "a+b@c.example", "x" * 70 + "@b.example",
                 "a@[1.2.3.4]", "a@b@c.example", "caf\\xc3\\xa9@b.example")
    for secret, address in itertools.product(secrets[:5], addresses):
        yield "${srs_encode{%s}{%s}{here.example}}" % (secret, address)
        # There and back.
        yield "${if inbound_srs{${local_part:${srs_encode{%s}{%s}{here.example}}}}{%s}{<$srs_recipient>}{no}}" % (secret, address, secret)
    for domain in ("", "a", "a.b", "A.Example", "a b", "x@y", "[1.2.3.4]"):
        yield "${srs_encode{s}{a@b.example}{%s}}" % domain
    encoded = "${local_part:${srs_encode{secret}{a@b.example}{here.example}}}"
    for change in ("%s", "x%s", "%sx", "${lc:%s}", "${uc:%s}", "${substr{1}{99}{%s}}", "${sg{%s}{=}{+}}", "${sg{%s}{SRS0}{SRS1}}", "${tr{%s}{abcdef}{bcdefa}}", "${sg{%s}{=[^=]*\\$}{}}"):
        for secret in ("secret", "Secret", ""):
            yield "${if inbound_srs{%s}{%s}{<$srs_recipient>}{no}}" % (change % encoded, secret)
    for local in ("SRS0=AAAA=AA=b.example=a", "SRS0=AAAAAAAA=AA=b.example=a", "SRS0===b=a", "SRS0=AAAA=AA==a", "SRS0=AAAA=AA=b=", "SRS0=AAAA=AA=b", "SRS0", "", "srs0=AAAA=AA=b=a", "SRS0-AAAA=AA=b=a",
                  "SRS0+AAAA=AA=b=a", "SRS1=AAAA=c==AAAA=AA=b=a", "SRS0=A=A=b=a", "SRS0=AAAA=AA=b=c=d", "SRS0=AAAA=A1=b.example=\\xe9"):
        for secret in ("secret", ""):
            yield "${if inbound_srs{%s}{%s}{<$srs_recipient>}{no}}" % (local, secret)
            yield "${if inbound_srs {%s} {%s}}" % (local, secret)
    for rest in ("srs_encode", "srs_encode{a}", "srs_encode{a}{b}", "srs_encode{a}{b@c}{d}{e}", "srs_encode {a} {b@c.d} ", "if inbound_srs{a}", "if inbound_srs{a}{b}{c}{d}{e}", "if !inbound_srs{a}{}{y}{n}"):
        yield "${%s}" % rest
    for name in ("mx.example.org", "a.b", "x"):
        yield "${authresults{%s}}" % name
        yield "[${authresults {%s}}]" % name
    for rest in ("authresults", "authresults{a}{b}", "authresults{${lc:A.B}}", "authresults{$nosuch}", "authresults:a"):
        yield "${%s}" % rest
    selectors = ("version", "serial_number", "subject", "notbefore", "notafter", "issuer", "signature", "sig_algorithm", "subj_altname", "ocsp_uri", "crl_uri", "", "nosuch", "subject,CN", "notafter,int",
                 "subj_altname,dns", "subj_altname,dns,>:", "issuer, CN ,>;", "SUBJECT", " subject ")
    for selector, certificate in itertools.product(selectors, ("$tls_in_peercert", "$tls_out_peercert", "$tls_in_ourcert", "$tls_out_ourcert")):
        for rest in ("", "{<$value>}{none}", "{$value}fail"):
            yield "${certextract{%s}{%s}%s}" % (selector, certificate, rest)
    for rest in ("certextract", "certextract{subject}", "certextract{subject}{$tls_in_peercert}{a}{b}{c}", "certextract{subject}{$tls_in_peercert}{a}x", "certextract {subject} {$tls_in_peercert} {a} {b} ",
                 "certextract{$nosuch}{$tls_in_peercert}", "md5:$tls_in_peercert", "sha1:$tls_in_peercert", "sha256:$tls_in_peercert", "if def:tls_in_peercert{y}{n}"):
        yield "${%s}" % rest


def group_lookups():
    """The two forms of ${lookup, over files that every system has, and what is wrong with them."""
    users, nothing = "/etc/passwd", "/nonexistent/file"
    rests = ("", "{<$value>}", "{<$value>}{no}", "{<$value>}fail", "{}{no}", "fail", "{a}{b}{c}", "{a} x", " { <$value> } { no } ", "{${extract{2}{:}{$value}}}{no}", "{$1}{no$1}")
    for kind in ("lsearch", "nwildlsearch", "wildlsearch", "iplsearch"):
        for key in ("root", "ROOT", "no such", "", "daemon", "1.2.3.4", "\\xe9", "root\\n", "${lc:ROOT}"):
            for rest in rests:
                yield "${lookup{%s}%s{%s}%s}" % (key, kind, users, rest)
    for kind in ("lsearch*", "lsearch*@", "partial-lsearch", "partial1-lsearch", "partial3(.)lsearch", "partial0()lsearch*", "lsearch,ret=key", "lsearch,ret=full", "lsearch,cache=no_rd", "lsearch,nosuch=x",
                 "lsearch,ret=key,cache=no_rd", "lsearch,", "lsearch ", "Lsearch", "lsearchx", "partial-", "partial", "partial4294967296-lsearch", "partial-lsearch*@", "(lsearch)", "*lsearch", "net-iplsearch",
                 "net24-iplsearch", "dsearch", "dsearch,ret=full", "dsearch,filter=file", "dsearch,filter=dir", "dsearch,filter=subdir", "dsearch,ret=dir", "dsearch,ret=key,filter=file", "dsearch*", "passwd", "dnsdb"):
        for key in ("root", "a.b.c", "u@root", "passwd", "..", ".", "a/b", ""):
            for name in (users, "/etc", nothing, "relative", ""):
                if not (name == nothing and kind.startswith("dsearch")):  # its words are the system's
                    yield "${lookup{%s}%s{%s}{<$value>}{no}}" % (key, kind, name)
    for kind in ("passwd", "lsearch", "nosuch", "passwd*", "partial-passwd", "passwd,x=y", "passwd,cache=no_rd", ""):
        for query in ("root", "no such user", "", "$nosuch"):
            for rest in ("", "{<$value>}{no}", "{$value}fail"):
                yield "${lookup %s{%s}%s}" % (kind, query, rest)
    for text in ("${lookup", "${lookup}", "${lookup{", "${lookup{a}", "${lookup{a}}", "${lookup{a}lsearch}", "${lookup{a}lsearch{", "${lookup{a}lsearch{/etc/passwd}", "${lookup{a}{/etc/passwd}}", "${lookup lsearch{a}{b}}",
                 "${lookup{root}lsearch{/etc/passwd}x}", "${lookup:a}", "${lookup{$nosuch}lsearch{/etc/passwd}}", "${lookup{root}lsearch{$nosuch}}", "${lookup{root} lsearch {/etc/passwd} {y} {n} }",
                 "${lookup{root}lsearch{ /etc/passwd }{y}{n}}", "${lookup{root}lsearch{/etc/passwd}{$value}{${lookup{x}lsearch{/etc/passwd}}}}",
                 "${if eq{${lookup{root}lsearch{/etc/passwd}{$value}{no}}}{}{empty}{there}}", "${lookup{root}lsearch{/etc/passwd}{$value}}$value", "${extract{5}{:}{${lookup passwd{root}{$value}}}}",
                 "${map{root:none}{${lookup{$item}lsearch{/etc/passwd}{y}{n}}}}", "${filter{root:none}{bool{${lookup{$item}lsearch{/etc/passwd}{yes}{no}}}}}"):
        yield text
    for kind in ("lsearch", "mysql", "pgsql", "ldap", "sqlite", "nosuch", "dnsdb", "passwd", "cdb"):
        for text in ("", "a", "a'b", "a\"b", "a\\\\b", "a\\nb\\tc\\rd", "a*b(c)", "\\xe9", "a b,c=d;e", "%_", "#a "):
            yield "${quote_%s:%s}" % (kind, text)
    for text in ("a,b=c+d", "#a", " a ", "\\xe9", "a\\\\b<c>;\"d"):
        yield "${quote_ldap_dn:%s}" % text
        yield "${quote_ldap_nosuch:%s}" % text


WELL_FORMED = [
    "$primary_hostname", "${primary_hostname}", "$h_subject:", "${lc:A}", "${substr_1_2:abcdef}", "${substr{1}{2}{abcdef}}", "${length{2}{abc}}", "${hash{3}{26}{abcdef}}",
    "${nhash{8}{64}{abc}}", "${if eq{a}{a}{yes}{no}}", "${if eq {a} {b} {yes} fail}", "${if and{{eq{1}{1}}{eq{2}{2}}}{yes}{no}}", "${if or{{eq{1}{2}}{match{ab}{(.)}}}{$1}{no}}",
    "${if !def:sender_ident{none}{some}}", "${if def:h_x:{a}{b}}", "${if forany{a:b}{eq{$item}{b}}{yes}{no}}", "${if forall_json{[1]}{eq{$item}{1}}{yes}{no}}", "${if bool{yes}{1}{2}}",
    "${if match_domain{a.example}{+local_domains}{yes}{no}}", "${if match_ip{1.2.3.4}{<; 1.2.3.0/24 ; ::1}{yes}{no}}", "${if inlist{a}{a:b}{$value}{no}}", "${if >{2}{1K}{yes}{no}}", "${if crypteq{test}{abgOeLfPimXQo}{y}{n}}",
    "${extract{a}{a=1 b=2}{$value}{no}}", "${extract{2}{:}{a:b:c}{<$value>}fail}", "${extract json{a}{\\{\"a\":1\\}}{$value}{no}}", "${listextract{2}{a:b}{$value}{no}}",
    "${map{a:b}{[$item]}}", "${filter{a:b}{eq{$item}{a}}}", "${reduce{1:2}{0}{${eval:$value+$item}}}", "${sort{b:a}{lt}{$item}}", "${listquote{:}{a:b}}", "${sg{abc}{b}{x}}", "${tr{abc}{b}{x}}",
    "${hmac{md5}{k}{t}}", "${env{HOME}{$value}{no}}", "${run{/bin/echo x}{<$value>}{no}}", "${readfile{/nonexistent}{:}}", "${lookup{x}lsearch{/nonexistent}{$value}{no}}",
    "${prvscheck{a@b}{s}{x}}", "${imapfolder{a}{/}{.}}", "${dlfunc{/x}{f}{a}}", "${perl{f}{a}}", "${acl{x}{1}}", "${quote_local_part:a b}", "${mask:1.2.3.4/8}", "${eval:(1+2)*3}",
    "${base62d:zz}", "${uc:${lc:Ab}}", "a\\Nb$c\\Nd", "\\x41\\102\\n", "${addresses:>& a@b, c@d}", "${readsocket{/nonexistent}{x}{1s}{:}{no}}", "${time_eval:1h}", "${listnamed_d:other}",
    "${rfc2047d:=?utf-8?q?a?=}", "${if acl{{x}{1}}{y}{n}}",
]


def group_mutations():
    """Each byte of well-formed lines left out, doubled, or another one put in its place."""
    for line in WELL_FORMED:
        for i in range(len(line)):
            yield line[:i] + line[i + 1:]
            yield line[:i] + line[i] + line[i:]
            yield line[:i]
            if line[i] in "{}:$\\_":
                for c in "{}:$ _x0":
                    yield line[:i] + c + line[i + 1:]
        for tail in ("}", "{", "{x}", " ", "fail", "\\", "$", "${", "x}"):
            yield line + tail
            yield line[:-1] + tail + line[-1:]
        yield "${lc:" + line + "}"
        yield "${if eq{1}{2}{" + line + "}}"
        yield "${if eq{1}{1}{" + line + "}{x}}"
        yield "${if eq{1}{1}{a}{" + line + "}}"
        yield "${map{1:2}{" + line + "}}"


def group_random():
    """Pieces put together by a random generator that always begins alike."""
    pieces = ["${lc:", "${uc:", "${if eq{", "${if match{", "}{", "}", "{", "$1", "$value", "$item", "a", "B", ":", " ", "\\n", "\\N", "\\", "${map{", "${sg{", "${extract{", "1", "2", "json",
              "${length_2:", "fail", "$h_x:", "$", "${", "${eval:", "+", "(", ")", "${listextract{", "${filter{a:b}{", "and{{", "or{{", "!", "def:value", "${reduce{", "${sort{", "\"", "<,"]
    rng = random.Random(4711)
    for _ in range(3000):
        yield "".join(rng.choice(pieces) for _ in range(rng.randint(2, 9)))


GROUPS = {name[6:]: value for name, value in list(globals().items()) if name.startswith("group_")}


# Lines that end the run of Exim 4.98.2: nothing is learned from them, and each costs a start.
CRASHES = re.compile("|".join((
    r"\$\{xtextd:.*([^ -~]|\\x|\\n|\\t|[ +=].*)",
    r"\$\{(hash|h|nhash|nh)_(|\d+_0|0|2147483648):.*",
    r"\$\{n?hash\{(-\d|2147483648|-?0|)\}.*",
    r"\$\{hash\{[^{}]*\}\{0?\}\{.*",
    r"\$\{utf8_domain_from_alabel:(|\\n|\\t|\\N\\N|\.|xn--)\}",
    r"\$\{if match_\w+\{.*(nosuchtype|net24-lsearch);.*",
    r"\$\{extract\{2147483648\}.*",
    r"\$\{sort\{( ?:|<,,).*\{1\}\}",
    r"\$\{if for(any|all)_jsons?\{\\N(?!\s*\[.*\]\s*\\N).*",
    r"\$\{if match_ip\{1\.2\.3\.4\}\{(\{<|;|<<|<) ?;? 1\.2\.3\.0.*",
)), re.S)


def usable(line):
    """Not empty, no continuation, no comment; a capital letter in front would define a macro."""
    return (line.strip() and not line.rstrip().endswith("\\") and "\n" not in line and line[0] not in "#AB"
            and not CRASHES.fullmatch(line))


def lines(groups=None):
    seen = set()
    for name in groups or GROUPS:
        for line in GROUPS[name]():
            if usable(line) and line not in seen:
                seen.add(line)
                yield line


if __name__ == "__main__":
    out = sys.stdout.buffer
    for text in lines(sys.argv[1:]):
        out.write((text + "\n").encode("utf-8", "surrogateescape"))
