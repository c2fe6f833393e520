"""Chains and lists of revoked certificates beyond the leaf: what each verdict is, on both sides, beside what Exim says; and that what
one peer shows does not change what another is worth."""
import os
import ssl
import time
import unittest

from harness import Client, configuration, peer, until
from test_peers import Exim, PeerTest
from tls_scenarios import server_context
from test_tls import TlsTest, context, deliver, starttls


class Ladder:
    """A root, intermediates of it, leaves of them, and lists for each of the authorities."""

    def __init__(self, ca):
        self.ca, self.n = ca, 0

    def openssl(self, *arguments):
        return self.ca.openssl(*arguments)

    def folder(self, name):
        path = self.ca.path(name)
        os.makedirs(path, exist_ok=True)
        for file, text in (("index.txt", ""), ("serial", "2000\n"), ("crlnumber", "1000\n")):
            if not os.path.exists(os.path.join(path, file)):
                with open(os.path.join(path, file), "w") as f:
                    f.write(text)
        with open(os.path.join(path, "ca.conf"), "w") as f:
            f.write(f"""[ca]
default_ca = d
[d]
database = {path}/index.txt
serial = {path}/serial
crlnumber = {path}/crlnumber
new_certs_dir = {path}
certificate = {path}/ca.pem
private_key = {path}/ca.key
default_md = sha256
default_crl_days = 30
policy = p
unique_subject = no
[p]
organizationName = optional
commonName = supplied
[v3_ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[leaf]
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = DNS:mx.test
[not_ca]
basicConstraints = CA:FALSE
""")
        return path

    def key(self, path):
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
        os.chmod(path, 0o644)
        return path

    def root(self, name, common=None, skid="hash"):
        path = self.folder(name)
        self.key(f"{path}/ca.key")
        self.openssl("req", "-x509", "-new", "-key", f"{path}/ca.key", "-subj", f"/O=Test/CN={common or name}", "-days", "3650",
                     "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                     "-addext", f"subjectKeyIdentifier={skid}", "-out", f"{path}/ca.pem")
        return name

    def authority(self, name, issuer, extensions="v3_ca", days=3650, dates=()):
        path, above = self.folder(name), self.folder(issuer)
        self.key(f"{path}/ca.key")
        self.sign(f"{path}/ca.key", f"/O=Test/CN={name}", issuer, f"{path}/ca.pem", extensions, dates)
        return name

    def sign(self, key, subject, issuer, out, extensions, dates=()):
        above = self.folder(issuer)
        self.openssl("req", "-new", "-key", key, "-subj", subject, "-out", out + ".csr")
        self.openssl("ca", "-batch", "-notext", "-config", f"{above}/ca.conf", "-extensions", extensions, "-in", out + ".csr", "-out", out,
                     *(dates or ("-days", "30")))
        os.chmod(out, 0o644)

    def leaf(self, name, issuer, *chain):
        """leaf and the authorities of chain in one file; (file, key)."""
        path = self.folder(issuer)
        self.key(f"{path}/{name}.key")
        self.sign(f"{path}/{name}.key", f"/O=Test/CN={name}.test", issuer, f"{path}/{name}.leaf", "leaf")
        return self.join(f"{path}/{name}.pem", f"{path}/{name}.leaf", *(self.pem(c) for c in chain)), f"{path}/{name}.key"

    def pem(self, name):
        return self.ca.path(f"{name}/ca.pem")

    def join(self, out, *files):
        with open(out, "w") as f:
            for file in files:
                with open(file) as part:
                    f.write(part.read())
        os.chmod(out, 0o644)
        return out

    def revoke(self, issuer, file):
        self.openssl("ca", "-config", f"{self.folder(issuer)}/ca.conf", "-revoke", file)

    def crl(self, issuer, *options):
        self.n += 1
        out = self.ca.path(f"{issuer}.{self.n}.crl")
        self.openssl("ca", "-config", f"{self.folder(issuer)}/ca.conf", "-gencrl", *options, "-out", out)
        os.chmod(out, 0o644)
        return out


class ChainTest(TlsTest):
    @classmethod
    def set_up(cls):
        cls.pki = pki = Ladder(cls.ca)
        pki.root("root")
        pki.authority("mid", "root")
        pki.authority("bad", "root")
        cls.good = pki.leaf("good", "mid", "mid")
        cls.revoked = pki.leaf("revoked", "mid", "mid")
        cls.below = pki.leaf("below", "bad", "bad")  # whose authority is revoked
        cls.alone = pki.leaf("alone", "bad")  # the same, and it is not shown
        pki.revoke("mid", pki.ca.path("mid/revoked.leaf"))
        pki.revoke("root", pki.pem("bad"))

    def serve(self, option, *lines):
        return self.sluice(configuration(main=self.tls_main(
            f"{option} = *", f"tls_verify_certificates = {self.pki.pem('root')}", "log_selector = +tls_peerdn +tls_certificate_verified", *lines)))

    @staticmethod
    def say(server, certificate, port=None, version=None):
        """A message from who shows that certificate: what the log has behind CV=; None: there is no session."""
        before = server.log().count(" <= ")
        try:
            with Client(port or server.port) as client:
                starttls(client, context(certificate=certificate, version=version))
                deliver(client)
        except (ssl.SSLError, OSError, AssertionError):
            return None
        line = until(lambda: [line for line in server.log().split("\n") if " <= " in line][before:], "the message")[0]
        return line.split(" CV=")[1].split(" ")[0]


class Lists(ChainTest, PeerTest):
    PAST = ("-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20200201000000Z")
    FUTURE = ("-crl_lastupdate", "20490101000000Z", "-crl_nextupdate", "20491201000000Z")

    def lists(self):
        """What there is of lists, and which of good, revoked, below is still worth something."""
        pki = self.pki
        root, mid, bad = pki.crl("root"), pki.crl("mid"), pki.crl("bad")
        pki.root("stranger")
        return {
            "all": ([root, mid, bad], "yes no no"),
            "none for the authority of the leaf": ([root], "yes yes no"),
            "none of the root": ([mid, bad], "yes no yes"),
            "of somebody else": ([pki.crl("stranger")], "yes yes yes"),
            "the root's is old": ([pki.crl("root", *self.PAST), mid, bad], "yes no no"),
            "that of the leaf's authority is old": ([root, pki.crl("mid", *self.PAST), bad], "yes no no"),
            "the root's is of another time": ([pki.crl("root", *self.FUTURE), mid, bad], "yes no no"),
        }

    def certificates(self):
        return self.good, self.revoked, self.below

    def test_verdicts(self):
        crl = self.ca.path("present.crl")
        lists = self.lists()
        self.pki.join(crl, *lists["all"][0])
        trying, strict = self.serve("tls_try_verify_hosts", f"tls_crl = {crl}"), self.serve("tls_verify_hosts", f"tls_crl = {crl}")
        found, wanted = {}, {}
        for name, (files, verdict) in lists.items():
            self.pki.join(crl + ".new", *files)
            os.rename(crl + ".new", crl)
            time.sleep(0.15)  # files are looked at ten times a second
            found[name] = [(self.say(trying, c), self.say(strict, c)) for c in self.certificates()]
            wanted[name] = [(v, {"yes": "yes", "no": None}[v]) for v in verdict.split()]
        self.assertEqual(wanted, found)

    def test_log_lines_and_versions(self):
        crl = self.pki.join(self.ca.path("log.crl"), self.pki.crl("root"), self.pki.crl("mid"))
        trying, strict = self.serve("tls_try_verify_hosts", f"tls_crl = {crl}"), self.serve("tls_verify_hosts", f"tls_crl = {crl}")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.assertEqual("yes", self.say(strict, self.good, version=version))
            self.assertIsNone(self.say(strict, self.revoked, version=version))
            self.assertIsNone(self.say(strict, self.below, version=version))
            self.assertEqual("no", self.say(trying, self.below, version=version))
        strict.wait_log(r"TLS error on connection from .*\(certificate verification failed\): certificate is revoked\n", count=2)
        strict.wait_log(r"TLS error on connection from .*\(certificate verification failed\): certificate of an authority is revoked\n", count=2)
        trying.wait_log("SSL verify error: certificate of the client: certificate of an authority is revoked", count=2)

    def test_files_that_are_no_lists(self):
        """A list that cannot be read is no reason to believe everybody: TLS is refused; one that came before stays in use."""
        crl = self.pki.join(self.ca.path("broken.crl"), self.pki.crl("mid"))
        server = self.serve("tls_verify_hosts", f"tls_crl = {crl}")
        self.assertIsNone(self.say(server, self.revoked))
        with open(crl) as f:
            whole = f.read()
        with open(self.pki.pem("root")) as f:
            certificate = f.read()
        empty = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"
        for text in ("", "nothing", certificate, empty, whole + empty,
                     whole.replace("-----END", "----END"), whole[:len(whole) // 2]):
            with open(crl + ".new", "w") as f:
                f.write(text)
            os.chmod(crl + ".new", 0o644)
            os.rename(crl + ".new", crl)
            time.sleep(0.15)
            self.assertIsNone(self.say(server, self.revoked), text)
            self.assertEqual("yes", self.say(server, self.good), text)
            new = self.serve("tls_verify_hosts", f"tls_crl = {crl}")
            self.assertIsNone(self.say(new, self.good), text)
            new.wait_log("tls_crl|broken.crl")
        server.wait_log("tls_crl: .*; what was loaded before stays in use", name="panic")

    def test_der(self):
        crl = self.ca.path("der.crl")
        self.ca.openssl("crl", "-in", self.pki.crl("mid"), "-outform", "DER", "-out", crl)
        os.chmod(crl, 0o644)
        server = self.serve("tls_verify_hosts", f"tls_crl = {crl}")
        self.assertEqual("yes", self.say(server, self.good))
        self.assertIsNone(self.say(server, self.revoked))

    def sender(self, certificate, crl):
        sink = self.sink(tls=server_context(*certificate))
        return self.sluice(configuration("log_selector = +tls_certificate_verified +tls_resumption\n").replace(
            "  hosts_try_fastopen = :", "  hosts_try_fastopen = :\n  connection_max_messages = 1\n  tls_resumption_hosts = *\n"
            f"  tls_verify_certificates = {self.pki.pem('root')}\n  tls_crl = {crl}\n  tls_verify_cert_hostnames = :"),
            macros={"SINKPORT": str(sink.port)})

    @staticmethod
    def send(sender, count):
        with sender.client() as client:
            client.ehlo()
            client.message("Subject: x\r\n\r\nhello\r\n", rcpts=["u@elsewhere.test"])
        return [line for line in sender.wait_log("=> u@elsewhere.test", count=count).split("\n") if "=> u@elsewhere" in line][-1]

    def test_servers(self):
        """The same where we are the client; and a session that was kept is not good for a certificate that was revoked since."""
        doomed = self.pki.leaf("doomed", "mid", "mid")
        crl = self.pki.join(self.ca.path("out.crl"), self.pki.crl("mid"), self.pki.crl("root"))
        sender = self.sender(doomed, crl)
        self.assertRegex(self.send(sender, 1), r"X=[^* ]+ CV=yes ")
        self.assertRegex(self.send(sender, 2), r"X=\S+\* CV=yes ")
        self.pki.revoke("mid", self.ca.path("mid/doomed.leaf"))
        self.pki.join(crl + ".new", self.pki.crl("mid"), self.pki.crl("root"))
        os.rename(crl + ".new", crl)
        time.sleep(0.15)
        self.assertRegex(self.send(sender, 3), r"X=[^* ]+ CV=no ")
        self.assertRegex(self.send(self.sender(self.below, crl), 1), r" CV=no ")

    def test_exim_says_the_same(self):
        if not peer("exim"):
            self.skipTest("exim is not here: ./dev deps test")
        found, wanted = {}, {}
        for name, (files, verdict) in self.lists().items():
            crl = self.pki.join(self.ca.path("exim.crl"), *files)
            pem, key = self.ec
            exim = Exim(self, "\n".join((f"tls_certificate = {pem}", f"tls_privatekey = {key}", "tls_try_verify_hosts = *", f"tls_crl = {crl}",
                                         f"tls_verify_certificates = {self.pki.pem('root')}", "log_selector = +tls_peerdn +tls_certificate_verified")))
            path = os.path.join(exim.dir, "conf")
            with open(path) as f:
                text = f.read()
            with open(path, "w") as f:
                f.write(text.replace("tls_advertise_hosts =\n", "tls_advertise_hosts = *\n"))
            port = exim.daemon()
            found[name] = " ".join(str(self.say(exim, c, port)) for c in self.certificates())
            wanted[name] = verdict
        self.assertEqual(wanted, found)


class Poison(ChainTest):
    """An authority that one client brings is not taken for good: not for the next one either."""

    def forged(self):
        """An authority whose certificate says that the root has signed it, by name and key identifier; another key has."""
        text = self.ca.openssl("x509", "-in", self.pki.pem("root"), "-noout", "-ext", "subjectKeyIdentifier").decode()
        self.pki.root("liar", "root", skid=text.split("\n")[1].strip())
        self.pki.authority("evil", "liar")
        return self.pki.leaf("forged", "evil", "evil"), self.pki.leaf("second", "evil")

    def test_what_was_shown_before(self):
        """An authority below ours that another client has shown does not complete a chain; revoked or not, expired or not."""
        self.pki.authority("old", "root", dates=("-startdate", "20200101000000Z", "-enddate", "20210101000000Z"))
        old, bare = self.pki.leaf("old1", "old", "old"), self.pki.leaf("old2", "old")
        crl = self.pki.join(self.ca.path("poison.crl"), self.pki.crl("root"))
        for option in ("tls_try_verify_hosts", "tls_verify_hosts"):
            no = "no" if "try" in option else None
            server = self.serve(option)
            for certificate, wanted in ((self.alone, no), (self.below, "yes"), (self.alone, no), (old, no), (bare, no), (old, no), (self.good, "yes")):
                self.assertEqual(wanted, self.say(server, certificate), (option, certificate))
            server = self.serve(option, f"tls_crl = {crl}")
            for certificate, wanted in ((self.below, no), (self.alone, no), (self.below, no), (self.good, "yes")):
                self.assertEqual(wanted, self.say(server, certificate), (option, certificate))

    def test_forged_authority(self):
        chain, alone = self.forged()
        for option, wanted in (("tls_try_verify_hosts", "no"), ("tls_verify_hosts", None)):
            server = self.serve(option)
            for certificate in (alone, chain, alone, chain, alone):
                self.assertEqual(wanted, self.say(server, certificate), (option, certificate))


if __name__ == "__main__":
    unittest.main()
