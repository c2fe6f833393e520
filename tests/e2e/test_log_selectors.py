"""log_selector: the same sessions with Exim and with sluice, with so many different sets of selectors that each is told from all
others by some of them; and a line for each selector that needs a world of its own."""
import os
import re
import struct
import subprocess
import unittest
from collections import Counter

from harness import SLUICE, Client, Closed, Sink, SluiceTest, children, configuration, free_port, until

ORACLE = os.environ.get("SLUICE_ORACLE", "")
CONF = """
primary_hostname = mx.test
spool_directory = DIR/WHOSE
log_file_path = DIR/WHOSE-%slog
exim_user = USER
exim_group = nogroup
keep_environment =
timezone = UTC
daemon_smtp_ports = LISTENPORT
local_interfaces = 127.0.0.1
queue_only
tls_advertise_hosts =
pipelining_connect_advertise_hosts = :
check_spool_space = 0
check_spool_inodes = 0
message_size_limit = 2K
smtp_max_unknown_commands = 1
smtp_max_synprot_errors = 2
smtp_accept_max_nonmail = 3
smtp_receive_timeout = 20s
recipients_max = 3
host_lookup =
log_selector = SELECTORS
acl_smtp_connect = connect
acl_smtp_mail = ${if eq{$sender_address}{refused@s.test}{deny}{accept}}
acl_smtp_rcpt = rcpt
acl_smtp_data = ${if eq{$h_subject:}{refused}{deny}{accept}}
acl_smtp_etrn = deny
acl_not_smtp = accept
SHARDS
begin acl
connect:
  deny hosts = 127.0.0.2
  drop hosts = 127.0.0.3
  warn hosts = nosuchhost.invalid
  accept
rcpt:
  drop local_parts = drop
  deny local_parts = deny
  defer local_parts = defer
  discard local_parts = discard
  accept
begin routers
out:
  driver = manualroute
  domains = out.test
  route_list = * 127.0.0.1
  self = send
  transport = smtp
deferred:
  driver = redirect
  local_parts = deferred
  data = :defer: later
  allow_defer
gone:
  driver = redirect
  local_parts = gone
  data = :fail: gone
  allow_fail
alias:
  driver = redirect
  local_parts = alias
  data = second@here.test
second:
  driver = redirect
  local_parts = second
  data = box@here.test
here:
  driver = accept
  local_parts = box
  transport = file
begin transports
smtp:
  driver = smtp
  port = SINKPORT
  allow_localhost
  hosts_try_fastopen = :
  connection_max_messages = 1
file:
  driver = appendfile
  file = DIR/WHOSE-box
  user = USER
begin retry
* * F,2h,15m
"""
# What both have; the dates of Exim's startup and of a TLS library are not compared.
SELECTORS = ("8bitmime acl_warn_skipped address_rewrite all_parents connection_id connection_reject delay_delivery deliver_time "
             "delivery_size dkim etrn host_lookup_failed incoming_interface incoming_port lost_incoming_connection millisec msg_id "
             "msg_id_created outgoing_interface outgoing_port pid pipelining protocol_detail queue_run queue_time queue_time_exclusive "
             "queue_time_overall receive_time received_recipients received_sender rejected_header retry_defer "
             "return_path_on_delivery sender_on_delivery size_reject skip_delivery smtp_confirmation smtp_connection "
             "smtp_incomplete_transaction smtp_mailauth smtp_no_mail smtp_protocol_error smtp_syntax_error subject "
             "unknown_in_list arguments").split()


def sessions(port):
    """What clients do, well or badly; each is waited for."""
    def client(*steps, source=None, banner=True):
        with Client(port, source=source, banner=banner) as c:
            try:
                for step in steps:
                    step(c)
            except Closed:
                pass

    def cmd(*lines):
        return lambda c: [c.cmd(line) for line in lines]

    def mail(*rcpts, sender="s@s.test", rest=""):
        return cmd("EHLO client.test", f"MAIL FROM:<{sender}>{rest}", *(f"RCPT TO:<{rcpt}>" for rcpt in rcpts))

    def data(text):
        return lambda c: (c.cmd("DATA"), c.send(text.replace("\n", "\r\n") + ".\r\n"), c.reply())

    def pipelined(c):
        c.send("MAIL FROM:<p@s.test>\r\nRCPT TO:<box@here.test>\r\nDATA\r\n")
        c.reply(), c.reply(), c.reply()
        c.send("Subject: =?iso-8859-1?q?p=E4?= \\ \"q\"\r\n\r\nx\r\n.\r\n")
        c.reply()

    bye = cmd("QUIT")
    client(mail("alias@here.test", "r@out.test", rest=" BODY=8BITMIME"), data("Subject: one\nMessage-Id: <x@y>\n\nb\n"), bye)
    client(mail("deferred@here.test", "gone@here.test", "r@out.test", sender="", rest=" BODY=7BIT"), data("Message-Id: <a\n b@c>\n\nb\n"), bye)
    client(cmd("EHLO client.test"), pipelined, bye)
    client(cmd("HELO x", "MAIL FROM:<h@s.test>", "RCPT TO:<box@here.test>", "DATA"), lambda c: (c.send(".\r\n"), c.reply()), bye)
    client(mail("box@here.test"), cmd("BDAT 5 LAST\r\n\r\nx\r\n"), bye)
    client(cmd("EHLO client.test"))
    client(bye)
    client()
    client(mail("box@here.test", "r@out.test"))
    client(mail("box@here.test"), bye)
    client(mail("box@here.test"), cmd("RSET"), bye)
    client(mail("box@here.test"), cmd("DATA"), lambda c: c.send("Subject: x\r\nFoo"))
    client(mail("box@here.test"), cmd("DATA"), lambda c: c.send("Subject: x\r\n\r\nFoo\r\nbar"))
    client(mail("deny@here.test", "defer@here.test", "discard@here.test"), bye)
    client(mail("drop@here.test"))
    client(mail("a@x.test", "b@x.test", "c@x.test", "d@x.test"), bye)
    client(mail("a@x.test", sender="refused@s.test"), bye)
    client(mail("a@x.test", rest=" SIZE=99999"), bye)
    client(mail("box@here.test"), data("Subject: x\n\n" + 3000 * "x" + "\n"), bye)
    client(mail("box@here.test"), data("Subject: refused\nX-More: y\n\nx\n"), bye)
    client(cmd("EHLO client.test", "FOO", "FOO", "FOO"))
    client(cmd("EHLO client.test", "MAIL FROM:<a@@b>", "MAIL FROM:<a@@b>", "MAIL FROM:<a@@b>"))
    client(cmd("DATA", "RCPT TO:<a@b>", "MAIL FROM:<>"))
    client(cmd("EHLO client.test", "NOOP", "NOOP", "NOOP", "NOOP"))
    client(cmd("EHLO client.test", "ETRN #x"), bye)
    client(lambda c: (c.send("EHLO x\r\nMAIL FROM:<a@b>\r\n"), c.reply()))
    client(lambda c: c.reply(), source="127.0.0.2", banner=False)
    client(lambda c: c.reply(), source="127.0.0.3", banner=False)


