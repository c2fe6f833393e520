"""SRS: the native form beside Exim, the manual's sample at work, and libsrs_alt's beside Mail::SRS."""
import os
import re
import shutil
import subprocess
import unittest

from harness import Client, SluiceTest, configuration

ORACLE = os.environ.get("SLUICE_ORACLE")
MAIL_SRS = shutil.which("perl") and subprocess.run(["perl", "-MMail::SRS", "-e", "1"], capture_output=True).returncode == 0

SAMPLE = """
begin acl
rcpt_acl:
  accept domains = test : forward.test
         endpass
         verify = recipient
  accept hosts = 127.0.0.1

begin routers
outbound:
  driver = manualroute
  domains = ! test : ! forward.test
  transport = ${if eq {$local_part@$domain}{$original_local_part@$original_domain} {remote_smtp} {remote_forwarded_smtp}}
  route_list = * 127.0.0.1
  self = send
inbound_srs:
  driver = redirect
  senders = :
  domains = forward.test
  condition = ${if inbound_srs {$local_part} {SECRET}}
  data = $srs_recipient
inbound_srs_failure:
  driver = redirect
  senders = :
  domains = forward.test
  condition = ${if inbound_srs {$local_part} {}}
  allow_fail
  data = :fail: Invalid SRS recipient address
alias:
  driver = redirect
  domains = forward.test
  local_parts = alias
  data = somebody@elsewhere.example

begin transports
remote_smtp:
  driver = smtp
  port = SINKPORT
  allow_localhost
  hosts_try_fastopen = :
remote_forwarded_smtp:
  driver = smtp
  port = SINKPORT
  allow_localhost
  hosts_try_fastopen = :
  max_rcpt = 1
  return_path = ${srs_encode {SECRET} {$return_path} {$original_domain}}
""".replace("SECRET", "s3cret")

ALT = """
begin acl
rcpt_acl:
  accept

begin routers
back:
  driver = redirect
  domains = fwd.test
  caseful_local_part
  local_parts = ^(?i)srs[01]
  srs = reverse
  data = $srs_recipient
forward:
  driver = redirect
  domains = fwd.test
  srs = forward
  data = $local_part@elsewhere.example
keeps:
  driver = redirect
  domains = keeps.test
  srs = forward
  errors_to = owner@keeps.test
  data = $local_part@elsewhere.example
out:
  driver = manualroute
  transport = smtp
  route_list = * 127.0.0.1
  self = send

begin transports
smtp:
  driver = smtp
  port = SINKPORT
  allow_localhost
  hosts_try_fastopen = :
"""
MESSAGE = "From: a@b.example\r\nSubject: x\r\n\r\nhello\r\n"


