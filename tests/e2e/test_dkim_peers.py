"""DKIM and ARC beside other implementations, in both directions, over generated mail: what dkimpy, libopendkim, Mail::DKIM and Exim sign
verifies here, what is signed here verifies there, and what was damaged does so nowhere.

SLUICE_DKIM_CASES says how many messages (the default keeps the run short), SLUICE_SEEDS=N,1 which.
"""
import base64
import os
import random
import re
import shutil
import subprocess
import tempfile
import unittest

try:
    import dkim
except ImportError:
    dkim = None

BUILD = os.environ.get("SLUICE_BUILD", os.path.join(os.path.dirname(__file__), "../../build"))
OURS = os.path.join(BUILD, "unit/unit_mailauth_test_dkim")
OPENDKIM = os.path.join(BUILD, "opendkim_filter")
PERL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mail_dkim_filter.pl")
CASES = int(os.environ.get("SLUICE_DKIM_CASES", "300"))
SEED = int(os.environ.get("SLUICE_SEEDS", "0,1").split(",")[0]) or random.randrange(1, 1 << 31)
CANONS = [(h, b) for h in ("simple", "relaxed") for b in ("simple", "relaxed")]


def openssl(*arguments, stdin=b""):
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


class Filter:
    """A program that is asked over its standard input."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def tell(self, *words):
        self.process.stdin.write("\t".join(words).encode() + b"\n")

    def ask(self, message, *words):
        self.tell(*words, str(len(message)))
        self.process.stdin.write(message)
        self.process.stdin.flush()
        line = self.process.stdout.readline().decode().rstrip("\n")
        if words[0] in ("verify",) or words[:1] == ("arc",) and len(words) == 1:
            return line
        return self.process.stdout.read(int(line.split()[0])), line

    def close(self):
        self.process.stdin.close()
        status = self.process.wait(30)
        self.process.stdout.close()
        return status


class Mails:
    """Generated messages: odd folding, white space, repeated and empty fields, bodies of all endings."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def word(self):
        kind = self.r.random()
        if kind < 0.1:
            return self.r.choice([b"=?utf-8?q?x=C3=A9?=", "gr\u00fc\u00dfe".encode(), b"\xc3\xa9\xc3\xa8"])
        return bytes(self.r.choice(b"abcdefghijklmnopqrstuvwxyzABCXYZ0123456789.,;:=()<>@\"'-_/\\") for _ in range(self.r.randint(1, 12)))

    def space(self):
        return self.r.choice([b" ", b" ", b" ", b"  ", b"\t", b" \t ", b"\r\n ", b"\r\n\t", b" \r\n  "])

    def value(self):
        text = b"".join(self.word() + self.space() for _ in range(self.r.randint(0, 8))) + self.word()
        # A line of white space alone is no folding that all agree on.
        text = re.sub(rb"\r\n[ \t]+(?=\r\n)", b" ", text)
        return self.r.choice([b" ", b" ", b" ", b"", b"\t", b"  "]) + text + self.r.choice([b"", b"", b" ", b"\t "])

    def header(self):
        names = [b"Subject", b"To", b"Cc", b"Date", b"Message-ID", b"X-Odd_Name", b"Received", b"List-Id", b"MIME-Version",
                 b"SUBJECT", b"reply-to", b"Received", b"X-" + b"a" * self.r.randint(1, 60)]
        fields = [self.r.choice(names) + b":" + self.value() for _ in range(self.r.randint(0, 12))]
        fields.insert(self.r.randint(0, len(fields)), b"From: a@b.test")
        return b"".join(f + b"\r\n" for f in fields)

    def body(self):
        r = self.r
        lines = []
        for _ in range(r.choice([0, 1, 2, 5, 40])):
            kind = r.random()
            if kind < 0.2:
                lines.append(b"")
            elif kind < 0.3:
                lines.append(r.choice([b" ", b"\t", b"  \t "]))
            elif kind < 0.35:
                lines.append(b"x" * r.choice([990, 5000]))
            else:
                lines.append(b"".join(self.word() + r.choice([b" ", b"  ", b"\t", b" \t"]) for _ in range(r.randint(1, 10))))
        # RFC 6376 section 3.4 adds a CRLF that is missing at the end; opendkim and Mail::DKIM do not. Over SMTP there is one.
        return b"".join(line + b"\r\n" for line in lines) + b"\r\n" * r.choice([0, 0, 1, 2, 5])

    def message(self):
        return self.header() + b"\r\n" + self.body()


