"""Retry rules: which one -brt finds, beside the real Exim; and what their times do to deliveries."""
import os
import re
import subprocess
import unittest

from harness import SLUICE, SluiceTest, configuration, until

ORACLE = os.environ.get("SLUICE_ORACLE", "")

RULES = r"""
begin retry
alice@wonderland.example quota_5d  F,7d,3h
wonderland.example       quota_5d
wonderland.example       *         F,1h,15m; G,2d,1h,2;
lookingglass.example     *         F,24h,30m;
a.domain  rcpt_452  senders="xb.dom : yc.dom"  G,8h,10m,1.5
a.domain  rcpt_45x  senders=:   F,1h,30m
b.domain  mail_4xx  F,1h,30m
c.domain  data_451  H,1h,30m,2.25;F,2h,1h
d.domain  timeout_connect_A F,1h,1m
d.domain  timeout_connect   F,1h,2m
d.domain  timeout           F,1h,3m
d.domain  auth_failed       F,1h,4m
g.domain  timeout_MX        F,1h,5m
g.domain  timeout_A         F,1h,6m
^\N^[^@]+@xyz\d+\.abc\.example$\N  *  G,1h,10m,2
*@*.star.example  *  f,1d,1h
!e.domain  refused_A        F,2h,11m;
*          refused_MX       F,2h,12m;
*          lost_connection  F,2h,13m;
*          tls_required     F,2h,14m;
*          lookup           F,2h,15m;
*          quota            F,2h,16m;
"user @nowhere" *           F,1s,1s
*          *                F,2h,15m; G,16h,1h,1.5; F,5d,8h
"""

ASKED = """
alice@wonderland.example
alice@wonderland.example quota_5d
alice@wonderland.example quota_4d
ALICE@Wonderland.example quota_6d
bob@wonderland.example x.y quota_5d
wonderland.example
wonderland.example quota
x@lookingglass.example wonderland.example
wonderland.example lookingglass.example
a.domain
a.domain x.y rcpt_452
-f a@xb.dom a.domain x.y rcpt_452
-f a@xb.dom u@a.domain rcpt_452
-f a@xb.dom u@a.domain rcpt_451
-f a@else.where u@a.domain rcpt_452
-f <> a.domain x.y rcpt_455
-f <> a.domain x.y rcpt_4xx
-f <> a.domain x.y rcpt_45x
b.domain mail_421
b.domain mail_42x
b.domain mail_4xx
b.domain rcpt_421
c.domain data_451
x@c.domain data_45x
x@c.domain data_4xx
x@d.domain timeout_connect_A
x@d.domain timeout_connect_MX
x@d.domain timeout_connect
x@d.domain timeout_MX
x@d.domain timeout_A
x@d.domain timeout
x@d.domain auth_failed
x@g.domain timeout_connect_MX
x@g.domain timeout_MX
x@g.domain timeout_A
x@g.domain timeout
xyz1.abc.example
x@xyz1.abc.example
abc.example
x@abc.example xyz1.abc.example
a.star.example
x@a.b.star.example
star.example
e.domain refused_A
e.domain refused_MX
e.domain refused
f.domain refused
f.domain refused_A
f.domain REFUSED_mx
f.domain lost_connection
f.domain tls_required
f.domain lookup
f.domain timeout_DNS
f.domain quota
f.domain quota_1d
f.domain rcpt_400
F.DOMAIN
f.domain quota_xx
f.domain rcpt_5xx
f.domain rcpt_4x5
f.domain response_4xx
f.domain refused_B
f.domain timeout_connect_X
f.domain nonsense
f.domain x refused
one
"""