class Beside(SluiceTest):
    def lines(self, whose, program, selectors):
        """The main log, without what can't be the same: times, ids, ports, process ids, and the version in each Received: line."""
        sink = Sink()
        port = free_port()
        box = self.sluice(CONF, macros={"WHOSE": whose, "LISTENPORT": str(port), "SINKPORT": str(sink.port),
                                        "SELECTORS": " ".join(selectors), "SHARDS": "shards = 1" if whose == "ours" else ""}, start=False)
        os.chmod(box.dir, 0o777)
        log = os.path.join(box.dir, f"{whose}-mainlog")
        env = {"PATH": "/bin:/usr/bin", "ASAN_OPTIONS": "exitcode=99"}
        run = [program, "-C", box.config_file]

        def text():
            if not os.path.exists(log):
                return ""
            with open(log, errors="surrogateescape") as f:
                return f.read()
        with open(os.path.join(box.dir, "stderr"), "wb") as err:
            daemon = subprocess.Popen([*run, "-bdf", "-oX", f"127.0.0.1.{port}", "-oP", os.path.join(box.dir, "pid")],
                                      stdin=subprocess.DEVNULL, stdout=err, stderr=err, env=env, cwd=box.dir)
        try:
            until(lambda: os.path.exists(os.path.join(box.dir, "pid")) and "started" in text(), "the daemon")
            start = len(text())
            sessions(port)
            subprocess.run([*run, "-odq", "-oMt", "teller", "box@here.test"], input=b"\nx\n", env=env, timeout=60, cwd=box.dir)
            # Exim's children write the ends of their sessions when they come to it.
            until(lambda: whose == "ours" or not children(daemon.pid), "the sessions' ends")
            subprocess.run([*run, "-q"], env=env, timeout=60, cwd=box.dir)
            until(lambda: "+queue_run" not in selectors or "End queue run" in text(), text)
            until(lambda: re.search("=> r@out.test.*(\n.*)*=> r@out.test", text()), text)
            result = text()[start:]
        finally:
            daemon.terminate()
            daemon.wait(30)
            sink.close()
        result = re.sub(r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", result)
        for pattern, new in ((r"^TIME\.\d\d\d\b", "TIME.ms"), (r"^(TIME(\.ms)?) \[\d+\]", r"\1 [pid]"), (r"\bE?\w{6}-\w{11}-\w{4}\b", "ID"),
                             (r"(\[127\.0\.0\.\d\]):\d+", r"\1:P"), (r"\bCi=\w+", "Ci=N"), (r"\b(RT|QT|DT|D)=\d+\.\d+s", r"\1=0.ms"),
                             (r"pid=\d+", "pid=N"), (r"\b(RT|QT|DT|D)=\d+s", r"\1=N"), (r"read=\d+", "read=N"), (re.escape(box.dir), "DIR"), (r"(during SMTP connection) Ci=N", r"\1"),
                             (r"(args:) \S+", r"\1 PROGRAM"), (r" S=\d+", " S=N"),
                             (r"connection count = \d+", "connection count = N")):
            result = re.sub(f"(?m){pattern}", new, result)
        return sorted(line for line in result.splitlines() if not re.search(r"re-exec|daemon stopped|of \"exim -R|Warning: |either install", line))

    @unittest.skipUnless(os.getuid() == 0 and os.access(ORACLE, os.X_OK), "needs root and Exim (SLUICE_ORACLE)")
    def test_sets(self):
        """As many sets as the number of a selector has bits; the last are all, and none."""
        bits = len(SELECTORS).bit_length()
        sets = [[name for number, name in enumerate(SELECTORS) if number >> bit & 1] for bit in range(bits)] + [SELECTORS, []]
        for chosen in sets:
            selectors = ["-all", *("+" + name for name in chosen)]
            theirs, ours = self.lines("theirs", ORACLE, selectors), self.lines("ours", SLUICE, selectors)
            with self.subTest(" ".join(selectors)):
                self.assertGreater(len(theirs), 20)
                only = [f"{who}: {line}" for who, some, others in (("ours", ours, theirs), ("theirs", theirs, ours))
                        for line in (Counter(some) - Counter(others)).elements()]
                self.assertEqual(only, [], "\n".join(["", *only]))


if __name__ == "__main__":
    unittest.main()
