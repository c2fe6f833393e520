"""Every option of Exim's command line: what it does, what is said of a malformed one, and the exit status. Where both programs
can be asked the same without anything being sent, the real Exim is asked too (SLUICE_ORACLE)."""
import fcntl
import os
import pwd
import re
import socket
import subprocess
import unittest

from harness import SLUICE, SluiceTest, until

ORACLE = os.environ.get("SLUICE_ORACLE", "")
LOGIN = pwd.getpwuid(os.getuid()).pw_name
AS_ROOT = unittest.skipUnless(os.getuid() == 0, "needs root")

CONF = """
primary_hostname = mx.test
spool_directory = DIR/spool
log_file_path = DIR/log/%s
qualify_domain = q.test
qualify_recipient = r.test
keep_environment = LANG
EXTRA
local_interfaces = 127.0.0.1
check_spool_space = 0
check_spool_inodes = 0
hide uucp_from_sender = secret
WORD = one
OTHER = two
domainlist locals = q.test : r.test
hide domainlist inner = x.test
acl_not_smtp = local
acl_smtp_rcpt = rcpt
begin acl
local:
  deny   condition = ${if eq{$h_subject:}{refused}}
         message = not this one
  accept
rcpt:
  warn   logwrite = rcpt $local_part host=$sender_host_address port=$received_port auth=$sender_host_authenticated
  deny   local_parts = bad
         message = go away
  accept
begin routers
lists:
  driver = redirect
  data = ${if eq{$local_part}{list}{a@r.test, b@r.test, nosuch@r.test}{${if eq{$local_part}{one}{a@r.test}}}}
fails:
  driver = redirect
  local_parts = f
  allow_fail
  data = :fail: gone
defers:
  driver = redirect
  local_parts = d
  allow_defer
  data = :defer: later
tests:
  driver = accept
  local_parts = noverify
  no_verify
  transport = store
senders:
  driver = accept
  local_parts = s
  senders = special@q.test
  transport = store
users:
  driver = accept
  domains = +locals
  local_parts = a : b : root
  transport = store
begin transports
store:
  driver = appendfile
  hide directory = DIR/mail/$local_part_data
  create_directory
  maildir_format
  user = USER
begin retry
* * F,2h,15m
"""


def oracle(test, config, *arguments, stdin=""):
    """What Exim says to the same: (status, standard output)."""
    done = subprocess.run([ORACLE, "-C", config, *arguments], input=stdin.encode(), capture_output=True, timeout=60)
    return done.returncode, done.stdout.decode("utf-8", "replace")


class CommandLine(SluiceTest):
    def setUp(self):
        self.box = self.sluice(CONF, start=False, macros={"EXTRA": ""})

    def run_it(self, *arguments, stdin="", **options):
        return self.box.run(*arguments, stdin=stdin, **options)

    def same(self, *arguments, stdin="", status=None, out=None):
        """Status and standard output, and that Exim's are the same."""
        done = self.run_it(*arguments, stdin=stdin)
        if status is not None:
            self.assertEqual((done.returncode, done.err), (status, done.err))
        if out is not None:
            self.assertEqual(done.out, out)
        if os.access(ORACLE, os.X_OK):
            self.assertEqual((done.returncode, done.out), oracle(self, self.box.config_file, *arguments, stdin=stdin))
        return done

    def submit(self, *arguments, text="Subject: x\n\nbody\n", **options):
        """One message into the queue; its envelope and header, as -Mvh shows them, with the id taken out."""
        before = self.box.queue_ids()
        self.run_it("-odq", *arguments, stdin=text, check=0, **options)
        new = [i for i in self.box.queue_ids() if i not in before]
        self.assertEqual(len(new), 1)
        return self.run_it("-Mvh", new[0], check=0).out.replace(new[0], "ID")


