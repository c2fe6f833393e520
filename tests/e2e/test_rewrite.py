"""Rewriting: what -brw shows, and what becomes of whole messages, envelope and header, is what Exim makes of the same.

Messages are only queued; their -H text, which also tells what was there before, is compared byte for byte (but for ids,
times and versions).
"""
import difflib
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from harness import DEADLINE_S, SLUICE, Client, SluiceTest, configuration

ORACLE = os.environ.get("SLUICE_ORACLE", "")

HEAD = """
primary_hostname = mx.test.ex
qualify_domain = qd.ex
qualify_recipient = qr.ex
spool_directory = DIR/spool
log_file_path = DIR/%slog
log_selector = +address_rewrite
keep_environment =
exim_user = root
queue_only
smtp_enforce_sync = false
check_spool_space = 0
check_spool_inodes = 0
addresslist al = *@b.ex
domainlist dl = *.b.ex : plain.ex
"""

SHOW = r'"\"0=$0/1=$1/2=$2/3=$3/4=$4/lp=$local_part/d=$domain\"@x"'
PATTERNS = ["*@b.ex", "*@B.ex", "*@*.b.ex", "b.ex", "*.b.ex", "*@*b.ex", "+al", "*@+dl", "+dl", "*@partial-lsearch;DIR/keys",
            "*@lsearch;DIR/keys", "*@lsearch*;DIR/keys", "lsearch;DIR/keys", "lsearch*@;DIR/keys", "Foo@c.b.ex", "foo@c.b.ex",
            "*", "*@*", "*@@", "^.*b.ex", r"\N^(?i)(F.*)@C\N", r"\N^(.*)@(.)\.(.*)$\N", "!foo@b.ex", '"*@b.ex : foo"',
            r"*@\N^(\w+)\.(.*)$\N", "@@lsearch;DIR/keys"]
RULES = r'''a@b.ex x
a@b.ex x Q
a@b.ex "Foo Bar <x@y>" w
a@b.ex "Foo <x@y>" w\nx@y "Bar <z@z>" w\nz@z q@q
a@b.ex "x@y (foo)" w\nx@y z@z
a@b.ex "X é <z@c.ex>" w
a@b.ex "z@c.ex (X é)" w
a@b.ex "Q <z>" wQ
a@b.ex "X . <x@c>" w
a@b.ex *\n*@b.ex n@n
a@b.ex * f\n*@b.ex n@n
a@b.ex n@b.ex q\n*@b.ex m@n
a@b.ex n@b.ex R\n*@b.ex m@n
*@b.ex x$local_part@b.ex R
*@b.ex x$local_part@b.ex Rq\n*@b.ex done@x
*@b.ex "${if eq{$local_part}{a}{n@b.ex}fail}" Rq\nn@b.ex z@z
*@b.ex "${if eq{$local_part}{z}{n@b.ex}fail}" q\na@b.ex z@z
*@b.ex "${if eq{$local_part}{z}{n@b.ex}fail}"\na@b.ex z@z
*@b.ex "${lookup{x}lsearch{/nonexistent}}@x"\na@b.ex z@z
*@b.ex "${nosuch}"\na@b.ex z@z
a@b.ex "<>" E
a@b.ex "" E
a@b.ex "x@y, z@z"
a@b.ex "@r.ex:x@c.ex"
a@b.ex x@b.ex.
a@b.ex x@[1.2.3.4]
^.* "Foo <x@c>" S
^.* "x" SQ
^.* "<>" S
^.* x@y Sq\n^.* z@z S
\N^(.*)@(.*)$\N "$1%$2@gw.ex" S\n*%*@gw.ex x@y
^.* x@y ST\n*@b.ex z@z
*@b.ex x@y E
*@b.ex x@y F
*@b.ex x@y b
*@b.ex x@y h
*@b.ex x@y r s
*@b.ex "x@y"hF
*@b.ex x@y #c
*@b.ex x@y Z
*@b.ex
*@b.ex x@y S
*@b.ex "x@y
${lookup{x}lsearch{/nonexistent}} y@y
*@b.ex "x@\171\x7a"
*@b.ex x@$sender_address_domain.y
"${if eq{a}{a}{*@b.ex}}" x@y
a@b.ex b@b.ex f\nb@b.ex c@b.ex t\na@b.ex d@b.ex tQ'''.split("\n")

