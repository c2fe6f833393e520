"""Transports beside the real Exim: one message to a hundred transports, each with other options, by both programs. What
lies on the disk afterwards (names, modes, bytes), what the commands saw, and what the log says of each address is the
same, or stands in DIFFERENT with the reason."""
import os
import pwd
import re
import select
import shutil
import stat
import subprocess
import tempfile
import threading
import unittest

from harness import SLUICE, DEADLINE_S, SANITIZER

USER = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name


def exim():
    for path in (os.environ.get("SLUICE_ORACLE"), os.path.join(os.environ.get("SLUICE_PEERS", "/nonexistent"), "bin/exim")):
        if path and os.access(path, os.X_OK):
            return path
    return None


MAIN = """
primary_hostname = mx.test
qualify_domain = mx.test
spool_directory = DIR/spool
log_file_path = DIR/log/%s
log_selector = +delivery_size
received_header_text = Received: by mx.test
add_environment = PATH=/bin:/usr/bin
keep_environment =
disable_ipv6
check_spool_space = 0
check_spool_inodes = 0
EXTRA
begin routers
others:
  driver = redirect
  domains = ! mx.test
  data = :blackhole:
"""
ROUTER = """
r_NAME:
  driver = accept
  local_parts = NAME
  transport = NAME
  transport_home_directory = DIR/home
OPTIONS"""
MESSAGE = """From: s@client.test
To: many@mx.test
Subject: words and =?utf-8?q?w=C3=B6rter?=
Date: Sat, 21 Nov 2026 10:00:00 +0000
Message-Id: <fixed@client.test>
X-Remove: this
X-Long: one
\ttwo
\tthree

first line
From the start
>From another
.
..dots
 no end
last"""

