"""The same messages through the same ACL, judged by Exim (which is built with libopendmarc for that: ./dev deps exim) and by sluice, with
a suffix list: status, text, domain and policy. What differs is named, with its reason, or the test fails."""
import os
import random
import re
import subprocess
import unittest

from harness import GROUP_LINE, PEERS, SLUICE, SluiceTest
from nameserver import SERVFAIL, SystemNameserver

SEED = int(os.environ.get("SLUICE_SEEDS", "0,1").split(",")[0]) or random.randrange(1, 1 << 31)
EXIM = os.path.join(PEERS, "exim-arc", "exim")
RECORDS = {
    "reject.com": "v=DMARC1; p=reject", "quar.com": "v=DMARC1; p=quarantine; sp=none", "none.com": "v=DMARC1; p=none; sp=reject",
    "strict.com": "v=DMARC1; p=reject; aspf=s", "white.com": "v=DMARC1;p=reject;", "upper.com": "v=DMARC1; P=REJECT",
    "rua.com": "v=DMARC1; p=none; rua=mailto:a@rua.com; ruf=mailto:b@rua.com", "deep.org.co.uk": "v=DMARC1; p=reject",
    "org.co.uk": "v=DMARC1; p=quarantine", "order.com": "v=DMARC1; rua=mailto:a@order.com; p=reject", "odd.com": "v=DMARC1; p=reject; x=y; ; fo=1",
    # where they differ
    "badp.com": "v=DMARC1; p=rejekt; rua=mailto:a@badp.com", "nop.com": "v=DMARC1; rua=mailto:a@nop.com", "badmode.com": "v=DMARC1; p=reject; aspf=x",
    "lower.com": "v=dmarc1; p=reject",
}
ZONE = {"_dmarc." + name: [("TXT", text)] for name, text in RECORDS.items()}
ZONE.update({name: [("TXT", "v=spf1 ip4:192.0.2.1 -all")] for name in list(RECORDS) + ["www.reject.com", "www.strict.com", "other.com", "www.org.co.uk"]})
ZONE.update({"_dmarc.two.com": [("TXT", "v=DMARC1; p=reject"), ("TXT", "v=DMARC1; p=reject")], "_dmarc.trouble.com": SERVFAIL, "_dmarc.text.com": [("TXT", "hello")]})
CONFIG = """
primary_hostname = mx.test
spool_directory = DIR/spool
log_file_path = DIR/log/%s
exim_user = USER
{group}acl_smtp_rcpt = rcpt
acl_smtp_data = data
dmarc_tld_file = DIR/suffixes
begin acl
rcpt:
  warn spf = pass : fail : softfail : neutral : none : permerror : temperror
  accept
data:
  warn dmarc_status = *
  deny message = VERDICT $dmarc_status/$dmarc_status_text/$dmarc_used_domain/$dmarc_domain_policy
begin routers
all:
  driver = accept
  transport = none
begin transports
none:
  driver = appendfile
  file = /dev/null
  user = USER
"""
# From: domain -> why what Exim says of it is another thing
DIFFERENT = {
    "badp.com": "p= that is no request, with rua=: p=none (RFC 7489, 6.6.3)",
    "nop.com": "no p=, with rua=: p=none (RFC 7489, 6.6.3)",
    "lower.com": "the version has a case (RFC 7489, 6.4)",
    "strict.com": "aspf=s: another name of the organisation is not aligned (RFC 7489, 3.1.2)",
    "two.com": "two records are none (RFC 7489, 6.6.3)",
    "trouble.com": "SERVFAIL: temperror; to Exim there is no record",
    "X-From: a@reject.com": "no From: field: nofrom; Exim says none",
    "From: nobody": "no domain: nofrom; Exim looks for a record of \"nobody\"",
    "From: group: a@reject.com;": "an address in a group counts; Exim says none",
}
# Names without a record of their own: the organisation's holds (RFC 7489, 6.6.3, step 3). Exim with this libopendmarc finds none.
BELOW = {name: "the organisation's record" for name in ("www.reject.com", "www.quar.com", "www.none.com", "www.org.co.uk", "a.deep.org.co.uk")}
DIFFERENT.update(BELOW)


