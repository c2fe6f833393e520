"""PIPECONNECT: clients that say EHLO and more before the greeting, beside Exim: what they are answered, and the log's L field."""
import concurrent.futures
import os
import re
import subprocess
import unittest

from harness import SLUICE, Client, Closed, SluiceTest, children, free_port, until

ORACLE = os.environ.get("SLUICE_ORACLE", "")
CONF = """
primary_hostname = mx.test
spool_directory = DIR/WHOSE
log_file_path = DIR/WHOSE-%slog
exim_user = USER
exim_group = nogroup
keep_environment =
local_interfaces = 127.0.0.1
queue_only
smtp_accept_max = 0
check_spool_space = 0
check_spool_inodes = 0
host_lookup =
tls_advertise_hosts =
rfc1413_hosts =
MORE
log_selector = +all -pid -arguments -millisec
pipelining_connect_advertise_hosts = !127.0.0.4 : *
pipelining_advertise_hosts = !127.0.0.5 : *
acl_smtp_connect = connect
acl_smtp_helo = helo
acl_smtp_rcpt = accept
begin acl
connect:
  deny hosts = 127.0.0.2
       message = 550 no
  drop hosts = 127.0.0.3
       message = 550 no
  warn hosts = 127.0.0.7
       control = no_enforce_sync
  accept delay = 1s
helo:
  warn hosts = 127.0.0.6
       control = no_pipelining
  deny hosts = 127.0.0.8
  accept
"""
E, H = "EHLO x\r\n", "HELO x\r\n"
M = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
STEPS = ["MAIL FROM:<a@b>\r\n", 1, "RCPT TO:<c@d>\r\n", 1, "DATA\r\n", 1]
T = "Subject: x\r\n\r\nx\r\n.\r\n"
BYE = ["QUIT\r\n", 1]
# The client's address, and what it sends, or the number of replies that it waits for.
SESSIONS = {
    "all at once": (1, [E + M, 5, T, 1, *BYE]),
    "EHLO": (1, [E, 2, M, 3, T, 1, *BYE]),
    "EHLO, then step by step": (1, [E, 2, *STEPS, T, 1, *BYE]),
    "it waits": (1, [1, E, 1, *STEPS, T, 1, *BYE]),
    "it waits, and pipelines": (1, [1, E, 1, M, 3, T, 1, *BYE]),
    "it waits for the greeting": (1, [1, E + M, 4, T, 1, *BYE]),
    "HELO with MAIL": (1, [1, H + M, 3]),
    "HELO": (1, [H, 2, *STEPS, T, 1, *BYE]),
    "HELO and all": (1, [H + M, 4]),
    "NOOP": (1, ["NOOP\r\n", 2, E, 1, *BYE]),
    "MAIL": (1, [M, 4, *BYE]),
    "junk": (1, ["GET / HTTP/1.1\r\nHost: x\r\n", 3, *BYE]),
    "QUIT": (1, ["QUIT\r\n", 2]),
    "EHLO, NOOP, QUIT": (1, [E + "NOOP\r\nQUIT\r\n", 4]),
    "EHLO, RSET, MAIL": (1, [E + "RSET\r\nMAIL FROM:<a@b>\r\n", 4, *BYE]),
    "EHLO, AUTH, MAIL": (1, [E + "AUTH PLAIN AGEAYQ==\r\nMAIL FROM:<a@b>\r\n", 4, *BYE]),
    "EHLO twice": (1, [E + E + M, 6, T, 1, *BYE]),
    "a second EHLO with all": (1, [1, E, 1, E + M, 4, T, 1, *BYE]),
    "HELO, EHLO with all": (1, [H, 2, E + M, 4, T, 1, *BYE]),
    "RSET, EHLO with MAIL": (1, [E, 2, "MAIL FROM:<a@b>\r\n", 1, "RSET\r\n", 1, E + "MAIL FROM:<a@b>\r\n", 2, *BYE]),
    "RSET, NOOP with MAIL": (1, [E, 2, "MAIL FROM:<a@b>\r\n", 1, "RSET\r\n", 1, "NOOP\r\nMAIL FROM:<a@b>\r\n", 2, *BYE]),
    "EHLO with MAIL behind a message": (1, [E, 2, M, 3, T, 1, E + M, 1]),
    "HELO with MAIL behind a message": (1, [E, 2, M, 3, T, 1, H + M, 1]),
    "two messages": (1, [E + M, 5, T, 1, M, 3, T, 1, *BYE]),
    "EHLO that is none": (1, ["EHLO (x\r\n" + M, 5]),
    "not offered, all at once": (4, [E + M, 1]),
    "not offered, it waits for the greeting": (4, [1, E + M, 1]),
    "not offered": (4, [1, E, 1, M, 3, T, 1, *BYE]),
    "no PIPELINING, all at once": (5, [E + M, 4]),
    "no PIPELINING": (5, [1, E, 1, M, 2]),
    "control = no_pipelining, all at once": (6, [E + M, 4]),
    "control = no_pipelining": (6, [E, 2, M, 2]),
    "control = no_enforce_sync": (7, [E + M, 5, T, 1, *BYE]),
    "denied": (2, [E, 1]),
    "dropped": (3, [E, 1]),
    "EHLO denied": (8, [E + M, 5, "FOO\r\nNOOP\r\n", 1]),
    "EHLO denied, NOOP": (8, [E, 2, "NOOP\r\nNOOP\r\n", 2, *BYE]),
    "DATA, then out of step": (8, ["DATA\r\n", 2, "FOO\r\nNOOP\r\n", 1]),
    "RCPT, then out of step": (8, ["RCPT TO:<a@b>\r\n", 2, "FOO\r\nNOOP\r\n", 2, *BYE]),
}


