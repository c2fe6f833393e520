"""control = cutthrough_delivery and callout=hold: the next hop is told of a message while its client still talks to us. What
clients, logs and next hops see in a table of cases is what Exim 4.98.2 makes of them, which is asked too where it is at hand."""
import hashlib
import os
import re
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest

from harness import Client, Sink, SluiceTest, configuration, peer, until

HELD = "accept verify = recipient/callout=use_sender,hold"
WANTED = "warn control = cutthrough_delivery\n  accept"
PASSED = "warn control = cutthrough_delivery/defer=pass\n  accept"
CHECKED = "warn control = cutthrough_delivery\n  require verify = recipient/callout=use_sender\n  accept"

# By the name that the client gives in EHLO, in front of the port of the next hop: what its recipients are judged by ...
RCPT = {
    "plain": WANTED,
    "pass": PASSED,
    "checked": CHECKED,
    "before": "require verify = recipient\n  " + WANTED,
    "othercallout": "warn control = cutthrough_delivery\n  require verify = recipient/callout\n  accept",
    "heldfirst": "require verify = recipient/callout=use_sender,hold\n  " + WANTED,
    "held": HELD,
    "secondonly": "warn local_parts = b\n  control = cutthrough_delivery\n  accept",
    "firstonly": "warn local_parts = a\n  control = cutthrough_delivery\n  accept",
    "thendenied": "warn control = cutthrough_delivery\n  require verify = recipient/callout=use_sender\n"
                   "  deny local_parts = b\n  accept",
    "discard": "warn control = cutthrough_delivery\n  discard",
    "frozen": "warn control = freeze/no_tell\n  " + WANTED,
    "headers": "warn add_header = X-Rcpt: 1\n  remove_header = x-kill\n  " + WANTED,
}
# ... and its messages.
DATA = {
    "datadeny": "deny message = bad content",
    "datadefer": "defer message = bad content",
    "datawords": "accept message = custom words",
    "datadiscard": "discard",
    "datafreeze": "accept control = freeze/no_tell",
    "dataqueue": "accept control = queue",
    "dataheader": "warn add_header = X-Data: 1\n  accept",
}
POLICY = ("begin acl\ndata_none:\n  accept\n" + "".join(f"rcpt_{name}:\n  {text}\n" for name, text in RCPT.items())
          + "".join(f"rcpt_{name}:\n  {WANTED}\ndata_{name}:\n  {text}\n" for name, text in DATA.items()) + """
begin routers
deferred:
  driver = redirect
  domains = x.test
  local_parts = later
  data = :defer: wait a bit
  allow_defer
alias:
  driver = redirect
  domains = x.test
  data = ${if eq{$local_part}{one}{c@x.test}{${if eq{$local_part}{two}{c@x.test,d@x.test}fail}}}
elsewhere:
  driver = manualroute
  domains = elsewhere.test
  route_list = * 127.0.0.2
  self = send
  transport = smtp
edited:
  driver = manualroute
  domains = edited.test
  route_list = * 127.0.0.1
  self = send
  transport = edited
  headers_add = X-Router: $local_part
filtered:
  driver = manualroute
  domains = filtered.test
  route_list = * 127.0.0.1
  self = send
  transport = filtered
signed:
  driver = manualroute
  domains = signed.test
  route_list = * 127.0.0.1
  self = send
  transport = signed
sealed:
  driver = manualroute
  domains = sealed.test
  route_list = * 127.0.0.1
  self = send
  transport = sealed
near:
  driver = accept
  domains = near.test
  transport = file
far:
  driver = manualroute
  domains = !nosuch.test
  route_list = * 127.0.0.1
  self = send
  transport = smtp
begin transports
SMTP
edited:
  HOP
  headers_add = X-Transport: $transport_name
  headers_remove = subject
filtered:
  HOP
  transport_filter = /bin/cat
signed:
  HOP
  dkim_domain = mx.test
  dkim_selector = s
  dkim_private_key = /nonexistent
sealed:
  HOP
.ifdef _OPT_TRANSPORT_SMTP_ARC_SIGN
  arc_sign = mx.test : s : /nonexistent
.endif
file:
  driver = appendfile
  file = DIR/mbox
  create_directory
  user = nobody
begin retry
* * F,2h,1h
""").replace("SMTP", "smtp:\n  HOP\n", 1).replace("HOP", """driver = smtp
  port = ${extract{2}{.}{$sender_helo_name}}
  allow_localhost
  hosts_try_fastopen = :
  hosts_try_chunking = :""")

