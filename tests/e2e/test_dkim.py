"""DKIM with the real binary: signatures that dkimpy makes, keys from a name server of our own, what policy and log see."""
import base64
import os
import re
import subprocess
import unittest

import harness
from harness import SluiceTest, configuration
from nameserver import SERVFAIL, SILENT, Nameserver

try:
    import dkim
except ImportError:
    dkim = None

POLICY_DATA = """
acl_smtp_data = data_acl
log_selector = +dkim_verbose
"""
DATA_ACL = """
data_acl:
  warn    logwrite = status=$dkim_verify_status signers=$dkim_signers
  warn    dkim_status = pass
          add_header = X-DKIM: pass
  warn    dkim_status = fail
          add_header = X-DKIM: fail
  warn    dkim_status = invalid
          add_header = X-DKIM: invalid
  warn    dkim_status = none
          add_header = X-DKIM: none
  accept
"""


def policy(extra=DATA_ACL, base=harness.POLICY):
    return base.replace("begin routers", extra + "\nbegin routers")


def rsa_key(bits=2048):
    """(PEM, p=)"""
    pem = subprocess.run(["openssl", "genrsa", "-traditional", str(bits)], capture_output=True, check=True).stdout
    der = subprocess.run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=pem, capture_output=True, check=True).stdout
    return pem, base64.b64encode(der).decode()


def ed25519_key():
    """(the 32 bytes in base64, p=)"""
    pem = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], capture_output=True, check=True).stdout
    private = subprocess.run(["openssl", "pkey", "-outform", "DER"], input=pem, capture_output=True, check=True).stdout
    public = subprocess.run(["openssl", "pkey", "-pubout", "-outform", "DER"], input=pem, capture_output=True,
                            check=True).stdout
    return base64.b64encode(private[-32:]), base64.b64encode(public[-32:]).decode()


