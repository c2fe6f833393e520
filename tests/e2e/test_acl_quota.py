"""verify = recipient/quota: whether a mailbox has room, as large as the sender says the message is. What Exim says to the same
was found out by hand: it asks an installed copy of itself, which there is none of in the tests."""
import os
import re
import subprocess
import tempfile
import unittest

CONF = """primary_hostname = mx.test
spool_directory = DIR/spool
host_lookup =
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  deny local_parts = why
    !verify = recipient/quota
    message = $recipient_verify_failure: $acl_verify_message
  require verify = recipient/QUOTA
  accept message = room
begin routers
file:
  driver = accept
  local_parts = full : empty : missing : why : bad
  transport = file
maildir:
  driver = accept
  local_parts = dir : newdir
  transport = maildir
none:
  driver = accept
  transport = none
begin transports
file:
  driver = appendfile
  file = DIR/${if eq{$local_part}{why}{full}{${if inlist{$local_part}{full:empty:missing:bad}{$value}}}}
  quota = ${if eq{$local_part}{bad}{much}{100}}
maildir:
  driver = appendfile
  directory = DIR/${if inlist{$local_part}{dir:newdir}{$value}}
  maildir_format
  maildir_use_size_file
  quota = 1K
  quota_filecount = 2
none:
  driver = appendfile
  file = /dev/null
"""


class Quota(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = folder.name
        for name, size in (("full", 150), ("empty", 0), ("dir/cur/1", 10), ("dir/new/2", 10)):
            path = os.path.join(self.dir, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write("x" * size)

    def session(self, quota, *commands):
        """(code, text without enhanced code) of each RCPT, and the log."""
        conf = os.path.join(self.dir, "conf")
        with open(conf, "w") as f:
            f.write(CONF.replace("DIR", self.dir).replace("QUOTA", quota))
        text = "EHLO c.test\n" + "\n".join(commands) + "\nQUIT\n"
        run = subprocess.run([os.environ["SLUICE"], "-C", conf, "-bh", "10.1.2.3"], input=text, capture_output=True, text=True,
                             timeout=60)
        replies = [re.sub(r"^(\d+) \d\.\d\.\d ", r"\1 ", line) for line in run.stdout.splitlines() if re.match(r"[245]\d\d ", line)]
        return [reply for command, reply in zip(["", "EHLO", *commands], replies) if command.startswith("RCPT")], run.stderr

    def rcpt(self, quota, *local_parts, size=""):
        return self.session(quota, f"MAIL FROM:<s@c.test>{size}", *(f"RCPT TO:<{l}@test>" for l in local_parts))

    def test_full_and_not(self):
        said, log = self.rcpt("quota=no_cache", "full", "empty", "missing", "none")
        self.assertEqual(said, ["550 Administrative prohibition", "250 room", "250 room", "250 room"])
        self.assertIn("rejected RCPT <full@test>: Over quota", log)

    def test_the_size_that_was_announced_counts(self):
        self.assertEqual(self.rcpt("quota=no_cache", "empty", size=" SIZE=90")[0], ["250 room"])
        self.assertEqual(self.rcpt("quota=no_cache", "empty", size=" SIZE=200")[0], ["550 Administrative prohibition"])

    def test_what_the_statement_hears(self):
        self.assertEqual(self.rcpt("quota", "why")[0], ["550 quota:"])

    def test_a_quota_that_is_none_defers(self):
        said, log = self.rcpt("quota", "bad")
        self.assertEqual(said, ["451 Could not complete recipient verify"])
        self.assertIn("Malformed value", log)

    def test_maildir_with_too_many_files(self):
        self.assertEqual(self.rcpt("quota=no_cache", "dir", "newdir")[0], ["550 Administrative prohibition", "250 room"])
        self.assertFalse(os.path.exists(os.path.join(self.dir, "newdir")), "looking makes nothing")
        os.unlink(os.path.join(self.dir, "dir/new/2"))
        self.assertEqual(self.rcpt("quota=no_cache", "dir")[0], ["250 room"])
        self.assertEqual(self.rcpt("quota=no_cache", "dir", size=" SIZE=2000")[0], ["550 Administrative prohibition"])

    def test_answers_are_kept(self):
        self.assertEqual(self.rcpt("quota", "full", "empty")[0], ["550 Administrative prohibition", "250 room"])
        os.truncate(os.path.join(self.dir, "full"), 0)
        with open(os.path.join(self.dir, "empty"), "w") as f:
            f.write("x" * 200)
        self.assertEqual(self.rcpt("quota", "full", "empty")[0], ["550 Administrative prohibition", "250 room"])
        self.assertEqual(self.rcpt("quota=cachepos=0s", "full", "empty")[0],
                         ["550 Administrative prohibition", "550 Administrative prohibition"])
        self.assertEqual(self.rcpt("quota=no_cache", "full", "empty")[0], ["250 room", "550 Administrative prohibition"])


if __name__ == "__main__":
    unittest.main()
