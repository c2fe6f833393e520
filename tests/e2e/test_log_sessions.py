"""What an SMTP session leaves in the main and reject logs, and what it is answered, beside Exim: log tools read these lines."""
import concurrent.futures
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import unittest

from harness import SLUICE, USER, until

MAIN = """
primary_hostname = mx.test
qualify_domain = test
spool_directory = DIR/spool
log_file_path = DIR/log/%s
exim_user = USER
exim_group = nogroup
keep_environment =
local_interfaces = 127.0.0.1
tls_advertise_hosts =
queue_only
acl_smtp_rcpt = rcpt
acl_smtp_predata = predata
acl_smtp_dkim = dkim
dkim_verify_signers = ${if match{$sender_address}{dkim}{nobody.test:other.test}}
acl_smtp_data = data
acl_smtp_mail = mail
acl_smtp_helo = helo
acl_smtp_vrfy = accept
acl_smtp_etrn = accept
acl_smtp_expn = accept
check_spool_space = 0
check_spool_inodes = 0
message_size_limit = 20K
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max_per_connection = 1000
pipelining_connect_advertise_hosts =
smtp_receive_timeout = 6s
recipients_max = 5
smtp_banner = hello
log_selector = +smtp_protocol_error +smtp_syntax_error +smtp_incomplete_transaction +smtp_no_mail +smtp_connection \\
               +received_recipients +received_sender +subject +incoming_port -connection_id
begin acl
helo:
  deny condition = ${if eq{$sender_helo_name}{bad.helo}}
       message = no such helo
  accept
mail:
  deny senders = bad@sender
       message = sender $sender_address is bad
       log_message = logged otherwise
  defer senders = later@sender
  drop senders = drop@sender
       message = go away
  discard senders = discard@sender
       log_message = all of it
  warn senders = warn@sender
       log_message = a warning
       logwrite = written
  accept
rcpt:
  deny domains = denied.test
  deny domains = lines.test
       message = two\\nlines
  defer domains = later.test
       message = 452 4.2.2 come later
  drop domains = drop.test
  discard domains = discard.test
       log_message = discarding it
  deny domains = verify.test
       !verify = recipient
  warn domains = header.test
       add_header = X-Warn: yes
  accept
predata:
  deny senders = nodata@sender
       message = no message
  defer senders = latedata@sender
  accept
dkim:
  deny senders = deny@dkim
       message = no signature of $dkim_cur_signer
  defer senders = defer@dkim
       message = later
  drop senders = drop@dkim
  discard senders = discard@dkim
       dkim_signers = other.test
       log_message = $dkim_cur_signer has not signed
  accept
data:
  deny condition = ${if match{$message_body}{DENY}}
       message = body denied
  defer condition = ${if match{$message_body}{DEFER}}
  drop condition = ${if match{$message_body}{DROP}}
       message = body dropped
  discard condition = ${if match{$message_body}{DISCARD}}
       message = gone
  warn condition = ${if match{$message_body}{FAKE}}
       control = fakereject/this is fake
  warn condition = ${if match{$message_body}{FREEZE}}
       control = freeze
  deny !verify = header_syntax
       message = bad header syntax
  accept
begin routers
all:
  driver = accept
  domains = test : verify.test
  local_parts = alice : bob
  transport = box
begin transports
box:
  driver = appendfile
  file = DIR/mail/box
  user = USER
"""

CLOSE, ABORT, LISTEN = object(), object(), object()  # the client hangs up; resets; waits for what comes
HELLO = ["EHLO client.test"]
BEGIN = HELLO + ["MAIL FROM:<s@s.test>", "RCPT TO:<alice@test>"]


def message(text="Subject: x\n\nbody\n", sender="s@s.test", to=("alice@test",)):
    return [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{address}>" for address in to), "DATA",
            text.replace("\n", "\r\n").encode("latin-1") + b".\r\n"]


