"""nameserver: a name server for tests that answers from a table, over UDP and TCP, so that nothing outside is asked.

    dns = Nameserver({"example.org": [("TXT", "v=spf1 -all"), ("MX", 10, "mx.example.org")], "bad.test": SERVFAIL})
    ... "dns_servers = 127.0.0.1:%d\\n" % dns.port ...

A row is (type, value...); the words of MX, SRV, SOA and TLSA may be one string. A TXT row of several strings is one record.
Where a value, or the whole of a name, stands SERVFAIL, REFUSED or another number, that is the code of the answer; SILENT is
none at all. The type "*" is every type. Names that are not there do not exist, unless others lie below them. dns.asked has
every question as (name, type). The table may be changed at any time.
"""
import ipaddress
import os
import random
import shutil
import socket
import struct
import subprocess
import tempfile
import threading

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "TLSA": 52, "SPF": 99,
         "CAA": 257}
NAMES = {number: name for name, number in TYPES.items()}
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5
SILENT = object()
UDP_BYTES = 1232
NO_SUCH_THING = "ns.invalid root.invalid 1 2 3 4 300"  # the SOA behind an empty answer: for how long it may be kept


def wire_name(name):
    out = b""
    for label in name.rstrip(".").split("."):
        if label:
            raw = label.encode("utf-8")
            out += bytes([len(raw)]) + raw
    return out + b"\0"


def wire_text(text):
    raw = text if isinstance(text, bytes) else text.encode("utf-8")
    return b"".join(bytes([len(raw[i:i + 255])]) + raw[i:i + 255] for i in range(0, max(len(raw), 1), 255))


def wire_data(kind, values):
    if kind in ("TXT", "SPF"):
        return b"".join(wire_text(text) for text in values)
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(values[0]).packed
    if len(values) == 1 and isinstance(values[0], str):
        values = values[0].split()
    if kind == "MX":
        return struct.pack("!H", int(values[0])) + wire_name(values[1])
    if kind == "SRV":
        return struct.pack("!HHH", *map(int, values[:3])) + wire_name(values[3])
    if kind == "SOA":
        return wire_name(values[0]) + wire_name(values[1]) + struct.pack("!5I", *map(int, values[2:7]))
    if kind == "TLSA":
        data = values[3] if isinstance(values[3], bytes) else bytes.fromhex(values[3])
        return bytes(map(int, values[:3])) + data
    return wire_name(values[0])


def wire_record(name, kind, values, ttl_s):
    data = wire_data(kind, values)
    return wire_name(name) + struct.pack("!HHIH", TYPES[kind], 1, ttl_s, len(data)) + data


class Question:
    """The one question of a query: its name in lower case, its type, its bytes."""

    def __init__(self, packet):
        labels, at = [], 12
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode("utf-8", "replace"))
            at += packet[at] + 1
        self.name = ".".join(labels).lower()
        self.bytes = packet[12:at + 5]
        number = struct.unpack("!H", self.bytes[-4:-2])[0]
        self.kind = NAMES.get(number, str(number))


class Nameserver:
    """authentic: names whose answers carry the AD flag. address and port: where it listens (a port of the kernel's choice)."""

    def __init__(self, zone=None, authentic=(), address="127.0.0.1", port=0, ttl_s=60):
        self.zone = zone if zone is not None else {}
        self.authentic = {name.lower() for name in authentic}
        self.ttl_s = ttl_s
        self.asked = []
        self.address = address
        for _ in range(50):
            self.udp, self.tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.udp.bind((address, port))
            self.port = self.udp.getsockname()[1]
            try:
                self.tcp.bind((address, self.port))  # the other protocol's port of that number may be another's
                break
            except OSError:
                self.udp.close()
                self.tcp.close()
                if port:
                    raise
        self.tcp.listen(64)
        for work in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=work, daemon=True).start()

    def close(self):
        for sock in (self.udp, self.tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def rows(self, name):
        """What stands at a name: rows, a code, SILENT, or None where there is nothing."""
        found = self.zone.get(name)
        if found is None and any(other.endswith("." + name) for other in list(self.zone)):
            return []
        return found

    def records(self, question):
        """(code, [(owner, type, values)]) for a question, aliases followed; None: no answer."""
        owner, kind, found = question.name, question.kind, []
        for _ in range(10):
            rows = self.rows(owner)
            if rows is SILENT:
                return None
            if rows is None or isinstance(rows, int):
                return (NXDOMAIN if rows is None else rows), found
            alias = None
            for row in rows:
                if row[0] == "CNAME" and kind != "CNAME":
                    alias = row[1]
                elif row[0] not in (kind, "*"):
                    continue
                if row[1] is SILENT:
                    return None
                if isinstance(row[1], int) and len(row) == 2:
                    return row[1], found
                found.append((owner, row[0], row[1:]))
            if alias is None:
                break
            owner = alias.lower().rstrip(".")
        return 0, found

    def answer(self, packet):
        question = Question(packet)
        self.asked.append((question.name, question.kind))
        found = self.records(question)
        if found is None:
            return None
        code, records = found
        flags = 0x8180 | code | (0x20 if question.name in self.authentic else 0)
        body = b"".join(wire_record(*record, self.ttl_s) for record in records)
        authority = b""
        if not records and code in (0, NXDOMAIN):
            zone = ".".join(question.name.split(".")[-2:])
            authority = wire_record(zone, "SOA", (NO_SUCH_THING,), self.ttl_s)
        counts = struct.pack("!HHHHH", flags, 1, len(records), 1 if authority else 0, 0)
        return packet[:2] + counts + question.bytes + body + authority

    def serve_udp(self):
        while True:
            try:
                packet, peer = self.udp.recvfrom(4096)
                if not packet:
                    return
                reply = self.answer(packet)
                if reply and len(reply) > UDP_BYTES:  # truncated: come again over TCP
                    reply = reply[:2] + struct.pack("!HHHHH", 0x8380, 1, 0, 0, 0) + Question(packet).bytes
                if reply:
                    self.udp.sendto(reply, peer)
            except (IndexError, struct.error):
                continue
            except OSError:
                return

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
                try:
                    head = stream.read(2)
                    if len(head) < 2:
                        return
                    reply = self.answer(stream.read(struct.unpack("!H", head)[0]))
                    if not reply:
                        return
                    connection.sendall(struct.pack("!H", len(reply)) + reply)
                except (IndexError, struct.error, OSError):
                    return


class SystemNameserver(Nameserver):
    """At port 53 of a loopback address of its own, for programs that know only /etc/resolv.conf: wrap() runs them in a mount
    namespace where that file names it. Needs root; usable says whether it works."""

    def __init__(self, zone=None, **options):
        self.dir = tempfile.mkdtemp(prefix="sluice-dns-")
        os.chmod(self.dir, 0o755)
        self.resolv = os.path.join(self.dir, "resolv.conf")
        self.bound = False
        for _ in range(50):
            address = f"127.{random.randrange(64, 128)}.{random.randrange(256)}.{random.randrange(1, 255)}"
            try:
                super().__init__(zone, address=address, port=53, **options)
            except OSError:
                continue
            self.bound = True
            break
        with open(self.resolv, "w") as f:
            f.write(f"nameserver {self.address}\noptions timeout:1 attempts:2\n")

    @property
    def usable(self):
        """Can programs be made to ask here?"""
        if not self.bound:
            return False
        done = subprocess.run([self.wrap("/bin/cat"), "/etc/resolv.conf"], capture_output=True, check=False)
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

    def close(self):
        if self.bound:
            super().close()
        shutil.rmtree(self.dir, ignore_errors=True)
