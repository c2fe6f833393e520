"""Variables that something else has to set first, beside Exim: $local_user_uid, $sender_address_data, $callout_address, $sending_ip_address,
$mailstore_basename, $queue_size, $sender_helo_dnssec. Where nothing has set them they are what Exim has there; and each variable
that Exim knows has an owner here, or is one of those that come with what sets them."""
import os
import re
import subprocess
import unittest

from harness import DEADLINE_S, SLUICE, SluiceTest, configuration, until
from test_transports import exim

# Without an owner so far: content scanning, MIME, DCC, Brightmail, PRDR, ATRN, DANE, local_scan(); and such as are set in a way of
# their own ($inode: appendfile.c), or exist for nothing ($auth4; the singular of $warn_message_recipients).
LATER = re.compile(r"mime_|spam_|malware_name|av_failed|regex|dcc_|bmi_|prdr_|atrn_|tls_out_(dane|tlsa)|local_scan_data|auth4$|inode$|"
                   r"warn(_message|msg)_recipient$")

LANGUAGE = """primary_hostname = mx.test
keep_environment =
spool_directory = DIR/spool
log_file_path = DIR/log/%s
log_selector = +subject
acl_smtp_mail = m
acl_smtp_rcpt = r
check_spool_space = 0
check_spool_inodes = 0
queue_only_override = no
begin acl
m:
  warn verify = sender
       logwrite = M1 <$sender_address_data> <$address_data>
  warn logwrite = M2 <$sender_address_data>
  accept
r:
  warn logwrite = R0 a=<$address_data> s=<$sender_address_data> q=<${if match{$queue_size}{^[0-9]*\\$}}> h=<$sender_helo_dnssec>
  warn verify = sender
       logwrite = R1 a=<$address_data> s=<$sender_address_data>
  warn verify = recipient
       logwrite = R2 a=<$address_data> s=<$sender_address_data>
  warn !verify = recipient/callout=5s,no_cache
       logwrite = refused by <$callout_address>
  warn logwrite = R3 a=<$address_data> s=<$sender_address_data> u=<$local_user_uid> b=<$mailstore_basename>
  accept
begin routers
remote:
  driver = manualroute
  domains = far.test
  route_list = * 127.0.0.1
  self = send
  address_data = uid $local_user_uid
  transport = smtp
user:
  driver = accept
  check_local_user
  condition = ${if eq{$local_user_uid}{0}}
  address_data = uid $local_user_uid gid $local_user_gid of $local_part_data
  set = r_uid = $local_user_uid/$local_user_gid
  transport = box
other:
  driver = accept
  address_data = nobody: $local_user_uid $local_user_gid
  transport = box
begin transports
box:
  driver = appendfile
  directory = DIR/mail/${if eq{$local_part}{root}{root}{other}}
  mailstore_format
  mailstore_prefix = P <$mailstore_basename> $local_user_uid $r_uid
  mailstore_suffix = S <$mailstore_basename>
  message_prefix = M <$mailstore_basename>\\n
  message_suffix = N <$mailstore_basename>\\n
  user = USER
  home_directory = /
  current_directory = /
smtp:
  driver = smtp
  port = SINKPORT
  allow_localhost
  hosts_try_fastopen =
  helo_data = helo-[${sg{$sending_ip_address}{\\\\.}{-}}].test
  headers_add = X-Sending: $sending_ip_address ${if >{$sending_port}{1023}} $callout_address
begin retry
* * F,2h,15m
"""