def names(prefix, table):
    """An ACL's name must not be a stranger's word: one of ours is chosen by his."""
    return "".join(f"${{if eq{{${{extract{{1}}{{.}}{{$sender_helo_name}}}}}}{{{name}}}{{{prefix}_{name}}}}}" for name in table)


MAIN = f"acl_smtp_rcpt = {names('rcpt', [*RCPT, *DATA])}\n" \
       f"acl_smtp_data = ${{if match{{$sender_helo_name}}{{^data}}{{{names('data', DATA)}}}{{data_none}}}}\n"

BODY = "X-Kill: me\r\nSubject: hi\r\n\r\n.dot\r\nbody\r\n"


def rej(*rows):
    return lambda verb, argument, session: next(
        (reply for v, part, reply in rows if v == verb and part in (argument or "")), None)


HELLO = "EHLO mx.test"
MAILS = "MAIL FROM:<s@y.test>"
RCPTA = "RCPT TO:<a@x.test>"
RCPTB = "RCPT TO:<b@x.test>"
ALL = [HELLO, MAILS, RCPTA, "DATA", "QUIT"]
BOTH = [HELLO, MAILS, RCPTA, RCPTB, "DATA", "QUIT"]
OK = "250 Accepted"
GO = '354 Enter message, ending with "." on a line by itself'
KEPT = "250 OK id=ID"
NO = "550 Administrative prohibition"
THROUGH = 'ID >> a@x.test R=far T=smtp H=127.0.0.1 [127.0.0.1] C="250 2.0.0 kept"'
THROUGHB = THROUGH.replace("a@x", "b@x")


def came(name):
    return f"ID <= s@y.test H=({name}) [127.0.0.1] P=esmtp S="


def refused(name, words, who="a@x.test", how="rejected after DATA", router="far", transport="smtp"):
    return (f"ID H=({name}) [127.0.0.1] {who} F=<s@y.test> {how}: R={router} T={transport} H=127.0.0.1 [127.0.0.1] "
            f'C="{words}"')


