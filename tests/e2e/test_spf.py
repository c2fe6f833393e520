"""SPF end to end: the conditions, variables, log tags and the lookup, against a name server of our own."""
import re
import unittest

from nameserver import SERVFAIL, SILENT, Nameserver
from harness import SluiceTest, configuration

ZONE = {
    "pass.test": [("TXT", "v=spf1 ip4:192.0.2.0/24 -all")],
    "fail.test": [("TXT", "v=spf1 -all exp=why.fail.test")],
    "why.fail.test": [("TXT", "%{i} is not for %{d}")],
    "noexp.test": [("TXT", "v=spf1 -all")],
    "soft.test": [("TXT", "v=spf1 ~all")],
    "neutral.test": [("TXT", "v=spf1 ?all")],
    "none.test": [("TXT", "something else")],
    "relaxed.test": [("A", "192.0.2.77")],
    "broken.test": [("TXT", "v=spf1 nonsense")],
    "trouble.test": SERVFAIL,
    "silent.test": SILENT,
    "loop.test": [("TXT", "v=spf1 redirect=loop.test")],
    "six.test": [("TXT", "v=spf1 ip6:2001:db8::/32 -all")],
    "many.test": [("TXT", "v=spf1 " + " ".join(f"include:i{n}.test" for n in range(11)) + " -all")],
    **{f"i{n}.test": [("TXT", "v=spf1 ip4:203.0.113.%d -all" % n)] for n in range(11)},
    "long.test": [("TXT", *("v=spf1 " + " ".join(f"ip4:198.51.{n}.1" for n in range(200)) + " ip4:192.0.2.1 -all").split("~"))],
}
SHOW = """
begin acl
rcpt:
  warn SPF = *
       set acl_m_x = r=$spf_result g=$spf_result_guessed d=$spf_used_domain h=$spf_header_comment s=$spf_smtp_comment
  deny message = $acl_m_x <$spf_received>
"""


