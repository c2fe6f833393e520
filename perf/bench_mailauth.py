#!/usr/bin/python3
"""What a DKIM verification costs here and in libopendkim, in one run: bench_mailauth.py BUILD-DIRECTORY"""
import base64
import os
import subprocess
import sys
import tempfile

import dkim


def openssl(*arguments, stdin=b""):
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


def main(build):
    keys = {}
    for bits in (1024, 2048):
        pem = openssl("genrsa", "-traditional", str(bits))
        public = base64.b64encode(openssl("rsa", "-pubout", "-outform", "DER", stdin=pem)).decode()
        keys[f"rsa{bits}"] = (pem, b"rsa-sha256", f"v=DKIM1; k=rsa; p={public}")
    pem = openssl("genpkey", "-algorithm", "ed25519")
    public = base64.b64encode(openssl("pkey", "-pubout", "-outform", "DER", stdin=pem)[-32:]).decode()
    keys["ed25519"] = (base64.b64encode(openssl("pkey", "-outform", "DER", stdin=pem)[-32:]), b"ed25519-sha256",
                       f"v=DKIM1; k=ed25519; p={public}")
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "keys"), "w") as f:
            f.write("".join(f"{name}._domainkey.b.test {record}\n" for name, (_, _, record) in keys.items()))
        opendkim = os.path.join(build, "opendkim_filter")
        peer = None
        if os.path.exists(opendkim):
            peer = subprocess.Popen([opendkim, os.path.join(folder, "keys")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for size in (2, 8, 100, 1024):
            line = b"The quick brown fox jumps over the lazy dog, and does so again and again.  \r\n"
            message = (b"From: a@b.test\r\nTo: c@d.test\r\nSubject: benchmark\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
                       b"Message-ID: <1@b.test>\r\n\r\n" + line * (size * 1024 // len(line)))
            for name, (key, algorithm, record) in keys.items():
                signed = dkim.sign(message, name.encode(), b"b.test", key, signature_algorithm=algorithm,
                                   canonicalize=(b"relaxed", b"relaxed")) + message
                path = os.path.join(folder, "message")
                with open(path, "wb") as f:
                    f.write(signed)
                rounds = str(max(20, 2000 // max(1, size // 8)))
                subprocess.run([os.path.join(build, "bench_mailauth"), f"{name} {size} KiB", path, record, rounds], check=True)
                if peer and name != "ed25519":
                    peer.stdin.write(f"time\t{rounds}\t{len(signed)}\n".encode() + signed)
                    peer.stdin.flush()
                    print(f"  libopendkim: {peer.stdout.readline().decode().strip()} us", flush=True)
        if peer:
            peer.stdin.close()
            peer.wait()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "build")
