"""Main options whose effect is seen from outside: what is asked of the DNS, commands that ETRN runs, the order of deliveries,
users that are looked for again, and DNSSEC in the log."""
import os
import re
import subprocess
import time
import unittest

from harness import SluiceTest, Sink, configuration, until
from nameserver import SILENT, Nameserver

ORACLE = os.environ.get("SLUICE_ORACLE", "")


class Questions(SluiceTest):
    def world(self, zone, main="", authentic=False):
        dns = Nameserver(zone) if not authentic else Nameserver(zone, authentic)
        self.addCleanup(dns.close)
        return dns, self.sluice(configuration(f"dns_servers = 127.0.0.1:{dns.port}\ndns_retrans = 1s\ndns_retry = 2\n{main}"), start=False)

    def test_names_that_are_asked_for(self):
        """dns_check_names_pattern: others do not exist, and nobody is asked; TXT records are anybody's."""
        zone = {"a+b.test": [("A", "192.0.2.1"), ("TXT", "t"), ("MX", 1, "mx.test")], "a-b.test": [("A", "192.0.2.1")],
                "_sip._tcp.x.test": [("SRV", 1, 2, 3, "mx.test")]}
        queries = ("a=a+b.test", "mx=a+b.test", "txt=a+b.test", "a=a-b.test", "srv=_sip._tcp.x.test", "a=b\u00fccher.test")
        lines = "\n".join("${lookup dnsdb{%s}{yes}{no}}" % query for query in queries)
        zone["xn--bcher-kva.test"] = [("A", "192.0.2.1")]  # a U-label is asked for as what the DNS knows it by
        for main, found in (("", "no no yes yes yes yes"), ("dns_check_names_pattern =\n", "yes yes yes yes yes yes"),
                            ("dns_check_names_pattern = ^a[^-]b\n", "yes yes yes no no no")):
            dns, box = self.world(zone, main)
            with self.subTest(main):
                answers = [box.run("-be", line, check=0).out.strip() for line in lines.split("\n")]
                self.assertEqual(answers, found.split())
                self.assertEqual(("a+b.test", "A") in dns.asked, answers[0] == "yes")
        self.assertIn("dns_check_names_pattern", self.sluice("dns_check_names_pattern = (\n", start=False).run("-bV", check=1).err)

    def test_slow_questions_are_logged(self):
        for main, logged in (("slow_lookup_log = 100\n", True), ("", False), ("slow_lookup_log = 60000\n", False)):
            _, box = self.world({"slow.test": SILENT, "fast.test": [("A", "192.0.2.1")]}, main)
            box.run("-bem", "/dev/null", "${lookup dnsdb{defer_never,a=slow.test}}${lookup dnsdb{a=fast.test}}")
            box.start()
            with box.client() as c:
                c.ehlo()
                c.cmd("MAIL FROM:<s@client.test>")
            box.stop()
            with self.subTest(main):
                log = box.log()
                self.assertEqual(bool(re.search(r"Long A lookup for 'slow\.test': \d{3,} msec", log)), logged, log)
                self.assertNotIn("fast.test", log)


class Etrn(SluiceTest):
    def test_command(self):
        main = "acl_smtp_etrn = accept\nsmtp_etrn_command = /bin/sh -c \"echo done >> DIR/log/etrn\" x $primary_hostname\n"
        box = self.sluice(configuration(main))
        with box.client() as c:
            c.ehlo()
            c.expect("ETRN anything", 250)
            until(lambda: os.path.exists(os.path.join(box.dir, "log/etrn")), "the command")
        self.assertNotIn("queue run", box.log())

    def test_client_text_is_no_argument(self):
        for command, code, why in (("/bin/echo $domain", 458, "Tainted arg 1 for ETRN processing command: '--help'"),
                                   ("$domain", 458, "Tainted arg 0"), ("echo x", 458, "no absolute path"), ("/bin/echo \"", 458, "malformed"),
                                   ("/nonexistent/x ok", 250, "exec of \"/nonexistent/x\" (ETRN) failed"),
                                   ("/bin/echo \"${if eq{$domain}{--help}{known}{other}}\"", 250, "")):
            box = self.sluice(configuration(f"acl_smtp_etrn = accept\nsmtp_etrn_command = {command}\n"))
            with self.subTest(command), box.client() as c:
                c.ehlo()
                c.expect("ETRN --help", code)
                if why:
                    self.assertIn(why, box.wait_log(re.escape(why), "panic"))
            box.stop()


