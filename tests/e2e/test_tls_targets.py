"""Where we send over TLS to programs that others have written: Exim (with GnuTLS), Postfix (with OpenSSL); and what the log says of it
beside what Exim says of the same servers."""
import os
import re
import shutil
import socket
import ssl
import tempfile
import unittest

from authority import Authority
from harness import USER, Client, configuration, until
from test_peers import ROOT, Exim, PeerTest, files
from tls_scenarios import server_context

ROUTE = """
begin acl
rcpt_acl:
  accept

begin routers
out:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = out

begin transports
out:
  driver = smtp
  port = PORT
  allow_localhost
  OPTIONS
  headers_add = X-Facts: cipher=$tls_out_cipher std=$tls_out_cipher_std bits=$tls_out_bits verified=$tls_out_certificate_verified \\
    sni=$tls_out_sni ver=$tls_out_ver resumption=$tls_out_resumption ocsp=$tls_out_ocsp peerdn=$tls_out_peerdn \\
    peer=${sha256:$tls_out_peercert} peercn=${certextract{subject,CN}{$tls_out_peercert}} \\
    our=${if def:tls_out_ourcert {${certextract{subject,CN}{$tls_out_ourcert}}}} tlsa=$tls_out_tlsa_usage

begin retry
* * F,2h,15m
"""
POSTFIX = """
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
daemon_directory = {peer}/usr/lib/postfix/sbin
command_directory = {peer}/usr/sbin
shlib_directory = {peer}/usr/lib/postfix
meta_directory = {peer}/etc/postfix
import_environment = MAIL_CONFIG MAIL_LOGTAG LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH
mail_owner = nobody
setgid_group = games
default_privs = daemon
myhostname = postfix.test
mydestination = postfix.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
maillog_file = {dir}/log
maillog_file_prefixes = /
alias_maps =
alias_database =
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_security_level = {level}
smtpd_tls_chain_files = {key}, {certificate}
smtpd_tls_CAfile = {ca}
smtpd_tls_ask_ccert = yes
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
smtpd_tls_session_cache_database =
tls_ssl_options =
smtpd_tls_mandatory_protocols = {versions}
smtpd_tls_protocols = {versions}
"""
MASTER = """{port} inet n - n - - smtpd{options}
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""


class TargetTest(PeerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dir = tempfile.mkdtemp(prefix="sluice-pki-")
        cls.addClassCleanup(shutil.rmtree, cls.dir, True)
        os.chmod(cls.dir, 0o755)
        cls.ca = Authority(os.path.join(cls.dir, "pki"))
        both = ["IP:127.0.0.1", "DNS:mx.test"]
        cls.ec = cls.ca.certificate("ec", name="mx.test", alt=both)
        cls.rsa = cls.ca.certificate("rsa", name="mx.test", alt=both, kind="rsa")
        cls.ours = cls.ca.certificate("ours", name="client.test")

    def sender(self, port, *options):
        options = [f"tls_verify_certificates = {self.ca.pem}", "hosts_require_tls = *", "tls_verify_hosts = *", *options]
        return self.sluice(configuration(
            "log_selector = +tls_peerdn +tls_resumption +tls_certificate_verified +tls_cipher +tls_sni\n",
            ROUTE.replace("PORT", str(port)).replace("OPTIONS", "\n  ".join(options))))

    def send(self, server, count=1):
        """The line of the delivery."""
        with server.client() as client:
            client.ehlo()
            client.message("Subject: x\r\n\r\nhello\r\n", rcpts=["u@elsewhere.test"])
        return [line for line in server.wait_log(r"[=*]. u@elsewhere\.test ", count=count).split("\n") if "u@elsewhere.test" in line][-1]

    @staticmethod
    def facts(message):
        text = message.decode() if isinstance(message, bytes) else message
        header = re.search(r"^X-Facts: (.*(?:\n[ \t].*)*)", text.replace("\r\n", "\n"), re.M).group(1)
        return dict(re.findall(r"(\w+)=(\S*)", header))


class ToExim(TargetTest):
    def target(self, certificate, *lines):
        main = "\n".join(["tls_advertise_hosts = *", f"tls_certificate = {certificate[0]}", f"tls_privatekey = {certificate[1]}",
                          "tls_try_verify_hosts = *", f"tls_verify_certificates = {self.ca.pem}", "tls_resumption_hosts = *",
                          "log_selector = +tls_peerdn +tls_sni +tls_certificate_verified +tls_resumption", *lines])
        exim = Exim(self, main.replace("tls_advertise_hosts = *\n", ""))
        path = os.path.join(exim.dir, "conf")
        with open(path) as f:
            text = f.read()
        with open(path, "w") as f:
            f.write(text.replace("tls_advertise_hosts =\n", "tls_advertise_hosts = *\n"))
        return exim

    def test_versions_and_kinds(self):
        """What we say of the session is what Exim says of it at the other end, and so do the variables."""
        for name, certificate, priority in (("TLS1.3", self.ec, "NORMAL"), ("TLS1.3", self.rsa, "NORMAL"),
                                            ("TLS1.2", self.ec, "NORMAL:-VERS-ALL:+VERS-TLS1.2"),
                                            ("TLS1.2", self.rsa, "NORMAL:-VERS-ALL:+VERS-TLS1.2:-AES-256-GCM"),
                                            ("TLS1.2", self.rsa, "NORMAL:-VERS-ALL:+VERS-TLS1.2:-AES-256-GCM:-AES-128-GCM")):
            with self.subTest(name=name, priority=priority, kind=os.path.basename(certificate[0])):
                exim = self.target(certificate, f"tls_require_ciphers = {priority}")
                server = self.sender(exim.daemon(), "tls_sni = mx.test", f"tls_certificate = {self.ours[0]}",
                                     f"tls_privatekey = {self.ours[1]}")
                line = self.send(server)
                cipher = re.search(r" X=(\S+) CV=yes ", line).group(1)
                self.assertTrue(cipher.startswith(name + ":"), line)
                self.assertIn(' DN="O=Test,CN=mx.test" ', line)
                message = exim.wait_mail(1)[0]
                received = until(lambda: re.search(r"<= .* X=(\S+) CV=yes SNI=\"?mx\.test\"? DN=\"O=Test,CN=client\.test\"|"
                                                   r"<= .* X=(\S+) CV=yes DN=\"O=Test,CN=client\.test\" SNI=\"?mx\.test\"?", exim.log()),
                                 lambda: "Exim's line: " + exim.log())
                self.assertEqual(received.group(1) or received.group(2), cipher)
                facts = self.facts(message)
                self.assertEqual(cipher, facts["cipher"])
                self.assertEqual((name, "1", "mx.test", "O=Test,CN=mx.test", "mx.test", "client.test", "0", cipher.rpartition(":")[2]),
                                 tuple(facts[key] for key in ("ver", "verified", "sni", "peerdn", "peercn", "our", "tlsa", "bits")))
                self.assertRegex(facts["std"], r"TLS_(ECDHE_\w+_WITH_)?(AES|CHACHA20)\w+")
                self.assertEqual("1", facts["ocsp"])
                self.assertEqual("1", facts["resumption"])
                self.assertEqual(64, len(facts["peer"]))

    def test_proof(self):
        """Exim staples, after STARTTLS."""
        proof = self.ca.proof("ec", "ec.der")
        os.chmod(proof, 0o644)
        exim = self.target(self.ec, f"tls_ocsp_file = {proof}")
        line = self.send(self.sender(exim.daemon(), "hosts_require_ocsp = *"))
        self.assertIn(" CV=yes ", line)
        self.assertEqual("4", self.facts(exim.wait_mail(1)[0])["ocsp"])

    def test_resumption_over_a_restart(self):
        """Tickets are good for the next connection, for another daemon of ours, and not when the hints are damaged."""
        exim = self.target(self.ec)
        server = self.sender(exim.daemon(), "tls_resumption_hosts = *", "connection_max_messages = 1")
        self.assertRegex(self.send(server), r" X=\S+256 CV=yes ")
        self.assertRegex(self.send(server, 2), r" X=\S+256\* CV=yes ")
        self.assertEqual(0, server.stop())
        server.start()
        self.assertRegex(self.send(server, 3), r" X=\S+256\* CV=yes ")
        self.assertTrue(int(self.facts(max(exim.wait_mail(3), key=lambda m: m.count(b"resumption=2")))["resumption"]) & 1)
        self.assertEqual(0, server.stop())
        for folder, _, names in os.walk(os.path.join(server.dir, "spool", "db")):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "r+b") as f:
                    size = os.path.getsize(path)
                    f.write(os.urandom(min(size, 16384)))
        server.start()
        self.assertRegex(self.send(server, 4), r" X=\S+256\*? CV=yes ")
        self.assertEqual(4, len(exim.wait_mail(4)))


class ToPostfix(TargetTest):
    def target(self, certificate, versions, level="may", options=""):
        if not ROOT:
            self.skipTest("postfix starts as root only")
        peer = os.path.join(os.path.dirname(self.need("postconf")), "../postfix")
        if not os.access(os.path.join(peer, "usr/lib/postfix/sbin/master"), os.X_OK):
            self.skipTest("postfix is not unpacked")
        path = self.folder()
        for name, owner, mode in (("queue", "root", 0o755), ("data", "nobody", 0o700), ("conf", "root", 0o755)):
            os.mkdir(os.path.join(path, name))
            shutil.chown(os.path.join(path, name), owner)
            os.chmod(os.path.join(path, name), mode)
        queue = os.path.join(path, "queue")
        for name in ("incoming", "active", "deferred", "bounce", "hold", "corrupt", "defer", "flush", "trace", "saved", "private"):
            os.mkdir(os.path.join(queue, name))
            shutil.chown(os.path.join(queue, name), "nobody")
        for name, mode in (("maildrop", 0o1730), ("public", 0o2710)):
            os.mkdir(os.path.join(queue, name))
            shutil.chown(os.path.join(queue, name), "nobody", "games")
            os.chmod(os.path.join(queue, name), mode)
        os.mkdir(os.path.join(queue, "pid"))
        os.mkfifo(os.path.join(queue, "public", "qmgr"))  # nobody reads it: messages stay where they are
        os.chmod(os.path.join(queue, "public", "qmgr"), 0o622)
        with open(os.path.join(path, "conf", "main.cf"), "w") as f:
            f.write(POSTFIX.format(dir=path, peer=os.path.abspath(peer), certificate=certificate[0], key=certificate[1], ca=self.ca.pem,
                                   versions=versions, level=level))
        environment = dict(os.environ, LD_LIBRARY_PATH=os.path.join(peer, "usr/lib/postfix"))
        for _ in range(5):  # another may take the port before postfix has it
            with socket.socket() as chosen:
                chosen.bind(("127.0.0.1", 0))
                port = chosen.getsockname()[1]
            with open(os.path.join(path, "conf", "master.cf"), "w") as f:
                f.write(MASTER.format(port=f"127.0.0.1:{port}", options=options))
            with open(os.path.join(path, "err"), "wb") as err:
                process = self.spawn(os.path.join(peer, "usr/lib/postfix/sbin/master"), "-c", os.path.join(path, "conf"), "-d",
                                     stdout=err, stderr=err, env=environment)

            def ready():
                with socket.socket() as probe:
                    return process.poll() is not None or probe.connect_ex(("127.0.0.1", port)) == 0
            until(ready, "postfix to listen")
            if process.poll() is None:
                return path, port
        self.fail("postfix does not start: " + b" ".join(files(path)).decode("latin-1")[-3000:])

    def received(self, path):
        """The messages in its incoming queue, whose files are lines with lengths in front: the text is among them."""
        def look():
            found = [data for data in files(os.path.join(path, "queue", "incoming")) if b"X-Facts" in data]
            return found
        return until(look, lambda: "a message at postfix; its log: " + self.log(path))[0].decode("latin-1")

    @staticmethod
    def log(path):
        with open(os.path.join(path, "log"), errors="replace") as f:
            return f.read()

    def test_versions_and_kinds(self):
        for certificate, versions, version in ((self.ec, "TLSv1.3", "TLS1.3"), (self.rsa, "TLSv1.2", "TLS1.2"), (self.ec, "TLSv1.2", "TLS1.2")):
            with self.subTest(versions=versions, kind=os.path.basename(certificate[0])):
                path, port = self.target(certificate, versions)
                line = self.send(self.sender(port, "tls_sni = mx.test", f"tls_certificate = {self.ours[0]}", f"tls_privatekey = {self.ours[1]}"))
                self.assertRegex(line, rf" => u@elsewhere\.test .* X={re.escape(version)}:\S+:\d+ CV=yes DN=\"O=Test,CN=mx\.test\" ")
                self.received(path)
                # A verified certificate of ours, and the name that we have asked for.
                until(lambda: re.search(rf"Trusted TLS connection established from localhost\[127\.0\.0\.1\]( to mx\.test)?: {versions}", self.log(path)),
                      lambda: "postfix's line: " + self.log(path))

    def test_from_the_first_byte(self):
        path, port = self.target(self.ec, ">=TLSv1.2", "encrypt", " -o smtpd_tls_wrappermode=yes")
        self.assertRegex(self.send(self.sender(port, "protocol = smtps")), r" => u@elsewhere\.test .* X=TLS1\.3:\S+ CV=yes ")
        self.received(path)

    def test_resumption(self):
        path, port = self.target(self.ec, ">=TLSv1.2")
        server = self.sender(port, "tls_resumption_hosts = *", "connection_max_messages = 1")
        self.assertRegex(self.send(server), r" X=\S+256 CV=yes ")
        self.assertRegex(self.send(server, 2), r" X=\S+256\* CV=yes ")


class FromPostfix(TargetTest):
    """Postfix's client, by the tool that it has for looking at servers."""

    def test_posttls_finger(self):
        peer = os.path.join(os.path.dirname(self.need("postconf")), "../postfix")
        program = os.path.join(peer, "usr/sbin/posttls-finger")
        if not os.access(program, os.X_OK):
            self.skipTest("posttls-finger is not unpacked")
        conf = self.folder()
        with open(os.path.join(conf, "main.cf"), "w") as f:
            f.write(f"compatibility_level = 3.6\nmyhostname = postfix.test\nmeta_directory = {os.path.abspath(peer)}/etc/postfix\n"
                    f"shlib_directory = {os.path.abspath(peer)}/usr/lib/postfix\nmail_owner = nobody\nsetgid_group = games\n"
                    "default_privs = daemon\ninet_protocols = ipv4\n")
        server = self.sluice(main=f"tls_certificate = {self.rsa[0]} : {self.ec[0]}\ntls_privatekey = {self.rsa[1]} : {self.ec[1]}\n"
                                  "tls_resumption_hosts = *\n")
        environment = dict(os.environ, LD_LIBRARY_PATH=os.path.join(peer, "usr/lib/postfix"), MAIL_CONFIG=conf)
        for versions, kind in ((">=TLSv1.3", "TLSv1.3"), ("TLSv1.2", "TLSv1.2")):
            with self.subTest(versions):
                done = self.command(program, "-c", "-l", "verify", "-F", self.ca.pem, "-p", versions, "-r", "1", "-L", "summary,cache",
                                    f"[127.0.0.1]:{server.port}", "mx.test", env=environment)
                said = (done.stdout + done.stderr).decode()
                self.assertRegex(said, rf"Verified TLS connection established to 127\.0\.0\.1\[127\.0\.0\.1\]:\d+: {kind}", said)
                self.assertIn("Reusing old session", said)

    def test_delivery(self):
        """Postfix's own delivery agent: a message that it relays to us, verified."""
        server = self.sluice(configuration(f"tls_certificate = {self.ec[0]}\ntls_privatekey = {self.ec[1]}\nlog_selector = +tls_cipher\n"))
        relay = (f"may\nrelayhost = [127.0.0.1]:{server.port}\nsmtp_tls_security_level = secure\nsmtp_tls_secure_cert_match = mx.test\n"
                 f"smtp_tls_CAfile = {self.ca.pem}\nsmtp_tls_loglevel = 1\nsmtp_host_lookup = native")
        agents = "".join(f"\n{line}" for line in ("qmgr unix n - n 300 1 qmgr", "smtp unix - - n - - smtp", "bounce unix - - n - 0 bounce",
                                                  "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce"))
        path, port = ToPostfix.target(self, self.ec, ">=TLSv1.2", relay, agents)
        with Client(port) as client:
            client.ehlo()
            client.message("Subject: from postfix\r\n\r\nhello\r\n")
        log = until(lambda: (lambda text: text if "status=" in text else None)(ToPostfix.log(path)), lambda: "postfix: " + ToPostfix.log(path))
        self.assertIn("status=sent", log)
        self.assertRegex(log, r"Verified TLS connection established to 127\.0\.0\.1\[127\.0\.0\.1\]:\d+: TLSv1\.3")
        self.assertIn(b"Subject: from postfix", server.wait_mail()[0])
        server.wait_log(r"<= s@client\.test H=\S*.*\[127\.0\.0\.1\] P=esmtps X=TLS1\.3:")