PUT_OFF = "tmp-reject from cutthrough after DATA"
AB = dict(rcpts=("a@x.test", "b@x.test"))
# name: (EHLO, the hop, what else), replies, log lines, what the first connection to the hop heard
CASES = {
    "delivered": (("plain", None, {}), [OK, GO, KEPT], [THROUGH, came("plain")], ALL),
    "two": (("plain", None, AB), [OK, OK, GO, KEPT], [THROUGHB, THROUGH, came("plain")], BOTH),
    "mail_refused": (("plain", rej(("MAIL", "", "550 not you")), {}), [NO], [], None),
    "mail_deferred": (("plain", rej(("MAIL", "", "450 not now")), {}), [OK, GO, KEPT], [came("plain")], None),
    "banner_refused": (("plain", rej(("BANNER", "", "554 go away")), {}), [NO], [], None),
    "lost_at_once": (("plain", rej(("BANNER", "", Sink.CLOSE)), {}), [OK, GO, KEPT], [came("plain")], []),
    "lost_at_once_pass": (("pass", rej(("BANNER", "", Sink.CLOSE)), {}),
                          ["451 Temporary local problem - please try later"], [], []),
    "rcpt_deferred": (("plain", rej(("RCPT", "a@", "450 later")), {}), [OK, GO, KEPT], [came("plain")],
                      [HELLO, MAILS, RCPTA, "QUIT"]),
    "rcpt_deferred_pass": (("pass", rej(("RCPT", "a@", "450 a later")), {}), ["450 a later"], [],
                           [HELLO, MAILS, RCPTA, "QUIT"]),
    "second_deferred": (("plain", rej(("RCPT", "b@", "450 later")), AB), [OK, OK, GO, KEPT], [came("plain")],
                        [HELLO, MAILS, RCPTA, RCPTB, "QUIT"]),
    "data_refused": (("plain", rej(("DATA", "", "550 no data")), {}), [OK, GO, KEPT], [came("plain")], ALL),
    "data_deferred": (("pass", rej(("DATA", "", "450 no data")), {}), [OK, GO, KEPT], [came("pass")], ALL),
    "end_552": (("plain", rej(("END", "", "552 too much")), {}), [OK, GO, "552 too much"],
                [refused("plain", "552 too much")], ALL),
    "end_552_lines": (("plain", rej(("END", "", "552-too much\r\n552-of\r\n552 all")), {}),
                      [OK, GO, "552-too much", "552-of", "552 all"], None, ALL),
    "end_552_two": (("plain", rej(("END", "", "552 too much")), AB), [OK, OK, GO, "552 too much"],
                    [refused("plain", "552 too much", "b@x.test"), refused("plain", "552 too much")], BOTH),
    "end_452": (("plain", rej(("END", "", "452 full")), {}), [OK, GO, KEPT],
                [refused("plain", "452 full", how=PUT_OFF), came("plain")], ALL),
    "end_452_pass": (("pass", rej(("END", "", "452 full")), {}), [OK, GO, "452 full"],
                     [refused("pass", "452 full", how=PUT_OFF)], ALL),
    "end_lost": (("plain", rej(("END", "", Sink.CLOSE)), {}), [OK, GO, KEPT], [came("plain")], ALL[:-1]),
    "end_lost_pass": (("pass", rej(("END", "", Sink.CLOSE)), {}),
                      [OK, GO, "450 Onward transmission not accepted"], [], ALL[:-1]),
    "end_strange_pass": (("pass", rej(("END", "", "354 what")), {}),
                         [OK, GO, "450 Onward transmission not accepted"], [], ALL),
    "unrouteable": (("plain", None, dict(rcpts=("a@nosuch.test",))), [NO], [], None),
    "route_deferred": (("plain", None, dict(rcpts=("later@x.test",))), [OK, GO, KEPT], [came("plain")], None),
    "route_deferred_pass": (("pass", None, dict(rcpts=("later@x.test",))),
                            ["451 Temporary local problem - please try later"], [], None),
    "local": (("plain", None, dict(rcpts=("a@near.test",))), [OK, GO, KEPT], [came("plain")], None),
    "another_host": (("plain", None, dict(rcpts=("a@x.test", "b@elsewhere.test"))), [OK, OK, GO, KEPT],
                     [came("plain")], [HELLO, MAILS, RCPTA, "QUIT"]),
    "alias": (("plain", None, dict(rcpts=("one@x.test", "a@x.test"))), [OK, OK, GO, KEPT],
              [THROUGH, THROUGH.replace("a@x.test", "c@x.test <one@x.test>"), came("plain")],
              [HELLO, MAILS, "RCPT TO:<c@x.test>", RCPTA, "DATA", "QUIT"]),
    "alias_of_two": (("plain", None, dict(rcpts=("two@x.test",))), [OK, GO, KEPT], [came("plain")], None),
    "filtered": (("plain", None, dict(rcpts=("a@filtered.test",))), [OK, GO, KEPT], [came("plain")], None),
    "signed": (("plain", None, dict(rcpts=("a@signed.test",))), [OK, GO, KEPT], [came("plain")], None),
    "chunks": (("plain", None, dict(chunks=True)), [OK, KEPT], [came("plain").replace("esmtp", "esmtp K")],
               [HELLO, MAILS, RCPTA, "QUIT"]),
    "frozen": (("frozen", None, {}), [OK, GO, KEPT], [came("frozen")], None),
    "discarded": (("discard", None, {}), [OK, GO, KEPT], [came("discard")], None),
    "data_deny": (("datadeny", None, {}), [OK, GO, "550 bad content"], [], ALL[:-1]),
    "data_defer": (("datadefer", None, {}), [OK, GO, "451 bad content"], [], ALL[:-1]),
    "data_words": (("datawords", None, {}), [OK, GO, "250 custom words"], [THROUGH, came("datawords")], ALL),
    "data_discard": (("datadiscard", None, {}), [OK, GO, KEPT], [came("datadiscard")], ALL[:-1]),
    "data_freeze": (("datafreeze", None, {}), [OK, GO, KEPT], [came("datafreeze")], ALL[:-1]),
    "data_queue": (("dataqueue", None, {}), [OK, GO, KEPT], [came("dataqueue")], ALL[:-1]),
    "data_header": (("dataheader", None, {}), [OK, GO, KEPT],
                    ["ID Header modification in data ACLs will not take effect on cutthrough deliveries", THROUGH,
                     came("dataheader")], ALL),
    "second_only": (("secondonly", None, AB), [OK, OK, GO, KEPT], [came("secondonly")], None),
    "first_only": (("firstonly", None, AB), [OK, OK, GO, KEPT], [THROUGHB, THROUGH, came("firstonly")], BOTH),
    "checked": (("checked", None, AB), [OK, OK, GO, KEPT], [THROUGHB, THROUGH, came("checked")], BOTH),
    "checked_before": (("before", None, {}), [OK, GO, KEPT], [THROUGH, came("before")], ALL),
    "checked_refused": (("checked", rej(("RCPT", "a@", "550 no a")), {}),
                        ["550-Callout verification failed:", "550 550 no a"], [], [HELLO, MAILS, RCPTA, "QUIT"]),
    "another_callout": (("othercallout", None, {}), [OK, GO, KEPT], [THROUGH, came("othercallout")],
                        [HELLO, "MAIL FROM:<>", RCPTA, "QUIT"]),
    "held_first": (("heldfirst", None, {}), [OK, GO, KEPT], [THROUGH, came("heldfirst")], ALL),
    "size": (("plain", None, dict(parameters=" SIZE=1000", extensions=("SIZE 100000", "8BITMIME"))), [OK, GO, KEPT],
             [THROUGH, came("plain")], [HELLO, MAILS + " SIZE=2024", RCPTA, "DATA", "QUIT"]),
    "null_sender": (("plain", None, dict(sender="")), [OK, GO, KEPT],
                    [THROUGH, came("plain").replace("s@y.test", "<>")], [HELLO, "MAIL FROM:<>", RCPTA, "DATA", "QUIT"]),
}
# Where we differ on purpose.
OURS = {
    # The others' delivery does not end with the one whom the host does not want.
    "second_refused": (("plain", rej(("RCPT", "b@", "550 no b")), AB), [OK, NO, GO, KEPT], [THROUGH, came("plain")],
                       BOTH),
    "first_refused": (("plain", rej(("RCPT", "a@", "550 no a")), AB), [NO, OK, GO, KEPT], [THROUGHB, came("plain")],
                      BOTH),
    "second_deferred_pass": (("pass", rej(("RCPT", "b@", "450 b later")), AB), [OK, "450 b later", GO, KEPT],
                             [THROUGH, came("pass")], BOTH),
    # Whom the ACL refuses behind its callout gets nothing.
    "then_denied": (("thendenied", None, AB), [OK, NO, GO, KEPT], [came("thendenied")],
                    [HELLO, MAILS, RCPTA, RCPTB, "QUIT"]),
    "same_twice": (("plain", None, dict(rcpts=("a@x.test", "a@x.test"))), [OK, OK, GO, KEPT], [THROUGH, came("plain")],
                   ALL),
    "sealed": (("plain", None, dict(rcpts=("a@sealed.test",))), [OK, GO, KEPT], [came("plain")], None),
}


