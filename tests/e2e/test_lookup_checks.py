"""Lists and lookups as administrators use them, with the real programs beside: Redis sets as relay hosts, LMDB files made by mdb_load,
files that are replaced, side effects that happen once or not at all, and what waits holds up nobody else."""
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest

from harness import Client, SluiceTest, configuration, free_port, until
from nameserver import SILENT, Nameserver
from test_redis import Redis

TAIL = "begin routers\nnone:\n  driver = redirect\n  data = :blackhole:\nbegin transports\n"


def acl(*lines):
    return "\nbegin acl\nrcpt_acl:\n" + "".join(f"  {line}\n" for line in lines) + TAIL


class Checks(SluiceTest):
    def redis(self, *options):
        redis = Redis(*options)
        self.addCleanup(redis.kill)
        return redis

    def reply(self, box, rcpt="a@test", source="127.0.0.1", sender=""):
        with Client(box.port, source=source) as c:
            c.ehlo()
            c.expect(f"MAIL FROM:<{sender}>", 250)
            return c.cmd(f"RCPT TO:<{rcpt}>")

    def write(self, box, name, text):
        """By rename, as administrators should."""
        path = os.path.join(box.dir, name)
        with open(path + ".new", "w") as f:
            f.write(text)
        os.rename(path + ".new", path)
        return path


class RedisChecks(Checks):
    def test_keys_with_special_bytes(self):
        """F11.2"""
        redis = self.redis()
        box = self.sluice(configuration(f"redis_servers = 127.0.0.1::{redis.port}//\n"), start=False)
        key, value = "k\\\\ey\\twith  b", "va\\\\lue \\t\\n\\r end\\\\"
        out = box.run("-be", "${lookup redis{SET ${quote_redis:%s} ${quote_redis:%s}}} <${lookup redis{GET ${quote_redis:%s}}}>" % (key, value, key),
                      check=0).out
        self.assertEqual(out, "OK <va\\lue \t\n\r end\\>\n")
        self.assertEqual(redis.call("EXISTS", "k\\ey\twith  b"), "1")

    def test_relays_in_a_set(self):
        """F11.3: members with masks admit; a changed set is seen by the next connection."""
        redis = self.redis()
        redis.call("SADD", "relay_from_ips", "127.0.0.2", "127.0.4.0/24")
        box = self.sluice(configuration(
            f"redis_servers = 127.0.0.1::{redis.port}//\nhostlist relay_from_ips = <\\n ${{lookup redis{{SMEMBERS relay_from_ips}}}}\n",
            acl("accept hosts = +relay_from_ips", "deny message = no relay")))
        codes = lambda: [self.reply(box, source=ip).code for ip in ("127.0.0.2", "127.0.4.9", "127.0.3.1")]
        self.assertEqual(codes(), [250, 250, 550])
        redis.call("SREM", "relay_from_ips", "127.0.0.2")
        redis.call("SADD", "relay_from_ips", "127.0.3.0/28")
        self.assertEqual(codes(), [550, 250, 250])
        redis.call("DEL", "relay_from_ips")
        self.assertEqual(codes(), [550, 550, 550])

    def test_examples_of_the_manual(self):
        """The expansions of the lookup's first description, with the server running."""
        redis = self.redis()
        redis.call("HSET", "virtual.test", "domain", "virtual.test")
        box = self.sluice(configuration(f"""SPAMMER_SET = SET spam:${{quote_redis:$sender_host_address}} 1
SPAMMER_GET = GET spam:${{quote_redis:$sender_host_address}}
redis_servers = 127.0.0.1::{redis.port}//
domainlist virtual_domains = ${{lookup redis {{HGET $domain domain}}}}
""", acl("accept domains = +virtual_domains", "warn set acl_c_spammer = ${if eq{${lookup redis{SPAMMER_SET}}}{OK}}",
         "deny message = unknown: <$acl_c_spammer> <${lookup redis{SPAMMER_GET}}>")))
        self.assertEqual(self.reply(box, "x@virtual.test").code, 250)
        self.assertIn("<true> <1>", self.reply(box, "x@other.test").text)
        self.assertEqual(redis.call("GET", "spam:127.0.0.1"), "1")

    def test_all_down(self):
        """F11.5: a 4xx, and a log without the password."""
        box = self.sluice(configuration(
            f"hide redis_servers = 127.0.0.1::{free_port()}/3/s3cr3t : (/nonexistent/socket)/1/s3cr3t\n",
            acl("accept condition = ${lookup redis{GET x}}")))
        reply = self.reply(box)
        self.assertEqual(reply.code, 451)
        self.assertNotIn("s3cr3t", reply.text)
        box.wait_log("REDIS: /nonexistent/socket")
        self.assertNotIn("s3cr3t", box.log() + box.log("panic") + box.log("reject"))


