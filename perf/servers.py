"""The servers that are measured: how each is set up for throughput, started, and counted.

Each is tuned as its makers document it: logging on, no DNS, no limits that the load would meet, every message
durable before its 250 (opensmtpd has no such setting that it could bear; it is marked so). In profile "accept"
messages stay in the queue, in profile "relay" they go on to a sink at once. All run in a mount namespace of their
own, where the users exist that they want and the paths that are compiled into them.
"""
import glob
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("SLUICE_BUILD", os.path.join(ROOT, "build"))
PEERS = os.environ.get("SLUICE_PEERS", os.path.join(ROOT, "build", "peers"))
DOMAIN = "bench.example"

# Users of the unpacked packages; they exist inside the namespace only.
USERS = {"Debian-exim": 64101, "postfix": 64102, "postdrop": 64103, "opensmtpd": 64104, "opensmtpq": 64105}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Cgroup:
    """Counts the CPU time of a server and of all that it starts, kernel workers of its ring included."""

    def __init__(self, name):
        self.dir = None
        with open("/proc/self/mounts") as mounts:
            points = [line.split()[1] for line in mounts if line.split()[2] == "cgroup2"]
        for point in points:
            path = os.path.join(point, f"sluice-bench-{os.getpid()}-{name}")
            try:
                os.mkdir(path)
            except OSError:
                continue
            self.dir = path
            break
        if not self.dir:
            raise SystemExit("perf/bench: needs a writable cgroup v2 hierarchy to count CPU time")

    def join(self):
        with open(os.path.join(self.dir, "cgroup.procs"), "w") as f:
            f.write("0")

    def pids(self):
        with open(os.path.join(self.dir, "cgroup.procs")) as f:
            return [int(line) for line in f]

    def cpu_us(self):
        with open(os.path.join(self.dir, "cpu.stat")) as f:
            return int(dict(line.split() for line in f)["usage_usec"])

    def memory_kib(self):
        """The proportional share of all memory of its processes."""
        total = 0
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/smaps_rollup") as f:
                    total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
            except (OSError, ProcessLookupError):
                pass  # gone meanwhile
        return total

    def written(self):
        """Bytes that its processes have caused to be written to disks, logs included, and which processes these are."""
        total, pids = 0, self.pids()
        for pid in pids:
            try:
                with open(f"/proc/{pid}/io") as f:
                    total += int(dict(line.split(": ") for line in f)["write_bytes"])
            except (OSError, ProcessLookupError):
                pass
        return total, pids

    def end(self):
        deadline = time.monotonic() + 10
        while self.pids() and time.monotonic() < deadline:
            time.sleep(0.05)
        for sig_round in range(20):
            pids = self.pids()
            if not pids:
                break
            for pid in pids:  # nothing is in here but what we started
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.1)
        os.rmdir(self.dir)