def exim():
    path = os.environ.get("SLUICE_ORACLE", "")
    return path if os.access(path, os.X_OK) and os.getuid() == 0 else None


def dialogue(client, helo, rcpts=("a@x.test",), sender="s@y.test", parameters="", chunks=False, body=BODY,
             extensions=None):
    """The replies from the first RCPT to the message's."""
    said = []

    def say(text):
        client.send(text)
        reply = client.reply()
        said.extend(f"{reply.code}{'-' if i < len(reply.lines) - 1 else ' '}{line[4:]}" for i, line in enumerate(reply.lines))
        return reply

    client.send(f"EHLO {helo}\r\n")
    client.reply()
    client.expect(f"MAIL FROM:<{sender}>{parameters}", 250)
    if sum([say(f"RCPT TO:<{r}>\r\n").code == 250 for r in rcpts]):
        if chunks:
            half = len(body) // 2
            client.send(f"BDAT {half}\r\n" + body[:half])
            client.reply()
            client.send(f"BDAT {len(body) - half} LAST\r\n" + body[half:])
            said.append("250 " + client.reply().lines[-1][4:])
        elif say("DATA\r\n").code == 354:
            say(re.sub(r"(?m)^\.", "..", body) + ".\r\n")
    client.cmd("QUIT")
    return [re.sub(r"id=\S+", "id=ID", re.sub(r"^(\d\d\d[ -])[245]\.\d+\.\d+ ", r"\1", line)) for line in said]


