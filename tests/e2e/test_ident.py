"""rfc1413_hosts: the client's host is asked which of its users made the connection. The service has a fixed port (113), so each test
takes a loopback address of its own; the sad ways first: nobody there, silence, nonsense, somebody else's ports."""
import os
import random
import re
import socket
import threading
import unittest

from harness import Client, SluiceTest, configuration
from test_log_sessions import HELLO, CLOSE, ABORT, Side, exim, message
import test_log_sessions

MAIN = """
rfc1413_hosts = ! 127.113.0.0/24 : *
rfc1413_query_timeout = 2s
queue_only
log_selector = +ident_timeout +smtp_connection +incoming_port +lost_incoming_connection +smtp_incomplete_transaction +smtp_no_mail
acl_smtp_connect = connect_acl
"""
POLICY = """
begin acl
connect_acl:
  accept logwrite = at connect: <$sender_ident>
rcpt_acl:
  deny domains = denied.test
  accept
begin routers
all:
  driver = redirect
  data = :blackhole:
"""


def may_listen():
    try:
        socket.create_server(("127.113.255.1", 113)).close()
    except OSError:
        return False
    return True


class Ident:
    """The service of one host. answer(question): what it says; None: nothing, and the connection ends; "mute": it stays silent."""

    def __init__(self, test, answer, third=None):
        self.answer, self.questions, self.held = answer, [], []
        for _ in range(50):
            self.address = "127.113.%d.%d" % (random.randint(1, 254) if third is None else third, random.randint(1, 254))
            try:
                self.listener = socket.create_server((self.address, 113))
                break
            except OSError:
                continue
        test.addCleanup(self.close)
        threading.Thread(target=self.serve, daemon=True).start()

    def close(self):
        self.listener.close()
        for sock in self.held:
            sock.close()

    def serve(self):
        while True:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            question = sock.makefile("rb").readline()
            self.questions.append((peer[0], question))
            if self.answer == "mute":
                self.held.append(sock)
                continue
            if self.answer:
                said = self.answer(question.decode().strip()).encode("latin-1")
                for i in range(0, len(said), 7):
                    sock.sendall(said[i:i + 7])
            sock.close()


