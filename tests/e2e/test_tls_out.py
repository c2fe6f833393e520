"""Sending over TLS: to servers that have it, that have not, that fail at it or lie; certificates, names, revocation, sessions.

One daemon; each scenario is a domain with a host, a transport and a server of its own."""
import os
import shutil
import ssl
import subprocess
import tempfile
import unittest
from unittest import mock

import harness
from authority import Authority
from harness import Sink, SluiceTest, configuration, until
from tls_scenarios import Scenarios, server_context


class TlsOut(Scenarios):
    @classmethod
    def make_scenarios(cls):
        cls.rcpt_acl = """deny domains = callout.test : calloutclear.test
       ! verify = recipient/callout=30s,no_cache
  accept"""
        ca = f"tls_verify_certificates = {cls.ca.pem}"
        sink = cls.sink_for
        cls.scenario("plain", sink(tls=cls.certificate_for("plain")), ca)
        cls.scenario("rsa", sink(tls=server_context(*cls.ca.certificate("rsa", alt="DNS:mx.rsa.test", kind="rsa"),
                                                    maximum=ssl.TLSVersion.TLSv1_2)), ca)
        cls.scenario("musttls", sink(), f"{ca}\nhosts_require_tls = *")
        cls.scenario("notls", sink(), ca)
        cls.scenario("avoid", sink(tls=cls.certificate_for("avoid")), f"{ca}\nhosts_avoid_tls = *")
        cls.scenario("smtps", sink(tls=cls.certificate_for("smtps"), tls_on_connect=True),
                     f"{ca}\nprotocol = smtps\ntls_verify_hosts = *")

        wrong = server_context(*cls.ca.certificate("wrong", name="other.test"))
        cls.scenario("trywrong", sink(tls=wrong), ca)
        cls.scenario("anyname", sink(tls=wrong), f"{ca}\ntls_verify_cert_hostnames =\ntls_verify_hosts = *")
        # The second host has the right name, at another address and the same port.
        first = sink(tls=wrong)
        second = cls.sink_for(tls=cls.certificate_for("second"), address=("127.0.0.2", first.port))
        cls.scenario("mustname", first, f"{ca}\ntls_verify_hosts = *\nhosts_require_tls = *\nhosts_override\n"
                                        "hosts = mx.wrongname.test : mx.second.test")
        cls.zone["mx.wrongname.test"] = [("A", "127.0.0.1")]
        cls.zone["mx.second.test"] = [("A", "127.0.0.2")]
        cls.second = second
        cls.scenario("onlywrong", sink(tls=wrong), f"{ca}\ntls_verify_hosts = *\nhosts_require_tls = *")
        cls.scenario("wild", sink(tls=server_context(*cls.ca.certificate("wild", alt="DNS:*.wild.test"))),
                     f"{ca}\ntls_verify_hosts = *")
        cls.scenario("cnonly", sink(tls=server_context(*cls.ca.certificate("cnonly", name="mx.cnonly.test", alt=""))),
                     f"{ca}\ntls_verify_hosts = *")
        cls.scenario("expired", sink(tls=server_context(*cls.ca.certificate("expired", alt="DNS:mx.expired.test", end="20200201000000Z"))),
                     f"{ca}\ntls_verify_hosts = *\nhosts_require_tls = *")
        other = Authority(os.path.join(cls.dir, "other"), "other")
        stranger = server_context(*other.certificate("stranger", alt="DNS:mx.stranger.test"))
        cls.scenario("stranger", sink(tls=stranger), f"{ca}\ntls_verify_hosts = *\nhosts_require_tls = *")
        cls.scenario("trystranger", sink(tls=stranger), ca)
        cls.scenario("nobodyasks", sink(tls=stranger), f"{ca}\ntls_try_verify_hosts = :")
        other.openssl("req", "-x509", "-key", "ca.key", "-subj", "/CN=mx.selfsigned.test", "-days", "30", "-out", "self.pem")
        alone = server_context(other.path("self.pem"), other.path("ca.key"))
        cls.scenario("selfsigned", sink(tls=alone), f"{ca}\ntls_verify_hosts = *\nhosts_require_tls = *")
        cls.scenario("tryselfsigned", sink(tls=alone), ca)
        early = cls.ca.certificate("early", alt="DNS:mx.early.test", start="20400101000000Z", end="20450101000000Z")
        cls.scenario("early", sink(tls=server_context(*early)), f"{ca}\ntls_verify_hosts = *\nhosts_require_tls = *")
        revoked = server_context(*cls.ca.certificate("revoked", alt=["DNS:mx.revoked.test", "DNS:mx.norevoked.test"]))
        cls.ca.revoke("revoked")
        cls.scenario("revoked", sink(tls=revoked),
                     f"{ca}\ntls_crl = {cls.ca.crl()}\ntls_verify_hosts = *\nhosts_require_tls = *")
        cls.scenario("norevoked", sink(tls=revoked), f"{ca}\ntls_verify_hosts = *\nhosts_require_tls = *")

        certificate, key = cls.ca.certificate("client", alt="DNS:client.test")
        mutual = server_context(*cls.ca.certificate("mutual", alt="DNS:mx.mutual.test"), ca=cls.ca.pem,
                                maximum=ssl.TLSVersion.TLSv1_2)
        cls.scenario("mutual", sink(tls=mutual),
                     f"{ca}\ntls_certificate = {certificate}\ntls_privatekey = {key}\nhosts_require_tls = *")
        cls.scenario("mutualnone", sink(tls=mutual), f"{ca}\nhosts_require_tls = *\ntls_try_verify_hosts = :")
        cls.names = []
        named = cls.certificate_for("sni")
        named.sni_callback = lambda sock, name, context: cls.names.append(name)
        cls.scenario("sni", sink(tls=named), f"{ca}\ntls_sni = name-of-$domain")
        cls.scenario("ciphers", sink(tls=cls.certificate_for("ciphers")),
                     f"{ca}\ntls_require_ciphers = NORMAL:-VERS-ALL:+VERS-TLS1.2:-AES-256-GCM:-CHACHA20-POLY1305")
        cls.scenario("nociphers", sink(tls=cls.certificate_for("nociphers")),
                     f"{ca}\ntls_require_ciphers = NOSUCHWORD\nhosts_require_tls = *")

        def refuse(code):
            return lambda verb, argument, session: f"{code} no TLS now" if verb == "STARTTLS" else None

        for name, code, options in (("later", 454, ""), ("never", 502, ""),
                                    ("latermust", 454, "hosts_require_tls = *"),
                                    ("nevermust", 502, "hosts_require_tls = *"),
                                    ("laterkeep", 454, "no_tls_tempfail_tryclear"),
                                    ("neverkeep", 502, "no_tls_tempfail_tryclear")):
            cls.scenario(name, sink(refuse(code), tls=wrong), f"{ca}\n{options}")

        def hang_up(verb, argument, session):
            if verb == "STARTTLS":
                session.say("220 go on")
                return Sink.CLOSE

        def babble(verb, argument, session):
            if verb == "STARTTLS":
                session.sock.sendall(b"220 go on\r\n")
                session.sock.recv(1)
                session.sock.sendall(b"what is this?\r\n" * 100)
                return Sink.CLOSE

        def inject(verb, argument, session):
            if verb == "STARTTLS":
                session.sock.sendall(b"220 go on\r\n250-mx.inject.test\r\n250 AUTH PLAIN\r\n")
                return Sink.CLOSE

        for name, script in (("hangup", hang_up), ("babble", babble), ("inject", inject)):
            cls.scenario(name, sink(script, tls=wrong), ca)
            cls.scenario(name + "must", sink(script, tls=wrong), f"{ca}\nhosts_require_tls = *")
            cls.scenario(name + "keep", sink(script, tls=wrong), f"{ca}\nno_tls_tempfail_tryclear")

        cls.scenario("callout", sink(tls=cls.certificate_for("callout")), ca)
        cls.scenario("calloutclear", sink(tls=cls.certificate_for("calloutclear")), f"{ca}\nhosts_verify_avoid_tls = *")
        for name, version in (("resume12", ssl.TLSVersion.TLSv1_2), ("resume13", None)):
            context = server_context(*cls.ca.certificate(name, alt=f"DNS:mx.{name}.test"), maximum=version)
            cls.scenario(name, sink(tls=context), f"{ca}\ntls_resumption_hosts = *\ntls_verify_hosts = *\n"
                                                  "tls_sni = ${if eq{$sender_address}{other@client.test}{other}{same}}")
        cls.scenario("noresume", sink(tls=cls.certificate_for("noresume")), ca)

    # ---- Opportunistic, required, avoided ----

    def test_opportunistic(self):
        line = self.delivered("plain")
        self.assertRegex(line, r" X=TLS1\.3:ECDHE_\w+__ECDSA_SECP256R1_SHA256__AES_256_GCM:256 CV=yes DN=\"O=Test,CN=mx\.plain\.test\" ")
        session = self.sinks["plain"].sessions[-1]
        self.assertTrue(session.secured)
        # Said again under TLS: what was offered in the clear counts for nothing.
        self.assertEqual(["EHLO mx.test", "STARTTLS", "EHLO mx.test"], session.commands[:3])

    def test_tls12_with_rsa(self):
        self.assertRegex(self.delivered("rsa"), r" X=TLS1\.2:ECDHE_\w+__RSA_\w+__AES_256_GCM:256 CV=yes ")

    def test_not_offered(self):
        self.assertNotIn(" X=", self.delivered("notls"))
        self.assertRegex(self.deferred("musttls"), r" defer \(-38\) H=mx\.musttls\.test \[127\.0\.0\.1\]: "
                                                   r"a TLS session is required, but the server did not offer TLS support")

    def test_avoided(self):
        self.assertNotIn(" X=", self.delivered("avoid"))
        self.assertNotIn("STARTTLS", self.sinks["avoid"].sessions[-1].commands)

    def test_on_connect(self):
        self.assertRegex(self.delivered("smtps"), r" X=TLS1\.3:\S+ CV=yes ")
        self.assertNotIn("STARTTLS", self.sinks["smtps"].sessions[-1].commands)

    # ---- Certificates ----

    def test_wrong_name_is_told(self):
        self.assertRegex(self.delivered("trywrong"), r" X=\S+ CV=no ")
        self.assertIn('[127.0.0.1] SSL verify error: certificate name mismatch: DN="O=Test,CN=other.test" H="mx.trywrong.test"',
                      self.shared().log())

    def test_name_does_not_matter(self):
        self.assertRegex(self.delivered("anyname"), r" X=\S+ CV=yes ")

    def test_next_host_has_the_name(self):
        self.assertRegex(self.delivered("mustname"), r" H=mx\.second\.test \[127\.0\.0\.2\] X=\S+ CV=yes ")
        self.assertEqual([], self.sinks["mustname"].messages)
        self.assertEqual(1, len(self.second.messages))
        self.assertRegex(self.shared().log(), r"H=mx\.wrongname\.test \[127\.0\.0\.1\].*: TLS session: .*name mismatch")

    def test_no_host_has_the_name(self):
        self.assertRegex(self.deferred("onlywrong"), r" defer \(-37\) H=mx\.onlywrong\.test \[127\.0\.0\.1\]: TLS session: .*"
                                                     r"certificate name mismatch: DN=\"O=Test,CN=other\.test\" H=\"mx\.onlywrong\.test\"")

    def test_wildcard_and_common_name(self):
        self.assertRegex(self.delivered("wild"), r" CV=yes ")
        self.assertRegex(self.delivered("cnonly"), r" CV=yes ")

    def test_expired(self):
        self.assertRegex(self.deferred("expired"), r" defer \(-37\) .*: TLS session: \(certificate verification failed\): certificate has expired")

    def test_unknown_authority(self):
        why = "unable to get local issuer certificate"
        self.assertRegex(self.deferred("stranger"), rf" defer \(-37\) .*: TLS session: \(certificate verification failed\): {why}$")
        # What it showed of itself is not believed the next time either.
        for count in (1, 2):
            self.assertRegex(self.delivered("trystranger", count), r" X=\S+ CV=no ")
        self.assertEqual(2, self.shared().log().count(f"[127.0.0.1] SSL verify error: {why}\n"))

    def test_nobody_wants_to_know(self):
        """With neither list matching, nothing is said of the certificate, and it is no reason for anything."""
        line = self.delivered("nobodyasks")
        self.assertRegex(line, r' X=\S+ CV=no DN="')
        self.assertNotIn(line.split(" ")[2] + " [127.0.0.1] SSL verify error", self.shared().log())
        self.assertRegex(self.deferred("mutualnone"), r" defer \(-37\) .*: TLS session: \(handshake\): the peer sent alert handshake_failure$")

    def test_self_signed(self):
        self.assertRegex(self.deferred("selfsigned"), r": TLS session: .*: self-signed certificate$")
        self.assertRegex(self.delivered("tryselfsigned"), r" X=\S+ CV=no ")

    def test_not_yet_valid(self):
        self.assertRegex(self.deferred("early"), r": TLS session: .*: certificate is not yet valid$")

    def test_revoked_by_list(self):
        self.assertRegex(self.deferred("revoked"), r" defer \(-37\) .*: TLS session: .*revoked")
        self.assertRegex(self.delivered("norevoked"), r" CV=yes ")

    def test_client_certificate(self):
        self.delivered("mutual")
        session = self.sinks["mutual"].sessions[-1]
        self.assertEqual(1, len(self.sinks["mutual"].messages))
        self.assertTrue(session.secured)

    def test_server_name(self):
        self.delivered("sni")
        self.assertEqual("name-of-sni.test", self.names[-1])

    def test_ciphers(self):
        self.assertRegex(self.delivered("ciphers"), r" X=TLS1\.2:ECDHE_\w+__ECDSA_SHA256__AES_128_GCM:128 ")
        self.assertRegex(self.deferred("nociphers"), r" TLS session: .*NOSUCHWORD")

    # ---- When TLS fails ----

    def test_starttls_refused(self):
        for name in ("later", "never", "neverkeep"):
            with self.subTest(name):
                self.assertNotIn(" X=", self.delivered(name))
                self.assertEqual(1, len(self.sinks[name].sessions), "the same connection goes on")
        for name in ("latermust", "nevermust"):
            with self.subTest(name):
                self.assertRegex(self.deferred(name), r" defer \(-38\) .* a TLS session is required, but "
                                                      r"an attempt to start TLS failed")
        self.assertRegex(self.deferred("laterkeep"), r" defer \(-?\d+\) .* after STARTTLS: 454 no TLS now")

    def test_handshake_fails(self):
        for name in ("hangup", "babble", "inject"):
            with self.subTest(name):
                self.assertNotIn(" X=", self.delivered(name))
                self.assertRegex(self.shared().log(), rf"TLS session: .*: delivering unencrypted to H=mx\.{name}\.test "
                                                      r"\[127\.0\.0\.1\] \(not in hosts_require_tls\)")
                self.assertEqual(2, len(self.sinks[name].sessions))
            for kind in ("must", "keep"):
                with self.subTest(name + kind):
                    self.assertRegex(self.deferred(name + kind), r" defer \(-37\) .*: TLS session: ")
                    self.assertEqual(1, len(self.sinks[name + kind].sessions))

    def test_what_came_before_the_handshake_is_not_believed(self):
        self.delivered("inject")
        for session in self.sinks["inject"].sessions:
            self.assertFalse([c for c in session.commands if c.startswith("AUTH")])

    # ---- Callouts ----

    def test_callout(self):
        with self.shared().client() as c:
            c.ehlo()
            c.expect("MAIL FROM:<s@client.test>", 250)
            c.expect("RCPT TO:<u@callout.test>", 250)
            c.expect("RCPT TO:<u@calloutclear.test>", 250)
        self.assertTrue(self.sinks["callout"].sessions[-1].secured)
        self.assertFalse(self.sinks["calloutclear"].sessions[-1].secured)

    # ---- Sessions ----

    def test_resumption(self):
        for name in ("resume12", "resume13"):
            with self.subTest(name):
                self.assertRegex(self.delivered(name), r" X=TLS\S+256 CV=yes ")
                self.settle(name)
                self.assertRegex(self.delivered(name, 2), r" X=TLS\S+256\* CV=yes ")
                self.assertTrue(self.sinks[name].sessions[-1].resumed)
                # Under another name it is not offered.
                self.assertRegex(self.delivered(name, 3, "other@client.test"), r" X=TLS\S+256 CV=yes ")
        self.delivered("noresume")
        self.assertRegex(self.delivered("noresume", 2), r" X=TLS\S+256 CV=yes ")

    def settle(self, name):
        """The session of the last delivery is among the hints, which are written by the time another one is."""
        until(lambda: self.sinks[name].sessions[-1].commands[-1:] == ["QUIT"], "the end of the session")


