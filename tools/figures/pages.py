"""Puts the figures of docs/figures into the pages, between `<!-- figures:NAME -->` and `<!-- /figures -->`.

Owns how each figure is written and which goal it has; a goal that is missed says so by itself. Nothing here measures.
"""

import re
from pathlib import Path
from statistics import median

from measure import ROOT, is_measured, read

BEGIN, END = "<!-- figures:{} -->\n", "<!-- /figures -->"


# ---- how figures are written ----


def number(value):
    """Three digits of it, and no more than whole ones from a hundred on."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def spread(values, unit=""):
    """The middle one, and in brackets the lowest and highest where they differ."""
    if unit == " ms" and median(values) >= 10_000:
        return spread([value / 1000 for value in values], " s")
    low, middle, high = (number(value) for value in (min(values), median(values), max(values)))
    return f"{middle}{unit}" if low == high else f"{middle}{unit} ({low} to {high})"


def goal(text, met):
    return text if met else f"{text}: missed"


def table(head, rows):
    cells = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, row)) + " |\n" for row in cells).replace("|  |", "| |")


def fenced(text):
    return f"```text\n{text.strip()}\n```\n"


def code(command):
    return f"`{command}`"


def where(part):
    """On which machine."""
    of = read(part)["machine"]
    return f"{of['cores']} cores ({of['processor']}, {of['system']}) at a load of {of['load']}"


# ---- what is taken from a file ----


def demo_of(name, priority=None):
    """A figure of each run of the demo."""
    runs = read("demo")["runs"]
    if priority is None:
        return [run[name] for run in runs]
    return [line[name] for run in runs for line in run["priorities"] if line["priority"] == priority]


def stacks(runs):
    return {stack["stack"]: stack for stack in runs["stacks"]}


def group(stack, priority):
    return next(group["figures"] for group in stack["groups"] if group["priority"] == priority and not group["everyone"])


def local(name, field):
    """A figure of each run of a contestant."""
    return [row[field] for run in read("local")["runs"] for row in run[-1]["rows"] if row["name"] == name]


def memory_of(field):
    return [run[-1][field] for run in read("memory")["runs"]]


def mib(values):
    return spread([value / 2**20 for value in values], " MiB")


# How the others are called in the comparison.
OTHERS = {"sig": "baseline", "flood": "flooding"}


def compared(of, stack, spreads=True):
    """A figure of the comparison; a time of seconds in seconds."""
    found = of["stacks"].get(stack)
    if found is None:
        return ""
    values = [found["low"], found["median"], found["high"]]
    if found["median"] is None:
        return "–"
    unit, scale = {"%": (" %", 1), "ms": (" ms", 1), "times": ("×", 1)}.get(of["unit"], (f" {of['unit']}", 1))
    if of["unit"] == "ms" and found["median"] >= 10_000:
        unit, scale = " s", 1000
    low, median, high = (number(value / scale) for value in values)
    return f"{median}{unit}" if low == high or not spreads else f"{median}{unit} ({low} to {high})"


def wanted(of):
    """What is wanted, in the unit of the figure."""

    def bound(found):
        sign, value = found[1], float(found[2])
        if of["unit"] == "ms" and value >= 10_000:
            return f"{sign} {value / 1000:g} s"
        return f"{sign} {value:g}" + {"%": " %", "times": "×", "messages": ""}.get(of["unit"], f" {of['unit']}")

    return goal(re.sub(r"([≥≤]) ([\d.]+)", bound, of["wanted"]), of["met"]) if of["met"] is not None else ""


# ---- blocks of the README ----


def demo_printed():
    return fenced(read("demo")["printed"])


def session_printed():
    return fenced("\n".join(["$ nc 127.0.0.1 7700", *read("session")["lines"]]))


def row(what, figure, wanted="", command=None):
    return [what, figure, wanted, code(command) if command else "the same"]


def demo_rows():
    demo = read("demo")
    first = demo["runs"][0]
    sums = {name: [sum(line[name] for line in run["priorities"]) for run in demo["runs"]] for name in ("accepted", "duplicates")}
    share = [run["delivered_share"] * 100 for run in demo["runs"]]
    hop, critical = demo_of("single_hop_ms"), demo_of("p99_ms", "CRITICAL")

    def latency(priority):
        what = f"{priority}, {median(demo_of('hops', priority)):.1f} hops on average: p50; p99"
        return what, f"{spread(demo_of('p50_ms', priority), ' ms')}; {spread(demo_of('p99_ms', priority), ' ms')}"

    return [
        row(f"delivered of {max(sums['accepted']):,} accepted, {len(first['seed'])} seeds, {first['nodes']} relays, 10 % loss", spread(share, " %"),
            goal("≥ 99.9 %", min(share) >= 99.9), demo["commands"][0]),
        row("duplicates; foreign bytes", f"{max(sums['duplicates'])}; {max(demo_of('foreign'))}",
            goal("0; 0", max(sums["duplicates"] + demo_of("foreign")) == 0)),
        row("single hop, average", spread(hop, " ms"), goal("< 15 ms", max(hop) < 15)),
        row(*latency("CRITICAL"), goal("p99 < 250 ms", max(critical) < 250)),
        row("the slowest CRITICAL message of all seeds", spread(demo_of("worst_critical_ms"), " ms")),
        *(row(*latency(priority)) for priority in ("HIGH", "MEDIUM", "LOW")),
        row("advertising events for each message, all nodes, the 16 KiB among them", spread(demo_of("frames_per_message"))),
        row("a demo at its usual speed", f"{demo['seconds']:.0f} s", goal("< 60 s", demo["seconds"] < 60), demo["commands"][1]),
    ]  # fmt: skip


def office_rows():
    office, rows = read("office"), []
    names = {"mesh": "ours", "sig": "Bluetooth Mesh baseline", "flood": "plain flooding"}
    for name, stack in stacks(office).items():
        critical = group(stack, "CRITICAL")["latency"]["p99_us"] / 1e3
        figure = f"{stack['all']['delivery'] * 100:.1f} %; {number(critical)} ms; {stack['airtime_us_per_byte'] / 1e3:.1f} ms"
        what = f"{stack['nodes']} nodes in an office, {len(stack['seeds'])} seeds: arrived; CRITICAL p99; airtime for each byte that arrived"
        rows.append(row(f"the same, {names[name]}" if rows else what, figure, "", None if rows else office["commands"][0]))
    return rows


# The figures of the comparison that the README has, by row, case and figure.
COMPARED = {
    "379 bytes after each other to a neighbour, 10 % loss": ("bulk", "1 hop, 10 % loss", ""),
    "the same over 4 hops": ("bulk", "4 hops, 10 % loss", ""),
    "the same in long frames": ("bulk", "4 hops, long frames 1M", ""),
    "8 bytes any to any in an office, 40 a second: arrived within 2 s": ("load", "40 a second", ""),
    "CRITICAL p99 beside LOW at 3 times what the air bears, against alone": ("critical", "office, beside LOW", "p99 of CRITICAL against alone"),
    "379 CRITICAL bytes to everyone in an office, 10 % loss: reached": ("to-all", "CRITICAL", "reach"),
    "a relay on the way loses power: next arrival": ("repair", "as nodes find their ways", "next arrival"),
}


def compare_rows():
    found = read("compare")
    by_name = {(of["row"], of["case"], of["figure"]): of for of in found["full"]["figures"]}
    rows = []
    for what, name in COMPARED.items():
        of = by_name[name]
        others = [f"{OTHERS[stack]} {compared(of, stack, False)}" for stack in OTHERS if stack in of["stacks"]]
        figure = f"{compared(of, 'mesh')}" + (f"; {', '.join(others)}" if others else "")
        rows.append(row(what, figure, wanted(of), None if rows else found["commands"][0]))
    return rows


def memory_rows():
    idle, each = memory_of("idle_rss"), [value / 1024 for value in memory_of("per_agent")]
    return [row("memory of the gateway, one simulated node, one agent; each idle agent", f"{mib(idle)}; {spread(each, ' KiB')}",
                goal("≤ 20 MiB; ≤ 8 KiB", max(idle) <= 20 * 2**20 and max(each) <= 8), read("memory")["commands"][0])]  # fmt: skip


def size_rows():
    of = read("size")
    targets = " and ".join(target.split("-")[0] for target in of["bytes"])
    figure = "; ".join(f"{bytes_of['text'] / 1000:.1f} kB" for bytes_of in of["bytes"].values())
    return [row(f"text size of the core, {targets}", figure, "", of["commands"][0])]


def frame_rows():
    ratio = [run[2] for run in read("frame")["runs"]]
    return [row("open and decode a 27-byte frame, against the AES and CCM calls alone", spread(ratio),
                goal("≤ 1.25", max(ratio) <= 1.25), read("frame")["commands"][0])]  # fmt: skip


def local_rows():
    fast, synced = local("gateway, not durable", "of_echo_each"), local("gateway, synced", "of_echo_each")
    disk, lone = (local(f"gateway, synced{more}", "disk_bytes_per_message") for more in ("", ", one by one"))
    return [
        row("agent to agent on one gateway, against an echo that writes each frame: not durable; synced",
            f"{spread(fast)}; {spread(synced)}", goal("≥ 0.5; ≥ 0.25", min(fast) >= 0.5 and min(synced) >= 0.25), read("local")["commands"][0]),
        row("bytes on disk for each accepted message, its receipt included: 256 in flight; alone",
            f"{spread([value / 1e3 for value in disk], ' kB')}; {spread([value / 1e3 for value in lone], ' kB')}"),
    ]  # fmt: skip


def numbers():
    rows = []
    for part in (demo_rows, office_rows, compare_rows, memory_rows, size_rows, frame_rows, local_rows):
        try:
            rows += part()
        except FileNotFoundError as missing:
            name = part_of(missing)
            rows.append(row(name, "not measured yet", "", f"python3 tools/figures {name}"))
    return table(["what", "figure", "goal", "command"], rows)


# ---- blocks of the benchmarks' page ----


def compare_table():
    found = read("compare")
    rows, last = [], None
    for of in found["full"]["figures"]:
        case = ", ".join(part for part in (of["case"], of["figure"]) if part)
        rows.append([code(of["row"]) if of["row"] != last else "", case, *(compared(of, stack) for stack in ("mesh", *OTHERS)), wanted(of)])
        last = of["row"]
    goals = [of["met"] for of in found["full"]["figures"] if of["met"] is not None]
    said = f"{goals.count(True)} of {len(goals)} as wanted, with seeds {found['full']['seeds'][0]} to {found['full']['seeds'][-1]} in {found['minutes']:.0f} minutes:\n\n"
    return said + table(["row", "figure", "ours", "Bluetooth Mesh baseline", "plain flooding", "wanted"], rows)


def compare_what():
    what = {of["row"]: of["what"] for of in read("compare")["full"]["figures"]}
    return "".join(f"- `{name}`: {of}.\n" for name, of in what.items())


def machine():
    parts = [part for part in ("demo", "compare", "frame", "local", "memory", "crowd") if is_measured(part)]
    return table(["part", "measured on"], [[part, where(part)] for part in parts])


def air():
    rows = []
    for name, stack in stacks(read("office")).items():
        for group in stack["groups"]:
            of, times = group["figures"], group["figures"]["latency"]
            to = " to everyone" if group["everyone"] else ""
            delivery = "–" if of["delivery"] is None else f"{of['delivery'] * 100:.1f} %"
            p50, p99 = ("–" if times[at] is None else spread([times[at] / 1e3], " ms") for at in ("p50_us", "p99_us"))
            rows.append([name, group["priority"] + to, f"{of['offered']:,}", delivery, p50, p99])
        cost = f"{stack['airtime_us_per_byte']:,.0f} µs on the air for each byte that arrived"
        rows.append([name, "all", f"{stack['all']['offered']:,}", f"{stack['all']['delivery'] * 100:.1f} %", cost, ""])
    return table(["stack", "messages", "offered", "arrived", "p50", "p99"], rows)


def local_echo():
    rows = []
    for name, least in (("not durable", 0.5), ("synced", 0.25)):
        figures = [local(f"gateway, {name}", field) for field in ("of_echo_each", "of_echo_bytes", "of_echo_batched")]
        # The goal is against an echo that writes each frame, as agents do.
        rows.append([name, *map(spread, figures), goal(f"≥ {least}", min(figures[0]) >= least)])
    return table(["ratio to the echo", "a write each", "bytes as they come", "writes batched", "wanted of a write each"], rows)


def local_client():
    rows = []
    for promise in ("synced", "not durable"):
        for who, name in (("session", "client library"), ("staying agent", "staying agent")):
            speed = local(f"{name}, {promise}", "of_raw_codec")
            pairs = zip(local(f"gateway, {promise}", "cpu_us_per_message"), local(f"{name}, {promise}", "cpu_us_per_message"))
            work = [raw / own for raw, own in pairs]
            rows.append([f"{who}, {promise}", spread(speed), spread(work), goal("≥ 0.8", min(speed + work) >= 0.8)])
    return table(["ratio to the raw codec", "messages a second", "processor time, whole process", "wanted"], rows)


def local_cost():
    fields = [
        ("processor time for each message, gateway and both agents", "cpu_us_per_message", " µs"),
        ("messages a second", "messages_per_s", ""),
        ("messages in one sync", "messages_per_sync", ""),
        ("bytes written to disk for each message and its receipt", "disk_bytes_per_message", ""),
        ("the same as the store counts them", "store_bytes_per_message", ""),
    ]
    names = {"not durable": "gateway, not durable", "synced": "gateway, synced", "synced, one at a time": "gateway, synced, one by one",
             "echo, a write each": "echo, a write each"}  # fmt: skip
    rows = [[what, *(known(local(name, field), unit) for name in names.values())] for what, field, unit in fields]
    return table(["", *names], rows)


def known(values, unit):
    values = [value for value in values if value]
    return spread(values, unit) if values else "–"


def memory_table():
    each = [value / 1024 for value in memory_of("per_agent")]
    rows = [
        ["idle, as it says that it is ready", mib(memory_of("ready_rss")), goal("≤ 20 MiB", max(memory_of("ready_rss")) <= 20 * 2**20)],
        ["idle, one agent attached", mib(memory_of("idle_rss")), goal("≤ 20 MiB", max(memory_of("idle_rss")) <= 20 * 2**20)],
        ["each of 1,000 idle agents", spread(each, " KiB"), goal("≤ 8 KiB", max(each) <= 8)],
        ["1,000 idle agents in all", mib(memory_of("full_rss")), ""],
        ["the most it ever was", mib(memory_of("peak_rss")), ""],
    ]
    return table(["", "measured", "wanted"], rows)


CROWDS = {"Agents": "agents that were welcomed with the token", "Strangers": "strangers without a hello"}


def crowds(kind):
    return [found for run in read("crowd")["runs"] for found in run if found["kind"] == kind]


def crowd_table():
    rows = []
    for kind, name in CROWDS.items():
        found = crowds(kind)
        for n, promise in enumerate(row["durable"] for row in found[0]["rows"]):
            turns = [run["rows"][n] for run in found]
            ratios = [turn["p99_us"][1] / turn["p99_us"][0] for turn in turns]
            times = [[spread([turn[at][beside] for turn in turns], " µs") for beside in (0, 1)] for at in ("p50_us", "p99_us")]
            held = spread([run["held"] for run in found])
            rows.append([name, held, "synced" if promise else "not synced", "; ".join(times[0]), "; ".join(times[1]), spread(ratios),
                         goal("≤ 1.5", max(ratios) <= 1.5)])  # fmt: skip
    return table(["crowd", "held", "receipt", "p50 alone; beside it", "p99 alone; beside it", "ratio of p99", "wanted"], rows)


def crowd_memory():
    rows = []
    for kind, name in CROWDS.items():
        rss = [run["rss"] for run in crowds(kind)]
        rows.append([name, *(mib([of[at] for of in rss]) for at in ("before", "with", "end", "gone"))])
    return table(["memory of the gateway (`VmRSS`)", "before", "with the crowd", "after the turns", "when it had gone"], rows)


def reports_table():
    rows = []
    for name, found in read("reports")["scenarios"].items():
        for stack, of in stacks(found).items():
            times = of["all"]["latency"]
            rows.append([f"{name}, {of['nodes']:,} nodes", stack, f"{of['all']['offered']:,}", of["all"]["refused"], f"{of['all']['delivery'] * 100:.1f} %",
                         spread([times["p50_us"] / 1e3], " ms"), spread([times["p99_us"] / 1e3], " ms"), f"{of['airtime_us_per_byte']:,.0f} µs"])  # fmt: skip
    count = len(next(iter(stacks(found).values()))["seeds"])
    said = f"Figures of {count} seeds each:\n\n"
    return said + table(["scenario", "stack", "offered", "refused", "arrived", "p50", "p99", "airtime for each byte"], rows)


def recorded(name):
    """What was measured where this program cannot go."""

    def block():
        of = read("recorded")[name]
        return f"Taken on {of['taken']} by `{of['command']}`, {of['where']}:\n\n" + table(of["head"], of["rows"])

    return block


PAGES = {
    "README.md": {"demo": demo_printed, "session": session_printed, "numbers": numbers},
    "docs/benchmarks.md": {
        "machine": machine, "air": air, "compare": compare_table, "compare-rows": compare_what, "local-echo": local_echo, "local-client": local_client, "local-cost": local_cost,
        "memory": memory_table, "crowd": crowd_table, "crowd-memory": crowd_memory, "adapters": recorded("adapters"),
        "adapters-long": recorded("adapters-long"), "meshd": recorded("meshd"),
    },
    "docs/simulator.md": {"reports": reports_table},
}  # fmt: skip
# Pages with tables of what others measured, which no command writes.
BY_HAND = {"docs/simulator.md"}


def part_of(missing):
    return Path(missing.filename).stem


def written(block):
    try:
        return block()
    except FileNotFoundError as missing:
        return f"Not measured yet: `python3 tools/figures {part_of(missing)}`.\n"


def filled(page, blocks):
    """The page with its blocks as the files have them."""
    text = (ROOT / page).read_text()
    there = re.findall(r"<!-- figures:(\S+) -->", text)
    if sorted(there) != sorted(blocks):
        raise SystemExit(f"reading {page}: its blocks are {sorted(there)}, and those known are {sorted(blocks)}; see tools/figures/pages.py")
    for name, block in blocks.items():
        before, rest = text.split(BEGIN.format(name))
        _, after = rest.split(END, 1)
        text = before + BEGIN.format(name) + written(block) + END + after
    return text


def write():
    for page, blocks in PAGES.items():
        (ROOT / page).write_text(filled(page, blocks))


def differences():
    """Where a page says otherwise than the files, and figures in tables that no file has."""
    wrong = []
    for page, blocks in PAGES.items():
        text = (ROOT / page).read_text()
        if filled(page, blocks) != text:
            wrong.append(f"{page}: its figures are not those of docs/figures; run `python3 tools/figures pages`")
        if page in BY_HAND:
            continue
        outside = re.sub(r"<!-- figures:.*?<!-- /figures -->", "", text, flags=re.S)
        by_hand = [line for line in outside.splitlines() if line.startswith("|") and re.search(r"\d (%|ms|s|kB|KiB|MiB|µs|us)\b|\d\.\d", line)]
        wrong += [f"{page}: a figure that no command writes: {line}" for line in by_hand]
    return wrong