# A rule, and whether both take it.
FORMS = """
*
* *
* * F
* * F,1h
* * F,1h,
* * F,1h,0
* * F,1h,1m,2
* * f,1h,1m
* * G,1h,1m
* * G,1h,1m,1
* * G,1h,1m,0.5
* * G,1h,1m,1.2345
* * G,1h,1m,abc
* * X,1h,1m
* * F,1h,1m G,2h,1m,2
* * F,1h,1m; F,30m,1m
* * senders=a@b F,1h,1m
* * senders= F,1h,1m
* * senders=a@b
* bogus F,1h,1m
* "quota" F,1h,1m
"* " * F,1h,1m
*@b.c * F,1h,1m ; G,3h,1h,1.5 ;
*@b.c * F,1h,2h
x.y:b.c * F,1h,2m
* * F 1h 2m
* * F,,1m
* * F,4,1m
* * F,1h,1m,
* * F,-1h,1m
"""


class Rules(SluiceTest):
    def ask(self, program, config, *arguments):
        done = subprocess.run([program, "-C", config, *arguments], capture_output=True, text=True, timeout=60)
        # Exim has no name for most errors when it prints a rule, and forgets H's factor.
        text = re.sub(r"^(Retry rule: .*?)  (\w+_[4ADLMT]\w*|\w+)  (.*)", lambda m: m.group(0) if m.group(2) in self.PRINTED
                      or m.group(2).startswith(("quota", "timeout", "refused")) else f"{m.group(1)}  *  {m.group(3)}",
                      re.sub(r"(H,\w+,\w+),[\d.]+", r"\1", done.stdout), flags=re.M)
        error = "\n".join(re.sub(r"^sluice: ", "", line) for line in done.stderr.splitlines() if not re.match(r"\d{4}-", line))
        return done.returncode, text, error

    PRINTED = ("auth_failed",)

    @unittest.skipUnless(os.access(ORACLE, os.X_OK), "no Exim here (SLUICE_ORACLE)")
    def test_brt_beside_exim(self):
        box = self.sluice(configuration(policy=RULES, acl_rcpt=False), start=False)
        exim = os.path.join(box.dir, "exim.conf")
        with open(exim, "w") as f:
            f.write(f"primary_hostname = mx.test\nlog_file_path = {box.dir}/%slog\nspool_directory = {box.dir}/espool\n"
                    "keep_environment =\n" + RULES)
        os.chmod(box.dir, 0o777)
        for line in ASKED.strip().splitlines():
            words = ["" if w == "<>" else w for w in line.split()]
            at = words.index("-f") if "-f" in words else None
            sender = words[:2] if at == 0 else []
            arguments = [*sender, "-brt", *words[len(sender):]]
            with self.subTest(line):
                self.assertEqual(self.ask(ORACLE, exim, *arguments),
                                 self.ask(SLUICE, box.config_file, *arguments))

    @unittest.skipUnless(os.access(ORACLE, os.X_OK), "no Exim here (SLUICE_ORACLE)")
    def test_forms_beside_exim(self):
        box = self.sluice("", start=False)
        os.chmod(box.dir, 0o777)
        head = f"primary_hostname = mx.test\nlog_file_path = {box.dir}/%slog\nspool_directory = {box.dir}/espool\n"
        for rule in FORMS.strip().splitlines():
            box.write_config(head + "keep_environment =\nbegin retry\n" + rule + "\n")
            with self.subTest(rule):
                theirs = self.ask(ORACLE, box.config_file, "-brt", "a@b.c")
                mine = self.ask(SLUICE, box.config_file, "-brt", "a@b.c")
                self.assertEqual(theirs[:2], mine[:2], theirs[2] + mine[2])

    def test_names_of_errors(self):
        box = self.sluice(configuration(policy=RULES, acl_rcpt=False), start=False)
        for asked, name in (("b.domain mail_421", "mail_4xx"), ("c.domain data_451", "data_451"),
                            ("f.domain tls_required", "tls_required"), ("f.domain lookup", "lookup"),
                            ("f.domain lost_connection", "lost_connection")):
            self.assertIn(f"  {name}  ", box.run("-brt", *asked.split(), check=0).out)


