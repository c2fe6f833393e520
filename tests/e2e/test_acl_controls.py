"""Controls that change more than a verdict: what is sent before a delay, who is told of a frozen message, what a message that is
queued for its first pass does, addresses in A-labels."""
import os
import re
import time
import unittest

from harness import Client, SluiceTest, configuration, POLICY, until

ACL = """begin acl
connect_acl:
  warn    hosts = 127.0.0.9
          control = no_delay_flush
  accept
rcpt_acl:
  warn    local_parts = carol
          delay = 2s
  warn    senders = quiet@client.test : both@client.test
          control = freeze/no_tell
  warn    senders = frozen@client.test : both@client.test
          control = freeze
  warn    senders = first@client.test
          control = queue/first_pass_route
  warn    senders = later@client.test
          control = queue
  warn    senders = labels@client.test
          control = utf8_downconvert
  accept  domains = test
          verify = recipient
  accept
"""
MAIN = "acl_smtp_connect = connect_acl\nfreeze_tell = postmaster@test\n"


class Controls(SluiceTest):
    def controlled(self, **options):
        policy = re.sub(r"begin acl\n.*?begin routers", lambda _: ACL + "begin routers", POLICY, flags=re.S)
        policy = policy.replace("  driver = smtp\n", "  driver = smtp\n  utf8_downconvert =\n")
        return self.sluice(configuration(MAIN, policy), **options)

    def times(self, client):
        """When the replies to a pipelined MAIL and RCPT come, the second after two seconds of delay."""
        client.ehlo()
        start = time.monotonic()
        client.send(b"MAIL FROM:<s@client.test>\r\nRCPT TO:<carol@test>\r\n")
        client.wait(250)
        first = time.monotonic() - start
        client.wait(250)
        return first, time.monotonic() - start

    def test_a_delay_sends_what_was_answered(self):
        server = self.controlled()
        with Client(server.port) as client:
            first, second = self.times(client)
        self.assertLess(first, 1.5)
        self.assertGreater(second, 1.9)

    def test_no_delay_flush(self):
        server = self.controlled()
        with Client(server.port, source="127.0.0.9") as client:
            first, second = self.times(client)
        self.assertGreater(first, 1.9)
        self.assertGreater(second, 1.9)

    def test_frozen_and_told(self):
        server = self.controlled()
        with Client(server.port) as client:
            client.ehlo()
            client.message("Subject: x\r\n\r\nbody\r\n", "frozen@client.test")
        server.wait_log("frozen by ACL")
        (report,) = server.wait_mail(1, "postmaster")
        self.assertIn(b"was frozen when it arrived", report)
        self.assertIn(b"frozen@client.test", report)
        self.assertEqual(server.queue_count(), 1)

    def test_frozen_and_not_told(self):
        server = self.controlled()
        with Client(server.port) as client:
            client.ehlo()
            client.message("Subject: x\r\n\r\nbody\r\n", "quiet@client.test")
            server.wait_log("frozen by ACL")
            # Whoever freezes without it wants it told.
            client.message("Subject: x\r\n\r\nbody\r\n", "both@client.test")
        reports = server.wait_mail(1, "postmaster")
        self.assertEqual(len(reports), 1)
        self.assertIn(b"both@client.test", reports[0])
        self.assertEqual(server.queue_count(), 2)

    def test_first_pass(self):
        sink = self.sink()
        server = self.controlled(macros={"SINKPORT": str(sink.port)})
        with Client(server.port) as client:
            client.ehlo()
            client.message("Subject: x\r\n\r\nbody\r\n", "first@client.test", ("alice@test", "x@elsewhere.test"))
        server.wait_mail(1)
        server.wait_log(r"== x@elsewhere\.test .*SMTP delivery explicitly queued")
        self.assertEqual(server.queue_count(), 1)
        self.assertEqual(sink.messages, [])
        server.run("-qf", check=0)
        sink.wait(1)

    def test_queue(self):
        server = self.controlled()
        with Client(server.port) as client:
            client.ehlo()
            client.message("Subject: x\r\n\r\nbody\r\n", "later@client.test", ("alice@test",))
        server.wait_log("no immediate delivery: queued by ACL")
        self.assertEqual(server.queue_count(), 1)

    def test_labels(self):
        sink = self.sink()  # without SMTPUTF8
        server = self.controlled(macros={"SINKPORT": str(sink.port)})
        with Client(server.port) as client:
            client.ehlo()
            client.expect("MAIL FROM:<labels@client.test> SMTPUTF8", 250)
            client.expect("RCPT TO:<x@elsewhere.test>", 250)
            client.data("Subject: x\r\n\r\nbody\r\n")
        self.assertEqual(sink.wait(1)[0][1], ["x@elsewhere.test"])


if __name__ == "__main__":
    unittest.main()
