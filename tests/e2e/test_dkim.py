"""DKIM with the real binary: signatures that dkimpy makes, keys from a name server of our own, what policy and log see."""
import base64
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import harness
from harness import SluiceTest, configuration
from nameserver import SERVFAIL, SILENT, SystemNameserver

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
    if base64.b64encode(private[-32:]).startswith(b"/"):
        return ed25519_key()  # a file's name, to Exim
    return base64.b64encode(private[-32:]), base64.b64encode(public[-32:]).decode(), pem


MESSAGE = (b"From: Joe <joe@football.test>\r\nTo: alice@test\r\nSubject: Is dinner  ready?\r\n"
           b"Date: Fri, 11 Jul 2003 21:00:37 -0700\r\nMessage-ID: <1@football.test>\r\n\r\n"
           b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n\r\n\r\n")


class DkimBase(SluiceTest):
    """Keys in a name server of our own, which the server is made to ask, and messages signed with them."""

    @classmethod
    def setUpClass(cls):
        cls.dns = SystemNameserver()
        if not cls.dns.usable:
            raise unittest.SkipTest("needs root, and mount namespaces")
        cls.program = harness.SLUICE
        harness.SLUICE = cls.dns.wrap(os.path.abspath(cls.program))
        cls.rsa, cls.rsa_public = rsa_key(1024)  # a longer one costs the tests tenths of seconds, and shows no more
        cls.ed, cls.ed_public, cls.ed_pem = ed25519_key()
        cls.short, cls.short_public = rsa_key(768)
        cls.dns.zone.update({
            "rsa._domainkey.football.test": [("TXT", f"v=DKIM1; k=rsa; p={cls.rsa_public}")],
            "ed._domainkey.football.test": [("TXT", f"v=DKIM1; k=ed25519; p={cls.ed_public}")],
            "testing._domainkey.football.test": [("TXT", f"v=DKIM1; t=y:s; n=hello=20there; p={cls.rsa_public}")],
            "short._domainkey.football.test": [("TXT", f"v=DKIM1; p={cls.short_public}")],
            "revoked._domainkey.football.test": [("TXT", "v=DKIM1; p=")],
            "broken._domainkey.football.test": [("TXT", "v=DKIM1; p=MIIB")],
            "sms._domainkey.football.test": [("TXT", f"v=DKIM1; s=sms; p={cls.rsa_public}")],
            "sha1._domainkey.football.test": [("TXT", f"v=DKIM1; h=sha1; p={cls.rsa_public}")],
            "noise._domainkey.football.test": [("TXT", "hello world")],
            "servfail._domainkey.football.test": SERVFAIL,
            "silent._domainkey.football.test": SILENT,
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

    def verifier(self, name):
        rows = self.dns.zone.get(name.decode().rstrip("."))
        return rows[0][1].encode() if rows else b""

    def relay(self, options, extensions=("PIPELINING", "8BITMIME", "CHUNKING"), extra="", acls=""):
        """(server, sink): what goes to elsewhere.test is signed."""
        sink = self.sink(extensions=extensions)
        key = os.path.join(self.folder, "rsa.pem")
        text = policy(acls).replace("  driver = smtp\n", "  driver = smtp\n" + options.replace("KEYFILE", key))
        server = self.sluice(configuration(extra, text), macros={"SINKPORT": str(sink.port)})
        return server, sink

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="sluice-keys-")
        os.chmod(self.folder, 0o755)
        self.addCleanup(shutil.rmtree, self.folder)
        for name, text in (("rsa.pem", self.rsa), ("ed.key", self.ed), ("bad.pem", b"no key")):
            with open(os.path.join(self.folder, name), "wb") as f:
                f.write(text)
            os.chmod(os.path.join(self.folder, name), 0o644)

    def passed(self, server, sink, message, count=1, recipient="x@elsewhere.test"):
        """The message as it arrived at the sink."""
        before = len(sink.messages)
        with server.client() as client:
            client.ehlo()
            client.message(message, rcpts=[recipient])
        return sink.wait(before + count)[-1][2]

    SIGN = """  dkim_domain = football.test
  dkim_selector = rsa
  dkim_private_key = KEYFILE
"""

    def signatures(self, wire):
        found = re.findall(rb"(?im)^DKIM-Signature:(?:.*\r\n(?:[ \t].*\r\n)*)", wire)
        return [re.sub(rb"\s+", b" ", f) for f in found]

    ORACLE = """
exim_path = ORACLE
primary_hostname = exim.test
spool_directory = FOLDER
log_file_path = FOLDER/log-%s
log_selector = +dkim_verbose
keep_environment =
tls_advertise_hosts =
acl_smtp_rcpt = accept
begin routers
all:
  driver = manualroute
  transport = out
  route_list = * 127.0.0.1
  self = send
begin transports
out:
  driver = smtp
  port = SINKPORT
  allow_localhost
  hosts_try_fastopen = :
OPTIONS
"""

    def lookup(self, name, timeout=5):
        return self.verifier(name)


@unittest.skipUnless(dkim, "python3-dkim is not here")
class DkimTest(DkimBase):
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
                ("body, and no record", self.sign(b"none").replace(b"lost", b"won "), "fail", "body hash mismatch"),
                ("nothing", MESSAGE, " signers=", None),  # as Exim: nothing at all, which is dkim_status = none
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


    def test_sign(self):
        """What is signed here verifies with dkimpy, as it arrived: all forms, DATA and BDAT, odd bodies."""
        bodies = {"usual": MESSAGE, "empty": MESSAGE[:MESSAGE.index(b"\r\n\r\n") + 4],
                  "8bit": MESSAGE + "Gr\u00fc\u00dfe \t \r\n".encode(),
                  "dots": MESSAGE + b"..two\r\n...three\r\n", "long": MESSAGE + b"x" * 900 + b"\r\n",
                  "large": MESSAGE + b"line  of text\t \r\n" * 80000}
        # The recipient says which form it is to be: one daemon for all of them.
        options = self.SIGN + "  dkim_canon = ${if eq{$local_part}{usual}{}{${sg{$local_part}{_}{/}}}}\n"
        for extensions in ((), ("PIPELINING", "CHUNKING")):
            server, sink = self.relay(options, extensions)
            for canon in ("", "relaxed", "simple", "relaxed/simple", "simple/relaxed"):
                if extensions and canon not in ("", "simple"):
                    continue
                for name, message in bodies.items():
                    if name == "large" and canon != "simple":
                        continue
                    with self.subTest(canon=canon, extensions=extensions, body=name):
                        if name == "dots":
                            message = message.replace(b"\r\n.", b"\r\n..")
                        wire = self.passed(server, sink, message, recipient=(canon.replace("/", "_") or "usual") + "@elsewhere.test")
                        self.assertEqual(len(self.signatures(wire)), 1, wire[:1000])
                        expected = canon if "/" in canon else f"{canon or 'relaxed'}/{canon or 'relaxed'}"
                        self.assertIn(f" c={expected};".encode(), self.signatures(wire)[0])
                        self.assertTrue(dkim.verify(wire, dnsfunc=lambda n, timeout=5: self.verifier(n)), wire[:2000])
                        self.assertTrue(wire.startswith(b"DKIM-Signature:"))
                        self.assertLessEqual(max(map(len, wire.split(b"\r\n\r\n")[0].split(b"\r\n"))), 78)

    def test_sign_local(self):
        """What a program of this host hands in: bare line feeds, 8-bit text, dots, white space at the end, no final line end."""
        server, sink = self.relay(self.SIGN)
        for name, body in (("usual", b"hi\n"), ("no line end", b"hi"), ("8bit", "Gr\u00fc\u00dfe \t".encode()), ("none", b""), ("empty lines", b"\n\nx\n\n\n"),
                           ("spaces", b"x \t \n\t\n"), ("dots", b".\n..x\n.y"), ("mixed", b"a\r\nb\nc\r\n")):
            with self.subTest(name):
                before = len(sink.messages)
                server.run("-oi", "-f", "a@football.test", "x@elsewhere.test", stdin=b"From: a@football.test\nTo: x@elsewhere.test\nSubject: x\n\n" + body, check=0)
                wire = sink.wait(before + 1)[-1][2]
                self.assertEqual(len(self.signatures(wire)), 1, wire)
                self.assertNotRegex(wire, rb"[^\r]\n|\r[^\n]")
                self.assertTrue(dkim.verify(wire, dnsfunc=lambda n, timeout=5: self.verifier(n)), wire)

    def test_sign_several(self):
        """Two domains, two keys each; the options see the domain and the selector; identity, times, names."""
        options = f"""  dkim_domain = Football.TEST : football.test : other.football.test
  dkim_selector = ${{if eq{{$dkim_domain}}{{football.test}}{{rsa:ed}}{{rsa}}}}
  dkim_private_key = ${{if eq{{$dkim_selector}}{{ed}}{{{self.folder}/ed.key}}{{{self.folder}/rsa.pem}}}}
  dkim_identity = @$dkim_domain
  dkim_timestamps = 3600
  dkim_sign_headers = From:+Subject:=Received:X-None
"""
        self.dns.zone["rsa._domainkey.other.football.test"] = [("TXT", f"p={self.rsa_public}")]
        server, sink = self.relay(options)
        wire = self.passed(server, sink, b"Received: by x\r\n" + MESSAGE)
        found = self.signatures(wire)
        self.assertEqual([re.search(rb" a=(\S+);.* d=(\S+); s=(\S+);", f).groups() for f in found],
                         [(b"rsa-sha256", b"football.test", b"rsa"), (b"ed25519-sha256", b"football.test", b"ed"),
                          (b"rsa-sha256", b"other.football.test", b"rsa")])
        for number, text in enumerate(found):
            # As Exim: what is there, from the bottom up, then what is not.
            self.assertRegex(text, rb" h= ?Subject:From:Received:Received:Subject: ?X-None; bh=[^;]*; i=[^;]*; t=\d+; x=\d+; b=")
            self.assertRegex(text, rb" i=@(other\.)?football\.test;")
            times = re.search(rb" t=(\d+); x=(\d+);", text)
            self.assertEqual(int(times.group(2)) - int(times.group(1)), 3600)
            verifier = dkim.DKIM(wire)
            self.assertTrue(verifier.verify(number, dnsfunc=lambda n, timeout=5: self.verifier(n)), text)
        # An added field of a name that was signed once too often is noticed.
        self.assertFalse(dkim.DKIM(b"Subject: x\r\n" + wire).verify(0, dnsfunc=lambda n, timeout=5: self.verifier(n)))

    def test_sign_what_leaves(self):
        """Fields that the transport adds, removes and rewrites, and its filter: what arrives verifies."""
        options = self.SIGN + """  headers_add = X-Added: yes
  headers_remove = Date
  return_path_add
"""
        server, sink = self.relay(options)
        wire = self.passed(server, sink, MESSAGE)
        self.assertIn(b"X-Added: yes", wire)
        self.assertNotIn(b"\nDate:", wire)
        self.assertTrue(dkim.verify(wire, dnsfunc=lambda n, timeout=5: self.verifier(n)))
        server, sink = self.relay(self.SIGN + "  transport_filter = /bin/sed s/game/match/\n")
        wire = self.passed(server, sink, MESSAGE)
        self.assertIn(b"lost the match", wire)
        self.assertTrue(dkim.verify(wire, dnsfunc=lambda n, timeout=5: self.verifier(n)))

    def test_sign_failures(self):
        """No key, no signature: sent without, and told; with dkim_strict it waits. Options that say no are no failure. An inline key
        that begins with a slash is one unless there is a file of that name."""
        seed = b"\xff" * 32
        slash = base64.b64encode(seed).decode()
        public = subprocess.run(["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"], check=True, capture_output=True,
                                input=bytes.fromhex("302e020100300506032b657004220420") + seed).stdout[-32:]
        self.dns.zone["slash._domainkey.football.test"] = [("TXT", f"v=DKIM1; k=ed25519; p={base64.b64encode(public).decode()}")]
        named = self.folder + "/" + "k" * (42 - len(self.folder)) + "="
        self.assertEqual(len(named), 44)
        os.symlink("ed.key", named)
        for name, options, signed, logged in (
                ("unset key", "  dkim_domain = football.test\n  dkim_selector = rsa\n", False, None),
                ("false key", self.SIGN.replace("KEYFILE", "false"), False, None),
                ("empty domain", self.SIGN.replace("football.test", "${if eq{1}{2}{x}}") + "  dkim_strict = 1\n", False, None),
                ("missing", self.SIGN.replace("KEYFILE", "/nonexistent/key"), False, "signing failed"),
                ("bad", self.SIGN.replace("KEYFILE", self.folder + "/bad.pem"), False, "signing failed"),
                ("expansion", self.SIGN.replace("KEYFILE", "${extract{"), False, "signing failed"),
                ("sha1", self.SIGN + "  dkim_hash = sha1\n", False, "is not to be used"),
                ("inline", self.SIGN.replace("KEYFILE", "${readfile{KEYFILE}}"), True, None),
                ("inline ed25519", self.SIGN.replace("KEYFILE", self.ed.decode()).replace("= rsa", "= ed"), True, None),
                ("inline, with a slash", self.SIGN.replace("KEYFILE", slash).replace("= rsa", "= slash"), True, None),
                ("a file of that name", self.SIGN.replace("KEYFILE", named).replace("= rsa", "= ed"), True, None),
                ("no key with a slash", self.SIGN.replace("KEYFILE", slash[:-2] + "="), False, "signing failed")):
            with self.subTest(name):
                server, sink = self.relay(options)
                wire = self.passed(server, sink, MESSAGE)
                self.assertEqual(len(self.signatures(wire)), int(signed))
                if signed:
                    self.assertTrue(dkim.verify(wire, dnsfunc=lambda n, timeout=5: self.verifier(n)))
                if logged:
                    server.wait_log(logged, "panic")
        server, sink = self.relay(self.SIGN.replace("KEYFILE", "/nonexistent/key") + "  dkim_strict = true\n")
        with server.client() as client:
            client.ehlo()
            client.message(MESSAGE, rcpts=["x@elsewhere.test"])
        server.wait_log("== x@elsewhere.test .*dkim_strict is set")
        self.assertEqual(sink.messages, [])

    def test_sign_from_disk(self):
        """A message that was queued, and read back from the spool by another process, is signed as well as one in memory."""
        server, sink = self.relay(self.SIGN, extra="queue_only\n")
        message = MESSAGE + b"line  of text\t \r\n" * 60000
        with server.client() as client:
            client.ehlo()
            client.message(message, rcpts=["x@elsewhere.test"])
        server.wait_log(" <= ")
        server.stop()
        server.start()
        server.run("-qf", check=0)
        wire = sink.wait(1)[-1][2]
        self.assertTrue(dkim.verify(wire, dnsfunc=self.lookup))

    @unittest.skipUnless(os.environ.get("SLUICE_ORACLE") and os.getuid() == 0, "needs Exim and root")
    def test_exim(self):
        """Exim verifies what is signed here, and we what Exim signs: header and body forms, both algorithms, its lists of names."""
        oracle = os.environ["SLUICE_ORACLE"]
        run = self.dns.wrap(os.path.abspath(oracle))
        exim_sink = self.sink()
        receiver = self.serve()
        for options in (self.SIGN, self.SIGN + "  dkim_canon = simple\n", self.SIGN + "  dkim_timestamps = 1000\n",
                        self.SIGN + "  dkim_sign_headers = +From:=Received:Subject:X-None\n",
                        self.SIGN.replace("= rsa", "= ed").replace("KEYFILE", self.folder + "/ed.pem"),
                        self.SIGN + "  dkim_identity = @football.test\n"):
            with self.subTest(options):
                with open(os.path.join(self.folder, "ed.pem"), "wb") as f:
                    f.write(self.ed_pem)
                os.chmod(os.path.join(self.folder, "ed.pem"), 0o644)
                server, sink = self.relay(options)
                wire = self.passed(server, sink, b"Received: by x\r\nReceived: by y\r\n" + MESSAGE)
                folder = tempfile.mkdtemp(prefix="sluice-exim-")
                self.addCleanup(shutil.rmtree, folder, True)
                os.chmod(folder, 0o777)
                config = os.path.join(folder, "config")
                key = os.path.join(self.folder, "rsa.pem")
                with open(config, "w") as f:
                    f.write(self.ORACLE.replace("ORACLE", oracle).replace("FOLDER", folder)
                            .replace("SINKPORT", str(exim_sink.port)).replace("OPTIONS", options.replace("KEYFILE", key)))
                before = len(exim_sink.messages)
                stuffed = re.sub(rb"(?m)^\.", b"..", wire)
                subprocess.run([run, "-C", config, "-bs", "-odf", "-oMa", "127.0.0.1"], capture_output=True, timeout=60,
                               input=b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n" + stuffed +
                               b".\r\nQUIT\r\n")
                with open(os.path.join(folder, "log-main")) as f:
                    log = f.read()
                self.assertIn("[verification succeeded]", log)
                theirs = exim_sink.wait(before + 1)[-1][2]
                self.assertEqual(len(self.signatures(theirs)), 2)
                # The same tags and names in the same order, but for the Received field that Exim has added, and what is never the same.
                first, second = (re.sub(rb"(Received:)+", rb"\1", re.sub(rb" |(?<=\b[btx]=)[^;]*", b"", s).strip(b";")) for s in self.signatures(theirs))
                self.assertEqual(first, second)
                self.assertIn("status=pass:pass", self.lines(receiver, theirs))

    def test_key_file_changes(self):
        """A key file is read again once it has changed."""
        path = os.path.join(self.folder, "rsa.pem")
        server, sink = self.relay(self.SIGN)
        self.assertTrue(dkim.verify(self.passed(server, sink, MESSAGE), dnsfunc=lambda n, timeout=5: self.verifier(n)))
        other, public = rsa_key(1024)
        with open(path + ".new", "wb") as f:
            f.write(other)
        os.chmod(path + ".new", 0o644)
        os.rename(path + ".new", path)
        self.dns.zone["rsa2._domainkey.football.test"] = [("TXT", f"p={public}")]

        def verifies():
            wire = self.passed(server, sink, MESSAGE)
            return dkim.verify(wire, dnsfunc=lambda n, timeout=5: f"p={public}".encode())
        harness.until(verifies, "the new key to be used")

    def test_acl(self):
        """Once for each signer, with the variables of its signature; what it sets is what counts from then on."""
        acls = """
dkim_acl:
  warn    logwrite = signer=$dkim_cur_signer status=$dkim_verify_status/$dkim_verify_reason d=$dkim_domain s=$dkim_selector \\
                     a=$dkim_algo c=$dkim_canon_headers/$dkim_canon_body i=$dkim_identity l=$dkim_bodylength k=$dkim_key_length \\
                     h=$dkim_headernames t=$dkim_key_testing s=$dkim_key_nosubdomains n=$dkim_key_notes x=$dkim_expires
  warn    dkim_signers = other.test
          dkim_status = none
          logwrite = nothing of $dkim_cur_signer
  warn    condition = ${if eq{$dkim_selector}{testing}}
          set dkim_verify_status = fail
          set dkim_verify_reason = not from here
  deny    condition = ${if eq{$dkim_selector}{ed}}
          message = no curves
  accept
""" + DATA_ACL + "  # with a warn behind it\n"
        acls = acls.replace("data_acl:\n", "data_acl:\n  warn logwrite = ar=${authresults{mx.test}}\n"
                            "       logwrite = then=$dkim_cur_signer/$dkim_domain/$dkim_selector/$dkim_verify_reason/$dkim_key_length\n")
        main = POLICY_DATA + "acl_smtp_dkim = dkim_acl\ndkim_verify_signers = other.test:$dkim_signers:football.test\n"
        server = self.serve(main, acls)
        lines = self.lines(server, self.sign(b"testing"))
        self.assertIn("signer=other.test status=none/ d= s= a= c=/ i= l=9999999999999 k=0 h= t=0 s=0 n= x=9999999999999", lines)
        self.assertIn("nothing of other.test", lines)
        self.assertRegex(lines, r"signer=football\.test status=pass/ d=football\.test s=testing a=rsa-sha256 c=relaxed/simple "
                                r"i=@football\.test l=9999999999999 k=1024 h=\S*:?from:?\S* t=1 s=1 n=hello there x=9999999999999")
        self.assertIn("signer=@football.test status=fail/not from here", lines)
        self.assertEqual(lines.count("signer="), 3, lines)
        self.assertIn("then=@football.test/football.test/testing/not from here/1024", lines)  # of the last round, as in Exim
        self.assertIn("status=none:fail:fail signers=", lines)
        self.assertIn("dkim=policy (not from here; key is in testing mode) header.d=football.test", lines)
        self.assertNotIn(" DKIM=", lines)
        with server.client() as client:
            client.ehlo()
            client.envelope()
            client.data(self.sign(b"ed"), 550, "no curves")

    def test_disabled_and_many(self):
        """control = dkim_disable_verify: not looked at. Five hundred signatures: twenty are, and the log tells."""
        rcpt = harness.POLICY.replace("rcpt_acl:\n", "rcpt_acl:\n  warn senders = off@client.test\n"
                                      "       control = dkim_disable_verify\n")
        server = self.sluice(configuration(POLICY_DATA, policy(base=rcpt)))
        with server.client() as client:
            client.ehlo()
            client.message(self.sign(), sender="off@client.test")
        log = server.wait_log("<= off@client")
        self.assertNotIn("DKIM", log)
        self.assertIn("status= signers=", log)
        signature = self.sign()[:-len(MESSAGE)]
        lines = self.lines(server, signature * 500 + MESSAGE)
        self.assertEqual(lines.count("[verification succeeded]"), 20)
        self.assertIn("480 more signatures were not looked at", lines)

    def test_minimal(self):
        server = self.serve(POLICY_DATA + "dkim_verify_minimal\n")
        lines = self.lines(server, self.sign()[:-len(MESSAGE)] + self.sign(b"ed"))
        self.assertEqual(lines.count("[verification succeeded]"), 1)
        self.assertIn("status=pass:none", lines)

    def test_chunks(self):
        """BDAT in pieces of every size."""
        server = self.serve()
        message = self.sign(canonicalize=(b"relaxed", b"relaxed"))
        for size in (1, 7, 100, len(message)):
            with server.client() as client:
                client.ehlo()
                client.envelope()
                for at in range(0, len(message), size):
                    part = message[at:at + size]
                    last = b" LAST" if at + size >= len(message) else b""
                    client.send(b"BDAT %d%s\r\n" % (len(part), last) + part)
                    client.wait(250)
        self.assertEqual(server.wait_log(" <= s@", count=4).count("status=pass"), 4)

    def test_sign_large(self):
        """SLUICE_LARGE=50 is fifty megabytes; the default keeps the run short."""
        megabytes = int(os.environ.get("SLUICE_LARGE", "6"))
        server, sink = self.relay(self.SIGN, extra="message_size_limit = 100M\n")
        wire = self.passed(server, sink, MESSAGE + b"line  of text\t with an \xe4 in it\r\n" * (34_000 * megabytes))
        self.assertGreater(len(wire), megabytes << 20)
        self.assertTrue(dkim.verify(wire, dnsfunc=self.lookup))


del SluiceTest

if __name__ == "__main__":
    unittest.main()
