"""tls_scenarios: one daemon that sends over TLS to many servers: each scenario is a domain with a host, a transport with its
options, and a server of its own."""
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import threading

from authority import Authority
from harness import Sink, SluiceTest, configuration
from nameserver import Nameserver


def server_context(certificate, key, ca=None, minimum=None, maximum=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if ca:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if minimum:
        context.minimum_version = minimum
    if maximum:
        context.maximum_version = maximum
    return context


class StapleServer:
    """openssl s_server with a stapled response; the dialogue is spoken on its standard input and output."""

    def __init__(self, certificate, key, response=None, address="127.0.0.1:0", options=()):
        command = ["openssl", "s_server", "-accept", address, "-cert", certificate, "-cert_chain", certificate, "-key", key, *options]
        if response:
            command += ["-status_file", response]
        # It says where it listens, and mixes its remarks with the dialogue.
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.messages, self.reused = [], []
        self.port = None
        while self.port is None:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError("openssl s_server ended")
            if line.startswith(b"ACCEPT"):  # it does not repeat a port that it was given
                self.port = int(line.strip().rpartition(b":")[2] if b":" in line else address.rpartition(":")[2])
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def say(self, text):
        self.process.stdin.write(text.encode() + b"\r\n")
        self.process.stdin.flush()

    def serve(self):
        text = None
        try:
            for raw in self.process.stdout:
                line = raw.strip().decode("latin-1")
                if line.startswith("-----BEGIN SSL SESSION"):
                    text = None
                    self.say("220 staple.test ESMTP")
                elif line.startswith("Reused session-id"):
                    self.reused.append(line)
                elif line.upper().startswith("EHLO"):
                    self.say("250 staple.test")
                elif text is not None:
                    text.append(line)
                    if line == ".":
                        self.messages.append("\n".join(text))
                        text = None
                        self.say("250 kept")
                elif re.match("MAIL|RCPT|RSET", line):
                    self.say("250 ok")
                elif line.startswith("DATA"):
                    text = []
                    self.say("354 go on")
                elif line.startswith("QUIT"):
                    self.say("221 bye")
        except (OSError, ValueError):
            pass

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Scenarios(SluiceTest):
    """Scenarios are added before the daemon starts: in make_scenarios(), which may set rcpt_acl, too."""

    main_options = ""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dir = tempfile.mkdtemp(prefix="sluice-pki-")
        os.chmod(cls.dir, 0o755)
        cls.addClassCleanup(shutil.rmtree, cls.dir, True)
        cls.ca = Authority(os.path.join(cls.dir, "pki"))
        cls.zone, cls.routers, cls.transports, cls.sinks = {}, [], [], {}
        cls.rcpt_acl = "accept"
        cls.make_scenarios()
        cls.dns = Nameserver(cls.zone)
        cls.addClassCleanup(cls.dns.close)
        policy = f"\nbegin acl\nrcpt_acl:\n  {cls.rcpt_acl}\n\nbegin routers\n" + "".join(cls.routers) + "\nbegin transports\n" + "".join(cls.transports) + "\nbegin retry\n* * F,2h,15m\n"
        cls.config = configuration(
            f"dns_servers = 127.0.0.1:{cls.dns.port}\n{cls.main_options}"
            "log_selector = +tls_peerdn +tls_resumption +tls_certificate_verified +tls_cipher\n", policy)

    @classmethod
    def scenario(cls, name, sink, options="", hosts=None):
        hosts = hosts or [(f"mx.{name}.test", "127.0.0.1")]
        for host, address in hosts:
            cls.zone[host] = [("A", address)]
        cls.routers.append(f"{name}:\n  driver = manualroute\n  domains = {name}.test\n  transport = t_{name}\n"
                           f"  route_list = * {':'.join(host for host, _ in hosts)}\n  self = send\n")
        cls.transports.append(f"t_{name}:\n  driver = smtp\n  port = {sink.port}\n  allow_localhost\n"
                              "  hosts_try_fastopen = :\n  connection_max_messages = 1\n"
                              + "".join(f"  {line.strip()}\n" for line in options.strip().splitlines()))
        cls.sinks[name] = sink

    @classmethod
    def sink_for(cls, *arguments, **options):
        sink = Sink(*arguments, **options)
        cls.addClassCleanup(sink.close)
        return sink

    @classmethod
    def certificate_for(cls, name, **options):
        return server_context(*cls.ca.certificate(name, name=f"mx.{name}.test", **options))

    # ---- What tests do ----

    def send(self, name, sender="s@client.test"):
        with self.shared().client() as c:
            c.ehlo()
            c.message("Subject: x\r\n\r\nbody\r\n", sender, [f"u@{name}.test"])

    def delivered(self, name, count=1, sender="s@client.test"):
        """The log line of the delivery."""
        self.send(name, sender)
        text = self.shared().wait_log(rf"=> u@{name}\.test ", count=count, deadline_s=12)
        return [line for line in text.split("\n") if f"=> u@{name}.test " in line][-1]

    def deferred(self, name):
        self.send(name)
        text = self.shared().wait_log(rf"== u@{name}\.test ", deadline_s=12)
        self.assertEqual([], getattr(self.sinks[name], "messages", []) or [])
        return [line for line in text.split("\n") if f"== u@{name}.test " in line][-1]
