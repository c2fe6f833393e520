"""Redis lookups with real servers: every form of naming one, replies as text, servers that are away, that hang, that
are killed under load, and a cluster."""
import os
import signal
import socket
import subprocess
import threading
import unittest

from harness import Client, Sluice, configuration, free_port, scratch, until


class Redis:
    def __init__(self, *options):
        self.options = options
        self.dir = scratch("redis")
        self.path = os.path.join(self.dir, "socket")
        self.process = None
        for _ in range(20):
            self.port = free_port()
            if self.port < 55000 and self.start():  # a cluster's bus takes the port 10,000 above
                return
        raise AssertionError("redis-server does not start")

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.path,
             "--save", "", "--dir", self.dir, "--databases", "16", *self.options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return until(self.state, "redis-server to start") == "up"

    def state(self):
        if self.process.poll() is not None:
            return "ended"
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                s.sendall(b"PING\r\n")
                # LOADING, NOAUTH: an answer all the same, and then another process cannot have the port.
                return "up" if s.recv(100) else None
        except OSError:
            return None

    def call(self, *words, password=None, database=None):
        options = (["-a", password, "--no-auth-warning"] if password else []) + (["-n", str(database)] if database else [])
        return subprocess.run(["redis-cli", "-p", str(self.port), *options, *words], capture_output=True, text=True,
                              check=True, timeout=30).stdout.strip()

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


