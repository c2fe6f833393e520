"""SMTP AUTH, as a server and as a client: beside Exim, with swaks, with a real Dovecot, and with servers that misbehave."""
import base64
import hashlib
import hmac
import re
import unittest

from harness import POLICY, Sluice, SluiceTest, configuration, until

SERVERS = r"""
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{user}}{eq{$auth3}{secret}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = User Name : Password
  server_condition = ${if eq{$auth1}{odd}{not now}{${if and{{eq{$1}{user}}{eq{$2}{secret}}}}}}
  server_set_id = $auth1
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${if eq{$auth1}{user}{secret}{${if eq{$auth1}{broken}{${lookup{x}lsearch{/nonexistent}}}fail}}}
  server_set_id = $auth1
ext:
  driver = external
  public_name = EXTERNAL
  server_param2 = <$auth1>
  server_condition = ${if eq{$auth2}{<user>}}
  server_set_id = $auth1
  server_mail_auth_condition = ${if eq{$authenticated_sender}{good@client.test}}
hidden:
  driver = plaintext
  public_name = HIDDEN
  server_advertise_condition = ${if eq{$sender_host_address}{10.0.0.1}}
  server_condition = yes
"""
SEEN = r"""
begin acl
mail_acl:
  accept logwrite = seen as=$authenticated_sender id=$authenticated_id by=$sender_host_authenticated \
                    failed=$authentication_failed failid=$authenticated_fail_id proto=$received_protocol
rcpt_acl:
  accept authenticated = plain : login : cram : ext
  deny message = authenticate first
"""
BODY = "Subject: x\r\n\r\nhello\r\n"


def b64(text):
    return base64.b64encode(text.encode()).decode()


PLAIN = b64("\0user\0secret")


def server_configuration(main="", servers=SERVERS):
    return configuration(main="acl_smtp_mail = mail_acl\n" + main, policy=SEEN + POLICY.partition("relay not permitted")[2]
                         + servers)