@unittest.skipUnless(shutil.which("mdb_load"), "no mdb_load here")
class LmdbChecks(Checks):
    def load(self, path, rows):
        if os.path.exists(path + ".new"):
            os.unlink(path + ".new")
        text = "".join(f"{k}\n{v}\n" for k, v in rows)
        subprocess.run(["mdb_load", "-n", "-T", path + ".new"], input=text.encode(), check=True, timeout=60)
        os.rename(path + ".new", path)

    def test_forms(self):
        """F12.1 to F12.3, with a file that another program made."""
        box = self.sluice(configuration(), start=False)
        path = os.path.join(box.dir, "relaydomains.mdb")
        self.load(path, [("a.example", "one"), ("UPPER", "up"), ("*", "default"), ("*.wild.example", "wild"), ("*@at.example", "at")])
        for text, said in (
                ("${lookup{a.example}lmdb{F}{$value}}", "one"), ("${lookup{a.example}lmdb{F}{<$value>}fail}", "<one>"), ("${lookup{a.example}lmdb{F}}", "one"),
                ("${lookup{none}lmdb{F}{$value}}", ""), ("[${lookup{none}lmdb{F}}]", "[]"), ("${lookup{none}lmdb{F}{y}{n}}", "n"),
                ("${lookup{upper}lmdb{F}{y}{n}}", "n"), ("${lookup{UPPER}lmdb{F}}", "up"), ("${lookup{none}lmdb*{F}}", "default"),
                ("${lookup{x.y.wild.example}partial-lmdb{F}{$value $1 $2}}", "wild x.y wild.example"), ("${lookup{u@at.example}lmdb*@{F}}", "at"),
                ("${lookup{a.example}lmdb,ret=key{F}}", "a.example"), ("${lookup{a.example}lmdb,cache=no_rd{F}}", "one"),
                ("${if match_domain{b.wild.example}{partial-lmdb;F}{y}{n}}", "y")):
            self.assertEqual(box.run("-be", text.replace("{F}", "{%s}" % path).replace(";F", ";" + path), check=0).out, said + "\n", text)
        self.assertIn("\"lookup\" failed and \"fail\" requested", box.run("-be", "${lookup{none}lmdb{%s}{$value}fail}" % path).out)

    def test_in_sessions(self):
        """F12.4, F12.5: damaged, missing, replaced, written in place; the next message sees what is there, and a line says what is wrong."""
        box = self.sluice(configuration("", acl("accept domains = lmdb;DIR/domains.mdb", "deny")), start=False)
        path = os.path.join(box.dir, "domains.mdb")
        self.load(path, [("a.test", "x")])
        box.start()
        both = lambda: [self.reply(box, f"u@{d}.test").code for d in "ab"]
        self.assertEqual(both(), [250, 550])
        self.load(path, [("b.test", "x")])
        self.assertEqual(both(), [550, 250])
        # In place, by its own library: appended, and with many keys, so that the tree grows.
        rows = "a.test\nx\n" + "".join(f"k{i}\nv\n" for i in range(3000))
        subprocess.run(["mdb_load", "-n", "-T", path], input=rows.encode(), check=True, timeout=60)
        self.assertEqual(both(), [250, 250])
        with open(path, "r+b") as f:
            f.truncate(9000)
        self.assertEqual(self.reply(box, "u@a.test").code, 451)
        with open(path, "wb") as f:
            f.write(b"no database at all\n" * 1000)
        self.assertEqual(self.reply(box, "u@a.test").code, 451)
        os.unlink(path)
        # A look at a file counts for a millisecond.
        until(lambda: self.reply(box, "u@a.test").code == 451 and "LMDB: Unable to open database" in box.log(), "it to be missed")
        self.load(path, [("a.test", "x")])
        self.assertEqual(both(), [250, 550])


