"""Stapled proofs (OCSP, RFC 6066 section 8) of the servers that we send to: required, requested, not asked for; good ones of every
signer that may make them, and all that is wrong with the others."""
import os
import re
import shutil
import socket
import ssl
import threading
import unittest

from authority import Authority
from harness import Sink
from tls_scenarios import Scenarios, StapleServer, server_context

OCSP_BASIC = bytes.fromhex("06092b0601050507300101")


def der(tag, *parts):
    body = b"".join(parts)
    length = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return bytes([tag]) + length + body


def undo(data):
    """The parts of a constructed item."""
    at, parts = 0, []

    def head(at):
        size = data[at + 1]
        if size < 128:
            return at + 2, size
        return at + 2 + size % 128, int.from_bytes(data[at + 2:at + 2 + size % 128], "big")
    at, _ = head(0)
    while at < len(data):
        begin, size = head(at)
        parts.append(data[at:begin + size])
        at = begin + size
    return parts


class Hello:
    """A server that only looks at the ClientHello."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.seen = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock:
                self.seen.append(self.extensions(sock.makefile("rb")))

    @staticmethod
    def extensions(file):
        record = file.read(int.from_bytes(file.read(5)[3:], "big"))
        at = 4 + 2 + 32
        at += 1 + record[at]
        at += 2 + int.from_bytes(record[at:at + 2], "big")
        at += 1 + record[at] + 2
        found = {}
        while at < len(record):
            size = int.from_bytes(record[at + 2:at + 4], "big")
            found[int.from_bytes(record[at:at + 2], "big")] = record[at + 4:at + 4 + size]
            at += 4 + size
        return found

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Proofs(Scenarios):
    @classmethod
    def response(cls, name, *options, leaf="mx", signer="ca.pem", key="ca.key", index="index.txt"):
        """An OCSP response about a certificate."""
        cls.ca.openssl("ocsp", "-index", index, "-CA", "ca.pem", "-issuer", "ca.pem", "-cert", f"{leaf}.leaf", "-rsigner", signer, "-rkey",
                       key, "-respout", f"{name}.der", *(options or ("-ndays", "7")))
        return cls.ca.path(f"{name}.der")

    @classmethod
    def written(cls, name, data):
        with open(cls.ca.path(name), "wb") as f:
            f.write(data)
        return cls.ca.path(name)

    @classmethod
    def past(cls, name):
        """A response about times that are over: openssl makes none."""
        with open(cls.response(name, "-nmin", "10", index="nobody.txt"), "rb") as f:
            status, wrapped = undo(f.read())
        kind, octets = undo(undo(wrapped)[0])
        basic = octets[octets.index(b"\x30"):]
        data, algorithm, _, *certs = undo(basic)
        data = re.sub(rb"\x18\x0f\d{14}Z", b"\x18\x0f20250101000000Z", data)
        signature = cls.ca.openssl("dgst", "-sha256", "-sign", "ca.key", stdin=data)
        basic = der(0x30, data, algorithm, der(0x03, b"\0", signature), *certs)
        return cls.written(f"{name}.der", der(0x30, status, der(0xa0, der(0x30, kind, der(0x04, basic)))))

    @classmethod
    def staple_scenario(cls, name, response, options="", server=(), certificate=None):
        host = StapleServer(*(certificate or cls.mx), response, options=server)
        cls.addClassCleanup(host.close)
        cls.scenario(name, host, f"tls_verify_certificates = {cls.ca.pem}\nprotocol = smtps\ntls_verify_cert_hostnames =\n"
                                 f"headers_add = X-Facts: ocsp=$tls_out_ocsp resumption=$tls_out_resumption\n{options}")

    @classmethod
    def make_scenarios(cls):
        ca = cls.ca
        cls.mx = ca.certificate("mx", alt="DNS:mx.test")
        rsa = ca.certificate("rsa", alt="DNS:mx.test", kind="rsa")
        ca.certificate("other", alt="DNS:other.test")
        ca.certificate("responder", extra=["extendedKeyUsage=OCSPSigning"])
        for suffix in ("", ".attr"):
            shutil.copy(ca.path("index.txt" + suffix), ca.path("nobody.txt" + suffix))
        good = cls.response("good")
        must = "hosts_require_ocsp = *\ntls_verify_hosts = *"

        # Good, of all kinds.
        cls.staple_scenario("good", good, must)
        cls.staple_scenario("good12", good, must, ["-tls1_2"])
        cls.staple_scenario("goodchacha", good, must, ["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"])
        cls.staple_scenario("good128", good, must, ["-ciphersuites", "TLS_AES_128_GCM_SHA256"])
        cls.staple_scenario("goodretry", good, must, ["-groups", "P-521"])
        cls.staple_scenario("goodrsa", cls.response("rsagood", leaf="rsa"), must, certificate=rsa)
        cls.staple_scenario("goodkeyid", cls.response("keyid", "-ndays", "7", "-resp_key_id"), must)
        cls.staple_scenario("delegated", cls.response("delegated", signer="responder.leaf", key="responder.key"), must)
        # The server sends nothing but its own certificate: the issuer is found among those that we trust.
        alone = (ca.path("mx.leaf"), cls.mx[1])
        cls.staple_scenario("alone", good, must, certificate=alone)
        cls.staple_scenario("alone12", good, must, ["-tls1_2"], alone)
        cls.make_intermediate(must)

        # Bad.
        cls.written("empty.txt", b"")
        ca.openssl("ca", "-config", "ca.conf", "-revoke", "mx.leaf", "-crl_reason", "superseded")
        revoked = cls.response("revoked")
        stranger = Authority(os.path.join(cls.dir, "stranger"), "stranger")
        cls.bad = {
            "revoked": (revoked, r"Server certificate revoked; reason: superseded"),
            "unknown": (cls.response("unknown", index="empty.txt"), r"Server certificate status unknown, in OCSP stapling"),
            "expired": (cls.past("expired"), "OCSP dates invalid"),
            "endless": (cls.response("endless", "-status_age", "1", index="nobody.txt"), "OCSP dates invalid"),
            "foreign": (cls.response("foreign", leaf="other", index="nobody.txt"), "OCSP response is for another certificate"),
            "wrongsigner": (cls.response("wrongsigner", signer=stranger.pem, key=stranger.path("ca.key"), index="nobody.txt"),
                            "Received TLS cert status response, itself unverifiable"),
            # Any certificate of the same authority does not do: it has to be one for this.
            "nopurpose": (cls.response("nopurpose", signer="other.leaf", key="other.key", index="nobody.txt"),
                          "Received TLS cert status response, itself unverifiable"),
        }
        for name, (response, _) in cls.bad.items():
            for version in ("12", "13"):
                server = ["-tls1_2"] if version == "12" else []
                cls.staple_scenario(f"{name}must{version}", response, must, server)
                cls.staple_scenario(f"{name}try{version}", response, "tls_verify_hosts = *", server)
        # What is no proof at all: an error of the responder, and an envelope with garbage in it.
        cls.garbage = {
            "later": cls.written("later.der", der(0x30, der(0x0a, b"\3"))),
            "garbage": cls.written("garbage.der", der(0x30, der(0x0a, b"\0"), der(0xa0, der(
                0x30, OCSP_BASIC, der(0x04, os.urandom(600)))))),
        }
        for name, response in cls.garbage.items():
            cls.staple_scenario(f"{name}must", response, must)
            cls.staple_scenario(f"{name}try", response)
            cls.staple_scenario(f"{name}try12", response, server=["-tls1_2"])

        # None.
        cls.staple_scenario("nonemust", None, must)
        cls.staple_scenario("nonetry", None)
        cls.staple_scenario("unasked", good, "hosts_request_ocsp = :")
        # Nobody vouches for the certificate: its proof is worth nothing.
        own = stranger.certificate("unverified", alt="DNS:mx.test")
        cls.staple_scenario("unverified", good, "", certificate=own)
        cls.staple_scenario("unverifiedmust", good, "hosts_require_ocsp = *", certificate=own)

        # The second host has one.
        first = StapleServer(*cls.mx)
        second = StapleServer(*cls.mx, good, f"127.0.0.2:{first.port}")
        for host in (first, second):
            cls.addClassCleanup(host.close)
        cls.second = second
        cls.zone.update({"mx.hasnone.test": [("A", "127.0.0.1")], "mx.hasone.test": [("A", "127.0.0.2")]})
        cls.scenario("twohosts", first, f"tls_verify_certificates = {ca.pem}\nprotocol = smtps\ntls_verify_cert_hostnames =\n"
                                        f"{must}\nhosts_override\nhosts = mx.hasnone.test : mx.hasone.test")
        # Required, and the host has STARTTLS and no proof: in the clear only where that is allowed.
        context = server_context(*ca.certificate("clear", alt="DNS:mx.clear.test"))
        for name, options in (("clear", ""), ("notclear", "hosts_require_tls = *"), ("nottried", "no_tls_tempfail_tryclear")):
            cls.scenario(name, cls.sink_for(tls=context), f"tls_verify_certificates = {ca.pem}\nhosts_require_ocsp = *\n{options}")

        for version in ("12", "13"):
            server = ["-tls1_2"] if version == "12" else []
            cls.staple_scenario(f"again{version}", good, f"{must}\ntls_resumption_hosts = *", server)

        cls.hello = Hello()
        cls.addClassCleanup(cls.hello.close)
        for name, options in (("asks", ""), ("asksnot", "hosts_request_ocsp = :"), ("asksmust", "hosts_request_ocsp = :\nhosts_require_ocsp = *")):
            cls.scenario(name, cls.hello, f"protocol = smtps\ntls_verify_certificates = {ca.pem}\n{options}")

    @classmethod
    def make_intermediate(cls, must):
        """A certificate of an authority that ours has certified: that one has signed the proof, and both are sent."""
        ca = cls.ca
        ca.certificate("middle", name="middle", alt="", extra=["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign,cRLSign,digitalSignature",
                                                              "extendedKeyUsage=serverAuth,OCSPSigning"])
        ca.certificate("below", alt="DNS:mx.test")
        with open(ca.path("below.ext"), "w") as f:
            f.write("subjectAltName=DNS:mx.test\n")
        ca.openssl("x509", "-req", "-in", "below.csr", "-CA", "middle.leaf", "-CAkey", "middle.key", "-set_serial", "77", "-days", "30",
                   "-extfile", "below.ext", "-out", "below.leaf")
        with open(ca.path("below.index"), "w") as f:
            f.write("V\t401231235959Z\t\t4D\tunknown\t/O=Test/CN=mx.test\n")
        ca.openssl("ocsp", "-index", "below.index", "-CA", "middle.leaf", "-issuer", "middle.leaf", "-cert", "below.leaf", "-rsigner",
                   "middle.leaf", "-rkey", "middle.key", "-respout", "below.der", "-ndays", "7")
        with open(ca.path("below.pem"), "w") as out:
            for name in ("below.leaf", "middle.leaf"):
                with open(ca.path(name)) as f:
                    out.write(f.read())
        cls.staple_scenario("below", ca.path("below.der"), must, certificate=(ca.path("below.pem"), ca.path("below.key")))

    def facts(self, name):
        """What the message that the server has got last says of the session."""
        return dict(re.findall(r"(\w+)=(\d+)", re.search("X-Facts: (.*)", self.sinks[name].messages[-1]).group(1)))

    def test_required_and_good(self):
        for name in ("good", "good12", "goodchacha", "good128", "goodretry", "goodrsa", "goodkeyid", "delegated", "alone",
                     "alone12", "below"):
            with self.subTest(name):
                self.assertRegex(self.delivered(name), " CV=yes ")
                self.assertEqual("4", self.facts(name)["ocsp"])

    def test_required_and_bad(self):
        for name, (_, text) in self.bad.items():
            for version in ("12", "13"):
                with self.subTest(name, version=version):
                    self.assertRegex(self.deferred(f"{name}must{version}"),
                                     rf" defer \(-37\) H=mx\.\w+\.test \[127\.0\.0\.1\]: TLS session: \(handshake\): {text}$")

    def test_requested_and_bad(self):
        """Told, and the message goes out all the same."""
        for name, (_, text) in self.bad.items():
            for version in ("12", "13"):
                with self.subTest(name, version=version):
                    self.assertRegex(self.delivered(f"{name}try{version}"), r" X=TLS1\.\d:\S+ CV=yes ")
                    self.assertEqual("3", self.facts(f"{name}try{version}")["ocsp"])
        log = self.shared().log()
        for name, (_, text) in self.bad.items():
            self.assertRegex(log, rf"SSL certificate status error: {text}$|TLS session: \(handshake\): {text}: trying again with H=mx\.{name}try"
                                  .replace("$|", r"(?m:$)|"))

    def test_garbage(self):
        for name in self.garbage:
            self.assertRegex(self.deferred(f"{name}must"), r" defer \(-37\) .*: TLS session: .*(parse error|responder error 3)")
            for version in ("", "12"):
                self.assertRegex(self.deferred(f"{name}try{version}"), r" defer \(-37\) .*: TLS session: .*(parse error|responder error 3)")

    def test_none(self):
        self.assertRegex(self.deferred("nonemust"), r": TLS session: \(handshake\): Required TLS certificate status not received$")
        self.delivered("nonetry")
        self.assertEqual("1", self.facts("nonetry")["ocsp"])

    def test_not_asked_for(self):
        self.delivered("unasked")
        self.assertEqual("0", self.facts("unasked")["ocsp"])
        for name in ("asks", "asksnot", "asksmust"):
            self.deferred(name)
            self.assertEqual(name != "asksnot", 5 in self.hello.seen[-1], (name, self.hello.seen[-1].keys()))

    def test_of_a_certificate_that_is_not_verified(self):
        self.assertRegex(self.delivered("unverified"), " CV=no ")
        self.assertIn(self.facts("unverified")["ocsp"], "23")
        self.assertRegex(self.deferred("unverifiedmust"), r": TLS session: ")

    def test_next_host_has_one(self):
        self.assertRegex(self.delivered("twohosts"), r" H=mx\.hasone\.test \[127\.0\.0\.2\] ")
        self.assertEqual(0, len(self.sinks["twohosts"].messages))
        self.assertEqual(1, len(self.second.messages))
        self.assertRegex(self.shared().log(), r"H=mx\.hasnone\.test \[127\.0\.0\.1\].*Required TLS certificate status not received")

    def test_in_the_clear_only_where_allowed(self):
        self.assertNotIn(" X=", self.delivered("clear"))
        for name in ("notclear", "nottried"):
            self.assertRegex(self.deferred(name), "Required TLS certificate status not received")
        warned = self.shared().run("-bV").err + self.shared().stderr() + self.shared().log()
        self.assertRegex(warned, "hosts_require_ocsp without hosts_require_tls")

    def test_resumed(self):
        """A resumed session has no proof: what was found when it was made counts."""
        for name in ("again12", "again13"):
            self.assertRegex(self.delivered(name), r" X=TLS\S+256 CV=yes ")
            self.assertEqual("4", self.facts(name)["ocsp"])
            self.assertRegex(self.delivered(name, 2), r" X=TLS\S+256\* CV=yes ")
            facts = self.facts(name)
            self.assertEqual("4", facts["ocsp"])
            self.assertTrue(int(facts["resumption"]) & 16)


if __name__ == "__main__":
    unittest.main()
