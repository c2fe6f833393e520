"""dns_world: a name server on loopback that answers from a table, and a world of its own for it: a network
namespace where 127.0.0.1:53 is free, and a resolv.conf that names it. So the real Exim and sluice ask the same
server, by their ordinary ways, and nothing outside is asked.
"""
import ipaddress
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "TLSA": 52, "SPF": 99,
         "CAA": 257}
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5


def world_possible():
    flags = "-mn" if os.getuid() == 0 else "-rmn"
    return subprocess.run(["unshare", flags, "true"], capture_output=True, check=False).returncode == 0


def run_in_world(arguments, **options):
    """Runs a program where loopback is up and 127.0.0.1:53 is the resolver (that the program itself may be)."""
    etc = tempfile.mkdtemp(prefix="sluice-world-")
    with open(os.path.join(etc, "resolv.conf"), "w") as f:
        f.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1 trust-ad\n")
    with open(os.path.join(etc, "hosts"), "w") as f:
        f.write("127.0.0.1 localhost\n::1 localhost\n192.0.2.77 onlyhosts.example onlyhosts\n")
    with open(os.path.join(etc, "nsswitch.conf"), "w") as f:
        f.write("passwd: files\ngroup: files\nhosts: files dns\n")
    mounts = " && ".join(f"mount --bind {etc}/{name} /etc/{name}" for name in ("resolv.conf", "hosts", "nsswitch.conf"))
    script = f"{mounts} && ip link set lo up && ip addr add 192.0.2.250/32 dev lo && exec \"$@\""
    flags = "-mn" if os.getuid() == 0 else "-rmn"
    return subprocess.run(["unshare", flags, "sh", "-c", script, "sh", *arguments], check=False, **options)


def name_bytes(name):
    out = b""
    for label in name.rstrip(".").split("."):
        if label:
            label = label.encode("latin-1")
            out += bytes([len(label)]) + label
    return out + b"\0"


def rdata(kind, value):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(value).packed
    if kind in ("NS", "CNAME", "PTR"):
        return name_bytes(value)
    words = value.split()
    if kind == "MX":
        return struct.pack("!H", int(words[0])) + name_bytes(words[1])
    if kind == "SRV":
        return struct.pack("!HHH", *map(int, words[:3])) + name_bytes(words[3])
    if kind in ("TXT", "SPF"):  # strings divided by "|"
        return b"".join(bytes([len(s)]) + s for s in (part.encode("latin-1") for part in value.split("|")))
    if kind == "SOA":
        return name_bytes(words[0]) + name_bytes(words[1]) + struct.pack("!5I", *map(int, words[2:7]))
    if kind == "TLSA":
        return bytes(map(int, words[:3])) + bytes.fromhex(words[3])
    raise ValueError(kind)


class Nameserver:
    """records: name -> list of (type, value); a value that is a number is the code of a failure for that type, None
    is silence. The type "*" stands for all. Names in authentic get the AD flag."""

    def __init__(self, records, authentic=(), address="127.0.0.1", port=53):
        self.records = {name.lower(): list(rows) for name, rows in records.items()}
        self.authentic = {name.lower() for name in authentic}
        self.asked = []
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, port))
        self.port = self.udp.getsockname()[1]
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((address, self.port))
        self.tcp.listen(20)
        for target in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=target, daemon=True).start()

    def serve_udp(self):
        while True:
            query, peer = self.udp.recvfrom(4096)
            try:
                reply = self.answer(query)
            except (IndexError, struct.error, ValueError) as e:
                print(f"nameserver: {e!r}", file=sys.stderr)
                continue
            if reply and len(reply) > 1200:
                reply = reply[:2] + bytes([reply[2] | 2]) + reply[3:6] + b"\0\0\0\0\0\0" + self.question(query)
            if reply:
                self.udp.sendto(reply, peer)

    def serve_tcp(self):
        while True:
            connection, _ = self.tcp.accept()
            with connection:
                connection.settimeout(5)
                try:
                    size = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))[0]
                    reply = self.answer(connection.recv(size, socket.MSG_WAITALL))
                    if reply:
                        connection.sendall(struct.pack("!H", len(reply)) + reply)
                except (OSError, struct.error):
                    pass

    @staticmethod
    def question(query):
        end = 12
        while query[end]:
            end += query[end] + 1
        return query[12:end + 5]

    def answer(self, query):
        question = self.question(query)
        labels, at = [], 0
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode("latin-1").lower())
            at += question[at] + 1
        name, wanted = ".".join(labels), struct.unpack("!H", question[-4:-2])[0]
        self.asked.append((name, wanted))
        answers, code, owner = [], 0, name
        for _ in range(10):
            rows = self.records.get(owner)
            if rows is None:
                # A name with others below it exists.
                code = 0 if any(other.endswith("." + owner) for other in self.records) else NXDOMAIN
                break
            code, alias = 0, None
            for kind, value in rows:
                if kind == "CNAME" and wanted != TYPES["CNAME"]:
                    alias = value
                if kind != "*" and TYPES[kind] != wanted and kind != "CNAME":
                    continue
                if value is None:
                    return None
                if isinstance(value, int):
                    code = value
                    continue
                answers.append(name_bytes(owner) + struct.pack("!HHI", TYPES[kind], 1, 300))
                data = rdata(kind, value)
                answers[-1] += struct.pack("!H", len(data)) + data
            if not alias:
                break
            owner = alias.lower().rstrip(".")
        flags = 0x8180 | code | (0x20 if name in self.authentic else 0)
        authority = b""
        if not answers:
            data = rdata("SOA", "ns.invalid. root.invalid. 1 2 3 4 300")
            zone = ".".join(name.split(".")[-2:])
            authority = name_bytes(zone) + struct.pack("!HHIH", 6, 1, 300, len(data)) + data
        return (query[:2] + struct.pack("!HHHHH", flags, 1, len(answers), 1 if authority else 0, 0) + question +
                b"".join(answers) + authority)
