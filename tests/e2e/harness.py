"""harness: the real binary on a directory of its own, raw SMTP clients, and a scripted server to deliver to.

Nothing here waits for a length of time: each wait is for an event (a line in the log, a reply, a file), and has a
deadline that only a failing test reaches. Processes are ended by the pid that we were given when they were started.
"""
import atexit
import os
import pwd
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

SLUICE = os.environ.get("SLUICE", os.path.join(os.path.dirname(__file__), "../../build/sluice"))
PEERS = os.environ.get("SLUICE_PEERS", os.path.join(os.path.dirname(__file__), "../../build/peers"))
DEADLINE_S = 30  # generous: a sanitizer build on a machine that does other things as well
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error:|WARNING: ThreadSanitizer|ASSERT|assertion", re.I)

# As root the daemon becomes this user, as an installed one would.
USER = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
GROUP_LINE = "exim_group = nogroup\n" if os.getuid() == 0 else ""

MAIN = """
primary_hostname = mx.test
spool_directory = DIR/spool
log_file_path = DIR/log/%s
exim_user = USER
{group}shards = 1
local_interfaces = 127.0.0.1
smtp_accept_max = 1000
smtp_accept_queue_per_connection = 0
smtp_max_synprot_errors = 100
check_spool_space = 0
check_spool_inodes = 0
dns_ipv4_lookup = *
"""

# Local parts that exist are in maildirs of their names; all other domains are nobody's.
POLICY = """
begin acl
rcpt_acl:
  deny    local_parts = refused
          message = no thanks
  defer   local_parts = deferred
          message = later perhaps
  accept  domains = test
          endpass
          verify = recipient
  accept  domains = elsewhere.test
  deny    message = relay not permitted

begin routers
elsewhere:
  driver = manualroute
  domains = elsewhere.test
  transport = smtp
  route_list = * 127.0.0.1
  self = send
users:
  driver = accept
  domains = test
  local_parts = alice : bob : carol : postmaster
  transport = maildir

begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = DIR/mail/$local_part_data
  create_directory
  user = USER
smtp:
  driver = smtp
  port = SINKPORT
  allow_localhost
  hosts_try_fastopen = :

begin retry
* * F,2h,15m
"""


def scratch(prefix):
    """A directory that is gone when the tests are; with SLUICE_KEEP it stays to be looked at."""
    path = tempfile.mkdtemp(prefix=f"sluice-{prefix}-")
    if not os.environ.get("SLUICE_KEEP"):
        atexit.register(shutil.rmtree, path, True)
    return path


