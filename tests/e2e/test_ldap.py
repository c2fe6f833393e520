"""LDAP lookups in a real slapd: the same queries to sluice and to Exim, passwords, servers that are away, hang and come back."""
import os
import socket
import subprocess
import threading
import unittest

from harness import USER, Sluice, configuration, free_port, scratch, until

ORACLE = os.environ.get("SLUICE_ORACLE")
SLAPD = "/usr/sbin/slapd"
SLAPD_CONF = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile DIR/pid
modulepath /usr/lib/ldap
moduleload back_mdb
sizelimit 500
TLSCACertificateFile DIR/cert
TLSCertificateFile DIR/cert
TLSCertificateKeyFile DIR/key
database mdb
suffix "o=base"
rootdn "cn=manager,o=base"
rootpw secret word
directory DIR/db
access to dn.subtree="ou=closed,o=base" by users read by * none
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""
ENTRIES = """
dn: o=base
objectClass: organization
o: base

dn: ou=people,o=base
objectClass: organizationalUnit
ou: people

dn: uid=fred,ou=people,o=base
objectClass: inetOrgPerson
uid: fred
cn: Fred, the first
cn: Fred
sn: Flint "stone" back\\slash
mail: fred@a.test
mail: f@b.test
description:: bGluZSBvbmUKbGluZSB0d28=
userPassword: fred's pass

dn: uid=wilma,ou=people,o=base
objectClass: inetOrgPerson
uid: wilma
cn: Wilma
sn: Stone
mail: wilma@a.test

dn: uid=star*(x),ou=people,o=base
objectClass: inetOrgPerson
uid: star*(x)
cn: Star
sn: Odd
mail: star@a.test

dn: cn=a\\, b\\+c,ou=people,o=base
objectClass: inetOrgPerson
cn: a, b+c
sn: Comma

dn: ou=closed,o=base
objectClass: organizationalUnit
ou: closed

dn: cn=hidden,ou=closed,o=base
objectClass: inetOrgPerson
cn: hidden
sn: Hidden
mail: hidden@a.test
"""
# "@S" is the server, "@U" its Unix socket.
SAME = [
    "ldap {ldap://@S/ou=people,o=base?mail?sub?(uid=fred)}",
    "ldap {ldap://@S/ou=people,o=base?cn?sub?(uid=fred)}",
    "ldap {ldap://@S/ou=people,o=base?sn?sub?(uid=fred)}",
    "ldap {ldap://@S/ou=people,o=base?sn,mail?sub?(uid=fred)}",
    "ldap {ldap://@S/ou=people,o=base?cn,sn,description?sub?(uid=fred)}",
    "ldap {ldap://@S/ou=people,o=base?description?sub?(uid=fred)}",
    "ldap {ldap://@S/uid=wilma,ou=people,o=base}",
    "ldap {ldap://@S/uid=wilma,ou=people,o=base??base}",
    "ldap {ldap://@S/uid=wilma,ou=people,o=base?nosuch}",
    "ldap {ldap://@S/uid=wilma,ou=people,o=base?nosuch,mail}",
    "ldap {ldap://@S/uid=nobody,ou=people,o=base?mail}",
    "ldap {ldap://@S/ou=people,o=base?mail?sub?(uid=nobody)}",
    "ldap {ldap://@S/ou=people,o=base?mail?sub?(mail=*)}",
    "ldap {ldap://@S/ou=people,o=base?mail?one?(uid=fred)}",
    "ldap {ldap://@S/o=base?mail?one?(uid=fred)}",
    "ldapm {ldap://@S/ou=people,o=base?mail?sub?(mail=*)}",
    "ldapm {ldap://@S/ou=people,o=base?uid,mail?sub?(mail=*)}",
    "ldapm {ldap://@S/ou=people,o=base?mail?sub?(uid=nobody)}",
    "ldapm {ldap://@S/ou=people,o=base?mail?sub?(cn=*)}",
    "ldapdn {ldap://@S/ou=people,o=base?mail?sub?(uid=fred)}",
    "ldapdn {ldap://@S/ou=people,o=base??sub?(sn=Comma)}",
    "ldapdn {ldap://@S/ou=people,o=base??sub?(mail=*)}",
    "ldap {ldap://@S/ou=people,o=base?mail?sub?(uid=${quote_ldap:star*(x)})}",
    "ldap {ldap://@S/ou=people,o=base?mail?sub?(uid=star*)}",
    "ldap {ldap://@S/cn=${quote_ldap_dn:a, b+c},ou=people,o=base?sn}",
    "ldap {ldap://@S/ou=people,o=base?mail?sub?(uid=${quote_ldap:*})}",
    "ldap {ldap://@S/ou=closed,o=base?mail?sub?(cn=hidden)}",
    "ldap {user=\"cn=manager,o=base\" pass=\"secret word\" ldap://@S/ou=closed,o=base?mail?sub?(cn=hidden)}",
    "ldap {user=cn=manager,o=base pass=\"secret word\" ldap://@S/ou=closed,o=base?mail?sub?(cn=hidden)}",
    "ldap {USER=cn=manager%2Co=base PASS=\"secret word\" ldap://@S/ou=closed,o=base?mail?sub?(cn=hidden)}",
    "ldap {user=cn=manager,o=base pass=wrong ldap://@S/ou=closed,o=base?mail?sub?(cn=hidden)}",
    "ldap {size=1 ldap://@S/ou=people,o=base?mail?sub?(uid=fred)}",
    "ldap {time=5 connect=5 dereference=always referrals=nofollow ldap://@S/ou=people,o=base?mail?sub?(uid=fred)}",
    "ldap {nettime=5 ldap://@S/ou=people,o=base?mail?sub?(uid=fred)}",
    "ldap {bogus=1 ldap://@S/ou=people,o=base?mail?sub?(uid=fred)}",
    "ldap {bogus ldap://@S/ou=people,o=base?mail?sub?(uid=fred)}",
    "ldap {ldap:///ou=people,o=base?mail?sub?(uid=fred)}",
    "ldap {servers=@D ldap:///ou=people,o=base?mail?sub?(uid=fred)}",
    "ldap {ldapi://@U/ou=people,o=base?mail?sub?(uid=fred)}",
    "ldap {ldapi://@S/ou=people,o=base?mail?sub?(uid=fred)}",
    "ldap {ldap://@S/ou=people,o=base?mail?sub?(uid=fred}",
    "ldap {ldap://@S/ou=people,o=base?mail?sub?uid=fred}",
    "ldap {ldap://@S/nonsense?mail?sub?(uid=fred)}",
    "ldap {http://@S/x}",
    "ldap {}",
]


