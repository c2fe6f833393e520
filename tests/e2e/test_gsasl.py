"""The gsasl authenticator: SCRAM and plainer mechanisms, as server with a client of our own and the gsasl command, as client with
a server of our own, with another sluice,."""
import base64
import hashlib
import hmac
import os
import re
import secrets
import subprocess
import unittest

from harness import POLICY, SluiceTest, configuration, peer

ORACLE = os.environ.get("SLUICE_ORACLE", "")


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


class Scram:
    """RFC 5802, either side."""

    def __init__(self, hash_name, user="user", password="pencil", salt=b"0123456789ab", rounds=4096):
        self.hash, self.user, self.salt, self.rounds = hash_name, user, salt, rounds
        self.password = password
        self.nonce = secrets.token_hex(8)

    def mac(self, key, text):
        return hmac.new(key, text.encode() if isinstance(text, str) else text, self.hash).digest()

    def keys(self):
        salted = hashlib.pbkdf2_hmac(self.hash, self.password.encode(), self.salt, self.rounds)
        client = self.mac(salted, "Client Key")
        return salted, client, hashlib.new(self.hash, client).digest(), self.mac(salted, "Server Key")

    # As a client.
    def first(self):
        self.bare = f"n={self.user},r={self.nonce}"
        return "n,," + self.bare

    def final(self, challenge):
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        self.salt, self.rounds = base64.b64decode(fields["s"]), int(fields["i"])
        without = f"c=biws,r={fields['r']}"
        salted, client, stored, server = self.keys()
        text = ",".join((self.bare, challenge, without))
        self.proof_of_server = b64(self.mac(server, text))
        proof = bytes(a ^ b for a, b in zip(client, self.mac(stored, text)))
        return f"{without},p={b64(proof)}"

    # As a server.
    def challenge(self, first):
        self.bare = first[first.index(",", 2) + 1:]
        self.server_first = f"r={re.search('r=(.*)', self.bare).group(1)}{self.nonce},s={b64(self.salt)},i={self.rounds}"
        return self.server_first

    def judge(self, final):
        without, _, proof = final.rpartition(",p=")
        salted, client, stored, server = self.keys()
        text = ",".join((self.bare, self.server_first, without))
        good = bytes(a ^ b for a, b in zip(base64.b64decode(proof), self.mac(stored, text))) == client
        return good, "v=" + b64(self.mac(server, text))


def stored(hash_name):
    scram = Scram(hash_name)
    return b64(scram.keys()[3]), b64(scram.keys()[2])


SERVERS = """
begin authenticators
sha1:
  driver = gsasl
  public_name = SCRAM-SHA-1
  server_password = ${if eq{$auth1}{user}{pencil}{${if eq{$auth1}{broken}{x}fail}}}
  server_set_id = $auth1
  server_condition = ${if eq{$auth1}{locked}{no}{yes}}
sha256:
  driver = gsasl
  public_name = SCRAM-SHA-256
  server_password = ${if eq{$auth1}{user}{pencil}}
  server_scram_iter = 5000
  server_set_id = $auth1
  server_condition = true
stored:
  driver = gsasl
  public_name = X-STORED
  server_mech = SCRAM-SHA-256
  server_key = ${if eq{$auth1}{user}{SERVERKEY}}
  server_skey = ${if eq{$auth1}{user}{STOREDKEY}}
  server_scram_salt = SALT64
  server_set_id = $auth1
plain:
  driver = gsasl
  public_name = PLAIN
  server_condition = ${if and{{eq{$auth1}{user}}{eq{$auth3}{pencil}}}}
  server_set_id = $auth1/$auth2
login:
  driver = gsasl
  public_name = LOGIN
  server_condition = ${if and{{eq{$auth1}{user}}{eq{$auth3}{pencil}}}}
  server_set_id = $auth1
cram:
  driver = gsasl
  public_name = CRAM-MD5
  server_password = ${if eq{$auth1}{user}{pencil}}
  server_set_id = $auth1
external:
  driver = gsasl
  public_name = EXTERNAL
  server_condition = ${if eq{$auth1}{user}}
  server_set_id = $auth1
""".replace("SERVERKEY", stored("sha256")[0]).replace("STOREDKEY", stored("sha256")[1]).replace("SALT64", b64(b"0123456789ab"))


