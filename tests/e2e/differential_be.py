#!/usr/bin/python3
"""Runs the lines of a corpus through "exim -be" and through "sluice -be" and compares what they answer.

    differential_be.py [--corpus FILE] [--words] [--golden FILE] --exim EXIM --sluice "SLUICE ..."

A line counts as equal when the results are the same text, or when both refuse it: the words of refusals are compared
too and counted apart, as are lines on which Exim crashes. Differences that are meant stand in
tests/differences.md as indented code, and are left out of the verdict. Exit 1: there is an unexplained difference.
"""
import argparse
import os
import subprocess
import sys
import tempfile

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


def answers(command, lines):
    """The answers to the lines; None where the program died. Each line is followed by a mark that answers itself."""
    out = []
    while len(out) < len(lines):
        todo = lines[len(out):]
        text = "".join("%s\n%s\n" % (line, MARK % i) for i, line in enumerate(todo))
        run = subprocess.run(command, input=text.encode("utf-8", "surrogateescape"), capture_output=True, timeout=600)
        got = run.stdout.decode("utf-8", "surrogateescape")
        start = len(out)
        for i in range(len(todo)):
            for mark in ("\n> " + MARK % i + "\n", "\n" + MARK % i + "\n"):
                at = ("\n" + got).find(mark)
                if at >= 0:
                    answer = ("\n" + got)[1:at] if at else ""
                    got = ("\n" + got)[at + len(mark):]
                    out.append(answer[2:] if answer.startswith("> ") else answer)
                    break
            else:
                break
        if len(out) < len(lines):
            out.append(None)
        if len(out) == start:
            raise SystemExit("%s gives no answers: %s" % (command, run.stderr.decode()[-500:]))
    return out


def explained():
    path = os.path.join(HERE, "..", "differences.md")
    if not os.path.exists(path):
        return set()
    with open(path, encoding="utf-8", errors="surrogateescape") as f:
        return {line[4:].rstrip("\n") for line in f if line.startswith("    ")}


def failed(answer):
    return answer is None or "Failed: " in answer or answer.startswith(("Deferred: ", "Temporary failure: "))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", default=os.path.join(HERE, "expand_corpus.txt"))
    parser.add_argument("--exim", default=os.environ.get("EXIM", "exim4"))
    parser.add_argument("--sluice", default=os.environ.get("SLUICE", "sluice"))
    parser.add_argument("--filter", action="store_true", help="sluice is a test filter that takes only -be")
    parser.add_argument("--golden", help="write the lines that are equal, with their results, to this file")
    parser.add_argument("--words", action="store_true", help="show refusals in other words too")
    options = parser.parse_args()
    with open(options.corpus, encoding="utf-8", errors="surrogateescape") as f:
        lines = [line.rstrip("\n") for line in f if line.strip() and not line.startswith("#")]
    with tempfile.TemporaryDirectory() as tmp:
        conf = os.path.join(tmp, "conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(CONF)
        theirs = answers([options.exim, "-C", conf, "-be"], lines)
        ours = answers(options.sluice.split() + ([] if options.filter else ["-C", conf]) + ["-be"], lines)
    meant = explained()
    same = words = differ = known = crashed = 0
    for line, a, b in zip(lines, theirs, ours):
        if b is None:
            print("CRASH  %s" % line)
            differ += 1
        elif a is None:
            crashed += 1
        elif a == b:
            same += 1
        elif failed(a) and failed(b):
            words += 1
            if options.words:
                print("WORDS  %s\n   exim   %s\n   sluice %s" % (line, a, b))
        elif line in meant:
            known += 1
        else:
            differ += 1
            print("DIFFER %s\n   exim   %s\n   sluice %s" % (line, a, b))
    if options.golden:
        with open(options.golden, "w", encoding="utf-8", errors="surrogateescape") as f:
            f.write("# Lines of the corpus and what both Exim 4.98.2 and sluice make of them (\\n: a line end).\n")
            for line, a, b in zip(lines, theirs, ours):
                # What depends on the day or the machine is no regression test.
                if a == b and a is not None and not any(word in line for word in ("prvs", "stat:", "$pid", "tod_")):
                    f.write("%s\n= %s\n" % (line, a.replace("\\", "\\\\").replace("\n", "\\n")))
    print("%d lines: %d the same text, %d refused by both in other words, %d on which Exim crashes, "
          "%d differences explained, %d not" % (len(lines), same, words, crashed, known, differ))
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
