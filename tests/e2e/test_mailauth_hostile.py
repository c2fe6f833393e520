"""Mail authentication and what strangers may send: name servers that are silent, lie, cut short or never end; headers made to cost. Each
case has a bounded time, a result of the RFC's words that is never a pass, and its reason in log and header."""
import base64
import os
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

    def serve(self, main=""):
        return self.sluice(configuration(MAIN % self.dns.port + main, harness.POLICY.replace("begin routers", ACL + "\nbegin routers")))

    def signed(self, domain, selector=b"good", more=b"", body=None):
        message = more + BODY % domain.encode()
        if body is not None:
            message = message[:message.index(b"\r\n\r\n") + 4] + body
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
                self.assertLess(took, 60, said)
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

    def test_bombs(self):
        """Fields, signatures, sets, addresses, results, parts in thousands: what a message costs is bounded, in the processor's time and in
        questions asked; the result is the RFC's, the log says why, and what is good beside it still counts."""
        server = self.serve("header_maxsize = 4M\nmessage_size_limit = 20M\nacl_smtp_mime = mime_acl\n")
        good = self.signed("good.test")
        header, body = good.split(b"\r\n\r\n", 1)
        names = b":".join([b"From"] + [b"X"] * 900).replace(b":X" * 100, b":X" * 100 + b"\r\n ")
        greedy = (b"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=good.test; s=good;\r\n h=%s;\r\n"
                  b" bh=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=; b=AAAA\r\n" % names)
        signature = header[:header.index(b"From:")]
        others = b"".join(signature.replace(b"s=good", b"s=s%d" % n) for n in range(500))
        lengths = b"".join(signature.replace(b"d=good.test", b"l=%d; d=good.test" % n) for n in range(500))
        fields = b"".join(b"X: %s\r\n" % (b"y" * 500) for _ in range(900))

        def sets(count, l=b""):
            return b"".join(b"ARC-Seal: i=%d; a=rsa-sha256; cv=%s; d=good.test; s=s%d; b=AAAA\r\n"
                            b"ARC-Message-Signature: i=%d; a=rsa-sha256; d=good.test; s=s%d; h=from; %s bh=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=;"
                            b" b=AAAA\r\nARC-Authentication-Results: i=%d; good.test; none\r\n" %
                            (i, b"none" if i == 1 else b"pass", i, i, i, l % i if l else b"", i) for i in range(1, count + 1))
        broken = b"Authentication-Results: mx.test;" + b" dkim=pass header.d=(" * 100 + b"\r\n"
        parts = b"".join(b"--%d\r\nContent-Type: multipart/mixed; boundary=%d\r\n\r\n" % (n, n + 1) for n in range(1000))
        nested = self.signed("good.test", more=b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=0\r\n",
                             body=parts + b"--1000\r\n\r\nx\r\n" + b"".join(b"--%d--\r\n" % n for n in range(1000, -1, -1)))
        million = b"x" * 1_000_000
        # dkimpy signs From: once more than it is there: another is noticed.
        cases = (
            ("nothing", good, r"dkim=pass/.*dmarc=accept arc=none/"),
            ("10,000 fields", b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + good, r"dkim=pass/.*dmarc=accept"),
            ("10,000 fields of a name that is signed", b"Subject: y\r\n" * 10_000 + good, r"dkim=pass/.*dmarc=accept"),
            ("a field of a MiB", b"X: " + million + b"\r\n" + good, r"dkim=pass/.*dmarc=accept"),
            ("a field of a MiB, folded", b"X:" + b"\r\n y" * 250_000 + b"\r\n" + good, r"dkim=pass/.*dmarc=accept"),
            ("500 signatures, 500 keys", others + good, r"\[invalid - public key record .*.*481 more signatures were not looked at.*dkim=(invalid:?){20}/"),
            ("500 signatures, 500 lengths", lengths + good, r"481 more signatures were not looked at.*dkim=[a-z:]*/"),
            ("15 signatures of 900 names, 900 fields", greedy * 15 + fields + good[good.index(b"From:"):], r"dkim=\S*(invalid|fail)"),
            ("5,000 tags", b"DKIM-Signature: " + b"; ".join(b"a%d=b" % i for i in range(5000)) + b"\r\n" + good, r"dkim=invalid:pass/"),
            ("a tag of a MiB", b"DKIM-Signature: v=1; b=" + million + b"\r\n" + good, r"dkim=invalid:pass/"),
            ("tags behind 20,000 folds", b"DKIM-Signature: v=1;" + b"\r\n " * 20000 + b"a=x\r\n" + good, r"dkim=invalid:pass/"),
            ("50 sets", sets(50) + good, r"arc=fail/"),
            ("50 sets, 50 lengths", sets(50, b"l=%d;") + good, r"arc=fail/"),
            ("60 sets", sets(60) + good, r"arc=fail/collecting headers"),
            ("50 sets of fields twice", sets(50) * 2 + good, r"arc=fail/collecting headers"),
            ("a seal of a MiB", b"ARC-Seal: i=1; b=" + million + b"\r\n" + good, r"arc=fail/"),
            ("200 fields of results that do not end", broken * 200 + good, r"dkim=pass/"),
            ("10,000 fields of results", b"Authentication-Results: mx.test; spf=pass\r\n" * 10_000 + good, r"dkim=pass/"),
            ("10,000 results", b"Authentication-Results: mx.test" + b";\r\n x=pass" * 10_000 + b"\r\n" + good, r"dkim=pass/"),
            ("10,000 authors", b"From: " + b", ".join(b"x@d%d.test" % i for i in range(10_000)) + b"\r\n" + good, r"dmarc=nofrom"),
            ("10,000 authors of a name", b"From: " + b", ".join(b"x%d@good.test" % i for i in range(10_000)) + b"\r\n" + good, r"dkim=fail/.*dmarc=reject"),
            ("10,000 fields of an author", b"From: x@good.test\r\n" * 10_000 + good, r"dkim=fail/.*dmarc=reject"),
            ("an author in 100,000 comments", b"From: " + b"(" * 100_000 + b"x@evil.test" + b")" * 100_000 + b"\r\n" + good, r"dkim=fail/.*dmarc=reject"),
            ("1,000 parts in one another", nested, r"dkim=pass/.*dmarc=accept"),
            ("10,000 parts side by side", self.signed("good.test", more=b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=0\r\n",
                                                     body=b"--0\r\n\r\nx\r\n" * 10_000 + b"--0--\r\n"), r"dkim=pass/.*dmarc=accept"),
            ("a body of 8 MiB of spaces", self.signed("good.test", body=b" " * 64 * 1024 * 128 + b"\r\n"), r"dkim=pass/.*dmarc=accept"),
            ("a body of 2 MiB of empty lines", self.signed("good.test", body=b"\r\n" * 1024 * 1024 + b"x\r\n"), r"dkim=pass/.*dmarc=accept"))
        spent = {}
        for name, message, expected in cases:
            with self.subTest(name):
                asked = len(self.dns.asked)
                before = self.processor_s(server)
                said, _ = self.send(server, message)
                spent[name] = (self.processor_s(server) - before, len(self.dns.asked) - asked)
                self.assertRegex(said, re.compile(expected, re.S))
                # Of a sanitizer build, on a machine that does other things: some ten times what it takes there.
                self.assertLess(spent[name][0], 1)
                # 20 signatures, the newest chain's keys, SPF, eight for each of DMARC's walks
                self.assertLess(spent[name][1], 150)
        if os.environ.get("SLUICE_SHOW"):
            for name, (seconds, questions) in spent.items():
                print(f"{seconds:6.2f} s {questions:4} questions  {name}")
        # By default a header of more than a MiB ends the transaction, and the session goes on.
        server = self.serve()
        with server.client() as client:
            client.ehlo()
            client.envelope()
            client.data(b"X: " + million * 2 + b"\r\n" + good, 552, "header")
            client.message(good)

    @staticmethod
    def processor_s(server):
        """Of all its processes."""
        ticks = 0
        for pid in (server.supervisor, *server.workers()):
            with open(f"/proc/{pid}/stat") as f:
                words = f.read().rpartition(")")[2].split()
            ticks += int(words[11]) + int(words[12])
        return ticks / os.sysconf("SC_CLK_TCK")


del SluiceTest

if __name__ == "__main__":
    unittest.main()
