"""SPF beside an independent implementation, pyspf, over thousands of random zones. The seed is printed by a failure; SLUICE_SEEDS=FIRST,COUNT gives others. Every difference that is left has its reason in explained()."""
import os
import random
import re
import shutil
import subprocess
import tempfile
import unittest
import warnings

from nameserver import SERVFAIL, SystemNameserver

BUILD = os.environ.get("SLUICE_BUILD", os.path.join(os.path.dirname(__file__), "../../build"))
FILTER = os.path.join(BUILD, "unit/unit_mailauth_test_spf_check")
SEEDS = os.environ.get("SLUICE_SEEDS", "1,3000").split(",")
PEER_SEEDS = os.environ.get("SLUICE_SEEDS", "1,750").split(",")
TOGETHER = 25  # zones that a peer is asked about in one go, since a process costs more than a question

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import spf as pyspf
except ImportError:
    pyspf = None

NAMES = ["a.test", "b.test", "c.test", "mail.a.test", "x.b.test", "y.c.test", "d.example", "nosuch.example"]
IPS = ["192.0.2.1", "192.0.2.2", "198.51.100.7", "203.0.113.9", "2001:db8::1", "2001:db8:1::2"]


def some_ip(r):
    return r.choice(IPS)


def domain_spec(r):
    return r.choice(NAMES + ["%{d}", "%{o}", "%{i}.%{d}", "%{ir}.%{v}.arpa", "%{l}.%{d2}", "%{d1r}.test", "_x.%{h}", "a.%{lr-}.test",
                             "%{L}.b.test", "%{ir}.a.test", "%{s}.test", "%{d5}", "%{o1}.test"])


def length(r):
    return r.choice(["", "", "", "/24", "/32", "/0", "/16", "//64", "/24//48", "//128"])


def term(r):
    qualifier = r.choice(["", "", "", "+", "-", "~", "?"])
    kind = r.randrange(100)
    if kind < 20:
        return qualifier + "ip4:" + r.choice(IPS[:4]) + r.choice(["", "", "/24", "/8", "/32"])
    if kind < 28:
        return qualifier + "ip6:" + r.choice(IPS[4:]) + r.choice(["", "/32", "/64", "/128"])
    if kind < 45:
        return qualifier + "a" + r.choice(["", ":" + domain_spec(r), ":" + domain_spec(r)]) + length(r)
    if kind < 58:
        return qualifier + "mx" + r.choice(["", ":" + domain_spec(r)]) + length(r)
    if kind < 72:
        return qualifier + "include:" + domain_spec(r)
    if kind < 80:
        return qualifier + "exists:" + domain_spec(r)
    if kind < 86:
        return qualifier + "ptr" + r.choice(["", ":" + r.choice(NAMES)])
    if kind < 93:
        return qualifier + "all"
    return r.choice(["foo=%{d}", "moo", "a:", "ip4:1.2.3", "all:x", "ptr:", "x-y=", "exp=" + r.choice(NAMES), "redirect=" + domain_spec(r),
                     "a/33", "ip4:192.0.2.1/33", "include", "%", "unknown=%{q}", "mx:a.test/024", "exists", "a:a..test", "-"])


def record(r):
    words = [term(r) for _ in range(r.randrange(1, 6))]
    if r.random() < 0.6:
        words.append(r.choice(["-all", "~all", "?all", "redirect=" + r.choice(NAMES)]))
    return r.choice(["v=spf1 "] * 20 + ["v=spf10 ", "V=sPf1 "]) + r.choice([" ", " ", " ", "  "]).join(words)


def zone(r):
    rows = []
    for name in NAMES[:-1]:
        if r.random() < 0.04:
            rows.append((name, "DEFER-" + r.choice(["TXT", "A", "MX"]), ""))
        for _ in range(r.choice([0, 1, 1, 1, 1, 1, 1, 1, 2])):
            rows.append((name, "TXT", record(r)))
        for _ in range(r.choice([0, 1, 1, 2])):
            ip = some_ip(r)
            rows.append((name, "AAAA" if ":" in ip else "A", ip))
        for n in range(r.choice([0, 0, 1, 2])):
            rows.append((name, "MX", f"{n} {r.choice(NAMES)}"))
    if r.random() < 0.5:
        rows.append((r.choice(IPS[:4]).replace(".", "-") + ".a.test", "A", "127.0.0.2"))
    for ip in IPS[:4]:
        if r.random() < 0.5:
            rows.append((".".join(reversed(ip.split("."))) + ".in-addr.arpa", "PTR", r.choice(NAMES)))
    return rows


def apart(text, number):
    """The same among names and addresses of its own, so that zones do not meet in one name server."""
    text = re.sub(r"\.(test|example)\b", rf".z{number}.\1", text)
    for first, to in (("192.0.2.", 20), ("198.51.100.", 60), ("203.0.113.", 100)):
        a, b, c = first.rstrip(".").split(".")
        text = re.sub(rf"(?<![\d.]){a}\.{b}\.{c}\.(?=\d)", f"{to + number}.{b}.{c}.", text)
        text = text.replace(f".{c}.{b}.{a}.in-addr", f".{c}.{b}.{to + number}.in-addr").replace(f"{a}-{b}-{c}-", f"{to + number}-{b}-{c}-")
    return text