class Malformed(CommandLine):
    def test_unknown_and_incomplete(self):
        for arguments, words in (
                (["-bZ"], "sluice abandoned: unknown, malformed, or incomplete option -bZ"),
                (["-bhx"], "incomplete option -bhx"), (["-bh"], "incomplete option -bh"), (["-bpx"], "incomplete option -bpx"),
                (["-bem"], "incomplete option -bem"), (["-bnqx"], "option -bnqx"), (["-"], "option -"), (["--foo"], "option --foo"),
                (["-Mzz", "x"], "option -Mzz"), (["-Mvx"], "option -Mvx"), (["-tx"], "option -tx"), (["-vx"], "option -vx"),
                (["-xx"], "option -xx"), (["-mx"], "option -mx"), (["-ix"], "option -ix"), (["-I"], "option -I"), (["-A6"], "option -A6"),
                (["-e"], "option -e"), (["-ex"], "option -ex"), (["-oex"], "option -oex"), (["-odz"], "option -odz"),
                (["-oZ"], "option -oZ"), (["-oX"], "option -oX"), (["-f"], "option -f"), (["-F"], "option -F"), (["-C"], "option -C"),
                (["-L"], "option -L"), (["-h"], "option -h"), (["-h", "x"], "option -h"), (["-Tqt"], "option -Tqt"), (["-Tz"], "option -Tz"),
                (["-R"], "string expected after -R"), (["-S"], "string expected after -S"), (["-Rff"], "string expected after -Rff"),
                (["-qR"], "string expected after -qR"), (["-O"], "string expected after -O"), (["-X"], "string expected after -X"),
                (["-oA"], "string expected after -oA"), (["-oBx"], "number expected after -oB"), (["-oMa"], "data expected after -oMa"),
                (["-oMs"], "data expected after -oMs"), (["-oMa", "foo"], '"foo" is not an IP address'),
                (["-oMm", "foo"], "-oMm must be a valid message ID"),
                (["-bh", "nonsense"], '"nonsense" is not an IP address'), (["-bh", "1.2.3"], '"1.2.3" is not an IP address'),
                (["-bh", "[1.2.3.4"], "is not an IP address"),
                (["-q5x"], "bad time value -q5x: abandoned"), (["-qzz"], "bad time value -qzz"), (["-q0m"], "bad time value -q0m"),
                (["-qfi"], "bad time value -qfi"),
                (["-or"], "bad time value -or"), (["-or5x"], "bad time value -or5x"), (["-os"], "bad time value -os"),
                (["-p"], "bad item for: -p"), (["-D"], "must start with an upper case letter"), (["-Dx=1"], "must start with an upper case letter"),
                (["-d+nosuch"], "unknown debug_selector setting: +nosuch"), (["-dfoo"], 'expected but found "foo"'),
                (["-d=x"], "malformed debug_selector setting"),
                (["-f", "a@b@c", "x"], 'bad -f address "a@b@c": malformed address: @c may not follow a@b'),
                (["-M"], "no message ids given after -M option"), (["-Mrm"], "no message ids given after -Mrm option"),
                (["-M", "foo"], "malformed message id foo after -M option"), (["-Mf", "foo"], "malformed message id foo after -Mf option"),
                (["-Mar", "1xUcBe-000000002qz-3KuP"], "an address is expected after -Mar"),
                (["-Mes", "1xUcBe-000000002qz-3KuP", "a@b", "c@d"], "only one address is expected after -Mes"),
                (["-Mset"], "no message ids given after -Mset option"), (["-Mset", "xx"], "malformed message id xx after -Mset option"),
                (["-bmalware", "/x"], "content scanning is not available"),
                (["-qGx"], "named queues are not available"), (["-MG", "x", "y"], "named queues are not available"),
                (["-MC"], "nothing of the kind here"), (["-bw"], "inetd"), (["-L", "x" * 33], "the -L syslog name is too long"),
                (["-brt"], "-brt needs a domain or address argument"), (["-bI:nosuch"], "-bI:"),
                (["-bP", "nosuch"], "nosuch is not a known option"), (["-bP", "router", "x"], "router x not found"),
                (["-bP", "macro", "NOSUCH"], "NOSUCH not found"), (["-bP", "+nosuch"], 'list called "nosuch" exists'),
                (["-bem", "/nonexistent", "x"], "/nonexistent: No such file"),
                (["-M", "1xUcBe-000000002qz-3KuP"], "1xUcBe-000000002qz-3KuP"),
                (["-Mvh", "1xUcBe-000000002qz-3KuP"], "1xUcBe-000000002qz-3KuP")):
            with self.subTest(arguments):
                done = self.run_it(*arguments)
                self.assertEqual((done.returncode, done.out), (1, ""))
                self.assertIn(words, done.err)

    def test_what_does_not_go_together(self):
        message = "1xUcBe-000000002qz-3KuP"
        for arguments in (["-bd", "-bs"], ["-bd", "a@b"], ["-bd", "-f", "a@b"], ["-bd", "-q"], ["-bd", "-t"], ["-bt", "-bv", "a"],
                          ["-bt", "-bs"], ["-bP", "-bt"], ["-t", "-bs"], ["-f", "a@b", "-bs"], ["-Mf", message, "-bp"][::1][:2] + [message],
                          ["-bs", "-Mf", message], ["-q", "a@b"], ["-bp", "-bd"], ["-bi", "-t"], ["-Mset", message, "-bt", "a"],
                          ["-q5m", "-bt", "a"]):
            if arguments[0] == "-Mf":
                continue
            with self.subTest(arguments):
                done = self.run_it(*arguments)
                self.assertEqual((done.returncode, done.out), (1, ""))
                self.assertIn("incompatible command-line options or arguments", done.err)
                if os.access(ORACLE, os.X_OK) and arguments[0] != "-bd":
                    self.assertEqual(oracle(self, self.box.config_file, *arguments)[0], 1)

    def test_nothing_to_do(self):
        done = self.run_it()
        self.assertEqual(done.returncode, 1)
        self.assertIn("mail transfer agent", done.out)
        self.assertEqual(self.run_it("--help").returncode, 0)


