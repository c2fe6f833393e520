"""What this server does not have: a file that names it is refused when it is read, with its place and the reason; where the
name comes out of an expansion, the lookup defers with the same words."""
import subprocess
import unittest

from harness import SluiceTest, configuration

TYPES = {
    "dbm": ("%s;/x", "LMDB"), "dbmnz": ("%s;/x", "LMDB"), "dbmjz": ("%s;/x", "LMDB"), "nis": ("%s;/x", "ldap"), "nis0": ("%s;/x", "ldap"),
    "nisplus": ("%s;[x]y", "ldap"), "oracle": ("%s;select", "pgsql"), "ibase": ("%s;select", "pgsql"), "whoson": ("%s;x", "redis"),
    "nmh": ("%s;x", "file"), "ldapauth": ("%s;x", "${if ldapauth"), "readsock": ("%s;x", "${readsocket"),
}
ABOUT = {"type": 'lookup type "dbm" is not built into this server', "cond": 'support for "%s" not compiled'}
MAIN = """primary_hostname = x.example
spool_directory = DIR/spool
log_file_path = DIR/log/%%s
keep_environment =
LINE
begin acl
here:
  accept
ACL
begin routers
r:
  driver = accept
  ROUTER
  transport = t
begin transports
t:
  driver = appendfile
  file = /nonexistent
  TRANSPORT
begin retry
* * F,1h,10m
RETRY
begin rewrite
REWRITE
begin authenticators
AUTH
"""
PLACES = ["LINE", "ACL", "ROUTER", "TRANSPORT", "RETRY", "REWRITE", "AUTH"]


class Refusals(SluiceTest):
    def load(self, **places):
        """What -bV says, and the line that the place stands in."""
        text, line = MAIN, 0
        for name in PLACES:
            if name in places:
                at = text[:text.index(name)].count("\n") + 1
                line = at + (0 if "\\" in places[name] else places[name].count("\n"))
            text = text.replace(name, places.get(name, ""))
        box = self.sluice(text, start=False)
        return box.run("-bV"), line, box

    def refused(self, why, **places):
        done, line, _ = self.load(**places)
        self.assertNotEqual(done.returncode, 0, places)
        self.assertIn("line %d of " % line, done.err, places)
        self.assertIn(why, done.err, places)
        self.assertEqual(done.err.count("error in"), 1, done.err)

    def test_the_rest_loads(self):
        done, _, _ = self.load()
        self.assertEqual((done.returncode, done.err), (0, ""))

    def test_types_in_lists(self):
        for name, (item, instead) in TYPES.items():
            self.refused('lookup type "%s" is not built' % name, LINE="domainlist d = a : " + item % name)
            self.refused(instead, LINE="domainlist d = a : ! " + item % name)

    def test_kinds_of_lists(self):
        why = 'lookup type "nis" is not built'
        for line in ("hostlist h = 1.2.3.4 : net-nis;/x", "addresslist a = a@b : nis;/x", "addresslist a = *@nis;/x", "addresslist a = @@nis;/x",
                     "localpartlist l = nis;/x", "domainlist d = partial-nis;/x", "domainlist d = <; a ; nis*;;/x",
                     "hostlist h = ${lookup{a}nis{/x}}", "host_lookup = nis;/x", "smtp_banner = ${lookup{$domain}nis,ret=key{/x}{a}{b}}",
                     "domainlist d = \\\n  a : \\\n  b : nis;/x"):
            self.refused(why, LINE=line)

    def test_places(self):
        why, text = 'lookup type "nis" is not built', "${if eq{a}{b}{${lookup{x}nis{/x}}}{c}}"
        self.refused(why, ACL="  deny message = " + text)
        self.refused(why, ACL="  deny condition = yes\n    set acl_m0 = " + text)
        self.refused(why, ACL="  deny domains = a : nis;/x")
        self.refused(why, ACL="  deny !acl = here a " + text)
        self.refused(why, ROUTER="domains = nis;/x")
        self.refused(why, ROUTER="condition = ${if eq{a}{b}}\n  condition = " + text)
        self.refused(why, ROUTER="address_data = ${run{/bin/echo " + text + "}}")
        self.refused(why, TRANSPORT="headers_add = X: " + text)
        self.refused(why, TRANSPORT="headers_remove = X : " + text)
        self.refused(why, ROUTER="headers_add = X: " + text)
        self.refused(why, ROUTER="set = r_x = " + text)
        self.refused(why, RETRY="nis;/x * F,1h,5m")
        self.refused(why, RETRY="* * senders=nis;/x F,1h,5m")
        self.refused(why, REWRITE="*@nis;/x $1@$2")
        self.refused(why, REWRITE='*@a.b "%s"' % text)

    def test_conditions_and_items(self):
        for name in ("pam", "radius", "pwcheck"):
            self.refused('support for "%s" not compiled' % name, ACL="  accept condition = ${if and{{eq{a}{b}}{%s{a:b}}}}" % name)
        self.refused("no Perl", LINE="smtp_banner = ${perl{f}{a}}")
        self.refused("dlfunc", ROUTER="address_data = ${map{a:b}{${dlfunc{/x.so}{f}}}}")

    def test_authenticators(self):
        for driver in ("spa", "heimdal_gssapi", "cyrus_sasl"):
            done, _, box = self.load(AUTH="a:\n  driver = %s\n  public_name = X" % driver)
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.err, r"line \d+ of .*\n.*\n?.*driver %s is not available" % driver)

    def test_macros_know(self):
        """A file that asks first loads."""
        done, _, _ = self.load(LINE=".ifdef _HAVE_LOOKUP_DBM\ndomainlist d = dbm;/x\n.endif\n.ifdef _HAVE_LOOKUP_NIS\ndomainlist d = nis;/x\n.endif")
        self.assertEqual((done.returncode, done.err), (0, ""))

    def test_names_that_come_late(self):
        """What only an expansion names cannot be seen before: it defers, and says the same."""
        done, _, box = self.load(LINE="domainlist late = ${if eq{a}{a}{nis}};/x")
        self.assertEqual((done.returncode, done.err), (0, ""))
        out = box.run("-be", "${if match_domain{x}{+late}{y}{n}}", check=None).out
        self.assertIn('"nis" is not built into this server', out)
        out = box.run("-be", "${expand:\\${lookup{a\\}nis{/x\\}\\}}", check=None).out
        self.assertIn('"nis" is not built into this server', out)


if __name__ == "__main__":
    unittest.main()
