"""Whole configurations, here and in Exim: the manual's default one, Debian's, split and unsplit, and the larger ones of
config/. Each loads; addresses are routed and sessions are answered alike, line by line."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

from test_acl_sessions import exim, run_session
from test_examples import CONFIG, cdb
from test_stock_configurations import ALIASES, TEMPLATE

DEFAULT = os.path.join(os.path.dirname(TEMPLATE), "../../usr/share/doc/exim4-base/examples/example.conf")
CONF_D = os.path.join(os.path.dirname(TEMPLATE), "conf.d")
STOCK = """MAIN_HARDCODE_PRIMARY_HOSTNAME = mx.example
DCconfig_internet = 1
LOCAL_DELIVERY = maildir_home
MAIN_LOCAL_DOMAINS = @:localhost:a.example:b.example
MAIN_RELAY_TO_DOMAINS = relay.example
MAIN_RELAY_NETS = 10.9.0.0/16
MAIN_QUALIFY_DOMAIN = a.example
"""
LOCAL_PARTS = ["root", "alice", "postmaster", "list", "fail", "bh", "defer", "nosuch", "real-root", "root-x", ".x", "a|b", "x%y"]


def sender_and(*rcpts, sender="s@a.example", data=True):
    return ["EHLO c.test", f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{r}>" for r in rcpts), *(["DATA", "."] if data else []),
            "RSET", "QUIT"]


@unittest.skipUnless(exim(), "no Exim here (SLUICE_ORACLE)")
class Setups(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="sluice-setup-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        os.chmod(self.dir, 0o755)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        return path

    def both(self, work):
        return work(os.environ["SLUICE"], "ours"), work(exim(), "theirs")

    def conf_for(self, conf, whose):
        """Each has a spool of its own."""
        with open(conf) as f:
            text = f.read().replace("/spool", "/spool-" + whose)
        return self.write(os.path.basename(conf) + "-" + whose, text)

    def loads(self, conf):
        for command in (os.environ["SLUICE"], exim()):
            run = subprocess.run([command, "-C", conf, "-bV"], capture_output=True, text=True, timeout=60)
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def routes_alike(self, conf, addresses):
        def route(command, whose):
            mine = self.conf_for(conf, whose)

            def one(address):
                run = subprocess.run([command, "-C", mine, "-bt", address], capture_output=True, text=True, timeout=60)
                text = re.sub(r"spool-(ours|theirs)", "spool", run.stdout).lower()
                return run.returncode, sorted(re.sub(r" +", " ", text).split("\n"))

            with ThreadPoolExecutor(3) as pool:
                return list(pool.map(one, addresses))

        ours, theirs = self.both(route)
        for address, mine, other in zip(addresses, ours, theirs):
            with self.subTest(route=address):
                self.assertEqual(mine, other)

    def answers_alike(self, conf, sessions):
        def talk(command, whose):
            mine = self.conf_for(conf, whose)
            with ThreadPoolExecutor(3) as pool:
                return list(pool.map(lambda s: run_session(command, mine, ["connect", *s[1]], s[0]), sessions))

        def words(said):
            # The banner has a name and a date; what a client is called depends on this host's name service.
            return {step: re.sub(r"ESMTP .*", "ESMTP", re.sub(r"Hello \S+", "Hello", reply)) for step, reply in said.items()}

        ours, theirs = self.both(talk)
        for (ip, steps), mine, other in zip(sessions, ours, theirs):
            with self.subTest(session=(ip, steps)):
                self.assertEqual(words(mine), words(other))

    def stock_files(self):
        self.write("aliases", ALIASES)
        self.write("mailname", "a.example\n")

    def relocate(self, text):
        for stock, mine in [("/etc/aliases", "/aliases"), ("/var/spool/exim4", "/spool"), ("/var/log/exim4", "/log"),
                            ("/etc/mailname", "/mailname"), ("CONFDIR = /etc/exim4", "")]:
            text = text.replace(stock, self.dir + mine if mine else "CONFDIR = " + self.dir)
        return text

    STOCK_SESSIONS = [
        ("10.1.2.3", sender_and("root@a.example", "nosuch@a.example", "postmaster@b.example", "x@elsewhere.test")),
        ("10.1.2.3", sender_and("fail@a.example", "defer@a.example", "bh@a.example", "list@a.example", "x@relay.example")),
        ("10.1.2.3", sender_and("root@a.example", sender="nosuch@a.example")),
        ("10.1.2.3", sender_and("root@a.example", sender="")),
        ("10.1.2.3", sender_and("root@a.example", sender="x@nowhere.test")),
        ("10.1.2.3", sender_and(".x@a.example", '"a|b"@a.example', '"a/b"@a.example', "x%y@a.example", "x!y@a.example", "x@[127.0.0.1]",
                                "root", "postmaster", data=False)),
        ("10.9.2.3", sender_and("x@elsewhere.test", "nosuch@a.example", '"a/../b"@elsewhere.test', "x%y@elsewhere.test")),
        ("127.0.0.1", sender_and("root@a.example", "x@elsewhere.test")),
        ("10.1.2.3", ["RCPT TO:<root@a.example>", "HELO c.test", "VRFY root@a.example", "EXPN list", "ETRN x", "STARTTLSX", "DATA",
                      "MAIL FROM:<>", "MAIL FROM:<>", "QUIT"]),
    ]

    @unittest.skipUnless(os.path.exists(TEMPLATE), "no exim4.conf.template here (SLUICE_STOCK)")
    def test_debian_unsplit(self):
        self.stock_files()
        with open(TEMPLATE) as f:
            conf = self.write("unsplit", self.relocate(f.read().replace("UPEX4CmacrosUPEX4C = 1", STOCK)))
        self.loads(conf)
        self.answers_alike(conf, self.STOCK_SESSIONS)

    @unittest.skipUnless(os.path.isdir(CONF_D), "no conf.d here (SLUICE_STOCK)")
    def test_debian_split(self):
        """As update-exim4.conf puts the pieces together."""
        self.stock_files()
        text = ""
        for folder in ("main", "acl", "router", "transport", "retry", "rewrite", "auth"):
            for name in sorted(os.listdir(os.path.join(CONF_D, folder))):
                with open(os.path.join(CONF_D, folder, name)) as f:
                    text += f.read()
        conf = self.write("split", self.relocate(text.replace("UPEX4CmacrosUPEX4C = 1", STOCK)))
        self.loads(conf)
        self.routes_alike(conf, [f"{l}@{d}" for l in LOCAL_PARTS[:8] for d in ("a.example", "relay.example")])
        self.answers_alike(conf, self.STOCK_SESSIONS[:4])

    @unittest.skipUnless(os.path.exists(DEFAULT), "no example.conf here")
    def test_the_manuals_default(self):
        self.stock_files()
        with open(DEFAULT) as f:
            text = f.read()
        text = "primary_hostname = mx.example\nspool_directory = " + self.dir + "/spool\n" + text
        text = text.replace("local_domains = @\n", "local_domains = @ : a.example : b.example\n").replace(
            "relay_to_domains =\n", "relay_to_domains = relay.example\n").replace(
            "relay_from_hosts = localhost", "relay_from_hosts = 10.9.0.0/16 : localhost").replace("/etc/aliases", self.dir + "/aliases")
        conf = self.write("default", text)
        self.loads(conf)
        self.routes_alike(conf, [f"{l}@{d}" for l in LOCAL_PARTS for d in ("a.example", "mx.example", "relay.example")]
                          + ["root", "nosuch", "@a.example", "root@"])
        self.answers_alike(conf, self.STOCK_SESSIONS)

    # ---- config/ ----------------------------------------------------------------------------------------------------

    def example(self, name, *replace):
        with open(os.path.join(CONFIG, name)) as f:
            text = f.read().replace("VAR = /var/lib/sluice", "VAR = " + self.dir)
        text = text.replace("log_file_path = VAR/log/%slog\n", "log_file_path = VAR/spool/%slog\n")
        for old, new in replace:
            self.assertIn(old, text)
            text = text.replace(old, new)
        return self.write(name, text)

    def test_isp_inbound(self):
        self.write("domains", "a.example\nb.example\n")
        self.write("users", '"alice@a.example": yes\nbob@a.example: yes\n"o\'neil@b.example": yes\n')
        conf = self.example("isp-inbound.conf", ("STORE = store.example.net", "STORE = 127.0.0.9"))
        self.loads(conf)
        self.routes_alike(conf, ["alice@a.example", "nosuch@b.example", "x@elsewhere.test", "alice@A.EXAMPLE", "alice"])
        self.answers_alike(conf, [
            ("10.1.2.3", sender_and("alice@a.example", "nosuch@a.example", "bob@a.example", "x@elsewhere.test", "o'neil@b.example")),
            ("10.1.2.3", sender_and("alice@a.example", sender="")),
            ("127.0.0.1", sender_and("alice@a.example", "nosuch@a.example", "x@elsewhere.test")),
        ])

    def test_virtual_hosting(self):
        for name, text in {
                "localdomains": "shop.example\nother.example\nempty.example\n", "remotedomains": "far.example\n",
                "secondarymx": "friend.example\n", "vdomainaliases": "old.example: shop.example\n",
                "domains": "shop.example: account=joe max_size=20K max_rate=2\n", "dkim/.keep": "", "vfilters/.keep": "",
                "lists/users@shop.example/.keep": "", "home/.keep": "",
                "valiases/shop.example": "sales: info@shop.example, ann@other.example\nold: :fail: moved to new@shop.example\n"
                                         "void: :blackhole:\nlater: :defer: not today\nfwd: x@elsewhere.test\n*: info@shop.example\n",
                "valiases/other.example": "away: far@elsewhere.test\nloop: loop\n", "valiases/empty.example": ""}.items():
            self.write(name, text)
        cdb(os.path.join(self.dir, "users.cdb"),
            {"info@shop.example": "joe/mail/shop.example/info", "ann@other.example": "ann/mail/other.example/ann"})
        conf = self.example("virtual-hosting.conf")
        self.loads(conf)
        local_parts = ["info", "info+tag", "sales", "old", "void", "later", "fwd", "nosuch", "users", "users-request", "users-bounces+x",
                       "ann", "away", "loop", "SRS0=xx=yy=c.test=d", ".x"]
        self.routes_alike(conf, [f"{l}@{d}" for l in local_parts for d in (
            "shop.example", "old.example", "other.example", "empty.example", "friend.example")] + ["x@far.example", "x@elsewhere.test"])
        self.answers_alike(conf, [
            ("10.1.2.3", sender_and("info@shop.example", "old@shop.example", "later@shop.example", "void@shop.example", "nosuch@other.example",
                                    "users@shop.example", "info@old.example", sender="s@c.test")),
            ("10.1.2.3", sender_and("x@elsewhere.test", "x@friend.example", "x@far.example", sender="s@c.test")),
            ("10.1.2.3", sender_and("a/b@shop.example", ".x@shop.example", '"x y"@shop.example', sender="s@c.test")),
            ("127.0.0.1", sender_and("a@elsewhere.test", "b@elsewhere.test", "c@elsewhere.test", sender="form@shop.example")),
        ])
        macros = subprocess.run([os.environ["SLUICE"], "-C", conf, "-bP", "macros"], capture_output=True, text=True, timeout=60)
        if "_EXP_COND_INBOUND_SRS" in macros.stdout:
            self.answers_alike(conf, [
                ("10.1.2.3", sender_and("SRS0=xx=yy=c.test=d@shop.example", "srs1=x@other.example", sender=""))])

    def test_smarthost(self):
        self.write("aliases", "root: joe@example.net, postmaster\npostmaster: ann@elsewhere.test\ngone: :blackhole:\n"
                              "*: :fail: no such alias\n")
        self.write("passwd.client", "*:user:secret\n")
        conf = self.example("smarthost.conf", ("RELAY = relay.example.net", "RELAY = 127.0.0.2::2525"),
                            ("RESERVE = reserve.example.net", "RESERVE = 127.0.0.3::2525"))
        self.loads(conf)
        self.routes_alike(conf, ["a@elsewhere.test", "root@node.example.net", "nobody@localhost", "gone@localhost", "root", "joe@example.net",
                                 "postmaster@NODE.example.net"])
        self.answers_alike(conf, [
            ("127.0.0.1", sender_and("root@localhost", "nobody@localhost", "x@elsewhere.test", sender="cron@node.example.net")),
            ("10.1.2.3", sender_and("root@localhost", "x@elsewhere.test", sender="s@c.test")),
        ])




if __name__ == "__main__":
    unittest.main()