class ListChecks(Checks):
    def test_lists(self):
        """F26.1, F26.2, F26.4"""
        box = self.sluice(configuration("domainlist my_domains = mine.test : +more\ndomainlist more = *.mine.test\n", acl(
            "deny senders = :\n         domains = ! +my_domains\n         message = bounce elsewhere",
            "deny domains = ! +my_domains\n       message = elsewhere",
            "accept senders = !*@bad.test", "deny message = bad")))
        for sender, domain, said in (("", "other.test", "bounce elsewhere"), ("a@b.test", "other.test", "elsewhere"), ("", "mine.test", "2.1.5"),
                                     ("a@b.test", "x.mine.test", "2.1.5"), ("a@bad.test", "mine.test", "bad"), ("a@b.test", "xmine.test", "elsewhere")):
            self.assertIn(said, self.reply(box, "u@" + domain, sender=sender).text)

    def test_files(self):
        """The founding documents' files of sites and of limits: each sample finds its line."""
        box = self.sluice(configuration(), start=False)
        sites = self.write(box, "sites", "mout-xforward.gmx.net 82.165.159.12\nmout.gmx.net 212.227.15.16\n*.wild.net 10.0.0.1\n^re\\d+\\.net$  10.0.0.2\n")
        limits = self.write(box, "limits", "# limits\n1.2.3.4: 1\n192.0.2.0/24: 2\n\"2001:db8::/32\": 3\n\"::1\": 4\n10.0.0.0/8  5\n")
        for key, said in (("mout.gmx.net", "212.227.15.16"), ("MOUT-xforward.gmx.net", "82.165.159.12"), ("a.wild.net", "10.0.0.1"), ("re12.net", "10.0.0.2"),
                          ("re.net", ""), ("gmx.net", ""), ("xmout.gmx.net", "")):
            self.assertEqual(box.run("-be", "${lookup{%s}nwildlsearch{%s}{$value}{}}" % (key, sites), check=0).out, said + "\n", key)
        for key, said in (("1.2.3.4", "1"), ("192.0.2.77", "2"), ("2001:db8:1::7", "3"), ("::1", "4"), ("10.255.0.1", "5"), ("1.2.3.5", ""), ("2001:db9::1", "")):
            self.assertEqual(box.run("-be", "${lookup{%s}iplsearch{%s}}" % (key, limits), check=0).out, said + "\n", key)

    def test_a_file_that_changes(self):
        """F26.5: the next message sees the new one; a missing one is a 4xx, and the log has its name."""
        box = self.sluice(configuration("", acl("accept domains = lsearch;DIR/domains", "accept domains = DIR/plain", "deny")), start=False)
        self.write(box, "domains", "a.test:\n")
        self.write(box, "plain", "c.test\n")
        box.start()
        codes = lambda: [self.reply(box, f"u@{d}.test").code for d in "abcd"]
        self.assertEqual(codes(), [250, 550, 250, 550])
        self.write(box, "domains", "b.test:\n")
        self.write(box, "plain", "d.test\n")
        self.assertEqual(codes(), [550, 250, 550, 250])
        os.unlink(os.path.join(box.dir, "domains"))
        self.assertEqual(codes(), [451] * 4)
        box.wait_log(os.path.join(box.dir, "domains"))