class Server(SluiceTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = Sluice(server_configuration()).start()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.finish()
        super().tearDownClass()

    def hello(self):
        client = self.daemon.client()
        self.addCleanup(client.close)
        client.ehlo()
        return client

    def cram(self, client, secret="secret", name="user"):
        challenge = base64.b64decode(client.expect("AUTH CRAM-MD5", 334).text)
        digest = hmac.new(secret.encode(), challenge, hashlib.md5).hexdigest()
        return client.cmd(b64(f"{name} {digest}"))

    def test_offer(self):
        with self.daemon.client() as client:
            self.assertRegex(client.ehlo().text, r"(?m)^AUTH PLAIN LOGIN CRAM-MD5 EXTERNAL$")
            client.expect("HELO client.test", 250)
            client.expect("AUTH PLAIN " + PLAIN, 503, "5.5.1|not advertised")

    def test_plain(self):
        client = self.hello()
        client.expect("AUTH PLAIN " + PLAIN, 235, "2.7.0 Authentication succeeded")
        client.expect("AUTH PLAIN " + PLAIN, 503, "already authenticated")
        client.message(BODY)
        self.daemon.wait_log(r"<= s@client\.test .*P=esmtpa A=plain:user ")
        self.daemon.wait_log(r"seen as= id=user by=plain failed=0 failid= proto=esmtpa$")
        mail = until(lambda: [m for m in self.daemon.maildir() if b"esmtpa" in m], "the message")[0]
        self.assertRegex(mail, rb"with esmtpa \(Exim")

    def test_forms(self):
        for lines in (["AUTH PLAIN", PLAIN], ["auth plain", PLAIN], ["AUTH LOGIN", b64("user"), b64("secret")],
                      ["AUTH LOGIN " + b64("user"), b64("secret")], ["AUTH LOGIN " + b64("user\0secret")],
                      ["AUTH EXTERNAL " + b64("user")], ["AUTH EXTERNAL", b64("user")]):
            client = self.hello()
            for line in lines[:-1]:
                client.expect(line, 334)
            client.expect(lines[-1], 235)
            client.envelope()
            client.quit()

    def test_cram(self):
        client = self.hello()
        self.assertEqual(self.cram(client, "wrong").code, 535)
        self.assertEqual(self.cram(client, name="nobody").code, 535)
        self.assertEqual(self.cram(client, name="broken").code, 435)
        self.assertEqual(self.cram(client).code, 235)
        self.daemon.wait_log(r"cram authenticator failed for \(client\.test\) \[127\.0\.0\.1\]: 535 Incorrect "
                             r"authentication data \(set_id=nobody\)")

    def test_prompts(self):
        client = self.hello()
        self.assertEqual(client.expect("AUTH LOGIN", 334).text, b64("User Name"))
        self.assertEqual(client.expect(b64("user"), 334).text, b64("Password"))
        client.expect("*", 501, "5.7.0 Authentication cancelled")
        client.expect("AUTH PLAIN", 334)
        client.expect("not base64", 501, "Invalid base64")
        client.expect("AUTH PLAIN", 334)
        client.expect("A" * 12288, 535)
        client.expect("AUTH PLAIN", 334)
        client.expect("A" * 70000, 501)
        client.expect("AUTH PLAIN " + PLAIN, 235)

    def test_refusals(self):
        client = self.hello()
        client.expect("AUTH FOO", 504, "5.5.4 FOO authentication mechanism not supported")
        client.expect("AUTH HIDDEN =", 504)
        client.expect("AUTH", 501)
        client.expect("AUTH A;B", 501)
        client.expect("AUTH CRAM-MD5 abcd", 553)
        client.expect("AUTH PLAIN =", 535)
        client.expect("AUTH LOGIN " + b64("odd\0x"), 435, "4.7.0 Unable to authenticate at present: not now")
        client.expect("MAIL FROM:<a@client.test>", 250)
        client.expect("RCPT TO:<alice@test>", 550, "authenticate first")
        client.expect("AUTH PLAIN " + PLAIN, 503, "not permitted")
        self.daemon.wait_log(r"login authenticator failed for .*: 435 Unable to authenticate at present \(set_id=odd\): not now")
        self.daemon.wait_log(r"seen as= id= by= failed=1 failid=odd")

    def test_mail_auth(self):
        client = self.hello()
        client.expect("MAIL FROM:<a@client.test> AUTH=x@client.test", 250)
        self.daemon.wait_log(r"ignoring AUTH=x@client\.test .*client not authenticated")
        client.expect("RSET", 250)
        client.expect("AUTH EXTERNAL " + b64("user"), 235)
        client.expect("MAIL FROM:<a@client.test> AUTH=bad@client.test", 250)
        client.expect("RSET", 250)
        client.expect("MAIL FROM:<a@client.test> AUTH=good+40client.test", 250)
        client.expect("RSET", 250)
        client.expect("MAIL FROM:<a@client.test> AUTH=<>", 250)
        log = self.daemon.wait_log(r"seen as= id=user by=ext", count=2)
        self.assertEqual(len(re.findall(r"seen as=good@client\.test id=user", log)), 1)
        self.assertIn("ignoring AUTH=bad@client.test", log)

    def test_nothing_leaks(self):
        """No password in any log, whatever goes wrong around it."""
        word = b64("\0user\0Sesame99")
        client = self.hello()
        client.expect("AUTH PLAIN " + word, 535)
        client.expect("AUTH FOO " + word, 504)
        client.expect(word, 500)
        client.send("AUTH LOGIN\r\n" + word + "\r\n")
        client.wait(554)
        client.closed()
        for name in ("main", "reject", "panic"):
            text = self.daemon.log(name)
            self.assertNotIn(word, text)
            self.assertNotIn("Sesame99", text)


CLIENTS = r"""
begin authenticators
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  client_condition = ${if eq{$host_address}{127.0.0.9}}
  client_name = user
  client_secret = secret
forced:
  driver = plaintext
  public_name = PLAIN
  client_send = ${if eq{a}{b}{x}fail}
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^user^sec^^ret
  client_set_id = user
login:
  driver = plaintext
  public_name = LOGIN
  client_send = <; ; us${lc:ER} ; <$auth2>
"""


class AsClient(SluiceTest):
    """Deliveries to a scripted server that offers AUTH."""

    def deliver(self, replies, option="hosts_require_auth = *", offered="AUTH PLAIN LOGIN CRAM-MD5", clients=CLIENTS, main="",
                extra=""):
        """replies: what the server says to AUTH and to each line behind it. Gives daemon, sink, and what was said to it."""
        said = []
        left = list(replies)

        def script(verb, argument, session):
            if verb == "AUTH" or (said and verb not in ("EHLO", "MAIL", "RCPT", "DATA", "QUIT", "RSET", "END", "BANNER")):
                said.append(session.commands[-1])
                return left.pop(0) if left else "500 enough"
            if verb == "MAIL":
                said.append("MAIL " + argument)
            return None
        sink = self.sink(script, extensions=("PIPELINING", offered) if offered else ("PIPELINING",))
        policy = POLICY.replace("hosts_try_fastopen = :", f"hosts_try_fastopen = :\n  {option}\n{extra}")
        daemon = self.sluice(configuration(main="acl_smtp_mailauth = accept\n" + main, policy=policy + clients),
                             macros={"SINKPORT": str(sink.port)})
        with daemon.client() as client:
            client.ehlo()
            client.expect("MAIL FROM:<s@client.test> AUTH=orig@client.test", 250)
            client.expect("RCPT TO:<x@elsewhere.test>", 250)
            client.data(b"Subject: x\r\n\r\nhello\r\n")
        return daemon, sink, said

    def test_plain(self):
        daemon, sink, said = self.deliver(["235 fine"])
        daemon.wait_log(r"=> x@elsewhere\.test .* A=plain:user ")
        self.assertEqual(said[0], "AUTH PLAIN " + b64("\0user\0sec^ret"))
        self.assertIn("AUTH=orig@client.test", said[1])

    def test_next_one(self):
        daemon, sink, said = self.deliver(["535 no", "334 " + b64("Name"), "334 " + b64("Pass"), "235 fine"])
        log = daemon.wait_log(r"=> x@elsewhere\.test .* A=login ")
        self.assertRegex(log, r"plain authenticator failed H=127\.0\.0\.1 \[127\.0\.0\.1\] 535 no")
        self.assertEqual(said[1:4], ["AUTH LOGIN", b64("user"), b64("<Pass>")])

    def test_required(self):
        for replies, offered, why in ((["535 no", "535 no"], "AUTH PLAIN LOGIN", "authentication attempt(s) failed"),
                                      ([], "AUTH GSSAPI", "no common mechanisms were found"),
                                      ([], None, "server did not advertise AUTH support")):
            daemon, sink, said = self.deliver(replies, offered=offered)
            daemon.wait_log(r"== x@elsewhere\.test .*\(-42\).*authentication required but " + re.escape(why))
            self.assertNotIn("MAIL", " ".join(said))

    def test_tried(self):
        daemon, sink, said = self.deliver(["535 no", "535 no"], option="hosts_try_auth = *")
        log = daemon.wait_log(r"=> x@elsewhere\.test ")
        self.assertNotRegex(log, "=> .* A=")
        self.assertNotIn("AUTH=", said[-1])

    def test_later(self):
        daemon, sink, said = self.deliver(["454 later"])
        log = daemon.wait_log(r"== x@elsewhere\.test .*454 later")
        self.assertEqual(len(said), 1)
        self.assertNotIn(b64("\0user\0sec^ret"), log)

    def test_bad_challenge(self):
        daemon, sink, said = self.deliver(["535 no", "334 ***", "501 ok"], option="hosts_try_auth = *")
        log = daemon.wait_log(r"=> x@elsewhere\.test ")
        self.assertRegex(log, "login authenticator cancelled authentication .*invalid base64")
        self.assertIn("*", said)

    def test_endless_challenges(self):
        daemon, sink, said = self.deliver(["334 "] * 50)
        daemon.wait_log(r"== x@elsewhere\.test .*Too few items in client_send in plain authenticator")
        self.assertEqual(said[1], "*")

    def test_authenticated_sender(self):
        daemon, sink, said = self.deliver(["235 fine"], extra="  authenticated_sender = other@client.test")
        daemon.wait_log(r"=> x@elsewhere")
        self.assertIn("AUTH=other@client.test", said[1])

    def test_both_ends(self):
        """Ours logs in to ours, with CRAM-MD5; the second message goes over the same connection."""
        server = self.sluice(server_configuration())
        clients = CLIENTS.replace("127.0.0.9", "127.0.0.1")
        policy = POLICY.replace("hosts_try_fastopen = :", "hosts_try_fastopen = :\n  hosts_require_auth = *")
        daemon = self.sluice(configuration(policy=policy + clients), macros={"SINKPORT": str(server.port)})
        with daemon.client() as client:
            client.ehlo()
            client.message(b"Subject: x\r\n\r\nhello\r\n", rcpts=("alice@elsewhere.test",))
            daemon.wait_log("=> alice@elsewhere.test .* A=cram ")
            client.message(b"Subject: x\r\n\r\nhello\r\n", rcpts=("alice@elsewhere.test",))
            daemon.wait_log("=> alice@elsewhere.test .* A=cram ", count=2)
        server.wait_log(r"<= s@client\.test .*P=esmtpa A=cram:user ", count=2)


if __name__ == "__main__":
    unittest.main()
