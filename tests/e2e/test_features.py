"""Numbered checks (tests/features.md) that no other file makes; and that every test which that table names is there."""
import os
import re
import shutil
import subprocess
import threading
import time
import unittest

from harness import DEADLINE_S, POLICY, SLUICE, Client, SluiceTest, configuration, free_port, until
from test_transports import exim

HERE = os.path.dirname(os.path.abspath(__file__))
BLACKHOLE = "begin routers\nall:\n  driver = redirect\n  data = :blackhole:\n"


class Table(unittest.TestCase):
    def test_named_tests_exist(self):
        with open(os.path.join(HERE, "../features.md"), encoding="utf-8") as f:
            named = set(re.findall(r"`((?:e2e|unit|fuzz)/[\w/.]+)(?:: (\w+))?`", f.read()))
        self.assertGreater(len(named), 100)
        for file, function in sorted(named):
            path = os.path.join(HERE, "..", file)
            self.assertTrue(os.path.exists(path), file)
            if function:
                with open(path, encoding="utf-8") as f:
                    self.assertRegex(f.read(), rf"(?m)^ *(def|static void|class) {function}\b", file)


class Acl(SluiceTest):
    """F24, F25, F31, F33."""

    def test_examples_of_the_documents(self):
        """F24.1, F25.2, F34.1, F37.1: what the documents of the features print, in the smallest complete file: it loads, old names and
        misprints included, and the ACLs run."""
        config = f"""SRS_SECRET = seven
SPAMMER_SET = SET SPAMMER x
redis_servers = 127.0.0.1::{free_port()}/10/ : 127.0.0.1::{free_port()}//password
.ifndef _HAVE_SRS
no_srs = error
.endif
.ifndef _HAVE_NATIVE_SRS
no_native_srs = error
.endif
.ifndef _HAVE_LMDB
no_lmdb = error
.endif
.ifndef _HAVE_LOOKUP_REDIS
no_redis = error
.endif
.ifndef _HAVE_DMARC
no_dmarc = error
.endif
.ifndef _HAVE_SPF
no_spf = error
.endif
.ifndef _RESUME_DECODE
no_decode = error
.endif
domainlist local_domains = test
domainlist relay_to_domains = relay.test
domainlist screwed_up_dmarc_records = odd.test
hostlist local_hosts = 127.0.0.1
hostlist relay_from_ips = <\\n ${{lookup redis{{SMEMBERS relay_from_ips}}}}
domainlist virtual_domains = ${{lookup redis {{HGET $domain domain}}}}
acl_smtp_connect = connect_acl
acl_smtp_data = data_acl
dmarc_forensic_sender = reports@test
""" + """
begin acl
connect_acl:
  defer message = Slow down
        ratelimit = 5000 / 5s / per_conn / strict
  accept
rcpt_acl:
  warn domains = +local_domains
       hosts = +local_hosts
       control = dmarc_disable_verify
  warn !domains = +screwed_up_dmarc_records
       control = dmarc_enable_forensic
  warn condition = ${if eq{$local_part}{list}}
       set acl_m_mailing_list = 1
  deny message = $sender_host_address is not allowed to send mail from $sender_address_domain
       spf = fail
       domains = spf.test
  warn local_parts = redis
       set acl_c_spammer = ${if eq{${lookup redis{SPAMMER_SET}}}{OK}}
  accept domains = +local_domains
         endpass
         verify = recipient
  accept domains = +relay_to_domains
  deny
data_acl:
  warn dmarc_status = accept : none : off
       !authenticated = *
       log_message = DMARC DEBUG: $dmarc_status $dmarc_used_domain
       add_header = $dmarc_ar_header
  warn dmarc_status = !accept
       !authenticated = *
       log_message = DMARC DEBUG: '$dmarc_status' for $dmarc_used_domain
  warn dmarc_status = quarantine
       !authenticated = *
       set $acl_m_quarantine = 1
  deny condition = ${if eq{$dmarc_domain_policy}{reject}}
       condition = ${if eq{$acl_m_mailing_list}{1}}
       message = Messages from $dmarc_used_domain break mailing lists
  deny dmarc_status = reject
       !authenticated = *
       message = Message from $domain_used_domain failed sender's DMARC policy, REJECT
  warn verify = arc/none:fail:pass
       add_header = :at_start:${authresults {$primary_hostname}}
       logwrite = oldest-p-ams: <${reduce {$lh_ARC-Authentication-Results:} {} {${if = {$arc_oldest_pass} {${extract {i}{${extract {1}{;}{$item}}}}} {$item} {$value}}}}>
  accept
begin routers
outbound:
  driver = dnslookup
  domains = ! +local_domains
  ignore_target_hosts = 127.0.0.0/8
  transport = ${if eq {$local_part@$domain} {$original_local_part@$original_domain} {remote_smtp} {remote_forwarded_smtp}}
inbound_srs:
  driver = redirect
  senders = :
  domains = +local_domains
  condition = ${if inbound_srs {$local_part} {SRS_SECRET}}
  data = $srs_recipient
inbound_srs_failure:
  driver = redirect
  senders = :
  domains = +local_domains
  condition = ${if inbound_srs {$local_part} {}}
  allow_fail
  data = :fail: Invalid SRS recipient address
users:
  driver = accept
  local_parts = alice : list : redis
  transport = box
begin transports
remote_smtp:
  driver = smtp
remote_forwarded_smtp:
  driver = smtp
  max_rcpt = 1
  return_path = ${srs_encode {SRS_SECRET} {$return_path} {$original_domain}}
box:
  driver = appendfile
  directory = DIR/mail/alice
  maildir_format
  user = USER
begin authenticators
dovecot_plain:
  driver = dovecot
  public_name = PLAIN
  server_socket = 127.0.0.1 12345
  server_tls = true
  server_set_id = $auth1
"""
        server = self.sluice(configuration(config.replace("\nbegin acl", "\nSPLIT\nbegin acl").partition("SPLIT\n")[0],
                                           config.partition("\nbegin acl")[1] + config.partition("\nbegin acl")[2]))
        with server.client() as client:
            client.ehlo()
            client.expect("MAIL FROM:<s@client.test>", 250)
            client.expect("RCPT TO:<redis@test>", 250)  # "warn": the statement is skipped while Redis is away
            client.expect("RCPT TO:<nobody@test>", 550)
            client.expect("RCPT TO:<x@relay.test>", 250)
            client.expect("RCPT TO:<x@elsewhere.test>", 550)
            client.expect("RSET", 250)
            client.message("From: s@client.test\r\nSubject: x\r\n\r\nbody\r\n")
        message = server.wait_mail()[0]
        self.assertRegex(message, rb"(?i)^(Return-path: .*\n)?.*Authentication-Results: mx\.test")
        server.wait_log("oldest-p-ams: <>")
        bounce = server.client()
        self.addCleanup(bounce.close)
        bounce.ehlo()
        bounce.expect("MAIL FROM:<>", 250)
        bounce.expect("RCPT TO:<SRS0=AAAA=AA=b.example=a@test>", 550, "Invalid SRS recipient address")

    def test_variables_over_messages(self):
        """F24.4: $acl_m_ ends with RSET, EHLO, the message; $acl_c_ stays for the connection; both go with the message."""
        policy = """begin acl
mail_acl:
  accept condition = ${if eq{$sender_address}{first@client.test}}
         set acl_m_x = mail of $sender_address
         set acl_c_x = first was here
  accept
rcpt_acl:
  deny local_parts = ask
       message = m=<$acl_m_x> c=<$acl_c_x>
  accept
begin routers
box:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  directory = DIR/mail/alice
  maildir_format
  user = USER
  headers_add = X-Both: m=<$acl_m_x> c=<$acl_c_x>
"""
        server = self.sluice(configuration("acl_smtp_mail = mail_acl\n", policy))
        with server.client() as client:
            client.ehlo()
            for end in ("RSET", "EHLO again.test", "message"):
                client.expect("MAIL FROM:<first@client.test>", 250)
                client.expect("RCPT TO:<ask@test>", 550, r"m=<mail of first@client\.test> c=<first was here>")
                if end == "message":
                    client.expect("RCPT TO:<alice@test>", 250)
                    client.data("Subject: x\r\n\r\nb\r\n")
                else:
                    client.expect(end, 250)
                client.expect("MAIL FROM:<second@client.test>", 250)
                client.expect("RCPT TO:<ask@test>", 550, "m=<> c=<first was here>")
                client.expect("RSET", 250)
        with server.client() as client:
            client.ehlo()
            client.expect("MAIL FROM:<second@client.test>", 250)
            client.expect("RCPT TO:<ask@test>", 550, "m=<> c=<>")
        self.assertIn(b"X-Both: m=<mail of first@client.test> c=<first was here>", server.wait_mail()[0])

    def test_lookup_that_is_down(self):
        """F24.5: in a condition it is a 451 and a line; "warn" goes on, and says so; the next connection is as good as any."""
        policy = """begin acl
rcpt_acl:
  warn condition = ${lookup redis{GET x}}
       logwrite = never
  deny local_parts = down
       condition = ${lookup redis{GET x}}
  accept
""" + BLACKHOLE
        server = self.sluice(configuration(f"hide redis_servers = 127.0.0.1::{free_port()}//\n", policy))
        for _ in range(2):
            with server.client() as client:
                client.ehlo()
                client.expect("MAIL FROM:<s@client.test>", 250)
                client.expect("RCPT TO:<down@test>", 451)
                client.expect("RCPT TO:<up@test>", 250)
        server.wait_log("temporarily rejected RCPT <down@test>", count=2)
        log = server.wait_log(r'Warning: ACL "warn" statement skipped: condition test deferred', count=4)
        self.assertNotIn("never", log)

    def test_known_and_unknown_users(self):
        """F33.1: endpass and verify = recipient."""
        server = self.sluice(configuration("", POLICY))
        with server.client() as client:
            client.ehlo()
            client.expect("MAIL FROM:<s@client.test>", 250)
            client.expect("RCPT TO:<nosuch@test>", 550)
            client.expect("RCPT TO:<alice@test>", 250)
            client.expect("RCPT TO:<x@elsewhere.test>", 250)
            client.expect("RCPT TO:<x@far.test>", 550, "relay not permitted")

    def test_no_header_from_nothing(self):
        """F31.2, F31.3: a header modifier whose variable is empty adds nothing; what was added is in the reject log's entry."""
        policy = """begin acl
rcpt_acl:
  warn add_header = $acl_m_none
       add_header = X-Added: by the rcpt acl
       add_header = ${if def:acl_m_none{X-None: $acl_m_none}}
  accept
data_acl:
  warn add_header = X-Late: by the data acl
       add_header = $dmarc_ar_header
  deny condition = ${if match{$message_body}{DENY}}
       message = not that
  accept
begin routers
box:
  driver = accept
  headers_add = ${if def:acl_m_none{X-Brightmail-Verdict: $acl_m_none}}
  transport = box
begin transports
box:
  driver = appendfile
  directory = DIR/mail/alice
  maildir_format
  user = USER
"""
        server = self.sluice(configuration("acl_smtp_data = data_acl\n", policy))
        with server.client() as client:
            client.ehlo()
            client.message("Subject: good\r\n\r\nbody\r\n")
            client.envelope()
            client.data("Subject: bad\r\n\r\nDENY\r\n", 550)
        text = server.wait_mail()[0].decode()
        header = text.partition("\n\n")[0]
        self.assertEqual(re.findall(r"(?m)^X-.*", header), ["X-Added: by the rcpt acl", "X-Late: by the data acl"])
        self.assertNotRegex(header, r"(?m)^\s*:|X-ACL-Warn")
        rejected = server.wait_log("rejected after DATA: not that", "reject")
        self.assertIn("X-Added: by the rcpt acl", rejected)
        self.assertIn("X-Late: by the data acl", rejected)

    def test_enforcement_of_waiting(self):
        """F39.1: control = no_enforce_sync lets a client talk first; others get 554 and a line with what they said."""
        policy = "begin acl\nconnect_acl:\n  accept hosts = 127.0.0.9\n         control = no_enforce_sync\n  accept delay = 1s\n" \
                 "rcpt_acl:\n  accept\n" + BLACKHOLE
        server = self.sluice(configuration("acl_smtp_connect = connect_acl\npipelining_connect_advertise_hosts =\n", policy))
        for source, code in (("127.0.0.9", 220), ("127.0.0.1", 554)):
            with Client(server.port, banner=False, source=source) as client:
                client.send("EHLO early.test\r\n")
                client.wait(code)
                if code == 220:
                    client.wait(250)
        server.wait_log(r'input sent without waiting for greeting\): rejected connection from .*input="EHLO early\.test')


