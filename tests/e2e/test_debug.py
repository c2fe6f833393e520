"""What is told of the work itself: control = debug, -d with its selectors, and the checks that -bh shows, beside Exim's.

-bh says which ACL runs, which statement, what each condition became, which item of a list it was. Exim's administrators
read these lines; so the facts in them are compared with Exim's, one by one, over the stock configurations and one
written for it."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import test_stock_configurations as debian
from harness import SLUICE, SluiceTest, configuration, until

RCPT = """
begin acl
rcpt_acl:
  warn    local_parts = alice : bob
          control = debug/tag=.$local_part_data/opts=SELECTORS
  warn    local_parts = carol
          control = debug/tag=.carol/opts=+all/pretrigger=400
          set acl_m_before = ${lc:BEFORE}
  warn    local_parts = postmaster
          control = debug
  warn    local_parts = stopped
          control = debug/stop
  warn    local_parts = killed
          control = debug/kill
  warn    local_parts = now
          control = debug/trigger=now
  warn    local_parts = ^x
          condition = no
  deny    local_parts = refused : stopped : killed : now
          message = no ${uc:thanks}
  accept  domains = test
"""
POLICY_BEHIND = configuration().partition("begin routers")[2]


def config(selectors="+all", main="", rcpt=RCPT):
    return (configuration(main, policy="") + rcpt.replace("SELECTORS", selectors) + "\nbegin routers"
            + POLICY_BEHIND)


class ControlDebug(SluiceTest):
    def file(self, s, tag):
        return os.path.join(s.dir, "log", "debug" + tag)

    def read(self, s, tag):
        try:
            with open(self.file(s, tag), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def wait_line(self, s, tag, pattern):
        until(lambda: re.search(pattern, self.read(s, tag)), lambda: f"{pattern!r} in {self.read(s, tag)}")
        return self.read(s, tag)

    def debug_files(self, s):
        return sorted(name for name in os.listdir(os.path.join(s.dir, "log")) if name.startswith("debug"))

    def test_session_and_delivery(self):
        s = self.sluice(config())
        with s.client() as c:
            c.ehlo()
            c.envelope(rcpts=["alice@test"])
            c.expect("RCPT TO:<refused@test>", 550)
            c.data("Subject: x\r\n\r\nx\r\n")
            c.quit()
        s.wait_mail()
        text = self.wait_line(s, ".alice", "t=maildir|queued for|maildir")
        for line in ('processing "deny"', "check local_parts = refused : stopped : killed : now",
                     'refused in "refused : stopped : killed : now"? yes (matched "refused")',
                     'deny: condition test succeeded in ACL "rcpt_acl"', 'end of ACL "rcpt_acl": DENY',
                     "SMTP>> 550 5.7.1 no THANKS", "SMTP<< DATA", "considering: no ${uc:thanks}", "result: no THANKS",
                     # from here on it is the delivery's
                     "routing alice@test", "--------> users router <--------", "routed by users router"):
            self.assertIn(line, text)
        self.assertNotIn("SMTP<< EHLO", text)  # what was before the control
        self.assertEqual(self.debug_files(s), ["debug.alice"])
        mode = os.stat(self.file(s, ".alice")).st_mode & 0o777
        self.assertEqual(mode, 0o640)

    def test_off_is_off(self):
        s = self.sluice(config())
        with s.client() as c:
            c.ehlo()
            c.message("Subject: x\r\n\r\nx\r\n", rcpts=["someone@test"])
            c.expect("RSET", 250)
            # Another session tells something at the same time: not of this one.
            with s.client() as other:
                other.ehlo("other.test")
                other.envelope(rcpts=["bob@test"])
                c.expect("MAIL FROM:<quiet@client.test>", 250)
                c.expect("RCPT TO:<refused@test>", 550)
                other.quit()
        text = self.wait_line(s, ".bob", "SMTP<< QUIT")
        self.assertNotIn("quiet", text)
        self.assertNotIn("refused in", text)
        self.assertEqual(self.debug_files(s), ["debug.bob"])

    def test_selectors(self):
        s = self.sluice(config("-all+expand"))
        with s.client() as c:
            c.ehlo()
            c.envelope(rcpts=["alice@test"])
            c.expect("RCPT TO:<refused@test>", 550)
            c.quit()
        text = self.wait_line(s, ".alice", "result: no THANKS")
        self.assertNotIn("processing", text)
        self.assertNotIn("SMTP", text)
        self.assertNotRegex(text, r"(?m)^\d\d:\d\d")

    def test_modifiers(self):
        s = self.sluice(config("-all+acl+pid+timestamp"))
        with s.client() as c:
            c.ehlo()
            c.envelope(rcpts=["alice@test"])
            c.quit()
        text = self.wait_line(s, ".alice", "end of ACL")
        self.assertRegex(text, r'(?m)^\d\d:\d\d:\d\d +\d+\S* end of ACL "rcpt_acl": ACCEPT$')

    def test_stop_and_kill(self):
        s = self.sluice(config("-all+acl+receive"))
        with s.client() as c:
            c.ehlo()
            c.envelope(rcpts=["alice@test"])
            c.expect("RCPT TO:<stopped@test>", 550)
            c.expect("RCPT TO:<refused@test>", 550)
            text = self.wait_line(s, ".alice", "debug terminated by stop")
            self.assertTrue(text.rstrip().endswith("debug terminated by stop"), text[-300:])
            # It can begin anew, at the end of the same file.
            c.expect("RSET", 250)
            c.envelope(rcpts=["alice@test"])
            c.expect("RCPT TO:<refused@test>", 550)
            text = self.wait_line(s, ".alice", "SMTP>> 550")
            self.assertIn("debug terminated by stop", text)
            c.expect("RCPT TO:<killed@test>", 550)
            until(lambda: not os.path.exists(self.file(s, ".alice")), "the file's removal")
            c.expect("RCPT TO:<refused@test>", 550)
            c.data("Subject: x\r\n\r\nx\r\n")
            c.quit()
        s.wait_mail()
        s.stop()  # whatever was to be written is
        self.assertEqual(self.debug_files(s), [])

    def test_pretrigger(self):
        s = self.sluice(config())
        with s.client() as c:
            c.ehlo()
            c.envelope(rcpts=["carol@test"])
            c.expect("RCPT TO:<refused@test>", 550)
            self.assertEqual(self.read(s, ".carol"), "")
            c.expect("RCPT TO:<now@test>", 550)
            c.expect("RSET", 250)
            c.quit()
        text = self.wait_line(s, ".carol", "SMTP<< QUIT")
        before = text.partition("control = debug/trigger=now")[0]
        self.assertGreater(len(before), 0)
        self.assertLessEqual(len(before), 400 + 100)
        self.assertNotIn("BEFORE", before)  # displaced by newer lines
        self.assertIn("SMTP>> 550", text)

    def test_pretrigger_that_nothing_triggers(self):
        s = self.sluice(config())
        with s.client() as c:
            c.ehlo()
            c.envelope(rcpts=["carol@test"])
            c.data("Subject: x\r\n\r\nx\r\n")
            c.quit()
        s.wait_mail(user="carol")
        s.stop()
        self.assertEqual(self.debug_files(s), [])

    def test_panic_triggers(self):
        rcpt = """