class Accepted(CommandLine):
    def test_without_effect(self):
        """What sendmail's callers give: taken, with its value, and the message goes its way."""
        for arguments in (["-Ac"], ["-Am"], ["-B8BITMIME"], ["-B7bit"], ["-E"], ["-Efoo"], ["-em"], ["-ep"], ["-h", "3"], ["-h3"], ["-i"], ["-m"],
                          ["-n"], ["-O", "DeliveryMode=b"], ["-Ox"], ["-oB"], ["-oB5"], ["-oB", "5"], ["-om"], ["-oo"], ["-oY"], ["-U"],
                          ["-Uabc"], ["-v"], ["-ov"], ["-x"], ["-X", "/tmp/x"], ["-oi"], ["-oitrue"], ["-oem"], ["-oee"], ["-oep"],
                          ["-oeq"], ["-oew"], ["-odb", "-odq"], ["-odqs", "-odq"], ["-bm"], ["-bnq"], ["-or5m"], ["-or", "5m"], ["-os1h"],
                          ["-L", "name"], ["-G"], ["-N"], ["-oP", "/nonexistent/x"], ["-d"], ["-d+all"], ["-d-all+acl"], ["-dd+lookup"],
                          ["-d-all+deliver+route-dns"], ["-oA", "/x"], ["--"]):
            with self.subTest(arguments):
                shown = self.submit(*([*arguments, "a"] if arguments == ["--"] else ["-odq", *arguments, "a"]))
                self.assertIn("\n1\na@r.test\n", shown)

    def test_debugging_leaves_standard_output_clean(self):
        for option in ("-d", "-d+all", "-dd", "-d-all+expand", "-v", "-d=0xff", "-d=15"):
            with self.subTest(option):
                if option == "-d=0xff":
                    continue  # numbers are decimal
                self.assertEqual(self.run_it(option, "-be", "$qualify_domain", check=0).out, "q.test\n")
                self.assertEqual(self.run_it(option, "-bt", "a", check=0).out,
                                 "a@r.test\n  router = users, transport = store\n")
                self.assertEqual(self.run_it(option, "-bpc", check=0).out, "0\n")

    def test_options_end_at_the_first_argument(self):
        self.assertIn("\n2\na@r.test\n-odq@r.test\n", self.submit("a", "-odq"))
        self.same("-be", "a", "-d", "--", status=0, out="a\n-d\n--\n")

    def test_macros(self):
        self.same("-DWORD=changed", "-be", "WORD $primary_hostname", status=0, out="changed mx.test\n")
        self.same("-DNEW", "-be", "xNEWx", status=0, out="xx\n")
        self.same("-D NEW = a b", "-be", "NEW", status=0, out="a b\n")
        done = self.run_it(*["-DX%d=1" % i for i in range(70)], "-be", "x")
        self.assertEqual(done.returncode, 1)
        self.assertIn("too many -D options", done.err)

    def test_first_file_of_a_list(self):
        done = subprocess.run([SLUICE, "-C", "/nonexistent:" + self.box.config_file, "-bP", "config_file"], capture_output=True)
        self.assertEqual(done.stdout.decode(), self.box.config_file + "\n")
        done = subprocess.run([SLUICE, "-C", "/nonexistent", "-bV"], capture_output=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"non-existent configuration file(s): /nonexistent", done.stderr)


class Names(CommandLine):
    def named(self, name, *arguments, stdin=""):
        path = os.path.join(self.box.dir, name)
        if not os.path.exists(path):
            os.symlink(os.path.abspath(SLUICE), path)
        return self.run_it(*arguments, stdin=stdin, program=path)

    def test_names(self):
        text = "Subject: x\n\nbefore\n.\nbehind\n"
        for name in ("sendmail", "exim", "exim4", "rmail"):
            self.assertEqual(self.named(name, "-odq", "a", stdin=text).returncode, 0)
        listing = self.named("mailq")
        self.assertEqual((listing.returncode, listing.out.count("a@r.test")), (0, 4))
        self.assertEqual(self.named("newaliases").returncode, 0)
        self.assertEqual(self.named("rsmtp", "-odq", stdin="MAIL FROM:<x@y>\nRCPT TO:<b@r.test>\nDATA\nSubject: y\n\nz\n.\n").returncode, 0)
        self.assertEqual(self.box.queue_count(), 5)
        bodies = [self.run_it("-Mvb", i).out.partition("\n")[2] for i in self.box.queue_ids()]
        # A dot ends what sendmail reads, but for rmail it is a line like any other.
        self.assertEqual(sorted(bodies), sorted(["before\n"] * 3 + ["before\n.\nbehind\n", "z\n"]))
        self.assertEqual(self.named("runq").returncode, 0)
        self.assertEqual(self.box.queue_count(), 0)
        self.assertEqual(len(self.box.maildir("a")), 4)

    def test_newaliases_runs_the_administrators_program(self):
        script = os.path.join(self.box.dir, "rebuild")
        with open(script, "w") as f:
            f.write('#!/bin/sh\necho "rebuilding $1"\nexit 3\n')
        os.chmod(script, 0o755)
        self.box.macros["EXTRA"] = f"bi_command = {script}\n"
        self.box.write_config(CONF)
        done = self.named("newaliases", "-oA", "/etc/aliases")
        self.assertEqual((done.returncode, done.out), (3, "rebuilding /etc/aliases\n"))


