"""DMARC end to end: statuses, variables, the history file, failure reports; with and without a suffix list."""
import base64
import os
import re
import subprocess
import threading
import unittest

from nameserver import SERVFAIL, Nameserver
from harness import PEERS, SluiceTest, configuration

try:
    import dkim
except ImportError:
    dkim = None

ZONE = {
    "reject.test": [("TXT", "v=spf1 ip4:192.0.2.1 -all")],
    "_dmarc.reject.test": [("TXT", "v=DMARC1; p=reject; ruf=mailto:forensic@reject.test,mailto:spy@elsewhere.example,mailto:yes@agrees.example; rua=mailto:a@reject.test")],
    "reject.test._report._dmarc.agrees.example": [("TXT", "v=DMARC1")],
    "_dmarc.quarantine.test": [("TXT", "v=DMARC1; p=quarantine")],
    "_dmarc.none.test": [("TXT", "v=DMARC1; p=none")],
    "_dmarc.sub.test": [("TXT", "v=DMARC1; p=none; sp=reject")],
    "_dmarc.trouble.test": SERVFAIL,
    "_dmarc.testing.test": [("TXT", "v=DMARC1; p=reject; t=y")],
    "_dmarc.xn--bcher-kva.test": [("TXT", "v=DMARC1; p=reject")],
    "_dmarc.two.test": [("TXT", "v=DMARC1; p=none"), ("TXT", "v=DMARC1; p=reject")],
}
ACL = """
begin acl
rcpt:
  warn spf = *
  accept CONTROL
data:
  warn dmarc_status = *
  deny dmarc_status = reject
       message = VERDICT: $dmarc_status/$dmarc_status_text/$dmarc_used_domain/$dmarc_domain_policy/$dmarc_alignment_spf/$dmarc_alignment_dkim/${authresults{mx.test}}
  accept logwrite = VERDICT: $dmarc_status/$dmarc_status_text/$dmarc_used_domain/$dmarc_domain_policy/$dmarc_alignment_spf/$dmarc_alignment_dkim/$dmarc_ar_header

begin routers
all:
  driver = accept
  transport = file

begin transports
file:
  driver = appendfile
  file = DIR/mail/${sg{$local_part}{\\N[^a-z]\\N}{_}}
  create_directory
  user = USER
"""

DBI_STUB = """
package DBI; our $errstr = ''; sub connect { return bless {}, 'DBI::db' }
package DBI::db;
sub prepare { my ($s, $q) = @_; $q =~ s/\\s+/ /g; $q =~ s/^ //; return bless {q => $q}, 'DBI::st' }
sub errstr { '' } sub disconnect { 1 } sub do { 1 } sub rollback { 1 } sub commit { 1 } sub begin_work { 1 }
package DBI::st;
sub execute { my $s = shift; print "$s->{q} |", join('|', map { defined $_ ? $_ : 'undef' } @_), "|\\n"; $s->{n} = 1; return 1 }
sub fetchrow_arrayref { my $s = shift; return undef unless $s->{n}--; return [1] }
sub fetchrow_hashref { undef } sub finish { 1 } sub rows { 1 }
1;
"""


