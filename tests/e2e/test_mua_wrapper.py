"""mua_wrapper: a program hands in a message and waits; it is delivered in one transaction, or not at all, and the program is told. Beside
Exim: exit status, what stands on standard error, and the lines of the main log."""
import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest

from harness import SLUICE, USER, Sink

CONFIG = """
primary_hostname = mx.test
qualify_domain = test
spool_directory = DIR/spool
log_file_path = DIR/log/%s
exim_user = USER
exim_group = nogroup
keep_environment =
tls_advertise_hosts =
check_spool_space = 0
check_spool_inodes = 0
mua_wrapper
queue_only
log_selector = -outgoing_port
acl_smtp_rcpt = accept
acl_not_smtp = queueing
begin acl
queueing:
  accept control = queue_only
         control = freeze
begin routers
alias:
  driver = redirect
  local_parts = both
  data = one@x.test, two@y.test
deferred:
  driver = redirect
  allow_defer
  domains = defer.test
  data = :defer: later
local:
  driver = accept
  domains = local.test
  transport = box
other:
  driver = manualroute
  domains = other.test
  transport = smart
  route_list = * 127.0.0.2
  fallback_hosts = 127.0.0.1
two:
  driver = accept
  domains = two.test
  transport = pair
all:
  driver = manualroute
  domains = !none.test
  transport = smart
  route_list = * 127.0.0.1
  self = send
  errors_to = ${if match{$local_part}{^err}{e@x.test}fail}
begin transports
smart:
  driver = smtp
  port = SINKPORT
  allow_localhost
  hosts_try_fastopen = :
pair:
  driver = smtp
  port = SINKPORT
  allow_localhost
  hosts = 127.0.0.2 : 127.0.0.1
  hosts_try_fastopen = :
box:
  driver = appendfile
  file = DIR/box
  user = USER
begin retry
* * F,1d,15m
"""
TEXT = b"From: a@b.test\nTo: x@y.test\nSubject: x\n\nhi\n"


def exim():
    path = os.environ.get("SLUICE_ORACLE", "")
    return path if os.access(path, os.X_OK) and os.getuid() == 0 else None


def script(verb, argument, session):
    if verb == "RCPT" and "bad" in str(argument):
        return "550 no such user"
    if verb == "RCPT" and "later" in str(argument):
        return "450 later"
    return None


class Side:
    def __init__(self, test, program):
        self.program = program
        self.sink = Sink(script)
        test.addCleanup(self.sink.close)
        self.dir = tempfile.mkdtemp(prefix="sluice-wrapper-")
        test.addCleanup(shutil.rmtree, self.dir, True)
        os.chmod(self.dir, 0o755)
        for name in ("log", "spool"):
            os.makedirs(os.path.join(self.dir, name))
            shutil.chown(os.path.join(self.dir, name), USER)
        text = re.sub(r"\bUSER\b", USER, CONFIG.replace("DIR", self.dir)).replace("SINKPORT", str(self.sink.port))
        with open(os.path.join(self.dir, "config"), "w") as f:
            f.write((f"exim_path = {program}\n" if program == exim() else "shards = 1\n") + text)

    def command(self, *arguments):
        return [self.program, "-C", os.path.join(self.dir, "config"), *arguments]

    def log(self):
        try:
            with open(os.path.join(self.dir, "log", "main")) as f:
                text = f.read()
        except FileNotFoundError:
            return []
        os.unlink(os.path.join(self.dir, "log", "main"))
        return [self.normal(line) for line in text.splitlines()]

    def normal(self, line):
        line = re.sub(r"^\S+ \S+ (\[\d+\] )?", "", line)
        line = re.sub(r"\b[0-9A-Za-z]{6}-[0-9A-Za-z]{11}-[0-9A-Za-z]{4}\b", "ID", line)
        return re.sub(r" S=\d+", "", line)

    def run(self, *arguments, text=TEXT):
        """(exit status, standard error, the log, what the smart host got, what is queued)"""
        before = len(self.sink.messages)
        done = subprocess.run(self.command(*arguments), input=text, capture_output=True, timeout=60)
        got = [(sender, rcpts) for sender, rcpts, _ in self.sink.messages[before:]]
        listed = subprocess.run(self.command("-bp"), capture_output=True, timeout=60).stdout
        return done.returncode, done.stderr.decode(), self.log(), got, listed


