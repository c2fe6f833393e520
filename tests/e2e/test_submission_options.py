"""Options about those who hand in mail on this host: their names, "From " lines, when it is delivered; beside Exim's results."""
import os
import pwd
import re
import subprocess
import unittest

from harness import SLUICE, Sink, SluiceTest, configuration, until

ORACLE = os.environ.get("SLUICE_ORACLE", "")
CONF = """
primary_hostname = mx.test
qualify_domain = q.test
spool_directory = DIR/WHOSE
log_file_path = DIR/WHOSE-%slog
exim_user = USER
keep_environment =
queue_only
check_spool_space = 0
check_spool_inodes = 0
acl_not_smtp = accept
acl_smtp_rcpt = accept
OPTIONS
"""
FROM = "From uucp@far.test Fri Jan  5 12:35 GMT 1996\n"
MAIL = "To: a@b.test\nSubject: s\n\nbody\n"


@unittest.skipUnless(os.getuid() == 0, "needs root, to hand in mail as others")
class Submissions(SluiceTest):
    def both(self, options, text, *arguments, uid=None, stdin=None, compare=slice(None)):
        """(sender, From: line, Sender: line, first line of the body) of the message that each of the two has queued then."""
        results = []
        for whose, program in (("ours", SLUICE), ("theirs", ORACLE)):
            if not os.access(program, os.X_OK) or (uid is not None and program == ORACLE):
                continue  # nobody can run Exim as another than root and its own user, who is trusted, without installing it
            box = self.sluice(CONF.replace("OPTIONS", options).replace("WHOSE", whose), start=False)
            os.chmod(box.dir, 0o777)
            # Root's, so that nobody is an administrator because of it.
            os.makedirs(os.path.join(box.dir, whose), exist_ok=True)
            os.chmod(os.path.join(box.dir, whose), 0o777)
            who = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
            done = subprocess.run([program, "-C", box.config_file, *arguments], input=(stdin or text).encode(), capture_output=True,
                                  timeout=60, env={"ASAN_OPTIONS": "exitcode=99", "PATH": "/bin:/usr/bin"}, **who)
            self.assertEqual(done.returncode, 0, (program, done.stdout, done.stderr))
            with open(os.path.join(box.dir, f"{whose}-mainlog")) as f:
                log = f.read()
            for top, _, files in os.walk(os.path.join(box.dir, whose)):
                for name in (".", *files):
                    os.chown(os.path.join(top, name), pwd.getpwnam("nobody").pw_uid, -1)
            found = re.search(r" (\S+) <= (\S+)", log)
            self.assertTrue(found, (program, log, done.stderr))
            shown = [subprocess.run([program, "-C", box.config_file, what, found[1]], capture_output=True, timeout=60).stdout.decode()
                     for what in ("-Mvh", "-Mvb")]
            line = {name: re.search(rf"(?m)^\d+[A-Z ] {name}: (.*)$", shown[0]) for name in ("From", "Sender")}
            results.append([found[2], *(line[name] and line[name][1] for name in line), shown[1].split("\n", 1)[1].split("\n")[0],
                            re.search(r" U=(\S+)", log)[1]])
        for result in results[1:]:
            self.assertEqual(results[0][compare], result[compare], (options, text, arguments))
        return results[0]

    def test_from_line(self):
        sender, _, _, body, _ = self.both("", FROM + MAIL, "-t")
        self.assertEqual((sender, body), ("uucp@far.test", "body"))
        self.assertEqual(self.both("", "From joe\n" + MAIL, "a@b.test")[3], "From joe")  # not of the pattern: the body begins
        self.assertEqual(self.both("uucp_from_pattern = ^From (\\S+) by (\\S+)\nuucp_from_sender = $2@$1\n",
                                   "From far.test by x\n" + MAIL, "-t")[0], "x@far.test")
        self.assertEqual(self.both("", "From <> Fri Jan  5 12:35 GMT 1996\n" + MAIL, "-t")[0], "<>")
        self.assertEqual(self.both("", "From a@@b Fri Jan  5 12:35 GMT 1996\n" + MAIL, "-t")[0], "root@q.test")
        self.assertEqual(self.both("", FROM + MAIL, "-t", "-f", "other@far.test")[0], "other@far.test")

    def test_from_line_of_the_untrusted(self):
        news = pwd.getpwnam("news").pw_uid
        self.assertEqual(self.both("", FROM + MAIL, "-t", uid=news)[0], "news@q.test")
        self.assertEqual(self.both("untrusted_set_sender = *@far.test\n", FROM + MAIL, "-t", uid=news)[0], "uucp@far.test")

    def test_from_line_over_smtp(self):
        """It is overlooked; Exim also believes it more than MAIL FROM."""
        dialogue = "HELO x\r\nMAIL FROM:<s@x.test>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n" + (FROM + MAIL).replace("\n", "\r\n") + ".\r\nQUIT\r\n"
        for options, body in (("", FROM.rstrip()), ("ignore_fromline_local\n", "body")):
            result = self.both(options, "", "-bs", stdin=dialogue, compare=slice(3, None))
            self.assertEqual((result[0], result[3]), ("s@x.test", body))
        for hosts, body in (("", FROM.rstrip()), ("10.9.8.7", "body"), ("10.9.8.6", FROM.rstrip())):
            result = self.both(f"ignore_fromline_hosts = {hosts}\n", "", "-bs", "-oMa", "10.9.8.7", "-oMt", "i", stdin=dialogue, compare=slice(3, None))
            self.assertEqual((result[0], result[3]), ("s@x.test", body))

    def test_gecos(self):
        name = pwd.getpwuid(0).pw_gecos
        self.assertEqual(self.both("", MAIL, "-t")[1], f"{name} <root@q.test>")
        for options, full in (("gecos_pattern = ^(.)(..)\ngecos_name = $2-$1x\n", f"{name[1:3]}-{name[0]}x"),
                              ("gecos_pattern = ^nobodyhasthis\ngecos_name = x\n", name), ("gecos_name = x\n", name)):
            self.assertEqual(self.both(options, MAIL, "-t")[1], f"{full} <root@q.test>")
        box = self.sluice("gecos_pattern = (\n", start=False)
        self.assertIn("gecos_pattern", box.run("-bV", check=1).err)

    def test_unknown_user(self):
        uid = 54321
        self.assertRaises(KeyError, pwd.getpwuid, uid)
        result = self.both("unknown_login = u$caller_uid\nunknown_username = Some Body\n", MAIL, "-t", uid=uid)
        self.assertEqual(result, ["u54321@q.test", "Some Body <u54321@q.test>", None, "body", "u54321"])
        result = self.both("unknown_login = somebody\n", MAIL, "-t", "-F", "Own Name", uid=uid)
        self.assertEqual(result[:2], ["somebody@q.test", "Own Name <somebody@q.test>"])