class Ours:
    def __init__(self):
        self.process = subprocess.Popen([FILTER, "-check"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def zone(self, rows):
        self.process.stdin.write("clear\n" + "".join("zone\t%s\t%s\t%s\n" % row for row in rows))

    def check(self, ip, sender, helo):
        self.process.stdin.write(f"check\t{ip}\t{sender}\t{helo}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n").split("\t")

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def pyspf_lookup(rows):
    def lookup(name, kind, strict=True, timeout=None, level=0):
        name = name.rstrip(".").lower()
        for row in rows:
            if row[0] == name and row[1] in ("DEFER", "DEFER-" + kind):
                raise pyspf.TempError("DNS server failure")
        out = []
        for row in rows:
            if row[0] != name or row[1] != kind:
                continue
            if kind == "MX":
                out.append(((name, kind), (int(row[2].split()[0]), row[2].split()[1])))
            elif kind == "TXT":
                out.append(((name, kind), (row[2].encode(),)))
            else:
                out.append(((name, kind), row[2]))
        return out
    return lookup


def theirs(rows, ip, sender, helo):
    pyspf.DNSLookup = pyspf_lookup(rows)
    try:
        result, _, why = pyspf.query(i=ip, s=sender, h=helo, strict=True, timeout=60).check()
    except Exception as fault:  # a mistake of its own
        return "crash", type(fault).__name__
    return result, why


def explained(problem, other, why, ptr):
    """Why a difference is one of reading the RFC, or their mistake."""
    if other == "crash":
        return "pyspf raises an exception of its own"
    if other == "permerror" and "Void lookup limit" in why:
        return "it counts every question that is answered with nothing, those about MX hosts too; we count terms (4.6.4)"
    if "without an answer" in problem:
        return "we count each term; it does not count questions that its cache answers"
    if other == "permerror" and "trivial recursion" in why:
        return "it refuses a record that includes itself even where evaluation never comes to that; the RFC does not"
    if other == "temperror" and ptr:
        return "trouble with the address of a PTR name is temperror to it; the name is skipped (5.5)"
    if other == "permerror" and "MUST appear at most once" in why:
        return "it refuses unknown modifiers that come twice; only redirect and exp may not (6)"
    return None


def libspf2_explained(rows, mine, other):
    """The same for libspf2 1.2.10. By what our result says, and what stands in the zone."""
    texts = " ".join(row[2] for row in rows if row[1] == "TXT")
    if "syntax error" in mine[2]:
        return "it takes terms that the grammar has not (a:, ptr:, /024), or looks at none behind the one that decides (4.6)"
    if "more than 10" in mine[2] and other == "temperror":
        return "it says temperror where the limits of 4.6.4 say permerror"
    if "without an answer" in mine[2]:
        return "it does not count empty answers (4.6.4)"
    if other == "permerror" and re.search(r"(?:ip4:\S+|a|mx|[a-z}])/0(?!\d)", texts):
        return "it refuses a mask of no bits, which the grammar has (5.6, 12)"
    if mine[0] == "temperror" and other == "permerror":
        return "trouble with the record that is included is permerror to it (5.2)"
    if "no SPF record to include" in mine[2] and other == "temperror":
        return "a name to include that does not exist is temperror to it (5.2)"
    if "%{d5}" in texts:
        return "%{d5} of a name with fewer labels is not all of it there (7.3)"
    if other == "temperror" and "ptr" in texts:
        return "trouble with the address of a PTR name is temperror to it; the name is skipped (5.5)"
    if re.search(r"redirect=\S+ +[-+~?]?(?:a|mx|all|ip4|ip6|include|exists|ptr)\b", texts):
        return "to it redirect= ends the record, wherever it stands; it counts behind all mechanisms (6.1)"
    return None


@unittest.skipUnless(pyspf, "no python3-spf")
class Differential(unittest.TestCase):
    def test_pyspf(self):
        ours = Ours()
        self.addCleanup(ours.close)
        counts, reasons, bad = {}, {}, []
        for seed in range(int(SEEDS[0]), int(SEEDS[0]) + int(SEEDS[1])):
            r = random.Random(seed)
            rows = zone(r)
            ours.zone(rows)
            for _ in range(2):
                ip, sender, helo = some_ip(r), r.choice(["user", "strong-bad", "a+b", ""]) + "@" + r.choice(NAMES), r.choice(NAMES)
                mine = ours.check(ip, sender, helo)
                other, their_why = theirs(rows, ip, sender, helo)
                counts[mine[0]] = counts.get(mine[0], 0) + 1
                if mine[0] != other:
                    why = explained(mine[2], other, their_why, any("ptr" in row[2] for row in rows))
                    if why:
                        reasons[why] = reasons.get(why, 0) + 1
                    else:
                        bad.append((seed, ip, sender, helo, mine, other))
        if os.environ.get("SPF_VERBOSE"):
            print(counts, reasons, len(bad))
        self.assertEqual(bad[:3], [], f"{len(bad)} of {sum(counts.values())}")
        for word in ("pass", "fail", "softfail", "neutral", "none", "permerror", "temperror"):
            self.assertGreater(counts.get(word, 0), 20, "the zones are too tame")


class World:
    """A zone as a name server that programs are made to ask; another zone for each seed."""

    def __init__(self):
        self.dns = SystemNameserver()

    def zone(self, rows):
        table = {}
        for name, kind, value in rows:
            if kind == "MX":
                row = (kind, int(value.split()[0]), value.split()[1])
            elif kind.startswith("DEFER-"):
                row = (kind[6:], SERVFAIL)
            else:
                row = (kind, value)
            # Trouble stands first: the other rows of its type do not count.
            table.setdefault(name, []).insert(0 if kind.startswith("DEFER-") else len(table.get(name, [])), row)
        self.dns.zone = table


LIBSPF2_WORDS = {"(invalid)": "permerror", "unknown": "permerror", "error": "temperror"}


def libspf2(run, questions):
    """One process, a line of words from each question: its first line of four, behind what it has to complain of."""
    done = subprocess.run([run, "-file", "-"], input="".join(f"{ip} {sender} {helo}\n" for ip, sender, helo in questions),
                          capture_output=True, text=True, errors="replace", timeout=120, check=False)
    lines = re.sub(r"(?ms)^StartError\n.*?^EndError\n", "", done.stdout).split("\n")
    return [LIBSPF2_WORDS.get(line, line) for line in lines[:-1:4]]


def exim(run, questions):
    with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False) as f:
        f.write("keep_environment =\nprimary_hostname = mx.test\n")
    try:
        done = subprocess.run([run, "-C", f.name, "-be"], input="".join(f"${{lookup{{{sender}}}spf{{{ip}}}}}\n" for ip, sender, _ in questions),
                              capture_output=True, text=True, errors="replace", timeout=120, check=False)
    finally:
        os.unlink(f.name)
    words = [line.removeprefix("> ").strip() for line in done.stdout.split("\n")][:len(questions)]
    return [LIBSPF2_WORDS.get(word, word) for word in words]


@unittest.skipUnless(os.getuid() == 0, "needs root: programs that ask a name server of ours")
class BesideLibspf2(unittest.TestCase):
    """libspf2's own program, and Exim, which asks that library: here the RFC is followed where it is not, and each difference has a
    name below."""

    def beside(self, program, ask, other_reasons=lambda rows, mine: None):
        world, ours = World(), Ours()
        self.addCleanup(ours.close)
        self.addCleanup(world.dns.close)
        if not world.dns.usable:
            self.skipTest("needs mount namespaces")
        run = world.dns.wrap(program)
        same, reasons, bad = 0, {}, []
        first, count = int(PEER_SEEDS[0]), int(PEER_SEEDS[1])
        for group in range(first, first + count, TOGETHER):
            zones, questions = [], []
            for seed in range(group, min(group + TOGETHER, first + count)):
                r = random.Random(seed)
                rows = [(apart(name, seed - group), kind, apart(value, seed - group)) for name, kind, value in zone(r)]
                zones.append(rows)
                for _ in range(4):
                    ip, name, helo = some_ip(r), r.choice(["user", "strong-bad", "a+b"]) + "@" + r.choice(NAMES), r.choice(NAMES)
                    questions.append((seed, rows, tuple(apart(word, seed - group) for word in (ip, name, helo))))
            world.zone([row for rows in zones for row in rows])
            asked = None
            for (seed, rows, question), other in zip(questions, ask(run, [q for _, _, q in questions]), strict=True):
                if asked is not rows:
                    ours.zone(rows)
                    asked = rows
                mine = ours.check(*question)
                if mine[0] == other:
                    same += 1
                    continue
                why = libspf2_explained(rows, mine, other) or other_reasons(rows, mine)
                if why:
                    reasons[why] = reasons.get(why, 0) + 1
                else:
                    bad.append((seed, question, mine, other))
        if os.environ.get("SPF_VERBOSE"):
            print(program, same, reasons, len(bad))
            for row in bad[:int(os.environ["SPF_VERBOSE"])]:
                print(row)
        self.assertEqual(bad[:3], [], f"{len(bad)} differences without a name")
        self.assertGreater(same, sum(reasons.values()), reasons)

    @unittest.skipUnless(shutil.which("spfquery"), "no spfquery")
    def test_libspf2(self):
        self.beside(shutil.which("spfquery"), libspf2)

    @unittest.skipUnless(os.environ.get("SLUICE_ORACLE"), "no Exim")
    def test_exim(self):
        def no_helo(rows, mine):
            return "its lookup knows no HELO name" if any("%{h}" in row[2] for row in rows) else None
        self.beside(os.path.abspath(os.environ["SLUICE_ORACLE"]), exim, no_helo)


if __name__ == "__main__":
    unittest.main()
