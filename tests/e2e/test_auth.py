"""SMTP AUTH, as a server and as a client: beside Exim, with swaks, with a real Dovecot, and with servers that misbehave."""
import base64
import hashlib
import hmac
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest

from authority import Authority
from harness import POLICY, Sluice, SluiceTest, configuration, peer, until

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
        cls.daemon = Sluice(server_configuration("pipelining_connect_advertise_hosts =\n")).start()

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
        self.daemon.wait_log(r"seen as=good@client\.test id=user(.*\n)+.*seen as= id=user by=ext")
        self.daemon.wait_log(r"ignoring AUTH=bad@client\.test")

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
        server.wait_log(r"<= s@client\.test .*P=esmtpsa .*A=cram:user ", count=2)


DOVECOT = """
base_dir = DIR/run
state_dir = DIR/state
log_path = DIR/log
ssl = no
protocols =
default_login_user = LOGINUSER
default_internal_user = LOGINUSER
default_internal_group = LOGINGROUP
auth_mechanisms = plain login cram-md5 scram-sha-256
auth_failure_delay = 0
disable_plaintext_auth = no
passdb {
  driver = passwd-file
  args = scheme=PLAIN DIR/passwd
}
userdb {
  driver = static
  args = uid=1000 gid=1000 home=/nonexistent
}
service auth {
  unix_listener DIR/client.sock {
    mode = 0666
  }
  unix_listener DIR/auth-master {
    mode = 0666
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
"""


def dovecot_authenticators(path):
    return "begin authenticators\n" + "".join(
        f"dc_{name.lower().replace('-', '_')}:\n  driver = dovecot\n  public_name = {name}\n"
        f"  server_socket = {path}\n  server_set_id = $auth1\n" for name in ("PLAIN", "LOGIN", "CRAM-MD5", "NTLM"))


