"""Every option of every table is either read by code or named here with the reason why not. An option that is read into a field
which nobody looks at would be the worst of all: the file loads, and the administrator believes it."""
import glob
import os
import re
import subprocess
import unittest

from harness import SLUICE, SluiceTest
from test_options import SPECIAL, VALUES, names

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
ORACLE = os.environ.get("SLUICE_ORACLE", "")

# Fields that no code reads, since what they ask for is so anyway: a warning would worry people who get what they want.
ALWAYS_SO = {
    "queue_run_in_order": "queue runs take the oldest first",
    "queue_run_max": "the daemon never starts a run while another is under way",
    "same_domain_copy_routing": "equal questions to the DNS are asked once",
    "dnssec_request_domains": "every question asks for the AD bit",
    "exim_path": "a variable, which reads it by its name in a macro",
}
# Rooms that are being furnished by others: a field may wait there for its reader.
ROOMS_AT_WORK = re.compile(r"^(tls|dkim|dmarc|arc|spf|srs|dane|ldap|ocsp|hosts_(request|require)_(ocsp|alpn)|hosts_\w*tls|openssl|bmi|dcc|av_|spamd|dns_servers)")


def sources():
    result = {}
    for pattern in ("lib/*/*.[ch]", "server/*.[ch]"):
        for path in glob.glob(os.path.join(ROOT, pattern)):
            with open(path) as f:
                result[os.path.relpath(path, ROOT)] = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    return result


def rows(text):
    """(field, flagged) of the rows in a source file: OPT_...(struct, field, ...), CONF_ROW, and macros that a file makes of them."""
    local = {}
    for name, body in re.findall(r"(?m)^#define (\w+)\(((?:.*\\\n)*.*)$", text):
        if re.search(r"\b(OPT_[A-Z_]+|CONF_ROW)\(", body):
            local[name] = "LATER" in body or "NO_EFFECT" in body
    for macro, arguments in re.findall(r"(?<!#define )\b([A-Z][A-Z_]+)\(([^()]*)", text):
        words = [w.strip() for w in arguments.split(",")]
        if macro in local:
            yield words[0], local[macro] or "OPTION_LATER" in arguments
        elif macro.startswith("OPT_") and len(words) > 2 and macro != "OPT_NO_EFFECT" or macro == "CONF_ROW":
            yield words[1], "LATER" in macro or "OPTION_LATER" in arguments


class Fields(unittest.TestCase):
    def test_each_is_read(self):
        texts = sources()
        everything = "\n".join(texts.values())
        count = 0
        for path, text in sorted(texts.items()):
            for field, flagged in rows(text):
                if not re.fullmatch(r"[a-z]\w+", field):
                    continue
                count += 1
                if re.search(rf"(->|\.)\s*{field}\b", everything) or flagged or field in ALWAYS_SO or ROOMS_AT_WORK.match(field):
                    continue
                self.fail(f"option {field} of {path} is read into a field that no code looks at: implement it, or make it a row "
                          "with OPTION_LATER or OPTION_NO_EFFECT and a reason, which is told when a file sets it")
        self.assertGreater(count, 500)  # the rows were found at all

    def test_the_test_sees_what_is_dead(self):
        found = dict(rows('OPT_BOOL(struct x, nobody_reads_this, "no", "help"),\n    OPT_LATER(struct x, told, bool, &conf_bool, "no", "why"),\n'))
        self.assertEqual(found, {"nobody_reads_this": False, "told": True})


class Told(SluiceTest):
    """What has no effect says so, and why."""

    def warnings(self, text):
        done = self.sluice(text, start=False).run("-bV")
        self.assertEqual(done.returncode, 0, done.err)
        return dict(re.findall(r'option "(\w+)" (?:has no effect: (.+)|is not yet in effect)', done.out + done.err))

    def test_reasons(self):
        lines = []
        for path, text in sources().items():
            for name, reason in re.findall(r'\{"(\w+)", &conf_\w+, 0, (?:NULL|"[^"]*"),\s*("[^"]*"|NULL),\s*OPTION_NO_EFFECT\}', text):
                lines.append(name)
                self.assertNotEqual(reason, "NULL", f"{name} of {path} has no effect, and nobody says why")
        self.assertGreater(len(lines), 20)

    def test_main_options(self):
        kinds = dict(names()["main"]["-"])
        text = "".join(f"{name} = {SPECIAL.get(name, VALUES.get(kinds[name], 'x'))}\n" for name in
                       ("keep_malformed", "oracle_servers", "perl_startup", "disable_fsync", "split_spool_directory"))
        told = self.warnings(text)
        self.assertEqual(len(told), 5, told)
        self.assertTrue(all(told.values()), told)

    def test_drivers(self):
        told = self.warnings("begin transports\np:\n  driver = pipe\n  command = /bin/true\n  permit_coredump\n  use_classresources\n"
                             "  no_ignore_status\ns:\n  driver = smtp\n  hosts_try_fastopen = :\n")
        self.assertEqual(set(told), {"permit_coredump", "use_classresources"})
        self.assertTrue(all(told.values()), told)


