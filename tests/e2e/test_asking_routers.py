"""Routers that ask others: queryprogram beside the real Exim, and iplookup (which Debian's Exim lacks) beside a server of ours."""
import os
import re
import socket
import subprocess
import threading
import unittest

from harness import SLUICE, SluiceTest, configuration

ORACLE = os.environ.get("SLUICE_ORACLE", "")

HEAD = """
primary_hostname = mx.test
qualify_domain = mx.test
log_file_path = DIR/%slog
spool_directory = DIR/spool
keep_environment =
begin routers
asks:
  driver = queryprogram
  command = COMMAND
  command_user = nobody
  transport = t
  MORE
next:
  driver = accept
  transport = ${if eq{$address_data}{rule one}{withdata}{other}}
begin transports
t:
  driver = smtp
other:
  driver = appendfile
  file = /dev/null
withdata:
  driver = appendfile
  file = /dev/null
"""

# What the program says, and perhaps an option.
ANSWERS = r"""
accept
ACCEPT hosts=127.0.0.9
accept hosts=127.0.0.9:127.0.0.8
accept hosts=127.0.0.9 lookup=byname data=\"one two\"
accept hosts = 127.0.0.9 lookup=bydns
accept hosts = 127.0.0.9 lookup=other
accept transport=other
accept transport=nosuch
accept hosts=no.such.invalid lookup=byname
decline
fail this is why
defer
defer not now
freeze
freeze look at it
pass
PASS
redirect x@b.c
redirect
redirect :blackhole:
redirect :fail: no
redirect bad bad
redirect \"a b\"@q.test
redirect local
nonsense with words

  accept transport=other
accept transport=other\\nfail
"""
COMMANDS = """
/bin/false
/bin/true
/bin/sh -c "exit 3"
/bin/sh -c "kill -9 \\\\$\\\\$"
/bin/echo "fail $local_part '$domain'"
/bin/echo 'fail $local_part'
/bin/sh -c "echo fail x; exit 0; more"
/bin/echo "fail $no_such"
/usr/bin/id -un
"""


def exim():
    return ORACLE if os.access(ORACLE, os.X_OK) and os.getuid() == 0 else None


class QueryProgram(SluiceTest):

    def route(self, program, box, command, more=""):
        box.write_config(HEAD.replace("COMMAND", command).replace("MORE", more))
        done = subprocess.run([program, "-C", box.config_file, "-bt", "a@b.c"], capture_output=True, text=True, timeout=60)
        text = re.sub(r"(?m)^LOG: .*\n(  .*\n)?", "", done.stdout + done.stderr)
        return done.returncode, re.sub(r"(?m)^\d{4}-.*\n", "", text)

    @unittest.skipUnless(exim(), "no Exim here that runs as root (SLUICE_ORACLE)")
    def test_beside_exim(self):
        box = self.sluice("", start=False)
        os.chmod(box.dir, 0o777)
        for answer in ANSWERS.strip("\n").split("\n"):
            with self.subTest(answer):
                command = f'/bin/printf %s "{answer}"'
                self.assertEqual(self.route(ORACLE, box, command), self.route(SLUICE, box, command))
        for command in COMMANDS.strip().splitlines():
            with self.subTest(command):
                self.assertEqual(self.route(ORACLE, box, command), self.route(SLUICE, box, command))

    @unittest.skipUnless(os.getuid() == 0, "needs root, to become others")
    def test_who_and_where(self):
        box = self.sluice("", start=False)
        os.chmod(box.dir, 0o777)
        code, text = self.route(SLUICE, box, "/bin/sh -c \"echo fail `id -un` `pwd` `wc -c`\"", "current_directory = /tmp")
        self.assertEqual((code, text), (2, "a@b.c is undeliverable: nobody /tmp 0\n"))

    def test_long_and_late(self):
        box = self.sluice("", start=False)
        os.chmod(box.dir, 0o777)
        more = "timeout = 1s"
        code, text = self.route(SLUICE, box, "/bin/sh -c \"echo accept; sleep 600\"", more)
        self.assertEqual((code, text), (1, "a@b.c cannot be resolved at this time: asks router: command timed out\n"))
        code, text = self.route(SLUICE, box, "/bin/sh -c \"echo fail `yes | head -c 3000000 | tr -d '\\n'`\"")
        self.assertEqual(code, 2)
        self.assertLess(len(text), 1200)

    def test_bad_options(self):
        box = self.sluice("", start=False)
        for more in ("command_group = nosuchgroup", "current_directory = relative"):
            self.assertEqual(self.route(SLUICE, box, "/bin/echo accept", more)[0], 1)
        box.write_config("begin routers\nr:\n  driver = queryprogram\n  command = /bin/true\n")
        self.assertIn("command_user must be specified", box.run("-bV").err)


