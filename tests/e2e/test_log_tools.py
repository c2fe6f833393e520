"""The tools of Debian's exim4-base read our logs and queue listings: eximstats, exigrep, exiqsumm, exiqgrep. What strangers write
stays on its line."""
import os
import re
import subprocess
import unittest

from harness import PEERS, SLUICE, Client, Sink, SluiceTest, configuration, until

TOOLS = os.path.join(PEERS, "exim/usr/sbin")
POLICY = """
begin acl
rcpt_acl:
  deny    local_parts = refused
          message = no thanks
  accept
begin routers
elsewhere:
  driver = manualroute
  domains = elsewhere.test
  transport = smtp
  route_list = * 127.0.0.1
  self = send
gone:
  driver = redirect
  local_parts = gone
  allow_fail
  data = :fail: no such user
later:
  driver = redirect
  local_parts = later
  allow_defer
  data = :defer: not now
users:
  driver = accept
  transport = file
begin transports
file:
  driver = appendfile
  file = DIR/mail/box
  user = USER
smtp:
  driver = smtp
  port = SINKPORT
  allow_localhost
begin retry
* * F,2h,15m
"""
MESSAGES = int(os.environ.get("MESSAGES", "200"))  # 10,000 were counted by hand


def tool(name, *arguments, stdin=b""):
    done = subprocess.run(["perl", os.path.join(TOOLS, name), *arguments], input=stdin, capture_output=True, timeout=120)
    return done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


@unittest.skipUnless(os.path.exists(os.path.join(TOOLS, "eximstats")), "no exim4-base here (SLUICE_PEERS)")
class Tools(SluiceTest):
    def setUp(self):
        self.sink = Sink()
        self.addCleanup(self.sink.close)
        self.box = self.sluice(configuration("smtp_accept_max_per_connection = 0\nmessage_logs = no\n", POLICY),
                               macros={"SINKPORT": str(self.sink.port)})

    def send(self, count, rcpts=("a@test",)):
        with self.box.client() as c:
            c.ehlo()
            for _ in range(count):
                c.message("Subject: x\r\n\r\nbody\r\n", rcpts=rcpts)

    def test_eximstats_counts_as_we_do(self):
        self.send(MESSAGES, ("a@test", "r@elsewhere.test"))
        self.send(3, ("gone@test",))  # three bounces, which fail: their senders are elsewhere
        with self.box.client() as c:
            c.ehlo()
            c.expect("MAIL FROM:<s@client.test>", 250)
            for _ in range(5):
                c.expect("RCPT TO:<refused@test>", 550)
        self.box.wait_log("Completed", count=MESSAGES + 3 + 3)
        out, err = tool("eximstats", "-t0", "-nr", "-nt", os.path.join(self.box.dir, "log/main"))
        self.assertEqual(err, "")
        log = self.box.log()
        arrived, delivered = len(re.findall(r" <= ", log)), len(re.findall(r" [-=]> ", log))
        self.assertEqual((arrived, delivered), (MESSAGES + 6, 2 * MESSAGES + 3))
        found = re.search(r"(?m)^  Received +\S+ +(\d+) ", out)
        self.assertEqual(int(found[1]), arrived, out)
        found = re.search(r"(?m)^  Delivered +\S+ +(\d+) +(\d+) ", out)
        self.assertEqual((int(found[1]), int(found[2])), (delivered, delivered), out)
        self.assertRegex(out, r"(?m)^  Rejects +5 ")

    def test_exigrep(self):
        self.send(3, ("a@test", "r@elsewhere.test"))
        self.box.wait_log("Completed", count=3)
        message = re.search(r" (\S+) <= ", self.box.log())[1]
        out, _ = tool("exigrep", message, os.path.join(self.box.dir, "log/main"))
        self.assertEqual([line.split(" ", 3)[3].split()[0] for line in out.strip().splitlines() if message in line][0], "<=")
        self.assertEqual(len(re.findall(message, out)), 4, out)  # arrival, two deliveries, completed
        out, _ = tool("exigrep", "r@elsewhere.test", os.path.join(self.box.dir, "log/main"))
        self.assertEqual(out.count("Completed"), 3)

    def test_queue_listings(self):
        self.send(2, ("later@test", "later@other.test"))
        self.send(1, ("later@other.test",))
        until(lambda: len(re.findall(" == ", self.box.log())) == 5, self.box.log)
        listing = self.box.run("-bp", check=0).out
        out, _ = tool("exiqsumm", stdin=listing.encode())
        self.assertRegex(out, r"(?m)^ +3 +\S+ +\S+ +\S+ +other\.test$")
        self.assertRegex(out, r"(?m)^ +2 +\S+ +\S+ +\S+ +test$")
        self.assertRegex(out, r"(?m)^ +5 .* TOTAL$")
        exim = ["-E", SLUICE, "-C", self.box.config_file]
        out, err = tool("exiqgrep", *exim, "-c")
        self.assertRegex(out, r"3 matches out of 3 messages", err)
        out, _ = tool("exiqgrep", *exim, "-i", "-r", "@test")
        ids = out.split()
        self.assertEqual(len(ids), 2)
        self.box.run("-Mf", ids[0], check=0)
        self.assertEqual(tool("exiqgrep", *exim, "-i", "-z")[0].split(), [ids[0]])
        self.assertEqual(len(tool("exiqgrep", *exim, "-i", "-x")[0].split()), 2)
        self.box.run("-Mt", ids[0], check=0)
        self.assertEqual(tool("exiqgrep", *exim, "-i", "-z")[0].split(), [])
        self.box.run("-Mrm", *ids, check=0)
        self.assertRegex(tool("exiqgrep", *exim, "-c")[0], r"1 matches out of 1 messages")


class Escapes(SluiceTest):
    def test_one_line_each(self):
        """HELO names, subjects and replies of others with line ends, NUL and escape sequences."""
        sink = Sink(lambda verb, argument, session: "550 no\033[2J \001such" if verb == "RCPT" else None)
        self.addCleanup(sink.close)
        box = self.sluice(configuration("log_selector = +subject +smtp_syntax_error\nhelo_accept_junk_hosts = *\n", POLICY),
                          macros={"SINKPORT": str(sink.port)})
        with box.client() as c:
            c.expect("EHLO x\033[31m\007y", 250)
            c.expect("MAIL FROM:<s@client.test>", 250)
            c.expect("RCPT TO:<a@elsewhere.test>", 250)
            c.data("Subject: =?utf-8?q?a=0D=0A2026-01-01_00=3A00=3A00_fake_=3C=3D_x=00=1B=5Bz?=\r\n\r\nb\r\n")
            c.expect("FO\0O\033", 501)
        log = box.wait_log("Completed")
        self.assertNotRegex(log, r"[\x00-\x09\x0b-\x1f\x7f]")
        for line in log.splitlines():
            self.assertRegex(line, r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
        self.assertIn(r"H=(x\033[31m\007y)", log)
        self.assertIn(r'T="a\r\n2026-01-01 00:00:00 fake <= x?\033[z"', log)  # a NUL in an encoded word is no letter
        self.assertIn(r"550 no\033[2J \001such", log)
        self.assertIn(r'SMTP syntax error in "FO?O\033"', log)


if __name__ == "__main__":
    unittest.main()
