"""Lookups in PostgreSQL and MariaDB, with servers of our own on a temporary directory: rows as Exim gives them (asked the
same), quoting, the next server, a server that goes away and comes back."""
import glob
import os
import shutil
import signal
import socket
import subprocess
import unittest

from harness import USER, Sluice, configuration, free_port, scratch, until

ORACLE = os.environ.get("SLUICE_ORACLE")
ROWS = [(1, "two words", None), (2, "", 'x"y'), (3, '"q', "back\\slash"), (4, "tab\tx", "nl\nx")]
QUOTED = r"""it's a \\ "x"; drop table t; --"""


def literal(value, prefix):
    if value is None:
        return "null"
    return str(value) if isinstance(value, int) else prefix + "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


class Server:
    """A database server that we start, on a free port and a Unix socket."""

    def __init__(self):
        self.dir = scratch("sql")
        os.chmod(self.dir, 0o755)
        if os.getuid() == 0:
            shutil.chown(self.dir, USER)
        self.process = None
        self.install()
        for _ in range(10):
            self.port = free_port()
            if self.start():
                break
        else:
            raise AssertionError(f"{self.name} does not start: {self.log()}")
        self.statement(*self.first)
        inserts = ", ".join("(" + ", ".join(literal(v, self.prefix) for v in row) + ")" for row in ROWS)
        self.statement("create table t(a int, b text, c text)", f"insert into t values {inserts}",
                       "create table e(x text)")

    def as_user(self):
        return {"user": USER} if os.getuid() == 0 else {}

    def log(self):
        with open(os.path.join(self.dir, "log"), errors="replace") as f:
            return f.read()[-2000:]

    def start(self):
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.dir, **self.as_user())
        return until(lambda: "up" if self.is_up() else "ended" if self.process.poll() is not None else None,
                     lambda: f"{self.name} to start: {self.log()}") == "up"

    def is_up(self):
        return self.client("select 1").returncode == 0

    def statement(self, *statements):
        for text in statements:
            done = self.client(text)
            if done.returncode:
                raise AssertionError(f"{text}: {done.stderr}")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
        self.process.wait(60)


class Postgres(Server):
    name, database, user = "pgsql", "postgres", "postgres"
    first = ()
    prefix = "E"  # of a literal with backslashes
    stop_signal = signal.SIGINT

    def install(self):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
        self.programs = os.path.dirname(found[-1])
        subprocess.run([f"{self.programs}/initdb", "-D", "data", "-A", "trust", "-U", "postgres", "--no-sync"],
                       check=True, capture_output=True, cwd=self.dir, timeout=120, **self.as_user())

    def command(self):
        self.socket = f"{self.dir}/.s.PGSQL.{self.port}"
        return [f"{self.programs}/postgres", "-D", "data", "-p", str(self.port), "-k", self.dir, "-h", "127.0.0.1",
                "-F"]

    def client(self, text):
        return subprocess.run(["psql", "-qX", "-h", self.dir, "-p", str(self.port), "-U", "postgres", "-c", text],
                              capture_output=True, text=True, timeout=60)


class Maria(Server):
    name, database, user = "mysql", "d", "u"
    first = ("create database d", "create user u@'127.0.0.1' identified by 'pw'",
             "create user u@localhost identified by 'pw'", "grant all on d.* to u@'127.0.0.1'",
             "grant all on d.* to u@localhost",
             "create procedure d.p() begin select 5; select 6; end")
    prefix = ""
    stop_signal = signal.SIGTERM

    def install(self):
        owner = ["--user=" + USER] if os.getuid() == 0 else []
        subprocess.run(["mariadb-install-db", "--no-defaults", *owner, "--datadir=" + self.dir + "/data",
                        "--auth-root-authentication-method=normal", "--skip-test-db"],
                       check=True, capture_output=True, cwd=self.dir, timeout=120)

    def command(self):
        self.socket = f"{self.dir}/s"
        owner = ["--user=" + USER] if os.getuid() == 0 else []
        return ["mariadbd", "--no-defaults", *owner, "--datadir=" + self.dir + "/data", "--socket=" + self.socket,
                "--port=" + str(self.port), "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=16M",
                "--innodb-flush-log-at-trx-commit=0"]

    def as_user(self):
        return {}  # it changes by itself

    def client(self, text):
        database = ["d"] if hasattr(self, "made") else []
        done = subprocess.run(["mariadb", "--no-defaults", "-S", self.socket, "-uroot", "--delimiter=//", *database,
                               "-e", text],
                              capture_output=True, text=True, timeout=60)
        if text.startswith("create database") and not done.returncode:
            self.made = True
        return done


