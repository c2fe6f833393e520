"""How long the answer of a lookup is kept: what asks a database is asked once for a message, and again for the next one, as in Exim
(chapter "File and database lookups", section 8). A statement with random() or a counter tells when it was really asked."""
import os
import re
import sqlite3
import subprocess
import unittest

from harness import Client, SluiceTest, configuration
from nameserver import Nameserver
from test_differential_be import exim
from test_redis import Redis

RANDOM = "${lookup sqlite{select random()}}"
AGAIN = "${lookup sqlite,cache=no_rd{select random()}}"
OTHER = "${lookup sqlite,cache=no{select random()}}"
POLICY = """
begin acl
rcpt_acl:
  accept message = said %s
begin routers
each:
  driver = accept
  address_data = ROUTED
  transport = box
begin transports
box:
  driver = appendfile
  maildir_format
  directory = DIR/mail/alice
  create_directory
  batch_max = 1
  headers_add = X-Kept: $address_data in the transport: DELIVERED
  user = USER
""" % RANDOM


def pattern(values):
    """Which are equal: 0 0 1 0..."""
    seen = []
    for v in values:
        if v not in seen:
            seen.append(v)
    return [seen.index(v) for v in values]


class Expansions(SluiceTest):
    def setUp(self):
        self.box = self.sluice(configuration("sqlite_dbfile = DIR/db\n"), start=False)
        self.db = os.path.join(self.box.dir, "db")
        self.theirs = os.path.join(self.box.dir, "exim.conf")
        with open(self.theirs, "w") as f:
            f.write(f"primary_hostname = mx.test\nkeep_environment =\nsqlite_dbfile = {self.db}\n")
        with sqlite3.connect(self.db) as db:
            db.execute("create table t(n int)")
            db.execute("insert into t values(1)")

    def lines(self, *lines):
        return [self.box.run("-be", *lines, check=0).out.splitlines(),
                subprocess.run([exim(), "-C", self.theirs, "-be", *lines], capture_output=True,
                               text=True).stdout.splitlines() if exim() else None]

    def same(self, expected, *lines):
        """The pattern of the words, here and in Exim."""
        for program in self.lines(*lines):
            if program is not None:
                self.assertEqual(pattern(" ".join(program).split()), expected, program)

    def test_the_same_question(self):
        self.same([0, 0, 0], f"{RANDOM} {RANDOM}", RANDOM)

    def test_no_rd_asks_and_keeps(self):
        self.same([0, 1, 1, 2, 2], f"{RANDOM} {AGAIN} {RANDOM} {AGAIN}", RANDOM)

    def test_other_options_are_another_question(self):
        self.same([0, 0, 1, 1, 2, 2], f"{RANDOM} {RANDOM} {OTHER} {OTHER} {RANDOM}", RANDOM)

    def test_what_gives_no_row_forgets(self):
        update = "${lookup sqlite{update t set n = n + 1}{y}{n}}"
        count = "${lookup sqlite{select n from t}}"
        here, there = self.lines(f"{count} {update} {count} {update} {count}")
        self.assertEqual(here, ["1 n 2 n 3"])
        self.assertEqual(there, ["3 n 4 n 5"] if there is not None else None)

    def test_not_there_is_kept_too(self):
        """A pattern file that changes between two questions: both get the first answer; a plain file is always looked at."""
        for kind, expected in (("nwildlsearch", "[none] [none] [new]"), ("lsearch", "[none] [new] [new]")):
            path = os.path.join(self.box.dir, kind)
            with open(path, "w") as f:
                f.write("a: x\n")
            change = f"${{run{{/bin/sh -c \"echo 'b: new' >> {path}\"}}{{}}}}"
            ask = f"${{lookup{{b}}{kind}%s{{{path}}}{{[$value]}}{{[none]}}}}"
            # The clock of file times is coarse.
            line = f"{ask % ''}${{run{{/bin/sleep 0.05}}{{}}}}{change} {ask % ''} {ask % ',cache=no_rd'}"
            self.assertEqual(self.box.run("-be", line, check=0).out.strip(), expected)

    def test_many_questions(self):
        """More than are kept: each is answered."""
        items = "".join(f"${{lookup sqlite{{select {n}+0*length('{'x' * 200}')}}}} " for n in range(50))
        lines = [items.replace("select ", f"select {10000 * k}+") for k in range(60)]
        out = self.box.run("-be", stdin="\n".join(lines) + "\n", check=0).out.replace("> ", "").split()
        self.assertEqual(out, [str(10000 * k + n) for k in range(60) for n in range(50)])

    def test_a_value_too_large_to_keep(self):
        ask = "${strlen:${lookup sqlite{select hex(randomblob(600000)) || random()}}} "
        self.assertTrue(all(int(n) > 1200000 for n in self.box.run("-be", ask * 2, check=0).out.split()))

    def test_dnsdb_asks_again(self):
        nameserver = Nameserver({"a.example": [("TXT", "one")]})
        self.addCleanup(nameserver.close)
        box = self.sluice(configuration(f"dns_servers = {nameserver.address}:{nameserver.port}\n"), start=False)
        ask = "${lookup dnsdb%s{txt=a.example}}"
        self.assertEqual(box.run("-be", f"{ask % ''} {ask % ''}", check=0).out, "one one\n")
        self.assertEqual(len(nameserver.asked), 1)
        self.assertEqual(box.run("-be", f"{ask % ''} {ask % ',cache=no_rd'} {ask % ''}", check=0).out, "one one one\n")
        self.assertEqual(len(nameserver.asked), 3)


