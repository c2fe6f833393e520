"""ACLs: verbs, conditions, modifiers and their messages, judged as Exim judges them (tests/e2e/acl_cases.txt); faults in
the section that are told at load; rates that are counted once."""
import os
import re
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

from harness import SLUICE, Client, SluiceTest, configuration, POLICY

HERE = os.path.dirname(os.path.abspath(__file__))
MAIN = """primary_hostname = mx.test
spool_directory = DIR/spool
acl_smtp_rcpt = ${lookup{$local_part}lsearch{DIR/names}{$value}{sub_deny}}
host_lookup =
dns_ipv4_lookup = *
begin acl
"""
REST = """
sub_accept:
  accept message = sub accept text
sub_deny:
  deny message = sub deny text
    log_message = sub deny log
sub_defer:
  defer message = sub defer text
sub_discard:
  discard message = sub discard text
sub_args:
  deny message = $acl_narg: $acl_arg1,$acl_arg2,$acl_arg3,$acl_arg4.
sub_drop:
  drop message = 521 dropped
sub_val:
  accept message = $acl_arg2-$acl_arg1-$acl_narg
begin routers
r:
  driver = accept
  domains = client.test : good.test
  transport = t
rtest:
  driver = redirect
  domains = test
  allow_fail
  data = :fail: 553 5.1.9 unknown here
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
}


def exim():
    path = os.environ.get("SLUICE_ORACLE")
    return path if path and os.access(path, os.X_OK) else None


def cases():
    """(name, lines of the ACL, replies)"""
    found = []
    with open(os.path.join(HERE, "acl_cases.txt")) as f:
        for line in f:
            line = line.rstrip("\n")
            if re.match(r"t_\w+$", line):
                found.append((line, [], []))
            elif line.startswith("= "):
                found[-1][2].append(line[2:])
            elif line and line[0] != "#":
                found[-1][1].append(line)
    return found


class Cases(unittest.TestCase):
    def replies(self, command, conf, name):
        """What RCPT is answered, without enhanced codes; "closed" when the connection ends with it."""
        text = f"EHLO c.test\nMAIL FROM:<s@client.test>\nRCPT TO:<{name}@test>\nQUIT\n"
        run = subprocess.run([command, "-C", conf, "-bh", "10.1.2.3"], input=text, capture_output=True, text=True,
                             timeout=60)
        lines = [re.sub(r"^(\d\d\d[ -])[245]\.\d+\.\d+ ", r"\1", line) for line in run.stdout.splitlines()
                 if re.match(r"\d\d\d([ -]|$)", line)]
        start = max(i for i, line in enumerate(lines) if line == "250 OK")
        lines = lines[start + 1:]
        return lines[:-1] if lines[-1].startswith("221 ") else lines + ["closed"]

    def compare(self, command):
        with tempfile.TemporaryDirectory() as tmp:
            os.chmod(tmp, 0o755)  # Exim reads the names as its own user
            conf = os.path.join(tmp, "conf")
            with open(os.path.join(tmp, "names"), "w") as f:
                f.writelines(f"{name}: {name}\n" for name, _, _ in cases())
            for file, text in FILES.items():
                with open(os.path.join(tmp, file), "w") as f:
                    f.write(text)
            acls = "".join(f"{name}:\n" + "".join(f"  {line.strip()}\n" for line in lines) for name, lines, _ in cases())
            with open(conf, "w") as f:
                f.write((MAIN + acls + REST).replace("DIR", tmp))
            with ThreadPoolExecutor(2) as pool:
                said = pool.map(lambda case: self.replies(command, conf, case[0]), cases())
                for (name, _, expected), replies in zip(cases(), said):
                    with self.subTest(name):
                        self.assertEqual(replies, expected)

    def test_cases(self):
        self.compare(os.environ["SLUICE"])

    @unittest.skipUnless(exim(), "no Exim here (SLUICE_ORACLE)")
    def test_exim_says_the_same(self):
        self.compare(exim())


class Faults(unittest.TestCase):
    def test_faults_are_told_with_their_line(self):
        for acl, line, what in [
                ("  nosuchverb", 4, 'unknown ACL verb "nosuchverb"'),
                ("  deny nosuch = x", 4, "unknown ACL condition/modifier"),
                ("  deny\n    hosts", 5, '"=" missing after ACL "hosts"'),
                ("  deny !message = x", 4, "negation is not allowed"),
                ("  deny\n  condition = yes\n  !set acl_m0 = x", 6, "negation is not allowed"),
                ("  warn set foo = x", 4, "invalid variable name"),
                ("  warn set acl_x_foo = x", 4, "invalid variable name"),
                ("  accept endpass = yes", 4, '"endpass" takes no value'),
                ("  accept\na:\n  deny", 5, "two ACLs"),
                ("  warn endpass", 4, '"endpass" is not allowed with "warn"'),
                ("  accept domains = x\nb: deny", 5, "unknown ACL condition/modifier"),
                ("  deny domain = x", 4, 'did you mean "domains"?'),
                ("  accept control = queue_onyl", 4, 'unknown control "queue_onyl"; did you mean "queue_only"?'),
                ("  accept control = freeze/foo", 4, 'syntax error in "control=freeze/foo"'),
                ("  accept control = no_pipelining/x", 4, "syntax error"),
                ("  accept control = dscp", 4, "syntax error"),
                ("  accept control = dscp/nosuch", 4, "unknown DSCP value"),
                ("  accept control = utf8_downconvert/2", 4, "syntax error"),
                ("  accept control = submission/foo", 4, "syntax error"),
                ("  accept verify = recipent", 4, 'did you mean "recipient"?'),
                ("  accept verify =", 4, "nothing is known to verify"),
                ("  accept verify = helo/defer_ok", 4, "unexpected argument"),
                ("  accept verify = recipient/nosuch", 4, "is unknown, or not for this kind"),
                ("  accept verify = recipient/callout=10s,nosuch", 4, "is unknown, or not for this kind"),
                ("  accept verify = recipient/quota=cachepos=x", 4, "is unknown, or not for this kind"),
                ("  accept verify = sender/quota", 4, "is unknown, or not for this kind"),
                ("  accept verify = sender/callout=use_sender", 4, "is unknown, or not for this kind"),
                ("  accept ratelimit = x / 1h", 4, "is not a positive number"),
                ("  accept ratelimit = 5 / x", 4, "is not a time value"),
                ("  accept ratelimit = 5 / 1h / strict / leaky", 4, "conflicting update modes"),
                ("  accept ratelimit = 5 / 1h / per_mail / per_conn", 4, "conflicting per_* options"),
                ("  accept delay = soon", 4, "is not a time value"),
                ("  accept seen = soon", 4, "failed to parse interval"),
                ("  accept seen = 5m / nosuch", 4, "unknown or bad option")]:
            with self.subTest(acl), tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
                conf.write("primary_hostname = mx.test\nbegin acl\na:\n" + acl + "\n")
                conf.flush()
                run = subprocess.run([os.environ["SLUICE"], "-C", conf.name, "-bV"], capture_output=True, text=True, timeout=60)
                self.assertNotEqual(run.returncode, 0)
                self.assertIn(what, run.stdout + run.stderr)
                self.assertRegex(run.stdout + run.stderr, rf"(line |:){line}\b")


    def test_what_is_not_there_is_warned_of(self):
        for acl, what in [
                ("accept malware = *", 'ACL condition "malware" is not available in this version'),
                ("warn bmi_optin = 1", 'ACL modifier "bmi_optin" is not available in this version'),
                ("accept control = bmi_run", "control = bmi_run is not available in this version")]:
            with self.subTest(acl), tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
                conf.write(f"primary_hostname = mx.test\nbegin acl\na:\n  {acl}\n")
                conf.flush()
                run = subprocess.run([os.environ["SLUICE"], "-C", conf.name, "-bV"], capture_output=True, text=True, timeout=60)
                self.assertEqual(run.returncode, 0)
                self.assertRegex(run.stdout + run.stderr, r"line 4: .*" + re.escape(what))

    def test_what_may_be_right_loads(self):
        for value in ("control = ${lc:nosuch}", "control = $acl_m_x", "verify = $acl_m_x", "delay = ${eval:1+1}s",
                      "control = submission/name=a/b/c", "verify = recipient/callout=30s,maxwait=1m,random/defer_ok",
                      "verify = csa/anything", "ratelimit = 1.5 / 1h / strict / a / b", "control = debug/opts=+acl"):
            with self.subTest(value), tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
                conf.write(f"primary_hostname = mx.test\nbegin acl\na:\n  accept {value}\n")
                conf.flush()
                run = subprocess.run([os.environ["SLUICE"], "-C", conf.name, "-bV"], capture_output=True, text=True, timeout=60)
                self.assertEqual(run.returncode, 0, run.stderr)


class Rates(SluiceTest):
    MAIN = """