class Dmarc(SluiceTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dns = Nameserver(ZONE)
        cls.addClassCleanup(cls.dns.close)

    def box(self, main="", control="", **options):
        text = f"acl_smtp_rcpt = rcpt\nacl_smtp_data = data\nsmtp_enforce_sync = false\ndns_servers = 127.0.0.1:{self.dns.port}\ndns_retrans = 1s\ndns_retry = 1\n{main}"
        return self.sluice(configuration(text, ACL.replace("CONTROL", control), acl_rcpt=False), start=False, **options)

    def check(self, box, header, sender="x@reject.test", ip="192.0.2.1"):
        done = box.run("-bh", ip, stdin=f"EHLO h.test\r\nMAIL FROM:<{sender}>\r\nRCPT TO:<u@mx.test>\r\nDATA\r\n{header}\r\nSubject: x\r\n\r\nhi\r\n.\r\nQUIT\r\n")
        text = re.sub(r"\n550[ -]", " ", done.out + done.err)
        found = re.search(r"VERDICT: ([^$\n][^\n]*)", text)  # not what -bh shows of the configuration
        self.assertTrue(found, done.out + done.err)
        return found.group(1)

    def test_statuses(self):
        box = self.box()
        for header, sender, ip, wanted in (
                ("From: <a@reject.test>", "x@reject.test", "192.0.2.1", "accept/Accept/reject.test/reject/yes/no/"),
                ("From: <a@reject.test>", "x@reject.test", "192.0.2.2", "reject/Reject/reject.test/reject/no/no/"),
                ("From: <a@reject.test>", "x@none.test", "192.0.2.1", "reject/Reject/"),
                ("From: \"b@none.test\" <a@REJECT.test>", "x@none.test", "192.0.2.1", "reject/Reject/"),
                ("From: <a@quarantine.test>", "x@none.test", "192.0.2.1", "quarantine/Quarantine/quarantine.test/quarantine/no/no/"),
                ("From: <a@none.test>", "x@none.test", "192.0.2.1", "none/None, Accept/none.test/none/no/no/"),
                ("From: <a@x.sub.test>", "x@none.test", "192.0.2.1", "reject/Reject/sub.test/reject/no/no/"),
                ("From: <a@norecord.test>", "x@none.test", "192.0.2.1", "norecord/No DMARC record/norecord.test//no/no/"),
                ("From: <a@two.test>", "x@none.test", "192.0.2.1", "norecord/"),
                ("From: <a@trouble.test>", "x@none.test", "192.0.2.1", "temperror/Internal Policy Error/"),
                ("X-From: <a@reject.test>", "x@none.test", "192.0.2.1", "nofrom/No From: domain found///no/no/"),
                ("From: nobody", "x@none.test", "192.0.2.1", "nofrom/"),
                ("From: <a@[192.0.2.1]>", "x@none.test", "192.0.2.1", "nofrom/"),
                ("From: undisclosed:;", "x@none.test", "192.0.2.1", "nofrom/"),
                ("From: group: <a@reject.test>, <b@none.test>;", "x@none.test", "192.0.2.1", "reject/"),
                ("Resent-From: <a@none.test>\r\nFrom: <a@reject.test>", "x@none.test", "192.0.2.1", "reject/"),
                # several addresses, several fields: the strictest, whichever stands first (RFC 7489, 6.6.1)
                ("From: <a@none.test>, <b@reject.test>", "x@none.test", "192.0.2.1", "reject/"),
                ("From: <a@reject.test>, <b@none.test>", "x@none.test", "192.0.2.1", "reject/"),
                ("From: <a@none.test>\r\nFrom: <b@reject.test>", "x@none.test", "192.0.2.1", "reject/"),
                ("From: a@none.test <b@reject.test>", "x@none.test", "192.0.2.1", "reject/"),
                ("From: b\u00fccher <a@b\u00fccher.test>", "x@none.test", "192.0.2.1", "reject/Reject/xn--bcher-kva.test/"),
                ("From: " + ", ".join(f"<a@d{n}.test>" for n in range(40)), "x@none.test", "192.0.2.1", "nofrom/")):
            with self.subTest(header=header, sender=sender):
                self.assertIn(wanted, self.check(box, header, sender, ip))

    # As old documents have it, their misprints included: a dollar sign in "set", $domain_used_domain, a control in other order.
    OLD = """
domainlist local_domains = here.test
domainlist screwed_up_dmarc_records = broken.test
hostlist local_hosts = 192.0.2.200

begin acl
rcpt:
  warn    domains        = +local_domains
          hosts          = +local_hosts
          control        = dmarc_disable_verify
  warn    !domains       = +screwed_up_dmarc_records
          control        = dmarc_enable_forensic
  warn    domains        = forensic.test
          control        = dmarc_forensic_enable
  warn    condition      = ${if eq{$local_part}{list}}
          set acl_m_mailing_list = 1
  warn    spf            = *
  accept
data:
  warn    dmarc_status   = accept : none : off
          !authenticated = *
          log_message    = DEBUG1 $dmarc_status $dmarc_used_domain
          add_header     = $dmarc_ar_header
  warn    dmarc_status   = !accept
          !authenticated = *
          log_message    = DEBUG2 '$dmarc_status' for $dmarc_used_domain
  warn    dmarc_status   = quarantine
          !authenticated = *
          set $acl_m_quarantine = 1
  deny    condition      = ${if eq{$dmarc_domain_policy}{reject}}
          condition      = ${if eq{$acl_m_mailing_list}{1}}
          message        = LIST of $dmarc_used_domain
  deny    dmarc_status   = reject
          !authenticated = *
          message        = REJECTED for $domain_used_domain
  accept  logwrite       = flag=$acl_m_quarantine ar=${if match{$headers_added}{Authentication-Results: mx.test}{yes}{no}}

begin routers

begin transports
"""

    def test_acls_of_old_documents(self):
        text = f"acl_smtp_rcpt = rcpt\nacl_smtp_data = data\nsmtp_enforce_sync = false\ndns_servers = 127.0.0.1:{self.dns.port}\ndns_retrans = 1s\ndns_retry = 1\n"
        box = self.sluice(configuration(text, self.OLD, acl_rcpt=False), start=False)
        done = box.run("-bV", check=0)
        self.assertRegex(done.out + done.err, r'warning: .* the \$ before a variable.s name in "set" is not needed')
        for header, ip, rcpt, found in (
                ("reject.test", "192.0.2.1", "u@here.test", ["DEBUG1 accept reject.test", "flag= ar=yes"]),
                ("none.test", "192.0.2.9", "u@here.test", ["DEBUG1 none none.test", "DEBUG2 'none' for none.test"]),
                ("quarantine.test", "192.0.2.9", "u@here.test", ["DEBUG2 'quarantine' for quarantine.test", "flag=1 ar=no"]),
                ("reject.test", "192.0.2.9", "u@here.test", ["DEBUG2 'reject' for reject.test", "550 5.7.1 REJECTED for reject.test"]),
                ("reject.test", "192.0.2.9", "list@here.test", ["550 5.7.1 LIST of reject.test"]),
                ("reject.test", "192.0.2.200", "u@here.test", ["DEBUG1 off ", "flag= "]),
                ("norecord.test", "192.0.2.9", "u@forensic.test", ["DEBUG2 'norecord' for norecord.test", "flag= ar=no"])):
            with self.subTest(header=header, ip=ip, rcpt=rcpt):
                done = box.run("-bh", ip, stdin=f"EHLO h.test\r\nMAIL FROM:<x@{header}>\r\nRCPT TO:<{rcpt}>\r\nDATA\r\nFrom: a@{header}\r\n\r\nhi\r\n.\r\nQUIT\r\n")
                for line in found:
                    self.assertIn(line, done.out + done.err)

    def test_authentication_results(self):
        box = self.box()
        self.assertIn("dmarc=fail", self.check(box, "From: <a@reject.test>", ip="192.0.2.9"))
        text = self.check(box, "From: <a@reject.test>")
        self.assertIn("Authentication-Results: mx.test", text)
        done = box.run("-bh", "192.0.2.1", stdin="EHLO h.test\r\nMAIL FROM:<x@reject.test>\r\nRCPT TO:<u@mx.test>\r\nDATA\r\nFrom: a@reject.test\r\n\r\nhi\r\n.\r\nQUIT\r\n")
        self.assertRegex(done.out + done.err, r"dmarc=pass\s+header.from=reject.test\s+policy.dmarc=reject\n")
        # policy.dmarc: what is asked for of this name's failures, with sp= and t= done; nothing where no policy was come to
        for name, policy in (("reject.test", "fail header.from=reject.test policy.dmarc=reject"), ("quarantine.test", "policy.dmarc=quarantine"),
                             ("sub.test", "policy.dmarc=none"), ("x.sub.test", "policy.dmarc=reject"), ("testing.test", "policy.dmarc=quarantine"),
                             ("norecord.test", None), ("trouble.test", None), ("nobody", None)):
            with self.subTest(name=name):
                said = re.sub(r"(\s|\\n|\\t)+", " ", self.check(box, f"From: <a@{name}>" if "." in name else "X: y", "x@none.test", "192.0.2.9"))
                self.assertIn("Authentication-Results: ", said)
                if policy:
                    self.assertRegex(said, policy + r"\b")
                else:
                    self.assertNotIn("policy.dmarc", said)

    def test_controls(self):
        self.assertIn("off/", self.check(self.box(control="control = dmarc_disable_verify"), "From: <a@reject.test>", ip="192.0.2.9"))

    def test_suffix_list(self):
        box = self.box("dmarc_tld_file = DIR/suffixes\n")
        with open(os.path.join(box.dir, "suffixes"), "w") as f:
            f.write("// list\ntest\nexample\n")
        os.chmod(os.path.join(box.dir, "suffixes"), 0o644)
        self.assertIn("reject/Reject/sub.test/reject", self.check(box, "From: <a@a.b.sub.test>"))
        self.assertIn("accept/", self.check(box, "From: <a@x.reject.test>"))
        box = self.box("dmarc_tld_file = DIR/nosuchfile\n")
        self.assertIn("none//", self.check(box, "From: <a@reject.test>", ip="192.0.2.9"))  # as Exim: nothing was judged

    def session(self, box, header, ip="192.0.2.9", sender="x@reject.test", count=1):
        message = f"MAIL FROM:<{sender}>\r\nRCPT TO:<u@mx.test>\r\nDATA\r\n{header}\r\n\r\nhi\r\n.\r\n"
        return box.run("-oMa", ip, "-bs", stdin="EHLO h.test\r\n" + message * count + "QUIT\r\n").out

    def test_history(self):
        box = self.box("dmarc_history_file = DIR/history\n")
        os.chmod(box.dir, 0o777)
        self.assertIn("\n550", self.session(box, "From: <a@reject.test>"))
        self.session(box, "From: <a@norecord.test>")
        with open(os.path.join(box.dir, "history")) as f:
            lines = f.read().splitlines()
        names = [line.split()[0] for line in lines]
        self.assertEqual(names, ["job", "reporter", "received", "ipaddr", "from", "mfrom", "spf", "pdomain", "policy", "rua", "pct", "adkim", "aspf",
                                 "p", "sp", "align_dkim", "align_spf", "action", "arc", "arc_policy"])
        values = dict(line.split(" ", 1) for line in lines)
        for name, value in (("reporter", "mx.test"), ("ipaddr", "192.0.2.9"), ("from", "reject.test"), ("mfrom", "reject.test"), ("spf", "7"),
                            ("policy", "16"), ("rua", "mailto:a@reject.test"), ("pct", "100"), ("adkim", "114"), ("p", "114"), ("sp", "0"),
                            ("align_dkim", "5"), ("align_spf", "5"), ("action", "0")):
            self.assertEqual(values[name], value, name)
        self.imported(box, 1)
        # a hundred at once, from processes of their own: whole blocks
        threads = [threading.Thread(target=self.session, args=(box, "From: <a@reject.test>"), kwargs={"count": 20}) for _ in range(5)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        with open(os.path.join(box.dir, "history")) as f:
            all_names = [line.split()[0] for line in f.read().splitlines()]
        self.assertEqual(all_names, names * 101)
        self.imported(box, 101)

    @unittest.skipUnless(dkim, "python3-dkim is not here")
    def test_history_of_signed_mail(self):
        """The log's DKIM= tag, the dkim= results of Authentication-Results and the history name the same domains and results, and
        opendmarc-import takes signatures and chains from there."""
        pem = subprocess.run(["openssl", "genrsa", "-traditional", "1024"], capture_output=True, check=True).stdout
        der = subprocess.run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=pem, capture_output=True, check=True).stdout
        for name in ("s1._domainkey.reject.test", "s2._domainkey.news.reject.test", "hop._domainkey.list.test", "hop._domainkey.other.test"):
            self.dns.zone[name] = [("TXT", f"p={base64.b64encode(der).decode()}")]
        message = b"From: a@reject.test\r\nTo: u@mx.test\r\nSubject: x\r\n\r\nhi\r\n"
        signed = (dkim.sign(message, b"s1", b"reject.test", pem) + dkim.sign(message, b"s2", b"news.reject.test", pem).replace(b"b=", b"b=AAAA", 1) +
                  dkim.sign(message, b"none", b"nokey.test", pem) + message)
        for domain, more in ((b"list.test", b""), (b"other.test", b"arc=pass; ")):
            signed = b"Authentication-Results: %s; %sspf=pass smtp.remote-ip=\"2001:db8::%d\"\r\n" % (domain, more, len(more)) + signed
            signed = b"".join(dkim.arc_sign(signed, b"hop", domain, pem, domain)) + signed
        box = self.box("dmarc_history_file = DIR/history\n")
        os.chmod(box.dir, 0o777)
        box.write_config(open(box.config_file).read().replace("data:\n", "data:\n  warn verify = arc/none:pass:fail\n").replace(
            "  accept logwrite = VERDICT", "  accept logwrite = AR: ${sg{${authresults{mx.test}}}{\\N\\s+\\N}{ }}\n  accept logwrite = VERDICT"))
        self.session(box, signed[:signed.index(b"\r\n\r\n")].decode())
        log = box.log()
        with open(os.path.join(box.dir, "history")) as f:
            history = f.read()
        results = re.search("AR: (.*)", log).group(1)
        words = {"0": "pass", "5": "permerror", "7": "fail"}
        told = [(d, s, words[n]) for d, s, n in re.findall(r"^dkim (\S+) (\S+) (\d+)$", history, re.M)]
        self.assertEqual(sorted(told), [("news.reject.test", "s2", "fail"), ("nokey.test", "none", "permerror"), ("reject.test", "s1", "pass")])
        self.assertEqual(sorted((d, s, word) for word, d, s in re.findall(r"dkim=(\w+)[^;]* header.d=(\S+)[^;]* header.s=(\S+)", results)), sorted(told))
        self.assertEqual(re.findall(r" DKIM=(\S+)", log), ["reject.test"])
        self.assertIn("\narc 0\narc_policy 0 json:", history)
        imported = self.imported(box, 1, "|0|") or ""
        if imported:
            signatures = [line.split("|")[-5:-1] for line in imported.splitlines() if line.startswith("INSERT INTO signatures")]
            self.assertEqual(sorted(row[2:] for row in signatures), [["0", "0"], ["5", "1"], ["7", "0"]])
            self.assertEqual([line.split("|")[-3:-1] for line in imported.splitlines() if line.startswith("INSERT INTO arcauthresults")],
                             [["1", "2001:db8::"], ["2", "2001:db8::10"]])
            self.assertEqual(len([line for line in imported.splitlines() if line.startswith("INSERT INTO arcseals")]), 2)
            for name in ("s1", "s2", "none", "hop", "reject.test", "news.reject.test", "list.test", "other.test"):
                self.assertIn(f"|{name}|", imported)

    def imported(self, box, count, values="|7|5|5|"):
        """opendmarc-import reads the file, with a database that only notes what it is told."""
        tool = next((t for t in (os.path.join(PEERS, "opendmarc/usr/sbin/opendmarc-import"), "/usr/sbin/opendmarc-import") if os.path.exists(t)), None)
        if not tool:
            return
        with open(os.path.join(box.dir, "DBI.pm"), "w") as f:
            f.write(DBI_STUB)
        done = subprocess.run(["perl", "-I", box.dir, tool, "--input", os.path.join(box.dir, "history")], capture_output=True, text=True)
        if "Can't locate" in done.stderr:
            return
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("uninitialized", done.stderr)
        messages = [line for line in done.stdout.splitlines() if line.startswith("INSERT INTO messages")]
        self.assertEqual(len(messages), count, done.stdout + done.stderr)
        self.assertIn(values, messages[0])  # spf, align_spf, align_dkim
        return done.stdout

    def test_failure_reports(self):
        for control, wanted in (("", 0), ("control = dmarc_enable_forensic", 2)):
            box = self.box("dmarc_forensic_sender = DMARC at us <dmarc@mx.test>\nqualify_domain = mx.test\n", control)
            os.chmod(box.dir, 0o777)
            self.assertIn("\n550", self.session(box, "From: <a@reject.test>\r\nSubject: secret\r\nX-Evil: a"))
            self.assertNotIn("failed", self.session(box, "From: <a@none.test>"))  # no ruf
            queued = box.run("-bp").out
            with self.subTest(control=control):
                log = box.log()
                self.assertEqual(len(re.findall(r"<= dmarc@mx.test ", log)), wanted, log + queued)
                self.assertNotIn("spy@elsewhere.example", log + queued)

    def test_what_is_missing(self):
        """No spf condition: one warning, and SPF is "none". No list that can be read: a line, and mail flows. -bh reports nothing."""
        text = f"acl_smtp_rcpt = rcpt\nacl_smtp_data = data\nsmtp_enforce_sync = false\ndns_servers = 127.0.0.1:{self.dns.port}\ndns_retrans = 1s\ndns_retry = 1\n"
        policy = ACL.replace("CONTROL", "control = dmarc_forensic_enable")
        box = self.sluice(configuration(text, policy.replace("  warn spf = *\n", ""), acl_rcpt=False), start=False)
        self.assertIn("\n550", self.session(box, "From: <a@reject.test>", ip="192.0.2.1"))
        self.assertEqual(len(re.findall(r'DMARC: no "spf" condition has run', box.log())), 1)
        box = self.sluice(configuration(text + "dmarc_tld_file = DIR/nosuchfile\n", policy, acl_rcpt=False), start=False)
        self.assertRegex(self.session(box, "From: <a@reject.test>"), r"\n250 [0-9. ]*OK id=")
        self.assertEqual(len(re.findall(r"DMARC is off: .*nosuchfile", box.log())), 1)
        box = self.sluice(configuration(text, policy, acl_rcpt=False), start=False)
        self.assertIn("reject/", self.check(box, "From: <a@reject.test>", ip="192.0.2.9"))
        self.assertEqual((box.log(), box.run("-bpc").out), ("", "0\n"))


if __name__ == "__main__":
    unittest.main()
