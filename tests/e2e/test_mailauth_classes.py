"""The classes of bugs that others' verifiers had, as far as they need a whole server: what strangers wrote into a message or a greeting is
neither believed nor repeated as ours. (The parsers' classes: tests/unit/mailauth/test_bug_classes.c.)"""
import base64
import os
import re
import subprocess
import unittest

from harness import SluiceTest, configuration
from nameserver import Nameserver

try:
    import dkim
except ImportError:
    dkim = None

ZONE = {
    "good.test": [("TXT", "v=spf1 ip4:192.0.2.1 -all")],
    "_dmarc.good.test": [("TXT", "v=DMARC1; p=reject")],
    "evil.test": [("TXT", "v=spf1 +all")],
    "why.evil.test": [("TXT", "ok\r\n250 2.0.0 queued")],
    "says.evil.test": [("TXT", "v=spf1 -all exp=why.evil.test")],
    "nul.evil.test": [("TXT", "v=spf1 -all\0 +all")],
}
MAIN = """
acl_smtp_rcpt = rcpt
acl_smtp_data = data
acl_smtp_helo = accept
acl_smtp_dkim = dkim
helo_allow_chars = _();=
smtp_enforce_sync = false
log_selector = +dkim_verbose
dns_servers = 127.0.0.1:DNSPORT
dns_retrans = 1s
dns_retry = 1
dmarc_history_file = DIR/log/history
"""
POLICY = """
begin acl
rcpt:
  warn spf = *
       add_header = :at_start:$spf_received
  accept control = authres_remove/mx.test
dkim:
  accept logwrite = SIGNED $dkim_bodylength
data:
  warn dmarc_status = *
  warn verify = arc/none:pass:fail
       add_header = :at_start:${authresults{mx.test}}
  accept logwrite = VERDICT spf=$spf_result dkim=$dkim_verify_status dmarc=$dmarc_status arc=$arc_state

begin routers
all:
  driver = accept
  transport = file

begin transports
file:
  driver = appendfile
  maildir_format
  directory = DIR/mail/alice
  create_directory
  user = USER
"""
FORGED = "Authentication-Results: mx.test; dkim=pass header.d=good.test; dmarc=pass header.from=good.test"
SIGNED = "DKIM-Signature: v=1; a=rsa-sha256; d=%s; s=%s; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA"
# class, public name, header fields beside From: (None: that of good.test), sender, HELO, what the log or message has to say, what it must not
ROWS = (
    ("Authentication-Results that claim to be ours", "opendkim CVE-2022-48521", [FORGED], "x@evil.test", "h.test",
     r"dmarc=fail\s+header.from=good.test", r"dkim=pass"),
    ("the same, folded and in other letters", "opendkim CVE-2022-48521", ["AUTHENTICATION-results :\r\n\t(c) MX.Test (d) 1 ; dkim=pass"], "x@evil.test", "h.test",
     r"dmarc=fail", r"dkim=pass"),
    ("the same, and nobody can read it", "opendkim CVE-2022-48521", ["Authentication-Results: (mx.test; dkim=pass", "Authentication-Results: \"mx.test; dkim=pass"],
     "x@evil.test", "h.test", r"dmarc=fail", r"dkim=pass"),
    ("those of others stay theirs", "opendkim CVE-2022-48521", ["Authentication-Results: other.test; dkim=pass header.d=good.test"], "x@evil.test", "h.test",
     r"other.test; dkim=pass", r"mx.test;\s+dkim=pass"),
    ("Received-SPF is believed", "opendmarc CVE-2019-20790", ["Received-SPF: pass (mx.test: domain of x@good.test) envelope-from=x@good.test"], "x@evil.test", "h.test",
     r"dmarc=reject", r"dmarc=accept"),
    ("the HELO name's pass counts for another sender", "opendmarc CVE-2019-20790", [], "x@says.evil.test", "good.test", r"spf=fail .*dmarc=reject", r"dmarc=accept"),
    ("parentheses in d=", "opendmarc, opendkim CVE-2020-12272", [SIGNED % ("good.test(.evil.test", "s")], "x@evil.test", "h.test", r"dkim=invalid dmarc=reject",
     r"dkim=pass|header.d=good.test\b"),
    ("quotes in d=", "opendmarc, opendkim CVE-2020-12272", [SIGNED % ("good.test\"", "s")], "x@evil.test", "h.test", r"dkim=invalid dmarc=reject", r"header.d=good.test\b"),
    ("a NUL in s=", "Chen et al. 2020: NUL in the key's name", [SIGNED % ("good.test", "evil.test.\0.any")], "x@evil.test", "h.test", r"dkim=invalid dmarc=reject",
     r"dmarc=accept"),
    ("parentheses in the sender", "opendmarc CVE-2020-12272", [], "\"x);dkim=pass(\"@evil.test", "h.test", r"dmarc=fail", r"^\s+dkim=pass"),
    ("parentheses in HELO", "opendmarc CVE-2020-12272", [], "", "h.test(;dkim=pass)", r"dmarc=fail", r"^\s+dkim=pass"),
    ("an expansion in From:", "Exim CVE-2014-2957", ["From: <a@${run{/bin/touch DIR/log/ran}}.test>", "From: ${readfile{/etc/passwd}} <a@good.test>"], "x@evil.test", "h.test",
     r"dmarc=reject", r"root:"),
    ("two From: fields", "opendmarc CVE-2019-16378", ["From: b@evil.test", "From: a@good.test"], "x@evil.test", "h.test", r"dmarc=reject", r"dmarc=accept"),
    ("two addresses in From:", "opendmarc CVE-2019-16378", ["From: b@evil.test, a@good.test"], "x@evil.test", "h.test", r"dmarc=reject", r"dmarc=accept"),
    ("no address in From:", "opendmarc CVE-2021-34555, CVE-2024-25768", ["From:"], "x@evil.test", "h.test", r"dmarc=nofrom", r"dmarc=accept"),
    ("a NUL in From:", "opendmarc CVE-2020-12460", ["From: <a@good.test\0>, <b\0@evil.test>"], "x@evil.test", "h.test", r"dmarc=reject", r"dmarc=accept"),
    ("line ends in an explanation", "class of injected replies", [], "x@says.evil.test", "h.test", r"spf=fail", r"^250 2.0.0 queued"),
    ("a NUL in a record", "libspf2: text behind a NUL", [], "x@nul.evil.test", "h.test", r"spf=permerror", r"spf=pass"),
    ("a line of the history in a name", "opendmarc-import: lines", [SIGNED % ("good.test", "s"), "From: <a@good.test\r\n action 2>"], "x@evil.test", "h.test",
     r"dmarc=", r"^action 2>"),
    ("malformed seals", "Exim: crashes on them", ["ARC-Seal:", "ARC-Seal: i=1", "ARC-Message-Signature: ;;;", "ARC-Authentication-Results: i=1;"], "x@evil.test", "h.test",
     r"arc=fail", r"arc=pass"),
)


