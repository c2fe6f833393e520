"""Hints that cannot be written: what they know may be lost, so that mail goes on without them, and the log says so."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from unittest import mock

import harness
from authority import Authority
from harness import SluiceTest, configuration, until

WITHOUT = r"going on without hints \(.*\): "
RO = """#!/bin/sh
exec unshare -m sh -c 'mount --bind "$DB" "$DB" && mount -o remount,bind,ro "$DB" && exec "$0" "$@"' {} "$@"
"""


def folder(server):
    return os.path.join(server.dir, "spool", "db")


class NoHints(SluiceTest):
    def setUp(self):
        super().setUp()
        self.dir = tempfile.mkdtemp(prefix="sluice-pki-")
        self.addCleanup(shutil.rmtree, self.dir)
        os.chmod(self.dir, 0o755)

    def pair(self):
        """A sender that resumes sessions and keeps retry times, not started; and where it sends to."""
        pem, key = Authority(os.path.join(self.dir, "pki")).certificate("mx")
        main = f"tls_certificate = {pem}\ntls_privatekey = {key}\ntls_resumption_hosts = *\n"
        sink = self.sluice(configuration(main=main, policy=harness.POLICY.replace(
            "domains = test", "domains = test : elsewhere.test").replace("alice :", "alice : u :")))
        policy = harness.POLICY.replace("  hosts_try_fastopen = :", "  hosts_try_fastopen = :\n  tls_resumption_hosts = *\n"
                                        "  tls_try_verify_hosts = :\n  connection_max_messages = 1")
        policy = policy.replace("rcpt_acl:\n", "rcpt_acl:\n  accept local_parts = seldom\n         ratelimit = 0 / 1h / per_rcpt\n")
        return self.sluice(configuration(main="log_selector = +tls_resumption\n", policy=policy), start=False,
                           macros={"SINKPORT": str(sink.port)})

    def mail(self, server, pattern=r"=> u@elsewhere\.test"):
        before = len(re.findall(pattern, server.log()))
        with server.client() as c:
            c.ehlo()
            c.message("Subject: x\r\n\r\nhello\r\n", rcpts=("u@elsewhere.test",))
        return server.wait_log(pattern, count=before + 1)

    def resumed(self, server):
        return [bool(star) for star in re.findall(r"=> u@elsewhere\.test .*X=\S+?(\*?) ", server.log())]

    def check_without(self, server):
        """Mail goes, both ways; nothing is resumed; what has to count is deferred; and two logs tell why, once."""
        for name in ("main", "panic"):
            self.assertEqual(1, len(re.findall(WITHOUT, server.wait_log(WITHOUT, name))), name)
        before = len(self.resumed(server))
        for _ in range(2):
            self.mail(server)
        self.assertEqual([False, False], self.resumed(server)[before:])
        with server.client() as c:
            c.ehlo()
            c.message("Subject: x\r\n\r\nhello\r\n")
            c.expect("MAIL FROM:<s@client.test>", 250)
            self.assertEqual(451, c.cmd("RCPT TO:<seldom@test>").code)
            c.expect("RCPT TO:<alice@test>", 250)
        server.wait_log("=> alice ")
        self.assertIn('sluice_hints_lookups_total{result="found"} 0\n', server.run("--metrics", check=0).out)

    def check_with(self, server):
        """They are there, and what was remembered before is."""
        self.assertNotRegex(server.log(), WITHOUT)
        self.mail(server)
        with server.client() as c:
            c.ehlo()
            c.expect("MAIL FROM:<s@client.test>", 250)
            self.assertEqual(250, c.cmd("RCPT TO:<seldom@test>").code)

    def stop(self, server):
        """And the log is that of the next start."""
        server.stop()
        for name in ("main", "panic"):
            if server.log(name):
                os.truncate(os.path.join(server.dir, "log", name), 0)

    def test_permissions(self):
        server = self.pair()
        os.makedirs(os.path.join(server.dir, "spool"))
        os.chmod(os.path.join(server.dir, "spool"), 0o755)
        if os.getuid() == 0:
            shutil.chown(os.path.join(server.dir, "spool"), harness.USER)
        # None there, and none can be made.
        os.mkdir(folder(server), 0o555)
        server.start()
        self.check_without(server)
        self.stop(server)
        os.rmdir(folder(server))
        server.start()
        self.check_with(server)
        self.stop(server)
        # Those that are there cannot be written; then not even looked at; and at last they are as they were.
        files = [os.path.join(folder(server), name) for name in os.listdir(folder(server))]
        for directory, file in ((0o555, 0o444), (0o755, 0o444), (0o755, 0), (0, 0)):
            with self.subTest(directory=oct(directory), file=oct(file)):
                for path in files:
                    os.chmod(path, file)
                    if os.getuid() == 0:
                        shutil.chown(path, "root")
                os.chmod(folder(server), directory)
                if os.getuid() == 0:
                    shutil.chown(folder(server), "root" if directory != 0o755 else harness.USER)
                server.start()
                self.check_without(server)
                self.stop(server)
                os.chmod(folder(server), 0o755)
        if os.getuid() == 0:
            for path in (folder(server), *files):
                shutil.chown(path, harness.USER)
        for path in files:
            os.chmod(path, 0o640)
        server.start()
        self.check_with(server)
        self.assertEqual([True], self.resumed(server), "the session of before")

    def test_file_in_its_place(self):
        server = self.pair()
        os.makedirs(os.path.join(server.dir, "spool"))
        if os.getuid() == 0:
            shutil.chown(os.path.join(server.dir, "spool"), harness.USER)
        with open(folder(server), "w"):
            pass
        server.start()
        self.check_without(server)

    def test_file_system(self):
        """A read-only mount, seen by this daemon alone."""
        probe = subprocess.run(["unshare", "-m", "true"], capture_output=True)
        if os.getuid() != 0 or probe.returncode:
            self.skipTest("needs a mount namespace")
        server = self.pair()
        server.start()
        self.check_with(server)
        self.stop(server)
        program = os.path.join(server.dir, "read-only")
        with open(program, "w") as f:
            f.write(RO.format(os.path.abspath(harness.SLUICE)))
        os.chmod(program, 0o755)
        with mock.patch.object(harness, "SLUICE", program), mock.patch.dict(os.environ, DB=folder(server)):
            server.start()
        self.check_without(server)
        self.stop(server)
        server.start()
        self.check_with(server)

    def test_lost_while_it_runs(self):
        """The files are gone and no others can be made: told once; mail goes on."""
        server = self.pair()
        server.start()
        self.check_with(server)
        for name in os.listdir(folder(server)):
            os.unlink(os.path.join(folder(server), name))
        os.chmod(folder(server), 0o555)
        if os.getuid() == 0:
            shutil.chown(folder(server), "root")
        # It looks before it writes, at most once a second.
        until(lambda: self.mail(server) and "cannot be made anew: its files were gone" in server.log("panic"), "the log to tell")
        self.mail(server)
        self.assertEqual(1, server.log("panic").count("its files were gone"))


if __name__ == "__main__":
    unittest.main()