# name: the transport's options. FILE and TREE stand for a place of its own.
FILES = {
    "plainfile": "file = FILE",
    "nomatch": "file = FILE\n message_prefix = \n message_suffix = END\\n",
    "checkstring": "file = FILE\n check_string = .\n escape_string = XX",
    "crlf": "file = FILE\n use_crlf",
    "bsmtp": "file = FILE\n use_bsmtp",
    "bsmtpcrlf": "file = FILE\n use_bsmtp\n use_crlf\n message_prefix = HELO x\\n",
    "bodyonly": "file = FILE\n body_only",
    "headersonly": "file = FILE\n headers_only",
    "adds": "file = FILE\n return_path_add\n envelope_to_add\n headers_add = X-A: $local_part\n headers_remove = x-remove : x-long",
    "rpath": "file = FILE\n return_path = changed@client.test\n return_path_add\n message_prefix =",
    "mode640": "file = FILE\n mode = 0640",
    "modewide": "file = FILE\n mode = 0664",
    "existing": "file = FILE\n mode = 0600",
    "existingwide": "file = FILE\n mode = 0600\n mode_fail_narrower = false",
    "narrower": "file = FILE\n mode = 0660",
    "narrowerok": "file = FILE\n mode = 0660\n no_mode_fail_narrower",
    "mustexist": "file = FILE\n file_must_exist",
    "nodir": "file = DIR/out/none/nodir\n no_create_directory",
    "deepdir": "file = TREE/a/b/c\n directory_mode = 0750",
    "outside": "file = FILE\n create_file = inhome",
    "inhome": "file = DIR/home/inhome\n create_file = inhome",
    "below": "file = DIR/home/sub/below\n create_file = belowhome",
    "belowabs": "file = TREE/below\n create_file = DIR/out",
    "symlink": "file = FILE",
    "symlinkok": "file = FILE\n allow_symlink",
    "notafile": "file = FILE",
    "fifo": "file = FILE",
    "fifonoreader": "file = FILE\n allow_fifo",
    "manylinks": "file = FILE",
    "wrongowner": "file = FILE",
    "wrongownerok": "file = FILE\n no_check_owner\n mode_fail_narrower = false",
    "wronggroup": "file = FILE\n check_group",
    "locked": "file = FILE\n lock_retries = 1\n lock_interval = 0s",
    "unlocked": "file = FILE\n no_use_lockfile",
    "flock": "file = FILE\n use_flock_lock\n lock_flock_timeout = 1s",
    "fcntltime": "file = FILE\n lock_fcntl_timeout = 1s",
    "relative": "file = relative/name",
    "empty": "file = ${if eq{a}{b}{x}}",
    "nofile": "",
    "failing": "file = ${if eq{a}{b}{x}fail}",
    "tainted": "file = DIR/out/$local_part",
    "devnull": "file = /dev/null",
    "toolarge": "file = FILE\n message_size_limit = 20",
    "quotaok": "file = FILE\n quota = 100K",
    "quotafull": "file = FILE\n quota = 100",
    "quotabad": "file = FILE\n quota = many",
    "quotaexclusive": "file = FILE\n quota = 30\n quota_is_inclusive = false",
    "quotanocheck": "file = FILE\n quota = 10/no_check",
    "quotasize": "file = FILE\n quota = 1K\n mailbox_size = 2000",
    "maildir": "directory = TREE\n maildir_format",
    "maildirtag": "directory = TREE\n maildir_format\n maildir_tag = ,S=$message_size",
    "maildircolon": "directory = TREE\n maildir_format\n maildir_tag = :2,S",
    "maildirmodes": "directory = TREE\n maildir_format\n mode = 0644\n directory_mode = 0755",
    "maildirfolder": "directory = TREE/.sub\n maildir_format\n maildirfolder_create_regex = /\\.[^/]+$",
    "maildirprefix": "directory = TREE\n maildir_format\n message_prefix = PRE\\n",
    "maildirsize": "directory = TREE\n maildir_format\n maildir_use_size_file\n quota = 100K\n quota_filecount = 9",
    "maildirsizenone": "directory = TREE\n maildir_format\n maildir_use_size_file",
    "maildirsizetag": "directory = TREE\n maildir_format\n maildir_use_size_file\n quota = 3000\n quota_size_regex = S=(\\d+)",
    "maildirfull": "directory = TREE\n maildir_format\n maildir_use_size_file\n quota = 3000\n quota_size_regex = S=(\\d+)",
    "maildirregex": "directory = TREE\n maildir_format\n maildir_use_size_file\n quota = 2000\n"
                    " maildir_quota_directory_regex = ^(?:cur|new|\\.(?!Trash).*)$",
    "dircount": "directory = TREE\n maildir_format\n quota = 1M\n quota_filecount = 2",
    "dirquota": "directory = TREE\n quota = 2000\n quota_size_regex = ,S=(\\d+)",
    "mailstore": "directory = TREE\n mailstore_format\n mailstore_prefix = before\n mailstore_suffix = after",
    "plaindir": "directory = TREE\n directory_file = d-$local_part",
    "badname": "directory = TREE\n directory_file = a/b",
    "homeset": "home_directory = DIR/home2\n file = $home/homeset",
    "shadowed": "file = FILE\n shadow_transport = shadow",
    "shadowno": "file = FILE\n shadow_transport = shadow\n shadow_condition = ${if eq{a}{b}}",
    "shadowbad": "file = FILE\n shadow_transport = badshadow",
    "filtered": "file = FILE\n transport_filter = /bin/sed s/line/LINE/",
    "filteredcrlf": "file = FILE\n use_crlf\n transport_filter = /bin/sed s/line/LINE/",
    "filterargs": "file = FILE\n transport_filter = /bin/echo $local_part 'a b' $pipe_addresses",
    "filterfails": "file = FILE\n transport_filter = /bin/sh -c \"cat; exit 3\"",
    "filternone": "file = FILE\n transport_filter = /no/such/filter",
    "filterrelative": "file = FILE\n transport_filter = sed",
    "filtertime": "file = FILE\n transport_filter = /bin/sh -c \"cat; sleep 20\"\n transport_filter_timeout = 1s",
}
PIPES = {
    "cat": "command = /bin/sh -c \"cat > FILE\"",
    "bare": "command = /bin/sh -c \"cat > FILE\"\n message_prefix =\n message_suffix =",
    "pcheck": "command = /bin/sh -c \"cat > FILE\"\n check_string = \"From \"\n escape_string = \">From \"",
    "pbsmtp": "command = /bin/sh -c \"cat > FILE\"\n use_bsmtp",
    "pcrlf": "command = /bin/sh -c \"cat > FILE\"\n use_crlf",
    "env": "command = /bin/sh -c \"cat > /dev/null; env | grep -v ^_= | grep -v ^SHLVL= | sort > FILE; pwd >> FILE; umask >> FILE; id -u >> FILE\"\n"
           " environment = ONE=1:TWO=$local_part",
    "envcwd": "command = /bin/sh -c \"cat > /dev/null; pwd > FILE; umask >> FILE\"\n current_directory = DIR/home2\n umask = 077",
    "envhome": "command = /bin/sh -c \"cat > /dev/null; pwd > FILE; echo \\$HOME >> FILE\"\n home_directory = DIR/home2",
    "args": "command = /bin/sh DIR/args.sh FILE $local_part 'a b' \"c d\" $pipe_addresses plain",
    "shell": "command = cat > FILE; echo $local_part >> FILE\n use_shell",
    "exit1": "command = /bin/sh -c \"exit 1\"",
    "exit75": "command = /bin/sh -c \"exit 75\"",
    "exit73": "command = /bin/sh -c \"exit 73\"",
    "exit65": "command = /bin/sh -c \"exit 65\"\n temp_errors = 65:66",
    "exitstar": "command = /bin/sh -c \"exit 9\"\n temp_errors = *",
    "exitignored": "command = /bin/sh -c \"exit 9\"\n ignore_status",
    "exit127": "command = /bin/sh -c \"exit 127\"",
    "exit126": "command = /bin/sh -c \"exit 126\"",
    "killed": "command = /bin/sh -c \"kill -9 \\$\\$\"",
    "killedignored": "command = /bin/sh -c \"kill -9 \\$\\$\"\n ignore_status",
    "nosuch": "command = /no/such/command x",
    "noinpath": "command = nosuchcommandatall",
    "inpath": "command = true",
    "restricted": "command = /bin/true\n restrict_to_path",
    "restrictedok": "command = true\n restrict_to_path",
    "allowed": "command = /bin/true\n allow_commands = /bin/true : /bin/false",
    "notallowed": "command = /bin/true\n allow_commands = /bin/false",
    "allowedpath": "command = true\n allow_commands = /bin/false\n restrict_to_path",
    "slow": "command = /bin/sh -c \"sleep 30\"\n timeout = 1s",
    "slowdefer": "command = /bin/sh -c \"sleep 30\"\n timeout = 1s\n timeout_defer",
    "output": "command = /bin/sh -c \"echo some; echo words\"",
    "outputlogged": "command = /bin/sh -c \"echo some; echo words\"\n log_output",
    "outputfails": "command = /bin/sh -c \"echo some; echo words; exit 1\"\n log_fail_output\n return_fail_output",
    "outputreturned": "command = /bin/sh -c \"echo some; echo words\"\n return_output",
    "outputdefers": "command = /bin/sh -c \"echo some; echo words; exit 75\"\n log_defer_output",
    "outputlarge": "command = /bin/sh -c \"yes\"\n max_output = 1K",
    "outputlargeok": "command = /bin/sh -c \"yes | head -c 30000\"\n max_output = 1K\n ignore_status",
    "nocommand": "",
    "taintedarg": "command = /bin/echo $local_part",
    "taintedcommand": "command = /bin/$local_part",
    "quotes": "command = /bin/sh -c \"unclosed",
    "deaf": "command = /bin/true",
    "pathset": "command = /bin/sh -c \"echo \\$PATH > FILE\"\n path = /usr/bin:/bin:/opt",
    "pfilter": "command = /bin/sh -c \"cat > FILE\"\n transport_filter = /bin/sed s/line/LINE/",
    "pfiltertime": "command = /bin/sh -c \"cat > FILE\"\n transport_filter = /bin/sh -c \"cat; sleep 20\"\n transport_filter_timeout = 1s",
}