class EffectChecks(Checks):
    def test_branches_not_taken(self):
        """F25.4: what is not taken does not happen, what is taken happens once, and in order."""
        redis = self.redis()
        box = self.sluice(configuration(f"redis_servers = 127.0.0.1::{redis.port}//\nsqlite_dbfile = DIR/db\n"), start=False)
        asked = []
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve():
            while True:
                try:
                    s, _ = listener.accept()
                except OSError:
                    return
                asked.append(s.recv(100))
                s.sendall(b"!")
                s.close()

        threading.Thread(target=serve, daemon=True).start()
        trace = os.path.join(box.dir, "trace")
        run = "${run{/bin/sh -c \"echo %s >>" + trace + "\"}}"
        ask = "${readsocket{inet:127.0.0.1:" + str(listener.getsockname()[1]) + "}{%s}}"
        push = "${lookup redis{RPUSH order %s}{}}"
        self.assertEqual(box.run("-be", "${lookup sqlite{create table t(n)}{}{}}", check=0).out, "\n")
        insert = "${lookup sqlite{insert into t values('%s')}{}{}}"
        every = lambda word: (run % word) + (ask % word) + (push % word) + (insert % word)
        lines = ["${if eq{a}{b}{%s}{}}" % every("no1"), "${if and{{eq{a}{b}}{eq{%s}{x}}}{}{}}" % every("no2"), "${lookup{x}lsearch{/dev/null}{%s}{}}" % every("no3"),
                 "${if or{{eq{a}{a}}{eq{%s}{x}}}{%s}{%s}}" % (every("no4"), every("one"), every("no5")),
                 "%s${if eq{a}{a}{%s}fail}%s" % (every("two"), every("three"), every("four"))]
        self.write(box, "empty", "")
        lines[2] = lines[2].replace("/dev/null", os.path.join(box.dir, "empty"))
        for line in lines:
            box.run("-be", line, check=0)
        words = ["one", "two", "three", "four"]
        with open(trace) as f:
            self.assertEqual(f.read().split(), words)
        self.assertEqual([a.decode() for a in asked], words)
        self.assertEqual(redis.call("LRANGE", "order", "0", "-1").split(), words)
        self.assertEqual(box.run("-be", "${lookup sqlite{select n from t}}", check=0).out.split(), words)

    def test_who_waits_holds_up_nobody(self):
        """F25.5, F11.7: on one shard, a session that waits for a name server and one for Redis; a third goes on."""
        redis, dns = self.redis(), Nameserver({"slow.test": SILENT})
        self.addCleanup(dns.close)
        box = self.sluice(configuration(f"redis_servers = 127.0.0.1::{redis.port}//\ndns_servers = 127.0.0.1:{dns.port}\ndns_retrans = 2s\ndns_retry = 1\n", acl(
            "accept local_parts = dns\n         condition = ${lookup dnsdb{defer_never,txt=slow.test}{yes}{yes}}",
            "accept local_parts = redis\n         condition = ${lookup redis{EXISTS x}{yes}{no}}", "accept")))
        with box.client() as one, box.client() as two, box.client() as other:
            for c in (one, two):
                c.ehlo()
                c.expect("MAIL FROM:<>", 250)
            redis.process.send_signal(signal.SIGSTOP)
            one.send("RCPT TO:<dns@test>\r\n")
            two.send("RCPT TO:<redis@test>\r\n")
            began = time.monotonic()
            other.ehlo()
            other.expect("MAIL FROM:<>", 250)
            for i in range(50):
                other.expect(f"RCPT TO:<u{i}@test>", 250)
            self.assertLess(time.monotonic() - began, 2)
            redis.process.send_signal(signal.SIGCONT)
            one.wait(250)
            two.wait(250)