begin acl
rcpt_acl:
  warn    control = debug/tag=.p/opts=-all+acl/pretrigger=10000/trigger=paniclog
  warn    local_parts = bob
          logwrite = :panic: it burns
  accept
"""
        s = self.sluice(config(rcpt=rcpt))
        with s.client() as c, s.client() as quiet:
            quiet.ehlo()
            quiet.envelope(rcpts=["alice@test"])
            c.ehlo()
            c.envelope(rcpts=["bob@test"])
            text = self.wait_line(s, ".p", "it burns")
            self.assertIn('processing "warn"', text)
            self.assertEqual(text.count("control = debug in the RCPT ACL"), 1, "the other's panic is not ours")
            quiet.quit()
            c.quit()

    def test_plain(self):
        """Exim 4.98 does nothing with the form that its manual has first."""
        s = self.sluice(config())
        with s.client() as c:
            c.ehlo()
            c.envelope(rcpts=["postmaster@test"])
            c.quit()
        text = self.wait_line(s, "", "SMTP<< QUIT")
        self.assertIn("postmaster in", text)
        self.assertNotIn("considering", text)  # not among the default's

    def test_secrets(self):
        auth = """
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_advertise_condition = yes
  server_condition = ${if eq{$auth3}{hush-hush}}
"""
        connect = "acl_smtp_connect = conn\n"
        rcpt = RCPT + "conn:\n  accept control = debug/tag=.all/opts=-all+receive+auth+acl+tls\n"
        s = self.sluice(config(main=connect, rcpt=rcpt) + auth)
        with s.client() as c:
            c.ehlo()
            c.expect("AUTH PLAIN AGJvYgBodXNoLWh1c2g=", 235)
            c.quit()
        text = self.wait_line(s, ".all", "SMTP<< QUIT")
        self.assertIn("AUTH PLAIN", text)
        self.assertNotIn("AGJvYgBodXNoLWh1c2g", text)
        self.assertNotIn("hush-hush", text)

    def test_strangers_write_no_lines(self):
        s = self.sluice(config("-all+acl+receive"))
        with s.client() as c:
            c.ehlo()
            c.envelope(rcpts=["alice@test"])
            c.cmd("NOOP \x1b[2J\x07\x00x")
            c.quit()
        text = self.wait_line(s, ".alice", "SMTP<< QUIT")
        self.assertNotIn("\x1b", text)
        self.assertIn("\\033[2J", text)

    def test_a_tag_of_a_stranger(self):
        rcpt = """
