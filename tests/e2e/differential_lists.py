#!/usr/bin/python3
"""Asks Exim and sluice the same questions of lists: each item form by itself against each subject, and items of all
forms mixed at random, in four ways: conditions of expansions (-be), host lists and the others in ACLs of an SMTP
session (-bh), preconditions of routers (-bt), and lookups in the DNS (-be). Run in a world of its own
(dns_world.run_in_world), since names are looked up.

    differential_lists.py --exim EXIM --sluice SLUICE [--seed N] [--count N] [--only KIND] [--verbose]

Differences that are meant stand in tests/differences.md as indented code, and are left out of the verdict.
"""
import argparse
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile

from differential_be import answers, failed
from nameserver import REFUSED, SERVFAIL, Nameserver

ZONE = {
    # client addresses
    "1.2.0.192.in-addr.arpa": [("PTR", "good.example")],
    "good.example": [("A", "192.0.2.1"), ("TXT", "good text")],
    "3.2.0.192.in-addr.arpa": [("PTR", "liar.example")],
    "liar.example": [("A", "192.0.2.99")],
    "4.2.0.192.in-addr.arpa": [("PTR", SERVFAIL)],
    "5.2.0.192.in-addr.arpa": [("PTR", "one.multi.example"), ("PTR", "TWO.Multi.example"), ("PTR", "liar.example")],
    "one.multi.example": [("A", "192.0.2.5")],
    "two.multi.example": [("A", "192.0.2.55"), ("A", "192.0.2.5")],
    "6.2.0.192.in-addr.arpa": [("PTR", "broken.example")],
    "broken.example": [("A", SERVFAIL)],
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": [("PTR", "six.example")],
    "six.example": [("AAAA", "2001:db8::1")],
    "under_score.example": [("A", "192.0.2.1")],
    "both.example": [("A", "192.0.2.1"), ("A", "192.0.2.2"), ("AAAA", "2001:db8::1")],
    "noaddress.example": [("TXT", "nothing else")],
    "alias.example": [("CNAME", "good.example")],
    "localhost": [("A", "127.0.0.1"), ("AAAA", "::1")],
    "1.0.0.127.in-addr.arpa": [("PTR", "localhost")],
    "1." + "0." * 31 + "ip6.arpa": [("PTR", "localhost")],
    # mail domains
    "mx1.example": [("MX", "10 me.example"), ("MX", "20 other.example")],
    "mx2.example": [("MX", "10 other.example"), ("MX", "20 me.example")],
    "mx3.example": [("MX", "10 other.example")],
    "mxequal.example": [("MX", "10 other.example"), ("MX", "10 me.example")],
    "mxalias.example": [("MX", "10 asus.example")],
    "mxfail.example": [("MX", SERVFAIL)],
    "mxnowhere.example": [("MX", "10 nowhere.example")],
    "mxhalf.example": [("MX", "10 broken.example"), ("MX", "20 me.example")],
    "mxlast.example": [("MX", "10 me.example"), ("MX", "20 broken.example")],
    "mxgone.example": [("MX", "10 nowhere.example"), ("MX", "20 me.example")],
    "nullmx.example": [("MX", "0 .")],
    "onlya.example": [("A", "127.0.0.1")],
    "mxloop.example": [("MX", "10 loop.example")],
    "loop.example": [("A", "127.0.0.1")],
    "me.example": [("A", "192.0.2.250")],
    "other.example": [("A", "192.0.2.201")],
    "asus.example": [("A", "192.0.2.202")],
    # dnsdb
    "txt.example": [("TXT", "first", "second", "third"), ("TXT", "alone")],
    "txtempty.example": [("TXT", "")],
    "txtodd.example": [("TXT", 'quo"te;semi\\back'), ("TXT", b"tab\tand\xe9")],
    "spf.example": [("TXT", "v=spf1 ", "-all"), ("TXT", "other"), ("SPF", "v=spf1 ", "a -all")],
    "ns.example": [("NS", "ns1.ns.example"), ("NS", "ns2.ns.example"), ("SOA", "ns1.ns.example hm.ns.example 1 2 3 4 5")],
    "deep.sub.ns.example": [("A", "192.0.2.9")],
    "srv.example": [("SRV", "10 20 25 s1.example"), ("SRV", "20 5 26 s2.example")],
    "_25._tcp.tlsa.example": [("TLSA", "3 1 1 " + "ab" * 32), ("TLSA", "2 0 2 " + "0f" * 64)],
    "_client._smtp.csa.example": [("SRV", "1 2 1 target.example")],
    "_client._smtp.csano.example": [("SRV", "1 1 0 target.example")],
    "_client._smtp.csaq.example": [("SRV", "1 3 0 target.example")],
    "_client._smtp.csaold.example": [("SRV", "2 2 0 target.example")],
    "target.example": [("A", "192.0.2.33"), ("AAAA", "2001:db8::33")],
    "many.example": [("A", "192.0.2.%d" % i) for i in range(1, 5)],
    "fail.example": [("*", SERVFAIL)],
    "secure.example": [("A", "192.0.2.44"), ("TXT", "signed"), ("MX", "5 me.example")],
    "refused.example": [("*", REFUSED)],
    "cnameloop.example": [("CNAME", "cnameloop2.example")],
    "cnameloop2.example": [("CNAME", "cnameloop.example")],
    "cnamedeep.example": [("CNAME", "alias.example")],
    "9.2.0.192.in-addr.arpa": [("PTR", "nine.example"), ("PTR", "neuf.example")],
}
AUTHENTIC = ["secure.example"]