class AsServer(SluiceTest):
    config = configuration(main="auth_advertise_hosts = *\n") + SERVERS

    def login(self, mechanism, scram, spoil=None, initial=True):
        with self.shared().client() as c:
            c.ehlo()
            if initial:
                reply = c.cmd(f"AUTH {mechanism} {b64(scram.first())}")
            else:
                c.expect(f"AUTH {mechanism}", 334, "^$")
                reply = c.cmd(b64(scram.first()))
            if reply.code != 334:
                return reply
            final = scram.final(base64.b64decode(reply.text).decode())
            reply = c.cmd(b64(spoil(final) if spoil else final))
            if reply.code != 334:
                return reply
            self.assertEqual(base64.b64decode(reply.text).decode(), "v=" + scram.proof_of_server)
            return c.cmd("")

    def test_scram(self):
        for mechanism, name in (("SCRAM-SHA-1", "sha1"), ("SCRAM-SHA-256", "sha256"), ("X-STORED", "sha256")):
            for initial in (True, False):
                with self.subTest(mechanism, initial=initial):
                    self.assertEqual(self.login(mechanism, Scram(name), initial=initial).code, 235)

    def test_scram_refused(self):
        cut = lambda final: final[:-8] + "AAAAAAA="
        other = lambda final: re.sub("r=[^,]*", "r=other", final)
        bound = lambda final: final.replace("c=biws", "c=" + b64("p=tls-unique,,x"))
        for mechanism, name in (("SCRAM-SHA-1", "sha1"), ("SCRAM-SHA-256", "sha256"), ("X-STORED", "sha256")):
            for what, scram, spoil in (("password", Scram(name, password="wrong"), None), ("user", Scram(name, user="nobody"), None),
                                       ("empty", Scram(name, user="nobody", password=""), None), ("proof", Scram(name), cut),
                                       ("nonce", Scram(name), other), ("binding", Scram(name), bound)):
                with self.subTest(mechanism, what=what):
                    self.assertIn(self.login(mechanism, scram, spoil).code, (535, 435) if what in ("user", "empty") else (535,))

    def test_scram_condition(self):
        self.assertIn(self.login("SCRAM-SHA-1", Scram("sha1", user="locked")).code, (535, 435))

    def test_scram_nonsense(self):
        for text in ("", "n", "n,,", "n,,n=user", "n,,r=x", "p=tls-unique,,n=user,r=x", "y,,n=us=er,r=x", "n,a=x,n=,r=", "n,,n=user,r=\x01",
                     "n,,m=x,n=user,r=x", "\xff\xfe", "n,," + "n=u" * 3000 + ",r=x"):
            with self.subTest(text[:20]), self.shared().client() as c:
                c.ehlo()
                self.assertIn(c.cmd("AUTH SCRAM-SHA-256 " + (b64(text.encode("latin-1")) or "=")).code, (334, 535, 435, 501, 500))
                c.cmd("*")
                c.expect("NOOP", 250)

    def test_cancelled(self):
        with self.shared().client() as c:
            c.ehlo()
            c.expect("AUTH SCRAM-SHA-256 " + b64(Scram("sha256").first()), 334)
            c.expect("*", 501)
            c.expect("AUTH SCRAM-SHA-256 !", 501)

    def test_gone_in_the_middle(self):
        client = self.shared().client()
        client.ehlo()
        client.expect("AUTH SCRAM-SHA-256 " + b64(Scram("sha256").first()), 334)
        client.reset()
        self.assertEqual(self.login("SCRAM-SHA-256", Scram("sha256")).code, 235)

    def test_others(self):
        def said(*lines):
            with self.shared().client() as c:
                c.ehlo()
                for line in lines:
                    reply = c.cmd(line(reply) if callable(line) else line)
                return reply.code
        cram = lambda password: lambda reply: b64("user " + hmac.new(password, base64.b64decode(reply.text), "md5").hexdigest())
        self.assertEqual(said("AUTH PLAIN " + b64("\0user\0pencil")), 235)
        self.assertEqual(said("AUTH PLAIN " + b64("other\0user\0pencil")), 235)
        self.assertEqual(said("AUTH PLAIN", b64("\0user\0pencil")), 235)
        self.assertEqual(said("AUTH PLAIN " + b64("\0user\0wrong")), 535)
        self.assertEqual(said("AUTH PLAIN " + b64("user")), 535)
        self.assertEqual(said("AUTH LOGIN", b64("user"), b64("pencil")), 235)
        self.assertEqual(said("AUTH LOGIN", b64("user"), b64("wrong")), 535)
        self.assertEqual(said("AUTH CRAM-MD5", cram(b"pencil")), 235)
        self.assertEqual(said("AUTH CRAM-MD5", cram(b"wrong")), 535)
        self.assertEqual(said("AUTH EXTERNAL " + b64("user")), 235)
        self.assertEqual(said("AUTH EXTERNAL " + b64("other")), 535)

    @unittest.skipUnless(peer("gsasl"), "no gsasl command")
    def test_gsasl_command(self):
        box = self.shared()
        for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN", "CRAM-MD5"):
            for password, good in (("pencil", True), ("wrong", False)):
                done = subprocess.run([peer("gsasl"), "--smtp", "--no-starttls", f"--connect=127.0.0.1:{box.port}", "--mechanism", mechanism,
                                       "--no-cb", "--authentication-id", "user", "--authorization-id", "", "--password", password],
                                      input=b"", capture_output=True, timeout=60)
                with self.subTest(mechanism, good=good):
                    self.assertEqual(b"Client authentication finished" in done.stdout + done.stderr and b"235 " in done.stdout, good,
                                     done.stdout + done.stderr)