def session(port, host, steps):
    """The client's port, and its replies: codes, and whether PIPECONNECT was offered."""
    said = []
    with Client(port, banner=False, source=f"127.0.0.{host}") as c:
        mine = c.sock.getsockname()[1]
        try:
            for step in steps:
                if isinstance(step, str):
                    c.send(step)
                    continue
                for _ in range(step):
                    reply = c.reply()
                    said.append(f"{reply.code}{' PIPECONNECT' * any('PIPECONNECT' in line for line in reply.lines)}")
        except (Closed, OSError):
            said.append("closed")
    return mine, said


class Beside(SluiceTest):
    def told(self, whose, program):
        port = free_port()
        box = self.sluice(CONF, macros={"WHOSE": whose, "MORE": "shards = 1" if whose == "ours" else ""}, start=False)
        os.chmod(box.dir, 0o777)
        log = os.path.join(box.dir, f"{whose}-mainlog")

        def text():
            if not os.path.exists(log):
                return ""
            with open(log, errors="surrogateescape") as f:
                return f.read()
        with open(os.path.join(box.dir, "stderr"), "wb") as err:
            daemon = subprocess.Popen([program, "-C", box.config_file, "-bdf", "-oX", f"127.0.0.1.{port}", "-oP", os.path.join(box.dir, "pid")],
                                      stdin=subprocess.DEVNULL, stdout=err, stderr=err, cwd=box.dir,
                                      env={"PATH": "/bin:/usr/bin", "ASAN_OPTIONS": "exitcode=99"})
        try:
            until(lambda: "started" in text(), "the daemon")
            with concurrent.futures.ThreadPoolExecutor(len(SESSIONS)) as pool:
                ends = {name: pool.submit(session, port, *what) for name, what in SESSIONS.items()}
                ends = {name: end.result() for name, end in ends.items()}
            # Exim's children write the ends of their sessions when they come to it.
            until(lambda: whose == "ours" or not children(daemon.pid), "the sessions' ends")
        finally:
            daemon.terminate()
            daemon.wait(30)
        fields = dict(re.findall(r"\]:(\d+) I=.* P=\S+ (?:(L\S*) )?S=", text()))
        wrong = re.findall(r"(synchronization error \(.*?\)).*? \S*\]:(\d+) I=", text())
        return {name: (said, fields.get(str(mine)), {why for why, port in wrong if port == str(mine)}) for name, (mine, said) in ends.items()}

    @unittest.skipUnless(os.getuid() == 0 and os.access(ORACLE, os.X_OK), "needs root and Exim (SLUICE_ORACLE)")
    def test_sessions(self):
        theirs, ours = self.told("theirs", ORACLE), self.told("ours", SLUICE)
        self.assertEqual(theirs["all at once"], (["220", "250 PIPECONNECT", "250", "250", "354", "250", "221"], "L*", set()))
        # Exim does not look where it need not, and so did not see what was pipelined.
        self.assertEqual((theirs["control = no_enforce_sync"][1], ours["control = no_enforce_sync"][1]), ("L*-", "L*"))
        for name in SESSIONS.keys() - {"control = no_enforce_sync"}:
            with self.subTest(name):
                self.assertEqual(ours[name], theirs[name])


if __name__ == "__main__":
    unittest.main()