class HostileChecks(Checks):
    def test_catastrophic_patterns(self):
        """Nested repeats, against what nearly matches: an answer within seconds, deferred, and never "no match"."""
        box = self.sluice(configuration(), start=False)
        text = "a" * 5000 + "!"
        table = self.write(box, "table", "^(a+)+$ found\n")
        for line in ("${if match{%s}{^(a+)+\\$}{y}{n}}", "${sg{%s}{^(a|aa)+\\$}{x}}", "${if match_local_part{%s}{^(a+)+\\$}{y}{n}}",
                     "${if match_domain{%s}{^(a+)+\\$}{y}{n}}", "${lookup{%s}nwildlsearch{" + table + "}{y}{n}}", "${if forany{%s}{match{$item}{^(a?){60}a{60}(a+)+\\$}}{y}{n}}"):
            began = time.monotonic()
            done = box.run("-be", line % text)
            said = (done.out + done.err).replace(text, "TEXT")
            self.assertLess(time.monotonic() - began, 10)
            self.assertNotRegex(said, r"^[ynx]?\n?$", line)

    def test_a_session_with_one(self):
        """The client gets a 4xx, and others are served meanwhile."""
        box = self.sluice(configuration("", acl("deny local_parts = ^(a+)+\\$", "accept")))
        with box.client() as c:
            c.ehlo()
            c.expect("MAIL FROM:<>", 250)
            c.expect(f"RCPT TO:<{'a' * 60}!@test>", 451)
            c.expect(f"RCPT TO:<b@test>", 250)

    def test_loops_of_the_file(self):
        """Includes, macros and names that lead back to themselves are mistakes with a place."""
        for main, why in ((".include DIR/config\n", "includes itself"), ("A = x\nA == A A\nA == AAAAAAAAAA\nA == AAAAAAAAAAAAAAAAAAAA\nA == AAAAAAAAAAAAAAAAAAAA\n"
                           "A == AAAAAAAAAAAAAAAAAAAA\nA == AAAAAAAAAAAAAAAAAAAAAAAA\nA == AAAAAAAAAAAAAAAAAAAA\n", "too long"),
                          ("domainlist a = +b\ndomainlist b = +a\n", "refers to itself")):
            box = self.sluice(configuration(main), start=False)
            began = time.monotonic()
            done = box.run("-bV")
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.err, "(?s)line \\d+ of .*" + why)
            self.assertLess(time.monotonic() - began, 10)

    def test_keys(self):
        """Quotes, NULs, line ends and strangers' names in keys and files."""
        redis = self.redis()
        box = self.sluice(configuration(f"redis_servers = 127.0.0.1::{redis.port}//\nsqlite_dbfile = DIR/db\n", acl(
            "warn set acl_m_q = ${lookup sqlite{select 'x${quote_sqlite:$local_part}x'}}/${lookup redis{ECHO ${quote_redis:$local_part}}}",
            "accept local_parts = file\n         condition = ${lookup{x}lsearch{$sender_address_domain}}", "deny message = <$acl_m_q>")), start=False)
        self.assertEqual(box.run("-be", "${lookup sqlite{create table t(n)}{}{}}", check=0).out, "\n")
        os.chmod(os.path.join(box.dir, "db"), 0o666)
        box.start()
        for local in ("o'hara", "\"a'';drop'\"", "\"a b\\\"c\"", "a+b"):
            said = self.reply(box, f"{local}@test").text
            plain = local.strip('"').replace('\\"', '"')
            self.assertIn(f"<x{plain}x/{plain}>", said)
        self.assertEqual(self.reply(box, "file@test", sender="a@etc").code, 451)
        box.wait_log("Tainted filename for search: 'etc'")
        out = box.run("-be", "[${lookup{a\\0b}lsearch{/etc/passwd}{y}{n}}]", "${lookup{a}lsearch{/etc/pass\\0wd}{y}{n}}", "[${lookup{a\\nb}lsearch{/etc/passwd}{y}{n}}]",
                      "${lookup sqlite{select 1\\0}}").out.splitlines()
        self.assertEqual((out[0], out[2]), ("[n]", "[n]"))
        self.assertTrue(out[1].startswith("Temporary failure"), out)
        self.assertIn("a NUL", "\n".join(out[3:]))


if __name__ == "__main__":
    unittest.main()