@unittest.skipUnless(exim() and os.getuid() == 0, "no Exim here, or no root")
class BesideExim(SluiceTest):
    maxDiff = None

    def sides(self, sink):
        for program in (exim(), SLUICE):
            own = f"exim_path = {program}\nexim_user = nobody\nexim_group = nogroup\n" if program == exim() else "exim_user = nobody\nexim_group = nogroup\nshards = 1\n"
            box = self.sluice(own + LANGUAGE, macros={"SINKPORT": str(sink.port)}, start=False)
            os.makedirs(box.dir + "/spool", exist_ok=True)
            for name in ("spool", "log", "mail"):
                os.chmod(os.path.join(box.dir, name), 0o777)
            yield program, box

    def test_sessions(self):
        sink = self.sink(lambda verb, argument, session: "550 not here" if verb == "RCPT" and "no@" in argument else None)
        dialogue = "EHLO x\r\nMAIL FROM:<root@mx.test>\r\n" + "".join(f"RCPT TO:<{a}>\r\n" for a in (
            "root@mx.test", "else@mx.test", "yes@far.test", "no@far.test")) + "QUIT\r\n"
        said = []
        for program, box in self.sides(sink):
            done = subprocess.run([program, "-C", box.config_file, "-bhc", "192.0.2.1"], input=dialogue.encode(), capture_output=True,
                                  timeout=DEADLINE_S)
            lines = re.findall(r"LOG: (?:\S+ \S+ )?((?:[MR]\d|refused by) .*)", (done.stdout + done.stderr).decode())
            said.append([re.sub(r"\]:\d+", "]", line) for line in lines])
        self.assertGreater(len(said[0]), 15, said[0])
        self.assertEqual(*said)

    def test_sender_is_asked_about_once_but_as_wanted(self):
        """verify = sender is remembered for the message; a callout that was not made yet is made all the same. And "warn" logs nothing of
        what its negated condition has to say."""
        sink = self.sink(lambda verb, argument, session: "550 not here" if verb == "RCPT" and "no@" in argument else None)
        acl = """begin acl
m:
  warn verify = sender
       logwrite = R1 plain
  accept
r:
  warn domains = a.test
       verify = sender
       logwrite = R2 plain again
  warn domains = b.test
       !verify = sender/callout=5s,no_cache
       logwrite = R3 refused
  warn domains = c.test
       verify = sender
       logwrite = R4 plain, behind that
  warn domains = d.test
       verify = sender/callout=5s,no_cache
       logwrite = R5 called out
  accept
"""
        dialogue = "EHLO x\r\n" + "".join(
            f"MAIL FROM:<{sender}@far.test>\r\n" + "".join(f"RCPT TO:<x@{d}.test>\r\n" for d in "abcd") + "RSET\r\n"
            for sender in ("no", "yes")) + "QUIT\r\n"
        said = []
        for program, box in self.sides(sink):
            with open(box.config_file, encoding="utf-8") as f:
                text = f.read()
            with open(box.config_file, "w", encoding="utf-8") as f:
                f.write(text[:text.index("begin acl")] + acl + text[text.index("begin routers"):])
            before = len(sink.sessions)
            done = subprocess.run([program, "-C", box.config_file, "-bhc", "192.0.2.1"], input=dialogue.encode(), capture_output=True,
                                  timeout=DEADLINE_S)
            output = (done.stdout + done.stderr).decode()
            said.append((re.findall(r"LOG: (?:\S+ \S+ )?(R\d .*)", output), "Warning: " in output, len(sink.sessions) - before))
        self.assertEqual(said[0][:2], said[1][:2])
        self.assertIn("R3 refused", said[0][0])
        self.assertEqual(said[1][2], 3, "a sender whom the host has accepted is remembered for the message; Exim asks once more")

    def test_deliveries(self):
        sink = self.sink()
        said = []
        for program, box in self.sides(sink):
            subprocess.run([program, "-C", box.config_file, "-odi", "-oMr", "x", "-f", "s@client.test", "root", "yes@far.test", "else@mx.test"],
                           input=b"Subject: x\n\nbody\n", capture_output=True, timeout=DEADLINE_S)
            files = {}
            for user in ("root", "other"):
                folder = os.path.join(box.dir, "mail", user)
                until(lambda folder=folder: os.path.isdir(folder) and len([n for n in os.listdir(folder) if "temp" not in n]) == 2,
                      lambda box=box: box.log() + box.log("panic"))
                bases = {name.rpartition(".")[0] for name in os.listdir(folder)}
                self.assertEqual(len(bases), 1, "one name for both files")
                for name in os.listdir(folder):
                    with open(os.path.join(folder, name), encoding="utf-8") as f:
                        text = f.read().replace(folder, "FOLDER").replace(bases.copy().pop(), "BASE")
                    files[user, name.rpartition(".")[2]] = re.findall(r"(?m)^[PSMN] .*", text)
            message = sink.wait(len(said) + 1)[-1]
            hello = [c for c in sink.sessions[-1].commands if c.startswith("EHLO")]
            said.append((files, hello, re.search(rb"X-Sending: .*", message[2]).group().strip().replace(b":%d" % sink.port, b":PORT")))
        self.assertEqual(*said)
        self.assertEqual(said[0][1], ["EHLO helo-[127-0-0-1].test"])


class OurOwn(SluiceTest):
    def test_interface_decides(self):
        """$sending_ip_address is known when EHLO's name is made, whatever chooses the address."""
        sink = self.sink(address=("127.0.0.1", 0))
        policy = LANGUAGE[LANGUAGE.index("begin routers"):].replace("  allow_localhost", "  allow_localhost\n  interface = 127.0.0.7")
        server = self.sluice(configuration("", "begin acl\nrcpt_acl:\n  accept\n" + policy), macros={"SINKPORT": str(sink.port)})
        with server.client() as client:
            client.ehlo()
            client.message("Subject: x\r\n\r\nb\r\n", rcpts=("a@far.test",))
            client.quit()
        sink.wait()
        self.assertEqual(sink.sessions[-1].commands[0], "EHLO helo-[127-0-0-7].test")

    def test_queue_size(self):
        """All shards' messages; none where there is no queue."""
        config = configuration("queue_only\n", "begin acl\nrcpt_acl:\n  deny message = size $queue_size\n       local_parts = ask\n  accept\n"
                                               "begin routers\na:\n  driver = redirect\n  data = :blackhole:\n").replace("shards = 1", "shards = 2")
        server = self.sluice(config)
        for count in range(8):
            with server.client() as client:
                client.ehlo()
                client.expect("MAIL FROM:<s@client.test>", 250)
                client.expect("RCPT TO:<ask@test>", 550, f"size {count}$")
                client.expect("RSET", 250)
                client.message("Subject: x\r\n\r\nb\r\n", rcpts=("a@test",))
        server.run("-qff", check=0)
        server.wait_log("Completed", count=8)
        with server.client() as client:
            client.ehlo()
            client.expect("MAIL FROM:<s@client.test>", 250)
            client.expect("RCPT TO:<ask@test>", 550, "size 0$")
        self.assertEqual(server.run("-be", "<$queue_size>").out, "<>\n")

    def test_each_has_an_owner(self):
        """What Exim has a variable for, something here sets, or it is one of LATER."""
        box = self.sluice(configuration(), start=False)
        ours = set(re.findall(r"(?m)^_EXP_VAR_(\w+)=", box.run("-bP", "macros", check=0).out))
        path = os.path.join(os.path.dirname(__file__), "../../lib/expand/known.c")
        with open(path, encoding="utf-8") as f:
            known = re.findall(r'KNOWN\("(\w+)"', f.read())
        self.assertGreater(len(known), 50)
        self.assertEqual([name for name in known if name.upper() not in ours and not LATER.match(name)], [])


if __name__ == "__main__":
    unittest.main()