FILES = {
    "list.dom": "in.file\n*.star.file # comment\n!neg.file\n^re\\d+\\.file$\nlsearch;/F/ls\n# nothing\n\n  spaced.file  \nUP.file\n",
    "list.host": "192.0.2.1\n10.0.0.0/8 # net\n2001:db8::/32\n!172.16.0.1\n172.16.0.0/12\n*.multi.example\n",
    "list.addr": "u@in.file\n*@star.file\n!neg@x.file\nx.file # c\na#b@c.file\n#no@x.file\n^re\\d+@y\\.file$\n@@lsearch;/F/at\n",
    "list.local": "joe\n*-list\n^no\\d+\na#b\nx # y\n",
    "list.neg": "!in.file\n*.file\n",
    "ls": ("in.ls: in data\n*.wild.ls: wild data\n.dot.ls: dot data\nplain.ls: plain data\nempty.ls:\nnocolon.ls data of it\n"
           "cont.ls: one\n  two\n\tthree\n*: default data\nUPPER.ls: upper\n\"quoted key\": q data\n\"a:b\": colon\n"
           "fail.ls: :fail: not here\n# c: d\nu@in.ls: address data\n*@at.ls: at data\njoe: local joe\n"
           "192.0.2.1: by ip\n192.0.2.0/24: by net\n2001.0db8.0000.0000.0000.0000.0000.0001: six\n"
           "2001.0db8.0000.0000.0000.0000.0000.0000/64: six net\ngood.example: by name\ntwo.multi.example: second name\n"),
    "nostar": "in.ls: in data\n*.wild.ls: wild\n*.a.b.c: abc\nb.c: bc\nc: see\n*.c: star c\n*.: dots\n.: dot\n",
    "wild": "*.end.ls: end\n*tail.ls: tail\n^re\\d+\\.ls$: re\nlit.ls: lit\nlsearch;/F/nostar: nested\n\"^q:(\\\\d+)\": quoted\n"
            "^(?-i)Case\\.ls: case\n",
    "ewild": "${lc:*.END.ls}: end\n^\\N\\d+\\.ls\\N$: re\n",
    "ip": "192.0.2.1: one\n192.0.2.0/24: net\n\"2001:db8::1\": six\n\"2001:db8::/32\": six net\n0.0.0.0/0: all\n",
    "at": "in.ls: joe : !jim : *-x : ^\\d+$\nchain.ls: a : >in.ls\nstarchain.ls: b : >*\n*: any\nlast.ls: !joe\n"
          "Sub.ls: JOE\nnest.ls: lsearch;/F/locals\nempty.ls:\ncolon.ls: a::b : c\n*.wild.ls: w\nloop.ls: q : >loop.ls\n",
    "locals": "joe: x\njim: y\n",
    "json": '{"a": "text", "b": {"c": [1, 2, "three"], "d": null, "e": true}, "n": 1.5, "q": "quo\\"te", "u": "\\u00e9"}',
}
DIRECTORY = ["in.ls", "entry", ".hidden", "UPPER", "with space"]

DOMAINS = ["in.file", "a.star.file", "star.file", "neg.file", "re12.file", "UP.FILE", "spaced.file", "in.ls", "x.wild.ls", "wild.ls",
           "x.dot.ls", "plain.ls", "empty.ls", "nocolon.ls", "cont.ls", "upper.ls", "other.ls", "z.end.ls", "xtail.ls", "re9.ls",
           "me.example", "[127.0.0.1]", "[192.0.2.250]", "[192.0.2.1]", "mx1.example", "mx2.example", "mx3.example",
           "mxequal.example", "mxalias.example", "mxfail.example", "mxnowhere.example", "mxlast.example", "mxgone.example",
           "nullmx.example", "onlya.example", "mxloop.example", "a.b", "x.a.b", "A.B", "one.two.three.four", "", "x", "a.b.c", "z.a.b.c",
           "entry", "named.one", "sub.named.two"]
DOMAIN_ITEMS = ["a.b", "*.a.b", "*a.b", "*", "^x", "^x\\.a\\.b$", "^(.*)\\.(b)$", "^(?-i)A", "@", "@[]", "@mx_any", "@mx_primary",
                "@mx_secondary", "@mx_any/ignore=127.0.0.1", "@mx_any/ignore=<;127.0.0.1;192.0.2.250", "@mx_any/ignore=192.0.2.0/24",
                "@mx_primary/ignore=!192.0.2.250", "@MX_ANY", "@mx_bogus", "/F/list.dom", "/F/list.neg", "+d1", "+d2", "+dneg", "+dfile",
                "+dlook", "+dfail", "lsearch;/F/ls", "lsearch*;/F/ls", "partial-lsearch;/F/nostar", "partial1-lsearch;/F/nostar",
                "partial0-lsearch;/F/nostar", "partial(.)lsearch;/F/ls", "partial1()lsearch;/F/nostar", "partial0(.)lsearch;/F/nostar",
                "partial0()lsearch*;/F/ls", "partial3-lsearch;/F/nostar", "partial-lsearch*;/F/ls", "lsearch,ret=key;/F/ls",
                "lsearch,ret=full;/F/ls", "partial-lsearch,ret=key;/F/nostar", "wildlsearch;/F/ewild", "nwildlsearch;/F/wild",
                "dsearch;/F/dir", "dsearch,ret=full;/F/dir", "dsearch,filter=dir;/F/dir", "dsearch,filter=file;/F/dir", "cdb;/F/cdb",
                "partial-cdb;/F/cdb", "cdb*;/F/cdb", "sqlite,file=/F/sqlite;select v from t where k='in.ls'",
                "sqlite,file=/F/sqlite;select v from t where k='nosuch'", "passwd;root", "passwd;nosuchuser", "dnsdb;a=good.example",
                "dnsdb;a=nosuch.example", "lsearch;/F/none", "/F/none", "nosuch;x", "+nosuch", "^(", "lsearch ; /F/ls", "a..b", "[127.0.0.1]",
                "a b", "*.", "*@", "UP.file", "partialx-lsearch;/F/ls", "lsearch*@;/F/ls", "one.two.*", "+caseful", "!", "",
                "iplsearch;/F/ip", "dnsdb;a=fail.example", "partial-sqlite;x", "sqlite*;x", "net-lsearch;/F/ls",
                "lsearch,cache=no_rd;/F/ls", "lsearch,bogus=1;/F/ls"]

