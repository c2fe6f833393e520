"""ARC chains against each rule of RFC 8617 and of what it takes from RFC 6376, sealed by a signer of the test's own that breaks one rule at a
time and signs what it has broken: no result here comes from a signature that fails by accident. The section stands beside the row."""
import base64
import hashlib
import os
import re
import unittest
import warnings

from test_dkim_peers import OURS, Filter, openssl

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import dkim.crypto as crypto
except ImportError:
    crypto = None

MESSAGE = b"From: A <a@b.test>\r\nTo: c@d.test\r\nSubject: x  y\r\n\r\nHi  there \r\n\r\n"
NAMES = (b"arc-authentication-results", b"arc-message-signature", b"arc-seal")


def relaxed_field(field):
    name, _, value = field.partition(b":")
    value = re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b""))
    return name.strip(b" \t").lower() + b":" + value.strip(b" ") + b"\r\n"


def relaxed_body(body):
    body = re.sub(rb" ?\r\n", b"\r\n", re.sub(rb"[ \t]+", b" ", body))
    return simple_body(body) if body.strip(b"\r\n") else b""


def simple_body(body):
    return re.sub(rb"(?:\r\n)+\Z", b"", body) + b"\r\n"


def parts(message):
    head, _, body = message.partition(b"\r\n\r\n")
    return re.findall(rb"[^\r\n]+\r\n(?:[ \t][^\r\n]*\r\n)*", head + b"\r\n"), body


def name_of(field):
    return field.partition(b":")[0].strip(b" \t").lower()


def digest(data, kind="sha256"):
    return base64.b64encode(hashlib.new(kind, data).digest())


def tags(usual, changes, without):
    """The tags of a field: usual ones changed, others added, some left out."""
    made = {name: value for name, value in usual.items() if name not in without}
    made.update(changes)
    return b"; ".join(name.encode() + b"=" + value for name, value in made.items())


class Sealer:
    def __init__(self):
        self.pem = openssl("genrsa", "-traditional", "1024")
        self.key = crypto.parse_pem_private_key(self.pem)

    @staticmethod
    def public(pem):
        return base64.b64encode(openssl("rsa", "-pubout", "-outform", "DER", stdin=pem)).decode()

    def sign(self, data, kind, key):
        return base64.b64encode(crypto.RSASSA_PKCS1_v1_5_sign(hashlib.new(kind, data), key or self.key))

    def seal(self, message, i, *, i_text=None, cv=None, results=None, ams=None, seal=None, ams_without=(), seal_without=(), canon="relaxed/relaxed",
             domain=b"hop.test", selector=b"rsa", order=(2, 1, 0), ams_hash="sha256", seal_hash="sha256", own_only=False, seal_name=b"ARC-Seal: ",
             key=None):
        fields, body = parts(message)
        number = i_text or b"%d" % i
        cv = cv or (b"none" if i == 1 else b"pass")
        results = results or b"ARC-Authentication-Results: i=" + number + b"; " + domain + b"; spf=pass smtp.mailfrom=b.test\r\n"
        header_form, body_form = canon.split("/")

        def form(field):
            return relaxed_field(field) if header_form == "relaxed" else field
        usual = {"i": number, "a": b"rsa-" + ams_hash.encode(), "c": canon.encode(), "d": domain, "s": selector, "h": b"from:to:subject",
                 "bh": digest(relaxed_body(body) if body_form == "relaxed" else simple_body(body), ams_hash)}
        signature = b"ARC-Message-Signature: " + tags(usual, ams or {}, ams_without) + (b"" if "b" in ams_without else b"; b=")
        data, left = b"", list(fields)
        for name in {**usual, **(ams or {})}["h"].split(b":"):
            below = [n for n, field in enumerate(left) if name_of(field) == name.strip().lower()]
            data += form(left.pop(below[-1])) if below else b""
        if "b" not in ams_without:
            data += relaxed_field(signature)[:-2] if header_form == "relaxed" else signature
            signature += self.sign(data, ams_hash, key)
        signature += b"\r\n"
        usual = {"i": number, "a": b"rsa-" + seal_hash.encode(), "cv": cv, "d": domain, "s": selector, "t": b"1600000000"}
        line = seal_name + tags(usual, seal or {}, seal_without) + (b"" if "b" in seal_without else b"; b=")
        data = b""
        for n in range(1, i if cv != b"fail" and not own_only else 1):
            for name in NAMES:
                data += b"".join(relaxed_field(f) for f in fields if name_of(f) == name and re.search(rb"\bi=0?%d\b" % n, f))
        data += relaxed_field(results) + relaxed_field(signature) + relaxed_field(line)[:-2]
        if "b" not in seal_without:
            line += self.sign(data, seal_hash, key)
        made = (results, signature, line + b"\r\n")
        return b"".join(made[n] for n in order) + message

    def chain(self, count, **options):
        message = MESSAGE
        for i in range(1, count + 1):
            message = self.seal(message, i, **options)
        return message


