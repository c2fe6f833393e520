"""The SMTP dialogue: every cell of the table in lib/smtp/session.c, and what follows each kind of error.

What the worst bugs of this field share is state that an error reply left behind (RFC 5321 section 4.1.4, RFC 3030
section 2): so each refusal here is followed by commands that must not see anything of what was refused.
"""
import unittest

from harness import Client, SluiceTest, configuration, POLICY, until

# Everything may be asked for, so that the table and not a limit decides.
MAIN = """
pipelining_connect_advertise_hosts =
acl_smtp_vrfy = accept
acl_smtp_expn = accept
acl_smtp_etrn = accept
no_smtp_etrn_serialize
acl_smtp_mail = mail_acl
acl_smtp_helo = helo_acl
acl_smtp_predata = predata_acl
acl_smtp_data = data_acl
smtp_accept_max_nonmail = 1000
smtp_max_unknown_commands = 50
recipients_max = 100
log_selector = +smtp_protocol_error +smtp_syntax_error
"""

ACLS = """
begin acl
helo_acl:
  deny    condition = ${if eq{$sender_helo_name}{refused.test}}
  accept
mail_acl:
  deny    senders = refused@client.test
          message = not from you
  defer   senders = deferred@client.test
  drop    senders = dropped@client.test
  accept
predata_acl:
  deny    senders = nopredata@client.test
          message = no data from you
  defer   senders = defpredata@client.test
  accept
data_acl:
  deny    condition = ${if eq{$h_subject:}{refuse}}
          message = bad subject
  defer   condition = ${if eq{$h_subject:}{defer}}
  drop    condition = ${if eq{$h_subject:}{drop}}
  accept
"""
CONFIG = configuration(MAIN, POLICY.replace("begin acl\n", ACLS.lstrip(), 1))

MAIL = "MAIL FROM:<s@client.test>"
RCPT = "RCPT TO:<alice@test>"
MESSAGE = b"Subject: x\r\n\r\nbody\r\n"

STATES = ("START", "READY", "MAIL", "RCPT", "CHUNK", "BROKEN")

NO_HELO = (503, "5.5.1", "HELO or EHLO required")
NO_MAIL = (503, "5.5.1", "sender not yet given")
NO_RCPT = (503, "5.5.1", "valid RCPT command must precede")
HAVE_MAIL = (503, "5.5.1", "sender already given")
IN_MAIL = (503, "5.5.1", "not permitted inside a transaction")
AUTH_IN_MAIL = (503, "5.5.1", "not permitted in mail transaction")
CHUNKS = (503, "5.5.1", "only BDAT permissible after non-LAST BDAT")
RESET = (503, "5.5.1", "only RSET accepted now")
HELLO = (250, None, "Hello")
OFF = (503, "5.5.1", "not advertised")
TLS = (220, "2.0.0", "TLS go ahead", "TLS")

# What the client sends, and for each state what has to come back: (code, enhanced code, text), and the state after it.
TABLE = [
    ("HELO client.test", [HELLO + ("READY",)] * 4 + [CHUNKS, RESET]),
    ("EHLO client.test", [HELLO + ("READY",)] * 4 + [CHUNKS, RESET]),
    (MAIL, [NO_HELO, (250, "2.1.0", "OK", "MAIL"), HAVE_MAIL, HAVE_MAIL, CHUNKS, RESET]),
    (RCPT, [NO_MAIL, NO_MAIL, (250, "2.1.5", "Accepted", "RCPT"), (250, "2.1.5", "Accepted", "RCPT"), CHUNKS, RESET]),
    ("DATA", [NO_RCPT, NO_RCPT, NO_RCPT, (354, None, "", "DATA"), CHUNKS, RESET]),
    ("BDAT 3\r\nabc", [(503, "5.5.1", "CHUNKING not advertised"), (503, "5.5.1", "RCPT command must precede"),
                       (503, "5.5.1", "RCPT command must precede", "BROKEN"), (250, "2.0.0", "3 byte chunk", "CHUNK"),
                       (250, "2.0.0", "3 byte chunk", "CHUNK"), RESET]),
    ("RSET", [(250, "2.0.0", "Reset OK", "START"), (250, "2.0.0", "Reset OK", "READY")] +
             [(250, "2.0.0", "Reset OK", "READY")] * 4),
    ("NOOP", [(250, "2.0.0", "OK")] * 4 + [CHUNKS, RESET]),
    ("QUIT", [(221, "2.0.0", "closing connection", "END")] * 6),
    ("VRFY alice@test", [(250, "2.1.5", "deliverable")] * 4 + [CHUNKS, RESET]),
    ("EXPN alice@test", [(250, "2.1.5", "alice@test")] * 4 + [CHUNKS, RESET]),
    ("ETRN test", [(250, "2.0.0", "OK")] * 2 + [IN_MAIL, IN_MAIL, CHUNKS, RESET]),
    ("HELP", [(214, "2.0.0", "Commands supported")] * 4 + [CHUNKS, RESET]),
    ("STARTTLS", [OFF, TLS, IN_MAIL, IN_MAIL, CHUNKS, RESET]),
    ("AUTH PLAIN", [OFF, OFF, AUTH_IN_MAIL, AUTH_IN_MAIL, CHUNKS, RESET]),
    ("WELLKNOWN x", [(554, "5.7.1", "not permitted")] * 4 + [CHUNKS, RESET]),
    ("XYZZY", [(500, "5.5.2", "unrecognized")] * 4 + [CHUNKS, RESET]),
]