acl_smtp_connect = connect_acl
log_selector = +smtp_connection
"""
    ACLS = """begin acl
connect_acl:
  warn   ratelimit = 100 / 1h / per_conn / strict / kc
  accept
"""
    RATES = """
rcpt_acl:
  warn   ratelimit = 100 / 1h / KIND
  accept message = rate $sender_rate of $sender_rate_limit in $sender_rate_period
"""

    def rates(self, kind, rcpts, mails=2):
        policy = re.sub(r"begin acl\n.*?begin routers", lambda _: self.ACLS + self.RATES.replace("KIND", kind) +
                        "begin routers", POLICY, flags=re.S)
        server = self.sluice(configuration(self.MAIN, policy))
        with Client(server.ports[0]) as c:
            c.ehlo()
            said = []
            for _ in range(mails):
                c.expect("MAIL FROM:<s@client.test>", 250)
                said += [re.search(r"rate (\S+) of 100 in 1h", c.expect(f"RCPT TO:<{r}@test>", 250).text).group(1) for r in rcpts]
                c.expect("RSET", 250)
        return said

    def test_a_connection_counts_once(self):
        self.assertEqual(self.rates("per_conn / k", "aa"), ["1.0"] * 4)

    def test_a_message_counts_once(self):
        self.assertEqual(self.rates("per_mail / k", "ab"), ["1.0", "1.0", "2.0", "2.0"])

    def test_each_recipient_counts(self):
        self.assertEqual(self.rates("per_rcpt / k", "aa"), ["1.0", "2.0", "3.0", "4.0"])

    def test_a_recipient_known_already_does_not_count(self):
        self.assertEqual(self.rates("per_addr / k", "ab"), ["1.0", "2.0", "2.0", "2.0"])

    def test_unique_events(self):
        self.assertEqual(self.rates("per_cmd / unique=$local_part / k", "aab", mails=1), ["1.0", "1.0", "2.0"])

    def test_readonly_sees_what_strict_counted(self):
        # Whoever waited for the port to open has connected before.
        self.assertGreaterEqual(float(self.rates("per_conn / readonly / kc", "a", mails=1)[0]), 0.9)

    def test_readonly_counts_nothing(self):
        self.assertEqual(self.rates("per_cmd / readonly / k", "aa", mails=1), ["0.0", "0.0"])


class RejectLog(SluiceTest):
    """What Exim's logs have of refusals by default: the sender that could not be verified, once, and the header of a message
    that was refused."""

    main = "host_lookup = *\nacl_smtp_data = data_acl\n"
    config = configuration(main, POLICY.replace("begin acl\nrcpt_acl:", """begin acl
