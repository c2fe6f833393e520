"""Rates that several threads, and several nodes, count together."""
import re
import threading
import unittest

from harness import Client, SluiceTest, configuration, POLICY, until
from test_redis import Redis

MAIN = "log_selector = +smtp_connection\n"
ACLS = """begin acl
rcpt_acl:
  warn   ratelimit = LIMIT / 1h / per_cmd / MODE
         set acl_m_over = yes
  accept message = rate $sender_rate over=$acl_m_over

"""


def policy(limit, mode):
    return re.sub(r"begin acl\n.*?begin routers", lambda _: ACLS.replace("LIMIT", str(limit)).replace("MODE", mode) +
                  "begin routers", POLICY, flags=re.S)


def ask(port, rcpt="a@test"):
    """(rate, over the limit?), or the code of another reply."""
    with Client(port) as c:
        c.ehlo()
        c.expect("MAIL FROM:<s@client.test>", 250)
        reply = c.cmd(f"RCPT TO:<{rcpt}>")
        found = re.search(r"rate (\S+) over=(\w*)", reply.text)
        return (float(found.group(1)), found.group(2) == "yes") if found else reply.code


def ask_all(ports, count):
    """That many connections at once, each a thread's."""
    said, lock = [], threading.Lock()

    def work(n):
        for i in range(n, count, 10):
            answer = ask(ports[i % len(ports)], f"a{i}@test")
            with lock:
                said.append(answer)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return said


class Shards(SluiceTest):
    def test_a_hundred_connections_over_two_shards(self):
        conf = configuration(MAIN, policy(99.5, "strict / k")).replace("shards = 1", "shards = 2")
        server = self.sluice(conf)
        said = ask_all(server.ports, 99)
        self.assertEqual([over for _, over in said].count(True), 0)
        self.assertEqual(sorted(round(rate) for rate, _ in said), list(range(1, 100)))
        rate, over = ask(server.ports[0])
        self.assertAlmostEqual(rate, 100, delta=0.5)  # an hour's rate falls by little in these seconds
        self.assertTrue(over)

    def test_the_limit_trips_at_the_right_one(self):
        # An hour's rate loses less than one in the seconds that this takes.
        server = self.sluice(configuration(MAIN, policy(49.5, "leaky / k")).replace("shards = 1", "shards = 2"))
        said = ask_all(server.ports, 80)
        self.assertEqual([over for _, over in said].count(False), 49)

    def test_unique_events_over_two_shards(self):
        server = self.sluice(configuration(MAIN, policy(1000, "strict / unique=${sg{$local_part}{[1-9]}{}} / k"))
                             .replace("shards = 1", "shards = 2"))
        said = ask_all(server.ports, 40)
        # a, a0 (10, 20, 30 and 0) are all there is.
        self.assertEqual(round(max(rate for rate, _ in said)), 2)


class Nodes(SluiceTest):
    def setUp(self):
        self.redis = Redis()
        self.addCleanup(self.redis.kill)

    def node(self, limit, mode):
        return self.sluice(configuration(MAIN + f"ratelimit_redis_servers = 127.0.0.1::{self.redis.port}/0/\n", policy(limit, mode)))

    def test_two_nodes_count_together(self):
        first, second = self.node(49.5, "leaky / k"), self.node(49.5, "leaky / k")
        said = ask_all([first.ports[0], second.ports[0]], 80)
        self.assertEqual([over for _, over in said].count(False), 49)
        keys = self.redis.call("KEYS", "*").split()
        self.assertEqual(keys, ["sluice:ratelimit:1h/per_cmd/k"])
        self.assertGreater(int(self.redis.call("TTL", keys[0])), 3600)

    def test_modes_are_those_of_the_hints(self):
        node = self.node(2.5, "strict / unique=$local_part / k")
        said = [ask(node.ports[0], f"{r}@test") for r in "aabbacda"]
        self.assertEqual([round(rate) for rate, _ in said], [1, 1, 2, 2, 2, 3, 4, 4])
        self.assertEqual([over for _, over in said], [False] * 5 + [True] * 3)
        node = self.node(2.5, "readonly / unique=x / k")
        self.assertEqual(round(ask(node.ports[0])[0]), 4)

    def test_a_server_that_is_away_defers(self):
        node = self.node(5, "strict / k")
        self.assertEqual(ask(node.ports[0]), (1.0, False))
        self.redis.kill()
        # "warn" goes on without it, and says so; what it would have counted is not known.
        with Client(node.ports[0]) as c:
            c.ehlo()
            c.expect("MAIL FROM:<s@client.test>", 250)
            self.assertEqual(c.expect("RCPT TO:<a@test>", 250).text.count("over=yes"), 0)
        node.wait_log(r'ACL "warn" statement skipped: condition test deferred: ratelimit_redis_servers')

    def test_a_condition_that_refuses_defers_too_and_recovers(self):
        conf = configuration(MAIN + f"ratelimit_redis_servers = 127.0.0.1::{self.redis.port}/0/\n",
                             re.sub(r"begin acl\n.*?begin routers", "begin acl\nrcpt_acl:\n  deny ratelimit = 5 / 1h / strict / k\n"
                                    "  accept message = rate $sender_rate over=\n\nbegin routers", POLICY, flags=re.S))
        node = self.sluice(conf)
        self.assertEqual(ask(node.ports[0])[0], 1.0)
        self.redis.kill()
        self.assertEqual(ask(node.ports[0]), 451)
        self.redis.start()
        until(lambda: ask(node.ports[0]) != 451, "the rate to be counted again")


if __name__ == "__main__":
    unittest.main()