LONG = r'''*@a.ex  $1@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.ex
b@whole.ex "\"Foo, Bar\" <c@whole.ex>" w
c@whole.ex  next@whole.ex
k@k.ex *
*@k.ex kk@k2.ex q
*@k2.ex  never@k.ex'''
FIELDS = """From: Joe (comment) <joe@a.ex>
To: one@a.ex, two@b.ex, Three <three@a.ex>,
 four@a.ex, five@a.ex, six@b.ex, seven (hey) <seven@a.ex> (ho)
Cc: grp: one@a.ex, two@a.ex; , x@a.ex
Cc: unq, a@whole.ex, "X Y" <b@whole.ex>, c@whole.ex (com), k@k.ex, l@k.ex
Bcc: joe@a.ex
Reply-To: bad@@a.ex, joe@a.ex
Resent-To:joe@a.ex
Subject: joe@a.ex
To: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" <joe@a.ex>, joe@a.ex
CC: <@route.ex,@r2.ex:joe@a.ex>, "quoted local"@a.ex, joe . foo@a.ex, joe@ a.ex, joe@[1.2.3.4]
To: < u@a.ex >, (c) "X" (d) <(e) u (f) @ (g) a.ex (h)> (i), u@a.ex,,u@a.ex, u@a.ex u@a.ex
To: u@a.ex; u@a.ex
To: a:b:u@a.ex
To: u@a.ex,u@a.ex;
To: g: u@a.ex;h: v@c.ex;

body
"""
SMTP = ("EHLO x\r\nMAIL FROM:<a@s.ex>\r\nRCPT TO:<x!y>\r\nRCPT TO:<b@r.ex>\r\nDATA\r\nFrom: u\r\nTo: z@r.ex\r\n\r\nhi\r\n"
        ".\r\nQUIT\r\n")
ACCEPT = "acl_smtp_rcpt = a\nbegin acl\na:\n accept\n"
VERIFY = ("acl_smtp_rcpt = a\nbegin acl\na:\n accept verify = sender\n logwrite = now $sender_address; $local_part@$domain\n"
          " verify = recipient\n logwrite = now $sender_address; $local_part@$domain\n"
          "begin routers\nr:\n driver = redirect\n data = :blackhole:\n")
ADD = ("acl_smtp_rcpt = a\nacl_smtp_data = d\nbegin acl\na:\n accept add_header = X-To: a@r.ex\\nTo: added@r.ex\n"
       "d:\n accept add_header = Cc: added@r.ex\n")
