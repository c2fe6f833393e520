"""Callouts: what a host is asked about an address, what of its answers is remembered, and what the client hears of it; the
replies of all cases are the ones of Exim 4.98.2, which is asked too where it is at hand."""
import os
import re
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

from harness import Sink

CONF = """primary_hostname = mx.test
spool_directory = DIR/spool
log_file_path = DIR/log%s
acl_smtp_rcpt = rcpt
host_lookup =
qualify_domain = q.test
disable_ipv6
begin acl
rcpt:
 STATEMENTS
begin routers
r:
  driver = manualroute
  domains = !nosuch.test
  route_list = * 127.0.0.1
  self = send
  transport = smtp
begin transports
smtp:
  driver = smtp
  port = PORT
  allow_localhost
  hosts_try_fastopen = :
"""


def exim():
    path = os.environ.get("SLUICE_ORACLE")
    return path if path and os.access(path, os.X_OK) else None


def rej(*rows):
    """A host that has this reply for commands of the verb with this in them."""
    return lambda verb, argument, session: next((reply for v, part, reply in rows if v == verb and part in (argument or "")), None)


def rejm(part, reply):
    return rej(("RCPT", part, reply))


def R(options):
    return (f"require verify = recipient{options}\n"
            " accept message = ok [$recipient_verify_failure] [$domain_data] [$local_part_data]")


def RM(options):
    return (f"require message = [$acl_verify_message] [$recipient_verify_failure]\n  verify = recipient{options}\n"
            " accept message = ok [$recipient_verify_failure]")


def S(options):
    return f"require verify = sender{options}\n accept message = ok [$sender_verify_failure]"


def SM(options):
    return (f"require message = [$acl_verify_message] [$sender_verify_failure]\n  verify = sender{options}\n"
            " accept message = ok [$sender_verify_failure]")


# name: (ACL, the host, what else: how many sessions, recipients, sender), replies, how often the host was called
CASES = {
    "ok": ((R('/callout'),None,{}),
        ['250 ok [] [x.test] [a]'], 1),
    "ok_twice": ((R('/callout'),None,dict(times=2)),
        ['250 ok [] [x.test] [a]', '250 ok [] [x.test] [a]'], 1),
    "rej": ((R('/callout'),rejm('a@x','550 5.1.1 nobody'),dict(times=2)),
        ['550-Callout verification failed:', '550 550 5.1.1 nobody', '550 Previous (cached) callout verification failure'], 1),
    "rej_nocache": ((R('/callout=no_cache'),rejm('a@x','550 nobody'),dict(times=2)),
        ['550-Callout verification failed:', '550 550 nobody', '550-Callout verification failed:', '550 550 nobody'], 2),
    "rejmulti": ((R('/callout'),rejm('a@x','550-no\r\n550 body'),{}),
        ['550-Callout verification failed:', '550-550-no', '550 550 body'], 1),
    "rej4": ((R('/callout'),rejm('a@x','450 later'),dict(times=2)),
        ['451 Could not complete recipient verify callout', '451 Could not complete recipient verify callout'], 2),
    "rej4ok": ((R('/callout=defer_ok'),rejm('a@x','450 later'),{}),
        ['250 ok [] [] []'], 1),
    "mailrej": ((R('/callout'),rej(('MAIL','<>','550 no bounces')),dict(times=2,rcpts=('a@x.test','b@x.test'))),
        ['550-Callout verification failed:', '550 550 no bounces', '550 (result of an earlier callout reused).', '550 (result of an earlier callout reused).', '550 (result of an earlier callout reused).'], 1),
    "mailrejm": ((RM('/callout'),rej(('MAIL','<>','550 no bounces')),dict(times=2,rcpts=('a@x.test','b@x.test'))),
        ['550-[Callout verification failed:', '550 550 no bounces] [mail]', '550 [(result of an earlier callout reused).] [mail]', '550 [(result of an earlier callout reused).] [mail]', '550 [(result of an earlier callout reused).] [mail]'], 1),
    "mailrej_use_sender": ((R('/callout=use_sender'),rej(('MAIL','s@y','550 not you')),dict(times=2)),
        ['550-Callout verification failed:', '550 550 not you', '550-Callout verification failed:', '550 550 not you'], 2),
    "use_sender": ((R('/callout=use_sender'),None,{}),
        ['250 ok [] [x.test] [a]'], 1),
    "use_postmaster": ((R('/callout=use_postmaster'),None,{}),
        ['250 ok [] [x.test] [a]'], 1),
    "ehlo5": ((R('/callout'),rej(('EHLO','','550 no ehlo'),('HELO','','550 no helo')),dict(times=2)),
        ['550-Callout verification failed:', '550 550 no helo', '550-Callout verification failed:', '550 550 no helo'], 2),
    "random_all": ((RM('/callout=random'),None,dict(times=2,rcpts=('a@x.test','b@x.test'))),
        ['250 ok [random]', '250 ok [random]', '250 ok [random]', '250 ok [random]'], 1),
    "random_no": ((R('/callout=random'),rejm('testing','550 no'),dict(times=2,rcpts=('a@x.test','b@x.test'))),
        ['250 ok [] [x.test] [a]', '250 ok [] [x.test] [b]', '250 ok [] [x.test] [a]', '250 ok [] [x.test] [b]'], 2),
    "random_close": ((R('/callout=random'),rejm('testing',Sink.CLOSE),{}),
        ['451 Could not complete recipient verify callout'], 1),
    "pm_ok": ((R('/callout=postmaster'),None,dict(times=2)),
        ['250 ok [] [x.test] [a]', '250 ok [] [x.test] [a]'], 1),
    "pm_rej": ((RM('/callout=postmaster'),rejm('postmaster','550 none'),dict(times=2)),
        ['550-[Callout verification failed:', '550 550 none] [postmaster]', '550 [(result of earlier verification reused).] [postmaster]'], 1),
    "fullpm": ((R('/callout=fullpostmaster'),rejm('postmaster@','550 none'),dict(times=2)),
        ['250 ok [] [x.test] [a]', '250 ok [] [x.test] [a]'], 1),
    "pm_from": ((R('/callout=postmaster_mailfrom=m@z.test'),None,{}),
        ['250 ok [] [x.test] [a]'], 1),
    "s_ok": ((S('/callout'),None,dict(times=2)),
        ['250 ok []', '250 ok []'], 1),
    "s_rej": ((S('/callout'),rejm('s@y','550 nobody'),dict(times=2)),
        ['550-Verification failed for <s@y.test>', '550-Called:   127.0.0.1', '550-Sent:     RCPT TO:<s@y.test>', '550-Response: 550 nobody', '550 Sender verify failed', '550-Verification failed for <s@y.test>', '550-Previous (cached) callout verification failure', '550 Sender verify failed'], 1),
    "s_rejm": ((SM('/callout'),rejm('s@y','550-two\r\n550 lines'),dict()),
        ['550-Verification failed for <s@y.test>', '550-Called:   127.0.0.1', '550-Sent:     RCPT TO:<s@y.test>', '550-Response: 550-two', '550-550 lines', '550 [Sender verify failed] [recipient]'], 1),
    "s_nodet": ((S('/callout/no_details'),rejm('s@y','550 nobody'),{}),
        ['550 Sender verify failed'], 1),
    "s_defer": ((S('/callout'),rejm('s@y','450 later'),{}),
        ['451 Could not complete sender verify callout'], 1),
    "s_route": ((S('/callout'),None,dict(sender='s@nosuch.test')),
        ['550-Verification failed for <s@nosuch.test>', '550-Unrouteable address', '550 Sender verify failed'], 0),
    "s_null": ((S('/callout'),None,dict(sender='')),
        ['250 ok []'], 0),
    "r_route": ((R('/callout'),None,dict(rcpts=('a@nosuch.test',))),
        ['550 Unrouteable address'], 0),
    "close": ((R('/callout'),rejm('a@x',Sink.CLOSE),{}),
        ['451 Could not complete recipient verify callout'], 1),
    "old_defer_ok": ((R('/callout_defer_ok'),rejm('a@x','450 later'),{}),
        ['250 ok [] [] []'], 1),
    "old_pm": ((R('/check_postmaster'),None,{}),
        ['250 ok [] [x.test] [a]'], 1),
    "rand_pm": ((R('/callout=random,postmaster'),rejm('testing','550 no'),{}),
        ['250 ok [] [x.test] [a]'], 1),
}


