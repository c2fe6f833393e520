"""DMARC aggregate reports: messages come in, a round is asked for, and what is in the mailboxes is unpacked, checked against a schema
and counted again."""
import email
import gzip
import os
import re
import shutil
import subprocess
import time
import unittest
import xml.etree.ElementTree as ET

from harness import GROUP_LINE, USER, SluiceTest, until
from nameserver import SERVFAIL, Nameserver

ZONE = {
    "one.test": [("TXT", "v=spf1 ip4:192.0.2.1 ip6:2001:db8::/32 -all")],
    "_dmarc.one.test": [("TXT", "v=DMARC1; p=reject; sp=quarantine; np=reject; fo=1:d; rua=mailto:agg@one.test!10m,mailto:second%2Bbox@one.test,https://one.test/x")],
    "sub.one.test": [("A", "192.0.2.1")],
    "_dmarc.trial.test": [("TXT", "v=DMARC1; p=quarantine; t=y; rua=mailto:agg@trial.test")],
    "_dmarc.strict.test": [("TXT", "v=DMARC1; p=none; adkim=s; aspf=s; rua=mailto:agg@strict.test")],
    "_dmarc.silent.test": [("TXT", "v=DMARC1; p=reject")],
    "_dmarc.web.test": [("TXT", "v=DMARC1; p=none; rua=https://web.test/")],
    "_dmarc.spy.test": [("TXT", "v=DMARC1; p=none; rua=mailto:victim@victim.example")],
    "_dmarc.hired.test": [("TXT", "v=DMARC1; p=none; rua=mailto:a@agent.example")],
    "hired.test._report._dmarc.agent.example": [("TXT", "v=DMARC1; rua=mailto:new@agent.example")],
    "_dmarc.later.test": [("TXT", "v=DMARC1; p=none; rua=mailto:a@slow.example")],
    "later.test._report._dmarc.slow.example": SERVFAIL,
}
MAIN = """
primary_hostname = mx.test
spool_directory = DIR/spool
log_file_path = DIR/log/%s
exim_user = USER
{group}shards = 1
local_interfaces = 127.0.0.1
check_spool_space = 0
check_spool_inodes = 0
trusted_users = USER
acl_smtp_rcpt = rcpt
acl_smtp_data = data
smtp_enforce_sync = false
dns_servers = 127.0.0.1:DNSPORT
dns_retrans = 1s
dns_retry = 1
qualify_domain = mx.test
REPORTING
begin acl
rcpt:
  warn spf = *
  accept
data:
  accept condition = ${if eq{$header_x-do:}{nothing}}
  warn dmarc_status = *
  defer condition = ${if eq{$header_x-do:}{defer}}
  accept condition = ${if eq{$header_x-do:}{accept}}
  discard condition = ${if eq{$header_x-do:}{discard}}
  deny dmarc_status = reject
  deny condition = ${if eq{$header_x-do:}{deny}}
  accept

begin routers
all:
  driver = accept
  local_parts = agg : second+box : a : new : u : dmarc : victim
  domains = mx.test : one.test : trial.test : strict.test : agent.example : victim.example : slow.example
  transport = file

begin transports
file:
  driver = appendfile
  maildir_format
  directory = DIR/mail/$local_part_data@$domain_data
  create_directory
  user = USER
"""
REPORTING = """dmarc_report_sender = DMARC at us <dmarc@mx.test>
dmarc_report_organization = Us & Co. <here>
dmarc_report_extra_contact = https://mx.test/dmarc
"""
SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dmarc_report.xsd")
NS = "{urn:ietf:params:xml:ns:dmarc-2.0}"