class Sessions(SluiceTest):
    def box(self, main="", **macros):
        main = ("sqlite_dbfile = DIR/db\nacl_smtp_connect = rcpt_acl\nacl_smtp_mail = rcpt_acl\nacl_smtp_data = rcpt_acl\n"
                "acl_smtp_helo = rcpt_acl\n" + main)
        policy = POLICY
        for name, value in macros.items():
            policy = policy.replace(name, value)
        for name in ("ROUTED", "DELIVERED"):
            policy = policy.replace(name, "")
        box = self.sluice(configuration(main, policy), start=False)
        with sqlite3.connect(os.path.join(box.dir, "db")) as db:
            db.execute("create table t(n int)")
        return box.start()

    def talk(self, port):
        """The values that each stage of two messages and a RSET saw."""
        with Client(port, banner=False) as c:
            said = [c.reply()]
            for line in ("EHLO client.test", "MAIL FROM:<a@b.test>", "RCPT TO:<a@test>", "RCPT TO:<b@test>", "RSET", "MAIL FROM:<a@b.test>",
                         "RCPT TO:<c@test>"):
                said.append(c.cmd(line))
            for first in (True, False):
                c.expect("DATA", 354)
                c.send("Subject: x\r\n\r\nbody\r\n.\r\n")
                said.append(c.reply())
                if first:
                    said += [c.cmd("MAIL FROM:<a@b.test>"), c.cmd("RCPT TO:<a@test>")]
            return [m.group(1) for m in (re.search(r"said (-?\d+)", str(r)) for r in said) if m]

    def test_stages(self):
        """From the connection to DATA one value; the DATA ACL another, the next message a third: what Exim's daemon does."""
        values = self.talk(self.box().port)
        self.assertEqual(pattern(values), [0, 0, 0, 0, 0, 0, 0, 1, 2, 2, 3])
        self.assertNotEqual(values, self.talk(self.box().port))

    def test_chunks(self):
        with self.box().client() as c:
            c.ehlo()
            said = [c.cmd("MAIL FROM:<a@b.test>"), c.cmd("RCPT TO:<a@test>"), c.cmd("BDAT 14 LAST\r\nSubject: x\r\n\r\n"), c.cmd("MAIL FROM:<a@b.test>")]
            self.assertEqual(pattern([re.search(r"said (-?\d+)", str(r)).group(1) for r in said]), [0, 0, 1, 2])

    def test_a_list_asks_once_a_message(self):
        """F26.4"""
        redis = Redis()
        self.addCleanup(redis.kill)
        box = self.sluice(configuration(
            f"hide redis_servers = 127.0.0.1::{redis.port}//\ndomainlist counted = redis;INCR\\ hits\ndomainlist outer = ! nothing.test : +counted\n",
            """
begin acl
rcpt_acl:
  deny  domains = nowhere.test
  accept domains = +outer
begin routers
none:
  driver = redirect
  data = :blackhole:
begin transports
"""))
        for message in (1, 2, 3):
            with box.client() as c:
                c.ehlo()
                c.message("Subject: x\r\n\r\n", rcpts=["a@a.test", "b@a.test", "c@b.test"])
                self.assertEqual(redis.call("GET", "hits"), str(2 * message - 1))  # and the router does not ask
                c.message("Subject: x\r\n\r\n", rcpts=["a@a.test", "b@b.test"])
            self.assertEqual(redis.call("GET", "hits"), str(2 * message))

    def test_nothing_is_not_kept(self):
        """F11: a key that is not there may be there the next time."""
        redis = Redis()
        self.addCleanup(redis.kill)
        box = self.sluice(configuration(f"hide redis_servers = 127.0.0.1::{redis.port}//\n", """
begin acl
rcpt_acl:
  accept message = <${lookup redis{GET key}}> <${lookup redis{EXISTS key}}>
begin routers
begin transports
"""))
        with box.client() as c:
            c.ehlo()
            c.expect("MAIL FROM:<>", 250)
            c.expect("RCPT TO:<a@test>", 250, "<> <false>")
            redis.call("SET", "key", "now")
            c.expect("RCPT TO:<b@test>", 250, "<now> <false>")
            redis.call("SET", "key", "later")
            c.expect("RCPT TO:<b@test>", 250, "<now> <false>")

    def test_delivery(self):
        """Routing asks once for all recipients; each delivery asks for itself."""
        box = self.box(ROUTED=RANDOM, DELIVERED=RANDOM + " " + RANDOM)
        with box.client() as c:
            c.ehlo()
            c.message("Subject: x\r\n\r\nbody\r\n", rcpts=["a@test", "b@test"])
        values = []
        for text in box.wait_mail(2):
            routed, one, two = re.search(rb"X-Kept: (\S+) in the transport: (\S+) (\S+)", text).groups()
            values += [routed, one, two]
        self.assertEqual(pattern(values), [0, 1, 1, 0, 2, 2])


if __name__ == "__main__":
    unittest.main()