UNQUALIFIED = "sender_unqualified_hosts = 1.2.3.4\nrecipient_unqualified_hosts = 1.2.3.4\n"
# name, rules, input, arguments, more configuration
MESSAGES = [
    ("fields", LONG, FIELDS, ("-f", "sender@a.ex", "rcpt@a.ex", "joe@b.ex"), ""),
    ("only domains", "", FIELDS, ("-f", "s@s.ex", "r@r.ex"), ""),
    ("sender twice", "*@s.ex $1@a.ex R\n" + LONG, FIELDS, ("-f", "s@s.ex", "r@r.ex"), ""),
    ("made From:", LONG, "To: y@a.ex\n\nb\n", ("-f", "s@a.ex", "r@a.ex"), ""),
    ("own From:", "*@qd.ex $1@a.ex\n" + LONG, "To: y@a.ex\n\nb\n", ("r@a.ex",), ""),
    ("From: login", "*@qd.ex $1@a.ex\n" + LONG, "From: root\nTo: y@a.ex\nSender: f@a.ex\n\nb\n", ("r@a.ex",), ""),
    ("null sender", LONG, "From: root\nTo: y@a.ex\n\nb\n", ("-f", "<>", "r@a.ex"), ""),
    ("-t", LONG, 'From: root\nTo: y@a.ex\nCc: "x" <z@k.ex>, l@k.ex, k@k.ex\nBcc: bcc@a.ex\n\nb\n', ("-t",), ""),
    ("-t, resent", LONG, "From: root\nTo: y@a.ex\nResent-To: z@k.ex\nResent-Bcc: r@a.ex\n\nb\n", ("-t",), ""),
    ("one for two", "*@r.ex r@rr.ex T", "From: a@s.ex\n\nb\n", ("a@r.ex", "b@r.ex", "c@d.ex"), ""),
    ("a sender becomes null", "*@s.ex <> F", "From: a@s.ex\n\nb\n", ("-f", "s@s.ex", "r@r.ex"), ""),
    ("S, recipient", r"\N<?([^!>]*)!(.*?)>?$\N $2@$1.uucp.ex S".replace("N<", "N^<", 1) + "\n*@r.ex $1@rr.ex", SMTP, ("-bs",),
     ACCEPT),
    ("S, sender", r"\N^<?(.*)@s\.ex>?$\N $1@ss.ex S" + "\n*@ss.ex $1@sss.ex", SMTP, ("-bs",), ACCEPT),
    ("S, to null", r"\N^<a@s.ex>$\N <> S", SMTP, ("-bs",), ACCEPT),
    ("verified", "*@s.ex $1@sss.ex\n*@sss.ex twice@x\n*@r.ex v@vv.ex T", SMTP, ("-bs",), VERIFY),
    ("stranger", "*@r.ex v@vv.ex", SMTP.replace("x!y", "u@r.ex"), ("-bs", "-oMa", "1.2.3.4"), ACCEPT),
    ("trusted stranger", "*@r.ex v@vv.ex", SMTP.replace("x!y", "u"), ("-bs", "-oMa", "1.2.3.4"), UNQUALIFIED + ACCEPT),
    ("added fields stay", "*@r.ex v@vv.ex", SMTP, ("-bs",), ADD),
]


POLICY = """
begin acl
rcpt_acl:
  accept add_header = Cc: added@test
begin routers
alias:
  driver = redirect
  domains = test
  data = bob@old.test
users:
  driver = accept
  domains = young.test
  transport = box
begin transports
box:
  driver = appendfile
  file = DIR/mail/box
  user = USER
  headers_rewrite = *@test $1@new.test ct : alice@client.test "A. B <a@x>" fw
begin rewrite
*@old.test $1@young.test T
"""


