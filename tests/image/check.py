#!/usr/bin/env python3
"""check: the image that `./dev image` has made, run as an engine would: its entry point as its user, with a read-only root and nothing
to write to but its volume; no engine and no network of its own, so that any root can run it. A message comes in under STARTTLS, and
what is under way when SIGTERM comes is finished.

check.py IMAGE"""
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
from harness import Client, until  # noqa: E402

# Root, command...; HOLD: the volume.
RUN = """
root=$1; shift
mount --bind "$root" "$root" && mount --bind "$HOLD" "$root$VOLUME" && mount -o remount,bind,ro "$root" &&
mount --rbind /dev "$root/dev" && mount -t proc proc "$root/proc" && cd "$root" &&
exec chroot --userspec="$USERSPEC" "$root" env -i PATH="$IMAGE_PATH" sh -c 'cd "$0" && exec "$@"' "$WORKDIR" "$@"
"""


def buildah(*arguments):
    return subprocess.run(["buildah", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def tls(client):
    client.ehlo()
    client.expect("STARTTLS", 220)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client.sock = context.wrap_socket(client.sock)
    client.ehlo()
    return client.sock.version()


def inbox(hold):
    new = os.path.join(hold, "mail/inbox/new")
    return [open(os.path.join(new, name)).read() for name in os.listdir(new)] if os.path.isdir(new) else []


def check(root, config, hold):
    user = config["User"]
    ids = re.search(rf"^{user}:[^:]*:(\d+):(\d+):", open(os.path.join(root, "etc/passwd")).read(), re.M)
    os.chown(hold, int(ids[1]), int(ids[2]))
    volume = list(config["Volumes"])[0]
    environment = dict(os.environ, HOLD=hold, VOLUME=volume, USERSPEC=f"{ids[1]}:{ids[2]}", WORKDIR=config["WorkingDir"],
                       IMAGE_PATH=next(e[5:] for e in config["Env"] if e.startswith("PATH=")))
    command = [*config["Entrypoint"], *config["Cmd"], "-oX", "0", "-oP", f"{volume}/pid"]
    error = os.path.join(hold, "said")
    with open(error, "wb") as said:
        process = subprocess.Popen(["unshare", "-m", "sh", "-c", RUN, "sh", root, *command], stdin=subprocess.DEVNULL,
                                   stdout=said, stderr=said, env=environment)
    try:
        def ports():
            if process.poll() is not None:
                raise AssertionError(f"it ended: {open(error).read()}")
            path = os.path.join(hold, "pid")
            lines = open(path).read().split("\n") if os.path.exists(path) else []
            return [int(line.rpartition(":")[2]) for line in lines[1:-1]]
        port = until(ports, "the ports")[0]
        status = open(f"/proc/{process.pid}/status").read()
        assert re.search(rf"^Uid:\t{ids[1]}\t{ids[1]}\t", status, re.M), status
        with Client(port) as client:
            version = tls(client)
            client.message(b"Subject: first\r\n\r\nhello\r\n", sender="me@example.org", rcpts=("you@localhost",))
            client.quit()
        until(lambda: len(inbox(hold)) == 1, "the first message")
        with Client(port) as client:
            tls(client)
            client.envelope("me@example.org", ("you@localhost",))
            client.expect("DATA", 354)
            client.send(b"Subject: second\r\n\r\n")
            process.send_signal(signal.SIGTERM)
            client.send(b"hello again\r\n.\r\n")
            assert client.reply().code == 250
        assert process.wait(60) == 0, process.returncode
        messages = inbox(hold)
        assert len(messages) == 2 and any("hello again" in m for m in messages), messages
        first = next(m for m in messages if "Subject: first" in m)
        assert "with esmtps" in first.lower(), first
        return version
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def main():
    image = sys.argv[1]
    config = json.loads(buildah("inspect", "--type", "image", image))["OCIv1"]["config"]
    container = buildah("from", "--pull-never", image)
    hold = tempfile.mkdtemp(prefix="sluice-image-")
    try:
        version = check(buildah("mount", container), config, hold)
        print(f"{image}: as {config['User']}, root read-only: a message under {version}, another finished behind SIGTERM")
    except BaseException:
        sys.stderr.write(open(os.path.join(hold, "said")).read() if os.path.exists(os.path.join(hold, "said")) else "")
        raise
    finally:
        buildah("rm", container)
        shutil.rmtree(hold)


main()
