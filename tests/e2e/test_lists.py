"""Lists and lookups: thousands of questions, the same to sluice and to the real Exim, in a world with a name server."""
import os
import subprocess
import sys
import unittest

import dns_world
from test_differential_be import exim

HERE = os.path.dirname(os.path.abspath(__file__))


@unittest.skipUnless(exim(), "no Exim here (SLUICE_ORACLE, or ./dev deps test)")
@unittest.skipUnless(dns_world.world_possible(), "no namespaces here")
class DifferentialLists(unittest.TestCase):
    def compare(self, part, count):
        run = dns_world.run_in_world(
            [sys.executable, os.path.join(HERE, "differential_lists.py"), "--exim", exim(), "--sluice", os.environ["SLUICE"],
             "--only", part, "--count", str(count)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=280)
        out = run.stdout.decode("utf-8", "replace")
        print(out.splitlines()[-1] if out else "no output", file=sys.stderr)
        self.assertEqual(run.returncode, 0, out[-4000:])

    def test_conditions(self):
        self.compare("conditions", 8)

    def test_acls(self):
        self.compare("acls", 3)

    def test_routing(self):
        self.compare("routing", 20)

    def test_dnsdb(self):
        self.compare("dnsdb", 0)

    def test_lookups(self):
        self.compare("lookups", 0)


if __name__ == "__main__":
    unittest.main()