def plain(text):
    """Without what differs from run to run, or is not of this chapter."""
    for pattern, to in ((r"<E\w{6}-\w+-\w+@", "<EID@"), (r"\b\w{6}-\w{11}-\w{4}\b", "ID"),
                        (r"(Exim|sluice) [\d.]+", "MTA"), (r"\w{3}, \d+ \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "DATE"),
                        (r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", ""), (r"(?m)^-[a-zN].*\n", ""), (r"(?m)^--\w+ .*\n", ""),
                        (r"(?m)^\d{10} \d+$", "TIME"), (r"(?m)^\d{3}(.) ", r"\1 "), (r"(?m)^\S+ \d+ \d+$", "USER"),
                        (r"may not follow .*", "may not follow")):  # Exim's words end early where it has rewritten
        text = re.sub(pattern, to, text)
    return text


class Rewrite(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="sluice-e2e-")
        self.addCleanup(shutil.rmtree, self.dir)
        with open(self.dir + "/keys", "w") as f:
            f.write("b.ex: 1\n*.b.ex: 2\nfoo@b.ex: 3\n")

    def run_one(self, program, rules, args, text="", more=""):
        place = os.path.join(self.dir, os.path.basename(program))
        shutil.rmtree(place, ignore_errors=True)
        os.mkdir(place)
        with open(place + ".conf", "w", encoding="utf-8") as f:
            f.write(HEAD.replace("DIR", place) + more +
                    (f"\nbegin rewrite\n{rules.replace('DIR', self.dir)}\n" if rules else ""))
        return place, subprocess.run([program, "-C", place + ".conf", *args], input=text.encode("latin-1"), capture_output=True,
                                     timeout=DEADLINE_S)

    @unittest.skipUnless(ORACLE, "no Exim here (SLUICE_ORACLE, or ./dev deps test)")
    def test_brw(self):
        cases = [(f"{p} {SHOW}", a) for p in PATTERNS for a in ("a@b.ex", "J <Foo@C.b.ex>")]
        cases += [(rule.replace("\\n", "\n"), "a@b.ex") for rule in RULES]
        cases += [("*@b.ex x@y", a) for a in ("unq", "", "a@b.ex, c@d", "a@b (foo", '"a b"@b.ex', "(c) A <a@b.ex> (d)")] + [("", "a@b")]
        for rules, address in cases:
            with self.subTest(rules=rules, address=address):
                theirs = self.run_one(ORACLE, rules, ("-brw", address))[1]
                ours = self.run_one(SLUICE, rules, ("-brw", address))[1]
                self.assertEqual(ours.stdout.decode(), theirs.stdout.decode(), (ours.stderr, theirs.stderr))
                self.assertEqual(ours.returncode != 0, theirs.returncode != 0, (ours.stderr, theirs.stderr))

    def queued(self, program, rules, text, args, more):
        place, done = self.run_one(program, rules, ("-odq", *args), text, more)
        with open(place + "/mainlog", encoding="latin-1") as f:
            log = f.read()
        text = ""
        for i in re.findall(r"(?m)^\S+ \S+ (\S+) <= ", log):
            text += subprocess.run([program, "-C", place + ".conf", "-Mvh", i], capture_output=True,
                                   timeout=DEADLINE_S).stdout.decode("latin-1")
        self.assertTrue(text, (log, done))
        lines = sorted(line for line in plain(log).splitlines() if "ewrit" in line or " now " in line)
        return plain(text) + "\n".join(lines)

    @unittest.skipUnless(ORACLE and os.getuid() == 0, "needs Exim (SLUICE_ORACLE), and root, whom it believes senders")
    def test_messages(self):
        for name, rules, text, args, more in MESSAGES:
            with self.subTest(name):
                theirs, ours = (self.queued(program, rules, text, args, more) for program in (ORACLE, SLUICE))
                self.assertEqual(ours, theirs, "\n".join(difflib.unified_diff(theirs.splitlines(), ours.splitlines(),
                                                                             lineterm="")))

    def test_errors(self):
        for rules, what in (("*@b.ex", "missing rewrite replacement string"), ("*@b.ex x@y\n*@b.ex x@y Z", "unknown rewrite flag"),
                            ("*@b.ex x@y S", "S flag but is not a regular expression")):
            done = self.run_one(SLUICE, rules, ("-bV",))[1]
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(what, done.stderr.decode())
            self.assertRegex(done.stderr.decode(), r"line \d+")


class Transport(SluiceTest):
    def test_headers_rewrite(self):
        """Rules of a transport see what came and what ACLs added; redirected addresses are rewritten, too."""
        server = self.sluice(configuration(policy=POLICY))
        with Client(server.port) as c:
            c.ehlo()
            c.message("From: Al <alice@client.test>\r\nTo: one@test, x@y\r\n\r\nhi\r\n", rcpts=("one@test",))
            c.quit()
        box = server.dir + "/mail/box"
        server.wait_log("=> bob")
        with open(box) as f:
            text = f.read()
        self.assertIn("\nTo: one@new.test, x@y\n", text)
        self.assertIn("\nCc: added@new.test\n", text)
        self.assertIn('\nFrom: "A. B" <a@x>\n', text)
        server.wait_log(r"bob@young\.test|<one@test>")


if __name__ == "__main__":
    unittest.main()
