"""WELLKNOWN: a file about this host for those who ask, beside Exim."""
import os
import re
import subprocess
import unittest

from harness import SLUICE, Client, Closed, SluiceTest, children, configuration, free_port, until

ORACLE = os.environ.get("SLUICE_ORACLE", "")
MAIN = """
keep_environment =
host_lookup =
tls_advertise_hosts =
smtp_accept_max_nonmail = 100
pipelining_connect_advertise_hosts =
pipelining_advertise_hosts = 127.0.0.1
wellknown_advertise_hosts = 127.0.0.1 : 127.0.0.4
acl_smtp_wellknown = wellknown
"""
ACL = """begin acl
wellknown:
  deny condition = ${if eq{$smtp_command_argument}{deny}}
       message = no\\nnever
  defer condition = ${if eq{$smtp_command_argument}{defer}}
       message = not now
  drop condition = ${if eq{$smtp_command_argument}{drop}}
  accept condition = ${if eq{$smtp_command_argument}{nothing}}
  accept condition = ${if eq{$smtp_command_argument}{message}}
         message = a message
         control = wellknown/DIR/wk/a
  accept condition = ${if eq{$smtp_command_argument}{twice}}
         control = wellknown/DIR/wk/long
         control = wellknown/DIR/wk/a
  warn   condition = ${if eq{$smtp_command_argument}{warn}}
         control = wellknown/DIR/wk/a
  accept condition = ${if eq{$smtp_command_argument}{warn}}
  accept condition = ${if eq{$smtp_command_argument}{emptyname}}
         control = wellknown/
  accept condition = ${if eq{$smtp_command_argument}{relative}}
         control = wellknown/a
  accept condition = ${if eq{$smtp_command_argument}{directory}}
         control = wellknown/DIR/wk
  accept condition = ${if eq{$smtp_command_argument}{missing}}
         control = wellknown/DIR/wk/missing
  deny   condition = ${if match{$smtp_command_argument}{^(emptyname|relative|directory|missing)\$}}
  warn   logwrite = <$smtp_command_argument> <$smtp_command>
  accept control = wellknown/${lookup {${xtextd:$smtp_command_argument}} dsearch,key=path,filter=file,ret=full {DIR/wk}}
"""
FILES = {"a": b"hello\n", "bytes": bytes(range(256)), "empty": b"", "long": 1000 * b"x" + b"\n+=y z\n" + 10 * b"abc\n", "full": 75 * b"x",
         "more": 150 * b"x" + b"\n\n", "a b": b"spaced", "big": b"Contact: mailto:a@b.test\n" * 100}
KEYS = [*(name.replace(" ", "+20") for name in FILES), "none", "deny", "defer", "nothing", "message", "twice", "warn", "emptyname", "relative",
        "directory", "missing"]


def session(port, host, lines):
    said = []
    with Client(port, source=f"127.0.0.{host}") as c:
        try:
            for line in lines:
                c.send(line + "\r\n")
                for _ in line.split("\r\n"):
                    reply = c.reply()
                    said.append([line for line in reply.lines if "SIZE 52" not in line] if "WELLKNOWN" in line.upper() and reply.code == 250 else
                                [str(reply.code), "WELLKNOWN" in reply.text])
        except Closed:
            said.append("closed")
    return said


SESSIONS = [
    (1, ["EHLO x", *("WELLKNOWN " + key for key in KEYS), "HELP", "QUIT"]),
    (1, ["WELLKNOWN a", "HELO x", "wellknown   a", "MAIL FROM:<a@b>", "WELLKNOWN a", "QUIT"]),
    (1, ["EHLO x", "WELLKNOWN a\r\nWELLKNOWN a\r\nNOOP", "WELLKNOWN drop", "NOOP"]),
    (1, ["EHLO x", "WELLKNOWN a\r\nWELLKNOWN a\r\nNOOP", "WELLKNOWN", "QUIT"]),
    (4, ["EHLO x", "WELLKNOWN a\r\nNOOP"]),
    (5, ["EHLO x", "WELLKNOWN a", "QUIT"]),
]