def enter(client, state):
    """Brings a fresh connection into a state of the table."""
    if state == "START":
        return
    client.ehlo()
    if state == "READY":
        return
    client.expect(MAIL, 250)
    if state == "BROKEN":
        client.expect("BDAT 2\r\nxx", 503)  # no recipient yet, and not the last
        return
    if state == "MAIL":
        return
    client.expect(RCPT, 250)
    if state == "CHUNK":
        client.expect("BDAT 14\r\nSubject: x\r\n\r\n", 250)


def assert_state(test, client, state):
    """Which state the connection is in, told by commands whose answers differ."""
    if state == "END":
        client.closed()
    elif state == "DATA":
        client.send(MESSAGE + b".\r\n")
        client.wait(250, "OK id=")
        client.expect(RCPT, 503, "sender not yet given")
    elif state == "START":
        client.expect(RCPT, 503, "sender not yet given")
        client.expect(MAIL, 503, "HELO or EHLO")
    elif state == "READY":
        client.expect(RCPT, 503, "sender not yet given")
        client.expect(MAIL, 250)
    elif state == "MAIL":
        client.expect("DATA", 503, "RCPT command must precede")
        client.expect(MAIL, 503, "sender already given")
        client.expect(RCPT, 250)
    elif state == "RCPT":
        client.expect(MAIL, 503, "sender already given")
        client.data(MESSAGE)
        client.expect(RCPT, 503, "sender not yet given")
    elif state == "CHUNK":
        client.expect("NOOP", 503, "only BDAT")
        client.expect("BDAT 2 LAST\r\nhi", 250, "OK id=")
        client.expect(RCPT, 503, "sender not yet given")
    elif state == "BROKEN":
        client.expect(RCPT, 503, "only RSET")
        client.expect("RSET", 250)
        client.expect(RCPT, 503, "sender not yet given")
        client.expect(MAIL, 250)
    elif state == "TLS":
        # From here on there is no clear text: an alert, and the end.
        client.send(b"NOOP\r\n")
        rest = b""
        while chunk := client.sock.recv(100):
            rest += chunk
        test.assertEqual(b"\x15\x03\x03\x00\x02\x02\x0a", rest)
    else:
        test.fail(state)


class Table(SluiceTest):
    """States across, commands down; one subtest a cell."""

    config = CONFIG


def cell_test(command, column, expected):
    def test(self):
        state = STATES[column]
        code, enhanced, text = expected[:3]
        after = expected[3] if len(expected) > 3 else state
        with self.shared().client() as client:
            enter(client, state)
            reply = client.cmd(command)
            self.assertEqual(code, reply.code, f"{reply} in {client.transcript}")
            self.assertIn(text, reply.text)
            if state == "START":
                enhanced = None  # not yet offered (RFC 2034 section 2)
            elif command.startswith("HELO") and code == 250:
                enhanced = None
            self.assertEqual(enhanced, reply.enhanced, reply)
            assert_state(self, client, after)
    return test