class Spf(SluiceTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dns = Nameserver(ZONE)
        cls.addClassCleanup(cls.dns.close)

    def box(self, acl, main="", **options):
        text = f"acl_smtp_rcpt = rcpt\ndns_servers = 127.0.0.1:{self.dns.port}\ndns_retrans = 1s\ndns_retry = 1\n{main}"
        return self.sluice(configuration(text, acl + "\nbegin routers\n\nbegin transports\n", acl_rcpt=False), start=False, **options)

    def rcpt(self, box, sender, ip="192.0.2.1", helo="helo.test"):
        done = box.run("-bh", ip, stdin=f"EHLO {helo}\r\nMAIL FROM:<{sender}>\r\nRCPT TO:<u@mx.test>\r\nQUIT\r\n")
        replies = [line for line in done.out.splitlines() if re.match(r"\d{3}[ -]", line)]
        return "\n".join(replies[replies.index(next(r for r in replies if "OK" in r or r.startswith("4") or r.startswith("5"))):])

    def test_results_and_variables(self):
        box = self.box(SHOW.replace("SPF", "spf"))
        for sender, ip, result, domain, comment, smtp in (
                ("x@pass.test", "192.0.2.1", "pass", "pass.test", "domain of pass.test designates 192.0.2.1 as permitted sender", ""),
                ("x@fail.test", "192.0.2.1", "fail", "fail.test",
                 "domain of fail.test does not designate 192.0.2.1 as permitted sender", "192.0.2.1 is not for fail.test"),
                ("x@noexp.test", "192.0.2.1", "fail", "noexp.test", "", "Please see http://www.open-spf.org/Why"),
                ("x@soft.test", "192.0.2.1", "softfail", "soft.test", "transitioning domain of soft.test does not", ""),
                ("x@neutral.test", "192.0.2.1", "neutral", "neutral.test", "192.0.2.1 is neither permitted nor denied by", ""),
                ("x@none.test", "192.0.2.1", "none", "none.test", "domain of none.test does not provide an SPF record", ""),
                ("x@nosuch.test", "192.0.2.1", "none", "nosuch.test", "", ""),
                ("x@broken.test", "192.0.2.1", "permerror", "broken.test", 'syntax error in SPF record: "nonsense"', ""),
                ("x@trouble.test", "192.0.2.1", "temperror", "trouble.test", "temporary error", ""),
                ("x@silent.test", "192.0.2.1", "temperror", "silent.test", "temporary error", ""),
                ("x@loop.test", "192.0.2.1", "permerror", "loop.test", "more than 10 terms", ""),
                ("x@many.test", "192.0.2.1", "permerror", "many.test", "more than 10 terms", ""),
                ("x@long.test", "192.0.2.1", "pass", "long.test", "", ""),  # over TCP, in strings of 255
                ("x@six.test", "2001:db8::7", "pass", "six.test", "designates 2001:db8::7", ""),
                ("x@anything.test", "127.0.0.1", "pass", "anything.test", "", ""),
                ("", "192.0.2.1", "none", "helo.test", "", "")):
            with self.subTest(sender=sender, ip=ip):
                reply = self.rcpt(box, sender, ip)
                self.assertIn(f"r={result} g=no d={domain} h=mx.test: ", reply)
                self.assertIn(comment, reply)
                self.assertIn(f"s={smtp} <Received-SPF: {result} (mx.test: ", reply.replace("\n550 ", " ").replace("\n550-", " "))
        reply = self.rcpt(box, "x@pass.test")
        self.assertIn('<Received-SPF: pass (mx.test: domain of pass.test designates 192.0.2.1 as permitted sender)'
                      ' client-ip=192.0.2.1; envelope-from="x@pass.test"; helo=helo.test;>', reply)
        # RFC 7208, 9.1: what is no dot-atom is quoted
        reply = self.rcpt(box, '"a b"@six.test', "2001:db8::7", "[IPv6:2001:db8::7]")
        self.assertIn(r'client-ip="2001:db8::7"; envelope-from="\"a b\"@six.test"; helo="[IPv6:2001:db8::7]";', reply)

    def test_helo_identity(self):
        box = self.box(SHOW.replace("SPF", "spf"))
        reply = self.rcpt(box, "", helo="fail.test")
        self.assertIn("r=fail g=no d=fail.test", reply)
        self.assertIn('envelope-from="postmaster@fail.test"', reply)

    def test_lists_of_words(self):
        for words, sender, code in (("fail", "fail", 550), ("fail", "soft", 250), ("fail : softfail", "soft", 550),
                                    ("!fail", "fail", 250), ("!fail", "none", 550), ("*", "none", 550),
                                    ("err_temp", "trouble", 550), ("err_temp", "broken", 250), ("err_perm", "broken", 550),
                                    ("!err_perm : *", "broken", 250), ("neutral:none", "neutral", 550), ("invalid", "pass", 250)):
            with self.subTest(words=words, sender=sender):
                box = self.box(f"begin acl\nrcpt:\n  deny message = $spf_smtp_comment\n       spf = {words}\n  accept\n")
                reply = self.rcpt(box, f"x@{sender}.test")
                self.assertIn(f"\n{code}", reply)
                if code == 550 and sender == "fail":
                    self.assertIn("192.0.2.1 is not for fail.test", reply)  # what stood in front of the condition was expanded behind it

    def test_one_domain_only(self):
        """The condition stands behind one that names a sender's domain, as in the manual's example."""
        box = self.box("begin acl\nrcpt:\n  deny message = not for $sender_address_domain\n       sender_domains = neutral.test\n"
                       "       spf = fail:neutral\n  accept\n")
        self.assertIn("\n550 5.7.1 not for neutral.test", self.rcpt(box, "x@neutral.test"))
        self.assertIn("\n250", self.rcpt(box, "x@fail.test"))

    def test_deprecated_words_are_told_once(self):
        box = self.box("begin acl\nrcpt:\n  defer spf = err_temp\n  accept\n")
        done = box.run("-bV")
        self.assertEqual((done.out + done.err).count('"err_temp" is deprecated, now "temperror"'), 1)
        self.assertIn("\n451", self.rcpt(box, "x@silent.test"))

    def test_guess(self):
        box = self.box(SHOW.replace("SPF", "spf_guess").replace("$spf_result_guessed", "$spf_result_guessed($spf_guess)"))
        self.assertIn("r=pass g=yes(v=spf1 a/24 mx/24 ptr ?all) d=relaxed.test", self.rcpt(box, "x@relaxed.test"))
        self.assertIn("r=neutral g=yes", self.rcpt(box, "x@nosuch.test"))
        self.assertIn("r=fail g=no", self.rcpt(box, "x@fail.test"))
        box = self.box("begin acl\nrcpt:\n  deny spf_guess = fail\n       spf = none\n  accept\n", "spf_guess = v=spf1 a/16 -all\n")
        self.assertIn("\n550", self.rcpt(box, "x@nosuch.test"))
        self.assertIn("\n250", self.rcpt(box, "x@relaxed.test"))

    def test_where_it_may_stand(self):
        box = self.box("begin acl\nhelo:\n  warn spf = fail\n  accept\nrcpt:\n  accept\n", "acl_smtp_helo = helo\n")
        self.assertIn("451", self.rcpt(box, "x@pass.test"))

    def test_lookup(self):
        box = self.box("begin acl\nrcpt:\n  accept\n")
        for key, ip, result in (("x@pass.test", "192.0.2.1", "pass"), ("x@fail.test", "192.0.2.1", "fail"), ("x@six.test", "2001:db8::1", "pass"),
                                ("x@loop.test", "192.0.2.1", "permerror"), ("x@pass.test", "192.0.2", "no"), ("x@none.test", "::1", "none")):
            self.assertEqual(box.run("-be", "${lookup{%s}spf{%s}{$value}{no}}" % (key, ip)).out.strip(), result)

    def test_log_tags(self):
        box = self.box("begin acl\nrcpt:\n  deny spf = softfail\n  accept\n", "log_selector = +spf +spf_verbose\n")
        done = box.run("-bh", "192.0.2.1", stdin="EHLO h.test\r\nMAIL FROM:<x@soft.test>\r\nRCPT TO:<u@mx.test>\r\nQUIT\r\n")
        self.assertRegex(done.out + done.err, r"H=\(h.test\) \[192.0.2.1\] SPF=softfail F=<x@soft.test> rejected RCPT")

    def test_asked_ahead(self):
        """The record is asked for at MAIL, before any condition wants it; without such a condition it is not."""
        for acl, asked in (("deny spf = fail", True), ("accept", False)):
            self.dns.asked.clear()
            box = self.box(f"begin acl\nrcpt:\n  {acl}\n")
            box.run("-bh", "192.0.2.1", stdin="EHLO h.test\r\nMAIL FROM:<x@ahead.test>\r\nNOOP\r\nNOOP\r\nQUIT\r\n")
            self.assertEqual(("ahead.test", "TXT") in self.dns.asked, asked)


if __name__ == "__main__":
    unittest.main()
