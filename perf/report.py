"""What BENCHMARKS.md shows: which cells, which servers in each, and the tables made of the results.

All of them come from one run (`./dev bench --report`), so that a table never compares figures of two. The text around
the tables is written by hand; what stands between the two marks is replaced.
"""
import datetime

ALL = ("floor", "sluice", "exim", "postfix", "opensmtpd")
DURABLE = ("floor", "sluice", "exim", "postfix")
OURS = ("floor", "sluice")
SHARDS = ("floor-1", "sluice-1")

MANY = ("accept", 4096, 100, 0)
PIPELINED = ("accept", 4096, 100, 0, True)
DEEP = ("accept", 4096, 100, 0, False, 100000)
REFUSED = ("reject-rcpt", 4096, 100, 0)
REFUSED_PIPELINED = ("reject-rcpt", 4096, 100, 0, True)
REFUSED_DATA = ("reject-data", 4096, 100, 0)
RELAY = ("relay", 4096, 100, 0)
IDLE = ("idle", 0, 18000, 0)

PLAN = [
    (MANY, ALL[:2] + SHARDS + ALL[2:]),
    (("accept", 4096, 100, 1), ALL),
    (("accept", 4096, 20, 0), ALL),
    (("accept", 51200, 100, 0), ALL),
    (RELAY, ("sluice", "exim", "postfix", "opensmtpd")),
    (REFUSED, DURABLE),
    (REFUSED_DATA, DURABLE),
    (PIPELINED, DURABLE),
    (REFUSED_PIPELINED, DURABLE),
    (DEEP, ("sluice",)),
    (IDLE, OURS),
]

TITLES = {
    "accept 4096 x100 many": "accept, 100 sessions, many a connection",
    "accept 4096 x100 one": "accept, 100 sessions, one a connection",
    "accept 4096 x20 many": "accept, 20 sessions, many",
    "accept 51200 x100 many": "accept, 50 KiB, 100 sessions, many",
    "accept 4096 x100 many pipelined": "accept, 100 sessions, many, pipelined",
    "relay 4096 x100 many": "relay, 100 sessions, many",
    "reject-rcpt 4096 x100 many": "refuse at RCPT, 100 sessions",
    "reject-rcpt 4096 x100 many pipelined": "refuse at RCPT, 100 sessions, pipelined",
    "reject-data 4096 x100 many": "refuse after DATA, 100 sessions",
}
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def shown(value):
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def cpu_of(r, base, unit):
    """Median, what it is in the base's terms, and the spread of the runs."""
    if not r:
        return "–"
    text = shown(r["cpu_us"])
    if base:
        ratio = r["cpu_us"] / base["cpu_us"]
        text += f" = {ratio:.2f} {unit}" if ratio < 5 else f" = {ratio:.1f} {unit}"
    return f"{text} ({shown(r['cpu_us_min'])}–{shown(r['cpu_us_max'])})"


def row(cells):
    return "| " + " | ".join(cells) + " |"


def cpu_table(results):
    lines = [row(["CPU us a message", *(f"{name}{' (unsynced)' if name == 'opensmtpd' else ''}" for name in ALL)]),
             "|---" * (len(ALL) + 1) + "|"]
    for cell, title in TITLES.items():
        by = results.get(cell, {})
        floor, sluice = by.get("floor"), by.get("sluice")
        lines.append(row([title, cpu_of(floor, None, ""), f"**{cpu_of(sluice, floor, 'floors')}**",
                          *(cpu_of(by.get(name), sluice, "x sluice") for name in ALL[2:])]))
    return lines


def rate_of(r, sluice):
    if not r:
        return "–"
    text = f"{r['rate']:,.0f}"
    if sluice:
        text += f", sluice = {sluice['rate'] / r['rate']:.1f} x"
    if r.get("p50_us"):
        text += f" ({r['p50_us'] / 1000:.1f}, {r['p99_us'] / 1000:.1f})"
    return text


