"""dns_cname_loops: a resolver that does not follow aliases, beside Exim."""
import os
import unittest

from harness import SLUICE, SluiceTest
from nameserver import SystemNameserver

ORACLE = os.environ.get("SLUICE_ORACLE", "")
ZONE = {"a.test": [("A", "192.0.2.1"), ("MX", 10, "a.test")], "one.test": [("CNAME", "a.test")], "two.test": [("CNAME", "one.test")],
        "three.test": [("CNAME", "two.test")], "dead.test": [("CNAME", "nowhere.test")], "la.test": [("CNAME", "lb.test")],
        "lb.test": [("CNAME", "la.test")]}
LINES = [f"${{lookup dnsdb{{{kind}={name}}}{{<$value>}}{{none}}}}" for name in ZONE for kind in ("a", "mx", "cname")]


class Stub(SystemNameserver):
    """One alias at a time, and what it stands for is left to those who ask."""

    def records(self, question):
        rows = self.rows(question.name)
        if not rows:
            return super().records(question)
        found = [(question.name, row[0], row[1:]) for row in rows if row[0] in ("CNAME", question.kind)]
        return 0, found


class Aliases(SluiceTest):
    def told(self, program, loops):
        box = self.sluice(f"primary_hostname = mx.test\nspool_directory = DIR/spool\nlog_file_path = DIR/%s\nkeep_environment =\n{loops}\n", start=False)
        os.chmod(box.dir, 0o777)
        done = box.run("-be", *LINES, program=self.dns.wrap(program), check=0)
        return dict(zip(LINES, done.out.splitlines()))

    def setUp(self):
        self.dns = Stub(ZONE)
        self.addCleanup(self.dns.close)
        if os.getuid() != 0 or not self.dns.usable:
            self.skipTest("needs root, port 53 of a loopback address and a mount namespace")

    def look(self, loops, names):
        ours = self.told(SLUICE, loops)
        self.assertEqual(len(ours), len(LINES))
        self.assertEqual([name for name in ZONE if ours[f"${{lookup dnsdb{{a={name}}}{{<$value>}}{{none}}}}"] == "<192.0.2.1>"], names)
        if os.access(ORACLE, os.X_OK):
            theirs = self.told(ORACLE, loops)
            self.assertEqual({line: said for line, said in ours.items() if said != theirs.get(line)}, {}, theirs)

    def test_default(self):
        self.look("", ["a.test", "one.test"])

    def test_none(self):
        self.look("dns_cname_loops = 0", ["a.test"])

    def test_more(self):
        self.look("dns_cname_loops = 5", ["a.test", "one.test", "two.test", "three.test"])


if __name__ == "__main__":
    unittest.main()
