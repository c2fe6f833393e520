"""SQLite lookups: rows as Exim writes them, and what Exim takes for an empty answer although it is an error."""
import os
import sqlite3
import subprocess
import unittest

from harness import Sluice, configuration, scratch

ORACLE = os.environ.get("SLUICE_ORACLE")


class Sqlite(unittest.TestCase):
    def setUp(self):
        self.dir = scratch("sqlite")
        os.chmod(self.dir, 0o777)
        self.path = os.path.join(self.dir, "db")
        self.database(self.path, "one")
        self.dirs = Sluice(configuration(f"sqlite_dbfile = {self.path}\nsqlite_lock_timeout = 1s\n"))

    def database(self, path, word):
        with sqlite3.connect(path) as db:
            db.executescript("create table t(a, b, c); create table e(x);")
            db.executemany("insert into t values(?, ?, ?)", [
                (1, "two words", None), (2, "", 'x"y'), (3, '"q', "back\\slash"), (4, "tab\tx", "nl\nx"), (5, word, "")])
        db.close()
        os.chmod(path, 0o666)

    def be(self, expression):
        done = self.dirs.run("-be", expression)
        return (done.out + done.err).rstrip("\n")

    def test_rows_as_text(self):
        for expression, expected in (
                ("{select a, b, c from t where a = 1}", 'a=1 b="two words" c=<NULL> '),
                ("{select b from t where a < 3}", "two words\n"),
                ("{select b from t where a = 3}", '"q'),
                ("{select * from t where a = 4}", 'a=4 b="tab\tx" c="nl\nx" '),
                ("{select a as \"A b\", c from t where a between 2 and 3}", 'A b=2 c=x"y \nA b=3 c=back\\slash '),
                ("{select a from t where a = 9}{yes}{no}", "no"),
                ("{delete from e where x = '${quote_sqlite:it's}'}{yes}{no}", "no"),
                ("{select '${quote_sqlite:it''s}'}", "it''s"),
                ("{select 1; select 2}", "1\n2"),
                (f"{{{self.path} select 1.5}}", "1.5"),
                ("{  select 1  }", "1"),
                ("{}{yes}{no}", "no")):
            with self.subTest(expression=expression):
                whole = "<${lookup sqlite" + expression + "}>"
                self.assertEqual(self.be(whole), f"<{expected}>")
                if ORACLE:
                    exim = subprocess.run([ORACLE, "-C", self.exim_config(), "-be", whole], capture_output=True,
                                          text=True, timeout=60, stdin=subprocess.DEVNULL)
                    self.assertEqual(exim.stdout.rstrip("\n"), f"<{expected}>")
        self.assertEqual(self.be(f"${{lookup sqlite,file={self.path}{{select a from t where a = 1}}}}"), "1")

    def exim_config(self):
        path = os.path.join(self.dir, "exim.conf")
        with open(path, "w") as f:
            f.write(f"sqlite_dbfile = {self.path}\n")
        return path

    def test_errors_defer(self):
        for expression, expected in (
                ("sqlite{selec 1}", "syntax error"), ("sqlite{select nocolumn from t}", "no such column"),
                ("sqlite{/nowhere/at/all select 1}", "unable to open"), ("sqlite{file.db select 1}", "syntax error"),
                ("sqlite,file=file.db{select 1}", "absolute file name expected"),
                (f"sqlite,file={__file__}{{select 1 from t}}", "not a database")):
            with self.subTest(expression=expression):
                said = self.be("${lookup " + expression + "{yes}{no}}")
                self.assertTrue(said.startswith("Temporary failure") and expected in said, said)

    def test_locked(self):
        """A lock that another program holds is waited for as long as configured, then the lookup defers."""
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("begin exclusive")
        self.assertIn("locked", self.be("${lookup sqlite{select 1 from t}}"))
        other.execute("commit")
        self.assertEqual(self.be("${lookup sqlite{select 1 from t limit 1}}"), "1")

    def test_another_file_takes_the_name(self):
        policy = """
begin acl
rcpt_acl:
  accept  condition = ${lookup sqlite{select 1 from t where b = '${quote_sqlite:$local_part}'}}
  deny    message = unknown here
begin routers
begin transports
"""
        sluice = Sluice(configuration(f"sqlite_dbfile = {self.path}\n", policy)).start()
        self.addCleanup(sluice.kill)
        with sluice.client() as client:
            client.ehlo()
            client.expect("MAIL FROM:<>", 250)
            client.expect("RCPT TO:<one@test>", 250)
            client.expect("RCPT TO:<two@test>", 550)
            client.expect("RCPT TO:<o'ne@test>", 550)
            new = os.path.join(self.dir, "new")
            self.database(new, "two")
            os.rename(new, self.path)
            client.expect("RCPT TO:<two@test>", 250)
            client.expect("RCPT TO:<one@test>", 550)


if __name__ == "__main__":
    unittest.main()
