"""verify: its forms and options, routers that are for verification, what callouts say to a host, and for how long their answers
are kept. The replies are those of Exim 4.98.2, which is asked too where it is at hand; callouts' replies: test_callout.py."""
import os
import re
import select
import subprocess
import tempfile
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from harness import Sink, SluiceTest, configuration, until

CONF = r"""primary_hostname = mx.test
spool_directory = DIR/spool
log_file_path = DIR/log%s
acl_smtp_rcpt = rcpt
acl_smtp_data = data
host_lookup =
disable_ipv6
begin acl
rcpt:
  RCPTACL
data:
  DATAACL
begin routers
only:
  driver = accept
  transport = null
  local_parts = only
  verify_only
fail:
  driver = accept
  transport = null
  local_parts = fail
  fail_verify
failr:
  driver = accept
  transport = null
  local_parts = failr
  fail_verify_recipient
fails:
  driver = accept
  transport = null
  local_parts = fails
  fail_verify_sender
skip:
  driver = accept
  transport = null
  local_parts = skip
  no_verify
skipr:
  driver = accept
  transport = null
  local_parts = skipr
  no_verify_recipient
skips:
  driver = accept
  transport = null
  local_parts = skips
  no_verify_sender
toany:
  driver = redirect
  allow_fail
  allow_defer
  data = ${extract{$local_part}{tobad=bad@x.test togood=good@x.test tomany=bad@x.test,good@x.test     tofail=":fail: gone away" todefer=":defer: not now"}{$value}fail}
data:
  driver = accept
  transport = null
  local_parts = data
  address_data = some-$local_part
good:
  driver = accept
  transport = null
  local_parts = good : s : Good
begin transports
null:
  driver = appendfile
  file = /dev/null
  user = nobody
"""