class Tests(CommandLine):
    def test_expansions(self):
        lines = "$primary_hostname\nWORD\nset acl_m_x = y$qualify_domain\n$acl_m_x\na\\\n   b\nMINE = 7\nMINE MINE\n"
        self.assertEqual(self.run_it("-be", stdin=lines, check=0).out,
                         "> mx.test\n> one\n> variable m_x set\n> yq.test\n> ab\n> > 7 7\n> \n")
        self.same("-be", "${lc:ABC}", "${if eq{a}{b}{c}fail}", "x", status=0)
        self.same("-be", stdin="${uc:x}\n\nlast", status=0)
        self.assertIn("Failed: ", self.run_it("-be", "${foo", check=0).out)

    def test_expansions_with_a_message(self):
        path = os.path.join(self.box.dir, "message")
        with open(path, "w") as f:
            f.write("From: x@y\nTo: me@z, Other <you@z>\nCc: them\nSubject: hi\n\nthe body\nhas lines\n")
        strings = ("$h_subject:|$sender_address|$recipients|$message_body|$body_linecount|$header_to:", "$recipients_count")
        self.same("-f", "s@t", "-bem", path, *strings, status=0)
        self.same("-f", "s@t", "-t", "-bem", path, *strings, status=0)
        self.assertRegex(self.run_it("-bem", path, "$message_exim_id", check=0).out, r"^\w{6}-\w{11}-\w{4}\n$")
        self.submit("-f", "s@t", "a", "b", text="Subject: queued\n\nin the queue\n")
        message = self.box.queue_ids()[0]
        asked = ("-Mset", message, "-be", "$h_subject:|$sender_address|$recipients|$message_body|$message_exim_id")
        wanted = f"queued|s@t|a@r.test, b@r.test|in the queue |{message}\n"
        self.assertEqual(self.run_it(*asked, check=0).out, wanted)
        self.box.start()
        self.assertEqual(self.run_it(*asked, check=0).out, wanted)

    def test_addresses(self):
        self.same("-bt", "a", status=0, out="a@r.test\n  router = users, transport = store\n")
        self.same("-bt", "one", "a@q.test", status=0)
        self.same("-bt", "f", "a", status=2)
        self.same("-bt", "d", "a", status=1)
        self.same("-bt", "d", "f", "x@@y", status=2)
        self.same("-bt", "a", "a", status=0)
        self.same("-bt", "noverify", status=0)
        self.same("-bt", "s", status=2)
        self.same("-f", "special@q.test", "-bt", "s", status=0)
        self.same("-bt", stdin="a\nnosuch\n\n b \n", status=2)
        done = self.run_it("-bt", "list")
        self.assertEqual(done.returncode, 2)
        self.assertIn("nosuch@r.test is undeliverable: Unrouteable address\n    <-- list@r.test\n", done.out)

    def test_verification(self):
        self.same("-bv", "a", "list", "one", status=0, out="a@r.test verified\nlist@r.test verified\none@r.test verified\n")
        self.same("-bv", "f", "d", "noverify", "nosuch", "x@@y", status=2)
        self.same("-bv", "d", status=1)
        self.same("-bvs", "a", "nosuch", status=2)
        self.same("-bv", stdin="a\n", status=0)
        self.same("-bv", "-v", "a", "f", status=2)
        self.same("-v", "-bv", "one", status=0)
        self.assertEqual(self.run_it("-v", "-bv", "list").returncode, 2)

    def test_hosts(self):
        dialogue = "EHLO client\nMAIL FROM:<x@y>\nRCPT TO:<bad@r.test>\nRCPT TO:<a@r.test>\nDATA\nSubject: t\n\nb\n.\nQUIT\n"
        for option in ("-bh", "-bhc"):
            done = self.run_it("-oMi", "127.0.0.9.26", "-oMaa", "mech", option, "10.9.8.7.1234", stdin=dialogue, check=0)
            self.assertRegex(done.out, r"(?s)^220 mx.test.*550 .*go away.*354.*250 .*221 ")
            self.assertIn("as if from host 10.9.8.7\n", done.err)
            self.assertIn("This is not for real!", done.err)
            self.assertRegex(done.err, r"(?m)^LOG: (?!\d{4}-)")  # as Exim, without the date
            self.assertIn("rcpt bad host=10.9.8.7 port=26 auth=mech", done.err)
        for address in ("::1", "[::1]:25", "[10.1.2.3]:99", "fe80::1.25"):
            self.assertEqual(self.run_it("-bh", address, stdin="QUIT\n").returncode, 0, address)
        self.assertEqual(self.box.queue_count(), 0)
        self.assertEqual(self.box.log(), "")

    def test_retry_rules(self):
        self.same("-brt", "x@y.test", status=0)
        self.same("-brt", "y.test", "other.test", status=0)

    def test_information(self):
        self.assertEqual(self.run_it("-bI:help").returncode, 0)
        self.assertIn("-bI:dscp", self.run_it("-bI:help").out)
        self.assertIn("\nef\n", self.run_it("-bI:dscp", check=0).out)
        self.assertEqual(self.run_it("-bI:sieve", check=0).err, "")


