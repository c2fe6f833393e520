"""Hostile clients: those that do not read, do not write, do not end, do not mean what they say, and come in numbers.

Each attack has three questions: is the reply the right one; does the worker's memory stay where it was; and is a
session alongside untouched, which sends a message of its own while the attack goes on.
"""
import os
import random
import re
import resource
import select
import socket
import threading
import time
import unittest

# The sanitizer keeps freed memory back; what is measured here is what the server holds.
os.environ.setdefault("ASAN_OPTIONS", "exitcode=99:quarantine_size_mb=4")

from harness import Client, Closed, SluiceTest, configuration, DEADLINE_S, POLICY, until  # noqa: E402

MB = 1 << 20
MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
ENVELOPE = b"MAIL FROM:<s@client.test>\r\nRCPT TO:<alice@test>\r\n"


def limits(text):
    """The usual configuration with these options, in place of its own where it has them."""
    usual = configuration()
    for line in text.splitlines():
        usual = re.sub(rf"^{line.split()[0]} = .*\n", "", usual, flags=re.M)
    return text + usual


class HostileTest(SluiceTest):
    def newcomer(self):
        return self.shared().client()

    def alongside(self):
        """Another session's whole transaction, in time."""
        began = time.monotonic()
        with self.newcomer() as client:
            client.ehlo()
            client.message(MESSAGE)
        self.assertLess(time.monotonic() - began, 10, "the others had to wait")

    def rss(self, server=None):
        with open(f"/proc/{(server or self.shared()).worker()}/status") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS"))

    def bounded(self, growth_mb):
        """Use as: with self.bounded(8): attack. The worker's memory, before the attack and at its height."""
        return Bounded(self, growth_mb)

    def client(self, **options):
        client = self.shared().client(**options)
        self.addCleanup(client.close)
        return client

    def assert_gone(self, client):
        """The server has ended the connection; how, and what it said before, does not matter."""
        try:
            while client.line():
                pass
        except (Closed, OSError):
            pass


class Bounded:
    def __init__(self, test, growth_mb):
        self.test, self.growth = test, growth_mb * MB

    def __enter__(self):
        self.test.alongside()  # once, so that what is made for the first message is there
        self.before = self.test.rss()
        return self

    def __exit__(self, kind, *_):
        if not kind:
            grown = self.test.rss() - self.before
            self.test.assertLess(grown, self.growth, f"the worker has grown by {grown / MB:.1f} MB")


class Slow(HostileTest):
    """Who does not read, or hardly writes."""

    config = limits("smtp_receive_timeout = 3s\nrecipients_max = 10\n")

    def push(self, client, data, total):
        """Sends until the other side takes no more; how much it was."""
        client.sock.setblocking(False)
        sent = 0
        while sent < total:
            _, writable, _ = select.select([], [client.sock], [], 1)
            if not writable:
                break
            try:
                sent += client.sock.send(data)
            except BlockingIOError:
                pass
            except OSError:
                break
        return sent

    def test_never_reads(self):
        """Replies pile up nowhere: the server stops reading commands, and then gives up."""
        with self.bounded(8):
            clients = [self.client() for _ in range(4)]
            for client in clients:
                client.ehlo()
                client.expect("MAIL FROM:<s@client.test>", 250)
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            for client in clients:
                sent = self.push(client, b"RCPT TO:<alice@test>\r\n" * 500, 64 * MB)
                self.assertLess(sent, 48 * MB, "commands were taken without end")
            self.alongside()
        for client in clients:
            client.sock.settimeout(DEADLINE_S)
            self.assert_gone(client)

    def test_command_never_ends(self):
        with self.client() as client:
            client.ehlo()
            with self.bounded(4):
                sent = 0
                try:
                    while sent < 64 * MB:
                        client.send(b"x" * 65536)
                        sent += 65536
                except OSError:
                    pass
                self.alongside()
            self.assertLess(sent, 64 * MB, "an endless command was read to no end")
        self.shared().wait_log("dropped: endless command line", "reject")

    def test_command_byte_by_byte(self):
        """Commands that come in pieces hold no buffers."""
        with self.bounded(8):
            clients = [self.client() for _ in range(20)]
            for line in b"EHLO client.test\r\n", b"MAIL FRO":
                for byte in line:
                    for client in clients:
                        client.send(bytes([byte]))
                for client in clients if line.endswith(b"\n") else ():
                    client.wait(250)
            self.alongside()
        clients[0].wait(421, "timeout")

    def test_body_byte_by_byte(self):
        """A packet a byte: what is held is the bytes, not the buffers that they came in."""
        client = self.client()
        client.ehlo()
        client.envelope()
        client.expect("DATA", 354)
        with self.bounded(8):
            for piece in range(10000):
                client.send(b"y" if piece % 70 else b"\r\n")
            self.alongside()
        client.send(b"\r\n.\r\n")
        client.wait(250)

    def test_bodies_that_stop(self):
        """Each keeps nearly as much in memory as one may, in small packets, and says no more."""
        clients = []
        for _ in range(60):
            client = self.client()
            client.ehlo()
            client.envelope()
            client.expect("DATA", 354)
            clients.append(client)
        packet = b"z" * 1198 + b"\r\n"
        for piece in range(400):
            for client in clients:
                client.send(packet)
            if piece % 100 == 99:
                self.alongside()
        self.assertLess(self.rss(), 500 * MB)
        for client in clients[:5]:
            client.send(b".\r\n")
            client.wait(250)