# name: (statement, what the message is), the reply
FORMS = {
    "recipient": (("verify = recipient", {}), ['250 fine']),
    "recipient_bad": (("verify = recipient", {'rcpt': 'bad@x.test'}), ['550 Unrouteable address']),
    "recipient_bad_no_details": (("verify = recipient/no_details", {'rcpt': 'tofail@x.test'}), ['550 gone away']),
    "recipient_only": (("verify = recipient", {'rcpt': 'only@x.test'}), ['250 fine']),
    "recipient_fail": (("verify = recipient", {'rcpt': 'fail@x.test'}), ['550 fail router forced verify failure']),
    "recipient_failr": (("verify = recipient", {'rcpt': 'failr@x.test'}), ['550 failr router forced verify failure']),
    "recipient_fails": (("verify = recipient", {'rcpt': 'fails@x.test'}), ['250 fine']),
    "recipient_skip": (("verify = recipient", {'rcpt': 'skip@x.test'}), ['550 Unrouteable address']),
    "recipient_skipr": (("verify = recipient", {'rcpt': 'skipr@x.test'}), ['550 Unrouteable address']),
    "recipient_skips": (("verify = recipient", {'rcpt': 'skips@x.test'}), ['250 fine']),
    "recipient_tobad": (("verify = recipient", {'rcpt': 'tobad@x.test'}), ['550 Unrouteable address']),
    "recipient_tobad_success": (("verify = recipient/success_on_redirect", {'rcpt': 'tobad@x.test'}), ['250 fine']),
    "recipient_togood": (("verify = recipient", {'rcpt': 'togood@x.test'}), ['250 fine']),
    "recipient_tomany": (("verify = recipient", {'rcpt': 'tomany@x.test'}), ['250 fine']),
    "recipient_tofail": (("verify = recipient", {'rcpt': 'tofail@x.test'}), ['550 gone away']),
    "recipient_todefer": (("verify = recipient", {'rcpt': 'todefer@x.test'}), ['451 not now']),
    "recipient_todefer_ok": (("verify = recipient/defer_ok", {'rcpt': 'todefer@x.test'}), ['250 fine']),
    "recipient_data": (("verify = recipient\n accept message = [$address_data]", {'rcpt': 'data@x.test'}), ['250 [some-data]']),
    "recipient_failure": (("!verify = recipient\n accept message = [$recipient_verify_failure]", {'rcpt': 'bad@x.test'}), ['250 [route]']),
    "sender_only": (("verify = sender", {'sender': 'only@x.test'}), ['250 fine']),
    "sender_fail": (("verify = sender", {'sender': 'fail@x.test'}), ['550 Sender verify failed']),
    "sender_failr": (("verify = sender", {'sender': 'failr@x.test'}), ['250 fine']),
    "sender_fails": (("verify = sender", {'sender': 'fails@x.test'}), ['550 Sender verify failed']),
    "sender_skips": (("verify = sender", {'sender': 'skips@x.test'}), ['550-Verification failed for <skips@x.test>', '550-Unrouteable address', '550 Sender verify failed']),
    "sender_skipr": (("verify = sender", {'sender': 'skipr@x.test'}), ['250 fine']),
    "sender_todefer": (("verify = sender", {'sender': 'todefer@x.test'}), ['451 Temporary local problem - please try later']),
    "sender_todefer_ok": (("verify = sender/defer_ok", {'sender': 'todefer@x.test'}), ['250 fine']),
    "sender_bad": (("verify = sender", {'sender': 'bad@x.test'}), ['550-Verification failed for <bad@x.test>', '550-Unrouteable address', '550 Sender verify failed']),
    "sender_bad_no_details": (("verify = sender/no_details", {'sender': 'bad@x.test'}), ['550 Sender verify failed']),
    "sender_null": (("verify = sender", {'sender': ''}), ['250 fine']),
    "sender_given": (("verify = sender=bad@x.test", {}), ['550-Verification failed for <bad@x.test>', '550-Unrouteable address', '550 Sender verify failed']),
    "sender_given_good": (("verify = sender=good@x.test/no_details", {'sender': 'bad@x.test'}), ['250 fine']),
    "header_sender": (("verify = header_sender", {'data': 'From: good@x.test'}), ['250 fine']),
    "header_sender_bad": (("verify = header_sender", {'data': 'From: bad@x.test'}), ['550 Administrative prohibition']),
    "header_sender_one_of": (("verify = header_sender", {'data': 'From: bad@x.test\nReply-To: good@x.test'}), ['250 fine']),
    "header_sender_defer": (("verify = header_sender", {'data': 'From: todefer@x.test'}), ['451 Temporary local problem - please try later']),
    "header_sender_defer_ok": (("verify = header_sender/defer_ok", {'data': 'From: todefer@x.test'}), ['250 fine']),
    "header_sender_none": (("verify = header_sender", {'data': 'Subject: x'}), ['550 Administrative prohibition']),
    "header_syntax": (("verify = header_syntax", {'data': 'From: good@x.test\nTo: A B <a@x.test>, c@x.test'}), ['250 fine']),
    "header_syntax_bad": (("verify = header_syntax", {'data': 'From: good@x.test\nTo: A B <a@x.test, c@x.test'}), ['550 Administrative prohibition']),
    "header_syntax_cc": (("verify = header_syntax", {'data': 'Cc: @'}), ['550 Administrative prohibition']),
    "header_syntax_empty": (("verify = header_syntax", {'data': 'To: '}), ['250 fine']),
    "header_syntax_group": (("verify = header_syntax", {'data': 'To: undisclosed-recipients:;'}), ['250 fine']),
    "header_syntax_unqualified": (("verify = header_syntax", {'data': 'To: someone'}), ['550 Administrative prohibition']),
    "names": (("verify = header_names_ascii", {'data': 'Subject: ä'}), ['250 fine']),
    "names_bad": (("verify = header_names_ascii", {'data': 'X-ä: x'}), ['550 Administrative prohibition']),
    "not_blind": (("verify = not_blind", {'data': 'To: good@x.test'}), ['250 fine']),
    "not_blind_cc": (("verify = not_blind", {'data': 'Cc: B <good@x.test>'}), ['250 fine']),
    "not_blind_bcc": (("verify = not_blind", {'data': 'To: other@x.test\nBcc: good@x.test'}), ['550 Administrative prohibition']),
    "not_blind_case": (("verify = not_blind", {'data': 'To: good@x.test', 'rcpt': 'Good@x.test'}), ['550 Administrative prohibition']),
    "not_blind_nocase": (("verify = not_blind/case_insensitive", {'data': 'To: good@x.test', 'rcpt': 'Good@x.test'}), ['250 fine']),
    "not_blind_domain_case": (("verify = not_blind", {'data': 'To: good@X.TEST'}), ['250 fine']),
    "helo": (("verify = helo", {}), ['550 Administrative prohibition']),
    "certificate": (("verify = certificate", {}), ['550 no verified certificate']),
    "recipient_at_data": (("verify = ${lc:RECIPIENT}", {'data': 'Subject: x'}), ['451 Temporary local problem - please try later']),
}


