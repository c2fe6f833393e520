"""Filters: -bf and -bF beside Exim's, and deliveries through a user's filter, a Sieve script and a system filter."""
import concurrent.futures
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import unittest

from harness import SluiceTest, SLUICE, configuration, until, USER

HERE = os.path.dirname(os.path.abspath(__file__))

EXIM = """
primary_hostname = mx.test
qualify_domain = mx.test
spool_directory = {dir}/spool
log_file_path = {dir}/%slog
keep_environment =
"""
MESSAGES = [
    b"From: Bob <bob@b.example>\nTo: root@mx.test, lisa@c.example\nCc: carol@c.example\nSubject: Hello world\n"
    b"Date: Sat, 21 Nov 2026 10:00:00 +0000\nMessage-ID: <1@b.example>\n\nBody one\nline two\n",
    b"From: owner-list@b.example\nTo: list: root@mx.test, x@y.example;\nSubject: =?utf-8?q?h=C3=A9llo?= world\n"
    b"Precedence: bulk\nDate: Sat, 21 Nov 2026 10:00:00 +0000\nMessage-ID: <2@b.example>\n\n" + b"long line " * 300 + b"\n",
    b"From root@mx.test Sat Nov 21 10:00:00 2026\nReturn-path: <bounce@b.example>\nFrom: root@b.example\nTo: nobody@c.example\n"
    b"Reply-To: \"A, B\" <ab@c.example>\nSubject:\n hello\n  world\nDate: Sat, 21 Nov 2026 10:00:00 +0000\n"
    b"Message-ID: <3@b.example>\n\n",
]


def exim():
    path = os.environ.get("SLUICE_ORACLE", "")
    return path if os.path.exists(path) and os.getuid() == 0 else None


def cases():
    with open(os.path.join(HERE, "filter_cases.txt")) as f:
        for line in f:
            line = line.rstrip("\n")
            if line and not line.startswith("# "):
                system, sieve = line.startswith("S:"), line.startswith("V:")
                text = (line[2:] if system or sieve else line).encode("latin-1").decode("unicode_escape")
                yield ("-bF" if system else "-bf"), f"# {'Sieve' if sieve else 'Exim'} filter\n{text}\n"


class Differential(unittest.TestCase):
    """The same filter and message to both: output and status are the same, byte for byte."""

    def ask(self, directory, number, option, text, message, extra=()):
        name = f"f{number}"
        with open(os.path.join(directory, name), "w", encoding="latin-1") as f:
            f.write(text)
        answers = []
        for program in (exim(), os.path.abspath(SLUICE)):
            done = subprocess.run([program, "-C", os.path.join(directory, "config"), *extra, option, name], input=message,
                                  capture_output=True, cwd=directory, timeout=60)
            answers.append((done.returncode, done.stdout, done.stderr))
        return answers

    def compare(self, questions):
        with tempfile.TemporaryDirectory(prefix="sluice-filter-") as directory:
            with open(os.path.join(directory, "config"), "w") as f:
                f.write(EXIM.format(dir=directory))
            with concurrent.futures.ThreadPoolExecutor(3) as pool:
                jobs = [(q, pool.submit(self.ask, directory, i, *q)) for i, q in enumerate(questions)]
                for (option, text, message, *_), job in jobs:
                    theirs, ours = job.result()
                    with self.subTest(text, option=option, message=message[:40]):
                        self.assertEqual(theirs[:2], ours[:2], ours[2])

    @unittest.skipUnless(exim(), "no Exim here that runs as root (SLUICE_ORACLE)")
    def test_filters(self):
        questions = [(option, text, MESSAGES[0]) for option, text in cases()]
        self.assertGreater(len(questions), 300)
        self.compare(questions)

    @unittest.skipUnless(exim(), "no Exim here that runs as root (SLUICE_ORACLE)")
    def test_messages(self):
        texts = [
            "if personal then testprint yes else testprint no endif",
            'if foranyaddress "$h_to:,$h_cc:" ( $thisaddress contains root ) then testprint $thisaddress endif',
            'testprint "$reply_address|$return_path|$sender_address|$h_subject:|$message_body_size"',
            'testprint "$message_body"\nif $message_size is above 2K then save big else save small endif',
            'headers charset "UTF-8" if $h_subject: contains "h\\303\\251llo" then finish else testprint "$h_subject:" endif',
            'if error_message then seen finish endif vacation text "x $h_subject:"',
        ]
        sieve = [
            'if header :is "subject" "hello world" { discard; }',
            'if header :matches "subject" "h*llo world" { discard; }',
            'require "envelope"; if envelope "from" "" { discard; }',
            'if address :localpart "from" ["root", "owner-list"] { discard; }',
        ]
        questions = [("-bf", f"# Exim filter\n{t}\n", m) for t in texts for m in MESSAGES]
        questions += [("-bf", f"# Sieve filter\n{t}\n", m) for t in sieve for m in MESSAGES]
        who = ("-bfl", "joe", "-bfd", "z.example", "-bfp", "pre-", "-bfs", "+suf", "-f", "x@y.example")
        questions += [("-bf", "# Exim filter\ntestprint \"$local_part_prefix $local_part $local_part_suffix $domain\"\n", m, who)
                      for m in MESSAGES]
        questions += [("-bf", "# Exim filter\nmail text x\nif error_message then save e endif\n", m, ("-f", "<>")) for m in MESSAGES]
        questions += [("-bf", t, MESSAGES[0]) for t in ("a@b, c, /foo, |bar\n", "", ":blackhole:\n", "a@@b\n", ":fail: x\n",
                                                       "# a comment\n\"|a b\", /dir/\n")]
        self.compare(questions)