MESSAGE = (b"From: Joe <joe@football.test>\r\nTo: alice@test\r\nSubject: Is dinner  ready?\r\n"
           b"Date: Fri, 11 Jul 2003 21:00:37 -0700\r\nMessage-ID: <1@football.test>\r\n\r\n"
           b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n\r\n\r\n")


@unittest.skipUnless(dkim, "python3-dkim is not here")
class DkimTest(SluiceTest):
    @classmethod
    def setUpClass(cls):
        cls.dns = Nameserver()
        if not cls.dns.usable:
            raise unittest.SkipTest("needs root, and mount namespaces")
        cls.program = harness.SLUICE
        harness.SLUICE = cls.dns.wrap(os.path.abspath(cls.program))
        cls.rsa, cls.rsa_public = rsa_key()
        cls.ed, cls.ed_public = ed25519_key()
        cls.short, cls.short_public = rsa_key(768)
        cls.dns.zone.update({
            ("rsa._domainkey.football.test", "TXT"): [f"v=DKIM1; k=rsa; p={cls.rsa_public}"],
            ("ed._domainkey.football.test", "TXT"): [f"v=DKIM1; k=ed25519; p={cls.ed_public}"],
            ("testing._domainkey.football.test", "TXT"): [f"v=DKIM1; t=y:s; n=hello=20there; p={cls.rsa_public}"],
            ("short._domainkey.football.test", "TXT"): [f"v=DKIM1; p={cls.short_public}"],
            ("revoked._domainkey.football.test", "TXT"): ["v=DKIM1; p="],
            ("broken._domainkey.football.test", "TXT"): ["v=DKIM1; p=MIIB"],
            ("sms._domainkey.football.test", "TXT"): [f"v=DKIM1; s=sms; p={cls.rsa_public}"],
            ("sha1._domainkey.football.test", "TXT"): [f"v=DKIM1; h=sha1; p={cls.rsa_public}"],
            ("noise._domainkey.football.test", "TXT"): ["hello world"],
            ("servfail._domainkey.football.test", "TXT"): SERVFAIL,
            ("silent._domainkey.football.test", "TXT"): SILENT,
        })

    @classmethod
    def tearDownClass(cls):
        harness.SLUICE = cls.program
        cls.dns.close()

    def sign(self, selector=b"rsa", key=None, message=MESSAGE, **options):
        key = key or (self.ed if selector == b"ed" else self.short if selector == b"short" else self.rsa)
        if selector == b"ed":
            options.setdefault("signature_algorithm", b"ed25519-sha256")
        return dkim.sign(message, selector, b"football.test", key, **options) + message

    def serve(self, main=POLICY_DATA, acls=DATA_ACL):
        return self.sluice(configuration(main, policy(acls)))

    def result(self, server, message, count=1):
        with server.client() as client:
            client.ehlo()
            client.message(message)
        return server.wait_mail(count)[-1]

    def lines(self, server, message):
        """What the log says of this message up to its arrival."""
        with server.client() as client:
            client.ehlo()
            ident = re.search(r"id=(\S+)", client.message(message).text).group(1)
        log = server.wait_log(re.escape(ident) + " <= ")
        return "\n".join(line for line in log.splitlines() if ident in line)

    def test_statuses(self):
        """Each kind of key and damage, and what the DATA ACL and the log say of it."""
        server = self.serve("dns_retrans = 1s\ndns_retry = 1\n" + POLICY_DATA)
        good = self.sign()
        for name, message, status, log in (
                ("rsa", good, "pass", "verification succeeded"),
                ("ed25519", self.sign(b"ed"), "pass", "verification succeeded"),
                ("simple", self.sign(canonicalize=(b"simple", b"simple")), "pass", "verification succeeded"),
                ("testing", self.sign(b"testing"), "pass", "verification succeeded"),
                ("length", self.sign(length=True) + b"An advertisement.\r\n", "pass", "verification succeeded"),
                ("length cut", self.sign(length=True).replace(b"Joe.\r\n", b""), "fail", "body hash mismatch"),
                ("body", good.replace(b"lost", b"won "), "fail", "body hash mismatch"),
                ("header", good.replace(b"dinner", b"supper"), "fail", "signature did not verify"),
                ("nothing", MESSAGE, "none", None),
                ("short", self.sign(b"short"), "fail", "key too short"),
                ("no record", self.sign(b"none"), "invalid", "unavailable"),
                ("revoked", self.sign(b"revoked"), "invalid", "public key revoked"),
                ("broken", self.sign(b"broken"), "invalid", "syntax error in public key"),
                ("noise", self.sign(b"noise"), "invalid", "syntax error in public key record"),
                ("service", self.sign(b"sms"), "invalid", "not for this signature"),
                ("hash of key", self.sign(b"sha1"), "invalid", "not for this signature"),
                ("servfail", self.sign(b"servfail"), "invalid", "unavailable"),
                ("silent", self.sign(b"silent"), "invalid", "unavailable"),
                ("sha1", self.sign(signature_algorithm=b"rsa-sha1"), "invalid", "algorithm not accepted"),
                ("version", good.replace(b"v=1;", b"v=2;"), "invalid", "unsupported DKIM version"),
                ("tag twice", good.replace(b"v=1;", b"v=1; v=1;"), "invalid", "signature tag missing or invalid"),
                ("no from", good.replace(b"h=from", b"h=fram").replace(b": from", b": fram"), "invalid", "From is not signed"),
                ("added header", b"Subject: other\r\n" + good, "pass", "verification succeeded")):
            with self.subTest(name):
                lines = self.lines(server, message)
                self.assertIn(f"status={status}", lines)
                if log:
                    self.assertRegex(lines, r"DKIM: d=(football\.test)? s=\w* .*" + re.escape(log))
                arrival = [line for line in lines.splitlines() if " <= " in line][0]
                self.assertEqual(" DKIM=football.test" in arrival, status == "pass", arrival)


del SluiceTest

if __name__ == "__main__":
    unittest.main()