class Report:
    """A message from a mailbox, taken apart by others' code."""

    def __init__(self, test, raw):
        self.message = email.message_from_bytes(raw)
        parts = [p for p in self.message.walk() if p.get_content_type() == "application/gzip"]
        test.assertEqual(len(parts), 1, raw)
        self.name = parts[0].get_filename()
        self.xml = gzip.decompress(parts[0].get_payload(decode=True))
        self.tree = ET.fromstring(self.xml)
        test.assertEqual(self.tree.tag, NS + "feedback")
        xmllint = shutil.which("xmllint")
        if xmllint:
            done = subprocess.run([xmllint, "--noout", "--nonet", "--schema", SCHEMA, "-"], input=self.xml, capture_output=True)
            test.assertEqual(done.returncode, 0, done.stderr.decode() + self.xml.decode())
        self.subject = re.sub(r"\s+", " ", self.message["Subject"])
        self.id = self.text("report_metadata/report_id")
        begin, end = self.text("report_metadata/date_range/begin"), self.text("report_metadata/date_range/end")
        domain = self.text("policy_published/domain")
        test.assertEqual(self.subject, f"Report Domain: {domain} Submitter: mx.test Report-ID: {self.id}")
        test.assertEqual(self.name, f"mx.test!{domain}!{begin}!{end}!{self.id}.xml.gz")
        test.assertEqual(self.message["Message-ID"], f"<{self.id}@mx.test>")
        test.assertEqual(self.message["Auto-Submitted"], "auto-generated")
        self.begin, self.end, self.domain = int(begin), int(end), domain

    def find(self, path, within=None):
        return (within if within is not None else self.tree).findall("/".join(NS + step for step in path.split("/")))

    def text(self, path, within=None):
        found = self.find(path, within)
        return (found[0].text or "") if found else None

    def rows(self):
        out = []
        for record in self.find("record"):
            evaluated = "row/policy_evaluated/"
            reasons = ["/".join(filter(None, (self.text("type", r), self.text("comment", r)))) for r in self.find(evaluated + "reason", record)]
            dkim = ["/".join((self.text("domain", d), self.text("selector", d), self.text("result", d))) for d in self.find("auth_results/dkim", record)]
            spf = ["/".join((self.text("domain", s), self.text("result", s))) for s in self.find("auth_results/spf", record)]
            out.append((self.text("row/source_ip", record), int(self.text("row/count", record)), self.text(evaluated + "disposition", record),
                        self.text(evaluated + "dkim", record), self.text(evaluated + "spf", record), reasons,
                        self.text("identifiers/header_from", record), self.text("identifiers/envelope_from", record), dkim, spf))
        return sorted(out)


