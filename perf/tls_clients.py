"""What the measurements of TLS have in common: certificates, servers that offer TLS, and a client."""
import os
import socket
import subprocess

import servers as S


def certificates(directory, kind):
    key, pem = os.path.join(directory, "key.pem"), os.path.join(directory, "cert.pem")
    new = ["rsa:2048"] if kind == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", *new, "-nodes", "-keyout", key, "-out", pem, "-subj", "/CN=bench.example",
                    "-days", "30"], check=True, capture_output=True)
    os.chmod(directory, 0o755)
    os.chmod(key, 0o644)
    return pem, key


def settings(directory, kind):
    """Has the servers offer TLS; of a server's name, the lines that its configuration has more."""
    S.EXIM_CONFIG = S.EXIM_CONFIG.replace("tls_advertise_hosts =\n", "")
    S.POSTFIX_MASTER = "tlsmgr unix - - n 1000? 1 tlsmgr" + S.POSTFIX_MASTER
    pem, key = certificates(directory, kind)
    exim = ["tls_advertise_hosts = *", f"tls_certificate = {pem}", f"tls_privatekey = {key}", "tls_resumption_hosts = *"]
    postfix = ["smtpd_tls_security_level = may", f"smtpd_tls_chain_files = {key}, {pem}", "tls_random_source = dev:/dev/urandom"]
    floor = ["--tls", f"{pem}:{key}"]
    return lambda name: {"postfix": postfix, "floor": floor}.get(name, exim)


def reply(sock, code):
    text = b""
    while True:
        chunk = sock.recv(65536)
        if not chunk:
            raise ConnectionError(text)
        text += chunk
        last = text.rstrip(b"\r\n").split(b"\n")[-1]
        if text.endswith(b"\n") and last[3:4] == b" ":
            if not last.startswith(code):
                raise ConnectionError(text)
            return


def connect(port, ctx, session, turns=0):
    """EHLO, STARTTLS, EHLO; ctx None: without TLS, with so many other commands between the two."""
    sock = socket.create_connection(("127.0.0.1", port), 30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reply(sock, b"220")
    sock.sendall(b"EHLO c.example\r\n")
    reply(sock, b"250")
    for _ in range(turns):
        sock.sendall(b"NOOP\r\n")
        reply(sock, b"250")
    if ctx:
        sock.sendall(b"STARTTLS\r\n")
        reply(sock, b"220")
        sock = ctx.wrap_socket(sock, server_hostname="bench.example", session=session)
    sock.sendall(b"EHLO c.example\r\n")
    reply(sock, b"250")
    return sock