def rate_table(results):
    lines = [row(["messages a second (p50, p99 of the final reply in ms)", *ALL]), "|---" * (len(ALL) + 1) + "|"]
    for cell, title in TITLES.items():
        by = results.get(cell, {})
        sluice = by.get("sluice")
        lines.append(row([title, rate_of(by.get("floor"), None), f"**{rate_of(sluice, None)}**",
                          *(rate_of(by.get(name), sluice) for name in ALL[2:])]))
    return lines


def ratio_lines(results, named):
    """One line for each aim that is a ratio of two of our own cells; the floor's says how much of it is anybody's."""
    def figure(cell, name):
        return results.get(named(cell), {}).get(name)

    def line(title, aim, cell, base_cell, name, base_name):
        r, base = figure(cell, name), figure(base_cell, base_name)
        if not r or not base:
            return []
        return [row([title, aim, name, shown(r["cpu_us"]), shown(base["cpu_us"]), f"{r['cpu_us'] / base['cpu_us']:.2f}"])]

    lines = [row(["CPU us a message", "aim", "server", "this", "compared to", "ratio"]), "|---" * 6 + "|"]
    for name in OURS:
        lines += line("2 shards : 1 shard", "1.10", MANY, MANY, name, name + "-1")
    lines += line("behind 100,000 queued : empty queue", "1.10", DEEP, MANY, "sluice", "sluice")
    for name in DURABLE:
        lines += line("refused at RCPT : accepted", "0.33", REFUSED, MANY, name, name)
    for name in DURABLE:
        lines += line("refused at RCPT : accepted, both pipelined", "0.33", REFUSED_PIPELINED, PIPELINED, name, name)
    for name in DURABLE:
        lines += line("refused after DATA : accepted", "0.33", REFUSED_DATA, MANY, name, name)
    lines += line("refused at RCPT : accepted and relayed", "", REFUSED, RELAY, "sluice", "sluice")
    return lines


def idle_lines(results, named):
    lines = []
    for name, r in results.get(named(IDLE), {}).items():
        total = r["memory_kib"] * IDLE[2] / 1024
        lines.append(f"* {IDLE[2]:,} idle connections after EHLO, {name}: {r['memory_kib']:.2f} KiB of process memory each "
                     f"above the empty server, {total:.1f} MiB in all; {r['cpu_us']:.0f} us of CPU to set one up.")
    return lines


def text(results, about, args):
    def named(cell):
        profile, size, sessions, per = cell[:4]
        if profile == "idle":
            return f"idle {sessions}"
        return (f"{profile} {size} x{sessions} {'one' if per == 1 else 'many'}"
                f"{' pipelined' if cell[4:] and cell[4] else ''}{f' behind {cell[5]}' if cell[5:] else ''}")

    peers = ", ".join(f"{name} {version}" for name, version in sorted(about["peers"].items()))
    return "\n".join([
        f"`./dev bench --report` of {datetime.date.today():%-d %B %Y}, commit {about['commit']}: {about['cpus']} cores, "
        f"{about['memory_gib']} GiB, Linux {about['kernel']}; {peers}.",
        f"{args.runs} runs of each, {args.seconds:g} s of load: the median, and in brackets the least and the most. Load "
        f"average of the machine {about['load_before']:.1f} before it, {about['load_after']:.1f} at its end, "
        f"{about['minutes']:g} minutes.", "",
        *cpu_table(results), "", *rate_table(results), "", *ratio_lines(results, named), "", *idle_lines(results, named)])


def write(path, tables):
    with open(path) as f:
        before, _, rest = f.read().partition(BEGIN)
    after = rest.partition(END)[2]
    if not after:
        raise SystemExit(f"{path} has no place for the tables ({BEGIN} ... {END})")
    with open(path, "w") as f:
        f.write(f"{before}{BEGIN}\n{tables}\n{END}{after}")