@unittest.skipUnless(crypto, "python3-dkim is not here")
@unittest.skipUnless(os.path.exists(OURS), "the unit tests are not built")
class ArcRules(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ours = Filter(OURS, "-filter")
        cls.sealer = Sealer()
        cls.public = cls.sealer.public(cls.sealer.pem)
        cls.ours.tell("key", "rsa._domainkey.hop.test", "v=DKIM1; k=rsa; p=" + cls.public)

    @classmethod
    def tearDownClass(cls):
        if cls.ours.close():
            raise AssertionError("the filter has failed")

    def expect(self, name, state, message):
        with self.subTest(name):
            self.assertTrue((self.ours.ask(message, "verify") + "/").startswith(f"arc {state}/"), self.ours.ask(message, "verify"))

    def one(self, **options):
        return self.sealer.seal(MESSAGE, 1, **options)

    def test_sets(self):
        """Sections 4.2 and 5.2: which fields there are, in whatever order."""
        chain, seal = self.sealer.chain, self.sealer.seal
        two = chain(2)
        fields, body = parts(two)
        for name, state, message in (
                ("one", "pass", chain(1)),
                ("three", "pass", chain(3)),
                ("fifty", "pass", chain(50)),
                ("one too many", "fail", seal(chain(50), 51)),
                ("another order", "pass", chain(2, order=(0, 1, 2))),
                ("the newest set below", "pass", b"".join(fields[3:6] + fields[:3] + fields[6:]) + b"\r\n" + body),
                ("sets below the rest", "pass", b"".join(fields[6:] + fields[:6]) + b"\r\n" + body),
                ("a set is missing", "fail", b"".join(fields[:3] + fields[6:]) + b"\r\n" + body),
                ("a field is there twice", "fail", fields[5] + two),
                ("a second set is the first", "fail", seal(MESSAGE, 2)),
                ("names in other letters", "pass", self.one(seal_name=b"arc-SEAL: ")),
                ("white space before the colon", "pass", self.one(seal_name=b"ARC-Seal \t: ")),
                *((f"without {kind}", "fail", b"".join(f for f in fields if name_of(f) != kind) + b"\r\n" + body) for kind in NAMES),
                *((f"without one {kind}", "fail", two.replace(next(f for f in fields if name_of(f) == kind), b"")) for kind in NAMES)):
            self.expect(name, state, message)

    def test_instances(self):
        """Section 4.2.1: one or two digits, 1 to 50; section 4.1.1: with comments in front of results."""
        for text, state in ((b"01", "pass"), (b" 1 ", "pass"), (b"\r\n\t1", "pass"), (b"001", "fail"), (b"0", "fail"), (b"+1", "fail"), (b"-1", "fail"),
                            (b"1x", "fail"), (b"1.0", "fail"), (b"x", "fail"), (b"1 1", "fail")):
            self.expect(text, state, self.one(i_text=text))
        self.expect("none in the seal", "fail", self.one(seal_without=("i",)))
        self.expect("none in the signature", "fail", self.one(ams_without=("i",)))
        for text, state in ((b"i=1;hop.test;none", "pass"), (b" i = 1 ; hop.test; none", "pass"), (b"\r\n i=1;\r\n\thop.test; none", "pass"),
                            (b" (a;\\)(b)) i (c) = (d) 1 (e;f) ; hop.test; none", "pass"), (b" i=1 (x; hop.test; none", "fail"),
                            (b" i=1", "fail"), (b" I=1; hop.test; none", "fail"), (b" hop.test; i=1; none", "fail"), (b" i=(1)1 2; hop.test", "fail"),
                            (b" i=; hop.test; none", "fail"), (b" (i=1;) hop.test; none", "fail")):
            self.expect(text, state, self.one(results=b"ARC-Authentication-Results:" + text + b"\r\n"))

    def test_seals(self):
        """Section 4.1.3; the state of the chain, section 5.2, steps 2 and 3; sections 5.1.1 and 5.1.2."""
        one, seal, chain = self.one, self.sealer.seal, self.sealer.chain
        for name, state, message in (
                *((f"no {tag}=", "fail", one(seal_without=(tag,))) for tag in ("a", "b", "d", "s", "cv")),
                ("no t=", "pass", one(seal_without=("t",))),
                ("t= is no number", "fail", one(seal={"t": b"yesterday"})),
                ("t= is nothing", "fail", one(seal={"t": b""})),
                ("t= in the future", "pass", one(seal={"t": b"999999999999"})),
                ("h=", "fail", one(seal={"h": b"from"})),
                ("h= with nothing", "fail", one(seal={"h": b""})),
                *((f"{tag}= means nothing here", "pass", one(seal={tag: value}))
                  for tag, value in (("c", b"simple/simple"), ("bh", b"xyz"), ("x", b"1"), ("l", b"1"), ("v", b"2"), ("foo", b"bar"))),
                ("a tag twice", "fail", one(seal_name=b"ARC-Seal: d=hop.test; ")),
                ("sha1", "fail", one(seal_hash="sha1")),
                ("an unknown algorithm", "fail", one(seal={"a": b"rsa-md5"})),
                ("another kind of key", "fail", one(seal={"a": b"ed25519-sha256"})),
                ("a domain of one label", "fail", one(seal={"d": b"test"})),
                *((f"cv={cv.decode()} first", "fail", one(cv=cv)) for cv in (b"pass", b"fail", b"maybe", b"none none")),
                ("cv= with nothing", "fail", one(seal={"cv": b""})),
                ("cv=none later", "fail", seal(chain(1), 2, cv=b"none")),
                ("cv=fail last", "fail", seal(chain(1), 2, cv=b"fail")),
                ("cv=fail between", "fail", seal(seal(chain(1), 2, cv=b"fail"), 3)),
                ("sealed without the sets before", "fail", seal(chain(1), 2, own_only=True))):
            self.expect(name, state, message)

    def test_messages(self):
        """Section 4.1.2: a DKIM signature (RFC 6376 section 3.5) without v=."""
        one = self.one
        body = relaxed_body(MESSAGE.partition(b"\r\n\r\n")[2])
        for name, state, message in (
                *((f"no {tag}=", "fail", one(ams_without=(tag,))) for tag in ("a", "b", "bh", "d", "h", "s")),
                ("no c=: simple", "pass", one(canon="simple/simple", ams_without=("c",))),
                ("no c=: not relaxed", "fail", one(ams_without=("c",))),
                *((form, "pass", one(canon=form)) for form in ("simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed")),
                ("c=relaxed", "pass", one(canon="relaxed/simple", ams={"c": b"relaxed"})),
                ("c= of another form", "fail", one(ams={"c": b"relaxd/relaxed"})),
                ("c= with nothing", "fail", one(ams={"c": b""})),
                *((f"{tag}={value.decode()}", "pass", one(ams={tag: value}))
                  for tag, value in (("v", b"1"), ("v", b"7"), ("foo", b"bar"), ("q", b"dns/txt"), ("t", b"1600000000"), ("t", b"999999999999"),
                                     ("x", b"999999999999"), ("z", b"From:=20a@b.test|To:c"))),
                *((f"{tag}={value.decode()}", "fail", one(ams={tag: value}))
                  for tag, value in (("q", b"carrier/pigeon"), ("t", b"yesterday"), ("x", b"1600000000"), ("x", b"soon"), ("l", b"99"), ("l", b"-1"),
                                     ("a", b"rsa-md5"), ("d", b"test"), ("bh", b"AAAA"), ("h", b"to:subject"), ("h", b"from:arc-seal"),
                                     ("h", b"from : ARC-Seal"), ("h", b"from::to"), ("h", b""))),
                ("x= before t=", "fail", one(ams={"t": b"1900000000", "x": b"1800000000"})),
                ("l=", "pass", one(ams={"l": b"5", "bh": digest(body[:5])})),
                ("names that are not there", "pass", one(ams={"h": b"from:to:x-none:from"})),
                ("names apart", "pass", one(ams={"h": b"from :\r\n\tto :  subject "})),
                ("sha1", "fail", one(ams_hash="sha1"))):
            self.expect(name, state, message)

    def test_keys(self):
        """RFC 6376 section 3.6.1, RFC 8301 section 3.2."""
        small = openssl("genrsa", "-traditional", "768")
        p = "p=" + self.public
        for n, (record, state) in enumerate((
                (p, "pass"), ("k=rsa; " + p, "pass"), ("v=DKIM1; h=sha1:sha256; " + p, "pass"), ("v=DKIM1; s=email; " + p, "pass"),
                ("v=DKIM1; s=tlsrpt:*; " + p, "pass"), ("v=DKIM1; t=y:s:q; g=foo; zz=1; n=a b; " + p + ";", "pass"),
                ("v=DKIM1; " + p[:60] + " " + p[60:], "pass"), ("k=rsa; v=DKIM1; " + p, "fail"), ("v=DKIM2; " + p, "fail"),
                ("v=DKIM1; k=dsa; " + p, "fail"), ("v=DKIM1; h=sha1; " + p, "fail"), ("v=DKIM1; s=tlsrpt; " + p, "fail"), ("v=DKIM1; p=", "fail"),
                ("v=DKIM1; k=rsa", "fail"), ("v=DKIM1; p=!!!!", "fail"), (p + "; " + p, "fail"), ("", "fail"), ("hello", "fail"))):
            self.ours.tell("key", f"k{n}._domainkey.hop.test", record)
            self.expect(record, state, self.one(selector=b"k%d" % n))
        self.ours.tell("key", "small._domainkey.hop.test", "p=" + self.sealer.public(small))
        self.expect("768 bits", "fail", self.one(selector=b"small", key=crypto.parse_pem_private_key(small)))
        self.expect("no record", "fail", self.one(selector=b"none"))

    def test_changes(self):
        """What each signature is over: section 4.1.2, the message as it was; section 5.1.1, all sets up to this one."""
        chain = self.sealer.chain(3)
        one = b"i=1; hop.test; spf=pass"
        for name, state, message in (
                ("body", "fail", chain.replace(b"Hi", b"Ho")),
                ("a field that is signed", "fail", chain.replace(b"x  y", b"x z")),
                ("a field that is not", "pass", b"X-New: a\r\n" + chain),
                ("body, but sealed again", "pass", self.sealer.seal(self.sealer.chain(2).replace(b"Hi", b"Ho"), 3)),
                ("results", "fail", chain.replace(one, b"i=1; hop.test; spf=fail")),
                ("white space in results", "pass", chain.replace(one, b"i=1;  hop.test;\r\n\tspf=pass")),
                ("an old seal", "fail", re.sub(rb"(ARC-Seal: i=1; .*t=)1600000000", rb"\g<1>1600000001", chain)),
                ("an old signature", "fail", re.sub(rb"(ARC-Message-Signature: i=2; .*h=from):to", rb"\1:cc", chain))):
            self.assertNotEqual(message, chain)
            self.expect(name, state, message)


if __name__ == "__main__":
    unittest.main()