@unittest.skipUnless(may_listen(), "port 113 is for root")
class IdentTest(SluiceTest):
    config = configuration(MAIN, POLICY)

    def arrival(self, ident):
        """The line about a message of a client at this address, and what the connect ACL saw."""
        with Client(self.shared().port, source=ident.address) as client:
            port = client.sock.getsockname()[1]
            client.ehlo()
            client.message("Subject: x\r\n\r\nbody\r\n", rcpts=("x@test",))
            client.quit()
        log = self.shared().wait_log(r"<= .*\[%s\]:%d" % (re.escape(ident.address), port))
        lines = log.split("\n")
        line = next(l for l in lines if " <= " in l and f"[{ident.address}]:{port}" in l)
        start = next(i for i, l in enumerate(lines) if f"from [{ident.address}]:{port} " in l)
        seen = next(l for l in lines[start:] if "at connect: " in l)
        return line, re.search("<(.*)>", seen).group(1)

    def test_who_is_no_answer(self):
        for answer in (None, lambda q: "", lambda q: "\r\n", lambda q: q + " : ERROR : NO-USER\r\n", lambda q: "1 , 2 : USERID : UNIX : joe\r\n",
                       lambda q: q.replace(" , ", ",") + "USERID:UNIX:joe\r\n", lambda q: q + " : USERID : joe\r\n",
                       lambda q: q + " : USERID : UNIX :  \r\n", lambda q: q + " : USERID : UNIX : " + "x" * 5000,
                       lambda q: "9" * 30 + q + ":USERID:UNIX:joe\r\n", lambda q: q + " : USERID : UNIX : joe"):
            ident = Ident(self, answer)
            line, seen = self.arrival(ident)
            self.assertEqual(seen, "")
            self.assertNotIn(" U=", line)

    def test_nobody_there(self):
        ident = Ident(self, None)
        ident.listener.close()
        line, seen = self.arrival(ident)
        self.assertEqual(seen, "")

    def test_silence(self):
        """It costs its client the timeout, and nobody else anything."""
        ident = Ident(self, "mute")
        waiting = Client(self.shared().port, source=ident.address, banner=False)
        self.addCleanup(waiting.close)
        with self.shared().client() as other:
            other.ehlo()
            other.quit()
        waiting.wait(220)
        self.shared().wait_log(r"ident connection to \[%s\]:\d+ timed out" % re.escape(ident.address))

    def test_hosts_that_are_not_asked(self):
        ident = Ident(self, lambda q: q + " : USERID : UNIX : joe\r\n", third=0)
        line, seen = self.arrival(ident)
        self.assertEqual((seen, ident.questions), ("", []))

    def test_answers(self):
        for answer, user in ((" : USERID : UNIX : joe\r\n", "joe"), (":userid:OTHER,US-ASCII:joe doe \n", "joe doe"),
                             (" : USERID : UNIX : a:b\r\n", "a:b"), (" : USERID : UNIX : j\xe4\x01\r\n", r"j\\344\\001"),
                             (" : USERID : UNIX : " + "x" * 300 + "\r\n", "x" * 127)):
            ident = Ident(self, lambda q, answer=answer: q + answer)
            line, seen = self.arrival(ident)
            user = user.replace("\\\\", "\\")
            self.assertEqual(seen, user)
            self.assertIn(f" U={user} P=esmtp", line)
            address, question = ident.questions[0]
            self.assertEqual(address, "127.0.0.1")
            self.assertRegex(question, rb"^\d+ , %d\r\n$" % self.shared().port)

    def test_received_line(self):
        ident = Ident(self, lambda q: q + " : USERID : UNIX : joe\r\n")
        self.arrival(ident)
        server = self.shared()
        shown = server.run("-Mvh", server.queue_ids()[-1]).out
        self.assertIn(f"from [{ident.address}] (port=", shown)
        self.assertIn("ident=joe)", shown)
        self.assertIn("-ident joe", shown)

    @unittest.skipUnless(exim(), "no Exim here")
    def test_lines_beside_exim(self):
        """Where U= stands and where it does not, for connections that end in any way."""
        ident = Ident(self, lambda q: q + " : USERID : UNIX : joe\r\n")
        sessions = {"message": HELLO + message() + ["QUIT"], "gone": HELLO + [CLOSE], "reset": HELLO + ["MAIL FROM:<s@s.test>", ABORT],
                    "refused": HELLO + ["MAIL FROM:<s@s.test>", "RCPT TO:<a@denied.test>", "QUIT"],
                    "in data": HELLO + ["MAIL FROM:<s@s.test>", "RCPT TO:<alice@test>", "DATA", CLOSE],
                    "bad": HELLO + ["FOO", "BAR", "FOO", "FOO"], "syntax": HELLO + ["MAIL FROM:<a", "QUIT"],
                    "no helo": ["MAIL FROM:<a@b.test>", "QUIT"]}
        main = test_log_sessions.MAIN
        self.addCleanup(setattr, test_log_sessions, "MAIN", main)
        test_log_sessions.MAIN = main.replace("rfc1413_query_timeout = 0s", "rfc1413_hosts = *\nrfc1413_query_timeout = 5s")
        found = []
        for program in (exim(), test_log_sessions.SLUICE):
            side = Side(self, program)
            side.source = ident.address
            for name, script in sessions.items():
                side.talk(name, script)
            test_log_sessions.until(side.ended, lambda side=side: side.log("main")[-3000:], 30)
            found.append(side.lines())
        for name in sessions:
            with self.subTest(name):
                self.assertTrue(found[0][name])
                self.assertEqual(*(sorted(lines[name]) for lines in found))


if __name__ == "__main__":
    unittest.main()
