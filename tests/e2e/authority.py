"""authority: a certificate authority in a directory of its own, made by openssl when a test wants one."""
import os
import subprocess


class Authority:
    """Keys are made once; ask for certificates by name."""

    def __init__(self, directory, name="Test CA"):
        self.dir, self.revoked = directory, set()
        os.makedirs(directory, exist_ok=True)
        os.chmod(directory, 0o755)
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out",
                     "ca.pem", "-subj", f"/O=Test/CN={name}", "-days", "3650")
        self.pem = self.path("ca.pem")
        with open(self.path("index.txt"), "w"):
            pass
        for number in ("serial", "crlnumber"):
            with open(self.path(number), "w") as f:
                f.write("1000\n")
        with open(self.path("ca.conf"), "w") as f:
            f.write(f"""[ca]
default_ca = d
[d]
database = {directory}/index.txt
serial = {directory}/serial
crlnumber = {directory}/crlnumber
new_certs_dir = {directory}
certificate = {directory}/ca.pem
private_key = {directory}/ca.key
default_md = sha256
default_crl_days = 30
policy = p
copy_extensions = copy
unique_subject = no
[p]
organizationName = optional
commonName = supplied
""")

    def path(self, name):
        return os.path.join(self.dir, name)

    def openssl(self, *arguments, stdin=None):
        done = subprocess.run(["openssl", *arguments], cwd=self.dir, capture_output=True, input=stdin)
        if done.returncode:
            raise AssertionError(f"openssl {arguments}: {done.stderr.decode()}")
        return done.stdout

    def certificate(self, file, name="mx.test", kind="ec", days=30, start=None, end=None, alt=None, extra=()):
        """file.pem (with the authority's behind it) and file.key, readable by the daemon's user; returns both paths. name is its
        common name and, without alt (openssl's "DNS:x", or several), its only alternative one; extra: more lines of extensions.
        """
        key = self.path(f"{file}.key")
        if kind == "rsa":
            self.openssl("genrsa", "-out", key, "2048")
        else:
            self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        names = f"DNS:{name}" if alt is None else alt if isinstance(alt, str) else ",".join(alt)
        config = "[req]\ndistinguished_name=n\nreq_extensions=x\n[n]\n[x]\nextendedKeyUsage=serverAuth,clientAuth\n"
        if names:
            config += f"subjectAltName={names}\n"
        config += "".join(f"{line}\n" for line in extra)
        with open(self.path(f"{file}.conf"), "w") as f:
            f.write(config)
        self.openssl("req", "-new", "-key", key, "-subj", f"/O=Test/CN={name}", "-config", f"{file}.conf", "-out", f"{file}.csr")
        dates = ["-startdate", start or "20200101000000Z", "-enddate", end] if end else ["-days", str(days)]
        self.openssl("ca", "-batch", "-notext", "-config", "ca.conf", "-in", f"{file}.csr", "-out", f"{file}.leaf", *dates)
        with open(self.path(f"{file}.pem"), "w") as f, open(self.path(f"{file}.leaf")) as leaf, open(self.pem) as ca:
            f.write(leaf.read() + ca.read())
        os.chmod(key, 0o644)
        return self.path(f"{file}.pem"), key

    def revoke(self, file):
        if file in self.revoked:
            return
        self.revoked.add(file)
        self.openssl("ca", "-config", "ca.conf", "-revoke", f"{file}.leaf")

    def crl(self, file="crl.pem"):
        self.openssl("ca", "-config", "ca.conf", "-gencrl", "-out", file)
        return self.path(file)

    def proof(self, file, out, days=7, signer="ca", key="ca.key"):
        """An OCSP response about file's certificate."""
        self.openssl("ocsp", "-issuer", "ca.pem", "-cert", f"{file}.leaf", "-reqout", f"{out}.req", "-no_nonce")
        next_update = ["-ndays", str(days)] if days else []
        self.openssl("ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", f"{signer}.pem", "-rkey", key, "-reqin", f"{out}.req",
                     "-respout", out, *next_update)
        return self.path(out)