class Endless(HostileTest):
    config = limits("message_size_limit = 1M\nrecipients_max = 1000\nsmtp_max_synprot_errors = 3\n"
                    "smtp_max_unknown_commands = 5\n")

    def begin(self):
        client = self.client()
        client.ehlo()
        client.envelope()
        client.expect("DATA", 354)
        return client

    def pour(self, client, piece, total):
        for _ in range(total // len(piece)):
            client.send(piece)

    def test_data(self):
        client = self.begin()
        with self.bounded(16):
            self.pour(client, (b"w" * 998 + b"\r\n") * 64, 32 * MB)
            self.alongside()
        client.reset()
        self.assertEqual(0, self.shared().queue_count())

    def test_header_line(self):
        client = self.begin()
        with self.bounded(6):
            self.pour(client, b"x" * 65536, 16 * MB)
            self.alongside()
        client.send("\r\n\r\n.\r\n")
        client.wait(552, "5.3.4")
        client.message(MESSAGE)

    def test_header_section(self):
        client = self.begin()
        with self.bounded(10):
            self.pour(client, b"X: y\r\n" * 10000, 16 * MB)
            self.alongside()
        client.send("\r\n.\r\n")
        client.wait(552, "5.3.4")
        client.message(MESSAGE)

    def test_many_header_lines(self):
        """As many as fit into header_maxsize: taken or refused, but not at the others' cost."""
        client = self.begin()
        client.send(b"a:\r\n" * 200000)
        self.alongside()
        client.send("\r\n.\r\n")
        self.assertIn(client.reply().code, (250, 452, 552))
        client.message(MESSAGE)

    def test_chunks(self):
        """RFC 3030: endless chunks, tiny and empty."""
        client = self.client()
        client.ehlo()
        client.envelope()
        with self.bounded(6):
            for _ in range(100):
                client.send(b"BDAT 1\r\nx" * 100 + b"BDAT 0\r\n" * 20)
                for _ in range(120):
                    client.wait(250)
            self.alongside()
        client.expect("BDAT 2 LAST\r\n\r\n", 250, "OK id=")
        client.message(MESSAGE)

    def test_recipients(self):
        """100,000 in one transaction."""
        client = self.client()
        client.ehlo()
        client.expect("MAIL FROM:<s@client.test>", 250)
        codes = {}
        with self.bounded(6):
            for _ in range(100):
                client.send(b"RCPT TO:<alice@test>\r\n" * 1000)
                for _ in range(1000):
                    reply = client.reply()
                    codes[reply.code, reply.enhanced] = codes.get((reply.code, reply.enhanced), 0) + 1
            self.alongside()
        self.assertEqual({(250, "2.1.5"): 1000, (452, "4.5.3"): 99000}, codes)
        client.data(MESSAGE, 250)
        self.assertEqual(1, self.shared().log().count("too many recipients"), "one line a message")
        client.message(MESSAGE)

    def test_garbage(self):
        """Random bytes; HTTP; a TLS hello: nothing but refusals, and an end."""
        rng = random.Random(4711)
        for data in (rng.randbytes(MB), bytes(range(256)) * 100,
                     b"GET / HTTP/1.1\r\nHost: mx.test\r\nAccept: */*\r\nUser-Agent: x\r\n\r\n" * 10,
                     b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + rng.randbytes(512) + b"\r\n" * 10,
                     b"\r\n" * 1000, b"\0" * 100000 + b"\r\n" * 10, b"\xff\r\n" * 100):
            client = self.client()
            client.ehlo()
            try:
                client.send(data)
            except OSError:
                pass
            try:
                for _ in range(20):
                    reply = client.reply()
                    self.assertGreaterEqual(reply.code, 500, data[:20])
                    self.assertTrue(reply.text.isprintable() or "\n" in reply.text, reply)
                self.fail(f"still there after {data[:20]}")
            except Closed:
                pass
            self.alongside()

    def test_nul(self):
        client = self.client()
        client.ehlo()
        for line in ("NOOP\0", "\0NOOP", "MAIL FROM:<a\0@client.test>"):
            reply = client.cmd(line)
            self.assertIn(reply.code, (500, 501), line)
        client.envelope()
        client.data(b"Subject: a\0b\r\nX\0Y: z\r\n\r\nb\0dy\r\n")
        self.alongside()

    def test_replies_are_short_lines(self):
        """RFC 5321 section 4.5.3.1.5, whatever is told back; and nothing of it unprintable."""
        for command in ("MAIL FROM:<" + "x" * 9000 + "@client.test>", "MAIL FROM:<a@b> " + "Y" * 9000,
                        "MAIL FROM:<a\x1b[31m@client\x7f.test>", "MAIL FROM:<a@\udcff\udcfe.test>",
                        "HELO \x1b]0;x\x07", "MAIL FROM:<a\rb@client.test>"):
            client = self.client()
            client.ehlo()
            client.send(command + "\r\n")
            reply = client.reply()
            self.assertGreaterEqual(reply.code, 500, command[:30])
            for line in reply.lines:
                self.assertLessEqual(len(line), 510, command[:30])
                self.assertTrue(line.isprintable(), repr(line))


class HalfClosed(HostileTest):
    """A client that has said all it has to say may still listen (shutdown(2))."""

    def told(self, data):
        client = self.client()
        client.send(data)
        client.sock.shutdown(socket.SHUT_WR)
        codes = []
        try:
            while True:
                codes.append(client.reply().code)
        except Closed:
            return codes

    def test_after_commands(self):
        self.assertEqual([250], self.told(b"EHLO client.test\r\n"))
        self.assertEqual([250, 250], self.told(b"HELO client.test\r\n") + [250])
        self.assertEqual([221], self.told(b"QUIT\r\n"))

    def test_after_a_pipeline(self):
        client = self.client()
        client.ehlo()
        client.send(ENVELOPE + b"DATA\r\n")
        client.sock.shutdown(socket.SHUT_WR)
        self.assertEqual([250, 250, 354], [client.reply().code for _ in range(3)])
        client.closed()
        self.alongside()

    def test_after_the_dot(self):
        client = self.client()
        client.ehlo()
        client.envelope()
        client.expect("DATA", 354)
        client.send(b"Subject: half closed\r\n\r\nx\r\n.\r\n")
        client.sock.shutdown(socket.SHUT_WR)
        client.wait(250, "OK id=")
        client.closed()
        self.shared().wait_log("<= s@client.test")

    def test_after_a_chunk(self):
        client = self.client()
        client.ehlo()
        client.send(ENVELOPE + b"BDAT 20 LAST\r\nSubject: x\r\n\r\nhallo\n"[:-1] + b"\n")
        client.sock.shutdown(socket.SHUT_WR)
        codes = []
        try:
            while True:
                codes.append(client.reply().code)
        except Closed:
            pass
        self.assertEqual([250, 250], codes[:2])
        self.alongside()

    def test_in_the_middle(self):
        """What was not finished is not there."""
        for data in (ENVELOPE + b"DATA\r\nSubject: never\r\n\r\nx\r\n.\r", ENVELOPE + b"BDAT 100 LAST\r\nSubject: never\r\n\r\n",
                     ENVELOPE + b"DATA\r\nSubject: never\r\n\r\nx\r\n."):
            client = self.client()
            client.ehlo()
            client.send(data.split(b"Subject")[0] if b"DATA" in data else data)
            client.wait(250)
            client.wait(250)
            if b"DATA" in data:
                client.wait(354)
                client.send(b"Subject" + data.split(b"Subject")[1])
            client.sock.shutdown(socket.SHUT_WR)
            client.closed()
        self.alongside()
        self.assertEqual(0, self.shared().queue_count())
        self.assertFalse([m for m in self.shared().maildir() if b"never" in m])


class Resets(HostileTest):
    """RST instead of FIN, at every moment; and no connection is counted for ever."""

    config = limits("smtp_accept_max = 6\nsmtp_accept_max_per_host = 6\n")

    def newcomer(self):
        """A connection; the count of those that were reset goes down when the server has seen it."""
        return until(self.try_connect, "room for one more connection: one is still counted")

    def try_connect(self):
        try:
            return self.shared().client()
        except (AssertionError, Closed, OSError):
            return None

    def test_everywhere(self):
        steps = [b"", b"EHLO client.test\r\n", b"EHLO cl", ENVELOPE, ENVELOPE + b"DATA\r\n",
                 ENVELOPE + b"BDAT 1000\r\nSubject: never\r\n", ENVELOPE + b"BDAT 1000000000\r\n" + b"x" * 100000]
        for _ in range(4):
            for step in steps:
                client = self.newcomer()
                if step.startswith(b"MAIL"):
                    client.ehlo()
                client.send(step)
                client.reset()
        self.alongside()

    def test_middle_of_a_body(self):
        for size in (0, 10, 100_000, 2 * MB):
            client = self.newcomer()
            client.ehlo()
            client.envelope()
            client.expect("DATA", 354)
            client.send(b"Subject: never\r\n\r\n" + b"v" * size)
            client.reset()
            self.alongside()
        self.assertEqual(0, self.shared().queue_count())

    def test_while_committing(self):
        """The whole message, and gone: it may be kept or not, once, and nothing hangs."""
        for number in range(30):
            client = self.newcomer()
            client.ehlo()
            client.envelope(rcpts=("bob@test",))
            client.expect("DATA", 354)
            client.send(b"Subject: kept %d\r\n\r\nx\r\n.\r\n" % number)
            client.reset()
        self.alongside()
        until(lambda: self.shared().queue_count() == 0, "an empty queue")
        subjects = [m.partition(b"Subject: ")[2].partition(b"\n")[0] for m in self.shared().maildir("bob")]
        self.assertEqual(len(set(subjects)), len(subjects))

    def test_without_a_word(self):
        """Connections that are reset before the banner."""
        for _ in range(40):
            sock = socket.create_connection(("127.0.0.1", self.shared().port))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        self.newcomer().quit()
        self.alongside()


class Flood(SluiceTest):
    """More connections than one may have; two shards, which count together."""

    config = limits("shards = 2\nsmtp_accept_max = 12\nsmtp_accept_reserve = 4\nsmtp_reserve_hosts = 127.0.0.9\n"
                    "smtp_accept_max_per_host = ${if eq{$sender_host_address}{127.0.0.3}{3}{100}}\n"
                    "smtp_accept_queue = 6\nlog_selector = +connection_reject\n")

    def open(self, count, source):
        """So many connections; what the server said to each."""
        clients = [Client(self.shared().port, banner=False, source=source) for _ in range(count)]
        for client in clients:
            self.addCleanup(client.close)
        return clients, [client.reply() for client in clients]

    def close(self, clients):
        """Waits for the server's end of each."""
        for client in clients:
            try:
                client.sock.shutdown(socket.SHUT_WR)
                while client.sock.recv(4096):
                    pass
            except OSError:
                pass
            client.close()

    def codes(self, replies):
        return sorted(reply.code for reply in replies)

    def settled(self):
        """Nobody is counted any more: as many as may come in do."""
        def look():
            clients, replies = self.open(8, "127.0.0.1")
            self.close(clients)
            return self.codes(replies) == [220] * 8
        until(look, "all connections to be gone")

    def test_accept_max(self):
        self.settled()
        clients, replies = self.open(40, "127.0.0.9")
        self.assertEqual([220] * 12 + [421] * 28, self.codes(replies))
        for client, reply in zip(clients, replies):
            if reply.code == 421:
                self.assertIn("Too many concurrent SMTP connections", reply.text)
                client.closed()
        inside = [c for c, r in zip(clients, replies) if r.code == 220]
        inside[0].ehlo()
        inside[0].message(MESSAGE)  # who is in is served
        self.close(clients)
        self.settled()
        self.assertEqual(28, self.shared().log().count("[127.0.0.9] refused: too many connections\n"))

    def test_reserve(self):
        self.settled()
        clients, replies = self.open(20, "127.0.0.2")
        self.assertEqual([220] * 8 + [421] * 12, self.codes(replies))
        for client, reply in zip(clients, replies):
            if reply.code == 421:
                client.closed()  # its place is free when it is closed, not when it is told so
        more, replies = self.open(6, "127.0.0.9")
        self.assertEqual([220] * 4 + [421] * 2, self.codes(replies))
        self.close(clients + more)
        self.settled()

    def test_per_host(self):
        self.settled()
        clients, replies = self.open(5, "127.0.0.3")
        self.assertEqual([220] * 3 + [421] * 2, self.codes(replies))
        self.assertTrue(all("from this IP address" in r.text for r in replies if r.code == 421))
        others, replies = self.open(3, "127.0.0.4")
        self.assertEqual([220] * 3, self.codes(replies))
        others[0].ehlo()
        others[0].message(MESSAGE)
        self.close(clients + others)
        for _ in range(3):  # what was counted has been taken back
            self.settled()
            clients, replies = self.open(3, "127.0.0.3")
            self.assertEqual([220] * 3, self.codes(replies))
            self.close(clients)
        self.assertIn("too many connections from that IP address", self.shared().log())

    def test_accept_queue(self):
        """Past smtp_accept_queue messages are taken, and wait."""
        self.settled()
        clients, replies = self.open(8, "127.0.0.5")
        self.assertEqual([220] * 8, self.codes(replies))
        clients[0].ehlo()
        clients[0].message(MESSAGE, rcpts=("carol@test",))
        self.shared().wait_log(r"no immediate delivery: too many connections \(\d, max 6\)")
        self.close(clients)


class QueuePerConnection(SluiceTest):
    config = limits("smtp_accept_queue_per_connection = 2\n")

    def test_it(self):
        with self.shared().client() as client:
            client.ehlo()
            for _ in range(4):
                client.message(MESSAGE)
        self.shared().wait_mail(2)
        self.shared().wait_log("no immediate delivery: more than 2 messages received in one connection", count=2)
        self.assertEqual(2, self.shared().queue_count())


class Descriptors(HostileTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        limits_before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits_before[1]))
        try:
            cls.shared()  # inherits it
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits_before)

    def test_none_left(self):
        """EMFILE: who is there is served, who comes waits, and all is well when descriptors are free again."""
        worker = self.shared().worker()
        self.alongside()
        inside = self.client()
        inside.ehlo()
        waiting = []
        for _ in range(120):
            sock = socket.create_connection(("127.0.0.1", self.shared().port))
            self.addCleanup(sock.close)
            waiting.append(sock)
        self.shared().wait_log("accepting connections is paused")
        inside.envelope()
        inside.expect("DATA", 354)
        inside.send(MESSAGE + b".\r\n")
        self.assertIn(inside.reply().code, (250, 452))
        for sock in waiting:
            sock.close()
        with self.shared().client() as client:
            client.ehlo()
            client.message(MESSAGE)
        self.shared().run("-qff")
        until(lambda: self.shared().queue_count() == 0, "an empty queue")
        self.assertEqual(worker, self.shared().worker(), "the worker died of it")
        self.assertEqual(1, self.shared().log().count("accepting connections is paused"), "said once")