class Cases(unittest.TestCase):
    def session(self, command, case):
        (acl, script, more), _, _ = case
        sink = Sink(script)
        said = []
        with tempfile.TemporaryDirectory() as tmp:
            os.chmod(tmp, 0o755)
            os.mkdir(os.path.join(tmp, "spool"))
            os.chmod(os.path.join(tmp, "spool"), 0o777)  # Exim keeps hints as its own user
            conf = os.path.join(tmp, "conf")
            with open(conf, "w") as f:
                f.write(CONF.replace("DIR", tmp).replace("STATEMENTS", acl).replace("PORT", str(sink.port)))
            text = f"EHLO c.test\nMAIL FROM:<{more.get('sender', 's@y.test')}>\n" + "".join(
                f"RCPT TO:<{r}>\n" for r in more.get("rcpts", ("a@x.test",))) + "QUIT\n"
            for _ in range(more.get("times", 1)):
                run = subprocess.run([command, "-C", conf, "-bhc", "10.1.2.3"], input=text, capture_output=True, text=True,
                                     timeout=60)
                lines = [re.sub(r"^(\d\d\d[ -])[245]\.\d+\.\d+ ", r"\1", line) for line in run.stdout.splitlines()
                         if re.match(r"\d\d\d([ -]|$)", line)]
                said += lines[max(i for i, line in enumerate(lines) if line == "250 OK") + 1:-1]
        sink.close()
        return said, len(sink.sessions)

    def compare(self, command):
        with ThreadPoolExecutor(2) as pool:
            heard = pool.map(lambda case: self.session(command, case), CASES.values())
            for (name, case), (replies, calls) in zip(CASES.items(), heard):
                with self.subTest(name):
                    self.assertEqual(replies, case[1])
                    self.assertEqual(calls, case[2])

    def test_cases(self):
        self.compare(os.environ["SLUICE"])

    @unittest.skipUnless(exim(), "no Exim here (SLUICE_ORACLE)")
    def test_exim_says_the_same(self):
        self.compare(exim())


if __name__ == "__main__":
    unittest.main()
