"""socks_proxy: mail that leaves through a SOCKS5 proxy (RFC 1928, 1929). A proxy in this file, which does and says what a
test wants; the sad ways first: one that is away, silent, refuses, wants a password, talks nonsense or breaks off."""
import os
import re
import socket
import struct
import subprocess
import threading
import unittest

from harness import DEADLINE_S, Sink, SluiceTest, configuration
from test_transports import exim

BODY = "Subject: hello\r\nFrom: s@client.test\r\n\r\ntext\r\n"

POLICY = """
begin acl
rcpt_acl:
  accept
begin routers
sinkhole:
  driver = manualroute
  transport = smtp
  route_list = * 127.0.0.1
  self = send
begin transports
smtp:
  driver = smtp
  port = SINKPORT
  allow_localhost
  hosts_try_fastopen = :
  connect_timeout = 10s
  socks_proxy = PROXIES
begin retry
* * F,2h,15m
"""


class Proxy:
    """One SOCKS5 proxy. Its answers can be changed: method (the byte it chooses), auth (RFC 1929's status), reply (REP of the
    answer to CONNECT), raw (bytes instead of the answer), stop_at (a step at which it hangs up), mute_at (is silent)."""

    def __init__(self, user=None, address="127.0.0.1", **how):
        self.user, self.how = user, how
        self.asked = []     # (user and password or None, address, port)
        self.connections = 0
        self.held = []
        self.listener = socket.create_server((address, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for sock in self.held:
            sock.close()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def step(self, name, sock):
        """May the conversation go on?"""
        if self.how.get("mute_at") == name:
            self.held.append(sock)
            raise TimeoutError
        if self.how.get("stop_at") == name:
            raise ConnectionError

    def serve(self, sock):
        file = sock.makefile("rb")
        try:
            self.conversation(sock, file)
        except TimeoutError:
            return
        except (OSError, ConnectionError, IndexError, struct.error):
            pass
        sock.close()

    @staticmethod
    def take(file, count):
        got = file.read(count)
        if len(got) < count:
            raise ConnectionError
        return got

    def conversation(self, sock, file):
        self.step("hello", sock)
        version, count = self.take(file, 2)
        methods = file.read(count)
        wanted = 2 if self.user else 0
        chosen = self.how.get("method", wanted if version == 5 and wanted in methods else 0xff)
        sock.sendall(bytes((self.how.get("version", 5), chosen)))
        who = None
        if chosen == 2:
            self.step("auth", sock)
            version, length = self.take(file, 2)
            name = file.read(length)
            password = file.read(file.read(1)[0])
            who = (name.decode(), password.decode())
            status = self.how.get("auth", 0 if who == self.user and version == 1 else 1)
            sock.sendall(bytes((1, status)))
            if status:
                return
        self.step("connect", sock)
        version, command, reserved, kind = self.take(file, 4)
        family = {1: socket.AF_INET, 4: socket.AF_INET6}[kind]
        address = socket.inet_ntop(family, file.read(4 if kind == 1 else 16))
        port, = struct.unpack("!H", file.read(2))
        self.asked.append((who, address, port))
        if "raw" in self.how:
            sock.sendall(self.how["raw"])
            return
        reply = self.how.get("reply", 0)
        if reply:
            sock.sendall(bytes((5, reply, 0, 1)) + bytes(6))
            return
        onward = socket.create_connection((address, port))
        bound = onward.getsockname()
        answer = bytes((5, 0, 0, 1)) + socket.inet_aton(bound[0]) + struct.pack("!H", bound[1])
        answer = self.how.get("answer", answer)
        if self.how.get("slowly"):
            for byte in answer:
                sock.sendall(bytes((byte,)))
        elif self.how.get("together"):  # the banner comes with the proxy's answer
            answer += onward.recv(4096)
            sock.sendall(answer)
        else:
            sock.sendall(answer)
        back = threading.Thread(target=self.pump, args=(onward, sock), daemon=True)
        back.start()
        self.pump(sock, onward)
        back.join()
        onward.close()

    @staticmethod
    def pump(source, target):
        try:
            while True:
                piece = source.recv(65536)
                if not piece:
                    break
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Socks(SluiceTest):
    def proxy(self, **how):
        proxy = Proxy(**how)
        self.addCleanup(proxy.close)
        return proxy

    def begin(self, proxies, main="", script=None):
        self.host = self.sink(script)
        return self.sluice(configuration("log_selector = +proxy\n" + main, POLICY),
                           macros={"SINKPORT": str(self.host.port), "PROXIES": proxies})

    def send(self, server, count=1):
        with server.client() as client:
            client.ehlo()
            for _ in range(count):
                client.message(BODY, rcpts=("x@sink.test",))
            client.quit()

    def deferred(self, proxies, pattern, **how):
        """The message waits, for this reason, and the host has not heard of it."""
        server = self.begin(proxies, **how)
        self.send(server)
        log = server.wait_log(r" == x@sink\.test ")
        number, words = pattern
        self.assertRegex(log, r" == x@sink\.test .*defer \(%d\)" % number)
        self.assertRegex(log, words)
        self.assertEqual((self.host.messages, self.host.sessions), ([], []))
        self.assertNotIn("secret", log + server.log("panic"))
        self.assertEqual(server.queue_count(), 1)
        return server

    def delivered(self, proxies, **how):
        server = self.begin(proxies, **how)
        self.send(server)
        self.host.wait()
        return server.wait_log(r" => x@sink\.test ")

    # ---- The sad ways ----------------------------------------------------------------------------------------------

    def test_no_proxy_there(self):
        closed = socket.create_server(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        closed.close()
        self.deferred(f"127.0.0.1 port={port}", (111, r"SOCKS proxy \[127\.0\.0\.1\]:%d: Connection refused" % port))

    def test_silent_proxy(self):
        """Its own limit is kept; other work goes on meanwhile."""
        proxy = self.proxy(mute_at="hello")
        self.deferred(f"127.0.0.1 port={proxy.port} tmo=1", (110, r"SOCKS proxy .*Connection timed out"))

    def test_silent_behind_the_method(self):
        """The transport's connect_timeout is the limit for all."""
        proxy = self.proxy(mute_at="connect")
        server = self.begin(f"127.0.0.1 port={proxy.port} tmo=1")
        server.write_config(configuration("log_selector = +proxy\n", POLICY.replace("connect_timeout = 10s",
                                                                                  "connect_timeout = 1s")))
        server.kill()
        server.start()
        self.send(server)
        server.wait_log(r" == x@sink\.test .*defer \(110\): Connection timed out .*SOCKS proxy ")

    def test_hangs_up(self):
        for step in ("hello", "connect"):
            with self.subTest(step):
                proxy = self.proxy(stop_at=step)
                self.deferred(f"127.0.0.1 port={proxy.port}", (104, r"Connection reset by peer"))

    def test_every_refusal(self):
        """RFC 1928 section 6: the numbers and words are those of Exim."""
        words = {1: (5, "Input/output error"), 2: (13, "Permission denied"), 3: (101, "Network is unreachable"),
                 4: (113, "No route to host"), 5: (111, "Connection refused"), 6: (125, "Operation canceled"),
                 7: (95, "Operation not supported"), 8: (97, "Address family not supported by protocol"),
                 99: (71, "Protocol error")}
        proxy, other = self.proxy(), self.proxy()
        server = self.begin(f"127.0.0.1 port={proxy.port} pri=2 : 127.0.0.1 port={other.port}")
        for reply, (number, text) in words.items():
            proxy.how["reply"] = reply
            self.send(server)
            server.run("-qff")
            server.wait_log(r" == x@sink\.test .*defer \(%d\): %s .*SOCKS proxy " % (number, text))
        self.assertEqual(other.connections, 0, "one has answered: the others are not asked")
        self.assertEqual(self.host.sessions, [])

    def test_not_a_proxy(self):
        for raw in (b"HTTP/1.0 400 no\r\n\r\n", b"\x05\x00\x00\x09xxxxxxxx", b"\x04\x00\x00\x01xxxxxxxx"):
            with self.subTest(raw):
                proxy = self.proxy(raw=raw)
                self.deferred(f"127.0.0.1 port={proxy.port}", (71, r"makes no sense"))
        proxy = self.proxy(version=4)
        self.deferred(f"127.0.0.1 port={proxy.port}", (71, r"this is no SOCKS5 proxy"))

    def test_password(self):
        proxy = self.proxy(user=("me", "secret"))
        for options, pattern in (("auth=name name=me pass=secretive", (13, r"authentication failed")),
                                 ("", (71, r"the authentication method is refused"))):
            with self.subTest(options):
                self.deferred(f"127.0.0.1 port={proxy.port} {options}", pattern)
        self.delivered(f"127.0.0.1 port={proxy.port} auth=name name=me pass=secret")
        self.assertEqual(proxy.asked[-1], (("me", "secret"), "127.0.0.1", self.host.port))

    def test_malformed_options(self):
        for text, pattern in (("nonsense", "not an IP address"), ("127.0.0.1 prt=1", 'unknown setting or value of "prt"'),
                              ("127.0.0.1 port=99999", 'of "port"'), ("127.0.0.1 auth=x", 'of "auth"'),
                              ("127.0.0.1 secret", 'of "secret"'), (":", "names no proxy"),
                              ("127.0.0.1 pass=" + "secret" * 50, 'of "pass"'), ("${if eq{a}{b}{c}", "syntax error"),
                              (" : ".join(["127.0.0.1"] * 65), "more than 64")):
            with self.subTest(text):
                server = self.begin(text)
                self.send(server)
                log = server.wait_log(r" == x@sink\.test ")
                self.assertRegex(log, pattern)
                self.assertEqual(self.host.sessions, [])
                server.kill()

    # ---- The good ways ---------------------------------------------------------------------------------------------

    def test_through_it(self):
        proxy = self.proxy()
        log = self.delivered(f"127.0.0.1 port={proxy.port}")
        self.assertRegex(log, r"=> x@sink\.test R=sinkhole T=smtp H=127\.0\.0\.1 \[127\.0\.0\.1\] PRX=\[127\.0\.0\.1\] C=")
        self.assertEqual(proxy.asked, [(None, "127.0.0.1", self.host.port)])

    def test_ports_are_logged(self):
        proxy = self.proxy(address="127.0.0.5")
        server = self.sluice(configuration("log_selector = +proxy +outgoing_port\n", POLICY),
                             macros={"SINKPORT": str(self.sink().port), "PROXIES": f"127.0.0.5 port={proxy.port}"})
        self.send(server)
        server.wait_log(r"\[127\.0\.0\.1\]:\d+ PRX=\[127\.0\.0\.5\]:%d C=" % proxy.port)

    def test_any_bound_address_byte_by_byte(self):
        """What the proxy says of itself may be IPv6 or a name, and may come in pieces, or with the host's greeting."""
        for answer in (bytes((5, 0, 0, 4)) + bytes(18), b"\x05\x00\x00\x03\x05abcde\x01\x02", b"\x05\x00\x00\x03\x00\x01\x02"):
            for how in ({"slowly": True}, {"together": True}):
                with self.subTest((answer, how)):
                    proxy = self.proxy(answer=answer, **how)
                    self.delivered(f"127.0.0.1 port={proxy.port}")

    def test_priority_and_weight(self):
        """The higher priority first; one that is away leaves its turn to the next."""
        away = self.proxy()
        away.close()
        mute, low, high = self.proxy(mute_at="hello"), self.proxy(), self.proxy()
        server = self.begin(f"127.0.0.1 port={low.port} : 127.0.0.1 port={high.port} pri=3 : "
                            f"127.0.0.1 port={mute.port} pri=4 tmo=1 : 127.0.0.1 port={away.port} pri=5 weight=7")
        self.send(server)
        self.host.wait()
        self.assertEqual((mute.connections, high.connections, low.connections), (1, 1, 0))

    def test_weighted_chance(self):
        one, two = self.proxy(), self.proxy()
        host = self.sink()
        server = self.sluice(configuration("", POLICY.replace("allow_localhost", "allow_localhost\n  connection_max_messages = 1")),
                             macros={"SINKPORT": str(host.port),
                                     "PROXIES": f"127.0.0.1 port={one.port} weight=3 : 127.0.0.1 port={two.port} weight=3"})
        self.send(server, count=30)
        host.wait(30)
        self.assertEqual(one.connections + two.connections, 30)
        self.assertTrue(one.connections and two.connections, "one in 2^29 runs is unlucky")

    def test_connections_are_kept(self):
        """The pool has no connection of another proxy, and the one there is serves the next message."""
        proxy = self.proxy()
        server = self.begin(f"127.0.0.1 port={proxy.port}")
        self.send(server, count=3)
        self.host.wait(3)
        server.wait_log(r" => x@sink\.test .*PRX=\[127\.0\.0\.1\]", count=3)
        self.assertLessEqual(proxy.connections, 3)

    def test_callout(self):
        """verify = recipient/callout goes the same way."""
        proxy = self.proxy()
        policy = POLICY.replace("  accept\nbegin routers", "  require verify = recipient/callout=10s,no_cache\n  accept\nbegin routers")
        sink = self.sink()
        server = self.sluice(configuration("", policy), macros={"SINKPORT": str(sink.port),
                                                                "PROXIES": f"127.0.0.1 port={proxy.port}"})
        with server.client() as client:
            client.ehlo()
            client.envelope(rcpts=("x@sink.test",))
            self.assertEqual(proxy.asked, [(None, "127.0.0.1", sink.port)])
            client.quit()

    def test_beside_exim(self):
        """The same proxies, good and bad: the same hosts are reached, with the same errors."""
        program = exim()
        if not program:
            self.skipTest("no Exim here")
        good, refusing = self.proxy(), self.proxy(reply=4)
        locked = self.proxy(user=("me", "secret"))
        for proxies in (f"127.0.0.1 port={good.port}", f"127.0.0.1 port={refusing.port}",
                        f"127.0.0.1 port={locked.port} auth=name name=me pass=secret",
                        f"127.0.0.1 port={locked.port} auth=name name=me pass=x",
                        f"127.0.0.1 port=1 pri=9 : 127.0.0.1 port={good.port}"):
            with self.subTest(proxies):
                server = self.begin(proxies)
                self.send(server)
                ours = re.search(r" (=>|==) x@sink\.test .*?(defer \(\d+\)|PRX=\S+)",
                                 server.wait_log(r" (=>|==) x@sink\.test "))
                other = self.sluice(configuration(f"exim_path = {program}\nlog_selector = +proxy\n",
                                                  POLICY).replace("shards = 1\n", ""),
                                    macros={"SINKPORT": str(self.host.port), "PROXIES": proxies}, start=False)
                os.makedirs(other.dir + "/spool", exist_ok=True)
                for name in ("spool", "log"):
                    os.chmod(os.path.join(other.dir, name), 0o777)
                said = subprocess.run([program, "-C", other.config_file, "-odi", "-f", "s@client.test", "x@sink.test"],
                               input=BODY.encode(), capture_output=True, timeout=DEADLINE_S)
                theirs = re.search(r" (=>|==) x@sink\.test .*?(defer \(\d+\)|PRX=\S+)", other.log() + said.stderr.decode())
                self.assertEqual(ours.groups(), theirs.groups() if theirs else None, other.log() + repr(said))


if __name__ == "__main__":
    unittest.main()