SORTED = """
begin acl
rcpt_acl:
  accept
begin routers
out:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = smtp
begin transports
smtp:
  driver = smtp
  port = SINKPORT
  allow_localhost
  max_rcpt = 1
  multi_domain = false
begin retry
* * F,2h,15m
"""


class Order(SluiceTest):
    def test_remote_sort_domains(self):
        for option, order in (("*.b.test : c.test", ["r@x.b.test", "r@y.b.test", "r@c.test", "r@a.test"]),
                              ("", ["r@c.test", "r@a.test", "r@x.b.test", "r@y.b.test"])):
            sink = Sink()
            self.addCleanup(sink.close)
            box = self.sluice(configuration(f"remote_max_parallel = 1\nremote_sort_domains = {option}\n", SORTED),
                              macros={"SINKPORT": str(sink.port)})
            with box.client() as c:
                c.ehlo()
                c.message("Subject: x\r\n\r\nb\r\n", rcpts=["r@c.test", "r@a.test", "r@x.b.test", "r@y.b.test"])
            box.wait_log("Completed")
            self.assertEqual([rcpts[0] for _, rcpts, _ in sink.messages], order)
            box.stop()


class Users(SluiceTest):
    def test_finduser_retries(self):
        """An unknown user is looked for once more, a second later; a known one is not."""
        text = configuration("finduser_retries = 1\n", "begin routers\nu:\n  driver = accept\n  check_local_user\n  transport = t\n"
                             "begin transports\nt:\n  driver = appendfile\n  file = /dev/null\n", acl_rcpt=False)
        box = self.sluice(text, start=False)
        for user, seconds in (("nosuchuserhere", 1), ("nobody", 0)):
            begin = time.monotonic()
            box.run("-bt", f"{user}@test")
            took = time.monotonic() - begin
            quick = self.sluice(text.replace("finduser_retries = 1\n", ""), start=False)
            begin = time.monotonic()
            quick.run("-bt", f"{user}@test")
            self.assertEqual(took - (time.monotonic() - begin) > 0.7, bool(seconds), user)


class LoadChecks(SluiceTest):
    """What the file asks for and cannot be: refused by both."""

    BAD = ("errors_reply_to = x\n", "errors_reply_to = a@@b\n", "local_sender_retain\n", "syslog_facility = nothing\n",
           "uucp_from_pattern = (\n", "log_selector = +nothing\n", "log_selector = nothing\n", "message_size_limit\n", "queue_only = perhaps\n",
           "daemon_startup_sleep = 5x\n", "smtp_accept_max = many\n", "queue_only_load = x\n", "exim_user = nobodyhasthisname\n",
           "never_users = nobodyhasthisname\n", "host_lookup_order = bymagic\n", "syslog_processname = " + 33 * "x" + "\n",
           "delay_warning = soon\n", "timeout_frozen_after = 3\n\x01", "smtp_ratelimit_mail = 1,2\n", "localhost_number = 77\n",
           "no_primary_hostname\n", "queue_only = yes\nqueue_only = yes\n", "check_spool_space = -1x\n")

    def test_refused(self):
        for text in self.BAD:
            box = self.sluice(text, start=False)
            os.chmod(box.dir, 0o777)
            with self.subTest(text):
                self.assertNotEqual(box.run("-bV").returncode, 0)

    @unittest.skipUnless(os.access(ORACLE, os.X_OK), "no Exim here (SLUICE_ORACLE)")
    def test_each_main_option_beside_exim(self):
        """Values that are of no kind: both take them or both refuse them."""
        box = self.sluice("", start=False)
        os.chmod(box.dir, 0o777)
        head = f"keep_environment =\nlog_file_path = {box.dir}/%slog\nspool_directory = {box.dir}/spool\nprimary_hostname = mx.test\n"

        def answers(program, text):
            box.write_config(head + text)
            return subprocess.run([program, "-C", box.config_file, "-bV"], capture_output=True, timeout=60, cwd=box.dir).returncode == 0
        for text in self.BAD:
            if "localhost_number" not in text and "host_lookup_order" not in text and "smtp_ratelimit" not in text and "check_spool" not in text:
                with self.subTest(text):
                    self.assertFalse(answers(ORACLE, text))


if __name__ == "__main__":
    unittest.main()
