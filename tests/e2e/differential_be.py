#!/usr/bin/python3
"""Runs the lines of a corpus through "exim -be" and through "sluice -be" and compares what they answer.

    differential_be.py [--corpus FILE] [--words] [--golden FILE] --exim EXIM --sluice "SLUICE ..."

A line counts as equal when the results are the same text, or when both refuse it: the words of refusals are compared
too and counted apart, as are lines on which Exim crashes. Differences that are meant stand in
tests/differences.md as indented code, and are left out of the verdict. Exit 1: there is an unexplained difference.
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

import expand_lines

HERE = os.path.dirname(os.path.abspath(__file__))
CONF = """primary_hostname = mx.example.org
qualify_domain = example.org
keep_environment = HOME
domainlist local_domains = a.example : b.example : +other
domainlist other = c.example
hostlist relays = 127.0.0.1 : ::::1
addresslist bad = a@b : *@c.example
localpartlist roles = postmaster : abuse
"""
MARK = "@@%d@@"


CHUNK = 2000


def answers_of_run(command, lines):
    """The answers of one run, in order; fewer than lines if it died. Each line is followed by a mark that answers itself."""
    text = "".join("%s\n%s\n" % (line, MARK % i) for i, line in enumerate(lines))
    run = subprocess.run(command, input=text.encode("utf-8", "surrogateescape"), capture_output=True, timeout=600)
    got = "\n" + run.stdout.decode("utf-8", "surrogateescape")
    out = []
    start = 0
    for i in range(len(lines)):
        for mark in ("\n> " + MARK % i + "\n", "\n" + MARK % i + "\n"):
            at = got.find(mark, start)
            if at >= 0:
                answer = got[start + 1:at]
                start = at + len(mark) - 1
                out.append(answer[2:] if answer.startswith("> ") else answer)
                break
        else:
            break
    return out, run.stderr


def answers(command, lines):
    """The answers to the lines; None where the program died."""
    out = []
    while len(out) < len(lines):
        todo = lines[len(out):len(out) + CHUNK]
        got, stderr = answers_of_run(command, todo)
        if not got and not out:
            raise SystemExit("%s gives no answers: %s" % (command, stderr.decode(errors="replace")[-500:]))
        out += got
        if len(got) < len(todo):
            out.append(None)
    return out


def alone(command, line, answer):
    """Does Exim say the same when it is asked nothing else? A line that fails leaves its $value and $1 to the next."""
    run = subprocess.run(command + [line], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    got = run.stdout.decode("utf-8", "surrogateescape").rstrip("\n")
    return got == answer.rstrip("\n") or (failed(got) and failed(answer))


class Explained:
    """The indented lines of differences.md: lines of the corpus, and between "/" regular expressions for whole ones."""

    def __init__(self):
        path = os.path.join(HERE, "..", "differences.md")
        with open(path, encoding="utf-8", errors="surrogateescape") as f:
            text = f.read()
        # Lists and lookups have a harness of their own; behind "# SMTP" there are no lines.
        text = re.sub(r"\n## Lists and lookups\n.*?\n(?=## )", "\n", text, flags=re.S).split("\n# SMTP")[0]
        entries = [line[4:] for line in text.split("\n") if line.startswith("    ")]
        self.lines = {entry for entry in entries if not entry.startswith("/")}
        self.patterns = [re.compile(entry[1:-1], re.S) for entry in entries if entry.startswith("/") and entry.endswith("/")]
        self.used = set()

    def entries(self):
        return self.lines | {pattern.pattern for pattern in self.patterns}

    def has(self, line):
        if line in self.lines:
            self.used.add(line)
            return True
        found = [pattern.pattern for pattern in self.patterns if pattern.fullmatch(line)]
        self.used.update(found)
        return bool(found)


def failed(answer):
    return answer is None or "Failed: " in answer or answer.startswith(("Deferred: ", "Temporary failure: "))


class Verdict:
    def __init__(self, words):
        self.words = words
        self.count = dict.fromkeys(("same", "words", "crashed", "known", "differ"), 0)

    def tell(self, what, line, exim, sluice):
        print("%-6s %s\n   exim   %s\n   sluice %s" % (what, line, exim, sluice))

    def judge(self, line, exim, sluice, meant, command):
        if sluice is None:
            kind = "differ"
        elif exim is None:
            kind = "crashed"
        elif exim == sluice:
            kind = "same"
        elif failed(exim) and failed(sluice):
            kind = "words"
        elif meant.has(line):
            kind = "known"
        else:
            kind = "same" if alone(command, line, sluice) else "differ"
        self.count[kind] += 1
        if kind == "differ" or (kind == "words" and self.words):
            self.tell("CRASH" if sluice is None else kind.upper(), line, exim, sluice)


def golden_write(path, lines, theirs, ours):
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as f:
        f.write("# Lines of the corpus and what both Exim 4.98.2 and sluice make of them (\\n: a line end).\n")
        for line, a, b in zip(lines, theirs, ours):
            # What depends on the day or the machine is no regression test.
            if a == b and a is not None and not any(word in line for word in ("prvs", "stat:", "$pid", "tod_", "{HOME}", "sender_", "${run")):
                f.write("%s\n= %s\n" % (line, a.replace("\\", "\\\\").replace("\n", "\\n")))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", default=os.path.join(HERE, "expand_corpus.txt"))
    parser.add_argument("--exim", default=os.environ.get("EXIM", "exim4"))
    parser.add_argument("--sluice", default=os.environ.get("SLUICE", "sluice"))
    parser.add_argument("--filter", action="store_true", help="sluice is a test filter that takes only -be")
    parser.add_argument("--golden", help="write the lines that are equal, with their results, to this file")
    parser.add_argument("--words", action="store_true", help="show refusals in other words too")
    parser.add_argument("--made", action="store_true", help="the lines of expand_lines.py instead of a corpus")
    parser.add_argument("--group", action="append", help="only these groups of the lines of expand_lines.py")
    parser.add_argument("--every", type=int, default=1, help="only every so-manieth line")
    parser.add_argument("--needed", help="append to this file the entries of differences.md that a line needed")
    parser.add_argument("--unused", action="store_true", help="show the entries of differences.md that no line needed")
    options = parser.parse_args()
    if options.made:
        lines = list(expand_lines.lines(options.group))
    else:
        with open(options.corpus, encoding="utf-8", errors="surrogateescape") as f:
            lines = [line.rstrip("\n") for line in f if line.strip() and not line.startswith("#")]
    lines = lines[::options.every]
    meant = Explained()
    verdict = Verdict(options.words)
    sys.stdout.reconfigure(errors="surrogateescape")
    with tempfile.TemporaryDirectory() as tmp, concurrent.futures.ThreadPoolExecutor(2) as pool:
        conf = os.path.join(tmp, "conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(CONF)
        exim = [options.exim, "-C", conf, "-be"]
        theirs = pool.submit(answers, exim, lines)
        ours = answers(options.sluice.split() + ([] if options.filter else ["-C", conf]) + ["-be"], lines)
        theirs = theirs.result()
        for line, a, b in zip(lines, theirs, ours):
            verdict.judge(line, a, b, meant, exim)
    if options.golden:
        golden_write(options.golden, lines, theirs, ours)
    if options.unused:
        print("\n".join("UNUSED " + entry for entry in meant.entries() - meant.used))
    if options.needed:
        with open(options.needed, "a", encoding="utf-8", errors="surrogateescape") as f:
            f.write("".join(entry + "\n" for entry in sorted(meant.used)))
    print("%d lines: %d the same text, %d refused by both in other words, %d on which Exim crashes, "
          "%d differences explained, %d not" % (len(lines), *verdict.count.values()))
    return 1 if verdict.count["differ"] else 0


if __name__ == "__main__":
    sys.exit(main())
