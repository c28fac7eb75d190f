"""Runs the commands that figures come from, and keeps what they say in docs/figures, one file for each part.

A file says which commands it is from, as anyone can type them, and of which machine, where that counts. Nothing here is about pages.
"""

import json
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "docs" / "figures"

DEMO = "cargo run --release -p mesh-gateway -- demo"
RUN = "cargo run --release -p firmware-sim -- run scenarios"
SIM = f"{RUN}/office.toml --stack all"
COMPARE = "cargo run --release -p firmware-sim -- compare"
# Those of the table in docs/simulator.md.
SCENARIOS = ("office", "warehouse", "campus")
# So many runs of what differs from one to the next.
RUNS = 3


def output(command):
    """What a command prints; its own failure is ours."""
    print(f"figures: {command}", file=sys.stderr)
    done = subprocess.run(shlex.split(command), cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    if done.returncode != 0:
        sys.exit(f"measuring: `{command}` ended with {done.returncode}; what it said stands above")
    return done.stdout


def objects(text):
    """The JSON objects among the lines that a program prints."""
    return [json.loads(line) for line in text.splitlines() if line.startswith(("{", "["))]


def machine():
    """What the figures of this run depend on, before it makes load of its own."""
    cpu = Path("/proc/cpuinfo")
    models = re.findall(r"^model name\s*: (.+)$", cpu.read_text(), re.M) if cpu.exists() else []
    return {"cores": os.cpu_count(), "processor": models[0] if models else platform.machine(),
            "system": f"{platform.system()} {platform.release().split('-')[0]}", "load": round(os.getloadavg()[0], 1)}  # fmt: skip


# ---- parts ----


def demo(quick):
    of = machine()
    seeds = "1..2" if quick else "1..20"
    command = f"{DEMO} --seed {seeds} --speed max --json"
    runs = []
    for _ in range(1 if quick else RUNS):
        summary = objects(output(command))[-1]
        seen = summary.pop("runs")
        summary["foreign"] = sum(run["foreign"] for run in seen)
        summary["worst_critical_ms"] = max(run["priorities"][0]["p99_ms"] for run in seen)
        runs.append(summary)
    begin = time.monotonic()
    printed = output(DEMO)
    seconds = round(time.monotonic() - begin, 1)
    return {"commands": [command, DEMO], "machine": of, "runs": runs, "printed": printed, "seconds": seconds}


def session(_quick):
    """An agent by hand, as the README shows it."""
    program = ROOT / "target" / "release" / "mesh-gateway"
    output("cargo build --release -p mesh-gateway")
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--adapter", "sim", "--listen", "127.0.0.1:0", "--log-level", "error", "--json", "--data-dir", folder]
        gateway = subprocess.Popen([program, *flags], stdout=subprocess.PIPE, text=True)
        try:
            host, port = json.loads(gateway.stdout.readline())["tcp"].rsplit(":", 1)
            with socket.create_connection((host, int(port)), timeout=60) as stream:
                return {"commands": ["mesh-gateway --adapter sim", "nc 127.0.0.1 7700"], "lines": talk(stream.makefile("rw", newline="\n"))}
        finally:
            gateway.terminate()
            gateway.wait()


def talk(stream):
    lines = []

    def say(text):
        lines.append(f"> {text}")
        stream.write(f"{text}\n")
        stream.flush()

    def hear(*wanted):
        """Until each of these events has come; the last one."""
        wanted = set(wanted)
        while wanted:
            line = stream.readline()
            if not line:
                sys.exit(f"talking to a gateway: it hung up where {', '.join(sorted(wanted))} should come")
            lines.append(f"< {line.rstrip()}")
            event = json.loads(line)
            wanted.discard(event["ev"])
        return event

    say('{"op":"hello","name":"alice"}')
    hear("welcome")
    # As long as a person takes to type the next line.
    time.sleep(5)
    say('{"op":"send","ref":1,"to":"echo","type":"QUERY","priority":"HIGH","text":"are you there?"}')
    cursor = hear("accepted", "receipt", "message")["cursor"]
    say(json.dumps({"op": "ack", "cursor": cursor}, separators=(",", ":")))
    say('{"op":"bye"}')
    hear("goodbye")
    return lines


def office(quick):
    last = 2 if quick else 10
    command = f"{SIM} --seeds 1..{last}"
    found = {"commands": [command], "seeds": last, **simulated(command)}
    return {**found, "short": short()}


def simulated(command):
    return objects(output(f"{command} --figures -"))[-1]


def short():
    """A run that is made again by every check."""
    command = f"{SIM} --seeds 1..2"
    return {"command": command, **simulated(command)}


def reports(quick):
    """The scenarios that come with the project beside the office of every check, and that one, with every stack."""
    seeds = "1" if quick else "1..3"
    commands = {name: f"{RUN}/{name}.toml --stack all --seeds {seeds}" for name in SCENARIOS}
    return {"commands": list(commands.values()), "scenarios": {name: simulated(command) for name, command in commands.items()}}


def compare(quick):
    """The table of what is wanted of our stack, and the figures that every check compares with."""
    of = machine()
    # Offices of 500 and 1,000 nodes and the shipped scenarios take longer than all the others.
    light = " ".join(f"--row {row}" for row in "bulk 16KiB airtime load critical to-all repair probe first hop".split())
    shown = f"{COMPARE} --seeds 1..2 {light}" if quick else COMPARE
    command = f"{shown} --json"
    begin = time.monotonic()
    full = objects(output(command))[-1]
    minutes = round((time.monotonic() - begin) / 60, 1)
    short = f"{COMPARE} --quick --json"
    return {"commands": [shown, short], "machine": of, "minutes": minutes, "full": full, "quick": objects(output(short))[-1]}


def frame(quick):
    of = machine()
    command = "cargo bench -p mesh-protocol --bench frame -- ratio-only"
    pattern = r"open a frame of 27 bytes: ([\d.]+) ns, bare AES and CCM: ([\d.]+) ns, ratio ([\d.]+)"
    runs = [[float(figure) for figure in re.search(pattern, output(command)).groups()] for _ in range(1 if quick else RUNS)]
    return {"commands": [command], "machine": of, "runs": runs}


def size(_quick):
    command = "./ci.sh size"
    found = re.findall(r"core on (\S+), in bytes: text (\d+) data (\d+) bss (\d+)", output(command))
    bytes_of = {target: {"text": int(text), "data": int(data), "bss": int(bss)} for target, text, data, bss in found}
    return {"commands": [command], "compiler": output("rustc --version").strip(), "bytes": bytes_of}


def bench(name):
    def measured(quick):
        of = machine()
        command = f"cargo bench -p mesh-gateway --bench {name}"
        runs = [objects(output(command)) for _ in range(1 if quick else 2)]
        return {"commands": [command], "machine": of, "runs": runs}

    return measured


PARTS = {"demo": demo, "session": session, "office": office, "reports": reports, "compare": compare, "frame": frame, "size": size,
         "memory": bench("memory"), "local": bench("local"), "crowd": bench("crowd")}  # fmt: skip


def write(part, quick):
    found = PARTS[part](quick)
    FILES.mkdir(exist_ok=True)
    path = FILES / f"{part}.json"
    part_file = path.with_suffix(".new")
    part_file.write_text(json.dumps(found, indent=1) + "\n")
    part_file.replace(path)


def is_measured(part):
    return (FILES / f"{part}.json").exists()


def read(part):
    """What a part found when it was measured last."""
    return json.loads((FILES / f"{part}.json").read_text())


def differences():
    """What no machine should change, measured again: the figures of the simulation, and the size of the core from the same compiler."""
    wrong = []
    if short() != read("office")["short"]:
        wrong.append("docs/figures/office.json: the simulation finds other figures now; run `python3 tools/figures office`")
    kept = read("size")
    if output("rustc --version").strip() == kept["compiler"] and size(False)["bytes"] != kept["bytes"]:
        wrong.append("docs/figures/size.json: the core has another size now; run `python3 tools/figures size`")
    return wrong
