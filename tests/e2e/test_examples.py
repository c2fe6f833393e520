"""The worked examples in config/: each loads, here and under Exim; addresses are routed alike; mail goes through."""
import os
import re
import shutil
import struct
import unittest

from harness import Client, GROUP_LINE, SluiceTest, USER, peer, until

CONFIG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../config")
HEAD = "From: <s@client.test>\r\nDate: Sat, 21 Nov 2026 00:00:00 +0000\r\nMessage-Id: <x@client.test>\r\nSubject: x\r\n\r\n"


def cdb(path, items):
    """D. J. Bernstein's constant database."""
    def digest(key):
        value = 5381
        for byte in key:
            value = ((value * 33) & 0xFFFFFFFF) ^ byte
        return value

    records, tables, at = b"", [[] for _ in range(256)], 2048
    for key, value in items.items():
        key, value = key.encode(), value.encode()
        tables[digest(key) % 256].append((digest(key), at))
        records += struct.pack("<II", len(key), len(value)) + key + value
        at = 2048 + len(records)
    head, tail = b"", b""
    for table in tables:
        slots = [(0, 0)] * (2 * len(table))
        for value, where in table:
            slot = (value >> 8) % len(slots)
            while slots[slot] != (0, 0):
                slot = (slot + 1) % len(slots)
            slots[slot] = (value, where)
        head += struct.pack("<II", at, len(slots))
        tail += b"".join(struct.pack("<II", *slot) for slot in slots)
        at += 8 * len(slots)
    with open(path, "wb") as f:
        f.write(head + records + tail)