class Forms(SluiceTest):
    def test_refused(self):
        for text, says in (("public_name = SCRAM-SHA-256-PLUS\n  server_password = x", "channel binding"),
                           ("public_name = GSSAPI\n  server_condition = yes", "not available"),
                           ("public_name = SCRAM-SHA-1\n  server_condition = yes", "needs server_password"),
                           ("public_name = SCRAM-SHA-1\n  server_key = x", "go together"),
                           ("public_name = PLAIN\n  server_password = x", "needs server_condition")):
            done = self.sluice(f"begin authenticators\na:\n  driver = gsasl\n  {text}\n", start=False).run("-bV")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(says, done.err)
        for driver in ("spa", "cyrus_sasl", "heimdal_gssapi"):
            done = self.sluice(f"begin authenticators\na:\n  driver = {driver}\n", start=False).run("-bV")
            self.assertIn(f"the driver {driver} is not available", done.err)


CLIENT = """
begin authenticators
scram:
  driver = gsasl
  public_name = SCRAM-SHA-256
  client_username = user
  client_password = PASSWORD
  client_set_id = $auth1
  MORE
"""


class AsClient(SluiceTest):
    def deliver(self, port, password="pencil", more="", mechanism="SCRAM-SHA-256"):
        policy = POLICY.replace("hosts_try_fastopen = :", "hosts_try_fastopen = :\n  hosts_require_auth = *")
        clients = CLIENT.replace("PASSWORD", password).replace("MORE", more).replace("SCRAM-SHA-256", mechanism)
        box = self.sluice(configuration(policy=policy + clients), macros={"SINKPORT": str(port)})
        with box.client() as c:
            c.ehlo()
            c.message("Subject: x\r\n\r\nhello\r\n", rcpts=["x@elsewhere.test"])
        return box

    def scripted(self, scram, lie=None, **options):
        """lie(what, text): what is said instead of the challenge ("first") and the proof ("final")."""
        def script(verb, argument, session):
            if verb == "AUTH":
                words = argument.split()
                first = base64.b64decode(words[1]).decode()
                text = scram.challenge(first)
                session.step = 1
                return "334 " + b64(lie("first", text) if lie else text)
            if getattr(session, "step", 0) == 1:
                session.step = 2
                if session.commands[-1] == "*":
                    return "501 cancelled"
                good, text = scram.judge(base64.b64decode(session.commands[-1]).decode())
                if not good:
                    return "535 no"
                text = lie("final", text) if lie else text
                return text if text.startswith("235") else "334 " + b64(text)
            if getattr(session, "step", 0) == 2 and session.commands[-1] in ("", "*"):
                session.step = 3
                return "235 fine" if session.commands[-1] == "" else "501 cancelled"
            return None
        return self.sink(script, extensions=("PIPELINING", "AUTH SCRAM-SHA-1 SCRAM-SHA-256"), **options)

    def test_scram(self):
        for mechanism, name in (("SCRAM-SHA-1", "sha1"), ("SCRAM-SHA-256", "sha256")):
            box = self.deliver(self.scripted(Scram(name)).port, mechanism=mechanism)
            box.wait_log(r"=> x@elsewhere\.test .* A=scram:user ")

    def test_salted_password(self):
        more = ("client_spassword = ${if and{{eq{$auth2}{4096}}{eq{$auth3}{SALT}}}{SALTED}}"
                .replace("SALTED", Scram("sha256").keys()[0].hex()).replace("SALT", b64(b"0123456789ab")))
        self.deliver(self.scripted(Scram("sha256")).port, "", more).wait_log(r"=> x@elsewhere\.test .* A=scram:user ")

    def test_wrong_password(self):
        box = self.deliver(self.scripted(Scram("sha256")).port, "wrong")
        box.wait_log(r"scram authenticator failed H=127\.0\.0\.1 \[127\.0\.0\.1\] 535 no")
        box.wait_log("== x@elsewhere")

    def test_lies(self):
        """A server that does not know the password, or wants too much, gets no mail."""
        for what, lie in (("proof", lambda step, text: text if step == "first" else "v=" + b64(b"x" * 32)),
                          ("no proof", lambda step, text: text if step == "first" else "235 welcome"),
                          ("rounds", lambda step, text: re.sub("i=.*", "i=99999999", text)),
                          ("nonce", lambda step, text: re.sub("^r=...", "r=xxx", text)),
                          ("nonsense", lambda step, text: "nonsense"), ("empty", lambda step, text: "")):
            with self.subTest(what):
                sink = self.scripted(Scram("sha256"), lie)
                box = self.deliver(sink.port)
                box.wait_log("== x@elsewhere")
                self.assertEqual(sink.messages, [])
                self.assertFalse(any(line.startswith("MAIL") for s in sink.sessions for line in s.commands))

    def test_two_of_us(self):
        other = self.sluice(configuration(main="auth_advertise_hosts = *\nacl_smtp_mail = only\n")
                            .replace("begin acl", "begin acl\nonly:\n  accept authenticated = *\n  deny") + SERVERS)
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"):
            with self.subTest(mechanism):
                box = self.deliver(other.port, mechanism=mechanism)
                box.wait_log(r"=> x@elsewhere\.test .* A=scram:user ")
                other.wait_log(r" <= s@client\.test .* A=\w+:user")


if __name__ == "__main__":
    unittest.main()