class NoAuthorities(SluiceTest):
    """A system without a file of authorities, as small containers are: what only should be verified goes out over TLS all the same."""

    @unittest.skipUnless(os.getuid() == 0 and not subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode, "unshare")
    def test_system_has_none(self):
        folder = tempfile.mkdtemp(prefix="sluice-pki-")
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        wrapper = os.path.join(folder, "sluice")
        with open(wrapper, "w") as f:
            f.write(f"""#!/bin/sh
exec unshare -m sh -c 'mount -t tmpfs none /etc/ssl/certs && exec "$0" "$@"' {harness.SLUICE} "$@"
""")
        os.chmod(wrapper, 0o755)
        sink = Sink(tls=server_context(*Authority(folder).certificate("mx", alt="IP:127.0.0.1")))
        self.addCleanup(sink.close)
        policy = "\nbegin acl\nrcpt_acl:\n  accept\n\nbegin routers\n" + "".join(f"""{name}:
  driver = manualroute
  domains = {name}.test
  transport = {name}
  route_list = * 127.0.0.1
  self = send
""" for name in ("try", "must")) + "\nbegin transports\n" + "".join(f"""{name}:
  driver = smtp
  port = {sink.port}
  allow_localhost
  hosts_try_fastopen = :
  hosts_require_tls = *
  {option}
""" for name, option in (("try", ""), ("must", "tls_verify_hosts = *"))) + "\nbegin retry\n* * F,2h,15m\n"
        with mock.patch("harness.SLUICE", wrapper):
            server = self.sluice(configuration(policy=policy))
        with server.client() as client:
            client.ehlo()
            client.message("Subject: x\r\n\r\nbody\r\n", "s@client.test", ["u@try.test"])
            server.wait_log(r"=> u@try\.test .* X=TLS1\.3:\S+ CV=no ")
            client.message("Subject: x\r\n\r\nbody\r\n", "s@client.test", ["u@must.test"])
            server.wait_log(r"== u@must\.test .* TLS session: \(certificate verification failed\): unable to get local issuer certificate$")
        server.wait_log("tls_verify_certificates: this system has no file of authorities")


if __name__ == "__main__":
    unittest.main()