SESSIONS = {
    "message": HELLO + message() + ["QUIT"],
    "two messages": HELLO + message() + message(sender="t@t.test") + ["QUIT"],
    "helo": ["HELO client.test"] + message() + ["QUIT"],
    "no helo": ["MAIL FROM:<s@s.test>", "QUIT"],
    "helo refused": ["EHLO bad.helo", "HELO bad.helo", "QUIT"],
    "helo syntax": ["EHLO", "HELO", "EHLO foo bar", "EHLO -x", "HELO @foo", "QUIT"],
    "unknown": HELLO + ["FOO", "BAR baz", "FOO", "QUIT"],
    "too many unknown": HELLO + ["FOO", "BAR baz", "FOO", "XXX"],
    "mail syntax": HELLO + ["MAIL", "MAIL FROM", "MAIL FROM:<s@s.test", "MAIL FROM:<s s@x>"],
    "mail syntax, again": HELLO + ["MAIL FROM:<unqualified>", "MAIL FROM:<@>", "MAIL FROM:<a@b>", "QUIT"],
    "no address": HELLO + ["MAIL FROM:", "MAIL FROM:<s@s.test>", "RCPT TO:", "QUIT"],
    "rcpt syntax": HELLO + ["RCPT TO:<x@y>", "MAIL FROM:<s@s.test>", "RCPT", "RCPT TO", "RCPT TO:<>"],
    "rcpt syntax, again": BEGIN + ["RCPT TO:<alice", "RCPT TO:<alice bob@test>", "RCPT TO:<unqualified>", "RCPT TO:<postmaster>", "QUIT"],
    "sequence": HELLO + ["DATA", "RSET", "MAIL FROM:<>", "MAIL FROM:<>", "NOOP", "HELP", "VRFY alice", "VRFY alice@test",
                         "VRFY nobody@test", "EXPN alice@test", "STARTTLS", "QUIT"],
    "mail refused": HELLO + ["MAIL FROM:<bad@sender>", "MAIL FROM:<later@sender>", "QUIT"],
    "mail dropped": HELLO + ["MAIL FROM:<drop@sender>"],
    "mail warned": HELLO + message(sender="warn@sender") + ["QUIT"],
    "mail discarded": HELLO + message(sender="discard@sender") + ["QUIT"],
    "rcpt refused": HELLO + ["MAIL FROM:<s@s.test>", "RCPT TO:<a@denied.test>", "RCPT TO:<a@lines.test>", "RCPT TO:<a@later.test>",
                             "RCPT TO:<bob@verify.test>", "RCPT TO:<x@verify.test>", "QUIT"],
    "all refused": HELLO + ["MAIL FROM:<s@s.test>", "RCPT TO:<a@denied.test>", "DATA", "QUIT"],
    "rcpt dropped": HELLO + ["MAIL FROM:<s@s.test>", "RCPT TO:<a@drop.test>"],
    "rcpt discarded": HELLO + message(to=("a@discard.test", "alice@test")) + ["QUIT"],
    "all discarded": HELLO + message(to=("a@discard.test",)) + ["QUIT"],
    "mail discarded, all else refused": HELLO + message("Subject: x\n\nDENY\n", sender="discard@sender", to=("a@denied.test", "a@drop.test")) + ["QUIT"],
    "all discarded, data refused": HELLO + message("Subject: x\n\nDENY\n", to=("a@discard.test",)) + ["QUIT"],
    "predata refused": HELLO + ["MAIL FROM:<nodata@sender>", "RCPT TO:<alice@test>", "DATA", "RSET", "MAIL FROM:<latedata@sender>",
                                "RCPT TO:<alice@test>", "DATA", "QUIT"],
    "dkim refused": HELLO + message(sender="deny@dkim") + ["QUIT"],
    "dkim deferred": HELLO + message(sender="defer@dkim") + ["QUIT"],
    "dkim dropped": HELLO + message(sender="drop@dkim"),
    "dkim discarded": HELLO + message("Subject: x\n\nDENY\n", sender="discard@dkim") + ["QUIT"],
    "dkim accepted": HELLO + message(sender="accept@dkim") + ["QUIT"],
    "header added": HELLO + message(to=("a@header.test",)) + ["QUIT"],
    "data refused": HELLO + message("Subject: no\nFrom: <a@b.c>\n\nDENY\n") + ["QUIT"],
    "data deferred": HELLO + message("Subject: x\n\nDEFER\n") + ["QUIT"],
    "data dropped": HELLO + message("Subject: x\n\nDROP\n"),
    "data discarded": HELLO + message("Subject: x\n\nDISCARD\n") + ["QUIT"],
    "data faked": HELLO + message("Subject: x\n\nFAKE\n") + ["QUIT"],
    "data frozen": HELLO + message("Subject: x\n\nFREEZE\n") + ["QUIT"],
    "header syntax": HELLO + message("From: <a@b\nSubject: x\n\nb\n") + ["QUIT"],
    "too large": HELLO + message("Subject: x\n\n" + ("x" * 70 + "\n") * 400) + ["QUIT"],
    "many recipients": HELLO + message(to=[f"u{i}@test" for i in range(8)]) + ["QUIT"],
    "hung up at once": [CLOSE],
    "hung up": HELLO + [CLOSE],
    "hung up behind mail": HELLO + ["MAIL FROM:<s@s.test>", CLOSE],
    "hung up behind rcpt": BEGIN + [CLOSE],
    "hung up in data": BEGIN + ["DATA", CLOSE],
    "reset at once": [ABORT],
    "reset": HELLO + [ABORT],
    "reset behind mail": HELLO + ["MAIL FROM:<s@s.test>", ABORT],
    "reset behind rcpt": BEGIN + [ABORT],
    "reset in data": BEGIN + ["DATA", ABORT],
    "quit behind mail": HELLO + ["MAIL FROM:<s@s.test>", "QUIT"],
    "rset": BEGIN + ["RSET", "QUIT"],
    "silent": HELLO + [LISTEN],
    "silent behind mail": HELLO + ["MAIL FROM:<s@s.test>", LISTEN],
    "silent in data": BEGIN + ["DATA", LISTEN],
    "null sender": HELLO + message(sender="") + ["QUIT"],
    "pipelined": HELLO + [b"MAIL FROM:<s@s.test>\r\nRCPT TO:<alice@test>\r\nDATA\r\n", LISTEN, LISTEN, b"Subject: x\r\n\r\nb\r\n.\r\n", "QUIT"],
    "out of step": ["HELO client.test", b"MAIL FROM:<s@s.test>\r\nRCPT TO:<alice@test>\r\n", LISTEN],
    "subject": HELLO + message("Subject: hello  \"quoted\" \\ world\nMessage-ID: <abc@def>\n\nb\n") + ["QUIT"],
    "nul": HELLO + [b"MAIL FROM:<a\0b@c>\r\n", "QUIT"],
    "no body": HELLO + message("Subject: only\n") + ["QUIT"],
    "nothing": HELLO + message("") + ["QUIT"],
    "no header": HELLO + message("this is no header\nbody\n") + ["QUIT"],
    "lower case": ["ehlo client.test", "mail from:<s@s.test>", "rcpt to:<alice@test>", "data", b"x: y\r\n\r\nb\r\n.\r\n", "quit"],
    "spaces": ["EHLO   client.test  ", "MAIL FROM: <s@s.test>", "RCPT TO: <alice@test> ", "RSET ", "NOOP foo", "QUIT"],
}