begin acl
rcpt_acl:
  accept  control = debug/tag=.$local_part
"""
        s = self.sluice(config(rcpt=rcpt))
        with s.client() as c:
            c.ehlo()
            c.expect("MAIL FROM:<s@client.test>", 250)
            self.assertEqual(c.cmd("RCPT TO:<alice@test>").code // 100, 4)
        s.wait_log("tainted tag for debug log filename")
        self.assertEqual(self.debug_files(s), [])

    def test_a_file_that_cannot_be_written(self):
        s = self.sluice(config())
        os.mkdir(self.file(s, ".alice"))
        with s.client() as c:
            c.ehlo()
            c.message("Subject: x\r\n\r\nx\r\n")
            c.quit()
        s.wait_mail()
        s.wait_log('debug log ".*debug.alice" cannot be written')

    def test_mistakes(self):
        for options in ("/opts=+nosuch", "/opts=acl", "/pretrigger=much", "/trigger=later", "/foo"):
            rcpt = f"\nbegin acl\nrcpt_acl:\n  accept control = debug{options}\n"
            s = self.sluice(config(rcpt=rcpt), start=False)
            result = s.run("-bV")
            self.assertNotEqual(result.returncode, 0, options)

    def test_daemon_in_the_foreground(self):
        """-bdf -d: each session's and each delivery's lines on standard error, told apart by a number."""
        s = self.sluice(start=False)
        s.start("-d-all+acl+route+pid")
        with s.client() as c:
            c.ehlo()
            c.message("Subject: x\r\n\r\nx\r\n")
            c.quit()
        s.wait_mail()
        s.stop()
        session = re.search(r'(?m)^ *(\d+\.\d+) end of ACL "rcpt_acl": ACCEPT$', s.stderr())
        delivery = re.findall(r"(?m)^ *(\d+\.\d+) routed by users router$", s.stderr())
        self.assertTrue(session and delivery, s.stderr())
        self.assertIn(session.group(1), delivery)  # verify = recipient
        self.assertEqual(len(set(delivery)), 2)

    def test_spool_residency(self):
        """The control goes with the message: into the spool, and into what later runs do."""
        s = self.sluice(config("-all+route", main="queue_only\n"))
        with s.client() as c:
            c.ehlo()
            c.message("Subject: x\r\n\r\nx\r\n")
            c.quit()
        identity = until(s.queue_ids, "a message")[0]
        header = s.run("-Mvh", identity).stdout
        header = header.decode() if isinstance(header, bytes) else header
        self.assertIn("-debug_selector 0x4000000\n", header)
        self.assertRegex(header, r"(?m)^-debuglog_name .*/log/debug\.alice$")
        s.stop()
        s.start()
        s.run("-qf")
        s.wait_mail()
        self.wait_line(s, ".alice", "routed by users router")


HAND_WRITTEN = """
primary_hostname = me.test
exim_user = root
exim_group = root
log_file_path = DIR/log/%slog
spool_directory = DIR/spool
keep_environment =
domainlist local_domains = me.test : !x.test : *.sub.test : ^.*\\\\.re\\\\.test
hostlist relay = 127.0.0.1 : 10.0.0.0/8
acl_smtp_connect = acl_connect
acl_smtp_helo = accept condition = yes
acl_smtp_mail = acl_mail
acl_smtp_rcpt = acl_rcpt
acl_smtp_data = acl_data
begin acl
acl_connect:
  accept
