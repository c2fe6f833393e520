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

from harness import Closed, SluiceTest, configuration, until

ORACLE = os.environ.get("SLUICE_ORACLE", "")
STOCK = os.environ.get("SLUICE_STOCK", "")

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


if __name__ == "__main__":
    unittest.main()
