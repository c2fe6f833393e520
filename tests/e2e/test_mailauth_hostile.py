"""Mail authentication and what strangers may send: name servers that are silent, lie, cut short or never end; headers made to cost. Each
case has a bounded time, a result of the RFC's words that is never a pass, and its reason in log and header."""
import base64
import re
import struct
import subprocess
import threading
import time
import unittest

import harness
from harness import SluiceTest, configuration
from nameserver import Nameserver, Question, wire_name, wire_text

try:
    import dkim
except ImportError:
    dkim = None

ACL = """
data_acl:
  warn logwrite = spf=${lookup{x@${extract{2}{@}{$h_From:}}}spf{192.0.2.1}{$value}{failed}} dkim=$dkim_verify_status/
  warn spf = pass
  warn dmarc_status = accept
  warn verify = arc/none:pass:fail
  warn add_header = :at_start:${authresults{mx.test}}
       logwrite = dmarc=$dmarc_status arc=$arc_state/$arc_state_reason
  accept
"""
MAIN = "acl_smtp_data = data_acl\nlog_selector = +dkim_verbose\ndns_retrans = 1s\ndns_retry = 1\ndns_servers = 127.0.0.1:%d\n"
BODY = b"From: a@%s\r\nTo: b@test\r\nSubject: x\r\n\r\nhello\r\n"


class Liar(Nameserver):
    """What it does to a question, the name of its mode says: any name with that label in it."""

    def answer(self, packet):
        question = Question(packet)
        modes = [mode for mode in MODES if mode in question.name.split(".")]
        return MODES[modes[0]](self, packet, question) if modes else super().answer(packet)

    def text(self, question):
        return (f"v=DKIM1; p={self.public}" if "_domainkey" in question.name else "v=DMARC1; p=none" if "_dmarc" in question.name
                else "v=spf1 +all")

    def reply(self, packet, question, answers, flags=0x8180, count=None):
        return (packet[:2] + struct.pack("!HHHHH", flags, 1, len(answers) if count is None else count, 0, 0) + question.bytes +
                b"".join(answers))

    def row(self, question, text, name=None):
        data = wire_text(text)
        return wire_name(name or question.name) + struct.pack("!HHIH", 16, 1, 60, len(data)) + data


def wrong_id(self, packet, question):
    return bytes([packet[0] ^ 1, packet[1]]) + self.reply(packet, question, [self.row(question, self.text(question))])[2:]


def alias_loop(self, packet, question):
    return self.reply(packet, question, [wire_name(question.name) + struct.pack("!HHIH", 5, 1, 60, len(wire_name(question.name))) +
                                         wire_name(question.name)])


MODES = {
    "silent": lambda self, packet, question: None,
    "servfail": lambda self, packet, question: self.reply(packet, question, [], 0x8182),
    "wrongid": wrong_id,
    "wrongquestion": lambda self, packet, question: packet[:2] + struct.pack("!HHHHH", 0x8180, 1, 0, 0, 0) + wire_name("else.test") + b"\0\x10\0\1",
    "othername": lambda self, packet, question: self.reply(packet, question, [self.row(question, self.text(question), "else.test")]),
    "alwayscut": lambda self, packet, question: self.reply(packet, question, [], 0x8380),
    "garbage": lambda self, packet, question: packet[:2] + bytes(range(256)),
    "short": lambda self, packet, question: self.reply(packet, question, [self.row(question, self.text(question))])[:-20],
    "claims": lambda self, packet, question: self.reply(packet, question, [self.row(question, self.text(question))], count=65535),
    "many": lambda self, packet, question: self.reply(packet, question, [self.row(question, f"noise {n}") for n in range(300)] +
                                                      [self.row(question, self.text(question))]),
    "huge": lambda self, packet, question: self.reply(packet, question, [self.row(question, self.text(question) + "; n=" + "x" * 50000)]),
    "loop": alias_loop,
    "control": lambda self, packet, question: self.reply(packet, question, [self.row(question, "v=\0DKIM1;\r\n p=\x01")]),
}