acl_mail:
  accept hosts = : 192.168.0.0/16
  accept hosts = +relay
acl_rcpt:
  warn condition = ${if eq{a}{b}{yes}fail}
  warn condition = ${if def:sender_address}
       message = X: y
       set acl_m_lower = ${lc:$local_part}
  accept local_parts = end
         endpass
         domains = a.b
  defer local_parts = def
        message = deferred by us
  discard local_parts = disc
  require local_parts = !req
          message = req
  deny local_parts = lk
       condition = ${lookup{x}lsearch{DIR/nosuch}}
  warn delay = 0s
       logwrite = hello $local_part
  warn !hosts = 1.2.3.4
       acl = sub a $local_part
  deny condition = ${lookup{$local_part}lsearch{DIR/file}{yes}{no}}
       log_message = the log message $local_part
       message = go away
  deny senders = a@evil.test : bad@x.test
  require verify = sender
  drop local_parts = drop
  accept domains = +local_domains
         hosts = !10.0.0.2 : 10.0.0.0/24
         control = queue
  deny condition = no
sub:
  warn condition = ${if eq{$acl_arg2}{bob}}
       log_message = bob is here
  accept
acl_data:
  accept
begin routers
r1:
  driver = accept
  domains = +local_domains
  local_parts = bob
  transport = t1
r2:
  driver = redirect
  domains = +local_domains
  data = ${lookup{$local_part}lsearch{DIR/file}}
begin transports
t1:
  driver = appendfile
  file = /dev/null
  user = root