ADDRESSES = ["u@in.file", "U@IN.FILE", "v@star.file", "neg@x.file", "other@x.file", "a#b@c.file", "re7@y.file", "joe@in.ls", "jim@in.ls",
             "k-x@in.ls", "55@in.ls", "none@in.ls", "a@chain.ls", "joe@chain.ls", "any@starchain.ls", "any@unknown.ls", "joe@last.ls",
             "jim@last.ls", "joe@sub.ls", "JOE@sub.ls", "joe@nest.ls", "bob@nest.ls", "x@empty.ls", "a:b@colon.ls", "c@colon.ls",
             "w@z.wild.ls", "q@loop.ls", "z@loop.ls", "u@in.ls", "v@at.ls", "", "x@a.b", "X@A.B", "x@sub.a.b", "joe@mx1.example",
             "\"a b\"@a.b", "\"a@b\"@a.b", "named@one.x", "localonly", "x@me.example", "abc@a.b", "!x@a.b", "x@"]
ADDRESS_ITEMS = ["x@a.b", "X@a.b", "x@A.b", "*@a.b", "*x@a.b", "*bc@a.b", "a*@a.b", "a.b", "*.b", "*.a.b", "*a.b", "*", "*@*", "x@*", "x@*.b",
                 "x@*b", "x@^a", "*@^.*\\.b$", "@a.b", "x@", "*@", "^x@a", "^.*@a\\.b$", "^(?-i)X", "^$", "^", "", "*@+d1", "*@+dneg", "joe@+d1",
                 "*@@mx_any", "*@@", "+a1", "+a2", "+aneg", "+afile", "lsearch;/F/ls", "lsearch*@;/F/ls",
                 "lsearch*@,ret=key;/F/ls", "partial-lsearch;/F/ls", "@@lsearch;/F/at", "@@lsearch*;/F/at", "@@partial-lsearch;/F/at",
                 "@@lsearch*,ret=key;/F/at", "*@lsearch;/F/ls", "joe@lsearch;/F/ls", "*@partial-lsearch;/F/nostar", "*@cdb;/F/cdb",
                 "/F/list.addr", "+caseful", "u@in.file", "\"a b\"@a.b", "\"a@b\"@a.b", "nwildlsearch;/F/wild",
                 "sqlite,file=/F/sqlite;select v from t where k='in.ls'", "sqlite,file=/F/sqlite;select v from t where k='nosuch'",
                 "@@sqlite,file=/F/sqlite;select v from t where k='locals'", "lsearch;/F/none", "*@lsearch;/F/none", "@@lsearch;/F/none",
                 "+nosuch", "*@+nosuch", "x@dsearch;/F/dir", "*@/F/list.dom", "x@@a.b", "localonly", "cdb;/F/cdb", "dnsdb;a=good.example",
                 "*@dnsdb;a=good.example", "x@ a.b", "x @a.b", "*@partial-lsearch,ret=key;/F/nostar", "@@nosuch", "@@lsearch"]

LOCALS = ["joe", "JOE", "my-list", "no17", "a#b", "x", "x # y", "", "abc", "Abc", "postmaster", "entry", "in.ls", "a.b", "!x", "a:b", "@"]
LOCAL_ITEMS = ["joe", "Joe", "*-list", "*", "^no\\d+$", "^(a)(.)", "^(?-i)A", "/F/list.local", "+l1", "+l2", "+lneg", "lsearch;/F/ls",
               "lsearch*;/F/ls", "lsearch,ret=key;/F/ls", "partial-lsearch;/F/ls", "dsearch;/F/dir", "+caseful", "abc", "Abc", "@", "@[]",
               "@mx_any", "", "nwildlsearch;/F/wild", "cdb;/F/cdb", "lsearch;/F/none", "+nosuch", "a::b", "passwd;root", "a*", "*bc"]

IPS = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "10.1.2.3", "172.16.0.1", "172.16.0.2", "127.0.0.1",
       "192.0.2.250", "2001:db8::1", "2001:db8:1::2", "::1", "255.255.255.255", "0.0.0.0"]