class Lookups:
    @classmethod
    def setUpClass(cls):
        cls.server = cls.kind()
        s = cls.server
        cls.here = f"127.0.0.1::{s.port}/{s.database}/{s.user}/pw"
        cls.main = f"hide {s.name}_servers = {cls.here}\n"
        cls.dirs = Sluice(configuration(cls.main))
        cls.exim = os.path.join(s.dir, "exim.conf")
        with open(cls.exim, "w") as f:
            f.write(cls.main)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def be(self, expression, dirs=None):
        done = (dirs or self.dirs).run("-be", expression)
        return (done.out + done.err).rstrip("\n")

    def same(self, expression, expected):
        """${lookup TYPE...}: what it gives here, and in Exim."""
        whole = "<${lookup " + self.server.name + expression + "}>"
        self.assertEqual(self.be(whole), f"<{expected}>", expression)
        if ORACLE:
            exim = subprocess.run([ORACLE, "-C", self.exim, "-be", whole], capture_output=True, text=True, timeout=60,
                                  stdin=subprocess.DEVNULL)
            self.assertEqual(exim.stdout.rstrip("\n"), f"<{expected}>", expression)

    def test_rows_as_text(self):
        self.same("{select * from t where a < 3}", 'a=1 b="two words" c="" \na=2 b="" c=x"y ')
        self.same("{select * from t where a > 2}", 'a=3 b="\\"q" c=back\\slash \na=4 b="tab\tx" c="nl\nx" ')
        self.same("{select b from t order by a}", 'two words\n\n"q\ntab\tx')
        self.same("{select b from t where a = 9}{yes}{no}", "no")
        self.same("{}{yes}{no}", "no")
        self.same("{select a from t where a = 9}", "")

    def test_changes(self):
        self.same("{insert into e values('1'), ('2')}", "2")
        changed = self.be(f"${{lookup {self.server.name}{{delete from e}}}}")
        self.assertGreaterEqual(int(changed), 2)

    def test_quoting(self):
        escaped = "E" if self.server.name == "pgsql" else ""
        whole = f"{{select {escaped}'${{quote_{self.server.name}:{QUOTED}}}'}}"
        self.same(whole, QUOTED.replace("\\\\", "\\"))
        self.same("{select count(*) from t}", "4")

    def test_servers(self):
        s = self.server
        self.same(f",servers=({s.socket})/{s.database}/{s.user}/pw{{select 7}}", "7")
        self.same(f",servers={self.here}{{select 7}}", "7")
        self.same(f",servers=127.0.0.1::{s.port}{{select 8}}", "8")
        self.same(f",servers=127.0.0.1::{free_port()}/d/u/secret:{self.here}{{select 9}}", "9")
        said = self.be(f"${{lookup {s.name},servers=127.0.0.1::{free_port()}/d/u/secret{{select 7}}{{yes}}{{no}}}}")
        self.assertTrue(said.startswith("Temporary failure"), said)
        self.assertNotIn("secret", said)
        self.assertIn("is not host/database/user/password",
                      self.be(f"${{lookup {s.name},servers=a/b{{select 7}}}}"))
        self.assertIn("nor one of the configuration", self.be(f"${{lookup {s.name},servers=ab{{select 7}}}}"))

    def test_errors_defer(self):
        for query in ("selec", "select nocolumn from t", "select * from notable"):
            said = self.be(f"${{lookup {self.server.name}{{{query}}}{{yes}}{{no}}}}")
            self.assertTrue(said.startswith("Temporary failure") and "query failed" in said, said)

    def test_away_and_back(self):
        s = self.server
        quoted = f"${{quote_{s.name}:$local_part}}"
        policy = f"""
begin acl
rcpt_acl:
  accept  condition = ${{lookup {s.name},cache=no_rd{{select 1 from t where b = '{quoted}'}}}}
  deny    message = unknown here
begin routers
begin transports
"""
        s.statement("insert into t values(5, 'alice', 'o')")
        sluice = Sluice(configuration(self.main, policy)).start()
        self.addCleanup(sluice.kill)
        with sluice.client() as client, sluice.client() as other:
            client.ehlo()
            client.expect("MAIL FROM:<>", 250)
            client.expect("RCPT TO:<alice@test>", 250)
            client.expect("RCPT TO:<al'ice@test>", 550)
            s.stop()
            client.expect("RCPT TO:<alice@test>", 451)
            other.ehlo()
            self.assertTrue(s.start())
            until(lambda: client.cmd("RCPT TO:<alice@test>").code == 250, "the server to be used again")
        s.statement("delete from t where a = 5")


class Pgsql(Lookups, unittest.TestCase):
    kind = Postgres


class Mysql(Lookups, unittest.TestCase):
    kind = Maria

    def test_procedure(self):
        self.same("{call p()}", "5")
        self.same("{select 1}", "1")
        self.same("{select c from t where a = 1}{yes}{no}", "no")


if __name__ == "__main__":
    unittest.main()