for _command, _row in TABLE:
    for _column, _expected in enumerate(_row):
        setattr(Table, f"test_{_command.split()[0]}_in_{STATES[_column]}", cell_test(_command, _column, _expected))


class AfterErrors(SluiceTest):
    """No part of a refused or broken transaction is left for the next."""

    config = CONFIG

    def setUp(self):
        self.client = self.shared().client()
        self.addCleanup(self.client.close)
        self.client.ehlo()

    def assert_fresh(self):
        """READY, and nothing of the former transaction can be used."""
        self.client.expect(RCPT, 503, "sender not yet given")
        self.client.expect("DATA", 503, "[Vv]alid RCPT")
        self.client.expect(MAIL, 250)
        self.client.expect("DATA", 503, "[Vv]alid RCPT")
        self.client.expect(RCPT, 250)
        self.client.data(MESSAGE, 250, "OK id=")

    def test_refused_mail(self):
        self.client.expect("MAIL FROM:<refused@client.test>", 550, "5.7.1 not from you")
        self.assert_fresh()

    def test_deferred_mail(self):
        reply = self.client.expect("MAIL FROM:<deferred@client.test>", 451)
        self.assertEqual("4.3.0", reply.enhanced)
        self.assert_fresh()

    def test_dropped_mail(self):
        self.client.expect("MAIL FROM:<dropped@client.test>", 550)
        self.client.closed()

    def test_malformed_mail(self):
        for argument in ("<a b@c.test>", "<a@>", "<a@b..test>", "<@>", "<a@b.test", "<\"a@b.test>", "<a@b.test>>",
                         "<a@b.test>x", "<a\x01b@c.test>", "<a@[1.2.3]>", ""):
            reply = self.client.cmd("MAIL FROM:" + argument)
            self.assertIn(reply.code, (501, 555), (argument, reply))
        self.client.expect(RCPT, 503, "sender not yet given")
        self.assert_fresh()

    def test_mail_parameters(self):
        for argument, code in (("SIZE=99999999999", 552), ("SIZE=x", 501), ("SIZE=-1", 501), ("SIZE=18446744073709551616", 552),
                               ("SIZE=9223372036854775808", 552), ("SIZE=1 SIZE=1", 501), ("SIZE", 501), ("SIZE=", 501),
                               ("BODY=7BITS", 501), ("BODY", 501), ("AUTH=a+4", 501), ("AUTH=", 501), ("FOO=BAR", 555),
                               ("SMTPUTF8=1", 555)):
            reply = self.client.cmd(f"MAIL FROM:<s@client.test> {argument}")
            self.assertEqual(code, reply.code, (argument, reply))
            self.client.expect(RCPT, 503, "sender not yet given")
        self.client.expect("MAIL FROM:<s@client.test> SIZE=100 BODY=8BITMIME SMTPUTF8", 250)
        self.client.expect("RSET", 250)
        self.assert_fresh()

    def test_unqualified(self):
        self.client.expect("MAIL FROM:<s>", 501, "must contain a domain")
        self.client.expect(MAIL, 250)
        self.client.expect("RCPT TO:<alice>", 501, "must contain a domain")
        self.client.expect("RCPT TO:<>", 501)
        self.client.expect("DATA", 503)

    def test_bounce_sender(self):
        self.client.expect("MAIL FROM:<>", 250)
        self.client.expect(RCPT, 250)
        self.client.data(MESSAGE)

    def test_refused_rcpt(self):
        self.client.expect(MAIL, 250)
        self.client.expect("RCPT TO:<refused@test>", 550, "5.7.1 no thanks")
        self.client.expect("DATA", 503, "[Vv]alid RCPT")
        self.client.expect("BDAT 3 LAST\r\nabc", 503, "[Vv]alid RCPT")
        self.assert_fresh()

    def test_unknown_rcpt(self):
        self.client.expect(MAIL, 250)
        self.client.expect("RCPT TO:<nobody.here@test>", 550)
        self.client.expect("RCPT TO:<a@far.test>", 550, "relay not permitted")
        self.client.expect("RCPT TO:<deferred@test>", 451, "later perhaps")
        self.client.expect(RCPT, 250)
        self.client.data(MESSAGE)
        self.assert_fresh()

    def test_malformed_rcpt_between_good_ones(self):
        self.client.expect(MAIL, 250)
        self.client.expect(RCPT, 250)
        self.client.expect("RCPT TO:<a@b@c>", 501)
        self.client.expect("RCPT TO:<alice@test> FOO=BAR", 555)
        self.client.expect("RCPT TO:<bob@test>", 250)
        self.client.data(MESSAGE)
        self.assert_fresh()

    def test_refused_predata(self):
        for sender, code in (("nopredata", 550), ("defpredata", 451)):
            self.client.envelope(sender + "@client.test")
            self.client.expect("DATA", code)
            # The transaction is what it was: another recipient may make the difference. So it is with Exim.
            self.client.expect("RCPT TO:<alice@test>", 250)
            self.client.expect("DATA", code)
            self.client.expect(MAIL, 503, "sender already given")
            self.client.expect("RSET", 250)
            self.assert_fresh()
            self.client.envelope(sender + "@client.test")
            self.client.expect("BDAT 5 LAST\r\nabcde", code)
            self.assert_fresh()

    def test_refused_predata_with_more_chunks(self):
        self.client.envelope("nopredata@client.test")
        self.client.expect("BDAT 5\r\nabcde", 550)
        self.client.expect("DATA", 503, "only RSET")
        self.client.expect(MAIL, 503, "only RSET")
        self.client.expect("BDAT 5\r\nabcde", 503, "only RSET")
        self.client.expect("BDAT 5 LAST\r\nabcde", 503, "only RSET")
        self.assert_fresh()

    def test_refused_data(self):
        for subject, code, enhanced in (("refuse", 550, "5.7.1"), ("defer", 451, "4.3.0")):
            self.client.envelope()
            reply = self.client.data(f"Subject: {subject}\r\n\r\nx\r\n", code)
            self.assertEqual(enhanced, reply.enhanced)
            self.assert_fresh()
            self.client.envelope()
            text = f"Subject: {subject}\r\n\r\nx\r\n"
            self.client.expect(f"BDAT {len(text)}\r\n{text}", 250)
            self.client.expect("BDAT 0 LAST", code)
            self.assert_fresh()

    def test_dropped_data(self):
        self.client.envelope()
        self.client.data("Subject: drop\r\n\r\nx\r\n", 550)
        self.client.closed()

    def test_arguments_where_there_are_none(self):
        for line in ("RSET x", "QUIT x", "DATA x", "STARTTLS x"):
            self.client.expect(line, 501, "5.5.4 unexpected argument data")
        for line in (" NOOP", "\tNOOP", "EHLO\tclient.test", "MAIL FROM :<a@b.test>"):
            self.client.expect(line, 500, "5.5.2 unrecognized command")
        self.assert_fresh()

    def test_chunk_that_was_not_offered(self):
        """Refused, and read all the same: whoever sends it will not take it for commands."""
        self.client.expect("HELO client.test", 250)
        self.client.expect(MAIL, 250)
        self.client.expect(RCPT, 250)
        self.client.send("BDAT 6 LAST\r\nNOOP\r\n")
        self.client.wait(503, "CHUNKING not advertised")
        self.client.expect(RCPT, 503, "sender not yet given")

    def test_data_with_argument(self):
        self.client.envelope()
        self.client.expect("DATA now", 501, "5.5.4")
        self.client.data(MESSAGE)
        self.assert_fresh()

    def test_failed_chunk_then_everything(self):
        """CVE-2020-28019 and its kin: an error in BDAT, then another command."""
        for then, code in (("DATA", 503), (MAIL, 503), (RCPT, 503), ("EHLO x.test", 503), ("VRFY a@test", 503)):
            self.client.expect(MAIL, 250)
            self.client.expect("BDAT 4\r\nabcd", 503)
            self.client.expect(then, code, "only RSET")
            self.client.expect("RSET", 250)
            self.assert_fresh()
        self.client.expect(MAIL, 250)
        self.client.expect("BDAT 4\r\nabcd", 503)
        self.client.quit()

    def test_chunk_that_looks_like_commands(self):
        """What is announced as data is never a command, wanted or not."""
        trap = "RSET\r\n" + MAIL + "\r\n"
        self.client.expect(f"BDAT {len(trap)}\r\n{trap}", 503)
        self.client.expect(RCPT, 503, "sender not yet given")
        self.client.expect(MAIL, 250)
        self.client.expect(f"BDAT {len(trap)}\r\n{trap}", 503)
        self.client.expect("NOOP", 503, "only RSET")
        self.client.expect(f"BDAT {len(trap)} LAST\r\n{trap}", 503, "only RSET")
        self.assert_fresh()

    def test_chunk_without_a_size(self):
        for argument in ("", "-1", "x", "1x", "18446744073709551616", "99999999999999999999999", "3 FIRST", "3 LAST LAST",
                         "0x10", "3 LAST x"):
            with self.shared().client() as client:
                client.ehlo()
                client.envelope()
                client.expect(f"BDAT {argument}".rstrip(), 501, "5.5.4")
                client.closed()  # nobody can tell where commands begin again

    def test_huge_chunk_announced(self):
        self.client.envelope()
        self.client.send("BDAT 18446744073709551615 LAST\r\nabc")
        self.client.wait(552, "5.3.4")
        self.client.closed()

    def test_mixing_data_and_chunks(self):
        self.client.envelope()
        self.client.expect("BDAT 14\r\nSubject: x\r\n\r\n", 250)
        self.client.expect("DATA", 503, "only BDAT")
        self.client.expect("BDAT 3 LAST\r\nabc", 250, "OK id=")
        self.assert_fresh()

    def test_reset_everywhere(self):
        self.client.expect(MAIL, 250)
        self.client.expect("RSET", 250)
        self.assert_fresh()
        self.client.envelope()
        self.client.expect("RSET", 250)
        self.assert_fresh()
        self.client.envelope()
        self.client.expect("BDAT 14\r\nSubject: x\r\n\r\n", 250)
        self.client.expect("RSET", 250)
        self.assert_fresh()

    def test_second_transactions(self):
        for _ in range(3):
            self.client.message(MESSAGE)
        self.assert_fresh()

    def test_hello_inside_a_transaction(self):
        for hello in ("EHLO", "HELO"):
            self.client.envelope()
            self.client.expect(f"{hello} again.test", 250)
            self.assert_fresh()

    def test_refused_hello(self):
        with self.shared().client() as client:
            client.expect("EHLO refused.test", 550)
            client.expect(MAIL, 503, "HELO or EHLO")
            client.expect("EHLO a_b!c", 501)
            client.expect("EHLO", 501)
            client.expect(MAIL, 503, "HELO or EHLO")
            client.ehlo()
            client.expect(MAIL, 250)

    def test_refused_hello_after_a_good_one(self):
        """RFC 5321 section 4.1.4: the session is as it was; a transaction must not be lost or gain a name."""
        self.client.expect(MAIL, 250)
        self.client.expect("EHLO a_b!c", 501)
        self.client.expect(RCPT, 250)
        self.client.data(MESSAGE)

    def test_helo_takes_extensions_back(self):
        self.client.expect("HELO client.test", 250)
        reply = self.client.expect(MAIL + " SMTPUTF8", 555)
        self.assertIsNone(reply.enhanced)
        reply = self.client.expect(MAIL, 250)
        self.assertIsNone(reply.enhanced)

    def test_case_and_space(self):
        self.client.expect("mail from: <s@client.test>  size=10", 250)
        self.client.expect("rCpT   tO:<alice@test>", 250)
        self.client.expect("data ", 354)
        self.client.send(MESSAGE + b".\r\n")
        self.client.wait(250)

    def test_source_route_and_odd_addresses(self):
        self.client.expect("MAIL FROM:<@a.test,@b.test:s@client.test>", 250)
        self.client.expect("RCPT TO:<\"alice\"@test>", 250)
        # Qualified with mx.test, which is not ours here: no syntax error (RFC 5321 section 4.5.1), but refused.
        self.client.expect("RCPT TO:<postmaster>", 550, "relay")
        self.client.data(MESSAGE)

    def test_recipients_max(self):
        self.client.expect(MAIL, 250)
        for _ in range(100):
            self.client.expect(RCPT, 250)
        reply = self.client.expect(RCPT, 452, "too many recipients")
        self.assertEqual("4.5.3", reply.enhanced)
        self.client.data(MESSAGE)
        self.assert_fresh()

    def test_nul_in_a_command(self):
        self.client.send(b"NOOP\0\r\n")
        self.client.wait(501)
        self.client.send(b"MAIL FROM:<s\0@client.test>\r\n")
        self.client.wait(501)
        self.client.expect(RCPT, 503)

    def test_bare_lf_ends_the_session(self):
        self.client.send(b"NOOP\nMAIL FROM:<s@client.test>\n")
        self.client.wait(521, "bare LF")
        self.client.closed()

    def test_bare_cr_is_no_line_end(self):
        self.client.send(b"NOOP\rRSET\r\n")
        reply = self.client.reply()
        self.assertIn(reply.code, (250, 500, 501))
        self.client.expect("NOOP", 250)  # one reply, not two

    def test_long_line(self):
        self.client.send(b"NOOP " + b"x" * 100000 + b"\r\n")
        self.client.wait(500, "5.5.2 .*too long")
        self.assert_fresh()

    def test_byte_by_byte(self):
        for byte in b"MAIL FROM:<s@client.test>\r\nRCPT TO:<alice@test>\r\n":
            self.client.send(bytes([byte]))
        self.client.wait(250)
        self.client.wait(250)
        self.client.data(MESSAGE)