class BesideExim(TargetTest):
    """Both send to the same servers: the items of the log lines are the same."""

    ITEMS = re.compile(r" (X=\S+|CV=\S+|DN=\"[^\"]*\"|SNI=\S+)")

    def test_items(self):
        for certificate, version, ciphers in ((self.ec, ssl.TLSVersion.TLSv1_3, None), (self.rsa, ssl.TLSVersion.TLSv1_3, None),
                                              (self.ec, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-GCM-SHA384"),
                                              (self.rsa, ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-GCM-SHA384"),
                                              (self.rsa, ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-CHACHA20-POLY1305"),
                                              (self.rsa, ssl.TLSVersion.TLSv1_2, "DHE-RSA-AES128-GCM-SHA256")):
            with self.subTest(version=version, ciphers=ciphers, kind=os.path.basename(certificate[0])):
                context = server_context(*certificate, minimum=version, maximum=version)
                context.set_ecdh_curve("prime256v1")
                if ciphers:
                    context.set_ciphers(ciphers)
                sink = self.sink(tls=context)
                server = self.sender(sink.port, "tls_sni = mx.test")
                exim = Exim(self, "log_selector = +tls_peerdn +tls_sni +tls_certificate_verified", sink.port,
                            f"tls_verify_certificates = {self.ca.pem}\n  tls_verify_hosts = *\n  tls_verify_cert_hostnames =\n  tls_sni = mx.test")
                said = self.at_once([(exim.command("s@client.test", "u@elsewhere.test"), b"Subject: x\n\nhello\n")]) + exim.log()
                theirs = next(line for line in said.split("\n") if "=> u@elsewhere.test" in line)
                self.assertEqual(self.ITEMS.findall(theirs), self.ITEMS.findall(self.send(server)))


if __name__ == "__main__":
    unittest.main()
