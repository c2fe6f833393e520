"""Expansions: every line of the corpus gives the same in sluice and in the real Exim, or the difference is explained."""
import os
import subprocess
import sys
import tempfile
import unittest

import differential_be

HERE = os.path.dirname(os.path.abspath(__file__))


def exim():
    for path in (os.environ.get("SLUICE_ORACLE"), os.path.join(os.environ.get("SLUICE_PEERS", "/nonexistent"), "bin/exim")):
        if path and os.access(path, os.X_OK):
            return path
    return None


class DifferentialBe(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="sluice-be-")
        cls.addClassCleanup(cls.folder.cleanup)

    def compare(self, *more):
        run = subprocess.run([sys.executable, os.path.join(HERE, "differential_be.py"), "--exim", exim(),
                              "--sluice", os.environ["SLUICE"], "--needed", os.path.join(self.folder.name, "needed"), *more], capture_output=True, text=True, errors="replace",
                             timeout=280)
        print(run.stdout.splitlines()[-1] if run.stdout else run.stderr, file=sys.stderr)
        self.assertEqual(run.returncode, 0, run.stdout[-4000:] + run.stderr[-2000:])

    @unittest.skipUnless(exim(), "no Exim here (SLUICE_ORACLE, or ./dev deps test)")
    def test_corpus(self):
        self.compare()

    @unittest.skipUnless(exim(), "no Exim here (SLUICE_ORACLE, or ./dev deps test)")
    def test_made_lines(self):
        self.compare("--made")

    @unittest.skipUnless(exim(), "no Exim here (SLUICE_ORACLE, or ./dev deps test)")
    def test_needed(self):
        """After the other two: each entry of differences.md is still a difference."""
        try:
            with open(os.path.join(self.folder.name, "needed"), encoding="utf-8", errors="surrogateescape") as f:
                needed = set(f.read().split("\n"))
        except FileNotFoundError:
            self.skipTest("alone")
        self.assertEqual(differential_be.Explained().entries() - needed, set())

    def test_without_exim(self):
        """What goes wrong is told on standard output, and does not stop the lines behind it."""
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
            conf.write("primary_hostname = mx.example.org\n")
            conf.flush()
            run = subprocess.run([os.environ["SLUICE"], "-C", conf.name, "-be"], capture_output=True, text=True, timeout=60,
                                 input="${nosuch:x}\n${if eq{a}{b}{x}fail}\n${lc:\\\nABC}\n")
        self.assertEqual(run.stdout.replace("> ", "").rstrip("\n").splitlines(),
                         ['Failed: unknown expansion operator "nosuch"', 'Failed: "if" failed and "fail" requested', "abc"])


if __name__ == "__main__":
    unittest.main()
