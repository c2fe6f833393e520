"""${readsocket: its options, TLS with openssl's server, servers that say nothing or something else; and what Exim makes of the same."""
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from authority import Authority
from harness import SluiceTest, configuration, until
from test_differential_be import exim


class Plain:
    """Each connection is a thread's: work(socket)."""

    def __init__(self, work):
        self.work, self.listener, self.open = work, socket.create_server(("127.0.0.1", 0)), []
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            if self.work(connection) != "keep":
                connection.close()
        except OSError:
            connection.close()

    def close(self):
        for s in [self.listener, *self.open]:
            s.close()


def saw_end(s):
    """Was the other half closed behind the request?"""
    s.settimeout(0.5)
    while s.recv(100) not in (b"",):
        try:
            if s.recv(100, socket.MSG_PEEK) == b"":
                return s.sendall(b"closed\n")
        except TimeoutError:
            return s.sendall(b"open\n")


class Asking(SluiceTest):
    def setUp(self):
        self.box = self.sluice(configuration(), start=False)
        self.theirs = os.path.join(self.box.dir, "exim.conf")
        with open(self.theirs, "w") as f:
            f.write("primary_hostname = mx.test\nkeep_environment =\n")

    def plain(self, work):
        server = Plain(work)
        self.addCleanup(server.close)
        return server.port

    def be(self, line, oracle=True):
        """What sluice says; what Exim says has to be the same, or to fail as well."""
        done = self.box.run("-be", line)
        ours = done.out.rstrip("\n") or done.err.strip()
        if oracle and exim():
            run = subprocess.run([exim(), "-C", self.theirs, "-be", line], capture_output=True, timeout=60)
            theirs = run.stdout.decode().rstrip("\n")
            if not theirs.startswith("Failed"):
                self.assertEqual(ours, theirs, line)
            else:
                self.assertTrue(ours.startswith("Failed"), (line, ours, theirs))
        return ours



class Options(Asking):
    def test_shutdown(self):
        port = self.plain(saw_end)
        for options, said in (("", "closed"), ("{3s}", "closed"), ("{3s:shutdown=yes}", "closed"), ("{3s:shutdown=no}", "open"),
                              ("{3s:shutdown=no:cache=yes}", "open"), ("{3s:tls=no:shutdown=no}", "open")):
            self.assertEqual(self.be("${readsocket{inet:127.0.0.1:%d}{ask\\n}%s}" % (port, options)), said, options)

    def test_line_ends(self):
        port = self.plain(lambda s: s.sendall(b"one\ntwo\n\nthree\n"))
        for eol, said in (("{ }", "one two  three "), ("{}", "one\ntwo\n\nthree\n"), ("{<\\n>}", "one<\n>two<\n><\n>three<\n>")):
            self.assertEqual(self.be("[${readsocket{inet:localhost:%d}{}{3s}%s}]" % (port, eol)), "[" + said + "]")

    def test_time(self):
        """A server that says nothing, or half of it: the time is that of the option, and the fifth argument stands in."""
        silent, half = self.plain(lambda s: "keep"), self.plain(lambda s: s.sendall(b"half") or "keep")
        for port in (silent, half):
            for tls in ("", ":tls=yes"):
                began = time.monotonic()
                self.assertEqual(self.be("${readsocket{inet:127.0.0.1:%d}{ask}{1s%s}{}{instead}}" % (port, tls), oracle=False), "instead")
                took = time.monotonic() - began
                if (port, tls) != (half, ":tls=yes"):  # which is no TLS
                    self.assertTrue(0.9 < took < 4, took)
        self.assertIn("timed out", self.be("${readsocket{inet:127.0.0.1:%d}{ask}{1s}}" % silent))

    def test_not_there(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
            self.assertTrue(self.be("${readsocket{inet:127.0.0.1:%d}{}{1s:tls=yes}}" % port).startswith("Failed"))
            self.assertEqual(self.be("${readsocket{inet:127.0.0.1:%d}{}{1s:tls=yes}{}{none}}" % port), "none")

    def test_mistakes(self):
        port = self.plain(lambda s: s.sendall(b"220 this is no TLS\r\n"))
        said = self.be("${readsocket{inet:127.0.0.1:%d}{}{3s:tls=yes}}" % port)
        self.assertIn("TLS", said)
        self.assertTrue(said.startswith("Failed"), said)
        self.assertTrue(self.be("${readsocket{inet:127.0.0.1:%d}{}{tls=yes}}" % port, oracle=False).startswith("Failed"))  # no time in front


class WithTls(Asking):
    """openssl s_server -WWW: gives a file to whoever asks for it, and closes."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        directory = tempfile.mkdtemp(prefix="sluice-readsocket-")
        cls.addClassCleanup(shutil.rmtree, directory)
        cls.ca = Authority(directory)
        cls.ca.certificate("host", "server.test")

    def openssl(self, *options):
        with open(self.ca.path("answer"), "w") as f:
            f.write("one\ntwo\n")
        with open(self.ca.path("large"), "w") as f:
            f.write("0123456789abcde\n" * 16384)
        log = open(self.ca.path("log"), "w+")
        process = subprocess.Popen(["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", "host.pem", "-key", "host.key", "-WWW", *options],
                                   cwd=self.ca.dir, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.addCleanup(log.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        text = lambda: pathlib.Path(self.ca.path("log")).read_text()
        return int(until(lambda: re.search(r"ACCEPT 127\.0\.0\.1:(\d+)", text()), lambda: "s_server: " + text()).group(1))

    def ask(self, port, host="127.0.0.1", name="answer", more="", **options):
        return self.be("${readsocket{inet:%s:%d}{GET /%s HTTP/1.0\\r\\n\\r\\n}{5s:tls=yes}%s}" % (host, port, name, more), **options)

    def test_versions(self):
        for options in ((), ("-tls1_2",), ("-tls1_3",)):
            said = self.ask(self.openssl(*options))
            self.assertTrue(said.startswith("HTTP/1.0 200") and said.endswith("one\ntwo"), said)

    def test_a_name(self):
        """The name is sent, so that the server can choose."""
        self.ca.certificate("other", "localhost")
        port = self.openssl("-servername", "localhost", "-cert2", "other.pem", "-key2", "other.key", "-servername_fatal")
        self.assertIn("one\ntwo", self.ask(port, "localhost", oracle=False))

    def test_large(self):
        said = self.ask(self.openssl(), name="large", more="{|}")
        self.assertEqual(said.count("0123456789abcde|"), 16384)

    def test_old_versions(self):
        port = self.openssl("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        self.assertIn("TLS", self.ask(port, oracle=False))
        self.assertEqual(self.ask(port, more="{}{instead}", oracle=False), "instead")

    def test_in_a_session(self):
        """It waits for the server on a fiber: another session goes on meanwhile."""
        silent = self.plain(lambda s: "keep")
        box = self.sluice(configuration("", """
begin acl
rcpt_acl:
  warn local_parts = slow
       set acl_m_x = ${readsocket{inet:127.0.0.1:%d}{}{3s:tls=yes}{}{gave up}}
  accept message = <$acl_m_x>
begin routers
begin transports
""" % silent))
        with box.client() as slow, box.client() as other:
            slow.ehlo()
            slow.expect("MAIL FROM:<>", 250)
            began = time.monotonic()
            slow.send("RCPT TO:<slow@test>\r\n")
            other.ehlo()
            other.expect("MAIL FROM:<>", 250)
            other.expect("RCPT TO:<quick@test>", 250)
            self.assertLess(time.monotonic() - began, 2)
            slow.wait(250, "<gave up>")


if __name__ == "__main__":
    unittest.main()
