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
        box.wait_log(r"=> somebody@elsewhere.example .*P=<" + re.escape(sender) + ">")
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

    @unittest.skipUnless(MAIL_SRS, "no Mail::SRS")
    def test_alt_schemes(self):
        """Guarded and Shortcut of Mail::SRS, in both directions, SRS0 and SRS1."""
        sink = self.sink()
        box = self.sluice(configuration("srs_secrets = topsecret\n", ALT).replace("SINKPORT", str(sink.port)))
        new = 'use Mail::SRS::%s; my $s = Mail::SRS::%s->new(Secret => ["topsecret"], HashLength => 6, MaxAge => 31);'
        count = 0
        for scheme in ("Guarded", "Shortcut"):
            there = new % (scheme, scheme)
            # theirs, of an address and of somebody's SRS0: the way back is found here
            for sender, way in (("a@orig.example", "a@orig.example"),
                                ("SRS0=abcd=XY=far.example=u@hop.example",
                                 "SRS0=abcd=XY=far.example=u@hop.example" if scheme == "Guarded" else "u@far.example")):
                made = self.perl(there + 'print $s->forward($ARGV[0], "fwd.test");', sender)
                self.assertTrue(made.startswith("SRS"), made)
                self.send(box, "", made)
                count += 1
                self.assertEqual(self.envelope(sink, count), ("", [way]), scheme)
            # ours, for them; and ours of theirs
            self.send(box, "b@orig.example", "x@fwd.test")
            count += 1
            first = self.envelope(sink, count)[0]
            self.assertEqual(self.perl(there + 'print $s->reverse($ARGV[0]);', first), "b@orig.example")
            theirs = self.perl(new.replace("topsecret", "other") % (scheme, scheme) + 'print $s->forward($ARGV[0], "hop.example");',
                               "c@orig.example")
            self.send(box, theirs, "x@fwd.test")
            count += 1
            second = self.envelope(sink, count)[0]
            self.assertTrue(second.startswith("SRS1="), second)
            if scheme == "Guarded":
                self.assertEqual(self.perl(there + 'print $s->reverse($ARGV[0]);', second), theirs)
            # an SRS1 is rewritten again: first hop and rest stay
            self.send(box, "SRS1=zzzzzz=" + second.split("=", 2)[2].replace("fwd.test", "third.example"), "x@fwd.test")
            count += 1
            third = self.envelope(sink, count)[0]
            self.assertEqual(third.split("=", 2)[2], second.split("=", 2)[2])

    @unittest.skipUnless(MAIL_SRS, "no Mail::SRS")
    def test_what_is_not_taken_back(self):
        """A wrong hash and an old stamp fail; what is no rewritten address at all is somebody else's business."""
        sink = self.sink()
        box = self.sluice(configuration("srs_secrets = topsecret\n", ALT).replace("SINKPORT", str(sink.port)))
        then = ("BEGIN { *CORE::GLOBAL::time = sub { CORE::time() - 86400 * $main::days } } use Mail::SRS; $main::days = $ARGV[0];"
                "print Mail::SRS->new(Secret => ['topsecret'], HashLength => 6)->forward('a@orig.example', 'fwd.test');")

        def made(days):
            return subprocess.run(["perl", "-e", then, "--", str(days)], capture_output=True, text=True).stdout
        self.send(box, "", made(30))
        self.assertEqual(self.envelope(sink, 1), ("", ["a@orig.example"]))
        for bad in (made(40), made(-3), re.sub("=.{6}=", "=AAAAAA=", made(0), count=1), made(0).replace("orig", "evil")):
            self.assertIn("SRS: the address is not ours, or too old", box.run("-bt", bad).out)
        box.run("-bt", "SRS0=x@fwd.test")
        self.send(box, "", "SRS0=x@fwd.test")
        self.assertEqual(self.envelope(sink, 2)[1], ["srs0=x@elsewhere.example"])
        self.assertEqual(len(sink.messages), 2)

    DATABASE = (ALT + "begin retry\n* * F,1d,1h\n").replace("  srs = forward\n  data", "  srs = forward\n  srs_dbinsert = INSERT\n  data", 1).replace(
        "  srs = reverse\n", "  srs = reverse\n  srs_dbselect = SELECT\n")

    def database(self, insert, select, main, break_it):
        """Senders of any length are kept in a database, and a key of 16 characters goes out in their place."""
        sink = self.sink()
        box = self.sluice(configuration("srs_secrets = topsecret\n" + main, self.DATABASE).replace("SINKPORT", str(sink.port))
                          .replace("INSERT", insert).replace("SELECT", select))
        sender = "a.very.long.and.curious+local=part-of_somebody@a.long.domain.name.example"
        self.send(box, sender, "x@fwd.test")
        made, _ = self.envelope(sink, 1)
        self.assertRegex(made, r"^SRS0=.{6}=..=.{16}@fwd\.test$")
        self.send(box, "", made)
        self.assertEqual(self.envelope(sink, 2), ("", [sender]))
        self.send(box, "", made.lower())  # the key is base64: what a relay has changed is nobody's
        self.send(box, "", re.sub("=.{16}@", "=AAAAAAAAAAAAAAAA@", made))
        self.send(box, "second@orig.example", "x@fwd.test")
        self.assertNotEqual(self.envelope(sink, 3)[0], made)
        break_it()
        self.send(box, "", made)
        box.wait_log(r"(?i)== \S*%s\S* .*failed to expand \"srs_dbselect\"" % re.escape(made.split("@")[0][5:]))
        self.send(box, "third@orig.example", "y@fwd.test")
        box.wait_log(r"== \S*y@fwd.test\S* .*failed to expand \"srs_dbinsert\"")
        self.assertEqual(len(sink.messages), 3)

    @unittest.skipUnless(shutil.which("redis-server"), "no redis-server")
    def test_database_redis(self):
        from test_redis import Redis
        redis = Redis()
        self.addCleanup(redis.kill)
        self.database("${lookup redis{SET srs:${quote_redis:$srs_db_key} ${quote_redis:$srs_db_address}}}",
                      "${lookup redis{GET srs:${quote_redis:$srs_db_key}}}",
                      f"redis_servers = 127.0.0.1::{redis.port}//\n", redis.kill)

    @unittest.skipUnless(shutil.which("sqlite3"), "no sqlite3")
    def test_database_sqlite(self):
        import sqlite3
        import tempfile
        folder = tempfile.mkdtemp(prefix="sluice-srs-")
        self.addCleanup(shutil.rmtree, folder, True)
        os.chmod(folder, 0o777)
        path = os.path.join(folder, "srs.db")
        with sqlite3.connect(path) as db:
            db.execute("create table srs (key text primary key, address text)")
        os.chmod(path, 0o666)

        def break_it():
            with sqlite3.connect(path) as db:
                db.execute("drop table srs")
        self.database("${lookup sqlite{insert or replace into srs values ('${quote_sqlite:$srs_db_key}', '${quote_sqlite:$srs_db_address}')}}",
                      "${lookup sqlite{select address from srs where key = '${quote_sqlite:$srs_db_key}'}}",
                      f"sqlite_dbfile = {path}\n", break_it)

    def test_one_half_of_a_database(self):
        text = ALT.replace("  srs = forward\n", "  srs = reverseandforward\n  srs_dbinsert = x\n", 1).replace("SINKPORT", "1")
        box = self.sluice(configuration("srs_secrets = s\n", text), start=False)
        self.assertIn("srs_dbinsert and srs_dbselect are to be set both", box.run("-bt", "x@fwd.test").out)

    def test_no_hash(self):
        """It works, and a warning says what it gives away."""
        for main, warned in (("srs_usehash = false\nsrs_secrets = s\n", True), ("srs_config = s:31:6:1:0\n", True),
                             ("srs_config = s:31:6:1:1\n", False), ("srs_secrets = s\n", False)):
            box = self.sluice(configuration(main, ALT).replace("SINKPORT", "1"), start=False)
            with self.subTest(main=main):
                done = box.run("-bV")
                self.assertEqual("without a hash can be made by anybody" in done.out + done.err, warned, done.out + done.err)

    def test_settings_that_do_not_fit(self):
        for main, why in (("", "no secret is given"), ("srs_secrets = " + 33 * "x" + "\n", "1 to 32 bytes"), ("srs_secrets = x\nsrs_maxage = 400\n", "srs_maxage"),
                          ("srs_config = x:nonsense\n", "malformed field")):
            box = self.sluice(configuration(main, ALT).replace("SINKPORT", "1"), start=False)
            done = box.run("-bt", "SRS0=abcdef=AA=x.y=z@fwd.test")
            with self.subTest(main=main):
                self.assertIn("SRS Configuration Error", done.out + done.err)


if __name__ == "__main__":
    unittest.main()