# What is not the same: what ours says instead, and why.
DIFFERENT = {
    "bsmtpcrlf": "S=400",  # the bytes of the file; Exim leaves the prefix out here
    "fifonoreader": r"defer \(6\): .* while opening named pipe .*, which nobody reads",  # in other words
    "nodir": r"defer \(2\).*create_directory is not set",  # in other words
    "below": "=> below",  # Exim defers without a word
    "belowabs": "=> belowabs",
    "devnull": "=> devnull <devnull@mx.test> R=r_devnull T=devnull$",  # nothing is written, so no size
    # Mistakes of the configuration wait for the administrator, here; Exim bounces the mail.
    "filterargs": r"defer \(0\): Tainted arg 1 for",
    "args": r"defer \(0\): Tainted arg 3 for",
    "taintedarg": r"defer \(0\): Tainted arg 1 for",
    "taintedcommand": r"defer \(0\): Tainted arg 0 for",
    "quotes": r"defer \(0\): missing quote",
    "shell": "Tainted 'cat",  # Exim gives a stranger's words to the shell
    "filternone": r"defer \(-24\): transport filter process failed \(127\): unable to execute command",
    "filterrelative": r"defer \(-24\): transport_filter .sed. is not an absolute path",
    "outputlarge": "terminated by signal 9",  # the command is quoted in another way
}
DIFFERENT_PATHS = {
    "home/sub", "home/sub/below", "out/belowabs.d", "out/belowabs.d/below", "out/shell",
    # Exim leaves empty files and directories behind when it finds the mailbox full, or its filter fails.
    "out/dircount.d/tmp", "out/maildirfull.d/cur", "out/maildirfull.d/tmp", "out/quotafull", "out/quotasize", "out/filterfails",
    "out/filternone", "out/filterrelative", "out/filtertime", "out/pfiltertime",
}


