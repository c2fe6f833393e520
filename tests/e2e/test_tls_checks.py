"""The numbered checks of TLS that need many connections, several certificates, or clocks: proofs by certificate and by name, a signer whose
time ends, files replaced under load, thousands of handshakes that are never finished."""
import os
import re
import resource
import shutil
import socket
import ssl
import subprocess
import threading
import time
import unittest

from harness import SLUICE, Client, configuration, until
from test_tls import TlsTest, context, deliver, starttls


class ManyProofs(TlsTest):
    def show(self, server, *arguments):
        """What openssl says of the proof that it is shown: the serial number that it is about, or None; and that of the certificate."""
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-starttls", "smtp", "-status", "-crlf", "-ign_eof",
                               *arguments], input=b"QUIT\n", capture_output=True, timeout=60)
        text = done.stdout.decode(errors="replace")
        found = re.search(r"Cert Status: good", text) and re.search(r"Serial Number: ([0-9A-F]+)", text)
        leaf = re.search(r"Server certificate\n(-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n)", text, re.S)
        self.assertIsNotNone(leaf, text + done.stderr.decode(errors="replace"))
        serial = self.ca.openssl("x509", "-noout", "-serial", stdin=leaf.group(1).encode()).decode().strip().rpartition("=")[2]
        return (found.group(1) if found else None), serial

    def proof(self, name, **options):
        path = self.ca.proof(name, name + ".ocsp", **options)
        os.chmod(path, 0o644)
        return path

    def number(self, name):
        return self.ca.openssl("x509", "-in", f"{name}.leaf", "-noout", "-serial").decode().strip().rpartition("=")[2]

    def test_two_kinds(self):
        """F02.5: each of two certificates with its own proof."""
        server = self.sluice(configuration(main=f"tls_certificate = {self.rsa[0]} : {self.ec[0]}\ntls_privatekey = {self.rsa[1]} : {self.ec[1]}\n"
                                                f"tls_ocsp_file = {self.proof('rsa')} : {self.proof('ec')}\n"))
        for name, *arguments in (("rsa", "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"), ("ec", "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"),
                                 ("rsa", "-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"), ("ec", "-tls1_3", "-sigalgs", "ecdsa_secp256r1_sha256")):
            self.assertEqual((self.number(name), self.number(name)), self.show(server, *arguments), arguments)

    def test_by_name(self):
        """F02.6: by the name that the client asks for; who names none, or another, gets those of the default."""
        for name in ("a", "b"):
            self.ca.certificate(name, name=f"{name}.test")
            self.proof(name)
        which = self.ca.dir + "/${if eq{$tls_in_sni}{b.test}{b}{a}}"
        server = self.sluice(configuration(main=f"tls_certificate = {which}.pem\ntls_privatekey = {which}.key\ntls_ocsp_file = {which}.ocsp\n"))
        for name, *arguments in (("b", "-servername", "b.test"), ("a", "-servername", "a.test"), ("a", "-servername", "c.test"), ("a", "-noservername")):
            for version in ("-tls1_2", "-tls1_3"):
                self.assertEqual((self.number(name), self.number(name)), self.show(server, version, *arguments), arguments)
        # A name whose proof is missing has none, and others keep theirs.
        os.unlink(self.ca.path("b.ocsp"))
        until(lambda: self.show(server, "-servername", "b.test") == (None, self.number("b")), "no proof for b")
        self.assertEqual((self.number("a"), self.number("a")), self.show(server, "-servername", "a.test"))

    def test_signer_whose_time_ends(self):
        """F02.7: a proof ends with the certificate of the delegate that has signed it, and not with its own nextUpdate."""
        key, leaf = self.ca.path("delegate.key"), self.ca.path("delegate.pem")
        self.ca.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        with open(self.ca.path("delegate.conf"), "w") as f:
            f.write("[req]\ndistinguished_name=n\nreq_extensions=x\n[n]\n[x]\nextendedKeyUsage=OCSPSigning\n")
        self.ca.openssl("req", "-new", "-key", key, "-subj", "/O=Test/CN=delegate", "-config", "delegate.conf", "-out", "delegate.csr")
        end = time.time() + 7
        self.ca.openssl("ca", "-batch", "-notext", "-config", "ca.conf", "-in", "delegate.csr", "-out", leaf, "-startdate", "20200101000000Z",
                        "-enddate", time.strftime("%Y%m%d%H%M%SZ", time.gmtime(end)))
        proof = self.proof("ec", signer="delegate", key="delegate.key")
        server = self.sluice(configuration(main=self.tls_main(f"tls_ocsp_file = {proof}")))
        self.assertEqual((self.number("ec"), self.number("ec")), self.show(server))
        self.assertLess(time.time(), end)
        until(lambda: self.show(server) == (None, self.number("ec")), "the end of the signer")
        self.assertGreaterEqual(time.time(), end - 1)
        server.wait_log(r"tls_ocsp_file: .*ec\.ocsp is not used")

    @unittest.skipUnless(shutil.which("gnutls-cli"), "gnutls-cli")
    def test_gnutls(self):
        """GnuTLS takes the proof, and the chain with it; resumed, too."""
        proof = self.proof("ec")
        server = self.sluice(configuration(main=self.tls_main(f"tls_ocsp_file = {proof}", "tls_resumption_hosts = *")))
        for version in ("1.2", "1.3"):
            saved = self.ca.path("saved.ocsp")
            done = subprocess.run(["gnutls-cli", "--starttls-proto=smtp", "--port", str(server.port), f"--x509cafile={self.ca.pem}",
                                   "--verify-hostname=mx.test", f"--priority=NORMAL:-VERS-ALL:+VERS-TLS{version}", f"--save-ocsp={saved}", "-r",
                                   "127.0.0.1"], input=b"QUIT\n", capture_output=True, timeout=60)
            self.assertIn(b"The certificate is trusted", done.stdout)
            self.assertIn(b"This is a resumed session", done.stdout)
            with open(saved, "rb") as a, open(proof, "rb") as b:
                self.assertEqual(b.read(), a.read(), version)
            os.unlink(saved)


