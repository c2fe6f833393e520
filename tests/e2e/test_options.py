"""Main options that change how sluice receives mail, starts, and is set up: each against what it does when it is not set."""
import os
import re
import socket
import threading
import time
import unittest

from harness import Client, Sink, SluiceTest, configuration, until


class Receiving(SluiceTest):
    def test_ratelimit_slows_recipients_and_mails(self):
        box = self.sluice(configuration("smtp_ratelimit_hosts = *\nsmtp_ratelimit_rcpt = 1,0.3s,1.5,4s\n"
                                        "smtp_ratelimit_mail = 1,0.4s,1.0,4s\n"))
        with box.client() as c:
            c.ehlo()
            c.expect("MAIL FROM:<s@client.test>", 250)
            begin = time.monotonic()
            c.expect("RCPT TO:<alice@test>", 250)
            c.expect("RCPT TO:<bob@test>", 250)
            c.expect("RCPT TO:<carol@test>", 250)
            self.assertGreaterEqual(time.monotonic() - begin, 0.3 + 0.45)
            c.expect("RSET", 250)
            begin = time.monotonic()
            c.expect("MAIL FROM:<s@client.test>", 250)
            self.assertGreaterEqual(time.monotonic() - begin, 0.4)

    def test_ratelimit_malformed(self):
        box = self.sluice(configuration("smtp_ratelimit_mail = 1,2,x,4\n"), start=False)
        done = box.run("-bV")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("smtp_ratelimit_mail", done.err)

    def test_load_reserve(self):
        box = self.sluice(configuration("smtp_load_reserve = 0.0\nsmtp_reserve_hosts = 127.0.0.2\n"), start=False)
        with open("/proc/loadavg") as f:
            if float(f.read().split()[0]) == 0:
                self.skipTest("the machine has nothing to do")
        box.start(wait=False)
        until(box.has_started, "the daemon")
        with Client(box.port, banner=False) as c:
            c.wait(421, "Too much load; please try again later")
        with Client(box.port, source="127.0.0.2") as c:
            c.ehlo()
        box.wait_log("refused: load average = ")

    def test_queue_only_file(self):
        box = self.sluice(configuration("queue_only_file = DIR/other : DIR/wait\n"), start=False)
        flag = os.path.join(box.dir, "wait")
        with open(flag, "w"):
            pass
        box.start()
        with box.client() as c:
            c.ehlo()
            c.message("Subject: one\r\n\r\nbody\r\n")
            self.assertEqual(len(box.queue_ids()), 1)
            os.unlink(flag)
            c.message("Subject: two\r\n\r\nbody\r\n")
        self.assertIn(b"Subject: two", box.wait_mail()[0])
        self.assertEqual(len(box.queue_ids()), 1)

    def test_log_space(self):
        box = self.sluice(configuration("check_log_space = 900000000M\n"))
        with box.client() as c:
            c.ehlo()
            c.expect("MAIL FROM:<s@client.test>", 452, "Space shortage")
        self.assertRegex(box.run("-be", "$log_space $log_inodes", check=0).out, r"^[1-9]\d+ ([1-9]\d+|-1)\n$")

    def test_helo_lookup_domains(self):
        main = "helo_lookup_domains = HELOLIST\nhost_lookup_order = byaddr\n"
        for which, found in (("ours.test", True), ("other.test", False)):
            box = self.sluice(configuration(main.replace("HELOLIST", which)))
            with box.client() as c:
                c.ehlo("ours.test")
                c.envelope()
                c.data("Subject: x\r\n\r\nbody\r\n")
            line = box.wait_log(" <= ")
            self.assertEqual(bool(re.search(r"H=localhost\S* \(ours\.test\)|H=\S+ \(ours\.test\)", line)), found, line)
            box.stop()

    def test_etrn_serialize(self):
        """The same ETRN again, while the first one's delivery waits for a host that says nothing."""
        go = threading.Event()
        sink = Sink(lambda verb, argument, session: go.wait(30) and None)
        self.addCleanup(sink.close)
        self.addCleanup(go.set)
        box = self.sluice(configuration("acl_smtp_etrn = accept\nqueue_only\n"), macros={"SINKPORT": str(sink.port)})
        with box.client() as c:
            c.ehlo()
            c.message("Subject: x\r\n\r\nbody\r\n", rcpts=["r@elsewhere.test"])
            c.expect("ETRN elsewhere.test", 250)
            c.expect("ETRN Elsewhere.test", 458, "Already processing")
            c.expect("ETRN another.test", 250)
            go.set()
            sink.wait(1)
            until(lambda: c.cmd("ETRN elsewhere.test").code == 250, "the first run to be over")


VALUES = {"b": "yes", "i": "1", "o": "0640", "t": "5m", "T": "1h:2h", "f": "1.5", "I": "25", "H": "127.0.0.1", "D": "a.test",
          "A": "a@a.test", "L": "a"}