class Side:
    """One of the two programs in a directory of its own."""

    def __init__(self, program, name):
        self.program = program
        self.dir = tempfile.mkdtemp(prefix=f"sluice-{name}-")
        os.chmod(self.dir, 0o755)
        for sub in ("log", "out", "home", "home2", "spool"):
            self.make(sub, directory=True)
        self.make("args.sh", "f=$1; shift; cat > /dev/null; for a; do echo \"<$a>\"; done > $f\n")

    def path(self, name):
        return os.path.join(self.dir, name)

    def make(self, name, text="", mode=None, owner=USER, directory=False):
        path = self.path(name)
        if directory:
            os.makedirs(path, exist_ok=True)
        else:
            with open(path, "w") as f:
                f.write(text)
        if os.getuid() == 0 and owner:
            shutil.chown(path, owner, "nogroup" if owner == "nobody" else None)
        if mode is not None:
            os.chmod(path, mode)

    def configure(self, routers, transports, main=""):
        who = f"exim_path = {self.program}\nexim_user = {USER}\nexim_group = nogroup" if os.getuid() == 0 else ""
        text = MAIN.replace("EXTRA", who + "\n" + main) + routers + "\nbegin transports\n" + transports + \
            "\nbegin retry\n* * F,2h,15m\n"
        with open(self.path("conf"), "w") as f:
            f.write(text.replace("DIR", self.dir))

    def send(self, recipients, message=MESSAGE, sender="s@client.test"):
        """Queued, and delivered by a command of its own: as root, which keeps its rights with -C."""
        done = self.run("-odq", "-oi", "-f", sender, *[f"{r}@mx.test" for r in recipients], text=message)
        ids = re.findall(r"(\w{6}-\w{11}-\w{4}) <=", self.log())
        return self.run("-M", ids[-1]) if ids else done

    def run(self, *args, text=""):
        done = subprocess.run([self.program, "-C", self.path("conf"), *args], input=text.encode(), capture_output=True,
                              timeout=2 * DEADLINE_S, cwd="/")
        if SANITIZER.search(done.stderr.decode("utf-8", "replace")):
            raise AssertionError(done.stderr.decode())
        return done

    def log(self):
        with open(self.path("log/main"), errors="replace") as f:
            return f.read()

    def normal(self, text):
        """Without what differs between any two runs."""
        text = text.replace(self.dir, "DIR")
        text = re.sub(r"\b\w{6}-\w{11}-\w{4}\b", "ID", text)
        text = re.sub(r"\w{3}, \d\d? \w{3} 20\d\d \d\d:\d\d:\d\d \+0000", "DATE", text)
        text = re.sub(r"(quota exceeded while writing to) \S+\)", r"\1 PLACE)", text)
        text = re.sub(r"(error|rename|renaming|writing to|post) \S*(temp\.|UNIQUE|\.lock\.)\S*", r"\1 PLACE", text)
        text = re.sub(r"(T=(?:inpath|allowed\w*|output\w*|restrictedok|deaf|exit\w*)) S=\d+", r"\1", text)  # what was read of it
        text = re.sub(r"^(x*)From (\S+) \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}$", r"\1From \2 DATE", text, flags=re.M)
        text = re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?:\[\d+\] )?(?:ID )?", "", text, flags=re.M)
        return text

    def verdicts(self):
        """What the log says of each local part."""
        result = {}
        for line in self.normal(self.log()).splitlines():
            found = re.match(r"(?:=>|->|\*\*|==) ([^\s@]+)", line)
            if found:
                result[found.group(1)] = line
        return result

    def tree(self):
        """Everything below out and home: mode, kind, text; the parts of names that are times, hosts and inodes are gone."""
        result = {}
        for top in ("out", "home", "home2"):
            for directory, subs, names in os.walk(self.path(top)):
                for name in subs + names:
                    path = os.path.join(directory, name)
                    st = os.lstat(path)
                    shown = os.path.relpath(path, self.dir)
                    shown = re.sub(r"\d+\.[HM]\d+P\d+(?:Q\d+|V\w+I\w+)?\.mx\.test", "UNIQUE", shown)
                    shown = re.sub(r"\b\w{6}-\w{11}-\w{4}-\w+(\.\w+)$", r"UNIQUE\1", shown)
                    text = ""
                    if stat.S_ISREG(st.st_mode):
                        with open(path, "rb") as f:
                            text = self.normal(f.read().decode("latin-1"))
                    result[shown] = (oct(st.st_mode), text)
        return result

    def done(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def router(name, options=""):
    return ROUTER.replace("NAME", name).replace("OPTIONS", options)


def transport(name, driver, options):
    lines = "".join(f" {line.strip()}\n" for line in options.split("\n") if line.strip())
    text = f"{name}:\n driver = {driver}\n user = {USER}\n{lines}"
    return text.replace("FILE", f"DIR/out/{name}").replace("TREE", f"DIR/out/{name}.d")


def prepare(side):
    """Files that are there before."""
    side.make("out/existing", "old\n", 0o644)
    side.make("out/existingwide", "old\n", 0o666)
    side.make("out/narrower", "old\n", 0o600)
    side.make("out/narrowerok", "old\n", 0o600)
    side.make("out/target", "old\n", 0o600)
    os.symlink("target", side.path("out/symlink"))
    os.symlink("target", side.path("out/symlinkok"))
    if os.getuid() == 0:
        for name in ("symlink", "symlinkok"):
            os.lchown(side.path("out/" + name), pwd.getpwnam(USER).pw_uid, -1)
    side.make("out/notafile", directory=True)
    for name in ("fifo", "fifonoreader"):
        os.mkfifo(side.path("out/" + name), 0o600)
        if os.getuid() == 0:
            shutil.chown(side.path("out/" + name), USER)
    side.make("out/manylinks", "old\n", 0o600)
    os.link(side.path("out/manylinks"), side.path("out/manylinks2"))
    side.make("out/wrongowner", "old\n", 0o666, owner="daemon")
    side.make("out/wrongownerok", "old\n", 0o666, owner="daemon")
    side.make("out/wronggroup", "old\n", 0o600)
    if os.getuid() == 0:
        shutil.chown(side.path("out/wronggroup"), group="daemon")
    side.make("out/locked", "old\n", 0o600)
    side.make("out/locked.lock", "", 0o600)
    side.make("out/quotaexclusive", "x" * 20, 0o600)
    for name, files in (("dircount", ("new/1", "cur/2")), ("maildirsizetag", ("new/1.x,S=2500", )),
                        ("maildirfull", ("new/1.x,S=2900", )), ("maildirregex", ("new/1", ".Trash/cur/2", ".Keep/cur/3")),
                        ("dirquota", ("one,S=1950", "two"))):
        for file in files:
            path = f"out/{name}.d/{file}"
            while "/" in path[4:]:
                path = os.path.dirname(path)
                side.make(path, directory=True)
            side.make(f"out/{name}.d/{file}", "y" * (1500 if "Trash" in file else 100), 0o600)


SHADOWS = transport("shadow", "appendfile", "file = FILE-$local_part_data\n") + transport("badshadow", "appendfile", "file = relative")


@unittest.skipUnless(exim(), "no Exim here (SLUICE_ORACLE, or ./dev deps test)")
class BesideExim(unittest.TestCase):
    maxDiff = None

    def both(self, driver, cases, extra="", main=""):
        sides = [Side(exim(), "exim"), Side(SLUICE, "sluice")]
        for side in sides:
            self.addCleanup(side.done)
            prepare(side)
            side.configure("".join(router(n) for n in cases), "".join(transport(n, driver, o) for n, o in cases.items()) + extra,
                           main)
            done = side.send(cases)
            self.assertIn(done.returncode, (0, 1), done.stderr.decode())
        return sides

    def compare(self, sides, cases):
        oracle, ours = (side.verdicts() for side in sides)
        trees = [side.tree() for side in sides]
        wrong = []
        for name in cases:
            want, got = oracle.get(name, "(nothing)"), ours.get(name, "(nothing)")
            if want != got and name not in DIFFERENT:
                wrong.append(f"{name}:\n  exim   {want}\n  sluice {got}")
            if name in DIFFERENT and not re.search(DIFFERENT[name], got):
                wrong.append(f"{name} no longer differs as it says:\n  exim   {want}\n  sluice {got}")
        for path in sorted(set(trees[0]) | set(trees[1])):
            want, got = trees[0].get(path, "(absent)"), trees[1].get(path, "(absent)")
            if want != got and path not in DIFFERENT_PATHS:
                wrong.append(f"{path}:\n  exim   {want}\n  sluice {got}")
        self.assertFalse(wrong, "\n" + "\n".join(wrong))

    def test_files(self):
        self.compare(self.both("appendfile", FILES, SHADOWS), FILES)

    def test_fifo(self):
        """A named pipe with a reader, who is slower than it holds."""
        told = []
        for program, name in ((exim(), "exim"), (SLUICE, "sluice")):
            side = Side(program, name)
            self.addCleanup(side.done)
            prepare(side)
            side.configure(router("fifonoreader"), transport("fifonoreader", "appendfile", FILES["fifonoreader"]))
            fifo = os.open(side.path("out/fifonoreader"), os.O_RDONLY | os.O_NONBLOCK)
            got = []

            def read(fd=fifo, got=got):
                with os.fdopen(fd, "rb", 0) as f:
                    wait = select.poll()
                    wait.register(f, select.POLLIN)
                    while wait.poll(1000 * DEADLINE_S):
                        got.append(f.read(4096))
                        if not got[-1]:
                            break
            reader = threading.Thread(target=read)
            reader.start()
            side.send(["fifonoreader"], MESSAGE + "\n" + 4000 * (70 * "x" + "\n"))
            reader.join(DEADLINE_S)
            told.append((side.normal(b"".join(got).decode()), side.verdicts()))
        self.assertEqual(told[0], told[1])
        self.assertGreater(len(told[1][0]), 280000)

    def test_pipes(self):
        sides = self.both("pipe", PIPES)
        self.compare(sides, PIPES)
        said = [[l for l in side.normal(side.log()).splitlines() if "transport output" in l] for side in sides]
        self.assertEqual(said[0], said[1])


if __name__ == "__main__":
    unittest.main()