class Srs(SluiceTest):
    def send(self, box, sender, recipient):
        with Client(box.port) as c:
            c.expect("EHLO client.test", 250)
            c.expect(f"MAIL FROM:<{sender}>", 250)
            reply = c.cmd(f"RCPT TO:<{recipient}>")
            if reply.code == 250:
                c.expect("DATA", 354)
                c.send(MESSAGE + ".\r\n")
                c.wait(250)
            c.expect("QUIT", 221)
            return reply

    def envelope(self, sink, count):
        sink.wait(count)
        sender, recipients, _ = sink.messages[count - 1]
        return sender, recipients

    def perl(self, script, *arguments):
        done = subprocess.run(["perl", "-MMail::SRS", "-e", script, *arguments], capture_output=True, text=True)
        return done.stdout.strip()

    def test_native_beside_exim(self):
        rows = ["${srs_encode{sec}{%s}{d.org}}" % path for path in (
            "User@Ex.com", '"a b"@x.org', "local", "", '"plain"@x.org', '""@x.org', "a=b@x.org", "a@b", "x_y@X.Y")]
        rows += ["${if inbound_srs{%s}{%s}{yes $srs_recipient}{no}}" % (local, secret)
                 for secret in ("", "sec") for local in (
                     "SRS0=662d=BE=Ex.com=User", '"SRS0=718c=be=x.org=a b"', "SRS0=718c=be=x.org=a b", "srs0=486e=be==local", "SRS0=1=be=x=y",
                     "SRS0==be=x=y", "xSRS0=1=be=x=y", "SRS0=1=be=x=y=z", "SRS0=1=18=x=y=z", "SRS0=1-2=be=x=y=z",
                     "SRS0=1=be=x=y(z)", '"SRS0=1=be=x=y"', "SRS0=abcd=be=X_y=Y", "SRS1=a=b=c=d", "SRS0+1=be=x=y", "SRS0=1=be=x", "")]
        box = self.sluice(configuration(), start=False)
        ours = [line.removeprefix("> ") for line in box.run("-be", stdin="\n".join(rows) + "\n").out.splitlines()]
        self.assertRegex(ours[0], r"^SRS0=662d=[a-z2-7]{2}=Ex.com=User@d.org$")
        self.assertRegex(ours[1], r'"SRS0=718c=..=x.org=a b"@d.org')
        self.assertRegex(ours[2], r"SRS0=486e=..==local@d.org")
        if ORACLE:
            conf = os.path.join(box.dir, "oracle.conf")
            with open(conf, "w") as f:
                f.write("keep_environment =\n")
            theirs = subprocess.run([ORACLE, "-C", conf, "-be"], input="\n".join(rows) + "\n", capture_output=True, text=True).stdout.splitlines()
            self.assertEqual(ours, [line.removeprefix("> ") for line in theirs][:len(ours)])

    def test_round_trip_of_expansions(self):
        box = self.sluice(configuration(), start=False)
        for sender, back in (("User@Ex.com", "user@ex.com"), ('"a b"@x.org', '"a b"@x.org'), ('"plain"@x.org', "plain@x.org"), ("a=b@x.org", "a=b@x.org")):
            coded = box.run("-be", "${srs_encode{sec}{%s}{d.org}}" % sender).out.strip()
            local = coded.rsplit("@", 1)[0].strip('"')
            for text in (local, local.upper(), local.lower()):  # Exim refuses those whose case a relay has changed
                self.assertEqual(box.run("-be", "${if inbound_srs{%s}{sec}{yes $srs_recipient}{no}}" % text).out.strip(), f"yes {back}")
            self.assertEqual(box.run("-be", "${if inbound_srs{%s}{other}{yes}{no}}" % local).out.strip(), "no")
            self.assertEqual(box.run("-be", "${if inbound_srs{%sx}{sec}{yes}{no}}" % local).out.strip(), "no")

    def test_sample_of_the_manual(self):
        sink = self.sink()
        box = self.sluice(configuration("log_selector = +return_path_on_delivery\n", SAMPLE).replace("SINKPORT", str(sink.port)))
        self.send(box, "Sender@orig.example", "alias@forward.test")
        sender, recipients = self.envelope(sink, 1)
        self.assertRegex(sender, r"^SRS0=[0-9a-f]{4}=[a-z2-7]{2}=orig.example=Sender@forward.test$")
        self.assertEqual(recipients, ["somebody@elsewhere.example"])
        # not forwarded: as it is
        self.send(box, "me@forward.test", "other@elsewhere.example")
        self.assertEqual(self.envelope(sink, 2)[0], "me@forward.test")
        # its bounce comes back to the sender
        self.assertEqual(self.send(box, "", sender).code, 250)
        self.assertEqual(self.envelope(sink, 3), ("", ["sender@orig.example"]))
        # forged, too old
        for bad in (re.sub(r"=[0-9a-f]{4}=", "=0000=", sender), sender.replace("orig.example", "other.example"),
                    re.sub(r"=[a-z2-7]{2}=", "=22=", sender, count=1)):
            if bad != sender:
                reply = self.send(box, "", bad)
                self.assertEqual(reply.code, 550)
                self.assertIn("Invalid SRS recipient address", reply.text)
        # a bounce that is forwarded stays one
        self.send(box, "", "alias@forward.test")
        self.assertEqual(self.envelope(sink, 4)[0], "")

    @unittest.skipUnless(MAIL_SRS, "no Mail::SRS")
    def test_alt_beside_mail_srs(self):
        sink = self.sink()
        box = self.sluice(configuration("srs_secrets = topsecret : older\n", ALT).replace("SINKPORT", str(sink.port)))
        reverse = 'print Mail::SRS->new(Secret => [$ARGV[0]], HashLength => 6, MaxAge => 31)->reverse($ARGV[1]);'
        forward = 'print Mail::SRS->new(Secret => [$ARGV[0]], HashLength => 6)->forward($ARGV[1], "fwd.test");'
        self.send(box, "User@orig.example", "x@fwd.test")
        made, _ = self.envelope(sink, 1)
        self.assertRegex(made, r"^SRS0=.{6}=..=orig.example=User@fwd.test$")
        self.assertEqual(self.perl(reverse, "topsecret", made), "User@orig.example")
        box.wait_log(re.escape(f"SRS=<{made}>"))
        # what the other made, with the second secret
        other = self.perl(forward, "older", "b@orig.example")
        self.send(box, "", other)
        self.assertEqual(self.envelope(sink, 2), ("", ["b@orig.example"]))
        # SRS0 of another host becomes SRS1; both know the way back
        first = "SRS0=abcd=XY=far.example=u@hop.example"
        self.send(box, first, "x@fwd.test")
        second, _ = self.envelope(sink, 3)
        self.assertRegex(second, r"^SRS1=.{6}=hop.example==abcd=XY=far.example=u@fwd.test$")
        self.assertEqual(self.perl(reverse, "topsecret", second), first)
        self.send(box, "", second)
        self.assertEqual(self.envelope(sink, 4)[1], [first])
        # nobody else's
        for bad in (made.replace("orig", "evil"), second.replace("hop.", "evil.")):
            self.send(box, "", bad)
        # errors_to wins
        self.send(box, "User@orig.example", "x@keeps.test")
        self.assertNotIn("SRS", self.envelope(sink, 5)[0])
        # bounces are left alone
        self.send(box, "", "x@fwd.test")
        self.assertEqual(self.envelope(sink, 6)[0], "")

    def test_settings_that_do_not_fit(self):
        for main, why in (("", "no secret is given"), ("srs_secrets = " + 33 * "x" + "\n", "1 to 32 bytes"), ("srs_secrets = x\nsrs_maxage = 400\n", "srs_maxage"),
                          ("srs_config = x:nonsense\n", "malformed field")):
            box = self.sluice(configuration(main, ALT).replace("SINKPORT", "1"), start=False)
            done = box.run("-bt", "SRS0=abcdef=AA=x.y=z@fwd.test")
            with self.subTest(main=main):
                self.assertIn("SRS Configuration Error", done.out + done.err)


if __name__ == "__main__":
    unittest.main()
