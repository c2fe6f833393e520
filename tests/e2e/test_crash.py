"""Crashes, full disks, reloads and the end: what was answered 250 is delivered or in the queue, whatever happens."""
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
import unittest

from harness import Closed, SluiceTest, configuration, until

CRASHES = 50


class Load:
    """Clients that send without end, each message with a number of its own; they remember which were answered 250."""

    def __init__(self, server, count):
        self.server = server
        self.told = []      # numbers answered 250
        self.sent = 0
        self.lock = threading.Lock()
        self.over = False
        self.threads = [threading.Thread(target=self.run) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def number(self):
        with self.lock:
            self.sent += 1
            return self.sent

    def run(self):
        while not self.over:
            try:
                with self.server.client(timeout_s=10) as client:
                    client.ehlo()
                    for _ in range(20):
                        if self.over:
                            break
                        self.one(client)
            except (OSError, Closed, AssertionError):
                continue  # the crash; the next connection waits in the backlog

    def one(self, client):
        number = self.number()
        body = b"Subject: load\r\nX-Number: <%d>\r\n\r\n" % number + b"x" * random.randrange(4000) + b"\r\n"
        client.envelope()
        client.expect("DATA", 354)
        client.send(body + b".\r\n")
        if client.reply().code == 250:
            with self.lock:
                self.told.append(number)

    def accepted(self):
        with self.lock:
            return len(self.told)

    def stop(self):
        self.over = True
        for thread in self.threads:
            thread.join()


def numbers(messages):
    return [int(re.search(rb"X-Number: <(\d+)>", message).group(1)) for message in messages]


class Kill(SluiceTest):
    def test_kill_under_load(self):
        """kill -9 of the worker, again and again, at any moment."""
        rng = random.Random(os.environ.get("SEED", "1"))
        server = self.sluice(configuration().replace("shards = 1", "shards = 2"))
        load = Load(server, 4)
        slowest = 0
        try:
            for crash in range(CRASHES):
                before = load.accepted()
                until(lambda: load.accepted() > before, lambda: f"a message after crash {crash}: {server.log()[-2000:]}")
                # The timing is the point here: somewhere in the life of some message.
                time.sleep(rng.random() * 0.2)
                victim = server.worker()
                os.kill(victim, signal.SIGKILL)
                died = time.monotonic()
                until(lambda: [w for w in server.workers() if w != victim], "another worker", 10)
                slowest = max(slowest, time.monotonic() - died)
        finally:
            load.stop()
        self.assertLess(slowest, 1.0)
        # A last worker, left in peace, has all that was not yet delivered.
        server.run("-qff")
        until(lambda: server.queue_count() == 0,
              lambda: f"an empty queue: {server.run('-bp').out[-2000:]}{server.log()[-2000:]}{server.log('panic')[-2000:]}")
        found = numbers(server.maildir())
        lost = sorted(set(load.told) - set(found))
        self.assertEqual([], lost, f"of {len(load.told)} answered 250 these are lost")
        self.assertGreaterEqual(len(load.told), CRASHES)
        # A crash between a delivery and the record of it repeats the delivery (as with every MTA); once a later
        # message's Completed line was on its way, that record was, too: no more repeats than deliveries in flight.
        self.assertLessEqual(len(found) - len(set(found)), CRASHES * 8)
        self.assertNotIn("ASSERT", server.log("panic"))

    def test_committed_outcomes_are_not_repeated(self):
        server = self.sluice()
        with server.client() as client:
            client.ehlo()
            for number in range(50):
                client.message(b"Subject: x\r\nX-Number: <%d>\r\n\r\nx\r\n" % number)
        server.wait_mail(50)
        until(lambda: server.queue_count() == 0, "an empty queue")
        for _ in range(5):
            # A commit that follows takes the outcomes with it.
            with server.client() as client:
                client.ehlo()
                client.message("Subject: x\r\nX-Number: <1000>\r\n\r\nx\r\n", rcpts=("bob@test",))
            until(lambda: server.queue_count() == 0, "an empty queue")
            victim = server.worker()
            os.kill(victim, signal.SIGKILL)
            until(lambda: [w for w in server.workers() if w != victim], "another worker")
            server.client().close()
            server.run("-qff")
        until(lambda: server.queue_count() == 0, "an empty queue")
        self.assertEqual(sorted(range(50)), sorted(numbers(server.maildir())))

    def test_kill_of_everything(self):
        """Supervisor and all; the next start finds the queue."""
        server = self.sluice(configuration("queue_only\n"))
        with server.client() as client:
            client.ehlo()
            for number in range(20):
                client.message(b"Subject: x\r\nX-Number: <%d>\r\n\r\nx\r\n" % number)
        server.kill()
        server.start()
        self.assertEqual(20, server.queue_count())
        server.run("-q")
        self.assertEqual(set(range(20)), set(numbers(server.wait_mail(20))))
        server.stop()

    def test_another_number_of_shards(self):
        server = self.sluice(configuration("queue_only\n").replace("shards = 1", "shards = 3"))
        for number in range(12):
            with server.client() as client:
                client.ehlo()
                client.message(b"Subject: x\r\nX-Number: <%d>\r\n\r\nx\r\n" % number)
        server.kill()
        for shards in ("1", "4", "2"):
            server.write_config(configuration("queue_only\n").replace("shards = 1", "shards = " + shards))
            server.start()
            self.assertEqual(12, server.queue_count(), f"{shards} shards: {server.log('panic')}")
            server.kill()
        server.start()
        server.run("-q")
        self.assertEqual(list(range(12)), sorted(numbers(server.wait_mail(12))))

    def test_worker_that_dies_at_once(self):
        """It cannot even start: said, not tried for ever."""
        server = self.sluice(start=False)
        with open(os.path.join(server.dir, "spool"), "w") as f:
            f.write("in the way\n")
        server.start(wait=False)
        self.assertNotEqual(0, server.process.wait(20))
        self.assertIn("spool", server.stderr())


def small_filesystem(test, size):
    """A mounted tmpfs, or the test is skipped: only root may mount."""
    where = tempfile.mkdtemp(prefix="sluice-full-")
    test.addCleanup(shutil.rmtree, where, ignore_errors=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", where], capture_output=True)
    if done.returncode != 0:
        test.skipTest("needs the right to mount: " + done.stderr.decode().strip())
    test.addCleanup(subprocess.run, ["umount", "-l", where])
    os.chmod(where, 0o777)
    return where


class Full(SluiceTest):
    def test_disk_full(self):
        where = small_filesystem(self, "100m")
        config = configuration("queue_only\n").replace("DIR/spool", "FULL/spool")
        server = self.sluice(config, macros={"FULL": where})
        body = b"Subject: x\r\nX-Number: <%d>\r\n\r\n" + b"y" * 500_000 + b"\r\n"
        told, refused = [], 0
        with server.client() as client:
            client.ehlo()
            for number in range(300):
                reply = client.cmd("MAIL FROM:<s@client.test>")
                if reply.code == 250:
                    client.expect("RCPT TO:<alice@test>", 250)
                    client.expect("DATA", 354)
                    client.send(body % number + b".\r\n")
                    reply = client.reply()
                self.assertIn(reply.code, (250, 452), reply)
                if reply.code == 250:
                    told.append(number)
                else:
                    refused += 1
                    if refused == 5:
                        break
        self.assertTrue(told)
        self.assertEqual(5, refused, "the disk never was full")
        server.wait_log("spool|space", "panic" if server.log("panic") else "main")
        self.assertEqual(len(told), server.queue_count())
        # And after a restart, with the disk as full as it is.
        server.kill()
        server.start()
        self.assertEqual(len(told), server.queue_count(), server.log("panic"))
        # Delivering makes room.
        server.run("-q")
        self.assertEqual(sorted(told), sorted(numbers(server.wait_mail(len(told)))))
        until(lambda: server.queue_count() == 0, "an empty queue")
        with server.client() as client:
            client.ehlo()
            until(lambda: self.try_again(client), "room on the disk")

    def try_again(self, client):
        reply = client.cmd("MAIL FROM:<s@client.test>")
        if reply.code != 250:
            return False
        client.expect("RCPT TO:<alice@test>", 250)
        client.expect("DATA", 354)
        client.send(b"Subject: again\r\n\r\nx\r\n.\r\n")
        return client.reply().code == 250

    def test_large_message_into_a_full_disk(self):
        """Spilled while it comes: refused at its end, and the session goes on."""
        where = small_filesystem(self, "100m")
        server = self.sluice(configuration("message_size_limit = 0\n").replace("DIR/spool", "FULL/spool"),
                             macros={"FULL": where})
        with server.client() as client:
            client.ehlo()
            client.envelope()
            client.expect("DATA", 354)
            client.send(b"Subject: x\r\n\r\n" + (b"z" * 998 + b"\r\n") * 120000 + b".\r\n")
            client.wait(452)
            client.expect("RCPT TO:<alice@test>", 503)
            client.message("Subject: small\r\n\r\nx\r\n")
        server.wait_mail(1)
        self.assertEqual(0, server.queue_count())

    def test_check_spool_space(self):
        server = self.sluice(configuration().replace("check_spool_space = 0", "check_spool_space = 1000000G"))
        with server.client() as client:
            client.ehlo()
            reply = client.expect("MAIL FROM:<s@client.test>", 452)
            self.assertEqual("4.3.1", reply.enhanced)


class Reload(SluiceTest):
    def test_hup(self):
        server = self.sluice()
        with server.client() as old:
            old.ehlo()
            server.write_config(configuration().replace("mx.test", "renamed.test"))
            server.hup()
            server.wait_log("SIGHUP received: configuration reloaded")
            until(lambda: self.greets(server, "renamed.test"), "the new name")
            old.message("Subject: x\r\n\r\nx\r\n")  # what runs goes on
        server.wait_mail(1)
        self.assertEqual(0, server.stop())

    def greets(self, server, name):
        with server.client() as client:
            return name in client.banner.text

    def test_broken_file(self):
        server = self.sluice()
        for broken in ("no_such_option = 1\n", "smtp_accept_max = many\n", "acl_smtp_rcpt = other\n"):
            count = len(re.findall("configuration was not changed", server.log()))
            server.write_config(configuration(broken))
            server.hup()
            text = server.wait_log("configuration was not changed", count=count + 1)
            self.assertRegex(text.splitlines()[-1] + server.log("panic"), r"config|line|option")
            self.assertTrue(self.greets(server, "mx.test"))
            with server.client() as client:
                client.ehlo()
                client.message("Subject: x\r\n\r\nx\r\n")
        os.unlink(server.config_file)
        server.hup()
        server.wait_log("configuration was not changed", count=4)
        with server.client() as client:
            client.ehlo()
            client.message("Subject: x\r\n\r\nx\r\n")
        server.wait_mail(4)
        self.assertEqual(0, server.stop())


class Drain(SluiceTest):
    def test_term(self):
        """Who rests is told; who is in the middle of a message may finish it; nobody new comes in."""
        server = self.sluice()
        idle, busy = server.client(), server.client()
        self.addCleanup(idle.close)
        self.addCleanup(busy.close)
        idle.ehlo()
        busy.ehlo()
        busy.envelope()
        busy.expect("DATA", 354)
        busy.send("Subject: last\r\n\r\n")
        os.kill(server.supervisor, signal.SIGTERM)
        idle.wait(421, "shutting down")
        idle.closed()
        busy.send("the rest\r\n.\r\n")
        busy.wait(250)
        busy.cmd("MAIL FROM:<s@client.test>")
        self.assertEqual(0, server.process.wait(30))
        # Delivered before the end, or kept.
        delivered = len(server.maildir())
        server.start()
        if not delivered:
            server.run("-qff")
        server.wait_mail(1)
        self.assertEqual(0, server.stop())

    def test_int_twice(self):
        server = self.sluice()
        os.kill(server.supervisor, signal.SIGINT)
        os.kill(server.supervisor, signal.SIGINT)
        self.assertEqual(0, server.process.wait(30))

    def test_pid_file_that_is_no_file(self):
        """A pipe or device is written to and left where it is, also by root."""
        server = self.sluice(start=False)
        path = os.path.join(server.dir, "pipe")
        os.mkfifo(path, 0o666)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        server.start("-oP", path, wait=False)
        text = b""

        def read():
            nonlocal text
            try:
                text += os.read(reader, 4096)
            except BlockingIOError:
                pass
            return text.count(b"\n") >= 2
        until(read, lambda: f"the pid; stderr: {server.stderr()}")
        server.supervisor, server.ports = int(text.split(b"\n")[0]), [int(text.split(b":")[-1])]
        with server.client():
            pass
        self.assertEqual(server.stop(), 0)
        self.assertTrue(stat.S_ISFIFO(os.stat(path).st_mode))

    def test_helper_and_worker_are_gone(self):
        server = self.sluice()
        children = server.workers()
        for child in list(children):
            with open(f"/proc/{child}/task/{child}/children") as f:
                children += [int(pid) for pid in f.read().split()]
        server.stop()
        until(lambda: not [pid for pid in children if os.path.exists(f"/proc/{pid}")], f"the end of {children}")


if __name__ == "__main__":
    unittest.main()