class Examples(SluiceTest):
    def text(self, name):
        with open(os.path.join(CONFIG, name)) as f:
            return f.read()

    def example(self, name, replace=(), tables=(), macros=None):
        """The example, moved into a directory of its own and to a port of the kernel's. Not started."""
        text = self.text(name)
        replace = [("VAR = /var/lib/sluice", "VAR = DIR"), *replace,
                   ("\nbegin acl", f"\nexim_user = {USER}\n{GROUP_LINE}check_spool_space = 0\ncheck_spool_inodes = 0\n"
                                   "begin acl")]
        if "local_interfaces" not in text:
            text = "local_interfaces = 127.0.0.1\n" + text
        for old, new in replace:
            self.assertIn(old, text)
            text = text.replace(old, new)
        server = self.sluice(text, start=False, macros=macros)
        for table, lines in dict(tables).items():
            path = os.path.join(server.dir, table)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write(lines)
        return server

    def owned(self, *paths):
        if os.getuid() == 0:
            for path in paths:
                shutil.chown(path, USER)

    def as_exim_has_it(self, server, *addresses):
        """-bt says the same in both."""
        told = [re.sub(r" +", " ", server.run("-bt", address, program=program).out)
                for address in addresses for program in ([None] + [p for p in [peer("exim")] if p and os.getuid() == 0])]
        if len(told) > len(addresses):  # it tells others than root no reasons
            for address, ours, theirs in zip(addresses, told[::2], told[1::2]):
                self.assertEqual(theirs, ours, address)
        return told

    def log(self, server):
        try:
            with open(os.path.join(server.dir, "log", "mainlog")) as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def logged(self, server, pattern):
        return until(lambda: re.search(pattern, self.log(server)), lambda: f"{pattern}: {self.log(server)}")

    def test_exim_reads_them(self):
        program = peer("exim")
        if not program:
            self.skipTest("exim is not here: ./dev deps test")
        for name in sorted(os.listdir(CONFIG)):
            if not name.endswith(".conf"):
                continue
            with self.subTest(name):
                # quickstart shows the options that only sluice has.
                text = re.sub(r"^(shards = .*|log_file_path = stdout)\n", "", self.text(name), flags=re.M)
                server = self.sluice(text, start=False)
                macro = f"-DVAR={server.dir}"
                done = server.run(macro, "-bV", check=0, program=program)
                self.assertIn("Configuration file is", done.out)
                server.write_config(self.text(name))
                done = server.run(macro, "-bV", check=0)
                self.assertNotIn("arning", done.out + done.err)

    def test_asked_before_the_first_start(self):
        """What a command of root's leaves in a spool that is there already is the daemon's."""
        server = self.smarthost(1, 1)
        os.mkdir(os.path.join(server.dir, "spool"))
        self.owned(os.path.join(server.dir, "spool"))
        server.run("-bt", "x@elsewhere.test", check=0)
        server.start()

    # ---- isp-inbound.conf -----------------------------------------------------------------------------------------

    def test_isp_inbound(self):
        sink = self.sink()
        server = self.example("isp-inbound.conf", [
            ("  driver = smtp\n", "  driver = smtp\n  allow_localhost\n  port = SINKPORT\n"),
            ("driver = manualroute", "driver = manualroute\n  self = send"), ("store.example.net", "127.0.0.1")],
            {"domains": "test\n", "users": '"alice@test": yes\n'}, {"SINKPORT": str(sink.port)}).start()
        with Client(server.ports[0]) as c:
            c.ehlo()
            c.expect("MAIL FROM:<s@client.test>", 250)
            c.expect("RCPT TO:<alice@elsewhere.test>", 550, "relay not permitted")
            c.expect("RCPT TO:<nobody@test>", 550, "no such user")
            c.expect("RCPT TO:<alice@test>", 250)
            c.data(HEAD + "body\r\n")
        until(lambda: sink.messages, "the message at the store")
        self.assertIn("X-Checked: mx.example.net", str(sink.messages[0][2]))

    # ---- smarthost.conf -------------------------------------------------------------------------------------------

    def smarthost(self, relay_port, reserve_port):
        """The relays are on other addresses of this host, as they would be on other hosts."""
        return self.example("smarthost.conf", [
            ("RELAY = relay.example.net", f"RELAY = 127.0.0.2::{relay_port}"),
            ("RESERVE = reserve.example.net", f"RESERVE = 127.0.0.3::{reserve_port}")],
            {"aliases": "root: joe@example.net, postmaster\npostmaster: ann@elsewhere.test\ngone: :blackhole:\n*: :fail: no such alias\n"})

    def test_smarthost(self):
        relay, reserve = self.sink(address=("127.0.0.2", 0)), self.sink(address=("127.0.0.3", 0))
        server = self.smarthost(relay.port, reserve.port)
        self.as_exim_has_it(server, "a@elsewhere.test", "nobody@node.example.net", "gone@localhost")
        server.start()
        with Client(server.port) as c:
            c.ehlo()
            c.expect("MAIL FROM:<cron@node.example.net>", 250)
            c.expect("RCPT TO:<nobody@localhost>", 550, "no such alias")
            c.expect("RCPT TO:<root@node.example.net>", 250)
            c.expect("RCPT TO:<friend@elsewhere.test>", 250)
            c.data("Subject: from cron\r\n\r\nbody\r\n")  # no From:, no Date:, no Message-ID:
        server.run("-oi", "root@localhost", stdin=b"Subject: local\n\nbody\n", check=0)
        relay.wait(2)
        rcpts = sorted(rcpt for _, rcpts, _ in relay.messages for rcpt in rcpts)
        self.assertEqual(["ann@elsewhere.test"] * 2 + ["friend@elsewhere.test"] + ["joe@example.net"] * 2, rcpts)
        cron = next(body for _, _, body in relay.messages if b"from cron" in body)
        for field in (b"Date: ", b"Message-Id: "):
            self.assertIn(field.lower(), cron.lower())
        self.assertEqual([], reserve.messages)
        self.assertEqual(0, server.queue_count())

    def test_smarthost_away(self):
        """The reserve takes over; with both away the mail waits, and goes when one is back."""
        dead, reserve = self.sink(address=("127.0.0.2", 0)), self.sink(address=("127.0.0.3", 0))
        dead.close()
        server = self.smarthost(dead.port, reserve.port).start()
        server.run("-oi", "a@elsewhere.test", stdin=b"Subject: one\n\nbody\n", check=0)
        reserve.wait(1)
        reserve.close()
        reserve.hang_up()  # a connection in the pool would still be served
        server.run("-oi", "b@elsewhere.test", stdin=b"Subject: two\n\nbody\n", check=0)
        self.logged(server, r"== b@elsewhere\.test R=relay T=relay defer \(111\): Connection refused")
        self.assertEqual(1, server.queue_count())
        back = self.sink(address=("127.0.0.2", dead.port))
        server.run("-qff", check=0)
        self.assertEqual(["b@elsewhere.test"], back.wait(1)[0][1])
        until(lambda: server.queue_count() == 0, "an empty queue")

    # ---- virtual-hosting.conf -------------------------------------------------------------------------------------

    def virtual(self, *more):
        server = self.example("virtual-hosting.conf", more, {
            "domains": "shop.example: account=joe max_size=20K max_rate=2\nother.example: account=ann\nempty.example: account=ann\n",
            "valiases/shop.example": "sales: info@shop.example, ann@other.example\nold: :fail: moved to new@shop.example\n"
                                     "*: info@shop.example\n",
            "valiases/other.example": "away: far@elsewhere.test\n", "valiases/empty.example": "", "home/.keep": "",
            "localdomains": "shop.example\nother.example\nempty.example\n", "remotedomains": "far.example\n",
            "secondarymx": "friend.example\n", "vdomainaliases": "old.example: shop.example\n", "dkim/.keep": "",
            "vfilters/.keep": "", "lists/users@shop.example/.keep": ""})
        cdb(os.path.join(server.dir, "users.cdb"),
            {"info@shop.example": "joe/mail/shop.example/info", "ann@other.example": "ann/mail/other.example/ann"})
        self.owned(os.path.join(server.dir, "home"))
        return server

    def mailbox(self, server, path, count=1):
        folder = os.path.join(server.dir, "home", path, "new")
        names = until(lambda: (lambda n: n if len(n) >= count else None)(os.listdir(folder) if os.path.isdir(folder) else []),
                      lambda: f"{count} messages in {path}: {self.log(server)}")
        result = []
        for name in names:
            with open(os.path.join(folder, name)) as f:
                result.append(f.read())
        return result

    def test_virtual_hosting(self):
        server = self.virtual()
        self.as_exim_has_it(server, "info@shop.example", "info+tag@shop.example", "old@shop.example", "ann@other.example",
                            "x@other.example", "x@empty.example", "info@old.example", "users-request@shop.example")
        server.start()
        with Client(server.port) as c:
            c.ehlo()
            c.expect("MAIL FROM:<s@client.test>", 250)
            for rcpt, code, why in (("old@shop.example", 550, "moved to new@shop.example"), ("x@other.example", 550, "no such user"),
                                    ("a/b@shop.example", 550, "restricted"), (".x@shop.example", 550, "restricted"),
                                    ("sales@shop.example", 250, ""), ("anything@shop.example", 250, ""),
                                    ("info+tag@shop.example", 250, "")):
                c.expect(f"RCPT TO:<{rcpt}>", code, why)
            c.data(HEAD + "body\r\n")
        message = self.mailbox(server, "joe/mail/shop.example/info")[0]
        self.assertIn("Return-path: <s@client.test>\n", message)
        self.assertTrue(message.endswith("\n\nbody\n"), message)
        self.mailbox(server, "ann/mail/other.example/ann")

    def test_virtual_hosting_sizes(self):
        """A domain's limit counts against the announced size, and against the real one."""
        server = self.virtual().start()
        with Client(server.port) as c:
            c.ehlo()
            c.expect("MAIL FROM:<s@client.test> SIZE=30000", 250)
            c.expect("RCPT TO:<info@shop.example>", 550, "takes messages up to 20K")
            c.expect("RCPT TO:<ann@other.example>", 250)
            c.expect("RSET", 250)
            for rcpts, code in ((("ann@other.example", "info@shop.example"), 550), (("ann@other.example",), 250)):
                c.envelope("s@client.test", rcpts)
                c.data(HEAD + "x" * 78 + "\r\n" + ("y" * 78 + "\r\n") * 400, code)
        self.assertEqual(1, len(self.mailbox(server, "ann/mail/other.example/ann")))

    def test_virtual_hosting_rates(self):
        """What leaves is counted by the sender's domain."""
        server = self.virtual(("driver = dnslookup", "driver = manualroute\n  route_list = * 127.0.0.2::1"),
                              ("  ignore_target_hosts = <; 0.0.0.0 ; 127.0.0.0/8 ; ::1\n", "")).start()
        with Client(server.port) as c:
            c.ehlo()
            c.expect("MAIL FROM:<form@shop.example>", 250)
            c.expect("RCPT TO:<a@elsewhere.test>", 250)
            c.expect("RCPT TO:<b@elsewhere.test>", 250)
            c.expect("RCPT TO:<c@elsewhere.test>", 451, "shop.example has sent its 2 messages of this hour")
            c.expect("RSET", 250)
            c.expect("MAIL FROM:<form@other.example>", 250)
            c.expect("RCPT TO:<c@elsewhere.test>", 250)
        with Client(server.port, source="127.0.0.9") as c:
            c.ehlo()
            c.expect("MAIL FROM:<s@client.test>", 250)
            c.expect("RCPT TO:<a@elsewhere.test>", 550, "relay not permitted")

    # ---- quickstart.conf ------------------------------------------------------------------------------------------

    def test_quickstart(self):
        """What the README promises to a new user."""
        text = self.text("quickstart.conf").replace("shards = 0", "shards = 1")
        text = text.replace("\nbegin acl", f"\nexim_user = {USER}\n{GROUP_LINE}begin acl", 1)
        server = self.sluice(text, start=False)
        os.mkdir(os.path.join(server.dir, "var"))
        self.owned(os.path.join(server.dir, "var"))
        macro = f"-DVAR={server.dir}/var"
        server.run(macro, "-bV", check=0)
        server.start(macro)
        with Client(server.port) as c:
            c.ehlo()
            c.message(HEAD + "body\r\n", "me@example.org", ("you@localhost",))
        new = os.path.join(server.dir, "var/mail/inbox/new")
        (name,) = until(lambda: os.path.isdir(new) and os.listdir(new), "the message in the maildir")
        with open(os.path.join(new, name)) as f:
            self.assertIn("\nSubject: x\n", f.read())


if __name__ == "__main__":
    unittest.main()
