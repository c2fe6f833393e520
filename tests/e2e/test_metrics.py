"""Metrics: over the control socket and over HTTP, in the text format of Prometheus; and what collectors may do wrong."""
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

from authority import Authority
from harness import SluiceTest, Client, configuration, until

SAMPLE = re.compile(r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>[^}]*)\})? (?P<value>-?[0-9]+(?:\.[0-9]+)?)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(?:,|$)')


def parse(text):
    """{(name, ((label, value), ...)): number}; strict: what is not as the format's description says is an error."""
    if not text.endswith("\n"):
        raise AssertionError("the last line has no end")
    types, samples, family, heads = {}, {}, None, []
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            if family in heads:
                raise AssertionError(f"{family} comes twice")
            heads.append(family)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            if name != family or name in types or kind not in ("counter", "gauge"):
                raise AssertionError(line)
            if (kind == "counter") != name.endswith("_total"):
                raise AssertionError(f"{name} is called as what it is not")
            types[name] = kind
        else:
            found = SAMPLE.fullmatch(line)
            if not found or found["name"] != family or family not in types or not family.startswith("sluice_"):
                raise AssertionError(f"no sample of {family}: {line!r}")
            labels = found["labels"] or ""
            pairs = LABEL.findall(labels)
            if sum(len(m.group(0)) for m in LABEL.finditer(labels)) != len(labels):
                raise AssertionError(f"labels: {line!r}")
            key = (family, tuple(sorted(pairs)))
            if key in samples:
                raise AssertionError(f"twice: {line!r}")
            if types[family] == "counter" and found["value"].startswith("-"):
                raise AssertionError(line)
            samples[key] = float(found["value"])
    return samples