def exim():
    path = os.environ.get("SLUICE_ORACLE")
    return path if path and os.access(path, os.X_OK) else None


class Forms(unittest.TestCase):
    def replies(self, command, form, message):
        at_data = "data" in message
        acl = f"{'deny condition = no' if form.startswith('!') else ''}\n  {'warn' if form.startswith('!') else 'require'} {form}\n  accept message = fine"
        with tempfile.TemporaryDirectory() as tmp:
            os.chmod(tmp, 0o755)
            with open(os.path.join(tmp, "conf"), "w") as f:
                f.write(CONF.replace("DIR", tmp).replace("RCPTACL", "accept" if at_data else acl)
                        .replace("DATAACL", acl if at_data else "accept"))
            text = (f"EHLO c.test\nMAIL FROM:<{message.get('sender', 's@x.test')}>\nRCPT TO:<{message.get('rcpt', 'good@x.test')}>\n"
                    + (f"DATA\n{message['data']}\n\nbody\n.\n" if at_data else "") + "QUIT\n")
            run = subprocess.run([command, "-C", os.path.join(tmp, "conf"), "-bh", "10.1.2.3"], input=text.encode(),
                                 capture_output=True, timeout=60)
        lines = [re.sub(r"^(\d\d\d[ -])[245]\.\d+\.\d+ ", r"\1", line)
                 for line in run.stdout.decode("utf-8", "replace").splitlines() if re.match(r"\d\d\d([ -]|$)", line)]
        start = max(i for i, line in enumerate(lines) if line.startswith("354" if at_data else "250 OK"))
        return lines[start + 1:-1]

    def compare(self, command):
        with ThreadPoolExecutor(2) as pool:
            said = pool.map(lambda case: self.replies(command, *case[0]), FORMS.values())
            for (name, (_, expected)), replies in zip(FORMS.items(), said):
                with self.subTest(name):
                    self.assertEqual(replies, expected)

    def test_forms(self):
        self.compare(os.environ["SLUICE"])

    @unittest.skipUnless(exim(), "no Exim here (SLUICE_ORACLE)")
    def test_exim_says_the_same(self):
        self.compare(exim())


HOST = """primary_hostname = mx.test
spool_directory = DIR/spool
log_file_path = DIR/log%s
acl_smtp_rcpt = rcpt
acl_smtp_data = data
host_lookup =
qualify_domain = q.test
disable_ipv6
MAIN
begin acl
rcpt:
  RCPTACL
  accept
data:
  DATAACL
  accept
begin routers
r:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = smtp
begin transports
smtp:
  driver = smtp
  port = PORT
  allow_localhost
  hosts_try_fastopen = :
"""


def rej(*rows):
    return lambda verb, argument, session: next((reply for v, part, reply in rows if v == verb and part in (argument or "")), None)