class Printing(CommandLine):
    def test_version(self):
        for option in ("-bV", "--version"):
            done = self.run_it(option, check=0)
            self.assertRegex(done.out, r"^Exim version 4\.98 #\d+ built .*sluice \d")
            self.assertIn(f"\nConfiguration file is {self.box.config_file}\n", done.out)
            for title in ("Support for:", "Lookups (built-in):", "Authenticators:", "Routers:", "Transports:"):
                self.assertIn("\n" + title, done.out)
        words = re.search("Support for:(.*)", done.out).group(1).split()
        self.assertIn("IPv6", words)
        for absent in ("OpenSSL", "GnuTLS", "PRDR", "PROXY", "Content_Scanning", "DANE"):
            self.assertNotIn(absent, words)
        lookups = re.search(r"Lookups \(built-in\):(.*)", done.out).group(1).split()
        self.assertIn("lsearch", lookups)
        self.assertNotIn("nisplus", lookups)

    def test_macros_claim_what_is_there(self):
        macros = self.run_it("-bP", "macro_list", check=0).out.split("\n")
        for macro in ("_HAVE_IPV6", "_HAVE_LOOKUP_LSEARCH", "_HAVE_LOOKUP_LMDB", "_HAVE_I18N", "_HAVE_CRYPTEQ", "_DRIVER_ROUTER_ACCEPT",
                      "_OPT_MAIN_SPOOL_DIRECTORY", "_LOG_ALL", "WORD", "_HAVE_TLS", "_HAVE_OCSP", "_HAVE_TLS_RESUME",
                      "_HAVE_DKIM", "_HAVE_SPF", "_HAVE_DMARC", "_HAVE_ARC", "_HAVE_SRS"):
            self.assertIn(macro, macros)
        for macro in ("_HAVE_PRDR", "_HAVE_PROXY", "_HAVE_LOOKUP_NISPLUS", "_HAVE_CONTENT_SCANNING", "_HAVE_DANE"):
            self.assertNotIn(macro, macros)
        self.box.write_config(".ifdef _HAVE_DANE\nnosuch_option = x\n.endif\n" + CONF)
        self.run_it("-bV", check=0)

    def test_options(self):
        everything = self.run_it("-bP", check=0).out
        self.assertIn("\nqualify_domain = q.test\n", everything)
        self.assertEqual(self.run_it("-bP", "all", check=0).out, everything)
        for arguments in (["qualify_domain", "primary_hostname"], ["hold_domains"], ["+locals"], ["router_list"], ["transport_list"],
                          ["authenticator_list"], ["config_file"], ["configure_file"], ["macro", "WORD"], ["no_such_option_at_all"][:0] +
                          ["check_spool_space"]):
            with self.subTest(arguments):
                self.same("-bP", *arguments, status=0)
        self.same("-n", "-bP", "qualify_domain", "hold_domains", status=0, out="q.test\n\n")
        self.same("-bP", "-n", "qualify_domain", status=0, out="q.test\n")
        for arguments, line in ((["router", "users"], "transport = store\n"), (["transport", "store"], "driver = appendfile\n"),
                                (["routers"], "\nusers router:\n"), (["transports"], "\nstore transport:\n"),
                                (["config"], "qualify_domain = q.test\n"), (["macros"], "WORD=one\n"), (["macro_list"], "WORD\n")):
            with self.subTest(arguments):
                self.assertIn(line, self.run_it("-bP", *arguments, check=0).out)
        self.assertIn("LANG=tongues\n", self.run_it("-bP", "environment", check=0, env={"LANG": "tongues"}).out)
        done = self.run_it("-bP", "nosuch", "qualify_domain")
        self.assertEqual((done.returncode, done.out), (1, "qualify_domain = q.test\n"))

    @AS_ROOT
    def test_others_do_not_see_what_is_hidden(self):
        """Not even one who may read the file, since the answer of the program is what other programs show."""
        os.makedirs(os.path.join(self.box.dir, "spool"), exist_ok=True)

        def ask(*arguments, uid=12345, status=0):
            done = subprocess.run([SLUICE, "-C", self.box.config_file, *arguments], capture_output=True, text=True, user=uid, group=uid,
                                  extra_groups=[], env={"ASAN_OPTIONS": "exitcode=99"})
            self.assertEqual(done.returncode, status, done.stderr)
            return done.stdout
        for arguments, line in ((["uucp_from_sender"], "uucp_from_sender = <value not displayable>\n"),
                                (["+inner"], "domainlist inner = <value not displayable>\n")):
            self.assertEqual(ask("-bP", *arguments), line)
            self.assertNotIn("not displayable", ask("-bP", *arguments, uid=0))
        self.assertIn("directory = <value not displayable>\n", ask("-bP", "transport", "store"))
        self.assertIn("qualify_domain = q.test\n", ask("-bP", "qualify_domain"))
        for word in ("config", "macros", "macro_list"):
            self.assertEqual(ask("-bP", word, status=1), "")
        # Nor why an address fails; and the queue is none of his business.
        self.assertEqual(ask("-bt", "f", status=2), "f@r.test is undeliverable\n")
        self.assertEqual(ask("-bv", "f", status=2), "f@r.test failed to verify\n")
        for arguments in (["-bp"], ["-bpc"], ["-q"], ["-M", "1xUcBe-000000002qz-3KuP"], ["-Mrm", "1xUcBe-000000002qz-3KuP"], ["-bd"],
                          ["-z", "x"]):
            self.assertEqual(ask(*arguments, status=1), "", arguments)