class Expansions(unittest.TestCase):
    """One server with a password, asked by -be."""

    @classmethod
    def setUpClass(cls):
        cls.redis = Redis("--requirepass", "p/w")
        cls.open = Redis()
        cls.here = f"127.0.0.1::{cls.redis.port}"
        cls.dirs = Sluice(configuration(f"hide redis_servers = {cls.here}/3/p/w : {cls.open.path}//\n"))
        cls.redis.call("SET", "where", "three", password="p/w", database=3)
        cls.redis.call("SET", "where", "four", password="p/w", database=4)
        cls.redis.call("SET", "where", "zero", password="p/w")
        cls.open.call("SET", "where", "open")
        cls.open.call("SET", "where", "open two", "NX")

    @classmethod
    def tearDownClass(cls):
        cls.redis.kill()
        cls.open.kill()

    def be(self, expression, main=None):
        if main is not None:
            dirs = Sluice(configuration(main))
        else:
            dirs = self.dirs
        done = dirs.run("-be", expression)
        return (done.out + done.err).strip()

    def test_every_form_of_a_server(self):
        port, path = self.redis.port, self.redis.path
        for servers, expected in (
                (f"127.0.0.1::{port}/4/p/w", "four"), (f"127.0.0.1::{port}//p/w", "zero"),
                (f"({path})/4/p/w", "four"), (f"({path})//p/w", "zero"), (f"<; 127.0.0.1:{port}/3/p/w", "three"),
                (f"127.0.0.1::{self.open.port}//", "open"), (f"({self.open.path})//", "open"),
                (f"localhost::{self.open.port}//", "open"), (f"<;[127.0.0.1]:{self.open.port}//", "open")):
            with self.subTest(servers=servers):
                self.assertEqual(self.be("${lookup redis{GET where}}", f"hide redis_servers = {servers}\n"), expected)

    def test_servers_of_the_query(self):
        for query, expected in (
                (f"redis,servers={self.here}/4/p/w", "four"), (f"redis,servers=({self.open.path})//", "open"),
                (f"redis,servers={self.here}", "three"), ("redis,servers=127.0.0.1", "three")):
            with self.subTest(query=query):
                self.assertEqual(self.be(f"${{lookup {query}{{GET where}}}}"), expected)
        self.assertEqual(self.be(f"${{lookup redis{{servers={self.here}/4/p/w; GET where}}}}"), "four")
        self.assertIn("nor one of the configuration", self.be("${lookup redis,servers=elsewhere{GET where}}"))

    def test_wrong_servers(self):
        for servers, expected in (
                ("127.0.0.1", "host/database/password"), ("127.0.0.1/1", "host/database/password"),
                ("127.0.0.1::x//", "host/database/password"), ("(/nowhere//", "host/database/password"),
                ("<; 127.0.0.1:99999//", "host/database/password"), ("", "no servers"),
                (f"{self.here}//wrong", "WRONGPASS"), (f"{self.here}//", "NOAUTH"), (f"{self.here}/99/p/w", "SELECT"),
                ("(/nowhere/at/all)//", "No such file"), ("no.such.host.invalid//", "no such host")):
            with self.subTest(servers=servers):
                said = self.be("${lookup redis{GET where}{yes}{no}}", f"hide redis_servers = {servers}\n")
                self.assertIn(expected, said)
                self.assertNotIn("/wrong", said)  # no password
                self.assertTrue(said.startswith("Temporary failure"), said)

    def test_replies_as_text(self):
        for command, expected in (
                ("SET k\\\\ 1 ${quote_redis:a b\\\\c\\td}", "OK"), ("GET k\\\\ 1", "a b\\c\td"),
                ("GET nothing", ""), ("SADD s 10.0.0.0/8 192.168.0.0/24", "true"), ("SADD s 10.0.0.0/8", "false"),
                ("EXISTS s", "true"), ("EXISTS nothing", "false"), ("SISMEMBER s x", "false"),
                ("EVAL return\\\\ {1,{2,'x',{3}},false,'y'} 0", "1\n2\nx\ny"), ("STRLEN nothing", "false"),
                ("  PING  ", "PONG"), ("ECHO \\\\a\\\\\\\\\\\\ b", "a\\ b")):
            command = command.replace("{1", "\\{1").replace("{2", "\\{2").replace("{3", "\\{3").replace("}", "\\}") \
                if command.startswith("EVAL") else command
            with self.subTest(command=command):
                self.assertEqual(self.be("<${lookup redis{" + command + "}}>").strip("<>"), expected)
        self.assertEqual(self.be("${sort{<\\n ${lookup redis{SMEMBERS s}}}{lt}{$item}}"), "10.0.0.0/8\n192.168.0.0/24")

    def test_nothing_and_errors(self):
        self.assertEqual(self.be("${lookup redis{SMEMBERS nothing}{yes}{no}}"), "no")
        self.assertEqual(self.be("${lookup redis{GET nothing}{yes}{no}}"), "yes")
        self.assertIn("WRONGTYPE", self.be("${lookup redis{LPUSH where x}{yes}{no}}"))
        self.assertIn("unknown command", self.be("${lookup redis{NOSUCH}{yes}{no}}"))
        for command in ("SELECT 1", "MULTI", "SUBSCRIBE x", "BLPOP a 0", "XREAD BLOCK 0 STREAMS a 0", "AUTH x"):
            self.assertIn("cannot be used", self.be("${lookup redis{" + command + "}}"))
        self.assertEqual(self.be("${lookup redis{}{yes}{no}}"), "no")
        self.assertIn("32 words", self.be("${lookup redis{DEL " + " x" * 40 + "}}"))

    def test_in_lists(self):
        self.redis.call("SADD", "relays", "192.168.0.0/24", "10.1.1.1", password="p/w", database=3)
        main = self.dirs.config_file and (f"hide redis_servers = {self.here}/3/p/w\n"
                                          "hostlist relays = <\\n ${lookup redis{SMEMBERS relays}}\n"
                                          "domainlist known = redis;SISMEMBER\\ domains\\ ${quote_redis:$domain}\n")
        for ip, expected in (("192.168.0.7", "y"), ("10.1.1.1", "y"), ("10.1.1.2", "n")):
            self.assertEqual(self.be("${if match_ip{" + ip + "}{+relays}{y}{n}}", main), expected)

    def test_the_next_server(self):
        closed = free_port()
        self.assertEqual(self.be("${lookup redis{GET where}}",
                                 f"hide redis_servers = 127.0.0.1::{closed}//secret : {self.here}/4/p/w\n"), "four")
        said = self.be("${lookup redis{GET where}}",
                       f"hide redis_servers = 127.0.0.1::{closed}//secret : (/nowhere)//secret\n")
        self.assertIn("/nowhere", said)
        self.assertNotIn("secret", said)


POLICY = """
begin acl
rcpt_acl:
  deny    local_parts = tainted
          condition = ${lookup redis{servers=$sender_address_domain//; PING}}
  accept  condition = ${lookup redis,cache=no_rd{SISMEMBER known ${quote_redis:$local_part}}}
  deny    message = unknown here

begin routers
begin transports
begin retry
"""


