"""Debian's stock configuration of Exim loads unchanged, in each of its kinds, and routes as in the real Exim: for 300
addresses the same router, transport and verdict. The template is not ours to keep: it comes with the test set-up."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

PEERS = os.environ.get("SLUICE_PEERS", "/nonexistent")
TEMPLATE = os.path.join(os.environ.get("SLUICE_STOCK", os.path.join(PEERS, "etc/exim4")), "exim4.conf.template")
ALIASES = """root: alice
mailer-daemon: postmaster
postmaster: root
alice: alice@remote.relay.example
list: alice, bob@b.example, "carol smith"@relay.example
fail: :fail: gone away
bh: :blackhole:
defer: :defer: not now
loop: loop2
loop2: loop
nobody2: nosuchuser
"""
LOCAL_PARTS = ["root", "daemon", "nobody", "mail", "alice", "postmaster", "mailer-daemon", "list", "fail", "bh", "defer", "loop",
               "nobody2", "nosuch", "Root", "POSTMASTER", "root-suffix", "root+x", ".dot", "a/b", "a|b", "a%b", "x!test",
               '"quoted user"', '"a b"', "real-root", "backup", "www-data"]
DOMAINS = ["a.example", "b.example", "A.EXAMPLE", "mx.example", "localhost", "relay.example", "sub.relay.example", "remote.test",
           "[127.0.0.1]", "[10.1.2.3]"]
ADDRESSES = [f"{local}@{domain}" for local in LOCAL_PARTS for domain in DOMAINS] + \
    ["root", "alice", "nosuch", "@a.example", "root@", "root@a..example", "<root@a.example>", "root@-x.example", "root@[foo]", "root@[IPv6:zz]", "root@[1.2.3.4"]


def exim():
    path = os.environ.get("SLUICE_ORACLE", os.path.join(PEERS, "bin/exim"))
    return path if os.access(path, os.X_OK) else None


@unittest.skipUnless(os.path.exists(TEMPLATE), "no exim4.conf.template here (SLUICE_STOCK)")
class Debian(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="sluice-stock-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        os.chmod(self.dir, 0o755)
        self.write("aliases", ALIASES)
        self.write("mailname", "a.example\n")

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def stock(self, kind):
        """The template with what update-exim4.conf would have put in."""
        with open(TEMPLATE) as f:
            text = f.read()
        text = text.replace("UPEX4CmacrosUPEX4C = 1", f"""MAIN_HARDCODE_PRIMARY_HOSTNAME = mx.example
DCconfig_{kind} = 1
LOCAL_DELIVERY = mail_spool
DCsmarthost = 127.0.0.1::2525
DCreadhost =
MAIN_LOCAL_DOMAINS = @:localhost:a.example:b.example
MAIN_RELAY_TO_DOMAINS = relay.example
MAIN_RELAY_NETS = 10.0.0.0/8
MAIN_QUALIFY_DOMAIN = a.example
""")
        for stock, mine in [("/etc/aliases", "/aliases"), ("/var/spool/exim4", "/spool"), ("/var/log/exim4", "/log"),
                            ("/etc/mailname", "/mailname"), ("CONFDIR = /etc/exim4", "")]:
            text = text.replace(stock, self.dir + mine if mine else "CONFDIR = " + self.dir)
        return self.write("config-" + kind, text)

    def test_each_kind_loads(self):
        for kind in ("internet", "smarthost", "satellite", "local", "none"):
            with self.subTest(kind):
                run = subprocess.run([os.environ["SLUICE"], "-C", self.stock(kind), "-bV"], capture_output=True, text=True,
                                     timeout=60)
                self.assertEqual(run.returncode, 0, run.stderr)

    def routed(self, command, config, address):
        run = subprocess.run([command, "-C", config, "-bt", address], capture_output=True, text=True, timeout=60)
        # Domains are shown in lower case here and as given there; several addresses may come in another order.
        return sorted(re.sub(r"^    <-- .*\n", "", run.stdout + "\n", flags=re.M).lower().split("\n"))

    @unittest.skipUnless(exim(), "no Exim here (SLUICE_ORACLE)")
    def test_addresses_go_the_same_way(self):
        config = self.stock("smarthost")
        for address in ADDRESSES:
            with self.subTest(address):
                self.assertEqual(self.routed(os.environ["SLUICE"], config, address), self.routed(exim(), config, address))


if __name__ == "__main__":
    unittest.main()
