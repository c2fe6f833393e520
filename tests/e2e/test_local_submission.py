"""Mail that local programs hand in on standard input: what is queued of it, as -Mvh shows it, and what is refused.

No daemon runs: the command opens the spool itself. Expected header fields are Exim 4.98's for the same input.
"""
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import unittest

from harness import SLUICE, DEADLINE_S

LOGIN = pwd.getpwuid(os.getuid()).pw_name

CONF = """
primary_hostname = mx.test
qualify_domain = q.test
qualify_recipient = qr.test
spool_directory = DIR/spool
log_file_path = DIR/log/%s
queue_only
check_spool_space = 0
check_spool_inodes = 0
acl_not_smtp = judge
begin acl
judge:
  deny   condition = ${if eq{$h_subject:}{refused}}
         message = not this one
  warn   condition = ${if eq{$h_subject:}{marked}}
         add_header = X-Mark: $recipients_count of $sender_address
  accept
"""


class LocalSubmission(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="sluice-e2e-")
        self.addCleanup(shutil.rmtree, self.dir)
        os.mkdir(self.dir + "/log")
        self.conf = self.dir + "/conf"
        with open(self.conf, "w") as f:
            f.write(CONF.replace("DIR", self.dir))

    def run_sluice(self, *args, text=""):
        return subprocess.run([SLUICE, "-C", self.conf, *args], input=text.encode("latin-1"), capture_output=True,
                              timeout=DEADLINE_S)

    def queue(self):
        listing = self.run_sluice("-bp").stdout.decode()
        return re.findall(r"\b\w{6}-\w{11}-\w{4}\b", listing)

    def submit(self, *args, text):
        """Hands in one message that must be taken; returns the lines of its envelope and its live header fields."""
        before = self.queue()
        done = self.run_sluice("-odq", *args, text=text)
        self.assertEqual(done.returncode, 0, done.stderr)
        new = [i for i in self.queue() if i not in before]
        self.assertEqual(len(new), 1, done.stderr)
        shown = self.run_sluice("-Mvh", new[0]).stdout.decode("latin-1").replace(new[0], "ID")
        envelope, _, rest = shown.partition("\n\n")
        headers = []
        while rest:
            field = re.match(r"\d{3,}([A-Z* ]) (.*\n(?:[ \t].*\n)*)", rest)
            if field.group(1) != "*":
                headers.append(field.group(2))
            rest = rest[field.end():]
        return envelope.split("\n"), headers

    def test_refused(self):
        for args, text, words in (
                (["-t"], "Subject: x\n\nb\n", "no recipients found in headers"),
                (["a@@b"], "\nb\n", "domain missing or malformed"),
                (["a@b"], "Subject: refused\n\nb\n", "not this one")):
            with self.subTest(args=args, text=text):
                done = self.run_sluice("-odq", "-oep", *args, text=text)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(words, done.stderr.decode())
        self.assertEqual(self.queue(), [])

    def test_headers_and_envelope(self):
        envelope, headers = self.submit("-F", "A. User", "a@b", "local", text="To: x, y@z\nReturn-Path: <o@o>\n\nbody")
        self.assertEqual(envelope[2], f"<{LOGIN}@q.test>")
        self.assertEqual(envelope[-3:], ["2", "a@b", "local@qr.test"])
        for line in ("-received_protocol local", f"-ident {LOGIN}", "-local", "-body_linecount 1", "-deliver_firsttime"):
            self.assertIn(line, envelope)
        self.assertTrue(headers[0].startswith(f"Received: from {LOGIN} by mx.test with local (Exim 4.98)\n"
                                              f"\t(envelope-from <{LOGIN}@q.test>)\n\tid ID;\n\t"), headers[0])
        self.assertEqual(headers[1:4], ["To: x@qr.test, y@z\n", "Message-Id: <EID@mx.test>\n",
                                        f'From: "A. User" <{LOGIN}@q.test>\n'])
        self.assertRegex(headers[4], r"^Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\n$")
        self.assertEqual(len(headers), 5)

    def test_recipients_from_headers(self):
        envelope, headers = self.submit("-t", "not@me", text="To: a@b, not@me\nCc: \"x y\"@z\nBcc: secret\n\n")
        self.assertEqual(envelope[-4:], ["3", "a@b", '"x y"@z', "secret@qr.test"])
        self.assertIn("NN not@me", envelope)
        self.assertNotIn("secret", "".join(headers))

    def test_bounce_and_acl(self):
        envelope, headers = self.submit("-f", "<>", "a@b", text="Subject: marked\n\n")
        self.assertEqual(envelope[2], "<>")
        self.assertIn("X-Mark: 1 of\n", [h.replace(" of \n", " of\n") for h in headers])

    def test_body(self):
        _, _ = self.submit("-i", "a@b", text="\none\n.\ntwo\r\nthree")
        body = self.run_sluice("-Mvb", self.queue()[0]).stdout
        self.assertEqual(body.split(b"\n", 1)[1].replace(b"\r\n", b"\n"), b"one\n.\ntwo\nthree\n")


if __name__ == "__main__":
    unittest.main()
