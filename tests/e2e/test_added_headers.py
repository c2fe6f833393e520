"""Where header fields stand that ACLs add: beside Exim, with the same configuration and the same message."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from harness import SluiceTest

ORACLE = os.environ.get("SLUICE_ORACLE")
CONFIG = """
primary_hostname = mx.test
keep_environment =
spool_directory = DIR/spool
log_file_path = DIR/%slog
tls_advertise_hosts =
acl_smtp_rcpt = rcpt
acl_smtp_data = data
queue_only
begin acl
rcpt:
  warn add_header = X-Rcpt: one
  warn add_header = :at_start_rfc:X-Rcpt-Rfc: one
  warn add_header = :after_received:X-Rcpt-After: one
  warn add_header = :after_received:X-Rcpt-After: two
  warn add_header = :at_end:X-Rcpt-End: one
  warn add_header = X-Rcpt: one
  accept
data:
  warn add_header = :after_received:X-After: one
  warn add_header = :at_start:X-Start: one\\n:after_received:X-After: two\\nX-Start: at end\\n:at_start:X-Start: two
  warn add_header = :after_received:X-After: three
  warn add_header = X-End: one\\n\\tfolded
  warn add_header = X-End: one\\n\\tfolded
  warn add_header = no field at all
  warn remove_header = X-Gone : ^(?i)x-gone-.*
  warn condition = ${if def:spf_result}
       add_header = X-Spf: $spf_result
  accept logwrite = seen=$h_X-Rcpt:/$h_X-Start: added=${sg{$headers_added}{\\n}{|}}
begin routers
all:
  driver = accept
  transport = none
begin transports
none:
  driver = appendfile
  file = /dev/null
"""
MESSAGE = (b"Received: from one\r\n\tby two; Sat, 21 Nov 2026 00:00:00 +0000\r\nReceived: from two by three; Sat, 21 Nov 2026 00:00:00 +0000\r\n"
           b"From: a@b.test\r\nX-Gone: x\r\nResent-From: c@d.test\r\nX-Gone-Too: y\r\nDate: Sat, 21 Nov 2026 00:00:00 +0000\r\n"
           b"Message-Id: <1@b.test>\r\nResent-Date: Sat, 21 Nov 2026 00:00:00 +0000\r\nResent-Message-Id: <2@b.test>\r\n\r\nbody\r\n")
SESSION = b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@mx.test>\r\nDATA\r\n" + MESSAGE + b".\r\nQUIT\r\n"


def fields(text):
    """The names and values of a message's fields; what differs by time and program is cut off."""
    lines = re.findall(r"[^\s:]+:.*(?:\n[ \t].*)*", text)
    return [re.sub(r"\s+", " ", line) for line in lines if not re.match(r"(?i)received: from .*c\.test|received: from \[|envelope-to|received: from root", line)]


@unittest.skipUnless(ORACLE and os.getuid() == 0, "needs Exim and root")
class AddedHeaders(SluiceTest):
    def test_beside_exim(self):
        found = {}
        for name, program in (("exim", os.path.abspath(ORACLE)), ("sluice", os.environ["SLUICE"])):
            folder = tempfile.mkdtemp(prefix="sluice-headers-")
            self.addCleanup(shutil.rmtree, folder, True)
            os.chmod(folder, 0o777)
            os.mkdir(folder + "/spool")
            os.chmod(folder + "/spool", 0o777)
            config = os.path.join(folder, "conf")
            with open(config, "w") as f:
                f.write(CONFIG.replace("DIR", folder))
            done = subprocess.run([program, "-C", config, "-bs", "-oMa", "192.0.2.1"], input=SESSION, capture_output=True, timeout=60)
            ident = re.search(rb"id=(\S+)", done.stdout).group(1).decode()
            shown = subprocess.run([program, "-C", config, "-Mvh", ident], capture_output=True, text=True, timeout=60).stdout
            with open(os.path.join(folder, "mainlog")) as f:
                log = f.read()
            # An -H file says of each field how long it is, and of what kind: "037  X-End: one"; those deleted have an asterisk.
            text = re.sub(r"(?m)^\d{3,}\*.*\n(?:[ \t].*\n)*", "", shown)
            text = re.sub(r"(?m)^\d{3,}[A-Z ] ?", "", text)
            text = text[text.index("X-Start: "):]
            found[name] = (fields(text), re.search(r"seen=.*", log).group())
        self.assertEqual(found["sluice"][0], found["exim"][0])
        self.assertEqual(found["sluice"][1], found["exim"][1].replace("||", "|").replace("\t", "\\t"))


del SluiceTest

if __name__ == "__main__":
    unittest.main()