def http(port, request=b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", source=None):
    """The whole answer."""
    with socket.socket() as s:
        s.settimeout(30)
        if source:
            s.bind((source, 0))
        s.connect(("127.0.0.1", port))
        answer = b""
        try:
            s.sendall(request)
            while True:
                more = s.recv(65536)
                if not more:
                    return answer
                answer += more
        except (ConnectionResetError, BrokenPipeError):  # it need not read what it does not want
            return answer


class MetricsTest(SluiceTest):
    def served(self, main="", listen="127.0.0.1:0", config=None, **options):
        server = self.sluice(config or configuration(main=f"metrics_listen = {listen}\n{main}"), **options)
        log = server.wait_log(r"metrics are served on \[127\.0\.0\.1\]:\d+")
        server.metrics_port = int(re.search(r"metrics are served on \[127\.0\.0\.1\]:(\d+)", log).group(1))
        return server

    def scrape(self, server, **options):
        head, _, body = http(server.metrics_port, **options).partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"), head)
        self.assertIn(b"content-type: text/plain; version=0.0.4; charset=utf-8", head.lower())
        return parse(body.decode())

    def value(self, server, name, samples=None, **labels):
        samples = samples or self.scrape(server)
        return samples[(name, tuple(sorted(labels.items())))]

    def wait_value(self, server, wanted, name, **labels):
        until(lambda: self.value(server, name, **labels) == wanted,
              lambda: f"{name}{labels} to be {wanted}; it is {self.value(server, name, **labels)}")


class Mail(MetricsTest):
    def test_values_move_with_the_mail(self):
        server = self.served(main="queue_run_in_order\n")
        before = self.scrape(server)
        self.assertEqual(1, self.value(server, "sluice_build_info", before, version=self.version()))
        self.assertEqual(0, self.value(server, "sluice_messages_received_total", before))
        self.assertGreater(self.value(server, "sluice_process_resident_memory_bytes", before), 1 << 20)
        with server.client() as c:
            c.ehlo()
            self.assertEqual(1, self.value(server, "sluice_smtp_sessions"))
            c.message("Subject: x\r\n\r\nhello\r\n")
            c.expect("MAIL FROM:<s@client.test>", 250)
            c.expect("RCPT TO:<refused@test>", 550)
            c.expect("RSET", 250)
            c.message("Subject: x\r\n\r\nhello\r\n", rcpts=("u@elsewhere.test",))  # nobody listens on port 1
            c.expect("NONSENSE", 500)
            c.quit()
        server.wait_mail()
        server.wait_log("== u@elsewhere.test")
        self.wait_value(server, 1, "sluice_deliveries_total", result="delivered")
        self.wait_value(server, 1, "sluice_deliveries_total", result="deferred")
        self.wait_value(server, 0, "sluice_smtp_sessions")
        after = self.scrape(server)
        for wanted, name, labels in (
                (0, "sluice_deliveries_total", {"result": "failed"}), (2, "sluice_messages_received_total", {}),
                (1, "sluice_messages_completed_total", {}), (1, "sluice_queue_messages", {}), (0, "sluice_queue_deliveries", {}),
                (1, "sluice_smtp_rejected_total", {"at": "rcpt"}), (0, "sluice_smtp_rejected_total", {"at": "data"})):
            self.assertEqual(wanted, self.value(server, name, after, **labels), (name, labels))
        # The spool: two messages, in two groups at least, and nothing was there before.
        self.assertEqual(2, self.value(server, "sluice_spool_commits_total", after))
        groups = self.value(server, "sluice_spool_groups_total", after, result="ok")
        self.assertGreaterEqual(groups, 2)
        self.assertEqual(0, self.value(server, "sluice_spool_groups_total", after, result="failed"))
        self.assertGreaterEqual(self.value(server, "sluice_spool_written_bytes_total", after), 4096 * groups)
        self.assertEqual(1, self.value(server, "sluice_spool_segments", after, state="used"))
        for name in ("sluice_spool_waiting", "sluice_spool_recovered_messages", "sluice_spool_recovered_damages"):
            self.assertEqual(0, self.value(server, name, after), name)
        # Hints: when the host can be tried again was looked for, and remembered.
        self.assertGreaterEqual(self.value(server, "sluice_hints_lookups_total", after, result="none"), 1)
        self.assertEqual(0, self.value(server, "sluice_hints_lookups_total", after, result="deferred"))
        self.assertEqual(1 << 30, self.value(server, "sluice_hints_size_bytes", after))
        until(lambda: self.value(server, "sluice_hints_changes_total", result="written") > 0, "a hint")
        late = self.scrape(server)
        self.assertGreaterEqual(self.value(server, "sluice_hints_commits_total", late, result="ok"), 1)
        self.assertGreater(self.value(server, "sluice_hints_used_bytes", late), 0)
        for result in ("failed", "full"):
            self.assertEqual(0, self.value(server, "sluice_hints_changes_total", late, result=result))
        self.assertGreaterEqual(self.value(server, "sluice_smtp_errors_total", after), 1)
        self.assertGreaterEqual(self.value(server, "sluice_messages_received_bytes_total", after), 14)
        self.assertGreater(self.value(server, "sluice_shard_loops_total", after, shard="0"), 0)
        for key, number in before.items():
            if key[0].endswith("_total"):
                self.assertGreaterEqual(after[key], number, key)
        # Given up: a failure, and a bounce; that goes nowhere, and is removed.
        server.run("-Mg", *server.queue_ids(), check=0)
        self.wait_value(server, 1, "sluice_bounces_total")
        self.assertGreaterEqual(self.value(server, "sluice_deliveries_total", result="failed"), 1)
        server.wait_log(r"Frozen|frozen")
        server.run("-Mrm", *server.queue_ids(), check=0)
        self.wait_value(server, 0, "sluice_queue_messages")

    @staticmethod
    def version():
        with open(os.path.join(os.path.dirname(__file__), "../../CMakeLists.txt")) as f:
            return re.search(r"VERSION (\d\S+)", f.read().split("project(")[1]).group(1)

    def test_several_shards_are_summed(self):
        server = self.served(config=configuration(main="metrics_listen = 127.0.0.1:0\n").replace("shards = 1", "shards = 3"))
        first = self.value(server, "sluice_smtp_connections_total")  # that of the harness
        for _ in range(30):
            with server.client() as c:
                c.ehlo()
        self.assertEqual(first + 30, self.value(server, "sluice_smtp_connections_total"))
        samples = self.scrape(server)
        self.assertEqual(3, self.value(server, "sluice_shards", samples))
        for shard in "012":
            self.assertGreater(self.value(server, "sluice_shard_loops_total", samples, shard=shard), 0)

    def test_queue_of_the_worker_before(self):
        """What a new worker finds on the spool counts."""
        server = self.served()
        with server.client() as c:
            c.ehlo()
            c.message("Subject: x\r\n\r\nhello\r\n", rcpts=("u@elsewhere.test",))
        server.wait_log("== u@elsewhere.test")
        server.stop()
        server.start()
        log = server.wait_log(r"metrics are served on", count=2)
        server.metrics_port = int(re.findall(r"metrics are served on \[127\.0\.0\.1\]:(\d+)", log)[-1])
        self.wait_value(server, 1, "sluice_queue_messages")
        self.assertEqual(1, self.value(server, "sluice_spool_recovered_messages"))
        self.assertLess(self.value(server, "sluice_spool_recovery_milliseconds", shard="0"), 60000)
        self.assertGreater(self.value(server, "sluice_hints_used_bytes"), 0)  # what was there


class Reading(MetricsTest):
    def test_command(self):
        """The same on the control socket, for administrators; without a daemon there is nothing to tell."""
        server = self.sluice()
        samples = parse(server.run("--metrics", check=0).out)
        self.assertEqual(0, samples[("sluice_queue_messages", ())])
        if os.getuid() == 0:
            os.chmod(os.path.join(server.dir, "config"), 0o644)
            done = subprocess.run(["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups",
                                   os.environ.get("SLUICE", "sluice"), "-C", server.config_file, "--metrics"],
                                  capture_output=True, env=server.environment())
            self.assertNotEqual(0, done.returncode)
            self.assertIn(b"permission denied", done.stderr)
            self.assertEqual(b"", done.stdout)
        self.assertIn("incompatible", server.run("--metrics", "operand", check=1).err)
        server.stop()
        done = server.run("--metrics", check=1)
        self.assertEqual("", done.out)
        self.assertIn("no daemon", done.err)

    def test_unset_nothing_listens(self):
        server = self.sluice()
        self.assertNotIn("metrics are served", server.log())

    def test_option(self):
        for value in ("127.0.0.1", "9225", "localhost:9225", "127.0.0.1:99999", "::1:9225", "[127.0.0.1]:1", "127.0.0.1:1,,",
                      ",".join(["127.0.0.1:1"] * 5)):
            done = self.sluice(configuration(main=f"metrics_listen = {value}\n"), start=False).run("-bV", check=1)
            self.assertIn("metrics_listen", done.err, value)

    def test_several_addresses(self):
        server = self.served(listen="127.0.0.1:0 , 127.0.0.2:0")
        other = int(re.search(r"metrics are served on \[127\.0\.0\.2\]:(\d+)", server.log()).group(1))
        with socket.create_connection(("127.0.0.2", other)) as s:
            s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            self.assertTrue(s.recv(100).startswith(b"HTTP/1."))
        self.scrape(server)
        # It is there, and nowhere else.
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.3", server.metrics_port))

    def test_taken_port(self):
        """Told, and mail goes on."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            server = self.sluice(configuration(main=f"metrics_listen = 127.0.0.1:{taken.getsockname()[1]}\n"))
            server.wait_log("metrics_listen: .*Address already in use")
            with server.client() as c:
                c.ehlo()
                c.message("Subject: x\r\n\r\nhello\r\n")
            server.wait_mail()


class Strangers(MetricsTest):
    def test_everything_else_is_404(self):
        server = self.served()
        for request in (b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET /metrics/ HTTP/1.1\r\nHost: x\r\n", b"GET /metrics/../x HTTP/1.1\r\nHost: x\r\n",
                        b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n", b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n",
                        b"DELETE /metrics HTTP/1.1\r\nHost: x\r\n", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n"):
            self.assertTrue(http(server.metrics_port, request + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 404 "), request)
        answer = http(server.metrics_port, b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000000)
        self.assertIn(answer[:13], (b"HTTP/1.1 404 ", b""))
        self.scrape(server)

    def test_garbage(self):
        server = self.served()
        for request in (b"\0" * 100, b"\xff\xfe" * 5000, b"GET\r\n\r\n", b"GET /metrics\r\n\r\n", b"GET /metrics HTTP/9.9\r\n\r\n",
                        b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\n\r\n", b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 20000 + b"\r\n",
                        b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzzzz\r\n",
                        b"EHLO x\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 600):
            try:
                with socket.create_connection(("127.0.0.1", server.metrics_port)) as s:
                    s.settimeout(5)
                    s.sendall(request)
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(65536):
                        pass
            except OSError:
                pass
            self.scrape(server)
        with server.client() as c:
            c.ehlo()

    def test_stalled_collectors(self):
        """Those who ask and do not read, or never finish asking, hold a place for a while; mail and others do not notice."""
        server = self.served()
        stalled = []
        for i in range(40):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            s.connect(("127.0.0.1", server.metrics_port))
            self.addCleanup(s.close)
            try:
                s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + (b"\r\n" if i % 2 else b"X"))
            except OSError:
                pass
            stalled.append(s)
        with server.client() as c:
            c.ehlo()
            c.message("Subject: x\r\n\r\nhello\r\n")
        server.wait_mail()
        self.scrape(server, source="127.0.0.2")
        # Silence ends them, and their host is served again.
        until(lambda: http(server.metrics_port).startswith(b"HTTP/1.1 200"), "a place")


class Tls(MetricsTest):
    def setUp(self):
        super().setUp()
        self.dir = tempfile.mkdtemp(prefix="sluice-pki-")
        self.addCleanup(shutil.rmtree, self.dir)
        os.chmod(self.dir, 0o755)
        self.ca = Authority(os.path.join(self.dir, "pki"))

    def shake(self, server, version, session=None):
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
        ctx.minimum_version = ctx.maximum_version = version
        if session:
            ctx = session[0]
        with server.client() as c:
            c.ehlo()
            c.expect("STARTTLS", 220)
            c.sock = ctx.wrap_socket(c.sock, session=session[1] if session else None)
            c.ehlo()
            session = (ctx, c.sock.session)
            c.quit()
        return session

    def test_handshakes_tickets_and_proofs(self):
        pem, key = self.ca.certificate("mx")
        proof = self.ca.proof("mx", "mx.ocsp", days=7)
        os.chmod(proof, 0o644)
        server = self.served(main=f"tls_certificate = {pem}\ntls_privatekey = {key}\ntls_ocsp_file = {proof}\ntls_resumption_hosts = *\n")
        name = "sluice_tls_handshakes_total"
        for short, version in (("1.2", ssl.TLSVersion.TLSv1_2), ("1.3", ssl.TLSVersion.TLSv1_3)):
            session = self.shake(server, version)
            self.assertEqual(1, self.value(server, name, direction="in", version=short, result="full"))
            self.shake(server, version, session)
            self.assertEqual(1, self.value(server, name, direction="in", version=short, result="resumed"))
        self.assertEqual(2, self.value(server, "sluice_tls_tickets_offered_total", result="accepted"))
        self.assertGreaterEqual(self.value(server, "sluice_tls_tickets_issued_total"), 2)
        with server.client() as c:
            c.ehlo()
            c.expect("STARTTLS", 220)
            c.send(b"this is no hello at all\r\n")
            try:
                while c.sock.recv(1000):
                    pass
            except OSError:
                pass
        self.wait_value(server, 1, "sluice_tls_handshakes_failed_total", direction="in")
        self.wait_value(server, 0, "sluice_tls_sessions")
        age = self.value(server, "sluice_tls_staple_age_seconds", certificate=pem)
        left = self.value(server, "sluice_tls_staple_left_seconds", certificate=pem)
        self.assertTrue(0 <= age < 120, age)
        self.assertTrue(7 * 86400 - 120 < left <= 7 * 86400, left)
        # A proof that is none: nothing is left, and there is no age.
        with open(proof + ".new", "wb") as f:
            f.write(b"nothing")
        os.chmod(proof + ".new", 0o644)
        os.rename(proof + ".new", proof)
        until(lambda: self.shake(server, ssl.TLSVersion.TLSv1_3) and
              self.value(server, "sluice_tls_staple_left_seconds", certificate=pem) == 0, "no proof")
        self.assertNotIn(("sluice_tls_staple_age_seconds", (("certificate", pem),)), self.scrape(server))

    def test_refused_tickets_and_those_we_are_given(self):
        pem, key = self.ca.certificate("mx")
        config = f"tls_certificate = {pem}\ntls_privatekey = {key}\ntls_resumption_hosts = *\ntls_ticket_directory = none\n"
        server = self.served(main=config)
        session = self.shake(server, ssl.TLSVersion.TLSv1_2)
        other = self.served(main=config)  # with keys of its own
        self.shake(other, ssl.TLSVersion.TLSv1_2, session)
        self.assertEqual(1, self.value(other, "sluice_tls_tickets_offered_total", result="refused"))
        self.assertEqual(1, self.value(other, "sluice_tls_handshakes_total", direction="in", version="1.2", result="full"))
        # And from one to the other: out.
        sender = self.served(config=configuration(main="metrics_listen = 127.0.0.1:0\n").replace(
            "  hosts_try_fastopen = :", "  hosts_try_fastopen = :\n  tls_resumption_hosts = *\n  tls_try_verify_hosts = :\n"
                                         "  connection_max_messages = 1"),
            macros={"SINKPORT": str(server.port)})
        for n, result in ((1, "full"), (2, "resumed")):
            with sender.client() as c:
                c.ehlo()
                c.message("Subject: x\r\n\r\nhello\r\n", rcpts=("u@elsewhere.test",))
            sender.wait_log(r"(=>|==|\*\*) u@elsewhere\.test", count=n)
            self.wait_value(sender, 1, "sluice_tls_handshakes_total", direction="out", version="1.3", result=result)


if __name__ == "__main__":
    unittest.main()