HOST_ITEMS = ["192.0.2.1", "192.0.2.0/24", "192.0.2.1/31", "10.0.0.0/8", "0.0.0.0/0", "2001::db8::::1", "2001::db8::::/32", "::::1", "*", "", "@",
              "@[]", "good.example", "GOOD.example", "under_score.example", "both.example", "nosuch.example", "noaddress.example", "broken.example", "alias.example",
              "six.example", "localhost", "onlyhosts", "onlyhosts.example", "*.example", "*.multi.example", "*TWO.multi.example", "^one\\.",
              "^two\\.multi\\.example$", "^(?-i)TWO", "/F/list.host", "+h1", "+h2", "+hneg", "+hname", "+hflag", "+hbroken", "+ignore_unknown",
              "+include_unknown", "+ignore_defer", "+include_defer", "lsearch;/F/ls", "net-lsearch;/F/ls", "net24-lsearch;/F/ls",
              "net64-lsearch;/F/ls", "net-iplsearch;/F/ip", "net32-iplsearch;/F/ip", "partial-lsearch;/F/ls", "lsearch*;/F/ls",
              "net-lsearch*;/F/ls", "cdb;/F/cdb", "net-cdb;/F/cdb", "dnsdb;a=good.example", "dnsdb;a=nosuch.example", "net-dnsdb;a=good.example",
              "sqlite,file=/F/sqlite;select v from t where k='in.ls'", "lsearch;/F/none", "/F/none", "+nosuch", "^(", "192.0.2.1/33", "192.0.2",
              "1.2.3.4.5", "192.0.2.*", "[192.0.2.1]", "+caseful", "iplsearch;/F/ip", "net33-lsearch;/F/ls", "nosuch;x", "nwildlsearch;/F/wild"]
# Forms that stop Exim as a process ("unknown lookup type" and the like) are asked alone only.
ALONE = {"nosuch;x", "dsearch,filter=dir;/F/dir", "lsearch*@,ret=key;/F/ls", "+nosuch", "^(", "lsearch;/F/none", "/F/none", "partialx-lsearch;/F/ls", "partial-sqlite;x", "sqlite*;x", "lsearch*@;/F/ls",
         "*@lsearch;/F/none", "@@lsearch;/F/none", "*@+nosuch", "net-lsearch;/F/ls", "@@nosuch", "@@lsearch", "x@", "*@", "dnsdb;a=fail.example"}

NAMED = r"""
domainlist d1 = a.b : *.star.file : ! neg.file : named.one
domainlist d2 = +d1 : *.named.two
domainlist dneg = ! a.b
domainlist dfile = /F/list.dom
domainlist_cache dlook = ${lookup{list}lsearch{/F/nostar}} : lsearch;/F/nostar
domainlist dfail = ${if eq{a}{b}{x}fail} : *
hostlist h1 = 192.0.2.1 : 10.0.0.0/8 : ! 172.16.0.1 : 172.16.0.0/12
hostlist h2 = +h1 : 2001::db8::::/32
hostlist hbroken = broken.example
hostlist hneg = ! 192.0.2.1
hostlist hname = *.example
hostlist hflag = +ignore_unknown : *.example : 192.0.2.2
addresslist a1 = x@a.b : *@star.file : ! neg@x.file : x.file
addresslist a2 = +a1 : named@*
addresslist aneg = ! x@a.b
addresslist afile = /F/list.addr
localpartlist l1 = joe : *-list : ! no17
localpartlist l2 = +l1 : abc
localpartlist lneg = ! joe
"""

MAIN = """primary_hostname = me.example
qualify_domain = me.example
keep_environment = PATH
spool_directory = /F/spool
log_file_path = /F/log/%s
message_size_limit = 10M
smtp_accept_max_nonmail_hosts = :
smtp_accept_max_per_connection = 100000
hosts_treat_as_local = asus.example
sqlite_dbfile = /F/sqlite
helo_accept_junk_hosts = *
allow_domain_literals
dns_ipv4_lookup = !*
""" + NAMED


def cdb_bytes(rows):
    """D. J. Bernstein's constant database."""
    def cdb_hash(key):
        h = 5381
        for c in key:
            h = (h * 33 ^ c) & 0xffffffff
        return h
    records, tables, at = b"", [[] for _ in range(256)], 2048
    for key, value in rows:
        h = cdb_hash(key)
        tables[h % 256].append((h, at))
        record = len(key).to_bytes(4, "little") + len(value).to_bytes(4, "little") + key + value
        records += record
        at += len(record)
    head, tail = b"", b""
    for table in tables:
        size = len(table) * 2
        head += at.to_bytes(4, "little") + size.to_bytes(4, "little")
        slots = [(0, 0)] * size
        for h, place in table:
            i = (h >> 8) % size
            while slots[i][1]:
                i = (i + 1) % size
            slots[i] = (h, place)
        tail += b"".join(h.to_bytes(4, "little") + p.to_bytes(4, "little") for h, p in slots)
        at += 8 * size
    return head + records + tail


def explained():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "differences.md")
    with open(path, encoding="utf-8", errors="surrogateescape") as f:
        return {line[4:].rstrip("\n") for line in f if line.startswith("    ")}


class World:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="sluice-lists-")
        os.chmod(self.dir, 0o755)
        for name, text in FILES.items():
            with open(os.path.join(self.dir, name), "w", encoding="latin-1") as f:
                f.write(self.real(text))
        os.mkdir(os.path.join(self.dir, "dir"))
        for name in DIRECTORY:
            open(os.path.join(self.dir, "dir", name), "w", encoding="ascii").close()
        os.mkdir(os.path.join(self.dir, "dir", "sub.dir"))
        os.symlink("entry", os.path.join(self.dir, "dir", "link"))
        with open(os.path.join(self.dir, "cdb"), "wb") as f:
            f.write(cdb_bytes([(b"in.ls", b"cdb in"), (b"*.wild.ls", b"cdb wild"), (b"192.0.2.1", b"cdb ip"), (b"u@in.ls", b"cdb address"),
                               (b"good.example", b"cdb name"), (b"joe", b"cdb joe"), (b"empty.ls", b""), (b"*", b"cdb star"),
                               (b"in.ls", b"second")]))
        with sqlite3.connect(os.path.join(self.dir, "sqlite")) as db:
            db.execute("create table t(k, v)")
            db.executemany("insert into t values(?, ?)", [("in.ls", "sql in"), ("locals", "joe : *-x"), ("two", "a"), ("two", "b c")])
        for name in ("spool", "log"):
            os.mkdir(os.path.join(self.dir, name))
            os.chmod(os.path.join(self.dir, name), 0o777)

    def real(self, text):
        return text.replace("/F/", self.dir + "/")

    def shown(self, text):
        return text.replace(self.dir + "/", "/F/")

    def conf(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="latin-1") as f:
            f.write(self.real(text))
        return path