NULL, RCPT, QUIT = "MAIL FROM:<>", "RCPT TO:<a@x.test>", "QUIT"
RANDOM = "RCPT TO:<nobody-x.test@x.test>"
NOBODY = rej(("RCPT", "nobody", "550 no"))
# name: (ACL at RCPT, the host, what else), what it hears behind EHLO in all sessions
HEARD = {
    "plain": (("verify = recipient/callout", None, {}), [NULL, RCPT, QUIT]),
    "use_sender": (("verify = recipient/callout=use_sender", None, {}), ["MAIL FROM:<s@y.test>", RCPT, QUIT]),
    "use_sender_of_a_bounce": (("verify = recipient/callout=use_sender", None, dict(sender="")), [NULL, RCPT, QUIT]),
    "use_postmaster": (("verify = recipient/callout=use_postmaster", None, {}), ["MAIL FROM:<postmaster@q.test>", RCPT, QUIT]),
    "random": (("verify = recipient/callout=random", NOBODY, {}), [NULL, RANDOM, "RSET", NULL, RCPT, QUIT]),
    "random_taken": (("verify = recipient/callout=random", None, {}), [NULL, RANDOM, QUIT]),
    "random_use_sender": (("verify = recipient/callout=random,use_sender", NOBODY, {}),
                          ["MAIL FROM:<s@y.test>", RANDOM, "RSET", "MAIL FROM:<s@y.test>", RCPT, QUIT]),
    "postmaster": (("verify = recipient/callout=postmaster", None, {}),
                   [NULL, RCPT, "RSET", NULL, "RCPT TO:<postmaster@x.test>", QUIT]),
    "postmaster_mailfrom": (("verify = recipient/callout=postmaster_mailfrom=m@z.test", None, {}),
                            [NULL, RCPT, "RSET", "MAIL FROM:<m@z.test>", "RCPT TO:<postmaster@x.test>", QUIT]),
    "fullpostmaster": (("verify = recipient/callout=fullpostmaster", rej(("RCPT", "postmaster@", "550 no")), {}),
                       [NULL, RCPT, "RSET", NULL, "RCPT TO:<postmaster@x.test>", "RCPT TO:<postmaster>", QUIT]),
    "sender": (("verify = sender/callout", None, {}), [NULL, "RCPT TO:<s@y.test>", QUIT]),
    "sender_given": (("verify = sender=o@z.test/callout", None, {}), [NULL, "RCPT TO:<o@z.test>", QUIT]),
    "header_sender": (("", None, dict(data="verify = header_sender/callout")), [NULL, "RCPT TO:<f@h.test>", QUIT]),
    "header_sender_mailfrom": (("", None, dict(data="verify = header_sender/callout=mailfrom=m@z.test")),
                               ["MAIL FROM:<m@z.test>", "RCPT TO:<f@h.test>", QUIT]),
    # An answer to one sender's question is none to another's.
    "kept_by_sender": (("verify = recipient/callout=use_sender", None, dict(senders=("s@y.test", "t@y.test", "s@y.test"))),
                       ["MAIL FROM:<s@y.test>", RCPT, QUIT, "MAIL FROM:<t@y.test>", RCPT, QUIT]),
    "kept": (("verify = recipient/callout", None, dict(senders=("s@y.test", "t@y.test"))), [NULL, RCPT, QUIT]),
}


class Heard(unittest.TestCase):
    def heard(self, command, acl, script, more):
        sink = Sink(script)
        with tempfile.TemporaryDirectory() as tmp:
            os.chmod(tmp, 0o755)
            os.mkdir(os.path.join(tmp, "spool"))
            os.chmod(os.path.join(tmp, "spool"), 0o777)  # Exim keeps hints as its own user
            conf = os.path.join(tmp, "conf")
            with open(conf, "w") as f:
                f.write(HOST.replace("DIR", tmp).replace("RCPTACL", f"require {acl}" if acl else "")
                        .replace("DATAACL", f"require {more['data']}" if "data" in more else "").replace("PORT", str(sink.port))
                        .replace("MAIN", "callout_random_local_part = nobody-$domain"))
            for sender in more.get("senders", (more.get("sender", "s@y.test"),)):
                text = f"EHLO c.test\nMAIL FROM:<{sender}>\nRCPT TO:<a@x.test>\nDATA\nFrom: f@h.test\n\n.\nQUIT\n"
                subprocess.run([command, "-C", conf, "-bhc", "10.1.2.3"], input=text, capture_output=True, text=True, timeout=60)
        sink.close()
        return [line for session in sink.sessions for line in session.commands if not line.startswith("EHLO")]

    def compare(self, command):
        with ThreadPoolExecutor(2) as pool:
            said = pool.map(lambda case: self.heard(command, *case[0]), HEARD.values())
            for (name, (_, expected)), commands in zip(HEARD.items(), said):
                with self.subTest(name):
                    self.assertEqual(commands, expected)

    def test_commands(self):
        self.compare(os.environ["SLUICE"])

    @unittest.skipUnless(exim(), "no Exim here (SLUICE_ORACLE)")
    def test_exim_says_the_same(self):
        self.compare(exim())