@unittest.skipUnless(dkim, "python3-dkim is not here")
@unittest.skipUnless(os.path.exists(OURS), "the unit tests are not built")
class PeersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="sluice-dkim-")
        cls.keys = {}
        cls.ours = Filter(OURS, "-filter")
        for name, bits in (("rsa", 1024), ("long", 2048)):
            pem = openssl("genrsa", "-traditional", str(bits))
            public = base64.b64encode(openssl("rsa", "-pubout", "-outform", "DER", stdin=pem)).decode()
            cls.add(name, pem, f"v=DKIM1; k=rsa; p={public}")
        pem = openssl("genpkey", "-algorithm", "ed25519")
        private = base64.b64encode(openssl("pkey", "-outform", "DER", stdin=pem)[-32:])
        public = base64.b64encode(openssl("pkey", "-pubout", "-outform", "DER", stdin=pem)[-32:]).decode()
        with open(os.path.join(cls.dir, "ed.pem"), "wb") as f:
            f.write(pem)
        cls.add("ed", private, f"v=DKIM1; k=ed25519; p={public}")
        cls.mails = Mails(SEED)

    @classmethod
    def add(cls, selector, private, record):
        path = os.path.join(cls.dir, selector)
        with open(path, "wb") as f:
            f.write(private)
        for domain in ("b.test", "hop1.test", "hop2.test", "hop3.test"):
            name = f"{selector}._domainkey.{domain}"
            cls.keys[name] = record
            cls.ours.tell("key", name, record)
        with open(os.path.join(cls.dir, "keys"), "w") as f:
            f.write("".join(f"{name} {record}\n" for name, record in cls.keys.items()))

    @classmethod
    def tearDownClass(cls):
        status = cls.ours.close()
        shutil.rmtree(cls.dir)
        if status:
            raise AssertionError(f"the filter ended with {status}")

    def lookup(self, name, timeout=5):
        return self.keys.get(name.decode().rstrip("."), "").encode()

    def path(self, name):
        return os.path.join(self.dir, name)

    def key(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def damaged(self, message):
        """One byte that counts in every form is another."""
        at = message.index(b"\r\n\r\n") + 4
        places = [i for i in range(at, len(message)) if message[i:i + 1].isalnum()]
        if not places:
            return None
        i = self.mails.r.choice(places)
        return message[:i] + (b"y" if message[i:i + 1] != b"y" else b"z") + message[i + 1:]

    def agree(self, expected, found, message, what):
        if expected != found:
            path = os.path.join(tempfile.gettempdir(), f"sluice-dkim-{os.getpid()}.eml")
            with open(path, "wb") as f:
                f.write(message)
            self.fail(f"{what}: {found!r}, expected {expected!r}; seed {SEED}; the message: {path}")

    def both(self, message, what, verify):
        """Ours and theirs say pass, and fail when it was damaged."""
        self.agree("pass", self.ours.ask(message, "verify"), message, what + ", we")
        self.agree(True, verify(message), message, what + ", they")
        worse = self.damaged(message)
        if worse:
            self.agree("fail/bodyhash_mismatch", self.ours.ask(worse, "verify"), worse, what + ", damaged, we")
            self.agree(False, verify(worse), worse, what + ", damaged, they")

    def test_dkimpy(self):
        for case in range(CASES * 2):
            message = self.mails.message()
            header, body = CANONS[case % 4]
            selector = ("rsa", "ed")[case // 4 % 2]
            algorithm = b"ed25519-sha256" if selector == "ed" else b"rsa-sha256"
            options = {"length": True} if case % 7 == 0 else {}
            theirs = dkim.sign(message, selector.encode(), b"b.test", self.key(selector), signature_algorithm=algorithm,
                               canonicalize=(header.encode(), body.encode()), **options) + message

            def verify(text):
                try:
                    return dkim.verify(text, dnsfunc=self.lookup)
                except dkim.DKIMException:
                    return False
            self.both(theirs, f"signed by dkimpy {header}/{body} {selector}", verify)
            field, line = self.ours.ask(message, "sign", "b.test", selector, self.path(selector), header, body)
            self.assertTrue(field, line)
            self.both(field + message, f"signed here {header}/{body} {selector}", verify)

    @unittest.skipUnless(os.path.exists(OPENDKIM), "libopendkim-dev is not here")
    def test_opendkim(self):
        peer = Filter(OPENDKIM, self.path("keys"))
        try:
            for case in range(CASES * 2):
                message = self.mails.message()
                header, body = CANONS[case % 4]
                field, line = peer.ask(message, "sign", "b.test", "rsa", self.path("rsa"), header, body)
                self.assertTrue(field, line)

                def verify(text):
                    return peer.ask(text, "verify") == "pass"
                self.both(field + message, f"signed by opendkim {header}/{body}", verify)
                field, line = self.ours.ask(message, "sign", "b.test", "rsa", self.path("rsa"), header, body)
                self.both(field + message, f"signed here, for opendkim {header}/{body}", verify)
        finally:
            peer.close()

    def test_mail_dkim(self):
        if subprocess.run(["perl", "-MMail::DKIM::Verifier", "-e1"], capture_output=True).returncode:
            self.skipTest("libmail-dkim-perl is not here")
        peer = Filter("perl", PERL, self.path("keys"))
        try:
            for case in range(CASES):
                message = self.mails.message()
                header, body = CANONS[case % 4]
                field, line = peer.ask(message, "sign", "b.test", "rsa", self.path("rsa"), header, body)
                self.assertTrue(field, line)

                def verify(text):
                    return peer.ask(text, "verify") == "pass"
                self.both(field + message, f"signed by Mail::DKIM {header}/{body}", verify)
                field, line = self.ours.ask(message, "sign", "b.test", "rsa", self.path("rsa"), header, body)
                self.both(field + message, f"signed here, for Mail::DKIM {header}/{body}", verify)
        finally:
            peer.close()

    EXIM = """
exim_path = ORACLE
primary_hostname = exim.test
spool_directory = FOLDER
log_file_path = FOLDER/log-%s
keep_environment =
tls_advertise_hosts =
acl_smtp_rcpt = accept
acl_smtp_dkim = dkim
acl_smtp_data = data
dkim_verify_signers = b.test
smtp_accept_max_per_connection = 10000
smtp_max_synprot_errors = 100
message_size_limit = 100M
received_headers_max = 1000
queue_only
begin acl
dkim:
  accept logwrite = SAID $dkim_verify_status/$dkim_verify_reason
data:
  discard condition = ${if eq{$sender_address}{verify@x.test}}
  accept
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
  message_linelength_limit = 100000
  dkim_domain = b.test
  dkim_selector = ${if match{$local_part}{ed}{ed}{rsa}}
  dkim_private_key = FOLDER/${if match{$local_part}{ed}{ed}{rsa}}.pem
  dkim_canon = ${if match{$local_part}{simple}{simple}{relaxed}}
"""

    @unittest.skipUnless(os.environ.get("SLUICE_ORACLE") and os.getuid() == 0, "needs root, and Exim")
    def test_exim(self):
        """What is signed here, whole and damaged, to Exim's ACL; what Exim signs on the way out, to us."""
        from harness import Sink
        from nameserver import SystemNameserver
        dns = SystemNameserver({name: [("TXT", record)] for name, record in self.keys.items()})
        self.addCleanup(dns.close)
        if not dns.usable:
            self.skipTest("needs mount namespaces")
        oracle = os.path.abspath(os.environ["SLUICE_ORACLE"])
        run, sink, folder = dns.wrap(oracle), Sink(), tempfile.mkdtemp(prefix="sluice-exim-")
        self.addCleanup(sink.close)
        self.addCleanup(shutil.rmtree, folder, True)
        os.chmod(folder, 0o777)
        shutil.copy(self.path("rsa"), os.path.join(folder, "rsa.pem"))
        shutil.copy(self.path("ed.pem"), os.path.join(folder, "ed.pem"))
        for name in ("rsa.pem", "ed.pem"):
            os.chmod(os.path.join(folder, name), 0o644)
        config = os.path.join(folder, "config")
        with open(config, "w") as f:
            f.write(self.EXIM.replace("ORACLE", oracle).replace("FOLDER", folder).replace("SINKPORT", str(sink.port)))

        def session(messages):
            lines = b"EHLO x\r\n" + b"".join(b"MAIL FROM:<%s>\r\nRCPT TO:<%s@d.test>\r\nDATA\r\n%s.\r\n" %
                                             (sender, rcpt, re.sub(rb"(?m)^\.", b"..", text)) for sender, rcpt, text in messages) + b"QUIT\r\n"
            done = subprocess.run([run, "-C", config, "-bs", "-oMa", "127.0.0.1"], capture_output=True, timeout=120, input=lines)
            self.assertEqual(len(re.findall(rb"(?m)^250 OK id=", done.stdout)), len(messages), done.stdout[-2000:])
        cases = []
        for case in range(CASES):
            message = self.mails.message()
            header, body = CANONS[case % 4]
            selector = ("rsa", "ed")[case // 4 % 2]
            field, line = self.ours.ask(message, "sign", "b.test", selector, self.path(selector), header, body)
            self.assertTrue(field, line)
            cases.append(("pass/", field + message, f"{header}/{body} {selector}"))
            worse = self.damaged(field + message)
            if worse:
                cases.append(("fail/bodyhash_mismatch", worse, f"{header}/{body} {selector}, damaged"))
        for at in range(0, len(cases), 200):
            session([(b"verify@x.test", b"y", message) for _, message, _ in cases[at:at + 200]])
        with open(os.path.join(folder, "log-main"), errors="replace") as f:
            said = re.findall(r"SAID (\S*)", f.read())
        self.assertEqual(len(said), len(cases))
        for (expected, message, what), found in zip(cases, said):
            # The one difference: of a body that is empty Exim hashes nothing in the simple form, too (RFC 6376, 3.4.3: one line end).
            if "/simple " in what and not message.partition(b"\r\n\r\n")[2]:
                expected = "fail/bodyhash_mismatch"
            self.agree(expected, found, message, f"signed here, Exim, {what}")
        kinds = [b"rsa-relaxed", b"rsa-simple", b"ed-relaxed", b"ed-simple"]
        session([(b"a@b.test", kinds[case % 4], self.mails.message()) for case in range(CASES // 4)])
        subprocess.run([run, "-C", config, "-qff"], capture_output=True, timeout=120, check=True)
        for _, rcpts, wire in sink.wait(CASES // 4):
            empty = "simple" in rcpts[0] and not wire.partition(b"\r\n\r\n")[2].strip(b"\r\n")
            self.agree("fail/bodyhash_mismatch" if empty else "pass", self.ours.ask(wire, "verify"), wire, f"signed by Exim, {rcpts}")
            worse = self.damaged(wire)
            if worse:
                self.agree("fail/bodyhash_mismatch", self.ours.ask(worse, "verify"), worse, f"signed by Exim, {rcpts}, damaged")

    def test_arc(self):
        """Chains of which each set is made by one of three, at random."""
        perl = None
        if not subprocess.run(["perl", "-MMail::DKIM::ARC::Signer", "-e1"], capture_output=True).returncode:
            perl = Filter("perl", PERL, self.path("keys"))
        try:
            for _ in range(CASES):
                message, made = self.mails.message(), []
                for hop in range(1, self.mails.r.randint(2, 4)):
                    host = f"hop{hop}.test"
                    maker = self.mails.r.choice(["ours", "dkimpy"] + (["perl"] if perl else []))
                    made.append(maker)
                    state = "none" if hop == 1 else "pass"
                    message = f"Authentication-Results: {host}; arc={state}; spf=pass smtp.mailfrom=b.test\r\n".encode() + message
                    if maker == "ours":
                        fields, line = self.ours.ask(message, "arc", host, "rsa", self.path("rsa"), "", "")
                    elif maker == "dkimpy":
                        fields = b"".join(dkim.arc_sign(message, b"rsa", host.encode(), self.key("rsa"), host.encode()))
                        line = ""
                    else:
                        fields, line = perl.ask(message, "seal", host, "rsa", self.path("rsa"), "", "")
                    self.assertTrue(fields, (maker, line))
                    message = fields + message
                what = "chain of " + ", ".join(made)
                self.agree("arc pass", self.ours.ask(message, "verify"), message, what + ", we")
                self.agree(b"pass", dkim.arc_verify(message, dnsfunc=self.lookup)[0], message, what + ", dkimpy")
                if perl:
                    self.agree("pass", perl.ask(message, "arc"), message, what + ", Mail::DKIM")
                worse = self.damaged(message)
                if worse:
                    self.agree("arc fail/AMS body hash miscompare", self.ours.ask(worse, "verify"), worse, what + ", damaged")
        finally:
            if perl:
                perl.close()


if __name__ == "__main__":
    unittest.main()