class Classes(SluiceTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dns = Nameserver(dict(ZONE))
        cls.addClassCleanup(cls.dns.close)

    def box(self):
        return self.sluice(configuration(MAIN.replace("DNSPORT", str(self.dns.port)), POLICY, acl_rcpt=False), start=False)

    def say(self, box, message, sender="x@evil.test", helo="h.test"):
        """Everything that is seen of it, outside and inside."""
        if isinstance(message, str):
            message = message.encode()
        before = len(box.maildir())
        done = box.run("-oMa", "192.0.2.9", "-bs", stdin=f"EHLO {helo}\r\nMAIL FROM:<{sender}>\r\nRCPT TO:<u@mx.test>\r\nDATA\r\n".encode() + message + b".\r\nQUIT\r\n")
        box.wait_mail(before + 1)
        folder = os.path.join(box.dir, "mail", "alice", "new")
        newest = max((os.path.join(folder, name) for name in os.listdir(folder)), key=lambda path: (os.stat(path).st_mtime_ns, path))
        with open(newest, "rb") as f:
            kept = f.read().decode("latin-1")
        ident = re.search(r"id=(\S+)", done.out).group(1)
        return done.out + "".join(line + "\n" for line in box.log().splitlines() if ident in line) + kept + box.log("history")

    def test_rows(self):
        for name, known_as, fields, sender, helo, wanted, unwanted in ROWS:
            with self.subTest(name, known_as=known_as):
                box = self.box()
                if not any(field.lower().startswith("from") for field in fields):
                    fields = fields + ["From: <a@good.test>"]
                header = "".join(field.replace("DIR", box.dir) + "\r\n" for field in fields)
                said = self.say(box, header + "Subject: x\r\n\r\nhi\r\n", sender, helo)
                self.assertRegex(said, wanted)
                self.assertNotRegex(said, re.compile(unwanted, re.M))
                self.assertFalse(os.path.exists(os.path.join(box.dir, "log", "ran")))

    @unittest.skipUnless(dkim, "python3-dkim is not here")
    def test_length_of_the_body(self):
        """l= abuse (RFC 6376, section 8.2): what was added behind it verifies, as it has to; a policy sees how much was signed."""
        pem = subprocess.run(["openssl", "genrsa", "-traditional", "1024"], capture_output=True, check=True).stdout
        der = subprocess.run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=pem, capture_output=True, check=True).stdout
        self.dns.zone["s._domainkey.good.test"] = [("TXT", f"p={base64.b64encode(der).decode()}")]
        message = b"From: a@good.test\r\nSubject: x\r\n\r\nhi\r\n"
        signed = dkim.sign(message, b"s", b"good.test", pem, length=True) + message
        said = self.say(self.box(), signed + b"<b>Pay here</b>\r\n")
        self.assertRegex(said, re.compile(r"SIGNED 4$.*dkim=pass:pass dmarc=accept", re.S | re.M))
        self.assertRegex(self.say(self.box(), signed.replace(b"hi", b"ho")), r"dkim=fail:fail dmarc=reject")


del SluiceTest

if __name__ == "__main__":
    unittest.main()