# Where they differ: (what Exim has, what we have), of the answers and lines that are not the same; tests/differences.md says why.
DIFFERENT = {
    "helo syntax": ("^501 Synt", "501-Synt.*501 Too many syntax or protocol errors"),
    "no address": ("protocol error in \"MAIL FROM:\"", "syntax error in \"MAIL FROM:\""),
    "rcpt syntax, again": ("alice=bob@test", r"501 <alice bob@test>: \"@\" or \"\.\" expected after \"alice\""),
    "too large": ("read=28412 ", "read=28814 "),
}
ENDED = re.compile(r"closed by|lost (?:\(error: .*?\) )?D=|unexpected disconnection|dropped: too many| timeout |lost while reading|synchronization error")


def exim():
    path = os.environ.get("SLUICE_ORACLE", "")
    return path if os.access(path, os.X_OK) and os.getuid() == 0 else None


class Side:
    """One of the two programs, with a folder of its own."""

    def __init__(self, test, program):
        self.program = program
        self.source = None  # address of the client
        self.dir = tempfile.mkdtemp(prefix="sluice-sessions-")
        test.addCleanup(shutil.rmtree, self.dir, True)
        os.chmod(self.dir, 0o755)
        for name in ("log", "mail", "spool"):
            os.makedirs(os.path.join(self.dir, name))
            shutil.chown(os.path.join(self.dir, name), USER)
        self.config = os.path.join(self.dir, "config")
        own = f"exim_path = {program}\n" if program == exim() else "enhanced_status_advertise_hosts =\nshards = 1\n"
        with open(self.config, "w") as f:
            f.write(own + re.sub(r"\bUSER\b", USER, MAIN.replace("DIR", self.dir)))
        with open(os.path.join(self.dir, "err"), "wb") as err:
            if program == exim():  # it takes over a socket that listens already
                listener = socket.socket()
                listener.bind(("127.0.0.1", 0))
                listener.listen(50)
                self.port = listener.getsockname()[1]
                self.process = subprocess.Popen([program, "-C", self.config, "-bw"], stdin=listener, stdout=err, stderr=err)
                listener.close()
            else:
                pid = os.path.join(self.dir, "pid")
                self.process = subprocess.Popen([program, "-C", self.config, "-bdf", "-oX", "0", "-oP", pid], stdout=err, stderr=err)
                self.port = until(lambda: self.port_in(pid), "the daemon to start")
        test.addCleanup(self.process.wait)
        test.addCleanup(self.process.terminate)
        self.ports = {}

    @staticmethod
    def port_in(path):
        if not os.path.exists(path):
            return None
        with open(path) as f:
            lines = f.read().split("\n")
        return int(lines[1].rpartition(":")[2]) if len(lines) > 2 else None

    def log(self, name):
        path = os.path.join(self.dir, "log", name)
        if not os.path.exists(path):
            return ""
        with open(path, errors="replace") as f:
            return f.read()

    def socket_of_its_own(self):
        """Bound to a port that no session before had: lines are told apart by it."""
        while True:
            sock = socket.socket()
            sock.settimeout(20)
            sock.bind((self.source or "127.0.0.1", 0))
            if sock.getsockname()[1] not in self.ports.values():
                return sock
            sock.close()

    def talk(self, name, script):
        """[(what was said, what was answered)]"""
        said = []
        sock = self.socket_of_its_own()
        sock.connect(("127.0.0.1", self.port))
        self.ports[name] = sock.getsockname()[1]
        with sock, sock.makefile("rb") as stream:
            def answer():
                lines = []
                while not lines or lines[-1][3:4] == "-":
                    try:
                        line = stream.readline().decode("latin-1")
                    except ConnectionResetError:
                        line = ""
                    lines.append(line.rstrip("\r\n") if line else "(closed)")
                return lines

            said.append(("", answer()))
            for step in script:
                if step is CLOSE:
                    return said
                if step is ABORT:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return said
                if step is not LISTEN:
                    sock.sendall(step if isinstance(step, bytes) else step.encode("latin-1") + b"\r\n")
                said.append((str(step)[:60] if step is not LISTEN else "", answer()))
        return said

    def talk_all(self):
        """name -> what talk() has. Those in which the client is silent wait together: so the server's patience can be longer than this
        program is kept from its turn on a machine that does other things as well."""
        silent = [name for name in SESSIONS if name.startswith("silent")]
        with concurrent.futures.ThreadPoolExecutor(len(silent)) as pool:
            waiting = {name: pool.submit(self.talk, name, SESSIONS[name]) for name in silent}
            answers = {name: self.talk(name, script) for name, script in SESSIONS.items() if name not in waiting}
            return answers | {name: one.result() for name, one in waiting.items()}

    def ended(self):
        """All sessions have left their last line, and the processes that served them (Exim has one each) are gone."""
        main = self.log("main")
        for port in self.ports.values():
            if not any(ENDED.search(line) for line in main.split("\n") if f":{port}" in line):
                return False
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as f:
            return self.program != exim() or not f.read().strip()

    def lines(self):
        """name of a session -> the lines of both logs about it, without what differs from run to run"""
        found = {name: [] for name in self.ports}
        names = {port: name for name, port in self.ports.items()}
        for log in ("main", "reject"):
            name = None
            by_id = {}
            for line in self.log(log).split("\n"):
                head = re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ((?:[0-9A-Za-z]{6}-[0-9A-Za-z]{11}-[0-9A-Za-z]{4} )?)(.*)", line)
                if head:
                    port = re.search(r"\[127\.[\d.]+\]:(\d+)", line)
                    name = names.get(int(port.group(1))) if port else by_id.get(head.group(1))
                    by_id[head.group(1)] = name
                    line = ("ID " if head.group(1) else "") + head.group(2)
                if name:
                    found[name].append(f"{log}: {self.normal(line)}")
        return found

    def normal(self, line):
        line = line.replace(self.dir, "DIR")
        line = re.sub(r"\b[0-9A-Za-z]{6}-[0-9A-Za-z]{11}-[0-9A-Za-z]{4}\b", "ID", line)
        line = re.sub(r"(\[127\.[\d.]+\]):\d+", r"\1", re.sub(r"\(port=\d+", "(port=N", line))
        line = re.sub(r" D=[\d.]+m?s", " D=T", re.sub(r" S=\d+", " S=N", line))
        line = re.sub(r"connection count = \d+", "connection count = N", line)
        return re.sub(r"\w{3}, +\d+ \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "DATE", line.replace("Exim 4.98.2)", "Exim 4.98)"))