class Load(TlsTest):
    def test_replaced_under_load(self):
        """F32.5: 1,000 connections while certificate and key are replaced, again and again, by rename; none fails, and at the end there is
        the newest."""
        for n in range(3):
            self.ca.certificate(f"gen{n}")
        self.copy("gen0.pem", "live.pem")
        with open(self.ca.path("live.pem"), "a") as out, open(self.ca.path("gen0.key")) as key:
            out.write(key.read())
        server = self.sluice(configuration(main=f"tls_certificate = {self.ca.path('live.pem')}\nsmtp_accept_max_per_connection = 10\n").replace(
            "shards = 1", "shards = 2"))
        serials, failures, lock = [], [], threading.Lock()
        ctx = context(self.ca.pem)

        def visit(count):
            for _ in range(count):
                try:
                    with server.client() as client:
                        starttls(client, ctx, "mx.test")
                        with lock:
                            serials.append(self.serial(client))
                        client.send("QUIT\r\n")
                except Exception as e:
                    failures.append(repr(e))
        threads = [threading.Thread(target=visit, args=(250,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        turn = 0
        while any(thread.is_alive() for thread in threads):
            turn += 1
            self.install(f"gen{turn % 3}")
            threads[turn % 4].join(0.05)
        self.install("gen2")
        self.assertEqual([], failures)
        self.assertEqual(1000, len(serials))
        self.assertEqual(3, len(set(serials)), turn)
        wanted = self.ca.openssl("x509", "-in", "gen2.leaf", "-noout", "-serial").decode().strip().rpartition("=")[2]

        def newest():
            with server.client() as client:
                starttls(client, ctx, "mx.test")
                return self.serial(client) == wanted
        until(newest, "the newest certificate")
        self.assertEqual("", server.log("panic"))

    def install(self, name):
        """Certificate and key in one file, so that one rename replaces both."""
        new = self.ca.path("live.new")
        with open(new, "w") as out:
            for part in ("pem", "key"):
                with open(self.ca.path(f"{name}.{part}")) as f:
                    out.write(f.read())
        os.chmod(new, 0o644)
        os.rename(new, self.ca.path("live.pem"))

    def test_half_open(self):
        """F32.6: 10,000 clients (or as many as the limit of open files allows) who begin a handshake and say no more: what they cost is bounded,
        and others are served."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        count = min(10000, hard - 1000)
        self.assertGreater(count, 1000, "the limit of open files is too low to try")
        server = self.sluice(configuration(main=self.tls_main()).replace("smtp_accept_max = 1000", "smtp_accept_max = 20000"), start=False)
        server.start("-tls-on-connect", wait=False)
        until(server.has_started, "the daemon")
        inc, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            context().wrap_bio(inc, out, server_hostname="mx.test").do_handshake()
        except ssl.SSLWantReadError:
            pass
        hello = out.read()
        self.served(server)
        before = self.memory(server)
        clients = []
        self.addCleanup(lambda: [c.close() for c in clients])
        for n in range(count):
            sock = socket.socket()
            clients.append(sock)
            sock.bind((f"127.0.{1 + n // 250}.{1 + n % 250}", 0))
            sock.connect(("127.0.0.1", server.port))
            # Half a hello, or a whole one whose answer is never read; of those fewer, since each takes the sanitizer build milliseconds.
            sock.sendall(hello[:len(hello) // 2] if n % 10 else hello)
        self.served(server)
        until(lambda: int(re.search(r"^sluice_tls_sessions (\d+)", server.run("--metrics").out, re.M).group(1)) >= count, "all of them")
        each = (self.memory(server) - before) / count
        with open(SLUICE, "rb") as f:
            limit = 160 if b"__asan_init" in f.read() else 60  # KiB; the sanitizer keeps each block by itself, with its surroundings
        self.assertLess(each, limit, "KiB each")
        # Some vanish, and all is as before for those who come.
        for sock in clients[::3]:
            sock.close()
        self.served(server)

    def memory(self, server):
        with open(f"/proc/{server.worker()}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1))

    def served(self, server):
        client = Client(server.port, banner=False)
        with client:
            client.sock = context(self.ca.pem).wrap_socket(client.sock, server_hostname="mx.test")
            client.wait(220)
            client.ehlo()
            deliver(client)
            client.quit()


if __name__ == "__main__":
    unittest.main()