# Defaults of -bP that are not Exim's, with the reason; "" where only one of the two has the option.
OTHER_DEFAULTS = {
    "exim_group": "of the build", "exim_user": "of the build", "exim_path": "of the build",
    "exim_version": "of the build", "ldap_version": "shown as it is used", "pid_file_path": "the file that -oP names, or none",
    "process_log_path": "has no effect", "received_header_text": "the built-in one is made without an expansion",
    "smtp_banner": "the name of the program", "smtp_connect_backlog": "README", "sqlite_lock_timeout": "a time",
    "spool_directory": "of the build", "log_file_path": "of the build",
}


@unittest.skipUnless(os.access(ORACLE, os.X_OK), "no Exim here (SLUICE_ORACLE)")
class Printed(SluiceTest):
    """-bP beside Exim's."""

    def both(self, text, *arguments):
        box = self.sluice(text, start=False)
        os.chmod(box.dir, 0o777)
        theirs = subprocess.run([ORACLE, "-C", box.config_file, *arguments], capture_output=True, text=True, timeout=60).stdout
        return theirs.splitlines(), box.run(*arguments).out.splitlines()

    HEAD = "primary_hostname = mx.test\nlog_file_path = DIR/%slog\nspool_directory = DIR/spool\nkeep_environment =\n"

    @staticmethod
    def named(lines):
        return {re.sub(r"^no_", "", line).split(" =")[0]: line.rstrip() for line in lines}

    def test_defaults(self):
        theirs, ours = map(self.named, self.both(self.HEAD, "-bP"))
        self.assertEqual(sorted(set(theirs) - set(ours)), [])
        self.assertGreater(len(theirs), 250)
        for name, line in theirs.items():
            if name not in OTHER_DEFAULTS and not ROOMS_AT_WORK.match(name):
                with self.subTest(name):
                    self.assertEqual(line, ours[name])

    def test_values(self):
        """Every option of the manual, set to something."""
        theirs, _ = map(self.named, self.both(self.HEAD, "-bP"))
        text = self.HEAD
        for name, kind in names()["main"]["-"]:
            value = SPECIAL.get(name, VALUES.get(kind, "x"))
            if name in theirs and value is not None and not re.search(rf"(?m)^{name} =", text) and name != "driver" and \
                    not ROOMS_AT_WORK.match(name) and name not in ("hide", "perl_startup", "perl_at_start", "daemon_modules_load", "system_filter_group", "system_filter_user"):
                text += f"{name} = {value}\n"
        theirs, ours = map(self.named, self.both(text, "-bP"))
        self.assertGreater(len(theirs), 250)
        for name, line in theirs.items():
            if re.search(rf"(?m)^{name} =", text) and name not in OTHER_DEFAULTS:
                with self.subTest(name):
                    self.assertEqual(line, ours.get(name))

    def test_hidden(self):
        box = self.sluice(self.HEAD + "hide qualify_domain = secret.test\nhide mysql_servers = x/y/z/pass\nbegin authenticators\n"
                          "a:\n  driver = plaintext\n  public_name = PLAIN\n  hide client_send = ^u^secret\n", start=False)
        os.mkdir(os.path.join(box.dir, "spool"))  # whose owner may see everything
        if os.getuid() != 0:
            self.skipTest("needs root, to ask as another")
        for program in (ORACLE, SLUICE):
            for arguments in (("qualify_domain",), ("mysql_servers",), ("authenticator", "a")):
                done = subprocess.run([program, "-C", box.config_file, "-bP", *arguments], capture_output=True, text=True, timeout=60,
                                      user="nobody", group="nogroup", extra_groups=[])
                with self.subTest(arguments, program=program):
                    self.assertNotRegex(done.stdout, "secret|pass")
                    self.assertIn("<value not displayable>", done.stdout)

    def test_secret_by_itself(self):
        """Options of ours that hold passwords are hidden without the word."""
        box = self.sluice(self.HEAD + "tls_ticket_secret = sixteen letters and more secret\ntls_ticket_redis_servers = 127.0.0.1::6379//pass\n"
                          "ratelimit_redis_servers = 127.0.0.1::6379//pass\n", start=False)
        os.mkdir(os.path.join(box.dir, "spool"))
        for name in ("tls_ticket_secret", "tls_ticket_redis_servers", "ratelimit_redis_servers"):
            self.assertRegex(box.run("-bP", name, check=0).out, f"^{name} = .*(secret|pass)")
            if os.getuid() == 0:
                done = subprocess.run([SLUICE, "-C", box.config_file, "-bP", name], capture_output=True, text=True, timeout=60, user="nobody",
                                      group="nogroup", extra_groups=[])
                self.assertEqual(f"{name} = <value not displayable>\n", done.stdout)


if __name__ == "__main__":
    unittest.main()