@unittest.skipUnless(exim(), "no Exim here (SLUICE_ORACLE, or ./dev deps test), or no root")
class LogOfSessions(unittest.TestCase):
    maxDiff = None

    def test_sessions(self):
        sides = [Side(self, exim()), Side(self, SLUICE)]
        answers = [side.talk_all() for side in sides]
        for side in sides:
            side.talk("the last", HELLO + ["QUIT"])  # what came before it in the log is there when it is
            until(side.ended, lambda side=side: side.log("main")[-3000:], 30)
        logs = [side.lines() for side in sides]
        for name in SESSIONS:
            with self.subTest(name):
                theirs, ours = ([(said, [side.normal(line) for line in lines]) for said, lines in answer[name]]
                                for side, answer in zip(sides, answers))
                extra = [" ".join(lines) for said, lines in theirs if (said, lines) not in ours]
                more = [" ".join(lines) for said, lines in ours if (said, lines) not in theirs]
                extra += [line for line in logs[0][name] if line not in logs[1][name]]
                more += [line for line in logs[1][name] if line not in logs[0][name]]
                if name in DIFFERENT:
                    self.assertRegex("\n".join(extra), "(?s)" + DIFFERENT[name][0])
                    self.assertRegex("\n".join(more), "(?s)" + DIFFERENT[name][1])
                else:
                    self.assertEqual((extra, more), ([], []))


if __name__ == "__main__":
    unittest.main()
