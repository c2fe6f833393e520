"""perf/resumption, with few connections: it is there when somebody wants to measure, and clients that come back are known over
shards and over a restart."""
import os
import subprocess
import sys
import unittest

from harness import SLUICE


class Resumption(unittest.TestCase):
    def test_small(self):
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../perf/resumption")
        run = subprocess.run([sys.executable, program, "--connections", "40", "--sluice", SLUICE], capture_output=True, text=True, timeout=240)
        self.assertEqual(0, run.returncode, run.stdout + run.stderr)
        self.assertIn("18 resumed; 20 after it: 20;", run.stdout)


if __name__ == "__main__":
    unittest.main()
