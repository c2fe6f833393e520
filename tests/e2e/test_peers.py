"""Real peers: what swaks, smtp-source, msmtp, smtplib, opensmtpd's client, exim and "sendmail" send arrives as it was,
and what sluice sends is understood by smtp-sink, exim, dovecot's LMTP and sluice itself. A peer that is not installed
is skipped, by name."""
import base64
import os
import pwd
import random
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import time
import unittest

from harness import DEADLINE_S, GROUP_LINE, POLICY, SLUICE, Sluice, SluiceTest, USER, configuration, peer, until
from test_bodies import stuffed

ROOT = os.getuid() == 0
TRACE = re.compile(rb"\A(?:(?:Return-path|Envelope-to|Delivery-date|Delivered-to|Received|X-Client-\w+|X-\w+-Args):[^\n]*\n"
                   rb"(?:[ \t][^\n]*\n)*)+", re.I)


def head(name):
    return (f"Message-Id: <{name}@peers.test>\r\nDate: Sat, 21 Nov 2026 00:00:00 +0000\r\nFrom: Sender <s@client.test>\r\n"
            f"To: alice@test\r\nSubject: {name}\r\n").encode()


def multipart():
    """Text, a base64 attachment, and a part whose bytes are anything but NUL and line ends alone (RFC 6152)."""
    rng = random.Random(8)
    picture = base64.encodebytes(rng.randbytes(30000)).replace(b"\n", b"\r\n")
    raw = b"".join(bytes(rng.choice([b for b in range(1, 256) if b not in (10, 13)]) for _ in range(rng.randrange(900))) + b"\r\n"
                   for _ in range(40))
    return (b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\npreamble\r\n--=_b\r\n\r\ntext\r\n"
            b"--=_b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + picture +
            b"--=_b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + raw + b"--=_b--\r\n")


# What follows the header lines of head(), as it is on the wire.
MAILS = {
    "plain": b"\r\nHello,\r\n\r\nthis is plain.\r\n",
    "eightbit": "\r\nGrüße, 你好, ñ\r\n".encode() + b"\xe4\xf6\xfc \xff\xfe \x80\r\n",
    "dots": b"\r\n.\r\n..\r\n...\r\n.a\r\n\r\n.\r\n\r\na.\r\n. \r\n.\t.\r\nlast.\r\n",
    "long": b"\r\n" + b"x" * 997 + b"\r\n" + b"y" * 998 + b"\r\n" + b". " * 450 + b"\r\n",
    "blank": b"\r\n\r\n\r\n  \r\n\t\r\ntrailing \r\n\r\n\r\n",
    "from": b"\r\nFrom here on\r\n>From there\r\nFrom: nobody\r\n",
    "mime": multipart(),
    "empty": b"\r\n",
    "folded": b"X-Folded: a\r\n b\r\n\tc\r\nX-Empty:\r\nX-Odd: \xe4 =?utf-8?q?=C3=A4?=\r\n\r\nbody\r\n",
}
LONG_LINES = b"\r\n" + b"z" * 70000 + b"\r\n" + b"." * 4000 + b"\r\n"


def mails(sender, names=None):
    """name -> message, whose Message-Id says who sent it."""
    return {name: head(f"{name}.{sender}") + MAILS[name] for name in names or MAILS}


def parts(message):
    """Header lines and body without trace lines; a header alone has an empty body."""
    header, _, body = TRACE.sub(b"", message.replace(b"\r\n", b"\n"), count=1).partition(b"\n\n")
    return header.rstrip(b"\n"), body


def message_id(message):
    found = re.search(rb"^Message-Id: <(.*?)@peers", message, re.M | re.I)
    return found.group(1).decode() if found else None


def unix(message):
    return message.replace(b"\r\n", b"\n")


def listening_port(process):
    """The port that a process was given by the kernel; None until it listens."""
    if process.poll() is not None:
        raise AssertionError(f"{process.args[0]} ended with {process.returncode}")
    inodes = set()
    for fd in os.listdir(f"/proc/{process.pid}/fd"):
        try:
            inodes.add(os.readlink(f"/proc/{process.pid}/fd/{fd}"))
        except FileNotFoundError:
            pass
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{process.pid}/net/{table}") as f:
            for line in f.readlines()[1:]:
                word = line.split()
                if word[3] == "0A" and f"socket:[{word[9]}]" in inodes:
                    return int(word[1].rpartition(":")[2], 16)
    return None


def files(path):
    """The bytes of each file below a folder, in no order."""
    result = []
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                with open(os.path.join(folder, name), "rb") as f:
                    result.append(f.read())
            except FileNotFoundError:
                pass
    return result


class PeerTest(SluiceTest):
    maxDiff = 2000

    def need(self, name):
        program = peer(name)
        if not program:
            self.skipTest(f"{name} is not here: ./dev deps test")
        return program

    def folder(self, *names):
        """A directory of the test's own, whose sub-folders belong to the daemons' user."""
        path = tempfile.mkdtemp(prefix="sluice-peer-")
        self.addCleanup(shutil.rmtree, path, True)
        os.chmod(path, 0o755)
        for name in names:
            os.mkdir(os.path.join(path, name))
            if ROOT:
                shutil.chown(os.path.join(path, name), USER)
        return path

    def spawn(self, *arguments, **options):
        """A peer in a session of its own, which ends with the test."""
        process = subprocess.Popen(arguments, start_new_session=True, **{"stdin": subprocess.DEVNULL, **options})
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()

    def command(self, *arguments, data=b"", status=0, env=None):
        done = subprocess.run(arguments, input=data, capture_output=True, timeout=DEADLINE_S * 2, env=env)
        if done.returncode != status:
            self.fail(f"{arguments}: status {done.returncode}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
        return done

    def at_once(self, commands):
        """Commands with their inputs, side by side; each has to succeed. What they said."""
        started, said = [], ""
        for arguments, data in commands:
            source = tempfile.TemporaryFile()
            source.write(data)
            source.seek(0)
            log = tempfile.TemporaryFile()
            started.append((subprocess.Popen(arguments, stdin=source, stdout=log, stderr=log), log))
            source.close()
        for process, log in started:
            status = process.wait(DEADLINE_S * 2)
            log.seek(0)
            text = log.read().decode("utf-8", "replace")
            log.close()
            self.assertEqual(0, status, (process.args, text[-3000:]))
            said += text
        return said

    def same(self, sent, delivered):
        """Each message of sent (name -> wire) is among those delivered, once and unchanged."""
        by_id = {}
        for message in delivered:
            self.assertNotIn(message_id(message), by_id)
            by_id[message_id(message)] = message
        self.assertEqual({message_id(m) for m in sent.values()}, set(by_id))
        for name, message in sent.items():
            with self.subTest(name):
                header, body = parts(by_id[message_id(message)])
                wanted_header, wanted_body = parts(message)
                self.assertEqual(wanted_header, header)
                if body != wanted_body:  # assertEqual() of megabytes is slow
                    at = next((i for i, (a, b) in enumerate(zip(body, wanted_body)) if a != b), min(len(body), len(wanted_body)))
                    self.fail(f"body differs at {at} of {len(wanted_body)}: {body[at - 20:at + 20]} for "
                              f"{wanted_body[at - 20:at + 20]}; length {len(body)}")


class Exim:
    """The reference, as a daemon that delivers into a maildir, or as a program that sends all to one host."""

    def __init__(self, test, main="", route=None, transport=""):
        self.program = test.need("exim")
        if not ROOT:
            test.skipTest("exim starts as root only, to become its user")
        self.test = test
        self.dir = test.folder("log", "mail", "spool")
        router = "driver = accept\n  transport = inbox" if route is None else (
            f"driver = manualroute\n  route_list = * 127.0.0.1::{route}\n  self = send\n  transport = out")
        with open(os.path.join(self.dir, "conf"), "w") as f:
            f.write(f"""exim_path = {self.program}
primary_hostname = exim.test
spool_directory = {self.dir}/spool
log_file_path = {self.dir}/log/%s
exim_user = {USER}
{GROUP_LINE}keep_environment =
tls_advertise_hosts =
acl_smtp_rcpt = take
acl_smtp_data = take
message_size_limit = 60M
check_spool_space = 0
check_spool_inodes = 0
smtp_accept_max = 100
smtp_accept_queue_per_connection = 0
local_from_check = no
untrusted_set_sender = *
smtputf8_advertise_hosts = *
{main}
begin acl
take:
  accept
begin routers
all:
  {router}
begin transports
inbox:
  driver = appendfile
  maildir_format
  directory = {self.dir}/mail/inbox
  create_directory
  user = {USER}
out:
  driver = smtp
  allow_localhost
  hosts_try_fastopen = :
  message_linelength_limit = 1G
  {transport}
begin retry
* * F,2h,15m
""")

    def daemon(self):
        """Takes over a socket that listens already, so that there is nothing to wait for. The port."""
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        with open(os.path.join(self.dir, "err"), "wb") as err:
            self.test.spawn(self.program, "-C", os.path.join(self.dir, "conf"), "-bw", stdin=listener, stdout=err, stderr=err)
        port = listener.getsockname()[1]
        listener.close()
        return port

    def command(self, sender, *rcpts):
        return [self.program, "-C", os.path.join(self.dir, "conf"), "-odi", "-oi", "-f", sender, *rcpts]

    def log(self):
        text = ""
        for name in ("log/main", "err"):
            path = os.path.join(self.dir, name)
            if os.path.exists(path):
                with open(path, errors="surrogateescape") as f:
                    text += f.read()
        return text

    def wait_mail(self, count):
        new = os.path.join(self.dir, "mail", "inbox", "new")
        until(lambda: os.path.isdir(new) and len(os.listdir(new)) >= count,
              lambda: f"{count} messages at exim; log: {self.log()[-3000:]}")
        return files(new)


class Senders(PeerTest):
    """Each sends the whole set to a domain of ours; the maildir has it byte for byte."""

    main = "message_size_limit = 60M\n"

    def setUp(self):
        self.server = self.sluice(main=self.main)
        self.address = f"127.0.0.1:{self.server.port}"

    def check(self, sent):
        self.same(sent, self.server.wait_mail(len(sent)))
        self.assertNotRegex(self.server.log(), r"\*\*|==")
        self.assertEqual(0, self.server.queue_count())

    def test_swaks(self):
        sent = mails("swaks")
        commands = []
        for number, message in enumerate(sent.values()):
            commands.append(([self.need("swaks"), "--server", self.address, "--from", "s@client.test", "--to", "alice@test",
                              "--ehlo", "client.test", "--no-data-fixup", "--data", "-", *["--pipeline"] * (number % 2)],
                             stuffed(message)[:-2]))
        self.at_once(commands)
        self.check(sent)

    def test_swaks_as_in_the_readme(self):
        self.command(self.need("swaks"), "--server", self.address, "--from", "me@example.org", "--to", "alice@test",
                     "--header", "Subject: first message")
        (message,) = self.server.wait_mail()
        self.assertIn(b"\nSubject: first message\n", message)
        self.assertIn(b"\nThis is a test mailing\n", message)

    def test_msmtp(self):
        sent = mails("msmtp")
        self.at_once([([self.need("msmtp"), "--file=/dev/null", "--host=127.0.0.1", f"--port={self.server.port}", "--from=s@client.test",
                        "alice@test"], unix(message)) for message in sent.values()])
        self.check(sent)

    def test_smtplib(self):
        sent = mails("smtplib")
        sent["longer"] = head("longer.smtplib") + LONG_LINES
        with smtplib.SMTP("127.0.0.1", self.server.port, local_hostname="client.test", timeout=DEADLINE_S) as client:
            for number, message in enumerate(sent.values()):
                client.sendmail("s@client.test", ["alice@test"], message, ["BODY=8BITMIME"] if number % 2 else [])
        self.check(sent)

    def test_opensmtpd_client(self):
        program = os.path.join(os.path.dirname(self.need("exim")), "../opensmtpd/usr/bin/smtp")
        if not os.access(program, os.X_OK):
            self.skipTest("opensmtpd's smtp is not here")
        # It hands on what it reads without doubling dots.
        sent = mails("opensmtpd", [name for name in MAILS if name not in ("dots", "long")])
        self.at_once([([program, "-C", "-s", f"smtp://{self.address}", "-F", "s@client.test", "alice@test"], unix(m)) for m in sent.values()])
        self.check(sent)

    def exim(self, transport, pattern):
        exim = Exim(self, route=self.server.port, transport=transport)
        sent = mails("exim")
        sent["longer"] = head("longer.exim") + LONG_LINES
        sent["unfinished"] = head("unfinished.exim") + b"\r\nno line end\r\n"
        said = self.at_once([(exim.command("s@client.test", "alice@test"),
                              unix(message)[:-1] if name == "unfinished" else unix(message)) for name, message in sent.items()])
        self.check(sent)
        # Its delivering process logs to standard error: it has no rights to more under a configuration of ours.
        self.assertEqual(len(sent), len(re.findall(pattern, exim.log() + said)), said)

    def test_exim_chunking_pipelining(self):
        self.exim("", "=> alice@test .* K ")

    def test_exim_data(self):
        self.exim("hosts_try_chunking = :\n  hosts_avoid_pipelining = *", "=> alice@test ")

    def test_exim_many_recipients(self):
        """Two of four are refused: exim's bounce comes to us as well, and is for nobody."""
        exim = Exim(self, route=self.server.port)
        self.at_once([(exim.command("carol@test", "alice@test", "bob@test", "refused@test", "x@relay.test"),
                       unix(mails("many")["plain"]))])
        for user in ("alice", "bob"):
            self.same(mails("many", ["plain"]), self.server.wait_mail(user=user))
        bounce = self.server.wait_mail(user="carol")[0]
        self.assertIn(b"no thanks", bounce)
        self.assertIn(b"relay not permitted", bounce)

    def test_sendmail(self):
        """Local submission under sendmail's name, with dots alone, with and without a last line end; -t for recipients."""
        name = os.path.join(self.folder("x"), "sendmail")
        os.symlink(os.path.abspath(SLUICE), name)
        sent = mails("sendmail")
        for number, message in enumerate(sent.values()):
            arguments = ["-oi", "-t"] if number % 2 else ["-i", "alice@test"]
            self.server.run(*arguments, stdin=unix(message), check=0, program=name)
        unfinished = head("unfinished.sendmail") + b"\r\nno line end\r\n"
        self.server.run("-oi", "alice@test", stdin=unix(unfinished)[:-1], check=0, program=name)
        sent["unfinished"] = unfinished
        self.same(sent, self.server.wait_mail(len(sent)))

    def smtp_source(self, *arguments):
        self.command(self.need("smtp-source"), "-f", "s@client.test", *arguments, self.address)

    def test_smtp_source(self):
        """Hundreds of messages over twenty sessions, many over a connection, then one a connection."""
        self.smtp_source("-d", "-s", "20", "-m", "500", "-l", "4096", "-t", "alice@test")
        self.smtp_source("-s", "20", "-m", "100", "-l", "1000", "-t", "bob@test")
        for user, count, size in (("alice", 500, 4000), ("bob", 100, 900)):
            messages = self.server.wait_mail(count, user=user)
            self.assertEqual(count, len({message_id_of_source(m) for m in messages}))
            self.assertGreater(min(len(m) for m in messages), size)
        self.assertEqual(600, len(re.findall(r" Completed$", self.server.wait_log(r" Completed$", count=600), re.M)))
        self.assertEqual(0, self.server.queue_count())

    def test_huge(self):
        """20 MB from three peers at a time."""
        rng = random.Random(20)
        block = b"".join((b"." if rng.random() < 0.02 else b"") + base64.b64encode(rng.randbytes(54)) + b"\r\n" for _ in range(1000))
        body = b"\r\n" + block * (20_000_000 // len(block)) + b"end\r\n"
        sent = {name: head(name) + body for name in ("huge.msmtp", "huge.sendmail")}
        others = []
        if ROOT:
            sent["huge.exim"] = head("huge.exim") + body
            others.append((Exim(self, route=self.server.port).command("s@client.test", "alice@test"), unix(sent["huge.exim"])))
        self.at_once([*others,
                      ([self.need("msmtp"), "--file=/dev/null", "--host=127.0.0.1", f"--port={self.server.port}", "--from=s@client.test",
                        "alice@test"], unix(sent["huge.msmtp"])),
                      ([SLUICE, "-C", self.server.config_file, "-oi", "alice@test"], unix(sent["huge.sendmail"]))])
        self.check(sent)


RELAY = POLICY.replace("hosts_try_fastopen = :", "hosts_try_fastopen = :\n  message_linelength_limit = 1G\n  EXTRA")


class Receivers(PeerTest):
    """What comes in is sent on, over the transport that the test chooses."""

    def relay(self, port, extra="", main=""):
        self.server = self.sluice(configuration("message_size_limit = 60M\n" + main, RELAY),
                                  macros={"SINKPORT": str(port), "EXTRA": extra})
        return self.server

    def send(self, sent, rcpts=("x@elsewhere.test",), options=()):
        with smtplib.SMTP("127.0.0.1", self.server.port, local_hostname="client.test", timeout=DEADLINE_S) as client:
            for message in sent.values():
                client.sendmail("s@client.test", list(rcpts), message, ["BODY=8BITMIME", *options])

    def delivered(self, count):
        self.server.wait_log(" Completed$", count=count)
        self.assertNotRegex(self.server.log(), r"\*\* |== ")
        self.assertEqual(0, self.server.queue_count())

    # ---- exim -----------------------------------------------------------------------------------------------------

    def to_exim(self, main="", extra="", pattern="", sent=None):
        exim = Exim(self, main)
        self.relay(exim.daemon(), extra)
        sent = sent or mails("to-exim")
        self.send(sent)
        self.delivered(len(sent))
        self.same(sent, exim.wait_mail(len(sent)))
        self.assertEqual(len(sent), len(re.findall(pattern, exim.log())), exim.log())

    def test_exim_chunking_pipelining(self):
        sent = mails("to-exim")
        sent["longer"] = head("longer.to-exim") + LONG_LINES
        self.to_exim(pattern=r" <= s@client\.test .*P=esmtp K ", sent=sent)

    def test_exim_data(self):
        self.to_exim("chunking_advertise_hosts = :", pattern=r" <= s@client\.test .*P=esmtp S=")

    def test_exim_chunks_without_pipelining(self):
        self.to_exim("pipelining_advertise_hosts = :", pattern=r" <= s@client\.test .*P=esmtp K ")

    def test_exim_told_not_to(self):
        self.to_exim(extra="hosts_try_chunking = :\n  hosts_avoid_pipelining = *", pattern=r" <= s@client\.test .*P=esmtp S=")

    def test_exim_no_esmtp(self):
        self.to_exim(extra="hosts_avoid_esmtp = *", pattern=r" <= s@client\.test .*P=smtp S=")

    def test_exim_smtputf8(self):
        exim = Exim(self)
        self.relay(exim.daemon())
        message = head("utf8").replace(b"Sender <", "Grüße <".encode()) + MAILS["eightbit"]
        with smtplib.SMTP("127.0.0.1", self.server.port, local_hostname="client.test", timeout=DEADLINE_S) as client:
            client.ehlo()
            client.sendmail("grüße@client.test", ["ünï@elsewhere.test"], message, ["BODY=8BITMIME", "SMTPUTF8"])
        self.delivered(1)
        self.same({"utf8": message}, exim.wait_mail(1))
        self.assertRegex(exim.log(), r" <= grüße@client\.test .*P=utf8esmtp")

    def test_huge(self):
        rng = random.Random(21)
        block = b"".join((b"." if rng.random() < 0.02 else b"") + base64.b64encode(rng.randbytes(54)) + b"\r\n" for _ in range(1000))
        self.to_exim(sent={"huge": head("huge.to-exim") + b"\r\n" + block * (20_000_000 // len(block))},
                     pattern=" <= s@client.test ")

    def test_chain(self):
        """exim to sluice to sluice to exim."""
        last = Exim(self)
        self.relay(last.daemon())
        second = self.server
        first = self.sluice(configuration("message_size_limit = 60M\n", RELAY), macros={"SINKPORT": str(second.port), "EXTRA": ""})
        exim = Exim(self, route=first.port)
        sent = mails("chain")
        sent["longer"] = head("longer.chain") + LONG_LINES
        self.at_once([(exim.command("s@client.test", "x@elsewhere.test"), unix(m)) for m in sent.values()])
        for server in (first, second):
            self.server = server
            self.delivered(len(sent))
        messages = last.wait_mail(len(sent))
        self.same(sent, messages)
        hops = re.findall(rb"^(?:\tby|Received: from .* by|Received: by) (\S+)", TRACE.match(messages[0]).group(0), re.M)
        self.assertEqual([b"exim.test", b"mx.test", b"mx.test", b"exim.test"], hops, messages[0])

    # ---- smtp-sink ------------------------------------------------------------------------------------------------

    def smtp_sink(self, *options, address="127.0.0.1:0"):
        self.sink_dir = self.folder("mail")
        program = self.need("smtp-sink")
        mail = os.path.join(self.sink_dir, "mail")
        options = ("-u", USER, "-R", mail, "-d", "m.", *options) if ROOT else ("-d", mail + "/m.", *options)
        self.sink_log = os.path.join(self.sink_dir, "log")
        with open(self.sink_log, "wb") as log:
            process = self.spawn(program, "-c", *options, address, "1000", stdout=log, stderr=log)
        return until(lambda: listening_port(process), "smtp-sink to listen")

    def sink_counts(self):
        """Sessions and messages so far."""
        with open(self.sink_log, errors="replace") as f:
            found = re.findall(r"sess=(\d+) quit=\d+ mesg=(\d+)", f.read())
        return (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)

    def sunk(self, count):
        return until(lambda: (lambda f: f if len(f) == count else None)(files(os.path.join(self.sink_dir, "mail"))),
                     f"{count} messages at smtp-sink")

    def to_sink(self, *options, extra=""):
        self.relay(self.smtp_sink(*options), extra)
        # It writes a file a message, and an empty line behind.
        sent = mails("sink", [name for name in MAILS if name != "blank"])
        self.send(sent)
        self.delivered(len(sent))
        self.same({name: m for name, m in sent.items()}, [re.sub(rb"\n\Z", b"", m) for m in self.sunk(len(sent))])

    def test_sink(self):
        self.to_sink()

    def test_sink_without_pipelining(self):
        self.to_sink("-p")

    def test_sink_many_recipients(self):
        self.relay(self.smtp_sink())
        sent = mails("many", ["plain"])
        self.send(sent, [f"r{i}@elsewhere.test" for i in range(150)])
        self.delivered(1)
        messages = self.sunk(2)  # max_rcpt is 100
        self.assertEqual(150, len(set(re.findall(rb"<(r\d+@elsewhere\.test)>", b"".join(messages)))))
        self.assertEqual([50, 100], sorted(len(re.findall(rb"<r\d+@elsewhere\.test>", m)) for m in messages))

    def test_sink_pooled(self):
        """A flood in, over connections that are used again on the way out."""
        self.relay(self.smtp_sink("-h", "sink.test"), main="deliveries_max = 10\n")
        self.command(self.need("smtp-source"), "-d", "-s", "20", "-m", "300", "-l", "2000", "-f", "s@client.test", "-t",
                     "x@elsewhere.test", f"127.0.0.1:{self.server.port}")
        self.delivered(300)
        self.sunk(300)
        self.server.stop()  # says QUIT to what is in the pool
        sessions, messages = until(lambda: (lambda c: c if c[1] == 300 else None)(self.sink_counts()), self.sink_counts)
        self.assertLessEqual(sessions, 20, "sessions for 300 messages, ten at a time")

    def test_sink_ipv6(self):
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError:
            self.skipTest("no IPv6 here")
        port = self.smtp_sink("-6", address="[::1]:0")
        policy = RELAY.replace("route_list = * 127.0.0.1", 'route_list = * "<+ ::1"')
        config = configuration("", policy).replace("dns_ipv4_lookup = *\n", "")
        self.server = self.sluice(config, macros={"SINKPORT": str(port), "EXTRA": ""},
                                  arguments=("-oX", "<; 127.0.0.1.0 ; [::1]:0"))
        sent = mails("six", ["plain", "mime"])
        with smtplib.SMTP("::1", self.server.ports[1], local_hostname="client.test", timeout=DEADLINE_S) as client:
            for message in sent.values():
                client.sendmail("s@client.test", ["x@elsewhere.test", "alice@test"], message, ["BODY=8BITMIME"])
        self.delivered(2)
        self.same(sent, self.server.wait_mail(2))
        self.same(sent, [re.sub(rb"\n\Z", b"", m) for m in self.sunk(2)])
        self.assertRegex(self.server.log(), r"<= s@client\.test H=\(client\.test\) \[::1\]")
        self.assertRegex(self.server.log(), r"=> x@elsewhere\.test R=elsewhere T=smtp H=::1 \[::1\]")

    # ---- dovecot --------------------------------------------------------------------------------------------------

    def dovecot(self):
        """Its LMTP on a Unix socket and on a port. (folder, socket, port)"""
        program = self.need("dovecot")
        if not os.path.exists("/usr/lib/dovecot/lmtp"):
            self.skipTest("dovecot-lmtpd is not here: ./dev deps test")
        if not ROOT:
            self.skipTest("dovecot's LMTP is tested as root only: it changes its user")
        folder = self.folder("home")
        uid, gid = pwd.getpwnam(USER)[2:4]
        path = os.path.join(folder, "lmtp")
        for _ in range(5):  # another may take the port before dovecot has it
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            with open(os.path.join(folder, "conf"), "w") as f:
                f.write(f"""base_dir = {folder}/run
log_path = {folder}/log
protocols = lmtp
ssl = no
first_valid_uid = 1
mail_location = maildir:~/mail
mail_uid = {uid}
mail_gid = {gid}
postmaster_address = postmaster@test
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home/%n
}}
service lmtp {{
  unix_listener {path} {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
""")
            process = self.spawn(program, "-F", "-c", os.path.join(folder, "conf"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

            def ready():
                if process.poll() is not None:
                    return "ended"
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0 and os.path.exists(path)

            if until(ready, "dovecot to listen") != "ended":
                return folder, path, port
        self.fail("dovecot does not start: " + files(folder)[0].decode())

    def dovecot_mail(self, folder, user, count):
        def look():
            found = [m for m in files(os.path.join(folder, "home", user, "mail/new"))]
            return found if len(found) >= count else None
        return until(look, lambda: f"{count} messages for {user}; sluice: {self.server.log()[-2000:]}")

    def to_dovecot(self, folder):
        sent = mails("dovecot")
        self.send(sent, ["x@elsewhere.test", "y@elsewhere.test"])
        self.delivered(len(sent))
        for user in ("x", "y"):
            self.same(sent, self.dovecot_mail(folder, user, len(sent)))

    def test_dovecot_tcp(self):
        folder, _, port = self.dovecot()
        self.relay(port, "protocol = lmtp")
        self.to_dovecot(folder)
        self.assertRegex(self.server.log(), r"=> x@elsewhere\.test R=elsewhere T=smtp H=127\.0\.0\.1 \[127\.0\.0\.1\]\*? ")

    def test_dovecot_socket(self):
        folder, path, _ = self.dovecot()
        policy = POLICY.replace("driver = manualroute", "driver = accept").replace("  route_list = * 127.0.0.1\n  self = send\n", "")
        start = policy.index("  driver = smtp\n")
        policy = policy[:start] + f"  driver = lmtp\n  socket = {path}\n  batch_max = 10\n\n" + policy[policy.index("begin retry"):]
        self.server = self.sluice(configuration("", policy))
        self.to_dovecot(folder)


class SelfDetection(PeerTest):
    """Which hosts are this one: what local_interfaces says, as exim sees it."""

    CONFIG = """primary_hostname = mx.test
spool_directory = DIR/spool
log_file_path = DIR/log/%s
keep_environment =
local_interfaces = INTERFACES
extra_local_interfaces = EXTRAS
begin routers
all:
  driver = manualroute
  route_list = * HOST
  transport = out
begin transports
out:
  driver = smtp
begin retry
* * F,2h,15m
"""

    def test_table(self):
        for interfaces, extra, host, local in (("127.0.0.1", "", "127.0.0.1", True), ("127.0.0.1", "", "127.0.0.2", False),
                                               ("<; 127.0.0.1.2525 ; [::1]:25", "", "127.0.0.1", True),
                                               ("192.0.2.1", "", "127.0.0.1::2525", False), ("192.0.2.1", "", "192.0.2.1", True),
                                               ("192.0.2.1", "192.0.2.7", "192.0.2.7", True),
                                               ("192.0.2.1", "0.0.0.0", "127.0.0.1", True), ("0.0.0.0", "", "127.0.0.1::26", True),
                                               ("<; ::1", "", "127.0.0.1", False)):
            server = self.sluice(self.CONFIG, start=False, macros={"INTERFACES": interfaces, "EXTRAS": extra, "HOST": host})
            for program in (SLUICE, peer("exim") if ROOT else None):  # it tells others than root no reasons
                with self.subTest((interfaces, extra, host, program)):
                    said = server.run("-bt", "x@elsewhere.test", program=program).out if program else None
                    if program:
                        self.assertEqual(local, "is the local host" in said, said)
                        self.assertEqual(not local, "router = all" in said, said)

    def test_frozen(self):
        """Several commands one after another, each with a database of hints to write and to close."""
        server = self.sluice(self.CONFIG, start=False, macros={"INTERFACES": "127.0.0.1", "EXTRAS": "", "HOST": "127.0.0.1"})
        for _ in range(5):
            server.run("-odi", "x@elsewhere.test", stdin=b"Subject: x\n\nbody\n", check=0)
        log = server.log()
        self.assertEqual(5, len(re.findall(r"== x@elsewhere\.test R=all defer \(-1\): remote host address is the local host$", log, re.M)), log)
        self.assertEqual(5, len(re.findall(r" Frozen$", log, re.M)), log)


def message_id_of_source(message):
    return re.search(rb"^Message-Id: <(.*?)>", message, re.M | re.I).group(1)


class NoPipelining(Senders):
    """The same from those that would pipeline or send chunks, to a server that offers neither."""

    main = "pipelining_advertise_hosts = :\nchunking_advertise_hosts = :\nmessage_size_limit = 60M\n"

    test_msmtp = test_smtplib = test_opensmtpd_client = test_exim_data = test_exim_many_recipients = test_sendmail = None
    test_smtp_source = test_huge = test_swaks_as_in_the_readme = None

    def test_exim_chunking_pipelining(self):
        self.exim("", "=> alice@test ")


if __name__ == "__main__":
    unittest.main()