# Where not every text is a value.
SPECIAL = {
    "acl_smtp_data": "accept", "admin_groups": "root", "delay_warning": "1h", "driver": None, "exim_group": "root",
    "exim_user": "root", "group": "root", "never_users": "root", "trusted_groups": "root", "trusted_users": "root", "user": "root",
    "host_lookup_order": "bydns", "local_interfaces": "127.0.0.1", "extra_local_interfaces": "127.0.0.1", "log_selector": "+all",
    "log_file_path": "/nonexistent/%s", "spool_directory": "/nonexistent", "smtp_ratelimit_mail": "1,1s,1.1,1m",
    "smtp_ratelimit_rcpt": "1,1s,1.1,1m", "syslog_facility": "mail", "localhost_number": "1", "header_maxsize": "1M",
    "command_user": "root", "command_group": "root", "self": "send", "owners": "root", "owngroups": "root",
    "route_list": "* localhost", "hosts": "127.0.0.1", "query": "x", "command": "/bin/true", "socket": None, "file": "/x",
    "directory": None, "host_find_failed": "defer", "host_all_ignored": "defer", "create_file": "anywhere", "protocol": "smtp",
    "transport": "t", "redirect_router": "r", "pass_router": "r", "shadow_transport": "t", "public_name": "X", "data": "x@a.test",
    "quota": "1M", "file_format": "\"From : t\"", "max_rcpt": "1", "errors_reply_to": "x@a.test", "local_from_check": "no", "dns_check_names_pattern": "^x", "uucp_from_pattern": "^x",
    "gecos_pattern": "^x", "message_suffix": "x",
}


def names():
    """{section: {driver: [(name, type)]}} of option_names.txt."""
    result = {}
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "option_names.txt")) as f:
        for line in f:
            if not line.startswith("#"):
                section, driver, *words = line.split()
                result.setdefault(section, {}).setdefault(driver, []).extend(word.split(":") for word in words)
    return result


class Starting(SluiceTest):
    def test_a_port_that_another_has(self):
        """It is tried for as often as the options say, and then told."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen(1)
            box = self.sluice(configuration("daemon_startup_retries = 2\ndaemon_startup_sleep = 0s\n"), start=False)
            done = box.run("-bdf", "-oX", f"127.0.0.1.{taken.getsockname()[1]}", "-oP", box.pid_file)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.err.count("is in use by another"), 2)
        self.assertIn("cannot listen on", done.err)

    def test_dns_options(self):
        """dns_retrans and dns_retry bound how long a silent resolver is waited for."""
        box = self.sluice(configuration("dns_retrans = 2h\n"), start=False)
        done = box.run("-bV")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("dns_retrans", done.err)

    def test_no_effect_is_told_once_it_is_asked_for(self):
        box = self.sluice(configuration("disable_fsync\nno_deliver_drop_privilege\nkeep_malformed = 1h\n"), start=False)
        done = box.run("-bV", check=0)
        told = done.err + done.out
        self.assertIn('"disable_fsync" has no effect: an accepted message is always on the disk', told)
        self.assertIn('"keep_malformed" has no effect', told)
        self.assertNotIn("deliver_drop_privilege", told)


class Known(SluiceTest):
    """Every option that the manual names is known: implemented, or warned of."""

    def refused(self, text):
        box = self.sluice(text, start=False)
        done = box.run("-bV")
        return done.err + done.out if done.returncode and re.search('" unknown|cannot find', done.err + done.out) else ""

    def all_known(self, what, head, options, indent=""):
        """Many at a time; ever fewer where a value did not suit, since that must not hide the names behind it."""
        options = [o for o in options if o[0] != "driver"]
        if self.sluice(head + self.settings(options, indent), start=False).run("-bV").returncode == 0:
            return
        if len(options) > 1:
            half = len(options) // 2
            self.all_known(what, head, options[:half], indent)
            self.all_known(what, head, options[half:], indent)
            return
        name = options[0][0]
        line = self.settings(options, indent) or f"{indent}{name} = x\n"
        with self.subTest(f"{what} {name}"):
            self.assertEqual(self.refused(head + line), "")

    def settings(self, options, indent=""):
        return "".join(f"{indent}{name} = {SPECIAL.get(name, VALUES.get(kind, 'x'))}\n" for name, kind in options
                       if SPECIAL.get(name, "") is not None)

    def test_main(self):
        self.all_known("main", "", names()["main"]["-"])

    def test_drivers(self):
        for section, drivers in names().items():
            for driver, options in drivers.items():
                if section != "main" and driver != "-":
                    head = f"begin {section}\nx:\n  driver = {driver}\n"
                    self.all_known(driver, head, drivers["-"] + options, "  ")

    def test_older_names_are_known(self):
        """An upgrade needs no new file: the warning names the new word."""
        for text, new in (("tpda_delivery_action = x\n", "event_action"), ("dns_use_dnssec = 1\n", "dns_dnssec_ok"),
                          ("return_size_limit = 1K\n", "bounce_return_size_limit"), ("tpda_event_action = x\n", "event_action"),
                          ("proxy_required_hosts = a\n", "hosts_proxy"), ("gnutls_enable_pkcs11\n", "gnutls_allow_auto_pkcs11")):
            done = self.sluice(text, start=False).run("-bV", check=0)
            self.assertIn(new, done.err + done.out)

    def test_unknown_names_get_a_suggestion(self):
        for text, name in (("qualify_domian = x\n", "qualify_domain"),
                           ("begin routers\nr:\n  driver = accept\n  transprot = x\n", "transport"),
                           ("begin acl\na:\n  accept conditon = x\n", "condition"),
                           ("begin transports\nt:\n  driver = smtp\n  helo_dat = x\n", "helo_data")):
            box = self.sluice(text, start=False)
            done = box.run("-bV")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(f'did you mean "{name}"?', done.err)


if __name__ == "__main__":
    unittest.main()