class Dovecot(SluiceTest):
    """The real auth service, and sockets that only look like one."""

    def need_dovecot(self):
        program = shutil.which("dovecot") or "/usr/sbin/dovecot"
        if not os.path.exists(program) or os.getuid() != 0:
            self.skipTest("dovecot is not installed, or this is not root")
        folder = tempfile.mkdtemp(prefix="sluice-dovecot-")
        self.addCleanup(shutil.rmtree, folder, True)
        os.chmod(folder, 0o755)
        with open(os.path.join(folder, "passwd"), "w") as f:
            f.write("user:secret::::::\n")
        with open(os.path.join(folder, "conf"), "w") as f:
            f.write(DOVECOT.replace("DIR", folder).replace("LOGINUSER", "nobody").replace("LOGINGROUP", "nogroup"))
        process = subprocess.Popen([program, "-F", "-c", os.path.join(folder, "conf")], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def end():
            if process.poll() is None:
                process.terminate()
                process.wait()
        self.addCleanup(end)
        path = os.path.join(folder, "client.sock")
        until(lambda: os.path.exists(path) or process.poll() is not None, "dovecot's socket")
        if process.poll() is not None:
            self.skipTest("this dovecot does not start with such a configuration")
        return folder, end

    def login_daemon(self, path):
        return self.sluice(server_configuration(servers=dovecot_authenticators(path)))

    def test_real(self):
        folder, end = self.need_dovecot()
        daemon = self.login_daemon(os.path.join(folder, "client.sock"))
        for lines in (["AUTH PLAIN " + PLAIN], ["AUTH PLAIN", PLAIN], ["AUTH LOGIN", b64("user"), b64("secret")]):
            with daemon.client() as client:
                client.ehlo()
                for line in lines[:-1]:
                    client.expect(line, 334)
                client.expect(lines[-1], 235)
        with daemon.client() as client:
            client.ehlo()
            client.expect("AUTH PLAIN " + b64("\0user\0wrong"), 535)
            client.expect("AUTH LOGIN", 334)
            client.expect(b64("user"), 334)
            client.expect("*", 501)
            client.expect("AUTH NTLM", 435)
            challenge = base64.b64decode(client.expect("AUTH CRAM-MD5", 334).text)
            digest = hmac.new(b"secret", challenge, hashlib.md5).hexdigest()
            client.expect(b64("user " + digest), 235)
        daemon.wait_log(r"dc_plain authenticator failed for .*: 535 Incorrect authentication data \(set_id=user\)")
        daemon.wait_log(r"dc_ntlm authenticator failed for .*: 435 .*does not offer NTLM")
        end()
        with daemon.client() as client:
            client.ehlo()
            client.expect("AUTH PLAIN " + PLAIN, 435)

    @staticmethod
    def port_for(folder, serve):
        """A port whose every connection is given to serve(sock, the real service's socket), each in a thread of its own."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)

        def talk(sock):
            try:
                with sock, socket.socket(socket.AF_UNIX) as real:
                    if folder:
                        real.connect(os.path.join(folder, "client.sock"))
                    serve(sock, real)
            except OSError:
                pass

        def accept():
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(sock,), daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()
        return listener, listener.getsockname()[1]

    @staticmethod
    def forward(a, b):
        """Both ways, until one ends."""
        def copy(source, target):
            try:
                while data := source.recv(8192):
                    target.sendall(data)
            except (OSError, ValueError):
                pass
            for sock in (source, target):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        other = threading.Thread(target=copy, args=(b, a), daemon=True)
        other.start()
        copy(a, b)
        other.join()

    def test_real_over_tcp_and_tls(self):
        """Dovecot's service has no TLS of its own: something like stunnel stands before it."""
        folder, _ = self.need_dovecot()
        ca = Authority(os.path.join(folder, "pki"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*ca.certificate("dovecot", alt="DNS:localhost"))
        secured = []

        def over_tls(sock, real):
            with context.wrap_socket(sock, server_side=True) as sock:
                secured.append(sock.version())
                self.forward(sock, real)
        plain, port = self.port_for(folder, self.forward)
        tls, tls_port = self.port_for(folder, over_tls)
        for listener in (plain, tls):
            self.addCleanup(listener.close)
            self.addCleanup(listener.shutdown, socket.SHUT_RDWR)
        verify = f"server_tls\n  server_tls_verify_certificates = {ca.pem}"
        good = [("127.0.0.1", port, ""), ("localhost", port, ""), ("127.0.0.1", tls_port, "server_tls"), ("localhost", tls_port, verify)]
        # Another name than the certificate has; clear text to who wants TLS, and the other way.
        bad = [("127.0.0.1", tls_port, verify, "name mismatch"), ("127.0.0.1", port, verify, "TLS"), ("nosuch.invalid", port, "", "no such host|DNS")]
        for number, (host, to, options, *wrong) in enumerate([*good, *bad]):
            daemon = self.sluice(server_configuration(servers=f"""begin authenticators
dc:
  driver = dovecot
  public_name = PLAIN
  server_socket = {host} {to}
  server_set_id = $auth1
  {options}
"""))
            with self.subTest(number), daemon.client() as client:
                client.ehlo()
                client.expect("AUTH PLAIN " + PLAIN, 435 if wrong else 235)
                if wrong:
                    daemon.wait_log(rf"dc authenticator failed for .*: 435 .*({wrong[0]})")
                    continue
                client.expect("MAIL FROM:<s@client.test>", 250)
                daemon.wait_log(r"id=user by=dc ")
                warning = "server_tls without server_tls_verify_certificates"
                self.assertEqual(options == "server_tls", warning in daemon.run("-bV").err)
        self.assertEqual(3, len(secured), "two good ones, and one that was looked at")

    def test_tls_to_a_path(self):
        done = self.sluice(server_configuration(servers="begin authenticators\nx:\n  driver = dovecot\n  server_socket = /x\n  server_tls\n"),
                           start=False).run("-bV")
        self.assertNotEqual(0, done.returncode)
        self.assertIn("server_tls is for a host and a port", done.err)

    def test_condition(self):
        """Dovecot says yes, and the condition no."""
        folder, _ = self.need_dovecot()
        servers = dovecot_authenticators(os.path.join(folder, "client.sock")).replace(
            "server_set_id", "server_condition = ${if eq{$auth1}{somebody}}\n  server_set_id")
        with self.sluice(server_configuration(servers=servers)).client() as client:
            client.ehlo()
            client.expect("AUTH PLAIN " + PLAIN, 535)

    def test_killed_in_the_middle(self):
        """It is gone between challenge and response; it is asked again at the next attempt."""
        answers = [b"CONT\t1\tVXNlcjo=\n", b"OK\t1\tuser=user\n"]

        def behave(sock):
            sock.sendall(self.GREETING + answers.pop(0))
            if answers:
                file = sock.makefile("rb")
                while not file.readline().startswith(b"AUTH"):
                    pass
                file.close()
                sock.close()
            else:
                answers.append(sock)  # kept open
        daemon = self.login_daemon(self.false_friend(behave))
        with daemon.client() as client:
            client.ehlo()
            client.expect("AUTH PLAIN", 334)
            client.expect(PLAIN, 435)
            client.expect("AUTH PLAIN " + PLAIN, 235)

    def test_many_at_once(self):
        """Hundreds of logins wait for a slow service; others do not wait for them."""
        gate = threading.Event()
        count = 300

        def slow(sock, _):
            sock.sendall(self.GREETING)
            file = sock.makefile("rb")
            while not file.readline().startswith(b"AUTH"):
                pass
            gate.wait(30)
            sock.sendall(b"OK\t1\tuser=user\n")
            file.readline()
        listener, port = self.port_for(None, slow)
        self.addCleanup(listener.close)
        daemon = self.sluice(server_configuration(servers=dovecot_authenticators(f"127.0.0.1 {port}")))
        clients = [daemon.client() for _ in range(count)]
        try:
            for client in clients:
                client.ehlo()
            for client in clients:
                client.send("AUTH PLAIN " + PLAIN + "\r\n")
            with daemon.client() as other:
                other.ehlo()
                other.expect("NOOP", 250)
            gate.set()
            for client in clients:
                client.wait(235)
        finally:
            gate.set()
            for client in clients:
                client.close()

    def test_master_socket(self):
        folder, _ = self.need_dovecot()
        daemon = self.login_daemon(os.path.join(folder, "auth-master"))
        with daemon.client() as client:
            client.ehlo()
            client.expect("AUTH PLAIN " + PLAIN, 435)
        daemon.wait_log("it is an auth-master socket")

    def false_friend(self, behaviour):
        """A socket whose every connection is given to behaviour(sock)."""
        folder = tempfile.mkdtemp(prefix="sluice-dovecot-")
        self.addCleanup(shutil.rmtree, folder, True)
        os.chmod(folder, 0o755)
        path = os.path.join(folder, "s")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        os.chmod(path, 0o777)
        listener.listen(10)
        self.addCleanup(listener.close)

        def serve():
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                try:
                    behaviour(sock)
                except OSError:
                    pass
        threading.Thread(target=serve, daemon=True).start()
        return path

    GREETING = b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n"

    def test_liars(self):
        kept = []
        for what, answer in (
                ("hangs up at once", None), ("another version", b"VERSION\t2\t0\nMECH\tPLAIN\nDONE\n"),
                ("master", b"VERSION\t1\t2\nSPID\t7\n"), ("no version", b"MECH\tPLAIN\nDONE\n"),
                ("another id", self.GREETING + b"OK\t2\tuser=user\n"), ("no user", self.GREETING + b"OK\t1\n"),
                ("no words", self.GREETING + b"\n"), ("endless", self.GREETING + b"O" * 20000),
                ("bad challenge", self.GREETING + b"CONT\t1\t***\n"),
                ("temporary", self.GREETING + b"FAIL\t1\tuser=user\ttemp\n"),
                ("greets for ever", b"MECH\tPLAIN\n" * 5000)):
            def behave(sock, answer=answer):
                if answer:
                    sock.sendall(answer)
                    kept.append(sock)
                else:
                    sock.close()
            with self.subTest(what):
                daemon = self.login_daemon(self.false_friend(behave))
                with daemon.client() as client:
                    client.ehlo()
                    client.expect("AUTH PLAIN " + PLAIN, 435, "4.7.0 Unable to authenticate at present$")
                    client.expect("NOOP", 250)
                self.assertNotIn(PLAIN, daemon.log())
        for sock in kept:
            sock.close()

    def test_silent(self):
        """It never says anything: the client is told after the five seconds of a greeting, others do not wait."""
        kept = []
        daemon = self.login_daemon(self.false_friend(kept.append))
        with daemon.client() as client, daemon.client() as other:
            client.ehlo()
            client.send("AUTH PLAIN " + PLAIN + "\r\n")
            other.ehlo()
            other.expect("NOOP", 250)
            client.wait(435)
            client.expect("NOOP", 250)
        daemon.wait_log("435 Unable to authenticate at present: dovecot at .*it did not answer in time")
        for sock in kept:
            sock.close()


class Swaks(SluiceTest):
    def test_swaks(self):
        program = peer("swaks")
        if not program:
            self.skipTest("swaks is not installed")
        daemon = self.sluice(server_configuration())
        for mechanism, name in (("PLAIN", "plain"), ("LOGIN", "login"), ("CRAM-MD5", "cram")):
            for password, status in (("secret", 0), ("wrong", 28)):
                done = subprocess.run([program, "--server", f"127.0.0.1:{daemon.port}", "--to", "alice@test", "--from",
                                       "s@client.test", "--auth", mechanism, "--auth-user", "user", "--auth-password",
                                       password], capture_output=True, text=True, timeout=60)
                if "could not be loaded" in done.stdout + done.stderr or "requires" in done.stderr:
                    continue  # its CRAM-MD5 needs a Perl module
                self.assertEqual(done.returncode, status, done.stdout + done.stderr)
            if mechanism != "CRAM-MD5":
                daemon.wait_log(f"<= s@client.test .*P=esmtpa A={name}:user ")


def exim_replies(exim, folder, lines):
    """What Exim's -bh says to the lines: codes and texts."""
    config = server_configuration().replace("DIR", folder)
    config = re.sub(r"\b(USER|SINKPORT)\b", lambda m: {"USER": "nobody", "SINKPORT": "1"}[m.group(1)], config)
    config = re.sub(r"(?m)^(shards|smtp_accept_queue_per_connection) .*\n", "", config)
    path = os.path.join(folder, "exim.conf")
    with open(path, "w") as f:
        f.write(config)
    done = subprocess.run([exim, "-C", path, "-bh", "10.2.3.4"], input="".join(line + "\r\n" for line in lines).encode(),
                          capture_output=True, timeout=60)
    return done.stdout.decode("utf-8", "replace")


EXCHANGES = [
    ["AUTH FOO"], ["AUTH FOO abcd"], ["AUTH P;L"], ["AUTH PLAIN="], ["auth plain " + PLAIN], ["AUTH PLAIN  " + PLAIN],
    ["AUTH PLAIN ="], ["AUTH PLAIN !!!"], ["AUTH PLAIN " + PLAIN + "!"], ["AUTH PLAIN", "*"], ["AUTH PLAIN", ""],
    ["AUTH PLAIN", "="], ["AUTH PLAIN", "!!"], ["AUTH PLAIN", PLAIN], ["AUTH PLAIN", b64("user\0secret")],
    ["AUTH PLAIN " + b64("x\0user\0secret")], ["AUTH PLAIN " + b64("\0user\0secret\0more")],
    ["AUTH PLAIN " + b64("\0user\0secret\0")], ["AUTH PLAIN " + b64("\0\0")], ["AUTH PLAIN " + b64("user")],
    ["AUTH LOGIN", b64("user"), b64("secret")], ["AUTH LOGIN", b64("user"), b64("wrong")], ["AUTH LOGIN", b64("user"), "*"],
    ["AUTH LOGIN", "*"], ["AUTH LOGIN", "", ""], ["AUTH LOGIN", b64("user\0secret")], ["AUTH LOGIN " + b64("user"), b64("secret")],
    ["AUTH LOGIN =", b64("secret")], ["AUTH LOGIN", b64("odd"), b64("x")], ["AUTH LOGIN", "****"],
    ["AUTH LOGIN", b64("user"), "a b"], ["AUTH CRAM-MD5 abcd"], ["AUTH CRAM-MD5", b64("user")], ["AUTH CRAM-MD5", b64("user x")],
    ["AUTH CRAM-MD5", "*"], ["AUTH CRAM-MD5", "!"], ["AUTH CRAM-MD5", b64("broken x")],
    ["AUTH CRAM-MD5", b64("broken " + "0" * 32)], ["AUTH CRAM-MD5", b64("user " + "0" * 32)], ["AUTH EXTERNAL"  , b64("user")],
    ["AUTH EXTERNAL " + b64("user")], ["AUTH EXTERNAL ="], ["AUTH EXTERNAL", "*"], ["AUTH HIDDEN " + b64("x")],
    ["AUTH PLAIN " + PLAIN, "AUTH PLAIN " + PLAIN], ["MAIL FROM:<a@b.test>", "AUTH PLAIN " + PLAIN],
    ["MAIL FROM:<a@b.test> AUTH=<>"], ["MAIL FROM:<a@b.test> AUTH=x+3Dy"],
]


class BesideExim(SluiceTest):
    def test_replies(self):
        exim = os.environ.get("SLUICE_ORACLE") or peer("exim")
        if not exim or not os.path.exists(exim):
            self.skipTest("exim is not there")
        folder = tempfile.mkdtemp(prefix="sluice-exim-")
        self.addCleanup(shutil.rmtree, folder, True)
        os.chmod(folder, 0o777)
        daemon = self.sluice(server_configuration("enhanced_status_advertise_hosts =\n"), start=False)
        for exchange in EXCHANGES:
            lines = ["EHLO client.test", *exchange, "QUIT"]
            theirs = exim_replies(exim, folder, lines)
            ours = daemon.run("-bh", "10.2.3.4", stdin="".join(line + "\r\n" for line in lines)).out
            with self.subTest(exchange=exchange):
                self.assertEqual(self.essence(ours), self.essence(theirs))

    @staticmethod
    def essence(text):
        """The replies behind EHLO's, without what differs by its nature."""
        lines = re.findall(r"(?m)^\d\d\d[ -].*?$", text.replace("\r", ""))
        lines = lines[lines.index("250 HELP") + 1:]
        return [re.sub(r"^334 PD.*", "334 <challenge>", line) for line in lines if not line.startswith("221")]


if __name__ == "__main__":
    unittest.main()