def lists_of(items, rng, count):
    """Each item by itself, and negated; then mixtures."""
    lists = list(items) + ["! " + item for item in items if item not in ALONE]
    mixed = [item for item in items if item and item not in ALONE]  # an empty one would double a colon
    for _ in range(count):
        parts = [("! " if rng.random() < 0.25 else "") + rng.choice(mixed) for _ in range(rng.randint(2, 4))]
        lists.append(rng.choice([" : ", ":", " :"]).join(parts))
    return lists


def separated(text, rng):
    """Now and then with another separator, which makes doubled colons single."""
    if rng.random() < 0.15 and ";" not in text and "<" not in text:
        return "<; " + re.sub(r"(?<!:):(?!:)", ";", text).replace("::", ":")
    return text


class Comparison:
    def __init__(self, options):
        self.options = options
        self.meant = explained()
        self.count = self.same = self.crashed = self.refused = self.known = self.differ = 0

    def add(self, question, theirs, ours):
        self.count += 1
        if theirs == ours:
            self.same += 1
        elif theirs is None and ours is not None:
            self.crashed += 1
        elif theirs is not None and ours is not None and failed(theirs) and failed(ours):
            self.refused += 1
        elif question in self.meant:
            self.known += 1
        else:
            self.differ += 1
            print("DIFFER %s\n   exim   %s\n   sluice %s" % (question, theirs, ours))


def compare_lines(c, world, conf, lines):
    real = [world.real(line) for line in lines]
    theirs = answers([c.options.exim, "-C", conf, "-be"], real)
    ours = answers(c.options.sluice.split() + ["-C", conf, "-be"], real)
    for line, a, b in zip(lines, theirs, ours):
        c.add(line, a and world.shown(a), b and world.shown(b))


def yes_of(name, text):
    """What is asked for besides the truth. Where Exim leaves what an inner match or an earlier item made, nothing is."""
    if "!" in text or "+" in text:
        return "Y"
    name = "address" if name in ("senders", "recipients") else name
    if name == "address" and re.search(r"\*[^@:]+@|@@mx|;(select|a=)", text):
        return "Y"
    if "@mx" in text.lower() or name == "ip":
        return "Y <$value>"
    if "partial0" in text:
        return "Y <$value> <$0>"
    if name == "address":
        return "Y <$1>" if "*@" in text else "Y <$value>"
    return "Y <$value> <$0> <$1> <$2>"


def empty_query(subject, text):
    """Exim asks no database about an empty sender; its manual says that it does."""
    return subject == "" and re.search(";(select|a=)", text)


def conditions(c, world, rng):
    """match_domain and its kin: the truth, $value, $0 and what the pattern left in $1 and $2."""
    conf = world.conf("be.conf", MAIN)
    lines = []
    for name, items, subjects in (("domain", DOMAIN_ITEMS, DOMAINS), ("address", ADDRESS_ITEMS, ADDRESSES),
                                  ("local_part", LOCAL_ITEMS, LOCALS), ("ip", [item for item in HOST_ITEMS if "$" not in item], IPS)):
        texts = lists_of(items, rng, c.options.count)
        for number, text in enumerate(texts):
            alone = number < len(items)
            some = subjects[:2] if alone and items[number] in ALONE else subjects if alone else rng.sample(subjects, 4)
            text = text if alone else separated(text, rng)
            for subject in some:
                protect = "\\N" if "\\" in text or "$" in text else ""
                if not empty_query(subject, text):
                    lines.append("${if match_%s{%s}{%s%s%s}{%s}{N}}" % (name, subject, protect, text, protect, yes_of(name, text)))
    lines += ["${if match_domain{[IPv6:::1]}{@[]}{Y}{N}}", "${if match_domain{mxhalf.example}{@mx_any}{Y}{N}}",
              "${if match_domain{mxhalf.example}{@mx_primary}{Y}{N}}", "${if match_domain{mxhalf.example}{@mx_secondary}{Y}{N}}"]
    compare_lines(c, world, conf, list(dict.fromkeys(lines)))


def session(c, conf, ip, questions):
    """The last reply to each question, a list of commands, in SMTP sessions (-bh); None for a question that ended the
    session, which goes on with another one."""
    out = []
    for program in ([c.options.exim], c.options.sluice.split()):
        replies = []
        while len(replies) < len(questions):
            todo = questions[len(replies):]
            text = "HELO x.example\r\n" + "".join(command + "\r\n" for question in todo for command in question + ["RSET"])
            run = subprocess.run(program + ["-C", conf, "-bh", ip], input=text.encode("latin-1"), capture_output=True, timeout=300,
                                 check=False)
            lines = [line for line in run.stdout.decode("latin-1").splitlines() if re.match(r"\d\d\d ", line)]
            at = 2
            for question in todo:
                if at + len(question) >= len(lines) + 1:
                    replies.append(None)
                    break
                replies.append(lines[at + len(question) - 1])
                at += len(question) + 1
        out.append(replies)
    return out


