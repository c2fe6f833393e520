"""Options of transports and routers whose effect is seen only from outside: whose groups a command has, what an autoreply
remembers and writes down."""
import grp
import os
import pwd
import re
import subprocess
import unittest

from harness import SLUICE, SluiceTest, configuration, until

POLICY = """
begin acl
rcpt_acl:
  accept
begin routers
ids:
  driver = accept
  local_parts = ids : plain
  transport = ${local_part_data}
ofrouter:
  driver = accept
  local_parts = ofrouter
  user = MEMBER
  initgroups
  transport = fromrouter
answered:
  driver = accept
  local_parts = answered
  transport = answer
outgoing:
  driver = accept
  transport = file
begin transports
ids:
  driver = pipe
  command = /usr/bin/id -G
  user = MEMBER
  initgroups
  return_output
fromrouter:
  driver = pipe
  command = /usr/bin/id -G
  return_output
plain:
  driver = pipe
  command = /usr/bin/id -G
  user = MEMBER
  return_output
answer:
  driver = autoreply
  to = $sender_address
  subject = away
  once = DIR/mail/once
  log = DIR/mail/answers
  OPTIONS
  user = USER
file:
  driver = appendfile
  file = DIR/mail/out
  user = USER
begin retry
* * F,2h,15m
"""


def read(path):
    with open(path) as f:
        return f.read()


def member():
    """A user with further groups, none of them root's."""
    for entry in pwd.getpwall():
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
        if entry.pw_uid and len(groups) > 1 and 0 not in groups:
            return entry.pw_name, groups
    return None, []


class Groups(SluiceTest):
    @unittest.skipUnless(os.getuid() == 0, "needs root, to become others")
    @unittest.skipUnless(member()[0], "nobody here is in more groups than his own")
    def test_initgroups(self):
        """id -G says which groups a command has; what it prints is mailed back."""
        name, groups = member()
        box = self.sluice(configuration(policy=POLICY.replace("MEMBER", name).replace("OPTIONS", "")))
        for local_part, wanted in (("ids", groups), ("ofrouter", groups), ("plain", [pwd.getpwnam(name).pw_gid])):
            with self.subTest(local_part), box.client() as c:
                c.ehlo()
                c.message("Subject: x\r\n\r\nbody\r\n", sender=f"s-{local_part}@client.test", rcpts=[f"{local_part}@test"])
                out = os.path.join(box.dir, "mail/out")

                def told():
                    text = read(out) if os.path.exists(out) else ""
                    found = re.search(rf"(?ms)^From MAILER-DAEMON[^\n]*\n(?:(?!^From ).)*s-{local_part}@.*?^\s*([\d ]+)$", text)
                    return found and found.group(1)
                self.assertEqual(sorted(set(map(int, until(told, "what id said").split()))), sorted(set(wanted)))


class Standard(SluiceTest):
    def test_receive_timeout(self):
        box = self.sluice(configuration("receive_timeout = 1s\n"), start=False)
        process = subprocess.Popen([SLUICE, "-C", box.config_file, "alice@test"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(b"Subject: x\n")
        process.stdin.flush()
        self.assertEqual(process.wait(30), 1)
        self.assertIn(b"timed out while reading", process.stderr.read())
        process.stdin.close()
        process.stderr.close()

    def test_check_spool_space_of_size(self):
        """A message that is announced larger than the disk is not taken, unless nobody looks."""
        for main, code in (("", 452), ("no_smtp_check_spool_space\n", 250)):
            box = self.sluice(configuration("message_size_limit = 0\n" + main))
            with box.client() as c:
                c.ehlo()
                c.expect("MAIL FROM:<s@client.test> SIZE=9000000000000000", code)
            box.stop()

    def test_return_error_details(self):
        policy = POLICY.replace("rcpt_acl:\n  accept", "rcpt_acl:\n  defer log_message = the cause of it").replace("MEMBER", "nobody")
        for main, says in (("", "Temporary local problem"), ("smtp_return_error_details\n", "the cause of it")):
            box = self.sluice(configuration(main, policy.replace("OPTIONS", "")))
            with box.client() as c:
                c.ehlo()
                c.expect("MAIL FROM:<s@client.test>", 250)
                c.expect("RCPT TO:<x@test>", 451, says)
            box.stop()


class Autoreply(SluiceTest):
    def begin(self, options=""):
        return self.sluice(configuration(policy=POLICY.replace("MEMBER", "nobody").replace("OPTIONS", options)))

    def ask(self, box, senders):
        for sender in senders:
            with box.client() as c:
                c.ehlo()
                reply = c.message("Subject: x\r\n\r\nbody\r\n", sender=sender, rcpts=["answered@test"])
            box.wait_log(re.search(r"id=(\S+)", reply.text).group(1) + " Completed")

    def answers(self, box):
        return re.findall(r"(?m)^  To: (\S+)$", read(os.path.join(box.dir, "mail/answers")))

    def test_log(self):
        box = self.begin()
        self.ask(box, ["one@a.test", "two@a.test", "one@a.test"])
        text = read(os.path.join(box.dir, "mail/answers"))
        self.assertRegex(text, r"\A\w{3}, \d.*\n  To: one@a\.test\n  Subject: away\n\w{3}, .*\n  To: two@a\.test\n  Subject: away\n\Z")

    def test_once_file_size(self):
        """Room for two: the third makes the first forgotten."""
        box = self.begin("once_file_size = 50")
        self.ask(box, ["one@a.test", "two@a.test", "one@a.test", "TWO@a.test", "three@a.test", "two@a.test", "one@a.test"])
        self.assertEqual(self.answers(box), ["one@a.test", "two@a.test", "three@a.test", "one@a.test"])

    def test_once_file_size_too_large(self):
        box = self.sluice(configuration(policy=POLICY.replace("OPTIONS", "once_file_size = 2M").replace("MEMBER", "nobody")),
                          start=False)
        done = box.run("-bV")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("once_file_size", done.err)


if __name__ == "__main__":
    unittest.main()