def log_lines(text):
    """Those of reception and cutthrough delivery, without what differs from run to run."""
    lines = [re.sub(r"[0-9A-Za-z]{6}-[0-9A-Za-z]{6,11}-[0-9A-Za-z]{2,4}", "ID", line[20:]) for line in text.splitlines()]
    return [re.sub(r"S=\d+", "S=", re.sub(r"\((\S+)\.\d+\)", r"(\1)", line)) for line in lines
            if re.search(r"^ID (>>|<= (?!<> R=)|Header|H=.* (rejected|cutthrough) after DATA: R=)", line)]


class Table(SluiceTest):
    def test_cases(self):
        server = self.sluice(configuration(MAIN, POLICY, acl_rcpt=False))
        for name, ((helo, script, more), replies, lines, hop) in {**CASES, **OURS}.items():
            with self.subTest(name):
                log = len(server.log())
                sink = self.sink(script, more.get("extensions", ("PIPELINING", "8BITMIME")))
                with server.client() as client:
                    self.assertEqual(dialogue(client, f"{helo}.{sink.port}", **more), replies)
                if lines is not None:
                    until(lambda: len(log_lines(server.log()[log:])) >= len(lines),
                          lambda: f"{lines} in {server.log()[log:]}", 10)
                    self.assertEqual(log_lines(server.log()[log:]), lines)
                if hop is not None:
                    self.heard(sink.sessions[0], hop)
                sink.close()

    def heard(self, session, hop):
        until(lambda: len(session.commands) >= len(hop), lambda: f"{hop}; so far {session.commands}", 10)
        self.assertEqual(session.commands, hop)

    def exim_case(self, case):
        (helo, script, more), replies, lines, hop = case
        sink = Sink(script, more.get("extensions", ("PIPELINING", "8BITMIME")))
        with tempfile.TemporaryDirectory() as tmp, socket.create_server(("127.0.0.1", 0)) as listener:
            os.chmod(tmp, 0o777)
            conf = os.path.join(tmp, "conf")
            with open(conf, "w") as f:
                f.write((f"primary_hostname = mx.test\nspool_directory = {tmp}/spool\nlog_file_path = {tmp}/log%s\n"
                         "host_lookup =\nrfc1413_hosts =\ndisable_ipv6\n" + MAIN + POLICY).replace("DIR", tmp))
            client = Client(listener.getsockname()[1], banner=False)
            accepted, _ = listener.accept()
            with accepted:
                server = subprocess.Popen([exim(), "-C", conf, "-bs"], stdin=accepted, stdout=accepted,
                                          stderr=subprocess.DEVNULL)
            with client:
                client.wait(220)
                said = dialogue(client, f"{helo}.{sink.port}", **more)
            server.wait(30)
            with open(os.path.join(tmp, "logmain")) as f:
                log = log_lines(f.read())
        sink.close()
        return said, log, sink.sessions[0].commands if sink.sessions else []

    @unittest.skipUnless(exim(), "no Exim here that runs as root (SLUICE_ORACLE)")
    def test_exim_does_the_same(self):
        for name, case in CASES.items():
            with self.subTest(name):
                said, log, hop = self.exim_case(case)
                self.assertEqual(said, case[1])
                if case[2] is not None:
                    self.assertEqual(log, case[2])
                if case[3] is not None:
                    self.assertEqual(hop, case[3])