def acls(c, world, rng):
    """The conditions of ACLs, with the data that they leave. Question n is asked by the command that has n in it."""
    def acl(condition, index, texts, data):
        rows = ["begin acl\ncheck:\n"]
        for number, text in enumerate(texts):
            protect = "\\N" if "\\" in text else ""
            rows.append(f"  deny condition = ${{if eq{{{index}}}{{q{number}}}}}\n       {condition} = {protect}{text}{protect}\n"
                        f"       message = {data if '$value' in yes_of(condition, text) else 'Y'}\n")
        rows.append("  accept\n")
        return "".join(rows)

    lists = [separated(text, rng) for text in lists_of([item for item in HOST_ITEMS if item not in ALONE], rng, c.options.count)]
    conf = world.conf("hosts.conf", MAIN + "acl_smtp_mail = check\n" + acl("hosts", "$sender_address_local_part", lists, "Y <$host_data>"))
    for ip in IPS if c.options.count >= 20 else rng.sample(IPS, 7):  # few, for the run of every day
        theirs, ours = session(c, conf, ip, [[f"MAIL FROM:<q{number}@x.example>"] for number in range(len(lists))])
        for text, a, b in zip(lists, theirs, ours):
            c.add(f"-bh {ip}: hosts = {text}", a and world.shown(a), b and world.shown(b))
    for condition, items, subjects, data in (
            ("domains", DOMAIN_ITEMS, [f"x@{d}" for d in DOMAINS if d], "Y <$domain_data>"),
            ("local_parts", LOCAL_ITEMS, [f"{p}@a.b" for p in LOCALS if re.fullmatch(r"[\w.#-]+", p)], "Y <$local_part_data>"),
            ("recipients", ADDRESS_ITEMS, [a for a in ADDRESSES if re.fullmatch(r"[\w#-]+@[\w.]+", a)], "Y <$recipient_data>"),
            ("senders", ADDRESS_ITEMS, [a for a in ADDRESSES if re.fullmatch(r"([\w#-]+@[\w.]+)?", a)], "Y <$sender_data>")):
        lists = lists_of([item for item in items if item not in ALONE], rng, c.options.count // 2)
        # The number of the question is in the other address.
        index = "$local_part" if condition == "senders" else "$sender_address_local_part"
        conf = world.conf(f"{condition}.conf", MAIN + "acl_smtp_rcpt = check\n" + acl(condition, index, lists, data))
        asked = [(subject, number) for subject in subjects for number in rng.sample(range(len(lists)), min(len(lists), c.options.count))
                 if not empty_query(subject, lists[number])]
        if condition == "senders":
            questions = [[f"MAIL FROM:<{subject}>", f"RCPT TO:<q{number}@a.b>"] for subject, number in asked]
        else:
            questions = [[f"MAIL FROM:<q{number}@x.example>", f"RCPT TO:<{subject}>"] for subject, number in asked]
        theirs, ours = session(c, conf, "192.0.2.1", questions)
        for (subject, number), a, b in zip(asked, theirs, ours):
            c.add(f"{condition[:4].upper()} {subject}: {condition} = {lists[number]}", a and world.shown(a), b and world.shown(b))


def routing(c, world, rng):
    """domains and local_parts of routers, with their data; senders with -f."""
    domains = lists_of([item for item in DOMAIN_ITEMS if item not in ALONE and item not in ("", "!")], rng, c.options.count // 4)
    locals_ = lists_of([item for item in LOCAL_ITEMS if item not in ALONE and item not in ("", "!")], rng, c.options.count // 4)
    rows, asked = ["begin routers\n"], []
    for kind, lists, pool in (("domains", domains, DOMAINS), ("local_parts", locals_, LOCALS)):
        for number, text in enumerate(lists):
            prefix, protect = f"{kind[0]}{number}-", "\\N" if "\\" in text else ""
            rows.append(f"{kind}{number}:\n  driver = redirect\n  allow_fail\n  local_part_prefix = {prefix}\n  {kind} = {protect}{text}{protect}\n"
                        f"  data = :fail: Y {'<$domain_data> <$local_part_data>' if '$value' in yes_of(kind, text) else ''}\n")
            for subject in rng.sample(pool, 6):
                if "(?-i)" in text:
                    continue
                if kind == "domains" and re.fullmatch(r"[\w.]+|\[.*\]", subject):
                    asked.append((f"{prefix}x@{subject}", f"{subject}: {kind} = {text}"))
                elif kind == "local_parts" and re.fullmatch(r"[\w.#-]+", subject):
                    asked.append((f"{prefix}{subject}@me.example", f"{subject}: {kind} = {text}"))
    rows.append("rest:\n  driver = redirect\n  allow_fail\n  data = :fail: N\n")
    conf = world.conf("route.conf", MAIN + "".join(rows))
    for start in range(0, len(asked), 25):  # where Exim ends its life, the rest goes without an answer
        part = asked[start:start + 25]
        got = []
        for program in ([c.options.exim], c.options.sluice.split()):
            run = subprocess.run(program + ["-C", conf, "-bt"] + [address for address, _ in part], capture_output=True, timeout=300, check=False)
            # One line an address here, since all fail or defer.
            lines = {}
            for line in run.stdout.decode("latin-1").splitlines():
                found = re.match(r"(\S+@\S+) (.*)$", line)
                if found:
                    lines[found.group(1).lower()] = found.group(2)
            got.append(lines)
        for address, question in part:
            a, b = (lines.get(address.lower()) for lines in got)
            for words in ("cannot be resolved at this time",):
                a, b = (words if text and text.startswith(words) else text for text in (a, b))
            c.add("-bt " + question, a and world.shown(a), b and world.shown(b))


DNS_QUERIES = [
    "a=good.example", "a=nosuch.example", "a=many.example", "A=good.example", "a = good.example", "aaaa=six.example", "aaaa=good.example",
    "a+=both.example", "a+=good.example", "a+=nosuch.example", "a+=fail.example", "a+=target.example:good.example", "mx=mx1.example",
    "mx=nullmx.example", "mxh=mx1.example", "mxh=nosuch.example", "mx=onlya.example", "ns=ns.example", "soa=ns.example", "soa=deep.sub.ns.example",
    ">:,; soa=deep.sub.ns.example", ">:,| soa=ns.example", "zns=deep.sub.ns.example", "zns=ns.example", "zns=a.b.nosuch.example", "ptr=192.0.2.9",
    "ptr=192.0.2.1", "ptr=2001:db8::1", "ptr=9.2.0.192.in-addr.arpa", "ptr=<; 192.0.2.9 ; 192.0.2.1", "ptr=192.0.2.9:192.0.2.1", "ptr=192.0.2.99",
    "ptr=::ffff:192.0.2.9", "txt=txt.example", "txt.example", "good.example", ">: txt=txt.example", ">:,| txt=txt.example", ">\\n; txt=txt.example",
    ">\\n,: txt=txt.example", ">:; txt=txt.example", "txt=txtempty.example", "txt=txtodd.example", "spf=spf.example", ">; spf=spf.example", ">:,| spf=spf.example",
    "txt=spf.example", "srv=srv.example", ">:,; srv=srv.example", ">:, srv=srv.example", "tlsa=_25._tcp.tlsa.example", ">:,| tlsa=_25._tcp.tlsa.example",
    "csa=csa.example", "csa=csano.example", "csa=csaq.example", "csa=csaold.example", "csa=sub.csa.example", "csa=a.b.c.csano.example", "csa=nosuch.example",
    "csa=[192.0.2.1]", "csa=192.0.2.1", "cname=alias.example", "cname=good.example", "a=alias.example", "a=cnamedeep.example", "a=cnameloop.example",
    "a=fail.example", "a=refused.example", "defer_strict,a=good.example:fail.example", "defer_never,a=good.example:fail.example",
    "defer_lax,a=good.example:fail.example", "defer_never,a=fail.example", "defer_lax,a=fail.example", "defer_strict,a=fail.example:good.example",
    "defer_strict,a+=fail.example", "defer_bogus,a=good.example", "dnssec_strict,a=good.example", "dnssec_strict,a=secure.example",
    "dnssec_lax,a=secure.example", "dnssec_never,a=secure.example", "dnssec_strict,defer_never,a=good.example", "dnssec_bogus,a=good.example",
    "retrans_1s,a=good.example", "retrans_0s,a=good.example", "retrans_x,a=good.example", "retry_1,a=good.example", "retry_x,a=good.example",
    "retrans_1s,retry_2,defer_never,a=good.example", "defer_strict,dnssec_lax, a=good.example", "defer_strict a=good.example", "bogus=good.example",
    "a=", "a=:", "=good.example", "", ">", ">:", "> a=many.example", ">  a=many.example", ">; a=many.example", ">, a=many.example", ">x a=many.example",
    ">;a=many.example", "> : a=many.example", "a=good.example:", "a=:good.example", "a=good.example:good.example", "a=<; good.example; many.example",
    "a=good.example:nosuch.example:many.example", "mx=<|mx1.example|mx2.example", ">|,, mx=mx1.example:mx2.example", "a=GOOD.example", "mx=MX1.example",
    "a=good.example.", "a=.good.example", "a=" + "x" * 64 + ".example", "a=go od.example", "a=good_.example",
    "a=*.example", "caa=good.example", "any=good.example", "txt=a\\\\b.example", "a=[192.0.2.1]", "ptr=nosuch.example", "defer_lax,defer_strict,a=fail.example:good.example",
    "DEFER_STRICT,a=good.example", "Dnssec_Strict,a=secure.example", "dnssec_strict,mx=secure.example", "dnssec_strict,txt=secure.example",
    "zns=example", "zns=", "soa=nosuch.invalid", ">:,  mx=mx1.example", ">,;mx=mx1.example", "mx=mx2.example:nullmx.example",
]


def dnsdb(c, world, rng):
    conf = world.conf("be.conf", MAIN)
    del rng
    lines = []
    for number, query in enumerate(DNS_QUERIES):
        lines.append("${lookup dnsdb{%s}{Y <$value>}{N}}" % query)
        if number % 4 == 0:
            lines.append("${lookup dnsdb,cache=no_rd{%s}{Y <$value> <$lookup_dnssec_authenticated>}{N}}" % query)
    for query in ("a=secure.example", "dnssec_strict,a=secure.example", "mx=secure.example",
                  "a=secure.example:good.example"):
        lines.append("${lookup dnsdb{%s}{Y <$value>}{N}} <$lookup_dnssec_authenticated>" % query)
    compare_lines(c, world, conf, lines)


LOOKUPS = []
for key in ("in.ls", "x.wild.ls", "wild.ls", "a.wild.x", "quoted key", "a:b", "cont.ls", "nocolon.ls", "empty.ls", "upper.ls", "UPPER.LS", "", "*", "fail.ls",
            "#", "# c", "u@in.ls", "x@at.ls", "@at.ls", "x.a.b.c", "a.b.c", "b.c", "c", "x.c", "re5.ls", "z.end.ls", "Case.ls", "case.ls", "q:12", "q:x",
            "12.ls", "192.0.2.1", "192.0.2.7", "2001:db8::1", "2001:db8:5::", "junk", "10.0.0.1", "192.0.2.0/24", "$tod_zone", "in.ls\\n", 
            "a\\nb", "..", ".", "sub.dir", ".hidden", "link", "with space", "a/b"):
    for spec in ("lsearch{/F/ls}", "lsearch*{/F/ls}", "lsearch*@{/F/ls}", "lsearch,ret=full{/F/ls}", "lsearch,ret=key{/F/ls}", "partial-lsearch{/F/nostar}",
                 "partial0-lsearch{/F/nostar}", "partial1(.)lsearch{/F/ls}", "partial0(*.)lsearch{/F/nostar}", "nwildlsearch{/F/wild}", "wildlsearch{/F/ewild}",
                 "nwildlsearch,ret=full{/F/wild}", "iplsearch{/F/ip}", "iplsearch,ret=full{/F/ip}", "cdb{/F/cdb}", "cdb*{/F/cdb}", "partial-cdb{/F/cdb}",
                 "dsearch{/F/dir}", "dsearch,ret=full{/F/dir}", "dsearch,filter=file{/F/dir}", "dsearch,filter=dir{/F/dir}", "dsearch,filter=subdir{/F/dir}",
                 "dsearch,ret=full,filter=subdir{/F/dir}", "dsearch,filter=bogus{/F/dir}", "dsearch,ret=bogus{/F/dir}", "lsearch,ret=bogus{/F/ls}",
                 "partial-lsearch*,ret=key{/F/ls}", "cdb,ret=key{/F/cdb}", "lsearch{/F/none}", "cdb{/F/ls}", "cdb{/F/none}", "dsearch{/F/ls}", "dsearch{/F/none}",
                 "lsearch{/F/dir}", "lsearch{relative}", "cdb{relative}", "dsearch{relative}"):
        LOOKUPS.append("${lookup{%s}%s{Y <$value> <$1> <$2>}{N}}" % (key, spec))
for query in ("select v from t where k='in.ls'", "select * from t where k='in.ls'", "select v from t where k='two'", "select * from t where k='two'",
              "select v from t where k='none'", "select '' as x", "select '' as x, 'a b' as y, 'q\"\\\\' as z", "select null", "select null, null",
              "select 1, 2.5", "select count(*) from t"):
    for spec in ("sqlite", "sqlite,file=/F/sqlite", "sqlite,cache=no_rd"):
        LOOKUPS.append("${lookup %s{%s}{Y <$value>}{N}}" % (spec, query))
LOOKUPS += ["${lookup sqlite{/F/sqlite select v from t where k='in.ls'}{Y <$value>}{N}}",
            "${lookup sqlite,file=relative{select 1}{Y <$value>}{N}}",
            "${lookup passwd{root}{Y <$value>}{N}}", "${lookup passwd{nosuchuser}{Y}{N}}", "${lookup passwd{}{Y}{N}}",
            "${lookup{root}passwd{/etc/passwd}}", "${lookup lsearch{/F/ls}}", "${lookup{a}nosuch{/F/ls}}",
            "${lookup{a} lsearch {/F/ls}{Y}{N}}", "${lookup {in.ls} lsearch {/F/ls} {Y <$value>} {N}}", "${lookup{in.ls}lsearch, ret=key{/F/ls}}",
            "${lookup{in.ls}lsearch,ret=key,cache=no_rd{/F/ls}}", "${lookup{in.ls}lsearch,{/F/ls}}", 
            "${lookup{in.ls}net-lsearch{/F/ls}}", "${lookup{none}lsearch{/F/ls}}", "${lookup{none.x}lsearch{/F/ls}{y}fail}", "${lookup{in.ls}lsearch{/F/ls}fail}"]
for kind in ("lsearch", "cdb", "dsearch", "dnsdb", "mysql", "pgsql", "sqlite", "ldap", "ldap_dn", "ldapm", "ldapdn", "nis", "passwd", "dbm", "nosuch", "spf", "readsock"):
    for text in ("plain", "a'b\"c\\\\d", "tab\\tnl\\ncr\\r\\b", " lead trail ", "#x*()", ",+<>;=", "[a]$x%_", "\\xe9\\xff", ""):
        LOOKUPS.append("<${quote_%s:%s}>" % (kind, text))


def lookups(c, world, rng):
    del rng
    compare_lines(c, world, world.conf("be.conf", MAIN), LOOKUPS)


PARTS = {"conditions": conditions, "acls": acls, "routing": routing, "dnsdb": dnsdb, "lookups": lookups}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--exim", required=True)
    parser.add_argument("--sluice", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100, help="mixed lists of each kind")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--time", action="store_true")
    options = parser.parse_args()
    Nameserver(ZONE, AUTHENTIC, port=53)
    c = Comparison(options)
    world = World()
    try:
        for name, part in PARTS.items():
            if options.only in (None, name):
                part(c, world, random.Random(options.seed))
    finally:
        shutil.rmtree(world.dir)
    print("%d questions: %d the same answer, %d refused by both in other words, %d without an answer of Exim, "
          "%d differences explained, %d not" % (c.count, c.same, c.refused, c.crashed, c.known, c.differ))
    return 1 if c.differ else 0


if __name__ == "__main__":
    sys.exit(main())