data_acl:
  deny message = no headers wanted
rcpt_acl:
  accept local_parts = bob
  require verify = sender""", 1))

    def test_lines(self):
        server = self.shared()
        with server.client(source="127.0.0.9") as client:
            client.ehlo("x.test")
            client.expect("MAIL FROM:<nobody@test>", 250)
            client.expect("RCPT TO:<bob@test>", 250)
            client.expect("RCPT TO:<alice@test>", 550, "Verification failed for <nobody@test>")
            client.expect("RCPT TO:<carol@test>", 550)
            client.data("Subject: one\r\nTo: a@b.test,\r\n  c@d.test\r\n\r\nbody\r\n", 550)
        server.wait_log("rejected after DATA", "reject")
        log, reject = server.log(), server.log("reject")
        self.assertEqual(len(re.findall(r"no host name found for IP address 127\.0\.0\.9$", log, re.M)), 1)
        for text in (log, reject):
            self.assertEqual(re.findall(r"^\S+ \S+ (H=.* sender verify fail for .*)$", text, re.M),
                             ["H=(x.test) [127.0.0.9] sender verify fail for <nobody@test>: Unrouteable address"])
        self.assertRegex(reject, r"(?m)^\S+ \S+ \S+ H=\(x\.test\) \[127\.0\.0\.9\] F=<nobody@test> rejected after DATA: "
                                 r"no headers wanted\n"
                                 r"Envelope-from: <nobody@test>\nEnvelope-to: <bob@test>\n"
                                 r"P Received: from (.*\n\t)+.*\n"
                                 r"  Subject: one\nT To: a@b\.test,\n  c@d\.test$")
        self.assertNotIn("Envelope-from", log)


class Sizes(SluiceTest):
    """A thousand statements, ACLs in one another, and what :fail: says in an answer: as with Exim."""

    def answers(self, depth):
        text = "primary_hostname = mx.test\nkeep_environment =\nspool_directory = DIR/spool\nlog_file_path = DIR/%slog\nacl_smtp_mail = n0\nacl_smtp_rcpt = big\nbegin acl\nbig:\n  require verify = recipient\n"
        text += "".join(f"  deny local_parts = no{i}\n" for i in range(1000)) + "  accept\n"
        text += "".join(f"n{i}:\n  accept acl = n{i + 1}\n" for i in range(depth)) + f"n{depth}:\n  accept\n"
        text += "begin routers\nf:\n  driver = redirect\n  local_parts = moved : wrong\n  allow_fail\n"
        text += "  data = :fail: ${if eq{$local_part}{moved}{551 5.1.6}{451 4.1.6}} gone\nall:\n  driver = accept\n  verify_only\n"
        box = self.sluice(text, start=False)
        os.chmod(box.dir, 0o777)
        dialogue = "EHLO x\r\nMAIL FROM:<a@b>\r\n" + "".join(f"RCPT TO:<{name}@t.test>\r\n" for name in
                                                             ("no999", "no0", "ok", "moved", "wrong")) + "QUIT\r\n"
        result = []
        for program in (SLUICE, os.environ.get("SLUICE_ORACLE", "")):
            if os.access(program, os.X_OK):
                done = subprocess.run([program, "-C", box.config_file, "-bh", "192.0.2.1"], input=dialogue.encode(), capture_output=True, timeout=60)
                lines = re.findall(r"(?m)^(\d{3}) (.*?)\r?$", done.stdout.decode())
                result.append([(code, re.sub(r"^[245]\.\d+\.\d+ ", "", text)) for code, text in lines[2:-1]])
        return result

    def test_as_exim(self):
        good = [("250", "OK"), *[("550", "Administrative prohibition")] * 2, ("250", "Accepted"), ("551", "gone"), ("550", "gone")]
        for answers in self.answers(20):
            self.assertEqual([(code, text.replace("5.1.6 ", "")) for code, text in answers], good)
        for answers in self.answers(21):
            self.assertEqual(answers[0][0], "451")


if __name__ == "__main__":
    unittest.main()