QUEUEING = """
primary_hostname = mx.test
qualify_domain = q.test
spool_directory = DIR/spool
log_file_path = DIR/log/%s
exim_user = USER
queue_only = QUEUEONLY
queue_only_override = OVERRIDE
queue_only_file = FILES
check_spool_space = 0
check_spool_inodes = 0
acl_not_smtp = accept
begin routers
out:
  driver = manualroute
  domains = out.test
  route_list = * 127.0.0.1
  self = send
  transport = smtp
here:
  driver = accept
  transport = file
begin transports
smtp:
  driver = smtp
  port = SINKPORT
file:
  driver = appendfile
  file = DIR/mail/box
  user = USER
"""


class Queueing(SluiceTest):
    def delivered(self, main, *arguments):
        box = self.sluice(QUEUEING, macros=main, start=False)
        box.run(*arguments, "-t", stdin=MAIL, check=0)
        return " Completed" in box.log()

    def test_override(self):
        for queue_only, override, option, delivered in (
                ("yes", "yes", "-odb", True), ("yes", "no", "-odb", False), ("yes", "yes", "-odi", True), ("yes", "no", "-odf", False),
                ("no", "yes", "-odq", False), ("no", "no", "-odq", True), ("yes", "yes", None, False), ("no", "yes", None, True)):
            with self.subTest((queue_only, override, option)):
                main = {"QUEUEONLY": queue_only, "OVERRIDE": override, "FILES": ""}
                self.assertEqual(self.delivered(main, *([option] if option else [])), delivered)

    def test_override_of_the_file(self):
        for override, delivered in (("yes", True), ("no", False)):
            main = {"QUEUEONLY": "no", "OVERRIDE": override, "FILES": "/etc/passwd"}
            self.assertEqual(self.delivered(main, "-odb"), delivered)

    def test_only_what_goes_out_waits(self):
        """A file with "smtp" in front of its name, and -odqs: local deliveries are made."""
        sink = Sink()
        self.addCleanup(sink.close)
        text = MAIL.replace("a@b.test", "a@b.test, x@out.test")
        for files, option in (("smtp/etc/passwd", "-odb"), ("smtp/etc/passwd", None), ("", "-odqs")):
            main = {"QUEUEONLY": "no", "OVERRIDE": "no", "FILES": files, "SINKPORT": str(sink.port)}
            box = self.sluice(QUEUEING, macros=main, start=False)
            box.run(*([option] if option else []), "-t", stdin=text, check=0)
            with self.subTest((files, option)):
                self.assertIn("=> a <a@b.test> R=here", box.log())
                self.assertNotIn("=> x@out.test", box.log())
                box.run("-q", check=0)
                self.assertIn("=> x@out.test", until(lambda: "Completed" in box.log() and box.log(), "the queue run"))

    def test_smtp_timeout(self):
        """-os: how long a client may be silent: in the command's own session, in one that the daemon serves for it, in the daemon's."""
        def silent(box):
            program = [SLUICE, "-C", box.config_file, "-os1s", "-bs"]
            with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as session:
                said = session.stdout.read()  # to its end: nothing is ever sent
                session.stdin.close()
            self.assertRegex(said, rb"^220 .*\r\n421 .*\r\n$")
            self.assertIn("SMTP command timeout", box.log())

        silent(self.sluice(configuration(), start=False))
        silent(self.sluice(configuration()))
        box = self.sluice(configuration(), arguments=("-os", "1s"))
        with box.client() as client:
            client.wait(421)


if __name__ == "__main__":
    unittest.main()