class Strict(HostileTest):
    """recipients_max_reject; the spool's reserves; lines too long for the next hop."""

    config = limits("recipients_max = 3\nrecipients_max_reject\n")

    def test_recipients_max_reject(self):
        """A message for too many is refused as a whole."""
        client = self.client()
        client.ehlo()
        client.envelope(rcpts=["alice@test"] * 3)
        for _ in range(3):
            reply = client.expect("RCPT TO:<alice@test>", 552, "too many recipients")
            self.assertEqual("5.5.3", reply.enhanced)
        reply = client.expect("DATA", 554, "[Tt]oo many recipients")
        self.assertEqual("5.5.3", reply.enhanced)
        client.expect("RCPT TO:<alice@test>", 503)
        client.envelope(rcpts=["alice@test"] * 3)
        client.expect("RCPT TO:<alice@test>", 552)
        client.expect("BDAT 14 LAST\r\nSubject: x\r\n\r\n", 554)
        client.expect("RCPT TO:<alice@test>", 503)
        client.message(MESSAGE)
        self.alongside()

    def test_spool_inodes(self):
        server = self.sluice(limits("check_spool_inodes = 2000000000\n"))
        with server.client() as client:
            client.ehlo()
            reply = client.expect("MAIL FROM:<s@client.test>", 452, "Space shortage")
            self.assertEqual("4.3.1", reply.enhanced)
            client.expect("RCPT TO:<alice@test>", 503)

    def test_line_for_the_next_hop(self):
        """message_linelength_limit of the smtp transport: such a message comes back."""
        sink = self.sink()
        server = self.sluice(configuration(), macros={"SINKPORT": str(sink.port)})
        with server.client() as client:
            client.ehlo()
            client.message(b"Subject: long\r\n\r\n" + b"l" * 2000 + b"\r\n", sender="alice@test", rcpts=("x@elsewhere.test",))
            client.message(b"Subject: good\r\n\r\n" + b"l" * 998 + b"\r\n", sender="alice@test", rcpts=("x@elsewhere.test",))
        self.assertEqual(1, len(sink.wait(1)))
        bounce, = server.wait_mail(1)
        self.assertIn(b"too long", bounce)


