"""ARC and Authentication-Results with the real binary: chains of dkimpy's, ours and Exim's, fields that python3-authres reads, mail in UTF-8."""
import base64
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import harness
from harness import configuration
from nameserver import SERVFAIL, SILENT
from test_dkim import MESSAGE, DkimBase, dkim, policy


@unittest.skipUnless(dkim, "python3-dkim is not here")
class ArcTest(DkimBase):
    EXIM_ARC = os.path.join(os.environ.get("SLUICE_PEERS", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build/peers")),
                            "exim-arc", "exim")

    @unittest.skipUnless(os.access(EXIM_ARC, os.X_OK) and os.getuid() == 0, "needs root, and an Exim with ARC: ./dev exim")
    def test_exim_arc(self):
        """Chains of three makers: Exim finds whole what was sealed here, and we what Exim seals, on top of each other's and dkimpy's."""
        exim = os.path.abspath(self.EXIM_ARC)
        run = self.dns.wrap(exim)
        for host in ("exim.test", "mx.test"):
            self.dns.zone[f"rsa._domainkey.{host}"] = [("TXT", f"p={self.rsa_public}")]
        folder = tempfile.mkdtemp(prefix="sluice-exim-")
        self.addCleanup(shutil.rmtree, folder, True)
        os.chmod(folder, 0o777)
        key = os.path.join(self.folder, "rsa.pem")
        server, sink = self.relay("  arc_sign = mx.test:rsa:KEYFILE\n", acls=self.ARC_ACL, extra="acl_smtp_data = data_acl\n")
        exim_sink = self.sink()
        config = os.path.join(folder, "config")
        text = self.ORACLE.replace("acl_smtp_rcpt = accept\n", "acl_smtp_rcpt = accept\nacl_smtp_data = data\nbegin acl\ndata:\n"
                                   "  warn verify = arc/none:pass:fail\n"
                                   "       logwrite = exim arc=$arc_state/$arc_state_reason/$arc_domains\n"
                                   "       add_header = :at_start:${authresults{exim.test}}\n  accept\n")
        with open(config, "w") as f:
            f.write(text.replace("ORACLE", exim).replace("FOLDER", folder).replace("SINKPORT", str(exim_sink.port))
                    .replace("OPTIONS", f"  arc_sign = exim.test:rsa:{key}\n"))

        def by_exim(message):
            """What it says of the chain, and the message with its own set."""
            before = len(exim_sink.messages)
            subprocess.run([run, "-C", config, "-bs", "-odf", "-oMa", "127.0.0.1"], capture_output=True, timeout=60,
                           input=b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n" + re.sub(rb"(?m)^\.", b"..", message) +
                           b".\r\nQUIT\r\n")
            with open(os.path.join(folder, "log-main")) as f:
                said = re.findall(r"exim arc=(\S*)", f.read())[-1]
            return said, exim_sink.wait(before + 1)[-1][2]

        def by_us(message):
            before = len(re.findall(r" arc=(\S*)", server.log()))
            wire = self.passed(server, sink, message)
            return re.findall(r" arc=(\S*)", server.wait_log(r" arc=\S*", count=before + 1))[-1], wire
        for makers in ("s", "e", "es", "1es", "2se", "3ees"):
            with self.subTest(makers):
                message, domains = MESSAGE, []
                if makers[0].isdigit():
                    domains = [f"hop{i + 1}.football.test" for i in range(int(makers[0]))]
                    message = self.chain(int(makers[0]))
                for maker in makers.lstrip("123") + "es":
                    said, wire = (by_exim if maker == "e" else by_us)(message)
                    state = f"pass//{':'.join(domains)}" if domains else "none//"
                    self.assertTrue(said.startswith(state), (makers, maker, said, state))
                    worse = message.replace(b"lost", b"won ")
                    if domains:
                        self.assertTrue((by_exim if maker == "e" else by_us)(worse)[0].startswith("fail/AMS"), (makers, maker))
                    domains.append("exim.test" if maker == "e" else "mx.test")
                    message = wire
                self.assertEqual(dkim.arc_verify(message, dnsfunc=self.lookup)[0], b"pass")

    ARC_ACL = """
data_acl:
  warn    spf = pass
  warn    verify = arc/none:pass:fail
  warn    logwrite = arc=$arc_state/$arc_state_reason/$arc_domains/$arc_oldest_pass
  deny    senders = strict@client.test
          ! verify = arc
          message = broken
  defer   senders = wait@client.test
          ! verify = arc/pass/defer
  warn    add_header = :at_start:${authresults{mx.test}}
  accept
"""

    def chain(self, count, message=None, change=None):
        """Sets made by dkimpy, each by another host; change(message, i) after each."""
        message = message or MESSAGE
        for i in range(1, count + 1):
            host = b"hop%d.football.test" % i
            self.dns.zone[f"arc._domainkey.{host.decode()}"] = [("TXT", f"p={self.rsa_public}")]
            results = b"Authentication-Results: " + host + b"; arc=" + (b"none" if i == 1 else b"pass") + b"\r\n"
            message = b"".join(dkim.arc_sign(results + message, b"arc", host, self.rsa, host)) + results + message
            if change:
                message = change(message, i)
        return message

    def test_arc_verify(self):
        server = self.serve("acl_smtp_data = data_acl\nlog_selector = +dkim\n", self.ARC_ACL)

        def ask(message):
            lines = self.lines(server, message)
            return re.search(r"arc=(.*)", lines).group(1), " ARC" in [x for x in lines.splitlines() if " <= " in x][0]

        def hops(count):
            return ":".join(f"hop{i}.football.test" for i in range(1, count + 1))
        self.assertEqual(ask(MESSAGE), ("none///0", False))
        for count in (1, 2, 5):
            self.assertEqual(ask(self.chain(count)), (f"pass//{hops(count)}/1", True))
        # The body was changed behind the first host, who vouches no more, and the second has sealed what there was then.
        altered = self.chain(2, change=lambda m, i: m.replace(b"lost", b"won ") if i == 1 else m)
        self.assertEqual(ask(altered), (f"pass//{hops(2)}/2", True))
        chain = self.chain(3)
        fields = re.findall(rb"(?:ARC-[A-Za-z-]+):.*\r\n(?:[ \t].*\r\n)*", chain)
        one = {kind: [f for f in fields if f.startswith(kind)] for kind in (b"ARC-Seal", b"ARC-Mess", b"ARC-Auth")}
        for name, message, state in (
                ("body", chain.replace(b"lost", b"won "), "fail/AMS body hash miscompare"),
                ("header", chain.replace(b"dinner", b"supper"), "fail/AMS sig nonverify"),
                ("results", chain.replace(b"i=1; hop1", b"i=1; hope"), "fail/seal sigverify error"),
                ("seal twice", one[b"ARC-Seal"][0] + chain, "fail/collecting headers: two of arc-seal with i=3"),
                ("gap", b"".join(f for f in fields if b"i=2;" not in f) + MESSAGE, "fail/i=1 (sequence; expected 2)"),
                ("missing", chain.replace(one[b"ARC-Mess"][1], b""), "fail/i=2 (missing header)"),
                ("instance 51", b"ARC-Seal: i=51; cv=none; a=rsa-sha256; b=AA==; d=a.b; s=c\r\n" + chain,
                 "fail/collecting headers: arc-seal without a good i="),
                ("cv of the first", chain.replace(b"cv=none", b"cv=pass"), "fail/seal cv state"),
                ("cv fail", chain.replace(b"cv=pass", b"cv=fail"), "fail/i=2 (cv)"),
                ("h in seal", chain.replace(b"cv=none;", b"cv=none; h=from;"), "fail/required tag missing"),
                ("order", b"".join(reversed(fields)) + chain[len(b"".join(fields)):] if False else chain, "pass/"),
                ("sixty sets", b"".join(b"ARC-Seal: i=%d; cv=pass; a=rsa-sha256; b=AA==; d=a.b; s=c\r\n" % (i % 50 + 1)
                                        for i in range(200)) + MESSAGE, "fail/collecting headers: too many"),
                ("noise", b"ARC-Seal: hello\r\n" + MESSAGE, "fail/collecting headers: arc-seal without a good i=")):
            with self.subTest(name):
                found = ask(message)
                self.assertTrue(found[0].startswith(state), found)
        key = "arc._domainkey.hop3.football.test"
        del self.dns.zone[key]
        with server.client() as client:
            client.ehlo()
            client.envelope(sender="strict@client.test")
            client.data(chain.replace(b"lost", b"won "), 550, "broken")
        self.dns.zone["gone._domainkey.hop3.football.test"] = SERVFAIL
        later = chain.replace(b"s=arc", b"s=gone", 1)
        self.assertTrue(ask(later.replace(b" s=arc", b" s=gone"))[0].startswith("fail/pubkey dns lookup fail ("))
        with server.client() as client:
            client.ehlo()
            client.envelope(sender="wait@client.test")
            client.data(later, 451)

    def authres(self, wire, ident="mx.test"):
        import authres
        found = []
        for field in re.findall(rb"(?im)^Authentication-Results:(?:.*\r?\n(?:[ \t].*\r?\n)*)", wire):
            parsed = authres.AuthenticationResultsHeader.parse(re.sub(rb"\r?\n", b"", field).decode())
            if parsed.authserv_id == ident:
                found.append(parsed)
        return found

    def test_authresults(self):
        """python3-authres reads what ${authresults makes; forged fields go."""
        acls = self.ARC_ACL.replace("${authresults{mx.test}}", "${authresults{${if eq{$h_x-id:}{}{mx.test}{$h_x-id:}}}}")
        rcpt = harness.POLICY.replace("rcpt_acl:\n", "rcpt_acl:\n  warn control = authres_remove/mx.test\n")
        server = self.sluice(configuration("acl_smtp_data = data_acl\n", policy(acls, rcpt)))
        forged = (b"Authentication-Results: mx.test; dkim=pass header.d=bank.test\r\n"
                  b"Authentication-Results: (mx.test) \"MX.test\"; spf=pass\r\n"
                  b"Authentication-Results: =?; nonsense\r\nAuthentication-Results: other.test; dkim=pass\r\n")
        kept = self.result(server, forged + self.sign(b"ed")[:-len(MESSAGE)] + self.sign().replace(b"lost", b"won "), 1)
        fields = self.authres(kept)
        self.assertEqual(len(fields), 1, kept)
        self.assertTrue(kept.startswith(b"Authentication-Results: mx.test;\n\t"), kept)
        self.assertNotIn(b"bank.test", kept)
        self.assertNotIn(b"nonsense", kept)
        self.assertIn(b"other.test", kept)
        results = [r for r in fields[0].results if r.method == "dkim"]
        self.assertEqual([r.result for r in results], ["fail", "fail"])
        self.assertEqual([(p.type, p.name, p.value) for p in results[1].properties],
                         [("header", "d", "football.test"), ("header", "i", "@football.test"), ("header", "s", "rsa"),
                          ("header", "a", "rsa-sha256")])
        self.assertEqual([r.result for r in fields[0].results if r.method == "arc"], ["none"])
        self.assertEqual([(r.result, [(p.type, p.name, p.value) for p in r.properties]) for r in fields[0].results
                          if r.method == "spf"], [("pass", [("smtp", "mailfrom", "client.test")])])
        kept = self.result(server, b"X-Id: odd; \"name\"\r\n" + MESSAGE, 2)
        self.assertIn('Authentication-Results: "odd; \\"name\\"";', kept.decode())
        self.assertEqual(server.run("-be", "[${authresults{}}]").out.strip(), "[]")
        many = self.result(server, self.sign()[:-len(MESSAGE)] * 50 + self.chain(3), 3)
        self.assertLess(max(map(len, many.split(b"\n"))), 998)
        self.assertEqual([r.result for r in self.authres(many)[0].results if r.method == "arc"], ["pass"])

    def test_authresults_injection(self):
        """What a sender chooses (reverse-path, HELO, d=, From:) is a value in the field, and never another method of it."""
        acls = ("data_acl:\n  warn spf = pass\n  warn dmarc_status = accept\n  warn verify = arc/none:pass:fail\n"
                "  warn add_header = :at_start:${authresults{mx.test}}\n  accept\n")
        server = self.sluice(configuration("acl_smtp_data = data_acl\nhelo_allow_chars = ();=\nhelo_accept_junk_hosts = *\n", policy(acls)))
        evil = "x; dkim=pass header.d=bank.test; y=("
        for number, (helo, sender, message) in enumerate((
                ("h.test", f'"{evil}"@client.test', MESSAGE),
                ("h.test(;dkim=pass", "", MESSAGE),
                ("h.test", "s@client.test", b"DKIM-Signature: v=1; a=rsa-sha256; d=a.test(; s=x y; h=from; bh=AA==; b=AA==\r\n" + MESSAGE),
                ("h.test", "s@client.test", b"DKIM-Signature: v=1; a=x(dkim=pass; d=a.test; s=s; i=\")dkim=pass\"@a.test; h=from; bh=AA==; b=AA==\r\n" + MESSAGE),
                ("h.test", "s@client.test", MESSAGE.replace(b"joe@football.test", b'"a;dkim=pass"@(dmarc=pass)football.test'))), 1):
            with self.subTest(number):
                with server.client() as client:
                    client.expect(f"EHLO {helo}", 250)
                    client.message(message, sender=sender)
                kept = server.wait_mail(number)[-1]
                field = self.authres(kept)
                self.assertEqual(len(field), 1, kept)
                found = [(r.method, r.result) for r in field[0].results]
                self.assertNotIn(("dkim", "pass"), found)
                self.assertEqual(len(found), len({method for method, _ in found}), found)
                self.assertNotIn("bank.test", [p.value for r in field[0].results for p in r.properties])

    def test_authres_remove_anywhere(self):
        """What came with the message goes, whichever ACL says so; what ACLs have added stays (RFC 8601 section 5)."""
        forged = b"Authentication-Results: mx.test; dkim=pass header.d=bank.test\r\n"
        for where in ("rcpt", "dkim", "data"):
            def control(here):
                return "  warn control = authres_remove/mx.test\n" if where == here else ""
            rcpt = harness.POLICY.replace("rcpt_acl:\n", "rcpt_acl:\n  warn add_header = Authentication-Results: mx.test; x-rcpt=pass\n" + control("rcpt"))
            acls = ("dkim_acl:\n  warn add_header = Authentication-Results: mx.test; x-dkim=pass\n" + control("dkim") + "  accept\n"
                    "data_acl:\n" + control("data") + "  warn add_header = :at_start:${authresults{mx.test}}\n  accept\n")
            server = self.sluice(configuration("acl_smtp_data = data_acl\nacl_smtp_dkim = dkim_acl\n", policy(acls, rcpt)))
            with self.subTest(where):
                kept = self.result(server, forged + self.sign())
                self.assertNotIn(b"bank.test", kept)
                self.assertEqual(sorted(r.method for f in self.authres(kept) for r in f.results), ["dkim", "x-dkim", "x-rcpt"])

    def test_authresults_of_all_methods(self):
        """iprev, auth, spf, dkim, dmarc, arc in one field, twice the same bytes, as python3-authres and the variables say."""
        self.dns.zone["1.0.0.127.in-addr.arpa"] = [("PTR", "client.test")]
        self.dns.zone["client.test"] = [("A", "127.0.0.1"), ("TXT", "v=spf1 a -all")]
        self.dns.zone["_dmarc.football.test"] = [("TXT", "v=DMARC1; p=reject")]
        acls = ("data_acl:\n  warn spf = pass\n  warn dmarc_status = accept\n  warn verify = arc/none:pass:fail\n"
                "  warn set acl_m_field = ${authresults{mx.test}}\n"
                "       logwrite = same=${if eq{$acl_m_field}{${authresults{mx.test}}}{yes}{no}} spf=$spf_result dkim=$dkim_verify_status "
                "dmarc=$dmarc_status arc=$arc_state host=$sender_host_name auth=$authenticated_id\n"
                "       add_header = :at_start:$acl_m_field\n"
                "  warn logwrite = aar <$lh_ARC-Authentication-Results:>\n  accept\n")
        main = ("acl_smtp_data = data_acl\nhost_lookup = *\nlog_selector = +dkim\n")
        text = policy(acls) + ("\nbegin authenticators\nplain:\n  driver = plaintext\n  public_name = PLAIN\n"
                               "  server_condition = true\n  server_set_id = $auth2\n")
        server = self.sluice(configuration(main, text))
        for login in (False, True):
            with self.subTest(login=login):
                message = self.chain(2, self.sign())
                with server.client() as client:
                    client.ehlo()
                    if login:
                        client.expect("AUTH PLAIN " + base64.b64encode(b"\0joe\0secret").decode(), 235)
                    ident = re.search(r"id=(\S+)", client.message(message).text).group(1)
                log = server.wait_log(re.escape(ident) + " <= ")
                said = "\n".join(line for line in log.splitlines() if ident in line)
                self.assertIn("same=yes spf=pass dkim=pass dmarc=" + ("none" if login else "accept") + " arc=pass host=client.test auth=" +
                              ("joe" if login else ""), said)
                # One value for the log's tags, the field and the variables (DKIM=, ARC).
                self.assertRegex(said, " <= .* DKIM=football.test ARC")
                self.assertIn("i=2; hop2.football.test; arc=pass", said)
                field = self.authres(server.wait_mail(2 if login else 1)[-1])[0]
                found = {r.method: (r.result, {p.type + "." + p.name: p.value for p in r.properties}) for r in field.results}
                self.assertEqual(found["spf"], ("pass", {"smtp.mailfrom": "client.test"}))
                self.assertEqual(found["dkim"][0], "pass")
                self.assertEqual(found["dkim"][1]["header.d"], "football.test")
                self.assertEqual(found["arc"][0], "pass")
                self.assertEqual(found["iprev"][0], "pass")
                if login:
                    self.assertEqual(found["auth"][0], "pass")
                else:
                    self.assertEqual(found["dmarc"], ("pass", {"header.from": "football.test", "policy.dmarc": "reject"}))

    def test_authresults_of_any_methods(self):
        """All 64 ways of having run or met iprev, auth, SPF, DKIM, DMARC and ARC: the field has just those, and can be read."""
        self.dns.zone["1.0.0.127.in-addr.arpa"] = [("PTR", "client.test")]
        self.dns.zone["client.test"] = [("A", "127.0.0.1"), ("TXT", "v=spf1 a -all")]
        acls = ("data_acl:\n  warn condition = ${if match{$h_x-run:}{-spf}}\n       spf = pass\n"
                "  warn condition = ${if match{$h_x-run:}{-dmarc}}\n       dmarc_status = accept\n"
                "  warn condition = ${if match{$h_x-run:}{-arc}}\n       verify = arc/none:pass:fail\n"
                "  warn add_header = :at_start:${authresults{mx.test}}\n  accept\n")
        text = policy(acls) + ("\nbegin authenticators\nplain:\n  driver = plaintext\n  public_name = PLAIN\n"
                               "  server_condition = true\n  server_set_id = $auth2\n")
        main = "acl_smtp_data = data_acl\nhost_lookup = ! 127.0.0.3 : *\n"
        server = self.sluice(configuration(main, text))
        count = 0
        for named in (False, True):
            for login in (False, True):
                with server.client(source="127.0.0.1" if named else "127.0.0.3") as client:
                    client.ehlo()
                    if login:
                        client.expect("AUTH PLAIN " + base64.b64encode(b"\0joe\0secret").decode(), 235)
                    for chosen in range(16):
                        ran = {word for bit, word in enumerate(("spf", "dkim", "dmarc", "arc")) if chosen >> bit & 1}
                        client.message(b"X-Run: %s\r\n" % " ".join("-" + word for word in sorted(ran)).encode() + (self.sign() if "dkim" in ran else MESSAGE))
                        count += 1
                        kept = server.wait_mail(count)
                        newest = [m for m in kept if b"X-Run: %s\n" % " ".join("-" + word for word in sorted(ran)).encode() in m]
                        expected = ran | ({"iprev"} if named else set()) | ({"auth"} if login else set())
                        fields = [self.authres(m)[0] for m in newest]
                        self.assertTrue(any({r.method for r in f.results} == expected for f in fields), (expected, newest))
        all_fields = [self.authres(m)[0] for m in server.maildir()]
        self.assertEqual(len({tuple(sorted(r.method + r.result for r in f.results)) for f in all_fields}), 64)
        for field in all_fields:
            for result in field.results:
                self.assertIn(result.result, {"pass", "none", "fail"})

    def test_arc_odd_orders(self):
        """The fields of a chain in another order are the same chain; a megabyte of header ends; a key that cannot be had is told."""
        server = self.serve("acl_smtp_data = data_acl\ndns_retrans = 1s\ndns_retry = 1\nheader_maxsize = 2M\nheader_line_maxsize = 2M\n", self.ARC_ACL)
        chain = self.chain(3)
        fields = re.findall(rb"(?:ARC-[A-Za-z-]+|Authentication-Results):.*\r\n(?:[ \t].*\r\n)*", chain)
        rest = chain[len(b"".join(fields)):]
        for order in (list(reversed(fields)), fields[1::2] + fields[::2]):
            self.assertIn("arc=pass//", self.lines(server, b"".join(order) + rest))
        # Not behind the fields that are signed: beside them
        self.assertIn("arc=pass//", self.lines(server, b"X-Long: " + b"x" * 1000000 + b"\r\n" + chain))
        self.dns.zone["silent._domainkey.hop3.football.test"] = SILENT
        silent = re.sub(rb"(?s)^(ARC-Seal: i=3.*?) s=arc", rb"\1 s=silent", chain, count=1)
        self.assertIn("arc=fail/pubkey dns lookup fail (temporary)", self.lines(server, silent))

    def test_arc_sign_what_leaves(self):
        """All fields of our name go into the set; a manager in between that renames ours leaves it unsealed; behind a transport's filter
        the text is sealed that leaves."""
        self.dns.zone["rsa._domainkey.mx.test"] = [("TXT", f"p={self.rsa_public}")]
        key = os.path.join(self.folder, "rsa.pem")
        arc = f"  arc_sign = mx.test:rsa:{key}\n"
        acls = "data_acl:\n  warn add_header = :at_start:Authentication-Results: mx.test; spf=pass smtp.mailfrom=a.test\n  accept\n"
        server, sink = self.relay(arc, extra="acl_smtp_data = data_acl\n", acls=acls)
        wire = self.passed(server, sink, b"Authentication-Results: mx.test; dkim=pass header.d=a.test\r\n"
                                         b"Authentication-Results: other.test; dmarc=pass header.from=a.test\r\n" + MESSAGE)
        results = re.sub(rb"\s+", b" ", re.search(rb"ARC-Authentication-Results:.*\r\n(?:[ \t].*\r\n)*", wire).group())
        self.assertIn(b"spf=pass smtp.mailfrom=a.test", results)
        self.assertIn(b"dkim=pass header.d=a.test", results)
        self.assertNotIn(b"dmarc", results)
        self.assertEqual(dkim.arc_verify(wire, dnsfunc=self.lookup)[0], b"pass")
        renamed = acls.replace("Authentication-Results: mx.test", "X-Original-Authentication-Results: mx.test")
        server, sink = self.relay(arc, extra="acl_smtp_data = data_acl\n", acls=renamed)
        self.assertNotIn(b"ARC-", self.passed(server, sink, MESSAGE))
        server.wait_log("ARC: no Authentication-Results header for signing")
        server, sink = self.relay(arc + self.SIGN + "  transport_filter = /bin/sed s/game/match/\n", extra="acl_smtp_data = data_acl\n",
                                  acls=acls)
        wire = self.passed(server, sink, MESSAGE)
        self.assertIn(b"lost the match", wire)
        self.assertEqual(dkim.arc_verify(wire, dnsfunc=self.lookup)[0], b"pass")
        self.assertTrue(dkim.verify(wire, dnsfunc=self.lookup))
        self.assertLess(wire.index(b"ARC-Seal:"), wire.index(b"DKIM-Signature:"))

    def test_eai(self):
        """RFC 8616: U-labels in MAIL FROM, From:, d= and Authentication-Results; the DNS is asked for A-labels."""
        self.dns.zone["xn--bcher-kva.test"] = [("TXT", "v=spf1 ip4:192.0.2.1 -all")]
        self.dns.zone["rsa._domainkey.xn--bcher-kva.test"] = [("TXT", f"p={self.rsa_public}")]
        self.dns.zone["_dmarc.xn--bcher-kva.test"] = [("TXT", "v=DMARC1; p=reject")]
        acls = ("data_acl:\n  warn spf = pass\n  warn dmarc_status = accept\n  warn verify = arc\n"
                "  warn add_header = :at_start:${authresults{xn--bcher-kva.test}}\n"
                "       logwrite = spf=$spf_result/$spf_used_domain dkim=$dkim_verify_status dmarc=$dmarc_status/$dmarc_used_domain\n  accept\n")
        main = "smtputf8_advertise_hosts = *\nacl_smtp_data = data_acl\n"
        server, sink = self.relay(self.SIGN.replace("dkim_domain = football.test", "dkim_domain = b\u00fccher.test")
                                  + "  arc_sign = xn--bcher-kva.test:rsa:KEYFILE\n",
                                  ("PIPELINING", "8BITMIME", "SMTPUTF8"), main, acls)
        message = "From: J\u00fcrgen <j\u00fcrgen@b\u00fccher.test>\r\nSubject: gr\u00fc\u00dfe\r\n\r\nh\u00e4llo\r\n".encode()

        def passed(text):
            before = len(sink.messages)
            with server.client() as client:
                client.ehlo()
                client.expect("MAIL FROM:<j\u00fcrgen@b\u00fccher.test> SMTPUTF8 BODY=8BITMIME", 250)
                client.expect("RCPT TO:<\u00fc@elsewhere.test>", 250)
                client.data(text)
            return sink.wait(before + 1)[-1][2]
        first = passed(message)
        self.assertRegex(first, "(?s)d=(b\u00fccher|xn--bcher-kva)\\.test;".encode())
        passed(first)
        name = r"(b\\303\\274cher|xn--bcher-kva)\.test"
        log = server.log()
        self.assertRegex(log, f"spf=pass/{name} dkim= dmarc=accept/{name}")
        self.assertRegex(log, f"spf=pass/{name} dkim=pass dmarc=accept/{name}")
        self.assertNotIn("ARC: no", log)
        field = re.search(rb"(?ms)^Authentication-Results: .*?(?=\r\n[^ \t])", sink.messages[-1][2]).group().decode()
        self.assertRegex(field, "dkim=pass header.d=(b\u00fccher|xn--bcher-kva)\\.test")
        self.assertRegex(field, r"dmarc=pass header.from=\S+\.test")
        self.assertEqual(dkim.arc_verify(sink.messages[-1][2], dnsfunc=self.lookup)[0], b"pass")
        self.assertIn("rsa._domainkey.xn--bcher-kva.test", [name for name, _ in self.dns.asked])
        for text, result in (("j\u00fcrgen@b\u00fccher.test", "pass"), ("x@xn--bcher-kva.test", "pass")):
            self.assertEqual(server.run("-be", "${lookup{%s}spf{192.0.2.1}}" % text).out.strip(), result)
        self.assertEqual(server.run("-be", "${lookup{x@b\u00fccher.test}spf{192.0.2.2}}").out.strip(), "fail")

    def test_arc_sign(self):
        """Sets made here, for new chains and for those of others: dkimpy and we ourselves find them whole."""
        self.dns.zone["rsa._domainkey.mx.test"] = [("TXT", f"p={self.rsa_public}")]
        self.dns.zone["ed._domainkey.mx.test"] = [("TXT", f"k=ed25519; p={self.ed_public}")]
        key = os.path.join(self.folder, "rsa.pem")
        sink = self.sink()

        def serve(arc, extra=""):
            text = policy(self.ARC_ACL).replace("  driver = smtp\n", f"  driver = smtp\n  arc_sign = {arc}\n{extra}")
            return self.sluice(configuration("acl_smtp_data = data_acl\n", text), macros={"SINKPORT": str(sink.port)})

        def kinds(wire):
            return re.findall(rb"(?m)^(ARC-[A-Za-z-]+|DKIM-Signature): ", wire)
        server = serve(f"mx.test:rsa:{key}:timestamps,expire=+3600", self.SIGN.replace("KEYFILE", key))
        for count in (0, 1, 2):
            wire = self.passed(server, sink, self.chain(count) if count else MESSAGE)
            self.assertEqual(kinds(wire)[:4], [b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results",
                                               b"DKIM-Signature"])
            cv, results, why = dkim.arc_verify(wire, dnsfunc=self.lookup)
            self.assertEqual(cv, b"pass", (why, results, wire))
            self.assertEqual(len(results), count + 1)
            self.assertTrue(dkim.verify(wire, dnsfunc=self.lookup))
            flat = re.sub(rb"\r\n[ \t]+", b" ", wire)
            self.assertIn(b"cv=pass" if count else b"cv=none", flat.split(b"\r\n")[0])
            t, x = re.search(rb"ARC-Message-Signature:.* t=(\d+); x=(\d+);", flat).groups()
            self.assertEqual(int(x) - int(t), 3600)
            self.assertIn(b"ARC-Authentication-Results: i=%d; mx.test; " % (count + 1), flat)
            own = self.lines(server, wire)
            self.assertIn("arc=pass//", own)
        # A chain that was broken on the way here: the new seal says so, and covers itself only.
        wire = self.passed(server, sink, self.chain(1).replace(b"lost", b"won "))
        self.assertRegex(re.sub(rb"\r\n[ \t]+", b" ", wire), rb"^ARC-Seal: i=2; a=rsa-sha256; cv=fail;")
        server = serve(f"mx.test:ed:{self.folder}/ed.key")
        wire = self.passed(server, sink, MESSAGE)
        self.assertIn("arc=pass//mx.test/1", self.lines(server, wire))
        for name, arc, pattern in (("other id", f"other.test:rsa:{key}", "ARC: no Authentication-Results header for signing"),
                                   ("selector", f"mx.test: :{key}", "bad signing-specification \\(selector\\)"),
                                   ("admd", f"mx_test:rsa:{key}", "bad signing-specification \\(admd\\)"),
                                   ("key", "mx.test:rsa:/nonexistent", "bad signing-specification \\(privkey\\)"),
                                   ("word", f"mx.test:rsa:{key}:what", "bad signing-specification \\(options\\)")):
            with self.subTest(name):
                server = serve(arc)
                self.assertEqual(kinds(self.passed(server, sink, MESSAGE)), [])
                server.wait_log(pattern)


del DkimBase

if __name__ == "__main__":
    unittest.main()
