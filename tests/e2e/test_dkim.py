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
    return base64.b64encode(private[-32:]), base64.b64encode(public[-32:]).decode(), pem


MESSAGE = (b"From: Joe <joe@football.test>\r\nTo: alice@test\r\nSubject: Is dinner  ready?\r\n"
           b"Date: Fri, 11 Jul 2003 21:00:37 -0700\r\nMessage-ID: <1@football.test>\r\n\r\n"
           b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n\r\n\r\n")


@unittest.skipUnless(dkim, "python3-dkim is not here")
class DkimTest(SluiceTest):
    @classmethod
    def setUpClass(cls):
        cls.dns = SystemNameserver()
        if not cls.dns.usable:
            raise unittest.SkipTest("needs root, and mount namespaces")
        cls.program = harness.SLUICE
        harness.SLUICE = cls.dns.wrap(os.path.abspath(cls.program))
        cls.rsa, cls.rsa_public = rsa_key()
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
                ("nothing", MESSAGE, "none", None),
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


    # ---- signing ---------------------------------------------------------------------------------------------------

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

    def passed(self, server, sink, message, count=1):
        """The message as it arrived at the sink."""
        before = len(sink.messages)
        with server.client() as client:
            client.ehlo()
            client.message(message, rcpts=["x@elsewhere.test"])
        return sink.wait(before + count)[-1][2]

    SIGN = """  dkim_domain = football.test
  dkim_selector = rsa
  dkim_private_key = KEYFILE
"""

    def signatures(self, wire):
        found = re.findall(rb"(?im)^DKIM-Signature:(?:.*\r\n(?:[ \t].*\r\n)*)", wire)
        return [re.sub(rb"\s+", b" ", f) for f in found]

    def test_sign(self):
        """What is signed here verifies with dkimpy, as it arrived: all forms, DATA and BDAT, odd bodies."""
        bodies = {"usual": MESSAGE, "empty": MESSAGE[:MESSAGE.index(b"\r\n\r\n") + 4],
                  "8bit": MESSAGE + "Gr\u00fc\u00dfe \t \r\n".encode(),
                  "dots": MESSAGE + b"..two\r\n...three\r\n", "long": MESSAGE + b"x" * 900 + b"\r\n",
                  "large": MESSAGE + b"line  of text\t \r\n" * 80000}
        for canon in ("", "relaxed", "simple", "relaxed/simple", "simple/relaxed"):
            options = self.SIGN + (f"  dkim_canon = {canon}\n" if canon else "")
            for extensions in ((), ("PIPELINING", "CHUNKING")) if canon in ("", "simple") else ((),):
                server, sink = self.relay(options, extensions)
                for name, message in bodies.items():
                    if name == "large" and canon != "simple":
                        continue
                    with self.subTest(canon=canon, extensions=extensions, body=name):
                        if name == "dots":
                            message = message.replace(b"\r\n.", b"\r\n..")
                        wire = self.passed(server, sink, message)
                        self.assertEqual(len(self.signatures(wire)), 1, wire[:1000])
                        expected = canon if "/" in canon else f"{canon or 'relaxed'}/{canon or 'relaxed'}"
                        self.assertIn(f" c={expected};".encode(), self.signatures(wire)[0])
                        self.assertTrue(dkim.verify(wire, dnsfunc=lambda n, timeout=5: self.verifier(n)), wire[:2000])
                        self.assertTrue(wire.startswith(b"DKIM-Signature:"))
                        self.assertLessEqual(max(map(len, wire.split(b"\r\n\r\n")[0].split(b"\r\n"))), 78)

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
            self.assertRegex(text, rb" h= ?From:Subject:Subject:Received:Received:X-None;")
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
        """No key, no signature: sent without, and told; with dkim_strict it waits. Options that say no are no failure."""
        for name, options, signed, logged in (
                ("unset key", "  dkim_domain = football.test\n  dkim_selector = rsa\n", False, None),
                ("false key", self.SIGN.replace("KEYFILE", "false"), False, None),
                ("empty domain", self.SIGN.replace("football.test", "${if eq{1}{2}{x}}") + "  dkim_strict = 1\n", False, None),
                ("missing", self.SIGN.replace("KEYFILE", "/nonexistent/key"), False, "signing failed"),
                ("bad", self.SIGN.replace("KEYFILE", self.folder + "/bad.pem"), False, "signing failed"),
                ("expansion", self.SIGN.replace("KEYFILE", "${extract{"), False, "signing failed"),
                ("sha1", self.SIGN + "  dkim_hash = sha1\n", False, "is not to be used"),
                ("inline", self.SIGN.replace("KEYFILE", "${readfile{KEYFILE}}"), True, None),
                ("inline ed25519", self.SIGN.replace("KEYFILE", self.ed.decode()).replace("= rsa", "= ed"), True, None)):
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

    # ---- Exim ------------------------------------------------------------------------------------------------------

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
                self.assertIn("status=pass:pass", self.lines(receiver, theirs))

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
            wire = self.passed(server, sink, message)
            return re.findall(r" arc=(\S*)", server.log())[-1], wire
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

    # ---- the DKIM ACL ------------------------------------------------------------------------------------------------

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
        acls = acls.replace("data_acl:\n", "data_acl:\n  warn logwrite = ar=${authresults{mx.test}}\n")
        main = POLICY_DATA + "acl_smtp_dkim = dkim_acl\ndkim_verify_signers = other.test:$dkim_signers:football.test\n"
        server = self.serve(main, acls)
        lines = self.lines(server, self.sign(b"testing"))
        self.assertIn("signer=other.test status=none/ d= s= a= c=/ i= l=9999999999999 k=0 h= t=0 s=0 n= x=9999999999999", lines)
        self.assertIn("nothing of other.test", lines)
        self.assertRegex(lines, r"signer=football\.test status=pass/ d=football\.test s=testing a=rsa-sha256 c=relaxed/simple "
                                r"i=@football\.test l=9999999999999 k=2048 h=\S*:?from:?\S* t=1 s=1 n=hello there x=9999999999999")
        self.assertIn("signer=@football.test status=fail/not from here", lines)
        self.assertEqual(lines.count("signer="), 3, lines)
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

    # ---- ARC and Authentication-Results ----------------------------------------------------------------------------------

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

    def lookup(self, name, timeout=5):
        return self.verifier(name)

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
                ("gap", b"".join(f for f in fields if b"i=2;" not in f) + MESSAGE, "fail/(sequence; expected i=2)"),
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
        many = self.result(server, self.sign()[:-len(MESSAGE)] * 50 + self.chain(3), 3)
        self.assertLess(max(map(len, many.split(b"\n"))), 998)
        self.assertEqual([r.result for r in self.authres(many)[0].results if r.method == "arc"], ["pass"])

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
                    self.assertEqual(found["dmarc"], ("pass", {"header.from": "football.test"}))

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

    def test_sign_fifty_megabytes(self):
        server, sink = self.relay(self.SIGN, extra="message_size_limit = 100M\n")
        wire = self.passed(server, sink, MESSAGE + b"line  of text\t with an \xe4 in it\r\n" * 1_700_000)
        self.assertGreater(len(wire), 50 << 20)
        self.assertTrue(dkim.verify(wire, dnsfunc=self.lookup))

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
        self.assertRegex(log, f"spf=pass/{name} dkim=none dmarc=accept/{name}")
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


del SluiceTest

if __name__ == "__main__":
    unittest.main()
