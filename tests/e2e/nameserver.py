"""nameserver: an authoritative name server for tests, on a loopback address of its own at port 53, and programs that are told
to ask it: each runs in a mount namespace where /etc/resolv.conf names it. Needs root; Nameserver.usable says whether it works.
"""
import os
import random
import socket
import struct
import subprocess
import tempfile
import threading

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SPF": 99}
NAMES = {number: name for name, number in TYPES.items()}
SILENT, SERVFAIL = object(), object()  # as the value of a name: no answer at all; rcode 2


def encode_name(name):
    out = b""
    for label in name.rstrip(".").split("."):
        if label:
            raw = label.encode()
            out += bytes([len(raw)]) + raw
    return out + b"\0"


def encode_text(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return b"".join(bytes([len(raw[i:i + 255])]) + raw[i:i + 255] for i in range(0, max(len(raw), 1), 255))


def encode_data(kind, value):
    if kind in ("TXT", "SPF"):
        return encode_text(value)
    if kind == "A":
        return socket.inet_pton(socket.AF_INET, value)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, value)
    if kind == "MX":
        return struct.pack(">H", value[0]) + encode_name(value[1])
    return encode_name(value)


class Nameserver:
    """zone: {(name in lower case, "TXT"): [value, ...]}; a name without any entry is NXDOMAIN. Changes count at once, but for
    what a program has in its cache (ttl_s)."""

    def __init__(self, zone=None, ttl_s=60):
        self.zone = zone if zone is not None else {}
        self.ttl_s = ttl_s
        self.asked = []
        self.udp = self.tcp = None
        for _ in range(50):
            address = f"127.{random.randrange(64, 128)}.{random.randrange(256)}.{random.randrange(1, 255)}"
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                udp.bind((address, 53))
                tcp.bind((address, 53))
            except OSError:
                udp.close()
                tcp.close()
                continue
            tcp.listen(16)
            self.address, self.udp, self.tcp = address, udp, tcp
            break
        self.dir = tempfile.mkdtemp(prefix="sluice-dns-")
        os.chmod(self.dir, 0o755)
        self.resolv = os.path.join(self.dir, "resolv.conf")
        with open(self.resolv, "w") as f:
            f.write(f"nameserver {getattr(self, 'address', '127.0.0.1')}\noptions timeout:1 attempts:2\n")
        if self.udp:
            threading.Thread(target=self.serve_udp, daemon=True).start()
            threading.Thread(target=self.serve_tcp, daemon=True).start()

    @property
    def usable(self):
        """Can programs be made to ask here?"""
        if not self.udp:
            return False
        done = subprocess.run([self.wrap("/bin/cat"), "/etc/resolv.conf"], capture_output=True)
        return self.address.encode() in done.stdout

    def wrap(self, program):
        """A program that runs that one under this name server, with the same process id."""
        path = os.path.join(self.dir, "run-" + os.path.basename(program))
        with open(path, "w") as f:
            f.write(f"""#!/bin/sh
exec unshare -m --propagation private sh -c 'mount --bind {self.resolv} /etc/resolv.conf && exec {program} "$@"' {program} "$@"
""")
        os.chmod(path, 0o755)
        return path

    def answer(self, query):
        ident, _, count = struct.unpack(">HHH", query[:6])
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1"))
            at += 1 + query[at]
        kind = struct.unpack(">H", query[at + 1:at + 3])[0]
        question = query[12:at + 5]
        name = ".".join(labels).lower()
        self.asked.append((name, NAMES.get(kind, str(kind))))
        rcode, records, chain = 0, [], name
        for _ in range(8):
            found = self.zone.get((chain, NAMES.get(kind, "")))
            alias = self.zone.get((chain, "CNAME"))
            if found is SILENT:
                return None
            if found is SERVFAIL:
                rcode = 2
                break
            if found is not None:
                records += [(chain, NAMES[kind], value) for value in found]
                break
            if alias is None:
                if not any(key[0] == chain or key[0].endswith("." + chain) for key in self.zone):
                    rcode = 3
                break
            records.append((chain, "CNAME", alias[0]))
            chain = alias[0].lower()
        body = b""
        for owner, what, value in records:
            data = encode_data(what, value)
            body += encode_name(owner) + struct.pack(">HHIH", TYPES[what], 1, self.ttl_s, len(data)) + data
        return struct.pack(">HHHHHH", ident, 0x8580 | rcode, 1, len(records), 0, 0) + question + body

    def serve_udp(self):
        while True:
            try:
                query, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            try:
                reply = self.answer(query)
            except (IndexError, struct.error, KeyError):
                continue
            if reply and len(reply) > 512:  # nobody's EDNS is looked at: the rest by TCP
                end = 12
                while query[end]:
                    end += 1 + query[end]
                reply = reply[:2] + struct.pack(">HHHHH", 0x8780, 1, 0, 0, 0) + query[12:end + 5]
            if reply:
                self.udp.sendto(reply, peer)

    def serve_tcp(self):
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self.converse, args=(connection,), daemon=True).start()

    def converse(self, connection):
        with connection, connection.makefile("rb") as stream:
            while True:
                head = stream.read(2)
                if len(head) < 2:
                    return
                try:
                    reply = self.answer(stream.read(struct.unpack(">H", head)[0]))
                except (IndexError, struct.error, KeyError):
                    return
                if not reply:
                    return
                connection.sendall(struct.pack(">H", len(reply)) + reply)

    def close(self):
        for sock in (self.udp, self.tcp):
            if sock:
                sock.close()
