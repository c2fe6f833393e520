"""Ticket keys that nodes share over Redis: a session of one goes on at the other; never with another secret; and what happens when
the server is away, or holds what nobody can read."""
import ssl
import unittest

from harness import configuration, until
from test_redis import Redis
from test_tls import TlsTest, context, starttls

SECRET = "one that both nodes have"
SET = "sluice:tls-tickets"


class Shared(TlsTest):
    def setUp(self):
        self.redis = Redis("--requirepass", "pass")
        self.addCleanup(self.redis.kill)

    def text(self, *lines):
        return configuration(main=self.tls_main("tls_resumption_hosts = *", "tls_ticket_directory = none", *lines))

    def sharing(self, secret=SECRET):
        return (f"hide tls_ticket_redis_servers = 127.0.0.1::{self.redis.port}/1/pass", f"hide tls_ticket_secret = {secret}")

    def node(self, secret=SECRET):
        """With keys of its own, in its own memory."""
        return self.sluice(self.text(*self.sharing(secret)))

    def ask(self, *words):
        return self.redis.call(*words, password="pass", database=1)

    def session_of(self, server, ctx, session=None):
        """(resumed?, the session to come back with)"""
        with server.client() as client:
            starttls(client, ctx, "mx.test", session)
            reused = client.sock.session_reused
            client.cmd("NOOP")
            session = client.sock.session
            client.quit()
            return reused, session

    def entries(self, count):
        until(lambda: self.ask("ZCARD", SET) == str(count), lambda: f"{count} keys; there are {self.ask('ZCARD', SET)}")
        return self.ask("ZRANGE", SET, "0", "-1").split()

    def goes_on_at(self, first, second, ctx):
        session = self.session_of(first, ctx)[1]
        self.assertTrue(session.has_ticket)
        until(lambda: self.session_of(second, ctx, session)[0], "the other node to know the ticket")

    def test_shared(self):
        first = self.node()
        self.entries(1)
        second = self.node()
        keys = self.entries(2)
        for key in keys:
            self.assertRegex(key, r"\A01[0-9a-f]{168}\Z")
        self.assertTrue(7100 < int(self.ask("TTL", SET)) <= 7200)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version):
                ctx = context(version=version)
                self.goes_on_at(first, second, ctx)
                self.goes_on_at(second, first, ctx)
        # Away: each goes on with what it knows.
        ctx = context(version=ssl.TLSVersion.TLSv1_2)
        session = self.session_of(first, ctx)[1]
        self.redis.kill()
        for node in (first, second):
            node.wait_log(rf"TLS ticket keys: not shared at 127\.0\.0\.1:{self.redis.port}: ")
            self.assertTrue(self.session_of(node, ctx, session)[0])
        # Back, and empty: they give it what they have, and a third learns it. Whether both gave the same key at once is chance.
        self.assertTrue(self.redis.start())
        for node in (first, second):
            node.wait_log(rf"TLS ticket keys: shared at 127\.0\.0\.1:{self.redis.port} again")
            self.assertEqual(node.log().count("TLS ticket keys"), 2)
            self.assertNotIn(SECRET, node.log())
        third = self.node()
        self.goes_on_at(first, third, ctx)
        self.goes_on_at(third, second, ctx)

    def test_another_secret_and_what_is_no_key(self):
        first = self.node()
        key = self.entries(1)[0]
        self.ask("ZADD", SET, "inf", "rubbish", "inf", key[:-1] + ("1" if key[-1] == "0" else "0"), "1", "long ago")
        other = self.node("one that this node alone has")
        other.wait_log("TLS ticket keys: 4 of those at .* ignored: damaged, or of another tls_ticket_secret")
        first.wait_log("TLS ticket keys: 3 of those at .* ignored")
        self.entries(4)  # what is long past its time is gone
        second = self.node()
        second.wait_log("TLS ticket keys: 3 of those at .* ignored")
        ctx = context(version=ssl.TLSVersion.TLSv1_2)
        session = self.session_of(first, ctx)[1]
        # The second has learned it from the same set, at the same time or later than the other has looked.
        until(lambda: self.session_of(second, ctx, session)[0], "the second node to know the ticket")
        self.assertFalse(self.session_of(other, ctx, session)[0])
        self.assertTrue(self.session_of(other, ctx, self.session_of(other, ctx)[1])[0])
        for node in (first, second, other):
            self.assertEqual(node.log().count("TLS ticket keys"), 1)

    def test_never_without_a_secret(self):
        servers, secret = self.sharing()
        for lines, said in (((servers,), "needs tls_ticket_secret"),
                            ((servers, "tls_ticket_secret = fifteen letters"), "16 characters at least"),
                            (("tls_ticket_redis_servers = nonsense", secret), "not host/database/password")):
            done = self.sluice(self.text(*lines), start=False).run("-bV", check=1)
            self.assertIn(said, done.err)


if __name__ == "__main__":
    unittest.main()
