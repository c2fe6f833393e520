"""ACLs of every place, in whole sessions: each reply is what Exim says, or explained in ../differences.md
(tests/e2e/acl_sessions.txt)."""
import os
import re
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))


def exim():
    path = os.environ.get("SLUICE_ORACLE")
    return path if path and os.access(path, os.X_OK) else None


# What is said in each session of acl_sessions.txt; each step's reply is compared.
STEPS = ["connect", "EHLO c.test", "VRFY v@good.test", "EXPN list@good.test", "ETRN #q", "MAIL FROM:<s@client.test> SIZE=1000",
         "RCPT TO:<a@good.test>", "RCPT TO:<B@good.test>", "DATA", ".", "MAIL FROM:<>", "QUIT"]
BODY = """From: Sender <s@client.test>
To: a@good.test
Subject: the subject
X-Gone: going
Message-ID: <1@client.test>
Date: Sat, 21 Nov 2026 07:00:00 +0000

one
two
"""
PLACES_MAIN = """primary_hostname = mx.test
spool_directory = SPOOL
host_lookup =
dns_ipv4_lookup = *
smtp_banner = mx.test ready
OPTIONS
begin acl
"""
PLACES_REST = """
accept_all:
  accept
begin routers
r:
  driver = accept
  domains = client.test : good.test
  transport = t
begin transports
t:
  driver = appendfile
  file = /dev/null
  user = nobody
"""
# What the cases find in DIR.
FILES = {
    "acl_file": "accept message = from the file\n",
    "ips": "10.1.2.0/24: net data\n",
    "nets": "10.1.2.0/24: net data\n10.1.2.0: plain\n",
    "domains": "good.test: some data\n*.good.test: wild\n",
    "locals": "a: data of a\n",
}


def session_cases(ours):
    """(name, {place: lines of the ACL}, {step: reply}); ours: with the replies behind "!", which are sluice's alone."""
    found = []
    place = None
    with open(os.path.join(HERE, "acl_sessions.txt")) as f:
        for line in f:
            line = line.rstrip("\n")
            if line.startswith("#") or not line.strip():
                continue
            if line.startswith("! "):
                if ours:
                    step, reply = line[2:].split(": ", 1)
                    found[-1][2][step] = reply
            elif line.startswith("= "):
                step, reply = line[2:].split(": ", 1)
                found[-1][2][step] = reply
            elif line.startswith("@"):
                place = line[1:]
                found[-1][1][place] = []
            elif place and found and line != found[-1][0] and (line[0] == " " or " " in line or line in
                                                               ("accept", "deny", "defer", "drop", "discard")):
                found[-1][1][place].append(line)
            elif place and found[-1][1].get(place) == [] and place.endswith("_option"):
                found[-1][1][place].append(line)
            else:
                found.append((line, {}, {}))
                place = None
    return found


def configuration_of(name, places, tmp):
    options, acls = {"rcpt": "accept_all", "vrfy": "accept_all", "expn": "accept_all", "etrn": "deny"}, ""
    for place, lines in places.items():
        if place.endswith("_option"):
            options[place[:-7]] = "\\n".join(lines)
            continue
        acls += f"{place if place.startswith('sub_') else 't_' + place}:\n" + "".join(f"  {line.strip()}\n" for line in lines)
        if not place.startswith("sub_") and place + "_option" not in places:
            options[place] = "t_" + place
    text = PLACES_MAIN.replace("OPTIONS", "".join(f"acl_smtp_{place} = {acl}\n" for place, acl in options.items()))
    # Each has a spool of its own: programs that make one at the same time get into each other's way.
    return (text + acls + PLACES_REST).replace("SPOOL", f"{tmp}/spool-{name}").replace("DIR", tmp)


def plain_reply(lines):
    """Without enhanced codes, ids, extensions, and what may have other words; the lines joined."""
    lines = [re.sub(r"^(\d\d\d[ -])[245]\.\d{1,3}\.\d{1,3} ", r"\1", line) for line in lines]
    lines = [re.sub(r"OK id=\S+", "OK id=ID", line) for line in lines]
    if lines[0].startswith("503-All RCPT commands were rejected"):  # in front: what was wrong with them
        lines = lines[[line.lower()[4:] for line in lines].index("valid rcpt command must precede data"):]
    lines = [re.sub("valid RCPT", "Valid RCPT", line) for line in lines]
    if len(lines) > 1 and any(line[4:] == "HELP" for line in lines):
        lines = lines[:1] + [line for line in lines if line[4:] == "PIPELINING"]
    return " | ".join(lines).rstrip()


def run_session(command, conf, steps=None, ip="10.1.2.3", macros=()):
    """{step: reply}; a session that was closed has no more."""
    said = {}
    with subprocess.Popen([command, "-C", conf, *macros, "-bh", ip], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as run:
        def reply():
            lines = []
            for line in run.stdout:
                line = line.rstrip("\r\n")
                if re.match(r"\d\d\d[ -]|\d\d\d$", line):
                    lines.append(line)
                    if line[3:4] != "-":
                        return plain_reply(lines)
            return None

        try:
            for step in steps or STEPS:
                if step == ".":
                    if not said.get("DATA", "").startswith("354"):
                        continue
                    os.write(run.stdin.fileno(), (BODY + ".\n").encode())
                elif step != "connect":
                    os.write(run.stdin.fileno(), (step + "\n").encode())
                answer = reply()
                if answer is None:
                    break
                said[step] = answer
            run.stdin.close()
        except BrokenPipeError:
            pass
        run.stdout.read()
    return said


class Sessions(unittest.TestCase):
    """Every place, every word: the whole session, reply by reply."""

    def compare(self, command, ours):
        with tempfile.TemporaryDirectory() as tmp:
            os.chmod(tmp, 0o755)  # Exim reads the files as its own user
            for file, text in FILES.items():
                with open(os.path.join(tmp, file), "w") as f:
                    f.write(text)

            def run(case):
                conf = os.path.join(tmp, case[0] + ".conf")
                with open(conf, "w") as f:
                    f.write(configuration_of(*case[:2], tmp))
                return run_session(command, conf)

            with ThreadPoolExecutor(3) as pool:
                found = session_cases(ours)
                results = list(pool.map(run, found))
            plain = found[0][2]
            for (name, _, expected), said in zip(found, results):
                with self.subTest(name):
                    wanted = {**plain, **expected}
                    for step in STEPS:
                        if wanted.get(step) == "-":  # closed before
                            wanted = {s: r for s, r in wanted.items() if STEPS.index(s) < STEPS.index(step)}
                            break
                    if not wanted.get("DATA", "").startswith("354"):
                        wanted.pop(".", None)
                    self.assertEqual(said, wanted)

    def test_sessions(self):
        self.compare(os.environ["SLUICE"], True)

    @unittest.skipUnless(exim(), "no Exim here (SLUICE_ORACLE)")
    def test_exim_says_the_same(self):
        self.compare(exim(), False)


if __name__ == "__main__":
    unittest.main()