class Submission(CommandLine):
    def test_envelope_of_trusted_users(self):
        shown = self.submit("-oMa", "1.2.3.4.99", "-oMs", "host.example", "-oMr", "smtp", "-oMt", "me", "-oMaa", "mech", "-oMai", "id",
                            "-oMas", "s@x", "-oMi", "127.0.0.2.25", "a@b")
        for line in ("host_address [1.2.3.4]:99", "host_name host.example", "host_auth mech", "interface_address [127.0.0.2]:25", "ident me",
                     "received_protocol smtp", "auth_id id", "auth_sender s@x"):
            self.assertRegex(shown, f"(?m)^-+{re.escape(line)}$")
        self.assertRegex(shown, r"P Received: from host.example \(\[1.2.3.4\] ident=me\)\n\tby mx.test with smtp ")
        self.assertNotIn("Message-Id:", shown)  # it came from elsewhere: not ours to complete
        self.assertRegex(self.submit("-pproto:host.example", "a@b"), r"(?s)received_protocol proto\n")
        self.assertIn("<z@y>\n", self.submit("-r", "z@y", "a@b"))
        self.assertIn("<z@y>\n", self.submit("-fz@y", "a@b"))
        self.assertIn("\n<>\n", self.submit("-f", "<>", "a@b"))
        self.assertIn("\n<>\n", self.submit("-f", "", "a@b"))
        self.assertRegex(self.submit("-F", "Some One", "a@b"), f'F From: "?Some One"? <{LOGIN}@q.test>')
        self.assertNotIn("Message-Id:", self.submit("-G", "a@b"))

    def test_recipients(self):
        self.assertIn("\n3\na@r.test\nb@c\nd@e\n", self.submit("a, b@c", "d@e"))
        text = "To: a, not@me\nBcc: hidden@x\nSubject: x\n\n.\nmore\n"
        shown = self.submit("-ti", "not@me", text=text)
        self.assertIn("\n2\na@r.test\nhidden@x\n", shown)
        self.assertNotRegex(shown, r"(?m)^\d+[^*] Bcc")
        self.assertIn("\nmore", self.run_it("-Mvb", self.box.queue_ids()[-1]).out)

    def test_refusals_are_told_and_mailed(self):
        for option, status, mailed in (("-oem", 1, 1), ("-oee", 0, 1), ("-oep", 1, 0), ("-oeq", 1, 0), ("-oew", 1, 1), ("-em", 1, 1)):
            for arguments, text, words in ((["-t"], "Subject: x\n\nb\n", "no recipients found in headers"),
                                           (["a"], "Subject: refused\n\nthe body\n", "not this one"), (["a@@b"], "\n\n", "domain missing")):
                with self.subTest(option, arguments=arguments):
                    before = self.box.queue_ids()
                    done = self.run_it("-odq", option, *arguments, stdin=text)
                    self.assertEqual(done.returncode, status)
                    self.assertIn(words, done.err)
                    new = [i for i in self.box.queue_ids() if i not in before]
                    self.assertEqual(len(new), mailed)
                    if new:
                        shown = self.run_it("-Mvh", new[0]).out
                        self.assertIn("\n<>\n", shown)
                        self.assertIn(f"\n1\n{LOGIN}@r.test\n", shown)
                        self.assertIn(words, self.run_it("-Mvb", new[0]).out)

    def test_sessions(self):
        dialogue = "EHLO x\r\nMAIL FROM:<s@t>\r\nRCPT TO:<a@r.test>\r\nDATA\r\nSubject: d\r\n\r\nb\r\n.\r\nQUIT\r\n"
        done = self.run_it("-odq", "-bs", stdin=dialogue, check=0)
        self.assertRegex(done.out, r"(?s)^220 .*250 .*354 .*250 .*221 ")
        batch = "MAIL FROM:<s@t>\nRCPT TO:<a@r.test>\nDATA\nSubject: d\n\nb\n..\n.\nMAIL FROM:<s@t>\nRCPT TO:<b@r.test>\nDATA\n\nc\n.\n"
        self.assertEqual(self.run_it("-odq", "-bS", stdin=batch).returncode, 0)
        self.assertEqual(self.box.queue_count(), 3)
        self.assertNotEqual(self.run_it("-odq", "-bS", stdin="MAIL FROM:<s@t>\nRCPT TO:<a@@b>\n").returncode, 0)

    def test_foreground_delivery(self):
        for option in ("-odf", "-odi"):
            self.run_it(option, "a", stdin="Subject: x\n\nb\n", check=0)
        self.assertEqual(len(self.box.maildir("a")), 2)
        self.box.start()
        for count in (3, 4, 5):
            self.run_it("-odi", "a", stdin="Subject: x\n\nb\n", check=0)
            self.assertEqual(len(self.box.maildir("a")), count)