class Rates(SluiceTest):
    """F27."""

    ACLS = """begin acl
connect_acl:
  defer message = Slow down
        ratelimit = 5 / 2s / per_conn / strict
  accept
""" + "rcpt_acl:\n  accept\n" + BLACKHOLE

    def test_sixth_connection(self):
        """F27.1, with a period of two seconds: past five connections 4xx; after a quiet time accepted."""
        server = self.sluice(configuration("acl_smtp_connect = connect_acl\n", self.ACLS.replace("5 / 2s", "5000 / 2s")))
        server.kill()
        server.write_config(configuration("acl_smtp_connect = connect_acl\n", self.ACLS))
        server.start()

        def connect():
            with Client(server.port, banner=False) as client:
                return client.reply().code
        codes = [connect() for _ in range(8)]
        self.assertEqual(codes[0], 220)
        first = codes.index(451) if 451 in codes else None
        self.assertIn(first, (3, 4, 5, 6), f"the starting test's own connections count, too: {codes}")
        self.assertEqual(set(codes[first:]), {451})
        until(lambda: time.sleep(1.2) or connect() == 220, "the rate to fall")

    @unittest.skipUnless(exim() and os.getuid() == 0, "no Exim here, or no root")
    def test_twice_the_limit_beside_exim(self):
        """F27.2: a client that comes more often than the limits allow (twice, five times), for two periods: leaky lets about the limit through,
        strict nothing once it is over, as with Exim at the same moments."""
        text = """primary_hostname = mx.test
keep_environment =
spool_directory = DIR/spool
log_file_path = DIR/log/%s
acl_smtp_helo = h
smtp_accept_max_nonmail = 100000
begin acl
h:
  deny condition = ${if eq{$sender_helo_name}{leaky}}
       ratelimit = 10 / 1s / per_cmd / leaky / l
  deny condition = ${if eq{$sender_helo_name}{strict}}
       ratelimit = 4 / 1s / per_cmd / strict / s
  accept
"""
        sides = []
        for program in (exim(), SLUICE):
            own = f"exim_path = {program}\nexim_user = nobody\nexim_group = nogroup\n" if program == exim() else "exim_user = nobody\nexim_group = nogroup\nshards = 1\n"
            box = self.sluice(own + text, start=False)
            os.makedirs(box.dir + "/spool", exist_ok=True)
            for name in ("spool", "log"):
                os.chmod(os.path.join(box.dir, name), 0o777)
            process = subprocess.Popen([program, "-C", box.config_file, "-bs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL)
            self.addCleanup(process.communicate)
            self.addCleanup(process.kill)
            process.stdout.readline()
            sides.append(process)
        passed = {"leaky": [0, 0], "strict": [0, 0]}
        start, count = time.monotonic(), 40
        for i in range(count):
            until(lambda i=i: time.monotonic() >= start + i / 20, "the next moment")
            for name in passed:
                for side, process in enumerate(sides):
                    process.stdin.write(b"HELO %s\r\n" % name.encode())
                    process.stdin.flush()
                    passed[name][side] += process.stdout.readline().startswith(b"250")
        for name, (theirs, ours) in passed.items():
            self.assertLessEqual(abs(theirs - ours), 5, f"{name}: {passed}")
        self.assertGreater(passed["leaky"][1], count / 2 - 6)
        self.assertLess(passed["strict"][1], count / 4)

    def test_damaged_hints(self):
        """F27.5: a database that cannot be read: the server says so at its start, and counts from zero in a new one, as after it was
        removed. (Exim answers 4xx until somebody removes it.)"""
        server = self.sluice(configuration("", "begin acl\nrcpt_acl:\n  deny ratelimit = 1.5 / 1h / per_rcpt / strict / k\n       message = rate $sender_rate\n  accept\n" + BLACKHOLE))

        def rates():
            with server.client() as client:
                client.ehlo()
                client.expect("MAIL FROM:<s@client.test>", 250)
                return [client.cmd(f"RCPT TO:<a{i}@test>").code for i in range(2)]
        self.assertEqual(rates(), [250, 550])
        server.stop()
        for damage in ("garbage", "removed"):
            server.start()
            self.assertEqual(rates(), [550, 550], "kept over a restart")
            server.stop()
            folder = os.path.join(server.dir, "spool", "db")
            names = [n for n in os.listdir(folder)]
            self.assertTrue(names)
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isdir(path):
                    shutil.rmtree(path)
                elif damage == "garbage":
                    with open(path, "r+b") as f:
                        f.write(b"no database at all " * 4096)
                else:
                    os.unlink(path)
            server.start()
            self.assertEqual(rates(), [250, 550], damage)
            if damage == "garbage":
                server.wait_log("hints set aside and begun anew: .*(damaged|invalid|MDB_)", "panic")
            server.stop()


class Routing(SluiceTest):
    """F34."""

    def test_precondition_defers_the_address_only(self):
        """F34.4."""
        policy = """begin acl
rcpt_acl:
  accept
begin routers
odd:
  driver = accept
  local_parts = odd
  condition = ${lookup{$domain}lmdb{DIR/not-there}{yes}{no}}
  transport = box
users:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  directory = DIR/mail/alice
  maildir_format
  user = USER
begin retry
* * F,2h,15m
"""
        server = self.sluice(configuration("", policy))
        with server.client() as client:
            client.ehlo()
            client.message("Subject: x\r\n\r\nb\r\n", rcpts=("alice@test", "odd@test"))
        server.wait_log(r"== odd@test ")
        server.wait_mail()
        log = server.wait_log(r"=> alice <alice@test> R=users")
        self.assertNotIn("== alice", log)

    def test_ten_thousand_members(self):
        """F34.3: in bounded time; a member who is deferred is what is left of the list (one_time)."""
        members = int(os.environ.get("MEMBERS", "3000"))
        policy = """begin acl
rcpt_acl:
  accept
begin routers
list:
  driver = redirect
  local_parts = list
  one_time
  file = DIR/members
later:
  driver = redirect
  local_parts = m7
  allow_defer
  data = ${if exists{DIR/late}{:defer: not now}{:blackhole:}}
users:
  driver = accept
  transport = null
begin transports
null:
  driver = appendfile
  file = /dev/null
  user = USER
begin retry
* * F,2h,15m
"""
        server = self.sluice(configuration("", policy), start=False)
        for name, text in (("members", "".join(f"m{i}@test\n" for i in range(members))), ("late", "")):
            with open(os.path.join(server.dir, name), "w", encoding="ascii") as f:
                f.write(text)
        server.start()
        began = time.monotonic()
        with server.client() as client:
            client.ehlo()
            client.message("Subject: x\r\n\r\nb\r\n", rcpts=("list@test",))
        server.wait_log(r"== m7@test ", deadline_s=120)
        log = server.log()
        self.assertEqual(len(re.findall(r" [-=]> m\d+ ", log)), members - 1)
        self.assertLess(time.monotonic() - began, 60 * members / 3000)
        os.unlink(os.path.join(server.dir, "late"))
        os.unlink(os.path.join(server.dir, "members"))
        self.assertIn("m7@test", server.run("-Mvh", *server.queue_ids()).out + server.run("-bp").out)
        server.run("-qff")
        server.wait_log("Completed")
        self.assertEqual(len(re.findall(r" [-=]> m\d+ ", server.log())), members - 1)

    def test_fail_with_a_code(self):
        """F34.5: the code of :fail: is the client's answer and stands in the bounce; without allow_fail the address waits."""
        policy = """begin acl
rcpt_acl:
  accept local_parts = later.* : ^late
  accept sender_domains = bounce.test
  require verify = recipient
  accept
begin routers
gone:
  driver = redirect
  local_parts = gone : late
  allow_fail
  data = :fail: 551 5.1.6 moved to another place
forbidden:
  driver = redirect
  local_parts = forbidden
  data = :fail: 551 5.1.6 text
back:
  driver = accept
  domains = bounce.test
  transport = box
begin transports
box:
  driver = appendfile
  directory = DIR/mail/alice
  maildir_format
  user = USER
begin retry
* * F,2h,15m
"""
        server = self.sluice(configuration("", policy))
        with server.client() as client:
            client.ehlo()
            client.expect("MAIL FROM:<s@client.test>", 250)
            client.expect("RCPT TO:<gone@test>", 551, "5.1.6 moved to another place")
            client.expect("RCPT TO:<forbidden@test>", 451)
            client.expect("RSET", 250)
            client.message("Subject: x\r\n\r\nb\r\n", "s@bounce.test", ("gone@test", "forbidden@test"))
        bounce = server.wait_mail()[0].decode()
        self.assertIn("moved to another place", bounce)
        self.assertRegex(bounce, r"(?m)^Status: 5\.\d+\.\d+")
        self.assertRegex(server.log(), r'== forbidden@test .*":fail:" is not permitted')


class Version(SluiceTest):
    """F37."""

    @unittest.skipUnless(exim(), "no Exim here")
    def test_macros(self):
        """F37.2: all that Exim defines are here, but for what belongs to a library, or to what is not offered (content scanning, DANE, PRDR,
        PROXY, events, DBM, NIS, PAM, Perl)."""
        later = re.compile(r"_ACL_COND_(DECODE|MALWARE|MIME_REGEX|REGEX|SPAM)$|_EXP_COND_[<>]?=?$|"
                           r"_EXP_VAR_(MIME_|SPAM_|MALWARE_NAME|AV_FAILED|REGEX|PRDR_|TLS_OUT_(DANE|TLSA)|LOCAL_SCAN_DATA|INODE|"
                           r"WARN(_MESSAGE|MSG)_RECIPIENT$)|"
                           r"_HAVE_(CONTENT_SCANNING|DANE|DLFUNC|EVENT|GNUTLS|HINTS_BDB|LOOKUP_(DBM|NIS)|MALWARE_\w+|MOVE_FROZEN_MESSAGES|PAM|"
                           r"PERL|PRDR|PROXY|TCP_FASTOPEN|TLS1_3|TLS_ALPN|TLS_CA_CACHE|TRANSPORT_APPEND_MBX)$")
        box = self.sluice("", start=False)
        ours, theirs = (set(re.findall(r"(?m)^(_[^=\n]+?)=", subprocess.run(
            [program, "-C", box.config_file, "-bP", "macros"], capture_output=True, text=True, timeout=DEADLINE_S).stdout))
            for program in (SLUICE, exim()))
        self.assertGreater(len(theirs), 900)
        self.assertEqual(sorted(name for name in theirs - ours if not later.match(name)), [])

    def test_words_of_the_version(self):
        """F37.4."""
        out = self.sluice("", start=False).run("-bV", check=0).out
        for word in ("SPF", "SRS", "DMARC", "ARC", "DKIM", "LMDB", "SOCKS", "I18N", "OCSP", "TLS_resume"):
            self.assertRegex(out, rf"(?m)^Support for:.* {word}\b")
        for word in ("redis", "lmdb", "pgsql", "mysql", "lsearch", "spf"):
            self.assertRegex(out, rf"(?m)^Lookups .* {word}\b")
        self.assertRegex(out, r"(?m)^Authenticators: .*dovecot")
        self.assertRegex(out, r"(?m)^Transports: .*appendfile")


class Sessions(SluiceTest):
    """F39, F12.6."""

    def test_per_host_over_shards(self):
        """F39.3: the fourth connection of one host gets 421, whichever threads have the first three."""
        server = self.sluice(configuration("smtp_accept_max_per_host = 3\n", "begin acl\nrcpt_acl:\n  accept\n" + BLACKHOLE)
                             .replace("shards = 1", "shards = 4"))
        until(lambda: not self.refused(server), "the starting test's connection to be over")
        for _ in range(5):
            clients = [Client(server.port, banner=False, source="127.0.0.8") for _ in range(6)]
            codes = [client.reply().code for client in clients]
            self.assertEqual(sorted(codes), [220] * 3 + [421] * 3)
            for client in clients:
                client.close()
            until(lambda: not self.refused(server), "what was counted to be taken back")

    @staticmethod
    def refused(server):
        """Not all three are let in. When that is known, none of them is counted any more: the place is free before the end is seen."""
        clients = [Client(server.port, banner=False, source="127.0.0.8") for _ in range(3)]
        codes = [client.reply().code for client in clients]
        for client, code in zip(clients, codes):
            if code == 220:
                client.quit()
            else:
                client.closed()
                client.close()
        return 421 in codes

    def test_many_slow_clients(self):
        """F39.4, with CLIENTS of them (10,000 were tried by hand): a byte now and then prolongs nothing; others are served meanwhile."""
        count = int(os.environ.get("CLIENTS", "300"))
        server = self.sluice(configuration(f"smtp_receive_timeout = {3 + count // 500}s\n", "begin acl\nrcpt_acl:\n  accept\n" + BLACKHOLE)
                             .replace("smtp_accept_max = 1000", "smtp_accept_max = 0"))
        clients = [Client(server.port) for _ in range(count)]
        ended = 0
        for byte in b"EHLO ever":
            for client in clients:
                try:
                    client.sock.sendall(bytes((byte,)))
                except OSError:
                    ended += 1
            with server.client() as other:
                other.ehlo()
                other.message("Subject: x\r\n\r\nb\r\n")
                other.quit()
            time.sleep(0.1)
        for client in clients:
            client.wait(421)
            client.close()
        self.assertEqual(ended, 0)
        server.wait_log("SMTP command timeout on connection from", count=count)

    def test_long_queue(self):
        """F38.4, with QUEUED messages (1,500 here; 100,000 by hand): the restart listens within a second, the list is whole, and each
        message takes less than four kilobytes of memory (a sanitizer's build included)."""
        count = int(os.environ.get("QUEUED", "1500"))
        server = self.sluice(configuration("queue_only\nmessage_logs = no\nlog_selector = -all\nsmtp_accept_max_per_connection = 0\n", "begin acl\nrcpt_acl:\n  accept\n" + BLACKHOLE))

        def memory():
            with open(f"/proc/{server.worker()}/status", encoding="ascii") as f:
                return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) * 1024

        def send(n):
            with server.client() as client:
                client.ehlo()
                for at in range(0, n, 50):
                    part = min(50, n - at)
                    client.send(b"".join(b"MAIL FROM:<s@client.test>\r\nRCPT TO:<a@test>\r\nBDAT 17 LAST\r\nSubject: x\r\n\r\nb\r\n"
                                         for _ in range(part)))
                    for _ in range(part * 3):
                        client.wait(250)
        send(10)
        empty = memory()
        threads = [threading.Thread(target=send, args=((count - 10) // 4,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        total = 10 + (count - 10) // 4 * 4
        self.assertEqual(server.queue_count(), total)
        server.stop()
        began = time.monotonic()
        server.start()
        self.assertLess(time.monotonic() - began, 1 if count >= 50000 else 5)
        self.assertEqual(server.queue_count(), total)
        self.assertEqual(len(re.findall("<s@client.test>", server.run("-bp").out)), total)
        self.assertLess(memory() - empty, 4096 * total + (16 << 20))

    @unittest.skipUnless(shutil.which("mdb_load"), "no mdb_load here")
    def test_cold_database_beside_others(self):
        """F12.6, with DATABASE_MB (24 here; 1,024 by hand): while its pages are not in memory, others wait no longer than a bound."""
        megabytes = int(os.environ.get("DATABASE_MB", "24"))
        policy = "begin acl\nrcpt_acl:\n  deny domains = cold.test\n       condition = ${lookup{$local_part}lmdb{DIR/cold.mdb}{no}{yes}}\n" \
                 "       message = not found\n  accept\n" + BLACKHOLE
        server = self.sluice(configuration("", policy), start=False)
        path = os.path.join(server.dir, "cold.mdb")
        rows = megabytes * 1024 // 4
        load = subprocess.Popen(["mdb_load", "-n", "-T", "-s", "x", path], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        load.wait()
        if os.path.exists(path):
            os.unlink(path)
        head = f"VERSION=3\nformat=print\ntype=btree\nmapsize={(megabytes + 64) * 2 << 20}\nHEADER=END\n"
        load = subprocess.Popen(["mdb_load", "-n", path], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        load.stdin.write(head.encode())
        value = b" " + b"x" * 3000 + b"\n"
        for i in range(rows):
            load.stdin.write(b" k%08d\n" % i + value)
        load.stdin.write(b"DATA=END\n")
        load.stdin.close()
        self.assertEqual(load.wait(), 0)
        os.chmod(path, 0o644)
        server.start()
        fd = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        over, waits = threading.Event(), []

        def others():
            while not over.is_set():
                with server.client() as client:
                    began = time.monotonic()
                    client.expect("NOOP", 250)
                    waits.append(time.monotonic() - began)
        thread = threading.Thread(target=others)
        thread.start()
        try:
            with server.client() as client:
                client.ehlo()
                client.expect("MAIL FROM:<s@client.test>", 250)
                for i in range(60):
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                    client.expect(f"RCPT TO:<k{i * 7919 % rows:08d}@cold.test>", 250)
                client.expect("RCPT TO:<none@cold.test>", 550)
        finally:
            over.set()
            thread.join()
        self.assertGreater(len(waits), 5)
        self.assertLess(max(waits), 1.0)


if __name__ == "__main__":
    unittest.main()