class Pipelining(SluiceTest):
    """RFC 2920; and synchronisation."""

    config = CONFIG

    def test_whole_transactions_at_once(self):
        with self.shared().client() as client:
            client.ehlo()
            client.send(f"RSET\r\n{MAIL}\r\n{RCPT}\r\nRCPT TO:<refused@test>\r\nRCPT TO:<bob@test>\r\nDATA\r\n")
            self.assertEqual([250, 250, 250, 550, 250, 354], [client.reply().code for _ in range(6)])
            client.send(MESSAGE + b".\r\n" + f"{MAIL}\r\n{RCPT}\r\nDATA\r\n".encode())
            self.assertEqual([250, 250, 250, 354], [client.reply().code for _ in range(4)])
            client.send(MESSAGE + b".\r\nQUIT\r\n")
            self.assertEqual([250, 221], [client.reply().code for _ in range(2)])
            client.closed()

    def test_chunks_in_a_pipeline(self):
        with self.shared().client() as client:
            client.ehlo()
            client.send(f"{MAIL}\r\n{RCPT}\r\nBDAT 14\r\nSubject: x\r\n\r\nBDAT 5\r\nabcdeBDAT 0 LAST\r\n{MAIL}\r\nQUIT\r\n")
            self.assertEqual([250, 250, 250, 250, 250, 250, 221], [client.reply().code for _ in range(7)])

    def test_all_recipients_refused_but_data_sent(self):
        """RFC 2920 section 3.1: 503 or 554 for DATA, and the session goes on."""
        with self.shared().client() as client:
            client.ehlo()
            client.send(f"{MAIL}\r\nRCPT TO:<refused@test>\r\nDATA\r\n")
            self.assertEqual([250, 550, 503], [client.reply().code for _ in range(3)])
            client.expect("RSET", 250)
            client.message(MESSAGE)

    def test_talk_before_the_banner(self):
        # The connect ACL takes its time, so that the client is sure to be first.
        config = configuration("acl_smtp_connect = wait_acl\n" + MAIN,
                               POLICY.replace("begin acl\n", ACLS.lstrip() + "wait_acl:\n  warn delay = 1s\n  accept\n", 1))
        slow = self.sluice(config, start=False)
        slow.start(wait=False)
        until(slow.has_started, "the daemon")
        early = Client(slow.port, banner=False)
        self.addCleanup(early.close)
        early.send("GET / HTTP/1.0\r\n\r\n")
        reply = early.reply()
        self.assertEqual(554, reply.code)
        self.assertIn("SMTP synchronization error", reply.text)
        early.closed()
        slow.wait_log(r"input sent without waiting for greeting.*GET / HTTP", "reject")

    def synchronised(self, first):
        with self.shared().client() as client:
            client.ehlo()
            client.send(first)
            reply = client.reply()
            self.assertEqual(554, reply.code, (first, reply))
            self.assertIn("synchronization", reply.text)
            client.closed()

    def test_input_behind_commands_that_must_be_last(self):
        for command in ("EHLO a.test", "HELO a.test", "NOOP", "VRFY a@test", "EXPN a@test", "ETRN test", "STARTTLS"):
            with self.subTest(command):
                self.synchronised(f"{command}\r\nRSET\r\n")

    def test_input_behind_data(self):
        with self.shared().client() as client:
            client.ehlo()
            client.envelope()
            client.send("DATA\r\nSubject: early\r\n\r\n.\r\n")
            self.assertEqual(554, client.reply().code)
            client.closed()
        self.assertNotIn("early", "".join(m.decode() for m in self.shared().maildir()))

    def test_pipeline_without_ehlo(self):
        with self.shared().client() as client:
            client.expect("HELO client.test", 250)
            client.send(f"{MAIL}\r\n{RCPT}\r\n")
            self.assertEqual(554, client.reply().code)
            client.closed()


