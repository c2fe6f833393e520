"""Where a running server's time goes under TLS, by samples (perf record): what the cryptographic operations take where they happen, with
the caches as they are there, and not by themselves in a loop. Needs linux-perf, and names in the program."""
import collections
import os
import re
import subprocess

OPERATIONS = re.compile(
    r"^(L_|sp_|Transform|Sha\d|ShaUpdate|InitSha|fe_|ge_|fp_|mp_|curve25519|AES_|Aes|GMULT|GHASH|GenerateM0|P_hash|Md5|Hmac|Rsa|system_random"
    r"|_?wc_(Aes|Sha|Md5|Hmac|HKDF|Tls13|PRF|Rsa|RNG|curve|ecc|Gmac|Init(Sha|Md5|Rng)))")
RANDOM = re.compile("getrandom|chacha|crng|random_bytes")


def archive():
    """The static library that the program was made with; None: it has a shared one."""
    import servers
    with open(os.path.join(servers.BUILD, "CMakeCache.txt")) as f:
        for line in f:
            if line.startswith("SLUICE_WOLFSSL_DIR"):
                path = os.path.join(line.strip().partition("=")[2], "lib", "libwolfssl.a")
                return path if os.path.exists(path) else None
    return None


def library_names():
    if not archive():
        return set()
    lines = subprocess.run(["nm", archive()], capture_output=True, text=True).stdout.splitlines()
    return {f[2] for f in map(str.split, lines) if len(f) == 3 and f[1] in "tT"}


def record(pids, path):
    """Call wait_end() with what this returns when it has been seen enough."""
    return subprocess.Popen(["perf", "record", "-q", "-F", "3000", "-o", path, "-p", ",".join(map(str, pids))], stderr=subprocess.DEVNULL)


def wait_end(recorder):
    recorder.terminate()
    recorder.wait(60)


def shares(path):
    """Parts of all samples by what was computed: operations, library, sluice, kernel, C library."""
    names, parts = library_names(), collections.Counter()
    report = subprocess.run(["perf", "report", "-i", path, "--no-children", "--sort", "dso,symbol", "--stdio"], capture_output=True, text=True)
    for line in report.stdout.splitlines():
        f = line.split()
        if len(f) < 4 or not f[0].endswith("%"):
            continue
        share, where, name = float(f[0][:-1]) / 100, f[1], f[3]
        library = where.startswith("libwolfssl") or name in names or name.startswith("L_")
        if (library and OPERATIONS.match(name)) or RANDOM.search(name):
            parts["operations"] += share
        elif library:
            parts["library"] += share
        elif where.startswith("[kernel"):
            parts["kernel"] += share
        elif where == "sluice":
            parts["sluice"] += share
        else:
            parts["C library, allocator"] += share
    return parts