@unittest.skipUnless(os.getuid() == 0 and os.access(EXIM, os.X_OK), "needs root, and Exim with DMARC in build/peers/exim-arc")
class Differential(SluiceTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dns = SystemNameserver(ZONE)
        cls.addClassCleanup(cls.dns.close)
        if not cls.dns.usable:
            raise unittest.SkipTest("no name server of our own can be given to programs here")

    def cases(self):
        for domain in list(RECORDS) + ["two.com", "text.com", "nowhere.com", "www.reject.com", "www.quar.com", "www.none.com", "www.org.co.uk",
                                       "a.deep.org.co.uk", "trouble.com"]:
            for sender in (domain, "www." + domain, "other.com", ""):
                yield f"From: <a@{domain}>", sender
        for header in ("X-From: a@reject.com", "From: nobody", "From: \"b@none.com\" <a@reject.com>", "From: a@REJECT.com", "From: group: a@reject.com;",
                       "Resent-From: a@none.com\r\nFrom: a@reject.com"):
            yield header, "other.com"

    def verdicts(self, program, config, ip, cases):
        out = []
        for at in range(0, len(cases), 20):
            lines = ["EHLO h.other.com"]
            for header, sender in cases[at:at + 20]:
                lines += [f"MAIL FROM:<{'x@' + sender if sender else ''}>", "RCPT TO:<u@mx.test>", "DATA", header, "Subject: x", "", "hi", "."]
            done = subprocess.run([self.dns.wrap(program), "-C", config, "-bh", ip], input="\r\n".join(lines + ["QUIT", ""]), capture_output=True, text=True,
                                  timeout=120)
            found = re.findall(r"^550[ -](?:5[.0-9]+ )?VERDICT ([^\r\n]*)", done.stdout, re.M)
            self.assertEqual(len(found), len(cases[at:at + 20]), program + done.stdout[-2000:] + done.stderr[-2000:])
            out += found
        return out

    def box(self):
        box = self.sluice(CONFIG.replace("{group}", GROUP_LINE), start=False)
        with open(os.path.join(box.dir, "suffixes"), "w") as f:
            f.write("// list\n\n// BEGIN\ncom\n\nuk\nco.uk\norg.uk\n")
        os.chmod(os.path.join(box.dir, "suffixes"), 0o644)
        return box

    def record(self, r):
        """A record that both read alike: what they read differently is named in the other test."""
        tags = ["p=" + r.choice(["none", "quarantine", "reject", "Reject"])]
        for tag in ("sp=none", "sp=quarantine", "sp=reject", "adkim=r", "adkim=s", "aspf=r", "aspf=s", "rua=mailto:a@other.com", "ruf=mailto:b@other.com",
                    "fo=0", "fo=1:d", "ri=3600", "x-new=1"):
            if r.random() < 0.25 and tag.split("=")[0] not in [t.split("=")[0] for t in tags]:
                tags.insert(r.randrange(1, len(tags) + 1), tag)
        return "v=DMARC1" + r.choice([";", "; ", " ; "]) + r.choice(["; ", ";", " ; "]).join(tags) + r.choice(["", ";", "; "])

    def test_generated(self):
        """Random records, authors with a record of their own, senders of the same organisation and of others."""
        r = random.Random(SEED)
        names = [f"n{number}.com" for number in range(40)]
        records = {name: self.record(r) for name in names}
        for name, text in records.items():
            self.dns.zone["_dmarc." + name] = [("TXT", text)]
            for host in (name, "www." + name):
                self.dns.zone[host] = [("TXT", "v=spf1 ip4:192.0.2.1 -all")]
        box = self.box()
        same, strict = 0, 0
        for ip, count in (("192.0.2.1", 300), ("192.0.2.9", 100)):
            cases = []
            for _ in range(count):
                name = r.choice(names)
                header = r.choice(["From: <a@%s>", "From: a@%s", "From: \"x, y\" <a@%s>", "FROM: a@%s (x)", "From: =?utf-8?q?=C3=A9?= <a@%s>",
                                   "From:\r\n <a@%s>"]) % r.choice([name, name.upper()])
                cases.append((header, r.choice([name, name, "www." + name, r.choice(names), "other.com", ""])))
            ours = self.verdicts(os.path.abspath(SLUICE), box.config_file, ip, cases)
            theirs = self.verdicts(os.path.abspath(EXIM), box.config_file, ip, cases)
            for (header, sender), we, they in zip(cases, ours, theirs):
                domain = re.search(r"@([\w.]+)", header).group(1).lower()
                if we.lower() != they.lower() and "aspf=s" in records[domain] and sender == "www." + domain:
                    strict += 1  # another name of the organisation is aligned there
                    self.assertRegex(we, "^(none|quarantine|reject)/")
                    self.assertRegex(they, "^accept/")
                    continue
                self.assertEqual(we.lower(), they.lower(), f"{header} from <{sender}> at {ip}: {records[domain]}; seed {SEED}")
                same += 1
        self.assertGreater(same, 350)

    def test_messages(self):
        box = self.box()
        cases = list(self.cases())
        same, named, other = 0, set(), []
        for ip in ("192.0.2.1", "192.0.2.9"):
            ours = self.verdicts(os.path.abspath(SLUICE), box.config_file, ip, cases)
            theirs = self.verdicts(os.path.abspath(EXIM), box.config_file, ip, cases)
            for (header, sender), we, they in zip(cases, ours, theirs):
                domain = header.rpartition("@")[2].strip(">;").lower()
                key = header if header in DIFFERENT else domain
                if we.lower() == they.lower():
                    same += 1
                elif key in DIFFERENT:
                    named.add(key)
                else:
                    other.append(f"{header} from <{sender}> at {ip}: we {we}, Exim {they}")
        self.assertFalse(other, "\n".join(other))
        self.assertEqual(named, set(DIFFERENT))
        self.assertGreater(same, 90)


if __name__ == "__main__":
    unittest.main()
