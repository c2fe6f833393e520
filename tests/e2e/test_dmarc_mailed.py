"""DMARC reports as their readers get them: sent by a transport that signs, verified by dkimpy and libopendkim, aligned with the address that
sends them (RFC 9990, section 3.5.2), with the fields that RFC 6591 and RFC 9991 ask for, and no more of them than one address can bear."""
import base64
import email
import email.utils
import gzip
import os
import re
import subprocess
import tempfile
import unittest

from harness import SluiceTest, configuration
from nameserver import Nameserver

try:
    import dkim
except ImportError:
    dkim = None

BUILD = os.environ.get("SLUICE_BUILD", os.path.join(os.path.dirname(__file__), "../../build"))
OPENDKIM = os.path.join(BUILD, "opendkim_filter")
SIGNED = ("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={0}; s={1}; h=from:subject;\r\n"
          " bh=g3zLYH4xKxcPrHOD18z9YfpQcnk/GaJedfustWU5uGs=; b=AAAA")
ZONE = {
    "both.test": [("TXT", 'v=spf1 ip4:198.51.100.1 include:"quoted\\name".test ' + "ip4:198.51.100.9 " * 12 + "-all")],
    "_dmarc.both.test": [("TXT", "v=DMARC1; p=reject; ruf=mailto:f@both.test; rua=mailto:a@both.test")],
    "any.test": [("TXT", "v=spf1 ip4:192.0.2.1 -all")],
    "_dmarc.any.test": [("TXT", "v=DMARC1; p=reject; fo=1; ruf=mailto:f@any.test")],
    "forwards.test": [("TXT", "v=spf1 ip4:192.0.2.9 -all")],
    "dkim.test": [("TXT", "v=spf1 ip4:192.0.2.9 -all")],
    "_dmarc.dkim.test": [("TXT", "v=DMARC1; p=reject; fo=d; ruf=mailto:f@dkim.test")],
    "spf.test": [("TXT", "v=spf1 ip4:192.0.2.9 -all")],
    "_dmarc.spf.test": [("TXT", "v=DMARC1; p=none; fo=s; ruf=mailto:f@spf.test")],
    "_dmarc.registry.test": [("TXT", "v=DMARC1; p=reject; psd=y; ruf=mailto:f@registry.test")],
    "_dmarc.flood.test": [("TXT", "v=DMARC1; p=reject; ruf=mailto:f@flood.test,mailto:F@flood.test")],
}
MAIN = """
acl_smtp_rcpt = rcpt
acl_smtp_data = data
smtp_enforce_sync = false
smtp_accept_max_per_connection = 100
dns_servers = 127.0.0.1:DNSPORT
dns_retrans = 1s
dns_retry = 1
dmarc_forensic_sender = DMARC at us <dmarc@mx.test>
dmarc_report_sender = DMARC at us <dmarc@mx.test>
"""
POLICY = """
begin acl
rcpt:
  warn spf = *
  accept control = dmarc_enable_forensic
data:
  deny dmarc_status = reject
  accept

begin routers
ours:
  driver = accept
  local_parts = u
  transport = nowhere
all:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = out

begin transports
nowhere:
  driver = appendfile
  file = /dev/null
  user = USER
out:
  driver = smtp
  port = SINKPORT
  allow_localhost
  hosts_try_fastopen = :
  dkim_domain = ${domain:$h_from:}
  dkim_selector = r
  dkim_private_key = KEYFILE
"""


