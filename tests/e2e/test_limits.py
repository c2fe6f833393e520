"""Limits of deliveries: serialize_hosts, max_parallel, hosts_max_try, a server's LIMITS. Each beside the same without the limit."""
import re
import threading
import unittest

from harness import SluiceTest, configuration

POLICY = """
begin acl
rcpt_acl:
  accept
begin routers
all:
  driver = manualroute
  transport = smtp
  route_list = * HOSTS
  self = send
begin transports
smtp:
  driver = smtp
  port = SINKPORT
  allow_localhost
  EXTRA
begin retry
* * F,2h,15m
"""


class Together:
    """A script for the sink: how many transactions it had at once. At the end of the data each waits a moment for another."""

    def __init__(self):
        self.changed = threading.Condition()
        self.now = self.most = 0

    def __call__(self, verb, argument, session):
        with self.changed:
            if verb == "MAIL":
                self.now += 1
                self.most = max(self.most, self.now)
                self.changed.notify_all()
            elif verb == "END":
                self.changed.wait_for(lambda: self.most > 1, 0.4)
                self.now -= 1


class Limits(SluiceTest):
    def begin(self, extra, sink, hosts="127.0.0.1", shards=1):
        policy = POLICY.replace("HOSTS", hosts).replace("EXTRA", extra)
        return self.sluice(configuration("", policy).replace("shards = 1", f"shards = {shards}"), macros={"SINKPORT": str(sink)})

    def at_once(self, extra, **options):
        script = Together()
        sink = self.sink(script)
        server = self.begin(extra, sink.port, **options)
        clients = [server.client() for _ in range(4)]
        for i, client in enumerate(clients):
            client.ehlo()
            client.message("Subject: x\r\n\r\nbody\r\n", rcpts=(f"r{i}@remote.test",))
            client.close()
        sink.wait(4)
        return script.most

    def test_serialize_hosts(self):
        self.assertGreater(self.at_once(""), 1)
        self.assertEqual(self.at_once("serialize_hosts = 127.0.0.0/8"), 1)
        self.assertGreater(self.at_once("serialize_hosts = 192.0.2.0/24"), 1)

    def test_over_all_shards(self):
        self.assertEqual(self.at_once("serialize_hosts = *", shards=2), 1)

    def test_max_parallel(self):
        self.assertEqual(self.at_once("max_parallel = 1"), 1)
        self.assertGreater(self.at_once("max_parallel = 2"), 1)

    def test_hosts_max_try(self):
        """Nobody listens there: as many hosts are tried as the limit allows."""
        closed = self.sink()
        closed.close()
        for extra, count in (("hosts_max_try = 2", 2), ("hosts_max_try = 5", 4), ("", 4)):
            with self.subTest(extra):
                server = self.begin(extra, closed.port, "127.0.0.2:127.0.0.3:127.0.0.4:127.0.0.5")
                with server.client() as client:
                    client.ehlo()
                    client.message("Subject: x\r\n\r\nbody\r\n", rcpts=("r@remote.test",))
                log = server.wait_log(r"== r@remote\.test ")
                self.assertEqual(len(re.findall(r"H=127\.0\.0\.\d \[.*Connection refused$", log, re.M)), count, log)

    def test_limits_of_the_server(self):
        """RFC 9422: no more recipients in a transaction than the server says."""
        sink = self.sink(extensions=("PIPELINING", "LIMITS RCPTMAX=2"))
        server = self.begin("", sink.port)
        with server.client() as client:
            client.ehlo()
            client.message("Subject: x\r\n\r\nbody\r\n", rcpts=[f"r{i}@remote.test" for i in range(5)])
        messages = sink.wait(3)
        self.assertEqual(sorted(len(rcpts) for _, rcpts, _ in messages), [1, 2, 2])
        server.wait_log("Completed")


if __name__ == "__main__":
    unittest.main()