class Reports(SluiceTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dns = Nameserver(ZONE)
        cls.addClassCleanup(cls.dns.close)

    def box(self, reporting=REPORTING, start=False, dns=None):
        text = MAIN.replace("{group}", GROUP_LINE).replace("REPORTING", reporting).replace("DNSPORT", str((dns or self.dns).port))
        return self.sluice(text, start=start)

    def session(self, box, *messages):
        """Each message: (From: domain, sender, client address, what to do, more header lines)."""
        for domain, sender, ip, do, *more in messages:
            lines = [f"EHLO h.test", f"MAIL FROM:<{sender}>", "RCPT TO:<u@mx.test>", "DATA", f"From: <a@{domain}>", "Subject: x", *more]
            if do:
                lines.append(f"X-Do: {do}")
            done = box.run("-oMa", ip, "-bs", stdin="\r\n".join(lines + ["", "hi", ".", "QUIT", ""]))
            self.assertRegex(done.out, r"\n354 [^\n]*\n(250|550|451|221)")

    def reports(self, box, mailbox):
        folder = os.path.join(box.dir, "mail", mailbox, "new")
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        out = []
        for name in names:
            with open(os.path.join(folder, name), "rb") as f:
                out.append(Report(self, f.read()))
            os.unlink(os.path.join(folder, name))
        return out

    def round(self, box, how="=today", expect=None):
        done = box.run("--dmarc-report" + how, check=0)
        if expect is not None:
            self.assertEqual(done.out, expect, box.log() + box.log("panic"))
        return done.out

    def test_round(self):
        box = self.box()
        pretended = "DKIM-Signature: v=1; a=rsa-sha256; d=one.test; s=sel1; c=simple; l=0; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA"
        self.session(box,
                     ("one.test", "x@one.test", "192.0.2.1", ""), ("one.test", "x@one.test", "192.0.2.1", ""),
                     ("one.test", "x@one.test", "2001:db8::1", ""),
                     ("one.test", "x@one.test", "192.0.2.9", ""),           # refused
                     ("one.test", "x@one.test", "192.0.2.9", "accept"),     # let in
                     ("one.test", "x@one.test", "192.0.2.9", "discard"),
                     ("one.test", "x@one.test", "192.0.2.9", "defer"),      # comes again: not counted
                     ("one.test", "x@one.test", "192.0.2.9", "nothing"),    # not judged
                     ("one.test", "x@one.test", "192.0.2.1", "deny"),       # refused for other reasons
                     ("sub.one.test", "", "192.0.2.9", ""),                 # quarantine
                     ("sub.one.test", "", "192.0.2.9", "deny"),
                     ("x.one.test", "x@other.test", "192.0.2.9", "", pretended),  # does not exist: np
                     ("trial.test", "x@other.test", "192.0.2.9", ""),
                     ("strict.test", "x@www.strict.test", "192.0.2.9", ""),
                     ("silent.test", "x@other.test", "192.0.2.9", ""), ("web.test", "x@other.test", "192.0.2.9", ""), ("none.test", "x@other.test", "192.0.2.9", ""))
        self.round(box, "", "0 DMARC reports sent\n")
        before = int(time.time())
        self.round(box, expect="3 DMARC reports sent\n")
        one, = self.reports(box, "agg@one.test")
        self.assertEqual(self.reports(box, "second+box@one.test")[0].xml, one.xml)
        self.assertEqual(one.message["From"], "DMARC at us <dmarc@mx.test>")
        self.assertIn("agg@one.test", one.message["To"])
        self.assertTrue(before // 86400 * 86400 == one.begin <= one.end <= before + 60, (one.begin, one.end, before))
        self.assertEqual([one.text("report_metadata/" + n) for n in ("org_name", "email", "extra_contact_info")],
                         ["Us & Co. <here>", "dmarc@mx.test", "https://mx.test/dmarc"])
        self.assertRegex(one.text("report_metadata/generator"), "^sluice [0-9.]+$")
        self.assertEqual([one.text("policy_published/" + n) for n in ("discovery_method", "p", "sp", "np", "fo", "adkim", "aspf", "testing")],
                         ["treewalk", "reject", "quarantine", "reject", "1:d", "r", "r", "n"])
        spf_fail, helo = ["one.test/fail"], ["h.test/none"]
        self.assertEqual(one.rows(), sorted([
            ("192.0.2.1", 3, "pass", "fail", "pass", [], "one.test", "one.test", [], ["one.test/pass"]),
            ("2001:db8::1", 1, "pass", "fail", "pass", [], "one.test", "one.test", [], ["one.test/pass"]),
            ("192.0.2.9", 2, "reject", "fail", "fail", [], "one.test", "one.test", [], spf_fail),
            ("192.0.2.9", 1, "none", "fail", "fail", ["local_policy/accepted all the same"], "one.test", "one.test", [], spf_fail),
            ("192.0.2.9", 1, "quarantine", "fail", "fail", [], "sub.one.test", "", [], helo),
            ("192.0.2.9", 1, "reject", "fail", "fail", ["local_policy/refused"], "sub.one.test", "", [], helo),
            ("192.0.2.9", 1, "reject", "fail", "fail", [], "x.one.test", "other.test", ["one.test/sel1/permerror"], ["other.test/none"])]))
        trial, = self.reports(box, "agg@trial.test")
        self.assertEqual(trial.rows(), [("192.0.2.9", 1, "none", "fail", "fail", ["policy_test_mode"], "trial.test", "other.test", [], ["other.test/none"])])
        self.assertEqual(trial.text("policy_published/testing"), "y")
        strict, = self.reports(box, "agg@strict.test")
        self.assertEqual([strict.text("policy_published/" + n) for n in ("p", "sp", "np", "adkim", "aspf")], ["none", None, None, "s", "s"])
        self.assertEqual(len({r.id for r in (one, trial, strict)}), 3)
        self.assertRegex(box.log(), r"DMARC: report on one.test: 10 messages in 7 rows, id=" + one.id)
        # once and no more; what comes later is in another, whose period begins later
        self.round(box, expect="0 DMARC reports sent\n")
        self.session(box, ("one.test", "x@one.test", "192.0.2.1", ""))
        self.round(box, expect="1 DMARC report sent\n")
        later, = self.reports(box, "agg@one.test")
        self.assertGreaterEqual(later.begin, one.end)  # a second that both end in is no day
        self.assertNotEqual(later.id, one.id)
        self.assertEqual(sum(row[1] for row in later.rows()), 1)

    def test_destinations(self):
        dns = Nameserver(dict(ZONE))
        self.addCleanup(dns.close)
        box = self.box(dns=dns)
        self.session(box, *((d, "x@other.test", "192.0.2.9", "") for d in ("spy.test", "hired.test", "later.test")))
        self.round(box, expect="1 DMARC report sent, 1 waiting for the DNS, 1 that nobody wants\n")
        self.assertEqual(len(os.listdir(os.path.join(box.dir, "mail", "new@agent.example", "new"))), 1)
        self.assertFalse([m for m in os.listdir(os.path.join(box.dir, "mail")) if "victim" in m or m.startswith("a@")])
        self.assertRegex(box.log(), r"DMARC: no report on spy.test: nobody wants it")
        dns.zone["later.test._report._dmarc.slow.example"] = [("TXT", "v=DMARC1")]
        self.round(box, expect="1 DMARC report sent\n")
        self.assertEqual(len(self.reports(box, "a@slow.example")), 1)
        self.round(box, expect="0 DMARC reports sent\n")

    def test_off(self):
        box = self.box("")
        self.session(box, ("one.test", "x@one.test", "192.0.2.1", ""))
        done = box.run("--dmarc-report=today")
        self.assertEqual((done.returncode, done.out), (1, ""))
        self.assertIn("dmarc_report_sender is not set", done.err)
        self.assertEqual(self.stored(box), [])
        box = self.box()
        box.run("-bh", "192.0.2.1", stdin="EHLO h.test\r\nMAIL FROM:<x@one.test>\r\nRCPT TO:<u@mx.test>\r\nDATA\r\nFrom: a@one.test\r\n\r\nhi\r\n.\r\nQUIT\r\n")
        self.session(box, ("one.test", "x@one.test", "127.0.0.1", "nothing"))
        self.assertEqual(self.stored(box), [])
        for bad in ("nonsense", "a@b@c", "${if eq{"):
            box = self.box(f"dmarc_report_sender = {bad}\n")
            done = box.run("--dmarc-report")
            self.assertNotEqual(done.returncode, 0, bad)
        for bad in (("--dmarc-report", "x"), ("--dmarc-report=yesterday",), ("--dmarc-report", "-bp")):
            self.assertNotEqual(box.run(*bad).returncode, 0, bad)

    # ---- with the database looked at, or made older, by LMDB's own tools

    def dump(self, box):
        """[(key, value)] as bytes."""
        done = subprocess.run(["mdb_dump", "-s", "dmarc", os.path.join(box.dir, "spool", "db")], capture_output=True, text=True)
        lines = [bytes.fromhex(line.strip()) for line in done.stdout.split("\n") if line.startswith(" ")]
        return list(zip(lines[::2], lines[1::2]))

    def stored(self, box):
        return [key for key, _ in self.dump(box)] if shutil.which("mdb_dump") else []

    def load(self, box, rows):
        path = os.path.join(box.dir, "spool", "db")
        for name in ("data.mdb", "lock.mdb"):
            os.unlink(os.path.join(path, name))
        text = "VERSION=3\nformat=bytevalue\ndatabase=dmarc\ntype=btree\nmapsize=1073741824\nmaxreaders=1024\ndb_pagesize=4096\nHEADER=END\n"
        text += "".join(f" {part.hex()}\n" for row in sorted(rows) for part in row) + "DATA=END\n"
        subprocess.run(["mdb_load", "-s", "dmarc", path], input=text, text=True, check=True, capture_output=True)
        for name in os.listdir(path):
            if os.getuid() == 0:
                shutil.chown(os.path.join(path, name), USER, "nogroup")

    def older(self, rows, days):
        return [(f"{int(key[:6]) - days:06d}".encode() + key[6:], value) for key, value in rows]

    @unittest.skipUnless(shutil.which("mdb_dump") and shutil.which("mdb_load"), "needs lmdb-utils")
    def test_days(self):
        box = self.box()
        self.session(box, ("one.test", "x@one.test", "192.0.2.1", ""), ("later.test", "x@other.test", "192.0.2.9", ""))
        rows = self.dump(box)
        self.assertEqual(len(rows), 2)
        one = [row for row in rows if b" one.test " in row[0]]
        later = [row for row in rows if b" later.test " in row[0]]
        # yesterday's; two days', of which one was damaged; what has waited for an answer too long; what nobody can read; and today's
        damaged = [(key, value.replace(b"192.0.2.1", b"")) for key, value in self.older(one, 3)]
        self.load(box, self.older(one, 1) + self.older(one, 2) + damaged + self.older(later, 2) + self.older(later, 9) + one + [(b"!what", b"\0\0\0\0ever"), (b"000001 x 00000000 00", b"\0\0\0\0junk"), (b"000002 y 00000000 00", b"1")])
        self.round(box, "", "2 DMARC reports sent, 1 waiting for the DNS, 3 that nobody wants\n")
        reports = self.reports(box, "agg@one.test")
        self.assertEqual(len(reports), 2)
        for report in reports:
            self.assertEqual((report.begin % 86400, report.end - report.begin), (0, 86399))
        self.assertEqual(abs(reports[0].begin - reports[1].begin), 86400)
        self.assertEqual(sorted(self.stored(box)), sorted([key for key, _ in self.older(later, 2) + one] + [b"000002 y 00000000 00"]))
        # killed when the spool had it, and before it was forgotten: the same again, and its reader knows it
        self.load(box, self.older(one, 1))
        self.round(box, "", "1 DMARC report sent\n")
        again, = self.reports(box, "agg@one.test")
        self.assertIn((again.id, again.name, again.xml), [(r.id, r.name, r.xml) for r in reports])

    @unittest.skipUnless(shutil.which("mdb_dump") and shutil.which("mdb_load"), "needs lmdb-utils")
    def test_daemon(self):
        """The daemon counts, asked or not, and sends what an earlier one has left behind by itself."""
        box = self.box()
        self.session(box, ("one.test", "x@one.test", "192.0.2.1", ""))
        self.load(box, self.older(self.dump(box), 2))
        box.start("-q1h")
        box.wait_log(r"DMARC: report on one.test: 1 message in 1 row")
        box.wait_log("Completed", count=1)
        self.session(box, ("one.test", "x@one.test", "192.0.2.1", ""), ("one.test", "x@one.test", "192.0.2.1", ""))

        def all_counted():
            return b"".join(value for _, value in self.dump(box)).count(b"0000000002\t") == 1
        until(all_counted, "the writer")
        self.round(box, expect="1 DMARC report sent\n")
        box.wait_log(r"DMARC: report on one.test: 2 messages in 1 row")
        self.assertEqual(box.stop(), 0)
        self.assertEqual(self.stored(box), [])

    @unittest.skipUnless(shutil.which("mdb_dump") and shutil.which("mdb_load"), "needs lmdb-utils")
    def test_daemon_asked_only(self):
        box = self.box(REPORTING + "dmarc_report_automatic = false\n")
        self.session(box, ("one.test", "x@one.test", "192.0.2.1", ""))
        self.load(box, self.older(self.dump(box), 2))
        box.start()
        self.round(box, "", "1 DMARC report sent\n")
        box.stop()
        self.assertEqual(len(re.findall("DMARC: report on", box.log())), 1)


if __name__ == "__main__":
    unittest.main()