class Limits(SluiceTest):
    """Each with a server whose limits are small."""

    config = configuration(MAIN.replace("smtp_accept_max_nonmail = 1000", "smtp_accept_max_nonmail = 4")
                           .replace("smtp_max_unknown_commands = 50", "smtp_max_unknown_commands = 2")
                           + "smtp_accept_max_per_connection = 3\nsmtp_receive_timeout = 2s\n",
                           POLICY.replace("begin acl\n", ACLS.lstrip(), 1)).replace("errors = 100", "errors = 2")

    def test_protocol_errors(self):
        with self.shared().client() as client:
            client.ehlo()
            client.expect(RCPT, 503)
            client.expect("MAIL FROM:<a@b@c>", 501)
            client.expect(RCPT, 503)  # who pipelines could not know
            client.expect("NOOP", 250)
            reply = client.expect(RCPT, 503)
            self.assertIn("Too many syntax or protocol errors", reply.text)
            client.closed()
        self.shared().wait_log("dropped: too many syntax or protocol errors", "reject")

    def test_data_after_refused_recipients_is_no_error(self):
        """A client that pipelines has sent it before it knows."""
        with self.shared().client() as client:
            client.ehlo()
            client.expect(MAIL, 250)
            for command in ("DATA", "DATA", "BDAT 0", "DATA", "DATA"):
                client.expect("RCPT TO:<refused@test>", 550)
                reply = client.expect(command, 503, "RCPT command must precede")
                self.assertNotIn("Too many", reply.text)
                if command != "DATA":
                    client.expect("RSET", 250)
                    client.expect(MAIL, 250)
            client.expect("RCPT TO:<refused@test>", 550)
            client.expect("NOOP", 250)
            for _ in range(2):
                client.expect("DATA", 503, "RCPT command must precede")
            self.assertIn("Too many", client.expect("DATA", 503).text)

    def test_unknown_commands(self):
        with self.shared().client() as client:
            client.expect("XA", 500, "unrecognized command")
            client.expect("XB", 500, "unrecognized command")
            client.expect("XC", 500, "Too many unrecognized commands")
            client.closed()
        self.shared().wait_log("dropped: too many unrecognized commands", "reject")

    def test_nonmail_commands(self):
        with self.shared().client() as client:
            client.ehlo()
            for _ in range(4):
                client.expect("NOOP", 250)
            client.expect("NOOP", 554, "Too many nonmail commands")
            client.closed()
        self.shared().wait_log("dropped: too many nonmail commands", "reject")

    def test_messages_a_connection(self):
        with self.shared().client() as client:
            client.ehlo()
            for _ in range(3):
                client.message(MESSAGE)
            client.expect(MAIL, 421, "too many messages")
            client.closed()

    def test_command_timeout(self):
        with self.shared().client() as client:
            client.wait(421, "timeout")
            client.closed()
        self.shared().wait_log("SMTP command timeout on connection")

    def test_slow_command_times_out(self):
        """Half a command is no command: the clock is not set back by it for ever."""
        with self.shared().client() as client:
            client.ehlo()
            client.send("MAIL FRO")
            client.wait(421, "timeout")
            client.closed()

    def test_data_timeout(self):
        with self.shared().client() as client:
            client.ehlo()
            client.envelope()
            client.expect("DATA", 354)
            client.send("Subject: never finished\r\n")
            client.wait(421, "timeout")
            client.closed()
        self.shared().wait_log("SMTP data timeout")
        self.assertNotIn("never finished", "".join(m.decode() for m in self.shared().maildir()))


if __name__ == "__main__":
    unittest.main()