class Queue(CommandLine):
    def fill(self):
        for sender, to in (("one@x.test", "a"), ("two@y.test", "b"), ("", "d@r.test")):
            self.run_it("-odq", "-f", sender, to, stdin=f"Subject: to {to}\n\nbody of {to}\n", check=0)
        ids = self.box.queue_ids()
        self.assertEqual(len(ids), 3)
        return ids

    def each_way(self, check):
        """On the spool itself, and by the daemon."""
        for daemon in (False, True):
            with self.subTest(daemon=daemon):
                self.box = self.sluice(CONF, start=False, macros={"EXTRA": ""})
                ids = self.fill()
                if daemon:
                    self.box.start()
                check(ids)

    def test_lists(self):
        def check(ids):
            plain = self.run_it("-bp", check=0).out
            self.assertRegex(plain, r"(?m)^ *\d+[mhd] +\d+ +" + ids[0] + r" <one@x.test>\n +a@r.test\n\n")
            self.assertRegex(plain, ids[2] + r" <>\n")
            for option in ("-bpa", "-bpu", "-bpi", "-bpr", "-bpra", "-bpru", "-bpri"):
                out = self.run_it(option, check=0).out
                self.assertEqual(sorted(re.findall(r"\w{6}-\w{11}-\w{4}", out)), sorted(ids), option)
            self.assertEqual(self.run_it("-bpc", check=0).out, "3\n")
        self.each_way(check)

    def test_actions(self):
        def check(ids):
            self.assertEqual(self.run_it("-Mf", *ids[:2], check=0).out.count("is now frozen"), 2)
            self.assertEqual(self.run_it("-bp").out.count("*** frozen ***"), 2)
            self.assertIn("is no longer frozen", self.run_it("-Mt", ids[0], check=0).out)
            self.assertIn(f"{ids[0]}-H\n", self.run_it("-Mvh", ids[0], check=0).out)
            self.assertIn("body of a\n", self.run_it("-Mvb", ids[0], check=0).out)
            self.assertRegex(self.run_it("-Mvc", ids[0], check=0).out, r"(?s)^Received: .*Subject: to a\n.*\n\nbody of a\n$")
            self.run_it("-Mar", ids[0], "b@r.test", "c@r.test", check=0)
            self.run_it("-Mes", ids[0], "new@sender.test", check=0)
            self.run_it("-Mmd", ids[0], "c@r.test", check=0)
            self.assertRegex(self.run_it("-bp").out,
                             ids[0] + r" <new@sender.test>\n +a@r.test\n +b@r.test\n +D c@r.test\n")
            self.run_it("-Mmad", ids[1], check=0)
            self.assertIn("has been removed", self.run_it("-Mrm", ids[2], check=0).out)
            self.assertNotIn(ids[2], self.run_it("-bp").out)
            self.assertEqual(self.run_it("-Mrm", ids[2]).returncode, 1)
            self.run_it("-M", ids[0], check=0)
            self.assertEqual([len(self.box.maildir(user)) for user in "abc"], [1, 1, 0])
            self.assertNotIn(ids[0], self.run_it("-bp").out)
        self.each_way(check)

    def test_giving_up(self):
        ids = self.fill()
        self.run_it("-Mg", ids[2], check=0)
        self.assertNotIn(ids[2], self.run_it("-bp").out)

    def test_runs(self):
        def check(ids):
            self.run_it("-R", "nowhere", check=0)
            self.run_it("-Sf", "nobody", check=0)
            self.run_it("-Rr", "^x.*y$", check=0)
            self.assertEqual(self.box.queue_count(), 3)
            self.run_it("-R", "A@R.test", check=0)
            self.assertEqual((len(self.box.maildir("a")), self.box.queue_count()), (1, 2))
            self.run_it("-Srf", "^two@[xy]", check=0)
            self.assertEqual((len(self.box.maildir("b")), self.box.queue_count()), (1, 1))
            for option in ("-q", "-qf", "-qff", "-qi", "-ql", "-qq", "-qqff", "-qifl", "-qR"):
                self.run_it(option, *(["d@"] if option == "-qR" else []), check=0)
            self.assertEqual(self.box.queue_count(), 1)
        self.each_way(check)

    def test_runs_from_and_to(self):
        def check(ids):
            self.run_it("-q", ids[1], ids[1], check=0)
            self.assertEqual([len(self.box.maildir(user)) for user in "ab"], [0, 1])
            self.run_it("-qff", ids[1], check=0)
            self.assertEqual(len(self.box.maildir("a")), 0)
            self.run_it("-q", ids[0], check=0)
            self.assertEqual(len(self.box.maildir("a")), 1)
        self.each_way(check)

    def test_not_delivered(self):
        """-N: as if it had been."""
        self.run_it("-odf", "-N", "a", stdin="Subject: x\n\nb\n", check=0)
        self.assertEqual((self.box.queue_count(), self.box.maildir("a")), (0, []))
        self.assertIn(" *> a ", self.box.log())

    def test_remarks(self):
        self.run_it("-z", "the disk was changed", check=0)
        self.assertRegex(self.box.log(), r"(?m)^[-\d]+ [:\d]+ the disk was changed$")


