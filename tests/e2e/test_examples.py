"""The worked examples in config/ load, and a message goes through each."""
import os
import shutil

import unittest

from harness import Client, GROUP_LINE, SluiceTest, USER, until

CONFIG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../config")


class Examples(SluiceTest):
    def example(self, name, sink, tables):
        """The example, moved into a directory of its own, with the next host on this one."""
        with open(os.path.join(CONFIG, name)) as f:
            text = f.read()
        # "driver = smtp" first: what replaces it holds no other of these.
        for old, new in [("driver = smtp", "driver = smtp\n  allow_localhost\n  port = SINKPORT"),
                         ("driver = manualroute", "driver = manualroute\n  self = send"),
                         ("/var/lib/sluice", "DIR"), ("relay.example.net", "127.0.0.1"), ("store.example.net", "127.0.0.1"),
                         ("begin acl", f"exim_user = {USER}\n{GROUP_LINE}check_spool_space = 0\ncheck_spool_inodes = 0\n"
                                       "shards = 1\nbegin acl")]:
            self.assertIn(old, text) if old.startswith(("driver", "/var")) else None
            text = text.replace(old, new)
        if "local_interfaces" not in text:
            text = "local_interfaces = 127.0.0.1\n" + text
        server = self.sluice(text, start=False, macros={"SINKPORT": str(sink.port)})
        for table, lines in tables.items():
            path = os.path.join(server.dir, table)
            with open(path, "w") as f:
                f.write(lines)
            if os.getuid() == 0:
                shutil.chown(path, USER)
        return server.start()

    def test_isp_inbound(self):
        sink = self.sink()
        server = self.example("isp-inbound.conf", sink, {"domains": "test\n", "users": '"alice@test": yes\n'})
        with Client(server.ports[0]) as c:
            c.ehlo()
            c.expect("MAIL FROM:<s@client.test>", 250)
            c.expect("RCPT TO:<alice@elsewhere.test>", 550, "relay not permitted")
            c.expect("RCPT TO:<nobody@test>", 550, "no such user")
            c.expect("RCPT TO:<alice@test>", 250)
            c.data("From: <s@client.test>\r\nSubject: x\r\n\r\nbody\r\n")
        until(lambda: sink.messages, "the message at the store")
        self.assertIn("X-Checked: mx.example.net", str(sink.messages[0][2]))


if __name__ == "__main__":
    unittest.main()
