"""TLS with clients: STARTTLS and TLS from the first byte; certificates, names, proofs, tickets; and what must not work."""
import contextlib
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

from harness import USER, SluiceTest, Client, configuration, peer, until
from authority import Authority

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"
MAIL = "MAIL FROM:<s@client.test>"


def context(ca=None, version=None, certificate=None, ciphers=None):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_NONE
    if ca:
        ctx.verify_mode = ssl.CERT_REQUIRED
        ctx.load_verify_locations(ca)
    if version:
        ctx.minimum_version = ctx.maximum_version = version
    if certificate:
        ctx.load_cert_chain(*certificate)
    if ciphers:
        ctx.set_ciphers(ciphers)
    return ctx


def starttls(client, ctx, name=None, session=None):
    """EHLO, STARTTLS, the handshake, EHLO; the second EHLO's reply."""
    client.ehlo()
    client.expect("STARTTLS", 220, "TLS go ahead")
    client.sock = ctx.wrap_socket(client.sock, server_hostname=name, session=session)
    return client.ehlo()


def deliver(client, rcpt="alice@test"):
    client.expect(MAIL, 250)
    client.expect(f"RCPT TO:<{rcpt}>", 250)
    client.data(MESSAGE)


class TlsTest(SluiceTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pki_dir = tempfile.mkdtemp(prefix="sluice-pki-")
        os.chmod(cls.pki_dir, 0o755)
        cls.ca = Authority(cls.pki_dir)
        cls.ec = cls.ca.certificate("ec")
        cls.rsa = cls.ca.certificate("rsa", kind="rsa")
        cls.client_certificate = cls.ca.certificate("client", name="client.test")
        cls.set_up()

    @classmethod
    def set_up(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        try:
            super().tearDownClass()
        finally:
            shutil.rmtree(cls.pki_dir)

    def tls_main(self, *lines, certificate=None):
        pem, key = certificate or self.ec
        return f"tls_certificate = {pem}\ntls_privatekey = {key}\n" + "".join(f"{line}\n" for line in lines)

    def copy(self, name, to):
        """Replaced as an administrator should: by rename."""
        shutil.copy(self.ca.path(name), self.ca.path(to + ".new"))
        os.chmod(self.ca.path(to + ".new"), 0o644)
        os.rename(self.ca.path(to + ".new"), self.ca.path(to))

    def serial(self, client):
        return client.sock.getpeercert()["serialNumber"]


class Session(TlsTest):
    """One server with both kinds of certificates."""

    @classmethod
    def set_up(cls):
        cls.config = configuration(main=f"""
tls_certificate = {cls.rsa[0]} : {cls.ec[0]}
tls_privatekey = {cls.rsa[1]} : {cls.ec[1]}
tls_try_verify_hosts = *
tls_verify_certificates = {cls.ca.pem}
log_selector = +tls_peerdn +tls_sni +tls_certificate_verified +tls_resumption
acl_smtp_mail = mail_acl
""").replace("begin acl", """begin acl
mail_acl:
  accept encrypted = *
         logwrite = V=$tls_in_ver C=$tls_in_cipher S=$tls_in_cipher_std B=$tls_in_bits P=$tls_in_peerdn SNI=$tls_in_sni \\
                    CV=$tls_in_certificate_verified O=$tls_in_ocsp R=$tls_in_resumption \\
                    W=${listextract{$tls_in_resumption}{_RESUME_DECODE}}
  accept logwrite = clear text
""")

    def test_every_version_and_kind(self):
        for version, cipher, x in (
                (ssl.TLSVersion.TLSv1_3, None, "TLS1.3:ECDHE_X25519__ECDSA_SECP256R1_SHA256__AES_256_GCM:256"),
                (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", "TLS1.2:ECDHE_X25519__ECDSA_SHA256__AES_128_GCM:128"),
                (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-GCM-SHA384", "TLS1.2:ECDHE_X25519__RSA_SHA256__AES_256_GCM:256"),
                (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-CHACHA20-POLY1305", "TLS1.2:ECDHE_X25519__RSA_SHA256__CHACHA20_POLY1305:256"),
                (ssl.TLSVersion.TLSv1_2, "DHE-RSA-AES128-GCM-SHA256", "TLS1.2:DHE_CUSTOM__RSA_SHA256__AES_128_GCM:128")):
            with self.subTest(x=x), self.shared().client() as client:
                self.shared().log_at = 0
                reply = starttls(client, context(self.ca.pem, version, ciphers=cipher), "mx.test")
                self.assertNotIn("STARTTLS", reply.text)
                deliver(client)
                client.quit()
                log = self.shared().wait_log(re.escape(f" P=esmtps X={x} CV=no SNI=mx.test "))
                self.assertIn("B=256" if "256" in x.split("__")[-1] or "CHACHA" in x else "B=128", log)

    def test_client_certificate(self):
        with self.shared().client() as client:
            starttls(client, context(certificate=self.client_certificate))
            deliver(client)
        self.shared().wait_log('CV=yes DN="O=Test,CN=client.test"')

    def test_client_certificate_of_another_authority(self):
        other = Authority(self.ca.path("other"), "Other")
        certificate = other.certificate("x", name="stranger.test")
        with self.shared().client() as client:
            starttls(client, context(certificate=certificate))
            deliver(client)
        self.shared().wait_log('CV=no DN="O=Test,CN=stranger.test"')
        self.shared().wait_log("SSL verify error: certificate of the client")

    def test_nothing_of_before_counts(self):
        with self.shared().client() as client:
            starttls_reply = starttls(client, context())
            self.assertIn("Hello", starttls_reply.text)
        with self.shared().client() as client:
            client.ehlo()
            client.expect("STARTTLS", 220)
            client.sock = context().wrap_socket(client.sock)
            client.expect(MAIL, 503, "HELO or EHLO required")
            client.expect("STARTTLS", 554, "Already in TLS")
            client.ehlo()
            deliver(client)

    def test_injected_commands(self):
        for first in (b"STARTTLS\r\nMAIL FROM:<x@y>\r\n", b"STARTTLS\r\nEHLO x\r\n"):
            with self.shared().client() as client:
                client.ehlo()
                client.send(first)
                client.wait(554, "synchronization")
                client.closed()

    def test_injected_commands_without_sync(self):
        server = self.sluice(configuration(main=self.tls_main("smtp_enforce_sync = no")))
        with server.client() as client:
            client.ehlo()
            client.send(b"STARTTLS\r\nEHLO x\r\n")
            client.wait(554, "synchronization")
            client.closed()

    def test_hellos_that_overtake(self):
        """With many sessions in one turn of the loop, replies go to the kernel together: a client's hello can be there before the session
        that said "go ahead" runs on."""
        server = self.shared()
        clients = [server.client() for _ in range(150)]
        poll, hellos, threads = select.epoll(), {}, []
        try:
            for client in clients:
                client.ehlo()
                end = context().wrap_bio(ssl.MemoryBIO(), out := ssl.MemoryBIO(), server_hostname="test")
                with self.assertRaises(ssl.SSLWantReadError):
                    end.do_handshake()
                hellos[client.sock.fileno()] = client.sock, out.read()
                poll.register(client.sock, select.EPOLLIN)
            worker = server.worker()
            threads = [0, *map(int, os.listdir(f"/proc/{worker}/task"))]
            with contextlib.suppress(PermissionError):  # without the right, others on the machine may keep them from meeting
                for thread in threads:
                    os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(1))
            os.kill(worker, signal.SIGSTOP)  # so that it finds them all at once
            for client in clients:
                client.sock.send(b"STARTTLS\r\n")
            os.kill(worker, signal.SIGCONT)
            asked = dict(hellos)
            while asked:
                for fd, _ in poll.poll(10) or self.fail("no reply"):
                    sock, hello = asked.pop(fd)
                    self.assertEqual(sock.recv(100)[:4], b"220 ")
                    sock.send(hello)
                    poll.unregister(fd)
            for sock, _ in hellos.values():
                self.assertEqual(sock.recv(5)[:3], b"\x16\x03\x03")  # a record of the handshake
        finally:
            for thread in threads:
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
            poll.close()
            for client in clients:
                client.close()

    def test_acl_for_starttls(self):
        """It is about the client that has said it, not about the one that spoke before."""
        text = configuration(main=self.tls_main("acl_smtp_starttls = starttls_acl")).replace("\nbegin acl\n", """
begin acl
starttls_acl:
  deny    condition = ${if eq{$sender_helo_name}{no.test}}
          message = not you
  accept  logwrite = STARTTLS by $sender_helo_name $received_protocol $sender_host_port out=$tls_out_bits$tls_out_cipher$host
""")
        server = self.sluice(text)
        with server.client() as first, server.client() as second, server.client() as third:
            first.ehlo("first.test")
            second.ehlo("second.test")
            third.ehlo("no.test")
            first.expect("STARTTLS", 220)
            second.cmd("NOOP")
            third.expect("STARTTLS", 550, "not you")
            second.expect("STARTTLS", 220)
            for client, name in ((first, "first"), (second, "second")):
                port = client.sock.getsockname()[1]
                server.wait_log(rf"STARTTLS by {name}\.test esmtp {port} out=0\n")
            self.assertIn("rejected STARTTLS: not you", server.log())

    def test_not_advertised(self):
        with self.shared().client() as client:
            client.expect("STARTTLS", 503, "not advertised")
            client.cmd("HELO x")
            client.expect("STARTTLS", 503, "not advertised")

    def test_pipelined_under_tls(self):
        with self.shared().client() as client:
            starttls(client, context())
            client.send(b"MAIL FROM:<s@client.test>\r\nRCPT TO:<alice@test>\r\nRCPT TO:<nobody@test>\r\nRSET\r\n")
            for code in (250, 250, 550, 250):
                client.wait(code)
            client.send(b"NOOP")
            client.send(b"\r")
            client.send(b"\n")
            client.wait(250)

    def test_large_message(self):
        body = b"Subject: large\r\n\r\n" + b"".join(b"%07d %s\r\n" % (n, b"x" * 60) for n in range(60000))
        with self.shared().client() as client:
            starttls(client, context())
            client.expect(MAIL, 250)
            client.expect("RCPT TO:<carol@test>", 250)
            client.data(body)
        mail = self.shared().wait_mail(user="carol")
        self.assertTrue(mail[-1].endswith(body[-4000:].replace(b"\r\n", b"\n")))
        self.assertGreater(len(mail[-1]), len(body) - 60010)

    def test_tls_ends_in_a_body(self):
        """Whatever comes after the end of TLS is nothing, least of all clear text (CVE-2026-45185)."""
        for verb in ("BDAT 1000 LAST", "DATA"):
            with self.shared().client() as client:
                starttls(client, context())
                client.expect(MAIL, 250)
                client.expect("RCPT TO:<bob@test>", 250)
                if verb == "DATA":
                    client.expect(verb, 354)
                    client.send(b"Subject: x\r\n\r\npart\r\n")
                else:
                    client.send(verb.encode() + b"\r\nSubject: x\r\n\r\npart\r\n")
                raw = socket.socket(fileno=os.dup(client.sock.fileno()))
                try:
                    client.sock.setblocking(False)
                    try:
                        client.sock.unwrap()
                    except (ssl.SSLError, OSError):
                        pass
                    raw.setblocking(True)
                    raw.settimeout(30)
                    try:
                        raw.sendall(b"injected\r\n.\r\nQUIT\r\n" + b"x" * 1000)
                        rest = b""
                        while chunk := raw.recv(1000):
                            rest += chunk
                    except (ConnectionError, BrokenPipeError):
                        rest = rest if "rest" in dir() else b""
                    for clear in (b"250", b"221", b"354", b"500"):
                        self.assertNotIn(clear, rest)
                finally:
                    raw.close()
        self.assertEqual([], self.shared().maildir("bob"))

    def by_hand(self, client, send):
        """The handshake; how its bytes are sent, and when the last ones are, is the caller's."""
        inc, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context(self.ca.pem).wrap_bio(inc, out, server_hostname="mx.test")
        while True:
            try:
                tls.do_handshake()
                return tls, inc, out
            except ssl.SSLWantReadError:
                send(out.read())
                inc.write(client.sock.recv(65536))

    def test_segments(self):
        """A client that has spoken gets its ticket with the reply, and the last reply with the alert that it was the last."""
        with self.sluice(configuration(main=self.tls_main("tls_resumption_hosts = *"))).client() as client:
            client.ehlo()
            client.expect("STARTTLS", 220)
            tls, inc, out = self.by_hand(client, client.sock.sendall)
            tls.write(b"EHLO x\r\n")
            client.sock.sendall(out.read())  # behind Finished, in one segment
            inc.write(client.sock.recv(65536))
            self.assertTrue(tls.read().endswith(b"250 HELP\r\n"))
            self.assertTrue(tls.session.has_ticket)
            tls.write(b"QUIT\r\n")
            client.sock.sendall(out.read())
            inc.write(client.sock.recv(65536))
            self.assertTrue(tls.read().startswith(b"221 "))
            self.assertEqual(b"", tls.read())  # without the alert: SSLWantReadError

    def test_fragments(self):
        """A handshake whose bytes come one by one."""
        with self.shared().client() as client:
            client.ehlo()
            client.expect("STARTTLS", 220)
            def byte_by_byte(sent):
                for byte in sent:
                    client.sock.sendall(bytes([byte]))
            tls, inc, out = self.by_hand(client, byte_by_byte)
            byte_by_byte(out.read())
            tls.write(b"EHLO x\r\n")
            client.sock.sendall(out.read())
            text = b""
            while b"250 HELP" not in text:
                inc.write(client.sock.recv(65536))
                try:
                    while True:
                        text += tls.read()
                except ssl.SSLWantReadError:
                    pass


class BadInput(TlsTest):
    @classmethod
    def set_up(cls):
        cls.config = configuration(main=f"tls_certificate = {cls.ec[0]}\ntls_privatekey = {cls.ec[1]}\n")

    def after_starttls(self, data, shut=False):
        """What the server says to these bytes in the place of a ClientHello, up to the end."""
        with self.shared().client() as client:
            client.ehlo()
            client.expect("STARTTLS", 220)
            client.sock.sendall(data)
            if shut:
                client.sock.shutdown(socket.SHUT_WR)
            rest = b""
            try:
                while chunk := client.sock.recv(1000):
                    rest += chunk
            except ConnectionError:
                pass
            return rest

    def hello(self):
        inc, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context().wrap_bio(inc, out, server_hostname="mx.test")
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return out.read()

    def test_garbage(self):
        for data, why, alert in (
                (b"EHLO x\r\n", "no ClientHello", 10),
                (b"\x80\x2e\x01\x03\x01", "no ClientHello", 10),  # an SSL 2 hello
                (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", "no ClientHello", 10),
                (b"\x16\x03\x01\x00\x00", "malformed", 50),
                (b"\x16\x03\x01\xff\xff" + b"\x01" * 100, "malformed", 50),
                (b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", "malformed", 50),
                (b"\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00", "malformed", 50),
                (b"\x16\x03\x01\x00\x01\x01" * 70, "malformed", 50)):
            with self.subTest(data=data[:20]):
                before = len(re.findall(why, self.shared().log()))
                self.assertEqual(b"\x15\x03\x03\x00\x02\x02" + bytes([alert]), self.after_starttls(data))
                self.shared().wait_log(f"TLS error on connection from .*{why}", count=before + 1)

    def test_cut_hello(self):
        hello = self.hello()
        for length in (1, 4, 5, 6, 50, len(hello) - 1):
            self.assertEqual(b"", self.after_starttls(hello[:length], shut=True))
        self.shared().wait_log("closed before the ClientHello", count=6)

    def test_flipped_hello(self):
        """Each of these is some kind of mistake; none of them is our end."""
        hello = self.hello()
        for at in range(9, len(hello), 7):
            self.after_starttls(hello[:at] + bytes([hello[at] ^ 0xff]) + hello[at + 1:] + b"\x15\x03\x03\x00\x02\x02\x00", shut=True)

    def test_silent_in_the_middle(self):
        """Before the hello, in the middle of it, behind it: whoever has the others wait is not waited for for ever."""
        server = self.sluice(configuration(main=self.tls_main("smtp_receive_timeout = 1s")))
        hello = self.hello()
        for count, part in enumerate((b"", hello[:50], hello), 1):
            with server.client() as client:
                client.ehlo()
                client.expect("STARTTLS", 220)
                client.sock.sendall(part)
                while client.sock.recv(65536):
                    pass
            server.wait_log(r"TLS error on connection from \(client\.test\) \[127\.0\.0\.1\] \(handshake\): it took too long", count=count)

    def test_vanishes_in_the_middle(self):
        for _ in range(5):
            with self.shared().client() as client:
                client.ehlo()
                client.expect("STARTTLS", 220)
                client.sock.sendall(self.hello())
                self.assertEqual(b"\x16", client.sock.recv(1))  # the server's flight
                client.reset()
        self.shared().wait_log("in the middle of the handshake", count=5)

    def test_oversized_record_and_garbage_behind_the_handshake(self):
        for junk in (b"\x17\x03\x03\xff\xff" + b"x" * 70000, b"\x17\x03\x03\x00\x20" + b"x" * 32, b"QUIT\r\n" * 10):
            with self.shared().client() as client:
                starttls(client, context())
                raw = socket.socket(fileno=os.dup(client.sock.fileno()))
                with raw:
                    raw.setblocking(True)
                    raw.settimeout(30)
                    try:
                        raw.sendall(junk)
                        rest = b""
                        while chunk := raw.recv(1000):
                            rest += chunk
                    except ConnectionError:
                        pass
                    self.assertNotIn(b"221", rest)

    def test_old_versions(self):
        for flag in ("-tls1", "-tls1_1"):
            done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.shared().port}", "-starttls", "smtp", flag,
                                   "-cipher", "ALL:@SECLEVEL=0"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
            self.assertIn(b"alert", done.stderr + done.stdout)
            self.assertNotIn(b"\nVerify return code", done.stdout.split(b"Cipher is (NONE)")[0])

    def test_who_has_nothing_in_common(self):
        """The alert says which it is, and so does the log."""
        must = ("tls_verify_hosts = *", f"tls_verify_certificates = {self.ca.pem}")
        only12, only13 = ("tls_require_ciphers = NORMAL:-VERS-TLS1.3",), ("tls_require_ciphers = NORMAL:-VERS-TLS1.2",)
        stranger = Authority(self.ca.path("nobody"), "Nobody").certificate("nobody")
        for lines, cases in {
            (): ((("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "protocol version", "the client has neither TLS 1.2 nor TLS 1.3"),
                 (("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"), "handshake failure", "can't match cipher suite"),
                 (("-tls1_3", "-sigalgs", "RSA-PSS+SHA256"), "handshake failure", "can't match cipher suite"),
                 (("-alpn", "h2"), "no application protocol", "Unrecognized protocol name Error")),
            only12: ((("-tls1_3",), "protocol version", "the client has no TLS 1.2"),),
            only13: ((("-tls1_2",), "protocol version", "the client has no TLS 1.3"),),
            ("tls_eccurve = P-384",): ((("-tls1_3", "-curves", "X25519:P-256"), "handshake failure", "the client has none of the curves of tls_eccurve"),
                                       (("-tls1_2", "-curves", "X25519:P-256"), "handshake failure", "the client has none of the curves of tls_eccurve")),
            must: ((("-tls1_2",), "handshake failure", "peer did not return a certificate"),
                   (("-tls1_3",), "certificate required", "peer did not return a certificate"),
                   (("-tls1_2", "-cert", stranger[0], "-key", stranger[1]), "unknown ca", r"unable to get local issuer certificate"),
                   (("-tls1_3", "-cert", stranger[0], "-key", stranger[1]), "unknown ca", r"unable to get local issuer certificate")),
        }.items():
            server = self.sluice(configuration(main=self.tls_main(*lines)))
            for number, (arguments, alert, words) in enumerate(cases):
                with self.subTest(lines=lines, arguments=arguments):
                    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-starttls", "smtp", "-quiet", *arguments],
                                          stdin=subprocess.PIPE, capture_output=True, timeout=30)
                    self.assertRegex(done.stderr.decode(), f"alert {alert}")
                    stage = "certificate verification failed" if "issuer" in words else "handshake"
                    log = server.wait_log(r"TLS error on connection from \(mail\.example\.com\) \[127\.0\.0\.1\] ", count=number + 1)
                    self.assertTrue(log.rstrip().split("\n")[-1].endswith(f"({stage}): {words}"), log)

    def test_renegotiation(self):
        p = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{self.shared().port}", "-starttls", "smtp", "-tls1_2",
                              "-legacy_renegotiation"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            p.stdin.write(b"R\n")
            p.stdin.flush()
            text = b""
            while chunk := os.read(p.stdout.fileno(), 65536):
                text += chunk
                if b"RENEGOTIATING" in text and (b"error" in text.split(b"RENEGOTIATING")[1] or b"250" in text.split(b"RENEGOTIATING")[1]):
                    break
            self.assertRegex(text.split(b"RENEGOTIATING")[1], rb"no renegotiation|handshake failure|unexpected|error")
        finally:
            p.stdin.close()
            p.kill()
            p.wait()
            p.stdout.close()

    def test_alpn(self):
        for protocols, fine in ((["smtp"], True), (["h2"], False), (["h2", "esmtp"], True)):
            ctx = context()
            ctx.set_alpn_protocols(protocols)
            with self.subTest(protocols=protocols), self.shared().client() as client:
                if fine:
                    starttls(client, ctx)
                    self.assertEqual(protocols[-1], client.sock.selected_alpn_protocol())
                else:
                    with self.assertRaisesRegex(ssl.SSLError, "(?i)alert no application|no_application"):
                        starttls(client, ctx)


class Certificates(TlsTest):
    def refused(self, *lines, pattern, **options):
        server = self.sluice(configuration(main=self.tls_main(*lines, **options)))
        with server.client() as client:
            client.ehlo()
            client.expect("STARTTLS", 454, "TLS currently unavailable")
            # In the clear it goes on.
            client.expect(MAIL, 250)
        server.wait_log(pattern)

    def test_missing(self):
        self.refused(certificate=("/nonexistent.pem", self.ec[1]), pattern="/nonexistent.pem: No such file")

    def test_wrong_key(self):
        self.refused(certificate=(self.ec[0], self.client_certificate[1]), pattern="the key is not that of the certificate")

    def test_unreadable(self):
        path = self.ca.path("garbage.pem")
        for text, pattern in ((b"\x00\x01garbage" * 100, "no certificate in it"), (b"", "the file is empty"),
                              (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificate in it")):
            with open(path, "wb") as f:
                f.write(text)
            self.refused(certificate=(path, self.ec[1]), pattern=pattern)

    def test_expansion_fails(self):
        self.refused(certificate=("${nosuch{x}}", self.ec[1]), pattern="expansion of tls_certificate failed")

    def test_expansion_is_forced_to_fail(self):
        """No certificate for this client is not the same as no certificate at all, for which one would be made up."""
        self.refused("", certificate=("${if eq{$sender_host_address}{192.0.2.1}{/x}fail}", self.ec[1]), pattern="expansion of tls_certificate failed")

    def test_unknown_ciphers(self):
        self.refused("tls_require_ciphers = NO-SUCH-CIPHER", pattern="tls_require_ciphers")

    def test_self_signed_when_unset(self):
        server = self.sluice(configuration())
        with server.client() as client:
            starttls(client, context())
            der = client.sock.getpeercert(True)
            deliver(client)
        text = self.ca.openssl("x509", "-inform", "DER", "-noout", "-subject", "-issuer", stdin=der).decode()
        self.assertEqual(2, text.count("CN = mx.test"), text)

    def test_renewed_without_a_restart_and_a_bad_one_is_left_out(self):
        self.ca.certificate("next")
        for name in ("pem", "key"):
            self.copy(f"ec.{name}", f"live.{name}")
        live = self.ca.path("live.pem"), self.ca.path("live.key")
        server = self.sluice(configuration(main=self.tls_main(certificate=live)))

        def serial():
            with server.client() as client:
                starttls(client, context(self.ca.pem))
                return self.serial(client)
        first = serial()
        with open(self.ca.path("broken.pem"), "w") as f:
            f.write("broken\n")
        self.copy("broken.pem", "live.pem")
        until(lambda: serial() == first and "stays in use" in server.log(), "a line about the broken file")
        server.hup()
        server.wait_log("configuration reloaded")
        for _ in range(3):
            self.assertEqual(first, serial())
        os.unlink(live[0])
        until(lambda: serial() == first and "live.pem: No such file" in server.log(), "a line about the file that is gone")
        self.copy("ec.pem", "live.pem")
        self.copy("next.key", "live.key")
        until(lambda: serial() == first and "the key is not that of the certificate" in server.log(), "a line about the wrong key")
        self.copy("next.pem", "live.pem")
        until(lambda: serial() != first, "the new certificate")
        self.assertEqual(1, server.log().count("no certificate in it"))

    def test_names_that_clients_ask_for(self):
        self.ca.certificate("a.test", name="a.test")
        self.ca.certificate("b.test", name="b.test", kind="rsa")
        base = self.ca.dir
        for option in (f"{base}/${{lookup{{$tls_in_sni.pem}}dsearch{{{base}}}{{$value}}{{ec.pem}}}}",
                       f"${{if exists{{{base}/$tls_sni.pem}}{{{base}/$tls_sni.pem}}{{{base}/ec.pem}}}}",
                       f"{base}/${{if match{{$tls_in_sni}}{{^[ab]\\\\.test\\$}}{{$tls_in_sni}}{{ec}}}}.pem"):
            server = self.sluice(configuration(main=f"tls_certificate = {option}\ntls_privatekey = {option.replace('.pem', '.key')}\n"))
            for asked, expected in (("a.test", "a.test"), ("b.test", "b.test"), ("c.test", "mx.test"), (None, "mx.test")):
                with self.subTest(option=option, asked=asked), server.client() as client:
                    starttls(client, context(self.ca.pem), asked)
                    self.assertEqual(expected, dict(x[0] for x in client.sock.getpeercert()["subject"])["commonName"])

    def test_require_ciphers(self):
        server = self.sluice(configuration(main=self.tls_main("tls_require_ciphers = ECDHE-ECDSA-AES256-GCM-SHA384")))
        with server.client() as client:
            starttls(client, context(version=ssl.TLSVersion.TLSv1_2))
            self.assertEqual("ECDHE-ECDSA-AES256-GCM-SHA384", client.sock.cipher()[0])
        with server.client() as client:
            with self.assertRaises(ssl.SSLError):
                starttls(client, context(version=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"))
        server.wait_log("TLS error on connection from")


class ClientCertificates(TlsTest):
    def test_required_and_revoked(self):
        bad = self.ca.certificate("bad", name="bad.test")
        expired = self.ca.certificate("expired", name="old.test", end="20210101000000Z")
        self.ca.revoke("bad")
        crl = self.ca.crl()
        server = self.sluice(configuration(main=self.tls_main("tls_verify_hosts = *", f"tls_verify_certificates = {self.ca.pem}",
                                                              f"tls_crl = {crl}", "log_selector = +tls_certificate_verified")))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with server.client() as client:
                starttls(client, context(version=version, certificate=self.client_certificate))
                deliver(client)
            server.wait_log("CV=yes")
            for certificate in (None, bad, expired):
                with self.subTest(certificate=certificate, version=version), server.client() as client:
                    with self.assertRaises((ssl.SSLError, ConnectionError, Exception)):
                        starttls(client, context(version=version, certificate=certificate))
                        client.expect("NOOP", 250)
        log = server.wait_log("TLS error on connection from", count=6)
        self.assertRegex(log, "(?i)revoked")

    def test_tls_authenticator(self):
        policy = configuration(main=self.tls_main("tls_try_verify_hosts = *", f"tls_verify_certificates = {self.ca.pem}")) + """
begin authenticators
cert:
  driver = tls
  server_param1 = ${certextract{subject,CN}{$tls_in_peercert}}
  server_condition = ${if bool{$tls_in_certificate_verified}}
  server_set_id = $auth1
"""
        server = self.sluice(policy)
        with server.client() as client:
            starttls(client, context(certificate=self.client_certificate))
            deliver(client)
        server.wait_log("P=esmtpsa .*A=cert")
        with server.client() as client:
            starttls(client, context())
            deliver(client)
        server.wait_log("P=esmtps X")


class Options(TlsTest):
    """What the options come to, seen by openssl's client."""

    def client(self, server, *arguments):
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-starttls", "smtp", "-crlf", "-ign_eof",
                               *arguments], input=b"QUIT\n", capture_output=True, timeout=60)
        return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")

    def curve(self, server, version, offered):
        return "".join(re.findall("Server Temp Key.*|Cipher is.*|alert.*", self.client(server, version, "-curves", offered)))

    def test_curves(self):
        server = self.sluice(configuration(main=self.tls_main("tls_eccurve = P-384")))
        for version in ("-tls1_2", "-tls1_3"):
            with self.subTest(version):
                self.assertRegex(self.curve(server, version, "P-256:P-384:X25519"), "Server Temp Key: .*(P-384|secp384r1)")
                self.assertNotIn("Server Temp Key", self.curve(server, version, "X25519"))
        server.wait_log("none of the curves of tls_eccurve")
        # The first of ours that the client knows, with TLS 1.2 and where the server itself has no more.
        for lines, offered, taken in (("tls_eccurve = P-384:P-256", "P-256:P-384", "P-384|secp384r1"), ("tls_eccurve = P-384:P-256", "X25519:P-256", "P-256|prime256v1"),
                                      ("tls_eccurve = X25519:P-256", "P-256:X25519", "X25519"), ("tls_eccurve = P-521", "P-256:P-521", "P-521|secp521r1"),
                                      ("", "P-384", "P-384|secp384r1"), ("tls_eccurve = auto", "X25519", "X25519")):
            with self.subTest(lines=lines, offered=offered):
                server = self.sluice(configuration(main=self.tls_main(*filter(None, [lines]))))
                self.assertRegex(self.curve(server, "-tls1_2", offered), f"Server Temp Key: .*({taken})")
        server = self.sluice(configuration(main=self.tls_main("tls_eccurve = P-384", "tls_require_ciphers = NORMAL:-VERS-TLS1.3")))
        self.assertRegex(self.curve(server, "-no_ssl3", "X25519:P-256:P-384"), "Server Temp Key: .*(P-384|secp384r1)")
        server = self.sluice(configuration(main=self.tls_main("tls_eccurve = no-such-curve")))
        with server.client() as client:
            client.ehlo()
            client.expect("STARTTLS", 454)
        server.wait_log("tls_eccurve.*no-such-curve")

    def test_dh_parameters(self):
        dhe = ("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256")
        self.ca.openssl("dhparam", "-dsaparam", "-out", "dh.pem", "2048")
        for value, expected in (("", "DH, 2048"), ("ffdhe3072", "DH, (3072|2048)"), (self.ca.path("dh.pem"), "DH, 2048")):
            with self.subTest(value=value):
                lines = [f"tls_dhparam = {value}"] if value else []
                server = self.sluice(configuration(main=self.tls_main(*lines, certificate=self.rsa)))
                self.assertRegex(self.client(server, *dhe), "Server Temp Key: " + expected)
        server = self.sluice(configuration(main=self.tls_main("tls_dhparam = none", certificate=self.rsa)))
        self.assertNotIn("Server Temp Key", self.client(server, *dhe))
        server = self.sluice(configuration(main=self.tls_main("tls_dhparam = /nowhere/dh.pem", certificate=self.rsa)))
        with server.client() as client:
            client.ehlo()
            client.expect("STARTTLS", 454)
        server.wait_log("/nowhere/dh.pem")
        server = self.sluice(configuration(main=self.tls_main("tls_dhparam = ffdhe204", certificate=self.rsa)))
        with server.client() as client:
            client.ehlo()
            client.expect("STARTTLS", 454)
        server.wait_log('tls_dhparam: "ffdhe204" is no name of parameters')

    def test_whose_order_of_ciphers(self):
        wanted = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"
        for flag, chosen in (("", wanted[0]), (":%SERVER_PRECEDENCE", wanted[1])):
            server = self.sluice(configuration(main=self.tls_main("tls_require_ciphers = NORMAL" + flag)))
            for ciphers in (":".join(wanted), wanted[0]):
                with server.client() as client:
                    starttls(client, context(version=ssl.TLSVersion.TLSv1_2, ciphers=ciphers))
                    self.assertEqual(chosen if ":" in ciphers else ciphers, client.sock.cipher()[0])

    def test_directories(self):
        """Authorities and revocation lists in directories."""
        bad = self.ca.certificate("bad-dir", name="bad.test")
        self.ca.revoke("bad-dir")
        directory, lists = self.ca.path("authorities"), self.ca.path("lists")
        os.mkdir(directory)
        os.mkdir(lists)
        name = self.ca.openssl("x509", "-in", "ca.pem", "-noout", "-hash").decode().strip()
        shutil.copy(self.ca.pem, os.path.join(directory, f"{name}.0"))
        shutil.copy(self.ca.crl("dir-crl.pem"), os.path.join(lists, f"{name}.pem"))
        for path in (directory, lists):
            os.chmod(path, 0o755)
        server = self.sluice(configuration(main=self.tls_main("tls_verify_hosts = *", f"tls_verify_certificates = {directory}",
                                                              f"tls_crl = {lists}")))
        with server.client() as client:
            starttls(client, context(certificate=self.client_certificate))
            deliver(client)
        with server.client() as client, self.assertRaises(Exception):
            starttls(client, context(certificate=bad))
            client.expect("NOOP", 250)
        server.wait_log("TLS error on connection from .*(?i:revoked)")


class OnConnect(TlsTest):
    def test_ports(self):
        """tls_on_connect_ports: of two ports the one that is named."""
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        server = self.sluice(configuration(main=self.tls_main(f"tls_on_connect_ports = {port}")), start=False)
        server.start("-oX", f"<+ 127.0.0.1.0 + 127.0.0.1.{port}", wait=False)
        until(server.has_started, "the daemon")
        clear = next(p for p in server.ports if p != port)
        with Client(clear) as client:
            self.assertIn("STARTTLS", client.ehlo().text)
        client = Client(port, banner=False)
        with client:
            client.sock = context(self.ca.pem).wrap_socket(client.sock, server_hostname="mx.test")
            client.wait(220)
            self.assertNotIn("STARTTLS", client.ehlo().text)

    def test_from_the_first_byte(self):
        server = self.sluice(configuration(main=self.tls_main()), start=False)
        server.start("-tls-on-connect", wait=False)
        until(server.has_started, "the daemon")

        def open_it():
            client = Client(server.port, banner=False)
            client.sock = context(self.ca.pem).wrap_socket(client.sock, server_hostname="mx.test")
            client.wait(220)
            return client
        with open_it() as client:
            self.assertNotIn("STARTTLS", client.ehlo().text)
            deliver(client)
            client.quit()
        server.wait_log("P=esmtps X=TLS1.3")
        # No clear text, however long one waits for a banner or speaks.
        with socket.create_connection(("127.0.0.1", server.port), 30) as sock:
            sock.sendall(b"EHLO x\r\n")
            self.assertEqual(b"\x15\x03\x03\x00\x02\x02\x0a", sock.recv(1000))
            self.assertEqual(b"", sock.recv(1000))
        server.wait_log("TLS error on connection from .*no ClientHello")


class Proofs(TlsTest):
    """OCSP stapling."""

    def status(self, server, *arguments):
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-starttls", "smtp", "-status", "-crlf", "-ign_eof",
                               *arguments], input=b"QUIT\n", capture_output=True, timeout=60)
        return done.stdout.decode(errors="replace")

    def main_with(self, *lines):
        return configuration(main=self.tls_main("acl_smtp_quit = quit_acl", *lines)).replace("begin acl", """begin acl
quit_acl:
  accept logwrite = ocsp=$tls_in_ocsp
""")

    def test_good_and_replaced(self):
        self.ca.proof("ec", "ec.ocsp")
        server = self.sluice(self.main_with(f"tls_ocsp_file = {self.ca.path('ec.ocsp')}"))
        for version in ("-tls1_3", "-tls1_2"):
            text = self.status(server, version)
            self.assertIn("Cert Status: good", text, server.log())
        server.wait_log("ocsp=4", count=2)
        before = re.search("Next Update: (.*)", text).group(1)
        self.ca.proof("ec", "later.ocsp", days=20)
        self.copy("later.ocsp", "ec.ocsp")
        until(lambda: re.search("Next Update: (.*)", self.status(server)).group(1) != before, "the new proof")
        with server.client() as client:
            starttls(client, context())
            client.quit()
        server.wait_log("ocsp=0")

    def test_bad_ones_are_left_out(self):
        revoked = self.ca.certificate("revoked")
        self.ca.revoke("revoked")
        self.ca.proof("revoked", "revoked.ocsp")
        self.ca.proof("ec", "forever.ocsp", days=None)
        self.ca.proof("rsa", "foreign.ocsp")
        good = self.ca.proof("ec", "cut.ocsp")
        with open(good, "rb") as f:
            der = f.read()
        with open(good, "wb") as f:
            f.write(der[:-5])
        with open(self.ca.path("empty.ocsp"), "wb"):
            pass
        for file, certificate in (("revoked", revoked), ("forever", self.ec), ("foreign", self.ec), ("cut", self.ec),
                                  ("empty", self.ec), ("missing", self.ec)):
            with self.subTest(file=file):
                pem, key = certificate
                server = self.sluice(self.main_with(f"tls_ocsp_file = {self.ca.path(file + '.ocsp')}").replace(
                    self.ec[0], pem).replace(self.ec[1], key))
                self.assertIn("OCSP response: no response sent", self.status(server))
                server.wait_log("ocsp=1")
                server.wait_log(rf"tls_ocsp_file.*{file}\.ocsp")


class Resumption(TlsTest):
    main_lines = "tls_resumption_hosts = 127.0.0.1\nlog_selector = +tls_resumption\nshards = 2\n"

    def connect(self, server, ctx, session=None, name="mx.test"):
        with server.client() as client:
            starttls(client, ctx, name, session)
            reused = client.sock.session_reused
            client.cmd("NOOP")
            session = client.sock.session
            deliver(client)
            client.quit()
            return reused, session

    def server_with(self, lines):
        text = configuration(main=self.tls_main()).replace("shards = 1\n", lines)
        return self.sluice(text)

    def test_across_shards_and_a_restart(self):
        server = self.server_with(self.main_lines)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version):
                ctx = context(version=version)
                reused, session = self.connect(server, ctx)
                self.assertFalse(reused)
                self.assertTrue(session.has_ticket)
                for _ in range(8):  # of two shards
                    reused, session = self.connect(server, ctx, session)
                    self.assertTrue(reused)
                server.wait_log(r"X=TLS1\.[23]:\S+\*")
                self.assertEqual(0, server.stop())
                server.start()
                reused, session = self.connect(server, ctx, session)
                self.assertTrue(reused)

    def test_tampered_and_foreign_tickets(self):
        server = self.server_with(self.main_lines + "tls_ticket_directory = none\n")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            ctx = context(version=version)
            _, session = self.connect(server, ctx)
            # Another name is another service.
            reused, _ = self.connect(server, ctx, session, name="other.test")
            self.assertFalse(reused)
            reused, session = self.connect(server, ctx, session)
            self.assertTrue(reused)
            # Keys that end with the process.
            server.stop()
            server.start()
            reused, _ = self.connect(server, ctx, session)
            self.assertFalse(reused)

    def test_tampered(self):
        server = self.server_with(self.main_lines)
        pem = self.ca.path("session.pem")
        arguments = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-starttls", "smtp", "-crlf", "-tls1_2"]
        subprocess.run([*arguments, "-sess_out", pem], input=b"QUIT\n", capture_output=True, timeout=60, check=True)
        again = subprocess.run([*arguments, "-sess_in", pem], input=b"QUIT\n", capture_output=True, timeout=60)
        self.assertIn(b"Reused,", again.stdout)
        der = bytearray(self.ca.openssl("sess_id", "-in", pem, "-outform", "DER"))
        ticket = re.search(rb"TLS session ticket:\n(.*?)\n\n", again.stdout, re.S)
        first = bytes.fromhex(re.search(rb"0000 - ([0-9a-f -]{47})", ticket.group(1)).group(1).decode().replace("-", " "))
        at = bytes(der).find(first)
        self.assertGreater(at, 0)
        for offset in (0, 20, 40, 100):
            changed = bytearray(der)
            changed[at + offset] ^= 1
            with open(pem, "wb") as f:
                f.write(self.ca.openssl("sess_id", "-inform", "DER", stdin=bytes(changed)))
            again = subprocess.run([*arguments, "-sess_in", pem], input=b"QUIT\n", capture_output=True, timeout=60)
            self.assertIn(b"New,", again.stdout)

    def test_without_the_suite_of_the_ticket(self):
        """A client that offers a ticket, but not the cipher suite that it was made for, gets a full handshake (RFC 5246, 7.4.1.2)."""
        both = (f"{self.rsa[0]} : {self.ec[0]}", f"{self.rsa[1]} : {self.ec[1]}")
        server = self.sluice(configuration(main=self.tls_main(certificate=both)).replace("shards = 1\n", self.main_lines))
        for before, now in (("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"),
                            ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
                            ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
                            ("ECDHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256")):
            with self.subTest(before=before, now=now):
                ctx = context(version=ssl.TLSVersion.TLSv1_2)
                session = None
                for ciphers, resumed in ((before, False), (f"{now}:{before}", True), (now, False)):
                    ctx.set_ciphers(ciphers)
                    reused, session = self.connect(server, ctx, session)
                    self.assertEqual(resumed, reused)

    def test_clients_that_might_be_verified(self):
        """Who shows no certificate where one is asked for but not demanded comes back with a ticket, as nobody; who has shown one comes
        back as who it was (test_tls_clients.py has more of these)."""
        for option, nobody in (("tls_try_verify_hosts", True), ("tls_verify_hosts", False)):
            # One shard: another sees the chain that is kept some milliseconds later (test_known_as_before waits for that).
            lines = self.main_lines.replace("+tls_resumption", "+tls_resumption +tls_certificate_verified +tls_peerdn")
            server = self.server_with(lines.replace("shards = 2", "shards = 1") + f"{option} = *\ntls_verify_certificates = {self.ca.pem}\n")
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with self.subTest(option=option, version=version):
                    bare, named = context(version=version), context(version=version, certificate=self.client_certificate)
                    if nobody:
                        _, session = self.connect(server, bare)
                        for _ in range(3):
                            reused, session = self.connect(server, bare, session)
                            self.assertTrue(reused)
                    _, session = self.connect(server, named)
                    reused, _ = self.connect(server, named, session)
                    self.assertTrue(reused)
            log = server.wait_log(" <= ", count=12 if nobody else 4)
            lines = [line for line in log.split("\n") if " <= " in line]
            self.assertEqual(4, len([line for line in lines if 'CV=yes DN="O=Test,CN=client.test"' in line]))
            self.assertEqual(2, len([line for line in lines if "* CV=yes" in line]))
            self.assertEqual([], [line for line in lines if "CV=no" in line and "DN=" in line])
            self.assertEqual(6 if nobody else 0, len([line for line in lines if "* CV=no" in line]))
            self.assertNotIn("TLS error", log)

    def test_others_get_no_ticket(self):
        server = self.server_with("tls_resumption_hosts = 192.0.2.1\nshards = 1\n")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            reused, session = self.connect(server, context(version=version))
            self.assertFalse(reused)
            self.assertFalse(session and session.has_ticket)


class Peers(TlsTest):
    """Other programs at the other end."""

    @classmethod
    def set_up(cls):
        cls.config = configuration(main=f"""
tls_certificate = {cls.rsa[0]} : {cls.ec[0]}
tls_privatekey = {cls.rsa[1]} : {cls.ec[1]}
tls_resumption_hosts = *
log_selector = +tls_resumption +tls_certificate_verified
""")

    def test_gnutls_with_resumption(self):
        done = subprocess.run(["gnutls-cli", "--starttls-proto=smtp", "--port", str(self.shared().port), f"--x509cafile={self.ca.pem}",
                               "--verify-hostname=mx.test", "-r", "127.0.0.1"], input=b"QUIT\n", capture_output=True, timeout=60)
        self.assertIn(b"Handshake was completed", done.stdout)
        self.assertIn(b"The certificate is trusted", done.stdout)
        self.assertIn(b"This is a resumed session", done.stdout)

    @unittest.skipUnless(peer("swaks"), "swaks")
    def test_swaks(self):
        for flag in ("--tls", "--tls-protocol=tlsv1_2"):
            done = subprocess.run(["swaks", "--server", f"127.0.0.1:{self.shared().port}", "--from", "sw@client.test", "--to", "alice@test",
                                   "--tls", *([flag] if flag != "--tls" else [])], capture_output=True, timeout=60)
            self.assertEqual(0, done.returncode, done.stdout.decode())
        self.shared().wait_log("<= sw@client.test .*X=TLS1.3")
        self.shared().wait_log("<= sw@client.test .*X=TLS1.2")

    @unittest.skipUnless(peer("exim"), "exim")
    def test_exim_sends(self):
        box = tempfile.mkdtemp(prefix="sluice-exim-")
        self.addCleanup(shutil.rmtree, box)
        os.chmod(box, 0o777)
        conf = os.path.join(box, "conf")
        with open(conf, "w") as f:
            f.write(f"""exim_path = {peer("exim")}
exim_user = {USER}
spool_directory = {box}
log_file_path = {box}/log_%s
primary_hostname = exim.test
keep_environment =
add_environment = PATH=/usr/bin
begin routers
r:
  driver = manualroute
  route_list = * 127.0.0.1
  transport = t
  self = send
begin transports
t:
  driver = smtp
  port = {self.shared().port}
  allow_localhost
  hosts_require_tls = *
  tls_verify_certificates = {self.ca.pem}
  tls_verify_hosts = *
  tls_verify_cert_hostnames =
  tls_resumption_hosts = *
""")
        done = subprocess.run([peer("exim"), "-C", conf, "-odf", "-f", "ex@client.test", "alice@test"], input=MESSAGE,
                              capture_output=True, timeout=60)
        said = done.stderr.decode()
        self.assertIn("CV=yes", said, self.shared().log()[-2000:])
        # Both ends call it the same.
        log = self.shared().wait_log("<= ex@client.test .*X=TLS1.3")
        self.assertIn(re.search(r"X=TLS[^ *]+", said).group(0), log)


if __name__ == "__main__":
    unittest.main()