@unittest.skipUnless(dkim, "python3-dkim is not here")
class Mailed(SluiceTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dns = Nameserver(dict(ZONE))
        cls.addClassCleanup(cls.dns.close)
        pem = subprocess.run(["openssl", "genrsa", "-traditional", "2048"], capture_output=True, check=True).stdout
        der = subprocess.run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=pem, capture_output=True, check=True).stdout
        cls.record = f"v=DKIM1; k=rsa; p={base64.b64encode(der).decode()}"
        cls.folder = tempfile.TemporaryDirectory(prefix="sluice-mailed-")
        cls.addClassCleanup(cls.folder.cleanup)
        os.chmod(cls.folder.name, 0o755)
        cls.key = os.path.join(cls.folder.name, "key")
        with open(cls.key, "wb") as f:
            f.write(pem)
        os.chmod(cls.key, 0o644)
        with open(os.path.join(cls.folder.name, "keys"), "w") as f:
            f.write(f"r._domainkey.mx.test {cls.record}\n")

    def box(self):
        sink = self.sink()
        text = configuration(MAIN.replace("DNSPORT", str(self.dns.port)), POLICY.replace("KEYFILE", self.key), acl_rcpt=False)
        return self.sluice(text, start=False, macros={"SINKPORT": str(sink.port)}), sink

    def send(self, box, domain, *more, sender=None, ip="192.0.2.9", count=1):
        lines = ["EHLO h.test"]
        for _ in range(count):
            lines += [f"MAIL FROM:<{sender or 'x@' + domain}>", "RCPT TO:<u@mx.test>", "DATA", f"From: <a@{domain}>", "Subject: x", *more, "", "hi", "."]
        return box.run("-oMa", ip, "-bs", stdin="\r\n".join(lines + ["QUIT", ""])).out

    def passes(self, wire):
        """Signed with the domain of its From: address, which is whom it comes from: an aligned pass, to two others."""
        message = email.message_from_bytes(wire)
        self.assertEqual(email.utils.parseaddr(message["From"])[1], "dmarc@mx.test")
        self.assertIn("d=mx.test", message["DKIM-Signature"])
        self.assertTrue(dkim.verify(wire, dnsfunc=lambda name, timeout=5: self.record.encode() if name == b"r._domainkey.mx.test." else b""))
        if os.path.exists(OPENDKIM):
            done = subprocess.run([OPENDKIM, os.path.join(self.folder.name, "keys")], input=b"verify\t%d\n" % len(wire) + wire, capture_output=True)
            self.assertEqual(done.stdout, b"pass\n")
        return message

    def feedback(self, wire):
        """The fields of the report's second part, each once."""
        message = self.passes(wire)
        self.assertEqual((message.get_content_type(), message.get_param("report-type")), ("multipart/report", "feedback-report"))
        kinds = [part.get_content_type() for part in message.get_payload()]
        self.assertEqual(kinds, ["text/plain", "message/feedback-report", "text/rfc822-headers"])
        report = message.get_payload()[1].get_payload()
        fields = email.message_from_string(report if isinstance(report, str) else report[0].as_string())
        self.assertEqual(len(fields.keys()), len(set(fields.keys())))
        for name, value in (("Feedback-Type", "auth-failure"), ("Version", "1"), ("Auth-Failure", "dmarc"), ("Source-IP", "192.0.2.9")):
            self.assertEqual(fields[name], value)
        return fields

    def test_aggregate(self):
        box, sink = self.box()
        self.assertIn("\r\n550", self.send(box, "both.test"))
        self.assertEqual(box.run("--dmarc-report=today", check=0).out, "1 DMARC report sent\n")
        reports = [m for m in sink.wait(2) if m[1] == ["a@both.test"]]
        self.assertEqual(len(reports), 1)
        sender, _, wire = reports[0]
        self.assertEqual(sender, "dmarc@mx.test")
        message = self.passes(wire)
        attached = [part for part in message.walk() if part.get_content_type() == "application/gzip"]
        self.assertIn(b"<domain>both.test</domain>", gzip.decompress(attached[0].get_payload(decode=True)))

    def test_failure_fields(self):
        """Of mechanisms, those are named that failed (RFC 9991, section 4): with the record, the signature, that might have passed."""
        box, sink = self.box()
        for domain, more, sender, found in (
                ("both.test", [SIGNED.format("both.test", "sel1"), SIGNED.format("x.both.test", "sel2")], None,
                 {"Identity-Alignment": "dkim, spf", "DKIM-Domain": "both.test", "DKIM-Selector": "sel1", "DKIM-Identity": "@both.test",
                  "Delivery-Result": "reject", "Reported-Domain": "both.test"}),
                ("both.test", [SIGNED.format("other.test", "sel1")], "x@forwards.test",
                 {"Identity-Alignment": "dkim, spf", "DKIM-Domain": None, "SPF-DNS": None, "Original-Mail-From": "x@forwards.test"}),
                ("both.test", [SIGNED.format("other.test", "s").replace("d=other.test", "d=www.both.test; i=joe@www.both.test")], "x@forwards.test",
                 {"DKIM-Domain": "www.both.test", "DKIM-Identity": "joe@www.both.test", "SPF-DNS": None}),
                ("dkim.test", [SIGNED.format("dkim.test", "sel1")], None,
                 {"Identity-Alignment": "dkim", "DKIM-Domain": "dkim.test", "SPF-DNS": None, "Delivery-Result": "delivered"}),
                ("any.test", [], "x@forwards.test", {"Identity-Alignment": "dkim, spf", "DKIM-Domain": None, "SPF-DNS": None}),
                ("any.test", [], None, {"SPF-DNS": 'txt : any.test : "v=spf1 ip4:192.0.2.1 -all"'})):
            with self.subTest(domain=domain, more=more, sender=sender):
                before = len(sink.messages)
                self.send(box, domain, *more, sender=sender)
                envelope, rcpts, wire = sink.wait(before + 1)[-1]
                self.assertEqual((envelope, rcpts), ("dmarc@mx.test", [f"f@{domain}"]))
                fields = self.feedback(wire)
                self.assertEqual({name: re.sub(r"\s+", " ", fields[name]) if fields[name] else None for name in found}, found)
                self.assertLess(max(map(len, wire.split(b"\r\n"))), 200)
        record = re.sub(r"\n ", " ", self.feedback(sink.messages[0][2])["SPF-DNS"])
        self.assertEqual(record.strip(), 'txt : both.test : "' + ZONE["both.test"][0][1].replace("\\", "\\\\").replace('"', '\\"') + '"')

    def test_when_they_are_wanted(self):
        """fo=d: a signature has failed, whatever is aligned; fo=s: SPF has. A registry is told of no message."""
        box, sink = self.box()
        for domain, more, ip, wanted in (("dkim.test", [], "192.0.2.9", False), ("dkim.test", [SIGNED.format("other.test", "s")], "192.0.2.9", True),
                                         ("dkim.test", [], "192.0.2.77", False), ("spf.test", [], "192.0.2.9", False),
                                         ("spf.test", [], "192.0.2.77", True), ("none.spf.test", [], "192.0.2.77", False),
                                         ("registry.test", [], "192.0.2.77", False), ("x.registry.test", [], "192.0.2.77", False)):
            with self.subTest(domain=domain, more=more, ip=ip):
                before = len(re.findall("<= dmarc@mx.test", box.log()))
                self.send(box, domain, *more, ip=ip)
                self.assertEqual(len(re.findall("<= dmarc@mx.test", box.log())) - before, int(wanted), box.log())

    def test_flood(self):
        """RFC 9991, section 2: a limit on what a forger can have sent to one address, in whatever letters."""
        box, _ = self.box()
        self.send(box, "flood.test", ip="192.0.2.77", count=40)
        self.assertEqual(len(re.findall("<= dmarc@mx.test", box.log())), 30)
        self.assertEqual(len(re.findall("DMARC: enough failure reports to <f@flood.test> for this hour", box.log(), re.I)), 1)
        # Another process, over the same spool.
        self.send(box, "flood.test", ip="192.0.2.77", count=2)
        self.assertEqual(len(re.findall("<= dmarc@mx.test", box.log())), 30)

    def test_flood_over_shards(self):
        sink = self.sink()
        text = configuration(MAIN.replace("DNSPORT", str(self.dns.port)), POLICY.replace("KEYFILE", self.key), acl_rcpt=False).replace("shards = 1", "shards = 3")
        box = self.sluice(text, macros={"SINKPORT": str(sink.port)})
        for _ in range(12):  # the kernel spreads connections over the shards
            with box.client() as client:
                client.ehlo("h.test")
                for _ in range(4):
                    client.envelope("x@forwards.test", ["u@mx.test"])  # from loopback SPF passes, here for another name
                    client.data(b"From: <a@flood.test>\r\n\r\nhi\r\n", 550)
        self.assertEqual(len(re.findall("<= dmarc@mx.test", box.log())), 30)
        self.assertEqual(len(re.findall("DMARC: enough failure reports to <f@flood.test> for this hour", box.log(), re.I)), 1)


del SluiceTest

if __name__ == "__main__":
    unittest.main()
