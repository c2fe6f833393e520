"""dns_world: a world of its own for programs that look names up: a network namespace where 127.0.0.1:53 is free, and a
resolv.conf that names it. So the real Exim and sluice ask the same Nameserver, by their ordinary ways, and nothing outside.
"""
import os
import subprocess

from harness import scratch


def world_possible():
    flags = "-mn" if os.getuid() == 0 else "-rmn"
    return subprocess.run(["unshare", flags, "true"], capture_output=True, check=False).returncode == 0


def run_in_world(arguments, **options):
    """Runs a program where loopback is up and 127.0.0.1:53 is the resolver (that the program itself may be)."""
    etc = scratch("world")
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