def free_port():
    """One that was free just now, for a server that cannot be told to take any."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return f.read()


def until(condition, what, deadline_s=DEADLINE_S):
    """The first true result of condition(), which looks at the world outside."""
    end = time.monotonic() + deadline_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline_s} s in vain for {what() if callable(what) else what}")
        select.select([], [], [], 0.01)


def configuration(main="", policy=POLICY, acl_rcpt=True):
    rcpt = "acl_smtp_rcpt = rcpt_acl\n" if acl_rcpt else ""
    return MAIN.replace("{group}", GROUP_LINE) + rcpt + main + policy


class Reply:
    def __init__(self, lines):
        self.lines = lines
        self.code = int(lines[0][:3]) if lines and lines[0][:3].isdigit() else 0
        self.text = "\n".join(line[4:] for line in lines)
        found = re.match(r"[245]\.\d+\.\d+", self.text)
        self.enhanced = found.group(0) if found else None

    def __repr__(self):
        return repr("\n".join(self.lines))


class Closed(Exception):
    """The server has ended the connection."""


class Client:
    """A raw SMTP client. reply() reads one reply, however many lines it has; expect() checks its code and text."""

    def __init__(self, port, banner=True, source=None, timeout_s=DEADLINE_S):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.settimeout(timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(("127.0.0.1", port))
        self.pending = b""
        self.transcript = []
        if banner:
            try:
                self.banner = self.wait(220)
            except BaseException:
                self.sock.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def send(self, data):
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogateescape")
        self.transcript.append(("C", data[:200]))
        self.sock.sendall(data)

    def line(self):
        while b"\n" not in self.pending:
            try:
                more = self.sock.recv(65536)
            except ConnectionResetError:
                more = b""
            except socket.timeout:
                raise AssertionError(f"no reply in time; so far: {self.transcript[-10:]}")
            if not more:
                raise Closed(f"after {self.transcript[-10:]}")
            self.pending += more
        line, _, self.pending = self.pending.partition(b"\n")
        line = line.rstrip(b"\r").decode("utf-8", "surrogateescape")
        self.transcript.append(("S", line))
        return line

    def reply(self):
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        return Reply(lines)

    def check(self, reply, code, pattern=None):
        if reply.code != code or (pattern and not re.search(pattern, reply.text)):
            raise AssertionError(f"expected {code} {pattern or ''}, got {reply}; before: {self.transcript[-10:]}")
        return reply

    def wait(self, code, pattern=None):
        return self.check(self.reply(), code, pattern)

    def cmd(self, line):
        """One command; "BDAT 3\\r\\nabc" has its chunk with it, and nothing behind."""
        self.send(line if line.startswith("BDAT ") and "\r\n" in line else line + "\r\n")
        return self.reply()

    def expect(self, line, code, pattern=None):
        return self.check(self.cmd(line), code, pattern)

    def closed(self):
        """Waits for the end of the connection; what came before it is an error."""
        try:
            line = self.line()
        except Closed:
            return
        raise AssertionError(f"expected the end of the connection, got {line!r}")

    def ehlo(self, name="client.test"):
        return self.expect("EHLO " + name, 250)

    def envelope(self, sender="s@client.test", rcpts=("alice@test",)):
        self.expect(f"MAIL FROM:<{sender}>", 250)
        for rcpt in rcpts:
            self.expect(f"RCPT TO:<{rcpt}>", 250)

    def data(self, body, code=250, pattern=None):
        """body as it is on the wire but for the end."""
        self.expect("DATA", 354)
        if isinstance(body, str):
            body = body.encode()
        self.send(body + b".\r\n")
        return self.wait(code, pattern)

    def message(self, body, sender="s@client.test", rcpts=("alice@test",)):
        self.envelope(sender, rcpts)
        return self.data(body)

    def quit(self):
        self.expect("QUIT", 221)
        self.closed()
        self.close()


class Sluice:
    """A daemon, or a directory and a configuration for commands without one."""

    def __init__(self, config=None, macros=None, main="", directory=None):
        self.dir = directory or scratch("e2e")
        os.chmod(self.dir, 0o755)
        self.process = None
        self.macros = {"DIR": self.dir, "USER": USER, "SINKPORT": "1"}
        self.macros.update(macros or {})
        for name in ("log", "mail"):
            path = os.path.join(self.dir, name)
            os.makedirs(path, exist_ok=True)
            if os.getuid() == 0:
                shutil.chown(path, USER)
        self.config_file = os.path.join(self.dir, "config")
        self.write_config(config if config is not None else configuration(main))
        self.stderr_file = os.path.join(self.dir, "stderr")
        self.pid_file = os.path.join(self.dir, "pid")
        self.log_at = 0
        self.ports = []
        self.supervisor = None

    def write_config(self, text):
        # Only whole words: macros of the language replace every occurrence.
        for name, value in self.macros.items():
            text = re.sub(rf"\b{name}\b", lambda _: value, text)
        with open(self.config_file, "w") as f:
            f.write(text)

    def environment(self):
        env = dict(os.environ)
        env.setdefault("ASAN_OPTIONS", "exitcode=99")
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        return env

    def start(self, *arguments, wait=True):
        if os.path.exists(self.pid_file):
            os.unlink(self.pid_file)
        with open(self.stderr_file, "ab") as err:
            self.process = subprocess.Popen(
                [SLUICE, "-C", self.config_file, "-bdf", "-oX", "0", "-oP", self.pid_file, *arguments],
                stdin=subprocess.DEVNULL, stdout=err, stderr=err, env=self.environment(), cwd=self.dir)
        if not wait:
            return self
        until(self.has_started, lambda: f"the daemon to start; stderr: {self.stderr()}")
        with Client(self.port):  # a banner: a worker is there
            pass
        return self

    def has_started(self):
        if self.process.poll() is not None:
            raise AssertionError(f"sluice ended with {self.process.returncode}: {self.stderr()}")
        try:
            with open(self.pid_file) as f:
                lines = f.read().split("\n")
        except FileNotFoundError:
            return False
        if len(lines) < 3 or lines[-1] != "":
            return False
        self.supervisor = int(lines[0])
        self.ports = [int(line.rpartition(":")[2]) for line in lines[1:-1]]
        return bool(self.ports)

    @property
    def port(self):
        return self.ports[0]

    def client(self, **options):
        return Client(self.port, **options)

    def workers(self):
        """pids of the workers: the supervisor's children that are sluice with threads; the helper has one."""
        with open(f"/proc/{self.supervisor}/task/{self.supervisor}/children") as f:
            return [int(pid) for pid in f.read().split()]

    def worker(self):
        return until(lambda: self.workers(), "a worker")[0]

    def run(self, *arguments, stdin=b"", timeout=60, check=None, env=None, program=None):
        """One command with this configuration; its CompletedProcess, with text output."""
        if isinstance(stdin, str):
            stdin = stdin.encode()
        environment = self.environment()
        environment.update(env or {})
        done = subprocess.run([program or SLUICE, "-C", self.config_file, *arguments], input=stdin, capture_output=True,
                              timeout=timeout, env=environment, cwd=self.dir)
        done.out = done.stdout.decode("utf-8", "replace")
        done.err = done.stderr.decode("utf-8", "replace")
        if SANITIZER.search(done.err):
            raise AssertionError(f"sanitizer: {done.err}")
        if check is not None and done.returncode != check:
            raise AssertionError(f"{arguments}: status {done.returncode}, expected {check}: {done.out}{done.err}")
        return done

    def log(self, name="main"):
        try:
            with open(os.path.join(self.dir, "log", name), errors="surrogateescape") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def wait_log(self, pattern, name="main", count=1, deadline_s=DEADLINE_S):
        """The log once the pattern has occurred count times in it."""
        regex = re.compile(pattern, re.M)

        def look():
            text = self.log(name)
            return text if len(regex.findall(text)) >= count else None
        return until(look, lambda: f"{pattern!r} x{count} in the {name} log:\n{self.log(name)[-3000:]}", deadline_s)

    def maildir(self, user="alice"):
        """The messages in a user's maildir, as bytes."""
        new = os.path.join(self.dir, "mail", user, "new")
        result = []
        for name in sorted(os.listdir(new)) if os.path.isdir(new) else []:
            with open(os.path.join(new, name), "rb") as f:
                result.append(f.read())
        return result

    def wait_mail(self, count=1, user="alice"):
        messages = until(lambda: (lambda m: m if len(m) >= count else None)(self.maildir(user)),
                         lambda: f"{count} messages for {user}; there are {len(self.maildir(user))}; log:\n"
                                 f"{self.log()[-3000:]}{self.log('panic')[-1000:]}")
        if len(messages) != count:
            raise AssertionError(f"{len(messages)} messages for {user}, expected {count}")
        return messages

    def queue_ids(self):
        return re.findall(r"^\s*\S+\s+\S+\s+([0-9A-Za-z]{6}-[0-9A-Za-z]{6,11}-[0-9A-Za-z]{2,4})",
                          self.run("-bp").out, re.M)

    def queue_count(self):
        return int(self.run("-bpc", check=0).out.strip())

    def stderr(self):
        with open(self.stderr_file, errors="replace") as f:
            return f.read()

    def hup(self):
        os.kill(self.supervisor or self.process.pid, signal.SIGHUP)

    def stop(self):
        """Drains; the exit status."""
        if not self.process:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE_S)
        finally:
            self.kill()

    def kill(self):
        """Whatever is left of the daemon, by pid."""
        if self.process and self.process.poll() is None:
            pids = [self.process.pid]
            for pid in pids:
                try:
                    with open(f"/proc/{pid}/task/{pid}/children") as f:
                        pids += [int(child) for child in f.read().split()]
                except OSError:
                    pass
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()
        self.process = None

    def finish(self, keep=False):
        self.kill()
        report = self.stderr() if os.path.exists(self.stderr_file) else ""
        if not keep and not os.environ.get("SLUICE_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)
        if SANITIZER.search(report):
            raise AssertionError("sanitizer or assertion:\n" + report[:8000])


class Sink:
    """An SMTP or LMTP server for deliveries. script(verb, argument, session) may give a reply, CLOSE or None for the
    usual one. Each message that was accepted is in messages: (sender, recipients, body as it was on the wire)."""

    CLOSE = object()

    def __init__(self, script=None, extensions=("PIPELINING", "8BITMIME"), lmtp=False, unix=None,
                 address=("127.0.0.1", 0), tls=None, tls_on_connect=False):
        # tls: an ssl.SSLContext for STARTTLS, which is offered then; or for TLS from the first byte.
        self.tls, self.tls_on_connect = tls, tls_on_connect
        if tls and not tls_on_connect:
            extensions = (*extensions, "STARTTLS")
        self.script = script or (lambda verb, argument, session: None)
        self.extensions = extensions
        self.lmtp = lmtp
        self.messages = []
        self.sessions = []
        self.lock = threading.Condition()
        if unix:
            self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.listener.bind(unix)
            self.port = unix
        else:
            self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(address)
            self.port = self.listener.getsockname()[1]
        self.listener.listen(64)
        self.over = False
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def hang_up(self):
        """Ends what was accepted, as a host that goes down does."""
        with self.lock:
            for session in self.sessions:
                try:
                    session.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.over = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            session = SinkSession(self, sock)
            with self.lock:
                self.sessions.append(session)
                self.lock.notify_all()
            threading.Thread(target=session.serve, daemon=True).start()

    def wait(self, count=1, deadline_s=DEADLINE_S):
        with self.lock:
            if not self.lock.wait_for(lambda: len(self.messages) >= count, deadline_s):
                raise AssertionError(f"the sink has {len(self.messages)} messages, expected {count}: "
                                     f"{[s.commands for s in self.sessions]}")
            return self.messages[:]


class SinkSession:
    def __init__(self, sink, sock):
        self.sink, self.sock = sink, sock
        self.file = sock.makefile("rb")
        self.commands = []
        self.tls_error = None  # of the handshake
        self.sender, self.rcpts, self.chunks = None, [], b""

    @property
    def secured(self):
        return isinstance(self.sock, ssl.SSLSocket)

    def secure(self):
        self.file.close()
        try:
            self.sock = self.sink.tls.wrap_socket(self.sock, server_side=True)
        except (OSError, ValueError) as e:
            self.tls_error = e
            raise
        self.resumed = self.sock.session_reused
        self.file = self.sock.makefile("rb")

    def say(self, text):
        self.sock.sendall(text.encode() + b"\r\n")

    def answer(self, verb, argument, usual):
        """The script's word, or the usual. True: it was a good one."""
        reply = self.sink.script(verb, argument, self)
        if reply is Sink.CLOSE:
            raise ConnectionError
        reply = usual if reply is None else reply
        self.say(reply)
        return reply[0] in "23"

    def serve(self):
        try:
            self.dialogue()
        except (OSError, ValueError):
            pass
        finally:
            self.file.close()
            self.sock.close()

    def store(self, body):
        if self.sink.lmtp:
            good = []
            for rcpt in self.rcpts:
                if self.answer("END", rcpt, "250 2.0.0 kept"):
                    good.append(rcpt)
        else:
            good = self.rcpts if self.answer("END", None, "250 2.0.0 kept") else []
        if good:
            with self.sink.lock:
                self.sink.messages.append((self.sender, list(good), body))
                self.sink.lock.notify_all()
        self.sender, self.rcpts, self.chunks = None, [], b""

    def dialogue(self):
        if self.sink.tls and self.sink.tls_on_connect:
            self.secure()
        if not self.answer("BANNER", None, "220 sink.test ESMTP"):
            pass
        while True:
            line = self.file.readline()
            if not line:
                return
            text = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
            self.commands.append(text)
            verb, _, argument = text.partition(" ")
            verb = verb.upper()
            if verb in ("EHLO", "LHLO"):
                lines = ["sink.test"] + [e for e in self.sink.extensions if e != "STARTTLS" or not self.secured]
                usual = "\r\n".join("250" + ("-" if i < len(lines) - 1 else " ") + l for i, l in enumerate(lines))
                self.answer(verb, argument, usual)
            elif verb == "MAIL":
                if self.answer(verb, argument, "250 2.1.0 ok"):
                    self.sender, self.rcpts = re.search(r"<(.*?)>", argument).group(1), []
            elif verb == "RCPT":
                if self.sender is None:
                    self.answer(verb, argument, "503 5.5.1 MAIL first")
                elif self.answer(verb, argument, "250 2.1.5 ok"):
                    self.rcpts.append(re.search(r"<(.*?)>", argument).group(1))
            elif verb == "DATA":
                if not self.rcpts:
                    self.answer(verb, argument, "554 5.5.1 no valid recipients")
                elif self.answer(verb, argument, "354 go on"):
                    lines = []  # joined once: a body that grows line by line is copied with each, which took seconds
                    while True:
                        line = self.file.readline()
                        if not line:
                            return
                        if line == b".\r\n":
                            break
                        lines.append(line[1:] if line[:1] == b"." else line)
                    self.store(b"".join(lines))
            elif verb == "BDAT":
                words = argument.split()
                chunk = self.file.read(int(words[0]))
                if len(chunk) < int(words[0]):
                    return
                self.chunks += chunk
                if not self.rcpts:
                    self.answer(verb, argument, "554 5.5.1 no valid recipients")
                elif len(words) > 1:
                    self.store(self.chunks)
                else:
                    self.answer(verb, argument, "250 2.0.0 chunk")
            elif verb == "RSET":
                self.sender, self.rcpts, self.chunks = None, [], b""
                self.answer(verb, argument, "250 2.0.0 reset")
            elif verb == "STARTTLS" and self.sink.tls:
                if self.answer(verb, argument, "220 2.0.0 go on"):
                    self.secure()
            elif verb == "QUIT":
                self.answer(verb, argument, "221 2.0.0 bye")
                return
            else:
                self.answer(verb, argument, "250 ok" if verb in ("HELO", "NOOP") else "500 5.5.2 what?")


class SluiceTest(unittest.TestCase):
    """Tests that share one daemon, by class; a test that wants its own takes sluice()."""

    main = ""
    config = None

    @classmethod
    def setUpClass(cls):
        cls.server = None

    @classmethod
    def tearDownClass(cls):
        if cls.server:
            server, cls.server = cls.server, None
            try:
                status = server.stop()
                if status != 0:
                    raise AssertionError(f"the daemon ended with {status}: {server.stderr()[-3000:]}")
            finally:
                server.finish()

    @classmethod
    def shared(cls):
        """The class's daemon, started when it is first wanted."""
        if not cls.server:
            cls.server = Sluice(cls.config, main=cls.main).start()
        return cls.server

    def sluice(self, config=None, start=True, arguments=(), **options):
        server = Sluice(config, **options)
        self.addCleanup(server.finish)
        return server.start(*arguments) if start else server

    def sink(self, *arguments, **options):
        sink = Sink(*arguments, **options)
        self.addCleanup(sink.close)
        return sink


def peer(name):
    """A program of the test set-up, or None."""
    unpacked = os.path.join(PEERS, "bin", name)
    return unpacked if os.access(unpacked, os.X_OK) else shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
