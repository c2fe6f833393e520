"""Main options that change how sluice receives mail, starts, and is set up: each against what it does when it is not set."""
import os
import re
import threading
import time
import unittest

from harness import Client, Sink, SluiceTest, configuration, until


class Receiving(SluiceTest):
    def test_ratelimit_slows_recipients_and_mails(self):
        box = self.sluice(configuration("smtp_ratelimit_hosts = *\nsmtp_ratelimit_rcpt = 1,0.3s,1.5,4s\n"
                                        "smtp_ratelimit_mail = 1,0.4s,1.0,4s\n"))
        with box.client() as c:
            c.ehlo()
            c.expect("MAIL FROM:<s@client.test>", 250)
            begin = time.monotonic()
            c.expect("RCPT TO:<alice@test>", 250)
            c.expect("RCPT TO:<bob@test>", 250)
            c.expect("RCPT TO:<carol@test>", 250)
            self.assertGreaterEqual(time.monotonic() - begin, 0.3 + 0.45)
            c.expect("RSET", 250)
            begin = time.monotonic()
            c.expect("MAIL FROM:<s@client.test>", 250)
            self.assertGreaterEqual(time.monotonic() - begin, 0.4)

    def test_ratelimit_malformed(self):
        box = self.sluice(configuration("smtp_ratelimit_mail = 1,2,x,4\n"), start=False)
        done = box.run("-bV")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("smtp_ratelimit_mail", done.err)

    def test_load_reserve(self):
        box = self.sluice(configuration("smtp_load_reserve = 0.0\nsmtp_reserve_hosts = 127.0.0.2\n"), start=False)
        with open("/proc/loadavg") as f:
            if float(f.read().split()[0]) == 0:
                self.skipTest("the machine has nothing to do")
        box.start(wait=False)
        until(box.has_started, "the daemon")
        with Client(box.port, banner=False) as c:
            c.wait(421, "Too much load; please try again later")
        with Client(box.port, source="127.0.0.2") as c:
            c.ehlo()
        box.wait_log("refused: load average = ")

    def test_queue_only_file(self):
        box = self.sluice(configuration("queue_only_file = DIR/other : DIR/wait\n"), start=False)
        flag = os.path.join(box.dir, "wait")
        with open(flag, "w"):
            pass
        box.start()
        with box.client() as c:
            c.ehlo()
            c.message("Subject: one\r\n\r\nbody\r\n")
            self.assertEqual(len(box.queue_ids()), 1)
            os.unlink(flag)
            c.message("Subject: two\r\n\r\nbody\r\n")
        self.assertIn(b"Subject: two", box.wait_mail()[0])
        self.assertEqual(len(box.queue_ids()), 1)

    def test_log_space(self):
        box = self.sluice(configuration("check_log_space = 900000000M\n"))
        with box.client() as c:
            c.ehlo()
            c.expect("MAIL FROM:<s@client.test>", 452, "Space shortage")
        self.assertRegex(box.run("-be", "$log_space $log_inodes", check=0).out, r"^[1-9]\d+ ([1-9]\d+|-1)\n$")

    def test_helo_lookup_domains(self):
        main = "helo_lookup_domains = HELOLIST\nhost_lookup_order = byaddr\n"
        for which, found in (("ours.test", True), ("other.test", False)):
            box = self.sluice(configuration(main.replace("HELOLIST", which)))
            with box.client() as c:
                c.ehlo("ours.test")
                c.envelope()
                c.data("Subject: x\r\n\r\nbody\r\n")
            line = box.wait_log(" <= ")
            self.assertEqual(bool(re.search(r"H=localhost\S* \(ours\.test\)|H=\S+ \(ours\.test\)", line)), found, line)
            box.stop()

    def test_etrn_serialize(self):
        """The same ETRN again, while the first one's delivery waits for a host that says nothing."""
        go = threading.Event()
        sink = Sink(lambda verb, argument, session: go.wait(30) and None)
        self.addCleanup(sink.close)
        self.addCleanup(go.set)
        box = self.sluice(configuration("acl_smtp_etrn = accept\nqueue_only\n"), macros={"SINKPORT": str(sink.port)})
        with box.client() as c:
            c.ehlo()
            c.message("Subject: x\r\n\r\nbody\r\n", rcpts=["r@elsewhere.test"])
            c.expect("ETRN elsewhere.test", 250)
            c.expect("ETRN Elsewhere.test", 458, "Already processing")
            c.expect("ETRN another.test", 250)
            go.set()
            sink.wait(1)
            until(lambda: c.cmd("ETRN elsewhere.test").code == 250, "the first run to be over")


if __name__ == "__main__":
    unittest.main()
