#!/usr/bin/python3
"""Makes ciphers.txt beside it: what OpenSSL (3.0) and GnuTLS (3.7) make of cipher lists and priority strings as they stand in mail
servers' configurations. It reads the strings from that file, so add one there and run it. Behind a string there is a mark for each
suite that is had here, in the order of the table in lib/tls/ciphers.c: is it chosen?"""
import os
import re
import subprocess

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "../../../../lib/tls/ciphers.c")) as f:
    rows = re.findall(r'"([^"]+)",\s*"([^"]+)",\s*"(TLS_[^"]+)"', f.read())
by_openssl = {row[1]: row[0] for row in rows}
by_number = {}


def output(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout


for number, name in re.findall(r"^\s*(\S+) - (\S+)", output("openssl", "ciphers", "-V", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"), re.M):
    by_number[number.lower()] = by_openssl.get(name)


def openssl(text):
    return {by_openssl[name] for name in output("openssl", "ciphers", text).strip().split(":") if name in by_openssl}


def gnutls(text):
    said = output("gnutls-cli", "-l", "--priority", text)
    versions = re.search("^Protocols: (.*)", said, re.M).group(1).split(", ")
    found = {by_number.get(f"{a},{b}".lower()) for a, b in re.findall(r"(0x..), (0x..)", said)} - {None}
    return {name for name in found if ("VERS-TLS1.3" if name.startswith("TLS13") else "VERS-TLS1.2") in versions}


with open(os.path.join(here, "ciphers.txt")) as f:
    lines = [line.split("\t") for line in f.read().split("\n")]
with open(os.path.join(here, "ciphers.txt"), "w") as f:
    for line in lines:
        if len(line) > 1:
            chosen = {"openssl": openssl, "gnutls": gnutls}[line[0]](line[1])
            line[2:] = ["".join("x" if row[0] in chosen else "." for row in rows)]
        f.write("\t".join(line) + "\n")