class Sad(SluiceTest):
    """What goes wrong on the way, on either side."""

    SLOW = "smtp:\n  final_timeout = 1s\n  data_timeout = 1s\n"

    def begin(self, script=None, main="", policy=POLICY, hop=None, **options):
        self.hop = hop or self.sink(script, **options)
        self.server = self.sluice(configuration(main + MAIN, policy, acl_rcpt=False))
        return self.server

    def hello(self, acl="plain", rcpts=("a@x.test",), parameters="", port=None):
        client = self.server.client()
        self.addCleanup(client.close)
        client.expect(f"EHLO {acl}.{port or self.hop.port}", 250)
        client.expect(f"MAIL FROM:<s@y.test>{parameters}", 250)
        for rcpt in rcpts:
            client.expect(f"RCPT TO:<{rcpt.split()[0]}>{''.join(' ' + w for w in rcpt.split()[1:])}", 250)
        return client

    def test_text_goes_on_as_it_comes_and_the_client_leaves(self):
        hop = Slow(self)
        self.begin(hop=hop)
        client = self.hello()
        client.expect("DATA", 354)
        client.send("Subject: half\r\n\r\nfirst line\r\n")
        until(lambda: b"first line\r\n" in hop.text, lambda: f"the text at the next hop: {hop.text}")
        self.assertTrue(hop.text.startswith(b"Received: from [127.0.0.1] (helo=plain."), hop.text)
        client.close()
        until(lambda: hop.ended, "the end of the next hop's connection")
        self.assertNotIn(b"\r\n.\r\n", hop.text)
        self.assertNotIn(b"QUIT", hop.text)
        self.server.wait_log("lost while reading message data")
        self.assertEqual(self.server.queue_count(), 0)

    def test_next_hop_leaves_in_the_middle(self):
        """The message is whole, though half of it went to a host that is gone; more of it than is kept in memory."""
        hop = Slow(self, leave_after=200_000)
        self.begin(hop=hop)
        body = "Subject: much\r\n\r\n" + "".join(f".{i:070d}\r\n" for i in range(30_000))
        client = self.hello()
        client.expect("DATA", 354)
        client.send(body.replace("\r\n.", "\r\n..") + ".\r\n")
        client.wait(250)
        message = until(lambda: hop.messages and hop.messages[0], "the ordinary delivery", 60)
        sent = body.partition("\r\n\r\n")[2].encode()
        self.assertEqual(hashlib.sha256(message.partition(b"\r\n\r\n")[2]).hexdigest(), hashlib.sha256(sent).hexdigest())
        log = self.server.wait_log("Completed")
        self.assertIn(" => a@x.test", log)
        self.assertNotIn(" >> ", log)

    def test_no_answer_to_the_final_dot(self):
        silent = threading.Event()
        self.addCleanup(silent.set)
        self.begin(lambda verb, *_: silent.wait(60) and None if verb == "END" else None,
                   policy=POLICY.replace("smtp:\n", self.SLOW, 1))
        for acl, code in (("plain", 250), ("pass", 450)):
            client = self.hello(acl)
            client.data("Subject: x\r\n\r\n", code)
            client.quit()
        self.assertEqual(len(re.findall(r" <= s@y", self.server.wait_log(" == a@x.test.*timeout|SMTP timeout"))), 1)

    def test_next_hop_takes_nothing(self):
        """It reads no more: the text is kept here, and goes the ordinary way."""
        hop = Slow(self, deaf=True)
        self.begin(hop=hop, policy=POLICY.replace("smtp:\n", self.SLOW, 1))
        client = self.hello()
        client.expect("DATA", 354)
        client.send("Subject: much\r\n\r\n" + ("x" * 998 + "\r\n") * 20_000 + ".\r\n")
        client.wait(250)
        self.server.wait_log("<= s@y.test")

    def test_refused_while_it_comes(self):
        """A message that is too large, and one with a bare LF: the next hop has had a part, and gets no end."""
        self.begin(main="message_size_limit = 100K\n")
        for body, code in (("Subject: x\r\n\r\n" + ("x" * 70 + "\r\n") * 3000, 552), ("Subject: x\r\n\r\na\nb\r\n", 550)):
            client = self.hello()
            client.data(body, code)
            client.quit()
        self.assertEqual(self.hop.messages, [])
        self.assertEqual(self.server.queue_count(), 0)
        self.assertNotIn(" >> ", self.server.log())

    def test_too_large_for_the_transport(self):
        """That only the whole message can show: the ordinary delivery tells the sender."""
        self.begin(policy=POLICY.replace("smtp:\n", "smtp:\n  message_size_limit = 1K\n", 1))
        client = self.hello()
        client.data("Subject: x\r\n\r\n" + ("x" * 70 + "\r\n") * 300)
        self.server.wait_log(r"\*\* a@x.test .*message is too big \(transport limit = 1024\)")
        self.assertEqual([m for m in self.hop.messages if "a@x.test" in m[1]], [])

    def test_two_messages_in_one_session(self):
        self.begin()
        client = self.hello()
        client.data("Subject: one\r\n\r\n")
        client.envelope("t@y.test", ("b@x.test",))
        client.data("Subject: two\r\n\r\n.\r\n..x\r\n".replace("\r\n.", "\r\n.."))
        messages = self.hop.wait(2)
        self.assertEqual([m[:2] for m in messages], [("s@y.test", ["a@x.test"]), ("t@y.test", ["b@x.test"])])
        self.assertTrue(messages[1][2].endswith(b"\r\n\r\n.\r\n..x\r\n"), messages[1][2])

    def test_headers_as_a_delivery_has_them(self):
        self.begin()
        client = self.hello("headers", ("a@edited.test",))
        client.data(BODY.replace("\r\n.", "\r\n.."))
        self.server.wait_log(" >> a@edited.test R=edited T=edited ")
        (_, _, text), = self.hop.wait()
        header, _, body = text.decode().partition("\r\n\r\n")
        self.assertEqual(body, ".dot\r\nbody\r\n")
        self.assertEqual(re.sub(r"Received:.*(\r\n[ \t].*)*\r\n", "", header).split("\r\n"),
                         ["X-Rcpt: 1", "X-Router: a", "X-Transport: edited"])
        self.assertRegex(header, r"^Received: .*(\r\n\t.*)*for a@edited.test;")

    def test_sender_of_the_delivery(self):
        """errors_to and return_path count, and rewriting, as in the delivery that it is."""
        policy = POLICY.replace("smtp:\n", "smtp:\n  return_path = ${sg{$return_path}{y}{z}}\n", 1) + "begin rewrite\ns@y.test new@y.test Ff\n"
        self.begin(policy=policy)
        client = self.hello()
        client.data("From: s@y.test\r\n\r\n")
        self.assertEqual(self.hop.wait()[0][0], "new@z.test")
        self.assertIn(b"From: new@y.test", self.hop.messages[0][2])
        self.server.wait_log(" >> ")

    def test_status_notifications(self):
        """Handed on where the next hop knows them; else the report is ours to make, and the message takes the ordinary way."""
        words = dict(rcpts=("a@x.test NOTIFY=SUCCESS ORCPT=rfc822;o@x.test",), parameters=" RET=HDRS ENVID=e1")
        self.begin(main="dsn_advertise_hosts = *\n", extensions=("DSN",))
        self.hello(**words).data("Subject: x\r\n\r\n")
        self.assertEqual(self.hop.sessions[0].commands[1:3], ["MAIL FROM:<s@y.test> RET=HDRS ENVID=e1",
                                                              "RCPT TO:<a@x.test> NOTIFY=SUCCESS ORCPT=rfc822;o@x.test"])
        self.server.wait_log(" >> a@x.test")
        plain = self.sink()
        client = self.hello(**words, port=plain.port)
        client.data("Subject: x\r\n\r\n")
        self.server.wait_log(" => a@x.test")

    def test_over_tls(self):
        with tempfile.TemporaryDirectory() as tmp:
            self.begin(tls=server_context(tmp))
            self.hello().data("Subject: x\r\n\r\n")
            self.hop.wait()
        self.assertTrue(self.hop.sessions[0].secured)
        self.server.wait_log(r" >> a@x.test .* X=TLS1.3:\S+ CV=no C=")

    def test_slow_next_hops_hold_nobody_else(self):
        """F33.5: one is silent at RCPT, one at the final dot, and ten clients of the same core are served."""
        answer = threading.Event()
        self.addCleanup(answer.set)
        quiet = self.sink(lambda verb, argument, _: answer.wait(60) and None if verb == "RCPT" else None)
        self.begin(lambda verb, *_: answer.wait(60) and None if verb == "END" else None)
        at_rcpt = self.server.client()
        self.addCleanup(at_rcpt.close)
        at_rcpt.expect(f"EHLO checked.{quiet.port}", 250)
        at_rcpt.expect("MAIL FROM:<s@y.test>", 250)
        at_rcpt.send("RCPT TO:<a@x.test>\r\n")
        at_dot = self.hello()
        at_dot.expect("DATA", 354)
        at_dot.send("Subject: x\r\n\r\n.\r\n")
        until(lambda: self.hop.sessions and self.hop.sessions[0].commands[-1] == "DATA", "the slow next hop")
        quick = self.sink()
        for _ in range(10):
            client = self.hello(port=quick.port)
            client.data("Subject: y\r\n\r\n")
            client.quit()
        self.assertEqual(len(quick.messages), 10)
        answer.set()
        at_rcpt.wait(250)
        at_dot.wait(250)

    def test_held_connection_serves_the_delivery(self):
        """One connection for two callouts and the delivery; what the ACL refuses costs none either."""
        self.begin(rej(("RCPT", "b@", "550 no b")))
        client = self.hello("held", ("a@x.test", "c@x.test"))
        client.expect("RCPT TO:<b@x.test>", 550, "no b")
        client.data("Subject: x\r\n\r\n")
        self.assertEqual(self.hop.wait()[0][1], ["a@x.test", "c@x.test"])
        self.assertEqual(self.hop.sessions[0].commands[:6],
                         ["EHLO mx.test", "MAIL FROM:<s@y.test>", "RCPT TO:<a@x.test>", "RCPT TO:<c@x.test>", "RCPT TO:<b@x.test>",
                          "RSET"])
        self.assertEqual(len(self.hop.sessions), 1)
        self.assertRegex(self.server.wait_log("Completed"), r" => a@x.test R=far T=smtp H=127.0.0.1 \[127.0.0.1\] C=")

    def test_held_connection_that_is_gone(self):
        self.begin()
        client = self.hello("held")
        self.hop.hang_up()
        client.expect("RCPT TO:<c@x.test>", 250)
        client.data("Subject: x\r\n\r\n")
        self.assertEqual(self.hop.wait()[0][1], ["a@x.test", "c@x.test"])

    def test_next_hop_goes_between_recipients_and_text(self):
        self.begin()
        client = self.hello()
        self.hop.hang_up()
        client.data("Subject: x\r\n\r\n")
        self.server.wait_log(" => a@x.test")

    def test_postfix_takes_it(self):
        """A server that is not ours at the other end."""
        program = peer("smtp-sink")
        if not program:
            self.skipTest("no smtp-sink of Postfix here")
        with tempfile.TemporaryDirectory() as tmp, socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
            os.chmod(tmp, 0o777)
            free.close()
            sink = subprocess.Popen([program, "-u", "nobody", "-R", tmp, "-d", "m.", f"127.0.0.1:{port}", "10"],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.addCleanup(sink.wait)
            self.addCleanup(sink.kill)
            until(lambda: connects(port), "smtp-sink")
            self.begin()
            client = self.hello(port=port)
            client.data("Subject: x\r\n\r\nto postfix\r\n")
            self.server.wait_log(" >> a@x.test")


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    except OSError:
        return False


def server_context(directory):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files = [os.path.join(directory, name) for name in ("key.pem", "cert.pem")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=sink.test", "-keyout", files[0], "-out", files[1]], check=True, capture_output=True)
    context.load_cert_chain(files[1], files[0])
    return context


class Slow:
    """A next hop whose first connection shows what has arrived of the text so far; leave_after: it goes when it has so many
    bytes; deaf: it reads nothing behind DATA. Later connections are served as usual; their messages are in messages."""

    def __init__(self, test, leave_after=None, deaf=False):
        self.leave_after, self.deaf = leave_after, deaf
        self.text, self.messages, self.ended, self.count = b"", [], False, 0
        self.over = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        test.addCleanup(self.close)
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.over.set()
        self.listener.close()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            threading.Thread(target=self.serve, args=(sock, self.count == 1), daemon=True).start()

    def serve(self, sock, first):
        try:
            with sock, sock.makefile("rb") as lines:
                self.dialogue(sock, lines, first)
        except OSError:
            pass
        if first:
            self.ended = True

    def dialogue(self, sock, lines, first):
        sock.sendall(b"220 hop\r\n")
        for line in lines:
            verb = line[:4].upper()
            if verb == b"QUIT":
                return
            sock.sendall(b"354 go\r\n" if verb == b"DATA" else b"250 ok\r\n")
            if verb != b"DATA":
                continue
            if first and self.deaf:
                self.over.wait(60)
                return
            text = b""
            while not text.endswith(b"\r\n.\r\n"):
                piece = lines.readline()
                if not piece:
                    return
                text += piece
                if first:
                    self.text = text
                if first and self.leave_after and len(text) > self.leave_after:
                    return
            sock.sendall(b"250 kept\r\n")
            self.messages.append(re.sub(rb"(?m)^\.\.", b".", text[:-3]))


if __name__ == "__main__":
    unittest.main()