@unittest.skipUnless(dkim, "python3-dkim is not here")
class Hostile(SluiceTest):
    @classmethod
    def setUpClass(cls):
        pem = subprocess.run(["openssl", "genrsa", "-traditional", "1024"], capture_output=True, check=True).stdout
        der = subprocess.run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=pem, capture_output=True, check=True).stdout
        cls.pem, cls.dns = pem, Liar({})
        cls.dns.public = base64.b64encode(der).decode()
        cls.dns.zone["good._domainkey.good.test"] = [("TXT", f"p={cls.dns.public}")]
        cls.dns.zone["good.test"] = [("TXT", "v=spf1 ip4:192.0.2.1 -all")]
        cls.dns.zone["_dmarc.good.test"] = [("TXT", "v=DMARC1; p=reject")]

    @classmethod
    def tearDownClass(cls):
        cls.dns.close()

    def serve(self):
        return self.sluice(configuration(MAIN % self.dns.port, harness.POLICY.replace("begin routers", ACL + "\nbegin routers")))

    def signed(self, domain, selector=b"good"):
        message = BODY % domain.encode()
        return dkim.sign(message, selector, domain.encode(), self.pem) + message

    def send(self, server, message):
        """(what the log says of it, the seconds it took)"""
        started = time.monotonic()
        with server.client() as client:
            client.ehlo()
            ident = re.search(r"id=(\S+)", client.message(message).text).group(1)
        took = time.monotonic() - started
        log = server.wait_log(re.escape(ident) + " <= ")
        return "\n".join(line for line in log.splitlines() if ident in line), took

    def test_name_servers(self):
        server = self.serve()
        found = {}

        def ask(mode):
            found[mode] = self.send(server, self.signed(f"{mode}.test"))
        threads = [threading.Thread(target=ask, args=(mode,)) for mode in MODES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(set(found), set(MODES))
        for mode, (said, took) in found.items():
            with self.subTest(mode):
                self.assertLess(took, 25, said)
                self.assertNotRegex(said, r"dkim=pass|dmarc=accept| DKIM=")
                # Texts of other kinds beside a policy are nobody's business (RFC 7208 section 4.5).
                self.assertRegex(said, r"spf=(temperror|permerror|none|failed) dkim=invalid/" if mode != "many" else "spf=pass dkim=invalid/")
                self.assertRegex(said, r"\[invalid - (public key record|syntax error in public key record)")
                self.assertRegex(said, r"dmarc=(temperror|norecord|none) ")
                self.assertRegex(said, r"arc=none/")
        kept = "".join(text.decode("latin-1") for text in server.wait_mail(len(MODES)))
        self.assertEqual(len(re.findall(r"dkim=(?:temperror|permerror) \((?:no public key record|public key record unavailable|syntax error "
                                        r"in public key record)", kept)), len(MODES), kept[:3000])
        said, _ = self.send(server, self.signed("good.test"))
        self.assertIn("spf=pass dkim=pass/", said)
        self.assertIn("dmarc=accept", said)

    def test_headers_that_cost(self):
        """Thousands of fields, signatures that name them all, sets without end: seconds at most, and mail goes on."""
        server = self.serve()
        good = self.signed("good.test")
        names = b":".join([b"From"] + [b"X"] * 900)
        signature = (b"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=good.test; s=good;\r\n h=%s;\r\n"
                     b" bh=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=; b=AAAA\r\n" % names.replace(b":X" * 100, b":X" * 100 + b"\r\n "))
        fields = b"".join(b"X: %s\r\n" % (b"y" * 500) for _ in range(900))
        seals = b"".join(b"ARC-Seal: i=%d; a=rsa-sha256; cv=%s; d=good.test; s=good; b=AAAA\r\n"
                         b"ARC-Message-Signature: i=%d; a=rsa-sha256; d=good.test; s=good; h=from; bh=AAAA; b=AAAA\r\n"
                         b"ARC-Authentication-Results: i=%d; good.test; none\r\n" % (i, b"none" if i == 1 else b"pass", i, i)
                         for i in range(1, 51))
        results = b"Authentication-Results: mx.test;" + b" dkim=pass header.d=(" * 100 + b"\r\n"
        for name, message, expected in (
                ("names", signature * 15 + fields + good[good.index(b"From"):], r"dkim=\S*(invalid|fail)"),
                ("tags", b"DKIM-Signature: " + b"; ".join(b"a%d=b" % i for i in range(5000)) + b"\r\n" + good, r"dkim=invalid:pass/"),
                ("one tag", b"DKIM-Signature: v=1; b=" + b"A" * 60000 + b"\r\n" + good, r"dkim=invalid:pass/"),
                ("folding", b"DKIM-Signature: v=1;" + b"\r\n " * 20000 + b"a=x\r\n" + good, r"dkim=invalid:pass/"),
                ("fifty sets", seals + good, r"arc=fail/required tag missing|arc=fail/AMS"),
                ("sixty sets", seals + seals.replace(b"i=", b"i=5") + good, r"arc=fail/collecting headers"),
                ("results", results * 200 + good, r"dkim=pass/"),
                ("from", b"From: " + b", ".join(b"x@d%d.test" % i for i in range(2000)) + b"\r\n" + good, r"dmarc=nofrom")):
            with self.subTest(name):
                said, took = self.send(server, message)
                self.assertRegex(said, expected)
                self.assertLess(took, 10)


del SluiceTest

if __name__ == "__main__":
    unittest.main()