POLICY = """
begin acl
rcpt_acl:
  accept
begin routers
remote:
  driver = manualroute
  domains = sink.test
  transport = smtp
  route_list = * 127.0.0.1
  self = send
locals:
  driver = accept
  domains = test
  transport = closed
begin transports
smtp:
  driver = smtp
  port = SINKPORT
  allow_localhost
  hosts_try_fastopen = :
  OPTION
closed:
  driver = appendfile
  file = /proc/nothing/here
  no_create_directory
  user = USER
begin retry
* * RULE
"""


class Times(SluiceTest):
    def begin(self, script=None, option="", rule="F,2h,15m", main=""):
        self.sink_here = self.sink(script)
        return self.sluice(configuration(main, POLICY.replace("OPTION", option).replace("RULE", rule)),
                           macros={"SINKPORT": str(self.sink_here.port)})

    def send(self, server, rcpt, sender):
        with server.client() as client:
            client.ehlo()
            reply = client.message("Subject: hi\r\n\r\nbody\r\n", sender, [rcpt])
            client.quit()
        return re.search(r"id=(\S+)", reply.text).group(1)

    def other_sender(self, option):
        """A recipient that was refused for now, and a queue run with another sender's mail for him. How often he was asked for."""
        refuse = lambda verb, argument, session: "450 4.2.1 later" if verb == "RCPT" else None
        server = self.begin(refuse, option, main="queue_only\n")
        first = self.send(server, "r@sink.test", "one@client.test")
        server.run("-M", first, check=0)
        server.wait_log(rf"{re.escape(first)} == r@sink.test ")
        self.send(server, "r@sink.test", "two@client.test")
        server.run("-q", check=0)
        server.wait_log("End queue run")
        return sum(command.startswith("RCPT") for s in self.sink_here.sessions for command in s.commands)

    def test_address_retry_include_sender(self):
        self.assertEqual(self.other_sender(""), 2)
        self.assertEqual(self.other_sender("no_address_retry_include_sender"), 1)

    def failing_for_long(self, rcpt, option=""):
        """What has been failing for longer than its rule allows fails at once for a new message."""
        server = self.begin(lambda verb, argument, session: "421 4.3.2 down" if verb == "BANNER" else None, option, "F,1s,1s")
        first = self.send(server, rcpt, "")
        server.wait_log(rf"{re.escape(first)} == {rcpt}")

        def given_up():
            server.run("-qff", check=0)
            return re.search(rf"{re.escape(first)} \*\* ", server.log())
        until(given_up, "the first message to be given up")
        second = self.send(server, rcpt, "")
        server.wait_log(rf"{re.escape(second)} \*\* {rcpt}")
        self.assertLessEqual(len(re.findall(rf"{re.escape(second)} == ", server.log())), 1)

    def test_failing_for_long_local(self):
        self.failing_for_long("x@test")

    def test_failing_for_long_remote(self):
        self.failing_for_long("x@sink.test")

    def test_errors_choose_rules(self):
        """A 4xx to RCPT has a rule without steps, and fails at once; to MAIL another one."""
        server = self.begin(lambda verb, argument, session: "452 4.2.1 later" if verb == session.sink.at else None,
                            rule="F,2h,15m")
        with open(server.config_file) as f:
            text = f.read()
        server.write_config(text.replace("begin retry\n", "begin retry\n* rcpt_45x\n*  mail_451\n"))
        server.hup()
        server.wait_log("SIGHUP|re-exec|reload|configuration")
        self.sink_here.at = "RCPT"
        mid = self.send(server, "x@sink.test", "")
        server.wait_log(rf"{re.escape(mid)} \*\* x@sink.test")
        self.sink_here.at = "MAIL"
        mid = self.send(server, "y@sink.test", "")
        server.wait_log(rf"{re.escape(mid)} == y@sink.test")


if __name__ == "__main__":
    unittest.main()