class Daemon(unittest.TestCase):
    def setUp(self):
        self.redis = Redis()
        self.addCleanup(self.redis.kill)
        self.redis.call("SADD", "known", "alice")
        self.sluice = Sluice(configuration(f"hide redis_servers = 127.0.0.1::{self.redis.port}//\n", POLICY)).start()
        self.addCleanup(self.sluice.kill)

    def test_away_and_back(self):
        with self.sluice.client() as client:
            client.ehlo()
            client.expect("MAIL FROM:<>", 250)
            client.expect("RCPT TO:<alice@test>", 250)
            client.expect("RCPT TO:<bob@test>", 550, "unknown here")
            self.redis.kill()
            client.expect("RCPT TO:<alice@test>", 451)
            client.expect("RCPT TO:<bob@test>", 451)
            self.sluice.wait_log("refused")
            self.assertTrue(self.redis.start())
            self.redis.call("SADD", "known", "bob")
            # It waits a moment between attempts.
            until(lambda: client.cmd("RCPT TO:<bob@test>").code == 250, "the server to be used again")
            client.expect("RCPT TO:<alice@test>", 550)

    def test_a_stranger_names_no_server(self):
        with self.sluice.client() as client:
            client.ehlo()
            client.expect("MAIL FROM:<a@127.0.0.1>", 250)
            client.expect("RCPT TO:<tainted@test>", 451)
        self.sluice.wait_log("tainted server specification")

    def test_stopped(self):
        """A server that accepts and does not answer holds up those who ask it, and nobody else."""
        with self.sluice.client() as client, self.sluice.client() as other:
            client.ehlo()
            client.expect("MAIL FROM:<>", 250)
            client.expect("RCPT TO:<alice@test>", 250)
            self.redis.process.send_signal(signal.SIGSTOP)
            client.send("RCPT TO:<alice@test>\r\n")
            other.ehlo()
            other.expect("MAIL FROM:<>", 250)
            other.expect("VRFY x@test", 252)
            self.redis.process.send_signal(signal.SIGCONT)
            client.wait(250)

    def test_killed_under_load(self):
        """Each reply is the right one or 451, whatever happens to the server."""
        codes = {"alice": set(), "bob": set()}
        over = threading.Event()
        failures = []

        def session(name):
            try:
                with Client(self.sluice.port) as client:
                    client.ehlo()
                    client.expect("MAIL FROM:<>", 250)
                    while not over.is_set():
                        client.send(f"RCPT TO:<{name}@test>\r\n" * 10)
                        for _ in range(10):
                            codes[name].add(client.reply().code)
                        client.expect("RSET", 250)
                        client.expect("MAIL FROM:<>", 250)
            except BaseException as e:
                failures.append(e)

        threads = [threading.Thread(target=session, args=(name,)) for name in ["alice", "bob"] * 8]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                until(lambda: codes["alice"] >= {250} and codes["bob"] >= {550}, "answers")
                self.redis.kill()
                codes["alice"].clear()
                codes["bob"].clear()
                until(lambda: codes["alice"] >= {451} and codes["bob"] >= {451}, "refusals")
                # No set: nobody is known, so the set is made by the file that the server starts with.
                with open(os.path.join(self.redis.dir, "dump.rdb"), "wb") as f:
                    f.write(self.dump)
                self.assertTrue(self.redis.start())
                codes["alice"].clear()
                codes["bob"].clear()
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        self.assertLessEqual(codes["alice"], {250, 451})
        self.assertLessEqual(codes["bob"], {550, 451})

    @property
    def dump(self):
        if not hasattr(self, "_dump"):
            with Helper() as helper:
                helper.call("SADD", "known", "alice")
                helper.call("SAVE")
                with open(os.path.join(helper.dir, "dump.rdb"), "rb") as f:
                    self._dump = f.read()
        return self._dump


class Helper(Redis):
    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


class Cluster(unittest.TestCase):
    def test_three_nodes(self):
        """Any key is found whichever node is asked first."""
        nodes = [Redis("--cluster-enabled", "yes") for _ in range(3)]
        for node in nodes:
            self.addCleanup(node.kill)
        subprocess.run(["redis-cli", "--cluster", "create", *(f"127.0.0.1:{n.port}" for n in nodes), "--cluster-yes"],
                       check=True, capture_output=True, timeout=60)
        until(lambda: all("cluster_state:ok" in n.call("CLUSTER", "INFO") for n in nodes), "the cluster")
        dirs = Sluice(configuration(f"hide redis_servers = 127.0.0.1::{nodes[0].port}//\n"))
        items = " ".join(f"${{lookup redis{{SET key{i} value{i}}}}}" for i in range(30))
        self.assertEqual(dirs.run("-be", items).out.split(), ["OK"] * 30)
        items = " ".join(f"${{lookup redis{{GET key{i}}}}}" for i in range(30))
        self.assertEqual(dirs.run("-be", items).out.split(), [f"value{i}" for i in range(30)])
        self.assertTrue(all(int(n.call("DBSIZE")) for n in nodes))  # they were really on different nodes


if __name__ == "__main__":
    unittest.main()