"""


@unittest.skipUnless(debian.exim(), "no Exim here (SLUICE_ORACLE, or ./dev deps test)")
class BesideExim(unittest.TestCase):
    maxDiff = None
    write, stock = debian.Debian.write, debian.Debian.stock

    def setUp(self):
        debian.Debian.setUp(self)

    def run_both(self, config, *arguments, stdin=""):
        return [subprocess.run([command, "-C", config, *arguments], input=stdin, capture_output=True, text=True,
                               timeout=60) for command in (SLUICE, debian.exim())]

    def facts(self, run):
        """(ACL, verb, condition, result), and what lists and routers said: without what is remembered between two
        questions, lists of options, host names, columns, and the line of a statement, which is in Exim's words the last of those
        that a backslash continues."""
        found, inside = [], 0
        for line in run.stderr.split("\n"):
            if not line.startswith(">>> "):
                continue
            line = line[4:].strip()
            if re.match(r"start sublist", line):
                inside += 1
            elif re.match(r"end sublist|cached (yes|no) match", line):
                inside -= 1
            if inside or re.match(r"(host|\S+) in [a-z_]+\?|list element|(start|end) sublist|cached|data from|-+ end"
                                  r"|>>>|(using|read) ACL (from|\"/)|compiled|check dnssec|IP address lookup|looking up", line):
                continue
            if re.match(r'.* in "', line) and not re.search(r"\((matched|end)", line):
                continue  # a list begins
            found.append(re.sub(r' - cached\)$', ")", re.sub(r'^(processing "\w+") \(.*\)$', r"\1", line)))
        return found

    def session(self, senders, rcpts, data=True):
        return ("EHLO client.test\r\n" + "".join(f"MAIL FROM:<{sender}>\r\n" + "".join(f"RCPT TO:<{r}>\r\n" for r in rcpts)
                                                 + "RSET\r\n" for sender in senders)
                + ("MAIL FROM:<bob@me.test>\r\nRCPT TO:<bob@me.test>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n" if data else "")
                + "QUIT\r\n")

    def same(self, config, host, stdin, least):
        ours, theirs = (self.facts(run) for run in self.run_both(config, "-bh", host, stdin=stdin))
        self.assertGreater(len(theirs), least)
        self.assertEqual(ours, theirs)

    def test_hand_written(self):
        self.write("file", "y: z\nal: bob\n")
        config = self.write("config", HAND_WRITTEN.replace("DIR", self.dir))
        rcpts = [f"{local}@{domain}" for local in ("bob", "al", "end", "def", "disc", "req", "y", "nosuch")
                 for domain in ("me.test", "x.sub.test", "x.test", "other.test")]
        self.same(config, "10.0.0.1", self.session(["bob@me.test", "a@evil.test", "bad@x.test", "nobody@me.test"],
                                                   rcpts + ["drop@me.test"]), 500)
        self.same(config, "192.168.1.1", self.session(["bob@me.test"], rcpts[:4]), 50)
        self.same(config, "10.0.0.2", self.session(["bob@me.test"], rcpts[:4]), 50)

    @unittest.skipUnless(os.path.exists(debian.TEMPLATE), "no exim4.conf.template here (SLUICE_STOCK)")
    def test_stock(self):
        for kind in ("internet", "local"):
            with self.subTest(kind):
                config = self.stock(kind)
                rcpts = ["root@a.example", "nosuch@b.example", "list@a.example", "a/b@a.example", ".dot@a.example",
                         "x@relay.example", "a%b@relay.example", "someone@elsewhere.test", "postmaster@a.example"]
                for host in ("10.1.2.3", "192.0.2.1"):
                    self.same(config, host, self.session(["root@a.example"], rcpts, data=False), 50)

    def test_places(self):
        """Each statement is where it says."""
        config = self.write("config", HAND_WRITTEN.replace("DIR", self.dir))
        with open(config) as f:
            lines = f.read().split("\n")
        run = self.run_both(config, "-bh", "10.0.0.1", stdin=self.session(["bob@me.test"], ["bob@me.test"]))[0]
        places = re.findall(r'processing "(\w+)" \((/\S+) (\d+)\)', run.stderr)
        self.assertGreater(len(places), 20)
        for verb, name, line in places:
            self.assertEqual((name, lines[int(line) - 1].split()[0]), (config, verb))

    def test_selectors_of_the_command_line(self):
        config = self.write("config", HAND_WRITTEN.replace("DIR", self.dir))
        for given, good in [("-d", True), ("-d-all+acl", True), ("-d+all", True), ("-d+nosuch", False), ("-dacl", False),
                            ("-d-all+expand+noutf8", True), ("-dd+dns", True), ("-d=0x4", True)]:
            with self.subTest(given):
                ours, theirs = self.run_both(config, given, "-be", "x")
                self.assertEqual((ours.returncode == 0, ours.stdout), (good, "x\n" if good else ""))
                if not given.startswith(("-d=",)):
                    self.assertEqual((theirs.returncode == 0, theirs.stdout), (good, "x\n" if good else ""))

    def test_expansion(self):
        self.write("file", "y: z\nal: bob\n")
        config = self.write("config", HAND_WRITTEN.replace("DIR", self.dir))
        text = ("${if eq{${lc:A}}{a}{x${lookup{al}lsearch{%s/file}}}{no}} ${uc:abc} $primary_hostname "
                "${if and{{eq{a}{b}}{eq{c}{d}}}{y}fail}" % self.dir)
        told = []
        for run in self.run_both(config, "-d-all+expand+noutf8", "-be", text):
            # The rest that is still to be read is told by Exim alone; so are constants.
            told.append([line.strip() for line in run.stderr.split("\n")
                         if re.match(r" *(\|-+(condition|result|value|item-res|op-res|error message)|\\failure)", line)
                         and "<skipped>" not in line])
        self.assertEqual(told[0], told[1])
        self.assertIn("|---item-res: bob", told[0])

    def test_lookup_and_routing(self):
        self.write("file", "y: z\nal: bob\n")
        config = self.write("config", HAND_WRITTEN.replace("DIR", self.dir))
        told = []
        for run in self.run_both(config, "-d-all+route+lookup", "-bt", "al@me.test", "nosuch@me.test"):
            told.append([line.strip() for line in run.stderr.split("\n")
                         if re.match(r" *(routing|-+> .* router|calling|routed by|r. router (skipped|generated|declined)"
                                     r"|lookup (yielded|failed)|no more routers)", line)])
            self.assertIn("router = r1, transport = t1", run.stdout)
        self.assertEqual(told[0], told[1])
        self.assertIn("lookup yielded: bob", told[0])


if __name__ == "__main__":
    unittest.main()