POLICY = """begin acl
rcpt_acl:
  STATEMENTS
  accept
begin routers
r:
  driver = manualroute
  route_list = * HOSTS
  self = send
  transport = smtp
begin transports
smtp:
  driver = smtp
  port = SINKPORT
  allow_localhost
"""


class Time(SluiceTest):
    def begin(self, statements, script=None, main="", hosts="127.0.0.1"):
        self.host = self.sink(script)
        return self.sluice(configuration(main, POLICY.replace("STATEMENTS", statements).replace("HOSTS", hosts)),
                           macros={"SINKPORT": str(self.host.port)})

    def ask(self, server, code):
        with server.client() as client:
            client.ehlo()
            client.expect("MAIL FROM:<s@y.test>", 250)
            client.expect("RCPT TO:<a@x.test>", code)

    def test_answers_grow_old(self):
        """Each of the four times: asked at first, not asked while it is fresh, asked again when it is old."""
        cases = (("callout_positive_expire", "", None, 250),
                 ("callout_negative_expire", "", rej(("RCPT", "a@", "550 no")), 550),
                 ("callout_domain_negative_expire", "", rej(("MAIL", "", "550 no")), 550),
                 ("callout_domain_positive_expire", "=random", None, 250))
        for option, words, script, code in cases:
            for life in ("1h", "1s"):
                with self.subTest(option, life=life):
                    server = self.begin(f"require verify = recipient/callout{words}", script, f"{option} = {life}\n")
                    self.ask(server, code)
                    if life == "1h":
                        self.ask(server, code)
                        self.assertEqual(len(self.host.sessions), 1)
                    else:
                        until(lambda: self.ask(server, code) or len(self.host.sessions) > 1, "another question", 20)

    def test_silent_hosts(self):
        """callout=1s, and its defer_ok; maxwait, when there are several."""
        silent = threading.Event()
        self.addCleanup(silent.set)

        def script(verb, *_):
            if verb == "RCPT":
                silent.wait(60)

        for words, code in (("1s", 451), ("1s,defer_ok", 250), ("20s,maxwait=1s", 451)):
            with self.subTest(words):
                server = self.begin(f"require verify = recipient/callout={words}", script, hosts="127.0.0.1:localhost")
                start = time.monotonic()
                self.ask(server, code)
                self.assertLess(time.monotonic() - start, 15)
        silent.set()

    def test_replies_go_out_before_a_callout(self):
        """Unless control = no_callout_flush says otherwise."""
        for control in ("", "warn control = no_callout_flush\n  "):
            with self.subTest(control):
                asked, answer = threading.Event(), threading.Event()
                self.addCleanup(answer.set)

                def script(verb, *_):
                    if verb == "RCPT":
                        asked.set()
                        answer.wait(60)

                server = self.begin(control + "require verify = recipient/callout", script)
                with server.client() as client:
                    client.ehlo()
                    client.send("MAIL FROM:<s@y.test>\r\nRCPT TO:<a@x.test>\r\n")
                    self.assertTrue(asked.wait(30))
                    if control:
                        self.assertEqual(select.select([client.sock], [], [], 0)[0], [])
                    else:
                        client.wait(250)
                    answer.set()
                    client.wait(250)
                    if control:
                        client.wait(250)


if __name__ == "__main__":
    unittest.main()
