"""tls_ocsp_refresh: proofs that are fetched from the responder that a certificate names, a real one and others; and what becomes of them."""
import http.server
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import unittest

from authority import Authority
from harness import USER, SluiceTest, configuration, until


class Responder:
    """openssl's own, for the authority's index."""

    def __init__(self, ca, port=0):
        self.process = subprocess.Popen(
            ["openssl", "ocsp", "-port", str(port), "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key", "-ndays", "5"],
            cwd=ca.dir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        line = b""
        while b"ACCEPT" not in line:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError("openssl ocsp did not start")
        self.port = int(re.search(rb":(\d+)", line).group(1))

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


class Scripted:
    """Answers each request with what answer() gives: the bytes of a whole HTTP response; b"": nothing."""

    def __init__(self):
        self.answer, self.requests = lambda body: b"", []
        scripted = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                scripted.requests.append((self.path, dict(self.headers), body))
                self.wfile.write(scripted.answer(body))

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Refresh(SluiceTest):
    def setUp(self):
        super().setUp()
        self.dir = tempfile.mkdtemp(prefix="sluice-ocsp-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.ca = Authority(os.path.join(self.dir, "pki"))
        os.chmod(self.dir, 0o755)
        self.proofs = os.path.join(self.dir, "proofs")
        os.mkdir(self.proofs)
        shutil.chown(self.proofs, USER) if os.getuid() == 0 else None

    def scripted(self):
        responder = Scripted()
        self.addCleanup(responder.stop)
        return responder

    def certificate(self, name, port, uri="http://127.0.0.1:{port}/ocsp/x"):
        return self.ca.certificate(name, extra=[f"authorityInfoAccess=OCSP;URI:{uri.format(port=port)}"])

    def file(self, name):
        return os.path.join(self.proofs, name)

    def serve(self, pairs, start=True, lines=""):
        certificates = " : ".join(c[0] for c, _ in pairs)
        keys = " : ".join(c[1] for c, _ in pairs)
        files = " : ".join(f for _, f in pairs)
        return self.sluice(configuration(main=f"tls_certificate = {certificates}\ntls_privatekey = {keys}\ntls_ocsp_file = {files}\n"
                                              f"tls_ocsp_refresh = yes\n{lines}"), start=start)

    def status(self, server, *arguments):
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-starttls", "smtp", "-status", "-crlf", "-ign_eof",
                               *arguments], input=b"QUIT\n", capture_output=True, timeout=60)
        return done.stdout.decode(errors="replace")

    def proof(self, name, **options):
        with open(self.ca.proof(name, name + ".made", **options), "rb") as f:
            return f.read()

    @staticmethod
    def http(body, head=b"HTTP/1.0 200 OK\r\nContent-Type: application/ocsp-response\r\n", length=True):
        return head + (b"Content-Length: %d\r\n" % len(body) if length else b"") + b"\r\n" + body

    def test_real_responder(self):
        """Two certificates; both proofs come, are stapled without a restart, and are not asked for again while they are fresh."""
        responder = Responder(self.ca)
        self.addCleanup(responder.stop)
        ec = self.certificate("ec", responder.port)
        rsa = self.ca.certificate("rsa", kind="rsa", extra=[f"authorityInfoAccess=OCSP;URI:http://127.0.0.1:{responder.port}/"])
        responder.stop()
        responder = Responder(self.ca, responder.port)  # which knows of them now
        self.addCleanup(responder.stop)
        server = self.serve([(ec, self.file("ec.der")), (rsa, "DER " + self.file("rsa.der"))])
        server.wait_log("OCSP: a new proof in .*/(ec|rsa).der, good for 7[12]", count=2)
        for arguments in (("-sigalgs", "ECDSA+SHA256"), ("-sigalgs", "RSA-PSS+SHA256")):
            until(lambda: "Cert Status: good" in self.status(server, *arguments), "the staple")
        self.assertEqual(["ec.der", "rsa.der"], sorted(os.listdir(self.proofs)))
        # With the responder gone, a restart finds the proofs fresh.
        responder.stop()
        server.stop()
        server.start()
        self.assertIn("Cert Status: good", self.status(server))
        self.assertNotIn("no new proof", server.log())

    def test_stapled_to_verified_clients(self):
        """The library's leaks of a stapled handshake are ours to find (a sanitizer build tells): with certificates of clients, too."""
        client = self.ca.certificate("client", name="client.test")
        certificate = self.ca.certificate("ec")
        with open(self.file("ec.der"), "wb") as f:
            f.write(self.proof("ec"))
        server = self.sluice(configuration(main=f"tls_certificate = {certificate[0]}\ntls_privatekey = {certificate[1]}\n"
                                                f"tls_ocsp_file = {self.file('ec.der')}\ntls_try_verify_hosts = *\n"
                                                f"tls_verify_certificates = {self.ca.pem}\n"))
        for arguments in ((), ("-cert", client[0], "-key", client[1], "-cert_chain", self.ca.pem), ("-tls1_2",), ("-groups", "P-384:X25519"),
                          ("-tls1_2", "-cert", client[0], "-key", client[1])):
            for _ in range(3):
                self.assertIn("Cert Status: good", self.status(server, *arguments), (arguments, server.log()))
        self.assertEqual(0, server.stop())

    def test_what_is_sent(self):
        responder = self.scripted()
        certificate = self.certificate("ec", responder.port)
        body = self.proof("ec")
        responder.answer = lambda _: self.http(body, length=False)  # up to the connection's end
        server = self.serve([(certificate, self.file("ec.der"))])
        server.wait_log("OCSP: a new proof")
        path, headers, request = responder.requests[0]
        self.assertEqual(("/ocsp/x", "application/ocsp-request", f"127.0.0.1:{responder.port}"),
                         (path, headers["Content-Type"], headers["Host"]))
        text = subprocess.run(["openssl", "ocsp", "-reqin", "/dev/stdin", "-req_text"], input=request, capture_output=True).stdout.decode()
        serial = self.ca.openssl("x509", "-in", "ec.leaf", "-noout", "-serial").decode().strip().partition("=")[2]
        self.assertIn(f"Serial Number: {serial}", text)
        self.assertEqual(1, len(responder.requests))
        with open(self.file("ec.der"), "rb") as f:
            self.assertEqual(body, f.read())

    def test_fresh_is_not_asked_for(self):
        responder = self.scripted()
        certificate = self.certificate("ec", responder.port)
        with open(self.file("ec.der"), "wb") as f:
            f.write(self.proof("ec"))
        other = self.certificate("other", responder.port)  # its turn is behind the first one's
        body = self.proof("other")
        responder.answer = lambda _: self.http(body)
        server = self.serve([(certificate, self.file("ec.der")), (other, self.file("other.der"))])
        server.wait_log("OCSP: a new proof in .*other.der")
        self.assertEqual(1, len(responder.requests))

    def test_bad_answers(self):
        """Nothing of it is stored, one line says why, and connections go on without a proof."""
        good = None
        responder = self.scripted()
        certificate = self.certificate("ec", responder.port)
        revoked = self.certificate("revoked", responder.port)
        self.ca.revoke("revoked")
        foreign = Authority(os.path.join(self.dir, "foreign"), "Foreign")
        foreign.certificate("ec")
        good = self.proof("ec")
        with open(foreign.proof("ec", "x"), "rb") as f:
            of_others = f.read()
        changed = bytearray(good)
        changed[changed.find(bytes.fromhex("2a8648ce3d040302")) + 20] ^= 1  # of the signature
        rows = (
            (certificate, b"", "not HTTP"),
            (certificate, b"garbage\r\n\r\n" + good, "not HTTP"),
            (certificate, b"HTTP/1.0 503 Service Unavailable\r\n\r\nnot now", "says \"HTTP/1.0 503 Service Unavailable\""),
            (certificate, self.http(b"<html>hello</html>"), "parse error"),
            (certificate, self.http(b"\x30\x03\x0a\x01\x06"), "responder error 6"),
            (certificate, self.http(good[:-7]), "parse error"),
            (certificate, b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(good) + good[:-7], "was cut"),
            (certificate, self.http(b"x" * 300000), "too long"),
            (certificate, self.http(b"x" * 300000, length=False), "too long"),
            (certificate, self.http(bytes(changed)), "unverifiable"),
            (certificate, self.http(of_others), "another certificate|unverifiable"),
            (certificate, self.http(self.proof("ec", days=None)), "dates invalid"),
            (revoked, self.http(self.proof("revoked")), "revoked"),
        )
        for n, (pair, answer, why) in enumerate(rows):
            with self.subTest(why=why, n=n):
                responder.answer = lambda _, answer=answer: answer
                server = self.serve([(pair, self.file(f"{n}.der"))])
                log = server.wait_log(f"OCSP: no new proof for .*({why}).*; next try in 60 s")
                self.assertIn("OCSP: there is no valid proof in", log)
                server.wait_log("OCSP: there is no valid proof in", "panic")
                self.assertEqual([], os.listdir(self.proofs))
                if n == 0:
                    self.assertIn("OCSP response: no response sent", self.status(server))
                server.stop()

    def test_nobody_answers(self):
        """Refused, silent, without a name; the daemon ends at once all the same."""
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            closed = s.getsockname()[1]
        quiet = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(quiet.close)
        refused = self.certificate("refused", closed)
        https = self.certificate("https", closed, uri="https://127.0.0.1:{port}/")
        silent = self.certificate("silent", quiet.getsockname()[1])
        none = self.ca.certificate("none")
        with open(self.ca.path("alone.pem"), "w") as f, open(self.ca.path("refused.leaf")) as leaf:
            f.write(leaf.read())
        alone = (self.ca.path("alone.pem"), refused[1])
        server = self.serve([(refused, self.file("a")), (https, self.file("b")), (none, self.file("c")), (alone, self.file("d")),
                             (silent, self.file("e"))])
        for why in ("refused", "only http is spoken", "names no OCSP responder", "does not hold the issuer"):
            server.wait_log(f"OCSP: no new proof for .*{why}")
        connection, _ = quiet.accept()
        with connection:
            self.assertIn("OCSP response: no response sent", self.status(server))
            self.assertEqual(0, server.stop())
        self.assertEqual([], os.listdir(self.proofs))

    @unittest.skipUnless(os.getuid() == 0, "root")
    def test_nowhere_to_store(self):
        responder = self.scripted()
        certificate = self.certificate("ec", responder.port)
        responder.answer = lambda _: self.http(self.proof("ec"))
        shutil.chown(self.proofs, "root")
        server = self.serve([(certificate, self.file("ec.der"))])
        server.wait_log("OCSP: no new proof for .*Permission denied")

    def test_option(self):
        certificate = self.ca.certificate("x")
        for main in ("", f"tls_certificate = {certificate[0]}\n", f"tls_certificate = /x/$tls_in_sni\ntls_ocsp_file = {self.file('x')}\n"):
            server = self.sluice(configuration(main="tls_ocsp_refresh\n" + main), start=False)
            self.assertIn("tls_ocsp_refresh needs", server.run("-bV", check=1).err)


if __name__ == "__main__":
    unittest.main()