class Answering:
    """Says over UDP or TCP what a function makes of each query."""

    def __init__(self, answer, tcp=False):
        self.asked, self.answer, self.tcp = [], answer, tcp
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        if tcp:
            self.socket.listen(8)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def reply(self, query):
        self.asked.append(query.decode())
        return self.answer(query.decode())

    def serve(self):
        while True:
            try:
                if self.tcp:
                    peer, _ = self.socket.accept()
                    with peer:
                        text = self.reply(peer.recv(4096))
                        peer.sendall((text or "").encode())
                else:
                    query, source = self.socket.recvfrom(4096)
                    text = self.reply(query)
                    if text is not None:
                        self.socket.sendto(text.encode(), source)
            except OSError:
                return

    def close(self):
        self.socket.close()


LOOKUP = """
primary_hostname = mx.test
spool_directory = DIR/spool
begin routers
asks:
  driver = iplookup
  domains = a.test
  hosts = nosuch.invalid : 127.0.0.1
  port = PORT
  timeout = 1s
  MORE
next:
  driver = accept
  transport = t
begin transports
t:
  driver = appendfile
  file = /dev/null
"""


class IpLookup(SluiceTest):
    def route(self, answer, more="", tcp=False):
        server = Answering(answer, tcp)
        self.addCleanup(server.close)
        box = self.sluice(LOOKUP.replace("MORE", more).replace("PORT", str(server.port)), start=False)
        return server, box.run("-bt", "x@a.test").out

    def test_answers(self):
        again = lambda query: "new@b.test " + query.split()[0]
        for tcp in (False, True):
            server, out = self.route(again, "protocol = tcp" if tcp else "", tcp)
            self.assertEqual(server.asked, ["x@a.test x@a.test"])
            self.assertIn("new@b.test\n    <-- x@a.test\n  router = next", out)

    def test_an_answer_to_something_else(self):
        self.assertTrue(self.route(lambda query: "new@b.test y@a.test")[1].startswith("x@a.test\n  router = next"))

    def test_pattern_and_reroute(self):
        more = "query = <$domain>\n  response_pattern = ^([^@]+)$\n  reroute = $local_part@$1"
        server, out = self.route(lambda query: "c.test", more)
        self.assertEqual(server.asked, ["<a.test>"])
        self.assertIn("x@c.test\n", out)
        self.assertTrue(self.route(lambda query: "x@c.test", more)[1].startswith("x@a.test\n  router = next"))

    def test_nobody_answers(self):
        self.assertIn("failed to get any response from", self.route(lambda query: None)[1])
        self.assertIn("x@a.test\n  router = next", self.route(lambda query: None, "optional\n  no_more")[1])
        self.assertIn("failed to get any response from", self.route(lambda query: "", "protocol = tcp", True)[1])

    def test_no_address(self):
        self.assertIn("is not of the form user@domain", self.route(lambda query: "nonsense x@a.test")[1])

    def test_bad_options(self):
        for wrong, says in (("port = 0", "a port must be specified"), ("protocol = sctp", "udp or tcp"),
                            ("hosts =", "host(s) must be specified"), ("transport = t", "transport must not be specified"),
                            ("response_pattern = (", "parenthes")):
            name = wrong.split()[0]
            text = re.sub(rf"(?m)^  {name} = .*\n", "", LOOKUP.replace("PORT", "1")).replace("MORE", wrong)
            self.assertIn(says, self.sluice(text, start=False).run("-bV").err)


if __name__ == "__main__":
    unittest.main()