class Slapd:
    def __init__(self):
        self.dir = scratch("ldap")
        os.chmod(self.dir, 0o755)
        os.mkdir(self.dir + "/db")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", self.dir + "/key", "-out", self.dir + "/cert"],
                       check=True, capture_output=True, timeout=60)
        with open(self.dir + "/conf", "w", encoding="ascii") as f:
            f.write(SLAPD_CONF.replace("DIR", self.dir).replace("secret word", '"secret word"'))
        subprocess.run([SLAPD, "-T", "add", "-q", "-f", self.dir + "/conf"], input=ENTRIES.encode(), check=True, capture_output=True,
                       timeout=60)
        self.process = None
        for _ in range(10):
            self.port, self.tls_port = free_port(), free_port()
            if self.start():
                return
        raise AssertionError("slapd does not start")

    def start(self):
        socket_url = "ldapi://" + (self.dir + "/socket").replace("/", "%2F")
        # With -d it stays in the foreground; -d 0 says nothing.
        self.process = subprocess.Popen([SLAPD, "-d", "0", "-f", self.dir + "/conf", "-h",
                                         f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port} {socket_url}"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return until(self.state, "slapd to start") == "up"

    def state(self):
        if self.process.poll() is not None:
            return "ended"
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return "up"
        except OSError:
            return None

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(60)


@unittest.skipUnless(os.path.exists(SLAPD), "no slapd here")
class Ldap(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Slapd()
        cls.main = f"ldap_default_servers = 127.0.0.1::{cls.server.port}\nldap_ca_cert_file = {cls.server.dir}/cert\n"
        cls.sluice = Sluice(configuration(cls.main))

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.sluice.kill()

    def here(self, text):
        s = self.server
        return (text.replace("@S", f"127.0.0.1:{s.port}").replace("@D", f"127.0.0.1::{s.port}").replace("@T", f"127.0.0.1:{s.tls_port}")
                .replace("@U", (s.dir + "/socket").replace("/", "%2F")))

    def be(self, text, sluice=None):
        return (sluice or self.sluice).run("-be", self.here(text)).out.rstrip("\n")

    def exim(self, text):
        conf = os.path.join(self.server.dir, "exim.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write("keep_environment =\n" + self.main)
        return subprocess.run([ORACLE, "-C", conf, "-be", self.here(text)], capture_output=True, text=True, timeout=60,
                              check=False).stdout.rstrip("\n")

    @unittest.skipUnless(ORACLE, "no Exim to ask")
    def test_as_exim(self):
        for query in SAME:
            text = f"${{lookup {query}{{<$value>}}{{no}}}}"
            theirs, ours = self.exim(text), self.be(text)
            with self.subTest(query=query):
                if theirs.startswith("Failed: lookup of"):
                    self.assertIn("gave DEFER", ours)
                else:
                    self.assertEqual(theirs, ours)

    def test_results(self):
        people = "ldap://@S/ou=people,o=base"
        for query, result in (
                (f"ldap {{{people}?mail?sub?(uid=fred)}}", "fred@a.test,f@b.test"),
                (f"ldap {{{people}?cn?sub?(uid=fred)}}", "Fred,, the first,Fred"),
                (f"ldapdn {{{people}??sub?(sn=Comma)}}", "cn=a\\2C b\\2Bc,ou=people,o=base"),
                (f"ldap {{{people}?mail?sub?(uid=nobody)}}", "no"),
                ("ldap {ldaps://@T/ou=people,o=base?mail?sub?(uid=wilma)}", "wilma@a.test")):
            said = self.be(f"${{lookup {query}{{$value}}{{no}}}}")
            if result.startswith("Temp"):
                self.assertRegex(said, result)
            else:
                self.assertEqual(said, result)
        self.assertEqual(self.be(f"${{lookup ldap{{{people}?mail?sub?(uid=wilma)}}}} $ldap_dn"),
                         "wilma@a.test uid=wilma,ou=people,o=base")

    def test_tls(self):
        """StartTLS; a certificate that nobody has vouched for."""
        query = "${lookup ldap{ldap://127.0.0.1:%d/ou=people,o=base?mail?sub?(uid=wilma)}}" % self.server.port
        start = Sluice(configuration(self.main + "ldap_start_tls\n"))
        self.addCleanup(start.kill)
        self.assertEqual(self.be(query, sluice=start), "wilma@a.test")
        unknown = Sluice(configuration("ldap_start_tls\nldap_ca_cert_file = /etc/ldap/schema/core.ldif\n"))
        self.addCleanup(unknown.kill)
        self.assertIn("gave DEFER", self.be(query, sluice=unknown))
        # The name counts: to libldap, "localhost" is this machine's own name, which is not in the certificate.
        self.assertIn("failed to initiate TLS", self.be(query.replace("//127.0.0.1", "//localhost"), sluice=start))

    def test_ldapauth(self):
        for user, password, result in (
                ("uid=fred,ou=people,o=base", "fred's pass", "yes"), ("uid=fred,ou=people,o=base", "wrong", "no"),
                ("uid=fred,ou=people,o=base", "", "no"), ("uid=nobody,ou=people,o=base", "x", "no"),
                ("uid=${quote_ldap_dn:fred},ou=people,o=base", "fred's pass", "yes"), ("nonsense", "x", "Failed|Temp")):
            text = f'${{if ldapauth{{user="{user}" pass="{password}" ldap://@S/}}{{yes}}{{no}}}}'
            self.assertRegex(self.be(text), result, text)
            if ORACLE:
                self.assertRegex(self.exim(text), result, text)
        gone = '${if ldapauth{user="uid=fred,o=base" pass="x" ldap://127.0.0.1:1/}{yes}{no}}'
        self.assertRegex(self.be(gone), "^Temporary failure: ")

    def test_next_server(self):
        """Those that are away are passed over; a secret stays one."""
        main = f"ldap_default_servers = 127.0.0.1::1 : /nonexistent : 127.0.0.1::{self.server.port}\n"
        sluice = Sluice(configuration(main))
        self.addCleanup(sluice.kill)
        text = "${lookup ldap{user=cn=manager,o=base pass=\"secret word\" ldap:///ou=closed,o=base?mail?sub?(cn=hidden)}}"
        self.assertEqual(self.be(text, sluice=sluice), "hidden@a.test")
        away = self.be("${lookup ldap{servers=127.0.0.1::1:127.0.0.1::2 ldap:///o=base?o}}")
        self.assertRegex(away, "LDAP: 127.0.0.1: connect: Connection refused")

    def test_under_way(self):
        """A server that never answers keeps nobody else waiting; one that was stopped is used again when it is back."""
        silent = socket.socket()
        self.addCleanup(silent.close)
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        policy = f"""
begin acl
rcpt_acl:
  accept  local_parts = slow
          condition = ${{lookup ldap{{nettime=20 ldap://127.0.0.1:{silent.getsockname()[1]}/o=base?o}}}}
  accept  condition = ${{lookup ldap,cache=no_rd{{ldap:///ou=people,o=base?mail?sub?(uid=${{quote_ldap:$local_part}})}}{{yes}}{{no}}}}
  deny    message = unknown here
begin routers
begin transports
"""
        sluice = Sluice(configuration(self.main, policy)).start()
        self.addCleanup(sluice.kill)
        with sluice.client() as slow, sluice.client() as client:
            for c in (slow, client):
                c.ehlo()
                c.expect("MAIL FROM:<>", 250)
            slow.send("RCPT TO:<slow@test>\r\n")
            connection, _ = silent.accept()  # the question is on its way
            for _ in range(5):
                client.expect("RCPT TO:<fred@test>", 250)
                client.expect("RCPT TO:<x*@test>", 550)
            self.server.stop()
            client.expect("RCPT TO:<fred@test>", 451)
            self.assertTrue(self.server.start())
            client.expect("RCPT TO:<fred@test>", 250)
            connection.close()
            slow.wait(451)

    def test_many_at_once(self):
        policy = """
begin acl
rcpt_acl:
  accept  condition = ${lookup ldap{ldap:///ou=people,o=base?mail?sub?(uid=${quote_ldap:$local_part})}{yes}{no}}
  deny    message = unknown here
begin routers
begin transports
"""
        sluice = Sluice(configuration(self.main, policy)).start()
        self.addCleanup(sluice.kill)
        wrong = []

        def session():
            with sluice.client() as client:
                client.ehlo()
                client.expect("MAIL FROM:<>", 250)
                for _ in range(10):
                    for who, code in (("fred", 250), ("nobody", 550), ("wilma", 250)):
                        if client.cmd(f"RCPT TO:<{who}@test>").code != code:
                            wrong.append(who)
        threads = [threading.Thread(target=session) for _ in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main()
