"""What the sender of a message that failed is told, beside Exim: the addresses, the reasons, and no more than is his business."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from harness import SLUICE, USER, Sink

MAIN = """
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
local_from_check = false
trusted_users = root
"""

ROUTERS = """
begin routers
two:
  driver = redirect
  local_parts = two
  data = :fail: one line\\nand another
  allow_fail
alias:
  driver = redirect
  local_parts = alias
  data = nobody@test
undisclosed:
  driver = redirect
  local_parts = undisclosed
  data = secret@test
  hide_child_in_errmsg
secret:
  driver = redirect
  local_parts = secret
  data = :fail: nobody is to know this
  allow_fail
word:
  driver = accept
  local_parts = word
  condition = no
  cannot_route_message = no way to $local_part
  more = no
  transport = box
nohost:
  driver = manualroute
  local_parts = nohost
  route_list = * nosuchhost.invalid
  host_find_failed = fail
  transport = dead
"""

# What a remote server says, and to what.
SERVERS = {
    "rcpt": ("RCPT", "550-5.1.1 \"nobody\" here\r\n550 5.1.1 of that name"), "mail": ("MAIL", "550 no sender"),
    "data": ("DATA", "550 no data"), "end": ("END", "554 no end"), "banner": ("BANNER", "554 go away"),
    "later": ("RCPT", "451 later"),
}
SHELL = "command = /bin/sh -c"
LOCAL = {
    "exits": ("pipe", f'{SHELL} "exit 3"'),
    "shows": ("pipe", f'{SHELL} "echo hello; exit 3"', "return_output"),
    "hides": ("pipe", f'{SHELL} "echo hello; exit 3"'),
    "failed": ("pipe", f'{SHELL} "echo hello; exit 3"', "return_fail_output"),
    "speaks": ("pipe", f'{SHELL} "echo hello"', "return_output"),
    "absent": ("pipe", "command = /nonexistent/command"),
    "unknown": ("pipe", "command = no-such-command-at-all"),
    "slow": ("pipe", "command = /bin/sleep 30", "timeout = 1s"),
    "busy": ("pipe", f'{SHELL} "exit 75"'),
    "nodir": ("appendfile", "file = /proc/nonexistent/secret"),
    "full": ("appendfile", "file = DIR/mail/full", "quota = 10"),
    "large": ("appendfile", "file = DIR/mail/large", "message_size_limit = 10"),
}

# Where the reports differ: what ours says in the place of Exim's silence, or the other way about.
DIFFERENT = {
    "nohost": r"lookup of host \"nosuchhost\.invalid\" failed in nohost router",
    "later": r"Diagnostic-Code: smtp; 451 later$",  # Exim: "451 later: retry timeout exceeded", which nobody said
    "dead": r"host 127\.0\.0\.1 \[127\.0\.0\.1\]\n    Connection refused: retry timeout exceeded",
    "speaks": "local delivery failed",
    "unknown": "local delivery failed",
    "nodir": "local delivery failed: retry timeout exceeded",
    "large": r"message is too big \(transport limit = 10\)",
}


def exim():
    path = os.environ.get("SLUICE_ORACLE", "")
    return path if os.access(path, os.X_OK) and os.getuid() == 0 else None


@unittest.skipUnless(exim(), "no Exim here (SLUICE_ORACLE, or ./dev deps test), or no root")
class BounceText(unittest.TestCase):
    maxDiff = None

    def configuration(self):
        routers, transports = ROUTERS, "begin transports\nbox:\n  driver = appendfile\n  file = DIR/mail/$local_part_data\n"
        transports += "  user = USER\n"
        remote = {"dead": 1}
        for name, (verb, reply) in SERVERS.items():
            sink = Sink(lambda v, argument, session, verb=verb, reply=reply: reply if v == verb else None)
            self.addCleanup(sink.close)
            remote[name] = sink.port
        drivers = {name: (driver, "user = USER", *options) for name, (driver, *options) in LOCAL.items()}
        drivers.update({name: ("smtp", "hosts = 127.0.0.1", f"port = {port}", "allow_localhost", "hosts_try_fastopen = :")
                        for name, port in remote.items()})
        for name, (driver, *options) in drivers.items():
            routers += f"{name}:\n  driver = accept\n  local_parts = {name}\n  transport = {name}\n"
            transports += f"{name}:\n  driver = {driver}\n" + "".join(f"  {option}\n" for option in options)
        names = ["two", "alias", "undisclosed", "word", "nohost", "nobody", *drivers]
        senders = " : ".join(f"s-{name}" for name in names)
        routers += f"sender:\n  driver = accept\n  local_parts = {senders}\n  transport = box\n"
        return MAIN + routers + transports + "begin retry\n", names

    def reports(self, program, text, names):
        """Who sent to NAME@test gets what? Each message has a sender of its own."""
        directory = tempfile.mkdtemp(prefix="sluice-bounce-")
        self.addCleanup(shutil.rmtree, directory, True)
        os.chmod(directory, 0o755)
        for name in ("log", "mail", "spool"):
            os.makedirs(os.path.join(directory, name))
            shutil.chown(os.path.join(directory, name), USER)
        path = os.path.join(directory, "config")
        with open(path, "w") as f:
            f.write(f"exim_path = {program}\n" + re.sub(r"\bUSER\b", USER, text.replace("DIR", directory)))

        def run(*arguments, message=b""):
            done = subprocess.run([program, "-C", path, *arguments], input=message, capture_output=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr.decode())

        for name in names:
            run("-odq", "-f", f"s-{name}@test", f"{name}@test", message=b"Subject: x\n\nbody\n")
        run("-qff")  # they fail
        run("-qff")  # and the reports come
        found = {}
        for name in names:
            with open(os.path.join(directory, "mail", f"s-{name}"), errors="replace") as f:
                found[name] = self.normal(f.read(), directory)
        return found

    def normal(self, text, directory):
        text = text.replace(directory, "DIR")
        text = re.sub(r"E?[0-9A-Za-z]{6}-[0-9A-Za-z]{11}-[0-9A-Za-z]{4}", "ID", text)
        text = re.sub(r"\w{3}, +\d+ \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "DATE", text)
        text = re.sub(r"\d+-eximdsn-\d+", "BOUNDARY", text)
        text = re.sub(r"(?m)^From .*\n", "", text)
        return re.sub(r"Exim 4\.98\S*", "Exim)", text).strip()

    def test_reports(self):
        text, names = self.configuration()
        theirs, ours = (self.reports(program, text, names) for program in (exim(), SLUICE))
        for name in names:
            with self.subTest(name):
                if name in DIFFERENT:
                    self.assertNotEqual(ours[name], theirs[name])
                    self.assertRegex(ours[name], "(?m)" + DIFFERENT[name])
                else:
                    self.assertEqual(ours[name], theirs[name])
        for name, report in ours.items():
            told = report.partition("Content-type: message/rfc822")[0]
            for secret in ("/bin/", "/proc", "DIR/", "nobody is to know", "secret@test"):
                self.assertNotIn(secret, told, name)


if __name__ == "__main__":
    unittest.main()