class Turns(SluiceTest):
    """A spool is one process's at a time, and whoever comes while another has it waits."""

    def test_submissions_at_once(self):
        dirs = self.sluice(start=False)
        command = [SLUICE, "-C", dirs.config_file, "-odq", "-f", "s@test", "alice@test"]
        several = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=dirs.environment())
                   for _ in range(6)]
        for one in several:
            with one:
                _, err = one.communicate(b"Subject: x\n\nbody\n", timeout=120)
            self.assertEqual((one.returncode, err), (0, b""))
        self.assertEqual(dirs.queue_count(), 6)

    def test_daemon_and_command_wait_for_the_lock(self):
        dirs = self.sluice(start=False)
        dirs.run("-bpc", check=0)  # makes the spool
        with open(os.path.join(dirs.dir, "spool", "lock"), "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            dirs.start(wait=False)
            waiting = subprocess.Popen([SLUICE, "-C", dirs.config_file, "-bpc"], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, env=dirs.environment())
            until(dirs.has_started, "the supervisor's pid file")
            self.assertIsNone(waiting.poll())
        with dirs.client():
            pass
        with waiting:
            self.assertEqual(waiting.communicate(timeout=60), (b"0\n", b""))


class ControlSocket(SluiceTest):
    """Any local user may connect to it: whatever he sends, he gets an answer or the end, and the others are served."""

    config = CONF.replace("EXTRA", "")

    def setUp(self):
        # A shard may give its banner before the socket is there.
        until(self.listens, "the control socket")

    def listens(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            return sock.connect_ex(os.path.join(self.shared().dir, "spool", "control")) == 0

    def ask(self, *pieces):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(20)
        sock.connect(os.path.join(self.shared().dir, "spool", "control"))
        with sock:
            for piece in pieces:
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            while True:
                try:
                    more = sock.recv(65536)
                except ConnectionResetError:
                    break
                if not more:
                    break
                answer += more
        return answer

    def test_malformed(self):
        for request in (b"\n", b"x\n", b"5\n", b"5 5 5\nhello", b"-1 0\n", b"0 0\n", b"99999999999999999999 0\n", b"2000000 0\n",
                        b"0 999999999\n", b"x" * 600, b"\0" * 600, b"3 0\nab\0", b"1 0\n\0", b"6 0\nsubmit", b"7 0\nsession",
                        b"4 0\nrun\0", b"8 0\nrun\0x\0\0\0", b"4 0\nact\0", b"8 0\nact\0999\0", b"7 0\nact\0x\0y", b"8 0\ndeliver\0",
                        b"12 0\ndeliver\0foo\0"):
            with self.subTest(request[:20]):
                answer = self.ask(request)
                self.assertTrue(answer == b"" or answer.startswith(b"\1FAIL "), answer)
        self.assertEqual(self.ask(b""), b"")
        self.assertEqual(self.ask(b"6 0\ncount\0"), b"0\n\1OK\n")
        self.assertEqual(self.ask(b"6 0\n", b"count\0"), b"0\n\1OK\n")

    def test_who_waits_does_not_make_others_wait(self):
        path = os.path.join(self.shared().dir, "spool", "control")
        silent = []
        try:
            for _ in range(20):
                silent.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                silent[-1].connect(path)
            silent[0].sendall(b"500 0\nlist")
            self.assertEqual(self.ask(b"6 0\ncount\0"), b"0\n\1OK\n")
        finally:
            for sock in silent:
                sock.close()
        self.assertEqual(self.ask(b"6 0\ncount\0"), b"0\n\1OK\n")

    @AS_ROOT
    def test_the_kernel_says_who_asks(self):
        shared = self.shared()
        os.chmod(os.path.join(shared.dir, "spool"), 0o755)
        script = ("import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
                  "s.sendall(eval(sys.argv[2]))\nsys.stdout.write(s.makefile('rb').read().decode())\n")
        for request in (b"6 0\ncount\0", b"5 0\nlist\0", b"8 0\nrun\x000\0\0\0", b"32 0\ndeliver\x001xUcBe-000000002qz-3KuP\0",
                        b"30 0\nact\x000\x001xUcBe-000000002qz-3KuP\0", b"7 0\nnosuch\0"):
            with self.subTest(request):
                done = subprocess.run(["/usr/bin/python3", "-c", script, os.path.join(shared.dir, "spool", "control"), repr(request)],
                                      capture_output=True, text=True, user=12345, group=12345, extra_groups=[], timeout=30)
                self.assertEqual(done.stdout, "\1FAIL permission denied\n", done.stderr)


if __name__ == "__main__":
    unittest.main()
