"""fake_dns: a name server on a port of the kernel's choice, which answers from a table, over UDP and TCP.

    dns = FakeDns({"example.org": [("TXT", "v=spf1 -all"), ("MX", 10, "mx.example.org")], "bad.test": "SERVFAIL"})
    ... "dns_servers = 127.0.0.1:%d\\n" % dns.port ...

A name of the table whose value is "SERVFAIL" or "SILENT" is trouble; other names do not exist. dns.asked has every question.
"""
import ipaddress
import socket
import struct
import threading

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "TLSA": 52}
NAMES = {number: name for name, number in TYPES.items()}


def wire_name(name):
    out = b""
    for label in name.rstrip(".").split("."):
        if label:
            out += bytes([len(label)]) + label.encode("latin-1")
    return out + b"\0"


def wire_data(kind, data):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(data[0]).packed
    if kind == "MX":
        return struct.pack("!H", data[0]) + wire_name(data[1])
    if kind in ("PTR", "CNAME", "NS"):
        return wire_name(data[0])
    if kind == "TXT":
        out = b""
        for text in data:
            text = text if isinstance(text, bytes) else text.encode("utf-8")
            for i in range(0, max(len(text), 1), 255):
                piece = text[i:i + 255]
                out += bytes([len(piece)]) + piece
        return out
    if kind == "TLSA":
        return bytes(data[:3]) + data[3]
    raise ValueError(kind)


class FakeDns:
    def __init__(self, zone):
        self.zone = {name.lower(): rows for name, rows in zone.items()}
        self.asked = []
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        for _ in range(50):
            self.udp.close()
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.bind(("127.0.0.1", 0))
            self.port = self.udp.getsockname()[1]
            try:
                self.tcp.bind(("127.0.0.1", self.port))
                break
            except OSError:
                continue
        self.tcp.listen(16)
        for work in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=work, daemon=True).start()

    def close(self):
        for sock in (self.udp, self.tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def serve_udp(self):
        while True:
            try:
                packet, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            if not packet:
                return
            answer = self.answer(packet)
            if answer is None:
                continue
            if len(answer) > 1232:  # truncated: come again over TCP
                answer = answer[:2] + struct.pack("!HHHHH", 0x8380, 1, 0, 0, 0) + answer[12:self.question_end(answer)]
            try:
                self.udp.sendto(answer, peer)
            except OSError:
                return

    def serve_tcp(self):
        while True:
            try:
                sock, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_stream, args=(sock,), daemon=True).start()

    def serve_stream(self, sock):
        with sock, sock.makefile("rb") as stream:
            while True:
                head = stream.read(2)
                if len(head) < 2:
                    return
                answer = self.answer(stream.read(struct.unpack("!H", head)[0]))
                if answer is None:
                    return
                sock.sendall(struct.pack("!H", len(answer)) + answer)

    @staticmethod
    def question_end(packet):
        at = 12
        while packet[at]:
            at += packet[at] + 1
        return at + 5

    def answer(self, packet):
        end = self.question_end(packet)
        labels, at = [], 12
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode("latin-1"))
            at += packet[at] + 1
        name = ".".join(labels).lower()
        number = struct.unpack("!H", packet[end - 4:end - 2])[0]
        kind = NAMES.get(number, str(number))
        self.asked.append((name, kind))
        rows = self.zone.get(name)
        if rows == "SILENT":
            return None
        rcode, answers = 0, b""
        count = 0
        if rows == "SERVFAIL":
            rcode = 2
        else:
            for _ in range(8):
                alias = [row for row in rows or () if row[0] == "CNAME"]
                if not alias or kind == "CNAME":
                    break
                answers += self.record(name, "CNAME", alias[0][1:])
                count += 1
                name = alias[0][1].rstrip(".").lower()
                rows = self.zone.get(name)
            if rows is None:
                rcode = 3
            for row in rows or ():
                if row[0] == kind:
                    answers += self.record(name, kind, row[1:])
                    count += 1
        head = packet[:2] + struct.pack("!HHHHH", 0x8180 | rcode, 1, count, 0, 0)
        return head + packet[12:end] + answers

    @staticmethod
    def record(name, kind, data):
        data = wire_data(kind, data)
        return wire_name(name) + struct.pack("!HHIH", TYPES[kind], 1, 60, len(data)) + data
