"""Clients that have shown a certificate and come back with a ticket: who they are is known as if they had shown it again, and judged
again; and what must mean a full handshake."""
import os
import re
import ssl
import subprocess
import time
import unittest

from authority import Authority
from harness import configuration, until
from test_tls import TlsTest, context, starttls

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
DN = "O=Test,CN=client.test"
POLICY = """
begin acl
mail_acl:
  accept logwrite = F=$sender_address V=$tls_in_ver CV=$tls_in_certificate_verified P=$tls_in_peerdn \\
                    S=${certextract{subject}{$tls_in_peercert}} N=${certextract{subj_altname,dns}{$tls_in_peercert}} R=$tls_in_resumption
"""


class Returning(TlsTest):
    def served(self, *lines, option="tls_try_verify_hosts", shards=1, **options):
        main = self.tls_main("tls_resumption_hosts = *", f"{option} = *", "acl_smtp_mail = mail_acl",
                             "log_selector = +tls_resumption +tls_certificate_verified +tls_peerdn",
                             *(lines or (f"tls_verify_certificates = {self.ca.pem}",)))
        text = configuration(main=main).replace("\nbegin acl\n", POLICY).replace("shards = 1\n", f"shards = {shards}\n")
        return self.sluice(text, **options)

    visits = 0

    def visit(self, server, ctx, session=None, name="mx.test"):
        """Was it resumed; the session to come back with; and what the server thinks of the client."""
        Returning.visits += 1
        sender = f"s{self.visits}"
        with server.client() as client:
            starttls(client, ctx, name, session)
            reused = client.sock.session_reused
            client.expect(f"MAIL FROM:<{sender}@client.test>", 250)
            client.expect("RCPT TO:<alice@test>", 250)
            client.data(b"Subject: x\r\n\r\nhello\r\n")
            session = client.sock.session
            client.quit()
        line = re.search(rf" F={sender}@client\.test V=\S+ (.*)", server.wait_log(rf" <= {sender}@client\.test ")).group(1)
        return reused, session, line

    def known(self, line, resumed):
        found = re.fullmatch(rf"CV=1 P={DN} S={DN} N=client\.test R=(\d+)", line)
        self.assertTrue(found, line)
        self.assertEqual(16 if resumed else 0, int(found.group(1)) & 16, line)

    def refused(self, server, ctx, session, pattern):
        before = len(re.findall(pattern, server.log()))
        with server.client() as client, self.assertRaises((ssl.SSLError, OSError)):
            starttls(client, ctx, "mx.test", session)
            client.cmd("NOOP")  # with TLS 1.3 the alert comes behind the handshake
        server.wait_log(pattern, count=before + 1)

    def database(self, server):
        return os.path.join(server.dir, "spool", "db", "data.mdb")

    def named(self, version, file=None):
        return context(version=version, certificate=file or self.client_certificate)

    def test_known_as_before(self):
        """Over shards and a restart, wanted or demanded."""
        for option in ("tls_try_verify_hosts", "tls_verify_hosts"):
            server = self.served(option=option, shards=2)
            for version in (V12, V13):
                with self.subTest(option=option, version=version):
                    ctx = self.named(version)
                    reused, session, line = self.visit(server, ctx)
                    self.assertFalse(reused)
                    self.known(line, False)
                    # The other shard sees it when it is written, in some milliseconds.
                    until(lambda: '{result="written"} 0\n' not in server.run("--metrics", check=0).out, "the chain to be kept")
                    for i in range(6):
                        if i == 4:
                            server.stop()
                            server.start()
                        reused, session, line = self.visit(server, ctx, session)
                        self.assertTrue(reused)
                        self.known(line, True)
            log = server.wait_log(" <= ", count=14)
            self.assertEqual(12, len(re.findall(rf' <= .*\* CV=yes DN="{DN}"', log)))
            self.assertEqual(2, len(re.findall(rf' <= .*[^*] CV=yes DN="{DN}"', log)))
            self.assertNotIn("TLS error", log)

    def s_client(self, server, *arguments):
        """A line at a time: the server takes none that comes too soon. All it says."""
        said = b""
        with subprocess.Popen(["timeout", "60", "openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-starttls", "smtp", "-crlf", "-servername",
                               "mx.test", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as p:
            steps = [(b"", rb"^---\n250 "), (b"EHLO x\n", rb"^250 HELP"), (b"MAIL FROM:<o@client.test>\n", rb"^250 .*OK"),
                     (b"quit\n", rb"no such answer")]
            more = b"there is"
            while steps and more:
                line, answer = steps.pop(0)
                p.stdin.write(line)
                p.stdin.flush()
                at = len(said)
                while more and not re.search(answer, said[at:].replace(b"\r\n", b"\n"), re.M):
                    more = os.read(p.stdout.fileno(), 65536)
                    said += more
        return said

    def test_openssl(self):
        server = self.served(option="tls_verify_hosts")
        pem, key = self.client_certificate
        for version in ("-tls1_2", "-tls1_3"):
            file = self.ca.path("client-session.pem")
            self.assertIn(b"New,", self.s_client(server, version, "-cert", pem, "-key", key, "-sess_out", file))
            # The ticket alone does it: no certificate is asked for any more.
            self.assertIn(b"Reused,", self.s_client(server, version, "-sess_in", file))
        lines = re.findall(r" F=o@client\.test V=\S+ (.*)", server.wait_log(" F=o@client", count=4))
        for i, line in enumerate(lines):
            self.known(line, i % 2 == 1)

    def test_tampered_ticket(self):
        server = self.served()
        pem, key = self.client_certificate
        file = self.ca.path("tampered.pem")
        self.s_client(server, "-tls1_2", "-cert", pem, "-key", key, "-sess_out", file)
        der = self.ca.openssl("sess_id", "-in", file, "-outform", "DER")
        again = self.s_client(server, "-tls1_2", "-sess_in", file)
        self.assertIn(b"Reused,", again)
        ticket = re.search(rb"TLS session ticket:\n(.*?)\n\n", again, re.S).group(1)
        rows = re.findall(rb"^ *[0-9a-f]{4} - ((?:[0-9a-f]{2}[ -])+)", ticket, re.M)
        ticket = bytes.fromhex(b"".join(rows).replace(b"-", b" ").decode())
        at = bytes(der).find(ticket[:32])
        self.assertGreater(at, 0)
        # The byte behind the nonce says whether a certificate was shown; the name of the chain is the end of what is sealed.
        self.assertEqual(1, ticket[28])
        for offset in (28, len(ticket) - 32 - 1, len(ticket) - 32 - SHOWN):
            for bits in (1, 2, 0xff):
                changed = bytearray(der)
                changed[at + offset] ^= bits
                with open(file, "wb") as f:
                    f.write(self.ca.openssl("sess_id", "-inform", "DER", stdin=bytes(changed)))
                self.assertIn(b"New,", self.s_client(server, "-tls1_2", "-sess_in", file), offset)
        lines = re.findall(r" F=o@client\.test V=\S+ (.*)", server.wait_log(" F=o@client", count=11))
        self.assertEqual(11, len(lines))
        for line in lines[2:]:  # nobody
            self.assertRegex(line, r"^CV=0 P= S= N= R=")

    def test_without_the_suite_of_the_ticket(self):
        """The client has no more the suite that its ticket was made for, and shows nothing: it is nobody."""
        server = self.served()
        file = self.ca.path("unused.pem")
        pem, key = self.client_certificate
        for version, option, before, now in (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"),
                                             ("-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256")):
            self.assertIn(b"New,", self.s_client(server, version, option, before, "-cert", pem, "-key", key, "-sess_out", file))
            self.assertIn(b"New,", self.s_client(server, version, option, now, "-sess_in", file))
            self.assertIn(b"Reused,", self.s_client(server, version, option, f"{before}:{now}", "-sess_in", file))
        lines = re.findall(r" F=o@client\.test V=\S+ (.*)", server.wait_log(" F=o@client", count=6))
        for i in (0, 3):
            self.known(lines[i], False)
            self.assertRegex(lines[i + 1], r"^CV=0 P= S= N= R=")
            self.known(lines[i + 2], True)

    def test_unverified_shows_it_each_time(self):
        stranger = Authority(self.ca.path("stranger"), "Stranger").certificate("x", name="stranger.test")
        server = self.served()
        for version in (V12, V13):
            ctx = self.named(version, stranger)
            _, session, line = self.visit(server, ctx)
            reused, _, line = self.visit(server, ctx, session)
            self.assertFalse(reused)
            self.assertRegex(line, "^CV=0 P=O=Test,CN=stranger.test ")

    def test_revoked_meanwhile(self):
        """The list has changed under the same name."""
        for option in ("tls_try_verify_hosts", "tls_verify_hosts"):
            for version in (V12, V13):
                with self.subTest(option=option, version=version):
                    file = f"gone{version}{option}".replace(".", "-")
                    certificate = self.ca.certificate(file, name="client.test")
                    self.ca.crl("before.pem")
                    self.copy("before.pem", "list.pem")
                    server = self.served(f"tls_verify_certificates = {self.ca.pem}", f"tls_crl = {self.ca.path('list.pem')}", option=option)
                    ctx = self.named(version, certificate)
                    _, session, _ = self.visit(server, ctx)
                    reused, session, line = self.visit(server, ctx, session)
                    self.assertTrue(reused)
                    self.known(line, True)
                    self.ca.revoke(file)
                    self.ca.crl("after.pem")
                    self.copy("after.pem", "list.pem")
                    server.stop()  # so that nobody has to wait for files to be looked at
                    server.start()
                    if option == "tls_verify_hosts":
                        self.refused(server, ctx, session, "TLS error .*certificate is revoked")
                    else:
                        reused, _, line = self.visit(server, ctx, session)
                        self.assertFalse(reused)
                        self.assertRegex(line, f"^CV=0 P={DN} ")

    def test_authority_is_another(self):
        other = Authority(self.ca.path("other-ca"))  # of the same name
        for version in (V12, V13):
            self.copy("ca.pem", "trusted.pem")
            server = self.served(f"tls_verify_certificates = {self.ca.path('trusted.pem')}", option="tls_verify_hosts")
            ctx = self.named(version)
            _, session, _ = self.visit(server, ctx)
            self.copy(other.pem, "trusted.pem")
            server.stop()
            server.start()
            self.refused(server, ctx, session, "TLS error .*unable to get local issuer certificate")

    def test_expired_meanwhile(self):
        end = int(time.time()) + 6
        file = self.ca.certificate("brief", name="client.test", end=time.strftime("%Y%m%d%H%M%SZ", time.gmtime(end)))
        server = self.served()
        sessions = {}
        for version in (V12, V13):
            ctx = self.named(version, file)
            _, session, _ = self.visit(server, ctx)
            reused, sessions[ctx], line = self.visit(server, ctx, session)
            self.assertTrue(reused)
            self.known(line, True)
        until(lambda: time.time() > end + 1.5, "its end")  # the last second counts, and time(2) is some milliseconds behind
        for ctx, session in sessions.items():
            reused, _, line = self.visit(server, ctx, session)
            self.assertFalse(reused)
            self.assertRegex(line, f"^CV=0 P={DN} ")

    def test_other_settings(self):
        """A ticket of those who may be verified is none for those who must, nor for other options."""
        server = self.served()
        ctx = self.named(V13)
        _, session, _ = self.visit(server, ctx)
        for change in ("tls_verify_hosts = *\n", f"tls_verify_certificates = {self.ca.path('more.pem')}\n"):
            self.copy("ca.pem", "more.pem")
            with open(server.config_file) as f:
                text = f.read()
            lines = [line for line in text.split("\n") if line.split(" ")[0] != change.split(" ")[0]]
            server.stop()
            server.write_config(change + "\n".join(lines))
            server.start()
            reused, _, line = self.visit(server, ctx, session)
            self.assertFalse(reused)
            self.known(line, False)

    def test_chain_is_lost(self):
        server = self.served(option="tls_verify_hosts")
        for version in (V12, V13):
            ctx = self.named(version)
            _, session, _ = self.visit(server, ctx)
            server.stop()
            os.unlink(self.database(server))
            server.start()
            reused, session, line = self.visit(server, ctx, session)
            self.assertFalse(reused)
            self.known(line, False)
            if version == V12:  # the library gives nothing new in place of a ticket that was refused
                _, session, _ = self.visit(server, ctx)
            reused, _, line = self.visit(server, ctx, session)
            self.assertTrue(reused)
            self.known(line, True)

    def test_chain_is_changed(self):
        """By somebody who may write the hints: it is no more what the ticket names."""
        server = self.served(option="tls_verify_hosts")
        ctx = self.named(V13)
        _, session, _ = self.visit(server, ctx)
        server.stop()
        with open(self.ca.path("client.leaf")) as f:
            der = ssl.PEM_cert_to_DER_cert(f.read())
        with open(self.database(server), "r+b") as f:
            data = f.read()
            self.assertIn(der, data)
            f.seek(0)
            f.write(data.replace(b"client.test", b"client.tesu"))
        server.start()
        reused, session, line = self.visit(server, ctx, session)
        self.assertFalse(reused)
        self.known(line, False)
        reused, _, line = self.visit(server, ctx, session)
        self.assertTrue(reused)

    def test_intermediates(self):
        """The chain is kept whole."""
        self.ca.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "mid.key", "-out", "mid.csr",
                        "-subj", "/O=Test/CN=Middle")
        with open(self.ca.path("mid.ext"), "w") as f:
            f.write("basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\n")
        self.ca.openssl("x509", "-req", "-in", "mid.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "77", "-days", "30",
                        "-extfile", "mid.ext", "-out", "mid.pem")
        self.ca.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "low.key", "-out", "low.csr",
                        "-subj", "/O=Test/CN=client.test")
        with open(self.ca.path("low.ext"), "w") as f:
            f.write("subjectAltName=DNS:client.test\nextendedKeyUsage=clientAuth\n")
        self.ca.openssl("x509", "-req", "-in", "low.csr", "-CA", "mid.pem", "-CAkey", "mid.key", "-set_serial", "78", "-days", "30",
                        "-extfile", "low.ext", "-out", "low.leaf")
        with open(self.ca.path("low.pem"), "w") as out:
            for name in ("low.leaf", "mid.pem"):
                with open(self.ca.path(name)) as f:
                    out.write(f.read())
        server = self.served(option="tls_verify_hosts")
        for version in (V12, V13):
            ctx = self.named(version, (self.ca.path("low.pem"), self.ca.path("low.key")))
            _, session, line = self.visit(server, ctx)
            self.known(line, False)
            reused, _, line = self.visit(server, ctx, session)
            self.assertTrue(reused)
            self.known(line, True)

    def test_without_hints(self):
        server = self.served(start=False)
        os.makedirs(os.path.join(server.dir, "spool"))
        os.chmod(os.path.join(server.dir, "spool"), 0o777)
        with open(os.path.join(server.dir, "spool", "db"), "w"):
            pass
        server.start()
        for version in (V12, V13):
            ctx = self.named(version)
            _, session, _ = self.visit(server, ctx)
            reused, _, line = self.visit(server, ctx, session)
            self.assertFalse(reused)
            self.known(line, False)


SHOWN = 32  # bytes of the chain's name

if __name__ == "__main__":
    unittest.main()
