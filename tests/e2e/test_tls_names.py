"""Whom we believe when we send over TLS: names in certificates (RFC 6125, 9525), authorities, our own certificate, protocols (ALPN),
and that a session is never offered under other conditions than those it was made under."""
import os
import shutil
import ssl
import unittest

from authority import Authority
from tls_scenarios import Scenarios, server_context

MUST = "tls_verify_hosts = *\nhosts_require_tls = *"


class Names(Scenarios):
    @classmethod
    def make_scenarios(cls):
        ca = cls.ca
        trust = f"tls_verify_certificates = {ca.pem}"
        # host, names in the certificate, common name; does it match?
        cls.rows = {
            "one": ("mx.one.test", "DNS:mx.one.test", "x", True),
            "second": ("mx.second.test", ["DNS:other.test", "DNS:mx.second.test"], "x", True),
            "letters": ("mx.letters.test", "DNS:MX.Letters.TEST", "x", True),
            "onlycn": ("mx.onlycn.test", "", "mx.onlycn.test", True),
            "cnbesidesan": ("mx.cnbesidesan.test", "DNS:other.test", "mx.cnbesidesan.test", False),
            "wild": ("a.wild.test", "DNS:*.wild.test", "x", True),
            "wilddeep": ("a.b.wild.test", "DNS:*.wild.test", "x", False),
            "wildbare": ("wild.test", "DNS:*.wild.test", "x", False),
            "wildtop": ("wildtop.test", "DNS:*.test", "x", False),
            "wildpart": ("mx.wildpart.test", "DNS:m*.wildpart.test", "x", False),
            "wildinside": ("mx.wildinside.test", "DNS:mx.*.test", "x", False),
            "wildcn": ("mx.wildcn.test", "", "*.wildcn.test", True),
            "address": ("mx.address.test", "IP:127.0.0.1", "x", False),
        }
        for name, (host, alt, cn, _) in cls.rows.items():
            context = server_context(*ca.certificate(name, name=cn, alt=alt))
            cls.scenario(name, cls.sink_for(tls=context), f"{trust}\n{MUST}", [(host, "127.0.0.1")])
        # The name is that of the MX record, whatever alias stands behind it.
        for name, alt in (("alias", "DNS:mx.alias.test"), ("aliasbehind", "DNS:real.aliasbehind.test")):
            cls.scenario(name, cls.sink_for(tls=server_context(*ca.certificate(name, alt=alt))), f"{trust}\n{MUST}")
            cls.zone.update({f"mx.{name}.test": [("CNAME", f"real.{name}.test")], f"real.{name}.test": [("A", "127.0.0.1")],
                             f"{name}.test": [("MX", 10, f"mx.{name}.test")]})
            cls.routers[-1] = f"{name}:\n  driver = dnslookup\n  domains = {name}.test\n  transport = t_{name}\n  self = send\n"
        # A host by its U-label.
        for name, alt in (("ulabel", "DNS:mx.xn--bcher-kva.test"), ("otherulabel", "DNS:mx.xn--bcher-kvb.test")):
            cls.scenario(name, cls.sink_for(tls=server_context(*ca.certificate(name, alt=alt))), f"{trust}\n{MUST}", [("mx.bücher.test", "127.0.0.1")])
        cls.zone["mx.xn--bcher-kva.test"] = [("A", "127.0.0.1")]

        wrong = server_context(*ca.certificate("wrong", alt="DNS:other.test"))
        cls.scenario("otherhosts", cls.sink_for(tls=wrong), f"{trust}\n{MUST}\ntls_verify_cert_hostnames = 10.0.0.1")
        cls.scenario("oldspelling", cls.sink_for(tls=wrong), f"{trust}\n{MUST}\ntls_verify_cert_hostname = :")
        # Neither list says anything: what was so before there were these lists.
        cls.scenario("neither", cls.sink_for(tls=wrong), f"{trust}\ntls_try_verify_hosts =\nhosts_require_tls = *")
        cls.scenario("unverified", cls.sink_for(tls=wrong), f"{trust}\ntls_try_verify_hosts = 10.0.0.1\nhosts_require_tls = *")

        # Authorities: in a folder; the system's, who know nothing of ours; none that can be read.
        folder = os.path.join(cls.dir, "authorities")
        os.mkdir(folder)
        os.chmod(folder, 0o755)
        shutil.copy(ca.pem, os.path.join(folder, "0a1b2c3d.0"))
        good = server_context(*ca.certificate("good", alt=[f"DNS:mx.{n}.test" for n in ("folder", "system", "absent", "revokedfolder")]))
        cls.scenario("folder", cls.sink_for(tls=good), f"tls_verify_certificates = {folder}\n{MUST}\nhosts_request_ocsp = *")
        cls.scenario("system", cls.sink_for(tls=good), "tls_verify_certificates = system\nhosts_require_tls = *")
        cls.scenario("absent", cls.sink_for(tls=good), f"tls_verify_certificates = {folder}/nothing\n{MUST}")

        # Our own certificate, chosen by expansion; and one that is not there.
        client = ca.certificate("client", name="client.test")
        mutual = server_context(*ca.certificate("mutual", alt="DNS:mx.mutual.test"), ca=ca.pem)
        choose = "${if eq{$host}{mx.mutual.test}{%s}{}}"
        cls.scenario("mutual", cls.sink_for(tls=mutual), f"{trust}\n{MUST}\ntls_certificate = {choose % client[0]}\n"
                                                         f"tls_privatekey = {choose % client[1]}")
        cls.scenario("nocertificate", cls.sink_for(tls=good), f"{trust}\nhosts_require_tls = *\ntls_certificate = {cls.dir}/none.pem")
        cls.scenario("wrongkey", cls.sink_for(tls=good), f"{trust}\nhosts_require_tls = *\ntls_certificate = {client[0]}\n"
                                                         f"tls_privatekey = {ca.path('good.key')}")
        cls.scenario("fails", cls.sink_for(tls=good), f"{trust}\nhosts_require_tls = *\ntls_certificate = ${{if bad{{x}}}}")
        cls.scenario("contradiction", cls.sink_for(tls=good), f"{trust}\nhosts_require_tls = *\nhosts_avoid_tls = *")

        speaks = server_context(*ca.certificate("speaks", alt=["DNS:mx.alpn.test", "DNS:mx.alpnmust.test", "DNS:mx.alpnother.test"]))
        speaks.set_alpn_protocols(["smtp"])
        mute = server_context(*ca.certificate("mute", alt=["DNS:mx.alpnmute.test", "DNS:mx.alpnmutemust.test"]))
        for name, context, options in (("alpn", speaks, "tls_alpn = smtp"), ("alpnmust", speaks, "tls_alpn = smtp\nhosts_require_alpn = *"),
                                       ("alpnmute", mute, "tls_alpn = smtp"), ("alpnmutemust", mute, "tls_alpn = smtp\nhosts_require_alpn = *")):
            cls.scenario(name, cls.sink_for(tls=context), f"{trust}\nhosts_require_tls = *\n{options}")

        # One server, three ways to look at it.
        other = Authority(os.path.join(cls.dir, "other"), "other")
        for version in ("12", "13"):
            context = server_context(*ca.certificate(f"policy{version}", alt="DNS:mx.policy.test"),
                                     maximum=ssl.TLSVersion.TLSv1_2 if version == "12" else None)
            sink = cls.sink_for(tls=context)
            for name, options in ((f"careless{version}", f"tls_verify_certificates = {other.pem}"), (f"careful{version}", f"{trust}\n{MUST}"),
                                  (f"ciphers{version}", f"{trust}\n{MUST}\ntls_require_ciphers = NORMAL:-AES-128-GCM")):
                cls.scenario(name, sink, f"{options}\ntls_resumption_hosts = *", [("mx.policy.test", "127.0.0.1")])

    def test_names(self):
        for name, (host, alt, cn, fine) in self.rows.items():
            with self.subTest(host=host, alt=alt, cn=cn):
                if fine:
                    self.assertRegex(self.delivered(name), " CV=yes ")
                else:
                    self.assertRegex(self.deferred(name), rf'certificate name mismatch: DN="O=Test,CN=.*" H="{host}"$')

    def test_names_behind_aliases(self):
        self.assertRegex(self.delivered("alias"), r" H=mx\.alias\.test \[127\.0\.0\.1\] X=\S+ CV=yes ")
        self.assertRegex(self.deferred("aliasbehind"), r'certificate name mismatch: .* H="mx\.aliasbehind\.test"$')

    def test_u_labels(self):
        self.assertRegex(self.delivered("ulabel"), " CV=yes ")
        self.assertRegex(self.deferred("otherulabel"), "certificate name mismatch")

    def test_names_of_others(self):
        for name in ("otherhosts", "oldspelling"):
            self.assertRegex(self.delivered(name), " CV=yes ")

    def test_neither_list(self):
        self.assertRegex(self.deferred("neither"), "certificate name mismatch")
        self.assertRegex(self.delivered("unverified"), " CV=no ")
        self.assertNotRegex(self.shared().log(), r"mx\.unverified\.test.*mismatch|mismatch.*mx\.unverified\.test")

    def test_authorities(self):
        self.assertRegex(self.delivered("folder"), " CV=yes ")
        self.assertRegex(self.delivered("system"), " CV=no ")
        self.assertRegex(self.deferred("absent"), "tls_verify_certificates: .*/nothing: No such file or directory")

    def test_own_certificate(self):
        self.delivered("mutual")
        self.assertTrue(self.sinks["mutual"].sessions[-1].secured)
        self.assertRegex(self.deferred("nocertificate"), "none.pem: No such file or directory")
        self.assertRegex(self.deferred("wrongkey"), "the key is not that of the certificate")
        self.assertRegex(self.deferred("fails"), "failed to expand tls_certificate of t_fails transport")

    def test_contradiction(self):
        self.assertRegex(self.deferred("contradiction"), r" defer \(-38\) .*hosts_avoid_tls")

    def test_protocols(self):
        for name, wanted in (("alpn", "smtp"), ("alpnmust", "smtp"), ("alpnmute", None)):
            self.delivered(name)
        self.assertRegex(self.deferred("alpnmutemust"), "did not choose a protocol")

    def test_a_session_is_for_its_conditions(self):
        for version in ("12", "13"):
            def resumed():
                return self.sinks[f"careful{version}"].sessions[-1].resumed
            with self.subTest(version=version):
                self.assertRegex(self.delivered(f"careless{version}"), r" X=\S+\d CV=no ")
                self.assertRegex(self.delivered(f"careless{version}", 2), r" X=\S+\d\* CV=no ", "resumed, and not verified for that")
                self.assertTrue(resumed())
                self.assertRegex(self.delivered(f"careful{version}"), r" X=\S+\d CV=yes ")
                self.assertFalse(resumed())
                self.assertRegex(self.delivered(f"careful{version}", 2), r" X=\S+\d\* CV=yes ")
                self.assertRegex(self.delivered(f"ciphers{version}"), r" X=\S+\d CV=yes ")
                self.assertFalse(resumed())


if __name__ == "__main__":
    unittest.main()