class Server:
    """One server for one cell of the table."""
    name = ""
    durable = True
    warmup = 1  # seconds of load until it runs as it will
    option = ""  # of a variant: what its configuration or command line has more, a line each

    def __init__(self, spool, profile, sink_port, extra=()):
        self.spool = os.path.join(spool, self.name)
        self.profile = profile
        self.sink_port = sink_port
        self.extra = list(extra)
        self.port = free_port()
        self.cgroup = None
        self.process = None

    @classmethod
    def available(cls):
        return True

    def prepare(self):
        """Writes configuration and spool; returns the command, and lines of shell to run in the namespace."""
        raise NotImplementedError

    def owned(self, path, user, mode=0o755, group=None):
        os.makedirs(path, exist_ok=True)
        os.chown(path, USERS.get(user, 0), USERS.get(group or user, 0))
        os.chmod(path, mode)
        return path

    def write(self, name, text):
        path = os.path.join(self.spool, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o644)
        return path

    def start(self):
        shutil.rmtree(self.spool, ignore_errors=True)
        os.makedirs(self.spool)
        command, shell = self.prepare()
        self.write("passwd", accounts("/etc/passwd", "{0}:x:{1}:{1}::/var/lib/opensmtpd/empty:/usr/sbin/nologin\n"))
        self.write("group", accounts("/etc/group", "{0}:x:{1}:\n"))
        setup = [f"mount --bind {self.spool}/passwd /etc/passwd", f"mount --bind {self.spool}/group /etc/group", *shell]
        self.cgroup = Cgroup(self.name)
        log = open(os.path.join(self.spool, "output"), "w")
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec", "\n".join(setup) + '\nexec "$@"', "sh", *command],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=self.enter, cwd=self.spool)
        log.close()
        self.wait_ready()
        return self

    def enter(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        os.setsid()
        self.cgroup.join()

    def wait_ready(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as s:
                    if s.recv(100).startswith(b"220"):
                        s.sendall(b"QUIT\r\n")
                        s.recv(100)
                        return
            except OSError:
                time.sleep(0.05)
        with open(os.path.join(self.spool, "output")) as f:
            raise RuntimeError(f"{self.name} does not answer: {f.read()[-2000:]}")

    def settle(self):
        """Waits until what it still does about the last messages is done; bounded."""
        last = self.cgroup.cpu_us()
        for _ in range(30):
            time.sleep(0.1)
            now = self.cgroup.cpu_us()
            if now - last < 2000:
                return
            last = now

    def stop(self):
        """After start(), however far that came."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        if self.cgroup:
            self.cgroup.end()
        shutil.rmtree(self.spool, ignore_errors=True)


def accounts(path, line):
    with open(path) as f:
        have = f.read()
    # A name that the machine has already gets our number here: the spool below belongs to it.
    kept = "".join(row + "\n" for row in have.splitlines() if row.split(":")[0] not in USERS)
    return kept + "".join(line.format(name, number) for name, number in USERS.items())


class Floor(Server):
    name = "floor"

    def prepare(self):
        refuse = ["--refuse", self.profile[7:]] if self.profile.startswith("reject-") else []
        return [os.path.join(BUILD, "floor"), "--port", str(self.port), "--dir", self.spool, *refuse, *self.extra], []


class Floor1(Floor):
    """On one thread."""
    name = "floor-1"
    option = "--threads\n1"


class FloorNoWrite(Floor):
    """The same without the write: what the dialogue alone costs."""
    name = "floor-unwritten"
    durable = False

    def prepare(self):
        return [os.path.join(BUILD, "floor"), "--port", str(self.port), "--no-write", *self.extra], []


EXIM_CONFIG = """
primary_hostname = {domain}
spool_directory = {spool}/spool
log_file_path = {spool}/log/%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
disable_ipv6 = true
keep_environment =
split_spool_directory = true
message_logs = false
queue_only = {queue_only}
tls_advertise_hosts =
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 0
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
smtp_connect_backlog = 1024
smtp_accept_max_nonmail_hosts =
acl_smtp_rcpt = acl_rcpt
acl_smtp_data = acl_data
qualify_domain = {domain}
deliver_drop_privilege = true
queue_run_max = 0
remote_max_parallel = 10
{extra}
begin acl
acl_rcpt:
  deny domains = refused.example
  accept
acl_data:
  deny condition = ${{if eq{{$sender_address_local_part}}{{refused}}}}
  accept

begin routers
relay:
  driver = manualroute
  route_list = * 127.0.0.1::{sink_port}
  self = send
  transport = remote

begin transports
remote:
  driver = smtp
  allow_localhost
  hosts_try_dane =

begin retry
* * F,1h,1m
"""


class Exim(Server):
    name = "exim"
    warmup = 3
    program = os.path.join(PEERS, "exim", "usr", "sbin", "exim4")
    user = "Debian-exim"

    @classmethod
    def available(cls):
        return os.access(cls.program, os.X_OK)

    def prepare(self):
        self.owned(self.spool, self.user)
        self.owned(os.path.join(self.spool, "spool"), self.user, 0o750)
        self.owned(os.path.join(self.spool, "log"), self.user, 0o750)
        conf = self.write("conf", EXIM_CONFIG.format(
            domain=DOMAIN, spool=self.spool, port=self.port, sink_port=self.sink_port,
            queue_only="true" if self.profile != "relay" else "false", extra="\n".join(self.extra)))
        return [self.program, "-C", conf, "-bdf"], []


class Sluice(Exim):
    """The same configuration, unchanged."""
    name = "sluice"
    warmup = 1
    program = os.path.join(BUILD, "sluice")


class Sluice1(Sluice):
    """On one shard."""
    name = "sluice-1"
    option = "shards = 1"


POSTFIX_MAIN = """
compatibility_level = 3.9
queue_directory = {spool}/queue
data_directory = {spool}/data
command_directory = {peer}/usr/sbin
daemon_directory = {peer}/usr/lib/postfix/sbin
shlib_directory = {peer}/usr/lib/postfix
meta_directory = {peer}/etc/postfix
maillog_file = {spool}/log/maillog
maillog_file_prefixes = {spool}/log
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH
mail_owner = postfix
setgid_group = postdrop
myhostname = {domain}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
disable_dns_lookups = yes
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtpd_recipient_restrictions = check_recipient_access inline:{{refused.example=REJECT}}, permit_mynetworks, reject
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_event_limit_exceptions = static:all
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000000
smtpd_hard_error_limit = 1000000
smtpd_end_of_data_restrictions = check_sender_access inline:{{refused@bench.example=REJECT}}
smtpd_timeout = 300s
in_flow_delay = 0
local_header_rewrite_clients =
disable_mime_input_processing = yes
default_process_limit = 2500
max_use = 100000
max_idle = 300s
relayhost = [127.0.0.1]:{sink_port}
default_destination_concurrency_limit = 50
default_destination_recipient_limit = 50
initial_destination_concurrency = 20
qmgr_message_active_limit = 100000
smtp_tls_security_level = none
smtp_host_lookup = native
{extra}
"""

POSTFIX_MASTER = """
127.0.0.1:{port} inet n - n - 2500 smtpd
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
relay unix - - n - 100 smtp
smtp unix - - n - 100 smtp
postlog unix-dgram n - n - 1 postlogd
{qmgr}
"""


class Postfix(Server):
    name = "postfix"
    warmup = 5  # a hundred sessions need as long until each has its smtpd and cleanup
    peer = os.path.join(PEERS, "postfix")

    @classmethod
    def available(cls):
        return os.access(os.path.join(cls.peer, "usr/lib/postfix/sbin/master"), os.X_OK)

    def prepare(self):
        queue = self.owned(os.path.join(self.spool, "queue"), "root")
        for name in ("incoming", "active", "deferred", "bounce", "hold", "corrupt", "defer", "flush", "trace", "saved",
                     "private"):
            self.owned(os.path.join(queue, name), "postfix", 0o700, "root")
        self.owned(os.path.join(queue, "maildrop"), "postfix", 0o1730, "postdrop")
        self.owned(os.path.join(queue, "public"), "postfix", 0o2710, "postdrop")
        self.owned(os.path.join(queue, "pid"), "root")
        self.owned(os.path.join(self.spool, "data"), "postfix", 0o700)
        self.owned(os.path.join(self.spool, "log"), "root")
        conf = self.owned(os.path.join(self.spool, "conf"), "root")
        if self.profile == "relay":
            qmgr = "qmgr unix n - n 300 1 qmgr"
        else:
            # Nobody reads it: messages stay where they are, at the least cost that there is.
            qmgr = ""
            fifo = os.path.join(queue, "public", "qmgr")
            os.mkfifo(fifo)
            os.chmod(fifo, 0o622)
        self.write("conf/main.cf", POSTFIX_MAIN.format(spool=self.spool, peer=self.peer, domain=DOMAIN,
                                                      sink_port=self.sink_port, extra="\n".join(self.extra)))
        self.write("conf/master.cf", POSTFIX_MASTER.format(port=self.port, qmgr=qmgr))
        return ([os.path.join(self.peer, "usr/lib/postfix/sbin/master"), "-c", conf, "-s"],
                [f"export LD_LIBRARY_PATH={self.peer}/usr/lib/postfix"])


class OpenSMTPD(Server):
    """Does not sync what it answers 250."""
    name = "opensmtpd"
    durable = False
    peer = os.path.join(PEERS, "opensmtpd")

    @classmethod
    def available(cls):
        return os.access(os.path.join(cls.peer, "usr/sbin/smtpd"), os.X_OK)

    def prepare(self):
        self.owned(os.path.join(self.spool, "queue"), "root", 0o711)
        conf = self.write("smtpd.conf", f"""
listen on 127.0.0.1 port {self.port}
smtp max-message-size 100M
limit session max-mails 1000000
queue ttl 1d
action "relay" relay host smtp://127.0.0.1:{self.sink_port}
match from any for any action "relay"
""".replace("limit session max-mails 1000000\n", "smtp limit max-mails 1000000\n"))
        paused = [] if self.profile == "relay" else ["-P", "mta", "-P", "mda"]
        return ([os.path.join(self.peer, "usr/sbin/smtpd"), "-d", "-f", conf, *paused], [
            "mount -t tmpfs none /usr/libexec",
            "mkdir /usr/libexec/opensmtpd",
            f"mount --bind {self.peer}/usr/libexec/opensmtpd /usr/libexec/opensmtpd",
            f"mount -t tmpfs none /var/spool && mkdir /var/spool/smtpd && chmod 711 /var/spool/smtpd",
            f"mount --bind {self.spool}/queue /var/spool/smtpd",
            "mount -t tmpfs none /run",
            "mount -t tmpfs none /var/lib && mkdir -p /var/lib/opensmtpd/empty",
        ])


class Sink:
    """Takes what is relayed, at little cost, and counts."""

    def __init__(self, directory):
        self.count_file = os.path.join(directory, "sink.count")
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "floor"), "--no-write", "--threads", "1", "--count", self.count_file],
            stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def count(self):
        with open(self.count_file, "rb") as f:
            return sum(memoryview(f.read()).cast("Q"))

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


SERVERS = {cls.name: cls for cls in (Sluice, Floor, FloorNoWrite, Sluice1, Floor1, Exim, Postfix, OpenSMTPD)}
SPECIAL = ("floor-unwritten", "sluice-1", "floor-1")  # measured only where they are asked for


class SpoolDisk:
    """A journaled ext4 in a file, the same for all: on a root file system of another kind the peers, who make a file
    for each message, would be measured by that."""

    def __init__(self, directory, size_gib):
        self.image = os.path.join(directory, "spool.img")
        self.point = os.path.join(directory, "spool")
        os.makedirs(self.point, exist_ok=True)
        subprocess.run(["umount", self.point], stderr=subprocess.DEVNULL, check=False)
        with open(self.image, "wb") as f:
            f.truncate(size_gib << 30)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image], check=True)
        subprocess.run(["mount", "-o", "loop,noatime", self.image, self.point], check=True)

    def close(self):
        for _ in range(20):
            if subprocess.run(["umount", self.point], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                break
            time.sleep(0.2)
        os.unlink(self.image)


def versions():
    found = {}
    for name in ("exim", "postfix", "opensmtpd"):
        for path in glob.glob(os.path.join(PEERS, name, "usr/share/doc", "*", "changelog.Debian.gz")):
            first = subprocess.run(["zcat", path], capture_output=True, text=True, check=False).stdout.split("\n")[0]
            match = re.match(r"(\S+) \(([^)]+)\)", first)
            if match:
                found[match[1]] = match[2]
    return found