POLICY = """
begin acl
rcpt_acl:
  accept
begin routers
filters:
  driver = redirect
  domains = test
  local_parts = joe : ann : eve
  file = DIR/filters/$local_part_data
  user = USER
  allow_filter
  allow_fail
  no_verify
  file_transport = file
  pipe_transport = command
  reply_transport = reply
  router_home_directory = DIR/home
  sieve_vacation_directory = DIR/home/vacation
  forbid_filter_run
users:
  driver = accept
  domains = test : mx.test : client.test
  local_parts = joe : ann : bob : eve : s
  transport = maildir
begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = DIR/mail/$local_part_data
  create_directory
  user = USER
file:
  driver = appendfile
  file = ${if match{$address_file}{^/}{$address_file}{DIR/home/${sg{$address_file}{[^a-z]}{}}}}
  user = USER
command:
  driver = pipe
  user = USER
reply:
  driver = autoreply
  user = USER
begin retry
* * F,2h,15m
"""
MAIL = "From: s@client.test\r\nTo: joe@test\r\nSubject: hello there\r\nMessage-ID: <9@client.test>\r\n\r\nbody\r\n"


class Deliveries(SluiceTest):
    def begin(self, filters, main=""):
        server = self.sluice(configuration(main + "untrusted_set_sender = *\n", POLICY), start=False)
        for name in ("filters", "home", "home/vacation"):
            path = os.path.join(server.dir, name)
            os.makedirs(path, exist_ok=True)
            if os.getuid() == 0:
                shutil.chown(path, USER)
        for name, text in filters.items():
            with open(os.path.join(server.dir, "filters", name), "w") as f:
                f.write(text.replace("DIR", server.dir))
            if os.getuid() == 0:
                os.chown(os.path.join(server.dir, "filters", name), *pwd.getpwnam(USER)[2:4])
        server.start()
        return server

    def send(self, server, rcpts=("joe@test",), body=MAIL, sender="s@client.test"):
        with server.client() as client:
            client.ehlo()
            reply = client.message(body, sender, rcpts)
            client.quit()
        return re.search(r"id=(\S+)", reply.text).group(1)

    def read(self, server, name):
        path = os.path.join(server.dir, "home", name)

        def look():
            if os.path.exists(path):
                with open(path) as f:
                    return f.read()
        return until(look, lambda: f"{name}; log:\n{server.log()}")

    def test_every_kind_of_delivery(self):
        server = self.begin({"joe": """# Exim filter
logfile DIR/home/log
logwrite "got $h_subject: first=${if first_delivery{yes}{no}}"
add 3 to n1
if "$h_subject:" matches "^(hel+o)" and personal then
  unseen deliver ann@mx.test
  unseen save box 0640
  unseen pipe "/bin/sh -c \\"cat >DIR/home/piped; echo '${if eq{$1}{hello}{hello}}' >DIR/home/word\\""
  mail to s@client.test subject "Re: $h_subject:" text "n1=$n1\\n" log DIR/home/replies once DIR/home/once
endif
deliver bob@mx.test
"""})
        mid = self.send(server)
        server.wait_log(rf"{mid} Completed")
        self.assertIn(b"body", server.wait_mail(1, "ann")[0])
        server.wait_mail(1, "bob")
        self.assertEqual([], server.maildir("joe"))
        self.assertIn("Subject: hello there", self.read(server, "box"))
        self.assertIn("body", self.read(server, "piped"))
        self.assertEqual("hello", self.read(server, "word").strip())
        self.assertEqual("got hello there first=yes\n", self.read(server, "log"))
        reply = server.wait_mail(1, "s")[0]
        self.assertIn(b"Subject: Re: hello there", reply)
        self.assertIn(b"Auto-Submitted: auto-replied", reply)
        self.assertIn(b"n1=3", reply)
        self.assertIn("Re: hello there", self.read(server, "replies"))
        self.assertRegex(server.log(), rf"{mid} => >s@client.test <joe@test> R=filters T=reply")
        mid = self.send(server)  # once: no second reply
        server.wait_log(rf"{mid} Completed")
        self.assertEqual(1, len(server.maildir("s")))

    def test_declines_fails_and_errors(self):
        server = self.begin({"joe": "# Exim filter\nif \"x\" is \"y\" then seen finish endif\n",
                             "ann": "# Exim filter\nunseen deliver bob@mx.test\nfail text \"<<log>>not me\"\n",
                             "eve": "# Exim filter\nsave \"${run{/bin/true}}\"\n"})
        mid = self.send(server)
        server.wait_log(rf"{mid} => joe <joe@test> R=users")
        mid = self.send(server, ("ann@test",))
        server.wait_log(rf"{mid} \*\* ann@test .*R=filters: log")
        server.wait_mail(1, "bob")
        self.assertIn(b"not me", server.wait_mail(1, "s")[0])
        mid = self.send(server, ("eve@test",))
        server.wait_log(rf"{mid} == eve@test .*error in filter file: failed to expand .* running a command is not permitted")

    def test_sieve(self):
        server = self.begin({"joe": """# Sieve filter
require ["fileinto", "copy", "vacation"];
if header :contains "subject" "hello" { fileinto :copy "box"; redirect :copy "ann@mx.test"; }
vacation :days 2 :subject "away" :addresses "joe@test" "gone fishing";
""", "ann": "# Sieve filter\nfoo;\n", "eve": "# Sieve filter\ndiscard;\n"})
        mid = self.send(server)
        server.wait_log(rf"{mid} Completed")
        self.assertIn("body", self.read(server, "box"))
        self.assertIn("body", self.read(server, "inbox"))
        server.wait_mail(1, "ann")
        answer = server.wait_mail(1, "s")[0]
        self.assertIn(b"gone fishing", answer)
        self.assertIn(b"Subject: away", answer)
        mid = self.send(server, ("ann@test",))  # wrong: kept
        server.wait_log(rf"{mid} Completed")
        self.assertIn("Sieve error: syntax error in line 2", server.log())
        self.assertEqual(2, self.read(server, "inbox").count("body"))
        mid = self.send(server, ("eve@test",))
        server.wait_log(rf"{mid} Completed")
        self.assertIn(":blackhole:", server.log())

    SYSTEM = """system_filter = DIR/filters/system
system_filter_user = USER
system_filter_file_transport = file
system_filter_pipe_transport = command
system_filter_reply_transport = reply
"""

    def test_system_filter(self):
        server = self.begin({"joe": "# Exim filter\nif $sn4 is 7 and $h_x-new: is new and "
                             "not ($h_x-gone: contains g) then save snnew endif\n", "system": """# Exim filter
add 7 to n4
if first_delivery then
  headers add "X-New: new"
  headers remove "X-Gone"
endif
if $h_subject: contains "copy" then unseen save DIR/home/copy unseen deliver bob@mx.test endif
if $h_subject: contains "fail" and not error_message then fail "<<short>>a long reason" endif
if $h_subject: contains "frost" and not error_message then freeze text "look at it" endif
if $h_subject: contains "wait" then defer text "later" endif
if $h_subject: contains "other" then deliver bob@mx.test endif
"""}, self.SYSTEM)
        body = "From: s@client.test\r\nX-Gone: gone\r\nSubject: %s\r\n\r\nbody\r\n"
        mid = self.send(server, body=body % "copy")
        server.wait_log(rf"{mid} Completed")
        kept = self.read(server, "snnew")
        self.assertIn("X-New: new", kept)
        self.assertNotIn("X-Gone", kept)
        self.assertIn("X-New: new", self.read(server, "copy"))
        server.wait_mail(1, "bob")
        mid = self.send(server, body=body % "fail")
        server.wait_log(rf"{mid} \*\* joe@test.*cancelled by system filter: short")
        self.assertIn(b"a long reason", server.wait_mail(1, "s")[0])
        mid = self.send(server, body=body % "other")
        server.wait_log(rf"{mid} Completed")
        self.assertIn(f"{mid} original recipients ignored (system filter)", server.log())
        server.wait_mail(2, "bob")
        mid = self.send(server, body=body % "wait")
        server.wait_log(rf"{mid} == joe@test.*deferred by system filter: later")
        mid = self.send(server, body=body % "frost")
        server.wait_log(rf"{mid} Frozen \(frozen by system filter: look at it\)")
        server.run("-Mt", mid, check=0)
        server.run("-M", mid, check=0)
        server.wait_log(rf"{mid} Completed")
        text = self.read(server, "snnew")
        self.assertEqual(2, text.count("X-New: new"))  # the header change of the first attempt is kept, and not made twice

    def test_broken_system_filter(self):
        server = self.begin({"system": "# Exim filter\nfrob\n"}, self.SYSTEM)
        mid = self.send(server)
        server.wait_log(rf"{mid} Error in system filter: unknown filtering command \"frob\"")
        self.assertEqual([], server.maildir("joe"))
        self.assertEqual(1, server.queue_count())


if __name__ == "__main__":
    unittest.main()
