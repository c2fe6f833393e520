"""authority: certificate authorities and certificates for tests, made by openssl, once for each need."""
import os
import subprocess


def openssl(*arguments, cwd=None, stdin=None):
    done = subprocess.run(["openssl", *arguments], cwd=cwd, input=stdin, capture_output=True, timeout=60)
    if done.returncode:
        raise AssertionError(f"openssl {arguments}: {done.stderr.decode()}")
    return done.stdout


class Authority:
    """A folder with an authority (NAME.pem, NAME.key) and what it signs."""

    def __init__(self, directory, name="ca"):
        self.dir, self.name, self.serial = directory, name, 0x1000
        os.makedirs(directory, exist_ok=True)
        self.revoked = []
        self.serials = {}
        self.key(name)
        openssl("req", "-x509", "-new", "-key", f"{name}.key", "-subj", f"/O=Test/CN={name}", "-days", "3650", "-out",
                f"{name}.pem", cwd=directory)

    def path(self, file):
        return os.path.join(self.dir, file)

    @property
    def pem(self):
        return self.path(self.name + ".pem")

    def key(self, name, rsa=False):
        if rsa:
            openssl("genrsa", "-out", f"{name}.key", "2048", cwd=self.dir)
        else:
            openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key", cwd=self.dir)
        os.chmod(self.path(name + ".key"), 0o644)

    def issue(self, name, names=(), cn=None, days="30", rsa=False, extensions=()):
        """NAME.pem and NAME.key; names as openssl's subjectAltName has them ("DNS:x"). (path of certificate, of key)"""
        self.key(name, rsa)
        self.serial += 1
        lines = list(extensions)
        if names:
            lines.append("subjectAltName=" + ",".join(names))
        with open(self.path(name + ".ext"), "w") as f:
            f.write("\n".join(lines) + "\n")
        openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={cn or name}", "-out", f"{name}.csr", cwd=self.dir)
        when = ["-days", days]
        if days.startswith("-"):  # it has ended: openssl's ca command alone can say so
            self.database()
            openssl("ca", "-batch", "-config", "ca.conf", "-startdate", "20200101000000Z", "-enddate", "20200201000000Z",
                    "-extfile", f"{name}.ext", "-in", f"{name}.csr", "-out", f"{name}.pem", "-notext", cwd=self.dir)
        else:
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.pem", "-CAkey", f"{self.name}.key",
                    "-set_serial", str(self.serial), *when, "-extfile", f"{name}.ext", "-out", f"{name}.pem", cwd=self.dir)
        self.serials[name] = self.serial
        return self.path(name + ".pem"), self.path(name + ".key")

    def database(self):
        """For what only "openssl ca" does: its configuration and an index of what was issued."""
        with open(self.path("ca.conf"), "w") as f:
            f.write("[ca]\ndefault_ca=it\n[it]\ndatabase=index.txt\nnew_certs_dir=.\nserial=serial.txt\ncrlnumber=crlnumber.txt\n"
                    f"certificate={self.name}.pem\nprivate_key={self.name}.key\ndefault_md=sha256\npolicy=any\n"
                    "default_crl_days=30\nunique_subject=no\n[any]\ncommonName=supplied\n")
        with open(self.path("index.txt"), "w") as f:
            for name, serial in self.serials.items():
                state = "R\t301231235959Z\t240101000000Z,keyCompromise" if name in self.revoked else "V\t301231235959Z\t"
                f.write(f"{state}\t{serial:X}\tunknown\t/CN={name}\n")
        for file, text in (("serial.txt", f"{self.serial:X}\n"), ("crlnumber.txt", "01\n")):
            with open(self.path(file), "w") as f:
                f.write(text)

    def crl(self, file="crl.pem"):
        self.database()
        openssl("ca", "-config", "ca.conf", "-gencrl", "-out", file, cwd=self.dir)
        return self.path(file)

    def ocsp(self, name, file, signer=None, days="7"):
        """An OCSP response about NAME, as the index has it. signer: another certificate of this folder."""
        self.database()
        signer = signer or self.name
        until = ["-ndays", days] if days else []
        openssl("ocsp", "-index", "index.txt", "-CA", f"{self.name}.pem", "-rsigner", f"{signer}.pem", "-rkey",
                f"{signer}.key", "-issuer", f"{self.name}.pem", "-cert", f"{name}.pem", "-respout", file, *until,
                cwd=self.dir)
        return self.path(file)