@unittest.skipUnless(exim(), "no Exim here (SLUICE_ORACLE, or ./dev deps test), or no root")
class MuaWrapper(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.theirs, self.ours = Side(self, exim()), Side(self, SLUICE)

    def both(self, *arguments, order=False, **options):
        theirs, ours = self.theirs.run(*arguments, **options), self.ours.run(*arguments, **options)
        if not order:  # of addresses: Exim's lists are turned round now and then
            theirs, ours = ((status, err, sorted(log), [(sender, sorted(rcpts)) for sender, rcpts in got], queue)
                            for status, err, log, got, queue in (theirs, ours))
        self.assertEqual(ours, theirs)
        return ours

    def test_delivered(self):
        for arguments, rcpts in ((["a@x.test"], ["a@x.test"]), (["a@x.test", "b@y.test", "c@x.test"], ["a@x.test", "b@y.test", "c@x.test"]),
                                 (["both@x.test"], ["one@x.test", "two@y.test"]), (["-odq", "a@x.test"], ["a@x.test"]),
                                 (["-odqs", "a@x.test"], ["a@x.test"]), (["a@two.test"], ["a@two.test"])):
            with self.subTest(arguments):
                status, err, log, got, queue = self.both(*arguments)
                self.assertEqual((status, err, queue), (0, "", b""))
                self.assertEqual([r for _, r in got], [sorted(rcpts)])

    def test_failures(self):
        """One for whom it cannot be is enough. Nothing goes out, nothing stays, no report is sent."""
        for arguments, told in ((["bad@x.test"], "550 no such user"), (["a@x.test", "bad@x.test", "b@x.test"], "550 no such user"),
                                (["later@x.test", "b@x.test"], "450 later"), (["a@none.test"], "Unrouteable address"),
                                (["a@none.test", "a@x.test"], "routing a@none.test yielded a failed delivery: "),
                                (["a@defer.test", "a@x.test"], "routing a@defer.test yielded a deferred delivery"),
                                (["a@local.test"], "routing a@local.test yielded a local delivery"),
                                (["a@local.test", "b@none.test", "c@defer.test"], "a local delivery"),
                                (["b@none.test", "c@defer.test"], "a deferred delivery"),
                                (["a@x.test", "a@other.test"], "configuration problem"), (["a@x.test", "err@x.test"], "configuration problem"),
                                (["a@other.test"], "Connection refused"), (["-oem", "bad@x.test"], "550"), (["-oee", "bad@x.test"], "550")):
            with self.subTest(arguments):
                status, err, log, got, queue = self.both(*arguments)
                self.assertEqual((status, got, queue), (1, [], b""))
                self.assertIn(told, err)
        # Again at once: no retry time is kept.
        self.assertIn("Connection refused", self.both("a@other.test")[1])

    def test_sessions(self):
        """-bs and -bS: each message is an attempt of its own."""
        lines = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<%s@x.test>\r\nDATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n"
        for mode, begin in (("-bs", b"HELO x\r\n"), ("-bS", b"")):
            with self.subTest(mode):
                status, err, log, got, queue = self.ours.run(mode, text=begin + lines % b"good" + lines % b"bad" + b"QUIT\r\n")
                self.assertEqual((status, got, queue), (1, [("a@b.test", ["good@x.test"])], b""))
                self.assertIn("Delivery failed: ", err)
                self.assertIn("550 no such user", err)
                status, err, log, got, queue = self.both(mode, text=begin + lines % b"good" + b"QUIT\r\n")
                self.assertEqual((status, err), (0, ""))

    def test_max_rcpt(self):
        """Forced to "unlimited", as the manual has it; Exim 4.98.2 keeps to it, and delivers to some of them."""
        with open(os.path.join(self.ours.dir, "config")) as f:
            text = f.read()
        with open(os.path.join(self.ours.dir, "config"), "w") as f:
            f.write(text.replace("  driver = smtp\n", "  driver = smtp\n  max_rcpt = 1\n"))
        self.assertEqual(self.ours.run("a@x.test", "bad@x.test")[3], [])
        self.assertEqual([sorted(rcpts) for _, rcpts in self.ours.run("a@x.test", "b@x.test")[3]], [["a@x.test", "b@x.test"]])

    def test_no_daemon(self):
        for arguments in (["-bd"], ["-bdf"], ["-q10m"]):
            with self.subTest(arguments):
                done = subprocess.run(self.ours.command(*arguments), capture_output=True, timeout=60)
                self.assertEqual((done.returncode, done.stderr), (1, b"sluice: Daemon cannot be run when mua_wrapper is set\n"))
        for side in (self.theirs, self.ours):  # inetd's descriptors are a connection
            with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
                served = server.accept()[0]
                with served:
                    done = subprocess.run(side.command("-bs"), stdin=served, stdout=served, capture_output=False, timeout=60)
                self.assertEqual((done.returncode, client.recv(100)), (1, b""))
                self.assertEqual(side.log(), ["Input from inetd is not supported when mua_wrapper is set"])


if __name__ == "__main__":
    unittest.main()