class Variables(SluiceTest):
    """$acl_c is set by every recipient, and the connection goes on."""

    config = configuration("recipients_max = 100000\n", POLICY.replace(
        "rcpt_acl:\n", "rcpt_acl:\n  warn set acl_c_last = $local_part\n       set acl_c_count = ${eval10:0$acl_c_count+1}\n"
                       "  deny local_parts = last\n       message = $acl_c_count after $acl_c_last\n"))

    def test_ten_thousand_values(self):
        with self.shared().client() as client:
            client.ehlo()
            client.expect("MAIL FROM:<s@client.test>", 250)
            rcpt = f"RCPT TO:<{'v' * 200}@elsewhere.test>\r\n"
            for _ in range(20):
                client.send(rcpt * 500)
                for _ in range(500):
                    client.wait(250)
            client.expect("RCPT TO:<last@elsewhere.test>", 550, "10001 after last")


class Modes(SluiceTest):
    """What is made has the mode that its option says, whoever starts us with whatever umask."""

    policy = (POLICY.replace("  maildir_format\n  directory = DIR/mail/$local_part_data\n",
                             "  maildir_format\n  directory = DIR/mail/$local_part_data\n  mode = 0644\n  directory_mode = 0775\n")
              .replace("begin transports\n", "begin transports\nmbox:\n  driver = appendfile\n  file = DIR/mail/mbox\n"
                                             "  mode = 0664\n  user = USER\n")
              .replace("begin routers\n", "begin routers\nmbox:\n  driver = accept\n  local_parts = mbox\n  transport = mbox\n"))

    def made(self, umask):
        before = os.umask(umask)
        try:
            server = self.sluice(configuration("", self.policy))
        finally:
            os.umask(before)
        with server.client() as client:
            client.ehlo()
            client.message(MESSAGE, rcpts=("alice@test", "mbox@test"))
            client.expect("MAIL FROM:<a\x01@b>", 501)
        server.wait_mail(1)
        server.wait_log("Completed")
        modes = {}
        for where, folders, files in os.walk(server.dir):
            for name in folders + files:
                path = os.path.join(where, name)
                shown = re.sub(r"[0-9]+[.-][^/]*$", "N", os.path.relpath(path, server.dir))
                modes[shown] = oct(os.lstat(path).st_mode & 0o7777)
        return {name: mode for name, mode in modes.items() if name not in ("config", "stderr", "log", "mail")}

    def test_umask(self):
        wide, narrow = self.made(0), self.made(0o077)
        self.assertEqual(wide, narrow)
        for name, mode in (("spool", "0o750"), ("spool/segments", "0o750"), ("spool/segments/N", "0o640"), ("spool/db", "0o750"),
                           ("spool/lock", "0o640"), ("spool/control", "0o666"), ("log/main", "0o640"), ("pid", "0o644"),
                           ("mail/mbox", "0o664"), ("mail/alice", "0o775"), ("mail/alice/new", "0o775"),
                           ("mail/alice/new/N", "0o644")):
            self.assertEqual(mode, wide.get(name), f"{name} of {wide}")
        self.assertFalse([name for name in wide if name.startswith("spool/db/") and wide[name] != "0o640"], wide)


if __name__ == "__main__":
    unittest.main()