class Wellknown(SluiceTest):
    maxDiff = None

    def told(self, program, main):
        port = free_port()
        box = self.sluice(configuration(main, ACL + "rcpt_acl:\n  accept\n").replace("shards = 1\n", "shards = 1\n" if program == SLUICE else ""),
                          start=False)
        os.chmod(box.dir, 0o777)
        os.makedirs(os.path.join(box.dir, "wk"), 0o755)
        for name, content in FILES.items():
            with open(os.path.join(box.dir, "wk", name), "wb") as f:
                f.write(content)
        with open(os.path.join(box.dir, "stderr"), "wb") as err:
            daemon = subprocess.Popen([program, "-C", box.config_file, "-bdf", "-oX", f"127.0.0.1.{port}", "-oP", os.path.join(box.dir, "pid")],
                                      stdin=subprocess.DEVNULL, stdout=err, stderr=err, cwd=box.dir,
                                      env={"PATH": "/bin:/usr/bin", "ASAN_OPTIONS": "exitcode=99"})
        try:
            until(lambda: os.path.exists(os.path.join(box.dir, "log/main")) and "started" in box.log(), box.stderr)
            said = [session(port, *what) for what in SESSIONS]
            until(lambda: 'rejected "WELLKNOWN a" from' in box.log() and (program == SLUICE or not children(daemon.pid)), "the sessions' ends")
            log = sorted(line[20:] for line in box.log().splitlines() if " <" in line and "rejected" not in line)
            return said, log, box.log()
        finally:
            daemon.terminate()
            daemon.wait(30)

    def check(self, said, log, text):
        """What the manual says, and Exim does."""
        first = dict(zip(["EHLO", *KEYS, "HELP", "QUIT"], said[0]))
        self.assertEqual(first["EHLO"], ["250", True])
        self.assertEqual(first["HELP"], ["214", True])
        self.assertEqual(first["a"], ["250-SIZE=6", "250 hello+0A"])
        self.assertEqual(first["empty"], ["250 SIZE=0"])
        self.assertEqual(first["a+20b"], ["250-SIZE=6", "250 spaced"])
        self.assertEqual(first["full"], ["250-SIZE=75", "250 " + 75 * "x"])
        self.assertEqual(first["more"], ["250-SIZE=152", "250-" + 75 * "x", "250-" + 75 * "x", "250-+0A", "250 +0A"])
        self.assertEqual(first["big"][0], "250-SIZE=2500")
        self.assertEqual(len(first["big"]), 101)
        self.assertEqual(first["twice"], first["a"])
        self.assertEqual([first[key][0] for key in ("none", "deny", "defer", "nothing", "missing")], ["550", "550", "451", "451", "550"])
        self.assertEqual(said[2][-1], "closed")
        self.assertEqual(said[5][:2], [["250", False], ["554", False]])
        self.assertIn("<a+20b> <WELLKNOWN a+20b>", log)
        self.assertRegex(text, r"temporarily rejected WELLKNOWN nothing")
        self.assertRegex(text, r"rejected WELLKNOWN missing")
        self.assertRegex(text, r'rejected "WELLKNOWN a" from ')

    def test_ours(self):
        self.check(*self.told(SLUICE, MAIN + "enhanced_status_advertise_hosts = *\n"))

    def test_too_large(self):
        server = self.sluice(configuration(MAIN + "acl_smtp_helo = accept\n", ACL + "rcpt_acl:\n  accept\n"))
        os.makedirs(os.path.join(server.dir, "wk"), 0o755, exist_ok=True)
        with open(os.path.join(server.dir, "wk/a"), "wb") as f:
            f.write(bytes(128 * 1024 + 1))
        with server.client() as client:
            client.ehlo()
            client.expect("WELLKNOWN a", 550)
            for content in (bytes(100000), b"\n" * 50000, b"Contact: mailto:a@b.test\n" * 4000):
                with open(os.path.join(server.dir, "wk/a"), "wb") as f:
                    f.write(content)
                reply = client.cmd("WELLKNOWN a")
                self.assertEqual(reply.lines[0], f"250-SIZE={len(content)}")
                self.assertEqual(re.sub(r"\+(..)", lambda m: chr(int(m[1], 16)), "".join(line[4:] for line in reply.lines[1:])), content.decode())
        server.wait_log("rejected WELLKNOWN a: wellknown: ")

    @unittest.skipUnless(os.getuid() == 0 and os.access(ORACLE, os.X_OK), "needs root and Exim (SLUICE_ORACLE)")
    def test_beside_exim(self):
        theirs = self.told(ORACLE, MAIN)
        self.check(*theirs)
        ours = self.told(SLUICE, MAIN + "enhanced_status_advertise_hosts = :\n")
        # Of a directory Exim tells the size.
        for said in (ours[0], theirs[0]):
            del said[0][1 + KEYS.index("directory")]
        self.assertEqual(ours[0], theirs[0])
        self.assertEqual(ours[1], theirs[1])


if __name__ == "__main__":
    unittest.main()
